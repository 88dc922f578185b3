"""The definition: its gradient is the derivative, its densities integrate to one, its draws follow them."""

import numpy as np
import pytest
import reference
from helpers import (
    EDGES,
    EVERY_CONTEXT,
    LAYERED,
    MASKED,
    MIXTURES,
    STEP,
    Case,
    assert_near,
    assert_near_gradient,
    cases,
    complex_step,
    complex_step_gradient,
    dot,
    ids,
    random_direction,
)
from scipy import stats
from scipy.stats import kstest

SCIPY = {
    "gaussian": stats.norm,
    "laplace": stats.laplace,
    "logistic": stats.logistic,
    "student": stats.t,
}  # the same families
TINY = [
    Case(
        D=D,
        H=2,
        K=K,
        R=R,
        lengths=(3, 1, 2),
        head=head,
        activation=activation,
        cell=cell,
        min_scale=min_scale,
    )
    for D, K, head, min_scale in (
        *((D, K, head, min_scale) for head in MIXTURES for D, K, min_scale in ((1, 1, 0.0), (3, 2, 0.1))),
        (3, 1, "bernoulli", 0.0),
    )
    for R, cell in ((0, "sigmoid"), *((2, cell) for cell in reference.CELLS))
    for activation in reference.ACTIVATIONS
] + [Case(D=2, H=1, K=2, R=2, lengths=(4, 1, 2), cell=cell, L=3) for cell in reference.CELLS]


@pytest.mark.parametrize("case", TINY, ids=ids(TINY))
def test_gradient_is_the_derivative_in_every_coordinate(case):
    parameters, sequences = case.make()
    total, gradient = reference.gradient(parameters, sequences, **case.choices)
    assert_near(total, reference.log_density(parameters, sequences, **case.choices), 1e-13)
    exact = complex_step_gradient(lambda p: reference.log_density(p, sequences, **case.choices), parameters)
    assert_near_gradient(gradient, exact, 1e-13)


@pytest.mark.parametrize("cell", reference.CELLS)
@pytest.mark.parametrize("L", [1, 2])
def test_gradient_with_inputs_and_masks_is_the_derivative_in_every_coordinate(cell, L):
    case = Case(D=2, H=2, K=2, R=3, lengths=(4, 1, 2), cell=cell, context=("alpha", "mu", "sigma", "hidden"), L=L)
    parameters, sequences = case.make()
    generator = np.random.default_rng(2)
    inputs = [x + generator.standard_normal(x.shape) for x in sequences]
    masks = [2.0 * generator.integers(0, 2, (len(x), case.R)) for x in sequences]

    def total(p):
        triples = zip(sequences, inputs, masks, strict=True)
        return sum(reference.log_density_dims(p, x, inputs=i, mask=m, **case.choices).sum() for x, i, m in triples)

    found, gradient = reference.gradient(parameters, sequences, inputs=inputs, masks=masks, **case.choices)
    assert_near(found, total(parameters), 1e-13)
    assert_near_gradient(gradient, complex_step_gradient(total, parameters), 1e-13)


@pytest.mark.parametrize("case", (some := EDGES + EVERY_CONTEXT + LAYERED + MASKED + cases(2)), ids=ids(some))
def test_gradient_is_the_derivative_in_a_random_direction(case):
    parameters, sequences = case.make()
    _, gradient = reference.gradient(parameters, sequences, **case.choices)
    direction = random_direction(np.random.default_rng(1), parameters)
    exact = complex_step(lambda p: reference.log_density(p, sequences, **case.choices), parameters, direction)
    norm = np.sqrt(dot(gradient, gradient) * dot(direction, direction))
    assert abs(dot(gradient, direction) - exact) <= 1e-13 * norm


@pytest.mark.parametrize("head", reference.HEADS)
def test_parameters_that_a_model_may_leave_out(head):
    parameters, (x,) = Case(D=3, H=0, K=2, R=0, lengths=(4,), head=head).make()
    left = {name: value for name, value in parameters.items() if name.startswith("b")}
    assert set(left) < set(parameters)
    assert_near(
        reference.log_density_dims(left, x, head=head),
        reference.log_density_dims(parameters, x, head=head),
        0,
    )


def test_density_of_the_second_frame_integrates_to_one():
    parameters, (x,) = Case(D=2, H=3, K=2, R=2, lengths=(2,)).make()
    min_scale = 0.2
    u, step = np.linspace(-2.9, 2.9, 81, retstep=True)  # the trapezoid rule: converges exponentially
    grid, weight = 4 * np.sinh(u), 4 * np.cosh(u) * step
    density = np.zeros((grid.size, grid.size))
    for i, first in enumerate(grid):
        for j, second in enumerate(grid):
            y = np.array([x[0], [first, second]])
            density[i, j] = np.exp(reference.log_density_dims(parameters, y, min_scale=min_scale)[1].sum())
    assert abs(weight @ density @ weight - 1) < 1e-6


def test_probabilities_of_binary_frames_add_up_to_one():
    parameters, (x,) = Case(D=3, H=3, K=1, R=2, lengths=(2,), head="bernoulli").make()
    frames = np.array(np.meshgrid(*[[0.0, 1.0]] * 3)).reshape(3, -1).T
    total = sum(
        np.exp(reference.log_density_dims(parameters, np.array([x[0], y]), head="bernoulli")[1].sum()) for y in frames
    )
    assert abs(total - 1) < 1e-14


@pytest.mark.parametrize("head", MIXTURES)
def test_conditionals_give_the_log_density(head):
    case = Case(D=3, H=4, K=3, R=2, lengths=(6,), head=head, min_scale=0.1)
    parameters, (x,) = case.make()
    alpha, mu, sigma, *shapes = reference.conditionals(parameters, x, **case.choices)
    assert {a.shape for a in (alpha, mu, sigma, *shapes)} == {(6, 3, 3)}
    density = alpha * SCIPY[head].pdf(x[..., None], *shapes, mu, sigma)
    assert_near(np.log(density.sum(-1)), reference.log_density_dims(parameters, x, **case.choices), 1e-13)


@pytest.mark.parametrize("head", MIXTURES)
def test_functions_of_the_families(head):
    family, u = reference.HEADS[head], np.linspace(-7, 7, 57) + 0.01
    shapes = family.shapes((0.0, 0.0, 0.0, 1.2))
    same = SCIPY[head](*shapes)
    assert_near(np.exp(family.log_f(u, *shapes)), same.pdf(u), 1e-14)
    assert_near(family.cdf(u, *shapes), same.cdf(u), 1e-15)
    assert_near(family.minus_slope(u, *shapes), -np.imag(family.log_f(u + 1j * STEP, *shapes)) / STEP, 1e-14)
    draws = [family.deviate(noise, *shapes) for noise in family.noise(np.random.default_rng(0), (1000,))]
    assert kstest(draws, same.cdf).pvalue > 0.01


@pytest.mark.parametrize("head", MIXTURES)
def test_draws_have_uniform_probability_integral_transforms(head):
    case = Case(D=2, H=4, K=3, R=3, lengths=(400,), head=head, min_scale=0.1)
    parameters, _ = case.make()
    generator = np.random.default_rng(0)
    shape = (400, 2)
    noise = reference.HEADS[head].noise(generator, shape)
    x = reference.draw(parameters, 400, generator.random(shape), noise, **case.choices)
    alpha, mu, sigma, *shapes = reference.conditionals(parameters, x, **case.choices)
    pit = (alpha * SCIPY[head].cdf(x[..., None], *shapes, mu, sigma)).sum(-1)
    assert kstest(pit.ravel(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("cell", reference.CELLS)
@pytest.mark.parametrize("head", reference.HEADS)
@pytest.mark.parametrize("L", [1, 2])
def test_a_draw_continues_what_is_given(head, cell, L):
    case = Case(D=2, H=4, K=3, R=3, lengths=(4,), head=head, cell=cell, L=L)
    parameters, _ = case.make()
    generator = np.random.default_rng(0)
    uniforms, noise = generator.random((9, 2)), reference.HEADS[head].noise(generator, (9, 2))
    whole = reference.draw(parameters, 9, uniforms, noise, **case.choices)
    rest = reference.draw(parameters, 5, uniforms[4:], noise[4:], after=whole[:4], **case.choices)
    assert_near(rest, whole[4:], 0)
    followed = reference.draw(parameters, 9, uniforms, noise, follow=whole, **case.choices)
    assert_near(followed, whole, 0)


def test_linear_is_the_inverse_of_its_definition():
    generator = np.random.default_rng(0)
    D, lags = 3, 2
    intercepts = generator.standard_normal((lags + 1, D))
    coefficients = [generator.standard_normal((q, D, D)) / 3 for q in range(lags + 1)]
    factors = np.tril(generator.standard_normal((lags + 1, D, D)))
    factors[:, range(D), range(D)] = generator.uniform(0.5, 2, (lags + 1, D))
    x = generator.standard_normal((6, D))
    e, log_jacobian = reference.linear(x, intercepts, coefficients, factors)
    for t in range(6):
        q = min(t, lags)
        back = intercepts[q] + factors[q] @ e[t] + sum(coefficients[q][i] @ x[t - 1 - i] for i in range(q))
        assert_near(back, x[t], 1e-13)
        assert_near(log_jacobian[t].sum(), -np.linalg.slogdet(factors[q])[1], 1e-13)
    mu, sigma = reference.linear_conditionals(
        x, e[..., None], np.ones((6, D, 1)), intercepts, coefficients, factors
    )  # a component at e itself is at x
    assert_near(mu[..., 0], x, 1e-13)
    assert_near(sigma[0, :, 0], np.diag(factors[0]), 1e-15)
