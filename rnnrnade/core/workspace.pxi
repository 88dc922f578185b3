# ---- workspace -----------------------------------------------------------------------------------------------------
# What a call keeps: its memory, and its watch.  Python runs the handlers of signals (of Ctrl-C: KeyboardInterrupt)
# between two statements of its main thread, so a call of the core would keep them waiting.  Hence every loop that may
# be long asks `interrupted` before each piece of work, and leaves what is left undone where it is true; the thread that
# made the call lets Python look for signals, once in PATIENCE seconds.  A driver ends in `leave`, which raises then.

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from cpython.exc cimport PyErr_CheckSignals

cdef:
    double PATIENCE = 0.1           # seconds from one look at signals to the next
    int SELDOM = 8                  # of so many questions one looks at the clock


cdef struct Watch:
    int team                        # threads of the last parallel region
    volatile bint stop              # what is left of the call is given up
    int asked                       # times
    double due                      # when to look at signals


cdef inline double now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec + 1e-9 * time.tv_nsec


cdef bint interrupted(Watch* watch) noexcept nogil:
    """Whether to leave the rest of the call undone."""
    if omp_get_thread_num() == 0:
        watch.asked += 1
        if watch.asked % SELDOM == 0 and now() > watch.due:
            with gil:
                watch.stop = a_handler_raises()
            watch.due = now() + PATIENCE
    return watch.stop


cdef bint a_handler_raises():
    """Let the handlers of signals that came run; what one raises is kept for `leave`."""
    cdef Workspace space = _local.workspace
    del _local.workspace            # a handler may call the core, too
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        space.raised = error
    finally:
        _local.workspace = space
    return space.raised is not None


cdef class Workspace:
    """Memory that a calling thread keeps between calls: one block, carved from the front."""
    cdef char* block
    cdef size_t size, used
    cdef list overflow                    # addresses of what did not fit
    cdef Watch watch
    cdef object raised                    # what the handler of a signal raised during the call

    KEPT = 1 << 30                        # bytes kept at most

    def __cinit__(self):
        self.block, self.size, self.used, self.overflow, self.watch.team = NULL, 0, 0, [], 0

    def __dealloc__(self):
        free(self.block)
        for address in self.overflow:
            free(<void*><uintptr_t>address)

    cdef int start(self) except -1:
        """Give back all that was taken, and make the block as large as the last call wanted it."""
        for address in self.overflow:
            free(<void*><uintptr_t>address)
        if self.used > self.size or self.size > self.KEPT:
            free(self.block)
            self.size = self.used if self.used <= self.KEPT else 0
            self.block = <char*>malloc(self.size) if self.size else NULL
            if self.block == NULL:
                self.size = 0
        self.overflow = []
        self.used = 0
        self.watch.stop, self.watch.asked, self.watch.due, self.raised = False, 0, now() + PATIENCE, None

    cdef void* take(self, size_t n) except NULL:
        """n bytes, aligned to a cache line, until the next start()."""
        cdef char* found
        n = (n + 127) // 64 * 64
        if self.used + n <= self.size:
            found = self.block + self.used
        else:
            found = <char*>malloc(n)
            if found == NULL:
                raise MemoryError(f"no memory for {n} bytes of workspace")
            self.overflow.append(<uintptr_t>found)
        self.used += n
        return found + (-<uintptr_t>found) % 64

    cdef int leave(self) except -1:
        """The end of a driver: raise what the handler of a signal raised."""
        if self.raised is not None:
            raise self.raised
        return 0


_local = threading.local()


cdef Workspace workspace():
    space = getattr(_local, "workspace", None)
    if space is None:
        space = _local.workspace = Workspace()
    (<Workspace>space).start()
    return space


def last_team_size():
    """Threads that took part in the last parallel region of a call by this thread (0 before the first)."""
    space = getattr(_local, "workspace", None)
    return 0 if space is None else (<Workspace>space).watch.team


def free_workspace():
    """Give back the memory that this thread keeps between calls."""
    if hasattr(_local, "workspace"):
        del _local.workspace
