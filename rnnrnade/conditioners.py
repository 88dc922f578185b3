"""Conditioners: how the raw outputs of a dimension come to know the dimensions before it.  One row a conditioner.

A row owns the parameters between x and the raw outputs, but for what a head names (the outputs' V, b and W): their
places in the flat vector, their names and shapes for users, their first values, and what they say of the options.  The
kernels of each are one file of core/ (core/conditioners.pxi).
"""

from functools import cache

import numpy as np
from scipy.special import ndtri, stdtrit

from .heads import HEADS

SPREAD = 0.6  # of the components' means about 0, in the unit of the transform's output


@cache
def scale_mixture(freedom, K):
    """(weights, scales), each (K,): the mixture of K centred normals nearest to a Student t of variance 1.

    By EM on its quantiles (50 steps, in which it settles to three digits)."""
    x = stdtrit(freedom, (np.arange(2000) + 0.5) / 2000)
    x = x / np.sqrt(np.mean(x**2))
    weight, variance = np.full(K, 1 / K), np.mean(x**2) * 4.0 ** np.linspace(-1, 1.5, K)
    for _ in range(50):
        p = weight * np.exp(-0.5 * x[:, None] ** 2 / variance) / np.sqrt(variance)
        p /= p.sum(axis=1, keepdims=True)
        weight, variance = p.mean(axis=0), (p * x[:, None] ** 2).sum(axis=0) / p.sum(axis=0)
    return weight, np.sqrt(variance)


class Nade:
    """Hidden units that are updated from dimension to dimension, and meet each with a factor rho_d of its own.

    Attributes
    ----------
    start : (str, str)
        What a frame starts with: its name in `context`, and that of the weights by which the context gives it.
    once : tuple of str
        Raw outputs that a frame has once, not for each dimension.
    drives : bool
        Whether hidden units drive the raw outputs (V).
    """

    start, once, drives = ("hidden", "W_c"), (), True

    def contexts(self, head):
        """What the recurrent state may drive."""
        return (*head.context, "hidden")

    def units(self, layout):
        """The sizes of the layers of hidden units."""
        return (layout.H,)

    def as_size(self, n_hidden):
        """H of a Layout."""
        return int(n_hidden)

    def is_size(self, H):
        """Whether H, of a file, is what `n_hidden` may be."""
        return type(H) is int and H >= 0

    def shapes(self, layout):
        """Blocks of the flat vector as they lie inside."""
        return {"W": (layout.D, layout.H), "c": (layout.H,), "rho": (layout.D,)}

    def views(self, layout, block):
        """The blocks under the users' names and shapes."""
        return {"W": block("W").T, "c": block("c"), "rho": block("rho")}

    def first_values(self, layout, normal):
        """What training starts with; normal(*shape, scale=...) draws."""
        D, H = layout.D, layout.H
        return {"W": normal(H, D, scale=D**-0.5), "c": normal(H, scale=0.5), "rho": np.ones(D)}

    def first_components(self, layout, generator, freedom):
        """(weights, means, scales), each (D, K), of the mixtures with which training starts; freedom: degrees of
        freedom of each dimension, (D,), or of all."""
        D, K, head = layout.D, layout.K, HEADS[layout.head]
        mu = SPREAD * ndtri((np.arange(K) + 0.5) / K)
        scale = np.sqrt(1 - np.mean(mu**2)) / head.deviation
        weight, mu, scale = np.full((D, K), 1 / K), np.tile(mu, (D, 1)), np.full((D, K), scale)
        if layout.head == "gaussian":
            for d, of_column in enumerate(np.broadcast_to(freedom, D)):
                if np.isfinite(of_column):
                    weight[d], scale[d] = scale_mixture(float(of_column), K)
                    mu[d] = 0.0
        return weight, mu, scale

    def sources(self, head):
        """Parameters whose shapes say all sizes, with their numbers of axes."""
        return {"W": 2, next(iter(head.outputs.values()))[0]: 3 if head.mixture else 2}

    def implied_hidden(self, arrays):
        """The option `n_hidden` that parameters by name say."""
        return arrays["W"].shape[0]

    def n_features(self, arrays):
        """The dimensions that they are of."""
        return arrays["W"].shape[1]


class Shared:
    """One mixture over the whole frame: all dimensions share the component.  Inside, the log-weights of the components
    stand where hidden units do, b_alpha and W_alpha in the place of c and W_c."""

    start, once, drives = ("alpha", "W_alpha"), ("alpha",), False

    def contexts(self, head):
        return head.context

    def units(self, layout):
        return (layout.K,)

    def as_size(self, n_hidden):
        if n_hidden != 0:
            raise ValueError(f"components='frame' has no hidden units: n_hidden must be 0. Got {n_hidden}.")
        return 0

    def is_size(self, H):
        return type(H) is int and H == 0

    def shapes(self, layout):
        return {"c": (layout.K,)}

    def views(self, layout, block):
        return {"b_alpha": block("c")}

    def first_values(self, layout, normal):
        return {}

    def first_components(self, layout, generator, freedom):
        """Components share the whole frame: their centres are as far from 0 for any D, in directions of their own, or,
        with degrees of freedom, they differ in scale alone, as those of a multivariate Student t do."""
        D, K, head = layout.D, layout.K, HEADS[layout.head]
        freedom = float(np.broadcast_to(freedom, D)[0])
        if layout.head == "gaussian" and np.isfinite(freedom):
            weight, scale = scale_mixture(freedom, K)
            return weight, np.zeros((D, K)), np.tile(scale, (D, 1))
        mu = SPREAD * D**-0.5 * ndtri((np.arange(K) + 0.5) / K)
        scale = np.full((D, K), np.sqrt(1 - np.mean(mu**2)) / head.deviation)
        return np.full(K, 1 / K), np.stack([generator.permutation(mu) for _ in range(D)]), scale

    def sources(self, head):
        return {"b_mu": 2}

    def implied_hidden(self, arrays):
        return 0

    def n_features(self, arrays):
        return arrays["b_mu"].shape[0]


CONDITIONERS = {"nade": Nade(), "shared": Shared()}
