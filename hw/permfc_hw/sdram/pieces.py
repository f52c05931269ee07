"""Pieces: what of an AXI burst lies in one row, and RowCutter, which cuts bursts into them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.memory.part import DramPart

from ..orders import ADDRESS_BITS

BANK_BITS = 2


class Geometry:
    """Widths of an SDRAM's addresses behind a bus.

    Parameters
    ----------
    part : DramPart
    bus_bits : int
        Width of the AXI data channels: the part's width times a power of two.

    Members
    -------
    column_bits, row_bits : int
    part_bits : int
        Bits that number the words of a bus word.
    byte_bits : int
        Bits that number the bytes of a word.
    """

    def __init__(self, part: DramPart, bus_bits: int) -> None:
        self.column_bits = ceil_log2(part.columns)
        self.row_bits = ceil_log2(part.rows)
        self.part_bits = ceil_log2(bus_bits // part.width)
        self.byte_bits = ceil_log2(part.width // 8)


class Piece(data.StructLayout):
    """``words`` + 1 words of one row, from ``column`` on. ``last`` ends an AXI burst; ``outside`` is not in the memory."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({
            "column": geometry.column_bits, "bank": BANK_BITS, "row": geometry.row_bits, "words": geometry.column_bits,
            "last": 1, "outside": 1, "write": 1,
        })


class Burst(data.StructLayout):
    """An AXI4 INCR burst of ``len`` + 1 whole words from byte ``addr`` on."""

    def __init__(self) -> None:
        super().__init__({"addr": ADDRESS_BITS, "len": 8})


class RowCutter(wiring.Component):
    """Takes bursts from the AXI address channels, reads first, and gives their pieces; a piece every other cycle.

    Members
    -------
    reads, writes : In(stream of Burst)
    pieces : Out(stream of Piece)
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        super().__init__({
            "reads": In(stream.Signature(Burst())),
            "writes": In(stream.Signature(Burst())),
            "pieces": Out(stream.Signature(Piece(geometry))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry = self.geometry
        word_bits = geometry.column_bits + BANK_BITS + geometry.row_bits
        address, outside = Signal(word_bits), Signal()  # of the words that are left
        left = Signal(8 + geometry.part_bits + 1)
        write, fresh = Signal(), Signal()
        column = address[:geometry.column_bits]
        room, fits = Signal(geometry.column_bits + 1), Signal()  # in the row, of the words that are left; a cycle late
        piece = self.pieces.payload
        idle = ~self.pieces.valid & (left == 0)
        m.d.comb += [self.reads.ready.eq(idle), self.writes.ready.eq(idle & ~self.reads.valid)]
        m.d.sync += [room.eq((1 << geometry.column_bits) - column), fresh.eq(0)]
        for channel, is_write in ((self.writes, 1), (self.reads, 0)):
            with m.If(channel.valid & channel.ready):
                word = channel.payload.addr[geometry.byte_bits:]
                m.d.sync += [
                    address.eq(word[:word_bits]),
                    outside.eq(word[word_bits:].any()),
                    left.eq((channel.payload.len + 1) << geometry.part_bits),
                    write.eq(is_write),
                    fresh.eq(1),
                ]
        m.d.comb += fits.eq(left <= room)
        with m.If(self.pieces.valid & self.pieces.ready):
            m.d.sync += self.pieces.valid.eq(0)
        with m.Elif((left != 0) & ~self.pieces.valid & ~fresh):
            words = Mux(fits, left, room)
            m.d.sync += [
                piece.column.eq(column),
                piece.bank.eq(address[geometry.column_bits:]),
                piece.row.eq(address[geometry.column_bits + BANK_BITS:]),
                piece.words.eq(words - 1),
                piece.last.eq(fits),
                piece.outside.eq(outside),
                piece.write.eq(write),
                self.pieces.valid.eq(1),
                address.eq(address + room),
                left.eq(Mux(fits, 0, left - room)),
                fresh.eq(1),
            ]
        return m
