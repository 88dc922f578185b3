"""Loaders for data sets that are not part of the package: one .npz file each, found by `_load`."""

import os
import sys
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

_UCI = "UCI Machine Learning Repository"
_PIANOROLLS = "piano-rolls of N. Boulanger-Lewandowski, Y. Bengio and P. Vincent (ICML 2012)"
_BINARY = "binary data sets of H. Larochelle and I. Murray (AISTATS 2011)"

# file: (its arrays, its public source). In the names of arrays, {part} stands for train, valid and test.
_FILES = {
    "mocap_mit.npz": (
        ("frames", "lengths"),
        "motion capture by E. Hsu (MIT), distributed with the code of G. Taylor, G. Hinton and S. Roweis, "
        "'Modeling human motion using binary latent variables' (NIPS 2006)",
    ),
    "red_wine_folds.npz": (
        tuple(f"{{part}}_{k}" for k in range(1, 11)),
        f"{_UCI}, Wine Quality (red), in the ten folds of the code release of B. Uria, I. Murray and "
        "H. Larochelle, 'RNADE' (NIPS 2013)",
    ),
    "white_wine.npz": (("X",), f"{_UCI}, Wine Quality (white)"),
    "parkinsons.npz": (("X", "columns"), f"{_UCI}, Parkinsons Telemonitoring"),
    "pianoroll_jsb_chorales.npz": (("{part}", "{part}_lengths"), f"{_PIANOROLLS}, JSB chorales"),
    "pianoroll_nottingham.npz": (("{part}", "{part}_lengths"), f"{_PIANOROLLS}, Nottingham"),
    "pianoroll_piano_midi.npz": (("{part}", "{part}_lengths"), f"{_PIANOROLLS}, Piano-midi.de"),
    "binary_dna.npz": (("{part}", "n_features"), f"{_BINARY}, DNA, derived from the {_UCI}"),
    "binary_mushrooms.npz": (("{part}", "n_features"), f"{_BINARY}, mushrooms, derived from the {_UCI}"),
    "binary_nips.npz": (("{part}", "n_features"), f"{_BINARY}, NIPS volumes 0-12"),
    "fsdd_8khz.npz": (
        ("samples", "lengths", "digit", "speaker", "index"),
        "Free Spoken Digit Dataset, Z. Jackson and others",
    ),
}

_PARTS = ("train", "valid", "test")
_WINE_COLUMNS = [
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
]


def _folders():
    """Where to look: the folder of RNNRNADE_DATA, if that is set, and then the user's cache folder."""
    if os.environ.get("XDG_CACHE_HOME"):
        cache = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path.home() / ".cache"
    folders = [cache / "rnnrnade"]
    if os.environ.get("RNNRNADE_DATA"):
        folders.insert(0, Path(os.environ["RNNRNADE_DATA"]).expanduser())
    return folders


def _load(file_name):
    """The arrays of a file of the table, as a dict; it is an error if it is absent or lacks one."""
    names, source = _FILES[file_name]
    names = list(dict.fromkeys(name.format(part=part) for name in names for part in _PARTS))
    folders = _folders()
    path = next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{file_name} is not in {' nor in '.join(map(str, folders))}. Put it there, or set the "
            f"environment variable RNNRNADE_DATA to the folder that holds it. It must hold the arrays "
            f"{', '.join(names)}. Public source: {source}."
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        raise ValueError(f"{path} is damaged or holds other arrays than {', '.join(names)}: {error}") from error


def _check_name(name, names):
    if name not in names:
        raise ValueError(f"name must be one of {', '.join(map(repr, names))}, got {name!r}")


def _split(values, lengths):
    """Cut what stands end to end into a list of arrays of the given lengths."""
    if lengths.sum() != len(values):
        raise ValueError(f"the file is damaged: lengths add up to {lengths.sum()}, but there are {len(values)} rows")
    return np.split(values, np.cumsum(lengths, dtype=np.int64)[:-1])


def _unpack(bits, n_features):
    """Rows of 0 and 1, float32, from rows of eight to a byte."""
    return np.unpackbits(bits, axis=1)[:, :n_features].astype(np.float32)


def load_mocap():
    """Load three recordings of human motion, 49 joint-angle channels, each standardised (file mocap_mit.npz).

    Returns
    -------
    data : Bunch
        frames : list of 3 float64 arrays (438, 49), (260, 49), (3128, 49)
        splits : Bunch of two ways to hold out data, each a tuple (train list, test list) of parts of the recordings:
        "a", the last fifth of each recording is test; "b", the first 3500 frames of all are training, the last 326
        test. A test part goes on where a training part ends.

    Raises
    ------
    FileNotFoundError
        If the file is neither in the folder that the environment variable RNNRNADE_DATA names nor in the
        cache folder (as for every loader of a file).
    ValueError
        If the file is damaged.
    """
    arrays = _load("mocap_mit.npz")
    frames = _split(arrays["frames"], arrays["lengths"])
    cuts = [(x, len(x) - round(0.2 * len(x))) for x in frames]
    split_a = [x[:cut] for x, cut in cuts], [x[cut:] for x, cut in cuts]
    split_b = [*frames[:-1], frames[-1][:-326]], [frames[-1][-326:]]
    return Bunch(frames=frames, splits=Bunch(a=split_a, b=split_b))


def load_red_wine():
    """Load the red wines of Wine Quality, 11 physico-chemical columns, in ten folds (red_wine_folds.npz).

    The columns are not standardised, and are decimals of few digits; about a quarter of the rows of a test
    part also occur in its training part. Raises as `load_mocap` does.

    Returns
    -------
    data : Bunch
        folds : list of 10 tuples (train, valid, test) of float32 arrays (n_rows, 11)
        feature_names : list of 11 str
    """
    arrays = _load("red_wine_folds.npz")
    folds = [tuple(arrays[f"{part}_{k}"] for part in _PARTS) for k in range(1, 11)]
    return Bunch(folds=folds, feature_names=list(_WINE_COLUMNS))


def load_white_wine():
    """Load the white wines of Wine Quality, not standardised (file white_wine.npz).

    Raises as `load_mocap` does.

    Returns
    -------
    data : Bunch
        data : float64 array (4898, 11)
        feature_names : list of 11 str
    """
    return Bunch(data=_load("white_wine.npz")["X"], feature_names=list(_WINE_COLUMNS))


def load_parkinsons():
    """Load the continuous columns of Parkinsons Telemonitoring, not standardised (file parkinsons.npz).

    Discrete columns, and one of each pair of columns with a correlation above 0.98 in size, have been left
    out. Raises as `load_mocap` does.

    Returns
    -------
    data : Bunch
        data : float64 array (5875, 15)
        feature_names : list of 15 str
    """
    arrays = _load("parkinsons.npz")
    return Bunch(data=arrays["X"], feature_names=arrays["columns"].tolist())


def load_pianoroll(name):
    """Load polyphonic music as 88 binary notes a time step (file pianoroll_<name>.npz).

    Parameters
    ----------
    name : {"jsb_chorales", "nottingham", "piano_midi"}

    Returns
    -------
    data : Bunch
        train, valid, test : lists of float32 arrays (T_i, 88) of 0 and 1; column i is the MIDI note 21 + i

    Raises
    ------
    ValueError
        If the name is another one; otherwise as `load_mocap` does.
    """
    _check_name(name, ("jsb_chorales", "nottingham", "piano_midi"))
    arrays = _load(f"pianoroll_{name}.npz")
    return Bunch(**{part: _split(_unpack(arrays[part], 88), arrays[f"{part}_lengths"]) for part in _PARTS})


def load_binary(name):
    """Load a set of binary vectors (file binary_<name>.npz).

    Parameters
    ----------
    name : {"dna", "mushrooms", "nips"}
        Of 180, 112 and 500 dimensions.

    Returns
    -------
    data : Bunch
        train, valid, test : float32 arrays (n_rows, n_features) of 0 and 1

    Raises
    ------
    ValueError
        If the name is another one; otherwise as `load_mocap` does.
    """
    _check_name(name, ("dna", "mushrooms", "nips"))
    arrays = _load(f"binary_{name}.npz")
    return Bunch(**{part: _unpack(arrays[part], int(arrays["n_features"])) for part in _PARTS})


def load_spoken_digits(frame_length=200):
    """Load 3000 spoken English digits of six speakers at 8 kHz, as frames of samples (file fsdd_8khz.npz).

    Each speaker said each digit 50 times; recordings 0-4 of these are test, 5-49 training. Samples are
    standardised by the mean and standard deviation of all training samples, and cut into frames; the samples
    after the last whole frame of a recording are left out. Raises as `load_mocap` does.

    Parameters
    ----------
    frame_length : int, at least 1, default 200
        Samples in a frame; 200 are 25 ms.

    Returns
    -------
    data : Bunch
        train, test : lists of 2700 and 300 float32 arrays (T_i, frame_length)
        train_digit, test_digit : int64 arrays, 0 to 9
        train_speaker, test_speaker : str arrays
        mean, scale : float; frame * scale + mean are the samples as recorded
        sample_rate : int, 8000
    """
    if not isinstance(frame_length, (int, np.integer)) or frame_length < 1:
        raise ValueError(f"frame_length must be an int of at least 1, got {frame_length!r}")
    frame_length = int(frame_length)
    arrays = _load("fsdd_8khz.npz")
    recordings = _split(arrays["samples"], arrays["lengths"])
    is_test = arrays["index"] < 5
    train_samples = arrays["samples"][~np.repeat(is_test, arrays["lengths"])]
    mean, scale = float(train_samples.mean(dtype=np.float64)), float(train_samples.std(dtype=np.float64))
    data = Bunch(mean=mean, scale=scale, sample_rate=8000)
    for part, chosen in (("train", ~is_test), ("test", is_test)):
        data[part] = []
        for i in np.flatnonzero(chosen):
            whole = recordings[i][: len(recordings[i]) // frame_length * frame_length]
            data[part].append(((whole - mean) / scale).astype(np.float32).reshape(-1, frame_length))
        data[f"{part}_digit"] = arrays["digit"][chosen].astype(np.int64)
        data[f"{part}_speaker"] = arrays["speaker"][chosen]
    return data
