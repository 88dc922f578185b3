"""Heads: what a row of the table says is what models do; each family through all calls; outputs that no net drives."""

import dataclasses
import pickle

import numpy as np
import pytest
import reference
from helpers import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    MIXTURES,
    TOLERANCE,
    Case,
    assert_near,
    assert_near_gradient,
    assert_same_bits,
    complex_step_gradient,
    ids,
    listed,
    walks,
)

import rnnrnade
from rnnrnade import RNADE, RNNRNADE, Linear, plotting
from rnnrnade.heads import HEADS
from rnnrnade.layout import Layout, initial_parameters

every_mixture = pytest.mark.parametrize("head", MIXTURES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)

# ---- rows ----------------------------------------------------------------------------------------------------------


@dtypes
def test_a_draw_takes_its_uniforms_first_and_then_the_noise_of_its_family(dtype):
    for head in HEADS.values():
        uniform, noise = head.numbers(np.random.default_rng(0), (3, 4), np.dtype(dtype))
        again = np.random.default_rng(0)
        assert_same_bits(uniform, again.random((3, 4), dtype))
        if head.name == "gaussian":
            assert_same_bits(noise, again.standard_normal((3, 4), dtype))
        if head.binary:
            assert noise is uniform
        assert noise.dtype == dtype and noise.shape == (3, 8 if head.shapes else 4)


class Zeros:
    """A generator whose exponential numbers are the smallest there are."""

    def standard_exponential(self, size=None, dtype=np.float64, out=None):
        if out is None:
            return np.zeros(size, dtype)
        out[...] = 0
        return out

    standard_normal = standard_exponential


@dtypes
@every_mixture
def test_noise_is_finite(head, dtype):
    assert np.isfinite(HEADS[head].distribution.noise(Zeros(), (3,), np.dtype(dtype))).all()


@pytest.mark.parametrize("K", [1, 2, 10])
@every_mixture
def test_every_conditional_starts_with_mean_0_and_variance_1(head, K):
    layout = Layout(head, D=2, H=3, K=K, min_scale=1e-3)
    p = layout.views(initial_parameters(layout, np.random.default_rng(0), np.float64))
    shapes = [1 + np.exp(p[f"b_{name}"]) for name in HEADS[head].shapes]
    mixture = HEADS[head].distribution(np.exp(p["b_alpha"]), p["b_mu"], 1e-3 + np.exp(p["b_sigma"]), *shapes)
    assert_near(mixture.mean(), np.zeros(2), 1e-14)
    assert_near(mixture.var(), np.ones(2), 1e-12)


# ---- each family through all calls -----------------------------------------------------------------------------------

FITTED = {
    "RNADE": (RNADE, {}),
    "RNNRNADE": (RNNRNADE, {"n_recurrent": 4, "cell": "gru", "n_orders": 2}),
    "behind a transform": (RNNRNADE, {"n_recurrent": 4, "transform": Linear(lags=1, covariance="full")}),
}


def fitted_to(head, name):
    cls, options = FITTED[name]
    X = walks()
    X = X if cls is RNNRNADE else np.concatenate(X)
    options = {"n_components": 2, "n_hidden": 4, "max_epochs": 3, "random_state": 0, "dtype": FLOAT32} | options
    return cls(conditional=head, missing="marginalize", mean_gradient=True, **options).fit(X), X


@pytest.mark.parametrize("name", FITTED)
@every_mixture
def test_a_family_through_all_calls(head, name, tmp_path):
    ensemble, X = fitted_to(head, name)
    ensemble.save(tmp_path / "model")
    draws = ensemble.sample(3, random_state=0)
    for other in (rnnrnade.load(tmp_path / "model"), pickle.loads(pickle.dumps(ensemble))):
        assert other.conditional == head
        assert_same_bits(other.score_samples(X), ensemble.score_samples(X))
        assert_same_bits(other.sample(3, random_state=0), draws)
    model = ensemble.members_[-1]
    mixtures = [HEADS[head].distribution(*model.predict_params(x)) for x in listed(X)]
    for call in ("cdf", "crps", "mean", "var"):
        given = () if call in ("mean", "var") else (True,)
        for found, mixture, x in zip(listed(getattr(model, call)(X)), mixtures, listed(X), strict=True):
            assert_near(found, getattr(mixture, call)(*(x for _ in given)), 1e-4, call)
    for found, mixture, x in zip(listed(model.score_dims(X)), mixtures, listed(X), strict=True):
        assert_near(found, mixture.log_density(x), 1e-4)
    for found, x in zip(listed(model.from_normal(model.to_normal(X))), listed(X), strict=True):
        assert_near(found, x, 1e-3)
    assert "KS distance" in str(model.calibration(X))
    assert len(model.explain(X, top=2)) == 2
    x = listed(X)[0][:6]
    y = x.copy()
    y[2, 1] = y[4] = np.nan
    filled = model.impute(y, 3, 0, n_particles=20)
    assert np.isfinite(filled).all() and np.all((filled == x) | np.isnan(y))
    if isinstance(model, RNNRNADE):
        stream = model.stream()
        assert_same_bits([stream.update(frame) for frame in x], list(model.score_frames(x)))
        assert model.forecast(x, 3, 5, 0).shape == (5, 3, 3)
        leading = model.sample(4, 2, 0, given=x, leading=[0.5])
        assert leading.shape == (4, 2, 3)
    axes = plotting.conditional_densities(model, x, 3)
    for d, ax in enumerate(axes):
        points, density = ax.lines[0].get_xydata().T
        assert_near(density, np.exp(mixtures[0][3, d].log_density(points)), 1e-4)
    options = {"conditional": head, "min_scale": model.min_scale, "transform": model.transform_, "order": model.order_}
    options |= {"cell": model.cell} if isinstance(model, RNNRNADE) else {}
    again = type(model).from_parameters(model.parameters_, dtype=FLOAT32, **options)
    assert_same_bits(again.score_dims(X), model.score_dims(X))


@every_mixture
def test_training_raises_the_score_of_every_family(head):
    X = np.concatenate(walks(24, shortest=15, longest=30))
    model = RNADE(conditional=head, n_components=3, n_hidden=6, max_epochs=15, random_state=0).fit(X)
    assert model.history_["validation_score"][-1] > model.history_["validation_score"][0]


def test_an_unknown_family_is_refused_with_the_list():
    X = np.concatenate(walks())
    with pytest.raises(ValueError, match=r"'conditional' parameter of RNADE must be a str among .*'gaussian'"):
        RNADE(conditional="cauchy").fit(X)
    model = RNADE(max_epochs=1, n_components=2, n_hidden=2).fit(X)
    for wrong in ("cauchy", "bernoulli", None):
        with pytest.raises(ValueError, match="'conditional' parameter of RNADE must be"):
            RNADE.from_parameters(model.parameters_, conditional=wrong)


def test_pictures_of_densities_refuse_binary_models():
    model, X = Case(D=2, H=3, K=1, R=0, lengths=(4,), head="bernoulli").model()
    with pytest.raises(ValueError, match="draws densities"):
        plotting.conditional_densities(model, X, 0)


# ---- outputs that no net drives --------------------------------------------------------------------------------------

UNDRIVEN = [
    Case(D=3, H=4, K=2, R=0, lengths=(9,), min_scale=1e-3),
    Case(D=3, H=0, K=2, R=3, lengths=(4, 2), context=("mu",)),
    Case(D=3, H=4, K=2, R=3, lengths=(4, 2), cell="lstm", context=("alpha", "mu", "hidden")),
    Case(D=10, H=19, K=3, R=17, lengths=(30, 5), cell="gru", context=("alpha",)),
    Case(D=37, H=70, K=7, R=0, lengths=(130,)),
]


@pytest.fixture(params=UNDRIVEN, ids=ids(UNDRIVEN))
def undriven(request, monkeypatch):
    """A case whose sigma is one number for each dimension and component, and its parameters and sequences."""
    head = HEADS["gaussian"]
    outputs = head.outputs | {"sigma": (None, "b_sigma", None)}
    monkeypatch.setitem(HEADS, "gaussian", dataclasses.replace(head, outputs=outputs))
    parameters, sequences = request.param.make()
    del parameters["V_sigma"]
    return request.param, parameters, sequences


def defined(case, parameters):
    """The parameters as the definition has them: V_sigma is 0."""
    return parameters | {"V_sigma": np.zeros((case.D, case.H, case.K))}


def undriven_model(case, parameters, dtype):
    cls = RNNRNADE if case.R else RNADE
    return cls.from_parameters({n: v.astype(dtype) for n, v in parameters.items()}, dtype=dtype, **case.options)


@dtypes
def test_what_no_net_drives_equals_the_definition_without_its_weights(undriven, dtype, row):
    case, parameters, sequences = undriven
    sequences = [x.astype(dtype) for x in sequences]
    model, X = undriven_model(case, parameters, dtype), case.X(sequences)
    assert "V_sigma" not in model.parameters_ and "W_sigma" not in model.parameters_
    parameters = defined(case, {n: v.astype(np.float64) for n, v in model.parameters_.items()})
    expected = [reference.log_density_dims(parameters, x, **case.choices) for x in sequences]
    for found, dims in zip(listed(model.score_dims(X)), listed(case.X(expected)), strict=True):
        assert_near(found, dims, TOLERANCE["score"][dtype], "log p")
    total, gradient = model.log_likelihood_and_gradient(X)
    expected_total, expected = reference.gradient(parameters, sequences, **case.choices)
    del expected["V_sigma"]
    assert_near(total, expected_total, TOLERANCE["score"][dtype], "total")
    assert_near_gradient(gradient, expected, TOLERANCE["gradient"][dtype])
    core = model._density.model
    uniform, noise = HEADS["gaussian"].numbers(np.random.default_rng(0), (19, 3, case.D), core.dtype)
    for n in (1, 19):
        draws = core.sample(uniform[:n], noise[:n])
        follow = reference.draw(parameters, 3, uniform[0], noise[0], follow=draws[0], **case.choices)
        assert_near(draws[0], follow, TOLERANCE["sample"][dtype], "x")


def test_the_gradient_of_what_no_net_drives_is_the_derivative(undriven):
    case, parameters, sequences = undriven
    if sum(value.size for value in parameters.values()) > 500:
        return
    _, gradient = undriven_model(case, parameters, FLOAT64).log_likelihood_and_gradient(case.X(sequences))
    exact = complex_step_gradient(
        lambda p: reference.log_density(defined(case, p), sequences, **case.choices), parameters
    )
    assert_near_gradient(gradient, exact, TOLERANCE["derivative"])


def test_other_calls_where_no_net_drives_an_output(undriven, all_threads):
    case, parameters, sequences = undriven
    model, X = undriven_model(case, parameters, FLOAT64), case.X(sequences)
    assert_same_bits(dict(model.parameters_), parameters, "parameters")
    again = type(model).from_parameters(model.parameters_, **case.options)
    assert_same_bits(again.score_dims(X), model.score_dims(X))
    for found, x in zip(listed(model.from_normal(model.to_normal(X))), listed(X), strict=True):
        assert_near(found, x, 1e-8)
    for part in listed(model.predict_params(X).sigma):  # the same in every frame
        assert_same_bits(part, np.broadcast_to(part[:1], part.shape))
    core, frames = model._density.model, np.concatenate(sequences)
    offsets, weight = np.cumsum([0, *case.lengths]), np.ones(len(frames))
    expected = core.gradient(frames, offsets, weight, n_threads=1)
    assert_same_bits(core.gradient(frames, offsets, weight, n_threads=3), expected, "three threads")
    if case.R:
        stream = model.stream()
        assert_same_bits([stream.update(x) for x in sequences[0]], list(model.score_frames(sequences[0])))
    named = np.zeros(core.layout.size, bool)
    for view in core.layout.views(named).values():
        view[...] = True
    assert not expected[0][~named].any()  # padding
    options = {"context": case.context} if case.R else {}
    fitted = type(model)(n_components=2, n_hidden=3, max_epochs=2, random_state=0, **options)
    fitted.fit(X * 20 if case.R else np.tile(X, (20, 1)))
    assert "V_sigma" not in fitted.parameters_ and np.isfinite(fitted.score(X))


# ---- degrees of freedom ----------------------------------------------------------------------------------------------


@dtypes
def test_students_of_many_degrees_of_freedom_are_gaussians(dtype, row):
    case = Case(D=5, H=7, K=3, R=4, lengths=(9, 4), head="student", min_scale=1e-3)
    parameters, sequences = case.make(dtype)
    parameters["b_nu"] = np.full_like(parameters["b_nu"], 40)
    student = RNNRNADE.from_parameters(parameters, conditional="student", dtype=dtype, min_scale=1e-3)
    del parameters["b_nu"]
    gaussian = RNNRNADE.from_parameters(parameters, dtype=dtype, min_scale=1e-3)
    _, of_student = student.log_likelihood_and_gradient(sequences)
    _, of_gaussian = gaussian.log_likelihood_and_gradient(sequences)
    assert np.abs(of_student.pop("b_nu")).max() < {FLOAT64: 1e-11, FLOAT32: 1e-3}[dtype]  # u^4 / nu
    assert_near_gradient(of_student, of_gaussian, max(1e-11, TOLERANCE["gradient"][dtype]))
    for found, expected in zip(student.score_dims(sequences), gaussian.score_dims(sequences), strict=True):
        assert_near(found, expected, max(1e-11, TOLERANCE["score"][dtype]))


def test_degrees_of_freedom_are_those_of_the_data_and_no_frame_changes_them():
    """Held-out data choose where they start; without a transform that is chosen they start at 10."""
    generator = np.random.default_rng(0)
    X = generator.standard_t(3, (800, 2))
    model = RNADE(conditional="student", n_components=2, n_hidden=2, max_epochs=1, random_state=0)
    model.fit(X)
    nu = model.predict_params(X[:5]).nu
    assert_same_bits(nu, np.broadcast_to(nu[:1], nu.shape))
    assert nu.max() < 8
    assert_near(nu[0], 1 + np.exp(np.float64(model.parameters_["b_nu"])), 1e-5)
    layout = Layout("student", D=2, H=3, K=2)
    for freedom, expected in ((np.inf, [10, 10]), (5.0, [5, 5]), (np.array([3.0, 40.0]), [3, 40])):
        views = layout.views(initial_parameters(layout, generator, np.float64, freedom))
        assert_near(1 + np.exp(views["b_nu"]), np.repeat(np.array(expected)[:, None], 2, axis=1), 1e-14)
