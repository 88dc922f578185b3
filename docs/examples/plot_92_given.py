"""
What if tomorrow is cold?
=========================

The load of a grid follows the hour, the weekday and the temperature. The first two are known for ever, the third comes
from a weather forecast. None of them should be predicted; all of them should be read. Given columns do that, and two
forecasts with other inputs are two scenarios.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas

from rnnrnade import RNNRNADE, Auto, calendar_columns
from rnnrnade.forecasting import quantiles

# %%
# A year of hours
# ---------------
# Made up, so that we know what drives what: people get up later on weekends, and below 15 degrees every degree costs a
# little more than the last. A cold spell is a slow wave in the temperature. What else moves the load is a slow
# random process.

generator = np.random.default_rng(0)
times = pandas.date_range("2025-06-01", periods=24 * 240, freq="h")
hour, weekend = times.hour.to_numpy(), times.day_of_week.to_numpy() >= 5
noise = generator.standard_normal((2, len(times)))
slow = np.zeros_like(noise)
for t in range(1, len(times)):
    slow[:, t] = np.array([0.99, 0.95]) * slow[:, t - 1] + noise[:, t]
year = np.cos(2 * np.pi * (times.day_of_year.to_numpy() - 20) / 365)
temperature = 10 - 8 * year + 3 * np.sin(2 * np.pi * (hour - 9) / 24) + 0.5 * slow[0]
day = np.exp(-0.5 * ((hour - np.where(weekend, 11, 9)) / 3) ** 2) + np.exp(-0.5 * ((hour - 19) / 2.5) ** 2)
load = 30 + np.where(weekend, 8, 12) * day + 0.15 * np.maximum(15 - temperature, 0) ** 1.5 + 0.4 * slow[1]
X = pandas.DataFrame({"temperature": temperature, "load": load}, index=times).join(calendar_columns(times))
print(X.shape, "of which scored: the load")

# %%
# With and without
# ----------------
# The same options, on the first 220 days; the score is of the load alone, on the last twenty. A season is the frame a
# day ago; the calendar knows the weekday, too.

CUT = 24 * 220
options = {"transform": Auto(season=24), "max_epochs": 30, "random_state": 0}
given = dict.fromkeys(X.columns.drop("load"), "given")
model = RNNRNADE(columns=given, **options).fit(X[:CUT])
blind = RNNRNADE(**options).fit(X[["load"]][:CUT])
for name, scores in (("past alone", blind.score_frames(X[["load"]])), ("given columns too", model.score_frames(X))):
    print(f"{name:18} {scores[CUT:].mean():.2f} nats an hour")

# %%
# Two scenarios
# -------------
# The columns to come are the calendar and a temperature: as it was, and five degrees colder.

HORIZON = 48
inputs = X.drop(columns="load")[CUT : CUT + HORIZON]
colder = inputs.assign(temperature=inputs["temperature"] - 5)
LOAD = X.columns.get_loc("load")
bands = {
    name: quantiles(model.forecast(X[:CUT], HORIZON, 200, random_state=0, inputs=table), (0.05, 0.5, 0.95))[..., LOAD]
    for name, table in (("as it was", inputs), ("five degrees colder", colder))
}
difference = bands["five degrees colder"][1] - bands["as it was"][1]
print(f"what the cold costs: {difference.mean():.1f} on average, {difference.max():.1f} at most")

fig, (above, below) = plt.subplots(2, 1, figsize=(9, 6), height_ratios=[3, 1], sharex=True, layout="constrained")
past = slice(CUT - 72, CUT)
above.plot(times[past], load[past], color="#767676", linewidth=1)
above.plot(times[CUT : CUT + HORIZON], load[CUT : CUT + HORIZON], color="black", linewidth=1, label="what came")
for (name, (low, middle, high)), color in zip(bands.items(), ("#0072B2", "#D55E00"), strict=True):
    above.fill_between(inputs.index, low, high, color=color, alpha=0.2)
    above.plot(inputs.index, middle, color=color, linewidth=1.5, label=f"{name}: median and 90 % band")
above.set(ylabel="load", title="Two days ahead, given the calendar and a temperature")
above.legend(loc="upper left", frameon=False)
below.plot(times[past], temperature[past], color="#767676", linewidth=1)
below.plot(inputs.index, inputs["temperature"], color="#0072B2")
below.plot(inputs.index, colder["temperature"], color="#D55E00")
below.set(ylabel="temperature")
plt.show()

# %%
# What to be careful about. A model does not know which inputs are usual: far outside the temperatures it was trained on
# it extrapolates, without a warning, and an unusual temperature is no surprise to it. In a true forecast the
# temperature is itself uncertain: pass one array of inputs for each draw.
