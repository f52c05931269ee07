"""Figures of what a network costs and how it is made. Needs matplotlib, which is optional."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import ToolError
from .network import Kind, Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, DARK = "#2a6f97", "#e07a1f", "#b8bec5", "#333333"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": DARK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
}


@contextmanager
def drawing(path: str | Path, width: float, height: float, **options: object) -> Iterator[tuple[Figure, np.ndarray]]:
    """A figure in our style, sizes in inches, and its axes as a 1-D array; saved when the context ends."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ToolError("matplotlib is missing, which draws the plots; run: pip install 'permfc[demo]'") from None
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure, np.atleast_1d(figure.subplots(**options))
        figure.savefig(path)


def accuracy_plot(bits: Sequence[float], accuracies: Sequence[float], float_accuracy: float, path: str | Path) -> None:
    """Accuracy against bits a weight.

    Parameters
    ----------
    bits : sequence of float
        Image bits over weights of each compressed network.
    accuracies : sequence of float
        Their accuracies, 0 to 1.
    float_accuracy : float
        Accuracy of the uncompressed network, drawn as a line.
    path : path
        Where the picture goes; the suffix says which kind.

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    percent = 100 * np.asarray(accuracies)
    with drawing(path, 4.2, 2.8) as (_, (axis,)):
        axis.axhline(100 * float_accuracy, color=DARK, linewidth=1, linestyle="--", label=f"float32, {100 * float_accuracy:.1f} %")
        axis.plot(bits, percent, color=BLUE, marker="o", label="compressed, golden model")
        for x, y in zip(bits, percent, strict=True):
            label = axis.annotate(f"{y:.1f} %", (x, y), textcoords="offset points", xytext=(0, 8), ha="center", color=BLUE, fontsize=8)
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
        axis.margins(x=0.14, y=0.45)
        axis.set(xlabel="bits a weight, whole image", ylabel="accuracy, %", title="Accuracy against size")
        axis.legend(loc="lower right")


def traffic_plot(compressed: Sequence[float], dense_active: Sequence[float], dense: Sequence[float], path: str | Path) -> None:
    """Bytes read per inference, by layer, against int8 weights that are read whole or only where the activation is not zero.

    Parameters
    ----------
    compressed, dense_active, dense : sequence of float [layers]
        Bytes per inference of the compressed network, of int8 weights of nonzero activations, and of all int8 weights.
    path : path

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    names = [*(f"layer {number}" for number in range(len(dense))), "all layers"]
    series = {
        "int8, everything": (GREY, [*dense, sum(dense)]),
        "int8, zero activations skipped": (ORANGE, [*dense_active, sum(dense_active)]),
        "permfc": (BLUE, [*compressed, sum(compressed)]),
    }
    total = np.array(series["int8, everything"][1])
    height = 0.26
    with drawing(path, 5.6, 0.75 + 0.62 * len(names)) as (figure, (axis,)):
        for number, (label, (color, values)) in enumerate(series.items()):
            places = np.arange(len(names)) + (number - 1) * height
            shares = 100 * np.array(values) / total
            axis.barh(places, shares, height=0.9 * height, color=color, label=label)
            for place, share, value in zip(places, shares, values, strict=True):
                axis.annotate(f"{value:,.0f} B", (share, place), textcoords="offset points", xytext=(3, 0), va="center", fontsize=7, color=DARK)
        axis.set_yticks(np.arange(len(names)), names)
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.set_xlim(0, 1.18 * 100 * max(1.0, max(np.array(compressed) / np.array(dense))))
        axis.set(xlabel="bytes read per inference, % of dense int8", title="Memory traffic by layer")
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)


def sequence_plot(weights: np.ndarray, layer: Layer, path: str | Path) -> None:
    """The sorted segments of a layer's first block beside the common sequences that stand for them.

    Parameters
    ----------
    weights : float [outputs, features]
        The float weights of the layer, its features in packed order, its outputs in any order, in steps of the layer's levels.
    layer : Layer
        The compressed layer; one block.
    path : path

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    found = np.sort(weights, axis=0)
    stored = np.sort(layer.weights(), axis=0).astype(float)
    limit = float(np.quantile(np.abs(found), 0.995)) or 1.0
    with drawing(path, 7.2, 2.9, ncols=3, width_ratios=(1, 1, 1.15)) as (figure, axes):
        for axis, values, title in zip(axes, (found, stored), ("sorted segments, float", "common sequences"), strict=False):
            image = axis.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest")
            axis.grid(visible=False)
            axis.set(xlabel="feature, packed order", title=title)
            for segments in layer.classes[1:]:
                axis.axvline(segments.first - 0.5, color=DARK, linewidth=0.5)
        axes[0].set_ylabel("rank within the segment")
        axes[1].set_yticklabels([])
        figure.colorbar(image, ax=axes[:2], label="weight, steps", shrink=0.9, pad=0.02)
        _class_profile(axes[2], found, layer)


def _class_profile(axis: Axes, found: np.ndarray, layer: Layer) -> None:
    """One class: the spread of its sorted segments and its common sequence."""
    prefix = [segments for segments in layer.classes if segments.kind is Kind.PREFIX]
    if not prefix:
        axis.set_title("no class has a common sequence")
        return
    largest = max(prefix, key=lambda segments: segments.levels.size * segments.features)
    values = found[:, largest.first:largest.end]
    ranks = np.arange(len(values))
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), axis=1)
    axis.fill_between(ranks, low, high, color=GREY, alpha=0.6, linewidth=0, label="80 % of the segments")
    axis.plot(ranks, middle, color=DARK, linewidth=1, label="their median")
    axis.step(ranks, np.sort(largest.weights()[0]), where="mid", color=BLUE, linewidth=1.4, label="common sequence")
    axis.set(xlabel="rank within the segment", ylabel="weight, steps", title=f"one class of {largest.features} features")
    axis.legend(loc="upper left", fontsize=7)


def comparison_plot(names: Sequence[str], figures: dict[str, Sequence[float | None]], path: str | Path) -> None:
    """Bars of several quantities side by side, on logarithmic axes, one bar a layout of the weights.

    Parameters
    ----------
    names : sequence of str
        Layouts, from the top.
    figures : dict of str to sequence of float or None
        Values of each quantity by its axis label; None where there is none.
    path : str or Path
        Where to save it; the suffix gives the format.
    """
    with drawing(path, 3.2 * len(figures), 0.8 + 0.28 * len(names), ncols=len(figures), sharey=True) as (_, panels):
        for axes, (label, values) in zip(panels, figures.items(), strict=True):
            known = [value if value is not None else np.nan for value in values]
            axes.barh(range(len(names)), known, 0.7, color=[BLUE if name.startswith("permfc") else GREY for name in names])
            axes.set_xscale("log")
            axes.set_xlabel(label)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
