# Each target makes its own virtual environment in .venv and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := setup.py pyproject.toml $(wildcard rnnrnade/*.pyx rnnrnade/*.pxd rnnrnade/core/* rnnrnade/kernels/*)

.PHONY: demo test test-full docs dist aarch64 sanitize bench experiments lint format clean

# make demo: install, train on real speech for at most a minute, print a table, write pictures into demo/
demo: .venv/installed-demo
	$(BIN)/rnnrnade demo

# make test: the test suite; the laws at small counts
test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not full"

# make test-full: the laws at their full counts
test-full: .venv/installed-dev
	$(BIN)/python -m pytest -m full

# make docs: the documentation, its examples run, into docs/_build/html; any warning is an error
docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# make dist: the source distribution and a wheel made from it, into dist/.  The wheel is installed in an environment of its
# own, with what it asks for to read tables, and the main tests run against it where there are no sources.
DIST_TESTS = kernels gradient batches io training sklearn cli process doctests
dist: .venv/bin/python
	rm -rf dist
	$(BIN)/python -m pip install --quiet build
	CFLAGS="-Wall -Wextra -Werror" $(BIN)/python -m build --outdir dist
	$(PYTHON) tools/check_wheel.py dist/*.whl
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/pip install --quiet "$$(echo dist/*.whl)[data]" pytest
	tar xzf dist/*.tar.gz -C dist --strip-components=1 --wildcards --no-wildcards-match-slash "*/pyproject.toml" "*/README.md" "*/docs" "*/tests"
	cd dist && venv/bin/pytest -q -m "not full" $(DIST_TESTS:%=tests/test_%.py)

# make aarch64: the library for AArch64, by a cross compiler, and the tests of its C kernels under emulation, which is
# slow; see the script
aarch64: .venv/bin/python
	$(BIN)/python -m pip install --quiet "cython>=3.1" "setuptools>=77"
	tools/aarch64.sh $(BIN)/python test_functions.py test_kernels.py -k base

# make sanitize: the test suite under the address and undefined-behaviour sanitizers (GCC).  Left out are the tests of
# resident memory, since the sanitizer keeps what is freed, of the time until a signal ends a call, and one that starts
# worker processes, which after all the others waited for ever for them; leaks are not looked for, since Python's own
# would be found.
sanitize: .venv-sanitize/installed
	cd tests && LD_PRELOAD="$$(gcc -print-file-name=libasan.so):$$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	../.venv-sanitize/bin/pytest -m "not full" -k "not constant_memory and not memory_does_not_grow \
	and not three_times_the_memory and not ends_a_long_call and not worker_processes"

.venv-sanitize/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-sanitize
	rm -rf build
	CFLAGS="-g -fsanitize=address,undefined -fno-sanitize-recover=undefined" LDFLAGS="-fsanitize=address,undefined" \
	.venv-sanitize/bin/python -m pip install --quiet ".[dev]"
	touch $@

# make bench: the short benchmark of speed against torch and JAX, under ten minutes after installation
bench: .venv/installed-bench
	$(BIN)/python -m benchmarks.speed --short

# make experiments: all experiments of docs/experiments.md at a reduced size, under 15 minutes after installation;
# the sizes that are published: .venv/bin/python -m benchmarks.quality --full
experiments: .venv/installed-bench
	$(BIN)/python -m benchmarks.quality

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
	rm -rf .aarch64 .venv .venv-sanitize build dist demo docs/_build docs/api docs/gallery rnnrnade/*.so *.egg-info
