"""LiteDRAM's controller in the place of ours: the same engine, the same part, the same rules at its pins. Skipped without the package litedram."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("litedram", reason="the package litedram is not installed")

import permfc_hw.verilog  # noqa: E402
from engine_cases import check_run  # noqa: E402
from litedram_core import litedram_verilog  # noqa: E402
from networks import random_inputs, random_network  # noqa: E402
from permfc.config import EngineConfig  # noqa: E402
from permfc.memory import Command, CommandTrace, Memory, memory  # noqa: E402
from permfc_sim.device import SimDevice  # noqa: E402

READER = Path(__file__).parents[1] / "benchmarks" / "sequential_reader.v"
# 16 bits: the width at which LiteDRAM needs no converter.
CONFIG = EngineConfig(lanes=8, bus_bits=16, block_outputs=128, features=256)
NETWORK = random_network(51, [250, 128], block_outputs=128)
X = random_inputs(52, 250, batch=2)
OURS = memory("sdr-100")


def run(chosen: Memory) -> tuple[CommandTrace, int, int]:
    """The commands of both inputs, the bytes that were asked for, and the cycles of the second."""
    with SimDevice(CONFIG, memory=chosen) as device:
        device.load(NETWORK)
        device.take_commands(), device.take_reads()
        check_run(device, NETWORK, X)
        return device.take_commands(), int(device.take_reads().bytes.sum()), device.counters().cycles


def sweep(chosen: Memory) -> float:
    """Share of the peak at which 64 KiB are read in order: words over the cycles from the first READ to the last word."""
    with SimDevice(CONFIG, memory=chosen, verilog=READER.read_text().replace("BUS_BITS = 32", "BUS_BITS = 16")) as device:
        device.send_input(np.zeros(1, np.int8))
        device.tick(100_000)
        trace = device.take_commands()
    reads = np.flatnonzero(trace.command == Command.READ)
    cycles = trace.cycle[reads[-1]] + trace.beats[reads[-1]] - trace.cycle[reads[0]]
    assert trace.beats.sum() * 2 == 65536
    return float(trace.beats.sum() / cycles)


def behind_litedram(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The same memory; its name tells the built simulator from that of our controller."""
    text = litedram_verilog(OURS.part, OURS.clock_hz, CONFIG.bus_bits)
    monkeypatch.setattr(permfc_hw.verilog, "sdram_verilog", lambda part, clock_hz, bus_bits: text)
    return replace(OURS, name=f"sdr-100 behind LiteDRAM {hashlib.sha256(text.encode()).hexdigest()[:12]}")


def test_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit-exact, no rule of the part broken, the same words read; ours is not slower, and needs fewer commands."""
    ours, asked_of_ours, cycles_of_ours = run(OURS)
    theirs, asked, cycles = run(behind_litedram(monkeypatch))
    print(f"LiteDRAM {cycles} cycles, {theirs.counts()}; ours {cycles_of_ours} cycles, {ours.counts()}")
    assert asked == asked_of_ours
    assert theirs.bytes(OURS.bus_bits) == asked, "bursts of one word: nothing is read in vain"
    assert theirs.counts()["refresh"] == pytest.approx(ours.counts()["refresh"], abs=9)
    assert cycles_of_ours <= cycles
    assert ours.counts()["read"] < theirs.counts()["read"] / 4


def test_sequential_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = sweep(OURS)
    theirs = sweep(behind_litedram(monkeypatch))
    print(f"LiteDRAM {theirs:.4f} of the peak, ours {ours:.4f}")
    assert 0.9 < theirs <= ours
