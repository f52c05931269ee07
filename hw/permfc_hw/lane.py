"""Lane: one feature's segment in, its products added up output by output."""

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig
from permfc.format import MAX_LEVELS

from .index_decoder import CodeEntry, DecodeControl, IndexDecoder
from .memory import BLOCK, PLAIN, WideMemory, registered_read
from .widths import buffer_word, sum_bits

PRODUCT = signed(16)  # int8 * int8


class LaneFeature(data.StructLayout):
    """A feature as a lane knows it: its activation, and where in the buffer its segment's last bus word lies."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"x": signed(8), "last_word": buffer_word(config)})


class LevelEntry(data.Struct):
    """One entry of a class's level table: the code entry, and the level of this number."""

    code: CodeEntry
    level: signed(8)


class Lane(wiring.Component):
    """Decodes the segment of a feature, multiplies each level by its activation, and adds the product to what it has for that output.

    A codeword takes a cycle, whatever number of zeros it stands for. Segments lie in a ring, those of a round at the same place in all
    lanes. While one bank of the tables is read, the other is filled for the next round. A lane without a feature adds zeros. In a sweep,
    which is a round without features, the sums leave, one an output in their order, and become 0.

    Members
    -------
    word_en, word, word_data : In
        A bus word for the segment buffer, and its number there.
    feature_en, feature : In
        The next feature.
    entry_en, entry : In
        An entry of the next feature's level table, unless that is the one of the feature before.
    control : In(DecodeControl)
    sum : Out(signed)
        ``latency`` cycles after stage 1 of ``control``.
    """

    #: Cycles from stage 1 of ``control`` to ``sum``.
    latency = IndexDecoder.latency + 3

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "word_en": In(1),
            "word": In(buffer_word(config)),
            "word_data": In(config.bus_bits),
            "feature_en": In(1),
            "feature": In(LaneFeature(config)),
            "entry_en": In(1),
            "entry": In(LevelEntry),
            "control": In(DecodeControl),
            "sum": Out(signed(sum_bits(config))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.decoder = decoder = IndexDecoder(
            buffer_bytes=2 * config.segment_bytes, word_bytes=config.bus_bytes, block_outputs=config.block_outputs)
        bank = self._banks(m)
        m.d.comb += [
            decoder.control.eq(self.control),
            decoder.code_en.eq(self.entry_en),
            decoder.code.eq(self.entry.code),
            decoder.bank.eq(bank),
        ]
        self._buffer(m, decoder)
        product7 = self._multiply(m, decoder.level, bank)
        self._accumulate(m, decoder, product7)
        return m

    def _banks(self, m: Module) -> Signal:
        """The bank that is decoded with; the other one is filled."""
        bank, filled = Signal(), Signal()
        with m.If(self.control.swap):
            m.d.sync += [bank.eq(bank ^ filled), filled.eq(0)]
        with m.If(self.entry_en):
            m.d.sync += filled.eq(1)
        return bank

    def _buffer(self, m: Module, decoder: IndexDecoder) -> None:
        config = self.config
        m.submodules.buffer = buffer = WideMemory(word_bits=config.bus_bits, unit_bits=8, units=2 * config.segment_bytes)
        last_word = Signal(buffer_word(config), reset_less=True)
        with m.If(self.feature_en):
            m.d.sync += last_word.eq(self.feature.last_word)
        m.d.comb += [
            buffer.write_en.eq(self.word_en),
            buffer.write_address.eq(self.word),
            buffer.write_data.eq(self.word_data),
            buffer.read_address.eq(decoder.address),
            decoder.byte.eq(buffer.read_data),
            decoder.last_word.eq(last_word),
        ]

    def _multiply(self, m: Module, level4: Signal, bank: Signal) -> Signal:
        m.submodules.levels = levels = Memory(shape=signed(8), depth=2 * MAX_LEVELS, init=[], attrs=PLAIN)
        write = levels.write_port()
        m.d.comb += [
            write.en.eq(self.entry_en),
            write.addr.eq(Cat(self.entry.code.number, ~bank)),
            write.data.eq(self.entry.level),
        ]
        bank4 = Signal()
        level6, product7 = Signal(signed(8), reset_less=True), Signal(PRODUCT, reset_less=True)
        x, upcoming = Signal(signed(8), reset_less=True), Signal(signed(8))
        m.d.sync += bank4.eq(bank)
        level5 = registered_read(m, levels, Cat(level4, bank4)).as_signed()
        m.d.sync += [level6.eq(level5), product7.eq(level6 * x)]
        with m.If(self.control.take):
            m.d.sync += [x.eq(upcoming), upcoming.eq(0)]
        with m.If(self.feature_en):
            m.d.sync += upcoming.eq(self.feature.x)
        return product7

    def _accumulate(self, m: Module, decoder: IndexDecoder, product7: Signal) -> None:
        """A sum's address is how many outputs of its stream follow, and the stream."""
        config = self.config
        m.submodules.sums = sums = Memory(shape=unsigned(sum_bits(config)), depth=config.block_outputs, init=[], attrs=BLOCK)
        write = sums.write_port()
        address, past = [Cat(~self.control.odd, decoder.place)], [decoder.past]  # in stage 4, as many cycles as turns are even behind stage 1
        for stage in range(5, 9):
            address.append(Signal(len(address[0]), name=f"address{stage}", reset_less=True))
            past.append(Signal(name=f"past{stage}"))
            m.d.sync += [address[-1].eq(address[-2]), past[-1].eq(past[-2])]
        # Block RAM is slow to answer, so a register stands between it and the adder.
        before6 = registered_read(m, sums, address[1]).as_signed()
        before7, after8 = (Signal(signed(sum_bits(config)), name=name, reset_less=True) for name in ("before7", "after8"))
        m.d.sync += [before7.eq(before6), after8.eq(before7 + product7)]
        with m.If(self.control.clear):
            m.d.sync += after8.eq(0)
        m.d.comb += [write.en.eq(~past[-1]), write.addr.eq(address[-1]), write.data.eq(after8), self.sum.eq(before7)]
