"""
Forecasts with calibrated bands
===============================

A forecast is only as good as its bands: nine in ten of the values to come should lie in a 90 % interval. Take two
solar plants, whose output depends on the hour and on clouds that pass over both: its distribution is wide and skewed
at noon, and narrow at night. Draws from the model give the bands; what came afterwards shows whether they are as wide
as they should be.
"""

import matplotlib.pyplot as plt
import numpy as np

from rnnrnade import RNNRNADE, plotting
from rnnrnade.forecasting import energy_score, quantiles

HOURS = 24


def weeks(seed, n_sequences, n_days=10):
    """Hourly output of two plants, (240, 2) each, from midnight on."""
    generator = np.random.default_rng(seed)
    sun = np.clip(np.sin(np.pi * (np.arange(n_days * HOURS) % HOURS - 6) / 12), 0, None)
    X = []
    for _ in range(n_sequences):
        cloud, clouds = 0.0, []
        for noise in generator.normal(size=n_days * HOURS):
            cloud = 0.9 * cloud + 0.45 * noise
            clouds.append(cloud)
        clear = 1 / (1 + np.exp(-1.5 - 2.0 * np.array(clouds)))  # share of the light that comes through
        local = generator.normal(scale=0.05, size=(n_days * HOURS, 2))
        output = np.stack([30 * sun * clear, 20 * sun * np.roll(clear, 1)], axis=1)  # the clouds reach the second later
        X.append(output * (1 + local) + generator.normal(scale=0.2, size=output.shape))
    return X


train, validation, test = weeks(0, 60), weeks(1, 15), weeks(2, 40)

# %%
# The model is not told the hour. A cell with gates remembers when the sun rose.

model = RNNRNADE(
    n_components=4,
    n_hidden=20,
    n_recurrent=60,
    cell="gru",
    transform="standardize",
    min_scale=0.01,
    window=120,
    max_epochs=60,
    random_state=0,
)
model.fit(train, validation_data=validation)
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
plotting.learning_curve(model, ax=ax)
plt.show()

# %%
# A forecast
# ----------
# :meth:`~rnnrnade.RNNRNADE.forecast` continues each sequence with independent, exact draws from the model. Whatever
# is computed from them is a Monte Carlo estimate, whose error falls with the square root of their number.

HORIZON = 36
known, truth = [x[:-HORIZON] for x in test], [x[-HORIZON:] for x in test]
draws = model.forecast(known, HORIZON, n_samples=500, random_state=0)
print(len(draws), draws[0].shape)

# sphinx_gallery_thumbnail_number = 2
fig, axes = plt.subplots(2, figsize=(10, 6.5), layout="constrained")
for dim, ax in enumerate(axes):
    plotting.fan_chart(draws[0], ax, dim=dim, past=known[0], truth=truth[0], feature_name=f"plant {dim + 1}")
    ax.set_xlim(len(known[0]) - 72, None)
plt.show()

# %%
# Are the bands right?
# --------------------
# The share of future values that lie inside, over 40 sequences and both plants, for the first hours and the later ones.

low90, low50, high50, high90 = np.moveaxis(np.array(quantiles(draws, [0.05, 0.25, 0.75, 0.95])), 1, 0)
came = np.array(truth)
for name, hours in (("hours 1-12", slice(0, 12)), ("hours 13-36", slice(12, None)), ("all", slice(None))):
    inside = [(lo <= came) & (came <= hi) for lo, hi in ((low50, high50), (low90, high90))]
    print("{:12} in the 50 % band {:.1%}, in the 90 % band {:.1%}".format(name, *(i[:, hours].mean() for i in inside)))

# %%
# One step ahead there is no need for draws: the distribution function of each conditional is known in closed
# form, and under a calibrated model its values at what came (PIT) are uniform.
# :meth:`~rnnrnade.RNNRNADE.calibration` tests that. With so many values the test detects the smallest misfit; the
# picture says what it is. These bands are a little too wide: too few values fall near the ends.

report = model.calibration(test)
print(report)
plotting.calibration(report, fig=plt.figure(figsize=(10.5, 4.4), layout="constrained"))
plt.show()

# %%
# Better than what?
# -----------------
# The energy score (lower is better) compares a distribution with the outcome. The competitor knows only the hour: its
# forecasts are values from the same hours of other days. A day ahead the clouds are forgotten, and nobody can know more
# than the hour, so the gain lies in the first hours. Later the model is even a little worse, because it has to
# count the hours itself.

climate = np.stack([x[-HORIZON - 24 * k :][:HORIZON] for x in train for k in range(8)])
climate = climate[np.random.default_rng(0).choice(len(climate), 480, replace=False)]
ours = np.mean([energy_score(one, y) for one, y in zip(draws, truth)], axis=0)
hourly = np.mean([energy_score(climate, y) for y in truth], axis=0)
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.plot(np.arange(1, HORIZON + 1), hourly, color="#767676", label=f"same hours of other days: mean {hourly.mean():.2f}")
ax.plot(np.arange(1, HORIZON + 1), ours, color="#0072B2", label=f"model: mean {ours.mean():.2f}")
ax.set(xlabel="hours ahead", ylabel="energy score (lower is better)")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
plt.show()
