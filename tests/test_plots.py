"""The figures: that they are drawn, and what is said without matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from networks import random_layer
from permfc import plots
from permfc.errors import ToolError
from permfc.network import Kind

PNG = b"\x89PNG"


def test_accuracy(tmp_path: Path) -> None:
    plots.accuracy_plot([1.0, 2.0], [0.9, 0.97], 0.98, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_traffic(tmp_path: Path) -> None:
    plots.traffic_plot([10.0, 5.0], [20.0, 6.0], [100.0, 10.0], tmp_path / "t.svg")
    assert "<svg" in (tmp_path / "t.svg").read_text()


@pytest.mark.parametrize("kinds", [[Kind.PREFIX], [Kind.DENSE8]])
def test_sequences(kinds: list[Kind], tmp_path: Path) -> None:
    layer = random_layer(np.random.default_rng(0), 30, 40, kinds=kinds)
    plots.sequence_plot(np.random.default_rng(1).normal(size=(40, 30)), layer, tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(PNG)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolError, match=r"matplotlib is missing, which draws the plots; run: pip install 'permfc\[demo\]'"):
        plots.accuracy_plot([1.0], [0.9], 0.98, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
