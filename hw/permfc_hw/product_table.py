"""ProductTable: level * activation, computed once a feature and looked up once an output."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .memory import BLOCK, PLAIN, registered_read

PRODUCT = signed(16)  # int8 * int8


class ProductTable(wiring.Component):
    """Two banks of products: one is looked up while the other is filled for the next round.

    A product appears ``latency`` cycles after its level; it is zero while ``clear`` is high one cycle after the level.

    Parameters
    ----------
    levels : int
        Entries of a bank.
    in_block_ram : bool
        Whether the table takes a block RAM of its own rather than some 60 LUTs where RAM can be made of those.

    Members
    -------
    write_en, write_bank, write_level, write_product : In
    bank, level : In
        What to look up.
    clear : In(1)
    product : Out(signed(16))
    """

    #: Cycles from ``level`` to ``product``.
    latency = 2

    def __init__(self, *, levels: int, in_block_ram: bool = True) -> None:
        self.levels = levels
        self.in_block_ram = in_block_ram
        level_bits = ceil_log2(levels)
        super().__init__({
            "write_en": In(1),
            "write_bank": In(1),
            "write_level": In(level_bits),
            "write_product": In(PRODUCT),
            "bank": In(1),
            "level": In(level_bits),
            "clear": In(1),
            "product": Out(PRODUCT),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=PRODUCT, depth=2 * self.levels, init=[], attrs=BLOCK if self.in_block_ram else PLAIN)
        write = memory.write_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.write_level, self.write_bank)),
            write.data.eq(self.write_product),
        ]
        found = registered_read(m, memory, Cat(self.level, self.bank)).as_signed()
        product = Signal(PRODUCT, reset_less=True)  # has the reset input of its registers for itself
        m.d.sync += product.eq(found)
        with m.If(self.clear):
            m.d.sync += product.eq(0)
        m.d.comb += self.product.eq(product)
        return m
