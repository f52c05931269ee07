"""SerialCrc: CRC-32 a bit a cycle, in and out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.device.link.protocol import CRC_POLYNOMIAL, CRC_RESIDUE

CRC_BITS = 32


class SerialCrc(wiring.Component):
    """The CRC of `zlib.crc32`; accepts one byte every nine cycles.

    Members
    -------
    restart : In(1)
        Strobe: begin anew; a byte on its way is forgotten.
    bytes : In(stream of 8 bits)
    emit : In(1)
        Beside a byte: the byte does not matter, the CRC moves on to its next byte.
    crc : Out(8)
        While ``bytes`` is ready, the lowest byte of the CRC of the bytes before; the second lowest after an ``emit``, and so on.
    correct : Out(1)
        While ``bytes`` is ready: the last four bytes were the CRC of those before.
    """

    def __init__(self) -> None:
        super().__init__({"restart": In(1), "bytes": In(stream.Signature(8)), "emit": In(1), "crc": Out(8), "correct": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        register, byte = Signal(CRC_BITS, init=-1), Signal(8)
        left, emitting = Signal(range(9)), Signal()
        feedback = Signal()
        m.d.comb += [
            self.bytes.ready.eq(left == 0),
            self.crc.eq(~register[:8]),
            self.correct.eq(register == CRC_RESIDUE),
            feedback.eq((register[0] ^ byte[0]) & ~emitting),
        ]
        with m.If(left != 0):
            m.d.sync += [left.eq(left - 1), byte.eq(Cat(byte[1:], 0)), register.eq((register >> 1) ^ Mux(feedback, CRC_POLYNOMIAL, 0))]
        with m.Elif(self.bytes.valid):
            m.d.sync += [left.eq(8), byte.eq(self.bytes.payload), emitting.eq(self.emit)]
        with m.If(self.restart):
            m.d.sync += [left.eq(0), register.eq(-1)]
        return m
