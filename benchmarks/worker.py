"""One opponent in a process of its own, asked through pipes, so that thread pools do not meet.

    with Worker("torch", threads=2) as worker:
        worker.ask("prepare", workload=WORKLOADS["S"], dtype="float32")
        seconds = worker.ask("time", operation="forward", calls=5)

Only one process works at a time: `ask` waits for the answer.  Messages are pickles, each behind its length; commands
are the methods of Opponent.  Parameters and data are made from seeds on both sides, so that only answers travel.
"""

import contextlib
import gc
import itertools
import os
import pickle
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from . import machine, opponents
from .workloads import random_data, random_parameters

INPUTS = 4  # data sets that timed calls take in turn
LENGTH = struct.Struct("<q")
HERE = Path(__file__).parent

# A worker of another Python: it has these benchmarks, but the rnnrnade of its own environment.  "" is the folder that
# holds both.
ELSEWHERE = """
import sys
sys.path = [folder for folder in sys.path if folder]
from importlib import util
folder, name, threads = sys.argv[1:]
spec = util.spec_from_file_location("benchmarks", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["benchmarks"] = util.module_from_spec(spec)
from benchmarks.worker import main
main(name, int(threads))
"""


class WorkerError(RuntimeError):
    """What went wrong in the other process."""


def send(stream, message):
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream):
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(LENGTH.unpack(head)[0]))


class Worker:
    """This side of the pipes.

    Parameters
    ----------
    name : str
        Of the opponent.
    threads : int
    python : path, optional
        Another interpreter, whose environment has the rnnrnade to be asked.
    **environment
        Further variables of the process.
    """

    def __init__(self, name, threads, python=None, **environment):
        self.name, self.threads = name, threads
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        command = [sys.executable, "-m", "benchmarks.worker"]
        if python is not None:
            command = [python, "-c", ELSEWHERE, str(HERE)]
        self.process = subprocess.Popen(
            [*command, name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | counts | environment,
            cwd=HERE.parent,
        )

    def ask(self, command, **arguments):
        """The answer; Unavailable or WorkerError where there is none."""
        try:
            send(self.process.stdin, (command, arguments))
            kind, answer = receive(self.process.stdout)
        except (EOFError, OSError) as error:
            raise WorkerError(f"the process of {self.name} died (status {self.process.wait()})") from error
        if kind == "unavailable":
            raise opponents.Unavailable(answer)
        if kind == "error":
            raise WorkerError(f"{self.name}: {answer}")
        return answer

    def close(self):
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):  # it died with a question unread
                stream.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Opponent:
    """The other side: one opponent with one workload at a time."""

    def __init__(self, name, threads):
        self.name, self.threads, self.own = name, threads, None

    def prepare(self, workload, dtype, compute=None, seed=0):
        """Build the model with parameters rounded to `dtype`; compute in `compute` (default: the same)."""
        self.release()
        compute = compute or dtype
        parameters = random_parameters(workload, dtype, seed)
        parameters = {name: array.astype(compute) for name, array in parameters.items()}
        self.workload = workload
        inputs = [random_data(workload, dtype, seed + 1 + i).astype(compute) for i in range(INPUTS)]
        self.first, self.inputs = inputs[0], itertools.cycle(inputs)
        self.own = opponents.prepare(self.name, workload, parameters, compute, self.threads)
        return [
            operation
            for operation in ("forward", "gradient", "step", "sample")
            if getattr(self.own, operation, None) is not None
        ]

    def build(self):
        """The folder of this process's rnnrnade, and `rnnrnade.config()`."""
        import rnnrnade
        from rnnrnade import _core

        folders = {str(Path(module.__file__).parent) for module in (rnnrnade, _core)}
        if len(folders) > 1:
            raise RuntimeError(f"rnnrnade is mixed of two builds: {' and '.join(folders)}")
        return {"folder": folders.pop(), **rnnrnade.config()}

    def release(self):
        """Forget the workload."""
        self.own = self.inputs = self.first = None
        gc.collect()

    def call(self, operation):
        if operation == "sample":
            return self.own.sample(self.workload.N, self.workload.frames)
        if operation == "sample-one":
            return self.own.sample(1, self.workload.frames)
        return getattr(self.own, operation)(next(self.inputs))

    def answer(self, operation, draws=1):
        """What is compared before anything is timed: results on the first data set; several draws; two losses."""
        if operation == "gradient":
            total, gradient = self.own.gradient(self.first)
            return total, {name: np.array(block) for name, block in self.own.named(gradient).items()}
        if operation.startswith("sample"):
            return np.concatenate([self.call(operation) for _ in range(draws)])
        if operation == "step":
            return [self.own.step(self.first) for _ in range(2)]
        return np.asarray(self.own.forward(self.first))

    def forward(self, x):
        """Log-densities of any sequences."""
        return np.asarray(self.own.forward(x))

    def time(self, operation, calls, clock="perf_counter"):
        """Seconds of each of `calls` calls, after one that is not timed; clock: a function of the module time."""
        self.call(operation)
        seconds, now = [], getattr(time, clock)
        for _ in range(calls):
            begin = now()
            self.call(operation)
            seconds.append(now() - begin)
        return seconds

    def epochs(self, batch_size, n):
        """(seconds of an epoch, loss in the last of n)."""
        begin = time.perf_counter()
        loss = self.own.epochs(self.first, batch_size, n)
        return (time.perf_counter() - begin) / n, loss

    def memory(self, operation):
        """Bytes by which the peak of one call rises above what was resident before it.

        Before it, everything is loaded, compiled and built, and one sequence of two frames has gone through."""
        compile_ahead = getattr(self.own, "compile", None)
        if compile_ahead is not None:
            compile_ahead(operation, self.first)
        else:
            getattr(self.own, operation)(np.ascontiguousarray(self.first[:1, :2]))
        gc.collect()
        machine.forget_peak()
        before = machine.resident()
        result = self.call(operation)
        after = machine.resident(peak=True)
        del result
        return after - before

    def peak(self, dtype):
        """The processor's multiply-adds, operations a second."""
        return machine.peak(dtype, self.threads)

    def bandwidth(self):
        """Of reading memory, bytes a second."""
        return machine.bandwidth(self.threads)


def main(name, threads):
    # What libraries print goes to standard error: standard output is the pipe.
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    opponent = Opponent(name, threads)
    while True:
        try:
            command, arguments = receive(stdin)
        except EOFError:
            return
        try:
            reply = ("answer", getattr(opponent, command)(**arguments))
        except opponents.Unavailable as error:
            reply = ("unavailable", str(error))
        except Exception as error:
            traceback.print_exc()
            reply = ("error", f"{type(error).__name__}: {error}")
        send(stdout, reply)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
