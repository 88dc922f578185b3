"""Experiment 2: motion capture, 49 joint angles, nats per frame and squared errors one step ahead.

    python -m benchmarks.quality.mocap [--full] [--rows NAMES] [--tune]

Split (a): the last fifth of each of three recordings is test; (b): the first 3500 frames are training, the last 326
test.  A test part goes on where training ends and is scored given all frames before it, of which none counts.
Validation: the last tenth of the training part of each recording, in the same way.  The chosen settings are fitted
again on all of the training part where `refit` says so.  Squared errors are summed over the 49 channels, of the mean of
the predictive distribution (see prediction.py; "excess" is what Monte Carlo adds to it) and of one draw (averaged over
all draws).  min_scale is in the unit of the transform's output: of the whitened residual behind VAR(p).

The paper's configuration, which has no linear predictor, overfits unless told not to: later frames hold other poses.
Its options were found on the training part of split (a), by the last tenth and by the last quarter of each recording,
the latter as far from training as the test part is.  Nats and error of the mean on both, of VAR(3) and of one fit each
(standardised frames, tanh, R = 100, H = 50, 400 to 1000 updates, each line with what is new against the line before
that is indented less):

    VAR(3), diagonal noise                                         21.6  1.55      5.5  3.41
    K = 5, min_scale 0.1, weight decay 0.3                         20.5  1.95    -16.2  5.14
        whitened frames, R = 300, min_scale 0.2                    20.5  2.71     -7.0  7.79
        min_scale 0.2, noise of 0.3 on the input                   -1.1  4.11    -20.9  8.27
        min_scale 0.2, dropout of 0.3 on the context                5.1  3.34    -11.2  7.23
    K = 2, min_scale 0.2, weight decay 1                           19.5  1.75      3.0  4.14
        weight decay 2                                             17.7  1.90     -0.9  4.63
        R = 300                                                    16.8  1.66     -0.1  4.03
    and the past drives mu alone                                   21.7  1.47     10.3  3.49
        GRU                                                        16.4  1.88      0.4  4.64
        R = 300                                                    18.2  1.55      4.3  3.56
    and weight decay 2 of W_in, 0.1 of W_mu, 1 of the others       22.3  1.36     12.8  3.11
        min_scale 0.05                                             36.1  1.66     16.2  3.40
    and min_scale 0.1                                              35.9  1.46     19.7  3.09
    and the past drives sigma too, with weight decay 10            36.1  1.40     18.1  3.10

Weight decay that keeps the units in their linear range (W_in) and leaves the way out free (W_mu), and little freedom
for the past to say how sure the prediction is, is what was missing.
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
FALLING = {
    "schedule": "linear", "max_epochs": 2000, "patience": 1000, "learning_rate": 3e-3, "averaging": 0.99,
}  # fmt: skip
# As in the authors' code the recurrence is tanh and drives mu and sigma.
DECAY = {"W_in": 2.0, "W_rec": 1.0, "W_mu": 0.1, "W_sigma": 10.0, "W": 1.0, "V_alpha": 1.0, "V_mu": 1.0, "V_sigma": 1.0}
RECURRENT = PLAIN | FALLING | {
    "cell": "tanh", "context": ("mu", "sigma"), "n_recurrent": 100, "min_scale": 0.1, "weight_decay": DECAY,
    "max_updates": 1000,
}  # fmt: skip
INDEPENDENT = [RECURRENT | {"n_hidden": 0, "n_components": 1}]
PAPER = [RECURRENT | {"n_hidden": 50, "n_components": 2}]
BEHIND = [
    FIXED | FALLING | entry | {"max_updates": 500, "transform": Linear(lags=2, covariance="full")}
    for entry in grid(n_components=[2, 3], n_hidden=[50], n_recurrent=[300], min_scale=[0.3], weight_decay=[0.3])
]


def orders(settings, n):
    """The first of some settings, as an ensemble of n random orders of the channels."""
    return [settings[0] | {"order": "random", "n_orders": n}]


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
    Row("RNN, independent Gaussians (H = 0, K = 1)", RNNRNADE, INDEPENDENT, refit=ALL, quick=QUICK),
    Row("RNN-RNADE as in the paper", RNNRNADE, PAPER, refit=ALL, quick=QUICK),
    Row("RNN-RNADE behind VAR(2)", RNNRNADE, BEHIND, refit=ALL, quick=QUICK),
]
# These take long: split (a) only.
ENSEMBLES = [
    Row("as in the paper, 4 orders", RNNRNADE, orders(PAPER, 4), refit=ALL, quick=QUICK),
    Row("behind VAR(2), 2 orders", RNNRNADE, orders(BEHIND, 2), refit=ALL, quick=QUICK),
]


def recordings(split):
    """(training part, number of test frames) of each recording."""
    data = load_mocap()
    train, test = data.splits[split]
    n_test = [len(x) - len(t) for x, t in zip(data.frames, train, strict=True)]
    assert sum(n_test) == sum(map(len, test))
    return data.frames, train, n_test


def cut(whole, train, n_test, seeds):
    """A fold for each seed, of recordings, their training parts and the numbers of their test frames."""
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


def folds(split, seeds):
    return cut(*recordings(split), seeds)


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
            rows=ROWS + (ENSEMBLES if split == "a" else []),
            over=f"{n_seeds} seeds",
            measure=measure(DRAWS_QUICK if options.quick else DRAWS),
        )
        for split in ("a", "b")
    ]


def main(arguments=None):
    return script("mocap", __doc__, tables, arguments)


if __name__ == "__main__":
    main()
