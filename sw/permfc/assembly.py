"""From fitted classes to the integers of a layer: rank assignment, level rounding, bias, multipliers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .activations import requantisation
from .classes import DENSE, EMPTY, ClassFit
from .fit import Candidates
from .format import BIAS_UNIT
from .network import Layer, Segments

_BIAS_LIMIT = BIAS_UNIT * ((1 << 15) - 1)


def packed_classes(fit: ClassFit) -> list[tuple[int, np.ndarray]]:
    """The classes that have features, in packed order: number (or DENSE, EMPTY) and features, int64 [n]."""
    numbers = [*range(fit.classes), DENSE, EMPTY]
    classes = [(number, np.flatnonzero(fit.assignment == number)) for number in numbers]
    return [(number, features) for number, features in classes if len(features)]


def level_unit(fit: ClassFit, bias: np.ndarray) -> float:
    """The weight that integer level 1 stands for: the largest level or dense8 weight becomes 127.

    Parameters
    ----------
    fit : ClassFit
    bias : float [M]
        In units of the layer's weights times its features' steps; it must fit an accumulator.
    """
    used = fit.sizes > 0
    largest = max((float(np.abs(block.levels[used]).max(initial=0.0)) for block in fit.sequences()), default=0.0)
    largest = max(largest, float(np.abs(fit.weights[:, fit.assignment == DENSE]).max(initial=0.0)))
    return max(largest / 127.0, float(np.abs(bias).max()) / (_BIAS_LIMIT / 2), 1e-30)


def bare_layer(fit: ClassFit, unit: float, block_outputs: int, relu: bool, raw: bool) -> Layer:
    """The layer with its weights, but with zero bias and multipliers."""
    outputs, features = fit.weights.shape
    blocks = []
    for number, sequences in enumerate(fit.sequences()):
        rows = fit.weights[number * block_outputs:(number + 1) * block_outputs]
        classes, first = [], 0
        for label, members in packed_classes(fit):
            classes.append(_segments(label, first, rows[:, members].T, sequences, unit))
            first += len(members)
        blocks.append(tuple(classes))
    zeros = np.zeros(outputs, dtype=np.int32)
    return Layer(features, outputs, block_outputs, tuple(blocks), zeros, zeros.astype(np.uint16), 1, relu, raw)


def _segments(label: int, first: int, columns: np.ndarray, sequences: Candidates, unit: float) -> Segments:
    """Segments of the weights ``columns`` [n, B]; the permutation with the least squared error gives levels by rank."""
    if label == EMPTY:
        return Segments.empty(first, *columns.shape)
    if label == DENSE:
        return Segments.dense8(first, np.clip(np.rint(columns / unit), -127, 127).astype(np.int8))
    levels = np.clip(np.rint(sequences.levels[label] / unit), -127, 127).astype(np.int8)
    by_rank = np.repeat(np.arange(levels.size, dtype=np.uint8), sequences.counts[label])
    indices = np.empty(columns.shape, dtype=np.uint8)
    np.put_along_axis(indices, np.argsort(columns, axis=1, kind="stable"), by_rank[None], axis=1)
    return Segments.prefix(first, levels, sequences.counts[label], indices)


def storable_bias(counts: np.ndarray) -> np.ndarray:
    """The nearest biases that a layer can store, int32 [M], for accumulator counts float [M]; what is out of range is clipped."""
    low, high = -(1 << 15), (1 << 15) - 1
    rounded = np.rint(counts)
    unit = 1 if low <= rounded.min() and rounded.max() <= high else BIAS_UNIT
    return unit * np.clip(np.rint(counts / unit), low, high).astype(np.int32)


def with_parameters(layer: Layer, value: np.ndarray, bias: np.ndarray, steps: np.ndarray | None) -> Layer:
    """The layer with its bias and multipliers.

    Parameters
    ----------
    layer : Layer
    value : float64 [M]
        What one accumulator count of each output is worth.
    bias : float64 [M]
    steps : float64 [M] or None
        What one step of each result shall be worth; 0 for a result that nobody reads, which becomes 0. None for raw results.
    """
    counts = bias / value
    if steps is None:
        return replace(layer, bias=storable_bias(counts))
    read = steps > 0
    mul, shift = requantisation(np.where(read, value / np.where(read, steps, 1.0), 0.0))
    return replace(layer, bias=storable_bias(np.where(read, counts, 0)), mul=mul, shift=shift)
