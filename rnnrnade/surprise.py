"""What surprises a model: the frames and dimensions to blame, thresholds for alarms, detection of outliers."""

import warnings
from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.stats import binom
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .checks import check_counts, plain

__all__ = ["AlarmThreshold", "OutlierDetector", "Table"]


class AlarmThreshold(NamedTuple):
    """A log-density (nats a frame) below which to raise an alarm, and the interval for the true quantile."""

    threshold: float
    low: float
    high: float


class Table(list):
    """A list of rows, each a dict with the same keys, that prints as a table."""

    def __repr__(self):
        if not self:
            return "[]"
        cells = [list(self[0])] + [[_cell(value) for value in row.values()] for row in self]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.rjust, row, widths)) for row in cells)


def _cell(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def explain(density, data, names, top, n_dims, n_threads):
    """See `Conditionals.explain`."""
    top, n_dims = check_counts(top=top, n_dims=n_dims)
    found = []  # of each part the most surprising frames, of which the most surprising of all are some
    for part in density.parts(data, n_threads):
        at = np.argsort(part.log_density, kind="stable")[:top]
        location, scale = (np.broadcast_to(a, part.e.shape)[at] for a in (part.location, part.scale))
        family = part.family[at]
        expected, pit = location + scale * family.mean(), family.cdf(part.e[at])
        found.append((part.rows.start + at, part.log_density[at], part.dims[at], np.log(scale), expected, pit))
    rows, log_density, dims, unit, expected, pit = map(np.concatenate, zip(*found, strict=True))

    given = density.front.given_in(data.n_features)
    with np.errstate(invalid="ignore"):  # of an absurd number, after which the others are absurd, too
        surprise = dims + unit
    surprise[:, given] = np.inf  # says nothing
    blamed = np.argsort(surprise, axis=1, kind="stable")[:, : min(n_dims, data.n_features - len(given))]
    table = Table()
    for i in np.argsort(log_density, kind="stable")[:top].tolist():
        row, where = rows[i], data.frame_of(rows[i])
        for d in blamed[i].tolist():
            values = {
                "log_density": float(log_density[i]),
                "dimension": names[d],
                "dimension_log_density": float(dims[i, d]),
                "observed": float(data.frames[row, d]),
                "expected": float(expected[i, d]),
            }
            if density.head.distribution.continuous:
                values["pit"] = float(pit[i, d])
            table.append(where | values)
    return data.labels.rows_of_table(table)


def alarm_threshold(log_density, rate, confidence):
    """See `Conditionals.alarm_threshold`; log_density of the frames, (n,)"""
    for name, value in (("rate", rate), ("confidence", confidence)):
        if not isinstance(value, Real) or not 0 < value < 1:
            raise ValueError(f"{name} must be a number between 0 and 1. Got {value!r} instead.")
    rate, confidence = plain(rate), plain(confidence)
    values = np.sort(log_density)
    n = len(values)
    k = int(np.floor(rate * (n + 1) * (1 + 1e-12)))  # P(a further frame is below the k-th smallest) <= k / (n + 1)
    if k < 1:
        raise ValueError(
            f"{n} frames are too few for a rate of {rate:g}: at least {int(np.ceil(1 / rate)) - 1} are needed."
        )
    # The k-th smallest is below the quantile where at least k of n frames are: a binomial number of them.
    tail = (1 - confidence) / 2
    first, last = int(binom.ppf(tail, n, rate)), int(binom.ppf(1 - tail, n, rate)) + 1
    low = float(values[first - 1]) if first >= 1 else -np.inf
    high = float(values[last - 1]) if last <= n else np.inf
    return AlarmThreshold(float(values[k - 1]), low, high)


DETECTOR = {"model": [BaseEstimator], "contamination": [Interval(Real, 0, 0.5, closed="right")]}


# A wrapper, not methods of the density estimators: scikit-learn knows one type of an estimator, density or detector,
# and a threshold belongs to the frames that it was set on, which need not be those of the density.
class OutlierDetector(OutlierMixin, BaseEstimator):
    """A density estimator in the role of an outlier detector such as IsolationForest.

    A frame (vectors: a row) is an outlier if its log-density is below `offset_`, the quantile `contamination` of
    the log-densities of the frames it was fitted to.  For a rate of false alarms that holds on new data, see the
    second example.

    A number too large for the model to square is not an error: its frame has the log-density -inf and is an
    outlier.  The frames after it are judged given the largest number that the model can read.

    If the model accepts gaps (NaN; `missing`), so does the detector.  The log-density of a frame with gaps is on a
    scale of its own, because it is one of fewer numbers.  `offset_` is a quantile of the frames without gaps, if there
    are any, so the labels of frames with gaps are no more than a hint; a warning says so.

    Parameters
    ----------
    model : estimator with exact log-densities, such as RNADE or RNNRNADE
        Cloned and fitted by `fit`.  sklearn.frozen.FrozenEstimator(model) stays as it is.
    contamination : float, default=0.01
        Share of outliers among the frames of `fit`, in (0, 0.5].

    Attributes
    ----------
    model_ : estimator
        The fitted model.
    offset_ : float
        In nats.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X has names.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNADE, OutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = RNADE(n_components=2, n_hidden=8, max_epochs=5, random_state=0)
    >>> OutlierDetector(model).fit(X).predict([[0.0, 0.0], [9.0, -9.0]])
    array([ 1, -1])

    A model that has been fitted, and a threshold from data that it was not trained on:

    >>> from sklearn.frozen import FrozenEstimator
    >>> detector = OutlierDetector(FrozenEstimator(model.fit(X[:300])), contamination=0.02).fit(X[300:])
    >>> int((detector.predict(X[300:]) == -1).sum())
    4
    """

    _parameter_constraints = DETECTOR

    def __init__(self, model, contamination=0.01):
        self.model = model
        self.contamination = contamination

    def fit(self, X, y=None):
        """Fit the model to X, and set the threshold from its frames.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes
        y : ignored

        Returns
        -------
        self
        """
        self._validate_params()
        if not hasattr(self.model, "_judged"):
            raise TypeError(
                "model must be an estimator of this library with exact log-densities, such as RNADE or RNNRNADE. Got a "
                f"{type(self.model).__name__}."
            )
        self.model_ = clone(self.model).fit(X, y)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.model_, name):
                setattr(self, name, getattr(self.model_, name))
        _, scores, gaps = self.model_._judged(X, strict=True)
        whole = scores if gaps.all() else scores[~gaps]
        self.offset_ = float(np.quantile(whole, self.contamination))
        return self

    def score_samples(self, X):
        """Exact log-density of each frame, in nats: `score_frames` of the model, and -inf for a frame that holds a
        number too large for it.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes

        Returns
        -------
        ndarray of shape (n,), or for several sequences a list of ndarrays of shape (T_i,)
        """
        check_is_fitted(self)
        data, scores, _ = self.model_._judged(X)
        return data.split(scores)

    def explain(self, X, top=10, *, n_dims=1):
        """The most surprising frames, and in each the dimensions to blame: `explain` of the model.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes
        top : int, default=10
            Number of frames; all of them if there are fewer.
        n_dims : int, default=1
            Dimensions of each frame, the most surprising first.

        Returns
        -------
        Table, or pandas.DataFrame where X is one or holds them
            See `explain` of the model.
        """
        check_is_fitted(self)
        return self.model_.explain(X, top, n_dims=n_dims)

    def decision_function(self, X):
        """`score_samples` minus `offset_`: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes

        Returns
        -------
        ndarray of shape (n,), or for several sequences a list of ndarrays of shape (T_i,)
        """
        check_is_fitted(self)
        data, scores, gaps = self.model_._judged(X)
        if gaps.any():
            warnings.warn(
                f"{gaps.sum()} of {len(gaps)} frames have gaps: the log-density of what they hold is on another scale "
                "than offset_, a quantile of frames without gaps.",
                UserWarning,
                stacklevel=2,
            )
        return data.split(scores - self.offset_, name="decision")

    def predict(self, X):
        """-1 for outliers, 1 for the others.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes

        Returns
        -------
        ndarray of int of shape (n,), or for several sequences a list of ndarrays of shape (T_i,)
        """
        decisions = self.decision_function(X)
        return [_label(d) for d in decisions] if isinstance(decisions, list) else _label(decisions)


def _label(decisions):
    """1 or -1 for each decision, an array or a Series."""
    return 2 * (decisions >= 0).astype(int) - 1
