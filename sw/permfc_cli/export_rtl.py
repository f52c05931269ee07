"""``permfc export-rtl``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .engine_options import EngineChoice, takes_engine
from .options import AsJson


@takes_engine
def export_rtl(
    engine: EngineChoice,
    folder: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for the files; made when it is missing.")],
    as_json: AsJson = False,
) -> None:
    """Write the engine as an IP block for other flows: one Verilog file with AXI ports, a FuseSoC core, Verilator waivers, a README.

    **Examples**

    - `permfc export-rtl -o ip --device ecp5-85k`

    - `permfc export-rtl -o ip --lanes 64 --bus-bits 128 --outstanding 16`
    """
    from permfc_hw.ip import export_ip  # here, since Amaranth is an optional dependency

    config = engine.config()
    paths = export_ip(config, folder)
    files = console.table(f"{config.lanes} lanes, {config.bus_bits}-bit bus", {"file": "left", "bytes": "right"})
    for path in paths:
        files.add_row(str(path), f"{path.stat().st_size:,}")
    console.show(as_json, {"config": config.as_dict(), "files": [str(path) for path in paths]}, files)
