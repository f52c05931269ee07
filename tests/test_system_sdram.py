"""Engine, SDRAM controller and SDRAM model together: bit-exact, every word counted at the pins, no rule broken; a broken one is explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine_cases import check_run
from networks import random_inputs, random_network
from permfc.config import EngineConfig
from permfc.errors import ConfigError, DeviceError
from permfc.image import pack
from permfc.memory import Command, Memory, load_part, memory
from permfc_sim import memories
from permfc_sim.device import SimDevice

CONFIG = EngineConfig(lanes=4, bus_bits=32, block_outputs=128, features=128)


@pytest.mark.parametrize(("name", "bus_bits"), [("sdr-100", 32), ("sdr-133", 128), ("sdr-x32-100", 64)])
def test_results_and_words_are_those_of_the_law(name: str, bus_bits: int) -> None:
    chosen = memory(name)
    network = random_network(31, [120, 100, 40], block_outputs=64)
    x = random_inputs(32, 120, batch=3)
    with SimDevice(replace(CONFIG, bus_bits=bus_bits), memory=chosen) as device:
        assert device.clock_hz == chosen.clock_hz
        device.load(network)
        check_run(device, network, x)  # three runs
        trace, reads = device.take_commands(), device.take_reads()
    excess = trace.bytes(chosen.bus_bits) - int(reads.bytes.sum())
    assert 0 <= excess <= 7 * len(reads) * chosen.bus_bits // 8, "a read that nothing follows moves the rest of its eight columns, no more"
    counts = trace.counts()
    assert counts["refresh"] == pytest.approx(trace.length / chosen.part.timing.cycles("trefi", chosen.clock_hz), abs=9)
    assert counts["write"] == counts["load_mode"] == 0


def test_commands_reads_and_cycles_begin_with_each_take() -> None:
    network = random_network(33, [120, 90])
    x = random_inputs(34, 120)[0]
    chosen = memory("sdr-100")
    with SimDevice(CONFIG, memory=chosen) as device:
        device.load(network)
        device.take_commands(), device.take_reads()
        device.run(x)
        first, reads = device.take_commands(), device.take_reads()
        assert len(device.take_commands()) == len(device.take_reads()) == 0
        device.tick(500)
        device.run(x)
        second, again = device.take_commands(), device.take_reads()
    assert first.cycle[0] < reads.cycle[-1] < first.length
    assert reads.cycle[0] < 200 and again.cycle[0] > 500, "the second take counts from the first"
    np.testing.assert_array_equal(again.address, reads.address)
    assert second.open_banks == first.banks_left_open()
    for trace, asked in ((first, reads), (second, again)):
        is_read = trace.command == Command.READ
        assert np.all(np.diff(trace.cycle) > 0)
        row_bytes = chosen.part.columns * 2
        address = ((trace.row.astype(np.int64) * 4 + trace.bank) * row_bytes + 2 * trace.column)[is_read]
        covered = np.unique(np.concatenate([np.arange(a, a + 2 * b, 2) for a, b in zip(address, trace.beats[is_read], strict=True)]))
        needed = np.unique(np.concatenate([np.arange(a, a + b, 2) for a, b in zip(asked.address, asked.bytes, strict=True)]))
        assert np.isin(needed, covered).all(), "every byte of every read crossed the pins in this window"


@pytest.mark.parametrize(("timing", "rule", "earlier", "later"), [
    ("T_RCD", r"Rule 3 .*, tRCD: READ or WRITE too soon after ACTIVATE", "ACTIVATE", "READ"),
    ("T_RFC", r"Rule 8 .*, tRFC: a command too soon after REFRESH", "REFRESH", "REFRESH"),
])
def test_a_part_slower_than_the_controller_thinks(monkeypatch: pytest.MonkeyPatch, timing: str, rule: str, earlier: str, later: str) -> None:
    """The model gets 20 more clocks than the controller keeps."""
    kept = memories.sdram_parameters

    def slower(part, clock_hz: float) -> dict[str, int]:
        parameters = kept(part, clock_hz)
        return {**parameters, timing: parameters[timing] + 20}

    monkeypatch.setattr(memories, "sdram_parameters", slower)
    chosen = replace(memory("sdr-100"), name=f"slower {timing}")
    network = random_network(33, [120, 90])
    with pytest.raises(DeviceError, match=rf"{rule}.*: {earlier} in cycle \d+, {later} in cycle \d+ after reset; this is a defect"):  # noqa: PT012
        with SimDevice(CONFIG, memory=chosen) as device:
            device.load(network)
            device.run(random_inputs(34, 120)[0])


def test_a_network_larger_than_the_part() -> None:
    small = replace(load_part("MT48LC16M16A2-75"), name="SMALL", rows=16, columns=16)
    network = random_network(35, [120, 100, 90])
    size = len(pack(network, CONFIG))
    missing = size - small.capacity
    assert missing > 0
    with SimDevice(CONFIG, memory=Memory("small", small, 100e6)) as device:
        with pytest.raises(DeviceError, match=f"has {small.capacity} bytes, but {size} are needed, {missing} more; choose a larger part than SMALL"):
            device.load(network)


@pytest.mark.parametrize(("name", "devices", "bus_bits", "message"), [
    ("ddr3-1600", 1, 32, "The commands of ddr3-1600 are modelled, not simulated"),
    ("sdr-100", 2, 32, "The testbench has one device of MT48LC16M16A2-75, not 2"),
    ("sdr-100", 1, 256, "MT48LC16M16A2-75 serves a bus of 1, 2, 4 or 8 times its 16 bits, not one of 256"),
    ("sdr-x32-100", 1, 16, "MT48LC4M32B2-7 serves a bus of 1, 2, 4 or 8 times its 32 bits, not one of 16"),
])
def test_memories_that_cannot_be_simulated(name: str, devices: int, bus_bits: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimDevice(replace(CONFIG, bus_bits=bus_bits), memory=replace(memory(name), devices=devices))
