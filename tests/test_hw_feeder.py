"""LaneGroup: assignments in, tables filled behind the scenes, products out."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Elaboratable, Module
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import run_bench, stream_put, wait
from hw_rounds import SIZES, CodedSegment, collect, put_round, random_segment
from permfc.config import EngineConfig
from permfc.format import LEVEL_ENTRY, MAX_CLASSES, MAX_LEVELS
from permfc_hw.lane_group import GROUP_LANES, LaneGroup
from permfc_hw.round_control import RoundControl


class PacedGroup(Elaboratable):
    """A lane group and its beat."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.control = RoundControl(config)
        self.group = LaneGroup(config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control, m.submodules.group = control, group = self.control, self.group
        m.d.comb += [
            group.control.eq(control.control),
            group.fill_go.eq(control.fill_go),
            group.fill_bank.eq(control.fill_half),
        ]
        return m

    async def load_tables(self, ctx, tables: np.ndarray) -> None:
        """Level tables, LEVEL_ENTRY [slots, 16]."""
        size = self.config.bus_bytes
        stored = tables.tobytes()
        ctx.set(self.group.table_en, 1)
        for start in range(0, len(stored), size):
            ctx.set(self.group.table_address, start // size)
            ctx.set(self.group.table_data, int.from_bytes(stored[start:start + size], "little"))
            await ctx.tick()
        ctx.set(self.group.table_en, 0)

    async def load_segment(self, ctx, lane: int, slot: int, segment: CodedSegment) -> None:
        """An assignment and, beside the tables' fill, the segment's words."""
        group = self.group
        half = ctx.get(self.control.fill_half)
        await stream_put(ctx, group.assign, [{"lane": lane, "slot": slot, "x": segment.x}])
        assert not ctx.get(group.idle)
        words = segment.words(self.config.bus_bits)
        ctx.set(group.word_en, 1 << lane)
        for number, word in enumerate(words):
            ctx.set(group.word, {"half": half, "last": number == len(words) - 1, "word": number})
            ctx.set(group.word_data, word)
            await ctx.tick()
        ctx.set(group.word_en, 0)


def random_round(rng: np.random.Generator, bus_bits: int, levels: int) -> tuple[int, list[tuple[int, int, CodedSegment]]]:
    """Outputs, and for the lanes that take part, in the order of their assignment: lane, class slot and segment."""
    outputs = int(rng.choice(SIZES))
    lanes = rng.permutation(GROUP_LANES)[:rng.integers(GROUP_LANES + 1)].tolist()
    slots = rng.permutation(MAX_CLASSES).tolist()
    return outputs, [(lane, slot, random_segment(rng, outputs, bus_bits, levels)) for lane, slot in zip(lanes, slots, strict=False)]


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 64, 128]), st.sampled_from([8, 16]))
@settings(max_examples=6, deadline=None)
def test_products_of_assigned_features(seed, bus_bits, levels):
    rng = np.random.default_rng(seed)
    config = EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=128, features=16, levels=levels)
    box = PacedGroup(config)
    rounds = [random_round(rng, bus_bits, levels) for _ in range(6)]

    async def feed(ctx) -> None:
        for outputs, features in rounds:
            tables = np.zeros((MAX_CLASSES, MAX_LEVELS), dtype=LEVEL_ENTRY)
            for _, slot, segment in features:
                tables[slot] = segment.table
            await box.load_tables(ctx, tables)
            for lane, slot, segment in features:
                await box.load_segment(ctx, lane, slot, segment)
            while not ctx.get(box.group.idle):
                await ctx.tick()
            await wait(ctx, int(rng.choice([0, 0, 3])))
            await put_round(ctx, box.control, outputs, 0, 0)

    async def check(ctx) -> None:
        found = await collect(ctx, box.control, box.group.products, box.group.latency, len(rounds))
        for (outputs, features), products in zip(rounds, found, strict=True):
            expected = np.zeros((outputs, GROUP_LANES), dtype=int)
            for lane, _, segment in features:
                expected[:, lane] = segment.products()
            assert [[int(value) for value in row] for row in products] == expected.tolist()

    run_bench(box, feed, check)


def test_a_fill_waits_for_its_bank():
    """A bank is filled, but while the lanes still read it: ``fill_go``."""
    group = LaneGroup(EngineConfig(lanes=4, bus_bits=32, block_outputs=16, features=16))

    async def bench(ctx) -> None:
        await ctx.tick()
        assert ctx.get(group.idle) and ctx.get(group.assign.ready)
        ctx.set(group.fill_go, 0)
        await stream_put(ctx, group.assign, [{"lane": 1, "slot": 2, "x": 3}])
        await wait(ctx, 3 * MAX_LEVELS)
        assert not ctx.get(group.idle) and not ctx.get(group.assign.ready)
        ctx.set(group.fill_go, 1)
        await wait(ctx, MAX_LEVELS)
        assert not ctx.get(group.idle)
        while not ctx.get(group.idle):
            await ctx.tick()
        assert ctx.get(group.assign.ready)

    run_bench(group, bench)
