"""Experiment 1: stochastic trajectories in the plane, whose true conditional density is known.

    python -m benchmarks.quality.trajectories [--full] [--rows NAMES] [--tune]

The generator's density of the next frame is a mixture of three normals (rnnrnade.datasets.make_trajectories).  Its
entropy rate is estimated by Monte Carlo, from many trajectories under their own density.  The gap of a model is the
mean of log p(true) - log p(model) over the frames of a large test set, so that the noise of the set itself cancels:
the Kullback-Leibler divergence from truth to model, in nats per step, with the standard error over trajectories.
Two pictures are drawn for the best row: at each step ten draws of the next position (crosses), their mean (plus) and
where the point went (circle).
"""

import time

import numpy as np

from rnnrnade import RNNRNADE, Linear
from rnnrnade.datasets import make_trajectories, trajectory_log_density

from . import pictures
from .baselines import VAR, Gaussian
from .common import Fold, Part, Row, Table, grid, parser, run_tables, write
from .prediction import draw, predictive_mean

# sequences (and frames of each) to train, validate and test on, and for the entropy rate
SIZES = {"frames": 100, "train": 5000, "valid": 200, "test": 2000, "entropy": 100_000}
SIZES_QUICK = {"frames": 60, "train": 300, "valid": 50, "test": 300, "entropy": 5000}
SEEDS, SEEDS_QUICK = 1, 1
QUICK = {"max_epochs": 25}
OURS = grid(
    n_components=[10], n_hidden=[50], n_recurrent=[100], cell=["gru"], learning_rate=[1e-2], schedule=["cosine"],
    max_epochs=[40], patience=[1000], weight_decay=[0.01], averaging=[0.99],
)  # fmt: skip
STEP = Linear(lags=1, covariance="diagonal", ridge=1e-3)
ROWS = [
    Row("Gaussian, no time", Gaussian, group="peer"),
    Row("VAR(p), full noise", VAR, grid(lags=[1, 2, 3]), group="peer"),
    Row("RNNRNADE(), defaults", RNNRNADE, quick=QUICK, group="defaults"),
    Row("RNN-RNADE, standardised", RNNRNADE, [s | {"transform": "standardize"} for s in OURS], quick=QUICK),
    Row("RNN-RNADE behind VAR(1)", RNNRNADE, [s | {"transform": STEP} for s in OURS], quick=QUICK),
]
SHOWN, DRAWS = 25, 10  # frames of the pictures, and draws at each


def entropy_rate(sizes, seed):
    """-log p of a frame given its past in the long run: (mean, standard error), nats; the first ten frames, which
    still know where the trajectory began, are left out."""
    X = make_trajectories(sizes["entropy"], sizes["frames"], random_state=seed)
    each = np.array([x[10:].mean() for x in trajectory_log_density(X)])
    return -float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)


def measure(model, part):
    """Nats per step, the gap to the truth, and the gap's standard error over the trajectories of the test set."""
    ours, true = model.score_frames(part.X), trajectory_log_density(part.X)
    gaps = np.array([(t - o).mean() for t, o in zip(true, ours, strict=True)])
    return {
        "nats": float(np.mean([o.mean() for o in ours])),
        "gap": float(gaps.mean()),
        "its error": float(gaps.std(ddof=1) / len(gaps) ** 0.5),
    }


def folds(sizes, seeds):
    def made(part, seed):
        return make_trajectories(sizes[part], sizes["frames"], random_state=seed)

    train, valid, test = made("train", 1), made("valid", 2), made("test", 3)
    return [Fold(train, Part(valid), Part(test), train + valid, seed=seed) for seed in seeds]


def draw_pictures(model, x, seed):
    """The paper's picture and its animation, of one trajectory x (T, 2)."""
    if (drawing := pictures.canvas()) is None:
        return
    generator = np.random.default_rng(seed)
    drawn = draw(model, x, DRAWS, generator)
    mean, _ = predictive_mean(model, x, 200, generator)
    figure, (ax,) = drawing
    figure.set_size_inches(7, 7)

    def panel(ax, steps, crosses):
        ax.clear()
        ax.plot(*x[: steps.stop].T, color="0.8", lw=1, zorder=0)
        ax.scatter(*drawn[:, crosses].reshape(-1, 2).T, marker="x", c="tab:blue", s=18, lw=0.7, label="ten draws")
        ax.scatter(*mean[crosses].T, marker="+", c="tab:red", s=60, label="mean")
        ax.scatter(*x[steps].T, facecolors="none", edgecolors="k", s=40, label="truth")
        ax.set(xlim=limits[0], ylim=limits[1], aspect="equal")
        ax.legend(loc="upper left", fontsize="small")

    low, high = x.min(axis=0) - 1.5, x.max(axis=0) + 1.5
    limits = list(zip(low, high, strict=True))
    half = slice(1, len(x) // 2)  # all steps would lie on top of each other
    panel(ax, half, half)
    ax.set_title("The next position: ten draws, their density's mean, and the truth")
    pictures.save(figure, "trajectories")

    def update(i):
        panel(ax, slice(1, i + 2), slice(i + 1, i + 2))
        ax.set_title(f"step {i + 2}")

    pictures.animate(figure, update, len(x) - 1, "trajectories", fps=4)


def main(arguments=None):
    options = parser(__doc__, "trajectories").parse_args(arguments)
    began = time.perf_counter()
    sizes = SIZES_QUICK if options.quick else SIZES
    n_seeds = SEEDS_QUICK if options.quick else SEEDS
    rate, error = entropy_rate(sizes, seed=4)
    print(f"true log-density per step, the negative entropy rate: {-rate:.4f} +- {error:.4f} nats")
    best = {}

    def after(table, row, record, models, folds):
        score = record["validation"]["mean"]
        if row.group != "peer" and score is not None and score > best.get("score", -np.inf):
            best.update(score=score, model=models[0], x=folds[0].test.X[0][:SHOWN])

    table = Table(
        title="stochastic trajectories",
        folds=lambda: folds(sizes, range(options.seed, options.seed + n_seeds)),
        rows=ROWS,
        over=f"{n_seeds} seeds",
        measure=measure,
    )
    tables = run_tables([table], options, after=after)
    if best:
        draw_pictures(best["model"], best["x"], options.seed)
    return write(
        "trajectories",
        options,
        tables,
        began,
        sizes=sizes,
        entropy_rate={"mean": rate, "standard_error": error},
    )


if __name__ == "__main__":
    main()
