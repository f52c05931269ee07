"""ActivationStore: the active features of the current layer, and the results that become those of the next."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .memory import BLOCK, registered_read


class Activation(data.StructLayout):
    """An entry of the list of active features: only nonzero activations are kept."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"x": signed(8), "index": ceil_log2(config.features)})


class ActivationStore(wiring.Component):
    """Two banks of ``features`` entries: one is read, the other appended to.

    Values are appended in the order of their index, two cycles after they came; zeros are only counted. After the final layer its
    results lie in the appended bank, zeros included, and leave by the result stream while it is still being filled.

    Members
    -------
    inputs : In(stream of int8)
        The host's activations; accepted while ``loading`` is high and no results are held.
    loading : In(1)
    value_en, value : In
        The next result of the current layer.
    final : In(1)
        Results are for the host.
    swap : In(1)
        Strobe: the appended bank becomes the list.
    clear : In(1)
        Strobe: forget everything.
    received : Out
        Values appended since the last swap, up to ``features + 1``.
    active : Out
        Length of the list.
    read_en, read_address : In
    entry : Out(Activation)
        One cycle after ``read_address`` (with ``read_en``).
    results : Out(stream of int32), last
        ``last`` comes with the last one.
    complete : In(1)
        Strobe: with the final layer's last result.
    holding : Out(1)
        There are results that have not left.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        count = range(config.features + 2)
        super().__init__({
            "inputs": In(stream.Signature(signed(8))),
            "loading": In(1),
            "value_en": In(1),
            "value": In(signed(config.accumulator_bits)),
            "final": In(1),
            "swap": In(1),
            "clear": In(1),
            "received": Out(count),
            "active": Out(range(config.features + 1)),
            "read_en": In(1),
            "read_address": In(range(config.features + 1)),
            "entry": Out(Activation(config)),
            "results": Out(stream.Signature(signed(32))),
            "last": Out(1),
            "complete": In(1),
            "holding": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = max(self.config.accumulator_bits, Activation(self.config).size)
        m.submodules.memory = memory = Memory(shape=width, depth=2 * self.config.features, init=[], attrs=BLOCK)
        bank = Signal()  # appended to
        stored = Signal.like(self.active)
        self._append(m, memory, bank, stored)
        self._read(m, memory, bank, stored)
        return m

    def _append(self, m: Module, memory: Memory, bank: Signal, stored: Signal) -> None:
        features = self.config.features
        write = memory.write_port()
        value = Signal(signed(self.config.accumulator_bits))
        enable, final = Signal(), Signal()
        index_bits = ceil_log2(features)
        entry = Signal(Activation(self.config))
        m.d.sync += [
            value.eq(Mux(self.loading, self.inputs.payload, self.value)),
            enable.eq(Mux(self.loading, self.inputs.valid & self.inputs.ready, self.value_en)),
            final.eq(self.final),
        ]
        m.d.comb += [
            self.inputs.ready.eq(self.loading & ~self.holding),
            entry.x.eq(value[:8]),
            entry.index.eq(self.received),
            write.addr.eq(Cat(stored[:index_bits], bank)),
            write.data.eq(Mux(final, value.as_unsigned(), entry.as_value())),
            write.en.eq(enable & (self.received < features) & (final | (value != 0))),
        ]
        with m.If(enable & (self.received <= features)):
            m.d.sync += self.received.eq(self.received + 1)
        with m.If(write.en):
            m.d.sync += stored.eq(stored + 1)
        with m.If(self.swap):
            m.d.sync += [bank.eq(~bank), self.active.eq(stored)]

    def _read(self, m: Module, memory: Memory, bank: Signal, stored: Signal) -> None:
        """One port: the list comes first, results use the cycles it leaves."""
        index_bits = ceil_log2(self.config.features)
        handed_out, complete = Signal.like(stored), Signal()
        take, taken = Signal(), Signal()
        address = Mux(self.read_en, Cat(self.read_address[:index_bits], ~bank), Cat(handed_out[:index_bits], bank))
        word = registered_read(m, memory, address)
        m.d.comb += [
            self.entry.eq(word),
            take.eq(self.holding & (handed_out != stored) & ~self.read_en & ~taken & ~self.results.valid),
            self.last.eq(complete & (handed_out == stored)),
        ]
        appending, completing = Signal(), Signal()  # beside the value that is being stored
        m.d.sync += [appending.eq(self.value_en & self.final), completing.eq(self.complete)]
        with m.If(appending):
            m.d.sync += [self.holding.eq(1), complete.eq(completing)]
        m.d.sync += taken.eq(take)
        with m.If(take):
            m.d.sync += handed_out.eq(handed_out + 1)
        with m.If(taken):
            m.d.sync += [self.results.payload.eq(word[:self.config.accumulator_bits].as_signed()), self.results.valid.eq(1)]
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += self.results.valid.eq(0)
        emptied = self.results.valid & self.results.ready & self.last
        with m.If(emptied | self.swap | self.clear):
            m.d.sync += [handed_out.eq(0), stored.eq(0), self.received.eq(0), self.holding.eq(0), complete.eq(0)]
        with m.If(self.clear):
            m.d.sync += [self.results.valid.eq(0), taken.eq(0)]
