"""Loader: puts the words that arrive where their order says."""

from amaranth.hdl import Array, Cat, Module, Signal, unsigned
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
    infos_en, tables_en, biases_en, multipliers_en : Out(1)
    word_en : Out(lanes)
    word : Out(WordWrite)
    assign : Out(stream of Assignment), one a lane group
        Lane p belongs to group ``p % groups``, so that consecutive segments keep all groups' multipliers busy.
    groups_idle : In(1)
        All tables are complete.
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
            "word_en": Out(config.lanes),
            "word": Out(WordWrite),
            "assign": Out(stream.Signature(Assignment)).array(self.groups),
            "groups_idle": In(1),
            "rounds": Out(stream.Signature(Round(config))),
            "fill_half": In(1),
            "emission": Out(Emission),
            "emitted": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        order, busy = Signal(Destination(self.config)), Signal()
        left, address = Signal(WORDS_BITS), Signal(WORDS_BITS)
        begun = Signal()  # the order's first word is in
        section = Signal(Section)
        taken, last, done = Signal(), Signal(), Signal()
        closing = Signal()   # the round is complete
        emitting = Signal()  # results of the block before are not all out
        m.d.comb += [
            taken.eq(self.words.valid & self.words.ready),
            last.eq(left == 1),
            self.orders.ready.eq(~busy | done),
        ]
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), address.eq(address + 1), begun.eq(1), self.word_data.eq(self.words.payload)]
        with m.If(self.orders.ready):
            m.d.sync += [
                busy.eq(self.orders.valid),
                order.eq(self.orders.payload),
                left.eq(self.orders.payload.words),
                address.eq(0),
                begun.eq(0),
                section.eq(Section.HEADER),
            ]
        m.d.sync += self.address.eq(address)
        for strobe in (self.infos_en, self.tables_en, self.biases_en, self.multipliers_en, self.word_en, self.header_done, self.infos_done):
            m.d.sync += strobe.eq(0)

        with m.If(busy):
            with m.Switch(order.kind):
                with m.Case(OrderKind.HEADER):
                    m.d.comb += [self.words.ready.eq(1), done.eq(taken & last)]
                    m.d.sync += self.header_done.eq(done)
                with m.Case(OrderKind.DESCRIPTOR):
                    m.d.comb += done.eq(taken & last)
                    self._descriptor(m, section, address, taken)
                with m.Case(OrderKind.SEGMENT):
                    m.d.comb += done.eq(taken & last)
                    self._segment(m, order, address, begun, taken, last)
                with m.Case(OrderKind.BIASES, OrderKind.MULTIPLIERS):
                    m.d.comb += done.eq(taken & last)
                    self._parameters(m, order, taken, emitting)
                with m.Case(OrderKind.ROUND):
                    m.d.comb += [done.eq(self.groups_idle & ~self.rounds.valid), closing.eq(done)]
        self._headers(m, order, section, taken)
        self._rounds(m, order, closing, emitting)
        return m

    def _headers(self, m: Module, order: Signal, section: Signal, taken: Signal) -> None:
        """Both headers pass through one shift register, words entering at the top."""
        config = self.config
        bits = max(8 * IMAGE_HEADER.itemsize, config.bus_bits)
        header = Signal(bits)
        is_header = (order.kind == OrderKind.HEADER) | ((order.kind == OrderKind.DESCRIPTOR) & (section == Section.HEADER))
        with m.If(taken & is_header):
            m.d.sync += header.eq(Cat(header, self.words.payload)[config.bus_bits:])
        block_bits = 8 * config.bus_bytes * words(BLOCK_HEADER.itemsize, config.bus_bytes)
        m.d.comb += [
            self.image_header.eq(header[:8 * IMAGE_HEADER.itemsize]),
            self.block_header.eq(header[bits - block_bits:][:8 * BLOCK_HEADER.itemsize]),
        ]

    def _descriptor(self, m: Module, section: Signal, address: Signal, taken: Signal) -> None:
        bus_bytes = self.config.bus_bytes
        header_words = words(BLOCK_HEADER.itemsize, bus_bytes)
        info_bytes = self.block_header.classes * CLASS_INFO.itemsize
        info_words = (info_bytes + bus_bytes - 1) >> ceil_log2(bus_bytes)
        # Tables that lanes still read for the previous block must not change.
        m.d.comb += self.words.ready.eq((section != Section.TABLES) | self.groups_idle)
        with m.If(taken):
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

    def _segment(self, m: Module, order: Signal, address: Signal, begun: Signal, taken: Signal, last: Signal) -> None:
        """The first word takes the assignment to the lane's group with it."""
        group_bits = ceil_log2(self.groups)
        group = order.lane[:group_bits]
        free = Signal(self.groups)  # groups that accept an assignment
        here = Signal()
        m.d.comb += [
            here.eq(begun | Array(free)[group] if self.groups > 1 else begun | free),
            self.words.ready.eq(here & ~self.rounds.valid),
        ]
        for number, assign in enumerate(self.assign):
            m.d.comb += [
                free[number].eq(assign.ready),
                assign.valid.eq(taken & ~begun & (group == number)),
            ]
        with m.If(taken):
            m.d.sync += self.word_en.eq(1 << order.lane)
        m.d.sync += [self.word.half.eq(self.fill_half), self.word.word.eq(address), self.word.last.eq(last)]

    def _parameters(self, m: Module, order: Signal, taken: Signal, emitting: Signal) -> None:
        """They are in use until the block before has been emitted."""
        m.d.comb += self.words.ready.eq(~emitting)
        with m.If(taken):
            m.d.sync += [
                self.biases_en.eq(order.kind == OrderKind.BIASES),
                self.multipliers_en.eq(order.kind == OrderKind.MULTIPLIERS),
            ]

    def _rounds(self, m: Module, order: Signal, closing: Signal, emitting: Signal) -> None:
        header = self.block_header
        with m.If(self.emitted):
            m.d.sync += emitting.eq(0)
        with m.If(self.rounds.ready):
            m.d.sync += self.rounds.valid.eq(0)
        with m.If(closing):
            m.d.sync += [
                self.rounds.valid.eq(1),
                self.rounds.payload.outputs.eq(header.outputs),
                self.rounds.payload.first.eq(order.first),
                self.rounds.payload.last.eq(order.last),
            ]
            with m.If(order.last):
                m.d.sync += [
                    emitting.eq(1),
                    self.emission.shift.eq(header.shift),
                    self.emission.layer_end.eq((header.flags & BlockFlag.LAST) != 0),
                    self.emission.final.eq((header.flags & BlockFlag.FINAL) != 0),
                    self.emission.relu.eq((header.flags & BlockFlag.RELU) != 0),
                    self.emission.raw.eq((header.flags & BlockFlag.RAW) != 0),
                ]
        for assign in self.assign:
            m.d.comb += [
                assign.payload.lane.eq(order.lane >> ceil_log2(self.groups)),
                assign.payload.slot.eq(order.slot),
                assign.payload.x.eq(order.x),
            ]
