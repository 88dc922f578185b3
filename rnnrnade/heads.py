"""Heads: the density of one number given its raw outputs.  One row a head, which owns all that differs."""

from dataclasses import dataclass

import numpy as np

from . import _core
from .distributions import (
    Bernoulli,
    Mixture,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
    MixtureOfStudents,
    filled,
)


@dataclass(frozen=True)
class Head:
    """The density of one number.

    Attributes
    ----------
    name : str
        Of the option `conditional`, and in the kernels' list.
    outputs : dict
        Its raw outputs: the name of each in `context`, and what users call its V, b and W.  None in the place of V and
        W: an output that no net drives.
    distribution : type
        Of the number, in float64 (distributions.py).
    support : {"real", "binary"}
    """

    name: str
    outputs: dict
    distribution: type
    support: str = "real"

    @property
    def code(self):
        """Its place in the kernels' list."""
        return _core.HEADS[self.name]

    @property
    def mixture(self):
        """Whether each raw output is K numbers, one a component."""
        return issubclass(self.distribution, Mixture)

    @property
    def binary(self):
        return self.support == "binary"

    @property
    def context(self):
        """The names of the raw outputs that a recurrent state may drive."""
        return tuple(name for name, (_, _, W) in self.outputs.items() if W is not None)

    @property
    def shapes(self):
        """Names of the parameters of each component that no net drives, in their order."""
        return self.distribution.shapes

    def deviation(self, *shapes):
        """The standard deviation of a component of scale 1."""
        return np.sqrt(self.distribution.unit_variance(*shapes))

    def numbers(self, generator, shape, dtype):
        """The random numbers of draws, for Model.sample: uniforms, and the noise of the family where it takes any; more
        than one number for each draw lie side by side in the last axis."""
        uniform = filled(generator.random, shape, dtype)
        noise = self.distribution.noise(generator, shape, dtype)
        return uniform, uniform if noise is None else noise.reshape(*shape[:-1], -1)


MIXTURE = {
    "alpha": ("V_alpha", "b_alpha", "W_alpha"),
    "mu": ("V_mu", "b_mu", "W_mu"),
    "sigma": ("V_sigma", "b_sigma", "W_sigma"),
}

HEADS = {
    head.name: head
    for head in (
        Head("gaussian", MIXTURE, MixtureOfGaussians),
        Head("laplace", MIXTURE, MixtureOfLaplaces),
        Head("logistic", MIXTURE, MixtureOfLogistics),
        Head("student", MIXTURE | {"nu": (None, "b_nu", None)}, MixtureOfStudents),
        Head("bernoulli", {"bias": ("V", "b", "W_b")}, Bernoulli, support="binary"),
    )
}
CONDITIONALS = tuple(name for name, head in HEADS.items() if head.mixture)  # of the option `conditional`
