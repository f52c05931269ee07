"""Error of chains with a function between their layers, int8 weights: ``python benchmarks/functions.py [--json]``.

For each function a network 32-64-10 with normal weights, all of its layers dense8, calibrated with 64 samples: root mean square of the golden
model's difference from the float network over that of the float results, on the samples of the calibration and on 2,000 fresh ones.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from program import run_program
from rich.console import Console
from rich.progress import track
from rich.table import Table

from permfc import functions
from permfc.compression.compress import compress
from permfc.importers.float_network import FloatLayer, FloatNetwork

SIZES = (32, 64, 10)
CALIBRATION, FRESH = 64, 2000
FUNCTIONS = (
    functions.RELU, functions.RELU6, functions.clip(-1.0, 1.0), functions.TANH, functions.SIGMOID, functions.leaky_relu(0.1), functions.elu(),
    functions.selu(), functions.GELU, functions.SILU, functions.HARD_SWISH, functions.hard_sigmoid(), functions.SOFTPLUS,
)


def network(function: functions.Function) -> FloatNetwork:
    """The float network, the same for every function."""
    rng = np.random.default_rng(0)
    inputs, hidden, outputs = SIZES
    return FloatNetwork((
        FloatLayer(rng.standard_normal((hidden, inputs)) / np.sqrt(inputs), 0.1 * rng.standard_normal(hidden), function, "first"),
        FloatLayer(rng.standard_normal((outputs, hidden)) / np.sqrt(hidden), 0.1 * rng.standard_normal(outputs), functions.IDENTITY, "second"),
    ))


def measure(function: functions.Function) -> dict[str, object]:
    """The errors of one function, in percent."""
    rng = np.random.default_rng(1)
    original = network(function)
    calibration, fresh = (rng.standard_normal((count, SIZES[0]), dtype=np.float32) for count in (CALIBRATION, FRESH))
    compressed = compress(original, "dense8", calibration)

    def error(x: np.ndarray) -> float:
        wanted = original.predict(x)
        return 100.0 * float(np.sqrt(np.square(compressed.predict(x) - wanted).mean() / np.square(wanted).mean()))

    return {"function": function.name, "calibration_percent": error(calibration), "fresh_percent": error(fresh)}


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(function) for function in track(FUNCTIONS, "functions", console=Console(stderr=True))]
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
        return
    table = Table("function", "same samples %", "fresh %", title="Chains 32-64-10 of int8 weights")
    for row in rows:
        table.add_row(row["function"], f"{row['calibration_percent']:.2f}", f"{row['fresh_percent']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    run_program(main)
