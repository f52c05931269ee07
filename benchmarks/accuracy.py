"""Accuracy of compressed networks without retraining: ``python benchmarks/accuracy.py [NAME ...] --data DIR [--bits B ...] [--json]``.

DIR is the folder that ``permfc.datasets`` describes; a network is named by its file in ``trained``. Calibration uses training samples only; accuracy
is that of the integer golden model on the whole test set; bits are those of the packed image, everything included.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from program import run_program
from rich.console import Console
from rich.table import Table

from permfc import datasets
from permfc.compression.compress import compress
from permfc.compression.targets import percent_right
from permfc.config import EngineConfig
from permfc.errors import InputError
from permfc.image.layout import image_layout
from permfc.importers import load_model

CASES = (  # network, target bits
    ("mnist_lenet300100", 2.6),
    ("mnist_lenet300100", 2.0),
    ("clinc150_minilm_384_512", 2.6),
    ("fashion_1024_512", 2.6),
)
READERS = {"mnist": datasets.mnist, "fashion": datasets.fashion, "clinc150": datasets.clinc150, "usps": datasets.usps}  # by how names begin
CALIBRATION_SAMPLES = 1500
ENGINE = EngineConfig(bus_bits=64, block_outputs=1024)


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


def measure(name: str, bits: float, folder: Path | None = None, calibrated: bool = True) -> Result:
    """Compress one network of the data folder (None: what PERMFC_DATA names) and measure it.

    Raises
    ------
    InputError
        If the network or its data are missing.
    """
    data_set = name.split("_")[0]
    if data_set not in READERS:
        raise InputError(f"Network {name!r} must begin with the name of its data set, one of {', '.join(READERS)}")
    network, data = load_model(datasets.trained_network(name, folder)), READERS[data_set](folder)
    start = time.perf_counter()
    compressed = compress(network, bits, data.calibration(CALIBRATION_SAMPLES) if calibrated else None, engine=ENGINE)
    seconds = time.perf_counter() - start
    float_accuracy, accuracy = (percent_right(model.predict(data.test), data.test_labels) for model in (network, compressed))
    size = image_layout(compressed, ENGINE.bus_bytes).image_bytes
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
    parser.add_argument("--data", type=Path, help="folder of data sets; default: $PERMFC_DATA")
    parser.add_argument("--bits", type=float, nargs="+", default=[2.6, 2.0], help="targets for the networks named (default: 2.6 2.0)")
    parser.add_argument("--no-calibration", action="store_true", help="compress without calibration data")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    cases = [(name, bits) for name in options.networks for bits in options.bits] or CASES
    results = [measure(name, bits, options.data, not options.no_calibration) for name, bits in cases]
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        Console(width=120).print(table(results))


if __name__ == "__main__":
    run_program(main)
