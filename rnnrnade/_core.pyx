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

include "core/machine.pxi"
include "core/workspace.pxi"
include "core/network.pxi"
include "core/recurrence.pxi"
include "core/nade.pxi"
include "core/draws.pxi"
include "core/quantiles.pxi"
include "core/stream.pxi"
include "core/updates.pxi"
include "core/plain.pxi"


# ---- the calls -----------------------------------------------------------------------------------------------------

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
    cdef Py_ssize_t M = x.shape[0], N = offsets.shape[0] - 1
    cdef Packed packed
    cdef real* r = <real*>NULL
    n_threads = worth_threads(n_threads, multiply_adds(&net, M), pieces(M, width_of(net.row, theta_)))
    if net.R:
        packed = Packed(&offsets[0], &order[0], &fresh[0], N, M)
        r = <real*>space.take((M + 1) * net.Sp * sizeof(real))
        states_forward(&net, space, r, r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real)),
                       <real*>NULL if last is None else &last[0, 0], theta_, x_, &packed, &initial[0, 0], n_threads)
    nade_forward(&net, space, frames_, dims_, parameters_, theta_, x_, r, M, n_threads)


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
    cdef real* grad_ = &grad[0]
    cdef double* frames_ = &frames[0]
    cdef Py_ssize_t M = x.shape[0], N = offsets.shape[0] - 1, W = width_of(net.row, theta_), rows = pieces(M, W) * W + 1
    cdef Packed packed
    cdef real *r = <real*>NULL
    cdef real *gates = <real*>NULL
    cdef real *dr = <real*>NULL
    cdef real *context = <real*>NULL
    n_threads = worth_threads(n_threads, 3 * multiply_adds(&net, M), pieces(M, W))
    if net.R:
        packed = Packed(&offsets[0], &order[0], &fresh[0], N, M)
        r = context = <real*>space.take(rows * net.Sp * sizeof(real))                 # (M, Sp) and padding
        dr = <real*>space.take(rows * net.Sp * sizeof(real))
        gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
        memset(r + M * net.Sp, 0, (rows - M) * net.Sp * sizeof(real))
        states_forward(&net, space, r, gates, <real*>NULL, theta_, inputs_, &packed, &initial[0, 0], n_threads)
        if mask_ != NULL:
            context = <real*>space.take(rows * net.Sp * sizeof(real))
            memset(context + M * net.Sp, 0, (rows - M) * net.Sp * sizeof(real))
            with nogil:
                masked_states(&net, context, r, mask_, M, n_threads)
        if net.Cs > net.Cp:
            memset(dr, 0, M * net.Sp * sizeof(real))                                  # what no frame reads
    nade_gradient(&net, space, grad_, frames_, dr, theta_, x_, context, weight_, M, n_threads)
    if net.R:
        states_gradient(&net, space, grad_, dr, gates, r, theta_, inputs_, mask_, &packed, n_threads)


def sample(Network network, real[:, :, ::1] x, const real[::1] theta, const real[:, :, ::1] uniform,
           const real[:, :, ::1] noise, real[:, ::1] state, int n_threads=1):
    """x (N, T, D) drawn from the model, with one uniform and one standard number of the head for each.  state (N, Sp) is the
    recurrent state that conditions the first frame, and becomes the one after the last."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef real* x_ = &x[0, 0, 0]
    cdef const real* uniform_ = &uniform[0, 0, 0]
    cdef const real* noise_ = &noise[0, 0, 0]
    cdef real* state_ = <real*>NULL if state is None or not net.R else &state[0, 0]
    cdef Py_ssize_t N = x.shape[0], T = x.shape[1], D = net.D, Sp = net.Sp, W = width_of(net.row, theta_)
    cdef Py_ssize_t p, t, i, k, first, n, block, stage, n_blocks = pieces(D, net.in_block), of_stage = pieces(n_blocks, STAGES)
    cdef Draw at = draw_layout(&net, W, 1 if N < FEW else W)
    cdef Py_ssize_t n_panels = panels_of(N, W, at.B, n_threads)
    cdef double lanes = 1 if at.B == 1 else LANES_COST
    cdef bint shared = n_panels < n_threads
    cdef int* team = &space.team
    if shared and SMALL > 0:
        n_threads = <int>max(1., min(<double>n_threads, n_panels * lanes * D * net.Q * net.R / SHARED))
        shared = n_panels < n_threads
    if not shared:
        n_threads = worth_threads(n_threads, lanes * multiply_adds(&net, n_panels * T), n_panels)
    cdef real* panels = <real*>space.take((n_panels if shared else n_threads) * at.size * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        if threadid() == 0:
            team[0] = omp_get_num_threads()
        if shared:
            for p in prange(n_panels, schedule="static"):
                first = N * p // n_panels
                frame_past(&net, &at, panels + p * at.size, state_ + first * Sp, N * (p + 1) // n_panels - first)
            for t in range(T):
                for stage in range(-1, pieces(n_blocks, of_stage)):     # draw this one (-1: begin), work out the next
                    for i in prange(n_panels * (1 + of_stage), schedule="dynamic", chunksize=1):
                        p = i % n_panels
                        first = N * p // n_panels
                        n = N * (p + 1) // n_panels - first
                        k = (first * T + t) * D
                        block = (stage + 1) * of_stage + i // n_panels - 1
                        if i >= n_panels:
                            if block < n_blocks:
                                frame_context(&net, &at, panels + p * at.size, state_ + first * Sp, theta_, block, n)
                        elif stage < 0:
                            frame_numbers(&net, &at, panels + p * at.size, uniform_ + k, noise_ + k, T, n)
                            frame_begin(&net, &at, panels + p * at.size, state_ + first * Sp, theta_)
                        else:
                            frame_draw(&net, &at, x_ + k, panels + p * at.size, theta_, stage * of_stage,
                                       min((stage + 1) * of_stage, n_blocks), T, n)
                for i in prange(n_panels * pieces(net.Gp, GATES), schedule="static"):
                    p = i % n_panels
                    first = N * p // n_panels
                    k = i // n_panels * GATES
                    frame_gates(&net, &at, x_ + (first * T + t) * D, panels + p * at.size, state_ + first * Sp, theta_, T,
                                N * (p + 1) // n_panels - first, k, min(k + GATES, net.Gp))
                for p in prange(n_panels, schedule="static"):
                    first = N * p // n_panels
                    frame_end(&net, &at, panels + p * at.size, state_ + first * Sp, N * (p + 1) // n_panels - first)
        else:
            for p in prange(n_panels, schedule="static"):
                first = N * p // n_panels
                n = N * (p + 1) // n_panels - first
                panel_sample(&net, &at, x_ + first * T * D, panels + threadid() * at.size, state_ + first * Sp, theta_,
                             uniform_ + first * T * D, noise_ + first * T * D, T, n)


def score_frame(Network network, double[::1] dims, const real[::1] theta, const real[::1] x, real[::1] state):
    """Log-density of one frame x (D,) after a state (Sp,), which becomes the one after it; dims (D,) gets those of the
    dimensions.  The same bits as `forward`."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef Py_ssize_t W = width_of(net.row, theta_)
    cdef Draw at = draw_layout(&net, W, 1)
    cdef real* panel = <real*>space.take((at.size + (net.P + 2) * W) * sizeof(real))
    cdef double frame
    with nogil:
        frame = frame_score(&net, &at, &dims[0], panel, &state[0], theta_, &x[0])
    return frame


def states(Network network, real[:, ::1] out, const int64_t[::1] rows, const real[::1] theta, const real[:, ::1] x,
           const int64_t[::1] offsets, const int64_t[::1] order, const uint8_t[::1] fresh,
           const real[:, ::1] initial, real[:, ::1] last, int n_threads=1):
    """out[k] = the state that conditions frame rows[k], (Sp,); last (N, Sp) = the state after each sequence."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef Py_ssize_t M = x.shape[0], N = offsets.shape[0] - 1, k
    cdef Packed packed = Packed(&offsets[0], &order[0], &fresh[0], N, M)
    cdef real* r = <real*>space.take((M + 1) * net.Sp * sizeof(real))
    cdef real* gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
    n_threads = worth_threads(n_threads, <double>M * net.G * net.R * (net.D + net.R), N)
    states_forward(&net, space, r, gates, &last[0, 0], &theta[0], &x[0, 0], &packed, &initial[0, 0], n_threads)
    for k in range(rows.shape[0]):
        memcpy(&out[k, 0], r + rows[k] * net.Sp, net.Sp * sizeof(real))


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


FUNCTIONS = {"exp": <int>EXPONENTIAL, "log": <int>LOGARITHM, "sigmoid": <int>SIGMOID, "tanh": <int>TANH}


def apply(str function, const real[::1] x, real[::1] out):
    """out = function(x) with the kernels in use; len(x) is a multiple of PAD.  For tests of their accuracy."""
    cdef int which = FUNCTIONS[function]
    elementwise(find_row(_row_in_use), &out[0], &x[0], which, x.shape[0])
