"""Deframer: bytes from the line in, the bytes of frames and a verdict on each frame out."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from permfc.device.link.protocol import ESCAPE, ESCAPE_XOR, FLAG

from .serial_crc import SerialCrc


class Deframer(wiring.Component):
    """Undoes the escapes and checks the CRC. Bytes must be ten cycles apart or more, as on a serial line.

    Members
    -------
    byte, received : In
        ``received`` is a strobe.
    broken : In(1)
        Strobe: something else was on the line; the frame is lost.
    data, data_en : Out
        A byte of a frame, its CRC included.
    end : Out(1)
        Strobe: the frame is over, or is an empty one between two flags.
    correct : Out(1)
        With ``end``: the frame is whole.
    """

    def __init__(self) -> None:
        super().__init__({
            "byte": In(8), "received": In(1), "broken": In(1), "data": Out(8), "data_en": Out(1), "end": Out(1), "correct": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = SerialCrc()
        escaped, lost = Signal(), Signal()
        flag, escape = Signal(), Signal()
        m.d.comb += [
            flag.eq(self.byte == FLAG),
            escape.eq(self.byte == ESCAPE),
            self.end.eq(self.received & flag),
            self.correct.eq(crc.correct & ~lost & ~escaped),  # RFC 1662: an escape before the flag gives the frame up
            self.data.eq(self.byte ^ Mux(escaped, ESCAPE_XOR, 0)),
            self.data_en.eq(self.received & ~flag & ~escape),
            crc.bytes.payload.eq(self.data),
            crc.bytes.valid.eq(self.data_en),
            crc.restart.eq(self.end),
        ]
        with m.If(self.received):
            m.d.sync += escaped.eq(escape)
        with m.If(self.broken):
            m.d.sync += lost.eq(1)
        with m.Elif(self.end):
            m.d.sync += lost.eq(0)
        return m
