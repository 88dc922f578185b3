"""What the sequences, frames and dimensions of X are called, and results as tables that say so.

Design
------
Names travel beside the packed frames and touch no number.  They come from a `SequenceBatch`, from DataFrames or not at
all, and are looked at in three places: in messages and tables of blame (`Labels.key`, `Labels.time`), in warnings
of jumps in time, and where an estimator gives tables instead of arrays (`set_output`): then a result keeps the index
of X, and draws of what follows continue it.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Labels:
    """Names, each None where X has none.

    Attributes
    ----------
    keys : list
        What the N sequences are called.
    key_names : list
        What the parts of a key are called.
    index : pandas.Index, or array-like, of shape (M,); or list of N such, one for each sequence
        What the frames are called, in the order in which they are packed.
    rows : ndarray of shape (M,)
        The row of X from which each packed frame comes, where X is one table of several sequences.
    features : list of str
        What the dimensions are called, as the estimator knows them; set where results are to be tables.
    """

    keys: list | None = None
    key_names: list | None = None
    index: object = None
    rows: np.ndarray | None = None
    features: list | None = None

    @property
    def tables(self):
        """Whether results are DataFrames."""
        return self.features is not None

    @property
    def of_pandas(self):
        """Whether the names of the frames are indices of pandas: X is a DataFrame of it, or holds such."""
        index = self.index[0] if isinstance(self.index, list) and self.index else self.index
        return hasattr(index, "nlevels")

    def rows_of_table(self, table):
        """A list of dicts, a `Table`, as it is, or as a DataFrame where X is one or tables are wanted."""
        if not (self.tables or self.of_pandas):
            return table
        import pandas

        return pandas.DataFrame(table)

    def key(self, i):
        """What sequence i is called: its number, where it has no name."""
        return i if self.keys is None else self.keys[i]

    def times(self, i, begin, end):
        """What the frames of sequence i, the packed frames begin ... end - 1, are called; None without names."""
        if isinstance(self.index, list):
            return _last_level(self.index[i])
        if self.index is None:
            return None
        return _last_level(self.index[begin:end])


NO_LABELS = Labels()


def _last_level(index):
    return index.get_level_values(-1) if getattr(index, "nlevels", 1) > 1 else index


def key_index(labels, n):
    """An index of n sequences."""
    import pandas

    if labels.keys is None:
        return pandas.RangeIndex(n, name="sequence")
    if labels.keys and isinstance(labels.keys[0], tuple):
        return pandas.MultiIndex.from_tuples(labels.keys, names=labels.key_names)
    return pandas.Index(labels.keys, name=(labels.key_names or ["sequence"])[0])


def frame_index(index, n, begin=0):
    """An index of n frames: those called `index`, or numbers from `begin`."""
    import pandas

    if index is None:
        return pandas.RangeIndex(begin, begin + n)
    return index if isinstance(index, pandas.Index) else pandas.Index(np.asarray(index))


def calendar_rule(index):
    """The rule by which dates go on, such as an hour or a month or a business day, an offset of pandas; or None."""
    import pandas

    if not isinstance(index, pandas.DatetimeIndex) or index.freq is not None:
        return getattr(index, "freq", None)
    return pandas.DatetimeIndex(index, freq="infer").freq if len(index) > 2 else None


def following(index, n_before, n):
    """An index of the n frames after n_before frames called `index`: it goes on in equal steps where it went in such,
    else by the numbers of the frames."""
    import pandas

    index = frame_index(index, n_before)
    numbers = pandas.RangeIndex(n_before, n_before + n, name="frame")
    if isinstance(index, pandas.RangeIndex) and n_before:
        first, step = index[-1] + index.step, index.step
        return pandas.RangeIndex(first, first + n * step, step, name=index.name)
    if isinstance(index, pandas.PeriodIndex):
        return pandas.period_range(index[-1] + 1, periods=n, name=index.name)
    rule = calendar_rule(index)
    if rule is not None:
        return pandas.date_range(index[-1], periods=n + 1, freq=rule, name=index.name)[1:]
    if n_before < 2 or index.dtype.kind not in "iufmM":
        return numbers
    steps, step = index[1:] - index[:-1], (index[-1] - index[0]) / (n_before - 1)
    if index.dtype.kind in "iu":
        step = int(steps[0])
    if not (np.allclose(steps, step, rtol=1e-6, atol=0) if index.dtype.kind == "f" else (steps == step).all()):
        return numbers
    return pandas.Index([index[-1] + (k + 1) * step for k in range(n)], name=index.name)


def as_table(values, index, features, name, deep=None):
    """values (n,), (n, D) or (n, D, K) as a Series, or a DataFrame of D or D K columns; `deep`: the name of the third
    axis, and what its entries are called."""
    import pandas

    if values.ndim == 1:
        return pandas.Series(values, index=index, name=name)
    columns = pandas.Index(features)
    if values.ndim == 3:
        columns = pandas.MultiIndex.from_product([features, deep[1]], names=["dimension", deep[0]])
        values = values.reshape(len(values), -1)
    return pandas.DataFrame(values, index=index, columns=columns)


def is_table_of_draws(table):
    return "draw" in (getattr(getattr(table, "index", None), "names", None) or ())


def draws_of_table(draws):
    """The array (n_samples, n, D) of a table that `draws_as_table` made; anything else as it is."""
    if not is_table_of_draws(draws):
        return draws
    if list(draws.index.names[:1]) != ["draw"] or draws.index.nlevels != 2:
        raise ValueError(f"draws of one sequence have the index (draw, time). Got {list(draws.index.names)}.")
    n = draws.index.get_level_values(0).nunique()
    return draws.to_numpy().reshape(n, len(draws) // n, -1)


def draws_as_table(draws, index, features):
    """draws (n_samples, n, D) as a DataFrame with the index (draw, time); `index` is that of the n frames."""
    import pandas

    names = ["draw", "time" if index.name is None else index.name]
    index = pandas.MultiIndex.from_product([range(len(draws)), index], names=names)
    return pandas.DataFrame(draws.reshape(-1, draws.shape[-1]), index=index, columns=features)
