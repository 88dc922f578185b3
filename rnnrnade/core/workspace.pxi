# ---- workspace -----------------------------------------------------------------------------------------------------

cdef class Workspace:
    """Memory that a calling thread keeps between calls: one block, carved from the front."""
    cdef char* block
    cdef size_t size, used
    cdef list overflow                    # addresses of what did not fit
    cdef readonly int team                # threads of the last parallel region

    KEPT = 1 << 30                        # bytes kept at most

    def __cinit__(self):
        self.block, self.size, self.used, self.overflow, self.team = NULL, 0, 0, [], 0

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
    return 0 if space is None else space.team


def free_workspace():
    """Give back the memory that this thread keeps between calls."""
    if hasattr(_local, "workspace"):
        del _local.workspace
