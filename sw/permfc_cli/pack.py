"""``permfc pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permfc import image
from permfc.files import write_file
from permfc.image import model_file

from .engine_options import EngineChoice, takes_engine
from .info import describe
from .options import AsJson
from .outputs import check_output


@takes_engine
def pack(
    network: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A compressed network (.safetensors).")],
    out: Annotated[Path, typer.Option("--output", "--out", "-o", help="Where the image goes.")],
    engine: EngineChoice,
    as_json: AsJson = False,
) -> None:
    """Pack a compressed network into the image that an engine runs from its memory.

    **Examples**

    - `permfc pack lenet.safetensors -o lenet.img --device ecp5-85k`

    - `permfc pack lenet.safetensors -o lenet.img --bus-bits 64 --features 2048`
    """
    check_output(out, network)
    config = engine.config()
    loaded = model_file.load(network)
    write_file(out, image.pack(loaded, config))
    describe(loaded, config, str(out), as_json)
