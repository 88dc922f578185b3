"""Files and pictures of results."""

import json
from pathlib import Path

RESULTS = Path(__file__).with_name("results")


def write(name, report):
    """Write results/<name>.json; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


def table(columns, rows):
    """Text of a table; the first column to the left."""
    cells = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def canvas(columns=1, rows=1):
    """(figure, axes as a flat list), or None with a note where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        print("no pictures: matplotlib is missing")
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(max(7, 4.2 * columns), 3.6 * rows), squeeze=False, layout="constrained"
    )
    return figure, list(axes.flat)


def grouped_bars(ax, groups, series):
    """Bars side by side: series maps a label to one number (or None) for each group."""
    width = 0.8 / max(len(series), 1)
    for i, (label, values) in enumerate(series.items()):
        known = [(g + (i - (len(series) - 1) / 2) * width, v) for g, v in enumerate(values) if v is not None]
        if known:
            bars = ax.bar(*zip(*known, strict=True), width, label=label)
            ax.bar_label(bars, fmt="%.2g", fontsize=6)
    ax.set_xticks(range(len(groups)), groups)
    ax.set_ylim(top=1.3 * ax.get_ylim()[1])  # room for the legend
    ax.legend(fontsize="x-small", ncols=2, loc="upper center")


def save(figure, name, described):
    """Write results/<name>.png with date and machine below; returns its path."""
    figure.supxlabel(
        f"{described['date']}, {described['processor']}, {described['threads']} of {described['cores']} cores",
        fontsize="x-small",
    )
    path = RESULTS / f"{name}.png"
    figure.savefig(path, dpi=130)
    return path
