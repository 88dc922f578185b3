"""Draws of an estimator: moments, seeds, continuations, forecasts."""

import numpy as np
import pytest
import reference
from helpers import assert_near, assert_same_bits, every_estimator, random_parameters, small_model, team_of, walks

from rnnrnade import RNADE, RNNRNADE, Linear, _core
from rnnrnade.layout import CELLS

# ---- draws ---------------------------------------------------------------------------------------------------------


def test_draws_have_the_moments_of_the_model():
    alpha, mu, sigma = np.array([0.2, 0.8]), np.array([-3.0, 1.0]), np.array([0.5, 1.5])
    b = {"b_alpha": np.log(alpha), "b_mu": mu, "b_sigma": np.log(sigma)}
    p = {name: np.tile(value, (2, 1)) for name, value in b.items()}
    p |= {"W": np.zeros((0, 2)), "c": np.zeros(0), "rho": np.ones(2)}
    p |= {f"V_{q}": np.zeros((2, 0, 2)) for q in ("alpha", "mu", "sigma")}
    draws = RNADE.from_parameters(p).sample(40_000, random_state=0)
    mean = alpha @ mu
    variance = alpha @ (sigma**2 + mu**2) - mean**2
    assert_near(draws.mean(0), np.full(2, mean), 4 * np.sqrt(variance / 40_000))
    assert_near(np.cov(draws.T), variance * np.eye(2), 0.05 * variance)


def test_draws_have_the_moments_of_the_data_that_a_model_was_fitted_to():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((2000, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [10.0, -1.0]
    draws = RNADE(2, 8, max_epochs=10, random_state=0).fit(X).sample(20_000, random_state=1)
    assert np.all(np.abs(draws.mean(0) - X.mean(0)) < 0.15 * X.std(0))
    assert np.all(np.abs(np.cov(draws.T) - np.cov(X.T)) < 0.15 * np.outer(X.std(0), X.std(0)))


@every_estimator
def test_draws_are_decided_by_the_seed(name):
    model, X = small_model(name)
    model.fit(X)
    assert_same_bits(model.sample(6, random_state=5), model.sample(6, random_state=5))
    assert_same_bits(model.sample(6), model.sample(6, random_state=0))  # that of the estimator
    assert not np.array_equal(model.sample(6, random_state=5), model.sample(6, random_state=6))
    generator = np.random.default_rng(5)
    first, second = model.sample(6, random_state=generator), model.sample(6, random_state=generator)
    assert_same_bits(first, model.sample(6, random_state=5))
    assert not np.array_equal(first, second)
    assert model.sample(6).dtype == np.float64


# ---- continuations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("L", [1, 2])
def test_continuations_start_in_the_state_after_the_given_frames(cell, L):
    """With hardly any noise a draw is the path of the means, here by the definition."""
    context = ("alpha", "mu", "sigma", "hidden")
    p = random_parameters(np.random.default_rng(1), 3, 5, 1, 4, cell=cell, context=context, n_layers=L)
    p["b_sigma"] = p["b_sigma"] - 40.0
    model = RNNRNADE.from_parameters(p, cell=cell)
    given = walks(1)[0]
    nothing = np.zeros((6, 3))
    for past in (given, given[:1], None):
        expected = reference.draw(p, 6, nothing, nothing, after=past, cell=cell)
        found = model.sample(4, 6, random_state=0, given=past)
        assert_near(found, np.tile(expected, (4, 1, 1)), 1e-10)
    two = model.sample(1, 2, random_state=0, given=given)[0]
    rest = model.sample(1, 4, random_state=0, given=np.concatenate([given, two]))[0]
    assert_near(np.concatenate([two, rest]), model.sample(1, 6, random_state=0, given=given)[0], 1e-10)


def test_draws_in_pieces_go_on_in_the_state_of_the_piece_before(monkeypatch):
    p = random_parameters(np.random.default_rng(1), 3, 5, 1, 4, context=("mu",))
    p["b_sigma"] = p["b_sigma"] - 40.0
    model = RNNRNADE.from_parameters(p, transform=Linear(lags=2).fit(walks()[0], np.array([0, len(walks()[0])])))
    whole = model.sample(2, 20, random_state=0, given=walks(1)[0])
    monkeypatch.setattr("rnnrnade.density.DRAWS", 2 * 3 * 7)
    assert_near(model.sample(2, 20, random_state=0, given=walks(1)[0]), whole, 1e-9)


@pytest.mark.parametrize("name", ["RNNRNADE", "RNNNADE"])
def test_forecasts(name, all_threads):
    model, X = small_model(name)
    model.fit(X)
    found = model.forecast(X[:3], 5, 7, random_state=0)
    for n_jobs in (1, 2, 5):
        assert_same_bits(model.set_params(n_jobs=n_jobs).forecast(X[:3], 5, 7, random_state=0), found)
        assert _core.last_team_size() == team_of(n_jobs)
    assert isinstance(found, list) and [f.shape for f in found] == [(7, 5, 3)] * 3
    assert_same_bits(model.forecast(X[:3], 5, 7, random_state=0), found)
    assert not np.array_equal(model.forecast(X[:3], 5, 7, random_state=1)[0], found[0])
    assert_same_bits(model.forecast(X[0], 5, 7, random_state=0), found[0])  # one 2-D array: one array
    assert_same_bits(model.sample(7, 5, random_state=0, given=X[0]), found[0])
    x, lengths = np.concatenate(X[:3]), [len(x) for x in X[:3]]
    assert_same_bits(model.forecast(x, 5, 7, random_state=0, lengths=lengths), found)
    batch = np.stack([x[:6] for x in X[:3]])
    assert [f.shape for f in model.forecast(batch, 5, 7, random_state=0)] == [(7, 5, 3)] * 3
    if name == "RNNNADE":
        assert set(np.unique(np.concatenate(found))) <= {0.0, 1.0}
