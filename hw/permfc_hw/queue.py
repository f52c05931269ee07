"""Queue: a first-in, first-out store that maps to plain RAM on every device."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .memory import BLOCK, PLAIN, READ_DATA


class Queue(wiring.Component):
    """Holds ``depth`` items (a power of two) besides the one at the output; an item appears two cycles after it was accepted.

    The RAM's read register is the output register, so no read-first emulation is needed: an item is read only in a cycle
    after that in which it was written. ``block`` RAM is slow to answer, so there a further register follows, and an item takes three cycles.
    """

    def __init__(self, shape: ShapeLike, *, depth: int, block: bool = False) -> None:
        self.shape = shape
        self.depth = depth
        self.block = block
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = Shape.cast(self.shape).width
        m.submodules.memory = memory = Memory(shape=width, depth=self.depth, init=[], attrs=BLOCK if self.block else PLAIN)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        pushed, popped = Signal(range(2 * self.depth)), Signal(range(2 * self.depth))  # items so far, modulo twice the depth
        pushing, popping = Signal(), Signal()
        out, out_valid, out_ready = Signal(width, reset_less=True, attrs=READ_DATA), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq((pushed ^ popped) != self.depth),
            pushing.eq(self.i.valid & self.i.ready),
            popping.eq((pushed != popped) & (out_ready | ~out_valid)),
            write.en.eq(pushing),
            write.addr.eq(pushed),
            write.data.eq(self.i.payload),
            read.addr.eq(popped),
        ]
        with m.If(pushing):
            m.d.sync += pushed.eq(pushed + 1)
        with m.If(popping):
            m.d.sync += [out.eq(read.data), popped.eq(popped + 1), out_valid.eq(1)]
        with m.Elif(out_ready):
            m.d.sync += out_valid.eq(0)
        if self.block:
            m.d.comb += out_ready.eq(self.o.ready | ~self.o.valid)
            with m.If(out_ready):
                m.d.sync += [self.o.payload.eq(out), self.o.valid.eq(out_valid)]
        else:
            m.d.comb += [out_ready.eq(self.o.ready), self.o.payload.eq(out), self.o.valid.eq(out_valid)]
        return m
