"""What the sequences, frames and dimensions of X are called, and results as tables that carry these names.

Design
------
Names travel beside the packed frames and touch no number.  They come from a `SequenceBatch`, from DataFrames or not at
all, and are used in three places: in messages and tables of blame (`Labels.key`, `Labels.times`), in warnings about
jumps in time, and where an estimator returns tables instead of arrays (`set_output`): there, results keep the index of
X, and draws of what follows continue it.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Labels:
    """The names that X has; None for each kind that it does not have.

    Attributes
    ----------
    keys : list
        Names of the N sequences.
    key_names : list
        Names of the parts of a key.
    index : pandas.Index, or array-like, of shape (M,); or list of N of these, one for each sequence
        Names (times) of the frames, in the order in which they are packed.
    rows : ndarray of shape (M,)
        The row of X from which each packed frame comes, if X is one table of several sequences.
    features : list of str
        Names of the dimensions, as the estimator knows them; set if results are to be tables.
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
        """Whether the names of the frames are indices of pandas: X is a pandas DataFrame, or holds some."""
        index = self.index[0] if isinstance(self.index, list) and self.index else self.index
        return hasattr(index, "nlevels")

    def rows_of_table(self, table):
        """A list of dicts, a `Table`, as it is, or as a DataFrame if X is one or tables are wanted."""
        if not (self.tables or self.of_pandas):
            return table
        import pandas

        return pandas.DataFrame(table)

    def key(self, i):
        """The key of sequence i; its number, if it has no key."""
        return i if self.keys is None else self.keys[i]

    def times(self, i, begin, end):
        """The names of the frames of sequence i, the packed frames begin ... end - 1; None if they have none."""
        if isinstance(self.index, list):
            return _last_level(self.index[i])
        if self.index is None:
            return None
        return _last_level(self.index[begin:end])


NO_LABELS = Labels()


def _last_level(index):
    return index.get_level_values(-1) if getattr(index, "nlevels", 1) > 1 else index


def key_index(labels, n):
    """An index for n sequences."""
    import pandas

    if labels.keys is None:
        return pandas.RangeIndex(n, name="sequence")
    if labels.keys and isinstance(labels.keys[0], tuple):
        return pandas.MultiIndex.from_tuples(labels.keys, names=labels.key_names)
    return pandas.Index(labels.keys, name=(labels.key_names or ["sequence"])[0])


def frame_index(index, n, begin=0):
    """An index for n frames: the names `index`, or numbers from `begin`."""
    import pandas

    if index is None:
        return pandas.RangeIndex(begin, begin + n)
    return index if isinstance(index, pandas.Index) else pandas.Index(np.asarray(index))


def calendar_rule(index):
    """The step by which dates go on, such as an hour, a month or a business day, as a pandas offset; or None."""
    import pandas

    if not isinstance(index, pandas.DatetimeIndex) or index.freq is not None:
        return getattr(index, "freq", None)
    return pandas.DatetimeIndex(index, freq="infer").freq if len(index) > 2 else None


def following(index, n_before, n):
    """An index for the n frames after n_before frames with the names `index`: it continues them if they move in equal
    steps; otherwise it numbers the frames."""
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
    """values (n,), (n, D) or (n, D, K) as a Series, or as a DataFrame with D or D K columns; `deep`: the name of the
    third axis and of its entries."""
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
    """The array (n_samples, n, D) in a table that `draws_as_table` made; anything else as it is."""
    if not is_table_of_draws(draws):
        return draws
    if list(draws.index.names[:1]) != ["draw"] or draws.index.nlevels != 2:
        raise ValueError(f"a table of draws of one sequence has the index (draw, time). Got {list(draws.index.names)}.")
    n = draws.index.get_level_values(0).nunique()
    return draws.to_numpy().reshape(n, len(draws) // n, -1)


def draws_as_table(draws, index, features):
    """draws (n_samples, n, D) as a DataFrame with the index (draw, time); `index` is that of the n frames."""
    import pandas

    names = ["draw", "time" if index.name is None else index.name]
    index = pandas.MultiIndex.from_product([range(len(draws)), index], names=names)
    return pandas.DataFrame(draws.reshape(-1, draws.shape[-1]), index=index, columns=features)
