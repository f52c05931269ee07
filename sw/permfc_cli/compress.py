"""``permfc compress``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permfc import model_file
from permfc.compress import compress as compress_model

from . import console, inputs
from .engine_options import EngineChoice, takes_engine
from .info import describe
from .options import AsJson, Kernel, LayerNames


@takes_engine
def compress(
    model: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A trained network: .npz, .safetensors, .pt or .onnx.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the compressed network goes (.safetensors).")],
    engine: EngineChoice,
    bits: Annotated[float, typer.Option("--bits", "-b", help="Most bits a weight: all bits of the image over the number of weights.")] = 2.5,
    calibrate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Typical inputs, .npy [samples, inputs]. Strongly recommended.")
    ] = None,
    layers: LayerNames = None,
    kernel: Kernel = None,
    as_json: AsJson = False,
) -> None:
    """Compress a trained network, without retraining.

    The size is optimised for the engine's bus width, output blocks and levels; the result runs on any engine with large enough limits.

    **Examples**

    - `permfc compress lenet.npz -o lenet.safetensors --bits 2.5 --calibrate digits.npy`

    - `permfc compress head.onnx -o head.safetensors --bits 2 --calibrate x.npy --device up5k`

    - `permfc compress keras.npz -o net.safetensors --layers dense,dense_1 --kernel in-out`
    """
    config = engine.config()
    samples = inputs.read_array(calibrate) if calibrate else None
    source = inputs.read_model(model, layers, kernel)
    with console.progress() as steps:
        network = compress_model(source, bits, samples, config.block_outputs, config.bus_bits, config.levels, progress=steps)
    model_file.save(network, out)
    describe(network, config, str(out), as_json)
