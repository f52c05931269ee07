"""Bits over layers, classes and blocks: one slope for all, found by bisection, so that an image has the size asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..progress import Progress
from .classes import ClassFit, packed_features
from .overhead import Storage
from .scaling import ScaledLayer

CLASS_COUNTS = (1, 2, 3, 4, 6, 12)  # tried beside the 8 that the search starts with
_FIRST_CLASSES = 8
_SAMPLE_WEIGHTS = 1 << 19  # the slope is searched on about this many weights a layer
_SAMPLE_FEATURES = 256     # but on no fewer features
_TOLERANCE = 0.004         # of the target, left unused at most by the search; ``spend`` uses it later
_SEARCH_STEPS = 14
_FIRST_SLOPE = 0.05        # of the mean energy of a weight, a bit: about 2 bits a weight


@dataclass(frozen=True)
class Budget:
    """Layers that share an amount of bits, and so an exchange rate of error for bits.

    Members
    -------
    layers : tuple of int
    bits : float
        Of these layers' part of the image.
    """

    layers: tuple[int, ...]
    bits: float


def allocate(scaled: list[ScaledLayer], storages: list[Storage], budgets: list[Budget],
             report: Progress) -> tuple[list[ClassFit], list[np.ndarray]]:
    """Fit all layers within the budgets.

    Returns
    -------
    fits : list of ClassFit
    orders : list of int64 [M]
        Per layer, the order of its outputs.
    """
    slopes, class_counts = [0.0] * len(scaled), [0] * len(scaled)
    for number, budget in enumerate(budgets):
        layers = [(scaled[layer], storages[layer]) for layer in budget.layers]
        slope, counts = _search(layers, budget.bits, lambda done, before=number: report(
            "search bit allocation", before * _SEARCH_STEPS + done, len(budgets) * _SEARCH_STEPS))
        for layer, count in zip(budget.layers, counts, strict=True):
            slopes[layer], class_counts[layer] = slope, count
        report("choose classes", number + 1, len(budgets))
    growth = 1.0
    while True:  # at the latest, no feature is worth its bits, and that fits: whoever made the budgets knows
        fits, orders = _fit(scaled, storages, class_counts, slopes, report)
        left = [fit_to_target([fits[layer] for layer in budget.layers], budget.bits, slopes[budget.layers[0]]) for budget in budgets]
        over = [budget for budget, rest in zip(budgets, left, strict=True) if rest < 0]
        if not over:
            for budget, rest in zip(budgets, left, strict=True):
                _spend(fits, budget, rest)
            return fits, _reordered(scaled, fits, orders)
        growth *= 1.5
        for budget in over:
            for layer in budget.layers:
                slopes[layer] *= growth


def _spend(fits: list[ClassFit], budget: Budget, left: float) -> None:
    """Spend the bits that are left: on features without weights, on longer sequences, on features of int8.

    Features change their classes only where their new order does not change the blocks of the layer before.
    """
    movable = [fits[layer] for layer in budget.layers
               if layer == 0 or len(fits[layer - 1].weights) <= fits[layer - 1].storage.block_outputs]
    for fit in movable:
        left = fit.revive(left)
    for layer in budget.layers:
        left = fits[layer].spend(left)
    for fit in movable:
        left = fit.promote(left)


def _reordered(scaled: list[ScaledLayer], fits: list[ClassFit], orders: list[np.ndarray]) -> list[np.ndarray]:
    """The orders of outputs that the features' classes ask for, after bringing the fits' weights into them."""
    orders = [*(packed_features(fit) for fit in fits[1:]), orders[-1]]
    for layer, fit, order in zip(scaled, fits, orders, strict=True):
        fit.weights = layer.weights[order]
    return orders


def _search(layers: list[tuple[ScaledLayer, Storage]], target: float, done: Callable[[int], None]) -> tuple[float, list[int]]:
    """The slope that gives about the target size, and the best number of classes of each layer at that slope."""
    fits = [sampled_fit(layer, storage) for layer, storage in layers]
    slope = common_slope(fits, [1.0] * len(fits), target, done)
    best = [best_class_count(fit, slope, lambda classes, layer=layer, storage=storage: sampled_fit(layer, storage, classes))
            for fit, (layer, storage) in zip(fits, layers, strict=True)]
    return slope, [fit.classes for fit in best]


def common_slope(fits: Sequence[ClassFit], worths: Sequence[float], target: float, done: Callable[[int], None] | None = None) -> float:
    """Improve fits until all together have about ``target`` bits, at one slope, which is returned, over what a unit of each one's error is worth."""
    rounds = [5] + [2] * _SEARCH_STEPS

    def image_bits(slope: float) -> float:
        rounds_now = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        for fit, worth in zip(fits, worths, strict=True):
            fit.improve(slope / worth, rounds_now)
        return sum(fit.image_bits() for fit in fits)

    return search_slope(image_bits, target, _FIRST_SLOPE, _SEARCH_STEPS, done)


def _fit(scaled: list[ScaledLayer], storages: list[Storage], class_counts: list[int], slopes: list[float],
         report: Progress) -> tuple[list[ClassFit], list[np.ndarray]]:
    """Fit all features of all layers, last layer first, as its order of features is the order of outputs of the one before."""
    fits: list[ClassFit] = []
    orders: list[np.ndarray] = []
    order = np.arange(len(scaled[-1].rows))
    for layer, storage, classes, slope in reversed(list(zip(scaled, storages, class_counts, slopes, strict=True))):
        fit = ClassFit(layer.weights[order], layer.importance, storage, classes)
        fit.settle(slope)
        fits.insert(0, fit)
        orders.insert(0, order)
        order = packed_features(fit)
        report("fit classes", len(fits), len(scaled))
    return fits, orders


def sampled_fit(layer: ScaledLayer, storage: Storage, classes: int = _FIRST_CLASSES) -> ClassFit:
    """A ClassFit of all columns of a small layer, or of evenly spaced columns of a large one."""
    outputs, features = layer.weights.shape
    wanted = max(_SAMPLE_WEIGHTS // outputs, _SAMPLE_FEATURES)
    columns = np.unique(np.linspace(0, features - 1, min(wanted, features)).round().astype(np.int64))
    return ClassFit(layer.weights[:, columns], layer.importance[columns], storage, classes, features / len(columns))


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
    """The cheapest fit at this slope among ``fit`` and those that ``make`` makes for other numbers of classes of sequences, if it has any."""
    best, best_cost = fit, fit.settle(slope)
    for classes in CLASS_COUNTS if fit.storage.has_sequences else ():
        rival = make(classes)
        cost = rival.settle(slope)
        if cost < best_cost:
            best, best_cost = rival, cost
    return best


def fit_to_target(fits: list[ClassFit], target: float, slope: float) -> float:
    """Refit the sequences, with the features' classes as they are, so that all layers together fill ``target`` bits.

    Returns
    -------
    float
        Bits that are left; negative if these classes cannot be made small enough.
    """
    def image_bits(trial: float) -> float:
        for fit in fits:
            fit.refit(trial)
        return sum(fit.image_bits() for fit in fits)

    slope = search_slope(image_bits, target, slope, 12)
    return target - image_bits(slope)
