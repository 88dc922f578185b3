"""Data files: .csv, .tsv, .parquet and .npz become sequences.

Design
------
pyarrow reads the tables, .csv and .parquet alike.  It was preferred to pandas because it is strict where a mistake
would go unnoticed (a row with too few fields is an error, not a row of gaps; no first column becomes an index), takes
the type of each column beforehand, rounds decimals correctly, and hands a file over in blocks, so that not much more
memory is needed than that of the array that comes out.  It is imported when a table is read, not with the package, and
an extra: who trains on arrays does not need it.

What pyarrow wants to be told is found out here, from the first rows, with the csv module of the standard library:
where the header is, what separates the fields, and which sign the decimals have.  Where two readings of the same file
are likely, the sentence names the option that decides.

Every refusal names the file and, where it can, the column and the row: whoever reads the sentence has an editor or a
spreadsheet open, so rows are counted from 1 below the header.  Empty lines do not count.
"""

import codecs
import csv
import gzip
import io
import os
import re
import stat
import warnings
import zlib
from bisect import bisect_left
from collections import Counter
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from .tables import SequenceBatch, quoted

__all__ = ["DataFile", "form_of", "read_file", "read_sequences"]

ENDINGS = ".csv, .tsv (also .csv.gz, .tsv.gz), .parquet or .npz"
EMPTY = [" " * n for n in range(17)]
GAP = [*EMPTY, "NA", "N/A", "n/a", "<NA>", "#N/A", "NULL", "null", "None"]  # beside nan, which is a number
# What the options are called where they are given; the command line has words of its own.
WORDS = {name: f"{name}=" for name in ("key", "time", "ignore", "delimiter", "decimal", "encoding")}

_DELIMITERS = ",;\t|"
_FORMS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".npz": "npz"}
_MAGIC = {b"PAR1": "parquet", b"PK\x03\x04": "npz"}
_BLOCKS = 1 << 15, 1 << 16  # bytes that pyarrow takes at once, at least and at most; it reads some thirty blocks ahead
_SHARE = 256  # blocks of a file, where they are of a size between these
_SAMPLE = 1 << 16  # bytes in which header, delimiter and decimals are looked for
_ROWS = 1 << 16  # whose labels are told or sorted at once
_NUMBER = {
    point: re.compile(
        rf"[+-]?(?:\d+{re.escape(point)}?\d*|{re.escape(point)}\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE
    )
    for point in ".,"
}
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_BAD_CELL = re.compile(r"column #(\d+): (?:Row #(\d+): )?CSV conversion error to \w+: invalid value '(.*)'", re.DOTALL)


class DataFile(NamedTuple):
    """The sequences of a file, and where they stand in it.

    Attributes
    ----------
    sequences : SequenceBatch
    rows : list of ranges or arrays
        For each sequence, the rows below the header that its frames come from, counted from 0; of a .npz file None.
    times : list of arrays of pyarrow, or None
        For each sequence the column of times, the text of the file.
    moments : list of arrays, or None
        The same as numbers or dates.
    """

    sequences: SequenceBatch
    rows: list | None = None
    times: list | None = None
    moments: list | None = None


class Options(NamedTuple):
    """The options of `read_sequences`, and what they are called in sentences."""

    key: str | None
    time: str | None
    ignore: tuple
    gaps: bool
    delimiter: str | None
    decimal: str | None
    encoding: str | None
    words: dict
    known: dict

    def word(self, option, value):
        """An option with its value, as it is given."""
        word = self.words[option]
        return f"{word}{'' if word.endswith('=') else ' '}{value!r:.60}"


def read_sequences(
    path, *, key=None, time=None, ignore=(), gaps=False, delimiter=None, decimal=None, encoding=None
):  # fmt: skip
    """Read the sequences of a file, told apart by its ending.

    ``.csv``, ``.tsv``
        A header, then one frame in each row, in the order of time. One column tells the sequences apart, all others are
        features. Without such a column the file is one sequence. Commas, semicolons, tabs or bars between the fields
        and decimal commas are detected; empty rows and a line ``sep=;`` are skipped. ``.csv.gz`` and ``.tsv.gz`` are
        the same, compressed. Needs pyarrow.
    ``.parquet``
        The same. Needs pyarrow.
    ``.npz``
        Arrays ``frames`` (M, D) and ``lengths`` (N,); or one 2-D array for each sequence, whose names are the keys;
        or one 3-D array (N, T, D).

    Parameters
    ----------
    path : str, path-like or binary file
        What is not a regular file, such as a pipe, has no ending: it is recognised by its first bytes.
    key : str or None, default=None
        The column of a table that tells the sequences apart; they come in the order of their first
        rows.  None: ``"sequence"``, if there is such a column.
    time : str or None, default=None
        The column of a table that sorts the frames of each sequence: numbers, or dates such as
        2020-12-31 23:59.  It is not a feature; `times` of the batch has it.  None: the order of the rows.
    ignore : str or iterable of str, default=()
        Columns of a table to leave out.
    gaps : bool, default=False
        True: empty fields, ``nan``, ``NA`` and the like are missing values, NaN, as estimators with the option
        ``missing`` take them.
    delimiter : str or None, default=None
        What separates the fields of a .csv file.  None: detected; in a .tsv file, a tab.
    decimal : {".", ","} or None, default=None
        The decimal sign of a .csv file.  None: detected.
    encoding : str or None, default=None
        Encoding of a .csv file.  None: UTF-8, or UTF-16 if the file begins with its byte order mark.

    Returns
    -------
    SequenceBatch
        Its items are arrays (T_i, D), float64, or float32 if a .npz file has that, with the names of the columns and
        the times (dates with a time zone are converted to UTC).

    Raises
    ------
    ValueError
        For a file that is damaged, has another ending or form, or holds anything but finite numbers; the message
        names the column and the row.
    OSError
        For a file that cannot be read.
    ImportError
        For a table, if pyarrow is missing.

    Warns
    -----
    UserWarning
        If rows without a single number were skipped in the middle of a table, and if numbers were read as the names
        of its columns.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rnnrnade import read_sequences
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "walks.csv"
    ...     _ = path.write_text("who;x;y\\nann;0,5;1\\nbob;2;3\\nann;1,5;4\\n")
    ...     batch = read_sequences(path, key="who")
    >>> batch.keys, batch.feature_names
    (['ann', 'bob'], ['x', 'y'])
    >>> batch[0]
    array([[0.5, 1. ],
           [1.5, 4. ]])
    """
    given = {"key": key, "time": time, "ignore": ignore, "gaps": gaps}
    found = read_file(path, **given, delimiter=delimiter, decimal=decimal, encoding=encoding)
    batch = found.sequences
    return SequenceBatch(batch, batch.keys, batch.feature_names, found.moments)


def read_file(
    source, *, name=None, key=None, time=None, ignore=(), gaps=False, delimiter=None, decimal=None, encoding=None,
    words=WORDS, known=None,
):  # fmt: skip
    """`read_sequences` for those who want the rows and times, too.

    Parameters
    ----------
    source : str, path-like or binary file
    name : str or None, default=None
        What sentences call the source.
    words : dict, default=WORDS
        What sentences call the options.
    known : dict or None, default=None
        The columns "key" and "time" of the data that a model was fitted to, for a table where they are not given: the
        first if there is such a column, the second must be there.

    Returns
    -------
    DataFile
    """
    ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    options = Options(key, time, ignore, gaps, delimiter, decimal, encoding, words, known or {})
    for option, value in (("key", key), ("time", time), *(("ignore", column) for column in ignore)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{option} must name a column of the file, a str. Got {value!r:.60} instead.")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"delimiter must be one character. Got {delimiter!r:.60} instead.")
    if delimiter is not None and not delimiter.isascii():
        raise ValueError(f"delimiter must be a character of ASCII. Got {delimiter!r} instead.")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ','. Got {decimal!r:.60} instead.")
    if not hasattr(source, "read"):
        name = os.fsdecode(source) if name is None else name
        with open(source, "rb") as file:
            # A pipe has no ending, nor has /dev/stdin where it is a file.
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not name.startswith(("/dev/", "/proc/"))
            return _read(name, file, name if regular else None, options)
    name = getattr(source, "name", None) if name is None else name
    buffered = source if hasattr(source, "peek") else io.BufferedReader(source)
    try:
        return _read(str(name or "the file"), buffered, None, options)
    finally:
        if buffered is not source:
            buffered.detach()


def form_of(name):
    """(form, whether compressed) by the ending of a name: "csv", "tsv", "parquet", "npz", or None for another."""
    name = os.fsdecode(name).lower()
    compressed = name.endswith(".gz")
    form = _FORMS.get(os.path.splitext(name.removesuffix(".gz"))[1])
    return (None, False) if compressed and form not in ("csv", "tsv") else (form, compressed)


def _read(name, file, file_name, options):
    """The file called `name` in sentences; `file_name`, where it has one, tells its form."""
    begin = file.peek(4)[:4]
    if not begin:
        raise ValueError(f"{name} is empty.")
    if file_name is not None:
        form, compressed = form_of(file_name)
        if file_name.lower().endswith(".safetensors"):
            raise ValueError(f"{name} is a model file; give a data file ({ENDINGS}) instead.")
        if form is None:
            raise ValueError(f"{name}: a data file ends in {ENDINGS}.")
    else:
        form, compressed = _MAGIC.get(begin, "csv"), begin.startswith(b"\x1f\x8b")
    table_only = [option for option in ("key", "time", "ignore") if getattr(options, option)]
    text_only = [option for option in ("delimiter", "decimal", "encoding") if getattr(options, option)]
    if form == "npz" and table_only:
        raise ValueError(f"{options.words[table_only[0]]} is for .csv, .tsv and .parquet, not for {name}.")
    if form in ("npz", "parquet") and text_only:
        raise ValueError(f"{options.words[text_only[0]]} is for .csv and .tsv, not for {name}.")
    if form == "npz":
        return DataFile(_read_npz(name, file, options.gaps))
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f'{name}: tables need pyarrow: pip install "rnnrnade[data]"') from error
    if form == "parquet":
        return _parquet(pyarrow, name, file, options)
    if form == "tsv" and options.delimiter is None:
        options = options._replace(delimiter="\t")
    text = _Text(name, gzip.GzipFile(fileobj=file) if compressed else file, options)
    return _csv(pyarrow, name, text, options)


# ---- .npz ----------------------------------------------------------------------------------------------------------


def _read_npz(path, file, gaps):
    try:
        with np.load(file if file.seekable() else io.BytesIO(file.read()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib have an exception each for every way of being broken
        reason = ": it holds pickles, which are not loaded" if "allow_pickle" in str(error) else ""
        raise ValueError(f"{path} cannot be read as a .npz file{reason}.") from error
    if "frames" in arrays and "lengths" in arrays:
        frames, lengths = _numbers(path, "frames", arrays["frames"], 2, gaps), arrays["lengths"]
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.size == 0 or lengths.min() < 1:
            raise ValueError(f"{path}: 'lengths' must be a 1-D array of whole numbers of at least 1.")
        if sum(lengths.tolist()) != len(frames):  # in Python's integers, which do not overflow
            raise ValueError(f"{path}: 'lengths' add up to {sum(lengths.tolist())}, not to the {len(frames)} 'frames'.")
        return SequenceBatch(np.split(frames, np.cumsum(lengths)[:-1]))
    if not arrays:
        raise ValueError(f"{path} holds no arrays.")
    name, array = next(iter(arrays.items()))
    if len(arrays) == 1 and array.ndim == 3:
        return SequenceBatch(_numbers(path, name, array, 3, gaps))
    sequences = [_numbers(path, name, array, 2, gaps) for name, array in arrays.items()]
    for name, x in zip(arrays, sequences, strict=True):
        if x.shape[1] != (expected := sequences[0].shape[1]):
            raise ValueError(f"{path}: {name!r} has {x.shape[1]} features, the first array has {expected}.")
    return SequenceBatch(sequences, arrays)


def _numbers(path, name, array, ndim, gaps):
    """A checked array of `ndim` axes, float32 as it is and all else as float64."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: {name!r} does not hold real numbers (its type is {array.dtype}).")
    if array.ndim != ndim:
        forms = "'frames' and 'lengths', 2-D arrays of one sequence each, or one 3-D array"
        raise ValueError(f"{path}: {name!r} has {array.ndim} axes; the file must hold {forms}.")
    if 0 in array.shape:
        raise ValueError(f"{path}: {name!r} is empty, its shape is {array.shape}.")
    array = np.ascontiguousarray(array, dtype=np.float32 if array.dtype == np.float32 else np.float64)
    bad = np.isinf(array) if gaps else ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        at = ", ".join(map(str, place))
        raise ValueError(f"{path}: {f'{name}[{at}]'!r} is {array[place]}; every number must be finite.")
    return array


# ---- .csv ----------------------------------------------------------------------------------------------------------


class _Text(io.RawIOBase):
    """The text of a file in UTF-8, for pyarrow, and its first characters before that."""

    def __init__(self, name, file, options):
        self.name, self.file, self.options = name, file, options
        try:
            size = os.fstat(file.fileno()).st_size  # of a pipe 0
        except (OSError, AttributeError):  # of something in memory
            size = 0
        self.block = int(np.clip(size // _SHARE, *_BLOCKS)) if size else _BLOCKS[1]
        mark = self._bytes(lambda: file.peek(2)[:2])
        self.encoding = options.encoding
        if self.encoding is None:
            self.encoding = "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        try:
            "".encode(self.encoding)
            self.decoder = codecs.getincrementaldecoder(self.encoding)()
        except (LookupError, ValueError) as error:
            given = options.word("encoding", self.encoding)
            raise ValueError(f"{given} is not a text encoding that Python knows.") from error
        self.ended, self.n_lines = False, 0
        self.ready = memoryview(b"")

    def _bytes(self, read):
        try:
            return read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{self.name} cannot be read as a .gz file ({error}).") from error

    def more(self, size):
        """The text of the next `size` bytes; at the end none."""
        data = self._bytes(lambda: self.file.read(size))
        self.ended = not self._bytes(lambda: self.file.peek(1))
        encoding = "UTF-8" if self.encoding == "utf-8-sig" else self.encoding
        try:
            text = self.decoder.decode(data, final=self.ended)
            text.encode()  # some encodings have characters that no other has
            why = "it holds NUL characters, as UTF-16 does" if "\0" in text else None
        except UnicodeDecodeError as error:
            bad = bytes(error.object[error.start : error.start + 1]).hex()
            line = self.n_lines + error.object[: error.start].count(b"\n") + 1
            why = f"byte 0x{bad} in line {line} is not {encoding}"
        except UnicodeError as error:
            why = f"it is not {encoding} ({error})"
        if why is not None:
            word = self.options.words["encoding"]
            raise ValueError(
                f"{self.name} cannot be read as a .csv file: {why}. Save it as UTF-8, or give its encoding with "
                f"{word} (cp1252 is that of Windows in western Europe, utf-16 its 'Unicode')."
            )
        self.n_lines += text.count("\n")
        return text

    def begin_with(self, text):
        """Let pyarrow read this text first, then the rest."""
        self.ready = memoryview(text.encode())

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.ready and not self.ended:
            self.ready = memoryview(self.more(self.block).encode())
        n = min(len(buffer), len(self.ready))
        buffer[:n], self.ready = self.ready[:n], self.ready[n:]
        return n


class _Layout(NamedTuple):
    """What the first rows say."""

    delimiter: str
    names: list  # of the columns
    body: list  # the rows of the sample
    rest: str  # the sample below the header
    widest: int  # characters of its longest line


def _csv(pyarrow, name, text, options):
    """The sequences of a .csv file."""
    from pyarrow import csv as arrow_csv

    layout = _layout(name, text, options)
    names = layout.names
    features, key, time = _columns(name, names, options)
    options = options._replace(decimal=_decimal(name, layout, features, options))
    types = {feature: pyarrow.float64() for feature in features}
    types |= {column: pyarrow.string() for column in (key, time) if column is not None}
    blank, ragged = [], []  # numbers of lines of spaces; the row that ends the reading

    def on_ragged(row):
        if not row.text.strip():
            blank.append(row.number)
            return "skip"
        ragged.append(row)
        return "error"

    def counted(number):  # without lines of spaces
        return number - sum(other < number for other in blank)

    text.begin_with(layout.rest)
    try:
        batches = arrow_csv.open_csv(
            io.BufferedReader(text, text.block),
            # On one thread, so that errors come with their row.
            read_options=arrow_csv.ReadOptions(
                column_names=names, block_size=max(text.block, 4 * layout.widest), use_threads=False
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=on_ragged
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=GAP if options.gaps else EMPTY,
                decimal_point=options.decimal,
            ),
        )
        blocks = ((len(batch), lambda wanted, batch=batch: [batch.column(wanted)]) for batch in batches)
        return _collected(name, blocks, features, key, time, options)
    except pyarrow.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            raise ValueError(f"{name} has no rows below its header.") from error
        if ragged:
            row, n = counted(ragged[0].number), ragged[0].actual_columns
            fields = "1 field" if n == 1 else f"{n} fields"
            raise ValueError(f"{name}: row {row} below the header has {fields}, not {len(names)}.") from error
        if (found := _BAD_CELL.search(str(error))) and found[2]:
            text = {names[int(found[1])]: f"{found[3]!r:.60} in row {counted(int(found[2]))} below the header"}
            raise _not_numeric(name, text, options) from error
        raise ValueError(f"{name} cannot be read as a .csv file ({error}).") from error


def _layout(name, text, options):
    """Header and delimiter from the first rows."""
    sample = ""
    while True:
        sample += text.more(max(_SAMPLE, len(sample)))
        lines = list(io.StringIO(sample, newline=""))
        skipped = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
        told = (
            re.fullmatch(rf'\s*"?sep=([{_DELIMITERS}:])"?\s*', lines[skipped], re.IGNORECASE)
            if skipped < len(lines)
            else None
        )
        if told:  # a line for spreadsheets
            skipped += 1
        candidates = options.delimiter or (told[1] if told else _DELIMITERS)
        found = [_split(lines[skipped:], delimiter, text.ended) for delimiter in candidates]
        best = max((layout for layout in found if layout is not None), key=_plausible, default=None)
        if text.ended or (best is not None and best.body):
            break
    if best is None:
        raise ValueError(f"{name} has no rows with fields.")
    if len(candidates) > 1:
        _refuse_ambiguous(name, best, options)
    names = [column.strip() for column in best.names]
    _check_header(name, names, best.body)
    return best._replace(names=names)


def _split(lines, delimiter, ended):
    """The layout that these lines have with a delimiter; None where they hold nothing, or a field without end."""
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        header = next((row for row in reader if any(cell.strip() for cell in row)), None)
        if header is None:
            return None
        first = reader.line_num
        body = [row for row in islice(reader, max(10, 20_000 // len(header))) if row]
    except csv.Error:
        return None
    if not ended and reader.line_num == len(lines) and body:
        body.pop()  # it may go on
    return _Layout(delimiter, header, body, "".join(lines[first:]), max(map(len, lines)))


def _plausible(layout):
    """Which of several layouts is right: the one with the largest of these."""
    fits = [row for row in layout.body if len(row) == len(layout.names)]
    numbers = [any(pattern.fullmatch(cell.strip()) for pattern in _NUMBER.values()) for row in fits for cell in row]
    splits = len(layout.names) > 1
    share = len(fits) / max(1, len(layout.body))
    return splits, share, sum(numbers) / max(1, len(numbers)), len(layout.names)


def _refuse_ambiguous(name, layout, options):
    """Two columns of whole numbers, or one with decimal commas and a comma in its name?"""
    names = layout.names
    if layout.delimiter != "," or options.decimal == "." or len(names) < 2 or not layout.body:
        return
    known = {"sequence", options.key, options.time, *options.ignore, *options.known.values()}
    if {column.strip() for column in names} & known:
        return
    spaced = any(column.startswith(" ") for column in names[1:])
    whole = all(len(row) == len(names) and all(map(_WHOLE.fullmatch, row)) for row in layout.body)
    fractions = not any(cell.startswith(("+", "-")) for row in layout.body for cell in row[1::2])
    binary = all(cell in ("0", "1") for row in layout.body for cell in row)
    if spaced and whole and fractions and not binary:
        raise ValueError(
            f"{name}: {','.join(names)!r} may name {len(names)} columns of whole numbers, or fewer of numbers with "
            f"decimal commas. Say what separates the fields: {options.word('delimiter', ',')} or another."
        )


def _check_header(name, names, body):
    if all(_is_number(column) for column in names):
        whole = all(column.isdecimal() for column in names) and len(set(names)) == len(names)
        counted = len(names) > 2 and names == [str(d) for d in range(len(names))]
        fractions = any(cell.strip() and not _WHOLE.fullmatch(cell.strip()) for row in body for cell in row)
        if not (whole and (counted or fractions)):
            raise ValueError(f"{name} has no header: its first line must name the columns, not hold numbers.")
        warnings.warn(f"{name}: the numbers of its first row are read as the names of the columns.", stacklevel=2)


def _decimal(name, layout, features, options):
    """The decimal sign; text among the first rows is refused, all columns of it at once."""
    rows = [row for row in layout.body if any(map(str.strip, row)) or len(row) == len(layout.names)]
    columns = {name: [] for name in layout.names}
    for number, row in enumerate(rows, 1):
        if len(row) == len(layout.names):
            for column, cell in zip(columns.values(), row, strict=True):
                column.append((number, cell.strip()))
    decimal = options.decimal
    if decimal is None:
        cells = [cell for feature in features for _, cell in columns[feature]]
        commas, points = ([cell for cell in cells if p in cell and _NUMBER[p].fullmatch(cell)] for p in ",.")
        decimal = "," if commas and not points else "."
        # Semicolons stand between fields where commas are those of decimals.
        sure = layout.delimiter == ";" and len(layout.names) > 1
        if decimal == "," and not sure and all(map(_THOUSANDS.fullmatch, commas)):
            raise ValueError(
                f"{name}: the comma in {commas[0]!r} may be that of a decimal or of thousands. Say that it is a "
                f"decimal ({options.word('decimal', ',')}), or write numbers without commas between thousands."
            )
    texts = {}
    for feature in features:
        for row, cell in columns[feature]:
            if cell and not _is_number(cell, decimal) and not (options.gaps and cell in GAP):
                texts[feature] = f"{cell!r:.60} in row {row} below the header"
                break
    if texts:
        raise _not_numeric(name, texts, options)
    return decimal


def _is_number(cell, point="."):
    return bool(_NUMBER[point].fullmatch(cell) or _NOT_FINITE.fullmatch(cell))


# ---- .parquet ------------------------------------------------------------------------------------------------------


def _parquet(pyarrow, name, file, options):
    """The sequences of a .parquet file."""
    from pyarrow import parquet, types

    def numeric(kind):
        tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
        return any(test(kind) for test in tests)

    def block(group):
        def column(wanted):  # one at a time, in pieces, so that what pyarrow holds beside them is little
            for batch in table.iter_batches(_ROWS, [group], [wanted], use_threads=False):
                found = batch.column(0)
                yield found if wanted in (key, time) else found.cast(pyarrow.float64(), safe=False)

        return table.metadata.row_group(group).num_rows, column

    try:
        whole = file if file.seekable() else pyarrow.BufferReader(file.read())
        table = parquet.ParquetFile(whole, buffer_size=_BLOCKS[1], pre_buffer=False)
        schema = table.schema_arrow
        features, key, time = _columns(name, schema.names, options)
        if texts := {column: str(kind) for column in features if not numeric(kind := schema.field(column).type)}:
            raise _not_numeric(name, texts, options)
        return _collected(name, map(block, range(table.num_row_groups)), features, key, time, options)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} cannot be read as a .parquet file ({error}).") from error


# ---- tables --------------------------------------------------------------------------------------------------------


def _columns(name, names, options):
    """(features, key, time): what the columns of a table are."""
    key, time, ignore, words = options.key, options.time, options.ignore, options.words
    if repeated := sorted(column for column, n in Counter(names).items() if n > 1):
        raise ValueError(f"{name} has several columns named {quoted(repeated)}.")
    for option, column in (("key", key), ("time", time), *(("ignore", column) for column in ignore)):
        if column is not None and column not in names:
            raise ValueError(f"{name} has no column {column!r} for {words[option]}; its columns are {quoted(names)}.")
    if time is None and (time := options.known.get("time")) not in (None, *names):
        raise ValueError(
            f"{name} has no column {time!r}, by which the model's training data were sorted; its columns are "
            f"{quoted(names)}. {words['time']} names another; with '', rows are taken as they stand."
        )
    for column in (options.known.get("key"), "sequence"):
        if key is None and column in names and column not in (time, *ignore):
            key = column
    used = [column for column in (key, time, *ignore) if column is not None]
    if len(set(used)) < len(used):
        raise ValueError(f"{name}: {quoted(used)}: a column has one use, as sequence, as time, or to be ignored.")
    features = [column for column in names if column not in used]
    if not features:
        raise ValueError(f"{name} has no column of numbers beside {quoted(used)}.")
    # pandas' to_csv and to_parquet write the index so: as a feature it would be the number of the row.
    for column in features:
        if not column or column.startswith("__index_level_"):
            raise ValueError(
                f"{name}: column {names.index(column) + 1} has no name, as pandas writes its index. Name it, write the "
                f"table with index=False, or leave the column out with {options.word('ignore', column)}."
            )
    return features, key, time


def _not_numeric(name, texts, options):
    found = ", ".join(f"{column!r} ({what})" for column, what in texts.items())
    words = options.words
    return ValueError(
        f"{name} has columns that are not numeric: {found}. Leave out what is not a feature ({words['ignore']}); a "
        f"column of times may sort the frames ({words['time']})."
    )


def _collected(name, blocks, features, key, time, options):
    """The sequences of a table that comes in blocks: the number of rows, and a function from a name to the pieces of
    its column, arrays of pyarrow, those of features of type float64."""
    import pyarrow
    import pyarrow.compute

    frames, codes = np.empty((0, len(features))), np.empty(0, np.int32)
    labels, times, skipped, end, n_rows = {}, [], [], 0, 0
    missing_frames = options.gaps and key is None and time is None  # else a row that holds nothing is no frame
    for n, column in blocks:
        if end + n > len(frames):
            # In place where the system can: blocks and their concatenation would be twice as much.
            frames.resize((end + n + end // 16, len(features)), refcheck=False)
            codes.resize(len(frames), refcheck=False)
        block, code = frames[end : end + n], codes[end : end + n]
        held, empty = np.full(n, missing_frames), {}
        for d, feature in enumerate(features):
            for rows, values in _placed(column(feature)):
                block[rows, d] = values.to_numpy(zero_copy_only=False)
                if values.null_count:
                    marks = values.is_null().to_numpy(zero_copy_only=False)
                    empty.setdefault(feature, np.zeros(n, bool))[rows] = marks
                    held[rows] |= ~marks
                else:
                    held[rows] = True
        if key is not None:
            for rows, values in _placed(column(key)):
                code[rows] = _codes(_as_text(pyarrow, values), labels)
            empty[key] = code < 0
            held |= ~empty[key]
        if time is not None:
            texts = pyarrow.chunked_array([_as_text(pyarrow, values) for values in column(time)], pyarrow.string())
            times.append(texts.combine_chunks())
            empty[time] = pyarrow.compute.equal(times[-1], "").to_numpy(zero_copy_only=False)
            held |= ~empty[time]
        for column_name, marks in empty.items():
            if np.any(marks & held) and (column_name in (key, time) or not options.gaps):
                row = n_rows + int(np.argmax(marks & held)) + 1
                way_out = "fill it in, or leave the row out"
                raise ValueError(f"{name}: column {column_name!r} is empty in row {row} below the header: {way_out}.")
        if not all(np.isfinite(block[:, d]).all() for d in range(len(features))):
            bad = (np.isinf(block) if options.gaps else ~np.isfinite(block)) & held[:, None]
            for i, d in np.argwhere(bad)[:1].tolist():
                where = f"column {features[d]!r}, row {n_rows + i + 1} below the header"
                raise ValueError(f"{name}: {where}: {block[i, d]}; every number must be finite.")
        if not held.all():
            skipped.append(n_rows + np.flatnonzero(~held))
            kept = np.flatnonzero(held)
            block[: len(kept)], code[: len(kept)] = block[kept], code[kept]
            if time is not None:
                times[-1] = times[-1].take(kept)
        n_rows += n
        end += int(held.sum())
    if not end:
        raise ValueError(f"{name} has no rows below its header.")
    frames.resize((end, len(features)), refcheck=False)
    codes.resize(end, refcheck=False)
    rows = range(n_rows)
    if skipped:
        skipped = np.concatenate(skipped)
        rows = np.delete(np.arange(n_rows), skipped)
        if len(between := skipped[skipped < rows[-1]]):
            what = "an empty row is" if len(between) == 1 else f"{len(between)} empty rows are"
            first = f"the first is row {between[0] + 1} below the header"
            warnings.warn(f"{name}: {what} skipped, {first}.", stacklevel=2)
    labels = list(labels) or [0]
    if key is not None and 1 < end == len(labels):
        raise ValueError(
            f"{name}: column {key!r} has a different value in each row, so every sequence would be one frame. If it is "
            f"the time, say so ({options.words['time']}); if it is the number of a row, leave it out "
            f"({options.words['ignore']})."
        )
    times = None if time is None else pyarrow.chunked_array(times).combine_chunks()
    moments = None if time is None else _moments(name, time, times, rows, options.decimal)
    pyarrow.default_memory_pool().release_unused()
    order, ends = _order(name, codes, labels, key, time, times, moments, rows)
    del codes, code, block  # before the frames are sorted, which takes a column more
    if order is not None:
        for d in range(len(features)):
            frames[:, d] = frames[order, d]
        if time is not None:
            times, moments = times.take(order), moments[order]
        rows = order if isinstance(rows, range) else rows[order]
    parts = [slice(a, b) for a, b in pairwise([0, *ends])]
    return DataFile(
        SequenceBatch([frames[part] for part in parts], labels, features),
        [rows[part] for part in parts],
        None if time is None else [times[part.start : part.stop] for part in parts],
        None if time is None else [moments[part] for part in parts],
    )


def _placed(pieces):
    """(rows, piece) of arrays that lie end to end."""
    end = 0
    for piece in pieces:
        yield slice(end, end + len(piece)), piece
        end += len(piece)


def _codes(texts, labels):
    """The number of each text in `labels`, a dict that new ones are added to; -1 for an empty one."""
    texts = texts.dictionary_encode()
    new = [labels.setdefault(label, len(labels)) if label else -1 for label in texts.dictionary.to_pylist()]
    return np.array(new, np.int32)[texts.indices.to_numpy(zero_copy_only=False)]


def _as_text(pyarrow, column):
    """A column of labels or times as text without spaces around it; what is empty as ""."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pyarrow.compute.utf8_trim_whitespace(column.cast(pyarrow.string())).fill_null("")


def _order(name, codes, labels, key, time, times, moments, rows):
    """(order, ends): the rows by label, then by moment, None where they stand so; the end of each label's."""
    order = None
    index = np.int32 if len(codes) < 2**31 else np.int64
    if times is not None:
        order = np.lexsort((moments, codes)).astype(index)
        same = (moments[order[1:]] == moments[order[:-1]]) & (codes[order[1:]] == codes[order[:-1]])
        if same.any():
            i = order[np.argmax(same) + 1]
            raise ValueError(
                f"{name}: {time!r} is {times[i].as_py()} a second time in row {rows[i] + 1} below the header"
                f"{'' if key is None else f', of sequence {labels[codes[i]]!r}'}: which frame comes first?"
            )
    parts = [slice(a, a + _ROWS) for a in range(0, len(codes), _ROWS)]
    sizes = np.zeros(len(labels), np.int64)
    for part in parts:
        found, counts = np.unique(codes[part], return_counts=True)
        sizes[found] += counts
    ends = np.cumsum(sizes)
    if order is None and (codes[1:] < codes[:-1]).any():
        # A stable counting sort: an argsort of all rows would take three times the memory.
        order, place = np.empty(len(codes), index), np.concatenate([[0], ends[:-1]])
        for part in parts:
            by = np.argsort(codes[part], kind="stable")
            found, first, counts = np.unique(codes[part][by], return_index=True, return_counts=True)
            order[np.repeat(place[found] - first, counts) + np.arange(len(by))] = part.start + by
            place[found] += counts
    return order, ends.tolist()


def _moments(name, column, times, rows, decimal):
    """Numbers or dates (of UTC, where they have a zone), from texts that are all numbers or all dates."""
    import pyarrow

    texts = pyarrow.compute.replace_substring(times, ",", ".") if decimal == "," else times
    dates = [pyarrow.timestamp(unit, zone) for unit in ("us", "ns") for zone in (None, "UTC")]

    def moments(n, kind):
        """The first n of them, None where they are not of this kind."""
        try:
            found = texts[:n].cast(kind)
        except pyarrow.ArrowInvalid:
            return None
        found = found.to_numpy(zero_copy_only=False)
        return found if np.isfinite(found).all() else None

    kinds = (pyarrow.int64(), pyarrow.float64(), *dates)
    for kind in kinds:
        if (found := moments(len(texts), kind)) is not None:
            return found
    # The first text that is of no kind, or of another one than those before it.
    bad = max(
        bisect_left(range(len(texts)), True, key=lambda i, kind=kind: moments(i + 1, kind) is None) for kind in kinds
    )
    raise ValueError(
        f"{name}: column {column!r}, row {rows[bad] + 1} below the header: {times[bad].as_py()!r:.60} is not a time to "
        "sort by. It must hold numbers, or dates such as 2020-12-31 23:59:59, all with a time zone or all without."
    )
