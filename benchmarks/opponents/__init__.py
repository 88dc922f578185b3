"""The list of opponents.  A new one is a module beside this file and a line in OPPONENTS.

A module has ``prepare(workload, parameters, dtype, threads, variant)``, which returns an object with

    forward(x)           (N,) log-density of each sequence of x (N, T, D)
    gradient(x)          (total log-density, gradient in the opponent's own form)
    named(gradient)      that gradient under the users' names and shapes (not timed)
    step(x)              gradient and Adam, changes the parameters; the mean loss of a frame before it
    sample(n, frames)    (n, frames, D); absent where it has none

All that a call returns is computed when it returns.  `prepare` raises Unavailable with the reason where the opponent
cannot run on this machine or this workload.
"""

import importlib
from typing import NamedTuple

LEARNING_RATE = 1e-3
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam, for everyone


class Unavailable(RuntimeError):
    """The opponent cannot run here; the message says why."""


class Opponent(NamedTuple):
    module: str
    variant: str
    package: str | None  # whose version the report states
    framework: bool  # torch or JAX


OURS = "ours"
REFERENCE = "numpy"  # in float64 it is what every answer is compared with
OPPONENTS = {
    OURS: Opponent("ours", "", "rnnrnade", False),
    "torch": Opponent("torch_eager", "loop", "torch", True),
    "torch-blocks": Opponent("torch_eager", "blocks", "torch", True),
    "torch-compiled": Opponent("torch_compiled", "loop", "torch", True),
    "torch-compiled-step": Opponent("torch_compiled", "step", "torch", True),
    "jax-scan": Opponent("jax_scan", "scan", "jax", True),
    "jax-scan-mixture": Opponent("jax_scan", "mixture", "jax", True),
    "numpy": Opponent("numpy_loop", "", "numpy", False),
    "c": Opponent("textbook", "", None, False),
}
STRONGEST = ("torch", "jax-scan", "jax-scan-mixture")


def prepare(name, workload, parameters, dtype, threads):
    """The object of one opponent, or Unavailable."""
    opponent = OPPONENTS[name]
    try:
        module = importlib.import_module(f".{opponent.module}", __name__)
    except ImportError as error:
        raise Unavailable(str(error)) from error
    return module.prepare(workload, parameters, dtype, threads, opponent.variant)
