"""All experiments, one after the other, and the document of their results.

python -m benchmarks.quality [--full] [--seed N] [--threads N]
"""

import argparse
import importlib
import time

from . import document


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the sizes that are published; hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    arguments = ["--seed", str(options.seed)] + (["--full"] if options.full else ["--quick"])
    arguments += [] if options.threads is None else ["--threads", str(options.threads)]
    began = time.perf_counter()
    for name in document.EXPERIMENTS:
        print(f"== {name}", flush=True)
        importlib.import_module(f".{name}", __package__).main(arguments)
    document.main([] if options.full else ["--reduced"])
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes in all")


if __name__ == "__main__":
    main()
