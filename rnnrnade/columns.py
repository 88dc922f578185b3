"""What a column of X is to a model: scored, or given with each frame and only read.

Design
------
*Where given columns stand.*  In front: a row of frames inside is (u, x), u what is given.  Of a frame the conditioner
reads u beside the recurrent state, in the row of context, and the recurrence reads the whole row (core/given.pxi).  The
linear prediction of the transform regresses on u of the same frame.
"""

import numpy as np

from .checks import as_numbers

__all__ = ["check_columns", "check_fixed", "check_inputs", "given_columns"]

GIVEN = "given"


def check_columns(columns, scored):
    """Refuse an option `columns` that is no mapping of columns to kinds; scored: the kind of all others."""
    if columns is None:
        return
    if not hasattr(columns, "items"):
        raise ValueError(f"columns must be None or a mapping of columns to {GIVEN!r}. Got {columns!r:.60} instead.")
    for column, kind in columns.items():
        if not isinstance(kind, str) or kind not in (GIVEN, scored):
            raise ValueError(f"columns: {column!r} must be {GIVEN!r} or {scored!r}. Got {kind!r:.60} instead.")


def given_columns(columns, names, D):
    """The numbers of the given columns, ascending.

    Parameters
    ----------
    columns : mapping or None
        The option `columns`.
    names : sequence of str or None
        Of the columns of X.
    D : int
        Columns of X.

    Returns
    -------
    ndarray of int

    Raises
    ------
    ValueError
        For a column that X has not, and where none is left to be scored.
    """
    names = None if names is None else list(names)
    found = {_number(column, names, D, "columns"): kind for column, kind in (columns or {}).items()}
    given = sorted(d for d, kind in found.items() if kind == GIVEN)
    if len(given) == D:
        raise ValueError("columns: all columns of X are given; at least one must be left to be scored.")
    return np.array(given, np.intp)


def _number(column, names, D, argument):
    """The number of a column that is named by its name or number; names: of all columns, or None."""
    if isinstance(column, str):
        if names is None:
            raise ValueError(f"{argument} names {column!r}, but X has no names: use the numbers 0 ... {D - 1}.")
        if column not in names:
            raise ValueError(f"{argument} names {column!r}, but X has the columns {', '.join(map(str, names[:20]))}.")
        return names.index(column)
    if isinstance(column, bool) or not isinstance(column, int | np.integer) or not 0 <= column < D:
        raise ValueError(f"{argument} names {column!r}, but the columns of X are 0 ... {D - 1}.")
    return int(column)


def is_table(values):
    """Whether a list holds rows, and not numbers."""
    return isinstance(values, list | tuple) and any(isinstance(row, list | tuple) for row in values)


def check_inputs(inputs, given, names, n_samples, n_frames):
    """Check `inputs`, the given columns of frames to be drawn.

    Parameters
    ----------
    inputs : array-like, or DataFrame
        (n_frames, given) or (n_samples, n_frames, given), for one given column also (n_frames,); of vectors (given,) or
        (n_samples, given); of a DataFrame the columns by their names.
    given : ndarray of int
    names : list of str
        Of all columns of X.
    n_samples : int
    n_frames : int or None
        None: vectors.

    Returns
    -------
    ndarray of shape (1 or n_samples, n_frames, given), float64
        Of vectors with one frame.

    Raises
    ------
    ValueError
        Where they are missing, none are wanted, or they have another shape; with the place of one that is not finite.
    """
    wanted = [names[d] for d in given]
    what = ", ".join(map(repr, wanted[:20]))
    if not len(given):
        if inputs is not None:
            raise ValueError("inputs are the given columns of the frames to be drawn, and this model has none.")
        return np.empty((1, n_frames or 1, 0))
    shape = (len(given),) if n_frames is None else (n_frames, len(given))
    shapes = f"of shape {shape} or {(n_samples, *shape)}"
    if inputs is None:
        raise ValueError(f"the columns {what} are given: pass inputs=, their values in what is drawn, {shapes}.")
    if hasattr(inputs, "columns"):
        missing = [name for name in wanted if name not in [str(column) for column in inputs.columns]]
        if missing:
            raise ValueError(f"inputs has no column {missing[0]!r}: the columns {what} are given.")
        inputs = np.stack([np.asarray(inputs[column]) for column in _by_name(inputs, wanted)], axis=-1)
    values = as_numbers("inputs", inputs)
    if values.shape == (n_frames,) and len(given) == 1:
        values = values[:, None]
    if values.shape not in (shape, (1, *shape), (n_samples, *shape)):
        raise ValueError(f"inputs must be {shapes}, the columns {what}. Got the shape {values.shape}.")
    if not np.isfinite(values).all():
        *at, d = np.argwhere(~np.isfinite(values))[0].tolist()
        raise ValueError(f"inputs holds NaN or infinity, the first at {at} in the column {wanted[d]!r}.")
    return values.reshape(-1, n_frames or 1, len(given))


def check_fixed(fixed, order, names, n_samples, n_frames, *, binary=False):
    """Check `fixed`, columns whose values are held in all frames to be drawn.

    Parameters
    ----------
    fixed : mapping of column to number, (n_frames,) or (n_samples, n_frames)
        Of vectors to number or (n_samples,).
    order : ndarray of int
        The columns that are scored, in the order of the model.
    names : list of str
        Of all columns of X.
    n_samples : int
    n_frames : int or None
        None: vectors.
    binary : bool, default=False
        Whether values must be 0 or 1.

    Returns
    -------
    ndarray of shape (n_samples, n_frames, j), float64
        Of the first j columns of the order.

    Raises
    ------
    ValueError
        For columns that do not lead in the order, or values of another shape or kind.
    """
    if not hasattr(fixed, "items"):
        raise ValueError(f"fixed must be a mapping of columns to their values. Got {fixed!r:.60} instead.")
    values = {_number(column, names, len(names), "fixed"): value for column, value in fixed.items()}
    if given := [names[d] for d in values if d not in order]:
        raise ValueError(f"fixed: the column {given[0]!r} is given: pass its values as inputs.")
    leading = order[: len(values)].tolist()
    if set(values) != set(leading):
        first = ", ".join(repr(names[d]) for d in values)
        raise ValueError(
            f"fixed: the columns {first} must lead in the order of conditioning, which begins with "
            f"{', '.join(repr(names[d]) for d in leading)}. Fit a model whose `order` begins with them."
        )
    shape = (n_samples,) if n_frames is None else (n_samples, n_frames)
    found = np.empty((n_samples, n_frames or 1, len(leading)))
    for j, d in enumerate(leading):
        value = as_numbers("fixed", values[d])
        try:
            found[..., j] = np.broadcast_to(value, shape).reshape(found.shape[:2])
        except ValueError:
            raise ValueError(
                f"fixed: the values of {names[d]!r} must be a number or of shape {shape}. Got the shape {value.shape}."
            ) from None
        if not np.isfinite(value).all():
            raise ValueError(f"fixed: the values of {names[d]!r} hold NaN or infinity.")
        if binary and not np.isin(value, (0, 1)).all():
            raise ValueError(f"fixed: the values of {names[d]!r} must be 0 or 1: this is a model of binary data.")
    return found


def _by_name(table, wanted):
    """The labels of its columns that are called so."""
    labels = {str(column): column for column in table.columns}
    return [labels[name] for name in wanted]
