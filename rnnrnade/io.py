"""Files of models and of checkpoints: a kind, what JSON knows, and arrays by name.

Design
------
A model file is a safetensors file, written and read by the safetensors package: eight bytes with the length of
the header, the header in JSON, the arrays. Its metadata have the one key "rnnrnade" (several would come in any
order), a JSON string with the format, the kind (under "class": that of an estimator, or "checkpoint"), the state (under
"options"), the version of this package, and a SHA-256.

The SHA-256 is that of the whole file with 64 zeros in its own place. So ANY changed byte is refused, and nothing
depends on how another release of safetensors orders or pads a header. It is a check against damage, not a
signature: who can write a file can write its hash.

Loading runs no code of the file: it parses JSON, and copies bytes into arrays. The
size of the file is compared with its header before the arrays are read, and the package compares each array's shape
with its bytes, so that nothing larger than the file is allocated. The header's metadata we parse ourselves: the package
gives them only for a path, not for bytes, and a second look at the path may find another file.

Writing is atomic: a temporary file in the same folder, fsync, then a rename over the old file.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

__all__ = ["Content", "ModelFileError", "as_json", "read_file", "write_file"]

FORMAT = 2  # 1: files of versions before ensembles and checkpoints
_KEY = "rnnrnade"
_ZEROS = "0" * 64
_MAX_HEADER = 100_000_000  # the package reads no longer one
_TYPE_CODES = "?bBhHiIlLqQefd"  # NumPy's, of bool, integers and float16 to float64


class ModelFileError(ValueError):
    """A file that is no model file, or has changed since it was written, or is of another version."""


class Content(NamedTuple):
    """What a file holds: its kind, a dict of what JSON knows, arrays by name, and the version that wrote it."""

    kind: str
    state: dict
    arrays: dict
    version: str | None


def write_file(path, kind, state, arrays):
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced; one that cannot be written leaves it as it was.
    kind : str
    state : dict
        Of what JSON knows.
    arrays : mapping of str to ndarray

    Raises
    ------
    TypeError
        For a part of the state that cannot be written, such as a random generator, or an array not of numbers.
    ValueError
        For a state larger than a header can be, or such that the place of the hash would be in doubt.
    OSError
        Where the file cannot be written.
    """
    from . import __version__

    arrays = {name: _contiguous(name, array) for name, array in arrays.items()}
    for name, part in state.items():
        try:
            as_json(part)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{kind} cannot be saved: its {name} is a {type(part).__name__}, but only numbers, "
                "strings, None, and lists and dicts of them can be written."
            ) from error
    content = {"format": FORMAT, "class": kind, "options": state, "version": __version__, "sha256": _ZEROS}
    data = memoryview(safetensors.numpy.save(arrays, metadata={_KEY: as_json(content)}))
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise ValueError(f"the options are too large to be saved: a header of {length} bytes.")
    begin, end = _place_of_hash(data[: 8 + length], _ZEROS)
    _write_atomically(path, [data[:begin], _digest(data, begin, end).encode(), data[end:]])


def read_file(path):
    """Read a file of `write_file`; runs no code of it.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Content

    Raises
    ------
    ModelFileError
        For a file that is none of ours, is damaged or changed in any byte, or is of another format.
    FileNotFoundError, PermissionError
        As `open` raises them.
    """
    file_name = repr(os.fspath(path))
    if not stat.S_ISREG(os.stat(path).st_mode):  # not opened: a pipe would wait for ever
        raise ModelFileError(f"{file_name} is not a regular file: give the path of a file that save() wrote.")
    with open(path, "rb") as file:
        try:
            content, arrays = _read(file)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, SafetensorError) as error:
            raise ModelFileError(
                f"{file_name} is no model file, or has changed since it was written: {error}. Copy it again "
                "from its source, or save the model again."
            ) from error
    if content["format"] != FORMAT:
        raise ModelFileError(
            f"{file_name} has format {content['format']} (written by rnnrnade {content.get('version')}), but this "
            f"version reads format {FORMAT}: load it with that version of rnnrnade."
        )
    return Content(content["class"], content["options"], arrays, content.get("version"))


# ------------------------------------------------------------------------------------------------- the format


def as_json(value):
    """The one JSON text of a value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value):
    """NumPy's numbers and arrays of numbers as Python's."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biuf":
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _contiguous(name, array):
    """The array as the package wants it: C-contiguous, native, of a type that the format and NumPy share."""
    array = np.asarray(array)
    if array.dtype.char not in _TYPE_CODES:
        raise TypeError(f"array {name!r} of type {array.dtype} cannot be saved.")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)


def _place_of_hash(head, sha256):
    """(begin, end) of the hash in the first bytes of a file, where it is an entry of JSON inside a JSON string.

    Such text within a string of the options has more backslashes; only a second key "sha256" of the same value, or
    an array of such a name, would put the place in doubt, and is refused.
    """
    head = bytes(head)
    entry = json.dumps(f'"sha256":"{sha256}"')[1:-1].encode()  # as it stands inside a JSON string
    if head.count(entry) != 1:
        raise ValueError(f"its header has {head.count(entry)} places for the SHA-256, not one")
    begin = head.index(entry) + entry.index(sha256.encode())
    return begin, begin + len(sha256)


def _digest(data, begin, end):
    """SHA-256 of a whole file with zeros in the place of the hash."""
    digest = hashlib.sha256(data[:begin])
    digest.update(_ZEROS.encode())
    digest.update(data[end:])
    return digest.hexdigest()


def _read(file):
    """(content, arrays) of an open file; an exception where a byte is not as `write_file` wrote it."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError("it is cut short or begins with no header")
    head += file.read(length)
    header = json.loads(head[8:])
    metadata = header.pop("__metadata__", {})
    if list(metadata) != [_KEY]:
        raise ValueError("it is a safetensors file of something else")
    content = json.loads(metadata[_KEY])
    if content["format"] != FORMAT:
        return content, {}  # the rest may be of any form
    for key, kind in (("class", str), ("options", dict), ("sha256", str)):
        if not isinstance(content.get(key), kind):
            raise ValueError("its metadata are not those of a model")
    expected = len(head) + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != expected:
        raise ValueError(f"it has {size} bytes, but its header describes {expected}")

    data = head + file.read(size - len(head))
    if content["sha256"] != _digest(memoryview(data), *_place_of_hash(head, content["sha256"])):
        raise ValueError("its content does not have the SHA-256 that was written with it")
    arrays = safetensors.numpy.load(data)
    for name, array in arrays.items():
        if array.dtype.char not in _TYPE_CODES:
            raise ValueError(f"array {name!r} has type {array.dtype}")
    return content, arrays


def _write_atomically(path, chunks):
    """Write a file whole or not at all: whoever looks sees the old one or the new one."""
    path = os.path.realpath(os.fspath(path))  # through a link, so that the link stays
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder!r} to write {os.path.basename(path)!r} into.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise (IsADirectoryError if os.path.isdir(path) else OSError)(f"{path!r} is not a regular file.")
    temporary = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too must leave nothing behind
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # the rename itself; not every system can sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
