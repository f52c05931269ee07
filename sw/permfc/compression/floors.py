"""Floors: a hidden feature that is never near zero needs no steps from there to its least value, which goes into the next layer's bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..importers.float_network import FloatNetwork
from .overhead import Storage
from .statistics import believed_share, hidden_margin


def without_floors(network: FloatNetwork, samples: np.ndarray, storages: Sequence[Storage]) -> FloatNetwork:
    """The network with the same results on ``samples`` whose ReLUs in front of int8 weights start at 0.

    ``ReLU(y) = floor + ReLU(y - floor)`` wherever y is at least ``floor``. The integers keep their zeros and need neither a table nor a byte.

    Parameters
    ----------
    network : FloatNetwork
    samples : float32 [S, inputs]
        Calibration data.
    storages : sequence of Storage
        One item a layer.
    """
    if believed_share(len(samples)) < 0.5:  # what was never zero may still be
        return network
    layers, values = list(network.layers), network.layer_inputs(samples)
    for number, (layer, following) in enumerate(zip(network.layers, network.layers[1:], strict=False)):
        if not layer.function.is_rectifier or not storages[number + 1].only_dense:
            continue
        floors = _floors(values[number + 1], layer.function.clamp[1])
        layers[number] = replace(layers[number], bias=(layers[number].bias - floors).astype(np.float32))
        layers[number + 1] = following.for_inputs_less(floors)
    return replace(network, layers=tuple(layers))


def _floors(values: np.ndarray, bound: float) -> np.ndarray:
    """What can be taken off each column of values [S, N], float64 [N]: nothing where the function's upper bound is reached, as that would move."""
    least, most = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
    widened = least - (hidden_margin(len(values), real=True) - 1.0) * (most - least)
    return np.where(most < bound, np.maximum(widened, 0.0), 0.0)
