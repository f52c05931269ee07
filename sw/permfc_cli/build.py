"""``permfc build``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permfc_boards.boards import BOARD_NAMES, board

from . import console
from .options import AsJson
from .resources import resource_table

if TYPE_CHECKING:
    from permfc_boards.build import BuildReport


def build(
    name: Annotated[str, typer.Argument(metavar="BOARD", help=f"One of {', '.join(BOARD_NAMES)}.")],
    lanes: Annotated[int | None, typer.Option(help="Features decoded side by side; the board's own number otherwise.")] = None,
    features: Annotated[int | None, typer.Option(help="Most inputs or outputs of a layer; the board's own number otherwise.")] = None,
    block_outputs: Annotated[int | None, typer.Option(help="Most outputs in one output block; the board's own number otherwise.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many place-and-route seeds to try; the fastest becomes the bitstream.")] = 3,
    folder: Annotated[Path | None, typer.Option(file_okay=False, help="Where to build; a cache folder named by the design otherwise.")] = None,
    program: Annotated[bool, typer.Option("--program", help="Load the bitstream into the board with openFPGALoader.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the bitstream of a board: clock, engine, host link and memory controller.

    What was built once is kept; the same command answers at once.

    **Examples**

    - `permfc build ulx3s-85f --program`

    - `permfc build ulx3s-25f --lanes 8 --seeds 5 --json`
    """
    from permfc_boards.build import build as build_board  # here, since Amaranth is an optional dependency
    from permfc_boards.build import program as load

    chosen = board(name)
    given = {"lanes": lanes, "features": features, "block_outputs": block_outputs}
    config = dataclasses.replace(chosen.config, **{key: value for key, value in given.items() if value is not None})
    with console.progress() as steps:
        report = build_board(chosen, config, range(1, seeds + 1), folder, steps)
    resources = resource_table(f"{report.board}, {config.lanes} lanes", report.usage)
    console.show(as_json, {"config": config.as_dict(), **report.as_dict()}, resources, _clocks(report), report.bitstream)
    if program:
        load(chosen, Path(report.bitstream))


def _clocks(report: BuildReport) -> console.Table:
    table = console.table(f"Clock {report.clock_mhz:g} MHz", {"seed": "right", "Fmax, MHz": "right", "": "left"})
    for seed, mhz in report.fmax_mhz.items():
        table.add_row(str(seed), f"{mhz:.1f}", "the bitstream" if seed == report.seed else "" if mhz >= report.clock_mhz else "missed")
    return table
