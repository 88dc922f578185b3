"""Results as tables: they keep the index of X or continue it, and hold the numbers of the arrays."""

import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, small_model
from sklearn.base import clone

from rnnrnade import NADE, RNADE, RNNRNADE, SequenceBatch
from rnnrnade.forecasting import energy_score, quantiles
from rnnrnade.labels import following

pandas = pytest.importorskip("pandas")

NAMES = ["x", "y"]
SMALL = {"n_components": 2, "n_hidden": 3, "max_epochs": 1, "random_state": 0, "missing": "marginalize"}
KEYS, LENGTHS = ["b", "a", "c"], [6, 4, 5]
FRAMES = np.random.default_rng(0).normal(size=(15, 2)).cumsum(axis=0)
HOURS = [pandas.date_range("2026-01-01", periods=n, freq="h", name="hour") for n in LENGTHS]
PARTS = [
    pandas.DataFrame(x, columns=NAMES, index=hours)
    for x, hours in zip(np.split(FRAMES, np.cumsum(LENGTHS)[:-1]), HOURS, strict=True)
]
PANEL = pandas.concat(PARTS, keys=KEYS, names=["pump"]).sample(frac=1, random_state=1)
BATCH = SequenceBatch.from_frame(PANEL, key="pump", time="hour")


@pytest.fixture(scope="module")
def models():
    """One that gives arrays, and the same that gives tables."""
    model = RNNRNADE(n_recurrent=3, validation_fraction=0, **SMALL).fit(PARTS)
    return model, pickle.loads(pickle.dumps(model)).set_output(transform="pandas")


@pytest.fixture(scope="module")
def of_vectors():
    model = RNADE(validation_fraction=0, **SMALL).fit(PARTS[0])
    return model, pickle.loads(pickle.dumps(model)).set_output(transform="pandas")


# Calls whose result belongs to frames: name, further arguments.
CALLS = {
    "score_frames": (),
    "score_dims": (),
    "cdf": (),
    "crps": (),
    "mean": (),
    "var": (),
    "to_normal": (),
    "from_normal": (),
    "ppf": (0.5,),
    "ppf of several": ([0.1, 0.9],),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_of_frames_keep_the_index(models, of_vectors, name):
    model, tables = models
    call = name.split()[0]

    def both(X, pair=(model, tables)):
        return (getattr(one, call)(X, *CALLS[name]) for one in pair)

    def check(table, array, index):
        assert table.index.equals(index)
        assert_same_bits(table.to_numpy().reshape(array.shape), array)
        if array.ndim == 1:
            assert isinstance(table, pandas.Series) and table.name == "log_density"
        elif array.ndim == 2:
            assert table.columns.tolist() == NAMES
        else:
            assert table.columns.tolist() == [("x", 0.1), ("x", 0.9), ("y", 0.1), ("y", 0.9)]

    array, table = both(PARTS[0])
    check(table, array, HOURS[0])
    for X, keys in ((PARTS, KEYS), (BATCH, BATCH.keys)):
        arrays, found = both(X)
        for key, array, table in zip(keys, arrays, found, strict=True):
            check(table, array, HOURS[KEYS.index(key)])
    arrays, table = both(PANEL)  # one table, one table back, row for row
    assert table.index.equals(PANEL.index)
    for key, array in zip(BATCH.keys, arrays, strict=True):
        check(table.loc[key].sort_index(), array, HOURS[KEYS.index(key)])
    array, table = both(PARTS[0], of_vectors)
    check(table, array, HOURS[0])
    with pytest.warns(UserWarning, match="valid feature names"):
        array, table = both(FRAMES)
    check(table, array, pandas.RangeIndex(15))


def test_scores_of_sequences_are_labelled_by_their_keys(models, of_vectors):
    model, tables = models
    expected = dict(zip(KEYS, model.score_samples(PARTS), strict=True))
    for X in (PANEL, BATCH):
        assert tables.score_samples(X).to_dict() == expected
    assert model.score_samples(PANEL).to_dict() == expected
    assert isinstance(model.score_samples(BATCH), np.ndarray)
    assert tables.score_samples(PARTS).tolist() == list(expected.values())
    assert tables.score_samples(PARTS[0]).index.equals(HOURS[0])
    assert tables.score(PANEL) == model.score(PANEL) == model.score(BATCH)
    several = pandas.concat([PANEL], keys=["site"], names=["where"])
    assert tables.score_samples(several).index.names == ["where", "pump"]
    assert tables.score_samples(several).loc["site"].to_dict() == expected
    total, error = tables.log_likelihood_missing(PANEL)
    assert total.to_dict() == expected and error.to_dict() == dict.fromkeys(KEYS, 0.0)
    assert of_vectors[1].score_samples(PARTS[0]).index.equals(HOURS[0])
    assert of_vectors[1].log_likelihood_missing(PARTS[0]).log_likelihood.index.equals(HOURS[0])


def test_parameters_have_a_column_for_each_component(models):
    model, tables = models
    for array, table in zip(model.predict_params(PARTS[0]), tables.predict_params(PARTS[0]), strict=True):
        assert table.columns.tolist() == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]
        assert_same_bits(table.to_numpy().reshape(array.shape), array)
    binary, X = small_model("RNNNADE", validation_fraction=0)
    binary.set_output(transform="pandas").fit(X)
    assert binary.predict_params(X[0]).p.columns.tolist() == ["x0", "x1", "x2"]


def test_draws_have_the_index_draw_and_time(models, of_vectors):
    model, tables = models
    options = {"n_samples": 3, "random_state": 0}
    arrays, found = model.forecast(BATCH, 2, **options), tables.forecast(BATCH, 2, **options)
    for key, array, table in zip(BATCH.keys, arrays, found, strict=True):
        assert table.index.names == ["draw", "hour"] and table.columns.tolist() == NAMES
        after = HOURS[KEYS.index(key)][-1] + pandas.to_timedelta([1, 2], unit="h")
        assert table.index.tolist() == [(draw, time) for draw in range(3) for time in after]
        assert_same_bits(table.to_numpy().reshape(array.shape), array)
    together = tables.forecast(PANEL, 2, **options)
    assert together.index.names == ["pump", "draw", "hour"]
    for key, array in zip(BATCH.keys, arrays, strict=True):
        assert_same_bits(together.loc[key].to_numpy().reshape(array.shape), array)
    alone = tables.forecast(PARTS[0], 2, **options)
    assert alone.equals(tables.sample(3, 2, given=PARTS[0], random_state=0))
    assert alone.loc[0].index.tolist() == list(HOURS[0][-1] + pandas.to_timedelta([1, 2], unit="h"))
    fresh = tables.sample(3, 2, random_state=0)
    assert fresh.index.tolist() == [(draw, t) for draw in range(3) for t in range(2)]
    assert fresh.index.names == ["draw", "time"]
    assert_same_bits(fresh.to_numpy().reshape(3, 2, 2), model.sample(3, 2, random_state=0))
    vectors = of_vectors[1].sample(3, random_state=0)
    assert vectors.columns.tolist() == NAMES and vectors.index.tolist() == [0, 1, 2]


def test_imputations_keep_the_index(models, of_vectors):
    model, tables = models
    X = [part.copy() for part in PARTS]
    X[1].iloc[-1, 1] = np.nan
    for array, table, hours in zip(model.impute(X, 2), tables.impute(X, 2), HOURS, strict=True):
        assert table.index.tolist() == [(draw, time) for draw in range(2) for time in hours]
        assert_same_bits(table.to_numpy().reshape(array.shape), array)
    array, table = (one.impute(X[1], 2) for one in of_vectors)
    assert table.index.tolist() == [(draw, time) for draw in range(2) for time in HOURS[1]]
    assert_same_bits(table.to_numpy().reshape(array.shape), array)


# What comes before, and what follows.
FOLLOWING = {
    "numbers from 0": (pandas.RangeIndex(5), [5, 6, 7]),
    "steps of two": (pandas.Index([1, 3, 5]), [7, 9, 11]),
    "backwards": (pandas.RangeIndex(9, 0, -3), [0, -3, -6]),
    "fractions": (pandas.Index([0.1, 0.2, 0.3]), [0.4, 0.5, 0.6]),
    "hours": (HOURS[0], list(pandas.date_range("2026-01-01T06", periods=3, freq="h"))),
    "months": (
        pandas.DatetimeIndex(pandas.date_range("2026-01-01", periods=5, freq="MS").to_list()),
        list(pandas.date_range("2026-06-01", periods=3, freq="MS")),
    ),
    "business days": (
        pandas.DatetimeIndex(pandas.date_range("2026-01-05", periods=10, freq="B").to_list()),
        list(pandas.date_range("2026-01-19", periods=3, freq="B")),
    ),
    "two dates": (
        pandas.DatetimeIndex(["2026-01-01", "2026-01-03"]),
        list(pandas.date_range("2026-01-05", periods=3, freq="2D")),
    ),
    "periods": (
        pandas.period_range("2026-01", periods=4, freq="M"),
        list(pandas.period_range("2026-05", periods=3, freq="M")),
    ),
    "durations": (pandas.to_timedelta([0, 5, 10], unit="s"), list(pandas.to_timedelta([15, 20, 25], unit="s"))),
    "unequal steps": (pandas.Index([0, 1, 5]), [3, 4, 5]),
    "unequal dates": (pandas.DatetimeIndex(["2026-01-01", "2026-01-03", "2026-01-09"]), [3, 4, 5]),
    "one frame": (pandas.DatetimeIndex(["2026-01-01"]), [1, 2, 3]),
    "names": (pandas.Index(["a", "b"]), [2, 3, 4]),
    "no index": (None, [7, 8, 9]),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_follows_continues_the_index(name):
    index, expected = FOLLOWING[name]
    found = following(index, 7 if index is None else len(index), 3)
    assert len(found) == 3
    if name == "fractions":
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    else:
        assert found.tolist() == expected


def test_forecasts_in_tables_can_be_judged_and_drawn(models):
    pytest.importorskip("matplotlib")
    from rnnrnade import plotting

    model, tables = models
    options = {"n_samples": 5, "random_state": 0}
    array, table = model.forecast(PARTS[0], 2, **options), tables.forecast(PARTS[0], 2, **options)
    median = quantiles(table, 0.5)
    assert_same_bits(median.to_numpy(), quantiles(array, 0.5))
    assert median.index.equals(table.loc[0].index) and median.columns.tolist() == NAMES
    fan = quantiles(table, [0.1, 0.9])
    assert fan.index.names == ["q", "hour"]
    assert_same_bits(fan.loc[0.9].to_numpy(), quantiles(array, 0.9))
    of_panel = quantiles(tables.forecast(PANEL, 2, **options), [0.1, 0.9])
    assert of_panel.index.names == ["pump", "q", "hour"]
    for key, draws in zip(BATCH.keys, model.forecast(BATCH, 2, **options), strict=True):
        assert_same_bits(of_panel.loc[key].loc[0.1].to_numpy(), quantiles(draws, 0.1))
    truth = np.zeros((2, 2))
    assert_same_bits(energy_score(table, truth), energy_score(array, truth))
    with pytest.raises(ValueError, match=r"index \(draw, time\)"):
        energy_score(tables.forecast(PANEL, 2, **options), truth)
    lines = [plotting.fan_chart(draws, past=PARTS[0]).get_lines()[0] for draws in (array, table)]
    assert_same_bits(*(line.get_ydata() for line in lines))
    pictures = [plotting.conditional_densities(one, PARTS[0], 3)[1].get_lines()[0] for one in models]
    assert_same_bits(*(line.get_ydata() for line in pictures))
    drawn = plotting.samples_beside_data(PARTS, tables.sample(3, 4, random_state=0))
    assert len(drawn[0, 1].get_lines()) == 3


def test_the_choice_of_tables(models):
    model = RNADE()
    for wrong in ("polars", "arrays", 1):
        with pytest.raises(ValueError, match="transform='default' or 'pandas'"):
            model.set_output(transform=wrong)
    assert model.set_output(transform="pandas") is model
    assert isinstance(clone(model).fit(FRAMES).score_samples(FRAMES), pandas.Series)
    assert model.set_output() is model
    assert isinstance(model.fit(FRAMES).score_samples(FRAMES), pandas.Series)
    assert isinstance(model.set_output(transform="default").score_samples(FRAMES), np.ndarray)
    assert isinstance(models[1].explain(BATCH, 2), pandas.DataFrame)
    binary = NADE(max_epochs=1, random_state=0).set_output(transform="pandas").fit(np.eye(4)[[0, 1] * 5])
    assert binary.sample(3).columns.tolist() == ["x0", "x1", "x2", "x3"]
