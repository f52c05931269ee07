"""cocotb tests of the flash reader with the model at its pins; run by test_hw_flash.py on flash_bench.sv."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from permfc_sim.memories import FLASH_RULES

BUS_BYTES, BYTES = int(os.environ["DATA_BITS"]) // 8, int(os.environ["BYTES"])
OKAY, DECERR = 0, 3
DEADLINE = 60_000  # cycles of one test
COMMAND_CLOCKS = 12
OVERHEAD = 8       # cycles of a command that are not clocks at the pins, at most


@dataclass
class Burst:
    """What is asked for, and the answers so far."""

    address: int
    beats: int
    words: list[int] = field(default_factory=list)
    responses: list[int] = field(default_factory=list)


class Master:
    """Asks for bursts in order, takes a word with a probability a cycle, and counts what happens at the pins."""

    def __init__(self, dut, seed: int = 0, ready: float = 1.0) -> None:
        self.dut, self.rng, self.ready = dut, random.Random(seed), ready
        self.asked: list[Burst] = []
        self.open: list[Burst] = []
        self.cycle = self.commands = self.nibbles = 0
        self.broken: set[str] = set()

    async def start(self) -> bytes:
        """Fill the flash, start its reader; the contents."""
        dut = self.dut
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        dut.s_axi_arvalid.value, dut.s_axi_rready.value, dut.rst.value = 0, 0, 1
        dut.s_axi_arsize.value, dut.s_axi_arburst.value = (BUS_BYTES - 1).bit_length(), 1
        contents = random.Random(1).randbytes(BYTES)
        for place, value in enumerate(contents):
            dut.store.words[place].value = value
        await self.reset()
        return contents

    async def reset(self) -> None:
        self.asked, self.open = [], []
        self.dut.rst.value = 1
        self.dut.s_axi_arvalid.value = 0
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await self.until(lambda: self.dut.initialised.value == 1)
        self.commands = self.nibbles = 0

    def read(self, address: int, beats: int) -> Burst:
        burst = Burst(address, beats)
        self.asked.append(burst)
        return burst

    async def finish(self) -> None:
        await self.until(lambda: not self.asked and not self.open)

    async def until(self, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            await self.tick()
            assert self.cycle < DEADLINE, "the reader does not get on"

    async def tick(self) -> None:
        dut = self.dut
        dut.s_axi_arvalid.value = int(bool(self.asked))
        if self.asked:
            dut.s_axi_araddr.value, dut.s_axi_arlen.value = self.asked[0].address, self.asked[0].beats - 1
        dut.s_axi_rready.value = int(self.rng.random() < self.ready)
        await FallingEdge(dut.clk)  # with SCK's rising edge
        await ReadOnly()
        if dut.rst.value == 0:
            self._observe()
        accepted = self.asked and dut.s_axi_arready.value == 1
        await RisingEdge(dut.clk)
        self.cycle += 1
        if accepted:
            self.open.append(self.asked.pop(0))

    def _observe(self) -> None:
        dut = self.dut
        broken = int(dut.broken.value)
        self.broken |= {rule for number, rule in enumerate(FLASH_RULES) if broken >> number & 1}
        assert not self.broken, f"cycle {self.cycle}: {self.broken}"
        assert dut.unstable.value == 0, "a word was withdrawn or changed before it was taken"
        self.commands += int(dut.read.value)
        self.nibbles += int(dut.beat.value)
        if dut.s_axi_rvalid.value == 1 and dut.s_axi_rready.value == 1:
            burst = self.open[0]
            burst.words.append(int(dut.s_axi_rdata.value))
            burst.responses.append(int(dut.s_axi_rresp.value))
            assert int(dut.s_axi_rlast.value) == (len(burst.words) == burst.beats)
            if len(burst.words) == burst.beats:
                self.open.pop(0)


def words(contents: bytes, burst: Burst) -> list[int]:
    begin = burst.address
    return [int.from_bytes(contents[at:at + BUS_BYTES], "little") for at in range(begin, begin + burst.beats * BUS_BYTES, BUS_BYTES)]


@cocotb.test()
async def a_read_that_goes_on_is_one_command(dut) -> None:
    master = Master(dut)
    contents = await master.start()
    began = master.cycle
    bursts = [master.read(address, 64) for address in range(0, BYTES, 64 * BUS_BYTES)]
    await master.finish()
    for burst in bursts:
        assert burst.words == words(contents, burst) and set(burst.responses) == {OKAY}
    assert master.commands == 1
    assert master.nibbles == 2 * BYTES, "every nibble crosses the pins once"
    assert master.cycle - began <= 2 * BYTES + COMMAND_CLOCKS + OVERHEAD * len(bursts)


@cocotb.test()
async def any_burst_anywhere(dut) -> None:
    """Of any length; the next one near, far, or where the last one ended; words taken late."""
    rng = random.Random(2)
    for ready in (1.0, 0.1, 0.6):
        master = Master(dut, seed=3, ready=ready)
        contents = await master.start()
        bursts, end, commands = [], -1, 0
        for _ in range(30):
            beats = rng.choice((1, 2, 3, 5, 16))
            address = end if rng.random() < 0.4 and 0 <= end <= BYTES - beats * BUS_BYTES else BUS_BYTES * rng.randrange(BYTES // BUS_BYTES - beats)
            commands += address != end
            bursts.append(master.read(address, beats))
            end = address + beats * BUS_BYTES
        await master.finish()
        for burst in bursts:
            assert burst.words == words(contents, burst) and set(burst.responses) == {OKAY}
        assert master.commands == commands
        assert master.nibbles == 2 * BUS_BYTES * sum(burst.beats for burst in bursts), "nothing is read in vain"


@cocotb.test()
async def outside_of_the_flash(dut) -> None:
    master = Master(dut)
    contents = await master.start()
    before, outside, far, after = master.read(16, 2), master.read(BYTES, 3), master.read(1 << 31, 1), master.read(16 + 2 * BUS_BYTES, 2)
    await master.finish()
    assert before.words == words(contents, before) and after.words == words(contents, after)
    assert outside.responses == [DECERR] * 3 and far.responses == [DECERR]
    assert before.responses == after.responses == [OKAY] * 2
    assert master.nibbles == 2 * BUS_BYTES * 4, "the flash is not asked for what it does not have"


@cocotb.test()
async def a_reset_in_the_middle_of_anything(dut) -> None:
    """Wherever a command, an address or data are broken off, the next reset's sequence finds the way back into continuous read."""
    master = Master(dut)
    contents = await master.start()
    for pause in range(0, 60, 3):
        master.read(8, 40)
        for _ in range(pause):
            await master.tick()
        await master.reset()
        burst = master.read(64, 3)
        await master.finish()
        assert burst.words == words(contents, burst)


@cocotb.test()
async def a_reset_in_the_middle_of_initialisation(dut) -> None:
    master = Master(dut)
    contents = await master.start()
    for pause in range(1, 400, 17):
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        for _ in range(pause):
            await master.tick()
        await master.reset()
        burst = master.read(128, 2)
        await master.finish()
        assert burst.words == words(contents, burst)
