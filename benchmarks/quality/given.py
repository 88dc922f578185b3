"""What the hour and the weekday are worth to forecasts of pollution: given columns against none.

    python -m benchmarks.quality.given [--full] [--rows NAMES]

The recording `nox` (see `recordings`): NOx, emission and wind in Zurich by the hour, rows 3089 to 8088 of
NOxEmissions in the R package robustbase, whose row names count hours, so that the hours that are missing in between,
and with them the time of day and the day of the week, are known.  Both rows are given a seed and the season, 24; one
is given, with each frame, four sines and cosines of the hour and seven indicators of the weekday too (as
`calendar_columns` makes them), as columns that it reads and does not score: log-densities are of the same three numbers
in both.  Test data are the last fifth, given what came before; `CRPS` is that of 200 draws of each of the next 24
frames from forty origins a day apart; lower is better.  `gain` has the paired differences and their standard errors,
over twenty blocks of the test part and over the origins.  Two seeds, mean.
"""

import time

import numpy as np

from rnnrnade import RNNRNADE, Auto

from .common import Row, Table, nats, of_units, parser, run_tables, write
from .mocap import cut
from .recordings import (
    DRAWS,
    DRAWS_QUICK,
    HORIZON,
    QUICK,
    SEEDS,
    SEEDS_QUICK,
    arrays,
    coverage,
    crps,
    less,
    moments,
    with_blocks,
)

FIRST_HOUR = 3672  # of the year, from 0: the row name of the first frame less one
SKIPPED = {
    427: 52,
    820: 1,
    1156: 2,
    2316: 4,
    3484: 1,
    3500: 1,
    3610: 2,
    3824: 24,
    4088: 24,
}  # frames before which hours are missing: how many
HARMONICS = 4
ORIGINS, ORIGINS_QUICK = 40, 3


def hours(n):
    """Hours since the start of the year, of the first n frames."""
    steps = np.ones(n, int)
    steps[0] = FIRST_HOUR
    for frame, missing in SKIPPED.items():
        if frame < n:
            steps[frame] += missing
    return np.cumsum(steps)


def calendar(n):
    """(n, given): what is given with each frame."""
    turn, day = 2 * np.pi * hours(n) / 24, hours(n) // 24 % 7
    waves = [wave(k * turn) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)]
    return np.column_stack([*waves, *np.eye(7)[day].T])


GIVEN = 2 * HARMONICS + 7


class Given:
    """RNNRNADE that reads the first GIVEN columns of its frames as given ones; with `blind`, not at all."""

    def __init__(self, blind=False, **options):
        self.blind, columns = blind, None if blind else dict.fromkeys(range(GIVEN), "given")
        self.model = RNNRNADE(columns=columns, **options)
        self.validation_fraction = self.model.validation_fraction  # it holds out ends itself

    def seen(self, x):
        return x[:, GIVEN:] if self.blind else x

    def fit(self, X):
        self.model.fit([self.seen(x) for x in X])
        return self

    def score_frames(self, X):
        return self.model.score_frames([self.seen(x) for x in X])

    def cdf(self, x):
        return self.model.cdf(self.seen(x))[:, 0 if self.blind else GIVEN :]

    def forecast(self, x, t, n_draws):
        """(n_draws, HORIZON, D) after the first t frames."""
        inputs = None if self.blind else x[t : t + HORIZON, :GIVEN]
        drawn = self.model.forecast(self.seen(x[:t]), HORIZON, n_draws, random_state=0, inputs=inputs)
        return drawn[..., 0 if self.blind else GIVEN :]


def folds(seeds):
    """A fold for each seed, standardised on its training part, behind the calendar."""
    train, test, _ = arrays("nox")
    mean, scale = moments(train)
    x = (np.concatenate([train, test]) - mean) / scale
    whole = np.hstack([calendar(len(x)), x])
    return cut([whole], [whole[: len(train)]], [len(test)], seeds)


def by_origin(model, part, quick):
    """CRPS of the next HORIZON frames from each origin."""
    (x,), (begin,) = part.X, part.context
    n, n_draws = (ORIGINS_QUICK, DRAWS_QUICK) if quick else (ORIGINS, DRAWS)
    origins = begin + HORIZON * np.arange(min(n, (len(x) - begin) // HORIZON))
    return [float(crps(model.forecast(x, t, n_draws), x[t : t + HORIZON, GIVEN:]).mean()) for t in origins]


def measure(quick):
    def measured(model, part):
        model.by_origin = by_origin(model, part, quick)
        return {
            "nats": nats(model, part),
            "in 90 %": coverage(model, part),
            "CRPS": float(np.mean(model.by_origin)),
            "fit": model.seconds_of_fit,
        }

    return measured


def gain(rows):
    """A row of the differences of the second from the first."""
    nats_gained = less(rows[1], rows[0])
    difference = np.subtract(rows[1]["origins"], rows[0]["origins"])
    mean, error = of_units(difference, np.ones(len(difference)))
    figures = {"nats": nats_gained, "CRPS": {"mean": mean, "standard_error": error, "folds": [mean]}}
    return {"row": "gain", "group": "difference", "figures": figures, "min_scale": None, "seconds": 0.0,
            "candidates": [{"settings": {}}], "chosen": [0], "refit": False, "diverged": 0}  # fmt: skip


def main(arguments=None):
    options = parser(__doc__, "given").parse_args(arguments)
    began = time.perf_counter()
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    told = {"transform": Auto(season=24)}
    table = Table(
        title="nox",
        folds=lambda: folds(range(options.seed, options.seed + n_seeds)),
        rows=[
            Row("RNNRNADE()", Given, [told | {"blind": True}], quick=QUICK, group="defaults"),
            Row("RNNRNADE(), hour and weekday given", Given, [told], quick=QUICK, group="defaults"),
        ],
        over=f"{n_seeds} seed{'s' * (n_seeds > 1)}",
        measure=measure(options.quick),
        digits=3,
    )

    def after(table, row, record, models, folds):
        record.pop("validation")  # the library has seen these frames
        with_blocks(record, models, folds)
        record["origins"] = np.mean([model.by_origin for model in models], axis=0).tolist()

    done = run_tables([table], options, after=after)
    for found in done:
        if len(found["rows"]) == 2 and not options.tune:
            found["rows"].append(gain(found["rows"]))
            for name in ("nats", "CRPS"):
                figure = found["rows"][-1]["figures"][name]
                print(f"gain in {name}: {figure['mean']:.3f} ({figure['standard_error']:.3f})")
    return write("given", options, done, began)


if __name__ == "__main__":
    main()
