"""The invertible transform in front of a model: standardisation, whitening or a linear predictor, one class."""

from functools import cached_property
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from . import _core
from .checks import LARGEST, check_memory

COVARIANCES = ("diagonal", "full")


class Linear(BaseEstimator):
    """Linear prediction from the last frames, and a triangular scaling of what it leaves.

    With q = min(t - 1, lags) and L_q lower triangular with a positive diagonal::

        e^t = L_q^{-1} (x^t - A_q0 - sum_{i=1..q} A_qi x^{t-i})

    Columns are standardised first; A and L are those of the standardised columns.  Since L is triangular, e_d depends
    on x_1 ... x_d of its frame and on the past only, so that every one-dimensional conditional stays exact, with
    log-Jacobian -log(scale_d (L_q)_dd).

    Parameters
    ----------
    lags : int, default=0
        Frames of the past that predict the next one.  0 with "diagonal" is standardisation, 0 with "full" is
        whitening, p is a vector autoregression VAR(p).
    covariance : {"diagonal", "full"}, default="diagonal"
        Whether L is diagonal.
    ridge : float, default=1.0
        Added to the diagonal of the Gram matrix of the standardised predictors; >= 0.
    floor : float, default=1e-3
        floor**2 is added to the variance of what is left of each standardised column; > 0.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (D,)
        Of the columns; a constant column has scale 1.
    coefficients_ : ndarray of shape (lags + 1, lags, D, D)
        coefficients_[q, i - 1] is A_qi of the standardised columns; 0 for i > q.
    intercepts_ : ndarray of shape (lags + 1, D)
    factors_ : ndarray of shape (lags + 1, D, D)
        L_q.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import Linear
    >>> x = np.array([[0.0], [2.0], [4.0]])
    >>> Linear().fit(x, np.array([0, 3])).forward(x, np.array([0, 3])).round(3).ravel()
    array([-1.225,  0.   ,  1.225])
    """

    def __init__(self, lags=0, covariance="diagonal", ridge=1.0, floor=1e-3):
        self.lags = lags
        self.covariance = covariance
        self.ridge = ridge
        self.floor = floor

    def fit(self, frames, offsets, weight=None):
        """Fit by weighted least squares, in closed form.

        Parameters
        ----------
        frames : ndarray of shape (M, D)
        offsets : ndarray of shape (N + 1,), int64
        weight : ndarray of shape (M,), optional

        Returns
        -------
        self
        """
        self._check_options()
        self.__dict__.pop("_inverse_factors", None)  # of an earlier fit
        frames = np.ascontiguousarray(frames, np.float64)  # sums have other bits in another layout
        offsets = np.asarray(offsets, np.int64)
        D, lags = frames.shape[1], self._q
        check_memory("the coefficients of a Linear", (lags + 1, lags, D, D))
        w = np.ones(len(frames)) if weight is None else np.asarray(weight, np.float64)
        with threadpool_limits(1):  # the same bits for any number of threads
            # In units that are powers of two, so that no square overflows or vanishes, and no bit changes.
            unit = np.frexp(np.abs(frames).max(axis=0, initial=0.0))[1]
            scaled = np.ldexp(frames, -unit)
            mean = _weighted_mean(scaled, w)
            self.mean_ = np.ldexp(mean, unit)
            deviation = np.ldexp(np.sqrt(_weighted_mean((scaled - mean) ** 2, w)), unit)
            # What is left of a constant column by rounding is not a scale.
            constant = deviation <= 1e-12 * np.abs(self.mean_)
            self.scale_ = np.where(constant, 1.0, deviation)
            z = (frames - self.mean_) / self.scale_
            self.coefficients_ = np.zeros((lags + 1, lags, D, D))
            self.intercepts_ = np.zeros((lags + 1, D))
            self.factors_ = np.tile(np.eye(D), (lags + 1, 1, 1))
            position = np.arange(len(z)) - np.repeat(offsets[:-1], np.diff(offsets))
            for q in range(lags + 1):
                self._fit_predictor(z, w, np.flatnonzero(position >= q), q, constant)
        return self

    def _check_options(self):
        if not (isinstance(self.lags, Integral) and not isinstance(self.lags, bool) and 0 <= self.lags <= LARGEST):
            raise ValueError(
                f"lags of Linear must be an int in the range [0, {LARGEST}]. Got {self.lags!r:.60} instead."
            )
        if self.covariance not in COVARIANCES:
            raise ValueError(f"covariance of Linear must be one of {COVARIANCES}. Got {self.covariance!r:.60} instead.")
        if not (_is_number(self.ridge) and _is_number(self.floor) and self.ridge >= 0 and self.floor > 0):
            raise ValueError(f"Linear needs ridge >= 0 and floor > 0. Got {self.ridge!r} and {self.floor!r} instead.")

    def _fit_predictor(self, z, w, rows, q, constant):
        """A_q and L_q from the frames that have q predecessors."""
        if q > 0 and w[rows].sum() <= 0:  # no sequence is so long: as the shorter past
            self.coefficients_[q, : q - 1] = self.coefficients_[q - 1, : q - 1]
            self.intercepts_[q], self.factors_[q] = self.intercepts_[q - 1], self.factors_[q - 1]
            return
        D, target, weight = z.shape[1], z[rows], w[rows][:, None]
        past = np.hstack([z[rows - i] for i in range(1, q + 1)]) if q else np.empty((len(rows), 0))
        if q == 0 and self.covariance == "diagonal" and self._q == 0:
            return  # standardisation: nothing is left to do
        target_mean, past_mean = _weighted_mean(target, weight[:, 0]), _weighted_mean(past, weight[:, 0])
        centred, predictors = target - target_mean, past - past_mean
        if q:
            gram = predictors.T @ (weight * predictors) + self.ridge * np.eye(q * D)
            A = np.linalg.lstsq(gram, predictors.T @ (weight * centred), rcond=None)[0]  # (q D, D)
            centred = centred - predictors @ A
            self.coefficients_[q, :q] = A.reshape(q, D, D).transpose(0, 2, 1)
            target_mean = target_mean - past_mean @ A
        self.intercepts_[q] = target_mean
        covariance = centred.T @ (weight * centred) / weight.sum() + self.floor**2 * np.eye(D)
        covariance[constant], covariance[:, constant] = 0, 0
        covariance[constant, constant] = 1
        if self.covariance == "diagonal":
            self.factors_[q] = np.diag(np.sqrt(np.diag(covariance)))
        else:
            self.factors_[q] = np.linalg.cholesky(covariance)

    @property
    def _q(self):
        """`lags` as an int of Python's own."""
        return int(self.lags)

    @cached_property
    def _inverse_factors(self):
        """L_q^{-1} by forward substitution, without BLAS: the same bits for any number of its threads."""
        inverses = np.zeros_like(self.factors_)
        for L, inverse in zip(self.factors_, inverses, strict=True):
            for i in range(len(L)):
                inverse[i, i] = 1
                inverse[i, :i] -= (L[i, :i, None] * inverse[:i, :i]).sum(axis=0)
                inverse[i] /= L[i, i]
        return inverses

    @property
    def is_diagonal(self):
        """Whether this is standardisation and nothing else."""
        return self._q == 0 and self.covariance == "diagonal"

    def forward(self, frames, offsets):
        """e of packed frames.

        Parameters
        ----------
        frames : ndarray of shape (M, D)
        offsets : ndarray of shape (N + 1,), int64

        Returns
        -------
        e : ndarray of shape (M, D), float64
        """
        z = self.standardized(frames)
        if self.is_diagonal:
            return z
        e = np.empty_like(z)
        for q, begin, end in self._pieces(offsets):
            e[begin:end] = self.residuals(z[begin:end], [z[begin - i : end - i] for i in range(1, q + 1)])
        return e

    def standardized(self, frames):
        """z, the standardised columns of `frames`."""
        return (frames - self.mean_) / self.scale_

    def unstandardized(self, z, d=slice(None)):
        """The frames with the standardised columns z, or those of their dimensions d."""
        return self.mean_[d] + self.scale_[d] * z

    def residuals(self, z, past):
        """e of n frames, each after a past of its own.

        Parameters
        ----------
        z : ndarray of shape (n, D), C-contiguous
            From `standardized`.
        past : sequence of min(t - 1, lags) such
            past[i - 1] are those i frames earlier.

        Returns
        -------
        e : ndarray of shape (n, D)
            The same bits as `forward`.
        """
        return z if self.is_diagonal else self.scaled(z - self.predicted(len(z), past), len(past))

    def scaled(self, left, q):
        """L_q^{-1} left, what the prediction left of n frames: (n, D)"""
        e = np.zeros_like(left)
        _core.add_product(e, left, self._inverse_factors[q])
        return e

    def unscaled(self, predicted, e, q):
        """z = predicted + L_q e of n frames: (n, D)"""
        z = predicted.copy()
        _core.add_product(z, e, self.factors_[q])
        return z

    def predicted(self, n, past):
        """A_q0 + sum_i A_qi z^{t-i} of n frames, (n, D); past as in `residuals`."""
        q = len(past)
        prediction = np.tile(self.intercepts_[q], (n, 1))
        for z, A in zip(past, self.coefficients_[q], strict=False):
            _core.add_product(prediction, z, A)
        return prediction

    def _prediction(self, z, offsets):
        """`predicted` of each of packed frames."""
        prediction = np.empty_like(z)
        for q, begin, end in self._pieces(offsets):
            prediction[begin:end] = self.predicted(end - begin, [z[begin - i : end - i] for i in range(1, q + 1)])
        return prediction

    def _pieces(self, offsets):
        """(q, begin, end): runs of frames with the same predictor."""
        if self._q == 0:
            yield 0, 0, int(offsets[-1])
            return
        for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            for q in range(min(self._q, last - first)):
                yield q, first + q, first + q + 1
            if last - first > self._q:
                yield self._q, first + self._q, last

    def log_jacobian(self, offsets):
        """log abs(de_d / dx_d) of every frame and dimension: (M, D), or (D,) where it is the same for all frames."""
        table = self.log_jacobian_table
        return table[0] if self._q == 0 else table[self._lag_of_rows(offsets)]

    @property
    def log_jacobian_table(self):
        """The same by the number of frames before, at most `lags`: (lags + 1, D)"""
        return -np.log(self.scale_) - np.log(np.diagonal(self.factors_, axis1=1, axis2=2))

    def _lag_of_rows(self, offsets):
        position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
        return np.minimum(position, self._q)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused with its place
    def location_and_scale(self, frames, offsets):
        """(location, scale), each (M, D), with x_d = location_d + scale_d e_d: location_d is known before x_d is."""
        frames = np.asarray(frames, np.float64)
        if self.is_diagonal:
            return np.broadcast_to(self.mean_, frames.shape), np.broadcast_to(self.scale_, frames.shape)
        z = self.standardized(frames)
        location, e = self._prediction(z, offsets), self.forward(frames, offsets)
        scale = np.empty_like(z)
        for q, begin, end in self._pieces(offsets):
            _core.add_product(location[begin:end], e[begin:end], np.tril(self.factors_[q], -1))
            scale[begin:end] = np.diag(self.factors_[q])
        return self.mean_ + self.scale_ * location, self.scale_ * scale

    def inverse(self, e, past=None):
        """x of sequences of e.

        Parameters
        ----------
        e : ndarray of shape (N, T, D)
        past : ndarray of shape (n_past, D) or (N, n_past, D), optional
            The frames before, the same for all sequences or those of each; the last `lags` are used.

        Returns
        -------
        x : ndarray of shape (N, T, D), float64
        """
        N, T, D = e.shape
        if self.is_diagonal:
            return self.mean_ + self.scale_ * e
        n_past = 0 if past is None else min(past.shape[-2], self._q)
        z = np.zeros((T + n_past, N, D))  # frames first: each is one contiguous matrix
        if n_past:
            last = past[..., past.shape[-2] - n_past :, :]
            z[:n_past] = np.broadcast_to(self.standardized(last), (N, n_past, D)).transpose(1, 0, 2)
        e = np.ascontiguousarray(e.transpose(1, 0, 2), np.float64)
        for t in range(n_past, T + n_past):
            q = min(t, self._q)
            z[t] = self.unscaled(self.predicted(N, [z[t - i] for i in range(1, q + 1)]), e[t - n_past], q)
        return self.mean_ + self.scale_ * z[n_past:].transpose(1, 0, 2)

    def inverse_of_packed(self, e, offsets):
        """x of packed e (M, D): the inverse of `forward`, all sequences frame by frame side by side."""
        if self.is_diagonal:
            return self.mean_ + self.scale_ * e
        z = np.empty_like(e)
        lengths = np.diff(offsets)
        first = offsets[np.argsort(-lengths, kind="stable")]
        for t in range(lengths.max()):
            rows = first[: np.count_nonzero(lengths > t)] + t
            q = min(t, self._q)
            z[rows] = self.unscaled(self.predicted(len(rows), [z[rows - i] for i in range(1, q + 1)]), e[rows], q)
        return self.mean_ + self.scale_ * z

    def to_arrays(self):
        """The fitted arrays by name."""
        return {name: getattr(self, name) for name in FITTED}

    @classmethod
    def from_arrays(cls, options, arrays, D):
        """A fitted transform of D dimensions from its options and arrays; ValueError where they do not fit together."""
        transform = cls(**options)
        transform._check_options()
        q = transform._q
        shapes = ((D,), (D,), (q + 1, q, D, D), (q + 1, D), (q + 1, D, D))
        for name, shape in zip(FITTED, shapes, strict=True):
            if arrays[name].shape != shape or arrays[name].dtype != np.float64:
                raise ValueError(f"{name} of the transform does not fit its options")
            setattr(transform, name, np.array(arrays[name]))
        factors = transform.factors_
        finite = all(np.isfinite(getattr(transform, name)).all() for name in FITTED)
        lower = (np.diagonal(factors, axis1=1, axis2=2) > 0).all() and not np.triu(factors, 1).any()
        if not finite or not (transform.scale_ > 0).all() or not lower:
            raise ValueError("the transform has no inverse, or numbers that are not finite")
        return transform


FITTED = ("mean_", "scale_", "coefficients_", "intercepts_", "factors_")


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _weighted_mean(x, w):
    return (w @ x) / w.sum()
