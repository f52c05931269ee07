"""Sequencer: walks the image's program, block after block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.format import IMAGE_HEADER, MAGIC, MAX_CLASSES, VERSION, BlockFlag, ErrorCode, ImageFlag, words

from .headers import BLOCK_HEADER_LAYOUT, IMAGE_HEADER_LAYOUT
from .orders import WORDS_BITS, OrderKind, ProgramOrder
from .widths import exceeds

STUCK_BITS = 18    # cycles without a word from memory; the longest list of inactive features takes fewer
FLUSH_CYCLES = 64  # more than any pipeline's length


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
    deliver : Out(1)
        Strobe: the run is complete, nothing can fail any more.
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
    clearing : Out(1)
        What the lanes have added up in a run that failed is to vanish, in a sweep over all that they have room for.
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
            "deliver": Out(1),
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
            "clearing": Out(1),
            "fail": Out(1),
        })
        self._descriptor_words = Signal(16)  # of the next descriptor
        self._list_ready = Signal()          # the layer's activations are complete
        self._finished = Signal()            # the final layer's results are out
        self._quiet = Signal(STUCK_BITS)     # a damaged program may make one box wait for what another never sends
        self._wait = Signal(range(config.block_outputs + 2 * FLUSH_CYCLES))
        self._refused = Signal()             # the image, because of ``_refusal``
        self._refusal = Signal(ErrorCode)
        self._malformed_block = Signal()
        self._faults = (
            (self.malformed | self._quiet.all(), ErrorCode.DESCRIPTOR), (self.timed_out, ErrorCode.TIMEOUT), (self.failed, ErrorCode.BUS))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus_bytes = self.config.bus_bytes
        m.d.sync += self._quiet.eq(Mux(self.progress | ~self.busy, 0, self._quiet + 1))
        self._check(m)
        m.d.comb += [
            self.parameter_words.eq((self.block_header.outputs * 2 + bus_bytes - 1) >> ceil_log2(bus_bytes)),
            self.busy.eq(1),
        ]
        # Strobes that many listen to come from registers.
        m.d.sync += [self.swap.eq(0), self.fail.eq(0), self.flush.eq(0)]
        with m.If(self.layer_done & self.final):
            m.d.sync += self._finished.eq(1)
        with m.If(self.layer_done & ~self.final):
            m.d.sync += [self.swap.eq(1), self._list_ready.eq(1)]
        with m.FSM():
            self._idle(m)
            self._read_image_header(m)
            self._read_descriptor(m)
            self._fetch_block(m)
            self._finish(m)
            self._abort(m)
        return m

    def _check(self, m: Module) -> None:
        """Registered: the headers stand still a cycle before the answer counts."""
        header, block, config = self.image_header, self.block_header, self.config
        needs_another_engine = (
            (header.bus_bytes_log2 != ceil_log2(config.bus_bytes)) | (header.accumulator_bits > config.accumulator_bits)
            | exceeds(header.levels, config.levels) | exceeds(header.features, config.features)
            | exceeds(header.block_outputs, config.block_outputs))
        if not config.tables:
            needs_another_engine |= (header.flags & ImageFlag.TABLES) != 0
        m.d.sync += [
            self._refused.eq(1),
            self._malformed_block.eq((block.outputs == 0) | exceeds(block.outputs, config.block_outputs)
                                     | (block.classes == 0) | exceeds(block.classes, MAX_CLASSES)),
        ]
        with m.If(header.magic != MAGIC):
            m.d.sync += self._refusal.eq(ErrorCode.MAGIC)
        with m.Elif(header.version != VERSION):
            m.d.sync += self._refusal.eq(ErrorCode.VERSION)
        with m.Elif(needs_another_engine):
            m.d.sync += self._refusal.eq(ErrorCode.CONFIG)
        with m.Elif(header.inputs != self.received):
            m.d.sync += self._refusal.eq(ErrorCode.INPUT_LENGTH)
        with m.Elif(header.descriptor_words == 0):
            m.d.sync += self._refusal.eq(ErrorCode.DESCRIPTOR)
        with m.Else():
            m.d.sync += self._refused.eq(0)

    def _order(self, m: Module, kind: OrderKind, count: object, following: str) -> None:
        m.d.comb += [self.orders.valid.eq(1), self.orders.payload.kind.eq(kind), self.orders.payload.words.eq(count)]
        with m.If(self.orders.ready):
            m.next = following

    def _stop(self, m: Module, code: ErrorCode | Signal) -> None:
        m.d.sync += [self.error.eq(code), self._wait.eq(0)]
        m.next = "Abort"

    def _check_faults(self, m: Module) -> None:
        for fault, code in self._faults:
            with m.If(fault):
                self._stop(m, code)

    @contextmanager
    def _working(self, m: Module, state: str) -> Iterator[None]:
        """A state that any fault ends."""
        with m.State(state):
            yield
            self._check_faults(m)

    def _idle(self, m: Module) -> None:
        with m.State("Idle"):
            m.d.comb += self.busy.eq(0)
            m.d.sync += [self.flush.eq(1), self._list_ready.eq(0), self._finished.eq(0)]
            with m.If(self.clear):
                m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]
            with m.If(self.start):
                m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]
                m.next = "Begin"
                with m.If(self.owed):
                    self._stop(m, ErrorCode.TIMEOUT)
        with m.State("Begin"):  # the flush ends
            m.next = "Image Header"

    def _read_image_header(self, m: Module) -> None:
        with self._working(m, "Image Header"):
            self._order(m, OrderKind.HEADER, words(IMAGE_HEADER.itemsize, self.config.bus_bytes), "Await Image Header")
        with self._working(m, "Await Image Header"):
            m.d.sync += self._descriptor_words.eq(self.image_header.descriptor_words)
            with m.If(self.header_done):
                m.next = "Check Image"
        with self._working(m, "Check Image"):
            with m.If(self._refused):
                self._stop(m, self._refusal)
            with m.Else():
                m.d.sync += [self.swap.eq(1), self._list_ready.eq(1)]
                m.next = "Descriptor"

    def _read_descriptor(self, m: Module) -> None:
        """Ahead of the layer's activations."""
        with self._working(m, "Descriptor"):
            self._order(m, OrderKind.DESCRIPTOR, self._descriptor_words, "Await Descriptor")
        with self._working(m, "Await Descriptor"):
            with m.If(self.infos_done):
                m.next = "Check Block"
        with self._working(m, "Check Block"):
            with m.If(self._malformed_block):
                self._stop(m, ErrorCode.DESCRIPTOR)
            with m.Elif(self._list_ready):
                m.d.comb += self.go.eq(1)
                m.next = "Fetch"

    def _fetch_block(self, m: Module) -> None:
        """The last block is the one that announces no descriptor; the program must agree with itself."""
        block = self.block_header
        last, final = (block.flags & BlockFlag.LAST) != 0, (block.flags & BlockFlag.FINAL) != 0
        ended = self._descriptor_words == 0
        with self._working(m, "Fetch"):
            m.d.sync += self._descriptor_words.eq(block.next_words)
            with m.If(self.fetched_all):
                with m.If(last):
                    m.d.sync += self._list_ready.eq(0)
                m.next = "Next Block"
        with self._working(m, "Next Block"):
            m.next = "Descriptor"
            with m.If(ended):
                m.next = "Finish"
            with m.If(ended != (last & final)):
                self._stop(m, ErrorCode.DESCRIPTOR)

    def _finish(self, m: Module) -> None:
        """A run is either done or failed: once its results may leave, no fault counts."""
        with m.State("Finish"):
            with m.If(self._finished):
                m.d.comb += self.deliver.eq(1)
                m.d.sync += self.done.eq(1)
                m.next = "Idle"
            with m.Else():
                self._check_faults(m)

    def _abort(self, m: Module) -> None:
        """Until the boxes have drained and the memory owes nothing, or does not answer either."""
        with m.State("Abort"):
            m.d.sync += self.flush.eq(1)
            with m.If(self._wait != FLUSH_CYCLES):
                m.d.sync += self._wait.eq(self._wait + 1)
            with m.Elif(~self.owed | self.timed_out):
                m.next = "Clear"
        with m.State("Clear"):
            m.d.comb += self.clearing.eq(1)
            m.d.sync += [self.flush.eq(1), self._wait.eq(self._wait + 1)]
            with m.If(self._wait == self.config.block_outputs + 2 * FLUSH_CYCLES - 1):
                m.d.sync += self.fail.eq(1)
                m.next = "Idle"
