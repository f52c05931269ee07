"""The vocabulary of the gateware's tests: streams with seeded stalls, and a simulation that cannot hang."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.lib import data
from amaranth.sim import Simulator

Bench = Callable[[Any], Coroutine]

SHORT_STALLS = (0, 0, 0, 0, 1, 2)
LONG_STALLS = (0, 0, 0, 1, 3, 12)


def stalls(seed: int, cycles: tuple[int, ...] = SHORT_STALLS) -> Iterator[int]:
    """Cycles to wait before each item, drawn from ``cycles``."""
    draw = random.Random(seed)
    while True:
        yield draw.choice(cycles)


def no_stalls() -> Iterator[int]:
    """An item a cycle."""
    while True:
        yield 0


def run_bench(component: Elaboratable, *benches: Bench, background: Iterable[Bench] = (), deadline: int = 20_000) -> None:
    """Clock ``component`` until every bench has returned; fail if that takes more than ``deadline`` cycles."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    steps = 2 * deadline  # a clock has two edges
    while simulator.advance():
        steps -= 1
        assert steps, f"The benches have not finished after {deadline} cycles"


async def wait(ctx, cycles: int) -> None:
    """Let cycles pass. Unlike ``ctx.tick().repeat`` it may be cut short by the end of the simulation, as background benches are."""
    for _ in range(cycles):
        await ctx.tick()


async def strobe(ctx, signal) -> None:
    """Set ``signal`` for one cycle."""
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def stream_put(ctx, stream, items: Iterable[Any], pauses: Iterator[int] | None = None) -> None:
    """Send ``items``, which is awaited until the last has been accepted."""
    pauses = pauses or no_stalls()
    for item in items:
        await wait(ctx, next(pauses))
        ctx.set(stream.payload, item)
        ctx.set(stream.valid, 1)
        ready = 0
        while not ready:
            _, _, ready = await ctx.tick().sample(stream.ready)
        ctx.set(stream.valid, 0)


async def stream_get(ctx, stream, count: int, pauses: Iterator[int] | None = None, *, beside: tuple = (), view: Callable = lambda item: item) -> list:
    """Receive ``count`` items, structures as dictionaries; with signals ``beside`` the payload, tuples of all of them.

    ``view`` reduces a payload to what it means, where some fields do not matter.

    Checks the contract of a stream on the way: an item that waits neither changes nor disappears.
    """
    pauses = pauses or no_stalls()
    signals = (stream.payload, *beside)
    items = []
    while len(items) < count:
        idle, waiting = next(pauses), None
        ctx.set(stream.ready, 0)
        for _ in range(idle):
            _, _, valid, *item = await ctx.tick().sample(stream.valid, *signals)
            waiting = check_waiting(waiting, valid, item, view)
        ctx.set(stream.ready, 1)
        valid = 0
        while not valid:
            _, _, valid, *item = await ctx.tick().sample(stream.valid, *signals)
            waiting = check_waiting(waiting, valid, item, view)
        items.append(tuple(waiting) if beside else waiting[0])
        ctx.set(stream.ready, 0)
    return items


def check_waiting(waiting: list | None, valid: int, item: list, view: Callable = lambda item: item) -> list | None:
    """The item that waits after a cycle in which the stream showed ``item``."""
    payload, *beside = (plain(value) for value in item)
    values = [view(payload), *beside]
    if waiting is not None:
        assert valid and values == waiting, f"A waiting item {waiting} became {values if valid else 'invalid'}"
    return values if valid else None


def plain(value: Any) -> Any:
    """A sampled value that compares: a structure as a dictionary of its fields."""
    return {name: plain(value[name]) for name in value.shape().members} if isinstance(value, data.Const) else value
