"""Bits over layers, classes and blocks: one slope for all, found by bisection, so that an image has the size asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .classes import ClassFit, header_bits
from .errors import ModelError
from .format import IMAGE_HEADER, padded

CLASS_COUNTS = (1, 2, 3, 4, 6)  # tried beside the 8 that the search starts with
_FIRST_CLASSES = 8
_SAMPLE_WEIGHTS = 1 << 19  # the slope is searched on about this many weights a layer
_SAMPLE_FEATURES = 256     # but on no fewer features
_TOLERANCE = 0.004         # of the target, left unused at most by the search; ``spend`` uses it later

Progress = Callable[[str, int, int], None]


def fixed_bits(inputs: int, outputs: int, word_bits: int) -> int:
    """Bits of an image outside of its layers: header and host section."""
    host_bytes = 4 + 2 + 2 + 4 * outputs + (inputs + 1) // 2
    return 8 * (padded(IMAGE_HEADER.itemsize, word_bits // 8) + host_bytes)


def check_target(bits: float, shapes: list[tuple[int, int]], block_outputs: int, word_bits: int) -> float:
    """Bits that the layers' part of an image may take so that the whole image has ``bits`` bits a weight.

    Parameters
    ----------
    bits : float
    shapes : list of (outputs, features)

    Raises
    ------
    ModelError
        If headers, biases and multipliers alone take more.
    """
    weights = sum(outputs * features for outputs, features in shapes)
    fixed = fixed_bits(shapes[0][1], shapes[-1][0], word_bits)
    least = fixed + sum(header_bits(min(block_outputs, outputs - start), 1, word_bits)
                        for outputs, _ in shapes for start in range(0, outputs, block_outputs))
    if not bits * weights >= least:
        raise ModelError(f"Target of {bits} bits a weight cannot be reached: headers, biases and multipliers of this network alone "
                         f"take {least / weights:.3f}, so ask for more")
    return bits * weights - fixed


def sampled_fit(weights: np.ndarray, importance: np.ndarray, block_outputs: int, word_bits: int, levels: int,
                classes: int = _FIRST_CLASSES) -> ClassFit:
    """A ClassFit of all columns of a small layer, or of evenly spaced columns of a large one."""
    outputs, features = weights.shape
    wanted = max(_SAMPLE_WEIGHTS // outputs, _SAMPLE_FEATURES)
    columns = np.unique(np.linspace(0, features - 1, min(wanted, features)).round().astype(np.int64))
    return ClassFit(weights[:, columns], importance[columns], block_outputs, word_bits, classes, features / len(columns), levels)


def search_slope(image_bits: Callable[[float], float], target: float, start: float, steps: int, done: Callable[[int], None] | None = None) -> float:
    """The smallest slope found for which ``image_bits(slope)`` is at most ``target``.

    Parameters
    ----------
    image_bits : function
        Bits at a slope; falls as the slope rises, but for small irregularities.
    target : float
    start : float
        First guess, positive.
    steps : int
        Most calls.
    done : function, optional
        Called with the number of calls so far.
    """
    too_small, enough = None, None
    slope, factor = start, 4.0
    for step in range(steps):
        taken = image_bits(slope)
        if done:
            done(step + 1)
        if taken <= target:
            enough = slope
            if taken >= target * (1 - _TOLERANCE):
                break
        else:
            too_small = slope
        if too_small and enough:
            slope = float(np.sqrt(too_small * enough))
        else:
            slope = slope * factor if enough is None else slope / factor
            factor *= 1.5
    return enough or slope


def best_class_count(fit: ClassFit, slope: float, make: Callable[[int], ClassFit]) -> ClassFit:
    """The cheapest fit at this slope among ``fit`` and those that ``make`` makes for other numbers of classes."""
    best, best_cost = fit, fit.improve(slope, 2)
    for classes in CLASS_COUNTS:
        rival = make(classes)
        cost = rival.improve(slope, 5)
        if cost < best_cost:
            best, best_cost = rival, cost
    return best


def fit_to_target(fits: list[ClassFit], target: float, slope: float) -> bool:
    """Refit the sequences, with the features' classes as they are, so that all layers together fill ``target`` bits.

    Returns
    -------
    bool
        False if these classes cannot be made small enough.
    """
    def image_bits(trial: float) -> float:
        for fit in fits:
            fit.refit(trial)
        return sum(fit.image_bits() for fit in fits)

    slope = search_slope(image_bits, target, slope, 12)
    left = target - image_bits(slope)
    if left < 0:
        return False
    for fit in fits:
        left = fit.spend(left)
    return True
