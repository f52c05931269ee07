"""Registers: the host's view of the engine, an AXI4-Lite slave."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAGIC, VERSION, Control, ErrorCode, Register

from .axi import PAGE_BITS
from .counters import FIRST_COUNTER, Counters, Events

ADDRESS_BITS = 8


class Registers(wiring.Component):
    """Register file of :class:`permfc.format.Register`; answers within ten cycles. Addresses past the last register read as zero.

    Members
    -------
    write_address, write_data, write_response, read_address, read_data : streams
        AXI4-Lite channels AW, W, B, AR, R. Responses are always OKAY; writes to read-only registers have no effect.
    start, clear : Out(1)
        ``start`` stays high until ``started``; ``clear`` is a strobe.
    started : In(1)
    image_page : Out(20)
        Upper bits of the image's address; an image starts on a 4 KiB boundary. Constant from ``start`` until the end of ``busy``:
        what is written meanwhile is for the next run.
    busy, done, error, results : In
        What STATUS shows; ``results`` wait on the output stream.
    events : In(Events)
        Counted from ``started`` on.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "write_address": In(stream.Signature(ADDRESS_BITS)),
            "write_data": In(stream.Signature(32)),
            "write_response": Out(stream.Signature(0)),
            "read_address": In(stream.Signature(ADDRESS_BITS)),
            "read_data": Out(stream.Signature(32)),
            "start": Out(1),
            "clear": Out(1),
            "started": In(1),
            "image_page": Out(32 - PAGE_BITS),
            "busy": In(1),
            "done": In(1),
            "error": In(ErrorCode),
            "results": In(1),
            "events": In(Events),
        })
        self._next_page = Signal.like(self.image_page)  # as it was written

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        """Address and data are taken together, once the last response is gone."""
        take = Signal()
        m.d.comb += [
            take.eq(self.write_address.valid & self.write_data.valid & ~self.write_response.valid),
            self.write_address.ready.eq(take),
            self.write_data.ready.eq(take),
        ]
        with m.If(self.write_response.ready):
            m.d.sync += self.write_response.valid.eq(0)
        with m.If(self.started):
            m.d.sync += self.start.eq(0)
        m.d.sync += self.clear.eq(0)
        with m.If(~self.start & ~self.busy):
            m.d.sync += self.image_page.eq(self._next_page)
        with m.If(take):
            m.d.sync += self.write_response.valid.eq(1)
            with m.Switch(self.write_address.payload):
                with m.Case(Register.CONTROL):
                    with m.If((self.write_data.payload & Control.START) != 0):
                        m.d.sync += self.start.eq(~self.busy)
                    with m.If((self.write_data.payload & Control.CLEAR) != 0):
                        m.d.sync += self.clear.eq(~self.busy)
                with m.Case(Register.IMAGE_BASE):
                    m.d.sync += self._next_page.eq(self.write_data.payload[PAGE_BITS:])

    def _read(self, m: Module) -> None:
        """A counter is read in its turn."""
        config = self.config
        m.submodules.counters = counters = Counters()
        m.d.comb += [counters.events.eq(self.events), counters.restart.eq(self.started)]
        values = {
            Register.ID: MAGIC,
            Register.VERSION: VERSION,
            Register.CONFIG0: config.lanes | ceil_log2(config.bus_bytes) << 8 | config.levels << 16 | config.outstanding << 24,
            Register.CONFIG1: config.block_outputs | config.features << 16,
            Register.CONFIG2: config.accumulator_bits | config.tables << 8,
            Register.STATUS: Cat(self.busy | self.start, self.done, self.results, Const(0, 5), self.error),
            Register.IMAGE_BASE: Cat(Const(0, PAGE_BITS), self._next_page),
        }
        address, asked, is_counter = Signal(ADDRESS_BITS), Signal(), Signal()
        its_turn = Signal()
        m.d.sync += its_turn.eq(asked & (address[2:5] == (counters.number + 1)[:len(counters.number)]))
        m.d.comb += [
            is_counter.eq(address[5:] == FIRST_COUNTER >> 5),
            self.read_address.ready.eq(~asked & ~self.read_data.valid),
        ]
        with m.If(self.read_address.valid & self.read_address.ready):
            m.d.sync += [address.eq(self.read_address.payload), asked.eq(1)]
        with m.If(asked & (~is_counter | its_turn)):
            m.d.sync += [asked.eq(0), self.read_data.valid.eq(1), self.read_data.payload.eq(Mux(is_counter, counters.value, 0))]
            with m.Switch(address):
                for register, value in values.items():
                    with m.Case(register):
                        m.d.sync += self.read_data.payload.eq(value)
        with m.Elif(self.read_data.ready):
            m.d.sync += self.read_data.valid.eq(0)
