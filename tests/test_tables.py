"""Sequences of tables and files: every form gives the same batch, estimators know its names, refusals say where."""

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
        ({"key": "nobody"}, "key='nobody' is no column"),
        ({"time": "never"}, "time='never' is no column"),
        ({"time": "when"}, "sequence 0 has when=0 twice"),
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
        ("m.safetensors", b"x,y\n1,2\n", "is a model file; a data file .* is wanted"),
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
