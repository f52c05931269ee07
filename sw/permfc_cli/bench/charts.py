"""The pictures of the benchmark: accuracy over size, and bytes read."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from permfc.plots import BLUE, DARK, GREY, ORANGE, drawing

from .cells import Row
from .tables import smallest

_COLUMNS = 3
_SHOWN_DROP = 3.0  # points below float32 that a panel shows
_FIXED, _PRUNED, _RETRAINED = "o", "s", "D"
_TRAFFIC = {"int8": "int8", "int4-g64": "int4", "deep-compression": "pruned"}


def draw(rows: list[Row], folder: Path) -> None:
    """``accuracy.svg`` and ``bytes.svg`` of the rows that have figures.

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    groups = {title: list(group) for title, group in groupby((row for row in rows if row.figures), key=lambda row: row.benchmark_title)}
    if groups:
        _accuracies(groups, folder / "accuracy.svg")
        _bytes(groups, folder / "bytes.svg")


def _accuracies(groups: dict[str, list[Row]], path: Path) -> None:
    """A panel a benchmark: accuracy, or output error on a logarithmic scale, over bits a weight."""
    lines = -(-len(groups) // _COLUMNS)
    with drawing(path, 8.4, 0.5 + 1.95 * lines, nrows=lines, ncols=_COLUMNS, squeeze=False) as (figure, axes):
        panels = axes.ravel()
        for axis, (title, group) in zip(panels, groups.items(), strict=False):
            _panel(axis, title, group)
        for axis in panels[len(groups):]:
            axis.set_visible(False)
        handles = {label: handle for axis in panels for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=8)


def _panel(axis, title: str, group: list[Row]) -> None:
    found = {row.method: row.figures for row in group}
    labelled = group[0].figures.accuracy is not None
    quality = (lambda figures: figures.accuracy) if labelled else (lambda figures: figures.output_error)
    series = {
        "fixed width": ([name for name in found if not name.startswith(("permfc", "retrained", "deep", "gptq", "float"))], _FIXED, "", GREY),
        "GPTQ": ([name for name in found if name.startswith("gptq")], "^", "", DARK),
        "pruned, Huffman": ([name for name in found if name == "deep-compression"], _PRUNED, "", ORANGE),
        "permfc": ([name for name in found if name.startswith("permfc")], _FIXED, "-", BLUE),
        "permfc retrained": ([name for name in found if name.startswith("retrained")], _RETRAINED, "", BLUE),
    }
    for label, (names, marker, line, color) in series.items():
        if names:
            axis.plot([found[name].bits_per_weight for name in names], [quality(found[name]) for name in names],
                      marker=marker, linestyle=line, color=color, markersize=4, label=label)
    axis.set(xlabel="bits a weight", ylabel="accuracy, %" if labelled else "output error", xscale="log")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["1/4", "1/2", "1", "2", "4", "8"])
    axis.minorticks_off()
    if not labelled:
        axis.set_yscale("log")
    elif "float32" in found:
        axis.axhline(found["float32"].accuracy, color=DARK, linewidth=1, linestyle="--", label="float32")
        axis.set_ylim(bottom=max(axis.get_ylim()[0], found["float32"].accuracy - _SHOWN_DROP))


def _bytes(groups: dict[str, list[Row]], path: Path) -> None:
    """Bars a benchmark: bytes an inference reads with zero activations skipped, in percent of all int8 weights."""
    names = [*_TRAFFIC.values(), "permfc", "permfc retrained"]
    colors = (GREY, DARK, ORANGE, BLUE, "#7fb2d1")
    height = 0.8 / len(names)
    with drawing(path, 7.2, 0.9 + 0.75 * len(groups)) as (figure, (axis,)):
        for number, (label, color) in enumerate(zip(names, colors, strict=True)):
            bars = [(place + (number - 2) * height, *_share(group, label)) for place, group in enumerate(groups.values())]
            bars = [bar for bar in bars if bar[2] is not None]
            if not bars:
                continue
            axis.barh([place for place, _, _ in bars], [share for _, share, _ in bars], height=0.9 * height, color=color, label=label)
            for place, share, count in bars:
                axis.annotate(f"{count:,.0f} B", (share, place), textcoords="offset points", xytext=(3, 0), va="center", fontsize=6, color=DARK)
        axis.set_yticks(range(len(groups)), groups, fontsize=8)
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.12)
        axis.set(xlabel="bytes read an inference, % of all int8 weights; modelled", title="Memory traffic, zero activations skipped")
        if axis.containers:
            figure.legend(loc="outside lower center", ncols=len(names), fontsize=8)


def _share(group: list[Row], label: str) -> tuple[float, float | None]:
    """Percent and bytes of one bar; None for bytes that are not known."""
    found = {row.method: row.figures for row in group}
    if label == "permfc":
        figures = smallest([figures for name, figures in found.items() if name.startswith("permfc-")])
    elif label == "permfc retrained":
        figures = smallest([figures for name, figures in found.items() if name.startswith("retrained-")])
    else:
        figures = next((found.get(method) for method, name in _TRAFFIC.items() if name == label), None)
    if figures is None or "int8" not in found:
        return 0.0, None
    return 100 * figures.bytes_skipping / found["int8"].bytes_all, figures.bytes_skipping
