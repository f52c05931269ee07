"""Everything around a sequencer, for its tests: an image, whose header and blocks may be wrong, and those who carry its orders out."""

from __future__ import annotations

from dataclasses import dataclass, field

from hw_bench import SHORT_STALLS, check_waiting, run_bench, stalls, strobe, wait
from permfc.config import EngineConfig
from permfc.format import MAGIC, MAX_CLASSES, VERSION, BlockFlag, ErrorCode
from permfc_hw import sequencer
from permfc_hw.orders import OrderKind
from permfc_hw.sequencer import Sequencer

CONFIG = EngineConfig(lanes=4, bus_bits=64, block_outputs=32, features=64, levels=8, accumulator_bits=24)
INPUTS = 50
IMAGE = {
    "magic": MAGIC, "version": VERSION, "bus_bytes_log2": 3, "levels": 8, "inputs": INPUTS, "features": 64, "block_outputs": 32,
    "descriptor_words": 11, "accumulator_bits": 24, "flags": 0,
}
FIRST, LAST, FINAL = BlockFlag.FIRST, BlockFlag.LAST, BlockFlag.FINAL
BLOCKS = [
    {"features": INPUTS, "outputs": 32, "classes": 3, "flags": FIRST, "shift": 9, "next_words": 12},
    {"features": INPUTS, "outputs": 31, "classes": MAX_CLASSES, "flags": LAST, "shift": 9, "next_words": 13},
    {"features": 63, "outputs": 1, "classes": 1, "flags": FIRST | LAST | FINAL, "shift": 9, "next_words": 0},
]


@dataclass
class Engine:
    """Everything around a sequencer: it loads headers, fetches blocks and hands layers over after some cycles."""

    box: Sequencer
    image: dict
    blocks: list[dict]
    delay: int
    block: int = -1
    events: list = field(default_factory=list)
    strobes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("swap", "go", "fail", "deliver"), 0))
    silent: OrderKind | None = None  # a kind of order that is never answered
    fetching: bool = True
    flushed: int = 0    # cycles of the flush, up to its clearing
    clearings: list[int] = field(default_factory=list)  # cycles of each

    async def serve(self, ctx) -> None:
        """Orders: a header appears some cycles after its order. An order that waits does not change; a fault takes it back."""
        box, pauses, waiting = self.box, stalls(self.delay, SHORT_STALLS), None
        while True:
            for ready in (*[0] * next(pauses), 1):
                ctx.set(box.orders.ready, ready)
                _, _, valid, payload = await ctx.tick().sample(box.orders.valid, box.orders.payload)
                waiting = check_waiting(waiting if valid else None, valid, [payload])
            ctx.set(box.orders.ready, 0)
            if not valid:
                waiting = None
                continue
            order, = waiting
            waiting = None
            self.events.append((order["kind"], order["words"]))
            if order["kind"] is not self.silent:
                await wait(ctx, self.delay)
                await self.load(ctx, order["kind"])

    async def load(self, ctx, kind: OrderKind) -> None:
        box = self.box
        if kind is OrderKind.HEADER:
            self.set_fields(ctx, box.image_header, self.image)
            await strobe(ctx, box.header_done)
        else:
            self.block += 1
            self.set_fields(ctx, box.block_header, self.blocks[self.block])
            await strobe(ctx, box.infos_done)

    @staticmethod
    def set_fields(ctx, header, fields: dict) -> None:
        for name, value in fields.items():
            ctx.set(header[name], int(value))

    async def watch(self, ctx) -> None:
        """Strobes, and the block that was gone for."""
        box, clearing = self.box, 0
        while True:
            was_clearing = clearing
            _, _, busy, flush, clearing, waits, *values = await ctx.tick().sample(
                box.busy, box.flush, box.clearing, box.owed & ~box.timed_out, box.swap, box.go, box.fail, box.deliver)
            for name, value in zip(self.strobes, values, strict=True):
                self.strobes[name] += value
                if value and name != "fail":
                    self.events.append(name)
            if clearing and not was_clearing:
                assert self.flushed >= sequencer.FLUSH_CYCLES and not waits
                self.clearings.append(0)
            if clearing:
                assert busy and flush
                self.clearings[-1] += 1
            else:
                self.flushed = self.flushed + 1 if busy and flush else 0
            assert values[2] == (was_clearing and not clearing)  # a run has failed when nothing of it is left

    async def work(self, ctx) -> None:
        """Fetch each block; after a layer's last, its last result comes out some cycles later."""
        box, gone = self.box, 0
        while True:
            await ctx.tick()
            if self.strobes["go"] == gone or not self.fetching:
                continue
            gone += 1
            flags = self.blocks[self.block]["flags"]
            await wait(ctx, self.delay)
            await strobe(ctx, box.fetched_all)
            if flags & LAST:
                await wait(ctx, 3 * self.delay)
                ctx.set(box.final, bool(flags & FINAL))
                await strobe(ctx, box.layer_done)

    @property
    def background(self) -> list:
        return [self.watch, self.serve, self.work]


def engine_of(delay: int = 2, *, config: EngineConfig = CONFIG, block: dict | None = None, **image: int) -> Engine:
    """An engine whose image deviates as told, in its header or in its second block."""
    blocks = [dict(entry) for entry in BLOCKS]
    blocks[1].update(block or {})
    return Engine(Sequencer(config), IMAGE | image, blocks, delay)


async def start(ctx, box: Sequencer, received: int = INPUTS) -> None:
    ctx.set(box.received, received)
    await strobe(ctx, box.start)
    assert ctx.get(box.busy) and not ctx.get(box.done) and ctx.get(box.error) == ErrorCode.NONE


async def finish(ctx, box: Sequencer) -> None:
    while ctx.get(box.busy):
        await ctx.tick()
    await wait(ctx, 2)  # the strobes are out, and the surroundings have seen them


HEADER_ORDER = (OrderKind.HEADER, 32 // CONFIG.bus_bytes)


async def recover(ctx, engine: Engine, code: ErrorCode, failures: int = 1) -> None:
    box = engine.box
    await finish(ctx, box)
    assert ctx.get(box.error) == code and not ctx.get(box.done)
    assert (engine.strobes["fail"], engine.strobes["deliver"]) == (failures, 0)
    assert ctx.get(box.flush) and len(engine.clearings) == failures
    await wait(ctx, 30)
    await strobe(ctx, box.clear)
    assert ctx.get(box.error) == ErrorCode.NONE
    for signal in (box.failed, box.timed_out, box.malformed, box.owed):
        ctx.set(signal, 0)
    engine.image, engine.blocks, engine.block, engine.silent, engine.fetching = IMAGE, BLOCKS, -1, None, True
    await start(ctx, box)
    await finish(ctx, box)
    assert ctx.get(box.done) and ctx.get(box.error) == ErrorCode.NONE and engine.strobes["fail"] == len(engine.clearings) == failures


def check_failure(engine: Engine, code: ErrorCode, received: int = INPUTS) -> None:
    """The run must end with ``code``, and the next one, with a sound image, must succeed."""
    async def run(ctx) -> None:
        await start(ctx, engine.box, received)
        await recover(ctx, engine, code)

    run_bench(engine.box, run, background=engine.background)
