"""`log_likelihood_and_gradient` in float64 is the derivative of the log-likelihood to 1e-8 of its value.

At tiny sizes every coordinate, against complex steps through the definition. At real sizes random directions,
against the package's own log-likelihood by extrapolated central differences and against the definition.
"""

from functools import cache

import numpy as np
import pytest
import reference
from helpers import (
    DTYPES,
    MIXTURES,
    TOLERANCE,
    Case,
    assert_near,
    assert_near_gradient,
    assert_same_bits,
    central_difference,
    complex_step,
    complex_step_gradient,
    dot,
    ids,
    listed,
    random_direction,
    team_of,
    valid,
)

import rnnrnade
from rnnrnade import _core

TINY = [
    valid(
        Case(
            D=D,
            H=H,
            K=K,
            R=R,
            lengths=(3, 1, 2),
            head=head,
            activation=activation,
            cell=cell,
            context=context,
        )
    )
    for D, H, K, head, context in (
        (1, 1, 1, "gaussian", None),
        (3, 2, 2, "gaussian", None),
        (3, 0, 2, "gaussian", None),
        (3, 2, 1, "bernoulli", None),
        *((2, 2, 2, head, None) for head in MIXTURES if head != "gaussian"),
    )
    for R, cell in ((0, "sigmoid"), *((2, cell) for cell in reference.CELLS))
    for activation in reference.ACTIVATIONS
] + [
    Case(
        D=2,
        H=3,
        K=2,
        R=3,
        lengths=(4, 1),
        context=("alpha", "mu", "sigma", "hidden"),
        cell="tanh",
        min_scale=0.1,
    ),
    Case(D=2, H=3, K=2, R=3, lengths=(4, 1), context=("hidden",), activation="relu", min_scale=1e-3),
    *(Case(D=3, H=2, K=2, R=2, lengths=(4, 1, 2), cell=cell, L=3) for cell in reference.CELLS),
]

REAL = [
    Case(D=12, H=50, K=10, R=100, lengths=(9, 14), min_scale=1e-3),
    Case(D=12, H=50, K=10, R=100, lengths=(9, 14), cell="tanh", context=("alpha", "mu", "sigma", "hidden")),
    Case(D=12, H=20, K=3, R=50, lengths=(9, 14), cell="gru", context=("alpha", "mu", "sigma", "hidden")),
    Case(D=12, H=20, K=3, R=50, lengths=(9, 14), cell="lstm", context=("alpha", "mu", "sigma", "hidden")),
    *(Case(D=12, H=20, K=3, R=50, lengths=(9, 14), cell=cell, L=2) for cell in reference.CELLS),
    Case(D=12, H=50, K=10, R=0, lengths=(30,), min_scale=1e-3),
    Case(D=88, H=50, K=1, R=100, lengths=(9, 14), head="bernoulli"),
]
OTHERS = [  # not against differences of the log-likelihood: some densities have kinks between two of its arguments
    Case(D=12, H=20, K=5, R=30, lengths=(9, 14), head=head, min_scale=1e-3) for head in MIXTURES if head != "gaussian"
]


def reference_total(case):
    _, sequences = case.make()
    return lambda p: reference.log_density(p, sequences, **case.choices)


@cache
def exact_gradient(case):
    return complex_step_gradient(reference_total(case), case.make()[0])


@cache
def exact_directions(case, n=3):
    """Random directions and the derivatives along them."""
    parameters, _ = case.make()
    generator = np.random.default_rng(0)
    directions = [random_direction(generator, parameters) for _ in range(n)]
    return [(d, complex_step(reference_total(case), parameters, d)) for d in directions]


@pytest.mark.parametrize("case", TINY, ids=ids(TINY))
def test_every_coordinate_at_tiny_sizes(case, row):
    model, X = case.model()
    _, gradient = model.log_likelihood_and_gradient(X)
    parameters, _ = case.make()
    assert set(gradient) == set(parameters)
    exact = exact_gradient(case)
    for name, value in exact.items():
        assert gradient[name].shape == value.shape
        error = np.abs(gradient[name] - value)
        floor = 1e-4 * max(1.0, np.max(np.abs(value), initial=0.0))  # a coordinate that is zero but for rounding
        assert np.all(error <= TOLERANCE["derivative"] * np.maximum(np.abs(value), floor)), name


@pytest.mark.parametrize("case", REAL + OTHERS, ids=ids(REAL + OTHERS))
def test_random_directions_at_real_sizes_against_the_definition(case, row):
    model, X = case.model()
    _, gradient = model.log_likelihood_and_gradient(X)
    for direction, exact in exact_directions(case):
        assert abs(dot(gradient, direction) - exact) <= TOLERANCE["derivative"] * abs(exact)


def check_against_the_log_likelihood(case, directions):
    model, X = case.model()
    _, gradient = model.log_likelihood_and_gradient(X)
    parameters, _ = case.make()

    def total(p):
        moved = getattr(rnnrnade, case.estimator_name).from_parameters(p, dtype="float64", **case.options)
        return float(np.sum(np.concatenate(listed(moved.score_dims(X)))))

    for name, direction in directions(parameters):
        size = np.sqrt(dot(direction, direction))
        direction = {n: d / size for n, d in direction.items()}
        numerical = central_difference(total, parameters, direction)
        assert abs(dot(gradient, direction) - numerical) <= TOLERANCE["derivative"] * abs(numerical), name


@pytest.mark.parametrize("case", REAL, ids=ids(REAL))
def test_random_directions_at_real_sizes_against_the_log_likelihood(case, row):
    generator = np.random.default_rng(0)
    check_against_the_log_likelihood(case, lambda p: [("all", random_direction(generator, p)) for _ in range(2)])


@pytest.mark.full
@pytest.mark.parametrize("case", REAL, ids=ids(REAL))
def test_random_directions_of_each_parameter_against_the_log_likelihood(case, row):
    def directions(parameters):
        generator = np.random.default_rng(0)
        for name in parameters:
            direction = random_direction(generator, parameters)
            yield name, {n: (d if n == name else np.zeros(d.shape)) for n, d in direction.items()}

    check_against_the_log_likelihood(case, directions)


# ---- other inputs of the recurrence, and masks of its states --------------------------------------------------------

MASKED = [
    Case(D=3, H=4, K=2, R=17, lengths=(4, 1, 40), cell=cell, context=("alpha", "sigma", "hidden"), L=L)
    for cell in reference.CELLS
    for L in (1, 2)
] + [Case(D=9, H=3, K=1, R=5, lengths=(4, 9), head="bernoulli")]


def inputs_and_mask(case, model, x, dtype):
    """What the recurrence reads, (M, D), and the factors of the states: of width Rp, and (M, R)."""
    generator = np.random.default_rng(5)
    inputs = (x + generator.standard_normal(x.shape)).astype(dtype)
    mask = np.zeros((len(x), model.layout.Rp), dtype)
    mask[:, : case.R] = 2.0 * (generator.random((len(x), case.R)) < 0.5)
    return inputs, mask, mask[:, : case.R]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MASKED, ids=ids(MASKED))
def test_inputs_and_masks_equal_the_definition(case, dtype, row):
    model, x, offsets = case.core(dtype)
    parameters, sequences = case.make(dtype)
    inputs, mask, factors = inputs_and_mask(case, model, x, dtype)
    weight = np.ones(len(x), dtype)
    plain = model.gradient(x, offsets, weight)
    split = [np.split(array, offsets[1:-1]) for array in (inputs, factors)]
    for chosen, expected_choice in (
        ({"inputs": inputs}, {"inputs": split[0]}),
        ({"mask": mask}, {"masks": split[1]}),
        ({"inputs": inputs, "mask": mask}, {"inputs": split[0], "masks": split[1]}),
    ):
        gradient, frames = model.gradient(x, offsets, weight, **chosen)
        total, expected = reference.gradient(parameters, sequences, **expected_choice, **case.choices)
        assert_near(frames.sum(), total, TOLERANCE["score"][dtype], "total")
        assert_near_gradient(model.layout.views(gradient), expected, TOLERANCE["gradient"][dtype])
        assert np.any(gradient != plain[0])
    ones = np.ones_like(mask)
    assert_same_bits(model.gradient(x, offsets, weight, inputs=x.copy(), mask=ones), plain, "nothing changed")


@pytest.mark.parametrize("case", MASKED, ids=ids(MASKED))
def test_threads_leave_the_bits_of_a_gradient_with_inputs_and_masks(case, all_threads):
    model, x, offsets = case.core("float32")
    inputs, mask, _ = inputs_and_mask(case, model, x, "float32")
    weight, expected = np.ones(len(x), "float32"), None
    for n_threads in (1, 2, 3, 4, 8, 16):
        found = model.gradient(x, offsets, weight, inputs=inputs, mask=mask, n_threads=n_threads)
        assert _core.last_team_size() == team_of(n_threads)
        expected = expected or found
        assert_same_bits(found, expected, f"{n_threads} threads")
