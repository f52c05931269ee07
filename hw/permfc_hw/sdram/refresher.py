"""Refresher: brings the SDRAM up, and refreshes it: several rows at once when it is busy, early when it is not."""

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.memory.part import MOST_POSTPONED

from .timing import MODE_CYCLES, SdramTiming

IDLE_BITS = 4  # after so many idle cycles (as a power of two) a refresh is likely to be free


class Order(enum.Enum, shape=2):
    """What concerns all banks."""

    NOTHING = 0
    PRECHARGE_ALL = 1
    REFRESH = 2
    LOAD_MODE = 3


class Refresher(wiring.Component):
    """Postpones refreshes as far as the standard allows, since a batch costs one interruption.

    Members
    -------
    order : Out(Order)
        In this cycle. Only when the banks are at rest.
    hold : Out(1)
        No new piece may start.
    idle : In(1)
        There is nothing to do.
    at_rest : In(1)
        Every bank may be precharged, and nothing streams.
    initialised : Out(1)
    """

    def __init__(self, timing: SdramTiming) -> None:
        self.timing = timing
        super().__init__({"order": Out(Order), "hold": Out(1), "idle": In(1), "at_rest": In(1), "initialised": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timing = self.timing
        refreshed = Signal()
        owed, urgent = self._account(m, refreshed)
        wait = Signal(ceil_log2(timing.power_up + 1), init=timing.power_up)

        def after(cycles: int, state: str) -> None:
            """The next state, which acts ``cycles`` cycles from now."""
            m.d.sync += wait.eq(cycles - 2)
            m.next = state

        m.d.comb += self.hold.eq(1)
        with m.FSM():
            with m.State("Power Up"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "Precharge"
            with m.State("Run"):
                m.d.comb += self.hold.eq(urgent)
                with m.If(urgent):
                    m.next = "Precharge"
            with m.State("Precharge"):
                with m.If(self.at_rest):
                    m.d.comb += self.order.eq(Order.PRECHARGE_ALL)
                    after(timing.rp, "Wait")
            with m.State("Wait"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "Refresh"
            with m.State("Refresh"):
                with m.If(owed != 0):
                    m.d.comb += [self.order.eq(Order.REFRESH), refreshed.eq(1)]
                    after(timing.rfc, "Wait")
                with m.Elif(self.initialised):
                    m.next = "Run"
                with m.Else():
                    m.d.comb += self.order.eq(Order.LOAD_MODE)
                    after(MODE_CYCLES, "Loaded")
            with m.State("Loaded"):
                m.d.sync += self.initialised.eq(1)
                m.next = "Run"
        return m

    def _account(self, m: Module, refreshed: Signal) -> tuple[Signal, Signal]:
        """How many refreshes are owed, and whether now is the time: no more can be postponed, or they are likely to be free."""
        timing = self.timing
        interval = Signal(range(timing.refi), init=timing.refi - 1)
        owed = Signal(range(MOST_POSTPONED + 2), init=MOST_POSTPONED)  # power-up asks for at least two
        idle, urgent = Signal(IDLE_BITS), Signal()
        m.d.sync += [
            interval.eq(interval - 1),
            idle.eq(idle + ~idle.all()),
            urgent.eq((owed >= MOST_POSTPONED - 1) | idle.all() & (owed != 0)),
        ]
        with m.If(~self.idle):
            m.d.sync += idle.eq(0)
        with m.If(interval == 0):
            m.d.sync += interval.eq(timing.refi - 1)
        with m.If((interval == 0) & self.initialised):
            m.d.sync += owed.eq(owed + ~refreshed)
        with m.Elif(refreshed):
            m.d.sync += owed.eq(owed - 1)
        return owed, urgent
