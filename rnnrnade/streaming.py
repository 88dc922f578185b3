"""One frame at a time: the log-density of what comes next, in constant memory, with the bits of the batch scores."""

import math
from typing import NamedTuple

import numpy as np

from .checks import OutOfRange, check_finite, naming
from .front import Reader

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
    """A sequence that is read frame by frame, made by `stream` of a sequence estimator.

    It holds the recurrent state and, for a transform with lags, the last frames, so its memory does not grow.  The
    scores are the same bits as `score_frames` and `score_dims` of the whole sequence.  The model is the one the
    estimator had when the stream was made, whatever is fitted later.  Only one thread at a time may use a stream;
    different streams are independent.

    Attributes
    ----------
    n_frames : int
        Frames read so far, including those that `stream` was given.

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

    def __init__(self, density, state, past=None, *, owner="Stream", names=None):
        self._density, self._owner, self._names = density, owner, names
        self._binary, self._dtype, self._D = density.head.binary, density.model.dtype, density.model.layout.X
        self._state, self._reader = state, Reader(density.front, 1, past)

    @property
    def n_frames(self):
        """Number of frames read."""
        return self._reader.n_frames

    def update(self, frame, *, dims=False):
        """Read the next frame.

        Parameters
        ----------
        frame : array-like of shape (D,)
        dims : bool, default=False
            Also return the log-density of each dimension.

        Returns
        -------
        float, or FrameScore with `dims`
            Exact log-density of the frame given all frames before it, in nats, in the units of the frame.

        Raises
        ------
        ValueError, TypeError
            For a frame of another shape or with an entry that is not finite (binary models: not 0 or 1); the message
            names the frame, counted from 0, and the dimension.  The stream stays as it was.
            Also a ValueError if the parameters of a fit that diverged do not give a number.
        """
        n_before = self.n_frames
        _, e, jacobian = self._read(frame)
        log_density, each = self._density.model.score_frame(e[0], self._state)
        if jacobian is not None:
            row = jacobian if jacobian.ndim == 1 else jacobian[0]
            log_density += float(row.sum())
            each += row
        if not math.isfinite(log_density):
            check_finite("the log-density", np.array([log_density]), lambda _: f"frame {n_before}", below=True)
        return FrameScore(log_density, self._density.front.back(each, axis=0)) if dims else log_density

    def copy(self):
        """A stream that has read the same frames and continues independently; it shares the model."""
        other = object.__new__(type(self))
        other.__dict__ = dict(self.__dict__, _state=self._state.copy(), _reader=self._reader.copy())
        return other

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    # ---- the border: a frame costs microseconds ------------------------------------------------------------------

    def _read(self, frame):
        """(x (D,), e (1, D), its log-Jacobian) of the next frame; one that is refused is not read."""
        if type(frame) is not np.ndarray or frame.dtype not in _NATIVE:
            frame = self._converted(frame)
        if frame.shape != (self._D,):
            self._refuse_shape(frame)
        if not _sum_is_finite(frame):
            self._refuse_value(frame, np.isfinite(frame), "every entry must be finite")
        if self._binary:
            good = (frame == 0) | (frame == 1)
            good[self._density.front.given_in(self._D)] = True
            if not good.all():
                self._refuse_value(frame, good, f"{self._owner} models binary data, 0 or 1")
        try:
            return frame, *self._reader.read(frame[None])
        except OutOfRange as error:
            raise error.at("Frame", f"frame {self.n_frames}, dimension {error.dimension}") from None

    def _converted(self, frame):
        """Whatever else may be a frame as a native float array."""
        index = getattr(frame, "index", None)  # of a Series; a list has a method of that name
        if self._names is not None and index is not None and not callable(index):
            names = list(index)
            if names != list(self._names):
                raise ValueError(
                    f"frame {self.n_frames} has the names {names}, but {self._owner} was fitted with "
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
        hint = ""
        if frame.ndim == 2:
            hint = " A stream reads one frame at a time: stream(X) begins with a sequence that has been read."
        raise ValueError(f"frame {self.n_frames} has shape {frame.shape}, but must be of shape ({self._D},).{hint}")

    def _refuse_value(self, frame, good, why):
        """Say which entry is bad, if any is: a sum may overflow where no entry is."""
        bad = np.flatnonzero(~good)
        if len(bad):
            d, name = bad[0], "" if self._names is None else f" ({self._names[bad[0]]!r})"
            what = "NaN" if np.isnan(frame[d]) else "infinity" if np.isinf(frame[d]) else frame[d]
            raise ValueError(f"Frame contains {what}: frame {self.n_frames}, dimension {d}{name}: {why}.")
