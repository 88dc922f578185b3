"""The border: every accepted form of X gives the same packed frames, and every refusal names the place."""

import pickle
import warnings
from collections import deque
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from rnnrnade import RNADE, RNNRNADE
from rnnrnade.checks import BadEntry
from rnnrnade.sequences import (
    Sequences,
    check_absence_of_lengths,
    check_frame_weights,
    check_sequences,
    check_validation,
    check_vectors,
)


class Model(BaseEstimator):
    """Something to hold n_features_in_ and feature_names_in_."""

    def __init__(self, n_features=None, names=None):
        if n_features is not None:
            self.n_features_in_ = n_features
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)


LENGTHS = [3, 1, 4]
FRAMES = np.random.default_rng(0).normal(size=(8, 2))
LIST = np.split(FRAMES, [3, 4])


def object_array(items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


# ------------------------------------------------------------------------------------------- what is accepted

FORMS = {
    "list": (LIST, None, "list", LENGTHS),
    "tuple": (tuple(LIST), None, "list", LENGTHS),
    "deque": (deque(LIST), None, "list", LENGTHS),
    "list of nested lists": ([x.tolist() for x in LIST], None, "list", LENGTHS),
    "list of lists of arrays": ([list(x) for x in LIST], None, "list", LENGTHS),
    "nested tuples": (tuple(tuple(map(tuple, x)) for x in LIST), None, "list", LENGTHS),
    "object array": (object_array(LIST), None, "list", LENGTHS),
    "list of one": ([FRAMES], None, "list", [8]),
    "3-D array": (FRAMES.reshape(4, 2, 2), None, "3d", [2, 2, 2, 2]),
    "3-D object array": (FRAMES.reshape(4, 2, 2).astype(object), None, "3d", [2, 2, 2, 2]),
    "2-D array": (FRAMES, None, "2d", [8]),
    "2-D object array": (FRAMES.astype(object), None, "2d", [8]),
    "list of lists of numbers": (FRAMES.tolist(), None, "2d", [8]),
    "list of tuples of numbers": ([tuple(x) for x in FRAMES], None, "2d", [8]),
    "lengths": (FRAMES, LENGTHS, "lengths", LENGTHS),
    "lengths, nested lists": (FRAMES.tolist(), np.array(LENGTHS, dtype=np.uint64), "lengths", LENGTHS),
}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_frames(name, reset):
    X, lengths, form, expected = FORMS[name]
    model = Model() if reset else Model(2)
    sequences = check_sequences(model, X, lengths, reset=reset)
    assert sequences.form == form
    assert model.n_features_in_ == 2 and not hasattr(model, "feature_names_in_")
    assert_array_equal(sequences.frames, FRAMES, strict=True)
    assert_array_equal(sequences.offsets, np.cumsum([0, *expected]))
    assert sequences.offsets.dtype == np.int64 and sequences.frames.flags.c_contiguous
    assert_array_equal(sequences.lengths, expected)
    assert (sequences.n_sequences, sequences.n_frames, sequences.n_features) == (len(expected), 8, 2)


@pytest.mark.parametrize("reset", [True, False])
def test_vectors(reset):
    for X in (FRAMES, FRAMES.tolist(), FRAMES.astype(object), np.asfortranarray(FRAMES)):
        sequences = check_vectors(Model(2), X, reset=reset)
        assert sequences.form == "vectors"
        assert_array_equal(sequences.frames, FRAMES, strict=True)
        assert_array_equal(sequences.offsets, np.arange(9), strict=True)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


# name: (the same numbers stored otherwise, dtype after)
STORED = {
    "float64": (lambda x: x, np.float64),
    "float32": (lambda x: x.astype(np.float32), np.float32),
    "float16": (lambda x: x.astype(np.float16), np.float64),
    "longdouble": (lambda x: x.astype(np.longdouble), np.float64),
    "int64": (lambda x: x.astype(np.int64), np.float64),
    "uint8": (lambda x: x.astype(np.uint8), np.float64),
    "bool": (lambda x: x.astype(bool), np.float64),
    "object": (lambda x: x.astype(object), np.float64),
    "big-endian float64": (lambda x: x.astype(">f8"), np.float64),
    "big-endian float32": (lambda x: x.astype(">f4"), np.float64),
    "Fortran": (np.asfortranarray, np.float64),
    "Fortran float32": (lambda x: np.asfortranarray(x, dtype=np.float32), np.float32),
    "strided rows": (lambda x: np.repeat(x, 2, axis=0)[::2], np.float64),
    "strided columns": (lambda x: np.repeat(x, 2, axis=1)[:, ::2], np.float64),
    "reversed": (lambda x: x[::-1].copy()[::-1], np.float64),
    "read-only": (read_only, np.float64),
    "subclass": (lambda x: x.view(type("Sub", (np.ndarray,), {})), np.float64),
    "unmasked": (np.ma.asarray, np.float64),
}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("name", STORED)
def test_every_way_to_store_numbers_is_accepted(name, reset):
    store, dtype = STORED[name]
    frames = (FRAMES > 0).astype(float)  # numbers that every dtype holds
    before = frames.copy()
    for sequences in (
        check_sequences(Model(2), [store(x) for x in np.split(frames, [3, 4])], reset=reset),
        check_sequences(Model(2), [store(frames)], reset=reset),
        check_sequences(Model(2), store(frames), reset=reset),
        check_sequences(Model(2), store(frames), LENGTHS, reset=reset),
        check_sequences(Model(2), store(frames.reshape(2, 4, 2)), reset=reset),
        check_vectors(Model(2), store(frames), reset=reset, binary=True),
    ):
        assert_array_equal(sequences.frames, frames.astype(dtype), strict=True)
        assert type(sequences.frames) in (np.ndarray, np.ma.MaskedArray, type(store(frames)))
        assert sequences.frames.flags.c_contiguous and sequences.frames.dtype.isnative
    assert_array_equal(frames, before)


def test_mixed_dtypes_are_float64_only_if_they_must():
    x32, x64 = FRAMES[:3].astype(np.float32), FRAMES[3:]
    assert check_sequences(Model(), [x32, x32], reset=True).frames.dtype == np.float32
    assert check_sequences(Model(), [x32, x64], reset=True).frames.dtype == np.float64
    assert check_sequences(Model(), [x32, x32.astype(int)], reset=True).frames.dtype == np.float64


def test_large_finite_numbers_are_no_infinity():
    for dtype in (np.float32, np.float64):
        frames = np.full((4, 2), np.finfo(dtype).max, dtype=dtype)
        frames[::2] *= -1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_vectors(Model(), frames, reset=True)
            check_vectors(Model(), np.abs(frames), reset=True)


def test_a_native_array_is_not_copied():
    assert np.shares_memory(check_vectors(Model(2), FRAMES, reset=False).frames, FRAMES)
    assert np.shares_memory(check_sequences(Model(2), [FRAMES], reset=False).frames, FRAMES)
    X = FRAMES.reshape(4, 2, 2)
    assert np.shares_memory(check_sequences(Model(2), X, reset=False).frames, X)


# ------------------------------------------------------------------------------------------------ data frames


def test_data_frames_and_their_names():
    pd = pytest.importorskip("pandas")
    frames = [pd.DataFrame(x, columns=["a", "b"]) for x in LIST]
    whole = pd.DataFrame(FRAMES, columns=["a", "b"])
    for X, lengths, form in ((frames, None, "list"), (whole, None, "2d"), (whole, LENGTHS, "lengths")):
        model = Model()
        sequences = check_sequences(model, X, lengths, reset=True)
        assert sequences.form == form
        assert_array_equal(sequences.frames, FRAMES)
        assert list(model.feature_names_in_) == ["a", "b"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_sequences(model, X, lengths, reset=False)
        with pytest.warns(UserWarning, match="X does not have valid feature names") as record:
            check_sequences(model, LIST, reset=False)
        assert len(record) == 1
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            check_sequences(model, FRAMES, reset=False)
        check_sequences(model, LIST, reset=True)  # forgets them
        assert not hasattr(model, "feature_names_in_")
        with pytest.warns(UserWarning, match="X has feature names, but Model was fitted without"):
            check_sequences(model, X, lengths, reset=False)

    model = Model()
    check_sequences(model, frames, reset=True)
    swapped = frames[1][["b", "a"]]
    for reset in (True, False):
        with pytest.raises(ValueError, match="sequence 1: The feature names should match"):
            check_sequences(model, [frames[0], swapped, frames[2]], reset=reset)
    with pytest.raises(ValueError, match="The feature names should match"):
        check_sequences(model, swapped, reset=False)
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        check_sequences(Model(), [pd.DataFrame(FRAMES, columns=["a", 1])], reset=True)

    broken = frames[2].copy()
    broken.iloc[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN: sequence 2, frame 1, dimension 1 \('b'\)"):
        check_sequences(Model(), [*frames[:2], broken], reset=True)


def test_nullable_columns_of_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": pd.array([0.5, 1.5], dtype="Float64")})
    assert_array_equal(check_sequences(Model(), [frame], reset=True).frames, [[1, 0.5], [2, 1.5]])
    frame.loc[1, "a"] = pd.NA
    with pytest.raises(ValueError, match="NaN: sequence 0, frame 1, dimension 0"):
        check_sequences(Model(), frame, reset=True)
    with pytest.raises(ValueError, match="strings"):
        check_sequences(Model(), pd.DataFrame({"a": ["1", "2"]}), reset=True)


def test_data_frames_of_polars():
    pl = pytest.importorskip("polars")
    model = Model()
    frames = [pl.DataFrame(x, schema=["a", "b"]) for x in LIST]
    assert_array_equal(check_sequences(model, frames, reset=True).frames, FRAMES)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert check_sequences(model, frames[0], reset=False).form == "2d"


# ------------------------------------------------------------------------- one table of several sequences


def panels():
    """A DataFrame whose index has levels, one with a column "sequence", and which row of each is which packed frame."""
    pd = pytest.importorskip("pandas")
    keys, times = np.repeat(["b", "a", "c"], LENGTHS), np.concatenate([np.arange(n) for n in LENGTHS])
    order = np.array([0, 4, 1, 3, 7, 2, 5, 6])  # rows of several sequences mixed; first b, then c, then a
    index = pd.MultiIndex.from_arrays([keys, times], names=["pump", "hour"])
    by_levels = pd.DataFrame(FRAMES, index=index, columns=["x", "y"]).iloc[order]
    in_order = np.array([0, 4, 1, 2, 3, 5, 6, 7])  # without times the order of the rows is that of the frames
    by_column = pd.DataFrame({"sequence": keys, "x": FRAMES[:, 0], "y": FRAMES[:, 1]}).iloc[in_order]
    return {"levels": (by_levels, order), "column": (by_column, in_order)}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("kind", ["levels", "column"])
def test_one_table_of_several_sequences_is_split(kind, reset):
    X, order = panels()[kind]
    model = Model() if reset else Model(2, ["x", "y"])
    data = check_sequences(model, X, reset=reset)
    assert (data.form, data.labels.keys, data.lengths.tolist()) == ("panel", ["b", "c", "a"], [3, 4, 1])
    assert_array_equal(data.frames, np.concatenate([LIST[0], LIST[2], LIST[1]]), strict=True)
    assert model.feature_names_in_.tolist() == ["x", "y"]
    assert_array_equal(order[data.labels.rows], [0, 1, 2, 4, 5, 6, 7, 3])
    scores = data.per_item(np.arange(8.0))
    assert scores.to_dict() == {"b": 3.0, "c": 18.0, "a": 7.0}
    pd = pytest.importorskip("pandas")
    weights = check_frame_weights(pd.Series({"a": 1, "b": 2, "c": 4}), data)
    assert_array_equal(weights, [2, 2, 2, 4, 4, 4, 4, 1])
    assert_array_equal(check_frame_weights([1, 2, 3], data), [1, 1, 1, 2, 2, 2, 2, 3])
    with pytest.raises(ValueError, match="labels are not the keys"):
        check_frame_weights(pd.Series({"a": 1, "b": 2, "d": 4}), data)
    broken, t = X.copy(), order[6] - 4
    broken.iloc[6, 1 if kind == "levels" else 2] = np.nan
    with pytest.raises(ValueError, match=rf"NaN: sequence 1 \('c'\), frame {t}, dimension 1 \('y'\) \(row 6 of X\)"):
        check_sequences(Model(2, ["x", "y"]), broken, reset=reset)


def test_a_table_of_polars_with_a_column_sequence_is_split():
    pl = pytest.importorskip("polars")
    X, _ = panels()["column"]
    data = check_sequences(Model(), pl.DataFrame({name: X[name].tolist() for name in X}), reset=True)
    assert (data.form, data.labels.keys) == ("panel", ["b", "c", "a"])
    assert_array_equal(data.per_item(np.arange(8.0)), [3.0, 18.0, 7.0])


def test_what_tells_sequences_apart_is_said_once():
    (by_levels, _), (by_column, _) = panels().values()
    data = check_sequences(Model(), by_levels, LENGTHS, reset=True)  # what the caller says holds
    assert (data.form, data.lengths.tolist()) == ("lengths", LENGTHS)
    with pytest.raises(ValueError, match="lengths= and the column 'sequence'"):
        check_sequences(Model(), by_column, LENGTHS, reset=True)
    with pytest.raises(ValueError, match="an index of several levels and a column 'sequence'"):
        check_sequences(Model(), by_levels.assign(sequence=1), reset=True)
    twice = by_levels.set_axis(by_levels.index.set_levels([0] * 4, level=1, verify_integrity=False))
    with pytest.raises(ValueError, match="has hour=0 twice"):
        check_sequences(Model(), twice, reset=True)
    with pytest.raises(ValueError, match="never repeats a value: each of the 8 rows"):
        check_sequences(Model(), by_column.assign(sequence=range(8)), reset=True)
    with pytest.raises(ValueError, match="several columns named 'x'"):
        check_sequences(Model(), by_column.set_axis(["sequence", "x", "x"], axis=1), reset=True)
    # A feature may be called so, too: of a batch that was cut by another column.
    feature = check_sequences(Model(2, ["sequence", "x"]), by_column[["sequence", "x"]].assign(sequence=0), reset=False)
    assert feature.form == "2d"
    assert check_vectors(Model(), by_levels, reset=True).n_sequences == 8  # rows are rows, whatever they are called


@pytest.mark.parametrize("y", [[3, 1, 4], np.array([8]), [3, 1], (1.0, 2.0), "12", 5, np.float64(3)])
def test_lengths_in_the_place_of_y_are_refused(y):
    data = check_sequences(Model(), FRAMES, reset=True)
    with pytest.raises(TypeError, match=r"second argument, y, is ignored: .* write lengths=\."):
        check_absence_of_lengths(y, data, "Model")
    with pytest.raises(TypeError, match="Model takes vectors, one in each row, which have no lengths"):
        check_absence_of_lengths(y, check_vectors(Model(), FRAMES, reset=True), "Model")


def test_labels_of_items_are_harmless():
    class NotAnArray:
        def __array__(self, dtype=None, copy=None):
            return np.zeros(8)

    for y in (None, np.zeros(8), [0] * 8, ["a"] * 8, np.zeros((8, 2)), SPARSE, NotAnArray()):
        check_absence_of_lengths(y, check_sequences(Model(), FRAMES, reset=True), "Model")
        check_absence_of_lengths(y, check_vectors(Model(), FRAMES, reset=True), "Model")
        check_absence_of_lengths(y, check_sequences(Model(), FRAMES, LENGTHS, reset=True), "Model")
    check_absence_of_lengths([0, 1, 0], check_sequences(Model(), LIST, reset=True), "Model")
    check_absence_of_lengths([0, 1, 0], check_sequences(Model(), FRAMES, LENGTHS, reset=True), "Model")


def test_axes_that_look_like_channels_and_time_are_named_once():
    X = np.zeros((4, 2, 9))
    with pytest.warns(UserWarning, match=r"4 sequences of 2 frames of 9 dimensions.*X.transpose\(0, 2, 1\)") as record:
        check_sequences(Model(), X, reset=True)
    assert len(record) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_sequences(Model(), X.transpose(0, 2, 1), reset=True)
        check_sequences(Model(9), X, reset=False)
    with pytest.raises(ValueError, match=r"X has 9 features, but Model is expecting 2 .*X.transpose\(0, 2, 1\)"):
        check_sequences(Model(2), X, reset=False)


def test_dates_that_jump_are_named_once():
    pd = pytest.importorskip("pandas")
    regular = pd.date_range("2026-03-02 10:00", periods=8, freq="min")
    gap = regular[:5].append(regular[5:] + pd.Timedelta("2h"))
    quiet = {
        "regular": regular,
        "a little jitter": regular + pd.to_timedelta([0, 3, -5, 2, 0, 8, -4, 1], unit="s"),
        "months": pd.DatetimeIndex(pd.date_range("2026", periods=8, freq="MS").to_list()),
        "business days": pd.DatetimeIndex(pd.date_range("2026", periods=8, freq="B").to_list()),
        "the same date": pd.DatetimeIndex(["2026"] * 8),
        "numbers": [0, 1, 2, 3, 4, 100, 101, 102],
    }
    for name, index in quiet.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_sequences(Model(), pd.DataFrame(FRAMES, index=index), reset=True), name
    forms = {
        "one table": pd.DataFrame(FRAMES, index=gap),
        "with a time zone": pd.DataFrame(FRAMES, index=gap.tz_localize("Europe/Berlin")),
        "a list": [pd.DataFrame(FRAMES, index=regular), pd.DataFrame(FRAMES, index=gap)],
        "levels": pd.DataFrame(FRAMES, index=pd.MultiIndex.from_arrays([["a"] * 8, gap])),
    }
    for name, X in forms.items():
        with pytest.warns(UserWarning, match=r"jumps .* \(frame 4\) to .* \(frame 5\), .*split_at") as record:
            check_sequences(Model(), X, reset=True)
        assert len(record) == 1, name
    with pytest.warns(UserWarning, match=r"\(frame 0\) to 2026-03-02T10:05:00 \(frame 1\) and in 3 other places,"):
        check_sequences(Model(), pd.DataFrame(FRAMES, index=regular[[0, 5, 6, 1, 2, 7, 3, 4]]), reset=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vectors(Model(), pd.DataFrame(FRAMES, index=gap), reset=True)
        check_sequences(Model(), [pd.DataFrame(x, index=regular[: len(x)]) for x in LIST], reset=True)


# ----------------------------------------------------------------------------- tables of something else than numbers


def test_what_says_another_shape_than_it_has_is_refused():
    class Lies:
        shape = (8, 2)

        def __len__(self):
            return 8

        def __array__(self, dtype=None, copy=None):
            return np.zeros((8, 1))

    for reset in (True, False):
        for check in (check_sequences, check_vectors):
            with pytest.raises(ValueError, match="says that X has 2 features, but as an array it has 1"):
                check(Model(2), Lies(), reset=reset)


def test_two_columns_of_one_name_are_refused():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(FRAMES, columns=["x", "x"])
    for call in (lambda: check_vectors(Model(), X, reset=True), lambda: check_sequences(Model(), [X, X], reset=True)):
        with pytest.raises(ValueError, match="several columns named 'x'"):
            call()


def test_one_dimension_is_told_how_to_become_two():
    pd = pytest.importorskip("pandas")
    series = pd.Series(FRAMES[:, 0])
    with pytest.raises(ValueError, match=r"X.to_frame\(\) if each entry is a frame .* X.to_frame\(\).T if X is one"):
        check_sequences(Model(), series, reset=True)
    with pytest.raises(ValueError, match=r"X is a Series of length 8.*X.to_frame\(\) if each entry is a row"):
        check_vectors(Model(), series, reset=True)
    with pytest.raises(ValueError, match=r"sequence 0 is a Series.*x.to_frame\(\)"):
        check_sequences(Model(), [series, series], reset=True)
    with pytest.raises(ValueError, match=r"1-D, of length 8.*X.reshape\(-1, 1\) if each number is a row"):
        check_vectors(Model(), FRAMES[:, 0], reset=True)
    pl = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"X.to_frame\(\)"):
        check_sequences(Model(), pl.Series(FRAMES[:, 0]), reset=True)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_that_hold_no_numbers_are_named(library):
    module = pytest.importorskip(library)
    dates = np.array(["2026-01-01", "2026-01-02"], "M8[ms]")
    columns = {"dates": dates, "Python's dates": dates.astype("M8[D]").tolist(), "durations": dates - dates[0]}
    if library == "pandas":
        columns["a time zone"] = module.DatetimeIndex(dates).tz_localize("UTC")
        columns["periods"] = module.PeriodIndex(["2026-01", "2026-02"], freq="M")
    for name, values in columns.items():
        X = module.DataFrame({"x": [0.5, 1.5], "when": values})
        for refused in (
            lambda X=X: check_vectors(Model(), X, reset=True),
            lambda X=X: check_sequences(Model(), X, reset=True),
            lambda X=X: check_sequences(Model(), [X, X], reset=True),
        ):
            with pytest.raises(
                ValueError, match=r"column 'when'.*from_frame\(X, time='when'\).*X.drop\(columns='when'"
            ):
                refused(), name
    X = module.DataFrame({"x": [0.5, 1.5], "what": [{"a": 1}, {"a": 2}]})
    with pytest.raises(ValueError, match=r"X holds a dict in the column 'what', the first in row 0 \({'a': 1}\)"):
        check_vectors(Model(), X, reset=True)
    for values in (["a", "b"], [None, "b"]):
        with pytest.raises(ValueError, match=r"strings in the column 'who', the first in row . \('.'\)"):
            check_vectors(Model(), module.DataFrame({"x": [0.5, 1.5], "who": values}), reset=True)


# --------------------------------------------------------------------------------------------- what goes back


def test_one_rule_for_what_goes_back():
    values = np.random.default_rng(1).normal(size=8)
    table = values[:, None] * np.ones(2)
    for name, (X, lengths, form, expected) in FORMS.items():
        sequences = check_sequences(Model(), X, lengths, reset=True)
        per_item, parts = sequences.per_item(values), sequences.split(table)
        if form in ("list", "3d"):
            bounds = np.cumsum([0, *expected])
            assert_array_equal(per_item, [values[a:b].sum() for a, b in pairwise(bounds)])
            assert len(per_item) == sequences.item_is_sequence * len(X)
        else:
            assert per_item is values, name
        if form == "2d":
            assert parts is table
        else:
            assert [len(part) for part in parts] == expected
            assert_array_equal(np.concatenate(parts), table)
    vectors = check_vectors(Model(), FRAMES, reset=True)
    assert vectors.per_item(values) is values and vectors.split(table) is table


def test_a_sum_has_the_same_bits_in_any_batch():
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 300, size=40)
    parts = [rng.normal(size=n) for n in lengths]
    sequences = Sequences(np.zeros((lengths.sum(), 1)), np.cumsum([0, *lengths]), "list")
    alone = [Sequences(np.zeros((len(p), 1)), np.array([0, len(p)]), "list").per_item(p)[0] for p in parts]
    assert_array_equal(sequences.per_item(np.concatenate(parts)), alone)


def test_subset():
    for X, lengths, _, _ in FORMS.values():
        sequences = check_sequences(Model(), X, lengths, reset=True)
        index = np.arange(sequences.n_sequences)[::-1]
        part = sequences.subset(index)
        assert part.form == "list"
        parts = Sequences(sequences.frames, sequences.offsets, "list").split(sequences.frames)
        assert_array_equal(part.frames, np.concatenate(parts[::-1]))
        assert_array_equal(part.lengths, sequences.lengths[::-1])
    assert sequences.subset([]).n_frames == 0 and sequences.subset([]).n_sequences == 0
    vectors = check_vectors(Model(), FRAMES, reset=True).subset([5, 1])
    assert_array_equal(vectors.frames, FRAMES[[5, 1]])


# --------------------------------------------------------------------------------------------------- refusals


def with_entry(value, dtype=float):
    items = [x.astype(dtype) for x in LIST]
    items[2][1, 0] = value
    return items


SPARSE = pytest.importorskip("scipy.sparse").csr_matrix(FRAMES)
MASKED = np.ma.MaskedArray(FRAMES, mask=np.arange(16).reshape(8, 2) == 5)


def recursive():
    items = []
    items.append(items)
    return items


OBJECTS = with_entry({"a": 1}, object)

# (X, lengths, exception, pattern), for reset=True and reset=False alike
REFUSED = {
    "NaN": (with_entry(np.nan), None, ValueError, "NaN: sequence 2, frame 1, dimension 0"),
    "infinity": (with_entry(np.inf), None, ValueError, "infinity: sequence 2, frame 1, dimension 0"),
    "-infinity, float32": (with_entry(-np.inf, np.float32), None, ValueError, "sequence 2, frame 1, dim.* 0"),
    "NaN, 2-D": (np.concatenate(with_entry(np.nan)), None, ValueError, "sequence 0, frame 5, dimension 0"),
    "NaN, 3-D": (
        np.concatenate(with_entry(np.nan)).reshape(4, 2, 2),
        None,
        ValueError,
        "sequence 2, frame 1, d",
    ),
    "NaN, lengths": (
        np.concatenate(with_entry(np.nan)),
        LENGTHS,
        ValueError,
        r"sequence 2, frame 1, dimension 0 \(row 5 of X\)",
    ),
    "None in an object array": (with_entry(None, object), None, ValueError, "NaN: sequence 2, frame 1, dim"),
    "a dict in an object array": (
        OBJECTS,
        None,
        TypeError,
        "sequence 2: .*argument must be .* string.* number",
    ),
    "text in an object array": (
        with_entry("7", object),
        None,
        ValueError,
        r"sequence 2: .* at \[1, 0\] \('7'\)",
    ),
    "text": ([x.astype(str) for x in LIST], None, ValueError, "sequence 0: it holds strings"),
    "bytes": (FRAMES.astype("S"), None, ValueError, "X holds bytes"),
    "numbers as text in nested lists": ([["1", "2"], ["3", "4"]], None, ValueError, "X holds strings"),
    "dates": (FRAMES.astype("M8[s]"), None, ValueError, "X holds dates"),
    "complex": ([*LIST[:2], LIST[2] + 1j], None, ValueError, "sequence 2: Complex data not supported"),
    "complex 2-D": (FRAMES + 1j, None, ValueError, "Complex data not supported"),
    "sparse": (SPARSE, None, TypeError, "Sparse data was passed"),
    "sparse, which is a dict": (SPARSE.todok(), None, TypeError, "Sparse data was passed"),
    "sparse item": ([LIST[0], SPARSE], None, TypeError, "sequence 1: Sparse data was passed"),
    "masked": (MASKED, None, ValueError, r"masked entries, the first at \[2, 1\]"),
    "masked item": ([LIST[0], MASKED], None, ValueError, r"sequence 1: it has masked .* \[2, 1\]"),
    "masked 3-D": (MASKED.reshape(4, 2, 2), None, ValueError, "masked"),
    "matrix": (np.matrix(FRAMES), None, TypeError, "np.matrix is not supported"),
    "1-D": (FRAMES[:, 0], None, ValueError, r"Reshape your data: X.reshape\(-1, 1\) if each number is a frame"),
    "1-D list": (FRAMES[:, 0].tolist(), None, ValueError, "Reshape your data"),
    "1-D object array": (FRAMES[:, 0].astype(object), None, ValueError, "Reshape your data"),
    "1-D, lengths": (FRAMES[:, 0], LENGTHS, ValueError, "Reshape your data"),
    "a list of itself": (recursive(), None, ValueError, "X|sequence"),
    "an array of 64 axes": (np.array([recursive()], object), None, ValueError, "X has 64 axes|Found array with dim 64"),
    "a function": (len, None, TypeError, "X is <built-in function len> .*, but must be an array or a list of arrays"),
    "a huge int": ([[10**400, 1]], None, ValueError, r"X holds numbers too large for float64, the first at \[0, 0\]"),
    "an object": ([[1, object()]], None, TypeError, r"X holds a object, the first at \[0, 1\]"),
    "an empty DataFrame": (pd.DataFrame(), None, ValueError, r"X is a DataFrame of shape \(0, 0\)"),
    "0-D": (3.0, None, ValueError, "Expected 2D array, got scalar"),
    "4-D": (FRAMES.reshape(2, 2, 2, 2), None, ValueError, "X has 4 axes"),
    "list of 1-D arrays": (list(FRAMES), None, ValueError, r"sequence 0 is 1-D .*x.reshape\(-1, 1\)"),
    "tuple of 1-D arrays": (tuple(FRAMES.T), None, ValueError, r"sequence 0 is 1-D .*x.reshape\(-1, 1\)"),
    "object array of 1-D arrays": (object_array([FRAMES[:3, 0], FRAMES[:2, 0]]), None, ValueError, "reshape"),
    "one 1-D array among others": ([LIST[0], FRAMES[:, 0]], None, ValueError, "sequence 1 is 1-D"),
    "a list of numbers among others": ([LIST[0], [1.0, 2.0]], None, ValueError, "sequence 1 is 1-D"),
    "list of 3-D arrays": ([FRAMES.reshape(4, 2, 2)], None, ValueError, "sequence 0 has 3 axes"),
    "a number among sequences": ([*LIST, 3.0], None, TypeError, "sequence 3 is a float"),
    "None among sequences": ([LIST[0], None], None, TypeError, "sequence 1 is a NoneType"),
    "text among sequences": ([LIST[0], "abc"], None, TypeError, "sequence 1 is a str"),
    "a number among rows": (
        [[1.0, 2.0], 3.0],
        None,
        ValueError,
        "row 0 has 2 entries, but row 1 is a number",
    ),
    "ragged rows": ([[1.0, 2.0], [3.0]], None, ValueError, "X is ragged: row 0 has 2 .* row 1 has 1 e"),
    "ragged item": ([LIST[0], [[1.0, 2.0], [3.0]]], None, ValueError, "sequence 1: it is ragged"),
    "another D": ([LIST[0], FRAMES[:, :1]], None, ValueError, "sequence 1: X has 1 features.* 2 features"),
    "an empty sequence": ([LIST[0], np.empty((0, 2))], None, ValueError, "sequence 1 has no frames"),
    "an empty nested list": ([[[1.0, 2.0]], []], None, ValueError, "sequence 1 has no frames"),
    "an empty 1-D array": ([LIST[0], np.array([])], None, ValueError, "sequence 1 has no frames"),
    "no dimensions": ([np.empty((3, 0))], None, ValueError, r"sequence 0: .*0 feature\(s\)"),
    "no dimensions, 2-D": (
        np.empty((3, 0)),
        None,
        ValueError,
        r"0 feature\(s\) \(shape=\(3, 0\)\) while a minim",
    ),
    "no dimensions, 3-D": (
        np.empty((3, 2, 0)),
        None,
        ValueError,
        r"0 feature\(s\) \(shape=\(3, 2, 0\)\) while",
    ),
    "no frames, 2-D": (np.empty((0, 2)), None, ValueError, r"0 sample\(s\)"),
    "no frames, 3-D": (np.empty((3, 0, 2)), None, ValueError, r"0 frame\(s\)"),
    "no sequences, 3-D": (np.empty((0, 3, 2)), None, ValueError, r"0 sequence\(s\)"),
    "empty list": ([], None, ValueError, "empty list"),
    "empty object array": (object_array([]), None, ValueError, "empty list"),
    "None": (None, None, TypeError, "X is None"),
    "a string": ("abc", None, TypeError, "X is 'abc'"),
    "a dict": ({"a": LIST[0]}, None, TypeError, "X is a dict"),
    "a set": ({1.0, 2.0}, None, TypeError, "X is a set"),
    "a generator": ((x for x in LIST), None, TypeError, r"X is a generator.*list\(X\)"),
    "lengths with a list": (LIST, LENGTHS, ValueError, "already a list of sequences"),
    "lengths with a 3-D array": (FRAMES.reshape(4, 2, 2), [4, 4], ValueError, "already a 3-D array"),
    "lengths of another sum": (FRAMES, [3, 4], ValueError, "lengths sum to 7, but X has 8 frames"),
    "lengths with 0": (FRAMES, [4, 0, 4], ValueError, r"lengths\[1\] is 0"),
    "lengths below 0": (FRAMES, [10, -2], ValueError, r"lengths\[1\] is -2"),
    "lengths of floats": (FRAMES, [4.0, 4.0], TypeError, "lengths holds float64, expected integers"),
    "lengths of bools": (FRAMES, [True] * 8, TypeError, "lengths holds bool"),
    "lengths, a number": (FRAMES, 8, ValueError, r"lengths has shape \(\)"),
    "lengths, empty": (FRAMES, [], ValueError, r"lengths has shape \(0,\)"),
    "lengths that overflow": (FRAMES, [2**62] * 4 + [8], ValueError, "lengths sum to"),
}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_place(name, reset):
    X, lengths, exception, pattern = REFUSED[name]
    if name == "a generator":
        X = (x for x in LIST)
    with pytest.raises(exception, match=pattern):
        check_sequences(Model(2), X, lengths, reset=reset)


VECTORS_REFUSED = {
    "NaN": (np.concatenate(with_entry(np.nan)), ValueError, "NaN: row 5, dimension 0"),
    "list of 2-D arrays": (LIST, ValueError, "X is a list of 2-D arrays, but Model takes an array .n, D. with one"),
    "3-D": (FRAMES.reshape(4, 2, 2), ValueError, "dim 3"),
    "1-D": (FRAMES[:, 0], ValueError, "Reshape your data"),
    "empty list": ([], ValueError, "Reshape your data"),
    "no rows": (np.empty((0, 2)), ValueError, r"0 sample\(s\)"),
    "no columns": (np.empty((2, 0)), ValueError, r"0 feature\(s\)"),
    "another D": (FRAMES[:, :1], ValueError, "X has 1 features, but Model is expecting 2 features as input"),
    "sparse": (SPARSE, TypeError, "Sparse data was passed"),
    "text": (FRAMES.astype(str), ValueError, "X holds strings"),
    "complex": (FRAMES + 1j, ValueError, "Complex data not supported"),
    "masked": (MASKED, ValueError, "masked"),
    "None": (None, TypeError, "X is None"),
    "a dict": ({}, TypeError, "X is a dict"),
}


@pytest.mark.parametrize("name", VECTORS_REFUSED)
def test_vectors_refused_with_the_place(name):
    X, exception, pattern = VECTORS_REFUSED[name]
    with pytest.raises(exception, match=pattern):
        check_vectors(Model(2), X, reset=False)


@pytest.mark.parametrize("X", [[FRAMES, FRAMES], FRAMES, FRAMES.reshape(4, 2, 2)], ids=["list", "2d", "3d"])
def test_another_number_of_dimensions_than_in_fit(X):
    with pytest.raises(ValueError, match="X has 2 features, but Model is expecting 3 features as input"):
        check_sequences(Model(3), X, reset=False)


def test_binary():
    ones = [np.ones((2, 2), dtype=bool), np.zeros((3, 2), dtype=int)]
    assert check_sequences(Model(), ones, reset=True, binary=True).frames.sum() == 4
    for value in (2, 0.5, -1, 1 + 1e-12):
        X = [np.ones((2, 2)), np.zeros((3, 2))]
        X[1][2, 1] = value
        with pytest.raises(ValueError, match=f"contains {float(value)}: sequence 1, frame 2, dimension 1.*0 or 1"):
            check_sequences(Model(2), X, reset=False, binary=True)
        with pytest.raises(ValueError, match="row 4, dimension 1"):
            check_vectors(Model(2), np.concatenate(X), reset=False, binary=True)


def test_every_bad_entry_is_found_in_its_place():
    rng = np.random.default_rng(3)
    for _ in range(50):
        lengths = rng.integers(1, 9, size=rng.integers(1, 6))
        n_features = rng.integers(1, 5)
        X = [rng.normal(size=(n, n_features)) for n in lengths]
        i = rng.integers(len(X))
        t, d = rng.integers(lengths[i]), rng.integers(n_features)
        X[i][t, d] = rng.choice([np.nan, np.inf, -np.inf])
        with pytest.raises(ValueError, match=f": sequence {i}, frame {t}, dimension {d}[^0-9]"):
            check_sequences(Model(), X, reset=True)


# ---------------------------------------------------------------------------------------------------- weights


def test_frame_weights():
    as_list = check_sequences(Model(), LIST, reset=True)
    assert check_frame_weights(None, as_list) is None
    assert_array_equal(check_frame_weights([1, 0, 2], as_list), [1.0, 1, 1, 0, 2, 2, 2, 2], strict=True)
    assert_array_equal(check_frame_weights(2, as_list), np.full(8, 2.0), strict=True)
    for sequences in (
        check_sequences(Model(), FRAMES, reset=True),
        check_sequences(Model(), FRAMES, LENGTHS, reset=True),
        check_vectors(Model(), FRAMES, reset=True),
    ):
        assert_array_equal(check_frame_weights(np.arange(8, dtype=np.float32), sequences), np.arange(8.0), strict=True)
    pd = pytest.importorskip("pandas")
    assert_array_equal(check_frame_weights(pd.Series([1, 0, 2]), as_list)[:4], [1, 1, 1, 0])


@pytest.mark.parametrize(
    ("weights", "pattern"),
    [
        ([1, -0.5, 1], r"sample_weight\[1\] is -0.5: the weight of a sequence"),
        ([1, 1, np.nan], r"sample_weight\[2\] is nan"),
        ([np.inf, 1, 1], r"sample_weight\[0\] is inf"),
        ([1, 1], r"sample_weight has shape \(2,\), expected \(3,\): one weight for each sequence"),
        (np.ones(8), r"shape \(8,\), expected \(3,\)"),
        (np.ones((3, 2)), r"shape \(3, 2\), expected \(3,\)"),
        ([0, 0, 0], "sample_weight is zero everywhere"),
        (0, "sample_weight is zero everywhere"),
        (["1", "1", "1"], "sample_weight holds strings"),
        ([1, 1, 1j], "Complex data not supported"),
        ([], r"shape \(0,\)"),
        ([np.ones(3), np.ones(1), np.ones(4)], "sample_weight must be one number for each sequence.*lengths="),
        ([[1, 1, 1], [1], [1, 1]], "sample_weight must be one number for each sequence"),
    ],
)
def test_frame_weights_refused(weights, pattern):
    with pytest.raises(ValueError, match=pattern):
        check_frame_weights(weights, check_sequences(Model(), LIST, reset=True))


# ------------------------------------------------------------------------------------------------- validation


def test_validation_data():
    model = Model(2)
    assert check_validation(model, None) is None
    for data in (LIST, (LIST, None), tuple(LIST), (LIST[0], LIST[1])):
        assert check_validation(model, data, binary=False).form == "list"
    assert check_validation(model, (FRAMES, None), binary=False).form == "2d"
    assert check_validation(model, (FRAMES, None), binary=False, check=check_vectors).form == "vectors"
    with pytest.raises(ValueError, match=r"validation_data: .*NaN: sequence 2, frame 1, dimension 0"):
        check_validation(model, with_entry(np.nan), binary=False)
    with pytest.raises(ValueError, match="validation_data: X has 1 features, but Model is expecting 2"):
        check_validation(model, FRAMES[:, :1], binary=False)
    with pytest.raises(ValueError, match=r"validation_data: .*sequence 0, frame 0, dimension 0"):
        check_validation(model, FRAMES, binary=True)
    with pytest.raises(ValueError, match=r"validation_data is \(X, y\)"):
        check_validation(model, (FRAMES, np.zeros(8)), binary=False, check=check_vectors)
    with pytest.raises(TypeError, match="validation_data: X is 'abc'"):
        check_validation(model, "abc", binary=False)


# -------------------------------------------------------------------------------- places in parts of what was given


def test_a_number_too_large_is_named_where_it_stands_in_X():
    """Not where it stands in the part that `fit` trains on, nor in the sequence that is continued."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(5, 2)) for _ in range(30)]
    good, bad, where = X[:4], np.array(X[17]), "sequence {}, frame 3, dimension 1"
    bad[3, 1] = 1e39
    X[17] = bad
    model = RNNRNADE(transform=None, max_epochs=1, n_components=1, n_hidden=2, n_recurrent=2, random_state=0)
    vectors = RNADE(transform=None, max_epochs=1, n_components=1, n_hidden=2, random_state=0)
    flat = np.concatenate(X)
    for call, place, row in (
        (lambda: model.fit(X), where.format(17), 88),
        (lambda: vectors.fit(flat), "row 88, dimension 1", 88),
        (lambda: model.fit([*good, bad]), where.format(4), 23),  # of few sequences the ends are held out
        (lambda: model.fit(good, validation_data=[*good, bad]), where.format(4), 23),
        (lambda: model.fit(good).score([X[0], bad]), where.format(1), 8),
        (lambda: model.forecast([X[0], bad], 2, 2), where.format(1), 8),
    ):
        with pytest.raises(BadEntry, match=f"X is too large for float32: {place}. Scale it down") as refused:
            call()
        assert (refused.value.row, refused.value.dimension) == (row, 1)
        assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    with pytest.raises(ValueError, match=f"^validation_data: X is too large for float32: {where.format(0)}"):
        model.fit(good, validation_data=[bad])
