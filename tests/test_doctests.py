"""The examples of the docstrings and of the README run and print what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import rnnrnade

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
README = Path(__file__).parents[1] / "README.md"
MODULES = ["rnnrnade"] + [
    module.name
    for module in pkgutil.walk_packages(rnnrnade.__path__, "rnnrnade.")
    if not module.name.endswith("__main__")  # importing it is running it
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Examples that write files write them here, and pictures need no screen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert failed == 0


@pytest.mark.parametrize("name", ["RNADE", "NADE", "RNNRNADE", "RNNNADE", "Linear", "OutlierDetector"])
def test_every_estimator_has_an_example(name):
    assert doctest.DocTestFinder(recurse=False).find(getattr(rnnrnade, name))[0].examples


@pytest.mark.skipif(not README.exists(), reason="no README.md beside the tests")
def test_examples_of_the_readme():
    failed, attempted = doctest.testfile(str(README), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert attempted > 0, "the README has no example"
    assert failed == 0
