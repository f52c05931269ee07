"""Feeder: gives the lanes what they need of the next round beside their segments."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAX_CLASSES, MAX_LEVELS

from .index_decoder import LEVEL_BITS
from .lane import LaneFeature, LevelEntry
from .memory import PLAIN, WideMemory
from .round_control import Round

ENTRY_BITS = 16  # of a level table: level and aux
TABLE_BANKS = 2  # one is read, the next block's is loaded
TABLE_BITS = ceil_log2(TABLE_BANKS * MAX_CLASSES)  # bank on top of the class slot


class Assignment(data.StructLayout):
    """A feature for the round's next lane, and its level table."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"feature": LaneFeature(config), "table": TABLE_BITS})


class FeederItem(data.StructLayout):
    """An assignment, or, if it ``closes``, the round that those before it make."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"closes": 1, "of": data.UnionLayout({"assignment": Assignment(config), "round": Round(config)})})


class Feeder(wiring.Component):
    """Accepts an item a cycle once the lanes have taken what they had for the round before.

    A lane whose feature before was of another class gets the 16 entries of its level table. All lanes of a class get them together. Two classes
    may wait for that at a time, since the two segments of a dense8 feature, which are of two classes, come by turns.

    Members
    -------
    items : In(stream of FeederItem)
    rounds : Out(stream of Round)
        A round whose lanes have all that they need.
    fill_go : In(1)
        The lanes have taken what they had.
    table_en, table_address, table_data : In
        Bus words of the level tables.
    feature_en : Out(lanes)
    feature : Out(LaneFeature)
    entry_en : Out(lanes)
    entry : Out(LevelEntry)
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.table = WideMemory(word_bits=config.bus_bits, unit_bits=ENTRY_BITS, units=TABLE_BANKS * MAX_CLASSES * MAX_LEVELS)
        super().__init__({
            "items": In(stream.Signature(FeederItem(config))),
            "rounds": Out(stream.Signature(Round(config))),
            "fill_go": In(1),
            "table_en": In(1),
            "table_address": In(self.table.write_address.shape()),
            "table_data": In(config.bus_bits),
            "feature_en": Out(config.lanes),
            "feature": Out(LaneFeature(config)),
            "entry_en": Out(config.lanes),
            "entry": Out(LevelEntry),
        })
        self._lane = Signal(config.lanes, init=1)  # the round's next
        # Two sets of lanes that wait for a table.
        self._lanes = [Signal(config.lanes, name=f"lanes{i}") for i in range(2)]
        self._tables = [Signal(TABLE_BITS, name=f"table{i}", reset_less=True) for i in range(2)]
        self._waiting = [lanes.any() for lanes in self._lanes]
        self._filling, self._pipeline = Signal(), Signal(3)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = self.table
        m.d.comb += [
            self.table.write_en.eq(self.table_en),
            self.table.write_address.eq(self.table_address),
            self.table.write_data.eq(self.table_data),
        ]
        assigned, closed = Signal(), Signal()
        item, busy = self.items.payload, self._filling | self._pipeline.any()
        joins, hit = self._destinations(m, item.of.assignment.table)
        m.d.comb += [
            assigned.eq(self.items.valid & ~item.closes & self.fill_go & ~busy & (hit | joins.any())),
            self.rounds.valid.eq(self.items.valid & item.closes & ~busy & ~self._waiting[0] & ~self._waiting[1]),
            self.rounds.payload.eq(item.of.round),
            closed.eq(self.rounds.valid & self.rounds.ready),
            self.items.ready.eq(assigned | closed),
        ]
        self._assign(m, assigned, hit, joins)
        self._fill(m, ~assigned & ~busy & (self._waiting[0] | self._waiting[1]))
        with m.If(closed):
            m.d.sync += self._lane.eq(1)
        return m

    def _destinations(self, m: Module, table: Value) -> tuple[Value, Value]:
        """Which set of waiting lanes the next lane may join, one bit each, and whether it has the table already."""
        waiting = self._waiting
        like = [waiting[i] & (self._tables[i] == table) for i in range(2)]
        joins, hit = Signal(2), Signal()
        m.d.comb += [joins[0].eq(like[0] | (~waiting[0] & ~like[1])), joins[1].eq(like[1] | (waiting[0] & ~like[0] & ~waiting[1]))]
        self._remember(m, table, hit)
        return joins, hit

    def _remember(self, m: Module, table: Value, hit: Signal) -> None:
        """The table of every lane, as it will be when those that wait have theirs; known anew in every block."""
        lanes = self.config.lanes
        m.submodules.tables = tables = Memory(shape=TABLE_BITS, depth=lanes, init=[], attrs=PLAIN)
        read, write = tables.read_port(domain="comb"), tables.write_port()
        number, known = Signal(range(lanes)), Signal(lanes)
        accepted = self.items.valid & self.items.ready
        m.d.comb += [
            read.addr.eq(number), write.addr.eq(number), write.data.eq(table), write.en.eq(accepted & ~self.items.payload.closes),
            hit.eq((known & self._lane).any() & (read.data == table)),
        ]
        with m.If(write.en):
            m.d.sync += [number.eq(number + 1), known.eq(known | self._lane)]
        with m.If(accepted & self.items.payload.closes):
            m.d.sync += number.eq(0)
            with m.If(self.items.payload.of.round.sweep):
                m.d.sync += known.eq(0)

    def _assign(self, m: Module, assigned: Signal, hit: Signal, joins: Signal) -> None:
        assignment = self.items.payload.of.assignment
        m.d.sync += [self.feature_en.eq(self._lane & assigned.replicate(self.config.lanes)), self.feature.eq(assignment.feature)]
        with m.If(assigned):
            m.d.sync += self._lane.eq(self._lane.rotate_left(1))
            with m.If(~hit):
                for join, lanes, table in zip(joins, self._lanes, self._tables, strict=True):
                    with m.If(join):
                        m.d.sync += [lanes.eq(lanes | self._lane), table.eq(assignment.table)]

    def _fill(self, m: Module, begin: Value) -> None:
        """Table read, entry and write in three stages. The lanes of the first set come first."""
        number, number1 = Signal(LEVEL_BITS), Signal(LEVEL_BITS, reset_less=True)
        chosen, table = Signal(self.config.lanes, reset_less=True), Signal(TABLE_BITS, reset_less=True)
        stored = self.table.read_data
        with m.If(begin):
            m.d.sync += self._filling.eq(1)
            with m.If(self._waiting[0]):
                m.d.sync += [chosen.eq(self._lanes[0]), table.eq(self._tables[0]), self._lanes[0].eq(0)]
            with m.Else():
                m.d.sync += [chosen.eq(self._lanes[1]), table.eq(self._tables[1]), self._lanes[1].eq(0)]
        with m.If(self._filling):
            m.d.sync += number.eq(number + 1)
            with m.If(number == MAX_LEVELS - 1):
                m.d.sync += self._filling.eq(0)
        m.d.comb += self.table.read_address.eq(Cat(number, table))
        m.d.sync += [
            self._pipeline.eq(Cat(self._filling, self._pipeline)),
            number1.eq(number),
            self.entry.code.number.eq(number1),
            self.entry.code.aux.eq(stored[8:]),
            self.entry.level.eq(stored[:8].as_signed()),
            self.entry_en.eq(chosen & self._pipeline[0].replicate(self.config.lanes)),
        ]
