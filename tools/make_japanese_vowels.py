"""Make rnnrnade/datasets/japanese_vowels.npz from the published text files of the Japanese vowels.

    python tools/make_japanese_vowels.py SOURCE [OUTPUT]

SOURCE is a folder that holds JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts (at any depth), or a zip
archive of them; the wheel of the sktime package is one. A line of such a file, after "@data", is one
utterance: its twelve channels, and then the speaker, separated by colons; the values of a channel by commas.

Every value is printed with at most six decimals, so it is stored as a whole number of millionths: dividing
that by 1e6 gives the very float64 that reading the text gives, at half the size. The script checks this for
each value.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parent.parent / "rnnrnade" / "datasets" / "japanese_vowels.npz"
UTTERANCES = {"train": 270, "test": 370}


def read_text(source, name):
    """The text of the one file called `name` in a folder or a zip archive."""
    if source.is_dir():
        found = sorted(source.rglob(name))
        if len(found) == 1:
            return found[0].read_text(encoding="utf-8")
    else:
        with zipfile.ZipFile(source) as archive:
            found = [entry for entry in archive.namelist() if Path(entry).name == name]
            if len(found) == 1:
                return archive.read(found[0]).decode("utf-8")
    raise SystemExit(f"{source}: expected one file {name}, found {len(found)}")


def parse(text):
    """A list of (T, 12) arrays of the values as printed, and the speakers, from the text of a .ts file."""
    utterances, speakers = [], []
    for line in text.split("@data", 1)[1].split():
        *channels, speaker = line.split(":")
        utterances.append(np.array([channel.split(",") for channel in channels], dtype=np.float64).T)
        speakers.append(int(speaker))
    return utterances, speakers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=OUTPUT)
    arguments = parser.parse_args()

    arrays = {}
    for part, n_utterances in UTTERANCES.items():
        utterances, speakers = parse(read_text(arguments.source, f"JapaneseVowels_{part.upper()}.ts"))
        lengths = np.array([len(utterance) for utterance in utterances])
        frames = np.ascontiguousarray(np.concatenate(utterances))
        millionths = np.rint(frames * 1e6).astype(np.int32)
        assert len(utterances) == n_utterances and frames.shape[1] == 12
        assert lengths.min() >= 7 and lengths.max() <= 29, "padded?"
        assert set(speakers) == set(range(1, 10))
        assert np.array_equal(millionths / 1e6, frames), "a value has more than six decimals"
        arrays[part] = millionths
        arrays[f"{part}_lengths"] = lengths.astype(np.int16)
        arrays[f"{part}_speaker"] = np.array(speakers, dtype=np.int8)
    np.savez_compressed(arguments.output, **arrays)
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
