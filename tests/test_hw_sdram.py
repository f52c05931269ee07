"""The SDRAM controller: nothing lost, no rule broken, at every clock and width; and what it says of parts that it cannot drive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("amaranth")

from amaranth.back import verilog  # noqa: E402

from cocotb_runner import run_cocotb  # noqa: E402
from permfc.errors import ConfigError  # noqa: E402
from permfc.memory import DramPart, load_part, memory  # noqa: E402
from permfc_hw.sdram import SdramController  # noqa: E402
from permfc_hw.sdram.pieces import Geometry  # noqa: E402
from permfc_hw.sdram.timing import SdramTiming  # noqa: E402
from permfc_sim.memories import sdram_parameters  # noqa: E402

X16, X32 = load_part("MT48LC16M16A2-75"), load_part("MT48LC4M32B2-7")
BENCH = Path(__file__).with_name("sdram_bench.sv")
# Longer than any part's, and none the sum of others.
SLOW = {"trcd": 45.0, "trp": 55.0, "tras": 85.0, "trc": 215.0, "trrd": 25.0, "trfc": 135.0, "twr": 45.0}


def small(part: DramPart, **timing: float) -> DramPart:
    """The part with 16 rows of 64 columns, which are soon full, a short power-up, and refreshes that are due sooner."""
    return replace(part, rows=16, columns=64, timing=replace(part.timing, power_up=1000.0, trefi=3000.0, **timing))


@pytest.mark.parametrize(("part", "clock_hz", "bus_bits", "pin_delay"), [
    pytest.param(small(X16), 100e6, 32, 0, id="x16-100MHz"),
    pytest.param(small(X16), 133e6, 16, 2, id="x16-133MHz-registered"),
    pytest.param(small(X32), 25e6, 32, 3, id="x32-25MHz-registered"),
    pytest.param(small(X16, **SLOW), 100e6, 128, 0, id="slow-100MHz"),
])
def test_controller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: DramPart, clock_hz: float, bus_bits: int, pin_delay: int
) -> None:
    source = tmp_path / "permfc_sdram.v"
    controller = SdramController(part, clock_hz, bus_bits, pin_delay=pin_delay)
    source.write_text(verilog.convert(controller, name="permfc_sdram", strip_internal_attrs=True))
    parameters = sdram_parameters(part, clock_hz) | {"DATA_BITS": bus_bits, "PIN_DELAY": pin_delay}
    environment = {name: str(value) for name, value in {**parameters, "CAPACITY": part.capacity}.items()}
    run_cocotb(monkeypatch, tmp_path, "sdram_bench", "cocotb_sdram", parameters=parameters, sources=[source, BENCH], environment=environment)


def test_bus_width() -> None:
    with pytest.raises(ConfigError, match="must have 1, 2, 4 or 8 times its 16 data pins, not 24 bits"):
        Geometry(X16, 24)


def test_other_kinds_of_memory() -> None:
    part = memory("ddr3-1600").part
    with pytest.raises(ConfigError, match=f"{part.name} is ddr3 with 8 banks"):
        SdramTiming.of(part, 100e6)


def test_too_large_a_part() -> None:
    with pytest.raises(ConfigError, match="has 8192 rows of 2048 columns; the SDRAM controller knows 8192 of 1024"):
        SdramTiming.of(replace(X16, columns=2048), 100e6)


def test_clock_beyond_the_part() -> None:
    with pytest.raises(ConfigError, match="No CAS latency of this part works at 200 MHz"):
        SdramTiming.of(X16, 200e6)


def test_activates_that_are_too_close() -> None:
    part = replace(X16, timing=replace(X16.timing, trrd=60.0))
    with pytest.raises(ConfigError, match="needs 6 cycles between ACTIVATEs at 100 MHz, the controller leaves 5"):
        SdramTiming.of(part, 100e6)
