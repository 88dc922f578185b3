"""Draw docs/_static/surprise.png, the picture of the README: what the twelve lines there find.

python tools/picture.py [FILE]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from rnnrnade import RNNRNADE, plotting
from rnnrnade.datasets import make_pump

TARGET = Path(__file__).parents[1] / "docs" / "_static" / "surprise.png"


def main(path=TARGET):
    pump = make_pump(20, 400, random_state=0)
    model = RNNRNADE(transform="whiten", max_epochs=40, random_state=0).fit(pump.train)
    alarm = model.alarm_threshold(pump.normal, rate=0.001)
    alarms = np.flatnonzero(model.score_frames(pump.faulty) < alarm.threshold)

    fig, axes = plt.subplots(2, figsize=(9, 4.6), sharex=True, height_ratios=[1, 1.5], layout="constrained")
    flow = pump.feature_names.index("flow")
    usual = np.quantile(np.concatenate(pump.train)[:, flow], [0.001, 0.999])
    axes[0].axhspan(*usual, color="#767676", alpha=0.15)
    axes[0].plot(pump.faulty[:, flow], color="#0072B2", linewidth=1.2)
    axes[0].axvspan(pump.leak.start, pump.leak.stop - 1, color="#D55E00", alpha=0.2)
    axes[0].set(ylabel="flow", title="What the sensor says: a leak (shaded), well inside the usual range (grey)")
    plotting.surprise_heat_map(model, pump.faulty, ax=axes[1], feature_names=pump.feature_names)
    axes[1].plot(alarms, np.full(len(alarms), -0.9), "|", color="#D55E00", markersize=7, clip_on=False)
    axes[1].set_title("What the model says: surprise of each sensor in each frame; the bars above are alarms", pad=14)
    axes[1].set_ylabel("")
    fig.savefig(path, dpi=100)
    inside = np.isin(np.arange(400)[pump.leak], alarms)
    frozen = np.isin(np.arange(400)[pump.frozen], alarms)
    print(f"{len(alarms)} alarms: {inside.sum()} of {len(inside)} frames of the leak, {frozen.sum()} while frozen")


if __name__ == "__main__":
    main(*sys.argv[1:])
