"""The headers of docs/format.md as gates see them."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import unsigned
from amaranth.lib import data

from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER


def packed_layout(dtype: np.dtype) -> data.StructLayout:
    """The layout of a NumPy record, so that a header's fields are written down once."""
    return data.StructLayout({name: unsigned(8 * dtype[name].itemsize) for name in dtype.names})


IMAGE_HEADER_LAYOUT = packed_layout(IMAGE_HEADER)
BLOCK_HEADER_LAYOUT = packed_layout(BLOCK_HEADER)
CLASS_INFO_LAYOUT = packed_layout(CLASS_INFO)
