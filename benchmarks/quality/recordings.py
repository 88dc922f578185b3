"""Eight recordings, and few frames: the defaults against VARs, an HMM, GARCH and a VAR of changing volatility.

    python -m benchmarks.quality.recordings [--full] [--sets NAMES] [--rows NAMES] [--settings DICT]

Eight recordings from public packages, each one file `name.npz` in the folder of RNNRNADE_DATA or in the cache folder,
with the arrays train_frames (T, D), test_frames, which go on where training ends, and season (the natural period of the
data in frames, 0 for none); one that is absent is left out, with its source.  Columns are standardised on the training
part, and nats are of those; one that is constant there, of which a density says nothing but how narrow it may be, is
left out (pressure in solar).  The test part, the last fifth, is scored given all frames before it, of which none
counts.  Peers are chosen on the last tenth of the training part and fitted again on all of it (the HMM, whose seed is
chosen too, is not).  Defaults are given a seed and, the season where the file names one: two
seeds, mean.  The first defaults lost on these sets, which were in view, their test parts too, when later ones were
made.

`less best` is the mean difference in the log-density of a frame from the peer that is best on the TEST data, with its
standard error over blocks, twenty or as many as have four frames.  `in 90 %` is the share of test numbers inside the
central 90 % interval of their conditional density, given the past and the dimensions before.  `CRPS` is that of 200
draws of each of the next 24 frames, a number of the standardised data, from eight origins in the test part; lower is
better.  `free run`: 10,000 frames are sampled from nothing; c and r being the middle and half the distance of the 1 %
and 99 % quantiles of the training data, the figure is the largest distance of the run's quantiles from c, in r, over
the columns, so that 1 is right and above 3 is wrong.  `fit` is CPU seconds of one fit, without the choice of settings
(of peers, whose rows are older, by the clock).

EWMA-t is a VAR whose noise is multivariate Student-t with an exponentially weighted covariance of past residuals,
mixed with a constant one; seasonal naive is the frame of a season ago (without a season: the last one) and constant
Gaussian noise.

Two checks are of few frames: independent standard normals, whose columns have figures of nats a NUMBER below the true
density on 2000 more rows, for tables (RNADE) and recordings (RNNRNADE) of 0.5 to 5 times as many rows as columns; and
the first frames of the first motion-capture recording, scored on the 200 after them, nats a frame.
"""

import ast
import time

import numpy as np
from scipy.stats import norm

import rnnrnade
from rnnrnade import RNADE, RNNRNADE
from rnnrnade.datasets import load_mocap
from rnnrnade.datasets._files import _folders

from .. import report
from .baselines import GARCH, GaussianHMM, Mixture, Peer, SeasonalNaive, StudentVAR, moments
from .common import (
    Fold,
    Part,
    Row,
    Table,
    described,
    grid,
    nats,
    number,
    of_units,
    parser,
    run_tables,
    summary,
    units,
    wanted,
    write,
)
from .mocap import VALIDATION, cut

# Name: public source.
FILES = {
    "chicago": "daily boardings at 20 stations, City of Chicago open data; Chicago of the R package modeldata",
    "usjobs": "monthly log-changes of 45 employment series, US Bureau of Labor Statistics; us_employment of fpp3",
    "cycling": "power, cadence, speed, altitude of a ride by the second; cycling of bokeh_sampledata (CC0)",
    "fx": "daily log-returns of 5 currencies; Garch of the R package Ecdat",
    "nox": "hourly NOx, emission and wind in Zurich; NOxEmissions of the R package robustbase",
    "seatbelts": "monthly road casualties, kilometres, petrol price; Seatbelts of the R package datasets",
    "stocks10": "daily returns of 10 shares of the S&P 500; sp500 of the Python package river",
    "solar": "hourly irradiance and weather, NREL TMY3; data of the Python package pvlib",
}
RETURNS = ("fx", "stocks10")
FORECASTS = ("nox", "solar", "cycling", "seatbelts")
SEEDS, SEEDS_QUICK = 2, 1
BLOCKS, FEWEST = 20, 4  # of the standard error; frames in each, at the least
MANY = 50  # candidates, too many for a report
HORIZON = 24
DRAWS, DRAWS_QUICK = 200, 50
ORIGINS, ORIGINS_QUICK = 8, 2
FREE, FREE_QUICK = 10_000, 500
QUICK = {"max_epochs": 3}
EWMA = "EWMA-t"
NORMALS = [("table", RNADE), ("recording", RNNRNADE)]
COLUMNS, COLUMNS_QUICK = (20, 50, 200), (20,)
ROWS_A_COLUMN, ROWS_A_COLUMN_QUICK = (0.5, 1, 2, 5), (0.5, 5)
FIRST, FIRST_QUICK = (80, 100, 150, 200, 300), (100,)


# ---- data --------------------------------------------------------------------------------------------------------


def arrays(name):
    """(train_frames, test_frames, season) of a file."""
    folders = _folders()
    path = next((folder / f"{name}.npz" for folder in folders if (folder / f"{name}.npz").is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{name}.npz is not in {' nor in '.join(map(str, folders))}. It must hold the arrays train_frames, "
            f"test_frames and season. Public source: {FILES.get(name, 'a recording of your own')}."
        )
    with np.load(path, allow_pickle=False) as found:
        train, test = (found[part].astype(np.float64) for part in ("train_frames", "test_frames"))
        return train, test, int(found["season"]) if "season" in found else 0


def folds(name, seeds):
    """A fold of a file for each seed, standardised on its training part, without columns that are constant there."""
    train, test, _ = arrays(name)
    mean, scale = moments(train)
    varies = scale > 1e-12 * np.abs(mean)
    whole = ((np.concatenate([train, test]) - mean)[:, varies]) / scale[varies]
    return cut([whole], [whole[: len(train)]], [len(test)], seeds)


def normals(kind, D, numbers):
    """A fold of independent standard normals for each number of rows."""
    found = []
    for n in numbers:
        X = np.random.default_rng(D + n).standard_normal((n + 2000, D))
        if kind is RNNRNADE:
            found += cut([X], [X[:n]], [2000], [0])
        else:
            valid = max(1, round(VALIDATION * n))
            found.append(Fold(X[: n - valid], Part(X[n - valid : n]), Part(X[n:]), X[:n], ends=True))
    return found


def first_frames(numbers):
    """A fold of the first recording of motion capture for each number of training frames."""
    whole = load_mocap().frames[0]
    cuts = [(whole[: n + 200], n) for n in numbers]
    return [fold for x, n in cuts for fold in cut([x], [x[:n]], [len(x) - n], [0])]


# ---- rows --------------------------------------------------------------------------------------------------------


def told(season):
    """Options that tell a model of the season."""
    return {"transform": rnnrnade.Auto(season=season)} if season else {}


def peer(name, kind, settings, **more):
    """A row of a peer in which nothing is random, fitted again on all training data."""
    return Row(name, kind, settings, **{"refit": {}, "group": "peer", "one_seed": True, "quick_grid": 2} | more)


def peers(season, *, returns=False, forecast=False):
    """The rows of the peers."""
    plain = [(1,), (1, 2), (1, 2, 3, 4)]
    seasonal = [(*lags, season, season + 1) for lags in plain if season > lags[-1]]
    ridge = [0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0]
    longer = [tuple(range(1, 9))]
    found = [peer("VAR", StudentVAR, grid(lags=plain + longer, ridge=ridge))]
    if seasonal:
        found.append(peer("seasonal VAR", StudentVAR, grid(lags=seasonal, ridge=ridge)))
    if forecast:
        found.append(peer("seasonal naive", SeasonalNaive, [{"season": season or 1}]))
    states = [
        *grid(n_iter=[30], n_components=[2, 5, 10, 20], covars_prior=[1e-2, 1e-4], restart=[0, 1, 2]),
        *grid(n_iter=[30], n_components=[10], covariance_type=["diag"], restart=[0, 1, 2]),
    ]
    found.append(peer("HMM", GaussianHMM, states, refit=None, quick={"n_iter": 5}, quick_grid=1))
    if returns:
        found.append(peer("GARCH(1, 1)-t of each column", GARCH, [{}]))
    weighted = grid(
        lags=plain + seasonal, ridge=ridge[:-1], decay=[0.94, 0.97, 0.985, 0.995], constant=[0.0, 0.2],
        nu=[4.0, 8.0, 30.0],
    )  # fmt: skip
    return [*found, peer(EWMA, StudentVAR, weighted)]


def ours(settings, season=0, kind=RNNRNADE):
    """The rows of the library: defaults, and with other settings if there are any."""
    rows = [Row(f"{kind.__name__}(), defaults", kind, [told(season)], quick=QUICK, group="defaults")]
    if settings:
        text = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        rows.append(Row(f"{kind.__name__}({text})", kind, [settings], quick=QUICK))
    return rows


# ---- figures -----------------------------------------------------------------------------------------------------


def coverage(model, part, probability=0.9):
    """Share of the numbers that count inside the central interval of their conditional."""
    u = part.counted([model.cdf(x) for x in part.X])
    return float((np.abs(2 * u - 1) <= probability).mean())


def crps(draws, truth):
    """CRPS of each number of truth (...) from draws (n, ...), unbiased: E|X - y| - E|X - X'| / 2."""
    n = len(draws)
    rank = 2 * np.arange(1, n + 1) - n - 1  # sum_{i < j} |x_i - x_j| = sum_i rank_i x_(i)
    between = np.tensordot(rank, np.sort(draws, axis=0), axes=1) / (n * (n - 1))
    return np.abs(draws - truth).mean(axis=0) - between


def forecast_crps(model, part, n_draws, n_origins):
    """Mean CRPS of the next HORIZON frames, from origins spread over the frames that count."""
    (x,), (begin,) = part.X, part.context
    origins = np.linspace(begin, len(x) - HORIZON, n_origins).astype(int)
    if isinstance(model, Peer):
        generator = np.random.default_rng(0)
        drawn = [model.forecast(x[:t], HORIZON, n_draws, generator) for t in origins]
    else:
        try:
            drawn = model.forecast([x[:t] for t in origins], HORIZON, n_draws, random_state=0)
        except ValueError:  # a draw is not finite
            return np.inf
    return float(np.mean([crps(d, x[t : t + HORIZON]).mean() for d, t in zip(drawn, origins, strict=True)]))


def free_run(model, known, n_frames):
    """How far the quantiles of a free run lie outside those of known frames: see above."""
    try:
        (run,) = model.sample(1, n_frames, random_state=0)
    except ValueError:  # a draw is not finite
        return np.inf
    (low, high), reached = np.quantile(known, [0.01, 0.99], axis=0), np.quantile(run, [0.01, 0.99], axis=0)
    radius = np.where(high > low, (high - low) / 2, 1.0)
    return float((np.abs(reached - (low + high) / 2) / radius).max())


def measure(quick, *, forecast):
    def measured(model, part):
        (x,), (begin,) = part.X, part.context
        found = {"nats": nats(model, part)}
        if hasattr(model, "cdf"):
            found["in 90 %"] = coverage(model, part)
        if forecast and hasattr(model, "forecast"):
            counts = (DRAWS_QUICK, ORIGINS_QUICK) if quick else (DRAWS, ORIGINS)
            found["CRPS"] = forecast_crps(model, part, *counts)
        if hasattr(model, "sample"):
            found["free run"] = free_run(model, x[:begin], FREE_QUICK if quick else FREE)
        return found | {"fit": model.seconds_of_fit}

    return measured


def without_far_candidates(record):
    """Keep of many candidates those that were chosen and those that differ from one of these in one option."""
    settings = [candidate["settings"] for candidate in record["candidates"]]
    if len(settings) <= MANY:
        return

    def differences(one, other):
        return sum(one[name] != other[name] for name in one)

    best = [settings[c] for c in set(record["chosen"])]
    kept = [c for c, one in enumerate(settings) if min(differences(one, other) for other in best) <= 1]
    record["candidates"] = [record["candidates"][c] for c in kept]
    record["chosen"] = [kept.index(c) for c in record["chosen"]]


def with_blocks(record, models, folds):
    """Put into a record the sums and numbers of frames of blocks of the test part, of the mean over seeds."""
    part = folds[0].test
    scores = np.mean([part.counted(model.score_frames(part.X)) for model in models], axis=0)
    blocks = units(part, max(FEWEST, len(scores) / BLOCKS))
    if np.isfinite(scores).all():
        sums, counts = np.bincount(blocks, weights=scores), np.bincount(blocks)
        record["blocks"] = {"sums": sums.tolist(), "frames": counts.tolist()}


def scored(table):
    """Rows of a table that have finite scores of blocks: of peers, and ours."""
    rows = [row for row in table["rows"] if "blocks" in row]
    return [row for row in rows if row["group"] == "peer"], [row for row in rows if row["group"] != "peer"]


def mean_nats(row):
    return row["figures"]["nats"]["mean"]


def less(row, other):
    """Summary of the difference of two rows, its standard error over blocks."""
    sums = np.subtract(row["blocks"]["sums"], other["blocks"]["sums"])
    mean, error = of_units(sums, row["blocks"]["frames"])
    return {"mean": mean, "standard_error": error, "folds": [mean]}


def with_differences(table):
    """The table with the differences from the peer that is best on the test data."""
    known, _ = scored(table)
    if not known:
        return table
    best = max(known, key=mean_nats)
    rows = []
    for row in table["rows"]:
        figures = dict(row["figures"])
        if "blocks" in row and row is not best:
            figures = {"nats": figures["nats"], "less best": less(row, best)} | figures
        rows.append(row | {"figures": figures})
    return table | {"rows": rows}


SUMMARY = ["", "best but EWMA-t", "its nats", "EWMA-t", "ours", "nats", "less the best of all", "in 90 %", "fit"]


def lines(tables):
    """A line of text for each row of ours on each recording."""
    found = []
    for table in tables:
        known, rows = scored(table)
        plain = [row for row in known if row["row"] != EWMA]
        if not plain:
            continue
        best, most = max(plain, key=mean_nats), max(known, key=mean_nats)
        weighted = [number(row["figures"]["nats"]) for row in known if row["row"] == EWMA]
        for row in rows:
            figures = row["figures"]
            found.append([
                table["title"], best["row"], number(best["figures"]["nats"]), *(weighted or [""]), row["row"],
                f"{mean_nats(row):.2f}", number(less(row, most)), f"{figures['in 90 %']['mean']:.2f}",
                f"{figures['fit']['mean']:.1f}",
            ])  # fmt: skip
    return found


def by_fold(record, names):
    """The nats of each fold become a figure of their own."""
    values = record["figures"].pop("nats")["folds"]
    for name, value in zip(names, values, strict=True):
        record["figures"][name] = summary([np.nan if value is None else value])


def below_truth(model, part):
    """nats a number below the density of standard normals, of the same numbers."""
    frames, scores = (part.counted(each) for each in (part.X, model.score_frames(part.X)))
    return {"nats": float((scores - norm.logpdf(frames).sum(axis=1)).mean() / frames.shape[1])}


# ---- a run -------------------------------------------------------------------------------------------------------


def recording_table(name, options, settings):
    try:
        season = arrays(name)[2]
    except FileNotFoundError:  # the table says so when it is run
        season = 0
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    return Table(
        title=name,
        folds=lambda: folds(name, range(options.seed, options.seed + n_seeds)),
        rows=peers(season, returns=name in RETURNS, forecast=name in FORECASTS) + ours(settings, season),
        over=f"{n_seeds} seed{'s' * (n_seeds > 1)} where something is random",
        measure=measure(options.quick, forecast=name in FORECASTS),
    )


def tables(options, settings):
    """Pairs of a table and the names of its folds, where each is to have a column."""
    quick = options.quick
    found = [(recording_table(name, options, settings), None) for name in FILES]
    for what, kind in NORMALS:
        for D in COLUMNS_QUICK if quick else COLUMNS:
            numbers = [round(r * D) for r in (ROWS_A_COLUMN_QUICK if quick else ROWS_A_COLUMN)]
            peer_row = peer(
                "independent Gaussians", Mixture, [{"n_components": 1, "covariance_type": "diag"}], one_seed=False
            )
            table = Table(
                title=f"independent normals, {what} of {D} columns",
                folds=lambda kind=kind, D=D, numbers=numbers: normals(kind, D, numbers),
                rows=[peer_row, *ours(settings, kind=kind)],
                over="one fit",
                measure=below_truth,
            )
            found.append((table, [f"{n} rows" for n in numbers]))
    numbers, ridge = FIRST_QUICK if quick else FIRST, [10.0, 100.0, 1000.0, 10_000.0]
    table = Table(
        title="motion capture, first frames",
        folds=lambda: first_frames(numbers),
        rows=[
            peer("VAR(1)", StudentVAR, grid(ridge=ridge), one_seed=False),
            peer(
                EWMA,
                StudentVAR,
                grid(ridge=ridge, decay=[0.9, 0.95, 0.98, 0.99], constant=[0.0, 0.2], nu=[4.0, 10.0, 30.0]),
                one_seed=False,
            ),
            *ours(settings),
        ],
        over="one fit",
        each_fold=True,
    )
    return [*found, (table, [f"{n} frames" for n in numbers])]


def main(arguments=None):
    takes = parser(__doc__, "recordings")
    takes.add_argument("--sets", default="", help="parts of titles of tables, as in --rows")
    takes.add_argument("--settings", default="{}", help="of one more row of ours, such as \"{'transform': 'whiten'}\"")
    options = takes.parse_args(arguments)
    began = time.perf_counter()
    found = tables(options, ast.literal_eval(options.settings))
    names = {table.title: names for table, names in found}

    def after(table, row, record, models, folds):
        without_far_candidates(record)
        if row.group != "peer":
            record.pop("validation")  # the library may have seen these frames
        if names[table.title]:
            record.pop("validation", None)  # a mean over numbers of frames
            by_fold(record, names[table.title])
        else:
            with_blocks(record, models, folds)

    done = run_tables([table for table, _ in found if wanted(table.title, options.sets)], options, after=after)
    if not options.tune:
        print(report.table(SUMMARY, lines(done)))
    return write("recordings", options, done, began, machine=described(options.threads, ("arch",)))


if __name__ == "__main__":
    main()
