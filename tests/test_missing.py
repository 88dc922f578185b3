"""Missing values: gaps at the end exactly, others without bias, imputations from the conditional; by quadrature."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import DTYPES, FLOAT32, FLOAT64, MIXTURES, Case, assert_near, assert_same_bits
from scipy.stats import kstest

import rnnrnade
from rnnrnade import Linear

NAN = np.nan
SEQUENCES = Case(D=2, H=4, K=2, R=3, lengths=(4, 3), context=("alpha", "mu", "sigma"), min_scale=0.3)
VECTORS = Case(D=2, H=4, K=3, R=0, lengths=(4,), min_scale=0.3)
BITS = Case(D=3, H=4, K=1, R=3, lengths=(4, 3), head="bernoulli", cell="gru", L=2)
FULL = Linear(lags=2, covariance="full")


def model_of(case, transform=None, dtype=FLOAT64, **options):
    """A model that marginalises, perhaps behind a fitted transform, and its X."""
    _, X = case.model(dtype)
    if transform is not None:
        generator = np.random.default_rng(1)
        data = np.cumsum(generator.standard_normal((60, case.D)) @ np.triu(np.ones((case.D, case.D))), axis=0) / 3
        options["transform"] = Linear(transform.lags, transform.covariance).fit(data, np.array([0, 60]))
        X = [data[:n] for n in case.lengths] if case.R else data[10:14]
    options = {"missing": "marginalize", "random_state": 0, **options}
    return case.model(dtype, **options)[0], X


def with_gaps(x, *places):
    """A copy of x with NaN at places (frame, dimension or slice)."""
    x = x.copy()
    for place in places:
        x[place] = NAN
    return x


def on_grid(model, x):
    """(grids, log-densities) of x with its one or two gaps filled from a grid each: (n,) or (n, n)"""
    gaps = np.argwhere(np.isnan(x))
    n = {1: 8001, 2: 281}[len(gaps)]
    draws = np.reshape(model.impute([x] if model._recurrent else x, 200, 1), (200, *x.shape))  # where to look
    draws = draws[:, gaps[:, 0], gaps[:, 1]]
    grids = np.linspace(draws.mean(axis=0) - 12 * draws.std(axis=0), draws.mean(axis=0) + 12 * draws.std(axis=0), n).T
    filled = np.tile(x, (n ** len(gaps), 1, 1))
    for place, values in zip(gaps, np.meshgrid(*grids, indexing="ij"), strict=True):
        filled[:, place[0], place[1]] = values.ravel()
    data = filled if model._recurrent else filled[:, 0]
    return grids, model.score_samples(data).reshape([n] * len(gaps))


def quadrature(model, x):
    """log of the integral of the density over the gaps of x; the trapezoid rule is exact for such smooth functions."""
    grids, log_p = on_grid(model, x)
    top = log_p.max()
    return top + np.log(np.exp(log_p - top).sum()) + sum(np.log(grid[1] - grid[0]) for grid in grids)


# ---- exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [None, Linear(), FULL], ids=str)
def test_trailing_gaps_are_marginals_exactly(transform):
    model, X = model_of(SEQUENCES, transform)
    for x in (with_gaps(X[0], (3, 1)), with_gaps(X[0], 3)):
        found, error = model.log_likelihood_missing([x])
        assert error[0] == 0
        assert_near(found, [quadrature(model, x)], 1e-8)
        assert_same_bits(model.score_samples([x]), found)
    order, x = [1, 0], with_gaps(X[0], (3, 0))  # the last one in the order of the model
    model = model_of(SEQUENCES, transform, order=order)[0]
    assert_near(model.score_samples([x]), [quadrature(model, x)], 1e-8)
    model, X = model_of(VECTORS, transform)
    x = with_gaps(X, (slice(None), 1))
    assert_near(model.score_samples(x), [quadrature(model, row[None]) for row in x], 1e-8)
    assert_same_bits(model.score_samples(x), model.score_dims(with_gaps(x))[:, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transform", [None, Linear(), FULL], ids=str)
def test_what_is_exact_has_the_bits_of_complete_data(transform, dtype):
    model, X = model_of(SEQUENCES, transform, dtype)
    dims, frames = model.score_dims(X), model.score_frames(X)
    gaps = [with_gaps(X[0], (2, 1), 3), X[1]]
    found = model.score_dims(gaps)
    assert_same_bits(found[0][:2], dims[0][:2])
    assert_same_bits(found[0][2, :1], dims[0][2, :1])
    assert not found[0][2, 1:].any() and not found[0][3].any()
    assert_same_bits(found[1], dims[1])
    assert_same_bits(model.score_frames(gaps)[0][:2], frames[0][:2])
    assert_same_bits(model.score_frames(gaps)[1], frames[1])
    nothing = [np.full((2, 2), NAN), X[1]]
    assert_same_bits(model.score_samples(nothing), np.array([0.0, model.score_samples(X)[1]]))
    for call in (model.score_samples, model.score_frames, model.score_dims):
        assert_same_bits(call(X), call([x.copy() for x in X]))


def test_a_frame_before_others_is_no_trailing_gap():
    """Dropping its last factor would be another number: the recurrent state reads the missing value."""
    model, X = model_of(SEQUENCES)
    x = with_gaps(X[0][:2], (0, 1))
    found, error = model.log_likelihood_missing([x], n_particles=2000)
    dropped = np.delete(model.score_dims([X[0][:2]])[0], 1).sum()
    exact = quadrature(model, x)
    assert error[0] > 0 and abs(found[0] - exact) < 4 * error[0] < 0.1 * abs(dropped - exact)


# ---- Monte Carlo -----------------------------------------------------------------------------------------------------

PATTERNS = {
    "first dimension": [(0, 0)],
    "frame": [0],
    "inner frame": [1],
    "two frames": [(0, 1), (2, 0)],
    "late": [(2, 0)],
}


@pytest.mark.parametrize("transform", [None, Linear(), FULL], ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("n_particles", [3, pytest.param(30, marks=pytest.mark.full)])
def test_the_likelihood_is_estimated_without_bias(pattern, transform, n_particles):
    """With three particles, resampled or not, a bias would be seen."""
    model, X = model_of(SEQUENCES, transform)
    x = with_gaps(X[0], *PATTERNS[pattern])
    found, error = model.log_likelihood_missing([x], n_particles, n_repeats=3000)
    ratio = np.exp(found[0] - quadrature(model, x))
    assert 0 < error[0] < 0.1
    assert abs(ratio - 1) < 3 * error[0] * ratio


@pytest.mark.parametrize("pattern", ["first dimension", "frame"])
@pytest.mark.parametrize("head", [head for head in MIXTURES if head != "gaussian"])
def test_the_likelihood_of_each_family_is_estimated_without_bias(head, pattern):
    model, X = model_of(replace(SEQUENCES, head=head))
    x = with_gaps(X[0], *PATTERNS[pattern])
    found, error = model.log_likelihood_missing([x], 5, n_repeats=3000)
    ratio = np.exp(found[0] - quadrature(model, x))
    assert 0 < error[0] < 0.1
    assert abs(ratio - 1) < 3 * error[0] * ratio


@pytest.mark.parametrize("transform", [None, Linear(), FULL], ids=str)
def test_the_likelihood_of_vectors_is_estimated_without_bias(transform):
    model, X = model_of(VECTORS, transform)
    x = with_gaps(X, (slice(None), 0))
    found, error = model.log_likelihood_missing(x, 5, n_repeats=2000)
    ratio = np.exp(found - [quadrature(model, row[None]) for row in x])
    assert (np.abs(ratio - 1) < 3.5 * error * ratio).all()


def test_the_likelihood_of_binary_data_is_estimated_without_bias():
    model, X = model_of(BITS)
    x = with_gaps(X[0], (1, 0), (2, slice(None)))
    filled = np.tile(x, (16, 1, 1))
    filled[:, np.isnan(x)] = (np.arange(16)[:, None] >> np.arange(4)) & 1
    exact = np.log(np.exp(model.score_samples(filled)).sum())
    found, error = model.log_likelihood_missing([x], 5, n_repeats=2000)
    assert abs(np.exp(found[0] - exact) - 1) < 3 * error[0]
    assert set(np.unique(model.impute([x], 50)[0])) == {0.0, 1.0}


def test_scores_are_the_increments_of_an_estimate():
    model, X = model_of(SEQUENCES, FULL)
    x = with_gaps(X[0], (0, 0), 2)
    dims, frames = model.score_dims([x])[0], model.score_frames([x])[0]
    assert not dims[np.isnan(x)].any()
    assert_near(dims.sum(axis=1), frames, 1e-13)
    assert_near([frames.sum()], model.score_samples([x]), 1e-13)
    assert abs(frames.sum() - quadrature_of_three(model, x)) < 0.2
    assert_near([model.score([x])], [frames.mean()], 1e-13)


def quadrature_of_three(model, x):
    """Three gaps: a large filter in place of a large grid."""
    return model.log_likelihood_missing([x], 20_000, 7, n_repeats=2).log_likelihood[0]


def test_independent_dimensions_need_no_luck():
    """Without hidden units and recurrence weights do not depend on the draws: the estimate is exact."""
    model, X = Case(D=4, H=0, K=2, R=0, lengths=(3,)).model(missing="marginalize", random_state=0)
    x = with_gaps(X, (slice(None), 1))
    expected = np.delete(model.score_dims(X), 1, axis=1).sum(axis=1)
    found, error = model.log_likelihood_missing(x, 10)
    assert_near(found, expected, 1e-12)
    assert error.max() < 1e-12


# ---- imputation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [None, FULL], ids=str)
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (3, 0), (3, 1)])
def test_imputations_follow_the_conditional(place, transform):
    model, X = model_of(SEQUENCES, transform)
    x = with_gaps(X[0], place)
    (grid,), log_p = on_grid(model, x)
    cumulative = np.cumsum(np.exp(log_p - log_p.max()))
    draws = model.impute([x], 400, n_particles=20_000)[0]
    assert draws.shape == (400, 4, 2)
    assert_same_bits(draws[:, ~np.isnan(x)], np.tile(x[~np.isnan(x)], (400, 1)))
    values = np.interp(draws[(slice(None), *place)], grid, cumulative / cumulative[-1])
    assert kstest(values, "uniform").pvalue > 1e-3


def test_imputed_frames_at_the_end_are_forecasts():
    """As law: their integral transforms given what they follow are uniform, with the transform's lags and an order."""
    model, X = model_of(SEQUENCES, FULL, order=[1, 0])
    x = with_gaps(X[0], (1, 0), 2, 3)
    draws = model.impute([x], 500)[0]
    transforms = np.stack(model.cdf(list(draws)))
    for values in (transforms[:, 1, 0], *transforms[:, 2:].reshape(500, -1).T):
        assert kstest(values, "uniform").pvalue > 1e-3


def test_forms_of_imputations():
    model, X = model_of(SEQUENCES)
    assert [x.shape for x in model.impute(X, 2)] == [(2, 4, 2), (2, 3, 2)]
    assert model.impute(with_gaps(X[0], (1, 0)), 2).shape == (2, 4, 2)
    assert [x.shape for x in model.impute(np.concatenate(X), lengths=[4, 3])] == [(1, 4, 2), (1, 3, 2)]
    vectors, rows = model_of(VECTORS, order=[1, 0])
    filled = vectors.impute(with_gaps(rows, (0, 0), (1, 1), 2), 3)
    assert filled.shape == (3, 4, 2) and np.isfinite(filled).all()


# ---- bits, and the border --------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_number_of_threads_and_in_any_batch(all_threads):
    results = []
    for n_jobs in (1, 2, 5):
        model, X = model_of(SEQUENCES, FULL, FLOAT32, n_jobs=n_jobs)
        gaps = [with_gaps(X[0], (1, 0), 2), X[1], with_gaps(X[1], (0, 1))]
        results.append((model.score_samples(gaps), model.score_dims(gaps), model.impute(gaps, 3)))
        assert_same_bits(model.score_samples(gaps[2:]), results[-1][0][2:])
        longer = np.concatenate([gaps[2], np.full((2, 2), NAN)])
        assert_same_bits(model.score_samples([longer]), results[-1][0][2:])
    assert_same_bits(results[1:], [results[0]] * 2)


def test_equal_rows_are_filled_independently():
    """Rows and sequences that hold the same, and are equally good guesses of each other, get different numbers."""
    model, _ = model_of(VECTORS)
    rows = np.full((300, 2), [1.0, NAN])
    filled = model.impute(rows, 1, 0)[0, :, 1]
    assert len(np.unique(filled)) == 300
    assert kstest(filled, model.impute(rows[:1], 300, 1)[:, 0, 1]).pvalue > 1e-3
    once = np.array([[0.3, NAN]])
    assert_same_bits(model.impute(np.r_[rows, once], 2, 0)[:, -1], model.impute(once, 2, 0)[:, 0], "what occurs once")
    assert_same_bits(filled[:1], model.impute(rows[:1], 1, 0)[0, :, 1], "the first")

    model, X = model_of(SEQUENCES)
    x = with_gaps(X[0], (1, 0))
    filled = np.stack(model.impute([x, x, x[:3], x], 1, 0)[::3])[:, 0, 1, 0]
    assert len(np.unique(filled)) == 2


def test_errors_of_equal_rows_are_independent():
    """The standard error of a total is the root of the sum of squares."""
    model, _ = replace(BITS, R=0, context=()).model(missing="marginalize")
    row = np.array([NAN, 1.0, NAN])
    complete = np.array([[a, 1.0, b] for a in (0, 1) for b in (0, 1)])
    truth = np.logaddexp.reduce(model.score_samples(complete))
    scaled = []
    for seed in range(40):
        found, error = model.log_likelihood_missing(np.tile(row, (50, 1)), n_particles=20, random_state=seed)
        scaled.append((found.sum() - 50 * truth) / np.sqrt((error**2).sum()))
    assert np.std(scaled) < 2  # 8.6, when all rows had one error


def test_many_particles_are_scored_in_pieces(monkeypatch):
    model, X = model_of(Case(D=2, H=4, K=2, R=3, lengths=(30,)), FULL)
    x = with_gaps(X[0], (1, 0), (20, 1))
    expected = model.score_frames([x])[0]
    monkeypatch.setattr("rnnrnade.particles.HELD", 5 * 1000 * 2)
    assert_near(model.score_frames([x])[0], expected, 1e-12)


def test_nan_is_refused_where_it_is_not_told_to_be_missing():
    model, X = model_of(SEQUENCES, missing=None)
    gaps = [X[0], with_gaps(X[1], (2, 1))]
    for call in (model.score_samples, model.score_dims, model.log_likelihood_missing, model.impute):
        with pytest.raises(ValueError, match="contains NaN: sequence 1, frame 2, dimension 1"):
            call(gaps)
    model.set_params(missing="marginalize")
    assert np.isfinite(model.score_samples(gaps)).all()
    for call in (model.cdf, model.predict_params, model.explain, model.log_likelihood_and_gradient, model.fit):
        with pytest.raises(ValueError, match=r"sequence 1, frame 2, dimension 1.*only scores, .* take gaps"):
            call(gaps)
    gaps[0] = X[0].copy()
    gaps[0][1, 0] = np.inf
    with pytest.raises(ValueError, match="infinity: sequence 0, frame 1, dimension 0"):
        model.score_samples(gaps)
    model.set_params(missing="ignore")
    with pytest.raises(ValueError, match="'missing' parameter"):
        model.fit(X)
    bits, X = model_of(BITS)
    with pytest.raises(ValueError, match=r"contains 2\.0: sequence 0"):
        bits.score_samples([np.where(np.arange(3) == 1, NAN, 2.0)[None]])


def test_a_frame_without_density_is_minus_infinity_with_gaps_too():
    case = replace(SEQUENCES, context=("alpha", "mu"), H=0)  # else its scale is as large as the frame
    model, X = model_of(case)
    x = with_gaps(X[0], (0, 0), 2)
    x[1] = 1e200
    frames = model.score_frames([x])[0]
    assert np.isfinite(frames[0]) and frames[1] == frames[3] == -np.inf
    found, error = model.log_likelihood_missing([x, X[1]])
    assert (found[0], error[0]) == (-np.inf, 0.0)
    assert_same_bits(found[1:], model.score_samples(X[1:]))


def test_bad_counts_are_refused():
    model, X = model_of(SEQUENCES)
    for name, call in (("n_samples", model.impute), ("n_particles", model.log_likelihood_missing)):
        with pytest.raises(ValueError, match=name):
            call(X, **{name: 0})
    with pytest.raises(ValueError, match="n_repeats"):
        model.log_likelihood_missing(X, n_repeats=1)


def test_ensembles_refuse_gaps():
    X = np.random.default_rng(0).standard_normal((40, 2))
    model = rnnrnade.RNADE(1, 2, n_orders=2, max_epochs=1, validation_fraction=0, missing="marginalize").fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    for call in (model.score_samples, model.log_likelihood_missing, model.impute):
        with pytest.raises(ValueError, match=r"ensemble of 2 orders.*gaps are integrated out in one order.*members_"):
            call(with_gaps(X, (0, 1)))
    complete = model.log_likelihood_missing(X)  # nothing to integrate out
    assert_same_bits(complete.log_likelihood, model.score_samples(X))
    assert not complete.standard_error.any() and model.impute(X, 2).shape == (2, 40, 2)


def test_the_option_is_kept_in_files(tmp_path):
    model, X = model_of(SEQUENCES)
    model.save(tmp_path / "model")
    x = with_gaps(X[0], (1, 0))
    assert_same_bits(rnnrnade.load(tmp_path / "model").score_samples([x]), model.score_samples([x]))
