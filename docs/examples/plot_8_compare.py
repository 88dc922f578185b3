"""
Two models, and a standard error
================================

One model scores 0.3 nats more than another on the test data. Is that a difference, or luck? Both score the same
utterances, so the differences pair up: one number for each utterance, and their spread says how sure the mean is.
"""

import matplotlib.pyplot as plt
import numpy as np

from rnnrnade import RNNRNADE
from rnnrnade.datasets import load_japanese_vowels

vowels = load_japanese_vowels()
lengths = np.array([len(x) for x in vowels.test])
SHARED = {"transform": "var", "max_epochs": 40, "random_state": 0}

# %%
# Three models
# ------------
# All stand behind the same linear prediction from the last two frames. The first adds next to nothing to it, the second
# has mixtures and a memory, but treats the twelve numbers of a frame as independent of each other once the linear part
# is removed, and the third has hidden units that join them.

models = {
    "linear": RNNRNADE(1, 0, n_recurrent=1, **SHARED),
    "no hidden units": RNNRNADE(n_hidden=0, **SHARED),
    "50 hidden units": RNNRNADE(n_hidden=50, **SHARED),
}
scores = {name: model.fit(vowels.train).score_samples(vowels.test) for name, model in models.items()}
for name, score in scores.items():
    print(f"{name:16} {score.sum() / lengths.sum():+.3f} nats a frame")

# %%
# Pairs
# -----
# The score of a single utterance says more about the utterance than about the model: some are simply harder. The
# difference of two models on the same utterance does not have that spread. Frames of one utterance are not independent,
# so the utterance is the unit, and each counts by its length.


def compare(a, b):
    """Mean difference per frame and its standard error, over utterances."""
    difference = scores[a] - scores[b]
    mean = difference.sum() / lengths.sum()
    error = np.sqrt(np.sum((difference - mean * lengths) ** 2)) / lengths.sum()
    return mean, error


alone = scores["50 hidden units"]
mean = alone.sum() / lengths.sum()
print(f"one model by itself: {mean:.2f}, error {np.sqrt(np.sum((alone - mean * lengths) ** 2)) / lengths.sum():.3f}")
pairs = [("no hidden units", "linear"), ("50 hidden units", "no hidden units")]
for a, b in pairs:
    print("{} less {}: {:+.3f}, error {:.3f}".format(a, b, *compare(a, b)))

fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for ax, (a, b) in zip(axes, pairs):
    difference = np.sort((scores[a] - scores[b]) / lengths)
    mean, error = compare(a, b)
    ax.bar(range(len(difference)), difference, width=1, color=np.where(difference > 0, "#0072B2", "#D55E00"))
    ax.axhspan(mean - 2 * error, mean + 2 * error, color="black", alpha=0.25)
    ax.axhline(mean, color="black", linewidth=1)
    ax.set(xlabel="test utterance, sorted", ylabel="difference (nats a frame)")
    ax.set_title(f"{a} less {b}: {mean:+.2f} ± {error:.2f}\nbetter on {np.mean(difference > 0):.0%}", fontsize="medium")
plt.show()

# %%
# Three things that a standard error over test data does not say. Another seed gives another model: fit two or three,
# and see how far apart they are. Models must be scored in the same units, with ``min_scale`` stated. And test data
# serve once: choose on a validation part.
