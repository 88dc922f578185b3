"""Sequences from tables: DataFrames of pandas and polars.  datafiles.py reads them from files.

Design
------
A `SequenceBatch` is what estimators and scikit-learn take as they take any list of sequences. Its items are DataFrames
where it was cut from one, and arrays where it was read from a file, because files are read without pandas too. Arrays
have no names of columns, so the batch holds them, and `sequences.py` reads them there.

A batch that was cut from a table holds that table, its rows in the order of the sequences, and where each sequence
begins. Estimators read the table; an item is cut when somebody asks for it, because a DataFrame costs more time than
the scores of a short sequence. Nobody may change a batch, so that its table, keys and times stay those of its items.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from numbers import Real

import numpy as np

__all__ = ["SequenceBatch"]


class SequenceBatch(Sequence):
    """Sequences with their keys, their times and the names of their features: what estimators take.

    The items are DataFrames of pandas or polars, or arrays.  Like a tuple, a batch cannot be changed.  An estimator
    fitted to a batch remembers the names of the features (``feature_names_in_``) and compares them with those of
    every batch that it is given later.  Tables, such as those of `explain`, show the keys and the times.  A slice of a
    batch is a batch; scikit-learn's cross-validation makes plain lists of it.

    Parameters
    ----------
    frames : iterable of DataFrames or arrays (T_i, D), default=()
    keys : iterable or None, default=None
        Names of the sequences.  None: 0, 1, ...
    feature_names : iterable of str or None, default=None
        Names of the D columns.  None: those of the DataFrames; arrays have none.
    times : iterable of array-likes (T_i,) or None, default=None
        Names of the frames of each sequence.  None: the indices of pandas DataFrames; others have none.

    Attributes
    ----------
    keys : list
        Names of the sequences, in their order.
    feature_names : list or None
    times : list or None

    Examples
    --------
    >>> import pandas
    >>> from rnnrnade import SequenceBatch
    >>> df = pandas.DataFrame({"who": ["b", "a", "b", "a"], "when": [2, 1, 1, 2], "x": [0.5, 1.5, 2.5, 3.5]})
    >>> batch = SequenceBatch.from_frame(df, key="who", time="when")
    >>> batch.keys, batch.feature_names, [frame["x"].tolist() for frame in batch]
    (['b', 'a'], ['x'], [[2.5, 0.5], [1.5, 3.5]])
    """

    def __init__(self, frames=(), keys=None, feature_names=None, times=None):
        frames = list(frames)
        if times is None and len(frames) and all(hasattr(x, "iloc") for x in frames):
            times = [x.index for x in frames]
        elif times is not None:
            times = list(times)
        if feature_names is None and len(frames):
            feature_names = getattr(frames[0], "columns", None)
        self._set(frames, range(len(frames)) if keys is None else keys, feature_names, times)
        if times is not None:
            for i, (x, labels) in enumerate(zip(frames, times, strict=True)):
                if len(labels) != len(x):
                    raise ValueError(f"sequence {i} has {len(x)} frames, but times[{i}] has {len(labels)}.")

    def _set(self, parts, keys, feature_names, index, key_names=None):
        self._parts, self._index, self.key_names = parts, index, key_names
        self.keys = list(keys)
        self.feature_names = None if feature_names is None else list(feature_names)
        if len(self.keys) != len(parts):
            raise ValueError(f"there are {len(self.keys)} keys for {len(parts)} sequences.")
        if isinstance(index, list) and len(index) != len(parts):
            raise ValueError(f"there are times of {len(index)} sequences for {len(parts)} sequences.")
        return self

    @classmethod
    def _of(cls, *state):
        return cls.__new__(cls)._set(*state)

    def __len__(self):
        return len(self._parts)

    def __getitem__(self, i):
        if not isinstance(i, slice):
            return self._parts[i]
        index = self._index
        if index is not None:
            index = index[i] if isinstance(index, list) else _rows(index, self._parts.rows(i))
        return self._of(self._parts[i], self.keys[i], self.feature_names, index, self.key_names)

    def __repr__(self):
        names = "" if self.feature_names is None else f", features {quoted(self.feature_names)}"
        return f"<SequenceBatch of {len(self)} sequences{names}>"

    @property
    def times(self):
        """Names of the frames of each sequence, a list; None if they have none."""
        if self._index is None or isinstance(self._index, list):
            return self._index
        return [self._index[a:b] for a, b in pairwise(self._parts.offsets.tolist())]

    @property
    def packed(self):
        """(table, offsets) where the batch was cut from one table, else None: sequence i is its rows
        offsets[i] ... offsets[i + 1] - 1."""
        return (self._parts.table, self._parts.offsets) if isinstance(self._parts, _Pieces) else None

    @property
    def frame_labels(self):
        """`times` as they are held: of a batch that was cut from one table, those of all rows in one."""
        return self._index

    def select(self, feature_names):
        """The same sequences with only these features, in this order, for example that of a model.

        Parameters
        ----------
        feature_names : iterable of str

        Returns
        -------
        SequenceBatch

        Raises
        ------
        ValueError
            If the batch has no feature names, or not these.
        """
        names = list(feature_names)
        if self.feature_names is None:
            raise ValueError("the features of this batch have no names to select them by.")
        if missing := [name for name in names if name not in self.feature_names]:
            raise ValueError(f"the batch has no feature {quoted(missing)}; it has {quoted(self.feature_names)}.")
        if isinstance(self._parts, _Pieces):
            parts = _Pieces(self._parts.table[names], self._parts.offsets)
        else:
            at = [self.feature_names.index(name) for name in names]
            parts = [x[names] if hasattr(x, "columns") else np.ascontiguousarray(np.asarray(x)[:, at]) for x in self]
        return self._of(parts, self.keys, names, self._index, self.key_names)

    @classmethod
    def from_frame(cls, df, *, key=None, time=None, split_at=None):
        """Cut one table of many sequences, a frame in each row, into its sequences.

        Parameters
        ----------
        df : pandas.DataFrame or polars.DataFrame
        key : name of a column, or of a level of the index, or a list of several; default=None
            Tells the sequences apart, which come in the order of their first rows; of a list, keys are tuples.  None:
            one sequence.
        time : name of a column, or of a level of the index, default=None
            Sorts the frames of each sequence and names them in tables; with pandas it becomes their index.  None: the
            frames are in the order of the rows.
        split_at : number, timedelta or str, default=None
            Cut a sequence where its time (without `time`: the index) moves on by more than this, such as 5, or "10min"
            if times are dates.  The keys are then those of the sequences with the number of the piece, (key, 0),
            (key, 1), ...; without `key` the numbers alone.

        Returns
        -------
        SequenceBatch
            Its items are DataFrames (T_i, D) with all columns except `key` and `time`.

        Raises
        ------
        TypeError
            If df is not a DataFrame.
        ValueError
            For a column that is not there, an empty key or time, a time that occurs twice in a sequence, or a key
            whose values never repeat.

        Examples
        --------
        >>> import pandas
        >>> from rnnrnade import SequenceBatch
        >>> df = pandas.DataFrame({"minute": [0, 1, 2, 60, 61], "x": [0.5, 1.5, 2.5, 3.5, 4.5]})
        >>> [frame["x"].tolist() for frame in SequenceBatch.from_frame(df, time="minute", split_at=5)]
        [[0.5, 1.5, 2.5], [3.5, 4.5]]
        """
        of_pandas = _is_pandas(df)
        if not hasattr(df, "columns") or not (of_pandas or hasattr(df, "partition_by")):
            raise TypeError(f"df must be a DataFrame of pandas or polars. Got a {type(df).__name__}.")
        columns = columns_of(df)
        if not len(df):
            raise ValueError("df has no rows: at least one frame is required.")
        keys = [] if key is None else list(key) if isinstance(key, list) else [key]
        if isinstance(key, list) and not key:
            raise ValueError("key is an empty list: name the columns that tell the sequences apart, or leave it out.")
        wanted = [*keys] if time is None else [*keys, time]
        if twice := [name for name in wanted if wanted.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice: key and time are different columns.")
        labels = [_labels(df, "key" if i < len(keys) else "time", name) for i, name in enumerate(wanted)]
        features = [name for name in columns if name not in wanted]
        if not features:
            raise ValueError("df has no column of features beside key and time.")
        times = None if time is None else labels.pop()
        index = df.index if of_pandas else None
        if times is not None:
            index = _as_index(times, time) if of_pandas else times
        elif of_pandas and (left := [name for name in index.names if name not in keys]) and len(left) < index.nlevels:
            index = index.droplevel([name for name in keys if name in index.names])
        names = {"time": "index" if time is None else time, "keys": keys, "several": isinstance(key, list)}
        return _cut(df[features], labels, times, index, split_at, names)[0]


def _is_pandas(df):
    return hasattr(df, "iloc")


def columns_of(df):
    """The names of the columns of df, none of which comes twice."""
    columns = list(df.columns)
    if repeated := sorted({str(name) for name in columns if columns.count(name) > 1}):
        raise ValueError(f"the DataFrame has several columns named {quoted(repeated)}.")
    return columns


def _labels(df, argument, name):
    """A column of df, or a level of its index, none of whose entries is empty: a Series."""
    levels = list(df.index.names) if _is_pandas(df) else []
    if name in list(df.columns):
        labels = df[name]
    elif name is not None and name in levels:
        labels = df.index.get_level_values(name).to_series()
    else:
        known = quoted([*df.columns, *(level for level in levels if level is not None)])
        raise ValueError(f"{argument}={name!r} is not a column; there are {known}.")
    empty = np.asarray(labels.isna() if hasattr(labels, "isna") else labels.is_null())
    if empty.any():
        raise ValueError(f"column {name!r} is empty in row {int(empty.argmax())}.")
    return labels


def _as_index(labels, name):
    """A Series of pandas as an index."""
    import pandas

    return pandas.Index(labels, name=name)


def _rows(table, rows):
    """Rows of a DataFrame, an index or a Series, in the order of an array of their numbers."""
    if hasattr(table, "columns") and _is_pandas(table):
        return table.iloc[rows]
    return table[rows]


def panel(df):
    """A table of several sequences, a frame in each row: (its batch, the row of df of each frame); None of any other.

    Such are a DataFrame whose index has levels, the last of which is the time, and one with a column "sequence"."""
    levels = getattr(getattr(df, "index", None), "nlevels", 1)
    named = "sequence" in list(df.columns)
    if levels > 1 and named:
        raise ValueError(
            "X has an index of several levels and a column 'sequence': SequenceBatch.from_frame(X, key=...) says which "
            "of them tells the sequences apart."
        )
    if levels > 1:
        index = df.index
        *keys, times = (index.get_level_values(i).to_series() for i in range(levels))
        *key_names, time = index.names
        for name, labels in zip(index.names, (*keys, times), strict=True):
            if labels.isna().any():
                raise ValueError(f"the level {name!r} of the index is empty in row {int(np.argmax(labels.isna()))}.")
        names = {"time": "time" if time is None else time, "keys": key_names, "several": levels > 2}
        return _cut(df, keys, times, index, None, names)
    if not named:
        return None
    features = [name for name in columns_of(df) if name != "sequence"]
    if not features:
        raise ValueError("X has no column of features beside 'sequence'.")
    names = {"time": "index", "keys": ["sequence"], "several": False}
    index = df.index if _is_pandas(df) else None
    return _cut(df[features], [_labels(df, "key", "sequence")], None, index, None, names)


def _cut(table, keys, times, index, split_at, names):
    """(batch, the row of `table` of each of its frames).

    Parameters
    ----------
    table : DataFrame
        Of features.
    keys : list of Series
        Which together tell the sequences apart; none: there is one.
    times : Series or None
        By which the frames are sorted.
    index : index, Series or None
        What the rows are called.
    split_at : see `SequenceBatch.from_frame`
    names : dict
        What to call "time" and the "keys" in messages; whether keys are tuples, "several".
    """
    M = len(table)
    labels = zip(*(key.to_list() for key in keys), strict=True) if names["several"] else keys and keys[0].to_list()
    found, sequence = _numbered(labels) if keys else ([0], np.zeros(M, np.int64))
    if len(found) == M > 1:
        what = f"key {quoted(names['keys'])} never repeats a value"
        raise ValueError(
            f"{what}: each of the {M} rows would be a sequence of one frame. If it is the time, write "
            "SequenceBatch.from_frame(df, time=...); if rows do not depend on each other, take a model of vectors."
        )
    if times is None:
        order = np.argsort(sequence, kind="stable")
    else:
        try:
            rank = np.asarray(times.rank(method="dense"))
        except Exception as error:  # pandas and polars each have their own
            raise ValueError(f"{names['time']!r} cannot be sorted ({error}).") from error
        order = np.lexsort((rank, sequence))
        again = (np.diff(rank[order]) == 0) & (np.diff(sequence[order]) == 0)
        if again.any():
            row = int(order[again.argmax()])
            label, at = found[sequence[row]], times.to_list()[row]
            raise ValueError(f"sequence {label!r} has {names['time']}={at} twice: which frame comes first?")
    begins = np.append(True, np.diff(sequence[order]) != 0)
    key_names = names["keys"]
    if split_at is not None:
        jumps = np.append(False, _jumps(index if times is None else times, order, split_at)) & ~begins
        if (begins | jumps).all() and M > 1:
            raise ValueError(f"split_at={split_at!r} cuts each frame from the next: the times go on in larger steps.")
        pieces = np.flatnonzero(begins | jumps)
        of = sequence[order][pieces]
        number = np.arange(len(pieces)) - np.searchsorted(of, of)
        begins, whole = begins | jumps, names["several"]
        found = [
            int(n) if not keys else (*found[i], int(n)) if whole else (found[i], int(n))
            for i, n in zip(of.tolist(), number.tolist(), strict=True)
        ]
        key_names = [*key_names, "piece"]
    offsets = np.append(np.flatnonzero(begins), M).astype(np.int64)
    table = _rows(table, order)
    if index is not None:
        index = _rows(index, order)
        if _is_pandas(table):
            table.index = index
    batch = SequenceBatch._of(_Pieces(table, offsets), found, list(table.columns), index, key_names or None)
    return batch, order


def _numbered(labels):
    """(the different labels in the order of their first rows, the number of that of each row)."""
    numbers = {}
    rows = [numbers.setdefault(label, len(numbers)) for label in labels]
    return list(numbers), np.array(rows, np.int64)


def _jumps(times, order, split_at):
    """Whether time goes on by more than split_at after each row but the last, (M - 1,), rows in `order`."""
    series = times.to_series() if hasattr(times, "to_series") else times
    steps = None
    if series is not None and getattr(times, "nlevels", 1) == 1:
        series = series.iloc[order] if _is_pandas(series) else series[order]
        try:
            steps = np.asarray(series.diff())[1:]
        except Exception:  # of text, for example: pandas and polars each have their own exceptions
            steps = None
    if steps is None or steps.dtype.kind not in "miuf":
        raise ValueError("split_at needs times that are numbers or dates: name their column as time=.")
    if steps.dtype.kind != "m":
        if not isinstance(split_at, Real) or isinstance(split_at, bool) or not split_at > 0:
            raise ValueError(f"split_at must be a number above 0, since the times are numbers. Got {split_at!r}.")
        return steps > split_at
    if isinstance(split_at, str):
        try:
            import pandas

            split_at = pandas.Timedelta(split_at)
        except (ImportError, ValueError) as error:
            raise ValueError(f"split_at={split_at!r} is not a time that pandas knows, such as '10min'.") from error
    if not isinstance(split_at, timedelta | np.timedelta64) or not split_at > type(split_at)(0):
        raise ValueError(f"split_at must be a time above 0, such as '10min', since times are dates. Got {split_at!r}.")
    return steps > np.timedelta64(split_at)


class _Pieces(Sequence):
    """The pieces of a table, each cut when it is asked for: piece i is rows offsets[i] ... offsets[i + 1] - 1."""

    def __init__(self, table, offsets):
        self.table, self.offsets = table, offsets

    def __len__(self):
        return len(self.offsets) - 1

    def rows(self, pieces):
        """The rows of a slice of the pieces."""
        bounds = [(self.offsets[i], self.offsets[i + 1]) for i in range(len(self))[pieces]]
        return np.concatenate([np.arange(a, b) for a, b in bounds] or [np.arange(0)])

    def __getitem__(self, i):
        if isinstance(i, slice):
            lengths = np.diff(self.offsets)[i]
            return _Pieces(_rows(self.table, self.rows(i)), np.append(0, np.cumsum(lengths)))
        i = range(len(self))[i]  # raises
        a, b = int(self.offsets[i]), int(self.offsets[i + 1])
        return self.table.iloc[a:b].copy() if _is_pandas(self.table) else self.table[a:b]


def quoted(names):
    """Names as they stand in a sentence: 'x', 'y'."""
    return ", ".join(repr(str(name)) for name in names)
