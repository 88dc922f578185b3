"""Optimisers as links and chains.

A link is a pair (init, update) on the flat parameter vector: ``init(theta) -> state`` and
``update(gradient, state, theta)``, which changes the gradient (of the loss, to be minimised) and its own state in
place.  A recipe is a chain of links, the last of which turns the direction into a step; ``theta += gradient`` then
makes it.  States are dicts of arrays and numbers, so that a checkpoint can hold them.
"""

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


def clip_norm(largest):
    """Scale the gradient down to norm `largest` where its norm is larger (Pascanu, Mikolov and Bengio, On the
    difficulty of training recurrent neural networks, 2013)."""

    def update(gradient, state, theta):
        norm = _core.norm(gradient)
        state["norm"] = norm
        if norm > largest:
            gradient *= largest / norm

    return Link(lambda theta: {"norm": 0.0}, update)


def keep(mask):
    """Zero the gradient of what is not trained; mask is boolean, (size,)."""

    zeroed = np.flatnonzero(~mask)

    def update(gradient, state, theta):
        gradient[zeroed] = 0

    return Link(lambda theta: {}, update)


def adam(beta1=0.9, beta2=0.999, epsilon=1e-8):
    """m / (sqrt(v) + epsilon) with bias-corrected moments (Kingma and Ba, Adam, 2015)."""

    def init(theta):
        return {"step": 0, "m": np.zeros_like(theta), "v": np.zeros_like(theta)}

    def update(gradient, state, theta):
        state["step"] += 1
        _core.adam(gradient, state["m"], state["v"], beta1, beta2, epsilon, state["step"])

    return Link(init, update)


def momentum(decay=0.9):
    """v <- decay v + gradient."""

    def update(gradient, state, theta):
        state["v"] *= decay
        state["v"] += gradient
        gradient[...] = state["v"]

    return Link(lambda theta: {"v": np.zeros_like(theta)}, update)


def decay_weights(strength):
    """Add strength * theta to the direction, decoupled from the moments (Loshchilov and Hutter, Decoupled weight decay
    regularization, 2019); strength (size,) is a number for each parameter, of the type of theta."""

    def update(gradient, state, theta):
        _core.add_elementwise(gradient, strength, theta)

    return Link(lambda theta: {}, update)


def step(learning_rate):
    """Minus the learning rate times the direction; learning_rate(step) with steps counted from 0."""

    def update(gradient, state, theta):
        gradient *= -learning_rate(state["step"])
        state["step"] += 1

    return Link(lambda theta: {"step": 0}, update)


# ---- recipes: the list -----------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": {"direction": adam, "falls": False},  # falls: the learning rate falls linearly to 0 over max_epochs
    "sgd": {"direction": momentum, "falls": True},
}
