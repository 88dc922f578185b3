"""Two builds of this library against each other, call by call.

    python -m benchmarks.builds before/.venv/bin/python after/.venv/bin/python

Each is the Python of an environment that has the build, A the first, B the second.  The benchmarks are those of this
checkout for both, rnnrnade is that of each environment.  Answers are compared first; where they differ by more than
rounding, nothing is timed and the exit status is 1.  Then the two work in turn, A B A B ..., never both at a time, and
threads that wait sleep.  A turn is some calls after one that is not timed, its time their median.  The interval is one
for the median of the ratios B / A, pair by pair: between two order statistics, at 95 % for any distribution; for fewer
than six pairs there is none.
"""

import argparse
import os
import statistics
import sys

import numpy as np
from scipy.stats import binom

from . import machine, report
from .opponents import OURS
from .speed import DRAWS, FEWEST_SEQUENCES, samples_disagree
from .worker import Worker
from .workloads import MAIN, TOLERANCES, WORKLOADS, gradient_error, log_density_error

OPERATIONS = {"forward": "forward", "gradient": "gradient", "many": "sample", "one": "sample-one", "step": "step"}
PIECE = 0.05  # seconds of calls of one build in its turn
MOST_CALLS = 50


def arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.builds", description=__doc__.splitlines()[0])
    parser.add_argument("a", metavar="PYTHON_A")
    parser.add_argument("b", metavar="PYTHON_B")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--workloads", default=",".join(MAIN))
    parser.add_argument("--operations", default=",".join(OPERATIONS), help="many, one: sequences that are sampled")
    parser.add_argument("--dtype", default="float32", choices=TOLERANCES)
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--name", default="builds", help="of the file in benchmarks/results")
    options = parser.parse_args()
    for name, known in (("workloads", WORKLOADS), ("operations", OPERATIONS)):
        given = getattr(options, name).split(",")
        if not set(given) <= set(known):
            parser.error(f"--{name}: {', '.join(sorted(set(given) - set(known)))} is none of {', '.join(known)}")
        setattr(options, name, sorted(given, key=list(known).index))  # "step" last: it changes the parameters
    return options


def same(x, y):
    """Whether two answers are the same bits."""
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same(x[name], y[name]) for name in x)
    if isinstance(x, list | tuple):
        return len(x) == len(y) and all(map(same, x, y))
    x, y = np.asarray(x), np.asarray(y)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def compared(a, b, workload, operation, dtype):
    """(whether the answers agree, what there is to say of it)"""
    density, gradient = TOLERANCES[dtype]
    draws = {"sample": -(-FEWEST_SEQUENCES // workload.N), "sample-one": DRAWS}.get(operation, 1)
    x, y = (worker.ask("answer", operation=operation, draws=draws) for worker in (a, b))
    if same(x, y):
        return True, "same bits"
    if operation.startswith("sample"):
        fault = samples_disagree(y, a, a.ask("forward", x=x))
        return fault is None, fault or "other samples of the same density"
    if operation == "gradient":
        error, block = gradient_error(y[1], x[1])
        if not error <= gradient:
            return False, f"gradient of {block} differs by {error:.1e}"
        x, y = x[0], y[0]
    if operation == "step":  # the second loss depends on signs of tiny gradients
        if not abs((y[0] - y[1]) - (x[0] - x[1])) <= 0.05 * abs(x[0] - x[1]):
            return False, f"losses of two steps are {y}, not {x}"
        x, y = x[0], y[0]
    error = log_density_error(y, x)
    return bool(error <= density), f"log-densities differ by {error:.1e}"


def turns(a, b, operation, pairs):
    """Seconds of the calls of each turn, of both: two lists of lists."""
    once = max(worker.ask("time", operation=operation, calls=1)[0] for worker in (a, b))
    calls = max(1, min(MOST_CALLS, int(PIECE / once)))
    found = [[worker.ask("time", operation=operation, calls=calls) for worker in (a, b)] for _ in range(pairs)]
    return tuple(zip(*found, strict=True))


def interval(values, confidence=0.95):
    """Order statistics between which the median lies with at least that confidence, or None."""
    values, n = sorted(values), len(values)
    k = int(binom.ppf((1 - confidence) / 2, n, 0.5))
    return (values[k - 1], values[n - k]) if k else None


def measured(a, b, operation, pairs):
    """What a report keeps of one row."""
    of_turns = turns(a, b, operation, pairs)
    typical = [[statistics.median(turn) for turn in own] for own in of_turns]
    ratios = [of_b / of_a for of_a, of_b in zip(*typical, strict=True)]
    seconds = {
        name: {"median": statistics.median(medians), "min": min(map(min, own))}
        for name, own, medians in zip("AB", of_turns, typical, strict=True)
    }
    return {"seconds": seconds, "ratio": statistics.median(ratios), "interval": interval(ratios), "ratios": ratios}


def line(row):
    if "seconds" not in row:
        return [row["workload"], row["operation"], *"------", row["answers"]]
    times = (f"{1e3 * row['seconds'][name][kind]:.4g}" for name in "AB" for kind in ("median", "min"))
    between = "-" if row["interval"] is None else "{:.3f} ... {:.3f}".format(*row["interval"])
    return [row["workload"], row["operation"], *times, f"{row['ratio']:.3f}", between, row["answers"]]


def race(a, b, options):
    """Yields a row for each workload and operation."""
    for workload in (WORKLOADS[name] for name in options.workloads):
        for worker in (a, b):
            worker.ask("prepare", workload=workload, dtype=options.dtype)
        for name in options.operations:
            operation = OPERATIONS[name]
            if operation == "sample-one" and not workload.R:
                continue  # one row of a static model is no use of it
            agree, answers = compared(a, b, workload, operation, options.dtype)
            row = {"workload": workload.name, "operation": name, "agree": agree, "answers": answers}
            yield row | (measured(a, b, operation, options.pairs) if agree else {})
        for worker in (a, b):
            worker.ask("release")


def main():
    options = arguments()
    workers, rows = [], []
    try:
        for python in (options.a, options.b):
            workers.append(Worker(OURS, options.threads, python=os.path.abspath(python), OMP_WAIT_POLICY="passive"))
        builds = [worker.ask("build") for worker in workers]
        print(f"{machine.processor()}, {machine.cores()} cores, {options.threads} threads, {options.dtype}")
        for name, build in zip("AB", builds, strict=True):
            print(f"{name}: {build['folder']}, kernels {build['kernels']}, NumPy {build['numpy']}")
        for row in race(*workers, options):
            rows.append(row)
            print("  ".join(line(row)), flush=True)
    finally:
        for worker in workers:
            worker.close()
    columns = ["", "", "A median, ms", "min", "B median, ms", "min", "B / A", "95 % of its median", "answers"]
    print("\n" + report.table(columns, map(line, rows)))
    about = {"processor": machine.processor(), "threads": options.threads, "dtype": options.dtype, "builds": builds}
    path = report.write(options.name, about | {"rows": rows})
    print(f"\nwritten: benchmarks/results/{path.name}")
    return int(not all(row["agree"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
