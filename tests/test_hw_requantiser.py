"""Requantiser: the formula of docs/format.md in integers, at its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import run_bench
from permfc.config import EngineConfig
from permfc.format import MAX_SHIFT
from permfc_hw.function_table import UNITS
from permfc_hw.requantiser import Requantiser

MULTIPLIERS = (0, 1, 2, 3, 2**8, 2**15 - 1, 2**15, 2**15 + 1, 2**16 - 2, 2**16 - 1)


def requantise(total: int, multiplier: int, shift: int, relu: bool) -> int:
    """The definition."""
    return max(0 if relu else -128, min(127, (total * multiplier + (1 << (shift - 1))) >> shift))


def telling_totals(shift: int, multiplier: int, bits: int) -> list[int]:
    """Totals at the accumulator's ends, and where the result changes: at ties, at both ends of int8, around zero."""
    limit = 2 ** (bits - 1)
    totals = [-limit, 1 - limit, -1, 0, 1, limit - 1]
    for result in (-129, -128, -1, 0, 1, 126, 127):
        boundary = (2 * result + 1) << (shift - 1)  # from here on the next result
        near = boundary // max(multiplier, 1)
        totals += [near - 1, near, near + 1]
    return [total for total in totals if -limit <= total < limit]


async def run_block(ctx, box: Requantiser, cases: list[tuple[int, int]], emission: dict, gaps: list[int]) -> list[tuple[int, int, int]]:
    """Pass totals with their multipliers; the (value, emitted, cycles since the total) that come out, each announced by ``coming``."""
    size = box.config.bus_bytes
    stored = np.array([0 if emission["shared_mul"] else multiplier for _, multiplier in cases], dtype="<u2").tobytes()
    stored += bytes(-len(stored) % size)
    ctx.set(box.emission, emission)
    ctx.set(box.multipliers_en, 1)
    for start in range(0, len(stored), size):
        ctx.set(box.multipliers_address, start // size)
        ctx.set(box.multipliers_data, int.from_bytes(stored[start:start + size], "little"))
        await ctx.tick()
    ctx.set(box.multipliers_en, 0)
    # What each cycle shows: the number of the output whose total comes in the next one.
    coming = [output for output, gap in zip(range(len(cases)), gaps, strict=False) for output in [*[None] * gap, output]]
    values, sent, now, announced = [], [], None, None
    for cycle, following in enumerate([*coming, *[None] * (box.latency + 1)]):
        ctx.set(box.output, 0 if following is None else following)
        ctx.set(box.total_en, now is not None)
        ctx.set(box.end, now == len(cases) - 1)
        ctx.set(box.total, 99 if now is None else cases[now][0])
        if now is not None:
            sent.append(cycle)
        _, _, enabled, value, emitted, coming = await ctx.tick().sample(box.value_en, box.value, box.emitted, box.coming)
        if enabled:
            assert emission["raw"] or value == announced
            values.append((value, emitted, cycle - sent[len(values)]))
        else:
            assert not emitted
        now, announced = following, coming
    return values


def emission(shift: int, relu: bool = False, raw: bool = False, shared_mul: int | None = None) -> dict:
    shared = {"shared_mul": shared_mul is not None, "mul": shared_mul or 0}
    return {"shift": shift, "layer_end": 1, "final": raw, "relu": relu, "raw": raw, "wide_bias": 0, **shared}


@pytest.mark.parametrize(("bus_bits", "bits"), [(64, 32), (16, 24), (32, 16)])
@pytest.mark.parametrize("relu", [False, True])
def test_every_shift_at_its_limits(bus_bits, bits, relu):
    config = EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=512, accumulator_bits=bits)
    box = Requantiser(config)
    rng = np.random.default_rng(bits)

    async def bench(ctx) -> None:
        for shift in range(1, MAX_SHIFT + 1):
            multipliers = [*rng.choice(MULTIPLIERS, 3).tolist(), int(rng.integers(2**16))]
            cases = [(total, multiplier) for multiplier in multipliers for total in telling_totals(shift, multiplier, bits)]
            values = await run_block(ctx, box, cases, emission(shift, relu), [0] * len(cases))
            expected = [requantise(total, multiplier, shift, relu) for total, multiplier in cases]
            assert [value for value, _, _ in values] == expected, shift
            assert [end for _, end, _ in values] == [0] * (len(cases) - 1) + [1]
            assert {late for _, _, late in values} == {box.latency}

    run_bench(box, bench)


def test_telling_totals_tell():
    """Every shift has a tie and both saturations among its totals, so a wrong rounding or clamp cannot hide."""
    for shift in range(1, MAX_SHIFT + 1):
        results, ties = set(), 0
        for multiplier in (1, 2**15, 2**16 - 1):
            for total in telling_totals(shift, multiplier, 32):
                product = total * multiplier
                results.add((product + (1 << (shift - 1))) >> shift)
                ties += product % (1 << shift) == 1 << (shift - 1)
        assert ties or shift == MAX_SHIFT
        assert shift > 38 or (min(results) < -128 and max(results) > 127)


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 128]))
@settings(max_examples=10, deadline=None)
def test_random_totals_with_gaps(seed, bus_bits):
    box = Requantiser(EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=64))
    rng = np.random.default_rng(seed)

    async def bench(ctx) -> None:
        for _ in range(4):
            count, shift, relu = int(rng.integers(1, 65)), int(rng.integers(1, MAX_SHIFT + 1)), bool(rng.integers(2))
            multipliers = rng.integers(0, 2**16, count).tolist()
            # Spread over the results' range: uniform totals would nearly all saturate.
            totals = np.clip(rng.normal(0, 100 * 2.0 ** shift / 2**15, count), -(2**31), 2**31 - 1).astype(int).tolist()
            cases = list(zip(totals, multipliers, strict=True))
            values = await run_block(ctx, box, cases, emission(shift, relu), rng.choice([0, 0, 1, 4], count).tolist())
            assert [value for value, _, _ in values] == [requantise(total, multiplier, shift, relu) for total, multiplier in cases]
            assert {late for _, _, late in values} == {box.latency}

    run_bench(box, bench)


@pytest.mark.parametrize("bus_bits", [64, 128, 256, 512])
@pytest.mark.parametrize("block_outputs", [16, 128, 512])
def test_a_table_is_kept_beside_the_multipliers(bus_bits, block_outputs):
    """Neither loses what the other gets."""
    box = Requantiser(EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=block_outputs))
    rng = np.random.default_rng(bus_bits)
    cases = [(int(rng.integers(-1000, 1000)), int(rng.integers(2**16))) for _ in range(block_outputs)]
    expected = [requantise(total, multiplier, 18, False) for total, multiplier in cases]
    table = rng.bytes(2 * UNITS)

    async def read(ctx, box: Requantiser) -> bytes:
        units = []
        ctx.set(box.table_unit_en, 1)
        for number in range(UNITS):
            ctx.set(box.table_unit, number)
            ctx.set(box.output, number % 5)
            await ctx.tick()
            units.append(ctx.get(box.table_unit_data))
        ctx.set(box.table_unit_en, 0)
        return np.array(units, "<u2").tobytes()

    async def bench(ctx) -> None:
        values = await run_block(ctx, box, cases, emission(18), [0] * len(cases))
        size = bus_bits // 8
        ctx.set(box.table_en, 1)
        for number in range(len(table) // size):
            ctx.set(box.multipliers_address, number)
            ctx.set(box.multipliers_data, int.from_bytes(table[number * size:(number + 1) * size], "little"))
            await ctx.tick()
        ctx.set(box.table_en, 0)
        for _ in range(2):
            assert await read(ctx, box) == table
            values += await run_block(ctx, box, cases, emission(18), [0] * len(cases))
        assert [value for value, _, _ in values] == 3 * expected

    run_bench(box, bench)


@pytest.mark.parametrize("multiplier", [0, 1, 40_000, 2**16 - 1])
def test_one_multiplier_for_all_outputs(multiplier):
    box = Requantiser(EngineConfig(lanes=4, bus_bits=32, block_outputs=64))
    cases = [(total, multiplier) for total in telling_totals(20, multiplier, 32)]

    async def bench(ctx) -> None:
        values = await run_block(ctx, box, cases, emission(20, shared_mul=multiplier), [0] * len(cases))
        assert [value for value, _, _ in values] == [requantise(total, multiplier, 20, False) for total, _ in cases]

    run_bench(box, bench)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_raw_totals_pass_at_once(bits):
    box = Requantiser(EngineConfig(lanes=4, bus_bits=32, block_outputs=16, accumulator_bits=bits))
    totals = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0, -1, 12345]

    async def bench(ctx) -> None:
        for _ in range(2):
            values = await run_block(ctx, box, [(total, 7) for total in totals], emission(1, raw=True), [0, 2, 0, 1, 0])
            assert values == [(total, number == 4, 0) for number, total in enumerate(totals)]
        values = await run_block(ctx, box, [(64, 1)], emission(1), [0])
        assert values == [(32, 1, box.latency)]

    run_bench(box, bench)
