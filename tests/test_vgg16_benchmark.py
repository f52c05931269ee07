"""The benchmark of VGG-16's layers, on layers of a thirty-second of their size: bit-exact, as dense as published, few bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from permfc.config import EngineConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_small_layers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted at the pins of an SDRAM; skipping saves bytes in every layer, compressing saves more than skipping alone does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import vgg16

    figures = vgg16.measure(["sdr-100"], EngineConfig(lanes=16, bus_bits=32), scale=32)
    run, layers = figures["runs"][0], figures["layers"]
    assert run["mismatches"] == 0 and run["results"] == figures["sizes"][-1]
    # The image header is the first layer's; the pins carry the tails of bursts that nobody wants as well.
    assert sum(layer["bytes"] for layer in layers) == run["bus_bytes"] < run["memory"]["total"]["bytes"]
    for layer, density in zip(layers, vgg16.ACTIVATION_DENSITY, strict=True):
        assert layer["active"] == pytest.approx(density, abs=0.13)  # few activations, and small ones become 0 in int8
        assert layer["bytes"] < layer["bytes_without_skipping"] < layer["dense_int8_bytes"]
    assert 2 * sum(layer["bytes"] for layer in layers) < sum(layer["dense_int8_active_bytes"] for layer in layers)
    vgg16.show(figures)
    assert "all 31 results bit-exact" in capsys.readouterr().out
