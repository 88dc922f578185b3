"""
The sizes H, K and R
====================

What hidden units (H), components (K) and recurrent units (R) are worth on real speech: one of them is changed
at a time while the rest stays fixed. Each point is the mean log-density of held-out utterances from the
training set. The lines join the means over three random states, and the spread shows which differences mean
something.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from rnnrnade import RNNRNADE, Linear
from rnnrnade.datasets import load_japanese_vowels

vowels = load_japanese_vowels()
train, held_out = train_test_split(vowels.train, test_size=0.25, random_state=0, stratify=vowels.train_speaker)

BASE = {"n_hidden": 20, "n_components": 3, "n_recurrent": 30}
VALUES = {"n_hidden": [0, 5, 20, 80], "n_components": [1, 3, 10, 30], "n_recurrent": [3, 10, 30, 100]}
SEEDS = range(3)


def score(seed, **sizes):
    model = RNNRNADE(**BASE | sizes, transform="standardize", min_scale=0.05, max_epochs=40, random_state=seed).fit(
        train
    )
    return model.score(held_out)


fig, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for ax, (name, values) in zip(axes, VALUES.items()):
    scores = np.array([[score(seed, **{name: value}) for seed in SEEDS] for value in values])
    ax.plot(range(len(values)), scores.mean(axis=1), color="#0072B2")
    ax.plot(range(len(values)), scores, ".", color="#D55E00", markersize=5)
    ax.set_xticks(range(len(values)), values)
    ax.set(xlabel=name)
    ax.grid(alpha=0.3)
    print(name, {value: round(float(s.mean()), 2) for value, s in zip(values, scores)})
axes[0].set_ylabel("held-out log-density (nats per frame)")
fig.suptitle(f"One size changed at a time; the others at {BASE}")
plt.show()

# %%
# Recurrent units are worth most, and the more the better; hidden units come next; one component does as well as
# thirty on these data, behind this transform.
#
# For comparison: the right transform in front is worth more than the largest of these sizes.

for what, options in {
    "standardised, as above": {"transform": "standardize"},
    "Linear(lags=1, covariance='full') in front": {"transform": Linear(lags=1, covariance="full")},
    "whitened": {"transform": "whiten"},
}.items():
    model = RNNRNADE(**BASE, min_scale=0.05, max_epochs=40, random_state=0, **options).fit(train)
    print(f"{what:45} {model.score(held_out):.2f}")
