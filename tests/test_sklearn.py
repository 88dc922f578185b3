"""The estimators are scikit-learn's: its common checks, its model selection, its ways to copy and to store."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from helpers import assert_near, assert_same_bits, ids, small_model
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate, train_test_split
from sklearn.pipeline import FunctionTransformer, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

from rnnrnade import (
    MADE,
    NADE,
    RNADE,
    RNNGMM,
    RNNMADE,
    RNNNADE,
    RNNRNADE,
    Linear,
    OutlierDetector,
    RNNGauss,
)
from rnnrnade.sequences import check_sequences, check_vectors

SMALL = {"n_hidden": 3, "max_epochs": 3, "random_state": 0}
MODELS = [
    RNADE(n_components=2, **SMALL),
    NADE(**SMALL),
    RNNRNADE(n_components=2, n_recurrent=3, **SMALL),
    RNNNADE(n_recurrent=3, **SMALL),
    RNNGMM(n_components=2, n_recurrent=3, max_epochs=3, random_state=0),
    RNNGauss(n_recurrent=3, max_epochs=3, random_state=0),
    MADE(**SMALL),
    RNNMADE(n_recurrent=3, **SMALL),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=ids(type(m).__name__ for m in MODELS))


def data(model):
    """X in the form that the estimator takes: a list, or the rows of one array."""
    return small_model(type(model).__name__)[1]


# ---- scikit-learn's common checks ----------------------------------------------------------------------------

ORDER = "the rows of one 2-D array are the frames of one sequence: the score of one depends on those before it"
OF_SEQUENCES = {
    "check_methods_sample_order_invariance": ORDER,
    "check_methods_subset_invariance": ORDER,
}
# Compares mini-batch training on weighted rows with training on repeated rows: other batches, other parameters.  Where
# scikit-learn compares scores it cannot hold; up to 1.9 it compares methods that a density does not have.
MAY_FAIL = {"check_sample_weight_equivalence_on_dense_data", "check_sample_weights_invariance"}


class Thresholded:
    """Binary models take 0 and 1 only, and the checks draw real numbers: take numbers above 0 for 1."""

    def _check(self, X, lengths=None, *, reset=False, gaps=False):
        if self._recurrent:
            data = check_sequences(self, X, lengths, reset=reset)
        else:
            data = check_vectors(self, X, reset=reset)
        return type(data)((data.frames > 0).astype(data.frames.dtype), data.offsets, data.form)


class ThresholdedNADE(Thresholded, NADE):
    pass


class ThresholdedRNNNADE(Thresholded, RNNNADE):
    pass


class ThresholdedMADE(Thresholded, MADE):
    pass


class ThresholdedRNNMADE(Thresholded, RNNMADE):
    pass


def common_checks(model):
    """Results of scikit-learn's common checks that were not passed, by name: {name: exception}."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(model, on_fail=None, on_skip=None)
    assert len([r for r in results if r["status"] == "passed"]) > 10
    return {r["check_name"]: r["exception"] for r in results if r["status"] not in ("passed", "skipped")}


@pytest.mark.parametrize(
    "model, declared",
    [
        (MODELS[0], {}),
        (RNADE(transform=Linear(covariance="full"), n_components=2, **SMALL), {}),
        (RNADE(order=None, transform=None, dtype="float64", n_components=2, **SMALL), {}),
        (ThresholdedNADE(**SMALL), {}),
        (MODELS[2], OF_SEQUENCES),
        (RNNRNADE(transform=Linear(lags=2, covariance="full"), n_components=2, n_recurrent=3, **SMALL), OF_SEQUENCES),
        (ThresholdedRNNNADE(n_recurrent=3, **SMALL), OF_SEQUENCES),
        (RNADE(components="frame", n_components=2, **SMALL | {"n_hidden": 0}), {}),
        (MODELS[4], OF_SEQUENCES),
        (MODELS[5], OF_SEQUENCES),
        (ThresholdedMADE(**SMALL), {}),
        (MADE(conditional="gaussian", n_components=2, **SMALL), {}),
        (ThresholdedRNNMADE(n_recurrent=3, **SMALL), OF_SEQUENCES),
        (RNNMADE(conditional="laplace", n_components=2, n_recurrent=3, **SMALL), OF_SEQUENCES),
    ],
    ids=lambda value: "" if isinstance(value, dict) else type(value).__name__,
)
def test_common_checks(model, declared):
    failed = common_checks(model)
    unexpected = {name: error for name, error in failed.items() if name not in {*declared, *MAY_FAIL}}
    assert not unexpected
    assert set(declared) <= set(failed)  # a declared check that passes needs no declaration


@pytest.mark.parametrize("model, declared", [(MODELS[0], {}), (MODELS[2], OF_SEQUENCES)], ids=["RNADE", "RNNRNADE"])
def test_common_checks_of_the_detector(model, declared):
    failed = common_checks(OutlierDetector(model, contamination=0.1))
    assert set(failed) == set(declared), failed


@pytest.mark.parametrize("model", [MODELS[1], MODELS[3]], ids=["NADE", "RNNNADE"])
def test_binary_models_fail_common_checks_only_for_their_real_numbers(model):
    failed = common_checks(model)
    assert "check_estimators_dtypes" in failed
    for name, error in failed.items():
        said = []
        while error is not None:
            said.append(str(error))
            error = error.__cause__ or error.__context__
        reason = "every entry must be 0 or 1" in "\n".join(said)
        assert reason or name in ("check_positive_only_tag_during_fit", "check_sample_weights_pandas_series"), said


@every_model
def test_no_estimator_is_taken_for_a_transformer(model):
    """scikit-learn tells transformers by hasattr(estimator, "transform"), and `transform` is an option of ours."""
    assert not hasattr(model, "transform")
    assert not hasattr(make_pipeline(StandardScaler(), model), "transform")
    with pytest.raises(TypeError):
        ColumnTransformer([("density", model, [0])]).fit(np.eye(3))


# ---- model selection over lists of ragged sequences ------------------------------------------------------------


@every_model
def test_cross_val_score_is_the_score_of_each_fold(model):
    X = data(model)
    folds = KFold(3, shuffle=True, random_state=1)
    found = cross_val_score(model, X, cv=folds)
    expected = []
    for train, test in folds.split(X):
        expected.append(clone(model).fit([X[i] for i in train]).score([X[i] for i in test]))
    assert_same_bits(found, expected)
    assert len(set(found)) == 3


def test_grid_search_over_a_list_of_ragged_sequences():
    model = RNNRNADE(n_components=2, n_recurrent=3, transform=Linear(), **SMALL)
    X = data(model)
    grid = {"n_components": [1, 2], "transform__lags": [0, 2]}
    search = GridSearchCV(model, grid, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 4 and np.isfinite(scores).all() and len(set(scores)) == 4
    assert search.best_score_ == scores.max()
    best = clone(model).set_params(**search.best_params_).fit(X)
    assert_same_bits(search.best_estimator_.score_samples(X), best.score_samples(X))
    assert_same_bits(search.score(X), best.score(X))
    assert_same_bits(search.score_samples(X), best.score_samples(X))
    assert search.best_estimator_.transform_.lags == search.best_params_["transform__lags"]


def test_grid_search_over_rows():
    X = data(MODELS[0])
    search = GridSearchCV(MODELS[0], {"transform": ["standardize", "whiten", None], "n_hidden": [0, 3]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_worker_processes_give_the_same_scores():
    model = MODELS[2]
    X = data(model)
    assert_same_bits(cross_val_score(model, X, cv=2, n_jobs=2), cross_val_score(model, X, cv=2))


def test_train_test_split_of_ragged_sequences():
    X = data(MODELS[2])
    train, test = train_test_split(X, test_size=0.2, random_state=0)
    assert len(train) == 24 and len(test) == 6
    assert {id(x) for x in train + test} == {id(x) for x in X}
    assert np.isfinite(clone(MODELS[2]).fit(train).score(test))


def test_sample_weight_goes_through_cross_validation():
    model, X = MODELS[2], data(MODELS[2])
    weight = np.linspace(0.5, 2, len(X))
    found = cross_validate(model, X, cv=2, params={"sample_weight": weight}, return_estimator=True)
    (train, _), _ = KFold(2).split(X)
    again = clone(model).fit([X[i] for i in train], sample_weight=weight[train])
    assert_same_bits(found["estimator"][0].history_["loss"], again.history_["loss"])
    unweighted = clone(model).fit([X[i] for i in train])
    assert unweighted.history_["loss"] != again.history_["loss"]


def halve(X):
    return [x / 2 for x in X]


def test_pipeline_over_a_list_of_ragged_sequences():
    X = data(MODELS[2])
    pipeline = Pipeline([("halve", FunctionTransformer(halve)), ("density", clone(MODELS[2]))]).fit(X)
    alone = clone(MODELS[2]).fit(halve(X))
    assert_same_bits(pipeline.score(X), alone.score(halve(X)))
    assert_same_bits(pipeline.score_samples(X), alone.score_samples(halve(X)))
    scores = cross_val_score(pipeline, X, cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()


def test_pipeline_over_rows():
    X = data(MODELS[0])
    pipeline = make_pipeline(StandardScaler(), clone(MODELS[0])).fit(X)
    Z = StandardScaler().fit_transform(X)
    assert_same_bits(pipeline.score_samples(X), clone(MODELS[0]).fit(Z).score_samples(Z))


# ---- options ----------------------------------------------------------------------------------------------------


@every_model
def test_options_go_in_and_out(model):
    options = model.get_params()
    again = type(model)(**model.get_params(deep=False))
    assert again.get_params() == options
    assert clone(model).get_params() == options
    changed = clone(model).set_params(batch_size=7, learning_rate=0.5)
    assert changed.get_params() == options | {"batch_size": 7, "learning_rate": 0.5}
    with pytest.raises(ValueError, match="no_such_option"):
        clone(model).set_params(no_such_option=1)
    assert f"max_epochs={model.max_epochs}" in repr(model)
    assert "max_epochs" in model._repr_html_()


def test_options_of_a_transform_are_options():
    model = RNNRNADE(transform=Linear(lags=2))
    assert model.get_params()["transform__lags"] == 2
    assert "transform__lags" not in model.get_params(deep=False)
    model.set_params(transform__lags=3, transform__covariance="full")
    assert model.get_params()["transform"].get_params() == Linear(lags=3, covariance="full").get_params()
    copy = clone(model)
    assert copy.get_params()["transform"] is not model.get_params()["transform"]
    assert copy.get_params()["transform__lags"] == 3
    assert "lags=3" in repr(model)
    model.set_params(transform="whiten")
    assert model.get_params()["transform"] == "whiten"


@pytest.mark.parametrize("name", ["RNADE", "RNNRNADE"])
def test_fit_leaves_the_options_and_the_transform_of_the_options_alone(name):
    model = {"RNADE": RNADE, "RNNRNADE": RNNRNADE}[name](transform=Linear(covariance="full"), **SMALL)
    before = model.get_params()
    model.fit(data(model))
    assert model.get_params() == before
    assert not hasattr(model.get_params()["transform"], "mean_")
    assert hasattr(model.transform_, "mean_")


@every_model
def test_a_clone_is_not_fitted_and_fits_to_the_same_bits(model):
    X = data(model)
    fitted = clone(model).fit(X)
    copy = clone(fitted)
    with pytest.raises(NotFittedError):
        check_is_fitted(copy)
    with pytest.raises(NotFittedError):
        copy.score(X)
    assert_same_bits(dict(copy.fit(X).parameters_), dict(fitted.parameters_))


# ---- pickle -----------------------------------------------------------------------------------------------------


def draws(model):
    return model.sample(5, random_state=3)


@every_model
@pytest.mark.parametrize("state", ["fitted", "continued", "unfitted"])
def test_pickle_gives_the_same_bits(model, state):
    X = data(model)
    model = clone(model)
    if state == "fitted":
        model.fit(X)
    if state == "continued":
        model.partial_fit(X).partial_fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert again.get_params() == model.get_params()
    if state != "unfitted":
        assert_same_bits(dict(again.parameters_), dict(model.parameters_))
        assert_same_bits(again.score_samples(X), model.score_samples(X))
        assert_same_bits(draws(again), draws(model))
        assert repr(again.history_) == repr(model.history_)
    assert_same_bits(dict(again.partial_fit(X).parameters_), dict(model.partial_fit(X).parameters_), "going on")


@every_model
@pytest.mark.parametrize("state", ["fitted", "continued"])
def test_a_model_that_is_mapped_into_memory_trains_on(model, state, tmp_path):
    """As serving processes share it: its arrays cannot be written to."""
    X = data(model)
    model = clone(model).fit(X) if state == "fitted" else clone(model).partial_fit(X).partial_fit(X)
    joblib.dump(model, tmp_path / "model.joblib")
    for going_on in (lambda one: one.partial_fit(X), lambda one: one.set_params(warm_start=True).fit(X)):
        shared = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
        assert_same_bits(shared.score_samples(X), model.score_samples(X))
        expected = going_on(joblib.load(tmp_path / "model.joblib"))
        assert_same_bits(dict(going_on(shared).parameters_), dict(expected.parameters_))
    assert_same_bits(joblib.load(tmp_path / "model.joblib").score_samples(X), model.score_samples(X))


# ---- hmmlearn's lengths -----------------------------------------------------------------------------------------


@every_model
def test_lengths_in_the_place_of_y_are_refused(model):
    X = data(model)
    rows = np.concatenate(X) if isinstance(X, list) else X
    lengths = [len(rows) - 3, 3]
    said = "write lengths=" if isinstance(X, list) else "takes vectors, one in each row"
    fitted = clone(model).fit(rows, np.zeros(len(rows)))
    for call in (clone(model).fit, clone(model).partial_fit, fitted.score):
        with pytest.raises(TypeError, match=said):
            call(rows, lengths)
    with pytest.raises(TypeError, match=said):
        OutlierDetector(model).fit(rows, lengths)
    if isinstance(X, list):
        split = np.split(rows, [len(rows) - 3])
        assert fitted.score(rows, lengths=lengths) == fitted.score(split) == fitted.score(split, [0, 1])


# ---- names of columns -------------------------------------------------------------------------------------------


@every_model
def test_names_of_columns(model):
    pandas = pytest.importorskip("pandas")
    X = data(model)
    recurrent = isinstance(X, list)

    def frames(names):
        return [pandas.DataFrame(x, columns=names) for x in X] if recurrent else pandas.DataFrame(X, columns=names)

    named = clone(model).fit(frames(["a", "b", "c"]))
    assert named.feature_names_in_.tolist() == ["a", "b", "c"] and named.n_features_in_ == 3
    plain = clone(model).fit(X)
    assert not hasattr(plain, "feature_names_in_")
    assert_same_bits(named.score_samples(frames(["a", "b", "c"])), plain.score_samples(X))
    with pytest.raises(ValueError, match="feature names"):
        named.score_samples(frames(["b", "a", "c"]))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named.score_samples(X)
    named.fit(X)  # a new fit forgets them
    assert not hasattr(named, "feature_names_in_")


def test_weights_may_be_a_series():
    pandas = pytest.importorskip("pandas")
    X = data(MODELS[2])
    weight = np.arange(1.0, len(X) + 1)
    found = clone(MODELS[2]).fit(X, sample_weight=pandas.Series(weight)).score(X)
    assert_near(found, clone(MODELS[2]).fit(X, sample_weight=weight).score(X), 0)
