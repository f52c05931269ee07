"""Totals: the biases of a block's outputs, added to what the lanes have for them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import BIAS_UNIT

from .memory import WideMemory
from .round_control import OutputTag

BIAS_BITS = 16


class Totals(wiring.Component):
    """Outputs follow each other from 0, without a gap; a total appears a cycle after its sum.

    Members
    -------
    tag : In(OutputTag)
        ``lead`` cycles before its sum.
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

    #: Cycles from ``tag`` to ``sum``: in these, the bias is read.
    lead = 2

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.biases = WideMemory(word_bits=config.bus_bits, unit_bits=BIAS_BITS, units=config.block_outputs)
        super().__init__({
            "tag": In(OutputTag),
            "sum": In(signed(config.accumulator_bits)),
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
        m.submodules.biases = biases = self.biases
        outputs = [Signal.like(self.output, name=f"output{stage}") for stage in range(3)]
        tags = [self.tag, *(Signal(OutputTag, name=f"tag{stage}") for stage in range(1, 3))]
        for pipeline in (outputs, tags):
            m.d.sync += [later.eq(earlier) for earlier, later in zip(pipeline, pipeline[1:], strict=False)]
        m.d.sync += outputs[0].eq(Mux(self.tag.valid & ~self.tag.end, outputs[0] + 1, 0))
        bias1 = biases.read_data.as_signed()
        bias2 = Signal(signed(BIAS_BITS + ceil_log2(BIAS_UNIT)), reset_less=True)
        m.d.sync += [
            bias2.eq(Mux(self.wide_bias, bias1 * BIAS_UNIT, bias1)),
            self.total_en.eq(tags[2].valid),
            self.end.eq(tags[2].end),
            self.total.eq(self.sum + bias2),
        ]
        m.d.comb += [
            self.output.eq(outputs[2]),
            biases.write_en.eq(self.biases_en),
            biases.write_address.eq(self.biases_address),
            biases.write_data.eq(self.biases_data),
            biases.read_address.eq(outputs[0]),
        ]
        return m
