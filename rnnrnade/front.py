"""Between X and what the network reads: the order of the dimensions, the transform, the type.

    e = front(x):   x -> x[order] -> transform -> float32 or float64

Whoever needs e, its log-Jacobian, the place and scale of a conditional, or x again asks here: scores, gradients, draws,
conditionals, particles, streams.  Nothing behind this file knows that there is an order, a transform or a type.

Design
------
*No transform* is `Identity`, whose calls give back what they are given: one that added 0.0 would change the sign bit of
the log-density of a saturated Bernoulli (-0.0 + 0.0 is 0.0).

*Frame by frame.*  A `Reader` gives the bits of the packed calls one frame at a time, of several sequences side by side.
Since the transform is triangular within a frame, e_1 ... e_d are right as soon as x_1 ... x_d are known, whatever
stands in the dimensions behind them.
"""

import numpy as np

from .checks import OutOfRange


class Identity:
    """The calls of a transform, each of which gives back what it is given."""

    lags, is_diagonal = 0, True

    def fit(self, frames, offsets, weight=None):
        return self

    def forward(self, frames, offsets):
        return frames

    def inverse(self, e, past=None):
        return e

    def inverse_of_packed(self, e, offsets):
        return e

    def standardized(self, frames):
        return frames

    def unstandardized(self, z, d=slice(None)):
        return z.copy()

    def log_jacobian(self, offsets):
        return None

    def location_and_scale(self, frames, offsets):
        return None


class Front:
    """From X to e and back, for one order of the dimensions.

    Parameters
    ----------
    order : ndarray of shape (D,) or None
        The dimension of X that stands at each place of the model; None: that of X.
    transform : Linear or None
        Fitted, or about to be (`fit`).
    dtype : {"float32", "float64"}
        Of e.
    """

    def __init__(self, order, transform, dtype):
        self.order, self.transform, self.dtype = order, transform, np.dtype(dtype)
        self.map = Identity() if transform is None else transform
        self._places = None if order is None else np.argsort(order)

    def fit(self, data, weight):
        """Fit the transform to `Sequences`, with a weight for each frame; returns self."""
        self.map.fit(self.ordered(data.frames), data.offsets, weight)
        return self

    @property
    def lags(self):
        """Frames of the past that e depends on."""
        return int(self.map.lags)

    # ---- order --------------------------------------------------------------------------------------------------

    def ordered(self, x):
        """x, whose last axis are the dimensions of X, in the order of the model."""
        return x if self.order is None else np.ascontiguousarray(x[..., self.order])

    def back(self, values, axis=1):
        """Values whose `axis` are the dimensions of the model, in the order of X."""
        return values if self._places is None else np.take(values, self._places, axis)

    # ---- packed frames, all at once -----------------------------------------------------------------------------

    def encode(self, x, offsets):
        """e (M, D) of packed frames of X; OutOfRange where one is too large for the type."""
        return self.encode_ordered(self.ordered(x), offsets)

    def encode_ordered(self, x, offsets):
        """`encode` of frames that are in the order of the model."""
        return self.rounded(self.map.forward(x, offsets))

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

    def log_jacobian(self, offsets):
        """log abs(de_d / dx_d), (M, D), or (D,) where it is the same for all frames; None without a transform."""
        return self.map.log_jacobian(offsets)

    def to_units_of_x(self, offsets, frames, dims=None):
        """Add the log-Jacobian to log-densities of e, in place: frames (M,), dims (M, D) in the order of the model."""
        jacobian = self.log_jacobian(offsets)
        if jacobian is not None:
            frames += jacobian.sum(axis=-1)
            if dims is not None:
                dims += jacobian

    def location_and_scale(self, x, offsets):
        """(location, scale), each (M, D) in the order of the model, with x_d = location_d + scale_d e_d, where
        location_d is known before x_d is; None without a transform."""
        return self.map.location_and_scale(self.ordered(x), offsets)

    def decode(self, e, past=None):
        """x (N, T, D), float64, of sequences of e; past (n_past, D): the frames of X before them, the same for all."""
        past = None if past is None else self.ordered(past)
        return self.back(self.map.inverse(np.asarray(e, np.float64), past), axis=2)

    def decode_packed(self, e, offsets):
        """x (M, D), float64, of packed e."""
        return self.back(self.map.inverse_of_packed(e, offsets))


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
        self._past = []  # z of the last frames, at most `lags` of them, the latest first: (n, D) each
        self._now = self._predicted = None  # of a frame that is started: z, and what the past predicts of it
        if past is not None:
            self.n_frames = len(past)
            self.follow(self.standardized(past[max(0, len(past) - front.lags) :]))

    def follow(self, z):
        """Put frames z (q, D), the same for all sequences, in the place of what was read last."""
        self._past = [np.repeat(z[i : i + 1], self.n, axis=0) for i in reversed(range(len(z)))][: self.front.lags]

    def standardized(self, x):
        """z of frames of X."""
        return self.front.map.standardized(self.front.ordered(x))

    def copy(self):
        """A reader that has read the same and goes on independently."""
        other = object.__new__(Reader)
        other.__dict__ = dict(self.__dict__, _past=list(self._past))
        return other

    def take(self, index):
        """Go on with sequences `index`, each of which may come several times."""
        self.n = len(index)
        self._past = [z[index] for z in self._past]
        for name in ("_now", "_predicted"):
            if getattr(self, name) is not None:
                setattr(self, name, np.ascontiguousarray(getattr(self, name)[index]))

    # ---- whole frames -------------------------------------------------------------------------------------------

    def read(self, x):
        """e (n, D) of the next frames of X, (n, D).  Where that is OutOfRange, nothing was read."""
        self.start(self.standardized(x))
        e = self.e()
        self.finish()
        return e

    def decode(self, e, rows):
        """x of the next frames of the sequences `rows`, (len(rows), D), from e; nothing is read."""
        other = self.copy()
        other.take(rows)
        other.start(None)
        return self.front.back(other.put_all(e.astype(np.float64)))

    # ---- frames that become known dimension by dimension, in the order of the model ---------------------------------

    def start(self, z):
        """Begin a frame z (n, D), of which the first dimensions are known."""
        self._now, self._predicted = z, None
        if not self.front.map.is_diagonal:
            self._predicted = self.front.map.predicted(self.n, self._past)

    def e(self):
        """e (n, D) of the frame, right up to the first dimension that is not known."""
        return self.front.rounded(self.residuals())

    def residuals(self):
        """`e` before it is rounded to the type of the network."""
        if self._predicted is None:
            return self._now
        return self.front.map.scaled(self._now - self._predicted, len(self._past))

    def put(self, d, e_d):
        """Dimension d of the frame becomes known by its e_d (n,): x_d, (n,)"""
        if self._predicted is None:
            self._now[:, d] = e_d
        else:
            e = self.residuals()
            e[:, d] = e_d
            # L is triangular.
            self._now[:, d] = self.front.map.unscaled(self._predicted, e, len(self._past))[:, d]
        return self.front.map.unstandardized(self._now[:, d], d)

    def put_all(self, e):
        """The whole frame becomes known by its e (n, D), float64: x in the order of the model, (n, D)"""
        self._now = e
        if self._predicted is not None:
            self._now = self.front.map.unscaled(self._predicted, e, len(self._past))
        return self.front.map.unstandardized(self._now)

    def finish(self):
        """The frame is known and belongs to the past."""
        self._past = [self._now, *self._past][: self.front.lags]
        self._now = self._predicted = None
        self.n_frames += 1
