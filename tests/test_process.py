"""Forks, imports and memory of the process."""

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import FLOAT32, Case, run_child

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
    assert _core.last_team_size() == 3
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
    assert _core.last_team_size() == 3  # the parent goes on as before


def test_importing_changes_nothing():
    code = """
import os, sys, warnings, numpy
before = dict(os.environ), numpy.geterr(), list(warnings.filters), numpy.get_printoptions()
import rnnrnade
assert before == (dict(os.environ), numpy.geterr(), list(warnings.filters), numpy.get_printoptions())
assert not [m for m in ("sklearn", "matplotlib", "pandas", "rnnrnade._core") if m in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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
