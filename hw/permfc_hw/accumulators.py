"""Accumulators: one word an output, added to once a round."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import BIAS_UNIT

from .memory import BLOCK, WideMemory, registered_read
from .round_control import OutputTag

BIAS_BITS = 16


class Accumulators(wiring.Component):
    """Adds the lanes' sum of each output; in a block's last round the total, bias included, appears ``latency`` cycles later.

    Outputs follow each other from 0; a block's first round starts from zero. The next round may not come back to an
    output within ``latency`` cycles; the shortest round takes six.

    Members
    -------
    tag : In(OutputTag)
    sum : In(signed)
    biases_en, biases_address, biases_data : In
        Bus words of the block's biases.
    wide_bias : In(1)
        Biases count units of ``BIAS_UNIT``. Constant while a block's totals pass.
    total_en, end : Out(1)
        A total is out; it is its block's last.
    total : Out(signed)
    output : Out
        Number of the output whose total follows in the next cycle.
    """

    #: Cycles from ``sum`` to ``total``.
    latency = 4

    def __init__(self, config: EngineConfig, *, sum_bits: int) -> None:
        self.config = config
        self.biases = WideMemory(word_bits=config.bus_bits, unit_bits=BIAS_BITS, units=config.block_outputs)
        super().__init__({
            "tag": In(OutputTag),
            "sum": In(signed(sum_bits)),
            "biases_en": In(1),
            "biases_address": In(self.biases.write_address.shape()),
            "biases_data": In(config.bus_bits),
            "wide_bias": In(1),
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
            shape=unsigned(config.accumulator_bits), depth=config.block_outputs, init=[], attrs=BLOCK)
        write = memory.write_port()
        outputs = [Signal.like(self.output, name=f"output{stage}") for stage in range(4)]
        tags = [self.tag, *(Signal(OutputTag, name=f"tag{stage}") for stage in range(1, 4))]
        sums = [self.sum, *(Signal.like(self.sum, name=f"sum{stage}", reset_less=True) for stage in range(1, 3))]
        for pipeline in (outputs, tags, sums):
            m.d.sync += [later.eq(earlier) for earlier, later in zip(pipeline, pipeline[1:], strict=False)]
        # A round's outputs follow each other without a gap; a gap inside one means that the run was given up.
        m.d.sync += outputs[0].eq(Mux(self.tag.valid & ~self.tag.end, outputs[0] + 1, 0))

        # Block RAM is slow to answer, so a register stands between it and an adder.
        before1 = registered_read(m, memory, outputs[0]).as_signed()
        before2 = Signal(signed(config.accumulator_bits), reset_less=True)
        new3 = Signal.like(before2)
        bias3 = Signal(signed(BIAS_BITS + ceil_log2(BIAS_UNIT)), reset_less=True)
        bias2 = biases.read_data.as_signed()
        m.d.sync += [
            before2.eq(Mux(tags[1].first, 0, before1)),
            new3.eq(before2 + sums[2]),
            bias3.eq(Mux(self.wide_bias, bias2 * BIAS_UNIT, bias2)),
            self.total_en.eq(tags[3].valid & tags[3].last),
            self.end.eq(tags[3].end),
            self.total.eq(new3 + bias3),
        ]
        m.d.comb += [
            write.en.eq(tags[3].valid),
            self.output.eq(outputs[3]),
            write.addr.eq(outputs[3]),
            write.data.eq(new3),
            biases.write_en.eq(self.biases_en),
            biases.write_address.eq(self.biases_address),
            biases.write_data.eq(self.biases_data),
            biases.read_address.eq(outputs[1]),
        ]
        return m
