"""What ``rnnrnade demo`` and ``make demo`` run: real speech, scored and drawn (extra ``demo``).

RNN-RNADE with its default settings learns the training utterances of the Japanese vowels (Kudo, Toyama and
Shimbo, 1999: 12 LPC cepstra a frame). On the test utterances it is compared with densities that are fitted on
the same frames: a Gaussian and a mixture of Gaussians, which take every frame by itself, and a hidden Markov
model.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np

__all__ = ["run_demo"]

N_STATES = 9  # as many as speakers: components of the mixture and states of the Markov model


def run_demo(folder="demo", *, seconds=45, random_state=0, progress=True, n_jobs=None):
    """Train on the Japanese vowels, print how well the test utterances are predicted, and draw pictures.

    Parameters
    ----------
    folder : str or Path, default="demo"
        Where ``learning_curve.png``, ``surprise.png`` and ``samples.png`` are written; made if there is none.
    seconds : float, default=45
        Time for training RNN-RNADE. A few epochs are timed first, and no more epochs are trained than fit in
        this time.
    random_state : int, default=0
        Seed of the fits and of the samples.
    progress : bool, default=True
        Whether a progress bar is drawn on standard error.
    n_jobs : int, default=None
        Threads of the training; None means all that the process may use.

    Returns
    -------
    results : dict
        ``scores``, a dict from the name of each model to its mean log-density of the test frames in nats;
        ``utterance``, ``frame`` and ``cepstrum``, indices of what surprises RNN-RNADE most: the test
        utterance with the lowest log-density per frame, in it the frame with the lowest log-density, and in
        that the cepstrum with the lowest; ``pictures``, a list of paths; ``estimator``, the fitted RNNRNADE.

    Raises
    ------
    ImportError
        Without matplotlib or hmmlearn (extra ``demo``).
    ValueError
        If `seconds` is not positive.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}.")
    _check_extras()
    from rnnrnade import RNNRNADE, plotting
    from rnnrnade.datasets import load_japanese_vowels

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vowels = load_japanese_vowels()
    train, test, names = vowels.train, vowels.test, vowels.feature_names
    print(f"Japanese vowels: {_size(train)} to train, {_size(test)} to test, {len(names)} LPC cepstra each.")

    start = time.perf_counter()
    estimator = RNNRNADE(random_state=random_state, n_jobs=n_jobs)
    n_epochs = min(estimator.max_epochs, _affordable_epochs(estimator, train, seconds))
    print(f"Training RNN-RNADE for at most {n_epochs} epochs ...", flush=True)
    _fit(estimator.set_params(max_epochs=n_epochs, verbose=int(progress)), train)
    taken = time.perf_counter() - start
    print(f"{estimator.n_iter_} epochs in {taken:.0f} s; epoch {estimator.best_epoch_} is best on validation.")

    scores = {**_simpler_models(train, test, random_state), "RNN-RNADE": estimator.score(test)}
    print("\nLog-density of the test utterances, mean over all frames (higher is better):\n")
    width = max(map(len, scores))
    for name, score in scores.items():
        print(f"  {name:{width}}  {score:+7.2f} nats per frame")

    per_frame = estimator.score_samples(test) / [len(x) for x in test]
    utterance = int(np.argmin(per_frame))
    x = test[utterance]
    dims = estimator.score_dims(x)
    frame = int(np.argmin(dims.sum(axis=1)))
    cepstrum = int(np.argmin(dims[frame]))
    print(
        f"\nWhat surprises RNN-RNADE most (all counted from 0):\n"
        f"  test utterance {utterance} of {len(test)}, by speaker {vowels.test_speaker[utterance]}: "
        f"{per_frame[utterance]:+.2f} nats per frame;\n"
        f"  in it frame {frame} of {len(x)}: {dims[frame].sum():+.2f} nats, "
        f"of which {names[cepstrum]}: {dims[frame, cepstrum]:+.2f} nats."
    )

    shown = test[:: len(test) // 9]  # of every speaker
    sampled = estimator.sample(len(shown), max(map(len, shown)), random_state=random_state)
    sampled = [s[: len(x)] for s, x in zip(sampled, shown, strict=True)]
    heat_map = plotting.surprise_heat_map(estimator, x, feature_names=names)
    heat_map.set_ylabel("cepstrum")
    heat_map.axvspan(frame - 0.5, frame + 0.5, fill=False, edgecolor="white", linewidth=2.5)
    title = f"Test utterance {utterance} of the Japanese vowels; outlined: frame {frame}, the most surprising"
    heat_map.set_title(f"{title}\n{heat_map.get_title()}", fontsize="medium")
    figures = {
        "learning_curve.png": plotting.learning_curve(estimator).figure,
        "surprise.png": heat_map.figure,
        "samples.png": plotting.samples_beside_data(shown, sampled, feature_names=names)[0, 0].figure,
    }
    print("\nPictures:")
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=130)
        print(f"  {folder / name}")
    return {
        "scores": scores,
        "utterance": utterance,
        "frame": frame,
        "cepstrum": cepstrum,
        "pictures": [folder / name for name in figures],
        "estimator": estimator,
    }


def _check_extras():
    try:
        import hmmlearn.hmm  # noqa: F401
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError('The demo needs matplotlib and hmmlearn: pip install "rnnrnade[demo]"') from error


def _size(sequences):
    return f"{len(sequences)} utterances ({sum(map(len, sequences))} frames)"


def _fit(estimator, train):
    """Fit, and let Ctrl-C end the demonstration, not only the training, which keeps its best epoch and warns."""
    from sklearn.exceptions import ConvergenceWarning

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "training was interrupted")
            return estimator.fit(train)
    except ConvergenceWarning:
        raise KeyboardInterrupt from None


def _affordable_epochs(estimator, train, seconds):
    """The number of epochs that fit in the time, from the mean time of a few."""
    from sklearn.base import clone

    trial = _fit(clone(estimator).set_params(max_epochs=4), train)
    return max(1, int(seconds * trial.n_iter_ / trial.history_["seconds"][-1]))


def _simpler_models(train, test, random_state):
    """Mean log-density of the test frames of densities fitted on the same frames."""
    from hmmlearn.hmm import GaussianHMM
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    frames, test_frames = np.concatenate(train), np.concatenate(test)
    scores = {}
    with threadpool_limits(1):  # their products are so small that threads of BLAS only wait for each other
        for name, n_components in (("Gaussian", 1), (f"mixture of {N_STATES} Gaussians", N_STATES)):
            mixture = GaussianMixture(n_components, random_state=random_state).fit(frames)
            scores[name] = mixture.score(test_frames)
        hmm = GaussianHMM(N_STATES, "full", n_iter=100, random_state=random_state)
        hmm.fit(frames, [len(x) for x in train])
        total = hmm.score(test_frames, [len(x) for x in test])
    scores[f"hidden Markov model, {N_STATES} states"] = total / len(test_frames)
    return scores
