"""Sequences from tables: DataFrames of pandas and polars.  datafiles.py reads them from files.

Design
------
A `SequenceBatch` is a list, so that estimators and scikit-learn take it as they take any list of sequences. Its items
are DataFrames where it was cut from one, and arrays where it was read from a file, because files are read without
pandas too. Arrays have no names of columns, so the batch holds them, and `sequences.py` reads them there.
"""

import numpy as np

__all__ = ["SequenceBatch"]


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


def quoted(names):
    """Names as they stand in a sentence: 'x', 'y'."""
    return ", ".join(repr(str(name)) for name in names)
