"""Checkpoints: what `fit` needs to go on after it was stopped, in a file, so that the end has the same bits.

Design
------
A fit is a series of runs of a `Trainer`: one for each restart of each member of an ensemble.  A resumed fit does all
again that is quick and a function of the data and of the generator's first state (the split, the transforms, the first
parameters), and puts into each trainer the state that the file holds of its run.  A run that was finished has nothing
left to do then; the last one goes on; later ones begin.

States are taken after validations, copied in memory, and written when `every` seconds have passed: so Ctrl-C, which
may come in the middle of an update, leaves the state of the last validation.  The file is one of io.py: whole or not at
all, with a SHA-256, and nothing in it is run.
"""

import hashlib
import os
import time
import warnings
from contextlib import contextmanager
from numbers import Real

import numpy as np

from .io import ModelFileError, as_json, read_file, write_file

__all__ = ["CHECKPOINT", "Checkpoint", "digest"]

CHECKPOINT = "checkpoint"  # the kind of these files


def digest(*arrays):
    """SHA-256 of types, shapes and bytes of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
    return found.hexdigest()


class Checkpoint:
    """The file of one fit; with path None all calls do nothing.

    Parameters
    ----------
    path : str, path-like or None
    every : float
        Seconds from one writing to the next at least, >= 0.
    resume : bool
        Go on from the file where there is one.  Else an older checkpoint is replaced; a file of another kind is not.

    Attributes
    ----------
    about : dict or None
        What the fit of the file began with; None where there is nothing to go on from.
    """

    def __init__(self, path, every, resume):
        if not isinstance(resume, bool | np.bool_):
            raise ValueError(f"resume must be a bool. Got {resume!r} instead.")
        if isinstance(every, bool) or not isinstance(every, Real) or not every >= 0:
            raise ValueError(f"every must be a number of seconds in the range [0, inf]. Got {every!r} instead.")
        if path is None and resume:
            raise ValueError("resume=True needs checkpoint=path, the file to continue from.")
        if path is not None and not isinstance(path, str | os.PathLike):
            raise TypeError(f"checkpoint must be a path or None. Got a {type(path).__name__}.")
        self.path, self.every = path, every
        self.about, self.stored, self.arrays = None, {"runs": []}, {}
        self.runs = []  # the state of each run so far: (numbers, arrays)
        self.written = True  # what is in memory is in the file
        self.warned = False
        if path is not None and os.path.exists(path):
            self._read(resume)

    def _read(self, resume):
        from . import __version__

        name = repr(os.fsdecode(self.path))
        kind, state, arrays, version = read_file(self.path)
        if kind != CHECKPOINT:
            raise ModelFileError(f"{name} holds a {kind}, not a checkpoint: give another path.")
        if not resume:
            return
        if version != __version__:
            raise ModelFileError(
                f"{name} is a checkpoint of rnnrnade {version}, but this is {__version__}: resume it with that "
                "version, or start again with resume=False, which replaces it."
            )
        self.stored, self.arrays = state, arrays
        with self._refusing():
            self.about, runs = self.stored["about"], self.stored["runs"]
            if not isinstance(self.about, dict) or not isinstance(runs, list):
                raise ValueError("'about' or 'runs' is of another type")

    @contextmanager
    def _refusing(self):
        """What the file holds is no state of this fit: only who can write its hash can bring that about."""
        try:
            yield
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ModelFileError(
                f"{os.fsdecode(self.path)!r} does not hold the state of a fit: {what}. It was changed after it was "
                "written: take a copy, or start again with resume=False, which replaces it."
            ) from error

    def begin(self, about, generator):
        """Compare `about` with what the fit of the file began with, set the generator back, and write a first time: a
        path that cannot be written is an error now, not after hours."""
        resumed = self.about is not None
        if resumed:
            differ = [name for name in {**self.about, **about} if _differ(self.about, about, name)]
            if differ:
                what = "; ".join(_difference(self.about, about, name) for name in differ)
                raise ModelFileError(
                    f"{os.fsdecode(self.path)!r} is a checkpoint of another fit: {what}. Resume it as it was begun, or "
                    "start again with resume=False, which replaces it."
                )
            with self._refusing():
                generator.bit_generator.state = self.stored["generator"]
        self.about, self.first = about, generator.bit_generator.state
        if resumed:
            write_file(self.path, CHECKPOINT, self.stored, self.arrays)
        else:
            self._write()
        self.last = time.monotonic()

    def restore(self, trainer):
        """Put the state of the run that begins now into its trainer, where the file has one."""
        if self.path is None:
            return
        k = len(self.runs)
        if k < len(self.stored["runs"]):
            arrays = {name.removeprefix(f"{k}."): a for name, a in self.arrays.items() if name.startswith(f"{k}.")}
            with self._refusing():
                trainer.set_state(self.stored["runs"][k], arrays)
        self.runs.append(trainer.get_state())

    def keep(self, trainer):
        """Take the state of the run, and write it if it is time."""
        if self.path is None:
            return
        self.runs[-1], self.written = trainer.get_state(), False
        if time.monotonic() - self.last >= self.every:
            self.flush()

    def flush(self):
        """Write what is not written; a full disk costs the checkpoint, not the fit."""
        if self.written:
            return
        try:
            self._write()
        except OSError as error:
            if not self.warned:
                self.warned = True
                warnings.warn(
                    f"the checkpoint {os.fsdecode(self.path)!r} could not be written ({error}): training continues, "
                    "and the file stays as it was. Later validations will try again, without another warning.",
                    stacklevel=2,
                )
        self.last = time.monotonic()

    def _write(self):
        content = {"about": self.about, "generator": self.first, "runs": [numbers for numbers, _ in self.runs]}
        arrays = {f"{k}.{name}": a for k, (_, own) in enumerate(self.runs) for name, a in own.items()}
        write_file(self.path, CHECKPOINT, content, arrays)
        self.written = True


def _differ(before, now, name):
    return name not in before or name not in now or as_json(before[name]) != as_json(now[name])


def _difference(before, now, name):
    was, value = before.get(name), now.get(name)
    if any(isinstance(one, str) and len(one) == 64 for one in (was, value)):  # digests
        return f"another {name}"
    return f"{name} was {was!r}, is {value!r}"
