"""Sequences of tables and files: every form gives the same batch, estimators know its names, refusals say where."""

import pickle
from datetime import timedelta

import numpy as np
import pytest
from helpers import assert_same_bits, run_child, small_model, small_rnnrnade, walks
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import rnnrnade
from rnnrnade import SequenceBatch, plotting, read_sequences

every_library = pytest.mark.parametrize("library", ["pandas", "polars"])

# ---- tables of pandas and polars -----------------------------------------------------------------------------------


def table(library, names=("who", "when", "b", "a")):
    """Three sequences, their rows mixed, in a DataFrame; and the sequences."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in (7, 5, 9)]
    rows = [("xyz"[i], t, *x) for i, part in enumerate(X) for t, x in enumerate(part)]
    rows = [rows[0], *(rows[i] for i in 1 + rng.permutation(len(rows) - 1))]
    columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    return pytest.importorskip(library).DataFrame(columns), dict(zip("xyz", X, strict=True))


@every_library
def test_sequences_of_a_table_flow_through(library):
    df, X = table(library)
    batch = SequenceBatch.from_frame(df, key="who", time="when")
    assert sorted(batch.keys) == ["x", "y", "z"] and batch.keys[0] == "x"
    for key, frame in zip(batch.keys, batch, strict=True):
        assert list(frame.columns) == ["b", "a"]
        assert_array_equal(frame.to_numpy(), X[key])
    model = rnnrnade.RNNRNADE(n_components=1, n_hidden=2, n_recurrent=2, max_epochs=1, validation_fraction=0)
    model.set_params(random_state=0).fit(batch)
    assert model.feature_names_in_.tolist() == ["b", "a"]
    arrays = [X[k] for k in batch.keys]
    assert_array_equal(model.score_samples(batch), clone(model).fit(arrays).score_samples(arrays))
    found = model.explain(batch, top=3)
    names = found["dimension"].tolist() if library == "pandas" else [row["dimension"] for row in found]
    assert set(names) <= {"a", "b"}
    if library == "pandas":
        assert found["index"].tolist() == found["frame"].tolist()  # the index is the time
    assert len(cross_val_score(model, batch, cv=3)) == 3
    whole = SequenceBatch.from_frame(df[["b", "a"]])
    assert whole.keys == [0] and len(whole) == 1


@every_library
def test_tables_without_sequences_are_refused(library):
    df, _ = table(library)
    for wrong, pattern in (
        ({"key": "nobody"}, "key='nobody' is not a column"),
        ({"key": ["who", "nobody"]}, "key='nobody' is not a column"),
        ({"key": []}, "key is an empty list"),
        ({"key": ["who", "who"]}, "'who' is given twice"),
        ({"key": "who", "time": "who"}, "'who' is given twice"),
        ({"time": "never"}, "time='never' is not a column"),
        ({"time": "when"}, "sequence 0 has when=0 twice"),
        ({"key": "b"}, "key 'b' never repeats a value: each of the 21 rows would be a sequence of one frame"),
        ({"key": ["who", "when"]}, "key 'who', 'when' never repeats"),
    ):
        with pytest.raises(ValueError, match=pattern):
            SequenceBatch.from_frame(df, **wrong)
    with pytest.raises(ValueError, match="no column of features"):
        SequenceBatch.from_frame(df[["who", "when"]], key="who", time="when")
    with pytest.raises(ValueError, match="no rows"):
        SequenceBatch.from_frame(df[:0], key="who")
    with pytest.raises(ValueError, match="'who' is empty in row 1"):
        SequenceBatch.from_frame(type(df)({"who": ["a", None], "x": [1.0, 2.0]}), key="who")
    with pytest.raises(TypeError, match="df must be a DataFrame"):
        SequenceBatch.from_frame([[1.0]])


@every_library
def test_several_columns_may_tell_the_sequences_apart(library):
    shops = {
        "shop": [1, 1, 2, 2, 1],
        "item": ["a", "b", "a", "a", "a"],
        "day": [2, 1, 1, 0, 1],
        "y": [0.5, 1.5, 2, 3, 4],
    }
    df = pytest.importorskip(library).DataFrame(shops)
    batch = SequenceBatch.from_frame(df, key=["shop", "item"], time="day")
    assert batch.keys == [(1, "a"), (1, "b"), (2, "a")]
    assert [frame["y"].to_list() for frame in batch] == [[4.0, 0.5], [1.5], [3.0, 2.0]]
    assert [list(times) for times in batch.times] == [[1, 2], [1], [0, 1]]
    assert SequenceBatch.from_frame(df[["shop", "y"]], key=["shop"]).keys == [(1,), (2,)]


def test_levels_of_the_index_are_as_columns():
    df, _ = table("pandas")
    by_columns = SequenceBatch.from_frame(df, key="who", time="when")
    for levels, options in (
        (["who", "when"], {"key": "who", "time": "when"}),
        (["who"], {"key": "who", "time": "when"}),
        (["when"], {"key": "who", "time": "when"}),
    ):
        batch = SequenceBatch.from_frame(df.set_index(levels), **options)
        assert batch.keys == by_columns.keys
        for found, expected in zip(batch, by_columns, strict=True):
            assert found.equals(expected) and found.index.equals(expected.index)
    left = SequenceBatch.from_frame(df.set_index(["who", "when"]), key="who")
    assert left[0].index.name == "when" and sorted(left[0].index) == list(range(7))
    with pytest.raises(ValueError, match="key='nobody' is not a column; there are 'b', 'a', 'who', 'when'"):
        SequenceBatch.from_frame(df.set_index(["who", "when"]), key="nobody")


@every_library
def test_times_of_any_kind_sort_the_frames(library):
    module = pytest.importorskip(library)
    order = np.array([2, 0, 3, 1])
    for times in (
        np.array(["2026-01-01", "2026-01-03", "2026-02-01", "2027-01-01"], "M8[ms]"),
        np.array([0.5, 1.5, 1e9, np.inf]),
        np.array(["a", "b", "c", "d"]),
    ):
        df = module.DataFrame({"t": times[order], "x": np.arange(4.0)[order]})
        batch = SequenceBatch.from_frame(df, time="t")
        assert batch[0]["x"].to_list() == [0, 1, 2, 3]
        assert_array_equal(np.asarray(batch.times[0]).astype(times.dtype), times)


# What times are, the largest step that is left whole, one that is refused, and the reason.
JUMPS = {
    "numbers": (lambda t: t * 1.0, 1, "1s", "must be a number above 0"),
    "whole numbers": (lambda t: t, np.int64(1), 0, "must be a number above 0"),
    "dates": (
        lambda t: np.datetime64("2026-01-01T00:00", "ms") + t * 60_000,
        timedelta(minutes=1),
        1,
        "must be a time",
    ),
    "dates, in words": (lambda t: np.datetime64("2026-01-01T00:00", "ms") + t * 60_000, "1min", "soon", "is not a"),
    "dates, NumPy": (
        lambda t: np.datetime64("2026-01-01T00:00", "ms") + t * 60_000,
        np.timedelta64(1, "m"),
        timedelta(0),
        "must be a time above 0",
    ),
}


@every_library
@pytest.mark.parametrize("kind", JUMPS)
def test_a_recording_is_cut_where_time_jumps(library, kind):
    make, split_at, wrong, message = JUMPS[kind]
    minutes = np.array([0, 1, 2, 10, 11, 0, 1, 30, 31, 32])
    columns = {"run": ["b"] * 5 + ["a"] * 5, "t": make(minutes), "x": np.arange(10.0)}
    turned = {name: np.asarray(values)[::-1] for name, values in columns.items()}
    df = pytest.importorskip(library).DataFrame(turned)
    pieces = [[0, 1, 2], [3, 4], [5, 6], [7, 8, 9]]
    batch = SequenceBatch.from_frame(df, key="run", time="t", split_at=split_at)
    assert batch.keys == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [frame["x"].to_list() for frame in batch] == pieces[2:] + pieces[:2]
    assert_array_equal(
        np.concatenate([np.asarray(t) for t in batch.times]), make(minutes)[[5, 6, 7, 8, 9, 0, 1, 2, 3, 4]]
    )
    alone = SequenceBatch.from_frame(df[5:][["t", "x"]], time="t", split_at=split_at)  # run "b"
    assert alone.keys == [0, 1] and [len(frame) for frame in alone] == [3, 2]
    with pytest.raises(ValueError, match=message):
        SequenceBatch.from_frame(df, key="run", time="t", split_at=wrong)


def test_without_a_key_pieces_have_numbers_and_the_index_is_a_time_too():
    pandas = pytest.importorskip("pandas")
    df = pandas.DataFrame({"x": np.arange(5.0)}, index=[0, 1, 2, 9, 10])
    for batch in (
        SequenceBatch.from_frame(df, split_at=3),
        SequenceBatch.from_frame(df.reset_index(), time="index", split_at=3),
    ):
        assert batch.keys == [0, 1] and [len(frame) for frame in batch] == [3, 2]
    several = SequenceBatch.from_frame(df.assign(a=1, b="x"), key=["a", "b"], split_at=3)
    assert several.keys == [(1, "x", 0), (1, "x", 1)]
    with pytest.raises(ValueError, match="cuts each frame from the next"):
        SequenceBatch.from_frame(df, split_at=0.5)
    with pytest.raises(ValueError, match="numbers or dates"):
        SequenceBatch.from_frame(df.set_axis(list("abcde")), split_at=1)


@every_library
def test_names_and_times_reach_the_table_of_blame(library):
    df, X = table(library)
    batch = SequenceBatch.from_frame(df, key="who", time="when")
    model = rnnrnade.RNNRNADE(n_components=1, n_hidden=2, n_recurrent=2, max_epochs=1, validation_fraction=0)
    model.set_params(random_state=0).fit(batch)
    found = model.explain(batch, top=4, n_dims=1)
    rows = found.to_dict("records") if library == "pandas" else found
    assert len(rows) == 4
    for row in rows:
        assert row["index"] == row["frame"] and row["sequence"] in X
        assert row["observed"] == X[row["sequence"]][row["frame"]][["b", "a"].index(row["dimension"])]
    arrays = SequenceBatch([X[key] for key in batch.keys], batch.keys, ["b", "a"], times=batch.times)
    for row, other in zip(rows, model.explain(arrays, top=4), strict=True) if library == "polars" else ():
        assert row == other
    named = SequenceBatch(list(X.values()), ["pump A", "pump B", "pump C"], ["b", "a"])
    assert {row["sequence"] for row in model.explain(named, top=99)} == {"pump A", "pump B", "pump C"}
    with pytest.raises(ValueError, match=r"NaN: sequence 1 \('pump B'\), frame 3"):
        broken = [x.copy() for x in named]
        broken[1][3] = np.nan
        model.score(SequenceBatch(broken, named.keys, named.feature_names))


@every_library
def test_a_batch_cannot_be_changed_from_outside(library):
    df, _ = table(library)
    batch = SequenceBatch.from_frame(df, key="who", time="when")
    before = [frame.to_numpy().copy() for frame in batch]
    if library == "pandas":
        df["b"] = 0.0
        first = batch[0]
        first.iloc[0, 0] = 99.0
    with pytest.raises(TypeError):
        batch[0] = batch[1]
    assert_same_bits([frame.to_numpy() for frame in batch], before)
    turned = batch[::-1]
    assert turned.keys == batch.keys[::-1]
    assert_same_bits([frame.to_numpy() for frame in turned], before[::-1])
    assert [list(t) for t in turned.times] == [list(t) for t in batch.times][::-1]
    assert batch[1:].keys == batch.keys[1:] and len(batch[5:]) == 0
    assert_same_bits(batch[-1].to_numpy(), before[-1])
    with pytest.raises(IndexError):
        batch[3]
    again = pickle.loads(pickle.dumps(batch))
    assert again.keys == batch.keys
    assert_same_bits([frame.to_numpy() for frame in again], before)


@every_library
def test_estimators_read_the_table_of_a_batch_not_its_items(library, monkeypatch):
    """A DataFrame costs more time than the scores of a short sequence."""
    df, X = table(library)
    batch = SequenceBatch.from_frame(df, key="who", time="when")
    model = rnnrnade.RNNRNADE(n_components=1, n_hidden=2, n_recurrent=2, max_epochs=1, validation_fraction=0)
    model.set_params(random_state=0).fit(batch)
    frames, arrays = list(batch), [X[key] for key in batch.keys]
    expected = clone(model).fit(arrays).score_samples(arrays)

    def refuse(*_, **__):
        raise AssertionError("slow")

    monkeypatch.setattr("rnnrnade.sequences.check_array", refuse)  # of each item, too
    assert_array_equal(model.score_samples(frames), expected)
    monkeypatch.setattr(type(batch), "__getitem__", refuse)
    monkeypatch.setattr(type(batch), "__iter__", refuse)
    assert_array_equal(model.fit(batch).score_samples(batch), expected)
    assert len(model.explain(batch, top=3)) == 3


def test_keys_and_times_are_as_many_as_sequences():
    with pytest.raises(ValueError, match="2 keys for 1 sequences"):
        SequenceBatch([np.zeros((3, 2))], ["a", "b"])
    with pytest.raises(ValueError, match="times of 2 sequences for 1"):
        SequenceBatch([np.zeros((3, 2))], times=[[0, 1, 2], [0]])
    with pytest.raises(ValueError, match=r"sequence 0 has 3 frames, but times\[0\] has 2"):
        SequenceBatch([np.zeros((3, 2))], times=[[0, 1]])
    assert (
        repr(SequenceBatch([np.zeros((3, 2))], ["a"], ["x", "y"]))
        == "<SequenceBatch of 1 sequences, features 'x', 'y'>"
    )


@every_library
def test_keys_are_the_labels_as_python_has_them(library):
    df = pytest.importorskip(library).DataFrame({"id": [7, 3, 7], "x": [0.5, 1.5, 2.5]})
    batch = SequenceBatch.from_frame(df, key="id")
    assert batch.keys == [7, 3] and all(type(key) is int for key in batch.keys)
    assert [frame["x"].to_list() for frame in batch] == [[0.5, 2.5], [1.5]]


# ---- files ---------------------------------------------------------------------------------------------------------

KEYS, NAMES = ["a", "b", "c"], ["x", "y"]
X = [x.round(3) for x in walks(3, 2)]
ROWS = [[key, *map(str, frame)] for key, x in zip(KEYS, X, strict=True) for frame in x.tolist()]


def text(rows=ROWS, header=("sequence", *NAMES), separator=","):
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


def as_parquet(path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    keys, *columns = zip(*ROWS, strict=True)
    columns = [keys, *([float(value) for value in column] for column in columns)]
    parquet.write_table(pyarrow.table([list(column) for column in columns], names=["sequence", *NAMES]), path)


# name of a file: how it is written, its keys, its names of features
FILES = {
    "commas.csv": (lambda path: path.write_text(text()), KEYS, NAMES),
    "semicolons.csv": (lambda path: path.write_text("\ufeff" + text(separator=";"), encoding="utf-8"), KEYS, NAMES),
    "tabs.CSV": (lambda path: path.write_text(text(separator="\t")), KEYS, NAMES),
    "last.csv": (lambda path: path.write_text(text([r[1:] + r[:1] for r in ROWS], (*NAMES, "sequence"))), KEYS, NAMES),
    "table.parquet": (as_parquet, KEYS, NAMES),
    "lengths.npz": (lambda path: np.savez(path, frames=np.concatenate(X), lengths=list(map(len, X))), range(3), None),
    "each.npz": (lambda path: np.savez(path, **dict(zip(KEYS, X, strict=True))), KEYS, None),
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_of_a_file_gives_the_same_sequences(name, tmp_path):
    write, keys, names = FILES[name]
    write(tmp_path / name)
    for path in (tmp_path / name, str(tmp_path / name)):
        batch = read_sequences(path)
        assert isinstance(batch, SequenceBatch) and batch.keys == list(keys) and batch.feature_names == names
        assert_same_bits(list(batch), X)


def test_a_file_of_one_sequence_and_one_of_equal_lengths(tmp_path):
    (tmp_path / "one.csv").write_text(text([row[1:] for row in ROWS], NAMES))
    batch = read_sequences(tmp_path / "one.csv")
    assert (batch.keys, batch.feature_names) == ([0], NAMES)
    assert_same_bits(batch[0], np.concatenate(X))
    cube = np.stack([x[:5] for x in X]).astype(np.float32)
    np.savez(tmp_path / "cube.npz", cube)
    assert_same_bits(list(read_sequences(tmp_path / "cube.npz")), list(cube))


def test_another_column_may_tell_sequences_apart_and_their_rows_may_be_mixed(tmp_path):
    path = tmp_path / "mixed.csv"
    order = np.argsort([t for x in X for t in range(len(x))], kind="stable")
    path.write_text(text([ROWS[row] for row in order], ("who", *NAMES)))
    batch = read_sequences(path, key="who")
    assert batch.keys == KEYS
    assert_same_bits(list(batch), X)
    with pytest.raises(ValueError, match="columns that are not numeric: 'who'"):
        read_sequences(path)


def test_what_is_imported_to_read_a_file(tmp_path):
    """pyarrow for tables and only then, pandas for none; .npz files are read without either."""
    (tmp_path / "data.csv").write_text(text())
    np.savez(tmp_path / "data.npz", *X)
    as_parquet(tmp_path / "data.parquet")
    code = """
import sys
class Absent:
    def find_spec(name, *_):
        if name in ("pandas", "polars"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
from rnnrnade import read_sequences
libraries = {"sklearn", "pyarrow"}
print(len(read_sequences(sys.argv[1])), libraries & set(sys.modules))
print(len(read_sequences(sys.argv[2])), len(read_sequences(sys.argv[3])), libraries & set(sys.modules))
sys.modules["pyarrow"] = None
for path in sys.argv[2:]:
    try:
        read_sequences(path)
    except ImportError as error:
        print(error)
"""
    done = run_child(code, *(tmp_path / f"data.{ending}" for ending in ("npz", "csv", "parquet")))
    first, second, *refusals = done.stdout.splitlines()
    assert (first, second) == ("3 set()", "3 3 {'pyarrow'}")
    for path, refusal in zip((tmp_path / "data.csv", tmp_path / "data.parquet"), refusals, strict=True):
        assert refusal == f'{path}: tables need pyarrow: pip install "rnnrnade[data]"'


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("data.txt", b"x,y\n1,2\n", r"a data file ends in .csv, .tsv \(also .csv.gz, .tsv.gz\), .parquet or .npz"),
        ("m.safetensors", b"x,y\n1,2\n", "is a model file; give a data file .* instead"),
        ("data.csv", b"", "data.csv is empty"),
        ("data.csv", b"x,y\n1,2\n3,nan\n", "data.csv: column 'y', row 2 below the header: nan"),
        ("data.npz", b"PK but no zip", "data.npz cannot be read as a .npz file"),
    ],
    ids=["ending", "model", "empty", "nan", "damaged"],
)  # all others: the table WRONG of test_cli.py, whose sentences are these
def test_a_refusal_is_a_value_error_that_names_the_file(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as refusal:
        read_sequences(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sequences(tmp_path / "missing.csv")
    with pytest.raises(OSError):
        read_sequences(tmp_path)
    np.savez(tmp_path / "data.npz", *X)
    with pytest.raises(ValueError, match="key= is for "):
        read_sequences(tmp_path / "data.npz", key="who")


# ---- names of arrays -----------------------------------------------------------------------------------------------


@pytest.fixture
def batch(tmp_path):
    (tmp_path / "data.csv").write_text(text())
    return read_sequences(tmp_path / "data.csv")


@pytest.mark.filterwarnings("error")
def test_estimators_know_the_names_of_a_file(batch):
    model = small_rnnrnade(validation_fraction=0).fit(batch, validation_data=batch[1:])
    assert model.feature_names_in_.tolist() == NAMES
    assert_same_bits(model.score_samples(batch), clone(model).fit(X).score_samples(X))
    assert {row["dimension"] for row in model.explain(batch, top=2, n_dims=2)} == set(NAMES)
    assert model.calibration(batch[:2]).names == [*NAMES, "all"]
    with pytest.raises(ValueError, match=r"should match .*: X has 'y', 'x', not 'x', 'y'. X.select"):
        model.score(batch.select(["y", "x"]))
    assert model.score(batch.select(["y", "x"]).select(model.feature_names_in_)) == model.score(batch)
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")  # forgotten, as with DataFrames
    with pytest.raises(UserWarning, match="X has feature names, but RNNRNADE was fitted without"):
        model.score(batch)
    model.fit(batch)
    with pytest.raises(UserWarning, match="X does not have valid feature names"):
        model.score(X)
    with pytest.raises(ValueError, match=r"3 names \('p', 'q', 'r'\) for 2 features"):
        model.fit(SequenceBatch(X, feature_names="pqr"))


def test_names_of_a_file_reach_pictures(batch):
    pytest.importorskip("matplotlib")
    axes = plotting.samples_beside_data(batch[:2], X)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == NAMES


def test_a_slice_of_a_batch_is_a_batch(batch):
    part = batch[1:]
    assert isinstance(part, SequenceBatch) and (part.keys, part.feature_names) == (["b", "c"], NAMES)
    assert_same_bits(list(part), X[1:])
    assert_same_bits(batch[-1], X[-1])
    assert SequenceBatch().keys == [] and SequenceBatch().feature_names is None


def test_features_are_selected_by_name(batch):
    found = batch.select(["y"])
    assert (found.keys, found.feature_names) == (KEYS, ["y"])
    assert_same_bits(list(found), [np.ascontiguousarray(x[:, 1:]) for x in X])
    with pytest.raises(ValueError, match="no feature 'z'; it has 'x', 'y'"):
        batch.select(["x", "z"])
    with pytest.raises(ValueError, match="no names"):
        SequenceBatch(X).select(["x"])
    for library in ("pandas", "polars"):
        df = pytest.importorskip(library).DataFrame(dict(zip(NAMES, X[0].T, strict=True)))
        turned = SequenceBatch.from_frame(df).select(["y", "x"])
        assert list(turned[0].columns) == turned.feature_names == ["y", "x"]
        assert_array_equal(turned[0].to_numpy(), X[0][:, ::-1])


def test_vectors_are_the_frames_of_a_batch_end_to_end(batch):
    model, _ = small_model("RNADE", validation_fraction=0)
    with pytest.raises(ValueError, match=r"np.concatenate\(X\)"):
        model.fit(batch)
    assert model.fit(np.concatenate(batch)).n_features_in_ == 2
