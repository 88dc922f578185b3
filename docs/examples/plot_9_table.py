"""
A table with outliers
=====================

Measurements of 1500 people, typed in by hand. In a dozen rows, one number belongs to somebody else: a weight, a shoe
size, an arm span. Limits on single columns let them pass. A density of rows finds most of them, and says which column
looks wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

from rnnrnade import RNADE

# %%
# The table
# ---------
# Simulated, so that we know which rows are wrong. The columns depend on each other, in curves and with skewed noise.

rng = np.random.default_rng(0)
n = 1500
age = rng.uniform(5, 70, n)
growth = np.clip(age / 18, 0, 1)
height = 85 + 88 * growth**0.8 + rng.normal(0, 3 + 4 * growth, n)
weight = 22 * (height / 100) ** 2 * (0.7 + 0.3 * growth) * rng.lognormal(0.06 * (age > 30), 0.1, n)
shoe = 0.24 * height + rng.normal(0, 0.8, n)
span = 1.01 * height + rng.normal(0, 2.5, n)
table = pd.DataFrame({"age": age, "height": height, "weight": weight, "shoe": shoe, "span": span})

wrong = np.sort(rng.choice(n, 12, replace=False))
column = np.array(["weight", "shoe", "span"] * 4)
for row, name in zip(wrong, column):
    others = table[name].to_numpy()
    far = np.flatnonzero(np.abs(others - others[row]) > 1.5 * others.std())  # somebody else's number
    table.loc[row, name] = others[rng.choice(far)]

# %%
# The model
# ---------
# Fitted to the table as it is, mistakes and all: twelve in 1500 hardly move it.

model = RNADE(n_components=5, n_hidden=30, min_scale=0.02, max_epochs=60, random_state=0).fit(table)
suspects = model.explain(table, top=12)
print(suspects.drop(columns=["dimension_log_density", "pit"]).round(1).to_string(index=False))
found = np.isin(suspects["row"], wrong)
right = [name == column[wrong == row][0] for row, name in zip(suspects["row"][found], suspects["dimension"][found])]
print(f"{found.sum()} of the 12 most surprising rows are wrong ones, and the column to blame is right in {sum(right)}")

# %%
# An isolation forest on the same table
# -------------------------------------
# It looks for rows that are easy to cut off from the rest, which are those at the edges of the table: the smallest
# children, the heaviest people. It is the better tool if outliers lie far out, or if many rows are bad. Here they lie
# inside.

forest = IsolationForest(n_estimators=500, random_state=0).fit(table)
ranks = {}
for name, score in (("RNADE", model.score_samples(table)), ("isolation forest", forest.score_samples(table))):
    position = np.empty(n, int)
    position[np.argsort(score)] = np.arange(1, n + 1)
    ranks[name] = np.sort(position[wrong])
    print(f"{name:16} places of the twelve: {ranks[name].tolist()}")

fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
surprise = -model.score_samples(table)
for ax, (x, y) in zip(axes, (("height", "weight"), ("height", "shoe"))):
    dots = ax.scatter(table[x], table[y], c=surprise, s=7, cmap="cividis", vmax=np.quantile(surprise, 0.995))
    here = wrong[column == y]
    ax.plot(table[x][here], table[y][here], "o", markersize=11, markerfacecolor="none", color="#D55E00")
    caught = np.intersect1d(here, suspects["row"])
    ax.plot(table[x][caught], table[y][caught], "x", markersize=8, color="#D55E00")
    ax.set(xlabel=x, ylabel=y, title=f"circled: a wrong {y}")
fig.suptitle("Crossed: among the twelve most surprising rows of 1500")
fig.colorbar(dots, ax=axes, label="surprise (nats)")
plt.show()
