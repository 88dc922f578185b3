"""Laplace and logistic components beside Gaussian ones, at equal floors of the standard deviation.

    python -m benchmarks.quality.families [--full] [--sets NAMES] [--rows NAMES]

Everything else is as it is by default: RNADE on the UCI tables, RNNRNADE on sequences.  `min_scale` bounds a family's
own scale, so that of Laplace is the Gaussian's over sqrt(2), that of the logistic times sqrt(3) / pi: the smallest
standard deviation is the same.  Each model is fitted to the training part and stops on the validation part;
"validation" is the score that it reports there, and the same model is scored on the test part.  Folds and units of the
data are those of the sections above (in which defaults are fitted again, to training and validation data of tables and
utterances together), of motion capture split (a) and of recordings.py; trajectories have 500 sequences to train on.

"less Gaussian" is the mean difference in the log-density of the same frames (rows) from the Gaussian fit of the same
fold and seed, in nats, with its standard error over what the table says: folds, test sequences, or blocks of about 25
frames of a recording, after the mean over seeds.  Where there is one split only, "over seeds" is the standard error of
the same difference over the seeds of the fits.  The first table says which family validation would choose, for all
folds and seeds together and for each by itself (errors of that over folds or seeds), and what test data, which chose
nothing, say of it.
"""

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np

from rnnrnade import RNADE, RNNRNADE
from rnnrnade.datasets import load_parkinsons, load_white_wine

from .. import report
from . import mocap, recordings, speech, trajectories, vectors
from .common import Row, Table, clustered, number, parser, run_tables, summary, units, wanted, write

FLOOR = 1e-3  # of the standard deviation of a component
SCALES = {"gaussian": 1.0, "laplace": 1 / math.sqrt(2), "logistic": math.sqrt(3) / math.pi}  # of standard deviation 1
NAMES = {"Gaussian": "gaussian", "Laplace": "laplace", "logistic": "logistic"}
BASE = "Gaussian"
BLOCK = 25  # frames of a recording


@dataclasses.dataclass(frozen=True)
class Set:
    """Where families are compared.

    Attributes
    ----------
    kind : class
        Of the model.
    load : callable
        (number of splits, whether at the reduced size) to a list of Fold, one for each split.
    splits, seeds : (full, reduced)
        Numbers of splits, and of fits of each.
    epochs : int
        The most at the reduced size.
    unit : str
        What test data consist of, independent parts of it; with one split.
    block : int or None
        Its frames; None: a whole sequence.
    """

    kind: type
    load: Callable
    splits: tuple = (1, 1)
    seeds: tuple = (1, 1)
    epochs: int = 5
    unit: str = "sequences"
    block: int | None = None


def moving(n, quick):
    """Trajectories; fewer to train on than in their own experiment."""
    sizes = trajectories.SIZES_QUICK if quick else trajectories.SIZES | {"train": 500}
    return trajectories.folds(sizes, range(n))


def table_set(load, **more):
    return Set(RNADE, lambda n, quick: load(n), **{"splits": (10, 1)} | more)


def recorded(load, **more):
    return Set(RNNRNADE, load, **{"unit": f"blocks of about {BLOCK} frames", "block": BLOCK} | more)


SETS = {
    "red wine": table_set(vectors.red_wine, splits=(10, 2), seeds=(3, 1)),
    "white wine": table_set(vectors.random_folds(load_white_wine)),
    "parkinsons": table_set(vectors.random_folds(load_parkinsons)),
    "Japanese vowels": Set(RNNRNADE, lambda n, quick: speech.folds(range(n)), seeds=(8, 1), unit="utterances"),
    "motion capture, split (a)": recorded(lambda n, quick: mocap.folds("a", range(n)), seeds=(3, 1), epochs=3),
    "stochastic trajectories": Set(RNNRNADE, moving, seeds=(3, 1)),
    **{
        name: recorded(lambda n, quick, name=name: recordings.folds(name, range(n)), seeds=(10, 1))
        for name in recordings.RETURNS
    },
}


def rows(kind, epochs):
    """A row for each family."""
    return [
        Row(
            name,
            kind,
            [{"conditional": family, "min_scale": FLOOR * SCALES[family]}],
            quick={"max_epochs": epochs},
        )
        for name, family in NAMES.items()
    ]


def repeated(folds, n_seeds, seed):
    """Every fold with as many seeds: first all folds, then all again."""
    return [dataclasses.replace(fold, seed=fold.seed + seed + r * len(folds)) for r in range(n_seeds) for fold in folds]


def over_splits(values, n_splits):
    """Summary of a number of each fold, in the order of `repeated`: with more splits than one, the standard error is
    over splits, after the mean over seeds."""
    values = np.array(values, float)  # None, not finite: NaN
    found = summary(values)
    if n_splits > 1 and found["mean"] is not None:
        of_splits = summary([values[split::n_splits].mean() for split in range(n_splits)])
        found["standard_error"] = of_splits["standard_error"]
    return found


def paired(ours, base, n_splits, members):
    """The difference of two families.

    Parameters
    ----------
    ours, base : list of (n_i,) arrays
        Log-densities of the frames of each fold, in the order of `repeated`.
    n_splits : int
    members : list of (n_i,) arrays, n_splits of them
        The unit of each frame.

    Returns
    -------
    difference, over_seeds : dict
        Summaries: mean, standard error over units, the difference in every fold; the standard error over seeds alone.
    """
    differences = [a - b for a, b in zip(ours, base, strict=True)]
    found = summary([d.mean() for d in differences])
    if found["mean"] is None:
        return found, found
    mean_of_seeds = [np.mean(differences[split::n_splits], axis=0) for split in range(n_splits)]
    mean, error = clustered(np.concatenate(mean_of_seeds), np.concatenate(members))
    by_seed = summary([
        np.concatenate(differences[i : i + n_splits]).mean() for i in range(0, len(differences), n_splits)
    ])  # fmt: skip
    seeds = {"mean": by_seed["standard_error"], "standard_error": None, "folds": by_seed["folds"]}
    return found | {"mean": mean, "standard_error": error}, seeds


CHOICES = ["", "validation chooses", "gain there", "gain on test", "each by itself", "gain on test"]


def choices(tables, quick):
    """Lines of text: what validation would choose for each set, and what its choice gains against Gaussian."""
    none = {"mean": 0.0, "standard_error": None}
    lines = []
    for table in tables:
        found = {row["row"]: row for row in table["rows"] if row["validation"]["mean"] is not None}
        if BASE not in found or len(found) < 2:
            continue
        best = max(found, key=lambda name: found[name]["validation"]["mean"])
        figures = found[best]["figures"]
        each = np.array([row["validation"]["folds"] for row in found.values()]).argmax(axis=0)
        tested = np.array([row["figures"]["nats"]["folds"] for row in found.values()], float)
        gains = tested[each, np.arange(len(each))] - tested[list(found).index(BASE)]
        counts = [(name, int((each == i).sum())) for i, name in enumerate(found)]
        lines.append([
            table["title"],
            best,
            number(figures.get("the same on validation", none)),
            number(figures.get("less Gaussian", none)),
            ", ".join(f"{name} {n}" for name, n in counts if n) + f" of {len(each)}",
            number(over_splits(gains, SETS[table["title"]].splits[quick])),
        ])  # fmt: skip
    return lines


def main(arguments=None):
    takes = parser(__doc__, "families")
    takes.add_argument("--sets", default="", help="parts of names of sets, as in --rows")
    options = takes.parse_args(arguments)
    began = time.perf_counter()
    if options.rows:
        options.rows += f",{BASE}"
    tables, sets, base = [], {}, {}
    for title, of in SETS.items():
        if not wanted(title, options.sets):
            continue
        n_splits, n_seeds = of.splits[options.quick], of.seeds[options.quick]
        fits = f"{n_splits} folds" if n_splits > 1 else f"{n_seeds} seed{'s' * (n_seeds > 1)}"
        fits += f" with {n_seeds} seeds each" if n_splits > 1 and n_seeds > 1 else ""
        tables.append(
            Table(
                title=title,
                folds=lambda of=of, n=n_splits, r=n_seeds: repeated(of.load(n, options.quick), r, options.seed),
                rows=rows(of.kind, of.epochs),
                over=f"{fits}, of differences over {'folds' if of.kind is RNADE else of.unit}",
                measure=lambda model, part: {},
            )
        )
        sets[title] = of, n_splits

    def after(table, row, record, models, folds):
        of, n_splits = sets[table.title]
        figures = {}
        for name, parts in (
            ("less Gaussian", [fold.test for fold in folds]),
            ("the same on validation", [fold.valid for fold in folds]),
        ):
            scores = [part.counted(model.score_frames(part.X)) for model, part in zip(models, parts, strict=True)]
            if of.kind is RNADE:
                members = [np.full(len(s), split) for split, s in enumerate(scores[:n_splits])]
            else:
                members = [units(part, of.block) for part in parts[:n_splits]]
            if name == "less Gaussian":
                figures["nats"] = over_splits([s.mean() for s in scores], n_splits)
            known = base.setdefault((table.title, name), scores)  # the first row's
            if known is scores:
                continue
            figures[name], over_seeds = paired(scores, known, n_splits, members)
            if n_splits == 1 and name == "less Gaussian" and over_seeds["mean"] is not None:
                figures["over seeds"] = over_seeds
        record["figures"] = figures
        record["validation"] = over_splits(record["validation"]["folds"], n_splits)

    found = run_tables(tables, options, after=after)
    if not options.tune:
        print(report.table(CHOICES, choices(found, options.quick)))
    return write("families", options, found, began)


if __name__ == "__main__":
    main()
