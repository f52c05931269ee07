"""Command traces, idle policies and the export for DRAMPower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from permfc.errors import ConfigError
from permfc.memory import Command, CommandTrace, IdlePolicy, energy, energy_with_idle, memory, power_down_cycles, with_idle
from permfc.memory.drampower import write_drampower

ACTIVATE, READ, WRITE, PRECHARGE, PRECHARGE_ALL, REFRESH, LOAD_MODE = Command


def two_banks() -> CommandTrace:
    """Bank 0 open in cycles 4 to 30, bank 1 in 14 to 40; three READs, the last interrupted."""
    cycles = [4, 6, 12, 14, 20, 30, 40, 50]
    commands = [ACTIVATE, READ, READ, ACTIVATE, READ, PRECHARGE, PRECHARGE_ALL, REFRESH]
    banks, rows = [0, 0, 0, 1, 1, 0, 0, 0], [7, 7, 7, 9, 9, 0, 0, 0]
    return CommandTrace.of(cycles, commands, banks, rows, [0, 0, 8, 0, 3, 0, 0, 0], [0, 8, 8, 0, 5, 0, 0, 0], 100)


def test_counts_and_rates() -> None:
    trace = two_banks()
    assert trace.counts() == {"activate": 2, "read": 3, "write": 0, "precharge": 1, "precharge_all": 1, "refresh": 1, "load_mode": 0}
    assert trace.row_hit_rate == pytest.approx(1 / 3)
    assert trace.bytes(16) == 42
    assert trace.utilisation(1) == pytest.approx(0.21)
    assert trace.utilisation(2) == pytest.approx(0.105)


def test_open_banks() -> None:
    trace = two_banks()
    assert trace.open_after().tolist() == [1, 1, 1, 3, 3, 2, 0, 0]
    assert trace.open_cycles() == 36
    assert trace.banks_left_open() == 0
    window = trace.window(25, 35)
    assert (window.open_banks, window.cycle.tolist(), window.open_cycles(), window.banks_left_open()) == (3, [5], 10, 2)
    assert trace.window(41, 45).open_cycles() == 0


def test_windows_join_to_the_whole() -> None:
    trace = two_banks()
    joined = trace.window(0, 20).then(trace.window(20, 100))
    for name in ("cycle", "command", "bank", "row", "column", "beats"):
        assert np.array_equal(getattr(joined, name), getattr(trace, name))
    assert (joined.length, joined.open_banks) == (100, 0)


def test_random_windows_keep_counts_and_open_cycles() -> None:
    rng = np.random.default_rng(3)
    cycle = np.sort(rng.choice(5000, 800, replace=False))
    trace = CommandTrace.of(cycle, rng.integers(0, 7, 800), rng.integers(0, 8, 800), 0, 0, 8, 5000, open_banks=int(rng.integers(256)))
    cuts = [0, *np.sort(rng.integers(0, 5000, 6)).tolist(), 5000]
    windows = [trace.window(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    assert sum(window.open_cycles() for window in windows) == trace.open_cycles()
    assert sum(len(window) for window in windows) == len(trace)
    assert windows[-1].banks_left_open() == trace.banks_left_open()


def test_empty_trace() -> None:
    trace = CommandTrace.of([], [], 0, 0, 0, 0, 50, open_banks=4)
    assert (trace.row_hit_rate, trace.open_cycles(), trace.banks_left_open(), trace.bytes(16)) == (0.0, 50, 4, 0)


@pytest.mark.parametrize(("text", "policy", "phrase"), [
    ("none", IdlePolicy(), "no idle time"),
    ("2.5", IdlePolicy(2.5), "2.5 ms of standby after each inference"),
    ("powerdown", IdlePolicy(0, True), "no idle time, power-down whenever no bank is open"),
    ("powerdown:10", IdlePolicy(10, True), "10 ms of standby after each inference, power-down whenever no bank is open"),
])
def test_idle_policies(text: str, policy: IdlePolicy, phrase: str) -> None:
    assert IdlePolicy.parse(text) == policy
    assert str(policy) == phrase


@pytest.mark.parametrize("text", ["", "sleep", "-1", "nan", "inf", "1e10", "powerdown:", "powerdown:x", "1:2"])
def test_unknown_idle_policies(text: str) -> None:
    with pytest.raises(ConfigError, match="The idle policy must be none, milliseconds, powerdown or powerdown:milliseconds, not"):
        IdlePolicy.parse(text)


def test_idle_closes_the_banks_and_refreshes_on_time() -> None:
    device = memory("sdr-100")
    trace = two_banks().window(0, 25)
    idle = with_idle(trace, device, 0.1)
    assert idle.length == 25 + 10000
    assert idle.banks_left_open() == 0
    refreshes = idle.cycle[idle.command == REFRESH]
    assert refreshes[0] <= 781
    assert set(np.diff(refreshes).tolist()) == {781}
    assert idle.length - refreshes[-1] <= 781
    assert with_idle(trace, device, 0) is trace


def test_a_late_refresh_waits_until_the_banks_are_closed() -> None:
    trace = CommandTrace.of([0], [ACTIVATE], 0, 0, 0, 0, 900)
    idle = with_idle(trace, memory("sdr-100"), 0.05)
    assert idle.cycle[:3].tolist() == [0, 900, 902]
    assert idle.command[:3].tolist() == [ACTIVATE, PRECHARGE_ALL, REFRESH]


def test_power_down_needs_closed_banks_and_time() -> None:
    """At 100 MHz: 2 clocks of tRP, 7 of tRFC, 1 to wake up. Stretches: 0-4, 40+2 to 50, 50+7 to 100."""
    device = memory("sdr-100")
    trace = two_banks()
    assert power_down_cycles(trace, device) == (4 - 1) + (8 - 1) + (43 - 1)
    sleeping = energy(trace, device, power_down_cycles(trace, device))
    assert sleeping.background_powered_down == pytest.approx(3.3 * 2e-3 * 52 * 10e-9)
    assert sleeping.background_active == energy(trace, device).background_active
    assert sleeping.total < energy(trace, device).total


@pytest.mark.parametrize("power_down", [False, True])
@pytest.mark.parametrize("name", ["sdr-133", "lpddr4-3200", "qspi-48"])
def test_a_long_standby_costs_what_its_trace_does(name: str, power_down: bool) -> None:
    device = memory(name)
    trace = two_banks() if name != "qspi-48" else CommandTrace.of([0], [READ], 0, 0, 0, 20, 50)
    for milliseconds in (0.01, 0.1234, 1, 77.7):
        whole = with_idle(trace, device, milliseconds)
        expected = energy(whole, device, power_down_cycles(whole, device) if power_down else 0)
        found = energy_with_idle(trace, device, IdlePolicy(milliseconds, power_down))
        assert found.as_dict() == pytest.approx(expected.as_dict(), rel=1e-9)


def test_a_day_of_standby() -> None:
    day = energy_with_idle(two_banks(), memory("lpddr4-3200"), IdlePolicy(24 * 3600e3))
    assert day.background_precharged == pytest.approx(86400 * (1.8 * 2e-3 + 1.1 * 27e-3), rel=0.1)  # less the tRFC of refreshes


def test_energy_of_each_policy() -> None:
    """1 ms at 40 mA and 3.3 V with 128 refreshes against power-down at 2 mA."""
    device, trace = memory("sdr-100"), two_banks()
    run, standby, sleep = (energy_with_idle(trace, device, IdlePolicy.parse(text)) for text in ("none", "1", "powerdown:1"))
    assert run.total == energy(trace, device).total
    assert standby.background - run.background == pytest.approx(3.3 * 40e-3 * 1e-3)
    assert sleep.refresh == standby.refresh > 100 * run.refresh
    assert sleep.background_powered_down == pytest.approx(3.3 * 2e-3 * 1e-3, rel=0.02)


def test_power_down_of_a_flash() -> None:
    """At 48 MHz: 12 clocks of command, 144 of release from power-down."""
    trace = CommandTrace.of([10, 200], [READ, READ], 0, 0, 0, [8, 8], 1000)
    assert power_down_cycles(trace, memory("qspi-48")) == (190 - 20 - 144) + (800 - 20 - 144)


def test_export_for_drampower(tmp_path: Path) -> None:
    trace = two_banks()
    write_drampower(tmp_path / "four.csv", trace, 4)
    assert (tmp_path / "four.csv").read_text().splitlines() == [
        "4,ACT,0", "6,RD,0", "12,RD,0", "14,ACT,1", "20,RD,1", "30,PRE,0", "40,PREA,0", "50,REF,0", "100,NOP,0",
    ]
    write_drampower(tmp_path / "five.csv", trace)
    lines = (tmp_path / "five.csv").read_text().splitlines()
    assert lines[3:5] == ["14,ACT,0,0,1,9,0", "20,RD,0,0,1,9,3"]
    assert lines[-2:] == ["50,REFA,0,0,0,0,0", "100,END,0,0,0,0,0"]


def test_export_that_drampower_could_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DRAMPower traces exist for versions 4 and 5, not 3"):
        write_drampower(tmp_path / "x.csv", two_banks(), 3)
    with pytest.raises(ConfigError, match="This trace begins with open banks"):
        write_drampower(tmp_path / "x.csv", two_banks().window(10, 50))
