"""FunctionTable: every int8 by its byte, as many cycles later as the box says; TableCopier: every unit of the table, and when."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module

from hw_bench import run_bench, stalls, wait
from permfc.config import EngineConfig
from permfc.format import TABLE_BYTES, words
from permfc_hw.function_table import UNIT_BITS, UNITS, FunctionTable, TableCopier, is_copied
from permfc_hw.memory import WideMemory

BUSES = [16, 32, 64, 128, 256, 512]
COPIED = [bus_bits for bus_bits in BUSES if bus_bits > 32]


def box_of(bus_bits: int) -> FunctionTable:
    return FunctionTable(EngineConfig(lanes=4, bus_bits=bus_bits))


def random_table(seed: int) -> np.ndarray:
    """int8 [256], each value once, so that no entry can stand for another."""
    return np.random.default_rng(seed).permutation(TABLE_BYTES).astype(np.uint8).view(np.int8)


def words_of(table: np.ndarray, bits: int) -> list[int]:
    """The table in words of ``bits`` bits, the first bytes lowest."""
    size, stored = bits // 8, table.tobytes()
    return [int.from_bytes(stored[number * size:(number + 1) * size], "little") for number in range(words(TABLE_BYTES, size))]


async def store(ctx, box: FunctionTable, table: np.ndarray) -> None:
    """Write the table in words as the box takes them."""
    ctx.set(box.words_en, 1)
    for number, word in enumerate(words_of(table, len(box.words_data))):
        ctx.set(box.words_address, number)
        ctx.set(box.words_data, word)
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


@pytest.mark.parametrize("bus_bits", BUSES)
def test_a_table_takes_one_block_ram(bus_bits):
    """Of 18 Kbit, and at most 32 bits a cycle."""
    memory = box_of(bus_bits).memory
    assert memory.word_bits <= 32 and memory.units == TABLE_BYTES
    assert memory.word_bits == (16 if is_copied(EngineConfig(bus_bits=bus_bits)) else bus_bits)


def test_engines_without_tables_copy_none():
    assert not is_copied(EngineConfig(bus_bits=512, tables=False))


class CopiedTable(Elaboratable):
    """Bus words go to a memory of their width, units from there to the table, by the copier between."""

    def __init__(self, bus_bits: int) -> None:
        self.table, self.copier = box_of(bus_bits), TableCopier(EngineConfig(bus_bits=bus_bits))
        self.kept = WideMemory(word_bits=bus_bits, unit_bits=UNIT_BITS, units=UNITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table, m.submodules.copier, m.submodules.kept = table, copier, kept = self.table, self.copier, self.kept
        m.d.comb += [
            copier.word_en.eq(kept.write_en),
            copier.word_number.eq(kept.write_address),
            kept.read_address.eq(copier.unit),
            copier.unit_data.eq(kept.read_data),
            table.words_en.eq(copier.words_en),
            table.words_address.eq(copier.words_address),
            table.words_data.eq(copier.words_data),
        ]
        return m

    async def store(self, ctx, table: np.ndarray, pauses) -> int:
        """Write the table as bus words, and wait while the copier is busy; the cycles of the wait."""
        kept, copier = self.kept, self.copier
        assert not ctx.get(copier.busy)
        for number, word in enumerate(words_of(table, kept.word_bits)):
            for _ in range(next(pauses)):
                assert ctx.get(copier.busy) == (number > 0)
                await ctx.tick()
            ctx.set(kept.write_en, 1)
            ctx.set(kept.write_address, number)
            ctx.set(kept.write_data, word)
            await ctx.tick()
            ctx.set(kept.write_en, 0)
            ctx.set(kept.write_data, 0)
        cycles = 0
        while ctx.get(copier.busy):
            assert ctx.get(copier.unit_en)  # and with it, whoever keeps the words reads nothing else
            await ctx.tick()
            cycles += 1
        assert not ctx.get(copier.unit_en)
        return cycles


@pytest.mark.parametrize("bus_bits", COPIED)
@pytest.mark.parametrize("pattern", [(0,), (0, 0, 1, 3), (200,)])
def test_words_of_a_wide_bus_are_copied(bus_bits, pattern):
    """Table after table; a cycle a unit after the last word, and the entries are there as soon as one can ask."""
    box, pauses = CopiedTable(bus_bits), stalls(7, pattern)

    async def bench(ctx) -> None:
        for seed in (8, 9):
            assert await box.store(ctx, random_table(seed), pauses) == UNITS
            await wait(ctx, 1)
            assert await look_up(ctx, box.table, EVERY) == np.roll(random_table(seed), 128).tolist()

    run_bench(box, bench)
