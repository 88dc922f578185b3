"""Columns that are given: known with each frame, read by all that predicts it, and not scored."""

import pickle

import numpy as np
import pytest
from helpers import assert_near, assert_same_bits
from scipy.integrate import quad
from scipy.stats import kstest
from sklearn.base import clone

import rnnrnade
from rnnrnade import (
    MADE,
    NADE,
    RNADE,
    RNNGMM,
    RNNMADE,
    RNNNADE,
    RNNRNADE,
    VRNN,
    Auto,
    Chain,
    Linear,
    Volatility,
    calendar_columns,
)
from rnnrnade.auto import FREEDOM, choose, log_student
from rnnrnade.front import Front
from rnnrnade.transforms import placed

TINY = {"n_hidden": 4, "max_epochs": 2, "random_state": 0}
SMALL = TINY | {"n_components": 2}
MODELS = [
    RNADE(**SMALL),
    RNADE(**SMALL, transform="whiten"),
    RNADE(**SMALL, n_orders=2),
    MADE(**SMALL, conditional="gaussian", n_masks=2),
    NADE(**TINY),
    MADE(**TINY),
    RNNRNADE(**SMALL, n_recurrent=3),
    RNNRNADE(**SMALL, n_recurrent=3, transform=[Linear(lags=2, covariance="full"), Volatility()], order=[2, 0, 1, 3]),
    RNNRNADE(**SMALL, n_recurrent=3, transform=None, context=("mu", "hidden"), cell="lstm", n_layers=2),
    RNNRNADE(**SMALL, n_recurrent=3, components="frame").set_params(n_hidden=0),
    RNNGMM(n_components=2, n_recurrent=3, max_epochs=2, random_state=0),
    RNNMADE(**SMALL, n_recurrent=3, conditional="gaussian"),
    RNNNADE(**TINY, n_recurrent=3, context=("hidden",)),
]
GIVEN = {1: "given", 3: "given"}


def data(T=120, seed=0):
    """Four columns, of which the second and the fourth drive the others."""
    generator = np.random.default_rng(seed)
    u = generator.standard_normal((T, 2))
    x = np.zeros((T, 2))
    for t in range(T):
        x[t] = (0.5 * x[t - 1] if t else 0) + u[t] @ [[1.0, -1.0], [0.3, 0.0]] + 0.3 * generator.standard_normal(2)
    return np.column_stack([x[:, 0], 100 + 30 * u[:, 0], x[:, 1], u[:, 1] / 1000])


def is_binary(model):
    return not model._head.mixture


def fitted(model):
    """(the model with given columns, fitted to data of its kind; data)"""
    X = data()
    if is_binary(model):
        X[:, [0, 2]] = X[:, [0, 2]] > 0
    elif model.get_params()["transform"] is None:
        X *= [1, 0.01, 1, 1000]  # nothing scales it
    return clone(model).set_params(columns=GIVEN).fit(X), X


every = pytest.mark.parametrize("model", MODELS, ids=lambda model: repr(model).replace("\n", "")[:60])


@every
def test_scores_are_of_the_other_columns_given_them(model):
    model, X = fitted(model)
    scores = model.score_frames(X)
    if len(model.members_) == 1:
        dims = model.score_dims(X)
        assert_near(dims.sum(axis=1), scores, 1e-6)
        assert (dims[:, [1, 3]] == 0).all() and (dims[:, [0, 2]] != 0).all()
    moved = X.copy()
    moved[60, 1] += 10.0
    after = model.score_frames(moved)
    assert_same_bits(after[:60], scores[:60])  # what is to come is not read
    assert after[60] != scores[60]
    assert (after[61:] == scores[61:]).all() == (not model._recurrent)


@every
def test_draws_hold_their_inputs(model):
    model, X = fitted(model)
    inputs = X[:7, [1, 3]]
    if model._recurrent:
        draws = model.sample(3, 7, random_state=0, inputs=inputs)
        assert draws.shape == (3, 7, 4)
        assert (draws[..., [1, 3]] == inputs).all()
        each = np.stack([inputs, inputs + 1, inputs])
        assert (model.sample(3, 7, random_state=0, inputs=each)[..., [1, 3]] == each).all()
        future = model.forecast(X[:50], 7, 3, random_state=0, inputs=inputs)
        assert (future[..., [1, 3]] == inputs).all()
        assert_same_bits(future, model.sample(3, 7, random_state=0, given=X[:50], inputs=inputs))
    else:
        draws = model.sample(3, random_state=0, inputs=[110.0, 0.0])
        assert draws.shape == (3, 4) and (draws[:, [1, 3]] == [110.0, 0.0]).all()
        each = [[110.0, 0.0], [90.0, 0.0], [80.0, 1e-3]]
        assert (model.sample(3, random_state=0, inputs=each)[:, [1, 3]] == each).all()
    assert np.isfinite(draws).all()


@pytest.mark.parametrize("model", [RNADE(**SMALL), NADE(**TINY), MADE(**SMALL, conditional="laplace")], ids=repr)
def test_densities_integrate_to_one_whatever_is_given(model):
    model = clone(model).set_params(columns={1: "given"})
    X = data()[:, :2]
    X[:, 0] = X[:, 0] > 0 if is_binary(model) else X[:, 0]
    model.fit(X)
    for u in (70.0, 130.0):
        if is_binary(model):
            total = np.exp(model.score_samples([[0.0, u], [1.0, u]])).sum()
        else:
            total = quad(lambda x, u=u: np.exp(model.score_samples([[x, u]])[0]), -30, 30, limit=200, epsabs=1e-7)[0]
        assert_near(total, 1.0, 1e-5)


@pytest.mark.parametrize(
    "model", [m for m in MODELS if not is_binary(m) and m.n_orders == 1], ids=lambda m: repr(m)[:60]
)
def test_draws_have_the_density(model):
    """What a draw's conditionals say of it is uniform."""
    model, _ = fitted(model)
    generator = np.random.default_rng(1)
    if model._recurrent:
        inputs = np.column_stack([100 + 30 * generator.standard_normal(400), generator.standard_normal(400) / 1000])
        (draws,) = model.sample(1, 400, random_state=1, inputs=inputs)
    else:
        inputs = np.column_stack([100 + 30 * generator.standard_normal(400), generator.standard_normal(400) / 1000])
        draws = model.sample(400, random_state=1, inputs=inputs)
    pit = model.cdf(draws)
    assert np.isnan(pit[:, [1, 3]]).all()
    assert kstest(pit[:, [0, 2]].ravel(), "uniform").pvalue > 1e-3
    if getattr(model, "n_masks", 1) == 1:
        z = model.to_normal(draws)
        z[:, [1, 3]] = draws[:, [1, 3]]
        assert_near(model.from_normal(z), draws, 1e-4)


@every
def test_files_streams_threads_and_copies_have_the_same_bits(model, tmp_path):
    model, X = fitted(model)
    scores = model.score_frames(X)
    model.save(tmp_path / "model")
    for other in (rnnrnade.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert other.columns == GIVEN
        assert_same_bits(other.score_frames(X), scores)
    threads = clone(model).set_params(n_jobs=3).fit(X)
    assert_same_bits(threads.score_frames(X), scores)
    if model._recurrent:
        stream = model.stream(X[:5])
        assert_same_bits(np.array([stream.update(x) for x in X[5:20]]), scores[5:20])
        assert_same_bits(model.score_frames([X[:30], X[:9]])[1], scores[:9])
    for member in model.members_:
        assert np.isfinite(member.score(X))


@pytest.mark.parametrize(
    "model", [m for m in MODELS if m.n_orders == 1 and getattr(m, "n_masks", 1) == 1], ids=lambda m: repr(m)[:60]
)
def test_parameters_and_transform_make_the_model_again(model):
    model, X = fitted(model)
    named = ("cell", "activation", "min_scale", "dtype", "conditional", "direct")
    options = {name: value for name, value in model.get_params(deep=False).items() if name in named}
    options |= {"transform": model.transform_, "columns": GIVEN, "order": model.order_}
    again = type(model).from_parameters(model.parameters_, **options)
    assert_same_bits(again.score_frames(X), model.score_frames(X))


def test_a_fit_resumes_to_the_same_bits(tmp_path):
    X = data()
    model = RNNRNADE(**SMALL, n_recurrent=3, columns=GIVEN).set_params(max_epochs=6)
    whole = clone(model).fit(X)
    clone(model).set_params(max_epochs=3).fit(X, checkpoint=tmp_path / "c", every=0)
    part = clone(model).fit(X, checkpoint=tmp_path / "d", every=0)
    resumed = clone(model).fit(X, checkpoint=tmp_path / "d", resume=True)
    for other in (part, resumed):
        assert_same_bits(other.score_frames(X), whole.score_frames(X))
    with pytest.raises(rnnrnade.ModelFileError, match="columns"):
        clone(model).set_params(columns={1: "given"}).fit(X, checkpoint=tmp_path / "d", resume=True)


def test_partial_fit_reads_them():
    X = data()
    model = RNNRNADE(**SMALL, n_recurrent=3, columns=GIVEN)
    for _ in range(3):
        model.partial_fit(X)
    assert np.isfinite(model.score(X))
    with pytest.raises(ValueError, match=r"the given columns were \[1, 3\], are \[1\]"):
        model.set_params(columns={1: "given"}).partial_fit(X)


def test_options_that_are_set_after_a_fit_change_nothing_of_it(tmp_path):
    model, X = fitted(RNNRNADE(**SMALL, n_recurrent=3))
    scores, draws = model.score_dims(X), model.sample(2, 3, random_state=0, inputs=X[:3, [1, 3]])
    for columns in (None, {0: "given"}):
        model.set_params(columns=columns)
        model.save(tmp_path / "model")
        for one in (model, rnnrnade.load(tmp_path / "model")):
            assert_same_bits(one.score_dims(X), scores)
            assert_same_bits(one.sample(2, 3, random_state=0, inputs=X[:3, [1, 3]]), draws)
            assert np.isnan(one.cdf(X)[:, [1, 3]]).all()


def test_what_drives_the_others_is_worth_its_nats():
    """Held-out nats of the driven columns, against a model that sees their past alone: noise .3 for about 1.2."""
    X = data(800)
    options = {"n_components": 2, "n_hidden": 8, "n_recurrent": 8, "random_state": 0, "max_epochs": 30}
    with_inputs = RNNRNADE(columns=GIVEN, **options).fit(X[:600])
    without = RNNRNADE(**options).fit(X[:600, [0, 2]])
    found = with_inputs.score_frames(X)[600:].mean(), without.score_frames(X[:, [0, 2]])[600:].mean()
    assert found[0] > found[1] + 1.5, found


# ---- gaps ----------------------------------------------------------------------------------------------------------


GAPPY = [
    RNADE(**SMALL, missing="marginalize"),
    RNADE(**SMALL, missing="marginalize", transform="whiten", components="frame").set_params(n_hidden=0),
    RNADE(**SMALL, missing="marginalize", transform=None),
]


@pytest.mark.parametrize("model", GAPPY, ids=lambda m: repr(m)[:60])
def test_gaps_of_rows_are_integrated_out_given_the_inputs(model):
    model, X = fitted(model)
    grid = np.linspace(-12, 12, 4001)
    rows = X[:3].copy()
    rows[0, 0] = rows[1, 2] = np.nan  # the first and the last dimension that is scored
    rows[2, [0, 2]] = np.nan
    found, error = model.log_likelihood_missing(rows, n_particles=3000, random_state=0)
    for i, d in ((0, 0), (1, 2)):
        filled = np.where(np.arange(4) == d, grid[:, None], X[i])
        expected = np.log(np.exp(model.score_samples(filled)).sum() * (grid[1] - grid[0]))
        assert abs(found[i] - expected) < 5 * error[i] + 1e-4
    assert error[1] == 0 and found[2] == error[2] == 0
    drawn = model.impute(rows, 400, random_state=0)
    assert (drawn[..., [1, 3]] == rows[:, [1, 3]]).all() and np.isfinite(drawn).all()
    assert kstest(model.cdf(drawn[:, 2])[:, [0, 2]].ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "model",
    [
        RNNRNADE(**SMALL, n_recurrent=3, missing="marginalize"),
        RNNRNADE(**SMALL, n_recurrent=3, missing="marginalize", transform=[Linear(lags=1), Volatility()]),
        RNNGMM(n_components=2, n_recurrent=3, max_epochs=2, random_state=0, missing="marginalize"),
        RNNGMM(n_components=2, n_recurrent=3, max_epochs=2, random_state=0, missing="marginalize", transform="whiten"),
    ],
    ids=lambda m: repr(m)[:60],
)
def test_gaps_of_sequences_are_integrated_out_given_the_inputs(model):
    """The log-likelihood of a sequence of four frames with a gap in the second, by a grid."""
    model, X = fitted(model)
    x = X[:4].copy()
    x[1, 0] = np.nan
    found, error = model.log_likelihood_missing(x, n_particles=2000, random_state=0)
    grid = np.linspace(-8, 8, 401)
    filled = np.tile(X[:4], (401, 1, 1))
    filled[:, 1, 0] = grid
    expected = np.log(np.exp(model.score_samples(list(filled))).sum() * (grid[1] - grid[0]))
    assert abs(found[0] - expected) < 5 * error[0] + 1e-3
    assert_near(model.score_samples(list(filled[:1]))[0], model.score_frames(filled[0]).sum(), 1e-9)
    whole = X[:4].copy()
    whole[1, [0, 2]] = whole[3, [0, 2]] = np.nan  # frames of which only what is given is known
    assert np.isfinite(model.score_frames(whole)).all()
    drawn = model.impute(whole, 3, random_state=0)
    assert (drawn[..., [1, 3]] == whole[:, [1, 3]]).all() and (drawn[:, 0] == whole[0]).all()


# ---- columns that are held in draws ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [m for m in MODELS if m.n_orders == 1 and m._recurrent], ids=lambda m: repr(m)[:60])
@pytest.mark.parametrize("columns", [None, GIVEN])
def test_fixed_columns_are_held_in_every_frame(model, columns):
    X = data()
    if is_binary(model):
        X = (X > [0, 100, 0, 0]).astype(float)
    model = clone(model).set_params(columns=columns).fit(X)
    first, *others = model.order_[len(columns or ()) :] if model.order_ is not None else range(4)
    how = {"random_state": 0} | ({"inputs": X[:300, [1, 3]] if columns else None})
    values = X[:30, first]
    for value, expected in ((1.0, np.ones(30)), (values, values), (np.stack([values, 1 - values]), None)):
        draws = model.sample(2, 30, fixed={first: value}, **(how | {"inputs": X[:30, [1, 3]] if columns else None}))
        assert (draws[..., first] == (value if expected is None else expected)).all()
        assert np.isfinite(draws).all()
    one = how | {"inputs": X[:1, [1, 3]] if columns else None}
    assert_same_bits(model.sample(5, 1, fixed={first: 1.0}, **one), model.sample(5, 1, leading=[1.0], **one))
    if not is_binary(model) and (columns is None or model.get_params()["transform"] is not None):
        # The others have the conditionals of the model, given what is held.
        inputs = np.tile(X[:, [1, 3]], (4, 1)) if columns else None
        (draws,) = model.sample(1, 480, random_state=1, fixed={first: np.tile(X[:, first], 4)}, inputs=inputs)
        pit = model.cdf(draws)[:, [d for d in others if d not in (columns or ())]]
        assert kstest(pit.ravel(), "uniform").pvalue > 1e-3


def test_one_given_column_may_come_as_a_row_of_numbers():
    pandas = pytest.importorskip("pandas")
    X = data()[:, :2]
    model = RNNRNADE(**SMALL, n_recurrent=3, columns={1: "given"}).fit(X)
    expected = model.forecast(X, 4, 2, random_state=0, inputs=X[:4, 1:])
    for inputs in (X[:4, 1], X[:4, 1].tolist(), X[:4, 1:].tolist(), pandas.Series(X[:4, 1])):
        assert_same_bits(model.forecast(X, 4, 2, random_state=0, inputs=inputs), expected)
    both = model.forecast([X, X[:50]], 4, 2, random_state=0, inputs=[X[:4, 1:], X[:4, 1:].tolist()])
    assert_same_bits(both[0], expected)
    assert_same_bits(model.forecast([X, X[:50]], 4, 2, random_state=0, inputs=X[:4, 1].tolist())[1], both[1])
    with pytest.raises(ValueError, match="the column 'x1' is given: pass its values as inputs"):
        model.forecast(X, 4, 2, inputs=X[:4, 1:], fixed={1: 0.0})


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({1: 0.0}, "the columns 'x1' must lead in the order of conditioning, which begins with 'x2'"),
        ({2: 0.0, 1: 0.0}, "which begins with 'x2', 'x0'"),
        ({2: np.zeros(4)}, r"must be a number or of shape \(2, 3\). Got the shape \(4,\)"),
        ({2: np.nan}, "hold NaN or infinity"),
        ({"a": 0.0}, "fixed names 'a', but X has the columns x0, x1, x2, x3"),
        ([2], "fixed must be a mapping"),
    ],
)
def test_what_cannot_be_fixed(fixed, message):
    model = RNNRNADE(**SMALL, n_recurrent=3, order=[2, 0, 1, 3]).fit(data())
    with pytest.raises(ValueError, match=message):
        model.sample(2, 3, fixed=fixed)
    with pytest.raises(ValueError, match="both hold columns of the first frame"):
        model.sample(2, 3, fixed={2: 0.0}, leading=[0.0])
    with pytest.raises(ValueError, match="those of one order"):
        RNNRNADE(**SMALL, n_recurrent=3, n_orders=2).fit(data()).forecast(data(), 3, fixed={2: 0.0})
    with pytest.raises(ValueError, match="given a latent vector"):
        VRNN(max_epochs=1, n_hidden=0).fit(data()).forecast(data(), 3, fixed={2: 0.0})


# ---- the transform -----------------------------------------------------------------------------------------------


def test_the_prediction_is_the_joint_ridge_regression():
    """On the past of the scored columns and on what is given now, each with its ridge, and an intercept."""
    X, ridge = data(), 3.0
    X = np.ascontiguousarray(X[:, [1, 3, 0, 2]])
    link = Linear(lags=2, covariance="full", ridge=ridge, given=2).fit(X, np.array([0, len(X)]))
    z = link.standardized(X)
    u, x = z[:, :2], z[:, 2:]
    rows = np.arange(2, len(z))
    design = np.column_stack([u[rows], x[rows - 1], x[rows - 2], np.ones(len(rows))])
    penalty = np.diag([1.0, 1.0, *[ridge] * 4, 0.0])
    B = np.linalg.solve(design.T @ design + penalty, design.T @ x[rows])
    assert_near(link.factors_[2][2:, :2], B[:2].T, 1e-9)
    assert_near(link.coefficients_[2, 0, 2:, 2:], B[2:4].T, 1e-9)
    assert_near(link.coefficients_[2, 1, 2:, 2:], B[4:6].T, 1e-9)
    assert_near(link.intercepts_[2, 2:], B[6], 1e-9)
    e = link.forward(X, np.array([0, len(X)]))
    assert_same_bits(e[:, :2], u)
    left = np.linalg.solve(link.factors_[2][2:, 2:], (x[rows] - design @ B).T).T
    assert_near(e[rows, 2:], left, 1e-9)


@pytest.mark.parametrize(
    "transform",
    [
        Linear(),
        Linear(covariance="full"),
        Linear(lags=2, season=5, towards="own"),
        Chain([Linear(lags=1, covariance="full"), Volatility(level=(0.9, 0.5), correlation=(0.95, 0.1), within=5.0)]),
    ],
    ids=lambda transform: repr(transform)[:60],
)
def test_log_jacobian_is_that_of_the_scored_columns(transform):
    X = data(40)
    order = np.array([1, 3, 2, 0])
    front = Front(order, placed(transform, np.argsort(order), 2), "float64", 2)
    front.map.fit(front.ordered(X), np.array([0, 40]))
    offsets = np.array([0, 40])
    e, jacobian = front.encode(X, offsets)
    assert_same_bits(e[:, :2], front.inputs(X[:, [1, 3]]))  # what is given is standardised, and no more
    jacobian = np.broadcast_to(jacobian, (40, 2))
    for t in (0, 1, 20):
        slopes = np.empty((2, 2))
        for j, d in enumerate(order[2:]):
            step = 1e-5
            up, down = X.copy(), X.copy()
            up[t, d] += step
            down[t, d] -= step
            slopes[:, j] = (front.encode(up, offsets)[0] - front.encode(down, offsets)[0])[t, 2:] / (2 * step)
        assert_near(np.log(abs(np.linalg.det(slopes))), jacobian[t].sum(), 1e-6)
        assert abs(slopes[0, 1]) < 1e-9  # triangular, in the order of the model


@pytest.mark.parametrize("freedom", [5.0, np.inf])
def test_the_choice_scores_the_scored_columns_given_the_others(freedom):
    """Its log-likelihood of the held-out frames, of the winner without and with what moves: that of a Student t of the
    scored residuals, with the log-Jacobian of the scored columns, in the units of X."""
    X = np.ascontiguousarray(data(400)[:, [1, 3, 0, 2]])
    offsets, weight, held = np.array([0, 400]), np.ones(400), np.arange(400) >= 340
    generator = np.random.default_rng(0)
    if np.isfinite(freedom):
        X[:, 2:] += 0.5 * generator.standard_t(3, (400, 2))
    else:  # noise that comes and goes
        X[:, 2:] += generator.standard_normal((400, 2)) * np.exp(2 * np.sin(np.arange(400) / 15))[:, None]
    chosen = choose(X, offsets, weight, held, True, Auto(), 2)
    assert len(chosen) == 1 + np.isinf(freedom)
    for candidate in chosen:
        link = clone(candidate.transform)
        first = getattr(link, "links", [link])[0]
        assert first.given == 2
        link.fit(X, offsets, np.where(held, 0.0, weight))
        e, jacobian = link.encode(X, offsets)
        jacobian = np.broadcast_to(jacobian, X.shape)[held, 2:].sum(axis=1)
        squares = (e[held, 2:] ** 2).sum(axis=1)
        scores = [np.mean(log_student(squares, 2, nu) + jacobian) for nu in FREEDOM]
        moving = isinstance(link, Chain)
        assert abs(candidate.score - max(scores)) < (0.15 if moving else 0.05), (candidate, max(scores))


def test_noise_and_dropout_leave_what_is_given_as_it_is():
    X = data()
    model = RNNRNADE(**SMALL, n_recurrent=3, columns=GIVEN, input_noise=0.5, input_dropout=0.3).fit(X)
    frames = model._density.encode(model._check(X))[0]
    read = model._density.model.noise(frames, model._training(), np.random.default_rng(0), 0)["inputs"]
    assert_same_bits(read[:, :2], frames[:, :2])
    assert (read[:, 2:] != frames[:, 2:]).all()


@pytest.mark.parametrize("transform", [Linear(covariance="full", apart=(0,)), Auto(apart=(0,))], ids=repr)
def test_apart_names_columns_of_X_in_any_order(transform):
    X = np.random.default_rng(0).standard_normal((200, 3)) @ [[1, 2, 0], [0, 1, 1], [0, 0, 1.0]]
    plain = RNNRNADE(**SMALL, n_recurrent=3, transform=transform).fit(X)
    turned = clone(plain).set_params(order=[2, 1, 0]).fit(X)
    links = [getattr(model.transform_, "links", [model.transform_]) for model in (plain, turned)]
    assert {link.apart for link in links[0]} == {(0,)} and {link.apart for link in links[1]} == {(2,)}


# ---- the border --------------------------------------------------------------------------------------------------


def test_columns_are_named_as_X_names_them():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(data(), columns=["a", "load", "b", "hour"])
    named = RNNRNADE(**SMALL, n_recurrent=3, columns={"hour": "given", "load": "given"}).fit(X)
    numbered = RNNRNADE(**SMALL, n_recurrent=3, columns=GIVEN).fit(X.to_numpy())
    assert_same_bits(named.score_frames(X), numbered.score_frames(X.to_numpy()))
    future = X[["hour", "load", "a"]][:6]  # by name, in any order, and more than is asked for
    draws = named.forecast(X, 6, 2, random_state=0, inputs=future)
    assert_same_bits(
        draws, numbered.forecast(X.to_numpy(), 6, 2, random_state=0, inputs=X[["load", "hour"]].to_numpy()[:6])
    )
    several = named.forecast([X[:50], X[50:]], 6, 2, random_state=0, inputs=[future, future])
    assert len(several) == 2 and several[0].shape == (2, 6, 4)
    blame = named.explain(X, 3, n_dims=4)
    assert set(blame["dimension"]) <= {"a", "b"} and len(blame) == 6
    assert named.calibration(X).names == ["a", "b", "all"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: m.forecast(X, 3), "the columns 'x1', 'x3' are given: pass inputs="),
        (lambda m, X: m.forecast(X, 3, inputs=X[:4, [1, 3]]), r"inputs must be of shape \(3, 2\)"),
        (lambda m, X: m.forecast(X, 3, inputs=np.full((3, 2), np.nan)), r", the first at \[0\] in the column 'x1'"),
        (lambda m, X: m.forecast(X, 3, inputs=[X[:3, [1, 3]]] * 2), "one for each sequence of X. Got 2"),
        (lambda m, X: m.sample(2, 3, inputs="a"), "inputs must be numbers"),
        (lambda m, X: m.sample(2, 3, inputs=np.full((3, 2), 1e300)), "inputs are too large for float32"),
        (lambda m, X: m.score(X[:, :3]), "3 features"),
        (lambda m, X: m.set_params(columns={9: "given"}).fit(X), "columns names 9, but the columns of X are 0 ... 3"),
        (lambda m, X: m.set_params(columns={"hour": "given"}).fit(X), "columns names 'hour', but X has no names"),
        (lambda m, X: m.set_params(columns=dict.fromkeys(range(4), "given")).fit(X), "all columns of X are given"),
        (lambda m, X: m.set_params(columns={0: "rounded"}).fit(X), "must be 'given' or 'real'"),
        (lambda m, X: m.set_params(columns=None).fit(X).sample(2, 3, inputs=X[:3, :1]), "this model has none"),
        (lambda m, X: VRNN(max_epochs=1).fit(X).forecast(X, 3, inputs=X[:3, :1]), "this model has none"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    model, X = fitted(RNNRNADE(**SMALL, n_recurrent=3))
    with pytest.raises(ValueError, match=message):
        call(model, X)


def test_given_columns_may_hold_any_numbers_but_must_be_known():
    model, X = fitted(NADE(**TINY, missing="marginalize"))
    assert np.isfinite(model.score_samples(X)).all()  # 100 and more, in a model of zeros and ones
    with pytest.raises(ValueError, match=r"NaN: row 3, dimension 1\. A column that is given must be known"):
        model.score_samples(np.where(np.arange(480).reshape(120, 4) == 13, np.nan, X))
    with pytest.raises(ValueError, match=r"contains 0\.5: row 3, dimension 0\."):
        model.score_samples(np.where(np.arange(480).reshape(120, 4) == 12, 0.5, X))
    constant = RNADE(**SMALL, columns=GIVEN).fit(X * [1, 0, 1, 1] + [0, 7, 0, 0])
    assert np.isfinite(constant.score(X * [1, 0, 1, 1] + [0, 7, 0, 0]))


def test_explain_blames_no_given_column_even_where_all_others_are_likely():
    X = data()[:, [0, 3]] * [1e-3, 1]  # without a transform log-densities of so small numbers are positive
    model = RNADE(**SMALL, columns={1: "given"}, transform=None, min_scale=1e-4).set_params(max_epochs=60).fit(X)
    assert (model.score_dims(X)[:, 0] > 0).mean() > 0.9
    assert {row["dimension"] for row in model.explain(X, 120)} == {"x0"}


# ---- the calendar ------------------------------------------------------------------------------------------------


def test_calendar_columns():
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2026-11-27", periods=48, freq="h")
    found = calendar_columns(times, ("hour", "weekday", "month"), elapsed=True)
    assert found.index.equals(times) and found.shape == (48, 8 + 7 + 12 + 1)
    assert (found.filter(like="weekday").to_numpy().argmax(axis=1) == times.day_of_week).all()
    assert (found.filter(like="month").to_numpy().argmax(axis=1) == 10).all()
    waves = found.filter(like="hour").to_numpy()
    assert_near(waves[:24], waves[24:], 1e-12)
    assert_near(waves @ waves.T - np.tile(waves[:24] @ waves[:24].T, (2, 2)), np.zeros((48, 48)), 1e-12)
    assert_near(found["elapsed"], np.full(48, np.log(3600.0)), 1e-12)
    tail = calendar_columns(times[1:2], "hour", elapsed=True, previous=times[0])
    assert_near(tail["elapsed"], [np.log(3600.0)], 1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["2026-01-01", None],), "entry 1 is missing"),
        ((["2026-01-01"], ("day",)), "parts must be among hour, weekday, month. Got 'day'"),
        ((["2026-01-01"], ("hour",), True), "one time has no step"),
        ((["2026-01-02", "2026-01-01"], ("hour",), True), "times must ascend: entry"),
    ],
)
def test_calendar_refusals(arguments, message):
    pytest.importorskip("pandas")
    times, *parts = arguments
    elapsed = {"elapsed": True} if len(parts) > 1 else {}
    with pytest.raises(ValueError, match=message):
        calendar_columns(times, *parts[:1], **elapsed)
