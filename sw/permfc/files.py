"""Whole files: read with a clear error, written beside and renamed, so that a half-written file never has the final name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .errors import FormatError


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"Cannot read {path}: {error.strerror}") from error


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Raises
    ------
    FormatError
        If it cannot be written; nothing is left behind.
    """
    path = Path(path)
    if path.is_dir():
        raise FormatError(f"Cannot write {path}: it is a folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise FormatError(f"Cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):  # where nothing can be written there is nothing left either
            temporary.unlink()
