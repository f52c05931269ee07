"""What activations are like: their spread and range, how much they matter, and the integers that rescale them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..format import MAX_SHIFT
from ..functions import IDENTITY, Function
from ..importers.float_network import FloatLayer, FloatNetwork, check_samples
from .covariance import unexplained_share

INPUT_PEAK = 1.0          # without calibration data: inputs are assumed to lie in -1..1 or 0..1
HIDDEN_MARGIN = 2.0       # without calibration data: hidden ranges are those of made-up inputs times this
_ASSUMED_SAMPLES = 256
_MOST_SAMPLES = 8192      # of calibration data, evenly spaced
_PRIOR_SAMPLES = 16.0     # how many samples a statistic needs to be half believed
_MADE_UP_DOUBT = 0.3     # share of the average feature in every feature's statistics when samples are made up
_PROBES = 2
_CONSTANT = 1e-12         # of the squared mean: less variance is rounding of a constant, and tells no gain
_TAIL_PLACES = 8          # of the largest magnitudes that tell how they thin out
_STEPS = 127.0            # int8 steps from zero to the peak
_CLIPS = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of one layer.

    Members
    -------
    mean, square : float64 [N]
        Mean and mean square of each input feature.
    peak : float64 [N]
        Largest magnitude of each input feature that int8 must represent.
    sensitivity : float64 [M]
        Mean square of the change of the network's results for a unit change of each output (before ReLU), summed over results.
    result_peak : float64 [M]
        Largest magnitude of each output (after ReLU) that int8 must represent.
    unexplained : float64 [N]
        Part of each input feature's variance, 0 to 1, for which feedback of errors to other features cannot make up.
    tail : float
        How far beyond the largest magnitudes seen those of other samples lie, if they do, in parts of them; 0 if samples were made up.
    """

    mean: np.ndarray
    square: np.ndarray
    peak: np.ndarray
    sensitivity: np.ndarray
    result_peak: np.ndarray
    unexplained: np.ndarray
    tail: float = 0.0


def calibration_samples(calibration: np.ndarray, inputs: int, what: str = "Calibration data") -> np.ndarray:
    """At most 8192 evenly spaced samples, float32 [S, inputs]; InputError if the data are unusable."""
    samples = check_samples(calibration, inputs, what)
    return samples[np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _MOST_SAMPLES)).astype(np.int64))]


def assumed_samples(inputs: int, seed: int = 0) -> np.ndarray:
    """Made-up inputs float32 [S, inputs] for a network that comes without calibration data.

    Half of them are positive (pixels, ReLU results) and half signed (embeddings), each with a common part, because real features
    are correlated and so drive hidden layers harder than independent ones.
    """
    rng = np.random.default_rng(seed)
    own = rng.random((_ASSUMED_SAMPLES, inputs))
    common = rng.random((_ASSUMED_SAMPLES, 1))
    positive = INPUT_PEAK * own * common
    positive[1::2] *= rng.choice([-1.0, 1.0], (_ASSUMED_SAMPLES // 2, inputs))
    positive[0, :] = INPUT_PEAK
    return positive.astype(np.float32)


def measure(network: FloatNetwork, samples: np.ndarray, real: bool) -> list[Statistics]:
    """Statistics of every layer on float32 [S, inputs] samples.

    Parameters
    ----------
    real : bool
        Whether the samples are calibration data rather than made up.
    """
    values = network.layer_inputs(samples)
    peaks = [clip_peak(samples) * (hidden_margin(len(samples), real) if real else 1.0)]
    margin = hidden_margin(len(samples), real)
    peaks += [result_peaks(layer, *around, margin) for layer, around in zip(network, pairwise(values), strict=True)]
    sensitivities = _sensitivities(network, values)
    return [Statistics(features.mean(axis=0, dtype=np.float64), np.square(features, dtype=np.float64).mean(axis=0), peaks[number],
                       sensitivities[number], peaks[number + 1], unexplained_share(features) if real else np.ones(features.shape[1]),
                       mean_excess(features) if real else 0.0)
            for number, features in enumerate(values[:-1])]


def mean_excess(values: np.ndarray) -> float:
    """How fast the largest magnitudes of the columns of float [S, N] thin out: the mean excess over a large one, in parts of the largest.

    If a tail is exponential, the distance between the largest magnitude and the one k places below it is the mean excess times 1 + 1/2 + ... + 1/k,
    on average (Renyi 1953). Where a range just ends, magnitudes are dense there, and next to nothing lies beyond. One column
    tells little, so this is the mean of all that are not zero.
    """
    places = min(_TAIL_PLACES, len(values) - 1)
    if places < 1:
        return 0.0
    top = np.partition(np.abs(values), (len(values) - 1 - places, len(values) - 1), axis=0).astype(np.float64)
    largest, below = top[-1], top[-1 - places]
    alive = largest > 0
    ratios = (largest - below)[alive] / largest[alive]
    return float(ratios.mean() / (1.0 / np.arange(1, places + 1)).sum()) if alive.any() else 0.0


def hidden_margin(samples: int, real: bool) -> float:
    """By how much ranges of hidden features are wider than those of the samples."""
    return 1.0 + 1.0 / np.sqrt(samples) if real else HIDDEN_MARGIN


def result_peaks(layer: FloatLayer, features: np.ndarray, results: np.ndarray, margin: float) -> np.ndarray:
    """Per result of a layer the largest magnitude that int8 must represent, float64 [M]: with a bounded ReLU the bound, where that is reached.

    In front of a homogeneous function integers have the step that they have behind it, so that is where magnitudes are taken.
    """
    function = layer.function
    if function.needs_table:
        return clip_peak(layer.sums(features), function) * margin if function.homogeneous else clip_peak(results)
    peaks = clip_peak(results) * margin
    return np.where(results.max(axis=0) >= function.clamp[1], function.clamp[1], np.minimum(peaks, function.clamp[1]))


def _sensitivities(network: FloatNetwork, values: list[np.ndarray]) -> list[np.ndarray]:
    """Per layer float64 [M]: mean square of d results / d output, estimated with random signs (Hutchinson 1989)."""
    rng = np.random.default_rng(1)
    found: list[np.ndarray] = [np.zeros(layer.outputs) for layer in network]
    slopes = [_slopes(layer, *around) for layer, around in zip(network, pairwise(values), strict=True)]
    for _ in range(_PROBES):
        gradient = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), values[-1].shape)
        for number in reversed(range(len(network))):
            layer = network.layers[number]
            gradient = gradient * slopes[number]
            found[number] += np.square(gradient, dtype=np.float64).mean(axis=0) / _PROBES
            gradient = gradient @ layer.weight
    return found


def _slopes(layer: FloatLayer, features: np.ndarray, results: np.ndarray) -> np.ndarray:
    """The derivative of a layer's function for each sample and output."""
    if layer.function.is_identity:
        return np.ones(1, dtype=np.float32)
    return layer.function.slope(results if layer.function.is_rectifier else layer.sums(features))


def clip_peak(values: np.ndarray, function: Function = IDENTITY) -> np.ndarray:
    """The magnitude at which to clip each column to int8 for the least squared error, float64 [N], for float [S, N].

    With a homogeneous function, the error is that of its results, rounded to the same steps.
    """
    wanted = function(values)
    largest = np.abs(values).max(axis=0).astype(np.float64)
    best, best_error = largest, np.full(largest.shape, np.inf)
    for clip in _CLIPS:
        step = np.where(largest > 0, largest * clip / _STEPS, 1.0).astype(np.float32)
        rounded = function(np.clip(np.rint(values / step), -_STEPS, _STEPS))
        error = np.square(np.rint(rounded) * step - wanted, dtype=np.float64).mean(axis=0)
        best = np.where(error < best_error, largest * clip, best)
        best_error = np.minimum(error, best_error)
    return best


def shifted(statistics: Statistics, offsets: np.ndarray) -> Statistics:
    """The statistics of the same features less ``offsets`` [N]; the peak stays, as nobody asks for it afterwards."""
    square = statistics.square - 2.0 * offsets * statistics.mean + np.square(offsets)
    return replace(statistics, mean=statistics.mean - offsets, square=square)


def believed_share(samples: int) -> float:
    """How far a statistic of so many samples is believed, 0 to 1."""
    return samples / (samples + _PRIOR_SAMPLES)


def importance(statistics: Statistics, scale: np.ndarray, samples: int) -> np.ndarray:
    """How much a squared weight error of each feature counts, float64 [N], for integer features of step ``scale`` [N].

    With calibration data the mean part of an error is corrected through the bias, so what counts is the variance. The fewer
    samples, the more the mean counts too, and the less a feature that was never seen to vary is given up. Of what feedback could make
    up for, the geometric mean of all and nothing counts, which was found by experiment.

    Parameters
    ----------
    samples : int
        Real samples behind the statistics; 0 if they were made up.
    """
    doubt = 1.0 - believed_share(samples)
    spread = np.maximum(statistics.square - (1.0 - doubt) * np.square(statistics.mean), 0.0)
    average_share = 1.0 / (samples + 1.0) if samples else _MADE_UP_DOUBT
    mixed = (1.0 - average_share) * spread + average_share * spread.mean()
    return mixed * np.sqrt(statistics.unexplained) / np.square(scale)


def correction(wanted: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset per output that bring ``found`` closest to ``wanted``, drawn towards 1 and 0 when samples are few.

    Parameters
    ----------
    wanted, found : float [S, M]

    Returns
    -------
    gain, offset : float64 [M]
        wanted is about gain * found + offset; gain is 0.5 to 2.
    """
    samples = len(wanted)
    mean_wanted, mean_found = wanted.mean(axis=0, dtype=np.float64), found.mean(axis=0, dtype=np.float64)
    centred = found - mean_found
    variance = np.square(centred).mean(axis=0)
    covariance = (centred * wanted).mean(axis=0)
    alive = variance > _CONSTANT * np.square(mean_found)
    gain = np.ones(len(variance))
    gain[alive] = (samples * covariance[alive] + _PRIOR_SAMPLES * variance[alive]) / ((samples + _PRIOR_SAMPLES) * variance[alive])
    gain = np.clip(gain, 0.5, 2.0)
    return gain, believed_share(samples) * (mean_wanted - gain * mean_found)


def requantisation(factors: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers that multiply by ``factors``: about mul / 2**shift, with the largest mul as large as uint16 allows.

    Parameters
    ----------
    factors : float64 [M]
        Not negative.

    Returns
    -------
    mul : uint16 [M]
    shift : int
        1 to 47, one for all.
    """
    largest = float(factors.max())
    shift = MAX_SHIFT if largest <= 0 else int(np.clip(np.floor(np.log2(65535.0 / largest)), 1, MAX_SHIFT))
    return np.clip(np.rint(np.ldexp(factors, shift)), 0, 65535).astype(np.uint16), shift
