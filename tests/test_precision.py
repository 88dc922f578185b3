"""Log-densities of random and of extreme mixtures against mpmath at 60 digits."""

import platform
import warnings

import numpy as np
import pytest
from helpers import MIXTURES

from rnnrnade import RNADE

mpmath = pytest.importorskip("mpmath")
K = 3

# log f(u) of each family, but for the constant, and the constant
FAMILIES = {
    "gaussian": (lambda u: -u * u / 2, lambda: mpmath.log(2 * mpmath.pi) / 2),
    "laplace": (lambda u: -abs(u), lambda: mpmath.log(2)),
    "logistic": (lambda u: -abs(u) - 2 * mpmath.log1p(mpmath.exp(-abs(u))), lambda: 0),
    "student": (
        lambda u: -(freedom() + 1) / 2 * mpmath.log1p(u * u / freedom()),
        lambda: (
            mpmath.log(mpmath.pi * freedom()) / 2
            + mpmath.loggamma(freedom() / 2)
            - mpmath.loggamma((freedom() + 1) / 2)
        ),
    ),
}
B_NU = 1.25  # of all Student components
every_family = pytest.mark.parametrize("family", FAMILIES)


def freedom():
    return 1 + mpmath.exp(B_NU)


def test_every_family_is_here():
    assert set(FAMILIES) == set(MIXTURES)


def conditionals(n, seed):
    """Raw outputs z^alpha, z^mu, z^sigma, each (n, K), and x (n,): abs((x - mu) / sigma) to 1e8, weights to 1e-300."""
    rng = np.random.default_rng(seed)
    alpha = np.log(10) * -300 * rng.uniform(size=(n, K)) ** rng.integers(1, 6, size=(n, 1))
    alpha[np.arange(n), rng.integers(K, size=n)] = 0  # the largest, but for the common part
    alpha += rng.normal(size=(n, 1)) * 10.0 ** rng.integers(-2, 7, size=(n, 1))
    sigma = rng.normal(size=(n, K)) * rng.choice([0.1, 1, 10, 60], size=(n, 1))
    mu = rng.normal(size=(n, K)) * 10.0 ** rng.uniform(-6, 6, size=(n, 1))
    k = rng.integers(K, size=n)
    score = rng.choice([-1, 1], size=n) * 10.0 ** rng.uniform(-8, 8, size=n)
    x = mu[np.arange(n), k] + score * np.exp(sigma[np.arange(n), k])
    return alpha, mu, sigma, x


def log_densities(alpha, mu, sigma, x, min_scale, family):
    return model_of(alpha, mu, sigma, min_scale, family).score_dims(x[None])[0]


def model_of(alpha, mu, sigma, min_scale, family):
    """Of n conditionals, as the n dimensions of one frame of a model without hidden units."""
    n = len(alpha)
    parameters = {"W": np.zeros((0, n)), "c": np.zeros(0), "rho": np.ones(n)}
    for name, b in (("alpha", alpha), ("mu", mu), ("sigma", sigma)):
        parameters |= {f"V_{name}": np.zeros((n, 0, K)), f"b_{name}": b}
    if family == "student":
        parameters["b_nu"] = np.full_like(alpha, B_NU)
    return RNADE.from_parameters(parameters, min_scale=min_scale, conditional=family, dtype=str(alpha.dtype))


def exact(alpha, mu, sigma, x, min_scale, family):
    """log p(x), and the largest size of a term of the sums, whatever the common part of alpha: an mpf and a float."""
    mpf, (log_kernel, constant) = mpmath.mpf, FAMILIES[family]
    terms, weights = [], []
    for a, m, z in zip(alpha, mu, sigma, strict=True):
        scale = mpmath.exp(mpf(z)) + mpf(min_scale)
        u, log_scale = (mpf(x) - mpf(m)) / scale, mpmath.log(scale)
        terms.append(mpf(a) + log_kernel(u) - log_scale)
        weights.append(mpf(a))
    top = max(terms)
    total = top + mpmath.log(sum(mpmath.exp(t - top) for t in terms))
    top_weight = max(weights)
    total -= top_weight + mpmath.log(sum(mpmath.exp(a - top_weight) for a in weights)) + constant()
    return total, float(max(1, abs(top - top_weight)))


def errors(n, seed, min_scale, family):
    """|error| in units in the last place of max(1, the largest term that enters a log-sum-exp), (n,)"""
    drawn = conditionals(n, seed)
    found = log_densities(*drawn, min_scale, family)
    assert not np.isnan(found).any() and not (found == np.inf).any()
    with mpmath.workdps(60):
        wanted = [exact(*row, min_scale, family) for row in zip(*drawn, strict=True)]
        return np.array(
            [float(abs(mpmath.mpf(f) - w)) / np.spacing(s) for f, (w, s) in zip(found, wanted, strict=True)]
        )


@pytest.mark.parametrize("n", [200, pytest.param(10_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("min_scale", [0.0, 1e-3])
@every_family
def test_log_densities_against_60_digits(family, n, min_scale, row):
    ulp = errors(n, 0, min_scale, family)
    print(f"{n} {family}, min_scale {min_scale:g}, {row}: median {np.median(ulp):.2f} ulp, worst {ulp.max():.1f} ulp")
    assert np.median(ulp) <= 2 and ulp.max() <= 32


@pytest.mark.parametrize("min_scale", [0.0, 1e-3])
@pytest.mark.parametrize("dtype, largest", [("float64", 145), ("float32", 36)])
@every_family
def test_far_from_all_components(family, dtype, largest, min_scale, row):
    """Log-densities far below what a square of the type can be, and others beside them."""
    rng = np.random.default_rng(3)
    alpha, mu, sigma = rng.normal(size=(3, 40, K)).astype(dtype)
    x = (rng.choice([-1, 1], size=40) * 10.0 ** rng.uniform(-1, largest, size=40)).astype(dtype)
    model = model_of(alpha, mu, sigma, min_scale, family)
    found = model.score_dims(x[None])[0]
    with mpmath.workdps(60):
        wanted = [
            float(exact(*of_dim, min_scale, family)[0])
            for of_dim in zip(*map(np.float64, (alpha, mu, sigma, x)), strict=True)
        ]
    np.testing.assert_allclose(found, wanted, rtol=100 * np.finfo(dtype).eps)
    assert np.isfinite(found).all() and (
        family != "gaussian" or found.min() < -np.finfo(dtype).max / 2 or largest == 145
    )
    assert model.score_samples(x[None])[0] == pytest.approx(found.sum(), rel=1e-14)


@pytest.mark.parametrize("min_scale", [0.0, 1e-3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_family
def test_extreme_outputs_give_no_nan(family, dtype, min_scale, row):
    """Whatever the network puts out, up to 1e8 either way: a finite number or minus infinity."""
    extremes = np.array([-1e8, -750.0, -700.0, -88.0, -1.0, 0.0, 1.0, 88.0, 700.0, 750.0, 1e8], dtype)
    rng = np.random.default_rng(1)
    alpha, mu, sigma = rng.choice(extremes, size=(3, 3000, K))
    x = rng.choice(extremes, size=3000)
    found = log_densities(alpha, mu, sigma, x, min_scale, family)
    assert not np.isnan(found).any() and not (found == np.inf).any()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64", "arm64"), reason="the mode is not known here")
def test_subnormal_numbers_are_zero_in_the_kernels_and_nowhere_else(row):
    """A component 13 of its wide scales away: its gradients are 0, not numbers of 1e-40 that cost an assist each."""
    zeros = np.zeros((1, 0, 2))
    parameters = {"W": np.zeros((0, 1)), "c": np.zeros(0), "rho": np.ones(1)}
    parameters |= {"V_alpha": zeros, "V_mu": zeros, "V_sigma": zeros}
    parameters |= {"b_alpha": np.zeros((1, 2)), "b_mu": np.array([[0.0, 1.3e4]])}
    parameters |= {"b_sigma": np.log([[1.0, 1e3]])}
    model = RNADE.from_parameters({name: a.astype(np.float32) for name, a in parameters.items()}, min_scale=0)
    _, gradient = model.log_likelihood_and_gradient(np.array([[0.125]]))
    assert gradient["b_mu"][0, 0] == pytest.approx(0.125)
    smallest = np.finfo(np.float32).tiny
    assert all((g == 0) | (abs(g) >= smallest) for name in gradient for g in np.ravel(gradient[name]))
    assert gradient["b_mu"][0, 1] == 0
    assert np.float32(smallest) / np.float32(2) > 0  # the processor's mode is that of before


def test_sums_of_numbers_that_float64_just_holds_are_minus_infinity():
    """The largest square that there is, twice: a sum, and a mean, without a warning (which would be an error here)."""
    options = {"W": np.zeros((0, 1)), "c": np.zeros(0), "rho": np.ones(1), "b_alpha": np.zeros((1, 1))}
    options |= {f"V_{q}": np.zeros((1, 0, 1)) for q in ("alpha", "mu", "sigma")}
    options |= {"b_mu": np.zeros((1, 1)), "b_sigma": np.zeros((1, 1))}
    model = RNADE.from_parameters(options, dtype="float64", missing="marginalize")
    x = np.array([[1.8e154], [1.8e154]])
    assert np.all(np.isfinite(model.score_samples(x)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(x) == -np.inf
