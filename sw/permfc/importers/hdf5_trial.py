"""Reads a whole HDF5 file, from standard input or under the given name, in a process of its own.

HDF5's library crashes or loops for ever on some damaged files. What happens here first does not happen
to the user's program.
This file is run, not imported, so that the process starts with h5py alone.
"""

from __future__ import annotations

import io
import sys

_PLAIN, _RATIO = 1 << 20, 100  # as in keras_weights: larger claims are refused there


def touch(item: object) -> None:
    """Read an object's attributes and, of a dataset that is as large as it claims, all values."""
    for name in item.attrs:
        item.attrs[name]
    if (
        hasattr(item, "shape")
        and not item.is_virtual
        and item.nbytes <= _PLAIN + _RATIO * item.id.get_storage_size()
    ):
        item[()]


def main(source: object) -> None:
    import h5py

    with h5py.File(source, "r") as file:
        touch(file)
        file.visititems(lambda _, item: touch(item))


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else io.BytesIO(sys.stdin.buffer.read()))
    except Exception:  # an error that Python can tell is told by who reads the file next
        sys.exit(0)
