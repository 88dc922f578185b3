"""Exact-likelihood neural density models of real-valued and binary sequences and vectors, on the CPU."""

import importlib
import importlib.util
import sys

__version__ = "0.1.0"

if importlib.util.find_spec(f"{__name__}._core") is None:
    raise ImportError(
        f"{__path__[0]} holds no compiled module for this Python ({sys.implementation.cache_tag}): either it is the "
        "source folder, found before the installed package (start Python in another folder, or run "
        "`pip install --editable .` beside pyproject.toml), or it was compiled for another Python (install rnnrnade "
        "with this one)",
        name=f"{__name__}._core",
        path=__path__[0],
    )

# Imported on first use, so that `import rnnrnade` is quick and changes nothing.
_WHERE = {
    "RNADE": "estimators",
    "NADE": "estimators",
    "RNNRNADE": "estimators",
    "RNNNADE": "estimators",
    "RNNGMM": "estimators",
    "RNNGauss": "estimators",
    "MADE": "estimators",
    "RNNMADE": "estimators",
    "VAE": "estimators",
    "VRNN": "estimators",
    "SRNN": "estimators",
    "Auto": "auto",
    "Linear": "transforms",
    "Volatility": "transforms",
    "Chain": "transforms",
    "SequenceBatch": "tables",
    "calendar_columns": "calendar",
    "read_sequences": "datafiles",
    "OutlierDetector": "surprise",
    "ModelFileError": "io",
}
_MODULES = ("conditionals", "datasets", "distributions", "forecasting", "plotting")

__all__ = [*_WHERE, "config", "load", "show_config"]


def __getattr__(name):
    if name in _WHERE:
        return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_WHERE])


def load(path):
    """Read a fitted estimator of any class from a file that its `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    estimator

    Raises
    ------
    ModelFileError
        For a file that is damaged, changed, of another version, or no model.
    """
    from .estimators import load_estimator

    return load_estimator(path)


def config():
    """What this build and machine have.

    Returns
    -------
    dict
        version, openmp (bool), kernels (the row in use), kernels_available (list), threads (int: what n_jobs=None
        means now), python, numpy.
    """
    import platform

    import numpy

    from . import _core

    return {
        "version": __version__,
        "openmp": _core.has_openmp(),
        "kernels": _core.row_in_use(),
        "kernels_available": _core.kernel_row_names(),
        "threads": _core.effective_threads(None),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
    }


def show_config():
    """Print `config()`, a line each."""
    for name, value in config().items():
        print(f"{name:18} {', '.join(value) if isinstance(value, list) else value}")
