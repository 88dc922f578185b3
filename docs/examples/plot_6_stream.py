"""
Watching a stream
=================

Frames arrive one at a time, and each must be judged at once. A stream keeps what the model remembers of the past, so
that an update takes the same short time after a minute as after a month. Its log-densities are the same bits as those
of the whole recording.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from rnnrnade import RNNRNADE
from rnnrnade.datasets import make_pump

# %%
# Before the watch
# ----------------
# A model of normal recordings, and a threshold from other normal recordings. One normal frame in a thousand
# falls below it.

pump = make_pump(30, 400, random_state=1)
names = pump.feature_names
model = RNNRNADE(n_hidden=50, n_recurrent=50, transform="whiten", max_epochs=80, random_state=0).fit(pump.train)
threshold = model.alarm_threshold(pump.normal, rate=0.001).threshold
print(f"alarm below {threshold:.1f} nats")

# %%
# The watch
# ---------
# ``update`` returns the log-density of the frame that has just come. With ``dims=True`` it returns those of its
# channels too, which say where to look.

stream = model.stream()
scores, blamed = [], []
start = time.perf_counter()
for frame in pump.faulty:
    score = stream.update(frame, dims=True)
    scores.append(score.log_density)
    blamed.append(int(np.argmin(score.dims)))
print(f"{1e6 * (time.perf_counter() - start) / len(scores):.0f} microseconds a frame")

scores, blamed = np.array(scores), np.array(blamed)
alarms = np.flatnonzero(scores < threshold)
for name, fault in (("frozen pressure sensor", pump.frozen), ("leak", pump.leak)):
    seen = alarms[(alarms >= fault.start) & (alarms < fault.stop)]
    found = f"first alarm {seen[0] - fault.start} frames after it began" if len(seen) else "not found"
    print(f"{name}: {len(seen)} of {fault.stop - fault.start} frames are alarms; {found}")
outside = [t for t in alarms if not any(fault.start <= t < fault.stop for fault in (pump.frozen, pump.leak))]
print(f"alarms elsewhere: {[int(t) for t in outside]} (the frame after the sensor came back)")

# %%
# The control room's picture
# --------------------------
# The leak is seen in its first frame. The frozen sensor is another matter: while the true pressure stays close to where
# it froze, there is nothing to see; then the log-density falls and falls.

fig, axes = plt.subplots(2, figsize=(10, 5.6), sharex=True, height_ratios=[1.3, 1], layout="constrained")
axes[0].plot(scores, color="#0072B2", linewidth=1)
axes[0].axhline(threshold, color="#D55E00", linewidth=1, linestyle="--")
axes[0].plot(alarms, scores[alarms], "o", color="#D55E00", markersize=4, label="alarm")
axes[0].set_yscale("symlog", linthresh=20)
axes[0].set(ylabel="log-density (nats)", title="Each frame as it arrives. Dashed: the threshold; shaded: the faults")
axes[0].legend(loc="lower left")
for d in range(len(names)):
    at = alarms[blamed[alarms] == d]
    axes[1].plot(at, np.full(len(at), d), "|", color="#D55E00", markersize=14)
axes[1].set_yticks(range(len(names)), names)
axes[1].set(xlabel="frame", ylim=(len(names) - 0.5, -0.5), title="The channel to blame in each alarm")
for ax in axes:
    for fault in (pump.frozen, pump.leak):
        ax.axvspan(fault.start, fault.stop - 1, color="#767676", alpha=0.2)
plt.show()

# %%
# A copy of a stream goes its own way: what would the model say to a frame that has not come yet?

what_if = stream.copy().update(pump.faulty[-1] * [1, 1, 1, 0.5, 1, 1], dims=True)
print(f"the last frame again, with half its flow: {what_if.log_density:.0f} nats, {names[np.argmin(what_if.dims)]}")
