"""The model: sizes and choices, the named layout of ONE flat parameter vector, initialisation, and the calls of the
compiled core on packed frames.

Design
------
All parameters are one flat block with named views, so that an optimiser, a checkpoint and a comparison are each one
call.  Inside, axes lie as the kernels like them (the axis that goes into the vector lanes last, padded with zeros to
a multiple of PAD); `Layout.views` shows every block under its user's name and shape, without a copy.  The raw outputs
that the recurrent state drives stand first, so that one product serves them all, whatever `context` is.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType

import numpy as np
from scipy.special import ndtri

from . import _core

PAD = 16  # as in kernels/kernels.h
SLICE_BYTES = 32 * 2**20  # recurrent states that a score of many frames holds at a time


@dataclass(frozen=True)
class Head:
    """The density of one number: its place in the kernels' list, its raw outputs, and their users' names."""

    index: int
    context: dict  # context name -> (name of V, b, W blocks)
    mixture: bool


HEADS = {
    "gaussian": Head(
        0,
        {
            "alpha": ("V_alpha", "b_alpha", "W_alpha"),
            "mu": ("V_mu", "b_mu", "W_mu"),
            "sigma": ("V_sigma", "b_sigma", "W_sigma"),
        },
        mixture=True,
    ),
    "bernoulli": Head(1, {"bias": ("V", "b", "W_b")}, mixture=False),
}
ACTIVATIONS = ("sigmoid", "relu")  # in the order of kernels/kernels.h


@dataclass(frozen=True)
class Cell:
    """A recurrence: its place in the kernels' list, its gates, the numbers of its state a unit, and whether the last
    gate takes W_rec r^{t-1} apart from the rest."""

    index: int
    gates: int = 1
    states: int = 1
    apart: bool = False


CELLS = {"sigmoid": Cell(0), "tanh": Cell(1), "gru": Cell(2, gates=3, apart=True), "lstm": Cell(3, gates=4, states=2)}


def padded(n):
    """n rounded up to a multiple of PAD."""
    return -(-n // PAD) * PAD


@dataclass(frozen=True)
class Layout:
    """Sizes and choices of a network, and where each parameter lies in the flat vector.

    Attributes
    ----------
    head : {"gaussian", "bernoulli"}
    D, H, K, R : int
        Dimensions, hidden units (0: independent dimensions), components, recurrent units (0: static).
    activation, cell : str
    context : tuple of str
        What the recurrent state drives.
    min_scale : float
    """

    head: str
    D: int
    H: int
    K: int = 1
    R: int = 0
    activation: str = "sigmoid"
    cell: str = "sigmoid"
    context: tuple = ()
    min_scale: float = 0.0
    offsets: dict = field(init=False, repr=False, compare=False)
    shapes: dict = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        shapes = {
            "W": (self.D, self.H),
            "c": (self.H,),
            "rho": (self.D,),
            "V": (self.D, self.P, self.Hp),
            "b": (self.D, self.P),
        }
        if self.R:
            shapes |= {
                "U": (self.D, self.Q, self.Rp),
                "W_c": (self.H if self.hidden_context else 0, self.Rp),
                "W_in": (self.D, self.Gp),
                "W_rec": (self.R, self.Gp),
                "b_r": (self.Gp,),
                "r0": (self.Rp,),
            }
            if CELLS[self.cell].states > 1:
                shapes["c0"] = (self.Rp,)  # behind r0: a row of states
        offsets, size = {}, 0
        for name, shape in shapes.items():
            offsets[name] = size
            size += padded(prod(shape))
        for name, value in (("shapes", shapes), ("offsets", offsets), ("size", size)):
            object.__setattr__(self, name, value)

    @property
    def quantities(self):
        """Names of the raw outputs in their order inside: those that the recurrent state drives first."""
        names = HEADS[self.head].context
        driven = [name for name in names if self.R and name in self.context]
        return driven + [name for name in names if name not in driven]

    @property
    def P(self):
        """Raw outputs a dimension."""
        return self.K * len(HEADS[self.head].context)

    @property
    def Q(self):
        """Raw outputs a dimension that the recurrent state drives."""
        return self.K * sum(name in self.context for name in HEADS[self.head].context) if self.R else 0

    @property
    def Hp(self):
        return padded(self.H)

    @property
    def Rp(self):
        return padded(self.R)

    @property
    def G(self):
        """Gates of the cell."""
        return CELLS[self.cell].gates

    @property
    def Gp(self):
        return padded(self.G * self.R)

    @property
    def Sp(self):
        """Numbers of a row of recurrent states: r and, for an LSTM, c behind it."""
        return CELLS[self.cell].states * self.Rp

    @property
    def Ap(self):
        """Numbers of a row of gates inside the core."""
        return self.Gp + (self.Rp if self.apart else 0)

    @property
    def apart(self):
        return CELLS[self.cell].apart

    @property
    def row_numbers(self):
        """Numbers that a score holds for each frame while it works."""
        return self.Sp + (self.Ap if self.G > 1 else 0)

    @property
    def hidden_context(self):
        return bool(self.R) and "hidden" in self.context

    @property
    def head_index(self):
        return HEADS[self.head].index

    @property
    def activation_index(self):
        return ACTIVATIONS.index(self.activation)

    @property
    def cell_index(self):
        return CELLS[self.cell].index

    @property
    def alpha(self):
        return self.first("alpha")

    @property
    def mu(self):
        return self.first("mu")

    @property
    def sigma(self):
        return self.first("sigma")

    def first(self, quantity):
        """The raw output at which a quantity begins (0 for one that the head does not have)."""
        return self.quantities.index(quantity) * self.K if quantity in self.quantities else 0

    def block(self, theta, name):
        """A block of the flat vector as it lies inside."""
        shape = self.shapes[name]
        return theta[self.offsets[name] :][: prod(shape)].reshape(shape)

    def views(self, theta):
        """Views of a flat vector (parameters or their gradient) under the users' names and shapes."""
        H, K, R = self.H, self.K, self.R
        V, b = self.block(theta, "V"), self.block(theta, "b")
        found = {"W": self.block(theta, "W").T, "c": self.block(theta, "c"), "rho": self.block(theta, "rho")}
        for quantity, (name_V, name_b, name_W) in HEADS[self.head].context.items():
            rows = slice(self.first(quantity), self.first(quantity) + K)
            found[name_V] = V[:, rows, :H].transpose(0, 2, 1)
            found[name_b] = b[:, rows]
            if R and quantity in self.context:
                found[name_W] = self.block(theta, "U")[:, rows, :R]
        if not HEADS[self.head].mixture:  # one output: no axis of components
            found["V"], found["b"] = found["V"][:, :, 0], found["b"][:, 0]
            if "W_b" in found:
                found["W_b"] = found["W_b"][:, 0]
        if R:
            if self.hidden_context:
                found["W_c"] = self.block(theta, "W_c")[:, :R]
            GR = self.G * R  # gates in the first axis, one behind the other
            found["W_in"] = self.block(theta, "W_in")[:, :GR].T
            found["W_rec"] = self.block(theta, "W_rec")[:, :GR].T
            found["b_r"] = self.block(theta, "b_r")[:GR]
            found |= {name: self.block(theta, name)[:R] for name in ("r0", "c0") if name in self.shapes}
        return found

    def flat(self, parameters, dtype):
        """A flat vector from a mapping of users' names to arrays; what is missing stays zero."""
        theta = np.zeros(self.size, dtype)
        for name, view in self.views(theta).items():
            if name in parameters:
                view[...] = parameters[name]
        return theta


@dataclass(frozen=True)
class Scores:
    """What one forward pass gives: log-densities in nats, frames (M,) and, where asked for, dims (M, D), parameters
    (M, D, P) and the state after each sequence (N, Sp)."""

    frames: np.ndarray
    dims: np.ndarray | None = None
    parameters: np.ndarray | None = None
    last: np.ndarray | None = None


class Model:
    """A network with its parameters, on packed frames.

    Parameters
    ----------
    layout : Layout
    theta : ndarray of shape (layout.size,)
        float32 or float64; the type of all arithmetic.
    """

    def __init__(self, layout, theta):
        self.layout = layout
        self.theta = theta

    def __getstate__(self):
        return {"layout": self.layout, "theta": self.theta}  # not the handle of the compiled core

    @cached_property
    def network(self):
        return _core.Network(self.layout)

    @property
    def dtype(self):
        return self.theta.dtype

    @property
    def parameters(self):
        """Read-only views under the users' names."""
        views = self.layout.views(self.theta)
        for view in views.values():
            view.flags.writeable = False
        return MappingProxyType(views)

    def _batch(self, offsets, initial):
        """Arguments of the core that say where sequences begin and in which state."""
        n = len(offsets) - 1
        if self.layout.R == 0:
            return offsets, offsets[:0], np.empty(0, np.uint8), np.empty((0, 0), self.dtype)
        order = np.argsort(offsets[:-1] - offsets[1:], kind="stable") if n > 1 else np.zeros(1, np.int64)
        if initial is None:
            return offsets, order, np.ones(n, np.uint8), np.empty((0, self.layout.Sp), self.dtype)
        states, fresh = initial
        return offsets, order, fresh, states

    def log_density(self, x, offsets, *, initial=None, dims=False, parameters=False, last=False, n_threads=1):
        """Exact log-densities of packed frames.

        Parameters
        ----------
        x : ndarray of shape (M, D), C-contiguous, of the model's type
        offsets : ndarray of shape (N + 1,), int64
        initial : None or (states, fresh)
            states (N, Sp) that condition the first frames; sequences with fresh[n] = 1 start from r0 instead.
        dims, parameters, last : bool
            What to return beside the log-density of each frame.
        n_threads : int

        Returns
        -------
        Scores
        """
        M, N = len(x), len(offsets) - 1
        lay = self.layout
        out = Scores(
            np.empty(M),
            np.empty((M, lay.D)) if dims else None,
            np.empty((M, lay.D, lay.P), self.dtype) if parameters else None,
            np.zeros((N, lay.Sp), self.dtype) if last and lay.R else None,
        )
        most = max(SLICE_BYTES // max(lay.row_numbers * self.dtype.itemsize, 1), 1)
        if lay.R == 0 or most >= M:
            self._forward(out, x, offsets, initial, n_threads)
            return out
        state = None
        for i, j, begin, end in slices(offsets, most):
            # Sequences i ... j - 1, or a piece of sequence i that carries its state from the piece before.
            carried = begin > offsets[i]
            arrays = (out.frames, out.dims, out.parameters)
            part = [None if array is None else array[begin:end] for array in arrays]
            last_of_part = np.empty((j - i, lay.Sp), self.dtype)
            start = (state, np.zeros(1, np.uint8)) if carried else None
            if not carried and initial is not None:
                start = initial[0][i:j], initial[1][i:j]
            inside = np.clip(offsets[i : j + 1], begin, end) - begin
            self._forward(Scores(*part, last_of_part), x[begin:end], inside, start, n_threads)
            state = last_of_part
            if out.last is not None:
                out.last[i:j] = last_of_part
        return out

    def _forward(self, out, x, offsets, initial, n_threads):
        offsets, order, fresh, states = self._batch(offsets, initial)
        _core.forward(
            self.network, self.theta, x, offsets, order, fresh, states, out.frames, out.dims, out.parameters, out.last,
            n_threads,
        )  # fmt: skip

    def states(self, x, offsets, rows, *, n_threads=1):
        """(len(rows), Sp): the recurrent states that condition frames `rows` (in ascending order)."""
        out = np.empty((len(rows), self.layout.Sp), self.dtype)
        most = max(SLICE_BYTES // (self.layout.row_numbers * self.dtype.itemsize), 1)
        state = None
        for i, j, begin, end in slices(offsets, most):
            initial = (state, np.zeros(1, np.uint8)) if begin > offsets[i] else None
            inside, order, fresh, states = self._batch(np.clip(offsets[i : j + 1], begin, end) - begin, initial)
            state = np.empty((j - i, self.layout.Sp), self.dtype)
            k, m = np.searchsorted(rows, (begin, end))
            _core.states(
                self.network, out[k:m], rows[k:m] - begin, self.theta, x[begin:end], inside, order, fresh, states,
                state, n_threads,
            )  # fmt: skip
        return out

    def gradient(self, x, offsets, weight, *, initial=None, inputs=None, mask=None, out=None, n_threads=1):
        """Gradient of sum_i weight_i log p(x_i | past) by the flat parameters, and log p of each frame.

        Parameters
        ----------
        x, offsets, initial
            As in `log_density`.
        weight : ndarray of shape (M,), of the model's type
        inputs : ndarray of shape (M, D), C-contiguous, of the model's type, optional
            What the recurrence reads in the place of x (noise or dropout on its input); what is scored stays x.
        mask : ndarray of shape (M, Rp), C-contiguous, of the model's type, optional
            Factors of the recurrent state where it conditions each frame (dropout); the recurrence goes on with the
            state itself.
        out : ndarray of shape (layout.size,), optional
            Where the gradient goes.

        Returns
        -------
        gradient : ndarray of shape (layout.size,)
        frames : ndarray of shape (M,)
            The same bits as `log_density` gives, where there are neither inputs nor mask.
        """
        gradient = np.empty_like(self.theta) if out is None else out
        frames = np.empty(len(x))
        offsets, order, fresh, states = self._batch(offsets, initial)
        if self.layout.R == 0:
            inputs = mask = None  # nothing reads them
        _core.gradient(
            self.network,
            gradient,
            frames,
            self.theta,
            x,
            offsets,
            order,
            fresh,
            states,
            weight,
            n_threads,
            inputs,
            mask,
        )
        return gradient, frames

    def initial_state(self, n):
        """(n, Sp): the learned first state, once for each sequence."""
        lay = self.layout
        return np.tile(self.theta[lay.offsets["r0"] :][: lay.Sp], (n, 1)) if lay.R else None

    def sample(self, uniform, normal, *, state=None, n_threads=1):
        """Draw from the model.

        Parameters
        ----------
        uniform, normal : ndarray of shape (N, T, D), of the model's type
            Uniforms on [0, 1) choose components (or values 0 and 1), standard normals make the draw within one.
        state : ndarray of shape (N, Sp), optional
            Conditions the first frame; overwritten with the state after the last.  Default: r0.

        Returns
        -------
        ndarray of shape (N, T, D)
        """
        x = np.empty_like(uniform)
        if state is None:
            state = self.initial_state(len(x))
        _core.sample(self.network, x, self.theta, uniform, normal, state, n_threads)
        return x

    def from_normal(self, scores, offsets, *, n_threads=1):
        """Packed frames from their normal scores, of a head of Gaussian mixtures.

        Parameters
        ----------
        scores : ndarray of shape (M, D), C-contiguous, float64
        offsets : ndarray of shape (N + 1,), int64

        Returns
        -------
        ndarray of shape (M, D), float64
            e with Phi(scores[i, d]) = P(E_d <= e[i, d]) given the past and the dimensions before it, as the network,
            which reads them rounded to its type, has it.
        """
        e = np.empty_like(scores)
        order = np.argsort(offsets[:-1] - offsets[1:], kind="stable")
        state = self.initial_state(len(order))
        _core.from_normal(self.network, e, self.theta, scores, offsets, order, state, n_threads)
        return e


def slices(offsets, most):
    """(i, j, begin, end): sequences i ... j - 1 while they have at most `most` frames together, or consecutive pieces
    of one longer sequence."""
    i, N = 0, len(offsets) - 1
    while i < N:
        j = int(np.searchsorted(offsets, offsets[i] + most, side="right")) - 1
        if j > i:
            yield i, j, int(offsets[i]), int(offsets[j])
            i = j
            continue
        for begin in range(int(offsets[i]), int(offsets[i + 1]), most):
            yield i, i + 1, begin, min(begin + most, int(offsets[i + 1]))
        i += 1


# ---- initialisation ------------------------------------------------------------------------------------------------

SPREAD = 0.6  # of the components' means about 0, in the unit of the transform's output


def initial_parameters(layout, generator, dtype):
    """A flat vector to start training from.

    Every conditional starts close to a standard normal (mixture: components spread about 0 with total variance 1), so
    that behind a fitted transform the untrained model has nearly the likelihood of that transform alone.  Weights
    into hidden and recurrent units are normal with variance 1 / inputs; those out of them are small.  The forget
    gates of an LSTM start open: bias 1 (R. Jozefowicz, W. Zaremba, I. Sutskever, ICML 2015).
    """
    D, H, K, R = layout.D, layout.H, layout.K, layout.R

    def normal(*shape, scale):
        return generator.standard_normal(shape) * scale

    values = {"W": normal(H, D, scale=D**-0.5), "c": normal(H, scale=0.5), "rho": np.ones(D)}
    for name_V, _, name_W in HEADS[layout.head].context.values():
        shape_V, shape_W = ((D, H, K), (D, K, R)) if HEADS[layout.head].mixture else ((D, H), (D, R))
        values[name_V] = normal(*shape_V, scale=0.1 * max(H, 1) ** -0.5)
        values[name_W] = normal(*shape_W, scale=0.1 * max(R, 1) ** -0.5)
    if HEADS[layout.head].mixture:
        mu = SPREAD * ndtri((np.arange(K) + 0.5) / K)
        scale = np.sqrt(1 - np.mean(mu**2))
        values["b_mu"] = np.tile(mu, (D, 1))
        values["b_sigma"] = np.full((D, K), np.log(max(scale - layout.min_scale, 1e-3)))
    if R:
        values["W_c"] = normal(H, R, scale=R**-0.5)
        GR = layout.G * R
        values["W_in"] = normal(GR, D, scale=D**-0.5)
        values["W_rec"] = normal(GR, R, scale=R**-0.5)
        values["r0"] = np.full(R, 0.5 if layout.cell == "sigmoid" else 0.0)
        if layout.cell == "lstm":
            values["b_r"] = np.repeat([0.0, 1.0, 0.0, 0.0], R)  # input, forget, cell, output
    return layout.flat(values, dtype)
