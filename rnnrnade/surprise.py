"""What surprises a model: the frames and dimensions to blame, thresholds for alarms, detection of outliers."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.stats import binom
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .checks import check_counts

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
    check_counts(top=top, n_dims=n_dims)
    found = []  # of each part the most surprising frames, of which the most surprising of all are some
    for part in density.parts(data, n_threads):
        at = np.argsort(part.log_density, kind="stable")[:top]
        location, scale = (np.broadcast_to(a, part.e.shape)[at] for a in (part.location, part.scale))
        family = part.family[at]
        expected, pit = location + scale * family.mean(), family.cdf(part.e[at])
        found.append((part.rows.start + at, part.log_density[at], part.dims[at], np.log(scale), expected, pit))
    rows, log_density, dims, unit, expected, pit = map(np.concatenate, zip(*found, strict=True))

    blamed = np.argsort(dims + unit, axis=1, kind="stable")[:, :n_dims]
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


def _listed(values):
    return values if isinstance(values, list) else [values]


def alarm_threshold(log_density, rate, confidence):
    """See `Conditionals.alarm_threshold`; log_density of the frames, (n,)"""
    for name, value in (("rate", rate), ("confidence", confidence)):
        if not isinstance(value, Real) or not 0 < value < 1:
            raise ValueError(f"{name} must be a number between 0 and 1. Got {value!r} instead.")
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
    """A density estimator where a detector of outliers such as IsolationForest is expected.

    A frame (vectors: a row) is an outlier where its log-density is below `offset_`, the quantile `contamination` of
    those of the frames it was fitted to.  For a rate of false alarms that holds on new data, see the second example.

    Parameters
    ----------
    model : RNADE, RNNRNADE, NADE or RNNNADE
        Cloned and fitted by `fit`.  sklearn.frozen.FrozenEstimator(model) is left as it is.
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
        Where X has names.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNADE, OutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = RNADE(n_components=2, n_hidden=8, max_epochs=5, random_state=0)
    >>> OutlierDetector(model).fit(X).predict([[0.0, 0.0], [9.0, -9.0]])
    array([ 1, -1])

    A model that is fitted already, and a threshold from data that it was not trained on:

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
        """Fit the model, and the threshold to the frames of X.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes
        y : ignored

        Returns
        -------
        self
        """
        self._validate_params()
        self.model_ = clone(self.model).fit(X, y)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.model_, name):
                setattr(self, name, getattr(self.model_, name))
        scores = np.concatenate(_listed(self.score_samples(X)))
        self.offset_ = float(np.quantile(scores, self.contamination))
        return self

    def score_samples(self, X):
        """Exact log-density of each frame, in nats: `score_frames` of the model.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes

        Returns
        -------
        ndarray of shape (n,), or for several sequences a list of ndarrays of shape (T_i,)
        """
        check_is_fitted(self)
        return self.model_.score_frames(X)

    def decision_function(self, X):
        """`score_samples` minus `offset_`: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n, D), or what the model takes

        Returns
        -------
        ndarray of shape (n,), or for several sequences a list of ndarrays of shape (T_i,)
        """
        scores = self.score_samples(X)
        return [s - self.offset_ for s in scores] if isinstance(scores, list) else scores - self.offset_

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
        if isinstance(decisions, list):
            return [np.where(d >= 0, 1, -1) for d in decisions]
        return np.where(decisions >= 0, 1, -1)
