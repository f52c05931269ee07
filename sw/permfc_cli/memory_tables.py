"""Tables of what an inference does to the memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from permfc.memory import DramPart, FlashPart, Memory

from . import console

if TYPE_CHECKING:
    from permfc.memory.use import MemoryUse
    from permfc_sim.memory_run import MemoryRun


def significant(value: float) -> str:
    """Three digits that count, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rows(run: MemoryRun) -> list[tuple[str, MemoryUse]]:
    """Number and use of each layer, and of all together."""
    return [*((str(number), use) for number, use in enumerate(run.layers)), ("all", run.total)]


def part_table(memory: Memory) -> console.Table:
    """What the memory is: geometry, clock, timing, and currents of its part."""
    part = memory.part
    rows = {
        "name": memory.name, "part": part.name, "devices side by side": str(memory.devices), "data pins": str(memory.bus_bits),
        "capacity": f"{memory.capacity / 2**20:g} MiB", "clock": f"{memory.clock_hz / 1e6:g} MHz",
        "peak": f"{memory.peak_bytes_per_second / 1e6:g} MB/s",
    }
    rows |= _flash_rows(part) if isinstance(part, FlashPart) else _dram_rows(part, memory.clock_hz)
    table = console.table("Configuration", {"memory": "left", "": "right"})
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _flash_rows(part: FlashPart) -> dict[str, str]:
    reading = {f"read up to {mhz:g} MHz": f"{ma:g} mA" for mhz, ma in part.read.items()}
    return {"clocks of a command": str(part.command_clocks), "supply": f"{part.volts:g} V", "standby": f"{part.standby:g} mA", **reading}


def _dram_rows(part: DramPart, clock_hz: float) -> dict[str, str]:
    rows = {"CAS latency": f"{part.timing.cas_latency(clock_hz)} clocks"}
    for name, value in asdict(part.timing).items():
        if name not in ("cas_tck", "power_up") and value:
            rows[f"t{name[1:].upper()}"] = f"{value:g} ns"
    for rail in part.rails:
        currents = asdict(rail)
        title = f"{currents.pop('name')}, {currents.pop('volts'):g} V"
        rows[title] = ", ".join(f"{name.upper()} {value:g}" for name, value in currents.items()) + " mA"
    return rows


def command_table(run: MemoryRun) -> console.Table:
    """Time, commands and bytes at the pins, per inference."""
    memory = run.memory
    title = f"{memory.name} ({memory.part.name}, {memory.clock_hz / 1e6:g} MHz), per inference: commands {run.source}"
    headings = ["cycles", "µs", "ACT", "READ", "PRE", "REF", "bytes", "row hits", "bus use"]
    table = console.table(title, {"layer": "left", **dict.fromkeys(headings, "right")})
    table.collapse_padding = True  # ten columns in 80 characters
    for name, use in _rows(run):
        commands = use.commands
        precharges = commands["precharge"] + commands["precharge_all"]
        counts = (commands["activate"], commands["read"], precharges, commands["refresh"])
        table.add_row(
            name, f"{use.cycles:,.0f}", f"{use.seconds * 1e6:,.1f}", *map(significant, counts), f"{use.bytes:,.0f}",
            "-" if use.row_hit_rate is None else f"{use.row_hit_rate:.1%}", f"{use.utilisation:.1%}",
        )
    return table


def energy_table(run: MemoryRun) -> console.Table:
    """Energy of the memory in microjoules, per inference."""
    source = f"{run.energy_source}, datasheet maximum"
    title = f"{run.memory.name}: µJ per inference, {source}; {significant(run.pj_per_weight)} pJ a weight; {run.policy}"
    headings = ["activate", "read", "background", "refresh", "I/O", "total"]
    table = console.table(title, {"layer": "left", **dict.fromkeys(headings, "right")})
    rows = [(name, use.energy) for name, use in _rows(run)]
    if run.policy.milliseconds:
        rows.append(("standby, modelled", run.idle))
    for name, energy in rows:
        figures = (energy.activate + energy.precharge, energy.read, energy.background, energy.refresh, energy.io, energy.total)
        table.add_row(name, *(significant(figure * 1e6) for figure in figures))
    return table


def on_chip_table(run: MemoryRun) -> console.Table:
    """Estimated energy on the chip in nanojoules, per inference."""
    layers = [layer.as_dict() for layer in run.on_chip]
    headings = [*(f"layer {number}" for number in range(len(layers))), "all"]
    table = console.table("On the chip: nJ per inference, estimated", {"": "left", **dict.fromkeys(headings, "right")})
    for name in layers[0]:
        figures = [layer[name] * 1e9 for layer in layers]
        table.add_row(name, *map(significant, [*figures, sum(figures)]))
    return table
