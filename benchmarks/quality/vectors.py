"""Real vectors (UCI): RNADE and MADE against what users fit today, nats per row on held-out folds.

    python -m benchmarks.quality.vectors [--full] [--rows NAMES] [--tune]

Red wine has the ten folds of the RNADE paper, with their own validation parts.  White wine and parkinsons are cut into
ten random folds (seed 0); a ninth of each training part, chosen at random, is for validation.  Columns are standardised
on the training part, and nats are those of the standardised columns.  Every fold chooses its settings for itself; only
those of MADE were chosen before, among 26, on the validation parts of the first three folds of red wine and of the
first of parkinsons, which other folds test on.
Peers without early stopping are fitted again on training and validation data.  Red wine has many exact duplicates and
rounded values, so narrow components gain: read every figure with its min_scale.
"""

import numpy as np

from rnnrnade import MADE, RNADE
from rnnrnade.datasets import load_parkinsons, load_red_wine, load_white_wine

from .baselines import Gaussian, KernelDensity, Mixture, NeuralSplineFlow
from .common import Fold, Part, Row, Table, grid, held_out, script

FOLDS, FOLDS_QUICK = 10, 2
ROWS = [
    Row("Gaussian, full covariance", Gaussian, refit={}, group="peer"),
    Row(
        "mixture of Gaussians",
        Mixture,
        [
            *grid(covariance_type=["full"], n_components=[2, 3, 5, 10, 20]),
            *grid(covariance_type=["diag"], n_components=[10, 20, 50, 100]),
        ],
        refit={},
        group="peer",
    ),
    Row(
        "kernel density estimate",
        KernelDensity,
        grid(bandwidth=np.geomspace(0.05, 1, 14).round(3).tolist()),
        refit={},
        group="peer",
    ),
    Row(
        "neural spline flow (zuko)",
        NeuralSplineFlow,
        grid(transforms=[3], batch_size=[256], learning_rate=[5e-3], patience=[10]),
        quick={"max_epochs": 10},
        quick_grid=1,
        group="peer",
    ),
    Row("RNADE(), defaults", RNADE, refit={}, quick={"max_epochs": 30}, group="defaults"),
    Row(
        "RNADE, chosen",
        RNADE,
        [
            *grid(n_components=[20], transform=["whiten"], weight_decay=[0.1]),
            *grid(n_components=[20], transform=["standardize"], weight_decay=[0.03]),
        ],
        quick={"max_epochs": 30},
    ),
]
ENSEMBLE = Row(
    "RNADE, 8 orders",
    RNADE,
    grid(n_components=[20], transform=["standardize"], weight_decay=[0.01, 0.03], order=["random"], n_orders=[8]),
    quick={"max_epochs": 10},
    quick_grid=1,
)


def masked(name, **choices):
    """A row of MADE; its settings were chosen on validation parts: of red wine the first three, of parkinsons one."""
    common = {"conditional": ["gaussian"], "n_components": [20], "activation": ["relu"], "learning_rate": [3e-3]}
    return Row(name, MADE, grid(**common, **choices), quick={"max_epochs": 20})


MASKS = {
    "red wine": masked(
        "MADE, 4 masks", n_hidden=[(100, 100)], n_masks=[4], transform=["standardize"], weight_decay=[0.03]
    ),
    "parkinsons": masked("MADE, 4 masks", n_hidden=[100], n_masks=[4], transform=["whiten"], weight_decay=[0.1]),
}
ORDERS = {
    name: masked(
        "MADE, 8 orders",
        n_hidden=[100],
        transform=[transform],
        weight_decay=[weight_decay],
        order=["random"],
        n_orders=[8],
    )
    for name, transform, weight_decay in (("red wine", "standardize", 0.03), ("parkinsons", "whiten", 0.1))
}


def standardised(train, valid, test, everything, seed):
    """A fold in the unit of its training part."""
    mean, scale = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    train, valid, test, everything = ((part - mean) / scale for part in (train, valid, test, everything))
    return Fold(train, Part(valid), Part(test), everything, seed=seed)


def red_wine(n_folds):
    return [
        standardised(train, valid, test, np.concatenate([train, valid]), seed=k)
        for k, (train, valid, test) in enumerate(load_red_wine().folds[:n_folds])
    ]


def random_folds(load):
    """Ten folds by seed 0, whatever the number of them that is used."""

    def folds(n_folds):
        X = load().data
        cut = np.array_split(np.random.default_rng(0).permutation(len(X)), FOLDS)
        found = []
        for k, rows in enumerate(cut[:n_folds]):
            everything = X[np.concatenate([other for j, other in enumerate(cut) if j != k])]
            train, valid = held_out(everything, 1 / (FOLDS - 1), seed=k)
            found.append(standardised(train, valid, X[rows], everything, seed=k))
        return found

    return folds


SETS = {
    "red wine": (red_wine, [*ROWS, ENSEMBLE, MASKS["red wine"], ORDERS["red wine"]]),
    "white wine": (random_folds(load_white_wine), ROWS),
    "parkinsons": (random_folds(load_parkinsons), [*ROWS, MASKS["parkinsons"], ORDERS["parkinsons"]]),
}


def tables(options):
    n_folds = FOLDS_QUICK if options.quick else FOLDS

    def seeded(folds):
        found = folds(n_folds)
        return [Fold(f.train, f.valid, f.test, f.everything, seed=f.seed + options.seed) for f in found]

    return [
        Table(
            title=name,
            folds=lambda folds=folds: seeded(folds),
            rows=rows,
            over=f"{n_folds} folds",
            each_fold=True,
        )
        for name, (folds, rows) in SETS.items()
    ]


def main(arguments=None):
    return script("vectors", __doc__, tables, arguments)


if __name__ == "__main__":
    main()
