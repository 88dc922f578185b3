"""One step ahead: draws of every frame given the true past, their mean, and squared errors summed over dimensions.

Design
------
The density of a frame is a product over its dimensions, each given those before it, so its mean is an integral that no
formula gives.  It is estimated by Monte Carlo: frames are drawn from the exact conditional density of the frame given
its past, for all frames at once (the recurrent states before them are known), and along every draw the means of the
one-dimensional conditionals are averaged instead of the draws (Rao-Blackwell: the same expectation, a smaller
variance).  The squared error of such an estimate is on average too high by its variance, which is estimated too and
stands beside it.
"""

from typing import NamedTuple

import numpy as np

from .baselines import noise

NUMBERS = 1 << 24  # parameters of conditionals held at a time


class OneStep(NamedTuple):
    """Squared errors, summed over dimensions: each (n,), one number for each frame that counts.

    mean : of the estimated mean of the predictive distribution.
    excess : by how much its Monte Carlo error raises it on average (0 where the mean is exact).
    sample : of one draw, averaged over the draws.
    first : of the first draw alone.
    """

    mean: np.ndarray
    excess: np.ndarray
    sample: np.ndarray
    first: np.ndarray


def _pieces(model, data, rows, n_samples, generator):
    """(rows, draws (S, n, D), conditional means along them (S, n, D)) in the units of X, piece by piece.  Each
    member of an ensemble, all having the same weight, makes its share of the draws, rounded up."""
    densities = model._density.members
    share = -(-n_samples // len(densities))
    parts = [_of_one(density, data, rows, share, generator, model._n_threads()) for density in densities]
    for found in zip(*parts, strict=True):
        chosen, drawn, means = zip(*found, strict=True)
        yield chosen[0], np.concatenate(drawn), np.concatenate(means)


def links(front):
    return getattr(front.transform, "links", [front.transform])


def replaced(front, data, rows, e, values):
    """What the Linear leaves, u (M, D), and in the place of its `rows` what belongs to e = values (n, m, D)."""
    linear, *others = links(front)
    if not others:
        return e, values
    (volatility,) = others
    u = linear.forward(front.ordered(data.frames), data.offsets)
    states, wanted = [], set(rows.tolist())
    for begin, end in zip(data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True):
        state = volatility.start(1, u.shape[1])
        for row in range(begin, end):
            if row in wanted:
                states.append(state)
            *_, state = volatility.moved(u[row : row + 1], np.array([0, 1]), state)
    n, m, D = values.shape
    flat = np.ascontiguousarray(values).reshape(n * m, D)
    moved = volatility.inverse_of_packed(flat, np.arange(n * m + 1), np.tile(np.concatenate(states), (n, 1)))
    return u, moved.reshape(n, m, D)


def _of_one(density, data, rows, n_samples, generator, n_threads):
    """The same of one density."""
    net, front = density.model, density.front
    lay = net.layout
    e, _ = density.encode(data)
    states = net.states(e, data.offsets, rows)
    position = np.arange(len(e)) - np.repeat(data.offsets[:-1], data.lengths)
    at_once = max(1, NUMBERS // (n_samples * lay.D * lay.P))
    for begin in range(0, len(rows), at_once):
        chosen = rows[begin : begin + at_once]
        shape = (n_samples * len(chosen), 1, lay.D)
        state = np.tile(states[begin : begin + at_once], (n_samples, 1))
        drawn = net.sample(*density.noise(shape, generator), state=state.copy(), n_threads=n_threads)[:, 0]
        z = net.log_density(
            drawn, np.arange(len(drawn) + 1), initial=(state, np.zeros(len(drawn), np.uint8)), parameters=True,
            n_threads=n_threads,
        ).parameters  # fmt: skip
        K = lay.K
        means = (z[:, :, :K] * z[:, :, K : 2 * K]).sum(axis=-1, dtype=np.float64)
        frames = front.ordered(data.frames[chosen])

        def in_units(values, frames=frames, chosen=chosen):
            values = values.astype(np.float64).reshape(n_samples, len(chosen), lay.D)
            if front.transform is not None:
                # x = (what the past says) + scale L u: the true frame, moved by what replaces its u.
                u, values = replaced(front, data, chosen, e, values)
                values = frames + noise(links(front)[0], values - u[chosen], position[chosen])
            return front.back(values, axis=2)

        yield chosen, in_units(drawn), in_units(means)


def draw(model, x, n, generator):
    """(n, T, D): draws of each frame of one sequence given the frames before it."""
    if hasattr(model, "draw"):  # a peer
        return model.draw(x, n, generator)
    data = model._check([x])
    return np.concatenate([d for _, d, _ in _pieces(model, data, np.arange(len(x)), n, generator)], axis=1)


def predictive_mean(model, x, n, generator):
    """((T, D), (T, D)): the mean of each frame of one sequence given the frames before it, and its Monte Carlo variance
    from n draws."""
    if hasattr(model, "predictive_mean"):
        mean = model.predictive_mean(x)
        return mean, np.zeros_like(mean)
    data = model._check([x])
    found = [
        (m.mean(axis=0), m.var(axis=0, ddof=1) / n) for *_, m in _pieces(model, data, np.arange(len(x)), n, generator)
    ]
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def one_step(model, part, n_samples, generator, *, clip=None):
    """Squared errors of the frames of a Part that count; `clip` is an interval that draws and mean are clipped to.

    Returns
    -------
    OneStep
    """

    def clipped(values):
        return values if clip is None else np.clip(values, *clip)

    def errors(x, mean, variance, drawn):
        each = ((clipped(drawn) - x) ** 2).sum(axis=-1)
        return ((clipped(mean) - x) ** 2).sum(axis=-1), variance.sum(axis=-1), each.mean(axis=0), each[0]

    context = part.context or (0,) * len(part.X)
    found = []
    if hasattr(model, "predictive_mean"):
        for x, skipped in zip(part.X, context, strict=True):
            mean = model.predictive_mean(x)[skipped:]
            drawn = model.draw(x, n_samples, generator)[:, skipped:]
            found.append(errors(x[skipped:], mean, np.zeros_like(mean), drawn))
    else:
        data = model._check(part.X)
        counts = [np.arange(len(x)) >= skipped for x, skipped in zip(part.X, context, strict=True)]
        rows = np.flatnonzero(np.concatenate(counts))
        for chosen, drawn, means in _pieces(model, data, rows, n_samples, generator):
            variance = means.var(axis=0, ddof=1) / n_samples
            found.append(errors(data.frames[chosen], means.mean(axis=0), variance, drawn))
    return OneStep(*(np.concatenate(values) for values in zip(*found, strict=True)))
