"""Registers: the host's view of the engine, an AXI4-Lite slave."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import MAGIC, VERSION, Control, ErrorCode, Register

ADDRESS_BITS = 8
COUNTERS = (Register.CYCLES, Register.BEATS, Register.SEGMENTS_FETCHED, Register.SEGMENTS_SKIPPED,
            Register.CYCLES_STARVED, Register.CYCLES_STALLED)


class Events(data.Struct):
    """What the counters count. All but ``features_en`` count cycles in which they are high."""

    running: unsigned(1)
    beat: unsigned(1)         # a word arrived
    fetched: unsigned(1)      # a segment was ordered
    features_en: unsigned(1)  # a block was begun ...
    features: unsigned(16)    # ... of a layer of so many features
    starved: unsigned(1)      # no round to decode, none complete
    stalled: unsigned(1)      # a word waited for a buffer


class Registers(wiring.Component):
    """Register file of docs/architecture.md; answers a read or a write two cycles after it was accepted.

    Members
    -------
    write_address, write_data, write_response, read_address, read_data : streams
        AXI4-Lite channels AW, W, B, AR, R. Responses are always OKAY; writes to read-only registers have no effect.
    start, clear : Out(1)
        ``start`` stays high until ``started``; ``clear`` is a strobe.
    started : In(1)
    image_base : Out(32)
    busy, done, error : In
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
            "image_base": Out(32),
            "busy": In(1),
            "done": In(1),
            "error": In(ErrorCode),
            "events": In(Events),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m, self._count(m))
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
        with m.If(take):
            m.d.sync += self.write_response.valid.eq(1)
            with m.Switch(self.write_address.payload):
                with m.Case(Register.CONTROL):
                    with m.If((self.write_data.payload & Control.START) != 0):
                        m.d.sync += self.start.eq(~self.busy)
                    with m.If((self.write_data.payload & Control.CLEAR) != 0):
                        m.d.sync += self.clear.eq(~self.busy)
                with m.Case(Register.IMAGE_BASE):
                    m.d.sync += self.image_base.eq(self.write_data.payload)

    def _count(self, m: Module) -> dict[Register, Value]:
        counters = {register: Signal(32, name=register.name.lower()) for register in COUNTERS}
        events = self.events
        steps = {
            Register.CYCLES: 1,
            Register.BEATS: events.beat,
            Register.SEGMENTS_FETCHED: events.fetched,
            Register.CYCLES_STARVED: events.starved,
            Register.CYCLES_STALLED: events.stalled,
        }
        for register, step in steps.items():
            with m.If(events.running):
                m.d.sync += counters[register].eq(counters[register] + step)
        skipped = counters[Register.SEGMENTS_SKIPPED]
        with m.If(events.features_en):
            m.d.sync += skipped.eq(skipped + events.features)
        with m.Elif(events.fetched):
            m.d.sync += skipped.eq(skipped - 1)
        with m.If(self.started):
            m.d.sync += [counter.eq(0) for counter in counters.values()]
        return counters

    def _read(self, m: Module, counters: dict[Register, Value]) -> None:
        config = self.config
        values: dict[Register, Value | int] = {
            Register.ID: MAGIC,
            Register.VERSION: VERSION,
            Register.CONFIG0: config.lanes | ceil_log2(config.bus_bytes) << 8 | config.levels << 16 | config.outstanding << 24,
            Register.CONFIG1: config.block_outputs | config.features << 16,
            Register.CONFIG2: config.accumulator_bits,
            Register.STATUS: Cat(self.busy | self.start, self.done, Const(0, 6), self.error),
            Register.IMAGE_BASE: self.image_base,
            **counters,
        }
        address, asked = Signal(ADDRESS_BITS), Signal()
        m.d.comb += self.read_address.ready.eq(~asked & ~self.read_data.valid)
        with m.If(self.read_address.valid & self.read_address.ready):
            m.d.sync += [address.eq(self.read_address.payload), asked.eq(1)]
        with m.If(asked):
            m.d.sync += [asked.eq(0), self.read_data.valid.eq(1), self.read_data.payload.eq(0)]
            with m.Switch(address):
                for register, value in values.items():
                    with m.Case(register):
                        m.d.sync += self.read_data.payload.eq(value)
        with m.Elif(self.read_data.ready):
            m.d.sync += self.read_data.valid.eq(0)
