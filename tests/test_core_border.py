"""The border of the compiled core: arrays that do not fit are refused with a sentence, and never reach a pointer."""

import numpy as np
import pytest
from helpers import DTYPES

from rnnrnade import _core
from rnnrnade.latent_model import LatentModel, Steps
from rnnrnade.latents import Latents
from rnnrnade.layout import CELLS, PAD, Layout, initial_parameters
from rnnrnade.model import Model

LENGTHS = np.array([3, 1, 4])
OFFSETS = np.array([0, 3, 4, 8])

# Public names that read no arrays.
OTHERS = {
    "Workspace", "effective_threads", "free_workspace", "has_openmp", "kernel_row_names", "last_team_size", "of_family",
    "row_in_use", "use_all_threads", "use_kernels",
}  # fmt: skip

# What tells the others their size: the sentence may name one of them instead.
LEADING = {
    ("Frames", "x"), ("Frames", "offsets"), ("states", "rows"), ("sample", "x"), ("adam", "theta"),
    ("momentum", "theta"), ("apply", "x"), ("add_product", "A"), ("add_product", "B"),
    ("causal", "u"), ("causal", "offsets"), ("student", "u"),
    ("LatentFrames", "x"), ("LatentFrames", "starts"), ("latent_prior", "noise"), ("latent_sample", "x"),
}  # fmt: skip


def model_of(dtype, R=3, cell="lstm", D=2, H=5):
    context = ("alpha", "mu", "sigma", "hidden") if R else ()
    layout = Layout("gaussian", D, H, 2, R, cell=cell, context=context, L=2)
    return Model(layout, initial_parameters(layout, np.random.default_rng(0), np.dtype(dtype)))


def calls(dtype, R=3, cell="lstm"):
    """Every call of the core with arguments that are right; those of Frames, where one is asked for, as a dict."""
    model = model_of(dtype, R, cell)
    lay, theta = model.layout, model.theta.copy()
    M, N, D, Sp = OFFSETS[-1], len(LENGTHS), lay.D, lay.Sp

    def zeros(*shape, dtype=dtype):
        return np.zeros(shape, dtype)

    frames = {"x": zeros(M, D), "offsets": OFFSETS, "by_length": np.array([2, 0, 1])}
    frames |= {"fresh": np.zeros(N, np.uint8), "initial": zeros(N, Sp)}
    log_density, dims = zeros(M, dtype="float64"), zeros(M, D, dtype="float64")
    threads = {"n_threads": 2}
    moved = {name: zeros(7) for name in ("theta", "average", "v", "gradient", "strength")} | {"rate": 0.1, "share": 0.1}
    found = {
        "Network": {"layout": lay},
        "Frames": frames,
        "forward": {"theta": theta, "frames": frames, "log_density": log_density, "dims": dims,
                    "parameters": zeros(M, D, lay.P), "last": zeros(N, Sp)} | threads,
        "gradient": {"grad": theta.copy(), "log_density": log_density, "theta": theta, "frames": frames,
                     "weight": zeros(M), "inputs": zeros(M, D), "mask": zeros(M, lay.Rp)} | threads,
        "states": {"out": zeros(2, Sp), "rows": np.array([1, M - 1]), "theta": theta, "frames": frames,
                   "last": zeros(N, Sp)} | threads,
        "sample": {"x": zeros(N, 2, D), "theta": theta, "uniform": zeros(N, 2, D), "noise": zeros(N, 2, D),
                   "state": zeros(N, Sp)} | threads,
        "from_normal": {"e": dims.copy(), "theta": theta, "frames": frames | {"x": dims.copy()}} | threads,
        "score_frame": {"dims": dims[0].copy(), "theta": theta, "x": zeros(D), "state": zeros(Sp)},
        "adam": moved | {"m": zeros(7), "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "step": 1} | threads,
        "momentum": moved | {"decay": 0.9} | threads,
        "norm": {"x": zeros(7)} | threads,
        "add_product": {"C": np.zeros((4, 2)), "A": np.zeros((4, 3)), "B": np.zeros((2, 3))},
        "causal": {
            "e": np.zeros((6, 2)), "u": np.zeros((6, 2)), "offsets": np.array([0, 2, 6]), "state": np.ones((2, 8)),
            "options": ((0.9, 0.5), ((0.9,), 0.0, 0.1), (0.9, 0.1), None), "location": np.zeros((6, 2)),
            "scale": np.zeros((6, 2)),
        },
        "apply": {"function": "exp", "x": zeros(PAD), "out": zeros(PAD)},
        "student": {"function": "cdf", "u": np.zeros(4), "nu": np.full(4, 3.0), "out": np.zeros(4)},
    }  # fmt: skip
    for name in ("forward", "gradient", "states", "sample", "from_normal", "score_frame"):
        found[name] = {"network": model.network} | found[name]
    return found | latent_calls(dtype, cell)


def latent_calls(dtype, cell, D=2, J=3, E=5, R=3):
    """The same of the calls with a latent vector."""
    latents = Latents("srnn", J, E, n_dense=2)
    layout = Layout("gaussian", D, 0, 2, R, cell=cell, context=("alpha", "mu", "sigma"), L=2, latent=latents)
    model = LatentModel(layout, initial_parameters(layout, np.random.default_rng(0), np.dtype(dtype)))
    theta, M, N = model.theta.copy(), OFFSETS[-1], len(LENGTHS)

    def zeros(*shape, dtype=dtype):
        return np.zeros(shape, dtype)

    starts = Steps(OFFSETS).starts
    frames = {"x": zeros(M, D), "starts": starts, "noise": zeros(M, J), "given": None}
    frames |= {"fresh": np.zeros(N, np.uint8), "initial": zeros(N, layout.Zp)}
    terms = {name: zeros(M, dtype="float64") for name in ("log_density", "divergence", "ratio")}
    network, threads = {"network": model.network}, {"n_threads": 2}
    return {
        "LatentFrames": frames,
        "latent_forward": network | {"theta": theta, "frames": frames | {"given": zeros(M, J)}} | terms | {
            "dims": zeros(M, D, dtype="float64"), "normals": zeros(M, 4, J), "latent": zeros(M, J),
            "context": zeros(M, E), "parameters": zeros(M, D, layout.P), "last": zeros(N, layout.Zp)} | threads,
        "latent_gradient": network | {"grad": theta.copy()} | terms | {
            "theta": theta, "frames": frames, "weight": zeros(M), "press": zeros(M)} | threads,
        "latent_prior": network | {"latent": zeros(2, J), "context": zeros(2, E), "theta": theta,
                                   "state": zeros(2, layout.Zp), "noise": zeros(2, J)} | threads,
        "latent_sample": network | {"x": zeros(2, 1, D), "theta": theta, "uniform": zeros(2, 1, D),
                                    "noise": zeros(2, 1, D), "context": zeros(2, E)} | threads,
    }  # fmt: skip


def call(name, arguments):
    def frames(value):
        return (_core.LatentFrames if "starts" in value else _core.Frames)(**value)

    arguments = {key: frames(value) if isinstance(value, dict) else value for key, value in arguments.items()}
    return getattr(_core, name)(**arguments)


def changed(arguments, path, value):
    first, *rest = path
    return arguments | {first: changed(arguments[first], rest, value) if rest else value}


def others(value):
    """Arrays of other shapes: each axis one longer, one shorter and empty."""
    for axis, n in enumerate(value.shape):
        for m in {n + 1, max(n - 1, 0), 0} - {n}:
            yield np.zeros((*value.shape[:axis], m, *value.shape[axis + 1 :]), value.dtype)


def of_other_shapes(name, arguments):
    """(path, wrong value) for all arrays of a call."""
    for key, value in arguments.items():
        inner = [((key, inner), value[inner]) for inner in value] if isinstance(value, dict) else [((key,), value)]
        for path, array in inner:
            if isinstance(array, np.ndarray) and (name, path) not in FREE:
                yield from ((path, other) for other in others(array))


# What cannot be wrong: norm takes any length, and initial has no network beside it before a call.
FRAMES = ("Frames", "LatentFrames")
UNREAD = {(name, key) for name in FRAMES for key in ("x", "initial", "noise")}
FREE = {("norm", ("x",))} | {(name, (key,)) for name, key in UNREAD if key != "x"}


def refused(name, arguments, message=""):
    with pytest.raises(ValueError, match=message):
        call(name, arguments)


def test_every_public_name_is_in_the_table():
    public = {name for name in dir(_core) if getattr(getattr(_core, name), "__module__", None) == "rnnrnade._core"}
    assert {name for name in public if not name.startswith("_")} == OTHERS | set(calls("float64"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("R", [3, 0])
def test_what_fits_is_taken(dtype, cell, R):
    for name, arguments in calls(dtype, R, cell).items():
        if R or name != "states":
            call(name, arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", calls("float64"))
def test_another_shape_is_refused(name, cell, dtype):
    arguments = calls(dtype, cell=cell)[name]
    for path, wrong in of_other_shapes(name, arguments):
        if name in FRAMES and path == ("x",) and len(wrong) == OFFSETS[-1]:
            continue  # of another D: each call says so
        with pytest.raises(ValueError) as caught:
            call(name, changed(arguments, path, wrong))
        sentence = str(caught.value)
        assert " must " in sentence and ". Got " in sentence, sentence
        frames = FRAMES[name.startswith("latent")]
        if (frames if len(path) == 2 else name, path[-1]) not in LEADING:
            assert sentence.split()[0] == path[-1], f"{path}: {sentence}"


STATIC = [name for name in calls("float64") if name not in ("Network", *FRAMES) and not name.startswith("latent")]


@pytest.mark.parametrize("name", STATIC)
def test_a_static_network_refuses_other_shapes_too(name):
    arguments = calls("float64", R=0)[name]
    if name == "states":
        return refused(name, arguments, "network must be recurrent")
    for path, wrong in of_other_shapes(name, arguments):
        if path == ("frames", "initial"):
            continue  # not read
        refused(name, changed(arguments, path, wrong), "must")


@pytest.mark.parametrize("name", [name for name in calls("float64") if name != "Network"])
def test_another_type_layout_or_protection_is_refused(name):
    outputs = {"log_density", "dims", "parameters", "last", "grad", "out", "e", "theta", "average", "m", "v", "C",
               "location", "scale"}  # fmt: skip
    arguments = calls("float64")[name]
    for key, value in arguments.items():
        if not isinstance(value, np.ndarray) or (name, key) in UNREAD:
            continue
        other = np.float32 if value.dtype == np.float64 else np.int32
        if name not in ("norm", "apply") and not (name == "score_frame" and key == "theta"):
            with pytest.raises((ValueError, TypeError)):
                call(name, changed(arguments, (key,), value.astype(other)))
        if (name, key) != ("add_product", "B"):  # any strides
            refused(name, changed(arguments, (key,), np.repeat(value, 2, axis=-1)[..., ::2]), "contiguous")
        if key in outputs and not (key == "theta" and name not in ("adam", "momentum")):
            protected = value.copy()
            protected.flags.writeable = False
            refused(name, changed(arguments, (key,), protected), "read-only")
    for key in ("x", "initial") if "frames" in arguments else ():
        wrong = arguments["frames"][key].astype(np.int64)
        refused(name, changed(arguments, ("frames", key), wrong), "mismatch")


OPTIONAL = {"dims", "parameters", "last", "inputs", "mask", "average", "strength", "offsets", "by_length", "fresh",
            "initial", "state", "normals", "latent", "context", "given"}  # fmt: skip
NEEDED = {("score_frame", "state"), ("score_frame", "dims"), ("latent_prior", "latent"), ("latent_prior", "context"),
          ("latent_sample", "context")}  # fmt: skip


@pytest.mark.parametrize("name", calls("float64"))
def test_none_is_refused_where_something_is_needed(name):
    arguments = calls("float64")[name]
    for key, value in arguments.items():
        if (name, key) == ("LatentFrames", "noise"):
            continue  # each call says what it needs
        if (name, key) == ("latent_prior", "state"):
            refused(name, changed(arguments, (key,), None), "state must have the shape")
        elif name == "latent_forward" and key in ("log_density", "divergence", "ratio"):
            refused(name, changed(arguments, (key,), None), "must be (an array|arrays), or")
        elif name == "causal" and key in ("location", "scale"):
            refused(name, changed(arguments, (key,), None), "location and scale must come together")
        elif key not in OPTIONAL or name == "causal" or (name, key) in NEEDED:
            with pytest.raises((TypeError, AttributeError)):
                call(name, changed(arguments, (key,), None))
        elif isinstance(value, np.ndarray) and name not in (*FRAMES, "sample"):
            call(name, changed(arguments, (key,), None))


def test_a_recurrent_network_asks_for_offsets_and_states():
    found = calls("float64")
    for name in ("forward", "gradient", "states", "from_normal"):
        bare = {"x": found[name]["frames"]["x"]}
        refused(name, found[name] | {"frames": bare}, "offsets must have the shape")
    refused("sample", found["sample"] | {"state": None}, "state must have the shape")
    refused("from_normal", calls("float64", R=0)["from_normal"] | {"frames": bare}, "offsets must have the shape")


@pytest.mark.parametrize(
    "wrong",
    [
        {"offsets": np.array([1, 3, 4, 8])},
        {"offsets": np.array([0, 3, 4, 7])},
        {"offsets": np.array([0, 3, 3, 8])},
        {"offsets": np.array([0, 9, 4, 8])},
        {"offsets": np.array([0, -3, 4, 8])},
        {"offsets": np.array([0, 2**62, 4, 8])},
        {"offsets": np.zeros(0, np.int64)},
        {"offsets": None},
        {"by_length": np.array([0, 1, 2])},
        {"by_length": np.array([2, 1, 0])},
        {"by_length": np.array([2, 2, 0])},
        {"by_length": np.array([2, 0, 3])},
        {"by_length": np.array([2, 0, -1])},
        {"by_length": None},
        {"fresh": None},
        {"initial": None},
    ],
    ids=str,
)
def test_sequences_that_do_not_lie_in_their_frames_are_refused(wrong):
    refused("Frames", calls("float64")["Frames"] | wrong, f"{next(iter(wrong))}.* must|must.*{next(iter(wrong))}")


def test_sequences_that_lie_by_length_need_not_say_so():
    model, x = model_of("float64"), np.random.default_rng(0).normal(size=(8, 2))
    found = []
    for by_length in (None, np.arange(2)):
        found.append(np.zeros(8))
        _core.forward(model.network, model.theta, _core.Frames(x, np.array([0, 5, 8]), by_length), found[-1])
    np.testing.assert_array_equal(*found)


def test_frames_keep_what_was_checked():
    found = calls("float64")["forward"]
    offsets, by_length, fresh = OFFSETS.copy(), np.array([2, 0, 1]), np.zeros(3, np.uint8)
    frames = _core.Frames(found["frames"]["x"], offsets, by_length, fresh, found["frames"]["initial"])
    call("forward", found | {"frames": frames})
    expected = found["log_density"].copy()
    offsets[:], by_length[:], fresh[:] = 2**40, -7, 1
    call("forward", found | {"frames": frames})
    np.testing.assert_array_equal(found["log_density"], expected)


def test_other_values_are_refused():
    found = calls("float64")
    for name, arguments in found.items():
        if "n_threads" in arguments:
            for n_threads in (0, -1):
                refused(name, arguments | {"n_threads": n_threads}, "n_threads must be at least 1")
    for row in (-1, 8, 2**62):
        refused("states", found["states"] | {"rows": np.array([1, row])}, "rows must be among the frames 0 ... 7")
    refused("adam", found["adam"] | {"step": 0}, "step must be at least 1")
    refused("apply", found["apply"] | {"function": "foo"}, "function must be one of exp, expm1, log")
    refused("student", found["student"] | {"function": "pdf"}, "function must be one of log_f, cdf")
    for sizes in ({"D": 0}, {"H": -1}):
        layout = model_of("float64").layout
        for name, value in sizes.items():
            object.__setattr__(layout, name, value)
        refused("Network", {"layout": layout}, "layout must have")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("R", [0, 3])
@pytest.mark.parametrize("H", [0, 5])
def test_no_frames_and_no_sequences(H, R, cell, dtype):
    model = model_of(dtype, R, cell, H=H)
    lay, network, theta = model.layout, model.network, model.theta

    def none(*shape, dtype=dtype):
        return np.zeros(shape, dtype)

    offsets, log_density, dims, last = np.zeros(1, np.int64), np.zeros(0), np.zeros((0, 2)), none(0, lay.Sp)
    frames = _core.Frames(none(0, 2), offsets, none(0, dtype=np.int64), none(0, dtype=np.uint8), last)
    _core.forward(network, theta, frames, log_density, dims, none(0, 2, lay.P), last)
    grad = np.ones_like(theta)
    _core.gradient(network, grad, log_density, theta, frames, none(0), 2, none(0, 2), none(0, lay.Rp))
    assert not grad.any()
    if R:
        _core.states(network, none(0, lay.Sp), none(0, dtype=np.int64), theta, frames, last)
    _core.from_normal(network, dims, theta, _core.Frames(dims, offsets))
    for shape in ((0, 3, 2), (3, 0, 2)):
        numbers, state = none(*shape), np.ones((shape[0], lay.Sp), dtype)
        _core.sample(network, none(*shape), theta, numbers, numbers, state, 2)
        assert (state == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("R", [0, 3])
def test_no_hidden_units_and_no_states(R, dtype):
    model, x = model_of(dtype, R, H=0), np.zeros((3, 2), dtype)
    scores, state = model.log_density(x, np.array([0, 3]), dims=True), np.zeros(model.layout.Sp, dtype)
    assert (
        np.isfinite(scores.dims).all() and np.isfinite(model.gradient(x, np.array([0, 3]), np.ones(3, dtype))[0]).all()
    )
    frame, dims = model.score_frame(x[0], state)
    assert np.isfinite(frame) and np.isfinite(dims).all() and np.isfinite(state).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_numbers(dtype):
    empty = np.zeros(0, dtype)
    _core.adam(empty, empty, empty, empty, empty, empty, 0.9, 0.99, 1e-8, 1, 0.1, 0.1)
    _core.momentum(empty, None, empty, empty, None, 0.9, 0.1, 0.1)
    _core.apply("exp", empty, empty)
    assert _core.norm(empty) == 0
    for n, m, k in ((0, 2, 3), (2, 0, 3), (2, 3, 0)):
        C = np.ones((n, m))
        _core.add_product(C, np.ones((n, k)), np.ones((m, k)))
        assert (C == 1).all()


def test_a_latent_call_asks_for_noise_or_latents_and_the_gradient_for_noise():
    found = calls("float64")
    without = changed(changed(found["latent_forward"], ("frames", "noise"), None), ("frames", "given"), None)
    refused("latent_forward", without, "noise must have the shape")
    drawn = changed(found["latent_forward"], ("frames", "given"), None)
    for names in (("divergence",), ("ratio",), ("divergence", "ratio")):  # the last with normals
        refused("latent_forward", found["latent_forward"] | dict.fromkeys(names), "divergence and ratio must be arrays")
    refused("latent_forward", drawn | dict.fromkeys(("divergence", "ratio", "normals")), "divergence and ratio must be")
    for name in ("dims", "context", "parameters"):
        some = dict.fromkeys({"log_density", "dims", "context", "parameters"} - {name})
        refused("latent_forward", found["latent_forward"] | some, "log_density must be an array")
    refused(
        "latent_forward", drawn | dict.fromkeys(("log_density", "dims", "context", "parameters")), "log_density must"
    )
    call("latent_forward", found["latent_forward"] | dict.fromkeys(
        ("log_density", "divergence", "ratio", "dims", "normals", "context", "parameters")
    ))  # fmt: skip
    given = changed(found["latent_gradient"], ("frames", "given"), np.zeros((8, 3)))
    refused("latent_gradient", given, "given must be None")
    call("latent_forward", changed(found["latent_forward"], ("frames", "noise"), None))


def test_latent_and_other_networks_do_not_serve_for_each_other():
    found = calls("float64")
    for name in ("forward", "gradient", "states", "sample", "from_normal", "score_frame"):
        refused(name, found[name] | {"network": found["latent_forward"]["network"]}, "must have no latent vector")
    for name in ("latent_forward", "latent_gradient", "latent_prior", "latent_sample"):
        refused(name, found[name] | {"network": found["forward"]["network"]}, "must have a latent vector")
