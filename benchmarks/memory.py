"""Peak resident memory of one gradient over what was resident before it, each in a fresh process (Linux).

    python -m benchmarks.memory

Before the measured call everything is imported, built and compiled, one sequence of two frames has gone through, and
freed memory has been given back to the system.
"""

import argparse
import statistics
import sys

from . import machine, report
from .opponents import OPPONENTS, OURS, Unavailable
from .worker import Worker, WorkerError
from .workloads import WORKLOADS


def measured(name, workload, dtype, threads, repeats):
    """Median bytes over fresh processes, or the reason why there is no number."""
    found = []
    try:
        for _ in range(repeats):
            with Worker(name, threads) as worker:
                worker.ask("prepare", workload=workload, dtype=dtype)
                found.append(worker.ask("memory", operation="gradient"))
    except (Unavailable, WorkerError) as error:
        return str(error)
    return statistics.median(found)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default="M,L,XL,P")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--opponents", default="torch,jax-scan,jax-scan-mixture")
    parser.add_argument("--name", default="memory")
    options = parser.parse_args()
    names = [OURS, *options.opponents.split(",")]
    if not set(names) <= set(OPPONENTS):
        parser.error(f"--opponents: choose from {', '.join(OPPONENTS)}")
    described = machine.description(options.threads)
    print(machine.headline(described), flush=True)
    rows = {}
    for workload in options.workloads.split(","):
        rows[workload] = {
            name: measured(name, WORKLOADS[workload], options.dtype, options.threads, options.repeats) for name in names
        }
        print(workload, rows[workload], flush=True)

    def cell(row, name):
        bytes_ = row[name]
        if isinstance(bytes_, str):
            return "-"
        ours = row[OURS]
        ratio = f" ({bytes_ / ours:.1f} x)" if name != OURS and not isinstance(ours, str) and ours > 0 else ""
        return f"{bytes_ / 2**20:.1f}{ratio}"

    print(f"\nMiB of one gradient, {options.dtype} (and times ours)")
    print(report.table(["workload", *names], [[w, *(cell(row, name) for name in names)] for w, row in rows.items()]))
    made = [report.write(options.name, {"machine": described, "dtype": options.dtype, "bytes": rows})]
    if (drawn := report.canvas()) is not None:
        figure, (ax,) = drawn
        series = {
            name: [row[name] / 2**20 if not isinstance(row[name], str) else None for row in rows.values()]
            for name in names
        }
        report.grouped_bars(ax, list(rows), series)
        ax.set(yscale="log", ylabel="MiB", title=f"peak memory of one gradient, {options.dtype}")
        made.append(report.save(figure, options.name, described))
    print("\nwritten: " + ", ".join(f"benchmarks/results/{path.name}" for path in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
