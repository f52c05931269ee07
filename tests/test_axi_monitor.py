"""The AXI monitor catches each broken rule in the cycle in which it is broken, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cocotb_runner import run_cocotb


def test_axi_monitor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_cocotb(monkeypatch, tmp_path, "axi_monitor", "cocotb_axi_monitor", parameters={"DATA_BITS": 32, "OUTSTANDING": 4})
