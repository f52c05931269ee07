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
        self._rows = Array(Signal(geometry.row_bits, name=f"row{bank}") for bank in range(BANKS))
        self._opened = Signal(BANKS)
        self._wait = Signal(range(max(timing.rp, timing.rcd)))
        self._closable = Signal()  # the bank of the piece that is here, a cycle late
        self._granted = Signal()
        self._pending = Signal()   # a piece is here
        self._closed = Signal()    # all banks were closed while another one is paused

    def elaborate(self, platform: object) -> Module:
        m = Module()
        piece, command = self.prepared.payload, self.commands.payload
        m.d.comb += [
            self._granted.eq(self.commands.valid & self.commands.ready),
            command.bank.eq(piece.bank),
            command.row.eq(piece.row),
        ]
        resting = self._timers(m)
        m.d.sync += self._closable.eq(resting & ~(self.streaming & (self.streaming_bank == piece.bank)))
        with m.FSM() as fsm:
            stands = fsm.ongoing("Empty") | self.paused & (fsm.ongoing("Precharge") | fsm.ongoing("Ready"))
            m.d.sync += self.at_rest.eq(stands & resting & (~self.streaming | self.paused))
            self._take(m)
            self._precharge(m)
            self._activate(m)
            self._hand_over(m)
            self._restore(m)
        with m.If(self.hold & self.pausable):
            m.d.sync += self.paused.eq(1)
        with m.If(self.close):
            m.d.sync += [self._opened.eq(0), self._closed.eq(self.paused)]
        return m

    def _timers(self, m: Module) -> Value:
        """Whether a bank may be precharged: tRAS after the last ACTIVATE and tWR after the last written word, of whichever bank.

        One timer for all banks costs next to nothing: a piece streams between two ACTIVATEs. It is asked a cycle before the PRECHARGE, and
        never in the cycle of an event: then a piece is here or streams.
        """
        activating, resting = self._granted & self.commands.payload.activate, Const(1)
        for event, cycles in ((activating, self.timing.ras), (self.written, self.timing.wr)):
            left = Signal(range(max(cycles - 1, 1)))
            with m.If(event):
                m.d.sync += left.eq(max(cycles - 2, 0))
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            resting = resting & (left == 0)
        return resting

    def _await(self, m: Module, state: str, following: str) -> None:
        with m.State(state):
            m.d.sync += self._wait.eq(self._wait - 1)
            with m.If(self._wait == 0):
                m.next = following

    def _open(self, m: Module, bank: Value, row: Value) -> None:
        m.d.sync += [self._opened.bit_select(bank, 1).eq(1), self._rows[bank].eq(row)]

    def _restore_if_closed(self, m: Module) -> None:
        """Open the row of the paused piece, once the banks were closed and ``hold`` is over."""
        with m.If(self._closed & ~self.hold):
            m.next = "Restore"

    def _take(self, m: Module) -> None:
        """A piece, and whether its row is open."""
        piece, found, is_open = self.prepared.payload, Signal(self.geometry.row_bits), Signal()
        with m.State("Empty"):
            m.d.comb += self.pieces.ready.eq(~self.hold & ~self.paused)
            m.d.sync += [piece.eq(self.pieces.payload), self._pending.eq(0)]
            with m.If(self.pieces.valid & self.pieces.ready):
                m.d.sync += self._pending.eq(1)
                m.next = "Look"
            self._restore_if_closed(m)
        with m.State("Look"):
            m.d.sync += [found.eq(self._rows[piece.bank]), is_open.eq(self._opened.bit_select(piece.bank, 1))]
            m.next = "Judge"
        with m.State("Judge"):
            with m.If(piece.refused | is_open & (found == piece.row)):
                m.next = "Ready"
            with m.Elif(is_open):
                m.next = "Precharge"
            with m.Else():
                m.next = "Activate"

    def _precharge(self, m: Module) -> None:
        with m.State("Precharge"):
            m.d.comb += self.commands.valid.eq(self._closable & ~self.paused)
            m.d.sync += self._wait.eq(self.timing.rp - 2)
            with m.If(self._granted):
                m.d.sync += self._opened.bit_select(self.prepared.payload.bank, 1).eq(0)
                m.next = "Wait Precharge"
            self._restore_if_closed(m)
        self._await(m, "Wait Precharge", "Activate")

    def _activate(self, m: Module) -> None:
        piece, rcd = self.prepared.payload, self.timing.rcd
        with m.State("Activate"):
            m.d.comb += [self.commands.valid.eq(1), self.commands.payload.activate.eq(1)]
            m.d.sync += self._wait.eq(max(rcd - 3, 0))
            with m.If(self._granted):
                self._open(m, piece.bank, piece.row)
                m.next = "Wait Row" if rcd > 2 else "Ready"  # a piece that is taken waits for a cycle anyway
        self._await(m, "Wait Row", "Ready")

    def _hand_over(self, m: Module) -> None:
        with m.State("Ready"):
            m.d.comb += self.prepared.valid.eq(1)
            with m.If(self.prepared.ready):
                m.next = "Empty"
            self._restore_if_closed(m)

    def _restore(self, m: Module) -> None:
        command = self.commands.payload
        with m.State("Restore"):
            m.d.comb += [
                self.commands.valid.eq(1),
                command.activate.eq(1),
                command.bank.eq(self.streaming_bank),
                command.row.eq(self.streaming_row),
            ]
            m.d.sync += [self._closed.eq(0), self._wait.eq(max(self.timing.rcd - 1, 1))]  # PREPARATION_CYCLES to the next ACTIVATE
            with m.If(self._granted):
                # The row of a refused piece was never opened: now it is, which does no harm as long as we know it.
                self._open(m, self.streaming_bank, self.streaming_row)
                m.next = "Wait Restore"
        with m.State("Wait Restore"):
            m.d.sync += self._wait.eq(self._wait - 1)
            with m.If(self._wait == 0):
                m.d.sync += self.paused.eq(0)
                m.next = "Empty"
                with m.If(self._pending):
                    m.next = "Look"
