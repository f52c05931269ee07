"""Block RAM as every box uses it: written at one width, read at another, one cycle after the address."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

# Reads never see a write of the same cycle, so synthesis need not build what would order them.
PLAIN = {"no_rw_check": 1}
BLOCK = {**PLAIN, "ram_style": "block"}  # where synthesis would spend LUTs on a small memory
READ_DATA = {"read_data": 1}  # of a register that is a memory's own: nobody looks at what it holds at first, which some devices do not know


def registered_read(m: Module, memory: Memory, address: Value) -> Signal:
    """Data of ``memory`` at ``address``, one cycle later.

    An asynchronous port with a register behind it maps to plain block RAM (or distributed RAM); Amaranth's own synchronous port
    beside a write port costs a read-first emulation in LUTs.
    """
    port = memory.read_port(domain="comb")
    data = Signal(len(port.data), reset_less=True, attrs=READ_DATA)
    m.d.comb += port.addr.eq(address)
    m.d.sync += data.eq(port.data)
    return data


class SinglePortMemory(wiring.Component):
    """Memory of which a cycle writes one word or reads one: all that the large RAMs of an iCE40 UltraPlus (SPRAM) can do.

    Parameters
    ----------
    bits : int
        Width of a word.
    words : int
        Capacity.

    Members
    -------
    address : In
    write_en : In(1)
    write_data : In(bits)
    read_data : Out(bits)
        The word at ``address``, one cycle later; undefined after a cycle that writes.
    """

    def __init__(self, *, bits: int, words: int) -> None:
        self.words = words
        super().__init__({"address": In(ceil_log2(words)), "write_en": In(1), "write_data": In(bits), "read_data": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(len(self.write_data)), depth=self.words, init=[], attrs=BLOCK)
        write = memory.write_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.en.eq(self.write_en),
            write.data.eq(self.write_data),
            self.read_data.eq(registered_read(m, memory, self.address)),
        ]
        return m


class WideMemory(wiring.Component):
    """Memory filled with whole bus words and read in units of another width, both powers of two.

    The unit at ``read_address`` appears on ``read_data`` one cycle later.

    Parameters
    ----------
    word_bits : int
        Width of ``write_data``.
    unit_bits : int
        Width of ``read_data``.
    units : int
        Capacity in units.

    Members
    -------
    write_en : In(1)
    write_address : In, in words
    write_data : In(word_bits)
    read_address : In, in units
    read_data : Out(unit_bits)
    """

    def __init__(self, *, word_bits: int, unit_bits: int, units: int) -> None:
        self.word_bits = word_bits
        self.unit_bits = unit_bits
        self.units = max(units, word_bits // unit_bits)
        self.words = max(1, self.units * unit_bits // word_bits)
        super().__init__({
            "write_en": In(1),
            "write_address": In(max(1, ceil_log2(self.words))),
            "write_data": In(word_bits),
            "read_address": In(max(1, ceil_log2(self.units))),
            "read_data": Out(unit_bits),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.word_bits >= self.unit_bits:
            self._narrow_reads(m)
        else:
            self._narrow_writes(m)
        return m

    def _memory(self, m: Module, bits: int, depth: int) -> Memory:
        m.submodules.memory = memory = Memory(shape=unsigned(bits), depth=depth, init=[], attrs=BLOCK)
        return memory

    def _narrow_reads(self, m: Module) -> None:
        """A write port a unit, at neighbouring addresses: synthesis merges them into one port of a block RAM with two widths."""
        memory = self._memory(m, self.unit_bits, self.units)
        parts = self.word_bits // self.unit_bits
        for part in range(parts):
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.write_en),
                write.addr.eq(Cat(Const(part, ceil_log2(parts)), self.write_address)),
                write.data.eq(self.write_data.word_select(part, self.unit_bits)),
            ]
        m.d.comb += self.read_data.eq(registered_read(m, memory, self.read_address))

    def _narrow_writes(self, m: Module) -> None:
        memory = self._memory(m, self.unit_bits, self.units)
        write = memory.write_port(granularity=self.word_bits)
        parts = self.unit_bits // self.word_bits
        part_bits = ceil_log2(parts)
        m.d.comb += [
            write.en.eq(self.write_en << self.write_address[:part_bits]),
            write.addr.eq(self.write_address[part_bits:]),
            write.data.eq(Cat(self.write_data for _ in range(parts))),
            self.read_data.eq(registered_read(m, memory, self.read_address)),
        ]
