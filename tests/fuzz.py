"""Public calls with arguments that nobody should pass: each answers with numbers, or with an exception that says why.

    python tests/fuzz.py N SEED [FIRST]     # N calls; FIRST: begin at this one, to see one again

A call is made of its number and the seed, so that one that failed can be made again alone.  What may come back: values
without NaN where X has none, or one of our exceptions, whose message names what was wrong, within SECONDS.
"""

import inspect
import os
import re
import sys
import time
import traceback
import warnings

import numpy as np
import pandas as pd
import scipy.sparse

import rnnrnade
from rnnrnade import NADE, RNADE, RNNNADE, RNNRNADE, Linear, OutlierDetector, SequenceBatch

SECONDS = 10
MEMORY = 6 << 30  # bytes of address space
OURS = (ValueError, TypeError, MemoryError)

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(30, 3)) @ RNG.normal(size=(3, 3))
SEQUENCES = [RNG.normal(size=(T, 3)).cumsum(axis=0) for T in (5, 1, 9, 4, 7, 3, 6, 2, 8, 5, 4, 6)]
SMALL = {"n_hidden": 4, "max_epochs": 1, "random_state": 0, "n_jobs": 1}
MIXTURE, RECURRENT = {"n_components": 2}, {"n_recurrent": 3}


def bits(x):
    return (x > 0).astype(float)


def models():
    """Fitted estimators by name, and data that they take."""
    binary = [bits(x) for x in SEQUENCES]
    gaps, double = {"missing": "marginalize"}, {"dtype": "float64", "cell": "lstm", "conditional": "logistic"}
    return {
        "RNADE": (RNADE(**SMALL, **MIXTURE, **gaps).fit(ROWS), ROWS),
        "RNADE, ensemble": (RNADE(**SMALL, **MIXTURE, n_orders=2).fit(ROWS), ROWS),
        "RNADE, bare": (RNADE(**SMALL, **MIXTURE, transform=None, conditional="laplace").fit(ROWS), ROWS),
        "NADE": (NADE(**SMALL).fit(bits(ROWS)), bits(ROWS)),
        "RNNRNADE": (RNNRNADE(**SMALL, **MIXTURE, **RECURRENT, **gaps).fit(SEQUENCES), SEQUENCES),
        "RNNRNADE, double": (RNNRNADE(**SMALL, **MIXTURE, **RECURRENT, **double).fit(SEQUENCES), SEQUENCES),
        "RNNNADE": (RNNNADE(**SMALL, **RECURRENT).fit(binary), binary),
        "OutlierDetector": (OutlierDetector(RNADE(**SMALL, **MIXTURE)).fit(ROWS), ROWS),
    }


class Lies:
    """Of one shape to those who ask, of another when converted."""

    def __init__(self, shape, array):
        self.shape, self.array = shape, array

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


def recursive():
    items = []
    items.append(items)
    return items


STRANGE = [
    None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 1 + 2j,
    10**12, 2**62, 2**63, 2**64, 10**400, -(10**400),
    "", "x", "nan", "1", "0.5", b"x", "\x1b[31m", "a" * 1000,
    (), [], {}, set(), [[]], [[[]]], [None], [0], [1], [[1]], [1, [2]], [[1, 2], [3]], {"a": 1}, {1: 2}, recursive(),
    range(3), slice(3), object(), int, len, rnnrnade, iter([1, 2]), (i for i in range(3)),
    np.uint8(3), np.int8(-3), np.uint64(2**63), np.float16(0.5), np.bool_(True), np.array(3), np.array([]),
    np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 2, 2, 2)), np.ones(3), np.ones((1, 3)), np.full((4, 3), np.nan),
    np.full((4, 3), np.inf), np.full((4, 3), 1e300), np.full((4, 3), 5e-324), np.full((4, 3), 3e38),
    np.array(["a", "b"]), np.array([None, 1], object), np.array([recursive()], object), np.ones((4, 3), bool),
    np.arange(6).reshape(2, 3), np.ones((4, 3), np.float16), np.ones((4, 3), complex), np.zeros(3, "i4,f8"),
    np.array(["2020-01-01"], "M8[D]"), np.ma.masked_array(np.ones((4, 3)), np.eye(4, 3)), scipy.sparse.eye(3),
    Lies((30, 3), np.zeros((30, 1))), Lies((30, 3), np.zeros((2, 3))), Lies((3, 3), [[1], [2, 3]]), Lies((-1, 3), 0),
    pd.DataFrame(np.ones((4, 3))), pd.DataFrame({"a": ["x"], "b": [1], "c": [2]}), pd.DataFrame(), pd.NaT, pd.NA,
    pd.Series([1.0, 2, 3]), np.random.default_rng(0), np.random.RandomState(0), Linear(), SequenceBatch(SEQUENCES),
]  # fmt: skip

MUTATIONS = [
    lambda x, rng: x.astype(rng.choice(["f2", "f4", ">f8", "i4", "O", "c8", "U8", "f8"])),
    lambda x, rng: x[:, : rng.integers(4)],
    lambda x, rng: x[: rng.integers(3)],
    lambda x, rng: x[::-1],
    lambda x, rng: np.asfortranarray(x),
    lambda x, rng: x.tolist(),
    lambda x, rng: x * 10.0 ** rng.integers(-320, 309),
    lambda x, rng: x + 10.0 ** rng.integers(0, 309),
    lambda x, rng: np.where(rng.random(x.shape) < 0.1, np.nan, x),
    lambda x, rng: np.where(rng.random(x.shape) < 0.1, rng.choice([np.inf, -np.inf, 1e39, -1e308, 5e-324]), x),
    lambda x, rng: np.zeros_like(x),
    lambda x, rng: np.repeat(x[:1], len(x), axis=0),
    lambda x, rng: pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]),
    lambda x, rng: x[None],
    lambda x, rng: x.ravel(),
    lambda x, rng: x.view(np.ma.MaskedArray),
    lambda x, rng: frozen(x),
]


def frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def mutated(X, rng):
    """Data of the right form, some of it changed."""
    try:
        change = MUTATIONS[rng.integers(len(MUTATIONS))]
        if isinstance(X, np.ndarray):
            return change(X, rng)
        if rng.random() < 0.2:
            return [SequenceBatch, tuple, np.concatenate, lambda x: x[:1], lambda x: x[0]][rng.integers(5)](X)
        return [change(x, rng) if rng.random() < 0.3 else x for x in X]
    except (TypeError, ValueError, OverflowError):
        return X


GOOD = {
    "y": [None], "lengths": [None, [5, 25], [30]], "sample_weight": [None, 1.0, np.ones(30), np.ones(12)],
    "validation_data": [None], "checkpoint": [None], "every": [0, 60], "resume": [False],
    "n_samples": [1, 2, 5], "n_frames": [1, 4], "horizon": [1, 3], "random_state": [None, 0, 1],
    "given": [None, SEQUENCES[0], SEQUENCES[0][:1]], "leading": [None, [0.5], [0.1, 0.2]],
    "q": [0.5, [0.1, 0.9]], "top": [1, 3], "n_dims": [1, 2], "rate": [0.1, 0.5], "confidence": [0.9], "n_bins": [5],
    "n_particles": [5, 20], "n_repeats": [2, 3],
}  # fmt: skip
NOT_CALLED = ("save", "load", "get_params", "get_metadata_routing")  # and requests of metadata


def calls(model):
    names = [name for name in dir(type(model)) if not name.startswith("_") and name not in NOT_CALLED]
    return [name for name in names if inspect.isfunction(getattr(type(model), name)) and "request" not in name]


def pick(values, rng):
    return values[rng.integers(len(values))]


def arguments(call, X, rng):
    """Keyword arguments of a call: mostly good ones, now and then a strange one."""
    found, strange = {}, rng.choice([0, 0.1, 0.4])
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if name not in ("X", "Z") and parameter.default is not parameter.empty and rng.random() < 0.5:
            continue
        if rng.random() < strange:
            found[name] = pick(STRANGE, rng)
        elif name in ("X", "Z"):
            found[name] = X if rng.random() < 0.4 else mutated(X, rng)
        else:
            found[name] = pick(GOOD.get(name, [None, 0]), rng)
    return found


PLAIN = [1, 2, 0, 0.5, "whiten", "var", "gru", "tanh", "relu", "sgd", "random", "float64", None]
LONG = (
    "max_epochs",
    "n_restarts",
    "n_orders",
    "verbose",
    "n_jobs",
)  # large values are legal, and take as long as they say


def options(model, rng):
    """The options of a model, some of them strange."""
    found = model.get_params(deep=False)
    for name in rng.choice(list(found), rng.integers(0, 3)):
        found[name] = pick(STRANGE, rng)
    if rng.random() < 0.5:
        found[pick(list(found), rng)] = pick(PLAIN, rng)
    for name in LONG:
        if isinstance(found.get(name), int | np.integer) and found[name] > 3:
            found[name] = 1
    return found


def numbers_in(value):
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield value
    elif isinstance(value, float):
        yield np.array(value)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from numbers_in(one)


def has_nan(value):
    """Whether NaN stands anywhere in data."""
    try:
        if isinstance(value, list | tuple):
            return any(map(has_nan, value))
        return bool(np.isnan(np.asarray(value, float)).any())
    except (TypeError, ValueError, RecursionError, OverflowError):
        return False


SAID = (  # of these, or of an argument or option by name, a message must speak
    "Expected 2D array", "Found array", "sequence", "row", "frame", "rows", "frames", "features", "DataFrame",
    "parameters", "ensemble", "orders", "fitted",
)  # fmt: skip


def one(number, seed, fitted):
    """Make one call; a sentence where what came back is not what we promise, else None."""
    rng = np.random.default_rng([seed, number])
    warnings.simplefilter("ignore")
    name = pick(list(fitted), rng)
    model, X = fitted[name]
    what = pick(calls(model), rng)
    if what in ("fit", "partial_fit", "set_params") and name != "OutlierDetector":
        model = type(model)(**options(model, rng))
        what = "fit" if what == "set_params" else what
    call = getattr(model, what)
    given = arguments(call, X, rng)
    shown = f"{number}: {name}.{what}({', '.join(f'{key}={value!r:.80}' for key, value in given.items())})"
    if what == "fit":
        shown += f" of {model!r}"
    began = time.perf_counter()
    try:
        warnings.simplefilter("error", RuntimeWarning)
        found = call(**given)
    except OURS as error:
        found, text = None, str(error)
        names = {what, *inspect.signature(call).parameters, *model.get_params(deep=False), *SAID}
        if not isinstance(error, MemoryError) and not re.search(rf"\b({'|'.join(names)})\b", text):
            return f"{shown}\n  says nothing of what was wrong: {type(error).__name__}: {text}\n{last_lines()}"
    except Exception as error:
        return f"{shown}\n  {type(error).__name__}: {error}\n{last_lines()}"
    warnings.simplefilter("ignore")
    seconds = time.perf_counter() - began
    if seconds > SECONDS:
        return f"{shown}\n  took {seconds:.1f} s"
    if found is not model and not any(map(has_nan, given.values())):
        for values in numbers_in(found):
            if np.isnan(values).any():
                return f"{shown}\n  gave NaN"
    return None


def last_lines():
    return "".join("    " + line for line in traceback.format_exc().splitlines(keepends=True)[-6:])


def main(n, seed, first=0, most=5):
    """The first `most` of n calls that failed."""
    fitted, failed = models(), []
    for number in range(first, first + n):
        said = one(number, seed, fitted)
        if said:
            failed.append(said)
            if len(failed) == most:
                break
    return failed


if __name__ == "__main__":
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which reserves terabytes
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    failures = main(*map(int, sys.argv[1:]))
    print("\n".join(failures) or "all as promised")
    sys.exit(bool(failures))
