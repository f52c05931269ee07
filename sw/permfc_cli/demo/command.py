"""``permfc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder for the network, the plots and the figures.")] = Path("permfc-demo"),
) -> None:
    """Train"""
    raise SystemExit(str(out))
