"""
A fault in a recording of many sensors
======================================

A pump is recorded by six sensors. In one recording the pressure sensor freezes for two seconds, at a value that
is quite usual in itself, and later there is a leak: the flow falls below what the speed and the valve should give.
Neither leaves the range of its channel, so limits on single channels see nothing. A density model that has
learned how the channels depend on each other finds both, says when, and names the channel.
"""

# %%
# The recordings
# --------------
# A simulation, :func:`~rnnrnade.datasets.make_pump`, so that we know what is normal and where the faults are. An
# operator moves the speed and the valve; pressure, flow, current and vibration follow, with noise. There are twenty
# frames a second.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from rnnrnade import RNNRNADE, plotting
from rnnrnade.datasets import make_pump

pump = make_pump(30, 400, random_state=0)
FAULTS = {"frozen": pump.frozen, "leak": pump.leak}


def named(recording):
    return pd.DataFrame(recording, columns=pump.feature_names)


train, normal, faulty = [named(x) for x in pump.train], [named(x) for x in pump.normal], named(pump.faulty)

fig, axes = plt.subplots(6, sharex=True, figsize=(9, 7), layout="constrained")
for ax, name in zip(axes, pump.feature_names):
    ax.plot(faulty[name], color="#0072B2", linewidth=1)
    ax.axhspan(*np.quantile(np.concatenate([x[name] for x in train]), [0.001, 0.999]), color="#767676", alpha=0.15)
    for fault in FAULTS.values():
        ax.axvspan(fault.start, fault.stop, color="#D55E00", alpha=0.2)
    ax.set_ylabel(name)
axes[-1].set_xlabel("frame")
fig.suptitle("Two faults (shaded): every channel stays in its usual range (grey band)")
plt.show()

# %%
# The model
# ---------
# It is trained on normal recordings only. The density of each channel is given the past and the channels before it, so
# the columns are in an order in which what drives comes before what is driven. ``transform="whiten"`` puts no
# linear prediction from the last frames in front, although one would suit data this smooth: such a prediction follows
# a slow fault, and is surprised by its beginning only.

model = RNNRNADE(transform="whiten", max_epochs=80, random_state=0).fit(train)
print(f"{model.score(normal):.2f} nats a frame on new normal recordings, {model.score(faulty):.2f} on the faulty one")

# %%
# When to raise an alarm
# ----------------------
# :meth:`~rnnrnade.RNNRNADE.alarm_threshold` gives the log-density below which a normal frame falls with a given
# probability, and how certain that is. It wants recordings that the model was not trained on.

alarm = model.alarm_threshold(normal, rate=1e-3)
print(alarm)
frames = model.score_frames(faulty)
alarms = np.flatnonzero(frames < alarm.threshold)
print(f"{len(alarms)} alarms in {len(frames)} frames:", end=" ")
inside = {name: int(((alarms >= fault.start) & (alarms < fault.stop)).sum()) for name, fault in FAULTS.items()}
print(
    f"{inside['frozen']} while frozen, {inside['leak']} while leaking, {len(alarms) - sum(inside.values())} elsewhere"
)

# %%
# Who is to blame
# ---------------
# :meth:`~rnnrnade.RNNRNADE.explain` ranks frames and, in each, dimensions: what was observed, what was expected,
# and the probability of a value at most as large as the observed one (``pit``).

table = model.explain(faulty, top=len(alarms))
print(table.head(5).round(2).drop(columns=["sequence", "index"]).to_string(index=False))
print(table.groupby("dimension").frame.agg(["count", "min", "max"]))

# %%
# The heat map shows every dimension of every frame. A frozen sensor is not surprising as such: what it says is
# likely as long as it happens to agree with the others, and becomes more surprising the farther they move away
# from it. Other channels light up too, although their sensors are right, because what comes next is predicted from
# a past in which the model has read wrong values.

# sphinx_gallery_thumbnail_number = 2
fig, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
plotting.surprise_heat_map(model, faulty, ax=ax)
plt.show()

# %%
# The conditional densities of one frame show what "expected" means. The vertical line is what was recorded.

worst = int(frames.argmin())
plotting.conditional_densities(model, faulty, worst, fig=plt.figure(figsize=(11, 4.6), layout="constrained"))
plt.show()

# %%
# Two things to know. A dimension is blamed given those before it: had the speed sensor failed, the flow would be
# surprising too. And log-densities depend on the units of the data, so thresholds cannot be carried from one kind of
# data to another.
