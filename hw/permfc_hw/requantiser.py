"""Requantiser: int32 totals to int8 results, one a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .function_table import UNIT_BITS, UNITS, is_copied
from .loader import Emission
from .memory import WideMemory

HALF_BITS = 16      # a total is multiplied in two halves, one multiplier each
PRODUCT_BITS = 48   # int32 * uint16
COARSE_BITS = 25    # more than any fine shift can bring back into int8
FINE_BITS = 10      # int8, one bit for rounding, one for overflow
INT8_MAX = 127


def _units(config: EngineConfig) -> int:
    """Units of the multipliers' memory: with room for a table behind them, if it is to be kept here."""
    if not is_copied(config):
        return config.block_outputs
    return max(config.block_outputs, UNITS) + UNITS


def saturate(value: Value, bits: int) -> Value:
    """``value``, a signed value, clamped to ``bits`` bits."""
    if len(value) <= bits:
        return value
    top = value[bits - 1:]
    fits = (top == 0) | top.all()
    sign = value[-1]
    limit = Cat((~sign).replicate(bits - 1), sign)
    return Mux(fits, value[:bits], limit).as_signed()


class Requantiser(wiring.Component):
    """``clamp((total * multiplier + 2**(shift - 1)) >> shift, low, 127)``, ``latency`` cycles after the total; raw totals pass at once.

    Members
    -------
    emission : In(Emission)
        Constant while a block's totals pass.
    total_en, end, total, output : In
        From the accumulators; ``output`` comes one cycle before its total.
    multipliers_en, multipliers_address, multipliers_data : In
        Bus words of the block's multipliers, unless ``emission`` has one for all.
    table_en : In(1)
        The word, by the same number and data, is one of a function table: it is kept behind the multipliers. Only where
        :func:`~permfc_hw.function_table.is_copied` says so, as all of ``table``.
    table_unit_en, table_unit : In
        Reads a unit of the table, in a cycle that needs no multiplier.
    table_unit_data : Out
        One cycle later.
    coming : Out(int8)
        The result that ``value`` shows one cycle later.
    value_en, value : Out
    emitted : Out(1)
        With the block's last value.
    """

    #: Cycles from ``total`` to ``value``.
    latency = 7

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.multipliers = WideMemory(word_bits=config.bus_bits, unit_bits=UNIT_BITS, units=_units(config))
        super().__init__({
            "emission": In(Emission),
            "total_en": In(1),
            "end": In(1),
            "total": In(signed(config.accumulator_bits)),
            "output": In(ceil_log2(config.block_outputs)),
            "multipliers_en": In(1),
            "multipliers_address": In(self.multipliers.write_address.shape()),
            "multipliers_data": In(config.bus_bits),
            "table_en": In(1),
            "table_unit_en": In(1),
            "table_unit": In(range(UNITS)),
            "table_unit_data": Out(UNIT_BITS),
            "coming": Out(signed(8)),
            "value_en": Out(1),
            "value": Out(signed(config.accumulator_bits)),
            "emitted": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multipliers = memory = self.multipliers
        m.d.comb += [
            memory.write_en.eq(self.multipliers_en),
            memory.write_address.eq(self.multipliers_address),
            memory.write_data.eq(self.multipliers_data),
            memory.read_address.eq(self.output),
        ]
        if is_copied(self.config):
            self._keep_table(m, memory)
        scaled = self._scale(m, Mux(self.emission.shared_mul, self.emission.mul, memory.read_data))
        result = self._clamp(m, self._shift(m, scaled))
        valid, end = Signal(self.latency), Signal(self.latency)
        m.d.sync += [valid.eq(Cat(self.total_en & ~self.emission.raw, valid)), end.eq(Cat(self.end, end))]
        with m.If(self.emission.raw):
            m.d.comb += [self.value_en.eq(self.total_en), self.value.eq(self.total), self.emitted.eq(self.total_en & self.end)]
        with m.Else():
            m.d.comb += [self.value_en.eq(valid[-1]), self.value.eq(result), self.emitted.eq(valid[-1] & end[-1])]
        return m

    def _keep_table(self, m: Module, memory: WideMemory) -> None:
        """Behind the multipliers, from where the top bit of the memory's addresses is set."""
        with m.If(self.table_en):
            m.d.comb += [memory.write_en.eq(1), memory.write_address[-1].eq(1)]
        with m.If(self.table_unit_en):
            m.d.comb += memory.read_address.eq(Cat(self.table_unit, Const(0, len(memory.read_address) - len(self.table_unit) - 1), 1))
        m.d.comb += self.table_unit_data.eq(memory.read_data)

    def _scale(self, m: Module, multiplier: Value) -> Signal:
        """Three registers: operands, partial products, product."""
        total1 = Signal.like(self.total, reset_less=True)
        multiplier1 = Signal(16, reset_less=True)
        low2 = Signal(unsigned(2 * HALF_BITS), reset_less=True)
        high2 = Signal(signed(2 * HALF_BITS + 1), reset_less=True)
        product3 = Signal(signed(PRODUCT_BITS), reset_less=True)
        m.d.sync += [
            total1.eq(self.total),
            multiplier1.eq(multiplier),
            low2.eq(total1[:HALF_BITS] * multiplier1),
            high2.eq((total1 >> HALF_BITS) * multiplier1),
            product3.eq(Cat(low2[:HALF_BITS], high2 + low2[HALF_BITS:])),
        ]
        return product3

    def _shift(self, m: Module, product: Signal) -> Signal:
        """Shifts by ``shift - 1`` (the last bit rounds) in two stages; what is out of range stays out of range."""
        amount = Signal(6)
        coarse = [saturate(product[step:].as_signed(), COARSE_BITS) for step in (0, 16, 32)]
        coarse4 = Signal(signed(COARSE_BITS), reset_less=True)
        fine5 = Signal(signed(COARSE_BITS), reset_less=True)
        fine6 = Signal(signed(FINE_BITS), reset_less=True)
        m.d.sync += [
            amount.eq(self.emission.shift - 1),
            coarse4.eq(Mux(amount[5], coarse[2], Mux(amount[4], coarse[1], coarse[0]))),
            fine5.eq(coarse4 >> amount[:4]),
            fine6.eq(saturate(fine5, FINE_BITS)),
        ]
        return fine6

    def _clamp(self, m: Module, shifted: Signal) -> Signal:
        rounded = (shifted + 1) >> 1
        low = Mux(self.emission.relu, 0, -INT8_MAX - 1)
        result = Signal(signed(8), reset_less=True)
        m.d.comb += self.coming.eq(Mux(rounded > INT8_MAX, INT8_MAX, Mux(rounded < low, low, rounded)))
        m.d.sync += result.eq(self.coming)
        return result
