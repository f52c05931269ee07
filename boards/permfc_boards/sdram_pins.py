"""The SDRAM's pins on a board: one register in the pad of every signal, and a clock that rises in the middle of the FPGA's cycle."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Elaboratable, Module
from amaranth.lib import io

# Cycles between controller and pins, to and fro: a register each way, half a cycle less since the memory's clock is inverted, and a cycle and
# a half from the memory's clock edge to its data at our register (tAC 5.4 to 6 ns, pads and traces 5 ns; good from 75 to 110 MHz).
PIN_DELAY = 2


class ClockOutput(Elaboratable):
    """The inverted clock on ``port``: data that change with the FPGA's clock have half a cycle of set-up and of hold at the memory.

    It leaves through a double-data-rate register like the data through theirs, so that it has their delay.
    """

    def __init__(self, port: io.PortLike) -> None:
        self._port = port

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if isinstance(self._port, io.SimulationPort):
            m.d.comb += [self._port.o.eq(~ClockSignal()), self._port.oe.eq(1)]
        else:
            m.submodules.buffer = buffer = io.DDRBuffer("o", self._port)
            m.d.comb += [buffer.o[0].eq(0), buffer.o[1].eq(1)]
        return m


class SdramPins(Elaboratable):
    """Joins the pins of an ``SdramController`` made with ``pin_delay=PIN_DELAY`` to the board's resource ``sdram``.

    Parameters
    ----------
    controller : permfc_hw.sdram.SdramController
    ports : port group
        From ``platform.request("sdram", dir="-")``.
    """

    def __init__(self, controller: object, ports: object) -> None:
        self._controller, self._ports = controller, ports

    def elaborate(self, platform: object) -> Module:
        m = Module()
        controller, ports = self._controller, self._ports
        outputs = {  # resources name the function, the controller the pin: active-low pins of the board are inverted by its ports
            "clk_en": controller.sdram_cke, "cs": ~controller.sdram_cs_n, "ras": ~controller.sdram_ras_n, "cas": ~controller.sdram_cas_n,
            "we": ~controller.sdram_we_n, "ba": controller.sdram_ba, "a": controller.sdram_a, "dqm": controller.sdram_dqm,
        }
        for name, value in outputs.items():
            if hasattr(ports, name):  # some boards tie CKE, CS# or DQM
                m.submodules[name] = buffer = io.FFBuffer("o", getattr(ports, name))
                m.d.comb += buffer.o.eq(value)
        m.submodules.clk = ClockOutput(ports.clk)
        m.submodules.dq = data = io.FFBuffer("io", ports.dq)
        m.d.comb += [data.o.eq(controller.sdram_dq_o), data.oe.eq(controller.sdram_dq_oe), controller.sdram_dq_i.eq(data.i)]
        return m
