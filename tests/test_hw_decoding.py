"""RoundControl, IndexDecoder and Lane: segments of the packer's code come out as level numbers and products, output after output."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Elaboratable, Module, Mux, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import run_bench, wait
from hw_rounds import LONG_CODE, SIZES, CodedSegment, collect, put_round, random_segment, table_bank_is_free
from permfc.config import EngineConfig
from permfc_hw.index_decoder import IndexDecoder
from permfc_hw.lane import Lane
from permfc_hw.memory import WideMemory
from permfc_hw.round_control import RoundControl

seeds = st.integers(0, 2**32 - 1)
bus_widths = st.sampled_from([16, 32, 64, 128])
LATE = (0, 0, 0, 1, 2, 3, 30)  # cycles that a complete round waits before it is handed over


def small_config(bus_bits: int, levels: int = 16) -> EngineConfig:
    return EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=128, features=16, levels=levels)


def turns(outputs: int) -> int:
    """Turns of two cycles from a round's first output to that of the next, when that one is not late."""
    return max(2, -(-outputs // 2)) + 1


class TestRoundControl:
    """The beat itself."""

    def test_rounds_follow_each_other_without_a_gap(self):
        control = RoundControl(small_config(32))
        rng = np.random.default_rng(1)
        sizes = [*SIZES, 127, 128, *rng.choice(SIZES, 20).tolist()]
        starts = []

        async def feed(ctx) -> None:
            for outputs in sizes:
                await put_round(ctx, control, outputs, 0, 0)

        async def watch(ctx) -> None:
            cycle, before = 0, 0
            while len(starts) < len(sizes):
                _, _, valid, end = await ctx.tick().sample(control.tag.valid, control.tag.end)
                cycle += 1
                if valid and not before:
                    starts.append(cycle)
                before = valid and not end

        run_bench(control, feed, watch)
        assert np.diff(starts).tolist() == [2 * turns(outputs) for outputs in sizes[:-1]]

    @given(seeds)
    @settings(max_examples=10, deadline=None)
    def test_tags_tell_the_place_of_each_output(self, seed):
        control = RoundControl(small_config(32))
        rng = np.random.default_rng(seed)
        rounds = [(int(rng.choice(SIZES)), int(rng.integers(2)), int(rng.integers(2)), int(rng.choice(LATE))) for _ in range(12)]
        tags = []

        async def feed(ctx) -> None:
            for outputs, first, last, late in rounds:
                await wait(ctx, late)
                half = ctx.get(control.fill_half)
                await put_round(ctx, control, outputs, first, last)
                assert ctx.get(control.fill_half) != half
                assert ctx.get(control.decoding)

        async def watch(ctx) -> None:
            expected = sum(outputs for outputs, *_ in rounds)
            while len(tags) < expected:
                _, _, tag, odd = await ctx.tick().sample(control.tag, control.control.odd)
                if tag.valid:
                    tags.append((tag.first, tag.last, tag.end, odd))
            while ctx.get(control.decoding):
                _, _, tag = await ctx.tick().sample(control.tag)
                assert not tag.valid

        run_bench(control, feed, watch)
        assert tags == [(first, last, output == outputs - 1, output % 2) for outputs, first, last, _ in rounds for output in range(outputs)]

    def test_without_rounds_nothing_happens(self):
        control = RoundControl(small_config(32))

        async def bench(ctx) -> None:
            for _ in range(40):
                await ctx.tick()
                assert ctx.get(control.fill_go) and not ctx.get(control.tag.valid) and not ctx.get(control.decoding)

        run_bench(control, bench)


class BufferedDecoder(Elaboratable):
    """IndexDecoder with its surroundings: the beat, a segment buffer that answers one cycle after the address, and a level table."""

    latency = IndexDecoder.latency + 1

    def __init__(self, config: EngineConfig) -> None:
        self.half_words = config.segment_bytes // config.bus_bytes
        self.control = RoundControl(config)
        self.buffer = WideMemory(word_bits=config.bus_bits, unit_bits=8, units=2 * config.segment_bytes)
        self.decoder = IndexDecoder(segment_bytes=config.segment_bytes, word_bytes=config.bus_bytes)
        self.number = Signal(5)  # of an entry of the level table; 16 for the zeros of a run

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control, m.submodules.buffer, m.submodules.decoder = self.control, self.buffer, self.decoder
        level = Signal.like(self.decoder.level)
        m.d.comb += [
            self.decoder.control.eq(self.control.control),
            self.buffer.read_address.eq(self.decoder.address),
            self.decoder.byte.eq(self.buffer.read_data),
            self.number.eq(Mux(self.decoder.running, 16, level)),
        ]
        m.d.sync += level.eq(self.decoder.level)
        return m

    async def fill(self, ctx, segment: CodedSegment, bus_bits: int) -> None:
        """A segment and its code for the next round."""
        half = ctx.get(self.control.fill_half)
        words = segment.words(bus_bits)
        ctx.set(self.buffer.write_en, 1)
        for number, word in enumerate(words):
            ctx.set(self.buffer.write_address, half * self.half_words + number)
            ctx.set(self.buffer.write_data, word)
            await ctx.tick()
        ctx.set(self.buffer.write_en, 0)
        ctx.set(self.decoder.last_word, len(words) - 1)
        await table_bank_is_free(ctx, self.control)
        ctx.set(self.decoder.code_en, 1)
        ctx.set(self.decoder.code_bank, half)
        for number, aux in enumerate(segment.table["aux"].tolist()):
            ctx.set(self.decoder.code, {"number": number, "aux": aux})
            await ctx.tick()
        ctx.set(self.decoder.code_en, 0)


class TestIndexDecoder:
    """Entries of the level table."""

    @given(seeds, bus_widths, st.booleans())
    @settings(max_examples=12, deadline=None)
    def test_decodes_what_the_packer_coded(self, seed, bus_bits, punctual):
        rng = np.random.default_rng(seed)
        box = BufferedDecoder(small_config(bus_bits))
        sizes = [*rng.choice(SIZES, 9).tolist(), sum(LONG_CODE), 128]
        rng.shuffle(sizes)
        segments = [random_segment(rng, outputs, bus_bits) for outputs in sizes]

        async def feed(ctx) -> None:
            for segment in segments:
                await box.fill(ctx, segment, bus_bits)
                await wait(ctx, 0 if punctual else int(rng.choice(LATE)))
                await put_round(ctx, box.control, len(segment.weights), 0, 0)

        async def check(ctx) -> None:
            found = await collect(ctx, box.control, box.number, box.latency, len(segments))
            for numbers, segment in zip(found, segments, strict=True):
                levels = [*segment.table["level"].tolist(), 0]
                assert [levels[number] for number in numbers] == segment.weights.tolist()

        run_bench(box, feed, check)


class PacedLanes(Elaboratable):
    """Lanes on one beat. They share what comes from the loader but for the enables."""

    def __init__(self, config: EngineConfig, count: int) -> None:
        self.control = RoundControl(config)
        self.lanes = [Lane(config) for _ in range(count)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control = self.control
        for number, lane in enumerate(self.lanes):
            m.submodules[f"lane{number}"] = lane
            m.d.comb += lane.control.eq(self.control.control)
        return m


async def fill_lane(ctx, lane: Lane, control: RoundControl, segment: CodedSegment, bus_bits: int) -> None:
    """A feature for the next round."""
    half = ctx.get(control.fill_half)
    words = segment.words(bus_bits)
    ctx.set(lane.word_en, 1)
    for number, word in enumerate(words):
        ctx.set(lane.word, {"half": half, "last": number == len(words) - 1, "word": number})
        ctx.set(lane.word_data, word)
        await ctx.tick()
    ctx.set(lane.word_en, 0)
    ctx.set(lane.word, {"half": half, "last": 1, "word": 0})  # another lane's
    await table_bank_is_free(ctx, control)
    ctx.set(lane.fill_en, 1)
    for number, (level, aux) in enumerate(segment.table.tolist()):
        ctx.set(lane.fill, {"code": {"number": number, "aux": aux}, "product": level * segment.x, "bank": half})
        await ctx.tick()
    ctx.set(lane.fill_en, 0)


class TestLane:
    """Products."""

    @given(seeds, bus_widths, st.sampled_from([8, 16]))
    @settings(max_examples=8, deadline=None)
    def test_products_of_lanes_in_step(self, seed, bus_bits, levels):
        """Each round fills some of the lanes; the others contribute zeros, whatever they did before."""
        rng = np.random.default_rng(seed)
        config = small_config(bus_bits, levels)
        box = PacedLanes(config, count=3)
        rounds = []
        for outputs in rng.choice(SIZES, 8).tolist():
            filled = rng.random(len(box.lanes)) < 0.6
            rounds.append((outputs, [random_segment(rng, outputs, bus_bits, levels) if fill else None for fill in filled]))

        async def feed(ctx) -> None:
            for outputs, segments in rounds:
                for lane, segment in zip(box.lanes, segments, strict=True):
                    if segment is not None:
                        await fill_lane(ctx, lane, box.control, segment, bus_bits)
                await table_bank_is_free(ctx, box.control)
                await wait(ctx, int(rng.choice(LATE)))
                await put_round(ctx, box.control, outputs, 0, 0)

        def checker(number: int):
            async def check(ctx) -> None:
                found = await collect(ctx, box.control, box.lanes[number].product, Lane.latency, len(rounds))
                segments = [segments[number] for _, segments in rounds]
                zeros = [[0] * outputs for outputs, _ in rounds]
                assert found == [zero if segment is None else segment.products() for zero, segment in zip(zeros, segments, strict=True)]
            return check

        run_bench(box, feed, *(checker(number) for number in range(len(box.lanes))))
