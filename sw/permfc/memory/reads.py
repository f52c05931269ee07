"""What an engine asked of its memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Reads:
    """Reads in the order in which the memory accepted them.

    Members
    -------
    cycle : int64 [reads]
        Bus clock cycles, from 0.
    address : int64 [reads]
        Byte address.
    bytes : int32 or int64 [reads]
    """

    cycle: np.ndarray
    address: np.ndarray
    bytes: np.ndarray

    def __len__(self) -> int:
        """Number of reads."""
        return len(self.cycle)
