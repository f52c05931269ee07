"""ReadMaster before a memory that miscounts: RLAST too early, missing, or words that nobody asked for."""

from __future__ import annotations

import pytest

from hw_bench import run_bench, stalls, stream_get, stream_put, wait
from permfc_hw import read_master
from permfc_hw.read_master import ReadMaster
from test_hw_read_master import IMAGE_PAGE, AxiMemory, master_of, words_of

RUNS = [{"address": 100 * number, "words": 10, "joins": 0} for number in range(4)]


async def recover(ctx, master: ReadMaster) -> None:
    """Flush until nothing is owed; then words are right, and no fault is seen."""
    ctx.set(master.flush, 1)
    await ctx.tick()
    while ctx.get(master.owed):
        await ctx.tick()
    await wait(ctx, 20)
    ctx.set(master.flush, 0)
    for run in ({"address": 7, "words": 5, "joins": 0}, {"address": 12, "words": 600, "joins": 1}):
        await stream_put(ctx, master.runs, [run])
        assert await stream_get(ctx, master.words, run["words"]) == words_of([run], 32)
    await ctx.tick()
    assert not ctx.get(master.failed) and not ctx.get(master.owed)


@pytest.mark.parametrize("wrong", [{9}, {4}, {0}, {4, 9}, {29}, {25}, {5, 9, 10, 39}], ids=str)
@pytest.mark.parametrize("outstanding", [1, 4])
def test_rlast_on_the_wrong_beat_is_a_failure(wrong, outstanding):
    """Too late or too early: words are counted, so that nothing is owed for ever, nor taken for another burst's."""
    master = master_of(32, outstanding)
    memory = AxiMemory(master, answers=stalls(1))
    memory.wrong_lasts = wrong

    async def send(ctx) -> None:
        ctx.set(master.image_page, IMAGE_PAGE)
        await stream_put(ctx, master.runs, RUNS)

    async def receive(ctx) -> None:
        first = min(wrong)
        assert await stream_get(ctx, master.words, first) == words_of(RUNS, 32)[:first]
        assert not ctx.get(master.failed)
        assert await stream_get(ctx, master.words, 40 - first) == words_of(RUNS, 32)[first:]
        assert ctx.get(master.failed) and not ctx.get(master.timed_out)
        await recover(ctx, master)

    run_bench(master, send, receive, background=memory.benches)


@pytest.mark.parametrize(("outstanding", "cuts"), [(1, {0}), (1, {4}), (4, {0}), (4, {25}), (4, {4, 6, 10})], ids=str)
@pytest.mark.parametrize("flushed_first", [False, True])
def test_words_that_never_come_after_rlast_are_given_up(monkeypatch, cuts, outstanding, flushed_first):
    """Once the memory is silent. Those of a memory that is silent without RLAST are awaited."""
    monkeypatch.setattr(read_master, "TIMEOUT_BITS", 6)
    master = master_of(32, outstanding)
    memory = AxiMemory(master, answers=stalls(1))
    memory.cuts, memory.answering = cuts, False

    async def bench(ctx) -> None:
        ctx.set(master.image_page, IMAGE_PAGE)
        ctx.set(master.words.ready, 1)
        await stream_put(ctx, master.runs, RUNS[:outstanding])
        await wait(ctx, 10)
        if flushed_first:
            ctx.set(master.flush, 1)
            await wait(ctx, 300)
            assert ctx.get(master.owed)  # answers may still come, and they do
        memory.answering = True
        await wait(ctx, 50)
        assert ctx.get(master.failed) == (not flushed_first)
        ctx.set(master.words.ready, 0)
        await recover(ctx, master)

    run_bench(master, bench, background=memory.benches)


@pytest.mark.parametrize("last", [0, 1])
def test_a_word_that_was_not_asked_for_is_a_failure(last):
    """Between runs it is dropped."""
    master = master_of(32)
    memory = AxiMemory(master)

    async def bench(ctx) -> None:
        ctx.set(master.image_page, IMAGE_PAGE)
        for flushing in (1, 0):
            ctx.set(master.flush, flushing)
            ctx.set(master.words.ready, 1)
            ctx.set(master.last, last)
            await stream_put(ctx, master.beats, [99])
            await wait(ctx, 2)
            assert ctx.get(master.failed) == (not flushing)
            assert not ctx.get(master.owed)
            ctx.set(master.words.ready, 0)
        await recover(ctx, master)

    run_bench(master, bench, background=memory.benches)
