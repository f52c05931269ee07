"""SegmentFetcher: orders for exactly the segments of active features, in rounds that fill the lanes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, run_bench, stalls, stream_get, strobe, wait
from permfc.config import EngineConfig
from permfc.format import CLASS_INFO, PAIR, TABLE_BYTES, BlockFlag, words
from permfc_hw.orders import OrderKind
from permfc_hw.segment_fetcher import SegmentFetcher

LANES = 4
FEATURES = 64
PARAMETER_WORDS = 5
CAPACITY = 8  # bytes of a lane's half buffer, for blocks of 16 outputs


def small_config(bus_bits: int = 32, tables: bool = True) -> EngineConfig:
    return EngineConfig(lanes=LANES, bus_bits=bus_bits, block_outputs=16, features=FEATURES, tables=tables)


@dataclass
class Block:
    """Class infos, active features, and the orders that they ask for."""

    infos: np.ndarray                # CLASS_INFO [slots]
    active: list[tuple[int, int]]    # (index, x)
    flags: BlockFlag = BlockFlag(0)
    bus_bytes: int = 4
    orders: list[dict] = field(default_factory=list)
    fetched: int = 0
    used: int = 0
    closed: int = 0
    parameters_out: bool = False

    def class_of(self, index: int) -> int:
        return int(np.flatnonzero(index < self.infos["end"])[0])

    def expect(self) -> list[dict]:
        """The orders, from the rules of the docstring."""
        for index, x in self.active:
            slot = self.class_of(index)
            base, words, pair = int(self.infos["base"][slot]), int(self.infos["words"][slot]) & ~PAIR, bool(self.infos["words"][slot] & PAIR)
            if not words:
                continue
            self.fetched += 1
            for half in range(1 + pair):
                if self.used == LANES:
                    self.close(last=0)
                address = base + index * words * (1 + pair) + half * words
                self.orders.append({"kind": OrderKind.SEGMENT, "words": words, "address": address, "lane": self.used, "slot": slot + half, "x": x})
                self.used += 1
        self.close(last=1)
        return self.orders

    def close(self, last: int) -> None:
        if last:
            self.add_parameters()
        self.orders.append({"kind": OrderKind.ROUND, "first": int(self.closed == 0), "last": last})
        self.closed, self.used = self.closed + 1, 0
        if self.closed == 2:
            self.add_parameters()

    def add_parameters(self) -> None:
        if not self.parameters_out:
            kinds = (OrderKind.BIASES,) if BlockFlag.SHARED_MUL in self.flags else (OrderKind.BIASES, OrderKind.MULTIPLIERS)
            self.orders += [{"kind": kind, "words": PARAMETER_WORDS} for kind in kinds]
            if BlockFlag.TABLE | BlockFlag.FIRST in self.flags:
                self.orders.append({"kind": OrderKind.FUNCTION, "words": words(TABLE_BYTES, self.bus_bytes)})
        self.parameters_out = True


def random_block(rng: np.random.Generator, bus_bits: int) -> Block:
    """A layer of random classes, of which a part is active: none, few, or all."""
    infos, end = [], 0
    while end < FEATURES and len(infos) < 13:
        end = min(FEATURES, end + int(rng.integers(1, 30)))
        kind, words = rng.choice(["prefix", "prefix", "dense8", "empty"]), int(rng.integers(1, CAPACITY * 8 // bus_bits + 1))
        base = int(rng.integers(2**32))
        infos.append((base, end, {"prefix": words, "dense8": words | PAIR, "empty": 0}[kind]))
        if kind == "dense8":
            infos.append((0, end, 0))
    infos[-1] = (infos[-1][0], FEATURES, infos[-1][2])
    chosen = np.flatnonzero(rng.random(FEATURES) < rng.choice([0, 0.1, 0.5, 1]))
    xs = rng.choice([-128, -1, 1, 127], chosen.size)
    flags = sum(flag for flag in (BlockFlag.SHARED_MUL, BlockFlag.TABLE, BlockFlag.FIRST) if rng.integers(2))
    active = list(zip(chosen.tolist(), xs.tolist(), strict=True))
    return Block(np.array(infos, dtype=CLASS_INFO), active, BlockFlag(flags), bus_bits // 8)


class FetchBench:
    """A fetcher, and the list of active features that it reads."""

    def __init__(self, bus_bits: int = 32, tables: bool = True) -> None:
        self.box = SegmentFetcher(small_config(bus_bits, tables))
        self.active: list[tuple[int, int]] = []
        self.done = self.malformed = self.fetched = 0

    async def serve(self, ctx) -> None:
        """The list, one cycle after the address; strobes are counted on the way."""
        box = self.box
        while True:
            _, _, address, done, malformed, fetched = await ctx.tick().sample(
                box.entry_address, box.done, box.malformed, box.fetched)
            index, x = self.active[address] if address < len(self.active) else (FEATURES - 1, 77)
            ctx.set(box.entry, {"x": x, "index": index})
            self.done, self.malformed, self.fetched = self.done + done, self.malformed + malformed, self.fetched + fetched

    async def start(self, ctx, block: Block) -> None:
        box, size = self.box, self.box.config.bus_bytes
        self.active = block.active
        self.done = self.malformed = self.fetched = 0
        stored = block.infos.tobytes()
        stored += bytes(-len(stored) % size)
        ctx.set(box.infos_en, 1)
        for start in range(0, len(stored), size):
            ctx.set(box.infos_address, start // size)
            ctx.set(box.infos_data, int.from_bytes(stored[start:start + size], "little"))
            await ctx.tick()
        ctx.set(box.infos_en, 0)
        ctx.set(box.block_header.classes, len(block.infos))
        ctx.set(box.active, len(block.active))
        ctx.set(box.parameter_words, PARAMETER_WORDS)
        ctx.set(box.block_header.flags, int(block.flags))
        await strobe(ctx, box.go)


MEANT = {OrderKind.SEGMENT: ("words", "lane", "slot", "x"), OrderKind.ROUND: ("first", "last")}


def meaning(order: dict) -> dict:
    """The fields that mean something for an order's kind."""
    destination = order["destination"]
    fields = {name: destination[name] for name in ("kind", *MEANT.get(destination["kind"], ("words",)))}
    return {**fields, "address": order["address"], "joins": order["joins"]} if fields["kind"] is OrderKind.SEGMENT else fields


def check_orders(found: list[dict], expected: list[dict], word_bits: int) -> None:
    """Orders as expected, and ``joins`` where the last run of words ended."""
    before: dict | None = None  # the last order of words, if it was a segment's
    for order, wanted in zip(found, expected, strict=True):
        wanted = dict(wanted)
        if wanted["kind"] is OrderKind.SEGMENT:
            wanted["address"] %= 1 << word_bits
            follows = before is not None and wanted["address"] == (before["address"] + before["words"]) % (1 << word_bits)
            joins = order.pop("joins")
            assert follows or not joins
            assert joins or not (follows and abs(wanted["slot"] - before["slot"]) <= 1)
            before = wanted
        elif wanted["kind"] is not OrderKind.ROUND:
            before = None
        assert order == wanted


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 64]), st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS]))
@settings(max_examples=12, deadline=None)
def test_orders_of_blocks(seed, bus_bits, pattern):
    rng = np.random.default_rng(seed)
    bench = FetchBench(bus_bits)
    word_bits = 32 - (bus_bits // 8 - 1).bit_length()

    async def run(ctx) -> None:
        pauses = stalls(seed, pattern)
        for _ in range(4):
            block = random_block(rng, bus_bits)
            expected = block.expect()
            await bench.start(ctx, block)
            found = await stream_get(ctx, bench.box.orders, len(expected), pauses, view=meaning)
            check_orders(found, expected, word_bits)
            for _ in range(10):
                await ctx.tick()
                assert not ctx.get(bench.box.orders.valid)
            assert (bench.done, bench.malformed, bench.fetched) == (1, 0, block.fetched)

    run_bench(bench.box, run, background=[bench.serve])


@pytest.mark.parametrize("tables", [True, False])
@pytest.mark.parametrize("active", [0, 1, LANES, LANES + 1, 3 * LANES])
@pytest.mark.parametrize("shared_mul", [BlockFlag(0), BlockFlag.SHARED_MUL])
def test_a_table_follows_the_parameters_of_a_first_block(tables, active, shared_mul):
    """Also where there is one round, or nothing to decode. An engine without tables has no order for one."""
    bench = FetchBench(tables=tables)
    block = Block(np.array([(0, FEATURES, 1)], dtype=CLASS_INFO), [(index, 1) for index in range(active)],
                  BlockFlag.TABLE | BlockFlag.FIRST | shared_mul)
    expected = [order for order in block.expect() if tables or order["kind"] is not OrderKind.FUNCTION]
    parameters = [order["kind"] for order in expected if order["kind"] not in (OrderKind.SEGMENT, OrderKind.ROUND)]
    assert parameters[-1] is OrderKind.FUNCTION or not tables

    async def run(ctx) -> None:
        await bench.start(ctx, block)
        check_orders(await stream_get(ctx, bench.box.orders, len(expected), view=meaning), expected, 30)
        await wait(ctx, 10)
        assert bench.done == 1 and not ctx.get(bench.box.orders.valid)

    run_bench(bench.box, run, background=[bench.serve])


def test_six_cycles_a_feature():
    """As the docstring promises: a round of more than ``6 * lanes`` outputs hides the fetcher."""
    bench = FetchBench()
    block = Block(np.array([(100, FEATURES, 1)], dtype=CLASS_INFO), [(index, 1) for index in range(0, FEATURES, 2)])
    cycles = []

    async def run(ctx) -> None:
        await bench.start(ctx, block)
        ctx.set(bench.box.orders.ready, 1)
        cycle = 0
        while not bench.done:
            _, _, valid, kind = await ctx.tick().sample(bench.box.orders.valid, bench.box.orders.payload.destination.kind)
            cycle += 1
            if valid and kind is OrderKind.SEGMENT:
                cycles.append(cycle)

    run_bench(bench.box, run, background=[bench.serve])
    same_round = [later - earlier for number, (earlier, later) in enumerate(zip(cycles, cycles[1:], strict=False)) if (number + 1) % LANES]
    assert len(cycles) == len(block.active) and max(same_round) <= 6


@pytest.mark.parametrize("stored", [0, 3])
def test_an_empty_class_at_the_end_costs_no_cycles(stored):
    cycles = []
    for empty in (1, 40):
        bench = FetchBench()
        infos = [(100, stored, 1), (0, stored + empty, 0)] if stored else [(0, empty, 0)]
        block = Block(np.array(infos, dtype=CLASS_INFO), [(index, 1) for index in range(stored + empty)])

        async def run(ctx, bench=bench, block=block) -> None:
            ctx.set(bench.box.orders.ready, 1)
            await bench.start(ctx, block)
            cycles.append(0)
            while not bench.done:
                await ctx.tick()
                cycles[-1] += 1

        run_bench(bench.box, run, background=[bench.serve])
        assert bench.fetched == stored
    assert cycles[0] == cycles[1]


@pytest.mark.parametrize("infos", [
    pytest.param([(0, 10, 1), (0, 20, 1)], id="a feature beyond the last class"),
    pytest.param([(0, 10, 1), (0, FEATURES, CAPACITY * 8 // 32 + 1)], id="a segment longer than the buffer"),
    pytest.param([(0, FEATURES, 0xFFF | PAIR)], id="a pair longer than the buffer"),
])
def test_malformed_classes_are_told(infos):
    bench = FetchBench()
    block = Block(np.array(infos, dtype=CLASS_INFO), [(5, 1), (30, 1)])

    async def run(ctx) -> None:
        ctx.set(bench.box.orders.ready, 1)
        await bench.start(ctx, block)
        await wait(ctx, 60)
        assert bench.malformed

    run_bench(bench.box, run, background=[bench.serve])


def test_segments_of_a_full_buffer_are_well_formed():
    bench = FetchBench()
    block = Block(np.array([(0, FEATURES, CAPACITY * 8 // 32)], dtype=CLASS_INFO), [(FEATURES - 1, 1)])

    async def run(ctx) -> None:
        await bench.start(ctx, block)
        await stream_get(ctx, bench.box.orders, len(block.expect()))
        await wait(ctx, 2)
        assert (bench.done, bench.malformed) == (1, 0)

    run_bench(bench.box, run, background=[bench.serve])
