"""One density with latent vectors, in the units and the order of X: estimates, bounds, codes, draws.

Design
------
*The noise of a frame* comes from the stored seed and a hash of the frames of its sequence up to itself, as they were
given (-0 as 0).  So an estimate is the same bits alone, in any batch, for any number of threads and, with an encoder
that does not read the future, as a beginning of a longer sequence; sequences that begin alike part where they differ.

*Estimates.*  Where the encoder does not read the future, a particle filter: particles draw their latent vectors from
the encoder, are weighed (B4), and resampled where the effective number falls below half of them (C. J. Maddison and
others, Filtering variational objectives, 2017).  One that does reads what is to come into each draw, so resampling
would only lose: whole sequences are weighed (importance sampling).  The mean weight is unbiased for the density; its
logarithm is low on average.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .checks import allocated, check_finite, check_memory
from .density import Fitted
from .front import Reader
from .latent_model import LatentModel, frame_shares, repeated
from .particles import Gaps, Walk
from .weights import log_mean, relative_error, resampled, shares, systematic

__all__ = ["BoundFrames"]

HELD = 1 << 14  # draws of frames that are held at a time
SHARE_OF_PRIOR = 0.5  # of particles at a frame of which something is missing


class BoundFrames(NamedTuple):
    """The terms of the bound in nats, each (T_i,) or a list of such: the mean log-density of a frame given its latent
    vector, and the divergence of the encoder from the prior.  The first less the second is the frame's share."""

    reconstruction: np.ndarray
    kl: np.ndarray


def hash_after(hashed, frame):
    """The 64 bits of a sequence up to a frame (D,), from those of its frames before, 0 where there is none."""
    content = hashed.to_bytes(8, "little") + (np.asarray(frame, np.float64) + 0.0).tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


@dataclass
class Noise:
    """Random numbers of frames, by their hashes.  repeat: of several independent sets the one."""

    seed: int
    repeat: int = 0

    def __call__(self, hashed, n, J, dtype):
        """(normal (n, J), one uniform) of a frame: in each type the same, rounded."""
        bits = np.random.Philox(key=np.array([self.seed, hashed], np.uint64), counter=[0, 0, 0, self.repeat])
        generator = np.random.Generator(bits)
        uniform = generator.random()
        return generator.standard_normal((n, J)).astype(dtype, copy=False), uniform


class Particles:
    """Weighted particles of n sequences side by side, K each, before their next frames.

    Attributes
    ----------
    state : ndarray of shape (n K, Zp) or None
        Those of the first sequence, then those of the second, and so on.
    log_weight : ndarray of shape (n, K)
        Scaled so that the mean weight is 1.
    """

    def __init__(self, model, n, K, n_threads, *, resamples=True):
        check_memory("particles", (n * K, model.layout.D + model.latent.J + model.layout.Zp))
        self.model, self.K, self.n_threads, self.resamples = model, K, n_threads, resamples
        self.state = model.initial_state(n * K)
        self.log_weight = np.zeros((n, K))

    def copy(self):
        other = object.__new__(Particles)
        other.__dict__ = dict(self.__dict__, log_weight=self.log_weight.copy())
        return other

    def read(self, e, noise, uniform):
        """Go on past the frames e (n, D): the log-density of each given its past, as estimated, (n,).

        noise: (n, K, J); uniform: (n,)."""
        n, K = len(e), self.K
        rows = np.repeat(e, K, axis=0)
        offsets = np.arange(n * K + 1, dtype=np.int64)
        initial = None if self.state is None else (self.state, np.zeros(n * K, np.uint8))
        scores = self.model.forward(
            rows, offsets, noise.reshape(n * K, -1), initial=initial, last=True, n_threads=self.n_threads
        )
        log_weight = self.log_weight[:n] + scores.log_weight.reshape(n, K)
        increments = log_mean(log_weight, 1)
        with np.errstate(invalid="ignore"):
            self.log_weight = np.where(np.isfinite(increments)[:, None], log_weight - increments[:, None], 0.0)
        self.state = scores.last
        if self.resamples and self.state is not None:
            self._resample_where_few(uniform)
        return increments

    def _resample_where_few(self, uniform):
        for i, index in zip(*resampled(self.log_weight, uniform.__getitem__), strict=True):
            rows = slice(i * self.K, (i + 1) * self.K)
            self.state[rows] = self.state[rows][index]
            self.log_weight[i] = 0.0

    def keep(self, n):
        """Go on with the first n sequences."""
        self.log_weight = self.log_weight[:n]
        self.state = None if self.state is None else self.state[: n * self.K]

    def drawn(self, i, n, generator):
        """States (n, Zp) of sequence i, drawn by its weights; None of a VAE."""
        if self.state is None:
            return None
        index = generator.permutation(systematic(shares(self.log_weight[i]), n, generator.random()))
        return np.ascontiguousarray(self.state[i * self.K : (i + 1) * self.K][index])


class LatentWalk(Walk):
    """Particles of a network with latent vectors, side by side.

    Frames that are known have their latent vectors drawn from the encoder, and one that reads the future reads as far
    as they go.  A frame of which nothing is known has them from the prior.  For the others, half of the particles, by
    lot, draw from the prior and half from the encoder that reads typical values in the place of what is missing; all
    weigh by the density of that mixture, so that no weight is above twice that of a draw from the prior (T. Hesterberg,
    Weighted average importance sampling and defensive mixture distributions, 1995).
    """

    starts_late = False

    def __init__(self, density, state, n, n_threads):
        super().__init__(density, state, n, n_threads)
        self.latent = None  # (n, J), of the frame that was met

    @property
    def draws(self):
        return not self.density.exact

    def take(self, index):
        super().take(index)
        if self.latent is not None:
            self.latent = np.ascontiguousarray(self.latent[index])

    def frame(self, T=1):
        return super().frame(T) | {"given": self.latent}

    def at_once(self, n_frames):
        return n_frames if self.density.smooths or self.density.exact else 1

    def _noise(self, rows, generator):
        return generator.standard_normal((rows, self.model.latent.J)).astype(self.model.dtype)

    def read(self, e, T, generator):
        scores = self.model.forward(e, noise=self._noise(len(e), generator), **super().frame(T), last=True)
        self.state = scores.last
        return scores.log_weight.reshape(self.n, T, 1)

    def draw(self, given, generator):
        self.latent, context = self.model.prior(self.state, self._noise(self.n, generator), n_threads=self.n_threads)
        numbers = self.density.noise((self.n, 1, self.model.layout.D), generator)
        e = self.model.sample_frame(context, *numbers, n_threads=self.n_threads)
        self.state = self.model.forward(e, noise=None, **self.frame(), alone=True, last=True).last
        return e.astype(np.float64)

    def meet(self, e, generator):
        noise, J = self._noise(self.n, generator), self.model.latent.J
        if not J:
            self.latent = noise
            return None
        of_frame = super().frame()
        found = self.model.forward(e, noise=noise, **of_frame, normals=True).normals.astype(np.float64)
        (mp, sp), (mq, sq) = found[:, :2].swapaxes(0, 1), found[:, 2:].swapaxes(0, 1)
        from_prior = generator.random((self.n, 1)) < SHARE_OF_PRIOR
        self.latent = np.where(from_prior, mp + sp * noise, mq + sq * noise).astype(self.model.dtype)
        of_prior, of_encoder = (
            (-0.5 * ((self.latent - m) / s) ** 2 - np.log(s)).sum(axis=1) for m, s in ((mp, sp), (mq, sq))
        )
        with np.errstate(divide="ignore"):
            return of_prior - np.logaddexp(np.log(SHARE_OF_PRIOR) + of_prior, np.log1p(-SHARE_OF_PRIOR) + of_encoder)

    def finish(self, e, T=1):
        scores = self.model.forward(e, noise=None, **self.frame(T), alone=True, dims=True, last=True)
        self.state = scores.last
        return scores.dims


class LatentDensity(Fitted):
    """One density with latent vectors."""

    network = LatentModel
    walk = LatentWalk

    @classmethod
    def untrained(cls, front, layout, generator, freedom=np.inf):
        made = super().untrained(front, layout, generator, freedom)
        made.model.seed = int(generator.integers(2**63))
        return made

    def to_file(self):
        state, arrays = super().to_file()
        return state | {"noise_seed": self.model.seed}, arrays

    @classmethod
    def _network(cls, layout, theta, state):
        if layout.latent is None or type(state["noise_seed"]) is not int or not 0 <= state["noise_seed"] < 2**63:
            raise ValueError("the parameters are of no latent-variable model")
        return LatentModel(layout, theta, state["noise_seed"])

    @property
    def smooths(self):
        """Whether a frame's latent vector is drawn with what comes after."""
        return self.model.latent.smooths

    @property
    def exact(self):
        """Whether there is no latent vector."""
        return self.model.latent.J == 0

    # ---- noise -------------------------------------------------------------------------------------------------

    def _of_frames(self, data, K, repeat=0, rows=None):
        """(noise (m, K, J), uniform (m,)) of the frames `rows`, those of whole sequences."""
        J, dtype, draw = self.model.latent.J, self.model.dtype, Noise(self.model.seed, repeat)
        rows = slice(0, data.n_frames) if rows is None else rows
        lay = self.model.layout
        check_memory("particles", (K, lay.D + J + lay.Zp))
        noise = allocated("the noise of particles", (rows.stop - rows.start, K, J), dtype)
        uniform = np.empty(len(noise))
        begins = set(data.offsets[:-1].tolist())
        hashed = 0
        for i, frame in enumerate(data.frames[rows]):
            hashed = hash_after(0 if rows.start + i in begins else hashed, frame)
            noise[i], uniform[i] = draw(hashed, K, J, dtype)
        return noise, uniform

    def _batches(self, data, K):
        """Sequences first ... end - 1 of which K copies may be held at a time."""
        first = 0
        while first < data.n_sequences:
            end = int(np.searchsorted(data.offsets, data.offsets[first] + max(1, HELD // K), side="right")) - 1
            end = max(end, first + 1)
            yield first, end
            first = end

    def _copies(self, e, data, first, end, noise):
        """K copies of sequences first ... end - 1, one behind the other: (e, offsets, noise (K m, J))."""
        a, b, K = data.offsets[first], data.offsets[end], noise.shape[1]
        copies, offsets = repeated(e[a:b], data.offsets[first : end + 1] - a, K)
        return copies, offsets, np.ascontiguousarray(noise.swapaxes(0, 1)).reshape(K * (b - a), -1)

    # ---- estimates ---------------------------------------------------------------------------------------------

    def frames(self, data, n_threads=1, n_particles=64, repeat=0):
        """Log-density of each frame given its past, in nats, in the units of X, as estimated (exact where there is no
        latent vector): (M,); with the gaps integrated out."""
        if data.has_gaps:
            return self._frames_with_gaps(data, n_threads, n_particles)
        K = 1 if self.exact else n_particles
        e, jacobian = self.encode(data)
        found = np.empty(data.n_frames)
        for first, end in self._batches(data, K):
            a, b = int(data.offsets[first]), int(data.offsets[end])
            noise, uniform = self._of_frames(data, K, repeat, slice(a, b))
            if self.smooths or not self.model.layout.Zp:
                copies, offsets, numbers = self._copies(e, data, first, end, noise)
                log_w = self.model.forward(copies, offsets, numbers, n_threads=n_threads).log_weight.reshape(K, b - a)
                found[a:b] = frame_shares(log_w, data.offsets[first : end + 1] - a)
            else:
                self._filter(found, e, data, first, end, noise, uniform, K, n_threads)
        self.front.to_units_of_x(jacobian, found)
        check_finite("the estimated log-density", found, data.place, below=True)
        return found

    def gaps(self, data, generator, n_threads):
        """(the sequences that miss something, as `Gaps`, their indices, and those of the others)."""
        gaps = Gaps(self, data, generator or np.random.default_rng(self.model.seed), n_threads)
        incomplete = gaps.first < data.lengths
        return gaps, np.flatnonzero(incomplete), np.flatnonzero(~incomplete)

    def _frames_with_gaps(self, data, n_threads, n_particles):
        gaps, incomplete, complete = self.gaps(data, None, n_threads)
        found = np.zeros(data.n_frames)
        if len(complete):
            found[data.rows(complete)] = self.frames(data.subset(complete), n_threads, n_particles)
        for s in incomplete:
            rows = slice(data.offsets[s] + gaps.begin[s], data.offsets[s] + gaps.end[s])
            found[rows] = gaps.estimate(s, n_particles, 1)[0].sum(axis=1)
        check_finite("the estimated log-density", found, data.place, below=True)
        return found

    def likelihood(self, data, n_particles, n_repeats, generator=None, n_threads=1, with_gaps=None):
        """(log-likelihood, standard error) of what each sequence holds, each (N,), from n_repeats estimates, with other
        numbers of particles where something is missing."""
        total, error = np.zeros(data.n_sequences), np.zeros(data.n_sequences)
        if data.has_gaps:
            gaps, incomplete, complete = self.gaps(data, generator, n_threads)
            if len(complete):
                whole = data.subset(complete), n_particles, n_repeats
                total[complete], error[complete] = self.likelihood(*whole, n_threads=n_threads)
            for s in incomplete:
                found, error[s] = gaps.estimate(s, with_gaps or n_particles, n_repeats)
                total[s] = found.sum()
            check_finite("the estimated log-likelihood", total, lambda s: data.place(data.offsets[s]), below=True)
            return total, error
        totals = np.empty((data.n_sequences, 1 if self.exact else n_repeats))  # a sum of a row has the bits of its own
        for repeat in range(totals.shape[1]):
            frames = self.frames(data, n_threads, n_particles, repeat)
            totals[:, repeat] = [frames[a:b].sum() for a, b in data.slices]
        if self.exact:
            return totals[:, 0], error
        return log_mean(totals, -1), relative_error(totals)

    def _filter(self, found, e, data, first, end, noise, uniform, K, n_threads):
        """The particle estimate for sequences first ... end - 1, side by side."""
        starts, lengths = data.offsets[first:end], data.lengths[first:end]
        order = np.argsort(-lengths, kind="stable")
        particles = Particles(self.model, end - first, K, n_threads)
        a = data.offsets[first]
        for t in range(int(lengths.max())):
            rows = starts[order[: np.count_nonzero(lengths > t)]] + t
            particles.keep(len(rows))
            found[rows] = particles.read(e[rows], noise[rows - a], uniform[rows - a])
        return particles

    def particles_after(self, data, K, n_threads=1):
        """Particles behind the last frame of one sequence."""
        e = self.encode(data)[0]
        noise, uniform = self._of_frames(data, K)
        if not self.smooths:
            return self._filter(np.empty(data.n_frames), e, data, 0, 1, noise, uniform, K, n_threads)
        copies, offsets, numbers = self._copies(e, data, 0, 1, noise)
        scores = self.model.forward(copies, offsets, numbers, last=True, n_threads=n_threads)
        particles = Particles(self.model, 1, K, n_threads, resamples=False)
        log_w = scores.log_weight.reshape(1, K, -1).sum(axis=2)
        particles.state, particles.log_weight = scores.last, log_w - log_mean(log_w, 1)[:, None]
        return particles

    def bound(self, data, n_draws, n_threads=1):
        """(reconstruction, divergence) of each frame, means of n_draws draws, each (M,), in the units of X."""
        e, jacobian = self.encode(data)
        reconstruction, divergence = np.empty(data.n_frames), np.empty(data.n_frames)
        K = 1 if self.exact else n_draws
        for first, end in self._batches(data, K):
            rows = slice(int(data.offsets[first]), int(data.offsets[end]))
            copies = self._copies(e, data, first, end, self._of_frames(data, K, rows=rows)[0])
            scores = self.model.forward(*copies, n_threads=n_threads)
            for found, of_draws in ((reconstruction, scores.reconstruction), (divergence, scores.divergence)):
                found[rows] = np.ascontiguousarray(of_draws.reshape(K, -1).T).mean(axis=1)  # alone the same bits
        self.front.to_units_of_x(jacobian, reconstruction)
        check_finite("the bound", reconstruction - divergence, data.place, below=True)
        return reconstruction, divergence

    def codes(self, data, n_threads=1):
        """(M, J): the means of the encoder, each after the means before it."""
        e = self.encode(data)[0]
        noise = np.zeros((data.n_frames, self.model.latent.J), self.model.dtype)
        return self.model.forward(e, data.offsets, noise, latent=True, n_threads=n_threads).latent

    def reconstructed(self, data, n_threads=1):
        """(M, D), in the units and the order of X: the mean of each dimension given the codes, the past and the
        dimensions before it."""
        e = self.encode(data)[0]
        noise = np.zeros((data.n_frames, self.model.latent.J), self.model.dtype)
        outputs = self.model.forward(e, data.offsets, noise, parameters=True, n_threads=n_threads).parameters
        mean = np.asarray(self.head.distribution.of_outputs(outputs).mean(), np.float64)
        moved = self.front.location_and_scale(data.frames, data.offsets)
        if moved is not None:
            location, scale = moved
            mean = location + scale * mean
        check_finite("the reconstruction", mean, lambda row, d: data.place(row, d))
        return self.front.back(mean)

    def gradient(self, data, noise, importance, n_threads=1):
        """(gradient of the total bound by the flat parameters, its value): that of one draw, or, with `importance`,
        that of the draws of noise (K, M, J) together."""
        e, jacobian = self.encode(data)
        K = len(noise)
        numbers = np.ascontiguousarray(noise.reshape(K * len(e), -1), self.model.dtype)
        weight = np.ones(len(e), self.model.dtype)
        gradient, frames, _ = self.model.gradient(
            e, data.offsets, weight, noise=numbers, n_samples=K, sampled=importance, n_threads=n_threads
        )
        value = frames.sum()
        if jacobian is not None:
            value += np.broadcast_to(jacobian, e.shape).sum()
        check_finite("the gradient", gradient, lambda i: "of the parameters")
        return gradient, float(value)

    # ---- draws -------------------------------------------------------------------------------------------------

    def draw(self, n_samples, n_frames, generator, given=None, n_particles=64, n_threads=1):
        """Draw sequences (n_samples, n_frames, D) from the model, after `given`, one sequence, if there is one: then
        from states that particles hold after it."""
        model, D, J = self.model, self.model.layout.D, self.model.latent.J
        x = allocated("draws", (n_samples, n_frames, D))
        state = model.initial_state(n_samples)
        if given is not None:
            state = self.particles_after(given, 1 if self.exact else n_particles, n_threads).drawn(
                0, n_samples, generator
            )
        reader = Reader(self.front, n_samples, None if given is None else given.frames)
        offsets = np.arange(n_samples + 1, dtype=np.int64)
        everything = np.arange(n_samples)
        with np.errstate(over="ignore", invalid="ignore"):
            for t in range(n_frames):
                latent, context = model.prior(
                    state, generator.standard_normal((n_samples, J), model.dtype), n_threads=n_threads
                )
                e = model.sample_frame(context, *self.noise((n_samples, 1, D), generator), n_threads=n_threads)
                x[:, t] = reader.decode(e, everything)
                check_finite("a draw", x[:, t], lambda i, d, t=t: f"sample {i}, frame {t}, dimension {d}")
                if t + 1 < n_frames:
                    e = np.ascontiguousarray(reader.read(x[:, t])[0])
                    initial = None if state is None else (state, np.zeros(n_samples, np.uint8))
                    state = model.forward(
                        e, offsets, None, initial=initial, given=latent, alone=True, last=True, n_threads=n_threads
                    ).last
        return x
