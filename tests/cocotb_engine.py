"""cocotb tests of the whole engine with another's AXI4-Lite master and streams; run by test_system_cocotb.py.

The memory is HDL and loaded by a plusarg; inputs and golden results come in a file named by CASE.
"""

from __future__ import annotations

import os
import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamSink, AxiStreamSource

from permfc.format import MAGIC, Control, ErrorCode, Register, Status
from permfc_sim.device import RULES

CASE = np.load(os.environ["CASE"])
POLLS = 2000
WRONG_LAST, CUT = 3, 4  # faults of axi_memory.sv


def pauses(seed: int, probability: float):
    """Endless random pauses of a stream."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < probability


class Bench:
    """The engine with its memory, a register master, a source and a sink."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)

    async def start(self, *, latency: int, gap: float, outstanding: int, stall: float) -> None:
        dut = self.dut
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        dut.memory_latency.value, dut.memory_gap.value, dut.memory_outstanding.value = latency, int(gap * 65536), outstanding
        dut.memory_seed.value, dut.memory_fault.value, dut.memory_fault_address.value = 1, 0, 0
        dut.rst.value = 1
        await ClockCycles(dut.clk, 4)
        dut.rst.value = 0
        await ClockCycles(dut.clk, 2)
        if stall:
            self.source.set_pause_generator(pauses(1, stall))
            self.sink.set_pause_generator(pauses(2, stall))
            write, read = self.registers.write_if, self.registers.read_if
            for number, channel in enumerate((write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)):
                channel.set_pause_generator(pauses(3 + number, stall))

    async def run(self, values: np.ndarray) -> ErrorCode:
        """Send an input and start; the error code when the engine is not busy any more."""
        await self.source.send(values.astype(np.int8).tobytes())
        await self.source.wait()
        await self.registers.write_dword(Register.CONTROL, Control.START)
        for _ in range(POLLS):
            status = await self.registers.read_dword(Register.STATUS)
            if not status & Status.BUSY:
                return ErrorCode(status >> 8 & 0xFF)
            await ClockCycles(self.dut.clk, 50)
        raise AssertionError("the engine is still busy")

    async def results(self) -> np.ndarray:
        """One frame of results, int32; the sink ends a frame at TLAST."""
        frame = await self.sink.recv()
        return np.frombuffer(bytes(frame.tdata), dtype="<i4")

    def check_protocol(self) -> None:
        assert int(self.dut.violations.value) == 0, f"rule {int(self.dut.first_rule.value)} in cycle {int(self.dut.first_cycle.value)}"


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5], gap=[0.0, 0.4])
async def results_equal_the_golden_model(dut, stall: float, gap: float) -> None:
    bench = Bench(dut)
    await bench.start(latency=30, gap=gap, outstanding=8, stall=stall)
    assert await bench.registers.read_dword(Register.ID) == MAGIC
    for values, golden, words in zip(CASE["x"], CASE["golden"], CASE["words"], strict=True):
        before = int(dut.beats.value)
        assert await bench.run(values) is ErrorCode.NONE
        np.testing.assert_array_equal(await bench.results(), golden)
        assert int(dut.beats.value) - before == words
        assert await bench.registers.read_dword(Register.BEATS) == words
    assert bench.sink.empty()
    bench.check_protocol()


@cocotb.test()
async def a_bus_error_is_reported_and_forgotten(dut) -> None:
    bench = Bench(dut)
    await bench.start(latency=10, gap=0.2, outstanding=4, stall=0.2)
    dut.memory_fault.value, dut.memory_fault_address.value = 1, int(CASE["segment"])
    assert await bench.run(CASE["x"][0]) is ErrorCode.BUS
    dut.memory_fault.value = 0
    await bench.registers.write_dword(Register.CONTROL, Control.CLEAR)
    assert await bench.run(CASE["x"][0]) is ErrorCode.NONE
    np.testing.assert_array_equal(await bench.results(), CASE["golden"][0])
    bench.check_protocol()


@cocotb.test()
@cocotb.parametrize((("fault", "place"), [(WRONG_LAST, 0), (WRONG_LAST, 1), (WRONG_LAST, 2), (CUT, 0)]))
async def rlast_on_the_wrong_beat_is_a_bus_error(dut, fault: int, place: int) -> None:
    """Too early or missing. The next run is right, also if the read ended with that beat and the engine waits for the others in vain."""
    bench = Bench(dut)
    await bench.start(latency=10, gap=0.2, outstanding=4, stall=0.2)
    dut.memory_fault.value, dut.memory_fault_address.value = fault, int(CASE["places"][place])
    assert await bench.run(CASE["x"][0]) is ErrorCode.BUS
    assert int(dut.first_rule.value) == 1 + RULES.index("RLAST is not on the last beat")
    dut.memory_fault.value = 0
    for values, golden in zip(CASE["x"], CASE["golden"], strict=True):
        assert await bench.run(values) is ErrorCode.NONE
        np.testing.assert_array_equal(await bench.results(), golden)


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.8])
async def a_failed_run_gives_no_result(dut, stall: float) -> None:
    """However many blocks of the final layer were complete; the sink would join them with the next frame. Nobody writes CLEAR."""
    bench = Bench(dut)
    await bench.start(latency=10, gap=0.2, outstanding=4, stall=stall)
    for address in CASE["final_segments"]:
        dut.memory_fault.value, dut.memory_fault_address.value = 1, int(address)
        assert await bench.run(CASE["x"][0]) is ErrorCode.BUS
        assert bench.sink.empty() and dut.m_axis_tvalid.value == 0
        dut.memory_fault.value = 0
        assert await bench.run(CASE["x"][0]) is ErrorCode.NONE
        np.testing.assert_array_equal(await bench.results(), CASE["golden"][0])
    bench.check_protocol()


@cocotb.test()
@cocotb.parametrize(taken=[0, 1, 8])
async def clear_leaves_results_that_wait(dut, taken: int) -> None:
    """Also when some are taken already: their frame ends as every frame does."""
    bench = Bench(dut)
    await bench.start(latency=10, gap=0.0, outstanding=4, stall=0.0)
    for number, golden in enumerate(CASE["golden"]):
        bench.sink.pause = True
        assert await bench.run(CASE["x"][number]) is ErrorCode.NONE
        bench.sink.pause = False
        for _ in range(taken):
            await RisingEdge(dut.clk)
            while not (dut.m_axis_tvalid.value == 1 and dut.m_axis_tready.value == 1):
                await RisingEdge(dut.clk)
        bench.sink.pause = True
        await ClockCycles(dut.clk, 9)
        await bench.registers.write_dword(Register.CONTROL, Control.CLEAR)
        await ClockCycles(dut.clk, 9)
        bench.check_protocol()  # TVALID is not withdrawn
        assert await bench.registers.read_dword(Register.STATUS) == Status.RESULTS
        bench.sink.pause = False
        np.testing.assert_array_equal(await bench.results(), golden)
        assert await bench.registers.read_dword(Register.STATUS) == 0
    bench.check_protocol()


@cocotb.test()
async def one_input_too_many_is_reported(dut) -> None:
    bench = Bench(dut)
    await bench.start(latency=10, gap=0.0, outstanding=4, stall=0.0)
    assert await bench.run(np.append(CASE["x"][0], 1)) is ErrorCode.INPUT_LENGTH
    assert await bench.run(CASE["x"][0]) is ErrorCode.NONE
    np.testing.assert_array_equal(await bench.results(), CASE["golden"][0])
