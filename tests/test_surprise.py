"""Surprise and calibration: tables of blame, thresholds, outliers, reports, and scores of forecasts."""

import numpy as np
import pytest
from helpers import Case, assert_near, assert_same_bits, packed, walks
from scipy.stats import binom, kstest, norm
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rnnrnade import RNADE, RNNRNADE, VAE, Linear, OutlierDetector
from rnnrnade.forecasting import energy_score, quantiles
from rnnrnade.surprise import alarm_threshold

CASE = Case(D=3, H=5, K=2, R=4, lengths=(9, 1, 14), min_scale=1e-3)


def model_and_data(order=None, units=1.0):
    data = walks()
    seen = [x * units if order is None else x[:, order] for x in data]
    transform = Linear(lags=1, covariance="full").fit(*packed(seen))
    return CASE.model(transform=transform, order=order)[0], [x.copy() * units for x in data[:4]]


# ---- explain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, [2, 0, 1]])
def test_explain_ranks_frames_and_names_dimensions(order):
    model, X = model_and_data(order)
    X[2][7, 1] += 40
    table = model.explain(X, top=5, n_dims=3)
    scores, dims, means, pits = model.score_frames(X), model.score_dims(X), model.mean(X), model.cdf(X)
    ranked = sorted((s, i, t) for i, frames in enumerate(scores) for t, s in enumerate(frames))[:5]
    assert [(row["log_density"], row["sequence"], row["frame"]) for row in table[::3]] == ranked
    jumps = {(row["sequence"], row["frame"], row["dimension"]) for row in table[:6:3]}
    assert jumps == {(2, 7, "x1"), (2, 8, "x1")}  # there and back
    for i, (_, s, t) in enumerate(ranked):
        rows = table[3 * i : 3 * i + 3]
        assert {row["dimension"] for row in rows} == {"x0", "x1", "x2"}
        assert_near(sum(row["dimension_log_density"] for row in rows), scores[s][t], 1e-12)
        for row in rows:
            d = int(row["dimension"][1:])
            assert (row["sequence"], row["frame"]) == (s, t)
            assert row["dimension_log_density"] == dims[s][t, d] and row["observed"] == X[s][t, d]
            assert_near([row["expected"], row["pit"]], [means[s][t, d], pits[s][t, d]], 1e-12)
    assert len(model.explain(X)) == 10
    assert model.explain(X, top=5) == table[::3]
    assert len(model.explain(X, top=10**6)) == sum(map(len, X))


def test_blame_does_not_depend_on_units():
    model, X = model_and_data()
    units = np.array([2.0**20, 1.0, 2.0**-20])
    other, Y = model_and_data(units=units)
    found, expected = other.explain(Y, n_dims=3), model.explain(X, n_dims=3)
    assert [(r["sequence"], r["frame"], r["dimension"]) for r in found] == [
        (r["sequence"], r["frame"], r["dimension"]) for r in expected
    ]


def test_explain_takes_every_form_of_X():
    model, X = model_and_data()
    one = model.explain(X[0], top=3)
    assert {row["sequence"] for row in one} == {0}
    together = model.explain(np.concatenate(X), top=20, lengths=[len(x) for x in X])
    assert together == model.explain(X, top=20)
    lines = repr(one).splitlines()
    assert len(lines) == 4 and len(set(map(len, lines))) == 1
    assert lines[0].split() == list(one[0])
    rows = Case(D=3, H=5, K=2, R=0, lengths=(30,)).model()[0].explain(np.concatenate(X), top=2)
    assert [set(row) & {"row", "sequence", "frame"} for row in rows] == [{"row"}, {"row"}]
    binary, Z = Case(D=3, H=4, K=1, R=3, lengths=(5, 2), head="bernoulli").model()
    table = binary.explain(Z, top=4)
    assert "pit" not in table[0] and 0 < table[0]["expected"] < 1
    for wrong in ({"top": 0}, {"top": 2.5}, {"n_dims": 0}, {"n_dims": True}):
        with pytest.raises(ValueError, match=r"must be an int in the range \[1, 2\*\*53\]"):
            model.explain(X, **wrong)


def test_explain_gives_data_frames_for_data_frames():
    pandas = pytest.importorskip("pandas")
    _, X = model_and_data()
    names = ["left", "middle", "right"]
    index = [pandas.date_range("2026-01-01", periods=len(x)) for x in X]
    frames = [pandas.DataFrame(x, columns=names, index=i) for x, i in zip(X, index, strict=True)]
    model = RNNRNADE(n_components=2, n_hidden=3, n_recurrent=3, max_epochs=1, random_state=0).fit(frames)
    table = model.explain(frames, top=3)
    assert isinstance(table, pandas.DataFrame) and len(table) == 3
    for _, row in table.iterrows():
        assert row["index"] == index[row["sequence"]][row["frame"]]
        assert row["observed"] == frames[row["sequence"]][row["dimension"]].iloc[row["frame"]]
    rows = pandas.concat(frames)
    static = RNADE(n_components=2, n_hidden=3, max_epochs=1, random_state=0).fit(rows)
    table = static.explain(rows, top=3)
    assert all(row["index"] == rows.index[row["row"]] for _, row in table.iterrows())


# ---- thresholds ----------------------------------------------------------------------------------------------------


def threshold(values, rate=0.01, confidence=0.95):
    return alarm_threshold(values, rate, confidence)


def test_a_threshold_is_an_order_statistic():
    values = np.random.default_rng(0).permutation(np.arange(1.0, 1000.0))  # 999 of them: 1 ... 999
    assert threshold(values, 0.01).threshold == 10.0
    assert threshold(values, 0.001).threshold == 1.0
    found = threshold(values, 0.05, confidence=0.9)
    assert found.low < found.threshold < found.high
    inside = binom.cdf(found.high - 1, 999, 0.05) - binom.cdf(found.low - 1, 999, 0.05)
    assert 0.9 <= inside < 0.93
    assert threshold(values, 0.001).low == -np.inf
    assert threshold(values, 0.9995).high == np.inf
    for wrong, message in (((0.0,), "rate"), ((1.0,), "rate"), (("a",), "rate"), ((0.0009,), "at least 1111")):
        with pytest.raises(ValueError, match=message):
            threshold(values, *wrong)
    with pytest.raises(ValueError, match="confidence"):
        threshold(values, confidence=1.0)


@pytest.mark.parametrize("rounds", [300, pytest.param(10_000, marks=pytest.mark.full)])
def test_thresholds_keep_their_promises(rounds):
    generator = np.random.default_rng(0)
    n, rate, alarms, inside = 199, 0.05, [], []
    for _ in range(rounds):
        found = threshold(generator.standard_normal(n), rate)
        alarms.append(norm.cdf(found.threshold))  # of a further frame
        inside.append(found.low <= norm.ppf(rate) <= found.high)
    error = 3 * np.std(alarms) / np.sqrt(rounds)
    assert abs(np.mean(alarms) - rate) < error  # k / (n + 1) is exactly the rate
    assert np.mean(inside) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / rounds)


def test_a_threshold_for_a_model():
    model, X = model_and_data()
    found = model.alarm_threshold(X, rate=0.1)
    frames = np.sort(np.concatenate(model.score_frames(X)))
    assert found.threshold == frames[int(0.1 * (len(frames) + 1)) - 1]
    together = model.alarm_threshold(np.concatenate(X), rate=0.1, lengths=[len(x) for x in X])
    assert together == found


# ---- outliers ------------------------------------------------------------------------------------------------------

SMALL = {"n_components": 2, "n_hidden": 3, "max_epochs": 3, "random_state": 0}


def test_the_detector_stands_where_an_isolation_forest_stood():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((400, 3))
    X[:8] += 8
    for detector in (IsolationForest(contamination=0.02, random_state=0), OutlierDetector(RNADE(**SMALL), 0.02)):
        labels = make_pipeline(StandardScaler(), detector).fit_predict(X)
        assert labels.shape == (400,) and set(np.flatnonzero(labels == -1)) == set(range(8))
        detector = clone(detector).fit(X)
        assert_same_bits(detector.predict(X), np.where(detector.decision_function(X) >= 0, 1, -1))
        assert_near(detector.decision_function(X), detector.score_samples(X) - detector.offset_, 0)
        assert (detector.predict(X) == -1).sum() == 8
    assert_same_bits(detector.score_samples(X), detector.model_.score_samples(X))
    for contamination in (0.0, 0.6, "auto"):
        with pytest.raises(ValueError, match="contamination"):
            OutlierDetector(RNADE(**SMALL), contamination).fit(X)


def test_the_detector_of_sequences_judges_frames():
    _, X = model_and_data()
    model = RNNRNADE(n_recurrent=3, **SMALL).fit(X[1:])
    detector = OutlierDetector(FrozenEstimator(model), contamination=0.1).fit(X)
    assert detector.n_features_in_ == 3
    assert_same_bits(detector.score_samples(X), model.score_frames(X))
    labels = detector.predict(X)
    assert [x.shape for x in labels] == [(len(x),) for x in X]
    assert_same_bits(detector.predict(X[0]), labels[0])
    frames = np.concatenate(labels)
    assert abs((frames == -1).mean() - 0.1) <= 1 / len(frames)


def test_the_detector_explains():
    _, X = model_and_data()
    for model, data in ((RNADE(**SMALL), np.concatenate(X)), (RNNRNADE(n_recurrent=3, **SMALL), X)):
        detector = OutlierDetector(model).fit(data)
        assert detector.explain(data, 3, n_dims=2) == detector.model_.explain(data, 3, n_dims=2)


def test_an_absurd_number_is_an_outlier_and_no_reason_to_refuse_the_others():
    _, X = model_and_data()
    for dtype in ("float32", "float64"):
        for transform in ("standardize", None):
            model = RNADE(dtype=dtype, transform=transform, **SMALL).fit(np.concatenate(X))
            detector = OutlierDetector(FrozenEstimator(model), 0.1).fit(np.concatenate(X))
            rows = np.concatenate(X)
            rows[[2, 5], [1, 0]] = 1e300, -1e200
            scores = detector.score_samples(rows)
            assert_same_bits(np.delete(scores, [2, 5]), np.delete(model.score_samples(np.concatenate(X)), [2, 5]))
            assert scores[2] == scores[5] == -np.inf and (detector.predict(rows)[[2, 5]] == -1).all()
            assert detector.decision_function(rows)[2] == -np.inf
    for cell in ("sigmoid", "tanh", "gru", "lstm"):
        model = RNNRNADE(n_recurrent=3, cell=cell, **SMALL).fit(X)
        detector = OutlierDetector(FrozenEstimator(model), 0.1).fit(X)
        broken = [x.copy() for x in X]
        broken[1][4, 2] = -1e300
        found, expected = detector.score_samples(broken), model.score_frames(X)
        assert_same_bits(found[:1] + found[2:], expected[:1] + expected[2:])
        assert_same_bits(found[1][:4], expected[1][:4])
        assert found[1][4] == -np.inf and not np.isnan(found[1]).any()
        assert detector.predict(broken)[1][4] == -1
    rows[0, 0] = np.inf
    for call in (detector.fit, detector.predict):
        with pytest.raises(ValueError, match="infinity: sequence 0, frame 0, dimension 0"):
            call([rows])
    with pytest.raises(ValueError, match="too large for float32: sequence 1, frame 4, dimension 2"):
        detector.fit(broken)


def test_the_detector_takes_gaps_where_its_model_does():
    _, X = model_and_data()
    rows = np.concatenate(X)
    model = RNADE(missing="marginalize", transform="standardize", **SMALL).fit(rows)
    gaps = rows.copy()
    gaps[[1, 3], 2] = np.nan
    detector = OutlierDetector(FrozenEstimator(model), 0.1).fit(gaps)
    assert detector.offset_ == np.quantile(np.delete(model.score_samples(rows), [1, 3]), 0.1)  # of whole rows
    assert_same_bits(detector.score_samples(gaps), model.score_samples(gaps))
    with pytest.warns(UserWarning, match=rf"2 of {len(rows)} frames have gaps.*another scale") as record:
        labels = detector.predict(gaps)
    assert len(record) == 1
    assert_same_bits(labels, np.where(model.score_samples(gaps) >= detector.offset_, 1, -1))
    with pytest.raises(ValueError, match="NaN: row 1, dimension 2"):
        OutlierDetector(RNADE(**SMALL)).fit(rows).predict(gaps)


def test_the_detector_gives_tables_where_its_model_does():
    pandas = pytest.importorskip("pandas")
    _, X = model_and_data()
    index = pandas.date_range("2026-01-01", periods=len(X[0]))
    frames = pandas.DataFrame(X[0], columns=["a", "b", "c"], index=index)
    model = RNNRNADE(n_recurrent=3, validation_fraction=0, **SMALL).set_output(transform="pandas")
    detector = OutlierDetector(model, 0.2).fit(frames)
    plain = OutlierDetector(clone(model).set_output(transform="default"), 0.2).fit(frames)
    for call in ("score_samples", "decision_function", "predict"):
        found = getattr(detector, call)(frames)
        assert found.index.equals(index)
        assert_same_bits(found.to_numpy(), getattr(plain, call)(frames))


# ---- calibration ---------------------------------------------------------------------------------------------------


def test_a_calibration_report_counts():
    model, X = model_and_data(order=[2, 0, 1])
    report = model.calibration(X, n_bins=4)
    u = np.concatenate(model.cdf(X))
    M = len(u)
    assert report.names == ["x0", "x1", "x2", "all"] and report.n.tolist() == [M, M, M, 3 * M]
    for d, values in enumerate([*u.T, u.ravel()]):
        assert report.counts[d].tolist() == [np.sum((values >= a) & (values < a + 0.25)) for a in (0, 0.25, 0.5, 0.75)]
        test = kstest(values, "uniform")
        assert (report.ks_statistic[d], report.ks_pvalue[d]) == (test.statistic, test.pvalue)
        for level, share in zip(report.nominal, report.coverage[d], strict=True):
            tail = (1 - level) / 2
            assert share == np.mean((values >= tail) & (values <= 1 - tail))
    lines = repr(report).splitlines()
    assert len(lines) == 5 and len(set(map(len, lines))) == 1 and lines[-1].startswith("all")
    static, rows = Case(D=3, H=5, K=2, R=0, lengths=(30,)).model()
    assert static.calibration(rows).n.tolist() == [30, 30, 30, 90]
    for n_bins in (0, 2.5, True):
        with pytest.raises(ValueError, match="n_bins"):
            model.calibration(X, n_bins=n_bins)
    binary, Z = Case(D=3, H=4, K=1, R=3, lengths=(5, 2), head="bernoulli").model()
    with pytest.raises(ValueError, match="continuous data"):
        binary.calibration(Z)


def test_a_calibration_report_tells_right_from_wrong():
    model, _ = model_and_data()
    draws = list(model.sample(200, 10, random_state=0))
    right = model.calibration(draws)
    assert np.all(right.ks_pvalue > 0.001) and np.abs(right.coverage - right.nominal).max() < 0.04
    parameters = dict(model.parameters_)
    for factor, side in ((2.0, 1), (0.5, -1)):
        other = {**parameters, "b_sigma": parameters["b_sigma"] + np.log(factor)}
        wrong = RNNRNADE.from_parameters(other, transform=model.transform_, min_scale=1e-3).calibration(draws)
        assert np.all(wrong.ks_pvalue < 1e-6)
        assert np.all(side * (wrong.coverage - wrong.nominal)[:, 3:-3] > 0.05)


# ---- forecasts -----------------------------------------------------------------------------------------------------


def test_quantiles_of_forecasts():
    model, X = model_and_data()
    draws = model.forecast(X, 4, 50, random_state=0)
    found = quantiles(draws, [0.1, 0.5])
    assert [f.shape for f in found] == [(2, 4, 3)] * 4
    assert_near(found[1][1], np.median(draws[1], axis=0), 1e-15)
    assert_same_bits(quantiles(draws[1], 0.5), found[1][1])
    assert quantiles(draws[1]).shape == (5, 4, 3)
    with pytest.raises(ValueError, match="n_samples, horizon, D"):
        quantiles(draws[1][0])


def test_energy_score_is_its_definition():
    generator = np.random.default_rng(0)
    draws, truth = generator.standard_normal((6, 4, 3)), generator.standard_normal((4, 3))
    found, joint = energy_score(draws, truth), energy_score(draws, truth, joint=True)
    assert found.shape == (4,) and isinstance(joint, float)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    for t in range(4):
        first = np.mean([np.linalg.norm(x[t] - truth[t]) for x in draws])
        second = np.mean([np.linalg.norm(draws[i, t] - draws[j, t]) for i, j in pairs])
        assert_near(found[t], first - second / 2, 1e-14)
    first = np.mean([np.linalg.norm(x - truth) for x in draws])
    assert_near(joint, first - np.mean([np.linalg.norm(draws[i] - draws[j]) for i, j in pairs]) / 2, 1e-14)
    assert_same_bits(energy_score([draws, draws], [truth, truth]), [found, found])
    for wrong, message in (
        ((draws, truth[:2]), "truth has shape"),
        ((draws[:1], truth), "at least two"),
        (([draws], [truth, truth]), "samples are of 1 sequences"),
        ((draws[0], truth), "n_samples, horizon, D"),
    ):
        with pytest.raises(ValueError, match=message):
            energy_score(*wrong)


@pytest.mark.parametrize("rounds", [400, pytest.param(20_000, marks=pytest.mark.full)])
def test_energy_score_is_unbiased_and_in_one_dimension_the_crps(rounds):
    from rnnrnade.distributions import MixtureOfGaussians

    generator = np.random.default_rng(0)
    truth = np.linspace(-2, 2, 5)
    draws = generator.standard_normal((rounds, 3, 5, 1))  # three draws only
    found = np.array([energy_score(x, truth[:, None]) for x in draws])
    expected = MixtureOfGaussians([1.0], [0.0], [1.0]).crps(truth)
    assert np.all(np.abs(found.mean(0) - expected) < 4 * found.std(0) / np.sqrt(rounds))


def test_a_detector_refuses_a_model_without_exact_densities_before_it_fits_it():
    X = np.random.default_rng(0).normal(size=(40, 2))
    for model in (VAE(max_epochs=1), GaussianMixture()):
        with pytest.raises(TypeError, match="model must be an estimator of this library with exact log-densities"):
            OutlierDetector(model).fit(X)
