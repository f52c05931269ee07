"""Inputs made up for calibration from the ranges that a quantised model's file carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..importers.quantised import SAMPLES, drawn, quantised_ranges
from .values import Value

if TYPE_CHECKING:
    from onnx import ModelProto

_BYTES = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8}


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
        shape = (SAMPLES, *value.shape[1:])
        if kind is not None:
            limits = np.iinfo(kind)
            samples[value.name] = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
        else:
            samples[value.name] = drawn(ranges[value.name], shape, rng)
    return samples
