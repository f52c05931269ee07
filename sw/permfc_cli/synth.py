"""``permfc synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permfc.errors import ConfigError
from permfc_boards.synth import SynthesisReport, Usage, synthesise

from . import console
from .engine_options import EngineChoice, takes_engine
from .options import AsJson
from .resources import resource_table


@takes_engine
def synth(
    engine: EngineChoice,
    seeds: Annotated[int, typer.Option(min=1, help="How many place-and-route seeds to try.")] = 3,
    folder: Annotated[Path | None, typer.Option(file_okay=False, help="Where to build; a cache folder named by the design otherwise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Synthesise, place and route an engine; show what it takes of the device and how fast it runs.

    The engine is built out of context: a shell of registers stands in for memory and host, and what the shell takes is subtracted.

    **Examples**

    - `permfc synth --device ecp5-85k`

    - `permfc synth --device ecp5-25k --lanes 32 --seeds 5 --json`
    """
    if engine.device is None:
        raise ConfigError("permfc synth needs a device; give --device ecp5-85k, for example")
    config = engine.config()
    with console.progress() as steps:
        report = synthesise(config, engine.device, range(1, seeds + 1), folder, steps)
    title = f"{report.device}, {config.lanes} lanes, {config.bus_bits}-bit bus"
    console.show(as_json, {"config": config.as_dict(), **report.as_dict()}, _resources(report, title), _clocks(report))


def _resources(report: SynthesisReport, title: str) -> console.Table:
    logic = Usage(report.logic_luts, report.usage["lut4"].available)
    return resource_table(title, {**report.usage, "logic_luts": logic, "flip_flops": report.flip_flops})


def _clocks(report: SynthesisReport) -> console.Table:
    clocks = console.table("", {"seed": "right", "Fmax, MHz": "right"})
    for seed, mhz in report.fmax_mhz.items():
        clocks.add_row(str(seed), f"{mhz:.1f}")
    clocks.add_section()
    clocks.add_row("median", f"{report.median_mhz:.1f}")
    return clocks
