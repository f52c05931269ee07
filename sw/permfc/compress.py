"""From a trained float network to a compressed one, without retraining."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .activations import Statistics, assumed_samples, calibration_samples, correction, importance, measure
from .allocation import Progress, best_class_count, check_target, fit_to_target, sampled_fit, search_slope
from .assembly import bare_layer, level_unit, packed_classes, with_parameters
from .classes import EMPTY, ClassFit
from .errors import ModelError
from .format import MAX_LEVELS
from .importers import load_model
from .importers.float_network import FloatLayer, FloatNetwork
from .network import Layer, Network
from .scaling import hidden_steps, input_steps, row_scales
from .segments import MAX_SIZE

_SEARCH_STEPS = 14
_FIRST_SLOPE = 0.05  # of the mean energy of a weight, a bit: about 2 bits a weight


@dataclass(eq=False)
class _Scaled:
    """A layer's weights in units in which all errors count alike."""

    source: FloatLayer
    weights: np.ndarray     # float32 [M, N]: source.weight * steps / rows
    steps: np.ndarray       # float64 [N]: value of one step of each feature
    rows: np.ndarray        # float64 [M]
    importance: np.ndarray  # float64 [N]

    @property
    def energy(self) -> float:
        """Value of the error of leaving out all weights."""
        return float(np.square(self.weights, dtype=np.float64).sum(axis=0) @ self.importance)


def compress(model: object, bits: float = 2.5, calibration: np.ndarray | None = None, block_outputs: int = 1024, word_bits: int = 64,
             levels: int = MAX_LEVELS, progress: Progress | None = None) -> Network:
    """Compress a trained network to a target size, after training and without retraining.

    Parameters
    ----------
    model : FloatNetwork, path, torch module or state dict
        Whatever ``load_model`` takes.
    bits : float
        Most bits a weight: 8 * image bytes / weights, everything in the image included.
    calibration : float [S, inputs], optional
        Typical inputs, without labels; some hundred to two thousand. Without them, inputs are assumed to lie in -1..1,
        hidden ranges are taken from made-up inputs with a margin of 2, and nothing is corrected: expect less accuracy.
    block_outputs : int
        Most outputs of a block, as in the engine's configuration.
    word_bits : int
        Bus width of the engine that the size is optimised for. The network runs on any other.
    levels : int
        Most levels of a common sequence, 8 or 16, as in the engine's configuration. With 8 nothing is stored as dense8.
    progress : function (what, done, total), optional
        Called as the work goes on.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        If the model cannot be used or the target cannot be reached.
    InputError
        If the calibration data cannot be used.
    """
    network = load_model(model)
    _check_options(bits, block_outputs, word_bits, levels)
    _check_size(network)
    report = progress or (lambda what, done, total: None)
    target = check_target(bits, [layer.weight.shape for layer in network], block_outputs, word_bits)

    samples = None if calibration is None else calibration_samples(calibration, network.inputs)
    real_samples = 0 if samples is None else len(samples)
    report("measure activations", 0, 1)
    statistics = measure(network, assumed_samples(network.inputs) if samples is None else samples, real=real_samples > 0)
    scaled = _scale(network, statistics, real_samples)
    report("measure activations", 1, 1)

    slope, class_counts = _search(scaled, target, block_outputs, word_bits, levels, report)
    fits, orders = _fit(scaled, class_counts, slope, block_outputs, word_bits, levels, report)
    growth = 1.0
    while not fit_to_target(fits, target, slope):  # at the latest, no feature is worth its bits, and that fits: check_target knows
        growth *= 1.5
        slope *= growth
        fits, orders = _fit(scaled, class_counts, slope, block_outputs, word_bits, levels, report)
    return _assemble(scaled, fits, orders, statistics, samples, block_outputs, report)


def _check_options(bits: float, block_outputs: int, word_bits: int, levels: int) -> None:
    if not (isinstance(bits, (int, float, np.number)) and np.isfinite(bits) and bits > 0):
        raise ModelError(f"Target bits a weight must be a positive number, not {bits!r}")
    for name, value, low, high in (("block_outputs", block_outputs, 1, 32768), ("word_bits", word_bits, 8, 4096)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
            raise ModelError(f"{name} must be an integer from {low} to {high}, not {value!r}")
    if word_bits % 8:
        raise ModelError(f"word_bits must be a multiple of 8, not {word_bits}")
    if levels not in (8, 16):
        raise ModelError(f"levels must be 8 or 16, not {levels!r}")


def _check_size(network: FloatNetwork) -> None:
    for layer in network:
        if max(layer.inputs, layer.outputs) > MAX_SIZE:
            raise ModelError(f"Layer {layer.name} has {layer.inputs} inputs and {layer.outputs} outputs, more than the {MAX_SIZE} that an "
                             "engine can have: split it")


def _scale(network: FloatNetwork, statistics: list[Statistics], real_samples: int) -> list[_Scaled]:
    scaled = []
    for number, (layer, stats) in enumerate(zip(network, statistics, strict=True)):
        steps = hidden_steps(layer.weight, stats) if number else input_steps(stats)
        matters = importance(stats, steps, real_samples)
        weights = layer.weight * steps.astype(np.float32)
        rows = row_scales(weights, matters, stats.sensitivity)
        weights /= rows[:, None].astype(np.float32)
        scaled.append(_Scaled(layer, weights, steps, rows, matters))
    mean_energy = sum(layer.energy for layer in scaled) / network.weight_count
    if mean_energy > 0:  # slopes and errors near 1, whatever the scale of weights and inputs
        for layer in scaled:
            layer.rows *= np.sqrt(mean_energy)
            layer.weights /= np.float32(np.sqrt(mean_energy))
    return scaled


def _search(scaled: list[_Scaled], target: float, block_outputs: int, word_bits: int, levels: int,
            report: Progress) -> tuple[float, list[int]]:
    """The slope that gives about the target size, and the best number of classes of each layer at that slope."""
    fits = [sampled_fit(layer.weights, layer.importance, block_outputs, word_bits, levels) for layer in scaled]
    rounds = [5] + [2] * _SEARCH_STEPS

    def image_bits(slope: float) -> float:
        rounds_now = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        for fit in fits:
            fit.improve(slope, rounds_now)
        return sum(fit.image_bits() for fit in fits)

    slope = search_slope(image_bits, target, _FIRST_SLOPE, _SEARCH_STEPS, lambda done: report("search bit allocation", done, _SEARCH_STEPS))
    counts = []
    for number, (layer, fit) in enumerate(zip(scaled, fits, strict=True)):
        best = best_class_count(fit, slope, lambda classes, layer=layer: sampled_fit(
            layer.weights, layer.importance, block_outputs, word_bits, levels, classes))
        counts.append(best.classes)
        report("choose classes", number + 1, len(scaled))
    return slope, counts


def _fit(scaled: list[_Scaled], class_counts: list[int], slope: float, block_outputs: int, word_bits: int,
         levels: int, report: Progress) -> tuple[list[ClassFit], list[np.ndarray]]:
    """Fit all features of all layers, last layer first, as its order of features is the order of outputs of the one before.

    Returns
    -------
    fits : list of ClassFit
    orders : list of int64 [M]
        Per layer, the order of its outputs.
    """
    fits: list[ClassFit] = []
    orders: list[np.ndarray] = []
    order = np.arange(len(scaled[-1].rows))
    for layer, classes in zip(reversed(scaled), reversed(class_counts), strict=True):
        fit = ClassFit(layer.weights[order], layer.importance, block_outputs, word_bits, classes, levels=levels)
        fit.improve(slope, 5)
        fits.insert(0, fit)
        orders.insert(0, order)
        order = np.concatenate([features for _, features in packed_classes(fit)])
        report("fit classes", len(fits), len(scaled))
    return fits, orders


def _assemble(scaled: list[_Scaled], fits: list[ClassFit], orders: list[np.ndarray], statistics: list[Statistics],
              samples: np.ndarray | None, block_outputs: int, report: Progress) -> Network:
    """Make the integers, layer by layer; with samples, correct every output for the mean effect of all roundings before it."""
    inputs = packed_classes(fits[0])
    input_scale = float(scaled[0].steps[0])
    input_order = np.concatenate([features for _, features in inputs])
    wanted = integers = None
    if samples is not None:
        wanted = samples
        integers = np.clip(np.rint(samples / input_scale), -128, 127).astype(np.int8)[:, input_order]
    layers: list[Layer] = []
    for number, (source, fit, order) in enumerate(zip(scaled, fits, orders, strict=True)):
        last, relu = number == len(scaled) - 1, source.source.relu
        bias, rows = source.source.bias[order].astype(np.float64), source.rows[order]
        unit = level_unit(fit, bias / rows)
        value = rows * unit
        layer = bare_layer(fit, unit, block_outputs, relu, raw=last and not relu)
        if samples is not None:
            wanted = wanted @ source.source.weight.T + source.source.bias
            gain, offset = correction(wanted[:, order] - bias, layer.accumulate(integers) * value)
            value, bias = value * gain, bias + offset
            wanted = np.maximum(wanted, 0.0) if relu else wanted
        steps = _result_steps(statistics, scaled, fits, number, order)
        layers.append(with_parameters(layer, value, bias, None if last and not relu else steps))
        if samples is not None and not last:
            integers = layers[-1].compute(integers)
        report("assemble layers", number + 1, len(scaled))
    output_scale = value if layers[-1].raw else steps
    slots = layers[0].feature_slots
    input_class = np.empty(len(input_order), dtype=np.uint8)
    input_class[input_order] = slots
    return Network(tuple(layers), input_scale, input_class, output_scale.astype(np.float32))


def _result_steps(statistics: list[Statistics], scaled: list[_Scaled], fits: list[ClassFit], number: int, order: np.ndarray) -> np.ndarray:
    """What one int8 step of each result of layer ``number`` is worth, in the order of its outputs; 0 where nobody reads it."""
    if number + 1 == len(scaled):
        peak = statistics[-1].result_peak
        return np.where(peak > 0, peak, 1.0) / 127.0
    return np.where(fits[number + 1].assignment == EMPTY, 0.0, scaled[number + 1].steps)[order]
