"""Queue: what goes in comes out, in order, whatever the stalls."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import signed
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, run_bench, stalls, stream_get, stream_put
from permfc.config import EngineConfig
from permfc_hw.orders import Destination, OrderKind
from permfc_hw.queue import Queue

patterns = st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS])


@given(seed=st.integers(0, 2**32 - 1), depth=st.sampled_from([1, 2, 4, 16]), block=st.booleans(), sender=patterns, receiver=patterns)
@settings(max_examples=20, deadline=None)
def test_order_is_kept(seed, depth, block, sender, receiver):
    queue = Queue(signed(12), depth=depth, block=block)
    draw = random.Random(seed)
    items = [draw.randrange(-2048, 2048) for _ in range(60)]

    async def send(ctx) -> None:
        await stream_put(ctx, queue.i, items, stalls(seed, sender))

    async def receive(ctx) -> None:
        assert await stream_get(ctx, queue.o, len(items), stalls(seed + 1, receiver)) == items
        for _ in range(4):
            await ctx.tick()
            assert not ctx.get(queue.o.valid)

    run_bench(queue, send, receive)


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("depth", [1, 4, 16])
def test_it_takes_its_depth_and_what_its_registers_hold(depth, block):
    queue = Queue(8, depth=depth, block=block)

    async def bench(ctx) -> None:
        taken = 0
        ctx.set(queue.i.valid, 1)
        for _ in range(3 * depth + 5):
            ctx.set(queue.i.payload, taken)
            _, _, ready = await ctx.tick().sample(queue.i.ready)
            taken += ready
        assert taken == depth + 1 + block
        ctx.set(queue.i.valid, 0)
        assert await stream_get(ctx, queue.o, taken) == list(range(taken))

    run_bench(queue, bench)


@pytest.mark.parametrize("block", [False, True])
def test_latency_and_throughput(block):
    """Two cycles from accepted to offered, three in block RAM, then an item a cycle."""
    queue = Queue(8, depth=8, block=block)

    async def bench(ctx) -> None:
        ctx.set(queue.o.ready, 1)
        ctx.set(queue.i.valid, 1)
        seen = []
        for number in range(20):
            ctx.set(queue.i.payload, number)
            _, _, accepted, valid, payload = await ctx.tick().sample(queue.i.ready, queue.o.valid, queue.o.payload)
            assert accepted
            seen.append(payload if valid else None)
        assert seen == [*[None] * (2 + block), *range(18 - block)]

    run_bench(queue, bench)


def test_structures_pass():
    layout = Destination(EngineConfig(lanes=4))
    queue = Queue(layout, depth=2)
    item = {"kind": OrderKind.SEGMENT, "words": 4095, "slot": 15, "pair": 1, "x": -128, "sweep": 1}

    async def bench(ctx) -> None:
        await stream_put(ctx, queue.i, [item])
        received, = await stream_get(ctx, queue.o, 1)
        assert {name: received[name] for name in item} == item

    run_bench(queue, bench)
