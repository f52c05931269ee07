"""The free scales of a network: a step for every activation and a scale for every row of weights.

Every output has its own requantisation multiplier, so hidden features may have steps of their own, and rows may be scaled at will before
levels are chosen. Both are chosen such that the weights of a layer look alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..functions import Function
from ..importers.float_network import FloatLayer, FloatNetwork
from ..network import InputSteps
from .overhead import Storage
from .statistics import Statistics, importance
from .tables import Table

_MOST_COARSENING = 4.0   # a hidden feature keeps at least 127 / 4 steps
_ROW_NORM_SHARE = 0.7    # between scaling rows to equal norm (1) and to equal sensitivity (0); found by experiment
_ROW_RANGE = 64.0        # rows' scales stay within this factor of the median, so that multipliers keep their precision
_WEIGHT_ERROR = 1.5      # of weights coded in b bits: this times 4 ** -b of their energy
_MOST_RAISE = 16.0       # of the scale of a row with an exceptionally large weight
_LIMITS = 24             # of the largest weight that are tried
_TINY = 1e-30


@dataclass(eq=False)
class ScaledLayer:
    """A layer's weights in units in which all errors count alike.

    Members
    -------
    source : FloatLayer
    weights : float32 [M, N]
        source.weight * steps / rows.
    steps : float64 [N]
        Value of one step of each feature.
    rows : float64 [M]
    importance : float64 [N]
    """

    source: FloatLayer
    weights: np.ndarray
    steps: np.ndarray
    rows: np.ndarray
    importance: np.ndarray

    @property
    def energy(self) -> float:
        """Value of the error of leaving out all weights."""
        return float(np.einsum("mn,mn,n->", self.weights, self.weights, self.importance, optimize=False))


def scale_layers(network: FloatNetwork, statistics: list[Statistics], tables: Sequence[Table | None], storages: Sequence[Storage],
                 input_steps: InputSteps, rates: Sequence[float], real_samples: int) -> list[ScaledLayer]:
    """Scale all layers, so that the mean energy of a weight is 1; a common step behind a table is what that says."""
    scaled = []
    for number, (layer, stats) in enumerate(zip(network, statistics, strict=True)):
        if number == 0:
            steps = input_steps.steps(layer.inputs)
        elif (table := tables[number - 1]) and table.common:
            steps = np.full(layer.inputs, table.after)
        else:
            steps = hidden_steps(layer.weight, stats, _bound(network.layers[number - 1].function) / 127.0)
        matters = importance(stats, steps, real_samples)
        weights = layer.weight * steps.astype(np.float32)
        if storages[number].only_dense:
            rows = int8_rows(weights, stats.sensitivity)
        else:
            rows = tamed(weights, row_scales(weights, matters, stats.sensitivity), matters, rates[number])
        weights /= rows[:, None].astype(np.float32)
        scaled.append(ScaledLayer(layer, weights, steps, rows, matters))
    mean_energy = sum(layer.energy for layer in scaled) / network.weight_count
    if mean_energy > 0:  # slopes and errors near 1, whatever the scale of weights and inputs
        for layer in scaled:
            layer.rows *= np.sqrt(mean_energy)
            layer.weights /= np.float32(np.sqrt(mean_energy))
    return scaled


def _bound(function: Function) -> float:
    """The upper bound of a ReLU, which 127 steps must not exceed."""
    return function.clamp[1] if function.is_rectifier else np.inf


def hidden_steps(weight: np.ndarray, statistics: Statistics, coarsest: float = np.inf) -> np.ndarray:
    """A step for every hidden feature, float64 [N], that brings its column of ``weight`` [M, N] towards the norm of the others.

    A coarse step on a feature with small weights costs nothing: rounding errors then reach the outputs equally from all features
    (cross-layer equalisation, Nagel et al. 2019).
    """
    norm = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=0))
    finest = statistics.peak / 127.0
    alive = (finest > 0) & (norm > 0)
    if not alive.any():
        return np.full(len(finest), min(1.0 / 127.0, coarsest))
    common = (finest * norm)[alive].max()
    steps = np.full(len(finest), finest[alive].max())
    steps[alive] = np.clip(common / norm[alive], finest[alive], np.minimum(_MOST_COARSENING * finest[alive], coarsest))
    return steps


def tamed(weight: np.ndarray, rows: np.ndarray, importance: np.ndarray, bits: float) -> np.ndarray:
    """The scales ``rows`` [M], larger where a row of ``weight`` is so large somewhere that int8 is coarse for all others."""
    energy = float(np.square(weight / rows[:, None]).mean(axis=0) @ importance)
    return rows * _raised(np.abs(weight).max(axis=1) / rows, energy, float(importance.sum()), bits)


def _raised(largest: np.ndarray, energy: float, importance: float, bits: float) -> np.ndarray:
    """The factors of rows' scales, at least 1, with least error of coded weights and of levels together.

    Parameters
    ----------
    largest : float [M]
        The largest weight of each row.
    energy, importance : float
        Of all features: mean square weight times importance, and importance alone.
    bits : float
        Bits a weight.
    """
    def error(limit: float) -> float:
        coded = coded_error(bits) * energy * np.square(np.maximum(largest / limit, 1.0)).mean()
        return float(coded + importance * (limit / 127.0) ** 2 / 12.0)

    most = float(largest.max())
    if most <= 0:
        return np.ones(len(largest))
    limit = min(np.geomspace(most, most / _MOST_RAISE, _LIMITS), key=error)
    return np.maximum(largest / limit, 1.0)


def coded_error(bits: float) -> float:
    """About the squared error of weights coded in so many bits, in parts of their energy."""
    return min(_WEIGHT_ERROR * 4.0 ** -bits, 1.0)


def row_scales(weight: np.ndarray, importance: np.ndarray, sensitivity: np.ndarray) -> np.ndarray:
    """The scale of every row of ``weight`` [M, N], float64 [M].

    Divided by it, rows have similar norms, and an error counts about the same in all of them: one unit of squared error, times a
    feature's importance, is one unit of squared change of the network's results, on average.
    """
    norm = np.sqrt(np.square(weight, dtype=np.float64) @ importance / max(importance.sum(), _TINY))
    matters = _matters(sensitivity)
    norm = np.maximum(norm, max(1e-3 * norm.mean(), _TINY))
    return _in_results(norm ** _ROW_NORM_SHARE * matters ** (-(1.0 - _ROW_NORM_SHARE) / 2.0), matters)


def int8_rows(weight: np.ndarray, sensitivity: np.ndarray) -> np.ndarray:
    """The same for a layer of int8 weights only, which have the whole range of int8 in every row."""
    largest = np.abs(weight).max(axis=1).astype(np.float64)
    return _in_results(np.maximum(largest, max(1e-3 * largest.mean(), _TINY)), _matters(sensitivity))


def _matters(sensitivity: np.ndarray) -> np.ndarray:
    return sensitivity + 1e-3 * sensitivity.mean() + _TINY


def _in_results(scale: np.ndarray, matters: np.ndarray) -> np.ndarray:
    """Scales near their median, in units of the network's results."""
    scale = np.clip(scale, np.median(scale) / _ROW_RANGE, np.median(scale) * _ROW_RANGE)
    return scale / np.sqrt((matters * np.square(scale)).mean())
