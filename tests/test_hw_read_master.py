"""ReadMaster: bursts that AXI4 allows, in the order of the runs, and a way back from every fault."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, check_waiting, no_stalls, run_bench, stalls, stream_get, stream_put, wait
from permfc.config import EngineConfig
from permfc_hw import read_master
from permfc_hw.read_master import MAX_BURST, ReadMaster

PAGE = 4096
IMAGE_PAGE = 0x8000F  # an image that begins at 0x8000_F000

patterns = st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS])


def master_of(bus_bits: int = 32, outstanding: int = 4) -> ReadMaster:
    return ReadMaster(EngineConfig(lanes=4, bus_bits=bus_bits, outstanding=outstanding))


def word_at(address: int, bus_bits: int) -> int:
    """What the memory holds at a byte address."""
    return address * 0x9E3779B97F4A7C15 + address // PAGE & (1 << bus_bits) - 1


class AxiMemory:
    """Answers bursts in order, after checking them against the AXI4 rules."""

    def __init__(self, master: ReadMaster, accepts: Iterator[int] | None = None, answers: Iterator[int] | None = None) -> None:
        self.master = master
        self.bus_bytes = master.config.bus_bytes
        self.accepts, self.answers = accepts or no_stalls(), answers or no_stalls()
        self.bursts: list[tuple[int, int]] = []  # (address, beats) of every burst
        self.waiting: deque[tuple[int, int]] = deque()
        self.accepting = self.answering = True
        self.bad_beats: set[int] = set()  # numbers, from the first on, of beats with an error
        self.wrong_lasts: set[int] = set()  # ... of beats whose RLAST is what it should not be
        self.cuts: set[int] = set()  # ... of beats with RLAST after which the rest of their burst does not come
        self.beats = 0

    async def accept(self, ctx) -> None:
        """The AR channel. A burst that waits must stay as it is."""
        channel, idle, waiting = self.master.address, 0, None
        while True:
            ready = self.accepting and idle == 0
            idle = max(idle - 1, 0)
            ctx.set(channel.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(channel.valid, channel.payload)
            waiting = check_waiting(waiting, valid, [payload])
            if valid and ready:
                self.check(payload.addr, payload.len + 1)
                waiting, idle = None, next(self.accepts)

    def check(self, address: int, beats: int) -> None:
        assert address % self.bus_bytes == 0
        assert 1 <= beats <= MAX_BURST
        assert address // PAGE == (address + beats * self.bus_bytes - 1) // PAGE, f"A burst from {address:#x} crosses 4 KiB"
        self.bursts.append((address, beats))
        self.waiting.append((address, beats))
        assert len(self.waiting) <= self.master.config.outstanding

    async def answer(self, ctx) -> None:
        """The R channel; a beat waits until it is accepted."""
        master = self.master
        while True:
            while not (self.waiting and self.answering):
                await ctx.tick()
            address, beats = self.waiting[0]
            for number in range(beats):
                ended = number == beats - 1 or self.beats in self.cuts
                ctx.set(master.last, ended != (self.beats in self.wrong_lasts))
                ctx.set(master.error, self.beats in self.bad_beats)
                self.beats += 1
                if ended:
                    self.waiting.popleft()
                await stream_put(ctx, master.beats, [word_at(address + number * self.bus_bytes, master.config.bus_bits)], self.answers)
                if ended:
                    break
            ctx.set(master.last, 0)
            ctx.set(master.error, 0)

    @property
    def benches(self) -> list:
        return [self.accept, self.answer]


def random_runs(draw: random.Random, bus_bits: int) -> list[dict]:
    """Short runs and long ones; about half begin where the last one ended, and most of those say so."""
    runs, end = [], 0
    for _ in range(draw.randint(5, 20)):
        joins = bool(runs) and draw.random() < 0.5
        address = end if joins else draw.choice([draw.randrange(2**20), draw.randrange(1, 64) * PAGE * 8 // bus_bits - draw.randrange(4)])
        words = draw.choice([1, 1, 2, 3, 8, draw.randint(1, 40), 150])
        runs.append({"address": address, "words": words, "joins": joins and draw.random() < 0.8})
        end = address + words
    return runs


def words_of(runs: list[dict], bus_bits: int) -> list[int]:
    """What must arrive for ``runs``."""
    base, size = IMAGE_PAGE * PAGE, bus_bits // 8
    return [word_at((base + (run["address"] + number) * size) % 2**32, bus_bits) for run in runs for number in range(run["words"])]


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 64, 512]), st.sampled_from([1, 2, 8]), patterns, patterns, patterns)
@settings(max_examples=8, deadline=None)
def test_words_in_the_order_of_the_runs(seed, bus_bits, outstanding, accepts, answers, receiver):
    draw = random.Random(seed)
    master = master_of(bus_bits, outstanding)
    memory = AxiMemory(master, stalls(seed, accepts), stalls(seed + 1, answers))
    runs = random_runs(draw, bus_bits)
    expected = words_of(runs, bus_bits)

    async def send(ctx) -> None:
        ctx.set(master.image_page, IMAGE_PAGE)
        await stream_put(ctx, master.runs, runs, stalls(seed + 2))

    async def receive(ctx) -> None:
        assert await stream_get(ctx, master.words, len(expected), stalls(seed + 3, receiver)) == expected
        await ctx.tick()
        assert not ctx.get(master.owed) and not ctx.get(master.failed) and not ctx.get(master.timed_out)

    run_bench(master, send, receive, background=memory.benches, deadline=100_000)
    assert sum(beats for _, beats in memory.bursts) == len(expected)  # nothing is read twice, or for nothing


@pytest.mark.parametrize(("bus_bits", "longest"), [(16, 256), (128, 256), (256, 128), (512, 64)])
def test_a_long_run_takes_the_longest_bursts(bus_bits, longest):
    master = master_of(bus_bits)
    memory = AxiMemory(master)
    run = {"address": 3, "words": 600, "joins": 0}

    async def bench(ctx) -> None:
        await stream_put(ctx, master.runs, [run])
        await stream_get(ctx, master.words, 600)

    run_bench(master, bench, background=memory.benches)
    beats = [beats for _, beats in memory.bursts]
    assert beats[0] == longest - 3 and set(beats[1:-1]) <= {longest} and sum(beats) == 600


def test_adjacent_runs_share_a_burst_while_the_memory_is_busy():
    master = master_of(32)
    memory = AxiMemory(master)
    memory.accepting = False
    runs = [{"address": 8, "words": 4, "joins": 0}, *({"address": 12 + 2 * number, "words": 2, "joins": 1} for number in range(10))]
    apart = {"address": 500, "words": 3, "joins": 0}

    async def send(ctx) -> None:
        await stream_put(ctx, master.runs, runs)
        await wait(ctx, 5)
        memory.accepting = True
        await stream_put(ctx, master.runs, [apart])

    async def receive(ctx) -> None:
        await stream_get(ctx, master.words, 27)

    run_bench(master, send, receive, background=memory.benches)
    assert memory.bursts == [(8 * 4, 4), (12 * 4, 20), (500 * 4, 3)]


@pytest.mark.parametrize("outstanding", [1, 2, 16])
def test_no_more_bursts_wait_than_agreed(outstanding):
    master = master_of(32, outstanding)
    memory = AxiMemory(master)
    memory.answering = False
    runs = [{"address": 100 * number, "words": 2, "joins": 0} for number in range(outstanding + 3)]

    async def send(ctx) -> None:
        await stream_put(ctx, master.runs, runs)

    async def receive(ctx) -> None:
        await wait(ctx, 8 * outstanding + 20)
        assert len(memory.bursts) == outstanding
        memory.answering = True
        await stream_get(ctx, master.words, 2 * len(runs))

    run_bench(master, send, receive, background=memory.benches)
    assert len(memory.bursts) == len(runs)


@pytest.mark.parametrize("received", [0, 1, 5, 100])
@pytest.mark.parametrize("accepting", [False, True])
def test_flush_drops_answers_and_recovers(received, accepting):
    """Also when a burst's address still waits to be accepted, and then must stay."""
    master = master_of(32, outstanding=2)
    memory = AxiMemory(master, answers=stalls(received))
    after = [{"address": 7, "words": 5, "joins": 0}, {"address": 12, "words": 600, "joins": 1}]
    offered = [True]

    async def send(ctx) -> None:
        ctx.set(master.image_page, IMAGE_PAGE)
        for address in range(0, 10**6, 5000):
            ctx.set(master.runs.payload, {"address": address, "words": 900, "joins": 0})
            ctx.set(master.runs.valid, 1)
            ready = 0
            while not ready and offered:
                _, _, ready = await ctx.tick().sample(master.runs.ready)
            if not offered:
                break
        ctx.set(master.runs.valid, 0)

    async def receive(ctx) -> None:
        await stream_get(ctx, master.words, received)
        memory.accepting = accepting
        await wait(ctx, 5)
        offered.clear()
        ctx.set(master.flush, 1)
        await wait(ctx, 30)
        memory.accepting = True
        cycles = 30
        while ctx.get(master.owed):
            assert not ctx.get(master.words.valid)
            await ctx.tick()
            cycles += 1
        asked = len(memory.bursts)
        await wait(ctx, 70 - min(cycles, 60))
        assert len(memory.bursts) == asked  # what was not asked for is forgotten
        ctx.set(master.flush, 0)
        for run in after:
            await stream_put(ctx, master.runs, [run])
            assert await stream_get(ctx, master.words, run["words"]) == words_of([run], 32)

    run_bench(master, send, receive, background=memory.benches)


@pytest.mark.parametrize("bad", [0, 4, 9])
def test_an_error_is_remembered_until_the_flush(bad):
    master = master_of(32)
    memory = AxiMemory(master)
    memory.bad_beats = {bad}
    run = {"address": 0, "words": 10, "joins": 0}

    async def bench(ctx) -> None:
        await stream_put(ctx, master.runs, [run])
        await stream_get(ctx, master.words, bad)
        assert not ctx.get(master.failed)
        await stream_get(ctx, master.words, 10 - bad)
        assert ctx.get(master.failed)
        ctx.set(master.flush, 1)
        await wait(ctx, 3)
        assert not ctx.get(master.failed)
        ctx.set(master.flush, 0)
        await stream_put(ctx, master.runs, [run])
        await stream_get(ctx, master.words, 10)
        assert not ctx.get(master.failed)

    run_bench(master, bench, background=memory.benches)


def test_errors_of_dropped_answers_do_not_count():
    master = master_of(32)
    memory = AxiMemory(master)
    memory.bad_beats = set(range(8))
    memory.answering = False

    async def bench(ctx) -> None:
        await stream_put(ctx, master.runs, [{"address": 0, "words": 8, "joins": 0}])
        await wait(ctx, 10)
        ctx.set(master.flush, 1)
        memory.answering = True
        await wait(ctx, 30)
        assert memory.beats == 8 and not ctx.get(master.owed)
        ctx.set(master.flush, 0)
        await wait(ctx, 2)
        assert not ctx.get(master.failed)

    run_bench(master, bench, background=memory.benches)


@pytest.mark.parametrize("accepting", [False, True])
def test_a_silent_memory_times_out(monkeypatch, accepting):
    """It did not take the address, or did not answer it. Slow is not silent."""
    monkeypatch.setattr(read_master, "TIMEOUT_BITS", 6)
    limit = 1 << 6
    master = master_of(32, outstanding=2)
    memory = AxiMemory(master, answers=stalls(1, (limit - 10,)))

    async def bench(ctx) -> None:
        ctx.set(master.flush, 1)
        await wait(ctx, 3 * limit)  # between runs nothing is owed
        ctx.set(master.flush, 0)
        await stream_put(ctx, master.runs, [{"address": 0, "words": 4, "joins": 0}])
        await stream_get(ctx, master.words, 4)
        await ctx.tick()
        assert not ctx.get(master.timed_out)
        memory.accepting, memory.answering = accepting, False
        await stream_put(ctx, master.runs, [{"address": 0, "words": 4, "joins": 0}])
        await wait(ctx, limit - 10)
        assert ctx.get(master.owed) and not ctx.get(master.timed_out)
        await wait(ctx, 20)
        assert ctx.get(master.timed_out)
        ctx.set(master.flush, 1)
        await wait(ctx, 2)
        assert not ctx.get(master.timed_out)
        memory.accepting = memory.answering = True
        while ctx.get(master.owed):
            await ctx.tick()
        ctx.set(master.flush, 0)
        await stream_put(ctx, master.runs, [{"address": 9, "words": 1, "joins": 0}])
        assert await stream_get(ctx, master.words, 1) == [word_at(9 * 4, 32)]
        assert not ctx.get(master.timed_out)

    run_bench(master, bench, background=memory.benches)


def test_a_slow_receiver_is_not_a_silent_memory(monkeypatch):
    monkeypatch.setattr(read_master, "TIMEOUT_BITS", 6)
    master = master_of(32)
    memory = AxiMemory(master)

    async def bench(ctx) -> None:
        await stream_put(ctx, master.runs, [{"address": 0, "words": 2, "joins": 0}])
        assert await stream_get(ctx, master.words, 2, stalls(1, (300,))) == [word_at(0, 32), word_at(4, 32)]
        assert not ctx.get(master.timed_out)

    run_bench(master, bench, background=memory.benches)
