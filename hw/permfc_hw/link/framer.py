"""Framer: sends a reply."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.device.link.protocol import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG

# Places in a frame, in the order in which they are sent; PAYLOAD stands for all its bytes.
OPENING, SEQUENCE, STATUS, NEXT, PAYLOAD, CRC = range(6)
CLOSING = CRC + CRC_BYTES


class Framer(wiring.Component):
    """Sends a reply with its flags, escapes and CRC.

    Members
    -------
    send : In(1)
        High until ``sent``; the inputs below are stable meanwhile.
    sent : Out(1)
        Strobe.
    sequence, status, next : In(8)
    with_payload : In(1)
        The reply has its payload: bytes ``first`` to before ``end`` of the reply memory, whose addresses wrap around.
    first, end : In(address_bits)
    read_address, read_data : Out(address_bits), In(8)
        ``read_data`` comes a cycle later.
    bytes : Out(stream of 8 bits)
        To the line.
    crc_restart, crc_bytes, crc_emit, crc : to and from a SerialCrc
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__({
            "send": In(1),
            "sent": Out(1),
            "sequence": In(8),
            "status": In(8),
            "next": In(8),
            "with_payload": In(1),
            "first": In(address_bits),
            "end": In(address_bits),
            "read_address": Out(address_bits),
            "read_data": In(8),
            "bytes": Out(stream.Signature(8)),
            "crc_restart": Out(1),
            "crc_bytes": Out(stream.Signature(8)),
            "crc_emit": Out(1),
            "crc": In(8),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place, byte = Signal(range(CLOSING + 1)), Signal(8, reset_less=True)
        picked, is_flag, escaping, escaped, done, payload_over = Signal(), Signal(), Signal(), Signal(), Signal(), Signal()
        with m.Switch(place):
            for number, value in {SEQUENCE: self.sequence, STATUS: self.status, NEXT: self.next, PAYLOAD: self.read_data}.items():
                with m.Case(number):
                    m.d.sync += byte.eq(value)
            with m.Default():
                m.d.sync += byte.eq(self.crc)
        m.d.comb += [
            payload_over.eq((place == PAYLOAD) & ((self.read_address == self.end) | ~self.with_payload)),
            is_flag.eq((place == OPENING) | (place == CLOSING)),
            escaping.eq(~is_flag & ~escaped & ((byte == FLAG) | (byte == ESCAPE))),
            self.bytes.payload.eq(Mux(is_flag, FLAG, Mux(escaping, ESCAPE, byte ^ Mux(escaped, ESCAPE_XOR, 0)))),
            self.bytes.valid.eq(picked),
            done.eq(picked & self.bytes.ready & ~escaping),
            self.crc_restart.eq(place == OPENING),
            self.crc_bytes.payload.eq(byte),
            self.crc_bytes.valid.eq(done & ~is_flag),
            self.crc_emit.eq(place >= CRC),
        ]
        # A byte is picked once the CRC has taken the one before; by then the reply memory shows it, too.
        m.d.sync += picked.eq(self.send & self.crc_bytes.ready & ~self.sent & ~payload_over & ~done)
        m.d.sync += self.sent.eq(done & (place == CLOSING))
        with m.If(picked & self.bytes.ready):
            m.d.sync += escaped.eq(escaping)
        with m.If(place == OPENING):
            m.d.sync += self.read_address.eq(self.first)
        with m.Elif(done & (place == PAYLOAD)):
            m.d.sync += self.read_address.eq(self.read_address + 1)
        with m.If(payload_over):
            m.d.sync += place.eq(CRC)
        with m.Elif(done & (place == CLOSING)):
            m.d.sync += place.eq(OPENING)
        with m.Elif(done & (place != PAYLOAD)):
            m.d.sync += place.eq(place + 1)
        return m
