"""The table of what a design takes of a device."""

from __future__ import annotations

from permfc_boards.synth import Usage

from . import console

NAMES = {
    "lut4": "LUT4, all sites", "logic_luts": "  of these logic", "flip_flops": "flip-flops", "block_ram": "block RAM", "spram": "SPRAM", "dsp": "DSP",
}


def resource_table(title: str, usage: dict[str, Usage]) -> console.Table:
    """A row for each resource of ``usage``."""
    table = console.table(title, {"resource": "left", "used": "right", "of": "right", "": "right"})
    for key in sorted(usage, key=list(NAMES).index):
        used, available = usage[key].used, usage[key].available
        table.add_row(NAMES[key], f"{used:,}", f"{available:,}", f"{used / available:.1%}")
    return table
