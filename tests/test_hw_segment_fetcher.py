"""SegmentFetcher: orders for exactly the segments of active features, in rounds that fill the lanes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, run_bench, stalls, stream_get, strobe, wait
from permfc.config import EngineConfig
from permfc.format import CLASS_INFO, MAX_CLASSES, PAIR, TABLE_BYTES, BlockFlag, words
from permfc_hw.activation_store import ActivationStore
from permfc_hw.orders import OrderKind
from permfc_hw.segment_fetcher import SegmentFetcher

LANES = 4
FEATURES = 64
OUTPUTS = 16
PARAMETER_WORDS = 5


def small_config(bus_bits: int = 32, tables: bool = True) -> EngineConfig:
    return EngineConfig(lanes=LANES, bus_bits=bus_bits, block_outputs=OUTPUTS, features=FEATURES, tables=tables)


def longest(bus_bits: int) -> int:
    """Words of the longest segment that a lane holds."""
    config = small_config(bus_bits)
    return config.segment_bytes // config.bus_bytes


def class_infos(*entries: tuple[int, int, int]) -> np.ndarray:
    """From (base, end, words), with turns that differ from class to class."""
    return np.array([(base, end, count, 3 + slot, 0) for slot, (base, end, count) in enumerate(entries)], dtype=CLASS_INFO)


@dataclass
class Block:
    """Class infos, active features, and the orders that they ask for."""

    infos: np.ndarray                # CLASS_INFO [slots]
    active: list[tuple[int, int]]    # (index, x)
    flags: BlockFlag = BlockFlag(0)
    outputs: int = OUTPUTS
    bus_bytes: int = 4
    orders: list[dict] = field(default_factory=list)
    fetched: int = 0
    used: int = 0
    turns: int = 0

    def class_of(self, index: int) -> int:
        return int(np.flatnonzero(index < self.infos["end"])[0])

    def expect(self) -> list[dict]:
        """The orders, from the rules of the docstring."""
        for index, x in self.active:
            slot = self.class_of(index)
            base, count, turns = (int(self.infos[name][slot]) for name in ("base", "words", "turns"))
            count, pair = count & ~PAIR, bool(count & PAIR)
            self.fetched += bool(count)
            for half in range(1 + pair if count else 0):
                if self.used == LANES:
                    self.close()
                address = base + index * count * (1 + pair) + half * count
                self.orders.append({"kind": OrderKind.SEGMENT, "words": count, "address": address, "slot": slot + half, "x": x, "pair": int(pair)})
                self.used, self.turns = self.used + 1, max(self.turns, turns)
        if self.used:
            self.close()
        self.add_end()
        return self.orders

    def close(self) -> None:
        self.orders.append({"kind": OrderKind.ROUND, "words": self.turns, "sweep": 0})
        self.used = self.turns = 0

    def add_end(self) -> None:
        kinds = (OrderKind.BIASES,) if BlockFlag.SHARED_MUL in self.flags else (OrderKind.BIASES, OrderKind.MULTIPLIERS)
        self.orders += [{"kind": kind, "words": PARAMETER_WORDS} for kind in kinds]
        if BlockFlag.TABLE | BlockFlag.FIRST in self.flags:
            self.orders.append({"kind": OrderKind.FUNCTION, "words": words(TABLE_BYTES, self.bus_bytes)})
        self.orders.append({"kind": OrderKind.ROUND, "words": -(-self.outputs // 2), "sweep": 1})


def random_infos(rng: np.random.Generator, bus_bits: int) -> np.ndarray:
    """Classes of all kinds, few or as many as there may be."""
    infos, end, most = [], 0, int(rng.choice([4, 12, 30]))
    while end < FEATURES and len(infos) < MAX_CLASSES - 1:
        end = min(FEATURES, end + int(rng.integers(1, most)))
        kind, count = rng.choice(["prefix", "prefix", "dense8", "empty"]), int(rng.integers(1, longest(bus_bits) + 1))
        turns = rng.integers(OUTPUTS // 2 + 1)
        base = int(rng.integers(2**32))
        infos.append((base, end, {"prefix": count, "dense8": count | PAIR, "empty": 0}[kind], 0 if kind == "empty" else turns, 0))
        if kind == "dense8":
            infos.append((0, end, 0, 0, 0))
    found = np.array(infos, dtype=CLASS_INFO)
    found["end"][found["end"] == end] = FEATURES
    return found


def random_block(rng: np.random.Generator, bus_bits: int) -> Block:
    """A layer of random classes, of which a part is active: none, few, or all."""
    chosen = np.flatnonzero(rng.random(FEATURES) < rng.choice([0, 0.1, 0.5, 1]))
    xs = rng.choice([-128, -1, 1, 127], chosen.size)
    flags = sum(flag for flag in (BlockFlag.SHARED_MUL, BlockFlag.TABLE, BlockFlag.FIRST) if rng.integers(2))
    active = list(zip(chosen.tolist(), xs.tolist(), strict=True))
    return Block(random_infos(rng, bus_bits), active, BlockFlag(flags), int(rng.integers(1, OUTPUTS + 1)), bus_bits // 8)


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

    async def load(self, ctx, block: Block) -> None:
        """All of a block but its list."""
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
        ctx.set(box.parameter_words, PARAMETER_WORDS)
        for name, value in {"classes": len(block.infos), "flags": int(block.flags), "outputs": block.outputs}.items():
            ctx.set(box.block_header[name], value)

    async def start(self, ctx, block: Block) -> None:
        await self.load(ctx, block)
        ctx.set(self.box.active, len(block.active))
        await strobe(ctx, self.box.go)

    async def check(self, ctx, block: Block, pauses=None, *, tables: bool = True) -> None:
        """The block's orders come, and no others."""
        expected = [order for order in block.expect() if tables or order["kind"] is not OrderKind.FUNCTION]
        await self.start(ctx, block)
        check_orders(await stream_get(ctx, self.box.orders, len(expected), pauses, view=meaning), expected, len(self.box.orders.payload.address))
        for _ in range(10):
            await ctx.tick()
            assert not ctx.get(self.box.orders.valid)
        assert (self.done, self.malformed, self.fetched) == (1, 0, block.fetched)

    async def order_cycles(self, ctx) -> list[tuple[int, OrderKind]]:
        """Orders with their cycles, all taken at once, until the block is done."""
        found, cycle = [], 0
        ctx.set(self.box.orders.ready, 1)
        while not self.done:
            _, _, valid, kind = await ctx.tick().sample(self.box.orders.valid, self.box.orders.payload.destination.kind)
            cycle += 1
            if valid:
                found.append((cycle, kind))
        return found

    def run(self, bench) -> None:
        run_bench(self.box, bench, background=[self.serve])

    def run_block(self, block: Block, *, tables: bool = True) -> None:
        async def run(ctx) -> None:
            await self.check(ctx, block, tables=tables)

        self.run(run)


MEANT = {OrderKind.SEGMENT: ("words", "slot", "pair", "x"), OrderKind.ROUND: ("words", "sweep")}


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


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 64, 128, 512]), st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS]))
@settings(max_examples=12, deadline=None)
def test_orders_of_blocks(seed, bus_bits, pattern):
    rng = np.random.default_rng(seed)
    bench = FetchBench(bus_bits)

    async def run(ctx) -> None:
        pauses = stalls(seed, pattern)
        for _ in range(4):
            await bench.check(ctx, random_block(rng, bus_bits), pauses)

    bench.run(run)


@pytest.mark.parametrize("tables", [True, False])
@pytest.mark.parametrize("active", [0, 1, LANES, LANES + 1, 3 * LANES])
@pytest.mark.parametrize("shared_mul", [BlockFlag(0), BlockFlag.SHARED_MUL])
def test_a_table_follows_the_parameters_of_a_first_block(tables, active, shared_mul):
    """Also where there is one round, or nothing to decode. An engine without tables has no order for one."""
    bench = FetchBench(tables=tables)
    block = Block(class_infos((0, FEATURES, 1)), [(index, 1) for index in range(active)], BlockFlag.TABLE | BlockFlag.FIRST | shared_mul)
    bench.run_block(block, tables=tables)
    assert [order["kind"] for order in block.orders[-2:]] == [OrderKind.FUNCTION, OrderKind.ROUND]


@pytest.mark.parametrize(("turns", "rounds"), [
    ((7, 2, 5), [7, 2, 5]), ((2, 7, 5), [7, 7, 5]), ((0, 0, 1), [0, 0, 1]), ((1, 8, 7), [8, 8, 7]),
])
def test_a_round_has_the_most_turns_of_its_classes(turns, rounds):
    """Three classes in three rounds: the first round holds two of the first class and two of the second, the last one only the third."""
    bench = FetchBench()
    infos = class_infos((0, 2, 1), (100, 8, 1), (200, FEATURES, 1))
    infos["turns"] = turns
    block = Block(infos, [(index, 1) for index in range(10)])
    bench.run_block(block)
    assert [order["words"] for order in block.orders if order["kind"] is OrderKind.ROUND] == [*rounds, OUTPUTS // 2]


@pytest.mark.parametrize("pair", [0, PAIR])
def test_two_cycles_a_feature(pair):
    """Or a half of a dense8 feature, and four from a round's last one to the next round's first."""
    bench = FetchBench()
    block = Block(class_infos((100, FEATURES, 1 | pair), *[(0, FEATURES, 0)] * bool(pair)), [(index, 1) for index in range(0, FEATURES, 3)])
    block.expect()

    async def run(ctx) -> None:
        await bench.start(ctx, block)
        found = await bench.order_cycles(ctx)
        assert [kind for _, kind in found] == [order["kind"] for order in block.orders]
        segments = [cycle for cycle, kind in found if kind is OrderKind.SEGMENT]
        between = [later - earlier for earlier, later in zip(segments, segments[1:], strict=False)]
        assert between == [2 if (number + 1) % LANES else 4 for number in range(len(between))]

    bench.run(run)


def cycles_of(infos: list[tuple[int, int, int]], active: int) -> int:
    """From the start of a block with so many active features to its end."""
    bench, cycles = FetchBench(), []
    block = Block(class_infos(*infos), [(index, 1) for index in range(active)])
    block.expect()

    async def run(ctx) -> None:
        await bench.start(ctx, block)
        cycles.append((await bench.order_cycles(ctx))[-1][0])

    bench.run(run)
    assert bench.fetched == block.fetched
    return cycles[0]


@pytest.mark.parametrize("stored", [0, 3])
def test_an_empty_class_at_the_end_costs_no_cycles(stored):
    few, many = (cycles_of([(100, stored, 1)] * bool(stored) + [(0, stored + empty, 0)], stored + empty) for empty in (1, 40))
    assert few == many


def test_a_feature_without_weights_costs_two_cycles():
    """Where another class follows."""
    few, many = (cycles_of([(0, empty, 0), (100, 41, 1)], empty + 1) for empty in (1, 40))
    assert many - few == 2 * 39


@pytest.mark.parametrize("infos", [
    pytest.param([(0, 10, 1), (0, 20, 1)], id="a feature beyond the last class"),
    pytest.param([(0, 10, 1 | PAIR), (0, 10, 0), (0, 20, 0), (0, 25, 1)], id="a feature beyond the last of many classes"),
])
def test_a_feature_of_no_class_ends_a_block(infos):
    """It is told once; nothing is ordered any more, and the next block is fetched as ever."""
    bench = FetchBench()
    block, sound = (Block(class_infos(*classes), [(5, 1), (30, 1)]) for classes in (infos, [(7, FEATURES, 1)]))
    sound.infos["turns"] = 1  # fewer than those of the round that was not closed

    async def run(ctx) -> None:
        await bench.start(ctx, block)
        found = await stream_get(ctx, bench.box.orders, 1 + bool(infos[0][2] & PAIR), view=meaning)
        assert {order["kind"] for order in found} == {OrderKind.SEGMENT}
        for _ in range(60):
            await ctx.tick()
            assert not ctx.get(bench.box.orders.valid)
        assert (bench.done, bench.malformed, bench.fetched) == (0, 1, 1)
        await bench.check(ctx, sound)

    bench.run(run)


@pytest.mark.parametrize("bus_bits", [16, 32, 64, 128])
@pytest.mark.parametrize("pair", [0, PAIR])
def test_a_segment_longer_than_the_buffer_is_told(pair, bus_bits):
    """Before the last order is out. One that fills the buffer is well formed."""
    for count, told in ((longest(bus_bits), False), (longest(bus_bits) + 1, True), (0xFFF, True)):
        bench = FetchBench(bus_bits)
        infos = class_infos((0, FEATURES, count | pair), *[(0, FEATURES, 0)] * bool(pair))

        async def run(ctx, bench=bench, infos=infos, told=told) -> None:
            await bench.start(ctx, Block(infos, [(FEATURES - 1, 1)]))
            await bench.order_cycles(ctx)
            assert bool(bench.malformed) == told

        bench.run(run)


@pytest.mark.parametrize("cycles", [1, 4, 7, 20, 33, 80])
def test_a_reset_forgets_a_block(cycles):
    """Wherever it is broken off: an engine resets its fetcher between runs."""
    bench, reset = FetchBench(), Signal()
    broken, block = (random_block(np.random.default_rng(seed), 32) for seed in (cycles, 100 + cycles))

    async def run(ctx) -> None:
        await bench.start(ctx, broken)
        ctx.set(bench.box.orders.ready, 1)
        await wait(ctx, cycles)
        ctx.set(bench.box.orders.ready, 0)
        await strobe(ctx, reset)
        await bench.check(ctx, block, stalls(cycles))

    run_bench(ResetInserter(reset)(bench.box), run, background=[bench.serve])


def test_a_list_may_be_new_when_a_block_begins():
    """The sequencer hands the list over, and starts the fetcher, two cycles after a layer's last result."""
    bench = FetchBench()
    box, store, m = bench.box, ActivationStore(small_config()), Module()
    m.submodules.box, m.submodules.store = box, store
    m.d.comb += [store.read_address.eq(box.entry_address), box.entry.eq(store.entry), box.active.eq(store.active)]

    async def hand_over(ctx, values: list[int]) -> None:
        ctx.set(store.value_en, 1)
        for value in values:
            ctx.set(store.value, value)
            await ctx.tick()
        ctx.set(store.value_en, 0)
        await ctx.tick()
        ctx.set(store.swap, 1)
        await strobe(ctx, box.go)
        ctx.set(store.swap, 0)

    async def run(ctx) -> None:
        for values in ([5, -6, 0, 7], [0, 0, 9], [0, 0], [-1] * FEATURES, [1]):
            block = Block(class_infos((40, FEATURES, 2)), [(index, x) for index, x in enumerate(values) if x])
            expected = block.expect()
            await bench.load(ctx, block)
            await hand_over(ctx, values)
            check_orders(await stream_get(ctx, box.orders, len(expected), view=meaning), expected, 30)
            await wait(ctx, 10)

    run_bench(m, run)
