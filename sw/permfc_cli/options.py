"""Options and arguments that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
NetworkFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="A compressed network (.safetensors) or an image.")]
