"""The definition of the latent-variable models: its sweep is the derivative, its bounds fit known likelihoods."""

import numpy as np
import pytest
import reference
from helpers import (
    EDGES,
    GATED,
    LATENT_CASES,
    LAYERED,
    MASKED,
    SHARED,
    LatentCase,
    assert_near,
    assert_near_gradient,
    assert_same_bits,
    cases,
    complex_step,
    complex_step_gradient,
    dot,
    ids,
    random_direction,
    random_latent_parameters,
    random_sequences,
)
from latent_reference import (
    idle_latents,
    kl_normal,
    latent_bound,
    latent_draw,
    latent_gradient,
    latent_importance,
    latent_importance_gradient,
    latent_log_marginal,
    latent_log_weights,
    latent_particles,
    linear_gaussian_frames,
    linear_gaussian_states,
    systematic,
)
from scipy.stats import chisquare, norm

OBJECTIVES = ("bound", "log_weight")


def assert_mean(values, expected, errors=4):
    """The mean of draws is as expected, within that many standard errors."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - expected) <= errors * error, f"{values.mean()}, not {expected}: error {error}"


def mean_of_quadratic(function, shape):
    """E function(eps), eps ~ N(0, I) of that shape, of a polynomial of degree 2: exact"""
    eps, at_0 = np.zeros(shape), function(np.zeros(shape))
    total = at_0
    for i in np.ndindex(*shape):
        eps[i] = 1.0
        above = function(eps)
        eps[i] = -1.0
        total += (above + function(eps)) / 2.0 - at_0
        eps[i] = 0.0
    return total


# ---- the cases -----------------------------------------------------------------------------------------------


def test_cases_have_every_kind_cell_prior_encoder_and_frame():
    assert len({str(case) for case in LATENT_CASES}) == len(LATENT_CASES)
    recurrent = [case for case in LATENT_CASES if case.kind != "vae"]
    assert {(c.kind, c.cell) for c in recurrent} == {(k, c) for k in ("vrnn", "srnn") for c in reference.CELLS}
    assert {c.prior for c in recurrent if c.kind == "vrnn"} == {"recurrent", "standard"}
    for kind in ("vrnn", "srnn"):
        assert {(c.L, c.n_dense) for c in recurrent if c.kind == kind} >= {(1, 1), (1, 2), (2, 1), (2, 2)}
    states = {(c.encoder, c.residual, c.L > 1) for c in recurrent if c.kind == "srnn"}
    assert {s[:2] for s in states} == {(e, r) for e in ("smooth", "filter") for r in (False, True)}
    assert {True, False} == {c.residual for c in recurrent if c.kind == "vrnn"}
    for kind in ("vae", "vrnn", "srnn"):
        of_kind = [case for case in LATENT_CASES if case.kind == kind]
        assert {min(c.J, 2) for c in of_kind} == {0, 1, 2}
        assert {c.conditioner for c in of_kind} == {"nade", "shared", "made"}
        assert {c.head for c in of_kind} >= {"gaussian", "bernoulli", "student"}
        assert {c.activation for c in of_kind} == set(reference.ACTIVATIONS)


# ---- law 1: the sweep is the derivative ------------------------------------------------------------------------

TINY = [
    LatentCase("vae", D=2, J=2, E=4, R=0, lengths=(2,), n_dense=2),
    LatentCase("vrnn", D=2, J=2, E=4, R=2, lengths=(3,), n_dense=2, L=2),
    LatentCase("vrnn", D=2, J=2, E=4, R=2, lengths=(3,), cell="lstm", residual=True),
    LatentCase("vrnn", D=2, J=1, E=4, R=2, lengths=(3,), cell="gru", prior="standard"),
    LatentCase("srnn", D=2, J=2, E=4, R=2, lengths=(3,), encoder="filter", n_dense=2, L=2),
    LatentCase("srnn", D=2, J=1, E=4, R=2, lengths=(3,), encoder="filter", residual=True, cell="sigmoid"),
    LatentCase("srnn", D=2, J=2, E=4, R=2, lengths=(3,), cell="gru"),
    LatentCase("srnn", D=2, J=2, E=4, R=2, lengths=(3,), cell="lstm", residual=True),
    LatentCase("srnn", D=2, J=1, E=4, R=2, lengths=(3,), head="bernoulli", H=2),
]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", TINY, ids=ids(TINY))
def test_gradient_is_the_derivative_in_every_coordinate(case, objective):
    parameters, (x,), (noise,) = case.make()
    choices = case.choices | {"beta": 0.7}
    gradient = latent_gradient(parameters, x, noise, objective=objective, **choices)
    exact = complex_step_gradient(lambda p: getattr(latent_bound(p, x, noise, **choices), objective), parameters)
    assert_near_gradient(gradient, exact, 1e-13)
    without = {name for name in exact if exact[name].size and not np.any(exact[name])}
    assert without <= {"rho", "b_alpha", "W_alpha"}, "a parameter that nothing depends on: another case"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", LATENT_CASES, ids=ids(LATENT_CASES))
def test_gradient_is_the_derivative_in_a_random_direction(case, objective):
    parameters, sequences, noises = case.make()
    direction = random_direction(np.random.default_rng(1), parameters)
    for x, noise in zip(sequences, noises, strict=True):
        gradient = latent_gradient(parameters, x, noise, objective=objective, **case.choices)

        def value(p, x=x, noise=noise):
            return getattr(latent_bound(p, x, noise, **case.choices), objective)

        exact = complex_step(value, parameters, direction)
        norm_of_both = np.sqrt(dot(gradient, gradient) * dot(direction, direction))
        assert abs(dot(gradient, direction) - exact) <= 1e-13 * norm_of_both


@pytest.mark.parametrize("case", TINY, ids=ids(TINY))
def test_gradient_of_the_importance_weighted_bound_is_the_derivative(case):
    parameters, (x,), _ = case.make()
    generator = np.random.default_rng(2)
    noise = generator.standard_normal((3, len(x), case.J))
    direction = random_direction(generator, parameters)
    gradient = latent_importance_gradient(parameters, x, noise, beta=0.7, **case.choices)
    exact = complex_step(lambda p: latent_importance(p, x, noise, beta=0.7, **case.choices), parameters, direction)
    assert abs(dot(gradient, direction) - exact) <= 1e-13 * np.sqrt(dot(gradient, gradient) * dot(direction, direction))


# ---- law 2: the KL divergence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1e-3, 0.3, 1.0, 1e3])
@pytest.mark.parametrize("sigma_p", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("d", [0.0, -0.4, 3.0])
def test_kl_is_the_mean_of_the_difference_of_log_densities(ratio, sigma_p, d):
    mu_q, mu_p, sigma_q = np.array([0.3 + d, -0.2]), np.array([0.3, -0.2]), np.array([ratio * sigma_p, sigma_p])
    kl = kl_normal(mu_q, sigma_q, mu_p, np.full(2, sigma_p))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)  # the difference is quadratic: exact
    y = mu_q[0] + sigma_q[0] * nodes
    difference = norm.logpdf(y, mu_q[0], sigma_q[0]) - norm.logpdf(y, mu_p[0], sigma_p)
    assert_near(kl, weights @ difference / weights.sum(), 1e-13)
    assert kl > 0 or (kl == 0 and ratio == 1.0 and d == 0.0)


@pytest.mark.parametrize("case", TINY, ids=ids(TINY))
def test_bounds_are_made_of_normal_densities_at_the_drawn_latents(case):
    parameters, (x,), (noise,) = case.make()
    b = latent_bound(parameters, x, noise, **case.choices)
    assert_near(b.y, b.mu_q + b.sigma_q * noise, 0)
    assert_near(b.log_prior, norm.logpdf(b.y, b.mu_p, b.sigma_p).sum(1), 1e-14)
    assert_near(b.log_encoder, norm.logpdf(b.y, b.mu_q, b.sigma_q).sum(1), 1e-14)
    draws = np.random.default_rng(3).standard_normal((10**5, case.J))
    y = b.mu_q[0] + b.sigma_q[0] * draws
    assert_mean((norm.logpdf(y, b.mu_q[0], b.sigma_q[0]) - norm.logpdf(y, b.mu_p[0], b.sigma_p[0])).sum(1), b.kl[0])
    assert_near(b.bound, np.sum(b.reconstruction - b.kl), 1e-14)
    assert_near(b.log_weight, np.sum(b.reconstruction + b.log_prior - b.log_encoder), 1e-14)


# ---- laws 3 and 4: linear frames, no latent in the recurrence -----------------------------------------------------

FRAMES = [
    {"D": 1, "J": 1},
    {"D": 4, "J": 3},
    {"D": 3, "J": 2, "n_dense": 2},
    {"D": 3, "J": 0},
    *({"D": 3, "J": 2, "R": 4, "cell": cell} for cell in reference.CELLS),
    {"D": 3, "J": 2, "R": 3, "prior": "standard", "cell": "gru", "n_layers": 2},
    {"D": 4, "J": 3, "R": 2, "residual": True, "n_dense": 2, "cell": "lstm", "n_layers": 2},
]


@pytest.mark.parametrize("sizes", FRAMES, ids=str)
def test_every_weight_is_the_likelihood_where_the_encoder_is_the_posterior(sizes):
    generator = np.random.default_rng(4)
    known = linear_gaussian_frames(generator, **sizes)
    x = known.draw(generator, 5)
    log_p = known.log_density(x)
    for scale in (0.0, 1.0, 3.0):
        noise = scale * generator.standard_normal((5, sizes["J"]))
        assert_near(latent_bound(known.parameters, x, noise, **known.choices).log_weight, log_p, 1e-12)
    noise = generator.standard_normal((4, 5, sizes["J"]))
    assert_near(latent_importance(known.parameters, x, noise, **known.choices), log_p, 1e-12)


@pytest.mark.parametrize("sizes", FRAMES, ids=str)
@pytest.mark.parametrize("off", [0.0, 1.0])
def test_bound_is_below_the_likelihood_by_the_divergence_of_the_posterior(sizes, off):
    generator = np.random.default_rng(5)
    known = linear_gaussian_frames(generator, off=off, **sizes)
    x = known.draw(generator, 4)
    assert (known.gap(x) > 0.1) == (off > 0 and sizes["J"] > 0)
    for objective in OBJECTIVES:
        mean = mean_of_quadratic(
            lambda noise, of=objective: getattr(latent_bound(known.parameters, x, noise, **known.choices), of),
            (4, sizes["J"]),
        )
        assert_near(mean, known.log_density(x) - known.gap(x), 1e-12)


# ---- law 5: a linear-Gaussian state space ------------------------------------------------------------------------

STATES = [
    {"encoder": "filter"},
    {"encoder": "filter", "residual": True, "cell": "lstm", "n_dense": 2},
    {"encoder": "smooth"},
    {"encoder": "smooth", "residual": True, "n_dense": 2},
]


@pytest.mark.parametrize("options", STATES, ids=str)
@pytest.mark.parametrize("T", [1, 2, 9])
def test_bound_is_below_kalmans_likelihood_by_the_divergence_of_the_posterior(options, T):
    known = linear_gaussian_states(**options)
    x = known.draw(np.random.default_rng(6), T)
    for objective in OBJECTIVES:
        mean = mean_of_quadratic(
            lambda noise, of=objective: getattr(latent_bound(known.parameters, x, noise, **known.choices), of), (T, 2)
        )
        assert_near(mean, known.log_density(x) - known.gap(x), 1e-10)


def test_smoothing_loses_less_than_filtering():
    filters, smooths = (linear_gaussian_states(encoder=encoder) for encoder in ("filter", "smooth"))
    x = filters.draw(np.random.default_rng(7), 100)
    assert filters.log_density(x) == smooths.log_density(x)
    assert smooths.gap(x) < 0.01 * 100 < 0.1 * 100 < filters.gap(x)


# ---- law 6: nonlinear models against quadrature --------------------------------------------------------------------

QUADRATURE = [
    LatentCase("vae", D=2, J=1, E=6, R=0, lengths=(1,), K=2, H=3),
    LatentCase("vrnn", D=2, J=1, E=6, R=3, lengths=(2,), K=2, H=3),
    LatentCase("vrnn", D=1, J=1, E=6, R=3, lengths=(2,), cell="gru", prior="standard"),
    LatentCase("srnn", D=1, J=1, E=6, R=3, lengths=(2,), K=2, H=3, encoder="filter"),
    LatentCase("srnn", D=1, J=1, E=6, R=3, lengths=(2,), cell="lstm", residual=True),
]


def wide(case, by=0.8):
    """The parameters with an encoder wider than the posterior, so that weights have no heavy tails, and x."""
    parameters, (x,), _ = case.make()
    return parameters | {"s_q": parameters["s_q"] + by}, x


@pytest.mark.parametrize("case", QUADRATURE, ids=ids(QUADRATURE))
def test_weights_are_unbiased_in_nonlinear_models(case):
    parameters, x = wide(case)
    log_p = latent_log_marginal(parameters, x, nodes=41, **case.choices)
    generator = np.random.default_rng(8)
    bounds = [latent_bound(parameters, x, generator.standard_normal((len(x), 1)), **case.choices) for _ in range(1000)]
    log_w = np.array([b.log_weight for b in bounds])
    assert_mean(np.exp(log_w - log_p), 1.0)
    assert_mean(log_w - [b.bound for b in bounds], 0.0)  # (B2) and (B3) have the same mean
    below = log_p - log_w
    assert below.mean() > 4 * below.std() / np.sqrt(below.size)
    K = [np.log(np.exp(log_w.reshape(-1, k)).mean(1)).mean() for k in (1, 10, 100)]
    assert K[0] < K[1] < K[2] < log_p + 0.05


@pytest.mark.full
@pytest.mark.parametrize("case", QUADRATURE, ids=ids(QUADRATURE))
def test_quadrature_has_converged(case):
    parameters, x = wide(case)
    coarse, fine = (latent_log_marginal(parameters, x, nodes=nodes, **case.choices) for nodes in (41, 81))
    assert abs(coarse - fine) < 2e-3


@pytest.mark.parametrize("kind", ["vrnn", "srnn"])
def test_probabilities_of_binary_sequences_add_up_to_one(kind):
    case = LatentCase(kind, D=1, J=1, E=6, R=3, lengths=(2,), head="bernoulli")
    parameters, _, _ = case.make()
    outcomes = np.array(np.meshgrid([0.0, 1.0], [0.0, 1.0])).reshape(2, -1, 1).transpose(1, 0, 2)
    total = sum(np.exp(latent_log_marginal(parameters, x, nodes=33, **case.choices)) for x in outcomes)
    assert abs(total - 1) < 2e-3


# ---- laws 7 to 9: importance and particles ---------------------------------------------------------------------------


def test_systematic_resampling_takes_each_particle_as_often_as_its_weight_says():
    generator, n = np.random.default_rng(17), 1000
    weight = generator.dirichlet(np.full(7, 0.4))
    counts = np.array([np.bincount(systematic(weight, (i + 0.5) / n), minlength=7) for i in range(n)])
    assert np.all((counts >= np.floor(7 * weight)) & (counts <= np.ceil(7 * weight)))
    assert np.all(np.abs(counts.mean(0) - 7 * weight) <= 2 / n)
    assert_same_bits(systematic(np.full(4, 0.25), 0.5), np.arange(4))


FILTERS = [c for c in LATENT_CASES if max(c.lengths) > 3 and (c.kind == "vrnn" or c.encoder == "filter")]


@pytest.mark.parametrize("case", FILTERS, ids=ids(FILTERS))
def test_a_particle_goes_on_with_the_noise_of_its_ancestors(case):
    """Each path by itself from its first frame, and equal weights where fewer than half of the particles count."""
    parameters, sequences, _ = case.make()
    x = max(sequences, key=len)
    generator, K, resampled = np.random.default_rng(18), 4, set()
    noise, positions = generator.standard_normal((len(x), K, case.J)), generator.random(len(x))
    paths, weight, increments = np.zeros((K, 0, case.J)), np.full(K, 1 / K), []
    for t in range(len(x)):
        before = latent_log_weights(parameters, x[:t], paths, **case.choices)
        paths = np.concatenate([paths, noise[t, :, None]], axis=1)
        terms = np.log(weight) + latent_log_weights(parameters, x[: t + 1], paths, **case.choices) - before
        increments.append(np.logaddexp.reduce(terms))
        weight = np.exp(terms - increments[-1])
        few = 1 / np.sum(weight**2) < K / 2
        resampled.add(few)
        if few:
            paths, weight = paths[systematic(weight, positions[t])], np.full(K, 1 / K)
    assert (True in resampled) == (case.J > 0)
    assert_near(latent_particles(parameters, x, noise, positions, **case.choices), increments, 1e-12)


@pytest.mark.parametrize("encoder", ["filter", "smooth"])
@pytest.mark.parametrize("estimate", ["importance", "particles"])
def test_estimates_are_unbiased(encoder, estimate):
    known = linear_gaussian_states(D=2, encoder=encoder)
    generator = np.random.default_rng(9)
    x, K, n = known.draw(generator, 5), 4, 150
    values = []
    for _ in range(n):
        noise = generator.standard_normal((5, K, 2))
        if estimate == "importance":
            values.append(latent_importance(known.parameters, x, noise.transpose(1, 0, 2), **known.choices))
        else:
            values.append(latent_particles(known.parameters, x, noise, generator.random(5), **known.choices).sum())
    assert_mean(np.exp(np.array(values) - known.log_density(x)), 1.0)


@pytest.mark.parametrize("case", QUADRATURE[1:4], ids=ids(QUADRATURE[1:4]))
def test_particles_of_nonlinear_models_are_unbiased(case):
    parameters, x = wide(case, by=2.5)
    log_p = latent_log_marginal(parameters, x, nodes=41, **case.choices)
    generator = np.random.default_rng(10)
    values, resampled = [], 0
    for i in range(200):
        noise, positions = generator.standard_normal((2, 4, 1)), generator.random(2)
        values.append(latent_particles(parameters, x, noise, positions, **case.choices).sum())
        if i < 40:
            importance = latent_importance(parameters, x, noise.transpose(1, 0, 2), **case.choices)
            resampled += abs(values[-1] - importance) > 1e-9
    assert resampled > 10  # a good part of the runs, else the law says nothing of resampling
    assert_mean(np.exp(np.array(values) - log_p), 1.0)


@pytest.mark.parametrize("case", [c for c in LATENT_CASES if c.encoder == "smooth"][-3:], ids=str)
def test_particles_that_are_not_resampled_are_importance_samples(case):
    parameters, sequences, _ = case.make()
    generator = np.random.default_rng(11)
    x = sequences[0]
    noise = generator.standard_normal((len(x), 3, case.J))
    increments = latent_particles(parameters, x, noise, generator.random(len(x)), **case.choices)
    assert increments.shape == (len(x),)
    assert_near(increments.sum(), latent_importance(parameters, x, noise.transpose(1, 0, 2), **case.choices), 1e-13)


def test_more_importance_samples_come_nearer():
    known = linear_gaussian_states(D=2)
    generator = np.random.default_rng(12)
    estimates = []
    for _ in range(24):
        x, noise = known.draw(generator, 20), generator.standard_normal((16, 20, 2))
        log_w = latent_log_weights(known.parameters, x, noise, **known.choices) - known.log_density(x)
        estimates.append([np.log(np.exp(log_w[:K]).mean()) for K in (1, 4, 16)])
    steps = np.diff(estimates, axis=1)
    errors = steps.std(0, ddof=1) / np.sqrt(len(steps))
    assert np.all(steps.mean(0) > -2 * errors)
    assert steps.sum(1).mean() > 3 * steps.sum(1).std(ddof=1) / np.sqrt(len(steps))


def test_particles_beat_importance_samples_in_long_sequences():
    known = linear_gaussian_states(D=2)
    generator = np.random.default_rng(13)
    gaps, T = [], 120
    for _ in range(4):
        x, noise = known.draw(generator, T), generator.standard_normal((T, 8, 2))
        particles = latent_particles(known.parameters, x, noise, generator.random(T), **known.choices).sum()
        importance = latent_importance(known.parameters, x, noise.transpose(1, 0, 2), **known.choices)
        gaps.append(known.log_density(x) - np.array([particles, importance]))
    particles, importance = np.transpose(gaps)
    less = importance - particles
    assert less.mean() > 3 * less.std(ddof=1) / np.sqrt(less.size)
    assert particles.mean() / T < 0.06 < 0.1 < importance.mean() / T


# ---- law 10: latents that nothing reads -----------------------------------------------------------------------------

EXACT = [c for c in EDGES + GATED + LAYERED + MASKED[::3] + SHARED[:8] + cases(1) if c.R <= 18 and c.D <= 10]


@pytest.mark.parametrize("case", EXACT, ids=ids(EXACT))
def test_bound_is_the_log_density_where_nothing_reads_the_latents(case):
    parameters, sequences = case.make()
    x = sequences[0][:4]
    log_p = reference.log_density_dims(parameters, x, **case.choices).sum(1)
    generator = np.random.default_rng(case.seed)
    for kind, encoder, residual in (
        (("vrnn", "filter", False), ("vrnn", "filter", True), ("srnn", "filter", True), ("srnn", "smooth", False))
        if case.R
        else (("vae", "filter", False),)
    ):
        options = {"encoder": encoder, "residual": residual, "n_dense": 1 + residual}
        p, choices = idle_latents(generator, parameters, kind, 2, **options, **case.choices)
        noise = generator.standard_normal((len(x), 3, 2))
        b = latent_bound(p, x, noise[:, 0], **choices)
        assert_near(b.reconstruction, log_p, 1e-12)
        assert not np.any(b.kl) and not np.any(b.log_prior - b.log_encoder)
        assert_near(latent_particles(p, x, noise, np.zeros(len(x)), **choices), log_p, 1e-12)


@pytest.mark.parametrize("case", [c for c in EXACT if c.R], ids=ids([c for c in EXACT if c.R]))
def test_recurrence_of_a_vrnn_reads_the_latents(case):
    """Latents that are the frames drive it as the frames themselves do."""
    parameters, sequences = case.make()
    x, D = sequences[0][:4], case.D
    p, choices = idle_latents(np.random.default_rng(case.seed), parameters, "vrnn", D, **case.choices)
    E = len(p["f_x"])
    p |= {"Q_x": np.eye(E), "Q_r": 0.0 * p["Q_r"], "q_h": np.zeros(E)}
    p |= {"M_q": p["F_x"].T, "m_q": np.zeros(D)}  # mu_q = x^t
    p |= {"F_y": p["F_x"], "f_y": np.zeros(E), "W_in": np.roll(p["W_in"], E, axis=1)}  # g^t does what e^t did
    b = latent_bound(p, x, np.zeros(x.shape), **choices)
    assert_near(b.y, x, 1e-15)
    assert_near(b.reconstruction, reference.log_density_dims(parameters, x, **case.choices).sum(1), 1e-12)


# ---- law 13: draws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vae", "vrnn", "srnn"])
def test_draws_have_the_probabilities_of_the_scored_model(kind):
    D, T = (2, 1) if kind == "vae" else (1, 2)
    case = LatentCase(kind, D=D, J=1, E=6, R=3 * (kind != "vae"), lengths=(T,), head="bernoulli")
    parameters, _, _ = case.make()
    parameters = {name: 2.0 * value for name, value in parameters.items()}  # latents that matter
    outcomes = np.array(np.meshgrid([0.0, 1.0], [0.0, 1.0])).reshape(2, -1).T.reshape(4, T, D)
    nodes = 27 if kind != "vae" else 201
    p = np.exp([latent_log_marginal(parameters, x, limit=12.0, nodes=nodes, **case.choices) for x in outcomes])
    generator, counts = np.random.default_rng(15), np.zeros(4)
    for _ in range(1000):
        noise = generator.standard_normal((T, 1)), generator.random((T, D)), np.zeros((T, D))
        x, _ = latent_draw(parameters, *noise, **case.choices)
        counts += [np.array_equal(x, outcome) for outcome in outcomes]
    assert chisquare(counts, 1000 * p / p.sum()).pvalue > 0.01


@pytest.mark.parametrize("case", LATENT_CASES, ids=ids(LATENT_CASES))
def test_a_draw_continues_what_is_given(case):
    parameters, _, _ = case.make()
    generator = np.random.default_rng(16)
    noise = generator.standard_normal((4, case.J)), generator.random((4, case.D))
    noise = *noise, reference.HEADS[case.head].noise(generator, (4, case.D))
    x, y = latent_draw(parameters, *noise, **case.choices)
    given = latent_bound(parameters, x[:2], None, y=y[:2], **case.choices).state
    rest = latent_draw(parameters, *(values[2:] for values in noise), state=given, **case.choices)
    assert_same_bits(list(rest), [x[2:], y[2:]])


# ---- what a frame may depend on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in LATENT_CASES if max(c.lengths) > 3 and c.J], ids=str)
def test_encoders_read_the_frame_itself_and_only_smoothing_ones_the_future(case):
    parameters, sequences, noises = case.make()
    longest = int(np.argmax(case.lengths))
    x, noise = sequences[longest], noises[longest]
    b = latent_bound(parameters, x, noise, **case.choices)
    other = x.copy()
    other[2] = 1.0 - other[2]
    changed = latent_bound(parameters, other, noise, **case.choices)
    same = (b.mu_q == changed.mu_q).all(1)
    assert not same[2]
    smooth = case.kind == "srnn" and case.encoder == "smooth"
    assert_same_bits(list(same[:2]), [not smooth, not smooth])
    if case.kind == "vae":
        assert same[3:].all()
    else:
        assert not same[3]


@pytest.mark.parametrize("case", [c for c in LATENT_CASES if max(c.lengths) > 3], ids=str)
def test_given_latents_and_a_given_state_continue_what_was_drawn(case):
    parameters, sequences, noises = case.make()
    longest = int(np.argmax(case.lengths))
    x, noise = sequences[longest], noises[longest]
    whole = latent_bound(parameters, x, noise, **case.choices)
    given = latent_bound(parameters, x, None, y=whole.y, **case.choices)
    for name in ("reconstruction", "kl", "log_prior", "log_encoder", "mu_q", "sigma_p", "k"):
        assert_same_bits(getattr(given, name), getattr(whole, name))
    if case.kind == "srnn" and case.encoder == "smooth":
        return  # the end of a part is not the end of the whole
    first = latent_bound(parameters, x[:2], noise[:2], **case.choices)
    second = latent_bound(parameters, x[2:], noise[2:], state=first.state, **case.choices)
    for name in ("reconstruction", "kl", "log_prior", "log_encoder", "mu_q", "sigma_p", "k"):
        assert_same_bits(np.concatenate([getattr(first, name), getattr(second, name)]), getattr(whole, name))


def test_a_vae_takes_each_row_by_itself():
    generator = np.random.default_rng(14)
    parameters = random_latent_parameters(generator, "vae", 3, 2, 6)
    (x,) = random_sequences(generator, (5,), 3)
    noise = generator.standard_normal((5, 2))
    whole = latent_bound(parameters, x, noise, kind="vae")
    rows = [latent_bound(parameters, x[i : i + 1], noise[i : i + 1], kind="vae") for i in range(5)]
    assert_same_bits(np.concatenate([b.reconstruction - b.kl for b in rows]), whole.reconstruction - whole.kl)
