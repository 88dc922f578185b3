"""
Who speaks? Recognition by likelihood
=====================================

Nine men say the same vowel. One density model is fitted to the utterances of each, and a new utterance is assigned to
the speaker whose model gives it the highest likelihood. Nothing is trained to tell speakers apart, so a tenth
can join later without touching the nine. There are only thirty utterances of about sixteen frames for each man, so all
models start from one that is fitted to the speech of all, and continue from there (``warm_start``) with the speech of
one.
"""

import copy
import warnings
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from hmmlearn.hmm import GaussianHMM
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold

from rnnrnade import RNNRNADE
from rnnrnade.datasets import load_japanese_vowels

vowels = load_japanese_vowels()
SPEAKERS = range(1, 10)


def log_likelihoods(train, speaker, test, shared, own):
    """(9, len(test)): fit a model of all, then one of each speaker from it."""
    everyone = RNNRNADE(transform="standardize", n_jobs=1, random_state=0, **shared)  # one thread: the work is small
    everyone.fit(train)
    models = []
    for s in SPEAKERS:
        model = copy.deepcopy(everyone).set_params(warm_start=True, **own)
        models.append(model.fit([x for x, k in zip(train, speaker) if k == s]))
    return np.array([model.score_samples(test) for model in models])


def judged(scores, speaker):
    """Errors, and the mean of -log p(true speaker) with equal prior probabilities, in nats."""
    true = scores[speaker - 1, np.arange(len(speaker))]
    return int((scores.argmax(axis=0) + 1 != speaker).sum()), float(np.mean(np.logaddexp.reduce(scores) - true))


# %%
# One configuration for all
# -------------------------
# Thirty utterances are few. The smallest scale of a component, and dropout of the recurrent state's influence, keep
# a model from trusting them too much. Both are chosen by cross-validation on the 270 training utterances, as were,
# beforehand, the settings that are fixed here. The number of errors is too small to be a fine measure, so the mean
# log-probability of the true speaker decides.

OWN = {"max_epochs": 20, "batch_size": 4, "learning_rate": 5e-3, "validation_fraction": 0}
warnings.simplefilter("ignore", ConvergenceWarning)


def shared(context_dropout, min_scale):
    return {
        "n_components": 5,
        "n_hidden": 50,
        "n_recurrent": 200,
        "averaging": 0.99,
        "max_epochs": 15,
        "context_dropout": context_dropout,
        "min_scale": min_scale,
    }


def cross_validated(options):
    scores = np.empty((9, len(vowels.train)))
    for fit, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(vowels.train, vowels.train_speaker):
        train, test = ([vowels.train[i] for i in part] for part in (fit, held_out))
        scores[:, held_out] = log_likelihoods(train, vowels.train_speaker[fit], test, options, OWN)
    return judged(scores, vowels.train_speaker)


losses = {}
for choice in product((0.0, 0.2, 0.4), (0.1, 0.2)):
    errors, losses[choice] = cross_validated(shared(*choice))
    print("dropout {}, min_scale {}: {} of 270 wrong, {:.3f} nats".format(*choice, errors, losses[choice]))
best = min(losses, key=losses.get)
print("chosen: dropout {}, min_scale {}".format(*best))

# %%
# The test utterances
# -------------------
# For comparison a hidden Markov model of each speaker, with five states and diagonal covariances.

scores = log_likelihoods(vowels.train, vowels.train_speaker, vowels.test, shared(*best), OWN)
errors, loss = judged(scores, vowels.test_speaker)
accuracy = 1 - errors / len(vowels.test)
print(f"density models        {accuracy:.1%} right, {errors} of {len(vowels.test)} wrong, {loss:.3f} nats")

markov = np.empty_like(scores)
for s in SPEAKERS:
    of_speaker = [x for x, k in zip(vowels.train, vowels.train_speaker) if k == s]
    hmm = GaussianHMM(5, "diag", n_iter=100, random_state=0)
    hmm.fit(np.concatenate(of_speaker), [len(x) for x in of_speaker])
    markov[s - 1] = [hmm.score(x) for x in vowels.test]
errors_markov, loss_markov = judged(markov, vowels.test_speaker)
print(
    f"hidden Markov models  {1 - errors_markov / 370:.1%} right, {errors_markov} of 370 wrong, {loss_markov:.3f} nats"
)

# %%
# The lead of the true speaker, in nats. Errors lie below zero.


def lead(scores, speaker):
    true = scores[speaker - 1, np.arange(len(speaker))]
    others = np.where(np.arange(1, 10)[:, np.newaxis] == speaker, -np.inf, scores)
    return true - others.max(axis=0)


fig, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
leads = lead(scores, vowels.test_speaker)
axes[0].hist(np.clip(leads, -40, 200), bins=48, color="#0072B2")
axes[0].axvline(0, color="#D55E00")
axes[0].set(xlabel="lead of the true speaker (nats)", ylabel="test utterances", title=f"{errors} of 370 below zero")
counts = np.zeros((9, 9), int)
np.add.at(counts, (vowels.test_speaker - 1, scores.argmax(axis=0)), 1)
axes[1].imshow(np.log1p(counts), cmap="cividis")
for i in range(9):
    for j in np.flatnonzero(counts[i]):
        colour = "black" if i == j else "white"
        axes[1].text(j, i, counts[i, j], ha="center", va="center", color=colour, fontsize="small")
axes[1].set_xticks(range(9), SPEAKERS)
axes[1].set_yticks(range(9), SPEAKERS)
axes[1].set(xlabel="recognised as", ylabel="speaker", title="Confusions")
plt.show()
