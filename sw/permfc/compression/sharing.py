"""Bits over networks that share a budget: each gets as many as lower the error of the whole most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import EngineConfig
from ..errors import InputError, ModelError
from ..importers.float_network import FloatNetwork
from .allocation import common_slope, sampled_fit
from .overhead import fixed_bits, step_bits
from .preparation import Prepared, prepare
from .targets import layer_plans

_HALVINGS = 60
_BELIEVED = 0.5       # of a ratio of sensitivities, as an exponent: errors of samples are not independent, as the estimate assumes
_LEAST, _MOST = 0.5, 2.5  # of the common rate: estimates are not believed beyond
_HEADERS = 2.0        # times the bits of a layer's headers it gets at least, unless the common rate is less


@dataclass(frozen=True, eq=False)
class Sharer:
    """A network of one layer that shares a budget with others.

    Members
    -------
    network : FloatNetwork
    samples : float32 [S, inputs]
        Calibration data.
    sensitivity : float
        By how much a squared error of 1 in one result, of every sample, counts in the whole.
    """

    network: FloatNetwork
    samples: np.ndarray
    sensitivity: float


def shared_rates(sharers: Sequence[Sharer], bits: float, engine: EngineConfig) -> list[float]:
    """Bits a weight for each network, ``bits`` on average over all weights: those for which one more bit saves the same error everywhere.

    Raises
    ------
    ModelError
        If a network cannot have ``bits`` bits a weight.
    InputError
        If samples cannot be used; it names the layer.
    """
    fits, units, headers = [], [], []
    for sharer in sharers:  # of a large network, nobody could hold more at once
        ready = _prepared(sharer, bits, engine)
        fits.append(sampled_fit(ready.scaled[0], ready.storages[0]))
        units.append(_unit(ready))
        headers.append(_headers(ready))
    worth = np.array([max(sharer.sensitivity * unit, 1e-30) for sharer, unit in zip(sharers, units, strict=True)])
    weights = np.array([sharer.network.weight_count for sharer in sharers])
    worth = (worth / np.exp(weights @ np.log(worth) / weights.sum())) ** _BELIEVED
    common_slope(fits, worth.tolist(), bits * float(weights.sum()))
    least = np.array(headers) / weights
    rates = np.array([fit.image_bits() for fit in fits]) / weights
    return _averaging(rates, np.clip(_HEADERS * least, _LEAST * bits, bits), _MOST * bits, weights, bits)


def affordable(network: FloatNetwork, bits: float, engine: EngineConfig) -> bool:
    """Whether a network's headers alone leave room for weights."""
    try:
        layer_plans(network, bits, engine, {})
    except ModelError:
        return False
    return True


def _prepared(sharer: Sharer, bits: float, engine: EngineConfig) -> Prepared:
    try:
        return prepare(sharer.network, bits, sharer.samples, None, engine, {})
    except InputError as error:
        raise InputError(f"Layer {sharer.network.layers[0].name}: {error}") from error


def _headers(ready: Prepared) -> float:
    """Bits that an image takes before any weight."""
    network, storage = ready.network, ready.storages[0]
    outside = fixed_bits(network.inputs, network.outputs, storage.bus_bits) + step_bits(ready.steps, network.inputs)
    return outside + storage.header_bits(network.outputs, 1)


def _unit(ready: Prepared) -> float:
    """Squared error of the results that one unit of a scaled layer's error stands for."""
    layer, statistics = ready.scaled[0], ready.statistics[0]
    weights = np.square(layer.source.weight * layer.steps, dtype=np.float64)
    return float(statistics.sensitivity @ weights @ layer.importance) / max(layer.energy, 1e-30)


def _averaging(rates: np.ndarray, least: np.ndarray, most: float, weights: np.ndarray, bits: float) -> list[float]:
    """The rates within their limits, all higher or lower by the same, so that they are ``bits`` on average."""
    low, high = -float(rates.max()), most
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        average = float(weights @ np.clip(rates + middle, least, most)) / float(weights.sum())
        low, high = (middle, high) if average < bits else (low, middle)
    return np.clip(rates + low, least, most).tolist()
