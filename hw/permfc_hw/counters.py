"""Counters: what a run did, counted as it happened."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.format import Register

from .memory import PLAIN

COUNTERS = 8  # a power of two, six of which are used
FIRST_COUNTER = Register.CYCLES  # the registers from here on


class Events(data.Struct):
    """What is counted. All but ``features_en`` count the cycles in which they are high."""

    running: unsigned(1)
    beat: unsigned(1)         # a word arrived
    fetched: unsigned(1)      # a feature's segment was ordered
    starved: unsigned(1)      # there is no round to decode
    stalled: unsigned(1)      # a word waits for a buffer
    features_en: unsigned(1)  # a block begins ...
    features: unsigned(16)    # ... of a layer of so many features


class Counters(wiring.Component):
    """Counters of 32 bits in one memory, brought up to date in turn by one adder.

    Each counter has a small count of its own for the cycles between its turns. A counter's value leaves in its turn, that is within
    ``COUNTERS + 1`` cycles, and includes everything that happened until the cycle before.

    Members
    -------
    events : In(Events)
    restart : In(1)
        Strobe: count from zero.
    number : Out
        Counter whose turn it is, as its place behind ``Register.CYCLES``.
    value : Out(32)
        Its value.
    """

    def __init__(self) -> None:
        super().__init__({
            "events": In(Events),
            "restart": In(1),
            "number": Out(ceil_log2(COUNTERS)),
            "value": Out(32),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=COUNTERS, init=[], attrs=PLAIN)
        read, write = memory.read_port(domain="comb"), memory.write_port()
        events = self.events
        fresh = Signal(COUNTERS)  # counters that have not had a turn since the restart
        recent = Array(Signal(ceil_log2(COUNTERS) + 1, name=f"recent{i}") for i in range(COUNTERS))
        counted = {
            Register.CYCLES: events.running,
            Register.BEATS: events.beat,
            Register.SEGMENTS_FETCHED: events.fetched,
            Register.SEGMENTS_SKIPPED: events.fetched,  # taken away from the features
            Register.CYCLES_STARVED: events.starved,
            Register.CYCLES_STALLED: events.stalled,
        }
        features = Signal(16)  # not yet added to the skipped ones
        skipped = _place(Register.SEGMENTS_SKIPPED)
        upcoming = Signal.like(self.number)
        step, before = Signal(signed(18)), Signal(32, reset_less=True)
        m.d.sync += [
            upcoming.eq(upcoming + 1),
            self.number.eq(upcoming),
            step.eq(Mux(upcoming == skipped, features - recent[skipped], recent[upcoming])),
            before.eq(read.data),
        ]
        with m.If(fresh.bit_select(upcoming, 1)):
            m.d.sync += before.eq(0)
        m.d.comb += [
            read.addr.eq(upcoming),
            write.addr.eq(self.number),
            write.en.eq(1),
            write.data.eq(self.value),
            self.value.eq(before + step),
        ]
        for register, event in counted.items():
            place = _place(register)
            happened = event & events.running
            m.d.sync += recent[place].eq(Mux(upcoming == place, 0, recent[place]) + happened)
        with m.If(upcoming == skipped):
            m.d.sync += features.eq(0)
        with m.If(events.features_en):
            m.d.sync += features.eq(events.features)
        m.d.sync += fresh.eq(fresh & ~(1 << upcoming))
        with m.If(self.restart):
            m.d.sync += [fresh.eq(-1), features.eq(0), Cat(*recent).eq(0)]
        return m


def _place(register: Register) -> int:
    return (register - FIRST_COUNTER) // 4
