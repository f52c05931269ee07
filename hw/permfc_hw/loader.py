"""Loader: puts the words that arrive where their order says."""

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, BlockFlag, words

from .headers import BLOCK_HEADER_LAYOUT, IMAGE_HEADER_LAYOUT
from .lane import WordWrite
from .lane_group import GROUP_LANES, Assignment
from .orders import WORDS_BITS, Destination, OrderKind
from .round_control import Round


class Emission(data.Struct):
    """How the sums of a block become results; fields as in the block header."""

    shift: unsigned(8)
    layer_end: unsigned(1)
    final: unsigned(1)
    relu: unsigned(1)
    raw: unsigned(1)
    wide_bias: unsigned(1)
    shared_mul: unsigned(1)
    table: unsigned(1)
    mul: unsigned(16)


class Section(enum.Enum, shape=unsigned(2)):
    """Part of a descriptor."""

    HEADER = 0
    INFOS = 1
    TABLES = 2


class Loader(wiring.Component):
    """Accepts one word a cycle. A word reaches its memory one cycle later.

    Members
    -------
    orders : In(stream of Destination)
        In the order in which their words arrive.
    words : In(stream of word)
    image_header, block_header : Out
        Valid after ``header_done`` and ``infos_done``.
    header_done, infos_done : Out(1)
        Strobes: the image header, or a block header and its class infos, are complete.
    word_data, address : Out
        The word and its number within its memory.
    infos_en, tables_en, biases_en, multipliers_en, function_en : Out(1)
    word_en : Out(lanes)
    word : Out(WordWrite)
    assign : Out(stream of Assignment), one a lane group
        Lane p belongs to group ``p % groups``, so that consecutive segments keep all groups' multipliers busy.
    tables_complete : In(1)
        The tables of all lane groups are complete, and so is the function table.
    rounds : Out(stream of Round)
    fill_half : In(1)
    emission : Out(Emission)
        Of the block whose last round was handed out last.
    emitted : In(1)
        Strobe: that block's last result is out.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.groups = config.lanes // GROUP_LANES
        super().__init__({
            "orders": In(stream.Signature(Destination(config))),
            "words": In(stream.Signature(config.bus_bits)),
            "image_header": Out(IMAGE_HEADER_LAYOUT),
            "block_header": Out(BLOCK_HEADER_LAYOUT),
            "header_done": Out(1),
            "infos_done": Out(1),
            "word_data": Out(config.bus_bits),
            "address": Out(WORDS_BITS),
            "infos_en": Out(1),
            "tables_en": Out(1),
            "biases_en": Out(1),
            "multipliers_en": Out(1),
            "function_en": Out(1),
            "word_en": Out(config.lanes),
            "word": Out(WordWrite),
            "assign": Out(stream.Signature(Assignment)).array(self.groups),
            "tables_complete": In(1),
            "rounds": Out(stream.Signature(Round(config))),
            "fill_half": In(1),
            "emission": Out(Emission),
            "emitted": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        order, busy = Signal(Destination(self.config), reset_less=True), Signal()
        left, address = Signal(WORDS_BITS, reset_less=True), Signal(WORDS_BITS, reset_less=True)
        last = Signal()      # the next word is the order's last
        begun = Signal()     # the order's first word is in
        taking = Signal()    # the order's words may come
        closing = Signal()   # the round is complete
        taken, assigning, done = Signal(), Signal(), Signal()
        section = Signal(Section)
        m.d.comb += [
            self.words.ready.eq(taking),
            taken.eq(self.words.valid & taking),
            assigning.eq(taken & ~begun & (order.kind == OrderKind.SEGMENT)),
            done.eq((taken & last) | closing),
            self.orders.ready.eq(~busy | done),
        ]
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), last.eq(left == 2), address.eq(address + 1), begun.eq(1), self.word_data.eq(self.words.payload)]
        with m.If(self.orders.ready):
            m.d.sync += [
                busy.eq(self.orders.valid),
                order.eq(self.orders.payload),
                left.eq(self.orders.payload.words),
                last.eq(self.orders.payload.words == 1),
                address.eq(0),
                begun.eq(0),
                section.eq(Section.HEADER),
            ]
        self._gate(m, order, busy, taking, closing, assigning)
        self._store(m, order, address, taken, last, section)
        self._assign(m, order, assigning)
        self._headers(m, order, section, taken)
        self._rounds(m, order, closing)
        return m

    def _gate(self, m: Module, order: Signal, busy: Signal, taking: Signal, closing: Signal, assigning: Signal) -> None:
        """Decides on an order when it is taken, and again every cycle until it may proceed: the memory's READY is a register."""
        emitting = Signal()  # results of the block before are not all out, so its parameters are in use
        with m.If(self.emitted):
            m.d.sync += emitting.eq(0)
        with m.If(closing & order.sweep):
            m.d.sync += emitting.eq(1)
        free = Cat(assign.ready for assign in self.assign)

        def may_proceed(order: Signal) -> Value:
            group = order.lane[:ceil_log2(self.groups)]
            ready = Signal()
            with m.Switch(order.kind):
                with m.Case(OrderKind.SEGMENT):
                    m.d.comb += ready.eq(free.bit_select(group, 1) & ~self.rounds.valid)
                with m.Case(OrderKind.BIASES, OrderKind.MULTIPLIERS, OrderKind.FUNCTION):
                    m.d.comb += ready.eq(~emitting)
                with m.Case(OrderKind.ROUND):
                    m.d.comb += ready.eq(self.tables_complete & ~self.rounds.valid)
                with m.Default():  # nothing of the block before is left to load, since its last round was complete
                    m.d.comb += ready.eq(1)
            return ready

        upcoming = self.orders.payload
        may_begin, may_continue = may_proceed(upcoming), may_proceed(order)
        with m.If(self.orders.ready):
            clear = self.orders.valid & may_begin & ~closing & ~assigning  # the flags do not show yet what happens now
            m.d.sync += [
                taking.eq(clear & (upcoming.kind != OrderKind.ROUND)),
                closing.eq(clear & (upcoming.kind == OrderKind.ROUND)),
            ]
        with m.Elif(busy & may_continue & ~taking):
            m.d.sync += [taking.eq(order.kind != OrderKind.ROUND), closing.eq(order.kind == OrderKind.ROUND)]

    def _store(self, m: Module, order: Signal, address: Signal, taken: Signal, last: Signal, section: Signal) -> None:
        """Registers the word's destination beside it."""
        m.d.sync += [self.address.eq(address), self.word.half.eq(self.fill_half), self.word.word.eq(address), self.word.last.eq(last)]
        strobes = (
            self.infos_en, self.tables_en, self.biases_en, self.multipliers_en, self.function_en, self.word_en,
            self.header_done, self.infos_done)
        m.d.sync += [strobe.eq(0) for strobe in strobes]
        with m.If(taken):
            with m.Switch(order.kind):
                with m.Case(OrderKind.HEADER):
                    m.d.sync += self.header_done.eq(last)
                with m.Case(OrderKind.DESCRIPTOR):
                    self._descriptor(m, section, address)
                with m.Case(OrderKind.SEGMENT):
                    m.d.sync += self.word_en.eq(1 << order.lane)
                with m.Case(OrderKind.BIASES):
                    m.d.sync += self.biases_en.eq(1)
                with m.Case(OrderKind.MULTIPLIERS):
                    m.d.sync += self.multipliers_en.eq(1)
                with m.Case(OrderKind.FUNCTION):
                    m.d.sync += self.function_en.eq(1)

    def _descriptor(self, m: Module, section: Signal, address: Signal) -> None:
        bus_bytes = self.config.bus_bytes
        header_words = words(BLOCK_HEADER.itemsize, bus_bytes)
        thirds = self.block_header.classes * (CLASS_INFO.itemsize // 3)  # 3 = 2 + 1: no multiplier
        info_bytes = (thirds << 1) + thirds
        info_words = (info_bytes + bus_bytes - 1) >> ceil_log2(bus_bytes)
        with m.Switch(section):
            with m.Case(Section.HEADER):
                with m.If(address == header_words - 1):
                    m.d.sync += [section.eq(Section.INFOS), address.eq(0)]
            with m.Case(Section.INFOS):
                m.d.sync += self.infos_en.eq(1)
                with m.If(address + 1 == info_words):
                    m.d.sync += [section.eq(Section.TABLES), address.eq(0), self.infos_done.eq(1)]
            with m.Case(Section.TABLES):
                m.d.sync += self.tables_en.eq(1)

    def _assign(self, m: Module, order: Signal, assigning: Signal) -> None:
        """The first word of a segment takes the assignment to the lane's group with it."""
        group_bits = ceil_log2(self.groups)
        for number, assign in enumerate(self.assign):
            m.d.comb += [
                assign.valid.eq(assigning & (order.lane[:group_bits] == number)),
                assign.payload.lane.eq(order.lane[group_bits:]),
                assign.payload.slot.eq(order.slot),
                assign.payload.x.eq(order.x),
            ]

    def _headers(self, m: Module, order: Signal, section: Signal, taken: Signal) -> None:
        """Both headers pass through one shift register, words entering at the top."""
        config = self.config
        bits = max(8 * IMAGE_HEADER.itemsize, config.bus_bits)
        header = Signal(bits, reset_less=True)
        is_header = (order.kind == OrderKind.HEADER) | ((order.kind == OrderKind.DESCRIPTOR) & (section == Section.HEADER))
        with m.If(taken & is_header):
            m.d.sync += header.eq(Cat(header, self.words.payload)[config.bus_bits:])
        block_bits = 8 * config.bus_bytes * words(BLOCK_HEADER.itemsize, config.bus_bytes)
        m.d.comb += [
            self.image_header.eq(header[:8 * IMAGE_HEADER.itemsize]),
            self.block_header.eq(header[bits - block_bits:][:8 * BLOCK_HEADER.itemsize]),
        ]

    def _rounds(self, m: Module, order: Signal, closing: Signal) -> None:
        header = self.block_header
        with m.If(self.rounds.ready):
            m.d.sync += self.rounds.valid.eq(0)
        with m.If(closing):
            m.d.sync += [
                self.rounds.valid.eq(1),
                self.rounds.payload.turns.eq(order.words),
                self.rounds.payload.outputs.eq(header.outputs),
                self.rounds.payload.sweep.eq(order.sweep),
            ]
            with m.If(order.sweep):
                m.d.sync += [
                    self.emission.shift.eq(header.shift),
                    self.emission.layer_end.eq((header.flags & BlockFlag.LAST) != 0),
                    self.emission.final.eq((header.flags & BlockFlag.FINAL) != 0),
                    self.emission.relu.eq((header.flags & BlockFlag.RELU) != 0),
                    self.emission.raw.eq((header.flags & BlockFlag.RAW) != 0),
                    self.emission.wide_bias.eq((header.flags & BlockFlag.WIDE_BIAS) != 0),
                    self.emission.shared_mul.eq((header.flags & BlockFlag.SHARED_MUL) != 0),
                    self.emission.table.eq((header.flags & BlockFlag.TABLE) != 0),
                    self.emission.mul.eq(header.mul),
                ]
