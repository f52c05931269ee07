"""Rounds for the lanes' tests: segments coded by the packer's code, and the beat to which lanes decode them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from hw_bench import stream_put, wait
from networks import random_composition
from permfc.format import MAX_SPARSE_LEVELS
from permfc.image.codec import NIBBLE_LENGTHS, NIBBLE_LEVELS, encode, encode_class, level_table, level_tables
from permfc.network.segments import Segments
from permfc_hw.round_control import RoundControl

SIZES = (1, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 33, 64)
BUFFER_BITS = 4  # an output, of a lane's segment buffer
FILL_STAGES = 3  # of a lane group: read, multiply, write
LONG_CODE = (34, 21, 13, 8, 5, 3, 2, 1, 1)  # Fibonacci numbers: codewords of 1 to 8 bits


@dataclass(frozen=True, eq=False)
class CodedSegment:
    """One feature's segment of a round."""

    weights: np.ndarray  # int8 [B]
    table: np.ndarray    # LEVEL_ENTRY [16]
    data: bytes          # whole bus words
    x: int

    def words(self, bus_bits: int) -> list[int]:
        """The segment as bus words."""
        size = bus_bits // 8
        return [int.from_bytes(self.data[start:start + size], "little") for start in range(0, len(self.data), size)]

    def products(self) -> list[int]:
        """What the lane must give."""
        return (self.weights.astype(int) * self.x).tolist()


def random_segment(rng: np.random.Generator, outputs: int, bus_bits: int, most_levels: int = 16) -> CodedSegment:
    """A sparse segment, one with a random composition, or a nibble of a dense8 feature."""
    x = int(rng.choice([-128, 127, *rng.integers(-128, 128, 4)]))
    if most_levels == 16 and rng.random() < 0.2:
        indices = rng.integers(0, 16, outputs, dtype=np.uint8)
        table = level_table(NIBBLE_LEVELS[int(rng.integers(2))], NIBBLE_LENGTHS)
        return CodedSegment(table["level"][indices], table, encode(indices[None], NIBBLE_LENGTHS, bus_bits).tobytes(), x)
    segments = random_sparse(rng, outputs) if rng.random() < 0.5 else random_prefix(rng, outputs, most_levels)
    return CodedSegment(segments.weights()[0], level_tables(segments)[0], encode_class(segments, bus_bits).tobytes(), x)


def random_sparse(rng: np.random.Generator, outputs: int) -> Segments:
    """One segment, from without zeros to all zeros, with any Rice parameter that its levels allow."""
    levels = rng.permutation([-128, -77, -1, 1, 64, 127])[:rng.integers(1, MAX_SPARSE_LEVELS + 1)].astype(np.int8)
    nonzero = rng.random(outputs) < rng.choice([0, 0.02, 0.1, 0.5, 1])
    indices = np.where(nonzero, rng.integers(1, levels.size + 1, outputs), 0).astype(np.uint8)
    segments = Segments.sparse(0, levels, indices[None], rice=int(rng.integers(0, 7 if levels.size < 3 else 6)))
    fits = segments.bits <= BUFFER_BITS * outputs
    return segments if fits else Segments.sparse(0, levels, indices[None])  # the shortest code always does


def random_prefix(rng: np.random.Generator, outputs: int, most_levels: int) -> Segments:
    """One segment of a random composition; some have codewords of all lengths."""
    levels, counts = random_composition(rng, outputs, most_levels)
    if outputs == sum(LONG_CODE) and most_levels >= len(LONG_CODE):
        levels, counts = (rng.permutation(256)[:len(LONG_CODE)] - 128).astype(np.int8), np.array(LONG_CODE)
    common = np.repeat(np.arange(levels.size, dtype=np.uint8), counts)
    return Segments.prefix(0, levels, counts, rng.permutation(common)[None])


async def put_round(ctx, control: RoundControl, outputs: int, first: int, last: int) -> None:
    """Hand a complete round over."""
    await stream_put(ctx, control.rounds, [{"outputs": outputs, "first": first, "last": last}])


async def table_bank_is_free(ctx, control: RoundControl) -> None:
    """Wait until the next round's tables may be filled; a lane group's first entry comes ``FILL_STAGES`` cycles after ``fill_go``."""
    while not ctx.get(control.fill_go):
        await ctx.tick()
    await wait(ctx, FILL_STAGES)


async def collect(ctx, control: RoundControl, signal, latency: int, count: int) -> list[list]:
    """Values of ``signal`` that belong to outputs, a list a round, of ``count`` rounds."""
    rounds, current = [], []
    tags = deque([(0, 0)] * latency, maxlen=latency + 1)
    while len(rounds) < count:
        _, _, valid, end, value = await ctx.tick().sample(control.tag.valid, control.tag.end, signal)
        tags.append((valid, end))
        valid, end = tags[0]
        if valid:
            current.append(value)
        if valid and end:
            rounds.append(current)
            current = []
    return rounds
