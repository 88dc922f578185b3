"""The table of docs/speed.md, in Markdown, from a result of benchmarks.speed.

python -m benchmarks.summary [published-bench]
"""

import argparse
import json

from . import report
from .opponents import OURS
from .workloads import MAIN, WORKLOADS

COLUMNS = {
    "forward": "log-density",
    "gradient": "gradient",
    "sample": "sampling, all sequences, a frame",
    "sample-one": "one sequence, a frame",
}


def sizes(w):
    """How the table names a workload."""
    if w.R:
        return f"{w.D}, {w.H}, {w.K}, {w.R}; {w.N} x {w.T}"
    return f"{w.D}, {w.H}, {w.K}, static; {w.N} rows"


def figures(value):
    """Two digits, or all before the point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="published-bench", help="of a file in benchmarks/results")
    rows = json.loads((report.RESULTS / f"{parser.parse_args().name}.json").read_text())["rows"]
    found = {(row["workload"], row["operation"]): row for row in rows if row["dtype"] == "float32" and row.get("best")}
    print("| D, H, K, R; sequences x frames | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    for name in MAIN:
        cells = []
        for operation in COLUMNS:
            row = found.get((name, operation))
            cells.append(
                f"{figures(1e3 * row['seconds'][OURS]['median'])}, {figures(row['best']['ratio'])} x" if row else ""
            )
        print(f"| {sizes(WORKLOADS[name])} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
