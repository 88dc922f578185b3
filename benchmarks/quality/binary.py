"""Binary vectors: NADE and MADE on dna, mushrooms and nips, nats a row.

    python -m benchmarks.quality.binary [--full] [--sets NAMES] [--rows NAMES] [--tune]

The sets and splits of Larochelle and Murray (2011): 180, 112 and 500 bits; 1600, 2000 and 400 rows to train on, 400,
500 and 100 to validate.  As in the published figures nothing is fitted to validation rows, on which every fit stops and
every choice was made.  The defaults are NADE() and MADE() with a seed; an ensemble, which is fitted once, is the mean
of the densities of nets, each of which has an order of its own.

dna is 60 sites of four letters and mushrooms 21 attributes, each in bits of its own, so that much of both is known from
the bits before; no row here is told so.  Probabilistic circuits of hidden Chow-Liu trees are reported to do better on
dna than any row here.
"""

import numpy as np

from rnnrnade import MADE, NADE
from rnnrnade.datasets import load_binary

from .baselines import BernoulliMixture, ChowLiu
from .common import Fold, Part, Row, Table, grid, script

SEEDS, SEEDS_QUICK = 2, 1
QUICK = {"max_epochs": 5}
PEERS = [
    Row("Chow-Liu tree", ChowLiu, grid(prior=[0.01, 0.1, 1.0, 4.0, 10.0, 30.0]), group="peer", one_seed=True),
    Row(
        "mixture of Bernoullis",
        BernoulliMixture,
        grid(n_components=[8, 32, 128], prior=[1.0, 4.0]),
        quick={"n_iter": 10},
        group="peer",
    ),
]
# Set: what is chosen among on its validation part, and what an ensemble has beside the last of it.  On dna, where bits
# of a letter stand together, eight random orders lost 0.5 nats on one net in the order of the columns, validation said.
CHOICES = {
    "dna": (
        grid(n_hidden=[200], learning_rate=[3e-3], weight_decay=[0.1, {"W": 0.01, "V": 0.5}]),
        {"n_orders": 4},
    ),
    "mushrooms": (grid(n_hidden=[200], weight_decay=[0.1, 0.03]), {"order": "random", "n_orders": 4}),
    "nips": (
        grid(n_hidden=[200], learning_rate=[3e-3], weight_decay=[0.1, 1.0]),
        {"order": "random", "n_orders": 8},
    ),
}
MASKED = {
    "dna": grid(weight_decay=[0.1, 0.5]),
    "mushrooms": grid(learning_rate=[1e-3, 3e-3]),
    "nips": grid(weight_decay=[0.1, 0.5]),
}
PUBLISHED = {
    "dna": [
        ("EoNADE", {"nats": -82.31}, "Uria, Murray and Larochelle, A deep and tractable density estimator, 2014"),
    ],
}


def rows(name):
    """The rows of a set."""
    choices, orders = CHOICES[name]
    return [
        *PEERS,
        Row("NADE(), defaults", NADE, quick=QUICK, group="defaults"),
        Row("NADE, chosen", NADE, choices, quick=QUICK),
        Row(
            f"NADE, {orders['n_orders']} orders",
            NADE,
            [choices[-1] | orders],
            quick=QUICK | {"n_orders": 2},
            one_seed=True,
        ),
        Row("MADE(), defaults", MADE, quick=QUICK),
        Row("MADE, chosen", MADE, MASKED[name], quick=QUICK),
    ]


def folds(name, seeds):
    """The same split for each seed."""
    data = load_binary(name)
    everything = np.concatenate([data.train, data.valid])
    return [Fold(data.train, Part(data.valid), Part(data.test), everything, seed=seed) for seed in seeds]


def tables(options):
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    return [
        Table(
            title=name,
            folds=lambda name=name: folds(name, range(options.seed, options.seed + n_seeds)),
            rows=rows(name),
            over=f"{n_seeds} seed{'s' * (n_seeds > 1)}",
            published=PUBLISHED.get(name, []),
        )
        for name in CHOICES
    ]


def main(arguments=None):
    return script("binary", __doc__, tables, arguments)


if __name__ == "__main__":
    main()
