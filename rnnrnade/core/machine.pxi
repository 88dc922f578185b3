# ---- what this build and machine have ------------------------------------------------------------------------------

cdef extern from "kernels/openmp_if_any.h" nogil:
    enum:
        HAS_OPENMP
    int omp_get_num_threads()
    int omp_get_thread_num()
    int omp_get_max_threads()

cdef extern from "kernels/subnormals.h" nogil:
    ctypedef unsigned long float_mode           # of the processor, for the thread that runs
    float_mode subnormals_as_zero()
    void set_float_mode(float_mode mode)

cdef double SMALL = 4e6                     # multiply-adds worth one more thread


cdef list available_rows():
    cdef const kernel_row* row = kernel_rows()
    names = []
    while row.name != NULL:
        names.append(row.name.decode())
        row += 1
    return names + ["plain"]


cdef const kernel_row* find_row(str name) except NULL:
    cdef const kernel_row* row = kernel_rows()
    while row.name != NULL:
        if row.name.decode() == name:
            return row
        row += 1
    if name == "plain":
        return &plain_row
    raise ValueError(f"RNNRNADE_ISA={name!r}: this build and processor have the kernels "
                     f"{', '.join(available_rows())}.")


_row_in_use = os.environ.get("RNNRNADE_ISA") or available_rows()[0]
find_row(_row_in_use)
_threads_by_default = omp_get_max_threads()
_forked = False


def kernel_row_names():
    """The rows of the kernel table that this build holds and this processor runs, the fastest first."""
    return available_rows()


def row_in_use():
    """The row that calls use now."""
    return _row_in_use


class use_kernels:
    """Context in which all calls of the process use one row of the kernel table (for tests and benchmarks)."""

    def __init__(self, str name):
        find_row(name)
        self.name = name

    def __enter__(self):
        global _row_in_use
        self.before, _row_in_use = _row_in_use, self.name

    def __exit__(self, *exception):
        global _row_in_use
        _row_in_use = self.before


class use_all_threads:
    """Context in which even small work starts as many threads as it is told to (for tests)."""

    def __enter__(self):
        global SMALL
        self.before, SMALL = SMALL, 0

    def __exit__(self, *exception):
        global SMALL
        SMALL = self.before


def has_openmp():
    """Whether the library was built with OpenMP."""
    return bool(HAS_OPENMP)


def _after_fork_in_child():
    # The OpenMP runtime of the parent did not survive the fork: a parallel region would wait for threads that are
    # gone.  One thread works.
    global _forked, _local
    _forked = True
    _local = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def effective_threads(n_jobs):
    """The OpenMP threads that `n_jobs` stands for: None and -1 are all that the process may use, -2 one less.

    A limit set with threadpoolctl caps it; a number above that of the cores is taken as it is; a process forked
    from one that had imported the library has one."""
    if _forked or not HAS_OPENMP:
        return 1
    limit = omp_get_max_threads()
    if n_jobs is None or n_jobs < 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(limit, cores) + 1 + (-1 if n_jobs is None else n_jobs))
    return min(n_jobs, limit) if limit < _threads_by_default else n_jobs


cdef int worth_threads(int n_threads, double multiply_adds, Py_ssize_t n_pieces) noexcept:
    """Small work, or work in few pieces, stays on few threads: starting one costs more than it saves."""
    if SMALL == 0:
        return n_threads
    return max(1, min(n_threads, <int>min(multiply_adds / SMALL, <double>n_pieces)))
