"""ReadMaster: AXI4 reads. Word runs in, INCR bursts out, their words in order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .axi import PAGE_BITS
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
        The memory answered with an error since the last flush.
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
        m.d.sync += turn.eq(~turn)
        self._collect(m, turn, begin, wanted, asked, burst)
        self._ask(m, turn, begin, wanted, asked, burst)
        self._answer(m)
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

    def _ask(self, m: Module, turn: Signal, begin: Signal, wanted: Signal, asked: Signal, burst: Signal) -> None:
        group_bits = ceil_log2(min(MAX_BURST, (1 << PAGE_BITS) // self.config.bus_bytes))
        left = Signal(group_bits + 1)
        waiting = Signal(range(self.config.outstanding + 1))
        accepted, answered = Signal(), Signal()
        byte_address = Cat(Const(0, ceil_log2(self.config.bus_bytes)), begin)
        m.d.comb += [
            left.eq((1 << group_bits) - begin[:group_bits]),
            asked.eq(~turn & (burst != 0) & (waiting != self.config.outstanding) & ~self.address.valid & ~self.flush),
            accepted.eq(self.address.valid & self.address.ready),
            answered.eq(self.beats.valid & self.beats.ready & self.last),
            self.owed.eq((waiting != 0) | self.address.valid),
        ]
        m.d.sync += [burst.eq(Mux(wanted < left, wanted, left)), waiting.eq(waiting + accepted - answered)]
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
            m.d.sync += [self.failed.eq(0), self.timed_out.eq(0)]
        with m.If(self.beats.valid & self.beats.ready & self.error & ~self.flush):
            m.d.sync += self.failed.eq(1)
        with m.If(silence.all()):
            m.d.sync += self.timed_out.eq(1)
