"""Between X and what the network reads: the order of the dimensions, the transform, the type.

    e = front(x):   x -> x[order] -> transform -> float32 or float64

Whoever needs e, its log-Jacobian, the place and scale of a conditional, or x again asks here: scores, gradients, draws,
conditionals, particles, streams.  Nothing behind this file knows that there is an order, a transform or a type.

Design
------
*No transform* is `Identity`, whose calls give back what they are given: one that added 0.0 would change the sign bit of
the log-density of a saturated Bernoulli (-0.0 + 0.0 is 0.0).

*Given columns* (columns.py) stand in front of a row of e, standardised; what is said of single dimensions, such as the
log-Jacobian, is said of those behind them, which are scored.

*Frame by frame.*  A `Reader` gives the bits of the packed calls one frame at a time, of several sequences side by side.
Since the transform is triangular within a frame, e_1 ... e_d are right as soon as x_1 ... x_d are known, whatever
stands in the dimensions behind them.
"""

import numpy as np
from sklearn.base import clone

from .checks import OutOfRange
from .transforms import NoTrack


class Identity:
    """The calls of a transform, each of which gives back what it is given."""

    reach, is_diagonal = 0, True

    def fit(self, frames, offsets, weight=None):
        return self

    def fit_left_out(self, frames, offsets, weight=None):
        return frames

    def encode(self, frames, offsets):
        return frames, None

    def inverse(self, e, past=None):
        return e

    def inverse_of_packed(self, e, offsets):
        return e

    def standardized(self, frames):
        return frames

    def unstandardized(self, z, d=slice(None)):
        return z.copy()

    def location_and_scale(self, frames, offsets):
        return None

    def track(self, n):
        return NoTrack()


class Front:
    """From X to e and back, for one order of the dimensions.

    Parameters
    ----------
    order : ndarray of shape (D,) or None
        The column of X that stands at each place of a row, the given ones first; None: that of X.
    transform : Linear, Chain or None
        Fitted, or about to be (`fit`).
    dtype : {"float32", "float64"}
        Of e.
    given : int, default=0
        The number of columns that are given.
    """

    def __init__(self, order, transform, dtype, given=0):
        self.order, self.transform, self.dtype, self.given = order, transform, np.dtype(dtype), given
        self.map = Identity() if transform is None else transform
        self._places = None if order is None else np.argsort(order)

    def unfitted(self):
        """The same, not yet fitted."""
        return Front(self.order, None if self.transform is None else clone(self.transform), self.dtype, self.given)

    def fit(self, data, weight):
        """Fit the transform to `Sequences`, with a weight for each frame; returns self."""
        self.map.fit(self.ordered(data.frames), data.offsets, weight)
        return self

    def fit_left_out(self, data, weight):
        """Fit; e of each frame as if it had been left out of the fit, in the type of the network."""
        return self.rounded(self.map.fit_left_out(self.ordered(data.frames), data.offsets, weight))

    @property
    def reach(self):
        """Frames of the past that e depends on."""
        return int(self.map.reach)

    # ---- order --------------------------------------------------------------------------------------------------

    def ordered(self, x):
        """x, whose last axis are the dimensions of X, in the order of the model."""
        return x if self.order is None else np.ascontiguousarray(x[..., self.order])

    def unordered(self, x, axis=1):
        """x whose `axis` are the places of a row, in the order of X."""
        return x if self._places is None else np.take(x, self._places, axis)

    def back(self, values, axis=1, at_given=0.0):
        """Values whose `axis` are the dimensions that are scored, in the order of X, and `at_given` for each that is
        given."""
        if self.given:
            width = [(0, 0)] * values.ndim
            width[axis] = (self.given, 0)
            values = np.pad(values, width, constant_values=at_given)
        return self.unordered(values, axis)

    def scored(self, D):
        """The columns of X, of D, that are scored, in the order of the model."""
        return self.ordered(np.arange(D))[self.given :]

    def given_in(self, D):
        """The columns of X, of D, that are given, ascending."""
        return self.ordered(np.arange(D))[: self.given] if self.given else np.arange(0)

    def inputs(self, values):
        """u of rows of e from those of given columns of X, (..., given) in ascending order; ValueError for numbers that
        are too large for the type."""
        width = [(0, 0)] * (values.ndim - 1) + [(0, len(self.order) - self.given)]
        u = self.map.standardized(np.pad(values, width))[..., : self.given]
        if not (np.abs(u) <= np.finfo(self.dtype).max).all():
            raise ValueError(f"inputs are too large for {self.dtype}: scale them down, or use dtype='float64'.")
        return u

    # ---- packed frames, all at once -----------------------------------------------------------------------------

    def encode(self, x, offsets):
        """(e, rows (M, given + D), of packed frames of X, its log-Jacobian: log abs(de_d / dx_d), (M, D), or (D,) where
        it is the same for all frames; None without a transform); OutOfRange where a frame is too large for the type."""
        return self.encode_ordered(self.ordered(x), offsets)

    def encode_ordered(self, x, offsets):
        """`encode` of frames that are in the order of the model."""
        e, jacobian = self.map.encode(x, offsets)
        return self.rounded(e), self._of_scored(jacobian)

    def _of_scored(self, values):
        """Values of the columns of a row, without those that are given."""
        return values[..., self.given :] if self.given and values is not None else values

    def rounded(self, e):
        """e in the type of the network; OutOfRange where it is too large for it."""
        if e.dtype == self.dtype and self.transform is None:
            return np.ascontiguousarray(e)  # finite, as X is
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.ascontiguousarray(e, self.dtype)
            if not np.isfinite(rounded.sum(dtype=np.float64)):
                bad = np.argwhere(~np.isfinite(rounded))
                if len(bad):
                    row, d = bad[0].tolist()
                    raise OutOfRange(self.dtype, row, int(self.ordered(np.arange(rounded.shape[1]))[d]))
        return rounded

    @staticmethod
    def to_units_of_x(jacobian, frames, dims=None):
        """Add the log-Jacobian to log-densities of e, in place: frames (M,), dims (M, D) in the order of the model."""
        if jacobian is not None:
            frames += jacobian.sum(axis=-1)
            if dims is not None:
                dims += jacobian

    def location_and_scale(self, x, offsets):
        """(location, scale), each (M, D) in the order of the model, with x_d = location_d + scale_d e_d, where
        location_d is known before x_d is; None without a transform."""
        moved = self.map.location_and_scale(self.ordered(x), offsets)
        return None if moved is None else tuple(map(self._of_scored, moved))

    def decode(self, e, past=None):
        """x (N, T, D), float64, of sequences of e; past (n_past, D): the frames of X before them, the same for all."""
        past = None if past is None else self.ordered(past)
        return self.unordered(self.map.inverse(np.asarray(e, np.float64), past), axis=2)

    def decode_packed(self, e, offsets):
        """x (M, D), float64, of packed e."""
        return self.unordered(self.map.inverse_of_packed(e, offsets))


class Reader:
    """Frames of n sequences side by side, one frame at a time.

    `read` is for whole frames.  A frame of which some dimensions are not known yet: `start`, then `e` and `put`
    alternately, then `finish`.  Inside, x is z, the standardised columns in the order of the model; without a transform
    these are x.

    Parameters
    ----------
    front : Front
    n : int
    past : ndarray of shape (T, D), optional
        Frames of X that all n sequences have behind them.
    """

    def __init__(self, front, n, past=None):
        self.front, self.n, self.n_frames = front, n, 0
        self._track = front.map.track(n)
        self._now = None  # z of a frame that is started
        if past is not None:
            self.n_frames = len(past)
            self.follow(self.standardized(past[max(0, len(past) - front.reach) :]))

    def follow(self, z):
        """Put frames z (q, D), the same for all sequences, in the place of what was read."""
        self._track = self.front.map.track(1)
        for t in range(len(z)):
            self._track.begin()
            self._track.read(np.ascontiguousarray(z[t : t + 1], np.float64))
        self._track.take(np.zeros(self.n, np.intp))

    def standardized(self, x):
        """z of frames of X."""
        return self.front.map.standardized(self.front.ordered(x))

    def copy(self):
        """A reader that has read the same and goes on independently."""
        other = object.__new__(Reader)
        other.__dict__ = dict(self.__dict__, _track=self._track.copy())
        return other

    def take(self, index):
        """Go on with sequences `index`, each of which may come several times."""
        self.n = len(index)
        self._track.take(index)
        if self._now is not None:
            self._now = np.ascontiguousarray(self._now[index])

    # ---- whole frames -------------------------------------------------------------------------------------------

    def read(self, x):
        """(e (n, D) of the next frames of X, (n, D), their log-Jacobian).  Where e is OutOfRange, nothing was read."""
        self.start(self.standardized(x))
        e, jacobian = self.e(), self.log_jacobian()
        self.finish()
        return e, jacobian

    def decode(self, e, rows):
        """x of the next frames of the sequences `rows`, (len(rows), D), from e; nothing is read."""
        other = self.copy()
        other.take(rows)
        other.start(None)
        return self.front.unordered(other.put_all(e.astype(np.float64)))

    # ---- frames that become known dimension by dimension, in the order of the model ---------------------------------

    def start(self, z):
        """Begin a frame z (n, D), of which the first dimensions are known."""
        self._now = z
        self._track.begin()

    def e(self):
        """e (n, D) of the frame, right up to the first dimension that is not known."""
        return self.front.rounded(self.residuals())

    def residuals(self):
        """`e` before it is rounded to the type of the network."""
        return self._track.scaled(self._now)

    def log_jacobian(self):
        """That of the e asked for last: (D,), (n, D) or None."""
        return self.front._of_scored(self._track.log_jacobian())

    def put(self, d, e_d):
        """Dimension d of the frame becomes known by its e_d (n,): x_d, (n,)"""
        if self.front.map.is_diagonal:
            self._now[:, d] = e_d
        else:
            e = self.residuals()
            e[:, d] = e_d
            self._now[:, d] = self._track.unscaled(e)[:, d]  # triangular
        return self.front.map.unstandardized(self._now[:, d], d)

    def put_all(self, e):
        """The whole frame becomes known by its e (n, D), float64: x in the order of the model, (n, D)"""
        self._now = self._track.unscaled(e)
        return self.front.map.unstandardized(self._now)

    def unscaled(self, e):
        """z (n, D) of the frame from its e, float64; nothing becomes known."""
        return self._track.unscaled(e)

    def put_some(self, which, e):
        """Dimensions `which` of the frame, (D,), bool, become known by the e (n, D) of all: their x, (n, m)"""
        self._now[:, which] = self._track.unscaled(e)[:, which]
        return self.front.map.unstandardized(self._now[:, which], which)

    def finish(self):
        """The frame is known and belongs to the past."""
        self._track.read(self._now)
        self._now = None
        self.n_frames += 1
