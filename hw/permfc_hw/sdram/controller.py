"""SdramController: an SDR SDRAM as an AXI4 slave that streams."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out, connect
from amaranth.utils import ceil_log2

from permfc.memory.part import DramPart

from ..axi import DECERR, OKAY
from ..orders import ADDRESS_BITS
from ..read_data import ReadData
from .bank_preparer import BankPreparer
from .pieces import Geometry, RowCutter
from .refresher import Order, Refresher
from .streamer import Streamer
from .timing import SdramTiming

AXI_FIELDS = "addr", "len", "size", "burst"
ALL_BANKS = 1 << 10  # address bit 10 with PRECHARGE
BEATS = 16           # that wait or are on their way


class Pins(enum.Enum, shape=3):
    """A command on RAS#, CAS# and WE#, bits 2 to 0 (JEDEC JESD21-C 3.11.5, truth table)."""

    LOAD_MODE = 0b000
    REFRESH = 0b001
    PRECHARGE = 0b010
    ACTIVATE = 0b011
    WRITE = 0b100
    READ = 0b101
    NOTHING = 0b111


class SdramController(wiring.Component):
    """Reads and writes an SDR SDRAM, a word of the part in every cycle that nothing forbids.

    Bytes are in the order row, bank, column: consecutive rows lie in different banks, so that one opens while another streams. RowCutter >
    BankPreparer > Streamer > ReadData; the Refresher interrupts. Bursts are served one after the other, reads first; a written burst holds up
    all behind it until its data come. DECERR answers what is outside of the part, and any burst but INCR of whole bus words.

    Parameters
    ----------
    part : DramPart
        Kind "sdr", 4 banks.
    clock_hz : float
        Frequency of the clock, at the pins too.
    bus_bits : int
        Width of the AXI data channels: 1, 2, 4 or 8 times the part's.
    pin_delay : int
        Cycles that registers between here and the pins add, to and fro.

    Members
    -------
    s_axi_* : AXI4 slave without IDs
    sdram_cke, sdram_cs_n, sdram_ras_n, sdram_cas_n, sdram_we_n, sdram_ba, sdram_a, sdram_dqm, sdram_dq_o, sdram_dq_oe : Out
    sdram_dq_i : In
    initialised : Out(1)
        Power-up is over.

    Raises
    ------
    ConfigError
        If the part is of another kind, does not work at this clock, or does not fit the bus.
    """

    def __init__(self, part: DramPart, clock_hz: float, bus_bits: int, *, pin_delay: int = 0) -> None:
        self.part, self.bus_bits, self.pin_delay = part, bus_bits, pin_delay
        self.timing, self.geometry = SdramTiming.of(part, clock_hz), Geometry(part, bus_bits)
        super().__init__({
            **{f"s_axi_a{channel}{name}": flow for channel in "rw" for name, flow in (
                ("addr", In(ADDRESS_BITS)), ("len", In(8)), ("size", In(3)), ("burst", In(2)), ("valid", In(1)), ("ready", Out(1)))},
            "s_axi_rdata": Out(bus_bits), "s_axi_rresp": Out(2), "s_axi_rlast": Out(1), "s_axi_rvalid": Out(1), "s_axi_rready": In(1),
            "s_axi_wdata": In(bus_bits), "s_axi_wstrb": In(bus_bits // 8), "s_axi_wlast": In(1), "s_axi_wvalid": In(1), "s_axi_wready": Out(1),
            "s_axi_bresp": Out(2), "s_axi_bvalid": Out(1), "s_axi_bready": In(1),
            "sdram_cke": Out(1), "sdram_cs_n": Out(1), "sdram_ras_n": Out(1, init=1), "sdram_cas_n": Out(1, init=1), "sdram_we_n": Out(1, init=1),
            "sdram_ba": Out(ceil_log2(part.banks)), "sdram_a": Out(13), "sdram_dqm": Out(part.width // 8, init=-1),
            "sdram_dq_o": Out(part.width), "sdram_dq_i": In(part.width), "sdram_dq_oe": Out(1),
            "initialised": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cutter = cutter = RowCutter(self.geometry)
        m.submodules.preparer = preparer = BankPreparer(self.geometry, self.timing)
        m.submodules.streamer = streamer = Streamer(self.part, self.geometry, self.timing, self.bus_bits)
        m.submodules.refresher = refresher = Refresher(self.timing)
        delay = 2 + self.timing.cas + self.pin_delay  # a register of commands, one of data
        m.submodules.read_data = read_data = ReadData(width=self.part.width, bus_bits=self.bus_bits, delay=delay, depth=BEATS)
        connect(m, cutter.pieces, preparer.pieces)
        connect(m, preparer.prepared, streamer.pieces)
        m.d.comb += [
            preparer.hold.eq(refresher.hold),
            preparer.streaming.eq(streamer.streaming),
            preparer.streaming_bank.eq(streamer.bank),
            preparer.streaming_row.eq(streamer.row),
            preparer.pausable.eq(streamer.pausable),
            streamer.paused.eq(preparer.paused),
            preparer.written.eq(streamer.command_en & streamer.command.write),
            preparer.close.eq(refresher.order == Order.PRECHARGE_ALL),
            preparer.commands.ready.eq(~streamer.command_en),
            refresher.at_rest.eq(preparer.at_rest),
            refresher.idle.eq(preparer.at_rest & ~cutter.pieces.valid),
            self.initialised.eq(refresher.initialised),
            read_data.slot.eq(streamer.slot),
            read_data.begins_word.eq(streamer.begins_word),
            read_data.dq.eq(self.sdram_dq_i),
            streamer.room.eq(read_data.room),
        ]
        self._connect_bus(m, cutter, streamer, read_data)
        self._drive_pins(m, preparer, streamer, refresher)
        return m

    def _connect_bus(self, m: Module, cutter: RowCutter, streamer: Streamer, read_data: ReadData) -> None:
        m.d.comb += [
            *(cutter.reads.payload[name].eq(getattr(self, f"s_axi_ar{name}")) for name in AXI_FIELDS),
            cutter.reads.valid.eq(self.s_axi_arvalid),
            self.s_axi_arready.eq(cutter.reads.ready),
            self.s_axi_rdata.eq(read_data.beats.payload.data),
            self.s_axi_rresp.eq(Mux(read_data.beats.payload.outside, DECERR, OKAY)),
            self.s_axi_rlast.eq(read_data.beats.payload.last),
            self.s_axi_rvalid.eq(read_data.beats.valid),
            read_data.beats.ready.eq(self.s_axi_rready),
            *(cutter.writes.payload[name].eq(getattr(self, f"s_axi_aw{name}")) for name in AXI_FIELDS),
            cutter.writes.valid.eq(self.s_axi_awvalid),
            self.s_axi_awready.eq(cutter.writes.ready),
            streamer.writes.payload.data.eq(self.s_axi_wdata),
            streamer.writes.payload.strobe.eq(self.s_axi_wstrb),
            streamer.writes.valid.eq(self.s_axi_wvalid),
            self.s_axi_wready.eq(streamer.writes.ready),
            self.s_axi_bresp.eq(Mux(streamer.responses.payload, DECERR, OKAY)),
            self.s_axi_bvalid.eq(streamer.responses.valid),
            streamer.responses.ready.eq(self.s_axi_bready),
        ]

    def _drive_pins(self, m: Module, preparer: BankPreparer, streamer: Streamer, refresher: Refresher) -> None:
        """One command a cycle: READs and WRITEs first, rows when they leave a cycle, orders when nothing else is going on."""
        column, row, order = streamer.command, preparer.commands.payload, refresher.order
        pins, writing = Signal(Pins, init=Pins.NOTHING), Signal()
        m.d.comb += [pins.eq(Pins.NOTHING), writing.eq(streamer.command_en & column.write)]
        with m.If(streamer.command_en):
            m.d.comb += pins.eq(Mux(column.write, Pins.WRITE, Pins.READ))
        with m.Elif(preparer.commands.valid):
            m.d.comb += pins.eq(Mux(row.activate, Pins.ACTIVATE, Pins.PRECHARGE))
        with m.Elif(order == Order.PRECHARGE_ALL):
            m.d.comb += pins.eq(Pins.PRECHARGE)
        with m.Elif(order == Order.REFRESH):
            m.d.comb += pins.eq(Pins.REFRESH)
        with m.Elif(order == Order.LOAD_MODE):
            m.d.comb += pins.eq(Pins.LOAD_MODE)

        rest = Mux(order == Order.LOAD_MODE, self.timing.mode, Mux(order == Order.PRECHARGE_ALL, ALL_BANKS, 0))
        m.d.sync += [
            self.sdram_we_n.eq(pins.as_value()[0]),
            self.sdram_cas_n.eq(pins.as_value()[1]),
            self.sdram_ras_n.eq(pins.as_value()[2]),
            self.sdram_ba.eq(Mux(order != Order.NOTHING, 0, Mux(streamer.command_en, column.bank, row.bank))),
            self.sdram_a.eq(Mux(streamer.command_en, column.column, Mux(row.activate, row.row, rest))),
            self.sdram_dqm.eq(Mux(writing, ~streamer.strobe, Mux(refresher.initialised, 0, -1))),
            self.sdram_dq_o.eq(streamer.data),
            self.sdram_dq_oe.eq(writing),
        ]
        m.d.comb += [self.sdram_cke.eq(1), self.sdram_cs_n.eq(0)]
