"""
A fault in a recording of many sensors
======================================

A pump is recorded by six sensors. In one recording the pressure sensor freezes for two seconds, at a value that
is quite usual by itself, and later the flow falls for a while below what the speed and the valve would give.
Neither leaves the range of its channel, so limits on single channels see nothing. A density model that has
learned how the channels hang together in time finds both, says when, and names the channels.
"""

# %%
# The recordings
# --------------
# A simulation, so that we know what is normal and where the faults are. An operator moves the speed and the
# valve; flow, pressure, current and vibration follow, with noise. Twenty frames are a second.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from rnnrnade import RNNRNADE, plotting

CHANNELS = ["speed", "valve", "flow", "pressure", "current", "vibration"]


def wander(generator, n_frames, low, high):
    """A value that moves smoothly between two limits."""
    noise = generator.normal(size=n_frames + 400)
    smooth = gaussian_filter1d(noise, 20)[200 : 200 + n_frames]
    return low + (high - low) / (1 + np.exp(-smooth / 0.06))


def record(seed, n_frames=500, leak=slice(0, 0), frozen=slice(0, 0)):
    generator = np.random.default_rng(seed)
    speed = wander(generator, n_frames, 20, 50)
    valve = wander(generator, n_frames, 0.3, 1.0)
    flow = 2 * speed * valve
    flow[leak] *= 0.8
    pressure = 0.004 * speed**2 * (1.4 - valve)
    current = 1 + 0.02 * pressure * flow / speed + 0.15 * speed
    clean = np.stack([speed, valve, flow, pressure, current], axis=1)
    recorded = clean + generator.normal(size=clean.shape) * [0.2, 0.01, 1.0, 0.1, 0.1]
    vibration = 0.001 * speed**2 * generator.lognormal(0, 0.3, n_frames)
    recorded[frozen, 3] = recorded[frozen.start, 3]
    return pd.DataFrame(np.column_stack([recorded, vibration]), columns=CHANNELS)


train = [record(seed) for seed in range(30)]
validation = [record(seed) for seed in range(100, 108)]
FROZEN, LEAK = slice(180, 220), slice(380, 420)
faulty = record(200, leak=LEAK, frozen=FROZEN)

fig, axes = plt.subplots(len(CHANNELS), sharex=True, figsize=(9, 7), layout="constrained")
for ax, name in zip(axes, CHANNELS):
    ax.plot(faulty[name], color="#0072B2", linewidth=1)
    ax.axhspan(*np.quantile(np.concatenate([x[name] for x in train]), [0.001, 0.999]), color="#767676", alpha=0.15)
    for fault in (FROZEN, LEAK):
        ax.axvspan(fault.start, fault.stop, color="#D55E00", alpha=0.2)
    ax.set_ylabel(name)
axes[-1].set_xlabel("frame")
fig.suptitle("Two faults (shaded): every channel stays in its usual range (grey band)")
plt.show()

# %%
# The model
# ---------
# Trained on normal recordings only. The order of the dimensions is that of the columns: the density of each
# channel is given the past and the channels before it, so what drives comes before what is driven. No linear
# predictor stands in front, although it would suit data so smooth: one that predicts each frame from the last two
# follows a slow fault, and is surprised by its beginning only.

model = RNNRNADE(
    n_components=3,
    n_hidden=50,
    n_recurrent=50,
    min_scale=0.05,
    transform="standardize",
    max_epochs=300,
    random_state=0,
).fit(train)
print(f"{model.n_iter_} epochs, {model.history_['seconds'][-1]:.0f} s")
print(
    f"{model.score(validation):.2f} nats a frame on validation recordings, {model.score(faulty):.2f} on the faulty one"
)

# %%
# When to raise an alarm
# ----------------------
# :meth:`~rnnrnade.RNNRNADE.alarm_threshold` gives the log-density below which a normal frame falls with at most
# the given probability, from recordings that the model was not trained on, and how sure that is.

alarm = model.alarm_threshold(validation, rate=1e-3)
print(alarm)
frames = model.score_frames(faulty)
alarms = np.flatnonzero(frames < alarm.threshold)
inside = [(alarms >= fault.start) & (alarms < fault.stop) for fault in (FROZEN, LEAK)]
print(f"{len(alarms)} alarms in {len(frames)} frames:", end=" ")
print(f"{inside[0].sum()} while frozen, {inside[1].sum()} while leaking, {(~(inside[0] | inside[1])).sum()} elsewhere")

# %%
# Who is to blame
# ---------------
# :meth:`~rnnrnade.RNNRNADE.explain` ranks frames and, in each, dimensions: what was observed, what was expected,
# and the probability of a value at most as large as the observed one (``pit``).

table = model.explain(faulty, top=len(alarms))
print(table.head(5).round(2).drop(columns=["sequence", "index"]).to_string(index=False))
print(table.groupby("dimension").frame.agg(["count", "min", "max"]))

# %%
# The heat map has every dimension of every frame. A frozen sensor is not surprising as such: what it says is
# likely as long as it happens to agree with the others, and is the more surprising the farther they move away
# from it. Speed and valve light up as well, although their sensors are right: what comes next is predicted from a
# past that the model has read with the wrong values in it.

fig, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
plotting.surprise_heat_map(model, faulty, ax=ax)
ax.set_xlim(150, 450)
plt.show()

# %%
# The conditional densities of one frame show what "expected" means: the vertical line is what was recorded.

worst = int(frames.argmin())
plotting.conditional_densities(model, faulty, worst, fig=plt.figure(figsize=(11, 4.6), layout="constrained"))
plt.show()

# %%
# Two things to know. A dimension is blamed given those before it: had the speed sensor failed, the flow would be
# surprising too. And a log-density is one in the units of the data: thresholds of models of different data cannot
# be compared.
