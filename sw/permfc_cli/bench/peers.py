"""Other ways to store a layer: what its weights become, and what they cost.

Each peer is a pure function of the float weights. It counts everything that its packing stores for the weights: codes, scales, zero points,
code-books, relative indices. All are used after training, without calibration data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from permfc.errors import ToolError

GROUP = 64  # weights of one output that share a scale, and NF4's block
_SCALE_BITS = 16  # half precision, for scales and zero points alike
_Q4_0_BLOCK = 32
_CLIPS = np.linspace(1.0, 0.4, 25)  # parts of a group's range that are tried


@dataclass(frozen=True, eq=False)
class Stored:
    """A layer as a peer stores it.

    Members
    -------
    weights : float32 [M, N]
        What a layer computes with.
    input_bits : float64 [N]
        Bits that are not read if the input is zero: the codes of its M weights.
    shared_bits : float
        Bits that every inference reads: scales, zero points, code-books.
    pointer_bits : int
        Bits that must be read for each nonzero input to find its codes when others are skipped; not stored otherwise.
    """

    weights: np.ndarray
    input_bits: np.ndarray
    shared_bits: float
    pointer_bits: int = 0

    @property
    def bits(self) -> float:
        """Value of the stored bits."""
        return float(self.input_bits.sum() + self.shared_bits)


def float32(weights: np.ndarray) -> Stored:
    """The weights as they are, 32 bits each."""
    return _fixed(weights, weights, 32, 0)


def int8_rows(weights: np.ndarray) -> Stored:
    """Symmetric int8 with a half-precision scale for each output."""
    scale = _half(np.abs(weights).max(axis=1, keepdims=True) / 127)
    codes = np.clip(np.rint(weights / scale), -127, 127)
    return _fixed(weights, codes * scale, 8, _SCALE_BITS * len(weights))


def grouped(bits: int) -> Callable[[np.ndarray], Stored]:
    """The peer with ``bits`` a weight and a half-precision scale and zero point for every 64 weights of an output.

    Codes are rounded to nearest. The range of each group is the one of 25 parts of its full range with the least squared error.
    """

    def quantise(weights: np.ndarray) -> Stored:
        groups, real = _blocks(weights, GROUP)
        return stored_in_groups(weights, _unblocked(rounded(groups, *group_range(groups, real, bits), bits), weights), bits)

    return quantise


def group_range(groups: np.ndarray, real: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point, float32 [groups, 1] each, with the least squared error over the ``real`` weights of float32 [groups, weights]."""
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    scales = [_half(clip * (high - low) / (2**bits - 1)) for clip in _CLIPS]
    zeros = [_half(clip * low + (1 - clip) * (low + high) / 2) for clip in _CLIPS]
    errors = [(np.square(rounded(groups, scale, zero, bits) - groups) * real).sum(axis=1) for scale, zero in zip(scales, zeros, strict=True)]
    best, every = np.argmin(errors, axis=0), np.arange(len(groups))
    return np.stack(scales)[best, every], np.stack(zeros)[best, every]


def rounded(values: np.ndarray, scale: np.ndarray, zero: np.ndarray, bits: int) -> np.ndarray:
    """The nearest of the ``2**bits`` values that a group can have."""
    return np.clip(np.rint((values - zero) / scale), 0, 2**bits - 1) * scale + zero


def stored_in_groups(weights: np.ndarray, values: np.ndarray, bits: int) -> Stored:
    """Codes of ``bits``, and a scale and a zero point for every 64 weights of an output."""
    groups = len(weights) * -(-weights.shape[1] // GROUP)
    return _fixed(weights, values, bits, 2 * _SCALE_BITS * groups)


def nf4(weights: np.ndarray) -> Stored:
    """NormalFloat 4 with a scale for every 64 weights (Dettmers et al., 2023), by bitsandbytes; the scales count as half precision.

    Raises
    ------
    ToolError
        If bitsandbytes is not installed.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of optional kernels for text generation
    try:
        import bitsandbytes.functional as library
        import torch
    except ImportError:
        raise ToolError("bitsandbytes is missing, which computes NF4; run: pip install 'permfc[bench]'") from None
    blocks, _ = _blocks(weights, GROUP)  # one block a row: on a CPU, the library restores other shapes wrongly
    codes, state = library.quantize_4bit(torch.from_numpy(blocks), blocksize=GROUP, quant_type="nf4")
    state.absmax = state.absmax.half().float()
    values = library.dequantize_4bit(codes, state).numpy()
    return _fixed(weights, _unblocked(values, weights), 4, _SCALE_BITS * len(blocks))


def q4_0(weights: np.ndarray) -> Stored:
    """Q4_0 of the GGUF format: blocks of 32 with a half-precision scale, by the package gguf. Rows are filled up to whole blocks.

    Raises
    ------
    ToolError
        If gguf is not installed.
    """
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:
        raise ToolError("gguf is missing, which computes Q4_0; run: pip install 'permfc[bench]'") from None
    blocks, _ = _blocks(weights, _Q4_0_BLOCK)
    rows = blocks.reshape(len(weights), -1)
    stored = quants.quantize(rows, GGMLQuantizationType.Q4_0)
    values = quants.dequantize(stored, GGMLQuantizationType.Q4_0)
    codes = 4 * weights.size
    return _fixed(weights, values[:, :weights.shape[1]], 4, 8 * stored.nbytes - codes)


PEERS: dict[str, tuple[str, Callable[[np.ndarray], Stored]]] = {
    "float32": ("float32", float32),
    "int8": ("int8 per row", int8_rows),
    "int4-g64": ("int4 group 64", grouped(4)),
    "int3-g64": ("int3 group 64", grouped(3)),
    "int2-g64": ("int2 group 64", grouped(2)),
    "nf4": ("NF4 block 64", nf4),
    "q4_0": ("GGUF Q4_0", q4_0),
}
"""Peers with nothing to choose: name, heading in tables, function."""


def _fixed(weights: np.ndarray, values: np.ndarray, bits: int, shared_bits: float) -> Stored:
    """A layer with the same number of bits for every weight."""
    outputs, inputs = weights.shape
    return Stored(values.astype(np.float32), np.full(inputs, float(bits * outputs)), float(shared_bits))


def _half(values: np.ndarray) -> np.ndarray:
    """Values in half precision, as they are stored; none is zero, so that they divide."""
    stored = values.astype(np.float16).astype(np.float32)
    return np.where(stored == 0, np.float32(2.0**-24), stored)


def _blocks(weights: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows in blocks, the last of each filled with zeros: float32 [blocks, size], and which are weights, bool."""
    outputs, inputs = weights.shape
    fill = ((0, 0), (0, -inputs % size))
    blocks = np.pad(weights.astype(np.float32), fill).reshape(-1, size)
    real = np.pad(np.ones((outputs, inputs), dtype=bool), fill).reshape(-1, size)
    return blocks, real


def _unblocked(blocks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return blocks.reshape(len(weights), -1)[:, :weights.shape[1]]
