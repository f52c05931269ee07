"""Feeder: lanes get features and level tables behind the scenes, no more tables than they need, and rounds are offered once all have theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import connect
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, no_stalls, plain, run_bench, stalls, stream_get, stream_put, wait
from hw_rounds import CodedSegment, LanePorts, LaneRound, RingLoader, collect, random_activation, random_class, random_outputs, swept_sums
from permfc.config import EngineConfig
from permfc.format import LEVEL_ENTRY, MAX_CLASSES, MAX_LEVELS
from permfc.network.segments import Kind
from permfc_hw.feeder import Feeder
from permfc_hw.lane import Lane
from permfc_hw.round_control import RoundControl

LANES = 8
CONFIG = EngineConfig(lanes=LANES, bus_bits=32, block_outputs=16, features=64)
seeds = st.integers(0, 2**32 - 1)


async def load_tables(ctx, feeder: Feeder, bank: int, tables: np.ndarray, pauses: Iterator[int]) -> None:
    """Level tables of a block, LEVEL_ENTRY [slots, 16]."""
    size, stored = feeder.config.bus_bytes, tables.tobytes()
    first = bank * MAX_CLASSES * MAX_LEVELS * LEVEL_ENTRY.itemsize // size
    for number in range(-(-len(stored) // size)):
        await wait(ctx, next(pauses))
        ctx.set(feeder.table_en, 1)
        ctx.set(feeder.table_address, first + number)
        ctx.set(feeder.table_data, int.from_bytes(stored[number * size:][:size], "little"))
        await ctx.tick()
        ctx.set(feeder.table_en, 0)


def assignment(x: int, last_word: int, table: int, pair: bool = False) -> dict:
    return {"closes": 0, "of": {"assignment": {"feature": {"x": x, "last_word": last_word}, "table": table, "pair": int(pair)}}}


def closing(round_: dict[str, int]) -> dict:
    return {"closes": 1, "of": {"round": round_}}


@dataclass
class TabledBlock:
    """The rounds of a block as the table slots of their lanes, and what the tables hold."""

    rounds: list[list[int]]
    tables: np.ndarray  # LEVEL_ENTRY [slots, 16]
    pairs: frozenset[int] = frozenset()  # slots whose features take turns with the next or the last slot's


def random_tables(rng: np.random.Generator, slots: int = MAX_CLASSES) -> np.ndarray:
    return np.frombuffer(rng.bytes(slots * MAX_LEVELS * LEVEL_ENTRY.itemsize), LEVEL_ENTRY).reshape(slots, MAX_LEVELS)


def random_blocks(rng: np.random.Generator) -> list[TabledBlock]:
    """Blocks whose features come ordered by class, as they are packed, each followed by others of its class, or by turns with another class."""
    blocks = []
    for _ in range(4):
        slots, lanes, pairs = 0, [], set()
        while slots < 14 and len(lanes) < 30 and rng.random() < 0.9:
            pair = int(rng.random() < 0.3)
            lanes += [slots, slots + pair] * int(rng.integers(1, 9))
            pairs |= {slots, slots + 1} if pair else set()
            slots += 1 + pair
        width = int(rng.integers(1, LANES + 1))
        rounds = [lanes[start:start + width] for start in range(0, len(lanes), width)]
        blocks.append(TabledBlock(rounds, random_tables(rng, slots + 1), frozenset(pairs)))
    return blocks


class WatchedLanes:
    """What lanes have got from a Feeder, and how many tables that took."""

    def __init__(self, feeder: Feeder, blocks: list[TabledBlock]) -> None:
        self.feeder = feeder
        self.rounds = [(block, round_) for block in blocks for round_ in [*block.rounds, []]]
        self.features: dict[int, dict[str, int]] = {}  # of this round
        self.tables: list[list[tuple[int, int]]] = [[] for _ in range(LANES)]  # level and aux of each entry
        self.fills: list[list[int]] = [[]]  # of each round, the lanes of each table
        self.needed = [fills for block in blocks for fills in needed_fills(block)]

    async def watch(self, ctx) -> None:
        feeder = self.feeder
        while True:
            _, _, go, feature_en, feature, entry_en, entry, valid, ready = await ctx.tick().sample(
                feeder.fill_go, feeder.feature_en, feeder.feature, feeder.entry_en, feeder.entry, feeder.rounds.valid, feeder.rounds.ready)
            if feature_en | entry_en:
                assert go, "What a lane has not taken yet was replaced"
            self._take_feature(feature_en, plain(feature))
            self._take_entry(entry_en, plain(entry))
            if valid:
                self._check_round()
            if valid and ready:
                self.features = {}
                self.fills.append([])

    def _take_feature(self, enables: int, feature: dict) -> None:
        for lane in range(LANES):
            if enables >> lane & 1:
                assert lane not in self.features
                self.features[lane] = feature

    def _take_entry(self, enables: int, entry: dict) -> None:
        if enables and entry["code"]["number"] == 0:
            self.fills[-1].append(enables)
        for lane in range(LANES):
            if enables >> lane & 1:
                if entry["code"]["number"] == 0:
                    self.tables[lane] = []
                assert entry["code"]["number"] == len(self.tables[lane]) and enables == self.fills[-1][-1]
                self.tables[lane].append((entry["level"], entry["code"]["aux"]))

    def _check_round(self) -> None:
        """What is offered is complete, and no lane got a table that it had."""
        number = len(self.fills) - 1
        block, round_ = self.rounds[number]
        assert self.features == {lane: feature_of(number, lane) for lane in range(len(round_))}
        for lane, slot in enumerate(round_):
            assert self.tables[lane] == block.tables[slot].tolist()
        assert self.fills[-1] == self.needed[number]


def needed_fills(block: TabledBlock) -> list[list[int]]:
    """Of each round and the sweep, the lanes that get each table: all from the first that needs it on, of a pair every other one."""
    given: dict[int, int] = {}
    rounds = []
    for round_ in [*block.rounds, []]:
        fills = []
        for lane, slot in enumerate(round_):
            if given.get(lane) != slot:
                lanes = range(lane, LANES, 2 if slot in block.pairs else 1)
                given.update(dict.fromkeys(lanes, slot))
                fills.append(sum(1 << other for other in lanes))
        rounds.append(fills)
    return rounds


def feature_of(number: int, lane: int) -> dict[str, int]:
    """A feature of round ``number``, unlike any of its neighbours."""
    return {"x": (37 * number + 5 * lane) % 256 - 128, "last_word": (number + 3 * lane) % 4}


def round_of(number: int, sweep: bool) -> dict[str, int]:
    return {"turns": number % 9, "outputs": number % 17, "words": number % 3, "sweep": int(sweep), "silent": 0}


class FeederBench:
    """Plays loader and beat around a Feeder. Blocks' tables are loaded into two banks in turn."""

    def __init__(self, blocks: list[TabledBlock], pauses: list[Iterator[int]]) -> None:
        self.feeder = Feeder(CONFIG)
        self.blocks = blocks
        self.lanes = WatchedLanes(self.feeder, blocks)
        self.loader_pauses, self.item_pauses, self.round_pauses, self.take_pauses = pauses
        self.loaded = self.swept = 0
        self.offered: list[dict[str, int]] = []

    def run(self) -> list[list[int]]:
        """Lanes of each table, by round, after every check was made."""
        run_bench(self.feeder, self.load, self.feed, self.beat, background=[self.lanes.watch])
        sweeps = [sweep for block in self.blocks for sweep in [*(False for _ in block.rounds), True]]
        assert self.offered == [round_of(number, sweep) for number, sweep in enumerate(sweeps)]
        return self.lanes.fills[:-1]

    async def load(self, ctx) -> None:
        for number, block in enumerate(self.blocks):
            while self.swept < number - 1:
                await ctx.tick()
            await load_tables(ctx, self.feeder, number % 2, block.tables, self.loader_pauses)
            self.loaded += 1

    async def feed(self, ctx) -> None:
        number = 0
        for block_number, block in enumerate(self.blocks):
            while self.loaded <= block_number:
                await ctx.tick()
            for round_ in [*block.rounds, []]:
                features = [(feature_of(number, lane), slot) for lane, slot in enumerate(round_)]
                items = [assignment(feature["x"], feature["last_word"], slot + MAX_CLASSES * (block_number % 2), slot in block.pairs)
                         for feature, slot in features]
                await stream_put(ctx, self.feeder.items, [*items, closing(round_of(number, not round_))], self.item_pauses)
                number += 1

    async def beat(self, ctx) -> None:
        ctx.set(self.feeder.fill_go, 1)
        while len(self.offered) < len(self.lanes.rounds):
            self.offered += await stream_get(ctx, self.feeder.rounds, 1, self.round_pauses)
            self.swept += self.offered[-1]["sweep"]
            ctx.set(self.feeder.fill_go, 0)
            await wait(ctx, 4 + next(self.take_pauses))
            ctx.set(self.feeder.fill_go, 1)


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_rounds_are_offered_when_their_lanes_have_all_they_need(seed):
    blocks = random_blocks(np.random.default_rng(seed))
    FeederBench(blocks, [stalls(seed + number, LONG_STALLS) for number in range(4)]).run()


@pytest.mark.parametrize(("rounds", "pairs", "fills"), [
    pytest.param([[0] * 8, [0] * 8, [0] * 5], (), [[0xFF], [], []], id="one class"),
    pytest.param([[0] * 3, [0] * 8], (), [[0xFF], []], id="more lanes than before"),
    pytest.param([[0] * 8, [0] * 2 + [1] * 6, [1] * 8], (), [[0xFF], [0xFC], [0xFF]], id="the next class"),
    pytest.param([[2, 3] * 4, [2, 3] * 4], (2, 3), [[0x55, 0xAA], []], id="dense8"),
    pytest.param([[2, 3] * 4, [3, 2] * 4], (2, 3), [[0x55, 0xAA], [0x55, 0xAA]], id="dense8, halves of a feature in two rounds"),
    pytest.param([[0, 0, 0, 2, 3, 2, 3, 2]], (2, 3), [[0xFF, 0xA8, 0x50]], id="dense8 behind another class"),
    pytest.param([[0, 1, 2, 3, 4, 5, 6, 7]], (), [[0xFF & -(1 << lane) for lane in range(8)]], id="a class a lane"),
])
def test_lanes_of_a_class_get_their_table_together(rounds, pairs, fills):
    found = FeederBench([TabledBlock(rounds, random_tables(np.random.default_rng(1)), frozenset(pairs))], [no_stalls()] * 4).run()
    assert found == [*fills, []]


def test_a_blocks_tables_are_not_the_last_blocks():
    """Two banks of tables are used in turn, so a table of the same number is another one after two sweeps, as after one."""
    rng = np.random.default_rng(2)
    blocks = [TabledBlock(rounds, random_tables(rng)) for rounds in ([[0] * 8], [[0] * 8], [[0] * 8, [0] * 4], [], [[0] * 8])]
    assert FeederBench(blocks, [no_stalls()] * 4).run() == [[0xFF], [], [0xFF], [], [0xFF], [], [], [], [0xFF], []]


def test_a_feature_waits_until_the_lanes_have_taken_theirs():
    feeder = Feeder(CONFIG)

    async def bench(ctx) -> None:
        ctx.set(feeder.fill_go, 0)
        ctx.set(feeder.items.payload, assignment(3, 1, 2))
        ctx.set(feeder.items.valid, 1)
        for _ in range(3 * MAX_LEVELS):
            _, _, ready, feature_en, entry_en = await ctx.tick().sample(feeder.items.ready, feeder.feature_en, feeder.entry_en)
            assert not ready and not feature_en and not entry_en
        ctx.set(feeder.fill_go, 1)
        await stream_put(ctx, feeder.items, [assignment(3, 1, 2)])
        assert ctx.get(feeder.feature_en) == 1 and plain(ctx.get(feeder.feature)) == {"x": 3, "last_word": 1}

    run_bench(feeder, bench)


def test_a_sweep_waits_for_nothing():
    """It needs nothing of the lanes, so it is offered while they still have what they had; what comes behind it waits for it."""
    feeder = Feeder(CONFIG)
    sweep = round_of(8, True)

    async def bench(ctx) -> None:
        ctx.set(feeder.fill_go, 0)
        ctx.set(feeder.items.payload, closing(sweep))
        ctx.set(feeder.items.valid, 1)
        for _ in range(9):
            _, _, ready, valid, payload = await ctx.tick().sample(feeder.items.ready, feeder.rounds.valid, feeder.rounds.payload)
            assert valid and not ready and plain(payload) == sweep
        ctx.set(feeder.rounds.ready, 1)
        _, _, ready = await ctx.tick().sample(feeder.items.ready)
        assert ready

    run_bench(feeder, bench)


class FedLanes(Elaboratable):
    """A Feeder with its beat and its lanes. Their buffers are filled from outside."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.control, self.feeder = RoundControl(config), Feeder(config)
        self.ports = LanePorts(config, config.lanes)
        self.lanes = [Lane(config) for _ in range(config.lanes)]
        self.sums = Signal(data.ArrayLayout(self.lanes[0].sum.shape(), config.lanes))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control, m.submodules.feeder = control, feeder = self.control, self.feeder
        connect(m, feeder.rounds, control.rounds)
        m.d.comb += feeder.fill_go.eq(control.fill_go)
        m.d.comb += [getattr(self.ports, name).eq(getattr(feeder, name)) for name in ("feature_en", "feature", "entry_en", "entry")]
        for number, lane in enumerate(self.lanes):
            m.submodules[f"lane{number}"] = lane
            self.ports.connect(m, number, lane)
            m.d.comb += [lane.control.eq(control.control), self.sums[number].eq(lane.sum)]
        return m


@dataclass
class PackedBlock:
    """A block as the image has it: its rounds with the sweep, and the table slot of each class."""

    rounds: list[LaneRound]
    tables: list[np.ndarray]

    @classmethod
    def random(cls, rng: np.random.Generator, config: EngineConfig) -> PackedBlock:
        """Classes of all kinds, one behind the other; active features of each, in order."""
        outputs, tables, segments = random_outputs(rng, config), [], []
        for kind in rng.permutation([Kind.PREFIX.value, Kind.SPARSE.value, Kind.DENSE8.value, Kind.PREFIX.value])[:rng.integers(5)]:
            features = random_class(rng, outputs, config.bus_bits, Kind(kind))
            tables += [segment.table for segment in features[0]]
            for feature in features:
                x = random_activation(rng)
                segments += [segment.of(x) for segment in feature]
        lanes = config.lanes
        rounds = [LaneRound(outputs, dict(enumerate(segments[start:start + lanes]))) for start in range(0, len(segments), lanes)]
        return cls([*rounds, LaneRound(outputs, sweep=True)], tables)

    def slot(self, segment: CodedSegment) -> int:
        return next(slot for slot, table in enumerate(self.tables) if table is segment.table)


class FedLanesBench:
    """Plays loader for FedLanes."""

    def __init__(self, config: EngineConfig, blocks: list[PackedBlock], seed: int | None) -> None:
        self.box, self.blocks = FedLanes(config), blocks
        self.rounds = sum((block.rounds for block in blocks), [])
        self.ring = RingLoader(config, self.box.ports, self.box.control, self.rounds)
        self.pauses = no_stalls() if seed is None else stalls(seed, LONG_STALLS)
        self.loaded = self.swept = 0

    def run(self) -> None:
        run_bench(self.box, self.ring.load, self.load, self.feed, self.check, background=[self.ring.watch, self.watch])

    async def watch(self, ctx) -> None:
        rounds = self.box.feeder.rounds
        while True:
            _, _, valid, ready, payload = await ctx.tick().sample(rounds.valid, rounds.ready, rounds.payload)
            self.swept += valid and ready and payload.sweep

    async def load(self, ctx) -> None:
        for number, block in enumerate(self.blocks):
            while self.swept < number - 1:
                await ctx.tick()
            await load_tables(ctx, self.box.feeder, number % 2, np.array(block.tables, dtype=LEVEL_ENTRY), no_stalls())
            self.loaded += 1

    async def feed(self, ctx) -> None:
        number = 0
        for block_number, block in enumerate(self.blocks):
            while self.loaded <= block_number:
                await ctx.tick()
            for round_ in block.rounds:
                await self.ring.round_is_loaded(ctx, number)
                bank = MAX_CLASSES * (block_number % 2)
                features = [(self.ring.feature(number, segment), segment) for segment in round_.segments.values()]
                items = [assignment(feature["x"], feature["last_word"], block.slot(segment) + bank, segment.pair) for feature, segment in features]
                await stream_put(ctx, self.box.feeder.items, [*items, closing(round_.payload(self.ring.bus_bits))], self.pauses)
                number += 1

    async def check(self, ctx) -> None:
        expected = [swept_sums(self.rounds, lane) for lane in range(self.box.config.lanes)]
        found = await collect(ctx, self.box.control, self.box.sums, Lane.latency, len(self.blocks))
        for number, sums in enumerate(found):
            assert np.transpose(sums).tolist() == [lane[number] for lane in expected]


@given(seeds, st.sampled_from([(16, 16), (32, 128), (64, 64), (128, 64)]), st.booleans())
@settings(max_examples=4, deadline=None)
def test_sums_of_whole_blocks(seed, widths, punctual):
    """Classes of all kinds go through Feeder and lanes, and every lane has the sums of its features."""
    bus_bits, block_outputs = widths
    config = EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=block_outputs, features=64)
    rng = np.random.default_rng(seed)
    FedLanesBench(config, [PackedBlock.random(rng, config) for _ in range(4)], None if punctual else seed).run()
