"""No call of the compiled core writes a byte before or behind its outputs, or into its inputs."""

from contextlib import contextmanager

import numpy as np
import pytest
from helpers import MIXTURES

from rnnrnade import _core
from rnnrnade.layout import CELLS, Layout, initial_parameters
from rnnrnade.model import Model

GUARD = 64  # numbers before and behind
PATTERN = -12345.0  # of what must stay

# (head, D, H, K, R, cell, context, lengths): sizes that are no multiple of any tile
CASES = [
    ("gaussian", 3, 5, 2, 4, "sigmoid", ("alpha", "mu", "sigma"), (5, 2, 7)),
    ("gaussian", 17, 33, 3, 19, "sigmoid", ("alpha", "sigma", "hidden"), (40, 33, 1)),
    ("gaussian", 9, 0, 1, 17, "tanh", ("mu",), (12, 3)),
    ("gaussian", 9, 3, 1, 17, "gru", ("mu", "hidden"), (12, 3)),
    ("gaussian", 3, 5, 2, 7, "lstm", ("mu", "hidden"), (12, 3, 1)),
    ("gaussian", 1, 1, 1, 0, "sigmoid", (), (1,) * 70),
    *((head, 3, 5, 3, 4, "gru", ("mu", "hidden"), (5, 2, 7)) for head in MIXTURES if head != "gaussian"),
    ("bernoulli", 10, 50, 1, 33, "lstm", ("bias", "hidden"), (64, 1)),
    ("bernoulli", 10, 50, 1, 33, "sigmoid", ("bias", "hidden"), (64, 1)),
]


class Guarded:
    """Arrays in the middle of larger ones whose ends must stay as they are."""

    def __init__(self):
        self.whole = []

    def array(self, shape, dtype):
        size = int(np.prod(shape))
        whole = np.full(size + 2 * GUARD, PATTERN, dtype)
        self.whole.append((whole, size))
        return whole[GUARD : GUARD + size].reshape(shape)

    def check(self):
        for whole, size in self.whole:
            assert (whole[:GUARD] == PATTERN).all()
            assert (whole[GUARD + size :] == PATTERN).all()


@contextmanager
def guarded(*inputs):
    before = [array.copy() for array in inputs]
    guard = Guarded()
    yield guard
    guard.check()
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_stay_inside_their_arrays(row, case, dtype):
    head, D, H, K, R, cell, context, lengths = case
    lay = Layout(head, D, H, K, R, cell=cell, context=context)
    generator = np.random.default_rng(0)
    model = Model(lay, initial_parameters(lay, generator, np.dtype(dtype)))
    M, N = sum(lengths), len(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    x = (generator.random((M, D)) < 0.5).astype(dtype)
    batch = model._batch(x, offsets)
    inputs = (model.theta, x, offsets)
    with guarded(*inputs) as guard:
        frames, dims = guard.array(M, np.float64), guard.array((M, D), np.float64)
        parameters = guard.array((M, D, lay.P), dtype)
        last = guard.array((N, lay.Sp), dtype) if R else None
        for n_threads in (1, 3):
            _core.forward(model.network, model.theta, batch, frames, dims, parameters, last, n_threads)
        assert np.isfinite(frames).all() and np.isfinite(dims).all() and np.isfinite(parameters).all()
    with guarded(*inputs) as guard:
        frames, gradient = guard.array(M, np.float64), guard.array(lay.size, dtype)
        weight = np.ones(M, dtype)
        for n_threads in (1, 3):
            _core.gradient(model.network, gradient, frames, model.theta, batch, weight, n_threads)
        assert np.isfinite(gradient).all() and np.isfinite(frames).all()
    for n in (1, 2, 40):
        uniform = generator.random((n, 3, D)).astype(dtype)
        normal = generator.standard_normal((n, 3, D)).astype(dtype)
        with guarded(model.theta, uniform, normal) as guard:
            sample = guard.array((n, 3, D), dtype)
            state = guard.array((n, lay.Sp), dtype) if R else None
            if R:
                state[...] = model.initial_state(n)
            _core.sample(model.network, sample, model.theta, uniform, normal, state, 2)
            assert np.isfinite(sample).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_padding_of_parameters_gets_no_gradient(row, dtype, cell):
    lay = Layout("gaussian", 5, 7, 3, 9, cell=cell, context=("alpha", "sigma", "hidden"))
    model = Model(lay, initial_parameters(lay, np.random.default_rng(0), np.dtype(dtype)))
    x = np.random.default_rng(1).normal(size=(40, 5)).astype(dtype)
    gradient, _ = model.gradient(x, np.array([0, 25, 40]), np.ones(40, dtype))
    named = np.zeros(lay.size, bool)
    for view in lay.views(named).values():
        view[...] = True
    assert (gradient[~named] == 0).all()
    assert (gradient[named] != 0).any()
