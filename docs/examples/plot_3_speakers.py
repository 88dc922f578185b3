"""
Who speaks? Recognition by likelihood
=====================================

Nine men say the same vowel. One density model is fitted to the utterances of each; a new utterance belongs to the speaker whose model gives
it the highest likelihood. Nothing is trained to tell speakers apart, so a tenth can join later without touching the nine.
Each man has only thirty utterances of about sixteen frames. So all models begin as one, fitted to the speech of all, and go on
from there (``warm_start``), each with one speaker's.
"""

import copy
import warnings

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
    everyone = RNNRNADE(random_state=0, **shared).fit(train)
    models = []
    for s in SPEAKERS:
        model = copy.deepcopy(everyone).set_params(warm_start=True, **own)
        models.append(model.fit([x for x, k in zip(train, speaker) if k == s]))
    return np.array([model.score_samples(test) for model in models])


def judged(scores, speaker):
    """Errors, and the mean of -log p(true speaker) with equal prior probabilities, in nats."""
    true = scores[speaker - 1, np.arange(len(speaker))]
    return int((scores.argmax(axis=0) + 1 != speaker).sum()), float(np.mean(np.logaddexp.reduce(scores) - true))
