"""From fitted classes to the integers of a layer: segments, biases, multipliers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..format import BIAS_UNIT
from ..network import Layer, Network
from ..progress import Progress
from .classes import EMPTY, ClassFit, packed_classes, packed_features
from .feedback import fed_back
from .preparation import Prepared
from .quantiser import Quantiser
from .statistics import correction, requantisation
from .tables import Table


def assemble(ready: Prepared, fits: list[ClassFit], orders: list[np.ndarray], report: Progress) -> Network:
    """Make the integers, layer by layer; with samples, errors are fed back and every output is corrected for the mean effect of all roundings.

    Parameters
    ----------
    ready : Prepared
    fits : list of ClassFit, one a layer
    orders : list of int64 [M]
        Per layer, the order of its outputs.
    report : function (what, done, total)
    """
    scaled, samples = ready.scaled, ready.samples
    input_order = packed_features(fits[0])
    wanted = integers = None
    if samples is not None:
        wanted = samples if ready.reference is None else ready.reference
        integers = np.clip(np.rint(samples / scaled[0].steps), -128, 127).astype(np.int8)[:, input_order]
    layers: list[Layer] = []
    for number, (source, fit, order) in enumerate(zip(scaled, fits, orders, strict=True)):
        last, function, table = number == len(scaled) - 1, source.source.function, ready.tables[number]
        raw, centre = last and function.is_identity, source.centre[order]
        bias, rows = source.source.bias[order].astype(np.float64), source.rows[order]
        quantiser = Quantiser(fit, (bias - centre) / rows)
        value = rows * quantiser.unit
        weights = fit.weights
        if samples is not None:
            wanted = source.source.sums(wanted)
            others = number > 0 or ready.reference is not None  # have changed what the layer receives
            weights = fed_back(quantiser, integers, ((wanted[:, order] - bias) / rows).astype(np.float32) if others else None)
        layer = bare_layer(quantiser, weights, function.is_rectifier, raw)
        if samples is not None:
            gain, offset = correction(wanted[:, order] - bias, layer.accumulate(integers) * value)
            value, bias = value * gain, bias + offset
            wanted = function(wanted)
        steps = _result_steps(ready, fits, number)[order]
        layers.append(with_parameters(layer, value, bias - centre, None if raw else steps, table))
        if samples is not None and not last:
            integers = layers[-1].compute(integers)
        report("assemble layers", number + 1, len(scaled))
    output_scale = value if raw else np.full(len(steps), table.after) if table and table.common else steps
    slots = layers[0].feature_slots
    input_class = np.empty(len(input_order), dtype=np.uint8)
    input_class[input_order] = slots
    return Network(tuple(layers), ready.steps, input_class, output_scale.astype(np.float32))


def _result_steps(ready: Prepared, fits: list[ClassFit], number: int) -> np.ndarray:
    """What one int8 step of each result of layer ``number`` is worth, before a table with a common step; 0 where nobody reads it."""
    table, scaled = ready.tables[number], ready.scaled
    if number + 1 == len(scaled):
        peak = ready.statistics[-1].result_peak
        steps = np.where(peak > 0, peak, 1.0) / 127.0
        read = np.ones(len(peak), dtype=bool)
    else:
        steps, read = scaled[number + 1].steps, fits[number + 1].assignment != EMPTY
    return np.where(read, table.before if table and table.common else steps, 0.0)


def bare_layer(quantiser: Quantiser, weights: np.ndarray, relu: bool, raw: bool) -> Layer:
    """The layer with the segments nearest to ``weights`` float32 [M, N], but with zero bias and multipliers."""
    outputs, features = weights.shape
    storage = quantiser.fit.storage
    blocks = []
    for number, rows in enumerate(storage.block_rows(outputs)):
        classes, first = [], 0
        for label, members in packed_classes(quantiser.fit):
            classes.append(quantiser.segments(number, label, first, np.ascontiguousarray(weights[rows][:, members].T)))
            first += len(members)
        blocks.append(tuple(classes))
    zeros = np.zeros(outputs, dtype=np.int32)
    return Layer(features, outputs, storage.block_outputs, tuple(blocks), zeros, zeros.astype(np.uint16), 1, relu, raw)


def storable_bias(counts: np.ndarray) -> np.ndarray:
    """The nearest biases that a layer can store, int32 [M], for accumulator counts float [M]; what is out of range is clipped."""
    low, high = -(1 << 15), (1 << 15) - 1
    rounded = np.rint(counts)
    unit = 1 if low <= rounded.min() and rounded.max() <= high else BIAS_UNIT
    return unit * np.clip(np.rint(counts / unit), low, high).astype(np.int32)


def with_parameters(layer: Layer, value: np.ndarray, bias: np.ndarray, steps: np.ndarray | None,
                    table: Table | None = None) -> Layer:
    """The layer with its bias and multipliers.

    Parameters
    ----------
    layer : Layer
    value : float64 [M]
        What one accumulator count of each output is worth.
    bias : float64 [M]
    steps : float64 [M] or None
        What one step of each result shall be worth; 0 for a result that nobody reads, which becomes 0. None for raw results.
    table : Table or None
        What the results go through.
    """
    counts = bias / value
    if steps is None:
        return replace(layer, bias=storable_bias(counts))
    read = steps > 0
    mul, shift = requantisation(np.where(read, value / np.where(read, steps, 1.0), 0.0))
    return replace(layer, bias=storable_bias(np.where(read, counts, 0)), mul=mul, shift=shift, table=table.values if table else None)
