"""Tables from files: what is recognised, what is refused, and where it says that the fault is."""

import gzip
import io
import os
import sys
import threading

import numpy as np
import pytest
from helpers import assert_same_bits, run_child, small_rnnrnade
from numpy.testing import assert_array_equal

from rnnrnade import read_sequences
from rnnrnade.datafiles import form_of, read_file

pyarrow = pytest.importorskip("pyarrow")


def read(content, **options):
    """`read_file` of text or bytes."""
    content = content if isinstance(content, bytes) else content.encode()
    return read_file(io.BytesIO(content), name="data.csv", **options)


# ---- what is recognised --------------------------------------------------------------------------------------------

ONE = ["x", "y"], [[1.5, 2.0], [-3.0, 0.25]]
# name: (text, options, the names, the numbers of the only sequence)
READ = {
    "commas": ("x,y\n1.5,2\n-3,.25\n", {}, *ONE),
    "no line end at the end": ("x,y\n1.5,2\n-3,.25", {}, *ONE),
    "line ends of Windows": ("x,y\r\n1.5,2\r\n-3,.25\r\n", {}, *ONE),
    "line ends of old Macs": ("x,y\r1.5,2\r-3,.25\r", {}, *ONE),
    "spaces, signs, exponents": (" x , y\n +1.5 , 2.\n-3E0 ,25e-2\n", {}, *ONE),
    "all quoted": ('"x","y"\n"1.5","2"\n"-3","0.25"\n', {}, *ONE),
    "semicolons": ("x;y\n1.5;2\n-3;.25\n", {}, *ONE),
    "tabs": ("x\ty\n1.5\t2\n-3\t.25\n", {}, *ONE),
    "bars": ("x|y\n1.5|2\n-3|.25\n", {}, *ONE),
    "sep line": ("sep=;\nx;y\n1.5;2\n-3;.25\n", {}, *ONE),
    "quoted sep line": ('"sep=|"\r\nx|y\r\n1.5|2\r\n-3|.25\r\n', {}, *ONE),
    "another delimiter": ("x:y\n1.5:2\n-3:.25\n", {"delimiter": ":"}, *ONE),
    "blank lines": ("\n  \nx,y\n\n1.5,2\n \n\n-3,.25\n\n", {}, *ONE),
    "empty rows around": (",\nx,y\n1.5,2\n-3,.25\n,\n,\n", {}, *ONE),
    "decimal commas": ("x;y\n1,5;2\n-3;,25\n", {}, *ONE),
    "quoted decimal commas": ('x,y\n"1,5","2"\n-3,"0,25"\n', {}, *ONE),
    "decimal commas, said": ("x;y\n1,5;2\n-3;,25\n", {"decimal": ","}, *ONE),
    "three decimals": ("x;y\n1,234;12,500\n", {}, ["x", "y"], [[1.234, 12.5]]),
    "three decimals, quoted": ('x,y\n"1,234","0,500"\n', {}, ["x", "y"], [[1.234, 0.5]]),
    "three decimals, said": ('x,y\n"1,234","2,500"\n', {"decimal": ","}, ["x", "y"], [[1.234, 2.5]]),
    "one column of decimal commas": ("x\n1,5\n2\n", {}, ["x"], [[1.5], [2.0]]),
    "one column of decimal commas, a comma in its name": (
        "speed, km/h\n0,13\n1,20\n", {"delimiter": ";"}, ["speed, km/h"], [[0.13], [1.2]]
    ),
    "commas in names": ('"temp, C";"rh, %"\n1.5;2\n', {}, ["temp, C", "rh, %"], [[1.5, 2.0]]),
    "bare commas in names": ("temp (C, mean);rh\n1.5;2\n", {}, ["temp (C, mean)", "rh"], [[1.5, 2.0]]),
    "as many commas as semicolons": ("a, b;c, d\n0,5;1,5\n", {}, ["a, b", "c, d"], [[0.5, 1.5]]),
    "spaces before names, zeros and ones": ("a, b\n1,0\n0,1\n", {}, ["a", "b"], [[1.0, 0.0], [0.0, 1.0]]),
    "spaces before names, signs": ("a, b\n1,-5\n0,10\n", {}, ["a", "b"], [[1.0, -5.0], [0.0, 10.0]]),
    "a comma in a name, tabs": ("accel, g\trh\n1.5\t2\n", {}, ["accel, g", "rh"], [[1.5, 2.0]]),
    "names of several lines": ('a;"of\n,two\n, lines"\n1;2\n', {}, ["a", "of\n,two\n, lines"], [[1.0, 2.0]]),
    "years as names": ("2019,2020\n1.5,2\n", {}, ["2019", "2020"], [[1.5, 2.0]]),
    "numbers that pandas writes as names": ("0,1,2\n3,4,5\n", {}, ["0", "1", "2"], [[3.0, 4.0, 5.0]]),
    "a mark of UTF-8": ("\ufeffx,y\n1.5,2\n-3,.25\n", {}, *ONE),
    "UTF-16": ("größe,y\n1,2\n".encode("utf-16"), {}, ["größe", "y"], [[1.0, 2.0]]),
    "UTF-16 without a mark": ("x,y\n1,2\n".encode("utf-16-be"), {"encoding": "utf-16-be"}, ["x", "y"], [[1.0, 2.0]]),
    "Windows": ("größe,y\n1,2\n".encode("cp1252"), {"encoding": "cp1252"}, ["größe", "y"], [[1.0, 2.0]]),
    "compressed": (gzip.compress(b"x,y\n1.5,2\n-3,.25\n"), {}, *ONE),
    "a column left out": ("x,name,y\n1.5,bob,2\n-3,,.25\n", {"ignore": "name"}, *ONE),
    "two columns left out": ("a,x,name,y\n?,1.5,bob,2\n,-3,,.25\n", {"ignore": ["name", "a"]}, *ONE),
    "an index without a name": (",x,y\n0,1.5,2\n1,-3,.25\n", {"ignore": ""}, *ONE),
    "many columns": (
        ",".join(f"a column with a long name {d}" for d in range(5000)) + "\n" + ",".join(["0.5"] * 5000) + "\n",
        {}, [f"a column with a long name {d}" for d in range(5000)], [[0.5] * 5000],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*are read as the names of the columns")
@pytest.mark.parametrize("name", READ)
def test_recognised(name):
    content, options, names, numbers = READ[name]
    found = read(content, **options)
    assert (found.sequences.keys, found.sequences.feature_names) == ([0], names)
    assert_array_equal(found.sequences[0], numbers)


def test_numbers_are_those_that_python_reads():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)) * 10.0 ** rng.integers(-300, 300, size=(500, 4))
    text = "a,b,c,d\n" + "".join(",".join(map(repr, row)) + "\n" for row in X.tolist())
    assert_same_bits(read(text).sequences[0], X)
    assert_same_bits(read(text.replace(",", ";").replace(".", ",")).sequences[0], X)


@pytest.mark.parametrize("first", ["1,1", "0,5"], ids=["whole", "with a decimal comma"])
def test_the_first_rows_speak_for_long_files(first):
    """Beyond the sample from which the layout is told, every row is read, and errors have their row."""
    n = 200_000
    text = f"x;y\n{first.replace(',', ';') if first == '1,1' else first + ';1'}\n" + "1;2\n" * n
    assert [len(x) for x in read(text).sequences] == [n + 1]
    for last, place in (
        ("bob;2", f"'x' ('bob' in row {n + 2} below the header)"),
        ("3", f"row {n + 2} below the header has 1 field,"),
        ("  \n \n3", f"row {n + 2} below the header has 1 field,"),
        ("  \n \n3;bob", f"'y' ('bob' in row {n + 2} below the header)"),
        (";2", f"column 'x' is empty in row {n + 2} below the header"),
        ("nan;2", f"'x', row {n + 2} below the header: nan"),
    ):
        with pytest.raises(ValueError) as refused:
            read(text + last + "\n")
        assert place in str(refused.value)
    with pytest.raises(ValueError, match=f"byte 0xff in line {n + 3} is not UTF-8"):
        read(text.encode() + b"\xff;1\n")


def test_endings():
    endings = {"a.csv": ("csv", False), "B.CSV.GZ": ("csv", True), "c.tsv": ("tsv", False), "d.tsv.gz": ("tsv", True)}
    endings |= {"e.parquet": ("parquet", False), "f.npz": ("npz", False), b"g.csv": ("csv", False)}
    others = ("m.safetensors", "csv", "x.csv.zip", "x.parquet.gz", "x.npz.gz", "x.gz", "/dev/stdin")
    for name, form in (endings | dict.fromkeys(others, (None, False))).items():
        assert form_of(name) == form


def test_files_streams_and_pipes(tmp_path):
    text = b"x\ty, z\n1\t2\n3\t4\n"
    (tmp_path / "a.tsv").write_bytes(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text))
    np.savez(tmp_path / "a.npz", np.array([[1.0, 2.0], [3.0, 4.0]]))
    pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"x": [1.0, 3.0], "y, z": [2.0, 4.0]}), tmp_path / "a.parquet")
    for name in ("a.tsv", "a.csv.gz", "a.npz", "a.parquet"):
        content = (tmp_path / name).read_bytes()
        sources = [tmp_path / name, os.fsencode(tmp_path / name), io.BytesIO(content)]
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / f"pipe of {name}")
            threading.Thread(target=(tmp_path / f"pipe of {name}").write_bytes, args=[content], daemon=True).start()
            sources.append(tmp_path / f"pipe of {name}")
        for source in sources:
            batch = read_sequences(source)
            assert batch.feature_names == (None if name == "a.npz" else ["x", "y, z"])
            assert_array_equal(batch[0], [[1, 2], [3, 4]])
    with open(tmp_path / "a.tsv", "rb") as file:
        assert read_sequences(file).feature_names == ["x", "y, z"] and not file.closed


# ---- sequences, times, gaps ----------------------------------------------------------------------------------------


def test_labels_and_the_rows_they_come_from():
    with pytest.warns(UserWarning, match="data.csv: an empty row is skipped, the first is row 4 below the header"):
        found = read("who,x\n b,1\na ,2\n b ,3\n,\na,4\n,\n", key="who")
    assert found.sequences.keys == ["b", "a"]
    assert [x.ravel().tolist() for x in found.sequences] == [[1, 3], [2, 4]]
    assert [list(rows) for rows in found.rows] == [[0, 2], [1, 4]]
    assert read("sequence,x\n007,1\n007,2\n").sequences.keys == ["007"]
    assert read("sequence,x\na,1\n").sequences.keys == ["a"]  # one frame in all


def test_rows_that_hold_nothing():
    with pytest.warns(UserWarning, match="data.csv: 2 empty rows are skipped, the first is row 2 below the header"):
        found = read("x,y\n1,2\n,\n , \n3,4\n,\n")
    assert list(found.rows[0]) == [0, 3] and found.sequences[0].tolist() == [[1, 2], [3, 4]]
    held = read("x,y\n1,2\n,\n3,4\n,\n", gaps=True).sequences[0]
    assert_array_equal(held, [[1, 2], [np.nan, np.nan], [3, 4], [np.nan, np.nan]])


def test_gaps():
    text = "sequence,x,y\na,1,\na,NA,2\nb,nan,n/a\nb,3,null\n"
    first, second = read(text, gaps=True).sequences
    assert_array_equal(first, [[1, np.nan], [np.nan, 2]])
    assert_array_equal(second, [[np.nan, np.nan], [3, np.nan]])
    with pytest.raises(ValueError, match="'x', row 2 below the header: -inf; every number must be finite"):
        read("x,y\n,1\n-inf,2\n", gaps=True)
    for missing in ("NA", "n/a", "null"):
        with pytest.raises(ValueError, match=f"'y' \\('{missing}' in row 2 below the header\\)"):
            read(f"x,y\n1,2\n3,{missing}\n")


DATES = ["2020-01-03", "2020-01-01", "2020-01-02"]


@pytest.mark.parametrize(
    "times",
    [
        DATES,
        [f"{date} 23:59" for date in DATES],
        [f"{date}T23:59:00.25Z" for date in DATES],
        [f"{date} 00:00:00.000000001" for date in DATES],
        ["10", "-1", "9"],
        ["1e1", "0.5", "9"],
        [f"160000000000000000{n}" for n in (3, 1, 2)],  # nanoseconds: no float64 tells them apart
    ],
)
def test_times_sort_the_frames(times):
    rows = [f"{key},{time},{10 * i + t}" for i, key in enumerate("ab") for t, time in enumerate(times)]
    found = read("who,when,x\n" + "\n".join(rows), key="who", time="when")
    assert found.sequences.feature_names == ["x"]
    assert [x.ravel().tolist() for x in found.sequences] == [[1, 2, 0], [11, 12, 10]]
    assert [list(rows) for rows in found.rows] == [[1, 2, 0], [4, 5, 3]]
    assert [t.to_pylist() for t in found.times] == 2 * [[times[1], times[2], times[0]]]
    for moments in found.moments:
        assert moments.dtype.kind == ("M" if "-" in times[0] else "f" if "." in times[1] else "i")
        assert (moments[1:] > moments[:-1]).all()
    alone = read("when,x\n" + "".join(f"{time},{t}\n" for t, time in enumerate(times)), time="when")
    assert alone.sequences[0].ravel().tolist() == [1, 2, 0]


def test_the_times_of_a_file_reach_its_batch(tmp_path):
    (tmp_path / "a.csv").write_text("day,x\n2020-01-02,1\n2020-01-01,2\n2020-01-03,3\n")
    batch = read_sequences(tmp_path / "a.csv", time="day")
    assert batch.times[0].astype(str).tolist() == [f"2020-01-0{n}T00:00:00.000000" for n in (1, 2, 3)]
    model = small_rnnrnade(validation_fraction=0).fit(batch)
    assert {row["index"] for row in model.explain(batch, top=3)} == set(batch.times[0])
    assert read_sequences(tmp_path / "a.csv", ignore="day").times is None


def test_times_with_decimal_commas():
    found = read("t;x\n10,5;1\n9,5;2,5\n", time="t")
    assert found.sequences[0].tolist() == [[2.5], [1.0]] and found.times[0].to_pylist() == ["9,5", "10,5"]


@pytest.mark.parametrize(
    "times, sentence",
    [
        (["2", "1", "2"], "'t' is 2 a second time in row 3 below the header: which frame comes first?"),
        (["1", "", "2"], "column 't' is empty in row 2 below the header"),
        (["1", "2", "x"], "column 't', row 3 below the header: 'x' is not a time to sort by"),
        (["1", "nan", "2"], "row 2 below the header: 'nan' is not a time to sort by"),
        (["01.02.2020", "02.02.2020", "03.02.2020"], "row 1 below the header: '01.02.2020' is not a t"),
        (
            ["2020-01-01", "2020-01-02T00:00Z", "2020-01-03"],
            "row 2 below the header: '2020-01-02T00:00Z' is not a time",
        ),
        (["23:59", "00:00", "00:01"], "'23:59' is not a time to sort by"),  # which day?
    ],
)
def test_what_is_no_time_is_refused(times, sentence):
    with pytest.raises(ValueError) as refused:
        read("t,x\n" + "".join(f"{time},1\n" for time in times), time="t")
    assert sentence in str(refused.value)


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"

    def written(**columns):
        pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
        return path

    who = pyarrow.array(["b", "a", "b", "a"]).dictionary_encode()
    when = np.array(["2020-01-04", "2020-01-03", "2020-01-02", "2020-01-01"], "datetime64[ns]")
    flags = pyarrow.array([True, False, None, True])
    # pyarrow before 15 cannot write halves.
    half = np.array([1.5, 2.5, 3.5, 4.5], np.float16 if int(pyarrow.__version__.split(".")[0]) >= 15 else np.float32)
    names = {"who": who, "when": when, "x": [1, 2, 3, 4], "half": half, "flag": flags, "note": ["", "", "", ""]}
    options = {"key": "who", "time": "when", "ignore": ["note"]}
    found = read_file(written(**names), **options, gaps=True)
    assert found.sequences.keys == ["b", "a"] and found.sequences.feature_names == ["x", "half", "flag"]
    assert_array_equal(found.sequences[0], [[3, 3.5, np.nan], [1, 1.5, 1]])
    assert_array_equal(found.sequences[1], [[4, 4.5, 1], [2, 2.5, 0]])
    assert found.times[1][0].as_py().startswith("2020-01-01")
    with pytest.raises(ValueError, match="column 'flag' is empty in row 3 below the header"):
        read_sequences(path, **options)
    with pytest.raises(ValueError, match=r"not numeric: 'who' \(.*\), 'when' \(timestamp\[ns\]\), 'note' \(string\)"):
        read_sequences(path)
    with pytest.raises(ValueError, match="'x', row 3 below the header: nan; every number must be finite"):
        read_sequences(written(x=[1.0, 2.0, np.nan]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a \.parquet file"):
        read_sequences(path)


# ---- what is refused -----------------------------------------------------------------------------------------------

# (content, options, the sentence after "data.csv", in part)
REFUSED = [
    ("x,y\n1_000,2\n", {}, " has columns that are not numeric: 'x' ('1_000' in row 1 below the header). Leave out"),
    ("x,y\n1,0x10\n", {}, "'y' ('0x10' in row 1 below the header)"),
    ("x,y\n1,\u0661\n", {}, "'y' ('\u0661' in row 1 below the header)"),
    ("x,y\n1,True\n", {}, "'y' ('True' in row 1 below the header)"),
    ("x;y\n1.234,5;2\n", {}, "'x' ('1.234,5' in row 1 below the header)"),
    ("x;y\n1.5;2,5\n", {}, "'y' ('2,5' in row 1 below the header)"),
    ("x;y\n1,5;2\n", {"decimal": "."}, "'x' ('1,5' in row 1 below the header)"),
    ("x,name,when\n1,bob,2020-01-01\n", {}, ": 'name' ('bob' in row 1 below the header), 'when' ('2020-01-01'"),
    ("x,y\n1e400,2\n", {}, ": column 'x', row 1 below the header: inf; every number must be finite"),
    ("x,y\n1,2\n  \n3\n", {}, ": row 2 below the header has 1 field, not 2"),
    ("x,y\n1\n3,bob\n", {}, "'y' ('bob' in row 2 below the header)"),
    ('x,y\n"1,234","12,500"\n7,8\n', {}, ": the comma in '1,234' may be that of a decimal or of thousands. Say"),
    ("x\ty\n1,234\t12,500\n", {}, ": the comma in '1,234' may be that of a decimal or of thousands"),
    ("x\n1,234\n12,500\n", {}, ": the comma in '1,234' may be that of a decimal or of thousands"),
    ("1,2\n3,\n", {"gaps": True}, " has no header"),
    ("x,y\n1,2\n3,4,5\n", {}, ": row 2 below the header has 3 fields, not 2"),
    ('x,y\n1,"2\n3,4\n', {}, "'y' ('2\\n3,4' in row 1 below the header)"),  # a quote that never ends
    ("speed, km/h\n0,13\n1,20\n", {}, ": 'speed, km/h' may name 2 columns of whole numbers, or fewer of numbers with"),
    ("1,2\n3,4\n", {}, " has no header"),
    ("0,1\n1,0\n", {}, " has no header"),  # zeros and ones, the first row too?
    ("0.1,0.2\n3,4\n", {}, " has no header"),
    ("0,0\n0.5,1\n", {}, " has no header"),
    ("\n\n", {}, " has no rows with fields"),
    ('"' + 200_000 * "y\n", {}, " has no rows with fields"),
    ("x,y\n", {}, " has no rows below its header"),
    ("x,y\n,\n", {}, " has no rows below its header"),
    ("x,x \n1,2\n", {}, " has several columns named 'x'"),
    (",x\n0,2\n", {}, ": column 1 has no name, as pandas writes its index"),
    ("time,x\n1,1\n2,2\n", {"key": "time"}, ": column 'time' has a different value in each row, so every sequence"),
    ("sequence,x\n1,1\n2,2\n", {}, ": column 'sequence' has a different value in each row"),
    ("sequence,x\na,1\n ,2\n", {}, ": column 'sequence' is empty in row 2 below the header"),
    ("x,y\n1,2\n", {"key": "who"}, " has no column 'who' for key=; its columns are 'x', 'y'"),
    ("x,y\n1,2\n", {"time": "when"}, " has no column 'when' for time="),
    ("x,y\n1,2\n", {"ignore": ["z"]}, " has no column 'z' for ignore="),
    ("x,y\n1,2\n", {"ignore": ["x", "y"]}, " has no column of numbers beside 'x', 'y'"),
    ("x,y\n1,2\n", {"key": "x", "time": "x"}, ": 'x', 'x': a column has one use"),
    ("größe\n1\n".encode("cp1252"), {}, " cannot be read as a .csv file: byte 0xf6 in line 1 is not UTF-8. Save it"),
    ("x\n1\n".encode("utf-16-le"), {}, ": it holds NUL characters, as UTF-16 does"),
    (b"\xff\xfe\x00x\x81", {}, ": byte 0x81 in line 1 is not utf-16"),
    (b"\x81\n1\n", {"encoding": "cp1252"}, ": byte 0x81 in line 1 is not cp1252"),
    (gzip.compress(b"x,y\n" + b"1,2\n" * 9999)[:-20], {}, " cannot be read as a .gz file"),
]  # fmt: skip


@pytest.mark.parametrize("content, options, sentence", REFUSED, ids=range(len(REFUSED)))
def test_refused_with_the_place(content, options, sentence):
    with pytest.raises(ValueError) as refused:
        read(content, **options)
    assert str(refused.value).startswith("data.csv") and sentence in str(refused.value)


@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({"encoding": "hex"}, ValueError, "encoding='hex' is not a text encoding that Python knows"),
        ({"encoding": "no such"}, ValueError, "encoding='no such' is not a text encoding"),
        ({"delimiter": "::"}, ValueError, "delimiter must be one character"),
        ({"delimiter": '"'}, ValueError, "delimiter must be one character"),
        ({"delimiter": "§"}, ValueError, "delimiter must be a character of ASCII"),
        ({"decimal": ";"}, ValueError, "decimal must be '.' or ','"),
        ({"key": 3}, TypeError, "key must name a column of the file, a str. Got 3"),
        ({"ignore": [3]}, TypeError, "ignore must name a column of the file, a str. Got 3"),
    ],
)
def test_options_are_refused(options, error, sentence):
    with pytest.raises(error, match=sentence):
        read("x\n1\n", **options)


def test_options_of_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.ones((2, 2)))
    for options in ({"key": "x"}, {"time": "x"}, {"ignore": "x"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}= is for .csv, .tsv and .parquet, not for "):
            read_sequences(tmp_path / "a.npz", **options)
    with pytest.raises(ValueError, match=r"delimiter= is for \.csv and \.tsv, not for "):
        read_sequences(tmp_path / "a.npz", delimiter=",")
    np.savez(tmp_path / "b.npz", np.array([[1.0, np.nan]]))
    assert_array_equal(read_sequences(tmp_path / "b.npz", gaps=True)[0], [[1, np.nan]])


def test_numbers_as_names_are_said():
    with pytest.warns(UserWarning, match="data.csv: the numbers of its first row are read as the names"):
        read("0,1\n0.5,1\n")


# ---- anything ------------------------------------------------------------------------------------------------------

TEXTS = [
    "x,y\n1,2\n3,4\n", "sequence;t;x\na;1;0,5\na;2;1,5\nb;1;2\nb;3;4\n", '"a\nb"\t"c"\n1\t2\n', "sep=;\nx;y\n1;2\n",
    "0,1,2\n.5,1,2\n", "t,x\n2020-01-01,1\n2020-01-02T00:00Z,2\n",
]  # fmt: skip
PIECES = [
    *",;\t|\n\r\"' -+e1x\0\ufeffé\u2028\x1b", "\r\n", "0.5", "0,5", "nan", "inf", "NA", "sep=", "sequence",
    "2020-01-01", "9" * 400, "a" * 5000,
]  # fmt: skip
CHOICES = {
    "key": ["x", "sequence", "t", ""], "time": ["x", "t"], "ignore": ["x", "t", "", "y"], "gaps": [True],
    "delimiter": list(",;\t: 1\\'e"), "decimal": list(",."),
    "encoding": ["latin-1", "cp1252", "utf-16", "utf-7", "idna", "punycode", "undefined", "hz", "unicode_escape"],
}  # fmt: skip


def strange_file(rng, binary):
    """Bytes that were a data file once."""
    if rng.random() < 0.3:
        data = bytearray(binary[rng.integers(len(binary))])
        for place in rng.integers(4, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(256)
        return bytes(data[: rng.integers(4, len(data))] if rng.random() < 0.2 else data)
    text = TEXTS[rng.integers(len(TEXTS))]
    for _ in range(rng.integers(4)):
        place = rng.integers(len(text) + 1)
        text = text[:place] + PIECES[rng.integers(len(PIECES))] + text[place + rng.integers(3) :]
    data = bytearray(text.encode(["utf-8", "utf-8", "utf-16", "latin-1"][rng.integers(4)], "replace"))
    if rng.random() < 0.2:
        data[rng.integers(len(data))] = rng.integers(256)
    return gzip.compress(data) if rng.random() < 0.1 else bytes(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("n, seed", [(500, 0), pytest.param(30_000, 1, marks=pytest.mark.full)])
def test_whatever_a_file_holds_it_is_finite_numbers_or_a_sentence(n, seed):
    from pyarrow import parquet

    npz, table = io.BytesIO(), io.BytesIO()
    np.savez(npz, frames=np.ones((4, 2)), lengths=[1, 3])
    parquet.write_table(pyarrow.table({"sequence": ["a", "a", "b"], "x": [1.0, 2, 3], "y": [1, 2, 3]}), table)
    n_read = 0
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        content = strange_file(rng, [npz.getvalue(), table.getvalue()])
        options = {name: values[rng.integers(len(values))] for name, values in CHOICES.items() if rng.random() < 0.1}
        try:
            found = read(content, **options)
        except ValueError as error:
            assert type(error) is ValueError and str(error), (i, error)
            continue
        n_read += 1
        for x in found.sequences:
            assert x.ndim == 2 and 0 not in x.shape, (i, content)
            assert not np.isinf(x).any() and ("gaps" in options or not np.isnan(x).any()), (i, content)
        if found.rows is not None:
            assert [len(rows) for rows in found.rows] == [len(x) for x in found.sequences], (i, content)
    assert n / 10 < n_read < n / 2


# ---- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
@pytest.mark.parametrize("shape", [(150_000, 20), (4_000_000, 1)])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reading_takes_at_most_three_times_the_memory_of_the_array(ending, shape, tmp_path):
    """Of one sequence whose rows lie in a row, and of several that are mixed."""
    X = np.random.default_rng(0).normal(size=shape)
    label = pyarrow.array(np.arange(len(X)) % 7)
    table = pyarrow.table({"sequence": label} | {f"c{d}": column for d, column in enumerate(X.T)})
    from pyarrow import csv, parquet

    (csv.write_csv if ending == "csv" else parquet.write_table)(table, tmp_path / f"a.{ending}")
    code = """
import re, sys
from rnnrnade import read_sequences
def peak():  # not getrusage, whose number begins with that of the parent
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
read_sequences(sys.argv[2])
before = peak()
batch = read_sequences(sys.argv[1], **({"ignore": "sequence"} if len(sys.argv) > 3 else {}))
print((peak() - before) / sum(x.nbytes for x in batch))
"""
    small = table.slice(0, 100)
    (csv.write_csv if ending == "csv" else parquet.write_table)(small, tmp_path / f"small.{ending}")
    for more in ([], ["whole"]):
        done = run_child(code, tmp_path / f"a.{ending}", tmp_path / f"small.{ending}", *more)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) < 3
