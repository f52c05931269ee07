"""LaneGroup: four lanes, and their copy of the level tables."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAX_CLASSES, MAX_LEVELS

from .index_decoder import LEVEL_BITS, DecodeControl
from .lane import Lane, LevelEntry, WordWrite
from .memory import WideMemory

GROUP_LANES = 4
ENTRY_BITS = 16  # of a level table: level and aux


class Assignment(data.Struct):
    """A feature for a lane of the group: its activation and its class slot."""

    lane: unsigned(ceil_log2(GROUP_LANES))
    slot: unsigned(ceil_log2(MAX_CLASSES))
    x: signed(8)


class LaneGroup(wiring.Component):
    """Accepts an assignment and, as soon as ``fill_go`` is high, gives the lane its activation and the 16 entries of its class's level table, one a
    cycle; the entries only if the lane's feature before was of another class.

    Members
    -------
    assign : In(stream of Assignment)
        Ready while no fill is under way.
    idle : Out(1)
        All lanes have what their next features need.
    fill_go : In(1)
        What the lanes had for this round they have taken.
    table_en, table_address, table_data : In
        Bus words of the block's level tables.
    word_en : In(4)
        One bit a lane.
    word, word_data : In
    control : In(DecodeControl)
    sums : Out(ArrayLayout(signed, 4))
    """

    latency = Lane.latency

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.table = WideMemory(word_bits=config.bus_bits, unit_bits=ENTRY_BITS, units=MAX_CLASSES * MAX_LEVELS)
        super().__init__({
            "assign": In(stream.Signature(Assignment)),
            "idle": Out(1),
            "fill_go": In(1),
            "table_en": In(1),
            "table_address": In(self.table.write_address.shape()),
            "table_data": In(config.bus_bits),
            "word_en": In(GROUP_LANES),
            "word": In(WordWrite),
            "word_data": In(config.bus_bits),
            "control": In(DecodeControl),
            "sums": Out(data.ArrayLayout(signed(config.accumulator_bits), GROUP_LANES)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = self.table
        m.d.comb += [
            self.table.write_en.eq(self.table_en),
            self.table.write_address.eq(self.table_address),
            self.table.write_data.eq(self.table_data),
        ]
        current = Signal(Assignment, reset_less=True)
        busy, held = Signal(), Signal()  # an assignment is under way; its activation has not been given yet
        self._assign(m, current, busy, held)
        entry_en, entry = Signal(GROUP_LANES), Signal(LevelEntry, reset_less=True)
        self._fill(m, current, busy, held, entry_en, entry)
        for i in range(GROUP_LANES):
            m.submodules[f"lane{i}"] = lane = Lane(self.config)
            m.d.comb += [
                lane.word_en.eq(self.word_en[i]),
                lane.word.eq(self.word),
                lane.word_data.eq(self.word_data),
                lane.entry_en.eq(entry_en[i]),
                lane.entry.eq(entry),
                lane.x_en.eq(held & self.fill_go & (current.lane == i)),
                lane.x.eq(current.x),
                lane.control.eq(self.control),
                self.sums[i].eq(lane.sum),
            ]
        return m

    def _assign(self, m: Module, current: Signal, busy: Signal, held: Signal) -> None:
        m.d.comb += [self.idle.eq(~busy), self.assign.ready.eq(~busy)]
        with m.If(held & self.fill_go):
            m.d.sync += held.eq(0)
        with m.If(self.assign.valid & self.assign.ready):
            m.d.sync += [current.eq(self.assign.payload), busy.eq(1), held.eq(1)]

    def _fill(self, m: Module, current: Signal, busy: Signal, held: Signal, entry_en: Signal, entry: Signal) -> None:
        """Table read, entry and write in three stages; the assignment stays until the last has been written."""
        slots = [Signal(range(MAX_CLASSES), name=f"slot{i}", reset_less=True) for i in range(GROUP_LANES)]
        known = Signal(GROUP_LANES)  # lanes that have the tables of the class in their slot
        same, filling = Signal(), Signal()
        number = Signal(LEVEL_BITS)
        read, number1, entered = Signal(), Signal.like(number, reset_less=True), Signal()
        m.d.comb += [
            same.eq(Cat(known[i] & (slots[i] == current.slot) & (current.lane == i) for i in range(GROUP_LANES)).any()),
            self.table.read_address.eq(Cat(number, current.slot)),
        ]
        with m.If(held & self.fill_go):
            with m.If(same):
                m.d.sync += busy.eq(0)
            with m.Else():
                m.d.sync += filling.eq(1)
                for i in range(GROUP_LANES):
                    with m.If(current.lane == i):
                        m.d.sync += [slots[i].eq(current.slot), known[i].eq(1)]
        with m.If(filling):
            m.d.sync += number.eq(number + 1)
            with m.If(number == MAX_LEVELS - 1):
                m.d.sync += filling.eq(0)
        with m.If(entered & ~read):
            m.d.sync += busy.eq(0)
        with m.If(self.table_en):
            m.d.sync += known.eq(0)
        stored = self.table.read_data
        m.d.sync += [
            read.eq(filling),
            number1.eq(number),
            entered.eq(read),
            entry.code.number.eq(number1),
            entry.code.aux.eq(stored[8:]),
            entry.level.eq(stored[:8].as_signed()),
            entry_en.eq(Mux(read, 1 << current.lane, 0)),
        ]
