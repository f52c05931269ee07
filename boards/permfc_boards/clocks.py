"""The engine's clock on a board: a PLL between the oscillator and the domain ``sync`` of the top, and a reset that ends when it has locked."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Elaboratable, Instance, Module, Signal
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.io import SingleEndedPort

from .pll import ecp5_pll, ice40_pll


def _drive(m: Module, clock: Signal, locked: Signal) -> None:
    m.d.comb += ClockSignal().eq(clock)
    m.submodules.reset = ResetSynchronizer(~locked)


class Ecp5Clocks(Elaboratable):
    """Drives domain ``sync`` at ``clock_hz`` from an oscillator of ``input_hz`` on ``port``."""

    def __init__(self, port: SingleEndedPort, input_hz: float, clock_hz: float) -> None:
        self._port, self._input_hz, self._clock_hz = port, input_hz, clock_hz
        self._settings = ecp5_pll(input_hz, clock_hz)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        oscillator, clock, locked = Signal(), Signal(), Signal()
        m.submodules.buffer = Instance("IB", i_I=self._port.io, o_O=oscillator)
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_CLKI_DIV=self._settings.input_div, p_CLKFB_DIV=self._settings.feedback_div, p_CLKOP_DIV=self._settings.output_div,
            p_CLKOP_ENABLE="ENABLED", p_FEEDBK_PATH="CLKOP", p_CLKOP_CPHASE=self._settings.output_div - 1, p_CLKOP_FPHASE=0,
            i_CLKI=oscillator, i_CLKFB=clock, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0, i_PHASESTEP=0, i_PHASELOADREG=0,
            i_PLLWAKESYNC=0, i_ENCLKOP=0,
            o_CLKOP=clock, o_LOCK=locked,
            a_FREQUENCY_PIN_CLKI=f"{self._input_hz / 1e6:g}", a_FREQUENCY_PIN_CLKOP=f"{self._clock_hz / 1e6:g}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8",  # loop filter for this range, as the vendor's tool sets it
        )
        _drive(m, clock, locked)
        return m


class Ice40Clocks(Elaboratable):
    """Drives domain ``sync`` at ``clock_hz`` from an oscillator of ``input_hz`` on ``port``, a pad that feeds a PLL."""

    def __init__(self, port: SingleEndedPort, input_hz: float, clock_hz: float) -> None:
        self._port = port
        self._settings = ice40_pll(input_hz, clock_hz)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clock, locked = Signal(), Signal()
        m.submodules.pll = Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE", p_PLLOUT_SELECT="GENCLK", p_DIVR=self._settings.divr, p_DIVF=self._settings.divf, p_DIVQ=self._settings.divq,
            p_FILTER_RANGE=self._settings.filter_range,
            i_PACKAGEPIN=self._port.io, i_RESETB=1, i_BYPASS=0, o_PLLOUTGLOBAL=clock, o_LOCK=locked,
        )
        _drive(m, clock, locked)
        return m
