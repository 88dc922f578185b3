"""The invertible transform in front of a model: a chain of one or two links.

    x --Linear--> u --Volatility--> e

Design
------
Each link is causal and triangular within a frame: y_d depends on x_1 ... x_d of its frame and on earlier frames only.
Given the past it is x = a + B y with B lower triangular, so that every one-dimensional conditional stays exact, with
log-Jacobian -log B_dd.  A chain of such links is such a link itself.

*Packed or frame by frame.*  `encode` takes all frames at once; a track (`track`) follows n sequences side by side, one
frame at a time, and gives the same bits: `begin` a frame, call `scaled`, `unscaled` and `log_jacobian` for it, then
`read` it.
"""

from functools import cached_property
from numbers import Integral, Real

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, clone
from threadpoolctl import threadpool_limits

from . import _core
from .checks import LARGEST, check_memory
from .ridge import TOWARDS, Predictors, separated, shrunk, stable

COVARIANCES = ("diagonal", "full", "none")


class Linear(BaseEstimator):
    """Linear prediction from earlier frames, followed by a triangular scaling of the residuals.

    With l running over the lags for which frame t has a past::

        e^t = L^{-1} (x^t - A_0 - sum_l A_l x^{t-l})

    Columns are standardised first, and A and L apply to the standardised columns; frames with a short past have an A
    and an L of their own.  Since L is triangular, e_d depends on x_1 ... x_d of its frame and on the past only, so that
    every one-dimensional conditional stays exact, with log-Jacobian -log(scale_d L_dd).

    The noise covariance L L' is that of the leave-one-out residuals: what remains of each frame when the fit to all
    others predicts it, computed in closed form (ridge.py).

    Parameters
    ----------
    lags : int, default=0
        How many of the last frames predict the next one.  0 with "diagonal" is standardisation, 0 with "full" is
        whitening, and p > 0 is a vector autoregression, VAR(p).
    covariance : {"diagonal", "full", "none"}, default="diagonal"
        Whether L is diagonal.  "none": all columns but the given ones stay as they are.
    ridge : float, default=1.0
        Added to the diagonal of the Gram matrix of the standardised predictors; >= 0.
    floor : float, default=1e-3
        floor**2 is added to the residual variance of each standardised column; > 0.
    season : int, default=0
        Length of a season in frames, greater than `lags`: where the past is long enough, the frames `season` and
        `season` + 1 steps back are predictors too.  0: no season.
    towards : {"zero", "last", "own"}, default="zero"
        What the ridge shrinks the prediction towards: the mean, the frame before, or a prediction of each column from
        its own past.
    shrinkage : float, default=0.0
        The covariances between columns are multiplied by 1 - shrinkage; in [0, 1].
    apart : sequence of int, default=()
        Columns that are standardised and otherwise left as they are; they still predict the others.
    given : int, default=0
        The number of columns in front that are given: they are standardised, predict the other columns of their own
        frame and are predicted by none.  An estimator sets it.
    max_radius : float or None, default=None
        Roots of the prediction outside the circle of this radius are moved onto it, so that long draws stay bounded;
        > 0.  None: the prediction stays as fitted.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (D,)
        Mean and standard deviation of each column; a constant column has scale 1.
    coefficients_ : ndarray of shape (n_stages, n_lags, D, D)
        coefficients_[k, i] is A, in standardised columns, for entry i of the lags (1, ..., lags, season, season + 1),
        and for frames with k frames before them (k = lags: that many or more; with a season, k = lags + 1: season + 1
        or more); 0 for lags that reach further back.
    intercepts_ : ndarray of shape (n_stages, D)
        A_0, in standardised columns.
    factors_ : ndarray of shape (n_stages, D, D)
        L.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import Linear
    >>> x = np.array([[0.0], [2.0], [4.0]])
    >>> Linear().fit(x, np.array([0, 3])).forward(x, np.array([0, 3])).round(3).ravel()
    array([-1.225,  0.   ,  1.225])
    """

    def __init__(
        self, lags=0, covariance="diagonal", ridge=1.0, floor=1e-3, *, season=0, towards="zero", shrinkage=0.0,
        apart=(), max_radius=None, given=0,
    ):  # fmt: skip
        self.lags = lags
        self.covariance = covariance
        self.ridge = ridge
        self.floor = floor
        self.season = season
        self.towards = towards
        self.shrinkage = shrinkage
        self.apart = apart
        self.max_radius = max_radius
        self.given = given

    # ---- fit ----------------------------------------------------------------------------------------------------

    def fit(self, frames, offsets, weight=None):
        """Fit by weighted ridge regression, in closed form.

        Parameters
        ----------
        frames : ndarray of shape (M, D)
        offsets : ndarray of shape (N + 1,), int64
        weight : ndarray of shape (M,), optional

        Returns
        -------
        self
        """
        self.fit_left_out(frames, offsets, weight)
        return self

    def fit_left_out(self, frames, offsets, weight=None):
        """Fit, and return what `forward` would give for each frame had it been left out of the fit: (M, D).

        The standardisation is still that of all frames."""
        frames = np.ascontiguousarray(frames, np.float64)  # sums have other bits in another layout
        offsets, D = np.asarray(offsets, np.int64), frames.shape[1]
        self._check_options(D)
        self.__dict__.pop("_inverse_factors", None)  # of an earlier fit
        check_memory("the coefficients of a Linear", (*self._sizes, D, D))
        w = np.ones(len(frames)) if weight is None else np.asarray(weight, np.float64)
        with threadpool_limits(1):  # the same bits for any number of threads
            self.mean_, self.scale_, constant = standardisation(frames, w)
            if self.covariance == "none":
                self.mean_[self.given :], self.scale_[self.given :] = 0.0, 1.0
            z = (frames - self.mean_) / self.scale_
            self.coefficients_ = np.zeros((len(self.stages), len(self.stages[-1]), D, D))
            self.intercepts_ = np.zeros((len(self.stages), D))
            self.factors_ = np.tile(np.eye(D), (len(self.stages), 1, 1))
            if self.is_diagonal:
                return z
            position = np.arange(len(z)) - np.repeat(offsets[:-1], np.diff(offsets))
            stage_of = self.stage(position)
            e, as_before = z.copy(), []
            for k, lags in enumerate(self.stages):
                rows = np.flatnonzero(position >= max(lags, default=0))
                if k and w[rows].sum() <= 0:  # no sequence is so long: as the shorter past
                    for fitted in (self.coefficients_, self.intercepts_, self.factors_):
                        fitted[k] = fitted[k - 1]
                    as_before.append(k)
                else:
                    left = self._fit_stage(k, Predictors(z, w, rows, lags, self.given), constant[self.given :])
                    here = stage_of[rows] == k
                    e[rows[here], self.given :] = left[here]
            for here in (np.flatnonzero(stage_of == k) for k in as_before):
                past = range(1, max(self.stages[stage_of[here[0]]]) + 1) if len(here) else ()
                e[here] = self.residuals(z[here], [z[here - lag] for lag in past])
        return e

    def _fit_stage(self, k, predictors, constant):
        """A and L of one stage; e of its frames, each left out, without what is given."""
        given, lags = self.given, predictors.lags
        D, apart = len(constant), [d - given for d in self.apart]
        B, leverage = predictors.fit(predictors.prior(self.towards), self.ridge)
        if apart and lags:
            B[:, apart] = 0
        if self.max_radius is not None and lags and k == len(self.stages) - 1:
            B = stable(B, lags, self.max_radius)
        intercept, by_given = predictors.rest(B, apart)
        if lags:
            self.coefficients_[k, : len(lags), given:, given:] = B.reshape(len(lags), D, D).transpose(0, 2, 1)
        self.intercepts_[k, given:] = intercept
        left = predictors.left(B, intercept, by_given, leverage)
        left[:, apart] *= (1 - leverage)[:, None]  # their prediction has no coefficients
        covariance = shrunk(predictors.covariance(left), self.shrinkage, self.floor)
        separated(covariance, apart, constant)
        if self.covariance == "diagonal":
            L = np.diag(np.sqrt(np.diag(covariance)))
        else:
            L = np.linalg.cholesky(covariance)
        # What is given stands in front: the triangular factor takes what it gives to the others.
        self.factors_[k, given:, given:], self.factors_[k, given:, :given] = L, by_given.T
        e = solve_triangular(L, left.T, lower=True).T
        # The frame is in the covariance, too: without it that would be smaller by its own square.
        if self.covariance == "full":
            share = (1 - self.shrinkage) * np.minimum(predictors.weight, 1) / predictors.total * (e**2).sum(axis=1)
            e /= np.sqrt(1 - np.minimum(share, MOST_SHARE))[:, None]
        return e

    def _check_options(self, D):
        for name in ("lags", "season"):
            value = getattr(self, name)
            if not (isinstance(value, Integral) and not isinstance(value, bool) and 0 <= value <= LARGEST):
                raise ValueError(
                    f"{name} of Linear must be an int in the range [0, {LARGEST}]. Got {value!r:.60} instead."
                )
        if self.season and self.season <= self.lags:
            raise ValueError(f"season of Linear must be greater than lags, {self.lags}. Got {self.season} instead.")
        for name, choices in (("covariance", COVARIANCES), ("towards", TOWARDS)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in choices:
                raise ValueError(f"{name} of Linear must be one of {choices}. Got {value!r:.60} instead.")
        if not (_is_number(self.ridge) and _is_number(self.floor) and self.ridge >= 0 and self.floor > 0):
            raise ValueError(f"Linear needs ridge >= 0 and floor > 0. Got {self.ridge!r} and {self.floor!r} instead.")
        if not (_is_number(self.shrinkage) and 0 <= self.shrinkage <= 1):
            raise ValueError(f"shrinkage of Linear must be in the range [0, 1]. Got {self.shrinkage!r:.60} instead.")
        if self.covariance == "none" and (self.lags or self.season):
            raise ValueError("covariance='none' of Linear leaves the columns as they are: lags and season must be 0.")
        if self.max_radius is not None and not (_is_number(self.max_radius) and self.max_radius > 0):
            raise ValueError(f"max_radius of Linear must be None or > 0. Got {self.max_radius!r:.60} instead.")
        try:
            whole = all(isinstance(d, Integral) and not isinstance(d, bool) for d in self.apart)
        except TypeError:
            whole = False
        if not whole:
            raise ValueError(f"apart of Linear must hold column numbers. Got {self.apart!r:.60} instead.")
        _check_apart(self.apart, D)
        if not (isinstance(self.given, Integral) and not isinstance(self.given, bool) and 0 <= self.given < D):
            raise ValueError(
                f"given of Linear must be an int in the range [0, {D - 1}]. Got {self.given!r:.60} instead."
            )

    # ---- what it is ---------------------------------------------------------------------------------------------

    @property
    def stages(self):
        """The lags that predict a frame, for each length of its past: a list of tuples."""
        lags, season = int(self.lags), int(self.season)
        plain = [tuple(range(1, q + 1)) for q in range(lags + 1)]
        return plain + [(*plain[-1], season, season + 1)] if season else plain

    @property
    def _sizes(self):
        """(stages, lags of the last one)"""
        return int(self.lags) + 1 + (self.season > 0), int(self.lags) + 2 * (self.season > 0)

    @property
    def reach(self):
        """How many frames back the prediction of a frame looks."""
        return int(self.season) + 1 if self.season else int(self.lags)

    def stage(self, n_before):
        """Which of `stages` predicts a frame with n_before frames before it, an int or an array."""
        lags = int(self.lags)
        stage = np.minimum(n_before, lags)
        if self.season:
            stage = np.where(np.asarray(n_before) > self.season, lags + 1, stage)
        return stage if np.ndim(n_before) else int(stage)

    @cached_property
    def _inverse_factors(self):
        """L^{-1} by forward substitution, without BLAS: the same bits for any number of BLAS threads."""
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
        return self.reach == 0 and self.covariance != "full"

    # ---- packed frames ------------------------------------------------------------------------------------------

    def encode(self, frames, offsets):
        """(e, its log-Jacobian): (M, D), and (M, D) or, if it is the same for all frames, (D,)."""
        return self.forward(frames, offsets), self.log_jacobian(offsets)

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
        for k, begin, end in self._pieces(offsets):
            e[begin:end] = self.scaled(z[begin:end] - self._predicted(z, k, begin, end), k)
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
        past : sequence of min(t - 1, reach) such arrays
            past[i - 1] holds the frames i steps earlier.

        Returns
        -------
        e : ndarray of shape (n, D)
            The same bits as `forward`.
        """
        return z if self.is_diagonal else self.scaled(z - self.predicted(len(z), past), self.stage(len(past)))

    def scaled(self, left, k):
        """L^{-1} left, where `left` holds the residuals of n frames of stage k: (n, D)"""
        e = np.zeros_like(left)
        _core.add_product(e, left, self._inverse_factors[k])
        return e

    def unscaled(self, predicted, e, k):
        """z = predicted + L e of n frames: (n, D)"""
        z = predicted.copy()
        _core.add_product(z, e, self.factors_[k])
        return z

    def predicted(self, n, past):
        """A_0 + sum_l A_l z^{t-l} of n frames, (n, D); past as in `residuals`."""
        k = self.stage(len(past))
        return self._sum(n, k, [past[lag - 1] for lag in self.stages[k]])

    def _sum(self, n, k, lagged):
        prediction = np.tile(self.intercepts_[k], (n, 1))
        for z, A in zip(lagged, self.coefficients_[k], strict=False):
            _core.add_product(prediction, z, A)
        return prediction

    def _predicted(self, z, k, begin, end):
        return self._sum(end - begin, k, [z[begin - lag : end - lag] for lag in self.stages[k]])

    def _pieces(self, offsets):
        """(k, begin, end): runs of frames of one stage."""
        if self.reach == 0:
            yield 0, 0, int(offsets[-1])
            return
        needs = [max(lags, default=0) for lags in self.stages]
        for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            for k, (begin, end) in enumerate(zip(needs, [*needs[1:], last - first], strict=True)):
                if begin < min(end, last - first):
                    yield k, first + begin, first + min(end, last - first)

    def log_jacobian(self, offsets):
        """log abs(de_d / dx_d) of every frame and dimension: (M, D), or (D,) if it is the same for all frames."""
        if self.reach == 0:
            return self.log_jacobian_table[0]
        position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
        return self.log_jacobian_table[self.stage(position)]

    @property
    def log_jacobian_table(self):
        """The same by stage: (n_stages, D)"""
        return -np.log(self.scale_) - np.log(np.diagonal(self.factors_, axis1=1, axis2=2))

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused with its place
    def location_and_scale(self, frames, offsets):
        """(location, scale), each (M, D), with x_d = location_d + scale_d e_d: location_d is known before x_d is."""
        frames = np.asarray(frames, np.float64)
        if self.is_diagonal:
            return np.broadcast_to(self.mean_, frames.shape), np.broadcast_to(self.scale_, frames.shape)
        z = self.standardized(frames)
        location, e = np.empty_like(z), self.forward(frames, offsets)
        scale = np.empty_like(z)
        for k, begin, end in self._pieces(offsets):
            location[begin:end] = self._predicted(z, k, begin, end)
            _core.add_product(location[begin:end], e[begin:end], np.tril(self.factors_[k], -1))
            scale[begin:end] = np.diag(self.factors_[k])
        return self.mean_ + self.scale_ * location, self.scale_ * scale

    def inverse(self, e, past=None):
        """x from sequences of e.

        Parameters
        ----------
        e : ndarray of shape (N, T, D)
        past : ndarray of shape (n_past, D) or (N, n_past, D), optional
            The frames before those of e, common to all sequences or one array for each; the last `reach` are used.

        Returns
        -------
        x : ndarray of shape (N, T, D), float64
        """
        N, T, D = e.shape
        if self.is_diagonal:
            return self.mean_ + self.scale_ * e
        n_past = 0 if past is None else min(past.shape[-2], self.reach)
        z = np.zeros((T + n_past, N, D))  # frames first: each is one contiguous matrix
        if n_past:
            last = past[..., past.shape[-2] - n_past :, :]
            z[:n_past] = np.broadcast_to(self.standardized(last), (N, n_past, D)).transpose(1, 0, 2)
        e = np.ascontiguousarray(e.transpose(1, 0, 2), np.float64)
        for t in range(n_past, T + n_past):
            k = self.stage(t)
            prediction = self._sum(N, k, [z[t - lag] for lag in self.stages[k]])
            z[t] = self.unscaled(prediction, e[t - n_past], k)
        return self.mean_ + self.scale_ * z[n_past:].transpose(1, 0, 2)

    def inverse_of_packed(self, e, offsets):
        """x from packed e (M, D): the inverse of `forward`, all sequences side by side, frame by frame."""
        if self.is_diagonal:
            return self.mean_ + self.scale_ * e
        z = np.empty_like(e)
        lengths = np.diff(offsets)
        first = offsets[np.argsort(-lengths, kind="stable")]
        for t in range(lengths.max()):
            rows, k = first[: np.count_nonzero(lengths > t)] + t, self.stage(t)
            z[rows] = self.unscaled(self._sum(len(rows), k, [z[rows - lag] for lag in self.stages[k]]), e[rows], k)
        return self.mean_ + self.scale_ * z

    # ---- frame by frame -----------------------------------------------------------------------------------------

    def track(self, n):
        """n sequences side by side, before their first frames."""
        return _LinearTrack(self, n)

    # ---- files --------------------------------------------------------------------------------------------------

    def to_arrays(self):
        """The fitted arrays by name."""
        return {name: getattr(self, name) for name in FITTED}

    def set_arrays(self, arrays, D):
        """Take the arrays of a fit to D dimensions; ValueError if they do not fit the options."""
        self._check_options(D)
        n_stages, n_lags = self._sizes
        shapes = ((D,), (D,), (n_stages, n_lags, D, D), (n_stages, D), (n_stages, D, D))
        for name, shape in zip(FITTED, shapes, strict=True):
            if arrays[name].shape != shape or arrays[name].dtype != np.float64:
                raise ValueError(f"{name} of the transform does not fit its options")
            setattr(self, name, np.array(arrays[name]))
        factors = self.factors_
        finite = all(np.isfinite(getattr(self, name)).all() for name in FITTED)
        lower = (np.diagonal(factors, axis1=1, axis2=2) > 0).all() and not np.triu(factors, 1).any()
        if not finite or not (self.scale_ > 0).all() or not lower:
            raise ValueError("the transform has no inverse, or holds numbers that are not finite")


class Volatility(BaseEstimator):
    """A causal level, scale and correlation for frames that drift or whose variance changes.

    The level, the squares E and the correlation S are exponentially weighted means of earlier frames, which start at
    0, 1 and I; the gain and the floors pull what is used of them back there::

        v_d = (u_d - gain level_d) / s_d            w = F^{-1} v            e_d = w_d / c_d
        level   <- decay level + (1 - decay) u
        E_d     <- decay E_d + (1 - decay) (u_d - gain level_d)^2
        s_d^2   =  (1 - floor) ((1 - common) E_d + common mean_j E_j) + floor
        S       <- decay S + (1 - decay) v v'
        F F'    =  C with its diagonal scaled to 1,   C = (1 - floor) S + floor I
        c_d^2   =  (nu - 2 + sum_{i<d} w_i^2) / (nu - 2 + d - 1)

    c is what the first dimensions of a frame say about the size of the others, if the frame follows a Student t with nu
    degrees of freedom.  What a single frame adds to the means is capped: abs(u) at 3, the square at 25 s^2 and abs(v)
    at 5.  Nothing is fitted.  The scale is that of RiskMetrics (J.P. Morgan, 1996) with a floor, and the correlation is
    a dynamic conditional one (R. Engle, 2002).

    Parameters
    ----------
    level : (decay, gain) or None, default=None
        None: no level is subtracted.
    scale : (decays, common, floor) or None, default=((0.95,), 0.0, 0.05)
        One to four decays, whose means are averaged; the share of E that all columns have in common; the floor.
        None: s is 1.
    correlation : (decay, floor) or None, default=None
        None: F is the identity.
    within : float or None, default=None
        nu, > 2.  None: c is 1.
    apart : sequence of int, default=()
        Columns that stay as they are.
    """

    reach = LARGEST
    is_diagonal = False

    def __init__(self, level=None, scale=((0.95,), 0.0, 0.05), correlation=None, within=None, apart=()):
        self.level = level
        self.scale = scale
        self.correlation = correlation
        self.within = within
        self.apart = apart

    def _check_options(self, D):
        _check_apart(self.apart, D)
        parts = ((self.level, 2), (self.scale, 3), (self.correlation, 2))
        try:
            for part, n in parts:
                if part is not None and len(part) != n:
                    raise TypeError
            numbers = [x for part, _ in parts if part is not None for x in np.hstack(list(part)).tolist()]
            good = all(0 <= x <= 1 for x in numbers) and (self.scale is None or 1 <= np.size(self.scale[0]) <= 4)
            floors = [part[-1] for part in (self.scale, self.correlation) if part is not None]
        except (TypeError, ValueError) as error:
            raise ValueError(
                "Volatility takes level=(decay, gain), scale=(decays, common, floor), correlation=(decay, floor). Got "
                f"{self.level!r:.60}, {self.scale!r:.60} and {self.correlation!r:.60}."
            ) from error
        if not good or not all(floor > 0 for floor in floors):
            raise ValueError(
                "numbers given to Volatility must be in the range [0, 1], with floors above 0 and one to four decays."
            )
        if self.within is not None and not (_is_number(self.within) and self.within > 2):
            raise ValueError(f"within of Volatility must be None or > 2. Got {self.within!r:.60} instead.")

    @property
    def _options(self):
        """As the core takes them."""
        scale = None if self.scale is None else (tuple(np.atleast_1d(self.scale[0]).tolist()), *self.scale[1:])
        return self.level, scale, self.correlation, self.within

    def start(self, n, D):
        """The state before the first frame of n sequences: (n, size)"""
        J = 0 if self.scale is None else np.size(self.scale[0])
        D -= len(self.apart)
        row = np.concatenate([np.zeros(D), np.ones(J * D), np.eye(0 if self.correlation is None else D).ravel()])
        return np.tile(row, (n, 1))

    def fit(self, frames, offsets, weight=None):
        """Nothing is fitted."""
        self._check_options(frames.shape[1])
        return self

    def fit_left_out(self, frames, offsets, weight=None):
        """The same as `forward`: nothing is fitted."""
        return self.fit(frames, offsets).encode(frames, offsets)[0]

    def encode(self, u, offsets):
        """(e, its log-Jacobian), each (M, D)."""
        e, _, scale, _ = self.moved(u, offsets)
        return e, -np.log(scale)

    def forward(self, u, offsets):
        """e of packed frames."""
        return self.encode(u, offsets)[0]

    def location_and_scale(self, u, offsets):
        """(location, scale), each (M, D), with u_d = location_d + scale_d e_d."""
        return self.moved(u, offsets)[1:3]

    def moved(self, u, offsets, state=None):
        """(e, location, scale, state after) of packed frames that follow `state`; None: the start of the sequences."""
        M, D = u.shape
        state = self.start(len(offsets) - 1, D) if state is None else state.copy()
        kept = self._kept(D)
        e, location, scale = np.array(u, np.float64), np.zeros((M, D)), np.ones((M, D))
        own = [np.empty((M, len(kept))) for _ in range(3)]
        _core.causal(own[0], np.ascontiguousarray(e[:, kept]), offsets, state, self._options, *own[1:])
        e[:, kept], location[:, kept], scale[:, kept] = own
        return e, location, scale, state

    def inverse_of_packed(self, e, offsets, state=None):
        """u from packed e."""
        u = np.array(e, np.float64)
        kept = self._kept(e.shape[1])
        own = np.empty((len(u), len(kept)))
        state = self.start(len(offsets) - 1, e.shape[1]) if state is None else state.copy()
        _core.causal(np.ascontiguousarray(u[:, kept]), own, offsets, state, self._options, None, None, True)
        u[:, kept] = own
        return u

    def _kept(self, D):
        return np.delete(np.arange(D), list(self.apart))

    def track(self, n):
        """n sequences side by side, before their first frames."""
        return _VolatilityTrack(self, n)

    def to_arrays(self):
        """The fitted arrays by name: none."""
        return {}

    def set_arrays(self, arrays, D):
        """Nothing is fitted; ValueError for bad options."""
        self._check_options(D)


class Chain(BaseEstimator):
    """Links one after the other; the first reads X.

    Parameters
    ----------
    links : list of Linear and Volatility
    """

    is_diagonal = False

    def __init__(self, links):
        self.links = links

    @property
    def reach(self):
        """How many frames back e looks."""
        return min(LARGEST, sum(link.reach for link in self.links))

    def fit(self, frames, offsets, weight=None):
        """Fit all links."""
        self._check_options(frames.shape[1])
        for link in self.links[:-1]:
            frames = link.fit_left_out(frames, offsets, weight)
        self.links[-1].fit(frames, offsets, weight)
        return self

    def fit_left_out(self, frames, offsets, weight=None):
        """Fit, and return what `forward` would give for each frame had it been left out of the fit: (M, D)."""
        self._check_options(frames.shape[1])
        for link in self.links:
            frames = link.fit_left_out(frames, offsets, weight)
        return frames

    def encode(self, frames, offsets):
        """(e, its log-Jacobian), each (M, D)."""
        total = np.zeros(frames.shape)
        for link in self.links:
            frames, jacobian = link.encode(frames, offsets)
            total += jacobian
        return frames, total

    def forward(self, frames, offsets):
        """e of packed frames, (M, D)."""
        return self.encode(frames, offsets)[0]

    def location_and_scale(self, frames, offsets):
        """(location, scale), each (M, D), with x_d = location_d + scale_d e_d."""
        location, scale = 0.0, 1.0
        for link in self.links:
            of_link = link.location_and_scale(frames, offsets)
            location, scale = location + scale * of_link[0], scale * of_link[1]
            frames = link.encode(frames, offsets)[0]
        return location, scale

    def standardized(self, frames):
        """`standardized` of the first link."""
        return self.links[0].standardized(frames)

    def unstandardized(self, z, d=slice(None)):
        """`unstandardized` of the first link."""
        return self.links[0].unstandardized(z, d)

    def inverse(self, e, past=None):
        """x from sequences of e (N, T, D) that all follow the frames `past` (n_past, D)."""
        N, T, D = e.shape
        first, *others = self.links
        states = [None] * len(others)
        if past is not None and len(past):
            u, whole = first.encode(past, np.array([0, len(past)]))[0], np.array([0, len(past)])
            for k, link in enumerate(others):
                u, _, _, state = link.moved(u, whole)
                states[k] = np.repeat(state, N, axis=0)
        offsets = T * np.arange(N + 1, dtype=np.int64)
        u = np.ascontiguousarray(e, np.float64).reshape(N * T, D)
        for link, state in zip(reversed(others), reversed(states), strict=True):
            u = link.inverse_of_packed(u, offsets, state)
        return first.inverse(u.reshape(N, T, D), past)

    def inverse_of_packed(self, e, offsets):
        """x from packed e (M, D)."""
        for link in reversed(self.links):
            e = link.inverse_of_packed(e, offsets)
        return e

    def track(self, n):
        """n sequences side by side, before their first frames."""
        return _ChainTrack([link.track(n) for link in self.links])

    def to_arrays(self):
        """The fitted arrays by name."""
        return {f"{k}.{name}": a for k, link in enumerate(self.links) for name, a in link.to_arrays().items()}

    def set_arrays(self, arrays, D):
        """Take the arrays of a fit to D dimensions; ValueError if they do not fit the options."""
        self._check_options(D)
        for k, link in enumerate(self.links):
            begin = f"{k}."
            link.set_arrays({name.removeprefix(begin): a for name, a in arrays.items() if name.startswith(begin)}, D)

    def _check_options(self, D):
        links = list(self.links)
        if not links or not isinstance(links[0], Linear) or not all(isinstance(link, Volatility) for link in links[1:]):
            raise ValueError("transform as a list of links must begin with a Linear; Volatility links may follow it.")
        for link in links:
            link._check_options(D)


def placed(transform, places, given=0):
    """The same transform, not yet fitted, where column d stands at places[d] and the first `given` places are given.

    An `Auto` without columns of its own stays as it is.  ValueError for options that do not fit the columns."""
    transform._check_options(len(places))

    def moved(link):
        link = clone(link)
        if getattr(link, "apart", None) is not None:
            apart = {int(places[d]) for d in link.apart}
            link.set_params(apart=tuple(sorted(apart | (set(range(given)) if isinstance(link, Volatility) else set()))))
        if isinstance(link, Linear):
            link.set_params(given=given)
        return link

    return Chain([moved(link) for link in transform.links]) if isinstance(transform, Chain) else moved(transform)


LINKS = {"Linear": Linear, "Volatility": Volatility}


def to_file(transform):
    """A transform, fitted or not, as JSON holds it: the options of a Linear, or {"links": [...]}."""
    if isinstance(transform, Linear):
        return _for_file(transform)
    return {"links": [{"link": type(link).__name__, **_for_file(link)} for link in transform.links]}


def _for_file(link):
    """Its options; what came after the first files stands there only where it is not what all had before."""
    return {name: value for name, value in link.get_params().items() if name != "given" or value}


def from_options(options):
    """An unfitted transform from what `to_file` gave."""
    if "links" not in options:
        return Linear(**_tuples(options))
    links = []
    for given in options["links"]:
        given = dict(given)
        links.append(LINKS[given.pop("link")](**_tuples(given)))
    return Chain(links)


def from_file(options, arrays, D):
    """A fitted transform from what `to_file` and `to_arrays` gave; ValueError if they do not fit together."""
    transform = from_options(options)
    transform.set_arrays(arrays, D)
    return transform


def _tuples(value):
    """Lists of a JSON file as tuples."""
    if isinstance(value, dict):
        return {name: _tuples(one) for name, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


# ---- frame by frame --------------------------------------------------------------------------------------------------
# A track follows n sequences side by side: `begin` a frame, call `scaled`, `unscaled` and `log_jacobian` as often as
# needed, then `read` it.  A Linear reads z, the standardised columns, not x.


class NoTrack:
    """The track of a transform that does nothing, or of standardisation, which `standardized` has already done."""

    def __init__(self, jacobian=None):
        self._jacobian = jacobian

    def begin(self):
        pass

    def scaled(self, z):
        return z

    def unscaled(self, e):
        return e

    def log_jacobian(self):
        """(D,), or (n, D), or None"""
        return self._jacobian

    def read(self, z):
        pass

    def take(self, index):
        pass

    def copy(self):
        return self


class _LinearTrack:
    def __init__(self, linear, n):
        self.linear, self.n, self.past = linear, n, []  # z, the latest first: (n, D) each
        self.jacobians = linear.log_jacobian_table

    @property
    def stage(self):
        return self.linear.stage(len(self.past))

    def begin(self):
        if not self.linear.is_diagonal:
            self.predicted = self.linear.predicted(self.n, self.past)

    def scaled(self, z):
        return z if self.linear.is_diagonal else self.linear.scaled(z - self.predicted, self.stage)

    def unscaled(self, e):
        return e if self.linear.is_diagonal else self.linear.unscaled(self.predicted, e, self.stage)

    def log_jacobian(self):
        return self.jacobians[self.stage]

    def read(self, z):
        self.past = [z, *self.past][: self.linear.reach]

    def take(self, index):
        self.n = len(index)
        self.past = [z[index] for z in self.past]
        if hasattr(self, "predicted"):
            self.predicted = np.ascontiguousarray(self.predicted[index])

    def copy(self):
        other = object.__new__(_LinearTrack)
        other.__dict__ = dict(self.__dict__, past=list(self.past))
        return other


class _VolatilityTrack:
    def __init__(self, volatility, n):
        self.volatility, self.n, self.state = volatility, n, None

    def begin(self):
        pass

    def _state(self, D):
        if self.state is None:
            self.state = self.volatility.start(self.n, D)
        return self.state

    @property
    def _offsets(self):
        return np.arange(self.n + 1, dtype=np.int64)

    def scaled(self, u):
        e, _, self.scale, self.after = self.volatility.moved(u, self._offsets, self._state(u.shape[1]))
        return e

    def unscaled(self, e):
        return self.volatility.inverse_of_packed(e, self._offsets, self._state(e.shape[1]))

    def log_jacobian(self):
        return -np.log(self.scale)

    def read(self, u):
        self.scaled(u)
        self.state = self.after

    def take(self, index):
        self.n = len(index)
        for name in ("state", "scale", "after"):
            if getattr(self, name, None) is not None:
                setattr(self, name, getattr(self, name)[index])

    def copy(self):
        other = object.__new__(_VolatilityTrack)
        other.__dict__ = dict(self.__dict__)
        return other


class _ChainTrack:
    def __init__(self, tracks):
        self.tracks = tracks

    def begin(self):
        for track in self.tracks:
            track.begin()

    def scaled(self, z):
        for track in self.tracks:
            z = track.scaled(z)
        return z

    def unscaled(self, e):
        for track in reversed(self.tracks):
            e = track.unscaled(e)
        return e

    def log_jacobian(self):
        return sum(track.log_jacobian() for track in self.tracks)

    def read(self, z):
        for track in self.tracks:
            u = track.scaled(z)
            track.read(z)
            z = u

    def take(self, index):
        for track in self.tracks:
            track.take(index)

    def copy(self):
        return _ChainTrack([track.copy() for track in self.tracks])


# ---- small sums ------------------------------------------------------------------------------------------------------

FITTED = ("mean_", "scale_", "coefficients_", "intercepts_", "factors_")
MOST_SHARE = 0.9  # of a frame in the covariance that it is scaled by


def standardisation(frames, w):
    """(mean, scale, constant), each (D,), of weighted columns; the scale of a constant one is 1."""
    # In units that are powers of two, so that no square overflows or vanishes, and no bit changes.
    unit = np.frexp(np.abs(frames).max(axis=0, initial=0.0))[1]
    scaled = np.ldexp(frames, -unit)
    centre = _weighted_mean(scaled, w)
    mean = np.ldexp(centre, unit)
    deviation = np.ldexp(np.sqrt(_weighted_mean((scaled - centre) ** 2, w)), unit)
    # What is left of a constant column by rounding is not a scale.
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation), constant


def _check_apart(apart, D):
    if bad := [d for d in apart if not 0 <= d < D]:
        raise ValueError(f"apart names column {bad[0]}, but the columns are 0 ... {D - 1}.")


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _weighted_mean(x, w):
    return (w @ x) / w.sum()
