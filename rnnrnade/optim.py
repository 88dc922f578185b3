"""Optimisers as links and chains, and the schedules of their learning rate.

A link is a pair (init, update) on the flat parameter vector: ``init(theta) -> state`` and ``update(gradient, state,
theta)``, which works in place.  A recipe is a chain of links: the first ones change the gradient (of the loss, to be
minimised), the last one, the rule, takes the step.  A rule is ONE link, not a chain of direction, decay and step, so
that it is one pass over memory: apart they took a seventh of the time of an update of large models.  States are dicts
of arrays and numbers, so that a checkpoint can hold them.
"""

import math
from typing import NamedTuple

import numpy as np

from . import _core


class Link(NamedTuple):
    """A pair (init, update)."""

    init: callable
    update: callable


def chain(*links):
    """One link that applies several, in order."""

    def init(theta):
        return [link.init(theta) for link in links]

    def update(gradient, state, theta):
        for link, own in zip(links, state, strict=True):
            link.update(gradient, own, theta)

    return Link(init, update)


# ---- links that change the gradient ----------------------------------------------------------------------------------


def zero(fixed):
    """Zero the gradient of what is not trained; `fixed` is boolean, (size,)."""

    zeroed = np.flatnonzero(fixed)

    def update(gradient, state, theta):
        gradient[zeroed] = 0

    return Link(lambda theta: {}, update)


def clip_norm(largest, *, n_threads=1):
    """Scale the gradient down to norm `largest` where its norm is larger (Pascanu, Mikolov and Bengio, On the
    difficulty of training recurrent neural networks, 2013).  The norm before is left in the state; where it is not
    finite, FloatingPointError is raised and nothing else happens."""

    def update(gradient, state, theta):
        norm = state["norm"] = _core.norm(gradient, n_threads)
        if not math.isfinite(norm):
            raise FloatingPointError("the norm of the gradient is not finite")
        if norm > largest:
            gradient *= largest / norm

    return Link(lambda theta: {"norm": 0.0}, update)


def mean_gradient(layout):
    """Multiply the gradients by V_mu, b_mu and W_mu with the scale of their component.

    A heuristic, no gradient of anything: it keeps narrow components from taking steps of the means that are large
    against their width (Uria, Murray and Larochelle, RNADE, 2013, section 3, multiply dz^mu of each datum by sigma of
    that datum).  Here it works on gradients summed over frames, so sigma is one number for each dimension and
    component: min_scale + exp(b_sigma), that of a hidden layer and a context that are zero."""

    def update(gradient, state, theta):
        p, g = layout.views(theta), layout.views(gradient)
        sigma = layout.min_scale + np.exp(p["b_sigma"])  # (D, K)
        if "V_mu" in g:
            g["V_mu"] *= sigma[:, None, :]
        g["b_mu"] *= sigma
        if "W_mu" in g:
            g["W_mu"] *= sigma[:, :, None]

    return Link(lambda theta: {}, update)


# ---- rules: theta <- theta - rate (direction + strength theta) -------------------------------------------------------
# Weight decay is decoupled from the moments (Loshchilov and Hutter, Decoupled weight decay regularization, 2019);
# strength (size,), of the type of theta, is a number for each parameter; None: there is no decay.  learning_rate(step)
# counts steps from 0.  averaging is the decay of a moving average of the parameters, which starts as their plain mean;
# 0: there is none.


def _moving_average(averaging, theta):
    return theta.copy() if averaging else None


def _share(averaging, step):
    """What the average takes of the parameters after `step` updates: one of all so far, while these are few."""
    return max(1 - averaging, 1 / step)


def adam(learning_rate, strength, averaging=0.0, *, beta1=0.9, beta2=0.999, epsilon=1e-8, n_threads=1):
    """direction = m / (sqrt(v) + epsilon) with bias-corrected moments (Kingma and Ba, Adam, 2015)."""

    def init(theta):
        average = _moving_average(averaging, theta)
        return {"step": 0, "average": average, "m": np.zeros_like(theta), "v": np.zeros_like(theta)}

    def update(gradient, state, theta):
        rate = learning_rate(state["step"])
        state["step"] += 1
        _core.adam(
            theta, state["average"], state["m"], state["v"], gradient, strength, beta1, beta2, epsilon, state["step"],
            rate, _share(averaging, state["step"]), n_threads,
        )  # fmt: skip

    return Link(init, update)


def momentum(learning_rate, strength, averaging=0.0, *, decay=0.9, n_threads=1):
    """direction = v, where v <- decay v + gradient."""

    def init(theta):
        return {"step": 0, "average": _moving_average(averaging, theta), "v": np.zeros_like(theta)}

    def update(gradient, state, theta):
        rate = learning_rate(state["step"])
        state["step"] += 1
        _core.momentum(
            theta, state["average"], state["v"], gradient, strength, decay, rate, _share(averaging, state["step"]),
            n_threads,
        )  # fmt: skip

    return Link(init, update)


# ---- schedules: what part of the learning rate is left when a part of the run is over --------------------------------

SCHEDULES = {
    "constant": lambda part: 1.0,
    "linear": lambda part: 1.0 - part,
    "cosine": lambda part: 0.5 + 0.5 * math.cos(math.pi * part),
}

# ---- recipes: the list -----------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": {"rule": adam, "schedule": "constant"},  # schedule: where the user asks for none
    "sgd": {"rule": momentum, "schedule": "linear"},
}
