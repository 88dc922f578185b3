"""A network with a latent vector and its parameters: the calls of the compiled core on packed frames.

The core takes frames step by step (core/latent.pxi); here they are sequences end to end, as everywhere else.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from . import _core
from .model import SLICE, SLICE_BYTES, Network, slices
from .training import WARM_UPDATES
from .weights import increments, log_mean, relative

TERMS = ("reconstruction", "divergence", "ratio", "dims", "normals", "latent", "context", "parameters")


@dataclass(frozen=True)
class LatentScores:
    """What one pass with one latent vector a frame gives, in nats, each (M,), if asked for: log p(x | y, past), the
    divergence of the encoder from the prior, and log p(y) - log q(y); dims (M, D), the terms of the first,
    normals (M, 4, J), means and scales of prior and encoder, latent (M, J), context (M, C), parameters
    (M, D, P) and last (N, Zp)."""

    reconstruction: np.ndarray | None = None
    divergence: np.ndarray | None = None
    ratio: np.ndarray | None = None
    dims: np.ndarray | None = None
    normals: np.ndarray | None = None
    latent: np.ndarray | None = None
    context: np.ndarray | None = None
    parameters: np.ndarray | None = None
    last: np.ndarray | None = None

    @property
    def frames(self):
        """The share of each frame in the bound (B2)."""
        return self.reconstruction - self.divergence

    @property
    def log_weight(self):
        """The share of each frame in the logarithm of the weight of these latent vectors (B3)."""
        return self.reconstruction + self.ratio


class WeightedScores(NamedTuple):
    """The share of each frame in the logarithm of the mean weight of its sequence, (M,)."""

    frames: np.ndarray


def frame_shares(log_w, offsets):
    """(M,): what each frame adds to the logarithm of the mean weight of its sequence, from the log-weights (K, M)."""
    found = np.empty(log_w.shape[1])
    for a, b in pairwise(offsets):
        found[a:b] = increments(log_mean(np.cumsum(log_w[:, a:b], axis=1), 0))
    return found


class Steps:
    """Sequences step by step: the first frames of all, the longest sequence first, then the second ones, and so on.

    Attributes
    ----------
    starts : ndarray of shape (T + 1,), int64
    rows : ndarray of shape (M,) or slice
        Of packed frames, in the order of steps.
    sequences : ndarray of shape (N,) or slice
        In the order in which they stand in a step.
    """

    def __init__(self, offsets):
        lengths = np.diff(offsets)
        N, T = len(lengths), int(lengths.max(initial=0))
        if T <= 1:
            self.starts, self.rows, self.sequences = (
                np.array([0, N][: 2 if N else 1], np.int64),
                slice(None),
                slice(None),
            )
            return
        if N == 1:
            self.starts, self.rows, self.sequences = np.arange(T + 1, dtype=np.int64), slice(None), slice(None)
            return
        self.sequences = np.argsort(-lengths, kind="stable")
        rank = np.empty(N, np.int64)
        rank[self.sequences] = np.arange(N)
        self.starts = np.zeros(T + 1, np.int64)
        np.cumsum(N - np.searchsorted(np.sort(lengths), np.arange(T), side="right"), out=self.starts[1:])
        of_row = np.repeat(np.arange(N), lengths)
        time = np.arange(len(of_row)) - np.repeat(offsets[:-1], lengths)
        self.rows = np.empty(len(of_row), np.int64)
        self.rows[self.starts[time] + rank[of_row]] = np.arange(len(of_row))

    def taken(self, array):
        """Packed rows in the order of steps."""
        return array if array is None else np.ascontiguousarray(array[self.rows])

    def back(self, array):
        """And back."""
        if array is None or isinstance(self.rows, slice):
            return array
        packed = np.empty_like(array)
        packed[self.rows] = array
        return packed


def repeated(x, offsets, n):
    """n copies of packed sequences, one behind the other: (x, offsets)."""
    begins = (np.arange(n)[:, None] * len(x) + offsets[:-1]).ravel()
    return np.tile(x, (n, 1)), np.append(begins, n * len(x)).astype(np.int64)


class LatentModel(Network):
    """A network with a latent vector, on packed frames.

    Parameters
    ----------
    layout : Layout
        One with latent nets.
    theta : ndarray of shape (layout.size,)
        float32 or float64; the type of all arithmetic.
    seed : int
        Of the noise with which a bound is estimated where none is given.
    """

    columns = ("kl",)  # of the history, beside those of all models

    def __init__(self, layout, theta, seed=0):
        super().__init__(layout, theta)
        self.seed = seed

    @property
    def latent(self):
        return self.layout.latent

    def with_theta(self, theta):
        """The same network with other parameters."""
        return LatentModel(self.layout, theta, self.seed)

    def _frames(self, x, steps, noise, initial, given=None):
        fresh = state = None
        if self.layout.Zp and initial is not None:
            state, fresh = initial
            state = np.ascontiguousarray(state[steps.sequences], self.dtype)
            fresh = np.ascontiguousarray(fresh[steps.sequences])
        return _core.LatentFrames(steps.taken(x), steps.starts, steps.taken(noise), steps.taken(given), fresh, state)

    @cached_property
    def _most(self):
        """Frames whose rows may be held at a time."""
        lay, nets = self.layout, self.latent
        of_row = 5 * nets.n_dense * lay.Cp + 8 * lay.Jp + 4 * (lay.Sp + lay.Ap) + lay.D
        return max(SLICE_BYTES // (of_row * self.dtype.itemsize), 256)

    def fixed_noise(self, M):
        """(M, J): the noise of a bound for which none is given, the same in each call."""
        return np.random.default_rng(self.seed).standard_normal((M, self.latent.J), self.dtype)

    def forward(
        self, x, offsets, noise, *, initial=None, given=None, alone=False, dims=False, normals=False, latent=False,
        context=False, parameters=False, last=False, n_threads=1,
    ):  # fmt: skip
        """One latent vector a frame, and what it says.

        Parameters
        ----------
        x : ndarray of shape (M, D), C-contiguous, of the model's type
        offsets : ndarray of shape (N + 1,), int64
        noise : ndarray of shape (M, J), of the model's type
        initial : None or (states, fresh)
            As in `Model.log_density`, with states (N, Zp).
        given : ndarray of shape (M, J), optional
            The latent vectors, in the place of those of `noise`.
        alone : bool
            Of given latent vectors, neither the terms of the encoder nor, unless `dims` or `parameters` are asked for,
            log p(x | y, past).
        dims, normals, latent, context, parameters, last : bool
            What to return beside.

        Returns
        -------
        LatentScores
        """
        lay, M, N = self.layout, len(x), len(offsets) - 1
        J, dtype = self.latent.J, self.dtype
        wanted = {
            "normals": (normals, (M, 4, J)), "latent": (latent, (M, J)), "context": (context, (M, lay.C)),
            "parameters": (parameters, (M, lay.D, lay.P)),
        }  # fmt: skip
        found = {name: np.empty(shape, dtype) for name, (is_wanted, shape) in wanted.items() if is_wanted}
        if not alone or dims or parameters:
            found["reconstruction"] = np.empty(M)
        if not alone:
            found |= {name: np.empty(M) for name in ("divergence", "ratio")}
        if dims:
            found["dims"] = np.empty((M, lay.D))
        ends = np.zeros((N, lay.Zp), dtype) if lay.Zp else None
        for i, j, begin, end in slices(offsets, self._most, whole=self.latent.smooths):
            start, inside = initial, np.clip(offsets[i : j + 1], begin, end) - begin
            if begin > offsets[i]:  # from the piece before
                start = ends[i:j], np.zeros(1, np.uint8)
            elif initial is not None:
                start = initial[0][i:j], initial[1][i:j]
            rows, steps = slice(begin, end), Steps(inside)
            of_rows = [None if one is None else one[rows] for one in (noise, given)]
            batch = self._frames(x[rows], steps, of_rows[0], start, of_rows[1])
            part = {name: np.empty_like(array[rows]) for name, array in found.items()}
            after = np.zeros((j - i, lay.Zp), dtype) if lay.Zp else None
            _core.latent_forward(self.network, self.theta, batch, *(part.get(name) for name in TERMS), after, n_threads)
            for name, array in part.items():
                found[name][rows] = steps.back(array)
            if ends is not None:
                ends[i:j][steps.sequences] = after
        return LatentScores(**found, last=ends if last else None)

    def outputs(self, x, offsets, *, given, initial=None, n_threads=1):
        """Scores given latent vectors (M, J) with the parameters of all conditionals, as `Model.outputs` has them; no
        sequence is cut."""
        lay = self.layout
        for i, j, begin, end in slices(offsets, max(1, SLICE // (lay.D * lay.P)), whole=True):
            start = None if initial is None else (initial[0][i:j], initial[1][i:j])
            inside, rows = offsets[i : j + 1] - begin, slice(begin, end)
            own = {"initial": start, "given": given[rows], "alone": True, "n_threads": n_threads}
            yield rows, self.forward(x[rows], inside, None, **own, dims=True, parameters=True)

    def log_density(self, x, offsets, *, dims=False, n_samples=1, n_threads=1):
        """With the fixed noise: `frames` are the bound's, or those of the importance-weighted one of n_samples > 1."""
        if n_samples == 1:
            return self.forward(x, offsets, self.fixed_noise(len(x)), dims=dims, n_threads=n_threads)
        copies, ends = repeated(x, offsets, n_samples)
        log_w = self.forward(copies, ends, self.fixed_noise(len(copies)), n_threads=n_threads).log_weight
        return WeightedScores(frame_shares(log_w.reshape(n_samples, -1), offsets))

    def gradient(
        self, x, offsets, weight, *, noise, initial=None, kl_weight=1.0, free_nats=0.0, n_samples=1, sampled=False,
        out=None, n_threads=1,
    ):  # fmt: skip
        """Gradient of sum_i weight_i (log p_i - kl_weight KL_i) by the flat parameters, and the terms of each frame.

        With n_samples > 1 that of the importance-weighted bound instead: the logarithm of the mean weight of so many
        draws of a sequence (Y. Burda, R. Grosse and R. Salakhutdinov, Importance weighted autoencoders, 2016).

        Parameters
        ----------
        x, offsets, initial
            As in `forward`.
        weight : ndarray of shape (M,), of the model's type
            With n_samples > 1 one for all frames of a sequence.
        noise : ndarray of shape (n_samples M, J), of the model's type
            All frames of the first draw, then those of the second, and so on.
        sampled : bool
            With one draw, too, the gradient of the logarithm of its weight, in which the divergence is sampled.
        kl_weight, free_nats : float
            Of the divergence; and its mean of a latent number below which this number is not pressed.

        Returns
        -------
        gradient : ndarray of shape (layout.size,)
        frames : ndarray of shape (M,)
            Of the bound, with kl_weight 1; of the importance-weighted one, where that or `sampled` is asked for.
        divergence : ndarray of shape (M,)
            Of the first draw.
        """
        M, N, K = len(x), len(offsets) - 1, n_samples
        gradient = np.empty_like(self.theta) if out is None else out
        if K > 1:
            x, offsets = repeated(x, offsets, K)
            weight = np.tile(weight, K)
            if initial is not None:
                initial = np.tile(initial[0], (K, 1)), np.tile(initial[1], K)
            scores = self.forward(x, offsets, noise, initial=initial, n_threads=n_threads)
            log_w = np.add.reduceat(scores.reconstruction + kl_weight * scores.ratio, offsets[:-1]).reshape(K, N)
            share, _ = relative(log_w, 0)
            share = np.repeat((share / share.sum(axis=0)).ravel(), np.diff(offsets))
            weight = (weight * share).astype(self.dtype)
        steps = Steps(offsets)
        terms = [np.empty(len(x)) for _ in range(3)]
        press = (kl_weight * weight).astype(self.dtype)
        _core.latent_gradient(
            self.network, gradient, *terms, self.theta, self._frames(x, steps, noise, initial), steps.taken(weight),
            steps.taken(press), free_nats, sampled or K > 1, n_threads,
        )  # fmt: skip
        reconstruction, divergence, ratio = map(steps.back, terms)
        if sampled or K > 1:
            frames = frame_shares((reconstruction + ratio).reshape(K, M), offsets[: N + 1])
        else:
            frames = reconstruction - divergence
        return gradient, frames, divergence[:M]

    def noise(self, frames, options, generator, update):
        """What a training batch asks of `gradient`: the noise, and how the divergence weighs after `update` updates."""
        K = options.n_importance
        warmup = WARM_UPDATES if options.kl_warmup is None else options.kl_warmup  # None: of `partial_fit`
        warm = min(1.0, update / warmup) if warmup else 1.0
        return {
            "noise": generator.standard_normal((K * len(frames), self.latent.J), self.dtype),
            "kl_weight": options.kl_start + (1 - options.kl_start) * warm,
            "free_nats": options.free_nats,
            "n_samples": K,
        }

    def judging(self, options):
        """What validation asks of `log_density`: the bound that is trained."""
        return {"n_samples": options.n_importance}

    def states(self, x, offsets, rows, *, n_threads=1):
        """(len(rows), Zp): what goes on at frames `rows`, ascending, drawn with the fixed noise; None of a VAE."""
        if not self.layout.Zp:
            return None
        noise, out = self.fixed_noise(len(x)), np.empty((len(rows), self.layout.Zp), self.dtype)
        begins = np.unique(np.concatenate([offsets[:-1], rows]))  # of pieces
        of_piece = np.searchsorted(offsets, begins, side="right") - 1
        ends = np.append(begins[1:], offsets[-1])
        place = np.arange(len(begins)) - np.searchsorted(of_piece, of_piece)  # in its sequence
        state, fresh = self.initial_state(len(offsets) - 1), np.ones(len(offsets) - 1, np.uint8)
        for k in range(int(place.max(initial=0)) + 1):  # the k-th pieces of all sequences side by side
            pieces = np.flatnonzero(place == k)
            s = of_piece[pieces]
            asked = np.searchsorted(rows, begins[pieces])
            hit = (asked < len(rows)) & (rows[np.minimum(asked, len(rows) - 1)] == begins[pieces])
            out[asked[hit]] = state[s[hit]]
            lengths = ends[pieces] - begins[pieces]
            inside = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            which = np.concatenate([np.arange(a, b) for a, b in zip(begins[pieces], ends[pieces], strict=True)])
            found = self.forward(
                np.ascontiguousarray(x[which]), inside, noise[which], initial=(state[s], fresh[s]), last=True,
                n_threads=n_threads,
            )  # fmt: skip
            state[s], fresh[s] = found.last, 0
        return out

    def initial_state(self, n):
        """(n, Zp): the learned beginning, once for each sequence; None of a VAE."""
        lay = self.layout
        return np.tile(self.theta[lay.first_state :][: lay.Zp], (n, 1)) if lay.Zp else None

    def prior(self, state, noise, *, n_threads=1):
        """(latent (n, J), context (n, C)) drawn from the prior after states (n, Zp)."""
        latent, context = np.empty_like(noise), np.empty((len(noise), self.layout.C), self.dtype)
        _core.latent_prior(self.network, latent, context, self.theta, state, noise, n_threads)
        return latent, context

    def sample_frame(self, context, uniform, noise, *, n_threads=1):
        """Frames (n, D) drawn given their context (n, C); uniform, noise: (n, 1, D) as in `Model.sample`."""
        x = np.empty_like(uniform)
        _core.latent_sample(self.network, x, self.theta, uniform, noise, np.ascontiguousarray(context), n_threads)
        return x[:, 0]
