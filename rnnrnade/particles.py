"""Weighted particles: sequences with missing values, completed by exact conditional draws.

`rnnrnade.missing` says what this is for, and when it is exact.

Design
------
*Networks.*  A `Filter` asks its network through `Walk`: one for exact densities here, one with latent vectors in
latent_density.py.

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
from .weights import increments, log_mean, relative_error, resampled, shares, systematic

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
        found, of_total = gaps.estimate(s, n_particles, n_repeats)
        if error is not None:
            error[s] = of_total
        rows = slice(data.offsets[s] + gaps.begin[s], data.offsets[s] + gaps.end[s])
        dims[rows] = found
        estimated[rows] = True
    dims[gaps.missing[:, density.front.given :]] = 0.0
    frames[estimated] = dims[estimated].sum(axis=1)
    check_finite("the log-likelihood", frames, data.place, below=True)
    return Scores(frames, density.front.back(dims))


class Gaps:
    """Data with missing values, as the model reads them.

    Attributes
    ----------
    x, missing : ndarray of shape (M, given + D)
        Rows, in the model's order; x is 0 where it is missing.  What is given is not.
    e : ndarray of shape (M, given + D)
        What the network reads; right, as its log-Jacobian is, where nothing in the reach of the transform is missing.
    jacobian : ndarray of shape (M, D)
    first, end : ndarray of shape (N,)
        Of each sequence the first frame with a gap (its length, if there is none), and the frame after the last one
        that holds anything.
    begin : ndarray of shape (N,)
        The first frame that particles have: `first`, where the state before it is known (`Walk`), else 0.
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
        shape = len(frames), frames.shape[1] - front.given
        self.jacobian = np.broadcast_to(0.0 if jacobian is None else jacobian, shape)
        gap, held = self.missing.any(axis=1), ~self.missing[:, front.given :].all(axis=1)
        parts = [slice(a, b) for a, b in data.slices]
        self.first = np.array([np.append(gap[part], True).argmax() for part in parts])
        self.end = np.array([(np.flatnonzero(held[part]) + 1).max(initial=0) for part in parts])
        self.begin = self.first if density.walk.starts_late else np.zeros_like(self.first)

    def is_exact(self, s):
        """Whether the gaps of sequence s are integrated out in closed form: those that `drops_factors` says, and, where
        a frame is a mixture of Gaussians, any in the last frame that holds anything."""
        last = self.closed and self.density.exact and bool(self.first[s] >= self.end[s] - 1)
        return self.drops_factors(s) or last

    def drops_factors(self, s):
        """Whether nothing that sequence s holds comes after what it misses; with latent vectors, whether it holds
        nothing."""
        first, end = self.first[s], self.end[s]
        if not self.density.exact:
            return bool(end == 0)
        missing = self.missing[self.offsets[s] + first] if first < end else np.ones(1, bool)
        return bool(first >= end - 1 and missing[missing.argmax() :].all())

    def filter(self, s, n_particles, n_groups):
        """Particles of sequence s before its frame `begin`.

        Random numbers come from the seed and from what the sequence holds, and where others before it held the same,
        from their number: each is filled independently of the others."""
        a, b = self.offsets[s : s + 2]
        x, missing, held = self.x[a:b], self.missing[a:b], slice(self.end[s])
        content = hashlib.sha256(np.where(missing, np.nan, x)[held].tobytes()).digest()
        numbers = [self.seed, int.from_bytes(content, "little")]
        generator = np.random.default_rng(numbers + [self.occurred[content]] * (content in self.occurred))
        self.occurred[content] += 1
        offsets, row = np.array([0, b - a], np.int64), np.array([self.begin[s]], np.int64)
        if self.begin[s]:
            state = self.density.model.states(self.e[a:b], offsets, row, n_threads=self.n_threads)
        else:
            state = self.density.model.initial_state(1)
        known = self.e[a:b], self.jacobian[a:b]
        return Filter(self, x, known, missing, state, n_groups, n_particles, generator)

    def estimate(self, s, n_particles, n_repeats):
        """What each dimension of the frames begin ... end - 1 of sequence s adds to its log-likelihood, (frames, D),
        and the standard error of the whole, 0 where it is exact."""
        exact = self.is_exact(s)
        particles = self.filter(s, *((1, 1) if exact else (n_particles, n_repeats)))
        totals = particles.run(self.begin[s], self.end[s])  # (n_repeats, frames, D)
        total = log_mean(totals, axis=0)
        error = 0.0 if exact or n_repeats == 1 else relative_error(totals[:, -1, -1])
        return increments(total.ravel()).reshape(total.shape), error

    def impute(self, s, n_samples, n_particles):
        """(n_samples, T, D) in the order of X."""
        T, begin, end = self.offsets[s + 1] - self.offsets[s], self.begin[s], self.end[s]
        if self.is_exact(s):
            particles = self.filter(s, n_samples, 1)
            particles.run(begin, T)
        else:
            particles = self.filter(s, max(n_particles, n_samples), 1)
            particles.run(begin, end)
            particles.choose(n_samples)
            particles.run(end, T)
        return self.density.front.unordered(particles.completed(), axis=2)


class Walk:
    """What a `Filter` asks of a network: n particles side by side, each in a state, before their next frames.

    These calls, and of the network itself `outputs`, are all of it.  Here the density of a frame is exact.

    Attributes
    ----------
    draws : bool
        Whether a frame that holds everything draws something, too: then particles are resampled before it.
    starts_late : bool
        Whether the state before a frame is the same for all particles, as long as nothing is missing.
    """

    draws, starts_late = False, True

    def __init__(self, density, state, n, n_threads):
        self.density, self.model, self.n, self.n_threads = density, density.model, n, n_threads
        self.state = None if state is None else np.repeat(state, n, axis=0)

    def take(self, index):
        """Go on with particles `index`."""
        self.n = len(index)
        if self.state is not None:
            self.state = np.ascontiguousarray(self.state[index])

    def frame(self, T=1):
        """T next frames of each particle, as the network's calls take them."""
        offsets = T * np.arange(self.n + 1, dtype=np.int64)
        initial = None if self.state is None else (self.state, np.zeros(self.n, np.uint8))
        return {"offsets": offsets, "initial": initial, "n_threads": self.n_threads}

    def at_once(self, n_frames):
        """How many of n_frames frames that are the same in all particles `read` takes in one call."""
        return min(n_frames, max(1, HELD // (self.n * self.model.layout.D)))

    def read(self, e, T, generator):
        """Go on past T frames that are known, e (n T, D): what each adds to log-weights, (n, T, D) or (n, T, 1)."""
        return self.finish(e, T).reshape(self.n, T, -1)

    def draw(self, given, generator):
        """Draw a frame of which nothing but what is given (n, given) is known, and go on past it: rows of e, float64"""
        random_numbers = self.density.noise((self.n, 1, self.model.layout.D), generator)
        options = {"given": given[:, None], "state": self.state, "n_threads": self.n_threads}
        return self.model.sample(*random_numbers, **options)[:, 0].astype(np.float64)

    def meet(self, e, generator):
        """Before a frame that holds some of its dimensions, e (n, D), with typical values for the others: what it adds
        to log-weights before any dimension does, (n,) or None.  `frame` is then what gives its conditionals."""

    def finish(self, e, T=1):
        """Go on past the frame that was met, e (n, D) without a gap: log-densities of its dimensions, (n, D)."""
        scores = self.model.log_density(e, **self.frame(T), dims=True, last=True)
        self.state = scores.last
        return scores.dims


class Filter:
    """Weighted particles of one sequence, in `groups` that are independent of each other.

    Row g n + i of an array is particle i of group g.  log_weight (groups, n) is scaled so that the mean weight of a
    group is its estimate of the likelihood so far.
    """

    def __init__(self, gaps, x, known, missing, state, n_groups, n_particles, generator):
        self.density, self.closed = gaps.density, gaps.closed
        self.x, self.missing, self.generator = x, missing, generator
        self.given = gaps.density.front.given  # columns in front of those that are scored
        self.e, self.jacobian = known
        self.z = self.density.front.map.standardized(x)
        check_memory("particles", (n_groups * n_particles, x.shape[1]))
        self.log_weight = np.zeros((n_groups, n_particles))
        self.walk = gaps.density.walk(gaps.density, state, self.n, gaps.n_threads)
        self.reader = Reader(self.density.front, self.n)
        self.latest = None  # the frame that the reader has read last
        self.events = []  # draws (t, d, values) and resamplings (None, None, index), from which paths are traced back

    @property
    def n(self):
        return self.log_weight.size

    def run(self, begin, end):
        """Frames begin ... end - 1: the log of each group's estimate after each dimension, (groups, frames, D)."""
        D, lags = self.x.shape[1] - self.given, self.density.front.reach
        totals = np.empty((len(self.log_weight), end - begin, D))
        reach = np.array([self.missing[max(0, t - lags) : t + 1].any() for t in range(begin, end)], bool)
        t = begin
        while t < end:
            if reach[t - begin]:
                self._frame(t, totals[:, t - begin])
                t += 1
            else:
                n_frames = self.walk.at_once(int(np.append(reach, True)[t - begin :].argmax()))
                totals[:, t - begin : t - begin + n_frames] = self._complete_frames(t, t + n_frames)
                t += n_frames
        return totals

    # ---- frames ---------------------------------------------------------------------------------------------------

    def _complete_frames(self, begin, end):
        """Frames that are the same in all particles: only the states differ."""
        if self.walk.draws:
            self._resample_where_few()
        log_p = self.walk.read(np.tile(self.e[begin:end], (self.n, 1)), end - begin, self.generator)
        jacobian = self.jacobian[begin:end]
        log_p = log_p + (jacobian if log_p.shape[2] > 1 else jacobian.sum(axis=1, keepdims=True))
        return self._weigh(log_p.reshape(self.n, -1)).reshape(-1, end - begin, log_p.shape[2])

    def _frame(self, t, totals):
        """A frame with gaps, or in whose reach there is one."""
        missing, done, reader, given = self.missing[t], 0, self.reader, self.given
        if self.walk.draws:
            self._resample_where_few()
        if self.latest != t - 1:  # nothing in reach is missing
            reader.follow(self.z[max(0, t - self.density.front.reach) : t])
        reader.start(np.tile(np.where(missing, 0.0, self.z[t]), (self.n, 1)))
        if missing[given:].all():
            self._resample_where_few()
            self._draw_frame(t)
            totals[:] = self._totals()[:, None]
        elif self.walk.draws and not missing.any():
            log_p = self.walk.read(reader.e(), 1, self.generator)[:, 0]
            jacobian = reader.log_jacobian()
            if jacobian is not None and log_p.shape[1] == 1:
                jacobian = np.broadcast_to(jacobian, (self.n, totals.shape[1])).sum(axis=1, keepdims=True)
            totals[:] = self._weigh(log_p if jacobian is None else log_p + jacobian)
        elif self.closed:
            totals[:] = self._marginal_frame(t)
        else:
            self._meet(reader.e())
            for d in np.flatnonzero(missing[given:]):
                dims, outputs = self.density.model.outputs_of(d, reader.e(), **self.walk.frame())
                totals[:, done:d] = self._weigh(self._in_units_of_x(dims)[:, done:d])
                done = d + 1
                index = self._resample_where_few()
                conditional = self.density.head.distribution.of_outputs(outputs[index])
                e_d = conditional.draw(self.generator).astype(self.density.model.dtype).astype(np.float64)
                self.events.append((t, given + d, reader.put(given + d, e_d)))
                totals[:, d] = self._totals()
            dims = self.walk.finish(reader.e())
            totals[:, done:] = self._weigh(self._in_units_of_x(dims)[:, done:])
        reader.finish()
        self.latest = t

    def _marginal_frame(self, t):
        """A frame that is a mixture of Gaussians: weights by what is observed of it, all at once, then the rest is
        drawn given that.  `_totals` after each dimension."""
        given, reader = self.given, self.reader
        missing, D = self.missing[t, given:], self.x.shape[1] - given
        e, u = reader.e(), reader.residuals()[:, :given]
        self._meet(e)
        p, L = affine(reader, u, D)
        parameters = first_parameters(self.density.model, e, **self.walk.frame())
        marginal = FrameMarginal(*parameters, p, L, np.tile(self.z[t, given:], (self.n, 1)), ~missing)
        log_p = np.zeros((self.n, D))
        log_p[:, ~missing] = marginal.log_density
        if L is not None:  # the log-Jacobian of the transform but for L
            log_p += np.where(missing, 0.0, np.log(np.diagonal(L, axis1=1, axis2=2)))
        log_p = np.where(missing, 0.0, self._in_units_of_x(log_p))
        totals = self._weigh(log_p)
        e = np.concatenate([u, marginal.draw(self.generator)], axis=1)
        self.events.append((t, self.missing[t], reader.put_some(self.missing[t], e)))
        self.walk.finish(reader.e())
        self._resample_where_few()
        return totals

    def _in_units_of_x(self, dims):
        """Log-densities of the dimensions of the frame that the reader has started."""
        jacobian = self.reader.log_jacobian()
        return dims if jacobian is None else dims + jacobian

    def _meet(self, e):
        log_ratio = self.walk.meet(e, self.generator)
        if log_ratio is not None:
            self.log_weight = self.log_weight + log_ratio.reshape(self.log_weight.shape)

    def _draw_frame(self, t):
        """A frame of which nothing is known: one call of the sampler."""
        given = self.reader.residuals()[:, : self.given]
        x = self.reader.put_all(self.walk.draw(given, self.generator))
        self.events.append((t, slice(self.given, None), x[:, self.given :]))

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

    def _resample_where_few(self):
        """Resample the groups whose effective number of particles is below half: the index of each that goes on."""
        n, totals = self.log_weight.shape[1], self._totals()
        index = np.arange(self.n).reshape(-1, n)
        few, inside = resampled(self.log_weight, lambda g: self.generator.random())
        if not few.size:
            return index.ravel()
        for g, chosen in zip(few, inside, strict=True):
            index[g] = g * n + chosen
            self.log_weight[g] = totals[g]
        return self._take(index.ravel())

    def choose(self, n):
        """Go on with n particles, drawn from the first group by their weights."""
        index = self.generator.permutation(systematic(shares(self.log_weight)[0], n, self.generator.random()))
        self.log_weight = np.zeros((1, n))
        self._take(index)

    def _take(self, index):
        self.reader.take(index)
        self.walk.take(index)
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
