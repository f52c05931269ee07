"""The command line that all examples share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch


class Parser(argparse.ArgumentParser):
    """Takes ``--data``, a folder with what ``data`` says, ``--bits`` with its default, and ``--device``; examples add their own."""

    def __init__(self, description: str | None, data: str, bits: float | str) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--data", type=Path, default=os.environ.get("PERMFC_DATA"), help=f"folder with {data}")
        self.add_argument("--bits", type=size, default=bits, help="most bits a weight, everything stored included, or dense8 for int8 weights")
        self.add_argument("--device", default="golden", help="golden, sim, sim:..., serial:...")

    def options(self) -> argparse.Namespace:
        """What was given. torch has one thread from then on."""
        options = self.parse_args()
        if options.data is None or not options.data.is_dir():
            self.error(f"--data must be a folder, not {options.data}: give --data DIR, or set PERMFC_DATA")
        torch.set_num_threads(1)
        return options


def size(text: str) -> float | str:
    """Bits a weight, or dense8."""
    return text if text == "dense8" else float(text)
