"""Pictures come back as axes that hold the right data under the right labels."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.integrate import trapezoid

pytest.importorskip("matplotlib")

from helpers import Case
from matplotlib.figure import Figure

from rnnrnade import RNADE, RNNRNADE, SequenceBatch, plotting
from rnnrnade.heads import HEADS


class Model:
    """What the pictures ask of an estimator; the densities are standard normal but for one frame."""

    def get_params(self):
        return {}

    def score_dims(self, X):
        dims = -0.5 * (X**2 + np.log(2 * np.pi))
        dims[3, 1] = -17.5
        return dims

    def score_samples(self, X):
        return -0.5 * (X**2 + np.log(2 * np.pi)).sum(axis=1)


HISTORY = {"epoch": [1, 2, 3], "loss": [5.0, 3.0, 2.0], "validation_score": [-4.0, -2.5, -3.0]}


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(9, 2))


def saved(ax, path):
    ax.figure.savefig(path / "picture.png")
    return (path / "picture.png").stat().st_size > 1000


def test_learning_curve(tmp_path):
    ax = plotting.learning_curve(HISTORY)
    training, validation = ax.lines[:2]
    np.testing.assert_array_equal(training.get_xydata(), [[1, -5], [2, -3], [3, -2]])
    np.testing.assert_array_equal(validation.get_ydata(), HISTORY["validation_score"])
    assert ax.get_xlabel() == "epoch"
    assert ax.get_ylabel() == "log-density (nats per frame)"
    assert "epoch 2, -2.50 nats per frame" in ax.get_title()
    assert saved(ax, tmp_path)


def test_learning_curve_over_updates_where_an_epoch_has_several_validations():
    ax = plotting.learning_curve({**HISTORY, "epoch": [1, 1, 2], "update": [5, 10, 15]})
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [5, 10, 15])
    assert ax.get_xlabel() == "update" and "at update 10, " in ax.get_title()


def test_learning_curve_of_an_estimator_without_validation(tmp_path):
    model = Model()
    model.history_ = {**HISTORY, "validation_score": [np.nan] * 3}
    ax = plotting.learning_curve(model)
    assert len(ax.lines) == 1
    assert ax.get_title() == "Learning curve"
    assert saved(ax, tmp_path)
    with pytest.raises(ValueError, match="empty"):
        plotting.learning_curve({"epoch": [], "loss": []})
    with pytest.raises(ValueError, match="history is empty"):
        plotting.learning_curve({})


def test_what_a_model_does_not_have_is_not_drawn(tmp_path):
    untrained, _ = Case(D=2, H=3, K=2, R=0, lengths=(5,)).model()
    untrained.save(tmp_path / "model.safetensors")
    for model in (untrained, RNADE.load(tmp_path / "model.safetensors")):
        assert (model.n_iter_, model.best_epoch_, model.best_update_) == (0, None, None)
        with pytest.raises(ValueError, match="history is empty: no epoch of training was run"):
            plotting.learning_curve(model)
    binary, Z = Case(D=3, H=4, K=1, R=3, lengths=(5,), head="bernoulli").model()
    with pytest.raises(ValueError, match=r"for a binary model, predict_params\(X\) gives the prob"):
        plotting.conditional_densities(binary, Z[0], 1)


def test_surprise_heat_map(X, tmp_path):
    ax = plotting.surprise_heat_map(Model(), X, feature_names=["left", "right"])
    np.testing.assert_array_equal(ax.images[0].get_array(), -Model().score_dims(X).T)
    assert ax.get_xlabel().startswith("frame")
    assert ax.get_title() == "Surprise: the highest is 17.5 nats, at frame 3 in right"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["left", "right"]
    assert ax.images[0].colorbar.ax.get_ylabel() == "surprise (nats)"
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[3, 1]])
    assert saved(ax, tmp_path)


def test_surprise_heat_map_takes_one_sequence_and_its_names(X):
    with pytest.raises(ValueError, match="one sequence"):
        plotting.surprise_heat_map(Model(), np.stack([X, X]))
    with pytest.raises(ValueError, match="3 feature names for 2"):
        plotting.surprise_heat_map(Model(), X, feature_names=["a", "b", "c"])
    model = Model()
    model.feature_names_in_ = np.array(["one", "two"], dtype=object)
    assert "in two" in plotting.surprise_heat_map(model, X).get_title()
    assert "in x1" in plotting.surprise_heat_map(Model(), X).get_title()


def test_samples_beside_data(X, tmp_path):
    sampled = np.stack([X + 1, X + 2, X + 3])
    axes = plotting.samples_beside_data([X, X[:4]], sampled)
    assert axes.shape == (2, 2)  # dimension 2 is not there
    for d in range(2):
        np.testing.assert_array_equal(axes[d, 0].lines[1].get_ydata(), X[:4, d])
        np.testing.assert_array_equal(axes[d, 1].lines[2].get_ydata(), X[:, d] + 3)
        assert axes[d, 0].get_ylabel() == f"x{d}"
        assert axes[d, 0].get_ylim() == axes[d, 1].get_ylim()
    assert axes[0, 0].get_title() == "2 real trajectories"
    assert axes[0, 1].get_title() == "3 sampled trajectories"
    assert axes[1, 0].get_xlabel().startswith("frame")
    assert "value (units of the data)" in [text.get_text() for text in axes[0, 0].figure.texts]
    assert saved(axes[0, 0], tmp_path)
    with pytest.raises(ValueError, match="at least one"):
        plotting.samples_beside_data([], sampled)
    with pytest.raises(ValueError, match="dims"):
        plotting.samples_beside_data([X], sampled, dims=[5])


def test_two_dimensional_density(X, tmp_path):
    ax = plotting.two_dimensional_density(Model(), X, n_grid=11, feature_names=["left", "right"])
    (mesh,) = ax.collections
    assert mesh.get_array().shape == (11, 11)
    x, y = (np.linspace(a - 0.1 * (b - a), b + 0.1 * (b - a), 11) for a, b in zip(X.min(0), X.max(0), strict=True))
    assert mesh.get_array()[7, 2] == pytest.approx(Model().score_samples(np.array([[x[2], y[7]]]))[0])
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), X)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("left", "right")
    assert "Log-density of Model" in ax.get_title()
    assert saved(ax, tmp_path)
    with pytest.raises(ValueError, match=r"\(M, 2\)"):
        plotting.two_dimensional_density(Model(), X[:, :1])
    model = Model()
    model.get_params = lambda: {"n_recurrent": 3}
    with pytest.raises(ValueError, match="static"):
        plotting.two_dimensional_density(model, X)


def test_they_draw_where_they_are_told(X):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plotting.learning_curve(HISTORY, ax=left) is left
    assert plotting.surprise_heat_map(Model(), X, ax=right) is right
    assert plotting.two_dimensional_density(Model(), X, ax=left, n_grid=3) is left
    figure = Figure()
    assert plotting.samples_beside_data([X], [X], fig=figure)[0, 0].figure is figure


def test_nothing_global_is_touched_and_matplotlib_is_named_when_absent(tmp_path):
    code = """
import sys, matplotlib
before = list(dict.items(matplotlib.rcParams))  # reading rcParams itself would import pyplot
from rnnrnade import plotting
plotting.learning_curve({"epoch": [1, 2], "loss": [2.0, 1.0]}).figure.savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
assert list(dict.items(matplotlib.rcParams)) == before
sys.modules["matplotlib.figure"] = None
try:
    plotting.learning_curve({"epoch": [1], "loss": [1.0]})
except ImportError as error:
    assert 'pip install "rnnrnade[plot]"' in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.png")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def report():
    from rnnrnade.calibration import Calibration

    counts = np.array([[10, 30, 10], [20, 10, 20], [30, 40, 30]])
    coverage = np.array([[0.4, 0.8], [0.6, 0.95], [0.5, 0.875]])
    n = counts.sum(1)
    names = ["left", "right", "all"]
    edges, nominal = np.linspace(0, 1, 4), np.array([0.5, 0.9])
    return Calibration(names, n, edges, counts, np.full(3, 0.1), np.full(3, 0.25), nominal, coverage)


def test_calibration(report, tmp_path):
    left, right = plotting.calibration(report)
    assert [bar.get_height() for bar in left.patches[:3]] == pytest.approx([0.9, 1.2, 0.9])
    assert left.get_title() == "PIT of all dimensions: KS distance 0.100, p = 0.25 (100 values)"
    one = plotting.pit_histogram(report, dimension=1)
    assert [bar.get_height() for bar in one.patches[:3]] == pytest.approx([1.2, 0.6, 1.2])
    assert "PIT of right" in one.get_title()
    for line, coverage in zip(right.lines[:3], report.coverage, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([report.nominal, coverage]))
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert sorted(labels) == ["all dimensions", "the farthest off: left", "the other dimensions"]
    assert saved(left, tmp_path)


class Mixtures(Model):
    """Conditionals of two dimensions: a normal, and a mixture of two."""

    _head = HEADS["gaussian"]

    def predict_params(self, X):
        assert X.shape[1] == 2
        each = np.array([[[0.5, 0.5], [0.3, 0.7]], [[1.0, 1.0], [-2.0, 2.0]], [[1.0, 1.0], [0.5, 0.5]]])
        return [np.tile(part, (len(X), 1, 1)) for part in each]


def test_conditional_densities(X, tmp_path):
    axes = plotting.conditional_densities(Mixtures(), X, frame=-2, feature_names=["left", "right"])
    assert axes.shape == (2,)
    for d, ax in enumerate(axes):
        points, density = ax.lines[0].get_xydata().T
        assert trapezoid(density, points) == pytest.approx(1, abs=2e-3)
        assert trapezoid(points * density, points) == pytest.approx((1.0, 0.8)[d], abs=5e-3)
        assert ax.lines[1].get_xdata()[0] == X[7, d]
        assert ax.lines[2].get_xdata()[0] == pytest.approx((1.0, 0.8)[d])
    assert axes[0].get_title().startswith("left: ") and axes[1].get_title().startswith("right: ")
    assert any(text.get_text().startswith("Frame 7") for text in axes[0].figure.texts)
    assert plotting.conditional_densities(Mixtures(), X, 0, dims=[1]).shape == (1,)
    assert saved(axes[0], tmp_path)
    for wrong, frame in ((X, 9), (X, -10), (X[0], 0)):
        with pytest.raises(ValueError, match="one sequence"):
            plotting.conditional_densities(Mixtures(), wrong, frame)


def test_fan_chart(X, tmp_path):
    samples = np.random.default_rng(1).standard_normal((101, 4, 2))
    ax = plotting.fan_chart(samples, dim=1, past=X, truth=samples[0], levels=(0.5, 0.9), feature_name="height")
    median, past, _, truth = ax.lines
    np.testing.assert_array_equal(median.get_xydata(), np.transpose([range(9, 13), np.median(samples, axis=0)[:, 1]]))
    np.testing.assert_array_equal(past.get_ydata(), X[:, 1])
    np.testing.assert_array_equal(truth.get_xydata(), np.transpose([range(9, 13), samples[0, :, 1]]))
    wide, narrow = ax.collections
    for band, tail in ((wide, 0.05), (narrow, 0.25)):
        low, high = np.quantile(samples[:, :, 1], [tail, 1 - tail], axis=0)
        vertices = band.get_paths()[0].vertices
        assert vertices[:, 1].min() == low.min() and vertices[:, 1].max() == high.max()
    assert ax.get_ylabel() == "height (units of the data)"
    assert "101 draws" in ax.get_title()
    assert len(plotting.fan_chart(samples).lines) == 1
    assert saved(ax, tmp_path)
    with pytest.raises(ValueError, match="n_samples, horizon, D"):
        plotting.fan_chart(samples[0])


# ---- tables of pandas and polars, and batches of them --------------------------------------------------------------

NAMES = ["speed", "flow"]


@pytest.fixture(scope="module", params=["pandas", "polars"])
def batch(request):
    library = pytest.importorskip(request.param)
    values = np.random.default_rng(0).normal(size=(120, 2))
    columns = {"who": np.repeat(np.arange(12), 10)} | dict(zip(NAMES, values.T, strict=True))
    return SequenceBatch.from_frame(library.DataFrame(columns), key="who")


@pytest.fixture(scope="module")
def models(batch):
    options = {"n_components": 2, "n_hidden": 3, "max_epochs": 2, "random_state": 0}
    return RNNRNADE(n_recurrent=3, **options).fit(batch), RNADE(validation_fraction=0, **options).fit(batch[0])


@pytest.mark.filterwarnings("error")
def test_names_of_columns_reach_every_picture(batch, models):
    model, static = models
    assert static.feature_names_in_.tolist() == model.feature_names_in_.tolist() == NAMES
    for one in models:
        ax = plotting.surprise_heat_map(one, batch[0])
        assert [label.get_text() for label in ax.get_yticklabels()] == NAMES
        axes = plotting.conditional_densities(one, batch[0], 3)
        assert [ax.get_title().split(":")[0] for ax in axes] == NAMES
    ax = plotting.two_dimensional_density(static, batch[0], n_grid=10)
    assert [ax.get_xlabel(), ax.get_ylabel()] == NAMES
    axes = plotting.samples_beside_data(batch[:3], model.sample(3, 10, random_state=0))
    assert [ax.get_ylabel() for ax in axes[:, 0]] == NAMES
    draws = model.forecast(batch, 4, 20, random_state=0)
    for given in ({"past": batch[0]}, {"truth": batch[0][:4]}):
        assert plotting.fan_chart(draws[0], dim=1, **given).get_ylabel().startswith("flow")
    report = model.calibration(batch)
    assert report.names == [*NAMES, "all"]
    assert plotting.pit_histogram(report, dimension=0).get_title().startswith("PIT of speed")
    labels = [text.get_text() for text in plotting.calibration(report)[1].get_legend().get_texts()]
    assert any(label.removeprefix("the farthest off: ") in NAMES for label in labels)


def test_several_sequences_are_refused_where_one_is_drawn(batch, models):
    model, _ = models
    ragged = [np.zeros((3, 2)), np.zeros((4, 2))]
    for X in (batch, ragged):
        with pytest.raises(ValueError, match=f"heat_map draws one sequence.*a list of {len(X)}: give X"):
            plotting.surprise_heat_map(model, X)
        with pytest.raises(ValueError, match=f"densities draws one sequence.*a list of {len(X)}: give X"):
            plotting.conditional_densities(model, X, 0)
    with pytest.raises(ValueError, match="forecast of one sequence, but samples has 12"):
        plotting.fan_chart(model.forecast(batch, 2, 5))
    for wrong in (batch[0], [np.zeros((3, 1))]):
        with pytest.raises(ValueError, match=r"lists of arrays \(T_i, D\) that all have the same D"):
            plotting.samples_beside_data(wrong, ragged)


def test_an_ensemble_has_several_learning_curves(X):
    model = RNADE(1, 2, n_orders=2, max_epochs=2, validation_fraction=0, random_state=0).fit(X)
    with pytest.raises(AttributeError, match="2 orders and has no history_: each of members_"):
        plotting.learning_curve(model)
    assert plotting.learning_curve(model.members_[0]).lines
