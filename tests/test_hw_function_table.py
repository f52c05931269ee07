"""FunctionTable: every int8 by its byte, in the cycle in which it came, and everything else untouched."""

from __future__ import annotations

import numpy as np
import pytest

from hw_bench import run_bench, stalls
from permfc.config import EngineConfig
from permfc.format import TABLE_BYTES, words
from permfc_hw.function_table import FunctionTable

BUSES = [16, 32, 64, 512]


def box_of(bus_bits: int, accumulator_bits: int = 32) -> FunctionTable:
    return FunctionTable(EngineConfig(lanes=4, bus_bits=bus_bits, accumulator_bits=accumulator_bits))


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


async def look_up(ctx, box: FunctionTable, results: list[int], pauses=None) -> list[int]:
    """What becomes of ``results``, each announced one cycle before it is there; in the cycles between, others are."""
    pauses, values = pauses or stalls(0, (0,)), []
    timeline = [item for result in results for item in (*[None] * next(pauses), result)]
    for now, following in zip([None, *timeline], [*timeline, None], strict=True):
        ctx.set(box.argument, 85 if now is None else now)
        ctx.set(box.coming, -86 if following is None else (following + 128) % 256 - 128)
        _, _, value = await ctx.tick().sample(box.value)
        if now is not None:
            values.append(value)
    return values


@pytest.mark.parametrize("bus_bits", BUSES)
@pytest.mark.parametrize("pattern", [(0,), (0, 0, 1, 3)])
def test_every_result_by_its_byte(bus_bits, pattern):
    box, table = box_of(bus_bits), random_table(bus_bits)
    results = np.random.default_rng(1).permutation(256) - 128

    async def bench(ctx) -> None:
        await store(ctx, box, table)
        ctx.set(box.enable, 1)
        assert await look_up(ctx, box, results.tolist(), stalls(2, pattern)) == table[results.astype(np.int8).view(np.uint8)].tolist()

    run_bench(box, bench)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_values_pass_while_no_layer_looks_up(bits):
    """Raw totals among them; the table is there all the time and is found again."""
    box, table = box_of(32, bits), random_table(bits)
    totals = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, -129, 128, 0, -1, 127, -128]

    async def bench(ctx) -> None:
        await store(ctx, box, table)
        assert await look_up(ctx, box, totals) == totals
        ctx.set(box.enable, 1)
        assert await look_up(ctx, box, [-128, -1, 0, 127]) == table[[128, 255, 0, 127]].tolist()

    run_bench(box, bench)


@pytest.mark.parametrize("bus_bits", BUSES)
def test_a_table_replaces_the_one_before(bus_bits):
    box = box_of(bus_bits)

    async def bench(ctx) -> None:
        ctx.set(box.enable, 1)
        for seed in (3, 4):
            await store(ctx, box, random_table(seed))
            assert await look_up(ctx, box, list(range(256))) == random_table(seed).tolist()

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
        ctx.set(box.enable, 1)
        assert await look_up(ctx, box, list(range(256))) == table.tolist()

    run_bench(box, bench)
