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


def systematic(weight, n, position):
    """n indices, each i in its mean n weight_i times, from one number on [0, 1) (J. Carpenter, P. Clifford,
    P. Fearnhead, Improved particle filter for nonlinear problems, 1999)."""
    positions = (np.arange(n) + position) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), positions, side="right"), len(weight) - 1)
