"""Ctrl-C at any moment of long calls, and processes killed while they write: nothing is lost, nothing half done."""

import os
import signal
import time
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits
from sklearn.exceptions import ConvergenceWarning

from rnnrnade import RNADE, RNNRNADE
from rnnrnade.io import read_file, write_file

SECONDS = 0.5  # from Ctrl-C to the end of a call
SMALL = {"n_components": 5, "n_hidden": 40, "random_state": 0, "n_jobs": 2}
RNG = np.random.default_rng(0)
ROWS, SEQUENCES = RNG.normal(size=(60_000, 10)), list(RNG.normal(size=(400, 100, 5)))
VECTORS = RNADE(max_epochs=1, missing="marginalize", **SMALL).fit(ROWS[:500])
RECURRENT = RNNRNADE(max_epochs=1, n_recurrent=50, **SMALL).fit(SEQUENCES[:10])
GAPS = np.where(RNG.random((3000, 10)) < 0.2, np.nan, ROWS[:3000])
CALLS = {
    "score_samples": lambda: VECTORS.score_samples(ROWS),
    "from_normal": lambda: VECTORS.from_normal(ROWS),
    "explain": lambda: VECTORS.explain(ROWS),
    "sample": lambda: VECTORS.sample(100_000),
    "impute": lambda: VECTORS.impute(GAPS),
    "gradient": lambda: RECURRENT.log_likelihood_and_gradient(SEQUENCES),
    "score_dims": lambda: RECURRENT.score_dims(SEQUENCES),
    "samples": lambda: RECURRENT.sample(500, 200),
    "partial_fit": lambda: RECURRENT.partial_fit(SEQUENCES),
    "fit": lambda: RECURRENT.fit(SEQUENCES),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("n", [1, pytest.param(30, marks=pytest.mark.full)])
@pytest.mark.parametrize("call", CALLS)
def test_interrupts(call, n):
    """A timer in the place of Ctrl-C: the call ends soon, and the estimator is as it was, or fitted as a whole.

    It comes again: what a handler raises while Python cleans up after a weak reference, Python drops."""
    calling = False
    rng, few = np.random.default_rng(n), SEQUENCES[:3]
    fired = []

    def interrupt(number, frame):
        if calling:
            fired.append(time.monotonic())
            raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(n):
            before = VECTORS.score_samples(ROWS[:20]), RECURRENT.score_samples(few)
            fired.clear()
            completed = False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that was interrupted says so, and returns
                try:
                    calling = True
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.3), 0.2)
                    CALLS[call]()
                    completed = True
                except KeyboardInterrupt:
                    pass
                calling = False
                signal.setitimer(signal.ITIMER_REAL, 0)
            ended = time.monotonic()
            assert not fired or ended - fired[0] < SECONDS
            assert_same_bits(VECTORS.score_samples(ROWS[:20]), before[0], "vectors")
            if not completed:
                assert_same_bits(RECURRENT.score_samples(few), before[1], "sequences")
            assert np.isfinite(RECURRENT.score_samples(few)).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("n", [10, pytest.param(200, marks=pytest.mark.full)])
def test_kills(n, tmp_path):
    """kill -9 at any moment of writing: the file is whole, and the next writing leaves nothing beside it."""
    rng, path, arrays = np.random.default_rng(n), tmp_path / "model", {"a": np.ones(300_000)}
    write_file(path, "Toy", {"n": -1}, arrays)
    for i in range(n):
        child = os.fork()
        if not child:
            try:
                while True:
                    write_file(path, "Toy", {"n": i}, arrays)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert -1 <= read_file(path).state["n"] <= i
    write_file(path, "Toy", {"n": n}, arrays)
    assert read_file(path).state == {"n": n} and os.listdir(tmp_path) == ["model"]
