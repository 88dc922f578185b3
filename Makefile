# Each target makes its own virtual environment in .venv and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := setup.py pyproject.toml $(wildcard rnnrnade/*.pyx rnnrnade/*.pxd rnnrnade/*.pxi rnnrnade/kernels/*)

.PHONY: demo test test-full bench lint format clean

# make demo: install, train on real speech for at most a minute, print a table, write pictures into demo/
demo: .venv/installed-demo
	$(BIN)/rnnrnade demo

# make test: the test suite; the laws at small counts
test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not full"

# make test-full: the laws at their full counts
test-full: .venv/installed-dev
	$(BIN)/python -m pytest -m full

# make bench: the short benchmark of speed against torch and JAX, under ten minutes after installation
bench: .venv/installed-bench
	$(BIN)/python -m benchmarks.speed --short

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

# Rebuilt when a source of the compiled module changes; setuptools would keep stale objects, so build/ goes first.
.venv/installed-%: .venv/bin/python $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv build demo rnnrnade/*.so *.egg-info
