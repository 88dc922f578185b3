"""Time of the public calls against PyTorch, JAX, NumPy and plain C, and as a fraction of the processor's peak.

    python -m benchmarks.speed --short            a few minutes
    python -m benchmarks.speed                    everything

Answers are compared with NumPy in float64 before anything is timed; who is wrong is not timed and makes the exit
status 1.  Opponents run in their own processes and are timed in turn, in rounds; inputs change from call to call.
"""

import argparse
import statistics
import sys
import time

import numpy as np

from . import machine, report
from .opponents import OPPONENTS, OURS, REFERENCE, STRONGEST, Unavailable
from .worker import Worker, WorkerError
from .workloads import (
    KIN,
    LATENT,
    MAIN,
    OPERATIONS,
    SWEEP,
    TOLERANCES,
    WORKLOADS,
    gradient_error,
    log_density_error,
)

PIECE = 0.06  # seconds of calls of one opponent in a round
MOST_CALLS = 100  # of one opponent in a round
OUT = 3.0  # who is this many times slower than the best opponent after OUT_AFTER rounds is timed no more
OUT_AFTER = 2
DRAWS = 32  # calls of the sampler of one sequence that are compared
FEWEST_SEQUENCES = 64  # that the comparison of samplers is made on
LARGEST_Z = 5.0  # mean log-density of samples, in its standard errors


def arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--workloads", default=",".join(MAIN), help='names; "kin", "latent": other models; "sweep": D from 16 to 1024'
    )
    parser.add_argument("--operations", help=f"default: {', '.join(OPERATIONS)}")
    parser.add_argument("--dtype", default="float32,float64")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--processor", action="store_true", help="processor time: with one thread, on a busy machine")
    parser.add_argument("--seconds", type=float, default=np.inf, help="begin nothing new after so many")
    parser.add_argument("--opponents", default=",".join(name for name in OPPONENTS if name != OURS))
    parser.add_argument("--short", action="store_true", help=f"float32, no step, {', '.join(STRONGEST)}, 8 minutes")
    parser.add_argument("--name", default="speed", help="of the files in benchmarks/results")
    options = parser.parse_args()
    options.clock = "process_time" if options.processor else "perf_counter"
    options.operations = options.operations or ",".join(OPERATIONS[: -1 if options.short else None])
    if options.short:
        options.dtype, options.opponents = "float32", ",".join(STRONGEST)
        options.rounds, options.seconds = min(options.rounds, 5), min(options.seconds, 480.0)
    options.workloads = [
        name
        for part in options.workloads.split(",")
        for name in {"sweep": SWEEP, "kin": KIN, "latent": LATENT}.get(part, [part])
    ]
    for name, known in (("workloads", WORKLOADS), ("operations", OPERATIONS), ("dtype", TOLERANCES)):
        given = getattr(options, name)
        given = given if isinstance(given, list) else given.split(",")
        setattr(options, name, given)
        if not set(given) <= set(known):
            parser.error(f"--{name}: {', '.join(sorted(set(given) - set(known)))} is none of {', '.join(known)}")
    options.operations.sort(key=OPERATIONS.index)
    options.opponents = [OURS, *(name for name in options.opponents.split(",") if name and name != OURS)]
    if not set(options.opponents) <= set(OPPONENTS):
        parser.error(f"--opponents: choose from {', '.join(OPPONENTS)}")
    return options


# ---- answers -------------------------------------------------------------------------------------------------------


def samples_disagree(x, reference, expected):
    """None, or how far the mean log-density of samples lies from that of the reference's own samples."""
    found = reference.ask("forward", x=np.ascontiguousarray(x, np.float64))
    spread = np.sqrt(np.var(found, ddof=1) / len(found) + np.var(expected, ddof=1) / len(expected))
    z = abs(found.mean() - expected.mean()) / spread
    return None if z <= LARGEST_Z else f"samples have another log-density (z = {z:.1f})"


class Answers:
    """The reference's answers for one workload and type, each computed when first asked for."""

    def __init__(self, worker, workload, dtype):
        self.worker, self.workload, self.dtype = worker, workload, dtype
        worker.ask("prepare", workload=workload, dtype=dtype, compute="float64")
        self.found = {}

    def _answer(self, operation):
        if operation not in self.found:
            if operation == "sample":
                x = self.worker.ask("answer", operation="sample", draws=self._draws())
                self.found[operation] = self.worker.ask("forward", x=x)
            else:
                self.found[operation] = self.worker.ask("answer", operation=operation)
        return self.found[operation]

    def _draws(self):
        return -(-FEWEST_SEQUENCES // self.workload.N)

    def disagreement(self, worker, operation):
        """None, or what is wrong with the answer of an opponent."""
        density, gradient = TOLERANCES[self.dtype]
        if operation.startswith("sample"):
            draws = DRAWS if operation == "sample-one" else self._draws()
            x = worker.ask("answer", operation=operation, draws=draws)
            return samples_disagree(x, self.worker, self._answer("sample"))
        found, expected = worker.ask("answer", operation=operation), self._answer(operation)
        if operation == "gradient":
            error, block = gradient_error(found[1], expected[1])
            if not error <= gradient:
                return f"gradient of {block} is off by {error:.1e}"
            found, expected = found[0], expected[0]
        error = log_density_error(found, expected)
        if operation == "step":  # the second loss depends on signs of tiny gradients: compared loosely
            expected_fall = expected[0] - expected[1]
            if not abs(found[0] - found[1] - expected_fall) <= 0.05 * abs(expected_fall):
                return f"losses {found} of two steps are not {expected}"
            error = log_density_error(found[0], expected[0])
        return None if error <= density else f"log-density is off by {error:.1e}"


# ---- times ---------------------------------------------------------------------------------------------------------


class Peak:
    """The processor's peak, measured beside the opponents; without a C compiler, or a worker, there is none."""

    def __init__(self, worker, dtypes):
        self.worker, self.highest, self.bandwidth = worker, {}, None
        if worker is None:  # the peak is one of the wall clock
            return
        try:
            self.bandwidth = worker.ask("bandwidth")
            for dtype in dtypes * 3:
                self.measured(dtype)
        except WorkerError as error:
            print(f"no fraction of the peak: {error}")
            self.worker = None

    def measured(self, dtype):
        """A list of one number, operations a second, or of none."""
        if self.worker is None:
            return []
        found = self.worker.ask("peak", dtype=dtype)
        self.highest[dtype] = max(found, self.highest.get(dtype, 0.0))
        return [found]


def measure(workers, peak, operation, dtype, rounds, clock):
    """{name: seconds of every call}, and the peak in every round."""
    seconds = {name: [] for name in workers}
    calls, peaks = {}, []
    for i in range(rounds):
        racing = list(workers)
        if i >= OUT_AFTER:
            medians = {name: statistics.median(seconds[name]) for name in workers if name != OURS}
            best = min(medians.values(), default=0.0)
            racing = [name for name in workers if name == OURS or medians[name] <= OUT * best]
        shift = i % len(racing)
        for name in racing[shift:] + racing[:shift]:
            if name not in calls:
                once = workers[name].ask("time", operation=operation, calls=1, clock=clock)[0]
                calls[name] = max(1, min(MOST_CALLS, int(PIECE / once)))
            seconds[name] += workers[name].ask("time", operation=operation, calls=calls[name], clock=clock)
        peaks += peak.measured(dtype)
    return seconds, peaks


def summary(seconds, peaks, highest, workload, operation):
    """What a report keeps of one race; peaks are those of its rounds, the highest that of the run so far."""
    share = workload.frames if operation.startswith("sample") else 1
    times = {
        name: {"median": statistics.median(s) / share, "min": min(s) / share, "calls": len(s)}
        for name, s in seconds.items()
    }
    row = {"workload": workload.name, "operation": operation, "seconds": times}
    ours = times.get(OURS)
    for key, names in (
        ("best", [name for name in times if name != OURS]),
        ("best_framework", [name for name in times if OPPONENTS[name].framework]),
    ):
        if ours and names:
            best = min(names, key=lambda name: times[name]["median"])
            fastest = min(times[name]["min"] for name in names)
            row[key] = {
                "name": best,
                "ratio": times[best]["median"] / ours["median"],
                "ratio_of_minima": fastest / ours["min"],
            }
    flops = workload.flops(operation)
    if peaks:
        row["peak_gflops"] = statistics.median(peaks) / 1e9
        row["fraction_of_peak"] = {
            name: {"median": flops / t["median"] / highest, "best": flops / t["min"] / highest}
            for name, t in times.items()
        }
    return row


def race(workload, dtype, options, workers, reference, peak, deadline):
    """Yields a row for each operation."""
    answers, ready = Answers(reference, workload, dtype), {}
    skipped = {}
    for name, worker in workers.items():
        try:
            ready[name] = worker.ask("prepare", workload=workload, dtype=dtype)
        except (Unavailable, WorkerError) as error:
            skipped[name] = str(error)
    for operation in options.operations:
        if not workload.offers(operation):
            continue
        if time.monotonic() > deadline:
            yield {"workload": workload.name, "operation": operation, "dtype": dtype, "skipped": "no time left"}
            continue
        racing, wrong = {}, {}
        for name, offered in ready.items():
            if operation.removesuffix("-one") not in offered:
                continue
            try:
                fault = answers.disagreement(workers[name], operation)
            except (Unavailable, WorkerError) as error:
                skipped[name] = str(error)
                continue
            if fault:
                wrong[name] = fault
            else:
                racing[name] = workers[name]
        row = {"workload": workload.name, "operation": operation, "seconds": {}}
        try:
            if racing:
                seconds, peaks = measure(racing, peak, operation, dtype, options.rounds, options.clock)
                row = summary(seconds, peaks, peak.highest.get(dtype), workload, operation)
        except WorkerError as error:
            row["error"] = str(error)
        yield row | {"dtype": dtype, "skipped": dict(skipped), "wrong": wrong}
    for worker in workers.values():
        if worker.process.poll() is None:
            worker.ask("release")


# ---- reports -------------------------------------------------------------------------------------------------------


def milliseconds(t):
    return f"{1e3 * t['median']:.3g}/{1e3 * t['min']:.3g}" if t else "-"


def print_rows(rows, names, dtype, operation):
    unit = "one frame" if operation.startswith("sample") else "one call"
    columns = ["workload", *names, "x best", "best", "x torch/JAX", "x minima", "% peak"]
    lines = []
    for row in rows:
        times = row["seconds"]
        best, framework = row.get("best"), row.get("best_framework")
        part = row.get("fraction_of_peak", {}).get(OURS)
        lines.append(
            [
                row["workload"],
                *(milliseconds(times.get(name)) for name in names),
                f"{best['ratio']:.2f}" if best else "-",
                best["name"] if best else "-",
                f"{framework['ratio']:.2f}" if framework else "-",
                f"{best['ratio_of_minima']:.2f}" if best else "-",
                f"{100 * part['median']:.0f} ({100 * part['best']:.0f})" if part else "-",
            ]
        )
    print(f"\n{operation}, {dtype}: ms of {unit}, median/minimum; % of the highest peak so far: median (best)")
    print(report.table(columns, lines), flush=True)


def roofline(ax, rows, bandwidth):
    """Operations a second over operations a byte, below the roofs of memory and of the multiply-adds."""
    peak = max(row["peak_gflops"] for row in rows)
    x = np.geomspace(0.25, 2000, 100)
    ax.loglog(x, np.minimum(peak, x * bandwidth / 1e9), color="black", linewidth=1)
    for operation in dict.fromkeys(row["operation"] for row in rows):
        points = []
        for row in (row for row in rows if row["operation"] == operation):
            workload = WORKLOADS[row["workload"]]
            flops = workload.flops(operation)
            points.append(
                (flops / workload.bytes(operation, row["dtype"]), flops / row["seconds"][OURS]["median"] / 1e9)
            )
            ax.annotate(workload.name, points[-1], fontsize=6, xytext=(3, 3), textcoords="offset points")
        ax.loglog(*zip(*points, strict=True), "o", markersize=4, label=operation)
    ax.set(
        title=f"ours below the roofs, {rows[0]['dtype']}",
        xlabel="operations a byte that has to move",
        ylabel="10⁹ operations a second",
    )
    ax.legend(fontsize="small")


def pictures(rows, described, name, bandwidth):
    """Bars of ratios with a line at 1, fractions of the peak, and a roofline; the sweep as lines over D."""
    rows = [row for row in rows if row.get("best")]
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    if not rows or (drawn := report.canvas(columns=3, rows=len(dtypes))) is None:
        return []
    figure, axes = drawn
    for i, dtype in enumerate(dtypes):
        own = {(row["workload"], row["operation"]): row for row in rows if row["dtype"] == dtype}
        groups = list(dict.fromkeys(workload for workload, _ in own))
        ratios, fractions, roofs = axes[3 * i : 3 * i + 3]
        operations = [o for o in OPERATIONS if any(operation == o for _, operation in own)]
        report.grouped_bars(
            ratios,
            groups,
            {o: [own[g, o]["best"]["ratio"] if (g, o) in own else None for g in groups] for o in operations},
        )
        ratios.axhline(1, color="black", linewidth=1)
        ratios.set(title=f"best opponent's time / ours, {dtype}", ylabel="ratio of medians")
        series = {}
        for o in ("forward", "gradient"):
            parts = [own.get((g, o), {}).get("fraction_of_peak", {}) for g in groups]
            if any(parts):
                series[f"ours, {o}"] = [100 * p[OURS]["median"] if p else None for p in parts]
                series[f"best opponent, {o}"] = [
                    100 * max((v["median"] for name, v in p.items() if name != OURS), default=0.0) if p else None
                    for p in parts
                ]
        if series:
            report.grouped_bars(fractions, groups, series)
        fractions.axhline(100, color="black", linewidth=1)
        fractions.set(title=f"of the multiply-add peak, {dtype}", ylabel="% (useful operations only)", ylim=(0, 140))
        if bandwidth and (known := [row for row in own.values() if "peak_gflops" in row]):
            roofline(roofs, known, bandwidth)
        else:
            roofs.set_axis_off()
    made = [report.save(figure, name, described)]
    swept = [row for row in rows if row["workload"] in SWEEP]
    if swept and (drawn := report.canvas()) is not None:
        figure, (ax,) = drawn
        for operation, dtype in dict.fromkeys((row["operation"], row["dtype"]) for row in swept):
            own = [row for row in swept if (row["operation"], row["dtype"]) == (operation, dtype)]
            D = [WORKLOADS[row["workload"]].D for row in own]
            (line,) = ax.loglog(
                D, [1e3 * row["seconds"][OURS]["median"] for row in own], "o-", label=f"ours, {operation}, {dtype}"
            )
            best = [1e3 * row["seconds"][row["best"]["name"]]["median"] for row in own]
            ax.loglog(D, best, "x--", color=line.get_color(), label="best opponent")
        ax.set(xlabel="D", ylabel="ms (median)", title="time over the number of dimensions")
        ax.legend(fontsize="x-small")
        made.append(report.save(figure, f"{name}-sweep", described))
    return made


def main():
    options = arguments()
    deadline = time.monotonic() + options.seconds
    described = machine.description(options.threads)
    print(machine.headline(described), flush=True)
    workers = {name: Worker(name, options.threads) for name in options.opponents}
    reference, for_peak = Worker(REFERENCE, options.threads), Worker(OURS, options.threads)
    rows = []
    try:
        peak = Peak(None if options.processor else for_peak, options.dtype)
        for dtype in options.dtype:
            for workload in (WORKLOADS[name] for name in options.workloads):
                for name, worker in workers.items():
                    if worker.process.poll() is not None:  # it died in the workload before
                        workers[name] = Worker(name, options.threads)
                for row in race(workload, dtype, options, workers, reference, peak, deadline):
                    rows.append(row)
                    if row["skipped"] == "no time left":
                        print(f"{workload.name} {row['operation']} {dtype}: no time left")
                    else:
                        names = [name for name in options.opponents if name in row["seconds"]]
                        print_rows([row], names, dtype, row["operation"])
                    for name, why in row.get("wrong", {}).items():
                        print(f"WRONG: {name}: {why}")
                    if "error" in row:
                        print(f"ERROR: {row['error']}")
    finally:
        for worker in (*workers.values(), reference, for_peak):
            worker.close()
    timed = [row for row in rows if row.get("seconds")]
    print("\n" + "=" * 100 + "\n" + machine.headline(described))
    for dtype in options.dtype:
        for operation in options.operations:
            own = [row for row in timed if (row["dtype"], row["operation"]) == (dtype, operation)]
            names = [name for name in options.opponents if any(name in row["seconds"] for row in own)]
            if own:
                print_rows(own, names, dtype, operation)
    left_out = {
        (name, row["workload"], why)
        for row in rows
        if isinstance(row["skipped"], dict)
        for name, why in row["skipped"].items()
    }
    for name, workload, why in sorted(left_out):
        print(f"not run: {name}, {workload}: {why}")
    found = {
        "machine": described,
        "rounds": options.rounds,
        "clock": options.clock,
        "bandwidth": peak.bandwidth,
        "rows": rows,
    }
    made = [report.write(options.name, found)]
    made += pictures(timed, described, options.name, peak.bandwidth)
    print("\nwritten: " + ", ".join(f"benchmarks/results/{path.name}" for path in made))
    return int(any(row.get("wrong") or row.get("error") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
