"""Time of an epoch of `fit` against the same model in eager PyTorch (autograd, torch.optim.Adam).

    python -m benchmarks.epoch

Both begin with the same parameters, whose log-densities are compared first, and go over the same sequences in random
mini-batches of the same size, in float32, without validation.  Ours is timed as whole calls of `fit`, checks of the
data and start of training included.
"""

import argparse
import statistics
import sys

from . import machine, report
from .opponents import OURS
from .worker import Worker
from .workloads import TOLERANCES, Workload, log_density_error

SPEECH = Workload("epoch", D=49, H=100, K=10, R=200, T=100, N=100)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=2, help="of each in a round")
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of an update")
    parser.add_argument("--name", default="epoch")
    options = parser.parse_args()
    described = machine.description(options.threads)
    print(machine.headline(described), flush=True)
    workers = {name: Worker(name, options.threads) for name in (OURS, "torch")}
    seconds, losses = {name: [] for name in workers}, {name: [] for name in workers}
    try:
        for worker in workers.values():
            worker.ask("prepare", workload=SPEECH, dtype="float32")
        first = [worker.ask("answer", operation="forward") for worker in workers.values()]
        error = log_density_error(*first)
        if not error <= TOLERANCES["float32"][0]:
            print(f"the log-densities differ by {error:.1e}: not the same model")
            return 1
        for i in range(options.rounds + 1):
            for name, worker in workers.items():
                took, loss = worker.ask("epochs", batch_size=options.batch_size, n=options.epochs)
                losses[name].append(loss)
                if i:  # the first is to warm up
                    seconds[name].append(took)
    finally:
        for worker in workers.values():
            worker.close()
    times = {name: {"median": statistics.median(s), "min": min(s)} for name, s in seconds.items()}
    ratios = {which: times["torch"][which] / times[OURS][which] for which in ("median", "min")}
    print(
        f"\n{SPEECH.N} sequences of {SPEECH.T} frames, D = {SPEECH.D}, H = {SPEECH.H}, K = {SPEECH.K}, "
        f"R = {SPEECH.R}, batches of {options.batch_size}, float32"
    )
    lines = [
        [name, f"{times[name]['median']:.3f}", f"{times[name]['min']:.3f}", f"{loss[0]:.3f}", f"{loss[-1]:.3f}"]
        for name, loss in losses.items()
    ]
    print(report.table(["", "s an epoch, median", "minimum", "loss after round 1", "after the last"], lines))
    print(f"ratio: {ratios['median']:.2f} of the medians, {ratios['min']:.2f} of the minima")
    path = report.write(
        options.name,
        {"machine": described, "batch_size": options.batch_size, "seconds": times, "ratio": ratios, "losses": losses},
    )
    print(f"written: benchmarks/results/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
