"""The Japanese vowels, bundled with the package (made by tools/make_japanese_vowels.py)."""

from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch


def load_japanese_vowels():
    """Load 640 utterances of the vowels /ae/ by nine male speakers, as frames of 12 LPC cepstra.

    Returns
    -------
    data : Bunch
        train : list of 270 float64 arrays, each (T_i, 12) with 7 <= T_i <= 26
        test : list of 370 float64 arrays, each (T_i, 12) with 7 <= T_i <= 29
        train_speaker, test_speaker : int64 arrays (270,) and (370,), the speaker of each utterance, 1 to 9
        feature_names : list of 12 str
        DESCR : str, where the data come from and their licence (CC BY 4.0)

    Notes
    -----
    Source: UCI Machine Learning Repository, Japanese Vowels; M. Kudo, J. Toyama and M. Shimbo,
    "Multidimensional curve classification using passing-through regions", Pattern Recognition Letters 20,
    1999. The values are exactly those of the source. Utterances are ordered by speaker: shuffle before
    cutting off a validation set.

    Examples
    --------
    >>> from rnnrnade.datasets import load_japanese_vowels
    >>> vowels = load_japanese_vowels()
    >>> len(vowels.train), vowels.train[0].shape, int(vowels.train_speaker[0])
    (270, (20, 12), 1)
    """
    folder = files(__package__)
    with (folder / "japanese_vowels.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        data = Bunch()
        for part in ("train", "test"):
            frames = arrays[part] / 1e6  # stored in millionths
            data[part] = np.split(frames, np.cumsum(arrays[f"{part}_lengths"], dtype=np.int64)[:-1])
            data[f"{part}_speaker"] = arrays[f"{part}_speaker"].astype(np.int64)
    data.feature_names = [f"cepstrum_{i}" for i in range(1, 13)]
    data.DESCR = (folder / "JAPANESE_VOWELS.txt").read_text(encoding="utf-8")
    return data
