"""From trained modules to a network of integers."""

from __future__ import annotations

import numpy as np

from ..network import InputSteps, Layer, Network, Segments
from .modules import PermutedLinear, PermutedNetwork


def export(model: PermutedNetwork) -> Network:
    """The network whose golden integer results are what ``model`` gives in ``eval`` mode.

    Raises
    ------
    ModelError
        If a partial sum could overflow the engine's accumulator.
    """
    orders = [layer.packed.numpy() for layer in model.layers]
    outputs = [*orders[1:], np.arange(model.layers[-1].weight.shape[1])]
    layers = tuple(_layer(layer, *order) for layer, order in zip(model.layers, zip(orders, outputs, strict=True), strict=True))
    last = model.layers[-1]
    scale = np.full(layers[-1].outputs, last.integers()[1] * float(last.input_step), dtype=np.float32)
    return Network(layers, InputSteps(float(model.input_step)), model.layers[0].class_of.numpy().astype(np.uint8), scale)


def _layer(layer: PermutedLinear, features: np.ndarray, outputs: np.ndarray) -> Layer:
    """The layer with its features and outputs in packed order."""
    weights, unit = layer.integers()
    weights = weights.numpy().astype(np.int8)[np.ix_(features, outputs)]
    starts = np.flatnonzero(np.diff(layer.words.numpy()[features], prepend=-1))
    classes = [_segments(int(first), part) for first, part in zip(starts, np.split(weights, starts[1:]), strict=True)]
    mul, shift = (0, 1) if layer.raw else layer.requantisation(unit)
    bias, muls = layer.bias_counts(unit)[outputs], np.full(len(outputs), mul, dtype=np.uint16)
    return Layer(len(features), len(outputs), len(outputs), (tuple(classes),), bias, muls, shift, layer.relu, layer.raw)


def _segments(first: int, weights: np.ndarray) -> Segments:
    """The class of ``weights`` int8 [n, outputs], which holds at most one magnitude."""
    if not weights.any():
        return Segments.empty(first, *weights.shape)
    level = np.int8(np.abs(weights).max())
    indices = np.where(weights > 0, 1, np.where(weights < 0, 2, 0)).astype(np.uint8)
    return Segments.sparse(first, np.array([level, -level], dtype=np.int8), indices)
