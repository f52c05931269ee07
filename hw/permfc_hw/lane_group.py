"""LaneGroup: four lanes, their copy of the common sequences, and the multiplier that fills their product tables."""

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAX_CLASSES, MAX_LEVELS

from .index_decoder import LEVEL_BITS, DecodeControl
from .lane import Lane, TableFill, WordWrite
from .memory import WideMemory
from .product_table import PRODUCT

GROUP_LANES = 4
ENTRY_BITS = 16  # of a level table: level and aux


class Assignment(data.Struct):
    """A feature for a lane of the group: its activation and its class slot."""

    lane: unsigned(ceil_log2(GROUP_LANES))
    slot: unsigned(ceil_log2(MAX_CLASSES))
    x: signed(8)


class LaneGroup(wiring.Component):
    """Accepts an assignment and then writes the 16 entries of the lane's tables, one a cycle, as soon as ``fill_go`` is high.

    Members
    -------
    assign : In(stream of Assignment)
        Ready while no fill is under way.
    idle : Out(1)
        All tables are complete.
    fill_go, fill_bank : In
        The bank that may be filled.
    table_en, table_address, table_data : In
        Bus words of the block's level tables.
    word_en : In(4)
        One bit a lane.
    word, word_data : In
    control : In(DecodeControl)
    products : Out(ArrayLayout(PRODUCT, 4))
    """

    latency = Lane.latency

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.table = WideMemory(word_bits=config.bus_bits, unit_bits=ENTRY_BITS, units=MAX_CLASSES * MAX_LEVELS)
        super().__init__({
            "assign": In(stream.Signature(Assignment)),
            "idle": Out(1),
            "fill_go": In(1),
            "fill_bank": In(1),
            "table_en": In(1),
            "table_address": In(self.table.write_address.shape()),
            "table_data": In(config.bus_bits),
            "word_en": In(GROUP_LANES),
            "word": In(WordWrite),
            "word_data": In(config.bus_bits),
            "control": In(DecodeControl),
            "products": Out(data.ArrayLayout(PRODUCT, GROUP_LANES)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = self.table
        m.d.comb += [
            self.table.write_en.eq(self.table_en),
            self.table.write_address.eq(self.table_address),
            self.table.write_data.eq(self.table_data),
        ]
        fill_en, fill = Signal(GROUP_LANES), Signal(TableFill, reset_less=True)
        self._fill(m, fill_en, fill)
        for i in range(GROUP_LANES):
            m.submodules[f"lane{i}"] = lane = Lane(self.config)
            m.d.comb += [
                lane.word_en.eq(self.word_en[i]),
                lane.word.eq(self.word),
                lane.word_data.eq(self.word_data),
                lane.fill_en.eq(fill_en[i]),
                lane.fill.eq(fill),
                lane.control.eq(self.control),
                self.products[i].eq(lane.product),
            ]
        return m

    def _fill(self, m: Module, fill_en: Signal, fill: Signal) -> None:
        """Table entry, product and write in three stages; the assignment stays until the last has been written."""
        current = Signal(Assignment, reset_less=True)
        busy = Signal()     # from the assignment to the last write
        waiting = Signal()  # entries are left to read
        number = Signal(LEVEL_BITS)
        read, entered = Signal(), Signal()  # stages 1 and 2 hold an entry
        number1, number2 = Signal.like(number, reset_less=True), Signal.like(number, reset_less=True)
        entry = Signal(data.StructLayout({"level": signed(8), "aux": unsigned(8)}), reset_less=True)
        step = Signal()
        # A register of its own: yosys draws it into an iCE40's multiplier, and would lose what else the register holds.
        product, beside = Signal(PRODUCT, reset_less=True), Signal(LEVEL_BITS + 9, reset_less=True)
        m.d.comb += [
            fill.product.eq(product),
            Cat(fill.code.number, fill.code.aux, fill.bank).eq(beside),
            step.eq(waiting & self.fill_go),
            self.idle.eq(~busy),
            self.assign.ready.eq(~busy),
            self.table.read_address.eq(Cat(number, current.slot)),
        ]
        with m.If(self.assign.valid & self.assign.ready):
            m.d.sync += [current.eq(self.assign.payload), waiting.eq(1), busy.eq(1)]
        with m.If(step):
            m.d.sync += number.eq(number + 1)
            with m.If(number == MAX_LEVELS - 1):
                m.d.sync += waiting.eq(0)
        with m.If(fill_en.any() & ~entered):
            m.d.sync += busy.eq(0)
        m.d.sync += [
            read.eq(step),
            number1.eq(number),
            entered.eq(read),
            number2.eq(number1),
            entry.eq(self.table.read_data),
            fill_en.eq(entered << current.lane),
            product.eq(entry.level * current.x),
            beside.eq(Cat(number2, entry.aux, self.fill_bank)),
        ]
