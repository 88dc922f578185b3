"""Updates of the parameters: steps by hand, decay, averages, the rate; optimisers and their links."""

import numpy as np
import pytest
from helpers import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    STILL,
    assert_near,
    assert_same_bits,
    copied_parameters,
    every_estimator,
    random_parameters,
    small_model,
    small_rnnrnade,
    walks,
)

from rnnrnade import RNNRNADE, _core, optim
from rnnrnade.layout import Layout

# ---- one update ----------------------------------------------------------------------------------------------------


def one_update(**options):
    """Parameters before and after one update of a whole-batch step by SGD, and the gradient of the loss."""
    X = walks()
    options = {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.0, "clip_norm": None} | options
    options |= {"batch_size": 1000, "validation_fraction": 0, "max_epochs": 1, "dtype": FLOAT64}
    before = small_rnnrnade(**options | STILL).fit(X)
    after = small_rnnrnade(**options).fit(X)
    _, gradient = before.log_likelihood_and_gradient(X)
    n_frames = sum(map(len, X))
    of_loss = {name: -g / n_frames for name, g in gradient.items()}
    return copied_parameters(before), copied_parameters(after), of_loss, after


def test_sgd_steps_against_the_gradient_of_the_mean():
    before, after, gradient, model = one_update()
    for name, g in gradient.items():
        assert_near(after[name], before[name] - 0.01 * g, 1e-12, name)
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    assert_near(model.history_["gradient_norm"], [norm], 1e-10)


def test_gradients_are_clipped_to_their_norm():
    before, after, gradient, model = one_update(clip_norm=0.01)
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    assert norm > 0.02
    for name, g in gradient.items():
        assert_near(after[name], before[name] - 0.01 * g * 0.01 / norm, 1e-13, name)
    assert_near(model.history_["gradient_norm"], [norm], 1e-10)  # before clipping
    unclipped = one_update(clip_norm=2 * norm)[1]
    assert_same_bits(unclipped, one_update()[1])


def test_weight_decay_pulls_weight_matrices():
    before, after, gradient, _ = one_update(weight_decay=0.5)
    assert {"W", "V_mu", "W_rec", "W_in", "b_mu", "c", "rho", "r0"} <= set(before)
    for name, g in gradient.items():
        decay = 0.5 if name.startswith(("W", "V")) else 0.0
        assert_near(after[name], before[name] - 0.01 * (g + decay * before[name]), 1e-12, name)


def test_weight_decay_by_name():
    before, after, gradient, _ = one_update(weight_decay={"W": 0.5, "c": 0.25})
    for name, g in gradient.items():
        decay = {"W": 0.5, "c": 0.25}.get(name, 0.0)
        assert_near(after[name], before[name] - 0.01 * (g + decay * before[name]), 1e-12, name)


@pytest.mark.parametrize(
    "weight_decay, message", [({"W_no": 0.1}, "W_no"), ({"W": -1.0}, "'W'"), (-1.0, "weight_decay")]
)
def test_bad_weight_decay(weight_decay, message):
    with pytest.raises(ValueError, match=message):
        small_rnnrnade(weight_decay=weight_decay).fit(walks())


def test_a_bad_weight_decay_leaves_a_fitted_model_alone():
    X = walks()
    model = small_rnnrnade().fit(X)
    before = copied_parameters(model)
    with pytest.raises(ValueError, match="W_no"):
        model.set_params(weight_decay={"W_no": 0.1}).fit(X)
    assert_same_bits(copied_parameters(model), before)


@pytest.mark.parametrize("value", ["much", [0.1], None, np.inf, np.nan, True + 1j])
def test_weight_decay_of_a_name_that_is_no_number(value):
    with pytest.raises(ValueError, match=r"weight_decay of 'W' must be a number"):
        small_rnnrnade(weight_decay={"W": value}).fit(walks())


# ---- what is kept --------------------------------------------------------------------------------------------------


def test_what_is_kept_is_the_mean_of_the_last_parameters():
    """With fewer than 100 updates the plain mean: half the steps of SGD with one batch, here by hand."""
    X = walks()
    options = {"optimizer": "sgd", "batch_size": 1000, "validation_fraction": 0, "dtype": FLOAT64, "clip_norm": None}
    options |= {"weight_decay": 0.0, "transform": None, "learning_rate": 0.01}
    start = small_rnnrnade(max_epochs=1, **options | STILL).fit(X)
    n_frames = sum(map(len, X))
    theta, v, path = copied_parameters(start), 0.0, []
    for i in range(3):
        model = RNNRNADE.from_parameters(theta, min_scale=1e-3)
        _, g = model.log_likelihood_and_gradient(X)
        v = {name: (0.9 * v[name] if i else 0) - g[name] / n_frames for name in theta}
        theta = {name: theta[name] - 0.01 * (1 - i / 3) * v[name] for name in theta}
        path.append(theta)
    found = small_rnnrnade(max_epochs=3, **options).fit(X)
    for name in theta:
        assert_near(found.parameters_[name], np.mean([p[name] for p in path], axis=0), 1e-11, name)


@pytest.mark.parametrize("averaging", [0.0, None])
def test_without_averaging_the_last_parameters_are_kept(averaging):
    """Steps of SGD with one batch, by hand."""
    X = walks()
    options = {
        "optimizer": "sgd",
        "schedule": "constant",
        "batch_size": 1000,
        "validation_fraction": 0,
        "clip_norm": None,
    }
    options |= {"dtype": FLOAT64, "weight_decay": 0.0, "transform": None, "learning_rate": 0.01}
    theta = copied_parameters(small_rnnrnade(max_epochs=1, **options | STILL).fit(X))
    v = dict.fromkeys(theta, 0.0)
    for _ in range(3):
        _, g = RNNRNADE.from_parameters(theta, min_scale=1e-3).log_likelihood_and_gradient(X)
        v = {name: 0.9 * v[name] - g[name] / sum(map(len, X)) for name in theta}
        theta = {name: theta[name] - 0.01 * v[name] for name in theta}
    found = small_rnnrnade(max_epochs=3, averaging=averaging, **options).fit(X)
    for name in theta:
        assert_near(found.parameters_[name], theta[name], 1e-11, name)


# ---- the rate ------------------------------------------------------------------------------------------------------


def rates(**options):
    model = small_rnnrnade(learning_rate=0.01, batch_size=1000, validate_every=1, **options)
    return np.array(model.fit(walks()).history_["learning_rate"])


@pytest.mark.parametrize("optimizer", list(optim.OPTIMIZERS))
def test_schedules(optimizer):
    """The history has the rate of the NEXT update."""
    part = np.arange(1, 9) / 8
    options = {"optimizer": optimizer, "max_epochs": 8}
    expected = {"constant": np.ones(8), "linear": 1 - part, "cosine": np.cos(np.pi * part / 2) ** 2}
    assert set(expected) == set(optim.SCHEDULES)
    for schedule, factor in expected.items():
        assert_near(rates(schedule=schedule, **options), 0.01 * factor, 1e-15)
    assert_same_bits(rates(**options), rates(schedule={"adam": "constant", "sgd": "linear"}[optimizer], **options))
    short = rates(schedule="linear", max_updates=4, **options)
    assert_near(short, [0.0075, 0.005, 0.0025, 0.0], 1e-15)
    warm = np.minimum(1, np.arange(2, 10) / 5)
    assert_near(rates(schedule="linear", warmup=5, **options), 0.01 * warm * (1 - part), 1e-15)


@pytest.mark.usefixtures("validated_after_each_epoch")
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_sgd_falls_linearly(batch_size):
    model = small_rnnrnade(optimizer="sgd", learning_rate=0.01, max_epochs=10, batch_size=batch_size).fit(walks())
    rates = np.array(model.history_["learning_rate"])
    assert_near(np.diff(rates), np.full(9, -0.001), 1e-12)
    assert rates[0] <= 0.01 and abs(rates[-1]) < 0.0011


def test_the_first_update_of_a_warm_up_has_its_part_of_the_rate():
    before, after, gradient, _ = one_update(warmup=4)
    for name, g in gradient.items():
        assert_near(after[name], before[name] - 0.01 / 4 * g, 1e-12, name)


# ---- optimisers and their links ------------------------------------------------------------------------------------


def gradients(n=7, size=33, dtype=FLOAT64):
    return list(np.random.default_rng(0).standard_normal((n, size)).astype(dtype))


def directions(link, n=7, size=33, theta=None, dtype=FLOAT64):
    """What a link makes of a few gradients, one after the other."""
    theta = np.zeros(size, dtype) if theta is None else theta
    state, found = link.init(theta), []
    for g in gradients(n, size, dtype):
        link.update(g, state, theta)
        found.append(g)
    return np.array(found)


def path(rule, size=33, dtype=FLOAT64, n=7, n_threads=1, **options):
    """(theta, average) after each of n updates of a rule, with a rate and a strength that are not constant."""
    theta = np.linspace(-1, 1, size).astype(dtype)
    strength = np.linspace(0, 0.5, size).astype(dtype)
    link = rule(lambda step: 0.1 / (1 + step), strength, n_threads=n_threads, **options)
    state, found = link.init(theta), []
    for g in gradients(n, size, dtype):
        before = g.copy()
        link.update(g, state, theta)
        assert_same_bits(g, before)
        found.append((theta.copy(), theta.copy() if state["average"] is None else state["average"].copy()))
    return found


def adam_by_hand(size, dtype):
    m = v = 0.0
    for step, g in enumerate(gradients(size=size, dtype=dtype), 1):
        g = g.astype(np.float64)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        yield m / (1 - 0.8**step) / (np.sqrt(v / (1 - 0.95**step)) + 1e-3)


def momentum_by_hand(size, dtype):
    v = 0.0
    for g in gradients(size=size, dtype=dtype):
        v = 0.7 * v + g.astype(np.float64)
        yield v


RULES = {
    "adam": (optim.adam, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}, adam_by_hand),
    "sgd": (optim.momentum, {"decay": 0.7}, momentum_by_hand),
}


@pytest.mark.parametrize("size", [1, 33, 2048, 5000])
@pytest.mark.parametrize("averaging", [0.0, 0.6])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
def test_an_update_in_one_pass_is_direction_decay_step_and_average(name, dtype, averaging, size):
    rule, options, directions_by_hand = RULES[name]
    found = path(rule, size, dtype, averaging=averaging, **options)
    theta, strength = np.linspace(-1, 1, size), np.linspace(0, 0.5, size)
    average = theta
    for step, (direction, (found_theta, found_average)) in enumerate(
        zip(directions_by_hand(size, dtype), found, strict=True)
    ):
        theta = theta - 0.1 / (1 + step) * (direction + strength * theta)
        average = average + max(1 - averaging, 1 / (1 + step)) * (theta - average)
        assert_near(found_theta, theta, 1e-13 if dtype == FLOAT64 else 2e-6)
        assert_near(found_average, average, 1e-13 if dtype == FLOAT64 else 2e-6)


@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
def test_threads_leave_the_bits_of_an_update(name):
    size = 3 * 2**18 + 5
    rule, options, _ = RULES[name]
    expected = path(rule, size, FLOAT32, 2, averaging=0.6, **options)
    for n_threads in (2, 3):
        assert_same_bits(path(rule, size, FLOAT32, 2, n_threads, averaging=0.6, **options), expected)
    x = gradients(1, size, FLOAT32)[0]
    norms = {_core.norm(x, n_threads) for n_threads in (1, 2, 3, 7)}
    assert len(norms) == 1
    assert_near(norms.pop(), np.linalg.norm(x.astype(FLOAT64)), 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_norm(dtype):
    norms = [np.linalg.norm(g.astype(FLOAT64)) for g in gradients(dtype=dtype)]
    largest = float(np.median(norms))
    for found, g, norm in zip(
        directions(optim.clip_norm(largest), dtype=dtype), gradients(dtype=dtype), norms, strict=True
    ):
        if norm <= largest:
            assert_same_bits(found, g)
        else:
            assert_near(found, g * (largest / norm), 1e-14 if dtype == FLOAT64 else 1e-6)


def test_links_of_one_line():
    mask = np.arange(33) % 2 == 0
    assert_same_bits(directions(optim.zero(~mask)), np.array(gradients()) * mask + 0.0)
    g = gradients(1)[0]
    g[2] = np.inf
    link = optim.clip_norm(1.0)
    with pytest.raises(FloatingPointError):
        link.update(g, link.init(g), g)
    assert np.isinf(g[2]) and g[1] == gradients(1)[0][1]


def test_a_chain_applies_its_links_in_order():
    largest, mask = 0.5, np.arange(33) < 2
    both = directions(optim.chain(optim.zero(~mask), optim.clip_norm(largest)))
    assert_near(
        np.linalg.norm(both, axis=1), np.minimum(largest, np.linalg.norm(np.array(gradients())[:, :2], axis=1)), 1e-12
    )
    other = directions(optim.chain(optim.clip_norm(largest), optim.zero(~mask)))
    assert np.linalg.norm(other, axis=1).max() < largest


@pytest.mark.parametrize("R, context", [(0, ()), (4, ("alpha", "sigma")), (4, ("mu",))])
def test_the_mean_gradient_heuristic(R, context):
    layout = Layout("gaussian", 3, 5, 2, R, context=context, min_scale=0.25)
    generator = np.random.default_rng(0)
    theta, g = (layout.flat(random_parameters(generator, 3, 5, 2, R, context=context), np.float64) for _ in range(2))
    p, before, found = layout.views(theta), layout.views(g.copy()), layout.views(g)
    link = optim.mean_gradient(layout)
    link.update(g, link.init(theta), theta)
    for d in range(3):
        for k in range(2):
            sigma = 0.25 + np.exp(p["b_sigma"][d, k])
            assert_near(found["V_mu"][d, :, k], sigma * before["V_mu"][d, :, k], 1e-14)
            assert_near(found["b_mu"][d, k], sigma * before["b_mu"][d, k], 1e-14)
            if "mu" in context:
                assert_near(found["W_mu"][d, k], sigma * before["W_mu"][d, k], 1e-14)
    for name in set(found) - {"V_mu", "b_mu", "W_mu"}:
        assert_same_bits(found[name], before[name], name)


@every_estimator
@pytest.mark.parametrize("optimizer", list(optim.OPTIMIZERS))
def test_every_optimiser_raises_the_score(name, optimizer):
    model, X = small_model(name, optimizer=optimizer, max_epochs=15)
    loss = model.fit(X).history_["loss"]
    assert loss[-1] < loss[0]
