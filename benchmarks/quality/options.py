"""What each default option is worth: one option changed at a time, everything else as it is by default.

    python -m benchmarks.quality.options [--full] [--rows NAMES]

RNNRNADE on the Japanese vowels and on the training part of split (a) of motion capture; RNADE on red wine, white wine
and parkinsons.  Models are fitted to a part of the training data, of which they hold out their own part to stop on, and
scored on another part of the training data: no test data are used.  Motion capture: a first part of each recording,
scored on the next tenth of it.  The first row has the nats of the defaults (a frame, a row), each other one the mean of
its paired differences from them with the standard error; below zero, the default is better.  A difference counts where
it is several times its error: another dtype, which changes nothing but rounding, shows how far chance alone goes.
"""

import dataclasses
import time

import numpy as np

from rnnrnade import RNADE, RNNRNADE, Linear
from rnnrnade.datasets import load_japanese_vowels, load_parkinsons, load_white_wine

from . import mocap, vectors
from .common import Fold, Part, Row, Table, held_out, parser, run_tables, summary, write

# Option: other values.  One that both kinds of model have is tried on both.
ALTERNATIVES = {
    "n_components": [5, 20],
    "n_hidden": [0, 50, 100],
    "n_recurrent": [50, 200],
    "cell": ["tanh", "gru", "lstm"],
    "context": [("mu", "sigma"), ("alpha", "mu", "sigma", "hidden")],
    "activation": ["relu"],
    "min_scale": [1e-2, 1e-1],
    "transform": ["standardize", "whiten", Linear(lags=1, covariance="full"), Linear(lags=3, covariance="full")],
    "mean_gradient": [True],
    "order": ["random"],
    "n_orders": [4],
    "dtype": ["float64"],
    "input_noise": [0.1],
    "input_dropout": [0.1],
    "context_dropout": [0.1],
    "batch_size": [8, 64],
    "optimizer": ["sgd"],
    "learning_rate": [3e-3, 3e-2],
    "schedule": ["cosine"],
    "warmup": [100],
    "weight_decay": [0.0, 0.01, 0.1],
    "clip_norm": [1.0, None],
    "anneal": [True],
    "averaging": [None, 0.9, 0.95, 0.99],
    "validation_fraction": [0.05, 0.2],
    "validate_every": [20],
    "patience": [5, 40],
    "n_restarts": [3],
}
QUICK = {"max_epochs": 8}
CUTS = (0.6, 0.5)  # parts of the recordings to train on
DEFAULTS = "defaults"


def judged(train, valid, seed):
    """A fold whose test part is its validation part."""
    return Fold(train, valid, valid, train, seed=seed, ends=True)


def vowels(n):
    parts = (held_out(load_japanese_vowels().train, 0.2, seed=k) for k in range(n))
    return [judged(train, Part(valid), k) for k, (train, valid) in enumerate(parts)]


def recordings(n):
    _, whole, _ = mocap.recordings("a")
    found = []
    for k, cut in enumerate(CUTS[:n]):
        ends = [round(cut * len(x)) for x in whole]
        valid = [x[: round((cut + 0.1) * len(x))] for x in whole]
        found.append(judged([x[:end] for x, end in zip(whole, ends, strict=True)], Part(valid, tuple(ends)), k))
    return found


def rows(folds):
    return lambda n: [judged(fold.train, fold.valid, fold.seed) for fold in folds(n)]


# Kind of model: sets, each with its folds and their number, the number at the reduced size.
SETS = {
    RNNRNADE: {"Japanese vowels": (vowels, 3, 2), "motion capture": (recordings, 2, 1)},
    RNADE: {
        "red wine": (rows(vectors.red_wine), 6, 2),
        "white wine": (rows(vectors.random_folds(load_white_wine)), 3, 1),
        "parkinsons": (rows(vectors.random_folds(load_parkinsons)), 2, 1),
    },
}


def rows_of(kind):
    """A row for the defaults and one for each alternative that the kind of model has."""
    known = kind().get_params(deep=False)
    static = kind is RNADE
    changed = [
        (name, value)
        for name, values in ALTERNATIVES.items()
        for value in values
        if name in known and not (static and isinstance(value, Linear))  # rows have no past
    ]
    return [Row(f"{DEFAULTS}: {kind.__name__}()", kind, quick=QUICK, group="defaults")] + [
        Row(f"{name}={value!r}", kind, [{name: value}], quick=QUICK) for name, value in changed if known[name] != value
    ]


def by_set(found, base, names):
    """Summaries by set of the values of all folds, whose sets are `names`: less those of `base`, or as they are."""
    found = np.array(found, float) - (0.0 if base is None else np.array(base, float))  # None, not finite: NaN
    sets = dict.fromkeys(names)
    return {of: summary([value for value, name in zip(found, names, strict=True) if name == of]) for of in sets}


def main(arguments=None):
    options = parser(__doc__, "options").parse_args(arguments)
    began = time.perf_counter()
    if options.rows:
        options.rows += f",{DEFAULTS}"
    tables, base, names = [], {}, {}
    for kind, sets in SETS.items():
        title, folds, counts = f"options of {kind.__name__}", [], []
        names[title] = []
        for name, (load, n_full, n_quick) in sets.items():
            n = n_quick if options.quick else n_full
            try:
                found = load(n)
            except FileNotFoundError as error:
                print(f"{name}: left out. {error}\n")
                continue
            folds += [dataclasses.replace(fold, seed=fold.seed + options.seed) for fold in found]
            names[title] += [name] * n
            counts.append(f"{n} of {name}")
        tables.append(
            Table(
                title=title,
                folds=lambda folds=folds: folds,
                rows=rows_of(kind),
                over="folds: " + ", ".join(counts),
                measure=lambda model, part: {},
            )
        )

    def after(table, row, record, models, folds):
        found = record.pop("validation")["folds"]  # a mean over sets says nothing
        record["figures"] = by_set(found, base.get(table.title), names[table.title])
        base.setdefault(table.title, found)  # the first row

    return write("options", options, run_tables(tables, options, after=after), began)


if __name__ == "__main__":
    main()
