"""How much of an SDRAM's peak arrives at its pins in one sweep, refreshes included."""

from __future__ import annotations

from pathlib import Path

import pytest

from permfc.config import EngineConfig
from permfc.memory import memory

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_sweep_of_64_kib_takes_at_most_two_percent_more_than_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from memory import SWEEP_BYTES, sweep

    trace = sweep(EngineConfig(lanes=4, bus_bits=32), memory("sdr-100"), SWEEP_BYTES)
    assert trace.bytes(16) == SWEEP_BYTES == 65536
    assert trace.counts()["refresh"] >= 28, "those of 32,768 cycles are within the sweep"
    assert 0.98 <= trace.utilisation(data_rate=1) < 1
