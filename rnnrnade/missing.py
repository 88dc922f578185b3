"""Missing values: likelihoods with the gaps integrated out, and imputations.

Design
------
*What is exact.*  The factors of (1) come in a fixed order: frame by frame, in a frame dimension by dimension (in the
model's `order`).  Integrating out what comes last drops its factors, exactly: whole frames at the end of a sequence,
and trailing dimensions of the last frame that holds anything.  Trailing dimensions of an earlier frame are no such
case: the recurrent state reads them, so what follows depends on them.  Of vectors each row is a sequence of one frame.
The transform is triangular, so that this holds in the units of X, too.

*Everything else* is sequential Monte Carlo (N. J. Gordon, D. J. Salmond, A. F. M. Smith, Novel approach to
nonlinear/non-Gaussian Bayesian state estimation, 1993; A. Doucet, A. M. Johansen, A tutorial on particle filtering and
smoothing, 2009): particles are completed sequences.  A missing number is drawn from its exact conditional given what
the particle holds before it, an observed one multiplies the particle's weight by its exact conditional density, and
where the effective number of particles falls below half of them, they are resampled (systematically) before the next
draw.  The mean weight is an unbiased estimate of the likelihood for any number of particles; its logarithm is low by
about half the squared standard error.  Frames before the first gap are computed once and exactly.

*Units.*  Particles hold z, the standardised columns, and e, what the network reads; without a transform these are x.
Draws are of e.  A frame in whose reach (the transform's lags) nothing is missing has the same e in all particles.

*Bits.*  Random numbers come from the seed and the bytes of the sequence itself, so a sequence's score is the same
alone, in any batch, and for any number of threads, and the errors of different sequences are independent.
"""

import hashlib
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .checks import as_generator
from .heads import HEADS
from .model import Scores

__all__ = ["LikelihoodEstimate", "MissingValues"]

PARTICLES = 1000
REPEATS = 10
GAPS = "gaps are integrated out in one order. Ask one of members_, or score complete data."
HELD = 1 << 20  # log-densities of dimensions that particles hold at a time


class LikelihoodEstimate(NamedTuple):
    """Log-likelihoods in nats and their standard errors (0 where exact): one of each for a sequence or row, (N,)."""

    log_likelihood: np.ndarray
    standard_error: np.ndarray


class MissingValues:
    """What estimators do with missing values, NaN, where the option `missing` is "marginalize"."""

    def log_likelihood_missing(self, X, n_particles=PARTICLES, random_state=None, *, n_repeats=REPEATS, lengths=None):
        """Log-likelihood of what X holds, its missing values (NaN) integrated out, with its standard error.

        Exact where nothing is missing but whole frames at the end of a sequence and trailing dimensions (in the
        model's order) of the last frame that holds anything; for vectors: trailing dimensions of a row.  Otherwise
        Monte Carlo: the mean over `n_repeats` independent particle filters, an unbiased estimate of the likelihood.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_particles : int, default=1000
            Of each filter.
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        n_repeats : int, default=10
            Filters; >= 2, since their spread gives the standard error.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        LikelihoodEstimate
            log_likelihood and standard_error, each (N,): one for each sequence or row.  The standard error is that of
            the likelihood relative to it, to first order that of its logarithm.

        Raises
        ------
        ValueError
            For NaN in an ensemble of orders, or where the option `missing` is None.
        """
        data, generator = self._with_gaps(X, lengths, random_state, n_particles=n_particles, n_repeats=n_repeats)
        if n_repeats < 2:
            raise ValueError("n_repeats must be at least 2: the spread of the repeats gives the standard error.")
        error = np.zeros(data.n_sequences)
        if data.has_gaps:
            frames = marginal_scores(self, data, self._n_threads(), generator, n_particles, n_repeats, error).frames
        else:
            frames = self._scores_of_frames(data)
        of_sequences = np.split(frames, data.offsets[1:-1])
        return LikelihoodEstimate(np.array([part.sum() for part in of_sequences]), error)

    def impute(self, X, n_samples=1, random_state=None, *, n_particles=PARTICLES, lengths=None):
        """Draw the missing values (NaN) of X given all that it holds, before and after them.

        Exact, independent draws where nothing that is held comes after what is missing (as in
        `log_likelihood_missing`); otherwise draws from the particles of one filter, whose distribution tends to the
        exact one as their number grows and which are not quite independent of each other: the further back a gap is,
        the fewer different values the particles still hold there.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_samples : int, default=1
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        n_particles : int, default=1000
            At least n_samples are used.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (n_samples, T_i, D), or one of them for one 2-D X, or (n_samples, n, D) for vectors
            What X holds stands unchanged in each.

        Raises
        ------
        ValueError
            For NaN in an ensemble of orders, or where the option `missing` is None.
        """
        data, generator = self._with_gaps(X, lengths, random_state, n_samples=n_samples, n_particles=n_particles)
        filled = np.tile(np.asarray(data.frames, np.float64), (n_samples, 1, 1))
        if data.has_gaps:
            gaps = Gaps(self, data, self._n_threads(), generator)
            for s in range(data.n_sequences):
                rows = slice(*data.offsets[s : s + 2])
                if gaps.missing[rows].any():
                    x = gaps.impute(s, n_samples, n_particles)
                    filled[:, rows] = x if self.order_ is None else x[:, :, np.argsort(self.order_)]
        if data.form in ("vectors", "2d"):
            return filled
        return np.split(filled, data.offsets[1:-1], axis=1)

    def _with_gaps(self, X, lengths, random_state, **counts):
        check_is_fitted(self)
        if lengths is not None and not self._recurrent:
            raise TypeError(f"{type(self).__name__} takes vectors, one a row: leave lengths out.")
        data = self._check(X, lengths, gaps=True)
        if data.has_gaps:
            self._refuse_ensemble(GAPS)
        for name, value in counts.items():
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an int in the range [1, inf). Got {value!r} instead.")
        return data, _generator(self, random_state)


def _generator(estimator, random_state=None):
    return as_generator(estimator.random_state if random_state is None else random_state)


def marginal_scores(estimator, data, n_threads, generator=None, n_particles=PARTICLES, n_repeats=1, error=None):
    """Scores of frames and dimensions (in the model's order) with the gaps integrated out: exact, or the increments of
    the estimate.  What is missing counts 0.  error (N,): where to put standard errors."""
    gaps = Gaps(estimator, data, n_threads, _generator(estimator) if generator is None else generator)
    scores = estimator._model.log_density(gaps.e, data.offsets, dims=True, n_threads=n_threads)
    frames, dims = scores.frames, scores.dims
    jacobian = estimator._log_jacobian(data)
    if jacobian is not None:
        frames += jacobian.sum(axis=-1)
        dims += jacobian
    estimated = gaps.missing.any(axis=1)  # frames whose score is not that of a complete frame after a complete past
    for s in range(data.n_sequences):
        if gaps.is_exact(s):
            continue
        begin, end = gaps.first[s], gaps.end[s]
        totals = gaps.filter(s, n_particles, n_repeats).run(begin, end)  # (n_repeats, end - begin, D)
        total = _log_mean(totals, axis=0)
        if error is not None:
            ratio = np.exp(totals[:, -1, -1] - total[-1, -1])
            error[s] = ratio.std(ddof=1) / np.sqrt(n_repeats)
        rows = slice(data.offsets[s] + begin, data.offsets[s] + end)
        dims[rows] = np.diff(total.ravel(), prepend=0.0).reshape(total.shape)
        if jacobian is not None:
            dims[rows] += np.broadcast_to(jacobian, dims.shape)[rows]
        estimated[rows] = True
    dims[gaps.missing] = 0.0
    frames[estimated] = dims[estimated].sum(axis=1)
    return Scores(frames, dims)


class Gaps:
    """Data with missing values, as the model reads them.

    Attributes
    ----------
    x, missing : ndarray of shape (M, D)
        In the model's order; x is 0 where it is missing.
    e : ndarray of shape (M, D)
        What the network reads; right where nothing in the reach of the transform is missing.
    first, end : ndarray of shape (N,)
        Of each sequence the first frame with a gap (its length, if there is none), and the frame after the last one
        that holds anything.
    """

    def __init__(self, estimator, data, n_threads, generator):
        self.model, self.transform, self.n_threads = estimator._model, estimator.transform_, n_threads
        self.offsets, self.seed = data.offsets, int(generator.integers(2**63))
        frames = data.frames if estimator.order_ is None else data.frames[:, estimator.order_]
        self.missing = np.isnan(frames)
        typical = 0.0 if self.transform is None else self.transform.mean_
        self.x = np.ascontiguousarray(np.where(self.missing, typical, frames), np.float64)
        filled = self.x if estimator.order_ is None else self.x[:, np.argsort(estimator.order_)]
        self.e = estimator._encode(type(data)(np.ascontiguousarray(filled), data.offsets, data.form))
        gap, held = self.missing.any(axis=1), ~self.missing.all(axis=1)
        parts = [slice(a, b) for a, b in zip(data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True)]
        self.first = np.array([np.append(gap[part], True).argmax() for part in parts])
        self.end = np.array([(np.flatnonzero(held[part]) + 1).max(initial=0) for part in parts])

    @property
    def lags(self):
        return 0 if self.transform is None else self.transform.lags

    def is_exact(self, s):
        """Whether nothing that sequence s holds comes after what it misses."""
        first, end = self.first[s], self.end[s]
        missing = self.missing[self.offsets[s] + first] if first < end else np.ones(1, bool)
        return bool(first >= end - 1 and missing[missing.argmax() :].all())

    def filter(self, s, n_particles, n_groups):
        """Particles of sequence s before its first gap."""
        a, b = self.offsets[s : s + 2]
        x, missing, held = self.x[a:b], self.missing[a:b], slice(self.end[s])
        content = hashlib.sha256(np.where(missing, np.nan, x)[held].tobytes()).digest()
        generator = np.random.default_rng([self.seed, int.from_bytes(content, "little")])
        state = None
        if self.model.layout.R:
            offsets = np.array([0, b - a], np.int64)
            row = np.array([self.first[s]], np.int64)
            state = self.model.states(self.e[a:b], offsets, row, n_threads=self.n_threads)
        return Filter(self, x, self.e[a:b], missing, state, n_groups, n_particles, generator)

    def impute(self, s, n_samples, n_particles):
        """(n_samples, T, D) in the model's order."""
        T, first, end = self.offsets[s + 1] - self.offsets[s], self.first[s], self.end[s]
        if self.is_exact(s):
            particles = self.filter(s, n_samples, 1)
            particles.run(first, T)
        else:
            particles = self.filter(s, max(n_particles, n_samples), 1)
            particles.run(first, end)
            particles.choose(n_samples)
            particles.run(end, T)
        return particles.completed()


class Filter:
    """Weighted particles of one sequence, in `groups` that are independent of each other.

    Row g n + i of an array is particle i of group g.  log_weight (groups, n) is scaled so that the mean weight of a
    group is its estimate of the likelihood so far.
    """

    def __init__(self, gaps, x, e, missing, state, n_groups, n_particles, generator):
        self.model, self.transform, self.n_threads = gaps.model, gaps.transform, gaps.n_threads
        self.x, self.e, self.missing, self.generator = x, e, missing, generator
        self.lags, self.D = gaps.lags, x.shape[1]
        self.z = x if self.transform is None else self.transform.standardized(x)
        self.log_weight = np.zeros((n_groups, n_particles))
        self.rows = {} if state is None else {"state": np.repeat(state, n_groups * n_particles, axis=0)}
        self.past = []  # z of the last frames, the latest first: arrays of (rows, D)
        self.events = []  # draws (t, d, values) and resamplings (None, None, index), from which paths are traced back

    @property
    def n(self):
        return self.log_weight.size

    def run(self, begin, end):
        """Frames begin ... end - 1: the log of each group's estimate after each dimension, (groups, frames, D)."""
        totals = np.empty((len(self.log_weight), end - begin, self.D))
        reach = np.array([self.missing[max(0, t - self.lags) : t + 1].any() for t in range(begin, end)], bool)
        t = begin
        while t < end:
            if reach[t - begin]:
                self._frame(t, totals[:, t - begin])
                t += 1
            else:
                n_frames = int(np.append(reach, True)[t - begin :].argmax())
                n_frames = min(n_frames, max(1, HELD // (self.n * self.D)))
                totals[:, t - begin : t - begin + n_frames] = self._complete_frames(t, t + n_frames)
                t += n_frames
        return totals

    # ---- frames ---------------------------------------------------------------------------------------------------

    def _complete_frames(self, begin, end):
        """Frames that are the same in all particles: only the states differ."""
        e = np.tile(self.e[begin:end], (self.n, 1))
        scores = self._score(e, end - begin, dims=True, last=True)
        self.rows["state"] = scores.last
        return self._weigh(scores.dims.reshape(self.n, -1)).reshape(-1, end - begin, self.D)

    def _frame(self, t, totals):
        """A frame with gaps, or in whose reach there is one."""
        missing, done = self.missing[t], 0
        past = self._past(t)
        z = np.where(missing, 0.0, self.z[t])
        self.rows |= {"z": np.tile(z, (self.n, 1))} | {("past", i): z for i, z in enumerate(past)}
        if self.transform is not None and not self.transform.is_diagonal:
            self.rows["predicted"] = self.transform.predicted(self.n, past)
        if missing.all():
            self._resample_where_few()
            self._draw_frame(t)
            totals[:] = self._totals()[:, None]
        else:
            for d in np.flatnonzero(missing):
                scores = self._score(self._encoded(len(past)), 1, dims=True, parameters=True)
                totals[:, done:d] = self._weigh(scores.dims[:, done:d])
                done = d + 1
                self.rows["parameters"] = scores.parameters[:, d]
                self._resample_where_few()
                family = HEADS[self.model.layout.head].distribution.of_outputs(self.rows.pop("parameters"))
                self._put(t, d, family.draw(self.generator), len(past))
                totals[:, d] = self._totals()
            scores = self._score(self._encoded(len(past)), 1, dims=True, last=True)
            totals[:, done:] = self._weigh(scores.dims[:, done:])
            if scores.last is not None:
                self.rows["state"] = scores.last
        self.past = [self.rows.pop("z"), *(self.rows.pop(("past", i)) for i in range(len(past)))][: self.lags]
        self.latest = t
        self.rows.pop("predicted", None)

    def _past(self, t):
        """z of the last min(t, lags) frames."""
        q = min(t, self.lags)
        if self.past and self.latest == t - 1:
            return self.past[:q]
        return [np.tile(self.z[t - i], (self.n, 1)) for i in range(1, q + 1)]  # nothing in reach is missing

    def _score(self, e, T, **wanted):
        offsets = T * np.arange(self.n + 1, dtype=np.int64)
        initial = (self.rows["state"], np.zeros(self.n, np.uint8)) if "state" in self.rows else None
        return self.model.log_density(e, offsets, initial=initial, n_threads=self.n_threads, **wanted)

    # ---- units ----------------------------------------------------------------------------------------------------

    def _residuals(self, q):
        """e of the frame at hand, right up to the first dimension that is still missing."""
        z = self.rows["z"]
        return self.transform.scaled(z - self.rows["predicted"], q) if "predicted" in self.rows else z

    def _encoded(self, q):
        return np.ascontiguousarray(self._residuals(q), self.model.dtype)

    def _put(self, t, d, e_d, q):
        """e_d is drawn: z_d, and x_d among the events."""
        e_d = e_d.astype(self.model.dtype).astype(np.float64)
        z = self.rows["z"]
        if "predicted" in self.rows:
            e = self._residuals(q)
            e[:, d] = e_d
            z[:, d] = self.transform.unscaled(self.rows["predicted"], e, q)[:, d]  # L is triangular
        else:
            z[:, d] = e_d
        self.events.append((t, d, self._x(z[:, d], d)))

    def _draw_frame(self, t):
        """A frame of which nothing is known: one call of the sampler."""
        shape = (self.n, 1, self.D)
        head = HEADS[self.model.layout.head]
        uniform, noise = head.numbers(self.generator, shape, self.model.dtype)
        if head.binary:  # what comes after has the random numbers that it always had
            self.generator.standard_normal(shape, self.model.dtype)
        state = self.rows.get("state")
        e = self.model.sample(uniform, noise, state=state, n_threads=self.n_threads)[:, 0].astype(np.float64)
        predicted = self.rows.get("predicted")
        self.rows["z"] = z = e if predicted is None else self.transform.unscaled(predicted, e, min(t, self.lags))
        self.events.append((t, slice(None), self._x(z, slice(None))))

    def _x(self, z, d):
        if self.transform is None:
            return z.copy()
        return self.transform.mean_[d] + self.transform.scale_[d] * z

    # ---- weights --------------------------------------------------------------------------------------------------

    def _totals(self):
        """The logarithm of the mean weight of each group: (groups,)"""
        return _log_mean(self.log_weight, axis=1)

    def _weigh(self, log_p):
        """Multiply the weights by densities log_p (rows, m), one after the other: `_totals` after each, (groups, m)"""
        log_weight = self.log_weight[:, :, None] + np.cumsum(log_p, axis=1).reshape(*self.log_weight.shape, -1)
        if log_p.shape[1]:
            self.log_weight = log_weight[:, :, -1].copy()
        return _log_mean(log_weight, axis=1)

    def _weights(self):
        top = self.log_weight.max(axis=1, keepdims=True)
        weight = np.exp(self.log_weight - top)
        return weight / weight.sum(axis=1, keepdims=True)

    def _resample_where_few(self):
        """Resample the groups whose effective number of particles is below half."""
        weight = self._weights()
        n = weight.shape[1]
        few = np.flatnonzero(1 / (weight**2).sum(axis=1) < 0.5 * n)
        if not few.size:
            return
        index, totals = np.arange(self.n).reshape(-1, n), self._totals()
        for g in few:
            index[g] = g * n + _systematic(weight[g], n, self.generator)
            self.log_weight[g] = totals[g]
        self._take(index.ravel())

    def choose(self, n):
        """Go on with n particles, drawn from the first group by their weights."""
        index = self.generator.permutation(_systematic(self._weights()[0], n, self.generator))
        self.log_weight = np.zeros((1, n))
        self._take(index)

    def _take(self, index):
        self.rows = {name: np.ascontiguousarray(array[index]) for name, array in self.rows.items()}
        self.past = [z[index] for z in self.past]
        self.events.append((None, None, index))

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


def _systematic(weight, n, generator):
    """n indices, each i in its mean n weight_i times (J. Carpenter, P. Clifford, P. Fearnhead, Improved particle filter
    for nonlinear problems, 1999)."""
    positions = (np.arange(n) + generator.random()) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), positions, side="right"), len(weight) - 1)


def _log_mean(values, axis):
    """log mean exp"""
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).mean(axis=axis)) + top.squeeze(axis)
