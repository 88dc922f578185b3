"""The harness of the quality benchmarks: rows of settings, a choice on validation data, one look at the test data.

Design
------
A table has rows, and a row has a grid of settings.  Every setting is fitted on the training part of every fold and
judged on its validation part.  The best is chosen (for all folds together, or in each fold for itself), may be fitted
again on training and validation data together (`refit`), and only then is the test part scored, once.  Repetitions
with other seeds of one split are folds too.  `--tune` stops before the test data and shows all candidates.

Whatever is fitted has `fit(X, validation_data=...)` and `score_frames(X)`: the estimators of the library and the peers
of baselines.py alike.
"""

import argparse
import dataclasses
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from inspect import signature
from itertools import product, starmap

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from .. import machine, report

DISTRIBUTIONS = ("scikit-learn", "hmmlearn", "zuko")


# ---- data --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Part:
    """What is scored: rows (n, D), or a list of sequences.  The first `context[i]` frames of sequence i do not count:
    they are the past of those that do."""

    X: object
    context: tuple | None = None

    def counted(self, per_frame):
        """The values of the frames that count, as one array, from a list of (T_i, ...) arrays (or one array)."""
        if isinstance(self.X, np.ndarray):
            return np.asarray(per_frame)
        context = self.context or (0,) * len(self.X)
        return np.concatenate([values[c:] for values, c in zip(per_frame, context, strict=True)])


@dataclasses.dataclass(frozen=True)
class Fold:
    """One split and one seed.  With `ends`, validation data are the ends of the training sequences: an estimator is
    given `everything`, and its own validation_fraction holds out the same frames."""

    train: object
    valid: Part
    test: Part
    everything: object
    seed: int = 0
    ends: bool = False


def held_out(X, fraction, seed):
    """(the rest, a random `fraction`) of the items of X, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(X)) < round(fraction * len(X))
    if isinstance(X, np.ndarray):
        return X[~chosen], X[chosen]
    return [x for x, out in zip(X, chosen, strict=True) if not out], [
        x for x, out in zip(X, chosen, strict=True) if out
    ]


def nats(model, part):
    """Mean log-density of the frames that count."""
    return float(part.counted(model.score_frames(part.X)).mean())


# ---- errors of means over frames ----------------------------------------------------------------------------------


def units(part, block=None):
    """The number of the unit that each frame that counts belongs to: of sequences, or of their blocks."""
    context = part.context or (0,) * len(part.X)
    found, n_units = [], 0
    for x, c in zip(part.X, context, strict=True):
        n = len(x) - c
        n_blocks = max(1, round(n / block)) if block else 1
        found.append(n_units + np.arange(n) * n_blocks // n)
        n_units += n_blocks
    return np.concatenate(found)


def of_units(sums, counts):
    """Mean of values, and its standard error over units (None for one unit), from their sums and numbers in each."""
    sums, counts = np.asarray(sums, float), np.asarray(counts)
    n, mean = len(sums), sums.sum() / counts.sum()
    squares = ((sums - mean * counts) ** 2).sum()
    return float(mean), float(np.sqrt(n / (n - 1) * squares) / counts.sum()) if n > 1 else None


def clustered(values, members):
    """The same of values (n,) and the units that they are members of."""
    index = np.unique(members, return_inverse=True)[1]
    return of_units(np.bincount(index, weights=values), np.bincount(index))


# ---- rows --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    name : str
    kind : callable
        Settings and `random_state` to an unfitted model.
    grid : list of dict
        Settings among which validation chooses.
    refit : None or dict
        Not None: the chosen settings, changed by this, are fitted again on training and validation data.  {} leaves an
        estimator to hold out data of its own; {"validation_fraction": None} trains on all, for as many epochs as were
        best (the median over the orders of an ensemble; or for the max_updates of the settings, where they have them).
    quick : dict
        Changes of all settings at the reduced size ...
    quick_grid : int or None
        ... which tries so many of the grid, from its begin; None: all for peers, else two.
    group : {"ours", "defaults", "peer"}
    one_seed : bool
        Whether, where folds differ in nothing but their seed, the first is enough: nothing in it is random, or it takes
        long.
    """

    name: str
    kind: Callable
    grid: list = dataclasses.field(default_factory=lambda: [{}])
    refit: dict | None = None
    quick: dict = dataclasses.field(default_factory=dict)
    quick_grid: int | None = None
    group: str = "ours"
    one_seed: bool = False

    def candidates(self, quick):
        """The settings that are tried."""
        if not quick:
            return list(self.grid)
        n = self.quick_grid or (len(self.grid) if self.group == "peer" else 2)
        return [settings | self.quick for settings in self.grid[:n]]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows on folds.

    Attributes
    ----------
    title : str
    folds : callable
        () to a list of Fold; FileNotFoundError where the data are absent.
    rows : list of Row
    over : str
        What mean and standard error are taken over, such as "ten folds".
    each_fold : bool
        Whether every fold chooses for itself.
    judge : callable
        (model, Part) to a number, the higher the better; decides on validation data.
    measure : callable
        (model, Part) to a dict of figures on test data; the first is the main one.
    published : list of (name, dict of figures, source)
        What others printed for the same test data.
    digits : int
        Of figures, behind the point.
    """

    title: str
    folds: Callable
    rows: list
    over: str
    each_fold: bool = False
    judge: Callable = nats
    measure: Callable = lambda model, part: {"nats": nats(model, part)}
    published: list = dataclasses.field(default_factory=list)
    digits: int = 2


def grid(**choices):
    """All combinations of lists of values, as a list of settings."""
    found = [{}]
    for name, values in choices.items():
        found = [settings | {name: value} for settings in found for value in values]
    return found


def fit(kind, settings, fold, *, everything=False):
    """A fitted model of the settings, with its `seconds_of_fit` (CPU), and the sentences it warned with."""
    model = kind(**settings, random_state=fold.seed)
    began = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        if everything or (fold.ends and hasattr(model, "validation_fraction")):
            model.fit(fold.everything)
        else:
            model.fit(fold.train, validation_data=fold.valid.X)
    model.seconds_of_fit = time.process_time() - began
    return model, [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]


def again(row, settings, fold, model):
    """The chosen settings fitted on training and validation data."""
    changed = settings | row.refit
    if "validation_fraction" in row.refit and "max_updates" not in changed:
        epochs = max(1, round(np.median([member.best_epoch_ for member in model.members_])))
        changed = settings | {"max_epochs": epochs} | row.refit
    return fit(row.kind, changed, fold, everything=True)[0]


def each_fit(try_one, cases, processes):
    """The values of a function for cases, in their order; with several processes, forks of this one that share them."""
    if processes == 1:
        yield from starmap(try_one, cases)
        return
    global _try_one  # a fork has it; it need not be pickled
    _try_one = try_one
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_in_a_fork, cases)


def _in_a_fork(case):
    return _try_one(*case)


def run_row(row, table, folds, *, quick=False, tune=False, threads=None, processes=1, bar=None):
    """Fit, choose and score one row; returns (its record for the report, the chosen model of each fold)."""
    began = time.perf_counter()
    candidates = row.candidates(quick)
    own = {"n_jobs": threads} if row.group != "peer" else {}  # peers have no option of this name
    # Where ends are held out an estimator is trained on them too in the end: not while they choose among settings.
    sees = len(candidates) > 1 and any(fold.ends for fold in folds) and "refit" in signature(row.kind).parameters
    judging = own | ({"refit": False} if sees else {})
    judged = np.full((len(folds), len(candidates)), -np.inf)
    kept, said = {}, []

    def try_one(f, c):
        model, messages = fit(row.kind, judging | candidates[c], folds[f])
        return model, table.judge(model, folds[f].valid), messages

    cases = list(product(range(len(folds)), range(len(candidates))))
    for (f, c), (model, value, messages) in zip(cases, each_fit(try_one, cases, processes), strict=True):
        judged[f, c] = value if np.isfinite(value) else -np.inf
        said += messages
        if not table.each_fold:
            kept[f, c] = model
        elif f not in kept or judged[f, c] > judged[f, :c].max():
            kept[f] = model
        if bar is not None:
            bar.update()
    chosen = judged.argmax(axis=1) if table.each_fold else np.full(len(folds), judged.mean(axis=0).argmax())
    models = [kept[f] if table.each_fold else kept[f, c] for f, c in enumerate(chosen)]
    record = {
        "row": row.name,
        "group": row.group,
        "candidates": [
            {"settings": plain(settings), "validation": summary(judged[:, c])} for c, settings in enumerate(candidates)
        ],
        "chosen": [int(c) for c in chosen],
        "validation": summary(judged[np.arange(len(folds)), chosen]),
        "refit": row.refit is not None,
        "diverged": sum("not finite" in message for message in said),
    }
    if not tune:
        if row.refit is not None:
            models = [
                again(row, own | candidates[c], fold, model)
                for c, fold, model in zip(chosen, folds, models, strict=True)
            ]
        elif sees:
            models = [fit(row.kind, own | candidates[c], fold)[0] for c, fold in zip(chosen, folds, strict=True)]
        measured = [table.measure(model, fold.test) for fold, model in zip(folds, models, strict=True)]
        record["figures"] = {name: summary([m[name] for m in measured]) for name in measured[0]}
    of_real = [model for model in models if getattr(model, "conditional", "") != "bernoulli"]  # else no scale is read
    record["min_scale"] = scales([getattr(model, "min_scale", None) for model in of_real])
    record["seconds"] = time.perf_counter() - began
    return record, models


def scales(values):
    """The smallest scale of each fold's model: one number (or None) where all agree, else [lowest, highest]."""
    known = [float(v) for v in values if v is not None]
    if not known:
        return None
    return known[0] if min(known) == max(known) else [min(known), max(known)]


def summary(values):
    """Mean, its standard error (None for one value) and the values; None where one is not finite."""
    values = [float(v) for v in values]
    if not np.isfinite(values).all():
        return {
            "mean": None,
            "standard_error": None,
            "folds": [v if np.isfinite(v) else None for v in values],
        }
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard_error": error, "folds": values}


def plain(settings):
    """Settings that JSON can hold."""

    def value(v):
        if isinstance(v, np.generic):
            return v.item()
        return v if v is None or isinstance(v, bool | int | float | str | list | dict) else repr(v)

    return {name: list(v) if isinstance(v, tuple) else value(v) for name, v in settings.items()}


# ---- a run -------------------------------------------------------------------------------------------------------


def run_tables(tables, options, *, after=None):
    """Run all tables and print them; returns their records.  `after(table, row, record, models, folds)` sees
    every row."""
    done = []
    for table in tables:
        try:
            folds = table.folds()
        except FileNotFoundError as error:
            print(f"{table.title}: left out. {error}\n")
            continue
        records, rows = [], [row for row in table.rows if wanted(row.name, options.rows)]
        of_row = {row.name: folds[:1] if row.one_seed else folds for row in rows}
        n_fits = sum(len(of_row[row.name]) * len(row.candidates(options.quick)) for row in rows)
        with tqdm(total=n_fits, desc=table.title, unit="fit") as bar:
            for row in rows:
                bar.set_postfix_str(row.name)
                try:
                    record, models = run_row(
                        row,
                        table,
                        of_row[row.name],
                        quick=options.quick,
                        tune=options.tune,
                        threads=options.threads,
                        processes=options.processes,
                        bar=bar,
                    )
                except ImportError as error:  # a peer's library
                    tqdm.write(f"{row.name}: left out. {error}")
                    continue
                records.append(record)
                if after is not None and not options.tune:
                    after(table, row, record, models, of_row[row.name])
        done.append({
            "title": table.title, "over": table.over, "each_fold": table.each_fold,
            "order": [row.name for row in table.rows], "published": table.published, "rows": records,
            "digits": table.digits,
        })  # fmt: skip
        print(f"\n{table.title}; mean and standard error over {table.over}")
        print(text(done[-1], tune=options.tune), flush=True)
    return done


def wanted(own, names):
    """Whether a name is among those asked for (parts of names, separated by commas; empty: all)."""
    return not names or any(name.strip().lower() in own.lower() for name in names.split(","))


def number(found, digits=2):
    """mean (standard error) of a summary, or a count."""
    if isinstance(found, int):
        return str(found)
    if found["mean"] is None:
        return "not finite"
    error = found["standard_error"]
    return f"{found['mean']:.{digits}f}" + (f" ({error:.{digits}f})" if error is not None else "")


def scale(found):
    """A smallest scale as text."""
    if found is None:
        return "-"
    return f"{found:.3g}" if not isinstance(found, list) else "{:.3g} to {:.3g}".format(*found)


def columns(table):
    """Names of the figures, in the order of their first row."""
    return list(dict.fromkeys(name for row in table["rows"] for name in row.get("figures", {})))


def cells(table):
    """(header, rows) of a table's text, the same on screen and in the documentation."""
    names, digits = columns(table), table.get("digits", 2)
    validation = ["validation"] if any("validation" in row for row in table["rows"]) else []
    scaled = any(row["min_scale"] is not None for row in table["rows"])  # bits have no scale
    header = ["", *names, *validation, *["min_scale"][: int(scaled)], "seconds"]
    lines = []
    for row in table["rows"]:
        figures = [number(row["figures"][name], digits) if name in row.get("figures", {}) else "" for name in names]
        figures += [
            *(number(row[name], digits) if name in row else "" for name in validation),
            *[scale(row["min_scale"])][: int(scaled)],
            f"{row['seconds']:.{0 if row['seconds'] > 10 else 1}f}",
        ]
        lines.append([row["row"], *figures])
    return header, lines


def text(table, *, tune=False):
    """A table for the screen; with `tune` all candidates on validation data."""
    if not tune:
        return report.table(*cells(table))
    lines = []
    for row in table["rows"]:
        for c, candidate in enumerate(row["candidates"]):
            mark = "*" * row["chosen"].count(c)
            settings = ", ".join(f"{k}={v}" for k, v in candidate["settings"].items()) or "defaults"
            lines.append([f"{row['row']}: {settings}", number(candidate["validation"], 3), mark])
    return report.table(["", "validation", "chosen"], lines)


def parser(doc, name):
    """What every script takes."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.quality.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = made.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", default=True, help="reduced size (the default)")
    size.add_argument("--full", dest="quick", action="store_false", help="the sizes that are published")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=None, help="of the library; default: all")
    text = "that fit folds and settings side by side, each on one thread (default: %(default)s)"
    made.add_argument("--processes", type=int, default=1, help=text)
    made.add_argument("--rows", default="", help="parts of names of rows to run, separated by commas; default: all")
    made.add_argument("--keep", action="store_true", help="the other rows of the result stay: see merged()")
    made.add_argument("--tune", action="store_true", help="validation only: no test data, no file")
    made.add_argument("--name", default=None, help="of the result")
    return made


def described(threads, also=()):
    """The machine and versions of a report; `also` names more distributions."""
    found = machine.description(threads or machine.cores())
    for name in (*DISTRIBUTIONS, *also):
        try:
            found["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found["versions"][name] = None
    return found


def setting_of(found):
    """What two results must have in common for their rows to stand in one table."""
    tables = {table["title"]: (table["over"], table["each_fold"]) for table in found["tables"]}
    return {name: found[name] for name in ("experiment", "size", "seed")}, tables


def merged(earlier, found):
    """`found` and what an `earlier` result has beside it: rows and tables that were not run anew, in their script's
    order.  Rows that the script no longer has are dropped.  A row keeps the machine that it was made on, since seconds
    are all that depends on it.  ValueError where the two differ in size, seed or folds."""
    (before, tables_before), (now, tables_now) = setting_of(earlier), setting_of(found)
    shared = tables_before.keys() & tables_now.keys()
    if before != now or any(tables_before[title] != tables_now[title] for title in shared):
        raise ValueError("the earlier result is of another size, seed or number of folds")
    for one in (earlier, found):
        for row in (row for table in one["tables"] for row in table["rows"]):
            row.setdefault("machine", one["machine"])
    tables, seconds = {table["title"]: table for table in earlier["tables"]}, earlier["seconds"] + found["seconds"]
    for table in found["tables"]:
        new = {row["row"]: row for row in table["rows"]}
        old = {row["row"]: row for row in tables.get(table["title"], {"rows": []})["rows"]}
        seconds -= sum(row["seconds"] for name, row in old.items() if name in new or name not in table["order"])
        rows = [(old | new)[name] for name in table["order"] if name in old | new]
        tables[table["title"]] = table | {"rows": rows}
    return earlier | found | {"seconds": seconds, "tables": list(tables.values())}


def write(experiment, options, tables, began, **more):
    """Write the report of an experiment and say where; with --full it is named so that git keeps it."""
    if options.tune:
        return None
    name = options.name or (f"quality-{experiment}" if options.quick else f"published-quality-{experiment}")
    found = {
        "experiment": experiment,
        "size": "reduced" if options.quick else "full",
        "seed": options.seed,
        "machine": described(options.threads),
        "seconds": time.perf_counter() - began,
        **more,
        "tables": json.loads(json.dumps(tables, allow_nan=False)),  # fails here, not in who reads it
    }
    earlier = report.RESULTS / f"{name}.json"
    if options.keep and earlier.exists():
        try:
            found = merged(json.loads(earlier.read_text()), found)
        except ValueError as error:  # what took hours is not lost
            name += "-apart"
            print(f"not merged: {error}")
    path = report.write(name, found)
    print(f"written: benchmarks/results/{path.name}\n")
    return path


def script(experiment, doc, tables, arguments=None, *, after=None):
    """The whole of a simple experiment: `tables(options)` are run and written."""
    takes = parser(doc, experiment)
    takes.add_argument("--sets", default="", help="parts of titles of tables, as in --rows")
    options = takes.parse_args(arguments)
    began = time.perf_counter()
    asked = [table for table in tables(options) if wanted(table.title, options.sets)]
    return write(experiment, options, run_tables(asked, options, after=after), began)
