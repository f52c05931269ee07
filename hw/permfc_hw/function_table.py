"""FunctionTable: any function of an int8 result, by looking it up. TableCopier: the way there from a wide bus."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig
from permfc.format import TABLE_BYTES, words

from .memory import WideMemory

RESULT_BITS = 8
BLOCK_RAM_BITS = 32  # what one block RAM takes in a cycle
UNIT_BITS = 16       # what a table is copied in, where words are wider: the multipliers' width
UNITS = 8 * TABLE_BYTES // UNIT_BITS


def is_copied(config: EngineConfig) -> bool:
    """Whether words of the bus are wider than the one block RAM of a table takes them."""
    return config.tables and config.bus_bits > BLOCK_RAM_BITS


class FunctionTable(wiring.Component):
    """Accepts a result a cycle; what the table has for it, by its byte, appears ``latency`` cycles later.

    One block RAM. Its words are those of the bus, or the units of a :class:`TableCopier` if :func:`is_copied` says so.

    Members
    -------
    words_en, words_address, words_data : In
        Words of the table.
    result : In(int8)
    entry : Out(int8)
    """

    #: Cycles from ``result`` to ``entry``.
    latency = 2

    def __init__(self, config: EngineConfig) -> None:
        self.memory = WideMemory(
            word_bits=UNIT_BITS if is_copied(config) else config.bus_bits, unit_bits=RESULT_BITS, units=TABLE_BYTES)
        super().__init__({
            "words_en": In(1),
            "words_address": In(self.memory.write_address.shape()),
            "words_data": In(self.memory.word_bits),
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


class TableCopier(wiring.Component):
    """Copies a table from where its bus words are kept to the FunctionTable, a unit a cycle, as soon as the last word is there.

    Members
    -------
    word_en, word_number : In
        A bus word of the table is written where it is kept; words come in order.
    busy : Out(1)
        The table is not complete. Rises two cycles after the first word was taken from the bus, which is before the last one is.
    unit_en, unit : Out
        The unit to read.
    unit_data : In(UNIT_BITS)
        One cycle after ``unit``.
    words_en, words_address, words_data : Out
        To the FunctionTable.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.bus_words = words(TABLE_BYTES, config.bus_bytes)
        unit = range(UNITS)
        super().__init__({
            "word_en": In(1),
            "word_number": In(range(self.bus_words)),
            "busy": Out(1),
            "unit_en": Out(1),
            "unit": Out(unit),
            "unit_data": In(UNIT_BITS),
            "words_en": Out(1),
            "words_address": Out(unit),
            "words_data": Out(UNIT_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arriving = Signal()
        count = Signal(range(2 * UNITS))  # of the units, from UNITS on: the carry out of the last one ends it
        with m.If(self.word_en):
            last = self.word_number == self.bus_words - 1
            m.d.sync += [arriving.eq(~last), count[-1].eq(last)]
        with m.Elif(self.unit_en):
            m.d.sync += count.eq(count + 1)
        m.d.sync += [self.words_en.eq(self.unit_en), self.words_address.eq(self.unit)]
        m.d.comb += [
            self.busy.eq(arriving | self.unit_en),
            self.unit_en.eq(count[-1]),
            self.unit.eq(count),
            self.words_data.eq(self.unit_data),
        ]
        return m
