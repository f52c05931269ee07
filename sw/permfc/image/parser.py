"""Reads an image back from its bytes alone, and refuses one that differs in any byte from what its contents require."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..errors import FormatError, ModelError
from ..format import (
    BIAS_UNIT,
    BLOCK_HEADER,
    CLASS_INFO,
    IMAGE_ALIGNMENT,
    IMAGE_HEADER,
    LEVEL_ENTRY,
    MAGIC,
    MAX_CLASSES,
    MAX_LEVELS,
    PAIR,
    SPARSE,
    SPARSE_AUX,
    TABLE_BYTES,
    VERSION,
    WORDS_MASK,
    BlockFlag,
    padded,
)
from ..network import InputSteps, Kind, Layer, Network, Segments
from .codec import decode, join_nibbles, sparse_code
from .host_section import class_bits, read_host
from .layout import ImageLayout, image_layout
from .writer import CRC_FIELD, build_image

_STORES_TABLE = BlockFlag.FIRST | BlockFlag.TABLE


@dataclass(frozen=True, eq=False)
class Image:
    """What an image holds.

    Members
    -------
    header : dict
        Fields of the image header by name, integers.
    layers : tuple of Layer
    input_steps, input_class, output_scale
        The host section, as in ``Network``.
    """

    header: dict[str, int]
    layers: tuple[Layer, ...]
    input_steps: InputSteps
    input_class: np.ndarray
    output_scale: np.ndarray

    @property
    def bus_bits(self) -> int:
        """Value of the width of the memory bus that the image is packed for."""
        return 8 << self.header["bus_bytes_log2"]

    def network(self) -> Network:
        """The network; its blocks are the image's, so a single-block layer has ``block_outputs`` equal to its outputs."""
        return Network(self.layers, self.input_steps, self.input_class, self.output_scale)


def parse(image: bytes) -> Image:
    """Read and verify an image.

    Parameters
    ----------
    image : bytes
        The whole image.

    Returns
    -------
    Image

    Raises
    ------
    FormatError
        If the image is truncated, damaged, of another version, or not exactly what its contents require.
    """
    header = _read_header(image)
    data = np.frombuffer(image, dtype=np.uint8)
    host_offset = header["host_offset"]
    try:
        layers = _read_layers(data[:host_offset], 1 << header["bus_bytes_log2"], header["descriptor_words"])
        parsed = Image(header, layers, *read_host(data[host_offset:], class_bits(layers[0])))
        network = parsed.network()
    except ModelError as error:
        raise FormatError(f"Image is damaged: {error}") from error
    _verify(data, network, 1 << header["bus_bytes_log2"])
    return parsed


def stated_bytes(content: bytes, start: int = 0) -> int:
    """How many bytes the image at ``start`` has, as its header says; 0 if there is no header."""
    header = np.frombuffer(content[start:start + IMAGE_HEADER.itemsize].ljust(IMAGE_HEADER.itemsize, b"\0"), dtype=IMAGE_HEADER)[0]
    return int(header["image_bytes"]) if header["magic"] == MAGIC else 0


def next_image(content: bytes, start: int = 0) -> int | None:
    """Where the image behind the one at ``start`` begins, in what a flash holds; None if there is none."""
    place = padded(start + stated_bytes(content, start), IMAGE_ALIGNMENT)
    return place if place > start and stated_bytes(content, place) else None


def _read_header(image: bytes) -> dict[str, int]:
    if len(image) < IMAGE_HEADER.itemsize:
        raise FormatError(f"Image is truncated: it has {len(image)} bytes, its header alone takes {IMAGE_HEADER.itemsize}")
    record = np.frombuffer(image, dtype=IMAGE_HEADER, count=1)[0]
    header = {name: int(record[name]) for name in IMAGE_HEADER.names}
    if header["magic"] != MAGIC:
        raise FormatError(f"Not an image: it begins with {header['magic']:#010x} instead of {MAGIC:#010x}")
    if header["version"] != VERSION:
        raise FormatError(f"Image has format version {header['version']}, this program reads version {VERSION}: pack the model file again")
    if len(image) != header["image_bytes"]:
        if next_image(image) is not None:
            raise FormatError(f"These bytes hold several images, the first of {header['image_bytes']} bytes: take one of them, or the networks that "
                              "they were packed from; permfc info lists them")
        problem = "is truncated" if len(image) < header["image_bytes"] else "has bytes after its end"
        raise FormatError(f"Image {problem}: it has {len(image)} bytes, its header says {header['image_bytes']}")
    crc = zlib.crc32(image[CRC_FIELD.stop:], zlib.crc32(bytes(4), zlib.crc32(image[:CRC_FIELD.start])))
    if crc != header["crc32"]:
        raise FormatError(f"Image is damaged: its CRC-32 is {crc:#010x}, its header says {header['crc32']:#010x}")
    if not 1 <= header["bus_bytes_log2"] <= 6:
        raise FormatError(f"Image has a bus of 2**{header['bus_bytes_log2']} bytes, it must be 2**1 to 2**6")
    if not IMAGE_HEADER.itemsize <= header["host_offset"] <= len(image):
        raise FormatError(f"Image has its host section at byte {header['host_offset']}, outside its {len(image)} bytes")
    return header


class _Reader:
    """Takes one region after the other."""

    def __init__(self, data: np.ndarray, bus_bytes: int) -> None:
        self.data, self.bus_bytes, self.offset = data, bus_bytes, padded(IMAGE_HEADER.itemsize, bus_bytes)

    def take(self, name: str, dtype: np.dtype, count: int) -> np.ndarray:
        size = dtype.itemsize * count
        if self.offset + size > self.data.size:
            raise FormatError(f"Image ends inside the {name} at byte {self.offset}")
        region = self.data[self.offset:self.offset + size].view(dtype)
        self.offset += padded(size, self.bus_bytes)
        return region


@dataclass(frozen=True, eq=False)
class _Block:
    """One block as read: biases int32 and multipliers uint16, both [outputs], and the table int8 [256] in a layer's first block."""

    flags: BlockFlag
    shift: int
    features: int
    classes: tuple[Segments, ...]
    bias: np.ndarray
    mul: np.ndarray
    table: np.ndarray | None


def _read_layers(data: np.ndarray, bus_bytes: int, descriptor_words: int) -> tuple[Layer, ...]:
    reader = _Reader(data, bus_bytes)
    layers: list[Layer] = []
    blocks: list[_Block] = []
    while descriptor_words:
        block, descriptor_words = _read_block(reader)
        if (BlockFlag.FIRST in block.flags) != (not blocks):
            raise FormatError(f"Image is damaged: block {len(blocks)} of layer {len(layers)} "
                              f"has flags {int(block.flags):#x}, which break the layer order")
        blocks.append(block)
        if BlockFlag.LAST in block.flags:
            layers.append(_layer(blocks))
            blocks = []
    if blocks or not layers:
        raise FormatError(f"Image is damaged: its program ends before the end of layer {len(layers)}")
    return tuple(layers)


def _layer(blocks: list[_Block]) -> Layer:
    first = blocks[0]
    return Layer(
        features=first.features,
        outputs=sum(block.bias.size for block in blocks),
        block_outputs=first.bias.size,
        blocks=tuple(block.classes for block in blocks),
        bias=np.concatenate([block.bias for block in blocks]),
        mul=np.concatenate([block.mul for block in blocks]),
        shift=first.shift,
        relu=BlockFlag.RELU in first.flags,
        raw=BlockFlag.RAW in first.flags,
        table=first.table,
    )


def _read_block(reader: _Reader) -> tuple[_Block, int]:
    """The next block, and the words of the descriptor after it."""
    header = reader.take("block header", BLOCK_HEADER, 1)[0]
    slots, outputs = int(header["classes"]), int(header["outputs"])
    if not 1 <= slots <= MAX_CLASSES or not outputs:
        raise FormatError(f"Image is damaged: a block has {slots} class slots and {outputs} outputs")
    infos = reader.take("class infos", CLASS_INFO, slots)
    tables = reader.take("level tables", LEVEL_ENTRY, slots * MAX_LEVELS).reshape(slots, MAX_LEVELS)
    flags = BlockFlag(int(header["flags"]))
    bias = reader.take("biases", np.dtype("<i2"), outputs).astype(np.int32) * (BIAS_UNIT if BlockFlag.WIDE_BIAS in flags else 1)
    if BlockFlag.SHARED_MUL in flags:
        mul = np.full(outputs, header["mul"], dtype=np.uint16)
    else:
        mul = reader.take("multipliers", np.dtype("<u2"), outputs).astype(np.uint16)
    table = reader.take("table", np.dtype("i1"), TABLE_BYTES).copy() if _STORES_TABLE in flags else None
    classes = []
    slot = first = 0
    while slot < slots:
        segments = _read_class(reader, infos[slot], tables[slot:], first, outputs)
        _check_turns(int(infos[slot]["turns"]), segments)
        classes.append(segments)
        slot, first = slot + segments.kind.slots, segments.end
    block = _Block(flags, int(header["shift"]), int(header["features"]), tuple(classes), bias, mul, table)
    return block, int(header["next_words"])


def _read_class(reader: _Reader, info: np.void, tables: np.ndarray, first: int, outputs: int) -> Segments:
    count = int(info["end"]) - first
    size, pair = int(info["words"]) & WORDS_MASK, bool(int(info["words"]) & PAIR)
    if count < 1 or (pair and len(tables) < 2):
        raise FormatError(f"Image is damaged: a class has features {first} to {int(info['end']) - 1} and {len(tables)} class slots")
    if not size:
        return Segments.empty(first, count, outputs)
    stride = size * (2 if pair else 1)
    start = (int(info["base"]) + first * stride) % (1 << 32) * reader.bus_bytes
    length = count * stride * reader.bus_bytes
    if start + length > reader.data.size:
        raise FormatError(f"Image is damaged: the segments of features {first} to {first + count - 1} lie at byte {start}, outside the image")
    coded = reader.data[start:start + length].reshape(count, stride * reader.bus_bytes)
    if pair:
        high, low = np.split(coded, 2, axis=1)
        return Segments.dense8(first, join_nibbles(decode(high, tables[0]["aux"], outputs), decode(low, tables[1]["aux"], outputs)))
    indices = decode(coded, tables[0]["aux"], outputs)
    if tables[0]["aux"][SPARSE_AUX] & SPARSE:
        levels, numbers, rice = sparse_code(tables[0])
        return Segments.sparse(first, levels, numbers[indices], rice)
    counts = np.bincount(indices[0])  # the first segment's; Segments refuses the class unless all others have the same
    return Segments(Kind.PREFIX, first, first + count, outputs, tables[0]["level"][:counts.size].copy(), counts, indices)


def _check_turns(stated: int, segments: Segments) -> None:
    """Raise FormatError unless an engine decodes the segments to their end, and no further, in the ``stated`` turns."""
    if stated != segments.turns:
        raise FormatError(f"Image is damaged: the segments of features {segments.first} to {segments.end - 1} take {segments.turns} turns, "
                          f"but their class info says {stated}")


def _verify(data: np.ndarray, network: Network, bus_bytes: int) -> None:
    """Raise FormatError unless every byte is what the packer writes for this network: padding, code tables, lengths, addresses."""
    layout = image_layout(network, bus_bytes)
    if layout.image_bytes != data.size:
        raise FormatError(f"Image has {data.size} bytes, but its contents take {layout.image_bytes}")
    different = data != np.frombuffer(build_image(network, layout), dtype=np.uint8)
    different[CRC_FIELD] = False
    if different.any():
        offset = int(np.flatnonzero(different)[0])
        raise FormatError(f"Image is not canonical: byte {offset} ({_region(layout, offset)}) differs from what its contents require")


def _region(layout: ImageLayout, offset: int) -> str:
    """What an image byte belongs to, for a message."""
    word = offset // layout.bus_bytes
    if word < layout.header_words:
        return "image header"
    if offset >= layout.host_offset:
        return "host section"
    for block in layout.blocks:
        if block.offset <= word < block.offset + block.program_words:
            return f"descriptor or parameters of layer {block.layer}, block {block.block}"
    return "segments"
