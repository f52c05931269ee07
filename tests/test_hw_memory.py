"""WideMemory: words go in, units of another width come out."""

from __future__ import annotations

import random

import pytest

from hw_bench import run_bench
from permfc_hw.memory import WideMemory


def units_of(words: list[int], word_bits: int, unit_bits: int) -> list[int]:
    """The units that lie in ``words``, the first word's lowest bits first."""
    bits = sum(word << (word_bits * number) for number, word in enumerate(words))
    return [bits >> (unit_bits * number) & (1 << unit_bits) - 1 for number in range(len(words) * word_bits // unit_bits)]


@pytest.mark.parametrize(("word_bits", "unit_bits", "units"), [
    (16, 8, 32), (32, 8, 16), (128, 8, 64), (512, 8, 128),  # segment buffers, function table
    (16, 16, 32), (32, 16, 32), (512, 16, 16),              # level tables, multipliers
    (16, 32, 8), (32, 32, 8), (64, 32, 16),                 # biases
    (16, 64, 4), (32, 64, 16), (512, 64, 16),               # class infos
])
def test_units_lie_in_words_lowest_bits_first(word_bits, unit_bits, units):
    draw = random.Random(word_bits * unit_bits)
    memory = WideMemory(word_bits=word_bits, unit_bits=unit_bits, units=units)
    words = [draw.getrandbits(word_bits) for _ in range(max(1, units * unit_bits // word_bits))]  # a whole word at least
    stale = draw.sample(range(len(words)), len(words) // 2)  # written twice

    async def bench(ctx) -> None:
        for number in [*stale, *draw.sample(range(len(words)), len(words))]:
            ctx.set(memory.write_en, 1)
            ctx.set(memory.write_address, number)
            ctx.set(memory.write_data, words[number] if number not in stale else ~words[number])
            await ctx.tick()
            if number in stale:
                stale.remove(number)
                ctx.set(memory.write_data, words[number])
                await ctx.tick()
        ctx.set(memory.write_en, 0)
        ctx.set(memory.write_address, 0)
        ctx.set(memory.write_data, 0)
        await ctx.tick()
        expected = units_of(words, word_bits, unit_bits)
        order = draw.sample(range(units), units)
        for number, following in zip(order, [*order[1:], 0], strict=True):
            ctx.set(memory.read_address, number)
            await ctx.tick()
            ctx.set(memory.read_address, following)
            assert ctx.get(memory.read_data) == expected[number], number

    run_bench(memory, bench)


@pytest.mark.parametrize(("word_bits", "unit_bits"), [(16, 8), (16, 64)])
def test_reading_goes_on_while_other_words_are_written(word_bits, unit_bits):
    """The lanes read one half of their buffers while the loader fills the other."""
    draw = random.Random(1)
    memory = WideMemory(word_bits=word_bits, unit_bits=unit_bits, units=32)
    count = 32 * unit_bits // word_bits
    words = [draw.getrandbits(word_bits) for _ in range(count)]

    async def bench(ctx) -> None:
        ctx.set(memory.write_en, 1)
        for number in range(count // 2):
            ctx.set(memory.write_address, number)
            ctx.set(memory.write_data, words[number])
            await ctx.tick()
        expected = units_of(words[:count // 2], word_bits, unit_bits)
        for number in range(count // 2, count):
            unit = draw.randrange(16)
            ctx.set(memory.read_address, unit)
            ctx.set(memory.write_address, number)
            ctx.set(memory.write_data, words[number])
            await ctx.tick()
            assert ctx.get(memory.read_data) == expected[unit]

    run_bench(memory, bench)
