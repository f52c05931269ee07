"""AdderTree: the sum of all lanes' sums, one output a cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class AdderTree(wiring.Component):
    """Adds ``lanes`` (a power of two) numbers of ``bits`` bits; the total, of at most ``total_bits``, appears ``latency`` cycles later.

    Members
    -------
    sums : In(ArrayLayout(signed(bits), lanes))
    total : Out(signed(total_bits))
    """

    def __init__(self, *, lanes: int, bits: int, total_bits: int) -> None:
        self.lanes = lanes
        self.bits = bits
        self.total_bits = total_bits
        super().__init__({"sums": In(data.ArrayLayout(signed(bits), lanes)), "total": Out(signed(total_bits))})

    @property
    def latency(self) -> int:
        """Value of the delay in cycles: one register a level."""
        return ceil_log2(self.lanes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        terms = [self.sums[i] for i in range(self.lanes)]
        for level in range(1, self.latency + 1):
            totals = [Signal(signed(min(self.bits + level, self.total_bits)), reset_less=True) for _ in terms[::2]]
            for total, left, right in zip(totals, terms[::2], terms[1::2], strict=True):
                m.d.sync += total.eq(left + right)
            terms = totals
        m.d.comb += self.total.eq(terms[0])
        return m
