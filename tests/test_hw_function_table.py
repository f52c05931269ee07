"""FunctionTable: every int8 by its byte, as many cycles later as the box says."""

from __future__ import annotations

import numpy as np
import pytest

from hw_bench import run_bench, stalls
from permfc.config import EngineConfig
from permfc.format import TABLE_BYTES, words
from permfc_hw.function_table import FunctionTable

BUSES = [16, 32, 64, 512]


def box_of(bus_bits: int) -> FunctionTable:
    return FunctionTable(EngineConfig(lanes=4, bus_bits=bus_bits))


def random_table(seed: int) -> np.ndarray:
    """int8 [256], each value once, so that no entry can stand for another."""
    return np.random.default_rng(seed).permutation(TABLE_BYTES).astype(np.uint8).view(np.int8)


async def store(ctx, box: FunctionTable, table: np.ndarray) -> None:
    """Write the table as bus words."""
    size, stored = box.config.bus_bytes, table.tobytes()
    ctx.set(box.words_en, 1)
    for number in range(words(TABLE_BYTES, size)):
        ctx.set(box.words_address, number)
        ctx.set(box.words_data, int.from_bytes(stored[number * size:(number + 1) * size], "little"))
        await ctx.tick()
    ctx.set(box.words_en, 0)
    ctx.set(box.words_data, 0)


async def look_up(ctx, box: FunctionTable, results: list[int | None]) -> list[int | None]:
    """The entries of ``results``, ``latency`` cycles later; None stands for a cycle in which nothing is asked."""
    entries = []
    for result in [*results, *[None] * box.latency]:
        ctx.set(box.result, -86 if result is None else result)
        _, _, entry = await ctx.tick().sample(box.entry)
        entries.append(entry)
    return [entry for result, entry in zip(results, entries[box.latency:], strict=True) if result is not None]


EVERY = list(range(-128, 128))


@pytest.mark.parametrize("bus_bits", BUSES)
@pytest.mark.parametrize("pattern", [(0,), (0, 0, 1, 3)])
def test_every_result_by_its_byte(bus_bits, pattern):
    """Result after result, or with cycles between."""
    box, table, pauses = box_of(bus_bits), random_table(bus_bits), stalls(2, pattern)
    results = np.random.default_rng(1).permutation(256) - 128
    timeline = [item for result in results.tolist() for item in (*[None] * next(pauses), result)]

    async def bench(ctx) -> None:
        await store(ctx, box, table)
        assert await look_up(ctx, box, timeline) == table[results.astype(np.int8).view(np.uint8)].tolist()

    run_bench(box, bench)


@pytest.mark.parametrize("bus_bits", BUSES)
def test_a_table_replaces_the_one_before(bus_bits):
    box = box_of(bus_bits)

    async def bench(ctx) -> None:
        for seed in (3, 4):
            await store(ctx, box, random_table(seed))
            assert await look_up(ctx, box, EVERY) == np.roll(random_table(seed), 128).tolist()

    run_bench(box, bench)


def test_words_are_only_taken_when_they_are_the_table_s():
    """The loader's word and address are everyone's."""
    box, table = box_of(16), random_table(5)

    async def bench(ctx) -> None:
        await store(ctx, box, table)
        for number in range(TABLE_BYTES // 2):
            ctx.set(box.words_address, number)
            ctx.set(box.words_data, 0x5A5A)
            await ctx.tick()
        assert await look_up(ctx, box, EVERY) == np.roll(table, 128).tolist()

    run_bench(box, bench)
