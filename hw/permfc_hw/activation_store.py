"""ActivationStore: the active features of the current layer, and the results that become those of the next."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .memory import SinglePortMemory


class Activation(data.StructLayout):
    """An entry of the list of active features: only nonzero activations are kept."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"x": signed(8), "index": ceil_log2(config.features)})


class ActivationStore(wiring.Component):
    """Two banks of ``features`` entries: one is read, the other appended to.

    Values are appended in the order of their index, two cycles after they came; zeros are only counted. After the final layer its
    results lie in the appended bank, zeros included. They leave by the result stream once the run is complete, one in two cycles:
    who receives them gets all of a run's or none.

    Members
    -------
    inputs : In(stream of int8)
        The host's activations; accepted while ``loading`` is high and no results are held.
    loading : In(1)
    value_en, value : In
        The next result of the current layer: int8, unless it is for the host.
    replaced, replacement : In
        The layer's results are not kept themselves, but for each its replacement, which comes one cycle later.
        ``replaced`` is constant while a layer's results pass.
    final : In(1)
        Results are for the host.
    deliver : In(1)
        Strobe: all results of the final layer are stored, and may leave.
    swap : In(1)
        Strobe: the appended bank becomes the list.
    clear : In(1)
        Strobe: forget everything but results that are leaving. A stream takes back nothing that it has offered.
    received : Out
        Values appended since the last swap, up to ``features + 1``.
    active : Out
        Length of the list.
    read_address : In
    entry : Out(Activation)
        One cycle after ``read_address``.
    results : Out(stream of int32), last
        ``last`` comes with the last one.
    holding : Out(1)
        Results are leaving.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        count = range(config.features + 2)
        super().__init__({
            "inputs": In(stream.Signature(signed(8))),
            "loading": In(1),
            "value_en": In(1),
            "value": In(signed(config.accumulator_bits)),
            "replaced": In(1),
            "replacement": In(signed(8)),
            "final": In(1),
            "deliver": In(1),
            "swap": In(1),
            "clear": In(1),
            "received": Out(count),
            "active": Out(range(config.features + 1)),
            "read_address": In(range(config.features + 1)),
            "entry": Out(Activation(config)),
            "results": Out(stream.Signature(signed(32))),
            "last": Out(1),
            "holding": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = max(self.config.accumulator_bits, Activation(self.config).size)
        banks = [SinglePortMemory(bits=width, words=self.config.features) for _ in range(2)]
        m.submodules.even_layers, m.submodules.odd_layers = banks
        appended = Signal()  # the bank
        appending = Signal()
        stored, handed_out = Signal.like(self.active), Signal.like(self.active)
        for number, bank in enumerate(banks):
            own = Mux(appending, stored, handed_out)
            m.d.comb += bank.address.eq(Mux(appended == number, own, self.read_address))
        words = Array(bank.read_data for bank in banks)
        m.d.comb += self.entry.eq(words[~appended])
        with m.If(self.swap):
            m.d.sync += [appended.eq(~appended), self.active.eq(stored)]
        self._append(m, banks, appended, appending, stored)
        self._hand_out(m, words[appended], stored, handed_out)
        return m

    def _append(self, m: Module, banks: list[SinglePortMemory], appended: Signal, appending: Signal, stored: Signal) -> None:
        features = self.config.features
        value, final, replacing = Signal(signed(self.config.accumulator_bits)), Signal(), Signal()
        kept, entry = Signal.like(value), Signal(Activation(self.config))
        store = appending & (self.received < features) & (final | (entry.x != 0))
        m.d.sync += [
            value.eq(Mux(self.loading, self.inputs.payload, self.value)),
            appending.eq(Mux(self.loading, self.inputs.valid & self.inputs.ready, self.value_en)),
            final.eq(self.final),
            replacing.eq(self.replaced & ~self.loading),
        ]
        m.d.comb += [
            self.inputs.ready.eq(self.loading & ~self.holding),
            kept.eq(Mux(replacing, self.replacement, value)),
            entry.x.eq(kept[:8]),
            entry.index.eq(self.received),
        ]
        for number, bank in enumerate(banks):
            m.d.comb += [
                bank.write_en.eq(store & (appended == number)),
                bank.write_data.eq(Mux(final, kept.as_unsigned(), entry.as_value())),
            ]
        with m.If(appending & (self.received <= features)):
            m.d.sync += self.received.eq(self.received + 1)
        with m.If(store):
            m.d.sync += stored.eq(stored + 1)

    def _hand_out(self, m: Module, word: Value, stored: Signal, handed_out: Signal) -> None:
        """Nothing is appended meanwhile."""
        take, taken = Signal(), Signal()
        m.d.comb += [
            take.eq(self.holding & ~self.last & ~taken & (self.results.ready | ~self.results.valid)),
            self.last.eq(handed_out == stored),
        ]
        m.d.sync += taken.eq(take)
        with m.If(self.deliver):
            m.d.sync += self.holding.eq(1)
        with m.If(take):
            m.d.sync += handed_out.eq(handed_out + 1)
        with m.If(taken):
            m.d.sync += [self.results.payload.eq(word[:self.config.accumulator_bits].as_signed()), self.results.valid.eq(1)]
        with m.Elif(self.results.ready):
            m.d.sync += self.results.valid.eq(0)
        emptied = self.results.valid & self.results.ready & self.last
        with m.If(emptied | self.swap | (self.clear & ~self.holding)):
            m.d.sync += [handed_out.eq(0), stored.eq(0), self.received.eq(0), self.holding.eq(0)]
