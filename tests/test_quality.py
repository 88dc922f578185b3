"""The harness of benchmarks/quality, its peers and its predictions, at tiny sizes: no files, no torch, no pictures."""

import argparse
import dataclasses
import itertools
import json
import os
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal, multivariate_t, norm

from rnnrnade import RNADE, RNNRNADE, VRNN, Linear
from rnnrnade.datasets import make_trajectories
from rnnrnade.forecasting import energy_score

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("no benchmarks beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import report  # noqa: E402
from benchmarks.quality import (  # noqa: E402
    baselines,
    binary,
    common,
    digits,
    document,
    families,
    latent,
    pianoroll,
    prediction,
    recordings,
)
from benchmarks.quality import options as options_script  # noqa: E402

TINY = {"n_components": 2, "n_hidden": 4, "max_epochs": 2}
LEARNS = TINY | {"transform": "standardize", "learning_rate": 0.1, "max_epochs": 40}  # so that no start is kept


def autoregression(n, T, seed, D=3):
    """n sequences of a stationary process whose noise is correlated."""
    generator = np.random.default_rng(seed)
    L = np.tril(generator.normal(size=(D, D)), -1) + np.eye(D)
    found = []
    for _ in range(n):
        x = np.zeros((T, D))
        for t in range(1, T):
            x[t] = 0.8 * x[t - 1] + 0.3 * L @ generator.normal(size=D)
        found.append(x)
    return found


def options(**changed):
    usual = {"quick": False, "tune": False, "threads": 1, "processes": 1, "rows": "", "seed": 0}
    return argparse.Namespace(**(usual | changed))


class Level:
    """A model whose score is one number, better the nearer `level` is to the data's; counts what it is asked."""

    looked_at: ClassVar = []

    def __init__(self, level=0.0, random_state=None):
        self.level = level

    def fit(self, X, validation_data=None):
        self.trained_on = len(X)
        return self

    def score_frames(self, X):
        Level.looked_at.append(float(X[0, 0]))
        return -np.abs(X[:, 0] - self.level)


def level_folds(levels, tests):
    """A fold for each validation level."""
    return [
        common.Fold(
            np.zeros((5, 1)),
            common.Part(np.full((2, 1), v)),
            common.Part(np.full((2, 1), t)),
            np.zeros((7, 1)),
        )
        for v, t in zip(levels, tests, strict=True)
    ]


def test_validation_chooses_and_test_data_are_scored_once():
    Level.looked_at.clear()
    folds = level_folds([1.0, 1.0, 3.0], [100.0, 101.0, 102.0])
    row = common.Row("level", Level, common.grid(level=[0.0, 1.0, 3.0]), group="peer")
    table = common.Table("levels", lambda: folds, [row], "3 folds")
    record, _ = common.run_row(row, table, folds)
    assert record["chosen"] == [1, 1, 1]  # mean distances to (1, 1, 3): 5/3, 2/3, 4/3
    assert record["validation"]["mean"] == pytest.approx(-2 / 3)
    assert [x for x in Level.looked_at if x >= 100] == [100, 101, 102]


def test_every_fold_may_choose_for_itself():
    folds = level_folds([1.0, 3.0], [1.0, 3.0])
    row = common.Row("level", Level, common.grid(level=[0.0, 1.0, 3.0]), group="peer")
    table = common.Table("levels", lambda: folds, [row], "2 folds", each_fold=True)
    record, models = common.run_row(row, table, folds)
    assert record["chosen"] == [1, 2]
    assert [model.level for model in models] == [1.0, 3.0]
    assert record["figures"]["nats"] == {"mean": 0.0, "standard_error": 0.0, "folds": [0.0, 0.0]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("each_fold", [True, False])
def test_processes_change_no_figure(each_fold):
    parts = [autoregression(1, 60, seed)[0] for seed in range(6)]
    folds = [
        common.Fold(a, common.Part(b), common.Part(c), np.concatenate([a, b])) for a, b, c in (parts[:3], parts[3:])
    ]
    row = common.Row("RNADE", RNADE, common.grid(n_hidden=[0, 4], n_components=[2], max_epochs=[3]))
    table = common.Table("rows", lambda: folds, [row], "2 folds", each_fold=each_fold)
    alone, shared = (common.run_row(row, table, folds, threads=1, processes=n)[0] for n in (1, 3))
    assert {**alone, "seconds": 0} == {**shared, "seconds": 0}


def test_refit_sees_all_training_data_and_tuning_no_test_data():
    folds = level_folds([1.0], [100.0])
    row = common.Row("level", Level, refit={}, group="peer")
    table = common.Table("levels", lambda: folds, [row], "1 fold")
    assert common.run_row(row, table, folds)[1][0].trained_on == 7
    Level.looked_at.clear()
    record, models = common.run_row(row, table, folds, tune=True)
    assert models[0].trained_on == 5 and "figures" not in record and 100.0 not in Level.looked_at


@pytest.mark.parametrize("n", [1, 2])
def test_ends_that_choose_among_settings_train_no_candidate(n):
    class Held(Level):
        fits: ClassVar = []

        def __init__(self, level=0.0, refit="all", validation_fraction=0.1, random_state=None, n_jobs=None):
            self.level, self.refit, self.validation_fraction = level, refit, validation_fraction

        def fit(self, X, validation_data=None):
            self.fits.append(self.refit)
            return super().fit(X)

    (fold,) = level_folds([1.0], [1.0])
    row = common.Row("ours", Held, common.grid(level=[0.0, 1.0][:n]))
    table = common.Table("levels", lambda: [fold], [row], "1 fold")
    _, (model,) = common.run_row(row, table, [dataclasses.replace(fold, ends=True)])
    assert Held.fits == (["all"] if n == 1 else [False, False, "all"])
    assert model.refit == "all" and model.trained_on == 7 and model.level == n - 1


def test_an_estimator_is_refitted_for_as_many_epochs_as_were_best():
    X = make_trajectories(12, 20, random_state=0)
    fold = common.Fold(X[:8], common.Part(X[8:10]), common.Part(X[10:]), X[:10])
    row = common.Row("ours", RNNRNADE, [TINY | {"n_recurrent": 4}], refit={"validation_fraction": None})
    table = common.Table("trajectories", lambda: [fold], [row], "1 fold")
    first, _ = common.fit(RNNRNADE, row.grid[0], fold)
    _, (model,) = common.run_row(row, table, [fold], threads=1)
    assert model.n_iter_ == max(1, first.best_epoch_) and model.validation_fraction is None


def test_an_ensemble_is_refitted_for_the_median_of_its_best_epochs():
    X = make_trajectories(12, 20, random_state=0)
    fold = common.Fold(X[:8], common.Part(X[8:10]), common.Part(X[10:]), X[:10])
    settings = TINY | {"n_recurrent": 4, "order": "random", "n_orders": 3}
    row = common.Row("ours", RNNRNADE, [settings], refit={"validation_fraction": None})
    members = [argparse.Namespace(best_epoch_=epoch) for epoch in (1, 5, 3)]
    model = common.again(row, settings, fold, argparse.Namespace(members_=members))
    assert [member.n_iter_ for member in model.members_] == [3, 3, 3]


def test_ends_of_sequences_are_those_that_an_estimator_holds_out_itself():
    X = autoregression(3, 60, seed=0)
    kept = [len(x) - 6 for x in X]
    fold = common.Fold([x[:n] for x, n in zip(X, kept, strict=True)], common.Part(X, tuple(kept)), None, X, ends=True)
    model, _ = common.fit(RNNRNADE, LEARNS | {"n_recurrent": 4, "validation_fraction": 0.1, "refit": False}, fold)
    assert common.nats(model, fold.valid) == pytest.approx(max(model.history_["validation_score"]), abs=1e-5)


def test_context_does_not_count():
    part = common.Part([np.zeros((3, 1)), np.zeros((2, 1))], (2, 0))
    assert part.counted([np.array([1.0, 2, 3]), np.array([4.0, 5])]).tolist() == [3, 4, 5]


def test_a_table_runs_to_text_and_json_and_document(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2))
    fold = common.Fold(X[:40], common.Part(X[40:50]), common.Part(X[50:]), X[:50])
    rows = [
        common.Row("Gaussian", baselines.Gaussian, refit={}, group="peer"),
        common.Row("mixture", baselines.Mixture, common.grid(n_components=[1, 2]), refit={}, group="peer"),
        common.Row("RNADE()", RNADE, [TINY], group="defaults"),
        common.Row("RNADE, chosen", RNADE, [TINY | {"min_scale": s} for s in (0.1, 0.2)]),
    ]
    table = common.Table("normal rows", lambda: [fold, fold], rows, "2 folds", each_fold=True)
    done = common.run_tables([table], options())
    found = {
        "experiment": "vectors", "size": "full", "seed": 0, "seconds": 1.0, "machine": common.described(1),
        "tables": done,
    }  # fmt: skip
    (tmp_path / "published-quality-vectors.json").write_text(json.dumps(found, allow_nan=False))
    text = document.document(tmp_path)
    assert text.count("\n## ") == 2  # the comparison, and the one experiment that has a result
    peer = max(row["figures"]["nats"]["mean"] for row in done[0]["rows"][:2])
    ours = done[0]["rows"][2]["figures"]["nats"]["mean"]
    assert f"| {peer:.2f} | {ours:.2f} | {ours - peer:+.2f} |" in text
    assert all(f"| {row.name} |" in text for row in rows)
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| ")]
    assert all(len({line.count(" | ") for line in lines if "---" not in line}) == 1 for lines in tables)


def test_options_are_compared_fold_by_fold_and_set_by_set():
    names, base, found = ["a", "a", "b", "b"], [1.0, 5.0, 2.0, 2.0], [1.5, 6.5, 1.0, None]
    figures = options_script.by_set(found, base, names)
    assert figures["a"] == {"mean": 1.0, "standard_error": pytest.approx(0.5), "folds": [0.5, 1.5]}
    assert figures["b"]["mean"] is None and figures["b"]["folds"] == [-1.0, None]
    own = options_script.by_set(base, None, names)  # the defaults themselves
    assert {name: figure["mean"] for name, figure in own.items()} == {"a": 3.0, "b": 2.0}
    row = {"row": "K=5", "group": "ours", "candidates": [{"settings": {}}], "figures": figures, "min_scale": 0.1}
    table = {"title": "t", "over": "two", "each_fold": False, "rows": [row | {"seconds": 1.0}]}
    text = document.table_text(table, choice=False)
    assert "|  | a | b | min_scale | seconds |" in text  # and no column of validation, which is a mean over sets
    assert "| K=5 | 1.00 (0.50) | not finite | 0.1 | 1.0 |" in text


def test_errors_of_differences_are_over_independent_units():
    values = np.random.default_rng(0).normal(size=12)
    mean, error = common.clustered(values, np.arange(12))
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / 12**0.5)
    # Copies of a number say no more than one of it.
    assert common.clustered(np.repeat(values, 5), np.repeat(np.arange(12), 5)) == pytest.approx((mean, error))
    assert common.clustered(values, np.zeros(12))[1] is None
    part = common.Part([np.zeros((8, 1)), np.zeros((5, 1))], (2, 4))
    assert common.units(part).tolist() == [0] * 6 + [1]
    assert common.units(part, block=3).tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_families_are_paired_by_fold_and_seed():
    # Two splits, two seeds: all splits first, then all again.
    base = [np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)]
    ours = [np.array([1.0, 1.0]), np.array([3.0, 3.0]), np.array([2.0, 2.0]), np.array([4.0, 4.0])]
    difference, seeds = families.paired(ours, base, 2, [np.zeros(2), np.ones(2)])
    assert difference == {"mean": 2.5, "standard_error": 1.0, "folds": [1.0, 3.0, 2.0, 4.0]}
    assert seeds["mean"] == pytest.approx(0.5)  # of 2 and 3
    assert families.over_splits([1, 3, 2, 4], 2)["standard_error"] == 1.0
    assert families.over_splits([1, None], 1)["mean"] is None
    difference, _ = families.paired([np.array([np.inf])], [np.zeros(1)], 1, [np.zeros(1)])
    assert difference["mean"] is None


def test_families_are_run_compared_and_chosen_on_validation(monkeypatch, tmp_path):
    sequences = autoregression(12, 8, seed=0)
    parts = sequences[:8], common.Part(sequences[8:10]), common.Part(sequences[10:])

    def load(n, quick):
        return [common.Fold(*parts, sequences[:10])]

    written = {}
    monkeypatch.setattr(families, "SETS", {"toy": families.Set(RNNRNADE, load, seeds=(3, 2), epochs=2)})
    monkeypatch.setattr(families, "NAMES", {"Gaussian": "gaussian", "twin": "gaussian", "another": "gaussian"})
    monkeypatch.setattr(families, "write", lambda name, options, tables, began: written.update({name: tables}))
    families.main(["--threads", "1"])
    (table,) = written["families"]
    first, twin, _ = table["rows"]
    assert list(first["figures"]) == ["nats"] and len(first["figures"]["nats"]["folds"]) == 2
    assert twin["figures"]["less Gaussian"]["folds"] == [0.0, 0.0]
    assert list(twin["figures"]) == ["nats", "less Gaussian", "over seeds", "the same on validation"]
    # What test data say chooses nothing.
    twin["validation"] = {"mean": 1.0, "standard_error": 0.0, "folds": [-100.0, 100.0]}
    twin["figures"]["less Gaussian"] = {"mean": -5.0, "standard_error": 1.0}
    twin["figures"]["nats"]["folds"] = [value - 5.0 for value in first["figures"]["nats"]["folds"]]
    line = families.choices([table], quick=True)[0]
    assert line == ["toy", "twin", "0.00 (0.00)", "-5.00 (1.00)", "Gaussian 1, twin 1 of 2", "-2.50 (2.50)"]
    found = {"experiment": "families", "size": "reduced", "seed": 0, "seconds": 1.0, "machine": common.described(1)}
    (tmp_path / "quality-families.json").write_text(json.dumps(found | {"tables": [table]}, allow_nan=False))
    assert " | ".join(line) in document.document(tmp_path, reduced=True)


def test_a_recording_of_ones_own_is_cut_like_motion_capture(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNRNADE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="source: a recording of your own"):
        recordings.folds("mine", range(1))
    with pytest.raises(FileNotFoundError, match=r"nox\.npz.* source: hourly NOx"):
        recordings.folds("nox", range(1))
    X = autoregression(1, 50, seed=0, D=3)[0]
    X[:40, 1] = 0.1  # constant in training: left out
    np.savez(tmp_path / "mine.npz", train_frames=X[:40], test_frames=X[40:])
    (fold,) = recordings.folds("mine", range(1))
    assert [x.shape for x in (*fold.train, *fold.valid.X, *fold.test.X)] == [(36, 2), (40, 2), (50, 2)]
    assert fold.valid.context == (36,) and fold.test.context == (40,) and fold.ends
    assert np.allclose(fold.everything[0].mean(axis=0), 0) and np.allclose(fold.everything[0].std(axis=0), 1)
    model, _ = common.fit(RNNRNADE, LEARNS | {"refit": False}, fold)
    reported = model.history_["validation_score"][model.history_["update"].index(model.best_update_)]
    assert common.nats(model, fold.valid) == pytest.approx(reported, rel=1e-5)


def test_absent_data_leave_a_table_out(capsys):
    def absent():
        raise FileNotFoundError("some.npz is not there")

    assert common.run_tables([common.Table("t", absent, [], "1 fold")], options()) == []
    assert "some.npz" in capsys.readouterr().out


def static_peers():
    return [baselines.Gaussian(), baselines.Mixture(2, random_state=0), baselines.KernelDensity(0.5)]


@pytest.mark.parametrize("peer", static_peers(), ids=lambda peer: type(peer).__name__)
def test_density_of_static_peers_integrates_to_one(peer):
    X = np.random.default_rng(0).normal(size=(50, 2)) * [2.0, 0.5] + [1.0, -1.0]
    peer.fit(X)
    grids = np.linspace(-16, 18, 500), np.linspace(-6, 4, 400)
    points = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, 2)
    area = (grids[0][1] - grids[0][0]) * (grids[1][1] - grids[1][0])
    assert np.exp(peer.score_frames(points)).sum() * area == pytest.approx(1, abs=1e-3)


def test_peers_score_sequences_frame_by_frame():
    X = autoregression(4, 20, seed=1)
    for peer in (baselines.Gaussian(), baselines.VAR(lags=1)):
        scores = peer.fit(X).score_frames(X)
        assert [s.shape for s in scores] == [(20,)] * 4
        np.testing.assert_array_equal(scores[2], peer.score_frames(X[2]))


@pytest.mark.parametrize("lags", [0, 1, 2])
def test_var_mean_and_noise_give_its_density(lags):
    X = autoregression(20, 30, seed=2)
    peer = baselines.VAR(lags=lags).fit(X)
    x = X[0]
    mean = peer.predictive_mean(x)
    L = peer.linear.scale_[:, None] * peer.linear.factors_[lags]
    expected = [multivariate_normal(m, L @ L.T).logpdf(v) for m, v in zip(mean[lags:], x[lags:], strict=True)]
    np.testing.assert_allclose(peer.score_frames(x)[lags:], expected, rtol=1e-9)
    drawn = peer.draw(x, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=6 * np.sqrt((L @ L.T).max() / 20_000))


def test_hmm_of_one_state_is_the_gaussian_and_many_agree_with_hmmlearn():
    pytest.importorskip("hmmlearn")
    X = autoregression(10, 40, seed=3)
    one = baselines.GaussianHMM(1, random_state=0).fit(X).score_frames(X)
    gaussian = baselines.Gaussian().fit(X).score_frames(X)
    assert np.mean(np.concatenate(one)) == pytest.approx(np.mean(np.concatenate(gaussian)), abs=0.01)
    peer = baselines.GaussianHMM(3, floor=1e-9, random_state=0).fit(X)
    z = (X[0] - peer.mean_) / peer.scale_
    expected = peer.model_.score(z) - len(z) * np.log(peer.scale_).sum()
    assert peer.score_frames(X[0]).sum() == pytest.approx(expected, rel=1e-6)
    drawn = peer.draw(X[0], 4000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), peer.predictive_mean(X[0]), atol=0.15)


def test_an_hmm_whose_em_fails_is_never_chosen(monkeypatch):
    hmm = pytest.importorskip("hmmlearn.hmm")
    X = autoregression(2, 30, seed=3)
    fit = hmm.GaussianHMM.fit

    def without_covariance(self, z, lengths):
        raise ValueError("'covars' must be symmetric, positive-definite")

    def without_numbers(self, z, lengths):
        fit(self, z, lengths).means_[0] = np.nan
        return self

    for failing in (without_covariance, without_numbers):
        monkeypatch.setattr(hmm.GaussianHMM, "fit", failing)
        peer = baselines.GaussianHMM(2, random_state=0).fit(X)
        assert all((scores == -np.inf).all() and len(scores) == 30 for scores in peer.score_frames(X))


class FixedGARCH(baselines.GARCH):
    """One that needs no package to be fitted."""

    def fit(self, X, validation_data=None):
        self.mean_, self.scale_ = baselines.moments(X)
        self.mu_, self.omega_, self.alpha_, self.beta_, self.nu_ = np.array([[0.1, 0.2, 0.3, 0.5, 5.0]]).T
        return self


def sequential_peers():
    """Peers of sequences with densities that know no network, and their data of one column."""
    return {
        "VAR": baselines.StudentVAR((1, 2)),
        "seasonal VAR": baselines.StudentVAR((1, 4, 5), ridge=10.0),
        "EWMA-t": baselines.StudentVAR((1, 2), decay=0.9, constant=0.2, nu=4.0),
        "seasonal naive": baselines.SeasonalNaive(4),
        "GARCH": FixedGARCH(),
    }


@pytest.fixture(params=list(sequential_peers()))
def sequential_peer(request):
    return sequential_peers()[request.param]


def test_density_of_sequential_peers_integrates_to_one(sequential_peer):
    (x,) = autoregression(1, 300, seed=7, D=1)
    sequential_peer.fit(x[:280])
    values = np.linspace(-10, 10, 401)  # of the last frame
    sequences = [np.vstack([x[250:290], [[v]]]) for v in values]
    density = np.exp([scores[-1] for scores in sequential_peer.score_frames(sequences)])
    inside = sequential_peer.cdf(sequences[-1])[-1, 0] - sequential_peer.cdf(sequences[0])[-1, 0]
    assert density.sum() * (values[1] - values[0]) == pytest.approx(inside, abs=1e-5) and inside > 0.999


def test_sequential_peers_do_not_look_ahead_and_draw_what_they_score(sequential_peer):
    (x,) = autoregression(1, 400, seed=8)
    sequential_peer.fit(x[:300])
    np.testing.assert_allclose(sequential_peer.score_frames(x)[:250], sequential_peer.score_frames(x[:250]), rtol=1e-12)
    np.testing.assert_allclose(sequential_peer.cdf(x)[:250], sequential_peer.cdf(x[:250]), rtol=1e-12)
    np.testing.assert_array_equal(sequential_peer.score_frames([x, x[:5]])[1], sequential_peer.score_frames(x[:5]))
    # Draws of one frame have uniform integral transforms.
    past = x[300:350]
    drawn = sequential_peer.draw(np.vstack([past, x[350]]), 500, np.random.default_rng(0))[:, -1]
    u = np.array([sequential_peer.cdf(np.vstack([past, y]))[-1] for y in drawn])
    assert all(kstest(column, "uniform").pvalue > 1e-3 for column in u.T)


@pytest.mark.parametrize("lags", [1, 3])
def test_a_var_predicts_as_that_of_the_library(lags):
    X = autoregression(3, 60, seed=9)
    library = baselines.VAR(lags=lags, ridge=2.0).fit(X).linear
    peer = baselines.StudentVAR(range(1, lags + 1), ridge=2.0, decay=1.0, nu=np.inf).fit(X)
    np.testing.assert_allclose(peer.A_, np.vstack([A.T for A in library.coefficients_[lags]]), atol=1e-9)
    np.testing.assert_allclose(peer.b_, library.intercepts_[lags], atol=1e-9)


def test_weighted_student_noise_is_the_multivariate_t():
    (x,) = autoregression(1, 80, seed=10)
    decay, constant, nu, floor = 0.8, 0.3, 5.0, 0.1
    peer = baselines.StudentVAR((1,), decay=decay, constant=constant, nu=nu, floor=floor).fit(x)
    z = (x - peer.mean_) / peer.scale_
    r = np.vstack([z[0], z[1:] - peer.b_ - z[:-1] @ peer.A_])
    S, expected = r[1:].T @ r[1:] / len(r[1:]), []
    C = S
    for t in range(1, len(z)):
        shape = ((1 - constant) * C + constant * S + floor**2 * np.eye(3)) * (nu - 2) / nu
        expected.append(multivariate_t(np.zeros(3), shape, df=nu).logpdf(r[t]) - np.log(peer.scale_).sum())
        C = decay * C + (1 - decay) * np.outer(r[t], r[t])
    np.testing.assert_allclose(peer.score_frames(x)[1:], expected, rtol=1e-9)


def test_forecasts_of_a_var_are_its_draws_and_go_on():
    (x,) = autoregression(1, 200, seed=11)
    for peer in (baselines.StudentVAR((1, 3), decay=0.95, nu=8.0).fit(x), baselines.SeasonalNaive(7).fit(x)):
        paths = peer.forecast(x[:150], 15, 4000, np.random.default_rng(0))
        drawn = peer.draw(x[:151], 4000, np.random.default_rng(1))[:, 150]
        np.testing.assert_allclose(paths[:, 0].mean(axis=0), drawn.mean(axis=0), atol=6 * drawn.std() / 4000**0.5)
        np.testing.assert_allclose(paths[:, 0].std(axis=0), drawn.std(axis=0), rtol=0.15)
    # A naive forecast's mean is the season before, again and again, and its variance grows by seasons.
    error = paths.std(axis=0) / 4000**0.5
    assert (np.abs(paths.mean(axis=0) - np.vstack([x[143:150], x[143:150], x[143:144]])) < 5 * error).all()
    np.testing.assert_allclose(paths[:, 7:14].std(axis=0) / paths[:, :7].std(axis=0), 2**0.5, rtol=0.1)


def test_garch_has_the_variances_of_its_package():
    arch = pytest.importorskip("arch")
    (x,) = autoregression(1, 600, seed=12, D=2)
    peer = baselines.GARCH().fit(x)
    _, sd = peer._standard(x)
    z = (x - peer.mean_) / peer.scale_
    fitted = arch.arch_model(z[:, 1], mean="Constant", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(disp="off")
    np.testing.assert_allclose(sd[300:, 1], fitted.conditional_volatility[300:], rtol=1e-3)
    scored = peer.score_frames(x).sum() + len(x) * np.log(peer.scale_).sum()
    parts = [arch.arch_model(c, dist="t", rescale=False).fit(disp="off").loglikelihood for c in z.T]
    assert scored == pytest.approx(sum(parts), abs=0.01 * len(x))


def test_crps_of_draws_is_that_of_their_law():
    draws = np.random.default_rng(0).normal(2.0, 3.0, size=(20_000, 1, 2))
    truth = np.array([[2.0, 5.0]])
    z = (truth - 2) / 3
    exact = 3 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - np.pi**-0.5)
    np.testing.assert_allclose(recordings.crps(draws, truth), exact, atol=0.03)
    few = draws[:7]
    np.testing.assert_allclose(
        recordings.crps(few, truth)[0, 1], energy_score(few[:, :, 1:], truth[:, 1:])[0], rtol=1e-12
    )


def test_free_runs_are_judged_by_their_quantiles():
    class Run:
        def __init__(self, factor):
            self.factor = factor

        def sample(self, n, n_frames, random_state):
            if self.factor is None:
                raise ValueError("not finite")
            return np.random.default_rng(random_state).normal(5.0, self.factor, size=(n, n_frames, 2))

    known = np.random.default_rng(1).normal(5.0, 1.0, size=(10_000, 2))
    for factor in (1, 3):
        assert recordings.free_run(Run(factor), known, 10_000) == pytest.approx(factor, rel=0.1)
    assert recordings.free_run(Run(None), known, 10) == np.inf


def test_recordings_are_run_compared_and_written(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNRNADE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (x,) = autoregression(1, 250, seed=13, D=2)
    np.savez(tmp_path / "nox.npz", train_frames=x[:200], test_frames=x[200:], season=6)
    written = {}

    def write(name, options, tables, began, **more):
        written.update({name: tables})

    monkeypatch.setattr(recordings, "write", write)
    monkeypatch.setattr(recordings, "QUICK", TINY)
    monkeypatch.setattr(recordings, "FREE_QUICK", 50)
    recordings.main(
        ["--threads", "1", "--sets", "nox,fx", "--rows", "VAR,naive,EWMA,RNN", "--settings", "{'n_hidden': 3}"]
    )
    (table,) = written["recordings"]
    known, rows = recordings.scored(table)
    assert [row["row"] for row in known] == ["VAR", "seasonal VAR", "seasonal naive", "EWMA-t"]
    assert [row["row"] for row in rows] == ["RNNRNADE(), defaults", "RNNRNADE(n_hidden=3)"]
    assert list(rows[0]["figures"]) == ["nats", "in 90 %", "CRPS", "free run", "fit"] and "validation" not in rows[0]
    best = max(known, key=recordings.mean_nats)
    compared = recordings.with_differences(table)["rows"]
    for row in rows:
        difference = next(other for other in compared if other["row"] == row["row"])["figures"]["less best"]
        assert difference["mean"] == pytest.approx(row["figures"]["nats"]["mean"] - recordings.mean_nats(best))
        assert difference["standard_error"] > 0
    assert [line[4] for line in recordings.lines([table])] == [row["row"] for row in rows]
    found = {"experiment": "recordings", "size": "reduced", "seed": 0, "seconds": 1.0, "machine": common.described(1)}
    (tmp_path / "quality-recordings.json").write_text(json.dumps(found | {"tables": [table]}, allow_nan=False))
    text = document.document(tmp_path, reduced=True)
    assert "| " + " | ".join(recordings.lines([table])[1]) + " |" in text and "less best" in text


def test_defaults_are_told_the_season():
    assert recordings.told(12)["transform"].season == 12 and recordings.told(0) == {}
    assert recordings.ours({}, 7)[0].grid[0]["transform"].season == 7


def test_of_many_candidates_those_near_the_chosen_are_reported():
    tried = common.grid(lags=[1, 2, 3], ridge=[0.1, 1.0, 10.0, 100.0], nu=[3.0, 4.0, 5.0, 6.0, 7.0])
    record = {"candidates": [{"settings": settings} for settings in tried], "chosen": [27, 33]}
    best = [tried[c] for c in record["chosen"]]
    recordings.without_far_candidates(record)
    kept = [candidate["settings"] for candidate in record["candidates"]]
    assert [kept[c] for c in record["chosen"]] == best
    assert len(kept) == 2 * (1 + 2 + 3 + 4) - 2  # in two rows of the grid, of which they share two candidates
    assert {s["ridge"] for s in kept} == {0.1, 1.0, 10.0, 100.0} and {s["nu"] for s in kept} == {
        3.0,
        4.0,
        5.0,
        6.0,
        7.0,
    }
    few = {"candidates": [{"settings": {"lags": n}} for n in range(recordings.MANY)], "chosen": [0]}
    recordings.without_far_candidates(few)
    assert len(few["candidates"]) == recordings.MANY


def test_few_frames_have_a_column_each(monkeypatch, tmp_path):
    written = {}
    monkeypatch.setattr(
        recordings, "write", lambda name, options, tables, began, **more: written.update({name: tables})
    )
    monkeypatch.setattr(recordings, "QUICK", TINY)
    recordings.main(["--threads", "1", "--sets", "normals"])
    assert [table["title"].split(",")[1] for table in written["recordings"]] == [
        " table of 20 columns", " recording of 20 columns",
    ]  # fmt: skip
    for table in written["recordings"]:
        for row in table["rows"]:
            assert list(row["figures"]) == ["10 rows", "100 rows"]
        gaussian = table["rows"][0]["figures"]
        assert -0.05 < gaussian["100 rows"]["mean"] < 0 and gaussian["10 rows"]["mean"] < gaussian["100 rows"]["mean"]


def all_bits(D):
    """{0, 1}^D, (2^D, D)"""
    return np.array(list(itertools.product((0.0, 1.0), repeat=D)), np.float32)


def a_chain(n, D, seed):
    """n rows of D bits, each like the one before in nine of ten rows."""
    generator = np.random.default_rng(seed)
    flips = generator.random((n, D)) < 0.1
    flips[:, 0] = generator.random(n) < 0.3
    return (flips.cumsum(axis=1) % 2).astype(np.float32)


def binary_peers():
    return [baselines.ChowLiu(1.0), baselines.BernoulliMixture(3, random_state=0), baselines.Bits(0)]


@pytest.mark.parametrize("peer", binary_peers(), ids=lambda peer: type(peer).__name__)
def test_probabilities_of_binary_peers_add_up_to_one(peer):
    peer.fit(a_chain(80, 6, seed=0))
    assert np.exp(peer.score_frames(all_bits(6))).sum() == pytest.approx(1, abs=1e-12)


def test_probabilities_of_bits_with_memory_add_up_to_one():
    peer = baselines.Bits(1, prior=0.5).fit([a_chain(30, 2, seed=k) for k in range(4)])
    sequences = [bits.reshape(3, 2) for bits in all_bits(6)]
    assert sum(np.exp(frames.sum()) for frames in peer.score_frames(sequences)) == pytest.approx(1, abs=1e-12)


def test_bits_with_memory_are_counted_transitions():
    x = np.array([[1], [1], [0], [1], [1], [1]], np.float32)
    peer = baselines.Bits(1, prior=1.0).fit(x)
    # After 0 (before the sequence, and once in it): 1 and 1; after 1: 1, 0, 1, 1.
    up, stay = (2 + 0.5) / (2 + 1), (3 + 0.5) / (4 + 1)
    expected = np.log([up, stay, 1 - stay, up, stay, stay])
    np.testing.assert_allclose(peer.score_frames(x), expected)
    expected = np.log(np.where(x[:, 0], 5.5 / 7, 1.5 / 7))
    np.testing.assert_allclose(baselines.Bits(0, prior=1.0).fit(x).score_frames(x), expected)
    np.testing.assert_array_equal(peer.score_frames([x, x[:2]])[1], peer.score_frames(x[:2]))


def test_the_tree_of_a_chain_is_the_chain():
    X = a_chain(4000, 7, seed=1)
    shuffled = np.random.default_rng(0).permutation(7)
    peer = baselines.ChowLiu(1e-6).fit(X[:, shuffled])
    edges = {
        frozenset((int(shuffled[a]), int(shuffled[b]))) for a, b in zip(peer.parents_, peer.children_, strict=True)
    }
    assert edges == {frozenset((d, d + 1)) for d in range(6)}
    truth = np.log(np.where(X[:, 0], 0.3, 0.7)) + np.log(np.where(np.diff(X), 0.1, 0.9)).sum(axis=1)
    assert peer.score_frames(X[:, shuffled]).mean() == pytest.approx(truth.mean(), abs=0.01)


def test_em_finds_two_kinds_of_rows():
    generator = np.random.default_rng(0)
    p = np.array([[0.9] * 5 + [0.1] * 5, [0.1] * 5 + [0.9] * 5])
    X = (generator.random((2000, 10)) < p[generator.integers(0, 2, 2000)]).astype(np.float32)
    peer = baselines.BernoulliMixture(2, prior=1.0, random_state=0).fit(X[:1500], X[1500:])
    found = np.exp(peer.log_p_)
    np.testing.assert_allclose(found[found[:, 0].argsort()[::-1]], p, atol=0.05)


def test_the_iteration_of_em_that_is_best_on_validation_data_is_kept():
    train, valid = a_chain(40, 12, seed=2), a_chain(500, 12, seed=3)
    kept = baselines.BernoulliMixture(15, prior=0.1, random_state=0).fit(train, valid).log_density(valid).mean()
    without = [
        baselines.BernoulliMixture(15, prior=0.1, n_iter=n, random_state=0).fit(train).log_density(valid).mean()
        for n in range(1, 101)
    ]
    assert kept == pytest.approx(max(without)) and kept > without[-1] + 0.1


def test_a_var_with_one_scaling_is_the_var_and_with_more_knows_loudness():
    X = autoregression(6, 200, seed=14)
    loud = [x * np.repeat(np.exp(np.random.default_rng(k).normal(size=10)), 20)[:, None] for k, x in enumerate(X)]
    plain, one, more = (
        peer.fit(loud)
        for peer in (baselines.VAR(2), baselines.ScaledVAR(2, scalings=1), baselines.ScaledVAR(2, scalings=4))
    )
    e = np.concatenate([plain._left(x)[0] for x in loud])
    assert one.s_ == pytest.approx([(e**2).mean()], rel=1e-9)
    assert more.pi_ @ more.s_ == pytest.approx((e**2).mean(), rel=1e-9)  # after every step of EM
    x, s, D = loud[0], one.s_[0], 3
    squares = (plain._left(x)[0] ** 2).sum(axis=1)
    expected = plain.score_frames(x) + 0.5 * squares * (1 - 1 / s) - 0.5 * D * np.log(s)
    np.testing.assert_allclose(one.score_frames(x), expected, rtol=1e-9)
    assert np.concatenate(more.score_frames(loud)).mean() > np.concatenate(plain.score_frames(loud)).mean() + 0.3
    drawn = more.draw(x, 20_000, np.random.default_rng(0))
    mean, C = more.predictive_mean(x)[50], plain.linear.scale_[:, None] * plain.linear.factors_[2]
    np.testing.assert_allclose(drawn[:, 50].mean(axis=0), mean, atol=0.05 * np.sqrt((C @ C.T).max()))
    scaled = (more.pi_ @ more.s_) * (C @ C.T)
    np.testing.assert_allclose(np.cov(drawn[:, 50].T), scaled, atol=0.1 * np.abs(scaled).max())


def packed(parts):
    """Arrays of a file of bits from lists of parts."""
    return {name: np.packbits(rows.astype(np.uint8), axis=1) for name, rows in parts.items()}


def run_at_tiny_size(module, name, monkeypatch, tmp_path):
    """The tables of a script run at the reduced size, and the document made of them."""
    monkeypatch.setenv("RNNRNADE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    module.main(["--threads", "1"])
    found = json.loads((tmp_path / f"quality-{name}.json").read_text())
    return found["tables"], document.document(tmp_path, reduced=True)


def test_binary_vectors_are_run_and_written(monkeypatch, tmp_path, capsys):
    parts = {"train": a_chain(60, 12, 0), "valid": a_chain(20, 12, 1), "test": a_chain(30, 12, 2)}
    np.savez(tmp_path / "binary_dna.npz", n_features=12, **packed(parts))
    (table,), text = run_at_tiny_size(binary, "binary", monkeypatch, tmp_path)
    assert "mushrooms: left out" in capsys.readouterr().out
    assert [row["row"] for row in table["rows"]] == [row.name for row in binary.rows("dna")]
    tree = baselines.ChowLiu(**table["rows"][0]["candidates"][table["rows"][0]["chosen"][0]]["settings"])
    expected = tree.fit(parts["train"]).score_frames(parts["test"]).mean()
    assert table["rows"][0]["figures"]["nats"]["mean"] == pytest.approx(expected)
    assert "|  | nats | validation | seconds |" in text  # bits have no min_scale
    for name, figures, source in binary.PUBLISHED["dna"]:
        assert f"| {name} | {figures['nats']:.2f} | {source} |" in text


def test_both_averages_of_music(monkeypatch, tmp_path):
    generator = np.random.default_rng(0)
    X = [(generator.random((T, 88)) < 0.1).astype(np.float32) for T in (30, 4, 8, 6, 20, 3)]
    parts = {"train": X[:2], "valid": X[2:4], "test": X[4:]}
    arrays = packed({name: np.concatenate(found) for name, found in parts.items()})
    lengths = {f"{name}_lengths": [len(x) for x in found] for name, found in parts.items()}
    np.savez(tmp_path / "pianoroll_nottingham.npz", **arrays, **lengths)
    (table,), text = run_at_tiny_size(pianoroll, "pianoroll", monkeypatch, tmp_path)
    row = table["rows"][0]
    scores = baselines.Bits(memory=0, prior=1.0).fit(parts["train"]).score_frames(parts["test"])
    assert row["figures"]["nats"]["mean"] == pytest.approx(np.concatenate(scores).mean())
    assert row["figures"]["by piece"]["mean"] == pytest.approx(np.mean([frames.mean() for frames in scores]))
    assert row["figures"]["nats"]["mean"] != pytest.approx(row["figures"]["by piece"]["mean"], abs=1e-3)
    assert "| RNN-NADE, Hessian-free | -2.31 |" in text and "### Nottingham" in text


def test_digits_have_models_of_one_size_and_paired_differences(monkeypatch, tmp_path):
    generator = np.random.default_rng(0)
    lengths = [650 + 10 * k for k in range(40)]
    index = np.arange(40) % 10
    samples = (1000 * generator.normal(size=sum(lengths))).astype(np.int16)
    np.savez(
        tmp_path / "fsdd_8khz.npz", samples=samples, lengths=lengths, index=index, digit=index % 10,
        speaker=np.full(40, "s"),
    )  # fmt: skip
    models = {"first": (RNNRNADE, {"n_components": 1, "n_hidden": 0}), "second": digits.MODELS["RNN-RNADE"]}
    monkeypatch.setattr(digits, "MODELS", models)
    monkeypatch.setattr(digits, "RECORDINGS_QUICK", (20, 20))
    monkeypatch.setattr(digits, "QUICK", {"max_epochs": 1, "n_components": 1, "n_hidden": 2})
    (table,), text = run_at_tiny_size(digits, "digits", monkeypatch, tmp_path)
    rows = {row["row"]: row for row in table["rows"]}
    for kind, own in models.values():
        sized = digits.of_size(kind, digits.SHARED | own, digits.PARAMETERS)
        larger = sized | {"n_recurrent": sized["n_recurrent"] + 1}
        assert digits.n_parameters(kind(**sized)) <= digits.PARAMETERS < digits.n_parameters(kind(**larger))
    sums = {name: np.array(row["blocks"]["sums"]) for name, row in rows.items()}
    assert all(len(found) == 20 for found in sums.values())
    first, second = sums["first"], sums["second"]
    assert rows["second"]["figures"]["nats"]["mean"] == pytest.approx(second.mean(), rel=1e-6)
    error = (second - first).std(ddof=1) / 20**0.5
    line = ["second", "first", f"{(second - first).mean():.2f} ({error:.2f})"]
    assert digits.ordering(table) == [line] and "| " + " | ".join(line) + " |" in text
    assert "less best" in text and "parameters" in text


TRANSFORMS = {"none": None, "standardize": "standardize", "VAR": Linear(lags=2, covariance="full")}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("order, n_orders", [(None, 1), ([2, 0, 1], 1), (None, 2)], ids=["", "order", "two orders"])
def test_the_predictive_mean_is_that_of_forecasts(transform, order, n_orders):
    X = autoregression(12, 15, seed=4)
    settings = TINY | {"n_recurrent": 4, "transform": TRANSFORMS[transform], "order": order, "n_orders": n_orders}
    model = RNNRNADE(**settings, random_state=0).fit(X)
    x = X[0]
    mean, variance = prediction.predictive_mean(model, x, 2000, np.random.default_rng(1))
    drawn = prediction.draw(model, x, 2000, np.random.default_rng(2))
    for t in (1, 8, 14):
        forecast = model.forecast(x[:t], 1, 4000, random_state=3)[:, 0]
        error = forecast.std(axis=0) / 4000**0.5
        assert (np.abs(forecast.mean(axis=0) - mean[t]) < 5 * (error + np.sqrt(variance[t]))).all()
        assert (np.abs(drawn[:, t].mean(axis=0) - mean[t]) < 5 * (error * 2**0.5 + np.sqrt(variance[t]))).all()
        np.testing.assert_allclose(drawn[:, t].std(axis=0), forecast.std(axis=0), rtol=0.2)
    assert (variance.sum(axis=1) < drawn.var(axis=0).sum(axis=1) / 2000).all()  # less than that of plain draws


def test_squared_errors_of_an_exact_mean_and_of_draws():
    X = autoregression(20, 30, seed=5)
    peer = baselines.VAR(lags=1).fit(X)
    part = common.Part(X[:2], (10, 20))
    found = prediction.one_step(peer, part, 4000, np.random.default_rng(0))
    left = part.counted([x - peer.predictive_mean(x) for x in part.X])
    np.testing.assert_allclose(found.mean, (left**2).sum(axis=1))
    assert found.mean.shape == (20 + 10,) and not found.excess.any()
    noise = ((peer.linear.scale_[:, None] * peer.linear.factors_[1]) ** 2).sum()
    np.testing.assert_allclose(found.sample, found.mean + noise, rtol=0.2)


def test_squared_errors_may_be_clipped():
    X = [np.clip(x, 0, 1) for x in autoregression(12, 15, seed=6)]
    model = RNNRNADE(**TINY, n_recurrent=4, random_state=0).fit(X)
    free, clipped = (
        prediction.one_step(model, common.Part(X[:3]), 50, np.random.default_rng(0), clip=clip)
        for clip in (None, (0, 1))
    )
    assert (clipped.sample <= free.sample).all() and (clipped.mean <= free.mean).all()
    assert (clipped.sample < free.sample).any()


def result(rows, *, title="t", order=None, seconds=10.0, **changed):
    """A result of one table with rows {name: (nats, seconds)}."""
    table = {
        "title": title, "over": "2 folds", "each_fold": False, "order": order or list(rows),
        "rows": [{"row": name, "nats": nats, "seconds": took} for name, (nats, took) in rows.items()],
    }  # fmt: skip
    machine = {"date": f"day {seconds}", "threads": 1}
    return {
        "experiment": "e", "size": "full", "seed": 0, "machine": machine, "seconds": seconds, "tables": [table],
    } | changed  # fmt: skip


def test_rows_run_anew_replace_those_of_an_earlier_result():
    earlier = result({"a": (1.0, 3.0), "gone": (2.0, 2.0), "c": (3.0, 4.0)}, entropy_rate=0.5)
    found = result({"c": (5.0, 1.0), "b": (4.0, 6.0)}, order=["a", "b", "c"], seconds=8.0)
    both = common.merged(earlier, found)
    assert [(row["row"], row["nats"]) for row in both["tables"][0]["rows"]] == [("a", 1.0), ("b", 4.0), ("c", 5.0)]
    assert both["seconds"] == 10 + 8 - 2 - 4 and both["machine"]["date"] == "day 8.0" and both["entropy_rate"] == 0.5
    beside = common.merged(earlier, result({"a": (9.0, 1.0)}, title="other"))
    assert [table["title"] for table in beside["tables"]] == ["t", "other"]
    assert beside["tables"][0] == earlier["tables"][0]
    assert [row["machine"]["date"] for row in both["tables"][0]["rows"]] == ["day 10.0", "day 8.0", "day 8.0"]


@pytest.mark.parametrize("changed", [{"size": "reduced"}, {"seed": 1}])
def test_results_of_other_sizes_and_seeds_are_not_merged(changed):
    with pytest.raises(ValueError, match="another size"):
        common.merged(result({"a": (1.0, 3.0)}), result({"b": (1.0, 3.0)}, **changed))
    fewer = result({"b": (1.0, 3.0)})
    fewer["tables"][0]["over"] = "10 folds"
    with pytest.raises(ValueError, match="folds"):
        common.merged(result({"a": (1.0, 3.0)}), fewer)


def test_the_kalman_filter_is_the_density_of_the_whole_sequence():
    x = latent.state_space(1, np.random.default_rng(3))[0][:6]
    T, eye = len(x), np.eye(2)
    # y = F eps, block (t, s) of F being A^(t - s) Q.
    powers = [np.linalg.matrix_power(latent.A, k) * latent.Q for k in range(T)]
    F = np.block([[powers[t - s] if s <= t else 0 * eye for s in range(T)] for t in range(T)])
    C = np.kron(np.eye(T), latent.C)
    covariance = C @ F @ F.T @ C.T + np.diag(np.tile(latent.R**2, T))
    expected = multivariate_normal(np.zeros(3 * T), covariance).logpdf(x.ravel())
    assert latent.Kalman().score_frames([x])[0].sum() == pytest.approx(expected, abs=1e-10)


def test_the_table_of_latent_models_says_what_is_estimated():
    X = [np.random.default_rng(i).normal(size=(5, 2)) for i in range(12)]
    part = common.Part(X[8:])
    fold = common.Fold(X[:6], common.Part(X[6:8]), part, X[:8])
    tiny = {"n_units": 4, "n_recurrent": 4, "max_epochs": 1}
    record, models = common.run_row(
        common.Row("VRNN", VRNN, [tiny | {"n_latent": 1}]),
        common.Table("t", None, [], "one", measure=latent.measure), [fold], quick=False,
    )  # fmt: skip
    latent.after(None, None, record, models, [fold])
    figures = {name: figure["mean"] for name, figure in record["figures"].items() if name != "parameters"}
    model, frames = models[0], models[0].score_frames(part.X)
    assert figures["nats"] == pytest.approx(np.concatenate(frames).mean())
    assert figures["bound"] == pytest.approx(model.lower_bound(part.X).sum() / 20)
    assert figures["KL"] > 0 and figures["Monte Carlo"] > 0
    assert record["blocks"] == {"sums": [round(f.sum(), 4) for f in frames], "frames": [5] * 4}
    exact, _ = common.fit(VRNN, tiny | {"n_latent": 0}, fold)
    assert list(latent.measure(exact, part)) == ["nats"]
