"""The QSPI flash reader: nothing lost, no rule broken, any reset survived; the flash model itself; and both behind an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("amaranth")

from amaranth.back import verilog  # noqa: E402

from cocotb_runner import run_cocotb  # noqa: E402
from engine_cases import check_run  # noqa: E402
from networks import random_inputs, random_network  # noqa: E402
from permfc.config import EngineConfig  # noqa: E402
from permfc.errors import ConfigError, DeviceError  # noqa: E402
from permfc.memory import load_part, memory  # noqa: E402
from permfc_hw.flash import FlashReader  # noqa: E402
from permfc_sim import memories  # noqa: E402
from permfc_sim.device import SimDevice  # noqa: E402

PART = load_part("W25Q128JV")
BENCH = Path(__file__).with_name("flash_bench.sv")
CONFIG = EngineConfig(lanes=4, bus_bits=16, block_outputs=128, features=128)


@pytest.mark.parametrize(("clock_hz", "bus_bits", "pin_delay"), [
    pytest.param(48e6, 16, 0, id="48MHz"),
    pytest.param(24e6, 32, 2, id="24MHz-registered"),
    pytest.param(104e6, 64, 3, id="104MHz-registered"),
])
def test_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock_hz: float, bus_bits: int, pin_delay: int) -> None:
    part = replace(PART, size=1 << 12)
    source = tmp_path / "permfc_flash.v"
    source.write_text(verilog.convert(FlashReader(part, clock_hz, bus_bits, pin_delay=pin_delay), name="permfc_flash", strip_internal_attrs=True))
    parameters = memories.flash_parameters(part, clock_hz) | {"DATA_BITS": bus_bits, "PIN_DELAY": pin_delay}
    environment = {name: str(value) for name, value in parameters.items()}
    run_cocotb(monkeypatch, tmp_path, "flash_bench", "cocotb_flash", parameters=parameters, sources=[source, BENCH], environment=environment)


def test_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parameters = {"BYTES": 1 << 12, "T_RES": 40, "T_SHSL": 3}
    environment = {name: str(value) for name, value in parameters.items()}
    run_cocotb(monkeypatch, tmp_path, "flash_model", "cocotb_flash_model", parameters=parameters, environment=environment)


def test_engine() -> None:
    """Bit-exact, and every byte asked for crosses the pins once: nothing else."""
    chosen = memory("qspi-48")
    network = random_network(41, [120, 100, 40], block_outputs=64)
    with SimDevice(CONFIG, memory=chosen) as device:
        device.load(network)
        check_run(device, network, random_inputs(42, 120, batch=2))
        trace, reads = device.take_commands(), device.take_reads()
    assert trace.bytes(chosen.bus_bits) == reads.bytes.sum()
    ends = reads.address + reads.bytes
    assert trace.counts()["read"] == 1 + (reads.address[1:] != ends[:-1]).sum(), "a read that goes on is no command"
    assert trace.counts()["activate"] == trace.counts()["refresh"] == 0


def test_a_flash_slower_than_the_reader_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = memories.flash_parameters
    monkeypatch.setattr(memories, "flash_parameters", lambda part, clock_hz: {**kept(part, clock_hz), "T_RES": 200})
    chosen = replace(memory("qspi-48"), name="slower release")
    with pytest.raises(DeviceError, match=r"Rule 2 of W25Q128JV at 48 MHz was broken, tRES1: [^:]*: in cycle \d+ after reset"):  # noqa: PT012
        with SimDevice(CONFIG, memory=chosen) as device:
            device.load(random_network(43, [20, 10]))
            device.run(random_inputs(44, 20)[0])


def test_bus_width() -> None:
    with pytest.raises(ConfigError, match="The bus of W25Q128JV must have 16, 32 or 64 bits, not 128"):
        FlashReader(PART, 48e6, 128)


@pytest.mark.parametrize("size", [1 << 25, 3 << 20])
def test_parts_that_three_bytes_do_not_address(size: int) -> None:
    with pytest.raises(ConfigError, match=f"W25Q128JV has {size} bytes; the flash reader addresses a power of two, 16777216 at most"):
        FlashReader(replace(PART, size=size), 48e6, 16)
