"""``python -m permfc_boards.simulation BOARD``: a complete board in simulation behind a pseudo-terminal."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from permfc.errors import PermfcError

from ..boards import BOARD_NAMES, board
from .simulated_board import SimulatedBoard


def main() -> None:
    """Serve a simulated board until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m permfc_boards.simulation", description=__doc__)
    parser.add_argument("board", choices=BOARD_NAMES)
    for name in ("lanes", "features", "block-outputs"):
        parser.add_argument(f"--{name}", type=int, help="of the engine; the board's own otherwise (fewer lanes simulate faster)")
    parser.add_argument("--flash", type=Path, metavar="IMAGE", help="file that a programmer wrote into the flash at the board's image address")
    arguments = parser.parse_args()
    chosen = board(arguments.board)
    given = {name: getattr(arguments, name) for name in ("lanes", "features", "block_outputs")}
    config = dataclasses.replace(chosen.config, **{name: value for name, value in given.items() if value is not None})
    print("Building the simulator, unless it is in the cache", file=sys.stderr)
    with SimulatedBoard(chosen, config) as simulated:
        if arguments.flash:
            simulated.load(chosen.image_address, arguments.flash.read_bytes())
        print(f"serial:{simulated.port}", flush=True)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    try:
        main()
    except (PermfcError, OSError) as error:
        sys.exit(f"Error: {error}")
