"""BankPreparer: opens the row of the next piece while the one before it streams."""

from amaranth.hdl import Array, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .pieces import BANK_BITS, Geometry, Piece
from .timing import SdramTiming

BANKS = 1 << BANK_BITS


class RowCommand(data.StructLayout):
    """ACTIVATE of ``row``, or else PRECHARGE, of ``bank``."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"activate": 1, "bank": BANK_BITS, "row": geometry.row_bits})


class BankPreparer(wiring.Component):
    """Keeps rows open, and closes one only for another of its bank. A piece whose row is open passes in three cycles.

    ``hold`` pauses the piece that streams, since it may be long, or wait for the bus for ever; its row is opened again after ``hold``.

    Members
    -------
    pieces : In(stream of Piece)
    prepared : Out(stream of Piece)
        Their READ or WRITE may follow in the cycle after they are taken.
    commands : Out(stream of RowCommand)
    hold : In(1)
        Take no piece.
    streaming, streaming_bank, streaming_row : In(1), In(2), In
        The row in which a piece streams must stay open, unless it is paused.
    pausable : In(1)
        The piece that streams may be paused behind this cycle.
    paused : Out(1)
        It may not go on.
    written : In(1)
        A word is written in this cycle.
    close : In(1)
        All banks are precharged in this cycle; only when ``at_rest``.
    at_rest : Out(1)
        In the cycle before nothing moved, here or in streaming, and every bank may be precharged. True for as long as ``hold`` stays.
    """

    def __init__(self, geometry: Geometry, timing: SdramTiming) -> None:
        self.geometry, self.timing = geometry, timing
        super().__init__({
            "pieces": In(stream.Signature(Piece(geometry))),
            "prepared": Out(stream.Signature(Piece(geometry))),
            "commands": Out(stream.Signature(RowCommand(geometry))),
            "hold": In(1),
            "streaming": In(1),
            "streaming_bank": In(BANK_BITS),
            "streaming_row": In(geometry.row_bits),
            "pausable": In(1),
            "paused": Out(1),
            "written": In(1),
            "close": In(1),
            "at_rest": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timing, piece, command = self.timing, self.prepared.payload, self.commands.payload
        rows = Array(Signal(self.geometry.row_bits, name=f"row{bank}") for bank in range(BANKS))
        opened = Signal(BANKS)
        found, is_open = Signal(self.geometry.row_bits), Signal()
        wait = Signal(range(max(timing.rp, timing.rcd)))
        granted, closable = Signal(), Signal()
        pending, closed = Signal(), Signal()  # a piece is here; all banks were closed while another one is paused
        m.d.comb += [
            granted.eq(self.commands.valid & self.commands.ready),
            command.bank.eq(piece.bank),
            command.row.eq(piece.row),
        ]
        resting = self._timers(m, granted & command.activate)
        m.d.sync += closable.eq(resting & ~(self.streaming & (self.streaming_bank == piece.bank)))

        with m.FSM() as fsm:
            stands = fsm.ongoing("Empty") | self.paused & (fsm.ongoing("Precharge") | fsm.ongoing("Ready"))
            m.d.sync += self.at_rest.eq(stands & resting & (~self.streaming | self.paused))

            def restore_if_closed() -> None:
                """Open the row of the paused piece, once the banks were closed and ``hold`` is over."""
                with m.If(closed & ~self.hold):
                    m.next = "Restore"

            with m.State("Empty"):
                m.d.comb += self.pieces.ready.eq(~self.hold & ~self.paused)
                m.d.sync += [piece.eq(self.pieces.payload), pending.eq(0)]
                with m.If(self.pieces.valid & self.pieces.ready):
                    m.d.sync += pending.eq(1)
                    m.next = "Look"
                restore_if_closed()
            with m.State("Look"):
                m.d.sync += [found.eq(rows[piece.bank]), is_open.eq(opened.bit_select(piece.bank, 1))]
                m.next = "Judge"
            with m.State("Judge"):
                with m.If(piece.refused | is_open & (found == piece.row)):
                    m.next = "Ready"
                with m.Elif(is_open):
                    m.next = "Precharge"
                with m.Else():
                    m.next = "Activate"
            with m.State("Precharge"):
                m.d.comb += self.commands.valid.eq(closable & ~self.paused)
                m.d.sync += wait.eq(timing.rp - 2)
                with m.If(granted):
                    m.d.sync += opened.bit_select(piece.bank, 1).eq(0)
                    m.next = "Wait Precharge"
                restore_if_closed()
            with m.State("Wait Precharge"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "Activate"
            with m.State("Activate"):
                m.d.comb += [self.commands.valid.eq(1), command.activate.eq(1)]
                m.d.sync += wait.eq(max(timing.rcd - 3, 0))
                with m.If(granted):
                    m.d.sync += [opened.bit_select(piece.bank, 1).eq(1), rows[piece.bank].eq(piece.row)]
                    m.next = "Wait Row" if timing.rcd > 2 else "Ready"  # a piece that is taken waits for a cycle anyway
            with m.State("Wait Row"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "Ready"
            with m.State("Ready"):
                m.d.comb += self.prepared.valid.eq(1)
                with m.If(self.prepared.ready):
                    m.next = "Empty"
                restore_if_closed()
            with m.State("Restore"):
                m.d.comb += [
                    self.commands.valid.eq(1),
                    command.activate.eq(1),
                    command.bank.eq(self.streaming_bank),
                    command.row.eq(self.streaming_row),
                ]
                m.d.sync += [closed.eq(0), wait.eq(max(timing.rcd - 1, 1))]  # PREPARATION_CYCLES to the next ACTIVATE
                with m.If(granted):
                    # The row of a refused piece was never opened: now it is, which does no harm as long as we know it.
                    m.d.sync += [opened.bit_select(self.streaming_bank, 1).eq(1), rows[self.streaming_bank].eq(self.streaming_row)]
                    m.next = "Wait Restore"
            with m.State("Wait Restore"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.sync += self.paused.eq(0)
                    m.next = "Empty"
                    with m.If(pending):
                        m.next = "Look"
        with m.If(self.hold & self.pausable):
            m.d.sync += self.paused.eq(1)
        with m.If(self.close):
            m.d.sync += [opened.eq(0), closed.eq(self.paused)]
        return m

    def _timers(self, m: Module, activating: Signal) -> Value:
        """Whether a bank may be precharged: tRAS after the last ACTIVATE and tWR after the last written word, of whichever bank.

        One timer for all banks costs next to nothing: a piece streams between two ACTIVATEs. It is asked a cycle before the PRECHARGE, and
        never in the cycle of an event: then a piece is here or streams.
        """
        resting = Const(1)
        for event, cycles in ((activating, self.timing.ras), (self.written, self.timing.wr)):
            left = Signal(range(max(cycles - 1, 1)))
            with m.If(event):
                m.d.sync += left.eq(max(cycles - 2, 0))
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            resting = resting & (left == 0)
        return resting
