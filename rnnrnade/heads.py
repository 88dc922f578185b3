"""Heads: the density of one number given its raw outputs.  One row a head."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """The density of one number: its place in the kernels' list, its raw outputs, and their users' names."""

    index: int
    context: dict  # context name -> (name of V, b, W blocks)
    mixture: bool


HEADS = {
    "gaussian": Head(
        0,
        {
            "alpha": ("V_alpha", "b_alpha", "W_alpha"),
            "mu": ("V_mu", "b_mu", "W_mu"),
            "sigma": ("V_sigma", "b_sigma", "W_sigma"),
        },
        mixture=True,
    ),
    "bernoulli": Head(1, {"bias": ("V", "b", "W_b")}, mixture=False),
}
