"""Parameters that a user gives by name: which options their names and shapes imply, and whether they fit together."""

import re

import numpy as np

from .checks import naming
from .layout import CELLS

# Names of the parameters of a recurrent layer above the first
_ABOVE = re.compile("(?:W_in|W_rec|b_r|r0|c0)_([2-9]|[1-9][0-9]+)")


def as_arrays(parameters):
    """A mapping of names to arrays of finite real numbers, checked."""
    if not hasattr(parameters, "keys"):
        raise TypeError(f"parameters must be a mapping of names to arrays. Got a {type(parameters).__name__}.")
    arrays = {}
    for name in parameters:
        with naming(f"parameter {name!r}"):
            arrays[name] = np.asarray(parameters[name])
        if arrays[name].dtype.kind not in "fiu":
            raise ValueError(f"parameter {name!r} must hold real numbers. Got dtype {arrays[name].dtype}.")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"parameter {name!r} holds NaN or infinity.")
    return arrays


def implied_options(head, conditioner, arrays, *, recurrent, owner, given=0):
    """The options of an estimator that the names and shapes of its parameters decide.

    Parameters
    ----------
    head : Head
    conditioner : row of CONDITIONERS
    arrays : mapping of str to ndarray
    recurrent : bool
    owner : str
        Of whom messages speak.
    given : int, default=0
        Columns that are given: what reads no more than these reads no state.
    """
    sources = conditioner.sources(head) | ({"W_rec": 2} if recurrent else {})
    for name, ndim in sources.items():
        if name not in arrays:
            raise ValueError(f"{owner}.from_parameters needs the parameter {name!r}, which is missing.")
        if arrays[name].ndim != ndim:
            raise ValueError(f"parameter {name!r} must have {ndim} axes. Got shape {arrays[name].shape}.")
    options = conditioner.implied(arrays)
    if head.mixture:
        options["n_components"] = next(arrays[name] for name in sources if name not in ("W", "W_rec")).shape[-1]
    if recurrent:

        def reads_state(name):
            return name in arrays and (not given or arrays[name].shape[-1:] != (given,))

        driven = [quantity for quantity, (_, _, name_W) in head.outputs.items() if reads_state(name_W)]
        options["n_recurrent"] = arrays["W_rec"].shape[1]
        options["n_layers"] = len({found[1] for found in map(_ABOVE.fullmatch, arrays) if found}) + 1
        options["context"] = (*driven, "hidden") if reads_state("W_c") else tuple(driven)
    options["dtype"] = "float64" if any(a.dtype == np.float64 for a in arrays.values()) else "float32"
    return options


def flat_parameters(layout, arrays, dtype, owner):
    """The flat vector of a layout, after a check that there is every parameter, of the right shape, and no other."""
    if layout.R and arrays["W_rec"].shape != (layout.G * layout.R, layout.R):
        raise ValueError(
            f"parameter 'W_rec' has shape {arrays['W_rec'].shape}, but {layout.R} units of cell={layout.cell!r} ask "
            f"for {(layout.G * layout.R, layout.R)}. Rows: {', '.join(f'{c.gates} R ({n})' for n, c in CELLS.items())}."
        )
    expected = layout.views(np.zeros(layout.size))
    for name, view in expected.items():
        if name not in arrays:
            raise ValueError(f"{owner}.from_parameters needs the parameter {name!r}, which is missing.")
        if arrays[name].shape != view.shape:
            raise ValueError(
                f"parameter {name!r} has shape {arrays[name].shape}, but W, V and W_rec ask for {view.shape}."
            )
    unknown = sorted(set(arrays) - set(expected))
    if unknown:
        raise ValueError(f"{owner} has no parameter {unknown[0]!r}; it has {', '.join(expected)}.")
    return layout.flat(arrays, np.dtype(dtype))
