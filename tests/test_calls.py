"""Calls of one estimator side by side: each sees the model before or after the others, as a whole."""

import threading
import time

import numpy as np
import pytest
from helpers import FLOAT64, assert_same_bits

import rnnrnade
from rnnrnade import RNADE, RNNRNADE

RNG = np.random.default_rng(0)
ROWS, WIDE = RNG.normal(size=(60, 2)), RNG.normal(size=(80, 5))
SEQUENCES = [RNG.normal(size=(6, 2)) for _ in range(12)]
SMALL = {"n_components": 2, "n_hidden": 4, "max_epochs": 2, "random_state": 0, "n_jobs": 1}


def rnade(**options):
    return RNADE(**SMALL | options)


class Meanwhile:
    """Data at whose conversion something else happens, as if another thread did it between two lines of a call."""

    def __init__(self, X, happens):
        self.X, self.happens, self.shape = X, happens, X.shape

    def __len__(self):
        return len(self.X)

    def __array__(self, dtype=None, copy=None):
        happens, self.happens = self.happens, lambda: None
        happens()
        return np.asarray(self.X, dtype)


CALLS = {
    "score_samples": lambda model, X: model.score_samples(X),
    "score": lambda model, X: model.score(X),
    "score_dims": lambda model, X: model.score_dims(X),
    "predict_params": lambda model, X: model.predict_params(X).mu,
    "log_likelihood_and_gradient": lambda model, X: model.log_likelihood_and_gradient(X)[0],
    "cdf": lambda model, X: model.cdf(X),
    "from_normal": lambda model, X: model.from_normal(X),
    "impute": lambda model, X: model.impute(X, random_state=0),
    "explain": lambda model, X: [row["log_density"] for row in model.explain(X)],
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.set_params(n_hidden=7, n_components=3).fit(WIDE),
        lambda model: model.partial_fit(ROWS[::-1]),
        lambda model: model.set_params(n_orders=2).fit(ROWS),
        lambda model: model.set_params(dtype=FLOAT64, missing="marginalize", conditional="laplace", min_scale=0.5),
    ],
    ids=["another width", "one more epoch", "an ensemble", "options"],
)
def test_what_changes_during_a_call_does_not_reach_it(call, change):
    model = rnade().fit(ROWS)
    before = CALLS[call](model, ROWS)
    found = CALLS[call](model, Meanwhile(ROWS, lambda: change(model)))
    assert_same_bits(np.asarray(found), np.asarray(before), call)


def test_a_fit_follows_the_options_that_it_began_with():
    X = Meanwhile(ROWS, lambda: model.set_params(n_hidden=9, dtype=FLOAT64, max_epochs=1))
    model = rnade()
    model.fit(X)
    assert_same_bits(dict(model.parameters_), dict(rnade().fit(ROWS).parameters_), "as begun")


def test_two_epochs_at_once_do_not_mix():
    """Of two calls of partial_fit side by side, the later end counts."""
    alone = rnade().partial_fit(ROWS)
    model = rnade().partial_fit(ROWS)
    model.partial_fit(Meanwhile(ROWS[:30], lambda: model.partial_fit(ROWS[30:])))
    assert_same_bits(dict(model.parameters_), dict(alone.partial_fit(ROWS[:30]).parameters_), "the outer one")


def test_what_was_asked_for_before_an_epoch_stays():
    model = RNNRNADE(n_recurrent=3, **SMALL).fit(SEQUENCES)
    parameters, stream = model.parameters_, model.stream()
    copies = {name: value.copy() for name, value in parameters.items()}
    scores = model.score_frames(SEQUENCES)[0]
    model.partial_fit(SEQUENCES)
    assert not np.array_equal(model.parameters_["W"], copies["W"])
    assert_same_bits(dict(parameters), copies, "parameters_ of before")
    assert_same_bits(np.array([stream.update(frame) for frame in SEQUENCES[0]]), scores, "a stream from before")


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("bad", [np.full((4, 2), np.nan), WIDE[:0], "text"], ids=["NaN", "empty", "text"])
def test_a_call_that_fails_leaves_the_estimator_as_it_was(call, bad):
    model, alone = rnade().partial_fit(ROWS), rnade().partial_fit(ROWS)
    before = model.score_samples(ROWS)
    with pytest.raises((ValueError, TypeError)):
        getattr(model, call)(bad)
    with pytest.raises(ValueError, match="max_epochs"):
        model.set_params(max_epochs=-1).fit(WIDE)
    model.set_params(max_epochs=2)
    assert model.n_features_in_ == 2
    assert_same_bits(model.score_samples(ROWS), before, "scores")
    parameters = [dict(one.partial_fit(ROWS).parameters_) for one in (model, alone)]
    assert_same_bits(*parameters, "training goes on with the same moments")


def test_an_estimator_that_never_was_fitted_stays_so():
    model = rnade()
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((4, 2), np.nan))
    assert not hasattr(model, "n_features_in_")


def test_threads_may_do_anything_to_one_estimator(tmp_path):
    """A second of everything at once: exceptions that we promise, and numbers that one of the models gives."""
    model, failed, stop = rnade(validation_fraction=0).fit(ROWS), [], time.monotonic() + 1.5
    widths = [ROWS, WIDE]

    def work(do):
        while time.monotonic() < stop and not failed:
            try:
                do()
            except ValueError as error:
                if "features" not in str(error):
                    failed.append(error)
            except BaseException as error:
                failed.append(error)

    def score(X):
        scores = model.score_samples(X)
        if not np.isfinite(scores).all():
            failed.append(scores)

    def keep():
        model.save(tmp_path / "model")
        rnnrnade.load(tmp_path / "model").score_samples(ROWS)

    doing = [
        lambda: [model.fit(X) for X in widths],
        lambda: [model.partial_fit(X) for X in widths],
        lambda: [score(X) for X in widths],
        lambda: [score(X) for X in widths],
        lambda: model.sample(3),
        lambda: [model.set_params(missing=value) for value in (None, "marginalize")],
        keep,
    ]
    threads = [threading.Thread(target=work, args=(do,)) for do in doing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "relu"},
        {"min_scale": 0.5},
        {"cell": "tanh"},
        {"conditional": "logistic"},
        {"n_hidden": 7},
        {"n_components": 5},
        {"n_recurrent": 9},
        {"n_layers": 2},
        {"context": ("mu",)},
        {"dtype": "float64"},
        {"order": [1, 0]},
        {"n_orders": 3},
        {"transform": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_orders", [1, 2])
def test_a_file_holds_what_was_fitted(change, n_orders, tmp_path):
    """Options may be set after a fit, for the next; what was fitted is what is saved."""
    model = RNNRNADE(n_recurrent=3, n_orders=n_orders, **SMALL).fit(SEQUENCES)
    before = model.score_samples(SEQUENCES)
    model.set_params(**change).save(tmp_path / "model")
    loaded = rnnrnade.load(tmp_path / "model")
    assert_same_bits(loaded.score_samples(SEQUENCES), before, "loaded")
    assert len(loaded.members_) == n_orders
    assert loaded.get_params() == model.get_params()
    if "transform" not in change and "order" not in change:
        assert_same_bits(
            dict(loaded.fit(SEQUENCES).members_[0].parameters_),
            dict(model.fit(SEQUENCES).members_[0].parameters_),
            "fit",
        )


@pytest.mark.parametrize(
    "change, said",
    [
        ({"n_hidden": 7}, "n_hidden was 4, is 7"),
        ({"activation": "relu"}, "activation was 'sigmoid', is 'relu'"),
        ({"conditional": "laplace"}, "conditional was 'gaussian', is 'laplace'"),
        ({"dtype": "float64"}, "dtype was 'float32', is 'float64'"),
        ({"n_orders": 2}, "n_orders was 1, is 2"),
    ],
    ids=str,
)
def test_partial_fit_refuses_another_network(change, said):
    model = rnade().fit(ROWS)
    with pytest.raises(ValueError, match=said):
        model.set_params(**change).partial_fit(ROWS)


@pytest.mark.parametrize("before, after", [(1, 2), (2, 1)])
def test_partial_fit_refuses_another_number_of_layers(before, after):
    model = RNNRNADE(n_recurrent=3, n_layers=before, **SMALL).fit(SEQUENCES)
    with pytest.raises(ValueError, match=f"n_layers was {before}, is {after}"):
        model.set_params(n_layers=after).partial_fit(SEQUENCES)


def test_few_rows_for_a_transform_that_stays_are_said():
    with pytest.warns(UserWarning, match="fits the transform to its 3 rows.*2 features ask for 20") as warned:
        rnade().partial_fit(ROWS[:3])
    assert warned[0].filename == __file__
    rnade().partial_fit(ROWS[:20])  # a warning would be an error
    rnade(transform=None).partial_fit(ROWS[:3])
