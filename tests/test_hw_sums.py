"""AdderTree and Totals: from the lanes' sums to the totals of a block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import run_bench
from permfc.config import EngineConfig
from permfc.format import BIAS_UNIT
from permfc_hw.adder_tree import AdderTree
from permfc_hw.totals import Totals

seeds = st.integers(0, 2**32 - 1)


def add_up(lanes: int, bits: int, total_bits: int, sums: np.ndarray) -> list[int]:
    """What the tree makes of a row of sums a cycle."""
    tree = AdderTree(lanes=lanes, bits=bits, total_bits=total_bits)
    found = []

    async def bench(ctx) -> None:
        for row in [*sums.tolist(), *([[0] * lanes] * tree.latency)]:
            ctx.set(tree.sums, row)
            _, _, total = await ctx.tick().sample(tree.total)
            found.append(total)

    run_bench(tree, bench)
    assert tree.latency == lanes.bit_length() - 1
    return found[tree.latency:]


@given(seeds, st.sampled_from([4, 8, 16, 64]), st.sampled_from([16, 19, 24]))
@settings(max_examples=12, deadline=None)
def test_the_total_of_any_sums(seed, lanes, bits):
    """Every fourth sum is an extreme one; the first two rows are as small, and as large, as they may be."""
    rng = np.random.default_rng(seed)
    extremes = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1])
    shape = (20, lanes)
    sums = np.where(rng.random(shape) < 0.25, rng.choice(extremes, shape), rng.integers(*extremes, shape, endpoint=True))
    sums[:2] = extremes[:, None]
    assert add_up(lanes, bits, bits + lanes.bit_length() - 1, sums) == sums.sum(axis=1).tolist()


@given(seeds, st.sampled_from([(4, 16, 16), (16, 20, 21), (16, 24, 24), (64, 26, 28)]))
@settings(max_examples=12, deadline=None)
def test_a_total_narrower_than_its_terms_together(seed, widths):
    """The packer proves that totals fit; sums of some of the terms may not."""
    lanes, bits, total_bits = widths
    half, limit = 2 ** (bits - 1), 2 ** (total_bits - 1)
    sums = np.random.default_rng(seed).integers(-half, half, (400, lanes))
    totals = sums.sum(axis=1)
    fits = (totals >= -limit) & (totals < limit)
    assert (abs(sums[fits, :lanes // 2].sum(axis=1)) > limit).any() or fits.all()
    assert add_up(lanes, bits, total_bits, sums[fits]) == totals[fits].tolist()


def bias_words(biases: np.ndarray, bus_bits: int) -> list[int]:
    """int16 values as bus words."""
    data = biases.astype("<i2").tobytes()
    data += bytes(-len(data) % (bus_bits // 8))
    return [int.from_bytes(data[start:start + bus_bits // 8], "little") for start in range(0, len(data), bus_bits // 8)]


NOBODYS = 12345  # a sum without a tag


class TotalsBench:
    """Feeds blocks, each sum ``lead`` cycles behind its tag, and checks in every cycle that a total is out if, and only if, its sum was in before."""

    def __init__(self, ctx, box: Totals) -> None:
        self.ctx, self.box = ctx, box
        self.tags = [(0, 0)] * (box.lead + 2)
        self.sums = [NOBODYS] * box.lead  # on their way
        self.output = 0  # announced one cycle before its total
        self.totals: list[tuple[int, int, int]] = []  # output, total, whether it is the block's last

    async def cycle(self, coming: int = NOBODYS) -> None:
        """One cycle, in which the tag of the sum ``coming`` is in."""
        box = self.box
        self.sums.append(coming)
        self.ctx.set(box.sum, self.sums.pop(0))
        _, _, tag, enabled, total, end, output = await self.ctx.tick().sample(box.tag, box.total_en, box.total, box.end, box.output)
        self.tags.append((tag.valid, tag.valid & tag.end))
        assert (enabled, enabled & end) == self.tags[-2 - box.lead]
        if enabled:
            self.totals.append((self.output, total, end))
        self.output = output

    async def load(self, biases: np.ndarray, unit: int) -> None:
        """The biases of a block, in ``unit``."""
        ctx, box = self.ctx, self.box
        ctx.set(box.wide_bias, unit == BIAS_UNIT)
        ctx.set(box.biases_en, 1)
        for number, word in enumerate(bias_words(biases, box.config.bus_bits)):
            ctx.set(box.biases_address, number)
            ctx.set(box.biases_data, word)
            await self.cycle()
        ctx.set(box.biases_en, 0)
        ctx.set(box.biases_data, 0)

    async def sweep(self, sums: list[int], gap: int) -> None:
        """The sums of a block, and so many cycles in which those that come by are nobody's."""
        ctx, box = self.ctx, self.box
        for output, value in enumerate(sums):
            ctx.set(box.tag, {"valid": 1, "end": output == len(sums) - 1})
            await self.cycle(value)
        ctx.set(box.tag, {"valid": 0, "end": 0})
        for _ in range(gap):
            await self.cycle()

    def take(self) -> list[tuple[int, int, int]]:
        """The totals that are out and were not taken before."""
        taken, self.totals = self.totals, []
        return taken


def numbered(totals: np.ndarray) -> list[tuple[int, int, int]]:
    """A block's totals as they must come."""
    return [(output, total, output == len(totals) - 1) for output, total in enumerate(totals.tolist())]


@given(seeds, st.sampled_from([(16, 24), (32, 32), (64, 17), (128, 32)]))
@settings(max_examples=20, deadline=None)
def test_totals_of_blocks(seed, widths):
    """Blocks with biases of their own, in narrow and in wide units, and sweeps of one block with a gap between them or none."""
    bus_bits, accumulator_bits = widths
    config = EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=16, accumulator_bits=accumulator_bits)
    rng = np.random.default_rng(seed)
    box = Totals(config)
    limit = 2 ** (accumulator_bits - 1)

    async def bench(ctx) -> None:
        driver = TotalsBench(ctx, box)
        for _ in range(4):
            outputs, unit = int(rng.choice([1, 2, 3, 4, 7, 16])), int(rng.choice([1, BIAS_UNIT]))
            most = min(limit // 2 // unit, 2**15)
            biases = rng.choice([-most, most - 1, *rng.integers(-most, most, 3)], outputs)
            await driver.load(biases, unit)
            sums = rng.integers(-(limit // 2), limit // 2, (int(rng.integers(1, 4)), outputs))
            for row in sums.tolist():
                await driver.sweep(row, int(rng.choice([0, 0, 1, 5])))
            await driver.sweep([], box.lead + 1)
            assert driver.take() == sum((numbered(row + unit * biases) for row in sums), [])

    run_bench(box, bench)


@pytest.mark.parametrize("unit", [1, BIAS_UNIT])
def test_totals_at_both_ends_of_the_accumulator(unit):
    """With the largest biases of their unit."""
    bits = 20 if unit == 1 else 26
    box = Totals(EngineConfig(lanes=4, bus_bits=32, block_outputs=16, accumulator_bits=bits))
    biases = np.array([-(2**15), 2**15 - 1])
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1])

    async def bench(ctx) -> None:
        driver = TotalsBench(ctx, box)
        await driver.load(biases, unit)
        await driver.sweep((ends - unit * biases).tolist(), box.lead + 1)
        assert driver.take() == numbered(ends)

    run_bench(box, bench)
