"""Models in files: `save_estimator` and `load_estimator`.

Design
------
A model file is a safetensors file: eight bytes with the length of the header, the header in JSON, the arrays
end to end. Any safetensors reader can read the arrays. The header's metadata has the one key "rnnrnade", a
JSON string with the format, the class, its options, the version of the package and a SHA-256 over all that
and over the arrays.

Loading runs no code of the file: it parses JSON, copies bytes into arrays, and looks the class up in a list.
Sizes are compared with the size of the file before anything is allocated. The hash covers what the file
means; that the header says it in exactly the bytes that we would write covers the rest, so ANY changed byte
is refused. It is a check against damage, not a signature: who can write a file can write its hash.

We write and read the format ourselves, in a few lines, because that comparison needs bytes which no release
of another package may change; the tests read the files with the safetensors package.

Writing is atomic: a temporary file in the same folder, fsync, then a rename over the old file.
"""

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat

import numpy as np

__all__ = ["ModelFileError", "load_estimator", "save_estimator"]

FORMAT = 1
_KEY = "rnnrnade"
_MAX_HEADER = 100_000_000  # the format's own limit
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip
_CODES = {np.dtype(name): code for code, name in _DTYPES.items()}


class ModelFileError(ValueError):
    """A file that is no model file, or has changed since it was written, or is of another version."""


def save_estimator(estimator, path):
    """Write a fitted estimator to a file, whole or not at all.

    Parameters
    ----------
    estimator : estimator
        Gives ``_state() -> (class name, options, arrays)``: `options` of what JSON knows, `arrays` by name.
    path : str or path-like
        An existing file is replaced; one that cannot be written leaves it as it was.

    Raises
    ------
    TypeError
        For an option that cannot be written, such as a random generator.
    OSError
        Where the file cannot be written.
    """
    from . import __version__

    class_name, options, arrays = estimator._state()
    arrays = {name: _little_endian(name, array) for name, array in arrays.items()}
    for name, option in options.items():
        try:
            _json(option)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{class_name} cannot be saved: its {name} is a {type(option).__name__}, but only numbers, "
                "strings, None, and lists and dicts of them can be written."
            ) from error
    content = {"format": FORMAT, "class": class_name, "options": options, "version": __version__}
    content = json.loads(_json(content))  # as it will be read: tuples are lists, NumPy's numbers are Python's
    content["sha256"] = _digest(content, arrays)
    names = _file_order(arrays)
    _write_atomically(path, [_header(content, arrays), *(arrays[name].tobytes() for name in names)])


def load_estimator(path, kind=None):
    """Read an estimator from a file of `save_estimator`.

    Parameters
    ----------
    path : str or path-like
    kind : class, default=None
        Refuse an estimator that is not of this class.

    Returns
    -------
    estimator
        Fitted, with the same bits in every array.

    Raises
    ------
    ModelFileError
        For a file that is no model, is damaged or changed in any byte, or is of another version or kind.
    FileNotFoundError, PermissionError
        As `open` raises them.
    """
    from .estimators import ESTIMATORS

    file_name = repr(os.fspath(path))
    if not stat.S_ISREG(os.stat(path).st_mode):  # not opened: a pipe would wait for ever
        raise ModelFileError(f"{file_name} is not a regular file: give the path of a file that save() wrote.")
    with open(path, "rb") as file:
        try:
            content, arrays = _read(file)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelFileError(
                f"{file_name} is no model file, or has changed since it was written: {error}. Copy it again "
                "from its source, or save the model again."
            ) from error
    written = f"written by rnnrnade {content.get('version')}"
    if content["format"] != FORMAT:
        raise ModelFileError(
            f"{file_name} has format {content['format']} ({written}), but this version reads format "
            f"{FORMAT}: load it with that version of rnnrnade."
        )
    if content["class"] not in ESTIMATORS:
        raise ModelFileError(
            f"{file_name} holds a {content['class']} ({written}), but this version knows only "
            f"{', '.join(sorted(ESTIMATORS))}: load it with that version of rnnrnade."
        )
    if kind is not None and not issubclass(ESTIMATORS[content["class"]], kind):
        raise ModelFileError(
            f"{file_name} holds a {content['class']}, not a {kind.__name__}: load it with "
            f"{content['class']}.load()."
        )
    try:
        return ESTIMATORS[content["class"]]._from_state(content["options"], arrays)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(
            f"{file_name} holds a {content['class']} ({written}) that this version cannot rebuild: {error}. "
            "Load it with that version of rnnrnade."
        ) from error


# ------------------------------------------------------------------------------------------------- the format


def _json(value):
    """The one JSON text of a value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value):
    """NumPy's numbers and arrays of numbers as Python's."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biuf":
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _little_endian(name, array):
    array = np.asarray(array)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    if array.dtype not in _CODES:
        raise TypeError(f"array {name!r} of type {array.dtype} cannot be saved.")
    return array


def _file_order(arrays):
    """Names in the order of the file: the widest types first, so that each array is aligned."""
    return sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))


def _header(content, arrays):
    """The file up to the arrays: the length of the header and the header, filled up to a multiple of 8."""
    header = {"__metadata__": {_KEY: _json(content)}}
    begin = 0
    for name in _file_order(arrays):
        array = arrays[name]
        end = begin + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"the options are too large to be saved: a header of {len(text)} bytes.")
    return len(text).to_bytes(8, "little") + text


def _read(file):
    """(content, arrays) of an open file; an exception where a byte is not as `save_estimator` writes it."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError("it is cut short or begins with no header")
    text = file.read(length)
    header = json.loads(text)
    metadata = header.pop("__metadata__", {})
    if _KEY not in metadata:
        raise ValueError("it is a safetensors file of something else")
    content = json.loads(metadata[_KEY])
    if not isinstance(content["class"], str) or not isinstance(content["options"], dict):
        raise ValueError("its metadata are not those of a model")
    if content["format"] != FORMAT:
        return content, {}  # the rest may be of any form

    layout = {}
    for name, entry in header.items():  # in the order of the file
        dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"]
        if len(shape) > 8 or not all(type(n) is int and 0 <= n <= size for n in shape):
            raise ValueError(f"array {name!r} has shape {shape}")
        layout[name] = dtype, shape, dtype.itemsize * math.prod(shape)
    expected = 8 + length + sum(n_bytes for _, _, n_bytes in layout.values())
    if size != expected:
        raise ValueError(f"it has {size} bytes, but its header describes {expected}")

    arrays = {}
    for name, (dtype, shape, n_bytes) in layout.items():
        data = bytearray(n_bytes)
        if file.readinto(data) != n_bytes:
            raise ValueError("it was cut short while it was read")
        arrays[name] = np.frombuffer(data, dtype=dtype).reshape(shape)
    if content.get("sha256") != _digest(content, arrays):
        raise ValueError("its content does not have the SHA-256 that was written with it")
    if length.to_bytes(8, "little") + text != _header(content, arrays):
        raise ValueError("its header is not as save() writes it")
    native = {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}
    return content, native


def _digest(content, arrays):
    """SHA-256 of the content without its own entry, and of name, type, shape and bytes of each array."""
    digest = hashlib.sha256(_json({key: value for key, value in content.items() if key != "sha256"}).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_json([name, _CODES[array.dtype], array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


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
