"""Loader: every word of a program reaches the memory its order names, and waits while that is in use."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, plain, run_bench, stalls, stream_put, strobe, wait
from permfc.config import EngineConfig
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, LEVEL_ENTRY, MAX_CLASSES, MAX_LEVELS, BlockFlag, words
from permfc_hw.loader import ROUNDS_AHEAD, Loader
from permfc_hw.orders import OrderKind

LANES = 4
FLAGS = {"layer_end": BlockFlag.LAST, "final": BlockFlag.FINAL, "relu": BlockFlag.RELU, "raw": BlockFlag.RAW,
         "wide_bias": BlockFlag.WIDE_BIAS, "shared_mul": BlockFlag.SHARED_MUL, "table": BlockFlag.TABLE}
TABLE_WORDS = 4  # of a function table; the fewest there are


def small_config(bus_bits: int) -> EngineConfig:
    return EngineConfig(lanes=LANES, bus_bits=bus_bits, block_outputs=64, features=64)


@dataclass
class Program:
    """Orders, their words, and what must come of them."""

    config: EngineConfig
    draw: random.Random
    orders: list[dict] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    writes: list[tuple] = field(default_factory=list)     # (memory, address, word) or (lane, number, word)
    items: list[dict] = field(default_factory=list)       # for the feeder
    emissions: list[dict] = field(default_factory=list)   # of each block
    image_header: np.ndarray | None = None
    block_headers: list[np.ndarray] = field(default_factory=list)
    base: int = 0  # where the round's segments begin

    @property
    def longest(self) -> int:
        """Words of the longest segment; the buffers hold two of them."""
        return self.config.segment_bytes // self.config.bus_bytes

    @property
    def bank(self) -> int:
        """Of the level tables of the current block."""
        return (len(self.block_headers) - 1) % 2

    @property
    def rounds(self) -> int:
        return sum(item["closes"] for item in self.items)

    def random_words(self, count: int) -> list[int]:
        return [self.draw.getrandbits(self.config.bus_bits) for _ in range(count)]

    def order(self, kind: OrderKind, payload: list[int], **fields: int) -> list[int]:
        unused = {"slot": self.draw.randrange(MAX_CLASSES), "x": self.draw.randrange(-128, 128), "sweep": 0}
        self.orders.append({**unused, "kind": kind, "words": len(payload), **fields})
        self.words += payload
        return payload

    def record(self, dtype: np.dtype) -> np.ndarray:
        """A header of random bytes."""
        return np.frombuffer(self.draw.randbytes(dtype.itemsize), dtype)[0].copy()

    def as_words(self, record: np.ndarray) -> list[int]:
        size, stored = self.config.bus_bytes, record.tobytes()
        return [int.from_bytes(stored[start:start + size], "little") for start in range(0, len(stored), size)]

    def add_image_header(self) -> None:
        self.image_header = self.record(IMAGE_HEADER)
        self.order(OrderKind.HEADER, self.as_words(self.image_header))

    def add_descriptor(self) -> None:
        header, size = self.record(BLOCK_HEADER), self.config.bus_bytes
        classes = header["classes"] = self.draw.randint(1, MAX_CLASSES)
        header["outputs"] = self.draw.randint(1, self.config.block_outputs)
        self.block_headers.append(header)
        infos = self.random_words(words(int(classes) * CLASS_INFO.itemsize, size))
        tables = self.random_words(words(int(classes) * MAX_LEVELS * LEVEL_ENTRY.itemsize, size))
        self.order(OrderKind.DESCRIPTOR, [*self.as_words(header), *infos, *tables])
        bank = self.bank * words(MAX_CLASSES * MAX_LEVELS * LEVEL_ENTRY.itemsize, size)
        self.writes += [("infos", *entry) for entry in enumerate(infos)] + [("tables", *entry) for entry in enumerate(tables, bank)]

    def add_round(self, counts: list[int]) -> None:
        """A segment of so many words for each lane, from the first one on."""
        for lane, count in enumerate(counts):
            slot, x = self.draw.randrange(MAX_CLASSES), self.draw.randrange(-128, 128)
            payload = self.order(OrderKind.SEGMENT, self.random_words(count), slot=slot, x=x)
            numbers = [(self.base + number) % (2 * self.longest) for number in range(count)]
            self.writes += [(lane, number, word) for number, word in zip(numbers, payload, strict=True)]
            self.items.append({"closes": 0, "x": x, "last_word": numbers[-1], "table": self.bank * MAX_CLASSES + slot})
        self.close(max(counts, default=0), sweep=0)

    def close(self, widest: int, sweep: int) -> None:
        turns = self.draw.randint(0, self.config.block_outputs // 2)
        self.order(OrderKind.ROUND, [], words=turns, sweep=sweep)
        outputs = int(self.block_headers[-1]["outputs"])
        self.items.append({"closes": 1, "turns": turns, "outputs": outputs, "words": widest, "sweep": sweep, "silent": 0})
        self.base += widest

    def add_end(self) -> None:
        """Parameters and sweep."""
        kinds = {OrderKind.BIASES: self.draw.randint(1, 4), OrderKind.MULTIPLIERS: self.draw.randint(1, 4), OrderKind.FUNCTION: TABLE_WORDS}
        for kind, count in kinds.items():
            if kind is OrderKind.BIASES or self.draw.random() < 0.7:
                payload = self.order(kind, self.random_words(count))
                self.writes += [(kind.name.lower(), *entry) for entry in enumerate(payload)]
        self.close(0, sweep=1)
        header = self.block_headers[-1]
        flags = {name: int(bool(int(header["flags"]) & flag)) for name, flag in FLAGS.items()}
        self.emissions.append({"shift": int(header["shift"]), "mul": int(header["mul"]), **flags})

    def add_block(self, rounds: int) -> None:
        """With short segments, of which the buffers hold many rounds, with long ones, or with both."""
        self.add_descriptor()
        low, high = self.draw.choice([(1, 1), (1, min(3, self.longest)), (1, self.longest), (self.longest, self.longest)])
        for _ in range(rounds):
            self.add_round([self.draw.randint(low, high) for _ in range(self.draw.choice([1, LANES - 1, LANES, LANES]))])
        self.add_end()


def random_program(seed: int, bus_bits: int) -> Program:
    program = Program(small_config(bus_bits), random.Random(seed))
    program.add_image_header()
    for rounds in (1, 0, program.draw.randint(2, 4), program.draw.randint(ROUNDS_AHEAD, 2 * ROUNDS_AHEAD), 1):
        program.add_block(rounds)
    return program


def meaning(item) -> dict:
    """The fields of a feeder's item that mean something."""
    if item.closes:
        return {"closes": 1, **plain(item.of.round)}
    return {"closes": 0, **plain(item.of.assignment.feature), "table": item.of.assignment.table}


class Surroundings:
    """Feeder, lanes, results and function table around a loader, each as slow as a seed says; they check that it waits for them."""

    def __init__(self, loader: Loader, program: Program, seed: int, pattern: tuple[int, ...]) -> None:
        self.loader, self.program, self.seed, self.pattern = loader, program, seed, pattern
        self.writes: list[tuple] = []
        self.items: list[dict] = []
        self.waiting: deque[tuple[dict, set]] = deque()  # rounds that have not begun, with the words of their segments
        self.held: set[tuple[int, int]] = set()          # these words (lane, number), and those of rounds that are decoded
        self.filled: set[tuple[int, int]] = set()        # of the round that is loaded
        self.begun = self.sweeps = self.emitted = 0
        self.emitting = False                            # a sweep is closed, its block's last result not out
        self.copying = 0                                 # cycles until the function table is complete

    def benches(self) -> list:
        return [self.orders, self.words, self.lanes, self.results, self.watch]

    async def orders(self, ctx) -> None:
        await stream_put(ctx, self.loader.orders, self.program.orders, stalls(self.seed, self.pattern))

    async def words(self, ctx) -> None:
        await stream_put(ctx, self.loader.words, self.program.words, stalls(self.seed + 1, self.pattern))

    async def lanes(self, ctx) -> None:
        """Begin the rounds. The words of one are free some time after the next one has begun."""
        loader, pauses, decoded = self.loader, stalls(self.seed + 2, (0, 3, 30, 100)), (0, set())
        while self.begun < self.program.rounds:
            while not self.waiting:
                await ctx.tick()
            await wait(ctx, next(pauses))
            round_, segments = self.waiting.popleft()
            ctx.set(loader.sweep_begun, round_["sweep"])
            await strobe(ctx, loader.round_begun)
            ctx.set(loader.sweep_begun, 0)
            self.begun, self.sweeps = self.begun + 1, self.sweeps + round_["sweep"]
            await wait(ctx, next(pauses) // 3)
            ctx.set(loader.freed, decoded[0])
            await strobe(ctx, loader.freed_en)
            self.held -= decoded[1]
            decoded = round_["words"], segments

    async def results(self, ctx) -> None:
        pauses = stalls(self.seed + 3, (1, 40, 400))
        for number, emission in enumerate(self.program.emissions):
            while self.sweeps == number:
                await ctx.tick()
            assert plain(ctx.get(self.loader.emission)) == emission
            await wait(ctx, next(pauses))
            assert plain(ctx.get(self.loader.emission)) == emission
            await strobe(ctx, self.loader.emitted)
            self.emitting = False

    async def watch(self, ctx) -> None:
        """What leaves, one cycle after its word was taken, and only when its memory was free."""
        loader, pauses = self.loader, stalls(self.seed + 4, (1, 10, 60))
        ctx.set(loader.table_complete, 1)
        names = ("infos", "tables", "biases", "multipliers", "function")
        enables = [getattr(loader, f"{name}_en") for name in names]
        while len(self.items) < len(self.program.items):
            _, _, address, table_address, data, lanes, word, item_en, item, *enabled = await ctx.tick().sample(
                loader.address, loader.table_address, loader.word_data, loader.word_en, loader.word, loader.item_en, loader.item, *enables)
            written = [name for name, on in zip(names, enabled, strict=True) if on]
            assert len(written) + lanes.bit_count() <= 1
            for name in written:
                self.write(name, table_address if name == "tables" else address, data)
            if lanes:
                self.write_segment(lanes.bit_length() - 1, word, data)
            if item_en:
                self.feed(meaning(item))
            if "function" in written:
                self.copying = 1000 if address < TABLE_WORDS - 1 else next(pauses)
            self.copying -= self.copying > 0
            ctx.set(loader.table_complete, not self.copying)

    def write(self, name: str, address: int, data: int) -> None:
        assert name in ("infos", "tables") or not self.emitting
        assert name != "tables" or self.sweeps >= self.blocks - 1  # nothing needs what the bank held before
        self.writes.append((name, address, data))

    @property
    def blocks(self) -> int:
        """Blocks whose sweep is closed."""
        return sum(item.get("sweep", 0) for item in self.items)

    def write_segment(self, lane: int, number: int, data: int) -> None:
        assert (lane, number) not in self.held
        self.filled.add((lane, number))
        self.writes.append((lane, number, data))

    def feed(self, item: dict) -> None:
        self.items.append(item)
        assert len(self.waiting) < ROUNDS_AHEAD
        if item["closes"]:
            assert not self.copying
            self.waiting.append((item, self.filled))
            self.held |= self.filled
            self.filled = set()
            self.emitting |= bool(item["sweep"])

    def check(self) -> None:
        assert self.writes == self.program.writes
        assert self.items == self.program.items


widths = st.sampled_from([16, 32, 64, 128, 512])
patterns = st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS])


@given(st.integers(0, 2**32 - 1), widths, patterns)
@settings(max_examples=8, deadline=None)
def test_words_go_where_their_order_says(seed, bus_bits, pattern):
    program = random_program(seed, bus_bits)
    around = Surroundings(Loader(program.config), program, seed, pattern)
    run_bench(around.loader, *around.benches())
    around.check()


@pytest.mark.parametrize("cycles", [30, 150, 400, 700])
def test_a_reset_forgets_a_program(cycles):
    """Wherever it is broken off: an engine resets its loader between runs."""
    program, other = random_program(cycles, 32), random_program(cycles + 1, 32)
    loader, reset = Loader(program.config), Signal()
    around = Surroundings(loader, program, cycles, SHORT_STALLS)

    async def break_off(ctx) -> None:
        streams = ((loader.orders, iter(other.orders)), (loader.words, iter(other.words)))
        ctx.set(loader.table_complete, 1)
        ctx.set(loader.emitted, 1)
        for stream, items in streams:
            ctx.set(stream.valid, 1)
            ctx.set(stream.payload, next(items))
        for _ in range(cycles):
            _, _, *ready = await ctx.tick().sample(*(stream.ready for stream, _ in streams))
            for (stream, items), taken in zip(streams, ready, strict=True):
                if taken:
                    ctx.set(stream.payload, next(items))
        for signal in (loader.orders.valid, loader.words.valid, loader.emitted):
            ctx.set(signal, 0)
        await strobe(ctx, reset)

    def afterwards(bench):
        async def run(ctx) -> None:
            await wait(ctx, cycles + 2)
            await bench(ctx)
        return run

    run_bench(ResetInserter(reset)(loader), break_off, *map(afterwards, around.benches()))
    around.check()


def program_of(counts: list[list[int]], bus_bits: int = 32) -> Program:
    """One block of rounds with segments of so many words."""
    program = Program(small_config(bus_bits), random.Random(0))
    program.add_descriptor()
    for lanes in counts:
        program.add_round(lanes)
    return program


class Feed:
    """Gives a loader all orders and words as soon as they are taken, and lists the items that come, with the cycle of each."""

    def __init__(self, program: Program) -> None:
        self.loader, self.program = Loader(program.config), program
        self.items: list[dict] = []
        self.cycles: list[int] = []

    async def orders(self, ctx) -> None:
        await stream_put(ctx, self.loader.orders, self.program.orders)

    async def words(self, ctx) -> None:
        await stream_put(ctx, self.loader.words, self.program.words)

    async def watch(self, ctx) -> None:
        cycle = 0
        ctx.set(self.loader.table_complete, 1)
        while True:
            _, _, item_en, item = await ctx.tick().sample(self.loader.item_en, self.loader.item)
            cycle += 1
            if item_en:
                self.items.append(meaning(item))
                self.cycles.append(cycle)

    async def settle(self, ctx) -> int:
        """Rounds that come as long as nothing else happens."""
        count = -1
        while count != len(self.items):
            count = len(self.items)
            await wait(ctx, 300 if count == 0 else 40)
        assert self.items == self.program.items[:count]
        return sum(item["closes"] for item in self.items)

    async def begin(self, ctx, words: int) -> None:
        """A round begins, and its words are free at once."""
        ctx.set(self.loader.freed, words)
        ctx.set(self.loader.round_begun, 1)
        await strobe(ctx, self.loader.freed_en)
        ctx.set(self.loader.round_begun, 0)

    def run(self, bench) -> None:
        run_bench(self.loader, bench, background=[self.orders, self.words, self.watch])


def test_rounds_are_loaded_ahead():
    """As many as the feeder's queue has room for, and one more for each that begins."""
    feed = Feed(program_of([[1] * LANES] * (2 * ROUNDS_AHEAD)))

    async def run(ctx) -> None:
        for begun in range(ROUNDS_AHEAD):
            assert await feed.settle(ctx) == ROUNDS_AHEAD + begun
            assert feed.items[-1]["closes"]  # and nothing of the next one
            await feed.begin(ctx, words=1)

    feed.run(run)


@pytest.mark.parametrize("widest", [
    [8, 8, 1, 1], [8, 7, 1, 1, 8], [1, 8, 6, 2, 8, 8], [5, 5, 5, 5, 5, 1, 8], [3, 4, 1, 1, 8, 5], [1, 1, 7, 8, 8, 1],
], ids=str)
def test_segments_fill_the_buffers(widest):
    """Rounds take as many words as their longest segment; one is loaded while those before it leave room for any."""
    feed = Feed(program_of([[1, words, 1] for words in widest]))
    longest = feed.program.longest

    async def run(ctx) -> None:
        for freed in range(len(widest)):
            fitting = sum(sum(widest[freed:number]) <= longest for number in range(len(widest)))
            assert await feed.settle(ctx) == fitting
            assert feed.items[-1]["closes"]  # and nothing of the next one
            await feed.begin(ctx, widest[freed])

    feed.run(run)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_word_a_cycle(count):
    """Also where every order has but one; two cycles more to close a round."""
    feed = Feed(program_of([[count] * LANES] * 3))

    async def run(ctx) -> None:
        assert await feed.settle(ctx) == 3
        between = [later - earlier for earlier, later in zip(feed.cycles, feed.cycles[1:], strict=False)]
        assert between == ([count] * LANES + [2]) * 2 + [count] * LANES

    feed.run(run)


@pytest.mark.parametrize("bus_bits", [16, 32, 64, 128, 256, 512])
def test_headers(bus_bits):
    """An image header, then block headers over it; strobes come once each, when the fields are complete."""
    program = Program(small_config(bus_bits), random.Random(bus_bits))
    program.add_image_header()
    for _ in range(3):
        program.add_descriptor()
    feed, seen = Feed(program), []
    loader = feed.loader

    async def watch(ctx) -> None:
        while len(seen) < 4:
            _, _, header_done, infos_done, image, block = await ctx.tick().sample(
                loader.header_done, loader.infos_done, loader.image_header, loader.block_header)
            if header_done:
                seen.append(plain(image))
            if infos_done:
                seen.append(plain(block))
        while ctx.get(loader.words.valid):  # the last level tables are on their way
            await ctx.tick()
            assert not ctx.get(loader.header_done) and not ctx.get(loader.infos_done)

    feed.run(watch)
    records = [program.image_header, *program.block_headers]
    assert seen == [{name: int(record[name]) for name in record.dtype.names} for record in records]
