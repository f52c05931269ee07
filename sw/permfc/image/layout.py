"""Where everything of an image lies: computed once, used by the packer, the traffic law and the size report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, LEVEL_ENTRY, MAX_LEVELS, TABLE_BYTES, words
from ..network import Layer, Network, Segments
from .codec import feature_words
from .host_section import network_host_dtype


@dataclass(frozen=True)
class BlockLayout:
    """One output block in an image. All sizes and offsets count bus words.

    Members
    -------
    layer, block : int
        Number of the layer, and of the block in it.
    rows : slice
        Outputs of the layer in this block.
    classes : tuple of Segments
    slots : int
        Class slots: two for a dense8 class, one for any other.
    header_words, info_words, table_words, bias_words, mul_words, function_words : int
        Sizes of the block's regions; ``mul_words`` is 0 if all outputs share a multiplier, ``function_words`` is 0 but in the
        first block of a layer with a table.
    feature_words : tuple of int
        Per class, words of one feature's segments; 0 for an empty class.
    offset : int
        Where the block header lies; the other regions follow in the order above.
    segment_offsets : tuple of int
        Per class, where its first segment lies.
    """

    layer: int
    block: int
    rows: slice
    classes: tuple[Segments, ...]
    slots: int
    header_words: int
    info_words: int
    table_words: int
    bias_words: int
    mul_words: int
    function_words: int
    feature_words: tuple[int, ...]
    offset: int
    segment_offsets: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """Value of the outputs of the block."""
        return self.rows.stop - self.rows.start

    @property
    def descriptor_words(self) -> int:
        """Value of the words of header, class infos and level tables, which an engine reads as one run."""
        return self.header_words + self.info_words + self.table_words

    @property
    def program_words(self) -> int:
        """Value of the words that are read whatever the activations are: descriptor, biases, multipliers, table."""
        return self.descriptor_words + self.bias_words + self.mul_words + self.function_words

    @property
    def segment_words(self) -> int:
        """Value of the words of all segments of the block."""
        return sum(segments.features * size for segments, size in zip(self.classes, self.feature_words, strict=True))


@dataclass(frozen=True)
class ImageLayout:
    """A whole image.

    Members
    -------
    bus_bytes : int
    header_words : int
        Words of the image header region.
    blocks : tuple of BlockLayout
        In the order in which they are run.
    host_offset, host_bytes : int
        Where the host section lies and how long it is, in bytes.
    """

    bus_bytes: int
    header_words: int
    blocks: tuple[BlockLayout, ...]
    host_offset: int
    host_bytes: int

    @property
    def image_bytes(self) -> int:
        """Value of the bytes of the image."""
        return self.host_offset + self.host_bytes


def image_layout(network: Network, bus_bytes: int) -> ImageLayout:
    """The layout of a network's image for a memory bus of ``bus_bytes`` bytes."""
    header_words = words(IMAGE_HEADER.itemsize, bus_bytes)
    offset = header_words
    blocks = [(number, block, layer) for number, layer in enumerate(network.layers) for block in range(len(layer.blocks))]
    segments_at = header_words + sum(_block_layout(layer, number, block, bus_bytes, 0, 0).program_words for number, block, layer in blocks)
    layouts = []
    for number, block, layer in blocks:
        layouts.append(_block_layout(layer, number, block, bus_bytes, offset, segments_at))
        offset += layouts[-1].program_words
        segments_at += layouts[-1].segment_words
    return ImageLayout(bus_bytes, header_words, tuple(layouts), segments_at * bus_bytes, network_host_dtype(network).itemsize)


def _block_layout(layer: Layer, number: int, block: int, bus_bytes: int, offset: int, segments_at: int) -> BlockLayout:
    classes, rows = layer.blocks[block], layer.block_rows[block]
    outputs, slots = rows.stop - rows.start, sum(segments.kind.slots for segments in classes)
    sizes = [feature_words(segments, 8 * bus_bytes) for segments in classes]
    ends = np.cumsum([segments.features * size for segments, size in zip(classes, sizes, strict=True)]).tolist()
    return BlockLayout(
        layer=number,
        block=block,
        rows=rows,
        classes=classes,
        slots=slots,
        header_words=words(BLOCK_HEADER.itemsize, bus_bytes),
        info_words=words(CLASS_INFO.itemsize * slots, bus_bytes),
        table_words=words(LEVEL_ENTRY.itemsize * MAX_LEVELS * slots, bus_bytes),
        bias_words=words(2 * outputs, bus_bytes),
        mul_words=0 if np.ptp(layer.mul[rows]) == 0 else words(2 * outputs, bus_bytes),
        function_words=words(TABLE_BYTES, bus_bytes) if layer.table is not None and block == 0 else 0,
        feature_words=tuple(sizes),
        offset=offset,
        segment_offsets=tuple(segments_at + end for end in [0, *ends[:-1]]),
    )
