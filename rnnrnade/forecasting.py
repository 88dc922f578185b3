"""What to make of draws of the future: quantiles, and a proper score against what came."""

from collections.abc import Sequence

import numpy as np

from .checks import as_numbers, as_probabilities
from .labels import draws_of_table, is_table_of_draws

__all__ = ["energy_score", "quantiles"]


def quantiles(samples, q=(0.05, 0.25, 0.5, 0.75, 0.95)):
    """Quantiles of each dimension of each frame over the draws.  Monte Carlo.

    Parameters
    ----------
    samples : array-like of shape (n_samples, horizon, D), or DataFrame with the index (draw, time), or list of such
        From `forecast` or `sample`.
    q : float or array-like of shape (Q,)
        Probabilities in [0, 1].

    Returns
    -------
    ndarray of shape (horizon, D), or (Q, horizon, D) for an array q; for a list a list of such
        For a DataFrame, a DataFrame with the index time, or (q, time) for an array q; keys of sequences come first.

    Raises
    ------
    ValueError
        If q is not in [0, 1], or samples do not have three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade.forecasting import quantiles
    >>> quantiles(np.arange(5.0)[:, None, None], [0.25, 0.5]).ravel()
    array([1., 2.])
    """
    if isinstance(samples, list | tuple):
        return [quantiles(one, q) for one in samples]
    if is_table_of_draws(samples):
        return _quantiles_of_table(samples, as_probabilities("q", q))
    return np.quantile(_draws(samples), as_probabilities("q", q), axis=0)


def _quantiles_of_table(draws, q):
    import pandas

    n_keys = list(draws.index.names).index("draw")
    if n_keys:  # of several sequences
        parts = draws.groupby(level=0 if n_keys == 1 else list(range(n_keys)), sort=False)
        found = {key: _quantiles_of_table(part.droplevel(list(range(n_keys))), q) for key, part in parts}
        return pandas.concat(found, names=draws.index.names[:n_keys])
    values = quantiles(draws_of_table(draws), q)
    times = draws.index.get_level_values(1)[: values.shape[-2]]
    tables = [pandas.DataFrame(one, times, draws.columns) for one in (values if q.ndim else [values])]
    return pandas.concat(tables, keys=q.tolist(), names=["q"]) if q.ndim else tables[0]


def energy_score(samples, truth, *, joint=False):
    """Energy score of draws against the outcome: E|X - y| - E|X - X'| / 2, lower is better.  Monte Carlo.

    The Euclidean norm is over all dimensions of a frame, or with `joint` over the whole path; if their units differ,
    bring the dimensions to one scale first.  In one dimension this is the CRPS.  Only pairs of different draws are
    averaged, so that for any number of draws the expectation of the estimate is the score of the predictive
    distribution itself (the "fair" score); the estimate may therefore be negative.

    Parameters
    ----------
    samples : array-like of shape (n_samples, horizon, D), or list of such
        From `forecast`; at least two draws.
    truth : array-like of shape (horizon, D), or list of such
    joint : bool, default=False
        Score paths, not frames.

    Returns
    -------
    ndarray of shape (horizon,), or with `joint` a float; for a list a list of such
        In the units of X.

    Raises
    ------
    ValueError
        If shapes do not agree, or there are fewer than two draws.

    References
    ----------
    T. Gneiting, A. E. Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    C. A. T. Ferro, Fair scores for ensemble forecasts, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade.forecasting import energy_score
    >>> float(energy_score([[[0.0, 0.0]], [[6.0, 8.0]]], [[0.0, 0.0]])[0])  # (0 + 10) / 2 - 10 / 2
    0.0
    """
    if isinstance(truth, Sequence) and len(truth) and np.ndim(truth[0]) == 2:
        if len(samples) != len(truth):
            raise ValueError(f"samples are of {len(samples)} sequences, but truth has {len(truth)}.")
        return [energy_score(one, other, joint=joint) for one, other in zip(samples, truth, strict=True)]
    draws, truth = _draws(samples), as_numbers("truth", truth)
    n = len(draws)
    if truth.shape != draws.shape[1:]:
        raise ValueError(f"truth has shape {truth.shape}, but the draws are of shape {draws.shape[1:]}.")
    if not np.isfinite(truth).all():
        frame, dimension = np.argwhere(~np.isfinite(truth))[0].tolist()
        raise ValueError(f"truth holds NaN or infinity: frame {frame}, dimension {dimension}.")
    if n < 2:
        raise ValueError("energy_score needs at least two draws.")
    axes = (1, 2) if joint else 2

    def norm(x):
        return np.sqrt((x**2).sum(axis=axes))

    distance = norm(draws - truth).sum(axis=0)
    between = sum(norm(draws[i + 1 :] - draws[i]).sum(axis=0) for i in range(n - 1))
    score = distance / n - between / (n * (n - 1))
    return float(score) if joint else score


def _draws(samples):
    samples = as_numbers("samples", draws_of_table(samples))
    if samples.ndim != 3 or not samples.size:
        raise ValueError(f"samples must be draws of shape (n_samples, horizon, D). Got shape {samples.shape}.")
    if not np.isfinite(samples).all():
        draw, frame, dimension = np.argwhere(~np.isfinite(samples))[0].tolist()
        raise ValueError(f"samples hold NaN or infinity: draw {draw}, frame {frame}, dimension {dimension}.")
    return samples
