"""Default settings, only `random_state` given, on test data that no choice was made on.

    python -m benchmarks.quality.defaults [--threads N]

Japanese vowels: RNNRNADE() fitted to the training utterances, nats per frame on the test utterances.
Red wine: RNADE(n_components=20) on the ten folds of the RNADE paper, z-scored on each training part; the fold's
validation rows stop the training.  nats per row, averaged over the folds.  Beside both stands a full Gaussian.
"""

import argparse
import json
import time

import numpy as np
from scipy.stats import multivariate_normal

from rnnrnade import RNADE, RNNRNADE
from rnnrnade.datasets import load_japanese_vowels, load_red_wine


def gaussian(train, test):
    """Mean log-density of a full Gaussian fitted by maximum likelihood."""
    return float(np.mean(multivariate_normal(train.mean(axis=0), np.cov(train.T, bias=True)).logpdf(test)))


def japanese_vowels(n_jobs):
    vowels = load_japanese_vowels()
    began = time.perf_counter()
    model = RNNRNADE(random_state=0, n_jobs=n_jobs).fit(vowels.train)
    return {
        "set": "Japanese vowels, test utterances",
        "gaussian": gaussian(np.concatenate(vowels.train), np.concatenate(vowels.test)),
        "ours": model.score(vowels.test),
        "min_scale": model.min_scale,
        "seconds": time.perf_counter() - began,
    }


def red_wine(n_jobs):
    scores, gaussians, began = [], [], time.perf_counter()
    for k, (train, valid, test) in enumerate(load_red_wine().folds):
        mean, scale = train.mean(axis=0), train.std(axis=0)
        train, valid, test = ((part - mean) / scale for part in (train, valid, test))
        model = RNADE(n_components=20, random_state=k, n_jobs=n_jobs).fit(train, validation_data=valid)
        scores.append(model.score(test))
        gaussians.append(gaussian(train, test))
    return {
        "set": "red wine, ten test folds, K = 20",
        "gaussian": float(np.mean(gaussians)),
        "ours": float(np.mean(scores)),
        "standard_error": float(np.std(scores, ddof=1) / len(scores) ** 0.5),
        "folds": scores,
        "min_scale": model.min_scale,
        "seconds": time.perf_counter() - began,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None)
    threads = parser.parse_args().threads
    for run in (japanese_vowels, red_wine):
        print(json.dumps(run(threads), indent=1), flush=True)


if __name__ == "__main__":
    main()
