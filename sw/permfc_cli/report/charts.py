"""Drawings of a report: horizontal bars as SVG text to stand in a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ..memory_tables import significant

if TYPE_CHECKING:
    from permfc.memory.comparison import Cost
    from permfc.memory.use import MemoryUse
    from permfc_sim.simulate import LayerTraffic

BLUE, LIGHT_BLUE, ORANGE, GREY, DARK = "#2a6f97", "#8fbcd4", "#e07a1f", "#b8bec5", "#333333"
_ENERGY = {"activate": DARK, "read": BLUE, "background": GREY, "refresh": LIGHT_BLUE, "I/O": ORANGE}
_SKIPPING = {False: ("all weights", GREY), True: ("zero activations skipped", BLUE)}
_TRAFFIC = {"int8, everything": GREY, "int8, zero activations skipped": ORANGE, "permfc": BLUE}

# In units of the drawing, which a page shows as pixels.
_WIDTH, _NAMES, _BARS = 720, 90, 500
_TOP, _BAR, _GAP = 42, 14, 8


@dataclass(frozen=True)
class Bar:
    """One bar.

    Members
    -------
    name : str
        Stands before the bar and begins a group; empty for the other bars of the group.
    parts : sequence of (colour, value)
        From left to right; values of at least 0.
    text : str
        Stands behind the bar.
    """

    name: str
    parts: Sequence[tuple[str, float]]
    text: str


def bar_chart(bars: Sequence[Bar], legend: Mapping[str, str], title: str) -> str:
    """An ``<svg>`` element; the longest bar fills the width. ``legend`` gives the colour of each name."""
    longest = max(sum(value for _, value in bar.parts) for bar in bars) or 1.0
    heading = f'<text x="0" y="12" font-weight="bold" fill="{DARK}">{escape(title)}</text>'
    drawn, top = [heading, _legend(legend)], _TOP
    for bar in bars:
        top += _GAP if bar.name else 0
        drawn.append(_bar(bar, top, _BARS / longest))
        top += _BAR
    height = top + _GAP
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    label = f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>{"".join(drawn)}</svg>'


def _legend(names: Mapping[str, str]) -> str:
    drawn, left = [], _NAMES
    for name, colour in names.items():
        drawn.append(f'<rect x="{left}" y="22" width="10" height="10" fill="{colour}"/>{_text(left + 14, 31, name)}')
        left += 34 + 6 * len(name)
    return "".join(drawn)


def _bar(bar: Bar, top: float, scale: float) -> str:
    drawn, left = [_text(_NAMES - 8, top + 11, bar.name, "end")], float(_NAMES)
    for colour, value in bar.parts:
        drawn.append(f'<rect x="{left:.2f}" y="{top + 1}" width="{value * scale:.2f}" height="{_BAR - 2}" fill="{colour}"/>')
        left += value * scale
    return "".join([*drawn, _text(left + 5, top + 11, bar.text)])


def _text(left: float, base: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{left:.2f}" y="{base}" text-anchor="{anchor}" fill="{DARK}">{escape(text)}</text>' if text else ""


def traffic_chart(layers: Sequence[LayerTraffic]) -> str:
    """Bytes of each layer and of all, in parts of what all int8 weights would take."""
    sizes = [(layer.dense_bytes, layer.dense_active_bytes, layer.bytes) for layer in layers]
    names = [*(f"layer {number}" for number in range(len(layers))), "all layers"]
    bars = []
    for name, values in zip(names, [*sizes, tuple(map(sum, zip(*sizes, strict=True)))], strict=True):
        for first, colour, value in zip((True, False, False), _TRAFFIC.values(), values, strict=True):
            bars.append(Bar(name if first else "", [(colour, value / values[0])], f"{value:,.0f} B, {value / values[0]:.1%}"))
    return bar_chart(bars, _TRAFFIC, "Bytes read per inference")


def energy_chart(layers: Sequence[MemoryUse]) -> str:
    """Energy of the memory in each layer, by what it is for."""
    bars = []
    for number, energy in enumerate(use.energy for use in layers):
        values = (energy.activate + energy.precharge, energy.read + energy.write, energy.background, energy.refresh, energy.io)
        bars.append(Bar(f"layer {number}", list(zip(_ENERGY.values(), values, strict=True)), f"{significant(energy.total * 1e6)} µJ"))
    return bar_chart(bars, _ENERGY, "Energy of the memory per inference")


def comparison_chart(costs: Sequence[Cost], figure: Callable[[Cost], float | None], unit: str, title: str) -> str:
    """One figure of each layout that has it, with and without the weights of zero activations."""
    bars, names = [], list(dict.fromkeys(cost.layout for cost in costs))
    for cost in sorted(costs, key=lambda cost: (names.index(cost.layout), cost.skips_zeros)):
        value = figure(cost)
        if value is not None:
            first = not (bars and cost.skips_zeros)
            bars.append(Bar(cost.layout if first else "", [(_SKIPPING[cost.skips_zeros][1], value)], f"{significant(value)} {unit}"))
    return bar_chart(bars, dict(_SKIPPING.values()), title)
