"""Files that the subcommands write: a path is checked before the work begins, so that a wrong one costs neither hours nor a file."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from permfc.errors import InputError
from permfc.files import write_file


def check_output(path: Path | None, *sources: Path | None) -> None:
    """Refuse a path where nothing can be written, or that would replace one of the files that are read. None is no path.

    Raises
    ------
    InputError
        If it is a folder or device, its folder is missing or may not be written, or it is one of ``sources``.
    """
    if path is None:
        return
    if path.exists() and not path.is_file():  # a file is written beside and renamed: that would replace even /dev/null
        raise InputError(f"{path} is a {'folder' if path.is_dir() else 'device'}: give the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to write {path.name} to: make it, or choose another")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"The folder {path.parent} of {path.name} cannot be written: choose another")
    if path.exists() and any(path.samefile(source) for source in sources if source is not None):
        raise InputError(f"{path} is read and would be replaced: choose another name for what is written")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as ``.npy``; FormatError if it cannot be written."""
    stream = io.BytesIO()
    np.save(stream, array)
    write_file(path, stream.getvalue())
