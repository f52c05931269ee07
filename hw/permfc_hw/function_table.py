"""FunctionTable: any function of an int8 result, by looking it up."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig
from permfc.format import TABLE_BYTES

from .memory import WideMemory

RESULT_BITS = 8


class FunctionTable(wiring.Component):
    """The table's entry for each result, by its byte, or the value as it is. Adds no cycle: block RAM takes its address at the
    clock edge at which the requantiser's last register takes the result.

    One block RAM for each 32 bits of the bus.

    Members
    -------
    enable : In(1)
        Results are looked up. Constant while a block's values pass.
    coming : In(int8)
        The result that ``argument`` shows one cycle later.
    argument : In(signed)
    value : Out(signed)
    words_en, words_address, words_data : In
        Bus words of the table.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.entries = WideMemory(word_bits=config.bus_bits, unit_bits=RESULT_BITS, units=TABLE_BYTES)
        super().__init__({
            "enable": In(1),
            "coming": In(signed(RESULT_BITS)),
            "argument": In(signed(config.accumulator_bits)),
            "value": Out(signed(config.accumulator_bits)),
            "words_en": In(1),
            "words_address": In(self.entries.write_address.shape()),
            "words_data": In(config.bus_bits),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.entries = entries = self.entries
        m.d.comb += [
            entries.write_en.eq(self.words_en),
            entries.write_address.eq(self.words_address),
            entries.write_data.eq(self.words_data),
            entries.read_address.eq(self.coming),
            self.value.eq(Mux(self.enable, entries.read_data.as_signed(), self.argument)),
        ]
        return m
