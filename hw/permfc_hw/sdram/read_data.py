"""ReadData: takes words from the data pins when they are due, and makes bus words of them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..queue import Queue
from .streamer import Slot

DEPTH = 16  # bus words that wait or are on their way: more than the pipeline from a READ to the bus holds
OKAY, DECERR = 0b00, 0b11


class ReadBeat(data.StructLayout):
    """A beat of the AXI R channel."""

    def __init__(self, bus_bits: int) -> None:
        super().__init__({"data": bus_bits, "last": 1, "outside": 1})


class ReadData(wiring.Component):
    """Accepts a slot a cycle; a word is taken from the pins ``delay`` cycles after its slot.

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

    def __init__(self, *, width: int, bus_bits: int, delay: int) -> None:
        self.width, self.bus_bits, self.delay = width, bus_bits, delay
        super().__init__({
            "slot": In(Slot),
            "begins_word": In(1),
            "room": Out(1),
            "dq": In(width),
            "beats": Out(stream.Signature(ReadBeat(bus_bits))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(ReadBeat(self.bus_bits), depth=DEPTH)
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
        promised = Signal(range(DEPTH + 1))
        taken = self.beats.valid & self.beats.ready
        m.d.comb += self.room.eq(~promised[-1])
        m.d.sync += promised.eq(promised + Mux(self.begins_word, 1, 0) - taken)
        return m
