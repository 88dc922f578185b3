"""MADE: its masks, its draws in one pass, its options; what it shares with the other conditioners is tested there."""

import itertools

import numpy as np
import pytest
from helpers import DTYPES, FLOAT64, Case, assert_near, assert_same_bits, ids, small_model, walks

import rnnrnade
from rnnrnade.conditioners import CONDITIONERS
from rnnrnade.layout import Layout

SHAPES = [
    Case(
        D=D,
        H=H,
        K=2 if head == "gaussian" else 1,
        R=R,
        lengths=(9, 40),
        head=head,
        activation=activation,
        conditioner="made",
        direct=direct,
    )
    for D, H, activation, direct in (
        (1, (1,), "sigmoid", True),
        (4, (9, 2, 6), "relu", False),
        (11, (7, 30), "sigmoid", True),
        (23, (40, 23), "sigmoid", False),
    )
    for R in (0, 5)
    for head in ("bernoulli", "gaussian")
]
shapes = pytest.mark.parametrize("case", SHAPES, ids=ids(SHAPES))
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@dtypes
@shapes
def test_no_output_reads_its_own_dimension_or_a_later_one(case, dtype, row):
    model, x, _ = case.core(dtype)
    offsets = np.arange(len(x) + 1)  # each frame alone: what one reads would be another's past
    parameters = model.log_density(x, offsets, parameters=True).parameters
    for d in range(case.D):
        y = x.copy()
        y[:, d:] = np.nan  # which times zero is not zero
        found = model.log_density(y, offsets, parameters=True).parameters
        assert_same_bits(found[:, : d + 1], parameters[:, : d + 1], f"outputs to {d}")
    if case.D > 1 and case.activation == "sigmoid":  # and the last reads the first
        y = x.copy()
        y[:, 0] += 1
        found = model.log_density(y, offsets, parameters=True).parameters
        assert (found != parameters)[:, -1].any()


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("D, H", [(1, (3,)), (5, (2, 9)), (12, (16, 5, 30))])
def test_probabilities_of_all_binary_vectors_add_up_to_one(D, H, direct):
    case = Case(D=D, H=H, K=1, R=0, lengths=(1,), head="bernoulli", conditioner="made", direct=direct)
    model, _ = case.model(order=list(np.random.default_rng(0).permutation(D)))
    X = np.array(list(itertools.product((0.0, 1.0), repeat=D)))
    assert abs(np.exp(model.score_samples(X)).sum() - 1) < 1e-12


@dtypes
@pytest.mark.parametrize("n", [1, 37])
@pytest.mark.parametrize("case", (binary := [c for c in SHAPES if c.head == "bernoulli"]), ids=ids(binary))
def test_a_draw_in_one_pass_has_the_bits_of_one_in_a_pass_for_each_dimension(case, n, dtype, row):
    model, _, _ = case.core(dtype)
    uniform = np.random.default_rng(1).random((n, 1, case.D)).astype(dtype)
    x, offsets = np.zeros((n, case.D), dtype), np.arange(n + 1)
    for d in range(case.D):
        p = model.log_density(x, offsets, parameters=True).parameters[:, d, 0]
        x[:, d] = uniform[:, 0, d] < p
    assert_same_bits(model.sample(uniform, uniform)[:, 0], x)


@shapes
def test_what_the_masks_leave_out_is_not_read_and_stays_zero(case):
    model, X = case.model()
    layout = model._density.model.layout
    masks = CONDITIONERS["made"].masks(layout)
    given, _ = case.make()
    assert set(masks) == {name for name in given if name[0] == "V" or name in ("W", "W_2", "W_3")}
    _, gradient = model.log_likelihood_and_gradient(X)
    for name, mask in masks.items():
        assert not model.parameters_[name][~mask].any() and not gradient[name][~mask].any(), name
        assert np.all(gradient[name][mask] != 0) or case.activation == "relu", name
        given[name][~mask] = 1e9
    again = type(model).from_parameters(given, dtype=FLOAT64, **case.options)
    assert_same_bits(again.score_samples(X), model.score_samples(X))


@pytest.mark.parametrize("name", ["MADE", "RNNMADE"])
def test_training_leaves_what_is_not_read_at_zero(name):
    model, X = small_model(name, n_hidden=(5, 7), direct=True, validation_fraction=0)
    model.fit(X)
    for name, mask in CONDITIONERS["made"].masks(model._density.model.layout).items():
        assert not model.parameters_[name][~mask].any()
        assert model.parameters_[name][mask].all()


@pytest.mark.parametrize("D, n", [(1, 1), (1, 5), (3, 3), (5, 16), (16, 5), (784, 500)])
def test_degrees_are_spread_evenly_from_0_to_the_last_but_one_dimension(D, n):
    (degrees,) = CONDITIONERS["made"].degrees(Layout("bernoulli", D, (n,), conditioner="made"))
    counts = np.bincount(degrees, minlength=D)
    assert np.all(np.diff(degrees) >= 0) and degrees[0] == 0 and len(counts) == D
    assert counts.max() - counts.min() <= 1


def test_one_number_is_one_layer():
    one, X = small_model("MADE", n_hidden=7)
    layers, _ = small_model("MADE", n_hidden=(7,))
    assert_same_bits(one.fit(X).score_samples(X), layers.fit(X).score_samples(X))
    again = rnnrnade.MADE.from_parameters(one.parameters_, n_hidden=7)
    assert_same_bits(again.score_samples(X), one.score_samples(X))


@pytest.mark.parametrize("conditional", ["gaussian", "laplace", "logistic"])
@pytest.mark.parametrize("name", ["MADE", "RNNMADE"])
def test_real_values(name, conditional, tmp_path):
    """A file, and from_parameters, which takes for Gaussian what has means unless told otherwise."""
    options = {"n_components": 2, "conditional": conditional, "transform": "whiten", "n_hidden": (6, 4)}
    model, _ = small_model(name, **options)
    X = walks() if name == "RNNMADE" else np.concatenate(walks())
    model.fit(X)
    model.save(tmp_path / "model")
    again = type(model).from_parameters(
        model.parameters_, transform=model.transform_, min_scale=1e-3, conditional=conditional
    )
    for other in (rnnrnade.load(tmp_path / "model"), again):
        assert_same_bits(other.score_samples(X), model.score_samples(X))
    if conditional == "gaussian":
        again = type(model).from_parameters(model.parameters_, transform=model.transform_, min_scale=1e-3)
        assert again.conditional == "gaussian" and again.direct is True
    scores = model.to_normal(X)
    back = model.from_normal(scores)
    for x, y in zip(X, back, strict=True):
        assert_near(y, x, 1e-4)


def test_the_context_of_none_is_all():
    model, X = small_model("RNNMADE")
    names = set(model.fit(X).parameters_)
    assert {"W_c", "W_b"} < names
    assert "W_c" not in model.set_params(context=("bias",)).fit(X).parameters_


def test_a_file_of_another_conditioner_is_refused(tmp_path):
    """Whose class is another than that of its network."""
    from rnnrnade.io import ModelFileError, read_file, write_file

    model, X = small_model("NADE")
    model.fit(X).save(tmp_path / "model")
    _, state, arrays, _ = read_file(tmp_path / "model")
    assert "conditioner" not in state["members"][0]["layout"]  # so that earlier versions read it
    state["options"] = rnnrnade.MADE(n_hidden=4)._options_for_files()
    state["transform_option"] = state["options"].pop("transform")
    write_file(tmp_path / "forged", "MADE", state, dict(arrays))
    with pytest.raises(ModelFileError, match="its network is none of MADE"):
        rnnrnade.load(tmp_path / "forged")


@pytest.mark.parametrize("H", [[], [0], [3, "4"], [True, 2.0], 4, None])
def test_layers_of_a_file_that_are_none_are_refused(H):
    choices = Layout("bernoulli", 3, (4, 2), conditioner="made").choices
    with pytest.raises(ValueError, match="hidden units"):
        Layout.from_file(choices | {"H": H})


def test_real_values_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"0.5: row 1, dimension 0. MADE models binary data.*conditional='gaussian'"):
        rnnrnade.MADE().fit([[0.0, 1.0], [0.5, 1.0]])


def test_contradictions_of_given_parameters_are_refused():
    model, X = small_model("MADE", n_hidden=(5, 7))
    parameters = dict(model.fit(X).parameters_)
    for change, options, message in (
        ({}, {"n_hidden": (5, 8)}, "n_hidden=.* contradicts"),
        ({}, {"direct": False}, "direct=False contradicts"),
        ({"W_2": np.zeros((7, 4))}, {}, "'W_2' has shape"),
        ({"W_2": np.zeros(7)}, {}, "'W_2' must have 2 axes"),
        ({"c_3": np.zeros(7)}, {}, "no parameter 'c_3'"),
        ({"V_x": np.zeros((3, 2))}, {}, "'V_x' has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            rnnrnade.MADE.from_parameters(parameters | change, **options)
