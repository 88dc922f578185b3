"""Default settings, only `random_state` given, against the best of the peers on every set.

    python -m benchmarks.quality.defaults [--full]

The sets, peers and splits are those of vectors.py, speech.py and mocap.py; fit() gets all training data and holds out
its own part to stop on.  The best peer is the one with the best figure on the TEST data, which is harder to beat than
one chosen on validation data.
"""

import dataclasses
import time

from .. import report
from . import mocap, speech, vectors
from .common import parser, run_tables, write


def compared(tables):
    """[set, best peer, its nats, defaults' nats, difference] of each table that has both."""
    found = []
    for table in tables:
        nats = {"peer": [], "defaults": []}
        for row in table["rows"]:
            figure = row.get("figures", {}).get("nats")
            if row["group"] in nats and figure and figure["mean"] is not None:
                nats[row["group"]].append((figure["mean"], row["row"]))
        if nats["peer"] and nats["defaults"]:
            (peer, name), (ours, _) = max(nats["peer"]), nats["defaults"][0]
            found.append([table["title"], name, f"{peer:.2f}", f"{ours:.2f}", f"{ours - peer:+.2f}"])
    return found


HEADER = ["", "best peer", "its nats", "defaults", "difference"]


def main(arguments=None):
    options = parser(__doc__, "defaults").parse_args(arguments)
    began = time.perf_counter()
    tables = [
        dataclasses.replace(table, rows=[row for row in table.rows if row.group != "ours"])
        for module in (vectors, speech, mocap)
        for table in module.tables(options)
    ]
    done = run_tables(tables, options)
    print("\n" + report.table(HEADER, compared(done)))
    return write("defaults", options, done, began)


if __name__ == "__main__":
    main()
