"""docs/experiments.md, from the results: no figure in it is typed by hand.

    python -m benchmarks.quality.document [--reduced] [--to FILE]

A section is the docstring of its experiment's script and the tables of benchmarks/results/published-quality-*.json;
experiments without a result have none.  With --reduced the results of the reduced size stand in, for a look at them.
"""

import argparse
import importlib
import json
from pathlib import Path

from ..machine import headline
from ..report import RESULTS
from . import digits, latent, recordings
from .common import cells, number
from .defaults import HEADER, compared
from .families import CHOICES, choices

DOCUMENT = Path(__file__).parents[2] / "docs" / "experiments.md"
EXPERIMENTS = (
    "vectors",
    "speech",
    "trajectories",
    "mocap",
    "stability",
    "balls",
    "options",
    "families",
    "recordings",
    "given",
    "parts",
    "binary",
    "pianoroll",
    "digits",
    "latent",
)
OPENING = """# Experiments

Written by `python -m benchmarks.quality.document` from the results in `benchmarks/results/`; do not edit. All
log-densities are in nats, higher is better; all are of the data in the unit that the section says, and stand beside
`min_scale`, the smallest standard deviation (for kernels: the bandwidth) that the settings allow. "validation" is what
settings were chosen by. Test data were scored once, by what had been chosen. A number in brackets is the standard error
of the mean. `seconds` is everything that a row took by the clock, all fits of all settings and folds, and the scores,
on a machine that did other work too and at times stood still: no measure of speed.
"""


WITHOUT_CHOICE = ("stability", "options", "families", "given", "parts")  # their rows are compared, none is chosen


def markdown(header, lines, rule="---:"):
    """A table in Markdown, all columns but the first to the right."""
    rule = ["---"] + [rule] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *lines])


def setting(value):
    return str(value).replace("|", "\\|")


def tried(row):
    """Settings that all candidates share, those that vary with their values, those chosen, and whether the choice was
    fitted again on all training data: texts, or None."""
    settings = [candidate["settings"] for candidate in row["candidates"]]
    if not any(settings):
        return None
    names = list(dict.fromkeys(name for s in settings for name in s))
    values = {name: list(dict.fromkeys(setting(s.get(name, "default")) for s in settings)) for name in names}
    fixed = ", ".join(f"{name} {found[0]}" for name, found in values.items() if len(found) == 1)
    varied = [name for name, found in values.items() if len(found) > 1]
    counts = {c: row["chosen"].count(c) for c in dict.fromkeys(row["chosen"])}
    best = [
        ", ".join(f"{name} {setting(settings[c].get(name, 'default'))}" for name in varied)
        + (f" ({n} of {len(row['chosen'])})" if len(counts) > 1 else "")
        for c, n in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return [
        fixed,
        "; ".join(f"{name} {', '.join(values[name])}" for name in varied),
        "; ".join(best) if varied else "",
        "yes" if row["refit"] else "",
    ]


def validated(row):
    """Whether a row has a finite score on validation data."""
    return row.get("validation", {"mean": None})["mean"] is not None


def published(table):
    """(header, rows) of what others printed for the same test data."""
    names = list(dict.fromkeys(name for _, figures, _ in table["published"] for name in figures))
    lines = [
        [name, *(f"{figures[key]:.2f}" if key in figures else "" for key in names), source]
        for name, figures, source in table["published"]
    ]
    return ["published", *names, "source"], lines


def table_text(table, *, choice):
    """A table and the settings of its rows; where there was a choice, what of ours was best on validation data."""
    parts = [
        f"### {table['title']}",
        f"Mean and standard error over {table['over']}.",
        markdown(*cells(table)),
    ]
    if table.get("published"):
        parts.append(markdown(*published(table), "---"))
    ours = [row for row in table["rows"] if choice and row["group"] != "peer" and validated(row)]
    if len(ours) > 1:
        best = max(ours, key=lambda row: row["validation"]["mean"])
        name, figure = next(iter(best["figures"].items()))
        parts.append(f"Of ours, best on validation data: **{best['row']}**, {name} {number(figure)}.")
    lines = [[row["row"], *tried(row)] for row in table["rows"] if tried(row)]
    chose = any(len(row["candidates"]) > 1 or row["group"] == "ours" for row in table["rows"])
    if choice and lines and chose:
        parts.append("Each fold chose for itself." if table["each_fold"] else "All folds or seeds together chose.")
        parts.append(markdown(["", "settings", "tried", "chosen", "fitted again on all training data"], lines, "---"))
    return "\n\n".join(parts)


def more(found):
    """What an experiment states beside its tables."""
    parts = []
    if "entropy_rate" in found:
        rate = found["entropy_rate"]
        parts.append(
            f"The true log-density per step, minus the entropy rate: {-rate['mean']:.4f} nats, Monte Carlo standard "
            f"error {rate['standard_error']:.4f}."
        )
    if found["experiment"] == "stability":
        rows = found["tables"][0]["rows"]
        diverged, better = {}, {}
        for row in rows:
            unit, training = row["row"].split(", ", 1)
            diverged[unit] = diverged.get(unit, 0) + row["diverged"]
            better.setdefault(training, []).append((row["validation"]["mean"], unit))
        counts = ", ".join(f"{unit} {n}" for unit, n in diverged.items())
        best = [max(pair)[1] for pair in better.values()]
        ahead = ", ".join(f"{unit} in {best.count(unit)}" for unit in diverged)
        parts.append(f"Diverged runs: {counts}. Better on validation data, of {len(best)} ways to train: {ahead}.")
    if found["experiment"] == "families":
        parts.append(markdown(CHOICES, choices(found["tables"], found["size"] == "reduced")))
    if found["experiment"] == "recordings":
        parts.append(markdown(recordings.SUMMARY, recordings.lines(found["tables"])))
    if found["experiment"] == "digits" and (lines := digits.ordering(found["tables"][0])):
        parts.append(markdown(["", "against", "gains a recording"], lines))
    if found["experiment"] == "latent" and (lines := latent.differences(found["tables"])):
        parts.append(markdown(["", "", "against", "gains"], lines))
    return parts


def machines(found):
    """The machine and versions; where rows were made on several, which."""
    rows = {}
    for row in (row for table in found["tables"] for row in table["rows"]):
        rows.setdefault(headline(row.get("machine", found["machine"])).replace("\n", "; "), {})[row["row"]] = None
    if len(rows) == 1:
        return f"{next(iter(rows))}."
    return " ".join(f"{', '.join(names)}: {where}." for where, names in rows.items())


def section(experiment, found):
    """The text of one experiment."""
    module = importlib.import_module(f".{experiment}", __package__)
    title, _, rest = module.__doc__.strip().partition("\n")
    parts = [f"## {title.rstrip('.')}", rest.strip("\n")]
    parts.append(f"Size: {found['size']}; seed {found['seed']}; {found['seconds'] / 60:.1f} minutes. {machines(found)}")
    parts += more(found)
    tables = [recordings.with_differences(table) for table in found["tables"]]
    parts += [table_text(table, choice=experiment not in WITHOUT_CHOICE) for table in tables]
    return "\n\n".join(parts)


def comparison(results):
    """Defaults against the best peer of every set, from the tables of the experiments."""
    once = [found for name, found in results.items() if name not in ("latent", "given")]  # the sets of others
    lines = compared([table for found in once for table in found["tables"]])
    if not lines:
        return None
    return "\n\n".join([
        "## Defaults against the best peer",
        "Only `random_state` was given, for the bouncing balls the number of epochs too, since they take long, and the "
        "season where a file names one; binary vectors and music have validation parts, which were given too. Defaults "
        "are those of the date of their row: of the bouncing balls the former ones, whose transform was a VAR(2). The "
        "best peer is the one with the best figure on the test data. Nats of the balls are to be read with care: most "
        "pixels are nearly constant, so that the smallest scale bounds them, which is 0.001 of a pixel's standard "
        "deviation for VAR, and of VAR's residual for the defaults.",
        markdown(HEADER, lines),
    ])  # fmt: skip


def document(folder=RESULTS, *, reduced=False):
    """The text of docs/experiments.md from the results in a folder."""
    results = {}
    for experiment in EXPERIMENTS:
        path = Path(folder) / (f"quality-{experiment}.json" if reduced else f"published-quality-{experiment}.json")
        if path.exists():
            results[experiment] = json.loads(path.read_text())
    parts = [OPENING.strip(), comparison(results), *(section(name, found) for name, found in results.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true", help="from results of the reduced size")
    parser.add_argument("--to", type=Path, default=None, help="default: docs/experiments.md")
    options = parser.parse_args(arguments)
    # A reduced run never overwrites what is published.
    target = options.to or (RESULTS / "experiments-reduced.md" if options.reduced else DOCUMENT)
    target.write_text(document(reduced=options.reduced))
    print(f"written: {target}")


if __name__ == "__main__":
    main()
