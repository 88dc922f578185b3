"""Streams: the bits of the batch scores frame by frame, copies that go their own way, and a border that says where."""

import copy
import pickle

import numpy as np
import pytest
from helpers import DTYPES, EVERY_CONTEXT, FLOAT32, FLOAT64, GATED, LARGE, LAYERED, Case, assert_same_bits, cases, ids

from rnnrnade import Linear
from rnnrnade.streaming import FrameScore

SEQUENCES = [case for case in (*cases(2), *EVERY_CONTEXT, *GATED, *LAYERED, *LARGE) if case.R]
TRANSFORMS = [None, *(Linear(lags, covariance) for lags in (0, 1, 3) for covariance in ("diagonal", "full"))]
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def read(stream, x):
    """(frames, dims) of a sequence read frame by frame."""
    scores = [stream.update(frame, dims=True) for frame in x]
    return np.array([score.log_density for score in scores]), np.array([score.dims for score in scores])


def with_transform(transform, *, dtype=FLOAT64, order=None, D=5):
    """A model behind a transform, and one sequence in units of its own."""
    case = Case(D=D, H=7, K=3, R=9, lengths=(12,), cell="gru", context=("mu", "hidden"))
    parameters, _ = case.make(dtype)
    generator = np.random.default_rng(0)
    X = 30 + np.cumsum(generator.standard_normal((12, D)), axis=0) * 10.0 ** np.arange(D)
    if transform is not None:
        transform = copy.deepcopy(transform).fit(X[:, order] if order else X, np.array([0, 12]))
    else:
        X /= 10.0 ** np.arange(D)
    from rnnrnade import RNNRNADE

    return RNNRNADE.from_parameters(parameters, transform=transform, order=order, dtype=dtype, cell="gru"), X


# ---- the same bits -------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("case", SEQUENCES, ids=ids(SEQUENCES))
def test_a_stream_has_the_bits_of_the_batch(case, dtype, row):
    model, X = case.model(dtype)
    frames, dims = model.score_frames(X), model.score_dims(X)
    for i in {0, len(X) - 1}:
        n = min(len(X[i]), 12)  # prefixes have the same bits
        assert_same_bits(read(model.stream(), X[i][:n]), (frames[i][:n], dims[i][:n]))


@dtypes
@pytest.mark.parametrize("order", [None, [3, 0, 4, 1, 2]])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=ids(TRANSFORMS))
def test_a_stream_has_the_bits_of_the_batch_behind_every_transform(transform, order, dtype):
    model, X = with_transform(transform, dtype=dtype, order=order)
    expected = model.score_frames(X), model.score_dims(X)
    assert_same_bits(read(model.stream(), X), expected)
    assert_same_bits([model.stream().update(X[0])], expected[0][:1])
    for n in (1, 2, 5, 11):  # with a sequence read before
        stream = model.stream(X[:n])
        assert stream.n_frames == n
        assert_same_bits(read(stream, X[n:]), (expected[0][n:], expected[1][n:]))
        assert stream.n_frames == 12


def test_a_stream_takes_what_the_batch_takes():
    model, X = with_transform(Linear(), dtype=FLOAT32)
    whole = np.round(X)
    for form in (
        lambda x: x.tolist(),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(">f8"),
        lambda x: np.repeat(x, 2)[::2],
        lambda x: x.astype(object),
    ):
        assert_same_bits([model.stream().update(form(whole[0]))], model.score_frames(whole)[:1])
    single = X.astype(np.float32)
    assert_same_bits(read(model.stream(), single)[0], model.score_frames(single))
    frame = X[0].copy()
    frame.flags.writeable = False
    model.stream().update(frame)
    bits = Case(D=3, H=4, K=1, R=5, lengths=(6,), head="bernoulli").model()
    assert_same_bits([bits[0].stream().update(bits[1][0][0].astype(bool))], bits[0].score_frames(bits[1])[0][:1])


def test_large_and_small_dimensions():
    """More dimensions than lanes, and a number of blocks that is no multiple."""
    for D in (1, 8, 16, 33, 65):
        model, X = Case(D=D, H=3, K=2, R=4, lengths=(3,)).model(FLOAT32)
        assert_same_bits(read(model.stream(), X[0]), (model.score_frames(X)[0], model.score_dims(X)[0]))


# ---- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: s.copy(), lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_go_their_own_way(copied):
    model, X = with_transform(Linear(lags=2, covariance="full"))
    stream = model.stream()
    read(stream, X[:5])
    other = copied(stream)
    one, two = X[5:], X[:4]
    assert_same_bits(read(other, two)[0], model.score_frames(np.concatenate([X[:5], two]))[5:])
    assert_same_bits(read(stream, one)[0], model.score_frames(X)[5:])
    assert (stream.n_frames, other.n_frames) == (12, 9)


def test_streams_do_not_touch_each_other_or_the_model():
    model, X = with_transform(Linear(lags=1))
    before = {name: value.copy() for name, value in model.parameters_.items()}
    streams = [model.stream() for _ in range(3)]
    scores = np.array([[stream.update(frame) for stream in streams] for frame in X])
    assert_same_bits(scores, np.repeat(model.score_frames(X)[:, None], 3, axis=1))
    assert_same_bits(dict(model.parameters_), before)


def test_a_stream_has_constant_memory():
    model, X = with_transform(Linear(lags=3, covariance="full"))
    stream = model.stream()
    read(stream, X[:4])
    size = len(pickle.dumps(stream))
    for _ in range(50):
        read(stream, X)
    assert len(pickle.dumps(stream)) < size + 8  # the number of frames takes a byte more


# ---- the border ----------------------------------------------------------------------------------------------------


def changed(frame, d, value):
    frame = frame.copy()
    frame[d] = value
    return frame


@pytest.mark.parametrize(
    "bad, error, words",
    [
        (lambda x: changed(x, 3, np.nan), ValueError, ["NaN", "frame 2", "dimension 3"]),
        (lambda x: changed(x, 1, -np.inf), ValueError, ["infinity", "frame 2", "dimension 1"]),
        (lambda x: x[:4], ValueError, ["frame 2", "(4,)", "(5,)"]),
        (lambda x: x[None], ValueError, ["frame 2", "(1, 5)", "stream(X)"]),
        (lambda x: 1.0, ValueError, ["frame 2", "()"]),
        (lambda x: None, TypeError, ["frame 2"]),
        (lambda x: ["a"] * 5, TypeError, ["frame 2"]),
        (lambda x: x + 1j, TypeError, ["frame 2", "complex"]),
        (lambda x: np.ma.masked_equal(x, x[0]), ValueError, ["frame 2", "masked"]),
        (lambda x: changed(x, 2, 1e300), ValueError, ["float32", "frame 2", "dimension 2"]),
    ],
)
def test_a_bad_frame_is_refused_and_the_stream_stays(bad, error, words):
    model, X = with_transform(None, dtype=FLOAT32)
    stream = model.stream()
    read(stream, X[:2])
    with pytest.raises(error) as raised:
        stream.update(bad(X[2]))
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert_same_bits(read(stream, X[2:])[0], model.score_frames(X)[2:])


def test_large_entries_whose_sum_overflows_are_no_error():
    model, X = with_transform(None, D=2)
    X[:] = 1.5e308
    assert np.isneginf(model.stream().update(X[0])) or np.isfinite(model.stream().update(X[0]))


def test_a_density_that_is_no_number_is_refused():
    parameters, sequences = Case(D=3, H=4, K=2, R=5, lengths=(4,)).make(FLOAT32)
    parameters["b_alpha"][:] = parameters["V_alpha"][:] = 3e38  # infinity minus infinity in the softmax
    from rnnrnade import RNNRNADE

    model = RNNRNADE.from_parameters(parameters, dtype=FLOAT32)
    for score in (lambda: model.score_frames(sequences[0]), lambda: model.stream().update(sequences[0][0])):
        with pytest.raises(ValueError, match=r"the log-density is not finite.*frame 0"):
            score()


def test_binary_streams_refuse_other_numbers():
    model, X = Case(D=3, H=4, K=1, R=5, lengths=(6,), head="bernoulli").model()
    stream = model.stream()
    stream.update(X[0][0])
    with pytest.raises(ValueError, match=r"frame 1, dimension 2.*0 or 1"):
        stream.update([0, 1, 0.5])


def test_names_of_features_are_compared():
    pandas = pytest.importorskip("pandas")
    from rnnrnade import RNNRNADE

    frame = pandas.DataFrame(np.random.default_rng(0).standard_normal((40, 2)), columns=["one", "two"])
    model = RNNRNADE(n_components=1, n_hidden=2, n_recurrent=2, max_epochs=1, validation_fraction=0).fit(frame)
    stream = model.stream(frame[:20])
    scores = [stream.update(row) for _, row in frame[20:].iterrows()]
    assert_same_bits(np.array(scores), model.score_frames(frame)[20:])
    with pytest.raises(ValueError, match="frame 40 has the names"):
        stream.update(frame[["two", "one"]].iloc[0])
    with pytest.raises(ValueError, match=r"dimension 1 \('two'\)"):
        stream.update([0.0, np.nan])


def test_the_given_sequence_is_checked():
    model, X = with_transform(None)
    with pytest.raises(ValueError, match="given must be one sequence"):
        model.stream([X, X])
    with pytest.raises(ValueError, match="given: "):
        model.stream(X[:, :3])


def test_what_an_update_returns():
    model, X = with_transform(None)
    assert type(model.stream().update(X[0])) is float
    score = model.stream().update(X[0], dims=True)
    assert type(score) is FrameScore and type(score.log_density) is float and score.dims.dtype == np.float64


def test_an_estimator_must_be_fitted():
    from sklearn.exceptions import NotFittedError

    from rnnrnade import RNNRNADE

    with pytest.raises(NotFittedError):
        RNNRNADE().stream()
