"""Polyphonic music: RNN-NADE on piano-rolls, nats a time step.

    python -m benchmarks.quality.pianoroll [--full] [--sets NAMES] [--rows NAMES] [--tune]

Bach chorales (JSB), folk tunes (Nottingham) and piano music (Piano-midi) as 88 notes a time step, in the split of
Boulanger-Lewandowski, Bengio and Vincent (2012).  Two averages are in use: `nats` is the mean over all time steps of
the test part, `by piece` the mean over pieces of the mean of each; publications do not always say which.  Nothing is
fitted to the validation part, on which every fit stops and every choice was made, by the mean over all time steps.  The
defaults are RNNNADE() with a seed; an ensemble is the mean of the densities of nets, each of which has an order of its
own.
"""

import numpy as np

from rnnrnade import RNNNADE
from rnnrnade.datasets import load_pianoroll

from .baselines import Bits
from .common import Fold, Part, Row, Table, grid, nats, script

QUICK = {"max_epochs": 1, "max_updates": 10}
PEERS = [
    Row("notes independent", Bits, grid(memory=[0], prior=[1.0]), group="peer"),
    Row("each note a Markov chain", Bits, grid(memory=[1], prior=[0.1, 1.0, 10.0]), group="peer"),
]
# Title: file, what is chosen among, nets in the ensemble.
SETS = {
    "JSB chorales": ("jsb_chorales", grid(weight_decay=[0.1], learning_rate=[3e-3], max_epochs=[1000]), 4),
    "Nottingham": ("nottingham", grid(n_hidden=[100], n_recurrent=[200], weight_decay=[0.1], max_epochs=[90]), 2),
    "Piano-midi": ("piano_midi", grid(weight_decay=[0.1]), 4),
}
FIRST = "Boulanger-Lewandowski, Bengio and Vincent, Modeling temporal dependencies in high-dimensional sequences, 2012"
DEEP = "Krishnan, Shalit and Sontag, Structured inference networks for nonlinear state space models, 2017"
PUBLISHED = {
    "JSB chorales": [
        ("RNN", {"nats": -8.71}, FIRST),
        ("RNN-NADE, Hessian-free", {"nats": -5.56}, FIRST),
        ("RNN-NADE, as reported later", {"nats": -5.19}, DEEP),
        ("DMM-Aug-NADE", {"nats": -5.12}, DEEP),
    ],
    "Nottingham": [
        ("RNN", {"nats": -4.46}, FIRST),
        ("RNN-NADE, Hessian-free", {"nats": -2.31}, FIRST),
        ("DMM-Aug-NADE", {"nats": -2.31}, DEEP),
    ],
    "Piano-midi": [
        ("RNN", {"nats": -8.37}, FIRST),
        ("RNN-NADE, Hessian-free", {"nats": -7.05}, FIRST),
        ("DMM-Aug-NADE", {"nats": -7.05}, DEEP),
    ],
}


def rows(settings, n_orders):
    """The rows of a set."""
    ensemble = [entry | {"order": "random", "n_orders": n_orders} for entry in settings]
    return [
        *PEERS,
        Row("RNNNADE(), defaults", RNNNADE, quick=QUICK, group="defaults"),
        Row("RNN-NADE, chosen", RNNNADE, settings, quick=QUICK),
        Row(f"RNN-NADE, {n_orders} orders", RNNNADE, ensemble[:1], quick=QUICK | {"n_orders": 2}),
    ]


def measure(model, part):
    """Both averages."""
    return {"nats": nats(model, part), "by piece": float(np.mean([f.mean() for f in model.score_frames(part.X)]))}


def fold(name, seed):
    data = load_pianoroll(name)
    return Fold(data.train, Part(data.valid), Part(data.test), [*data.train, *data.valid], seed=seed)


def tables(options):
    return [
        Table(
            title=title,
            folds=lambda name=name: [fold(name, options.seed)],
            rows=rows(settings, n_orders),
            over="one seed",
            measure=measure,
            published=PUBLISHED[title],
        )
        for title, (name, settings, n_orders) in SETS.items()
    ]


def main(arguments=None):
    return script("pianoroll", __doc__, tables, arguments)


if __name__ == "__main__":
    main()
