"""
Filling gaps
============

A sensor drops out for a second. What did it miss? The model draws what may have been, given everything else: the other
channels at that moment, and all channels before and after. Many draws give a band, not one number, and the band says
how much can be known.
"""

import matplotlib.pyplot as plt
import numpy as np

from rnnrnade import RNNRNADE
from rnnrnade.datasets import make_pump

# %%
# A model that takes gaps
# -----------------------
# ``missing="marginalize"`` lets a model score and fill data with NaN. The training data must be complete.

pump = make_pump(30, 300, random_state=2)
names, FLOW = pump.feature_names, pump.feature_names.index("flow")
model = RNNRNADE(
    n_components=3,
    n_hidden=30,
    n_recurrent=30,
    transform="whiten",
    missing="marginalize",
    max_epochs=60,
    random_state=0,
).fit(pump.train)

# %%
# Ten recordings with a gap
# -------------------------
# The flow is missing in 20 frames of each. :meth:`~rnnrnade.RNNRNADE.impute` returns draws; where nothing is missing,
# they all equal the data.

GAP = slice(60, 80)
whole = [x[:100] for x in pump.normal[:10]]
with_gap = [x.copy() for x in whole]
for x in with_gap:
    x[GAP, FLOW] = np.nan
draws = model.impute(with_gap, 100, random_state=0)
print(len(draws), draws[0].shape)

# %%
# Are they right?
# ---------------
# The mean of the draws is compared with a straight line from the last value before the gap to the first one after it,
# which is what many would fill in. And nine in ten of the true values should lie in the 90 % bands.

truth = np.array([x[GAP, FLOW] for x in whole])
filled = np.array([d[:, GAP, FLOW] for d in draws])
edges = [np.linspace(x[GAP.start - 1, FLOW], x[GAP.stop, FLOW], 22)[1:-1] for x in whole]
low, high = np.quantile(filled, [0.05, 0.95], axis=1)
print(f"root mean square error: mean of the draws {np.sqrt(np.mean((filled.mean(axis=1) - truth) ** 2)):.2f}", end=", ")
print(f"straight line {np.sqrt(np.mean((np.array(edges) - truth) ** 2)):.2f} (noise of the sensor: 1)")
print(f"inside the 90 % band: {np.mean((low <= truth) & (truth <= high)):.0%} of {truth.size} values")

worst = int(np.argmax(np.abs(np.array(edges) - truth).max(axis=1)))
frames = np.arange(GAP.start, GAP.stop)
fig, ax = plt.subplots(figsize=(9, 4), layout="constrained")
ax.plot(whole[worst][:, FLOW], color="#767676", linewidth=1, label="what the sensor would have said")
ax.fill_between(frames, low[worst], high[worst], color="#0072B2", alpha=0.25, label="90 % of the draws")
ax.plot(frames, filled[worst][:5].T, color="#0072B2", linewidth=0.7)
ax.plot(frames, edges[worst], color="#D55E00", linestyle="--", label="a straight line")
ax.axvspan(GAP.start, GAP.stop - 1, color="#767676", alpha=0.12)
ax.set(xlabel="frame", ylabel="flow", title="A gap of 20 frames, and five of a hundred ways to fill it")
ax.legend(loc="best", frameon=False)
plt.show()

# %%
# What to be careful about. Use several draws in what follows, not their mean: a mean is smoother than any recording.
# Gaps that are not at the end are filled by a particle filter, so the result is Monte Carlo, and long gaps in long
# sequences take many particles (``n_particles``).
