"""ReadMaster: AXI4 reads. Word runs in, INCR bursts out, their words in order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .axi import PAGE_BITS
from .memory import PLAIN
from .orders import ADDRESS_BITS, WORDS_BITS, word_address_shape

MAX_BURST = 256       # beats of an AXI4 INCR burst
TIMEOUT_BITS = 16     # cycles without an answer


class ReadAddress(data.Struct):
    """AXI4 read address channel (AMBA AXI specification, A2.5)."""

    addr: unsigned(ADDRESS_BITS)
    len: unsigned(8)


class Run(data.StructLayout):
    """``words`` consecutive words from word ``address`` of the image; with ``joins`` it begins where the last run ended."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"address": word_address_shape(config), "words": WORDS_BITS, "joins": 1})


class ReadMaster(wiring.Component):
    """Turns runs of words into bursts, with at most ``config.outstanding`` of them unanswered.

    A run that joins the last one extends it, so that adjacent segments share a burst while the memory is busy. No burst
    crosses an aligned group of 256 words or 4 KiB. Words appear in the order of the runs.

    Words are counted. RLAST only has to agree: a memory that sets it elsewhere gives an error of this run, and nothing of it is
    left for the next one.

    Members
    -------
    image_page : In(20)
        Number of the 4 KiB page in which the image starts.
    runs : In(stream of Run)
    address : Out(stream of ReadAddress)
        AXI AR channel.
    beats : In(stream of word), last, error : In
        AXI R channel, RLAST and an error RRESP.
    words : Out(stream of word)
    flush : In(1)
        Forget what was not yet asked for, and drop answers.
    owed : Out(1)
        Answers are outstanding.
    failed : Out(1)
        Since the last flush the memory answered with an error, with RLAST on a word that was not the last of its burst or none on
        one that was, or without being asked.
    timed_out : Out(1)
        The memory owed an answer for 65,536 cycles.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "image_page": In(ADDRESS_BITS - PAGE_BITS),
            "runs": In(stream.Signature(Run(config))),
            "address": Out(stream.Signature(ReadAddress)),
            "beats": In(stream.Signature(config.bus_bits)),
            "last": In(1),
            "error": In(1),
            "words": Out(stream.Signature(config.bus_bits)),
            "flush": In(1),
            "owed": Out(1),
            "failed": Out(1),
            "timed_out": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        begin, wanted = Signal(word_address_shape(self.config)), Signal(WORDS_BITS + 1)  # words that are to be asked for
        turn = Signal()  # a cycle to ask in, a cycle to take a run in: neither's arithmetic waits for the other's
        asked, burst = Signal(), Signal(9)
        asks, answers = Signal(range(2 * self.config.outstanding)), Signal(range(2 * self.config.outstanding))  # bursts, modulo that
        m.d.sync += turn.eq(~turn)
        m.d.comb += self.owed.eq(asks != answers)
        self._collect(m, turn, begin, wanted, asked, burst)
        self._ask(m, turn, begin, wanted, asked, burst, (asks ^ answers) == self.config.outstanding)
        self._answer(m)
        self._count(m, asked, burst, asks, answers)
        return m

    def _collect(self, m: Module, turn: Signal, begin: Signal, wanted: Signal, asked: Signal, burst: Signal) -> None:
        run, held = Signal(Run(self.config), reset_less=True), Signal()
        empty, taken = Signal(), Signal()
        m.d.comb += [
            self.runs.ready.eq(~held),
            empty.eq(wanted == 0),
            taken.eq(turn & held & (empty | (run.joins & ~wanted[-1]))),
        ]
        with m.If(taken | self.flush):
            m.d.sync += held.eq(0)
        with m.If(self.runs.ready):
            m.d.sync += [run.eq(self.runs.payload), held.eq(self.runs.valid & ~self.flush)]
        with m.If(asked):
            m.d.sync += [begin.eq(begin + burst), wanted.eq(wanted - burst)]
        with m.If(taken):
            m.d.sync += wanted.eq(wanted + run.words)
            with m.If(empty):
                m.d.sync += begin.eq(run.address)
        with m.If(self.flush):
            m.d.sync += wanted.eq(0)

    def _ask(self, m: Module, turn: Signal, begin: Signal, wanted: Signal, asked: Signal, burst: Signal, full: Value) -> None:
        group_bits = ceil_log2(min(MAX_BURST, (1 << PAGE_BITS) // self.config.bus_bytes))
        left = Signal(group_bits + 1)
        byte_address = Cat(Const(0, ceil_log2(self.config.bus_bytes)), begin)
        m.d.comb += [
            left.eq((1 << group_bits) - begin[:group_bits]),
            asked.eq(~turn & (burst != 0) & ~full & ~self.address.valid & ~self.flush),
        ]
        m.d.sync += burst.eq(Mux(wanted < left, wanted, left))
        with m.If(asked):
            m.d.sync += [
                self.address.valid.eq(1),
                self.address.payload.addr.eq(Cat(byte_address[:PAGE_BITS], byte_address[PAGE_BITS:] + self.image_page)),
                self.address.payload.len.eq(burst - 1),
            ]
        with m.Elif(self.address.ready):
            m.d.sync += self.address.valid.eq(0)

    def _answer(self, m: Module) -> None:
        silence = Signal(TIMEOUT_BITS)
        m.d.comb += [
            self.words.payload.eq(self.beats.payload),
            self.words.valid.eq(self.beats.valid & ~self.flush),
            self.beats.ready.eq(self.words.ready | self.flush),
        ]
        with m.If(~self.owed | self.beats.valid):
            m.d.sync += silence.eq(0)
        with m.Else():
            m.d.sync += silence.eq(silence + 1)
        with m.If(self.flush):
            m.d.sync += self.timed_out.eq(0)
        with m.If(silence.all()):
            m.d.sync += self.timed_out.eq(1)

    def _count(self, m: Module, asked: Signal, burst: Signal, asks: Signal, answers: Signal) -> None:
        """The lengths of bursts wait for their answers, from the cycle in which the address is offered."""
        m.submodules.lengths = lengths = Memory(shape=8, depth=max(2, self.config.outstanding), init=[], attrs=PLAIN)
        write, read = lengths.write_port(), lengths.read_port(domain="comb")
        beat, number, final = Signal(), Signal(8), Signal()
        cut = Signal()  # RLAST came too early: if the memory is silent then, it has ended the burst
        m.d.comb += [
            write.en.eq(asked),
            write.addr.eq(asks),
            write.data.eq(burst - 1),
            read.addr.eq(answers),
            beat.eq(self.beats.valid & self.beats.ready),
            final.eq(number == read.data),
        ]
        with m.If(asked):
            m.d.sync += asks.eq(asks + 1)
        with m.If(beat & self.owed):
            m.d.sync += number.eq(Mux(final, 0, number + 1))
            with m.If(final):
                m.d.sync += answers.eq(answers + 1)
        with m.If(self.flush):
            m.d.sync += self.failed.eq(0)
        with m.Elif(beat & (self.error | (self.last != final) | ~self.owed)):
            m.d.sync += self.failed.eq(1)
        with m.If(~self.owed):
            m.d.sync += cut.eq(0)
        with m.Elif(beat & self.last & ~final):
            m.d.sync += cut.eq(1)
        with m.If(self.flush & self.timed_out & cut & ~self.address.valid):
            m.d.sync += [answers.eq(asks), number.eq(0)]
