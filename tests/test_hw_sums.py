"""ProductTable, AdderTree and Accumulators: from level numbers to the totals of a block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import run_bench
from permfc.config import EngineConfig
from permfc.format import BIAS_UNIT
from permfc_hw.accumulators import Accumulators
from permfc_hw.adder_tree import AdderTree
from permfc_hw.product_table import ProductTable

seeds = st.integers(0, 2**32 - 1)
EXTREMES = (-(2**15), 2**15 - 1)


def draw_products(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """int16 values, every fourth an extreme one."""
    return np.where(rng.random(shape) < 0.25, rng.choice(EXTREMES, shape), rng.integers(*EXTREMES, shape, endpoint=True))


@pytest.mark.parametrize("levels", [8, 16])
@pytest.mark.parametrize("in_block_ram", [False, True])
def test_one_bank_is_looked_up_while_the_other_is_filled(levels, in_block_ram):
    table = ProductTable(levels=levels, in_block_ram=in_block_ram)
    rng = np.random.default_rng(levels)
    banks = draw_products(rng, (6, levels)).tolist()  # the contents of bank n % 2 in turn n

    async def bench(ctx) -> None:
        for turn, products in enumerate(banks):
            looked_up = rng.permutation(levels).tolist()
            active = rng.integers(0, 2, levels).tolist()
            found = []
            for cycle in range(levels + table.latency):
                ctx.set(table.write_en, cycle < levels)
                ctx.set(table.write_bank, turn % 2)
                ctx.set(table.write_level, cycle % levels)
                ctx.set(table.write_product, products[cycle % levels])
                ctx.set(table.bank, (turn + 1) % 2)
                ctx.set(table.level, looked_up[cycle % levels])
                ctx.set(table.clear, 1 - active[(cycle - 1) % levels])
                _, _, product = await ctx.tick().sample(table.product)
                found.append(product)
            if turn:
                expected = [banks[turn - 1][level] * on for level, on in zip(looked_up, active, strict=True)]
                assert found[table.latency:] == expected

    run_bench(table, bench)


@given(seeds, st.sampled_from([4, 8, 16, 64]))
@settings(max_examples=12, deadline=None)
def test_the_sum_of_any_products(seed, lanes):
    tree = AdderTree(lanes=lanes)
    products = draw_products(np.random.default_rng(seed), (20, lanes))
    products[:2] = np.array(EXTREMES)[:, None]

    async def bench(ctx) -> None:
        sums = []
        for row in [*products.tolist(), *([[0] * lanes] * tree.latency)]:
            ctx.set(tree.products, row)
            _, _, total = await ctx.tick().sample(tree.total)
            sums.append(total)
        assert sums[tree.latency:] == products.sum(axis=1).tolist()

    run_bench(tree, bench)


def bias_words(biases: np.ndarray, bus_bits: int) -> list[int]:
    """int16 values as bus words."""
    data = biases.astype("<i2").tobytes()
    data += bytes(-len(data) % (bus_bits // 8))
    return [int.from_bytes(data[start:start + bus_bits // 8], "little") for start in range(0, len(data), bus_bits // 8)]


async def run_block(ctx, box: Accumulators, sums: np.ndarray, biases: np.ndarray, gaps: list[int]) -> list[tuple[int, int, int]]:
    """Feed the rounds of a block, a row each; the block's totals as (output, total, end). Checks their latency."""
    totals, outputs, tags = [], [0], [0] * (box.latency + 1)

    async def cycle() -> None:
        _, _, tag, enabled, total, end, output = await ctx.tick().sample(box.tag, box.total_en, box.total, box.end, box.output)
        tags.append(tag.valid & tag.last)
        assert enabled == tags[-1 - box.latency]
        if enabled:
            totals.append((outputs[-1], total, end))
        outputs.append(output)

    for number, word in enumerate(bias_words(biases, box.config.bus_bits)):
        ctx.set(box.biases_en, 1)
        ctx.set(box.biases_address, number)
        ctx.set(box.biases_data, word)
        await cycle()
    ctx.set(box.biases_en, 0)
    rounds, count = sums.shape
    for number, row in enumerate(sums.tolist()):
        for output, value in enumerate(row):
            ctx.set(box.tag, {"valid": 1, "first": number == 0, "last": number == rounds - 1, "end": output == count - 1})
            ctx.set(box.sum, value)
            await cycle()
        ctx.set(box.tag, {"valid": 0, "first": 1, "last": 1, "end": 1})
        ctx.set(box.sum, 12345)
        for _ in range(max(gaps[number], box.latency + 1 - count)):  # a round does not come back earlier
            await cycle()
    for _ in range(box.latency):
        await cycle()
    return totals


@given(seeds, st.sampled_from([(16, 24), (32, 32), (64, 17), (128, 32)]))
@settings(max_examples=20, deadline=None)
def test_totals_of_blocks(seed, widths):
    bus_bits, accumulator_bits = widths
    config = EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=16, accumulator_bits=accumulator_bits)
    rng = np.random.default_rng(seed)
    box = Accumulators(config, sum_bits=18)
    limit = 2 ** (accumulator_bits - 1)

    async def bench(ctx) -> None:
        for _ in range(4):
            outputs, rounds = int(rng.choice([1, 2, 3, 4, 7, 16])), int(rng.integers(1, 6))
            bound = min(2**17, limit // (2 * rounds))
            sums = rng.integers(-bound, bound, (rounds, outputs))
            unit = int(rng.choice([1, BIAS_UNIT]))
            most = min(limit // 2 // unit, 2**15)
            biases = rng.choice([-most, most - 1, *rng.integers(-most, most, 3)], outputs)
            ctx.set(box.wide_bias, unit == BIAS_UNIT)
            totals = await run_block(ctx, box, sums, biases, rng.choice([0, 0, 1, 5], rounds).tolist())
            expected = (sums.sum(axis=0) + unit * biases).tolist()
            assert totals == [(output, total, output == outputs - 1) for output, total in enumerate(expected)]

    run_bench(box, bench)


def test_totals_at_both_ends_of_the_accumulator():
    config = EngineConfig(lanes=4, bus_bits=32, block_outputs=16, accumulator_bits=20)
    box = Accumulators(config, sum_bits=18)
    low, high = -(2**19), 2**19 - 1

    async def bench(ctx) -> None:
        sums = np.array([[-(2**17), 2**17 - 1]] * 4)
        sums[-1] += [2**15, -(2**15) + 4]
        biases = np.array([low, high]) - sums.sum(axis=0)
        assert await run_block(ctx, box, sums, biases, [0, 0, 0, 0]) == [(0, low, 0), (1, high, 1)]

    run_bench(box, bench)
