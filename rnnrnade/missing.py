"""Missing values: likelihoods with the gaps integrated out, and imputations.

Design
------
*What is exact.*  The factors of (1) come in a fixed order: frame by frame, in a frame dimension by dimension (in the
model's `order`).  Integrating out what comes last drops its factors, exactly: whole frames at the end of a sequence,
and trailing dimensions of the last frame that holds anything.  Trailing dimensions of an earlier frame are no such
case: the recurrent state reads them, so what follows depends on them.  Of vectors each row is a sequence of one frame.
The transform is triangular, so that this holds in the units of X, too.
Where a frame is one mixture of Gaussians (`components="frame"`), so is any subset of it: any gap of the last frame that
holds anything is integrated out in closed form (marginals.py), and in earlier frames particles are weighted by the
marginal of what is observed and completed by draws given it.

*Everything else* is sequential Monte Carlo (N. J. Gordon, D. J. Salmond, A. F. M. Smith, Novel approach to
nonlinear/non-Gaussian Bayesian state estimation, 1993; A. Doucet, A. M. Johansen, A tutorial on particle filtering and
smoothing, 2009): particles are completed sequences.  A missing number is drawn from its exact conditional given what
the particle holds before it, an observed one multiplies the particle's weight by its exact conditional density, and
where the effective number of particles falls below half of them, they are resampled (systematically) before the next
draw.  The mean weight is an unbiased estimate of the likelihood for any number of particles; its logarithm is low by
about half the squared standard error.  Frames before the first gap are computed once and exactly.

*Latent vectors* (`VAE`, `VRNN`, `SRNN`).  Given the latent vector of a frame, its dimensions have exact conditionals
as everywhere, so the particles are those above, and each draws a latent vector for each frame.  A frame that is known
draws it from the encoder; one that reads the future reads as far as the next gap.  A frame of which nothing is known
draws it from the prior, and one of which a part is known from either, by lot.  Nothing is exact then but what has no
latent vector (n_latent=0) or holds nothing; a complete sequence has the estimate that it has without the option.

*Bits.*  Random numbers come from the seed and the bytes of the sequence itself, so a sequence's score is the same
alone, in any batch, and for any number of threads.  Where several sequences hold the same, how many came before counts
too: the errors of all sequences, and what they are filled with, are independent.
"""

from typing import NamedTuple

import numpy as np

from .calls import reading
from .checks import allocated
from .particles import PARTICLES, Gaps, marginal_scores

__all__ = ["LikelihoodEstimate", "MissingValues"]

REPEATS = 10
GAPS = "gaps are integrated out in one order. Ask one of members_, or score complete data."


def check_repeats(n_repeats):
    if n_repeats < 2:
        raise ValueError("n_repeats must be at least 2: the spread of the repeats gives the standard error.")


class LikelihoodEstimate(NamedTuple):
    """Log-likelihoods in nats and their standard errors (0 where exact): one of each for a sequence or row, (N,)."""

    log_likelihood: np.ndarray
    standard_error: np.ndarray


class MissingValues:
    """What estimators do with missing values (NaN) if the option `missing` is "marginalize"."""

    @reading
    def log_likelihood_missing(self, X, n_particles=PARTICLES, random_state=None, *, n_repeats=REPEATS, lengths=None):
        """Log-likelihood of the observed part of X, with missing values (NaN) integrated out, and its standard error.

        Exact if nothing is missing except whole frames at the end of a sequence and trailing dimensions (in the
        model's order) of the last frame before them; for vectors: trailing dimensions of a row.  With Gaussian
        ``components="frame"`` it is exact for any dimensions of that frame or row.  Otherwise Monte Carlo: the mean
        over `n_repeats` independent particle filters, an unbiased estimate of the likelihood.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_particles : int, default=1000
            Particles in each filter.
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        n_repeats : int, default=10
            Number of filters; >= 2, because their spread gives the standard error.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        LikelihoodEstimate
            log_likelihood and standard_error, each (N,): one for each sequence or row.  The standard error is that of
            the likelihood relative to it, to first order that of its logarithm.  It is estimated from `n_repeats`
            filters, so an interval takes the quantiles of Student's t with n_repeats - 1 degrees of freedom: 95 % of 10
            filters lie within 2.26 standard errors, scipy.stats.t.ppf(0.975, 9).  Errors of different sequences are
            independent, so that of a total is the root of the sum of squares.

        Raises
        ------
        ValueError
            For NaN in an ensemble of orders, or if the option `missing` is None.
        """
        data, generator, n_particles, n_repeats = self._with_gaps(
            X, lengths, random_state, n_particles=n_particles, n_repeats=n_repeats
        )
        check_repeats(n_repeats)
        error = np.zeros(data.n_sequences)
        if data.has_gaps:
            frames = marginal_scores(
                self._one_density(GAPS), data, generator, self._n_threads(), n_particles, n_repeats, error
            ).frames
        else:
            frames = self._density.frames(data, self._n_threads())
        with np.errstate(over="ignore"):  # a sum below the smallest of float64 is minus infinity
            total = np.array([frames[a:b].sum() for a, b in data.slices])
        return LikelihoodEstimate(
            data.per_sequence(total, "log_likelihood"), data.per_sequence(error, "standard_error")
        )

    @reading
    def impute(self, X, n_samples=1, random_state=None, *, n_particles=PARTICLES, lengths=None):
        """Draw the missing values (NaN) of X given everything observed, before and after them.

        The draws are exact and independent if nothing observed comes after what is missing (as in
        `log_likelihood_missing`).  Otherwise they come from the particles of one filter: their distribution tends to
        the exact one as the number of particles grows, and they are not quite independent of each other, because the
        further back a gap lies, the fewer different values the particles still hold there.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_samples : int, default=1
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        n_particles : int, default=1000
            At least `n_samples` are used.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (n_samples, T_i, D), or one of them for one 2-D X, or (n_samples, n, D) for vectors
            The observed values of X are unchanged in each.

        Raises
        ------
        ValueError
            For NaN in an ensemble of orders, or if the option `missing` is None.
        """
        return self._filled(X, lengths, random_state, n_samples, n_particles)

    def _filled(self, X, lengths, random_state, n_samples, n_particles):
        data, generator, n_samples, n_particles = self._with_gaps(
            X, lengths, random_state, n_samples=n_samples, n_particles=n_particles
        )
        filled = allocated("draws", (n_samples, *data.frames.shape))
        filled[:] = data.frames
        if data.has_gaps:
            gaps = Gaps(self._one_density(GAPS), data, generator, self._n_threads())
            for s, (a, b) in enumerate(data.slices):
                if gaps.missing[a:b].any():
                    filled[:, a:b] = gaps.impute(s, n_samples, n_particles)
        return data.split_draws(filled)

    def _with_gaps(self, X, lengths, random_state, **counts):
        generator, *counts = self._draws(random_state, **counts)
        data = self._check(X, lengths, gaps=True)
        if data.has_gaps:
            self._one_density(GAPS)  # raises
        return data, generator, *counts
