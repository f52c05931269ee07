"""ReadData: takes words from a memory's data pins when they are due, and makes bus words of them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .queue import Queue


class Slot(data.Struct):
    """A cycle in which a word is asked for: it ends a bus word, ends a burst, or is not in the memory."""

    valid: 1
    ends_word: 1
    last: 1
    outside: 1


class ReadBeat(data.StructLayout):
    """A beat of the AXI R channel."""

    def __init__(self, bus_bits: int) -> None:
        super().__init__({"data": bus_bits, "last": 1, "outside": 1})


class ReadData(wiring.Component):
    """Accepts a slot a cycle; a word is taken from the pins ``delay`` - 1 cycles after its slot.

    Parameters
    ----------
    width : int
        Bits of a word at the pins.
    bus_bits : int
        Bits of a bus word.
    delay : int
        Cycles from a slot to the register of the data pins.
    depth : int
        Bus words that wait or are on their way: a power of two, more than pass between a slot and the bus at full speed.

    Members
    -------
    slot : In(Slot)
    begins_word : In(1)
        A bus word was promised room.
    room : Out(1)
        There is room for one more.
    dq : In
        Data pins.
    beats : Out(stream of ReadBeat)
    """

    def __init__(self, *, width: int, bus_bits: int, delay: int, depth: int) -> None:
        self.width, self.bus_bits, self.delay, self.depth = width, bus_bits, delay, depth
        super().__init__({
            "slot": In(Slot),
            "begins_word": In(1),
            "room": Out(1),
            "dq": In(width),
            "beats": Out(stream.Signature(ReadBeat(bus_bits))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(ReadBeat(self.bus_bits), depth=self.depth)
        due = self.slot
        for _ in range(self.delay):
            later = Signal(Slot)
            m.d.sync += later.eq(due)
            due = later
        word, collected = Signal(self.width, reset_less=True), Signal(self.bus_bits, reset_less=True)
        whole = Cat(collected, word)[-self.bus_bits:]
        m.d.sync += word.eq(self.dq)
        with m.If(due.valid):
            m.d.sync += collected.eq(whole)
        m.d.comb += [
            queue.i.valid.eq(due.valid & due.ends_word),
            queue.i.payload.data.eq(whole),
            queue.i.payload.last.eq(due.last),
            queue.i.payload.outside.eq(due.outside),
        ]
        connect(m, queue.o, flipped(self.beats))
        promised = Signal(range(self.depth + 1))
        taken = self.beats.valid & self.beats.ready
        m.d.comb += self.room.eq(~promised[-1])
        m.d.sync += promised.eq(promised + Mux(self.begins_word, 1, 0) - taken)
        return m
