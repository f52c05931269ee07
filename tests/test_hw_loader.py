"""Loader: every word of a program reaches the memory its order names, and waits while that is in use."""

from __future__ import annotations

import random
from collections import deque

import pytest
from amaranth.hdl import ResetInserter, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, plain, run_bench, stalls, stream_put, strobe, wait
from hw_programs import LANES, TABLE_WORDS, Program, program_of, random_program, small_config
from permfc_hw.headers import BLOCK_HEADER_LAYOUT, IMAGE_HEADER_LAYOUT
from permfc_hw.loader import ROUNDS_AHEAD, Loader


def meaning(item) -> dict:
    """The fields of a feeder's item that mean something."""
    if item.closes:
        return {"closes": 1, **plain(item.of.round)}
    return {"closes": 0, **plain(item.of.assignment.feature), "table": item.of.assignment.table, "pair": item.of.assignment.pair}


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
            await strobe(ctx, loader.round_begun)
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


def test_words_may_be_free_when_a_round_is_complete():
    """In the same cycle: of long segments the buffers hold but two rounds, so no word may get lost."""
    feed = Feed(program_of([[8] * LANES] * 5))
    loader = feed.loader

    async def run(ctx) -> None:
        for freed in (0, 8, 8, 8, 8):
            while not (ctx.get(loader.item_en) and ctx.get(loader.item.closes)):
                await ctx.tick()
            await feed.begin(ctx, freed)

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
    records, layouts = [program.image_header, *program.block_headers], [IMAGE_HEADER_LAYOUT, *[BLOCK_HEADER_LAYOUT] * 3]
    assert seen == [{name: int(record[name]) for name, _ in layout} for record, layout in zip(records, layouts, strict=True)]
