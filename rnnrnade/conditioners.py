"""Conditioners: how the raw outputs of a dimension come to know the dimensions before it.  One row a conditioner.

A row owns the parameters between x and the raw outputs, but for what a head names (the outputs' V, b and W): their
places in the flat vector, their names and shapes for users, their first values, and what they say of the options.  The
kernels of each are one file of core/ (core/conditioners.pxi).
"""

import numpy as np


class Nade:
    """Hidden units that are updated from dimension to dimension, and meet each with a factor rho_d of its own."""

    def units(self, H):
        """The sizes of the layers of hidden units."""
        return (H,)

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

    def implied_hidden(self, arrays):
        """The option `n_hidden` that parameters by name say."""
        return arrays["W"].shape[0]


CONDITIONERS = {"nade": Nade()}
