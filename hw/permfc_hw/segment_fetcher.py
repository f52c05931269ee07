"""SegmentFetcher: the orders for one block, from the list of active features."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig
from permfc.format import CLASS_INFO, MAX_CLASSES, PAIR, WORDS_MASK, BlockFlag

from .activation_store import Activation
from .headers import BLOCK_HEADER_LAYOUT, CLASS_INFO_LAYOUT
from .memory import WideMemory
from .orders import WORDS_BITS, OrderKind, SegmentOrder, word_address_shape

# Class infos are read in halves, which takes half the block RAMs.
INFO_UNIT = 32
INFO_UNITS = 8 * CLASS_INFO.itemsize // INFO_UNIT


class SegmentFetcher(wiring.Component):
    """Walks the active features once a block: each gets a lane of the current round and an order for its segment.

    A round is closed when the next feature finds no lane free, or the list ends. The block's parameters are ordered after its
    second round, when the lanes have enough to do, or before its last if that comes earlier. Four cycles a
    feature, which a round of more than ``4 * lanes`` outputs hides; none for the features of an empty class that comes last.

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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.infos = self.infos
        m.d.comb += [
            self.infos.write_en.eq(self.infos_en),
            self.infos.write_address.eq(self.infos_address),
            self.infos.write_data.eq(self.infos_data),
        ]
        slot = Signal(range(MAX_CLASSES))
        info = Signal(CLASS_INFO_LAYOUT, reset_less=True)           # of the class in ``slot``
        upper = Signal()                           # half of the class info to read
        address = Signal(word_address_shape(config), reset_less=True)
        position = Signal.like(self.entry_address)
        feature = Signal(Activation(config), reset_less=True)
        neighbour = Signal.like(feature.index)     # follows the feature whose segment was ordered last ...
        adjoining = Signal()                       # ... if it is of this class and nothing else was ordered since
        belongs = Signal()                         # the feature is of this class
        segment = Signal(len(feature.index) + 1, reset_less=True)  # number in the class's numbering: two segments a dense8 feature
        offset = Signal(32, reset_less=True)
        lane = Signal(range(config.lanes + 1))     # lanes of this round in use
        second = Signal()                          # half of a dense8 feature
        rounds = Signal(2)                         # closed so far, up to 2
        parameters_out, exhausted = Signal(), Signal()
        words, pair = info.words & WORDS_MASK, (info.words & PAIR) != 0
        nothing_left = (words == 0) & (slot + 1 == self.block_header.classes)  # features without weights are packed last
        capacity = config.segment_bytes // config.bus_bytes
        destination = self.orders.payload.destination
        m.d.comb += [
            self.infos.read_address.eq(Cat(upper, slot)),
            self.entry_address.eq(position),
            self.orders.payload.address.eq(address),
            self.orders.payload.joins.eq(adjoining & (second | (feature.index == neighbour))),
            destination.lane.eq(lane),
            destination.slot.eq(slot + second),
            destination.x.eq(feature.x),
        ]

        def send(kind: OrderKind, count: object, following: str) -> None:
            m.d.comb += [self.orders.valid.eq(1), destination.kind.eq(kind), destination.words.eq(count)]
            with m.If(self.orders.ready):
                m.next = following

        m.d.sync += self.malformed.eq(0)
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [position.eq(0), slot.eq(0), lane.eq(0), rounds.eq(0), parameters_out.eq(0), exhausted.eq(0), second.eq(0)]
                with m.If(self.go):
                    m.next = "Read Class"
            with m.State("Read Class"):
                m.next = "Class Base"
            with m.State("Class Base"):
                m.d.comb += upper.eq(1)
                m.d.sync += info.base.eq(self.infos.read_data)
                m.next = "Class Range"
            with m.State("Class Range"):
                m.d.sync += [info.as_value()[INFO_UNIT:].eq(self.infos.read_data), adjoining.eq(0)]
                m.next = "Feature"
            with m.State("Read Feature"):
                m.next = "Feature"
            with m.State("Feature"):
                m.d.sync += [feature.eq(self.entry), segment.eq(Mux(pair, self.entry.index << 1, self.entry.index))]
                m.next = "Classify"
                with m.If(words > capacity):
                    m.d.sync += self.malformed.eq(1)
                with m.If((position == self.active) | nothing_left):
                    m.d.sync += exhausted.eq(1)
                    m.next = "Close"
            with m.State("Classify"):
                m.d.sync += [
                    belongs.eq(feature.index < info.end),
                    offset.eq(segment * words),
                ]
                m.next = "Locate"
            with m.State("Locate"):
                m.d.sync += address.eq(info.base + offset)
                with m.If(~belongs):
                    m.d.sync += slot.eq(slot + 1)
                    m.next = "Read Class"
                    with m.If(slot + 1 == self.block_header.classes):
                        m.d.sync += self.malformed.eq(1)
                        m.next = "Idle"
                with m.Else():
                    m.d.sync += position.eq(position + ~second)
                    m.next = "Segment"
                    with m.If(words == 0):
                        m.next = "Read Feature"
                    with m.Else():
                        m.d.comb += self.fetched.eq(~second)
                        with m.If(lane == config.lanes):
                            m.next = "Close"
            with m.State("Segment"):
                send(OrderKind.SEGMENT, words, "Feature")
                with m.If(self.orders.ready):
                    m.d.sync += [lane.eq(lane + 1), neighbour.eq(feature.index + 1), adjoining.eq(1), second.eq(pair & ~second)]
                    with m.If(pair & ~second):
                        m.d.sync += segment[0].eq(1)
                        m.next = "Classify"
            with m.State("Close"):
                with m.If(exhausted & ~parameters_out):
                    m.next = "Biases"
                with m.Else():
                    m.d.comb += [destination.first.eq(rounds == 0), destination.last.eq(exhausted)]
                    send(OrderKind.ROUND, 0, "Segment")
                    with m.If(self.orders.ready):
                        m.d.sync += [lane.eq(0), rounds.eq(Mux(rounds[1], 2, rounds + 1))]
                        with m.If(exhausted):
                            m.d.comb += self.done.eq(1)
                            m.next = "Idle"
                        with m.Elif((rounds == 1) & ~parameters_out):
                            m.next = "Biases"
            with m.State("Biases"):
                m.d.sync += [parameters_out.eq(1), adjoining.eq(0)]
                send(OrderKind.BIASES, self.parameter_words, "Multipliers")
            with m.State("Multipliers"):
                stored = (self.block_header.flags & BlockFlag.SHARED_MUL) == 0
                m.d.comb += [self.orders.valid.eq(stored), destination.kind.eq(OrderKind.MULTIPLIERS), destination.words.eq(self.parameter_words)]
                with m.If(self.orders.ready | ~stored):
                    m.next = "Segment"
                    with m.If(exhausted):
                        m.next = "Close"
        return m
