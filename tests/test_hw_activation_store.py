"""ActivationStore: the list of active features, and results on their way out."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, run_bench, stalls, stream_get, stream_put, strobe, wait
from permfc.config import EngineConfig
from permfc_hw.activation_store import ActivationStore

seeds = st.integers(0, 2**32 - 1)
patterns = st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS])
FEATURES = 16
APPEND_CYCLES = 2  # from a value to its entry


def store_of(accumulator_bits: int = 32) -> ActivationStore:
    return ActivationStore(EngineConfig(lanes=4, features=FEATURES, block_outputs=16, accumulator_bits=accumulator_bits))


def draw_activations(rng: np.random.Generator, count: int) -> list[int]:
    """int8 values, about half of them zero."""
    return (rng.integers(-128, 128, count) * rng.integers(0, 2, count)).tolist()


def active_entries(values: list[int]) -> list[tuple[int, int]]:
    """What the list of active features must hold: (index, x)."""
    return [(index, x) for index, x in enumerate(values) if x]


async def load_inputs(ctx, store: ActivationStore, values: list[int], pauses=None) -> None:
    ctx.set(store.loading, 1)
    await stream_put(ctx, store.inputs, values, pauses)
    ctx.set(store.loading, 0)
    await wait(ctx, APPEND_CYCLES - 1)


async def append(ctx, store: ActivationStore, values: list[int], final: bool = False, pauses=None) -> None:
    """A layer's results, as the requantiser gives them. None leaves before all are there."""
    ctx.set(store.final, final)
    for value in values:
        await wait(ctx, next(pauses) if pauses else 0)
        ctx.set(store.value, value)
        ctx.set(store.value_en, 1)
        await ctx.tick()
        ctx.set(store.value_en, 0)
        assert not ctx.get(store.holding) and not ctx.get(store.results.valid)
    await wait(ctx, APPEND_CYCLES - 1)
    if final:
        await strobe(ctx, store.deliver)


async def read_list(ctx, store: ActivationStore) -> list[tuple[int, int]]:
    entries = []
    for position in range(ctx.get(store.active)):
        ctx.set(store.read_address, position)
        await ctx.tick()
        entry = ctx.get(store.entry)
        entries.append((entry.index, entry.x))
    return entries


@given(seeds, patterns)
@settings(max_examples=12, deadline=None)
def test_layer_after_layer(seed, pattern):
    """Inputs, then each layer's results become the list; it is read, more than once, while the next is appended."""
    store = store_of()
    rng = np.random.default_rng(seed)
    layers = [draw_activations(rng, int(rng.integers(1, FEATURES + 1))) for _ in range(5)]

    async def bench(ctx) -> None:
        await load_inputs(ctx, store, layers[0], stalls(seed, pattern))
        for values, following in zip(layers, layers[1:], strict=False):
            assert ctx.get(store.received) == len(values)
            await strobe(ctx, store.swap)
            assert ctx.get(store.received) == 0
            for part in (following[:3], following[3:]):
                assert await read_list(ctx, store) == active_entries(values)
                await append(ctx, store, part, pauses=stalls(seed, pattern))
            assert await read_list(ctx, store) == active_entries(values)
            assert not ctx.get(store.holding) and not ctx.get(store.results.valid)

    run_bench(store, bench)


@given(seeds, patterns, patterns, st.sampled_from([16, 24, 32]))
@settings(max_examples=20, deadline=None)
def test_results_leave_in_order_with_one_last(seed, emission, receiver, bits):
    """Whatever the list's reader does."""
    store = store_of(bits)
    rng = np.random.default_rng(seed)
    inputs = draw_activations(rng, FEATURES)
    limit = 2 ** (bits - 1)
    runs = []
    for _ in range(3):
        count = int(rng.choice([1, 2, FEATURES - 1, FEATURES]))
        runs.append((rng.integers(-limit, limit, count) * rng.integers(0, 4, count).clip(0, 1)).tolist())
    runs[0][0], runs[-1][-1] = -limit, limit - 1
    reading = [True]

    async def run(ctx) -> None:
        for values in runs:
            while ctx.get(store.holding):  # the host's inputs wait for the results of the run before to leave
                await ctx.tick()
            await load_inputs(ctx, store, inputs)
            await strobe(ctx, store.swap)
            await append(ctx, store, values, final=True, pauses=stalls(seed, emission))
            ctx.set(store.final, 0)
        reading.clear()

    async def read(ctx) -> None:
        pauses = stalls(seed + 1, LONG_STALLS)
        while reading:
            await wait(ctx, 1 + next(pauses))
            ctx.set(store.read_address, 0)
            await ctx.tick()

    async def receive(ctx) -> None:
        expected = [(value, number == len(values) - 1) for values in runs for number, value in enumerate(values)]
        assert await stream_get(ctx, store.results, len(expected), stalls(seed + 2, receiver), beside=(store.last,)) == expected
        assert not ctx.get(store.holding)

    run_bench(store, run, read, receive)


async def append_replaced(ctx, store: ActivationStore, values: list[int], replacements: list[int], pauses) -> None:
    """Results of which each is replaced by what comes a cycle later."""
    timeline = [item for pair in zip(values, replacements, strict=True) for item in (*[None] * next(pauses), pair)]
    ctx.set(store.replaced, 1)
    for now, before in zip([*timeline, None], [None, *timeline], strict=True):
        ctx.set(store.value_en, now is not None)
        ctx.set(store.value, 99 if now is None else now[0])
        ctx.set(store.replacement, -99 if before is None else before[1])
        await ctx.tick()
    ctx.set(store.value_en, 0)


@given(seeds, patterns)
@settings(max_examples=8, deadline=None)
def test_results_are_replaced_by_those_of_a_table(seed, pattern):
    """A zero becomes something and something a zero. Then a final layer's, sign included; inputs in between are not touched."""
    store, rng, pauses = store_of(), np.random.default_rng(seed), stalls(seed, pattern)
    count = int(rng.integers(1, FEATURES + 1))
    inputs, values, replacements = (draw_activations(rng, count) for _ in range(3))

    async def bench(ctx) -> None:
        for _ in range(2):
            await load_inputs(ctx, store, inputs, pauses)
            await strobe(ctx, store.swap)
            assert await read_list(ctx, store) == active_entries(inputs)
            await append_replaced(ctx, store, values, replacements, pauses)
            await strobe(ctx, store.swap)
            assert await read_list(ctx, store) == active_entries(replacements)
            ctx.set(store.final, 1)
            await append_replaced(ctx, store, values, replacements, pauses)
            ctx.set(store.final, 0)
            await strobe(ctx, store.deliver)
            assert await stream_get(ctx, store.results, count) == replacements

    run_bench(store, bench)


def test_a_result_leaves_every_two_cycles():
    store = store_of()
    values = list(range(-5, FEATURES - 5))

    async def bench(ctx) -> None:
        await load_inputs(ctx, store, [1])
        await strobe(ctx, store.swap)
        await append(ctx, store, values, final=True)
        ctx.set(store.results.ready, 1)
        await wait(ctx, 2)
        seen = []
        for _ in values:
            seen.append((ctx.get(store.results.valid), ctx.get(store.results.payload), ctx.get(store.last)))
            await wait(ctx, 2)
        assert seen == [(1, value, int(value == values[-1])) for value in values]
        assert not ctx.get(store.holding)

    run_bench(store, bench)


@given(seeds, patterns, patterns)
@settings(max_examples=8, deadline=None)
def test_a_failed_run_gives_no_result(seed, emission, receiver):
    """Whatever of the final layer was there already: the next one to receive is the next run's first."""
    store, draw = store_of(), random.Random(seed)
    pauses = stalls(seed, emission)

    async def run(ctx) -> None:
        for _ in range(4):
            await load_inputs(ctx, store, [1, 2])
            await strobe(ctx, store.swap)
            ctx.set(store.final, 1)
            for value in range(draw.randint(1, FEATURES)):
                await wait(ctx, next(pauses))
                ctx.set(store.value, 100 + value)
                await strobe(ctx, store.value_en)
            await wait(ctx, draw.randrange(20))
            ctx.set(store.final, 0)
            await strobe(ctx, store.clear)
            assert ctx.get(store.received) == 0
        await load_inputs(ctx, store, [1, 2])
        await strobe(ctx, store.swap)
        await append(ctx, store, [9, 8, 7], final=True)

    async def receive(ctx) -> None:
        assert await stream_get(ctx, store.results, 3, stalls(seed, receiver), beside=(store.last,)) == [(9, 0), (8, 0), (7, 1)]

    run_bench(store, run, receive)


def test_reading_the_list_and_handing_out_results_disturb_neither():
    """The list can be read in every cycle."""
    store = store_of()
    inputs = list(range(1, FEATURES + 1))

    async def bench(ctx) -> None:
        await load_inputs(ctx, store, inputs)
        await strobe(ctx, store.swap)
        await append(ctx, store, [7, 0, -7], final=True)
        ctx.set(store.results.ready, 1)
        received = []
        for number in range(2 * FEATURES):
            ctx.set(store.read_address, number % FEATURES)
            _, _, valid, payload = await ctx.tick().sample(store.results.valid, store.results.payload)
            received += [payload] if valid else []
            entry = ctx.get(store.entry)
            assert (entry.index, entry.x) == (number % FEATURES, inputs[number % FEATURES])
        assert received == [7, 0, -7]

    run_bench(store, bench)


def test_inputs_are_accepted_only_between_runs():
    store = store_of()

    async def bench(ctx) -> None:
        ctx.set(store.inputs.valid, 1)
        ctx.set(store.inputs.payload, 5)
        await wait(ctx, 3)
        assert ctx.get(store.received) == 0  # not loading
        ctx.set(store.inputs.valid, 0)
        await load_inputs(ctx, store, [5, 6])
        await strobe(ctx, store.swap)
        await append(ctx, store, [1, 2], final=True)
        ctx.set(store.loading, 1)
        ctx.set(store.inputs.valid, 1)
        await wait(ctx, 5)
        assert ctx.get(store.holding) and not ctx.get(store.inputs.ready)  # results are held
        assert await stream_get(ctx, store.results, 2, beside=(store.last,)) == [(1, 0), (2, 1)]
        assert ctx.get(store.inputs.ready) and ctx.get(store.received) == 0

    run_bench(store, bench)


@pytest.mark.parametrize("count", [FEATURES, FEATURES + 1, FEATURES + 5])
def test_too_many_inputs_are_counted_up_to_one_more(count):
    store = store_of()

    async def bench(ctx) -> None:
        await load_inputs(ctx, store, [3] * count)
        assert ctx.get(store.received) == min(count, FEATURES + 1)
        await strobe(ctx, store.swap)
        assert await read_list(ctx, store) == [(index, 3) for index in range(FEATURES)]

    run_bench(store, bench)


@pytest.mark.parametrize("delay", range(12))
@pytest.mark.parametrize("receiver", [(0,), SHORT_STALLS, LONG_STALLS])
def test_clear_leaves_results(delay, receiver):
    """Wherever one is on its way out."""
    store = store_of()

    async def run(ctx) -> None:
        for values in ([9, 8, 7, 6], [5]):
            await load_inputs(ctx, store, [1, 2, 3])
            await strobe(ctx, store.swap)
            await append(ctx, store, values, final=True)
            ctx.set(store.final, 0)
            await wait(ctx, delay)
            await strobe(ctx, store.clear)
            while ctx.get(store.holding):
                await ctx.tick()
            assert ctx.get(store.received) == 0

    async def receive(ctx) -> None:
        items = await stream_get(ctx, store.results, 5, stalls(delay, receiver), beside=(store.last,))
        assert items == [(9, 0), (8, 0), (7, 0), (6, 1), (5, 1)]

    run_bench(store, run, receive)


def test_clear_forgets_inputs():
    store = store_of()

    async def bench(ctx) -> None:
        await load_inputs(ctx, store, [4, 0])
        await strobe(ctx, store.clear)
        assert ctx.get(store.received) == 0
        await load_inputs(ctx, store, [0, 5, 6])
        assert ctx.get(store.received) == 3
        await strobe(ctx, store.swap)
        assert await read_list(ctx, store) == [(1, 5), (2, 6)]

    run_bench(store, bench)
