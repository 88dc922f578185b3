"""Spoken digits, frames of samples: models of equal size, and what loudness alone is worth, nats a recording.

    python -m benchmarks.quality.digits [--full] [--sets NAMES] [--rows NAMES] [--tune]

The Free Spoken Digit Dataset: 2700 recordings of six speakers to train on, 300 to test (the first five of each speaker
and digit), 8 kHz, all standardised by one mean and one standard deviation, cut into frames of 200 samples without the
last partial one.  A tenth of the training recordings, chosen at random, is for validation; every fit stops on it, and
nothing is fitted to it.  `nats` are those of a whole recording, in that unit of the samples, the mean over recordings.

All models in MODELS have frames standardised sample by sample, a smallest scale of 0.01 and nearly the same number of
parameters: `n_recurrent` is what makes it so.  A VAR whose noise has one covariance with eight scalings (EM) shows what
a model that knows nothing but loudness gains on a VAR with constant noise.  `less best` is the mean difference in the
log-density of a recording from the peer that is best on the test data, with its standard error over recordings.
"""

from bisect import bisect_left
from itertools import pairwise

import numpy as np

from rnnrnade import RNNGMM, RNNRNADE, RNNGauss
from rnnrnade.datasets import load_spoken_digits

from .baselines import VAR, ScaledVAR
from .common import Fold, Part, Row, Table, grid, held_out, number, script
from .recordings import less

FRAME = 200  # samples
VALIDATION = 0.1
RECORDINGS_QUICK = 100, 30  # of training and test part
QUICK = {"max_epochs": 2}
PARAMETERS = 280_000
SHARED = {"transform": "standardize", "min_scale": 0.01}
# Name: (class, its own settings).
MODELS = {
    "RNN-Gauss": (RNNGauss, {}),
    "RNN-GMM": (RNNGMM, {"n_components": 20}),
    "RNN-RNADE": (RNNRNADE, {"n_components": 2, "n_hidden": 50}),
}
BEHIND = [{"n_components": 2, "n_hidden": 50, "max_epochs": 20}]  # whatever transform is chosen


def n_parameters(model):
    """Numbers that a model of these frames has to learn."""
    layout = model._layout(FRAME)
    return sum(values.size for values in layout.views(np.empty(layout.size, np.float32)).values())


def of_size(kind, settings, size):
    """The settings with the largest `n_recurrent` that makes no more parameters than `size`."""
    sizes = range(1, 4096)
    R = bisect_left(sizes, size + 1, key=lambda R: n_parameters(kind(**settings, n_recurrent=R)))
    return settings | {"n_recurrent": R}


def rows():
    models = [
        Row(name, kind, [of_size(kind, SHARED | own, PARAMETERS)], quick=QUICK) for name, (kind, own) in MODELS.items()
    ]
    return [
        Row("VAR(2), full noise", VAR, grid(lags=[2]), group="peer"),
        Row("VAR(2), eight scalings", ScaledVAR, grid(lags=[2]), group="peer"),
        *models,
        Row("RNNRNADE behind what is chosen", RNNRNADE, BEHIND, quick=QUICK),
        Row("RNNRNADE(), defaults", RNNRNADE, quick=QUICK, group="defaults"),
    ]


def folds(quick, seed):
    data = load_spoken_digits(FRAME)
    whole, test = data.train, data.test
    if quick:
        n, n_test = RECORDINGS_QUICK
        whole, test = whole[:: len(whole) // n], test[:: len(test) // n_test]
    train, valid = held_out(whole, VALIDATION, seed=0)
    return [Fold(train, Part(valid), Part(test), whole, seed=seed)]


def sums(model, part):
    """Log-density of each recording."""
    return np.array([frames.sum() for frames in model.score_frames(part.X)])


def nats(model, part):
    return float(sums(model, part).mean())


def ordering(table):
    """A line for each model and the one before it in MODELS: what a recording gains, and its standard error."""
    rows = {row["row"]: row for row in table["rows"]}
    names = [name for name in MODELS if name in rows]
    return [[name, before, number(less(rows[name], rows[before]))] for before, name in pairwise(names)]


def tables(options):
    return [
        Table(
            title="spoken digits",
            folds=lambda: folds(options.quick, options.seed),
            rows=rows(),
            over="one seed",
            judge=nats,
            measure=lambda model, part: {"nats": nats(model, part)},
        )
    ]


def after(table, row, record, models, folds):
    """Put the recordings' log-densities into a record, and the size of a model of ours."""
    (model,), (fold,) = models, folds
    found = sums(model, fold.test)
    if np.isfinite(found).all():
        record["blocks"] = {"sums": found.round(3).tolist(), "frames": [1] * len(found)}
    if row.group != "peer":
        record["figures"]["parameters"] = n_parameters(model)


def main(arguments=None):
    return script("digits", __doc__, tables, arguments, after=after)


if __name__ == "__main__":
    main()
