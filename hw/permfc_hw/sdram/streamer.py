"""Streamer: reads or writes a word a cycle of pieces whose rows are open."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.memory.part import DramPart

from ..read_data import Slot
from .pieces import BANK_BITS, Geometry, Piece
from .timing import BURST, SdramTiming


class ColumnCommand(data.StructLayout):
    """READ of ``column`` in ``bank``, or WRITE of one word there."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"write": 1, "bank": BANK_BITS, "column": geometry.column_bits})


class WriteWord(data.StructLayout):
    """A beat of the AXI W channel."""

    def __init__(self, bus_bits: int) -> None:
        super().__init__({"data": bus_bits, "strobe": bus_bits // 8})


class Streamer(wiring.Component):
    """One word a cycle. A READ covers the words up to the next multiple of eight columns; the next one cuts it short where a piece ends.

    Members
    -------
    pieces : In(stream of Piece)
        With their rows open.
    room : In(1)
        There is room for the bus word that begins now.
    writes : In(stream of WriteWord)
    command_en, command : Out(1), Out(ColumnCommand)
        In this cycle.
    data, strobe : Out
        The word that a WRITE writes.
    slot : Out(Slot)
    begins_word : Out(1)
        A bus word of a read begins in this cycle.
    streaming, bank, row : Out(1), Out(2), Out
        The row that has to stay open.
    pausable : Out(1)
        The piece does not end in this cycle, nor does it break off a READ's burst when it pauses behind it.
    paused : In(1)
        It may not go on, since its row is closed.
    responses : Out(stream of 1 bit)
        A burst is written: 1 if it was refused.
    """

    def __init__(self, part: DramPart, geometry: Geometry, timing: SdramTiming, bus_bits: int) -> None:
        self.geometry, self.timing, self.width = geometry, timing, part.width
        super().__init__({
            "pieces": In(stream.Signature(Piece(geometry))),
            "room": In(1),
            "writes": In(stream.Signature(WriteWord(bus_bits))),
            "command_en": Out(1),
            "command": Out(ColumnCommand(geometry)),
            "data": Out(part.width),
            "strobe": Out(part.width // 8),
            "slot": Out(Slot),
            "begins_word": Out(1),
            "streaming": Out(1),
            "bank": Out(BANK_BITS),
            "row": Out(geometry.row_bits),
            "pausable": Out(1),
            "paused": In(1),
            "responses": Out(stream.Signature(1)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        piece, active, cut = Signal(Piece(self.geometry)), Signal(), Signal()
        moves, reads, writes, ends = Signal(), Signal(), Signal(), Signal()
        number = piece.column[:self.geometry.part_bits]  # of the word in its bus word
        may_drive = self._bus_is_free(m)
        m.d.comb += [
            reads.eq(active & ~self.paused & ~piece.write & (self.room | (number != 0))),
            writes.eq(active & ~self.paused & piece.write & self.writes.valid & may_drive & ~self.responses.valid),
            moves.eq(reads | writes),
            ends.eq(moves & (piece.words == 0)),
            self.pieces.ready.eq(~active | ends),
            self.command_en.eq(~piece.refused & (writes | reads & (cut | (piece.column[:ceil_log2(BURST)] == 0)))),
            self.command.write.eq(piece.write),
            self.command.bank.eq(piece.bank),
            self.command.column.eq(piece.column),
            self.slot.valid.eq(reads),
            self.slot.ends_word.eq(number.all()),
            self.slot.last.eq(piece.last & (piece.words == 0)),
            self.slot.outside.eq(piece.refused),
            self.begins_word.eq(reads & (number == 0)),
            self.streaming.eq(active),
            self.bank.eq(piece.bank),
            self.row.eq(piece.row),
            self.pausable.eq(active & ~ends & (~moves | piece.write | piece.column[:ceil_log2(BURST)].all())),
            self.writes.ready.eq(writes & number.all()),
            self.data.eq(self.writes.payload.data.word_select(number, self.width)),
            self.strobe.eq(self.writes.payload.strobe.word_select(number, self.width // 8)),
        ]
        m.d.sync += cut.eq(active & ~moves)  # the SDRAM goes on without us: ask again
        with m.If(moves):
            m.d.sync += [piece.column.eq(piece.column + 1), piece.words.eq(piece.words - 1)]
        with m.If(self.pieces.ready):
            m.d.sync += [piece.eq(self.pieces.payload), active.eq(self.pieces.valid), cut.eq(1)]
        with m.If(writes & ends & piece.last):
            m.d.sync += [self.responses.valid.eq(1), self.responses.payload.eq(piece.refused)]
        with m.Elif(self.responses.ready):
            m.d.sync += self.responses.valid.eq(0)
        return m

    def _bus_is_free(self, m: Module) -> Value:
        """Whether the data pins may be driven: the last READ's whole burst has left them, and a cycle has passed."""
        cycles = BURST + self.timing.cas
        passed = Signal(ceil_log2(cycles) + 1, init=1 << ceil_log2(cycles))
        free = passed[-1]
        with m.If(self.command_en & ~self.command.write):
            m.d.sync += passed.eq((1 << ceil_log2(cycles)) - cycles)
        with m.Elif(~free):
            m.d.sync += passed.eq(passed + 1)
        return free
