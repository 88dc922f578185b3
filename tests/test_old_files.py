"""Files that earlier versions wrote load for ever: to the same parameters, options and histories, and the same scores
but for rounding (processors differ).  tools/make_old_files.py wrote them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import FLOAT32, FLOAT64
from numpy.testing import assert_allclose, assert_array_equal

import rnnrnade
from rnnrnade import Linear

FOLDER = Path(__file__).with_name("data")
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
TOLERANCE = {FLOAT64: 1e-12, FLOAT32: 1e-5}  # relative to max(1, |value|)


@pytest.fixture(params=EXPECTED)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return rnnrnade.load(FOLDER / f"{name}.safetensors")


@pytest.fixture
def expected(name):
    return EXPECTED[name]


def data(expected):
    """X in the form in which it was scored."""
    X, names = expected["X"], expected["feature_names"]
    if "n_recurrent" not in expected["options"]:
        return np.array(X)
    return [pd.DataFrame(x, columns=names) if names else np.array(x) for x in X]


def assert_near(found, expected, dtype):
    found, expected = (np.concatenate(a) if isinstance(a[0], list | np.ndarray) else a for a in (found, expected))
    assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_every_file_is_tested():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(EXPECTED)
    assert {expected["class"] for expected in EXPECTED.values()} == {"RNADE", "NADE", "RNNRNADE", "RNNNADE"}


def test_options_and_names(model, expected):
    assert type(model).__name__ == expected["class"]
    options = model.get_params(deep=False)
    if isinstance(options.get("transform"), Linear):  # later versions may have more options of it, too
        of_linear = options["transform"].get_params()
        options["transform"] = {name: of_linear[name] for name in expected["options"]["transform"]}
    for name, value in expected["options"].items():  # later versions may have more
        found = options[name]
        assert (list(found) if isinstance(found, tuple) else found) == value, name
    assert list(getattr(model, "feature_names_in_", [])) == expected["feature_names"]
    assert model.n_features_in_ == 3


def test_what_training_left_is_the_same_bits(model, expected):
    assert len(model.members_) == len(expected["members"]) == model.n_orders
    for member, of_member in zip(model.members_, expected["members"], strict=True):
        assert_array_equal(member.order_, of_member["order"])
        assert (member.n_iter_, member.best_epoch_, member.best_update_) == tuple(
            of_member[name] for name in ("n_iter", "best_epoch", "best_update")
        )
        assert member.history_ == of_member["history"]
        parameters = dict(member.parameters_)
        assert set(parameters) == set(of_member["parameters"])
        for name, value in of_member["parameters"].items():
            assert parameters[name].tobytes() == np.array(value, model.dtype).tobytes(), name
        if of_member["transform"] is None:
            assert member.transform_ is None
            continue
        for name, value in of_member["transform"].items():
            assert_array_equal(getattr(member.transform_, name).ravel(), np.ravel(value))


def test_scores_and_samples_are_the_same(model, expected, row):
    X = data(expected)
    assert_near(model.score_samples(X), expected["score_samples"], model.dtype)
    for member, of_member in zip(model.members_, expected["members"], strict=True):
        assert_near(member.score_dims(X), of_member["score_dims"], model.dtype)
    size = (3, 4) if isinstance(X, list) else (5,)
    assert_near(model.sample(*size, random_state=0), np.array(expected["sample"]), model.dtype)
