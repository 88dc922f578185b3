"""Every row of the table of kernels, in both types, against the definition in reference.py."""

import os
import subprocess
import sys

import numpy as np
import pytest
import reference
from helpers import (
    DTYPES,
    EDGES,
    EVERY_CONTEXT,
    FLOAT64,
    GATED,
    GIVEN,
    LARGE,
    LAYERED,
    MASKED,
    MIXTURES,
    SHARED,
    TOLERANCE,
    Case,
    assert_near,
    assert_near_gradient,
    assert_same_bits,
    cases,
    expected_dims,
    expected_gradient,
    ids,
    listed,
)

import rnnrnade.conditioners
import rnnrnade.heads
import rnnrnade.layout
from rnnrnade import _core
from rnnrnade.layout import Layout
from rnnrnade.model import Model

SOME = EDGES + EVERY_CONTEXT + GATED + LAYERED + SHARED + MASKED + GIVEN + cases(5)
MANY = LARGE + cases(150, seed=1)

some = pytest.mark.parametrize("case", SOME, ids=ids(SOME))
many = pytest.mark.parametrize("case", MANY, ids=ids(MANY))
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def check_score(case, dtype):
    model, X = case.model(dtype)
    expected = listed(case.X(expected_dims(case, dtype)))
    for found, dims in zip(listed(model.score_dims(X)), expected, strict=True):
        assert_near(found, dims, TOLERANCE["score"][dtype], "log p")


def check_gradient(case, dtype):
    model, X = case.model(dtype)
    total, gradient = model.log_likelihood_and_gradient(X)
    expected_total, expected = expected_gradient(case, dtype)
    assert_near(total, expected_total, TOLERANCE["score"][dtype], "total")
    assert_near_gradient(gradient, expected, TOLERANCE["gradient"][dtype])


@dtypes
@some
def test_score_dims_equals_the_definition(case, dtype, row):
    check_score(case, dtype)


@dtypes
@some
def test_conditionals_equal_the_definition(case, dtype, row):
    model, X = case.model(dtype)
    parameters, sequences = case.make(dtype)
    expected = [reference.conditionals(parameters, x, **case.choices) for x in sequences]
    if not case.mixture:
        expected = [(p,) for p in expected]
    names = ("alpha", "mu", "sigma", "nu")[: len(expected[0])] if case.mixture else ("p",)
    found = model.predict_params(X)
    for name, part, values in zip(names, found, zip(*expected, strict=True), strict=True):
        for one, value in zip(listed(part), listed(case.X(values)), strict=True):
            assert np.isnan(one[:, : case.given]).all()  # has no conditional
            assert_near(one[:, case.given :], value[:, case.given :], TOLERANCE["score"][dtype], name)


@dtypes
@some
def test_gradient_equals_the_definition(case, dtype, row):
    check_gradient(case, dtype)


def check_sample(case, dtype, n=19, n_frames=4):
    """Each number is what the definition draws given the numbers before it, up to the first that the type cannot hold:
    rectified units that nobody trained can run away, the sooner the heavier the tails of the noise."""
    model, _, _ = case.core(dtype)
    parameters, _ = case.make(dtype)
    generator = np.random.default_rng(case.seed)
    uniforms = generator.random((n, n_frames, case.D)).astype(dtype)
    noise = reference.HEADS[case.head].noise(generator, (n, n_frames, case.D)).astype(dtype)
    flat, u = noise.reshape(n, n_frames, -1), generator.standard_normal((n, n_frames, case.given)).astype(dtype)
    draws, largest = model.sample(uniforms, flat, given=u), np.finfo(dtype).max
    assert draws.shape == (n, n_frames, case.given + case.D) and draws.dtype == dtype
    for i in (0, n - 1):
        with np.errstate(over="ignore", invalid="ignore"):
            known = {"follow": draws[i], "u": u[i]}
            expected = reference.draw(parameters, n_frames, uniforms[i], noise[i], **known, **case.choices)
        # Frames of a static model do not know of each other.
        for piece in [slice(None)] if case.R else [slice(t, t + 1) for t in range(n_frames)]:
            found, desired = draws[i][piece].ravel(), expected[piece].ravel()
            held = np.abs(desired) <= largest
            n_held = held.size if held.all() else held.argmin()
            assert_near(found[:n_held], desired[:n_held], TOLERANCE["sample"][dtype], "x")
            assert not (np.abs(found[n_held : n_held + 1]) < np.sqrt(largest)).any()  # the kernels cut the scale
    finite = np.isfinite(draws).all(axis=2)
    assert (finite.all(axis=1) if case.R else finite).mean() > 0.5  # most are compared to their end
    for few in (1, 2, 7, 8, 9):  # few sequences go another way through the kernels, to the same bits
        found, expected = model.sample(uniforms[:few], flat[:few], given=u[:few]), draws[:few]
        overflown = np.isnan(expected)
        assert np.array_equal(np.isnan(found), overflown)
        assert_same_bits(np.where(overflown, 0, found), np.where(overflown, 0, expected), f"{few} alone")


@dtypes
@some
def test_sample_equals_the_definition(case, dtype, row):
    check_sample(case, dtype)


@pytest.mark.full
@dtypes
@many
def test_many_scores_equal_the_definition(case, dtype, row):
    check_score(case, dtype)


@pytest.mark.full
@dtypes
@many
def test_many_gradients_equal_the_definition(case, dtype, row):
    check_gradient(case, dtype)


@pytest.mark.full
@dtypes
@many
def test_many_samples_equal_the_definition(case, dtype, row):
    check_sample(case, dtype)


@dtypes
@pytest.mark.parametrize("head", MIXTURES)
@pytest.mark.parametrize("size", [30.0, 1e3])
def test_outliers_keep_their_digits(size, head, dtype, row):
    """A frame far from every component, where float32 could lose what comes after it."""
    context = ("alpha", "mu", "sigma", "hidden")
    case = Case(D=9, H=7, K=3, R=4, lengths=(6, 3), head=head, context=context, min_scale=1e-3)
    model, X = case.model(dtype)
    parameters, _ = case.make(dtype)
    for x in X:
        x[1, 2] = size
        x[-1, 5] = -size
    for found, x in zip(model.score_dims(X), X, strict=True):
        expected = reference.log_density_dims(parameters, x, **case.choices)
        assert np.min(expected) < (-np.log(size) if head == "student" else -size / 10)
        assert_near(found, expected, 10 * TOLERANCE["score"][dtype], "log p")
    total, gradient = model.log_likelihood_and_gradient(X)
    expected_total, expected = reference.gradient(parameters, X, **case.choices)
    assert_near(total, expected_total, 10 * TOLERANCE["score"][dtype], "total")
    assert_near_gradient(gradient, expected, 10 * TOLERANCE["gradient"][dtype])


@dtypes
def test_saturated_units_and_vanishing_components(dtype, row):
    """Raw outputs so large that exp of them overflows: log-sum-exp and sigmoid must not."""
    for head in reference.HEADS:
        case = Case(D=3, H=5, K=4, R=3, lengths=(5, 2), head=head, min_scale=0.1 * (head in MIXTURES))
        model, X = case.model(dtype)
        parameters, _ = case.make(dtype)
        for name in ("c", "b_r", "b_alpha", "b"):
            if name in parameters:
                parameters[name] *= parameters[name].dtype.type(300)
        model = type(model).from_parameters(parameters, dtype=dtype, **case.options)
        for found, x in zip(model.score_dims(X), X, strict=True):
            expected = reference.log_density_dims(parameters, x, **case.choices)
            assert_near(found, expected, 10 * TOLERANCE["score"][dtype], "log p")
        _, gradient = model.log_likelihood_and_gradient(X)
        _, expected = reference.gradient(parameters, X, **case.choices)
        assert_near_gradient(gradient, expected, 10 * TOLERANCE["gradient"][dtype])


@dtypes
@pytest.mark.parametrize("head", MIXTURES)
def test_slopes_keep_their_digits_near_and_far(head, dtype, row):
    """A standard component: the gradient by its mu is minus the slope of log f, to relative precision, 0 at 0."""
    x = np.array([0.0, 1e-30, 1e-8, 1e-3, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0, 20.0, 100.0, 1e4], dtype)
    x = np.concatenate([x, -x])[:, None]
    layout = rnnrnade.layout.Layout(head, D=1, H=0, K=1)
    model = Model(layout, np.zeros(layout.size, dtype))
    family = reference.HEADS[head]
    shapes = family.shapes((0.0, 0.0, 0.0, 0.0))
    for weight, u in zip(np.eye(len(x), dtype=dtype), np.float64(x[:, 0]), strict=True):
        gradient, _ = model.gradient(x, np.arange(len(x) + 1), weight)
        views, s = layout.views(gradient), family.minus_slope(u, *shapes)
        assert abs(views["b_mu"][0, 0] - s) <= 8 * np.finfo(dtype).eps * abs(s)
        assert_near(views["b_sigma"][0, 0], s * u - 1, 8 * np.finfo(dtype).eps)


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_environment_variable_forces_a_row(row):
    code = "from rnnrnade import _core; print(_core.row_in_use())"
    assert python(code, RNNRNADE_ISA=row).stdout.strip() == row


def test_an_unknown_row_is_refused_with_the_list_of_rows():
    done = python("from rnnrnade import _core", RNNRNADE_ISA="v9")
    assert done.returncode != 0
    for name in (*_core.kernel_row_names(), "v9", "RNNRNADE_ISA"):
        assert name in done.stderr.splitlines()[-1]


def test_the_plain_row_and_a_row_in_c_are_there():
    rows = _core.kernel_row_names()
    assert "plain" in rows and "base" in rows
    assert rows[0] == _core.row_in_use() or "RNNRNADE_ISA" in os.environ


def test_the_definition_has_every_member_of_the_lists():
    for what, ours, defined in (
        ("head", rnnrnade.heads.HEADS, reference.HEADS),
        ("cell", rnnrnade.layout.CELLS, reference.CELLS),
        ("conditioner", rnnrnade.conditioners.CONDITIONERS, reference.CONDITIONERS),
        ("activation", rnnrnade.layout.ACTIVATIONS, reference.ACTIVATIONS),
    ):
        assert set(ours) == set(defined), f"write each {what} by hand in tests/reference.py: {set(ours) ^ set(defined)}"


def test_the_lists_in_python_are_those_of_the_core():
    for ours, places in (
        (rnnrnade.heads.HEADS, _core.HEADS),
        (rnnrnade.conditioners.CONDITIONERS, _core.CONDITIONERS),
        (rnnrnade.layout.CELLS, _core.CELLS),
        (rnnrnade.layout.ACTIVATIONS, _core.ACTIVATIONS),
    ):
        assert set(ours) == set(places) and sorted(places.values()) == list(range(len(places)))
    assert set(_core.FAMILIES) == {name for name, head in rnnrnade.heads.HEADS.items() if head.mixture}


@dtypes
@pytest.mark.parametrize("head", reference.HEADS)
def test_not_a_number_goes_through_into_its_own_frame(head, dtype, row):
    model, x, offsets = Case(D=5, H=3, K=3, R=0, lengths=(1,) * 40, head=head).core(dtype)
    y = x.copy()
    y[7, 2] = np.nan
    dims, expected = (model.log_density(frames, offsets, dims=True).dims for frames in (y, x))
    assert np.isnan(dims[7, 2:]).all()
    assert_same_bits(dims[7, :2], expected[7, :2])
    assert_same_bits(np.delete(dims, 7, 0), np.delete(expected, 7, 0))
    gradient, _ = model.gradient(y, offsets, np.ones(len(y), dtype))
    views = model.layout.views(gradient)
    for name in ("b_alpha", "b_mu", "b_sigma") if head in MIXTURES else ("b",):
        assert np.isfinite(views[name][:2]).all() and np.isnan(views[name][2:]).all()


# ---- the seam between states and frames --------------------------------------------------------------------


class Wide(Layout):
    """Frames that read two numbers more of a row than its state has, which are zero."""

    @property
    def C(self):
        return self.R + 2


@pytest.mark.parametrize("cell", ["sigmoid", "tanh"])
def test_the_width_of_a_row_of_context_is_its_own(cell, row):
    sizes, context = (9, 7, 3, 14), ("alpha", "sigma", "hidden")
    layouts = [kind("gaussian", *sizes, cell=cell, context=context) for kind in (Layout, Wide)]
    models = [Model(layout, np.zeros(layout.size)) for layout in layouts]
    narrow, wide = (layout.views(model.theta) for layout, model in zip(layouts, models, strict=True))
    generator = np.random.default_rng(0)
    widened = [name for name in narrow if narrow[name].shape != wide[name].shape]
    assert set(widened) == {"W_alpha", "W_sigma", "W_c"}
    for name in narrow:
        wide[name][...] = 0.4 * generator.normal(size=wide[name].shape)
        narrow[name][...] = wide[name][..., :14] if name in widened else wide[name]
    x, offsets = generator.normal(size=(50, 9)), np.array([0, 20, 50])
    gradients = []
    for model, layout in zip(models, layouts, strict=True):
        gradients.append(layout.views(model.gradient(x, offsets, np.ones(50))[0]))
    for name in narrow:
        if name in widened:
            assert not gradients[1][name][..., 14:].any(), name
            gradients[1][name] = gradients[1][name][..., :14]
    assert_near_gradient(gradients[1], gradients[0], TOLERANCE["gradient"][FLOAT64])
    numbers = generator.random((37, 2, 9))

    def everything(model):
        yield model.log_density(x, offsets, dims=True).dims
        yield from (model.sample(numbers[:n], numbers[:n]) for n in (1, 37))
        yield model.score_frame(x[0], model.initial_state(1)[0])[1]

    for found, expected in zip(everything(models[1]), everything(models[0]), strict=True):
        assert_near(found, expected, TOLERANCE["score"][FLOAT64])
