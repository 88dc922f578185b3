"""Components that all dimensions of a frame share: one mixture over the frame, RNN-GMM and RNN-Gauss."""

from functools import cache

import numpy as np
import pytest
import reference
from helpers import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    MIXTURES,
    SHARED,
    TOLERANCE,
    Case,
    assert_near,
    assert_near_gradient,
    assert_same_bits,
    check_uniform,
    complex_step_gradient,
    ids,
    small_model,
    walks,
)
from scipy.special import logsumexp
from scipy.stats import kstest
from sklearn.mixture import GaussianMixture

from rnnrnade import RNADE, RNNGMM, RNNRNADE, Linear, RNNGauss, Volatility
from rnnrnade.layout import Layout, initial_parameters
from rnnrnade.model import Model

TINY = [case for case in SHARED if case.D <= 3]
PROBABILITIES = (0.05, 0.5, 0.9)

# ---- the definition --------------------------------------------------------------------------------------------------


def of_whole_frames(parameters, x, case):
    """log p(x^t) = logsumexp_k( log alpha_k + sum_d log N_k(x_d) ), all dimensions at once: (T,)"""
    p = reference._prepared(parameters, case.head)
    states = reference._conditions(p, reference._states(p, x, case.cell), None)
    found = []
    for x_t, r in zip(x, states, strict=False):
        z = {
            q: parameters[f"b_{q}"] + (parameters[f"W_{q}"] @ r if f"W_{q}" in parameters else 0)
            for q in ("alpha", "mu", "sigma")
        }
        sigma = case.min_scale + np.exp(z["sigma"])
        nu = [1 + np.exp(parameters["b_nu"])] if "b_nu" in parameters else []
        terms = reference.HEADS[case.head].log_f((x_t[:, None] - z["mu"]) / sigma, *nu) - np.log(sigma)
        found.append(logsumexp(z["alpha"] - logsumexp(z["alpha"]) + terms.sum(axis=0)))
    return np.array(found)


@pytest.mark.parametrize("case", SHARED, ids=ids(SHARED))
def test_the_conditionals_of_the_definition_multiply_to_the_mixture_of_the_frame(case):
    parameters, sequences = case.make()
    for x in sequences:
        dims = reference.log_density_dims(parameters, x, **case.choices)
        assert_near(dims.sum(axis=1), of_whole_frames(parameters, x, case), 1e-13)


@pytest.mark.parametrize("case", TINY, ids=ids(TINY))
def test_the_gradient_is_the_derivative_in_every_coordinate(case):
    parameters, sequences = case.make()
    exact = complex_step_gradient(lambda p: reference.log_density(p, sequences, **case.choices), parameters)
    assert_near_gradient(reference.gradient(parameters, sequences, **case.choices)[1], exact, 1e-13)
    model, X = case.model()
    assert_near_gradient(model.log_likelihood_and_gradient(X)[1], exact, 1e-12)


def test_the_density_integrates_to_one():
    case = Case(D=2, H=0, K=3, R=2, lengths=(2,), min_scale=0.2, conditioner="shared")
    model, (x,) = case.model()
    u, step = np.linspace(-2.9, 2.9, 81, retstep=True)
    grid, weight = 4 * np.sinh(u), 4 * np.cosh(u) * step
    frames = np.array(np.meshgrid(grid, grid, indexing="ij")).reshape(2, -1).T
    sequences = [np.array([x[0], frame]) for frame in frames]
    density = np.exp([score[1] for score in model.score_frames(sequences)]).reshape(len(grid), -1)
    assert abs(weight @ density @ weight - 1) < 1e-6


# ---- many dimensions, numbers far away -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_dimensions_keep_their_digits(dtype, row):
    """After 200 dimensions of order one thousand nats, two components of nearly the same density still differ."""
    generator = np.random.default_rng(0)
    D, near = 200, 1e-4 if dtype == FLOAT32 else 1e-9
    mu = np.tile(generator.normal(size=(D, 1)), 2)
    mu[:, 1] += near * generator.normal(size=D)
    parameters = {"b_alpha": np.zeros(2), "b_mu": mu, "b_sigma": np.full((D, 2), -3.0)}
    parameters = {name: value.astype(dtype) for name, value in parameters.items()}
    x = (mu[:, 0] + 0.2 * generator.normal(size=(20, D))).astype(dtype)
    found = RNADE.from_parameters(parameters).predict_params(x).alpha
    expected = reference.conditionals(parameters, x)[0]
    assert np.ptp(expected[:, -1, 0]) > 10 * near  # 200 dimensions say which
    assert_near(found, expected, 200 * TOLERANCE["score"][dtype] if dtype == FLOAT64 else 3e-3)
    dims = RNADE.from_parameters(parameters).score_dims(x)
    assert_near(dims, reference.log_density_dims(parameters, x), 10 * TOLERANCE["score"][dtype])


@pytest.mark.parametrize("head", MIXTURES)
def test_numbers_that_float32_cannot_square(head, row):
    case = Case(D=7, H=0, K=3, R=2, lengths=(3, 2), head=head, conditioner="shared")
    model, X = case.model(FLOAT32)
    parameters, _ = case.make(FLOAT32)
    before = model.score_dims(X)
    X[0][1, 2], X[1][1, 5], X[0][2, 0] = 3e25, -1e24, 1e30
    found = model.score_dims(X)
    for x, dims in zip(X, found, strict=True):
        expected = reference.log_density_dims(parameters, x.astype(np.float64), **case.choices)
        assert_near(dims, expected, 1e-5)
    assert_same_bits(found[0][1, :2], before[0][1, :2])
    stream = model.stream()
    for x, frame in zip(X[0], model.score_frames(X)[0], strict=True):
        assert stream.update(x) == frame


# ---- what it is beside other models ----------------------------------------------------------------------------------


def test_rows_are_those_of_a_gaussian_mixture():
    x = np.concatenate(walks(20))
    mixture = GaussianMixture(4, covariance_type="diag", random_state=0).fit(x)
    parameters = {
        "b_alpha": np.log(mixture.weights_),
        "b_mu": mixture.means_.T,
        "b_sigma": 0.5 * np.log(mixture.covariances_.T),
    }
    model = RNADE.from_parameters(parameters)
    assert model.components == "frame" and model.n_hidden == 0 and model.n_components == 4
    assert_near(model.score_samples(x), mixture.score_samples(x), 1e-12)
    draws, others = model.sample(4000, random_state=0), mixture.sample(4000)[0]
    assert_near(draws.mean(0), others.mean(0), 0.2)
    assert_near(np.cov(draws.T), np.cov(others.T), 0.3)


def test_training_rows_comes_near_to_expectation_maximisation():
    generator = np.random.default_rng(0)
    centres = 4 * generator.normal(size=(3, 4))
    x, y = (centres[generator.integers(0, 3, n)] + generator.normal(size=(n, 4)) for n in (900, 400))
    expected = GaussianMixture(3, covariance_type="diag", n_init=5, random_state=0).fit(x).score(y)
    options = {"transform": "standardize", "weight_decay": 0, "max_epochs": 60, "random_state": 0}
    assert RNADE(8, 0, components="frame", **options).fit(x).score(y) > expected - 0.15


@pytest.mark.parametrize("cell", ["sigmoid", "lstm"])
def test_one_component_is_an_rnade_without_hidden_units(cell):
    case = Case(D=5, H=0, K=1, R=4, lengths=(9, 4), cell=cell, context=("mu", "sigma"), conditioner="shared")
    parameters, X = case.make()
    model = RNNGauss.from_parameters(parameters, cell=cell)
    empty = {"W": np.zeros((0, 5)), "c": np.zeros(0), "rho": np.ones(5)}
    empty |= {f"V_{q}": np.zeros((5, 0, 1)) for q in ("alpha", "mu", "sigma")}
    other = RNNRNADE.from_parameters(parameters | empty | {"b_alpha": np.zeros((5, 1))}, cell=cell)
    assert_near(np.concatenate(model.score_dims(X)), np.concatenate(other.score_dims(X)), 1e-14)
    assert_near(model.sample(3, 4, random_state=0), other.sample(3, 4, random_state=0), 1e-14)
    with pytest.raises(ValueError, match="n_components=1 contradicts"):
        RNNGauss.from_parameters(Case(D=5, H=0, K=2, R=4, lengths=(9,), conditioner="shared").make()[0])


def test_a_preset_is_the_estimator_with_its_options():
    X = walks()
    gmm = RNNGMM(3, n_recurrent=4, max_epochs=3, random_state=0).fit(X)
    same = RNNRNADE(3, 0, components="frame", n_recurrent=4, max_epochs=3, random_state=0).fit(X)
    assert_same_bits(dict(gmm.parameters_), dict(same.parameters_))
    assert set(gmm.parameters_) == {
        *("b_alpha", "b_mu", "b_sigma", "W_alpha", "W_mu", "W_sigma", "W_in", "W_rec", "b_r", "r0")
    }
    assert gmm.parameters_["b_alpha"].shape == (3,) and gmm.parameters_["W_alpha"].shape == (3, 4)
    again = RNNGMM.from_parameters(
        gmm.parameters_, transform=gmm.transform_, min_scale=gmm.min_scale, conditional="gaussian"
    )
    assert_same_bits(again.score_samples(X), gmm.score_samples(X))


def test_hidden_units_and_hidden_context_are_refused():
    with pytest.raises(ValueError, match="n_hidden must be 0"):
        RNADE(components="frame").fit(np.zeros((30, 2)))
    with pytest.raises(ValueError, match="'context' parameter of RNNGMM"):
        RNNGMM(context=("alpha", "hidden")).fit(walks())
    with pytest.raises(ValueError, match="components='dimension' contradicts"):
        RNADE.from_parameters({"b_alpha": [0.0], "b_mu": [[0.0]], "b_sigma": [[0.0]]}, components="dimension")
    model, X = small_model("RNADE", n_hidden=0)
    model.partial_fit(X).set_params(components="frame")
    with pytest.raises(ValueError, match="conditioner was 'nade', is 'shared'"):
        model.partial_fit(X)


@pytest.mark.parametrize("freedom", [np.inf, 4.0])
@pytest.mark.parametrize("D", [1, 3, 200])
def test_the_first_parameters_are_nearly_standard(D, freedom):
    """Behind a fitted transform the untrained net loses little: for any number of dimensions."""
    layout = Layout("gaussian", D, 0, 5, conditioner="shared")
    generator = np.random.default_rng(0)
    model = Model(layout, initial_parameters(layout, generator, FLOAT64, freedom))
    scale = 1.0 if freedom == np.inf else np.sqrt((freedom - 2) / generator.chisquare(freedom, 4000))[:, None]
    x = scale * generator.standard_normal((4000, D))
    found = model.log_density(x, np.arange(4001)).frames
    normal = -0.5 * (x**2).sum(1) - 0.5 * D * np.log(2 * np.pi)
    assert np.mean(found - normal) > (-0.6 if freedom == np.inf else 0.0)


# ---- marginals -------------------------------------------------------------------------------------------------------

TRANSFORMS = [
    None,
    "standardize",
    "whiten",
    Linear(lags=2, covariance="full"),
    [Linear(lags=1, covariance="full"), Volatility(scale=((0.8,), 0.5, 0.1))],
]
every_transform = pytest.mark.parametrize("which", range(5), ids=["none", "standardize", "whiten", "var", "chain"])


def steps(n, T, seed=0):
    """Random walks whose steps are correlated, but not nearly dependent."""
    mix = np.array([[1.0, 0, 0], [0.5, 1, 0], [-0.3, 0.4, 1]])
    return list(np.cumsum(np.random.default_rng(seed).standard_normal((n, T, 3)) @ mix.T, axis=1) / 3)


@cache
def fitted(which, **options):
    options = {"n_recurrent": 4, "max_epochs": 4, "dtype": FLOAT64, "random_state": 0} | options
    return RNNGMM(3, transform=TRANSFORMS[which], missing="marginalize", **options).fit(steps(20, 10))


def with_gap(x, t, *dims):
    gappy = x.copy()
    gappy[t, list(dims)] = np.nan
    return gappy


def slice_through(model, x, t, d, n=1201):
    """(values of x[t, d] about where they are likely, log-densities of the sequence at each)."""
    draws = model.impute([with_gap(x, t, d)], n_samples=200, random_state=0)[0][:, t, d]
    grid = draws.mean() + 15 * draws.std() * np.linspace(-1, 1, n)
    copies = np.tile(x, (n, 1, 1))
    copies[:, t, d] = grid
    return grid, model.score_samples(list(copies))


def integral_over(model, x, t, d):
    """log of the integral of the density of a sequence over x[t, d], by the trapezoid rule."""
    grid, scores = slice_through(model, x, t, d)
    return logsumexp(scores, b=grid[1] - grid[0])


@every_transform
@pytest.mark.parametrize("order", [None, (2, 0, 1)])
def test_a_gap_in_the_last_frame_is_integrated_out_exactly(which, order):
    model, (x,) = fitted(which, order=order), steps(1, 6, seed=5)
    for d in range(3):
        gappy = with_gap(x, -1, d)
        found = model.log_likelihood_missing([gappy], random_state=0)
        assert found.standard_error[0] == 0
        assert_near(found.log_likelihood[0], integral_over(model, x, len(x) - 1, d), 1e-8)
        dims, frames = model.score_dims([gappy])[0], model.score_frames([gappy])[0]
        assert dims[-1, d] == 0
        assert_near(dims.sum(1), frames, 1e-13)
        assert_near(frames.sum(), found.log_likelihood[0], 1e-12)


@every_transform
def test_gaps_of_a_frame_come_in_any_number(which):
    """Two dimensions that are missing are one, integrated over the other."""
    model, (x,) = fitted(which), steps(1, 6, seed=6)
    two = model.log_likelihood_missing([with_gap(x, -1, 0, 1)]).log_likelihood[0]
    grid = slice_through(model, x, len(x) - 1, 1, n=3)[0][1] + np.linspace(-8, 8, 801)
    copies = np.tile(with_gap(x, -1, 0), (len(grid), 1, 1))
    copies[:, -1, 1] = grid
    one = model.log_likelihood_missing(list(copies)).log_likelihood
    assert_near(logsumexp(one, b=grid[1] - grid[0]), two, 1e-6)


def test_rows_with_any_gap_are_exact():
    generator = np.random.default_rng(0)
    x = np.concatenate(walks(20, D=4))
    for transform in ("standardize", "whiten", None):
        model = RNADE(
            3, 0, components="frame", transform=transform, missing="marginalize", max_epochs=5, random_state=0
        )
        model.set_params(dtype=FLOAT64).fit(x)
        rows = x[:40].copy()
        rows[generator.random(rows.shape) < 0.4] = np.nan
        found = model.log_likelihood_missing(rows)
        assert not found.standard_error.any()
        alpha, mu, sigma = (p[0] for p in model.predict_params(x[:1]))
        prior = alpha[0]
        if transform == "whiten":  # in the units of X: N(mean + L m_k, L diag(s_k^2) L')
            p, link = model.parameters_, model.transform_
            L = link.scale_[:, None] * link.factors_[0]
            shift = link.mean_ + link.scale_ * link.intercepts_[0]
            m = shift[:, None] + L @ p["b_mu"]
            cov = [(L * (model.min_scale + np.exp(p["b_sigma"][:, k])) ** 2) @ L.T for k in range(3)]
        else:
            m, cov = mu, [np.diag(sigma[:, k] ** 2) for k in range(3)]
        for row, value in zip(rows, found.log_likelihood, strict=True):
            seen = ~np.isnan(row)
            terms = []
            for k in range(3):
                left, C = (row - m[:, k])[seen], cov[k][np.ix_(seen, seen)]
                terms.append(-0.5 * left @ np.linalg.solve(C, left) - 0.5 * np.linalg.slogdet(2 * np.pi * C)[1])
            assert_near(value, logsumexp(np.log(prior) + terms) if seen.any() else 0.0, 1e-10)


@every_transform
def test_gaps_in_earlier_frames_are_estimated_without_bias(which):
    model, (x,) = fitted(which), steps(1, 5, seed=7)
    expected = integral_over(model, x, 2, 1)
    found = model.log_likelihood_missing([with_gap(x, 2, 1)], n_particles=500, n_repeats=20, random_state=0)
    assert 0 < found.standard_error[0] < 0.05
    assert abs(found.log_likelihood[0] - expected) < 4 * found.standard_error[0]


@every_transform
def test_imputed_numbers_follow_the_exact_conditional(which):
    """Of a frame's first dimension given those after it: uniform under the marginal's own distribution function."""
    model, (x,) = fitted(which), steps(1, 6, seed=8)
    gappy = with_gap(x, -1, 0)
    draws = model.impute([gappy], n_samples=2000, random_state=1)[0]
    kept = ~np.isnan(gappy)
    assert_same_bits(draws[:, kept], np.tile(x[kept], (2000, 1)))
    grid, scores = slice_through(model, x, len(x) - 1, 0)
    cdf = np.cumsum(np.exp(scores - model.log_likelihood_missing([gappy]).log_likelihood[0])) * (grid[1] - grid[0])
    assert abs(cdf[-1] - 1) < 1e-6
    half = (grid[1] - grid[0]) / 2  # a sum up to i holds the mass up to the middle of i and i + 1
    assert kstest(np.interp(draws[:, -1, 0], grid + half, cdf), "uniform").pvalue > 0.001


def test_other_families_keep_to_particles():
    model, (x,) = fitted(2, conditional="laplace"), steps(1, 6, seed=5)
    assert model.log_likelihood_missing([with_gap(x, -1, 0)], n_particles=50, random_state=0).standard_error[0] > 0


# ---- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", MIXTURES)
def test_draws_have_uniform_integral_transforms(head):
    case = Case(D=3, H=0, K=3, R=3, lengths=(1,), head=head, min_scale=0.1, conditioner="shared")
    model, _ = case.model()
    draws = model.sample(200, 10, random_state=0)
    check_uniform(np.array(model.cdf(list(draws))))
    quantiles = model.ppf(list(draws[:3]), PROBABILITIES)
    assert np.all(np.diff(np.array(quantiles), axis=-1) > 0)
    back = model.from_normal(model.to_normal(list(draws[:3])))
    assert_near(np.array(back), draws[:3], 1e-9)
