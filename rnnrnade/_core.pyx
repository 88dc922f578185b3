# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: density, gradient, samples.  Its pieces stand in core/, in the order of the model, each statement
beside its equation; here are its public calls.  Equation numbers are those of NOTATION.md.

Design
------
*Alphabet.*  N sequences, T frames, D dimensions, H hidden units, K components, R recurrent units, P raw outputs a
dimension, J <= P of them driven by the hidden units (they stand first), C numbers of a row of context, Q <= J raw outputs
driven by it (first of all), F <= P that a dimension has for itself, M frames of a batch, W lanes of a panel.  L recurrent
layers.  G gates of the cell (sigmoid, tanh: 1).  Hp, Cp, Rp and Gp are H, C, R and G R rounded up to a multiple of PAD;
what stands between is zero, in parameters and gradients.  Sl numbers of a layer's row of states, Al of its row of gates
(kernel_table.h); Sp and Ap of the rows of all layers, Cs from one row of context to the next.

*States and frames.*  What the past gives a frame is one row of context (recurrence.pxi); what a frame does needs only
its row, and gives back the gradient of it (conditioners.pxi).  Today the rows are the states that condition the frames,
the top layer in front: C = R, Cs = Sp.

*Frames are the lanes.*  Given the rows of context all frames of all sequences are independent (teacher forcing), so
M frames make ceil(M / W) panels [feature][W]; one long recording fills the machine as well as many short ones.

*Recurrence.*  States lie row by row, r (M, Sp), row i the state that conditions frame i: of each layer r, and behind it
what else the cell hands on (LSTM: c).  Layer by layer, sequences, longest first, advance side by side in groups of at
most LOCKSTEP, so that W_rec is read once for a step of a whole group.  The gates that lead to row i lie in row i of
`gates`; with one gate it is r.

*Gradient.*  One sweep over blocks of dimensions, last block first.  `a` is kept at block starts and each
block recomputes its own, with the operations of the forward pass: hence the same bits of the log-density, and no
loss of digits to outliers.  What the frames of a block need is private to a panel (phase A); the gradients of the
parameters follow with every element owned by one thread and summed over frames in ascending order (phase B).

*Same bits.*  Every sum is one chain in a fixed order, or one for each lane with the lanes added last: nothing depends
on the number of threads, on groups of panels or sequences, or on what else is in the batch.

*What the tricks gain* is in docs/internals.md, with sizes and dates.
"""

import os
import threading

from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, isnan, nextafter
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

include "core/machine.pxi"
include "core/workspace.pxi"
include "core/families.pxi"
include "core/network.pxi"
include "core/recurrence.pxi"
include "core/outputs.pxi"
include "core/nade.pxi"
include "core/shared.pxi"
include "core/made.pxi"
include "core/conditioners.pxi"
include "core/given.pxi"
include "core/draws.pxi"
include "core/latent.pxi"
include "core/quantiles.pxi"
include "core/stream.pxi"
include "core/updates.pxi"
include "core/volatility.pxi"
include "core/plain.pxi"


# ---- the border ----------------------------------------------------------------------------------------------------
# Every call compares its arrays with its network and with each other before it takes a pointer: behind it nothing is
# checked.  What is left to Cython is the type, the number of axes, contiguity, and that outputs can be written.

cdef inline int check_shape(str name, const Py_ssize_t* found, int axes, Py_ssize_t n, Py_ssize_t m=0,
                            Py_ssize_t k=0) except -1:
    if found[0] != n or axes > 1 and found[1] != m or axes > 2 and found[2] != k:
        raise ValueError(f"{name} must have the shape {(n, m, k)[:axes]}. "
                         f"Got {tuple([found[i] for i in range(axes)])} instead.")
    return 0


cdef inline int check_threads(int n_threads) except -1:
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1. Got {n_threads} instead.")
    return 0


cdef inline int check_frames(const Net* net, const real[::1] theta, Frames frames, const Py_ssize_t* x) except -1:
    """Parameters and frames of a network; x: the shape of the frames."""
    check_shape("theta", &theta.shape[0], 1, net.size)
    check_shape("x", x, 2, frames.packed.M, net.X)
    if net.R and frames.packed.offsets == NULL:
        raise ValueError("offsets must have the shape (N + 1,): the network is recurrent. Got None instead.")
    return 0


cdef const real* first_states(const Net* net, Frames frames, const real[:, ::1] initial) except? NULL:
    """initial (N, Sp) of recurrent networks, NULL where all sequences are fresh."""
    if not net.R or initial is None:
        return NULL
    check_shape("initial", &initial.shape[0], 2, frames.packed.N, net.Sp)
    return &initial[0, 0] if frames.packed.N else NULL


cdef class Frames:
    """N sequences end to end, M frames in all: what most calls read.

    x : (M, D), of the network's type (`from_normal`: float64)
    offsets : (N + 1,), int64: sequence s is x[offsets[s] : offsets[s + 1]], at least one frame.  None: a network
        without recurrence does not ask
    by_length : (N,), int64: the sequences, longest first.  None: they lie so
    fresh, initial : (N,), uint8, and (N, Sp), of the network's type: sequences that are not fresh begin in the state
        initial[s].  None: all begin in r0

    offsets, by_length and fresh are checked and copied here, x and initial compared with the network in each call."""
    cdef readonly object x, initial
    cdef Packed packed
    cdef int64_t* block           # offsets, by_length and fresh

    def __cinit__(self, x, const int64_t[::1] offsets=None, const int64_t[::1] by_length=None,
                  const uint8_t[::1] fresh=None, initial=None):
        cdef Py_ssize_t N, s, i, M = len(x)
        cdef int64_t length, before = M
        self.x, self.initial, self.packed.M = x, initial, M
        if (fresh is None) != (initial is None):
            raise ValueError("fresh and initial must come together, (N,) and (N, Sp). Got only one of them.")
        if offsets is None:
            if by_length is not None or fresh is not None:
                raise ValueError("offsets must have the shape (N + 1,) beside by_length, fresh and initial. "
                                 "Got None instead.")
            return
        N = offsets.shape[0] - 1
        if N < 0:
            raise ValueError("offsets must have the shape (N + 1,). Got (0,) instead.")
        if by_length is not None:
            check_shape("by_length", &by_length.shape[0], 1, N)
        if fresh is not None:
            check_shape("fresh", &fresh.shape[0], 1, N)
        self.block = <int64_t*>calloc(2 * N + 1 + pieces(N, sizeof(int64_t)), sizeof(int64_t))
        if self.block == NULL:
            raise MemoryError(f"no memory for the offsets of {N} sequences")
        cdef int64_t* offsets_ = self.block
        cdef int64_t* by_length_ = offsets_ + N + 1
        cdef uint8_t* marks = <uint8_t*>(by_length_ + N)      # sequences seen in by_length; then those that are fresh
        for s in range(N + 1):
            offsets_[s] = offsets[s]
        if offsets_[0] != 0 or offsets_[N] != M:
            raise ValueError(f"offsets must go from 0 to {M}, the number of frames in x. "
                             f"Got {offsets_[0]} and {offsets_[N]} instead.")
        for s in range(N):
            if offsets_[s + 1] <= offsets_[s]:
                raise ValueError(f"offsets must ascend. Got {offsets_[s + 1]} behind {offsets_[s]} at {s + 1}.")
        for i in range(N):
            s = i if by_length is None else by_length[i]
            if s < 0 or s >= N or marks[s]:
                raise ValueError(f"by_length must hold each of the {N} sequences once. Got {s} at {i}.")
            marks[s] = 1
            length = offsets_[s + 1] - offsets_[s]
            if length > before:
                raise ValueError(f"by_length must hold the sequences by falling length. Got {length} frames after "
                                 f"{before} at {i}.")
            before = length
            by_length_[i] = s
        self.packed.N, self.packed.offsets, self.packed.by_length = N, offsets_, by_length_
        if fresh is not None:
            for s in range(N):
                marks[s] = fresh[s]
            self.packed.fresh = marks

    def __dealloc__(self):
        free(self.block)


# ---- the calls -----------------------------------------------------------------------------------------------------

def forward(Network network not None, const real[::1] theta not None, Frames frames not None,
            double[::1] log_density not None, double[:, ::1] dims=None, real[:, :, ::1] parameters=None,
            real[:, ::1] last=None, int n_threads=1):
    """Exact log-densities of frames (M,); of dimensions (M, D), conditional parameters (M, D, P) and the state after
    each sequence (N, Sp) where an array is given."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real[:, ::1] x = frames.x
    cdef const real[:, ::1] initial = frames.initial
    cdef const real* initial_ = first_states(&net, frames, initial)
    cdef Py_ssize_t M = frames.packed.M, N = frames.packed.N
    cdef const real* theta_
    cdef real *r = <real*>NULL
    cdef real *gates
    check_frames(&net, theta, frames, &x.shape[0])
    check_shape("log_density", &log_density.shape[0], 1, M)
    if dims is not None:
        check_shape("dims", &dims.shape[0], 2, M, net.D)
    if parameters is not None:
        check_shape("parameters", &parameters.shape[0], 3, M, net.D, net.P)
    if last is not None:
        check_shape("last", &last.shape[0], 2, N, net.Sp)
    check_threads(n_threads)
    if M == 0:
        return
    theta_ = &theta[0]
    shapes_of(&net, space, theta_)
    n_threads = worth_threads(n_threads, multiply_adds(&net, M), pieces(M, width_of(net.row, theta_)))
    if net.R:
        r = <real*>space.take((M + 1) * net.Sp * sizeof(real))
        gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
        states_forward(&net, space, r, gates, <real*>NULL if last is None else &last[0, 0], theta_, &x[0, 0],
                       &frames.packed, initial_, n_threads)
    if net.given:
        r = context_with_given(&net, space, r, &x[0, 0], M, M)
    frames_forward(&net, space, &log_density[0], NULL if dims is None else &dims[0, 0],
                   <real*>NULL if parameters is None else &parameters[0, 0, 0], theta_,
                   scored_of(&net, space, &x[0, 0], M), r, M, n_threads)


def gradient(Network network not None, real[::1] grad not None, double[::1] log_density not None,
             const real[::1] theta not None, Frames frames not None, const real[::1] weight not None, int n_threads=1,
             const real[:, ::1] inputs=None, const real[:, ::1] mask=None):
    """Log-densities of frames (M,), the same bits as `forward`, and in grad the gradient of sum_i weight_i log p_i.

    inputs (M, X): what the recurrence reads in the place of the frames.  mask (M, Rp): factors of the states where they
    condition their frame; the recurrence goes on with the states themselves."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real[:, ::1] x = frames.x
    cdef const real[:, ::1] initial = frames.initial
    cdef const real* initial_ = first_states(&net, frames, initial)
    cdef const real* theta_
    cdef const real *mask_ = <const real*>NULL
    cdef const real *inputs_
    cdef Py_ssize_t M = frames.packed.M, rows, W
    cdef real *r = <real*>NULL
    cdef real *gates = <real*>NULL
    cdef real *dr = <real*>NULL
    cdef real *context = <real*>NULL
    cdef real *dcontext
    check_shape("grad", &grad.shape[0], 1, net.size)
    check_shape("log_density", &log_density.shape[0], 1, M)
    check_frames(&net, theta, frames, &x.shape[0])
    check_shape("weight", &weight.shape[0], 1, M)
    check_threads(n_threads)
    if inputs is not None:
        check_shape("inputs", &inputs.shape[0], 2, M, net.X)
    if mask is not None:
        check_shape("mask", &mask.shape[0], 2, M, net.Rp)
    if M == 0:
        memset(&grad[0], 0, net.size * sizeof(real))
        return
    theta_ = &theta[0]
    shapes_of(&net, space, theta_)
    inputs_ = &x[0, 0] if inputs is None else &inputs[0, 0]
    W = width_of(net.row, theta_)
    rows = pieces(M, W) * W + 1
    n_threads = worth_threads(n_threads, 3 * multiply_adds(&net, M), pieces(M, W))
    if net.R:
        r = context = <real*>space.take(rows * net.Sp * sizeof(real))                 # (M, Sp) and padding
        dr = <real*>space.take(rows * net.Sp * sizeof(real))
        gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
        memset(r + M * net.Sp, 0, (rows - M) * net.Sp * sizeof(real))
        states_forward(&net, space, r, gates, <real*>NULL, theta_, inputs_, &frames.packed, initial_, n_threads)
        if mask is not None:
            mask_ = &mask[0, 0]
            context = <real*>space.take(rows * net.Sp * sizeof(real))
            memset(context + M * net.Sp, 0, (rows - M) * net.Sp * sizeof(real))
            with nogil:
                masked_states(&net, context, r, mask_, M, n_threads)
        if net.Cs > net.Cp:
            memset(dr, 0, M * net.Sp * sizeof(real))                                  # what no frame reads
    dcontext = dr
    if net.given:
        context = context_with_given(&net, space, context, &x[0, 0], M, rows)
        dcontext = <real*>space.take(rows * net.Cs * sizeof(real))
    frames_gradient(&net, space, &grad[0], &log_density[0], dcontext, theta_, scored_of(&net, space, &x[0, 0], M),
                    context, &weight[0], M, n_threads)
    if net.R:
        if net.given:
            gradient_of_states(&net, dr, dcontext, M)
        states_gradient(&net, space, &grad[0], dr, gates, r, theta_, inputs_, mask_, &frames.packed, n_threads)


def states(Network network not None, real[:, ::1] out not None, const int64_t[::1] rows not None,
           const real[::1] theta not None, Frames frames not None, real[:, ::1] last=None, int n_threads=1):
    """out[k] = the state that conditions frame rows[k], (Sp,); last (N, Sp), where it is given, the one after each
    sequence."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real[:, ::1] x = frames.x
    cdef const real[:, ::1] initial = frames.initial
    cdef const real* initial_ = first_states(&net, frames, initial)
    cdef Py_ssize_t M = frames.packed.M, N = frames.packed.N, k
    cdef real *r
    cdef real *gates
    if not net.R:
        raise ValueError("network must be recurrent: this one has no states.")
    check_shape("out", &out.shape[0], 2, rows.shape[0], net.Sp)
    for k in range(rows.shape[0]):
        if not 0 <= rows[k] < M:
            raise ValueError(f"rows must be among the frames 0 ... {M - 1}. Got {rows[k]} at {k}.")
    check_frames(&net, theta, frames, &x.shape[0])
    if last is not None:
        check_shape("last", &last.shape[0], 2, N, net.Sp)
    check_threads(n_threads)
    if M == 0:
        return
    n_threads = worth_threads(n_threads, recurrent_multiply_adds(&net, M), N)
    r = <real*>space.take((M + 1) * net.Sp * sizeof(real))
    gates = r if net.G == 1 else <real*>space.take((M + 1) * net.Ap * sizeof(real))
    states_forward(&net, space, r, gates, <real*>NULL if last is None else &last[0, 0], &theta[0], &x[0, 0],
                   &frames.packed, initial_, n_threads)
    for k in range(rows.shape[0]):
        memcpy(&out[k, 0], r + rows[k] * net.Sp, net.Sp * sizeof(real))


def sample(Network network not None, real[:, :, ::1] x not None, const real[::1] theta not None,
           const real[:, :, ::1] uniform not None, const real[:, :, ::1] noise not None, real[:, ::1] state=None,
           int n_threads=1):
    """x drawn from the model, with one uniform and one standard number of the head for each (of a family with a shape
    two, noise (N, T, 2 D)); what is given stands in front in the rows of x (N, T, X).  state (N, Sp) is the recurrent
    state that conditions the first frame, and becomes the one after the last."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef Py_ssize_t N = x.shape[0], T = x.shape[1]
    check_shape("x", &x.shape[0], 3, N, T, net.X)
    check_shape("theta", &theta.shape[0], 1, net.size)
    check_shape("uniform", &uniform.shape[0], 3, N, T, net.D)
    check_shape("noise", &noise.shape[0], 3, N, T, net.D * net.noises)
    if state is not None:
        check_shape("state", &state.shape[0], 2, N, net.Sp)
    elif net.R:
        raise ValueError(f"state must have the shape {(N, net.Sp)}: the network is recurrent. Got None instead.")
    check_threads(n_threads)
    if N == 0 or T == 0:
        return
    shapes_of(&net, space, &theta[0])
    draw_frames(&net, space, &x[0, 0, 0], &theta[0], &uniform[0, 0, 0], &noise[0, 0, 0],
                &state[0, 0] if net.R else <real*>NULL, N, T, n_threads)


def from_normal(Network network not None, double[:, ::1] e not None, const real[::1] theta not None,
                Frames frames not None, int n_threads=1):
    """e (M, D): the frames whose normal scores are frames.x (M, D), float64, of a head of Gaussian mixtures; behind what
    is given, (M, X)."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const double[:, ::1] score = frames.x
    cdef const real[:, ::1] initial = frames.initial
    cdef const real* initial_ = first_states(&net, frames, initial)
    cdef Py_ssize_t M = frames.packed.M
    check_frames(&net, theta, frames, &score.shape[0])
    check_shape("e", &e.shape[0], 2, M, net.D)
    if frames.packed.offsets == NULL:
        raise ValueError("offsets must have the shape (N + 1,): the frames of a sequence follow each other. "
                         "Got None instead.")
    check_threads(n_threads)
    if M == 0:
        return
    shapes_of(&net, space, &theta[0])
    frames_from_normal(&net, space, &e[0, 0], &theta[0], &score[0, 0], &frames.packed, initial_, n_threads)


def score_frame(Network network not None, double[::1] dims not None, const real[::1] theta not None,
                const real[::1] x not None, real[::1] state not None):
    """Log-density of one row x (X,) of frames after a state (Sp,), which becomes the one after it; dims (D,) gets those of the
    dimensions.  The same bits as `forward`."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    check_shape("dims", &dims.shape[0], 1, net.D)
    check_shape("theta", &theta.shape[0], 1, net.size)
    check_shape("x", &x.shape[0], 1, net.X)
    check_shape("state", &state.shape[0], 1, net.Sp)
    cdef const real* theta_ = &theta[0]
    cdef real* state_ = &state[0] if net.R else <real*>NULL
    shapes_of(&net, space, theta_)
    cdef Py_ssize_t W = width_of(net.row, theta_)
    cdef Draw at = draw_layout(&net, W, 1)
    cdef real* panel = <real*>space.take((at.size + (net.P + 2) * W + 2 * net.at.K) * sizeof(real))
    cdef double frame
    cdef float_mode mode
    with nogil:
        mode = subnormals_as_zero()
        frame = frame_score(&net, &at, &dims[0], panel, state_, theta_, &x[0])
        set_float_mode(mode)
    return frame


cdef class LatentFrames:
    """Frames of N sequences, step by step, as the calls latent_... read them.

    x : (M, D), of the network's type: the first frames of all sequences, the longest sequence first, then the second ones
        of those that have them, and so on
    starts : (T + 1,), int64: the frames at time t are x[starts[t] : starts[t + 1]], never more than before
    noise : (M, n_latent): the standard normal numbers that the latent vectors are drawn with
    given : (M, n_latent): the latent vectors, drawn by others.  None: those of noise
    fresh, initial : (N,), uint8, and (N, Zp): sequences that are not fresh go on from initial[s].  None: all are fresh

    starts and fresh are checked and copied here, the other arrays compared with the network in each call."""
    cdef readonly object x, noise, given, initial
    cdef Steps steps
    cdef int64_t* block

    def __cinit__(self, x, const int64_t[::1] starts not None, noise, given=None, const uint8_t[::1] fresh=None,
                  initial=None):
        cdef Py_ssize_t T = starts.shape[0] - 1, N, t, M = len(x)
        cdef uint8_t* marks
        self.x, self.noise, self.given, self.initial = x, noise, given, initial
        if (fresh is None) != (initial is None):
            raise ValueError("fresh and initial must come together, (N,) and (N, Zp). Got only one of them.")
        if T < 0:
            raise ValueError("starts must have the shape (T + 1,). Got (0,) instead.")
        if starts[0] != 0 or starts[T] != M:
            raise ValueError(f"starts must go from 0 to {M}, the number of frames in x. "
                             f"Got {starts[0]} and {starts[T]} instead.")
        N = starts[1] if T > 0 else 0
        if fresh is not None:
            check_shape("fresh", &fresh.shape[0], 1, N)
        self.block = <int64_t*>calloc(T + 1 + pieces(N, sizeof(int64_t)), sizeof(int64_t))
        if self.block == NULL:
            raise MemoryError(f"no memory for the steps of {N} sequences")
        for t in range(T + 1):
            self.block[t] = starts[t]
            if t and not 0 < starts[t] - starts[t - 1] <= (starts[t - 1] - starts[t - 2] if t > 1 else N):
                raise ValueError(f"starts must have steps that do not grow. Got {starts[t] - starts[t - 1]} at {t - 1}.")
        marks = <uint8_t*>(self.block + T + 1)
        self.steps.starts, self.steps.fresh, self.steps.N, self.steps.M, self.steps.T = self.block, NULL, N, M, T
        if fresh is not None:
            for t in range(N):
                marks[t] = fresh[t]
            self.steps.fresh = marks

    def __dealloc__(self):
        free(self.block)


cdef int check_latent(const Net* net, const real[::1] theta, LatentFrames frames, const real[:, ::1] x,
                      const real[:, ::1] noise, const real[:, ::1] given, const real[:, ::1] initial) except -1:
    cdef Py_ssize_t M = frames.steps.M, Y = net.latents.Y
    check_shape("theta", &theta.shape[0], 1, net.size)
    check_shape("x", &x.shape[0], 2, M, net.D)
    if noise is None and given is None:
        raise ValueError(f"noise must have the shape {(M, Y)}. Got None instead.")
    if noise is not None:
        check_shape("noise", &noise.shape[0], 2, M, Y)
    if given is not None:
        check_shape("given", &given.shape[0], 2, M, Y)
    if initial is not None:
        check_shape("initial", &initial.shape[0], 2, frames.steps.N, net.Zp)
    return 0


cdef const real* numbers_of(const real[:, ::1] x) noexcept:
    """The first number of an array, NULL where there is none."""
    return &x[0, 0] if x is not None and x.shape[0] and x.shape[1] else <const real*>NULL


cdef enum:
    MANY = 64                       # rows for which weights are laid in strips


def latent_forward(Network network not None, const real[::1] theta not None, LatentFrames frames not None,
                   double[::1] log_density, double[::1] divergence, double[::1] ratio,
                   double[:, ::1] dims=None, real[:, :, ::1] normals=None, real[:, ::1] latent=None,
                   real[:, ::1] context=None, real[:, :, ::1] parameters=None, real[:, ::1] last=None,
                   int n_threads=1):
    """Of each frame (M,): log p(x | y, past), the divergence of the encoder from the prior, and log p(y) - log q(y).

    Of latent vectors that are given, divergence and ratio may be None, both, and log_density, too: what only they need is
    not computed.  Where an array is given: dims (M, D), of each dimension given those before it; normals (M, 4, n_latent), means and scales of prior and encoder; latent (M, n_latent);
    context (M, C); parameters (M, D, P) of the frames' conditionals; last (N, Zp), what goes on after each sequence."""
    cdef Net net = network.bound_latent()
    cdef Workspace space = workspace()
    cdef const real[:, ::1] x = frames.x
    cdef const real[:, ::1] noise = frames.noise
    cdef const real[:, ::1] given = frames.given
    cdef const real[:, ::1] initial = frames.initial
    cdef Py_ssize_t M = frames.steps.M, N = frames.steps.N, Y = net.latents.Y, Yp = net.latents.Yp, W, i, j, top
    cdef Rows at
    cdef real* block
    cdef const real* around
    cdef const real* noise_
    cdef const real* given_
    cdef bint infers = divergence is not None, scores = log_density is not None
    check_latent(&net, theta, frames, x, noise, given, initial)
    if infers:
        check_shape("divergence", &divergence.shape[0], 1, M)
    if ratio is not None:
        check_shape("ratio", &ratio.shape[0], 1, M)
    if infers != (ratio is not None) or (not infers and (given is None or normals is not None)):
        raise ValueError("divergence and ratio must be arrays, or both None for latent vectors that are given, without "
                         "normals.")
    if scores:
        check_shape("log_density", &log_density.shape[0], 1, M)
    elif given is None or not (dims is None and context is None and parameters is None):
        raise ValueError("log_density must be an array, or None for latent vectors that are given, without dims, context "
                         "and parameters.")
    if dims is not None:
        check_shape("dims", &dims.shape[0], 2, M, net.D)
    if normals is not None:
        check_shape("normals", &normals.shape[0], 3, M, 4, Y)
    if latent is not None:
        check_shape("latent", &latent.shape[0], 2, M, Y)
    if context is not None:
        check_shape("context", &context.shape[0], 2, M, net.C)
    if parameters is not None:
        check_shape("parameters", &parameters.shape[0], 3, M, net.D, net.P)
    if last is not None:
        check_shape("last", &last.shape[0], 2, N, net.Zp)
    check_threads(n_threads)
    if M == 0:
        return
    shapes_of(&net, space, &theta[0])
    W = width_of(net.row, &theta[0])
    n_threads = worth_threads(n_threads, multiply_adds(&net, M), pieces(M, W))
    at = latent_rows(&net, &frames.steps, False, W)
    block = <real*>space.take(at.size * sizeof(real))
    noise_, given_ = numbers_of(noise), numbers_of(given)
    around = &theta[0]
    if M >= MANY:
        net.strips, around = True, in_strips(&net, space, &at, &frames.steps, &theta[0], n_threads)
    latent_forward_rows(&net, space, &at, &frames.steps, block, &last[0, 0] if last is not None and net.Zp else <real*>NULL,
                        around, &x[0, 0], noise_, given_, numbers_of(initial), infers, scores, W, n_threads)
    if infers:
        divergences(&net, &at, block, &divergence[0], <double*>NULL, &ratio[0], noise_, given_, M)
    top = (net.latents.n_dense - 1) * net.latents.Ep
    for i in range(M):
        if normals is not None:
            for j in range(Y):
                normals[i, 0, j], normals[i, 1, j] = block[at.np + i * 3 * Yp + j], block[at.np + i * 3 * Yp + Yp + j]
                normals[i, 2, j], normals[i, 3, j] = block[at.nq + i * 3 * Yp + j], block[at.nq + i * 3 * Yp + Yp + j]
        if latent is not None and Y:
            memcpy(&latent[i, 0], block + at.y + i * Yp, Y * sizeof(real))
        if context is not None:
            memcpy(&context[i, 0], block + at.k + i * net.Cs + top, net.C * sizeof(real))
    if scores:
        frames_forward(&net, space, &log_density[0], NULL if dims is None else &dims[0, 0],
                       <real*>NULL if parameters is None else &parameters[0, 0, 0], &theta[0], &x[0, 0],
                       block + at.k + top, M, n_threads)


def latent_gradient(Network network not None, real[::1] grad not None, double[::1] log_density not None,
                    double[::1] divergence not None, double[::1] ratio not None, const real[::1] theta not None,
                    LatentFrames frames not None, const real[::1] weight not None, const real[::1] press not None,
                    double free_nats=0.0, bint sampled=False, int n_threads=1):
    """What latent_forward gives of each frame, the same bits, and in grad the gradient of
    sum_i weight_i log p_i - press_i divergence_i, or, with sampled, of sum_i weight_i log p_i + press_i ratio_i.

    free_nats: a latent number whose mean divergence, weighed by press, is at most this is not pressed."""
    cdef Net net = network.bound_latent()
    cdef Workspace space = workspace()
    cdef const real[:, ::1] x = frames.x
    cdef const real[:, ::1] noise = frames.noise
    cdef const real[:, ::1] given = frames.given
    cdef const real[:, ::1] initial = frames.initial
    cdef Py_ssize_t M = frames.steps.M, Y = net.latents.Y, W, i, j, top, size
    cdef double total, pressed
    cdef Rows at
    cdef Turned by
    cdef real* block
    cdef real* of_numbers
    cdef double* of_each = NULL
    cdef const real* around
    cdef const real* noise_
    if given is not None:
        raise ValueError("given must be None: the gradient goes through the draw.")
    check_latent(&net, theta, frames, x, noise, given, initial)
    check_shape("grad", &grad.shape[0], 1, net.size)
    check_shape("log_density", &log_density.shape[0], 1, M)
    check_shape("divergence", &divergence.shape[0], 1, M)
    check_shape("ratio", &ratio.shape[0], 1, M)
    check_shape("weight", &weight.shape[0], 1, M)
    check_shape("press", &press.shape[0], 1, M)
    check_threads(n_threads)
    memset(&grad[0], 0, net.size * sizeof(real))
    if M == 0:
        return
    shapes_of(&net, space, &theta[0])
    W = width_of(net.row, &theta[0])
    n_threads = worth_threads(n_threads, 3 * multiply_adds(&net, M), pieces(M, W))
    at = latent_rows(&net, &frames.steps, True, W)
    size = at.size
    turn_weights(<real*>NULL, &size, &net, &theta[0])
    block = <real*>space.take(size * sizeof(real))
    size = at.size
    by = turn_weights(block, &size, &net, &theta[0])
    noise_ = numbers_of(noise)
    net.strips, around = True, in_strips(&net, space, &at, &frames.steps, &theta[0], n_threads)
    latent_forward_rows(&net, space, &at, &frames.steps, block, <real*>NULL, around, &x[0, 0], noise_,
                        <const real*>NULL, numbers_of(initial), True, True, W, n_threads)
    of_numbers = <real*>space.take((Y + 1) * sizeof(real))
    if free_nats > 0 and Y:
        of_each = <double*>space.take(M * Y * sizeof(double))
    divergences(&net, &at, block, &divergence[0], of_each, &ratio[0], noise_, <const real*>NULL, M)
    for j in range(Y):
        total, pressed = 0, 0
        for i in range(M if of_each != NULL else 0):
            total += press[i] * of_each[i * Y + j]
            pressed += press[i]
        of_numbers[j] = 0 if of_each != NULL and pressed != 0 and total / pressed <= free_nats else 1
    top = (net.latents.n_dense - 1) * net.latents.Ep
    memset(block + at.dk, 0, pieces(M, W) * W * net.latents.Hs * sizeof(real))
    frames_gradient(&net, space, &grad[0], &log_density[0], block + at.dk + top, &theta[0], &x[0, 0], block + at.k + top,
                    &weight[0], M, n_threads)
    latent_backward(&net, space, &at, &by, &frames.steps, block, &grad[0], &theta[0], &x[0, 0], noise_, &press[0],
                    of_numbers, sampled, n_threads)


def latent_prior(Network network not None, real[:, ::1] latent not None, real[:, ::1] context not None,
                 const real[::1] theta not None, const real[:, ::1] state, const real[:, ::1] noise not None,
                 int n_threads=1):
    """Latent vectors (n, n_latent) drawn from the prior after states (n, Zp), and the context (n, C) of their frames."""
    cdef Net net = network.bound_latent()
    cdef Workspace space = workspace()
    cdef Py_ssize_t n = noise.shape[0], Y = net.latents.Y, Yp = net.latents.Yp, W, i, top
    cdef int64_t starts[2]
    cdef uint8_t* fresh
    cdef Steps steps
    cdef Rows at
    cdef real* block
    cdef real* spare
    cdef const Latents* lat = net.latents
    check_shape("theta", &theta.shape[0], 1, net.size)
    check_shape("noise", &noise.shape[0], 2, n, Y)
    check_shape("latent", &latent.shape[0], 2, n, Y)
    check_shape("context", &context.shape[0], 2, n, net.C)
    if state is not None:
        check_shape("state", &state.shape[0], 2, n, net.Zp)
    elif net.Zp:
        raise ValueError(f"state must have the shape {(n, net.Zp)}. Got None instead.")
    check_threads(n_threads)
    if n == 0:
        return
    W = width_of(net.row, &theta[0])
    starts[0], starts[1] = 0, n
    fresh = <uint8_t*>space.take(n)
    memset(fresh, 0, n)
    steps.starts, steps.fresh, steps.N, steps.M, steps.T = starts, fresh, n, n, 1
    at = latent_rows(&net, &steps, False, W)
    block = <real*>space.take(at.size * sizeof(real))
    spare = <real*>space.take((Yp + 1) * sizeof(real))
    top = (lat.n_dense - 1) * lat.Ep
    first_rows(&net, &at, &steps, block, &theta[0], numbers_of(state))
    if Y:
        if lat.prior:
            fill(block + at.hp, lat.Hs, &theta[0] + lat.prior_net.b[0], n, lat.Ep)
            if not lat.reads:
                dense(&net, block + at.hp, lat.Hs, top_rows(&net, &steps, block + at.r), net.Sl, &theta[0] + lat.P_r,
                      net.R, lat.Ep, n)
        prior_rows(&net, &at, &steps, block, &theta[0], 0, n, spare)
    latent_rows_of(&net, &at, block, &theta[0], block + at.np, numbers_of(noise), <const real*>NULL, 0, n)
    contexts(&net, &at, &steps, block, &theta[0], 0, n)
    for i in range(n):
        if Y:
            memcpy(&latent[i, 0], block + at.y + i * Yp, Y * sizeof(real))
        memcpy(&context[i, 0], block + at.k + i * lat.Hs + top, net.C * sizeof(real))


def latent_sample(Network network not None, real[:, :, ::1] x not None, const real[::1] theta not None,
                  const real[:, :, ::1] uniform not None, const real[:, :, ::1] noise not None,
                  real[:, ::1] context not None, int n_threads=1):
    """Frames x (n, 1, D) drawn given their context (n, C); uniform and noise as `sample` has them."""
    cdef Net net = network.bound_latent()
    cdef Workspace space = workspace()
    cdef Py_ssize_t n = x.shape[0]
    check_shape("x", &x.shape[0], 3, n, 1, net.D)
    check_shape("theta", &theta.shape[0], 1, net.size)
    check_shape("uniform", &uniform.shape[0], 3, n, 1, net.D)
    check_shape("noise", &noise.shape[0], 3, n, 1, net.D * net.noises)
    check_shape("context", &context.shape[0], 2, n, net.C)
    check_threads(n_threads)
    if n == 0:
        return
    net.R = net.L = net.Gp = 0                                        # no state goes on: its rows are those of context
    net.Sp = net.C
    shapes_of(&net, space, &theta[0])
    draw_frames(&net, space, &x[0, 0, 0], &theta[0], &uniform[0, 0, 0], &noise[0, 0, 0], &context[0, 0], n, 1, n_threads)


def adam(real[::1] theta not None, real[::1] average, real[::1] m not None, real[::1] v not None,
         const real[::1] gradient not None, const real[::1] strength, double beta1, double beta2, double epsilon,
         int step, double rate, double share, int n_threads=1):
    """One update by Adam with decoupled weight decay, and of the moving average, all (size,).  strength, average:
    None where there is none.

    theta <- theta - rate (m' / (sqrt(v') + epsilon) + strength theta);  average <- average + share (theta - average)
    """
    cdef Workspace space = workspace()
    cdef Py_ssize_t n = theta.shape[0]
    check_updated(theta, average, gradient, strength)
    check_shape("m", &m.shape[0], 1, n)
    check_shape("v", &v.shape[0], 1, n)
    if step < 1:
        raise ValueError(f"step must be at least 1. Got {step} instead.")
    check_threads(n_threads)
    if n == 0:
        return
    adam_update(space, &theta[0], <real*>NULL if average is None else &average[0], &m[0], &v[0], &gradient[0],
                <const real*>NULL if strength is None else &strength[0], beta1, beta2, epsilon, step, rate, share, n,
                n_threads)


def momentum(real[::1] theta not None, real[::1] average, real[::1] v not None, const real[::1] gradient not None,
             const real[::1] strength, double decay, double rate, double share, int n_threads=1):
    """One update by momentum with decoupled weight decay, and of the moving average, all (size,).  strength, average:
    None where there is none.

    v <- decay v + gradient;  theta <- theta - rate (v + strength theta);  average <- average + share (theta - average)
    """
    cdef Workspace space = workspace()
    cdef Py_ssize_t n = theta.shape[0]
    check_updated(theta, average, gradient, strength)
    check_shape("v", &v.shape[0], 1, n)
    check_threads(n_threads)
    if n == 0:
        return
    momentum_update(space, &theta[0], <real*>NULL if average is None else &average[0], &v[0], &gradient[0],
                    <const real*>NULL if strength is None else &strength[0], decay, rate, share, n, n_threads)


cdef int check_updated(real[::1] theta, real[::1] average, const real[::1] gradient,
                       const real[::1] strength) except -1:
    cdef Py_ssize_t n = theta.shape[0]
    check_shape("gradient", &gradient.shape[0], 1, n)
    if average is not None:
        check_shape("average", &average.shape[0], 1, n)
    if strength is not None:
        check_shape("strength", &strength.shape[0], 1, n)
    return 0


def norm(const real[::1] x not None, int n_threads=1):
    """The Euclidean norm: sums of squares of fixed pieces, added in order."""
    check_threads(n_threads)
    return sqrt(sum_of_squares(workspace(), &x[0], x.shape[0], n_threads)) if x.shape[0] else 0.0


cdef enum:
    MULTIPLIED = 1024               # rows of one piece of `add_product`


def add_product(double[:, ::1] C not None, const double[:, ::1] A not None, const double[:, :] B not None):
    """C += A B' with our own kernel: one chain for each element, the same bits for any number of rows."""
    cdef Net net
    cdef Py_ssize_t n = A.shape[0], m = B.shape[0], k = A.shape[1], m_p = padded(m), i, j, first, end
    cdef Workspace space = workspace()
    check_shape("B", &B.shape[0], 2, m, k)
    check_shape("C", &C.shape[0], 2, n, m)
    if n == 0 or m == 0 or k == 0:
        return
    cdef double* rows = <double*>space.take(min(n, <Py_ssize_t>MULTIPLIED) * m_p * sizeof(double))
    cdef double* lanes = <double*>space.take(k * m_p * sizeof(double))
    net.row = find_row(_row_in_use)
    memset(lanes, 0, k * m_p * sizeof(double))
    for j in range(m):
        for i in range(k):
            lanes[i * m_p + j] = B[j, i]
    memset(rows, 0, min(n, <Py_ssize_t>MULTIPLIED) * m_p * sizeof(double))
    for first in range(0, n, MULTIPLIED):
        if interrupted(&space.watch):
            break
        end = min(n, first + MULTIPLIED)
        for i in range(first, end):
            memcpy(rows + (i - first) * m_p, &C[i, 0], m * sizeof(double))
        with nogil:
            product(net.row, rows, m_p, &A[first, 0], 0, k, 1, lanes, 0, m_p, <const double*>NULL, end - first, m_p, 1, k)
        for i in range(first, end):
            memcpy(&C[i, 0], rows + (i - first) * m_p, m * sizeof(double))
    space.leave()


FUNCTIONS = {"exp": <int>EXPONENTIAL, "expm1": <int>EXPM1, "log": <int>LOGARITHM, "sigmoid": <int>SIGMOID,
             "tanh": <int>TANH}


def apply(str function not None, const real[::1] x not None, real[::1] out not None):
    """out = function(x) with the kernels in use; len(x) is a multiple of PAD.  For tests of their accuracy."""
    if function not in FUNCTIONS:
        raise ValueError(f"function must be one of {', '.join(FUNCTIONS)}. Got {function!r} instead.")
    if x.shape[0] % PAD:
        raise ValueError(f"x must have a length that is a multiple of {PAD}. Got {x.shape[0]} instead.")
    check_shape("out", &out.shape[0], 1, x.shape[0])
    cdef int which = FUNCTIONS[function]
    if x.shape[0]:
        elementwise(find_row(_row_in_use), &out[0], &x[0], which, x.shape[0])
