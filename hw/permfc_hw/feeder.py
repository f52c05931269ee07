"""Feeder: gives the lanes what they need of the next round beside their segments."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAX_CLASSES, MAX_LEVELS

from .index_decoder import LEVEL_BITS
from .lane import LaneFeature, LevelEntry
from .memory import WideMemory
from .round_control import Round

ENTRY_BITS = 16  # of a level table: level and aux
TABLE_BANKS = 2  # one is read, the next block's is loaded
TABLE_BITS = ceil_log2(TABLE_BANKS * MAX_CLASSES)  # bank on top of the class slot


class Assignment(data.StructLayout):
    """A feature for the round's next lane, and its level table; of a ``pair`` that takes turns with another one."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"feature": LaneFeature(config), "table": TABLE_BITS, "pair": 1})


class FeederItem(data.StructLayout):
    """An assignment, or, if it ``closes``, the round that those before it make."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"closes": 1, "of": data.UnionLayout({"assignment": Assignment(config), "round": Round(config)})})


class Feeder(wiring.Component):
    """Accepts an item a cycle once the lanes have taken what they had for the round before.

    Features come ordered by class. So where one needs another level table than its lane has, the lanes behind it are given the 16 entries, too: all
    of them, or, if the two segments of dense8 features take turns, every other one. Later classes overwrite them.

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
        self._rest = Signal(config.lanes, init=-1)  # lanes that have no feature of this round
        self._odd = Signal()                        # the first of them is
        # Of the even and of the odd lanes: the table of those that have no feature, if all have one, and whether the others have it, too.
        self._tables = [Signal(TABLE_BITS, name=f"table{i}", reset_less=True) for i in range(2)]
        self._known, self._partly = Signal(2), Signal(2)
        self._filling, self._pipeline = Signal(), Signal(3)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = self.table
        m.d.comb += [
            self.table.write_en.eq(self.table_en),
            self.table.write_address.eq(self.table_address),
            self.table.write_data.eq(self.table_data),
        ]
        item, busy = self.items.payload, self._filling | self._pipeline.any()
        assignment = item.of.assignment
        asks, has, assigned, closed = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            asks.eq(self.items.valid & ~item.closes & self.fill_go),
            has.eq(Mux(self._odd, self._known[1] & (self._tables[1] == assignment.table), self._known[0] & (self._tables[0] == assignment.table))),
            assigned.eq(asks & has),
            self.rounds.valid.eq(self.items.valid & item.closes & ~busy),
            self.rounds.payload.eq(item.of.round),
            closed.eq(self.rounds.valid & self.rounds.ready),
            self.items.ready.eq(assigned | closed),
        ]
        self._assign(m, assignment, assigned)
        self._fill(m, assignment, asks & ~has & ~busy)
        self._close(m, closed, item.of.round.sweep)
        return m

    def _assign(self, m: Module, assignment: data.View, assigned: Value) -> None:
        lane = self._rest & ~(self._rest << 1)
        m.d.sync += [self.feature_en.eq(lane & assigned.replicate(self.config.lanes)), self.feature.eq(assignment.feature)]
        with m.If(assigned):
            m.d.sync += [self._rest.eq(self._rest << 1), self._odd.eq(~self._odd)]

    def _close(self, m: Module, closed: Value, sweep: Value) -> None:
        """The next round begins with the first lane. A new block's tables are others."""
        with m.If(closed):
            m.d.sync += [self._rest.eq(-1), self._odd.eq(0), self._known.eq(self._known & ~self._partly & ~sweep.replicate(2)), self._partly.eq(0)]

    def _fill(self, m: Module, assignment: data.View, begin: Value) -> None:
        """Table read, entry and write in three stages."""
        lanes = self.config.lanes
        number, number1 = Signal(LEVEL_BITS), Signal(LEVEL_BITS, reset_less=True)
        chosen, table = Signal(lanes, reset_less=True), Signal(TABLE_BITS, reset_less=True)
        every_other = Cat(self._odd if lane % 2 else ~self._odd for lane in range(lanes))
        with m.If(begin):
            m.d.sync += [
                self._filling.eq(1), table.eq(assignment.table), chosen.eq(self._rest & (every_other | (~assignment.pair).replicate(lanes)))
            ]
            for parity in range(2):
                own = self._odd == parity
                with m.If(own | ~assignment.pair):
                    before = ~Mux(own, self._rest[min(1, lanes - 1)], self._rest[0])
                    m.d.sync += [self._tables[parity].eq(assignment.table), self._known[parity].eq(1), self._partly[parity].eq(before)]
        with m.If(self._filling):
            m.d.sync += number.eq(number + 1)
            with m.If(number == MAX_LEVELS - 1):
                m.d.sync += self._filling.eq(0)
        stored = self.table.read_data
        m.d.comb += self.table.read_address.eq(Cat(number, table))
        m.d.sync += [
            self._pipeline.eq(Cat(self._filling, self._pipeline)),
            number1.eq(number),
            self.entry.code.number.eq(number1),
            self.entry.code.aux.eq(stored[8:]),
            self.entry.level.eq(stored[:8].as_signed()),
            self.entry_en.eq(chosen & self._pipeline[0].replicate(lanes)),
        ]
