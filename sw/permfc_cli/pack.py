"""``permfc pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permfc.device.placement import joined, place
from permfc.errors import ConfigError
from permfc.files import write_file
from permfc.graph.whole import WholeNetwork
from permfc.image import model_file
from permfc.network import Network

from .engine_options import EngineChoice, takes_engine
from .info import describe, describe_images
from .options import AsJson
from .outputs import check_output
from .whole import is_whole


@takes_engine
def pack(
    networks: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Compressed networks (.safetensors), or a whole network.")],
    out: Annotated[Path, typer.Option("--output", "--out", "-o", help="Where the image goes.")],
    engine: EngineChoice,
    as_json: AsJson = False,
) -> None:
    """Pack a compressed network into the image that an engine runs from its memory.

    Several networks, or the chains of a whole network, become one file with an image of each, one behind the other: what a flash
    must hold for `permfc run`, or for `load` of the Python interface.

    **Examples**

    - `permfc pack lenet.safetensors -o lenet.img --device ecp5-85k`

    - `permfc pack lenet.safetensors -o lenet.img --bus-bits 64 --features 2048`

    - `permfc pack faces.safetensors words.safetensors -o flash.img --device up5k`

    - `permfc pack minilm -o flash.img --device up5k`
    """
    check_output(out, *networks)
    twice = [file for number, file in enumerate(networks) if file in networks[:number]]
    if twice:
        raise ConfigError(f"{twice[0]} is named twice; name each network once")
    config = engine.config()
    images = place(_contents(networks), config, 0)
    write_file(out, joined(images.values()))
    if len(images) == 1:
        describe(next(iter(images.values())).network, config, str(out), as_json)
    else:
        describe_images({name: (image.address, image.network) for name, image in images.items()}, config.bus_bits, str(out), as_json)


def _contents(files: list[Path]) -> dict[str, Network]:
    """The networks in files, those of a whole network in the order in which a session loads its chains."""
    found = {}
    for file in files:
        if is_whole(file):
            found |= {f"{file}, chain {name}": chain for name, chain in WholeNetwork.load(file).chains.items()}
        else:
            found[str(file)] = model_file.load(file)
    return found

