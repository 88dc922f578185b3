"""Small checks of arguments, with the sentence that says what is wrong."""

import math
import os
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np

LARGEST = 2**53  # of a count or a size: a float in a file or a history holds it


class BadEntry(ValueError):
    """An entry of X that a model cannot take: "X is ...: sequence 3, frame 0, dimension 2. Do ...".

    Attributes
    ----------
    says, why : str
        What is wrong with it ("is ..."), and what to do ("Do ...").
    row, dimension : int
        Where, among packed frames and the dimensions of X.
    argument : str or None
        The argument that it came in, if that is not X.
    """

    def __init__(self, subject, says, place, why, row, dimension):
        super().__init__(subject, says, place, why, row, dimension)
        self.says, self.why, self.row, self.dimension, self.argument = says, why, row, dimension, None

    def __str__(self):
        subject, says, place, why, *_ = self.args
        return f"{'' if self.argument is None else f'{self.argument}: '}{subject} {says}: {place}. {why}"


class OutOfRange(ValueError):
    """A number that is finite in X and infinite in the type of the network.

    Attributes
    ----------
    row, dimension : int
        Where, among packed frames and the dimensions of X.
    """

    def __init__(self, dtype, row, dimension):
        super().__init__(dtype, row, dimension)
        self.dtype, self.row, self.dimension = dtype, row, dimension

    def at(self, what, place=None):
        """The same with a sentence for the user: of what, and at which place."""
        way_out = "" if self.dtype == np.float64 else " or use dtype='float64'"
        says, why = f"is too large for {self.dtype}", f"Scale it down{way_out}."
        if place is None:
            return ValueError(f"{what} {says}. {why}")
        return BadEntry(what, says, place, why, self.row, self.dimension)


def printable(text):
    """Text with what a terminal would obey instead of showing, control characters among others, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def check_finite(what, values, place, *, below=False):
    """ValueError for a result that is no number: NaN or infinite, but with `below` not -inf, where it is what a number
    below the smallest of float64 rounds to.

    Parameters
    ----------
    what : str
    values : ndarray of floats
    place : callable
        The place, in words, of an index of `values`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    bad = np.argwhere(~np.isfinite(values) & ~(below & (values == -np.inf)))
    if len(bad):
        raise ValueError(
            f"{what} is not finite: {place(*bad[0].tolist())}. X, or parameters after a fit that diverged, are too "
            "large for the arithmetic: scale X down, use dtype='float64', or fit with a smaller learning_rate."
        )


@np.errstate(over="ignore")
def mean_of(log_densities):
    """Their mean, a float; minus infinity where their sum is below the smallest of float64."""
    return float(np.mean(log_densities))


def plain(value):
    """A number as Python's own int or float, whatever type it came in: NumPy's small integers overflow in sizes and
    offsets.  Anything else as it is."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, Integral) else value


def check_counts(**counts):
    """Arguments that must be ints of at least 1, by name: the same as ints of Python's own, in that order."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= value <= LARGEST:
            raise ValueError(f"{name} must be an int in the range [1, 2**53]. Got {value!r:.60} instead.")
    return [int(value) for value in counts.values()]


def check_memory(what, shape, dtype=np.float64):
    """MemoryError, before anything is computed, for an array that is larger than the memory of this machine."""
    size, most = math.prod(shape) * np.dtype(dtype).itemsize, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > most:
        raise MemoryError(
            f"{what} of shape {shape} would take {size / 2**30:.4g} GiB, but this machine has {most / 2**30:.4g}: ask "
            "for fewer at a time."
        )


def allocated(what, shape, dtype=np.float64):
    """An array to be filled, after `check_memory`."""
    check_memory(what, shape, dtype)
    return np.empty(shape, dtype)


def names_of_features(estimator, n_features, given=None):
    """Names of the dimensions, a list of str: those given, or those the estimator was fitted with, or x0, x1, ..."""
    names = getattr(estimator, "feature_names_in_", None) if given is None else given
    if names is None:
        return [f"x{d}" for d in range(n_features)]
    if len(names) != n_features:
        raise ValueError(f"There are {len(names)} feature names for {n_features} dimensions.")
    return [str(name) for name in names]


def as_generator(random_state):
    """A NumPy Generator from None, a seed, a RandomState or a Generator; None is NumPy's global RandomState, as in
    scikit-learn."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        random_state = np.random.mtrand._rand
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1, size=4))
    if isinstance(random_state, Integral) and not isinstance(random_state, bool) and random_state >= 0:
        return np.random.default_rng(int(random_state))
    raise ValueError(
        f"random_state must be None, an int >= 0, a RandomState or a Generator. Got {random_state!r:.60} instead."
    )


def as_numbers(name, values):
    """`values` as an array of float64; where they are no real numbers, a ValueError that begins with their name."""
    try:
        values = np.asarray(values)
        if values.dtype.kind not in "biufO":
            raise TypeError
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numbers. Got {values!r:.60} instead.") from error


def as_probabilities(name, values):
    """`values` as a number or a 1-D array of float64, all in [0, 1]."""
    q = as_numbers(name, values)
    if q.ndim > 1 or not q.size or not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f"{name} must be a number in [0, 1], or a 1-D array of them. Got {values!r:.60} instead.")
    return q


def check_dims(name, dims, n_features):
    """A list of dimensions, each an int in 0 ... n_features - 1."""
    dims = list(dims)
    bad = [d for d in dims if not isinstance(d, Integral) or not 0 <= d < n_features]
    if bad or not dims:
        what = f"{bad[0]!r:.60}" if bad else "none"
        raise ValueError(f"{name} must be among the dimensions 0 ... {n_features - 1}. Got {what}.")
    return [int(d) for d in dims]


@contextmanager
def naming(argument):
    """Put the name of an argument before what is raised inside: "validation_data: sequence 3, frame ..."."""
    try:
        yield
    except BadEntry as error:  # stays one, so that whoever knows more of its place can say so
        error.argument = argument if error.argument is None else f"{argument}: {error.argument}"
        raise
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{argument}: {error}") from error
