"""``permfc compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permfc.config import EngineConfig
from permfc.errors import InputError
from permfc.memory import MEMORY_NAMES, IdlePolicy, Memory
from permfc.memory import memory as named_memory
from permfc.plots import comparison_plot

from . import console, inputs
from .options import INPUTS, AsJson, ChainName, NetworkFile
from .outputs import check_output

if TYPE_CHECKING:
    from permfc.memory.comparison import Cost

PLOTS = ".svg", ".png", ".pdf"


def compare(
    file: NetworkFile,
    x: Annotated[Path | None, typer.Option("--input", "-i", exists=True, dir_okay=False, help=f"{INPUTS}: which weights can be skipped.")] = None,
    memory: Annotated[str, typer.Option(help=f"The memory: {', '.join(name for name in MEMORY_NAMES if name != 'axi')}.")] = "sdr-100",
    idle: Annotated[str, typer.Option(help="Idle policy of the memory's energy: none, MS, powerdown or powerdown:MS.")] = "none",
    bus_bits: Annotated[int | None, typer.Option(help="Bus that permfc's segments are padded for; the memory's own width otherwise.")] = None,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Draw it: .svg, .png or .pdf; needs matplotlib (permfc[demo]).")] = None,
    chain: ChainName = None,
    as_json: AsJson = False,
) -> None:
    """Compare layouts of the same weights on one memory: dense fp32, int8, int4, EIE, and permfc.

    Bytes, the time of the memory alone, and its energy for one inference, all modelled; with inputs also when the weights of zero
    activations are left out.

    **Examples**

    - `permfc compare lenet.safetensors --input digits.npy --memory ddr3-1600`

    - `permfc compare lenet.safetensors --input digits.npy --plot layouts.svg --json`

    - `permfc compare minilm --input sentences.npz --chain encoder.layer.0.intermediate.dense`
    """
    from permfc.memory.comparison import compare as compare_layouts

    if plot is not None and plot.suffix not in PLOTS:
        raise InputError(f"{plot} is no kind of plot: give it a name that ends in {', '.join(PLOTS)}")
    check_output(plot, file, x)
    chosen, policy = named_memory(memory), IdlePolicy.parse(idle)
    network, packed_bits = inputs.read_network(file, chain)
    bits = _bus_bits(packed_bits if bus_bits is None else bus_bits, chosen)
    quantised = None if x is None else inputs.read_inputs(x, network, file, chain)
    with console.progress() as steps:
        costs = compare_layouts(network, quantised, chosen, bus_bytes=bits // 8, policy=policy, progress=steps)
    if plot is not None:
        draw(costs, plot)
    figures = {"file": str(file), "memory": chosen.name, "idle": str(policy), "bus_bits": bits, "layouts": [cost.as_dict() for cost in costs]}
    console.show(as_json, figures, cost_table(costs, chosen, policy))


def _bus_bits(wanted: int | None, memory: Memory) -> int:
    return EngineConfig(bus_bits=max(16, memory.bus_bits) if wanted is None else wanted).bus_bits  # which refuses what no bus has


def cost_table(costs: Sequence[Cost], memory: Memory, policy: IdlePolicy) -> console.Table:
    """The layouts, and how many times each takes what permfc takes under the same rule."""
    title = f"{memory.name} ({memory.part.name}), one inference, modelled; time of the memory alone; energy: datasheet maximum, {policy}"
    columns = dict.fromkeys(("kB", "µs", "µJ"), "right")
    table = console.table(title, {"layout": "left", "zeros": "left", **columns})
    ours = {cost.skips_zeros: cost for cost in costs if cost.layout == "permfc"}
    for number, cost in enumerate(costs):
        table.add_row(cost.layout, "skipped" if cost.skips_zeros else "read", *_cells(cost, ours[cost.skips_zeros]))
        if number + 1 < len(costs) and costs[number + 1].skips_zeros != cost.skips_zeros:
            table.add_section()
    return table


def _cells(cost: Cost, ours: Cost) -> list[str]:
    """Bytes, time and energy, each with its ratio to ``ours``."""
    size = _with_ratio(cost.bytes / 1e3, ours.bytes / 1e3)
    if cost.energy is None:
        return [size, f"{cost.excess / 1e3:,.0f} kB too large", ""]
    time = _with_ratio(cost.seconds * 1e6, ours.seconds and ours.seconds * 1e6)
    return [size, time, _with_ratio(cost.energy.total * 1e6, ours.energy and ours.energy.total * 1e6)]


def _with_ratio(value: float, ours: float | None) -> str:
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{shown} {value / ours:5.1f}x" if ours else shown


def draw(costs: Sequence[Cost], path: Path) -> None:
    """The table as bars."""
    names = [f"{cost.layout}, zeros skipped" if cost.skips_zeros else cost.layout for cost in costs]
    figures = {
        "bytes per inference": [cost.bytes for cost in costs],
        "µs of the memory": [None if cost.seconds is None else cost.seconds * 1e6 for cost in costs],
        "µJ of the memory": [None if cost.energy is None else cost.energy.total * 1e6 for cost in costs],
    }
    comparison_plot(names, figures, path)
