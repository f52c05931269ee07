"""Files that the subcommands read: one clear sentence for what cannot be read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from permfc import image, model_file
from permfc.errors import InputError
from permfc.files import read_file
from permfc.format import MAGIC
from permfc.network import Network


def read_array(path: Path) -> np.ndarray:
    """The array in a ``.npy`` file.

    Raises
    ------
    InputError
        If the file holds no single array of numbers.
    """
    try:
        array = np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not an array that numpy.save wrote: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; save the one to use with numpy.save")
    return array


def read_network(path: Path) -> tuple[Network, int | None]:
    """The network in a model file or an image, and the bus width in bits that the image is packed for (None for a model file).

    Raises
    ------
    FormatError
        If the file is neither, or damaged.
    """
    content = read_file(path)
    if content[:4] == MAGIC.to_bytes(4, "little"):
        parsed = image.parse(content)
        return parsed.network(), parsed.bus_bits
    return model_file.from_bytes(content, str(path)), None
