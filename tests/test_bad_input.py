"""Bad input: one table over the public calls. Each row raises the right exception, which names the place.

A row is (id, call, exception, pattern). `call` gets the fixture `m`: fitted models by the names of their
classes, and the data that they were fitted on. After each row the fitted models must score as before.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

import rnnrnade
from rnnrnade.io import ModelFileError

D = 3
TINY = {"n_hidden": 2, "max_epochs": 1, "random_state": 0}
OPTIONS = {
    "RNADE": TINY | {"n_components": 2},
    "NADE": TINY,
    "RNNRNADE": TINY | {"n_components": 2, "n_recurrent": 2},
    "RNNNADE": TINY | {"n_recurrent": 2},
    "RNNGMM": {"n_components": 2, "n_recurrent": 2, "max_epochs": 1, "random_state": 0},
    "RNNGauss": {"n_recurrent": 2, "max_epochs": 1, "random_state": 0},
    "MADE": TINY,
    "RNNMADE": TINY | {"n_recurrent": 2, "n_components": 2, "conditional": "gaussian"},
}


def new(name, **options):
    return getattr(rnnrnade, name)(**OPTIONS[name] | options)


@pytest.fixture(scope="module")
def m(tmp_path_factory):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, D))
    sequences = [rng.normal(size=(n, D)) for n in (4, 5, 6, 3, 4, 5, 6, 3, 4, 5, 6, 3)]
    data = {
        "RNADE": vectors,
        "NADE": (vectors > 0).astype(float),
        "RNNRNADE": sequences,
        "RNNNADE": [(x > 0).astype(float) for x in sequences],
        "RNNGMM": sequences,
        "RNNGauss": sequences,
        "MADE": (vectors > 0).astype(float),
        "RNNMADE": sequences,
    }
    models = {name: new(name).fit(X) for name, X in data.items()}
    scores = {name: model.score_samples(data[name]) for name, model in models.items()}
    return SimpleNamespace(data=data, scores=scores, folder=tmp_path_factory.mktemp("files"), **models)


# ------------------------------------------------------------------------------------------ how rows are made


def option(name, option, value, pattern=None):
    """A constructor argument, checked in `fit`."""
    return (
        f"{name}({option}={value!r:.30}).fit",
        lambda m: new(name, **{option: value}).fit(m.data[name]),
        ValueError,
        pattern or option,
    )


def on_data(name, method, what, change, pattern, exception=ValueError, **kwargs):
    """A method of a fitted model on changed data; "fit" starts a new one."""

    def call(m):
        model = new(name) if method == "fit" else getattr(m, name)
        if method == "partial_fit":
            model = new(name).fit(m.data[name])  # a fitted one that no other row needs
        X = change([x.copy() for x in m.data[name]] if name.startswith("RNN") else m.data[name].copy())
        return getattr(model, method)(X, **kwargs)

    return f"{name}.{method}: {what}", call, exception, pattern


def entry(value, *place):
    """Data with one entry changed: place is (row, dimension), or (sequence, frame, dimension)."""

    def change(X):
        x = X if len(place) == 2 else X[place[0]]
        x[place[-2:]] = value
        return X

    return change


def narrower(X):
    return [x[:, : D - 1] for x in X] if isinstance(X, list) else X[:, : D - 1]


def keyword(name, what, pattern, exception=ValueError, method="fit", X=None, **kwargs):
    """`fit` (or a method) with a bad keyword argument."""

    def call(m):
        model = new(name) if method == "fit" else getattr(m, name)
        return getattr(model, method)(m.data[name] if X is None else X, **kwargs)

    return f"{name}.{method}: {what}", call, exception, pattern


def sampling(name, what, pattern, exception=ValueError, **kwargs):
    return f"{name}.sample: {what}", lambda m: getattr(m, name).sample(**kwargs), exception, pattern


def far(what, method, X, pattern, dtype="float32", sigma=0.0):
    """A method of a model of two dimensions whose components have the scale exp(sigma)."""

    def call(m):
        parameters = {"W": np.zeros((0, 2)), "c": np.zeros(0), "rho": np.ones(2)}
        parameters |= {f"V_{q}": np.zeros((2, 0, 1)) for q in ("alpha", "mu", "sigma")}
        parameters |= {"b_alpha": np.zeros((2, 1)), "b_mu": np.zeros((2, 1)), "b_sigma": np.full((2, 1), sigma)}
        return getattr(rnnrnade.RNADE.from_parameters(parameters, dtype=dtype, random_state=0), method)(X)

    return f"RNADE.{method}: {what}", call, ValueError, pattern


def forecast(what, pattern, exception=ValueError, X=None, **kwargs):
    arguments = {"horizon": 2, "n_samples": 1} | kwargs
    X = [np.zeros((2, D))] if X is None else X
    return f"RNNRNADE.forecast: {what}", lambda m: m.RNNRNADE.forecast(X, **arguments), exception, pattern


def rebuilt(name, what, change, pattern, **options):
    """`from_parameters` of changed parameters."""

    def call(m):
        parameters = {key: np.array(value) for key, value in getattr(m, name).parameters_.items()}
        change(parameters)
        return getattr(rnnrnade, name).from_parameters(parameters, **options)

    return f"{name}.from_parameters: {what}", call, ValueError, pattern


def unfitted(name, method, *args):
    def call(m):
        return getattr(new(name), method)(*args) if args else getattr(new(name), method)(m.data[name])

    return f"{name}.{method}: not fitted", call, NotFittedError, f"{name} .*not fitted"


def files(what, call, exception, pattern):
    return f"file: {what}", call, exception, pattern


def written(m, name, data):
    path = m.folder / name
    path.write_bytes(data)
    return path


def damaged(m):
    path = m.folder / "damaged"
    m.RNADE.save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def saved(m, name):
    getattr(m, name).save(m.folder / name)
    return m.folder / name


def copied(**change):
    """Set (array or number) or leave out (None) entries of a mapping."""

    def apply(parameters):
        for key, value in change.items():
            if value is None:
                del parameters[key]
            else:
                parameters[key] = value

    return apply


def put(key, place, value):
    def apply(parameters):
        parameters[key][place] = value

    return apply


NAN, INF = np.nan, np.inf
PLACE = "sequence 1, frame 2, dimension 0"
FRAMES = np.random.default_rng(1).normal(size=(12, D))

TABLE = [
    # constructor arguments of all
    option("RNADE", "n_components", 0),
    option("RNADE", "n_components", -1),
    option("RNADE", "n_components", "3"),
    option("RNADE", "n_components", 2.5),
    option("RNADE", "n_hidden", -1),
    option("NADE", "n_hidden", 1.5),
    option("RNADE", "activation", "foo"),
    option("RNADE", "activation", None),
    option("RNADE", "conditional", "foo"),
    option("RNADE", "min_scale", -1),
    option("RNADE", "min_scale", NAN),
    option("RNADE", "min_scale", "small"),
    option("RNADE", "transform", "foo"),
    option("RNADE", "transform", 3),
    option("RNADE", "order", [0, 0, 1]),
    option("RNADE", "order", [0, 1]),
    option("RNADE", "order", [1, 2, 3]),
    option("RNADE", "order", "abc"),
    option("RNADE", "dtype", "float16"),
    option("RNADE", "dtype", "foo"),
    option("RNADE", "max_epochs", -1),
    option("RNADE", "max_epochs", 1.5),
    option("RNADE", "batch_size", 0),
    option("NADE", "batch_size", 2.5),
    option("RNADE", "optimizer", "foo"),
    option("RNADE", "learning_rate", -1),
    option("RNADE", "learning_rate", NAN),
    option("NADE", "learning_rate", "fast"),
    option("RNADE", "weight_decay", -1),
    option("RNADE", "clip_norm", -1),
    option("RNADE", "validation_fraction", 1.5),
    option("RNNRNADE", "validation_fraction", -0.1),
    option("RNADE", "patience", 0),
    option("RNADE", "patience", "long"),
    option("RNADE", "warm_start", "maybe"),
    option("RNADE", "n_jobs", 0),
    option("RNNRNADE", "n_jobs", 1.5),
    option("RNADE", "random_state", "foo"),
    option("RNADE", "random_state", -1),
    # huge, and nested
    option("RNADE", "n_hidden", 10**30),
    option("RNADE", "n_components", -(10**30)),
    option("NADE", "batch_size", 10**400),
    option("RNADE", "n_jobs", 10**9),
    option("RNADE", "learning_rate", 10**400),
    option("RNADE", "min_scale", 1e300, "min_scale.* at most .* with dtype='float32'"),
    option("RNADE", "min_scale", INF),
    option("RNADE", "order", [[0, 1], [2]]),
    option("RNADE", "order", [0, 1, object()]),
    option("RNADE", "n_hidden", [[2]]),
    option("RNNRNADE", "n_recurrent", {"n": [2]}),
    option("RNNRNADE", "context", (["alpha"],)),
    option("RNNRNADE", "window", 10**30),
    # of sequence estimators
    option("RNNRNADE", "n_recurrent", -1),
    *(option("MADE", "n_hidden", value) for value in (0, (), (5, 0), (5, 2.5), ("5",), "55", [[2]], 10**30)),
    option("MADE", "n_hidden", (5, 10**30)),
    option("MADE", "conditional", "foo"),
    option("MADE", "transform", "whiten", "'transform' .* must be None or 'auto' with conditional='bernoulli'"),
    option("MADE", "mean_gradient", True),
    option("RNNMADE", "context", ("bias",)),
    option("RNNMADE", "context", "all"),
    option("RNNNADE", "n_recurrent", 2.5),
    option("RNNRNADE", "cell", "foo"),
    option("RNNNADE", "cell", 1),
    option("RNNRNADE", "context", ("foo",)),
    option("RNNRNADE", "context", "alpha"),
    option("RNNNADE", "context", ("alpha",)),
    option("RNNGMM", "context", ("hidden",)),
    option("RNNRNADE", "window", 0),
    option("RNNRNADE", "window", -5),
    option("RNNRNADE", "window", "all"),
    # NaN and infinity, with their place, in every call that takes X
    *(
        on_data("RNNRNADE", method, "NaN", entry(NAN, 1, 2, 0), f"NaN: {PLACE}")
        for method in (
            "fit",
            "partial_fit",
            "score_samples",
            "score",
            "score_frames",
            "score_dims",
            "predict_params",
            "log_likelihood_and_gradient",
        )
    ),
    *(
        on_data("RNADE", method, "infinity", entry(-INF, 7, 2), "infinity: row 7, dimension 2")
        for method in (
            "fit",
            "partial_fit",
            "score_samples",
            "score",
            "score_dims",
            "predict_params",
            "log_likelihood_and_gradient",
        )
    ),
    on_data(
        "RNNRNADE",
        "fit",
        "NaN in a 2-D array",
        lambda X: entry(NAN, 5, 1)(np.concatenate(X)),
        "frame 5, dim.* 1",
    ),
    on_data(
        "RNNRNADE",
        "score",
        "NaN in a 3-D array",
        lambda X: entry(NAN, 2, 1)(np.stack(X[::4])),
        "sequence 2, fra",
    ),
    # another D, in every call that takes X
    *(
        on_data(
            name,
            method,
            "another D",
            narrower,
            f"X has 2 features, but {name} is expecting 3 features as input",
        )
        for name in ("RNADE", "RNNRNADE")
        for method in (
            "partial_fit",
            "score_samples",
            "score",
            "score_frames",
            "score_dims",
            "predict_params",
        )
        if (name, method) != ("RNADE", "score_frames")
    ),
    on_data("NADE", "score_samples", "another D", narrower, "X has 2 features, but NADE is expecting 3"),
    on_data("RNNNADE", "log_likelihood_and_gradient", "another D", narrower, "expecting 3 features"),
    on_data("RNNRNADE", "fit", "two D", lambda X: [*X[:2], X[2][:, :1]], "sequence 2: X has 1 features"),
    # binary
    on_data("NADE", "fit", "2", entry(2, 4, 1), r"2\.0: row 4, dimension 1.* 0 or 1"),
    on_data("NADE", "score_samples", "0.5", entry(0.5, 4, 1), r"0\.5: row 4, dimension 1.* 0 or 1"),
    on_data("RNNNADE", "fit", "-1", entry(-1, 1, 2, 0), rf"-1\.0: {PLACE}.* 0 or 1"),
    on_data("RNNNADE", "score_frames", "0.5", entry(0.5, 1, 2, 0), rf"0\.5: {PLACE}.* 0 or 1"),
    # what is no data
    on_data("RNNRNADE", "fit", "empty list", lambda X: [], "empty list"),
    on_data("RNNRNADE", "fit", "a sequence of no frames", lambda X: [X[0], X[1][:0]], "sequence 1 has no frames"),
    on_data("RNNRNADE", "score", "no frames", lambda X: X[0][:0], r"0 sample\(s\)"),
    on_data(
        "RNNRNADE",
        "fit",
        "list of 1-D arrays",
        lambda X: [x[:, 0] for x in X],
        r"sequence 0 .*reshape\(-1, 1\)",
    ),
    on_data("RNNRNADE", "score_samples", "1-D", lambda X: X[0][:, 0], "Reshape your data"),
    on_data("RNNRNADE", "fit", "4-D", lambda X: np.zeros((2, 2, 2, D)), "4 axes"),
    on_data("RNNRNADE", "fit", "complex", lambda X: [X[0], X[1] * 1j], "sequence 1: Complex data not supported"),
    on_data("RNNRNADE", "fit", "text", lambda X: [X[0], X[1].astype(str)], "sequence 1: .*strings"),
    on_data("RNNRNADE", "fit", "None", lambda X: None, "X is None", TypeError),
    on_data("RNNRNADE", "score", "a dict", lambda X: {"a": X[0]}, "X is a dict", TypeError),
    on_data("RNNRNADE", "fit", "a generator", lambda X: iter(X), "X is a list_iterator", TypeError),
    on_data("RNADE", "fit", "1-D", lambda X: X[:, 0], "Reshape your data"),
    on_data("RNADE", "fit", "list of arrays", lambda X: [X, X], "X is a list of 2-D arrays"),
    on_data("RNADE", "fit", "no features", lambda X: X[:, :0], r"0 feature\(s\)"),
    # lengths
    keyword("RNNRNADE", "lengths of another sum", "lengths sum to 11, but X has 12", X=FRAMES, lengths=[5, 6]),
    keyword("RNNRNADE", "lengths with 0", r"lengths\[1\] is 0", X=FRAMES, lengths=[6, 0, 6]),
    keyword("RNNRNADE", "lengths of floats", "lengths", TypeError, X=FRAMES, lengths=[6.5, 5.5]),
    keyword("RNNRNADE", "lengths with a list", "leave lengths out", lengths=[6, 6]),
    *(
        keyword("RNNRNADE", "lengths below 0", r"lengths\[0\] is -1", method=method, X=FRAMES, lengths=[-1, 13])
        for method in ("score_samples", "score", "score_frames", "score_dims", "predict_params")
    ),
    # weights
    keyword("RNADE", "a function for weights", "sample_weight holds a builtin_function", TypeError, sample_weight=len),
    keyword("RNADE", "negative weight", r"sample_weight\[3\] is -1", sample_weight=[1, 1, 1, -1] + [1] * 26),
    keyword("RNNRNADE", "NaN weight", r"sample_weight\[2\] is nan", sample_weight=[1, 1, NAN] + [1] * 9),
    keyword("RNADE", "too few weights", r"sample_weight has shape \(5,\), expected \(30,\)", sample_weight=[1] * 5),
    keyword(
        "RNNRNADE",
        "a weight a frame",
        r"expected \(12,\): one weight for each seq",
        sample_weight=np.ones(54),
    ),
    keyword("RNNNADE", "all weights zero", "sample_weight is zero everywhere", sample_weight=np.zeros(12)),
    keyword("RNADE", "2-D weights", r"sample_weight has shape \(30, 1\)", sample_weight=np.ones((30, 1))),
    # validation data
    keyword("RNADE", "validation_data of another D", "validation_data: X has 2 fe", validation_data=FRAMES[:, :2]),
    keyword(
        "RNNRNADE",
        "NaN in validation_data",
        "validation_data: .*NaN: sequence 0",
        validation_data=FRAMES * NAN,
    ),
    keyword("RNNNADE", "validation_data not binary", "validation_data: .*0 or 1", validation_data=(FRAMES, None)),
    keyword(
        "NADE",
        "validation_data with y",
        r"validation_data is \(X, y\)",
        validation_data=(FRAMES, np.ones(12)),
    ),
    keyword("RNNRNADE", "validation_data is text", "validation_data: X is 'abc'", TypeError, validation_data="abc"),
    keyword("RNNRNADE", "no validation_data", "validation_data: .*empty list", validation_data=[]),
    # sample
    sampling("RNADE", "n_samples=0", "n_samples", n_samples=0),
    sampling("NADE", "n_samples=2.5", "n_samples", (ValueError, TypeError), n_samples=2.5),
    sampling("RNADE", "n_samples='many'", "n_samples", (ValueError, TypeError), n_samples="many"),
    sampling("RNADE", "random_state='foo'", "random_state|seed", n_samples=1, random_state="foo"),
    sampling("RNNRNADE", "n_samples=-1", "n_samples", n_samples=-1, n_frames=3),
    sampling("RNNRNADE", "n_frames=0", "n_frames", n_samples=1, n_frames=0),
    sampling("RNNNADE", "n_frames=1.5", "n_frames", (ValueError, TypeError), n_samples=1, n_frames=1.5),
    # results that no number of the type is
    far(
        "gradient of a square that overflows",
        "log_likelihood_and_gradient",
        [[1e25, 0.0]],
        "gradient is not finite: row 0",
    ),
    far(
        "scores beyond float32",
        "from_normal",
        [[0.0, 0.0], [0.0, 9.0]],
        "scores is not finite: row 1, dimension 1",
        sigma=87.5,
    ),
    far(
        "a variance beyond float64",
        "var",
        [[0.0, 0.0]],
        "var is not finite: row 0, dimension 0",
        "float64",
        sigma=400.0,
    ),
    far("draws beyond float32", "sample", 50, "a draw is not finite: sample", sigma=88.0),
    # more than the machine's memory is refused before the first draw
    sampling("RNADE", "10**12 samples", "draws of shape .* would take .* GiB", MemoryError, n_samples=10**12),
    sampling("RNNRNADE", "10**12 frames", "draws of shape .* GiB", MemoryError, n_samples=1, n_frames=10**12),
    sampling("RNNNADE", "10**30 frames", "n_frames must be an int in the range", n_samples=1, n_frames=10**30),
    forecast("a horizon of 10**12", "draws of shape .* GiB", MemoryError, horizon=10**12),
    keyword("RNADE", "10**12 imputations", "draws of shape", MemoryError, "impute", n_samples=10**12),
    sampling("RNNRNADE", "given of another D", "given: X has 2", n_samples=1, n_frames=2, given=FRAMES[:, :2]),
    sampling("RNNRNADE", "NaN in given", "given: .*NaN: .*frame 0", n_samples=1, n_frames=2, given=FRAMES * NAN),
    sampling("RNNRNADE", "1-D given", "given: .*Reshape your data", n_samples=1, n_frames=2, given=FRAMES[0]),
    sampling("RNNRNADE", "several given", "given.*one sequence", n_samples=1, n_frames=2, given=[FRAMES, FRAMES]),
    sampling("RNNNADE", "given not binary", "given: .*0 or 1", n_samples=1, n_frames=2, given=FRAMES),
    # forecast
    forecast("horizon=0", "horizon", horizon=0),
    forecast("horizon=1.5", "horizon", (ValueError, TypeError), horizon=1.5),
    forecast("n_samples=0", "n_samples", n_samples=0),
    forecast("NaN", PLACE, X=[FRAMES, entry(NAN, 2, 0)(FRAMES.copy())]),
    forecast("another D", "X has 2 features", X=[FRAMES[:, :2]]),
    forecast("empty list", "empty list", X=[]),
    # from_parameters
    rebuilt("RNADE", "V_mu is missing", copied(V_mu=None), "V_mu"),
    rebuilt("RNADE", "c is missing", copied(c=None), r"\bc\b"),
    rebuilt("RNNRNADE", "r0 is missing", copied(r0=None), "r0"),
    rebuilt("RNNNADE", "one parameter of a second layer", copied(b_r_2=np.zeros(2)), "'W_in_2'"),
    rebuilt("NADE", "b is missing", copied(b=None), r"\bb\b"),
    rebuilt("RNADE", "an unknown name", copied(U=np.zeros(3)), r"\bU\b"),
    rebuilt("RNADE", "W of another H", copied(W=np.zeros((5, D))), r"\bW\b|\bc\b"),
    rebuilt("RNADE", "W is 1-D", copied(W=np.zeros(6)), r"\bW\b"),
    rebuilt("RNNRNADE", "W_rec is not square", copied(W_rec=np.zeros((2, 3))), "W_rec"),
    rebuilt("RNNRNADE", "W_alpha of another K", copied(W_alpha=np.zeros((D, 7, 2))), "W_alpha"),
    rebuilt("RNNGMM", "b_alpha of dimensions", copied(b_alpha=np.zeros((D, 2))), "b_alpha"),
    rebuilt("RNNGMM", "b_mu is missing", copied(b_mu=None), "b_mu"),
    rebuilt("RNNGauss", "two components", copied(b_mu=np.zeros((D, 2))), "n_components=1 contradicts"),
    rebuilt("RNNNADE", "W_b of another R", copied(W_b=np.zeros((D, 7))), "W_b"),
    rebuilt("RNADE", "NaN in V_sigma", put("V_sigma", (1, 0, 0), NAN), "V_sigma"),
    rebuilt("RNNRNADE", "infinity in W_in", put("W_in", (1, 0), INF), "W_in"),
    rebuilt("RNADE", "complex rho", copied(rho=np.ones(D) * 1j), "rho"),
    rebuilt("RNADE", "rho is text", copied(rho=np.array(["a"] * D)), "rho"),
    rebuilt("RNADE", "n_components contradicts", copied(), "n_components", n_components=7),
    rebuilt("RNNRNADE", "context contradicts", copied(), "context", context=("mu",)),
    rebuilt("RNADE", "activation='foo'", copied(), "activation", activation="foo"),
    # not fitted
    *(unfitted("RNNRNADE", x) for x in ("score_samples", "score", "score_frames", "score_dims", "predict_params")),
    unfitted("RNADE", "score_samples"),
    unfitted("NADE", "sample", 1),
    unfitted("RNNNADE", "sample", 1, 2),
    unfitted("RNNRNADE", "forecast", [FRAMES], 1, 1),
    unfitted("RNADE", "log_likelihood_and_gradient"),
    unfitted("RNADE", "save", "never-written"),
    # files
    files("missing", lambda m: rnnrnade.RNADE.load(m.folder / "missing"), FileNotFoundError, "missing"),
    files("a folder", lambda m: rnnrnade.RNADE.load(m.folder), ModelFileError, "not a regular file"),
    files(
        "empty",
        lambda m: rnnrnade.RNADE.load(written(m, "empty", b"")),
        ModelFileError,
        "empty.*not a model file",
    ),
    files(
        "text",
        lambda m: rnnrnade.NADE.load(written(m, "a.csv", b"a,b\n1,2\n")),
        ModelFileError,
        "a.csv.*not a model file",
    ),
    files("one bit changed", lambda m: rnnrnade.RNADE.load(damaged(m)), ModelFileError, "damaged.*SHA-256"),
    files("another class", lambda m: rnnrnade.RNADE.load(saved(m, "NADE")), ModelFileError, "holds a NADE"),
    files("no folder", lambda m: m.RNADE.save(m.folder / "no" / "model"), FileNotFoundError, "no folder"),
    files("onto a folder", lambda m: m.RNADE.save(m.folder), IsADirectoryError, "not a regular file"),
]

# Every option of every class: (values that are wrong for it).  "order" and the like are above, with their data.
WRONG = {
    "n_components": [0, "3", None, 1.5],
    "n_hidden": [-1, "3", None, 1.5],
    "activation": ["foo", None, 1],
    "conditional": ["foo", None, "bernoulli"],
    "components": ["row", None, 2],
    "min_scale": [-1.0, NAN, "small", None],
    "transform": ["foo", 3, {"lags": 1}],
    "mean_gradient": ["yes", None, 2],
    "anneal": ["yes", None, 2],
    "refit": ["yes", None, 2, True],
    "columns": [5, "given", ["given"], {0: "rounded"}, {9: "given"}, {"a": "given"}, {0.5: "given"}],
    "order": [[0, 0, 1], [0, 1], "sorted", 5],
    "n_orders": [0, -1, 1.5, None],
    "dtype": ["float16", None, np.float32],
    "max_epochs": [0, -1, 1.5, None],
    "max_updates": [0, -1, 1.5, "all"],
    "batch_size": [0, -1, 1.5, None],
    "optimizer": ["foo", None],
    "learning_rate": [0, -1.0, NAN, "fast", None],
    "schedule": ["foo", 1],
    "warmup": [-1, 1.5, None],
    "weight_decay": [-1.0, NAN, "much", None, {"foo": 0.1}, {"W": -1.0}, {"W": "much"}],
    "clip_norm": [0, -1.0, NAN, "small"],
    "averaging": [1.0, -0.1, NAN, "some"],
    "validation_fraction": [1.0, -0.1, NAN, "some"],
    "validate_every": [0, -1, 1.5],
    "patience": [0, -1, 1.5, None],
    "n_restarts": [0, -1, 1.5, None],
    "warm_start": ["maybe", None],
    "n_jobs": [0, 1.5, "all"],
    "random_state": ["foo", -1, 1.5],
    "verbose": ["loud", -1],
    "n_recurrent": [0, -1, 1.5, None],
    "n_layers": [0, -1, 1.5, None, 101, 10**30],
    "cell": ["foo", None, 1],
    "context": [("foo",), "alpha", None],
    "window": [0, -1, 1.5, "all"],
    "input_noise": [-1.0, NAN, "some", None],
    "input_dropout": [1.0, -0.1, NAN, None],
    "context_dropout": [1.0, -0.1, NAN, None],
    "learn_rho": ["maybe", None, 2],
    "direct": ["yes", None, 2],
    "degrees": ["random", None, 1],
    "n_masks": [0, -1, 1.5, None, 1001, 10**30],
    "unit_dropout": [1.0, -0.1, NAN, None],
    "missing": ["drop", True, 1],
}
# What is wrong for all other classes.
RIGHT = [("MADE", "conditional", "bernoulli"), ("RNNMADE", "conditional", "bernoulli"), ("RNNMADE", "context", None)]
TABLE += [
    (f"every option: {row[0]}", *row[1:])
    for name in OPTIONS
    for row in (
        option(name, parameter, value)
        for parameter in getattr(rnnrnade, name)._parameter_constraints
        for value in WRONG[parameter]
        if (name, parameter, value) not in RIGHT
    )
]

# Every call that takes X, of every class: (call, arguments after X, the name that messages begin with)
TAKES_X = dict.fromkeys(
    (
        "fit", "partial_fit", "score_samples", "score", "score_frames", "score_dims", "predict_params",
        "log_likelihood_and_gradient", "cdf", "crps", "mean", "var", "explain",
    ),
    ((), ""),
) | {"ppf": ((0.5,), "")}  # fmt: skip
REAL_ONLY = {
    "to_normal": ((), ""),
    "from_normal": ((), "Z: "),
    "calibration": ((), ""),
    "alarm_threshold": ((0.5,), ""),
}
FORECASTS = {"forecast": ((2, 1), "")}
DATA = {  # what is done to X: (of vectors, of sequences, what is said)
    "NaN": (entry(NAN, 7, 2), entry(NAN, 1, 2, 0), "NaN: {place}"),
    "infinity": (entry(INF, 7, 2), entry(-INF, 1, 2, 0), "infinity: {place}"),
    "another D": (narrower, narrower, "X has 2 features"),
    "None": (lambda X: None, lambda X: None, "X is None"),
    "text": (lambda X: X.astype(str), lambda X: [X[0].astype(str)], "strings"),
    "complex": (lambda X: X * 1j, lambda X: [X[0] * 1j], "Complex data not supported"),
    "1-D": (lambda X: X[:, 0], lambda X: [x[:, 0] for x in X], "Reshape your data"),
    "empty": (lambda X: X[:0], lambda X: [], "0 sample|empty list"),
}


def on_every_call(name):
    recurrent, binary = name.startswith("RNN"), ("NADE" in name and "RNADE" not in name) or name == "MADE"
    calls = TAKES_X | ({} if binary else REAL_ONLY) | (FORECASTS if recurrent else {})
    place = PLACE if recurrent else "row 7, dimension 2"
    for method, (arguments, prefix) in calls.items():
        for what, (of_vectors, of_sequences, pattern) in DATA.items():
            if what == "another D" and method == "fit":
                continue  # a new fit may have another D
            change = of_sequences if recurrent else of_vectors

            def call(m, change=change, method=method, arguments=arguments):
                model = getattr(m, name)
                if method in ("fit", "partial_fit"):  # one that no other row needs
                    model = new(name).fit(m.data[name]) if method == "partial_fit" else new(name)
                X = change([x.copy() for x in m.data[name]] if recurrent else m.data[name].copy())
                return getattr(model, method)(X, *arguments)

            exception = TypeError if what == "None" else ValueError
            yield f"every call: {name}.{method}: {what}", call, exception, prefix + f".*({pattern.format(place=place)})"


TABLE += [row for name in OPTIONS for row in on_every_call(name)]


def calling(what, call, pattern, exception=ValueError):
    """Any other public call."""
    return what, call, exception, pattern


def detector(m, **options):
    return rnnrnade.OutlierDetector(new("RNADE"), **options).fit(m.data["RNADE"])


def with_arguments(name, method, pattern, *arguments, exception=ValueError, **kwargs):
    """A method of a fitted model on its data with further arguments."""
    shown = ", ".join([*map(repr, arguments), *(f"{key}={value!r}" for key, value in kwargs.items())])

    def call(m):
        return getattr(getattr(m, name), method)(m.data[name], *arguments, **kwargs)

    return f"{name}.{method}({shown:.60})", call, exception, pattern


def drawing(what, draw, pattern, exception=ValueError):
    """A picture that cannot be drawn."""

    def call(m):
        pytest.importorskip("matplotlib")
        return draw(m, rnnrnade.plotting)

    return f"plotting.{what}", call, exception, pattern


def checkpointed(m, **kwargs):
    return new("RNADE").fit(m.data["RNADE"], **kwargs)


TABLE += [
    # quantiles, thresholds, reports
    *(
        with_arguments(name, "ppf", "q must be", q)
        for name in ("RNADE", "RNNRNADE", "RNNNADE")
        for q in (-0.1, 1.1, NAN, [0.5, 2], [[0.5]], "half", None, ["a"], 1j)
    ),
    *(
        with_arguments(name, "explain", key, **{key: value})
        for name in OPTIONS
        for key in ("top", "n_dims")
        for value in (0, -1, 1.5, "all", None, True)
    ),
    *(
        with_arguments(name, "alarm_threshold", "rate", rate)
        for name in ("RNADE", "RNNNADE")
        for rate in (0, 1, -1, NAN, "rare", None, 1e-9)
    ),
    *(with_arguments("RNNRNADE", "alarm_threshold", "confidence", 0.2, confidence=c) for c in (0, 1, NAN, "high")),
    *(with_arguments("RNADE", "calibration", "n_bins", n_bins=n) for n in (0, -1, 2.5, "ten", None, True)),
    *(
        with_arguments(name, method, f"{method} needs continuous data")
        for name in ("NADE", "RNNNADE")
        for method in ("to_normal", "from_normal", "calibration")
    ),
    *(
        with_arguments("RNADE", method, "leave lengths out", exception=TypeError, lengths=[30])
        for method in ("cdf", "crps", "mean", "var", "to_normal", "from_normal", "calibration", "explain")
    ),
    *(
        with_arguments("RNNRNADE", method, "leave lengths out", lengths=[30])
        for method in ("cdf", "crps", "mean", "var", "to_normal", "from_normal", "calibration", "explain")
    ),
    # draws
    *(
        sampling(name, f"leading={leading!r}", "leading", leading=leading, n_samples=2)
        for name in ("RNADE", "RNNRNADE")
        for leading in (NAN, 1.0, [], [NAN], [1, INF], [1] * 4, [[1.0]] * 3, [[[1.0]]], ["a"], 1j, [1e300])
    ),
    sampling("NADE", "leading=[0.5]", "leading", leading=[0.5]),
    sampling("RNNNADE", "leading=[2]", "leading", leading=[2]),
    *(
        sampling(name, f"n_samples={n!r}", "n_samples", n_samples=n)
        for name in OPTIONS
        for n in (-2, 1.5, "two", None, True, [3])
    ),
    *(
        sampling(name, f"random_state={seed!r}", "random_state", random_state=seed)
        for name in OPTIONS
        for seed in ("bar", -1, 1.5)
    ),
    *(forecast(f"{key}={n!r}", key, **{key: n}) for key in ("horizon", "n_samples") for n in (-1, "two", None, True)),
    # forecasts
    *(
        calling(f"quantiles of {what}", lambda m, x=x: rnnrnade.forecasting.quantiles(x), "samples")
        for what, x in {"2-D": FRAMES, "nothing": FRAMES[:0], "NaN": FRAMES[None] * NAN, "text": "abc"}.items()
    ),
    *(
        calling(f"quantiles at {q!r}", lambda m, q=q: rnnrnade.forecasting.quantiles(FRAMES[None], q), "q must be")
        for q in (-0.1, 1.1, NAN, "half", [[0.5]], None)
    ),
    *(
        calling(f"energy_score with {what}", lambda m, a=a: rnnrnade.forecasting.energy_score(*a), pattern)
        for what, (a, pattern) in {
            "one draw": ((FRAMES[None], FRAMES), "two draws"),
            "another truth": ((np.stack([FRAMES] * 2), FRAMES[:3]), "truth has shape"),
            "2-D draws": ((FRAMES, FRAMES), "samples must be draws"),
            "NaN in the truth": ((np.stack([FRAMES] * 2), FRAMES * NAN), "truth .*NaN"),
            "NaN in a draw": ((np.stack([FRAMES * NAN] * 2), FRAMES), "samples .*NaN"),
            "lists of two lengths": (([np.stack([FRAMES] * 2)], []), "samples|truth"),
        }.items()
    ),
    # the detector of outliers
    *(
        calling(f"OutlierDetector(contamination={c!r})", lambda m, c=c: detector(m, contamination=c), "contamination")
        for c in (0, 0.6, -1, NAN, "few", None)
    ),
    calling("OutlierDetector(3)", lambda m: rnnrnade.OutlierDetector(3).fit(FRAMES), "model"),
    *(
        calling(
            f"OutlierDetector.{method}: not fitted",
            lambda m, method=method: getattr(rnnrnade.OutlierDetector(new("RNADE")), method)(FRAMES),
            "not fitted",
            NotFittedError,
        )
        for method in ("predict", "decision_function", "score_samples")
    ),
    *(
        calling(
            f"OutlierDetector.{method}: {what}",
            lambda m, method=method, X=X: getattr(detector(m), method)(X),
            pattern,
        )
        for method in ("predict", "decision_function", "score_samples", "fit")
        for what, X, pattern in (("NaN", FRAMES * NAN, "NaN: row 0, dimension 0"), ("1-D", FRAMES[0], "Reshape"))
    ),
    # not fitted
    *(
        (f"every call: {row[0]}", *row[1:])
        for name in ("RNADE", "RNNRNADE")
        for row in (
            *(unfitted(name, method) for method in ("cdf", "crps", "mean", "var", "to_normal", "from_normal")),
            *(unfitted(name, method) for method in ("explain", "alarm_threshold", "calibration", "score_dims")),
        )
    ),
    # checkpoints
    *(
        calling(
            f"fit(every={every!r})", lambda m, e=every: checkpointed(m, checkpoint=m.folder / "c", every=e), "every"
        )
        for every in (-1, NAN, "often", None, True)
    ),
    *(
        calling(f"fit(resume={r!r})", lambda m, r=r: checkpointed(m, checkpoint=m.folder / "c", resume=r), "resume")
        for r in ("yes", None, 1)
    ),
    calling("fit(resume=True) without a file", lambda m: checkpointed(m, resume=True), "needs checkpoint=path"),
    *(
        calling(f"fit(checkpoint={c!r})", lambda m, c=c: checkpointed(m, checkpoint=c), "checkpoint must", TypeError)
        for c in (3, True, ["a"], b"abc")
    ),
    calling("a folder as checkpoint", lambda m: checkpointed(m, checkpoint=m.folder), "not a regular", ModelFileError),
    calling(
        "a model as checkpoint",
        lambda m: checkpointed(m, checkpoint=saved(m, "NADE"), resume=True),
        "holds a NADE, not a checkpoint",
        ModelFileError,
    ),
    calling(
        "no folder of the checkpoint",
        lambda m: checkpointed(m, checkpoint=m.folder / "no" / "fit"),
        "no folder",
        FileNotFoundError,
    ),
    # pictures
    drawing(
        "conditional_densities of several sequences",
        lambda m, p: p.conditional_densities(m.RNNRNADE, np.stack([FRAMES, FRAMES]), 0),
        "one sequence",
    ),
    *(
        drawing(
            f"conditional_densities of frame {frame!r}",
            lambda m, p, frame=frame: p.conditional_densities(m.RNNRNADE, FRAMES, frame),
            "frame",
        )
        for frame in (12, -13, 1.5, "last", None)
    ),
    *(
        drawing(
            f"conditional_densities of dims {dims!r}",
            lambda m, p, dims=dims: p.conditional_densities(m.RNNRNADE, FRAMES, 0, dims=dims),
            "dims",
        )
        for dims in ([], [3], [-4], ["a"])
    ),
    drawing(
        "conditional_densities with two names",
        lambda m, p: p.conditional_densities(m.RNNRNADE, FRAMES, 0, feature_names=["a", "b"]),
        "2 feature names for 3",
    ),
    *(
        drawing(f"fan_chart of dim {dim!r}", lambda m, p, dim=dim: p.fan_chart(FRAMES[None], dim=dim), "dim")
        for dim in (3, -4, "a", 1.5)
    ),
    *(
        drawing(f"fan_chart of levels {q!r}", lambda m, p, q=q: p.fan_chart(FRAMES[None], levels=q), "levels")
        for q in ([2.0], [-1.0], [NAN], ["a"], [], -0.5)
    ),
    drawing("fan_chart of 2-D draws", lambda m, p: p.fan_chart(FRAMES), "samples must be draws"),
]


def test_every_option_is_in_the_table_of_wrong_values():
    known = set().union(*(getattr(rnnrnade, name)._parameter_constraints for name in OPTIONS))
    assert set(WRONG) == known


@pytest.mark.parametrize(("call", "exception", "pattern"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
@pytest.mark.filterwarnings("ignore::UserWarning")  # too few frames for validation data
def test_bad_input(m, call, exception, pattern):
    with pytest.raises(exception, match=f"(?s){pattern}"):
        call(m)
    for name, scores in m.scores.items():
        assert_array_equal(getattr(m, name).score_samples(m.data[name]), scores)


def test_the_table_is_long_enough():
    assert len({row[0] for row in TABLE}) == len(TABLE) >= 1300


NUMPY = (np.uint8, np.int8, np.int16, np.uint64)


def arguments(kind):
    """(options, options of a transform, counts) as numbers of a type of NumPy, whose sums overflow."""
    options = dict.fromkeys(("n_hidden", "n_components", "batch_size", "n_restarts", "n_jobs", "window"), kind(100))
    options |= dict.fromkeys(("n_recurrent", "n_layers", "n_restarts", "n_jobs", "max_epochs", "random_state"), kind(2))
    return options, {"lags": kind(2)}, {"n_samples": kind(100), "n_frames": kind(100)}


@pytest.mark.parametrize("kind", NUMPY, ids=[kind.__name__ for kind in NUMPY])
@pytest.mark.parametrize("name", ["RNADE", "RNNNADE", "RNNRNADE"])
def test_integers_of_numpy_are_taken_as_ints(name, kind, m, tmp_path):
    def found(kind):
        options, of_transform, counts = arguments(kind)
        cls = getattr(rnnrnade, name)
        options = {key: value for key, value in options.items() if key in cls._parameter_constraints}
        if name == "RNNRNADE":
            options["transform"] = rnnrnade.Linear(**of_transform)
        if name == "RNADE":
            del counts["n_frames"]
        model = cls(**options).fit(m.data[name])
        model.save(tmp_path / "model")
        drawn = model.sample(random_state=kind(3), **counts)
        return model.score_samples(m.data[name]), drawn, cls.load(tmp_path / "model").score_samples(m.data[name])

    for one, other in zip(found(kind), found(int), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("kind", NUMPY, ids=[kind.__name__ for kind in NUMPY])
def test_counts_of_numpy_are_taken_as_ints(kind, m):
    X, S = m.data["RNADE"], m.data["RNNRNADE"]
    gaps = np.where(np.arange(D) == 1, NAN, X[:2])
    missing = rnnrnade.RNADE.from_parameters(m.RNADE.parameters_, missing="marginalize", random_state=0)

    def found(kind):
        estimate = missing.log_likelihood_missing(gaps, n_particles=kind(100), n_repeats=kind(3))
        counts = m.RNADE.calibration(X, n_bins=kind(100)).counts
        top = m.RNADE.explain(X, kind(2), n_dims=kind(2))
        drawn = m.RNNRNADE.forecast(S[:2], kind(100), kind(2), random_state=0)
        return [
            *estimate,
            missing.impute(gaps, kind(100), n_particles=kind(100)),
            counts,
            *drawn,
            [list(r.values()) for r in top],
        ]

    for one, other in zip(found(kind), found(int), strict=True):
        assert_array_equal(one, other)
