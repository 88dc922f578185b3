"""The border: any X becomes packed frames and offsets, checked once.

Design
------
Everything behind this file trusts its arrays. `Sequences.frames` is one C-contiguous native float array
(M, D), all sequences end to end, and `offsets` (N + 1,) says where each begins. The frames may be the
caller's own array and may be read-only: nothing may write to them.

Forms of X for sequences, told apart by the number of axes and never by values:

    "list"     list, tuple or 1-D object array of (T_i, D) arrays, DataFrames or nested lists: THE form
    "3d"       one array (N, T, D)
    "2d"       one array, DataFrame or list of lists of numbers (T, D): ONE sequence
    "lengths"  the same with `lengths=`: several sequences end to end
    "panel"    one DataFrame of several sequences: with a multi-level index whose last level is the time, or with a
               column "sequence" (tables.py)

A `SequenceBatch` (tables.py) has the form "list"; if its items are arrays, it names their features.  What X calls its
sequences and frames travels with them as `Labels` (labels.py).

A list of 1-D arrays could be N sequences of one dimension or the frames of one sequence. It is refused, with a
message that names both ways out, because a guess would often be wrong and go unnoticed.

The dtype follows scikit-learn: float32 and float64 stay, everything else becomes float64 (float16 too, without
loss). A list of both float32 and float64 arrays becomes float64.

Native float arrays with the right D take a short cut of a few microseconds; everything else goes through
`validate_data` and `check_array`, for scikit-learn's wording. Both end in one check of the values, on the packed
array, and only there is the position of a bad entry worked out. If the sum is finite, so is every entry, which takes
one pass and no temporary array; if it is not, that may be an overflow, so then each entry is looked at.
"""

import datetime
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Number, Real

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from .checks import BadEntry, OutOfRange, as_numbers, naming
from .labels import NO_LABELS, Labels, as_table, calendar_rule, draws_as_table, following, frame_index, key_index
from .tables import SequenceBatch, columns_of, panel, quoted

__all__ = [
    "Sequences",
    "check_absence_of_lengths",
    "check_frame_weights",
    "check_leading",
    "check_sequences",
    "check_validation",
    "check_vectors",
]

NESTED = 4  # depth to which nested lists are followed; no form has more than three
_NATIVE = (np.dtype(np.float64), np.dtype(np.float32))
# NaN and infinity are left to `_checked`, which knows the sequence and the frame.
_CHECKS = {"dtype": [np.float64, np.float32], "order": "C", "ensure_all_finite": False}
_NOT_NUMBERS = {"U": "strings", "S": "bytes", "m": "time differences", "M": "dates", "V": "records"}


@dataclass(frozen=True, eq=False)
class Sequences:
    """The frames of all sequences, end to end, and where each sequence begins.

    Attributes
    ----------
    frames : ndarray of shape (M, D)
        C-contiguous, native float32 or float64; possibly the caller's own memory, possibly read-only.
    offsets : ndarray of shape (N + 1,), int64
        Sequence i is ``frames[offsets[i]:offsets[i + 1]]``.
    form : {"vectors", "list", "3d", "2d", "lengths", "panel"}
        The form in which X came; it decides the form of what goes back.
    has_gaps : bool
        Whether any entry is NaN, a missing value.
    labels : Labels
        What X calls its sequences and frames, and whether results are tables that say so.
    origin : (Sequences, function) or None
        If these are a part of other `Sequences`: those, and a function that gives the rows of the part in them, (M,).
    argument : str or None
        The name of the argument that held them, if it was not X.
    """

    frames: np.ndarray
    offsets: np.ndarray
    form: str
    has_gaps: bool = False
    labels: Labels = NO_LABELS
    origin: tuple | None = None
    argument: str | None = None

    @property
    def n_sequences(self):
        return len(self.offsets) - 1

    @property
    def n_frames(self):
        return self.frames.shape[0]

    @property
    def n_features(self):
        return self.frames.shape[1]

    @property
    def lengths(self):
        return np.diff(self.offsets)

    @property
    def item_is_sequence(self):
        """True if there is one score or weight for each sequence, False if there is one for each frame."""
        return self.form in ("list", "3d", "panel")

    # ---- what goes back -----------------------------------------------------------------------------------------

    @np.errstate(over="ignore")  # a sum below the range of float64 is minus infinity
    def per_item(self, values, name="log_density"):
        """One number for each item of X's first axis, from one for each frame.

        Parameters
        ----------
        values : ndarray of shape (M,)
        name : str
            What the numbers are.

        Returns
        -------
        ndarray of shape (N,), the sums over each sequence, for a list or a 3-D array; else `values` itself.
            The sum of a sequence is ``values[a:b].sum()``, the same bits whatever else is in the batch.  For one
            DataFrame of several sequences, or if tables are wanted, a Series.
        """
        if not self.item_is_sequence:
            return self._frames_table(values, name) if self.labels.tables else values
        lengths = self.lengths
        if (lengths == lengths[0]).all():  # NumPy sums a row of a table as it sums the row alone
            sums = values.reshape(len(lengths), -1).sum(axis=1)
        else:
            sums = np.array([values[a:b].sum() for a, b in self.slices], dtype=values.dtype)
        return self.per_sequence(sums, name)

    def per_sequence(self, values, name):
        """values (N,), one for each sequence or row; a Series if `per_item` gives one."""
        if self.form == "vectors":
            return self._frames_table(values, name) if self.labels.tables else values
        if not self.labels.tables and not (self.form == "panel" and self.labels.of_pandas):
            return values
        return as_table(values, key_index(self.labels, len(values)), None, name)

    def split(self, values, name="log_density", deep=None):
        """`values`, whose first axis is that of the frames, as a list of N arrays; for one 2-D X, or vectors, `values`
        itself.  Tables, if they are wanted, have the index of X; for one table of several sequences there is one.
        `deep`: if there are three axes, the name of the last and what its entries are called."""
        if self.form in ("vectors", "2d") or (self.labels.tables and self.form == "panel"):
            return self._frames_table(values, name, deep) if self.labels.tables else values
        parts = [values[a:b] for a, b in self.slices]
        if not self.labels.tables:
            return parts
        features, index = self.labels.features, self.labels.index
        indices = [None] * len(parts) if index is None else index
        if not isinstance(indices, list):
            indices = [index[a:b] for a, b in self.slices]
        return [
            as_table(part, frame_index(own, len(part)), features, name, deep)
            for part, own in zip(parts, indices, strict=True)
        ]

    def split_draws(self, draws):
        """draws (n_samples, M, D) of the frames as a list of N, as `split` does."""
        if self.form == "vectors" and self.labels.tables:
            index = frame_index(self.labels.index, draws.shape[1])
            return draws_as_table(draws, index if index.nlevels == 1 else index.to_flat_index(), self.labels.features)
        if self.form == "vectors":
            return draws
        parts = [draws[:, a:b] for a, b in self.slices]
        if self.labels.tables:
            indices = (frame_index(self.labels.times(i, a, b), b - a) for i, (a, b) in enumerate(self.slices))
            parts = [draws_as_table(*part, self.labels.features) for part in zip(parts, indices, strict=True)]
        return self.each(parts)

    def future(self, i, draws):
        """draws (n_samples, horizon, D) of what follows sequence i.  As a table, if tables are wanted, whose index
        (draw, time) continues that of X."""
        if not self.labels.tables:
            return draws
        a, b = self.offsets[i : i + 2].tolist()
        return draws_as_table(draws, following(self.labels.times(i, a, b), b - a, draws.shape[1]), self.labels.features)

    def each(self, parts):
        """The list `parts`, one for each sequence; for one 2-D X its only member; for one table of several sequences
        one table, if tables are wanted."""
        if self.form == "2d":
            return parts[0]
        if self.form == "panel" and self.labels.tables:
            import pandas

            return pandas.concat(parts, keys=self.labels.keys, names=self.labels.key_names)
        return parts

    def _frames_table(self, values, name, deep=None):
        """values (M, ...) of all frames as one table, its rows in the order of X."""
        index, rows = self.labels.index, self.labels.rows
        if rows is not None:
            order = np.argsort(rows)
            values, index = values[order], None if index is None else index[order]
        return as_table(values, frame_index(index, len(values)), self.labels.features, name, deep)

    @property
    def slices(self):
        """(begin, end) of each sequence, as ints."""
        return pairwise(self.offsets.tolist())

    # ---- places -------------------------------------------------------------------------------------------------

    def _at(self, row):
        """(sequence, frame) of a row of `frames`."""
        i = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return i, int(row - self.offsets[i])

    def frame_of(self, row):
        """What a row of `frames` is called: {"row": ...} for vectors, else {"sequence": ..., "frame": ...}, where the
        sequence is its key if it has one; and "index", if frames have names."""
        i, t = self._at(row)
        where = {"row": int(row)} if self.form == "vectors" else {"sequence": self.labels.key(i), "frame": t}
        if self.form == "vectors":
            times = None if self.labels.index is None else self.labels.index[row : row + 1]
            t = 0
        else:
            times = self.labels.times(i, *self.offsets[i : i + 2].tolist())
        return where if times is None else where | {"index": times[t]}

    def place(self, row, d=None, names=None):
        """The same in words, with the dimension, if given: "sequence 3 ('run 4'), frame 17, dimension 2"."""
        if self.form == "vectors":
            place = f"row {int(row)}"
        else:
            i, t = self._at(row)
            called = "" if self.labels.keys is None or self.labels.keys[i] == i else f" ({self.labels.keys[i]!r})"
            place = f"sequence {i}{called}, frame {t}"
        if d is not None:
            place += f", dimension {d}" + ("" if names is None else f" ({names[d]!r})")
        if self.form == "panel":
            row = self.labels.rows[row]
        return f"{place} (row {row} of X)" if self.form in ("lengths", "panel") else place

    # ---- parts --------------------------------------------------------------------------------------------------

    def whereabouts(self, row, d, names=None):
        """`place` in the whole that these are a part of, after the name of the argument."""
        if self.origin is not None:
            whole, rows = self.origin
            return whole.whereabouts(int(rows()[row]), d, names)
        return f"{self.argument or 'X'}: {self.place(row, d, names)}"

    def refusal(self, error):
        """`OutOfRange` for one of these frames, with its place in X."""
        if self.origin is not None:
            whole, rows = self.origin
            return whole.refusal(OutOfRange(error.dtype, int(rows()[error.row]), error.dimension))
        refused = error.at("X", self.place(error.row, error.dimension))
        refused.argument = self.argument
        return refused

    def rows(self, index):
        """The rows of `frames` that belong to the sequences `index`, an array, in its order."""
        lengths = self.lengths[index]
        first = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(self.offsets[index] - first, lengths)

    def subset(self, index):
        """The sequences `index`, an array, in its order, as new `Sequences` of form "list"."""
        index = np.asarray(index, dtype=np.int64)
        origin = (self, lambda: self.rows(index))
        return Sequences(self.frames[self.rows(index)], _offsets(self.lengths[index]), "list", origin=origin)


# --------------------------------------------------------------------------------------- what estimators call


def check_vectors(estimator, X, *, reset, binary=False, gaps=False, given=None):
    """Check X for an estimator of vectors: one vector in each row.

    Parameters
    ----------
    estimator : estimator
        Holds, or gets, ``n_features_in_`` and ``feature_names_in_``.
    X : array-like or DataFrame of shape (M, D)
    reset : bool
        True sets ``n_features_in_`` and ``feature_names_in_``, False compares with them.
    binary : bool, default=False
        Refuse entries other than 0 and 1.
    gaps : bool, default=False
        Let NaN pass as a missing value.
    given : callable, optional
        given(D) are the numbers of the columns of D that may hold any numbers but NaN.

    Returns
    -------
    Sequences
        Of form "vectors": each row is a sequence of one frame.

    Raises
    ------
    ValueError, TypeError
        With the row and the dimension of a bad entry.
    """
    if isinstance(X, list | tuple | SequenceBatch) and any(_ndim(row) >= 2 for row in X):
        raise ValueError(
            f"X is a list of 2-D arrays, but {_name(estimator)} takes an array (n, D) with one vector in each row. "
            "Pass np.concatenate(X) if the rows are independent, or use RNNRNADE or RNNNADE for sequences."
        )
    _refuse_containers(X)
    frames = _matrix(estimator, X, reset, "row")
    offsets = np.arange(len(frames) + 1, dtype=np.int64)
    return _checked(estimator, frames, offsets, "vectors", binary, gaps, given, Labels(index=_index_of(X)))


def check_sequences(estimator, X, lengths=None, *, reset, binary=False, gaps=False, given=None):
    """Check X for an estimator of sequences, in any of the forms listed at the top of this file.

    Parameters
    ----------
    estimator : estimator
        Holds, or gets, ``n_features_in_`` and ``feature_names_in_``.
    X : list of (T_i, D) arrays, or another form
    lengths : array-like of int of shape (N,), default=None
        Frames of each sequence, for a 2-D X that holds several sequences end to end.
    reset : bool
        True sets ``n_features_in_`` and ``feature_names_in_``, False compares with them.
    binary : bool, default=False
        Refuse entries other than 0 and 1.
    gaps : bool, default=False
        Let NaN pass as a missing value.
    given : callable, optional
        given(D) are the numbers of the columns of D that may hold any numbers but NaN.

    Returns
    -------
    Sequences

    Raises
    ------
    ValueError, TypeError
        With the sequence, the frame and the dimension of a bad entry.
    """
    items, X = _items_or_array(X)
    ndim = _ndim(X) if items is None else 3

    if lengths is not None:
        if ndim >= 3:
            raise ValueError(
                "lengths= goes with one 2-D X that holds all sequences end to end, but X is already "
                f"{'a 3-D array' if items is None else 'a list of sequences'}: leave lengths out."
            )
        if _has_sequence_column(estimator, X, reset):
            raise ValueError("lengths= and the column 'sequence' of X both tell the sequences apart: leave one out.")
        frames = _matrix(estimator, X, reset, "frame")
        offsets = _check_lengths(lengths, len(frames))
        return _checked(estimator, frames, offsets, "lengths", binary, gaps, given, Labels(index=_index_of(X)))

    if items is not None:
        frames, offsets, labels = _pack(estimator, items, reset)
        return _checked(estimator, frames, offsets, "list", binary, gaps, given, labels)

    if ndim == 3:
        X = np.asanyarray(X)
        n_sequences, n_frames, n_features = X.shape
        for size, axis in zip(X.shape, ("sequence(s)", "frame(s)", "feature(s)"), strict=True):
            if size == 0:
                raise ValueError(f"X is (N, T, D) with 0 {axis} (shape={X.shape}) while a minimum of 1 is required.")
        _look_at_axes(estimator, X.shape, reset)
        frames = _matrix(estimator, X.reshape(-1, n_features), reset, "frame")
        offsets = n_frames * np.arange(n_sequences + 1, dtype=np.int64)
        return _checked(estimator, frames, offsets, "3d", binary, gaps, given)

    if ndim > 3:
        raise ValueError(f"X has {ndim} axes, but at most three are allowed, (N, T, D): flatten each frame.")
    several = panel(X) if _has_levels(X) or _has_sequence_column(estimator, X, reset) else None
    if several is not None:
        batch, rows = several
        frames, offsets, labels = _of_batch(estimator, batch, reset, rows)
        return _checked(estimator, frames, offsets, "panel", binary, gaps, given, labels)
    frames = _matrix(estimator, X, reset, "frame")
    offsets = np.array([0, len(frames)], dtype=np.int64)
    return _checked(estimator, frames, offsets, "2d", binary, gaps, given, Labels(index=_index_of(X)))


def check_absence_of_lengths(y, data, owner):
    """Refuse a `y` other than None or one label for each item along X's first axis.  It is ignored, but in hmmlearn's
    calls the lengths of the sequences stand in its place.

    Parameters
    ----------
    y : None or array-like
    data : Sequences
        The checked X.
    owner : str
        The estimator, for the message.

    Raises
    ------
    TypeError
    """
    if y is None:
        return
    y = y if hasattr(y, "shape") or not hasattr(y, "__array__") else np.asarray(y)
    shape = getattr(y, "shape", None)
    n = shape[0] if shape else len(y) if shape is None and hasattr(y, "__len__") else None
    n_items = {data.n_sequences if data.item_is_sequence else data.n_frames}
    if data.form in ("lengths", "panel"):
        n_items = {data.n_sequences, data.n_frames}
    if n in n_items:
        return
    given = f"is {y!r:.40}" if n is None else f"has {n} entries"
    way_out = f"{owner} takes vectors, one in each row, which have no lengths."
    if data.form != "vectors":
        way_out = "If it holds the lengths of the sequences in X, write lengths=."
    raise TypeError(
        f"the second argument, y, is ignored: it must be None or hold one label for each of the {max(n_items)} items "
        f"of X, but it {given}. {way_out}"
    )


def check_frame_weights(sample_weight, sequences):
    """Check weights and spread them over the frames.

    Parameters
    ----------
    sample_weight : None, number or array-like
        One weight for each item along X's first axis: of shape (N,) for a list or a 3-D array, else (M,).
    sequences : Sequences

    Returns
    -------
    None, or ndarray of shape (M,), float64
        Every frame of a sequence has the weight of the sequence.

    Raises
    ------
    ValueError
        If there are too many or too few weights, one is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return None
    n_items = sequences.n_sequences if sequences.item_is_sequence else sequences.n_frames
    item = "sequence" if sequences.item_is_sequence else "row" if sequences.form == "vectors" else "frame"
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_items, as_numbers("sample_weight", sample_weight))
    if isinstance(sample_weight, list | tuple) and any(_ndim(weight) for weight in sample_weight):
        raise ValueError(
            f"sample_weight must be one number for each {item}, but it holds arrays or lists. To weight the frames of "
            "several sequences one by one, pass X as one array with lengths=, and all weights as one array."
        )
    if sequences.item_is_sequence and sequences.labels.keys is not None and hasattr(sample_weight, "reindex"):
        sample_weight = _by_key(sample_weight, sequences)
    _refuse_non_numbers(sample_weight, "sample_weight")
    with naming("sample_weight"):
        weights = check_array(
            sample_weight,
            dtype=np.float64,
            order="C",
            ensure_2d=False,
            allow_nd=True,
            ensure_min_samples=0,
            ensure_all_finite=False,
        )
    if weights.shape != (n_items,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n_items},): one weight for each {item}.")
    bad = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))  # NaN too: its comparisons are False
    if len(bad):
        raise ValueError(
            f"sample_weight[{bad[0]}] is {weights[bad[0]]}: the weight of a {item} must be finite and not negative."
        )
    if not weights.any():
        raise ValueError("sample_weight is zero everywhere: at least one weight must be positive.")
    return np.repeat(weights, sequences.lengths) if sequences.item_is_sequence else weights


def _by_key(weights, sequences):
    """A Series of weights in the order of the sequences: matched by its labels if these are the keys."""
    index = key_index(sequences.labels, sequences.n_sequences)
    if index.is_unique and weights.index.is_unique and set(index) == set(weights.index):
        return weights.reindex(index)
    if list(weights.index) == list(range(len(weights))):
        return weights
    raise ValueError("sample_weight is a Series whose labels are not the keys of the sequences.")


def check_validation(estimator, validation_data, *, binary=False, given=None, check=check_sequences):
    """Check the `validation_data` of a fit: X or (X, None).

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` is already that of the training data.
    validation_data : None, X, or (X, None)
        X in any form that `check` takes.
    binary : bool, default=False
    given : callable, optional
        As in `check_sequences`.
    check : {check_sequences, check_vectors}, default=check_sequences

    Returns
    -------
    Sequences, or None if there is no validation data
    """
    if validation_data is None:
        return None
    if isinstance(validation_data, tuple) and len(validation_data) == 2:
        X, y = validation_data
        if y is None:
            validation_data = X
        elif check is check_vectors:
            raise ValueError("validation_data is (X, y), but a density has no y: pass X or (X, None).")
    with naming("validation_data"):
        data = check(estimator, validation_data, reset=False, binary=binary, given=given)
    return replace(data, argument="validation_data")


# -------------------------------------------------------------------------------- which form X has, and its D


def _name(estimator):
    return type(estimator).__name__


def _offsets(lengths):
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _ndim(x):
    """Number of axes of an array, a DataFrame or nested lists (whose first items decide, at most NESTED deep)."""
    lists = 0
    while isinstance(x, list | tuple) and lists < NESTED:
        lists += 1
        if not x:
            return lists
        x = x[0]
    shape = getattr(x, "shape", None)
    if isinstance(shape, tuple):
        return lists + len(shape)
    return lists + (np.asarray(x).ndim if hasattr(x, "__array__") else 0)


def _refuse_containers(X):
    """Refuse what is neither an array nor a list."""
    if X is None or isinstance(X, str | bytes):
        raise TypeError(f"X is {X!r:.40}, but must be an array or a list of arrays.")
    if hasattr(X, "shape") or hasattr(X, "__array__"):
        return  # also of a class that is a dict too, such as SciPy's sparse dok_matrix
    if isinstance(X, dict):
        raise TypeError("X is a dict: pass the list of its values, list(X.values()).")
    if isinstance(X, Iterable) and not isinstance(X, Sequence):
        raise TypeError(f"X is a {type(X).__name__}, neither an array nor a list: pass list(X).")
    if not isinstance(X, Sequence | Number):
        raise TypeError(f"X is {X!r:.40} (a {type(X).__name__}), but must be an array or a list of arrays.")


def _items_or_array(X):
    """(list of sequences, None), or (None, X) where X is one array, DataFrame or list of lists of numbers."""
    _refuse_containers(X)
    if isinstance(X, SequenceBatch) and X.packed is not None and len(X):
        return X, None
    if not isinstance(X, list | tuple | SequenceBatch):
        if _ndim(X) == 1 and np.asarray(X).dtype.kind == "O":
            X = list(np.asarray(X))
        elif isinstance(X, Sequence) and not hasattr(X, "__array__"):
            X = list(X)
        else:
            return None, X
    if len(X) == 0:
        raise ValueError("X is an empty list: at least one sequence is required.")
    ndims = [_ndim(x) for x in X]
    of_numbers = max(ndims) <= 1 and not isinstance(X, SequenceBatch)
    if of_numbers and all(isinstance(x, list | tuple) or ndim == 0 for x, ndim in zip(X, ndims, strict=True)):
        return None, list(X)
    for i, (x, ndim) in enumerate(zip(X, ndims, strict=True)):
        if ndim != 2:
            _refuse_item(x, ndim, i)
    return X, None


def _refuse_item(x, ndim, i):
    """Say why item i of a list is not a sequence: it does not have two axes."""
    if ndim == 0:
        raise TypeError(f"sequence {i} is a {type(x).__name__} ({x!r:.40}), but must be a (T, D) array.")
    if len(x) == 0:
        raise ValueError(f"sequence {i} has no frames: leave it out.")
    if ndim == 1 and hasattr(x, "to_frame"):
        raise ValueError(
            f"sequence {i} is a Series, but must be a table (T, D). Reshape your data: x.to_frame() if each item is a "
            "sequence of one dimension; pandas.DataFrame(X) if the items are the frames of one sequence."
        )
    if ndim == 1:
        raise ValueError(
            f"sequence {i} is 1-D (length {len(x)}), but must be a (T, D) array. Reshape your data: "
            "x.reshape(-1, 1) if each item is a sequence of one dimension, np.stack(X) if the items are the "
            "frames of one sequence."
        )
    raise ValueError(f"sequence {i} has {ndim} axes, but must be a (T, D) array.")


def _of_batch(estimator, batch, reset, rows=None):
    """(frames, offsets, labels) of a batch cut from one table."""
    table, offsets = batch.packed
    frames = _matrix(estimator, table, reset, "frame")
    return frames, offsets, Labels(batch.keys, batch.key_names, batch.frame_labels, rows)


def _pack(estimator, items, reset):
    """(frames, offsets, labels) of a list of sequences."""
    if isinstance(items, SequenceBatch) and items.packed is not None:
        return _of_batch(estimator, items, reset)
    arrays = [_item(estimator, x, i) for i, x in enumerate(items)]
    n_features = arrays[0].shape[1] if reset else estimator.n_features_in_
    for i, array in enumerate(arrays):
        if array.shape[1] != n_features:
            whose = "sequence 0 has" if reset else f"{_name(estimator)} is expecting"
            raise ValueError(
                f"sequence {i}: X has {array.shape[1]} features, but {whose} {n_features} features as input. "
                "Every sequence must have the same dimensions."
            )

    # Names of columns: those of the first DataFrame hold for the list. One warning, not one for each sequence.
    named = [i for i, x in enumerate(items) if hasattr(x, "columns")]
    if named:
        columns_of(items[named[0]])
    if reset:
        validate_data(estimator, items[named[0]] if named else arrays[0], reset=True, skip_check_array=True)
    columns = None
    for i in named:
        if columns is not None and _same(columns, items[i].columns):
            continue  # the same as those just compared
        columns = items[i].columns
        with naming(f"sequence {i}"):
            validate_data(estimator, items[i], reset=False, skip_check_array=True)
    batch = items if isinstance(items, SequenceBatch) else None
    if batch is not None and batch.feature_names is not None and not named:
        _take_names(estimator, batch.feature_names, n_features, reset)
    elif len(named) < len(items) and hasattr(estimator, "feature_names_in_"):
        validate_data(estimator, np.empty((1, n_features)), reset=False, skip_check_array=True)

    # concatenate of one array would copy it, and of Fortran arrays would be in Fortran order
    frames = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if batch is not None:
        labels = Labels(batch.keys, batch.key_names, batch.frame_labels)
    else:
        indices = [_index_of(x) for x in items] if len(named) == len(items) else [None]
        labels = Labels(index=None if any(index is None for index in indices) else indices)
    return np.ascontiguousarray(frames), _offsets([len(array) for array in arrays]), labels


def _same(columns, others):
    """Whether two DataFrames of one library have the same columns, decided in a microsecond."""
    if others is columns:
        return True
    return columns.equals(others) if hasattr(columns, "equals") else columns == others


def _take_names(estimator, names, n_features, reset):
    """Set the names of the features, or compare them, as scikit-learn does with those of a DataFrame."""
    if len(names) != n_features:
        raise ValueError(f"X.feature_names has {len(names)} names ({quoted(names)}) for {n_features} features.")
    known = getattr(estimator, "feature_names_in_", None)
    if reset:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    elif known is None:
        warnings.warn(f"X has feature names, but {_name(estimator)} was fitted without feature names", stacklevel=2)
    elif list(known) != names:
        raise ValueError(
            f"The feature names should match those that were passed during fit: X has {quoted(names)}, not "
            f"{quoted(known)}. X.select(estimator.feature_names_in_) puts them in that order."
        )


def _item(estimator, x, i):
    """Item i of a list as a native float array (T, D)."""
    if type(x) is np.ndarray and x.ndim == 2 and x.dtype in _NATIVE and x.size:
        return x
    if hasattr(x, "shape") and x.shape[0] == 0:
        raise ValueError(f"sequence {i} has no frames (shape {tuple(x.shape)}): leave it out.")
    values = _numbers_of(x)
    if values is not None:
        return values
    with naming(f"sequence {i}"):
        _refuse_non_numbers(x, "it")
        return check_array(x, estimator=estimator, **_CHECKS)


def _numbers_of(table):
    """A DataFrame that holds numbers as a native float array; None for any other, or an empty one.  check_array takes a
    hundred times as long."""
    if hasattr(table, "iloc"):
        values = table.to_numpy()  # pandas turns dates and text into objects
    elif hasattr(table, "partition_by") and all(dtype.is_numeric() for dtype in table.dtypes):
        values = table.to_numpy(order="c")  # polars takes a seventh of the time with "c"
    else:
        return None
    if values.dtype.kind not in "biuf" or not values.size:
        return None
    return values if values.dtype in _NATIVE else values.astype(np.float64)


def _matrix(estimator, X, reset, item):
    """A 2-D X as a C-contiguous native float array (M, D), with D and the column names checked or set.  item: what a
    row of X is, "row" or "frame"."""
    if (
        not reset
        and type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in _NATIVE
        and X.flags.c_contiguous
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
    ):
        return X
    if _ndim(X) == 1 and hasattr(X, "to_frame"):
        raise ValueError(
            f"X is a Series of length {len(X)}, but must be a table. Reshape your data: X.to_frame() if each entry is "
            f"a {item} of one dimension, X.to_frame().T if X is one {item}."
        )
    if _ndim(X) == 1 and len(X):
        raise ValueError(
            f"X is 1-D, of length {len(X)}. Expected 2D array, got 1D array instead. Reshape your data: "
            f"X.reshape(-1, 1) if each number is a {item} of one dimension, X.reshape(1, -1) if X is one {item}."
        )
    _refuse_non_numbers(X, "X")
    frames = validate_data(estimator, X, reset=reset, **_CHECKS)
    if frames.shape[1] != estimator.n_features_in_:  # scikit-learn believes X.shape
        raise ValueError(
            f"X.shape says that X has {estimator.n_features_in_} features, but as an array it has {frames.shape[1]}."
        )
    return frames


def _has_levels(X):
    return hasattr(X, "columns") and getattr(getattr(X, "index", None), "nlevels", 1) > 1


def _has_sequence_column(estimator, X, reset):
    """Whether X is a DataFrame with a column "sequence", unless the estimator was fitted to a feature of that name."""
    if not hasattr(X, "columns") or "sequence" not in list(X.columns):
        return False
    return reset or "sequence" not in list(getattr(estimator, "feature_names_in_", ()))


def _index_of(X):
    """The index of a DataFrame of pandas; None of anything else."""
    return X.index if hasattr(X, "iloc") else None


def _look_at_axes(estimator, shape, reset):
    """Warn if the axes of a 3-D array look like (instances, channels, time), and say so if D does not fit."""
    n_sequences, n_frames, n_features = shape
    swap = "If it is (instances, channels, time), as in sktime and PyTorch, pass X.transpose(0, 2, 1)."
    if reset and n_features > n_frames > 0:
        warnings.warn(
            f"X, of shape {shape}, is read as {n_sequences} sequences of {n_frames} frames of {n_features} "
            f"dimensions. {swap}",
            UserWarning,
            stacklevel=2,
        )
    known = None if reset else estimator.n_features_in_
    if not reset and n_features != known and n_frames == known:
        raise ValueError(
            f"X has {n_features} features, but {_name(estimator)} is expecting {known} features as input. {swap}"
        )


def _refuse_non_numbers(x, name):
    """Refuse text, dates, masked entries and ragged rows: NumPy would convert them, drop them or explain them badly."""
    if isinstance(x, list | tuple) and any(isinstance(row, list | tuple) for row in x):
        widths = [len(row) if hasattr(row, "__len__") else None for row in x]
        for i, width in enumerate(widths):
            if width != widths[0]:
                row_0, row_i = ("is a number" if n is None else f"has {n} entries" for n in (widths[0], width))
                raise ValueError(f"{name} is ragged: row 0 {row_0}, but row {i} {row_i}.")
    if np.ma.is_masked(x):
        where = np.argwhere(np.ma.getmaskarray(x))[0].tolist()
        raise ValueError(f"{name} has masked entries, the first at {where}: fill them in or leave them out.")
    if hasattr(x, "tocsr"):
        return  # sparse: scikit-learn refuses it
    if hasattr(x, "columns") and hasattr(x, "dtypes"):
        _refuse_columns(x, name)
    values = np.asarray(x)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} holds {values.dtype}.")
    if values.dtype.kind in _NOT_NUMBERS:
        kind = _NOT_NUMBERS[values.dtype.kind]
        raise ValueError(f"{name} holds {kind}: convert your data to numeric values explicitly.")
    if values.dtype.kind == "O" and values.ndim <= 3:
        for i, value in enumerate(values.ravel()):
            text, huge = isinstance(value, str | bytes), isinstance(value, int) and abs(value) >= 2**1024
            known = value is None or hasattr(value, "__float__")  # of None NumPy makes NaN
            if not text and not huge and (known or hasattr(x, "columns")):  # of DataFrames scikit-learn knows more
                continue
            where = f"the first at {[int(k) for k in np.unravel_index(i, values.shape)]} ({value!r:.40})"
            if text:
                raise ValueError(f"{name} holds strings, {where}: convert your data to numeric values explicitly.")
            if huge:
                raise ValueError(f"{name} holds numbers too large for float64, {where}.")
            kind = type(value).__name__
            raise TypeError(
                f"{name} holds a {kind}, {where}: argument must be free of strings and objects, numbers only."
            )
    if hasattr(x, "columns") and 0 in x.shape:
        raise ValueError(f"{name} is a DataFrame of shape {x.shape}: at least one row and one column are required.")


def _refuse_columns(table, name):
    """Refuse, by name, columns of dates, text or anything else but numbers, and two columns with the same name."""
    columns_of(table)
    for d, (column, dtype) in enumerate(zip(list(table.columns), list(table.dtypes), strict=True)):
        kind = getattr(dtype, "kind", "f" if getattr(dtype, "is_numeric", bool)() else "O")
        if kind not in "OmMUTS":
            continue
        values = (table.iloc[:, d] if hasattr(table, "iloc") else table.to_series(d)).to_list()
        row, first = next(((i, v) for i, v in enumerate(values) if not _is_number_or_empty(v)), (0, None))
        if kind in "mM" or "period" in str(dtype) or isinstance(first, datetime.date | datetime.timedelta):
            raise ValueError(
                f"{name} holds dates or times in the column {column!r}. If it is the time of the frames, write "
                f"SequenceBatch.from_frame(X, time={column!r}); if not, leave it out, X.drop(columns={column!r}), or "
                "turn it into numbers."
            )
        if first is not None:
            what = "strings" if isinstance(first, str) else f"a {type(first).__name__}"
            raise ValueError(
                f"{name} holds {what} in the column {column!r}, the first in row {row} ({first!r:.40}): convert your "
                "data to numeric values explicitly, or leave the column out."
            )


def _is_number_or_empty(value):
    return value is None or hasattr(value, "__float__") or type(value).__name__ == "NAType"


def _check_lengths(lengths, n_frames):
    """Offsets from `lengths`: positive whole numbers that add up to the number of frames."""
    with naming("lengths"):
        lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.size == 0:
        raise ValueError(f"lengths has shape {lengths.shape}, expected (N,): the frames of each sequence.")
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"lengths holds {lengths.dtype}, expected integers: the frames of each sequence.")
    bad = np.flatnonzero(lengths < 1)
    if len(bad):
        raise ValueError(f"lengths[{bad[0]}] is {lengths[bad[0]]}: a sequence needs at least one frame.")
    total = sum(lengths.tolist())  # in Python's integers, which do not overflow
    if total != n_frames:
        raise ValueError(f"lengths sum to {total}, but X has {n_frames} frames.")
    return _offsets(lengths.astype(np.int64))


# ------------------------------------------------------------------------------------------------- the values


def _checked(estimator, frames, offsets, form, binary, gaps, given, labels=NO_LABELS):
    """`Sequences`, after a check that no entry is infinite or, without `gaps`, NaN; where `binary`, all but the given
    columns are 0 or 1."""
    known = given(frames.shape[1]) if given is not None else ()
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(frames, axis=None)
    has_gaps = gaps and not np.isfinite(total) and bool(np.isnan(frames).any())
    data = Sequences(frames, offsets, form, has_gaps, labels)

    def refuse_first(bad, why):
        for row, d in np.argwhere(bad)[:1].tolist():
            entry, place = frames[row, d], data.place(row, d, getattr(estimator, "feature_names_in_", None))
            what = entry if np.isfinite(entry) else "NaN" if np.isnan(entry) else "infinity"
            raise BadEntry("Input X", f"contains {what}", place, why, row, d)

    if not np.isfinite(total):
        way_out = "fill in missing values or leave them out."
        if not gaps and getattr(estimator, "missing", None) is not None:
            way_out = f"with missing={estimator.missing!r}, only scores, log_likelihood_missing and impute take gaps."
        refuse_first(np.isinf(frames) if gaps else ~np.isfinite(frames), f"Every entry must be finite: {way_out}")
    if has_gaps and len(known):
        missing = np.zeros(frames.shape, bool)
        missing[:, known] = np.isnan(frames[:, known])
        refuse_first(missing, "A column that is given must be known for every frame.")
    if binary:
        other = " For real values, use conditional='gaussian'." if hasattr(estimator, "conditional") else ""
        why = f"{_name(estimator)} models binary data: every entry must be 0 or 1.{other}"
        good = frames == 0
        good |= frames == 1
        if data.has_gaps:
            good |= np.isnan(frames)
        good[:, known] = True
        if not good.all():  # of good data nothing is listed, which takes as long as a quarter of a score
            refuse_first(~good, why)
    if form != "vectors" and labels.index is not None:
        _look_at_times(data)
    return data


def _look_at_times(data):
    """Warn once if the dates in a sequence jump: its frames are taken to follow each other in equal steps."""
    index = data.labels.index
    if isinstance(index, list):
        index = index if len(_dates(index[0])) else index[:1]
        dates = np.concatenate([_dates(times) for times in index])
    else:
        dates = _dates(index)
    if len(dates) < max(3, data.n_frames):
        return
    steps = np.diff(dates).astype(np.int64)  # in the unit of the dates
    inside = np.ones(len(steps), bool)
    inside[data.offsets[1:-1] - 1] = False
    if not inside.any():
        return
    usual = np.median(steps[inside])
    jumps = np.flatnonzero(inside & ((steps > 1.5 * usual) & (usual > 0) | (steps < 0)))
    for i in np.unique(np.searchsorted(data.offsets, jumps, side="right") - 1).tolist():
        times = data.labels.times(i, *data.offsets[i : i + 2].tolist())
        if hasattr(times, "freq") and calendar_rule(times) is not None:  # business days, for example
            jumps = jumps[(jumps < data.offsets[i]) | (jumps >= data.offsets[i + 1])]
        else:
            break
    if not len(jumps):
        return
    i, t = data._at(jumps[0])
    before, after = (str(dates[row].astype("M8[us]")).removesuffix(".000000") for row in (jumps[0], jumps[0] + 1))
    more = f" and in {len(jumps) - 1} other places" if len(jumps) > 1 else ""
    warnings.warn(
        f"time jumps in sequence {data.labels.key(i)!r} from {before} (frame {t}) to {after} (frame {t + 1}){more}, "
        "but the frames of a sequence are taken to follow each other in equal steps. "
        "SequenceBatch.from_frame(df, split_at=...) cuts a recording where time jumps.",
        UserWarning,
        stacklevel=2,
    )


def _dates(index):
    """The times as datetime64 (n,), if they are dates; else an empty array."""
    index = index.get_level_values(-1) if getattr(index, "nlevels", 1) > 1 else index
    if getattr(getattr(index, "dtype", None), "kind", "") != "M" and not hasattr(index, "dt"):
        return np.empty(0, "M8[s]")
    values = np.asarray(index if getattr(index, "tz", None) is None else index.tz_convert(None))
    return values if values.dtype.kind == "M" else np.empty(0, "M8[s]")


def check_leading(leading, n_samples, n_features, *, binary=False):
    """Check `leading`, the first dimensions of the frames to be drawn: (n_samples, j), float64."""
    leading = as_numbers("leading", leading)
    j = leading.shape[-1] if leading.ndim else 0
    if leading.ndim not in (1, 2) or not 1 <= j <= n_features or (leading.ndim == 2 and len(leading) != n_samples):
        raise ValueError(
            f"leading must hold the first j of the {n_features} dimensions of a frame: shape (j,) or ({n_samples}, j), "
            f"1 <= j <= {n_features}. Got shape {leading.shape}."
        )
    if not np.isfinite(leading).all():
        raise ValueError("leading holds NaN or infinity: give finite values.")
    if binary and not np.isin(leading, (0, 1)).all():
        raise ValueError("leading must hold zeros and ones: this is a model of binary data.")
    return np.broadcast_to(leading, (n_samples, j))
