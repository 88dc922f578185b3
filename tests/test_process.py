"""Forks, imports, memory and signals of the process."""

import gc
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import FLOAT32, Case, assert_same_bits, run_child, team_of

import rnnrnade
from rnnrnade import _core

CASE = Case(D=4, H=8, K=2, R=8, lengths=(40,) * 5)


def _in_child(connection, fitted, X):
    scores = fitted.score_samples(X)
    connection.send((scores, fitted.log_likelihood_and_gradient(X)[0], _core.last_team_size()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_threads_were_used_does_not_hang(all_threads):
    fitted, X = CASE.model(FLOAT32, n_jobs=3)
    expected = fitted.score_samples(X)
    assert _core.last_team_size() == team_of(3)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_in_child, args=(there, fitted, X))
    child.start()
    assert here.poll(60), "the child hangs"
    scores, total, team = here.recv()
    child.join(60)
    np.testing.assert_array_equal(scores, expected)  # the same bits
    assert total == sum(expected.tolist())
    assert team == 1
    np.testing.assert_array_equal(fitted.score_samples(X), expected)
    assert _core.last_team_size() == team_of(3)  # the parent goes on as before


def test_importing_changes_nothing():
    code = """
import os, sys, warnings, numpy
before = dict(os.environ), numpy.geterr(), list(warnings.filters), numpy.get_printoptions()
import rnnrnade
assert before == (dict(os.environ), numpy.geterr(), list(warnings.filters), numpy.get_printoptions())
assert not [m for m in ("sklearn", "matplotlib", "pandas", "rnnrnade._core") if m in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("compiled", [(), ("_core.cpython-39-x86_64-linux-gnu.so",)], ids=["sources", "another"])
def test_a_folder_without_a_compiled_module_says_what_to_do(compiled, tmp_path):
    """A clone found before the installed package, and a package compiled for another Python."""
    package, folder = Path(rnnrnade.__file__).parent, tmp_path / "rnnrnade"
    shutil.copytree(package, folder, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    for name in compiled:
        (folder / name).touch()
    # -S: nothing of this environment, whose editable installation would lend its compiled module.
    command = [sys.executable, "-S", "-c", "import rnnrnade"]
    child = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    [message] = [line for line in child.stderr.splitlines() if re.match(r"\w*Error:", line)]
    assert message.startswith(f"ImportError: {folder} holds no compiled module for this Python")
    assert "start Python in another folder" in message and "pip install --editable ." in message


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_a_score_of_many_frames_needs_constant_memory():
    """Beyond input and output, 150,000 and 600,000 frames take the same, to 8 MiB."""
    code = """
import sys, numpy as np
from helpers import FLOAT32, Case
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
M = int(sys.argv[1])
fitted, _ = Case(D=4, H=8, K=2, R=64, lengths=(1,)).model(FLOAT32, n_jobs=2)
x = np.random.default_rng(0).normal(size=(M, 4)).astype(np.float32)
fitted.score_samples(x[:20000])
before = peak()
scores = fitted.score_samples(x)
print(peak() - before - scores.nbytes // 1024)
"""
    children = [run_child(code, M) for M in (150_000, 600_000)]
    assert not any(child.returncode for child in children), children
    grown = [int(child.stdout) for child in children]
    # 64 recurrent units of 600,000 frames would be 150 MiB.
    assert grown[1] - grown[0] < 8 * 1024


def test_workspace_is_given_back():
    fitted, X = CASE.model(FLOAT32)
    expected = fitted.score_samples(X)
    _core.free_workspace()
    assert _core.last_team_size() == 0
    np.testing.assert_array_equal(fitted.score_samples(X), expected)


GROWTH = """
import sys, gc, numpy as np
from helpers import FLOAT32, Case
fitted, X = Case(D=4, H=8, K=2, R=8, lengths=(20,) * 3).model(FLOAT32, n_jobs=2)
calls = {
    "scores": lambda: fitted.score_samples(X),
    "gradient": lambda: fitted.log_likelihood_and_gradient(X),
    "sample": lambda: fitted.sample(3, 10, random_state=0),
    "cdf": lambda: fitted.cdf(X),
    "from_normal": lambda: fitted.from_normal(X),
    "stream": lambda: fitted.stream(X[0]).update(X[1][0]),
}
def resident():
    gc.collect()
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
for name, call in calls.items():
    for _ in range(500):
        call()
    before = resident()
    for _ in range(int(sys.argv[1])):
        call()
    print(name, resident() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.full)])
def test_memory_does_not_grow_with_the_number_of_calls(n):
    """Resident memory, KiB, over n calls of each kind after the first 500: at most 1 MiB more."""
    done = run_child(GROWTH, n)
    assert done.returncode == 0, done.stderr
    grown = {name: int(kib) for name, kib in (line.split() for line in done.stdout.splitlines())}
    print(n, "calls, KiB:", grown)
    assert len(grown) == 6 and max(grown.values()) <= 1024


# ---- signals during a call -----------------------------------------------------------------------------------------

# Seconds until the signal, until it comes again, and of this thread from the first to the end of the call.
DELAY, AGAIN, PATIENCE = 0.15, 0.2, 0.5
LONG = {
    "score_samples": lambda m: m.rows.score_samples(m.frames),
    "score_dims": lambda m: m.rows.score_dims(m.frames),
    "predict_params": lambda m: m.rows.predict_params(m.frames),
    "cdf": lambda m: m.rows.cdf(m.frames),
    "ppf": lambda m: m.rows.ppf(m.frames, [0.1, 0.9]),
    "crps": lambda m: m.rows.crps(m.frames),
    "to_normal": lambda m: m.rows.to_normal(m.frames),
    "from_normal": lambda m: m.rows.from_normal(m.frames),
    "gradient": lambda m: m.rows.log_likelihood_and_gradient(m.frames),
    "explain": lambda m: m.rows.explain(m.frames),
    "sample": lambda m: m.rows.sample(2_000_000),
    "sample with leading": lambda m: m.rows.sample(1_000_000, leading=[0.0]),
    "impute": lambda m: m.rows.impute(m.gaps),
    "log_likelihood_missing": lambda m: m.rows.log_likelihood_missing(m.gaps),
    "one sequence: score_samples": lambda m: m.sequences.score_samples(m.frames),
    "one sequence: from_normal": lambda m: m.sequences.from_normal(m.frames),
    "one sequence: gradient": lambda m: m.sequences.log_likelihood_and_gradient(m.frames),
    "one sequence: sample": lambda m: m.sequences.sample(1, 10**6),
    "one sequence: stream": lambda m: m.sequences.stream(m.frames),
    "sequences: score_samples": lambda m: m.sequences.score_samples(m.frames.reshape(300, -1, 8)),
    "sequences: from_normal": lambda m: m.sequences.from_normal(m.frames.reshape(300, -1, 8)),
    "sequences: gradient": lambda m: m.sequences.log_likelihood_and_gradient(m.frames.reshape(300, -1, 8)),
    "sequences: sample": lambda m: m.sequences.sample(300, 10**4),
    "sequences: forecast": lambda m: m.sequences.forecast(m.frames[:100], 10**4, 100),
}


@pytest.fixture(scope="module")
def m():
    rows, _ = Case(D=8, H=300, K=10, R=0, lengths=(1,)).model(FLOAT32, n_jobs=2, missing="marginalize")
    sequences, _ = Case(D=8, H=100, K=10, R=200, cell="lstm", lengths=(1,)).model(FLOAT32, n_jobs=2)
    frames = np.random.default_rng(0).normal(size=(300_000, 8))
    gaps = np.where(np.arange(8) == 3, np.nan, frames[:30_000])
    # What ten thousand tests left is not collected during the calls: an exception of the handler would be lost in it.
    gc.collect()
    gc.freeze()
    yield SimpleNamespace(rows=rows, sequences=sequences, frames=frames, gaps=gaps)
    gc.unfreeze()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
@pytest.mark.parametrize("call", LONG)
def test_a_signal_ends_a_long_call(call, m):
    """An exception of the handler, as of Ctrl-C, comes out soon; the next call is right.

    The signal comes again: what a handler raises while Python cleans up after a weak reference, Python drops."""
    calling, interrupted = True, False

    def handler(*_):
        if calling:
            raise KeyboardInterrupt

    expected = m.rows.score_samples(m.frames[:50]), m.sequences.score_samples(m.frames[:50])
    before = signal.signal(signal.SIGALRM, handler)
    try:
        began = time.thread_time()
        signal.setitimer(signal.ITIMER_REAL, DELAY, AGAIN)
        try:
            LONG[call](m)
        except KeyboardInterrupt:
            interrupted = True
        calling = False
        ended = time.thread_time()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted and ended - began < DELAY + PATIENCE
    found = m.rows.score_samples(m.frames[:50]), m.sequences.score_samples(m.frames[:50])
    assert_same_bits(found, expected)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_a_handler_may_call_the_library(m):
    inside = []
    expected = m.rows.score_samples(m.frames[:50]), m.rows.from_normal(m.frames[:5_000])
    before = signal.signal(signal.SIGALRM, lambda *_: inside.append(m.rows.score_samples(m.frames[:50])))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        found = m.rows.from_normal(m.frames[:5_000])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert inside
    assert_same_bits([*inside, found], [expected[0]] * len(inside) + [expected[1]])
