"""The course of a fit: history, validation, restarts, interruptions, going on, the same bits, progress."""

import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
from helpers import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    STILL,
    assert_near,
    assert_same_bits,
    copied_parameters,
    every_estimator,
    gradient_at,
    interrupt,
    packed,
    small_model,
    small_rnnrnade,
    walks,
    without_seconds,
)
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from rnnrnade import RNNRNADE, Linear, _core, optim, training
from rnnrnade.training import bounds

pytestmark = pytest.mark.usefixtures("validated_after_each_epoch")

COLUMNS = ["epoch", "update", "loss", "validation_score", "gradient_norm", "learning_rate", "seconds"]


def vector(model, gradient=None):
    return np.concatenate([np.ravel(value) for value in (gradient or model.parameters_).values()])


# ---- history and validation ----------------------------------------------------------------------------------------


@every_estimator
def test_history(name):
    model, X = small_model(name)
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
    model, X = small_model(name, validation_fraction=None)
    model.fit(X)
    assert np.isnan(model.history_["validation_score"]).all()
    assert (model.n_iter_, model.best_epoch_, model.best_update_) == (4, None, None)


@pytest.mark.parametrize("transform", [None, "standardize"])
@pytest.mark.parametrize("name", ["RNADE", "RNNRNADE"])
def test_the_loss_is_the_mean_log_density_per_frame_in_the_units_of_X(name, transform):
    X = [1000 * x for x in walks()]
    model, X = small_model(name, X, transform=transform, validation_fraction=0, dtype=FLOAT64, max_epochs=1, **STILL)
    model.fit(X)
    assert_near(model.history_["loss"], [-model.score(X)], 1e-11)


@pytest.mark.parametrize("name, lags", [("RNADE", 0), ("RNNRNADE", 2)])
def test_behind_a_linear_map_the_loss_is_that_of_frames_that_were_left_out(name, lags):
    linear = Linear(lags, covariance="full")
    model, X = small_model(name, transform=linear, validation_fraction=0, dtype=FLOAT64, max_epochs=1, **STILL)
    model.fit(X)
    frames, offsets = packed(X if lags else [X])
    if not lags:
        offsets = np.arange(len(frames) + 1)
    e = clone(linear).fit_left_out(frames, offsets)
    behind = type(model).from_parameters(dict(model.parameters_), min_scale=model.min_scale, dtype=FLOAT64)
    sequences = [e[a:b] for a, b in pairwise(offsets)] if lags else e
    jacobian = np.broadcast_to(model.transform_.log_jacobian(offsets), e.shape).sum(axis=1).mean()
    assert_near(model.history_["loss"], [-behind.score(sequences) - jacobian], 1e-11)
    assert abs(model.history_["loss"][0] + model.score(X)) > 1e-3


@every_estimator
def test_the_best_epoch_is_restored(name):
    X = walks(40)
    options = {"max_epochs": 60, "learning_rate": 0.2, "weight_decay": 0.0, "batch_size": 2, "patience": 1000}
    model, train = small_model(name, X[:3], n_hidden=16, **options)
    _, valid = small_model(name, X[3:])
    model.fit(train, validation_data=valid)
    scores = model.history_["validation_score"]
    assert model.n_iter_ == 60
    assert 1 <= model.best_epoch_ < 60 and scores[-1] < max(scores)  # or this would show nothing
    assert scores[model.best_epoch_ - 1] == max(scores)
    assert_near(model.score(valid), max(scores), 1e-12)
    shorter = clone(model).set_params(max_epochs=model.best_epoch_).fit(train, validation_data=valid)
    assert_same_bits(copied_parameters(shorter), copied_parameters(model))


@every_estimator
def test_validation_data_may_be_a_pair(name):
    model, X = small_model(name)
    _, valid = small_model(name, walks(5, seed=1))
    expected = model.fit(X, validation_data=valid)
    again = clone(model).fit(X, validation_data=(valid, None))
    assert_same_bits(without_seconds(again), without_seconds(expected))
    assert_same_bits(copied_parameters(again), copied_parameters(expected))


def test_validation_data_leaves_all_of_X_for_training():
    X, valid = walks(), walks(5, seed=1)
    model = small_rnnrnade(validation_fraction=0.5).fit(X, validation_data=valid)
    assert_near(model.transform_.mean_, np.concatenate(X).mean(0), 1e-12)
    model = small_rnnrnade(transform=None, max_epochs=60).fit(X, validation_data=valid)
    assert model.best_update_ > 0
    assert_near(max(model.history_["validation_score"]), model.score(valid), 1e-12)


@every_estimator
def test_held_out_items_are_not_trained_on(name):
    model, X = small_model(name, validation_fraction=0.5, dtype=FLOAT64, max_epochs=1, **STILL)
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
    model = small_rnnrnade(max_epochs=5000, patience=3, learning_rate=0.05)
    model.fit(walks())
    scores = np.array(model.history_["validation_score"])
    assert model.best_epoch_ == 1 + np.argmax(scores)
    assert model.n_iter_ == model.best_epoch_ + 3


def test_one_long_recording_is_validated_on_its_end_given_its_past():
    x = walks(1, shortest=120, longest=121)[0]
    for transform in ("standardize", Linear(lags=2, covariance="full")):
        model = small_rnnrnade(transform=transform, validation_fraction=0.25, dtype=FLOAT64, max_epochs=6).fit(x)
        assert_near(model.transform_.mean_, x[:90].mean(0), 1e-12)  # trained on the beginning only
        best = model.history_["validation_score"][model.best_epoch_ - 1]
        assert best == max(model.history_["validation_score"])
        assert_near(best, model.score_frames(x)[90:].mean(), 1e-11)
        assert abs(best - model.score(x[90:])) > 1e-3  # the past matters


def test_the_loss_of_one_long_recording_is_that_of_its_beginning():
    x = walks(1, shortest=120, longest=121)[0]
    model = small_rnnrnade(validation_fraction=0.25, dtype=FLOAT64, max_epochs=1, **STILL).fit(x)
    assert_near(model.history_["loss"][0], -model.score(x[:90]), 1e-11)


def test_few_recordings_are_validated_on_the_end_of_each():
    X = walks(3, shortest=20, longest=60)
    model = small_rnnrnade(validation_fraction=0.2, dtype=FLOAT64, max_epochs=60).fit(X)
    ends = [frames[len(frames) - round(0.2 * len(frames)) :] for frames in model.score_frames(X)]
    assert_near(max(model.history_["validation_score"]), np.concatenate(ends).mean(), 1e-11)


@pytest.mark.parametrize("name, n", [("RNADE", 5), ("NADE", 9), ("RNNRNADE", 6), ("RNNNADE", 6)])
def test_too_few_to_hold_some_out(name, n):
    model, X = small_model(name, [walks(1)[0][:n]])
    with pytest.warns(ConvergenceWarning, match=f"^{n} (rows|frames) are too few"):
        model.fit(X)
    assert model.n_iter_ == 4 and np.isnan(model.history_["validation_score"]).all()
    assert np.isfinite(model.score_samples(X)).all()
    for options in ({"validation_fraction": 0}, {"validation_fraction": None}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            clone(model).set_params(**options).fit(X)


# ---- bad values in the held-out part -------------------------------------------------------------------------------


def recordings(n, n_frames=40, seed=0):
    """Two noisy sines each."""
    generator, t = np.random.default_rng(seed), np.arange(n_frames)[:, None]
    begins = generator.uniform(0, 6, (n, 1, 2))
    return list(np.sin(t * [0.25, 0.4] + begins) * [3, 2] + generator.normal(size=(n, n_frames, 2)) * 0.2)


def damaged(X, i=3, t=17, d=1, value=300.0):
    X = [x.copy() for x in X]
    X[i][t, d] = value
    return X


@pytest.mark.parametrize("value", [300.0, 1e30])
@pytest.mark.parametrize("transform", ["standardize", "var"])
def test_one_bad_held_out_value_does_not_rule_the_fit(transform, value):
    X, valid, test = recordings(20), recordings(6, seed=1), recordings(10, seed=2)
    options = {"n_hidden": 8, "n_recurrent": 8, "max_epochs": 200, "learning_rate": 0.03, "transform": transform}
    good = small_rnnrnade(**options).fit(X, validation_data=valid)
    with pytest.warns(
        UserWarning, match="validation_data: sequence 3, frame 17, dimension 1, is held out and so impro"
    ):
        bad = small_rnnrnade(**options).fit(X, validation_data=damaged(valid, value=value))
    assert bad.best_epoch_ > 20
    untrained = small_rnnrnade(**options).set_params(max_epochs=1, **STILL).fit(X, validation_data=valid)
    gained = good.score(test) - untrained.score(test)
    assert gained > 0.2 and bad.score(test) > good.score(test) - 0.3 * gained


@pytest.mark.parametrize("value", [1e4, -1e300])
@pytest.mark.parametrize("transform", ["auto", "whiten", "var"])
def test_one_bad_value_does_not_rule_the_fit_of_the_transform(transform, value):
    X, test = recordings(20), recordings(10, seed=2)
    model = small_rnnrnade(max_epochs=1, transform=transform, random_state=0, **STILL)  # the transform alone
    good = clone(model).fit(X).score(test)
    with pytest.warns(UserWarning, match="X: sequence 3, frame 17, dimension 1, is so far .* counts as -?[0-9.]+"):
        bad = clone(model).fit(damaged(X, value=value)).score(test)
    assert bad > good - 0.1  # one frame remains that is a jump to the largest value, 15 standard deviations


def test_bounds_leave_heavy_tails_and_rare_events_alone():
    generator = np.random.default_rng(0)
    rare = (generator.random((1000, 50)) < 0.005) * generator.gamma(1.0, size=(1000, 50))
    for x in (generator.standard_t(3, (1000, 50)), rare, generator.normal(size=(10, 50)), np.zeros((30, 2))):
        low, high = bounds(x)
        assert np.all(low == -np.inf) and np.all(high == np.inf)


def test_bounds_are_the_ends_of_what_is_left():
    x = np.random.default_rng(0).normal(size=(200, 3))
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    low[1], high[1] = x[2:, 1].min(), x[2:, 1].max()
    x[:2, 1] = 1e6, -2e6
    assert_same_bits(np.array(bounds(x)), np.array([low, high]))
    assert_same_bits(np.array(bounds(1e300 * x)), 1e300 * np.array([low, high]))


def test_a_held_out_frame_moves_the_mean_by_twenty_standard_errors_at_most():
    X, valid = recordings(20), damaged(recordings(6, seed=1))
    model = small_rnnrnade(dtype=FLOAT64, transform="var", **STILL)
    with pytest.warns(UserWarning, match="held out"):
        model.fit(X, validation_data=valid)
    scores = np.concatenate(model.score_frames(valid))
    spread = 1.48 * np.median(np.abs(scores - np.median(scores)))
    assert spread < 2**0.5
    floor = np.median(scores) - 20 * np.sqrt(len(scores)) * 2**0.5
    assert scores.min() < 100 * floor
    assert_near(model.history_["validation_score"], [np.maximum(scores, floor).mean()] * 4, 1e-11)


@pytest.mark.parametrize("order", [None, [1, 0]])
def test_a_bad_held_out_value_is_named_as_it_stands_in_X(order):
    pandas = pytest.importorskip("pandas")
    X = {f"run {i}": x for i, x in enumerate(recordings(12))}
    split = small_rnnrnade(random_state=1).fit(list(X.values()))._split  # the same sequences are held out below
    data = small_rnnrnade()._check(list(X.values()), reset=True)
    held = split(data, np.ones(data.n_frames), None, np.random.default_rng(1))[2]
    i = next(i for i, x in enumerate(X.values()) if np.array_equal(x, held.frames[: len(x)]))
    X[f"run {i}"] = damaged([X[f"run {i}"]], 0, value=100.0)[0]
    table = pandas.concat({key: pandas.DataFrame(x, columns=["sun", "wind"]) for key, x in X.items()})
    model = small_rnnrnade(random_state=1, order=order, n_restarts=2)
    with pytest.warns(UserWarning) as caught:
        model.fit(table)
    place = rf"^X: sequence {i} \('run {i}'\), frame 17, dimension 1 \('wind'\) \(row {40 * i + 17} of X\), is held out"
    assert re.match(place, str(caught[0].message))
    x = damaged([np.concatenate(recordings(1, 200))], 0, 190, value=60.0)[0]  # the end of one recording
    with pytest.warns(UserWarning, match="^X: sequence 0, frame 190, dimension 1, is held out"):
        small_rnnrnade(order=order).fit(x)
    with pytest.warns(UserWarning, match="^validation_data: row 97, dimension 1, is held out"):
        small_model("RNADE", order=order)[0].fit(
            np.concatenate(X := recordings(12)), validation_data=np.concatenate(damaged(X, 2))
        )


# ---- the net as it starts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer, kept", [((1.0, 1.1), "start"), ((-1.0, 0.1), "start"), ((1.0, 0.9), "trained")])
@every_estimator
def test_the_start_is_kept_unless_training_gains_more_than_a_standard_error(name, answer, kept, monkeypatch):
    model, X = small_model(name, dtype=FLOAT64)
    _, valid = small_model(name, walks(5, seed=1))
    asked = []
    monkeypatch.setattr(training, "gain", lambda *given: asked.append(given) or answer)
    model.fit(X, validation_data=valid)
    assert (model.best_update_ == model.best_epoch_ == 0) == (kept == "start")
    trained, start, groups, weight = asked[-1]
    scores = model.score_frames(valid) if name.startswith("RNN") else [model.score_samples(valid)]
    assert_near(start if kept == "start" else trained, np.concatenate(scores), 1e-11)
    assert_near(max(model.history_["validation_score"]), trained.mean(), 1e-12)
    assert len(groups) == len(weight) == len(start) and set(weight) == {1.0}
    assert (len(np.unique(groups)) == len(start)) == (not name.startswith("RNN"))


@pytest.mark.parametrize("seed", range(3))
def test_where_there_is_nothing_to_learn_the_start_is_kept(seed, monkeypatch):
    monkeypatch.undo()  # validation waits for twenty updates
    X = list(np.random.default_rng(seed).normal(size=(10, 10, 3)))
    model = RNNRNADE(10, 30, n_recurrent=30, max_epochs=60, random_state=0).fit(X)
    assert model.best_update_ == model.best_epoch_ == 0 and model.n_iter_ > 10
    b_mu = model.parameters_["b_mu"]
    assert (b_mu == b_mu[0]).all()  # as it starts
    trained = clone(model).set_params(max_epochs=30, validation_fraction=0).fit(X)
    new = list(np.random.default_rng(100).normal(size=(50, 10, 3)))
    assert model.score(new) > trained.score(new) + 0.1


def test_the_start_of_a_warm_start_is_what_was_fitted():
    X = walks()
    model = small_rnnrnade(transform="standardize", max_epochs=60, warm_start=True).fit(X)
    before = copied_parameters(model)
    assert model.best_epoch_ > 0
    model.set_params(learning_rate=0.5, max_epochs=5).fit(X)
    assert model.best_update_ == 0 and model.n_iter_ == 5
    assert_same_bits(copied_parameters(model), before)


def test_gain_is_a_mean_of_pairs_and_its_standard_error_over_groups():
    generator = np.random.default_rng(0)
    new, old, weight = generator.normal(size=(3, 60)) + np.array([[0.3], [0], [9]])
    mean, error = training.gain(new, old, np.arange(60))
    assert_near([mean, error], [np.mean(new - old), np.std(new - old, ddof=1) / 60**0.5], 1e-14)
    groups = np.repeat(np.arange(12), 5)
    of_groups = (new - old).reshape(12, 5).mean(axis=1)
    assert_near(training.gain(new, old, groups), [np.mean(new - old), np.std(of_groups, ddof=1) / 12**0.5], 1e-14)
    twice = np.repeat([1.0, 2.0], 30)  # a frame of weight 2 is two frames of its group
    found = training.gain(new, old, groups, twice)
    index = np.repeat(np.arange(60), twice.astype(int))
    assert_near(found, training.gain(new[index], old[index], groups[index]), 1e-14)
    assert_near(training.gain(new, old, groups, weight)[0], np.average(new - old, weights=weight), 1e-14)
    assert training.gain(new, old, np.zeros(60, int))[1] == np.inf


@pytest.mark.parametrize("lengths, counted, blocks", [
    ((100,), 100, [10] * 10), ((100,), 16, [4] * 4), ((3, 3, 3), 3, [3] * 3), ((1,) * 50, 1, [1] * 50),
    ((2,), 2, [1, 1]), ((30, 70), 90, [10] * 2 + [9, 9, 9, 8] * 2),
])  # fmt: skip
def test_groups_are_blocks_of_consecutive_frames(lengths, counted, blocks):
    offsets = np.cumsum([0, *lengths])
    weight = np.zeros(offsets[-1])
    for begin, end in pairwise(offsets):
        weight[max(begin, end - counted) : end] = 1.0
    if lengths == (30, 70):
        weight[:10] = 0
    groups = training.Data(np.zeros((offsets[-1], 1)), offsets, weight).groups
    assert np.all(np.diff(groups) >= 0) and np.bincount(groups).tolist() == blocks


# ---- validation by updates, restarts -------------------------------------------------------------------------------


def test_max_updates_ends_the_run():
    options = {"batch_size": 5, "max_updates": 13, "transform": "standardize", "learning_rate": 0.05}
    model = small_rnnrnade(**options, max_epochs=50).fit(walks())  # 27 sequences: 6 updates an epoch
    assert model.history_["update"] == [6, 12, 13] and model.history_["epoch"] == [1, 2, 3]
    assert model.n_iter_ == 3 and model.best_update_ == 13
    assert small_rnnrnade(**options, max_epochs=2).fit(walks()).history_["update"] == [6, 12]


@pytest.mark.parametrize("updates_an_epoch, batch_size, epochs", [(1, 100, [20, 40, 50]), (3, 10, [7, 14, 15]),
                                                                  (27, 1, [1, 2, 3])])  # fmt: skip
def test_validation_comes_after_an_epoch_and_twenty_updates(updates_an_epoch, batch_size, epochs, monkeypatch):
    monkeypatch.undo()
    X, options = walks(), {"batch_size": batch_size, "max_epochs": epochs[-1], "learning_rate": 1e-3}
    model = small_rnnrnade(**options).fit(X)  # 27 sequences, whose score rises
    assert model.history_["epoch"] == epochs and model.n_iter_ == epochs[-1]
    assert model.history_["update"] == [updates_an_epoch * epoch for epoch in epochs]
    assert [len(column) for column in model.history_.values()] == [3] * 7
    assert small_rnnrnade(**options, validation_fraction=0).fit(X).history_["epoch"] == epochs


def test_patience_is_two_hundred_updates_of_one_recording(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(training, "BEHIND", np.inf)
    model = RNNRNADE(2, 4, n_recurrent=4, max_epochs=5000, random_state=0).fit(walks(1, shortest=160, longest=161)[0])
    history = model.history_
    assert history["update"][-1] == history["update"][int(np.argmax(history["validation_score"]))] + 200


def noisy_sines():
    """Few frames, to which a net of twenty units overfits; and such a net."""
    time = np.arange(120)[:, None]
    noise = [np.random.default_rng(seed).normal(0, 0.3, (120, 2)) for seed in range(2)]
    X = [np.sin(time * [0.25, 0.4] + seed) + noise[seed] for seed in range(2)]
    options = {"max_epochs": 5000, "batch_size": 8, "learning_rate": 0.02, "random_state": 0, "refit": False}
    return X, RNNRNADE(5, 20, n_recurrent=20, transform="standardize", **options)


def test_a_net_whose_score_keeps_falling_is_given_up_before_the_end_of_patience(monkeypatch):
    monkeypatch.undo()  # validation waits for twenty updates
    X, model = noisy_sines()
    asked, behind = [], training.Trainer.behind
    monkeypatch.setattr(training.Trainer, "behind", lambda *args: asked.append(behind(*args)) or asked[-1])
    given_up = clone(model).fit(X)
    monkeypatch.setattr(training, "BEHIND", 1e6)
    patient = clone(model).fit(X)
    scores, all_scores = (np.array(m.history_["validation_score"]) for m in (given_up, patient))
    assert_same_bits(scores, all_scores[: len(scores)])
    assert len(scores) < len(all_scores) == 1 + all_scores.argmax() + 10
    falls = np.diff(all_scores) < 0
    after_four = [i for i in range(4, len(all_scores)) if falls[i - 4 : i].all()]
    n = after_four.index(len(scores) - 1)
    assert asked == [False] * n + [True] + [False] * len(after_four)
    assert given_up.best_update_ == patient.best_update_ > 0
    assert_same_bits(copied_parameters(given_up), copied_parameters(patient))


def test_a_net_behind_the_best_of_those_before_it_has_no_second_phase(monkeypatch):
    X, model = noisy_sines()
    monkeypatch.setattr(training, "BEHIND", 0.0)
    trainers, fit = [], training.Trainer.fit
    monkeypatch.setattr(training.Trainer, "fit", lambda self, *args: trainers.append(self) or fit(self, *args))
    model.set_params(anneal=True, n_restarts=6, patience=3).fit(X)
    best = [trainers[0].best.score]
    for trainer in trainers[1:]:
        scores, updates = trainer.history["validation_score"], trainer.history["update"]
        first_phase = max(s for s, n in zip(scores, updates, strict=True) if n <= (trainer.annealing or (np.inf,))[0])
        assert (trainer.annealing is None) == (max(first_phase, trainer.start.score) < max(best))
        best.append(trainer.best.score)
    assert trainers[0].annealing and 0 < sum(trainer.annealing is None for trainer in trainers) < 6


@pytest.mark.parametrize("cell", ["sigmoid", "lstm"])
def test_validation_reads_the_last_frames_of_a_long_past(cell, monkeypatch):
    x = np.random.default_rng(0).normal(size=(600, 2)).cumsum(axis=0) / 10
    options = {"cell": cell, "max_epochs": 5, "dtype": FLOAT64, "transform": "standardize"}
    model = small_rnnrnade(**options).fit(x)
    expected = model.score_frames(x)[540:].mean()
    assert_near(max(model.history_["validation_score"]), expected, 1e-11)
    scored = []
    true = _core.forward
    monkeypatch.setattr(_core, "forward", lambda *given: scored.append(len(given[3])) or true(*given))

    def found(past, window=None):
        monkeypatch.setattr(training, "PAST", past)
        scored.clear()
        return max(small_rnnrnade(**options, window=window).fit(x).history_["validation_score"])

    assert_near(found(200), expected, 1e-9)
    assert set(scored) == {200 + 60}
    assert abs(found(0) - expected) > 1e-6  # the past matters
    assert set(scored) == {60}
    found(200, window=300)  # no shorter than a window
    assert set(scored) == {300 + 60}


@pytest.mark.parametrize("every, updates", [(1, list(range(1, 13))), (4, [4, 8, 12]), (5, [5, 10, 12]), (50, [12])])
def test_validation_by_updates(every, updates):
    options = {"batch_size": 5, "max_epochs": 2, "transform": "standardize", "learning_rate": 0.05}
    model = small_rnnrnade(**options, validate_every=every).fit(walks())
    history = model.history_
    assert history["update"] == updates
    assert history["epoch"] == [1 + (update - 1) // 6 for update in updates]
    assert model.best_update_ == updates[int(np.argmax(history["validation_score"]))]
    shorter = small_rnnrnade(**options, max_updates=model.best_update_).fit(walks())
    assert_same_bits(copied_parameters(shorter), copied_parameters(model))  # validating draws nothing


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
    parts = small_rnnrnade(validate_every=1, **options).fit(X).history_["loss"]
    whole = small_rnnrnade(**options).fit(X).history_["loss"]
    assert len(parts) == 4 and len(set(parts)) == 4
    assert_near(np.mean(parts), whole[0], 1e-12)


def test_patience_counts_validations():
    model = small_rnnrnade(max_epochs=5000, patience=3, learning_rate=0.05, batch_size=5, validate_every=2).fit(walks())
    scores = model.history_["validation_score"]
    assert len(scores) == 1 + int(np.argmax(scores)) + 3
    assert model.history_["update"][-1] == model.best_update_ + 6


@every_estimator
def test_the_best_of_restarts_is_kept(name):
    model, X = small_model(name, learning_rate=0.05, max_epochs=20)  # gains more than a standard error
    alone = clone(model).fit(X)
    several = clone(model).set_params(n_restarts=4).fit(X)
    best = max(several.history_["validation_score"])
    assert best >= max(alone.history_["validation_score"])
    again = clone(model).set_params(n_restarts=4).fit(X)
    assert_same_bits(copied_parameters(again), copied_parameters(several))
    # The first start is that of one start alone: of two, either it or a better one is kept.
    kept, seeds = [], range(6)
    for seed in seeds:
        one, two = (clone(model).set_params(n_restarts=n, random_state=seed).fit(X) for n in (1, 2))
        scores = [max(m.history_["validation_score"]) for m in (one, two)]
        kept.append(scores[1] == scores[0])
        assert scores[1] >= scores[0]
        if kept[-1]:
            assert_same_bits(copied_parameters(two), copied_parameters(one))
    assert any(kept) and not all(kept)


def test_restarts_without_validation_keep_the_lowest_loss():
    losses = []
    for n in range(1, 5):
        options = {"validation_fraction": 0, "transform": "standardize", "learning_rate": 0.01}
        model = small_rnnrnade(n_restarts=n, **options).fit(walks())
        losses.append(model.history_["loss"][-1])
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


# ---- the second phase ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"patience": 3}, {"max_epochs": 4}, {"max_updates": 17, "validate_every": 3}])
def test_annealing_goes_on_from_the_best_for_half_as_many_updates(limits):
    X = walks()
    options = {"transform": "standardize", "learning_rate": 0.1, "batch_size": 5, "max_epochs": 2000} | limits
    first, both = small_rnnrnade(**options).fit(X), small_rnnrnade(**options, anneal=True).fit(X)
    n, history = len(first.history_["epoch"]), both.history_
    assert first.best_update_ > 0 and first.history_["update"][-1] == history["update"][n - 1]
    for name, column in without_seconds(first).items():
        assert_same_bits(np.array(history[name][:n]), np.array(column))
    more = -(-first.best_update_ // 2)
    assert history["update"][-1] == history["update"][n - 1] + more
    assert history["epoch"] == sorted(history["epoch"])
    done = np.array(history["update"][n:]) - history["update"][n - 1]
    assert_near(history["learning_rate"][n:], 0.03 * (1 - done / more), 1e-15)
    scores = history["validation_score"]
    assert scores[history["update"].index(both.best_update_)] == max(scores) > max(first.history_["validation_score"])
    assert_same_bits(copied_parameters(small_rnnrnade(**options, anneal=True).fit(X)), copied_parameters(both))


def test_behind_columns_apart_updates_are_smaller_and_a_second_phase_follows(monkeypatch):
    noise = np.random.default_rng(0).normal(size=(600, 2))
    x = np.where(np.arange(600)[:, None] % 24 < 12, [0.0, 1.0] * noise, noise)
    trainers, fit = [], training.Trainer.fit
    monkeypatch.setattr(training.Trainer, "fit", lambda self, *args: trainers.append(self) or fit(self, *args))
    model = RNNRNADE(1, 2, n_recurrent=2, max_epochs=3, batch_size=10, window=20, refit=False, random_state=0)
    apart = {"anneal": True, "batch_size": 3, "patience": 20, "averaging": 0.98}
    usual = {"anneal": False, "batch_size": 10, "patience": 10, "averaging": 0.95}
    for anneal, expected in (("auto", [usual, apart]), (True, [usual | {"anneal": True}] * 2)):
        trainers.clear()
        model.set_params(anneal=anneal).fit(x)
        found = [{name: getattr(trainer.options, name) for name in usual} for trainer in trainers]
        assert sorted(found, key=str) == expected


def test_annealing_that_gains_nothing_leaves_the_best(monkeypatch):
    X, options = walks(), {"transform": "standardize", "learning_rate": 0.1, "batch_size": 5, "max_epochs": 3}
    first = small_rnnrnade(**options).fit(X)
    monkeypatch.setattr(training, "ANNEALED", 50)
    both = small_rnnrnade(**options, anneal=True).fit(X)
    assert len(both.history_["epoch"]) > len(first.history_["epoch"])
    assert (both.best_epoch_, both.best_update_) == (first.best_epoch_, first.best_update_)
    assert_same_bits(copied_parameters(both), copied_parameters(first))


def test_without_held_out_data_nothing_is_annealed():
    assert small_rnnrnade(anneal=True, validation_fraction=0).fit(walks()).history_["epoch"] == [1, 2, 3, 4]


# ---- interruptions -------------------------------------------------------------------------------------------------


def poison(gradient):
    gradient[3] = np.nan


@pytest.mark.parametrize("validation_fraction", [0, 0.2])
@pytest.mark.parametrize("batch_size", [1000, 8])
def test_an_interruption_leaves_the_best_parameters(batch_size, validation_fraction, monkeypatch):
    X = walks()
    options = {"batch_size": batch_size, "validation_fraction": validation_fraction}
    expected = small_rnnrnade(max_epochs=2, **options).fit(X)
    n_batches = -(-round(30 * (1 - validation_fraction)) // batch_size)
    model = small_rnnrnade(max_epochs=50, **options)
    last = 3 * n_batches  # the last update of the third epoch
    monkeypatch.setattr(_core, "gradient", gradient_at(last, interrupt))
    epoch = expected.best_epoch_ if validation_fraction else 2
    with pytest.warns(ConvergenceWarning, match=rf"interrupted.* epoch {epoch}\b"):
        model.fit(X)
    monkeypatch.undo()
    assert model.n_iter_ == 2 and model.best_epoch_ == expected.best_epoch_
    assert_same_bits(copied_parameters(model), copied_parameters(expected))
    if validation_fraction:
        assert_same_bits(without_seconds(model), without_seconds(expected))
    assert_same_bits(model.score_samples(X), expected.score_samples(X))
    assert model.sample(2, 3, random_state=0).shape == (2, 3, 3)
    model.set_params(max_epochs=2, warm_start=True).fit(X)
    assert model.n_iter_ == 2


@every_estimator
def test_an_interruption_of_the_first_epoch_leaves_a_usable_model(name, monkeypatch):
    model, X = small_model(name)
    monkeypatch.setattr(_core, "gradient", gradient_at(1, interrupt))
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    assert model.n_iter_ == model.best_epoch_ == 0
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("validation_fraction", [0, 0.2])
def test_a_gradient_that_is_not_finite_leaves_the_best_parameters(validation_fraction, monkeypatch):
    X = walks()
    options = {"batch_size": 1000, "validation_fraction": validation_fraction}
    expected = small_rnnrnade(max_epochs=2, **options).fit(X)
    model = small_rnnrnade(max_epochs=50, **options)
    monkeypatch.setattr(_core, "gradient", gradient_at(3, poison))
    with pytest.warns(ConvergenceWarning, match=r"not finite in epoch 3\b.*learning_rate.*clip_norm.*min_scale"):
        model.fit(X)
    assert model.n_iter_ == 2
    assert_same_bits(copied_parameters(model), copied_parameters(expected))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("validation_fraction", [0, 0.2])
@every_estimator
def test_a_huge_learning_rate_leaves_a_usable_model(name, validation_fraction, optimizer, dtype):
    rate = 1e36 if dtype == FLOAT32 else 1e300
    options = {"optimizer": optimizer, "learning_rate": rate, "clip_norm": None, "max_epochs": 30, "dtype": dtype}
    model, X = small_model(name, validation_fraction=validation_fraction, weight_decay=1.0, **options)
    with pytest.warns(ConvergenceWarning, match=r"not finite in epoch \d+: .*learning_rate"):
        model.fit(X)
    assert all(np.isfinite(value).all() for value in model.parameters_.values())
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(3, random_state=0)).all()
    assert np.isfinite(model.history_["loss"]).all()


def test_partial_fit_refuses_a_step_that_is_not_finite(monkeypatch):
    X = walks()
    model = small_rnnrnade(batch_size=1000).partial_fit(X)
    before = copied_parameters(model)
    monkeypatch.setattr(_core, "gradient", gradient_at(1, poison))
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model.partial_fit(X)
    assert_same_bits(copied_parameters(model), before)
    loss = -model.score(X)
    for _ in range(5):
        model.partial_fit(X)
    assert -model.score(X) < loss  # and can go on


@pytest.mark.parametrize("rate", [1e6, 1e20, 1e38])
@pytest.mark.parametrize("optimizer", list(optim.OPTIMIZERS))
def test_partial_fit_can_go_on_after_steps_that_were_too_large(optimizer, rate):
    X = walks()
    options = {"optimizer": optimizer, "weight_decay": 1.0, "clip_norm": None, "batch_size": 1}
    model = small_rnnrnade(learning_rate=0.01, **options).partial_fit(X)
    before, score = copied_parameters(model), model.score(X)
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model.set_params(learning_rate=rate).partial_fit(X)
    assert_same_bits(copied_parameters(model), before)
    model.set_params(learning_rate=0.01)
    for _ in range(5):
        model.partial_fit(X)  # no moment of the large steps is left
    assert model.score(X) > score


# ---- going on ------------------------------------------------------------------------------------------------------


@every_estimator
def test_warm_start_goes_on(name):
    model, X = small_model(name, dtype=FLOAT64, warm_start=True)
    if name == "RNNRNADE":  # behind "var" there is nothing to learn
        model.set_params(transform="standardize", learning_rate=0.1)
    model.fit(X)
    before, score, transform = copied_parameters(model), model.score(X), model.transform_
    model.set_params(max_epochs=1, **STILL).fit(X)
    assert_same_bits(copied_parameters(model), before)
    assert model.transform_ is transform
    model.set_params(max_epochs=10, learning_rate=0.1).fit(X)
    assert model.score(X) > score
    assert model.history_["epoch"] == list(range(1, 11))
    model.set_params(warm_start=False, max_epochs=4, **STILL).fit(X)
    assert not np.array_equal(vector(model), np.concatenate([value.ravel() for value in before.values()]))


def test_warm_start_after_a_change_of_size_starts_anew():
    model, X = small_model("RNNRNADE", warm_start=True)
    model.fit(X)
    model.set_params(n_hidden=7).fit(X)
    assert model.parameters_["W"].shape == (7, 3)
    assert_same_bits(copied_parameters(model), copied_parameters(clone(model).fit(X)))


@every_estimator
def test_partial_fit_goes_on(name):
    model, X = small_model(name)
    assert model.partial_fit(X) is model
    scores = [model.score(X)]
    for _ in range(15):
        scores.append(model.partial_fit(X).score(X))
    assert scores[-1] > scores[7] > scores[0]
    assert list(model.history_) == COLUMNS
    assert model.history_["epoch"] == list(range(1, 17))
    assert model.n_iter_ == 16
    again, _ = small_model(name)
    for _ in range(16):
        again.partial_fit(X)
    assert_same_bits(copied_parameters(again), copied_parameters(model))


def test_partial_fit_after_fit_goes_on():
    model, X = small_model("RNNRNADE", dtype=FLOAT64, learning_rate=0.1, transform="standardize")
    model.fit(X)
    assert model.best_epoch_ > 0  # of parameters that are 0 at the start the smallest step leaves no bit
    before, score, transform = copied_parameters(model), model.score(X), model.transform_
    model.set_params(**STILL).partial_fit(X)
    assert_same_bits(copied_parameters(model), before)
    model.set_params(learning_rate=0.01)
    for _ in range(5):
        model.partial_fit(X)
    assert model.score(X) > score and model.transform_ is transform


def test_partial_fit_takes_other_data_and_weights():
    X = walks()
    model = small_rnnrnade(dtype=FLOAT64).partial_fit(X[:10]).partial_fit(X[10:])
    assert np.isfinite(model.score(X))
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit([x[:, :2] for x in X])
    first = small_rnnrnade(dtype=FLOAT64, **STILL).partial_fit(X, sample_weight=np.r_[np.ones(10), np.zeros(20)])
    assert_near(first.history_["loss"], [-first.score(X[:10])], 1e-11)


def test_partial_fit_by_sgd_goes_on_in_every_batch():
    """It does not know when training ends, so the learning rate does not fall."""
    X = walks()
    model = small_rnnrnade(optimizer="sgd", learning_rate=0.01, batch_size=5).partial_fit(X)
    scores = [model.score(X)]
    for _ in range(10):
        before = copied_parameters(model)
        model.partial_fit(X)
        assert any(not np.array_equal(before[name], value) for name, value in model.parameters_.items())
        scores.append(model.score(X))
    assert scores[-1] > scores[0]
    assert set(model.history_["learning_rate"]) == {0.01}


def test_options_of_training_may_change_between_calls_of_partial_fit():
    X = walks()
    options = {"learning_rate": 0.01, "clip_norm": None, "weight_decay": 0.0, "dtype": FLOAT64}
    model = small_rnnrnade(batch_size=1000, **options).partial_fit(X)
    before = copied_parameters(model)
    _, gradient = model.log_likelihood_and_gradient(X)
    model.set_params(optimizer="sgd").partial_fit(X)
    for name, g in gradient.items():
        assert_near(model.parameters_[name], before[name] + 0.01 * g / sum(map(len, X)), 1e-11, name)


# ---- the same bits, progress, options ------------------------------------------------------------------------------


@every_estimator
def test_the_seed_decides_every_bit(name):
    model, X = small_model(name)
    model.fit(X)
    again = clone(model).fit(X)
    assert_same_bits(copied_parameters(again), copied_parameters(model))
    assert_same_bits(without_seconds(again), without_seconds(model))
    other = clone(model).set_params(random_state=1).fit(X)
    assert not np.array_equal(other._density.model.theta, model._density.model.theta)
    for seed in (np.random.RandomState, np.random.default_rng):
        one, two = (clone(model).set_params(random_state=seed(3)).fit(X) for _ in range(2))
        assert_same_bits(copied_parameters(one), copied_parameters(two))


@every_estimator
def test_order_is_a_permutation_of_columns(name):
    order = [2, 0, 1]
    model, X = small_model(name, order=order)
    permuted = [x[:, order] for x in X] if isinstance(X, list) else np.ascontiguousarray(X[:, order])
    model.fit(X)
    plain = clone(model).set_params(order=None).fit(permuted)
    assert_same_bits(copied_parameters(model), copied_parameters(plain))
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


def test_fit_with_a_seed_leaves_numpys_global_generator_alone():
    before = np.random.get_state()  # noqa: NPY002
    small_rnnrnade(random_state=0).fit(walks())
    for found, expected in zip(np.random.get_state(), before, strict=True):  # noqa: NPY002
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_progress_bar_only_where_verbose(verbose, capsys):
    small_rnnrnade(verbose=verbose).fit(walks())
    out, err = capsys.readouterr()
    assert out == ""
    if verbose:
        assert "fit" in err and "4/4" in err and "validation" in err
    else:
        assert err == ""


@pytest.mark.parametrize("option, value", [("input_noise", -0.1), ("input_dropout", 1.0), ("context_dropout", -0.1),
                                           ("averaging", 1.0), ("schedule", "step"), ("warmup", -1), ("max_updates", 0),
                                           ("anneal", None),
                                           ("validate_every", 0), ("n_restarts", 0), ("mean_gradient", 2)])  # fmt: skip
def test_bad_options_of_training(option, value):
    with pytest.raises(ValueError, match=f"'{option}' parameter of RNNRNADE"):
        small_rnnrnade(**{option: value}).fit(walks())


def test_a_net_without_a_score_and_without_a_loss_loses_every_race():
    trainer = object.__new__(training.Trainer)
    trainer.best, trainer.history = training.Best(score=np.nan), {"loss": []}
    assert trainer.score == -np.inf
