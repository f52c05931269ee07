"""What the harness logged at the bus and at the memory's pins, as arrays."""

from __future__ import annotations

import ctypes

import numpy as np

from permfc.memory import CommandTrace
from permfc.memory.reads import Reads

# The structures PinCommand and BusRead of harness.cpp.
PIN_COMMAND = np.dtype({
    "names": ["cycle", "row", "column", "beats", "command", "bank"],
    "formats": ["<u8", "<u4", "<u4", "<u4", "u1", "u1"],
    "offsets": [0, 8, 12, 16, 20, 21],
    "itemsize": 24,
})
BUS_READ = np.dtype([("cycle", "<u8"), ("address", "<u4"), ("beats", "<u4")])


def copied(address: int | None, count: int, dtype: np.dtype) -> np.ndarray:
    """The ``count`` records at an address of this process, as an array of their own."""
    if not count:
        return np.empty(0, dtype)
    return np.frombuffer(ctypes.string_at(address, count * dtype.itemsize), dtype)


def command_trace(commands: np.ndarray, begin: int, end: int, open_banks: int) -> CommandTrace:
    """The trace of PIN_COMMAND [n] in cycles ``begin`` to ``end``, with the banks that were open before (one bit a bank)."""
    columns = {name: commands[name] for name in commands.dtype.names}
    columns["cycle"] = columns["cycle"] - np.uint64(begin)
    return CommandTrace.of(**columns, length=end - begin, open_banks=open_banks)


def bus_reads(reads: np.ndarray, begin: int, bus_bytes: int) -> Reads:
    """BUS_READ [n] as reads in bytes, their cycles counted from ``begin``."""
    cycle = (reads["cycle"] - np.uint64(begin)).astype(np.int64)
    return Reads(cycle=cycle, address=reads["address"].astype(np.int64), bytes=(reads["beats"] * bus_bytes).astype(np.int32))
