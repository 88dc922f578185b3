"""Data as they come: constant, repeated, collinear, heavy-tailed, rounded, of any scale, with outliers.  `fit` ends
with finite parameters and finite scores, or with an error before training that says where."""

import numpy as np
import pytest
from helpers import DTYPES, assert_near, assert_same_bits, listed

from rnnrnade import RNADE, RNNRNADE, Linear

D, N_FRAMES = 4, 60


def normal(rng):
    return rng.standard_normal((N_FRAMES, D))


def with_column(make):
    """Normal data, one column of which is another."""

    def data(rng):
        X = normal(rng)
        X[:, rng.integers(D)] = make(rng, X)
        return X

    return data


def with_entry(value):
    def data(rng):
        X = normal(rng)
        X[rng.integers(N_FRAMES), rng.integers(D)] = value
        return X

    return data


# name: rows.  Sequence estimators cut them into sequences.
HARD = {
    "a constant column": with_column(lambda rng, X: rng.normal()),
    "a constant column of 0": with_column(lambda rng, X: 0.0),
    "a constant column of 1e12": with_column(lambda rng, X: 1e12),
    "nothing but one number": lambda rng: np.full((N_FRAMES, D), rng.normal()),
    "nothing but zeros": lambda rng: np.zeros((N_FRAMES, D)),
    "a column constant but for rounding": with_column(lambda rng, X: 0.1 + 1e-17 * X[:, 0]),
    "one row, again and again": lambda rng: np.tile(rng.standard_normal(D), (N_FRAMES, 1)),
    "few different rows": lambda rng: rng.standard_normal((3, D))[rng.integers(3, size=N_FRAMES)],
    "two equal columns": with_column(lambda rng, X: X[:, 0]),
    "a sum of columns": with_column(lambda rng, X: X.sum(axis=1)),
    "all columns on a line": lambda rng: normal(rng)[:, :1] * rng.standard_normal(D),
    "nearly collinear": with_column(lambda rng, X: X[:, 1] + 1e-9 * X[:, 2]),
    "an outlier of 1e12": with_entry(1e12),
    "an outlier of -1e12": with_entry(-1e12),
    "an outlier of 1e30": with_entry(1e30),
    "outliers in every column": lambda rng: normal(rng) * np.where(rng.random((N_FRAMES, D)) < 0.05, 1e9, 1.0),
    "scale 1e-12": lambda rng: 1e-12 * normal(rng),
    "scale 1e12": lambda rng: 1e12 * normal(rng),
    "scales from 1e-12 to 1e12": lambda rng: normal(rng) * 10.0 ** rng.permutation([-12, -4, 4, 12]),
    "scale 1e-40": lambda rng: 1e-40 * normal(rng),
    "scale 1e38": lambda rng: 1e38 * normal(rng),
    "scale 1e39": lambda rng: 1e39 * normal(rng),  # beyond float32
    "a mean of 1e9": lambda rng: 1e9 + normal(rng),
    "Cauchy": lambda rng: rng.standard_cauchy((N_FRAMES, D)),
    "exp of exp": lambda rng: np.exp(np.exp(normal(rng))),
    "integers": lambda rng: rng.integers(-3, 4, (N_FRAMES, D)),
    "zeros and ones": lambda rng: rng.integers(2, size=(N_FRAMES, D)),
    "counts, mostly 0": lambda rng: rng.poisson(0.05, (N_FRAMES, D)),
    "bytes": lambda rng: rng.integers(256, size=(N_FRAMES, D)).astype(np.uint8),
    "a random walk": lambda rng: normal(rng).cumsum(axis=0),
    "growing without bound": lambda rng: 1.5 ** np.arange(N_FRAMES)[:, None] * normal(rng),
    "sorted": lambda rng: np.sort(normal(rng), axis=0),
    "two clusters far apart": lambda rng: 1e-3 * normal(rng) + 1e3 * rng.integers(2, size=(N_FRAMES, 1)),
    "two rows": lambda rng: normal(rng)[:2],
    "one row": lambda rng: normal(rng)[:1],
    "more columns than rows": lambda rng: rng.standard_normal((6, 30)),
    "one column": lambda rng: normal(rng)[:, :1],
}

# name: class, options, frames of a sequence.
MODELS = {
    "RNADE": (RNADE, {}, None),
    "RNADE, no transform": (RNADE, {"transform": None, "dtype": "float64"}, None),
    "RNADE, standardize, relu": (RNADE, {"transform": "standardize", "activation": "relu"}, None),
    "RNNRNADE": (RNNRNADE, {"n_recurrent": 3}, 7),
    "RNNRNADE, no transform, tanh": (RNNRNADE, {"n_recurrent": 3, "transform": None, "cell": "tanh"}, N_FRAMES),
    "RNNRNADE, standardize, GRU": (
        RNNRNADE, {"n_recurrent": 3, "transform": "standardize", "cell": "gru", "dtype": "float64"}, 1,
    ),
    "RNNRNADE, VAR(3), LSTM": (
        RNNRNADE, {"n_recurrent": 3, "transform": Linear(lags=3, covariance="full"), "cell": "lstm"}, N_FRAMES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", HARD)
@pytest.mark.filterwarnings("error:(divide|invalid|overflow):RuntimeWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # too few frames to hold out, a loss that is not finite
def test_fit_ends_with_finite_parameters_or_an_error_before_training(data, model, seed):
    cls, options, length = MODELS[model]
    X = HARD[data](np.random.default_rng([seed, *data.encode()]))
    if length:
        X = np.array_split(X, range(length, len(X), length))
    estimator = cls(n_components=2, n_hidden=4, max_epochs=4, random_state=seed, **options)
    try:
        estimator.fit(X)
    except ValueError as error:
        assert f"X is too large for float32: {'sequence' if length else 'row'} " in str(error)
        assert not hasattr(estimator, "history_")
        return
    for name, value in estimator.parameters_.items():
        assert np.isfinite(value).all(), name
    scores = estimator.score_samples(X)
    assert np.isfinite(scores).all()
    drawn = estimator.sample(3, random_state=0) if length is None else estimator.sample(3, 5, random_state=0)
    assert np.isfinite(drawn).all()


def test_the_table_is_long_enough():
    assert 2 * len(HARD) * len(MODELS) >= 300


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [name for name in MODELS if "no transform" not in name])
def test_columns_in_other_units_give_the_same_parameters_to_the_bit(model, dtype):
    """Scaled by powers of two, all arithmetic behind the transform is the same; scores move by -log of the scales."""
    cls, options, length = MODELS[model]
    rng = np.random.default_rng(0)
    X = normal(rng).cumsum(axis=0)
    for scale in 2.0 ** np.array([[1, -7, 10, 0], [40, -40, 3, -3], [-20, -20, -20, -20], [1000, -1000, 0, 990]]):
        first, second = (cls(n_components=2, n_hidden=4, max_epochs=4, random_state=0, **options) for _ in range(2))
        one, other = (x if length is None else np.array_split(x, range(length, len(x), length)) for x in (X, X * scale))
        for estimator, data in ((first, one), (second, other)):
            estimator.set_params(dtype=dtype).fit(data)
        assert_same_bits(dict(second.parameters_), dict(first.parameters_))
        for found, expected in zip(listed(second.score_dims(other)), listed(first.score_dims(one)), strict=True):
            assert_near(found, expected - np.log(scale), 1e-12)
