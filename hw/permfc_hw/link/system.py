"""System: an engine and its host link, what a board top wraps."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from ..axi import INCR
from ..engine import Engine
from ..orders import ADDRESS_BITS
from .config import LinkConfig
from .host_link import HostLink

READ_PORT = ("araddr", "arlen", "arsize", "arburst", "arvalid", "arready", "rdata", "rresp", "rlast", "rvalid", "rready")


class System(wiring.Component):
    """An engine that a host reaches over a serial line.

    Members
    -------
    uart_rx, uart_tx : In(1, init=1), Out(1)
        8 data bits, no parity, one stop bit; high at rest.
    m_axi_ar*, m_axi_r* : AXI4 read master
        Data width ``config.bus_bits``; the engine's bursts, and the link's single words when the engine is at rest.
    m_axi_aw*, m_axi_w*, m_axi_b* : AXI4 write master, if the memory is writable
        Single words, with a strobe for each byte.
    """

    def __init__(self, config: EngineConfig, link: LinkConfig) -> None:
        self.config = config
        self.link = link
        self.engine = Engine(config)
        self.host_link = HostLink(config, link)
        members = {"uart_rx": In(1, init=1), "uart_tx": Out(1, init=1)}
        members.update({f"m_axi_{name}": self.engine.signature.members[f"m_axi_{name}"] for name in READ_PORT})
        if link.memory_writable:
            members.update({
                "m_axi_awaddr": Out(ADDRESS_BITS),
                "m_axi_awlen": Out(8),
                "m_axi_awsize": Out(3),
                "m_axi_awburst": Out(2),
                "m_axi_awvalid": Out(1),
                "m_axi_awready": In(1),
                "m_axi_wdata": Out(config.bus_bits),
                "m_axi_wstrb": Out(config.bus_bytes),
                "m_axi_wlast": Out(1),
                "m_axi_wvalid": Out(1),
                "m_axi_wready": In(1),
                "m_axi_bresp": In(2),
                "m_axi_bvalid": In(1),
                "m_axi_bready": Out(1),
            })
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = self.engine
        m.submodules.host_link = self.host_link
        m.d.comb += [self.host_link.uart_rx.eq(self.uart_rx), self.uart_tx.eq(self.host_link.uart_tx)]
        self._connect_registers(m)
        self._connect_streams(m)
        self._connect_reads(m)
        if self.link.memory_writable:
            self._connect_writes(m)
        return m

    def _connect_registers(self, m: Module) -> None:
        engine, registers = self.engine, self.host_link.registers
        m.d.comb += [
            engine.s_axi_awaddr.eq(registers.write_address.payload),
            engine.s_axi_awvalid.eq(registers.write_address.valid),
            registers.write_address.ready.eq(engine.s_axi_awready),
            engine.s_axi_wdata.eq(registers.write_data.payload),
            engine.s_axi_wstrb.eq(-1),
            engine.s_axi_wvalid.eq(registers.write_data.valid),
            registers.write_data.ready.eq(engine.s_axi_wready),
            registers.write_response.valid.eq(engine.s_axi_bvalid),
            engine.s_axi_bready.eq(registers.write_response.ready),
            engine.s_axi_araddr.eq(registers.read_address.payload),
            engine.s_axi_arvalid.eq(registers.read_address.valid),
            registers.read_address.ready.eq(engine.s_axi_arready),
            registers.read_data.payload.eq(engine.s_axi_rdata),
            registers.read_data.valid.eq(engine.s_axi_rvalid),
            engine.s_axi_rready.eq(registers.read_data.ready),
        ]

    def _connect_streams(self, m: Module) -> None:
        engine, link = self.engine, self.host_link
        m.d.comb += [
            engine.s_axis_tdata.eq(link.inputs.payload),
            engine.s_axis_tvalid.eq(link.inputs.valid),
            link.inputs.ready.eq(engine.s_axis_tready),
            link.results.payload.eq(engine.m_axis_tdata),
            link.results.valid.eq(engine.m_axis_tvalid),
            engine.m_axis_tready.eq(link.results.ready),
            link.last.eq(engine.m_axis_tlast),
        ]

    def _connect_reads(self, m: Module) -> None:
        """The link reads only while the engine is at rest, so the channels are switched, not arbitrated."""
        engine, memory, reading = self.engine, self.host_link.memory, Signal()
        m.d.sync += reading.eq(self.host_link.reading_memory)  # a cycle late: a short path into the engine
        m.d.comb += [
            self.m_axi_araddr.eq(Mux(reading, memory.read_address.payload, engine.m_axi_araddr)),
            self.m_axi_arlen.eq(Mux(reading, 0, engine.m_axi_arlen)),
            self.m_axi_arsize.eq(engine.m_axi_arsize),
            self.m_axi_arburst.eq(engine.m_axi_arburst),
            self.m_axi_arvalid.eq(Mux(reading, memory.read_address.valid, engine.m_axi_arvalid)),
            engine.m_axi_arready.eq(self.m_axi_arready & ~reading),
            memory.read_address.ready.eq(self.m_axi_arready & reading),
            engine.m_axi_rdata.eq(self.m_axi_rdata),
            engine.m_axi_rresp.eq(self.m_axi_rresp),
            engine.m_axi_rlast.eq(self.m_axi_rlast),
            engine.m_axi_rvalid.eq(self.m_axi_rvalid & ~reading),
            memory.read_data.payload.data.eq(self.m_axi_rdata),
            memory.read_data.payload.error.eq(self.m_axi_rresp[1]),
            memory.read_data.valid.eq(self.m_axi_rvalid & reading),
            self.m_axi_rready.eq(Mux(reading, memory.read_data.ready, engine.m_axi_rready)),
        ]

    def _connect_writes(self, m: Module) -> None:
        memory = self.host_link.memory
        m.d.comb += [
            self.m_axi_awaddr.eq(memory.write_address.payload),
            self.m_axi_awsize.eq(ceil_log2(self.config.bus_bytes)),
            self.m_axi_awburst.eq(INCR),
            self.m_axi_awvalid.eq(memory.write_address.valid),
            memory.write_address.ready.eq(self.m_axi_awready),
            self.m_axi_wdata.eq(memory.write_data.payload.data),
            self.m_axi_wstrb.eq(memory.write_data.payload.strobe),
            self.m_axi_wlast.eq(1),
            self.m_axi_wvalid.eq(memory.write_data.valid),
            memory.write_data.ready.eq(self.m_axi_wready),
            memory.write_error.payload.eq(self.m_axi_bresp[1]),
            memory.write_error.valid.eq(self.m_axi_bvalid),
            self.m_axi_bready.eq(memory.write_error.ready),
        ]
