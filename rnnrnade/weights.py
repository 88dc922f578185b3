"""Weights of particles and draws, as logarithms: their means, and which go on."""

import numpy as np


def relative(values, axis):
    """Exponentials of values in proportion to the largest, which is 1 (all 0 where it is 0), and the largest value."""
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.exp(values - top), top.squeeze(axis)


def log_mean(values, axis):
    """log mean exp"""
    share, top = relative(values, axis)
    with np.errstate(divide="ignore"):
        return np.log(share.mean(axis=axis)) + top


def shares(log_weight):
    """Weights (..., n) that add up to 1; equal ones where all are 0."""
    weight, _ = relative(log_weight, -1)
    total = weight.sum(axis=-1, keepdims=True)
    return np.divide(weight, total, out=np.full_like(weight, 1 / weight.shape[-1]), where=total > 0)


def relative_error(totals):
    """The standard error of the mean of estimates, relative to it, from their logarithms (..., n): (...)"""
    n, (share, _) = totals.shape[-1], relative(totals, -1)
    return share.std(axis=-1, ddof=1) / np.maximum(share.mean(axis=-1), 1 / n) / np.sqrt(n)


def increments(totals):
    """What each adds to the one before it, along the first axis: minus infinity from the first that is."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(totals), -np.inf, np.diff(totals, prepend=0.0))


def systematic(weight, n, position):
    """n indices, each i in its mean n weight_i times, from one number on [0, 1) (J. Carpenter, P. Clifford,
    P. Fearnhead, Improved particle filter for nonlinear problems, 1999)."""
    positions = (np.arange(n) + position) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), positions, side="right"), len(weight) - 1)


def resampled(log_weight, position):
    """Which particles go on where the effective number of a group's, (groups, n), is below half of them.

    position(g): one number on [0, 1).  Returns the groups, and for each the indices (n,) inside it."""
    weight = shares(log_weight)
    n = weight.shape[1]
    few = np.flatnonzero(1 / (weight**2).sum(axis=1) < 0.5 * n)
    return few, [systematic(weight[g], n, position(g)) for g in few]
