"""RoundControl: the beat to which all lanes decode."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig

from .index_decoder import DecodeControl


class Round(data.StructLayout):
    """A round of a block of ``outputs`` outputs."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"outputs": range(config.block_outputs + 1), "first": 1, "last": 1})


class OutputTag(data.Struct):
    """What is known of a sum: it is an output's (``valid``), of its block's first or last round, and the block's last (``end``)."""

    valid: unsigned(1)
    first: unsigned(1)
    last: unsigned(1)
    end: unsigned(1)


class RoundControl(wiring.Component):
    """Starts a round as soon as the lanes finish the one before.

    A turn has two cycles: the even stream is in stage 1, then the odd stream. A round of B outputs takes
    ``max(2, ceil(B / 2))`` turns and one more in which the streams take their first bytes: the next segment's
    address is loaded two turns before the current round ends, its first byte one turn before.

    Members
    -------
    rounds : In(stream of Round)
        A complete round; accepted once the halves of the segment buffers have changed.
    control : Out(DecodeControl)
    tag : Out(OutputTag)
        Of the stream in stage 1.
    fill_half : Out(1)
        Half of the segment buffers, and bank of the tables, for the next round.
    fill_go : Out(1)
        The tables' bank for the next round is no longer in use.
    decoding : Out(1)
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "rounds": In(stream.Signature(Round(config))),
            "control": Out(DecodeControl, init={"activate": 1}),  # a reset takes all lanes out
            "tag": Out(OutputTag),
            "fill_half": Out(1),
            "fill_go": Out(1, init=1),
            "decoding": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        odd = Signal()  # second cycle of a turn
        load, fill, zero = Signal(), Signal(), Signal()  # kind of turn
        half = Signal()  # half of the round that was started last
        m.d.sync += odd.eq(~odd)
        with m.If(odd):
            m.d.sync += [fill.eq(load), zero.eq(fill)]
        self._start(m, odd, load, half)
        self._tag(m, odd, zero)
        self._control(m, odd, load, fill, zero, half)
        return m

    def _start(self, m: Module, odd: Signal, load: Signal, half: Signal) -> None:
        """``left`` counts the turns to the end of the round that was started last, this turn included."""
        turns = Signal(range(self.config.block_outputs // 2 + 4))
        left = Signal.like(turns)
        soon = Signal()  # the next turn is the round's last but one, or later
        outputs = self.rounds.payload.outputs
        m.d.comb += [
            soon.eq(left <= 3),
            turns.eq(Mux(outputs <= 2, 2, (outputs + 1) >> 1)),
            self.rounds.ready.eq(odd & load),
            self.decoding.eq(left != 0),
        ]
        with m.If(odd):
            m.d.sync += load.eq(0)
            with m.If(self.rounds.valid & ~load & soon):
                m.d.sync += [load.eq(1), half.eq(self.fill_half)]
            with m.If(load):
                m.d.sync += [left.eq(turns + 2), self.fill_half.eq(~self.fill_half)]
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)

    def _tag(self, m: Module, odd: Signal, zero: Signal) -> None:
        current = Signal(Round(self.config))
        remaining = Signal.like(current.outputs)
        with m.If(self.rounds.valid & self.rounds.ready):
            m.d.sync += current.eq(self.rounds.payload)
        with m.If(zero & odd):
            m.d.sync += remaining.eq(current.outputs)
        with m.Elif(self.tag.valid):
            m.d.sync += remaining.eq(remaining - 1)
        first, last = Signal(), Signal()
        with m.If(zero & odd):
            m.d.sync += [first.eq(current.first), last.eq(current.last)]
        m.d.comb += [
            self.tag.valid.eq(remaining != 0),
            self.tag.first.eq(first),
            self.tag.last.eq(last),
            self.tag.end.eq(remaining == 1),
        ]

    def _control(self, m: Module, odd: Signal, load: Signal, fill: Signal, zero: Signal, half: Signal) -> None:
        """The stream that is in stage 1 now is in stage 2 one cycle later. All lanes listen, so every bit is a register."""
        control = self.control
        swapped = Signal()
        m.d.comb += [control.odd.eq(odd), control.load.eq(load), control.half.eq(half)]
        m.d.sync += [
            control.swap.eq(zero & ~odd),
            control.fill.eq(fill | zero),
            control.zero.eq(zero),
            control.end_run.eq(control.zero),
            control.product_bank.eq(control.offset_bank),
            swapped.eq(control.swap),
            control.activate.eq(swapped),
        ]
        with m.If(control.swap):
            m.d.sync += [control.offset_bank.eq(half), self.fill_go.eq(1)]
        with m.If(load):
            m.d.sync += self.fill_go.eq(0)
