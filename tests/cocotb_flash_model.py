"""cocotb tests of flash_model.sv alone; run by test_hw_flash.py. Every rule is tried at its limit, where nothing may be reported, and beyond."""

from __future__ import annotations

import os

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from permfc_sim.memories import FLASH_RULES

T_RES, T_SHSL = int(os.environ["T_RES"]), int(os.environ["T_SHSL"])
RELEASE, VOLATILE, STATUS_2, READ_QUAD, NOTHING = 0xAB, 0x50, 0x31, 0xEB, 0xFF
QUAD_ENABLE, CONTINUOUS = 0x02, 0xA0
ADDRESS, CONTENTS = 0x123, bytes([0xC5, 0x3A, 0x69])
IN_POWER_DOWN, TOO_SOON_AFTER_RELEASE, TOO_SOON_AGAIN, WITHOUT_QUAD, UNKNOWN, BOTH_DRIVE = FLASH_RULES


class Pins:
    """Drives the pins cycle by cycle, and records what is reported."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.broken: set[str] = set()

    async def start(self) -> None:
        self.dut.sck.value, self.dut.cs_n.value, self.dut.io_oe.value, self.dut.io_i.value = 0, 1, 0, 0
        for place, value in enumerate(CONTENTS):
            self.dut.words[ADDRESS + place].value = value
        cocotb.start_soon(Clock(self.dut.clk, 10, unit="ns").start())
        await self.wait(2)

    async def clock(self, io: int | None = None, sck: int = 1) -> int:
        """A cycle with the rising edge of SCK in its middle; what the flash has on its pins there."""
        self.dut.io_oe.value, self.dut.io_i.value = (0, 0) if io is None else (0b1111, io)
        await FallingEdge(self.dut.clk)
        seen = int(self.dut.io_o.value)
        self.dut.sck.value = sck
        await RisingEdge(self.dut.clk)
        self.dut.sck.value = 0
        broken = int(self.dut.broken.value)
        self.broken |= {rule for number, rule in enumerate(FLASH_RULES) if broken >> number & 1}
        return seen

    async def wait(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.clock(sck=0)

    async def select(self) -> None:
        self.dut.cs_n.value = 0
        await self.wait(1)

    async def deselect(self, cycles: int) -> None:
        self.dut.cs_n.value = 1
        await self.wait(cycles)

    async def single(self, *values: int) -> None:
        """Bytes on IO0."""
        for value in values:
            for bit in range(7, -1, -1):
                await self.clock(0b1100 | value >> bit & 1)

    async def quad(self, *values: int) -> None:
        """Bytes on all four."""
        for value in values:
            await self.clock(value >> 4)
            await self.clock(value & 15)

    async def command(self, *values: int, then: int | None = None) -> None:
        await self.select()
        await self.single(*values)
        await self.deselect(T_SHSL if then is None else then)

    async def prepare(self) -> None:
        """Out of power-down, and quad enable."""
        await self.command(RELEASE, then=T_RES)
        await self.command(VOLATILE)
        await self.command(STATUS_2, QUAD_ENABLE)

    async def address(self, mode: int) -> None:
        await self.quad(*ADDRESS.to_bytes(3, "big"), mode)
        await self.dummies()

    async def dummies(self) -> None:
        for _ in range(4):
            await self.clock()

    async def data(self, count: int) -> bytes:
        nibbles = [await self.clock() for _ in range(2 * count)]
        return bytes(high << 4 | low for high, low in zip(nibbles[::2], nibbles[1::2], strict=True))

    async def settled(self) -> set[str]:
        await self.wait(2)
        return self.broken


async def started(dut) -> Pins:
    pins = Pins(dut)
    await pins.start()
    return pins


@cocotb.test()
async def first_a_command_in_power_down(dut) -> None:
    """The first test: the model has no reset, as the flash has none."""
    pins = await started(dut)
    await pins.command(NOTHING)
    assert await pins.settled() == set()
    await pins.command(VOLATILE)
    assert await pins.settled() == {IN_POWER_DOWN}


@cocotb.test()
async def then_a_command_too_soon_after_the_release(dut) -> None:
    pins = await started(dut)
    await pins.command(RELEASE, then=T_RES - 1)
    await pins.command(NOTHING)
    assert await pins.settled() == {TOO_SOON_AFTER_RELEASE}


@cocotb.test()
async def then_a_quad_read_before_quad_enable(dut) -> None:
    pins = await started(dut)
    await pins.command(STATUS_2, QUAD_ENABLE)  # without 0x50 before it
    assert await pins.settled() == set()
    await pins.command(READ_QUAD)
    assert await pins.settled() == {WITHOUT_QUAD}


@cocotb.test()
async def reads(dut) -> None:
    """With the instruction, then without it, then after the mode bits have ended continuous read."""
    pins = await started(dut)
    await pins.prepare()
    for with_instruction, mode in ((True, CONTINUOUS), (False, CONTINUOUS), (False, 0xFF), (True, 0xFF)):
        await pins.select()
        if with_instruction:
            await pins.single(READ_QUAD)
        await pins.address(mode)
        assert await pins.data(len(CONTENTS)) == CONTENTS
        await pins.deselect(T_SHSL)
    assert await pins.settled() == set()


@cocotb.test()
async def selected_again_too_soon(dut) -> None:
    pins = await started(dut)
    await pins.prepare()
    assert await pins.settled() == set()
    await pins.command(NOTHING, then=T_SHSL - 1)
    await pins.command(NOTHING)
    assert await pins.settled() == {TOO_SOON_AGAIN}


@cocotb.test()
async def an_unknown_instruction(dut) -> None:
    pins = await started(dut)
    await pins.prepare()
    await pins.command(0x9F)
    assert await pins.settled() == {UNKNOWN}


@cocotb.test()
async def both_drive(dut) -> None:
    pins = await started(dut)
    await pins.prepare()
    await pins.select()
    await pins.single(READ_QUAD)
    await pins.address(0xFF)
    await pins.data(1)
    assert pins.broken == set()
    await pins.clock(0)
    assert await pins.settled() == {BOTH_DRIVE}
