"""Sequencer: the program block after block, and a named error for everything that can be wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hw_bench import run_bench, strobe, wait
from hw_sequencer_bench import CONFIG, FINAL, FIRST, HEADER_ORDER, INPUTS, LAST, check_failure, engine_of, finish, recover, start
from permfc.config import EngineConfig
from permfc.format import MAGIC, MAX_CLASSES, VERSION, ErrorCode, ImageFlag
from permfc_hw import sequencer
from permfc_hw.lane import Lane
from permfc_hw.orders import OrderKind
from permfc_hw.round_control import RoundControl
from permfc_hw.sequencer import Sequencer


@pytest.mark.parametrize("delay", [0, 1, 2, 7, 20])
def test_a_program_of_two_layers(delay):
    """The next layer's descriptor is ordered before the layer is done, its segments only after the hand-over."""
    engine = engine_of(delay)
    box = engine.box

    async def run(ctx) -> None:
        assert ctx.get(box.flush)
        for _ in range(2):
            engine.events.clear()
            engine.block = -1
            await start(ctx, box)
            while not ctx.get(box.orders.valid):
                await ctx.tick()
            assert not ctx.get(box.flush)  # who takes the first order is awake
            await finish(ctx, box)
            assert ctx.get(box.done) and ctx.get(box.error) == ErrorCode.NONE and ctx.get(box.flush)
            descriptors = [(OrderKind.DESCRIPTOR, words) for words in (11, 12, 13)]
            assert engine.events == [HEADER_ORDER, "swap", descriptors[0], "go", descriptors[1], "go", *engine.events[6:8], "go", "deliver"]
            assert set(map(str, engine.events[6:8])) == {str(descriptors[2]), "swap"}
            await strobe(ctx, box.clear)
            assert not ctx.get(box.done)
        assert engine.strobes["fail"] == 0 and not engine.clearings

    run_bench(box, run, background=engine.background)


@pytest.mark.parametrize("outputs", [1, 2, 3, 31, 32])
@pytest.mark.parametrize("bus_bits", [16, 32, 64, 512])
def test_words_of_a_block_s_parameters(outputs, bus_bits):
    box = Sequencer(EngineConfig(lanes=4, bus_bits=bus_bits, block_outputs=32, features=64))

    async def bench(ctx) -> None:
        ctx.set(box.block_header.outputs, outputs)
        await ctx.tick()
        assert ctx.get(box.parameter_words) == -(-16 * outputs // bus_bits)

    run_bench(box, bench)


@pytest.mark.parametrize(("fields", "code"), [
    ({"magic": MAGIC ^ 1 << 31}, ErrorCode.MAGIC),
    ({"magic": 0, "version": 0}, ErrorCode.MAGIC),
    ({"version": VERSION + 1}, ErrorCode.VERSION),
    ({"version": VERSION + 256}, ErrorCode.VERSION),
    ({"bus_bytes_log2": 2}, ErrorCode.CONFIG),
    ({"bus_bytes_log2": 4}, ErrorCode.CONFIG),
    ({"levels": 9}, ErrorCode.CONFIG),
    ({"levels": 16}, ErrorCode.CONFIG),
    ({"features": 65}, ErrorCode.CONFIG),
    ({"features": 0xFFFF}, ErrorCode.CONFIG),
    ({"block_outputs": 33}, ErrorCode.CONFIG),
    ({"block_outputs": 64}, ErrorCode.CONFIG),
    ({"accumulator_bits": 25}, ErrorCode.CONFIG),
    ({"accumulator_bits": 255}, ErrorCode.CONFIG),
    ({"inputs": INPUTS + 1}, ErrorCode.INPUT_LENGTH),
    ({"inputs": 0}, ErrorCode.INPUT_LENGTH),
    ({"descriptor_words": 0}, ErrorCode.DESCRIPTOR),
], ids=str)
def test_image_headers_that_are_refused(fields, code):
    engine = engine_of(**fields)
    check_failure(engine, code)
    assert engine.events[1] == HEADER_ORDER  # nothing was ordered after the header of the refused image


@pytest.mark.parametrize("fields", [
    {"levels": 3}, {"features": 32}, {"block_outputs": 31}, {"accumulator_bits": 16}, {"flags": ImageFlag.TABLES},
], ids=str)
def test_smaller_images_are_accepted(fields):
    engine = engine_of(**fields)

    async def run(ctx) -> None:
        await start(ctx, engine.box)
        await finish(ctx, engine.box)
        assert ctx.get(engine.box.done)

    run_bench(engine.box, run, background=engine.background)


def test_an_engine_without_tables_refuses_an_image_with_tables():
    check_failure(engine_of(config=replace(CONFIG, tables=False), flags=ImageFlag.TABLES), ErrorCode.CONFIG)


@pytest.mark.parametrize("received", [0, INPUTS - 1, INPUTS + 1, CONFIG.features + 1])
def test_too_few_or_too_many_inputs(received):
    check_failure(engine_of(), ErrorCode.INPUT_LENGTH, received)


@pytest.mark.parametrize("fields", [
    {"outputs": 0}, {"outputs": 33}, {"outputs": 0x8000}, {"classes": 0}, {"classes": MAX_CLASSES + 1}, {"classes": 255},
], ids=str)
def test_blocks_that_are_refused(fields):
    check_failure(engine_of(block=fields), ErrorCode.DESCRIPTOR)


@pytest.mark.parametrize("fields", [
    {"next_words": 0}, {"next_words": 0, "flags": FIRST | LAST}, {"next_words": 0, "flags": FINAL}, {"flags": LAST | FINAL},
], ids=str)
def test_a_program_ends_with_its_last_block(fields):
    check_failure(engine_of(block=fields), ErrorCode.DESCRIPTOR)


@pytest.mark.parametrize("waits_for", ["descriptor", "block"])
def test_a_run_without_words_from_memory_is_given_up(monkeypatch, waits_for):
    """A descriptor shorter than its class infos, for one, is never complete. Slow words are not silence."""
    monkeypatch.setattr(sequencer, "STUCK_BITS", 8)
    limit = 1 << 8
    engine = engine_of()
    engine.silent = OrderKind.DESCRIPTOR if waits_for == "descriptor" else None
    engine.fetching = waits_for != "block"
    box = engine.box

    async def run(ctx) -> None:
        await start(ctx, box)
        for _ in range(5):
            await wait(ctx, limit - 50)
            await strobe(ctx, box.progress)
        assert ctx.get(box.busy)
        await wait(ctx, limit - 50)
        assert ctx.get(box.busy) and ctx.get(box.error) == ErrorCode.NONE
        await wait(ctx, 50)
        assert ctx.get(box.error) == ErrorCode.DESCRIPTOR
        await recover(ctx, engine, ErrorCode.DESCRIPTOR)

    run_bench(box, run, background=engine.background)


@pytest.mark.parametrize("cycle", [1, 2, 5, 6, 7, 9, 11, 13, 15, 18, 21, 25, 30, 40])
@pytest.mark.parametrize(("fault", "code"), [("failed", ErrorCode.BUS), ("timed_out", ErrorCode.TIMEOUT), ("malformed", ErrorCode.DESCRIPTOR)])
def test_faults_at_any_time(cycle, fault, code):
    """The read master's flags stay until the flush; the fetcher's is a strobe."""
    engine = engine_of(delay=3)
    box = engine.box

    async def run(ctx) -> None:
        await start(ctx, box)
        await wait(ctx, cycle)
        ctx.set(getattr(box, fault), 1)
        ctx.set(box.owed, fault == "timed_out")
        await ctx.tick()
        if fault == "malformed":
            ctx.set(box.malformed, 0)
        await recover(ctx, engine, code)

    run_bench(box, run, background=engine.background)


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("fault", ["failed", "timed_out", "malformed"])
def test_a_run_is_either_delivered_or_failed(monkeypatch, fault, delay):
    """Whenever the fault comes, up to the last cycle and beyond."""
    monkeypatch.setattr(sequencer, "FLUSH_CYCLES", 8)  # many runs fail
    engine = engine_of(delay)
    box = engine.box
    outcomes = []

    async def run(ctx) -> None:
        for cycle in range(1, 120, 1 + delay // 2):
            engine.block, engine.strobes, engine.clearings = -1, dict.fromkeys(engine.strobes, 0), []
            await start(ctx, box)
            await wait(ctx, cycle)
            await strobe(ctx, getattr(box, fault))
            await finish(ctx, box)
            done, failed = ctx.get(box.done), int(ctx.get(box.error) != ErrorCode.NONE)
            assert (engine.strobes["deliver"], engine.strobes["fail"]) == (done, failed) and done + failed == 1
            assert len(engine.clearings) == failed
            outcomes.append(done)
            await wait(ctx, 40)  # the surroundings are at rest, too

    run_bench(box, run, background=engine.background, deadline=60_000)
    assert set(outcomes) == {0, 1}


@pytest.mark.parametrize("gives_up", [False, True])
def test_after_a_fault_answers_are_awaited(gives_up):
    """Until none is owed, or the memory does not answer either."""
    engine = engine_of()
    engine.silent = OrderKind.DESCRIPTOR
    box = engine.box

    async def run(ctx) -> None:
        await start(ctx, box)
        await wait(ctx, 30)
        ctx.set(box.owed, 1)
        ctx.set(box.failed, 1)
        await wait(ctx, 2)
        ctx.set(box.failed, 0)
        await wait(ctx, 300)
        assert ctx.get(box.busy) and ctx.get(box.flush) and engine.strobes["fail"] == 0
        ctx.set(box.timed_out if gives_up else box.owed, int(gives_up))
        await wait(ctx, 2)
        assert ctx.get(box.clearing)
        ctx.set(box.timed_out, 0)
        await finish(ctx, box)
        assert ctx.get(box.error) == ErrorCode.BUS
        if gives_up:
            await start_while_owed(ctx, box)
        ctx.set(box.owed, 0)
        await recover(ctx, engine, ErrorCode.TIMEOUT if gives_up else ErrorCode.BUS, failures=1 + gives_up)

    async def start_while_owed(ctx, box: Sequencer) -> None:
        """Late answers must not be taken for the new run's."""
        await strobe(ctx, box.start)
        await wait(ctx, 200)
        assert ctx.get(box.busy) and not ctx.get(box.clearing)

    run_bench(box, run, background=engine.background)


def sweep_cycles(config: EngineConfig) -> int:
    """From a silent sweep's order until the last of a lane's sums is 0."""
    control, cycles = RoundControl(config), []
    most = config.block_outputs

    async def run(ctx) -> None:
        ctx.set(control.rounds.payload, {"turns": most // 2, "outputs": most, "words": 0, "sweep": 1, "silent": 1})
        ctx.set(control.rounds.valid, 1)
        begun = 0
        while not begun:
            _, _, begun = await ctx.tick().sample(control.rounds.ready)
            cycles.append(begun)
        ctx.set(control.rounds.valid, 0)
        while ctx.get(control.decoding):
            await ctx.tick()
            cycles.append(0)

    run_bench(control, run)
    return len(cycles) + Lane.latency


@pytest.mark.parametrize("block_outputs", [32, 64, 512])
def test_a_failed_run_is_cleared(block_outputs):
    """Long enough for a sweep over all outputs. The host can neither start a run meanwhile nor make the error vanish."""
    config = replace(CONFIG, block_outputs=block_outputs)
    engine = engine_of(config=config)
    box = engine.box

    async def run(ctx) -> None:
        await start(ctx, box)
        await wait(ctx, 20)
        await strobe(ctx, box.malformed)
        while not ctx.get(box.clearing):
            await ctx.tick()
        await strobe(ctx, box.start)
        await strobe(ctx, box.clear)
        await finish(ctx, box)
        assert ctx.get(box.error) == ErrorCode.DESCRIPTOR
        assert engine.clearings[0] >= sweep_cycles(config)
        await wait(ctx, 20)
        assert not ctx.get(box.busy)
        await recover(ctx, engine, ErrorCode.DESCRIPTOR)

    run_bench(box, run, background=engine.background)
