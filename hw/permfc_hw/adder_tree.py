"""AdderTree: the sum of all lanes' products, one output a cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .product_table import PRODUCT


class AdderTree(wiring.Component):
    """Adds ``lanes`` (a power of two) products; the sum appears ``latency`` cycles later.

    Members
    -------
    products : In(ArrayLayout(PRODUCT, lanes))
    total : Out(signed)
        Wide enough for any products.
    """

    def __init__(self, *, lanes: int) -> None:
        self.lanes = lanes
        super().__init__({
            "products": In(data.ArrayLayout(PRODUCT, lanes)),
            "total": Out(signed(PRODUCT.width + self.latency)),
        })

    @property
    def latency(self) -> int:
        """Value of the delay in cycles: one register a level."""
        return ceil_log2(self.lanes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        terms = [self.products[i] for i in range(self.lanes)]
        while len(terms) > 1:
            sums = [Signal(signed(len(terms[0]) + 1), reset_less=True) for _ in terms[::2]]
            for total, left, right in zip(sums, terms[::2], terms[1::2], strict=True):
                m.d.sync += total.eq(left + right)
            terms = sums
        m.d.comb += self.total.eq(terms[0])
        return m
