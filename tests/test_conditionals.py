"""Laws of the conditionals: distribution functions, quantiles, CRPS, moments, Rosenblatt, leading dimensions."""

import itertools

import numpy as np
import pytest
import reference
from helpers import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    Case,
    assert_near,
    assert_same_bits,
    check_uniform,
    ids,
    integral_transforms,
    listed,
    packed,
    team_of,
    walks,
)
from scipy import stats
from scipy.integrate import quad
from scipy.stats import kstest, norm

from rnnrnade import RNADE, Linear, _core, distributions
from rnnrnade.distributions import (
    Bernoulli,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
    MixtureOfStudents,
)
from rnnrnade.heads import HEADS

ROUND_TRIP = {FLOAT64: 1e-8, FLOAT32: 1e-4}

# Of each family the mixture, the same family of scipy, and its density and distribution function in mpmath.
FAMILIES = {
    "gaussian": (MixtureOfGaussians, stats.norm, lambda u, m: m.npdf(u), lambda u, m: m.erfc(-u / m.sqrt(2)) / 2),
    "laplace": (
        MixtureOfLaplaces,
        stats.laplace,
        lambda u, m: m.exp(-abs(u)) / 2,
        lambda u, m: m.exp(u) / 2 if u < 0 else 1 - m.exp(-u) / 2,
    ),
    "logistic": (
        MixtureOfLogistics,
        stats.logistic,
        lambda u, m: m.exp(-abs(u)) / (1 + m.exp(-abs(u))) ** 2,
        lambda u, m: 1 / (1 + m.exp(-u)),
    ),
    "student": (
        MixtureOfStudents,
        stats.t,
        lambda u, m, nu: (1 + u * u / nu) ** (-(nu + 1) / 2) / (m.sqrt(nu) * m.beta(nu / 2, m.mpf(1) / 2)),
        lambda u, m, nu: (
            m.betainc(nu / 2, m.mpf(1) / 2, 0, nu / (nu + u * u), regularized=True) / 2
            if u < 0
            else 1 - m.betainc(nu / 2, m.mpf(1) / 2, 0, nu / (nu + u * u), regularized=True) / 2
        ),
    ),
}
every_family = pytest.mark.parametrize("family", FAMILIES)
few_or_many = pytest.mark.parametrize("n", [2000, pytest.param(200_000, marks=pytest.mark.full)])
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def test_every_family_is_here():
    assert {name: row[0] for name, row in FAMILIES.items()} == {
        name: head.distribution for name, head in HEADS.items() if head.mixture
    }


def shapes_of(family, shape, least=2.5, seed=0):
    """Shapes for a family that has any; degrees of freedom from `least` on."""
    if not FAMILIES[family][0].shapes:
        return ()
    return (least + np.exp(2 * np.random.default_rng(seed).standard_normal(shape)),)


def mixtures(n, K, seed=0, family="gaussian", least=2.5):
    """n mixtures of very different weights, distances, widths and shapes."""
    generator = np.random.default_rng(seed)
    mu = generator.standard_normal((n, K)) * generator.choice([0.1, 1.0, 10.0, 100.0], (n, 1))
    return FAMILIES[family][0](
        generator.dirichlet(np.full(K, 0.5), n),
        mu,
        np.exp(2 * generator.standard_normal((n, K))),
        *shapes_of(family, (n, K), least, seed),
    )


def held(family, z):
    """Normal scores; where tails are heavy, those whose quantiles float64 holds."""
    return np.clip(z, -37, 37) if FAMILIES[family][0].shapes else z


# ---- mixtures ------------------------------------------------------------------------------------------------------


@every_family
def test_components_are_those_of_scipy(family):
    generator = np.random.default_rng(6)
    mu, sigma, x = generator.normal(size=50), np.exp(generator.normal(size=50)), 5 * generator.normal(size=50)
    shapes = shapes_of(family, 50, least=6.0)
    one = FAMILIES[family][0](np.ones((50, 1)), mu[:, None], sigma[:, None], *(a[:, None] for a in shapes))
    same = FAMILIES[family][1](*shapes, mu, sigma)
    for ours, theirs in (
        ("log_density", "logpdf"), ("cdf", "cdf"), ("sf", "sf"), ("log_cdf", "logcdf"), ("log_sf", "logsf"),
    ):  # fmt: skip
        assert_near(getattr(one, ours)(x), getattr(same, theirs)(x), 1e-13, ours)
    assert_near(one.ppf(0.3), same.ppf(0.3), 1e-13)
    assert_near(one.mean(), same.mean(), 1e-15)
    assert_near(one.var(), same.var(), 1e-14)
    assert_near(one.crps(x), [crps_by_quadrature(one[i], x[i]) for i in range(50)], 1e-9)
    for dtype in DTYPES:
        noise = FAMILIES[family][0].noise(np.random.default_rng(0), (4000,), np.dtype(dtype))
        first = [a[0] for a in shapes]
        u = FAMILIES[family][0]._deviate(noise, *first)
        assert noise.dtype == dtype and kstest(u, FAMILIES[family][1](*first).cdf).pvalue > 0.001
        assert abs(u.var() / FAMILIES[family][0].unit_variance(*first) - 1) < 0.2


def crps_by_quadrature(one, x):
    """The integral of F^2 below x, and of (1 - F)^2 above."""
    scale = float(np.sqrt(one.var()))
    edges = np.concatenate([-np.geomspace(100, 0.1, 12), [0.0], np.geomspace(0.1, 100, 12)]) * scale + one.mean()
    edges = np.unique(np.concatenate([edges, one.mu, [x]]))
    pieces = itertools.pairwise(edges)
    return sum(
        quad(lambda s, F=one.cdf if b <= x else one.sf: float(F(s)) ** 2, a, b, epsabs=1e-12)[0] for a, b in pieces
    )


@few_or_many
@pytest.mark.parametrize("K", [1, 2, 5, 20])
@every_family
def test_quantiles_invert_the_distribution_function(family, K, n):
    mixture = mixtures(n, K, family=family)
    generator = np.random.default_rng(1)
    for u in (generator.random(n), 10.0 ** generator.uniform(-300, 0, n), 1 - 10.0 ** generator.uniform(-16, 0, n)):
        x = mixture.ppf(u)
        assert np.isfinite(x[(u > 0) & (u < 1)]).all()
        assert np.abs(mixture.cdf(x) - u).max() <= 1e-10
        assert np.abs(mixture.cdf(x) - u).max() <= 1e-8 * u.max()
    tiny = 10.0 ** generator.uniform(-300, -1, n)
    assert np.abs(mixture.cdf(mixture.ppf(tiny)) / tiny - 1).max() <= 1e-8  # to relative precision in the lower tail
    z = held(family, generator.standard_normal(n) * np.exp(2 * generator.standard_normal(n)))  # beyond what u can say
    assert_near(mixture.normal_score(mixture.from_normal_score(z)), z, 1e-10)


@every_family
def test_quantiles_of_the_ends_and_of_gaps(family):
    Mixture = FAMILIES[family][0]
    shapes = [3.0] * len(Mixture.shapes)
    mixture = Mixture([0.5, 0.0, 0.5], [-100.0, 0.0, 100.0], [1.0, 1.0, 1.0], *shapes)
    assert_same_bits(mixture.ppf([0.0, 1.0]), np.array([-np.inf, np.inf]))
    for u in (0.5, 0.5 - 1e-15, 0.5 + 1e-15, 0.25, 5e-324, 1e-310, 1 - 2**-53):
        assert abs(mixture.cdf(mixture.ppf(u)) - u) <= 1e-10
    spike = Mixture([0.999, 0.001], [1.0, 0.0], [1e-6, 1e3], *shapes)
    u = np.linspace(0, 1, 1001)[1:-1]
    assert np.abs(spike.cdf(spike.ppf(u)) - u).max() <= 1e-9  # neighbouring numbers around 1 are 1e-10 of F apart
    far = Mixture([0.3, 0.7], [0.0, 1e-3], [1e-12, 1e12], *shapes)
    assert np.abs(far.cdf(far.ppf(u)) - u).max() <= 1e-10


@every_family
def test_a_quantile_takes_few_steps(family, monkeypatch):
    """Bisection alone takes about 60, a wrong slope as many; the worst of these mixtures takes 19, of heavy tails
    with quantiles powers of ten apart 36."""
    monkeypatch.setattr(distributions, "MOST_STEPS", 40 if FAMILIES[family][0].shapes else 30)
    generator = np.random.default_rng(1)
    for K in (2, 5, 20):
        mixture = mixtures(3000, K, family=family)
        for z in (generator.standard_normal(3000), held(family, 100 * generator.standard_normal(3000))):
            assert_near(mixture.normal_score(mixture.from_normal_score(z)), z, 1e-10)


@every_family
def test_distribution_functions_are_those_of_high_precision(family):
    mpmath = pytest.importorskip("mpmath")
    _, _, f, F = FAMILIES[family]
    mixture = mixtures(40, 3, seed=2, family=family)
    generator = np.random.default_rng(3)
    x = mixture.mean() + generator.standard_normal(40) * generator.choice([1.0, 30.0, 1e4], 40) * np.sqrt(mixture.var())
    with mpmath.workdps(60):
        for i in range(40):
            parts = [[mpmath.mpf(float(v)) for v in a[i]] for a in mixture._parts()]
            terms = [(a, (mpmath.mpf(float(x[i])) - m) / s, s, *own) for a, m, s, *own in zip(*parts, strict=True)]
            lower, upper = (mpmath.fsum(a * F(sign * u, mpmath, *own) for a, u, _, *own in terms) for sign in (1, -1))
            density = mpmath.fsum(a * f(u, mpmath, *own) / s for a, u, s, *own in terms)
            one = mixture[i]
            for found, exact in ((one.log_cdf, lower), (one.log_sf, upper), (one.log_density, density)):
                assert_near(found(x[i]), float(mpmath.log(exact)), 1e-12)
            assert_near(one.cdf(x[i]), float(lower), 1e-14)
            if min(lower, upper) > 1e-250:
                assert abs(one.cdf(x[i]) / lower - 1) < 1e-11 and abs(one.sf(x[i]) / upper - 1) < 1e-11
            # Phi of the score is the smaller tail again
            tail = min(lower, upper)
            score = mpmath.mpf(-abs(float(one.normal_score(x[i]))))
            exact = mpmath.log(mpmath.erfc(-score / mpmath.sqrt(2)) / 2)
            assert_near(float(exact), float(mpmath.log(tail)), 1e-11)


@every_family
def test_far_tails_are_finite(family):
    mixture = mixtures(50, 4, family=family)
    for x in (1e8, -1e8, 1e150, -1e150):
        for value in (mixture.log_cdf(x), mixture.log_sf(x), mixture.log_density(x), mixture.normal_score(x)):
            assert not np.isnan(value).any()
        assert np.all(np.sign(mixture.normal_score(x)) == np.sign(x))
        assert np.isfinite(mixture.normal_score(x)).all()


# E|m + s U - t U'| of each family in mpmath, and the relative error allowed.
NEAR = [1.0, 1 + 1e-3, 1 + 1e-9, 1 + 1e-15, 1.5, 30.0, 1e6]
MEAN_DIFFERENCES = {
    "gaussian": (lambda m, s, t, mp: folded_normal(m, mp.hypot(s, t), mp), 1e-14),
    "laplace": (lambda m, s, t, mp: mean_difference_of_laplaces(m, s, t, mp), 1e-14),
    "logistic": (lambda m, s, t, mp: mean_difference_of_logistics(m, s, t, mp), 1e-10),
    "student": (lambda m, s, t, mp: mean_difference_of_students(m, s, t, mp), 1e-5),
}


def folded_normal(m, s, mp):
    return 2 * s * mp.npdf(m / s) + m * mp.erf(m / s / mp.sqrt(2))


def mean_difference_of_laplaces(m, s, t, mp):
    if s == t:
        return abs(m) + (3 * s + abs(m)) / 2 * mp.exp(-abs(m) / s)
    return abs(m) + (s**3 * mp.exp(-abs(m) / s) - t**3 * mp.exp(-abs(m) / t)) / (s**2 - t**2)


def mean_difference_of_logistics(m, s, t, mp):
    """The mean of E|m - t U' + s U| = s (abs(v) + 2 log(1 + exp(-abs(v)))), v = (m - t U') / s, over U'."""
    s, t = max(s, t), min(s, t)

    def term(u):
        v = abs(m - t * u) / s
        return s * (v + 2 * mp.log1p(mp.exp(-v))) / (4 * mp.cosh(u / 2) ** 2)

    with mp.workdps(20):
        edges = [-100, -30, -10, -3, 0, 3, 10, 30, 100]
        return mp.quad(term, sorted(edges + ([m / t] if abs(m / t) < 99 else [])))


def mean_difference_of_students(m, s, t, mp):
    """With 3 degrees of freedom: the mean of E|m - t U' + s U| over U', in closed form but for one integral."""
    root = mp.sqrt(3)
    s, t = max(s, t), min(s, t)

    def term(y):  # u = 3^(1/2) tan(y), of which the density is 2 / pi cos(y)^2 by y
        v = (m - t * root * mp.tan(y)) / s / root
        absolute = 2 * root / mp.pi * (1 / (1 + v * v) + v * (v / (1 + v * v) + mp.atan(v)))
        return s * absolute * 2 / mp.pi * mp.cos(y) ** 2

    with mp.workdps(15):
        return mp.quad(term, [-mp.pi / 2, *sorted({-0.5, 0, 0.5, mp.atan(m / t / root)}), mp.pi / 2])


@every_family
def test_mean_differences_of_components_are_those_of_high_precision(family):
    mpmath = pytest.importorskip("mpmath")
    exact, tolerance = MEAN_DIFFERENCES[family]
    with mpmath.workdps(60):
        for m, ratio in itertools.product((0.0, 1e-9, 0.1, 1.0, 3.3, 7.0, 20.0, 700.0), NEAR):
            s, t = 2.0 * ratio, 2.0
            expected = exact(*(mpmath.mpf(v) for v in (m, s, t)), mpmath)
            for signed, scales in itertools.product((m, -m), ((s, t), (t, s))):
                shapes = [3.0] * len(FAMILIES[family][0].shapes)
                given = (signed, scales[0], *shapes, scales[1], *shapes)
                found = FAMILIES[family][0]._mean_difference(*(np.array([v]) for v in given))
                assert abs(found[0] / expected - 1) < tolerance, (signed, scales)


@every_family
def test_crps_of_one_component_is_that_of_scoringrules(family):
    scoringrules = pytest.importorskip("scoringrules")
    one = mixtures(200, 1, family=family)
    x = one.mu[:, 0] + 3 * np.random.default_rng(4).standard_normal(200) * one.sigma[:, 0]
    crps = getattr(scoringrules, {"gaussian": "crps_normal", "student": "crps_t"}.get(family, f"crps_{family}"))
    assert_near(one.crps(x), crps(x, *(part[:, 0] for part in (*one.own, one.mu, one.sigma))), 1e-9)


@few_or_many
@pytest.mark.parametrize("K", [1, 2, 10])
def test_crps_is_that_of_scoringrules(K, n):
    scoringrules = pytest.importorskip("scoringrules")
    mixture = mixtures(n, K)
    x = mixture.mu[:, 0] + 3 * np.random.default_rng(4).standard_normal(n) * mixture.sigma[:, 0]
    expected = scoringrules.crps_mixnorm(x, mixture.mu, mixture.sigma, mixture.alpha)
    assert_near(mixture.crps(x), expected, 1e-10)


@every_family
def test_crps_and_moments_are_their_integrals(family):
    shapes = [20.0] * len(FAMILIES[family][0].shapes)
    mixture = FAMILIES[family][0]([2.0, 1.0, 1.0], [-1.0, 0.5, 3.0], [0.5, 1.0, 0.3], *shapes)
    for x in (-4.0, 0.2, 2.9, 7.0):
        assert abs(mixture.crps(x) - crps_by_quadrature(mixture, x)) < 1e-9
    moments = [
        sum(
            quad(lambda s, p=p: s**p * np.exp(mixture.log_density(s)), a, b)[0]
            for a, b in itertools.pairwise([-80, -20, -8, -4, -2, -1, 0.5, 1, 3, 5, 9, 20, 80])
        )
        for p in range(3)
    ]
    assert abs(moments[0] - 1) < 1e-9
    assert abs(mixture.mean() - moments[1]) < 1e-9
    assert abs(mixture.var() - (moments[2] - moments[1] ** 2)) < 1e-8


@every_family
def test_a_change_of_units_of_a_mixture(family):
    mixture = mixtures(500, 3, family=family)
    other = FAMILIES[family][0](mixture.alpha, 4 * mixture.mu + 1, 4 * mixture.sigma, *mixture.own)
    x, q = np.random.default_rng(0).standard_normal(500), np.linspace(0.001, 0.999, 500)
    assert_near(other.cdf(4 * x + 1), mixture.cdf(x), 1e-11)
    assert_near(other.crps(4 * x + 1), 4 * mixture.crps(x), 1e-12)
    assert_near(other.mean(), 4 * mixture.mean() + 1, 1e-13)
    assert_near(other.var(), 16 * mixture.var(), 1e-13)
    assert_near(other.ppf(q), 4 * mixture.ppf(q) + 1, 1e-9)


def test_bernoulli_is_its_definition():
    p = np.array([0.0, 0.2, 0.7, 1.0])
    one = Bernoulli(p)
    assert_near(one.cdf(0), 1 - p, 0)
    assert_near(one.cdf(1), np.ones(4), 0)
    for x in (0, 1):  # the integral over [0, 1] of (F - 1{x <= s})^2
        assert_near(one.crps(x), (one.cdf(0) - (x == 0)) ** 2, 1e-15)
    for q in (0.01, 0.3, 0.5, 0.99):
        x = one.ppf(q)
        assert np.all(one.cdf(x) >= q) and np.all((x == 0) | (1 - p < q))
    assert_near(one.var(), (1 - p) * p**2 + p * (1 - p) ** 2, 1e-15)


# ---- conditionals of models ----------------------------------------------------------------------------------------

CASES = [
    (Case(D=4, H=7, K=3, R=5, lengths=(9, 1, 14), min_scale=1e-3), None, None),
    (Case(D=4, H=7, K=3, R=5, lengths=(9, 1, 14), min_scale=1e-3), Linear(), None),
    (Case(D=4, H=7, K=3, R=5, lengths=(9, 1, 14), min_scale=1e-3), Linear(lags=2, covariance="full"), [2, 0, 3, 1]),
    (Case(D=4, H=0, K=2, R=5, lengths=(9, 1, 14), min_scale=1e-3, cell="tanh"), Linear(covariance="full"), None),
    (Case(D=4, H=7, K=3, R=0, lengths=(24,), min_scale=1e-3), None, [3, 1, 0, 2]),
    (Case(D=4, H=7, K=3, R=0, lengths=(24,), min_scale=1e-3), Linear(covariance="full"), [3, 1, 0, 2]),
]
CASES += [
    (Case(D=4, H=7, K=3, R=R, lengths=lengths, head=head, min_scale=1e-3), transform, [2, 0, 3, 1])
    for head in FAMILIES
    if head != "gaussian"
    for R, lengths, transform in ((5, (9, 1, 14), Linear(lags=2, covariance="full")), (0, (24,), Linear()))
]
every_case = pytest.mark.parametrize("case, transform, order", CASES, ids=[f"{i}" for i in range(len(CASES))])


WITH_LAGS = [one for one in CASES if one[1] is not None and one[1].lags]


def model_and_data(case, transform, order, dtype=FLOAT64, n=None):
    data = walks(D=case.D)
    if transform is not None:
        transform = transform.fit(*packed([x if order is None else x[:, order] for x in data]))
    model, _ = case.model(dtype, transform=transform, order=order)
    X = [x[:T].astype(dtype) for x, T in zip(data, (9, 1, 14), strict=False)] if case.R else np.concatenate(data)[:24]
    return model, X if case.R else X.astype(dtype)


def parameters_of(model, X):
    """Mixtures in the units of X, by `predict_params` of each sequence: a list."""
    return [HEADS[model.conditional].distribution(*model.predict_params(x)) for x in listed(X)]


@dtypes
@every_case
def test_calls_are_those_of_the_parameters_in_the_units_of_X(case, transform, order, dtype):
    model, X = model_and_data(case, transform, order, dtype)
    near = {FLOAT64: 1e-10, FLOAT32: 1e-5}[dtype]
    q = [0.0, 1e-6, 0.5, 0.9, 1.0]
    found = [listed(f) for f in (model.cdf(X), model.crps(X), model.mean(X), model.var(X), model.ppf(X, 0.3))]
    quantiles, normals = listed(model.ppf(X, q)), listed(model.to_normal(X))
    for i, (x, mixture) in enumerate(zip(listed(X), parameters_of(model, X), strict=True)):
        cdf, crps, mean, var, third = (f[i] for f in found)
        assert_near(cdf, mixture.cdf(x), near)
        assert_near(crps, mixture.crps(x), near)
        assert_near(mean, mixture.mean(), near)
        finite = np.isfinite(mixture.var())  # of Student components of at most two degrees of freedom it is infinite
        assert_near(var[finite], mixture.var()[finite], near)
        assert np.all(np.isposinf(var[~finite]))
        assert_near(mixture.cdf(third), np.full(x.shape, 0.3), near)
        assert quantiles[i].shape == (*x.shape, 5) and np.all(np.diff(quantiles[i], axis=-1) > 0)
        assert np.all(quantiles[i][..., 0] == -np.inf) and np.all(quantiles[i][..., 4] == np.inf)
        assert_near(norm.cdf(normals[i]), cdf, 1e-13)
        assert all(part.dtype == np.float64 for part in (cdf, crps, mean, var, third, normals[i]))


@dtypes
@every_case
def test_rosenblatt_there_and_back(case, transform, order, dtype):
    model, X = model_and_data(case, transform, order, dtype)
    back = model.from_normal(model.to_normal(X))
    for found, x in zip(listed(back), listed(X), strict=True):
        assert_near(found, x, ROUND_TRIP[dtype])
    generator = np.random.default_rng(5)
    Z = [generator.standard_normal(x.shape) for x in X] if case.R else generator.standard_normal(X.shape)
    again = model.to_normal(model.from_normal(Z))
    for found, z in zip(listed(again), listed(Z), strict=True):
        assert_near(found, z, ROUND_TRIP[dtype])


@pytest.mark.parametrize("case, transform, order", WITH_LAGS, ids=ids(one[0] for one in WITH_LAGS))
def test_rosenblatt_there_and_back_in_the_tails(case, transform, order):
    model, X = model_and_data(case, transform, order)
    far = 6.0 if case.head == "student" else 30.0  # there x is 1e100, beside which the dimensions after it are nothing
    Z = [np.where(np.arange(x.size).reshape(x.shape) % 7 == 3, far, -1.0) * np.ones(x.shape) for x in X]
    for found, z in zip(model.to_normal(model.from_normal(Z)), Z, strict=True):
        assert_near(found, z, 1e-8)


def test_a_static_model_of_normals_is_its_own_rosenblatt_transform():
    parameters = {"W": np.zeros((0, 2)), "c": np.zeros(0), "rho": np.ones(2), "b_alpha": np.zeros((2, 1))}
    parameters |= {f"V_{q}": np.zeros((2, 0, 1)) for q in ("alpha", "mu", "sigma")}
    parameters |= {"b_mu": np.array([[1.0], [-2.0]]), "b_sigma": np.log([[2.0], [0.5]])}
    model = RNADE.from_parameters(parameters)
    X = np.random.default_rng(0).standard_normal((50, 2))
    assert_near(model.to_normal(X), (X - [1.0, -2.0]) / [2.0, 0.5], 1e-12)
    assert_near(model.from_normal(X), X * [2.0, 0.5] + [1.0, -2.0], 1e-12)


@few_or_many
@pytest.mark.parametrize("K", [1, 2, 5, 20])
@every_family
def test_frames_of_normals_are_the_quantiles_of_the_mixtures(family, K, n):
    """The core has its own search for roots.  Without hidden units each dimension is one mixture, in all rows."""
    D = 50
    known = mixtures(D, K, family=family)
    log_alpha = np.log(known.alpha) * np.repeat([1, 80], D // 2)[:, None]  # some weights next to nothing
    parameters = {"W": np.zeros((0, D)), "c": np.zeros(0), "rho": np.ones(D), "b_alpha": log_alpha}
    parameters |= {f"V_{q}": np.zeros((D, 0, K)) for q in ("alpha", "mu", "sigma")}
    parameters |= {"b_mu": known.mu, "b_sigma": np.log(known.sigma)}
    parameters |= {f"b_{name}": np.log(own - 1) for name, own in zip(known.shapes, known.own, strict=True)}
    model = RNADE.from_parameters(parameters, conditional=family)
    generator = np.random.default_rng(2)
    Z = generator.standard_normal((n // D, D)) * 10.0 ** generator.choice([0, 0, 1, 2, 4, 6], (n // D, 1))
    Z = held(family, Z)
    found = model.from_normal(Z)
    mixture = FAMILIES[family][0](*model.predict_params(Z))
    assert_near(mixture.normal_score(found), Z, 1e-10)
    assert_same_bits(model.from_normal(Z[3:4]), found[3:4])


@dtypes
@pytest.mark.parametrize("cell", ["sigmoid", "gru", "lstm"])
@pytest.mark.parametrize("L", [1, 2])
def test_frames_of_normals_in_any_batch_and_for_any_number_of_threads(L, cell, dtype, row, all_threads):
    context, lengths = ("alpha", "mu", "sigma", "hidden"), (4, 9, 1, 14, 6, 2, 9)
    case = Case(D=9, H=7, K=3, R=5, lengths=lengths, min_scale=1e-3, cell=cell, context=context, L=L)
    generator = np.random.default_rng(3)
    Z = [generator.standard_normal((T, 9)) for T in case.lengths * 7]
    expected = None
    for n_jobs in (1, 2, 5):
        model, _ = case.model(dtype, n_jobs=n_jobs)
        found = model.from_normal(Z)
        assert _core.last_team_size() == team_of(n_jobs)
        expected = found if expected is None else expected
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")
    for i, z in enumerate(Z[:7]):
        assert_same_bits(model.from_normal(z), found[i], f"sequence {i} alone")
    for again, z in zip(model.to_normal(found), Z, strict=True):
        assert_near(again, z, ROUND_TRIP[dtype])


SOME = [CASES[2], *CASES[5:]]


@pytest.mark.parametrize("n", [4000, pytest.param(100_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("case, transform, order", SOME, ids=ids(one[0] for one in SOME))
def test_integral_transforms_of_own_samples_are_uniform(case, transform, order, n):
    model, _ = model_and_data(case, transform, order)
    draws = model.sample(n // 20, 20, random_state=0) if case.R else model.sample(n, random_state=0)
    values = model.cdf(draws)
    values = np.stack(values) if case.R else values
    assert values.size == 4 * n
    check_uniform(values)
    normals = model.to_normal(draws)
    assert kstest(np.concatenate(listed(normals)).ravel(), "norm").pvalue > 0.001


@pytest.mark.parametrize("case, transform, order", WITH_LAGS, ids=ids(one[0] for one in WITH_LAGS))
def test_normals_become_samples(case, transform, order):
    model, _ = model_and_data(case, transform, order)
    generator = np.random.default_rng(7)
    draws = model.from_normal(generator.standard_normal((150, 8, 4)))
    check_uniform(np.stack(integral_transforms(model, draws)))


@dtypes
@every_case
def test_slices_leave_the_bits(case, transform, order, dtype, monkeypatch):
    model, X = model_and_data(case, transform, order, dtype)

    def everything():
        return [model.cdf(X), model.ppf(X, [0.1, 0.9]), model.crps(X), model.to_normal(X), model.from_normal(X)]

    expected = everything()
    for frames in (1, 2, 10):
        monkeypatch.setattr("rnnrnade.model.SLICE", frames * case.D * 3 * case.K)
        assert_same_bits(everything(), expected, f"slices of {frames} frames")


def test_a_head_without_quantiles_is_refused_by_the_core():
    model, _, offsets = Case(D=3, H=4, K=1, R=0, lengths=(2,), head="bernoulli").core()
    with pytest.raises(ValueError, match="no quantiles in the core"):
        model.from_normal(np.zeros((2, 3)), offsets)


@pytest.mark.parametrize("call", ["cdf", "ppf", "crps", "mean", "var", "to_normal", "from_normal"])
@pytest.mark.parametrize("binary", [False, True])
def test_shapes_for_each_form_of_X(call, binary):
    case = Case(D=3, H=4, K=2, R=3, lengths=(5, 2), **({"head": "bernoulli"} if binary else {"min_scale": 0.1}))
    model, X = case.model()
    static, rows = Case(D=3, H=4, K=2, R=0, lengths=(6,), head=case.head).model()

    def run(estimator, X, **given):
        return getattr(estimator, call)(X, *([0.5] if call == "ppf" else []), **given)

    if binary and call.endswith("normal"):
        with pytest.raises(ValueError, match="continuous data"):
            run(model, X)
        return
    found = run(model, X)
    assert isinstance(found, list) and [f.shape for f in found] == [(5, 3), (2, 3)]
    assert_same_bits(run(model, X[0]), found[0], "2-D")
    assert_same_bits(run(model, np.concatenate(X), lengths=[5, 2]), found, "lengths")
    assert_same_bits(run(model, np.stack([X[0], X[0]])), [found[0], found[0]], "3-D")
    assert run(static, rows).shape == (6, 3)
    with pytest.raises(TypeError, match="leave lengths out"):
        run(static, rows, lengths=[6])
    pandas = pytest.importorskip("pandas")
    assert_same_bits(run(model, pandas.DataFrame(X[0])), found[0], "DataFrame")


def test_conditionals_of_binary_models():
    model, X = Case(D=3, H=4, K=1, R=3, lengths=(5, 2), head="bernoulli").model()
    p = model.predict_params(X).p
    for i, x in enumerate(X):
        assert_same_bits(model.mean(X)[i], p[i])
        assert_near(model.var(X)[i], p[i] * (1 - p[i]), 0)
        assert_near(model.crps(X)[i], (p[i] - x) ** 2, 0)
        assert_near(model.cdf(X)[i], np.where(x == 1, 1.0, 1 - p[i]), 0)
        assert_near(model.ppf(X, 0.5)[i], (p[i] > 0.5).astype(float), 0)


def test_wrong_probabilities_are_refused():
    model, X = CASES[0][0].model()
    for q in (-0.1, 1.5, np.nan, [0.5, 2.0], np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"q must be a number in \[0, 1\]"):
            model.ppf(X, q)
    with pytest.raises(ValueError, match=r"Z: .*NaN"):
        model.from_normal([np.full((3, 4), np.nan)])
    with pytest.raises(ValueError, match="features"):
        model.from_normal([np.zeros((3, 5))])


# ---- leading dimensions of the next frame --------------------------------------------------------------------------


@dtypes
@every_case
def test_samples_given_leading_dimensions(case, transform, order, dtype):
    model, X = model_and_data(case, transform, order, dtype)
    order = list(range(4)) if order is None else order
    past = X[0] if case.R else None
    n = 1500
    for j in (1, 3):
        leading = np.asarray(listed(X)[-1][0, order[:j]], np.float64)
        if case.R:
            draws = model.sample(n, 2, random_state=1, given=past, leading=leading)
            values = [model.cdf(np.concatenate([past, draw]))[len(past) :] for draw in draws]
            values = np.stack(values)
        else:
            draws = model.sample(n, random_state=1, leading=leading)[:, None]
            values = model.cdf(draws[:, 0])[:, None]
        assert_same_bits(draws[:, 0, order[:j]], np.tile(leading, (n, 1)))
        check_uniform(values[:, 0, order[j:]])
        if case.R:
            check_uniform(values[:, 1])
    each = np.tile(leading, (n, 1))
    options = {"given": past} if case.R else {}
    size = (n, 2) if case.R else (n,)
    again = model.sample(*size, random_state=1, leading=each, **options)
    assert_same_bits(again.reshape(n, -1, 4), draws, "one row of leading dimensions for each sample")
    every = model.sample(*size, random_state=1, leading=np.zeros((n, 4)), **options).reshape(n, -1, 4)
    assert_same_bits(every[:, 0], np.zeros((n, 4)))


@pytest.mark.parametrize("R", [0, 3])
def test_binary_samples_given_leading_dimensions(R):
    case = Case(D=4, H=5, K=1, R=R, lengths=(3,), head="bernoulli")
    model, X = case.model()
    parameters, _ = case.make()
    past = X[0] if R else np.zeros((0, 4))
    n = 20_000
    options = {"given": past} if R else {}
    draws = model.sample(*((n, 1) if R else (n,)), random_state=0, leading=[1, 0], **options).reshape(n, 4)
    assert np.all(draws[:, :2] == [1, 0])
    frames = np.array([[1, 0, *tail] for tail in itertools.product([0, 1], repeat=2)], float)
    log_p = []
    for frame in frames:
        dims = reference.log_density_dims(parameters, np.concatenate([past, frame[None]]), **case.choices)
        log_p.append(dims[-1, 2:].sum())
    share = np.array([(draws == frame).all(1).mean() for frame in frames])
    assert abs(np.exp(log_p).sum() - 1) < 1e-12
    assert np.all(np.abs(share - np.exp(log_p)) < 4 * np.sqrt(0.25 / n))


def test_wrong_leading_dimensions_are_refused():
    model, _ = CASES[0][0].model(FLOAT32)
    for leading, message in (
        (np.zeros(5), "first j of the 4 dimensions"),
        (np.zeros(0), "first j of the 4 dimensions"),
        (1.0, "first j of the 4 dimensions"),
        (np.zeros((3, 2)), "first j of the 4 dimensions"),
        ([np.nan], "NaN or infinity"),
        ([1e300], "too large for float32"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample(2, 3, random_state=0, leading=leading)
    binary, _ = Case(D=3, H=4, K=1, R=0, lengths=(2,), head="bernoulli").model()
    with pytest.raises(ValueError, match="zeros and ones"):
        binary.sample(2, random_state=0, leading=[0.5])


@pytest.mark.parametrize("name", ids(["cdf", "to_normal", "calibration"]))
def test_an_estimator_must_be_fitted(name):
    from sklearn.exceptions import NotFittedError

    from rnnrnade import RNADE

    with pytest.raises(NotFittedError):
        getattr(RNADE(), name)(np.zeros((3, 2)))
