"""IndexDecoder: the level numbers of one segment, one a cycle, from the two ends of its bit string."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.format import MAX_CODE_BITS, MAX_LEVELS, MAX_RICE, SPARSE, SPARSE_AUX

from .memory import PLAIN, registered_read

LEVEL_BITS = ceil_log2(MAX_LEVELS)
SPARSE_SHIFT = 5  # of a sparse class's window: what is left is the number of an entry of the level table


class DecodeControl(data.Struct):
    """What all lanes do in lockstep. ``odd`` and ``load`` speak of the stream in stage 1, ``fill``, ``zero`` of the stream in stage 2.
    """

    odd: unsigned(1)   # this is the odd outputs' stream
    load: unsigned(1)  # point to the first byte of the next segment
    fill: unsigned(1)  # take a byte, whatever the code says
    zero: unsigned(1)  # start with the first bit of the byte
    swap: unsigned(1)  # from now on use the code limits that were loaded last
    base: unsigned(12)  # bus word of the segment buffers where the next segments begin
    sweep: unsigned(1)  # beside ``swap``: a codeword an output, whatever the class
    begin: unsigned(1)  # the next segment begins with the next codeword, in stage 3 ...
    outputs: unsigned(13)  # ... of a stream of so many outputs
    take: unsigned(1)      # the next features' activations count from stage 6 on
    clear: unsigned(1)     # in stage 7: what is accumulated becomes 0


class CodeEntry(data.Struct):
    """One ``aux`` byte of a level table (docs/format.md) on its way into a lane."""

    number: unsigned(LEVEL_BITS)
    aux: unsigned(8)


def _shift(value: Value, amount: Value, width: int) -> Value:
    """``width`` bits of ``value`` from bit ``amount`` (0..7) on: a 4:1 stage, then a 2:1 stage, which is what LUT4s do best."""
    coarse = [Cat(value, Const(0, 8))[k:k + width + 1] for k in (0, 2, 4, 6)]
    chosen = Mux(amount[2], Mux(amount[1], coarse[3], coarse[2]), Mux(amount[1], coarse[1], coarse[0]))
    return Mux(amount[0], chosen[1:], chosen[:width])


def _sum3(a: Value, b: Value) -> Value:
    """``(a + b + 1) % 8`` in LUTs: a carry chain is slower for three bits."""
    carry1 = a[0] | b[0]
    carry2 = (a[1] & b[1]) | (carry1 & (a[1] | b[1]))
    return Cat(~(a[0] ^ b[0]), a[1] ^ b[1] ^ carry1, a[2] ^ b[2] ^ carry2)


def _reaches(prefix: Value, limit: Value, end: Value) -> Value:
    """``prefix >= limit``, but never where ``end`` tells that the limit is CODE_ENDS, whose bits are all ones."""
    reached = ~end  # so far, from the lowest bit up: a carry chain takes more sites for so few bits, with where it begins and ends
    for ours, theirs in zip(prefix, limit, strict=True):
        reached = (ours & ~theirs) | (~(ours ^ theirs) & reached)
    return reached


class IndexDecoder(wiring.Component):
    """Decodes two interleaved bit streams, the even outputs' and the odd outputs'.

    Decoding a symbol is a loop (position, window, length, position) with two registers in it: while stage 1 aligns the
    window of one stream, stage 2 finds the length of the other's codeword. A level number appears ``latency`` cycles after its
    stream was in stage 1.

    A codeword of a sparse class stands for a run of zeros and a level, so it says how many outputs are passed over. Places are
    counted down, which ends a stream without a comparison.

    Parameters
    ----------
    buffer_bytes : int
        Capacity of the segment buffer, a power of two.
    word_bytes : int
        Bytes of a bus word.
    block_outputs : int
        Most outputs of a segment, a power of two.

    Members
    -------
    control : In(DecodeControl)
    last_word : In
        Number in the buffer of the next segment's last bus word.
    address : Out
        Byte address in the segment buffer; its ``byte`` is due one cycle later.
    byte : In(8)
    code_en, code : In
        Entry of the next round's code table.
    bank : In(1)
        Bank of the offset table, in stage 3; ``code`` goes to the other.
    level : Out
        Level number.
    place : Out
        Beside it: outputs of the stream that come after the level's.
    past : Out(1)
        Beside it: the stream has ended.
    """

    #: Cycles from stage 1 to ``level``.
    latency = 3

    def __init__(self, *, buffer_bytes: int, word_bytes: int, block_outputs: int) -> None:
        self.place_bits = ceil_log2(block_outputs) - 1
        self.pointer_bits = ceil_log2(buffer_bytes)
        self.byte_bits = ceil_log2(word_bytes)
        super().__init__({
            "control": In(DecodeControl),
            "last_word": In(self.pointer_bits - self.byte_bits),
            "address": Out(self.pointer_bits),
            "byte": In(8),
            "code_en": In(1),
            "bank": In(1),
            "code": In(CodeEntry),
            "level": Out(LEVEL_BITS),
            "place": Out(self.place_bits),
            "past": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        window = Signal(MAX_CODE_BITS, reset_less=True)  # of stage 2
        longer = Signal(MAX_CODE_BITS)  # bit d: stage 2's codeword has more than d bits
        length = Signal(3)  # of stage 2's codeword, less one
        description = Signal(8, reset_less=True)  # of the runs of this round's class, from its level table
        self._align(m, window, longer, length)
        self._measure(m, window, longer, length, description)
        self._number(m, window, length, description)
        return m

    def _align(self, m: Module, window: Signal, longer: Signal, length: Signal) -> None:
        """The positions of both streams, which change places between the registers of stages 1 and 2 every cycle.

        What stage 2 finds out of a codeword (``length1``, ``longer1``) is applied in stage 1, which has less to do.
        """
        control = self.control
        pointer_shape = unsigned(self.pointer_bits)

        def register(name: str, shape: object = 8) -> Signal:
            return Signal(shape, name=name, reset_less=True)

        # Where the stream was when it was last in stage 2, and what became of it.
        current1, following1, byte1 = register("current1"), register("following1"), register("byte1")
        offset1, length1 = register("offset1", 3), register("length1", 3)
        pointer1, neighbour1 = register("pointer1", pointer_shape), register("neighbour1", pointer_shape)
        longer1, fill1, load1 = register("longer1", 1), register("fill1", 1), register("load1", 1)
        current, following, offset, pointer = Signal(8), Signal(8), Signal(3), Signal(pointer_shape)
        start = Signal(pointer_shape)
        m.d.comb += [
            current.eq(Mux(longer1 | fill1, following1, current1)),
            following.eq(Mux(longer1 | fill1, byte1, following1)),
            offset.eq(_sum3(offset1, length1)),
            pointer.eq(Mux((longer1 | fill1) & ~load1, neighbour1, pointer1)),
            self.address.eq(pointer),
            start.eq(Cat(control.odd.replicate(self.byte_bits), Mux(control.odd, self.last_word, control.base))),
        ]

        current2, following2, offset2 = register("current2"), register("following2"), register("offset2", 3)
        pointer2, neighbour2 = register("pointer2", pointer_shape), register("neighbour2", pointer_shape)
        odd2, load2 = register("odd2", 1), register("load2", 1)
        m.d.sync += [
            window.eq(_shift(Cat(following, current)[1:], ~offset, MAX_CODE_BITS)),
            current2.eq(current),
            following2.eq(following),
            offset2.eq(offset),
            pointer2.eq(Mux(control.load, start, pointer)),
            neighbour2.eq(pointer + Cat(Const(1, 1), control.odd.replicate(self.pointer_bits - 1))),  # the next byte, up or down
            odd2.eq(control.odd),
            load2.eq(control.load),
        ]

        m.d.sync += [
            longer1.eq(longer.bit_select(~offset2, 1)),  # it reaches the end of the byte
            fill1.eq(control.fill),
            load1.eq(load2),
            current1.eq(current2),
            following1.eq(following2),
            byte1.eq(Mux(odd2, self.byte[::-1], self.byte)),  # the odd stream begins with the segment's last bit
            offset1.eq(offset2),
            length1.eq(length),
            pointer1.eq(pointer2),
            neighbour1.eq(neighbour2),
        ]
        with m.If(control.zero):  # 0 + 7 + 1 is the first bit of a byte
            m.d.sync += [offset1.eq(0), length1.eq(7)]

    def _measure(self, m: Module, window: Signal, longer: Signal, length: Signal, description: Signal) -> None:
        """Length by comparison with the smallest prefix of each length that does not yet end a codeword."""
        loaded = Signal(8 * (SPARSE_AUX + 1), reset_less=True)  # entries come in the order of their numbers
        with m.If(self.code_en & (self.code.number <= SPARSE_AUX)):
            m.d.sync += loaded.eq(Cat(loaded[8:], self.code.aux))
        with m.If(self.control.swap):
            m.d.sync += description.eq(loaded.word_select(SPARSE_AUX, 8))
        with m.If(self.control.swap & self.control.sweep):
            m.d.sync += description.eq(0)
        m.d.comb += longer[0].eq(1)
        for d in range(1, MAX_CODE_BITS):
            limit, end = Signal(d, name=f"limit{d}", reset_less=True), Signal(name=f"end{d}", reset_less=True)
            aux = loaded.word_select(d - 1, 8)
            with m.If(self.control.swap):
                m.d.sync += [limit.eq(aux), end.eq(aux[7])]
            m.d.comb += longer[d].eq(_reaches(window[MAX_CODE_BITS - d:], limit, end))
        # Being longer than d bits implies being longer than d - 1, so the count is a binary search.
        m.d.comb += [
            length[2].eq(longer[4]),
            length[1].eq(Mux(longer[4], longer[6], longer[2])),
            length[0].eq(Mux(longer[4], Mux(longer[6], longer[7], longer[5]), Mux(longer[2], longer[3], longer[1]))),
        ]

    def _number(self, m: Module, window: Signal, length: Signal, description: Signal) -> None:
        """Rank of the codeword: the codeword itself plus an offset for each length. In a sparse class the codeword's first bits."""
        m.submodules.offsets = offsets = Memory(shape=unsigned(LEVEL_BITS), depth=2 * MAX_CODE_BITS, init=[], attrs=PLAIN)
        write = offsets.write_port()
        m.d.comb += [
            write.en.eq(self.code_en & self.code.number[3]),
            write.addr.eq(Cat(self.code.number[:3], ~self.bank)),
            write.data.eq(self.code.aux[:LEVEL_BITS]),
        ]
        window3, length3 = Signal.like(window), Signal.like(length)
        codeword3 = _shift(window3, ~length3, MAX_RICE)  # 8 - (length3 + 1) bits are not the codeword's
        codeword4 = Signal(LEVEL_BITS, reset_less=True)
        m.d.sync += [
            window3.eq(window),
            length3.eq(length),
            codeword4.eq(Mux((description & SPARSE) != 0, window3[SPARSE_SHIFT:], codeword3)),
        ]
        offset4 = registered_read(m, offsets, Cat(length3, self.bank))
        m.d.comb += self.level.eq(codeword4 + offset4)
        self._place(m, codeword3, description[:MAX_RICE])

    def _place(self, m: Module, codeword: Value, most_zeros: Value) -> None:
        """Outputs of the stream that come after the codeword's: less by one, and by the zeros of the codeword, ``most_zeros & ~codeword``."""
        bits = max(self.place_bits, MAX_RICE + 1) + 1  # ``outputs`` may wrap around: what follows is at least one less
        place4, place5 = (Signal(bits, name=f"place{stage}", reset_less=True) for stage in (4, 5))
        past4, past5, begun4, moved = Signal(), Signal(), Signal(), Signal(bits)
        step = Cat(codeword | ~most_zeros, Const(-1, bits - MAX_RICE))  # less one, and less the zeros
        m.d.comb += [moved.eq(place5 + step), self.place.eq(place4), self.past.eq(past4 | begun4)]
        m.d.sync += [
            # The stream that stage 3 holds now was there two cycles ago.
            place4.eq(Mux(self.control.begin, self.control.outputs, moved)),
            place5.eq(place4),
            past4.eq(~self.control.begin & (past5 | moved[-1])),
            past5.eq(past4),
            begun4.eq(self.control.begin),  # ``outputs`` itself is no place
        ]
