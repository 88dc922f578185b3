"""MADE with drawn degrees, and the mean of its densities under several masks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import reference
from helpers import DTYPES, FLOAT64, TOLERANCE, Case, assert_near, assert_same_bits, ids, small_model

import rnnrnade
from rnnrnade import MADE
from rnnrnade.conditioners import CONDITIONERS
from rnnrnade.heads import HEADS
from rnnrnade.masks import model_of
from rnnrnade.training import Training

CASES = [
    Case(
        D=D,
        H=H,
        K=K,
        R=R,
        lengths=(7, 1, 12),
        head=head,
        conditioner="made",
        direct=direct,
        context=context,
        min_scale=s,
    )
    for D, H, K, head, direct, s in (
        (4, (9, 5), 1, "bernoulli", True, 0.0),
        (5, (3, 16, 7), 1, "bernoulli", False, 0.0),
        (6, (11,), 2, "gaussian", False, 1e-3),
        (3, (8, 8), 2, "student", True, 1e-3),
    )
    for R, context in ((0, ()), (5, ("bias" if head == "bernoulli" else "mu", "hidden")))
]
cases = pytest.mark.parametrize("case", CASES, ids=ids(CASES))
masks = pytest.mark.parametrize("n", [1, 3])


def made(case, n, dtype=FLOAT64):
    model, X = case.model(dtype, n_masks=n, degrees="drawn")
    return model, X, [X[i : i + 1] for i in range(len(X))] if case.R == 0 else X


def degrees_of(case, n):
    """What the reference takes for those of each mask."""
    found = []
    for mask in range(n):
        generator = np.random.RandomState(mask)
        drawn = [generator.randint(0, case.D, size) for size in case.H]
        drawn = [np.sort(d) for d in drawn] if n == 1 else drawn
        found.append({f"degree_{i}" if i > 1 else "degree": d for i, d in enumerate(drawn, 1)})
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@masks
@cases
def test_scores_are_those_of_the_definition(case, n, dtype, row):
    model, X, sequences = made(case, n, dtype)
    parameters, _ = case.make(dtype)
    expected = [
        reference.log_density_dims_of_masks(parameters, x, degrees_of(case, n), **case.choices) for x in sequences
    ]
    dims = model.score_dims(X)
    expected = np.concatenate(expected)
    assert_near(np.concatenate(dims) if case.R else dims, expected, TOLERANCE["score"][dtype] * 10)
    frames = model.score_frames(X) if case.R else model.score_samples(X)
    assert_near(np.concatenate(frames) if case.R else frames, expected.sum(axis=1), TOLERANCE["score"][dtype] * 10)


@masks
@cases
def test_the_gradient_is_the_derivative(case, n, row):
    model, X, _ = made(case, n)
    parameters = {name: p.copy() for name, p in model.parameters_.items()}
    options = case.options | {"n_masks": n, "degrees": "drawn", "dtype": FLOAT64}
    total, gradient = model.log_likelihood_and_gradient(X)
    assert_near(total, float(np.sum(model.score_samples(X))), 1e-12)
    generator = np.random.default_rng(0)
    for name in parameters:
        direction = generator.standard_normal(parameters[name].shape)
        ends = [
            np.sum(type(model).from_parameters(parameters | {name: parameters[name] + step * direction}, **options)
                   .score_samples(X))
            for step in (1e-5, -1e-5)
        ]  # fmt: skip
        slope = (ends[0] - ends[1]) / 2e-5
        assert abs(slope - (gradient[name] * direction).sum()) < 1e-6 * max(1.0, abs(slope)), name


@pytest.mark.parametrize("D, H", [(1, (3,)), (5, (2, 9)), (10, (16, 5, 30))])
@masks
def test_probabilities_of_all_binary_vectors_add_up_to_one(D, H, n):
    case = Case(D=D, H=H, K=1, R=0, lengths=(1,), head="bernoulli", conditioner="made", direct=True)
    model, _ = case.model(n_masks=n, degrees="drawn")
    X = np.array(list(itertools.product((0.0, 1.0), repeat=D)))
    assert abs(np.exp(model.score_samples(X)).sum() - 1) < 1e-12


@cases
def test_no_conditional_reads_its_own_dimension_or_a_later_one(case):
    model, X, _ = made(case, 3)
    x = model._check(X).frames.astype(FLOAT64)

    def parameters(x):
        outputs = model._density.model.outputs(x, np.arange(len(x) + 1))  # each frame alone
        return np.concatenate([scores.parameters for _, scores in outputs])

    before = parameters(x)
    for d in range(case.D):
        y = x.copy()
        y[:, d:] = 0.5 * y[:, d:] + 7
        assert_same_bits(parameters(y)[:, : d + 1], before[:, : d + 1])


@cases
def test_the_same_bits_alone_as_a_prefix_as_a_stream_and_from_parameters(case):
    model, X, sequences = made(case, 3)
    every = model.score_dims(X)
    for i, x in enumerate(sequences):
        assert_same_bits(model.score_dims(x if case.R == 0 else [x])[0], every[i])
    again = type(model).from_parameters(
        model.parameters_, n_masks=3, degrees="drawn", dtype=FLOAT64, n_jobs=2, **case.options
    )
    assert_same_bits(again.score_samples(X), model.score_samples(X))
    if case.R:
        assert_same_bits(model.score_frames([X[2][:5]])[0], model.score_frames(X)[2][:5])
        stream = model.stream()
        assert_same_bits(np.array([stream.update(x) for x in X[2]]), model.score_frames(X)[2])


@cases
def test_conditionals_are_the_mixtures_of_all_masks(case):
    """Their densities, and the inverse of their distribution functions."""
    model, X, sequences = made(case, 3)
    p, whole = model.predict_params(X), lambda values: np.concatenate(values) if case.R else values
    if case.mixture:
        assert whole(p.mu).shape[-1] == 3 * case.K
        family = HEADS[case.head].distribution(*map(whole, p))
        assert_near(family.log_density(np.concatenate(sequences)), whole(model.score_dims(X)), 1e-10)
        back = model.from_normal(model.to_normal(X))
        assert_near(np.concatenate(back) if case.R else back, np.concatenate(sequences), 1e-6)
    else:
        probability, x = np.concatenate(p.p if case.R else [p.p]), np.concatenate(sequences)
        dims = np.concatenate(model.score_dims(X) if case.R else [model.score_dims(X)])
        assert_near(np.log(np.where(x > 0, probability, 1 - probability)), dims, 1e-10)


@pytest.mark.parametrize("R", [0, 4])
def test_draws_have_the_probabilities_of_the_mean(R):
    """Of two frames in all, each of their vectors as often as the model says."""
    case = Case(D=3, H=(7, 5), K=1, R=R, lengths=(1,), head="bernoulli", conditioner="made", direct=True)
    parameters, _ = case.make()
    big = {name: 3 * p for name, p in parameters.items()}
    model = getattr(rnnrnade, case.estimator_name).from_parameters(big, n_masks=3, dtype=FLOAT64)
    T, n = (2, 40000) if R else (1, 40000)
    x = model.sample(n, T, random_state=0) if R else model.sample(n, random_state=0)
    X = np.array(list(itertools.product((0.0, 1.0), repeat=3 * T))).reshape(-1, T, 3)
    expected = np.exp(model.score_samples(list(X) if R else X[:, 0]))
    counts = (
        np.bincount(x.reshape(n, -1) @ 2 ** np.arange(3 * T)[::-1], minlength=8**T)
        if x.dtype.kind == "i"
        else (np.bincount((x.reshape(n, -1) @ 2.0 ** np.arange(3 * T)[::-1]).astype(int), minlength=8**T))
    )
    z = (counts - n * expected) / np.sqrt(n * expected * (1 - expected))
    assert np.abs(z).max() < 4.5
    under_one = type(model).from_parameters(big, dtype=FLOAT64, degrees="drawn")  # where the test could not fail
    other = np.exp(under_one.score_samples(list(X) if R else X[:, 0]))
    assert (np.abs(counts - n * other) / np.sqrt(n * other * (1 - other))).max() > 10


@pytest.mark.parametrize("name", ["MADE", "RNNMADE"])
@masks
def test_fits_raise_the_score_and_load_again(name, n, tmp_path):
    options = {"n_hidden": (8, 6), "n_masks": n, "degrees": "drawn", "max_epochs": 30, "learning_rate": 0.02}
    model, X = small_model(name, **options)
    first, _ = small_model(name, **options | {"max_updates": 1})
    assert model.fit(X).score(X) > first.fit(X).score(X) + 0.1
    again, _ = small_model(name, **options)
    assert_same_bits(again.fit(X).score_samples(X), model.score_samples(X))
    model.save(tmp_path / "model")
    loaded = rnnrnade.load(tmp_path / "model")
    assert_same_bits(loaded.score_samples(X), model.score_samples(X))
    assert_same_bits(loaded.sample(3, random_state=1), model.sample(3, random_state=1))
    from_parameters = type(model).from_parameters(model.parameters_, n_masks=n, degrees="drawn")
    assert_same_bits(from_parameters.score_samples(X), model.score_samples(X))
    for name, mask in CONDITIONERS["made"].masks(model._density.model.layout).items():
        assert not model.parameters_[name][~mask].any()


def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path):
    model, X = small_model("RNNMADE", n_masks=3, max_epochs=6, validate_every=1)
    whole = model.fit(X).score_samples(X)
    part, _ = small_model("RNNMADE", n_masks=3, max_epochs=6, validate_every=1)
    calls = iter(range(3))
    try:
        from rnnrnade.masks import Masks

        gradient = Masks.gradient

        def failing(self, *arguments, **options):
            if next(calls, None) is None:
                raise RuntimeError
            return gradient(self, *arguments, **options)

        Masks.gradient = failing
        with pytest.raises(RuntimeError):
            part.fit(X, checkpoint=tmp_path / "checkpoint", every=0)
    finally:
        Masks.gradient = gradient
    again, _ = small_model("RNNMADE", n_masks=3, max_epochs=6, validate_every=1)
    again.fit(X, checkpoint=tmp_path / "checkpoint", resume=True)
    assert_same_bits(again.score_samples(X), whole)


def test_masks_differ_and_their_numbers_decide_them():
    case = CASES[0]
    scores = [made(case, n)[0].score_samples(made(case, n)[1]) for n in (1, 2, 3)]
    assert not np.allclose(scores[0], scores[1]) and not np.allclose(scores[1], scores[2])


@pytest.mark.parametrize("n_masks", [1, 3])
@pytest.mark.parametrize("R", [0, 4])
def test_dropped_units_and_inputs_are_not_read_and_the_gradient_is_the_derivative(R, n_masks):
    case = Case(D=4, H=(6, 5), K=2, R=R, lengths=(7, 3), conditioner="made", direct=True)
    model, x, offsets = case.core("float64")
    layout = replace(model.layout, masks=tuple(range(n_masks)) if n_masks > 1 else ())
    model = model_of(layout, layout.flat(dict(model.layout.views(model.theta)), np.float64))
    options = Training(1, None, 1, "adam", 0.1, None, 0, 0.0, None, None, 1, 0, unit_dropout=0.4, input_dropout=0.3)
    noise = model.noise(x, options, np.random.default_rng(3), 0)
    factors = noise["factors"]
    found = np.concatenate([np.unique(layout.block(factors, name)[..., :n]) for name, n in (("V", 5), ("W_2", 6))])
    assert set(np.round(found, 12)) == {0.0, round(1 / 0.6, 12)}  # about two of five, the others scaled up
    assert (np.unique(layout.block(factors, "W")[..., :4]).size == 1) == bool(R)  # there the recurrence drops
    named = {name: view for name, view in layout.views(factors).items() if name[0] in "bcU"}
    assert all((view == 1).all() for view in named.values())
    weight, more = np.ones(len(x)), {name: value for name, value in noise.items() if name in ("factors", "turn")}
    gradient, frames = model.gradient(x, offsets, weight, **more)
    turn = {"turn": noise["turn"]} if n_masks > 1 else {}
    dropped, plain = model.with_theta(model.theta * factors), np.zeros(layout.size)
    expected, of_dropped = dropped.gradient(x, offsets, weight, **turn)
    assert_same_bits(frames, of_dropped)
    assert_same_bits(gradient, expected * factors)
    direction = np.random.default_rng(0).standard_normal(layout.size) * (gradient != 0)
    step = 1e-6

    def total(shift):
        moved = model.with_theta((model.theta + shift * direction) * factors)
        return moved.gradient(x, offsets, weight, **turn)[1].sum()

    assert_near((total(step) - total(-step)) / (2 * step), gradient @ direction, 1e-6)
    assert (plain == 0).all()


def test_a_fit_with_dropout_learns_and_goes_on_to_the_same_bits(tmp_path):
    X = (np.random.default_rng(0).random((300, 1)) < [[0.5, 0.5, 0.5]]) * np.array([1, 1, 1])
    X = np.column_stack([X, X[:, 0] ^ 1])
    options = {"n_hidden": (9, 7), "unit_dropout": 0.2, "input_dropout": 0.1, "learning_rate": 0.02}
    options |= {"max_epochs": 20, "random_state": 0}
    model = MADE(**options).fit(X)
    assert model.score(X) > 4 * np.log(0.5) + 0.2
    assert (model.score_samples(X) != MADE(**options | {"unit_dropout": 0.0}).fit(X).score_samples(X)).any()
    path = tmp_path / "c"
    MADE(**options).fit(X, checkpoint=path, every=0)
    assert_same_bits(MADE(**options).fit(X, checkpoint=path, resume=True).score_samples(X), model.score_samples(X))


def test_gaps_and_leading_dimensions_are_those_of_the_mean_of_the_masks():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((200, 3)) @ [[1, 0.8, 0], [0, 1, 0.5], [0, 0, 1.0]]
    options = {"n_hidden": 8, "n_components": 2, "conditional": "gaussian", "n_masks": 3, "max_epochs": 5}
    model = MADE(**options, missing="marginalize", transform=None, random_state=0).fit(X)
    rows = np.array([[X[0, 0], X[0, 1], np.nan], [np.nan, X[1, 1], X[1, 2]], [X[2, 0], np.nan, np.nan]])
    grid = np.linspace(-12, 12, 3001)
    step = grid[1] - grid[0]

    def filled(row, d):
        return np.where(np.arange(3) == d, grid[:, None], row)

    expected = [np.log(np.exp(model.score_samples(filled(rows[i], d))).sum() * step) for i, d in ((0, 2), (1, 0))]
    found, error = model.log_likelihood_missing(rows, random_state=0)
    assert_near(found[0], expected[0], 1e-5)
    assert error[0] == error[2] == 0 and abs(found[1] - expected[1]) < 5 * error[1] + 1e-5
    assert_near(found[2], model.score_dims(np.nan_to_num(rows))[2, 0], 1e-6)
    drawn = model.impute(rows, 4, random_state=0)
    assert np.isfinite(drawn).all() and (drawn[:, 1, 1:] == rows[1, 1:]).all()
    samples = model.sample(20_000, leading=[1.0], random_state=0)
    density = np.exp(model.score_dims(np.column_stack([np.ones(3001), grid, np.zeros(3001)]))[:, 1])
    mean = (density * grid).sum() / density.sum()
    assert abs(samples[:, 1].mean() - mean) < 4 * samples[:, 1].std() / np.sqrt(len(samples))
