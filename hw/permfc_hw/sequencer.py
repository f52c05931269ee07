"""Sequencer: walks the image's program, block after block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import IMAGE_HEADER, MAGIC, MAX_CLASSES, VERSION, BlockFlag, ErrorCode, words

from .headers import BLOCK_HEADER_LAYOUT, IMAGE_HEADER_LAYOUT
from .orders import WORDS_BITS, OrderKind, ProgramOrder

STUCK_BITS = 18    # cycles without a word from memory; the longest list of inactive features takes fewer
FLUSH_CYCLES = 64  # more than any pipeline's length


def _exceeds(value: Value, limit: int) -> Value:
    """``value > limit`` for a power of two, without a carry chain."""
    bit = ceil_log2(limit)
    return value[bit + 1:].any() | (value[bit] & value[:bit].any())


class Sequencer(wiring.Component):
    """Orders the image header and the descriptors, checks them, and lets the segment fetcher do each block.

    It runs ahead of the lanes: a layer's descriptors are fetched while the layer before is decoded, its segments once
    that one's results are complete.

    Members
    -------
    start, clear : In(1)
        Strobes; ``clear`` forgets ``done`` and ``error``.
    busy, done : Out(1)
    error : Out(ErrorCode)
        Of the last run.
    image_header, block_header, header_done, infos_done : In
        From the loader.
    received : In
        Values in the appended bank of the activation store.
    swap : Out(1)
        Strobe for the activation store.
    layer_done, final : In(1)
        Strobe: a layer's last result is out; it was the final layer's.
    orders : Out(stream of ProgramOrder)
    parameter_words : Out
        Words of the current block's biases, and as many of its multipliers.
    go : Out(1)
        Strobe for the segment fetcher.
    fetched_all, malformed : In(1)
        Strobes from the segment fetcher.
    owed, failed, timed_out : In(1)
        From the read master.
    progress : In(1)
        A word arrives.
    flush : Out(1)
        Between runs: everything on the way is dropped.
    fail : Out(1)
        Strobe: the run failed and nothing of it is left.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({
            "start": In(1),
            "clear": In(1),
            "busy": Out(1),
            "done": Out(1),
            "error": Out(ErrorCode),
            "image_header": In(IMAGE_HEADER_LAYOUT),
            "block_header": In(BLOCK_HEADER_LAYOUT),
            "header_done": In(1),
            "infos_done": In(1),
            "received": In(range(config.features + 2)),
            "swap": Out(1),
            "layer_done": In(1),
            "final": In(1),
            "orders": Out(stream.Signature(ProgramOrder)),
            "parameter_words": Out(WORDS_BITS),
            "go": Out(1),
            "fetched_all": In(1),
            "malformed": In(1),
            "owed": In(1),
            "failed": In(1),
            "timed_out": In(1),
            "progress": In(1),
            "flush": Out(1, init=1),
            "fail": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus_bytes = self.config.bus_bytes
        header_words = words(IMAGE_HEADER.itemsize, bus_bytes)
        descriptor_words = Signal(16)
        list_ready, finished = Signal(), Signal()
        quiet = Signal(STUCK_BITS)  # a damaged program may make one box wait for what another never sends
        m.d.sync += quiet.eq(Mux(self.progress | ~self.busy, 0, quiet + 1))
        faults = ((self.malformed | quiet.all(), ErrorCode.DESCRIPTOR), (self.timed_out, ErrorCode.TIMEOUT), (self.failed, ErrorCode.BUS))
        wait = Signal(range(FLUSH_CYCLES))
        block = self.block_header
        refused, refusal, malformed = Signal(), Signal(ErrorCode), Signal()
        self._check(m, refused, refusal, malformed)
        m.d.comb += [
            self.parameter_words.eq((block.outputs * 2 + bus_bytes - 1) >> ceil_log2(bus_bytes)),
            self.busy.eq(1),
        ]
        # Strobes that many listen to come from registers.
        m.d.sync += [self.swap.eq(0), self.fail.eq(0), self.flush.eq(0)]
        with m.If(self.layer_done & self.final):
            m.d.sync += finished.eq(1)
        with m.If(self.layer_done & ~self.final):
            m.d.sync += [self.swap.eq(1), list_ready.eq(1)]

        def read(kind: OrderKind, count: object, following: str) -> None:
            m.d.comb += [self.orders.valid.eq(1), self.orders.payload.kind.eq(kind), self.orders.payload.words.eq(count)]
            with m.If(self.orders.ready):
                m.next = following

        def stop(code: ErrorCode | Signal) -> None:
            m.d.sync += [self.error.eq(code), wait.eq(0)]
            m.next = "Abort"

        @contextmanager
        def working(state: str) -> Iterator[None]:
            with m.State(state):
                yield
                for fault, code in faults:
                    with m.If(fault):
                        stop(code)

        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.busy.eq(0)
                m.d.sync += [self.flush.eq(1), list_ready.eq(0), finished.eq(0)]
                with m.If(self.clear):
                    m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]
                with m.If(self.start):
                    m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]
                    m.next = "Begin"
                    with m.If(self.owed):
                        stop(ErrorCode.TIMEOUT)
            with m.State("Begin"):  # the flush ends
                m.next = "Image Header"
            with working("Image Header"):
                read(OrderKind.HEADER, header_words, "Await Image Header")
            with working("Await Image Header"):
                m.d.sync += descriptor_words.eq(self.image_header.descriptor_words)
                with m.If(self.header_done):
                    m.next = "Check Image"
            with working("Check Image"):
                with m.If(refused):
                    stop(refusal)
                with m.Else():
                    m.d.sync += [self.swap.eq(1), list_ready.eq(1)]
                    m.next = "Descriptor"
            with working("Descriptor"):
                read(OrderKind.DESCRIPTOR, descriptor_words, "Await Descriptor")
            with working("Await Descriptor"):
                with m.If(self.infos_done):
                    m.next = "Check Block"
            with working("Check Block"):
                with m.If(malformed):
                    stop(ErrorCode.DESCRIPTOR)
                with m.Elif(list_ready):
                    m.d.comb += self.go.eq(1)
                    m.next = "Fetch"
            with working("Fetch"):
                m.d.sync += descriptor_words.eq(block.next_words)
                with m.If(self.fetched_all):
                    with m.If((block.flags & BlockFlag.LAST) != 0):
                        m.d.sync += list_ready.eq(0)
                    m.next = "Next Block"
            with working("Next Block"):
                ends = ((block.flags & BlockFlag.LAST) != 0) & ((block.flags & BlockFlag.FINAL) != 0)
                m.next = "Descriptor"
                with m.If(descriptor_words == 0):
                    m.next = "Finish"
                with m.If((descriptor_words == 0) != ends):
                    stop(ErrorCode.DESCRIPTOR)
            with working("Finish"):
                with m.If(finished):
                    m.d.sync += self.done.eq(1)
                    m.next = "Idle"
            with m.State("Abort"):
                m.d.sync += self.flush.eq(1)
                with m.If(~wait.all()):
                    m.d.sync += wait.eq(wait + 1)
                with m.Elif(~self.owed | self.timed_out):
                    m.d.sync += self.fail.eq(1)
                    m.next = "Idle"
        return m

    def _check(self, m: Module, refused: Signal, refusal: Signal, malformed: Signal) -> None:
        """Registered: the headers stand still a cycle before the answer counts."""
        header, block, config = self.image_header, self.block_header, self.config
        needs_another_engine = (
            (header.bus_bytes_log2 != ceil_log2(config.bus_bytes)) | (header.accumulator_bits > config.accumulator_bits)
            | _exceeds(header.levels, config.levels) | _exceeds(header.features, config.features)
            | _exceeds(header.block_outputs, config.block_outputs))
        m.d.sync += [
            refused.eq(1),
            malformed.eq((block.outputs == 0) | _exceeds(block.outputs, config.block_outputs)
                         | (block.classes == 0) | _exceeds(block.classes, MAX_CLASSES)),
        ]
        with m.If(header.magic != MAGIC):
            m.d.sync += refusal.eq(ErrorCode.MAGIC)
        with m.Elif(header.version != VERSION):
            m.d.sync += refusal.eq(ErrorCode.VERSION)
        with m.Elif(needs_another_engine):
            m.d.sync += refusal.eq(ErrorCode.CONFIG)
        with m.Elif(header.inputs != self.received):
            m.d.sync += refusal.eq(ErrorCode.INPUT_LENGTH)
        with m.Elif(header.descriptor_words == 0):
            m.d.sync += refusal.eq(ErrorCode.DESCRIPTOR)
        with m.Else():
            m.d.sync += refused.eq(0)
