import pytest


def pytest_generate_tests(metafunc):
    """A test that takes `row` runs once for each row of the table of kernels that this machine can run."""
    if "row" in metafunc.fixturenames:
        from rnnrnade import _core

        metafunc.parametrize("row", list(_core.kernel_row_names()), indirect=True)


@pytest.fixture
def row(request):
    """The name of a row of the table of kernels, in use while the test runs."""
    from rnnrnade import _core

    with _core.use_kernels(request.param):
        yield request.param


@pytest.fixture
def all_threads():
    """Even small work starts as many threads as `n_jobs` says while the test runs."""
    from rnnrnade import _core

    with _core.use_all_threads():
        yield


@pytest.fixture
def validated_after_each_epoch(monkeypatch):
    """Validation after each epoch: of small data an epoch is one or two updates, and validation waits for twenty."""
    from rnnrnade import training

    monkeypatch.setattr(training, "AT_LEAST", 1)
