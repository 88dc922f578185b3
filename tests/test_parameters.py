"""The parameters of an estimator: their first values, taken and given by name, trained further."""

import numpy as np
import pytest
from helpers import (
    DTYPES,
    ESTIMATORS,
    FLOAT64,
    STILL,
    Case,
    assert_same_bits,
    copied_parameters,
    random_parameters,
    small_model,
)
from sklearn.base import clone

from rnnrnade import NADE, RNADE, RNNNADE, RNNRNADE, Linear
from rnnrnade.layout import CELLS, Layout, initial_parameters

# ---- first values --------------------------------------------------------------------------------------------------


def test_the_forget_gates_of_an_lstm_start_open():
    layout = Layout("gaussian", 3, 4, 2, 4, cell="lstm", context=("mu",), L=2)
    p = layout.views(initial_parameters(layout, np.random.default_rng(0), np.dtype(FLOAT64)))
    for layer in ("", "_2"):
        assert_same_bits(p["b_r" + layer], np.repeat([0.0, 1.0, 0.0, 0.0], 4))  # input, forget, cell, output
        assert_same_bits(p["r0" + layer], np.zeros(4))
        assert_same_bits(p["c0" + layer], np.zeros(4))


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_every_layer_start_with_variance_one_over_their_inputs(cell):
    layout = Layout("gaussian", 30, 4, 2, 50, cell=cell, context=("mu",), L=3)
    p = layout.views(initial_parameters(layout, np.random.default_rng(0), np.dtype(FLOAT64)))
    for name in ("W_in", "W_rec", "W_in_2", "W_rec_2", "W_in_3", "W_rec_3"):
        n_inputs = 30 if name == "W_in" else 50
        assert p[name].shape[1] == n_inputs and abs(p[name].var() * n_inputs - 1) < 0.2
    assert_same_bits(p["r0_3"], p["r0"])


def test_layers_leave_the_first_values_of_the_others():
    few, many = (
        layout.views(initial_parameters(layout, np.random.default_rng(0), np.dtype(FLOAT64)))
        for layout in (Layout("gaussian", 3, 4, 2, 5, cell="lstm", context=("mu", "hidden"), L=L) for L in (1, 3))
    )
    assert_same_bits({name: many[name] for name in few}, dict(few))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name.endswith("NADE") or name.endswith("RNADE")])
@pytest.mark.parametrize("learn_rho", [False, True])
def test_rho_is_one_unless_learned(name, learn_rho):
    if name.endswith("RNADE"):
        if learn_rho:
            return
        model, X = small_model(name, validation_fraction=0)  # real-valued models learn it always
        learn_rho = True
    else:
        model, X = small_model(name, learn_rho=learn_rho, validation_fraction=0)
    for trained in (model.fit(X), clone(model).partial_fit(X)):
        assert np.all(trained.parameters_["rho"] != 1) if learn_rho else np.all(trained.parameters_["rho"] == 1)
        assert not np.array_equal(trained.parameters_["W"], clone(model).set_params(**STILL).fit(X).parameters_["W"])


# ---- from_parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_parameters_takes_fixed_values_for_options(dtype):
    p = random_parameters(np.random.default_rng(0), 3, 5, 2, 4, context=("mu", "hidden"), dtype=dtype)
    options = RNNRNADE.from_parameters(p).get_params()
    expected = {"cell": "sigmoid", "activation": "sigmoid", "min_scale": 0.0, "transform": None, "dtype": dtype}
    expected |= {"n_hidden": 5, "n_components": 2, "n_recurrent": 4, "n_layers": 1, "order": None}
    assert {name: options[name] for name in expected} == expected
    assert set(options["context"]) == {"mu", "hidden"}
    binary = random_parameters(np.random.default_rng(0), 3, 5, 1, 4, head="bernoulli", context=("bias",), dtype=dtype)
    del binary["rho"]
    model = RNNNADE.from_parameters(binary)
    assert model.get_params()["context"] == ("bias",) and np.all(model.parameters_["rho"] == 1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n_layers", [1, 2, 11])
def test_from_parameters_counts_the_layers(n_layers, cell):
    p = random_parameters(np.random.default_rng(0), 3, 5, 2, 4, cell=cell, context=("mu",), n_layers=n_layers)
    model = RNNRNADE.from_parameters(dict(reversed(p.items())), cell=cell)
    assert model.n_layers == n_layers
    assert_same_bits(dict(model.parameters_), {name: p[name] for name in model.parameters_})
    assert set(model.parameters_) == set(p)


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
        ({}, {"n_layers": 2}, "n_layers=2 contradicts"),
        ({"r0_2": np.zeros(4)}, {}, "needs the parameter 'W_in_2'"),
        ({"W_in_3": np.zeros((4, 4))}, {}, "needs the parameter 'W_in_2'"),
        ({"W_in_1": np.zeros((4, 3))}, {}, "no parameter 'W_in_1'"),
        ({"W_2": np.zeros((5, 3))}, {}, "no parameter 'W_2'"),
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
@pytest.mark.parametrize("L", [1, 2])
def test_a_model_from_parameters_can_go_on_training(cell, L):
    case = Case(D=3, H=5, K=2, R=4, lengths=(9,) * 20, cell=cell, L=L)
    model, X = case.model(FLOAT64)
    before = copied_parameters(model)
    score = model.score(X)
    model.set_params(warm_start=True, max_epochs=1, validation_fraction=0, **STILL).fit(X)
    assert_same_bits(copied_parameters(model), before)
    model.set_params(max_epochs=20, learning_rate=0.01).fit(X)
    assert model.score(X) > score
    other, _ = case.model(FLOAT64)
    assert other.set_params(learning_rate=0.01).partial_fit(X).n_iter_ == 1


def test_binary_from_parameters_can_go_on_training():
    model, X = small_model("NADE", dtype=FLOAT64)
    model.fit(X)
    again = NADE.from_parameters(dict(model.parameters_), warm_start=True, max_epochs=1, **STILL).fit(X)
    assert_same_bits(copied_parameters(again), copied_parameters(model))
