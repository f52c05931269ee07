"""cocotb tests of axi_memory.sv alone; run by test_axi_memory.py."""

from __future__ import annotations

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

BYTES = int(os.environ["BUS_BITS"]) // 8
WORDS = int(os.environ["WORDS"])
SLVERR, DECERR = 2, 3


def content(word: int) -> int:
    """What the test's memory file holds."""
    return (word * 0x9E37_79B9_7F4A_7C15 + 1) & ((1 << (8 * BYTES)) - 1)


class Master:
    """Issues reads as fast as the memory takes them and records every handshake with its cycle."""

    def __init__(self, dut) -> None:
        self.dut, self.cycle = dut, 0
        self.reads: list[tuple[int, int]] = []
        self.accepted: list[int] = []
        self.beats: list[tuple[int, int, int, int]] = []  # cycle, data, response, last
        self.ready_probability = 1.0
        self.most_open = 0

    async def start(self, *, latency: int = 30, gap: float = 0.0, outstanding: int = 8, seed: int = 1) -> None:
        dut = self.dut
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        dut.latency.value, dut.gap.value, dut.outstanding.value, dut.seed.value = latency, int(gap * 65536), outstanding, seed
        dut.fault.value, dut.fault_address.value = 0, 0
        dut.s_axi_arvalid.value, dut.s_axi_rready.value, dut.rst.value = 0, 0, 1
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut, rng = self.dut, random.Random(1)
        issued = 0
        while True:
            if issued < len(self.reads):
                address, beats = self.reads[issued]
                dut.s_axi_araddr.value, dut.s_axi_arlen.value = address, beats - 1
            dut.s_axi_arvalid.value = int(issued < len(self.reads))
            dut.s_axi_rready.value = int(rng.random() < self.ready_probability)
            await ReadOnly()
            address_taken = dut.s_axi_arvalid.value == 1 and dut.s_axi_arready.value == 1
            data_taken = dut.s_axi_rvalid.value == 1 and dut.s_axi_rready.value == 1
            beat = (self.cycle, *(int(signal.value) for signal in (dut.s_axi_rdata, dut.s_axi_rresp, dut.s_axi_rlast)))
            await RisingEdge(dut.clk)
            if address_taken:
                issued += 1
                self.accepted.append(self.cycle)
            if data_taken:
                self.beats.append(beat)
            finished = sum(last for *_, last in self.beats)
            self.most_open = max(self.most_open, issued - finished)
            self.cycle += 1

    async def read(self, reads: list[tuple[int, int]], limit: int = 5000) -> None:
        """Issue reads (byte address, beats) and return when the last beat has arrived."""
        self.reads += reads
        wanted = sum(beats for _, beats in self.reads)
        for _ in range(limit):
            if len(self.beats) == wanted:
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{len(self.beats)} of {wanted} beats arrived in {limit} cycles")

    def check(self) -> None:
        """All data, in order, with OKAY and the last beat of each read marked."""
        expected = [
            (content(address // BYTES + beat), 0, int(beat == beats - 1)) for address, beats in self.reads for beat in range(beats)
        ]
        assert [beat[1:] for beat in self.beats] == expected


@cocotb.test()
async def latency_is_exact_and_overlaps(dut) -> None:
    master = Master(dut)
    await master.start(latency=30, outstanding=8)
    await master.read([(BYTES * 16 * k, 16) for k in range(8)])
    master.check()
    assert master.beats[0][0] == master.accepted[0] + 30
    assert [beat[0] - master.beats[0][0] for beat in master.beats] == list(range(128)), "without gaps, one beat a cycle"


@cocotb.test()
async def shortest_latency(dut) -> None:
    master = Master(dut)
    await master.start(latency=2)
    await master.read([(0, 1)])
    assert master.beats[0][0] == master.accepted[0] + 2


@cocotb.test()
async def outstanding_reads_are_limited(dut) -> None:
    master = Master(dut)
    await master.start(latency=20, outstanding=3)
    await master.read([(0, 1)] * 12)
    assert master.most_open == 3


@cocotb.test()
async def random_gaps_change_times_but_not_data(dut) -> None:
    rng = random.Random(2)
    master = Master(dut)
    master.ready_probability = 0.7
    await master.start(latency=7, gap=0.4, outstanding=4, seed=9)
    reads = [(BYTES * rng.randrange(WORDS - 16), rng.randint(1, 16)) for _ in range(60)]
    await master.read(reads)
    master.check()
    spent = master.beats[-1][0] - master.beats[0][0]
    assert spent > 1.3 * len(master.beats), f"{len(master.beats)} beats in {spent} cycles: too few gaps"


@cocotb.test()
async def errors_are_answered_where_they_are_asked_for(dut) -> None:
    master = Master(dut)
    await master.start()
    dut.fault.value, dut.fault_address.value = 1, BYTES * 5
    await master.read([(0, 8), (BYTES * (WORDS - 2), 4)])
    assert [beat[2] for beat in master.beats] == [0, 0, 0, 0, 0, SLVERR, 0, 0, 0, 0, DECERR, DECERR]


@cocotb.test()
async def silence_lasts_until_the_fault_is_taken_away(dut) -> None:
    master = Master(dut)
    await master.start()
    dut.fault.value, dut.fault_address.value = 2, BYTES * 3
    master.reads = [(0, 8)]
    for _ in range(200):
        await RisingEdge(dut.clk)
    assert len(master.beats) == 3
    dut.fault.value = 0
    await master.read([])
    master.check()


@cocotb.test()
async def rlast_is_wrong_where_it_is_asked_for(dut) -> None:
    """And all data come."""
    master = Master(dut)
    await master.start()
    for beat, lasts in ((5, [0, 0, 0, 0, 0, 1, 0, 1]), (7, [0] * 8)):
        dut.fault.value, dut.fault_address.value = 3, BYTES * beat
        await master.read([(0, 8)])
        assert [last for *_, last in master.beats[-8:]] == lasts
    dut.fault.value = 0
    await master.read([(0, 8)] * 20)  # it has not lost count


@cocotb.test()
async def a_read_ends_where_it_is_asked_for(dut) -> None:
    master = Master(dut)
    await master.start()
    dut.fault.value, dut.fault_address.value = 4, BYTES * 5
    master.reads = [(0, 8), (BYTES * 16, 3)]
    for _ in range(200):
        await RisingEdge(dut.clk)
    assert [(data, last) for _, data, _, last in master.beats] == [
        *((content(word), int(word == 5)) for word in range(6)), *((content(word), int(word == 18)) for word in (16, 17, 18))]
