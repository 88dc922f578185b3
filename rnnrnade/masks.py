"""A MADE under several masks: the mean of the joint densities that one set of parameters has under each of them.

    p(x^t | past) = 1/M sum_m p_m(x^t | past)
    p(x_d | x_<d, past) = sum_m w_m p_m(x_d | x_<d, past),   w_m proportional to prod_{j<d} p_m(x_j | x_<j, past)

The weights start anew at 1/M in every frame and stand as normalised logarithms, since differences of the sums lose
digits.  A mask gives each unit a drawn degree; its network (model.py) has the units sorted by it.  All networks share
the recurrence, which reads frames and not masks, so one state serves them all.
"""

from functools import cached_property, lru_cache

import numpy as np

from .heads import HEADS
from .model import Model, Scores


def model_of(layout, theta):
    """The network of a layout, or with several masks the mean of theirs."""
    return (Masks if len(layout.masks) > 1 else Model)(layout, theta)


@lru_cache(maxsize=8)
def places(layout):
    """For each mask (layout of its network, index, read): its parameters are theta[index] where these are read."""
    found, frame = [], layout.frame
    names = layout.views(np.zeros(layout.size, bool))
    for mask, own in zip(layout.masks, layout.each_mask, strict=True):
        index = np.arange(layout.size)
        ascending = [np.argsort(degrees, kind="stable") for degrees in frame.drawn(layout, mask)]
        for layer, order in enumerate(ascending):
            for name in (frame.named("W", layer), frame.named("c", layer)):
                block = layout.block(index, name)
                block[...] = block[order]
                if layer and block.ndim == 2:
                    block[:, : len(ascending[layer - 1])] = block[:, ascending[layer - 1]]
        if layout.Cc:
            block = layout.block(index, "W_c")
            block[...] = block[ascending[0]]
        block = layout.block(index, "V")
        block[..., : len(ascending[-1])] = block[..., ascending[-1]]
        found.append((own, index, own.flat(dict.fromkeys(names, 1), bool)))
    return found


def weights(dims):
    """(log p(x_d | x_<d) (n, D), log w before each dimension (M, n, D)) from those of each mask, dims (M, n, D)."""
    M, n, D = dims.shape
    log_p, log_w, now = np.empty((n, D)), np.empty_like(dims), np.full((M, n), -np.log(M))
    for d in range(D):
        log_w[..., d] = now
        joint = now + dims[..., d]
        log_p[:, d] = np.logaddexp.reduce(joint, axis=0)
        possible = log_p[:, d] > -np.inf  # after what has no density the weights stay as they were
        now = np.where(possible, joint - np.where(possible, log_p[:, d], 0.0), now)
    return log_p, log_w


class Masks(Model):
    """`Model` with several masks: its calls and their answers, with the components of all masks in the conditionals.

    Parameters
    ----------
    layout : Layout
        With two masks or more.
    theta : ndarray of shape (layout.size,)
        The units as they are numbered.
    """

    def under(self, k):
        """The network under mask k."""
        layout, index, read = places(self.layout)[k]
        return Model(layout, np.where(read, self.theta[index], self.theta.dtype.type(0)))

    @cached_property
    def models(self):
        """The networks under each mask, as long as theta stays as it is."""
        return [self.under(k) for k in range(len(self.layout.masks))]

    @property
    def K(self):
        return self.layout.K * (len(self.layout.masks) if HEADS[self.layout.head].mixture else 1)

    def mean(self, frames):
        """log p of frames from those of each mask: (M, ...)"""
        return np.logaddexp.reduce(np.asarray(frames), axis=0) - np.log(len(self.layout.masks))

    def mixed(self, found, dims=True, parameters=True):
        """Scores from those of each mask."""
        frames, last = self.mean([scores.frames for scores in found]), found[0].last
        if not (dims or parameters):
            return Scores(frames, last=last)
        log_p, log_w = weights(np.stack([scores.dims for scores in found]))
        if not parameters:
            return Scores(frames, log_p, last=last)
        w, own = np.exp(log_w), np.stack([scores.parameters for scores in found])  # (M, n, D, P)
        if not HEADS[self.layout.head].mixture:
            mixed = (w[..., None] * own).sum(axis=0)
        else:
            mixed = np.moveaxis(own.reshape(*own.shape[:3], -1, self.layout.K), 0, 3).astype(np.float64)
            mixed[:, :, 0] *= np.moveaxis(w, 0, -1)[..., None]
            mixed = mixed.reshape(*own.shape[1:3], -1)
        return Scores(frames, log_p, mixed.astype(self.dtype), last)

    def log_density(self, x, offsets, *, dims=False, parameters=False, **options):
        wanted = {"dims": dims or parameters, "parameters": parameters} | options
        return self.mixed([model.log_density(x, offsets, **wanted) for model in self.models], dims, parameters)

    def outputs(self, x, offsets, **options):
        for of_each in zip(*(model.outputs(x, offsets, **options) for model in self.models), strict=True):
            yield of_each[0][0], self.mixed([scores for _, scores in of_each])

    def states(self, x, offsets, rows, **options):
        return self.under(0).states(x, offsets, rows, **options)

    def score_frame(self, x, state):
        before = state.copy()
        found = []
        for model in self.models:
            state[...] = before
            frame, dims = model.score_frame(x, state)
            found.append(Scores(np.array([frame]), dims[None]))
        scores = self.mixed(found, parameters=False)
        return float(scores.frames[0]), scores.dims[0]

    def gradient(self, x, offsets, weight, *, turn=None, out=None, initial=None, n_threads=1, **noise):
        """As `Model.gradient`: each mask has its share in the density of a frame.  With `turn`, the number of a mask,
        of its density alone; after that theta may change in place."""
        if (factors := noise.pop("factors", None)) is not None:
            dropped, options = self.with_theta(self.theta * factors), {"initial": initial, "n_threads": n_threads}
            gradient, frames = dropped.gradient(x, offsets, weight, turn=turn, out=out, **options, **noise)
            gradient *= factors
            return gradient, frames
        gradient = np.empty_like(self.theta) if out is None else out
        options = {"initial": initial, "n_threads": n_threads, **noise}
        if turn is not None:
            self.__dict__.pop("models", None)
            found, frames = self.under(turn).gradient(x, offsets, weight, **options)
            gradient[places(self.layout)[turn][1]] = found
            return gradient, frames
        of_each = [model.log_density(x, offsets, initial=initial, n_threads=n_threads).frames for model in self.models]
        frames = self.mean(of_each)
        gradient[...] = 0
        for model, own, (_, index, _) in zip(self.models, of_each, places(self.layout), strict=True):
            share = np.exp(own - frames) / len(self.models)
            found, _ = model.gradient(x, offsets, (weight * share).astype(self.dtype), **options)
            gradient[index] += found
        return gradient, frames

    def noise(self, frames, options, generator, update):
        """And whose turn it is."""
        turn = int(generator.integers(len(self.layout.masks)))
        return super().noise(frames, options, generator, update) | {"turn": turn}

    def sample(self, uniform, noise, *, given=None, state=None, n_threads=1):
        """As `Model.sample`: the first uniform of a frame chooses its mask, and what is left of it serves again."""
        N, T, _ = uniform.shape
        M, x = len(self.models), self.rows(uniform, given)
        state = self.initial_state(N) if state is None else state
        scaled = uniform[:, :, 0] * self.dtype.type(M)
        chosen = np.minimum(scaled.astype(np.intp), M - 1)
        uniform = uniform.copy()
        uniform[:, :, 0] = np.minimum(scaled - chosen.astype(self.dtype), np.nextafter(self.dtype.type(1), 0))
        for t in range(T):
            for k, model in enumerate(self.models):
                rows = np.flatnonzero(chosen[:, t] == k)
                if len(rows):
                    own = None if state is None else state[rows]
                    numbers = (np.ascontiguousarray(part[rows, t : t + 1]) for part in (uniform, noise))
                    u = x[rows, t : t + 1, : self.layout.given]
                    x[rows, t] = model.sample(*numbers, given=u, state=own, n_threads=n_threads)[:, 0]
                    if own is not None:
                        state[rows] = own
        return x

    def from_normal(self, scores, offsets, *, n_threads=1):
        """As `Model.from_normal`: dimension by dimension, frame by frame of all sequences."""
        given = self.layout.given
        e, rounded = np.empty((len(scores), self.layout.D)), scores.astype(self.dtype)
        rounded[:, given:] = 0
        family, lengths = HEADS[self.layout.head].distribution, np.diff(offsets)
        state = self.initial_state(len(lengths))
        for t in range(lengths.max(initial=0)):
            rows = np.flatnonzero(lengths > t)
            at, alone = offsets[rows] + t, np.arange(len(rows) + 1)
            initial = None if state is None else (state[rows], np.zeros(len(rows), np.uint8))
            options = {"initial": initial, "n_threads": n_threads}
            for d in range(self.layout.D):
                _, outputs = self.outputs_of(d, rounded[at], alone, **options)
                e[at, d] = family.of_outputs(outputs).from_normal_score(scores[at, given + d])
                rounded[at, given + d] = e[at, d]
            if state is not None:
                state[rows] = self.log_density(rounded[at], alone, last=True, **options).last
        return e
