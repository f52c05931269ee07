"""Arrays in ``.npy`` and ``.npz`` files: plain numbers, never more of them than the file holds, nothing
executed."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np

from .errors import InputError

_NUMBERS, _TEXT = "fiub", "SU"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_RATIO = 1040  # how far deflate can expand, and a little more


def parse_npy(content: bytes, name: str) -> np.ndarray:
    """The array in the bytes of a ``.npy`` file.

    Parameters
    ----------
    content : bytes
    name : str
        What errors call the file.

    Returns
    -------
    array of bool, integers, floats or text, in the machine's byte order and in the shape that was saved

    Raises
    ------
    InputError
        If it is damaged, or holds anything but plain values.
    """
    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings():  # about Python 2, and about escapes in damaged text
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            shape, fortran, kind = _HEADERS[version](stream)
    except (
        Exception
    ) as error:  # the header is Python text, and whatever its tokeniser and parser raise comes out
        raise InputError(
            f"{name} is not an array that numpy.save wrote: its header is damaged, or of structured "
            f"values; save it again"
        ) from error
    if kind.kind not in _NUMBERS + _TEXT:
        raise InputError(f"{name} holds {kind}, not plain numbers: save it as float32")
    held = len(content) - stream.tell()
    if min(shape, default=0) < 0 or int(np.prod(shape, dtype=object)) * kind.itemsize != held:
        raise InputError(
            f"{name} is not an array that numpy.save wrote: it has {held} bytes for {kind} "
            f"{list(shape)}; save it again"
        )
    try:
        array = np.frombuffer(stream.read(), dtype=kind).reshape(shape, order="F" if fortran else "C")
    except (
        ValueError,
        OverflowError,
    ) as error:  # more dimensions than NumPy has, one beyond 64 bits, text of no length
        raise InputError(f"{name} is not an array that numpy.save wrote, {error}: save it again") from error
    return array.astype(array.dtype.newbyteorder("="))


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The numbers in a ``.npy`` file; see `parse_npy`. Raises InputError also if there is no such file,
    or it holds several arrays."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from error
    if content[:4] == b"PK\x03\x04":
        raise InputError(f"{path} holds several arrays; save the one to use with numpy.save")
    array = parse_npy(content, str(path))
    if array.dtype.kind not in _NUMBERS:
        raise InputError(f"{path} holds {array.dtype}, not plain numbers: save it as float32")
    return array


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays in a ``.npz`` file by name, in the file's order.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or holds anything but arrays of plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_sizes(members, path)
            return {
                info.filename.removesuffix(".npy"): parse_npy(
                    archive.read(info), f"{info.filename} in {path}"
                )
                for info in members
            }
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}") from error
    except (
        Exception
    ) as error:  # zipfile's, zlib's and struct's own errors, and RuntimeError for encrypted files
        raise InputError(f"{path} is damaged, copy it again: {error}") from error


def _check_sizes(members: list[zipfile.ZipInfo], path: str | os.PathLike[str]) -> None:
    """Refuse an archive that would take more memory than its length can justify."""
    length = Path(path).stat().st_size
    dense = sum(info.compress_size for info in members) > length  # members that share bytes
    for info in members:
        if (
            dense
            or info.file_size > _RATIO * (info.compress_size + 1)
            or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        ):
            raise InputError(
                f"{path} is damaged, copy it again: {info.filename} would take {info.file_size} bytes"
            )
