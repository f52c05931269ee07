"""Drawings of a report, as SVG text to stand in a page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from permfc.plots import BLUE, DARK, GREY, ORANGE, drawing

if TYPE_CHECKING:
    from permfc_sim.memory_run import MemoryRun
    from permfc_sim.simulate import Simulation

_PARTS = {"activate": DARK, "read": BLUE, "background": GREY, "refresh": "#7fb7be", "I/O": ORANGE}


def inline(draw: Callable[[Path], None]) -> str:
    """The ``<svg>`` element of what ``draw`` saves under the path that it gets."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawing.svg"
        draw(path)
        text = path.read_text()
    return text[text.index("<svg"):]


def traffic_chart(simulation: Simulation) -> str:
    """Bytes of each layer, beside what int8 weights would take, whole or only those of nonzero activations."""
    series = {
        "int8": (GREY, [layer.dense_bytes for layer in simulation.layers]),
        "int8, zeros skipped": (ORANGE, [layer.dense_active_bytes for layer in simulation.layers]),
        "permfc": (BLUE, [layer.bytes for layer in simulation.layers]),
    }

    def draw(path: Path) -> None:
        with drawing(path, 6.5, 0.9 + 0.5 * len(simulation.layers)) as (_, (axes,)):
            for index, (name, (color, values)) in enumerate(series.items()):
                axes.barh(np.arange(len(values)) + (index - 1) * 0.26, values, 0.24, color=color, label=name)
            axes.set_yticks(range(len(simulation.layers)), [f"layer {number}" for number in range(len(simulation.layers))])
            axes.invert_yaxis()
            axes.set_xscale("log")
            axes.set_xlabel("bytes per inference")
            axes.legend(loc="lower right")

    return inline(draw)


def energy_chart(run: MemoryRun) -> str:
    """Energy of each layer in the memory by its parts."""
    rows = []
    for use in run.layers:
        energy = use.energy
        rows.append((energy.activate + energy.precharge, energy.read + energy.write, energy.background, energy.refresh, energy.io))
    parts = np.array(rows).T * 1e6

    def draw(path: Path) -> None:
        with drawing(path, 6.5, 0.9 + 0.4 * len(run.layers)) as (_, (axes,)):
            left = np.zeros(len(run.layers))
            for (name, color), values in zip(_PARTS.items(), parts, strict=True):
                axes.barh(range(len(run.layers)), values, 0.6, left=left, color=color, label=name)
                left += values
            axes.set_yticks(range(len(run.layers)), [f"layer {number}" for number in range(len(run.layers))])
            axes.invert_yaxis()
            axes.set_xlabel("microjoules per inference")
            axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1))

    return inline(draw)
