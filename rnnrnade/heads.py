"""Heads: the density of one number given its raw outputs.  One row a head."""

from dataclasses import dataclass

from .distributions import Bernoulli, MixtureOfGaussians


@dataclass(frozen=True)
class Head:
    """The density of one number: its place in the kernels' list, its raw outputs, and their users' names."""

    name: str
    index: int
    context: dict  # context name -> (name of V, b, W blocks)
    mixture: bool

    @property
    def binary(self):
        return not self.mixture

    @property
    def distribution(self):
        return MixtureOfGaussians if self.mixture else Bernoulli

    def random_numbers(self, generator, shape, dtype):
        uniform = generator.random(shape, dtype)
        return uniform, uniform if self.binary else generator.standard_normal(shape, dtype)


HEADS = {
    "gaussian": Head(
        "gaussian",
        0,
        {
            "alpha": ("V_alpha", "b_alpha", "W_alpha"),
            "mu": ("V_mu", "b_mu", "W_mu"),
            "sigma": ("V_sigma", "b_sigma", "W_sigma"),
        },
        mixture=True,
    ),
    "bernoulli": Head("bernoulli", 1, {"bias": ("V", "b", "W_b")}, mixture=False),
}
