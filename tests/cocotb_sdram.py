"""cocotb tests of the SDRAM controller with the model at its pins; run by test_hw_sdram.py on sdram_bench.sv."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from permfc_sim.memories import COMMANDS, SDRAM_RULES

BUS_BYTES, WIDTH = int(os.environ["DATA_BITS"]) // 8, int(os.environ["WIDTH"])
CAPACITY = int(os.environ["CAPACITY"])
REFI = int(os.environ["T_REFI"])
ROW_BYTES = (WIDTH // 8) << int(os.environ["COLUMN_BITS"])
SIZE = (BUS_BYTES - 1).bit_length()
OKAY, DECERR, FIXED, INCR = 0, 3, 0, 1
DEADLINE = 60_000  # cycles of one test


@dataclass
class Burst:
    """One AXI burst: what is asked for, and the answers so far. Without data it is a read."""

    address: int
    beats: int
    data: list[int] = field(default_factory=list)
    strobes: list[int] = field(default_factory=list)
    kind: int = INCR
    size: int = SIZE
    responses: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)


class Master:
    """Drives all five AXI channels, each item with its own probability a cycle, and counts what happens at the pins."""

    def __init__(self, dut, seed: int, **chances: float) -> None:
        self.dut, self.rng, self.cycle = dut, random.Random(seed), 0
        self.chances = dict.fromkeys(("ar", "aw", "w", "r", "b"), 1.0) | chances
        self.to_read: list[Burst] = []
        self.to_write: list[Burst] = []
        self.write_beats: list[tuple[int, int, int]] = []
        self.reading: list[Burst] = []
        self.writing: list[Burst] = []
        self.commands: Counter[str] = Counter()
        self.read_cycles: list[int] = []  # of each beat

    async def start(self) -> Master:
        dut = self.dut
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        for name in ("arvalid", "awvalid", "wvalid", "rready", "bready", "wlast"):
            getattr(dut, f"s_axi_{name}").value = 0
        dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        await self.until(lambda: dut.initialised.value == 1)
        return self

    def read(self, address: int, beats: int, **how: int) -> Burst:
        self.to_read.append(Burst(address, beats, **how))
        return self.to_read[-1]

    def write(self, address: int, data: list[int], strobes: list[int] | None = None, **how: int) -> Burst:
        strobes = strobes or [(1 << BUS_BYTES) - 1] * len(data)
        self.to_write.append(Burst(address, len(data), data, strobes, **how))
        self.write_beats += [(word, strobe, number == len(data) - 1) for number, (word, strobe) in enumerate(zip(data, strobes, strict=True))]
        return self.to_write[-1]

    @property
    def is_done(self) -> bool:
        return not (self.to_read or self.to_write or self.write_beats or self.reading or self.writing)

    async def finish(self) -> None:
        await self.until(lambda: self.is_done)

    async def until(self, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            await self.tick()
            assert self.cycle < DEADLINE, "the controller does not get on"

    def _offer(self, channel: str, is_there: bool) -> None:
        """An offer that was made stays."""
        valid = getattr(self.dut, f"s_axi_{channel}valid")
        if not is_there:
            valid.value = 0
        elif self.rng.random() < self.chances[channel]:
            valid.value = 1

    def _drive(self) -> None:
        dut = self.dut
        for channel, bursts in (("ar", self.to_read), ("aw", self.to_write)):
            if bursts:
                values = {"addr": bursts[0].address, "len": bursts[0].beats - 1, "size": bursts[0].size, "burst": bursts[0].kind}
                for name, value in values.items():
                    getattr(dut, f"s_axi_{channel}{name}").value = value
            self._offer(channel, bool(bursts))
        if self.write_beats:
            dut.s_axi_wdata.value, dut.s_axi_wstrb.value, dut.s_axi_wlast.value = self.write_beats[0]
        self._offer("w", bool(self.write_beats))
        dut.s_axi_rready.value = int(self.rng.random() < self.chances["r"])
        dut.s_axi_bready.value = int(self.rng.random() < self.chances["b"])

    async def tick(self) -> None:
        dut = self.dut
        self._drive()
        await ReadOnly()
        taken = {channel: self._is_taken(channel) for channel in self.chances}
        self.commands[COMMANDS[int(dut.command.value)]] += 1
        self.commands["word"] += int(dut.beat.value)
        assert int(dut.unstable.value) == 0, "an offer was withdrawn or changed"
        rule = int(dut.first_rule.value)
        assert rule == 0, f"cycle {self.cycle}: {SDRAM_RULES[rule - 1]}"
        if taken["r"]:
            burst = self.reading[0]
            burst.words.append(int(dut.s_axi_rdata.value))
            burst.responses.append(int(dut.s_axi_rresp.value))
            self.read_cycles.append(self.cycle)
            assert int(dut.s_axi_rlast.value) == (len(burst.words) == burst.beats)
        if taken["b"]:
            self.writing[0].responses.append(int(dut.s_axi_bresp.value))
        await RisingEdge(dut.clk)
        self.cycle += 1
        self._move(taken)

    def _is_taken(self, channel: str) -> bool:
        return getattr(self.dut, f"s_axi_{channel}valid").value == 1 and getattr(self.dut, f"s_axi_{channel}ready").value == 1

    def _move(self, taken: dict[str, bool]) -> None:
        if taken["ar"]:
            self.reading.append(self.to_read.pop(0))
            self.dut.s_axi_arvalid.value = 0
        if taken["aw"]:
            self.writing.append(self.to_write.pop(0))
            self.dut.s_axi_awvalid.value = 0
        if taken["w"]:
            self.write_beats.pop(0)
            self.dut.s_axi_wvalid.value = 0
        if taken["r"] and len(self.reading[0].words) == self.reading[0].beats:
            self.reading.pop(0)
        if taken["b"]:
            self.writing.pop(0)


class Contents:
    """What the memory should hold."""

    def __init__(self) -> None:
        self.bytes = bytearray(CAPACITY)

    def write(self, burst: Burst) -> None:
        for number, (word, strobe) in enumerate(zip(burst.data, burst.strobes, strict=True)):
            at = burst.address + number * BUS_BYTES
            for byte, value in enumerate(word.to_bytes(BUS_BYTES, "little")):
                if strobe >> byte & 1:
                    self.bytes[at + byte] = value

    def check(self, burst: Burst) -> None:
        got = b"".join(word.to_bytes(BUS_BYTES, "little") for word in burst.words)
        assert got == self.bytes[burst.address:burst.address + len(got)], f"{burst.beats} words from {burst.address:#x} differ"
        assert burst.responses == [OKAY] * burst.beats


def random_place(rng: random.Random, begin: int, end: int) -> tuple[int, int]:
    """Address and beats of a burst inside of some bytes, often short, in one 4 KiB page as AXI demands."""
    address = rng.randrange(begin // BUS_BYTES, end // BUS_BYTES) * BUS_BYTES
    most = min(256, (min(end, (address // 4096 + 1) * 4096) - address) // BUS_BYTES)
    return address, rng.choice([1, min(2, most), min(rng.randint(1, 16), most), rng.randint(1, most)])


def random_words(rng: random.Random, beats: int) -> list[int]:
    return [rng.getrandbits(8 * BUS_BYTES) for _ in range(beats)]


LONGEST = min(4096, 256 * BUS_BYTES)  # bytes of a burst
contents = Contents()


async def filled(dut, seed: int) -> Master:
    """A controller just after power-up, whose memory was written from end to end; the model keeps its contents from test to test."""
    master = await Master(dut, seed).start()
    if not any(contents.bytes):
        rng = random.Random(seed)
        for address in range(0, CAPACITY, LONGEST):
            contents.write(master.write(address, random_words(rng, LONGEST // BUS_BYTES)))
        await master.finish()
    return master


@cocotb.test()
@cocotb.parametrize(chances=[{}, {"ar": 0.1}, {"r": 0.3}])
async def reads_find_what_was_written(dut, chances: dict[str, float]) -> None:
    master = await filled(dut, 1)
    master.chances |= chances
    rng = random.Random(2)
    bursts = [master.read(*random_place(rng, 0, CAPACITY)) for _ in range(50)]
    await master.finish()
    for burst in bursts:
        contents.check(burst)


@cocotb.test()
@cocotb.parametrize(chances=[{}, {"aw": 0.2, "w": 0.6, "b": 0.3}])
async def reads_and_writes_together(dut, chances: dict[str, float]) -> None:
    """Writes of some bytes to one half of the memory while the other one is read."""
    master = await filled(dut, 3)
    master.chances |= chances
    rng = random.Random(4)
    half = CAPACITY // 2
    reads = [master.read(*random_place(rng, 0, half)) for _ in range(25)]
    for _ in range(40):
        address, beats = random_place(rng, half, CAPACITY)
        beats = min(beats, 40)
        contents.write(master.write(address, random_words(rng, beats), [rng.getrandbits(BUS_BYTES) for _ in range(beats)]))
    await master.finish()
    reads += [master.read(address, LONGEST // BUS_BYTES) for address in range(half, CAPACITY, LONGEST)]
    await master.finish()
    for burst in reads:
        contents.check(burst)


@cocotb.test()
async def a_write_is_read_at_once(dut) -> None:
    """In the row that is open, and in another one of its bank: tWR, and the turn of the data pins."""
    master = await filled(dut, 5)
    rng = random.Random(6)
    for number in range(30):
        address = rng.choice([0, CAPACITY // 2]) + rng.randrange(8) * BUS_BYTES
        write = master.write(address, random_words(rng, 1 + number % 3))
        contents.write(write)
        await master.finish()
        assert write.responses == [OKAY]
        read = master.read(address, write.beats)
        await master.finish()
        contents.check(read)


@cocotb.test()
async def what_is_not_there_is_refused(dut) -> None:
    master = await filled(dut, 7)
    rng = random.Random(8)
    beyond = [master.read(CAPACITY, 5), master.read(1 << 31, 1), master.read(0, 3, kind=FIXED), master.read(BUS_BYTES, 2, size=SIZE - 1)]
    good = master.read(0, 4)
    beyond += [master.write(CAPACITY * 4, random_words(rng, 3)), master.write(0, random_words(rng, 2), kind=FIXED)]
    await master.finish()
    again = master.read(0, 4)
    await master.finish()
    for burst in beyond:
        assert burst.responses == [DECERR] * (1 if burst.data else burst.beats)
    contents.check(good)
    contents.check(again)


@cocotb.test()
async def refused_bursts_are_paused_for_refreshes_too(dut) -> None:
    """Their rows do not exist, and must not be taken for rows that do."""
    master = await filled(dut, 14)
    rng = random.Random(15)
    good = []
    for number in range(4 * REFI // 64):
        master.read(CAPACITY + number * LONGEST, 60)
        good.append(master.read(*random_place(rng, number % 16 * CAPACITY // 16, CAPACITY)))
    await master.finish()
    assert master.commands["REFRESH"] >= 4
    for burst in good:
        contents.check(burst)


@cocotb.test()
async def it_streams(dut) -> None:
    """Every word of the part moves once, and nothing but refreshes and the first row stops the stream."""
    master = await filled(dut, 9)
    master.commands.clear()
    master.read_cycles.clear()
    bursts = [master.read(address, LONGEST // BUS_BYTES) for address in range(0, CAPACITY, LONGEST)]
    await master.finish()
    for burst in bursts:
        contents.check(burst)
    words = CAPACITY * 8 // WIDTH
    assert words <= master.commands["word"] < words + 8, "no word is read twice"
    refreshes = master.commands["REFRESH"]
    spent = master.read_cycles[-1] - master.read_cycles[0] + 1
    rcd, rp, rfc = (int(os.environ[name]) for name in ("T_RCD", "T_RP", "T_RFC"))
    pause = rp + rcd + 20  # a batch of refreshes: the pipeline drains and fills once
    assert spent <= words + refreshes * rfc + -(-refreshes // 7) * pause


@cocotb.test()
async def nearby_pieces_of_a_row_leave_it_open(dut) -> None:
    """Bursts of a few words, with gaps between them: READs cut each other short, and only a row's end costs an ACTIVATE."""
    master = await filled(dut, 10)
    await master.until(lambda: master.cycle % (2 * REFI) == 0)  # idle: refreshes are paid, all rows closed
    master.commands.clear()
    master.read_cycles.clear()
    beats = -(-64 // BUS_BYTES)
    bursts = [master.read(address, beats) for address in range(0, CAPACITY // 4, 3 * 64)]
    await master.finish()
    for burst in bursts:
        contents.check(burst)
    rows = {at // ROW_BYTES for burst in bursts for at in (burst.address, burst.address + beats * BUS_BYTES - 1)}
    assert len(rows) <= master.commands["ACTIVATE"] <= len(rows) + 4 * (master.commands["REFRESH"] > 0)


@cocotb.test()
async def idle_refreshes_come_early(dut) -> None:
    master = await Master(dut, 11).start()
    master.commands.clear()
    begin = master.cycle
    await master.until(lambda: master.cycle >= begin + 12 * REFI)
    assert 11 <= master.commands["REFRESH"] <= 13
    assert master.commands["ACTIVATE"] == master.commands["READ"] == 0


@cocotb.test()
@cocotb.parametrize(channel=["r", "w", "b"])
async def a_bus_that_stands_still_holds_up_no_refresh(dut, channel: str) -> None:
    """Longer than refreshes may be late, three times in the middle of reads and writes; the rows that were in use are opened again."""
    master = await filled(dut, 12)
    rng = random.Random(13)
    half = CAPACITY // 2
    reads = [master.read(*random_place(rng, 0, half)) for _ in range(12)]
    for address in range(half, CAPACITY, LONGEST):
        contents.write(master.write(address, random_words(rng, LONGEST // BUS_BYTES)))
    for _ in range(3):
        moving = master.cycle + rng.randrange(60, 200)
        await master.until(lambda moving=moving: master.cycle >= moving)
        master.chances[channel] = 0.0
        standing = master.cycle + 11 * REFI
        await master.until(lambda standing=standing: master.cycle >= standing)
        master.chances[channel] = 1.0
    await master.finish()
    reads += [master.read(address, LONGEST // BUS_BYTES) for address in range(half, CAPACITY, LONGEST)]
    await master.finish()
    for burst in reads:
        contents.check(burst)
