"""Laws of the transform in front of a model: Linear(lags, covariance)."""

import numpy as np
import pytest
import reference
from helpers import FLOAT64, Case, assert_near, assert_same_bits, in_units_of_X, packed
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from rnnrnade import NADE, RNADE, RNNRNADE, Linear
from rnnrnade.ridge import Predictors
from rnnrnade.transforms import from_file, to_file

KINDS = [(lags, covariance) for lags in (0, 1, 3) for covariance in ("diagonal", "full")]
every_kind = pytest.mark.parametrize("lags, covariance", KINDS)


def recordings(n=20, D=3, seed=0, shortest=1, longest=20):
    """Sequences of a stable linear system with correlated noise, in awkward units."""
    generator = np.random.default_rng(seed)
    mix = np.eye(D) + 0.7 * generator.standard_normal((D, D))
    step = 0.9 * np.linalg.qr(generator.standard_normal((D, D)))[0]
    X = []
    for T in generator.integers(shortest, longest, n):
        x = generator.standard_normal((T, D)) @ mix
        for t in range(1, T):
            x[t] += step @ x[t - 1]
        X.append(np.geomspace(0.01, 100, D) * x + np.linspace(-5, 50, D))
    return X


def fitted(X, lags, covariance, **options):
    return Linear(lags, covariance, **options).fit(*packed(X))


def log_jacobian(transform, offsets):
    """Of every frame and dimension, (M, D); the transform gives (D,) where all frames have the same."""
    found = transform.log_jacobian(offsets)
    assert found.shape in ((len(transform.mean_),), (offsets[-1], len(transform.mean_)))
    return np.broadcast_to(found, (offsets[-1], len(transform.mean_)))


# ---- the definition -----------------------------------------------------------------------------------------


@every_kind
def test_forward_is_the_definition(lags, covariance):
    X = recordings()
    assert {len(x) for x in X} & {1, 2} and max(map(len, X)) > 4  # shorter and longer than the lags
    transform = fitted(X, lags, covariance)
    frames, offsets = packed(X)
    e, jacobian = transform.forward(frames, offsets), log_jacobian(transform, offsets)
    assert e.dtype == np.float64
    for i, x in enumerate(X):
        rows = slice(offsets[i], offsets[i + 1])
        expected_e, expected_jacobian = reference.linear(x, *in_units_of_X(transform))
        assert_near(e[rows], expected_e, 1e-10)
        assert_near(jacobian[rows], expected_jacobian, 1e-12)


@every_kind
def test_inverse_undoes_forward(lags, covariance):
    X = recordings()
    transform = fitted(X, lags, covariance)
    for x in X:
        e = transform.forward(x, np.array([0, len(x)]))
        assert_near(transform.inverse(e[None])[0] / transform.scale_, x / transform.scale_, 1e-10)
        for n in range(1, len(x)):  # the end of a sequence, given its beginning
            end = transform.inverse(np.stack([e[n:], 2 * e[n:]]), past=x[:n])
            assert_near(end[0] / transform.scale_, x[n:] / transform.scale_, 1e-10)
            again = transform.forward(np.concatenate([x[:n], end[1]]), np.array([0, len(x)]))
            assert_near(again[n:], 2 * e[n:], 1e-10)


@every_kind
def test_the_log_jacobian_is_that_of_the_map(lags, covariance):
    transform = fitted(recordings(), lags, covariance)
    offsets = np.array([0, 5])
    x = recordings(1, seed=3, shortest=5, longest=6)[0]
    # e is affine in x, so differences are its derivative: column j is de / dx_j.
    units = np.tile(transform.scale_, 5)
    moved = (x.ravel() + np.diag(units)).reshape(-1, 5, 3)
    e = transform.forward(x, offsets).ravel()
    jacobian = np.stack([transform.forward(y, offsets).ravel() - e for y in moved], axis=1) / units
    sign, log_determinant = np.linalg.slogdet(jacobian)
    assert sign == 1
    assert_near(log_determinant, log_jacobian(transform, offsets).sum(), 1e-9)
    assert_near(np.log(np.diag(jacobian)), log_jacobian(transform, offsets).ravel(), 1e-9)
    assert np.all(np.triu(jacobian, 1) == 0)  # e_d knows x_1 ... x_d and the past


@pytest.mark.parametrize("D", [2, 6, 12])
def test_no_number_of_e_depends_on_a_later_dimension(D):
    """To the bit, also where columns are nearly dependent, so that LAPACK would exchange rows of L."""
    generator = np.random.default_rng(D)
    x = generator.standard_normal((300, 2)) @ generator.standard_normal((2, D))
    x += 0.02 * generator.standard_normal((300, D))
    transform = fitted([x], 1, "full")
    offsets = np.array([0, 10])
    before = transform.forward(x[:10], offsets)
    for d in range(D):
        y = x[:10].copy()
        y[4, d] += 1.0
        after = transform.forward(y, offsets)
        assert_same_bits(after[:4], before[:4])
        assert_same_bits(after[4, :d], before[4, :d])
        assert after[4, d] != before[4, d]


# ---- the fit --------------------------------------------------------------------------------------------------


def regressions(X, lags):
    """For q = 0 ... lags, by NumPy's least squares: (coefficients with the intercept last, covariance of what frames
    leave of fits to the others)."""
    found = []
    for q in range(lags + 1):
        past = np.array([np.append(x[t - q : t][::-1].ravel(), 1.0) for x in X for t in range(q, len(x))])
        target = np.array([x[t] for x in X for t in range(q, len(x))])
        A = np.linalg.lstsq(past, target, rcond=None)[0]
        others = ~np.eye(len(target), dtype=bool)
        left = [target[i] - past[i] @ np.linalg.lstsq(past[o], target[o], rcond=None)[0] for i, o in enumerate(others)]
        found.append((A, np.transpose(left) @ left / len(left)))
    return found


@pytest.mark.parametrize("path", [False, True])
@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("towards, ridge", [("zero", 1e-3), ("zero", 3.0), ("last", 50.0)])
def test_what_a_frame_leaves_of_a_fit_to_the_others(towards, ridge, given, path):
    z = packed(recordings(1, shortest=19, longest=20))[0]
    w, rows = np.random.default_rng(0).uniform(0.2, 1, len(z)), np.arange(2, len(z))
    all_of_it = Predictors(z, w, rows, (1, 2), given, path=path)
    B, leverage = all_of_it.fit(all_of_it.prior(towards), ridge)
    left = all_of_it.left(B, *all_of_it.rest(B), leverage)
    for i, row in enumerate(rows):
        without = np.where(np.arange(len(z)) == row, 0.0, w)
        others = Predictors(z, without, rows, (1, 2), given)
        B, _ = others.fit(others.prior(towards), ridge)
        intercept, by_given = others.rest(B)
        past = np.concatenate([z[row - 1, given:], z[row - 2, given:]])
        assert_near(left[i], z[row, given:] - intercept - past @ B - z[row, :given] @ by_given, 1e-7)


def test_more_coefficients_than_frames_leave_the_scale_of_new_frames():
    """In the frames that were fitted, each left out, as in new ones; as they are they would leave a hundredth."""
    generator = np.random.default_rng(0)
    x, new = generator.standard_normal((2, 60, 40))
    linear, ends = Linear(2, "full", ridge=1e-3, shrinkage=1.0), np.array([0, 60])
    left = linear.fit_left_out(x, ends)
    assert 0.7 < left[2:].std() / linear.forward(new, ends)[2:].std() < 1.3
    assert linear.forward(x, ends)[2:].std() < 0.1 * left[2:].std()


@pytest.mark.parametrize("lags", [0, 1, 3])
def test_behind_lags_and_full_a_standard_normal_is_the_gaussian_autoregression(lags):
    X = recordings(60, shortest=6)
    transform = fitted(X, lags, "full", ridge=0.0, floor=1e-9)
    frames, offsets = packed(X)
    e = transform.forward(frames, offsets)
    found = norm.logpdf(e).sum(axis=1) + log_jacobian(transform, offsets).sum(axis=1)
    predictors = regressions(X, lags)
    expected = []
    for x in X:
        for t in range(len(x)):
            A, covariance = predictors[min(t, lags)]
            past = np.append(x[t - min(t, lags) : t][::-1].ravel(), 1.0)
            expected.append(multivariate_normal(past @ A, covariance).logpdf(x[t]))
    assert_near(found, expected, 1e-7)


def test_diagonal_without_lags_is_standardisation():
    X = recordings()
    frames, offsets = packed(X)
    transform = fitted(X, 0, "diagonal")
    assert_near(transform.forward(frames, offsets), (frames - frames.mean(0)) / frames.std(0), 1e-12)
    assert_near(log_jacobian(transform, offsets), np.tile(-np.log(frames.std(0)), (len(frames), 1)), 1e-12)


@every_kind
def test_e_is_nearly_white(lags, covariance):
    X = recordings(400, shortest=8)
    frames, offsets = packed(X)
    e = fitted(X, lags, covariance, ridge=0.0, floor=1e-9).forward(frames, offsets)
    rows = e[np.concatenate([np.arange(len(x)) for x in X]) >= lags]
    products = rows.T @ rows / len(rows)
    assert_near(rows.mean(0), np.zeros(3), 1e-9)
    assert_near(np.diag(products), np.ones(3), 0.01)  # of frames that are left out it is 1
    assert np.all(np.diag(products) <= 1 + 1e-9)
    if covariance == "full":
        assert_near(products, np.eye(3), 0.01)


@every_kind
def test_whole_weights_are_repetitions(lags, covariance):
    X = recordings()
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    frames, offsets = packed(X)
    weighted = Linear(lags, covariance).fit(frames, offsets, np.repeat(weight, np.diff(offsets)))
    repeated = fitted([x for x, w in zip(X, weight, strict=True) for _ in range(w)], lags, covariance)
    for name, array in repeated.to_arrays().items():
        assert_near(weighted.to_arrays()[name], array, 1e-10, name)
    assert np.abs(fitted(X, lags, covariance).mean_ - weighted.mean_).max() > 1e-3


@every_kind
def test_constant_columns_have_scale_one(lags, covariance):
    x = recordings(1, D=7, shortest=37, longest=38)[0]
    constant = [1, 2, 3, 5, 6]
    x[:, constant] = [0.1, 0.3, 0.7, 1 / 3, 0.0]
    transform = fitted([x], lags, covariance)
    assert np.any(transform.mean_[constant] != x[0, constant])  # the mean of many 0.1 is not 0.1
    assert_same_bits(transform.scale_[constant], np.ones(5))
    assert np.all(transform.scale_[[0, 4]] != 1)
    e = transform.forward(x, np.array([0, 37]))
    assert np.isfinite(e).all() and np.abs(e[:, constant]).max() < 1e-8
    assert_near(transform.inverse(e[None])[0], x, 1e-10)
    model = RNNRNADE(2, 3, n_recurrent=3, transform=Linear(lags, covariance), max_epochs=2, random_state=0).fit(x)
    assert np.isfinite(model.score_frames(x)).all()


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_sequences_shorter_than_the_lags(covariance):
    X = recordings(30, shortest=1, longest=3)  # one or two frames
    transform = fitted(X, 5, covariance)
    frames, offsets = packed(X)
    assert np.isfinite(transform.forward(frames, offsets)).all()
    assert np.isfinite(log_jacobian(transform, offsets)).all()
    longer = recordings(1, seed=1, shortest=12, longest=13)[0]  # what no training sequence had: as the longest seen
    short = fitted(X, 1, covariance)
    ends = np.array([0, 12])
    assert_near(transform.forward(longer, ends), short.forward(longer, ends), 1e-12)
    assert_near(log_jacobian(transform, ends), log_jacobian(short, ends), 1e-12)
    single = fitted([x[:1] for x in X], 2, covariance)
    assert np.isfinite(single.forward(longer, ends)).all()
    assert np.isfinite(fitted([X[0][:1]], 2, covariance).forward(longer, ends)).all()  # one frame in all


@pytest.mark.parametrize("options", [{"lags": -1}, {"lags": 1.5}, {"covariance": "round"}, {"ridge": -1}, {"floor": 0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Linear(**options).fit(np.ones((3, 2)), np.array([0, 3]))


# ---- the same bits --------------------------------------------------------------------------------------------


@every_kind
def test_a_sequence_has_the_same_bits_alone_and_in_a_batch(lags, covariance):
    X = recordings(12, D=5)
    transform = fitted(X, lags, covariance)
    frames, offsets = packed(X)
    e = transform.forward(frames, offsets)
    location, scale = transform.location_and_scale(frames, offsets)
    for i, x in enumerate(X):
        rows, ends = slice(offsets[i], offsets[i + 1]), np.array([0, len(x)])
        assert_same_bits(transform.forward(x, ends), e[rows])
        assert_same_bits(np.array(transform.location_and_scale(x, ends)[0]), np.array(location[rows]))
        assert_same_bits(np.array(transform.location_and_scale(x, ends)[1]), np.array(scale[rows]))
        assert_same_bits(transform.inverse(np.stack([e[rows]] * 3))[1], transform.inverse(e[rows][None])[0])


@pytest.mark.parametrize("lags", [0, 1])
def test_threads_of_blas_leave_the_bits(lags):
    generator = np.random.default_rng(0)
    frames = generator.standard_normal((1500, 3)) @ generator.standard_normal((3, 200))
    frames += 0.02 * generator.standard_normal(frames.shape)
    offsets = np.array([0, 700, 1500])
    found = []
    for limit in (1, 2):
        with threadpool_limits(limit, user_api="blas"):
            transform = Linear(lags, "full").fit(frames, offsets)
            e = transform.forward(frames, offsets)
            found.append((transform.to_arrays(), e, transform.inverse(e[None, :20])))
    assert_same_bits(found[1], found[0])


@every_kind
def test_units_that_are_powers_of_two_leave_the_bits_of_e(lags, covariance):
    X = recordings()
    units = 2.0 ** np.array([-30, 7, 0])
    Y = [x * units for x in X]
    first, second = fitted(X, lags, covariance), fitted(Y, lags, covariance)
    assert_same_bits(second.forward(*packed(Y)), first.forward(*packed(X)))
    offsets = packed(X)[1]
    shift = log_jacobian(second, offsets) - log_jacobian(first, offsets)
    assert_near(shift, np.tile(-np.log(units), (offsets[-1], 1)), 1e-12)


@every_kind
def test_arrays_make_the_transform_again(lags, covariance):
    X = recordings()
    transform = fitted(X, lags, covariance, ridge=0.5)
    again = from_file(to_file(transform), transform.to_arrays(), len(transform.mean_))
    assert again.get_params() == transform.get_params()
    assert_same_bits(again.forward(*packed(X)), transform.forward(*packed(X)))
    assert not hasattr(clone(transform), "mean_")


# ---- in front of a model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lags, covariance", [(0, "diagonal"), (0, "full"), (2, "diagonal"), (2, "full")])
def test_before_training_a_model_has_the_likelihood_of_its_transform(lags, covariance):
    X = recordings(60, shortest=8)
    options = {"max_epochs": 1, "learning_rate": 1e-12, "random_state": 0}
    model = RNNRNADE(transform=Linear(lags, covariance), validation_fraction=0, **options).fit(X)
    frames, offsets = packed(X)
    e = model.transform_.forward(frames, offsets)
    expected = norm.logpdf(e).sum(axis=1).mean() + log_jacobian(model.transform_, offsets).sum(axis=1).mean()
    assert abs(model.score(X) - expected) < 0.5


def test_before_training_a_vector_model_has_the_likelihood_of_a_gaussian():
    X = np.concatenate(recordings(60))
    model = RNADE(transform="whiten", validation_fraction=0, max_epochs=1, learning_rate=1e-12, random_state=0).fit(X)
    expected = multivariate_normal(X.mean(0), np.cov(X.T, bias=True)).logpdf(X).mean()
    assert abs(model.score(X) - expected) < 0.5


def trained(**options):
    X = recordings(30, shortest=3)
    options = {"n_recurrent": 4, "max_epochs": 2, "random_state": 0, "dtype": FLOAT64} | options
    return RNNRNADE(3, 5, **options).fit(X), X


MODELS = [
    {"transform": None},
    {"transform": "standardize"},
    {"transform": "whiten", "order": [2, 0, 1]},
    {"transform": Linear(lags=2), "order": [1, 2, 0]},
    {"transform": Linear(lags=2, covariance="full")},
    {"transform": Linear(lags=3, covariance="full"), "order": [1, 2, 0], "context": ("mu", "hidden")},
]


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_parameters_in_units_of_X_give_the_scores(options):
    model, X = trained(**options)
    parameters = model.predict_params(X)
    for x, dims, alpha, mu, sigma in zip(X, model.score_dims(X), *parameters, strict=True):
        assert alpha.shape == mu.shape == sigma.shape == (*x.shape, 3)
        assert_near(logsumexp(np.log(alpha) + norm.logpdf(x[:, :, None], mu, sigma), axis=2), dims, 1e-9)
    alone = model.predict_params(X[0])
    assert_same_bits(tuple(np.array(part) for part in alone), tuple(part[0] for part in parameters))


def test_parameters_of_vectors_in_units_of_X_give_the_scores():
    X = np.concatenate(recordings(30))
    model = RNADE(3, 5, transform="whiten", order=[2, 0, 1], max_epochs=2, random_state=0, dtype=FLOAT64).fit(X)
    alpha, mu, sigma = model.predict_params(X)
    found = logsumexp(np.log(alpha) + norm.logpdf(X[:, :, None], mu, sigma), axis=2)
    assert_near(found, model.score_dims(X), 1e-9)


@pytest.mark.parametrize("lags, covariance", KINDS)
def test_continuations_without_noise_are_the_linear_predictions(lags, covariance):
    """A net that always says e = 0: the continuation of x is that of the autoregression."""
    case = Case(D=3, H=2, K=1, R=2, lengths=(1,))
    parameters, _ = case.make()
    parameters = {name: np.zeros_like(value) for name, value in parameters.items()}
    parameters["b_sigma"] -= 40.0
    transform = fitted(recordings(60, shortest=5), lags, covariance)
    model = RNNRNADE.from_parameters(parameters, transform=transform)
    intercepts, coefficients, _ = in_units_of_X(transform)
    for n_given in (0, 1, 2, 7):
        given = recordings(1, seed=4, shortest=7, longest=8)[0][:n_given]
        path = list(given)
        for _ in range(6):
            path.append(reference.linear_prediction(np.array(path).reshape(-1, 3), intercepts, coefficients))
        expected = np.array(path[n_given:]) / transform.scale_
        given = given if n_given else None
        found = model.sample(3, 6, random_state=0, given=given)
        assert_near(found / transform.scale_, np.tile(expected, (3, 1, 1)), 1e-10)
        if n_given:
            assert_same_bits(model.forecast([given], 6, 3, random_state=0)[0], found)


def test_binary_models_have_no_transform():
    assert "transform" not in NADE().get_params()
    X = np.random.default_rng(0).integers(0, 2, (40, 3))
    assert NADE(4, max_epochs=1, random_state=0).fit(X).transform_ is None
