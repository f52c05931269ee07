"""The free scales of a network: a step for every activation and a scale for every row of weights.

Every output has its own requantisation multiplier, so hidden features may have steps of their own, and rows may be scaled at will before
levels are chosen. Both are chosen such that the weights of a layer look alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..format import BIAS_UNIT
from ..functions import Function
from ..importers.float_network import FloatLayer, FloatNetwork
from ..network import InputSteps
from .overhead import Storage
from .statistics import Statistics, believed_share, hidden_margin, importance
from .tables import Table

_MOST_COARSENING = 4.0   # a hidden feature keeps at least 127 / 4 steps
_ROW_NORM_SHARE = 0.7    # between scaling rows to equal norm (1) and to equal sensitivity (0); found by experiment
_ROW_RANGE = 64.0        # rows' scales stay within this factor of the median, so that multipliers keep their precision
_WEIGHT_ERROR = 1.5      # of weights coded in b bits: this times 4 ** -b of their energy
_MOST_RAISE = 16.0       # of the scale of a row with an exceptionally large weight
_LIMITS = 24             # of the largest weight that are tried
_LARGEST = 127.0         # level
_MOST_BIAS = 32000.0     # in levels, so that it is still in int16 after corrections
_FEW_WEIGHTS = 1024      # of a layer that takes a few microseconds, whether zeros are skipped or not
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
    centre : float64 [M]
        What the integer 0 stands for in the results, in front of a table.
    """

    source: FloatLayer
    weights: np.ndarray
    steps: np.ndarray
    rows: np.ndarray
    importance: np.ndarray
    centre: np.ndarray

    @property
    def energy(self) -> float:
        """Value of the error of leaving out all weights."""
        return float(np.einsum("mn,mn,n->", self.weights, self.weights, self.importance, optimize=False))


def scale_layers(network: FloatNetwork, statistics: list[Statistics], tables: Sequence[Table | None], storages: Sequence[Storage],
                 input_steps: InputSteps, rates: Sequence[float], real_samples: int) -> list[ScaledLayer]:
    """Scale all layers, so that the mean energy of a weight is 1; a common step behind a table is what that says."""
    steps = [input_steps.steps(network.inputs)]
    for number, layer in enumerate(network.layers[1:], 1):
        if (table := tables[number - 1]) and table.common:
            steps.append(np.full(layer.inputs, table.after))
            continue
        coarsest = _bound(network.layers[number - 1].function) / 127.0
        dense = storages[number].only_dense
        steps.append(int8_steps(layer.weight, statistics[number], coarsest, real_samples) if dense else
                     hidden_steps(layer.weight, statistics[number], coarsest))
    layers, steps, centres = with_whole_ranges(network, steps, tables, storages)
    scaled = []
    for layer, stats, own, centre, storage, rate in zip(layers, statistics, steps, centres, storages, rates, strict=True):
        matters = importance(stats, own, real_samples)
        weights = layer.weight * own.astype(np.float32)
        if storage.only_dense:
            rows = int8_rows(weights, stats.sensitivity, layer.bias - centre, matters)
        else:
            rows = tamed(weights, row_scales(weights, matters, stats.sensitivity), matters, rate)
        weights /= rows[:, None].astype(np.float32)
        scaled.append(ScaledLayer(layer, weights, own, rows, matters, centre))
    mean_energy = sum(layer.energy for layer in scaled) / network.weight_count
    if mean_energy > 0:  # slopes and errors near 1, whatever the scale of weights and inputs
        for layer in scaled:
            layer.rows *= np.sqrt(mean_energy)
            layer.weights /= np.float32(np.sqrt(mean_energy))
    return scaled


def with_whole_ranges(network: FloatNetwork, steps: list[np.ndarray], tables: Sequence[Table | None],
                      storages: Sequence[Storage]) -> tuple[list[FloatLayer], list[np.ndarray], list[np.ndarray]]:
    """Let ReLUs in front of few int8 weights have all 256 integers: -128 stands for 0, where results are clamped anyway.

    That halves what rounding them does, and costs the zeros, which would not be read.

    Parameters
    ----------
    network : FloatNetwork
    steps : list of float64 [N]
        Of every layer's inputs, at 127 steps to the peak.
    tables, storages : sequences
        One item a layer.

    Returns
    -------
    layers : list of FloatLayer
        With the same results: what -128 took from them is in the biases of the following layers.
    steps : list of float64 [N]
    centres : list of float64 [M]
        What the integer 0 stands for in each layer's results, in front of a table.
    """
    layers, steps = list(network.layers), list(steps)
    centres = [np.full(layer.outputs, table.centre if table else 0.0) for layer, table in zip(layers, tables, strict=True)]
    for number in range(1, len(layers)):
        if layers[number - 1].function.is_rectifier and storages[number].only_dense and layers[number].weight.size <= _FEW_WEIGHTS:
            steps[number] = steps[number] * (127.0 / 255.0)
            centres[number - 1] = offsets = 128.0 * steps[number]
            layers[number - 1] = replace(layers[number - 1], function=layers[number - 1].function.less(offsets))
            layers[number] = layers[number].for_inputs_less(offsets)
    return layers, steps, centres


def _bound(function: Function) -> float:
    """The upper bound of a ReLU, which 127 steps must not exceed."""
    return function.clamp[1] if function.is_rectifier else np.inf


def hidden_steps(weight: np.ndarray, statistics: Statistics, coarsest: float = np.inf) -> np.ndarray:
    """A step for every hidden feature, float64 [N], that brings its column of ``weight`` [M, N] towards the norm of the others.

    A coarse step on a feature with small weights costs little beside coded weights: rounding errors then reach the outputs equally from all
    features (cross-layer equalisation, Nagel et al. 2019).
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


def int8_steps(weight: np.ndarray, statistics: Statistics, coarsest: float, samples: int) -> np.ndarray:
    """The same in front of int8 weights only, whose errors are about as small as those of the features: no coarser than pays.

    Squared errors are ``step**2 / 12`` times the energy of a feature's weights, and ``unit**2 / 12`` times its variance in steps for each of its
    levels. The largest product of weight and step of a row sets the unit. So steps are made even up to a limit only, the best of 24.
    """
    even, finest = hidden_steps(weight, statistics, coarsest), wide_steps(statistics, samples)
    finest = np.where(statistics.peak < 127.0 * coarsest, np.minimum(finest, coarsest), coarsest)
    variance = np.maximum(statistics.square - np.square(statistics.mean), 0.0)
    energy = statistics.sensitivity @ np.square(weight, dtype=np.float64)
    alive = (finest > 0) & (energy > 0)
    if not alive.any():
        return even

    def error(steps: np.ndarray) -> float:
        units = np.abs(weight * steps).max(axis=1) / 127.0
        levels = statistics.sensitivity @ np.square(units) * (variance / np.square(steps)).sum()
        return float(np.square(steps)[alive] @ energy[alive] + levels)

    norm = np.sqrt(np.where(alive, energy, 1.0))
    limits = np.geomspace((finest * norm)[alive].min(), (finest * norm)[alive].max(), _LIMITS)
    return min((np.where(alive, np.clip(limit / norm, finest, np.maximum(even, finest)), even) for limit in limits), key=error)


def wide_steps(statistics: Statistics, samples: int) -> np.ndarray:
    """The steps of least squared error of features in rounding and, beyond 127 of them, in clipping of samples to come, float64 [N].

    Of ``samples``, one in so many lies beyond the largest p, by the mean excess e of the tail. In an exponential tail, clipping at p + d costs
    ``2 e**2 exp(-d / e)`` times that share, and rounding ``(p + d)**2 / 127**2 / 12``. A normal tail is as thin as that at a smaller distance
    x, where ``x + x**2 / 2p`` is that d.
    Of few samples this is believed in part (the root of the usual share was found by experiment), and the margin of all ranges for the rest.
    """
    margin = hidden_margin(samples, samples > 0) - 1.0
    excesses = np.log(max(12.0 * 127.0 ** 2 * statistics.tail / max(samples, 1), 1.0))
    beyond = np.sqrt(1.0 + 2.0 * excesses * statistics.tail) - 1.0
    share = np.sqrt(believed_share(samples))
    return statistics.peak / (1.0 + margin) * (1.0 + share * beyond + (1.0 - share) * margin) / 127.0


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


def int8_rows(weight: np.ndarray, sensitivity: np.ndarray, bias: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """The same for a layer of int8 weights only, which have the whole range of int8 in every row.

    The biases of a layer are stored in units of 256 if any of them is beyond int16. With few inputs, that rounds worse than int8 weights do: then
    rows with a large ``bias`` [M] have scales at which it fits.
    """
    largest = np.abs(weight).max(axis=1).astype(np.float64)
    matters, largest = _matters(sensitivity), np.maximum(largest, max(1e-3 * largest.mean(), _TINY))
    fitting = np.maximum(largest, np.abs(bias) * _LARGEST / _MOST_BIAS)
    by_bias = matters @ np.square(BIAS_UNIT * largest) if (fitting > largest).any() else 0.0
    by_levels = matters @ (np.square(fitting) - np.square(largest)) * importance.sum()
    return _in_results(fitting if by_levels < by_bias else largest, matters)


def _matters(sensitivity: np.ndarray) -> np.ndarray:
    return sensitivity + 1e-3 * sensitivity.mean() + _TINY


def _in_results(scale: np.ndarray, matters: np.ndarray) -> np.ndarray:
    """Scales near their median, in units of the network's results."""
    scale = np.clip(scale, np.median(scale) / _ROW_RANGE, np.median(scale) * _ROW_RANGE)
    return scale / np.sqrt((matters * np.square(scale)).mean())
