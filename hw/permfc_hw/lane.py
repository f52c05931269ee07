"""Lane: one feature's segment in, one product an output out."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .index_decoder import CodeEntry, DecodeControl, IndexDecoder
from .memory import WideMemory
from .product_table import PRODUCT, ProductTable

# With more lanes than this, devices of the right size have LUTs to spare but not a second block RAM a lane.
BLOCK_TABLE_LANES = 16


class WordWrite(data.Struct):
    """Where the loader's bus word goes in the segment buffers; the lane is chosen beside it."""

    half: unsigned(1)
    last: unsigned(1)  # of its segment
    # Wide enough for any configuration; a lane takes the bits that it needs.
    word: unsigned(12)


class TableFill(data.Struct):
    """One entry of the next round's tables: the code entry and the product of level ``code.number``."""

    code: CodeEntry
    product: PRODUCT
    bank: unsigned(1)


class Lane(wiring.Component):
    """Decodes the segment of one feature and multiplies: a product a cycle, ``latency`` cycles after stage 1 of ``control``.

    While one half of the segment buffer and one bank of the tables are decoded, the others are filled for the next round.
    A lane that was not filled since the last ``control.activate`` contributes zeros.

    Members
    -------
    word_en, word, word_data : In
        A bus word for the segment buffer.
    fill_en, fill : In
        An entry for the tables.
    control : In(DecodeControl)
    product : Out(signed(16))
    """

    latency = IndexDecoder.latency + ProductTable.latency

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "word_en": In(1),
            "word": In(WordWrite),
            "word_data": In(config.bus_bits),
            "fill_en": In(1),
            "fill": In(TableFill),
            "control": In(DecodeControl),
            "product": Out(PRODUCT),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        word_bits = ceil_log2(config.segment_bytes // config.bus_bytes)
        m.submodules.buffer = buffer = WideMemory(word_bits=config.bus_bits, unit_bits=8, units=2 * config.segment_bytes)
        m.submodules.decoder = decoder = IndexDecoder(segment_bytes=config.segment_bytes, word_bytes=config.bus_bytes)
        m.submodules.table = table = ProductTable(levels=config.levels, in_block_ram=config.lanes <= BLOCK_TABLE_LANES)

        last_word = Signal(word_bits, reset_less=True)
        with m.If(self.word_en & self.word.last):
            m.d.sync += last_word.eq(self.word.word)
        m.d.comb += [
            buffer.write_en.eq(self.word_en),
            buffer.write_address.eq(Cat(self.word.word[:word_bits], self.word.half)),
            buffer.write_data.eq(self.word_data),
            buffer.read_address.eq(decoder.address),
            decoder.byte.eq(buffer.read_data),
            decoder.control.eq(self.control),
            decoder.last_word.eq(last_word),
            decoder.code_en.eq(self.fill_en),
            decoder.code_bank.eq(self.fill.bank),
            decoder.code.eq(self.fill.code),
        ]

        filled, active = Signal(), Signal()
        with m.If(self.control.activate):
            m.d.sync += [active.eq(filled), filled.eq(0)]
        with m.If(self.fill_en):
            m.d.sync += filled.eq(1)
        m.d.comb += [
            table.write_en.eq(self.fill_en & (self.fill.code.number < config.levels)),
            table.write_bank.eq(self.fill.bank),
            table.write_level.eq(self.fill.code.number),
            table.write_product.eq(self.fill.product),
            table.bank.eq(self.control.product_bank),
            table.level.eq(decoder.level),
            table.clear.eq(~active | decoder.running),
            self.product.eq(table.product),
        ]
        return m
