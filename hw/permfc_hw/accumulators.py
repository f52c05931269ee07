"""Accumulators: one word an output, added to once a round."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .memory import WideMemory, registered_read
from .round_control import OutputTag

BIAS_BITS = 32


class Accumulators(wiring.Component):
    """Adds the lanes' sum of each output; in a block's last round the total, bias included, appears three cycles later.

    Outputs follow each other from 0; a block's first round starts from zero. The next round may not come back to an
    output within three cycles, which the shortest round's four guarantee.

    Members
    -------
    tag : In(OutputTag)
    sum : In(signed)
    biases_en, biases_address, biases_data : In
        Bus words of the block's biases.
    total_en, end : Out(1)
        A total is out; it is its block's last.
    total : Out(signed)
    output : Out
        Number of the output whose total follows in the next cycle.
    """

    def __init__(self, config: EngineConfig, *, sum_bits: int) -> None:
        self.config = config
        self.biases = WideMemory(word_bits=config.bus_bits, unit_bits=BIAS_BITS, units=config.block_outputs)
        super().__init__({
            "tag": In(OutputTag),
            "sum": In(signed(sum_bits)),
            "biases_en": In(1),
            "biases_address": In(self.biases.write_address.shape()),
            "biases_data": In(config.bus_bits),
            "total_en": Out(1),
            "end": Out(1),
            "total": Out(signed(config.accumulator_bits)),
            "output": Out(ceil_log2(config.block_outputs)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.biases = biases = self.biases
        m.submodules.memory = memory = Memory(
            shape=unsigned(config.accumulator_bits), depth=config.block_outputs, init=[], attrs={"no_rw_check": 1})
        write = memory.write_port()
        output0, output1 = Signal.like(self.output), Signal.like(self.output)
        tag1, tag2 = Signal(OutputTag), Signal(OutputTag)
        sum1 = Signal.like(self.sum)
        before1 = registered_read(m, memory, output0).as_signed()
        new2 = Signal(signed(config.accumulator_bits))
        with m.If(self.tag.valid):
            m.d.sync += output0.eq(Mux(self.tag.end, 0, output0 + 1))
        m.d.sync += [
            tag1.eq(self.tag),
            output1.eq(output0),
            sum1.eq(self.sum),
            tag2.eq(tag1),
            self.output.eq(output1),
            new2.eq(Mux(tag1.first, 0, before1) + sum1),
            self.total_en.eq(tag2.valid & tag2.last),
            self.end.eq(tag2.end),
            self.total.eq(new2 + biases.read_data.as_signed()),
        ]
        m.d.comb += [
            write.en.eq(tag2.valid),
            write.addr.eq(self.output),
            write.data.eq(new2),
            biases.write_en.eq(self.biases_en),
            biases.write_address.eq(self.biases_address),
            biases.write_data.eq(self.biases_data),
            biases.read_address.eq(output1),
        ]
        return m
