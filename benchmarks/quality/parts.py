"""What each part of the defaults is worth: the eight recordings with one part left out.

    python -m benchmarks.quality.parts [--full] [--sets NAMES] [--rows NAMES]

Data and protocol are those of recordings.py, one seed.  A row leaves out one part of what `RNNRNADE()` does on its own:
of the choice of the transform (rnnrnade/auto.py), of the starts (rnnrnade/starts.py) or of training.  Figures are
nats a frame on the test part, of the defaults as they are, of the other rows less those: what is negative, the part is
worth on that set.  How far two seeds of the defaults are from each other is in recordings.py.  Rows were made before
folds chose where fewer than fifty frames are held out, which raised usjobs by 2.3 and seatbelts by 0.3, and before
columns of the ride (cycling) were no longer tried apart and those of solar were trained by smaller updates.
"""

import contextlib
import time
from unittest import mock

import numpy as np

from rnnrnade import RNNRNADE, Auto, auto, base, starts, training
from rnnrnade.transforms import Linear

from .common import Row, Table, nats, parser, run_tables, summary, wanted, write
from .recordings import FILES, QUICK, arrays, folds

DEFAULTS = "defaults"


def only(keep):
    """A choice among fewer candidates."""
    return {(base, "choose"): lambda *given: [one for one in auto.choose(*given) if keep(one)]}


def within(candidate):
    """What one dimension says of the size of the next, where a candidate has it."""
    return getattr(getattr(candidate.transform, "links", [None])[-1], "within", None)


fit_left_out = Linear.fit_left_out


def fit_in_sample(self, frames, offsets, weight=None):
    """Residuals of the frames that a transform was fitted to."""
    fit_left_out(self, frames, offsets, weight)
    return self.forward(frames, offsets)


def sure(*given):
    """A gain without an error."""
    return 1.0, 0.0


# Name: options, and what stands in the place of names of modules.
PARTS = {
    "no choice: VAR(2)": ({"transform": "var"}, {}),
    "no season": ({"transform": Auto()}, {}),
    "shrunk towards zero alone": ({}, {(auto, "TOWARDS"): ("zero",)}),
    "ridge of 1 alone": ({}, {(auto, "RIDGES"): (1.0,)}),
    "covariance not shrunk": ({}, {(auto, "SHRINKAGES"): np.zeros(1)}),
    "residuals in sample": ({}, {(Linear, "fit_left_out"): fit_in_sample}),
    "no level, scale, correlation": ({}, only(lambda one: one.role != "moving")),
    "no level": ({}, {(auto, "LEVELS"): ()}),
    "no scale": ({}, {(auto, "SCALES"): ((),)}),
    "no correlation": ({}, {(auto, "CORRELATIONS"): ()}),
    "nothing within the frame": ({}, only(lambda one: within(one) is None)),
    "no columns apart": ({}, only(lambda one: one.role != "apart")),
    "normal starts": ({}, {(starts, "FREEDOM"): (np.inf,)}),
    "trained nets always": ({}, {(training, "gain"): sure, (starts, "gain"): sure}),
    "no second phase": ({"anneal": False}, {}),
    "the net not trained again": ({"refit": "auto"}, {}),
    "nothing fitted again": ({"refit": False}, {}),
    "learning rate 0.01": ({"learning_rate": 0.01}, {}),
}


def without(changes):
    """The estimator, which is fitted with changes to modules."""

    class Changed(RNNRNADE):
        def fit(self, X, **more):
            with contextlib.ExitStack() as stack:
                for (where, name), value in changes.items():
                    stack.enter_context(mock.patch.object(where, name, value))
                return RNNRNADE.fit(self, X, **more)

    return Changed


def rows(season):
    told = {"transform": Auto(season=season)}
    found = [Row(DEFAULTS, RNNRNADE, [told], quick=QUICK, group="defaults")]
    for name, (options, changes) in PARTS.items():
        found.append(Row(name, without(changes) if changes else RNNRNADE, [told | options], quick=QUICK))
    return found


def main(arguments=None):
    takes = parser(__doc__, "parts")
    takes.add_argument("--sets", default="", help="parts of names of sets, as in --rows")
    options = takes.parse_args(arguments)
    began, tables = time.perf_counter(), []
    for name in FILES:
        if wanted(name, options.sets):
            try:
                season = arrays(name)[2]
            except FileNotFoundError as error:
                print(f"{name}: left out. {error}\n")
                continue
            load = lambda name=name: folds(name, [options.seed])  # noqa: E731
            tables.append(Table(name, load, rows(season), "one fit", measure=lambda m, part: {"nats": nats(m, part)}))
    return write("parts", options, [joined(run_tables(tables, options))], began)


def joined(tables):
    """One table, whose figures are the nats of each set, less those of the defaults."""
    records = {}
    for table in tables:
        found = {row["row"]: row["figures"]["nats"]["mean"] for row in table["rows"]}
        for row in table["rows"]:
            of_row = records.setdefault(row["row"], row | {"figures": {}, "seconds": 0.0})
            less = 0.0 if row["row"] == DEFAULTS else found[DEFAULTS]
            of_row["figures"][table["title"]] = summary([found[row["row"]] - less])
            of_row["seconds"] += row["seconds"]
    for row in records.values():
        row.pop("validation", None)  # the library has seen these frames
    return tables[0] | {"title": "parts of the defaults", "rows": list(records.values())}


if __name__ == "__main__":
    main()
