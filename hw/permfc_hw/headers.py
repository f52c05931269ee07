"""The headers of docs/format.md as gates see them."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import unsigned
from amaranth.lib import data

from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER


def packed_layout(dtype: np.dtype) -> data.StructLayout:
    """The layout of a NumPy record, so that a header's fields are written down once."""
    return data.StructLayout({name: unsigned(8 * dtype[name].itemsize) for name in dtype.names})


CHECKED_LAST = ("accumulator_bits", "flags")  # fields of the image header that lie side by side behind as many bytes as a block header has
_FIRST = [name for name in IMAGE_HEADER.names if IMAGE_HEADER.fields[name][1] < BLOCK_HEADER.itemsize]

#: What an engine needs of the image header.
IMAGE_HEADER_LAYOUT = packed_layout(IMAGE_HEADER[[*_FIRST, *CHECKED_LAST]])
BLOCK_HEADER_LAYOUT = packed_layout(BLOCK_HEADER)
CLASS_INFO_LAYOUT = packed_layout(CLASS_INFO)
