"""``permfc compress``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from permfc.array_files import read_npy
from permfc.compression import targets
from permfc.compression.compress import compress as compress_model
from permfc.errors import InputError, ModelError
from permfc.image import model_file
from permfc.importers import FloatNetwork
from permfc.network import Kind, Network
from permfc.progress import Progress

from . import console, inputs
from .compress_whole import compress_whole, is_graph
from .engine_options import EngineChoice, takes_engine
from .info import describe
from .options import AsJson, Kernel, LayerNames
from .outputs import check_output
from .warn import warn_of_clipping, warn_of_empty

_DEFAULT_BITS = 2.5


@takes_engine
def compress(
    model: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A trained network: .onnx, .keras, .h5, .json, .tflite, .npz, .safetensors or .pt.")
    ],
    out: Annotated[
        Path, typer.Option("--output", "--out", "-o", help="Where it goes: .safetensors for one chain, any other name for a whole network; "
                                                         "of .npz, .safetensors and .pt always one chain.")
    ],
    engine: EngineChoice,
    bits: Annotated[
        str | None, typer.Option("--bits", "-b", help="Most bits a weight: all bits of the image over the number of weights. Default: 2.5. "
                                                      "Or dense8: int8 weights everywhere.")
    ] = None,
    ratio: Annotated[float | None, typer.Option("--ratio", "-r", help="Times smaller than the weights in float32: --bits of 32 / RATIO.")] = None,
    max_drop: Annotated[
        float | None, typer.Option("--max-drop", help="The smallest image that loses at most so many points of accuracy on --calibrate, --labels.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False,
                                  help="Typical inputs, .npy [samples, inputs]; of a whole network as it takes them, .npz for several.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Their labels, .npy [samples], for --max-drop.")
    ] = None,
    per_layer: Annotated[
        Path | None, typer.Option("--per-layer", exists=True, dir_okay=False,
                                  help="JSON: bits a weight, or a kind (prefix, sparse, dense8), by layer name.")
    ] = None,
    layers: LayerNames = None,
    skip: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Layers of a whole network that stay on the host; also patterns: 'encoder.*.key'.")
    ] = None,
    kernel: Kernel = None,
    as_json: AsJson = False,
) -> None:
    """Compress a trained network, without retraining.

    An ONNX graph of any kind, or a Keras or TensorFlow Lite file, becomes a whole network: its fully connected layers are compressed,
    onnxruntime runs the rest. With an output that ends in .safetensors, one chain of fully connected layers is taken alone.

    The size is optimised for the engine's bus width, output blocks and levels; the result runs on any engine with large enough limits.

    **Examples**

    - `permfc compress lenet.npz -o lenet.safetensors --bits 2.5 --calibrate digits.npy`

    - `permfc compress lenet.npz -o lenet.safetensors --max-drop 0.5 --calibrate digits.npy --labels digit_labels.npy`

    - `permfc compress head.onnx -o head.safetensors --ratio 16 --calibrate x.npy --device up5k`

    - `permfc compress keras.npz -o net.safetensors --layers dense,dense_1 --kernel in-out --per-layer bits.json`

    - `permfc compress minilm.onnx -o minilm --bits 3 --calibrate sentences.npz`
    """
    _check_targets(bits, ratio, max_drop, calibrate, labels)
    check_output(out, model, calibrate, labels, per_layer)
    config = engine.config()
    choices = targets.read_per_layer(per_layer) if per_layer else None
    if is_graph(model) and out.suffix != ".safetensors":
        if kernel is not None or max_drop is not None:
            raise ModelError(f"{'--kernel' if kernel is not None else '--max-drop'} is not for whole networks: leave it out, or write one chain "
                             "to a name that ends in .safetensors")
        chosen, left = inputs.layer_names(layers), inputs.layer_names(skip) or []
        compress_whole(model, out, _size(bits, ratio), calibrate, chosen, left, choices, config, as_json)
        return
    if skip is not None:
        cure = f"give {out} another ending than .safetensors" if is_graph(model) else f"{model} holds one chain, whose layers --layers chooses"
        raise ModelError(f"--skip is for whole networks, whose other layers run on the host: {cure}")
    source = inputs.read_model(model, layers, kernel)  # first: what is wrong with it matters more than what is with the samples
    samples = read_npy(calibrate) if calibrate else source.inputs_in_range()

    def made(size: float | str, steps: Progress | None) -> Network:
        return compress_model(source, size, samples, config, per_layer=choices, progress=steps)

    with console.progress() as steps:
        if max_drop is None:
            network = made(_size(bits, ratio), steps)
        else:
            network, drop = targets.smallest_within(source, max_drop, samples, read_npy(labels), lambda size: made(size, None), steps)
    if max_drop is not None:
        change = f"Loses {drop:.2f}" if drop >= 0 else f"Gains {-drop:.2f}"
        console.messages.print(f"{change} points on these {len(samples)} samples (at most {max_drop:g} were allowed).")
    _tell_of_inputs(source, network, samples, calibrate)
    warn_of_empty(source.emptied(network))
    model_file.save(network, out)
    describe(network, config, str(out), as_json)


def _tell_of_inputs(source: FloatNetwork, network: Network, samples: np.ndarray | None, calibrate: Path | None) -> None:
    """Print which inputs the network is made for, where the user gave none, and a warning if much of what he gave is clipped."""
    if samples is None:
        console.note("Without --calibrate, inputs are assumed to lie in -1..1; others are clipped.")
    elif calibrate is None:
        low, high = source.input_range
        console.note(f"Without --calibrate, inputs are drawn from the range that the file carries, {low:.6g}..{high:.6g}; others are clipped.")
    else:
        warn_of_clipping(network.clipped_share(samples), f"the values in {calibrate}")


def _size(bits: str | None, ratio: float | None) -> float | str:
    """Most bits a weight, or dense8."""
    if ratio is not None:
        return targets.bits_for_ratio(ratio)
    if bits is None or bits == Kind.DENSE8.value:
        return bits or _DEFAULT_BITS
    try:
        return float(bits)
    except ValueError:
        raise ModelError(f"--bits must be a number of bits a weight, or dense8, not {bits!r}") from None


def _check_targets(bits: str | None, ratio: float | None, max_drop: float | None, calibrate: Path | None, labels: Path | None) -> None:
    given = [name for name, value in (("--bits", bits), ("--ratio", ratio), ("--max-drop", max_drop)) if value is not None]
    if len(given) > 1:
        raise ModelError(f"{' and '.join(given)} are different targets: give one of them")
    if max_drop is not None and (calibrate is None or labels is None):
        raise InputError("--max-drop measures accuracy: give samples with --calibrate and their labels with --labels")
    if max_drop is None and labels is not None:
        raise InputError("--labels is only for --max-drop: leave it out, or say how many points may be lost")
