"""Tables of what an inference does to the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import console

if TYPE_CHECKING:
    from permfc.memory.use import MemoryUse
    from permfc_sim.memory_run import MemoryRun


def _rows(run: MemoryRun) -> list[tuple[str, MemoryUse, float]]:
    """Name, use, estimated on-chip joules of each layer and of the whole."""
    layers = [(f"layer {number}", use, chip.total) for number, (use, chip) in enumerate(zip(run.layers, run.on_chip, strict=True))]
    return [*layers, ("inference", run.total, run.on_chip_total)]


def command_table(run: MemoryRun) -> console.Table:
    """Time, commands and bytes at the pins, per inference."""
    memory = run.memory
    title = f"{memory.name} ({memory.part.name}, {memory.clock_hz / 1e6:g} MHz), per inference: commands {run.source}"
    headings = ["cycles", "µs", "activate", "read", "precharge", "refresh", "bytes", "row hits", "utilisation"]
    table = console.table(title, {"": "left", **dict.fromkeys(headings, "right")})
    for name, use, _ in _rows(run):
        commands = use.commands
        precharges = commands["precharge"] + commands["precharge_all"]
        counts = (commands["activate"], commands["read"], precharges, commands["refresh"], use.bytes)
        table.add_row(
            name, f"{use.cycles:,.0f}", f"{use.seconds * 1e6:,.1f}", *(f"{count:,.1f}" for count in counts),
            f"{use.row_hit_rate:.1%}", f"{use.utilisation:.1%}",
        )
    return table


def energy_table(run: MemoryRun) -> console.Table:
    """Energy in microjoules, per inference; the on-chip estimate is a column of its own."""
    title = f"Energy per inference in µJ, datasheet maximum; {run.policy}; {run.pj_per_weight:.3g} pJ a weight"
    headings = ["activate", "read", "background", "refresh", "I/O", "memory", "on-chip (estimated)"]
    table = console.table(title, {"": "left", **dict.fromkeys(headings, "right")})
    for name, use, chip in _rows(run):
        energy = use.energy
        figures = (energy.activate + energy.precharge, energy.read, energy.background, energy.refresh, energy.io, energy.total, chip)
        table.add_row(name, *(f"{figure * 1e6:,.3g}" for figure in figures))
    return table
