"""The simulated memory keeps its promises: latency, order, limits, gaps, faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from cocotb_runner import run_cocotb

WORDS = 1024


@pytest.mark.parametrize("bus_bits", [16, 128])
def test_axi_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bus_bits: int) -> None:
    environment = {"BUS_BITS": str(bus_bits), "WORDS": str(WORDS)}
    mask = (1 << bus_bits) - 1
    image = tmp_path / "memory.hex"
    image.write_text("\n".join(f"{(word * 0x9E37_79B9_7F4A_7C15 + 1) & mask:x}" for word in range(WORDS)))
    run_cocotb(
        monkeypatch, tmp_path, "axi_memory", "cocotb_axi_memory", parameters={"DATA_BITS": bus_bits, "WORDS": WORDS},
        environment=environment, plusargs=[f"+memory={image}"],
    )
