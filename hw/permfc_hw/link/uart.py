"""The serial line: 8 data bits, least significant first, no parity, one stop bit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

STOP = 9   # position of the stop bit; the start bit is at 0
BITS = 10  # of a byte on the line


class UartReceiver(wiring.Component):
    """Takes bytes from the line, sampling each bit once, in its middle.

    Parameters
    ----------
    clocks_per_bit : int

    Members
    -------
    line : In(1)
        Asynchronous, high at rest.
    byte : Out(8)
        Valid with ``received``; stays until the next byte begins.
    received, broken : Out(1)
        Strobes at the stop bit: with ``broken`` the stop bit was low.
    """

    def __init__(self, clocks_per_bit: int) -> None:
        self.clocks_per_bit = clocks_per_bit
        super().__init__({"line": In(1, init=1), "byte": Out(8), "received": Out(1), "broken": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line, busy = Signal(init=1), Signal()
        timer, position = Signal(range(self.clocks_per_bit)), Signal(range(BITS))
        m.submodules.synchroniser = FFSynchronizer(self.line, line, init=1)
        m.d.sync += [timer.eq(timer - 1), self.received.eq(0), self.broken.eq(0)]
        with m.If(~busy):
            m.d.sync += [busy.eq(~line), timer.eq(self.clocks_per_bit // 2 - 1), position.eq(0)]
        with m.Elif(timer == 0):
            m.d.sync += [timer.eq(self.clocks_per_bit - 1), position.eq(position + 1)]
            with m.If(position == STOP):
                m.d.sync += [busy.eq(0), self.received.eq(line), self.broken.eq(~line)]
            with m.Else():
                m.d.sync += self.byte.eq(Cat(self.byte[1:], line))
            with m.If((position == 0) & line):  # a spike, not a start bit
                m.d.sync += busy.eq(0)
        return m


class UartTransmitter(wiring.Component):
    """Sends bytes, gapless when they come in time.

    Parameters
    ----------
    clocks_per_bit : int

    Members
    -------
    bytes : In(stream of 8 bits)
    line : Out(1)
        High at rest.
    """

    def __init__(self, clocks_per_bit: int) -> None:
        self.clocks_per_bit = clocks_per_bit
        super().__init__({"bytes": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(BITS - 1, init=-1)
        timer, left = Signal(range(self.clocks_per_bit)), Signal(range(BITS))
        m.d.comb += [self.line.eq(bits[0]), self.bytes.ready.eq((left == 0) & (timer == 0))]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [timer.eq(self.clocks_per_bit - 1), left.eq(left - 1), bits.eq(Cat(bits[1:], 1))]
        with m.Elif(self.bytes.valid):
            m.d.sync += [timer.eq(self.clocks_per_bit - 1), left.eq(STOP), bits.eq(Cat(0, self.bytes.payload))]
        return m
