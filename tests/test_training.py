"""Training: history, validation, stopping, interruptions, going on, windows, weights, optimisers; draws of a model."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import reference
from helpers import DTYPES, FLOAT32, FLOAT64, Case, assert_near, assert_same_bits, random_parameters
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import rnnrnade
from rnnrnade import NADE, RNADE, RNNNADE, RNNRNADE, Linear, _core, optim, training
from rnnrnade.layout import CELLS, Layout, initial_parameters
from rnnrnade.model import Model

COLUMNS = ["epoch", "update", "loss", "validation_score", "gradient_norm", "learning_rate", "seconds"]
NAMES = ("RNADE", "NADE", "RNNRNADE", "RNNNADE")
every_estimator = pytest.mark.parametrize("name", NAMES)
STILL = {"learning_rate": 1e-30, "weight_decay": 0.0}  # training that leaves the parameters


def walks(n=30, D=3, seed=0, shortest=8, longest=16):
    generator = np.random.default_rng(seed)
    mix = np.tril(generator.standard_normal((D, D)))
    return [np.cumsum(generator.standard_normal((T, D)) @ mix, 0) / 3 for T in generator.integers(shortest, longest, n)]


def make(name, X=None, **options):
    """A small estimator of the class of that name, and data for it."""
    X = walks() if X is None else X
    if name.endswith("RNADE"):
        options = {"n_components": 2} | options
    else:
        X = [(x > 0).astype(float) for x in X]
    if name.startswith("RNN"):
        options = {"n_recurrent": 4} | options
    else:
        X = np.concatenate(X)
    options = {"n_hidden": 4, "max_epochs": 4, "random_state": 0} | options
    return getattr(rnnrnade, name)(**options), X


def small(**options):
    return make("RNNRNADE", **options)[0]


def without_seconds(model):
    return {name: column for name, column in model.history_.items() if name != "seconds"}


def parameters(model):
    return {name: value.copy() for name, value in model.parameters_.items()}


def vector(model, gradient=None):
    return np.concatenate([np.ravel(value) for value in (gradient or model.parameters_).values()])


# ---- history and validation -------------------------------------------------------------------------------------


@every_estimator
def test_history(name):
    model, X = make(name)
    assert model.fit(X) is model
    assert list(model.history_) == COLUMNS
    assert {len(column) for column in model.history_.values()} == {model.n_iter_} == {4}
    assert model.history_["epoch"] == [1, 2, 3, 4]
    for column in COLUMNS:
        assert np.isfinite(model.history_[column]).all(), column
    assert np.all(np.diff(model.history_["seconds"]) > 0) and model.history_["seconds"][0] > 0
    assert np.all(np.array(model.history_["gradient_norm"]) > 0)
    assert model.history_["learning_rate"] == [model.learning_rate] * 4
    assert model.n_features_in_ == 3


@every_estimator
def test_history_without_validation(name):
    model, X = make(name, validation_fraction=None)
    model.fit(X)
    assert np.isnan(model.history_["validation_score"]).all()
    assert model.n_iter_ == model.best_epoch_ == 4


@pytest.mark.parametrize("transform", [None, "standardize", Linear(lags=2, covariance="full")], ids=str)
@pytest.mark.parametrize("name", ["RNADE", "RNNRNADE"])
def test_the_loss_is_the_mean_log_density_per_frame_in_the_units_of_X(name, transform):
    X = [1000 * x for x in walks()]
    if name == "RNADE" and isinstance(transform, Linear):
        transform = Linear(covariance="full")
    model, X = make(name, X, transform=transform, validation_fraction=0, dtype=FLOAT64, max_epochs=1, **STILL)
    model.fit(X)
    assert_near(model.history_["loss"], [-model.score(X)], 1e-11)


@every_estimator
def test_the_best_epoch_is_restored(name):
    X = walks(40)
    options = {"max_epochs": 60, "learning_rate": 0.2, "weight_decay": 0.0, "batch_size": 2, "patience": 100}
    model, train = make(name, X[:3], n_hidden=16, **options)
    _, valid = make(name, X[3:])
    model.fit(train, validation_data=valid)
    scores = model.history_["validation_score"]
    assert model.n_iter_ == 60
    assert 1 <= model.best_epoch_ < 60 and scores[-1] < max(scores)  # or this would show nothing
    assert scores[model.best_epoch_ - 1] == max(scores)
    assert_near(model.score(valid), max(scores), 1e-12)
    shorter = clone(model).set_params(max_epochs=model.best_epoch_).fit(train, validation_data=valid)
    assert_same_bits(parameters(shorter), parameters(model))


@every_estimator
def test_validation_data_may_be_a_pair(name):
    model, X = make(name)
    _, valid = make(name, walks(5, seed=1))
    expected = model.fit(X, validation_data=valid)
    again = clone(model).fit(X, validation_data=(valid, None))
    assert_same_bits(without_seconds(again), without_seconds(expected))
    assert_same_bits(parameters(again), parameters(expected))


def test_validation_data_leaves_all_of_X_for_training():
    model = small(validation_fraction=0.5)
    X, valid = walks(), walks(5, seed=1)
    model.fit(X, validation_data=valid)
    assert_near(model.transform_.mean_, np.concatenate(X).mean(0), 1e-12)
    assert_near(max(model.history_["validation_score"]), model.score(valid), 1e-12)


@every_estimator
def test_held_out_items_are_not_trained_on(name):
    model, X = make(name, validation_fraction=0.5, dtype=FLOAT64, max_epochs=1, **STILL)
    model.fit(X)
    lengths = np.array([len(x) for x in X]) if name.startswith("RNN") else np.ones(len(X))
    scores = model.score_samples(X)
    loss, valid = -model.history_["loss"][0], model.history_["validation_score"][0]
    n = len(X)
    assert abs(loss - valid) > 1e-6
    # The two means together are the mean of all, for one number of held-out frames.
    if name.startswith("RNN"):
        total, M = scores.sum(), lengths.sum()
        held_out = (total - M * loss) / (valid - loss)
        assert abs(held_out - round(held_out)) < 1e-5 and 0.3 * M < held_out < 0.7 * M
    else:
        n_valid = round(0.5 * n)
        assert_near((n - n_valid) * loss + n_valid * valid, scores.sum(), 1e-11)


def test_early_stopping():
    model = small(max_epochs=5000, patience=3, learning_rate=0.05)
    model.fit(walks())
    scores = np.array(model.history_["validation_score"])
    assert model.best_epoch_ == 1 + np.argmax(scores)
    assert model.n_iter_ == model.best_epoch_ + 3


def test_one_long_recording_is_validated_on_its_end_given_its_past():
    x = walks(1, shortest=120, longest=121)[0]
    for transform in ("standardize", Linear(lags=2, covariance="full")):
        model = small(transform=transform, validation_fraction=0.25, dtype=FLOAT64, max_epochs=6).fit(x)
        assert_near(model.transform_.mean_, x[:90].mean(0), 1e-12)  # trained on the beginning only
        best = model.history_["validation_score"][model.best_epoch_ - 1]
        assert best == max(model.history_["validation_score"])
        assert_near(best, model.score_frames(x)[90:].mean(), 1e-11)
        assert abs(best - model.score(x[90:])) > 1e-3  # the past matters


def test_the_loss_of_one_long_recording_is_that_of_its_beginning():
    x = walks(1, shortest=120, longest=121)[0]
    model = small(validation_fraction=0.25, dtype=FLOAT64, max_epochs=1, **STILL).fit(x)
    assert_near(model.history_["loss"][0], -model.score(x[:90]), 1e-11)


def test_few_recordings_are_validated_on_the_end_of_each():
    X = walks(3, shortest=20, longest=60)
    model = small(validation_fraction=0.2, dtype=FLOAT64).fit(X)
    ends = [frames[len(frames) - round(0.2 * len(frames)) :] for frames in model.score_frames(X)]
    assert_near(max(model.history_["validation_score"]), np.concatenate(ends).mean(), 1e-11)


@pytest.mark.parametrize("name, n", [("RNADE", 5), ("NADE", 9), ("RNNRNADE", 6), ("RNNNADE", 6)])
def test_too_few_to_hold_some_out(name, n):
    model, X = make(name, [walks(1)[0][:n]])
    with pytest.warns(ConvergenceWarning, match=f"^{n} (rows|frames) are too few"):
        model.fit(X)
    assert model.n_iter_ == 4 and np.isnan(model.history_["validation_score"]).all()
    assert np.isfinite(model.score_samples(X)).all()
    for options in ({"validation_fraction": 0}, {"validation_fraction": None}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            clone(model).set_params(**options).fit(X)


# ---- interruptions -------------------------------------------------------------------------------------------------


def gradient_at(call, answer):
    """The core's gradient, but for one call (counted from 1), after which answer(gradient) is asked."""
    true, calls = _core.gradient, []

    def gradient(*arguments):
        true(*arguments)
        calls.append(None)
        if len(calls) == call:
            answer(arguments[1])

    return gradient


def interrupt(gradient):
    raise KeyboardInterrupt


def poison(gradient):
    gradient[3] = np.nan


@pytest.mark.parametrize("validation_fraction", [0, 0.2])
@pytest.mark.parametrize("batch_size", [1000, 8])
def test_an_interruption_leaves_the_best_parameters(batch_size, validation_fraction, monkeypatch):
    X = walks()
    options = {"batch_size": batch_size, "validation_fraction": validation_fraction}
    expected = small(max_epochs=2, **options).fit(X)
    n_batches = -(-round(30 * (1 - validation_fraction)) // batch_size)
    model = small(max_epochs=50, **options)
    last = 3 * n_batches  # the last update of the third epoch
    monkeypatch.setattr(_core, "gradient", gradient_at(last, interrupt))
    with pytest.warns(ConvergenceWarning, match=rf"interrupted.* epoch {expected.best_epoch_}\b"):
        model.fit(X)
    monkeypatch.undo()
    assert model.n_iter_ == 2 and model.best_epoch_ == expected.best_epoch_
    assert_same_bits(parameters(model), parameters(expected))
    if validation_fraction:
        assert_same_bits(without_seconds(model), without_seconds(expected))
    assert_same_bits(model.score_samples(X), expected.score_samples(X))
    assert model.sample(2, 3, random_state=0).shape == (2, 3, 3)
    model.set_params(max_epochs=2, warm_start=True).fit(X)
    assert model.n_iter_ == 2


@every_estimator
def test_an_interruption_of_the_first_epoch_leaves_a_usable_model(name, monkeypatch):
    model, X = make(name)
    monkeypatch.setattr(_core, "gradient", gradient_at(1, interrupt))
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    assert model.n_iter_ == model.best_epoch_ == 0
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("validation_fraction", [0, 0.2])
def test_a_gradient_that_is_not_finite_leaves_the_best_parameters(validation_fraction, monkeypatch):
    X = walks()
    options = {"batch_size": 1000, "validation_fraction": validation_fraction}
    expected = small(max_epochs=2, **options).fit(X)
    model = small(max_epochs=50, **options)
    monkeypatch.setattr(_core, "gradient", gradient_at(3, poison))
    with pytest.warns(ConvergenceWarning, match=r"not finite in epoch 3\b.*learning_rate.*clip_norm.*min_scale"):
        model.fit(X)
    assert model.n_iter_ == 2
    assert_same_bits(parameters(model), parameters(expected))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("validation_fraction", [0, 0.2])
@every_estimator
def test_a_huge_learning_rate_leaves_a_usable_model(name, validation_fraction, optimizer, dtype):
    rate = 1e36 if dtype == FLOAT32 else 1e300
    options = {"optimizer": optimizer, "learning_rate": rate, "clip_norm": None, "max_epochs": 30, "dtype": dtype}
    model, X = make(name, validation_fraction=validation_fraction, weight_decay=1.0, **options)
    with pytest.warns(ConvergenceWarning, match=r"not finite in epoch \d+: .*learning_rate"):
        model.fit(X)
    assert all(np.isfinite(value).all() for value in model.parameters_.values())
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(3, random_state=0)).all()
    assert np.isfinite(model.history_["loss"]).all()


def test_partial_fit_refuses_a_step_that_is_not_finite(monkeypatch):
    X = walks()
    model = small(batch_size=1000).partial_fit(X)
    before = parameters(model)
    monkeypatch.setattr(_core, "gradient", gradient_at(1, poison))
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model.partial_fit(X)
    assert_same_bits(parameters(model), before)
    loss = -model.score(X)
    for _ in range(5):
        model.partial_fit(X)
    assert -model.score(X) < loss  # and can go on


@pytest.mark.parametrize("rate", [1e6, 1e20, 1e38])
@pytest.mark.parametrize("optimizer", list(optim.OPTIMIZERS))
def test_partial_fit_can_go_on_after_steps_that_were_too_large(optimizer, rate):
    X = walks()
    options = {"optimizer": optimizer, "weight_decay": 1.0, "clip_norm": None, "batch_size": 1}
    model = small(learning_rate=0.01, **options).partial_fit(X)
    before, score = parameters(model), model.score(X)
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model.set_params(learning_rate=rate).partial_fit(X)
    assert_same_bits(parameters(model), before)
    model.set_params(learning_rate=0.01)
    for _ in range(5):
        model.partial_fit(X)  # no moment of the large steps is left
    assert model.score(X) > score


# ---- going on --------------------------------------------------------------------------------------------------------


@every_estimator
def test_warm_start_goes_on(name):
    model, X = make(name, dtype=FLOAT64, warm_start=True)
    model.fit(X)
    before, score, transform = parameters(model), model.score(X), model.transform_
    model.set_params(max_epochs=1, **STILL).fit(X)
    assert_same_bits(parameters(model), before)
    assert model.transform_ is transform
    model.set_params(max_epochs=10, learning_rate=0.01).fit(X)
    assert model.score(X) > score
    assert model.history_["epoch"] == list(range(1, 11))
    model.set_params(warm_start=False, max_epochs=4, **STILL).fit(X)
    assert not np.array_equal(vector(model), np.concatenate([value.ravel() for value in before.values()]))


def test_warm_start_after_a_change_of_size_starts_anew():
    model, X = make("RNNRNADE", warm_start=True)
    model.fit(X)
    model.set_params(n_hidden=7).fit(X)
    assert model.parameters_["W"].shape == (7, 3)
    assert_same_bits(parameters(model), parameters(clone(model).fit(X)))


@every_estimator
def test_partial_fit_goes_on(name):
    model, X = make(name)
    assert model.partial_fit(X) is model
    scores = [model.score(X)]
    for _ in range(15):
        scores.append(model.partial_fit(X).score(X))
    assert scores[-1] > scores[7] > scores[0]
    assert list(model.history_) == COLUMNS
    assert model.history_["epoch"] == list(range(1, 17))
    assert model.n_iter_ == 16
    again, _ = make(name)
    for _ in range(16):
        again.partial_fit(X)
    assert_same_bits(parameters(again), parameters(model))


def test_partial_fit_after_fit_goes_on():
    model, X = make("RNNRNADE", dtype=FLOAT64)
    model.fit(X)
    before, score, transform = parameters(model), model.score(X), model.transform_
    model.set_params(**STILL).partial_fit(X)
    assert_same_bits(parameters(model), before)
    model.set_params(learning_rate=0.01)
    for _ in range(5):
        model.partial_fit(X)
    assert model.score(X) > score and model.transform_ is transform


def test_partial_fit_takes_other_data_and_weights():
    X = walks()
    model = small(dtype=FLOAT64).partial_fit(X[:10]).partial_fit(X[10:])
    assert np.isfinite(model.score(X))
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit([x[:, :2] for x in X])
    first = small(dtype=FLOAT64, **STILL).partial_fit(X, sample_weight=np.r_[np.ones(10), np.zeros(20)])
    assert_near(first.history_["loss"], [-first.score(X[:10])], 1e-11)


def test_partial_fit_by_sgd_goes_on_in_every_batch():
    """It does not know when training ends, so the learning rate does not fall."""
    X = walks()
    model = small(optimizer="sgd", learning_rate=0.01, batch_size=5).partial_fit(X)
    scores = [model.score(X)]
    for _ in range(10):
        before = parameters(model)
        model.partial_fit(X)
        assert any(not np.array_equal(before[name], value) for name, value in model.parameters_.items())
        scores.append(model.score(X))
    assert scores[-1] > scores[0]
    assert set(model.history_["learning_rate"]) == {0.01}


# ---- the update ------------------------------------------------------------------------------------------------------


def one_update(**options):
    """Parameters before and after one update of a whole-batch step by SGD, and the gradient of the loss."""
    X = walks()
    options = {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.0, "clip_norm": None} | options
    options |= {"batch_size": 1000, "validation_fraction": 0, "max_epochs": 1, "dtype": FLOAT64}
    before = small(**options | STILL).fit(X)
    after = small(**options).fit(X)
    _, gradient = before.log_likelihood_and_gradient(X)
    n_frames = sum(map(len, X))
    return parameters(before), parameters(after), {name: -g / n_frames for name, g in gradient.items()}, after


def test_sgd_steps_against_the_gradient_of_the_mean():
    before, after, gradient, model = one_update()
    for name, g in gradient.items():
        assert_near(after[name], before[name] - 0.01 * g, 1e-12, name)
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    assert_near(model.history_["gradient_norm"], [norm], 1e-10)


def test_gradients_are_clipped_to_their_norm():
    before, after, gradient, model = one_update(clip_norm=0.01)
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    assert norm > 0.02
    for name, g in gradient.items():
        assert_near(after[name], before[name] - 0.01 * g * 0.01 / norm, 1e-13, name)
    assert_near(model.history_["gradient_norm"], [norm], 1e-10)  # before clipping
    unclipped = one_update(clip_norm=2 * norm)[1]
    assert_same_bits(unclipped, one_update()[1])


def test_weight_decay_pulls_weight_matrices():
    before, after, gradient, _ = one_update(weight_decay=0.5)
    assert {"W", "V_mu", "W_rec", "W_in", "b_mu", "c", "rho", "r0"} <= set(before)
    for name, g in gradient.items():
        decay = 0.5 if name.startswith(("W", "V")) else 0.0
        assert_near(after[name], before[name] - 0.01 * (g + decay * before[name]), 1e-12, name)


def test_weight_decay_by_name():
    before, after, gradient, _ = one_update(weight_decay={"W": 0.5, "c": 0.25})
    for name, g in gradient.items():
        decay = {"W": 0.5, "c": 0.25}.get(name, 0.0)
        assert_near(after[name], before[name] - 0.01 * (g + decay * before[name]), 1e-12, name)


@pytest.mark.parametrize(
    "weight_decay, message", [({"W_no": 0.1}, "W_no"), ({"W": -1.0}, "'W'"), (-1.0, "weight_decay")]
)
def test_bad_weight_decay(weight_decay, message):
    with pytest.raises(ValueError, match=message):
        small(weight_decay=weight_decay).fit(walks())


def test_a_bad_weight_decay_leaves_a_fitted_model_alone():
    X = walks()
    model = small().fit(X)
    before = parameters(model)
    with pytest.raises(ValueError, match="W_no"):
        model.set_params(weight_decay={"W_no": 0.1}).fit(X)
    assert_same_bits(parameters(model), before)


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_sgd_falls_linearly(batch_size):
    model = small(optimizer="sgd", learning_rate=0.01, max_epochs=10, batch_size=batch_size).fit(walks())
    rates = np.array(model.history_["learning_rate"])
    assert_near(np.diff(rates), np.full(9, -0.001), 1e-12)
    assert rates[0] <= 0.01 and abs(rates[-1]) < 0.0011


def test_what_is_kept_is_the_mean_of_the_last_parameters():
    """With fewer than 100 updates the plain mean: half the steps of SGD with one batch, here by hand."""
    X = walks()
    options = {"optimizer": "sgd", "batch_size": 1000, "validation_fraction": 0, "dtype": FLOAT64, "clip_norm": None}
    options |= {"weight_decay": 0.0, "transform": None, "learning_rate": 0.01}
    start = small(max_epochs=1, **options | STILL).fit(X)
    n_frames = sum(map(len, X))
    theta, v, path = parameters(start), 0.0, []
    for i in range(3):
        model = RNNRNADE.from_parameters(theta, min_scale=1e-3)
        _, g = model.log_likelihood_and_gradient(X)
        v = {name: (0.9 * v[name] if i else 0) - g[name] / n_frames for name in theta}
        theta = {name: theta[name] - 0.01 * (1 - i / 3) * v[name] for name in theta}
        path.append(theta)
    found = small(max_epochs=3, **options).fit(X)
    for name in theta:
        assert_near(found.parameters_[name], np.mean([p[name] for p in path], axis=0), 1e-11, name)


# ---- the run: schedules, validation by updates, restarts ------------------------------------------------------------


def rates(**options):
    return np.array(
        small(learning_rate=0.01, batch_size=1000, validate_every=1, **options).fit(walks()).history_["learning_rate"]
    )


@pytest.mark.parametrize("optimizer", list(optim.OPTIMIZERS))
def test_schedules(optimizer):
    """The history has the rate of the NEXT update."""
    part = np.arange(1, 9) / 8
    options = {"optimizer": optimizer, "max_epochs": 8}
    expected = {"constant": np.ones(8), "linear": 1 - part, "cosine": np.cos(np.pi * part / 2) ** 2}
    assert set(expected) == set(optim.SCHEDULES)
    for schedule, factor in expected.items():
        assert_near(rates(schedule=schedule, **options), 0.01 * factor, 1e-15)
    assert_same_bits(rates(**options), rates(schedule={"adam": "constant", "sgd": "linear"}[optimizer], **options))
    short = rates(schedule="linear", max_updates=4, **options)
    assert_near(short, [0.0075, 0.005, 0.0025, 0.0], 1e-15)
    warm = np.minimum(1, np.arange(2, 10) / 5)
    assert_near(rates(schedule="linear", warmup=5, **options), 0.01 * warm * (1 - part), 1e-15)


def test_the_first_update_of_a_warm_up_has_its_part_of_the_rate():
    before, after, gradient, _ = one_update(warmup=4)
    for name, g in gradient.items():
        assert_near(after[name], before[name] - 0.01 / 4 * g, 1e-12, name)


def test_max_updates_ends_the_run():
    model = small(batch_size=5, max_epochs=50, max_updates=13).fit(walks())  # 27 sequences: 6 updates an epoch
    assert model.history_["update"] == [6, 12, 13] and model.history_["epoch"] == [1, 2, 3]
    assert model.n_iter_ == 3 and model.best_update_ == 13
    assert small(batch_size=5, max_epochs=2, max_updates=13).fit(walks()).history_["update"] == [6, 12]


@pytest.mark.parametrize("every, updates", [(1, list(range(1, 13))), (4, [4, 8, 12]), (5, [5, 10, 12]), (50, [12])])
def test_validation_by_updates(every, updates):
    model = small(batch_size=5, max_epochs=2, validate_every=every).fit(walks())
    history = model.history_
    assert history["update"] == updates
    assert history["epoch"] == [1 + (update - 1) // 6 for update in updates]
    assert model.best_update_ == updates[int(np.argmax(history["validation_score"]))]
    shorter = small(batch_size=5, max_epochs=2, max_updates=model.best_update_).fit(walks())
    assert_same_bits(parameters(shorter), parameters(model))  # validating draws nothing


@pytest.mark.parametrize("transform", [None, "standardize"])
def test_the_losses_of_parts_of_an_epoch_make_that_of_the_epoch(transform):
    X = walks(24, shortest=9, longest=10)  # all of one length: parts of equal weight
    options = {
        "batch_size": 6,
        "max_epochs": 1,
        "dtype": FLOAT64,
        "validation_fraction": 0,
        "transform": transform,
    } | STILL
    parts = small(validate_every=1, **options).fit(X).history_["loss"]
    whole = small(**options).fit(X).history_["loss"]
    assert len(parts) == 4 and len(set(parts)) == 4
    assert_near(np.mean(parts), whole[0], 1e-12)


def test_patience_counts_validations():
    model = small(max_epochs=5000, patience=3, learning_rate=0.05, batch_size=5, validate_every=2).fit(walks())
    scores = model.history_["validation_score"]
    assert len(scores) == 1 + int(np.argmax(scores)) + 3
    assert model.history_["update"][-1] == model.best_update_ + 6


@pytest.mark.parametrize("averaging", [0.0, None])
def test_without_averaging_the_last_parameters_are_kept(averaging):
    """Steps of SGD with one batch, by hand."""
    X = walks()
    options = {
        "optimizer": "sgd",
        "schedule": "constant",
        "batch_size": 1000,
        "validation_fraction": 0,
        "clip_norm": None,
    }
    options |= {"dtype": FLOAT64, "weight_decay": 0.0, "transform": None, "learning_rate": 0.01}
    theta = parameters(small(max_epochs=1, **options | STILL).fit(X))
    v = dict.fromkeys(theta, 0.0)
    for _ in range(3):
        _, g = RNNRNADE.from_parameters(theta, min_scale=1e-3).log_likelihood_and_gradient(X)
        v = {name: 0.9 * v[name] - g[name] / sum(map(len, X)) for name in theta}
        theta = {name: theta[name] - 0.01 * v[name] for name in theta}
    found = small(max_epochs=3, averaging=averaging, **options).fit(X)
    for name in theta:
        assert_near(found.parameters_[name], theta[name], 1e-11, name)


@every_estimator
def test_the_best_of_restarts_is_kept(name):
    model, X = make(name)
    alone = clone(model).fit(X)
    several = clone(model).set_params(n_restarts=4).fit(X)
    best = max(several.history_["validation_score"])
    assert best >= max(alone.history_["validation_score"])
    again = clone(model).set_params(n_restarts=4).fit(X)
    assert_same_bits(parameters(again), parameters(several))
    # The first start is that of one start alone: of two, either it or a better one is kept.
    kept, seeds = [], range(6)
    for seed in seeds:
        one, two = (clone(model).set_params(n_restarts=n, random_state=seed).fit(X) for n in (1, 2))
        scores = [max(m.history_["validation_score"]) for m in (one, two)]
        kept.append(scores[1] == scores[0])
        assert scores[1] >= scores[0]
        if kept[-1]:
            assert_same_bits(parameters(two), parameters(one))
    assert any(kept) and not all(kept)


def test_restarts_without_validation_keep_the_lowest_loss():
    losses = []
    for n in range(1, 5):
        model = small(n_restarts=n, validation_fraction=0, transform="standardize").fit(walks())
        losses.append(model.history_["loss"][-1])
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_options_of_training_may_change_between_calls_of_partial_fit():
    X = walks()
    model = small(batch_size=1000, learning_rate=0.01, clip_norm=None, weight_decay=0.0, dtype=FLOAT64).partial_fit(X)
    before = parameters(model)
    _, gradient = model.log_likelihood_and_gradient(X)
    model.set_params(optimizer="sgd").partial_fit(X)
    for name, g in gradient.items():
        assert_near(model.parameters_[name], before[name] + 0.01 * g / sum(map(len, X)), 1e-11, name)


@pytest.mark.parametrize("value", ["much", [0.1], None, np.inf, np.nan, True + 1j])
def test_weight_decay_of_a_name_that_is_no_number(value):
    with pytest.raises(ValueError, match=r"weight_decay of 'W' must be a number"):
        small(weight_decay={"W": value}).fit(walks())


# ---- noise and dropout ---------------------------------------------------------------------------------------------


def gradients_asked_for(monkeypatch, model, X):
    """The frames and the arguments inputs and mask of each gradient of a fit."""
    true, found = Model.gradient, []

    def gradient(self, x, *arguments, inputs=None, mask=None, **options):
        found.append((x.copy(), inputs, mask))
        return true(self, x, *arguments, inputs=inputs, mask=mask, **options)

    monkeypatch.setattr(Model, "gradient", gradient)
    model.fit(X)
    return found


NOISY = {"input_noise": 0.5, "input_dropout": 0.25, "context_dropout": 0.4}


@pytest.mark.parametrize("name", ["RNNRNADE", "RNNNADE"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_and_dropout(name, dtype, monkeypatch):
    asked, masks, noises, kept = {}, [], [], []
    for option, value in NOISY.items():
        model, X = make(name, walks(200), dtype=dtype, n_recurrent=16, validation_fraction=0, **{option: value})
        asked[option] = gradients_asked_for(monkeypatch, model, X)
        monkeypatch.undo()
    for x, inputs, mask in asked["input_noise"]:
        assert mask is None and inputs.dtype == x.dtype == np.dtype(dtype)
        noises.append(inputs - x)
    for x, inputs, mask in asked["input_dropout"]:
        assert mask is None
        kept.append((inputs != 0)[x != 0])
        assert_near(inputs[inputs != 0], x[inputs != 0] / 0.75, 1e-6)
    for x, inputs, mask in asked["context_dropout"]:
        assert inputs is None and mask.shape == (len(x), 16) and mask.dtype == np.dtype(dtype)
        assert set(np.unique(mask)) == {0.0, mask.dtype.type(1 / 0.6)}
        masks.append(mask.ravel())
    noise, kept, masks = np.concatenate(noises).ravel(), np.concatenate(kept), np.concatenate(masks)
    for values, mean, deviation in (
        (noise, 0, 0.5),
        (kept, 0.75, 0.25**0.5 * 0.75**0.5),
        (masks, 1, (1 / 0.6 - 1) ** 0.5),
    ):
        assert_near(values.mean(), mean, 5 * deviation / np.sqrt(len(values)))
        assert_near(values.std(), deviation, 0.05 * deviation)
    first, second = (asked["context_dropout"][i][2] for i in (0, 1))
    n = min(len(first), len(second))
    assert not np.array_equal(first[:n], second[:n])  # drawn anew for each batch


def test_one_update_with_noise_is_a_step_along_the_gradient_of_noisy_inputs(monkeypatch):
    X = walks()
    options = {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.0, "clip_norm": None, "batch_size": 1000}
    options |= {"validation_fraction": 0, "max_epochs": 1, "dtype": FLOAT64}
    start = small(**options | STILL).fit(X)
    model = small(**options, **NOISY)
    ((x, inputs, mask),) = gradients_asked_for(monkeypatch, model, X)
    monkeypatch.undo()
    assert_near(np.sort(x[:, 0]), np.sort(start._encode(start._check(X))[:, 0]), 0)  # what is fitted is clean
    lengths = {len(s): s for s in X}
    assert len(x) == sum(map(len, X)) and lengths
    order = [np.flatnonzero([np.array_equal(x[i : i + len(e)], e) for i in range(len(x) - len(e) + 1)])[0]
             for e in np.split(start._encode(start._check(X)), np.cumsum([len(s) for s in X])[:-1])]  # fmt: skip
    offsets = np.append(np.sort(order), len(x))
    weight = np.full(len(x), -1 / len(x))
    g, _ = start._model.gradient(x, offsets, weight, inputs=inputs, mask=mask)
    assert_near(model._model.theta, start._model.theta - 0.01 * g, 1e-12)
    clean, _ = start._model.gradient(x, offsets, weight)
    assert np.abs(g - clean).max() > 1e-4


@pytest.mark.parametrize("cell", ["sigmoid", "gru", "lstm"])
def test_threads_leave_the_bits_of_a_fit_with_noise(cell, all_threads):
    found = [parameters(small(cell=cell, n_jobs=n_jobs, **NOISY).fit(walks())) for n_jobs in (1, 2, 3)]
    assert_same_bits(found[1], found[0])
    assert_same_bits(found[2], found[0])
    for option in NOISY:
        without = parameters(small(cell=cell, **NOISY | {option: 0.0}).fit(walks()))
        assert not np.array_equal(without["W_in"], found[0]["W_in"]), option


def test_noise_in_windows_of_one_long_recording():
    x = walks(1, shortest=450, longest=451)[0]
    model = small(max_epochs=20, **NOISY).fit(x)
    assert model.history_["loss"][-1] < model.history_["loss"][0]


@pytest.mark.parametrize("option, value", [("input_noise", -0.1), ("input_dropout", 1.0), ("context_dropout", -0.1),
                                           ("averaging", 1.0), ("schedule", "step"), ("warmup", -1), ("max_updates", 0),
                                           ("validate_every", 0), ("n_restarts", 0), ("mean_gradient", 2)])  # fmt: skip
def test_bad_options_of_training(option, value):
    with pytest.raises(ValueError, match=f"'{option}' parameter of RNNRNADE"):
        small(**{option: value}).fit(walks())


# ---- windows ---------------------------------------------------------------------------------------------------------


def core_model(head="gaussian", R=5, dtype=FLOAT64, cell="sigmoid"):
    layout = Layout(head, 3, 4, 2, R, cell=cell, context=("mu",), min_scale=1e-3)
    return Model(layout, initial_parameters(layout, np.random.default_rng(0), np.dtype(dtype)))


def data_of(X, dtype=FLOAT64):
    frames = np.concatenate(X).astype(dtype)
    return training.Data(frames, np.cumsum([0, *map(len, X)]), np.arange(1.0, len(frames) + 1), 0.0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths, window", [((450,), None), ((450, 30, 201, 200), None), ((50, 7, 20), 20)])
def test_windows_begin_in_the_state_of_the_whole_past(lengths, window, dtype, cell):
    generator = np.random.default_rng(0)
    X = [generator.standard_normal((T, 3)) for T in lengths]
    model, data = core_model(dtype=dtype, cell=cell), data_of(X, dtype)
    longest = window or training.WINDOW
    rows, cut = [], 0
    for frames, offsets, weight, (states, fresh) in training.batches(data, 3, window, generator, model, 1):
        assert len(frames) == len(weight) == offsets[-1] and len(offsets) - 1 == len(states) == len(fresh) <= 3
        assert np.diff(offsets).max() <= longest
        for i, (a, b) in enumerate(pairwise(offsets)):
            index = (weight[a:b] - 1).astype(int)  # weights here say which frame
            assert_same_bits(frames[a:b], data.frames[index])
            assert np.all(np.diff(index) == 1)
            rows.extend(index)
            begin = data.offsets[np.searchsorted(data.offsets, index[0], side="right") - 1]
            assert fresh[i] == (index[0] == begin)
            if not fresh[i]:
                cut += 1
                past = data.frames[begin : index[0]]
                expected = model.log_density(past, np.array([0, len(past)]), last=True).last[0]
                assert_same_bits(states[i], expected)
                scored = model.log_density(
                    frames[a:b], np.array([0, b - a]), initial=(states[i : i + 1], fresh[i : i + 1])
                )
                whole = model.log_density(data.frames[begin : index[-1] + 1], np.array([0, index[-1] + 1 - begin]))
                assert_same_bits(scored.frames, whole.frames[len(past) :])
    assert sorted(rows) == list(range(len(data.frames)))  # each frame once
    assert cut >= 3


def test_sequences_of_at_most_200_frames_stay_whole():
    generator = np.random.default_rng(0)
    data = data_of([generator.standard_normal((T, 3)) for T in (200, 150, 3)])
    batches = list(training.batches(data, 1, None, generator, core_model(), 1))
    assert sorted(len(frames) for frames, *_ in batches) == [3, 150, 200]
    assert all(initial is None for *_, initial in batches)


@pytest.mark.parametrize("window", [None, 1, 30, 10_000])
def test_the_loss_of_windows_is_that_of_the_whole_recording(window):
    x = walks(1, shortest=450, longest=451)[0]
    model = small(window=window, validation_fraction=0, max_epochs=1, dtype=FLOAT64, **STILL).fit(x)
    assert_near(model.history_["loss"], [-model.score(x)], 1e-11)


def test_training_on_windows_learns():
    x = walks(1, shortest=450, longest=451)[0]
    model = small(max_epochs=20).fit(x)
    assert model.history_["validation_score"][-1] > model.history_["validation_score"][0]
    assert_same_bits(parameters(clone(model).fit(x)), parameters(model))


# ---- weights ---------------------------------------------------------------------------------------------------------

EXACT = {"dtype": FLOAT64, "validation_fraction": 0, "batch_size": 1000}


@every_estimator
def test_weight_zero_is_leaving_out(name):
    model, X = make(name, **EXACT)
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    chosen = [x for x, w in zip(X, weight, strict=True) if w]
    found = clone(model).fit(X, sample_weight=weight)
    expected = clone(model).fit(chosen if isinstance(X, list) else np.array(chosen))
    for key, value in expected.parameters_.items():
        assert_near(found.parameters_[key], value, 1e-8, key)
    assert_near(found.history_["loss"], expected.history_["loss"], 1e-10)
    unweighted = clone(model).fit(X)
    assert abs(unweighted.history_["loss"][0] - found.history_["loss"][0]) > 1e-4


@every_estimator
def test_whole_weights_are_repetitions(name):
    model, X = make(name, **EXACT)
    weight = 1 + np.arange(len(X)) % 3
    repeated = [x for x, w in zip(X, weight, strict=True) for _ in range(w)]
    found = clone(model).fit(X, sample_weight=weight)
    expected = clone(model).fit(repeated if isinstance(X, list) else np.array(repeated))
    assert_near(found.history_["loss"], expected.history_["loss"], 1e-10)
    assert_near(found.score(X), expected.score(X), 1e-8)
    if found.transform_ is not None:
        assert_near(found.transform_.mean_, expected.transform_.mean_, 1e-12)


def test_the_scale_of_weights_does_not_matter():
    model, X = make("RNNRNADE", **EXACT, transform="standardize")  # the ridge of "var" is worth one frame of weight 1
    weight = np.arange(1.0, len(X) + 1)
    found = clone(model).fit(X, sample_weight=1024 * weight)
    assert_same_bits(parameters(found), parameters(clone(model).fit(X, sample_weight=weight)))


def test_frames_of_weight_zero_are_still_the_past_of_others():
    x = walks(1, shortest=60, longest=61)[0]
    weight = (np.arange(60) >= 20).astype(float)
    model = small(**EXACT, max_epochs=1, transform=None, **STILL).fit(x, sample_weight=weight)
    assert_near(model.history_["loss"], [-model.score_frames(x)[20:].mean()], 1e-11)
    assert abs(model.history_["loss"][0] + model.score(x[20:])) > 1e-6


# ---- the same bits, progress -----------------------------------------------------------------------------------------


@every_estimator
def test_the_seed_decides_every_bit(name):
    model, X = make(name)
    model.fit(X)
    again = clone(model).fit(X)
    assert_same_bits(parameters(again), parameters(model))
    assert_same_bits(without_seconds(again), without_seconds(model))
    other = clone(model).set_params(random_state=1).fit(X)
    assert not np.array_equal(other.parameters_["W"], model.parameters_["W"])
    for seed in (np.random.RandomState, np.random.default_rng):
        one, two = (clone(model).set_params(random_state=seed(3)).fit(X) for _ in range(2))
        assert_same_bits(parameters(one), parameters(two))


def test_fit_leaves_numpys_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    small(random_state=None).fit(walks())
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_progress_bar_only_where_verbose(verbose, capsys):
    small(verbose=verbose).fit(walks())
    out, err = capsys.readouterr()
    assert out == ""
    if verbose:
        assert "fit" in err and "4/4" in err and "validation" in err
    else:
        assert err == ""


# ---- optimisers ------------------------------------------------------------------------------------------------------


def gradients(n=7, size=33, dtype=FLOAT64):
    return list(np.random.default_rng(0).standard_normal((n, size)).astype(dtype))


def directions(link, n=7, size=33, theta=None, dtype=FLOAT64):
    """What a link makes of a few gradients, one after the other."""
    theta = np.zeros(size, dtype) if theta is None else theta
    state, found = link.init(theta), []
    for g in gradients(n, size, dtype):
        link.update(g, state, theta)
        found.append(g)
    return np.array(found)


def path(rule, size=33, dtype=FLOAT64, n=7, n_threads=1, **options):
    """(theta, average) after each of n updates of a rule, with a rate and a strength that are not constant."""
    theta = np.linspace(-1, 1, size).astype(dtype)
    strength = np.linspace(0, 0.5, size).astype(dtype)
    link = rule(lambda step: 0.1 / (1 + step), strength, n_threads=n_threads, **options)
    state, found = link.init(theta), []
    for g in gradients(n, size, dtype):
        before = g.copy()
        link.update(g, state, theta)
        assert_same_bits(g, before)
        found.append((theta.copy(), theta.copy() if state["average"] is None else state["average"].copy()))
    return found


def adam_by_hand(size, dtype):
    m = v = 0.0
    for step, g in enumerate(gradients(size=size, dtype=dtype), 1):
        g = g.astype(np.float64)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        yield m / (1 - 0.8**step) / (np.sqrt(v / (1 - 0.95**step)) + 1e-3)


def momentum_by_hand(size, dtype):
    v = 0.0
    for g in gradients(size=size, dtype=dtype):
        v = 0.7 * v + g.astype(np.float64)
        yield v


RULES = {
    "adam": (optim.adam, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}, adam_by_hand),
    "sgd": (optim.momentum, {"decay": 0.7}, momentum_by_hand),
}


@pytest.mark.parametrize("size", [1, 33, 2048, 5000])
@pytest.mark.parametrize("averaging", [0.0, 0.6])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
def test_an_update_in_one_pass_is_direction_decay_step_and_average(name, dtype, averaging, size):
    rule, options, directions_by_hand = RULES[name]
    found = path(rule, size, dtype, averaging=averaging, **options)
    theta, strength = np.linspace(-1, 1, size), np.linspace(0, 0.5, size)
    average = theta
    for step, (direction, (found_theta, found_average)) in enumerate(
        zip(directions_by_hand(size, dtype), found, strict=True)
    ):
        theta = theta - 0.1 / (1 + step) * (direction + strength * theta)
        average = average + max(1 - averaging, 1 / (1 + step)) * (theta - average)
        assert_near(found_theta, theta, 1e-13 if dtype == FLOAT64 else 2e-6)
        assert_near(found_average, average, 1e-13 if dtype == FLOAT64 else 2e-6)


@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
def test_threads_leave_the_bits_of_an_update(name):
    size = 3 * 2**18 + 5
    rule, options, _ = RULES[name]
    expected = path(rule, size, FLOAT32, 2, averaging=0.6, **options)
    for n_threads in (2, 3):
        assert_same_bits(path(rule, size, FLOAT32, 2, n_threads, averaging=0.6, **options), expected)
    x = gradients(1, size, FLOAT32)[0]
    norms = {_core.norm(x, n_threads) for n_threads in (1, 2, 3, 7)}
    assert len(norms) == 1
    assert_near(norms.pop(), np.linalg.norm(x.astype(FLOAT64)), 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_norm(dtype):
    norms = [np.linalg.norm(g.astype(FLOAT64)) for g in gradients(dtype=dtype)]
    largest = float(np.median(norms))
    for found, g, norm in zip(
        directions(optim.clip_norm(largest), dtype=dtype), gradients(dtype=dtype), norms, strict=True
    ):
        if norm <= largest:
            assert_same_bits(found, g)
        else:
            assert_near(found, g * (largest / norm), 1e-14 if dtype == FLOAT64 else 1e-6)


def test_links_of_one_line():
    mask = np.arange(33) % 2 == 0
    assert_same_bits(directions(optim.keep(mask)), np.array(gradients()) * mask + 0.0)
    g = gradients(1)[0]
    g[2] = np.inf
    link = optim.clip_norm(1.0)
    with pytest.raises(FloatingPointError):
        link.update(g, link.init(g), g)
    assert np.isinf(g[2]) and g[1] == gradients(1)[0][1]


def test_a_chain_applies_its_links_in_order():
    largest, mask = 0.5, np.arange(33) < 2
    both = directions(optim.chain(optim.keep(mask), optim.clip_norm(largest)))
    assert_near(
        np.linalg.norm(both, axis=1), np.minimum(largest, np.linalg.norm(np.array(gradients())[:, :2], axis=1)), 1e-12
    )
    other = directions(optim.chain(optim.clip_norm(largest), optim.keep(mask)))
    assert np.linalg.norm(other, axis=1).max() < largest


@pytest.mark.parametrize("R, context", [(0, ()), (4, ("alpha", "sigma")), (4, ("mu",))])
def test_the_mean_gradient_heuristic(R, context):
    layout = Layout("gaussian", 3, 5, 2, R, context=context, min_scale=0.25)
    generator = np.random.default_rng(0)
    theta, g = (layout.flat(random_parameters(generator, 3, 5, 2, R, context=context), np.float64) for _ in range(2))
    p, before, found = layout.views(theta), layout.views(g.copy()), layout.views(g)
    link = optim.mean_gradient(layout)
    link.update(g, link.init(theta), theta)
    for d in range(3):
        for k in range(2):
            sigma = 0.25 + np.exp(p["b_sigma"][d, k])
            assert_near(found["V_mu"][d, :, k], sigma * before["V_mu"][d, :, k], 1e-14)
            assert_near(found["b_mu"][d, k], sigma * before["b_mu"][d, k], 1e-14)
            if "mu" in context:
                assert_near(found["W_mu"][d, k], sigma * before["W_mu"][d, k], 1e-14)
    for name in set(found) - {"V_mu", "b_mu", "W_mu"}:
        assert_same_bits(found[name], before[name], name)


@every_estimator
@pytest.mark.parametrize("optimizer", list(optim.OPTIMIZERS))
def test_every_optimiser_raises_the_score(name, optimizer):
    model, X = make(name, optimizer=optimizer, max_epochs=15)
    loss = model.fit(X).history_["loss"]
    assert loss[-1] < loss[0]


@every_estimator
@pytest.mark.parametrize("learn_rho", [False, True])
def test_rho_is_one_unless_learned(name, learn_rho):
    if name.endswith("RNADE"):
        if learn_rho:
            return
        model, X = make(name)  # real-valued models learn it always
        learn_rho = True
    else:
        model, X = make(name, learn_rho=learn_rho)
    for trained in (model.fit(X), clone(model).partial_fit(X)):
        assert np.all(trained.parameters_["rho"] != 1) if learn_rho else np.all(trained.parameters_["rho"] == 1)
        assert not np.array_equal(trained.parameters_["W"], clone(model).set_params(**STILL).fit(X).parameters_["W"])


# ---- scores and draws of an estimator -------------------------------------------------------------------------------


@every_estimator
def test_score_is_the_mean_over_frames(name):
    model, X = make(name)
    model.fit(X)
    frames = model.score_frames(X)
    frames = np.concatenate(frames) if isinstance(frames, list) else frames
    assert_near(model.score(X), frames.mean(), 1e-14)
    assert isinstance(model.score(X), float)
    if name.startswith("RNN"):
        assert abs(model.score(X) - model.score_samples(X).mean()) > 1  # of frames, not of sequences


def test_draws_have_the_moments_of_the_model():
    alpha, mu, sigma = np.array([0.2, 0.8]), np.array([-3.0, 1.0]), np.array([0.5, 1.5])
    b = {"b_alpha": np.log(alpha), "b_mu": mu, "b_sigma": np.log(sigma)}
    p = {name: np.tile(value, (2, 1)) for name, value in b.items()}
    p |= {"W": np.zeros((0, 2)), "c": np.zeros(0), "rho": np.ones(2)}
    p |= {f"V_{q}": np.zeros((2, 0, 2)) for q in ("alpha", "mu", "sigma")}
    draws = RNADE.from_parameters(p).sample(40_000, random_state=0)
    mean = alpha @ mu
    variance = alpha @ (sigma**2 + mu**2) - mean**2
    assert_near(draws.mean(0), np.full(2, mean), 4 * np.sqrt(variance / 40_000))
    assert_near(np.cov(draws.T), variance * np.eye(2), 0.05 * variance)


def test_draws_have_the_moments_of_the_data_that_a_model_was_fitted_to():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((2000, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [10.0, -1.0]
    draws = RNADE(2, 8, max_epochs=10, random_state=0).fit(X).sample(20_000, random_state=1)
    assert np.all(np.abs(draws.mean(0) - X.mean(0)) < 0.15 * X.std(0))
    assert np.all(np.abs(np.cov(draws.T) - np.cov(X.T)) < 0.15 * np.outer(X.std(0), X.std(0)))


@pytest.mark.parametrize("name", ["RNNRNADE", "RNNNADE"])
def test_forecasts(name, all_threads):
    model, X = make(name)
    model.fit(X)
    found = model.forecast(X[:3], 5, 7, random_state=0)
    for n_jobs in (1, 2, 5):
        assert_same_bits(model.set_params(n_jobs=n_jobs).forecast(X[:3], 5, 7, random_state=0), found)
        assert _core.last_team_size() == n_jobs
    assert isinstance(found, list) and [f.shape for f in found] == [(7, 5, 3)] * 3
    assert_same_bits(model.forecast(X[:3], 5, 7, random_state=0), found)
    assert not np.array_equal(model.forecast(X[:3], 5, 7, random_state=1)[0], found[0])
    assert_same_bits(model.forecast(X[0], 5, 7, random_state=0), found[0])  # one 2-D array: one array
    assert_same_bits(model.sample(7, 5, random_state=0, given=X[0]), found[0])
    x, lengths = np.concatenate(X[:3]), [len(x) for x in X[:3]]
    assert_same_bits(model.forecast(x, 5, 7, random_state=0, lengths=lengths), found)
    batch = np.stack([x[:6] for x in X[:3]])
    assert [f.shape for f in model.forecast(batch, 5, 7, random_state=0)] == [(7, 5, 3)] * 3
    if name == "RNNNADE":
        assert set(np.unique(np.concatenate(found))) <= {0.0, 1.0}


@every_estimator
def test_draws_are_decided_by_the_seed(name):
    model, X = make(name)
    model.fit(X)
    assert_same_bits(model.sample(6, random_state=5), model.sample(6, random_state=5))
    assert_same_bits(model.sample(6), model.sample(6, random_state=0))  # that of the estimator
    assert not np.array_equal(model.sample(6, random_state=5), model.sample(6, random_state=6))
    generator = np.random.default_rng(5)
    first, second = model.sample(6, random_state=generator), model.sample(6, random_state=generator)
    assert_same_bits(first, model.sample(6, random_state=5))
    assert not np.array_equal(first, second)
    assert model.sample(6).dtype == np.float64


@pytest.mark.parametrize("cell", CELLS)
def test_continuations_start_in_the_state_after_the_given_frames(cell):
    """With hardly any noise a draw is the path of the means, here by the definition."""
    context = ("alpha", "mu", "sigma", "hidden")
    p = random_parameters(np.random.default_rng(1), 3, 5, 1, 4, cell=cell, context=context)
    p["b_sigma"] = p["b_sigma"] - 40.0
    model = RNNRNADE.from_parameters(p, cell=cell)
    given = walks(1)[0]
    nothing = np.zeros((6, 3))
    for past in (given, given[:1], None):
        expected = reference.draw(p, 6, nothing, nothing, given=past, cell=cell)
        found = model.sample(4, 6, random_state=0, given=past)
        assert_near(found, np.tile(expected, (4, 1, 1)), 1e-10)
    two = model.sample(1, 2, random_state=0, given=given)[0]
    rest = model.sample(1, 4, random_state=0, given=np.concatenate([given, two]))[0]
    assert_near(np.concatenate([two, rest]), model.sample(1, 6, random_state=0, given=given)[0], 1e-10)


def test_draws_in_pieces_go_on_in_the_state_of_the_piece_before(monkeypatch):
    p = random_parameters(np.random.default_rng(1), 3, 5, 1, 4, context=("mu",))
    p["b_sigma"] = p["b_sigma"] - 40.0
    model = RNNRNADE.from_parameters(p, transform=Linear(lags=2).fit(walks()[0], np.array([0, len(walks()[0])])))
    whole = model.sample(2, 20, random_state=0, given=walks(1)[0])
    monkeypatch.setattr("rnnrnade.estimators.DRAWS", 2 * 3 * 7)
    assert_near(model.sample(2, 20, random_state=0, given=walks(1)[0]), whole, 1e-9)


@every_estimator
def test_order_is_a_permutation_of_columns(name):
    order = [2, 0, 1]
    model, X = make(name, order=order)
    permuted = [x[:, order] for x in X] if isinstance(X, list) else np.ascontiguousarray(X[:, order])
    model.fit(X)
    plain = clone(model).set_params(order=None).fit(permuted)
    assert_same_bits(parameters(model), parameters(plain))
    assert_same_bits(without_seconds(model), without_seconds(plain))
    assert_same_bits(model.score_samples(X), plain.score_samples(permuted))
    back = np.argsort(order)
    found, expected = model.score_dims(X), plain.score_dims(permuted)
    if isinstance(X, list):
        assert_same_bits(found, [np.ascontiguousarray(dims[:, back]) for dims in expected])
    else:
        assert_same_bits(found, expected[:, back])
    assert_same_bits(model.sample(5, random_state=1), plain.sample(5, random_state=1)[..., back])
    assert_near(vector(model, model.log_likelihood_and_gradient(X)[1]),
                vector(plain, plain.log_likelihood_and_gradient(permuted)[1]), 0)  # fmt: skip


# ---- from_parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_parameters_takes_fixed_values_for_options(dtype):
    p = random_parameters(np.random.default_rng(0), 3, 5, 2, 4, context=("mu", "hidden"), dtype=dtype)
    options = RNNRNADE.from_parameters(p).get_params()
    expected = {"cell": "sigmoid", "activation": "sigmoid", "min_scale": 0.0, "transform": None, "dtype": dtype}
    expected |= {"n_hidden": 5, "n_components": 2, "n_recurrent": 4, "order": None}
    assert {name: options[name] for name in expected} == expected
    assert set(options["context"]) == {"mu", "hidden"}
    binary = random_parameters(np.random.default_rng(0), 3, 5, 1, 4, head="bernoulli", context=("bias",), dtype=dtype)
    del binary["rho"]
    model = RNNNADE.from_parameters(binary)
    assert model.get_params()["context"] == ("bias",) and np.all(model.parameters_["rho"] == 1)


def test_from_parameters_copies_and_gives_read_only_parameters():
    p = random_parameters(np.random.default_rng(0), 3, 5, 2)
    model = RNADE.from_parameters(p)
    before = model.score_samples(np.zeros((1, 3)))
    p["c"] += 1
    assert_same_bits(model.score_samples(np.zeros((1, 3))), before)
    with pytest.raises(ValueError, match="read-only"):
        model.parameters_["c"][0] = 1
    with pytest.raises(TypeError):
        model.parameters_["c"] = 1


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({"W_in": None}, {}, "W_in"),
        ({"rho": None}, {}, "rho"),
        ({"W_extra": np.zeros(3)}, {}, "W_extra"),
        ({"c": np.zeros(6)}, {}, "'c'"),
        ({"r0": np.zeros((4, 1))}, {}, "r0"),
        ({"b_mu": np.full((3, 2), np.nan)}, {}, "b_mu"),
        ({}, {"n_hidden": 6}, "n_hidden"),
        ({}, {"n_components": 3}, "n_components"),
        ({}, {"n_recurrent": 3}, "n_recurrent"),
        ({}, {"context": ("alpha",)}, "context"),
        ({}, {"order": [0, 1]}, "order"),
        ({}, {"cell": "gru"}, "cell='gru' ask for .12, 4"),
        ({"W_rec": np.zeros((12, 4))}, {}, "3 R .gru"),
        ({"c0": np.zeros(4)}, {}, "c0"),
        ({}, {"transform": Linear()}, "fitted"),
        ({}, {"transform": Linear().fit(np.eye(2), np.array([0, 2]))}, "2 dimensions"),
    ],
    ids=str,
)
def test_from_parameters_refuses_contradictions(change, options, message):
    p = random_parameters(np.random.default_rng(0), 3, 5, 2, 4, context=("mu",)) | change
    p = {name: value for name, value in p.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        RNNRNADE.from_parameters(p, **options)


@pytest.mark.parametrize("cell", CELLS)
def test_a_model_from_parameters_can_go_on_training(cell):
    case = Case(D=3, H=5, K=2, R=4, lengths=(9,) * 20, cell=cell)
    model, X = case.model(FLOAT64)
    before = parameters(model)
    score = model.score(X)
    model.set_params(warm_start=True, max_epochs=1, validation_fraction=0, **STILL).fit(X)
    assert_same_bits(parameters(model), before)
    model.set_params(max_epochs=20, learning_rate=0.01).fit(X)
    assert model.score(X) > score
    other, _ = case.model(FLOAT64)
    assert other.set_params(learning_rate=0.01).partial_fit(X).n_iter_ == 1


def test_binary_from_parameters_can_go_on_training():
    model, X = make("NADE", dtype=FLOAT64)
    model.fit(X)
    again = NADE.from_parameters(dict(model.parameters_), warm_start=True, max_epochs=1, **STILL).fit(X)
    assert_same_bits(parameters(again), parameters(model))


def test_the_forget_gates_of_an_lstm_start_open():
    p = core_model(cell="lstm", R=4).parameters
    assert_same_bits(p["b_r"], np.repeat([0.0, 1.0, 0.0, 0.0], 4))  # input, forget, cell, output
    assert_same_bits(p["r0"], np.zeros(4))
    assert_same_bits(p["c0"], np.zeros(4))
