"""The energy model against the figures of DRAMPower 4.1 and 5.2, and against sums done by hand."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from permfc.errors import ConfigError
from permfc.memory import Command, CommandTrace, Energy, Memory, energy, literature_energy, load_part, memory, with_idle
from permfc.memory.energy import command_energies

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "dram_reference.json").read_text())["cases"]
LIMITS = {("DRAMPower 5.2", 0): 1e-4, ("DRAMPower 5.2", 1): 1e-4, ("DRAMPower 4.1", 0): 1e-3, ("DRAMPower 4.1", 1): 1e-2}


def reference_trace(name: str, length: int) -> CommandTrace:
    """The 64 KiB stream that DRAMPower was given: columns are cycles since the command before, command, bank."""
    part = load_part(name)
    gaps, command, bank = np.load(DATA / "dram_traces.npz")[name].astype(np.int64)
    return CommandTrace.of(gaps.cumsum(), command, bank, 0, 0, np.where(command == Command.READ, part.burst_length, 0), length)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['tool']}-{case['memory']}-{case['idle_ms']}ms")
def test_agrees_with_drampower(case: dict) -> None:
    part = load_part(case["memory"])
    device = Memory("reference", part, 1e9 / part.timing.tck)
    stream = next(other for other in CASES if (other["tool"], other["memory"], other["idle_ms"]) == (case["tool"], case["memory"], 0))
    trace = with_idle(reference_trace(case["memory"], stream["cycles"]), device, case["idle_ms"])
    assert abs(trace.length - case["cycles"]) <= 0.0004 * case["cycles"]  # 4.1 has a clock of 1200 MHz, the part 0.833 ns
    found = energy(trace, device)
    bits = 8 * case["bytes"]
    limit = LIMITS[case["tool"], case["idle_ms"]]
    expected = case["energy_pJ_per_bit"]
    assert found.core * 1e12 / bits == pytest.approx(expected["core"], rel=limit)
    for term in ("activate", "precharge", "read", "refresh"):
        assert getattr(found, term) * 1e12 / bits == pytest.approx(expected[term], rel=5e-4)
    if "io" in expected:
        assert found.io * 1e12 / bits == pytest.approx(expected["io"], rel=1e-4)


def test_one_row_by_hand() -> None:
    """One ACTIVATE, 8 words read, one PRECHARGE on MT48LC16M16A2-75 at 100 MHz: 3.3 V, 7.5 ns at the speed bin, 10 ns at the pins."""
    trace = CommandTrace.of([0, 2, 10], [Command.ACTIVATE, Command.READ, Command.PRECHARGE], 0, 5, 0, [0, 8, 0], 30)
    found = energy(trace, memory("sdr-100"))
    assert found.activate == pytest.approx(3.3 * (0.125 - 0.040) * 6 * 7.5e-9)
    assert found.precharge == pytest.approx(3.3 * (0.125 - 0.040) * 3 * 7.5e-9)
    assert found.read == pytest.approx(8 * 3.3 * (0.135 - 0.040) * 7.5e-9)
    assert found.background_active == pytest.approx(3.3 * 0.040 * 100e-9)
    assert found.background_precharged == pytest.approx(3.3 * 0.040 * 200e-9)
    assert found.io == pytest.approx(128 * 40.8e-12)
    assert found.total == pytest.approx(sum(getattr(found, field.name) for field in fields(Energy)))


def test_an_interrupted_burst_costs_its_words_only() -> None:
    each = command_energies(load_part("MT48LC16M16A2-75"))[Command.READ]
    trace = CommandTrace.of([0, 3], [Command.READ, Command.READ], 0, 0, 0, [3, 8], 20, open_banks=1)
    assert energy(trace, memory("sdr-100")).read == pytest.approx(11 * each)


def test_a_slow_clock_changes_only_the_background() -> None:
    trace = reference_trace("MICRON_2Gb_DDR3-1600_16bit_D", 16708)
    fast, slow = energy(trace, memory("ddr3-1600")), energy(trace, memory("ddr3-300"))
    assert (slow.read, slow.activate, slow.refresh) == (fast.read, fast.activate, fast.refresh)
    assert slow.background > 5 * fast.background


def test_devices_side_by_side_each_cost_the_same() -> None:
    trace = reference_trace("MICRON_4Gb_DDR4-2400_8bit_A", 33869)
    part = load_part("MICRON_4Gb_DDR4-2400_8bit_A")
    one, two = (energy(trace, Memory("test", part, 1.2e9, devices)) for devices in (1, 2))
    assert two.total == pytest.approx(2 * one.total)


def test_windows_sum_to_the_whole() -> None:
    trace = reference_trace("JEDEC_8Gb_LPDDR4-3200_16bit", 17483)
    device = memory("lpddr4-3200")
    cuts = [0, 10, 5000, 6250, 6251, 12000, trace.length]
    parts = sum((energy(trace.window(a, b), device) for a, b in zip(cuts, cuts[1:], strict=False)), Energy())
    assert parts.as_dict() == pytest.approx(energy(trace, device).as_dict())


def test_flash_pays_for_the_clocks_of_its_commands() -> None:
    """Two commands of 12 clocks and 64 nibbles in all at 48 MHz: 15 mA for 88 clocks, 60 uA else."""
    trace = CommandTrace.of([0, 500], [Command.READ, Command.READ], 0, 0, 0, [32, 32], 4800)
    found = energy(trace, memory("qspi-48"))
    assert found.read == pytest.approx(3.3 * (15e-3 - 60e-6) * 88 / 48e6)
    assert found.background_precharged == pytest.approx(3.3 * 60e-6 * 100e-6)
    assert found.core == pytest.approx(found.read + found.background_precharged)


def test_a_memory_without_a_part_has_no_energy() -> None:
    trace = CommandTrace.of([], [], 0, 0, 0, 0, 100)
    with pytest.raises(ConfigError, match="Memory axi has no part and so no currents"):
        energy(trace, memory("axi"))
    assert literature_energy(4) == pytest.approx(640e-12)
