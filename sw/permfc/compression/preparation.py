"""What is known of a network before its classes are fitted: statistics, tables, steps and scales, from calibration data or assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..config import EngineConfig
from ..errors import InputError
from ..importers.float_network import FloatNetwork
from ..network import InputSteps
from .floors import without_floors
from .inputs import choose_input_steps, without_offsets
from .overhead import Storage
from .scaling import ScaledLayer, scale_layers
from .statistics import Statistics, assumed_samples, calibration_samples, measure, shifted
from .tables import Table, with_tables
from .targets import layer_plans, layer_rates


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network ready for its classes to be fitted.

    Members
    -------
    network : FloatNetwork
        For inputs without their offsets.
    storages, statistics, tables, scaled : lists, one item a layer
    steps : InputSteps
    samples : float32 [S, inputs] or None
        Calibration data, without the offsets of the inputs.
    reference : float32 [S, inputs] or None
        The inputs for which the float network's results are wanted, if not ``samples``; without offsets, too.
    """

    network: FloatNetwork
    storages: list[Storage]
    statistics: list[Statistics]
    tables: list[Table | None]
    scaled: list[ScaledLayer]
    steps: InputSteps
    samples: np.ndarray | None
    reference: np.ndarray | None


def prepare(network: FloatNetwork, bits: float, calibration: np.ndarray | None, reference: np.ndarray | None, engine: EngineConfig,
            per_layer: Mapping[str, float | str], most_step_bits: float = np.inf) -> Prepared:
    """Measure and scale a network; parameters and errors are those of ``compress``. Steps and offsets of inputs take ``most_step_bits`` at most."""
    storages, budgets = layer_plans(network, bits, engine, per_layer)
    samples = None if calibration is None else calibration_samples(calibration, network.inputs)
    original = None if reference is None else _reference(reference, calibration, network.inputs)
    real_samples = 0 if samples is None else len(samples)
    believed = assumed_samples(network.inputs) if samples is None else samples
    rates = layer_rates(network, bits, per_layer)
    network, tables = with_tables(network, believed, real_samples > 0, rates)
    if real_samples:
        network = without_floors(network, believed if original is None else np.concatenate([believed, original]), storages)
    statistics = measure(network, believed, real=real_samples > 0)
    steps = choose_input_steps(network.layers[0], believed, statistics[0], real_samples, rates[0], min(budgets[0].bits / 2, most_step_bits))
    network, (samples, original) = without_offsets(network, (samples, original), steps)
    statistics[0] = shifted(statistics[0], steps.offsets(network.inputs))
    scaled = scale_layers(network, statistics, tables, storages, steps, rates, real_samples)
    network = replace(network, layers=tuple(layer.source for layer in scaled))
    return Prepared(network, storages, statistics, tables, scaled, steps, samples, original)


def _reference(reference: np.ndarray, calibration: np.ndarray | None, inputs: int) -> np.ndarray:
    samples = calibration_samples(reference, inputs, "Reference")
    counts = [0 if given is None else len(given) for given in (reference, calibration)]
    if counts[0] != counts[1]:
        raise InputError(f"Reference has {counts[0]} samples, and calibration {counts[1]}: they must be the same ones")
    return samples
