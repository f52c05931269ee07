"""ReceiveBuffer: keeps frames from their first byte until they are executed."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.device.link.protocol import CRC_BYTES

from ..memory import PLAIN, registered_read


class Entry(data.Struct):
    """A byte of a request, or, with ``end``, the mark after its last byte; ``byte`` means nothing then."""

    byte: unsigned(8)
    end: unsigned(1)


class ReceiveBuffer(wiring.Component):
    """A ring of ``size`` bytes (a power of two). A frame that is not correct, or for which there is no room, leaves no trace.

    Members
    -------
    data, data_en, end, correct : In
        As of the Deframer.
    entries : Out(stream of Entry)
        The bytes of correct frames without their CRCs, and a mark after each frame.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__({"data": In(8), "data_en": In(1), "end": In(1), "correct": In(1), "entries": Out(stream.Signature(Entry))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=Shape.cast(Entry).width, depth=self.size, init=[], attrs=PLAIN)
        write = memory.write_port()
        # Places of the last byte written, of the last one of a whole frame, and of the last one read, modulo twice the size.
        head, frame, tail = (Signal(ceil_log2(self.size) + 1, name=name) for name in ("head", "frame", "tail"))
        place, full, lost = Signal.like(head), Signal(), Signal()
        m.d.comb += [
            place.eq(head + Mux(self.end, 1 - CRC_BYTES, 1)),  # the mark replaces the CRC
            full.eq((head ^ tail) == self.size),
            write.addr.eq(place),
            write.data.eq(Cat(self.data, self.end)),
            write.en.eq(Mux(self.end, self.correct & ~lost, self.data_en & ~full)),
        ]
        with m.If(write.en):
            m.d.sync += head.eq(place)
        with m.Elif(self.end):
            m.d.sync += head.eq(frame)
        with m.If(self.end):
            m.d.sync += lost.eq(0)
            with m.If(write.en):
                m.d.sync += frame.eq(place)
        with m.Elif(self.data_en & full):
            m.d.sync += lost.eq(1)
        self._read(m, memory, frame, tail)
        return m

    def _read(self, m: Module, memory: Memory, frame: Signal, tail: Signal) -> None:
        """A byte in three cycles, for the line takes eighty; a register parts the block RAM, which is slow, from what follows."""
        place, entry, fetched = Signal.like(tail), Signal(Entry), Signal()
        word = registered_read(m, memory, place)
        m.d.comb += [place.eq(tail + 1), self.entries.payload.eq(entry)]
        with m.If(self.entries.valid):
            m.d.sync += self.entries.valid.eq(~self.entries.ready)
        with m.Elif(fetched):
            m.d.sync += [entry.eq(word), tail.eq(place), self.entries.valid.eq(1), fetched.eq(0)]
        with m.Else():
            m.d.sync += fetched.eq(tail != frame)
