"""Missing values of latent-variable models: particles against latent_reference.py, likelihoods that are known."""

from itertools import product

import numpy as np
import pytest
from helpers import (
    FLOAT64,
    LATENT_CASES,
    LATENT_CLASSES,
    SEQUENTIAL_LATENT,
    TINY_LATENT,
    Case,
    LatentCase,
    assert_near,
    assert_same_bits,
    ids,
    latent_data_of,
    latent_model_of,
    listed,
    walks,
)
from latent_reference import (
    gaussian_with_gaps,
    idle_latents,
    latent_log_marginal,
    latent_particles_with_gaps,
    linear_gaussian_frames,
    linear_gaussian_states,
)
from reference import logsumexp
from scipy.stats import kstest, norm

import rnnrnade
from rnnrnade import SRNN, VAE, Linear
from rnnrnade.particles import Gaps

NAN = np.nan
OPTIONS = {"missing": "marginalize", "random_state": 0, "n_jobs": 1}


def with_gaps(x, *places):
    """A copy of x with NaN at places (frame, dimension or slice)."""
    x = np.array(x, np.float64)
    for place in places:
        x[place] = NAN
    return x


def scattered(x, generator, share=0.3):
    """A copy of x without some of its numbers, and, where it has more than two, its second frame."""
    x = np.where(generator.random(x.shape) < share, NAN, x)
    x[1 : 2 * (len(x) > 2)] = NAN
    return x


def shaped(kind, X):
    """Sequences as the estimator takes them: of a VAE each is a row."""
    return np.concatenate(X) if kind == "vae" else list(X)


# ---- against the definition ------------------------------------------------------------------------------------------


class Numbers:
    """The random numbers of K particles, in the order in which the library draws them."""

    def __init__(self, model, K, seed):
        self.density, self.K, self.generator = model._density, K, np.random.default_rng(seed)
        self.J, self.D = self.density.model.latent.J, self.density.model.layout.D

    def latent(self, n):
        return self.generator.standard_normal((self.K * n, self.J)).reshape(self.K, n, self.J)

    def lot(self):
        return self.generator.random((self.K, 1))[:, 0]

    def position(self):
        return self.generator.random()

    def dimension(self):
        uniform = self.generator.random(self.K)
        head = self.density.head
        return uniform, head.distribution.noise(self.generator, (self.K,)) if head.mixture else uniform

    def frame(self):
        uniform, noise = self.density.noise((self.K, 1, self.D), self.generator)
        return uniform[:, 0], noise[:, 0] if noise.shape == uniform.shape else noise.reshape(self.K, self.D, -1)


DEFINED = [case for case in LATENT_CASES if case.J and case.conditioner != "shared"]


@pytest.mark.parametrize("case", DEFINED, ids=ids(DEFINED))
def test_particles_equal_the_definition(case):
    K, generator = 7, np.random.default_rng(case.seed)
    model, X, _ = latent_model_of(case, **OPTIONS)
    X = [scattered(x, generator) for x in (X[:4, None] if case.kind == "vae" else X)]
    X[0][-1, -1] = NAN
    gaps = Gaps(model._density, model._check(shaped(case.kind, X), gaps=True), np.random.default_rng(0), 1)
    parameters, _, _ = case.make()
    for s, x in enumerate(X):
        particles = gaps.filter(s, K, 1)
        particles.generator = np.random.default_rng(s)
        found = particles.run(0, len(x))[0, :, -1]
        expected, filled = latent_particles_with_gaps(parameters, x, K, Numbers(model, K, s), **case.choices)
        assert_near(found, expected, 1e-12, "estimate")
        assert_near(particles.completed(), filled, 1e-12, "completed")


# ---- known likelihoods -----------------------------------------------------------------------------------------------

PATTERNS = {
    "nothing": [],
    "first dimension": [(0, 0)],
    "first frame": [0],
    "inner frames": [2, 3],
    "last frame": [5],
    "all but two numbers": [(0, slice(1, None)), 1, 2, 3, 4, (5, slice(2))],
    "here and there": [(0, 1), (2, 0), (2, 2), 3, (4, 1)],
}


def of_states(encoder, seed=0, **options):
    """(estimator, what is known of it)"""
    known = linear_gaussian_states(encoder=encoder)
    choices = {name: value for name, value in known.choices.items() if name in SRNN._parameter_constraints}
    return SRNN.from_parameters(known.parameters, noise_seed=seed, **OPTIONS, **choices, **options), known


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("encoder", ["filter", "smooth"])
def test_estimates_are_unbiased_for_kalmans_likelihood_and_say_their_error(encoder, pattern):
    model, known = of_states(encoder)
    x = with_gaps(known.draw(np.random.default_rng(1), 6), *PATTERNS[pattern])
    exact = gaussian_with_gaps(x, *known.joint(6))[0]
    assert_near(known.log_density(x), exact, 1e-10, "Kalman")
    if pattern == "nothing":
        models = [of_states(encoder, seed)[0] for seed in range(60)]
        each = [one.log_likelihood_missing([x], 30, n_repeats=8) for one in models]
    else:
        each = [model.log_likelihood_missing([x], 30, seed, n_repeats=8) for seed in range(60)]
    ratio = np.exp([one.log_likelihood[0] - exact for one in each])
    errors = np.array([one.standard_error[0] for one in each])
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio)) + 1e-6
    assert 0.7 < np.sqrt(np.mean((errors * ratio) ** 2)) / ratio.std() < 1.4


@pytest.mark.parametrize("encoder", ["filter", "smooth"])
def test_many_particles_come_near_kalmans_likelihood(encoder):
    model, known = of_states(encoder)
    generator = np.random.default_rng(2)
    X = [scattered(known.draw(generator, 12), generator) for _ in range(3)]
    exact = np.array([gaussian_with_gaps(x, *known.joint(12))[0] for x in X])
    found, error = model.log_likelihood_missing(X, 2000)
    assert np.all(np.abs(found - exact) < 4 * error)
    assert np.all(error < 0.1)
    scores = model.set_params(n_particles=2000).score_samples(X)
    assert np.all(np.abs(scores - exact) < 4 * np.sqrt(10) * error)
    assert_near([frames.sum() for frames in model.score_frames(X)], scores, 1e-12, "increments")


def analysis(conditional_of_frame=False, **options):
    """Factor analysis: (estimator, what is known of it)"""
    known = linear_gaussian_frames(np.random.default_rng(0), 4, 2, off=0.1)
    p = dict(known.parameters)
    if conditional_of_frame:  # one component of the whole frame
        p |= {"b_alpha": np.zeros(1), "W_alpha": p["W_alpha"][0]}
    return VAE.from_parameters(p, min_latent_scale=1e-3, **OPTIONS, **options), known


@pytest.mark.parametrize("of_frame", [False, True])
def test_rows_with_any_gaps_have_the_likelihood_of_factor_analysis(of_frame):
    model, known = analysis(of_frame)
    assert model._density.model.layout.conditioner == ("shared" if of_frame else "nade")
    row = known.draw(np.random.default_rng(3), 1)[0]
    rows = np.array([np.where(bits, NAN, row) for bits in product([False, True], repeat=4)])
    exact = np.array([gaussian_with_gaps(x, *known.joint(1))[0] for x in rows])
    found, error = model.log_likelihood_missing(rows, 3000)
    assert np.all(np.abs(found - exact) <= 4 * error)
    assert np.all(error < 0.05)
    assert (found[-1], error[-1]) == (0, 0)
    assert np.all(np.abs(model.set_params(n_particles=3000).score_samples(rows) - exact) <= 4 * np.sqrt(10) * error)


@pytest.mark.parametrize("of_frame", [False, True])
def test_imputed_numbers_of_rows_follow_their_conditional(of_frame):
    model, known = analysis(of_frame)
    x = with_gaps(known.draw(np.random.default_rng(4), 1), (0, 1), (0, 3))
    _, mean, covariance = gaussian_with_gaps(x, *known.joint(1))
    draws = model.impute(x, 1000, 0, n_particles=30_000)[:, 0]
    assert_same_bits(draws[:, [0, 2]], np.tile(x[:, [0, 2]], (1000, 1)))
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws[:, [1, 3]] - mean).T)
    for values in (*whitened, (whitened[0] + whitened[1]) / np.sqrt(2)):
        assert kstest(norm.cdf(values), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("encoder", ["filter", "smooth"])
@pytest.mark.parametrize("place", [(0, 0), (2, 1), 3, 5], ids=str)
def test_imputed_numbers_of_sequences_follow_their_conditional(encoder, place):
    model, known = of_states(encoder)
    x = with_gaps(known.draw(np.random.default_rng(5), 6), place)
    _, mean, covariance = gaussian_with_gaps(x, *known.joint(6))
    draws = model.impute(x, 400, 1, n_particles=20_000)
    missing = np.isnan(x)
    assert_same_bits(draws[:, ~missing], np.tile(x[~missing], (400, 1)))
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws[:, missing] - mean).T)
    for values in whitened:
        assert kstest(norm.cdf(values), "uniform").pvalue > 1e-3


def affine_of(transform, order, T, D):
    """(A, b) with e = A x + b for the packed numbers of T frames, x in the order of X."""
    offsets = np.array([0, T])

    def e(x):
        return transform.encode(np.ascontiguousarray(x.reshape(T, D)[:, order]), offsets)[0].ravel()

    b = e(np.zeros(T * D))
    return np.stack([e(unit) - b for unit in np.eye(T * D)], axis=1), b


@pytest.mark.parametrize("kind", ["vae", "vae of one component", "filter", "smooth"])
def test_gaps_behind_a_transform_and_an_order(kind):
    """Lags: a number that is missing moves what the network reads of the frames behind it."""
    T, is_vae = 1 if kind.startswith("vae") else 5, kind.startswith("vae")
    bare, known = analysis(kind != "vae") if is_vae else of_states(kind)
    D = 4 if is_vae else 3
    order = np.array([2, 0, 3, 1])[:D] if is_vae else np.array([2, 0, 1])
    generator = np.random.default_rng(6)
    data = np.cumsum(generator.standard_normal((60, D)) @ np.triu(np.ones((D, D))), axis=0)
    offsets = np.arange(61) if is_vae else np.array([0, 60])
    transform = Linear(lags=0 if is_vae else 1, covariance="full").fit(np.ascontiguousarray(data[:, order]), offsets)
    options = {"min_latent_scale": 1e-3} | ({} if is_vae else {"encoder": kind, "cell": "tanh"})
    model = type(bare).from_parameters(bare.parameters_, transform=transform, order=order, **options, **OPTIONS)
    A, b = affine_of(transform, order, T, D)
    mean, covariance = known.joint(T)
    inverse = np.linalg.inv(A)
    joint = inverse @ (mean - b), inverse @ covariance @ inverse.T
    drawn = generator.multivariate_normal(*joint, size=3).reshape(3, T, D)
    places = [[(0, 1)], [(0, 0), (0, 3)], [(0, slice(1, 4))]] if is_vae else [[(0, 1)], [1, (3, 0)], [(2, 0), (2, 2)]]
    X = [with_gaps(x, *where) for x, where in zip(drawn, places, strict=True)]
    exact = np.array([gaussian_with_gaps(x, *joint)[0] for x in X])
    found, error = model.log_likelihood_missing(shaped("vae" if is_vae else kind, X), 4000)
    assert np.all(np.abs(found - exact) < 4.5 * error)
    assert np.all(error < 0.1)
    draws = listed(model.impute(shaped("vae" if is_vae else kind, X), 300, 1, n_particles=20_000))
    draws = draws[0].swapaxes(0, 1)[:, :, None] if is_vae else draws
    for x, filled in zip(X, draws, strict=True):
        _, mean, covariance = gaussian_with_gaps(x, *joint)
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), (filled[:, np.isnan(x)] - mean).T)
        for values in whitened:
            assert kstest(norm.cdf(values), "uniform").pvalue > 1e-3


BITS = [
    LatentCase("vrnn", D=2, J=1, E=5, R=3, lengths=(2,), head="bernoulli", cell="gru"),
    LatentCase("vrnn", D=2, J=1, E=5, R=3, lengths=(2,), head="bernoulli", H=3, prior="standard"),
    LatentCase("srnn", D=2, J=1, E=5, R=3, lengths=(2,), head="bernoulli", encoder="filter", residual=True),
    LatentCase("srnn", D=2, J=1, E=5, R=3, lengths=(2,), head="bernoulli", H=3),
]


@pytest.mark.parametrize("places", [[(0, 0)], [0], [(0, 1), (1, 0)]], ids=str)
@pytest.mark.parametrize("case", BITS, ids=ids(BITS))
def test_estimates_are_unbiased_for_the_sum_over_what_is_missing(case, places):
    model, (x,), _ = latent_model_of(case, **OPTIONS)
    parameters, _, _ = case.make()
    x = with_gaps(x, *places)
    n = int(np.isnan(x).sum())
    filled = np.tile(x, (2**n, 1, 1))
    filled[:, np.isnan(x)] = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    exact = logsumexp(np.array([latent_log_marginal(parameters, one, nodes=41, **case.choices) for one in filled]))
    found, error = model.log_likelihood_missing([x], 5, 0, n_repeats=1000)
    ratio = np.exp(found[0] - exact)
    assert 0 < error[0] < 0.08
    assert abs(ratio - 1) < 4 * error[0] * ratio + 1e-3
    assert set(np.unique(model.impute([x], 50)[0])) <= {0.0, 1.0}


def test_what_is_missing_at_the_end_of_a_frame_leaves_the_weights_alone():
    """Idle latent vectors: the density is that of an exact model, which integrates such gaps out exactly."""
    case = Case(D=3, H=3, K=2, R=4, lengths=(5, 2, 7), cell="gru", context=("alpha", "mu", "sigma", "hidden"))
    exact, X = case.model(FLOAT64, missing="marginalize", random_state=0)
    parameters, _ = case.make()
    X = [with_gaps(x, (-1, slice(1, 3))) for x in X]
    X[1] = with_gaps(X[1], (slice(None), 0))
    for kind in ("vrnn", "srnn"):
        of_latents, choices = idle_latents(np.random.default_rng(1), parameters, kind, 2, **case.choices)
        named = {
            name: value
            for name, value in choices.items()
            if name in getattr(rnnrnade, LATENT_CLASSES[kind])._parameter_constraints
        }
        model = getattr(rnnrnade, LATENT_CLASSES[kind]).from_parameters(of_latents, **OPTIONS, **named)
        total, error = model.log_likelihood_missing(X, 2000)
        expected, of_expected = exact.log_likelihood_missing(X, 2000)
        assert_near(total[[0, 2]], expected[[0, 2]], 1e-10, "exact")
        assert np.all(error[[0, 2]] < 1e-10)
        assert abs(total[1] - expected[1]) < 4 * np.hypot(error[1], of_expected[1])


@pytest.mark.parametrize("kind", ["vae", "vrnn", "srnn"])
def test_without_latents_the_exact_model_gives_the_same(kind):
    """The same densities from the same random numbers."""
    R = 0 if kind == "vae" else 4
    case = Case(D=3, H=3, K=2, R=R, lengths=(5, 2, 4), context=("alpha", "mu", "sigma", "hidden") if R else ())
    exact, X = case.model(FLOAT64, missing="marginalize", random_state=0)
    parameters, _ = case.make()
    X = np.asarray(X) if kind == "vae" else X
    of_latents, choices = idle_latents(np.random.default_rng(1), parameters, kind, 1, **case.choices)
    of_latents = (
        {"W_c": np.zeros((3, 7))}
        | {  # nothing reads the context of a row
            f"W_{name}": np.zeros((3, 2, 7)) for name in ("alpha", "mu", "sigma")
        }
        | of_latents
    )
    kept = ("F_x", "f_x", "C_", "c_k", "W", "V", "b", "c", "rho", "r0") + (("F_y", "f_y") if kind != "srnn" else ())
    of_latents = {name: p for name, p in of_latents.items() if name.startswith(kept) and name != "b_a"}
    if kind != "srnn":
        of_latents["F_y"] = np.zeros((len(of_latents["f_y"]), 0))
        of_latents["f_y"] = 0 * of_latents["f_y"]
    if kind == "srnn":
        of_latents["C_y"] = np.zeros((len(of_latents["c_k"]), 0))
    named = {name: choices[name] for name in ("cell", "min_latent_scale") if name in choices}
    model = getattr(rnnrnade, LATENT_CLASSES[kind]).from_parameters(of_latents, **OPTIONS | named)
    generator = np.random.default_rng(0)
    gaps = [scattered(x, generator) for x in (X[:, None] if kind == "vae" else X)]
    gaps[0] = with_gaps(gaps[0], -1)
    gaps = shaped(kind, gaps)
    for found, expected in zip(
        model.log_likelihood_missing(gaps, 50, 3), exact.log_likelihood_missing(gaps, 50, 3), strict=True
    ):
        assert_near(found, expected, 1e-9, "likelihood")
    for found, expected in zip(
        listed(model.impute(gaps, 3, 4, n_particles=20)), listed(exact.impute(gaps, 3, 4, n_particles=20)), strict=True
    ):
        assert_near(found, expected, 1e-9, "imputations")
    last = X[:, None] if kind == "vae" else X
    trailing = shaped(kind, [with_gaps(x, (-1, slice(1, 3))) for x in last])
    assert_near(model.score_samples(trailing), exact.score_samples(trailing), 1e-10, "scores")
    assert not model.log_likelihood_missing(trailing, 3).standard_error.any()


# ---- bits, hard data, refusals ---------------------------------------------------------------------------------------

SOME = [LATENT_CASES[i] for i in (3, 4, 8, 12, 13, 15, 19, 22, 23)]
some = pytest.mark.parametrize("case", SOME, ids=ids(SOME))


def gappy(case, dtype=np.float32, **options):
    """A model, and data of which the second sequence is complete and the third holds nothing."""
    model, X, _ = latent_model_of(case, dtype, n_particles=5, **OPTIONS, **options)
    generator = np.random.default_rng(1)
    X = [X[i % len(X)][None] for i in range(9)] if case.kind == "vae" else [X[i % len(X)] for i in range(6)]
    X = [x + 0 if i == 1 else scattered(x, generator) for i, x in enumerate(X)]
    X[0][0, 0], X[2][:] = NAN, NAN
    return model, shaped(case.kind, X)


@some
def test_all_numbers_of_threads_give_the_same_bits(case, all_threads):
    model, X = gappy(case)

    def answers(n_jobs):
        model.set_params(n_jobs=n_jobs)
        return [model.score_samples(X), *model.log_likelihood_missing(X, 40), *listed(model.impute(X, 2))]

    alone = answers(1)
    for n_jobs in (2, 5):
        for one, other in zip(answers(n_jobs), alone, strict=True):
            assert_same_bits(one, other)


@some
def test_a_sequence_has_the_same_bits_alone_and_in_any_batch(case):
    model, X = gappy(case)
    scores, (total, error) = model.score_samples(X), model.log_likelihood_missing(X, 7)
    for i in range(3):
        one = X[i : i + 1]
        assert_same_bits(model.score_samples(one), scores[i : i + 1])
        assert_same_bits(model.log_likelihood_missing(one, 7)[0], total[i : i + 1])
    assert scores[2] == total[2] == error[2] == 0  # nothing is held
    whole, of_whole = model.log_likelihood(X[1:2], 7)
    assert_same_bits(total[1:2], whole)
    assert_same_bits(error[1:2], of_whole)
    for found, expected in zip(model.log_likelihood_missing(X[1:2]), model.log_likelihood(X[1:2]), strict=True):
        assert_same_bits(found, expected)
    assert not np.array_equal(model.log_likelihood_missing(X, 7, 1)[0], total)  # another seed


def test_a_thousand_particles_where_something_is_missing_else_those_of_the_estimator():
    model, X = gappy(LATENT_CASES[3])
    usual, many = (model.log_likelihood_missing(X[:2], n).log_likelihood for n in (None, 1000))
    assert_same_bits(usual[:1], many[:1])
    assert usual[1] == model.log_likelihood(X[1:2]).log_likelihood[0] != many[1]
    assert model.log_likelihood_missing(X[:1], 5).log_likelihood[0] != usual[0]


@some
def test_conditionals_of_many_particles_are_taken_in_pieces(case, monkeypatch):
    model, X = gappy(case)
    scores, filled = model.score_samples(X), listed(model.impute(X, 2, n_particles=20))
    monkeypatch.setattr("rnnrnade.latent_model.SLICE", 7 * X[0].shape[-1] * model._density.model.layout.P)
    assert_same_bits(model.score_samples(X), scores)
    for found, expected in zip(listed(model.impute(X, 2, n_particles=20)), filled, strict=True):
        assert_same_bits(found, expected)


@some
def test_both_types_take_the_same_numbers(case):
    single, X = gappy(case)
    double, _, _ = latent_model_of(case, np.float32, n_particles=5, dtype="float64", **OPTIONS)
    X = X[:, None] if case.kind == "vae" else X
    X = shaped(case.kind, [x for x in X if not np.isnan(x).all(axis=1).any()])  # each type draws whole frames its way
    one, other = single.score_samples(X), double.score_samples(X)
    assert not np.array_equal(one, other)
    assert_near(one, other, 2e-4, "scores")


@some
def test_what_nothing_is_known_of_is_drawn_as_samples_are(case):
    model, X = gappy(case)
    D = X[2].shape[-1]
    nothing = np.full((1, D), NAN)
    filled = model.impute(nothing if case.kind == "vae" else [nothing], 500, 1)
    filled = (filled if case.kind == "vae" else filled[0])[:, 0]
    drawn = model.sample(500, random_state=2) if case.kind == "vae" else model.sample(500, 1, random_state=2)[:, 0]
    for d in range(D):
        if case.head == "bernoulli":
            assert abs(filled[:, d].mean() - drawn[:, d].mean()) < 4.5 * np.sqrt(0.5 / 500)
        else:
            assert kstest(filled[:, d], drawn[:, d]).pvalue > 1e-4


def test_equal_rows_are_filled_independently():
    model, known = analysis()
    rows = np.tile(with_gaps(known.draw(np.random.default_rng(0), 1), (0, 1)), (50, 1))
    assert len(np.unique(model.impute(rows, 1, 0)[0, :, 1])) == 50


@pytest.mark.parametrize("name", ["VAE", "VRNN", "SRNN"])
def test_files_and_tables(name, tmp_path):
    pandas = pytest.importorskip("pandas")
    options = TINY_LATENT if name == "VAE" else SEQUENTIAL_LATENT
    X = latent_data_of(name, walks(12))
    model = getattr(rnnrnade, name)(**options | {"missing": "marginalize", "max_epochs": 1}).fit(X)
    x = with_gaps(X[:6] if name == "VAE" else X[0][:6], (1, 0), 2)
    model.save(tmp_path / "model")
    loaded = rnnrnade.load(tmp_path / "model")
    assert loaded.missing == "marginalize"
    assert_same_bits(loaded.score_samples(x), model.score_samples(x))
    table = pandas.DataFrame(x, columns=list("abc"))
    model = model.fit([pandas.DataFrame(one, columns=list("abc")) for one in X] if name != "VAE" else table.fillna(0.0))
    scores = model.score_samples(table)
    assert_same_bits(scores, model.score_samples(x))
    labelled = model.set_output(transform="pandas")
    assert labelled.score_samples(table).index.equals(table.index)
    filled = labelled.impute(table, 2, 0)
    assert list(filled.columns) == list("abc") and not filled.isna().any(axis=None)
    assert_same_bits(np.asarray(filled).reshape(2, *x.shape), model.set_output(transform="default").impute(x, 2, 0))


@pytest.mark.parametrize("name", ["VAE", "VRNN", "SRNN"])
def test_gaps_are_refused_where_they_are_not_told_to_be_missing(name):
    options = TINY_LATENT if name == "VAE" else SEQUENTIAL_LATENT
    X = latent_data_of(name, walks(12))
    model = getattr(rnnrnade, name)(**options | {"max_epochs": 1}).fit(X)
    gaps = with_gaps(X, (2, 1)) if name == "VAE" else [X[0], with_gaps(X[1], (2, 1))]
    place = "row 2, dimension 1" if name == "VAE" else "sequence 1, frame 2, dimension 1"
    for call in (model.score_samples, model.log_likelihood_missing, model.impute):
        with pytest.raises(ValueError, match=f"contains NaN: {place}"):
            call(gaps)
    model.set_params(missing="marginalize")
    assert np.isfinite(model.score_samples(gaps)).all()
    for call in (model.log_likelihood, model.lower_bound, model.encode, model.reconstruct, model.fit):
        with pytest.raises(ValueError, match=f"{place}.*only scores, .* take gaps"):
            call(gaps)
    for call, arguments in (
        (model.impute, {"n_samples": 0}),
        (model.impute, {"n_particles": 0}),
        (model.log_likelihood_missing, {"n_particles": 0}),
        (model.log_likelihood_missing, {"n_repeats": 1}),
    ):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            call(gaps, **arguments)
    with pytest.raises(MemoryError, match="particles"):
        model.log_likelihood_missing(gaps, 10**12)
    with pytest.raises(ValueError, match="'missing' parameter"):
        model.set_params(missing="ignore").fit(X)
    if name == "VRNN":
        model.set_params(missing="marginalize")
        for call in (lambda: model.forecast(gaps[1], 2), lambda: model.stream(gaps[1])):
            with pytest.raises(ValueError, match="contains NaN: sequence 0, frame 2, dimension 1"):
                call()
        with pytest.raises(ValueError, match="Frame contains NaN"):
            model.stream().update(gaps[1][2])


@pytest.mark.parametrize("encoder", ["filter", "smooth"])
def test_a_frame_without_density_leaves_the_others_alone(encoder):
    case = LatentCase("srnn", D=2, J=1, E=5, R=3, lengths=(6, 4), encoder=encoder)
    model, X, _ = latent_model_of(case, n_particles=4, **OPTIONS)
    parameters = {name: np.array(value) for name, value in model.parameters_.items()}
    parameters["W_sigma"] *= 0.0  # else its scale is as large as the frame
    model = SRNN.from_parameters(parameters, cell=case.cell, encoder=encoder, n_particles=4, **OPTIONS)
    gaps = [with_gaps(x, (1, 0), 3) for x in X]
    expected = model.score_samples(gaps[1:])
    gaps[0][2] = 1e200
    scores, (total, error) = model.score_frames(gaps), model.log_likelihood_missing(gaps, 4)
    assert scores[0][2] == total[0] == -np.inf
    assert error[0] == 0
    assert not np.isnan(np.concatenate(scores)).any()
    assert_near([scores[1].sum()], expected, 1e-12, "the other")
