"""FunctionTable: any function of an int8 result, by looking it up."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig
from permfc.format import TABLE_BYTES

from .memory import WideMemory

RESULT_BITS = 8


class FunctionTable(wiring.Component):
    """Accepts a result a cycle; what the table has for it, by its byte, appears ``latency`` cycles later.

    One block RAM for each 32 bits of the bus.

    Members
    -------
    words_en, words_address, words_data : In
        Bus words of the table.
    result : In(int8)
    entry : Out(int8)
    """

    #: Cycles from ``result`` to ``entry``.
    latency = 2

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.memory = WideMemory(word_bits=config.bus_bits, unit_bits=RESULT_BITS, units=TABLE_BYTES)
        super().__init__({
            "words_en": In(1),
            "words_address": In(self.memory.write_address.shape()),
            "words_data": In(config.bus_bits),
            "result": In(signed(RESULT_BITS)),
            "entry": Out(signed(RESULT_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.values = memory = self.memory
        entry = Signal.like(self.entry, reset_less=True)  # block RAM is slow to answer
        m.d.sync += entry.eq(memory.read_data)
        m.d.comb += [
            memory.write_en.eq(self.words_en),
            memory.write_address.eq(self.words_address),
            memory.write_data.eq(self.words_data),
            memory.read_address.eq(self.result),
            self.entry.eq(entry),
        ]
        return m
