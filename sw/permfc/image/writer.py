"""The bytes of an image: header, descriptors, parameters, segments, host section (docs/format.md)."""

from __future__ import annotations

import zlib

import numpy as np

from ..format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, MAGIC, PAIR, VERSION, BlockFlag, ImageFlag
from ..network import Kind, Layer, Network
from .codec import encode_class, lane_words, level_tables
from .host_section import write_host
from .layout import BlockLayout, ImageLayout

CRC_FIELD = slice(IMAGE_HEADER.fields["crc32"][1], IMAGE_HEADER.itemsize)  # bytes of the image


def build_image(network: Network, layout: ImageLayout) -> bytes:
    """The bytes of an image with a given layout, which must be that of the network."""
    image = np.zeros(layout.image_bytes, dtype=np.uint8)
    _place(image, 0, _image_header(network, layout))
    for number, block in enumerate(layout.blocks):
        following = layout.blocks[number + 1].descriptor_words if number + 1 < len(layout.blocks) else 0
        _write_block(image, network.layers[block.layer], block, layout.bus_bytes, following, block.layer == len(network.layers) - 1)
    _place(image, layout.host_offset, write_host(network))
    _place(image, CRC_FIELD.start, np.array(zlib.crc32(image.data), dtype="<u4"))
    return image.tobytes()


def _place(image: np.ndarray, offset: int, content: np.ndarray) -> None:
    data = np.frombuffer(content.tobytes(), dtype=np.uint8)
    image[offset:offset + data.size] = data


def _image_header(network: Network, layout: ImageLayout) -> np.ndarray:
    header = np.zeros((), dtype=IMAGE_HEADER)
    header["magic"], header["version"] = MAGIC, VERSION
    header["bus_bytes_log2"] = layout.bus_bytes.bit_length() - 1
    header["levels"] = 8 if network.most_levels <= 8 else 16
    header["inputs"] = network.inputs
    header["features"] = network.widest
    header["block_outputs"] = network.most_block_outputs
    header["descriptor_words"] = layout.blocks[0].descriptor_words
    header["image_bytes"], header["host_offset"] = layout.image_bytes, layout.host_offset
    header["accumulator_bits"] = network.accumulator_bits
    header["flags"] = ImageFlag.TABLES if network.has_tables else 0
    return header


def _write_block(image: np.ndarray, layer: Layer, block: BlockLayout, bus_bytes: int, next_words: int, final: bool) -> None:
    tables = np.concatenate([level_tables(segments) for segments in block.classes])
    regions = (
        (block.header_words, _block_header(layer, block, next_words, final)),
        (block.info_words, _class_infos(block, 8 * bus_bytes)),
        (block.table_words, tables),
        (block.bias_words, (layer.bias[block.rows] // layer.bias_unit).astype("<i2")),
        (block.mul_words, layer.mul[block.rows].astype("<u2")),
        (block.function_words, layer.table),
    )
    offset = block.offset
    for size, content in regions:
        if size:
            _place(image, offset * bus_bytes, content)
        offset += size
    for segments, start in zip(block.classes, block.segment_offsets, strict=True):
        _place(image, start * bus_bytes, encode_class(segments, 8 * bus_bytes))


def _block_header(layer: Layer, block: BlockLayout, next_words: int, final: bool) -> np.ndarray:
    conditions = {
        BlockFlag.FIRST: block.block == 0,
        BlockFlag.LAST: block.block == len(layer.blocks) - 1,
        BlockFlag.FINAL: final,
        BlockFlag.RELU: layer.relu,
        BlockFlag.RAW: layer.raw,
        BlockFlag.WIDE_BIAS: layer.bias_unit != 1,
        BlockFlag.SHARED_MUL: not block.mul_words,
        BlockFlag.TABLE: layer.table is not None,
    }
    header = np.zeros((), dtype=BLOCK_HEADER)
    header["features"], header["outputs"], header["classes"] = layer.features, block.outputs, block.slots
    header["flags"], header["shift"], header["next_words"] = sum(flag for flag, holds in conditions.items() if holds), layer.shift, next_words
    header["mul"] = 0 if block.mul_words else layer.mul[block.rows.start]
    return header


def _class_infos(block: BlockLayout, bus_bits: int) -> np.ndarray:
    infos = np.zeros(block.slots, dtype=CLASS_INFO)
    slot = 0
    for segments, start, stride in zip(block.classes, block.segment_offsets, block.feature_words, strict=True):
        infos["end"][slot:slot + segments.kind.slots] = segments.end
        infos["turns"][slot] = segments.turns
        infos["words"][slot] = lane_words(segments, bus_bits) | (PAIR if segments.kind is Kind.DENSE8 else 0)
        if stride:
            infos["base"][slot] = (start - segments.first * stride) % (1 << 32)
        slot += segments.kind.slots
    return infos
