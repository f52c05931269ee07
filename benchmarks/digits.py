"""MNIST digits through engine, SDRAM controller and SDRAM pins: ``python benchmarks/digits.py NETWORK --data DIR [--memory NAME] [--json]``.

NETWORK is a model file of a compressed network for MNIST (``permfc compress``, ``permfc finetune``), DIR the folder with MNIST's four files. Every
result is compared with the golden model. Beside it, the same number of int8 weights is read from the same memory in one sweep by a reader that waits
for nothing. Bytes, time and commands of both are counted at the pins; energies are datasheet maxima, without idle time and without the chip.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from memory import sweep
from program import run_program
from rich.console import Console
from rich.progress import track
from rich.table import Table

from permfc.config import EngineConfig
from permfc.datasets import mnist
from permfc.image import model_file
from permfc.memory import CommandTrace, Energy, Memory, energy, memory
from permfc_sim.device import SimDevice


@dataclass(frozen=True)
class Cost:
    """What one inference costs at the memory's pins; energy in joules."""

    bytes: float
    activates: float
    microseconds: float
    joules: Energy


def cost(trace: CommandTrace, chosen: Memory, inferences: int) -> Cost:
    """The mean over the inferences of a trace."""
    return Cost(
        trace.bytes(chosen.bus_bits) / inferences, trace.counts()["activate"] / inferences, trace.length / chosen.clock_hz * 1e6 / inferences,
        energy(trace, chosen).scaled(1 / inferences),
    )


def run_digits(network_file: Path, data: Path | None, digits: int, config: EngineConfig, chosen: Memory) -> dict:
    """Run the first test digits; the figures, ready for JSON."""
    network, data_set = model_file.load(network_file), mnist(data)
    x = network.quantise(data_set.test[:digits])
    golden, labels = network.compute(x), data_set.test_labels[:digits]
    with SimDevice(config, memory=chosen) as device:
        device.load(network)
        device.take_commands()
        results = np.array([device.run(row) for row in track(x, "digits", transient=True, console=Console(stderr=True))])
        trace = device.take_commands()
    dense_bytes = sum(layer.features * layer.outputs for layer in network.layers)
    burst = 256 * config.bus_bytes  # of the reader
    dense = sweep(config, chosen, -(-dense_bytes // burst) * burst)
    ours, theirs = cost(trace, chosen, digits), cost(dense, chosen, 1)
    return {
        "memory": chosen.name, "digits": digits, "results": results.size, "mismatches": int(np.count_nonzero(results != golden)),
        "accuracy": float((results.argmax(axis=1) == labels).mean()), "golden_accuracy": float((golden.argmax(axis=1) == labels).mean()),
        "permfc": as_dict(ours), "dense_int8": as_dict(theirs), "bytes_ratio": theirs.bytes / ours.bytes,
        "energy_ratio": theirs.joules.total / ours.joules.total, "core_energy_ratio": theirs.joules.core / ours.joules.core,
    }


def as_dict(costs: Cost) -> dict:
    return {**asdict(costs), "joules": costs.joules.as_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path, help="model file of a compressed network for MNIST")
    parser.add_argument("--data", type=Path, help="folder of data sets; default: $PERMFC_DATA")
    parser.add_argument("--memory", default="sdr-100")
    parser.add_argument("--digits", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--bus-bits", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    config = EngineConfig(lanes=options.lanes, bus_bits=options.bus_bits)
    figures = run_digits(options.network, options.data, options.digits, config, memory(options.memory))
    print(json.dumps(figures, indent=2)) if options.json else show(figures)


def show(figures: dict) -> None:
    table = Table("a digit, at the pins", "bytes", "activates", "us", "activate + precharge", "read", "refresh", "background", "I/O", "total, uJ")
    for name in ("permfc", "dense_int8"):
        costs, joules = figures[name], {key: value * 1e6 for key, value in figures[name]["joules"].items()}
        background = sum(value for key, value in joules.items() if key.startswith("background"))
        table.add_row(name, f"{costs['bytes']:,.0f}", f"{costs['activates']:.0f}", f"{costs['microseconds']:.1f}",
                      *(f"{value:.2f}" for value in (joules["activate"] + joules["precharge"], joules["read"], joules["refresh"], background,
                                                     joules["io"], joules["total"])))
    console = Console(width=120)
    console.print(table)
    console.print(
        f"{figures['digits']:,} digits on {figures['memory']}: {figures['mismatches']} of {figures['results']:,} results differ from the golden "
        f"model, {figures['accuracy']:.1%} right (golden model {figures['golden_accuracy']:.1%}); {figures['bytes_ratio']:.1f} times fewer bytes and "
        f"{figures['energy_ratio']:.1f} times less energy than dense int8"
    )


if __name__ == "__main__":
    run_program(main)
