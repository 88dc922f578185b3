"""Sequences from tables and files: DataFrames of pandas and polars, .npz, .csv and .parquet.

Design
------
A `SequenceBatch` is a list, so that estimators and scikit-learn take it as they take any list of sequences. Its items
are DataFrames where it was cut from one, and arrays where it was read from a file, because files are read without
pandas too. Arrays have no names of columns, so the batch holds them, and `sequences.py` reads them there.

Every refusal names the file and, where it can, the row and the column: whoever reads the sentence has an editor or a
spreadsheet open, so rows are counted from 1 below the header.
"""

import csv
from pathlib import Path

import numpy as np

__all__ = ["DATA_SUFFIXES", "SequenceBatch", "read_sequences"]

DATA_SUFFIXES = (".npz", ".csv", ".parquet")


class SequenceBatch(list):
    """A list of sequences with their keys and the names of their features: what estimators take.

    The items are DataFrames of pandas or polars, or arrays. An estimator fitted to a batch knows the names of the
    features (``feature_names_in_``), and compares them with those of every batch that it is given later. A slice of
    a batch is a batch. scikit-learn's cross-validation makes plain lists of it.

    Parameters
    ----------
    frames : iterable of DataFrames or arrays (T_i, D), default=()
    keys : iterable or None, default=None
        What the sequences are called.  None: 0, 1, ...
    feature_names : iterable of str or None, default=None
        Names of the D columns.  None: those of the DataFrames; arrays have none.

    Attributes
    ----------
    keys : list
        What the sequences are called, in their order.
    feature_names : list or None

    Examples
    --------
    >>> import pandas
    >>> from rnnrnade import SequenceBatch
    >>> df = pandas.DataFrame({"who": ["b", "a", "b"], "when": [2, 1, 1], "x": [0.5, 1.5, 2.5]})
    >>> batch = SequenceBatch.from_frame(df, key="who", time="when")
    >>> batch.keys, batch.feature_names, [frame["x"].tolist() for frame in batch]
    (['b', 'a'], ['x'], [[2.5, 0.5], [1.5]])
    """

    def __init__(self, frames=(), keys=None, feature_names=None):
        super().__init__(frames)
        self.keys = list(range(len(self))) if keys is None else list(keys)
        if feature_names is None and len(self):
            feature_names = getattr(self[0], "columns", None)
        self.feature_names = None if feature_names is None else list(feature_names)

    def __getitem__(self, index):
        found = super().__getitem__(index)
        return SequenceBatch(found, self.keys[index], self.feature_names) if isinstance(index, slice) else found

    def select(self, feature_names):
        """The same sequences with these features only, in this order: that of a model, for example.

        Parameters
        ----------
        feature_names : iterable of str

        Returns
        -------
        SequenceBatch

        Raises
        ------
        ValueError
            If the batch has no names of features, or not these.
        """
        names = list(feature_names)
        if self.feature_names is None:
            raise ValueError("the features of this batch have no names to select them by.")
        if missing := [name for name in names if name not in self.feature_names]:
            raise ValueError(f"the batch has no feature {quoted(missing)}; it has {quoted(self.feature_names)}.")
        at = [self.feature_names.index(name) for name in names]
        parts = [x[names] if hasattr(x, "columns") else np.ascontiguousarray(np.asarray(x)[:, at]) for x in self]
        return SequenceBatch(parts, self.keys, names)

    @classmethod
    def from_frame(cls, df, *, key=None, time=None):
        """Cut one table of many sequences, a frame in each row, into its sequences.

        Parameters
        ----------
        df : pandas.DataFrame or polars.DataFrame
        key : column name or None, default=None
            Tells the sequences apart, which come in the order of their first rows.  None: one sequence.
        time : column name or None, default=None
            Sorts the frames of each sequence; of pandas, it becomes their index, which `explain` shows.  None: the
            order of the rows.

        Returns
        -------
        SequenceBatch
            Of DataFrames (T_i, D) with the columns but `key` and `time`.

        Raises
        ------
        TypeError
            If df is no DataFrame.
        ValueError
            For a column that is not there, an empty key or time, or a time that a sequence has twice.
        """
        of_pandas = hasattr(df, "iloc")
        if not hasattr(df, "columns") or not (of_pandas or hasattr(df, "partition_by")):
            raise TypeError(f"df must be a DataFrame of pandas or polars. Got a {type(df).__name__}.")
        columns = list(df.columns)
        for argument, name in (("key", key), ("time", time)):
            if name is None:
                continue
            if name not in columns:
                raise ValueError(f"{argument}={name!r} is no column; there are {', '.join(map(repr, columns))}.")
            empty = df[name].isna() if of_pandas else df[name].is_null()
            if empty.any():
                raise ValueError(f"column {name!r} is empty in row {int(np.argmax(empty.to_numpy()))}.")
        if not len(df):
            raise ValueError("df has no rows: at least one frame is required.")
        dropped = [name for name in (key, time) if name is not None]
        if len(dropped) == len(columns):
            raise ValueError("df has no column of features beside key and time.")
        rows_of = {0: slice(None)} if key is None else _rows_by_label(df[key].to_list())
        frames = []
        for label, rows in rows_of.items():
            part = df.iloc[rows] if of_pandas else df[rows]
            if time is not None:
                repeated = part[time].duplicated() if of_pandas else part[time].is_duplicated()
                if repeated.any():
                    at = part[time].to_numpy()[int(np.argmax(repeated.to_numpy()))]
                    raise ValueError(f"sequence {label!r} has {time}={at} twice: which frame comes first?")
                part = part.sort_values(time).set_index(time, drop=False) if of_pandas else part.sort(time)
            frames.append(part.drop(columns=dropped) if of_pandas else part.drop(dropped))
        return cls(frames, rows_of)


def _rows_by_label(labels):
    """{label: its rows}, in the order in which the labels begin; the rows of several may be mixed."""
    rows_of = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    return rows_of


# ---- files ---------------------------------------------------------------------------------------------------------


def read_sequences(path, *, key=None):
    """Read the sequences of a file, told apart by its ending.

    ``.npz``
        Arrays ``frames`` (M, D) and ``lengths`` (N,); or one 2-D array for each sequence, whose names are the keys;
        or one 3-D array (N, T, D).
    ``.csv``
        A header, then one frame in each row, in the order of time; separated by commas, semicolons or tabs. A column
        tells the sequences apart, all others are features. Without such a column the file is one sequence.
    ``.parquet``
        The same; needs pyarrow or pandas.

    Parameters
    ----------
    path : str or path-like
    key : str or None, default=None
        The column of a .csv or .parquet file that tells the sequences apart; they come in the order of their first
        rows.  None: ``"sequence"``, where there is such a column.

    Returns
    -------
    SequenceBatch
        Of arrays (T_i, D), float64, or float32 where a .npz file has it, with the names of the columns.

    Raises
    ------
    ValueError
        For a file that is damaged, has another ending or form, or holds anything but finite numbers.
    OSError
        For one that cannot be read.
    ImportError
        For a .parquet file, without pyarrow and pandas.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rnnrnade import read_sequences
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "walks.csv"
    ...     _ = path.write_text("who,x,y\\nann,0.5,1\\nbob,2,3\\nann,1.5,4\\n")
    ...     batch = read_sequences(path, key="who")
    >>> batch.keys, batch.feature_names
    (['ann', 'bob'], ['x', 'y'])
    >>> batch[0]
    array([[0.5, 1. ],
           [1.5, 4. ]])
    """
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} is empty.")
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        raise ValueError(f"{path} is a model file; a data file (.npz, .csv or .parquet) is wanted in its place.")
    if suffix not in DATA_SUFFIXES:
        raise ValueError(f"{path}: a data file ends in .npz, .csv or .parquet.")
    if suffix == ".npz":
        if key is not None:
            raise ValueError(f"key= is for .csv and .parquet, not for {path}.")
        return _read_npz(path)
    columns = _csv_columns(path) if suffix == ".csv" else _parquet_columns(path)
    return _read_table(path, columns, key)


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # NumPy, zipfile and zlib have an exception each for every way of being broken
        reason = ": it holds pickles, which are not loaded" if "allow_pickle" in str(error) else ""
        raise ValueError(f"{path} cannot be read as a .npz file{reason}.") from error
    if "frames" in arrays and "lengths" in arrays:
        frames, lengths = _numbers(path, "frames", arrays["frames"], 2), arrays["lengths"]
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.size == 0 or lengths.min() < 1:
            raise ValueError(f"{path}: 'lengths' must be a 1-D array of whole numbers of at least 1.")
        if lengths.sum() != len(frames):
            raise ValueError(f"{path}: 'lengths' add up to {lengths.sum()}, not to the {len(frames)} 'frames'.")
        return SequenceBatch(np.split(frames, np.cumsum(lengths)[:-1]))
    if not arrays:
        raise ValueError(f"{path} holds no arrays.")
    name, array = next(iter(arrays.items()))
    if len(arrays) == 1 and array.ndim == 3:
        return SequenceBatch(_numbers(path, name, array, 3))
    sequences = [_numbers(path, name, array, 2) for name, array in arrays.items()]
    for name, x in zip(arrays, sequences, strict=True):
        if x.shape[1] != (expected := sequences[0].shape[1]):
            raise ValueError(f"{path}: '{name}' has {x.shape[1]} features, the first array has {expected}.")
    return SequenceBatch(sequences, arrays)


def _numbers(path, name, array, ndim):
    """A checked array of `ndim` axes, float32 as it is and all else as float64."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: '{name}' does not hold real numbers (its type is {array.dtype}).")
    if array.ndim != ndim:
        forms = "'frames' and 'lengths', 2-D arrays of one sequence each, or one 3-D array"
        raise ValueError(f"{path}: '{name}' has {array.ndim} axes; the file must hold {forms}.")
    if 0 in array.shape:
        raise ValueError(f"{path}: '{name}' is empty, its shape is {array.shape}.")
    array = np.ascontiguousarray(array, dtype=np.float32 if array.dtype == np.float32 else np.float64)
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        at = ", ".join(map(str, place))
        raise ValueError(f"{path}: '{name}[{at}]' is {array[place]}; every number must be finite.")
    return array


def _csv_columns(path):
    """The columns of a .csv file as {name: tuple of str}."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            # European spreadsheets write ';', and some programs tabs, under the same ending.
            delimiter = next((d for d in ",;\t" if d in head), ",")
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a .csv file ({error}).") from error
    header, rows = [name.strip() for name in rows[0]] if rows else [], rows[1:]
    if not rows:
        raise ValueError(f"{path} has no rows below its header.")
    if all(_is_number(name) for name in header):
        raise ValueError(f"{path} has no header: its first line must name the columns.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{path}: row {number} below the header has {len(row)} fields, not {len(header)}.")
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{path} has several columns named {quoted(repeated)}.")
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def _parquet_columns(path):
    """The columns of a .parquet file as {name: 1-D array}."""
    try:
        from pyarrow import parquet
    except ImportError:
        parquet = None
    try:
        if parquet is not None:
            table = parquet.read_table(path)
            columns = [column.to_numpy() for column in table.columns]
            return dict(zip(table.column_names, columns, strict=True))
        import pandas

        table = pandas.read_parquet(path)
        return {str(name): table[name].to_numpy() for name in table.columns}
    except ImportError as error:
        raise ImportError(f'{path}: .parquet needs pyarrow: pip install "rnnrnade[data]"') from error
    except Exception as error:  # pyarrow and fastparquet each have their own exceptions
        raise ValueError(f"{path} cannot be read as a .parquet file.") from error


def _read_table(path, columns, key):
    name = "sequence" if key is None else key
    if key is not None and name not in columns:
        raise ValueError(f"{path} has no column {name!r}; its columns are {quoted(columns)}.")
    labels = columns.pop(name, None)
    if not columns:
        raise ValueError(f"{path} has no column of numbers beside {name!r}.")
    # pandas' to_csv and to_parquet write the index so: as a feature it would be the number of the row.
    if any(not feature or feature.startswith("__index_level_") for feature in columns):
        raise ValueError(f"{path} has a column without a name, as pandas writes its index; write it with index=False.")
    frames, texts = [], {}
    for feature, values in columns.items():
        try:
            frames.append(np.fromiter(map(float, values), np.float64, len(values)))
        except (TypeError, ValueError):
            row = next(i for i, value in enumerate(values) if not _is_number(value))
            texts[feature] = f"{feature!r} ({str(values[row])!r} in row {row + 1} below the header)"
    if texts:
        raise ValueError(f"{path} has columns that are not numeric: {', '.join(texts.values())}.")
    frames = np.stack(frames, axis=1)
    if not len(frames):
        raise ValueError(f"{path} has no rows.")
    if not np.isfinite(frames).all():
        row, d = np.argwhere(~np.isfinite(frames))[0]
        where = f"column {list(columns)[d]!r}, row {row + 1} below the header"
        raise ValueError(f"{path}: {where}: {frames[row, d]}; every number must be finite.")
    if labels is None:
        return SequenceBatch([frames], feature_names=columns)
    for row, label in enumerate(labels):
        if label is None or label != label or label == "":
            raise ValueError(f"{path}: column {name!r} is empty in row {row + 1} below the header.")
    rows_of = _rows_by_label(map(str, labels))
    return SequenceBatch([frames[rows] for rows in rows_of.values()], rows_of, columns)


def _is_number(value):
    try:
        float(value)
        return True
    except (TypeError, ValueError):
        return False


def quoted(names):
    """Names as they stand in a sentence: 'x', 'y'."""
    return ", ".join(repr(str(name)) for name in names)
