"""Verilog of LiteDRAM (github.com/enjoy-digital/litedram) for an SDR SDRAM, with the ports of our own controller; needs the package litedram."""

from __future__ import annotations

from litedram.common import GeomSettings, PhySettings, TimingSettings
from litedram.core.controller import ControllerSettings, LiteDRAMController
from litedram.core.crossbar import LiteDRAMCrossbar
from litedram.frontend.axi import LiteDRAMAXI2Native, LiteDRAMAXIPort
from litex.gen.fhdl.verilog import convert
from migen import ClockDomain, Constant, If, Module, Record, ResetInserter, Signal
from migen.genlib.misc import timeline

from permfc.memory.part import DramPart

BURST = ("addr", "len", "size", "burst", "valid")
CHANNELS = {"ar": BURST, "aw": BURST, "w": ("data", "strb", "last", "valid"), "r": ("data", "resp", "last", "valid"), "b": ("resp", "valid")}
COMMAND_PINS = {"cs_n": "cs_n", "ras_n": "ras_n", "cas_n": "cas_n", "we_n": "we_n", "a": "address", "ba": "bank"}  # by name at the PHY interface

PIN_REGISTERS = 2  # one on the way to the memory, one on the way back


def litedram_verilog(part: DramPart, clock_hz: float, bus_bits: int) -> str:
    """Verilog text of a module ``permfc_sdram`` that is LiteDRAM's controller with its AXI port."""
    core = _Core(part, clock_hz, bus_bits)
    text = convert(core, ios=core.ios, name="permfc_sdram").main_source
    lines = (line for line in text.splitlines() if not line.startswith(("//", "`timescale")))  # without the date
    return "\n".join(["/* verilator lint_off COMBDLY */", *lines, ""])  # LiteX writes combinational processes with <=


class _Core(Module):
    """LiteDRAM's controller, crossbar and AXI port, our initialisation, and a register on every pin."""

    def __init__(self, part: DramPart, clock_hz: float, bus_bits: int) -> None:
        self.clock_domains.cd_sys = domain = ClockDomain("sys")
        domain.clk.name_override, domain.rst.name_override = "clk", "rst"
        self.initialised = Signal(name="initialised")
        self.ios = {domain.clk, domain.rst, self.initialised}
        clocks = {name: part.timing.cycles(name, clock_hz) for name in ("trp", "trcd", "twr", "trefi", "trfc", "trrd", "trc", "tras", "power_up")}
        cas = part.timing.cas_latency(clock_hz)
        phy = PhySettings(
            phytype="GENSDRPHY", memtype="SDR", databits=part.width, dfi_databits=part.width, nphases=1, rdphase=0, wrphase=0,
            cl=cas, read_latency=cas + PIN_REGISTERS, write_latency=0,
        )
        geometry = GeomSettings(*(size.bit_length() - 1 for size in (part.banks, part.rows, part.columns)))
        timing = TimingSettings(
            tRP=clocks["trp"], tRCD=clocks["trcd"], tWR=clocks["twr"], tWTR=2, tREFI=clocks["trefi"], tRFC=clocks["trfc"], tFAW=None, tCCD=1,
            tRRD=clocks["trrd"], tRC=clocks["trc"], tRAS=clocks["tras"], tZQCS=None,
        )
        timing.fine_refresh_mode = None
        options = ControllerSettings(with_auto_precharge=False)  # the model at the pins has no auto precharge
        self.submodules.controller = controller = ResetInserter()(LiteDRAMController(phy, geometry, timing, clock_hz, options))
        self.comb += controller.reset.eq(~self.initialised)
        self.submodules.crossbar = crossbar = LiteDRAMCrossbar(controller.interface)
        axi = LiteDRAMAXIPort(data_width=bus_bits, address_width=32)
        self.submodules.port = LiteDRAMAXI2Native(axi, crossbar.get_port(data_width=bus_bits))
        self._bus(axi)
        self._pins(controller.dfi.p0, self._initialisation(clocks, cas))

    def _initialisation(self, clocks: dict[str, int], cas: int) -> Record:
        """Commands of the part's power-up: PRECHARGE ALL, two REFRESH, LOAD MODE with bursts of one word."""
        command = Record([("cs_n", 1), ("ras_n", 1), ("cas_n", 1), ("we_n", 1), ("address", 13), ("bank", 2)], name="setup")
        command.cs_n.reset = Constant(1)

        def send(ras: int, cas: int, we: int, address: int = 0) -> list:
            return [command.cs_n.eq(0), command.ras_n.eq(1 - ras), command.cas_n.eq(1 - cas), command.we_n.eq(1 - we), command.address.eq(address)]

        precharged = clocks["power_up"] + 1
        refreshed = precharged + clocks["trp"]
        mode = refreshed + 2 * clocks["trfc"]
        started = Signal()
        self.sync += [started.eq(1), command.cs_n.eq(1), timeline(~started, [
            (precharged, send(1, 0, 1, 1 << 10)),
            (refreshed, send(1, 1, 0)),
            (refreshed + clocks["trfc"], send(1, 1, 0)),
            (mode, send(1, 1, 1, cas << 4)),
            (mode + 4, [self.initialised.eq(1)]),
        ])]
        return command

    def _port(self, name: str, width: int, reset: int = 0) -> Signal:
        port = Signal(width, reset=reset, name=name)
        self.ios.add(port)
        return port

    def _bus(self, axi: LiteDRAMAXIPort) -> None:
        """Nothing is accepted before the memory is initialised."""
        for channel, names in CHANNELS.items():
            inside = getattr(axi, channel)
            ready = self._port(f"s_axi_{channel}ready", 1)
            ports = {name: self._port(f"s_axi_{channel}{name}", len(getattr(inside, name))) for name in names}
            valid = ports.pop("valid")
            if channel in ("r", "b"):
                self.comb += [port.eq(getattr(inside, name)) for name, port in ports.items()]
                self.comb += [valid.eq(inside.valid), inside.ready.eq(ready)]
            else:
                self.comb += [getattr(inside, name).eq(port) for name, port in ports.items()]
                self.comb += [inside.valid.eq(valid & self.initialised), ready.eq(inside.ready & self.initialised)]

    def _pins(self, phase: Record, setup: Record) -> None:
        for pin, name in COMMAND_PINS.items():
            port = self._port(f"sdram_{pin}", len(getattr(setup, name)), reset=int(pin == "cs_n"))
            self.sync += If(self.initialised, port.eq(getattr(phase, name))).Else(port.eq(getattr(setup, name)))
        self.comb += self._port("sdram_cke", 1).eq(1)
        self.sync += [
            self._port("sdram_dq_o", len(phase.wrdata)).eq(phase.wrdata),
            self._port("sdram_dq_oe", 1).eq(phase.wrdata_en),
            self._port("sdram_dqm", len(phase.wrdata_mask)).eq(phase.wrdata_en & phase.wrdata_mask),
            phase.rddata.eq(self._port("sdram_dq_i", len(phase.rddata))),
        ]
