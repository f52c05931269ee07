"""Registers and Counters: the host's view over AXI4-Lite, under stalls on each channel."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, run_bench, stalls, stream_get, stream_put, strobe, wait
from permfc.config import EngineConfig
from permfc.format import MAGIC, VERSION, Control, ErrorCode, Register, Status
from permfc_hw.registers import Registers

COUNTED = {
    Register.CYCLES: "running",
    Register.BEATS: "beat",
    Register.SEGMENTS_FETCHED: "fetched",
    Register.CYCLES_STARVED: "starved",
    Register.CYCLES_STALLED: "stalled",
}
ANSWER_CYCLES = 10  # promised by the docstring


def registers() -> Registers:
    return Registers(EngineConfig())


async def read(ctx, box: Registers, address: int, pauses=None) -> int:
    await stream_put(ctx, box.read_address, [address], pauses)
    value, = await stream_get(ctx, box.read_data, 1, pauses)
    return value


async def write(ctx, box: Registers, address: int, value: int, address_late: int = 0, data_late: int = 0, response_late: int = 0) -> None:
    """A write whose channels come at their own times."""
    channels = {"address": (box.write_address, address, address_late), "data": (box.write_data, value, data_late)}
    waiting = set(channels)
    cycle = 0
    while waiting:
        for name, (channel, payload, late) in channels.items():
            ctx.set(channel.valid, name in waiting and cycle >= late)
            ctx.set(channel.payload, payload)
        _, _, *taken = await ctx.tick().sample(*(channel.valid & channel.ready for channel, _, _ in channels.values()))
        waiting -= {name for name, done in zip(channels, taken, strict=True) if done}
        cycle += 1
    ctx.set(box.write_address.valid, 0)
    ctx.set(box.write_data.valid, 0)
    assert ctx.get(box.write_response.valid)
    await stream_get(ctx, box.write_response, 1, iter([response_late]))
    assert not ctx.get(box.write_response.valid)


@pytest.mark.parametrize("config", [
    EngineConfig(),
    EngineConfig(lanes=64, bus_bits=512, block_outputs=4096, features=32768, levels=16, outstanding=64, accumulator_bits=32),
    EngineConfig(lanes=4, bus_bits=16, block_outputs=16, features=16, levels=8, outstanding=1, accumulator_bits=16, tables=False),
], ids=["default", "largest", "smallest"])
def test_constants(config):
    box = Registers(config)

    async def bench(ctx) -> None:
        assert await read(ctx, box, Register.ID) == MAGIC
        assert await read(ctx, box, Register.VERSION) == VERSION
        first, second, third = [await read(ctx, box, register) for register in (Register.CONFIG0, Register.CONFIG1, Register.CONFIG2)]
        assert [first >> shift & 0xFF for shift in (0, 8, 16, 24)] == [
            config.lanes, config.bus_bytes.bit_length() - 1, config.levels, config.outstanding]
        assert (second & 0xFFFF, second >> 16) == (config.block_outputs, config.features)
        assert third == config.accumulator_bits | config.tables << 8

    run_bench(box, bench)


def test_reads_follow_each_other():
    """An address is not taken while the answer before waits."""
    box = registers()
    addresses = [Register.ID, Register.CYCLES, Register.VERSION, Register.ID, Register.CONFIG2]

    async def ask(ctx) -> None:
        await stream_put(ctx, box.read_address, addresses)

    async def receive(ctx) -> None:
        values = await stream_get(ctx, box.read_data, len(addresses), stalls(1, (12, 0)))
        assert values == [MAGIC, 0, VERSION, MAGIC, EngineConfig().accumulator_bits | 1 << 8]

    run_bench(box, ask, receive)


def test_image_base_keeps_whole_pages():
    box = registers()

    async def bench(ctx) -> None:
        assert await read(ctx, box, Register.IMAGE_BASE) == 0
        await write(ctx, box, Register.IMAGE_BASE, 0xDEADBEEF)
        assert await read(ctx, box, Register.IMAGE_BASE) == 0xDEADB000
        assert ctx.get(box.image_page) == 0xDEADB

    run_bench(box, bench)


def test_writes_elsewhere_have_no_effect():
    box = registers()

    async def bench(ctx) -> None:
        before = [await read(ctx, box, address) for address in range(0, 256, 4)]
        for address in range(0, 256, 4):
            if address not in (Register.CONTROL, Register.IMAGE_BASE):
                await write(ctx, box, address, 0xFFFFFFFF)
                assert not ctx.get(box.start) and not ctx.get(box.clear)
        assert [await read(ctx, box, address) for address in range(0, 256, 4)] == before
        assert not any(before[len(Register):])

    run_bench(box, bench)


@pytest.mark.parametrize("late", [(0, 0, 0), (5, 0, 0), (0, 5, 0), (0, 0, 5), (1, 2, 9), (2, 1, 1)])
def test_address_data_and_response_at_their_own_times(late):
    box = registers()

    async def bench(ctx) -> None:
        for page in (3, 0xFFFFF, 0x5A5A5):
            await write(ctx, box, Register.IMAGE_BASE, page << 12, *late)
            assert ctx.get(box.image_page) == page

    run_bench(box, bench)


def test_start_stays_until_it_is_taken():
    box = registers()

    async def bench(ctx) -> None:
        assert await read(ctx, box, Register.STATUS) == 0
        await write(ctx, box, Register.CONTROL, Control.START)
        assert ctx.get(box.start) and not ctx.get(box.clear)
        assert await read(ctx, box, Register.STATUS) == Status.BUSY  # a start that waits for the results' way out is busy, too
        await wait(ctx, 20)
        assert ctx.get(box.start)
        await strobe(ctx, box.started)
        ctx.set(box.busy, 1)
        assert not ctx.get(box.start)

    run_bench(box, bench)


def test_an_image_base_written_after_a_start_is_the_next_run_s():
    """From the moment in which the start is asked for, which may wait; a read gives what was written."""
    box = registers()

    async def bench(ctx) -> None:
        for page in (3, 0xFFFFF, 0x5A5A5):
            await write(ctx, box, Register.IMAGE_BASE, page << 12)
            await write(ctx, box, Register.CONTROL, Control.START)
            await rewrite(ctx, page, page ^ 0xF0F)
            await strobe(ctx, box.started)
            ctx.set(box.busy, 1)
            await rewrite(ctx, page, page ^ 0xFF)
            ctx.set(box.busy, 0)
            await wait(ctx, 2)
            assert ctx.get(box.image_page) == page ^ 0xFF

    async def rewrite(ctx, page: int, other: int) -> None:
        await write(ctx, box, Register.IMAGE_BASE, other << 12)
        assert await read(ctx, box, Register.IMAGE_BASE) == other << 12
        assert ctx.get(box.image_page) == page

    run_bench(box, bench)


def test_clear_is_a_strobe():
    box = registers()
    seen = []

    async def bench(ctx) -> None:
        await write(ctx, box, Register.CONTROL, Control.CLEAR)
        await write(ctx, box, Register.CONTROL, 0)
        await wait(ctx, 5)
        assert not ctx.get(box.start)

    async def watch(ctx) -> None:
        while True:
            _, _, clear = await ctx.tick().sample(box.clear)
            seen.append(clear)

    run_bench(box, bench, background=[watch])
    assert sum(seen) == 1


def test_a_busy_engine_is_not_started_or_cleared():
    box = registers()

    async def bench(ctx) -> None:
        ctx.set(box.busy, 1)
        for command in (Control.START, Control.CLEAR, Control.START | Control.CLEAR):
            await write(ctx, box, Register.CONTROL, command, response_late=3)
            assert not ctx.get(box.start) and not ctx.get(box.clear)

    run_bench(box, bench)


def test_status():
    box = registers()

    async def bench(ctx) -> None:
        for busy in (0, 1):
            for done in (0, 1):
                for number, error in enumerate(ErrorCode):
                    results = (number + done) % 2
                    ctx.set(box.busy, busy)
                    ctx.set(box.done, done)
                    ctx.set(box.error, error)
                    ctx.set(box.results, results)
                    expected = Status.BUSY * busy | Status.DONE * done | Status.RESULTS * results | error << 8
                    assert await read(ctx, box, Register.STATUS) == expected

    run_bench(box, bench)


class EventSource:
    """Random events, and what the counters must make of them."""

    def __init__(self, box: Registers, seed: int) -> None:
        self.box, self.draw = box, random.Random(seed)
        self.counts: Counter = Counter()
        self.active = True

    async def restart(self, ctx) -> None:
        await strobe(ctx, self.box.started)
        self.counts.clear()

    async def run(self, ctx, cycles: int) -> None:
        """A run of so many cycles; features are announced, then some of their segments fetched."""
        share = {name: self.draw.choice([0.05, 0.5, 0.95]) for name in ("beat", "starved", "stalled")}
        unfetched = 0
        for cycle in range(cycles):
            events = {name: int(self.draw.random() < chance) for name, chance in share.items()}
            begins = cycle % 40 == 10
            features = self.draw.choice([1, 40, 65535]) if begins else self.draw.getrandbits(16)
            unfetched += features if begins else 0
            events["fetched"] = int(unfetched > 0 and not begins and self.draw.random() < 0.3)
            unfetched -= events["fetched"]
            ctx.set(self.box.events, {"running": 1, "features_en": begins, "features": features, **events})
            await ctx.tick()
            self.counts.update({"running": 1, "skipped": features * begins - events["fetched"], **events})
        ctx.set(self.box.events, {"running": 0, "beat": 1, "fetched": 0, "starved": 1, "stalled": 1, "features_en": 0, "features": 9})

    async def check(self, ctx) -> None:
        """The final values."""
        for register, name in {**COUNTED, Register.SEGMENTS_SKIPPED: "skipped"}.items():
            assert await read(ctx, self.box, register) == self.counts[name], name


@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
@settings(max_examples=10, deadline=None)
def test_counters_of_run_after_run(seed, cycles):
    """Events outside a run do not count; a start begins from zero, whatever the counters' turn is."""
    box = registers()
    source = EventSource(box, seed)

    async def bench(ctx) -> None:
        for _ in range(3):
            await wait(ctx, source.draw.randrange(8))
            await source.restart(ctx)
            await source.run(ctx, cycles)
            await wait(ctx, source.draw.randrange(20))
            await source.check(ctx)
            await source.check(ctx)

    run_bench(box, bench)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS]))
@settings(max_examples=6, deadline=None)
def test_counters_read_while_they_count(seed, pattern):
    """A value is one that the counter had between request and answer, which takes at most ten cycles."""
    box = registers()
    source = EventSource(box, seed)

    async def run(ctx) -> None:
        await source.restart(ctx)
        await source.run(ctx, 400)
        source.active = False

    async def host(ctx) -> None:
        pauses = stalls(seed, pattern)
        await wait(ctx, 12)
        while source.active:
            register, name = source.draw.choice(list(COUNTED.items()))
            await stream_put(ctx, box.read_address, [register], pauses)
            before, cycles = source.counts[name], 0
            while not ctx.get(box.read_data.valid):
                await ctx.tick()
                cycles += 1
            assert cycles <= ANSWER_CYCLES
            after = source.counts[name]
            value, = await stream_get(ctx, box.read_data, 1, pauses)
            assert before - 1 <= value <= after  # an event counts one cycle after it happened

    run_bench(box, run, host)
