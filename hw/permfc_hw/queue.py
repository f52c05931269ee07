"""Queue: a small first-in, first-out store that maps to plain RAM on every device."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .memory import PLAIN


class Queue(wiring.Component):
    """Holds ``depth`` items (a power of two) besides the one at the output; an item appears two cycles after it was accepted.

    The RAM's read register is the output register, so no read-first emulation is needed: an item is read only in a cycle
    after that in which it was written.
    """

    def __init__(self, shape: ShapeLike, *, depth: int) -> None:
        self.shape = shape
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = Shape.cast(self.shape).width
        m.submodules.memory = memory = Memory(shape=width, depth=self.depth, init=[], attrs=PLAIN)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        pushed, popped = Signal(range(2 * self.depth)), Signal(range(2 * self.depth))  # items so far, modulo twice the depth
        pushing, popping = Signal(), Signal()
        out = Signal(width)
        m.d.comb += [
            self.i.ready.eq((pushed ^ popped) != self.depth),
            pushing.eq(self.i.valid & self.i.ready),
            popping.eq((pushed != popped) & (self.o.ready | ~self.o.valid)),
            write.en.eq(pushing),
            write.addr.eq(pushed),
            write.data.eq(self.i.payload),
            read.addr.eq(popped),
            self.o.payload.eq(out),
        ]
        with m.If(pushing):
            m.d.sync += pushed.eq(pushed + 1)
        with m.If(popping):
            m.d.sync += [out.eq(read.data), popped.eq(popped + 1), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
