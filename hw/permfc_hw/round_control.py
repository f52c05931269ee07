"""RoundControl: the beat to which all lanes decode."""

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig

from .index_decoder import DecodeControl
from .widths import buffer_word, segment_words

SHORTEST = 4  # turns of a round, a power of two: what is taken at its beginning has been taken when the next one begins to load


class Round(data.StructLayout):
    """A round of ``turns`` turns, at least ``SHORTEST``, in a block of ``outputs`` outputs, whose segments take ``words`` of the buffers.

    In a ``sweep`` the sums leave, or vanish if it is ``silent``.
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({
            "turns": range(config.block_outputs // 2 + 1), "outputs": range(config.block_outputs + 1), "words": segment_words(config),
            "sweep": 1, "silent": 1,
        })


class OutputTag(data.Struct):
    """What is known of a sum: it is an output's (``valid``), the block's last (``end``)."""

    valid: unsigned(1)
    end: unsigned(1)


class RoundControl(wiring.Component):
    """Starts a round as soon as the lanes finish the one before.

    A turn has two cycles: the even stream is in stage 1, then the odd stream. A round takes the turns that its classes need, at least four, and
    one more in which the streams take their first bytes: the next segment's
    address is loaded two turns before the current round ends, its first byte one turn before.

    Members
    -------
    rounds : In(stream of Round)
        A complete round.
    control : Out(DecodeControl)
    tag : Out(OutputTag)
        Of the stream in stage 1.
    freed_en, freed : Out
        So many words of the segment buffers are free again.
    fill_go : Out(1)
        The lanes have taken what they had for the round that was started last.
    decoding : Out(1)
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "rounds": In(stream.Signature(Round(config))),
            "control": Out(DecodeControl),
            "tag": Out(OutputTag),
            "freed_en": Out(1),
            "freed": Out(segment_words(config)),
            "fill_go": Out(1, init=1),
            "decoding": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        even, odd = Signal(init=1), Signal()  # first cycle of a turn, and second
        load, fill, zero = Signal(), Signal(), Signal()  # kind of turn
        m.d.sync += [even.eq(~even), self.control.odd.eq(even)]  # two registers, because all lanes listen to one of them
        m.d.comb += odd.eq(~even)
        with m.If(odd):
            m.d.sync += [fill.eq(load), zero.eq(fill)]
        current = Signal(Round(self.config))
        with m.If(self.rounds.valid & self.rounds.ready):
            m.d.sync += current.eq(self.rounds.payload)
        self._start(m, odd, load)
        self._tag(m, current, zero & odd)
        self._control(m, current, odd, load, fill, zero)
        self._free(m, current)
        return m

    def _start(self, m: Module, odd: Signal, load: Signal) -> None:
        """``left`` counts the turns to the end of the round that was started last, this turn included."""
        left = Signal(range(self.config.block_outputs // 2 + 3))
        soon = Signal()  # the next turn is the round's last but one, or later
        m.d.comb += [
            soon.eq(left <= 3),
            self.rounds.ready.eq(odd & load),
            self.decoding.eq(left != 0),
        ]
        with m.If(odd):
            m.d.sync += load.eq(0)
            with m.If(self.rounds.valid & ~load & soon):
                m.d.sync += load.eq(1)
            with m.If(load):
                m.d.sync += left.eq(self.rounds.payload.turns + 2)
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)

    def _tag(self, m: Module, current: Signal, begin: Value) -> None:
        remaining = Signal.like(current.outputs)
        with m.If(begin):
            m.d.sync += remaining.eq(Mux(current.sweep & ~current.silent, current.outputs, 0))
        with m.Elif(self.tag.valid):
            m.d.sync += remaining.eq(remaining - 1)
        m.d.comb += [self.tag.valid.eq(remaining != 0), self.tag.end.eq(remaining == 1)]

    def _control(self, m: Module, current: Signal, odd: Signal, load: Signal, fill: Signal, zero: Signal) -> None:
        """The stream that is in stage 1 now is in stage 2 one cycle later. All lanes listen, so every bit is a register."""
        control = self.control
        swapped, begun, sweeping = Signal(), Signal(), Signal()
        base = Signal(buffer_word(self.config))
        with m.If(self.rounds.valid & self.rounds.ready):
            m.d.sync += base.eq(base + self.rounds.payload.words)
        m.d.comb += [control.load.eq(load), control.base.eq(base)]
        m.d.sync += [
            control.swap.eq(zero & ~odd),
            control.sweep.eq(current.sweep),
            control.fill.eq(fill | zero),
            control.zero.eq(zero),
            control.begin.eq(control.zero),
            control.outputs.eq((current.outputs + odd) >> 1),
            swapped.eq(control.swap),
            begun.eq(swapped),
            control.take.eq(begun),
            control.clear.eq(sweeping),
        ]
        with m.If(control.take):
            m.d.sync += [sweeping.eq(current.sweep), self.fill_go.eq(1)]
        with m.If(load):
            m.d.sync += self.fill_go.eq(0)

    def _free(self, m: Module, current: Signal) -> None:
        """The words of a round, when the next one's features are in use."""
        m.d.comb += self.freed_en.eq(self.control.take)
        with m.If(self.control.take):
            m.d.sync += self.freed.eq(current.words)
