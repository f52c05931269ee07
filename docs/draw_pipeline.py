"""Draws docs/pipeline.svg, the picture of the README: ``python docs/draw_pipeline.py`` (needs matplotlib)."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BLUE, ORANGE, GREY, DARK, PALE = "#2a6f97", "#e07a1f", "#8a9299", "#333333", "#eef3f6"
LEVELS = np.array([-2, -1, 0, 1, 2])
COUNTS = np.array([1, 2, 4, 2, 1])
COLOURS = dict(zip(LEVELS.tolist(), ("#2a6f97", "#9dc3d9", "#f5f5f5", "#f6c79b", "#e07a1f"), strict=True))
OUTPUTS, FEATURES = int(COUNTS.sum()), 6
CELL = 0.30


def cell(axes: Axes, x: float, y: float, colour: str, text: str = "", edge: str = "white") -> None:
    axes.add_patch(matplotlib.patches.Rectangle((x, y), CELL, CELL, facecolor=colour, edgecolor=edge, linewidth=0.8))
    if text:
        axes.text(x + CELL / 2, y + CELL / 2, text, ha="center", va="center", fontsize=7, color="white" if colour == BLUE else DARK)


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str = PALE, weight: str = "normal") -> None:
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor=colour, edgecolor=GREY, linewidth=0.8)
    axes.add_patch(shape)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, color=DARK, weight=weight, linespacing=1.35)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = DARK) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, linewidth=1.1, shrinkA=0, shrinkB=0))


def heading(axes: Axes, x: float, title: str, text: str) -> None:
    axes.text(x, 4.75, title, fontsize=10.5, weight="bold", color=DARK)
    axes.text(x, 4.62, text, fontsize=8, color=GREY, va="top", linespacing=1.35)


def draw_compression(axes: Axes, rng: np.random.Generator) -> None:
    """A float matrix, its common sequence, and the level numbers that remain of it."""
    weights = rng.permuted(np.tile(np.repeat(LEVELS, COUNTS), (FEATURES, 1)), axis=1).T
    noise = weights + rng.normal(0, 0.25, weights.shape)
    low = 0.9
    heading(axes, 0.0, "Trained layer", "float weights, one\ncolumn per input")
    blend = matplotlib.colors.LinearSegmentedColormap.from_list("weights", [COLOURS[level] for level in LEVELS.tolist()])
    for row in range(OUTPUTS):
        for column in range(FEATURES):
            cell(axes, column * CELL, low + row * CELL, blend((np.clip(noise[row, column], -2, 2) + 2) / 4))
    arrow(axes, (1.95, 2.4), (2.65, 2.4))
    axes.text(2.3, 2.55, "compress", ha="center", fontsize=8, color=DARK)

    heading(axes, 2.85, "Common sequence", "shared by all columns\nof a class: on the chip")
    for row, level in enumerate(np.repeat(LEVELS, COUNTS).tolist()):
        cell(axes, 3.35, low + row * CELL, COLOURS[level], f"{level:+d}" if level else "0", edge=GREY)
    heading(axes, 5.0, "Permutations", "level numbers, prefix-coded:\nevery column has the same length")
    numbers = np.searchsorted(LEVELS, weights)
    for row in range(OUTPUTS):
        for column in range(FEATURES):
            cell(axes, 5.0 + column * CELL, low + row * CELL, "white", str(numbers[row, column]), edge="#d5dade")


def draw_engine(axes: Axes) -> None:
    """The memory and the path of a segment through the engine."""
    heading(axes, 7.75, "Engine", "one lane a nonzero input,\none output a cycle")
    arrow(axes, (6.9, 2.4), (7.6, 2.4))
    axes.text(7.25, 2.55, "pack", ha="center", fontsize=8, color=DARK)
    box(axes, 7.7, 1.9, 1.0, 1.0, "image\nin DRAM", colour="#fbe9d7")
    arrow(axes, (8.7, 2.4), (9.35, 2.4), ORANGE)
    axes.text(9.02, 2.55, "AXI4", ha="center", fontsize=8, color=ORANGE)
    box(axes, 9.35, 0.9, 4.1, 3.0, "")
    lanes = ((1.05, "lane"), (1.75, "lane"), (2.45, "lane"))
    for low, name in lanes:
        box(axes, 9.5, low, 1.75, 0.55, f"{name}: decode,\nproduct table", colour="white")
        arrow(axes, (11.25, low + 0.28), (11.55, 2.0), BLUE)
    box(axes, 11.55, 1.55, 0.7, 0.9, "adder\ntree", colour="white")
    arrow(axes, (12.25, 2.0), (12.45, 2.0), BLUE)
    box(axes, 12.45, 1.4, 0.9, 1.2, "accu-\nmulators,\nrequantise", colour="white")
    box(axes, 9.5, 3.2, 1.75, 0.5, "common sequences", colour="#dcebf3")
    arrow(axes, (10.375, 3.2), (10.375, 3.0), BLUE)
    box(axes, 11.55, 3.2, 1.8, 0.5, "nonzero activations", colour="#dcebf3")
    arrow(axes, (12.9, 2.6), (12.9, 3.2), BLUE)
    axes.text(7.7, 0.72, "A zero activation reads nothing; an address is base + number x size.", fontsize=8, color=GREY, va="top")


def draw(path: Path) -> None:
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "permfc", "font.family": "sans-serif"})
    figure = Figure(figsize=(11.0, 3.86))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set(xlim=(-0.05, 13.55), ylim=(0.35, 5.1), aspect="equal")
    axes.axis("off")
    draw_compression(axes, np.random.default_rng(4))
    draw_engine(axes)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("pipeline.svg"))
