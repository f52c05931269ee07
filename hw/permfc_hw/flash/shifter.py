"""Shifter: bytes to the pins of a serial flash, on one line or on four."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

BYTES = 4  # most that are sent at once
SINGLE_LINE = 0b1101  # IO1 is the flash's output; IO2 and IO3 are WP# and HOLD#, kept high


class Shifter(wiring.Component):
    """Sends the highest bits first: a bit a clock on IO0, or four on IO3 to IO0. The first is sent in the cycle after ``load``.

    Members
    -------
    load : In(1)
    data : In(32)
        What is sent stands at the top.
    clocks : In(6)
    quad : In(1)
        On four lines.
    drive : In(1)
        If not, only the clock runs: dummy clocks.
    busy : Out(1)
    last : Out(1)
        The last clock runs in this cycle.
    io_o, io_oe : Out(4)
    """

    def __init__(self) -> None:
        super().__init__({
            "load": In(1), "data": In(8 * BYTES), "clocks": In(6), "quad": In(1), "drive": In(1),
            "busy": Out(1), "last": Out(1), "io_o": Out(4), "io_oe": Out(4),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift, left = Signal(8 * BYTES), Signal(6)
        quad, drive = Signal(), Signal()
        m.d.comb += [
            self.busy.eq(left != 0),
            self.last.eq(left == 1),
            self.io_o.eq(Mux(quad, shift[-4:], Cat(shift[-1], Const(0b110, 3)))),
            self.io_oe.eq(Mux(self.busy, Mux(quad, drive.replicate(4), SINGLE_LINE), 0)),
        ]
        with m.If(self.busy):
            m.d.sync += [left.eq(left - 1), shift.eq(Mux(quad, shift << 4, shift << 1))]
        with m.If(self.load):
            m.d.sync += [shift.eq(self.data), left.eq(self.clocks), quad.eq(self.quad), drive.eq(self.drive)]
        return m
