"""A serial flash's pins on a board: one register in the pad of every signal, and a clock that runs when it is enabled."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io

PIN_DELAY = 2  # cycles: a register on the way out and one on the way back


class GatedClockOutput(Elaboratable):
    """The clock on ``port`` in the cycles after those in which ``enable`` is high: low in their first half, high in the second (SPI mode 0)."""

    def __init__(self, port: io.PortLike, enable: Signal) -> None:
        self._port, self._enable = port, enable

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if isinstance(self._port, io.SimulationPort):
            enabled = Signal()
            m.d.sync += enabled.eq(self._enable)
            m.d.comb += [self._port.o.eq(enabled & ~ClockSignal()), self._port.oe.eq(1)]
        else:
            m.submodules.buffer = buffer = io.DDRBuffer("o", self._port)
            m.d.comb += [buffer.o[0].eq(0), buffer.o[1].eq(self._enable)]
        return m


class FlashPins(Elaboratable):
    """Joins the pins of a ``FlashReader`` made with ``pin_delay=PIN_DELAY`` to the board's resource ``spi_flash_4x``.

    Parameters
    ----------
    reader : permfc_hw.flash.FlashReader
    ports : port group
        From ``platform.request("spi_flash_4x", dir="-")``.
    """

    def __init__(self, reader: object, ports: object) -> None:
        self._reader, self._ports = reader, ports

    def elaborate(self, platform: object) -> Module:
        m = Module()
        reader, ports = self._reader, self._ports
        m.submodules.cs = cs = io.FFBuffer("o", ports.cs)
        m.submodules.clk = GatedClockOutput(ports.clk, reader.flash_sck_en)
        m.d.comb += cs.o.eq(~reader.flash_cs_n)
        for line in range(len(ports.dq)):
            m.submodules[f"dq{line}"] = dq = io.FFBuffer("io", ports.dq[line])
            m.d.comb += [dq.o.eq(reader.flash_io_o[line]), dq.oe.eq(reader.flash_io_oe[line]), reader.flash_io_i[line].eq(dq.i)]
        return m
