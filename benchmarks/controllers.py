"""What the boxes around the engine take of an ECP5, and how fast they run: ``python benchmarks/controllers.py [--seeds N] [--json]``.

SDRAM controller, flash reader and host link, each out of context as ``permfc synth`` does it: in a shell of registers that is subtracted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

from amaranth.back import verilog
from amaranth.lib import wiring
from program import run_program
from rich.console import Console
from rich.table import Table

from permfc.config import EngineConfig
from permfc.memory import memory
from permfc_boards.devices import device
from permfc_boards.synth import SynthesisReport, place_and_route
from permfc_hw.flash import FlashReader
from permfc_hw.link.config import LinkConfig
from permfc_hw.link.host_link import HostLink
from permfc_hw.sdram import SdramController

TARGET_MHZ = 150.0


def boxes() -> dict[str, wiring.Component]:
    """The designs by name."""
    sdram, x32, flash = memory("sdr-100"), memory("sdr-x32-100"), memory("qspi-48")
    link = LinkConfig(board="benchmark", clock_hz=100_000_000, baud=3_000_000, memory_bytes=sdram.capacity)
    return {
        "SDRAM controller, 16 data pins, 16-bit bus": SdramController(sdram.part, sdram.clock_hz, 16),
        "SDRAM controller, 16 data pins, 64-bit bus": SdramController(sdram.part, sdram.clock_hz, 64),
        "SDRAM controller, 32 data pins, 32-bit bus": SdramController(x32.part, x32.clock_hz, 32),
        "flash reader, 16-bit bus": FlashReader(flash.part, flash.clock_hz, 16),
        "host link, 16-bit bus": HostLink(EngineConfig(bus_bits=16), link),
    }


def measure(box: wiring.Component, seeds: int) -> SynthesisReport:
    """Synthesis, place and route of one box."""
    text = verilog.convert(box, name="box", strip_internal_attrs=True)
    target = dataclasses.replace(device("ecp5-25k"), target_mhz=TARGET_MHZ)
    return place_and_route(text, "box", target, range(1, seeds + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="place-and-route seeds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    reports = {name: measure(box, arguments.seeds) for name, box in boxes().items()}
    if arguments.json:
        print(json.dumps({name: report.as_dict() for name, report in reports.items()}, indent=2))
        return
    table = Table("box", *("LUT4, logic", "LUT4, all sites", "flip-flops", "block RAM", "MHz, median"), title="ECP5-25F speed 6")
    for name, report in reports.items():
        figures = (report.logic_luts, report.usage["lut4"].used, report.flip_flops.used, report.usage["block_ram"].used)
        table.add_row(name, *(f"{figure:,}" for figure in figures), f"{report.median_mhz:.1f}")
    Console().print(table)


if __name__ == "__main__":
    run_program(main)
