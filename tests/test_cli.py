"""The command line, in this process by ``main([...])``, and a few times as a process of its own."""

import csv
import gzip
import io
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import rnnrnade
from rnnrnade import cli, demo
from rnnrnade.cli import main
from rnnrnade.io import ModelFileError

# The estimators here are given plain arrays, though their features have names from the header of a file.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

TINY = ["--hidden", "4", "--epochs", "2", "--seed", "0", "--quiet"]
NAMES = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
FEATURES = ["x", "y", "z"]


@pytest.fixture(scope="module")
def sequences():
    generator = np.random.default_rng(0)
    return [np.cumsum(generator.normal(size=(t, 3)), axis=0) for t in range(5, 5 + len(NAMES))]


def write_csv(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def rows_of(sequences, names=NAMES):
    return [[name, *row] for name, x in zip(names, sequences, strict=True) for row in x.tolist()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sequences):
    folder = tmp_path_factory.mktemp("cli")
    write_csv(folder / "data.csv", ["sequence", *FEATURES], rows_of(sequences))
    np.savez(folder / "data.npz", frames=np.concatenate(sequences), lengths=[len(x) for x in sequences])
    np.savez(folder / "named.npz", **dict(zip(NAMES, sequences, strict=True)))
    np.savez(folder / "cube.npz", np.stack([x[:5] for x in sequences]))
    assert main(["fit", str(folder / "data.csv"), "-o", str(folder / "model.safetensors"), *TINY]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Run the command; its code, its standard output, its standard error."""

    def run(*argv):
        code = main([str(arg) for arg in argv])
        return code, *capsys.readouterr()

    return run


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


# fit


@pytest.mark.parametrize("model", cli.MODELS)
def test_fit_saves_a_model_of_each_kind(model, run, folder, sequences, tmp_path):
    binary = model in ("nade", "rnnnade", "made", "rnnmade")
    np.savez(tmp_path / "data.npz", *[(x > 0).astype(float) if binary else x for x in sequences])
    output = tmp_path / "model.safetensors"
    options = TINY if "nade" in model or "rnade" in model else TINY[2:]  # without hidden units
    code, out, err = run("fit", tmp_path / "data.npz", "-o", output, "--model", model, *options)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert "nats per frame" in out
    assert type(getattr(rnnrnade, cli.MODELS[model]).load(output)).__name__ == cli.MODELS[model]
    code, out, err = run("score", output, tmp_path / "data.npz")
    assert (code, err, len(table(out))) == (0, "", len(sequences))


def test_fit_of_made_takes_layers_and_real_numbers(run, sequences, tmp_path):
    np.savez(tmp_path / "data.npz", *sequences)
    output, options = tmp_path / "model.safetensors", [*TINY, "--hidden", "6,4", "--conditional", "gaussian"]
    code, _, err = run("fit", tmp_path / "data.npz", "-o", output, "--model", "made", *options)
    assert (code, err) == (0, "")
    assert rnnrnade.MADE.load(output).n_hidden == (6, 4)


def test_fit_of_made_takes_its_masks(run, sequences, tmp_path):
    np.savez(tmp_path / "data.npz", *sequences)
    output, options = tmp_path / "model.safetensors", [*TINY, "--hidden", "6", "--conditional", "gaussian"]
    masks = ["--direct", "off", "--degrees", "drawn", "--masks", "2"]
    assert run("fit", tmp_path / "data.npz", "-o", output, "--model", "rnnmade", *options, *masks)[0] == 0
    model = rnnrnade.RNNMADE.load(output)
    assert (model.direct, model.degrees, model.n_masks) == (False, "drawn", 2) and "V_x" not in model.parameters_
    with pytest.raises(SystemExit):
        cli.main(["fit", "data.csv", "--model", "made", "--direct", "5"])


def test_layers_that_are_no_numbers_are_named(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "data.csv", "--model", "made", "--hidden", "5,x"])
    assert "'5,x' is not a whole number, nor one for each layer" in capsys.readouterr().err


def test_fit_passes_its_options_on(run, folder, tmp_path):
    output = tmp_path / "model.safetensors"
    options = "--components 2 --hidden 3 --recurrent 5 --layers 2 --cell lstm --context mu,hidden --transform var:1"
    more = "--dtype float64 --window 6 --batch-size 4 --epochs 1 --learning-rate 0.01 --seed 3 --jobs 1 --quiet"
    argv = ["fit", folder / "data.npz", "-o", output, *options.split(), *more.split(), "--conditional", "laplace"]
    code, out, err = run(*argv, "--validation-data", folder / "named.npz")
    assert (code, err) == (0, "")
    model = rnnrnade.RNNRNADE.load(output)
    params = model.get_params(deep=False)
    expected = {
        "n_components": 2,
        "n_hidden": 3,
        "n_recurrent": 5,
        "n_layers": 2,
        "cell": "lstm",
        "context": ("mu", "hidden"),
        "conditional": "laplace",
    }
    expected |= {"dtype": "float64", "window": 6, "batch_size": 4, "max_epochs": 1, "learning_rate": 0.01}
    assert {name: params[name] for name in expected} == expected
    assert model.parameters_["W_rec"].shape == model.parameters_["W_in_2"].shape == (20, 5)
    code, out, err = run("info", output)
    assert "RNNRNADE" in out and "(20, 5)" in out and "lstm" in out


def test_fit_of_an_ensemble_that_is_validated_by_updates(run, folder, tmp_path):
    output = tmp_path / "model.safetensors"
    options = "--orders 2 --restarts 2 --validate-every 2 --max-updates 5 --schedule cosine --warmup 2 --averaging 0.9"
    noise = "--input-noise 0.1 --input-dropout 0.1 --context-dropout 0.1 --batch-size 2"
    code, out, err = run("fit", folder / "data.npz", "-o", output, *TINY, *options.split(), *noise.split())
    assert (code, err) == (0, "")
    assert out.count("nats per frame") == 2 and "2 orders" in out
    model = rnnrnade.load(output)
    expected = {
        "n_orders": 2,
        "n_restarts": 2,
        "validate_every": 2,
        "max_updates": 5,
        "schedule": "cosine",
        "warmup": 2,
    }
    expected |= {"averaging": 0.9, "input_noise": 0.1, "input_dropout": 0.1, "context_dropout": 0.1}
    assert {name: model.get_params()[name] for name in expected} == expected
    assert model.members_[0].history_["update"] == [2, 4, 5]
    code, out, err = run("info", output)
    assert code == 0 and "n_orders" in out
    assert run("score", output, folder / "data.npz")[0] == 0
    code, out, err = run("score", output, folder / "data.npz", "--per", "frame", "--dims")
    assert code == 2 and "ensemble of 2 orders" in err and err.count("\n") == 1


def test_the_same_seed_gives_the_same_model_whatever_the_form_of_the_file(run, folder, tmp_path):
    scores = []
    for name in ("data.csv", "data.npz", "named.npz"):
        code, *_ = run("fit", folder / name, "-o", tmp_path / "model.safetensors", *TINY)
        assert code == 0
        scores.append(run("score", tmp_path / "model.safetensors", folder / "data.csv")[1])
    assert scores[0] == scores[1] == scores[2]


def test_progress_goes_to_standard_error(run, folder, tmp_path):
    code, out, err = run("fit", folder / "data.csv", "-o", tmp_path / "model.safetensors", *TINY[:-1])
    assert (code, out.count("\n")) == (0, 1)
    assert err
    assert "Traceback" not in err


# score


def test_score_per_sequence_is_score_samples_to_the_bit(run, folder, sequences):
    code, out, err = run("score", folder / "model.safetensors", folder / "data.csv")
    assert (code, err) == (0, "")
    rows = table(out)
    assert list(rows[0]) == ["sequence", "n_frames", "log_density", "log_density_per_frame"]
    assert [row["sequence"] for row in rows] == NAMES
    expected = rnnrnade.RNNRNADE.load(folder / "model.safetensors")
    expected = expected.score_samples(sequences)
    assert np.array_equal(column(rows, "log_density"), expected)
    lengths = [len(x) for x in sequences]
    assert np.array_equal(column(rows, "n_frames"), lengths)
    assert np.array_equal(column(rows, "log_density_per_frame"), expected / lengths)


def test_score_per_frame_and_dimension_adds_up(run, folder, sequences, tmp_path):
    output = tmp_path / "scores.csv"
    argv = [
        "score",
        folder / "model.safetensors",
        folder / "data.csv",
        "--per",
        "frame",
        "--dims",
        "-o",
        output,
    ]
    assert run(*argv) == (0, "", "")
    rows = table(output.read_text())
    assert list(rows[0]) == [
        "sequence",
        "frame",
        "log_density",
        *[f"log_density_{name}" for name in FEATURES],
    ]
    assert [(row["sequence"], int(row["frame"])) for row in rows] == [
        (name, t) for name, x in zip(NAMES, sequences, strict=True) for t in range(len(x))
    ]
    dims = sum(column(rows, f"log_density_{name}") for name in FEATURES)
    np.testing.assert_allclose(dims, column(rows, "log_density"), rtol=1e-9, atol=1e-9)
    _, plain, _ = run("score", folder / "model.safetensors", folder / "data.csv", "--per", "frame", "--jobs", 2)
    assert np.array_equal(column(table(plain), "log_density"), column(rows, "log_density"))


def test_every_form_of_a_file_gives_the_same_scores(run, folder, sequences, tmp_path):
    def scores(path, *options):
        code, out, err = run("score", folder / "model.safetensors", path, *options)
        assert (code, err) == (0, "")
        return [(row["sequence"], row["log_density"]) for row in table(out)]

    expected = scores(folder / "data.csv")
    assert scores(folder / "named.npz") == expected
    numbered = [(str(i), value) for i, (_, value) in enumerate(expected)]
    assert scores(folder / "data.npz") == numbered
    prefixes = scores(folder / "cube.npz")
    assert len(prefixes) == len(NAMES) and prefixes[0] == numbered[0]

    rows = rows_of(sequences)
    named = list(zip(NAMES, sequences, strict=True))
    mixed = [[name, *x[t].tolist()] for t in range(20) for name, x in named if t < len(x)]
    assert scores(write_csv(tmp_path / "mixed.csv", ["sequence", *FEATURES], mixed)) == expected
    turned = [[z, name, x, y] for name, x, y, z in rows]
    path = write_csv(tmp_path / "turned.csv", ["z", "who", "x", "y"], turned)
    assert scores(path, "--sequence-column", "who") == expected
    path = tmp_path / "semicolons.csv"
    lines = (folder / "data.csv").read_text().replace(",", ";")
    path.write_text("\ufeff" + lines, encoding="utf-8")
    assert scores(path) == expected
    one = write_csv(tmp_path / "one.csv", FEATURES, sequences[0].tolist())
    assert scores(one) == numbered[:1]


def test_parquet_is_read_like_csv(run, folder, sequences, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = [list(column) for column in zip(*rows_of(sequences), strict=True)]
    parquet.write_table(pyarrow.table(columns, names=["sequence", *FEATURES]), tmp_path / "data.parquet")
    expected = run("score", folder / "model.safetensors", folder / "data.csv")
    assert run("score", folder / "model.safetensors", tmp_path / "data.parquet") == expected


def test_static_models_take_every_frame_by_itself(run, folder, sequences, tmp_path):
    output = tmp_path / "model.safetensors"
    assert run("fit", folder / "data.csv", "-o", output, "--model", "rnade", *TINY)[0] == 0
    expected = rnnrnade.RNADE.load(output).score_samples(np.concatenate(sequences))
    rows = table(run("score", output, folder / "data.csv", "--per", "frame", "--dims")[1])
    assert np.array_equal(column(rows, "log_density"), expected)
    rows = table(run("score", output, folder / "data.csv")[1])
    sums = [part.sum() for part in np.split(expected, np.cumsum([len(x) for x in sequences])[:-1])]
    np.testing.assert_allclose(column(rows, "log_density"), sums, rtol=1e-12)
    code, out, err = run("sample", output, "--frames", 7, "--seed", 0)
    assert (code, err, len(table(out))) == (0, "", 7)


# sample


@pytest.mark.parametrize("model", ["rnnrnade", "rnade", "rnnnade"])
def test_explain_writes_the_table_of_the_estimator(model, run, folder, sequences, tmp_path):
    X = [(x > 0).astype(float) for x in sequences] if model == "rnnnade" else sequences
    data, path = write_csv(tmp_path / "data.csv", ["sequence", *FEATURES], rows_of(X)), tmp_path / "model.safetensors"
    assert run("fit", data, "-o", path, "--model", model, *TINY)[0] == 0
    code, out, err = run("explain", path, data, "--top", 4, "--features", 2)
    assert (code, err) == (0, "")
    rows, estimator = table(out), rnnrnade.load(path)
    expected = estimator.explain(X if model != "rnade" else np.concatenate(X), 4, n_dims=2)
    assert len(rows) == len(expected) == 8 and set(rows[0]) == {"sequence", "frame"} | set(expected[0]) - {"row"}
    frames = dict(zip(NAMES, X, strict=True))
    output = tmp_path / "table.csv"
    assert run("explain", path, data, "--top", 4, "--features", 2, "-o", output) == (0, "", "")
    for shown, row, known in zip(rows, table(output.read_text()), expected, strict=True):
        for name in set(known) - {"sequence", "frame", "row", "dimension"}:
            assert float(row[name]) == known[name]  # all digits in a file, as many as one reads on the screen
            assert shown[name] == f"{known[name]:.6g}"
        assert row["dimension"] == shown["dimension"] == known["dimension"]
        place = FEATURES.index(row["dimension"])
        assert frames[row["sequence"]][int(row["frame"]), place] == known["observed"]
    code, out, err = run("explain", path, data, "--top", 0)
    assert (code, out) == (2, "") and err == "rnnrnade: --top and --features must be at least 1.\n"


def test_sample_writes_what_fit_and_score_read(run, folder, tmp_path):
    argv = ["sample", folder / "model.safetensors", "--sequences", 3, "--frames", 4, "--seed", 1]
    code, out, err = run(*argv)
    assert (code, err) == (0, "")
    rows = table(out)
    assert list(rows[0]) == ["sequence", *FEATURES]
    assert [row["sequence"] for row in rows] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert run(*argv)[1] == out

    assert run(*argv, "-o", tmp_path / "samples.npz") == (0, "", "")
    (samples,) = np.load(tmp_path / "samples.npz").values()
    expected = rnnrnade.RNNRNADE.load(folder / "model.safetensors").sample(3, 4, random_state=1)
    assert np.array_equal(samples, expected)
    assert np.array_equal(np.stack([column(rows, name) for name in FEATURES], axis=1), samples.reshape(-1, 3))

    (tmp_path / "samples.csv").write_text(out)
    one = run("score", folder / "model.safetensors", tmp_path / "samples.csv")
    assert one[0] == 0
    assert one == run("score", folder / "model.safetensors", tmp_path / "samples.npz")


def test_sample_continues_the_sequences_of_a_file(run, folder, sequences):
    argv = [
        "sample",
        folder / "model.safetensors",
        "--given",
        folder / "data.csv",
        "--frames",
        2,
        "--seed",
        1,
    ]
    rows = table(run(*argv)[1])
    assert [row["sequence"] for row in rows[::2]] == NAMES
    rows = table(run(*argv, "--sequences", 3)[1])
    assert [row["sequence"] for row in rows[:6:2]] == ["a-0", "a-1", "a-2"]
    model = rnnrnade.RNNRNADE.load(folder / "model.safetensors")
    expected = np.concatenate(model.forecast(sequences, 2, 3, random_state=1)).reshape(-1, 3)
    assert np.array_equal(column(rows, "y"), expected[:, 1])


# columns, times, gaps


def test_columns_and_times_are_named(run, folder, sequences, tmp_path):
    """Frames in another order than that of time, with a column of remarks, give the scores of the file in order."""
    rows = [["some text", name, f"2020-01-{t + 1:02d}", *x] for name, *x, t in numbered(sequences)]
    order = np.random.default_rng(0).permutation(len(rows))
    path = write_csv(tmp_path / "dates.csv", ["remark", "who", "day", *FEATURES], [rows[i] for i in order])
    options = ["--ignore", "remark", "--sequence-column", "who", "--time-column", "day"]
    _, out, _ = run("score", folder / "model.safetensors", folder / "data.csv")
    expected = {row["sequence"]: row["log_density"] for row in table(out)}
    code, out, err = run("score", folder / "model.safetensors", path, *options)
    assert (code, err) == (0, "")
    assert {row["sequence"]: row["log_density"] for row in table(out)} == expected
    rows = table(run("score", folder / "model.safetensors", path, *options, "--per", "frame", "--dims")[1])
    assert list(rows[0]) == ["sequence", "frame", "time", "log_density", *[f"log_density_{name}" for name in FEATURES]]
    assert all(row["time"] == f"2020-01-{int(row['frame']) + 1:02d}" for row in rows)
    rows = table(run("explain", folder / "model.safetensors", path, *options, "--top", 3)[1])
    assert all(row["time"] == f"2020-01-{int(row['frame']) + 1:02d}" for row in rows)
    output = tmp_path / "m.safetensors"
    assert run("fit", path, "-o", output, *options, *TINY)[0] == 0
    assert rnnrnade.load(output).feature_names_in_.tolist() == FEATURES
    code, _, err = run("score", folder / "model.safetensors", path, *options[2:])
    assert code == 2 and "'remark' ('some text' in row 1 below the header)." in err and "(--ignore)" in err
    two = write_csv(tmp_path / "two.csv", ["sequence", "w", *FEATURES], [["a", 0, *x] for x in sequences[0]])
    code, _, err = run("score", folder / "model.safetensors", two)
    assert code == 2 and "has a column 'w' that" in err and "--ignore NAME leaves one out" in err


def test_a_model_file_remembers_the_columns_of_its_fit(run, folder, sequences, tmp_path):
    """Rows out of order are scored in the order of the remembered column, as if it had been named again."""
    rows = [[name, t, *x] for name, *x, t in numbered(sequences)]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    path = write_csv(tmp_path / "data.csv", ["who", "day", *FEATURES], rows)
    named, output = ["--sequence-column", "who", "--time-column", "day"], tmp_path / "m.safetensors"
    assert run("fit", path, "-o", output, *named, *TINY)[0] == 0
    for command in (["score", output, path], ["score", output, path, "--per", "frame"], ["explain", output, path]):
        code, out, err = run(*command)
        assert (code, err) == (0, "") and (code, out, err) == run(*command, *named)
    sample = ["sample", output, "--given", path, "--seed", 0, "--frames", 2]
    assert run(*sample) == run(*sample, *named) and run(*sample)[0] == 0
    assert "sequence column who time column day" in " ".join(run("info", output)[1].split())
    by_key = {row["sequence"]: row for row in table(run("score", output, path)[1])}
    # Another form has no columns, another table perhaps other ones: told so, it is read as it is.
    rows = table(run("score", output, folder / "named.npz")[1])
    assert {row["sequence"]: row for row in rows} == by_key
    rows = [[name, t, *x] for name, *x, t in numbered(sequences)]
    other = write_csv(tmp_path / "other.csv", ["who", "date", *FEATURES], rows)
    code, _, err = run("score", output, other)
    assert code == 2 and "has no column 'day', by which the model's training data were sorted" in err
    assert "'who', 'date', 'x', 'y', 'z'. --time-column names another; with '', rows are taken as they stand." in err
    rows = table(run("score", output, other, "--time-column", "date")[1])
    assert {row["sequence"]: row for row in rows} == by_key
    in_order = write_csv(tmp_path / "order.csv", ["who", *FEATURES], rows_of(sequences))
    rows = table(run("score", output, in_order, "--time-column", "")[1])
    assert len(rows) == len(by_key) and all(by_key[row["sequence"]] == row for row in rows)
    code, out, _ = run("score", output, path, "--ignore", "day")
    assert code == 0 and out != run("score", output, path)[1]
    # A single sequence needs no column that tells it apart.
    one = write_csv(tmp_path / "one.csv", ["day", *FEATURES], [[t, *x] for t, x in enumerate(sequences[0].tolist())])
    (row,) = table(run("score", output, one)[1])
    assert row | {"sequence": "a"} == by_key["a"]


def test_what_names_no_columns_remembers_none(run, folder, sequences, tmp_path):
    from rnnrnade.io import read_file, write_file

    kind, state, arrays, _ = read_file(folder / "model.safetensors")
    assert "file_columns" not in state
    path = tmp_path / "m.safetensors"
    write_file(path, kind, state | {"file_columns": {"time": "day"}}, arrays)
    model = rnnrnade.load(path)
    model.save(path)
    assert read_file(path).state["file_columns"] == {"time": "day"}
    model.set_params(max_epochs=1).partial_fit(sequences).save(path)
    assert read_file(path).state["file_columns"] == {"time": "day"}
    model.fit(sequences).save(path)  # of arrays, which have no columns
    assert "file_columns" not in read_file(path).state
    for columns in (["time"], {"time": 3}, {"times": "day"}, "time"):
        write_file(path, kind, state | {"file_columns": columns}, arrays)
        with pytest.raises(ModelFileError):
            rnnrnade.load(path)


def numbered(sequences):
    return [[name, *row, t] for name, x in zip(NAMES, sequences, strict=True) for t, row in enumerate(x.tolist())]


def test_how_a_file_is_written_can_be_said(run, folder, sequences, tmp_path):
    expected = run("score", folder / "model.safetensors", folder / "data.csv")
    lines = (folder / "data.csv").read_text().splitlines()
    for delimiter, given in (("\t", "tab"), ("\t", "\\t"), (":", ":")):
        text = "\n".join(line.replace(",", delimiter).replace(".", ",") for line in lines)
        (tmp_path / "a.csv").write_bytes(text.replace("sequence", "größe").encode("cp1252"))
        how = ["--delimiter", given, "--decimal", ",", "--encoding", "cp1252", "--sequence-column", "größe"]
        assert run("score", folder / "model.safetensors", tmp_path / "a.csv", *how) == expected
    code, _, err = run("score", folder / "model.safetensors", tmp_path / "a.csv")
    assert code == 2 and "is not UTF-8. Save it as UTF-8, or give its encoding with --encoding" in err


def test_a_model_that_takes_gaps_scores_files_with_gaps(run, folder, sequences, tmp_path):
    output, path = tmp_path / "model.safetensors", tmp_path / "gaps.csv"
    argv = ["fit", folder / "data.csv", "-o", output, "--model", "rnade", *TINY, "--missing", "marginalize"]
    assert run(*argv)[0] == 0
    path.write_text("x,y,z\n0.5,1,\n1,2,3\n,,\n")
    code, out, err = run("score", output, path, "--per", "frame", "--dims")
    assert (code, err) == (0, "")
    model = rnnrnade.load(output)
    X = np.array([[0.5, 1, np.nan], [1, 2, 3], 3 * [np.nan]])
    assert np.array_equal(column(table(out), "log_density"), model.score_frames(X))
    assert table(out)[2]["log_density"] == "0.0" and table(out)[0]["log_density_z"] == "0.0"
    for argv in (["score", folder / "model.safetensors", path], ["explain", output, path], ["fit", path]):
        code, out, err = run(*argv)
        assert (code, out) == (2, "") and "column 'z' is empty in row 1 below the header: fill it in" in err


@pytest.mark.parametrize("per", ["sequence", "frame"])
def test_a_refused_number_is_named_by_its_column_and_row(per, run, folder, sequences, tmp_path):
    """Those that only the model refuses, too; the rows lie as they do in the file, here in turn."""
    rows = [["a", 1.5, 2], ["b", 3, 4], ["", "", ""], ["a", 5, 6], ["b", 7, 1e39], ["a", 8, 9]]
    bad = write_csv(tmp_path / "bad.csv", ["sequence", "y", "x"], rows)
    good = write_csv(tmp_path / "good.csv", ["sequence", "x", "y"], [row for row in rows if row[0] == "a"])
    output = tmp_path / "m.safetensors"
    kind = ["--model", "rnade"] if per == "frame" else []
    argv = ["-o", output, *TINY, *kind, "--transform", "none", "--validation-fraction", "0"]
    sentence = "is too large for float32: column 'x', row 5 below the header. Scale it down or use dtype='float64'."
    code, _, err = run("fit", bad, *argv)
    assert code == 2 and f"rnnrnade: {bad} {sentence}\n" in err
    assert run("fit", good, *argv)[0] == 0
    code, _, err = run("fit", good, *argv, "--validation-data", bad)
    assert code == 2 and f"rnnrnade: {bad} {sentence}\n" in err
    code, _, err = run("score", output, bad)
    assert code == 2 and f"rnnrnade: {bad} {sentence}\n" in err
    doors = write_csv(tmp_path / "doors.csv", ["door", "lamp"], [[1, 0], [0, 1], [0.5, 1]])
    code, _, err = run("fit", doors, "-o", output, "--model", "nade" if per == "frame" else "rnnnade")
    name = "NADE" if per == "frame" else "RNNNADE"
    assert code == 2 and f"{doors} contains 0.5: column 'door', row 3 below the header. {name} models binary" in err
    np.savez(tmp_path / "doors.npz", a=np.ones((2, 2)), b=np.array([[1, 0], [1, 7]]))
    code, _, err = run("fit", tmp_path / "doors.npz", "-o", output, "--model", "rnnnade")
    assert code == 2 and "doors.npz contains 7.0: sequence 'b', frame 1, dimension 1. RNNNADE models" in err


# where results go


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "tsv.gz", "parquet"])
def test_the_ending_says_the_format_of_a_table(ending, run, folder, tmp_path):
    path = tmp_path / f"out.{ending}"
    for argv in (
        ["score", folder / "model.safetensors", folder / "data.csv", "--per", "frame"],
        ["sample", folder / "model.safetensors", "--frames", 3, "--seed", 0],
    ):
        expected = table(run(*argv)[1])
        assert run(*argv, "-o", path) == (0, "", "")
        batch = rnnrnade.read_sequences(path)
        assert batch.feature_names == [name for name in expected[0] if name != "sequence"]
        assert set(batch.keys) == {row["sequence"] for row in expected}
        for name, values in zip(batch.feature_names, np.concatenate(batch).T, strict=True):
            assert np.array_equal(values, column(expected, name))
        written = path.read_bytes()
        assert run(*argv, "-o", path) == (0, "", "") and path.read_bytes() == written
    for argv in (["score"], ["explain"]):
        for name in ("out.npz", "out.xlsx", "out"):
            code, _, err = run(*argv, folder / "model.safetensors", folder / "data.csv", "-o", tmp_path / name)
            assert code == 2 and "the ending says the format, which is one of .csv, .tsv, .parquet.\n" in err
            assert not (tmp_path / name).exists()
    assert run("sample", folder / "model.safetensors", "--frames", 3, "-o", tmp_path / "OUT.NPZ") == (0, "", "")
    assert np.load(tmp_path / "OUT.NPZ")["samples"].shape == (1, 3, 3)


def test_no_file_of_a_command_is_written_over(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data, held_out = (str(tmp_path / name) for name in ("m.st", "d.csv", "v.csv"))
    for path, source in ((model, "model.safetensors"), (data, "data.csv"), (held_out, "data.csv")):
        (tmp_path / path).write_bytes((folder / source).read_bytes())
    os.link(data, "hard.csv")
    os.symlink(data, "soft.csv")
    os.symlink("new", "to new")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    for argv in (
        *(["score", model, data, "-o", other] for other in (model, data, "d.csv", "./d.csv", "hard.csv", "soft.csv")),
        ["score", model, "soft.csv", "-o", "hard.csv"],
        ["explain", model, data, "-o", "hard.csv"],
        ["sample", model, "--given", data, "-o", "soft.csv"],
        ["sample", model, "-o", model],
        *(["fit", data, *TINY, "-o", "m", "--checkpoint", other] for other in ("m", "./m", data, "soft.csv")),
        ["fit", data, *TINY, "-o", "new", "--checkpoint", "to new"],
        ["fit", data, *TINY, "-o", "m", "--validation-data", held_out, "--checkpoint", held_out],
    ):
        code, out, err = run(*argv)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "is the same file as" in err
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before and not os.path.exists("m")
    assert run("fit", data, *TINY, "-o", "m", "--checkpoint", "c")[0] == 0
    code, _, err = run("fit", data, *TINY, "-o", "c")
    assert code == 2 and "-o c: that file is the checkpoint of a fit, which the model would replace" in err
    for argv in (["score", model, data], ["score", model, "-"]):
        with open(data, "ab") as out, open(data) as given:
            done = process(*argv, stdin=given, stdout=out, stderr=subprocess.PIPE)
        assert done.returncode == 2 and "standard output is the same file as" in done.stderr
    assert (tmp_path / "d.csv").read_bytes() == before["d.csv"]


@pytest.fixture(scope="module")
def hostile(folder):
    """Data and a model of it whose names and labels hold escapes of terminals, and formulas."""
    rng = np.random.default_rng(0)
    rows = [[label, *rng.normal(size=2)] for label in ("\x1b[31mred", "=1+1", "-1.5", "@x") for _ in range(5)]
    data = write_csv(folder / "hostile.csv", ["sequence", "a\x1b]0;owned\x07", "=cmd()"], rows)
    assert main(["fit", data, "-o", str(folder / "hostile.safetensors"), *TINY]) == 0
    return folder / "hostile.safetensors", data


def test_control_characters_of_files_reach_no_terminal(hostile, run, folder, monkeypatch):
    model, data = hostile
    code, out, err = run("info", model)
    assert code == 0 and "\x1b" not in out and r"a\x1b]0;owned\x07" in out
    code, out, err = run("score", model, folder / "data.csv")
    assert code == 2 and "\x1b" not in err and r"\x1b]0;owned\x07" in err
    assert run("score", model, data)[1].splitlines()[1].startswith("\x1b[31mred,5,")  # for a file as it is
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for argv in (["score", model, data, "--per", "frame", "--dims"], ["explain", model, data, "--features", 2]):
        code, out, err = run(*argv)
        assert code == 0 and "\x1b" not in out and "\x07" not in out and r"a\x1b]0;owned\x07" in out
    code, out, err = run("score", folder / "\x1b[31m.safetensors", data)
    assert code == 2 and "\x1b" not in err


def test_formulas_are_escaped_where_asked(hostile, run):
    model, data = hostile
    rows = table(run("score", model, data, "--escape-formulas")[1])
    assert [row["sequence"] for row in rows] == ["\x1b[31mred", "'=1+1", "-1.5", "'@x"]
    assert all(float(row["log_density"]) for row in rows)  # numbers stay numbers, negative ones too
    assert run("sample", model, "--frames", 1, "--escape-formulas")[1].splitlines()[0].endswith(",'=cmd()")
    assert run("sample", model, "--frames", 1)[1].splitlines()[0].endswith(",=cmd()")


# info, help


def test_info_says_what_is_in_use(run):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    for word in ("rnnrnade", "Python", "NumPy", "OpenMP", "threads", "kernels"):
        assert word in out


def test_help_of_fit_is_grouped(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    groups = re.split(r"^(\w+):\n", capsys.readouterr().out, flags=re.MULTILINE)
    of = dict(zip(groups[1::2], groups[2::2], strict=True))
    for group, flags in {
        "data": ("--validation-data", "--time-column"),
        "model": ("--model", "--components", "--transform"),
        "training": ("--epochs", "--seed", "--jobs"),
        "checkpoint": ("--every", "--resume"),
    }.items():
        assert all(f"  {flag}" in of[group] for flag in flags), group


def test_help_and_version_leave_with_0(capsys):
    for argv in (["--help"], ["--version"], ["fit", "--help"], ["score", "--help"], ["sample", "--help"]):
        with pytest.raises(SystemExit) as left:
            main(argv)
        assert left.value.code == 0
        assert capsys.readouterr().out


def test_unknown_arguments_leave_with_2(capsys):
    for argv in (
        [],
        ["train"],
        ["fit"],
        ["fit", "x.csv", "--epochs", "many"],
        ["fit", "x.csv", "--transform", "v"],
        ["sample", "x.safetensors", "--seed", "-1"],
    ):
        with pytest.raises(SystemExit) as left:
            main(argv)
        assert left.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


# What cannot be used. Each case makes its files in `path`, and returns arguments and a part of the sentence.

WRONG = {}


def wrong(make):
    WRONG[make.__name__] = make
    return make


def wrong_csv(name, text, part, *options):
    """A .csv file with this text cannot be trained on."""

    def make(path, folder):
        (path / "wrong.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        return ["fit", path / "wrong.csv", "-o", path / "m.safetensors", *options], part

    WRONG[f"csv_{name}"] = make


def wrong_npz(name, part, **arrays):
    """A .npz file with these arrays cannot be trained on."""

    def make(path, folder):
        np.savez(path / "wrong.npz", **arrays)
        return ["fit", path / "wrong.npz", "-o", path / "m.safetensors"], part

    WRONG[f"npz_{name}"] = make


wrong_csv("empty", "", "wrong.csv is empty")
wrong_csv("only_a_header", "x,y\n", "no rows")
wrong_csv("no_header", "1,2\n3,4\n", "no header")
wrong_csv("text", "x,name\n1,bob\n2,eve\n", "'name' ('bob' in row 1")
wrong_csv("gap", "x,y\n1,2\n3,\n", "column 'y' is empty in row 2 below the header")
wrong_csv("nan", "x,y\n1,2\n3,nan\n", "column 'y', row 2")
wrong_csv("infinite", "x,y\n1,2\n-inf,4\n", "column 'x', row 2")
wrong_csv("ragged", "x,y\n1,2\n3\n", "row 2 below the header has 1 field, not 2")
wrong_csv("column_twice", "x,x\n1,2\n", "several columns named 'x'")
wrong_csv("index", ",x\n0,2\n1,3\n", "index=False")
wrong_csv(
    "no_sequence_column",
    "x,y\n1,2\n",
    "no column 'who' for --sequence-column; its columns are 'x', 'y'",
    "--sequence-column",
    "who",
)
wrong_csv("nothing_but_sequences", "sequence\na\nb\n", "no column of numbers")
wrong_csv("sequence_without_name", "sequence,x\na,1\n,2\n", "'sequence' is empty in row 2")
wrong_csv("not_text", b"\xff\xfe\x00x\x81", "cannot be read as a .csv file")
wrong_csv("not_binary", "x,y\n1,0\n0.5,1\n" + "1,1\n" * 20, "0.5", "--model", "nade", "--quiet")
wrong_csv(
    "option_of_another_model",
    "x,y\n1,0\n",
    "--recurrent is not an option",
    "--model",
    "rnade",
    "--recurrent",
    "3",
)
wrong_csv("no_components", "x\n" + "1\n2\n" * 20, "n_components", "--components", "0", "--quiet")
wrong_npz("text", "'x' does not hold real numbers", x=np.array([["a", "b"]]))
wrong_npz("complex", "'x' does not hold real numbers", x=np.ones((3, 2), complex))
wrong_npz("one_axis", "'x' has 1 axes", x=np.ones(5))
wrong_npz("nothing", "holds no arrays")
wrong_npz("no_frames", "'x' is empty", x=np.ones((0, 2)))
wrong_npz("nan", "'x[1, 0]' is nan", x=np.array([[0.0, 1.0], [np.nan, 1.0]]))
wrong_npz("widths", "'y' has 3 features, the first array has 2", x=np.ones((3, 2)), y=np.ones((3, 3)))
wrong_npz("sum_of_lengths", "add up to 4, not to the 5", frames=np.ones((5, 2)), lengths=[2, 2])
wrong_npz("length_0", "at least 1", frames=np.ones((5, 2)), lengths=[5, 0])
wrong_npz("lengths_not_whole", "whole numbers", frames=np.ones((5, 2)), lengths=[2.0, 3.0])


@wrong
def npz_of_objects(path, folder):
    np.savez(path / "wrong.npz", x=np.array([{}, None], dtype=object))
    return ["fit", path / "wrong.npz"], "holds pickles, which are not loaded"


@wrong
def npz_damaged(path, folder):
    data = (folder / "data.npz").read_bytes()
    (path / "wrong.npz").write_bytes(data[: len(data) // 2])
    return ["fit", path / "wrong.npz"], "cannot be read as a .npz file"


@wrong
def npz_with_a_sequence_column(path, folder):
    return ["fit", folder / "data.npz", "--sequence-column", "x"], "--sequence-column is for"


@wrong
def parquet_that_is_text(path, folder):
    (path / "wrong.parquet").write_text("x,y\n1,2\n")
    return ["fit", path / "wrong.parquet"], "wrong.parquet"


@wrong
def missing(path, folder):
    return ["fit", path / "missing.csv"], "missing.csv cannot be read: No such file"


@wrong
def directory(path, folder):
    return ["fit", path], "is a directory"


@wrong
def unknown_ending(path, folder):
    (path / "data.txt").write_text("x\n1\n")
    return ["fit", path / "data.txt"], "ends in .csv, .tsv (also .csv.gz, .tsv.gz), .parquet or .npz"


@wrong
def model_for_data(path, folder):
    return ["score", folder / "model.safetensors", folder / "model.safetensors"], "is a model file"


@wrong
def data_for_a_model(path, folder):
    return ["score", folder / "data.csv", folder / "data.csv"], "is a data file"


@wrong
def data_under_the_name_of_a_model(path, folder):
    (path / "wrong.safetensors").write_bytes((folder / "data.npz").read_bytes())
    return ["score", path / "wrong.safetensors", folder / "data.csv"], "wrong.safetensors"


@wrong
def model_cut_short(path, folder):
    (path / "wrong.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])
    return ["sample", path / "wrong.safetensors"], "wrong.safetensors"


@wrong
def model_missing(path, folder):
    return ["info", path / "missing.safetensors"], "missing.safetensors cannot be read"


@wrong
def model_empty(path, folder):
    (path / "empty.safetensors").touch()
    return ["info", path / "empty.safetensors"], "is empty"


@wrong
def other_number_of_features(path, folder):
    np.savez(path / "two.npz", np.ones((4, 2)))
    return ["score", folder / "model.safetensors", path / "two.npz"], "two.npz has 2 features"


@wrong
def other_features(path, folder):
    (path / "other.csv").write_text("x,y,w\n1,2,3\n")
    return ["score", folder / "model.safetensors", path / "other.csv"], "no column 'z'"


@wrong
def too_many_features(path, folder):
    (path / "other.csv").write_text("x,y,z,w\n1,2,3,4\n")
    return ["score", folder / "model.safetensors", path / "other.csv"], "has a column 'w'"


@wrong
def validation_data_of_another_size(path, folder):
    np.savez(path / "two.npz", np.ones((4, 2)))
    return [
        "fit",
        folder / "data.csv",
        "--validation-data",
        path / "two.npz",
        "--quiet",
    ], "two.npz has 2 features"


@wrong
def dims_of_sequences(path, folder):
    return ["score", folder / "model.safetensors", folder / "data.csv", "--dims"], "--dims needs --per frame"


@wrong
def output_into_no_folder(path, folder):
    return ["fit", folder / "data.csv", "-o", path / "none" / "m.safetensors"], "there is no folder"


@wrong
def output_is_a_directory(path, folder):
    return ["score", folder / "model.safetensors", folder / "data.csv", "-o", path], "is a directory"


@wrong
def model_under_the_name_of_data(path, folder):
    return ["fit", folder / "data.csv", "-o", path / "model.csv"], "ending of a data file"


@wrong
def samples_of_unknown_ending(path, folder):
    return ["sample", folder / "model.safetensors", "-o", path / "x.xlsx"], ".csv, .tsv, .parquet, .npz"


@wrong
def no_samples(path, folder):
    return ["sample", folder / "model.safetensors", "--frames", 0], "at least 1"


@wrong
def demo_into_a_file(path, folder):
    (path / "demo").touch()
    return ["demo", path / "demo"], "is a file"


@wrong
def demo_without_time(path, folder):
    return ["demo", path / "demo", "--seconds", 0], "seconds must be positive"


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_is_one_sentence_and_code_2(case, run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where fit writes its model by default
    argv, part = WRONG[case](tmp_path, folder)
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("rnnrnade: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert part in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*m*.safetensors")) or case in ("model_empty",)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everything")
def test_missing_permission_is_one_sentence_and_code_2(run, folder, tmp_path):
    (tmp_path / "secret.csv").write_text("x\n1\n")
    (tmp_path / "secret.csv").chmod(0)
    (tmp_path / "closed").mkdir(mode=0o500)
    for argv in (
        ["fit", tmp_path / "secret.csv"],
        ["fit", folder / "data.csv", "-o", tmp_path / "closed" / "model.safetensors"],
    ):
        code, _, err = run(*argv)
        assert code == 2
        assert "ermission denied" in err and err.count("\n") == 1


def test_refused_permission_is_one_sentence_and_code_2(run, folder, tmp_path, monkeypatch):
    """The same for root, who is refused nothing: the system's answer is put in its place."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, _, err = run("fit", folder / "data.csv", "-o", tmp_path / "model.safetensors")
    assert (code, err.count("\n")) == (2, 1)
    assert "permission denied" in err


def test_missing_extras_are_named(run, folder, tmp_path, monkeypatch):
    for name in ("pyarrow", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    code, _, err = run("fit", tmp_path / "data.parquet", "-o", tmp_path / "model.safetensors")
    assert (code, err.count("\n")) == (2, 1)
    assert 'pip install "rnnrnade[data]"' in err
    monkeypatch.setitem(sys.modules, "hmmlearn", None)
    monkeypatch.setitem(sys.modules, "hmmlearn.hmm", None)
    code, _, err = run("demo", tmp_path / "demo")
    assert (code, err.count("\n")) == (2, 1)
    assert 'pip install "rnnrnade[demo]"' in err


def test_control_c_is_one_line_and_code_130(run, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_data", interrupted)
    code, out, err = run("score", folder / "model.safetensors", folder / "data.csv")
    assert (code, out, err) == (130, "", "rnnrnade: interrupted\n")


# As a process


def process(*argv, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.run([sys.executable, "-m", "rnnrnade", *map(str, argv)], **options)


def test_as_a_process(folder):
    done = process("score", folder / "model.safetensors", folder / "data.csv")
    assert (done.returncode, done.stderr, len(table(done.stdout))) == (0, "", len(NAMES))
    done = process("score", folder / "model.safetensors", folder / "none.csv")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" not in done.stderr


def interrupted(*argv):
    """Send Ctrl-C to the process after a few epochs; its code, its output, the last line of its errors."""
    command = [sys.executable, "-m", "rnnrnade", *map(str, argv)]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # As at a terminal; a background job starts with Ctrl-C ignored, and passes that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    shown = b""
    while shown.count(b"validation") < 3:  # the progress bar, after each epoch
        byte = running.stderr.read(1)
        assert byte, shown
        shown += byte
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    return running.returncode, out.decode(), err.decode().splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C as POSIX does")
def test_control_c_in_a_fit_saves_the_best_model_so_far(folder, tmp_path):
    output = tmp_path / "model.safetensors"
    argv = ["fit", folder / "data.csv", "-o", output, "--epochs", "1000000", "--patience", "1000000"]
    code, out, last = interrupted(*argv)
    assert (code, out) == (130, "")
    assert last.startswith(f"rnnrnade: interrupted: {output} has the best model so far, of epoch ")
    assert rnnrnade.RNNRNADE.load(output).n_iter_ >= 1


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C as POSIX does")
def test_a_fit_resumes_after_control_c(run, folder, tmp_path):
    saved, whole = tmp_path / "fit.checkpoint", tmp_path / "whole.safetensors"
    argv = ["fit", folder / "data.csv", "--epochs", "200", "--patience", "200", "--seed", "0", "--hidden", "3"]
    assert run(*argv, "-o", whole, "--quiet")[0] == 0
    assert interrupted(*argv, "-o", tmp_path / "half.safetensors", "--checkpoint", saved)[0] == 130
    code, out, err = run(*argv, "-o", tmp_path / "m.safetensors", "--checkpoint", saved, "--resume", "--quiet")
    assert (code, err) == (0, "")
    assert (tmp_path / "m.safetensors").read_bytes() == whole.read_bytes()
    code, out, err = run(*argv, "--recurrent", "7", "--checkpoint", saved, "--resume", "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("rnnrnade: '") and "checkpoint of another fit: n_recurrent was 100, is 7" in err
    for wrong in (["--resume"], ["--checkpoint", tmp_path], ["--checkpoint", tmp_path / "no" / "fit"],
                  ["--checkpoint", saved, "--every", "-1"]):  # fmt: skip
        code, out, err = run(*argv, "-o", tmp_path / "n.safetensors", *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
    with pytest.raises(ModelFileError, match="is a checkpoint of a fit, not a model"):
        rnnrnade.load(saved)


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C as POSIX does")
def test_control_c_ends_the_demo(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("hmmlearn")
    code, _, last = interrupted("demo", tmp_path / "demo")
    assert (code, last) == (130, "rnnrnade: interrupted")
    assert not list((tmp_path / "demo").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe of a POSIX shell")
def test_a_reader_that_leaves_is_no_error(folder):
    """As ``rnnrnade sample ... | head -1`` does: more is written than the pipe can hold."""
    argv = ["sample", folder / "model.safetensors", "--frames", "20000"]
    writer = subprocess.Popen(
        [sys.executable, "-m", "rnnrnade", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout.readline() == "sequence,x,y,z\n"
    writer.stdout.close()
    assert writer.stderr.read() == ""
    writer.stderr.close()
    assert writer.wait(60) == 141


def test_redirected_output_is_utf8(folder, tmp_path):
    data = write_csv(tmp_path / "data.csv", ["größe", "温度"], np.random.default_rng(0).normal(size=(30, 2)).tolist())
    assert main(["fit", data, "-o", str(tmp_path / "m.safetensors"), *TINY]) == 0
    for encoding in ("ascii", "cp1252", "utf-8"):
        for argv in (["score", "m.safetensors", data, "--per", "frame", "--dims"], ["info", "m.safetensors"]):
            done = process(*argv, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, encoding="utf-8")
            assert (done.returncode, done.stderr) == (0, "") and "größe" in done.stdout and "温度" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_output_that_is_full_or_closed_is_one_sentence(folder):
    score = ["score", folder / "model.safetensors", folder / "data.csv"]
    with open("/dev/full", "w") as full:
        for argv in (score, ["info"], ["--version"]):
            done = process(*argv, stdout=full, stderr=subprocess.PIPE)
            assert (done.returncode, done.stderr) == (2, "rnnrnade: standard output: No space left on device.\n")
        done = process(*score[:2], folder / "none.csv", stdout=subprocess.PIPE, stderr=full)
        assert (done.returncode, done.stdout) == (2, "")
    done = process(*score, "-o", "/dev/full")
    assert (done.returncode, done.stderr) == (2, "rnnrnade: /dev/full: No space left on device.\n")
    closed = "rnnrnade: standard output is closed; -o FILE writes into a file.\n"
    for number, expected in ((1, (2, closed)), (2, (0, ""))):
        done = process(*score, preexec_fn=lambda number=number: os.close(number))
        assert (done.returncode, done.stderr) == expected


def test_data_from_a_pipe(folder):
    expected = process("score", folder / "model.safetensors", folder / "data.csv").stdout
    plain = (folder / "data.csv").read_bytes()
    for content in (plain, gzip.compress(plain)):
        for name in ["-", "/dev/stdin"] if os.path.exists("/dev/stdin") else ["-"]:
            command = [sys.executable, "-m", "rnnrnade", "score", str(folder / "model.safetensors"), name]
            done = subprocess.run(command, input=content, capture_output=True)
            assert (done.returncode, done.stdout.decode(), done.stderr) == (0, expected, b"")
    for text, sentence in (("", " is empty."), ("x,y\n1\n", ": row 1 below the header has 1 field, not 2.")):
        done = process("score", folder / "model.safetensors", "-", input=text)
        assert (done.returncode, done.stderr) == (2, f"rnnrnade: standard input{sentence}\n")


# demo


def test_demo_prints_a_table_and_draws_pictures(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("hmmlearn")
    from rnnrnade import datasets

    vowels = datasets.load_japanese_vowels()
    vowels.train, vowels.test = vowels.train[::6], vowels.test[::6]
    vowels.test_speaker = vowels.test_speaker[::6]
    monkeypatch.setattr(datasets, "load_japanese_vowels", lambda: vowels)
    monkeypatch.setattr(demo, "N_STATES", 2)
    code, out, err = run("demo", tmp_path / "demo", "--seconds", 0.5, "--quiet")
    assert (code, err) == (0, "")
    for words in (
        "RNN-RNADE",
        "Gaussian",
        "hidden Markov model",
        "nats per frame",
        "test utterance",
        "frame",
        "cepstrum",
    ):
        assert words in out
    pictures = {"learning_curve.png", "surprise.png", "samples.png"}
    assert {path.name for path in (tmp_path / "demo").iterdir()} == pictures
    for name in pictures:
        assert str(tmp_path / "demo" / name) in out
        assert (tmp_path / "demo" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("model", ["vrnn", "srnn", "vae"])
def test_of_latent_variable_models_the_numbers_are_called_estimates_and_bounds(model, run, sequences, tmp_path):
    np.savez(tmp_path / "data.npz", *sequences)
    output = tmp_path / "model.safetensors"
    options = ["--latent", "2", "--units", "5", "--epochs", "2", "--particles", "3", "--quiet"]
    _, out, _ = run("fit", tmp_path / "data.npz", "-o", output, "--model", model, *options)
    assert "validation bound" in out or "training score" in out
    _, out, _ = run("score", output, tmp_path / "data.npz")
    assert list(table(out)[0]) == ["sequence", "n_frames", "estimated_log_density", "estimated_log_density_per_frame"]
    _, out, _ = run("score", output, tmp_path / "data.npz", "--per", "frame")
    assert "estimated_log_density" in table(out)[0]
    for command in (["explain", output], ["score", output, "--per", "frame", "--dims"]):
        code, _, err = run(*command[:2], tmp_path / "data.npz", *command[2:])
        assert code == 2 and "estimates those of frames" in err
    code, out, _ = run("sample", output, "--sequences", "2", "--frames", "3", "--seed", "0")
    assert (code, len(table(out))) == (0, 6)
    run("fit", tmp_path / "data.npz", "-o", output, "--model", model, *options, "--missing", "marginalize")
    (tmp_path / "gaps.csv").write_text("x0,x1,x2\n0.5,1,\n1,2,3\n,,\n")
    code, out, _ = run("score", output, tmp_path / "gaps.csv", "--per", "frame")
    X = np.array([[0.5, 1, np.nan], [1, 2, 3], 3 * [np.nan]])
    assert code == 0
    assert np.array_equal(
        column(table(out), "estimated_log_density"),
        rnnrnade.load(output).score_frames(X) if model != "vae" else rnnrnade.load(output).score_samples(X),
    )


@pytest.mark.parametrize("kind", ["rnnrnade", "rnade"])
def test_given_columns(tmp_path, capsys, kind):
    generator = np.random.default_rng(0)
    valve = generator.standard_normal(80)
    rows = np.column_stack([valve + 0.1 * generator.standard_normal(80), valve]).tolist()
    data, model = write_csv(tmp_path / "data.csv", ["level", "valve"], rows), str(tmp_path / "m.safetensors")
    to_come = write_csv(tmp_path / "to come.csv", ["other", "valve"], [[0, 0.5], [0, -0.5], [0, 1.0]])
    assert main(["fit", data, "-o", model, "--model", kind, "--columns", "valve=given", *TINY]) == 0
    capsys.readouterr()
    assert main(["sample", model, "--frames", "3", "--sequences", "2", "--inputs", to_come, "--seed", "0"]) == 0
    drawn = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert drawn[0] == ["sequence", "level", "valve"] and len(drawn) == 7
    assert [float(row[2]) for row in drawn[1:]] == pytest.approx([0.5, -0.5, 1.0] * 2)
    assert main(["explain", model, data, "--top", "2", "--features", "2"]) == 0
    assert "valve" not in capsys.readouterr().out
    for arguments, why in (
        (["sample", model], "the columns 'valve' of "),
        (["sample", model, "--frames", "2", "--inputs", to_come], "has 3 rows; --frames 2 needs as many"),
        (["sample", model, "--frames", "2", "--inputs", str(tmp_path / "none.csv")], "none.csv"),
        (["fit", data, "-o", model, "--model", kind, "--columns", "pump=given", *TINY], "pump"),
        (["fit", data, "-o", model, "--model", kind, "--columns", "valve=known", *TINY], "must be 'given' or 'real'"),
    ):
        assert main(arguments) == 2
        assert why in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fit", data, "-o", model, "--columns", "valve", *TINY])
    assert "'valve' is not NAME=given" in capsys.readouterr().err
