"""Random calls with random arguments (fuzz.py): numbers, or an exception that says what was wrong; no crash."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("n, seed", [(500, 0), pytest.param(30_000, 1, marks=pytest.mark.full)])
def test_strange_calls(n, seed):
    """In a process of its own, which may die, with a limit of memory."""
    script = Path(__file__).with_name("fuzz.py")
    child = subprocess.run([sys.executable, script, str(n), str(seed)], capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr[-3000:]
