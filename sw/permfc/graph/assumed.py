"""Inputs made up for calibration from the ranges that a quantised model's file carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..importers.float_network import FloatNetwork
from ..importers.quantised import quantised_ranges
from .values import Value

if TYPE_CHECKING:
    from onnx import ModelProto

_SAMPLES = 256
_BYTES = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8}


def chain_inputs_in_range(network: FloatNetwork) -> np.ndarray | None:
    """256 samples of a chain's inputs, each number drawn evenly from the range that its file tells; None if that tells none."""
    if network.input_range is None:
        return None
    return np.random.default_rng(0).uniform(*network.input_range, (_SAMPLES, network.inputs)).astype(np.float32)


def inputs_in_range(model: ModelProto, values: Sequence[Value]) -> dict[str, np.ndarray] | None:
    """256 samples of every input, each number drawn evenly from its range; None if a range or a size beside the batch is not known.

    Inputs that are bytes themselves have all values of their type; others the range to which the model rounds them.
    """
    ranges, rng = quantised_ranges(model), np.random.default_rng(0)
    samples: dict[str, np.ndarray] = {}
    for value in values:
        kind = _BYTES.get(value.type)
        if not value.shape or not all(isinstance(size, int) for size in value.shape[1:]) or (kind is None and value.name not in ranges):
            return None
        shape = (_SAMPLES, *value.shape[1:])
        if kind is not None:
            limits = np.iinfo(kind)
            samples[value.name] = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
        else:
            samples[value.name] = rng.uniform(*ranges[value.name], shape).astype(np.float32)
    return samples
