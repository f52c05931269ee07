"""``permfc features``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permfc.array_files import read_npy, read_npz
from permfc.files import read_file
from permfc.graph.features import FeatureNetwork

from . import console, inputs
from .options import AsJson, LayerNames
from .outputs import check_output, write_array
from .whole import NPZ


def features(
    model: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A trained network: .onnx, .keras, .h5, .json or .tflite.")],
    x: Annotated[Path, typer.Option("--input", "-i", exists=True, dir_okay=False, help="Its inputs, .npy [batch, ...], .npz for several.")],
    out: Annotated[Path, typer.Option("--output", "--out", "-o", help="Where the features go, .npy float32 [batch, features].")],
    layers: LayerNames = None,
    as_json: AsJson = False,
) -> None:
    """Compute what the fully connected layers at the end of a network take, such as those behind convolutions, on the host.

    The result serves as calibration data for `permfc compress` and as input for `permfc simulate`. Needs onnxruntime.

    **Examples**

    - `permfc features lenet5.onnx --input digits.npy --output features.npy`

    - `permfc compress lenet5.onnx -o lenet5.safetensors --calibrate features.npy`
    """
    check_output(out, model, x)
    network = FeatureNetwork.from_onnx(model, inputs.layer_names(layers))
    found = network.features(read_npz(x) if read_file(x)[:2] == NPZ else read_npy(x))
    write_array(out, found)
    table = console.table(f"{out}: {found.shape[0]:,} x {found.shape[1]:,}", {"layer": "left", "inputs": "right", "outputs": "right"})
    for layer in network.tail:
        table.add_row(layer.name, f"{layer.inputs:,}", f"{layer.outputs:,}")
    console.show(as_json, {"file": str(out), "samples": found.shape[0], "features": found.shape[1],
                           "layers": [{"name": layer.name, "inputs": layer.inputs, "outputs": layer.outputs} for layer in network.tail]}, table)
