"""What each default option is worth: one option changed at a time, everything else as it is by default.

    python -m benchmarks.quality.options [--full] [--rows NAMES]

RNNRNADE on the Japanese vowels (several splits and seeds) and RNADE on red wine (its first folds).  Models are fitted
to a part of the training data, of which they hold out their own part to stop on, and scored on the rest of the training
data: no test data are used.  "against the default" is the mean of the paired differences in nats (a frame, a row), with
its standard error; below zero, the default is better.
"""

import time

from rnnrnade import RNADE, RNNRNADE, Linear
from rnnrnade.datasets import load_japanese_vowels, load_red_wine

from .common import Fold, Part, Row, Table, held_out, parser, run_tables, summary, write

FOLDS, FOLDS_QUICK = 3, 2
# Option: other values.  One that both kinds of model have is tried on both.
ALTERNATIVES = {
    "n_components": [5, 20],
    "n_hidden": [0, 25, 100],
    "n_recurrent": [50, 200],
    "cell": ["tanh", "gru", "lstm"],
    "context": [("mu",), ("mu", "sigma"), ("alpha", "mu", "sigma", "hidden")],
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
    "schedule": ["linear", "cosine"],
    "warmup": [100],
    "weight_decay": [0.0, 0.01, 0.03, 0.1, 0.3],
    "clip_norm": [1.0, None],
    "averaging": [None, 0.9, 0.999],
    "validation_fraction": [0.05, 0.2],
    "validate_every": [20],
    "patience": [5, 40],
    "n_restarts": [3],
}
QUICK = {"max_epochs": 8}
DEFAULTS = "defaults"


def speech_folds(numbers):
    found = []
    for k in numbers:
        train, valid = held_out(load_japanese_vowels().train, 0.2, seed=k)
        found.append(Fold(train, Part(valid), Part(valid), train, seed=k, ends=True))
    return found


def wine_folds(numbers):
    found, folds = [], load_red_wine().folds
    for k in numbers:
        train, valid, _ = folds[k % len(folds)]
        mean, scale = train.mean(axis=0), train.std(axis=0)
        train, valid = (train - mean) / scale, (valid - mean) / scale
        found.append(Fold(train, Part(valid), Part(valid), train, seed=k, ends=True))
    return found


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


def main(arguments=None):
    options = parser(__doc__, "options").parse_args(arguments)
    began = time.perf_counter()
    n_folds = FOLDS_QUICK if options.quick else FOLDS
    numbers = range(options.seed, options.seed + n_folds)
    if options.rows:
        options.rows += f",{DEFAULTS}"
    base = {}

    def after(table, row, record, models, folds):
        found = record["validation"]["folds"]
        base.setdefault(table.title, found)  # the first row
        differences = [
            float("nan") if a is None or b is None else a - b for a, b in zip(found, base[table.title], strict=True)
        ]
        record["figures"]["against the default"] = summary(differences)

    tables = [
        Table(
            title=title,
            folds=lambda folds=folds: folds(numbers),
            rows=rows_of(kind),
            over=f"{n_folds} {over}",
            measure=lambda model, part: {},
        )
        for title, kind, folds, over in (
            ("options of RNNRNADE, Japanese vowels", RNNRNADE, speech_folds, "splits"),
            ("options of RNADE, red wine", RNADE, wine_folds, "folds"),
        )
    ]
    return write("options", options, run_tables(tables, options, after=after), began)


if __name__ == "__main__":
    main()
