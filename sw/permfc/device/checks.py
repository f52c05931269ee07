"""Checks of the way to an engine: its registers through the link, and the memory behind it."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

import numpy as np

from ..format import IMAGE_ALIGNMENT, Register

if TYPE_CHECKING:
    from .engine import EngineDevice
    from .serial import SerialDevice

LINK_ROUNDS = 100
SMALLEST_STEP = 64  # bytes: what is written at the powers of two of the address
BULK_BYTES = 64 * 1024


def check_link(device: EngineDevice, rng: np.random.Generator) -> tuple[bool, str]:
    """Random values through a register that holds them."""
    values = (rng.integers(1 << 20, size=LINK_ROUNDS) * IMAGE_ALIGNMENT).tolist()
    wrong, began = 0, time.perf_counter()
    for value in values:
        device.write_register(Register.IMAGE_BASE, value)
        wrong += device.read_register(Register.IMAGE_BASE) != value
    microseconds = (time.perf_counter() - began) / (2 * LINK_ROUNDS) * 1e6
    repeats = "" if device.repeats is None else f", {device.repeats} requests sent again"
    return not wrong, f"{LINK_ROUNDS - wrong} of {LINK_ROUNDS} values came back, {microseconds:,.0f} us a request{repeats}"


def check_memory(device: SerialDevice, rng: np.random.Generator) -> tuple[bool | None, str]:
    """Different bytes at all powers of two of the address and at both ends, read only when all are written: each address line is its own."""
    if device.read_only:
        return None, f"the memory of {device.identity.board} is read-only"
    size = device.identity.memory_bytes
    starts = [0, *(1 << bit for bit in range(SMALLEST_STEP.bit_length() - 1, (size - 1).bit_length())), size - SMALLEST_STEP]
    blocks = {start: rng.bytes(SMALLEST_STEP) for start in starts}
    for start, block in blocks.items():
        device.write_memory(start, block)
    wrong = [start for start, block in blocks.items() if device.memory_crc(start, len(block)) != zlib.crc32(block)]
    if wrong:
        return False, f"bytes at 0x{wrong[0]:x} changed when others were written ({len(wrong)} of {len(blocks)} places)"
    bulk = rng.bytes(min(BULK_BYTES, size // 2))
    began = time.perf_counter()
    device.write_memory(size // 2, bulk)
    rate = len(bulk) / (time.perf_counter() - began)
    return True, f"{len(blocks)} places and {len(bulk):,} bytes in a row, {rate / 1e3:,.0f} kB/s written and verified"
