"""
Simulation of motion
====================

A point moves in the plane: at each step it turns right, goes straight on, or turns left. The model sees only
positions. It has to discover that the next position lies near one of three places, which depend on the last two
positions; no single Gaussian can express that. The density of these data is known, so we can measure how far the model
is from the best possible score.
"""

import matplotlib.pyplot as plt
import numpy as np

from rnnrnade import RNADE, RNNRNADE, Linear, plotting
from rnnrnade.datasets import make_trajectories, trajectory_log_density

train = make_trajectories(300, 60, random_state=0)
test = make_trajectories(100, 60, random_state=1)

# %%
# The steps
# ---------
# First without time: the step from one position to the next, in coordinates that turn with the heading. These are
# vectors of two numbers, whose density :class:`~rnnrnade.RNADE` learns. Each dimension, given those before it, is a
# mixture of Gaussians; their product has three blobs on a circle.


def steps(trajectories):
    """Displacements, turned so that the one before points to the right."""
    moves = [np.diff(x, axis=0) @ [1, 1j] for x in trajectories]
    turned = np.concatenate([move[1:] / (move[:-1] / abs(move[:-1])) for move in moves])
    return np.stack([turned.real, turned.imag], axis=1)


static = RNADE(n_components=5, n_hidden=30, max_epochs=60, batch_size=200, random_state=0).fit(steps(train))
fig, ax = plt.subplots(figsize=(5, 6), layout="constrained")
plotting.two_dimensional_density(static, steps(test)[:1500], ax=ax, feature_names=["ahead", "to the left"])
ax.set(aspect="equal", title="Log-density of a step")
plt.show()

# %%
# The paths
# ---------
# :class:`~rnnrnade.RNNRNADE` models whole paths. ``Linear(lags=2, covariance="full")`` in front predicts straight
# on from the last two frames; the net models what is left, given its memory of the past.

model = RNNRNADE(
    n_components=6,
    n_hidden=40,
    n_recurrent=60,
    cell="gru",
    transform=Linear(lags=2, covariance="full"),
    max_epochs=80,
    random_state=0,
).fit(train)
best = np.mean(np.concatenate(trajectory_log_density(test)))
linear = RNNRNADE(1, 0, n_recurrent=1, transform=Linear(lags=2, covariance="full"), max_epochs=1, random_state=0).fit(
    train
)
print(f"the true density     {best:+.3f} nats a frame: no model can be better in the long run")
print(f"RNNRNADE             {model.score(test):+.3f}")
print(f"linear and Gaussian  {linear.score(test):+.3f}")

# %%
# Samples are draws from the very density that is scored. They turn by the same angles as the data, and stay near the
# origin as the data do.

sampled = model.sample(6, 60, random_state=0)
fig, axes = plt.subplots(1, 2, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
for ax, paths, title in zip(axes, (test[:6], sampled), ("data", "samples")):
    for path in paths:
        ax.plot(*path.T, ".-", linewidth=0.8, markersize=3)
    ax.set(title=title, aspect="equal", xlabel="x")
axes[0].set_ylabel("y")
plt.show()

plotting.samples_beside_data(
    test[:6], sampled, fig=plt.figure(figsize=(9, 4.4), layout="constrained"), feature_names=["x", "y"]
)
plt.show()

# %%
# Does it only look that way? Here are the turns and the distance from the origin in numbers, over many samples.


def summary(trajectories):
    angles = np.degrees(np.angle(steps(trajectories) @ [1, 1j]))
    shares = [np.mean(np.abs(angles - turn) < 30) for turn in (-60, 0, 60)]
    return *shares, np.mean([np.linalg.norm(x, axis=1).mean() for x in trajectories])


for name, paths in (("data", test), ("samples", model.sample(100, 60, random_state=1))):
    print("{:8} right {:.2f}  straight {:.2f}  left {:.2f}  mean distance {:.2f}".format(name, *summary(paths)))

# %%
# One path, and what the model expects
# ------------------------------------
# At each step: ten draws of the next frame (crosses), the mean of the prediction (square) and what came (circle).
# The mean lies between the three places, where the point hardly ever goes. A model that predicts only means would be
# wrong at most steps.

path, first, n_shown = test[2], 10, 9
fig, axes = plt.subplots(3, 3, figsize=(9, 9), layout="constrained")
for i, ax in enumerate(axes.flat):
    t = first + i
    draws = model.forecast(path[:t], 1, 1000, random_state=t)[:, 0]
    mean, draws = draws.mean(axis=0), draws[:10]
    ax.plot(*path[t - 4 : t].T, "o-", color="#767676", markersize=3, linewidth=1)
    ax.plot(*draws.T, "x", color="#0072B2", label="draws")
    ax.plot(*mean, "s", color="black", markersize=5, label="mean (1000 draws)")
    ax.plot(*path[t], "o", markerfacecolor="none", color="#D55E00", markersize=10, label="what came")
    ax.set_title(f"frame {t}", fontsize="medium")
    ax.set_aspect("equal", adjustable="datalim")
axes[0, 0].legend(fontsize="small")
plt.show()
