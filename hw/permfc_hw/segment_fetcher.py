"""SegmentFetcher: the orders for one block, from the list of active features."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig
from permfc.format import MAX_CLASSES, PAIR, TABLE_BYTES, WORDS_MASK, BlockFlag, words

from .activation_store import Activation
from .headers import BLOCK_HEADER_LAYOUT, CLASS_INFO_LAYOUT
from .memory import WideMemory
from .orders import WORDS_BITS, OrderKind, SegmentOrder, word_address_shape

# Class infos are read in halves, which takes half the block RAMs.
INFO_UNIT = 32
INFO_UNITS = 4  # room for a class's, a power of two; three are used


class SegmentFetcher(wiring.Component):
    """Walks the active features once a block: each gets a lane of the current round and an order for its segment.

    A round is closed when the next feature finds no lane free, or the list ends. Then come the block's parameters, a layer's function table behind
    those of its first block, and the block's sweep. Two cycles a feature; none for the features of an empty class that comes last.

    Members
    -------
    go : In(1)
        Strobe: walk the list for the block in ``block_header``.
    parameter_words : In
        Words of the block's biases, and as many of its multipliers, which are the next of the program.
    block_header : In
    infos_en, infos_address, infos_data : In
        Bus words of the class infos.
    active : In
        Number of active features.
    entry_address : Out
        Position in the list of active features; ``entry`` is due one cycle later.
    entry : In(Activation)
    orders : Out(stream of SegmentOrder)
    done : Out(1)
        Strobe: all orders are out.
    malformed : Out(1)
        Strobe: a feature belongs to no class, or a segment is longer than a lane's buffer.
    fetched : Out(1)
        Strobe: a feature's segment was ordered.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.infos = WideMemory(word_bits=config.bus_bits, unit_bits=INFO_UNIT, units=MAX_CLASSES * INFO_UNITS)
        count = range(config.features + 1)
        super().__init__({
            "go": In(1),
            "parameter_words": In(WORDS_BITS),
            "block_header": In(BLOCK_HEADER_LAYOUT),
            "infos_en": In(1),
            "infos_address": In(self.infos.write_address.shape()),
            "infos_data": In(config.bus_bits),
            "active": In(count),
            "entry_address": Out(count),
            "entry": In(Activation(config)),
            "orders": Out(stream.Signature(SegmentOrder(config))),
            "done": Out(1),
            "malformed": Out(1),
            "fetched": Out(1),
        })
        self._slot = Signal(range(MAX_CLASSES))
        self._info = Signal(CLASS_INFO_LAYOUT, reset_less=True)  # of the class in ``_slot``
        self._position = Signal.like(self.entry_address)
        self._feature = Signal(Activation(config), reset_less=True)
        self._upcoming, self._taken = Signal(Activation(config), reset_less=True), Signal()  # block RAM is slow to answer
        self._segment = Signal(len(self._feature.index) + 1, reset_less=True)  # number in the class's numbering: two segments a dense8 feature
        self._second = Signal()     # half of a dense8 feature
        self._valid, self._belongs = Signal(), Signal()  # there is a feature; it is of this class
        self._begun = Signal()      # the first feature has been read
        self._offset = Signal(word_address_shape(config), reset_less=True)
        self._neighbour = Signal.like(self._feature.index)  # follows the feature whose segment was ordered last ...
        self._adjoining = Signal()  # ... if it is of this class and nothing else was ordered since
        self._lane = Signal(range(config.lanes + 1))  # lanes of this round in use
        self._turns = Signal(range(config.block_outputs // 2 + 2))  # of this round
        self._unit = Signal(range(MAX_CLASSES * INFO_UNITS))  # of the class infos, to be read next
        self._exhausted = Signal()

    @property
    def _words(self) -> Value:
        return self._info.words & WORDS_MASK

    @property
    def _pair(self) -> Value:
        return (self._info.words & PAIR) != 0

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.infos = self.infos
        destination = self.orders.payload.destination
        m.d.comb += [
            self.infos.write_en.eq(self.infos_en),
            self.infos.write_address.eq(self.infos_address),
            self.infos.write_data.eq(self.infos_data),
            self.entry_address.eq(self._position),
            self.orders.payload.address.eq(self._info.base + self._offset),
            self.orders.payload.joins.eq(self._adjoining & (self._second | (self._feature.index == self._neighbour))),
            destination.slot.eq(self._slot + self._second),
            destination.pair.eq(self._pair),
            destination.x.eq(self._feature.x),
        ]
        m.d.sync += [self.malformed.eq(0), self._taken.eq(0)]
        with m.If(self._taken):  # what was asked for before is there, and what comes behind it is asked for
            m.d.sync += [self._upcoming.eq(self.entry), self._position.eq(self._position + 1)]
        with m.FSM():
            with m.State("Idle"):
                counters = (self._position, self._slot, self._unit, self._lane, self._turns)
                m.d.sync += [signal.eq(0) for signal in (*counters, self._exhausted, self._second, self._begun)]
                with m.If(self.go):
                    m.d.sync += self._taken.eq(1)
                    m.next = "Read Class"
            self._read_class(m)
            self._locate_feature(m)
            self._close_round(m)
            self._end_block(m)
        return m

    def _send(self, m: Module, kind: OrderKind, count: object, following: str) -> None:
        destination = self.orders.payload.destination
        m.d.comb += [self.orders.valid.eq(1), destination.kind.eq(kind), destination.words.eq(count)]
        with m.If(self.orders.ready):
            m.next = following

    def _read_class(self, m: Module) -> None:
        """The class infos come in units, one class's behind the other's."""
        info, unit = self._info.as_value(), self._unit
        m.d.comb += self.infos.read_address.eq(unit)
        with m.State("Read Class"):
            m.d.sync += unit.eq(unit + 1)
            m.next = "Class Base"
        with m.State("Class Base"):
            m.d.sync += [info[:32].eq(self.infos.read_data), unit.eq(unit + 1)]
            m.next = "Class Range"
        with m.State("Class Range"):
            m.d.sync += [info[32:64].eq(self.infos.read_data), unit.eq(unit + 1)]
            m.next = "Class Turns"
        with m.State("Class Turns"):
            m.d.sync += [info[64:].eq(self.infos.read_data), self._adjoining.eq(0), self._begun.eq(1)]
            m.next = "Locate"
            with m.If(self._begun):
                m.d.sync += self._segment.eq(self._numbered(self._feature.index))
            with m.Else():
                self._take_feature(m)

    def _numbered(self, index: Value) -> Value:
        return Mux(self._pair, index << 1, index)

    def _take_feature(self, m: Module) -> None:
        m.d.sync += [
            self._feature.eq(self._upcoming),
            self._segment.eq(self._numbered(self._upcoming.index)),
            self._valid.eq(self._position <= self.active),
            self._taken.eq(1),
        ]

    def _locate_feature(self, m: Module) -> None:
        """One cycle to find the segment, one to order it; the next feature is read meanwhile."""
        info, words, feature = self._info, self._words, self._feature
        last_class = self._slot + 1 == self.block_header.classes
        with m.State("Locate"):
            m.d.sync += [self._belongs.eq(feature.index < info.end), self._offset.eq(self._segment * words)]
            m.next = "Segment"
            with m.If(words > self.config.segment_bytes // self.config.bus_bytes):
                m.d.sync += self.malformed.eq(1)
            with m.If(~self._valid | (words == 0) & last_class):  # features without weights are packed last
                m.d.sync += self._exhausted.eq(1)
                m.next = "Close"
        with m.State("Segment"):
            with m.If(~self._belongs):
                m.d.sync += self._slot.eq(self._slot + 1)
                m.next = "Read Class"
                with m.If(last_class):
                    m.d.sync += self.malformed.eq(1)
                    m.next = "Idle"
            with m.Elif(words == 0):
                self._take_feature(m)
                m.next = "Locate"
            with m.Elif(self._lane == self.config.lanes):
                m.next = "Close"
            with m.Else():
                self._send(m, OrderKind.SEGMENT, words, "Locate")
                with m.If(self.orders.ready):
                    self._ordered(m)

    def _ordered(self, m: Module) -> None:
        """The segment is on its way, and so is the feature, unless a dense8 feature's second segment follows."""
        more = self._pair & ~self._second
        m.d.comb += self.fetched.eq(~self._second)
        m.d.sync += [
            self._lane.eq(self._lane + 1), self._second.eq(more), self._neighbour.eq(self._feature.index + 1), self._adjoining.eq(1),
        ]
        turns = self._info.turns[:len(self._turns)]
        with m.If(turns > self._turns):
            m.d.sync += self._turns.eq(turns)
        with m.If(more):
            m.d.sync += self._segment[0].eq(1)
        with m.Else():
            self._take_feature(m)

    def _close_round(self, m: Module) -> None:
        """A round takes as long as the slowest of its classes."""
        with m.State("Close"):
            with m.If(self._lane == 0):
                m.next = "Biases"
            with m.Else():
                self._send(m, OrderKind.ROUND, self._turns, "Segment")
                with m.If(self.orders.ready):
                    m.d.sync += [self._lane.eq(0), self._turns.eq(0)]
                    with m.If(self._exhausted):
                        m.next = "Biases"

    def _end_block(self, m: Module) -> None:
        """Biases, multipliers unless the block's rows share one, and the function table at a layer's first block."""
        block = self.block_header
        stored = (block.flags & BlockFlag.SHARED_MUL) == 0
        with m.State("Biases"):
            self._send(m, OrderKind.BIASES, self.parameter_words, "Multipliers")
            with m.If(self.orders.ready & ~stored):
                m.next = "Function"
        with m.State("Multipliers"):
            self._send(m, OrderKind.MULTIPLIERS, self.parameter_words, "Function")
        with m.State("Function"):
            m.next = "Sweep"
            if self.config.tables:
                with m.If(((block.flags & BlockFlag.TABLE) != 0) & ((block.flags & BlockFlag.FIRST) != 0)):
                    m.next = "Function"
                    self._send(m, OrderKind.FUNCTION, words(TABLE_BYTES, self.config.bus_bytes), "Sweep")
        with m.State("Sweep"):
            m.d.comb += [self.orders.payload.destination.sweep.eq(1), self.done.eq(self.orders.ready)]
            self._send(m, OrderKind.ROUND, (block.outputs + 1) >> 1, "Idle")
