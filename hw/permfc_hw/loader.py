"""Loader: puts the words that arrive where their order says."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, MAX_CLASSES, MAX_LEVELS, BlockFlag, words

from .feeder import ENTRY_BITS, TABLE_BITS, Assignment, FeederItem
from .headers import BLOCK_HEADER_LAYOUT, CHECKED_LAST, IMAGE_HEADER_LAYOUT
from .orders import WORDS_BITS, Destination, OrderKind
from .round_control import SHORTEST, Round
from .widths import buffer_word, exceeds, segment_words

ROUNDS_AHEAD = 7  # most rounds that are loaded and not begun


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
    table_address : Out
        The word's number within the level tables.
    infos_en, tables_en, biases_en, multipliers_en, function_en : Out(1)
    word_en : Out(lanes)
        The round's segments go to the lanes in order.
    word : Out
        Number of the word in the segment buffers.
    item_en, item : Out
        For the feeder. At most ``ROUNDS_AHEAD`` rounds are on the way to it.
    round_begun, sweep_begun : In(1)
        Strobes: a round has left those items; it is a block's sweep.
    freed_en, freed : In
        So many words of the segment buffers are free again.
    table_complete : In(1)
        The function table is complete.
    emission : Out(Emission)
        Of the block whose last round was handed out last.
    emitted : In(1)
        Strobe: that block's last result is out.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
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
            "table_address": Out(TABLE_BITS + ceil_log2(MAX_LEVELS)),
            "tables_en": Out(1),
            "biases_en": Out(1),
            "multipliers_en": Out(1),
            "function_en": Out(1),
            "word_en": Out(config.lanes),
            "word": Out(buffer_word(config)),
            "item_en": Out(1),
            "item": Out(FeederItem(config)),
            "round_begun": In(1),
            "freed_en": In(1),
            "freed": In(segment_words(config)),
            "table_complete": In(1),
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
        base, widest, room = self._ring(m, order, assigning, closing)
        self._gate(m, order, busy, taking, closing, room)
        self._store(m, order, base, address, taken, last, section)
        self._headers(m, order, section, taken, address)
        self._items(m, order, base, widest, assigning, closing)
        self._emission(m, closing & order.sweep)
        return m

    def _ring(self, m: Module, order: Signal, assigning: Signal, closing: Signal) -> tuple[Signal, Signal, Signal]:
        """Where the round's segments begin in all buffers, the longest of them, and whether there is room for any."""
        longest = 1 << (len(self.word) - 1)  # half of a buffer
        base, taken, room = Signal(buffer_word(self.config)), Signal(range(2 * longest + 1)), Signal()
        widest, freed = Signal(segment_words(self.config)), Mux(self.freed_en, self.freed, 0)
        m.d.comb += room.eq(~exceeds(taken, longest))
        m.d.sync += taken.eq(taken - freed)
        with m.If(assigning & (order.words > widest)):
            m.d.sync += widest.eq(order.words)
        with m.If(closing):
            m.d.sync += [base.eq(base + widest), taken.eq(taken + widest - freed), widest.eq(0)]
        return base, widest, room

    def _gate(self, m: Module, order: Signal, busy: Signal, taking: Signal, closing: Signal, room: Signal) -> None:
        """Decides on an order when it is taken, and again every cycle until it may proceed: the memory's READY is a register."""
        emitting = Signal()  # results of the block before are not all out, so its parameters are in use
        with m.If(self.emitted):
            m.d.sync += emitting.eq(0)
        with m.If(closing & order.sweep):
            m.d.sync += emitting.eq(1)
        rounds = Signal(range(ROUNDS_AHEAD + 1))  # that are closed and not begun
        m.d.sync += rounds.eq(rounds + closing - self.round_begun)

        def may_proceed(order: Signal) -> Value:
            ready = Signal()
            with m.Switch(order.kind):
                with m.Case(OrderKind.SEGMENT):
                    m.d.comb += ready.eq(room & (rounds != ROUNDS_AHEAD))
                with m.Case(OrderKind.BIASES, OrderKind.MULTIPLIERS, OrderKind.FUNCTION):
                    m.d.comb += ready.eq(~emitting)
                with m.Case(OrderKind.ROUND):
                    m.d.comb += ready.eq(self.table_complete & (rounds != ROUNDS_AHEAD))
                with m.Default():  # a bank of level tables is free: two blocks before, all results were out when parameters came
                    m.d.comb += ready.eq(1)
            return ready

        upcoming = self.orders.payload
        may_begin, may_continue = may_proceed(upcoming), may_proceed(order)
        with m.If(self.orders.ready):
            clear = self.orders.valid & may_begin & ~closing  # what counts rounds does not show yet what happens now
            m.d.sync += [
                taking.eq(clear & (upcoming.kind != OrderKind.ROUND)),
                closing.eq(clear & (upcoming.kind == OrderKind.ROUND)),
            ]
        with m.Elif(busy & may_continue & ~taking):
            m.d.sync += [taking.eq(order.kind != OrderKind.ROUND), closing.eq(order.kind == OrderKind.ROUND)]

    def _store(self, m: Module, order: Signal, base: Signal, address: Signal, taken: Signal, last: Signal, section: Signal) -> None:
        """Registers the word's destination beside it."""
        lane = Signal(self.config.lanes, init=1)
        m.d.sync += [self.address.eq(address), self.word.eq(base + address)]
        strobes = (
            self.infos_en, self.tables_en, self.biases_en, self.multipliers_en, self.function_en, self.word_en,
            self.header_done, self.infos_done)
        m.d.sync += [strobe.eq(0) for strobe in strobes]
        with m.If(order.kind == OrderKind.ROUND):
            m.d.sync += lane.eq(1)
        with m.If(taken):
            with m.Switch(order.kind):
                with m.Case(OrderKind.HEADER):
                    m.d.sync += self.header_done.eq(last)
                with m.Case(OrderKind.DESCRIPTOR):
                    self._descriptor(m, section, address)
                with m.Case(OrderKind.SEGMENT):
                    m.d.sync += [self.word_en.eq(lane), lane.eq(Mux(last, lane.rotate_left(1), lane))]
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

    def _headers(self, m: Module, order: Signal, section: Signal, taken: Signal, address: Signal) -> None:
        """Block headers, and of the image header as many bytes, pass through one shift register, words entering at the top. What counts of the
        other bytes has a register of its own.
        """
        bus_bytes = self.config.bus_bytes
        kept, start = max(BLOCK_HEADER.itemsize, bus_bytes), IMAGE_HEADER.fields[CHECKED_LAST[0]][1]
        header, rest = Signal(8 * kept, reset_less=True), Signal(8 * len(CHECKED_LAST), reset_less=True)  # a byte each
        of_image, of_block = order.kind == OrderKind.HEADER, (order.kind == OrderKind.DESCRIPTOR) & (section == Section.HEADER)
        with m.If(taken & (of_block | of_image & (address < kept // bus_bytes))):
            m.d.sync += header.eq(Cat(header, self.words.payload)[self.config.bus_bits:])
        with m.If(taken & of_image & (address == start // bus_bytes)):
            m.d.sync += rest.eq(self.words.payload >> 8 * (start % bus_bytes))
        first = header[:8 * BLOCK_HEADER.itemsize]
        m.d.comb += [self.image_header.eq(Cat(first, rest)), self.block_header.eq(first)]

    def _items(self, m: Module, order: Signal, base: Signal, widest: Signal, assigning: Signal, closing: Signal) -> None:
        """The first word of a segment takes the assignment of its feature with it."""
        bank, assignment, round_ = Signal(), Signal(Assignment(self.config)), Signal(Round(self.config))
        m.d.comb += [
            assignment.feature.x.eq(order.x),
            assignment.feature.last_word.eq(base + order.words - 1),
            assignment.table.eq(Cat(order.slot, bank)),
            assignment.pair.eq(order.pair),
            round_.turns.eq(Mux(exceeds(order.words, SHORTEST), order.words, SHORTEST)),
            round_.outputs.eq(self.block_header.outputs),
            round_.words.eq(widest),
            round_.sweep.eq(order.sweep),
            round_.silent.eq(0),
            self.item_en.eq(assigning | closing),
            self.item.closes.eq(closing),
            self.item.of.eq(Mux(closing, round_.as_value(), assignment.as_value())),
        ]
        with m.If(closing & order.sweep):
            m.d.sync += bank.eq(~bank)
        bank_words = words(MAX_CLASSES * MAX_LEVELS * ENTRY_BITS // 8, self.config.bus_bytes)
        m.d.comb += self.table_address.eq(Cat(self.address[:ceil_log2(bank_words)], bank))

    def _emission(self, m: Module, begin: Value) -> None:
        header, emission = self.block_header, self.emission
        with m.If(begin):
            m.d.sync += [
                emission.shift.eq(header.shift),
                emission.layer_end.eq((header.flags & BlockFlag.LAST) != 0),
                emission.final.eq((header.flags & BlockFlag.FINAL) != 0),
                emission.relu.eq((header.flags & BlockFlag.RELU) != 0),
                emission.raw.eq((header.flags & BlockFlag.RAW) != 0),
                emission.wide_bias.eq((header.flags & BlockFlag.WIDE_BIAS) != 0),
                emission.shared_mul.eq((header.flags & BlockFlag.SHARED_MUL) != 0),
                emission.table.eq((header.flags & BlockFlag.TABLE) != 0),
                emission.mul.eq(header.mul),
            ]
