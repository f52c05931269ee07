"""Pieces: what of an AXI burst lies in one row, and RowCutter, which cuts bursts into them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.errors import ConfigError
from permfc.memory.part import DramPart

from ..axi import INCR
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

    Raises
    ------
    ConfigError
        If the part does not fit the bus.
    """

    def __init__(self, part: DramPart, bus_bits: int) -> None:
        if bus_bits not in (part.width, 2 * part.width, 4 * part.width, 8 * part.width):
            raise ConfigError(f"The bus of {part.name} must have 1, 2, 4 or 8 times its {part.width} data pins, not {bus_bits} bits")
        self.column_bits = ceil_log2(part.columns)
        self.row_bits = ceil_log2(part.rows)
        self.part_bits = ceil_log2(bus_bits // part.width)
        self.byte_bits = ceil_log2(part.width // 8)


class Piece(data.StructLayout):
    """``words`` + 1 words of one row, from ``column`` on. ``last`` ends an AXI burst; ``refused`` is answered with an error."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({
            "column": geometry.column_bits, "bank": BANK_BITS, "row": geometry.row_bits, "words": geometry.column_bits,
            "last": 1, "refused": 1, "write": 1,
        })


class Burst(data.StructLayout):
    """An AXI4 burst of ``len`` + 1 words from byte ``addr`` on, with the codes of its kind and of a word's size."""

    def __init__(self) -> None:
        super().__init__({"addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2})


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
        address, more = Signal(word_bits), Signal(8 + geometry.part_bits)  # of the words that are left: the first, and how many follow it
        busy, fresh, write, refused = Signal(), Signal(), Signal(), Signal()
        column, row = address[:geometry.column_bits], address[geometry.column_bits:]
        end = Signal(range((1 << geometry.column_bits) + (1 << len(more))))  # column of the last word, counted from this row's first; a cycle late
        fits = Signal()
        whole = geometry.byte_bits + geometry.part_bits  # AxSIZE
        piece = self.pieces.payload
        m.d.comb += [
            self.reads.ready.eq(~busy),
            self.writes.ready.eq(~busy & ~self.reads.valid),
            fits.eq(end[geometry.column_bits:] == 0),
        ]
        m.d.sync += [end.eq(column + more), fresh.eq(0)]
        for channel, is_write in ((self.writes, 1), (self.reads, 0)):
            with m.If(channel.valid & channel.ready):
                word = channel.payload.addr[geometry.byte_bits:]
                m.d.sync += [
                    address.eq(word[:word_bits]),
                    refused.eq(word[word_bits:].any() | (channel.payload.burst != INCR) | (channel.payload.size != whole)),
                    more.eq(Cat(Const((1 << geometry.part_bits) - 1, geometry.part_bits), channel.payload.len)),
                    write.eq(is_write),
                    busy.eq(1),
                    fresh.eq(1),
                ]
        with m.If(self.pieces.ready):
            m.d.sync += self.pieces.valid.eq(0)
        with m.If(busy & ~fresh & ~self.pieces.valid):
            m.d.sync += [
                piece.column.eq(column),
                Cat(piece.bank, piece.row).eq(row),
                piece.words.eq(Mux(fits, more, ~column)),
                piece.last.eq(fits),
                piece.refused.eq(refused),
                piece.write.eq(write),
                self.pieces.valid.eq(1),
                column.eq(0),
                row.eq(row + 1),
                more.eq(end - (1 << geometry.column_bits)),
                busy.eq(~fits),
                fresh.eq(1),
            ]
        return m
