"""Distributions of one number: vectorised float64 functions with the same names for each.  They know no models.

Design
------
*Families.*  The components of a mixture are of one family, a distribution of u = (x - mu) / sigma that is symmetric
about 0.  Its scalar functions, in a fixed order, are a subclass of Mixture, where everything else is written once.

*Tails.*  Below UNDERFLOW a distribution function is computed through its logarithm.  Quantiles are found on the scale
of standard normal scores, G(x) = Phi^-1(F(x)), on which a single Gaussian is a straight line: Newton's method takes a
few steps from anywhere, and the components' own quantiles bracket the root.
"""

import numpy as np
from scipy.special import erf, expit, exprel, log_expit, log_ndtr, ndtr, ndtri, ndtri_exp

from . import _core

__all__ = ["Bernoulli", "Mixture", "MixtureOfGaussians", "MixtureOfLaplaces", "MixtureOfLogistics", "MixtureOfStudents"]

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
UNDERFLOW = 1e-280  # of a distribution function: below, its logarithm
PRECISION = 1e-14  # of a quantile's normal score, relative to max(1, |score|)
MOST_STEPS = 200  # of the search for a quantile; bisection alone needs about 60
DRAWN = 1 << 22  # random numbers of one piece


class Mixture:
    """The distributions sum_k alpha_k f((x - mu_k) / sigma_k) / sigma_k, one for each entry of the leading axes.

    Each family f is a subclass.  Methods that take x or q broadcast it against the leading axes.  Exact up to rounding
    in float64, unless the family says otherwise.

    Parameters
    ----------
    alpha, mu, sigma : array-like of shape (..., K)
        Weights >= 0 (they are divided by their sum), locations, scales > 0.
    """

    continuous = True

    # ---- what a family is: functions of u, symmetric about 0 ---------------------------------------------------------
    # A family with parameters of its own names them in `shapes`; its functions take them behind u, m or z.

    shapes = ()
    _log_constant = 0.0

    @staticmethod
    def unit_variance(*shapes):
        """Of u."""
        raise NotImplementedError

    @staticmethod
    def _log_kernel(u, *shapes):
        """log f(u) + _log_constant"""
        raise NotImplementedError

    @staticmethod
    def _lower(u, *shapes):
        """F(u) = P(U <= u), to relative precision for u < 0"""
        raise NotImplementedError

    @staticmethod
    def _log_lower(u, *shapes):
        """log F(u)"""
        raise NotImplementedError

    @staticmethod
    def _quantile(z, *shapes):
        """The u with F(u) = Phi(z), for z <= 0"""
        raise NotImplementedError

    @staticmethod
    def _mean_absolute(m, s, *shapes):
        """E|m + s U|"""
        raise NotImplementedError

    @staticmethod
    def _mean_difference(m, s, t):
        """E|m + s U - t U'|, U' another and independent; the shapes of U follow s, those of U' follow t"""
        raise NotImplementedError

    @staticmethod
    def noise(generator, shape, dtype=np.float64):
        """Independent draws of u; for a family with shapes, what `_deviate` turns into one, in a last axis."""
        raise NotImplementedError

    @staticmethod
    def _deviate(noise, *shapes):
        """Draws of u."""
        return noise

    # ---- what all have -----------------------------------------------------------------------------------------------

    def __init__(self, alpha, mu, sigma, *shapes):
        arrays = (np.asarray(a, np.float64) for a in (alpha, mu, sigma, *shapes))
        alpha, mu, sigma, *self.own = np.broadcast_arrays(*arrays)
        self.alpha = alpha / alpha.sum(axis=-1, keepdims=True)
        self.mu, self.sigma = mu, sigma

    @classmethod
    def of_outputs(cls, values):
        """From what the core gives for each conditional, (..., 3 K): alpha, mu, sigma, followed by the shapes."""
        return cls(*np.split(np.asarray(values, np.float64), 3 + len(cls.shapes), axis=-1))

    def _parts(self):
        """alpha, mu, sigma and the shapes."""
        return (self.alpha, self.mu, self.sigma, *self.own)

    def __getitem__(self, index):
        """The distributions at an index of the leading axes."""
        return type(self)(*(part[index] for part in self._parts()))

    def _residuals(self, x):
        with np.errstate(over="ignore"):
            return (np.asarray(x, np.float64)[..., None] - self.mu) / self.sigma

    def log_density(self, x):
        """Logarithm of the density at x, in nats: (...)"""
        return self._log_sum(self._residuals(x), self.alpha, self.sigma, *self.own)

    def cdf(self, x):
        """P(X <= x): (...)  Precise relative to itself in the lower tail; for the upper tail, use `sf`."""
        return np.minimum((self.alpha * self._lower(self._residuals(x), *self.own)).sum(axis=-1), 1.0)

    def sf(self, x):
        """P(X > x): (...)  Precise relative to itself in the upper tail."""
        return np.minimum((self.alpha * self._lower(-self._residuals(x), *self.own)).sum(axis=-1), 1.0)

    def log_cdf(self, x):
        """log P(X <= x): (...)  Finite however far x is in the lower tail."""
        return _log_mean_exp(self.alpha, self._log_lower(self._residuals(x), *self.own))

    def log_sf(self, x):
        """log P(X > x): (...)  Finite however far x is in the upper tail."""
        return _log_mean_exp(self.alpha, self._log_lower(-self._residuals(x), *self.own))

    def normal_score(self, x):
        """Phi^-1(P(X <= x)), the value of a standard normal with the same probability below it: (...)

        Precise in both tails, to abs(score) of 1e8 and beyond.
        """
        u = self._residuals(x)
        lower, upper = ((self.alpha * self._lower(sign * u, *self.own)).sum(axis=-1) for sign in (1, -1))
        sign, tail = np.where(lower <= upper, 1.0, -1.0), np.minimum(lower, upper)
        score = np.asarray(ndtri(tail))
        far = tail < UNDERFLOW
        if far.any():
            lower = self._log_lower(sign[far][:, None] * u[far], *(part[far] for part in self.own))
            score[far] = ndtri_exp(_log_mean_exp(self.alpha[far], lower))
        return sign * score

    def ppf(self, q):
        """The x with P(X <= x) = q, for q in [0, 1]; -inf for 0 and inf for 1: (...)

        abs(P(X <= ppf(q)) - q) is a few 1e-15, or as small as the spacing of floating-point numbers around x allows.
        """
        return self.from_normal_score(ndtri(np.asarray(q, np.float64)))

    def from_normal_score(self, z):
        """The x with P(X <= x) = Phi(z), the inverse of `normal_score`; z may be infinite: (...)

        Newton's method on the normal scores, between the smallest and the largest quantile of the components, with
        bisection where a step would leave that interval or converge slowly.
        """
        z = np.broadcast_arrays(np.asarray(z, np.float64), self.mu[..., 0])[0]
        x = z.copy()
        finite = np.isfinite(z)
        each = (*z.shape, self.mu.shape[-1])
        parts = (np.broadcast_to(part, each)[finite] for part in self._parts())
        x[finite] = self._solve(z[finite], *parts)
        return x

    def draw(self, generator):
        """One draw of each distribution: (...)"""
        cumulative = np.cumsum(self.alpha, axis=-1)
        uniform = generator.random(cumulative.shape[:-1]) * cumulative[..., -1]
        k = np.minimum((cumulative <= uniform[..., None]).sum(axis=-1), self.alpha.shape[-1] - 1)[..., None]
        mu, sigma, *own = (np.take_along_axis(part, k, axis=-1)[..., 0] for part in self._parts()[1:])
        return mu + sigma * self._deviate(self.noise(generator, mu.shape), *own)

    def mean(self):
        """Mean of each distribution: (...)"""
        return (self.alpha * self.mu).sum(axis=-1)

    def var(self):
        """Variance of each distribution: (...)"""
        centred = self.mu - self.mean()[..., None]
        return (self.alpha * (self.unit_variance(*self.own) * self.sigma**2 + centred**2)).sum(axis=-1)

    def crps(self, x):
        """Continuous ranked probability score at x, the integral over s of (P(X <= s) - 1{x <= s})^2: (...)

        Lower is better.  E|X - x| - E|X - X'| / 2, after E. P. Grimit, T. Gneiting, V. J. Berrocal, N. A. Johnson,
        The continuous ranked probability score for circular variables and its application to mesoscale forecast
        ensemble verification, 2006.
        """
        distance = np.asarray(x, np.float64)[..., None] - self.mu
        score = (self.alpha * self._mean_absolute(distance, self.sigma, *self.own)).sum(axis=-1)
        for k in range(self.mu.shape[-1]):  # one at a time: K, not K^2 numbers for each x; every pair once
            m = self.mu[..., k:] - self.mu[..., k, None]
            of_both = (
                part[..., rest] for rest in (slice(k, None), slice(k, k + 1)) for part in (self.sigma, *self.own)
            )
            between = self.alpha[..., k:] * self._mean_difference(m, *of_both)
            score = score - self.alpha[..., k] * (0.5 * between[..., 0] + between[..., 1:].sum(axis=-1))
        return score

    # ---- quantiles ---------------------------------------------------------------------------------------------------

    @classmethod
    def _log_sum(cls, u, alpha, sigma, *own):
        """log sum_k alpha_k f(u_k) / sigma_k"""
        with np.errstate(over="ignore"):
            return _log_mean_exp(alpha, cls._log_kernel(u, *own) - np.log(sigma) - cls._log_constant)

    @classmethod
    def _score_and_slope(cls, x, alpha, mu, sigma, *own):
        """G(x) = Phi^-1(F(x)) and G'(x), precise where F(x) is not close to 1: each (n,)"""
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            u = (x[:, None] - mu) / sigma
            F = np.minimum((alpha * cls._lower(u, *own)).sum(axis=1), 1.0)
            density = (alpha * np.exp(cls._log_kernel(u, *own)) / sigma).sum(axis=1)
            G = ndtri(F)
            # G' = F' / phi(G), phi = Phi'; of Gaussians the constants of both densities cancel
            slope = density * np.exp(0.5 * G * G) * np.exp(LOG_SQRT_2PI - cls._log_constant)
            far = F < UNDERFLOW
            if far.any():
                u, alpha, sigma, *own = (part[far] for part in (u, alpha, sigma, *own))
                G[far] = ndtri_exp(_log_mean_exp(alpha, cls._log_lower(u, *own)))
                slope[far] = np.exp(cls._log_sum(u, alpha, sigma, *own) + 0.5 * G[far] ** 2 + LOG_SQRT_2PI)
        return G, slope

    @classmethod
    def _solve(cls, z, alpha, mu, sigma, *own):
        """The x with F(x) = Phi(z), z finite: (n,) from (n,) and the parts, each (n, K)"""
        sign = np.where(z > 0, -1.0, 1.0)  # mirrored, every root is in the lower half, where F is precise
        z, mu = sign * z, sign[:, None] * mu
        unit = cls._quantile(z) if not own else cls._quantile(*np.broadcast_arrays(z[:, None], *own))
        quantiles = mu + sigma * (unit if own else unit[:, None])  # of the components: the mixture's lies between them
        low = np.where(alpha > 0, quantiles, np.inf).min(axis=1, initial=np.inf)
        high = np.where(alpha > 0, quantiles, -np.inf).max(axis=1, initial=-np.inf)
        # Start from one component of the same mean and spread.
        mean = (alpha * mu).sum(axis=1)
        deviation = np.sqrt((alpha * (sigma**2 + (mu - mean[:, None]) ** 2)).sum(axis=1))
        x = high.copy() if own else np.clip(mean + unit * deviation, low, high)  # heavy tails: where log F is steep
        found = x.copy()
        tolerance = PRECISION * np.maximum(1.0, -z)
        before = high - low  # length of the step before
        left = np.arange(len(z))  # those still sought
        for _ in range(MOST_STEPS):
            if not left.size:
                break
            G, slope = cls._score_and_slope(x, alpha, mu, sigma, *own)
            error = G - z
            low, high = np.where(error < 0, x, low), np.where(error > 0, x, high)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = error / slope
                newton = x - step
                inside = (newton >= low) & (newton <= high)
                spacing = np.spacing(np.abs(x))
                done = (np.abs(error) <= tolerance) | (high - low <= 2 * spacing) | (inside & (np.abs(step) <= spacing))
                # The last step costs nothing more, and is the one that rounding limits.
                x_last = np.where(inside & (np.abs(error) <= 1e3 * tolerance), newton, x)
                quick = inside & (np.abs(step) <= 0.5 * before)
            following = np.where(quick, newton, 0.5 * (low + high))
            found[left] = np.where(done, x_last, following)
            before = np.abs(following - x)
            on = ~done
            left, x, z, low, high, before = left[on], following[on], z[on], low[on], high[on], before[on]
            alpha, mu, sigma, tolerance, *own = (part[on] for part in (alpha, mu, sigma, tolerance, *own))
        return sign * found


class MixtureOfGaussians(Mixture):
    """The distributions sum_k alpha_k N(mu_k, sigma_k^2), one for each entry of the leading axes.

    Exact up to rounding in float64.  Methods that take x or q broadcast it against the leading axes.

    Parameters
    ----------
    alpha, mu, sigma : array-like of shape (..., K)
        Weights >= 0 (they are divided by their sum), means, standard deviations > 0.

    Examples
    --------
    >>> from rnnrnade.distributions import MixtureOfGaussians
    >>> mixture = MixtureOfGaussians([0.5, 0.5], [-1.0, 1.0], [1.0, 1.0])
    >>> float(mixture.mean()), float(mixture.var()), float(mixture.cdf(0.0))
    (0.0, 2.0, 0.5)
    >>> round(float(mixture.cdf(mixture.ppf(1e-9))), 15)
    1e-09
    """

    _log_constant = LOG_SQRT_2PI
    _lower, _log_lower = staticmethod(ndtr), staticmethod(log_ndtr)

    @staticmethod
    def unit_variance():
        return 1.0

    @staticmethod
    def _log_kernel(u):
        return -0.5 * u**2

    @staticmethod
    def _quantile(z):
        return z

    @staticmethod
    def _mean_absolute(m, s):
        with np.errstate(over="ignore", under="ignore"):
            u = m / s
            return s * np.sqrt(2 / np.pi) * np.exp(-0.5 * u * u) + m * erf(u * np.sqrt(0.5))

    @classmethod
    def _mean_difference(cls, m, s, t):
        return cls._mean_absolute(m, np.hypot(s, t))

    @staticmethod
    def noise(generator, shape, dtype=np.float64):
        """Standard normal numbers."""
        return filled(generator.standard_normal, shape, dtype)


class MixtureOfLaplaces(Mixture):
    """The distributions sum_k alpha_k Laplace(mu_k, sigma_k), one for each entry of the leading axes.

    The density of a component is exp(-abs(x - mu) / sigma) / (2 sigma).  Exact up to rounding in float64.  Methods that
    take x or q broadcast it against the leading axes.

    Parameters
    ----------
    alpha, mu, sigma : array-like of shape (..., K)
        Weights >= 0 (they are divided by their sum), medians, scales > 0 (`scale` of scipy.stats.laplace).

    Examples
    --------
    >>> from rnnrnade.distributions import MixtureOfLaplaces
    >>> mixture = MixtureOfLaplaces([1.0], [0.0], [3.0])
    >>> float(mixture.cdf(0.0)), float(mixture.var())
    (0.5, 18.0)
    """

    _log_constant = np.log(2)

    @staticmethod
    def unit_variance():
        return 2.0

    @staticmethod
    def _log_kernel(u):
        return -np.abs(u)

    @staticmethod
    def _lower(u):
        tail = 0.5 * np.exp(-np.abs(u))
        return np.where(u < 0, tail, 1 - tail)

    @staticmethod
    def _log_lower(u):
        return np.where(u < 0, u - np.log(2), np.log1p(-0.5 * np.exp(-np.abs(u))))

    @staticmethod
    def _quantile(z):
        return np.where(z > -1, np.log1p(erf(np.maximum(z, -1) * np.sqrt(0.5))), log_ndtr(z) + np.log(2))

    @staticmethod
    def _mean_absolute(m, s):
        a = np.abs(m)
        with np.errstate(over="ignore"):
            return a + s * np.exp(-a / s)

    @staticmethod
    def _mean_difference(m, s, t):
        # |m| + (s^3 exp(-|m| / s) - t^3 exp(-|m| / t)) / (s^2 - t^2), as a sum of positive terms: s and t may be equal.
        a, s, t = np.abs(m), np.maximum(s, t), np.minimum(s, t)
        with np.errstate(over="ignore"):
            u, r = a / s, t / s
            return a + s * np.exp(-u) * (1 + r + r * r * (1 + u * exprel(u - a / t))) / (1 + r)

    @staticmethod
    def noise(generator, shape, dtype=np.float64):
        """Standard Laplace numbers: each is the difference of two exponential numbers."""
        first, second = filled(generator.standard_exponential, (2, *shape), dtype)
        return first - second


class MixtureOfLogistics(Mixture):
    """The distributions sum_k alpha_k Logistic(mu_k, sigma_k), one for each entry of the leading axes.

    The distribution function of a component is 1 / (1 + exp(-(x - mu) / sigma)).  Exact up to rounding in float64,
    except for `crps`, whose terms for pairs of components come from quadrature, to a relative 1e-10.  Methods that take
    x or q broadcast it against the leading axes.

    Parameters
    ----------
    alpha, mu, sigma : array-like of shape (..., K)
        Weights >= 0 (they are divided by their sum), means, scales > 0 (`scale` of scipy.stats.logistic).

    Examples
    --------
    >>> from rnnrnade.distributions import MixtureOfLogistics
    >>> mixture = MixtureOfLogistics([1.0], [0.0], [1.0])
    >>> float(mixture.cdf(0.0)), round(float(mixture.var()), 6)
    (0.5, 3.289868)
    """

    _lower, _log_lower = staticmethod(expit), staticmethod(log_expit)

    @staticmethod
    def unit_variance():
        return np.pi**2 / 3

    @staticmethod
    def _log_kernel(u):
        return -np.abs(u) - 2 * np.log1p(np.exp(-np.abs(u)))

    @staticmethod
    def _quantile(z):
        near = 2 * np.arctanh(erf(np.maximum(z, -1) * np.sqrt(0.5)))
        return np.where(z > -1, near, log_ndtr(z) - log_ndtr(-z))

    @staticmethod
    def _mean_absolute(m, s):
        a = np.abs(m)
        with np.errstate(over="ignore"):
            return a + 2 * s * np.log1p(np.exp(-a / s))

    # The mean over U' of the one above, by the trapezoid rule in x, U' = 2.5 sinh(x): it converges exponentially, since
    # the poles of the density, at odd multiples of i pi, all get the imaginary part pi / 2.
    _nodes = 2.5 * np.sinh(0.15 * np.arange(-21, 22))
    _weights = expit(_nodes) * expit(-_nodes) * np.cosh(0.15 * np.arange(-21, 22))
    _weights /= _weights.sum()

    @classmethod
    def _mean_difference(cls, m, s, t):
        s, t = np.maximum(s, t), np.minimum(s, t)
        return sum(
            weight * cls._mean_absolute(m + t * u, s) for u, weight in zip(cls._nodes, cls._weights, strict=True)
        )

    @staticmethod
    def noise(generator, shape, dtype=np.float64):
        """Standard logistic numbers: each is the logarithm of the ratio of two exponential numbers."""
        two = filled(generator.standard_exponential, (2, *shape), dtype)
        first, second = np.log(np.maximum(two, np.finfo(dtype).tiny))  # one in millions is 0
        return first - second


class MixtureOfStudents(Mixture):
    """The distributions sum_k alpha_k t(mu_k, sigma_k, nu_k) (Student's t), one for each entry of the leading axes.

    sigma is the scale, not the standard deviation, which is sigma (nu / (nu - 2))^(1/2) for nu > 2 and infinite
    otherwise.  Exact up to rounding in float64, except for `crps`, whose terms for pairs of components come from
    quadrature, which is slow and right to a relative 1e-5 for nu >= 1.5.  A quantile too large for float64 is infinite.
    Methods that take x or q broadcast it against the leading axes.

    Parameters
    ----------
    alpha, mu, sigma, nu : array-like of shape (..., K)
        Weights >= 0 (they are divided by their sum), means, scales > 0 (`scale` of scipy.stats.t), degrees of freedom
        > 1.

    Examples
    --------
    >>> from rnnrnade.distributions import MixtureOfStudents
    >>> mixture = MixtureOfStudents([1.0], [0.0], [1.0], [4.0])
    >>> float(mixture.cdf(0.0)), float(mixture.var())
    (0.5, 2.0)
    """

    shapes = ("nu",)

    @property
    def nu(self):
        return self.own[0]

    @staticmethod
    def unit_variance(nu):
        with np.errstate(divide="ignore"):
            return np.where(nu > 2, nu / np.maximum(nu - 2, 0), np.inf)

    @staticmethod
    def _log_kernel(u, nu):
        return student("log_f", u, nu)

    @staticmethod
    def _lower(u, nu):
        return student("cdf", u, nu)

    @staticmethod
    def _log_lower(u, nu):
        return student("log_cdf", u, nu)

    @staticmethod
    def _quantile(z, nu):
        return student("quantile", z, nu)

    @classmethod
    def _mean_absolute(cls, m, s, nu):
        u = np.abs(m) / s
        # u (2 F(u) - 1) + 2 f(u) (nu + u^2) / (nu - 1), without what cancels far out
        square = 2 * np.log(np.hypot(np.sqrt(nu), u))  # log(nu + u^2)
        rest = 2 * np.exp(cls._log_kernel(u, nu) + square) / (nu - 1) - 2 * u * cls._lower(-u, nu)
        return np.abs(m) + s * rest

    # The mean over U' of the one above, by the trapezoid rule in x, U' = sinh(y), y = pi / 2 sinh(x), whose terms fall
    # as exp(-(nu' - 1) |y|).
    _nodes = np.linspace(-4.5, 4.5, 121)

    @classmethod
    def _mean_difference(cls, m, s, nu, t, nu_t):
        m, s, nu, t, nu_t = np.broadcast_arrays(m, s, nu, t, nu_t)
        wide = s >= t  # the wider one makes the kink of the other smooth
        s, t = np.where(wide, s, t), np.where(wide, t, s)
        nu, nu_t = np.where(wide, nu, nu_t), np.where(wide, nu_t, nu)
        total, weights = 0.0, 0.0
        for x in cls._nodes:
            y = 0.5 * np.pi * np.sinh(x)
            weight = np.exp(cls._log_kernel(np.sinh(y), nu_t)) * np.cosh(y) * np.cosh(x)
            total = total + weight * cls._mean_absolute(m - t * np.sinh(y), s, nu)
            weights = weights + weight
        return total / weights

    @staticmethod
    def noise(generator, shape, dtype=np.float64):
        """Two standard normals for each draw, in a last axis."""
        return filled(generator.standard_normal, (*shape, 2), dtype)

    @staticmethod
    def _deviate(noise, nu):
        """R. W. Bailey, Polar generation of random variates with the t-distribution, 1994."""
        first, second = noise[..., 0], noise[..., 1]
        return first * np.sqrt(exprel((first**2 + second**2) / nu))


def student(function, u, nu):
    """A function of the Student family at u and nu, which are broadcast against each other: see `_core.student`."""
    u, nu = (np.ascontiguousarray(a, np.float64) for a in np.broadcast_arrays(u, nu))
    found = np.empty(u.shape)
    _core.student(function, u.ravel(), nu.ravel(), found.reshape(-1))
    return found


class Bernoulli:
    """The distributions over 0 and 1 with P(X = 1) = p, one for each entry of p.

    Parameters
    ----------
    p : array-like
    """

    continuous = False
    shapes = ()

    def __init__(self, p):
        self.p = np.asarray(p, np.float64)

    @classmethod
    def of_outputs(cls, values):
        """From what the core gives for each conditional, (..., 1)."""
        return cls(np.asarray(values)[..., 0])

    @staticmethod
    def noise(generator, shape, dtype=np.float64):
        """None: a draw needs nothing but a uniform number."""
        return None

    def __getitem__(self, index):
        return Bernoulli(self.p[index])

    def cdf(self, x):
        """P(X <= x)"""
        return np.where(np.asarray(x) >= 1, 1.0, 1 - self.p)

    def ppf(self, q):
        """The smaller of 0 and 1 that has P(X <= x) >= q."""
        return np.where(np.asarray(q) <= 1 - self.p, 0.0, 1.0)

    def draw(self, generator):
        """One draw of each distribution."""
        return (generator.random(self.p.shape) < self.p).astype(np.float64)

    def mean(self):
        return self.p

    def var(self):
        return self.p * (1 - self.p)

    def crps(self, x):
        """(p - x)^2, the Brier score."""
        return (self.p - x) ** 2


def filled(draw, shape, dtype):
    """An array of numbers drawn by a method of a generator: those of draw(shape, dtype), piece by piece, so that a
    large array does not keep Ctrl-C waiting."""
    numbers = np.empty(shape, dtype)
    flat = numbers.reshape(-1)
    for begin in range(0, flat.size, DRAWN):
        draw(out=flat[begin : begin + DRAWN], dtype=dtype)
    return numbers


def _log_mean_exp(weight, values):
    """log sum_k weight_k exp(values_k) over the last axis; weights may be 0 and values very negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(weight > 0, np.log(weight) + values, -np.inf)
        top = terms.max(axis=-1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        return np.log(np.exp(terms - top).sum(axis=-1)) + top[..., 0]
