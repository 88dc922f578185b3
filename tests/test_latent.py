"""Latent-variable models: every row of the table of kernels, in both types, against latent_reference.py; estimates,
bounds, draws and training through the public calls."""

import copy
import pickle
import warnings
from itertools import accumulate, pairwise

import numpy as np
import pytest
from helpers import (
    DTYPES,
    FLOAT64,
    LATENT_CASES,
    LATENT_CLASSES,
    SEQUENTIAL_LATENT,
    TINY_LATENT,
    TOLERANCE,
    Case,
    LatentCase,
    assert_near,
    assert_near_gradient,
    assert_same_bits,
    complex_step,
    copied_parameters,
    dot,
    ids,
    latent_data_of,
    latent_model_of,
    listed,
    random_direction,
    team_of,
    walks,
    without_seconds,
)
from latent_reference import (
    idle_latents,
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
)
from sklearn.exceptions import ConvergenceWarning

import rnnrnade
from rnnrnade import RNNRNADE, SRNN, VAE, VRNN, Linear, _core
from rnnrnade.latent_density import LatentDensity, Noise, hash_after
from rnnrnade.latent_model import LatentModel, Steps, repeated
from rnnrnade.layout import Layout

every = pytest.mark.parametrize("case", LATENT_CASES, ids=ids(LATENT_CASES))
dtypes = pytest.mark.parametrize("dtype", DTYPES)
LARGE = [
    LatentCase("vae", D=67, J=33, E=70, R=0, lengths=(300,), head="bernoulli"),
    LatentCase("vrnn", D=37, J=17, E=50, R=67, lengths=(33, 70, 1, 130), cell="gru", min_scale=1e-3),
    LatentCase("srnn", D=37, J=17, E=50, R=67, lengths=(33, 70, 1, 130), cell="lstm", n_dense=2, min_scale=1e-3),
]


def expected(case, dtype, function, **more):
    """`function` of each sequence of a case of that type, in float64."""
    parameters, sequences, noise = case.make(dtype)
    parameters = {name: np.asarray(p, np.float64) for name, p in parameters.items()}
    return [
        function(parameters, np.asarray(x, np.float64), np.asarray(eps, np.float64), **case.choices, **more)
        for x, eps in zip(sequences, noise, strict=True)
    ]


def terms(model, X, noise, **wanted):
    data = model._check(X)
    e, _ = model._density.encode(data)
    return model._density.model.forward(e, data.offsets, noise, **wanted)


# ---- against the definition -------------------------------------------------------------------------------------


@dtypes
@every
def test_terms_equal_the_definition(case, dtype, row):
    model, X, noise = latent_model_of(case, dtype)
    found = terms(model, X, noise, normals=True, latent=True, context=True, last=True)
    bounds = expected(case, dtype, latent_bound)
    tolerance = TOLERANCE["score"][dtype]

    def packed(name):
        return np.concatenate([getattr(bound, name) for bound in bounds])

    assert_near(found.reconstruction, packed("reconstruction"), tolerance, "log p(x | y)")
    assert_near(found.divergence, packed("kl"), tolerance, "kl")
    assert_near(found.ratio, packed("log_prior") - packed("log_encoder"), tolerance, "log p(y) - log q(y)")
    for i, name in enumerate(("mu_p", "sigma_p", "mu_q", "sigma_q")):
        assert_near(found.normals[:, i], packed(name), tolerance, name)
    assert_near(found.latent, packed("y"), tolerance, "y")
    assert_near(found.context, packed("k"), tolerance, "k")


@dtypes
@every
def test_given_latents_alone_give_the_same_bits(case, dtype):
    """Without what only the encoder, or the frame's density, needs."""
    model, X, noise = latent_model_of(case, dtype)
    given = {"given": terms(model, X, noise, latent=True).latent}
    whole = terms(model, X, None, **given, dims=True, parameters=True, context=True, last=True)
    alone = terms(model, X, None, **given, alone=True, dims=True, parameters=True, context=True, last=True)
    for name in ("reconstruction", "dims", "parameters", "context", *(["last"] if case.R else [])):
        assert_same_bits(getattr(alone, name), getattr(whole, name))
    assert alone.divergence is alone.ratio is None
    least = terms(model, X, None, **given, alone=True, last=True)
    assert least.reconstruction is None
    if case.R:
        assert_same_bits(least.last, whole.last)


@dtypes
@every
def test_gradient_of_the_bound_equals_the_definition(case, dtype, row):
    model, X, noise = latent_model_of(case, dtype)
    value, gradient = model.lower_bound_and_gradient(X, noise)
    parts = expected(case, dtype, latent_gradient)
    total = {name: sum(part[name] for part in parts) for name in gradient}
    assert_near(value, sum(b.bound for b in expected(case, dtype, latent_bound)), TOLERANCE["score"][dtype], "bound")
    assert_near_gradient(gradient, total, TOLERANCE["gradient"][dtype])


@every
def test_gradient_with_a_weight_of_the_divergence(case):
    model, X, noise = latent_model_of(case)
    data, network = model._check(X), model._density.model
    gradient, _, _ = network.gradient(data.frames, data.offsets, np.ones(len(noise)), noise=noise, kl_weight=0.3)
    parts = expected(case, FLOAT64, latent_gradient, beta=0.3)
    total = {name: sum(part[name] for part in parts) for name in network.parameters}
    assert_near_gradient(network.layout.views(gradient), total, TOLERANCE["gradient"][FLOAT64])


@every
def test_gradient_of_the_importance_weighted_bound_equals_the_definition(case):
    model, X, noise = latent_model_of(case)
    noise = np.stack([noise, 0.5 - noise, noise[::-1]])
    value, gradient = model.lower_bound_and_gradient(X, noise, objective="importance")
    parameters, sequences, _ = case.make()
    offsets = np.cumsum([0, *map(len, sequences)])
    rows = [slice(a, b) for a, b in pairwise(offsets)]
    if case.kind == "vae":  # each row has weights of its own
        sequences, rows = sequences[0][:, None], [slice(i, i + 1) for i in range(len(noise[0]))]
    total, names = 0.0, list(gradient)
    sums = dict.fromkeys(names, 0.0)
    for x, part in zip(sequences, rows, strict=True):
        total += latent_importance(parameters, x, noise[:, part], **case.choices)
        found = latent_importance_gradient(parameters, x, noise[:, part], **case.choices)
        sums = {name: sums[name] + found[name] for name in names}
    assert_near(value, total, TOLERANCE["score"][FLOAT64], "log mean weight")
    assert_near_gradient(gradient, sums, TOLERANCE["gradient"][FLOAT64])


@pytest.mark.parametrize("case", LARGE, ids=ids(LARGE))
def test_gradient_in_a_random_direction_at_real_sizes(case):
    model, X, noise = latent_model_of(case)
    parameters, sequences, each = case.make()
    value, gradient = model.lower_bound_and_gradient(X, noise)
    parameters = {name: parameters[name] for name in gradient}
    direction = random_direction(np.random.default_rng(0), parameters)

    def bound(p):
        return sum(latent_bound(p, x, eps, **case.choices).bound for x, eps in zip(sequences, each, strict=True))

    assert_near(value, bound(parameters), 1e-12, "bound")
    slope = complex_step(bound, parameters, direction)
    assert_near(dot(gradient, direction), slope, 1e-9, "slope")


def test_free_nats_do_not_press_what_says_little():
    case = LatentCase("vrnn", D=3, J=4, E=9, R=5, lengths=(6, 4))
    model, X, noise = latent_model_of(case)
    data, network = model._check(X), model._density.model
    ones = np.ones(len(noise))
    with_all, _, kl = network.gradient(data.frames, data.offsets, ones, noise=noise)
    free, _, _ = network.gradient(data.frames, data.offsets, ones, noise=noise, free_nats=kl.mean() + 1.0)
    none, _, _ = network.gradient(data.frames, data.offsets, ones, noise=noise, kl_weight=0.0)
    assert_same_bits(free, none)
    assert not np.array_equal(free, with_all)
    each = terms(model, X, noise, normals=True).normals
    mp, sp, mq, sq = each.transpose(1, 0, 2)
    of_numbers = (np.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5).mean(axis=0)
    between = float(np.sort(of_numbers)[1:3].mean())  # two are below, two above
    some, _, _ = network.gradient(data.frames, data.offsets, ones, noise=noise, free_nats=between)
    assert not np.array_equal(some, with_all)
    assert not np.array_equal(some, none)


@every
def test_gradient_after_given_states_equals_the_definition(case):
    """What comes after a state: its gradient goes to all but the learned beginning.  Sequences have weights."""
    if case.kind == "vae":
        pytest.skip("nothing goes on")
    model, X, noise = latent_model_of(case)
    data, network = model._check(X), model._density.model
    parameters, sequences, each = case.make()
    N = len(X)
    state = network.initial_state(N) + np.random.default_rng(0).normal(size=(N, 1))
    fresh = np.zeros(N, np.uint8)
    fresh[-1] = len(X) > 1
    three = np.stack([noise, 0.5 - noise, noise[::-1]])
    weight, shared = 0.5 + np.arange(N), {"initial": (state, fresh), "kl_weight": 0.7}
    of_frames = np.repeat(weight, data.lengths)
    own = network.gradient(data.frames, data.offsets, of_frames, noise=noise, **shared)[0]
    shared |= {"noise": np.concatenate(three), "n_samples": 3}
    of_three = network.gradient(data.frames, data.offsets, of_frames, **shared)[0]
    starts = [name for name in network.parameters if name.startswith(("r0", "c0", "y0"))]
    sums, of_draws, begin = dict.fromkeys(network.parameters, 0.0), dict.fromkeys(network.parameters, 0.0), 0
    for s, (x, eps) in enumerate(zip(sequences, each, strict=True)):
        rows = slice(begin, begin := begin + len(x))
        given = parameters if fresh[s] else parameters | {
            name: values.copy() for name, values in network.layout.views(with_first(network, state[s])).items()
            if name in starts
        }  # fmt: skip
        found = latent_gradient(given, x, eps, beta=0.7, **case.choices)
        more = latent_importance_gradient(given, x, three[:, rows], beta=0.7, **case.choices)
        for name in sums if fresh[s] else set(sums) - set(starts):
            sums[name] = sums[name] + weight[s] * found[name]
            of_draws[name] = of_draws[name] + weight[s] * more[name]
    for gradient, totals in ((own, sums), (of_three, of_draws)):
        assert_near_gradient(network.layout.views(gradient), full(totals, parameters), TOLERANCE["gradient"][FLOAT64])


def with_first(network, state):
    """The flat parameters with another beginning."""
    theta = network.theta.copy()
    theta[network.layout.first_state :][: len(state)] = state
    return theta


def full(sums, parameters):
    return {name: np.broadcast_to(value, parameters[name].shape) for name, value in sums.items()}


@every
def test_what_an_earlier_call_left_in_memory_does_not_matter(case):
    model, X, noise = latent_model_of(case)
    data, network = model._check(X), model._density.model
    call = data.frames, data.offsets, np.ones(len(noise))
    _core.free_workspace()
    before = network.gradient(*call, noise=noise)
    scores = terms(model, X, noise, last=True)
    bad = network.with_theta(np.full_like(network.theta, np.nan))
    x, offsets = repeated(data.frames, data.offsets, 9)
    for _ in range(3):  # the first makes the block grow
        bad.gradient(x, offsets, np.ones(len(x)), noise=np.tile(noise, (9, 1)))
    assert_same_bits(network.gradient(*call, noise=noise)[0], before[0])
    for _ in range(3):
        bad.gradient(x, offsets, np.ones(len(x)), noise=np.tile(noise, (9, 1)))
    after = terms(model, X, noise, last=True)
    for name in ("reconstruction", "divergence", "ratio"):
        assert_same_bits(getattr(after, name), getattr(scores, name))
    if scores.last is not None:
        assert_same_bits(after.last, scores.last)


def test_steps_are_the_sequences_side_by_side():
    offsets = np.array([0, 2, 7, 8, 13], np.int64)
    steps = Steps(offsets)
    x = np.arange(13)
    assert steps.starts.tolist() == [0, 4, 7, 9, 11, 13]
    assert steps.taken(x).tolist() == [2, 8, 0, 7, 3, 9, 1, 4, 10, 5, 11, 6, 12]
    assert steps.back(steps.taken(x)).tolist() == x.tolist()


# ---- bits -------------------------------------------------------------------------------------------------------

SMALL = [LATENT_CASES[i] for i in (3, 8, 10, 12, 19, 20, 22)]
small = pytest.mark.parametrize("case", SMALL, ids=ids(SMALL))


def bits_of(case):
    """A model of a case with several particles, and enough data for groups of sequences."""
    model, X, _ = latent_model_of(case, np.float32, n_particles=5)
    rng = np.random.default_rng(0)
    if case.kind == "vae":
        return model, np.tile(X, (3, 1))
    X = [x[: rng.integers(1, len(x) + 1)] for x in X * 20]
    return model, X


@small
def test_all_numbers_of_threads_give_the_same_bits(case, all_threads):
    model, X = bits_of(case)
    noise = np.random.default_rng(1).normal(size=(model._check(X).n_frames, case.J))

    def answers(n_jobs):
        model.set_params(n_jobs=n_jobs)
        value, gradient = model.lower_bound_and_gradient(X, noise)
        found = [model.score_samples(X), model.lower_bound(X), *listed(model.encode(X)), np.array(value)]
        return [*found, *gradient.values()]

    alone = answers(1)
    for n_jobs in (2, 3, 16):
        for one, other in zip(alone, answers(n_jobs), strict=True):
            assert_same_bits(other, one)
    assert team_of(16) > 1


@pytest.mark.parametrize("case", LARGE[1:], ids=ids(LARGE[1:]))
def test_threads_that_work_for_long_side_by_side_give_the_same_bits(case, all_threads):
    model, X, _ = latent_model_of(case, np.float32)
    X = [x[i:] for i in range(4) for x in X if len(x) > i]
    noise = np.random.default_rng(1).normal(size=(sum(map(len, X)), case.J))
    value, gradient = model.lower_bound_and_gradient(X, noise)
    for n_jobs in (2, 16):
        again, other = model.set_params(n_jobs=n_jobs).lower_bound_and_gradient(X, noise)
        assert again == value
        for name, one in gradient.items():
            assert_same_bits(other[name], one)


@small
def test_a_sequence_scores_the_same_bits_alone_and_in_any_batch(case):
    model, X = bits_of(case)
    scores, codes, bounds, estimates = (
        model.score_samples(X), model.encode(X), model.lower_bound(X, n_draws=19), model.log_likelihood(X, n_repeats=13)
    )  # fmt: skip
    for i in (0, len(X) // 2, len(X) - 1):
        one = X[i : i + 1]
        assert_same_bits(model.score_samples(one), scores[i : i + 1])
        assert_same_bits(model.lower_bound(one, n_draws=19), bounds[i : i + 1])
        for found, expected in zip(model.log_likelihood(one, n_repeats=13), estimates, strict=True):
            assert_same_bits(found, expected[i : i + 1])
        assert_same_bits(np.concatenate(listed(model.encode(one))), np.concatenate(listed(codes[i : i + 1])))
    order = np.random.default_rng(2).permutation(len(X))
    shuffled = X[order] if case.kind == "vae" else [X[i] for i in order]
    assert_same_bits(model.score_samples(shuffled), scores[order])


@small
def test_a_beginning_scores_the_same_bits_unless_the_encoder_reads_the_future(case):
    if case.kind == "vae":
        pytest.skip("rows have no beginning")
    model, X = bits_of(case)
    x = max(X, key=len)
    whole, part = model.score_frames(x), model.score_frames(x[:-1])
    if case.kind == "srnn" and case.encoder == "smooth":
        assert not np.array_equal(part, whole[:-1])
        with pytest.raises(ValueError, match="reads what comes after"):
            model.stream()
        return
    assert_same_bits(part, whole[:-1])
    stream = model.stream(x[:1])
    ahead = stream.copy()
    assert_same_bits(np.array([stream.update(frame) for frame in x[1:]]), whole[1:])
    assert ahead.n_frames == 1
    assert_same_bits(np.array([ahead.update(frame) for frame in x[1:]]), whole[1:])


@small
def test_streams_are_copied_and_kept(case):
    if case.kind == "vae" or (case.encoder == "smooth" and case.kind == "srnn"):
        pytest.skip("no stream")
    model, X = bits_of(case)
    x = max(X, key=len)
    whole, stream = model.score_frames(x), model.stream(x[:1])
    others = [pickle.loads(pickle.dumps(stream)), copy.copy(stream), copy.deepcopy(stream), stream.copy()]
    for one in (stream, *others):  # each goes on by itself
        assert_same_bits(np.array([one.update(frame) for frame in x[1:]]), whole[1:])
        assert one.n_frames == len(x)


@small
def test_zeros_have_no_sign_and_equals_score_alike(case):
    if case.head == "bernoulli":
        pytest.skip("0 and 1")
    model, X = bits_of(case)
    rng = np.random.default_rng(1)
    X = [np.where(rng.random(x.shape) < 0.3, 0.0, x) for x in X]
    negative = [np.where(x == 0, -0.0, x) for x in X]
    if case.kind == "vae":
        X, negative = np.array(X), np.array(negative)
    for call in ("score_samples", "lower_bound"):
        assert_same_bits(getattr(model, call)(negative), getattr(model, call)(X))
    twice = model.score_samples(np.concatenate([X, X]) if case.kind == "vae" else X + X)
    assert_same_bits(twice[len(X) :], twice[: len(X)])


def test_frames_that_differ_in_their_past_have_other_noise():
    x = np.ones((4, 2))
    hashes = list(accumulate(x, hash_after, initial=0))
    assert len(set(hashes)) == 5
    assert hash_after(hashes[1], x[0] + 1) != hash_after(hashes[1], x[0]) != hash_after(hashes[2], x[0])
    one, other = Noise(3)(hashes[1], 2, 2, FLOAT64), Noise(3, repeat=1)(hashes[1], 2, 2, FLOAT64)
    assert not np.array_equal(one[0], other[0]) and one[1] != other[1]
    each = [Noise(3)(hashed, 4, 5, FLOAT64) for hashed in range(2000)]
    normal, uniform = np.stack([one for one, _ in each]).reshape(2000, -1), np.array([one for _, one in each])
    everything = np.column_stack([normal, np.sqrt(12) * (uniform - 0.5)])
    assert np.abs(everything.mean(axis=0)).max() < 4 / np.sqrt(2000)
    assert np.abs(np.cov(everything.T) - np.eye(21)).max() < 6 / np.sqrt(2000)
    assert np.abs((everything[1:] * everything[:-1]).mean(axis=0)).max() < 4 / np.sqrt(2000)


@dtypes
def test_the_type_is_that_of_the_arrays_where_hidden_units_are_left_out(dtype):
    parameters, _, _ = LatentCase("vrnn", D=3, J=2, E=4, R=3, lengths=(2,)).make(dtype)
    given = {name: p for name, p in parameters.items() if name not in ("W", "c", "rho", "V_alpha", "V_mu", "V_sigma")}
    assert len(given) < len(parameters)
    assert VRNN.from_parameters(given, cell="tanh").dtype == np.dtype(dtype).name


@pytest.mark.parametrize("case", LATENT_CASES, ids=ids(LATENT_CASES))
def test_both_types_take_the_same_noise(case):
    one, X, _ = latent_model_of(case, np.float32, n_particles=5)
    other, _, _ = latent_model_of(case, np.float32, n_particles=5, dtype="float64")
    for call in ("score_samples", "lower_bound"):
        single, double = getattr(one, call)(X), getattr(other, call)(X)
        assert not np.array_equal(single, double)
        assert_near(single, double, 2e-4, call)


@every
def test_codes_and_reconstructions_equal_the_definition(case):
    model, X, _ = latent_model_of(case)
    parameters, sequences, noise = case.make()
    bounds = [latent_bound(parameters, x, 0.0 * eps, **case.choices) for x, eps in zip(sequences, noise, strict=True)]
    codes, means = (listed(call(X)) for call in (model.encode, model.reconstruct))
    for bound, code, mean in zip(bounds, codes, means, strict=True):
        assert_near(code, bound.y, 1e-12, "codes")
        if case.head == "bernoulli" and case.H == 0:
            assert_near(mean, 1 / (1 + np.exp(-(bound.k @ parameters["W_b"].T + parameters["b"]))), 1e-12, "means")
        elif (case.head, case.K, case.H) == ("gaussian", 1, 0):
            assert_near(mean, bound.k @ parameters["W_mu"][:, 0].T + parameters["b_mu"][:, 0], 1e-12, "means")


IN_PIECES = [LATENT_CASES[i] for i in (13, 18, 22)]


@pytest.mark.parametrize("case", IN_PIECES, ids=ids(IN_PIECES))
def test_sequences_in_pieces_score_the_same_bits(case, monkeypatch):
    model, X, noise = latent_model_of(case, np.float32, n_particles=4)
    whole, scores = terms(model, X, noise, last=True), model.score_samples(X)
    monkeypatch.setattr("rnnrnade.latent_density.HELD", 1)
    model._density.model._most = 2  # it has been asked for
    pieces = terms(model, X, noise, last=True)
    for name in ("reconstruction", "divergence", "ratio", "last"):
        assert_same_bits(getattr(pieces, name), getattr(whole, name))
    assert_same_bits(model.score_samples(X), scores)


@small
def test_states_in_the_middle_continue_a_sequence(case):
    if case.kind == "vae":
        pytest.skip("nothing goes on")
    model, X, _ = latent_model_of(case)
    network, data = model._density.model, model._check(X)
    rows = np.sort(np.concatenate([data.offsets[:-1], data.offsets[:-1] + data.lengths // 2]))
    rows = np.unique(rows)
    states = network.states(data.frames, data.offsets, rows)
    noise = network.fixed_noise(data.n_frames)
    fresh = np.isin(rows, data.offsets[:-1])
    assert_same_bits(states[fresh], network.initial_state(fresh.sum()))
    if network.latent.smooths:
        return  # the beginning alone was not read with the future
    for row, state in zip(rows[~fresh], states[~fresh], strict=True):
        begin = data.offsets[np.searchsorted(data.offsets, row, side="right") - 1]
        part, offsets = data.frames[begin:row], np.array([0, row - begin])
        assert_same_bits(network.forward(part, offsets, noise[begin:row], last=True).last[0], state)


# ---- estimates --------------------------------------------------------------------------------------------------


def numbers_of(model, x, K):
    """(noise (T, K, J), uniforms (T,)) of one sequence, from its hashes, as the estimates take them."""
    draw, J = Noise(model.noise_seed_), model._density.model.latent.J
    hashes = accumulate(x, hash_after, initial=0)
    each = [draw(hashed, K, J, np.float64) for hashed in list(hashes)[1:]]
    return np.stack([noise for noise, _ in each]), np.array([uniform for _, uniform in each])


@pytest.mark.parametrize("case", [c for c in LATENT_CASES if c.J and c.kind != "vae"], ids=str)
def test_estimates_equal_the_definition(case):
    K = 6
    model, X, _ = latent_model_of(case, n_particles=K)
    parameters, _, _ = case.make()
    for x, found in zip(X, model.score_frames(X), strict=True):
        noise, positions = numbers_of(model, x, K)
        if model._density.smooths:
            total = latent_importance(parameters, x, noise.swapaxes(0, 1), **case.choices)
            assert_near(found.sum(), total, 1e-10, "importance")
        else:
            assert_near(found, latent_particles(parameters, x, noise, positions, **case.choices), 1e-9, "particles")


@pytest.mark.parametrize("case", [c for c in LATENT_CASES if c.J and c.kind == "vae"], ids=str)
def test_estimates_of_rows_equal_the_definition(case):
    model, X, _ = latent_model_of(case, n_particles=6)
    parameters, _, _ = case.make()
    for x, found in zip(X, model.score_samples(X), strict=True):
        noise, _ = numbers_of(model, [x], 6)
        expected = latent_importance(parameters, x[None], noise.swapaxes(0, 1), **case.choices)
        assert_near(found, expected, 1e-10, "importance")


@pytest.mark.parametrize("case", [c for c in LATENT_CASES if c.J == 0], ids=str)
def test_without_latents_all_scores_are_the_exact_density(case):
    model, X, _ = latent_model_of(case)
    exact = [b.reconstruction.sum() for b in expected(case, FLOAT64, latent_bound)]
    total, error = model.log_likelihood(X)
    assert not error.any()
    bound, scores = model.lower_bound(X), model.score_samples(X)
    if case.kind == "vae":
        total, bound, scores = ([one.sum()] for one in (total, bound, scores))
    for found in (total, bound, scores):
        assert_near(found, exact, 1e-12, "log p")


def test_estimates_come_near_the_likelihood_of_kalmans_filter():
    rng = np.random.default_rng(3)
    for encoder, most in (("filter", 0.02), ("smooth", 0.01)):
        known = linear_gaussian_states(encoder=encoder)
        parameters, choices = known.parameters, dict(known.choices)
        X = [known.draw(rng, 30) for _ in range(12)]
        choices.pop("kind"), choices.pop("head", None)
        named = {name: value for name, value in choices.items() if name in SRNN._parameter_constraints}
        model = SRNN.from_parameters(parameters, n_particles=256, **named)
        exact = np.array([known.log_density(x) for x in X])
        estimate, error = model.log_likelihood(X)
        assert np.abs((estimate - exact).mean() / 30) < most
        assert np.all(model.lower_bound(X, n_draws=64) < exact + 1.0)
        assert (np.abs(estimate - exact) < 6 * error + 0.05).mean() > 0.9


# ---- files, and parameters ------------------------------------------------------------------------------------------


@every
def test_files_hold_all(case, tmp_path):
    model, X, _ = latent_model_of(case, np.float32, n_particles=3, noise_seed=2**62 + 1)
    model.save(tmp_path / "model")
    loaded = rnnrnade.load(tmp_path / "model")
    assert loaded.noise_seed_ == 2**62 + 1
    assert loaded.get_params() == model.get_params()
    assert_same_bits(loaded.score_samples(X), model.score_samples(X))


def test_another_seed_is_another_estimate_of_the_same():
    known = linear_gaussian_states(encoder="filter")
    choices = {name: value for name, value in known.choices.items() if name in SRNN._parameter_constraints}
    X = [known.draw(np.random.default_rng(0), 20) for _ in range(5)]
    one, other = (
        SRNN.from_parameters(known.parameters, n_particles=128, noise_seed=seed, **choices) for seed in (0, 1)
    )
    a, error_a = one.log_likelihood(X)
    b, error_b = other.log_likelihood(X)
    assert not np.array_equal(one.score_samples(X), other.score_samples(X))
    assert np.all(np.abs(a - b) < 6 * np.hypot(error_a, error_b))


# ---- quadrature, draws ----------------------------------------------------------------------------------------------

DRAWN = [case for case in LATENT_CASES if case.J]
drawn = pytest.mark.parametrize("case", DRAWN, ids=ids(DRAWN))


def draws_of(model, case, generator, n, T):
    """(latent noise (n, T, J), uniforms and noise of the frames (n, T, .)), as `sample` draws them."""
    each = []
    for _ in range(T):
        latent = generator.standard_normal((n, case.J))
        each.append([latent, *(one[:, 0] for one in model._density.noise((n, 1, case.D), generator))])
    latent, uniforms, noise = (np.stack(one, axis=1) for one in zip(*each, strict=True))
    return latent, uniforms, noise if noise.shape == uniforms.shape else noise.reshape(*uniforms.shape, -1)


@drawn
def test_draws_equal_the_definition(case):
    model, X, _ = latent_model_of(case, n_particles=1)
    parameters, _, _ = case.make()
    n, T = 3, 1 if case.kind == "vae" else 4
    options = {} if case.kind == "vae" else {"n_frames": T}
    found = model.sample(n, random_state=np.random.default_rng(7), **options).reshape(n, T, case.D)
    numbers = draws_of(model, case, np.random.default_rng(7), n, T)
    for one, *of_draw in zip(found, *numbers, strict=True):
        assert_near(one, latent_draw(parameters, *of_draw, **case.choices)[0], 1e-9, "draw")
    if case.kind == "vae":
        return
    x = max(X, key=len)
    noise, _ = numbers_of(model, x, 1)
    state = latent_bound(parameters, x, noise[:, 0], **case.choices).state
    generator = np.random.default_rng(8)
    generator.random(), generator.permutation(n)  # which particle
    found = model.forecast(x, T, n, random_state=np.random.default_rng(8))
    numbers = draws_of(model, case, generator, n, T)
    for one, *of_draw in zip(found, *numbers, strict=True):
        assert_near(one, latent_draw(parameters, *of_draw, state=state, **case.choices)[0], 1e-9, "draw after")


@pytest.mark.parametrize("kind", ["vrnn", "srnn"])
def test_draws_go_on_from_particles_by_their_weights(kind):
    case = LatentCase(kind, D=2, J=2, E=6, R=4, lengths=(5,))
    model, (x,), _ = latent_model_of(case)
    parameters, _, _ = case.make()
    K = 5
    particles = model._density.particles_after(model._check(x), K)
    weight = np.exp(particles.log_weight[0])
    weight /= weight.sum()
    if kind == "srnn":  # weighed as whole sequences
        noise, _ = numbers_of(model, x, K)
        log_w = latent_log_weights(parameters, x, noise.swapaxes(0, 1), **case.choices)
        assert_near(weight, np.exp(log_w - log_w.max()) / np.exp(log_w - log_w.max()).sum(), 1e-9)
    states = particles.drawn(0, 1000, np.random.default_rng(0))
    counts = np.array([(states == state).all(axis=1).sum() for state in particles.state])
    for state, count in zip(particles.state, counts, strict=True):
        alike = (particles.state == state).all(axis=1)  # by resampling
        assert abs(count - 1000 * weight[alike].sum()) < alike.sum() + 1
    assert not np.array_equal(states, np.sort(states, axis=0))
    first = (states[:, None] == particles.state).all(axis=2).argmax(axis=1)
    assert np.any(np.diff(first) < 0)  # in no order


BINARY = [
    LatentCase("vrnn", D=1, J=1, E=5, R=3, lengths=(3,), head="bernoulli"),
    LatentCase("srnn", D=1, J=1, E=5, R=3, lengths=(3,), head="bernoulli", encoder="filter"),
]


@pytest.mark.parametrize("case", BINARY, ids=str)
def test_samples_come_from_the_scored_model(case):
    model, _, _ = latent_model_of(case, n_particles=512)
    parameters, _, _ = case.make()
    outcomes = [np.array(bits, float)[:, None] for bits in np.ndindex(2, 2, 2)]
    draws = model.sample(4000, 3, random_state=0)[:, :, 0]
    seen = np.bincount((draws @ [4, 2, 1]).astype(int), minlength=8)
    estimate = np.exp(model.score_samples(outcomes))
    assert abs(estimate.sum() - 1) < 0.05
    chi = (seen - 4000 * estimate) ** 2 / (4000 * estimate)
    assert chi.sum() < 30, seen  # 7 degrees of freedom: one in ten thousand is beyond
    two = [x[:2] for x in outcomes[::2]]
    exact = np.array([latent_log_marginal(parameters, x, **case.choices) for x in two])
    total, error = model.log_likelihood(two)
    assert np.all(np.abs(total - exact) < 5 * error + 2e-3)


def test_samples_of_rows_and_of_what_follows():
    rng = np.random.default_rng(0)
    known = linear_gaussian_frames(rng, 4, 2)
    floor = known.choices["min_latent_scale"]
    model = VAE.from_parameters(known.parameters, min_latent_scale=floor)
    X = np.array([known.draw(rng, 1)[0] for _ in range(4000)])
    drawn = model.sample(4000, random_state=1)
    scale = X.std(axis=0)
    assert np.all(np.abs(drawn.mean(axis=0) - X.mean(axis=0)) < 5 * scale * np.sqrt(2 / 4000))
    assert_near(np.cov(drawn.T), np.cov(X.T), 0.2, "covariance")
    states = linear_gaussian_states(encoder="filter")
    named = {name: value for name, value in states.choices.items() if name in SRNN._parameter_constraints}
    srnn = SRNN.from_parameters(states.parameters, n_particles=256, **named)
    x = states.draw(rng, 40)
    one = srnn.forecast(x, 1, 4000, random_state=0)[:, 0]
    density = [states.log_density(np.concatenate([x, frame[None]])) - states.log_density(x) for frame in one[:400]]
    entropy = -np.mean(density)  # that of the exact predictive density, if the draws are of it
    grid = states.log_density(x)
    assert np.isfinite(grid) and 1.0 < entropy < 5.0
    score = np.mean([srnn.score_frames(np.concatenate([x, frame[None]]))[-1] for frame in one[:50]])
    assert abs(score - np.mean(density[:50])) < 0.1


def affine(kind, J):
    """(a model behind a transform and an order, the net alone, X, e of X, log |d e / d x| of each frame)"""
    case = LatentCase(kind, D=3, J=J, E=7, R=4 * (kind != "vae"), lengths=(6, 1, 3), K=2, H=3)
    bare, _, _ = latent_model_of(case)
    parameters = bare.parameters_
    X, order = [5.0 + 2.0 * x for x in walks(3)], [2, 0, 1]
    offsets = np.cumsum([0, *map(len, X)])
    ordered = np.ascontiguousarray(np.concatenate(X)[:, order])
    if kind == "vae":
        X, offsets = np.concatenate(X), np.arange(offsets[-1] + 1)
    transform = Linear(lags=0 if kind == "vae" else 1, covariance="full").fit(ordered, offsets)
    e, jacobian = transform.encode(ordered, offsets)
    moved = getattr(rnnrnade, LATENT_CLASSES[kind]).from_parameters(
        parameters, transform=transform, order=order, **{n: v for n, v in FIXED.items() if n in bare.get_params()},
    )  # fmt: skip
    Z = e if kind == "vae" else np.split(e, offsets[1:-1])
    return moved, bare, X, Z, np.broadcast_to(jacobian, e.shape).sum(axis=1)


FIXED = {"n_jobs": 1, "cell": "tanh"}


def encoded(model, x):
    return model.transform_.encode(np.ascontiguousarray(x), np.array([0, len(x)]))[0]


@pytest.mark.parametrize("J", [0, 2])
@pytest.mark.parametrize("kind", LATENT_CLASSES)
def test_transform_and_order_stand_outside_the_nets(kind, J):
    moved, bare, X, Z, jacobian = affine(kind, J)
    order = [2, 0, 1]
    noise = np.random.default_rng(0).normal(size=(len(jacobian), J))
    value, gradient = moved.lower_bound_and_gradient(X, noise)
    of_z, expected = bare.lower_bound_and_gradient(Z, noise)
    assert_near(value, of_z + jacobian.sum(), 1e-11, "value")
    assert_near_gradient(gradient, expected, 1e-11)
    assert_near(np.concatenate(listed(moved.encode(X))), np.concatenate(listed(bare.encode(Z))), 1e-11, "codes")
    last = X[-1:] if kind == "vae" else X[0]
    ordered = last[:, order]
    means = (moved.reconstruct(last)[:, order], bare.reconstruct(Z[-1:] if kind == "vae" else Z[0]))
    for d in range(3):  # the mean of one dimension of the last frame, given all before
        changed = ordered.copy()
        changed[-1, d] = means[0][-1, d]
        assert_near(encoded(moved, changed)[-1, d], means[1][-1, d], 1e-10, "mean")
    options = () if kind == "vae" else (4,)
    draws = moved.sample(2, *options, random_state=0).reshape(2, -1, 3)
    of_z = bare.sample(2, *options, random_state=0).reshape(2, -1, 3)
    for x, z in zip(draws, of_z, strict=True):
        assert_near(encoded(moved, x[:, order]), z, 1e-10, "draw")
    if J:
        return
    total = jacobian if kind == "vae" else np.add.reduceat(jacobian, np.cumsum([0, *map(len, X[:-1])]))
    for call in ("score_samples", "lower_bound"):
        assert_near(getattr(moved, call)(X), getattr(bare, call)(Z) + total, 1e-11, call)
    if kind == "vae":
        return
    stream = moved.stream()
    assert_same_bits(np.array([stream.update(frame) for frame in last]), moved.score_frames(last))
    for x, z in zip(moved.forecast(last, 3, 2, random_state=0), bare.forecast(Z[0], 3, 2, random_state=0), strict=True):
        behind = np.concatenate([last, x])[:, order]
        assert_near(encoded(moved, behind)[len(last) :], z, 1e-10, "draw after")


def test_log_likelihood_is_unbiased_and_says_its_error():
    case = LatentCase("vrnn", D=1, J=1, E=5, R=3, lengths=(2,))
    parameters, (x,), _ = case.make()
    parameters["s_q"] = parameters["s_q"] + 0.8  # wider than the posterior
    exact = latent_log_marginal(parameters, x, **case.choices)

    def estimates(K, n_repeats, n=40):
        models = (VRNN.from_parameters(parameters, cell=case.cell, noise_seed=seed) for seed in range(n))
        each = [model.log_likelihood([x], K, n_repeats=n_repeats) for model in models]
        return np.array([one.log_likelihood[0] for one in each]), np.array([one.standard_error[0] for one in each])

    for K, n_repeats in ((1, 8), (4, 16)):
        total, error = estimates(K, n_repeats)
        ratio = np.exp(total - exact)
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
        assert 0.7 < np.sqrt(np.mean(error**2)) / ratio.std() < 1.4
    few, many = estimates(2, 8)[1], estimates(200, 8)[1]
    assert many.mean() < 0.3 * few.mean()


def test_error_of_what_is_almost_or_wholly_impossible(monkeypatch):
    case = LatentCase("vrnn", D=1, J=1, E=5, R=3, lengths=(2,))
    model, X, _ = latent_model_of(case)
    for totals, error in ((-1e40, 1.0), (-np.inf, 0.0)):  # the first repeat outweighs all others; nothing has a weight

        def frames(self, data, n_threads, n_particles, repeat, totals=totals):
            return np.full(2, totals * (1 + repeat))

        monkeypatch.setattr(LatentDensity, "frames", frames)
        found = model.log_likelihood(X, 1)
        assert found.log_likelihood[0] == 2 * totals
        assert_near(found.standard_error, np.array([error]), 1e-12, "error")


@pytest.mark.parametrize("encoder", ["filter", "smooth"])
def test_a_frame_without_density_leaves_the_others_alone(encoder):
    case = LatentCase("srnn", D=1, J=1, E=5, R=3, lengths=(6, 4), encoder=encoder)
    model, X, _ = latent_model_of(case, n_particles=4)
    before = model.score_frames(X)
    parameters = copied_parameters(model)
    X[0][2] = 1e200
    parameters["W_sigma"] *= 0.0  # else its scale is as large as it
    model = SRNN.from_parameters(parameters, cell=case.cell, n_particles=4)
    expected = model.score_frames(X[1])
    found, total = model.score_frames(X), model.score_samples(X)
    assert found[0][2] == total[0] == -np.inf
    assert not np.isnan(found[0]).any() and len(found[0]) == len(before[0])
    assert_same_bits(found[1], expected)


def test_more_draws_of_the_bound_differ_less():
    case = LatentCase("vrnn", D=2, J=2, E=6, R=4, lengths=(4,))
    parameters, X, _ = case.make()
    models = [VRNN.from_parameters(parameters, cell=case.cell, noise_seed=seed) for seed in range(30)]
    spread = [np.std([model.lower_bound(X, n_draws=n)[0] for model in models]) for n in (1, 100)]
    assert 0.05 < spread[1] / spread[0] < 0.2
    frames = [model.lower_bound_frames(X[0], n_draws=100) for model in models[:2]]
    for name in ("reconstruction", "kl"):  # each is a mean over draws
        assert np.all(np.abs(getattr(frames[0], name) - getattr(frames[1], name)) < 0.5 * spread[0])
    noise, _ = numbers_of(models[0], X[0], 5)
    each = [latent_bound(parameters, X[0], noise[:, k], **case.choices) for k in range(5)]
    found = models[0].lower_bound_frames(X[0], n_draws=5)
    assert_near(found.reconstruction, np.mean([one.reconstruction for one in each], axis=0), 1e-10)
    assert_near(found.kl, np.mean([one.kl for one in each], axis=0), 1e-10)


@pytest.mark.parametrize("kind", ["vrnn", "srnn"])
def test_idle_latents_leave_the_density_as_it_is(kind):
    case = Case(D=3, H=3, K=2, R=4, lengths=(5, 2, 7), cell="gru", context=("alpha", "mu", "sigma", "hidden"))
    exact, X = case.model(FLOAT64)
    parameters, _ = case.make()
    parameters, choices = idle_latents(np.random.default_rng(1), parameters, kind, 2, **case.choices)
    named = {
        name: value
        for name, value in choices.items()
        if name in getattr(rnnrnade, LATENT_CLASSES[kind])._parameter_constraints
    }
    model = getattr(rnnrnade, LATENT_CLASSES[kind]).from_parameters(parameters, n_particles=7, **named)
    total, error = model.log_likelihood(X)
    assert_near(total, exact.score_samples(X), 1e-11, "importance")
    assert_near(model.lower_bound(X), exact.score_samples(X), 1e-11, "bound")
    assert_near(np.concatenate(model.score_frames(X)), np.concatenate(exact.score_frames(X)), 1e-11, "particles")
    assert np.all(error < 1e-11)


# ---- training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VAE", "VRNN", "SRNN"])
def test_training_raises_the_bound(name):
    X = walks(40)
    X = np.concatenate(X) if name == "VAE" else X
    options = TINY_LATENT | {"transform": "standardize"} if name == "VAE" else SEQUENTIAL_LATENT
    few, many = (getattr(rnnrnade, name)(**options, max_epochs=n, patience=100, kl_warmup=20).fit(X) for n in (1, 40))
    assert many.lower_bound(X).mean() > few.lower_bound(X).mean() + 0.05
    assert many.score(X) >= many.lower_bound(X).sum() / sum(map(len, X if name != "VAE" else X[:, None])) - 0.05


def test_no_validation_counts_before_the_divergence_weighs_in_full(validated_after_each_epoch):
    X = walks(30)
    model = VRNN(**SEQUENTIAL_LATENT, max_epochs=30, kl_warmup=40, patience=1000).fit(X)
    score, update = np.array(model.history_["validation_score"]), np.array(model.history_["update"])
    assert np.array_equal(np.isnan(score), update < 40)
    assert (update < 40).sum() > 5
    assert model.best_update_ == 0 or model.best_update_ >= 40
    assert len(model.history_["kl"]) == len(update) and np.all(np.array(model.history_["kl"]) > 0)
    short = VRNN(**SEQUENTIAL_LATENT, max_epochs=10, kl_warmup=10**6, patience=1000).fit(
        X
    )  # at most half of all updates
    counted = ~np.isnan(short.history_["validation_score"])
    assert counted[-1] and not counted[0]
    usual = VRNN(**SEQUENTIAL_LATENT, max_epochs=60, patience=1000).fit(X)  # 20 epochs of 4 updates
    update = np.array(usual.history_["update"])
    assert np.array_equal(np.isnan(usual.history_["validation_score"]), update < 80)


@pytest.mark.parametrize("name", ["VAE", "SRNN"])
def test_validation_judges_by_the_bound_that_is_trained(name):
    X = np.concatenate(walks(20)) if name == "VAE" else walks(20)
    held = np.concatenate(walks(6, seed=1)) if name == "VAE" else walks(6, seed=1)
    options = TINY_LATENT if name == "VAE" else SEQUENTIAL_LATENT
    options = options | {"transform": None, "n_importance": 3, "kl_warmup": 0, "max_epochs": 30, "averaging": None}
    model = getattr(rnnrnade, name)(**options).fit(X, validation_data=held)
    network, x = model._density.model, np.concatenate(held) if name != "VAE" else held
    noise = np.random.default_rng(network.seed).standard_normal((3 * len(x), 2), np.float32).reshape(3, len(x), 2)
    lengths = np.ones(len(x), int) if name == "VAE" else [len(one) for one in held]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = [network.forward(x.astype(np.float32), offsets, np.ascontiguousarray(one)).log_weight for one in noise]
    log_w = [np.add.reduceat(row, offsets[:-1]) for row in rows]
    expected = (np.logaddexp.reduce(log_w, axis=0) - np.log(3)).sum() / len(x)
    assert_near(np.max(model.history_["validation_score"]), expected, 1e-6)


def test_the_weight_of_the_divergence_rises_in_a_line():
    model = LatentModel(Layout("gaussian", 2, 0, latent=VAE()._layout(2).latent, context=("mu",)), np.zeros(1))
    options = VRNN(kl_start=0.2, kl_warmup=100)._training()
    x = np.zeros((1, 2))
    weights = [model.noise(x, options, np.random.default_rng(0), update)["kl_weight"] for update in (0, 50, 100, 900)]
    assert_near(np.array(weights), np.array([0.2, 0.6, 1.0, 1.0]), 1e-15)


def test_training_asks_for_what_the_options_say():
    model = LatentModel(Layout("gaussian", 2, 0, latent=VAE()._layout(2).latent, context=("mu",)), np.zeros(1))
    options = VAE(free_nats=0.25, n_importance=3, kl_warmup=0)._training()
    asked = model.noise(np.zeros((5, 2)), options, np.random.default_rng(0), 0)
    assert asked.pop("noise").shape == (15, 8)
    assert asked == {"kl_weight": 1.0, "free_nats": 0.25, "n_samples": 3}


FRAMES = [
    {"n_latent": 0},
    {"n_latent": 0, "n_hidden": 3, "n_importance": 2, "order": "random"},
    {"n_latent": 0, "conditional": "bernoulli"},
    {"n_hidden": 3, "n_components": 2, "order": "random", "residual": True},
    {"components": "frame", "n_components": 3, "n_dense": 2, "encoder": "filter"},
    {"n_hidden": (4, 3), "prior": "standard", "n_layers": 2, "order": [2, 0, 1]},
]


@pytest.mark.parametrize("options", FRAMES, ids=str)
@pytest.mark.parametrize("name", ["VAE", "VRNN", "SRNN"])
def test_parameters_of_a_fit_make_the_fitted_model(name, options):
    kind, own = getattr(rnnrnade, name), TINY_LATENT if name == "VAE" else SEQUENTIAL_LATENT
    own = own | {"transform": "standardize", "max_epochs": 2, "n_particles": 3} | options
    own = {option: value for option, value in own.items() if option in kind._parameter_constraints}
    X = walks(10)
    if own.get("conditional") == "bernoulli":
        X, own["transform"] = [(x > 0).astype(float) for x in X], None
    X = latent_data_of(name, X)
    model = kind(**own).fit(X)
    kept = ("conditional", "cell", "min_scale", "min_latent_scale", "residual", "n_particles", "n_jobs")
    fixed = {option: value for option, value in model.get_params().items() if option in kept}
    order = None if own.get("order") is None else model._density.front.order
    again = kind.from_parameters(
        model.parameters_, transform=model.transform_, order=order, noise_seed=model.noise_seed_, **fixed
    )
    scores = model.score_samples(X)
    assert_same_bits(again.score_samples(X), scores)
    assert_same_bits(again.lower_bound(X), model.lower_bound(X))
    if own["n_latent"] == 0:
        assert_near(model.lower_bound(X), scores, 1e-12, "exact")
        assert not model.log_likelihood(X).standard_error.any()
        assert "kl" in model.history_ and not np.any(model.history_["kl"])
        assert all(np.shape(code)[-1] == 0 for code in listed(model.encode(X)))


def test_each_fit_has_a_seed_of_its_own():
    X = walks(8)
    seeds = [VRNN(**SEQUENTIAL_LATENT | {"random_state": seed}, max_epochs=1).fit(X).noise_seed_ for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert 0 not in seeds
    model = VRNN(**SEQUENTIAL_LATENT, max_epochs=1, warm_start=True).fit(X)
    seed = model.noise_seed_
    assert model.fit(X).noise_seed_ == seed == model.partial_fit(X).noise_seed_
    for bad in (-1, 2**63, 1.5, "a", None):
        with pytest.raises((ValueError, TypeError), match="noise_seed"):
            VRNN.from_parameters(model.parameters_, cell="gru", noise_seed=bad)


def test_a_collapse_is_said():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(10, 2)) for _ in range(40)]  # nothing to tell
    with pytest.warns(ConvergenceWarning, match="say almost nothing"):
        VRNN(**SEQUENTIAL_LATENT | {"learning_rate": 1e-2}, max_epochs=60, patience=1000, kl_warmup=0).fit(X)


@pytest.mark.parametrize("name", ["VAE", "VRNN", "SRNN"])
@pytest.mark.parametrize("n_importance", [1, 3])
def test_same_seed_same_bits_and_a_resumed_fit_is_the_same(name, n_importance, tmp_path, validated_after_each_epoch):
    X = np.concatenate(walks(20)) if name == "VAE" else walks(20) + [walks(1, seed=9, shortest=30, longest=31)[0]]
    options = TINY_LATENT if name == "VAE" else SEQUENTIAL_LATENT | {"window": 10}
    options = options | {"transform": "standardize", "n_importance": n_importance, "kl_warmup": 4, "max_epochs": 6}
    kind = getattr(rnnrnade, name)
    model = kind(**options).fit(X)
    again = kind(**options | {"n_jobs": 3}).fit(X, checkpoint=tmp_path / "checkpoint", every=0)
    assert without_seconds(again) == without_seconds(model)
    for parameter, value in copied_parameters(model).items():
        assert_same_bits(again.parameters_[parameter], value)
    stopped = kind(**options)

    def interrupt(self, *args, **kwargs):
        if self.updates == 5:
            raise KeyboardInterrupt
        return update(self, *args, **kwargs)

    from rnnrnade.training import Trainer

    update = Trainer.update
    (tmp_path / "checkpoint").unlink()
    with pytest.MonkeyPatch.context() as patch, pytest.warns(ConvergenceWarning):
        patch.setattr(Trainer, "update", interrupt)
        stopped.fit(X, checkpoint=tmp_path / "checkpoint", every=0)
    resumed = kind(**options).fit(X, checkpoint=tmp_path / "checkpoint", resume=True)
    for parameter, value in copied_parameters(model).items():
        assert_same_bits(resumed.parameters_[parameter], value)
    assert resumed.noise_seed_ == model.noise_seed_
    assert_same_bits(resumed.score_samples(X), model.score_samples(X))


def test_partial_fit_goes_on():
    X = walks(20)
    model = VRNN(**SEQUENTIAL_LATENT)
    for _ in range(5):
        model.partial_fit(X)
    assert model.n_iter_ == 5
    assert np.isfinite(model.score(X))
    with pytest.raises(ValueError, match="latent"):
        model.set_params(n_latent=5).partial_fit(X)


# ---- hard data, refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VAE", "VRNN", "SRNN"])
def test_hard_data_give_finite_numbers(name):
    options = (TINY_LATENT if name == "VAE" else SEQUENTIAL_LATENT) | {
        "max_epochs": 2,
        "transform": "auto",
        "n_particles": 4,
    }
    kind, rng = getattr(rnnrnade, name), np.random.default_rng(0)
    constant = [np.column_stack([np.full(12, 3.0), rng.normal(size=12)]) for _ in range(12)]
    outliers = [rng.normal(size=(12, 2)) for _ in range(12)]
    outliers[3][4, 1] = 1e6
    for X in (constant, outliers, [x[:1] for x in constant], constant[:1]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few frames, of the outlier
            model = kind(**options).fit(latent_data_of(name, X))
        for scores in (model.score_samples(latent_data_of(name, X)), model.lower_bound(latent_data_of(name, X))):
            assert np.isfinite(scores).all()
        assert np.isfinite(
            np.concatenate([np.ravel(one) for one in listed(model.encode(latent_data_of(name, X)))])
        ).all()


def test_an_absurd_frame_is_minus_infinity_or_an_error_with_its_place():
    X = walks(12)
    model = VRNN(**SEQUENTIAL_LATENT, max_epochs=2).fit(X)
    X[2][1, 0] = 1e30
    try:
        scores = model.score_samples(X)
    except ValueError as error:
        assert "sequence 2" in str(error) and "frame" in str(error)
    else:
        assert scores[2] < -1e10 or scores[2] == -np.inf
        assert np.isfinite(np.delete(scores, 2)).all()


def test_what_a_latent_model_cannot_give_is_said():
    X = walks(12)
    model = SRNN(**SEQUENTIAL_LATENT, max_epochs=1).fit(X)
    noise = np.zeros((sum(map(len, X)), 2))
    with pytest.raises(ValueError, match=r"noise must have the shape"):
        model.lower_bound_and_gradient(X, noise[1:])
    with pytest.raises(ValueError, match="objective must be"):
        model.lower_bound_and_gradient(X, noise, objective="elbo")
    with pytest.raises(ValueError, match="one draw"):
        model.lower_bound_and_gradient(X, np.stack([noise, noise]))
    with pytest.raises(ValueError, match="n_repeats must be at least 2"):
        model.log_likelihood(X, n_repeats=1)
    with pytest.raises(AttributeError, match="could not be computed exactly"):
        model.score_dims(X)
    with pytest.raises(AttributeError, match="has no attribute 'missing_things'"):
        _ = model.missing_things
    with pytest.raises(ValueError, match="components"):
        VRNN(conditional="bernoulli", components="frame").fit([(x > 0).astype(float) for x in X])
    vrnn = VRNN(**SEQUENTIAL_LATENT, max_epochs=1).fit(X)
    diverged = copy.deepcopy(vrnn)
    diverged._density.model.theta[:] = np.nan
    with pytest.raises(ValueError, match="frame 0"):
        diverged.stream().update(X[0][0])
    stream = vrnn.stream(X[0])
    before = stream.n_frames
    for frame in ([1.0], [np.nan, 0.0, 0.0], "abc"):
        with pytest.raises((ValueError, TypeError)):
            stream.update(frame)
    assert stream.n_frames == before
    with pytest.raises(ValueError, match="must have no latent vector"):
        _core.score_frame(
            vrnn._density.model.network, np.empty(3), vrnn._density.model.theta, np.empty(3, np.float32),
            np.empty(8, np.float32),
        )  # fmt: skip
    exact = RNNRNADE(n_recurrent=3, n_hidden=2, n_components=1, max_epochs=1).fit(X)._density.model
    with pytest.raises(ValueError, match="must have a latent vector"):
        _core.latent_prior(
            exact.network, np.empty((1, 2), np.float32), np.empty((1, 3), np.float32), exact.theta, None,
            np.empty((1, 2), np.float32),
        )  # fmt: skip


def test_files_of_other_networks_are_refused(tmp_path):
    from helpers import rewritten

    model = VRNN(**SEQUENTIAL_LATENT, max_epochs=1).fit(walks(12))
    path = tmp_path / "model"
    for change in (
        lambda _, content: content["options"]["members"][0]["layout"]["latent"].update(kind="srnn"),
        lambda _, content: content["options"]["members"][0]["layout"]["latent"].update(n_dense=99),
        lambda _, content: content["options"]["members"][0]["layout"]["latent"].update(E=7),
        lambda _, content: content["options"]["members"][0].update(noise_seed=-1),
        lambda _, content: content["options"]["members"][0]["layout"].update(latent=None),
    ):
        model.save(path)
        path.write_bytes(rewritten(path, change))
        with pytest.raises(rnnrnade.ModelFileError):
            rnnrnade.load(path)


def test_tables_keep_their_labels():
    pandas = pytest.importorskip("pandas")
    X = [pandas.DataFrame(x, columns=list("abc")) for x in walks(12)]
    model = VRNN(**SEQUENTIAL_LATENT, max_epochs=1).set_output(transform="pandas").fit(X)
    assert list(model.sample(2, 3).columns) == list("abc")
    assert model.encode(X[0]).shape == (len(X[0]), 2)
    assert list(model.reconstruct(X[0]).columns) == list("abc")
    assert model.score_frames(X[0]).name == "estimated_log_density"


def test_scales_noise_and_numbers_of_particles_that_cannot_be_are_refused():
    X = walks(12)
    with pytest.raises(ValueError, match="'min_latent_scale' parameter of VRNN must be at most"):
        VRNN(**SEQUENTIAL_LATENT, min_latent_scale=1e300).fit(X)
    model = VRNN(**SEQUENTIAL_LATENT, max_epochs=1).fit(X)
    noise = np.zeros((len(X[0]), 2))
    noise[3, 1] = np.nan
    with pytest.raises(ValueError, match="noise must hold finite numbers"):
        model.lower_bound_and_gradient(X[:1], noise)
    for call in (
        model.score_samples,
        lambda x: model.forecast(x, 1, n_samples=2),
        lambda x: model.stream().update(x[0][0]),
    ):
        model.set_params(n_particles=10**12)
        with pytest.raises(MemoryError, match="particles"):
            call(X[:1])
    with pytest.raises(MemoryError, match="particles"):
        model.lower_bound(X[:1], n_draws=10**12)
