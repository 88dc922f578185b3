"""Experiment 2: motion capture, 49 joint angles, nats per frame and squared errors one step ahead.

    python -m benchmarks.quality.mocap [--full] [--rows NAMES] [--tune]

Split (a): the last fifth of each of three recordings is test; (b): the first 3500 frames are training, the last 326
test.  A test part goes on where training ends and is scored given all frames before it, of which none counts.
Validation: the last tenth of the training part of each recording, in the same way.  The chosen settings are fitted
again on all of the training part where `refit` says so.  Squared errors are summed over the 49 channels, of the mean of
the predictive distribution (see prediction.py; "excess" is what Monte Carlo adds to it) and of one draw (averaged over
all draws).  min_scale is in the unit of the transform's output: of the whitened residual behind VAR(p).
"""

import numpy as np

from rnnrnade import RNNRNADE, Linear
from rnnrnade.datasets import load_mocap

from .baselines import VAR, Gaussian, GaussianHMM
from .common import Fold, Part, Row, Table, grid, nats, script
from .prediction import one_step

VALIDATION = 0.1
SEEDS, SEEDS_QUICK = 2, 1
DRAWS, DRAWS_QUICK = 100, 20
FIXED = {"validation_fraction": VALIDATION}
PLAIN = FIXED | {"transform": "standardize"}  # no linear predictor
QUICK = {"max_epochs": 5}
ALL = {"validation_fraction": None}
PAPER = [
    PLAIN | entry
    for entry in grid(n_components=[5], n_hidden=[50], n_recurrent=[100], min_scale=[0.1], weight_decay=[0.1, 0.3])
]
FALLING = {"schedule": "linear", "max_epochs": 2000, "max_updates": 500, "patience": 1000, "learning_rate": 3e-3}
BEHIND = [
    FIXED | FALLING | entry | {"transform": Linear(lags=2, covariance="full")}
    for entry in grid(n_components=[2, 3], n_recurrent=[300], min_scale=[0.3], weight_decay=[0.3])
]
INDEPENDENT = [
    PLAIN | entry for entry in grid(n_hidden=[0], n_components=[1], min_scale=[0.1], weight_decay=[0.1, 0.3])
]
ROWS = [
    Row("Gaussian, no time", Gaussian, refit={}, group="peer"),
    *(
        Row(
            f"VAR({lags}), {covariance} noise",
            VAR,
            grid(lags=[lags], covariance=[covariance]),
            refit={},
            group="peer",
        )
        for covariance in ("diagonal", "full")
        for lags in (1, 2, 3)
    ),
    Row(
        "HMM, states by validation",
        GaussianHMM,
        grid(n_components=[10, 20]),
        refit={},
        quick={"n_iter": 5},
        group="peer",
    ),
    Row("RNNRNADE(), defaults", RNNRNADE, quick=QUICK, group="defaults"),
    Row("RNN, independent Gaussians (H = 0, K = 1)", RNNRNADE, INDEPENDENT, quick=QUICK),
    Row("RNN-RNADE as in the paper", RNNRNADE, PAPER, quick=QUICK),
    Row("RNN-RNADE behind VAR(2)", RNNRNADE, BEHIND, refit=ALL, quick=QUICK),
]


def recordings(split):
    """(training part, number of test frames) of each recording."""
    data = load_mocap()
    train, test = data.splits[split]
    n_test = [len(x) - len(t) for x, t in zip(data.frames, train, strict=True)]
    assert sum(n_test) == sum(map(len, test))
    return data.frames, train, n_test


def folds(split, seeds):
    whole, train, n_test = recordings(split)
    # The frames that an estimator with this validation_fraction holds out itself.
    kept = [len(x) - max(1, round(VALIDATION * len(x))) for x in train]
    tested = [(x, len(x) - n) for x, n in zip(whole, n_test, strict=True) if n]
    return [
        Fold(
            train=[x[:n] for x, n in zip(train, kept, strict=True)],
            valid=Part(train, tuple(kept)),
            test=Part([x for x, _ in tested], tuple(n for _, n in tested)),
            everything=train,
            seed=seed,
            ends=True,
        )
        for seed in seeds
    ]


def measure(n_draws):
    def measured(model, part):
        errors = one_step(model, part, n_draws, np.random.default_rng(0))
        return {
            "nats": nats(model, part),
            "error of the mean": float(errors.mean.mean()),
            "excess": float(errors.excess.mean()),
            "of one draw": float(errors.sample.mean()),
        }

    return measured


def tables(options):
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    return [
        Table(
            title=f"motion capture, split ({split})",
            folds=lambda split=split: folds(split, range(options.seed, options.seed + n_seeds)),
            rows=ROWS,
            over=f"{n_seeds} seeds",
            measure=measure(DRAWS_QUICK if options.quick else DRAWS),
        )
        for split in ("a", "b")
    ]


def main(arguments=None):
    return script("mocap", __doc__, tables, arguments)


if __name__ == "__main__":
    main()
