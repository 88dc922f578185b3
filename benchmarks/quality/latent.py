"""Latent-variable models: VAE, VRNN and SRNN beside the exact models, nats a frame or a row.

    python -m benchmarks.quality.latent [--full] [--sets NAMES] [--rows NAMES] [--keep] [--tune]

Of a model with latent vectors `nats` is the estimate that its `score_samples` gives, with 64 particles (importance
samples of vectors, and where the encoder reads the future), the mean over all frames or rows of the test part; `Monte
Carlo` is its standard error, of the noise of the particles alone, from two more estimates of each sequence or row;
`bound` and `KL` are the means of `lower_bound` and of the divergence in it.  All of these are below the log-density in
their mean.  The other rows are exact.

The linear-Gaussian set is a state space y^t = A y^{t-1} + q eps, x^t = C y^t + r eps' of two latent and three observed
numbers, 1000 sequences of 50 frames to train on (a tenth of them to validate), 200 to test: its Kalman filter is the
truth, and no transform stands before the models.  The digits, nats a frame of 200 samples, are those of
`benchmarks.quality.digits`, with equally many parameters and 1500 updates each, before validation stops any; the other
sets, parts and units are those of `pianoroll` (all time steps), `speech`, `vectors` (white wine, the first of the
ten folds) and `binary` (mushrooms).  Nothing is fitted to validation data, but for the vowels, where the settings are
fitted to all training utterances.  What differs from the defaults was chosen in trials on validation data.
Where no `kl_warmup` is given it was 1000 updates, the default when the rows were made; of these sets the default of now
is another one for JSB chorales alone.
"""

import dataclasses

import numpy as np

from rnnrnade import NADE, RNADE, RNNNADE, RNNRNADE, SRNN, VAE, VRNN, Linear, RNNGauss

from . import binary, digits, pianoroll, speech, vectors
from .baselines import VAR, Gaussian, Mixture, Peer
from .common import Fold, Part, Row, Table, grid, held_out, number, script
from .recordings import less

N_TRAIN, N_TEST, N_FRAMES = 1000, 200, 50
REPEATS = 2  # estimates, of which the Monte Carlo error is made
UNITS = 200  # of rows, over which errors of differences are taken
DIGITS = 3
QUICK = {"max_epochs": 2}


# ---- the linear-Gaussian set ---------------------------------------------------------------------------------------

A = np.array([[0.9, 0.2], [-0.2, 0.8]])
Q = np.array([0.5, 0.4])  # standard deviations of what moves the state
C = np.random.default_rng(0).normal(size=(3, 2))
R = np.array([0.5, 0.6, 0.7])  # and of what is added to the frames


def state_space(n, generator):
    """n sequences (N_FRAMES, 3)."""
    y, X = np.zeros((n, 2)), np.empty((n, N_FRAMES, 3))
    for t in range(N_FRAMES):
        y = y @ A.T + Q * generator.normal(size=y.shape)
        X[:, t] = y @ C.T + R * generator.normal(size=X[:, t].shape)
    return list(X)


class Kalman(Peer):
    """The exact log-density of the linear-Gaussian set."""

    def fit(self, X, validation_data=None):
        return self

    def score_frames(self, X):
        return [self._of_sequence(x) for x in X]

    @staticmethod
    def _of_sequence(x):
        mean, covariance, found = np.zeros(2), np.zeros((2, 2)), np.empty(len(x))
        for t, frame in enumerate(x):
            mean, covariance = A @ mean, A @ covariance @ A.T + np.diag(Q**2)
            S = C @ covariance @ C.T + np.diag(R**2)
            rest = frame - C @ mean
            gain = covariance @ C.T @ np.linalg.inv(S)
            found[t] = -0.5 * (rest @ np.linalg.solve(S, rest) + np.linalg.slogdet(2 * np.pi * S)[1])
            mean, covariance = mean + gain @ rest, covariance - gain @ C @ covariance
        return found


def linear_gaussian(quick, seed):
    """Training sequences are those of generator 0, test sequences those of generator 1, whatever the seed of a fit."""
    n, n_test = (N_TRAIN // 10, N_TEST // 10) if quick else (N_TRAIN, N_TEST)
    whole, test = state_space(n, np.random.default_rng(0)), state_space(n_test, np.random.default_rng(1))
    train, valid = held_out(whole, 0.1, seed=0)
    return [Fold(train, Part(valid), Part(test), whole, seed=seed)]


# ---- figures -------------------------------------------------------------------------------------------------------


def flat(frames):
    return frames if isinstance(frames, np.ndarray) else np.concatenate(frames)


def measure(model, part):
    """The log-density a frame or row; of a model with latent vectors its estimate, and what tells how good that is."""
    model.scored_ = model.score_frames(part.X)
    frames = flat(model.scored_)
    found = {"nats": frames.mean()}
    if getattr(model, "n_latent", 0):
        again = model.log_likelihood(part.X, n_repeats=REPEATS)
        bound = model.lower_bound_frames(part.X)
        reconstruction, kl = flat(bound.reconstruction), flat(bound.kl)
        found |= {
            "Monte Carlo": np.sqrt(REPEATS * (again.standard_error**2).sum()) / len(frames),
            "bound": (reconstruction - kl).mean(),
            "KL": kl.mean(),
        }
    return found


def after(table, row, record, models, folds):
    """Put sums over units, of which differences and their errors are made, into a record: sequences, or rows."""
    (model,) = models
    if hasattr(model, "parameters_"):
        record["figures"]["parameters"] = sum(values.size for values in model.parameters_.values())
    units = np.array_split(model.scored_, UNITS) if isinstance(model.scored_, np.ndarray) else model.scored_
    sums = np.array([frames.sum() for frames in units])
    if np.isfinite(sums).all():
        record["blocks"] = {"sums": sums.round(4).tolist(), "frames": [len(frames) for frames in units]}


def differences(tables):
    """Lines of what a row gains on another, with its standard error, for the pairs that are asked about."""
    lines = []
    for table in tables:
        rows = {row["row"]: row for row in table["rows"] if "blocks" in row}
        pairs = [(a, b) for a, b in PAIRS.get(table["title"], []) if a in rows and b in rows]
        lines += [[table["title"], a, b, number(less(rows[a], rows[b]), DIGITS)] for a, b in pairs]
    return lines


# ---- sets ----------------------------------------------------------------------------------------------------------


def chosen(name, kind, quick=QUICK, refit=None, **choices):
    """A row; choices that are lists are those among which validation chooses."""
    settings = grid(**{option: values if isinstance(values, list) else [values] for option, values in choices.items()})
    return Row(name, kind, settings, quick=quick, refit=refit)


def music(name):
    return lambda quick, seed: [pianoroll.fold(name, seed)]


def wine(quick, seed):
    (fold,) = vectors.SETS["white wine"][0](1)
    return [dataclasses.replace(fold, seed=seed)]


def vowels(quick, seed):
    return speech.folds([seed])


REJECTION = "a paper on variational sequential Monte Carlo with partial rejection control, Table 1, VRNN"


def of_bits():
    """The rows of a set of music."""
    return [
        pianoroll.PEERS[-1],
        Row("RNNNADE(), defaults", RNNNADE, quick=QUICK, group="defaults"),
        chosen("VRNN, Bernoulli frames", VRNN, **BITS, kl_warmup=1000),
        chosen("SRNN, Bernoulli frames", SRNN, **BITS, kl_warmup=200),
        chosen("VRNN, NADE frames", VRNN, **BITS, kl_warmup=200, n_hidden=50),
    ]


SHORT = {"max_updates": 1500}  # ten epochs, before patience ends


def of_digits():
    """Models of frames of samples with equally many parameters."""
    warm = {"kl_warmup": 300}
    models = digits.MODELS | {
        "VRNN-I": (VRNN, warm | {"prior": "standard"}),
        "VRNN-Gauss": (VRNN, warm),
        "SRNN": (SRNN, warm),
        "VRNN with RNADE frames": (VRNN, warm | {"n_components": 2, "n_hidden": 50}),
    }
    return [
        Row("VAR(2), full noise", VAR, grid(lags=[2]), group="peer"),
        *(
            Row(name, kind, [digits.of_size(kind, SHORT | digits.SHARED | own, digits.PARAMETERS)], quick=QUICK)
            for name, (kind, own) in models.items()
            if name != "RNN-GMM"
        ),
    ]


BITS = {"conditional": "bernoulli"}
PLAIN = {"transform": None}
BEHIND = {"transform": Linear(lags=2, covariance="full")}
# Title: folds by size and seed, rows.
SETS = {
    "linear-Gaussian": (
        linear_gaussian,
        [
            Row("Kalman filter", Kalman, group="peer"),
            Row("VAR(p), full noise", VAR, grid(lags=[2, 3, 5, 8]), group="peer"),
            chosen("SRNN, smooth", SRNN, **PLAIN, n_latent=2, n_units=50, n_recurrent=50),
            chosen("SRNN, filter", SRNN, **PLAIN, encoder="filter", n_latent=2, n_units=50, n_recurrent=50),
            chosen("VRNN", VRNN, **PLAIN, n_latent=2, n_units=50, n_recurrent=50),
        ],
    ),
    "JSB chorales": (music("jsb_chorales"), of_bits()),
    "Nottingham": (music("nottingham"), of_bits()),
    "Piano-midi": (music("piano_midi"), of_bits()),
    "Japanese vowels": (
        vowels,
        [
            Row("VAR(p), full noise", VAR, grid(lags=[1, 2, 3, 4]), refit={}, group="peer"),
            chosen("RNN-RNADE behind VAR(2)", RNNRNADE, **BEHIND, refit={}),
            chosen("RNN-Gauss behind VAR(2)", RNNGauss, **BEHIND, refit={}),
            chosen("VRNN-Gauss behind VAR(2)", VRNN, **BEHIND, kl_warmup=300, refit={}),
            chosen(
                "VRNN with RNADE frames, behind VAR(2)",
                VRNN,
                **BEHIND,
                kl_warmup=300,
                n_components=5,
                n_hidden=50,
                refit={},
            ),
        ],
    ),
    "white wine": (
        wine,
        [
            Row("Gaussian, full covariance", Gaussian, refit={}, group="peer"),
            Row("mixture of Gaussians", Mixture, grid(n_components=[2, 3, 5, 10, 20]), refit={}, group="peer"),
            Row("RNADE(), defaults", RNADE, quick=QUICK, group="defaults"),
            Row("VAE(), defaults", VAE, quick=QUICK, group="defaults"),
            chosen("VAE, 5 importance samples", VAE, n_importance=5),
            chosen("VAE, 5 importance samples, 3 components", VAE, n_importance=5, n_components=3),
        ],
    ),
    "mushrooms": (
        lambda quick, seed: binary.folds("mushrooms", [seed]),
        [
            binary.PEERS[1],
            Row("NADE(), defaults", NADE, quick=QUICK, group="defaults"),
            chosen("VAE, Bernoulli frames", VAE, **BITS),
            chosen("VAE, Bernoulli frames, 5 importance samples", VAE, **BITS, n_importance=5, kl_warmup=300),
        ],
    ),
    "spoken digits": (digits.folds, of_digits()),
}
# Pairs of rows, of which the second is taken from the first.
PAIRS = {
    "JSB chorales": [
        ("VRNN, NADE frames", "RNNNADE(), defaults"),
        ("VRNN, Bernoulli frames", "SRNN, Bernoulli frames"),
    ],
    "linear-Gaussian": [(name, "Kalman filter") for name in ("SRNN, smooth", "SRNN, filter", "VRNN")],
    "spoken digits": [
        ("VRNN-Gauss", "RNN-Gauss"),
        ("VRNN-Gauss", "VRNN-I"),
        ("SRNN", "VRNN-Gauss"),
        ("RNN-RNADE", "VRNN-Gauss"),
        ("VRNN with RNADE frames", "RNN-RNADE"),
    ],
}
PUBLISHED = {
    "JSB chorales": [
        ("VRNN, bound", {"nats": -8.69}, REJECTION),
        ("VRNN, FIVO with 8 particles", {"nats": -7.40}, REJECTION),
        ("VRNN, best of the paper", {"nats": -7.14}, REJECTION),
        *pianoroll.PUBLISHED["JSB chorales"],
    ],
    "Nottingham": [
        ("VRNN, bound", {"nats": -3.87}, REJECTION),
        ("VRNN, FIVO with 8 particles", {"nats": -2.99}, REJECTION),
        ("VRNN, best of the paper", {"nats": -2.90}, REJECTION),
        *pianoroll.PUBLISHED["Nottingham"],
    ],
    "Piano-midi": [
        ("VRNN, bound", {"nats": -7.99}, REJECTION),
        ("VRNN, FIVO with 8 particles", {"nats": -7.80}, REJECTION),
        ("VRNN, best of the paper", {"nats": -7.77}, REJECTION),
        *pianoroll.PUBLISHED["Piano-midi"],
    ],
}


def tables(options):
    return [
        Table(
            title=title,
            folds=lambda folds=folds: folds(options.quick, options.seed),
            rows=rows,
            over="one seed",
            measure=measure,
            published=PUBLISHED.get(title, []),
            digits=DIGITS,
        )
        for title, (folds, rows) in SETS.items()
    ]


def main(arguments=None):
    return script("latent", __doc__, tables, arguments, after=after)


if __name__ == "__main__":
    main()
