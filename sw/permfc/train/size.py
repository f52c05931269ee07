"""What an image holds besides segments, before there is an image (docs/format.md): training shares out the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ..format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, LEVEL_ENTRY, MAX_LEVELS, HostFlag, padded
from ..image.host_section import host_dtype

BUS_BITS = 16  # the narrowest bus wastes least
WORD_BYTES = BUS_BITS // 8


def overhead_bytes(shapes: Sequence[tuple[int, int]], classes: Sequence[int]) -> int:
    """Bytes of an image without its segments, for layers of one block each whose outputs share a multiplier and a scale.

    Parameters
    ----------
    shapes : sequence of (features, outputs)
    classes : sequence of int
        Class slots of each layer.
    """
    slot = CLASS_INFO.itemsize + LEVEL_ENTRY.itemsize * MAX_LEVELS
    blocks = sum(BLOCK_HEADER.itemsize + slot * count + 2 * outputs for (_, outputs), count in zip(shapes, classes, strict=True))
    host = host_dtype(shapes[0][0], shapes[-1][1], (classes[0] - 1).bit_length(), HostFlag.SHARED_SCALE)
    return padded(IMAGE_HEADER.itemsize, WORD_BYTES) + blocks + host.itemsize
