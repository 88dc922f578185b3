"""No call of the compiled core writes beside its outputs, into padding, or into its inputs."""

import numpy as np
import pytest
from helpers import DTYPES, EDGES, FLOAT64, GATED, LARGE, LAYERED, MASKED, MIXTURES, Case, Guarded, cases, ids

from rnnrnade import _core
from rnnrnade.heads import HEADS
from rnnrnade.layout import CELLS

# Sizes that are no multiple of any tile.
ODD = [
    Case(D=17, H=33, K=3, R=19, lengths=(40, 33, 1), context=("alpha", "sigma", "hidden")),
    Case(D=3, H=5, K=2, R=4, lengths=(5, 2, 7)),
    Case(D=9, H=0, K=1, R=17, lengths=(12, 3), cell="tanh", context=("mu",)),
    Case(D=9, H=3, K=1, R=17, lengths=(12, 3), cell="gru", context=("mu", "hidden")),
    Case(D=3, H=5, K=2, R=7, lengths=(12, 3, 1), cell="lstm", context=("mu", "hidden")),
    Case(D=1, H=1, K=1, R=0, lengths=(70,)),
    Case(D=10, H=50, K=1, R=33, lengths=(64, 1), head="bernoulli", cell="lstm"),
    Case(D=10, H=50, K=1, R=33, lengths=(64, 1), head="bernoulli"),
    *(Case(D=3, H=5, K=3, R=4, lengths=(5, 2, 7), head=h, cell="gru", context=("mu", "hidden")) for h in MIXTURES),
]
MANY = EDGES + GATED + LAYERED + MASKED + LARGE + cases(3, seed=2)
SOME = [case for case in MANY if case.D * np.max(case.H) < 5000] + ODD
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@dtypes
@pytest.mark.parametrize("case", SOME, ids=ids(SOME))
def test_nothing_is_written_beside_the_outputs(case, dtype, row):
    model, x, offsets = case.core(dtype)
    layout, M, N = model.layout, len(x), len(offsets) - 1
    batch = model._batch(x, offsets)
    for n_threads in (1, 3):
        with Guarded(model.theta, x, offsets) as guard:
            frames, dims = guard.array("frames", M, FLOAT64), guard.array("dims", (M, case.D), FLOAT64)
            parameters = guard.array("parameters", (M, case.D, layout.P), dtype)
            last = guard.array("last", (N, layout.Sp), dtype) if case.R else None
            _core.forward(model.network, model.theta, batch, frames, dims, parameters, last, n_threads)
        with Guarded(model.theta, x, offsets) as guard:
            frames, gradient = guard.array("frames", M, FLOAT64), guard.array("gradient", layout.size, dtype)
            weight = np.ones(M, dtype)
            _core.gradient(model.network, gradient, frames, model.theta, batch, weight, n_threads)
    generator = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        uniform, normal = HEADS[case.head].numbers(generator, (n, 3, case.D), dtype)
        with Guarded(model.theta, uniform, normal) as guard:
            draws = guard.array("draws", (n, 3, layout.X), dtype)
            draws[..., : case.given] = 1
            state = guard.array("state", (n, layout.Sp), dtype) if case.R else None
            if case.R:
                state[...] = model.initial_state(n)
            _core.sample(model.network, draws, model.theta, uniform, normal, state, 2)


@pytest.mark.parametrize("cell", CELLS)
@dtypes
def test_padding_of_parameters_gets_no_gradient(row, dtype, cell):
    case = Case(D=5, H=7, K=3, R=9, lengths=(25, 15), cell=cell, context=("alpha", "sigma", "hidden"))
    model, x, offsets = case.core(dtype)
    gradient, _ = model.gradient(x, offsets, np.ones(len(x), dtype))
    named = np.zeros(model.layout.size, bool)
    for view in model.layout.views(named).values():
        view[...] = True
    assert (gradient[~named] == 0).all()
    assert (gradient[named] != 0).any()
