"""Rounds for the lanes' tests: segments coded by the packer's code, the ring that they lie in, and the beat to which lanes decode them."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import data

import networks
from hw_bench import stalls, stream_put, wait
from permfc.config import EngineConfig
from permfc.image.codec import NIBBLE_LEVELS, encode_class, level_tables, split_nibbles
from permfc.network.segments import Kind, Segments
from permfc_hw.lane import Lane
from permfc_hw.round_control import SHORTEST, RoundControl

SIZES = (1, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 33, 64)
LONG_CODE = (34, 21, 13, 8, 5, 3, 2, 1, 1)  # Fibonacci numbers: codewords of 1 to 8 bits
LATE = (0, 0, 0, 1, 2, 3, 30)  # cycles that a complete round waits before it is handed over


@dataclass(frozen=True, eq=False)
class CodedSegment:
    """What one lane decodes of a feature: its segment, or one nibble of a dense8 feature's."""

    weights: np.ndarray  # int8 [B]
    table: np.ndarray    # LEVEL_ENTRY [16], one object for all segments of a class
    data: bytes          # whole bus words
    turns: int           # of any segment of the class
    pair: bool           # it takes turns with the other nibble's
    x: int = 0

    def words(self, bus_bits: int) -> list[int]:
        """The segment as bus words."""
        size = bus_bits // 8
        return [int.from_bytes(self.data[start:start + size], "little") for start in range(0, len(self.data), size)]

    def products(self) -> np.ndarray:
        """What the lane must add, int64 [B]."""
        return self.weights.astype(np.int64) * self.x

    def of(self, x: int) -> CodedSegment:
        """The segment of a feature whose activation is ``x``."""
        return dataclasses.replace(self, x=x)


@dataclass
class LaneRound:
    """The segments of a round by lane, or a sweep."""

    outputs: int
    segments: dict[int, CodedSegment] = field(default_factory=dict)
    sweep: bool = False
    silent: bool = False

    def words(self, bus_bits: int) -> int:
        """Words that the round takes of every buffer: those of its longest segment."""
        return max((8 * len(segment.data) // bus_bits for segment in self.segments.values()), default=0)

    def payload(self, bus_bits: int) -> dict[str, int]:
        """The round as RoundControl is told of it."""
        slowest = max((segment.turns for segment in self.segments.values()), default=0)
        turns = -(-self.outputs // 2) if self.sweep else slowest
        return {"turns": max(turns, SHORTEST), "outputs": self.outputs, "words": self.words(bus_bits), "sweep": self.sweep, "silent": self.silent}


def random_activation(rng: np.random.Generator) -> int:
    """An int8, extremes often."""
    return int(rng.choice([-128, 127, *rng.integers(-128, 128, 4)]))


def random_class(rng: np.random.Generator, outputs: int, bus_bits: int, kind: Kind | None = None) -> list[list[CodedSegment]]:
    """A class of some features: what lanes decode of each, two segments if the class is dense8."""
    kind = kind or Kind(rng.choice([Kind.PREFIX.value, Kind.SPARSE.value, Kind.DENSE8.value]))
    features = int(rng.integers(1, 4))
    if kind is Kind.PREFIX and outputs == sum(LONG_CODE):
        return coded_class(long_codewords(rng, features), bus_bits)
    return coded_class(networks.random_segments(rng, kind, 0, features, outputs), bus_bits)


def long_codewords(rng: np.random.Generator, features: int) -> Segments:
    """Segments that have codewords of all lengths."""
    levels = (rng.permutation(256)[:len(LONG_CODE)] - 128).astype(np.int8)
    common = np.repeat(np.arange(levels.size, dtype=np.uint8), LONG_CODE)
    return Segments.prefix(0, levels, np.array(LONG_CODE), rng.permuted(np.tile(common, (features, 1)), axis=1))


def coded_class(segments: Segments, bus_bits: int) -> list[list[CodedSegment]]:
    """A class as the packer codes it."""
    weights = [segments.weights()]
    if segments.kind is Kind.DENSE8:
        weights = [levels[half] for levels, half in zip(NIBBLE_LEVELS, split_nibbles(segments.indices), strict=True)]
    tables = list(level_tables(segments))
    stored = np.split(encode_class(segments, bus_bits), len(weights), axis=1)
    lanes = list(zip(weights, tables, stored, strict=True))
    return [
        [CodedSegment(half[feature], table, data[feature].tobytes(), segments.turns, len(weights) > 1) for half, table, data in lanes]
        for feature in range(segments.features)]


def random_outputs(rng: np.random.Generator, config: EngineConfig) -> int:
    """Outputs of a block: few, as many as there may be, or so many that a code's longest codewords occur."""
    sizes = [size for size in (*SIZES, sum(LONG_CODE)) if size < config.block_outputs]
    return int(rng.choice([*sizes, config.block_outputs, config.block_outputs]))


def random_block(rng: np.random.Generator, config: EngineConfig, lanes: int, most_rounds: int = 4) -> list[LaneRound]:
    """The rounds of a block and its sweep, which some blocks begin with. Any of the lanes take part in a round."""
    outputs = random_outputs(rng, config)
    classes = [sum(random_class(rng, outputs, config.bus_bits), []) for _ in range(rng.integers(1, 4))]
    rounds = []
    for _ in range(rng.integers(most_rounds + 1)):
        taking = rng.permutation(lanes)[:rng.integers(1, lanes + 1)].tolist()
        drawn = [classes[rng.integers(len(classes))] for _ in taking]
        segments = {lane: segments[rng.integers(len(segments))].of(random_activation(rng)) for lane, segments in zip(taking, drawn, strict=True)}
        rounds.append(LaneRound(outputs, segments))
    return [*rounds, LaneRound(outputs, sweep=True, silent=rng.random() < 0.2)]


def swept_sums(rounds: list[LaneRound], lane: int) -> list[list[int]]:
    """What a lane must show in each sweep that is not silent."""
    sums, shown = 0, []
    for round_ in rounds:
        if lane in round_.segments:
            sums = sums + round_.segments[lane].products()
        if round_.sweep:
            if not round_.silent:
                shown.append(np.broadcast_to(sums, round_.outputs).tolist())
            sums = 0
    return shown


class LanePorts:
    """What lanes share of what comes from the loader and the feeder; only the enables are each lane's own."""

    shared = ("word", "word_data", "feature", "entry")

    def __init__(self, config: EngineConfig, lanes: int) -> None:
        members = Lane(config).signature.members
        self.word_en, self.feature_en, self.entry_en = Signal(lanes), Signal(lanes), Signal(lanes)
        self.word, self.word_data, self.feature, self.entry = (Signal(members[name].shape) for name in self.shared)

    def connect(self, m: Module, number: int, lane: Lane) -> None:
        """Give a lane what is its."""
        m.d.comb += [getattr(lane, name).eq(getattr(self, name)[number]) for name in ("word_en", "feature_en", "entry_en")]
        m.d.comb += [getattr(lane, name).eq(getattr(self, name)) for name in self.shared]


class RingLoader:
    """Writes the rounds' segments into the lanes' buffers as early as there is room for them.

    So a word that is freed too early is overwritten while a lane still reads it.
    """

    def __init__(self, config: EngineConfig, ports: LanePorts, control: RoundControl, rounds: list[LaneRound]) -> None:
        self.bus_bits, self.ports, self.control, self.rounds = config.bus_bits, ports, control, rounds
        self.size = self.space = 2 * config.segment_bytes // config.bus_bytes
        self.bases: list[int] = []  # of the rounds that are complete

    async def watch(self, ctx) -> None:
        """Take note of freed words."""
        while True:
            _, _, enabled, words = await ctx.tick().sample(self.control.freed_en, self.control.freed)
            self.space += enabled * words

    async def load(self, ctx) -> None:
        """Write all rounds."""
        base = 0
        for round_ in self.rounds:
            for lane, segment in round_.segments.items():
                await self._write(ctx, base, lane, segment)
            self.bases.append(base)
            base = (base + round_.words(self.bus_bits)) % self.size
            self.space -= round_.words(self.bus_bits)

    async def _write(self, ctx, base: int, lane: int, segment: CodedSegment) -> None:
        words = segment.words(self.bus_bits)
        while self.space < len(words):
            await ctx.tick()
        ctx.set(self.ports.word_en, 1 << lane)
        for number, word in enumerate(words):
            ctx.set(self.ports.word, (base + number) % self.size)
            ctx.set(self.ports.word_data, word)
            await ctx.tick()
        ctx.set(self.ports.word_en, 0)
        ctx.set(self.ports.word_data, 0)

    async def round_is_loaded(self, ctx, number: int) -> None:
        """Wait until all words of a round are written."""
        while len(self.bases) <= number:
            await ctx.tick()

    def feature(self, number: int, segment: CodedSegment) -> dict[str, int]:
        """A feature of a round that is loaded, as a lane is told of it."""
        return {"x": segment.x, "last_word": (self.bases[number] + 8 * len(segment.data) // self.bus_bits - 1) % self.size}


class LaneDriver:
    """Plays loader and feeder for lanes. A lane gets a level table only if it has another one."""

    def __init__(self, config: EngineConfig, ports: LanePorts, control: RoundControl, rounds: list[LaneRound], seed: int | None = None) -> None:
        self.loader = RingLoader(config, ports, control, rounds)
        self.ports, self.control, self.rounds = ports, control, rounds
        self._tables: dict[int, np.ndarray] = {}  # of the lanes
        self._pauses = None if seed is None else stalls(seed, LATE)

    async def feed(self, ctx) -> None:
        """Give the lanes all rounds, each as soon as they have taken what they had."""
        for number, round_ in enumerate(self.rounds):
            await self.loader.round_is_loaded(ctx, number)
            if round_.segments:
                while not ctx.get(self.control.fill_go):
                    await ctx.tick()
                await self._give(ctx, number, round_.segments)
            await stream_put(ctx, self.control.rounds, [round_.payload(self.loader.bus_bits)], self._pauses)

    async def _give(self, ctx, number: int, segments: dict[int, CodedSegment]) -> None:
        ports = self.ports
        for lane, segment in segments.items():
            ctx.set(ports.feature_en, 1 << lane)
            ctx.set(ports.feature, self.loader.feature(number, segment))
            await ctx.tick()
        ctx.set(ports.feature_en, 0)
        ctx.set(ports.feature, {"x": 99, "last_word": 0})  # nobody's
        waiting = {lane: segment.table for lane, segment in segments.items() if self._tables.get(lane) is not segment.table}
        self._tables.update(waiting)
        while waiting:
            table = next(iter(waiting.values()))
            await self._fill(ctx, [lane for lane in waiting if waiting[lane] is table], table)
            waiting = {lane: other for lane, other in waiting.items() if other is not table}

    async def _fill(self, ctx, lanes: list[int], table: np.ndarray) -> None:
        ctx.set(self.ports.entry_en, sum(1 << lane for lane in lanes))
        for number, (level, aux) in enumerate(table.tolist()):
            ctx.set(self.ports.entry, {"code": {"number": number, "aux": aux}, "level": level})
            await ctx.tick()
        ctx.set(self.ports.entry_en, 0)


def gapless_turns(turns: int) -> int:
    """Turns from the beginning of a round to that of the next, when that one is not late."""
    return max(SHORTEST, turns) + 1


async def round_is_over(ctx, control: RoundControl) -> None:
    """Wait until the lanes have nothing to do, nor anything on the way."""
    while ctx.get(control.decoding):
        await ctx.tick()
    await wait(ctx, 8)


async def collect(ctx, control: RoundControl, signal, latency: int, count: int) -> list[list]:
    """Values of ``signal`` that belong to outputs, a list a sweep, of ``count`` sweeps that are not silent."""
    sweeps, current = [], []
    tags = deque([(0, 0)] * latency, maxlen=latency + 1)
    while len(sweeps) < count:
        _, _, valid, end, value = await ctx.tick().sample(control.tag.valid, control.tag.end, signal)
        tags.append((valid, end))
        valid, end = tags[0]
        if valid:
            current.append([int(part) for part in value] if isinstance(value, data.Const) else value)
        if valid and end:
            sweeps.append(current)
            current = []
    return sweeps
