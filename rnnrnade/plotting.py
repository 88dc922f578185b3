"""Pictures of data, fits and surprise (extra ``plot``).

Every function draws into the axes it is given, or into a new figure of its own, and returns the axes;
``axes.figure`` is the figure, to show or to save. pyplot is not used, so no figure stays open and no style
or backend is changed. Colours come from the palette of Okabe and Ito and from cividis: they can be told apart
with any colour vision, and in grey.

Surprise is the negative log-density in nats. For continuous data it may be negative: a density may exceed
one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np

from .checks import as_probabilities, check_dims, names_of_features
from .labels import draws_of_table

__all__ = [
    "calibration",
    "conditional_densities",
    "fan_chart",
    "learning_curve",
    "pit_histogram",
    "reliability",
    "samples_beside_data",
    "surprise_heat_map",
    "two_dimensional_density",
]

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"
COLOUR_MAP = "cividis"


def learning_curve(estimator_or_history, ax=None):
    """Draw the training and validation log-density per frame over the epochs of a fit, or over its updates if it was
    validated more often than once an epoch.

    Parameters
    ----------
    estimator_or_history : fitted estimator or mapping
        An estimator with ``history_``, or such a history: the lists ``epoch``, ``loss`` (nats per frame) and, if
        there was validation data, ``validation_score`` (mean log-density in nats per frame).
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if None.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If the history is empty, as in a model made by ``from_parameters``.
    AttributeError
        For an ensemble: each of its ``members_`` has a history.
    """
    history = estimator_or_history
    if not isinstance(history, Mapping):
        history = estimator_or_history.history_
    epochs = history.get("epoch", ())
    unit = "update" if len(set(epochs)) < len(epochs) else "epoch"
    position = np.asarray(history.get(unit, ()), dtype=float)
    if position.size == 0:
        raise ValueError("The history is empty: no epoch of training was run, so there is no learning curve.")
    training = -np.asarray(history["loss"], dtype=float)
    validation = np.asarray(history.get("validation_score", np.full(position.shape, np.nan)), dtype=float)
    validated = np.isfinite(validation).any()

    ax = _axes(ax, (7, 4.2))
    marker = "o" if position.size < 3 else None  # a line through one point cannot be seen
    ax.plot(
        position,
        training,
        color=BLUE,
        linestyle="--",
        marker=marker,
        label="training (while the weights change)",
    )
    title = "Learning curve"
    if validated:
        best = int(np.nanargmax(validation))
        ax.plot(position, validation, color=VERMILION, marker=marker, label="validation")
        ax.axvline(position[best], color=GREY, linestyle=":", linewidth=1)
        ax.plot(position[best], validation[best], "o", color=VERMILION, label=f"best {unit}: {position[best]:.0f}")
        title += f": best on validation at {unit} {position[best]:.0f}, {validation[best]:+.2f} nats per frame"
    _limit_to_most(ax, np.concatenate([training, validation]))
    ax.set(xlabel=unit, ylabel="log-density (nats per frame)", title=title)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", framealpha=1)
    return ax


def surprise_heat_map(estimator, X, ax=None, feature_names=None):
    """Draw the surprise of every dimension of every frame of one sequence, in nats.

    Parameters
    ----------
    estimator : fitted estimator
        It must have ``score_dims``. With a static model, each row of `X` stands by itself.
    X : array of shape (T, D)
        One sequence.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if None.
    feature_names : sequence of D strings, default=None
        Names of the dimensions; by default ``feature_names_in_`` of the estimator, or x0, x1, ...

    Returns
    -------
    ax : matplotlib Axes
        Its first image holds the surprise, of shape (D, T).

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If `X` is not one sequence, or there are not D `feature_names`.
    """
    _one_sequence("surprise_heat_map", X)
    surprise = -np.asarray(estimator.score_dims(X))  # (T, D); X as it came, with the names of its columns
    n_frames, n_features = surprise.shape
    names = names_of_features(estimator, n_features, feature_names)
    frame, dimension = np.unravel_index(np.argmax(surprise), surprise.shape)

    highest = f"{surprise[frame, dimension]:.1f} nats, at frame {frame} in {names[dimension]}"
    ax = _axes(ax, (min(14, max(7, 0.12 * n_frames)), min(9, max(3, 0.32 * n_features + 1.4))))
    image = ax.imshow(surprise.T, origin="upper", aspect="auto", interpolation="nearest", cmap=COLOUR_MAP)
    ax.figure.colorbar(image, ax=ax, label="surprise (nats)")
    ax.plot(
        frame,
        dimension,
        "o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor="white",
        markeredgewidth=4,
    )
    ax.plot(
        frame,
        dimension,
        "o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=VERMILION,
        markeredgewidth=2,
    )
    if n_features <= 30:
        ax.set_yticks(range(n_features), names)
    ax.set(
        xlabel="frame (the first is 0)",
        ylabel="dimension",
        title=f"Surprise: the highest is {highest}",
    )
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def samples_beside_data(real, sampled, dims=(0, 1, 2), fig=None, feature_names=None):
    """Draw real trajectories on the left and sampled ones on the right, one row of axes for each dimension.

    Parameters
    ----------
    real, sampled : sequence of arrays of shape (T_i, D), or array of shape (N, T, D)
        Trajectories; all of them are drawn. A few of each (3 to 20), of similar lengths, are easiest to compare.
    dims : sequence of int, default=(0, 1, 2)
        Dimensions to draw; those that the data do not have are left out.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if None.
    feature_names : sequence of D strings, default=None
        Names of the dimensions; by default those of a SequenceBatch or of DataFrames, or x0, x1, ...

    Returns
    -------
    axes : array of matplotlib Axes, shape (len(dims), 2)
        Column 0 has the real trajectories, column 1 the sampled ones, on the same scales.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If there is nothing to draw, or what is given are not trajectories.
    """
    if feature_names is None and len(real):
        of_batch = getattr(real, "feature_names", None)
        feature_names = getattr(next(iter(draws_of_table(real))), "columns", None) if of_batch is None else of_batch
    real, sampled = ([np.asarray(x) for x in draws_of_table(given)] for given in (real, sampled))
    if not real or not sampled:
        raise ValueError("samples_beside_data needs at least one real and one sampled trajectory.")
    for x in (*real, *sampled):
        if x.ndim != 2 or x.shape[1] != real[0].shape[1]:
            raise ValueError(
                "samples_beside_data draws trajectories: lists of arrays (T_i, D) that all have the same D, or arrays "
                f"(N, T, D). Got one of shape {x.shape} beside one of shape {real[0].shape}."
            )
    n_features = real[0].shape[1]
    dims = [d for d in dims if d < n_features]
    if not dims:
        raise ValueError(f"None of dims is a dimension of the data, which are 0 ... {n_features - 1}.")
    names = names_of_features(None, n_features, feature_names)

    if fig is None:
        fig = _new_figure((9, 1 + 1.7 * len(dims)))
    axes = fig.subplots(len(dims), 2, sharex=True, sharey="row", squeeze=False)
    for row, d in zip(axes, dims, strict=True):
        for ax, sequences, colour in zip(row, (real, sampled), (BLUE, VERMILION), strict=True):
            for x in sequences:
                ax.plot(x[:, d], color=colour, alpha=0.6, linewidth=1.2)
            ax.grid(alpha=0.3)
        row[0].set_ylabel(f"{names[d]} (units of the data)" if len(dims) == 1 else names[d])
    axes[0, 0].set_title(f"{len(real)} real trajectories")
    axes[0, 1].set_title(f"{len(sampled)} sampled trajectories")
    for ax in axes[-1]:
        ax.set_xlabel("frame (the first is 0)")
    if len(dims) > 1:
        fig.supylabel("value (units of the data)")
    return axes


def two_dimensional_density(estimator, X, ax=None, *, n_grid=200, feature_names=None):
    """Draw the log-density of a static model of two dimensions, with the data on top.

    Parameters
    ----------
    estimator : fitted RNADE with two features
    X : array of shape (M, 2)
        Data, drawn as dots. Their range, widened by a tenth on every side, is that of the picture.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if None.
    n_grid : int, default=200
        Number of grid points along each axis.
    feature_names : sequence of 2 strings, default=None
        Names of the dimensions; by default ``feature_names_in_`` of the estimator, or x0, x1.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If the data do not have two dimensions, or the model is one of sequences.
    """
    given, X = X, np.asarray(X)
    if X.ndim != 2 or X.shape[1] != 2:
        raise ValueError(f"two_dimensional_density draws data of shape (M, 2). Got shape {X.shape}.")
    if "n_recurrent" in estimator.get_params():
        raise ValueError(
            "two_dimensional_density draws static models; a model of sequences has another density after every past."
        )
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.1 * np.where(high > low, high - low, 1.0)
    x, y = (np.linspace(a, b, n_grid) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if hasattr(given, "columns"):  # with the names that the estimator was fitted with
        grid = type(given)(dict(zip(given.columns, grid.T, strict=True)))
    log_density = np.asarray(estimator.score_samples(grid)).reshape(n_grid, n_grid)
    names = names_of_features(estimator, 2, feature_names)

    ax = _axes(ax, (6.4, 5.2))
    top = log_density.max()
    mesh = ax.pcolormesh(
        x, y, log_density, shading="nearest", cmap=COLOUR_MAP, vmin=top - 12, vmax=top, rasterized=True
    )
    ax.figure.colorbar(mesh, ax=ax, label="log-density (nats)", extend="min")
    ax.plot(X[:, 0], X[:, 1], ".", color=VERMILION, markersize=2.5, alpha=0.7)
    ax.set(
        xlabel=names[0],
        ylabel=names[1],
        title=f"Log-density of {type(estimator).__name__}, and {len(X)} data points",
    )
    return ax


def calibration(report, fig=None):
    """Draw a calibration report: `pit_histogram` of all dimensions together on the left, `reliability` on the right.

    Parameters
    ----------
    report : Calibration
        From ``estimator.calibration(X)``.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if None.

    Returns
    -------
    axes : array of matplotlib Axes, shape (2,)

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    if fig is None:
        fig = _new_figure((10.5, 4.4))
    axes = fig.subplots(1, 2)
    pit_histogram(report, axes[0])
    reliability(report, axes[1])
    return axes


def pit_histogram(report, ax=None, *, dimension=-1):
    """Draw the histogram of the probability integral transforms (PIT) of one dimension, or of all together.

    Bars that are high at both ends mean that the conditionals are too narrow; bars that are high in the middle, that
    they are too wide; a slope means a bias.  If the model is calibrated, a bar ends in the grey band with probability
    95 %.

    Parameters
    ----------
    report : Calibration
        From ``estimator.calibration(X)``.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if None.
    dimension : int, default=-1
        Row of the report; the last one is for all dimensions together.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    from scipy.stats import binom

    n, bins = report.n[dimension], len(report.edges) - 1
    low, high = (binom.ppf(q, n, 1 / bins) * bins / n for q in (0.025, 0.975))
    ax = _axes(ax, (5.2, 4.2))
    density = report.counts[dimension] * bins / n
    ax.bar(report.edges[:-1], density, width=1 / bins, align="edge", color=BLUE, alpha=0.75, edgecolor="white")
    ax.axhspan(low, high, color=GREY, alpha=0.35, linewidth=0, zorder=2, label="95 % band of a calibrated model")
    ax.axhline(1, color="black", linewidth=1, linestyle="--")
    what = "all dimensions" if report.names[dimension] == "all" else report.names[dimension]
    ax.set(
        xlabel="probability integral transform (PIT)",
        ylabel="density",
        xlim=(0, 1),
        ylim=(0, 1.2 * max(density.max(), high)),
        title=f"PIT of {what}: KS distance {report.ks_statistic[dimension]:.3f}, "
        f"p = {report.ks_pvalue[dimension]:.2g} ({n} values)",
    )
    ax.title.set_fontsize("medium")
    ax.legend(loc="upper right", framealpha=1)
    return ax


def reliability(report, ax=None):
    """Draw the share of observations that the central intervals cover against the share that they should cover.

    A curve above the diagonal means that the conditionals are too wide; below it, that they are too narrow.

    Parameters
    ----------
    report : Calibration
        From ``estimator.calibration(X)``.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if None.

    Returns
    -------
    ax : matplotlib Axes
        Its lines are one for each dimension, one for all together, and the diagonal.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    ax = _axes(ax, (5.2, 4.2))
    off = np.abs(report.coverage[:-1] - report.nominal).max(axis=1)
    worst = int(np.argmax(off))
    for d, coverage in enumerate(report.coverage[:-1]):
        if d == worst:
            ax.plot(report.nominal, coverage, color=VERMILION, zorder=3, label=f"the farthest off: {report.names[d]}")
        else:
            other = "the other dimensions" if d == (worst == 0) else None
            ax.plot(report.nominal, coverage, color=GREY, alpha=0.6, linewidth=0.8, label=other)
    ax.plot(report.nominal, report.coverage[-1], color=BLUE, linewidth=2.2, zorder=4, label="all dimensions")
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    ax.set(
        xlabel="probability of the central interval",
        ylabel="share of observations inside",
        xlim=(0, 1),
        ylim=(0, 1),
        title="Reliability: above the diagonal, too wide",
    )
    ax.title.set_fontsize("medium")
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", framealpha=1)
    return ax


def conditional_densities(estimator, X, frame, dims=None, fig=None, feature_names=None):
    """Draw the density of each dimension of one frame, given its past and the dimensions before it.

    Parameters
    ----------
    estimator : fitted RNADE or RNNRNADE
    X : array of shape (T, D)
        One sequence; with a static model, rows.
    frame : int
        Which frame (or row) of X; negative numbers count from the end.
    dims : sequence of int, default=None
        Dimensions to draw; by default the first twelve.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if None.
    feature_names : sequence of D strings, default=None
        Names of the dimensions; by default ``feature_names_in_`` of the estimator, or x0, x1, ...

    Returns
    -------
    axes : array of matplotlib Axes, shape (len(dims),)
        The first line of each is the density, per unit of X; then come the observed value and the conditional mean.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If `X` is not one sequence or has no such frame, or the model is binary.
    """
    x = _one_sequence("conditional_densities", X)
    if not isinstance(frame, Integral) or not -len(x) <= frame < len(x):
        raise ValueError(
            f"conditional_densities draws a frame of one sequence (T, D): shape {x.shape} has no frame {frame!r}."
        )
    frame %= len(x)
    distribution = estimator._head.distribution
    if not distribution.continuous:
        raise ValueError(
            "conditional_densities draws densities; for a binary model, predict_params(X) gives the probabilities."
        )
    of_frames = estimator.predict_params(X[: frame + 1])  # arrays, or tables of D K columns
    parameters = (np.asarray(values).reshape(len(values), x.shape[1], -1) for values in of_frames)
    mixture = distribution(*parameters)[frame]
    dims = check_dims("dims", range(min(12, x.shape[1])) if dims is None else dims, x.shape[1])
    names = names_of_features(estimator, x.shape[1], feature_names)
    n_columns = min(4, len(dims))
    n_rows = -(-len(dims) // n_columns)
    if fig is None:
        fig = _new_figure((1 + 2.6 * n_columns, 0.8 + 1.9 * n_rows))
    axes = fig.subplots(n_rows, n_columns, squeeze=False).ravel()
    low, high = (mixture.ppf(q) for q in (0.0005, 0.9995))
    for ax, d in zip(axes, dims, strict=False):
        value, margin = x[frame, d], 0.1 * (high[d] - low[d])
        points = np.linspace(min(low[d], value) - margin, max(high[d], value) + margin, 400)
        density = np.exp(mixture[d].log_density(points))
        ax.plot(points, density, color=BLUE)
        ax.fill_between(points, density, color=BLUE, alpha=0.2, linewidth=0)
        ax.axvline(value, color=VERMILION, label="observed")
        ax.axvline(mixture[d].mean(), color="black", linestyle=":", label="mean")
        ax.set_title(f"{names[d]}: {mixture[d].log_density(value):+.2f} nats", fontsize="medium")
        ax.set_ylim(bottom=0)
    for ax in axes[len(dims) :]:
        ax.remove()
    axes[0].legend(loc="upper left", fontsize="small")
    fig.suptitle(f"Frame {frame}: density of each dimension, given the past and the dimensions before it")
    fig.supxlabel("value (units of the data)")
    fig.supylabel("density")
    return axes[: len(dims)]


def fan_chart(samples, ax=None, *, dim=0, past=None, truth=None, levels=(0.5, 0.8, 0.95), feature_name=None):
    """Draw the median and the central intervals of a forecast of one dimension over time.

    Parameters
    ----------
    samples : array of shape (n_samples, horizon, D), or DataFrame with the index (draw, time)
        Draws of the future of one sequence, from ``forecast`` or ``sample``.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if None.
    dim : int, default=0
        The dimension.
    past : array of shape (T, D), default=None
        What was known; drawn in front of the forecast.
    truth : array of shape (horizon, D), default=None
        What was observed afterwards.
    levels : sequence of float, default=(0.5, 0.8, 0.95)
        Probabilities of the central intervals.
    feature_name : str, default=None
        Name of the dimension; by default that of the column if `truth`, `past` or `samples` is a DataFrame, or x0, ...

    Returns
    -------
    ax : matplotlib Axes
        The first line is the median.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If the samples do not have three axes.
    """
    from .forecasting import quantiles

    if isinstance(samples, list | tuple) and len(samples) and np.ndim(samples[0]) == 3:
        raise ValueError(f"fan_chart draws the forecast of one sequence, but samples has {len(samples)}: give one.")
    levels = sorted(np.atleast_1d(as_probabilities("levels", levels)), reverse=True)  # the widest below the others
    if not levels:
        raise ValueError("levels must hold the probability of at least one interval. Got none.")
    check_dims("dim", [dim], np.shape(samples)[-1])
    for table in (truth, past, samples):
        if feature_name is None and hasattr(table, "columns"):
            feature_name = list(table.columns)[dim]
    tails = [(1 - level) / 2 for level in levels]
    samples = draws_of_table(samples)
    median, *edges = quantiles(samples, [0.5, *tails, *(1 - t for t in tails)])[:, :, dim]
    begin = 0 if past is None else len(past)
    frames = np.arange(begin, begin + len(median))
    ax = _axes(ax, (8, 4))
    ax.plot(frames, median, color=BLUE, label="median")
    for i, (level, low, high) in enumerate(zip(levels, edges[: len(levels)], edges[len(levels) :], strict=True)):
        shade = _lighter(BLUE, 0.85 - 0.5 * i / max(1, len(levels) - 1))
        ax.fill_between(frames, low, high, color=shade, linewidth=0, label=f"{level:.0%} interval")
    if past is not None:
        ax.plot(np.asarray(past)[:, dim], color="black", linewidth=1.2, label="past")
        ax.axvline(begin - 0.5, color=GREY, linestyle=":", linewidth=1)
    if truth is not None:
        truth = np.asarray(truth)[:, dim]
        ax.plot(begin + np.arange(len(truth)), truth, color=VERMILION, linewidth=1.2, label="observed")
    ax.set(
        xlabel="frame (the first is 0)",
        ylabel=f"{f'x{dim}' if feature_name is None else feature_name} (units of the data)",
        title=f"Forecast of {len(median)} frames from {len(samples)} draws",
    )
    ax.set_axisbelow(True)
    ax.grid(alpha=0.3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", frameon=False)
    return ax


def _one_sequence(call, X):
    """X as an array (T, D)."""
    if isinstance(X, Sequence) and len(X) and np.ndim(X[0]) == 2:
        raise ValueError(f"{call} draws one sequence, (T, D), but X is a list of {len(X)}: give X[0] or another one.")
    x = np.asarray(X)
    if x.ndim != 2:
        raise ValueError(f"{call} draws one sequence, an array of shape (T, D). Got shape {x.shape}.")
    return x


def _new_figure(size):
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "rnnrnade[plot]"') from error
    return Figure(figsize=size, layout="constrained")


def _axes(ax, size):
    return _new_figure(size).subplots() if ax is None else ax


def _lighter(colour, share):
    """The colour mixed with a share of white."""
    from matplotlib.colors import to_rgb

    return tuple(share + (1 - share) * part for part in to_rgb(colour))


def _limit_to_most(ax, values):
    """Keep a few wild first epochs from flattening the rest of the curve."""
    values = values[np.isfinite(values)]
    if values.size >= 20:
        low, high = np.quantile(values, 0.05), values.max()
        ax.set_ylim(low - 0.1 * (high - low or 1.0), high + 0.08 * (high - low or 1.0))
