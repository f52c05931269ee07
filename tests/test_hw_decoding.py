"""IndexDecoder and Lane: segments of the packer's code come out as levels at their places, and as sums of products."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import run_bench
from hw_rounds import (
    CodedSegment,
    LaneDriver,
    LanePorts,
    LaneRound,
    coded_class,
    collect,
    gapless_turns,
    long_codewords,
    random_activation,
    random_block,
    random_class,
    round_is_over,
    swept_sums,
)
from permfc.config import EngineConfig
from permfc.format import MAX_SPARSE_LEVELS
from permfc.network.segments import Kind, Segments
from permfc.network.sparse import most_rice
from permfc_hw.index_decoder import IndexDecoder
from permfc_hw.lane import Lane
from permfc_hw.memory import WideMemory
from permfc_hw.round_control import RoundControl

seeds = st.integers(0, 2**32 - 1)
configs = st.sampled_from([
    # The smallest buffer, one that many segments fit in, and one in which streams are too long for a place to have a bit to spare.
    EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=block_outputs, features=16)
    for bus_bits, block_outputs in ((16, 16), (128, 16), (32, 128), (128, 128), (16, 128), (64, 256))])
RING = EngineConfig(lanes=4, bus_bits=32, block_outputs=128, features=16)


class BufferedDecoder(Elaboratable):
    """IndexDecoder with its surroundings: the beat, a segment buffer that answers one cycle after the address, and the choice of banks."""

    def __init__(self, config: EngineConfig) -> None:
        self.control = RoundControl(config)
        self.ports = LanePorts(config, 1)
        self.buffer = WideMemory(word_bits=config.bus_bits, unit_bits=8, units=2 * config.segment_bytes)
        self.decoder = IndexDecoder(buffer_bytes=2 * config.segment_bytes, word_bytes=config.bus_bytes, block_outputs=config.block_outputs)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control, m.submodules.buffer, m.submodules.decoder = control, buffer, decoder = self.control, self.buffer, self.decoder
        ports, filled, last_word = self.ports, Signal(), Signal.like(decoder.last_word)
        with m.If(control.control.swap):
            m.d.sync += [decoder.bank.eq(decoder.bank ^ filled), filled.eq(0)]
        with m.If(ports.entry_en):
            m.d.sync += filled.eq(1)
        with m.If(ports.feature_en):
            m.d.sync += last_word.eq(ports.feature.last_word)
        m.d.comb += [
            decoder.control.eq(control.control), decoder.code_en.eq(ports.entry_en), decoder.code.eq(ports.entry.code),
            decoder.byte.eq(buffer.read_data), decoder.last_word.eq(last_word), buffer.read_address.eq(decoder.address),
            buffer.write_en.eq(ports.word_en), buffer.write_address.eq(ports.word), buffer.write_data.eq(ports.word_data),
        ]
        return m

    async def codewords(self, ctx, count: int) -> list[list[tuple[int, int, int, int]]]:
        """Of ``count`` rounds, of which another one follows, each codeword's stream, turn, place and level number."""
        control, decoder = self.control.control, self.decoder
        rounds, begun, cycle = [], [0, 0], 0  # cycles of the round
        while len(rounds) <= count:
            _, _, begin, past, place, level = await ctx.tick().sample(control.begin, decoder.past, decoder.place, decoder.level)
            cycle += 1
            if begun == [0, 1]:  # stage 3 said so for the even outputs: now they are in stage 4, and the first codeword comes two cycles later
                rounds.append([])
                cycle = 0
            if rounds and not past:
                rounds[-1].append((cycle % 2, cycle // 2 - 1, place, level))
            begun = [begun[1], begin]
        return rounds[:count]


def check_codewords(round_: LaneRound, codewords: list[tuple[int, int, int, int]]) -> None:
    """Levels are at their outputs, zero where no codeword is; none comes after the round's turns, and streams go forwards."""
    weights = np.zeros(round_.outputs, dtype=int)
    for stream in (0, 1):
        outputs = (round_.outputs + 1 - stream) // 2
        places = [place for parity, _, place, _ in codewords if parity == stream]
        assert places == sorted(set(places), reverse=True) and all(place < outputs for place in places)
    segment, turns = round_.segments.get(0), round_.payload(8)["turns"]
    for stream, turn, place, level in codewords:
        outputs = (round_.outputs + 1 - stream) // 2
        weights[2 * (outputs - 1 - place) + stream] = segment.table["level"][level] if segment else 1
        assert turn < turns or not segment or segment.table["level"][level] == 0
    if segment is None:
        assert [turn for _, turn, _, _ in codewords] == [output // 2 for output in range(round_.outputs)]
    assert weights.tolist() == (segment.weights.tolist() if segment else [1] * round_.outputs)


def decode(config: EngineConfig, rounds: list[LaneRound], seed: int | None = None) -> list[list[tuple[int, int, int, int]]]:
    """The codewords of every round."""
    box = BufferedDecoder(config)
    driver = LaneDriver(config, box.ports, box.control, [*rounds, LaneRound(1, sweep=True)], seed)
    found = []

    async def check(ctx) -> None:
        found.extend(await box.codewords(ctx, len(rounds)))

    run_bench(box, driver.loader.load, driver.feed, check, background=[driver.loader.watch])
    return found


def one_segment(segments: Segments, config: EngineConfig = RING) -> LaneRound:
    return LaneRound(segments.outputs, {0: coded_class(segments, config.bus_bits)[0][0].of(1)})


class TestIndexDecoder:
    """Entries of the level table, each at its place."""

    @given(seeds, configs, st.booleans())
    @settings(max_examples=10, deadline=None)
    def test_decodes_what_the_packer_coded(self, seed, config, punctual):
        rng = np.random.default_rng(seed)
        rounds = sum((random_block(rng, config, 1) for _ in range(4)), [])
        for round_, codewords in zip(rounds, decode(config, rounds, None if punctual else seed), strict=True):
            check_codewords(round_, codewords)

    def test_codewords_of_all_lengths(self):
        rng = np.random.default_rng(3)
        rounds = [one_segment(long_codewords(rng, 1)) for _ in range(3)]
        for round_, codewords in zip(rounds, decode(RING, rounds), strict=True):
            assert len(set(round_.segments[0].table["aux"][:7].tolist())) == 7
            check_codewords(round_, codewords)

    @pytest.mark.parametrize("levels", range(1, MAX_SPARSE_LEVELS + 1))
    def test_every_code_of_a_sparse_class(self, levels):
        """A codeword takes a turn, whatever number of zeros it stands for."""
        rng = np.random.default_rng(levels)
        rounds = []
        for rice in range(most_rice(levels) + 1):
            nonzero = rng.random(128) < 1 / (1 + 2**rice)
            nonzero[rng.integers(128)] = True
            indices = np.where(nonzero, rng.integers(1, levels + 1, 128), 0).astype(np.uint8)
            rounds.append(one_segment(Segments.sparse(0, np.array([-128, 127, -1, 64], dtype=np.int8)[:levels], indices[None], rice=rice)))
        for round_, codewords in zip(rounds, decode(RING, rounds), strict=True):
            check_codewords(round_, codewords)
            assert max(turn for _, turn, _, level in codewords if level >= 4) + 1 == round_.segments[0].turns

    @pytest.mark.parametrize("kind", [Kind.PREFIX, Kind.SPARSE])
    def test_streams_as_long_as_they_may_be(self, kind):
        """From the first place of the longest stream on, and beyond the last one by the longest run."""
        rng = np.random.default_rng(4)
        config = EngineConfig(lanes=4, bus_bits=64, block_outputs=256, features=16)
        classes = [random_class(rng, outputs, config.bus_bits, kind) for outputs in (256, 255, 256)]
        rounds = [LaneRound(len(features[0][0].weights), {0: features[0][0]}) for features in classes]
        for round_, codewords in zip(rounds, decode(config, rounds), strict=True):
            check_codewords(round_, codewords)

    def test_zeros_at_the_end_are_not_waited_for(self):
        """The round of a segment with one nonzero weight is over after the fewest turns, and the next one is decoded from its first bit."""
        indices = np.zeros((1, 128), dtype=np.uint8)
        indices[0, 5] = 1
        short = one_segment(Segments.sparse(0, np.array([7], dtype=np.int8), indices, rice=0))
        full = one_segment(Segments.sparse(0, np.array([9, -9], dtype=np.int8), 1 + indices, rice=0))
        rounds = [short, short, full, short, full]
        for round_, codewords in zip(rounds, decode(RING, rounds), strict=True):
            check_codewords(round_, codewords)
            assert len(codewords) == 128 if round_ is full else len(codewords) < 128 // 4


class PacedLanes(Elaboratable):
    """Lanes on one beat."""

    def __init__(self, config: EngineConfig, count: int) -> None:
        self.control = RoundControl(config)
        self.ports = LanePorts(config, count)
        self.lanes = [Lane(config) for _ in range(count)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control = self.control
        for number, lane in enumerate(self.lanes):
            m.submodules[f"lane{number}"] = lane
            self.ports.connect(m, number, lane)
            m.d.comb += lane.control.eq(self.control.control)
        return m


def check_sums(config: EngineConfig, rounds: list[LaneRound], count: int, seed: int | None = None) -> list[int]:
    """Lanes show the right sums in every sweep. Cycles from each round's beginning to the next one's."""
    box = PacedLanes(config, count)
    driver = LaneDriver(config, box.ports, box.control, rounds, seed)
    taken = []

    def checker(number: int):
        expected = swept_sums(rounds, number)

        async def check(ctx) -> None:
            assert await collect(ctx, box.control, box.lanes[number].sum, Lane.latency, len(expected)) == expected
        return check

    async def clock(ctx) -> None:
        cycle = 0
        while True:
            _, _, take = await ctx.tick().sample(box.control.control.take)
            cycle += 1
            if take:
                taken.append(cycle)

    async def drain(ctx) -> None:
        while len(taken) < len(rounds):
            await ctx.tick()
        await round_is_over(ctx, box.control)
        assert driver.loader.space + rounds[-1].words(config.bus_bits) == driver.loader.size

    run_bench(box, driver.loader.load, driver.feed, drain, *(checker(lane) for lane in range(count)), background=[driver.loader.watch, clock])
    return np.diff(taken).tolist()


def prefix_features(rng: np.random.Generator, outputs: int, count: int) -> list[CodedSegment]:
    """Segments of a class each."""
    return [random_class(rng, outputs, RING.bus_bits, Kind.PREFIX)[0][0].of(random_activation(rng)) for _ in range(count)]


def wraps(rounds: list[LaneRound], config: EngineConfig) -> Counter:
    """How many rounds' segments wrap around the ring, and how many end exactly at its end."""
    size, base, found = 2 * config.segment_bytes // config.bus_bytes, 0, Counter()
    for round_ in rounds:
        end = base + round_.words(config.bus_bits)
        found["wraps"] += end > size
        found["ends"] += end == size
        base = end % size
    return found


class TestLane:
    """Sums of products."""

    @given(seeds, configs, st.booleans())
    @settings(max_examples=6, deadline=None)
    def test_sums_of_lanes_in_step(self, seed, config, punctual):
        """Each round has features for some of the lanes; the others add zeros, whatever they did before."""
        rng = np.random.default_rng(seed)
        rounds = sum((random_block(rng, config, lanes=3) for _ in range(3)), [])
        rounds.append(LaneRound(rounds[-1].outputs, sweep=True))
        check_sums(config, rounds, 3, None if punctual else seed)

    def test_tables_and_activations_change_between_two_outputs(self):
        """All rounds have a table and an activation of their own and follow each other without a gap."""
        rng = np.random.default_rng(5)
        rounds = [LaneRound(64, {0: segment}) for segment in prefix_features(rng, 64, 5)]
        rounds.append(LaneRound(64, sweep=True))
        assert set(check_sums(RING, rounds, 1)) == {2 * gapless_turns(32)}

    def test_rounds_of_few_turns_follow_each_other(self):
        """Without a gap where they need nothing; a turn later where a feature is given as soon as the one before is taken."""
        rng = np.random.default_rng(6)
        for outputs in (1, 2, 3, 7, 8):
            segment = prefix_features(rng, outputs, 1)[0]
            block = [*(LaneRound(outputs, {0: segment.of(x)}) for x in (-128, 1, 0, 127, 55)), LaneRound(outputs, sweep=True)]
            expected = [2 * (gapless_turns(outputs // 2) + bool(round_.segments)) for round_ in 2 * block]
            assert check_sums(RING, 2 * block, 1)[1:] == expected[2:]

    def test_a_sweep_leaves_zeros(self):
        """A block without features shows zeros, after a silent sweep as after one that was not, and only as many sums as outputs are swept."""
        segments = prefix_features(np.random.default_rng(7), 64, 1)
        counted = LaneRound(64, {0: segments[0].of(-128)})
        sweep, silent = LaneRound(64, sweep=True), LaneRound(64, sweep=True, silent=True)
        rounds = [counted, counted, sweep, sweep, counted, silent, sweep, counted, sweep]
        check_sums(RING, rounds, 1)
        once, none = segments[0].of(-128).products().tolist(), [0] * 64
        assert swept_sums(rounds, 0) == [[2 * value for value in once], none, none, once]

    def test_a_lane_without_a_feature_keeps_its_table(self):
        """It adds zeros while others work, and needs no table when its next feature is of the class that it had."""
        own, other = prefix_features(np.random.default_rng(8), 64, 2)
        rounds = [LaneRound(64, {0: own, 1: other}), LaneRound(64, {1: own}), LaneRound(64, {1: other}), LaneRound(64, {0: own})]
        check_sums(RING, [*rounds, LaneRound(64, sweep=True)], 2)

    def test_sums_as_wide_as_they_may_become(self):
        """Every feature of a layer, with the largest product, in one lane."""
        config = EngineConfig(lanes=4, bus_bits=32, block_outputs=16, features=16)
        largest = one_segment(Segments.prefix(0, np.array([-128], dtype=np.int8), np.array([16]), np.zeros((1, 16), dtype=np.uint8))).segments[0]
        rounds = [*(LaneRound(16, {0: largest.of(-128)}) for _ in range(8)), LaneRound(16, sweep=True)]
        check_sums(config, rounds, 1)
        assert swept_sums(rounds, 0) == [[2**17] * 16]

    @pytest.mark.parametrize("kind", [Kind.PREFIX, Kind.SPARSE, Kind.DENSE8])
    def test_segments_that_wrap_around_the_ring(self, kind):
        """Some go on at the ring's first word, some end with its last one. The odd outputs' stream reads them from there downwards."""
        rng = np.random.default_rng(28)
        rounds = []
        for outputs in (128, 100, 64, 33):
            features = sum((random_class(rng, outputs, RING.bus_bits, kind) for _ in range(3)), [])
            rounds += [LaneRound(outputs, {0: segment.of(random_activation(rng))}) for feature in features for segment in feature]
            rounds.append(LaneRound(outputs, sweep=True))
        found = wraps(rounds, RING)
        assert found["wraps"] and found["ends"]
        check_sums(RING, rounds, 1)
