"""Loader: every word of a program reaches the memory its order names, and waits while that is in use."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_bench import LONG_STALLS, SHORT_STALLS, plain, run_bench, stalls, stream_put, strobe, wait
from permfc.config import EngineConfig
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, LEVEL_ENTRY, MAX_LEVELS, BlockFlag, words
from permfc_hw.lane_group import GROUP_LANES
from permfc_hw.loader import Loader
from permfc_hw.orders import OrderKind

LANES = 8
GROUPS = LANES // GROUP_LANES
FLAGS = {"layer_end": BlockFlag.LAST, "final": BlockFlag.FINAL, "relu": BlockFlag.RELU, "raw": BlockFlag.RAW,
         "wide_bias": BlockFlag.WIDE_BIAS, "shared_mul": BlockFlag.SHARED_MUL, "table": BlockFlag.TABLE}


@dataclass
class Program:
    """Orders, their words, and what must come of them."""

    bus_bytes: int
    draw: random.Random
    orders: list[dict] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    writes: list[tuple] = field(default_factory=list)       # (memory, address, word) or (lane, half, number, last, word)
    assignments: list[list[dict]] = field(default_factory=lambda: [[] for _ in range(GROUPS)])
    rounds: list[dict] = field(default_factory=list)
    emissions: list[dict] = field(default_factory=list)     # of each block
    image_header: np.ndarray | None = None
    block_headers: list[np.ndarray] = field(default_factory=list)

    def order(self, kind: OrderKind, payload: list[int] | int, **fields: int) -> list[int]:
        """Order ``payload``, or so many random words."""
        if isinstance(payload, int):
            payload = [self.draw.getrandbits(8 * self.bus_bytes) for _ in range(payload)]
        unused = {"lane": self.draw.randrange(LANES), "slot": self.draw.randrange(16), "x": -1, "first": 0, "last": 0}
        self.orders.append({"kind": kind, "words": len(payload), **unused, **fields})
        self.words += payload
        return payload

    def record(self, dtype: np.dtype) -> tuple[np.ndarray, list[int]]:
        """A header of random bytes, and its padded words."""
        stored = self.draw.randbytes(dtype.itemsize)
        return np.frombuffer(stored, dtype)[0].copy(), self.as_words(stored)

    def as_words(self, stored: bytes) -> list[int]:
        size = self.bus_bytes
        return [int.from_bytes(stored[start:start + size], "little") for start in range(0, len(stored), size)]

    def add_image_header(self) -> None:
        self.image_header, stored = self.record(IMAGE_HEADER)
        self.order(OrderKind.HEADER, stored)

    def add_descriptor(self) -> None:
        header, _ = self.record(BLOCK_HEADER)
        header["classes"] = self.draw.randint(1, 16)
        header["outputs"] = self.draw.randint(1, 64)
        self.block_headers.append(header)
        classes, size = int(header["classes"]), self.bus_bytes
        infos = [self.draw.getrandbits(8 * size) for _ in range(words(classes * CLASS_INFO.itemsize, size))]
        tables = [self.draw.getrandbits(8 * size) for _ in range(words(classes * MAX_LEVELS * LEVEL_ENTRY.itemsize, size))]
        self.order(OrderKind.DESCRIPTOR, [*self.as_words(header.tobytes()), *infos, *tables])
        self.writes += [("infos", *item) for item in enumerate(infos)] + [("tables", *item) for item in enumerate(tables)]

    def add_segment(self, lane: int) -> None:
        slot, x, count = self.draw.randrange(16), self.draw.randrange(-128, 128), self.draw.randint(1, 3)
        payload = self.order(OrderKind.SEGMENT, count, lane=lane, slot=slot, x=x)
        half = len(self.rounds) % 2
        self.writes += [(lane, half, number, int(number == count - 1), word) for number, word in enumerate(payload)]
        self.assignments[lane % GROUPS].append({"lane": lane // GROUPS, "slot": slot, "x": x})

    def add_parameters(self) -> None:
        kinds = ((OrderKind.BIASES, "biases"), (OrderKind.MULTIPLIERS, "multipliers"), (OrderKind.FUNCTION, "function"))
        for kind, name in kinds:
            payload = self.order(kind, self.draw.randint(1, 4))
            self.writes += [(name, *item) for item in enumerate(payload)]

    def add_round(self, first: int, last: int) -> None:
        self.order(OrderKind.ROUND, 0, first=first, last=last)
        header = self.block_headers[-1]
        self.rounds.append({"outputs": int(header["outputs"]), "first": first, "last": last})
        if last:
            flags = {name: int(bool(int(header["flags"]) & flag)) for name, flag in FLAGS.items()}
            self.emissions.append({"shift": int(header["shift"]), "mul": int(header["mul"]), **flags})

    def add_block(self, rounds: int) -> None:
        self.add_descriptor()
        for number in range(rounds):
            for lane in range(self.draw.randint(0, LANES)):
                self.add_segment(lane)
            if number == min(rounds - 1, 2):
                self.add_parameters()
            self.add_round(int(number == 0), int(number == rounds - 1))


class Surroundings:
    """The lane groups, the round control and the requantiser around a loader, each as slow as a seed says."""

    def __init__(self, loader: Loader, program: Program, seed: int, pattern: tuple[int, ...]) -> None:
        self.loader, self.program, self.seed, self.pattern = loader, program, seed, pattern
        self.busy = [False] * GROUPS
        self.assigned: list[list[dict]] = [[] for _ in range(GROUPS)]
        self.rounds: list[dict] = []
        self.writes: list[tuple] = []

    def benches(self) -> list:
        return [self.orders, self.words, self.control, *(self.group(number) for number in range(GROUPS))]

    async def orders(self, ctx) -> None:
        await stream_put(ctx, self.loader.orders, self.program.orders, stalls(self.seed, self.pattern))

    async def words(self, ctx) -> None:
        await stream_put(ctx, self.loader.words, self.program.words, stalls(self.seed + 1, self.pattern))

    def group(self, number: int):
        async def bench(ctx) -> None:
            pauses = stalls(self.seed + 2 + number, (0, 3, 18))
            assign = self.loader.assign[number]
            while len(self.assigned[number]) < len(self.program.assignments[number]):
                self.set_busy(ctx, number, False)
                _, _, valid, payload = await ctx.tick().sample(assign.valid, assign.payload)
                if valid:
                    self.assigned[number].append(plain(payload))
                    self.set_busy(ctx, number, True)
                    await wait(ctx, 1 + next(pauses))
            self.set_busy(ctx, number, False)
        return bench

    def set_busy(self, ctx, number: int, busy: bool) -> None:
        self.busy[number] = busy
        ctx.set(self.loader.assign[number].ready, not busy)
        ctx.set(self.loader.tables_complete, not any(self.busy))

    async def control(self, ctx) -> None:
        rounds = self.loader.rounds
        pauses, results = stalls(self.seed + 9, LONG_STALLS), stalls(self.seed + 10, (1, 40, 1000))
        for _ in self.program.rounds:
            while not ctx.get(rounds.valid):
                await ctx.tick()
            assert not any(self.busy)
            await wait(ctx, next(pauses))
            ctx.set(rounds.ready, 1)
            _, _, payload = await ctx.tick().sample(rounds.payload)
            ctx.set(rounds.ready, 0)
            self.rounds.append(plain(payload))
            ctx.set(self.loader.fill_half, len(self.rounds) % 2)
            if payload.last:
                await self.emit(ctx, next(results))

    async def emit(self, ctx, cycles: int) -> None:
        await wait(ctx, cycles)
        emission = self.program.emissions[sum(entry["last"] for entry in self.rounds) - 1]
        assert plain(ctx.get(self.loader.emission)) == emission
        await strobe(ctx, self.loader.emitted)

    async def watch(self, ctx) -> None:
        """What leaves, one cycle after its word was taken, and only when its memory was free."""
        loader = self.loader
        enables = {"infos": loader.infos_en, "tables": loader.tables_en, "biases": loader.biases_en, "multipliers": loader.multipliers_en,
                   "function": loader.function_en}
        was_idle, emitting = 1, False
        while len(self.writes) < len(self.program.writes):
            _, _, address, data, lanes, word, idle, round_valid, last, emitted, *enabled = await ctx.tick().sample(
                loader.address, loader.word_data, loader.word_en, loader.word, loader.tables_complete,
                loader.rounds.valid, loader.rounds.payload.last, loader.emitted, *enables.values())
            names = [name for name, on in zip(enables, enabled, strict=True) if on]
            assert len(names) + lanes.bit_count() <= 1
            for name in names:
                self.writes.append((name, address, data))
                assert name != "tables" or was_idle
                assert name in ("infos", "tables") or not emitting
            if lanes:
                self.writes.append((lanes.bit_length() - 1, word.half, word.word, word.last, data))
            was_idle = idle
            emitting = not emitted and (emitting or bool(round_valid and last))


def small_config(bus_bits: int) -> EngineConfig:
    return EngineConfig(lanes=LANES, bus_bits=bus_bits, block_outputs=64, features=64)


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 64, 128, 512]), st.sampled_from([(0,), SHORT_STALLS, LONG_STALLS]))
@settings(max_examples=10, deadline=None)
def test_words_go_where_their_order_says(seed, bus_bits, pattern):
    loader = Loader(small_config(bus_bits))
    program = Program(bus_bits // 8, random.Random(seed))
    program.add_image_header()
    for rounds in (1, 2, program.draw.randint(3, 4)):
        program.add_block(rounds)
    around = Surroundings(loader, program, seed, pattern)
    run_bench(loader, *around.benches(), around.watch)
    assert around.writes == program.writes
    assert around.assigned == program.assignments
    assert around.rounds == program.rounds


@pytest.mark.parametrize("bus_bits", [16, 32, 64, 128, 256, 512])
def test_headers(bus_bits):
    """An image header, then block headers over it; strobes come once each, when the fields are complete."""
    loader = Loader(small_config(bus_bits))
    program = Program(bus_bits // 8, random.Random(bus_bits))
    program.add_image_header()
    for _ in range(3):
        program.add_descriptor()
    seen = []

    async def feed(ctx) -> None:
        ctx.set(loader.tables_complete, 1)
        await stream_put(ctx, loader.orders, program.orders)

    async def words_in(ctx) -> None:
        await stream_put(ctx, loader.words, program.words, stalls(bus_bits))
        await wait(ctx, 3)

    async def watch(ctx) -> None:
        while len(seen) < 4:
            _, _, header_done, infos_done, image, block = await ctx.tick().sample(
                loader.header_done, loader.infos_done, loader.image_header, loader.block_header)
            if header_done:
                seen.append(plain(image))
            if infos_done:
                seen.append(plain(block))

    run_bench(loader, feed, words_in, watch)
    records = [program.image_header, *program.block_headers]
    assert seen == [{name: int(record[name]) for name in record.dtype.names} for record in records]
