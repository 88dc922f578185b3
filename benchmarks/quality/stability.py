"""Sigmoid against rectified hidden units in the joint model, on motion capture.

    python -m benchmarks.quality.stability [--full] [--rows NAMES]

The paper says that sigmoid units train more stably.  Ten seeds of each kind of unit and of each way to train, without
early stopping, on the training part of split (a) less its validation ends (mocap.py); no test data are used.  Gradient
norms are means over an epoch, before clipping, of the gradient of the mean negative log-density per frame.  A run
diverged if its loss or parameters became infinite or NaN; it keeps its best epoch before.  "validation" is that of the
best epoch.  60 epochs are 120 updates: scores still rise, and nothing is said about longer training.  D = 49, H = 50,
K = 5, R = 100, no weight decay, momentum 0.9 in SGD, whose rate falls to 0.
"""

import time

import numpy as np

from rnnrnade import RNNRNADE

from . import mocap, pictures
from .common import Fold, Row, Table, parser, run_tables, write

SEEDS, SEEDS_QUICK = 10, 2
EPOCHS, EPOCHS_QUICK = 60, 15  # of two updates: 31 windows in batches of 16
SETTINGS = {
    "n_components": 5, "n_hidden": 50, "transform": "standardize", "min_scale": 0.1, "weight_decay": 0.0,
    "averaging": 0.99, "validation_fraction": mocap.VALIDATION,
}  # fmt: skip
TRAINING = {
    "Adam 0.01, clipped": {"optimizer": "adam", "learning_rate": 1e-2, "clip_norm": 5.0},
    "Adam 0.01": {"optimizer": "adam", "learning_rate": 1e-2, "clip_norm": None},
    "SGD 0.003": {"optimizer": "sgd", "learning_rate": 3e-3, "clip_norm": None},
    "SGD 0.03": {"optimizer": "sgd", "learning_rate": 3e-2, "clip_norm": None},
}
UNITS = ("sigmoid", "relu")
COLOURS = {"sigmoid": "#0072B2", "relu": "#D55E00"}


def measure(model, part):
    """Figures of the training itself."""
    norms, scores = model.history_["gradient_norm"], model.history_["validation_score"]
    none = float("nan")
    return {
        "median gradient norm": float(np.median(norms)) if norms else none,
        "largest": float(np.max(norms)) if norms else none,
        "last epoch's validation": scores[-1] if scores else none,
    }


def draw_picture(histories):
    """Gradient norm (above) and validation score (below) over the epochs, a column for each way to train."""
    if (drawing := pictures.canvas(columns=len(TRAINING), rows=2)) is None:
        return
    figure, axes = drawing
    for (training, unit), found in histories.items():
        column = list(TRAINING).index(training)
        above, below = axes[column], axes[len(TRAINING) + column]
        for i, history in enumerate(found):
            style = {"color": COLOURS[unit], "lw": 0.8, "alpha": 0.7, "label": unit if i == 0 else None}
            above.semilogy(history["epoch"], history["gradient_norm"], **style)
            below.plot(history["epoch"], history["validation_score"], **style)
        above.set_title(training)
        below.set_xlabel("epoch")
    for below in axes[len(TRAINING) :]:
        below.set_ylim(bottom=max(-120, below.get_ylim()[0]))  # one bad run would hide the others
    axes[0].set_ylabel("gradient norm")
    axes[len(TRAINING)].set_ylabel("validation, nats per frame")
    axes[0].legend()
    pictures.save(figure, "stability")


def main(arguments=None):
    options = parser(__doc__, "stability").parse_args(arguments)
    began = time.perf_counter()
    epochs = EPOCHS_QUICK if options.quick else EPOCHS
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    rows = {
        (training, unit): Row(
            f"{unit}, {training}",
            RNNRNADE,
            [SETTINGS | how | {"activation": unit, "max_epochs": epochs, "patience": epochs}],
        )
        for training, how in TRAINING.items()
        for unit in UNITS
    }
    histories = {}

    def after(table, row, record, models, folds):
        record["figures"]["diverged"] = record["diverged"]
        key = next(key for key, other in rows.items() if other is row)
        histories[key] = [model.history_ for model in models]

    def folds():
        found = mocap.folds("a", range(options.seed, options.seed + n_seeds))
        # The figures are of the training itself: what stands for test data is the validation part again.
        return [Fold(f.train, f.valid, f.valid, f.everything, seed=f.seed, ends=True) for f in found]

    table = Table(
        title="sigmoid against rectified units",
        folds=folds,
        rows=list(rows.values()),
        over=f"{n_seeds} seeds",
        measure=measure,
    )
    tables = run_tables([table], options, after=after)
    if histories:
        draw_picture(histories)
    return write("stability", options, tables, began)


if __name__ == "__main__":
    main()
