"""Laws of every model: densities, causality, units, draws, and the same bits whatever runs beside."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from helpers import (
    CONTEXTS,
    DTYPES,
    FLOAT32,
    FLOAT64,
    LARGE,
    MIXTURES,
    Case,
    assert_near,
    assert_same_bits,
    check_uniform,
    every_estimator,
    ids,
    in_units_of_X,
    integral_transforms,
    listed,
    packed,
    small_model,
    team_of,
    walks,
    without_seconds,
)
from threadpoolctl import threadpool_limits

from rnnrnade import RNADE, Linear, _core

LENGTHS = (40, 1, 33, 7, 64, 2)
MODELS = [
    Case(D=5, H=11, K=3, R=9, lengths=LENGTHS, min_scale=1e-3),
    Case(D=5, H=11, K=3, R=9, lengths=LENGTHS, context=("alpha", "mu", "sigma", "hidden"), cell="tanh"),
    Case(D=5, H=0, K=2, R=9, lengths=LENGTHS, context=("mu",), cell="lstm"),
    Case(D=5, H=11, K=3, R=0, lengths=LENGTHS, activation="relu", min_scale=0.1),
    Case(D=9, H=11, K=1, R=9, lengths=LENGTHS, head="bernoulli", cell="gru"),
    Case(D=9, H=11, K=1, R=0, lengths=LENGTHS, head="bernoulli"),
    Case(D=5, H=11, K=3, R=9, lengths=LENGTHS, context=("alpha", "mu", "hidden"), cell="gru", L=2),
    Case(D=5, H=0, K=2, R=9, lengths=LENGTHS, context=("mu",), cell="lstm", L=2),
    Case(D=9, H=11, K=1, R=9, lengths=LENGTHS, head="bernoulli", cell="tanh", L=3),
    Case(D=9, H=0, K=3, R=9, lengths=LENGTHS, min_scale=1e-3, cell="gru", conditioner="shared"),
    Case(D=9, H=0, K=3, R=0, lengths=LENGTHS, conditioner="shared"),
]
MODELS += [  # of each other family a recurrent and a static one
    Case(D=5, H=7, K=3, R=R, lengths=LENGTHS, head=head, min_scale=1e-3)
    for head in MIXTURES
    if head != "gaussian"
    for R in (9, 0)
]
MODELS += [
    Case(D=9, H=(11, 7), K=1, R=0, lengths=LENGTHS, head="bernoulli", conditioner="made", direct=True),
    Case(
        D=5, H=(11, 6, 8), K=3, R=9, lengths=LENGTHS, min_scale=1e-3, conditioner="made", context=CONTEXTS["gaussian"]
    ),
]
every_model = pytest.mark.parametrize("case", MODELS, ids=ids(MODELS))
dtypes = pytest.mark.parametrize("dtype", DTYPES)
MIXTURES_OF_SEQUENCES = [case for case in MODELS if case.R and case.mixture]

N_JOBS = (1, 2, 3, 4, 8, 16)

# ---- densities ---------------------------------------------------------------------------------------------


def line(n):
    """Nodes and weights of the trapezoid rule in u, x = 4 sinh(u): it converges exponentially."""
    u, step = np.linspace(-2.9, 2.9, n, retstep=True)
    return 4 * np.sinh(u), 4 * np.cosh(u) * step


def grid(n_dims):
    """Points (n, n_dims) and weights (n,)."""
    x, w = line(161)
    points = np.stack(np.meshgrid(*[x] * n_dims, indexing="ij"), -1).reshape(-1, n_dims)
    weights = np.prod(np.stack(np.meshgrid(*[w] * n_dims, indexing="ij"), -1).reshape(-1, n_dims), axis=1)
    return points, weights


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("D", [1, 2])
def test_the_density_of_a_vector_integrates_to_one(D, activation, row):
    model, _ = Case(D=D, H=4, K=3, R=0, lengths=(1,), activation=activation, min_scale=0.2).model()
    points, weights = grid(D)
    assert abs(weights @ np.exp(model.score_samples(points)) - 1) < 1e-7


def between(edges, n=16):
    """Nodes and weights of Gauss's rule on each of the pieces between edges."""
    x, w = np.polynomial.legendre.leggauss(n)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def around(mu, sigma):
    """Nodes and weights for the density of a mixture that may have kinks at its components' mu, each (K,)."""
    steps = np.concatenate([[0.0], np.geomspace(0.5, 40, 8)]) * sigma.max()
    return between(np.unique(np.concatenate([mu, mu.max() + steps, mu.min() - steps, np.linspace(*mu, 5)])))


@pytest.mark.parametrize("head", MIXTURES)
def test_the_density_of_a_vector_of_each_family_integrates_to_one(head, row):
    case = Case(D=2, H=4, K=2, R=0, lengths=(1,), head=head, min_scale=0.2)
    parameters, _ = case.make()
    parameters |= {"b_nu": np.full((2, 2), 4.0)} if head == "student" else {}  # tails that the grid holds
    model = RNADE.from_parameters(parameters, dtype=FLOAT64, **case.options)

    def components(x, d):
        _, mu, sigma, *_ = model.predict_params(x)
        return mu[:, d], sigma[:, d]

    first, weights = around(*(part[0] for part in components(np.zeros((1, 2)), 0)))
    mu, sigma = components(np.stack([first, np.zeros_like(first)], 1), 1)  # of the second number given each first
    second = [around(*parts) for parts in zip(mu, sigma, strict=True)]
    points = np.concatenate([np.stack([np.full_like(x, a), x], 1) for a, (x, _) in zip(first, second, strict=True)])
    weights = np.concatenate([w * v for w, (_, v) in zip(weights, second, strict=True)])
    assert abs(weights @ np.exp(model.score_samples(points)) - 1) < 1e-9


@pytest.mark.parametrize("D", [1, 2])
def test_the_density_of_a_frame_given_its_past_integrates_to_one(D, row):
    model, (past,) = Case(D=D, H=4, K=3, R=3, lengths=(3,), cell=("sigmoid", "lstm")[D - 1], min_scale=0.2).model()
    points, weights = grid(D)
    X = np.concatenate([np.broadcast_to(past, (len(points), 3, D)), points[:, None]], axis=1)
    last = np.array([frames[-1] for frames in model.score_frames(X)])
    assert abs(weights @ np.exp(last) - 1) < 1e-7


def test_the_density_of_two_frames_integrates_to_one(row):
    context = ("alpha", "mu", "sigma", "hidden")
    model, _ = Case(D=1, H=4, K=2, R=3, lengths=(2,), cell="tanh", context=context, min_scale=0.2).model()
    points, weights = grid(2)
    assert abs(weights @ np.exp(model.score_samples(points[:, :, None])) - 1) < 1e-7


def test_the_density_in_the_units_of_the_data_integrates_to_one():
    case = Case(D=2, H=4, K=2, R=3, lengths=(2,), min_scale=0.2)
    data = np.random.default_rng(0).standard_normal((200, 2)) @ [[2.0, 0.0], [1.0, 0.5]] + [3.0, -1.0]
    transform = Linear(lags=1, covariance="full").fit(*packed([data]))
    model, _ = case.model(transform=transform)
    points, weights = grid(2)
    X = np.concatenate([np.broadcast_to(data[:1], (len(points), 1, 2)), points[:, None] + data.mean(0)], axis=1)
    last = np.array([frames[-1] for frames in model.score_frames(X)])
    assert abs(weights @ np.exp(last) - 1) < 1e-6


@pytest.mark.parametrize("R", [0, 3])
def test_probabilities_of_binary_data_add_up_to_one(R, row):
    model, _ = Case(D=3, H=4, K=1, R=R, lengths=(1,), head="bernoulli").model()
    n = 9 if R else 3  # three frames, or one row
    X = np.array(np.meshgrid(*[[0.0, 1.0]] * n)).reshape(n, -1).T
    X = X.reshape(-1, 3, 3) if R else X
    assert abs(np.exp(model.score_samples(X)).sum() - 1) < 1e-12


@dtypes
@every_model
def test_dims_add_up_to_frames_and_frames_to_samples(case, dtype, row):
    model, X = case.model(dtype)
    dims, frames, samples = model.score_dims(X), model.score_frames(X), model.score_samples(X)
    assert samples.dtype == np.float64
    if case.R == 0:
        assert_near(frames, dims.sum(1), 1e-13)
        assert_near(samples, frames, 0)
    else:
        for x, d, f in zip(X, dims, frames, strict=True):
            assert d.shape == x.shape and d.dtype == f.dtype == np.float64
            assert_near(f, d.sum(1), 1e-13)
        assert_near(samples, [f.sum() for f in frames], 1e-13)
        one = model.score_samples(X[0])  # a 2-D array: one number for each frame
        assert_near(one, frames[0], 0)
    n_frames = sum(case.lengths)
    assert_near(model.score(X), samples.sum() / n_frames, 1e-13)
    total, _ = model.log_likelihood_and_gradient(X)
    assert total == sum(samples.tolist())  # in the order of sequences, to the bit


# ---- causality ---------------------------------------------------------------------------------------------


@dtypes
@every_model
def test_a_number_leaves_the_bits_of_every_earlier_conditional(case, dtype, row):
    model, _ = case.model(dtype)
    T = 6
    generator = np.random.default_rng(3)
    binary = case.head == "bernoulli"
    x = (generator.integers(0, 2, (T, case.D)) if binary else generator.standard_normal((T, case.D))).astype(dtype)
    before = model.score_dims(x)
    for t in range(T):
        for d in range(case.D):
            y = x.copy()
            y[t, d] = 1 - x[t, d] if binary else x[t, d] + 0.5
            after = model.score_dims(y)
            assert_same_bits(after[:t], before[:t], "earlier frames")
            assert_same_bits(after[t, :d], before[t, :d], "earlier dimensions")
            assert after[t, d] != before[t, d]
            if case.H and d + 1 < case.D:
                assert np.all(after[t, d + 1 :] != before[t, d + 1 :])
            if case.R and t + 1 < T:
                assert np.any(after[t + 1] != before[t + 1])
            if not case.R:
                assert_same_bits(after[t + 1 :], before[t + 1 :], "other rows")


TRANSFORMS = [Linear(lags=lags, covariance=c) for lags in (0, 3) for c in ("diagonal", "full")]
every_transform = pytest.mark.parametrize("transform", TRANSFORMS, ids=str)


@dtypes
@every_transform
def test_a_number_leaves_the_bits_of_every_earlier_conditional_behind_a_transform(transform, dtype):
    case = Case(D=6, H=7, K=2, R=5, lengths=(8,))
    common = np.random.default_rng(0).standard_normal((300, 1))  # columns nearly equal: L is far from diagonal
    data = common + 0.05 * np.random.default_rng(1).standard_normal((300, 6))
    model, _ = case.model(dtype, transform=transform.fit(*packed([data])))
    x = data[:8].astype(dtype)
    before = model.score_dims(x)
    for t, d in np.ndindex(x.shape):
        y = x.copy()
        y[t, d] += 0.5
        after = model.score_dims(y)
        assert_same_bits(after[:t], before[:t], "earlier frames")
        assert_same_bits(after[t, :d], before[t, :d], "earlier dimensions")
        assert after[t, d] != before[t, d]


def test_order_permutes_the_dimensions():
    case = Case(D=4, H=5, K=2, R=3, lengths=(7, 3), min_scale=1e-3)
    plain, X = case.model()
    order = [2, 0, 3, 1]
    model, _ = case.model(order=order)
    assert_near(model.score_samples(X), plain.score_samples([x[:, order] for x in X]), 1e-13)
    for found, expected in zip(model.score_dims(X), plain.score_dims([x[:, order] for x in X]), strict=True):
        assert_near(found[:, order], expected, 1e-13)  # column d belongs to column d of X


@every_estimator
def test_score_is_the_mean_over_frames(name):
    model, X = small_model(name)
    model.fit(X)
    frames = np.concatenate(listed(model.score_frames(X)))
    assert_near(model.score(X), frames.mean(), 1e-14)
    assert isinstance(model.score(X), float)
    if name.startswith("RNN"):
        assert abs(model.score(X) - model.score_samples(X).mean()) > 1  # of frames, not of sequences


# ---- units -------------------------------------------------------------------------------------------------


UNITS = [
    ("RNADE", "standardize"),
    ("RNADE", Linear(covariance="full")),
    ("RNNRNADE", "standardize"),
    ("RNNRNADE", Linear(lags=2)),
    ("RNNRNADE", Linear(lags=2, covariance="full")),
]


@pytest.mark.parametrize("name, transform", UNITS, ids=str)
def test_a_change_of_units_shifts_the_log_density_by_the_log_jacobian(name, transform):
    first, X = small_model(name, transform=transform, dtype=FLOAT64)
    second, _ = small_model(name, transform=transform, dtype=FLOAT64)
    units = np.array([2.0, 2.0**-7, 2.0**10])  # powers of two, so that training does the same arithmetic
    Y = X * units if name == "RNADE" else [x * units for x in X]
    first.fit(X)
    second.fit(Y)
    for key, value in first.parameters_.items():
        assert_near(second.parameters_[key], value, 1e-9, key)
    for found, expected in zip(listed(second.score_dims(Y)), listed(first.score_dims(X)), strict=True):
        assert_near(found, expected - np.log(units), 1e-9)


@pytest.mark.parametrize("lags, covariance", [(0, "diagonal"), (0, "full"), (2, "diagonal"), (2, "full")])
def test_the_transform_adds_its_log_jacobian(lags, covariance):
    case = Case(D=3, H=5, K=2, R=4, lengths=(1,), min_scale=1e-3)
    X = walks()
    transform = Linear(lags=lags, covariance=covariance).fit(*packed(X))
    inside, _ = case.model()
    model, _ = case.model(transform=transform)
    intercepts, coefficients, factors = in_units_of_X(transform)
    parameters, _ = case.make()
    for x, found in zip(X[:5], model.score_dims(X[:5]), strict=True):
        e, log_jacobian = reference.linear(x, intercepts, coefficients, factors)
        assert_near(found, reference.log_density_dims(parameters, e, **case.choices) + log_jacobian, 1e-11)
        assert_near(inside.score_dims(e) + log_jacobian, found, 1e-11)


@pytest.mark.parametrize("lags, covariance", [(0, "diagonal"), (0, "full"), (2, "diagonal"), (2, "full")])
def test_parameters_of_the_conditionals_are_in_the_units_of_the_data(lags, covariance):
    case = Case(D=3, H=5, K=2, R=4, lengths=(1,), min_scale=1e-3)
    X = walks()
    transform = Linear(lags=lags, covariance=covariance).fit(*packed(X))
    model, _ = case.model(transform=transform)
    parameters, _ = case.make()
    linear = in_units_of_X(transform)
    found = model.predict_params(X[:5])
    for i, x in enumerate(X[:5]):
        e, _ = reference.linear(x, *linear)
        alpha, mu, sigma = reference.conditionals(parameters, e, **case.choices)
        mu, sigma = reference.linear_conditionals(x, mu, sigma, *linear)
        for name, part, expected in zip(("alpha", "mu", "sigma"), found, (alpha, mu, sigma), strict=True):
            assert_near(part[i], expected, 1e-11, name)


# ---- draws -------------------------------------------------------------------------------------------------


few_or_many = pytest.mark.parametrize("n", [100, pytest.param(3000, marks=pytest.mark.full)])


@few_or_many
@dtypes
@pytest.mark.parametrize("case", MIXTURES_OF_SEQUENCES, ids=ids(MIXTURES_OF_SEQUENCES))
@pytest.mark.parametrize("lags", [None, 2])
def test_drawn_sequences_have_uniform_integral_transforms(lags, case, dtype, n, row):
    data = walks(D=case.D)
    transform = None if lags is None else Linear(lags=lags, covariance="full").fit(*packed(data))
    model, _ = case.model(dtype, transform=transform)
    draws = model.sample(n, 12, random_state=0)
    assert draws.shape == (n, 12, case.D)
    check_uniform(np.stack(integral_transforms(model, list(draws))))


@few_or_many
@dtypes
@pytest.mark.parametrize("lags", [None, 2])
def test_continuations_have_uniform_integral_transforms(lags, dtype, n, row):
    case = MIXTURES_OF_SEQUENCES[0]
    data = walks(D=case.D)
    transform = None if lags is None else Linear(lags=lags, covariance="full").fit(*packed(data))
    model, _ = case.model(dtype, transform=transform)
    given = data[0][:7].astype(dtype)
    draws = model.sample(n, 9, random_state=0, given=given)
    assert draws.shape == (n, 9, case.D)
    values = [integral_transforms(model, np.concatenate([given, draw]))[7:] for draw in draws]
    check_uniform(np.stack(values))


@few_or_many
@dtypes
@pytest.mark.parametrize("covariance", [None, "diagonal", "full"])
@pytest.mark.parametrize("head", MIXTURES)
def test_drawn_vectors_have_uniform_integral_transforms(head, covariance, dtype, n, row):
    case = Case(D=5, H=11, K=3, R=0, lengths=(1,), head=head, min_scale=0.1)
    data = walks(D=case.D)
    transform = None if covariance is None else Linear(covariance=covariance).fit(*packed(data))
    model, _ = case.model(dtype, transform=transform)
    draws = model.sample(10 * n, random_state=0)
    assert draws.shape == (10 * n, case.D)
    check_uniform(integral_transforms(model, draws))


@few_or_many
@dtypes
@pytest.mark.parametrize("R", [0, 9])
def test_binary_draws_follow_their_probabilities(R, dtype, n, row):
    case = Case(D=5, H=11, K=1, R=R, lengths=(1,), head="bernoulli")
    model, _ = case.model(dtype)
    parameters, _ = case.make(dtype)
    n = min(n, 400)  # the definition is slow
    draws = model.sample(n, 12, random_state=0) if R else model.sample(12 * n, random_state=0)
    assert set(np.unique(draws)) == {0.0, 1.0}
    p = [reference.conditionals(parameters, x, **case.choices) for x in (draws if R else [draws])]
    p = np.concatenate(p)
    score = (draws.reshape(p.shape) - p) / np.sqrt(p * (1 - p))
    assert np.all(np.abs(score.mean(0)) < 4 / np.sqrt(len(p)))
    assert abs((score[:, 1:] * score[:, :-1]).mean()) < 4 / np.sqrt(score[:, 1:].size)


# ---- the same bits -----------------------------------------------------------------------------------------


def everything(model, case, X):
    """All that a model computes of X, in one structure whose bits can be compared."""
    draws = model.sample(70, 3, random_state=1) if case.R else model.sample(200, random_state=1)
    total, gradient = model.log_likelihood_and_gradient(X)
    return {
        "dims": model.score_dims(X),
        "frames": model.score_frames(X),
        "samples": model.score_samples(X),
        "score": model.score(X),
        "total": total,
        "gradient": dict(gradient),
        "draws": draws,
    }


def tasks(model, case, X):
    """Calls that are each one piece of parallel work."""
    return {
        "dims": lambda: model.score_dims(X),
        "gradient": lambda: model.log_likelihood_and_gradient(X),
        "draws": lambda: model.sample(*((300, 3) if case.R else (300,)), random_state=1),
    }


@dtypes
@every_model
def test_threads_leave_the_bits(case, dtype, row, all_threads):
    expected = None
    for n_jobs in N_JOBS:
        model, X = case.model(dtype, n_jobs=n_jobs)
        found = {}
        for name, call in tasks(model, case, X).items():
            found[name] = call()
            assert _core.last_team_size() == team_of(n_jobs), name
        expected = expected or found
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


@dtypes
@pytest.mark.parametrize("n", [1, 3, 6, 20])
@pytest.mark.parametrize("case", LARGE, ids=ids(LARGE))
def test_threads_share_the_draws_of_few_sequences(case, n, dtype, row, all_threads):
    expected = None
    for n_jobs in N_JOBS:
        model, _ = case.model(dtype, n_jobs=n_jobs)
        known = {"inputs": np.ones((2, case.given) if case.R else case.given)} if case.given else {}
        found = model.sample(n, 2, random_state=1, **known) if case.R else model.sample(n, random_state=1, **known)
        assert _core.last_team_size() == team_of(n_jobs)
        expected = found if expected is None else expected
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


def of_a_fit(model, X):
    """All that a fit leaves, but for the time it took."""
    parts = {"parameters": dict(model.parameters_), "history": without_seconds(model)}
    return parts | {"samples": model.score_samples(X)}


@dtypes
@every_estimator
def test_threads_leave_the_bits_of_a_fit(name, dtype, all_threads):
    expected = None
    large = {"n_hidden": 80, "batch_size": 5000, "validation_fraction": 0.5}  # the last call scores one half
    for n_jobs in N_JOBS:
        model, X = small_model(name, walks(200, 10), dtype=dtype, n_jobs=n_jobs, **large)
        model.fit(X)
        assert _core.last_team_size() == team_of(n_jobs)
        found = of_a_fit(model, X)
        expected = expected or found
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


@every_estimator
def test_threads_leave_the_bits_of_a_fit_in_small_batches(name, all_threads):
    expected = None
    for n_jobs in N_JOBS:
        model, X = small_model(name, n_jobs=n_jobs, batch_size=7)
        found = of_a_fit(model.fit(X), X)
        expected = expected or found
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


def test_threads_leave_the_bits_of_a_fit_on_windows_of_one_long_recording(all_threads):
    x = np.concatenate(walks(n=100))
    expected = None
    for n_jobs in N_JOBS:
        model, _ = small_model("RNNRNADE", window=20, n_jobs=n_jobs, validation_fraction=0.5)
        found = of_a_fit(model.fit(x), x)
        expected = expected or found
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


@pytest.mark.parametrize("transform", ["standardize", Linear(lags=2, covariance="full")], ids=str)
def test_threads_of_blas_leave_the_bits_of_a_fit(transform):
    X = walks(n=1500, D=5)  # above 10,000 frames some products of BLAS use threads
    found = []
    for limit in (1, 2):
        with threadpool_limits(limit, user_api="blas"):
            model, _ = small_model("RNNRNADE", transform=transform, batch_size=5000, validation_fraction=0.5)
            found.append(of_a_fit(model.set_params(max_epochs=2).fit(X), X))
    assert_same_bits(found[1], found[0])


def test_a_limit_of_threadpoolctl_caps_n_jobs(all_threads):
    case = MODELS[0]
    model, X = case.model(n_jobs=8)
    model.score_samples(X)
    assert _core.last_team_size() == team_of(8)
    with threadpool_limits(1):
        model.score_samples(X)
        assert _core.last_team_size() == 1
    model.score_samples(X)
    assert _core.last_team_size() == team_of(8)


@every_model
def test_four_python_threads_score_one_model(case, all_threads):
    model, X = case.model(FLOAT32, n_jobs=2)
    expected = everything(model, case, X)
    start = threading.Barrier(4)

    def work(_):
        start.wait()
        return [everything(model, case, X) for _ in range(3)]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(work, range(4)):
            for found in results:
                assert_same_bits(found, expected)


@dtypes
@every_model
def test_a_sequence_has_the_same_bits_alone_in_any_batch_and_as_a_prefix(case, dtype, row):
    model, X = case.model(dtype)
    if case.R == 0:
        dims = model.score_dims(X)
        for i in range(len(X)):
            assert_same_bits(model.score_dims(X[i : i + 1]), dims[i : i + 1], f"row {i} alone")
        for n in (2, 5, 17, 31, 64):
            assert_same_bits(model.score_dims(X[n:]), dims[n:], f"rows from {n}")
            assert_same_bits(model.score_samples(X[:n]), model.score_samples(X)[:n], f"rows to {n}")
        return
    dims, samples = model.score_dims(X), model.score_samples(X)
    for i, x in enumerate(X):
        assert_same_bits(model.score_dims(x), dims[i], f"sequence {i} alone")
        assert_same_bits(model.score_samples([x]), samples[i : i + 1], f"sequence {i} alone")
        for n in range(1, len(x), 3):
            assert_same_bits(model.score_dims(x[:n]), dims[i][:n], f"sequence {i}, first {n} frames")
    order = np.random.default_rng(0).permutation(len(X))
    assert_same_bits(model.score_dims([X[i] for i in order]), [dims[i] for i in order], "another order")
    assert_same_bits(model.score_samples([X[i] for i in order] * 2), np.tile(samples[order], 2), "twice")


@dtypes
@every_transform
def test_a_sequence_has_the_same_bits_alone_and_as_a_prefix_behind_a_transform(transform, dtype):
    case = MODELS[0]
    data = walks(D=case.D)
    model, _ = case.model(dtype, transform=transform.fit(*packed(data)))
    X = [x.astype(dtype) for x in data]
    dims = model.score_dims(X)
    for i, x in enumerate(X):
        assert_same_bits(model.score_dims(x), dims[i], f"sequence {i} alone")
        for n in range(1, len(x), 3):
            assert_same_bits(model.score_dims(x[:n]), dims[i][:n], f"sequence {i}, first {n} frames")


WITH_GATES = [
    Case(D=5, H=11, K=3, R=R, lengths=LENGTHS, context=("alpha", "mu", "sigma", "hidden"), cell=cell)
    for cell in ("gru", "lstm")
    for R in (33, 130)
] + [Case(D=5, H=11, K=3, R=130, lengths=LENGTHS, cell="gru", L=2)]


@pytest.mark.full
@dtypes
@pytest.mark.parametrize("case", WITH_GATES, ids=ids(WITH_GATES))
def test_many_threads_leave_the_bits_of_gates(case, dtype, row, all_threads):
    expected = None
    for n_jobs in (1, 2, 3, 4, 8, 16):
        model, X = case.model(dtype, n_jobs=n_jobs)
        found = {name: call() for name, call in tasks(model, case, X).items()}
        assert _core.last_team_size() == team_of(n_jobs)
        expected = expected or found
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


@dtypes
@pytest.mark.parametrize("case", [m for m in MODELS if m.R], ids=ids([m for m in MODELS if m.R]))
def test_slices_of_long_recordings_leave_the_bits(case, dtype, monkeypatch):
    """Scores of very many frames are made slice by slice, the state carried from one to the next."""
    model, X = case.model(dtype)
    expected = everything(model, case, X)
    for frames in (1, 7, 40, 50):
        row_bytes = model._density.model.layout.row_numbers * np.dtype(dtype).itemsize
        monkeypatch.setattr("rnnrnade.model.SLICE_BYTES", frames * row_bytes)
        assert_same_bits(everything(model, case, X), expected, f"slices of {frames} frames")


def test_forms_of_the_same_data_have_the_same_bits():
    model, X = MODELS[0].model(FLOAT64)
    x = X[0]
    expected = model.score_dims(x)
    batch = np.stack([x, x[::-1]])
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    assert not strided.flags.c_contiguous
    for name, same in (
        ("Fortran", np.asfortranarray(x)),
        ("strided", strided),
        ("big-endian", x.astype(">f8")),
    ):
        assert_same_bits(model.score_dims(same), expected, name)
    assert_same_bits(model.score_dims(batch)[0], expected, "3-D")
    assert_same_bits(model.score_dims(np.concatenate([x, X[2]]), lengths=[len(x), len(X[2])])[0], expected, "lengths")


@pytest.mark.parametrize("dtype", DTYPES)
@every_estimator
def test_from_parameters_reproduces_a_fitted_model_to_the_bit(name, dtype):
    model, X = small_model(name, dtype=dtype, activation="relu")
    if "RNN" in name:
        model.set_params(cell="gru" if dtype == FLOAT32 else "lstm", n_layers=2)
    if name == "RNNRNADE":
        model.set_params(transform=Linear(lags=2, covariance="full"), context=("mu", "hidden"), order=[2, 0, 1])
    model.fit(X)
    chosen = model.get_params()
    options = {name: chosen[name] for name in ("activation", "cell", "min_scale", "order") if name in chosen}
    if "transform" in chosen:
        options["transform"] = model.transform_
    again = type(model).from_parameters(dict(model.parameters_), dtype=dtype, **options)
    assert_same_bits(dict(again.parameters_), dict(model.parameters_), "parameters")
    case = MODELS[0] if "RNN" in name else MODELS[3]
    assert_same_bits(everything(again, case, X), everything(model, case, X))
