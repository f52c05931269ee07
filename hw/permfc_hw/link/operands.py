"""Operands: the two numbers a command works with, kept in shift registers, since bytes come and go one at a time."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

WORD_BYTES = 4


class Operands(wiring.Component):
    """An address and a value of 32 bits. A pass over both takes four cycles; it compares them, and may add one to the address.

    Members
    -------
    byte : In(8)
    shift_address, shift_value : In(1)
        ``byte`` comes in at the top, all other bytes move down.
    load : In(1), word : In(32)
        The value becomes ``word``.
    go : In(1), increment : In(1)
        Strobe: begin a pass.
    busy : Out(1)
        From the cycle after ``go`` until ``address``, ``value`` and ``equal`` are those after the pass.
    address, value : Out(32)
    equal : Out(1)
    """

    def __init__(self) -> None:
        super().__init__({
            "byte": In(8),
            "shift_address": In(1),
            "shift_value": In(1),
            "load": In(1),
            "word": In(32),
            "go": In(1),
            "increment": In(1),
            "busy": Out(1),
            "address": Out(32),
            "value": Out(32),
            "equal": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        carry, total = Signal(), Signal(9)
        done = Signal(range(WORD_BYTES))
        top_of_address, top_of_value = Signal(8), Signal(8)
        m.d.comb += [
            total.eq(self.address[:8] + carry),
            top_of_address.eq(self.byte),
            top_of_value.eq(self.byte),
        ]
        with m.If(self.busy):
            m.d.comb += [top_of_address.eq(total[:8]), top_of_value.eq(self.value[:8])]
            m.d.sync += [
                carry.eq(total[8]),
                done.eq(done + 1),
                self.busy.eq(~done.all()),
                self.equal.eq(self.equal & (total[:8] == self.value[:8])),
            ]
        with m.Elif(self.go):
            m.d.sync += [self.busy.eq(1), carry.eq(self.increment), self.equal.eq(1)]
        with m.If(self.shift_address | self.busy):
            m.d.sync += self.address.eq(Cat(self.address[8:], top_of_address))
        with m.If(self.shift_value | self.busy):
            m.d.sync += self.value.eq(Cat(self.value[8:], top_of_value))
        with m.If(self.load):
            m.d.sync += self.value.eq(self.word)
        return m
