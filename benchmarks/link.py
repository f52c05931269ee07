"""How much of a serial line's rate a load uses: ``python benchmarks/link.py [--board NAME] [--kib N] [--json]``.

The real driver loads random bytes into the complete simulated board, over a pseudo-terminal and the board's serial pins, and the board's CRC
verifies them. The share is payload bits, ten a byte with start and stop bit, against the bits that the line could carry in the board's cycles
from the first request to the last answer: frames, replies, verification and all. A real host adds what its USB takes. Takes some minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

import numpy as np
from program import run_program

from permfc.device.serial import open_serial
from permfc_boards.boards import BOARD_NAMES, board
from permfc_boards.simulation.simulated_board import SimulatedBoard

BITS_PER_BYTE = 10
SMALL_ENGINE = {"lanes": 4, "block_outputs": 64, "features": 128, "levels": 16}  # simulates faster, and takes no part in a load


def measure(name: str, size: int) -> dict[str, object]:
    """The figures of one load of ``size`` bytes."""
    described = board(name)
    config = dataclasses.replace(described.config, **SMALL_ENGINE)
    data = np.random.default_rng(1).bytes(size)
    with SimulatedBoard(described, config) as simulated, open_serial(f"{simulated.port}@{described.baud}", timeout=60, margin=20) as device:
        before, began = simulated.cycles(), time.perf_counter()
        device.write_memory(device.image_address, data)
        cycles, repeats = simulated.cycles() - before, device.repeats
    seconds = cycles / (described.device.target_mhz * 1e6)
    return {
        "board": name, "baud": described.baud, "bytes": size, "cycles": cycles, "seconds": seconds, "repeats": repeats,
        "efficiency": size * BITS_PER_BYTE / (described.baud * seconds), "simulated_in_seconds": time.perf_counter() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", choices=BOARD_NAMES, default="ulx3s-85f")
    parser.add_argument("--kib", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.board, arguments.kib * 1024)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{figures['board']}: {figures['bytes']:,} bytes in {figures['seconds']:.3f} s of the board at {figures['baud']:,} baud: "
              f"{figures['efficiency']:.1%} of the line, {figures['repeats']} requests sent again")


if __name__ == "__main__":
    run_program(main)
