"""ReadMaster: AXI4 reads. Word runs in, INCR bursts out, their words in order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig

from .orders import ADDRESS_BITS, WORDS_BITS, word_address_shape

MAX_BURST = 256       # beats of an AXI4 INCR burst
PAGE_BYTES = 4096     # no AXI burst may cross it
TIMEOUT_BITS = 16     # cycles without an answer


class ReadAddress(data.Struct):
    """AXI4 read address channel (AMBA AXI specification, A2.5)."""

    addr: unsigned(ADDRESS_BITS)
    len: unsigned(8)


class Run(data.StructLayout):
    """``words`` consecutive words from word address ``address``."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"address": word_address_shape(config), "words": WORDS_BITS})


class ReadMaster(wiring.Component):
    """Turns runs of words into bursts, with at most ``config.outstanding`` of them unanswered.

    A run that continues where the last one ended joins it, so that adjacent segments share a burst while the memory is
    busy. No burst crosses an aligned group of 256 words or 4 KiB. Words appear in the order of the runs.

    Members
    -------
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
        begin, end = Signal(word_address_shape(self.config)), Signal(word_address_shape(self.config))
        self._collect(m, begin, end)
        self._issue(m, begin, end)
        self._answer(m)
        return m

    def _collect(self, m: Module, begin: Signal, end: Signal) -> None:
        """Words from ``begin`` to ``end`` are to be asked for."""
        empty = Signal()
        run = self.runs.payload
        room = Signal()  # the joined run stays shorter than a run may be, so that lengths fit
        m.d.comb += [
            empty.eq(begin == end),
            room.eq((end - begin)[:WORDS_BITS] < (1 << (WORDS_BITS - 1))),
            self.runs.ready.eq(empty | ((run.address == end) & room)),
        ]
        with m.If(self.flush):
            m.d.sync += end.eq(begin)
        with m.Elif(self.runs.valid & self.runs.ready):
            m.d.sync += end.eq(run.address + run.words)
            with m.If(empty):
                m.d.sync += begin.eq(run.address)

    def _issue(self, m: Module, begin: Signal, end: Signal) -> None:
        group = min(MAX_BURST, PAGE_BYTES // self.config.bus_bytes)
        group_bits = ceil_log2(group)
        burst, left, wanted = Signal(group_bits + 1), Signal(group_bits + 1), Signal(WORDS_BITS + 1)
        waiting = Signal(range(self.config.outstanding + 1))
        asked, answered = Signal(), Signal()
        m.d.comb += [
            left.eq(group - begin[:group_bits]),
            wanted.eq((end - begin)[:WORDS_BITS + 1]),
            asked.eq(self.address.valid & self.address.ready),
            answered.eq(self.beats.valid & self.beats.ready & self.last),
            self.owed.eq((waiting != 0) | self.address.valid),
            self.address.payload.addr.eq(Cat(Const(0, ceil_log2(self.config.bus_bytes)), begin)),
            self.address.payload.len.eq(burst - 1),
        ]
        m.d.sync += waiting.eq(waiting + asked - answered)
        with m.FSM():
            with m.State("Measure"):
                m.d.sync += burst.eq(Mux(wanted < left, wanted, left))
                with m.If((wanted != 0) & (waiting != self.config.outstanding) & ~self.flush):
                    m.next = "Ask"
            with m.State("Ask"):
                m.d.comb += self.address.valid.eq(1)
                with m.If(self.address.ready):
                    m.d.sync += begin.eq(begin + burst)
                    m.next = "Measure"

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
