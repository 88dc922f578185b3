"""What an update is made from: windows of long recordings, weights, noise and dropout."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import (
    DTYPES,
    FLOAT64,
    STILL,
    assert_near,
    assert_same_bits,
    copied_parameters,
    every_estimator,
    small_model,
    small_rnnrnade,
    walks,
)
from numpy.testing import assert_array_equal
from sklearn.base import clone

from rnnrnade import training
from rnnrnade.layout import CELLS, Layout, initial_parameters
from rnnrnade.model import Model

# ---- windows -------------------------------------------------------------------------------------------------------


def cut(lengths, window, seed=0):
    return training.windows(np.cumsum([0, *lengths]), window, np.random.default_rng(seed))


@pytest.mark.parametrize("window", [1, 2, 3, 7, 50, 1000])
def test_windows_tile_every_sequence(window):
    lengths = np.random.default_rng(4).integers(1, 40, size=30)
    offsets = np.cumsum([0, *lengths])
    for seed in range(20):
        starts, sizes, sequence = cut(lengths, window, seed)
        assert starts.dtype == sizes.dtype == sequence.dtype == np.int64
        assert starts[0] == 0 and starts[-1] + sizes[-1] == offsets[-1]
        assert_array_equal(starts[1:], (starts + sizes)[:-1])  # every frame once, in order
        assert sizes.min() >= 1 and sizes.max() <= window
        assert_array_equal(sequence, np.searchsorted(offsets, starts, side="right") - 1)
        assert np.all(starts + sizes <= offsets[sequence + 1])
        for i, n in enumerate(lengths):
            own = sizes[sequence == i]
            assert np.all(own[1:-1] == window)
            assert n > window or len(own) == 1


def test_windows_of_none_are_the_sequences_and_draw_nothing():
    generator = np.random.default_rng(5)
    state = generator.bit_generator.state
    for window in (None, 4):
        starts, sizes, sequence = training.windows(np.cumsum([0, 3, 1, 4]), window, generator)
        assert_array_equal(starts, [0, 3, 4])
        assert_array_equal(sizes, [3, 1, 4])
        assert_array_equal(sequence, [0, 1, 2])
    assert generator.bit_generator.state == state


def test_cuts_move_from_epoch_to_epoch():
    generator = np.random.default_rng(6)
    first = [training.windows(np.array([0, 100]), 10, generator)[1][0] for _ in range(2000)]
    counts = np.bincount(first, minlength=11)
    assert counts[0] == 0 and len(counts) == 11
    assert np.all(np.abs(counts[1:] - 200) < 70)  # uniform on 1..10: 5 standard deviations


def options(batch_size, window=None):
    every = dict.fromkeys(training.Training.__dataclass_fields__)
    return training.Training(**every | {"batch_size": batch_size, "window": window})


def core_model(head="gaussian", R=5, dtype=FLOAT64, cell="sigmoid", L=1):
    layout = Layout(head, 3, 4, 2, R, cell=cell, context=("mu",), min_scale=1e-3, L=L)
    return Model(layout, initial_parameters(layout, np.random.default_rng(0), np.dtype(dtype)))


def data_of(X, dtype=FLOAT64):
    frames = np.concatenate(X).astype(dtype)
    return training.Data(frames, np.cumsum([0, *map(len, X)]), np.arange(1.0, len(frames) + 1), 0.0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths, window", [((450,), None), ((450, 30, 201, 200), None), ((50, 7, 20), 20)])
@pytest.mark.parametrize("L", [1, 2])
def test_windows_begin_in_the_state_of_the_whole_past(lengths, window, dtype, cell, L):
    generator = np.random.default_rng(0)
    X = [generator.standard_normal((T, 3)) for T in lengths]
    model, data = core_model(dtype=dtype, cell=cell, L=L), data_of(X, dtype)
    longest = window or training.WINDOW
    rows, cut = [], 0
    for frames, offsets, weight, (states, fresh) in training.batches(data, options(3, window), generator, model, 1):
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
    batches = list(training.batches(data, options(1), generator, core_model(), 1))
    assert sorted(len(frames) for frames, *_ in batches) == [3, 150, 200]
    assert all(initial is None for *_, initial in batches)


@pytest.mark.parametrize("window", [None, 1, 30, 10_000])
def test_the_loss_of_windows_is_that_of_the_whole_recording(window):
    x = walks(1, shortest=450, longest=451)[0]
    model = small_rnnrnade(window=window, validation_fraction=0, max_epochs=1, dtype=FLOAT64, **STILL).fit(x)
    assert_near(model.history_["loss"], [-model.score(x)], 1e-11)


def test_training_on_windows_learns():
    x = walks(1, shortest=450, longest=451)[0]
    model = small_rnnrnade(max_epochs=20, validate_every=5).fit(x)
    assert model.history_["validation_score"][-1] > model.history_["validation_score"][0]
    assert_same_bits(copied_parameters(clone(model).fit(x)), copied_parameters(model))


# ---- weights -------------------------------------------------------------------------------------------------------

ONE_BATCH = {"dtype": FLOAT64, "validation_fraction": 0, "batch_size": 1000}  # an epoch is one update of all X


@every_estimator
def test_weight_zero_is_leaving_out(name):
    model, X = small_model(name, learning_rate=0.05, **ONE_BATCH)
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    chosen = [x for x, w in zip(X, weight, strict=True) if w]
    found = clone(model).fit(X, sample_weight=weight)
    expected = clone(model).fit(chosen if isinstance(X, list) else np.array(chosen))
    for key, value in expected.parameters_.items():
        assert_near(found.parameters_[key], value, 1e-8, key)
    assert_near(found.history_["loss"], expected.history_["loss"], 1e-10)
    unweighted = clone(model).fit(X)
    assert max(np.abs(unweighted.parameters_[key] - found.parameters_[key]).max() for key in found.parameters_) > 1e-4


@every_estimator
def test_whole_weights_are_repetitions(name):
    model, X = small_model(name, **ONE_BATCH)
    weight = 1 + np.arange(len(X)) % 3
    repeated = [x for x, w in zip(X, weight, strict=True) for _ in range(w)]
    found = clone(model).fit(X, sample_weight=weight)
    expected = clone(model).fit(repeated if isinstance(X, list) else np.array(repeated))
    assert_near(found.history_["loss"], expected.history_["loss"], 1e-10)
    assert_near(found.score(X), expected.score(X), 1e-8)
    if found.transform_ is not None:
        assert_near(found.transform_.mean_, expected.transform_.mean_, 1e-12)


def test_the_scale_of_weights_does_not_matter():
    options = ONE_BATCH | {"transform": "standardize"}  # the ridge of "var" is worth one frame of weight 1
    model, X = small_model("RNNRNADE", **options)
    weight = np.arange(1.0, len(X) + 1)
    found = clone(model).fit(X, sample_weight=1024 * weight)
    assert_same_bits(copied_parameters(found), copied_parameters(clone(model).fit(X, sample_weight=weight)))


def test_frames_of_weight_zero_are_still_the_past_of_others():
    x = walks(1, shortest=60, longest=61)[0]
    weight = (np.arange(60) >= 20).astype(float)
    model = small_rnnrnade(**ONE_BATCH, max_epochs=1, transform=None, **STILL).fit(x, sample_weight=weight)
    assert_near(model.history_["loss"], [-model.score_frames(x)[20:].mean()], 1e-11)
    assert abs(model.history_["loss"][0] + model.score(x[20:])) > 1e-6


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
        model, X = small_model(name, walks(200), dtype=dtype, n_recurrent=16, validation_fraction=0, **{option: value})
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
    start = small_rnnrnade(**options | STILL).fit(X)
    model = small_rnnrnade(**options, **NOISY)
    ((x, inputs, mask),) = gradients_asked_for(monkeypatch, model, X)
    monkeypatch.undo()
    density, data = start._density, start._check(X)
    assert_near(np.sort(x[:, 0]), np.sort(density.encode(data)[0][:, 0]), 0)  # what is fitted is clean
    lengths = {len(s): s for s in X}
    assert len(x) == sum(map(len, X)) and lengths
    order = [np.flatnonzero([np.array_equal(x[i : i + len(e)], e) for i in range(len(x) - len(e) + 1)])[0]
             for e in np.split(density.encode(data)[0], np.cumsum([len(s) for s in X])[:-1])]  # fmt: skip
    offsets = np.append(np.sort(order), len(x))
    weight = np.full(len(x), -1 / len(x))
    g, _ = density.model.gradient(x, offsets, weight, inputs=inputs, mask=mask)
    assert_near(model._density.model.theta, density.model.theta - 0.01 * g, 1e-12)
    clean, _ = density.model.gradient(x, offsets, weight)
    assert np.abs(g - clean).max() > 1e-4


@pytest.mark.parametrize("cell", ["sigmoid", "gru", "lstm"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_threads_leave_the_bits_of_a_fit_with_noise(cell, n_layers, all_threads):
    options = NOISY | {"cell": cell, "n_layers": n_layers, "validation_fraction": 0}  # what was trained is kept
    found = [copied_parameters(small_rnnrnade(n_jobs=n_jobs, **options).fit(walks())) for n_jobs in (1, 2, 3)]
    assert_same_bits(found[1], found[0])
    assert_same_bits(found[2], found[0])
    for option in NOISY:
        without = copied_parameters(small_rnnrnade(**options | {option: 0.0}).fit(walks()))
        assert not np.array_equal(without["W_in"], found[0]["W_in"]), option


def test_noise_in_windows_of_one_long_recording():
    x = walks(1, shortest=450, longest=451)[0]
    model = small_rnnrnade(max_epochs=20, validate_every=5, **NOISY).fit(x)
    assert model.history_["loss"][-1] < model.history_["loss"][0]
