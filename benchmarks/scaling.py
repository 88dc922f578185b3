"""Time of score and gradient over the number of threads, from 1 to all cores, beside the peak's own scaling.

python -m benchmarks.scaling
"""

import argparse
import statistics
import sys

from . import machine, report
from .opponents import OURS
from .worker import Worker
from .workloads import WORKLOADS

PIECE = 0.1  # seconds of calls of one thread count in a round


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default="M,L,XL,P")
    parser.add_argument("--operations", default="forward,gradient")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", default="", help="numbers, such as 1,2,4; default: 1 to all cores")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="scaling")
    options = parser.parse_args()
    counts = [int(n) for n in options.threads.split(",") if n] or list(range(1, machine.cores() + 1))
    operations = options.operations.split(",")
    described = machine.description(max(counts))
    print(machine.headline(described), flush=True)
    workers = {n: Worker(OURS, n) for n in counts}
    rows, peaks = [], {n: [] for n in counts}
    try:
        for workload in (WORKLOADS[name] for name in options.workloads.split(",")):
            for worker in workers.values():
                worker.ask("prepare", workload=workload, dtype=options.dtype)
            for operation in operations:
                seconds = {n: [] for n in counts}
                for _ in range(options.rounds):
                    for n, worker in workers.items():
                        once = worker.ask("time", operation=operation, calls=1)[0]
                        calls = max(1, min(100, int(PIECE / once)))
                        seconds[n] += worker.ask("time", operation=operation, calls=calls)
                        peaks[n].append(worker.ask("peak", dtype=options.dtype))
                times = {n: {"median": statistics.median(s), "min": min(s)} for n, s in seconds.items()}
                rows.append({"workload": workload.name, "operation": operation, "seconds": times})
                medians = ", ".join(f"{n}: {1e3 * t['median']:.3g} ms" for n, t in times.items())
                print(workload.name, operation, medians, flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    one = min(counts)
    gflops = {n: {"median": statistics.median(p) / 1e9, "max": max(p) / 1e9} for n, p in peaks.items()}

    def speedup(times, n, which="median"):
        return times[one][which] / times[n][which]

    def peak_speedup(n, which="median"):
        return gflops[n][which] / gflops[one][which]

    print(f"\ntimes as fast as with {one} thread, {options.dtype}: medians (minima)")
    lines = [
        [f"{row['workload']} {row['operation']}"]
        + [f"{speedup(row['seconds'], n):.2f} ({speedup(row['seconds'], n, 'min'):.2f})" for n in counts]
        for row in rows
    ]
    lines.append(["multiply-add peak", *(f"{peak_speedup(n):.2f} ({peak_speedup(n, 'max'):.2f})" for n in counts)])
    print(report.table(["threads", *counts], lines))
    made = [
        report.write(options.name, {"machine": described, "dtype": options.dtype, "peak_gflops": gflops, "rows": rows})
    ]
    if (drawn := report.canvas(columns=len(operations))) is not None:
        figure, axes = drawn
        for ax, operation in zip(axes, operations, strict=True):
            for row in (row for row in rows if row["operation"] == operation):
                ax.plot(counts, [speedup(row["seconds"], n) for n in counts], "o-", label=row["workload"])
            ax.plot(counts, [n / one for n in counts], "k:", label="ideal")
            ax.plot(counts, [peak_speedup(n) for n in counts], "k--", label="multiply-add peak")
            ax.set(xlabel="threads", ylabel=f"times as fast as {one}", title=f"{operation}, {options.dtype}")
            ax.legend(fontsize="small")
        made.append(report.save(figure, options.name, described))
    print("\nwritten: " + ", ".join(f"benchmarks/results/{path.name}" for path in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
