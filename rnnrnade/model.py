"""A network with its parameters: the calls of the compiled core on packed frames."""

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from . import _core

SLICE_BYTES = 32 * 2**20  # recurrent states that a score of many frames holds at a time
SLICE = 1 << 19  # numbers of the parameters of conditionals that are held at a time


@dataclass(frozen=True)
class Scores:
    """What one forward pass gives: log-densities in nats, frames (M,) and, where asked for, dims (M, D), parameters
    (M, D, P) and the state after each sequence (N, Sp)."""

    frames: np.ndarray
    dims: np.ndarray | None = None
    parameters: np.ndarray | None = None
    last: np.ndarray | None = None


class Network:
    """A network with its parameters.

    Parameters
    ----------
    layout : Layout
    theta : ndarray of shape (layout.size,)
        float32 or float64; the type of all arithmetic.
    """

    columns = ()  # of the history, beside those of all models: what `gradient` returns behind the log-densities

    def __init__(self, layout, theta):
        self.layout = layout
        self.theta = theta

    def __getstate__(self):
        return {name: vars(self)[name] for name in ("layout", "theta", "seed") if name in vars(self)}  # nothing cached

    @cached_property
    def network(self):
        return _core.Network(self.layout)

    @property
    def dtype(self):
        return self.theta.dtype

    @property
    def K(self):
        """Components of a conditional."""
        return self.layout.K

    @property
    def parameters(self):
        """Read-only views under the users' names."""
        views = self.layout.views(self.theta)
        for view in views.values():
            view.flags.writeable = False
        return MappingProxyType(views)

    def outputs_of(self, d, x, offsets, **how):
        """(dims (M, D), parameters (M, P) of the conditionals of dimension d); how: as `outputs` has it."""
        lay = self.layout
        dims, parameters = np.empty((len(x), lay.D)), np.empty((len(x), self.K * lay.P // lay.K), self.dtype)
        for rows, scores in self.outputs(x, offsets, **how):
            dims[rows], parameters[rows] = scores.dims, scores.parameters[:, d]
        return dims, parameters


class Model(Network):
    """A network whose density is exact, on packed frames."""

    def _batch(self, x, offsets, initial=None):
        """Packed frames as the core reads them: where sequences begin, and in which state."""
        if self.layout.R == 0:
            return _core.Frames(x)  # no frame reads another
        states, fresh = initial or (None, None)
        return _core.Frames(x, offsets, by_length(offsets), fresh, states)

    def _slices(self, x, offsets, most, initial=None):
        """(sequences, rows, frames, last): batches of at most `most` frames one after the other, a long sequence in
        pieces that carry its state.  Whoever reads them fills `last`, (n, Sp), with the state after each sequence; it
        is None for a network without recurrence."""
        last = None
        for i, j, begin, end in slices(offsets, most):
            start = None
            if begin > offsets[i]:  # from the piece before
                start = last, np.zeros(1, np.uint8)
            elif initial is not None:
                start = initial[0][i:j], initial[1][i:j]
            last = np.empty((j - i, self.layout.Sp), self.dtype) if self.layout.R else None
            inside = np.clip(offsets[i : j + 1], begin, end) - begin
            yield slice(i, j), slice(begin, end), self._batch(x[begin:end], inside, start), last

    def _most_frames(self):
        """Frames whose recurrent states may be held at a time."""
        return max(SLICE_BYTES // max(self.layout.row_numbers * self.dtype.itemsize, 1), 1)

    def log_density(self, x, offsets, *, initial=None, dims=False, parameters=False, last=False, n_threads=1):
        """Exact log-densities of packed frames.

        Parameters
        ----------
        x : ndarray of shape (M, X), C-contiguous, of the model's type
            Rows of frames: what is given, and behind it the D dimensions that are scored.
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
        if lay.R == 0 or self._most_frames() >= M:
            self._forward(self._batch(x, offsets, initial), out, n_threads)
            return out
        for sequences, rows, frames, state in self._slices(x, offsets, self._most_frames(), initial):
            parts = (None if array is None else array[rows] for array in (out.frames, out.dims, out.parameters))
            self._forward(frames, Scores(*parts, state), n_threads)
            if out.last is not None:
                out.last[sequences] = state
        return out

    def _forward(self, frames, out, n_threads):
        _core.forward(self.network, self.theta, frames, out.frames, out.dims, out.parameters, out.last, n_threads)

    def outputs(self, x, offsets, *, initial=None, n_threads=1):
        """Scores with the parameters of all conditionals, at most SLICE numbers of these at a time.

        Yields
        ------
        rows : slice
            Some of the frames.
        scores : Scores
            Their frames (m,), dims (m, D) and parameters (m, D, P).
        """
        lay = self.layout
        most = min(max(1, SLICE // (lay.D * lay.P)), self._most_frames())
        for _, rows, frames, state in self._slices(x, offsets, most, initial):
            m = rows.stop - rows.start
            out = Scores(np.empty(m), np.empty((m, lay.D)), np.empty((m, lay.D, lay.P), self.dtype), state)
            self._forward(frames, out, n_threads)
            yield rows, out

    def states(self, x, offsets, rows, *, n_threads=1):
        """(len(rows), Sp): the recurrent states that condition frames `rows`, ascending; None where static."""
        if self.layout.R == 0:
            return None
        out = np.empty((len(rows), self.layout.Sp), self.dtype)
        for _, part, frames, state in self._slices(x, offsets, self._most_frames()):
            k, m = np.searchsorted(rows, (part.start, part.stop))
            _core.states(self.network, out[k:m], rows[k:m] - part.start, self.theta, frames, state, n_threads)
        return out

    def score_frame(self, x, state):
        """Log-density of one row x (X,) of frames, and of its dimensions (D,), after a state (Sp,), which becomes the
        one after the frame.  The same bits as `log_density`."""
        dims = np.empty(self.layout.D)
        return _core.score_frame(self.network, dims, self.theta, x, state), dims

    def gradient(
        self, x, offsets, weight, *, initial=None, inputs=None, mask=None, factors=None, out=None, n_threads=1
    ):
        """Gradient of sum_i weight_i log p(x_i | past) by the flat parameters, and log p of each frame.

        Parameters
        ----------
        x, offsets, initial
            As in `log_density`.
        weight : ndarray of shape (M,), of the model's type
        inputs : ndarray of shape (M, X), C-contiguous, of the model's type, optional
            What the recurrence reads in the place of x (noise or dropout on its input); what is scored stays x.
        mask : ndarray of shape (M, Rp), C-contiguous, of the model's type, optional
            Factors of the recurrent state, of the top layer, where it conditions each frame (dropout); the recurrence
            goes on with the state itself.
        factors : ndarray of shape (layout.size,), optional
            Of the parameters (dropout of units); the gradient is by the parameters before them.
        out : ndarray of shape (layout.size,), optional
            Where the gradient goes.

        Returns
        -------
        gradient : ndarray of shape (layout.size,)
        frames : ndarray of shape (M,)
            The same bits as `log_density` gives, where there are neither inputs nor mask.
        """
        if factors is not None:
            dropped, options = self.with_theta(self.theta * factors), {"initial": initial, "n_threads": n_threads}
            gradient, frames = dropped.gradient(x, offsets, weight, inputs=inputs, mask=mask, out=out, **options)
            gradient *= factors
            return gradient, frames
        gradient = np.empty_like(self.theta) if out is None else out
        frames = np.empty(len(x))
        if self.layout.R == 0:
            inputs = mask = None  # nothing reads them
        batch = self._batch(x, offsets, initial)
        _core.gradient(self.network, gradient, frames, self.theta, batch, weight, n_threads, inputs, mask)
        return gradient, frames

    def with_theta(self, theta):
        """The same network with other parameters."""
        return type(self)(self.layout, theta)

    def judging(self, options):
        """What validation asks of `log_density`."""
        return {}

    def noise(self, frames, options, generator, update):
        """What noise and dropout of a training batch ask of `gradient`: what the recurrence reads instead of the frames
        (M, D), and the mask on the states that drive them.

        Dropout puts 0 with the given probability and scales the others up, so that the mean stays (N. Srivastava,
        G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, Dropout, 2014)."""
        dtype, found = frames.dtype, {}

        def kept(dropout, shape):
            return (generator.random(shape, dtype) >= dropout) * dtype.type(1 / (1 - dropout))

        if options.unit_dropout or (options.input_dropout and not self.layout.R):
            found["factors"] = self.layout.dropped(options.unit_dropout, options.input_dropout, kept)
        if not self.layout.R:
            return found
        if options.input_noise or options.input_dropout:
            found["inputs"] = frames.copy()
        if options.input_noise:
            read = found["inputs"][:, self.layout.given :]  # what is given stays as it is
            read += dtype.type(options.input_noise) * generator.standard_normal(read.shape, dtype)
        if options.input_dropout:
            read = found["inputs"][:, self.layout.given :]
            read *= kept(options.input_dropout, read.shape)
        if options.context_dropout:
            found["mask"] = kept(options.context_dropout, (len(frames), self.layout.Rp))
        return found

    def initial_state(self, n):
        """(n, Sp): the learned first state, once for each sequence."""
        lay = self.layout
        return np.tile(self.theta[lay.first_state :][: lay.Sp], (n, 1)) if lay.R else None

    def rows(self, uniform, given):
        """Rows of frames (N, T, X) to be drawn with uniform (N, T, D), what is given in place."""
        N, T, D = uniform.shape
        x = np.empty((N, T, self.layout.given + D), self.dtype)
        if self.layout.given:
            x[..., : self.layout.given] = given
        return x

    def sample(self, uniform, noise, *, given=None, state=None, n_threads=1):
        """Draw from the model.

        Parameters
        ----------
        uniform, noise : ndarray of shape (N, T, D), of the model's type
            As `Head.numbers` makes them: uniforms on [0, 1) choose components (or values 0 and 1), standard numbers of
            the family make the draw within one.
        given : ndarray of shape (N, T, given), optional
            What is given with the frames.
        state : ndarray of shape (N, Sp), optional
            Conditions the first frame; overwritten with the state after the last.  Default: r0.

        Returns
        -------
        ndarray of shape (N, T, X)
            Rows of frames.
        """
        x = self.rows(uniform, given)
        if state is None:
            state = self.initial_state(len(x))
        _core.sample(self.network, x, self.theta, uniform, noise, state, n_threads)
        return x

    def from_normal(self, scores, offsets, *, n_threads=1):
        """Packed frames from their normal scores, of a head of mixtures.

        Parameters
        ----------
        scores : ndarray of shape (M, X), C-contiguous, float64
            Behind what is given.
        offsets : ndarray of shape (N + 1,), int64

        Returns
        -------
        ndarray of shape (M, D), float64
            e with Phi(scores[i, d]) = P(E_d <= e[i, d]) given the past and the dimensions before it, as the network,
            which reads them rounded to its type, has it.
        """
        e = np.empty((len(scores), self.layout.D))
        batch = _core.Frames(scores, offsets, by_length(offsets))
        _core.from_normal(self.network, e, self.theta, batch, n_threads)
        return e


def by_length(offsets):
    """(N,): the sequences, longest first; None where there is one."""
    return np.argsort(offsets[:-1] - offsets[1:], kind="stable") if len(offsets) > 2 else None


def slices(offsets, most, whole=False):
    """(i, j, begin, end): sequences i ... j - 1 while they have at most `most` frames together, or consecutive pieces
    of one longer sequence, which with `whole` is not cut."""
    i, N = 0, len(offsets) - 1
    while i < N:
        j = int(np.searchsorted(offsets, offsets[i] + most, side="right")) - 1
        if j > i:
            yield i, j, int(offsets[i]), int(offsets[j])
            i = j
            continue
        most_here = int(offsets[i + 1] - offsets[i]) if whole else most
        for begin in range(int(offsets[i]), int(offsets[i + 1]), most_here):
            yield i, i + 1, begin, min(begin + most_here, int(offsets[i + 1]))
        i += 1
