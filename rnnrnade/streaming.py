"""One frame at a time: the log-density of what comes next, in constant memory, with the bits of the batch scores."""

import math
from typing import NamedTuple

import numpy as np

from .checks import naming

__all__ = ["FrameScore", "Stream"]

_NATIVE = (np.dtype(np.float64), np.dtype(np.float32))


def _sum_is_finite(values):
    """A sum that is finite proves that every entry is; one that is not may be an overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.add.reduce(values))


class FrameScore(NamedTuple):
    """Log-density of a frame in nats, and of each of its dimensions given those before it, (D,)."""

    log_density: float
    dims: np.ndarray


class Stream:
    """A sequence that is read frame by frame; `stream` of a sequence estimator makes one.

    It holds the recurrent state and, for a transform with lags, the last frames: its memory does not grow.  The scores
    have the same bits as `score_frames` and `score_dims` of the whole sequence.  The parameters are those of the
    estimator, not a copy: do not go on training it (`partial_fit`, `warm_start`) while a stream is read.  One thread at
    a time may use a stream; streams are independent of each other.

    Parameters
    ----------
    estimator : RNNRNADE or RNNNADE
        Fitted.
    given : array-like of shape (T, D), optional
        A sequence that has been read already.

    Attributes
    ----------
    n_frames : int
        Frames read so far, those of `given` with them.

    Examples
    --------
    >>> from rnnrnade import RNNRNADE
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = RNNRNADE(n_components=2, n_hidden=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> stream = model.stream()
    >>> scores = [stream.update(frame) for frame in X[0]]
    >>> bool((scores == model.score_frames(X[0])).all())
    True
    >>> what_if = stream.copy()
    >>> what_if.update(X[1][0]) == stream.update(X[1][0], dims=True).log_density
    True
    """

    def __init__(self, estimator, given=None):
        self._model, self._transform = estimator._model, estimator.transform_
        self._order, self._binary = estimator.order_, estimator._binary
        self._name, self._names = type(estimator).__name__, getattr(estimator, "feature_names_in_", None)
        self._state = self._model.initial_state(1)[0]
        self._past = []  # of the transform's lags, the latest first: (1, D) each
        self.n_frames = 0
        self._jacobian = None
        if self._transform is not None:
            self._jacobian = [(float(row.sum()), row) for row in self._transform.log_jacobian_table]
        if given is not None:
            with naming("given"):
                data, _, scores = estimator._scores(given, last=True)
                if data.n_sequences != 1:
                    raise ValueError(f"given must be one sequence, (T, D). Got {data.n_sequences} sequences.")
            self._state = scores.last[0]
            self.n_frames = data.n_frames
            if self._lags:
                frames = data.frames if self._order is None else data.frames[:, self._order]
                z = self._transform.standardized(np.ascontiguousarray(frames[-self._lags :], np.float64))
                self._past = [z[i : i + 1] for i in reversed(range(len(z)))]

    @property
    def _lags(self):
        return 0 if self._transform is None else self._transform.lags

    def update(self, frame, *, dims=False):
        """Read the next frame.

        Parameters
        ----------
        frame : array-like of shape (D,)
        dims : bool, default=False
            Return the log-density of each dimension, too.

        Returns
        -------
        float, or FrameScore with `dims`
            Exact log-density of the frame given all frames before it, in nats, in the units of the frame.

        Raises
        ------
        ValueError, TypeError
            For a frame of another shape or with an entry that is not finite (binary models: not 0 or 1); the message
            names the frame, counted from 0, and the dimension.  The stream stays as it was.
        """
        if type(frame) is not np.ndarray or frame.dtype not in _NATIVE:
            frame = self._converted(frame)
        if frame.shape != (self._model.layout.D,):
            self._refuse_shape(frame)
        if not _sum_is_finite(frame):
            self._refuse_value(frame, np.isfinite(frame), "every entry must be finite")
        if self._binary and not ((frame == 0) | (frame == 1)).all():
            self._refuse_value(frame, (frame == 0) | (frame == 1), f"{self._name} models binary data, 0 or 1")
        if self._order is not None:
            frame = frame[self._order]
        past = self._past
        if self._transform is None:
            e = frame
        else:
            z = self._transform.standardized(frame[None])
            e = self._transform.residuals(z, past)[0]
            if self._lags:
                past = [z, *past[: self._lags - 1]]
        e = self._rounded(e)
        log_density, each = self._model.score_frame(e, self._state)
        if self._jacobian is not None:
            total, row = self._jacobian[min(self.n_frames, self._lags)]
            log_density += total
            each += row
        self._past = past
        self.n_frames += 1
        if not dims:
            return log_density
        if self._order is not None:
            in_order, each = each, np.empty_like(each)
            each[self._order] = in_order
        return FrameScore(log_density, each)

    def copy(self):
        """A stream that has read the same frames and goes on independently; it shares the model."""
        other = object.__new__(Stream)
        other.__dict__ = dict(self.__dict__, _state=self._state.copy(), _past=list(self._past))
        return other

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    # ---- the border: a frame costs microseconds ------------------------------------------------------------------

    def _converted(self, frame):
        """Whatever else may be a frame as a native float array."""
        index = getattr(frame, "index", None)  # of a Series; a list has a method of that name
        if self._names is not None and index is not None and not callable(index):
            names = list(index)
            if names != list(self._names):
                raise ValueError(
                    f"frame {self.n_frames} has the names {names}, but {self._name} was fitted with "
                    f"{list(self._names)}, in that order."
                )
        values = np.asarray(frame)
        if values.dtype.kind not in "fiub" and not (values.dtype.kind == "O" and hasattr(frame, "dtype")):
            raise TypeError(
                f"frame {self.n_frames} is a {type(frame).__name__} of {values.dtype}, but must be an array of numbers."
            )
        if np.ma.is_masked(frame):
            raise ValueError(f"frame {self.n_frames} has masked entries: fill them in.")
        with naming(f"frame {self.n_frames}"):
            return np.asarray(values, np.float32 if values.dtype == np.float32 else np.float64)

    def _refuse_shape(self, frame):
        D = self._model.layout.D
        hint = ""
        if frame.ndim == 2:
            hint = " A stream reads one frame at a time: stream(X) begins with a sequence that has been read."
        raise ValueError(f"frame {self.n_frames} has shape {frame.shape}, but must be of shape ({D},).{hint}")

    def _refuse_value(self, frame, good, why):
        """Say which entry is bad, if any is: a sum may overflow where no entry is."""
        bad = np.flatnonzero(~good)
        if len(bad):
            d, name = bad[0], "" if self._names is None else f" ({self._names[bad[0]]!r})"
            what = "NaN" if np.isnan(frame[d]) else "infinity" if np.isinf(frame[d]) else frame[d]
            raise ValueError(f"Frame contains {what}: frame {self.n_frames}, dimension {d}{name}: {why}.")

    def _rounded(self, e):
        """e in the model's type."""
        if e.dtype == self._model.dtype:
            return np.ascontiguousarray(e)
        with np.errstate(over="ignore"):
            rounded = e.astype(self._model.dtype)
        if not _sum_is_finite(rounded) and not np.isfinite(rounded).all():
            d = np.flatnonzero(~np.isfinite(rounded))[0]
            d = d if self._order is None else self._order[d]
            raise ValueError(
                f"Frame is too large for float32: frame {self.n_frames}, dimension {d}: scale it down or use "
                "dtype='float64'."
            )
        return rounded
