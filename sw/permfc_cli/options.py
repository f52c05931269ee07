"""Options and arguments that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
LayerNames = Annotated[
    str | None, typer.Option("--layers", metavar="NAME,...", help="Fully connected layers to take, in order of execution, if the model has more; "
                                                             "of a whole network also patterns.")
]
Kernel = Annotated[
    str | None, typer.Option(metavar="out-in|in-out", help="Order of a weight's dimensions in .npz, .safetensors or .pt, if its name does not tell.")
]
INPUTS = "Inputs, .npy [batch, inputs]; of a whole network as it takes them, .npz for several"
NetworkFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="A compressed network, a whole network or an image.")]
ChainName = Annotated[
    str | None, typer.Option("--chain", metavar="NAME", help="The chain that is meant, by a layer of it, of a whole network with several; "
                                                             "permfc info lists them.")
]
DeviceName = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="golden, sim, serial:PORT or serial:PORT@BAUD; golden and sim also with "
                                                         ":NAME=VALUE,... for parameters of the engine.")
]
Samples = Annotated[
    Path, typer.Option("--input", "-i", exists=True, dir_okay=False, help=f"{INPUTS}."),
]
Results = Annotated[Path | None, typer.Option("--output", "-o", help="Where the results go, .npy, or .npz for several.")]
