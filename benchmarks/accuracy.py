"""Accuracy of compressed networks without retraining: ``python benchmarks/accuracy.py [NAME ...] [--bits B ...] [--json]``.

The networks and data lie in the folder PERMFC_DATA (default ``../shared/data`` from the root of the project). Calibration uses training
samples only; accuracy is that of the integer golden model on the whole test set; bits are those of the packed image, everything included.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from permfc.compress import compress
from permfc.importers import load_model
from permfc.layout import image_layout

CASES = (  # network, target bits
    ("mnist_lenet300100", 2.6),
    ("mnist_lenet300100", 2.0),
    ("clinc150_minilm_384_512", 2.6),
    ("fashion_1024_512", 2.6),
)
CALIBRATION_SAMPLES = 1500
BUS_BYTES = 8


@dataclass(frozen=True)
class Result:
    """One line of the table; accuracies and drop in percent."""

    network: str
    target_bits: float
    bits: float
    image_bytes: int
    float_accuracy: float
    accuracy: float
    drop: float
    seconds: float


def data_folder() -> Path:
    """The folder with networks and data."""
    return Path(os.environ.get("PERMFC_DATA", Path(__file__).resolve().parents[1] / "../shared/data")).resolve()


def model_path(name: str) -> Path:
    """The file of a trained network."""
    return data_folder() / "trained" / f"{name}.npz"


def _idx(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def load_data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training inputs, test inputs and test labels of the data set that a network's name begins with."""
    data_set = name.split("_")[0]
    folder = data_folder() / data_set
    if data_set in ("mnist", "fashion"):
        train, test = (_idx(folder / f"{half}-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) / 255 for half in ("train", "t10k"))
        return train, test, _idx(folder / "t10k-labels-idx1-ubyte.gz", 8)
    if data_set == "usps":
        archive = np.load(folder / "usps.npz")
        return archive["x_train"], archive["x_test"], archive["y_test"]
    archive = np.load(folder / "clinc150_minilm_f16.npz")
    return archive["X_train"].astype(np.float32), archive["X_test"].astype(np.float32), archive["y_test"]


def measure(name: str, bits: float, calibrated: bool = True) -> Result:
    """Compress one network and measure it."""
    network = load_model(model_path(name))
    train, test, labels = load_data(name)
    start = time.perf_counter()
    compressed = compress(network, bits, train[:CALIBRATION_SAMPLES] if calibrated else None)
    seconds = time.perf_counter() - start
    float_accuracy, accuracy = (100 * float((model.predict(test).argmax(axis=1) == labels).mean()) for model in (network, compressed))
    size = image_layout(compressed, BUS_BYTES).image_bytes
    return Result(name, bits, 8 * size / network.weight_count, size, float_accuracy, accuracy, float_accuracy - accuracy, seconds)


def table(results: list[Result]) -> Table:
    """The results for the eye."""
    shown = Table("network", "target bits", "bits, all included", "image bytes", "float %", "compressed %", "drop", "seconds")
    for result in results:
        shown.add_row(result.network, f"{result.target_bits:.2f}", f"{result.bits:.3f}", f"{result.image_bytes:,}", f"{result.float_accuracy:.2f}",
                      f"{result.accuracy:.2f}", f"{result.drop:+.2f}", f"{result.seconds:.1f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help="names of trained networks (default: those with a bar)")
    parser.add_argument("--bits", type=float, nargs="+", default=[2.6, 2.0], help="targets for the networks named (default: 2.6 2.0)")
    parser.add_argument("--no-calibration", action="store_true", help="compress without calibration data")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    cases = [(name, bits) for name in options.networks for bits in options.bits] or CASES
    absent = [str(model_path(name)) for name, _ in cases if not model_path(name).is_file()]
    if absent:
        sys.exit(f"{absent[0]} does not exist: set PERMFC_DATA to the folder with trained networks and data")
    results = [measure(name, bits, not options.no_calibration) for name, bits in cases]
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        Console(width=120).print(table(results))


if __name__ == "__main__":
    main()
