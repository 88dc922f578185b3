# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops over time and dimension: density, gradient, samples.  Equation numbers are those of NOTATION.md.

Design
------
*Alphabet.*  N sequences, T frames, D dimensions, H hidden units, K components, R recurrent units, P raw outputs a
dimension, Q <= P of them driven by the recurrent state (they stand first), M frames of a batch, W lanes of a panel.
G gates of the cell (sigmoid, tanh: 1).  Hp, Rp and Gp are H, R and G R rounded up to a multiple of PAD; what stands
between is zero, in parameters and gradients.  Sp numbers of a row of states, Ap of a row of gates (kernel_table.h).

*Frames are the lanes.*  Given the recurrent states all frames of all sequences are independent (teacher forcing), so
M frames make ceil(M / W) panels [feature][W]; one long recording fills the machine as well as many short ones.

*Recurrence.*  States lie row by row, r (M, Sp), row i the state that conditions frame i: r, and behind it what else the
cell hands on (LSTM: c).  Sequences, longest first, advance side by side in groups of at most LOCKSTEP, so that W_rec is
read once for a step of a whole group.  The gates that lead to row i lie in row i of `gates`; with one gate it is r.

*Gradient.*  One sweep over blocks of dimensions, last block first.  `a` is kept at block starts and each
block recomputes its own, with the operations of the forward pass: hence the same bits of the log-density, and no
loss of digits to outliers.  What the frames of a block need is private to a panel (phase A); the gradients of the
parameters follow with every element owned by one thread and summed over frames in ascending order (phase B).

*Same bits.*  Every sum is one chain in a fixed order, or one for each lane with the lanes added last: nothing depends
on the number of threads, on groups of panels or sequences, or on what else is in the batch.

*What the tricks gain* (AMD Zen 4, AVX-512, float32, builds with one trick less run in turn with this one, the least or
the tenth percentile of their times on a shared machine): without blocks of dimensions the gradient at D = 900 takes 1.35
times as long; with LOCKSTEP 1 the forward pass 1.06 to 1.11 times at D from 49 to 900; with GROUP four times as large the
gradient 1.04 to 1.08 times at D from 2 to 900; without a workspace kept between calls the gradient 1.15 times at D = 900,
1.0 to 1.05 at others; with panels of one vector sampling 1.2 to 1.3 times; with the pieces of the parameters' gradients
dealt out to the threads beforehand the gradient 1.09 times at D = 2, 1.02 at D = 49; with blocks of 8 dimensions instead
of BLOCK_ALONE the gradient of rows 1.07 times (D = 64, H = 512); with whole panels dealt out to the threads the forward pass
of 25 panels 1.03 times; with a last block of one dimension the gradient at D = 49 1.02 times; with the gradient of V and U
zeroed beforehand the gradient 1.02 times at D = 225 and 900; with unequal pieces and two barriers more a group the gradient
1.09 times at D = 2.  Those of the kernels stand in their files.
"""

import os
import threading

from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, NAN, erfc, log1p, nextafter
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

include "_plain.pxi"

cdef extern from "kernels/openmp_if_any.h" nogil:
    enum:
        HAS_OPENMP
    int omp_get_num_threads()
    int omp_get_max_threads()

cdef enum:
    BLOCK = 8                       # dimensions at the most whose product with r is done at once ...
    BLOCK_ALONE = 4                 # ... and without r, so that a and h of all of them stay in the second cache
    LOCKSTEP = 24                   # sequences that advance side by side
    ROWS = 48                       # rows of one piece of a product over all frames
    OUTPUTS = 24                    # outputs at the most of one piece of the gradient of a matrix
    MAX_WIDTH = 64                  # no panel is wider
    MOVED = 2048                    # parameters of one piece of an update: its direction stays in the first cache
    MOVED_PER_THREAD = 1 << 18      # parameters worth one more thread

cdef Py_ssize_t CACHE = 640 * 1024          # bytes of (a, r) of the panels that one thread takes through a block
cdef Py_ssize_t GROUP = 5 * 1024 * 1024     # bytes of the panels of one group in the gradient, or twice the parameters'
cdef Py_ssize_t SPAN = 4 * 1024 * 1024      # bytes of dz and h that a group keeps from phase A to phase B
cdef double SMALL = 4e6                     # multiply-adds worth one more thread


# ---- what this build and machine have ------------------------------------------------------------------------------

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


# ---- workspace -----------------------------------------------------------------------------------------------------

cdef class Workspace:
    """Memory that a calling thread keeps between calls: one block, carved from the front."""
    cdef char* block
    cdef size_t size, used
    cdef list overflow                    # addresses of what did not fit
    cdef readonly int team                # threads of the last parallel region

    KEPT = 1 << 30                        # bytes kept at the most

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


# ---- the network: sizes, choices, and where each block of the flat parameter vector begins -------------------------

cdef struct Net:
    Py_ssize_t D, H, P, Q, R, Hp, Rp
    Py_ssize_t in_block           # dimensions of a block
    Py_ssize_t G, Gp, Sp, Ap
    int head, activation, cell
    bint apart                    # the cell takes W_rec r^{t-1} apart from b_r + W_in x^t
    bint hidden_context
    outputs at
    Py_ssize_t W, c, rho, V, b, U, W_c, W_in, W_rec, b_r, r0, size
    const kernel_row* row


cdef class Network:
    """Sizes, choices and offsets for the kernels, made once from a layout (model.py)."""
    cdef Net net

    def __init__(self, layout):
        net = &self.net
        net.D, net.H, net.P, net.Q, net.R = layout.D, layout.H, layout.P, layout.Q, layout.R
        net.Hp, net.Rp = layout.Hp, layout.Rp
        net.in_block = equal_pieces(net.D, BLOCK if net.R else BLOCK_ALONE)
        net.G, net.Gp, net.Sp, net.Ap, net.apart = layout.G, layout.Gp, layout.Sp, layout.Ap, layout.apart
        net.head, net.activation, net.cell = layout.head_index, layout.activation_index, layout.cell_index
        net.hidden_context = layout.hidden_context
        net.at.K, net.at.min_scale = layout.K, layout.min_scale
        net.at.alpha, net.at.mu, net.at.sigma = layout.alpha, layout.mu, layout.sigma
        offsets = layout.offsets
        net.W, net.c, net.rho, net.V, net.b = (offsets[name] for name in ("W", "c", "rho", "V", "b"))
        net.U, net.W_c, net.W_in, net.W_rec, net.b_r, net.r0 = (
            offsets.get(name, 0) for name in ("U", "W_c", "W_in", "W_rec", "b_r", "r0"))
        net.size = layout.size

    cdef Net bound(self) except *:
        """The network with the row of kernels in use."""
        cdef Net net = self.net
        net.row = find_row(_row_in_use)
        return net


cdef inline Py_ssize_t pieces(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef inline Py_ssize_t equal_pieces(Py_ssize_t n, Py_ssize_t most) noexcept nogil:
    """The size of pieces of n that are as equal as can be: at most `most`, at least 1."""
    return max(<Py_ssize_t>1, pieces(n, max(<Py_ssize_t>1, pieces(n, most))))


cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    return pieces(n, PAD) * PAD


# ---- the recurrence (2) --------------------------------------------------------------------------------------------

cdef struct Group:
    Py_ssize_t first, n           # sequences order[first : first + n], longest first


cdef void input_rows(const Net* net, real* gates, const real* theta, const real* x, Py_ssize_t first,
                     Py_ssize_t n) noexcept nogil:
    """gates[i + 1] = b_r + W_in x[i]:  what frame i gives to the state that conditions the next row."""
    cdef Py_ssize_t i
    for i in range(first, first + n):
        memcpy(gates + (i + 1) * net.Ap, theta + net.b_r, net.Gp * sizeof(real))
    product(net.row, gates + (first + 1) * net.Ap, net.Ap, x + first * net.D, 0, net.D, 1,
            theta + net.W_in, 0, net.Gp, <const real*>NULL, n, net.Gp, 1, net.D)


cdef void add_recurrent(const Net* net, real* gates, real* recurrent, const real* state_prev, const real* theta,
                        Py_ssize_t n, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """gates += W_rec r_prev, for some of the gates of n rows; recurrent = W_rec r_prev in cells that take it apart."""
    cdef real* sums = gates
    cdef Py_ssize_t i, stride = net.Ap
    if net.apart:
        sums = recurrent
        stride = net.Gp
        for i in range(n):
            memset(sums + i * stride + begin, 0, (end - begin) * sizeof(real))
    product(net.row, sums + begin, stride, state_prev, 0, net.Sp, 1, theta + net.W_rec + begin, 0, net.Gp,
            <const real*>NULL, n, end - begin, 1, net.R)


cdef void state_step(const Net* net, real* state, real* gates, real* recurrent, const real* state_prev,
                     const real* theta, Py_ssize_t n) noexcept nogil:
    """state <- f(gates + W_rec r_prev) for n rows, gates holding b_r + W_in x.  recurrent: (n, Gp), for cells that take
    the product apart.  state may be state_prev, and gates where there is one gate."""
    add_recurrent(net, gates, recurrent, state_prev, theta, n, 0, net.Gp)
    cell_forward(net.row, net.cell, state, gates, recurrent, state_prev, n, net.R)


cdef inline Py_ssize_t advance_space(const Net* net, Py_ssize_t n) noexcept nogil:
    return n * (net.Ap + net.Gp)


cdef void advance_gates(const Net* net, const real* state, real* space, const real* theta, const real* x,
                        Py_ssize_t stride, Py_ssize_t n, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Some of the gates that lead from n states past the frames x (n, D), `stride` numbers apart.  space: advance_space."""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(space + i * net.Ap + begin, theta + net.b_r + begin, (end - begin) * sizeof(real))
    product(net.row, space + begin, net.Ap, x, 0, stride, 1, theta + net.W_in + begin, 0, net.Gp, <const real*>NULL,
            n, end - begin, 1, net.D)
    add_recurrent(net, space, space + n * net.Ap, state, theta, n, begin, end)


cdef void advance_states(const Net* net, real* state, real* space, Py_ssize_t n) noexcept nogil:
    """state (n, Sp) <- the state after the frames that advance_gates was given."""
    cell_forward(net.row, net.cell, state, space, space + n * net.Ap, state, n, net.R)


cdef inline Py_ssize_t group_space(const Net* net) noexcept nogil:
    return LOCKSTEP * (2 * net.Sp + net.Ap + net.Gp)


cdef void group_forward(const Net* net, real* r, real* gates, real* last, real* space, const real* theta,
                        const real* x, const int64_t* offsets, const int64_t* order, Group group,
                        const real* initial, const uint8_t* fresh) noexcept nogil:
    """The states of a group of sequences, r^0 ... r^{T-1}, and r^T into `last` where it is not NULL.  gates holds
    b_r + W_in x and gets what the backward kernel asks for; with one gate it is r.  space: group_space."""
    cdef Py_ssize_t i, s, row, t = 0, active = group.n, Sp = net.Sp, Gp = net.Gp, Ap = net.Ap
    cdef real* now = space                                         # (LOCKSTEP, Sp)
    cdef real* then = now + LOCKSTEP * Sp                          # (LOCKSTEP, Sp)
    cdef real* recurrent = then + LOCKSTEP * Sp                    # (LOCKSTEP, Gp)
    cdef real* active_gates = recurrent + LOCKSTEP * Gp            # (LOCKSTEP, Ap)
    cdef real* swap
    for i in range(group.n):
        s = order[group.first + i]
        memcpy(now + i * Sp, theta + net.r0 if fresh[s] else initial + s * Sp, Sp * sizeof(real))
    while active > 0:
        if net.G == 1:
            active_gates = then
        for i in range(active):                                    # gates hold W_in x + b_r of the frame before
            s = order[group.first + i]
            row = offsets[s] + t
            if row + 1 < offsets[s + 1]:
                memcpy(active_gates + i * Ap, gates + (row + 1) * Ap, Gp * sizeof(real))
            elif last != NULL:
                memcpy(active_gates + i * Ap, theta + net.b_r, Gp * sizeof(real))
                product(net.row, active_gates + i * Ap, Ap, x + row * net.D, 0, net.D, 1, theta + net.W_in, 0, Gp,
                        <const real*>NULL, 1, Gp, 1, net.D)
            else:
                memset(active_gates + i * Ap, 0, Gp * sizeof(real))
            memcpy(r + row * Sp, now + i * Sp, Sp * sizeof(real))
        if last == NULL:                                           # the last state predicts nothing
            while active > 0 and offsets[order[group.first + active - 1]] + t + 1 >= offsets[order[group.first + active - 1] + 1]:
                active -= 1
        state_step(net, then, active_gates, recurrent, now, theta, active)         # (2)
        if net.G > 1:
            for i in range(active):
                s = order[group.first + i]
                row = offsets[s] + t
                if row + 1 < offsets[s + 1]:
                    memcpy(gates + (row + 1) * Ap, active_gates + i * Ap, Ap * sizeof(real))
        t += 1
        while active > 0 and offsets[order[group.first + active - 1]] + t >= offsets[order[group.first + active - 1] + 1]:
            active -= 1
            memcpy(last + order[group.first + active] * Sp, then + active * Sp, Sp * sizeof(real))
        swap = now
        now = then
        then = swap


cdef void group_backward(const Net* net, real* dr, real* gates, real* dr0, real* space, const real* W_rec,
                         const real* r, const int64_t* offsets, const int64_t* order, Group group) noexcept nogil:
    """Back through time: dr (M, Sp) comes in as the gradient of each state by the frame it conditions; gates (M, Ap;
    with one gate it is dr) leaves as the derivative by b_r + W_in x, zero in the first row of a sequence; dr0 (N, Sp)
    gets the gradient of the first state.  W_rec (G R, Rp): outputs as rows.  space: group_space."""
    cdef Py_ssize_t i, s, row, active = 0, Rp = net.Rp, Sp = net.Sp, Gp = net.Gp, Ap = net.Ap
    cdef Py_ssize_t t = offsets[order[group.first] + 1] - offsets[order[group.first]] - 1
    cdef real* now = space                                         # (LOCKSTEP, Gp)
    cdef real* then = now + LOCKSTEP * Gp                          # (LOCKSTEP, Rp)
    while t > 0:
        while active < group.n and offsets[order[group.first + active] + 1] - offsets[order[group.first + active]] > t:
            active += 1
        for i in range(active):
            row = offsets[order[group.first + i]] + t
            cell_backward(net.row, net.cell, dr + (row - 1) * Sp, gates + row * Ap, dr + row * Sp, r + row * Sp,
                          r + (row - 1) * Sp, net.R)               # dpre = dr * f'(.)
            memcpy(now + i * Gp, gates + row * Ap, Gp * sizeof(real))
            if net.apart:
                recurrent_part(net, now + i * Gp, gates + row * Ap)
            memcpy(then + i * Rp, dr + (row - 1) * Sp, Rp * sizeof(real))
        product(net.row, then, Rp, now, 0, Gp, 1, W_rec, 0, Rp, <const real*>NULL, active, Rp, 1, net.G * net.R)
        for i in range(active):                                    # dr^{t-1} += W_rec' dpre
            row = offsets[order[group.first + i]] + t
            memcpy(dr + (row - 1) * Sp, then + i * Rp, Rp * sizeof(real))
        t -= 1
    for i in range(group.n):                                       # dr0 = dr^0
        s = order[group.first + i]
        memcpy(dr0 + s * Sp, dr + offsets[s] * Sp, Sp * sizeof(real))
        memset(gates + offsets[s] * Ap, 0, Ap * sizeof(real))


cdef inline void recurrent_part(const Net* net, real* to, const real* gates) noexcept nogil:
    """The derivative by W_rec r^{t-1} of a cell that takes it apart: only the last gate's is another one."""
    memcpy(to + (net.G - 1) * net.R, gates + net.Gp, net.R * sizeof(real))


cdef void multiply_rows(const Net* net, real* out, const real* rows, const real* mask, Py_ssize_t first,
                        Py_ssize_t n) noexcept nogil:
    """out = rows * mask in the first Rp numbers of n rows; rows, out (M, Sp), mask (M, Rp).  out may be rows."""
    cdef Py_ssize_t i, j
    for i in range(first, first + n):
        for j in range(net.Rp):
            out[i * net.Sp + j] = rows[i * net.Sp + j] * mask[i * net.Rp + j]


cdef Py_ssize_t make_groups(Group* groups, Py_ssize_t N, int n_threads) noexcept nogil:
    """Sequences in groups of about equal size, at most LOCKSTEP, as many as a multiple of the threads."""
    cdef Py_ssize_t g, n = (N + LOCKSTEP - 1) // LOCKSTEP
    n = (n + n_threads - 1) // n_threads * n_threads
    if n > N:
        n = N
    for g in range(n):
        groups[g].first = N * g // n
        groups[g].n = N * (g + 1) // n - groups[g].first
    return n


# ---- the frames, forward: (3) to (7) -------------------------------------------------------------------------------

cdef void load_frames(const Net* net, real* x_p, real* r_p, real* a, const real* theta, const real* x, const real* r,
                      Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x and r of a panel's frames as panels, and a_1 = c (+ W_c r)."""
    cdef Py_ssize_t j, l, W = width_of(net.row, theta)
    pack(net.row, x_p, x + first * net.D, net.D, valid, net.D)
    if net.R:
        pack(net.row, r_p, r + first * net.Sp, net.Sp, valid, net.R)
    product(net.row, a, W, theta + net.W_c, 0, net.Rp, 1, r_p, 0, W, theta + net.c, net.H, W, 1,
            net.R if net.hidden_context else 0)


cdef inline Py_ssize_t lanes_for(Py_ssize_t valid, Py_ssize_t W) noexcept nogil:
    """Lanes that a product has to fill for so many frames: all, or the first of the two vectors."""
    return W // 2 if 2 * valid <= W else W


cdef void outputs_of_context(const Net* net, real* z, const real* theta, const real* r_p, Py_ssize_t d,
                             Py_ssize_t n, Py_ssize_t L) noexcept nogil:
    """z_d = b_d + U_d r for n dimensions from d on, in the first L lanes: what the recurrent state adds to (5).
    z: (n, P, W)."""
    cdef Py_ssize_t e, W = width_of(net.row, theta), P = net.P, Q = net.Q
    if Q == P:
        product(net.row, z, W, theta + net.U + d * P * net.Rp, 0, net.Rp, 1, r_p, 0, W, theta + net.b + d * P,
                n * P, L, 1, net.R)
        return
    for e in range(n):
        product(net.row, z + e * P * W, W, theta + net.U + (d + e) * Q * net.Rp, 0, net.Rp, 1, r_p, 0, W,
                theta + net.b + (d + e) * P, Q, L, 1, net.R)
        product(net.row, z + (e * P + Q) * W, W, theta, 0, 0, 0, r_p, 0, W, theta + net.b + (d + e) * P + Q,
                P - Q, L, 1, 0)


cdef void hidden_and_outputs(const Net* net, real* a, real* h, real* z, const real* theta, const real* a_prev,
                             const real* x_prev, Py_ssize_t d, Py_ssize_t L) noexcept nogil:
    """(3) to (5) of dimension d:  a_d = a_{d-1} + x_{d-1} W[:, d-1];  h = s(rho_d a);  z += V_d' h.
    x_prev is NULL where a_prev is a_d already."""
    cdef Py_ssize_t W = width_of(net.row, theta)
    hidden_forward(net.row, a, h, a_prev, x_prev, theta + net.W + (d - 1) * net.H, theta[net.rho + d],
                   net.activation, net.H, L)
    product(net.row, z, W, theta + net.V + d * net.P * net.Hp, 0, net.Hp, 1, h, 0, W, <const real*>NULL,
            net.P, L, 1, net.H)


cdef void panels_forward(const Net* net, double* frames, double* dims, real* parameters, real* space,
                         const real* theta, const real* x, const real* r, Py_ssize_t first,
                         Py_ssize_t end) noexcept nogil:
    """Log-densities of frames first ... end - 1, block of dimensions by block, so that the weights of a block serve all
    of their panels from the cache.  dims (M, D) and parameters (M, D, P) where they are not NULL."""
    cdef Py_ssize_t D = net.D, H = net.H, P = net.P, R = net.R, W = width_of(net.row, theta), n = pieces(end - first, W)
    cdef Py_ssize_t p, d, d0, e, l, k, at, valid, block
    cdef double sums[MAX_WIDTH]
    cdef real *x_p = space                                    # (n, D, W)
    cdef real *r_p = x_p + n * D * W                          # (n, R, W)
    cdef real *a = r_p + n * R * W                            # (n, H, W)
    cdef real *h = a + n * H * W                              # (H, W)
    cdef real *z = h + H * W                                  # (block, P, W)
    cdef real *scratch = z + net.in_block * P * W             # (P, W)
    cdef real *log_density = scratch + P * W                  # (W)
    for p in range(n):
        at = first + p * W
        valid = min(W, end - at)
        load_frames(net, x_p + p * D * W, r_p + p * R * W, a + p * H * W, theta, x, r, at, valid)
        for l in range(valid):
            frames[at + l] = 0
    for block in range(pieces(D, net.in_block)):
        d0 = block * net.in_block
        for p in range(n):
            at = first + p * W
            valid = min(W, end - at)
            memset(sums, 0, sizeof(sums))
            outputs_of_context(net, z, theta, r_p + p * R * W, d0, min(net.in_block, D - d0), lanes_for(valid, W))
            for d in range(d0, min(D, d0 + net.in_block)):
                e = d - d0
                hidden_and_outputs(net, a + p * H * W, h, z + e * P * W, theta, a + p * H * W,
                                   x_p + (p * D + d - 1) * W if d > 0 else <real*>NULL, d, lanes_for(valid, W))
                if parameters != NULL:
                    head_link(net.row, net.head, scratch, z + e * P * W, &net.at)
                    for l in range(valid):
                        for k in range(P):
                            parameters[((at + l) * D + d) * P + k] = scratch[k * W + l]
                head_log_density(net.row, net.head, log_density, scratch, z + e * P * W, x_p + (p * D + d) * W,
                                 &net.at)
                for l in range(valid):
                    sums[l] += log_density[l]
                    if dims != NULL:
                        dims[(at + l) * D + d] = log_density[l]
            for l in range(valid):                            # (1), in double precision: block by block
                frames[at + l] += sums[l]


# ---- the frames, backward: the same lines from the bottom up -------------------------------------------------------

cdef struct Panel:
    # What a panel keeps from phase A to phase B, in one piece of `size` reals: where each array begins.
    Py_ssize_t starts             # (n_blocks, H, W)        a at the start of each block
    Py_ssize_t x                  # (D, W)
    Py_ssize_t r                  # (R, W)
    Py_ssize_t weight             # (W)
    Py_ssize_t da                 # (H, W)
    Py_ssize_t dr                 # (Rp, W)
    Py_ssize_t dz                 # (dims, P, W)             dims of the span, at most span * net.in_block
    Py_ssize_t h_rows             # (dims, strips, W, W)     h with the frames as rows, W units in a strip
    Py_ssize_t dw                 # (dims, H)
    Py_ssize_t drho               # (dims)
    Py_ssize_t size, n_blocks, span, strips


cdef Panel panel_layout(const Net* net, Py_ssize_t W, Py_ssize_t span) noexcept nogil:
    cdef Panel at
    cdef Py_ssize_t dims = min(span * net.in_block, net.D)
    at.n_blocks, at.span, at.strips = pieces(net.D, net.in_block), span, pieces(net.H, W)
    at.starts = 0
    at.x = at.starts + at.n_blocks * net.H * W
    at.r = at.x + net.D * W
    at.weight = at.r + net.R * W
    at.da = at.weight + W
    at.dr = at.da + net.H * W
    at.dz = at.dr + net.Rp * W
    at.h_rows = at.dz + dims * net.P * W
    at.dw = at.h_rows + dims * at.strips * W * W
    at.drho = at.dw + dims * net.H
    at.size = padded(at.drho + dims)
    return at


cdef void panel_start(const Net* net, const Panel* at, real* panel, const real* theta, const real* x, const real* r,
                      const real* weight, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x, r and weights of a panel's frames, a at the start of each block of dimensions, and zeros in da, dr and the
    padding of h_rows: the units behind H of each last strip."""
    cdef Py_ssize_t block, e, W = width_of(net.row, theta), HW = net.H * W, strip = W * W
    cdef real* starts = panel + at.starts
    load_frames(net, panel + at.x, panel + at.r, starts, theta, x, r, first, valid)
    pack(net.row, panel + at.weight, weight + first, 1, valid, 1)
    for block in range(at.n_blocks - 1):
        memcpy(starts + (block + 1) * HW, starts + block * HW, HW * sizeof(real))
        product(net.row, starts + (block + 1) * HW, W, theta + net.W + block * net.in_block * net.H, 0, 1, net.H,
                panel + at.x + block * net.in_block * W, 0, W, <const real*>NULL, net.H, W, 1, net.in_block)
    memset(panel + at.da, 0, (at.dz - at.da) * sizeof(real))
    if net.H % W:
        for e in range((at.dw - at.h_rows) // (at.strips * strip)):
            memset(panel + at.h_rows + ((e + 1) * at.strips - 1) * strip, 0, strip * sizeof(real))


cdef void panels_start(const Net* net, const Panel* at, real* panels, const real* theta, const real* x, const real* r,
                       const real* weight, Py_ssize_t frame, Py_ssize_t first, Py_ssize_t end, Py_ssize_t M) noexcept nogil:
    """panel_start of some panels of a group whose first frame is `frame`."""
    cdef Py_ssize_t p, W = width_of(net.row, theta)
    for p in range(first, end):
        panel_start(net, at, panels + p * at.size, theta, x, r, weight, frame + p * W, min(W, M - frame - p * W))


cdef void block_backward(const Net* net, const Panel* at, double* sums, real* panel, real* space, const real* theta,
                         Py_ssize_t block) noexcept nogil:
    """Phase A of a block of dimensions of one panel.  Forward again from the start of the block; then, from the last
    dimension to the first, dz, dh, dW[:, d] of this panel, drho, da; then dr.

    sums (W): the log-densities of the block, summed as panels_forward does."""
    cdef Py_ssize_t H = net.H, P = net.P, Q = net.Q, W = width_of(net.row, theta)
    cdef Py_ssize_t d, e, l, j, d0 = block * net.in_block, n = min(net.in_block, net.D - d0)
    cdef Py_ssize_t slot = block % at.span * net.in_block     # of the first dimension among those that are kept
    cdef real *a = space                                      # (block, H, W)
    cdef real *h = a + net.in_block * H * W                   # (block, H, W)
    cdef real *scratch = h + net.in_block * H * W             # (P, W)
    cdef real *log_density = scratch + P * W                  # (W)
    cdef real *dz = panel + at.dz + slot * P * W              # (n, P, W)
    cdef real *h_rows = panel + at.h_rows + slot * at.strips * W * W
    cdef real *x = panel + at.x + d0 * W                      # (n, W)
    cdef real *start = panel + at.starts + block * H * W      # (H, W)
    outputs_of_context(net, dz, theta, panel + at.r, d0, n, W)
    memset(sums, 0, W * sizeof(double))
    for e in range(n):
        hidden_and_outputs(net, a + e * H * W, h + e * H * W, dz + e * P * W, theta,
                           a + (e - 1) * H * W if e > 0 else start, x + (e - 1) * W if e > 0 else <real*>NULL, d0 + e, W)
        for j in range(at.strips):
            unpack(net.row, h_rows + (e * at.strips + j) * W * W, W, W, h + (e * H + j * W) * W, min(W, H - j * W))
        head_gradient(net.row, net.head, log_density, scratch, dz + e * P * W, x + e * W, panel + at.weight, &net.at)
        for l in range(W):
            sums[l] += log_density[l]
    for e in range(n - 1, -1, -1):
        d = d0 + e
        panel[at.drho + slot + e] = hidden_backward(
            net.row, panel + at.da, panel + at.dw + (slot + e) * H, a + e * H * W, h + e * H * W, dz + e * P * W,
            x + e * W, theta + net.V + d * P * net.Hp, net.Hp, theta[net.rho + d], net.activation, H, P)
    if Q == P:                                                # dr^{t-1} += U_d' dz
        product(net.row, panel + at.dr, W, theta + net.U + d0 * P * net.Rp, 0, 1, net.Rp, dz, 0, W,
                <const real*>NULL, net.R, W, 1, n * P)
    else:
        product(net.row, panel + at.dr, W, theta + net.U + d0 * Q * net.Rp, Q * net.Rp, 1, net.Rp, dz, P * W, W,
                <const real*>NULL, net.R, W, n, Q)


cdef void panels_backward(const Net* net, const Panel* at, double* sums, real* panels, real* space, const real* theta,
                          Py_ssize_t first, Py_ssize_t end, Py_ssize_t block_begin,
                          Py_ssize_t block_end) noexcept nogil:
    """Phase A of some blocks of some panels, the weights of a block serving all of them from the cache."""
    cdef Py_ssize_t p, block
    for block in range(block_end - 1, block_begin - 1, -1):
        for p in range(first, end):
            block_backward(net, at, sums + (p * at.n_blocks + block) * width_of(net.row, theta), panels + p * at.size,
                           space, theta, block)


cdef void panel_end(const Net* net, const Panel* at, double* frames, real* dr, real* panel, const double* sums,
                    const real* theta, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """After the first dimension: dr += W_c' da, dr as rows, and the log-density of each frame."""
    cdef Py_ssize_t l, block, W = width_of(net.row, theta)
    if net.hidden_context:
        product(net.row, panel + at.dr, W, theta + net.W_c, 0, 1, net.Rp, panel + at.da, 0, W, <const real*>NULL,
                net.R, W, 1, net.H)
    if net.R:
        unpack(net.row, dr + first * net.Sp, net.Sp, valid, panel + at.dr, net.Rp)
    for l in range(valid):
        frames[first + l] = 0
        for block in range(at.n_blocks):
            frames[first + l] += sums[block * W + l]


# Phase B.  Each function does one piece of one gradient; pieces have different owners and never meet.

cdef inline void add(real* total, const real* part, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        total[i] = total[i] + part[i]


cdef inline real sum_in_order(const real* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef real total = 0
    for i in range(n):
        total = total + x[i]
    return total


cdef void gradient_of_V(const Net* net, const Panel* at, real* grad, const real* start, const real* panels,
                        Py_ssize_t d0, Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dV_d += dz h' over the frames of a group, for one dimension and one strip of hidden units; from `start` on where it
    is not NULL."""
    cdef Py_ssize_t W = width_of(net.row, grad), e = piece // at.strips, j = piece % at.strips * W
    product(net.row, grad + net.V + (d0 + e) * net.P * net.Hp + j, net.Hp, panels + at.dz + e * net.P * W, at.size, W, 1,
            panels + at.h_rows + piece * W * W, at.size, W, start, net.P, min(W, net.Hp - j), n_panels, W)


cdef inline Py_ssize_t driven_at_once(const Net* net, Py_ssize_t n_outputs) noexcept nogil:
    return equal_pieces(n_outputs, OUTPUTS) if net.Q == net.P else max(net.Q, 1)    # rows of dz next to each other


cdef void gradient_of_U(const Net* net, const Panel* at, real* grad, const real* start, const real* panels,
                        const real* r, Py_ssize_t d0, Py_ssize_t n_outputs, Py_ssize_t piece,
                        Py_ssize_t n_panels) noexcept nogil:
    """dU += dz r' over the frames of a group, for some of n_outputs driven outputs and one strip of the state; from
    `start` on where it is not NULL."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(net.Rp, W), size = driven_at_once(net, n_outputs)
    cdef Py_ssize_t m = piece // strips * size, j = piece % strips * W
    product(net.row, grad + net.U + (d0 * net.Q + m) * net.Rp + j, net.Rp,
            panels + at.dz + m // net.Q * net.P * W + m % net.Q * W, at.size, W, 1, r + j, W * net.Sp, net.Sp,
            start, min(size, n_outputs - m), min(W, net.Rp - j), n_panels, W)


cdef void gradient_of_dimension(const Net* net, const Panel* at, real* grad, real* db, const real* panels,
                                Py_ssize_t d0, Py_ssize_t e, Py_ssize_t n_panels) noexcept nogil:
    """dW[:, d], drho_d and db_d (lanes still apart: db (D, P, W)) over the panels of a group."""
    cdef Py_ssize_t p, PW = net.P * width_of(net.row, grad)
    cdef const real* panel
    for p in range(n_panels):
        panel = panels + p * at.size
        add(grad + net.W + (d0 + e) * net.H, panel + at.dw + e * net.H, net.H)
        add(grad + net.rho + d0 + e, panel + at.drho + e, 1)
        add(db + (d0 + e) * PW, panel + at.dz + e * PW, PW)


cdef void gradient_of_W_c(const Net* net, const Panel* at, real* grad, const real* panels, const real* r,
                          Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dW_c += da r' over the frames of a group, for some hidden units and one strip of the state."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(net.Rp, W)
    cdef Py_ssize_t size = equal_pieces(net.H, OUTPUTS), m = piece // strips * size, j = piece % strips * W
    product(net.row, grad + net.W_c + m * net.Rp + j, net.Rp, panels + at.da + m * W, at.size, W, 1, r + j,
            W * net.Sp, net.Sp, <const real*>NULL, min(size, net.H - m), min(W, net.Rp - j), n_panels, W)


cdef void gradient_of_c(const Net* net, const Panel* at, real* dc, const real* panels, Py_ssize_t piece,
                        Py_ssize_t n_panels) noexcept nogil:
    """dc += da over the panels of a group, for some hidden units, lanes still apart: dc (H, W)."""
    cdef Py_ssize_t p, W = width_of(net.row, dc), j = piece * OUTPUTS
    for p in range(n_panels):
        add(dc + j * W, panels + p * at.size + at.da + j * W, min(<Py_ssize_t>OUTPUTS, net.H - j) * W)


cdef void gradient_of_rows(const Net* net, real* dC, const real* rows, Py_ssize_t stride, const real* dpre,
                           Py_ssize_t n_outputs, Py_ssize_t n_rows, Py_ssize_t piece) noexcept nogil:
    """dC (n_outputs, Gp) += sum over rows i of rows[i]' dpre[i], for some outputs and one strip: dW_rec and dW_in."""
    cdef Py_ssize_t W = width_of(net.row, rows), strips = pieces(net.Gp, W), i = 0
    cdef Py_ssize_t size = equal_pieces(n_outputs, OUTPUTS), m = piece // strips * size, j = piece % strips * W
    while i < n_rows:                                         # some rows at a time, so that they stay in the cache
        product(net.row, dC + m * net.Gp + j, net.Gp, rows + i * stride + m, 0, 1, stride, dpre + i * net.Ap + j, 0,
                net.Ap, <const real*>NULL, min(size, n_outputs - m), min(W, net.Gp - j), 1,
                min(<Py_ssize_t>(4 * ROWS), n_rows - i))
        i += 4 * ROWS


# ---- the calls -----------------------------------------------------------------------------------------------------

cdef void recurrence(const Net* net, real* r, real* gates, real* last, real* space, Group* groups, const real* theta,
                     const real* x, const int64_t* offsets, const int64_t* order, const real* initial,
                     const uint8_t* fresh, Py_ssize_t N, int n_threads, int* team) noexcept nogil:
    """All states, r (M + 1, Sp), and gates (M + 1, Ap); space: n_threads times group_space."""
    cdef Py_ssize_t g, i, M = offsets[N], n_groups = make_groups(groups, N, n_threads)
    with parallel(num_threads=n_threads):
        if threadid() == 0:
            team[0] = omp_get_num_threads()
        for i in prange(pieces(M - 1, ROWS), schedule="static"):
            input_rows(net, gates, theta, x, i * ROWS, min(<Py_ssize_t>ROWS, M - 1 - i * ROWS))
        for g in prange(n_groups, schedule="dynamic", chunksize=1):
            group_forward(net, r, gates, last, space + threadid() * group_space(net), theta, x, offsets, order,
                          groups[g], initial, fresh)


cdef double multiply_adds(const Net* net, Py_ssize_t M) noexcept:
    return <double>M * (net.D * (net.P * (net.H + net.R) + net.H + 2.0) + net.G * net.R * (net.D + net.R))


def forward(Network network, const real[::1] theta, const real[:, ::1] x, const int64_t[::1] offsets,
            const int64_t[::1] order, const uint8_t[::1] fresh, const real[:, ::1] initial, double[::1] frames,
            double[:, ::1] dims=None, real[:, :, ::1] parameters=None, real[:, ::1] last=None, int n_threads=1):
    """Exact log-densities of frames (M,); of dimensions (M, D), conditional parameters (M, D, P) and the state after
    each sequence (N, Sp) where an array is given.  initial (N, Sp) holds the first state of the sequences that are
    not `fresh`; order is that of falling length."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef const real* x_ = &x[0, 0]
    cdef double* frames_ = &frames[0]
    cdef double* dims_ = NULL if dims is None else &dims[0, 0]
    cdef real* parameters_ = <real*>NULL if parameters is None else &parameters[0, 0, 0]
    cdef Py_ssize_t M = x.shape[0], N = offsets.shape[0] - 1, W = width_of(net.row, theta_), g
    cdef Py_ssize_t halves = pieces(2 * M, W), at_once, n_groups, of_panel = (net.D + net.H + net.R) * W, of_thread
    cdef real* r = <real*>NULL
    cdef real* buffers
    cdef int* team = &space.team
    n_threads = worth_threads(n_threads, multiply_adds(&net, M), pieces(M, W))
    if net.R:
        r = <real*>space.take((M + 1) * net.Sp * sizeof(real))
        recurrence(&net, r, r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real)),
                   <real*>NULL if last is None else &last[0, 0],
                   <real*>space.take(n_threads * group_space(&net) * sizeof(real)),
                   <Group*>space.take((N + n_threads) * sizeof(Group)), theta_, x_, &offsets[0], &order[0],
                   &initial[0, 0], &fresh[0], N, n_threads, team)
    at_once = max(1, CACHE // <Py_ssize_t>((net.H + net.R + 1) * W * sizeof(real)))
    n_groups = min(halves, pieces(pieces(M, at_once * W), n_threads) * n_threads)
    at_once = pieces(pieces(halves, n_groups), 2)             # as many half panels in each group
    of_thread = pieces(at_once * of_panel + (net.H + (net.in_block + 1) * net.P + 1) * W, 64) * 64
    buffers = <real*>space.take(n_threads * of_thread * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        if threadid() == 0:
            team[0] = omp_get_num_threads()
        for g in prange(n_groups, schedule="static"):
            panels_forward(&net, frames_, dims_, parameters_, buffers + threadid() * of_thread, theta_, x_, r,
                           halves * g // n_groups * W // 2, min(M, halves * (g + 1) // n_groups * W // 2))


def gradient(Network network, real[::1] grad, double[::1] frames, const real[::1] theta, const real[:, ::1] x,
             const int64_t[::1] offsets, const int64_t[::1] order, const uint8_t[::1] fresh,
             const real[:, ::1] initial, const real[::1] weight, int n_threads=1, const real[:, ::1] inputs=None,
             const real[:, ::1] mask=None):
    """Log-densities of frames (M,), the same bits as `forward`, and in grad the gradient of sum_i weight_i log p_i.

    inputs (M, D): what the recurrence reads in the place of x.  mask (M, Rp): factors of the states where they
    condition their frame; the recurrence goes on with the states themselves."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef const real* x_ = &x[0, 0]
    cdef const real* inputs_ = x_ if inputs is None else &inputs[0, 0]
    cdef const real* mask_ = <const real*>NULL if mask is None else &mask[0, 0]
    cdef const real* weight_ = &weight[0]
    cdef const int64_t* offsets_ = &offsets[0]
    cdef const int64_t* order_ = &order[0]
    cdef const uint8_t* fresh_ = &fresh[0]
    cdef real* grad_ = &grad[0]
    cdef double* frames_ = &frames[0]
    cdef Py_ssize_t M = x.shape[0], N = offsets.shape[0] - 1, W = width_of(net.row, theta_)
    cdef Py_ssize_t D = net.D, H = net.H, P = net.P, Q = net.Q, R = net.R, Rp = net.Rp, Sp = net.Sp, GR = net.G * net.R
    cdef Py_ssize_t n_panels = pieces(M, W), n_blocks = pieces(D, net.in_block), most, first, n, begin, end, d0, n_dims
    cdef Py_ssize_t p, q, i, j, g, n_V, n_U, n_groups, span
    cdef int* team = &space.team
    n_threads = worth_threads(n_threads, 3 * multiply_adds(&net, M), pieces(M, W))

    # Panels that are in flight together, and blocks from one barrier to the next.
    cdef Panel at = panel_layout(&net, W, 1)
    most = max(<Py_ssize_t>n_threads, max(GROUP // <Py_ssize_t>sizeof(real), 2 * net.size) // at.size)
    most = pieces(pieces(n_panels, pieces(n_panels, most)), n_threads) * n_threads      # as many for each thread
    span = SPAN // <Py_ssize_t>(most * (at.dw - at.dz) * sizeof(real))
    span = max(1, min(span, n_blocks))
    at = panel_layout(&net, W, equal_pieces(n_blocks, span))
    cdef Py_ssize_t n_spans = pieces(n_blocks, at.span), n_c = pieces(H, OUTPUTS)
    cdef Py_ssize_t n_W = pieces(H, equal_pieces(H, OUTPUTS)) * pieces(Rp, W) if net.hidden_context else 0
    cdef real* panels = <real*>space.take(most * at.size * sizeof(real))
    cdef double* sums = <double*>space.take(most * n_blocks * W * sizeof(double))     # (most, n_blocks, W)
    cdef real* db = <real*>space.take(D * P * W * sizeof(real))                       # (D, P, W)
    cdef real* dc = <real*>space.take(H * W * sizeof(real))                           # (H, W)
    cdef Py_ssize_t of_thread = pieces((2 * net.in_block * H + P + 1) * W, 64) * 64
    cdef real* buffers = <real*>space.take(n_threads * of_thread * sizeof(real))
    memset(db, 0, D * P * W * sizeof(real))
    memset(dc, 0, H * W * sizeof(real))
    # V and U, nearly all of the gradient, start from `zeros` in their first product instead: no pass over them before.
    cdef real* zeros = <real*>space.take(max(P, <Py_ssize_t>OUTPUTS) * sizeof(real))
    cdef Py_ssize_t behind_b = net.U if R else net.size
    memset(zeros, 0, max(P, <Py_ssize_t>OUTPUTS) * sizeof(real))
    memset(grad_, 0, net.V * sizeof(real))
    if at.strips * W < net.Hp:                                # narrow panels leave padding that no product reaches
        memset(grad_ + net.V, 0, D * P * net.Hp * sizeof(real))
    memset(grad_ + net.b, 0, (behind_b - net.b) * sizeof(real))
    if R:
        memset(grad_ + net.W_c, 0, (net.size - net.W_c) * sizeof(real))

    cdef real *r = <real*>NULL
    cdef real *r_frames = <real*>NULL
    cdef real *gates = <real*>NULL
    cdef real *dr = <real*>NULL
    cdef real *dpre = <real*>NULL
    cdef real *dr0 = <real*>NULL
    cdef real *W_out = <real*>NULL
    cdef real *rows = <real*>NULL
    cdef Group* groups = NULL
    cdef const real* start
    if R:
        r = <real*>space.take((n_panels * W + 1) * Sp * sizeof(real))                 # (M, Sp) and padding
        dr = <real*>space.take((n_panels * W + 1) * Sp * sizeof(real))
        gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
        dpre = dr if net.G == 1 else gates
        dr0 = <real*>space.take(N * Sp * sizeof(real))
        W_out = <real*>space.take(GR * Rp * sizeof(real))                             # W_rec with outputs as rows
        rows = <real*>space.take(n_threads * group_space(&net) * sizeof(real))
        groups = <Group*>space.take((N + n_threads) * sizeof(Group))
        if Sp > Rp:
            memset(dr, 0, M * Sp * sizeof(real))                                      # no frame sees c
        memset(r + M * Sp, 0, (n_panels * W + 1 - M) * Sp * sizeof(real))
        recurrence(&net, r, gates, <real*>NULL, rows, groups, theta_, inputs_, offsets_, order_, &initial[0, 0], fresh_,
                   N, n_threads, team)
        r_frames = r
        if mask_ != NULL:
            r_frames = <real*>space.take((n_panels * W + 1) * Sp * sizeof(real))
            memset(r_frames + M * Sp, 0, (n_panels * W + 1 - M) * Sp * sizeof(real))
            with nogil, parallel(num_threads=n_threads):
                for i in prange(pieces(M, ROWS), schedule="static"):
                    multiply_rows(&net, r_frames, r, mask_, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))

    for first in range(0, n_panels, most):
        n = min(most, n_panels - first)
        start = zeros if first == 0 else <real*>NULL
        with nogil, parallel(num_threads=n_threads):
            if threadid() == 0:
                team[0] = omp_get_num_threads()
            for q in range(n_spans - 1, -1, -1):
                begin = q * at.span
                end = min(begin + at.span, n_blocks)
                d0 = begin * net.in_block
                n_dims = min(end * net.in_block, D) - d0
                for g in prange(n_threads, schedule="static", chunksize=1):
                    if q == n_spans - 1:
                        panels_start(&net, &at, panels, theta_, x_, r_frames, weight_, first * W, n * g // n_threads,
                                     n * (g + 1) // n_threads, M)
                    panels_backward(&net, &at, sums, panels, buffers + threadid() * of_thread, theta_,
                                    n * g // n_threads, n * (g + 1) // n_threads, begin, end)
                n_V = n_dims * at.strips
                n_U = pieces(n_dims * Q, driven_at_once(&net, n_dims * Q)) * pieces(Rp, W) if R else 0
                for i in prange(n_V + n_U + n_dims, schedule="dynamic", chunksize=1):
                    if i < n_V:
                        gradient_of_V(&net, &at, grad_, start, panels, d0, i, n)
                    elif i < n_V + n_U:
                        gradient_of_U(&net, &at, grad_, start, panels, r_frames + first * W * Sp, d0, n_dims * Q,
                                      i - n_V, n)
                    else:
                        gradient_of_dimension(&net, &at, grad_, db, panels, d0, i - n_V - n_U, n)
            for i in prange(n_W + n + n_c, schedule="dynamic", chunksize=1):
                if i < n_W:
                    gradient_of_W_c(&net, &at, grad_, panels, r_frames + first * W * Sp, i, n)
                elif i < n_W + n:
                    p = i - n_W
                    panel_end(&net, &at, frames_, dr, panels + p * at.size, sums + p * n_blocks * W, theta_,
                              (first + p) * W, min(W, M - (first + p) * W))
                else:
                    gradient_of_c(&net, &at, dc, panels, i - n_W - n, n)

    for i in range(D * P):                                    # the lanes last
        grad_[net.b + i] = sum_in_order(db + i * W, W)
    for i in range(H):
        grad_[net.c + i] = sum_in_order(dc + i * W, W)
    if R:
        n_groups = make_groups(groups, N, n_threads)
        n_V = pieces(R, equal_pieces(R, OUTPUTS)) * pieces(net.Gp, W)
        n_U = pieces(D, equal_pieces(D, OUTPUTS)) * pieces(net.Gp, W)
        with nogil, parallel(num_threads=n_threads):
            for i in prange(GR, schedule="static"):
                memset(W_out + i * Rp, 0, Rp * sizeof(real))
                for j in range(R):
                    W_out[i * Rp + j] = theta_[net.W_rec + j * net.Gp + i]
            if mask_ != NULL:
                for i in prange(pieces(M, ROWS), schedule="static"):
                    multiply_rows(&net, dr, dr, mask_, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
            for g in prange(n_groups, schedule="dynamic", chunksize=1):
                group_backward(&net, dr, dpre, dr0, rows + threadid() * group_space(&net), W_out, r, offsets_, order_,
                               groups[g])
            # Row i + 1 of dpre is the gradient of b_r + W_in x[i] (+ W_rec r[i]).
            for i in prange(n_V + n_U + 1, schedule="dynamic", chunksize=1):
                if i == n_V + n_U:
                    for j in range(1, M):                     # db_r += dpre
                        add(grad_ + net.b_r, dpre + j * net.Ap, net.Gp)
                elif i >= n_V:
                    gradient_of_rows(&net, grad_ + net.W_in, inputs_, D, dpre + net.Ap, D, M - 1, i - n_V)
                elif not net.apart:
                    gradient_of_rows(&net, grad_ + net.W_rec, r, Sp, dpre + net.Ap, R, M - 1, i)
        if net.apart:
            with nogil, parallel(num_threads=n_threads):
                for i in prange(1, M, schedule="static"):
                    recurrent_part(&net, dpre + i * net.Ap, dpre + i * net.Ap)
                for i in prange(n_V, schedule="static"):
                    gradient_of_rows(&net, grad_ + net.W_rec, r, Sp, dpre + net.Ap, R, M - 1, i)
        for i in range(N):                                    # dr0 = dr^0
            if fresh_[i]:
                add(grad_ + net.r0, dr0 + i * Sp, Sp)


include "_sample.pxi"


def add_product(double[:, ::1] C, const double[:, ::1] A, const double[:, :] B):
    """C += A B' with our own kernel: one chain for each element, the same bits for any number of rows."""
    cdef Net net
    cdef Py_ssize_t n = A.shape[0], m = B.shape[0], k = B.shape[1], m_p = padded(m), i, j
    cdef Workspace space = workspace()
    cdef double* rows = <double*>space.take(max(1, n * m_p) * sizeof(double))
    cdef double* lanes = <double*>space.take(max(1, k * m_p) * sizeof(double))
    net.row = find_row(_row_in_use)
    memset(lanes, 0, k * m_p * sizeof(double))
    for j in range(m):
        for i in range(k):
            lanes[i * m_p + j] = B[j, i]
    memset(rows, 0, n * m_p * sizeof(double))
    for i in range(n):
        memcpy(rows + i * m_p, &C[i, 0], m * sizeof(double))
    if n:
        with nogil:
            product(net.row, rows, m_p, &A[0, 0], 0, A.shape[1], 1, lanes, 0, m_p, <const double*>NULL, n, m_p, 1, k)
    for i in range(n):
        memcpy(&C[i, 0], rows + i * m_p, m * sizeof(double))


def states(Network network, real[:, ::1] out, const int64_t[::1] rows, const real[::1] theta, const real[:, ::1] x,
           const int64_t[::1] offsets, const int64_t[::1] order, const uint8_t[::1] fresh,
           const real[:, ::1] initial, real[:, ::1] last, int n_threads=1):
    """out[k] = the state that conditions frame rows[k], (Sp,); last (N, Sp) = the state after each sequence."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef Py_ssize_t M = x.shape[0], N = offsets.shape[0] - 1, k
    cdef real* r = <real*>space.take((M + 1) * net.Sp * sizeof(real))
    cdef real* gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
    n_threads = worth_threads(n_threads, <double>M * net.G * net.R * (net.D + net.R), N)
    recurrence(&net, r, gates, &last[0, 0], <real*>space.take(n_threads * group_space(&net) * sizeof(real)),
               <Group*>space.take((N + n_threads) * sizeof(Group)), &theta[0], &x[0, 0], &offsets[0], &order[0],
               &initial[0, 0], &fresh[0], N, n_threads, &space.team)
    for k in range(rows.shape[0]):
        memcpy(&out[k, 0], r + rows[k] * net.Sp, net.Sp * sizeof(real))


# ---- the update of the parameters: elementwise passes over the flat vector ------------------------------------------

cdef inline void step_piece(real* theta, real* average, const real* direction, const real* strength, real rate,
                            real share, Py_ssize_t n) noexcept nogil:
    """theta <- theta - rate (direction + strength theta);  average <- average + share (theta - average).  strength, average:
    NULL where there is none."""
    cdef Py_ssize_t i
    if strength == NULL:
        for i in range(n):
            theta[i] = theta[i] - direction[i] * rate
    else:
        for i in range(n):
            theta[i] = theta[i] - (direction[i] + strength[i] * theta[i]) * rate
    if average != NULL:
        for i in range(n):
            average[i] = average[i] + share * (theta[i] - average[i])


cdef inline void adam_piece(real* direction, real* m, real* v, const real* gradient, real b1, real b2, real epsilon,
                            real scale_m, real scale_v, Py_ssize_t n) noexcept nogil:
    """direction = m' / (sqrt(v') + epsilon), m and v updated, m' and v' without their bias."""
    cdef Py_ssize_t i
    for i in range(n):
        m[i] = b1 * m[i] + (1 - b1) * gradient[i]
        v[i] = b2 * v[i] + (1 - b2) * gradient[i] * gradient[i]
        direction[i] = m[i] * scale_m / (<real>sqrt(v[i] * scale_v) + epsilon)


cdef inline void momentum_piece(real* direction, real* v, const real* gradient, real decay, Py_ssize_t n) noexcept nogil:
    """direction = v, where v <- decay v + gradient."""
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = decay * v[i] + gradient[i]
        direction[i] = v[i]


def adam(real[::1] theta, real[::1] average, real[::1] m, real[::1] v, const real[::1] gradient,
         const real[::1] strength, double beta1, double beta2, double epsilon, int step, double rate, double share,
         int n_threads=1):
    """One update by Adam with decoupled weight decay, and of the moving average, all (size,).  strength, average:
    None where there is none.

    theta <- theta - rate (m' / (sqrt(v') + epsilon) + strength theta);  average <- average + share (theta - average)
    """
    cdef real b1 = <real>beta1, b2 = <real>beta2, e = <real>epsilon, rate_ = <real>rate, share_ = <real>share
    cdef real scale_m = <real>(1 / (1 - beta1 ** step)), scale_v = <real>(1 / (1 - beta2 ** step))
    cdef Py_ssize_t n = theta.shape[0], p, i, k
    cdef Workspace space = workspace()
    n_threads = min(n_threads, <int>pieces(n, MOVED_PER_THREAD))
    cdef real* directions = <real*>space.take(n_threads * MOVED * sizeof(real))
    cdef real* d
    cdef real* average_ = <real*>NULL if average is None else &average[0]
    cdef const real* strength_ = <const real*>NULL if strength is None else &strength[0]
    with nogil, parallel(num_threads=n_threads):
        d = directions + threadid() * MOVED
        for p in prange(pieces(n, MOVED), schedule="static"):
            i = p * MOVED
            k = min(<Py_ssize_t>MOVED, n - i)
            adam_piece(d, &m[i], &v[i], &gradient[i], b1, b2, e, scale_m, scale_v, k)
            step_piece(&theta[i], <real*>NULL if average_ == NULL else average_ + i, d,
                       <const real*>NULL if strength_ == NULL else strength_ + i, rate_, share_, k)


def momentum(real[::1] theta, real[::1] average, real[::1] v, const real[::1] gradient, const real[::1] strength,
             double decay, double rate, double share, int n_threads=1):
    """One update by momentum with decoupled weight decay, and of the moving average, all (size,).  strength, average:
    None where there is none.

    v <- decay v + gradient;  theta <- theta - rate (v + strength theta);  average <- average + share (theta - average)
    """
    cdef real decay_ = <real>decay, rate_ = <real>rate, share_ = <real>share
    cdef Py_ssize_t n = theta.shape[0], p, i, k
    cdef Workspace space = workspace()
    n_threads = min(n_threads, <int>pieces(n, MOVED_PER_THREAD))
    cdef real* directions = <real*>space.take(n_threads * MOVED * sizeof(real))
    cdef real* d
    cdef real* average_ = <real*>NULL if average is None else &average[0]
    cdef const real* strength_ = <const real*>NULL if strength is None else &strength[0]
    with nogil, parallel(num_threads=n_threads):
        d = directions + threadid() * MOVED
        for p in prange(pieces(n, MOVED), schedule="static"):
            i = p * MOVED
            k = min(<Py_ssize_t>MOVED, n - i)
            momentum_piece(d, &v[i], &gradient[i], decay_, k)
            step_piece(&theta[i], <real*>NULL if average_ == NULL else average_ + i, d,
                       <const real*>NULL if strength_ == NULL else strength_ + i, rate_, share_, k)


cdef double squares(const real* x, Py_ssize_t n) noexcept nogil:
    """The sum of squares in double precision, in eight fixed chains."""
    cdef Py_ssize_t i, j
    cdef double[8] sums
    cdef double total = 0
    memset(sums, 0, sizeof(sums))
    for i in range(n // 8):
        for j in range(8):
            sums[j] += <double>x[8 * i + j] * x[8 * i + j]
    for i in range(n // 8 * 8, n):
        total += <double>x[i] * x[i]
    for j in range(8):
        total += sums[j]
    return total


def norm(const real[::1] x, int n_threads=1):
    """The Euclidean norm: sums of squares of fixed pieces, added in order."""
    cdef Py_ssize_t n = x.shape[0], p
    cdef double total = 0
    cdef Workspace space = workspace()
    cdef double* sums = <double*>space.take(pieces(n, MOVED_PER_THREAD) * sizeof(double))
    n_threads = min(n_threads, <int>pieces(n, MOVED_PER_THREAD))
    for p in prange(pieces(n, MOVED_PER_THREAD), schedule="static", nogil=True, num_threads=n_threads):
        sums[p] = squares(&x[p * MOVED_PER_THREAD], min(<Py_ssize_t>MOVED_PER_THREAD, n - p * MOVED_PER_THREAD))
    for p in range(pieces(n, MOVED_PER_THREAD)):
        total += sums[p]
    return sqrt(total)


FUNCTIONS = {"exp": <int>EXPONENTIAL, "log": <int>LOGARITHM, "sigmoid": <int>SIGMOID, "tanh": <int>TANH}


def apply(str function, const real[::1] x, real[::1] out):
    """out = function(x) with the kernels in use; len(x) is a multiple of PAD.  For tests of their accuracy."""
    cdef int which = FUNCTIONS[function]
    elementwise(find_row(_row_in_use), &out[0], &x[0], which, x.shape[0])

