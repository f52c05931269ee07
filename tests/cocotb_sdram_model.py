"""cocotb tests of sdram_model.sv alone; run by test_sdram_model.py.

A script is a list of steps: a command, and the cycles from the one before to it. Every timing rule is tried at its limit, where nothing may be
reported, and one cycle sooner, where exactly this rule must be, with both commands and their cycles.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from permfc_sim.memories import COMMANDS, SDRAM_RULES

WIDTH, CAS = int(os.environ["WIDTH"]), int(os.environ["LEAST_CAS"])
T = {name.removeprefix("T_"): int(value) for name, value in os.environ.items() if name.startswith("T_")}
PINS = {  # cs_n, ras_n, cas_n, we_n
    "NOP": 0b0111, "ACTIVATE": 0b0011, "READ": 0b0101, "WRITE": 0b0100, "BURST TERMINATE": 0b0110, "PRECHARGE": 0b0010, "PRECHARGE ALL": 0b0010,
    "REFRESH": 0b0001, "LOAD MODE": 0b0000, "DESELECT": 0b1000,
}
A10 = 1 << 10
MODE = CAS << 4 | 3 | 1 << 9  # bursts of 8, single writes
LONG = 30                     # longer than any timing parameter, shorter than T_REFI
WORD = (1 << WIDTH) - 1


@dataclass(frozen=True)
class Step:
    """``command``, ``after`` cycles after the step before."""

    command: str
    bank: int = 0
    a: int = 0
    after: int = LONG
    drive: bool | None = None  # whether the controller drives data; default: with WRITE


class Controller:
    """Drives the pins from scripts, and records the cycle of every command, what was reported, and the data pins of every cycle."""

    def __init__(self, dut) -> None:
        self.dut, self.cycle = dut, 0
        self.broken: set[str] = set()
        self.seen: list[int] = []   # dq_o before each edge
        self.beats: list[int] = []  # cycles

    async def start(self) -> None:
        dut = self.dut
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        dut.cke.value, dut.dqm.value, dut.dq_i.value, dut.rst.value = 1, 0, 0, 1
        self._command("NOP")
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0

    def _command(self, name: str, bank: int = 0, a: int = 0, drive: bool | None = None) -> None:
        dut = self.dut
        dut.cs_n.value, dut.ras_n.value, dut.cas_n.value, dut.we_n.value = (PINS[name] >> bit & 1 for bit in (3, 2, 1, 0))
        dut.ba.value, dut.a.value = bank, a | (A10 if name == "PRECHARGE ALL" else 0)
        dut.dq_oe.value = int(name == "WRITE" if drive is None else drive)

    async def tick(self) -> None:
        """Let the present cycle end."""
        dut = self.dut
        await ReadOnly()
        self.seen.append(int(dut.dq_o.value))
        if dut.beat.value == 1:
            self.beats.append(self.cycle)
        broken = int(dut.broken.value)
        self.broken |= {rule for number, rule in enumerate(SDRAM_RULES) if broken >> number & 1}
        await RisingEdge(dut.clk)
        self.cycle += 1

    async def play(self, *steps: Step) -> int:
        """Play a script; the cycle of its last command."""
        for step in steps:
            self._command("NOP")
            for _ in range(step.after - 1):
                await self.tick()
            self._command(step.command, step.bank, step.a, step.drive)
            at = self.cycle
            await self.tick()
        self._command("NOP")
        return at

    async def until(self, cycle: int) -> None:
        """Do nothing up to a cycle."""
        while self.cycle < cycle:
            await self.tick()

    async def settle(self) -> set[str]:
        """The rules broken, once the last of them must have been reported."""
        await self.tick()
        await self.tick()
        return {rule.split(":")[0] for rule in self.broken}

    async def write(self, bank: int, column: int, values: list[int], mask: int = 0) -> None:
        """Single writes to consecutive columns of the open row."""
        for number, value in enumerate(values):
            self.dut.dq_i.value, self.dut.dqm.value = value, mask
            await self.play(Step("WRITE", bank, column + number, after=1 if number else T["RCD"]))
        self.dut.dqm.value = 0

    def data(self, read_at: int, count: int) -> list[int]:
        """The words that a READ in cycle ``read_at`` has put on the pins."""
        return self.seen[read_at + CAS:read_at + CAS + count]


POWER_UP = Step("NOP", after=T["POWER_UP"])
PREPARE = [POWER_UP, Step("PRECHARGE ALL"), Step("REFRESH"), Step("REFRESH"), Step("LOAD MODE", a=MODE)]
ACTIVATE, READ, WRITE, PRECHARGE, REFRESH = (Step(name) for name in ("ACTIVATE", "READ", "WRITE", "PRECHARGE", "REFRESH"))


async def ready(dut) -> Controller:
    controller = Controller(dut)
    await controller.start()
    await controller.play(*PREPARE)
    return controller


# rule: what comes before, the last command, and the fewest cycles to it, and the earlier of the two commands that are named
LIMITS = {
    "tRCD": ([ACTIVATE], READ, T["RCD"], "ACTIVATE"),
    "tRP": ([ACTIVATE, PRECHARGE], ACTIVATE, T["RP"], "PRECHARGE"),
    "tRAS": ([ACTIVATE], PRECHARGE, T["RAS"], "ACTIVATE"),
    "tRC": ([ACTIVATE, Step("PRECHARGE", after=T["RAS"])], ACTIVATE, T["RC"] - T["RAS"], "ACTIVATE"),
    "tRRD": ([ACTIVATE], Step("ACTIVATE", 1), T["RRD"], "ACTIVATE"),
    "tRFC": ([REFRESH], ACTIVATE, T["RFC"], "REFRESH"),
    "tMRD": ([Step("LOAD MODE", a=MODE)], ACTIVATE, 2, "LOAD MODE"),
    "tWR": ([ACTIVATE, WRITE], PRECHARGE, T["WR"], "WRITE"),
}
MORE_LIMITS = {
    "tRCD of a write": ([ACTIVATE], WRITE, T["RCD"], "ACTIVATE"),
    "tRP before a refresh": ([ACTIVATE, PRECHARGE], REFRESH, T["RP"], "PRECHARGE"),
    "tRP after all": ([Step("ACTIVATE", 3), Step("PRECHARGE ALL")], Step("ACTIVATE", 3), T["RP"], "PRECHARGE"),
    "tRAS of all": ([Step("ACTIVATE", 2)], Step("PRECHARGE ALL"), T["RAS"], "ACTIVATE"),
    "tRFC of a refresh": ([REFRESH], REFRESH, T["RFC"], "REFRESH"),
}


@cocotb.test()
@cocotb.parametrize(case=[*LIMITS, *MORE_LIMITS], sooner=[0, 1])
async def limits(dut, case: str, sooner: int) -> None:
    before, last, limit, earlier = {**LIMITS, **MORE_LIMITS}[case]
    controller = await ready(dut)
    await controller.play(*before)
    at = await controller.play(Step(last.command, last.bank, last.a, limit - sooner))
    broken = await controller.settle()
    assert broken == ({case.split()[0]} if sooner else set())
    if sooner:
        names = COMMANDS[int(dut.earlier_command.value)], COMMANDS[int(dut.later_command.value)]
        assert names == (earlier, last.command)
        assert int(dut.later_cycle.value) == at
        span = T["RC"] if case == "tRC" else limit
        assert at - int(dut.earlier_cycle.value) == span - 1


WRONG = {
    "ACTIVATE of an open bank": [ACTIVATE, ACTIVATE],
    "READ or WRITE of a closed bank": [READ],
    "REFRESH or LOAD MODE while a bank is open": [ACTIVATE, REFRESH],
    "LOAD MODE with a reserved value": [Step("LOAD MODE", a=MODE | 1 << 3)],
    "auto precharge, which the model does not have": [ACTIVATE, Step("READ", a=A10)],
    "written data that the controller does not drive": [ACTIVATE, Step("WRITE", drive=False)],
}


@cocotb.test()
@cocotb.parametrize(rule=list(WRONG))
async def states(dut, rule: str) -> None:
    controller = await ready(dut)
    assert await controller.settle() == set()
    at = await controller.play(*WRONG[rule])
    assert await controller.settle() == {rule}
    assert int(dut.later_cycle.value) == at


@cocotb.test()
async def cas_latency_must_suit_the_clock(dut) -> None:
    controller = await ready(dut)
    await controller.play(Step("LOAD MODE", a=2 << 4 | 3))
    assert await controller.settle() == ({"LOAD MODE with a CAS latency that is too short for the clock"} if CAS == 3 else set())


@cocotb.test()
async def clock_enable_must_stay(dut) -> None:
    controller = await ready(dut)
    dut.cke.value = 0
    assert await controller.settle() == {"CKE low, for which the model has no state"}


@cocotb.test()
@cocotb.parametrize(sooner=[0, 1])
async def power_up_takes_its_time(dut, sooner: int) -> None:
    controller = Controller(dut)
    await controller.start()
    await controller.play(Step("PRECHARGE ALL", after=T["POWER_UP"] + 1 - sooner))  # of cycle 0 on, so this is cycle T_POWER_UP
    assert await controller.settle() == ({"a command before the power-up time has passed"} if sooner else set())


@cocotb.test()
@cocotb.parametrize(missing=[1, 2, 4])
async def initialisation_is_complete(dut, missing: int) -> None:
    """Without PRECHARGE ALL, with one REFRESH, without LOAD MODE."""
    controller = Controller(dut)
    await controller.start()
    await controller.play(*PREPARE[:missing], *PREPARE[missing + 1:], ACTIVATE)
    assert await controller.settle() == {"initialisation"}


@cocotb.test()
async def eight_refreshes_may_be_owed_and_no_more(dut) -> None:
    controller = Controller(dut)
    await controller.start()
    last = await controller.play(*PREPARE[:-1])  # the time runs from the second REFRESH on
    await controller.play(Step("LOAD MODE", a=MODE, after=T["RFC"]))
    await controller.until(last + 8 * T["REFI"] + 5)
    await controller.play(*[Step("REFRESH", after=T["RFC"])] * 8)  # all debts paid in one interval: eight more
    await controller.until(last + 17 * T["REFI"] - 5)
    assert await controller.settle() == set()
    await controller.until(last + 17 * T["REFI"])
    assert await controller.settle() == {"refresh interval"}
    assert COMMANDS[int(dut.earlier_command.value)] == "REFRESH" and COMMANDS[int(dut.later_command.value)] == "no command"


@cocotb.test()
@cocotb.parametrize(after=range(8, 11))
async def data_pins_have_one_driver(dut, after: int) -> None:
    """The burst's last word is read CAS + 7 cycles after READ; the next cycle must stay free."""
    controller = await ready(dut)
    await controller.play(ACTIVATE, READ, Step("WRITE", after=CAS + after))
    assert await controller.settle() == (set() if after > 8 else {"controller and memory drive the data pins together, or without a cycle between"})


@cocotb.test()
async def bursts_wrap_interrupt_and_end(dut) -> None:
    values = [random.Random(1).randrange(WORD) for _ in range(16)]
    controller = await ready(dut)
    await controller.play(Step("ACTIVATE", 1, 5))
    await controller.write(1, 8, values)

    at = await controller.play(Step("READ", 1, 10))
    await controller.play(Step("NOP"))
    assert controller.data(at, 8) == values[2:8] + values[:2], "a burst wraps in its aligned eight columns"
    assert len([cycle for cycle in controller.beats if cycle >= at]) == 8

    at = await controller.play(Step("READ", 1, 8), Step("READ", 1, 16, after=3)) - 3
    await controller.play(Step("NOP"))
    assert controller.data(at, 11) == values[:3] + values[8:16], "a READ ends the burst before it"
    assert len([cycle for cycle in controller.beats if cycle >= at]) == 11

    for ending in (Step("PRECHARGE", 1, after=5), Step("BURST TERMINATE", after=5)):
        await controller.play(Step("PRECHARGE ALL"), Step("ACTIVATE", 1, 5))
        at = await controller.play(Step("READ", 1, 8), ending) - 5
        await controller.play(Step("NOP"))
        assert controller.data(at, 5) == values[:5] and controller.data(at + 5, 1) != values[5:6]
        assert len([cycle for cycle in controller.beats if cycle >= at]) == 5
    assert await controller.settle() == set()


@cocotb.test()
async def a_precharge_of_another_bank_lets_a_burst_go_on(dut) -> None:
    values = list(range(8))
    controller = await ready(dut)
    await controller.play(Step("ACTIVATE", 0, 3), Step("ACTIVATE", 2, 3))
    await controller.write(0, 0, values)
    at = await controller.play(Step("READ"), Step("PRECHARGE", 2, after=2)) - 2
    await controller.play(Step("NOP"))
    assert controller.data(at, 8) == values
    assert await controller.settle() == set()


@cocotb.test()
async def masks(dut) -> None:
    """DQM holds back bytes of a write at once, and bytes of a read two cycles later."""
    controller = await ready(dut)
    await controller.play(ACTIVATE)
    await controller.write(0, 0, [0] * 8)
    await controller.write(0, 3, [WORD], mask=1)
    at = await controller.play(READ)
    await controller.play(Step("NOP"))
    assert controller.data(at, 8) == [0, 0, 0, WORD & ~0xFF, 0, 0, 0, 0]

    at = await controller.play(READ)
    await controller.play(Step("NOP", after=1))
    dut.dqm.value = 2  # in cycle at + 2: the word before edge at + 4
    await controller.tick()
    dut.dqm.value = 0
    await controller.play(Step("NOP"))
    masked = controller.seen[at + 4]
    assert masked >> 8 & 0xFF == 0xA5, "nobody drives the byte"
    assert [value for value in controller.data(at, 8) if value != masked] == [0, 0, WORD & ~0xFF, 0, 0, 0, 0]


@cocotb.test()
async def contents_survive_rows_and_banks(dut) -> None:
    rng = random.Random(3)
    places = [(bank, row, column) for bank in range(4) for row in (0, 7, 15) for column in (0, 24)]
    contents = {place: [rng.randrange(WORD) for _ in range(8)] for place in places}
    controller = await ready(dut)
    for number, ((bank, row, column), values) in enumerate([*contents.items()] * 2):
        await controller.play(Step("ACTIVATE", bank, row))
        if number < len(contents):
            await controller.write(bank, column, values)
        else:
            at = await controller.play(Step("READ", bank, column))
            await controller.play(Step("NOP"))
            assert controller.data(at, 8) == values
        await controller.play(Step("PRECHARGE", bank))
    assert "refresh interval" in await controller.settle(), "and this took so long that the refreshes are missed"
