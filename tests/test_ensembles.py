"""Ensembles over orders of the dimensions: the density is the mean of the members' in each frame given its past."""

import itertools
import pickle

import numpy as np
import pytest
from helpers import (
    FLOAT64,
    assert_near,
    assert_same_bits,
    copied_parameters,
    every_estimator,
    gradient_at,
    interrupt,
    listed,
    random_parameters,
    small_model,
    walks,
)
from scipy.special import logsumexp
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from rnnrnade import RNNNADE, RNNRNADE, Linear, _core
from rnnrnade.estimators import load_estimator

APART = {"max_epochs": 5, "learning_rate": 0.1, "batch_size": 4}  # members that differ from one another


def ensemble(name, X=None, n_orders=3, **options):
    model, X = small_model(name, X, n_orders=n_orders, **options)
    return model.fit(X), X


def all_parameters(model):
    return [copied_parameters(member) for member in model.members_]


@every_estimator
def test_the_density_is_the_mean_of_the_members(name):
    model, X = ensemble(name, **APART)
    members = model.members_
    assert len(members) == 3 and all(type(member) is type(model) and member.n_orders == 1 for member in members)
    of_members = [np.concatenate(listed(member.score_frames(X))) for member in members]
    assert np.abs(of_members[0] - of_members[1]).max() > 0.1
    expected = logsumexp(of_members, axis=0) - np.log(3)
    assert_near(np.concatenate(listed(model.score_frames(X))), expected, 1e-13)
    assert_near(model.score(X), expected.mean(), 1e-13)
    if name.startswith("RNN"):
        ends = np.cumsum([len(x) for x in X])[:-1]
        expected = [part.sum() for part in np.split(expected, ends)]
    assert_near(model.score_samples(X), expected, 1e-12)


@every_estimator
def test_the_first_member_is_the_model_alone(name):
    for order in (None, [2, 0, 1], "random"):
        alone, X = small_model(name, order=order)
        alone.fit(X)
        model, _ = ensemble(name, order=order)
        assert_same_bits(copied_parameters(model.members_[0]), copied_parameters(alone))
        assert alone.members_ == [alone]
        if order != "random":
            assert model.members_[0].order == order
        else:
            assert alone.order == "random" and sorted(alone.order_) == [0, 1, 2]
    orders = [member.order_ for member in ensemble(name, n_orders=9)[0].members_]
    assert len({tuple(np.arange(3) if o is None else o) for o in orders}) > 3


@pytest.mark.usefixtures("validated_after_each_epoch")
@every_estimator
def test_attributes_of_one_order_are_those_of_the_members(name):
    model, X = ensemble(name)
    for attribute in ("parameters_", "order_", "transform_", "history_", "n_iter_", "best_epoch_", "best_update_"):
        assert not hasattr(clone(model), attribute) and not hasattr(model, attribute)
        with pytest.raises(AttributeError, match=f"ensemble of 3 orders and has no {attribute}: each of members_"):
            getattr(model, attribute)
    for member in model.members_:
        scores, best = member.history_["validation_score"], member.best_epoch_
        assert best == 0 or max(scores) == scores[best - 1]  # 0: as it starts
    alone = clone(model).set_params(n_orders=1).fit(X)
    assert isinstance(alone.history_, dict) and isinstance(alone.best_epoch_, int)
    model.set_params(n_orders=1).fit(X)  # an ensemble no more
    assert_same_bits(copied_parameters(model), copied_parameters(alone))
    assert model.members_ == [model] and model.n_iter_ == alone.n_iter_


@pytest.mark.parametrize("name", ["RNADE", "RNNRNADE"])
def test_normalisation(name):
    X = [x[:, :2] for x in walks()]
    transform = Linear(lags=1 if name.startswith("RNN") else 0, covariance="full")
    model, X = ensemble(name, X, transform=transform, min_scale=0.2, dtype=FLOAT64, **APART)
    orders = [member.order_ for member in model.members_]
    assert {tuple(o) if o is not None else (0, 1) for o in orders} == {(0, 1), (1, 0)}
    axis = np.linspace(-14, 14, 281)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    if name == "RNADE":
        density = np.exp(model.score_samples(grid))
    else:
        past = X[0][:3]
        sequences = np.concatenate([np.broadcast_to(past, (len(grid), 3, 2)), grid[:, None]], axis=1)
        density = np.exp([frames[-1] for frames in model.score_frames(sequences)])
    assert_near(density.sum() * (axis[1] - axis[0]) ** 2, 1.0, 1e-6)


def assert_drawn_from(counts, probability):
    """Pearson's test at a level of 1e-4."""
    expected = probability * counts.sum()
    assert expected.min() > 5
    assert np.sum((counts - expected) ** 2 / expected) < chi2.ppf(1 - 1e-4, len(counts) - 1)


@pytest.mark.parametrize("given", [None, 4])
def test_draws_of_binary_sequences_have_the_probabilities_that_are_scored(given):
    X = [(x[:, :2] > 0).astype(float) for x in walks()]
    model = RNNNADE(4, n_recurrent=4, n_orders=3, dtype=FLOAT64, random_state=0, **APART).fit(X)
    for seed, member in enumerate(model.members_):  # far apart
        p = random_parameters(np.random.default_rng(seed), 2, 4, 1, 4, head="bernoulli", context=("bias", "hidden"))
        network = member._density.model
        network.theta[...] = network.layout.flat(p, np.float64)
    past = None if given is None else X[0][:given]
    frames = np.array(list(itertools.product([0.0, 1.0], repeat=4))).reshape(16, 2, 2)
    whole = [x if past is None else np.concatenate([past, x]) for x in frames]
    probability = np.exp([f[-2:].sum() for f in model.score_frames(whole)])
    assert_near(probability.sum(), 1.0, 1e-12)
    draws = model.sample(20_000, 2, random_state=1, given=past).reshape(-1, 4)
    counts = np.bincount((draws @ [8, 4, 2, 1]).astype(int), minlength=16)
    assert_drawn_from(counts, probability)
    product = np.exp([member.score_samples(whole) for member in model.members_]).mean(0)
    if past is None:  # one member for a whole sequence would be another model
        assert np.abs(product - probability).max() > 0.01


@pytest.mark.parametrize("given", [None, 1, 4])
def test_draws_of_real_sequences_have_the_density_that_is_scored(given):
    """Two frames of one dimension behind a transform that reads two: each member reads what another has drawn."""
    X = [x[:, :1] for x in walks(40)]
    transform = Linear(lags=2)
    model = RNNRNADE(2, 4, n_recurrent=4, n_orders=3, dtype=FLOAT64, transform=transform, min_scale=0.3, random_state=0)
    model.set_params(**APART).fit(X)
    past = np.zeros((0, 1)) if given is None else X[0][:given]
    axis = np.linspace(-8, 8, 161) + 0.013
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2, 1)
    whole = np.concatenate([np.broadcast_to(past, (len(grid), *past.shape)), grid], axis=1)
    density = np.exp([f[-2:].sum() for f in model.score_frames(whole)]).reshape(161, 161) * 0.1**2
    assert_near(density.sum(), 1.0, 1e-4)
    draws = model.sample(20_000, 2, random_state=1, given=past if given else None)[:, :, 0]
    cuts = [np.searchsorted(axis, np.quantile(draws[:, t], [0.25, 0.5, 0.75])) for t in (0, 1)]
    cell = [np.searchsorted(axis[cut] - 0.05, draws[:, t]) for t, cut in enumerate(cuts)]
    counts = np.bincount(4 * cell[0] + cell[1], minlength=16)
    probability = np.add.reduceat(np.add.reduceat(density, [0, *cuts[0]], axis=0), [0, *cuts[1]], axis=1).ravel()
    assert_drawn_from(counts[probability > 1e-3], probability[probability > 1e-3])


def test_draws_of_vectors_have_the_probabilities_that_are_scored():
    model, _ = ensemble("NADE", **APART)
    every = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    counts = np.bincount((model.sample(20_000, random_state=1) @ [4, 2, 1]).astype(int), minlength=8)
    assert_drawn_from(counts, np.exp(model.score_samples(every)))
    real, _ = ensemble("RNADE", **APART)
    draws = [real.sample(4000, random_state=1), *(member.sample(4000, random_state=1) for member in real.members_)]
    expected = np.mean([d.mean(0) for d in draws[1:]], axis=0)
    assert_near(draws[0].mean(0), expected, 6 * max(d.std() for d in draws) / np.sqrt(4000))


@every_estimator
def test_threads_leave_the_bits_of_an_ensemble(name, all_threads):
    expected = None
    for n_jobs in (1, 2, 3):
        model, X = ensemble(name, n_jobs=n_jobs, n_restarts=2)
        found = [all_parameters(model), model.score_samples(X), model.sample(5, random_state=0)]
        model.set_params(n_jobs=1)
        assert_same_bits(model.score_samples(X), found[1])
        assert _core.last_team_size() == 1
        expected = expected or found
        assert_same_bits(found, expected, f"n_jobs={n_jobs}")


@every_estimator
def test_files_and_pickles_of_ensembles(name, tmp_path):
    transform = {"transform": Linear(covariance="full")} if name.endswith("RNADE") else {}
    model, X = ensemble(name, **transform)
    model.save(tmp_path / "m")
    clone(model).fit(X).save(tmp_path / "again")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "again").read_bytes()
    for copy in (load_estimator(tmp_path / "m"), type(model).load(tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        assert_same_bits(all_parameters(copy), all_parameters(model))
        assert_same_bits(copy.score_samples(X), model.score_samples(X))
        assert_same_bits(copy.sample(5, random_state=0), model.sample(5, random_state=0))
        for one, other in zip(copy.members_, model.members_, strict=True):
            assert one.n_iter_ == other.n_iter_ and one.best_update_ == other.best_update_
            assert one.history_["loss"] == other.history_["loss"]
        assert repr(copy) == repr(model)
    copy.save(tmp_path / "copy")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "copy").read_bytes()


def test_a_random_order_comes_back_from_a_file(tmp_path):
    model, X = small_model("RNADE", order="random", random_state=4)
    model.fit(X).save(tmp_path / "m")
    copy = load_estimator(tmp_path / "m")
    assert copy.order == "random" and copy.order_.tolist() == model.order_.tolist() != [0, 1, 2]
    assert_same_bits(copy.score_dims(X), model.score_dims(X))


@every_estimator
def test_going_on(name):
    model, X = ensemble(name, warm_start=True, dtype=FLOAT64, validation_fraction=0)
    score, orders = model.score(X), [member.order_ for member in model.members_]
    model.set_params(max_epochs=10).fit(X)
    assert model.score(X) > score
    assert all(member.order_ is order for member, order in zip(model.members_, orders, strict=True))
    score = model.score(X)
    for _ in range(10):
        model.partial_fit(X)
    assert model.score(X) > score and [member.n_iter_ for member in model.members_] == [10, 10, 10]
    model.set_params(n_orders=2).fit(X)
    assert len(model.members_) == 2
    first, _ = small_model(name, n_orders=3)
    scores = [first.partial_fit(X).score(X) for _ in range(8)]
    assert len(first.members_) == 3 and scores[-1] > scores[0]


@every_estimator
def test_what_is_of_one_order_is_refused(name):
    model, X = ensemble(name)
    for call in (model.score_dims, model.predict_params, model.log_likelihood_and_gradient):
        with pytest.raises(ValueError, match=r"ensemble of 3 orders.*members_"):
            call(X)
    with pytest.raises(ValueError, match=r"ensemble of 3 orders.*dimensions that lead.*members_"):
        model.sample(2, leading=[0.0])
    if isinstance(X, list):
        with pytest.raises(ValueError, match=r"ensemble of 3 orders.*Stream each of members_.*minus log 3"):
            model.stream()
        streams = [member.stream() for member in model.members_]
        each = [[stream.update(frame) for stream in streams] for frame in X[0]]
        assert_near(logsumexp(each, axis=1) - np.log(3), model.score_frames(X[0]), 1e-12)
    dims = listed(model.members_[1].score_dims(X))
    assert_near(np.concatenate(dims).sum(1), np.concatenate(listed(model.members_[1].score_frames(X))), 1e-5)
    p = {key: np.array(value) for key, value in model.members_[0].parameters_.items()}
    for options in ({"n_orders": 2}, {"order": "random"}):
        with pytest.raises(ValueError, match="one model"):
            type(model).from_parameters(p, **options)


@pytest.mark.parametrize("options", [{"n_orders": 0}, {"order": "best"}, {"order": [0, 1]}, {"n_orders": 1.5}], ids=str)
def test_bad_orders(options):
    model, X = small_model("RNADE", **options)
    with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter"):
        model.fit(X)


def test_names_of_columns_reach_the_members():
    pandas = pytest.importorskip("pandas")
    model, X = small_model("RNADE", n_orders=2)
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model.fit(frame)
    assert model.members_[1].feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.members_[1].score_dims(frame).shape == X.shape


@pytest.mark.usefixtures("validated_after_each_epoch")
def test_an_interruption_keeps_the_members_that_were_begun(monkeypatch):
    model, X = small_model("RNNRNADE", n_orders=3, batch_size=1000, validation_fraction=0)  # the last are the best
    monkeypatch.setattr(_core, "gradient", gradient_at(6, interrupt))  # the second epoch of the second member
    with pytest.warns(ConvergenceWarning, match=r"interrupted.* epoch 1\b"):
        model.fit(X)
    assert [member.n_iter_ for member in model.members_] == [4, 1]
    assert np.isfinite(model.score(X))
