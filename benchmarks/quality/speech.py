"""Real speech: Japanese vowels (UCI, part of the package), nats per frame on the test utterances.

    python -m benchmarks.quality.speech [--full] [--rows NAMES] [--tune]

A fifth of the training utterances, chosen at random, is for validation; settings are chosen by the mean of their
validation scores over the seeds.  Peers are then fitted to all training utterances, and so are RNN-RNADEs, for as many
epochs as were best.  min_scale is in the unit of the transform's output.
"""

from rnnrnade import RNNRNADE, Linear
from rnnrnade.datasets import load_japanese_vowels

from .baselines import VAR, Gaussian, GaussianHMM, Mixture
from .common import Fold, Part, Row, Table, grid, held_out, script

SEEDS, SEEDS_QUICK = 3, 1
OURS = {
    "grid": grid(n_components=[10], n_hidden=[50], averaging=[0.99], weight_decay=[0.01, 0.1], min_scale=[1e-3, 0.1]),
    "refit": {"validation_fraction": None},
    "quick": {"max_epochs": 10},
}

# What options.py shows to help on these data, and an ensemble.
ORDERS = grid(
    n_components=[5], n_hidden=[100], batch_size=[8], averaging=[0.9], weight_decay=[0.1], input_dropout=[0.1, 0.2],
    order=["random"], n_orders=[8],
)  # fmt: skip


def with_(settings, **more):
    """The options of a Row whose whole grid has more settings."""
    return settings | {"grid": [entry | more for entry in settings["grid"]]}


ROWS = [
    Row("Gaussian, full covariance", Gaussian, refit={}, group="peer"),
    Row("mixture of Gaussians", Mixture, grid(n_components=[5, 9, 14, 20, 30]), refit={}, group="peer"),
    Row("VAR(p), full noise", VAR, grid(lags=[1, 2, 3, 4]), refit={}, group="peer"),
    *(
        Row(
            f"HMM, {n} states, full covariance",
            GaussianHMM,
            grid(n_components=[n]),
            refit={},
            quick={"n_iter": 10},
            group="peer",
        )
        for n in (5, 9, 14, 20)
    ),
    Row("RNNRNADE(), defaults", RNNRNADE, refit={}, quick={"max_epochs": 10}, group="defaults"),
    Row("RNN-RNADE, standardised", RNNRNADE, **with_(OURS, transform="standardize")),
    Row("RNN-RNADE behind VAR(1)", RNNRNADE, **with_(OURS, transform=Linear(lags=1, covariance="full"))),
    Row("RNN-RNADE behind VAR(2), 8 orders", RNNRNADE, ORDERS, refit=OURS["refit"], quick=OURS["quick"]),
]


def folds(seeds):
    vowels = load_japanese_vowels()
    train, valid = held_out(vowels.train, 0.2, seed=0)
    return [Fold(train, Part(valid), Part(vowels.test), vowels.train, seed=seed) for seed in seeds]


def tables(options):
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    return [
        Table(
            title="Japanese vowels",
            folds=lambda: folds(range(options.seed, options.seed + n_seeds)),
            rows=ROWS,
            over=f"{n_seeds} seeds",
        )
    ]


def main(arguments=None):
    return script("speech", __doc__, tables, arguments)


if __name__ == "__main__":
    main()
