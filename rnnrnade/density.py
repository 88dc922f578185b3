"""One exact density in the units and the order of X, and the mean of several.

A `Density` is a front (front.py: order, transform, type) and a network behind it (model.py).  It takes checked data
(`Sequences`) and gives log-densities, conditionals, gradients and draws in the units and the order of X.  An `Ensemble`
of densities is another object with the same calls, but for those that are of one order only.

Design
------
*Units.*  The network's conditionals are of e, the output of the transform.  x_d = location_d + scale_d e_d with
location and scale known before x_d is (`Linear.location_and_scale`), so a quantile or mean of x_d is that of e_d moved
and scaled, a CRPS is scaled, and the distribution function is the same number.

*Memory.*  The parameters of all conditionals would be (T, D, P).  `Model.outputs` goes through the frames in slices and
carries the recurrent state, which leaves every bit as it is.  What is drawn is allocated before the first draw.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from . import transforms
from .checks import OutOfRange, allocated, check_finite
from .front import Front, Reader
from .heads import HEADS
from .layout import Layout, initial_parameters
from .masks import model_of
from .model import Scores
from .particles import Walk
from .sequences import check_leading
from .training import Data

__all__ = ["BernoulliParameters", "MixtureParameters", "StudentParameters"]

DRAWS = 1 << 22  # random numbers of each kind held at a time


class MixtureParameters(NamedTuple):
    """Parameters of every one-dimensional conditional in the units of X: each (T_i, D, K), or a list of such.

    Weights, locations and scales of the components: of Gaussians means and standard deviations.
    """

    alpha: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray


class StudentParameters(NamedTuple):
    """The same of Student components, with their degrees of freedom, which neither frames nor X change."""

    alpha: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray
    nu: np.ndarray


class BernoulliParameters(NamedTuple):
    """Parameters of every one-dimensional conditional: p(x_d = 1), (T_i, D), or a list of such."""

    p: np.ndarray


@dataclass(frozen=True)
class Record:
    """How a density was trained: the rows of its history, and the epoch and update of the parameters that were kept, 0
    at the start, None where nothing was validated.  Of one that was not trained, such as that of given parameters,
    there are no rows."""

    history: dict = field(default_factory=lambda: {"epoch": [], "update": []})
    best_epoch: int | None = None
    best_update: int | None = None

    @classmethod
    def of(cls, trainer):
        best = trainer.best
        return cls(trainer.history, *((best.epoch, best.update) if best.frames is not None else (None, None)))

    @property
    def n_epochs(self):
        return max(self.history["epoch"], default=0)


@dataclass(frozen=True)
class Part:
    """The conditionals of some consecutive frames, all arrays in the order of X.  A given column has none: its numbers
    say nothing.

    Attributes
    ----------
    rows : slice
        Which of the packed frames.
    log_density : ndarray of shape (m,), float64
        Of each frame, in the units of X.
    dims : ndarray of shape (m, D), float64
        Of each dimension.
    e : ndarray of shape (m, D), float64
        What the frames are to the network.
    location, scale : ndarray of shape (m, D), or 0.0 and 1.0
        x = location + scale e.
    family : distribution
        Of e, leading axes (m, D).
    """

    rows: slice
    log_density: np.ndarray
    dims: np.ndarray
    e: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    family: object


class Fitted:
    """A front and a network, fitted or about to be: what all densities share.

    Parameters
    ----------
    front : Front
    model : Network
    record : Record, optional
    """

    network = staticmethod(model_of)

    def __init__(self, front, model, record=None):
        self.front, self.model, self.record = front, model, Record() if record is None else record

    @property
    def head(self):
        return HEADS[self.model.layout.head]

    @property
    def members(self):
        return (self,)

    def encode(self, data):
        """(e (M, D), its log-Jacobian); ValueError with the place of a number too large for the type of the network."""
        try:
            return self.front.encode(data.frames, data.offsets)
        except OutOfRange as error:
            raise data.refusal(error) from None

    def tamed(self, data):
        """(data, which of its frames hold an absurd number, (M,)): one whose distance to the mean, in standard
        deviations (without a transform: which itself), has no square in the type of the network.  In the data that
        come back such numbers are as large as that type can square, so that the frames after them have a past."""
        largest = np.sqrt(np.finfo(self.model.dtype).max)
        z = self.front.map.standardized(self.front.ordered(np.asarray(data.frames, np.float64)))
        absurd = np.abs(z) > largest
        if not absurd.any():
            return data, absurd.any(axis=1)
        x = self.front.map.unstandardized(np.clip(z, -largest, largest))
        frames = np.where(self.front.unordered(absurd), self.front.unordered(x), data.frames)
        return replace(data, frames=np.ascontiguousarray(frames)), absurd.any(axis=1)

    def training_data(self, data, weight, names=None, left_out=None):
        """What a trainer reads: e, or in its place `left_out`, and the log-Jacobian that brings its log-density into
        the units of X.  names: of the dimensions of X."""
        e, jacobian = self.encode(data)
        jacobian = 0.0 if jacobian is None else jacobian.sum(axis=-1)
        order = self.front.scored(data.n_features)
        place = lambda row, d: data.whereabouts(row, int(order[d]), names)  # noqa: E731
        return Data(e if left_out is None else left_out, data.offsets, weight, jacobian, place)

    def noise(self, shape, generator):
        """(uniform, noise): the random numbers of a draw."""
        return self.head.numbers(generator, shape, self.model.dtype)

    # ---- files --------------------------------------------------------------------------------------------------

    def to_file(self):
        """(what JSON knows, arrays by name) from which `from_file` makes the same again."""
        front, record = self.front, self.record
        state = {
            "layout": self.model.layout.choices,
            "order": None if front.order is None else [int(i) for i in front.order],
            "history": [name for name in record.history if name != "seconds"],  # equal fits give equal files
            "best_epoch": record.best_epoch,
            "best_update": record.best_update,
            "transform": None,
        }
        arrays = {"theta": self.model.theta}
        arrays["history"] = np.array([record.history[name] for name in state["history"]], np.float64)
        if front.transform is not None:
            state["transform"] = transforms.to_file(front.transform)
            arrays |= {f"transform.{name}": a for name, a in front.transform.to_arrays().items()}
        return state, arrays

    @classmethod
    def from_file(cls, state, arrays, D):
        """ValueError, TypeError or KeyError where the parts do not fit together, or to D dimensions."""
        layout, order, transform, theta = Layout.from_file(state["layout"]), state["order"], None, arrays["theta"]
        if layout.X != D or theta.shape != (layout.size,) or theta.dtype not in (np.float32, np.float64):
            raise ValueError("the parameters do not fit the options")
        if not np.isfinite(theta).all():
            raise ValueError("the parameters hold NaN or infinity")
        if order is not None:
            if len(order) != D or sorted(order) != list(range(D)):
                raise ValueError("the order of the dimensions is not a permutation")
            order = np.array(order, np.intp)
        if state["transform"] is not None:
            begin = "transform."
            fitted = {name.removeprefix(begin): a for name, a in arrays.items() if name.startswith(begin)}
            transform = transforms.from_file(state["transform"], fitted, D)
        history = state["history"]
        if not isinstance(history, dict):  # as it was in files of before
            history = dict(zip(history, arrays["history"].tolist(), strict=True))
        history = {name: [float(value) for value in column] for name, column in history.items()}
        for name in ("epoch", "update"):
            history[name] = [int(value) for value in history.get(name, [])]
        if len({len(column) for column in history.values()}) > 1:
            raise ValueError("the columns of its history have several lengths")
        best = [None if at is None else int(at) for at in (state["best_epoch"], state["best_update"])]
        record = Record(history, *best)
        return cls(
            Front(order, transform, theta.dtype, layout.given), cls._network(layout, np.array(theta), state), record
        )

    @classmethod
    def untrained(cls, front, layout, generator, freedom=np.inf):
        """Behind a front that is fitted, a network with its first parameters; freedom: degrees of freedom of what the
        front leaves."""
        return cls(front, cls.network(layout, initial_parameters(layout, generator, front.dtype, freedom)))

    @classmethod
    def _network(cls, layout, theta, state):
        return cls.network(layout, theta)

    def changed(self, front=None, model=None, record=None):
        """The same with another front, network or record."""
        return type(self)(front or self.front, model or self.model, record)


class Density(Fitted):
    """One exact density."""

    exact, walk = True, Walk

    # ---- scores -------------------------------------------------------------------------------------------------

    def scores(self, data, *, dims=False, last=False, n_threads=1):
        """Scores of complete data, in nats, in the units of X; `dims` in the order of X."""
        e, jacobian = self.encode(data)
        scores = self.model.log_density(e, data.offsets, dims=dims, last=last, n_threads=n_threads)
        self.front.to_units_of_x(jacobian, scores.frames, scores.dims)
        check_finite("the log-density", scores.frames, data.place, below=True)
        return Scores(scores.frames, self.front.back(scores.dims) if dims else None, last=scores.last)

    def frames(self, data, n_threads=1):
        """Exact log-density of each frame given its past, in nats: (M,)"""
        return self.scores(data, n_threads=n_threads).frames

    def parts(self, data, n_threads=1):
        """The conditionals of all frames of `data`, in slices."""
        front = self.front
        x = np.asarray(data.frames, np.float64)
        moved = front.location_and_scale(data.frames, data.offsets)
        location, scale = (None, None) if moved is None else (front.back(a, at_given=1.0) for a in moved)
        e, jacobian = self.encode(data)
        if jacobian is not None:
            shape = len(x), jacobian.shape[-1]
            jacobian = np.broadcast_to(jacobian.sum(axis=-1), len(x)), np.broadcast_to(jacobian, shape)
        for rows, scores in self.model.outputs(e, data.offsets, n_threads=n_threads):
            log_density, dims = scores.frames, scores.dims
            if jacobian is not None:
                log_density, dims = (
                    values + of_all[rows] for values, of_all in zip((log_density, dims), jacobian, strict=True)
                )
            check_finite("the log-density", log_density, lambda i, rows=rows: data.place(rows.start + i), below=True)
            family = self.head.distribution.of_outputs(front.back(scores.parameters, at_given=1.0))
            at = (x[rows], 0.0, 1.0)
            if moved is not None:
                at = ((x[rows] - location[rows]) / scale[rows], location[rows], scale[rows])
            yield Part(rows, log_density, front.back(dims), *at, family)

    def parameters(self, data, n_threads=1):
        """Parameters of every conditional in the units and the order of X: arrays (M, D, K), or (M, D)."""
        front, K, shape = self.front, self.model.K, data.frames.shape
        outputs = self.model.outputs(self.encode(data)[0], data.offsets, n_threads=n_threads)
        if not self.head.mixture:
            p = allocated("the probabilities", shape)
            for rows, scores in outputs:
                p[rows] = front.back(scores.parameters[:, :, 0], at_given=np.nan)
            return BernoulliParameters(p)
        kind = StudentParameters if self.head.shapes else MixtureParameters
        found = kind(*(allocated("the parameters of all conditionals", (*shape, K)) for _ in kind._fields))
        moved = front.location_and_scale(data.frames, data.offsets)
        for rows, scores in outputs:
            alpha, mu, sigma, *own = np.split(scores.parameters.astype(np.float64), len(found), axis=2)
            if moved is not None:
                location, scale = (values[rows, :, None] for values in moved)
                mu, sigma = location + scale * mu, scale * sigma
            for of_all, values in zip(found, (alpha, mu, sigma, *own), strict=True):
                of_all[rows] = front.back(values)
        for name, values in found._asdict().items():
            check_finite(name, values, lambda row, d, k: data.place(row, d))
            values[:, front.given_in(shape[1])] = np.nan
        return found

    def gradient(self, data, n_threads=1):
        """(gradient of the total log-likelihood by the flat parameters, log-density of each frame)."""
        weight = np.ones(data.n_frames, self.model.dtype)
        e, jacobian = self.encode(data)
        gradient, frames = self.model.gradient(e, data.offsets, weight, n_threads=n_threads)
        self.front.to_units_of_x(jacobian, frames)
        check_finite("the gradient", frames, data.place)
        check_finite(
            "the gradient", gradient, lambda i: f"its largest part may be that of {data.place(frames.argmin())}"
        )
        return gradient, frames

    def from_normal(self, data, n_threads=1):
        """x (M, D) of frames whose normal scores are `data`."""
        given = self.front.given
        scores = np.array(self.front.ordered(data.frames), np.float64, order="C")
        scores[:, :given] = self.front.map.standardized(scores)[:, :given]
        e = self.model.from_normal(scores, data.offsets, n_threads=n_threads)
        with np.errstate(over="ignore", invalid="ignore"):
            check_finite("the frame of these scores", self.front.back(e.astype(self.model.dtype)), data.place)
            e = np.concatenate([scores[:, :given], e], axis=1)
            x = self.front.decode_packed(e, data.offsets)
        check_finite("the frame of these scores", x, data.place)
        return x

    # ---- draws --------------------------------------------------------------------------------------------------

    def state_after(self, data, n, n_threads=1):
        """The state after one sequence, or without data the first, n times: (n, Sp); None for static models."""
        if data is None or not self.model.layout.R:
            return self.model.initial_state(n)
        return np.tile(self.scores(data, last=True, n_threads=n_threads).last, (n, 1))

    def draw(self, n_samples, n_frames, generator, given=None, leading=None, fixed=None, inputs=None, n_threads=1):
        """Draw sequences, exactly.

        Parameters
        ----------
        n_samples, n_frames : int
        generator : numpy.random.Generator
        given : Sequences, optional
            One sequence, which the draws continue.
        leading : array-like of shape (j,) or (n_samples, j), optional
            The first j dimensions, in the order of the model, of the first frame that is drawn.
        fixed : ndarray of shape (n_samples, n_frames, j), optional
            The same of all frames.
        inputs : ndarray of shape (1 or n_samples, n_frames, given), optional
            The given columns of the frames to be drawn.
        n_threads : int

        Returns
        -------
        ndarray of shape (n_samples, n_frames, D), float64
        """
        D, n_given = self.model.layout.D, self.front.given
        e = allocated("draws", (n_samples, n_frames, n_given + D))
        if n_given:
            e[..., :n_given] = self.front.inputs(inputs)
        state = self.state_after(given, n_samples, n_threads)
        past = None if given is None else given.frames
        at_once = max(1, DRAWS // (n_samples * D))
        if leading is not None:
            fixed = check_leading(leading, n_samples, D, binary=self.head.binary)[:, None]
        n_fixed, reader = 0 if fixed is None else fixed.shape[1], Reader(self.front, n_samples, past)
        for t in range(n_fixed):
            e[:, t], state = self._complete(reader, fixed[:, t], e[:, t, :n_given], state, generator, n_threads)
        for begin in range(n_fixed, n_frames, at_once):
            end = min(begin + at_once, n_frames)
            random_numbers = self.noise((n_samples, end - begin, D), generator)
            given_now = e[:, begin:end, :n_given]
            e[:, begin:end] = self.model.sample(*random_numbers, given=given_now, state=state, n_threads=n_threads)
        with np.errstate(over="ignore", invalid="ignore"):
            x = self.front.decode(e, past)
        check_finite("a draw", x, lambda i, t, d: f"sample {i}, frame {t}, dimension {d}")
        if n_fixed:  # not what the transform and its inverse round it to
            x[:, :n_fixed, self.front.scored(n_given + D)[: fixed.shape[2]]] = fixed
        if n_given:
            x[..., self.front.given_in(n_given + D)] = inputs
        return x

    def _complete(self, reader, leading, u, state, generator, n_threads):
        """The next rows of e, whose leading dimensions are known, (n_samples, j), and u, what is given with the frame,
        and the state after them; the reader goes on past them.

        Each dimension takes one call of the core, which computes the conditionals of the whole frame: that of dimension
        d is the same bits whatever stands in dimensions d ... D - 1."""
        model, (N, j) = self.model, leading.shape
        n_given, X = model.layout.given, model.layout.X
        z = self.front.map.unstandardized(np.zeros((N, X)))
        z[:, n_given : n_given + j] = leading
        z = np.array(self.front.map.standardized(z))
        z[:, :n_given] = u
        reader.start(z)
        e = np.array(reader.residuals())
        try:
            rounded = np.array(self.front.rounded(e))
        except OutOfRange as error:
            raise error.at("leading") from None
        offsets = np.arange(N + 1, dtype=np.int64)
        initial = None if state is None else (state, np.zeros(N, np.uint8))
        e[:, n_given + j :] = rounded[:, n_given + j :] = 0
        for d in range(j, model.layout.D):
            _, outputs = model.outputs_of(d, rounded, offsets, initial=initial, n_threads=n_threads)
            e[:, n_given + d] = self.head.distribution.of_outputs(outputs).draw(generator)
            rounded[:, n_given + d] = e[:, n_given + d]
        if state is not None:
            state = model.log_density(rounded, offsets, initial=initial, last=True, n_threads=n_threads).last
        reader.put_all(e)
        reader.finish()
        return e, state


class Cursor:
    """n sequences side by side that a density reads, or draws, frame by frame."""

    def __init__(self, density, n, given=None, n_threads=1):
        self.density, self.n_threads = density, n_threads
        self.reader = Reader(density.front, n, None if given is None else given.frames)
        self.state = density.state_after(given, n, n_threads)

    def draw(self, random_numbers, rows, u):
        """x (len(rows), D) of the next frames of some of the sequences, with which u (len(rows), given) is given; they
        are not read."""
        state = None if self.state is None else self.state[rows]
        u = self.density.front.inputs(u[:, None]) if u.size else u[:, None]
        e = self.density.model.sample(*random_numbers, given=u, state=state, n_threads=self.n_threads)
        return self.reader.decode(e[:, 0], rows)

    def read(self, x):
        """Go on past the frames x (n, D)."""
        offsets = np.arange(len(x) + 1)
        initial = None if self.state is None else (self.state, np.zeros(len(x), np.uint8))
        scores = self.density.model.log_density(
            self.reader.read(x)[0], offsets, initial=initial, last=True, n_threads=self.n_threads
        )
        self.state = scores.last


class Ensemble:
    """The mean of several densities, frame by frame given the past.

    B. Uria, I. Murray and H. Larochelle, A deep and tractable density estimator, 2014.

    Parameters
    ----------
    members : sequence of Density
    """

    def __init__(self, members):
        self.members = tuple(members)

    def frames(self, data, n_threads=1):
        """Exact log-density of each frame given its past, in nats: (M,)"""
        of_members = [member.frames(data, n_threads) for member in self.members]
        return np.logaddexp.reduce(of_members, axis=0) - np.log(len(of_members))

    def draw(self, n_samples, n_frames, generator, given=None, inputs=None, n_threads=1):
        """As `Density.draw`: for each frame of each sequence a member drawn at random draws the frame, and all members
        read it."""
        front, D = self.members[0].front, self.members[0].model.layout.D
        columns = front.given_in(front.given + D)
        inputs = np.broadcast_to(
            np.empty((1, n_frames, 0)) if inputs is None else inputs, (n_samples, n_frames, len(columns))
        )
        x = allocated("draws", (n_samples, n_frames, front.given + D))
        cursors = [Cursor(member, n_samples, given, n_threads) for member in self.members]
        for t in range(n_frames):
            drawing = generator.integers(len(cursors), size=n_samples)
            random_numbers = self.members[0].noise((n_samples, 1, D), generator)
            for k, cursor in enumerate(cursors):
                rows = np.flatnonzero(drawing == k)
                if len(rows):
                    x[rows, t] = cursor.draw([numbers[rows] for numbers in random_numbers], rows, inputs[rows, t])
            x[:, t, columns] = inputs[:, t]
            if t + 1 < n_frames:
                for cursor in cursors:
                    cursor.read(x[:, t])
        return x
