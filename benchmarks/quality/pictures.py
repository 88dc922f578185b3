"""What the pictures of the experiments share: a folder, and animations."""

import shutil

from ..report import RESULTS
from ..report import canvas as canvas


def path(name):
    """Where a picture goes; git ignores it."""
    RESULTS.mkdir(exist_ok=True)
    return RESULTS / name


def save(figure, name):
    """Write results/<name>.png and say so."""
    where = path(f"{name}.png")
    figure.savefig(where, dpi=110)
    print(f"written: benchmarks/results/{where.name}")


def animate(figure, update, n_frames, name, *, fps=8):
    """Write results/<name>.gif, and .mp4 where ffmpeg is: `update(i)` draws frame i into the figure."""
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

    figure.canvas.draw()
    figure.set_layout_engine("none")  # as it lies now: finding it anew takes most of the time of a frame
    animation = FuncAnimation(figure, lambda i: update(i) or (), frames=n_frames, blit=False)
    writers = {"gif": PillowWriter(fps=fps)}
    if shutil.which("ffmpeg"):
        writers["mp4"] = FFMpegWriter(fps=fps)
    for ending, writer in writers.items():
        where = path(f"{name}.{ending}")
        animation.save(where, writer=writer, dpi=80)
        print(f"written: benchmarks/results/{where.name}")
