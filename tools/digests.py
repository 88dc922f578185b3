"""SHA-256 digests of everything the library computes, so that two commits can be compared bit by bit.

    python tools/digests.py write before.json         # with the rnnrnade of this Python's environment
    python tools/digests.py compare before.json after.json

Compare files of one machine and one set of packages: between processors and versions of NumPy digits differ.  `compare`
ends with status 1 where a digest differs or is missing; what is new is listed only.

Only public calls are used, so that what is private may change; of `_core` just what chooses kernels and threads.  What
an ensemble holds is read from its `members_`.  The calls stand in digests.txt; one that fails has its exception for a
value.  Left out are times, and of checkpoints the version and their own SHA-256.
"""

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import pickle
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # three threads may share one core

import numpy as np
import pandas as pd
import safetensors
from sklearn.base import DensityMixin, clone
from sklearn.frozen import FrozenEstimator
from tqdm.auto import tqdm

import rnnrnade
from rnnrnade import NADE, RNADE, RNNNADE, RNNRNADE, Linear, OutlierDetector, _core

# ---- digests ---------------------------------------------------------------------------------------------------------


def digest(value):
    found = hashlib.sha256()
    for piece in pieces(value):
        found.update(f"{len(piece)}:".encode() + piece)
    return found.hexdigest()


def pieces(value):
    """Bytes that tell a value from every other: types, shapes, contents.  Any NaN is as good as another."""
    if isinstance(value, DensityMixin):
        value = state(value)
    elif isinstance(value, pd.DataFrame):
        value = value.reset_index().to_dict("list")
    elif dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        value = np.array(value, order="C")
        if value.dtype.kind == "f":
            value[np.isnan(value)] = np.nan
        yield f"{value.dtype.str}{value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping of {len(value)}".encode()
        for name in sorted(value):
            yield name.encode()
            yield from pieces(value[name])
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"{type(value).__name__} of {len(value)}".encode()
        for one in value:
            yield from pieces(one)
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        yield f"{type(value).__name__} {value!r}".encode()
    else:
        raise TypeError(f"no digest of a {type(value).__name__}")


def state(model):
    """What training leaves, member by member."""
    members = model.members_ if hasattr(model, "members_") else []  # not fitted
    return [[getattr(model, name, None) for name in ("n_features_in_", "feature_names_in_")], *map(of_member, members)]


def of_member(member):
    history = {name: column for name, column in getattr(member, "history_", {}).items() if name != "seconds"}
    kept = [getattr(member, name, None) for name in ("n_iter_", "best_epoch_", "best_update_", "order_")]
    fitted = ("mean_", "scale_", "coefficients_", "intercepts_", "factors_")
    transform = [getattr(getattr(member, "transform_", None), name, None) for name in fitted]
    return dict(member.parameters_), history, kept, transform


def content_of(path):
    """What a file holds but for its SHA-256, the version that wrote it, and the seconds in a table of history."""
    with safetensors.safe_open(path, "numpy") as file:
        content = json.loads(file.metadata()["rnnrnade"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays = {name: array[:-1] if name.endswith(".history") else array for name, array in arrays.items()}
    return {name: content[name] for name in content if name not in ("sha256", "version")}, arrays


# ---- calls -----------------------------------------------------------------------------------------------------------


def headings():
    """The calls of digests.txt by heading."""
    lines = [line for line in Path(__file__).with_suffix(".txt").read_text().split("\n") if line and line[0] != "#"]
    parts = re.split(r"^\[(.*)\]\n", "\n".join(lines), flags=re.MULTILINE)[1:]
    return {name: re.split("; |\n", text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


TEXTS = headings()


def each(title, calls, **names):
    """Name and value of each call."""
    for call in calls:
        yield f"{title}: {call}", tried(call, **names)


class CtrlC(KeyboardInterrupt):
    """Ours, not the user's."""


def tried(call, **names):
    """What a call gives or its exception, and its warnings, with whether they point to the caller."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = eval(call, globals() | names)
        except (Exception, CtrlC) as error:
            text = re.sub("{.*?}", in_order, str(error)).replace(os.getcwd(), ".")
            value = f"{type(error).__name__}: {text}"
    return value, [(w.category.__name__, str(w.message), w.filename == "<string>") for w in caught]


def in_order(found):
    """A set in a message, whose order differs from process to process."""
    return ", ".join(sorted(found[0][1:-1].split(", ")))


def calls_of(heading, sequences):
    return TEXTS[heading] + TEXTS[f"{heading} of {'sequences' if sequences else 'vectors'}"]


def streamed(stream, frames):
    """Scores of frames read one by one, and by a copy that goes on from the second."""
    begin = [stream.update(frame) for frame in frames[:2]]
    other = stream.copy()
    return begin, *([own.update(frame, dims=True) for frame in frames[2:]] for own in (stream, other)), stream.n_frames


def saved(model):
    """Bytes and content of the file."""
    model.save("model")
    return Path("model").read_bytes(), content_of("model")


def copies(model):
    """Loaded in two ways, unpickled."""
    model.save("model")
    return rnnrnade.load("model"), type(model).load("model"), pickle.loads(pickle.dumps(model))


def bits(X):
    return [bits(x) for x in X] if isinstance(X, list) else (X > 0).astype(float)


# ---- every call of models with random parameters, for all kernels and numbers of threads -----------------------------

ORDER = [3, 0, 4, 1, 2]
CELLS, ACTIVATIONS = ("sigmoid", "tanh", "gru", "lstm"), ("sigmoid", "relu")
CONTEXTS = ("alpha", "mu", "sigma", "hidden")
TRANSFORMS = (None, "standardize", "whiten", "var", Linear(lags=3, covariance="diagonal"))
UNITS = [{"cell": cell, "activation": activation} for cell in CELLS for activation in ACTIVATIONS]

# What the cases of a class have but for what they say: options, D dimensions, lengths of sequences (the sum: rows).
SMALL = {"D": 5, "lengths": (4, 1, 6), "n_hidden": 7}
MIXTURE = SMALL | {"n_components": 3, "min_scale": 0.0, "transform": None}
RECURRENT = {"n_recurrent": 6}
BASE = {"RNADE": MIXTURE, "NADE": SMALL, "RNNRNADE": MIXTURE | RECURRENT, "RNNNADE": SMALL | RECURRENT}
BASE |= {"MADE": SMALL, "RNNMADE": SMALL | RECURRENT}
MASKED = [
    {}, {"D": 1}, {"order": ORDER, "degrees": "drawn"}, {"n_hidden": (9, 3), "direct": False, "activation": "relu"},
    {"n_masks": 3}, MIXTURE | {"conditional": "gaussian", "n_hidden": (4, 12)},
    MIXTURE | {"conditional": "laplace", "n_masks": 2, "transform": "whiten"},
]  # fmt: skip
EDGES = [{"D": 1}, {"order": ORDER}]
MIXED = [{"n_hidden": 0}, {"min_scale": 0.1}, *({"transform": t, "order": ORDER} for t in TRANSFORMS[1:])]
CASES = {
    "RNADE": [{}, {"activation": "relu"}, *EDGES, *MIXED, {"D": 17, "n_hidden": 33, "n_components": 11}],
    "NADE": [{}, {"activation": "relu"}, *EDGES, {"n_hidden": 0}, {"D": 17, "n_hidden": 33}],
    "RNNRNADE": [
        *UNITS, *EDGES, *MIXED, *({"transform": t} for t in TRANSFORMS[1:]),
        *({"context": c, "n_recurrent": 18} for n in range(1, 5) for c in itertools.combinations(CONTEXTS, n)),
        {"n_layers": 2, "cell": "lstm"}, {"n_layers": 3, "cell": "gru"},
        {"D": 10, "n_hidden": 19, "n_recurrent": 1}, {"lengths": (1,)}, {"lengths": (2,) * 30, "cell": "gru"},
    ],
    "RNNNADE": [
        *UNITS, *EDGES, {"context": ("hidden",)}, {"context": ("bias",)}, {"n_hidden": 0, "context": ("bias",)},
    ],
    "MADE": MASKED,
    "RNNMADE": MASKED,
}  # fmt: skip
LARGE = {  # more than one block of everything
    "RNADE": [{"D": 70, "n_hidden": 131, "lengths": (600,)}, {"D": 33, "n_hidden": 16, "lengths": (300,)}],
    "NADE": [{"D": 67, "n_hidden": 40, "lengths": (130,)}],
    "RNNRNADE": [
        {"D": 37, "n_hidden": 70, "n_components": 7, "n_recurrent": 130, "lengths": (33, 70, 1, 130)},
        *({"D": 37, "n_hidden": 30, "n_recurrent": 67, "lengths": (33, 70, 1), "cell": cell} for cell in CELLS[2:]),
        {"D": 2, "n_hidden": 20, "n_recurrent": 30, "lengths": (12,) * 50},
    ],
    "RNNNADE": [{"D": 67, "n_hidden": 40, "n_recurrent": 67, "lengths": (129, 2, 64)}],
    "MADE": [{"D": 67, "n_hidden": (130, 90), "lengths": (300,)}],
    "RNNMADE": [{"D": 37, "n_hidden": (30, 70), "n_recurrent": 67, "lengths": (33, 70, 1)}],
}


def scores():
    choices = [(heading, name, choice) for heading, cases in (("calls", CASES), ("large", LARGE)) for name in cases
               for choice in cases[name]]  # fmt: skip
    for (heading, name, choice), dtype in itertools.product(choices, ("float32", "float64")):
        title = f"{name}({', '.join(f'{key}={value}' for key, value in choice.items())}) {dtype}"
        model, data = case(name, choice, dtype)
        yield title, model
        for row, threads in itertools.product(_core.kernel_row_names(), (1, 2, 3)):
            model.set_params(n_jobs=threads)
            with _core.use_kernels(row), _core.use_all_threads():
                calls = calls_of(heading, sequences=name.startswith("RNN"))
                yield from each(f"{title}, {row}, {threads} threads", calls, m=model, **data)


def case(name, choice, dtype):
    """A model with random parameters, and what calls read."""
    options = BASE[name] | choice
    D, lengths = options.pop("D"), options.pop("lengths")
    generator = np.random.default_rng(zlib.crc32(f"{name} {choice}".encode()))
    X, Z = ([generator.normal(size=(T, D)) for T in lengths] for _ in range(2))
    if "RNADE" not in name and "conditional" not in choice:
        X = bits(X)
    gaps = [x.copy() for x in X[-3:]]
    gaps[0][-1, 1:] = gaps[-1][len(gaps[-1]) // 2, 0] = np.nan
    data = {"X": X, "Z": Z, "gaps": gaps, "one": X[-1]}
    if not name.startswith("RNN"):
        data |= {"X": np.concatenate(X), "Z": np.concatenate(Z), "gaps": np.concatenate(gaps)[-8:]}
    cls = getattr(rnnrnade, name)
    begun = cls(**options, dtype=dtype, random_state=0).partial_fit(data["X"])  # it has the shapes and the transform
    parameters = {key: random(key, value.shape, generator) for key, value in sorted(begun.parameters_.items())}
    kept = ("cell", "activation", "min_scale", "order", "conditional", "degrees", "n_masks")
    options = {key: options[key] for key in kept if key in options}
    options |= {"dtype": dtype, "missing": "marginalize", "random_state": 1}
    return cls.from_parameters(parameters, transform=begun.transform_, **options), data


def random(name, shape, generator):
    """Of a size that keeps raw outputs of order one."""
    fan_in = shape[1 if name.startswith("V") else -1] if len(shape) > 1 else 4
    scale = (0.4 if name.endswith("sigma") else 0.8) * max(fan_in, 1) ** -0.5
    return (name == "rho") + scale * generator.standard_normal(shape)


# ---- training --------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
VECTORS = RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 3))
SEQUENCES = [RNG.normal(size=(T, 3)).cumsum(axis=0) for T in RNG.integers(3, 12, size=24)]
LONG = [RNG.normal(size=(230, 3)), RNG.normal(size=(260, 3))]
WIDE = RNG.normal(size=(40, 120))  # so many parameters that threads share an update
GAPS = np.where(VECTORS[7, 1] == VECTORS, np.nan, VECTORS)
TINY = {"n_hidden": 5, "max_epochs": 4, "batch_size": 8, "learning_rate": 0.05, "random_state": 0}
REAL = TINY | {"n_components": 2}
PAST = REAL | {"n_recurrent": 4}
BITS = TINY | {"n_recurrent": 4}


def made(line):
    """The model of a line, its call of `fit`, and X."""
    model, arguments = line.removesuffix(")").split(".fit(")
    return eval(model), f"m.fit({arguments})", eval(f"(lambda X, **further: X)({arguments})")


def fits():
    rows = _core.kernel_row_names()
    for row, threads in [(rows[0], 1), (rows[0], 3), *((row, 2) for row in rows)]:
        with _core.use_kernels(row), _core.use_all_threads():
            for line in TEXTS["fits"]:
                title = f"{line}, {row}, {threads} threads"
                model, call, X = made(line)
                model.set_params(n_jobs=threads)
                yield title, tried(call, m=model)
                yield from after(title, model, X)
                model.set_params(warm_start=True, max_epochs=2)
                yield f"{title}, again", tried(call, m=model)


def after(title, model, X):
    """What there is to ask a fitted model."""
    sequences = isinstance(X, list)
    gaps = [X[0], np.where(np.arange(len(X[-1]))[:, None] == 2, np.nan, X[-1])] if sequences else X[:2]
    yield from each(title, calls_of("after", sequences), m=model, X=X, gaps=gaps)


SCRIPTS = [
    ("RNNRNADE(**PAST)", "often"),
    ("RNNRNADE(**PAST, input_noise=0.1, context_dropout=0.2, window=7)", "often"),
    ("NADE(**TINY)", "binary"),
    ("NADE(**TINY, n_orders=2)", "binary"),
    ("RNADE(**REAL)", "changed"),
    ("RNNRNADE(**PAST, n_orders=3)", "often"),
    ('RNADE(**REAL, n_orders=2, order="random")', "changed"),
    ("RNADE(**REAL)", "fit of vectors", "changed"),
    ("RNNRNADE(**PAST, n_orders=2)", "fit of sequences", "often"),
    ("RNNRNADE(**PAST, warm_start=True)", "often", "fit of sequences", "often"),
    ("RNADE(**REAL, warm_start=True, n_orders=2)", "changed", "fit of vectors", "changed"),
]


def partial_fits():
    for model, *parts in SCRIPTS:
        m, title = eval(model), f"{model}, {', '.join(parts)}"
        calls = [call for part in parts for call in TEXTS[part]]
        for i, (name, value) in enumerate(each(title, calls, m=m)):
            yield f"{name}, call {i}", value
        yield from after(title, m, {"binary": bits(VECTORS), "often": SEQUENCES}.get(parts[-1], VECTORS))


def checkpoints():
    """Fits that Ctrl-C interrupts when they write for the n-th time, resumed, and resumed again when finished."""
    for line, n in itertools.product(TEXTS["checkpoints"], (2, 4, 7)):
        model, call, X = made(line)
        call = call.removesuffix(")") + ", checkpoint=path, every=0, resume=resume)"
        path, title, writings = f"checkpoint of {line} {n}", f"{line}, interrupted in writing {n}", itertools.count(1)

        def replace(*arguments, true=os.replace, n=n, writings=writings):
            if next(writings) == n:
                raise CtrlC
            true(*arguments)

        with mock.patch("os.replace", replace):
            yield title, tried(call, m=clone(model), path=path, resume=False)
        yield f"{title}: its file", content_of(path)
        for what in ("resumed", "finished"):
            resumed = clone(model)
            yield f"{title}: {what}", tried(call, m=resumed, path=path, resume=True)
            yield f"{title}: {what}: scores and file", (resumed.score_samples(X), content_of(path))
        other = clone(model).set_params(learning_rate=0.1, batch_size=7)
        yield f"{title}: of another fit", tried(call, m=other, path=path, resume=True)


# ---- forms of X, what is not of estimators, mistakes -----------------------------------------------------------------

SHORT = {"n_components": 2, "n_hidden": 3, "max_epochs": 2, "random_state": 0}
CUBE = RNG.normal(size=(12, 6, 3))
PACKED = np.concatenate(CUBE)
OBJECTS = np.fromiter(CUBE, object)
TABLES = [pd.DataFrame(x, columns=["a", "b", "c"]) for x in CUBE]
TABLE = pd.concat(TABLES, ignore_index=True)


def forms():
    for X in TEXTS["forms"]:
        m = RNNRNADE(**SHORT, n_recurrent=4)
        yield from each(f"RNNRNADE, {X}", [*TEXTS["calls of forms"], "m.forecast(X, 2, 2, 0)"], m=m, X=eval(X))
        yield from each(f"RNADE, {X}", TEXTS["calls of forms"], m=RNADE(**SHORT, order=[2, 0, 1]), X=eval(X))
    m = RNNRNADE(**SHORT, n_recurrent=4)
    yield from each("lengths", TEXTS["calls with lengths"], m=m, X=PACKED, n=[5, 60, 7])


ALPHA, MU, SIGMA = RNG.random((50, 4)), 10 * RNG.normal(size=(50, 4)), np.exp(3 * RNG.normal(size=(50, 4)))
NUMBERS, Q, DRAWS = 100 * RNG.normal(size=50) ** 3, RNG.random(50) ** 40, RNG.normal(size=(9, 4, 3))


def others():
    mixture = rnnrnade.conditionals.MixtureOfGaussians(ALPHA, MU, SIGMA)
    yield from each("mixture", TEXTS["calls of mixtures"], m=mixture)
    yield from each("functions", TEXTS["functions"])
    detectors = [
        (OutlierDetector(RNADE(**REAL), 0.1), VECTORS),
        (OutlierDetector(RNNRNADE(**PAST, n_orders=2)), SEQUENCES),
        (OutlierDetector(NADE(**TINY), 0.2), bits(VECTORS)),
        (OutlierDetector(FrozenEstimator(RNNRNADE(**PAST).fit(SEQUENCES)), 0.1), LONG),
    ]
    for i, (detector, X) in enumerate(detectors):
        yield from each(f"detector {i}", TEXTS["calls of detectors"], m=detector, X=X)


def mistakes():
    """Types and texts of exceptions."""
    real, past = RNADE(**REAL).fit(VECTORS, checkpoint="fit"), RNNRNADE(**PAST).fit(SEQUENCES)
    binary, named = RNNNADE(**BITS).fit(bits(SEQUENCES)), RNNRNADE(**PAST).fit(TABLES)
    orders = RNNRNADE(**PAST, n_orders=2, missing="marginalize").fit(SEQUENCES)
    real.save("real")
    Path("text").write_text("no model")
    Path("damaged").write_bytes(Path("real").read_bytes()[:-1] + b"x")
    for option in TEXTS["wrong options"]:
        yield option, tried(f"m.set_params({option}).fit(SEQUENCES)", m=clone(past))
    names = {"binary": binary, "named": named, "orders": orders, "p": dict(real.parameters_)}
    yield from each("bad call", TEXTS["bad calls"], real=real, past=past, **names)


SECTIONS = (scores, fits, partial_fits, checkpoints, forms, others, mistakes)


# ---- files of digests ------------------------------------------------------------------------------------------------


def write(path):
    path = Path(path).absolute()
    where = {str(Path(module.__file__).parent) for module in (rnnrnade, _core)}
    print(f"digests of {' and '.join(where)}, kernels {', '.join(_core.kernel_row_names())}")
    if len(where) > 1:
        sys.exit("these are two builds: start Python in another folder")
    digests = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # messages name files as they are given
        for section in SECTIONS:
            for name, value in tqdm(section(), desc=section.__name__, unit=" values", mininterval=1):
                if f"{section.__name__}: {name}" in digests:
                    raise ValueError(f"two values have the name {name!r}")
                digests[f"{section.__name__}: {name}"] = digest(value)
        os.chdir(path.parent)
    path.write_text(json.dumps({"made with": rnnrnade.config(), "digests": digests}, indent=0) + "\n")
    print(f"{len(digests)} digests")


def compare(first, second, most):
    a, b = (json.loads(Path(path).read_text()) for path in (first, second))
    if a["made with"] != b["made with"]:
        print(f"made with {a['made with']}\nand with  {b['made with']}")
    a, b = a["digests"], b["digests"]
    differ = [name for name in a if name in b and a[name] != b[name]]
    missing, new = ([name for name in one if name not in other] for one, other in ((a, b), (b, a)))
    print(f"{len(a) - len(differ) - len(missing)} are equal")
    for what, names in (("differ", differ), ("are missing", missing), ("are new", new)):
        print(f"{len(names)} {what}", *names[:most], *["..."] * (len(names) > most), sep="\n    ")
    return int(bool(differ or missing))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="compute all digests").add_argument("path")
    comparison = commands.add_parser("compare", help="say which digests differ")
    comparison.add_argument("first")
    comparison.add_argument("second")
    comparison.add_argument("--most", type=int, default=40, help="names of each kind that are printed")
    options = parser.parse_args()
    if options.command == "write":
        return write(options.path)
    return compare(options.first, options.second, options.most)


if __name__ == "__main__":
    sys.exit(main())
