"""Conditioners: how the raw outputs of a dimension come to know the dimensions before it.  One row a conditioner.

A row owns the parameters between x and the raw outputs, but for what a head names (the outputs' V, b and W): their
places in the flat vector, their names and shapes for users, their first values, and what they say of the options.  The
kernels of each are one file of core/ (core/conditioners.pxi).
"""

from functools import cache
from numbers import Integral

import numpy as np
from scipy.special import ndtri, stdtrit

from .checks import LARGEST
from .heads import HEADS

SPREAD = 0.6  # of the components' means about 0, in the unit of the transform's output
NU = 10.0  # degrees of freedom of Student components


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


def first_shapes(layout, freedom):
    """[degrees of freedom (D, K)] of Student components, NU where `freedom` is infinite; [] of others."""
    if not HEADS[layout.head].shapes:
        return []
    nu = np.broadcast_to(np.where(np.isfinite(freedom), freedom, NU), layout.D)
    return [np.tile(nu[:, None], (1, layout.K))]


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
        """H of a Layout; ValueError, which says what it must be."""
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
        """(weights, means, scales and shapes), each (D, K), of the mixtures with which training starts; freedom:
        degrees of freedom of each dimension, (D,), or of all."""
        D, K, head = layout.D, layout.K, HEADS[layout.head]
        mu = SPREAD * ndtri((np.arange(K) + 0.5) / K)
        shapes = first_shapes(layout, freedom)
        scale = np.sqrt(1 - np.mean(mu**2)) / head.deviation(*shapes)
        weight, mu, scale = np.full((D, K), 1 / K), np.tile(mu, (D, 1)), np.broadcast_to(scale, (D, K)).copy()
        if layout.head == "gaussian":
            for d, of_column in enumerate(np.broadcast_to(freedom, D)):
                if np.isfinite(of_column):
                    weight[d], scale[d] = scale_mixture(float(of_column), K)
                    mu[d] = 0.0
        return weight, mu, scale, *shapes

    def sources(self, head):
        """Parameters whose shapes say all sizes, with their numbers of axes."""
        return {"W": 2, next(iter(head.outputs.values()))[0]: 3 if head.mixture else 2}

    def implied(self, arrays):
        """The options that parameters by name say."""
        return {"n_hidden": arrays["W"].shape[0]}

    def masks(self, layout):
        """What of the parameters is read, by the users' names, where not all is: boolean arrays of their first axes."""
        return {}

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
        shapes = first_shapes(layout, freedom)
        freedom = float(np.broadcast_to(freedom, D)[0])
        if layout.head == "gaussian" and np.isfinite(freedom):
            weight, scale = scale_mixture(freedom, K)
            return weight, np.zeros((D, K)), np.tile(scale, (D, 1))
        mu = SPREAD * D**-0.5 * ndtri((np.arange(K) + 0.5) / K)
        scale = np.broadcast_to(np.sqrt(1 - np.mean(mu**2)) / head.deviation(*shapes), (D, K))
        return np.full(K, 1 / K), np.stack([generator.permutation(mu) for _ in range(D)]), scale, *shapes

    def sources(self, head):
        return {"b_mu": 2}

    def implied(self, arrays):
        return {"n_hidden": 0}

    def masks(self, layout):
        return {}

    def n_features(self, arrays):
        return arrays["b_mu"].shape[0]


class Made(Nade):
    """Dense layers, W, W_2, ..., whose masks hide what comes later (M. Germain, K. Gregor, I. Murray, H. Larochelle,
    MADE, ICML 2015).

    A unit of degree m reads the first m dimensions, or the units below of degree at most m; the raw outputs of
    dimension d, counted from 0, read the units of degree at most d, and with `direct` the dimensions before d.  Degrees
    are spread evenly from 0 to D - 1, or drawn there for each mask.  A network has one mask, and units in ascending
    order; under several (masks.py), units stand as they were numbered."""

    @staticmethod
    def named(name, layer):
        """The name of a parameter of a layer, which are counted from 0."""
        return name if layer == 0 else f"{name}_{layer + 1}"

    def units(self, layout):
        return layout.H

    def as_size(self, n_hidden):
        sizes = (n_hidden,) if isinstance(n_hidden, Integral) else tuple(n_hidden)
        if not sizes or not all(isinstance(n, Integral) and 1 <= n <= LARGEST for n in sizes):
            what = "a positive int, or a tuple of positive ints, one for each layer"
            raise ValueError(f"n_hidden must be {what}. Got {n_hidden!r:.60} instead.")
        return tuple(map(int, sizes))

    def is_size(self, H):
        return isinstance(H, tuple) and H != () and all(type(n) is int and n > 0 for n in H)

    def degrees(self, layout):
        """Of the units of each layer of a network: a list of arrays."""
        if not layout.masks:
            return [np.arange(n) * layout.D // n for n in layout.units]
        return list(map(np.sort, self.drawn(layout, *layout.masks)))

    def drawn(self, layout, mask):
        """The same of one of the masks, by its number, as the units are numbered."""
        generator = np.random.RandomState(mask)  # whose numbers are the same in every version of NumPy
        return [generator.randint(0, layout.D, n) for n in layout.units]

    def shapes(self, layout):
        shapes, below = {}, layout.Dp
        for layer, (n, n_padded) in enumerate(zip(layout.units, layout.padded_units, strict=True)):
            shapes |= {self.named("W", layer): (n, below), self.named("c", layer): (n,)}
            below = n_padded
        return shapes | ({"A": (layout.D, layout.J, layout.Dp)} if layout.direct else {})

    def views(self, layout, block):
        found, below = {}, layout.D
        for layer, n in enumerate(layout.units):
            W, c = self.named("W", layer), self.named("c", layer)
            found |= {W: block(W)[:, :below], c: block(c)}
            below = n
        return found

    def first_values(self, layout, normal):
        """As if each unit had as many inputs as it reads; twice the variance for rectified units."""
        found, masks = {}, self.masks(layout)
        gain = 2.0 if layout.activation == "relu" else 1.0
        for layer, n in enumerate(layout.units):
            mask = masks[self.named("W", layer)]
            scale = np.sqrt(gain / np.maximum(mask.sum(axis=1), 1))
            found[self.named("W", layer)] = normal(*mask.shape, scale=scale[:, None])
            found[self.named("c", layer)] = normal(n, scale=0.5) if gain == 1 else np.zeros(n)
        return found

    def implied(self, arrays):
        sizes = []
        while (name := self.named("W", len(sizes))) in arrays:
            if arrays[name].ndim != 2:
                raise ValueError(f"parameter {name!r} must have 2 axes. Got shape {arrays[name].shape}.")
            sizes.append(arrays[name].shape[0])
        return {"n_hidden": tuple(sizes), "direct": any(name.startswith("V_x") for name in arrays)}

    def readers(self, layout):
        """Names of the blocks whose last axis reads x, and of those that read the units of each layer."""
        layers = [[self.named("W", layer)] for layer in range(1, len(layout.units))]
        return [["W", "A"] if layout.direct else ["W"], *layers, ["V"]]

    def masks(self, layout):
        if len(layout.masks) < 2:
            return self.mask(layout, self.degrees(layout))
        of_each = [self.mask(layout, self.drawn(layout, mask)) for mask in layout.masks]
        return {name: np.any([mask[name] for mask in of_each], axis=0) for name in of_each[0]}

    def mask(self, layout, degrees):
        """What is read where the units have these degrees."""
        D, found, below = layout.D, {}, None
        for layer, of_units in enumerate(degrees):
            if layer == 0:
                found["W"] = np.arange(D) < of_units[:, None]
            else:
                found[self.named("W", layer)] = below <= of_units[:, None]
            below = of_units
        outputs = HEADS[layout.head].outputs.values()
        found |= {V: below <= np.arange(D)[:, None] for V, _, _ in outputs if V is not None}
        if layout.direct:
            before = np.arange(D) < np.arange(D)[:, None]
            found |= {direct_name(V): before for V, _, _ in outputs if V is not None}
        return found


def direct_name(V):
    """What users call the weights from x to the raw output whose weights from the units are V."""
    return "V_x" + V[1:]


CONDITIONERS = {"nade": Nade(), "made": Made(), "shared": Shared()}
