"""Weighted particles: sequences with missing values, completed by exact conditional draws.

`rnnrnade.missing` says what this is for, and when it is exact.

Design
------
*Units.*  Particles hold z, the standardised columns, and e, what the network reads; without a transform these are x
(front.py).  Draws are of e.  A frame in whose reach (the frames that the transform reads) nothing is missing has the
same e in all particles.  Weights are densities in the units of X: the log-Jacobian may be another in each particle.
"""

import hashlib
from collections import Counter

import numpy as np

from .checks import OutOfRange, check_finite, check_memory
from .front import Reader
from .marginals import FrameMarginal, affine, first_parameters, is_closed
from .model import Scores
from .weights import log_mean, systematic

PARTICLES = 1000
HELD = 1 << 20  # log-densities of dimensions that particles hold at a time


def marginal_scores(density, data, generator, n_threads=1, n_particles=PARTICLES, n_repeats=1, error=None):
    """Scores of frames and dimensions (in the order of X) with the gaps integrated out: exact, or the increments of the
    estimate.  What is missing counts 0.  error (N,): where to put standard errors."""
    gaps = Gaps(density, data, generator, n_threads)
    scores = density.model.log_density(gaps.e, data.offsets, dims=True, n_threads=n_threads)
    frames, dims = scores.frames, scores.dims
    density.front.to_units_of_x(gaps.jacobian, frames, dims)
    estimated = gaps.missing.any(axis=1)  # frames whose score is not that of a complete frame after a complete past
    for s in range(data.n_sequences):
        if gaps.drops_factors(s):
            continue
        begin, end, exact = gaps.first[s], gaps.end[s], gaps.is_exact(s)
        particles = gaps.filter(s, *((1, 1) if exact else (n_particles, n_repeats)))
        totals = particles.run(begin, end)  # (n_repeats, end - begin, D)
        total = log_mean(totals, axis=0)
        if error is not None and not exact:
            ratio = np.exp(totals[:, -1, -1] - total[-1, -1])
            error[s] = ratio.std(ddof=1) / np.sqrt(n_repeats)
        rows = slice(data.offsets[s] + begin, data.offsets[s] + end)
        dims[rows] = np.diff(total.ravel(), prepend=0.0).reshape(total.shape)
        estimated[rows] = True
    dims[gaps.missing] = 0.0
    frames[estimated] = dims[estimated].sum(axis=1)
    check_finite("the log-likelihood", frames, data.place, below=True)
    return Scores(frames, density.front.back(dims))


class Gaps:
    """Data with missing values, as the model reads them.

    Attributes
    ----------
    x, missing : ndarray of shape (M, D)
        In the model's order; x is 0 where it is missing.
    e, jacobian : ndarray of shape (M, D)
        What the network reads, and its log-Jacobian; right where nothing in the reach of the transform is missing.
    first, end : ndarray of shape (N,)
        Of each sequence the first frame with a gap (its length, if there is none), and the frame after the last one
        that holds anything.
    """

    def __init__(self, density, data, generator, n_threads):
        front = density.front
        self.density, self.n_threads = density, n_threads
        self.offsets, self.seed = data.offsets, int(generator.integers(2**63))
        self.closed = is_closed(density)
        self.occurred = Counter()  # how often each content was met
        frames = front.ordered(data.frames)
        self.missing = np.isnan(frames)
        typical = front.map.unstandardized(np.zeros(frames.shape[1]))
        self.x = np.ascontiguousarray(np.where(self.missing, typical, frames), np.float64)
        try:
            self.e, jacobian = front.encode_ordered(self.x, data.offsets)
        except OutOfRange as error:
            raise data.refusal(error) from None
        self.jacobian = np.broadcast_to(0.0 if jacobian is None else jacobian, self.e.shape)
        gap, held = self.missing.any(axis=1), ~self.missing.all(axis=1)
        parts = [slice(a, b) for a, b in data.slices]
        self.first = np.array([np.append(gap[part], True).argmax() for part in parts])
        self.end = np.array([(np.flatnonzero(held[part]) + 1).max(initial=0) for part in parts])

    def is_exact(self, s):
        """Whether the gaps of sequence s are integrated out in closed form: those that `drops_factors` says, and, where
        a frame is a mixture of Gaussians, any in the last frame that holds anything."""
        return self.drops_factors(s) or (self.closed and bool(self.first[s] >= self.end[s] - 1))

    def drops_factors(self, s):
        """Whether nothing that sequence s holds comes after what it misses."""
        first, end = self.first[s], self.end[s]
        missing = self.missing[self.offsets[s] + first] if first < end else np.ones(1, bool)
        return bool(first >= end - 1 and missing[missing.argmax() :].all())

    def filter(self, s, n_particles, n_groups):
        """Particles of sequence s before its first gap.

        Random numbers come from the seed and from what the sequence holds, and where others before it held the same,
        from their number: each is filled independently of the others."""
        a, b = self.offsets[s : s + 2]
        x, missing, held = self.x[a:b], self.missing[a:b], slice(self.end[s])
        content = hashlib.sha256(np.where(missing, np.nan, x)[held].tobytes()).digest()
        numbers = [self.seed, int.from_bytes(content, "little")]
        generator = np.random.default_rng(numbers + [self.occurred[content]] * (content in self.occurred))
        self.occurred[content] += 1
        offsets, row = np.array([0, b - a], np.int64), np.array([self.first[s]], np.int64)
        state = self.density.model.states(self.e[a:b], offsets, row, n_threads=self.n_threads)
        known = self.e[a:b], self.jacobian[a:b]
        return Filter(self, x, known, missing, state, n_groups, n_particles, generator)

    def impute(self, s, n_samples, n_particles):
        """(n_samples, T, D) in the order of X."""
        T, first, end = self.offsets[s + 1] - self.offsets[s], self.first[s], self.end[s]
        if self.is_exact(s):
            particles = self.filter(s, n_samples, 1)
            particles.run(first, T)
        else:
            particles = self.filter(s, max(n_particles, n_samples), 1)
            particles.run(first, end)
            particles.choose(n_samples)
            particles.run(end, T)
        return self.density.front.back(particles.completed(), axis=2)


class Filter:
    """Weighted particles of one sequence, in `groups` that are independent of each other.

    Row g n + i of an array is particle i of group g.  log_weight (groups, n) is scaled so that the mean weight of a
    group is its estimate of the likelihood so far.
    """

    def __init__(self, gaps, x, known, missing, state, n_groups, n_particles, generator):
        self.density, self.n_threads, self.closed = gaps.density, gaps.n_threads, gaps.closed
        self.x, self.missing, self.generator = x, missing, generator
        self.e, self.jacobian = known
        self.z = self.density.front.map.standardized(x)
        check_memory("particles", (n_groups * n_particles, x.shape[1]))
        self.log_weight = np.zeros((n_groups, n_particles))
        self.state = None if state is None else np.repeat(state, self.n, axis=0)
        self.reader = Reader(self.density.front, self.n)
        self.latest = None  # the frame that the reader has read last
        self.events = []  # draws (t, d, values) and resamplings (None, None, index), from which paths are traced back

    @property
    def n(self):
        return self.log_weight.size

    def run(self, begin, end):
        """Frames begin ... end - 1: the log of each group's estimate after each dimension, (groups, frames, D)."""
        D, lags = self.x.shape[1], self.density.front.reach
        totals = np.empty((len(self.log_weight), end - begin, D))
        reach = np.array([self.missing[max(0, t - lags) : t + 1].any() for t in range(begin, end)], bool)
        t = begin
        while t < end:
            if reach[t - begin]:
                self._frame(t, totals[:, t - begin])
                t += 1
            else:
                n_frames = int(np.append(reach, True)[t - begin :].argmax())
                n_frames = min(n_frames, max(1, HELD // (self.n * D)))
                totals[:, t - begin : t - begin + n_frames] = self._complete_frames(t, t + n_frames)
                t += n_frames
        return totals

    # ---- frames ---------------------------------------------------------------------------------------------------

    def _complete_frames(self, begin, end):
        """Frames that are the same in all particles: only the states differ."""
        e = np.tile(self.e[begin:end], (self.n, 1))
        scores = self._score(e, end - begin, dims=True, last=True)
        self.state = scores.last
        log_p = scores.dims.reshape(self.n, -1) + self.jacobian[begin:end].ravel()
        return self._weigh(log_p).reshape(-1, end - begin, self.x.shape[1])

    def _frame(self, t, totals):
        """A frame with gaps, or in whose reach there is one."""
        missing, done, reader = self.missing[t], 0, self.reader
        if self.latest != t - 1:  # nothing in reach is missing
            reader.follow(self.z[max(0, t - self.density.front.reach) : t])
        reader.start(np.tile(np.where(missing, 0.0, self.z[t]), (self.n, 1)))
        if missing.all():
            self._resample_where_few()
            self._draw_frame(t)
            totals[:] = self._totals()[:, None]
        elif self.closed:
            totals[:] = self._marginal_frame(t)
        else:
            for d in np.flatnonzero(missing):
                dims, outputs = self.density.model.outputs_of(d, reader.e(), **self._sequences(1))
                totals[:, done:d] = self._weigh(self._in_units_of_x(dims)[:, done:d])
                done = d + 1
                index = self._resample_where_few()
                conditional = self.density.head.distribution.of_outputs(outputs[index])
                e_d = conditional.draw(self.generator).astype(self.density.model.dtype).astype(np.float64)
                self.events.append((t, d, reader.put(d, e_d)))
                totals[:, d] = self._totals()
            scores = self._score(reader.e(), 1, dims=True, last=True)
            totals[:, done:] = self._weigh(self._in_units_of_x(scores.dims)[:, done:])
            self.state = scores.last
        reader.finish()
        self.latest = t

    def _marginal_frame(self, t):
        """A frame that is a mixture of Gaussians: weights by what is observed of it, all at once, then the rest is
        drawn given that.  `_totals` after each dimension."""
        missing, reader, D = self.missing[t], self.reader, self.x.shape[1]
        e = reader.e()
        p, L = affine(reader, self.n, D)
        parameters = first_parameters(self.density.model, e, **self._sequences(1))
        marginal = FrameMarginal(*parameters, p, L, np.tile(self.z[t], (self.n, 1)), ~missing)
        log_p = np.zeros((self.n, D))
        log_p[:, ~missing] = marginal.log_density
        if L is not None:  # the log-Jacobian of the transform but for L
            log_p += np.where(missing, 0.0, np.log(np.diagonal(L, axis1=1, axis2=2)))
        log_p = np.where(missing, 0.0, self._in_units_of_x(log_p))
        totals = self._weigh(log_p)
        self.events.append((t, missing, reader.put_some(missing, marginal.draw(self.generator))))
        self.state = self._score(reader.e(), 1, last=True).last
        self._resample_where_few()
        return totals

    def _in_units_of_x(self, dims):
        """Log-densities of the dimensions of the frame that the reader has started."""
        jacobian = self.reader.log_jacobian()
        return dims if jacobian is None else dims + jacobian

    def _score(self, e, T, **wanted):
        return self.density.model.log_density(e, **self._sequences(T), **wanted)

    def _sequences(self, T):
        """T frames of each particle, as the model takes them."""
        offsets = T * np.arange(self.n + 1, dtype=np.int64)
        initial = None if self.state is None else (self.state, np.zeros(self.n, np.uint8))
        return {"offsets": offsets, "initial": initial, "n_threads": self.n_threads}

    def _draw_frame(self, t):
        """A frame of which nothing is known: one call of the sampler."""
        random_numbers = self.density.noise((self.n, 1, self.x.shape[1]), self.generator)
        e = self.density.model.sample(*random_numbers, state=self.state, n_threads=self.n_threads)
        self.events.append((t, slice(None), self.reader.put_all(e[:, 0].astype(np.float64))))

    # ---- weights --------------------------------------------------------------------------------------------------

    def _totals(self):
        """The logarithm of the mean weight of each group: (groups,)"""
        return log_mean(self.log_weight, axis=1)

    def _weigh(self, log_p):
        """Multiply the weights by densities log_p (rows, m), one after the other: `_totals` after each, (groups, m)"""
        log_weight = self.log_weight[:, :, None] + np.cumsum(log_p, axis=1).reshape(*self.log_weight.shape, -1)
        if log_p.shape[1]:
            self.log_weight = log_weight[:, :, -1].copy()
        return log_mean(log_weight, axis=1)

    def _weights(self):
        top = self.log_weight.max(axis=1, keepdims=True)
        weight = np.exp(self.log_weight - top)
        return weight / weight.sum(axis=1, keepdims=True)

    def _resample_where_few(self):
        """Resample the groups whose effective number of particles is below half: the index of each that goes on."""
        weight = self._weights()
        n = weight.shape[1]
        few = np.flatnonzero(1 / (weight**2).sum(axis=1) < 0.5 * n)
        index, totals = np.arange(self.n).reshape(-1, n), self._totals()
        if not few.size:
            return index.ravel()
        for g in few:
            index[g] = g * n + systematic(weight[g], n, self.generator.random())
            self.log_weight[g] = totals[g]
        return self._take(index.ravel())

    def choose(self, n):
        """Go on with n particles, drawn from the first group by their weights."""
        index = self.generator.permutation(systematic(self._weights()[0], n, self.generator.random()))
        self.log_weight = np.zeros((1, n))
        self._take(index)

    def _take(self, index):
        self.reader.take(index)
        if self.state is not None:
            self.state = np.ascontiguousarray(self.state[index])
        self.events.append((None, None, index))
        return index

    def completed(self):
        """The particles as whole sequences: (rows, T, D)"""
        x = np.tile(self.x, (self.n, 1, 1))
        index = np.arange(self.n)
        for t, d, values in reversed(self.events):
            if t is None:
                index = values[index]
            else:
                x[:, t, d] = values[index]
        return x
