"""Widths that several boxes share, and what they do with them."""

from __future__ import annotations

from amaranth.hdl import Shape, Value, unsigned
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig


def buffer_word(config: EngineConfig) -> Shape:
    """Shape of the number of a bus word in a segment buffer, which holds two of the longest segments, or many short ones."""
    return unsigned(ceil_log2(2 * config.segment_bytes // config.bus_bytes))


def segment_words(config: EngineConfig) -> Shape:
    """Shape of the bus words of a segment."""
    return unsigned((config.segment_bytes // config.bus_bytes).bit_length())


def sum_bits(config: EngineConfig) -> int:
    """Bits of what a lane adds up: a product of each of its features in a block, of which a dense8 feature counts twice."""
    products = -(-2 * config.features // config.lanes)
    return min(config.accumulator_bits, 16 + ceil_log2(products))


def exceeds(value: Value, limit: int) -> Value:
    """``value > limit`` for a power of two, without a carry chain."""
    bit = ceil_log2(limit)
    return value[bit + 1:].any() | (value[bit] & value[:bit].any())
