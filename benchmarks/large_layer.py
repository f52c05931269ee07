"""Time and memory to compress and pack a layer of VGG-16's fc6 size: ``python benchmarks/large_layer.py [gaussian|sparse ...] [--json]``.

25088 inputs, 4096 outputs: normal weights, and weights of which 4 % are not zero (as pruning leaves them). No calibration data. Each case runs in a
process of its own, so that the peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
from program import run_program
from rich.console import Console
from rich.table import Table

INPUTS, OUTPUTS = 25088, 4096
TARGET_BITS = {"gaussian": 2.0, "sparse": 0.4}
DENSITY = 0.04


def weights(case: str) -> np.ndarray:
    """float32 [OUTPUTS, INPUTS]."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((OUTPUTS, INPUTS), dtype=np.float32)
    if case == "sparse":
        values *= rng.random(values.shape, dtype=np.float32) < DENSITY
    return values


def measure(case: str) -> dict[str, object]:
    """Compress and pack once."""
    from permfc.compression.compress import compress
    from permfc.config import EngineConfig
    from permfc.functions import IDENTITY
    from permfc.image import pack
    from permfc.importers import FloatLayer, FloatNetwork

    network = FloatNetwork((FloatLayer(weights(case), np.zeros(OUTPUTS, dtype=np.float32), IDENTITY, "fc6"),))
    start = time.perf_counter()
    compressed = compress(network, TARGET_BITS[case], engine=EngineConfig(bus_bits=64, block_outputs=2048, features=32768))
    fitted = time.perf_counter()
    image = pack(compressed, EngineConfig(features=32768, block_outputs=2048))
    packed = time.perf_counter()
    error = _relative_error(network.layers[0].weight, compressed)
    return {"case": case, "bits": 8 * len(image) / network.weight_count, "error": error, "fit_seconds": fitted - start,
            "pack_seconds": packed - fitted, "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def _relative_error(wanted: np.ndarray, compressed: object) -> float:
    """Squared error of some rows of weights over their squares."""
    rows = slice(0, 64)
    layer = compressed.layers[0]
    found = layer.weights()[rows] * (compressed.output_scale[rows, None] / compressed.input_steps.scale)
    return float(np.square(found - wanted[rows][:, compressed.input_order]).sum() / np.square(wanted[rows]).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*TARGET_BITS, []], help="default: both")  # without [], Python 3.10 refuses no case at all
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = options.cases or list(TARGET_BITS)
    if options.here:
        print(json.dumps(measure(cases[0])))
        return
    runs = [subprocess.run([sys.executable, __file__, case, "--here"], check=True, capture_output=True, text=True) for case in cases]
    rows = [json.loads(run.stdout) for run in runs]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    shown = Table("case", "bits a weight", "error", "fit, s", "pack, s", "peak, GB")
    for row in rows:
        shown.add_row(str(row["case"]), *(f"{row[key]:.3f}" for key in ("bits", "error", "fit_seconds", "pack_seconds", "peak_gigabytes")))
    Console(width=120).print(shown)


if __name__ == "__main__":
    run_program(main)
