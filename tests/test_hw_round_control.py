"""RoundControl: rounds without gaps between them, the tags of sums, and what is free again when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import plain, run_bench, stalls, stream_put, wait
from hw_rounds import LATE, SIZES, gapless_turns, round_is_over
from permfc.config import EngineConfig
from permfc_hw.round_control import SHORTEST, RoundControl

CONFIG = EngineConfig(lanes=4, bus_bits=32, block_outputs=128, features=16)
RING_WORDS = 32  # of the buffers: two of the longest segments
seeds = st.integers(0, 2**32 - 1)


def random_rounds(rng: np.random.Generator, count: int) -> list[dict[str, int]]:
    """Rounds of features, whose turns have nothing to do with their outputs where classes are sparse, and sweeps."""
    rounds = []
    for _ in range(count):
        outputs, sweep = int(rng.choice([*SIZES, 127, 128])), int(rng.integers(2))
        turns = max(SHORTEST, -(-outputs // 2) if sweep or rng.random() < 0.5 else int(rng.integers(65)))
        words = 0 if sweep else int(rng.integers(RING_WORDS // 2 + 1))
        rounds.append({"turns": turns, "outputs": outputs, "words": words, "sweep": sweep, "silent": sweep and int(rng.integers(2))})
    return rounds


def feeder(control: RoundControl, rounds: list[dict[str, int]], seed: int | None = None):
    async def feed(ctx) -> None:
        await stream_put(ctx, control.rounds, rounds, None if seed is None else stalls(seed, LATE))
    return feed


def run(rounds: list[dict[str, int]], seed: int | None = None) -> list[dict[str, int]]:
    """Cycle by cycle what RoundControl says until the last of ``rounds`` is over."""
    control, cycles = RoundControl(CONFIG), []

    async def watch(ctx) -> None:
        taken = 0
        while taken < len(rounds) or ctx.get(control.decoding) or ctx.get(control.tag.valid):
            _, _, told, tag, freed_en, freed, fill_go = await ctx.tick().sample(
                control.control, control.tag, control.freed_en, control.freed, control.fill_go)
            taken += told.take
            cycles.append({**plain(told), **plain(tag), "freed": freed if freed_en else None, "fill_go": fill_go})

    run_bench(control, feeder(control, rounds, seed), watch)
    return cycles


def moments(cycles: list[dict[str, int]], name: str) -> list[int]:
    """Cycles in which a control rises."""
    return [number for number, (before, now) in enumerate(zip(cycles, cycles[1:], strict=False), 1) if now[name] and not before[name]]


def test_rounds_follow_each_other_without_a_gap():
    """Those with fewer than the fewest turns take these, so that a feature can be given to a lane while the one before is decoded."""
    rng = np.random.default_rng(1)
    rounds = [{"turns": turns, "outputs": 128, "words": 1, "sweep": turns == 64, "silent": 0} for turns in (*range(SHORTEST, 10), 63, 64)]
    rounds += random_rounds(rng, 20)
    begins = moments(run(rounds), "take")
    assert np.diff(begins).tolist() == [2 * gapless_turns(round_["turns"]) for round_ in rounds[:-1]]


@given(seeds, st.booleans())
@settings(max_examples=6, deadline=None)
def test_only_sums_that_leave_are_tagged(seed, punctual):
    """One an output of a sweep that is not silent, even and odd ones in turn, from the cycle on in which its first output is in stage 1."""
    rounds = random_rounds(np.random.default_rng(seed), 12)
    cycles = run(rounds, None if punctual else seed)
    tags = [(number, cycle["end"], cycle["odd"]) for number, cycle in enumerate(cycles) if cycle["valid"]]
    expected = []
    for begin, round_ in zip(moments(cycles, "begin"), rounds, strict=True):
        if round_["sweep"] and not round_["silent"]:
            expected += [(begin + output, output == round_["outputs"] - 1, output % 2) for output in range(round_["outputs"])]
    assert tags == expected
    assert not any(cycle["end"] for cycle in cycles if not cycle["valid"])


@given(seeds, st.booleans())
@settings(max_examples=6, deadline=None)
def test_segments_lie_in_a_ring(seed, punctual):
    """A round's begin where those of the round before end. They are free when the next round's features are in use: nobody reads them any more."""
    rounds = random_rounds(np.random.default_rng(seed), 12)
    cycles = run(rounds, None if punctual else seed)
    loads = [cycles[number] for number in moments(cycles, "load")]
    words = [round_["words"] for round_ in rounds]
    bases = [sum(words[:number]) % RING_WORDS for number in range(len(rounds))]
    assert [load["base"] for load in loads] == bases
    freed = [(number, cycle["freed"]) for number, cycle in enumerate(cycles) if cycle["freed"] is not None]
    assert freed == list(zip(moments(cycles, "take"), [0, *words[:-1]], strict=True))


@given(seeds, st.booleans())
@settings(max_examples=6, deadline=None)
def test_lanes_are_told_of_each_round_in_the_order_of_their_stages(seed, punctual):
    """What belongs to a turn comes a cycle later for each stage that it has to do with."""
    rounds = random_rounds(np.random.default_rng(seed), 12)
    cycles = run(rounds, None if punctual else seed)
    loads = moments(cycles, "load")
    assert len(loads) == len(rounds)
    assert moments(cycles, "fill") == [load + 3 for load in loads]   # a turn and a stage later
    assert moments(cycles, "zero") == moments(cycles, "swap") == [load + 5 for load in loads]
    assert moments(cycles, "begin") == [load + 6 for load in loads]
    assert moments(cycles, "take") == [load + 8 for load in loads]
    for load, round_ in zip(loads, rounds, strict=True):
        assert [cycles[load + cycle]["odd"] for cycle in (0, 1)] == [0, 1] and cycles[load + 1]["load"]
        assert cycles[load + 5]["sweep"] == round_["sweep"]
        assert [cycles[load + 6 + stream]["outputs"] for stream in (0, 1)] == [(round_["outputs"] + 1) // 2, round_["outputs"] // 2]
    clear = [bool(cycle["clear"]) for cycle in cycles]
    expected = [False] * (loads[0] + 10)  # until the first output is in stage 7
    for load, following, round_ in zip(loads, [*loads[1:], len(cycles) - 10], rounds, strict=True):
        expected += [bool(round_["sweep"])] * (following - load)
    assert clear == expected


@given(seeds, st.booleans())
@settings(max_examples=6, deadline=None)
def test_lanes_are_filled_when_they_have_taken_what_they_had(seed, punctual):
    """From then on until the next round begins to load."""
    rounds = random_rounds(np.random.default_rng(seed), 12)
    cycles = run(rounds, None if punctual else seed)
    closed = set()
    for load, take in zip(moments(cycles, "load"), moments(cycles, "take"), strict=True):
        closed.update(range(load + 1, take + 1))
    assert [number for number, cycle in enumerate(cycles) if not cycle["fill_go"]] == sorted(closed)


@pytest.mark.parametrize("turns", [4, 20])
def test_decodes_from_acceptance_to_the_last_turn(turns):
    control = RoundControl(CONFIG)
    round_ = {"turns": turns, "outputs": 40, "words": 1, "sweep": 0, "silent": 0}

    async def bench(ctx) -> None:
        for _ in range(2):
            assert not ctx.get(control.decoding)
            await stream_put(ctx, control.rounds, [round_])
            cycles = 0
            while ctx.get(control.decoding):
                await ctx.tick()
                cycles += 1
            assert cycles == 2 * (gapless_turns(turns) + 1)  # bytes are taken before the first turn
            await round_is_over(ctx, control)

    run_bench(control, bench)


def test_without_rounds_nothing_happens():
    control = RoundControl(CONFIG)

    async def bench(ctx) -> None:
        await wait(ctx, 3)
        for _ in range(40):
            _, _, told, tag, freed_en, fill_go, decoding = await ctx.tick().sample(
                control.control, control.tag, control.freed_en, control.fill_go, control.decoding)
            assert fill_go and not tag.valid and not decoding and not freed_en
            assert not any(told[name] for name in ("load", "fill", "zero", "swap", "begin", "take", "clear"))

    run_bench(control, bench)
