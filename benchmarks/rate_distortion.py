"""Output error of MiniLM's feed-forward layers after compression: ``python benchmarks/rate_distortion.py [LAYER ...] [--rates B ...] [--json]``.

All methods see the same calibration activations and are judged by the error of the outputs on held-out ones, over the power of the outputs without
bias. permfc: integer golden model and every byte of the image. Fixed widths: float activations, codes, scales and zero points counted, and the mean
of the error corrected as permfc does. ECSQ: free-length entropy-coded scalar quantisation of weights scaled by row and column, at its entropy,
no tables or framing counted: what no storable format reaches.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from permfc.compress import compress
from permfc.importers import FloatLayer, FloatNetwork
from permfc.layout import image_layout
from permfc_cli.bench.minilm import MiniLmLayer, minilm_layers
from permfc_cli.bench.peers import PEERS

RATES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
FIXED = ("int2-g64", "int3-g64", "int4-g64", "nf4", "q4_0")
BUS_BYTES = 2
_SPREADS = (0.0, 0.5, 1.0)        # exponents of the features' variances in the column scales that ECSQ may choose from
_DEAD_ZONES = (0.0, 0.1, 0.2)     # of a step, by which ECSQ rounds towards zero
_BISECTIONS = 24


def corrected_error(weights: np.ndarray, layer: MiniLmLayer, x: np.ndarray) -> float:
    """Part of the outputs' power on ``x`` that is wrong with other weights, after the mean error on the calibration data is taken off."""
    change = weights - layer.weight
    error = (x - layer.calibration.mean(axis=0)) @ change.T
    return float(np.square(error).sum() / np.square(x @ layer.weight.T).sum())


def permfc_error(layer: MiniLmLayer, rate: float) -> tuple[float, float, float]:
    """Bits a weight, output error, seconds."""
    network = FloatNetwork((FloatLayer(layer.weight, layer.bias, False, layer.name),))
    start = time.perf_counter()
    compressed = compress(network, rate, layer.calibration, block_outputs=2048, word_bits=8 * BUS_BYTES)
    seconds = time.perf_counter() - start
    wanted = network.predict(layer.heldout)
    error = float(np.square(compressed.predict(layer.heldout) - wanted).sum() / np.square(wanted - layer.bias).sum())
    return 8 * image_layout(compressed, BUS_BYTES).image_bytes / layer.weight.size, error, seconds


def ecsq_error(layer: MiniLmLayer, rate: float) -> float:
    """Output error of the best ECSQ found on the calibration data."""
    variance = layer.calibration.var(axis=0)
    rows = np.sqrt(np.square(layer.weight) @ variance)[:, None]
    trials = [_ecsq(layer.weight, rows ** row * (variance + 1e-9) ** (-spread / 2), zone, rate)
              for row in (0.0, 1.0) for spread in _SPREADS for zone in _DEAD_ZONES]
    best = min(trials, key=lambda weights: corrected_error(weights, layer, layer.calibration))
    return corrected_error(best, layer, layer.heldout)


def _ecsq(weights: np.ndarray, scale: np.ndarray, dead_zone: float, rate: float) -> np.ndarray:
    """Weights divided by ``scale``, rounded with the step whose codes have an entropy of ``rate`` bits, and put back at the means."""
    values = weights / scale
    low, high = 1e-4 * values.std(), 50.0 * values.std()
    for _ in range(_BISECTIONS):
        step = np.sqrt(low * high)
        codes = np.sign(values) * np.floor(np.maximum(np.abs(values) / step + 0.5 - dead_zone, 0.0))
        _, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
        shares = counts / codes.size
        low, high = (step, high) if -(shares * np.log2(shares)).sum() > rate else (low, step)
    means = np.bincount(places.reshape(-1), values.reshape(-1)) / counts
    return (means[places].reshape(values.shape) * scale).astype(np.float32)


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
        for name in FIXED:
            stored = PEERS[name][1](layer.weight)
            rows.append({"layer": layer.name, "method": name, "bits": stored.bits / layer.weight.size,
                         "error": corrected_error(stored.weights, layer, layer.heldout)})
        for rate in options.rates:
            bits, error, seconds = permfc_error(layer, rate)
            rows.append({"layer": layer.name, "method": f"permfc-{rate:g}", "bits": bits, "error": error, "seconds": seconds})
            rows.append({"layer": layer.name, "method": f"ecsq-{rate:g}", "bits": rate, "error": ecsq_error(layer, rate)})
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        Console(width=120).print(_table(rows, options.rates))


def _table(rows: list[dict[str, object]], rates: list[float]) -> Table:
    """Medians over the layers."""
    shown = Table("method", "bits", "error, median", "against ECSQ, median")
    by_method = {name: [row for row in rows if row["method"] == name] for name in dict.fromkeys(row["method"] for row in rows)}
    for name, found in by_method.items():
        rate = name.partition("-")[2]
        ours = name.startswith("permfc")
        ratio = np.median([row["error"] / free["error"] for row, free in zip(found, by_method[f"ecsq-{rate}"], strict=True)]) if ours else None
        shown.add_row(name, f"{np.mean([row['bits'] for row in found]):.3f}", f"{np.median([row['error'] for row in found]):.4f}",
                      "" if ratio is None else f"{ratio:.3f}")
    return shown


if __name__ == "__main__":
    main()
