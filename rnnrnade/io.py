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

Loading runs no code of the file: it parses JSON, and copies bytes into arrays. Before anything is parsed, the size of
the file is compared with the last byte that its header speaks of, and its SHA-256 with the one that it holds; both are
found as text. A header has at most 4 MiB, and the package compares each array's shape with its bytes, so that nothing
much larger than the file is allocated. The header's metadata we parse ourselves: the package gives them only for a
path, not for bytes, and a second look at the path may find another file.

Writing is atomic: a temporary file in the same folder, fsync, then a rename over the old file, whose mode it takes. A
temporary file is locked while it is written. One that is not was left by a process that was killed; the next writing
under the same name removes it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from .checks import printable

__all__ = ["Content", "ModelFileError", "as_json", "read_file", "write_file"]

FORMAT = 2  # 1: files of versions before ensembles and checkpoints
_KEY = "rnnrnade"
_ZEROS = "0" * 64
_MAX_HEADER = 2**22  # bytes
_CLASS = r"\"class\":\"{}\""  # how these stand in the header, JSON inside a JSON string
_SHA256 = re.compile(rb'\\"sha256\\":\\"([0-9a-f]{64})\\"')
_END = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d{1,19}\s*,\s*(\d{1,19})\s*\]')
_TYPE_CODES = "?bBhHiIlLqQefd"  # NumPy's, of bool, integers and float16 to float64


class ModelFileError(ValueError):
    """A file that is not a model file, or has changed since it was written, or is of another version."""

    def __init__(self, message):
        super().__init__(printable(message))  # which may quote the file


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
    begin, end = _place_of_hash(data[: 8 + length])
    _write_atomically(path, [data[:begin], _digest(data, begin, end).encode(), data[end:]])


def holds(path, kind):
    """Whether a file says that it is one of `write_file` of this kind."""
    try:
        with open(path, "rb") as file:
            return _CLASS.format(kind).encode() in _head(file)
    except (OSError, ValueError):
        return False


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
    file_name = repr(os.fsdecode(path))
    if not stat.S_ISREG(os.stat(path).st_mode):  # not opened: a pipe would wait for ever
        raise ModelFileError(f"{file_name} is not a regular file: give the path of a file that save() wrote.")
    with open(path, "rb") as file:
        try:
            content, arrays = _read(file)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, SafetensorError) as error:
            raise ModelFileError(
                f"{file_name} is not a model file, or has changed since it was written: {error}. Copy it again "
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


def _place_of_hash(head):
    """(begin, end) of the hash in the first bytes of a file, where it is an entry of JSON inside a JSON string.

    Such text within a string of the options has more backslashes; only a second key "sha256", or an array of such a
    name, would put the place in doubt, and is refused.
    """
    found = list(_SHA256.finditer(head))
    if len(found) != 1:
        raise ValueError(f"its header has {len(found)} places for the SHA-256, not one")
    return found[0].span(1)


def _digest(data, begin, end):
    """SHA-256 of a whole file with zeros in the place of the hash."""
    digest = hashlib.sha256(data[:begin])
    digest.update(_ZEROS.encode())
    digest.update(data[end:])
    return digest.hexdigest()


def _head(file):
    """The length of the header and the header of an open file."""
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > min(os.fstat(file.fileno()).st_size - 8, _MAX_HEADER):
        raise ValueError("it is cut short or begins with no header of ours")
    return head + file.read(length)


def _read(file):
    """(content, arrays) of an open file; an exception where a byte is not as `write_file` wrote it."""
    head = _head(file)
    if f'"{_KEY}"'.encode() not in head:
        raise ValueError("it is a safetensors file of something else")
    size = os.fstat(file.fileno()).st_size
    expected = len(head) + max((int(found[1]) for found in _END.finditer(head)), default=0)
    if size != expected:
        raise ValueError(f"it has {size} bytes, but its header describes {expected}")
    begin, end = _place_of_hash(head)
    data = head + file.read(size - len(head))
    if data[begin:end] != _digest(memoryview(data), begin, end).encode():
        raise ValueError("its content does not have the SHA-256 that was written with it")

    metadata = json.loads(head[8:]).get("__metadata__", {})
    if list(metadata) != [_KEY]:
        raise ValueError("it is a safetensors file of something else")
    content = json.loads(metadata[_KEY])
    if content["format"] != FORMAT:
        return content, {}  # the rest may be of any form
    for key, kind in (("class", str), ("options", dict), ("sha256", str)):
        if not isinstance(content.get(key), kind):
            raise ValueError("its metadata are not those of a model")
    arrays = safetensors.numpy.load(data)
    for name, array in arrays.items():
        if array.dtype.char not in _TYPE_CODES:
            raise ValueError(f"array {name!r} has type {array.dtype}")
    return content, arrays


def _write_atomically(path, chunks):
    """Write a file whole or not at all: whoever looks sees the old one or the new one."""
    path = os.path.realpath(os.fsdecode(path))  # through a link, so that the link stays
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder!r} to write {name!r} into.")
    exists = os.path.exists(path)
    if exists and not os.path.isfile(path):
        raise (IsADirectoryError if os.path.isdir(path) else OSError)(f"{path!r} is not a regular file.")
    file = _temporary(folder, name)
    try:
        with file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            if exists:
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            os.fsync(file.fileno())
            os.replace(file.name, path)
    except BaseException:  # Ctrl-C too must leave nothing behind
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        raise
    with contextlib.suppress(OSError):  # the rename itself; not every system can sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    _remove_left(folder, name)


def _temporary(folder, name):
    """A new file, open and locked."""
    while True:
        file = open(os.path.join(folder, f"{_left(name)}{secrets.token_hex(8)}.tmp"), "xb")  # noqa: SIM115
        _lock(file)
        if os.path.exists(file.name):  # else another process took it for a left one
            return file
        file.close()


def _left(name):
    """How the names of temporary files begin."""
    return f".{name[:200]}."


def _lock(file, wait=True):
    """Whether this process alone has an open file; True too where the system has no locks and it need not be known."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return wait
    return True


def _remove_left(folder, name):
    """Remove the temporary files that processes left when they were killed."""
    for other in os.listdir(folder):
        if re.fullmatch(re.escape(_left(name)) + r"[0-9a-f]{16}\.tmp", other):
            with contextlib.suppress(OSError), open(os.path.join(folder, other), "rb") as file:
                if _lock(file, wait=False):
                    os.unlink(file.name)
