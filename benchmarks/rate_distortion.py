"""Output error of MiniLM's feed-forward layers after compression: ``python benchmarks/rate_distortion.py [LAYER ...] [--rates B ...] [--json]``.

All methods see the same calibration activations and are judged by the error of the outputs on held-out ones, over the power of the outputs without
bias. permfc: integer golden model and every byte of the image. Fixed widths: float activations, codes, scales and zero points counted, and the mean
of the error corrected as permfc does. ECSQ: free-length entropy-coded scalar quantisation of weights scaled by row and column, at its entropy,
no tables or framing counted; once with float activations, once with the int8 activations and the gain and offset an output that permfc has.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from program import run_program
from rich.console import Console
from rich.progress import track
from rich.table import Table

from permfc.compression.compress import compress
from permfc.compression.statistics import correction
from permfc.config import EngineConfig
from permfc.functions import IDENTITY
from permfc.image.layout import image_layout
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import InputSteps
from permfc_cli.bench.gptq import gptq
from permfc_cli.bench.minilm import MiniLmLayer, minilm_layers
from permfc_cli.bench.peers import PEERS

RATES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
FIXED = ("int2-g64", "int3-g64", "int4-g64", "nf4", "q4_0")
ENGINE = EngineConfig(bus_bits=16, block_outputs=2048, features=4096)
_SPREADS = (0.0, 0.5, 1.0)        # exponents of the features' variances in the column scales that ECSQ may choose from
_DEAD_ZONES = (0.0, 0.15)         # of a step, by which ECSQ rounds towards zero
_BISECTIONS = 16
_SAMPLED = 4                      # every so manieth column tells the entropy of a step


def corrected_error(weights: np.ndarray, layer: MiniLmLayer, x: np.ndarray) -> float:
    """Part of the outputs' power on ``x`` that is wrong with other weights, after the mean error on the calibration data is taken off."""
    change = weights - layer.weight
    error = (x - layer.calibration.mean(axis=0)) @ change.T
    return float(np.square(error).sum() / np.square(x @ layer.weight.T).sum())


def int8_error(weights: np.ndarray, layer: MiniLmLayer, inputs: InputSteps) -> float:
    """The same with activations in int8 as ``inputs`` says, and a gain and an offset of each output from the calibration data."""
    features = weights.shape[1]
    known, fresh = ((inputs.quantise(x) * inputs.steps(features) + inputs.offsets(features)) @ weights.T
                    for x in (layer.calibration, layer.heldout))
    gain, offset = correction(layer.calibration @ layer.weight.T, known)
    wanted = layer.heldout @ layer.weight.T
    return float(np.square(fresh * gain + offset - wanted).sum() / np.square(wanted).sum())


def rows_at(layer: MiniLmLayer, rate: float) -> list[dict[str, object]]:
    """permfc and ECSQ at one rate."""
    network = FloatNetwork((FloatLayer(layer.weight, layer.bias, IDENTITY, layer.name),))
    start = time.perf_counter()
    compressed = compress(network, rate, layer.calibration, engine=ENGINE)
    seconds = time.perf_counter() - start
    wanted = network.predict(layer.heldout)
    error = float(np.square(compressed.predict(layer.heldout) - wanted).sum() / np.square(wanted - layer.bias).sum())
    free = ecsq(layer, rate)
    return [
        {"layer": layer.name, "method": f"permfc-{rate:g}", "bits": 8 * image_layout(compressed, ENGINE.bus_bytes).image_bytes / layer.weight.size,
         "error": error, "seconds": seconds},
        {"layer": layer.name, "method": f"ecsq-{rate:g}", "bits": rate, "error": corrected_error(free, layer, layer.heldout)},
        {"layer": layer.name, "method": f"ecsq+int8-{rate:g}", "bits": rate, "error": int8_error(free, layer, compressed.input_steps)},
    ]


def ecsq(layer: MiniLmLayer, rate: float) -> np.ndarray:
    """The weights of the best ECSQ found on the calibration data."""
    variance = layer.calibration.var(axis=0)
    rows = np.sqrt(np.square(layer.weight) @ variance)[:, None]
    trials = [_ecsq(layer.weight, rows ** row * (variance + 1e-9) ** (-spread / 2), zone, rate)
              for row in (0.0, 1.0) for spread in _SPREADS for zone in _DEAD_ZONES]
    return min(trials, key=lambda weights: corrected_error(weights, layer, layer.calibration[::4]))


def _ecsq(weights: np.ndarray, scale: np.ndarray, dead_zone: float, rate: float) -> np.ndarray:
    """Weights divided by ``scale``, rounded with the step whose codes have an entropy of ``rate`` bits, and put back at the means."""
    values = weights / scale
    low, high = 1e-2 * values.std(), 50.0 * values.std()
    for _ in range(_BISECTIONS):
        step = np.sqrt(low * high)
        codes = _codes(values[:, ::_SAMPLED], step, dead_zone)
        shares = np.bincount(codes.reshape(-1) - codes.min()) / codes.size
        entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
        low, high = (step, high) if entropy > rate else (low, step)
    codes = _codes(values, high, dead_zone)
    codes -= codes.min()
    counts = np.bincount(codes.reshape(-1))
    means = np.bincount(codes.reshape(-1), values.reshape(-1)) / np.maximum(counts, 1)
    return (means[codes] * scale).astype(np.float32)


def _codes(values: np.ndarray, step: float, dead_zone: float) -> np.ndarray:
    return (np.sign(values) * np.floor(np.maximum(np.abs(values) / step + 0.5 - dead_zone, 0.0))).astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layers", nargs="*", type=int, help="numbers of layers, 0 to 11 (default: all)")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="bits a weight")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    layers = minilm_layers()
    layers = [layers[number] for number in options.layers] or layers
    rows: list[dict[str, object]] = []
    for layer in track(layers, console=Console(stderr=True)):
        rivals = {name: PEERS[name][1](layer.weight) for name in FIXED}
        rivals["gptq-int3-g64"] = gptq(layer.weight, layer.calibration, 3)
        for name, stored in rivals.items():
            rows.append({"layer": layer.name, "method": name, "bits": stored.bits / layer.weight.size,
                         "error": corrected_error(stored.weights, layer, layer.heldout)})
        for rate in options.rates:
            rows += rows_at(layer, rate)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        Console(width=120).print(_table(rows))


def _table(rows: list[dict[str, object]]) -> Table:
    """Medians over the layers."""
    shown = Table("method", "bits", "error, median", "against ECSQ, median", "with the same int8 activations")
    by_method = {name: [row for row in rows if row["method"] == name] for name in dict.fromkeys(row["method"] for row in rows)}
    for name, found in by_method.items():
        rivals = [by_method.get(f"{kind}-{name.removeprefix('permfc-')}") for kind in ("ecsq", "ecsq+int8")]
        ratios = [f"{_median_ratio(found, each):.3f}" if each else "" for each in rivals]
        shown.add_row(name, f"{np.mean([row['bits'] for row in found]):.3f}", f"{np.median([row['error'] for row in found]):.4f}", *ratios)
    return shown


def _median_ratio(rows: list[dict[str, object]], rivals: list[dict[str, object]]) -> float:
    return float(np.median([row["error"] / rival["error"] for row, rival in zip(rows, rivals, strict=True)]))


if __name__ == "__main__":
    run_program(main)
