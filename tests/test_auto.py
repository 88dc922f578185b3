"""Laws of what stands in front of a net: links, chains of them, and their choice (`transform="auto"`)."""

import warnings

import numpy as np
import pytest
from helpers import FLOAT64, assert_near, assert_same_bits, packed
from scipy.stats import multivariate_t
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from rnnrnade import RNADE, RNNRNADE, Auto, Chain, Linear, Volatility, auto, load, training
from rnnrnade.auto import choose, log_student
from rnnrnade.ridge import companion, stable
from rnnrnade.transforms import from_file, to_file

SCALE = ((0.8, 0.95), 0.5, 0.2)
LINKS = [
    [Linear(2, "full", season=6, towards="own", shrinkage=0.1, max_radius=0.999)],
    [Linear(1, "full", towards="last", apart=(2,))],
    [Linear(), Volatility()],
    [Linear(1, "full"), Volatility(level=(0.9, 1.0), scale=None)],
    [Linear(1, "full"), Volatility(level=(0.97, 0.5), scale=SCALE, correlation=(0.95, 0.05), within=5.0)],
    [Linear(2, "full", apart=(1,)), Volatility(scale=SCALE, correlation=(0.9, 0.2), within=3.0, apart=(1,))],
]
every_chain = pytest.mark.parametrize("links", LINKS, ids=str)


def drifting(T=40, D=4, seed=0):
    """One recording whose level drifts and whose scale comes in bursts, in awkward units."""
    generator = np.random.default_rng(seed)
    scale = np.exp(0.5 * np.cumsum(0.3 * generator.standard_normal((T, 1)), axis=0))
    x = np.cumsum(0.2 * generator.standard_normal((T, D)), axis=0) + scale * generator.standard_normal((T, D))
    return np.geomspace(0.01, 100, D) * x + np.linspace(-5, 50, D)


def fitted(links, T=40):
    X = [drifting(T, seed=s) for s in range(3)]
    return Chain([clone(link) for link in links]).fit(*packed(X)), X


# ---- every chain -----------------------------------------------------------------------------------------------------


@every_chain
def test_the_log_jacobian_is_that_of_the_map(links):
    chain, X = fitted(links)
    x, offsets, D = X[0][:12], np.array([0, 7, 12]), X[0].shape[1]
    e, jacobian = chain.encode(x, offsets)
    step = 1e-5 * np.tile(x.std(axis=0), 12)
    derivative = np.empty((x.size, x.size))
    for k in range(x.size):
        moved = [x.ravel() + sign * step[k] * (np.arange(x.size) == k) for sign in (1, -1)]
        up, down = (chain.forward(one.reshape(-1, D), offsets).ravel() for one in moved)
        derivative[:, k] = (up - down) / (2 * step[k])
    assert np.all(np.triu(derivative, 1) == 0)  # e_d knows x_1 ... x_d and the past
    assert_near(np.log(np.diag(derivative)), jacobian.ravel(), 1e-6)
    assert np.isfinite(e).all()


@every_chain
def test_inverses_undo(links):
    chain, X = fitted(links)
    frames, offsets = packed(X)
    e, unit = chain.forward(frames, offsets), frames.std(axis=0)
    assert_near(chain.inverse_of_packed(e, offsets) / unit, frames / unit, 1e-9)
    x = X[0]
    e = chain.forward(x, np.array([0, len(x)]))
    for n in (0, 1, 5, 20):  # the end of a sequence, given its beginning
        end = chain.inverse(np.stack([e[n:], 2 * e[n:]]), past=x[:n])
        assert_near(end[0] / unit, x[n:] / unit, 1e-9)
        again = chain.forward(np.concatenate([x[:n], end[1]]), np.array([0, len(x)]))
        assert_near(again[n:], 2 * e[n:], 1e-7)


@every_chain
def test_location_and_scale(links):
    """x_d = location_d + scale_d e_d, neither of which knows x_d; scale is the Jacobian."""
    chain, X = fitted(links)
    frames, offsets = packed(X)
    e, jacobian = chain.encode(frames, offsets)
    location, scale = chain.location_and_scale(frames, offsets)
    assert_near((location + scale * e) / frames.std(axis=0), frames / frames.std(axis=0), 1e-9)
    assert_near(-np.log(scale), jacobian, 1e-12)
    moved = frames.copy()
    moved[30, 2] += frames[:, 2].std()
    for before, after in zip((location, scale), chain.location_and_scale(moved, offsets), strict=True):
        assert_same_bits(np.array(after[:30]), np.array(before[:30]))
        assert_same_bits(np.array(after[30, :3]), np.array(before[30, :3]))


@every_chain
def test_the_same_bits_alone_in_a_batch_and_frame_by_frame(links):
    chain, X = fitted(links)
    frames, offsets = packed(X)
    e, jacobian = chain.encode(frames, offsets)
    jacobian = np.broadcast_to(jacobian, e.shape)
    for i, x in enumerate(X):
        alone = chain.encode(x[:25], np.array([0, 25]))
        rows = slice(offsets[i], offsets[i] + 25)
        assert_same_bits(alone[0], e[rows])
        track = chain.track(1)
        for t in range(25):
            z = np.ascontiguousarray(chain.standardized(x[t : t + 1]))
            track.begin()
            assert_same_bits(track.scaled(z)[0], e[rows][t])
            assert_near(np.broadcast_to(track.log_jacobian(), z.shape)[0], jacobian[rows][t], 1e-12)
            track.read(z)


@every_chain
def test_files_hold_a_chain(links):
    chain, X = fitted(links)
    again = from_file(to_file(chain), chain.to_arrays(), X[0].shape[1])
    assert_same_bits(again.encode(*packed(X)), chain.encode(*packed(X)))


# ---- in front of a model ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    X = [drifting(60, D=3, seed=s) for s in range(3)]
    options = {"n_components": 2, "n_hidden": 4, "n_recurrent": 4, "max_epochs": 2, "random_state": 0, "dtype": FLOAT64}
    chain = [Linear(1, "full"), Volatility((0.97, 0.5), SCALE, (0.95, 0.05), 5.0)]
    return RNNRNADE(transform=chain, missing="marginalize", **options).fit(X), X


def test_streams_files_and_prefixes_have_the_bits_of_scores(model, tmp_path):
    model, X = model
    frames = model.score_frames(X)
    stream = model.stream()
    assert_same_bits(np.array([stream.update(x) for x in X[1]]), frames[1])
    stream = model.stream(X[1][:20])
    assert_same_bits(np.array([stream.update(x) for x in X[1][20:]]), frames[1][20:])
    assert_same_bits(model.score_frames(X[2][:30]), frames[2][:30])
    model.save(tmp_path / "model")
    assert_same_bits(load(tmp_path / "model").score_frames(X), frames)
    assert_same_bits(clone(model).fit(X).score_frames(X), frames)


def test_every_conditional_is_right(model):
    """Distribution functions and their inverses; scores by the parameters in units of X; draws that go on."""
    model, X = model
    x = X[0]
    q = model.cdf(x)
    for t in (0, 20, 43):
        moved = np.repeat(x[None], 2, axis=0)
        moved[:, t, 2] += [-1e-4, 1e-4]
        lower, upper = (one[t, 2] for one in model.cdf(moved))
        assert_near((upper - lower) / 2e-4, np.exp(model.score_dims(x)[t, 2]), 1e-6)
    assert_near(model.from_normal(model.to_normal(x)), x, 1e-6)
    assert q.min() > 0 and q.max() < 1
    alone, both = model.sample(2, 8, 3, given=x), model.sample(2, 8, 3, given=x.copy())
    assert_same_bits(alone, both)
    assert abs(alone - x[-1]).max() < 50 * x.std()


def test_gaps_behind_a_chain(model):
    """An estimate with weights in the units of X: frames with one gap each, against a fine quadrature over it."""
    model, X = model
    x = X[0][:6].copy()
    grid = np.linspace(-400, 600, 4001)
    several = np.repeat(x[None], len(grid), axis=0)
    several[:, 3, 2] = grid
    log_p = model.score_samples(several)
    expected = np.log(np.trapezoid(np.exp(log_p - log_p.max()), grid)) + log_p.max()
    x[3, 2] = np.nan
    found = model.log_likelihood_missing([x], n_particles=20_000, random_state=0)
    assert abs(found.log_likelihood[0] - expected) < 4 * found.standard_error[0] + 1e-3


# ---- stability -------------------------------------------------------------------------------------------------------


def test_roots_that_are_too_large_are_moved_and_the_others_stay():
    generator = np.random.default_rng(0)
    B = 0.3 * generator.standard_normal((6, 3))
    B[:3] += np.diag([1.02, 0.9, 0.5])
    before = np.linalg.eigvals(companion(B, (1, 2)))
    after = np.linalg.eigvals(companion(stable(B, (1, 2), 0.999), (1, 2)))
    assert np.abs(before).max() > 1 and np.abs(after).max() <= 0.999 + 1e-6
    inside = before[np.abs(before) <= 0.999]
    assert max(np.abs(after - root).min() for root in inside) < 1e-6
    wild = stable(3 * B, (1, 2), 0.999)  # too much to move: all lags are scaled
    assert np.abs(np.linalg.eigvals(companion(wild, (1, 2)))).max() < 0.999 + 1e-6
    seasonal = stable(1.2 * B, (1, 7), 0.999)
    assert np.abs(np.linalg.eigvals(companion(seasonal, (1, 7)))).max() < 0.999 + 1e-6


def test_draws_of_random_walks_stay():
    X = [np.random.default_rng(s).normal(size=(10, 6)).cumsum(axis=0) for s in range(20)]
    model = RNNRNADE(n_components=3, n_hidden=10, n_recurrent=10, max_epochs=10, random_state=0).fit(X)
    last = model.sample(20, 3000, random_state=0)[:, -1]
    assert np.median(np.abs(last)) < 100 * max(np.abs(x).max() for x in X)


# ---- the choice ------------------------------------------------------------------------------------------------------


def chosen(x, recurrent=True, **options):
    held = np.arange(len(x)) >= 0.9 * len(x)
    ends = np.array([0, len(x)]) if recurrent else np.arange(len(x) + 1)
    return choose(x, ends, np.ones(len(x)), held, recurrent, Auto(**options))


def test_the_criterion_is_a_student_t():
    x = np.random.default_rng(0).normal(size=(5, 3))
    expected = multivariate_t(np.zeros(3), np.eye(3) * 3 / 5, 5).logpdf(x)
    assert_near(log_student((x**2).sum(axis=1), 3, 5.0), expected, 1e-12)


def test_what_is_chosen():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(400, 3))
    walk = chosen(noise.cumsum(axis=0))
    linear = next(one for one in walk if one.role == "linear").transform
    assert linear.towards in ("last", "own") and linear.lags >= 1
    seasonal = np.tile(3 * generator.normal(size=(12, 3)), (40, 1)) + generator.normal(size=(480, 3))
    linear = next(one for one in chosen(seasonal, season=12) if one.role == "linear").transform
    assert linear.season == 12
    bursts = noise * np.repeat(np.exp(generator.normal(size=20)), 20)[:, None]
    assert chosen(bursts)[0].role == "moving"
    zeros = np.where(np.arange(400)[:, None] % 24 < 12, 0.0, noise[:, :1])
    roles = {one.role: one.transform for one in chosen(np.hstack([zeros, noise]))}
    assert roles["apart"].apart == (0,)
    zeros[::2] = noise[::2, :1]  # a fourth
    assert "apart" not in {one.role for one in chosen(np.hstack([zeros, noise]))}


@pytest.mark.parametrize("n", [10, 25, 50, 100])
def test_wide_tables_of_independent_columns(n):
    """At most 0.05 + 2 / n nats a number below the truth, on the mean of several tables."""
    scores = []
    for seed in range(max(2, 120 // n)):
        generator = np.random.default_rng([n, seed])
        X, new = generator.normal(size=(n, 20)), generator.normal(size=(300, 20))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores.append(RNADE(random_state=0, max_epochs=100).fit(X).score(new) / 20)
    assert np.mean(scores) > -1.4189 - 0.05 - 2 / n


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_few_frames_with_a_weight(n):
    X, weight = np.random.default_rng(0).normal(size=(30, 3)), np.zeros(30)
    weight[-n:] = 1
    model = RNADE(validation_fraction=0, max_epochs=1, random_state=0).fit(X, sample_weight=weight)
    assert np.isfinite(model.score_samples(X)).all()


def test_the_choice_does_not_depend_on_threads_of_blas():
    x = drifting(200, D=20)
    found = []
    for limit in (1, 2):
        with threadpool_limits(limit, user_api="blas"):
            found.append([(one.score, one.role, to_file(one.transform)) for one in chosen(x)])
    assert found[0] == found[1]


def test_refit_fits_the_transform_to_all_and_leaves_the_net():
    X = [drifting(80, D=3, seed=s) for s in range(2)]
    options = {
        "n_components": 2,
        "n_hidden": 4,
        "n_recurrent": 4,
        "max_epochs": 3,
        "random_state": 0,
        "dtype": FLOAT64,
        "refit": "auto",
    }
    again, once = RNNRNADE(**options).fit(X), RNNRNADE(**options | {"refit": False}).fit(X)
    assert_same_bits(dict(again.parameters_), dict(once.parameters_))
    of_all = clone(again.transform_).fit(*packed(X))
    assert_same_bits(again.transform_.to_arrays(), of_all.to_arrays())
    first = [one.links[0] if isinstance(one, Chain) else one for one in (of_all, once.transform_)]
    assert np.any(first[0].mean_ != first[1].mean_)


def test_refit_of_all_trains_the_net_again_with_all_frames_for_as_many_updates():
    generator, t = np.random.default_rng(0), np.arange(200)[:, None]
    X = [np.sin(t * [0.25, 0.4] + s) + 0.1 * generator.normal(size=(200, 2)) for s in range(2)]
    options = {
        "n_components": 2, "n_hidden": 4, "n_recurrent": 4, "random_state": 0, "dtype": FLOAT64, "window": 20,
        "batch_size": 4, "transform": "standardize", "learning_rate": 0.03,
    }  # fmt: skip
    made = []
    before = training.Trainer.fit

    def fit(self, *given):
        made.append(self)
        return before(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "fit", fit)
        of_all, once = (RNNRNADE(refit=refit, **options).fit(X) for refit in ("all", "auto"))
    first, again, other = made
    assert first.best.update == again.updates == of_all.best_update_ == once.best_update_ > 20
    assert_same_bits(first.start.theta, again.start.theta)
    assert_same_bits(of_all.transform_.to_arrays(), once.transform_.to_arrays())
    assert of_all.history_["loss"] == once.history_["loss"]
    assert_same_bits(dict(once.parameters_), once._density.model.layout.views(other.best.theta))
    assert np.abs(of_all.parameters_["b_mu"] - once.parameters_["b_mu"]).max() > 1e-3


def test_a_net_that_stays_as_it_starts_is_not_trained_again():
    X = [np.random.default_rng(0).normal(size=(60, 2))]
    options = {"n_components": 2, "n_hidden": 4, "n_recurrent": 4, "random_state": 0, "max_epochs": 30}
    of_all, once = (RNNRNADE(refit=refit, **options).fit(X) for refit in ("all", "auto"))
    assert once.best_update_ == 0
    assert_same_bits(dict(of_all.parameters_), dict(once.parameters_))


ITSELF = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    "options",
    [
        {"transform": [Volatility()]},
        {"transform": [Linear(), Linear()]},
        {"transform": []},
        {"transform": ITSELF},
        {"transform": [Linear(), Volatility(scale=(0.9,))]},
        {"transform": [Linear(), Volatility(within=2.0)]},
        {"transform": Auto(season=-1)},
        {"transform": Auto(apart=(7,))},
        {"transform": Linear(4, season=3)},
        {"transform": Linear(towards="mean")},
        {"transform": Linear(shrinkage=1.5)},
        {"transform": Linear(max_radius=0)},
        {"transform": Linear(1, apart=(3,))},
    ],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises((ValueError, TypeError)):
        RNNRNADE(max_epochs=1, **options).fit(drifting(60, D=3))


@pytest.mark.parametrize(("n", "D"), [(2, 4), (10, 20)])
def test_where_nothing_can_be_held_out_the_net_stays_as_it_starts(n, D):
    """It had overfitted: 7 nats a number below the truth at 10 x 20, 36,000 at 2 x 4."""
    below = []
    for seed in range(3):
        generator = np.random.default_rng([n, seed])
        X, new = generator.normal(size=(n, D)), generator.normal(size=(300, D))
        with pytest.warns(ConvergenceWarning, match="too few to hold some out: the network stays as it starts"):
            model = RNNRNADE(random_state=0).fit([X])
        assert model.n_iter_ == 0
        below.append((-0.5 * (np.log(2 * np.pi) + new**2).sum(axis=1).mean() - model.score([new])) / D)
    assert np.mean(below) < (0.05 + 2 / n if n > 2 else 20)  # of two frames there is no scale


@pytest.mark.parametrize("first, second, strength", [(2, 0, 0.5), (2, 2, 0.9), (0, 0, None), (0, 2, 0.9)])
def test_each_level_must_gain_more_than_a_standard_error(first, second, strength, monkeypatch):
    asked, gains = [], iter([(first, 1), (second, 1)])
    monkeypatch.setattr(auto, "gain", lambda *given: asked.append(given) or next(gains, (0, 1)))
    T = 300
    found = choose(drifting(T), np.array([0, T]), np.ones(T), np.arange(T) >= 270, True, Auto())
    (level,) = {one.transform.links[1].level for one in found if one.role == "moving"}
    assert (level and level[1]) == strength
    (new, without, _), (_, before, _) = asked[:2]
    assert_same_bits(before, new if first else without)


@pytest.mark.parametrize("second, third, floor", [(1, 1, 0.5), (3, 1, 0.2), (3, 3, 0.05), (1, 3, 0.05)])
def test_a_lower_floor_must_gain_more_than_two_standard_errors(second, third, floor, monkeypatch):
    asked, gains = [], iter([(0, 1), (0, 1), (second, 1), (third, 1)])
    monkeypatch.setattr(auto, "gain", lambda *given: asked.append(given) or next(gains))
    T = 300
    found = choose(drifting(T), np.array([0, T]), np.ones(T), np.arange(T) >= 270, True, Auto())
    assert {one.transform.links[1].scale[2] for one in found if one.role == "moving"} == {floor}
    (new, before, _), (_, so_far, _) = asked[2:]
    assert_same_bits(so_far, new if second > 2 else before)


def test_a_choice_is_not_left_to_two_frames():
    """Of 20 frames two are held out: the transform is chosen by folds of all, or it was 0.2 nats a number too low."""
    below = []
    for seed in range(4):
        generator = np.random.default_rng([20, 20, seed])
        X, new = generator.normal(size=(20, 20)), generator.normal(size=(300, 20))
        model = RNNRNADE(random_state=0, max_epochs=20).fit([X])
        below.append((-0.5 * (np.log(2 * np.pi) + new**2).sum(axis=1).mean() - model.score([new])) / 20)
    assert max(below) < 0.05 + 2 / 20


@pytest.mark.parametrize("how", [KeyboardInterrupt, FloatingPointError])
def test_a_refit_that_ends_early_leaves_the_net_of_before(how, monkeypatch):
    X = [np.sin(np.arange(200)[:, None] * [0.25, 0.4] + s) for s in range(2)]
    options = {
        "n_components": 2, "n_hidden": 3, "n_recurrent": 3, "max_epochs": 8, "batch_size": 3, "window": 20,
        "transform": "standardize", "learning_rate": 0.1, "random_state": 1,
    }  # fmt: skip
    once = RNNRNADE(refit="auto", **options).fit(X)
    update = training.Trainer.update

    def ended(self, batch):
        if self.repeats and self.updates == 10:
            raise how
        return update(self, batch)

    monkeypatch.setattr(training.Trainer, "update", ended)
    with pytest.warns(ConvergenceWarning, match="of before the refit"):
        model = RNNRNADE(refit="all", **options).fit(X)
    assert once.best_update_ > 20
    assert_same_bits(dict(model.parameters_), dict(once.parameters_))


def test_a_season_that_cannot_be_used_is_named():
    x = np.random.default_rng(0).normal(size=(60, 2))
    options = {"random_state": 0, "max_epochs": 1, "transform": Auto(season=24)}
    with pytest.warns(UserWarning, match="season=24 is not used: the recordings are too short"):
        RNNRNADE(**options).fit([x[:40]])
    with pytest.warns(UserWarning, match="season=24 is not used: rows have no past"):
        RNADE(**options).fit(x)


@pytest.mark.parametrize("model", [RNADE, RNNRNADE])
@pytest.mark.parametrize("n, by_folds", [(490, True), (510, False)])
def test_folds_choose_where_less_than_fifty_frames_are_held_out(monkeypatch, model, n, by_folds):
    asked = []

    def watched(frames, offsets, weight, held, *rest):
        asked.append(held)
        return choose(frames, offsets, weight, held, *rest)

    monkeypatch.setattr("rnnrnade.base.choose", watched)
    X = np.random.default_rng(0).normal(size=(n, 2))
    model(n_hidden=2, max_epochs=1, random_state=0).fit(X if model is RNADE else [X])
    assert [held is None for held in asked] == [by_folds]
