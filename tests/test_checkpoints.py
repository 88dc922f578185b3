"""Checkpoints of a fit: killed at any moment, it goes on to the same bits; other data or options are refused."""

import os
import signal
import sys
import time

import numpy as np
import pytest
from helpers import edited, gradient_at, interrupt, rewritten, run_child
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import rnnrnade
from rnnrnade import Linear, ModelFileError, _core, checkpoints, io
from rnnrnade.checkpoints import digest
from rnnrnade.io import read_file

pytestmark = pytest.mark.usefixtures("validated_after_each_epoch")

RNG = np.random.default_rng(3)
VECTORS = RNG.normal(size=(60, 3))
SEQUENCES = [RNG.normal(size=(n, 3)).cumsum(axis=0) for n in RNG.integers(3, 12, size=24)]
SINES = [np.sin(np.arange(120)[:, None] * [0.25, 0.4] + s) for s in range(2)]
LONG = [RNG.normal(size=(230, 3)), RNG.normal(size=(260, 3))]
TINY = {"n_hidden": 3, "max_epochs": 5, "batch_size": 8, "learning_rate": 0.05}
MIXED = TINY | {"n_components": 2}

# name: class, options, data.  What each row is for stands at its end.
FITS = {
    "vectors": ("RNADE", MIXED | {"random_state": 0}, VECTORS),
    "binary": ("NADE", TINY | {"random_state": 0}, (VECTORS > 0).astype(float)),
    "no validation, sgd": (
        "RNADE", MIXED | {"random_state": 0, "optimizer": "sgd", "validation_fraction": 0, "averaging": 0}, VECTORS,
    ),  # no average, another state of the optimiser, a schedule
    "restarts": ("RNADE", MIXED | {"random_state": 0, "n_restarts": 3}, VECTORS),
    "orders and restarts": ("RNADE", MIXED | {"random_state": 0, "n_orders": 2, "n_restarts": 2}, VECTORS),
    "sequences, within epochs": (
        "RNNRNADE", MIXED | {"random_state": 1, "n_recurrent": 3, "validate_every": 2, "input_noise": 0.1,
                             "context_dropout": 0.2, "batch_size": 5}, SEQUENCES,
    ),  # validations in the middle of epochs, noise from the generator
    "windows, within epochs": (
        "RNNRNADE", MIXED | {"random_state": 1, "n_recurrent": 3, "window": 20, "validate_every": 2, "batch_size": 6,
                             "transform": Linear(lags=1, covariance="full"), "order": [2, 0, 1]}, LONG,
    ),  # states carried from the parameters of the epoch's begin
    "largest number of updates": ("RNNNADE", TINY | {"random_state": 0, "n_recurrent": 3, "max_updates": 7},
                                  [(x > 0).astype(float) for x in SEQUENCES]),
    "patience": ("RNADE", MIXED | {"random_state": 0, "max_epochs": 60, "learning_rate": 0.5, "patience": 2}, VECTORS),
    "given up": (
        "RNADE", MIXED | {"random_state": 3, "max_epochs": 60, "learning_rate": 0.1, "averaging": 0.9,
                          "patience": 6, "transform": "standardize"}, VECTORS,
    ),  # before the end of patience
    "annealed": (
        "RNNRNADE", MIXED | {"random_state": 1, "n_recurrent": 3, "validate_every": 3, "batch_size": 5, "patience": 2,
                             "transform": "standardize", "max_epochs": 60, "learning_rate": 0.3, "anneal": True,
                             "input_noise": 0.1}, SEQUENCES,
    ),  # patience ends the first phase within an epoch
    "refitted": (
        "RNNRNADE", MIXED | {"random_state": 1, "n_recurrent": 3, "validate_every": 3, "batch_size": 3, "window": 20,
                             "transform": "standardize", "max_epochs": 5, "learning_rate": 0.1, "anneal": True,
                             "input_noise": 0.1, "refit": "all"}, SINES,
    ),  # the best is one of the second phase
    "LSTM, float64": (
        "RNNRNADE", MIXED | {"random_state": 2, "n_recurrent": 3, "cell": "lstm", "dtype": "float64"}, SEQUENCES,
    ),
    "layers, windows": (
        "RNNRNADE", MIXED | {"random_state": 2, "n_recurrent": 3, "n_layers": 2, "cell": "gru", "window": 20}, LONG,
    ),
}  # fmt: skip


def make(name):
    cls, options, X = FITS[name]
    return getattr(rnnrnade, cls)(**options), X


def assert_same_fit(a, b, X):
    """Parameters, history but for seconds, the best, and scores: the same bits."""
    for x, y in zip(a.members_, b.members_, strict=True):
        assert_array_equal(x._density.model.theta, y._density.model.theta, strict=True)
        assert_array_equal(x.order_, y.order_)
        assert set(x.history_) == set(y.history_)
        for column in set(x.history_) - {"seconds"}:
            assert repr(x.history_[column]) == repr(y.history_[column])
        assert (x.n_iter_, x.best_epoch_, x.best_update_) == (y.n_iter_, y.best_epoch_, y.best_update_)
    assert_array_equal(a.score_samples(X), b.score_samples(X), strict=True)


class Killed(BaseException):
    """In the place of kill -9: nothing of the fit runs after it."""


def killed_after(monkeypatch, n_files):
    """The file is written n times, then the process dies."""
    written = []

    def write(*args):
        if len(written) == n_files:
            raise Killed
        io.write_file(*args)
        written.append(args)

    monkeypatch.setattr(checkpoints, "write_file", write)


# ---- the same bits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # few frames to hold out
def test_killed_after_any_writing_it_goes_on_to_the_same_bits(name, step, tmp_path, monkeypatch):
    model, X = make(name)
    path = tmp_path / "fit"
    whole = clone(model).fit(X)
    with monkeypatch.context() as patch:
        killed_after(patch, np.inf)
        counted = clone(model).fit(X, checkpoint=path, every=0)
    assert_same_fit(counted, whole, X)  # a checkpoint changes nothing
    path.unlink()
    for n in range(1, 100, step):
        with monkeypatch.context() as patch:
            killed_after(patch, n)
            try:
                clone(model).fit(X, checkpoint=path, every=0)
            except Killed:
                pass
            else:
                break
        assert_same_fit(clone(model).fit(X, checkpoint=path, every=0, resume=True), whole, X)
        path.unlink()
    assert n >= 5


def test_killed_again_and_again(tmp_path, monkeypatch):
    model, X = make("sequences, within epochs")
    whole, path = clone(model).fit(X), tmp_path / "fit"
    n_killed = 0
    while True:
        with monkeypatch.context() as patch:
            killed_after(patch, 2)  # once at its begin, once later
            try:
                fitted = clone(model).fit(X, checkpoint=path, every=0, resume=True)
                break
            except Killed:
                n_killed += 1
                assert read_file(path).kind == checkpoints.CHECKPOINT
    assert n_killed >= 5
    assert_same_fit(fitted, whole, X)


def test_a_finished_fit_is_there_at_once(tmp_path, monkeypatch):
    model, X = make("orders and restarts")
    path = tmp_path / "fit"
    whole = clone(model).fit(X, checkpoint=path)
    monkeypatch.setattr(_core, "gradient", None)  # nothing is trained
    again = clone(model).fit(X, checkpoint=path, resume=True)
    assert_same_fit(again, whole, X)
    assert again.members_[1].history_["seconds"] == whole.members_[1].history_["seconds"]


@pytest.mark.parametrize("bits", ["MT19937", "PCG64", "Philox", "SFC64"])
def test_generators_are_set_back(bits, tmp_path, monkeypatch):
    model, X = make("restarts")
    generator = lambda: np.random.Generator(getattr(np.random, bits)(5))  # noqa: E731
    whole = clone(model).set_params(random_state=generator()).fit(X)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_after(patch, 4)
        clone(model).set_params(random_state=generator()).fit(X, checkpoint=tmp_path / "fit", every=0)
    other = generator()
    other.random(17)
    resumed = clone(model).set_params(random_state=other).fit(X, checkpoint=tmp_path / "fit", resume=True)
    assert_same_fit(resumed, whole, X)


def test_without_a_seed_the_resumed_fit_goes_on_from_the_same_split(tmp_path, monkeypatch):
    model, X = make("vectors")
    model.set_params(random_state=None)
    path = tmp_path / "fit"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_after(patch, 3)
        clone(model).fit(X, checkpoint=path, every=0)
    begun = path.read_bytes()
    first = clone(model).fit(X, checkpoint=path, resume=True)
    path.write_bytes(begun)
    assert_same_fit(clone(model).fit(X, checkpoint=path, resume=True), first, X)


@pytest.mark.parametrize("at", [1, 9, 20])
def test_ctrl_c_leaves_a_checkpoint(at, tmp_path, monkeypatch):
    model, X = make("restarts")
    whole, path = clone(model).fit(X), tmp_path / "fit"
    stopped = clone(model)
    with monkeypatch.context() as patch, pytest.warns(ConvergenceWarning, match="interrupted"):
        patch.setattr(_core, "gradient", gradient_at(at, interrupt))
        stopped.fit(X, checkpoint=path, every=np.inf)
    runs = read_file(path).state["runs"]
    assert sum(run["updates"] for run in runs) == (at - 1) // 7 * 7  # batches an epoch: that of the last validation
    assert_same_fit(stopped.fit(X, checkpoint=path, resume=True), whole, X)


def test_an_interrupted_first_fit_of_a_warm_start(tmp_path, monkeypatch):
    model, X = make("vectors")
    model.set_params(warm_start=True)
    whole, path = clone(model).fit(X), tmp_path / "fit"
    with monkeypatch.context() as patch, pytest.warns(ConvergenceWarning, match="interrupted"):
        patch.setattr(_core, "gradient", gradient_at(20, interrupt))
        model.fit(X, checkpoint=path)
    assert_same_fit(model.fit(X, checkpoint=path, resume=True), whole, X)


@pytest.mark.parametrize("name", ["vectors", "orders and restarts"])
def test_a_warm_start_resumes_from_what_it_began_with(name, tmp_path, monkeypatch):
    model, X = make(name)
    first = clone(model).fit(X).set_params(warm_start=True)
    first.save(tmp_path / "first")
    path = tmp_path / "fit"
    load = lambda: rnnrnade.load(tmp_path / "first")  # noqa: E731
    whole = load().fit(X)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_after(patch, 3)
        load().fit(X, checkpoint=path, every=0)
    assert_same_fit(load().fit(X, checkpoint=path, resume=True), whole, X)
    other = clone(model).set_params(random_state=5).fit(X).set_params(random_state=model.random_state, warm_start=True)
    with pytest.raises(ModelFileError, match="another first parameters"):
        other.fit(X, checkpoint=path, resume=True)


def test_a_loss_that_is_not_finite_ends_the_same(tmp_path, monkeypatch):
    model, X = make("vectors")
    model.set_params(learning_rate=1e30, clip_norm=None, max_epochs=30)
    with pytest.warns(ConvergenceWarning, match="not finite"):
        whole = clone(model).fit(X, checkpoint=tmp_path / "fit", every=0)
    assert_same_fit(clone(model).fit(X, checkpoint=tmp_path / "fit", resume=True), whole, X)


def test_threads_may_be_others(tmp_path, monkeypatch):
    model, X = make("sequences, within epochs")
    whole = clone(model).fit(X)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_after(patch, 3)
        clone(model).set_params(n_jobs=1).fit(X, checkpoint=tmp_path / "fit", every=0)
    resumed = clone(model).set_params(n_jobs=3, verbose=0).fit(X, checkpoint=tmp_path / "fit", resume=True)
    assert_same_fit(resumed, whole, X)


def test_it_is_written_no_more_often_than_asked(tmp_path, monkeypatch):
    model, X = make("vectors")
    model.set_params(transform="whiten")
    for every, n in ((np.inf, 2), (0, 2 + 5)):
        written = []
        monkeypatch.setattr(checkpoints, "write_file", lambda *args, written=written: written.append(args))
        clone(model).fit(X, checkpoint=tmp_path / "fit", every=every)
        assert len(written) == n  # at the begin and the end; and after each of 5 epochs


# ---- refused -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    path = tmp_path_factory.mktemp("begun") / "fit"
    model, X = make("vectors")
    model.fit(X, checkpoint=path, sample_weight=np.arange(60.0), validation_data=X[:7])
    return path


CHANGED = {
    "an option": ({"learning_rate": 0.1}, {}, r"learning_rate was 0.05, is 0.1"),
    "two options": ({"n_hidden": 4, "dtype": "float64"}, {}, "n_hidden was 3, is 4; dtype|dtype.*; n_hidden"),
    "another transform": ({"transform": Linear(lags=1)}, {}, r"transform was 'auto', is \{'apart'"),
    "another seed": ({"random_state": 1}, {}, "random_state was 0, is 1"),
    "another generator": ({"random_state": np.random.Generator(np.random.MT19937())}, {}, "generator was 'PCG64'"),
    "data": ({}, {"X": VECTORS + 1e-9}, "another X"),
    "a type of data": ({}, {"X": VECTORS.astype(np.float32)}, "another X"),
    "weights": ({}, {"sample_weight": None}, "another sample_weight"),
    "validation data": ({}, {"validation_data": VECTORS[:8]}, "another validation_data"),
    "no validation data": ({}, {"validation_data": None}, "another validation_data"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_checkpoint_of_another_fit_is_refused(name, begun):
    options, changed, pattern = CHANGED[name]
    model, X = make("vectors")
    given = {"X": X, "sample_weight": np.arange(60.0), "validation_data": X[:7]} | changed
    before = begun.read_bytes()
    with pytest.raises(ModelFileError, match=f"fit' is a checkpoint of another fit: .*({pattern})"):
        model.set_params(**options).fit(**given, checkpoint=begun, resume=True)
    assert begun.read_bytes() == before


def test_a_checkpoint_of_another_class_or_version_is_refused(begun, monkeypatch):
    with pytest.raises(ModelFileError, match="class was 'RNADE', is 'NADE'"):
        rnnrnade.NADE().fit((VECTORS > 0).astype(float), checkpoint=begun, resume=True)
    monkeypatch.setattr(rnnrnade, "__version__", "9.9")
    with pytest.raises(ModelFileError, match=r"checkpoint of rnnrnade 0.*, but this is 9.9"):
        make("vectors")[0].fit(VECTORS, checkpoint=begun, resume=True)


def test_a_checkpoint_is_no_model_and_a_model_no_checkpoint(begun, tmp_path):
    with pytest.raises(ModelFileError, match=r"is a checkpoint of a fit, not a model: continue with fit"):
        rnnrnade.load(begun)
    model, X = make("vectors")
    model.fit(X).save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    for resume in (True, False):
        with pytest.raises(ModelFileError, match="holds a RNADE, not a checkpoint: give another path"):
            model.fit(X, checkpoint=tmp_path / "model", resume=resume)
    (tmp_path / "notes").write_text("milk, bread")
    with pytest.raises(ModelFileError, match="notes' is not a model file"):
        model.fit(X, checkpoint=tmp_path / "notes")
    assert (tmp_path / "model").read_bytes() == before and (tmp_path / "notes").read_text() == "milk, bread"


def test_changed_checkpoints_are_refused(begun, tmp_path):
    model, X = make("vectors")
    original, path = begun.read_bytes(), tmp_path / "changed"
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(original)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data if rng.integers(2) else original[: rng.integers(len(original))])
        with pytest.raises(ModelFileError, match="changed' is not a model file"):
            model.fit(X, checkpoint=path, resume=True)


def forged(path, change):
    path.write_bytes(rewritten(path, lambda header, content: change(header, content["options"])))


def drop(*names):
    def change(header, state):
        for name in names[:-1]:
            state = state[name]
        del state[names[-1]]

    return change


def put(value, *names):
    def change(header, state):
        for name in names[:-1]:
            state = state[name]
        state[names[-1]] = value

    return change


def rename(name):
    return lambda header, state: header.update({"other": header.pop(name)})


def both(one, other):
    return lambda header, state: (one(header, state), other(header, state))


def shrink(name):
    def change(header, state):
        header[name]["shape"] = [1, *header[name]["shape"]]

    return change


FORGED = {
    "no beginning": (drop("about"), "'about' is missing"),
    "a beginning of another type": (put([], "about"), "'about' or 'runs' is of another type"),
    "no first parameters": (drop("about", "first parameters"), "first parameters was None"),
    "no generator": (drop("generator"), "'generator' is missing"),
    "another generator": (put({"bit_generator": "dice"}, "generator"), "does not hold the state of a fit"),
    "no runs": (drop("runs"), "'runs' is missing"),
    "a run without its end": (drop("runs", 0, "finished"), "'finished' is missing"),
    "a count below 0": (put(-1, "runs", 0, "updates"), "'updates' is no count"),
    "a count that no float holds": (put(2**60, "runs", 0, "since"), "'since' is no count"),
    "an end that is a number": (put(1, "runs", 0, "finished"), "'finished' is no bool"),
    "finished without best": (both(rename("0.best"), put(True, "runs", 0, "finished")), "'best' is missing"),
    "no history": (rename("0.history"), "'history' is missing"),
    "parameters of another shape": (shrink("0.theta"), "'theta' does not fit the parameters"),
    "moments of another shape": (shrink("0.optimizer.2.m"), "'optimizer.2.m' does not fit"),
    "no moments": (rename("0.optimizer.2.v"), "'optimizer.2.v' is missing"),
    "a step that is a string": (put("x", "runs", 0, "optimizer", -1, "step"), "'step' is no count"),
    "no parameters of the epoch": (rename("0.theta_of_epoch"), "'theta_of_epoch' is missing"),
}


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """Killed in the middle of an epoch."""
    path = tmp_path_factory.mktemp("halfway") / "fit"
    model, X = make("sequences, within epochs")
    with pytest.MonkeyPatch.context() as patch:
        killed_after(patch, 5)
        with pytest.raises(Killed):
            model.fit(X, checkpoint=path, every=0)
    return path.read_bytes()


@pytest.mark.parametrize("name", FORGED)
def test_forged_checkpoints_with_hashes_that_fit_are_refused(name, halfway, tmp_path):
    change, pattern = FORGED[name]
    path = tmp_path / "fit"
    path.write_bytes(halfway)
    forged(path, change)
    model, X = make("sequences, within epochs")
    with pytest.raises(ModelFileError, match=f"fit' .*({pattern})"):
        model.fit(X, checkpoint=path, every=0, resume=True)


@pytest.mark.parametrize("n", [60, pytest.param(2000, marks=pytest.mark.full)])
@pytest.mark.filterwarnings("ignore")
def test_edited_checkpoints_are_refused_or_resumed(n, halfway, tmp_path):
    path, rng, resumed = tmp_path / "fit", np.random.default_rng(0), 0
    model, X = make("sequences, within epochs")

    def change(header, state):
        if rng.random() < 0.7:
            name = ("about", "generator", "runs", "runs", "runs")[rng.integers(5)]
            state[name] = edited(state[name], rng)
        else:
            names = [name for name in header if name != "__metadata__"]
            name = names[rng.integers(len(names))]
            header[name] = edited(header[name], rng)

    for _ in range(n):
        path.write_bytes(halfway)
        forged(path, change)
        try:
            clone(model).fit(X, checkpoint=path, every=np.inf, resume=True)
        except ModelFileError:
            continue
        resumed += 1
    assert 0 < resumed < n


# ---- disks ---------------------------------------------------------------------------------------------------------


def full(*args):
    raise OSError(28, "No space left on device")


def test_a_path_that_cannot_be_written_is_an_error_before_training(tmp_path, monkeypatch):
    model, X = make("vectors")
    monkeypatch.setattr(_core, "gradient", None)  # nothing is trained
    with pytest.raises(FileNotFoundError, match="no folder"):
        model.fit(X, checkpoint=tmp_path / "no" / "fit")
    with pytest.raises(ModelFileError, match="not a regular file"):
        model.fit(X, checkpoint=tmp_path)
    if os.path.exists("/dev/full"):
        with pytest.raises(ModelFileError, match="not a regular file"):
            model.fit(X, checkpoint="/dev/full")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        model.fit(X, checkpoint=tmp_path / "fit")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    model, X = make("vectors")
    with pytest.raises(PermissionError):
        model.fit(X, checkpoint=tmp_path / "fit")
    with pytest.raises(PermissionError):
        model.fit(X).save(tmp_path / "model")


def test_a_disk_that_fills_up_costs_the_checkpoint_and_not_the_fit(tmp_path, monkeypatch):
    model, X = make("restarts")
    whole, path = clone(model).fit(X), tmp_path / "fit"
    calls = []

    def write(*args):
        calls.append(args)
        if 3 <= len(calls) < 10:
            full()
        io.write_file(*args)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="could not be written .*No space") as warned:
        patch.setattr(checkpoints, "write_file", write)
        assert_same_fit(clone(model).fit(X, checkpoint=path, every=0), whole, X)
    assert len(warned) == 1 and len(calls) > 10
    monkeypatch.setattr(_core, "gradient", None)  # there was room at the end
    assert_same_fit(clone(model).fit(X, checkpoint=path, resume=True), whole, X)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_a_limit_on_the_size_of_files(tmp_path):
    """What the system says of a full disk, not a fake: no file may be longer than 4 KiB."""
    code = """
import resource, signal, sys, warnings
from helpers import small_model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
model, X = small_model("RNADE", n_hidden=3, max_epochs=5, n_restarts=3)
warnings.simplefilter("error")
try:
    model.fit(X, checkpoint=sys.argv[1], every=0)
except UserWarning as warning:
    assert "could not be written" in str(warning)
warnings.simplefilter("ignore")
assert model.fit(X, checkpoint=sys.argv[1], every=0).n_iter_ == 5
try:
    model.set_params(n_hidden=100).fit(X[:20]).save(sys.argv[1] + ".model")
except OSError:
    print("refused")
"""
    done = run_child(code, tmp_path / "fit")
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr
    assert os.listdir(tmp_path) == ["fit"]
    read_file(tmp_path / "fit")


# ---- kill -9 -------------------------------------------------------------------------------------------------------


def killable():
    options = MIXED | {"n_recurrent": 3, "max_epochs": 6, "n_orders": 2, "validate_every": 2, "random_state": 4}
    return rnnrnade.RNNRNADE(**options, n_jobs=1)


def kill_and_resume(n, folder):
    """Kill the fit n times at random moments; now and then resume to the end.  Gives how many were killed in a fit."""
    whole = killable().fit(SEQUENCES)
    began = time.perf_counter()
    killable().fit(SEQUENCES, checkpoint=folder / "timed", every=0)
    lasts = time.perf_counter() - began
    rng, path = np.random.default_rng(0), folder / "fit"
    killed = resumed = 0
    for k in range(n):
        child = os.fork()
        if child == 0:
            try:
                killable().fit(SEQUENCES, checkpoint=path, every=0, resume=True)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, 0.6 * lasts))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if path.exists():
            read_file(path)  # after each kill
        if rng.integers(2) or k == n - 1:
            assert_same_fit(killable().fit(SEQUENCES, checkpoint=path, every=np.inf, resume=True), whole, SEQUENCES)
            path.unlink()
            resumed += 1
    print(f"{killed} of {n} killed inside a fit, {resumed} resumed to the end")
    return killed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_5_kills(tmp_path):
    assert kill_and_resume(5, tmp_path) >= 1


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_200_kills(tmp_path):
    assert kill_and_resume(200, tmp_path) >= 100


def test_digests_tell_arrays_apart():
    a = np.arange(6.0)
    others = [a.astype(np.float32), a.reshape(2, 3), a[:0], a[1:], -a]
    assert len({digest(x) for x in [a, *others]}) == 6 and digest(a) == digest(a[::-1][::-1])
    assert digest(a, a) != digest(a)
