"""Error feedback: what rounding does to one feature's weights is made up for by the weights of the others.

Before that, weights move to where they make up for what the layers before have done to the features (``matched``).
Inputs are correlated, so an error in one column can be cancelled in part by others. Columns are rounded one after the other; after each, the
remaining ones move to where the squared error of the outputs is least (optimal brain surgery in a fixed order: Frantar et al., GPTQ, 2022).
Here a column is rounded to a permutation of its class's sequence, or to the nonzero weights that fit into its class's bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .classes import packed_features
from .covariance import best_ridge, feature_groups, shrunk_covariance, upper_factor
from .matching import matched
from .quantiser import Quantiser

RoundColumn = Callable[[int, np.ndarray], np.ndarray]
"""Function (feature, float32 [M]) -> [M]: the weights that a feature gets instead of the given ones."""

_PANEL = 128     # columns between updates of all others: the bulk of the work becomes matrix products
_PASSES = 8      # of descent over all columns, at most,
_LARGE = 1 << 23  # but of larger layers one, as each takes minutes
_WORTH = 0.01    # of the error: a pass that saves less was the last


def fed_back(quantiser: Quantiser, x: np.ndarray, aim: np.ndarray | None = None) -> np.ndarray:
    """The weights of the quantiser's fit, moved so that rounding them makes little error in the layer's outputs.

    Parameters
    ----------
    quantiser : Quantiser
    x : int8 [S, N]
        What the layer receives for the calibration data, in packed order.
    aim : float [S, M] or None
        The sums that the layer shall give, but for a constant per output, in units of the fit's weights; None: those of its weights.

    Returns
    -------
    float32 [M, N]
        The weights as they were if the samples do not tell how features vary together.
    """
    fit, x = quantiser.fit, x.astype(np.float32)
    groups = list(feature_groups(x))
    ridge = best_ridge(x[:, groups[0]])
    if ridge is None:
        return fit.weights
    packed = packed_features(fit)
    columns = np.ascontiguousarray(fit.weights[:, packed].T)
    if aim is not None:
        columns = matched(columns, x, aim, groups)
    weights = np.empty_like(fit.weights)
    for group in groups:
        covariance = shrunk_covariance(x[:, group], ridge)
        rounding = _rounding(quantiser, fit.assignment[packed[group]])
        moved = compensated(columns[group], covariance, rounding)
        weights[:, packed[group]] = descended(columns[group], moved, covariance, rounding).T
    return weights


def _rounding(quantiser: Quantiser, labels: np.ndarray) -> RoundColumn:
    """The function that rounds columns of features of the classes ``labels``."""
    return lambda feature, column: quantiser.integers(labels[feature], column) * np.float32(quantiser.unit)


def compensated(columns: np.ndarray, covariance: np.ndarray, round_column: RoundColumn) -> np.ndarray:
    """What each column should be rounded from.

    Parameters
    ----------
    columns : float32 [N, M]
        A row for each feature, in the order in which they are rounded.
    covariance : float [N, N]
        Of the features in that order; positive definite.
    round_column : RoundColumn

    Returns
    -------
    float32 [N, M]
        Rounding row j alone gives what it was rounded to here.
    """
    upper = np.linalg.inv(upper_factor(covariance)).astype(np.float32)  # upper.T @ upper is the inverse of the covariance
    remaining = columns.astype(np.float32, copy=True)
    for start in range(0, len(columns), _PANEL):
        panel = slice(start, min(start + _PANEL, len(columns)))
        errors = np.empty_like(remaining[panel])
        for number, feature in enumerate(range(panel.start, panel.stop)):
            errors[number] = (remaining[feature] - round_column(feature, remaining[feature])) / upper[feature, feature]
            later = slice(feature + 1, panel.stop)
            remaining[later] -= upper[feature, later, None] * errors[number]
        remaining[panel.stop:] -= upper[panel, panel.stop:].T @ errors
    return remaining


def descended(columns: np.ndarray, chosen: np.ndarray, covariance: np.ndarray, round_column: RoundColumn) -> np.ndarray:
    """What each column should be rounded from when each is rounded again, several times, with regard to all others, earlier ones too.

    Coordinate descent (Behdin et al., QuantEase, 2023): with the others as they are, the outputs have the least squared error if a column
    is the nearest that can be stored to where it would be without rounding.

    Parameters
    ----------
    columns, covariance, round_column
        As for ``compensated``.
    chosen : float32 [N, M]
        What the columns are rounded from at first.

    Returns
    -------
    float32 [N, M]
    """
    covariance, chosen = covariance.astype(np.float32), chosen.copy()
    rounded = np.stack([round_column(feature, column) for feature, column in enumerate(chosen)])
    pull = covariance @ (rounded - columns)  # half the gradient of the squared error
    left = float(np.vdot(rounded - columns, pull))
    for _ in range(_PASSES if columns.size <= _LARGE else 1):
        before = left
        for start in range(0, len(columns), _PANEL):
            left -= _descend(slice(start, min(start + _PANEL, len(columns))), chosen, rounded, pull, covariance, round_column)
        if left >= (1.0 - _WORTH) * before:
            break
    return chosen


def _descend(panel: slice, chosen: np.ndarray, rounded: np.ndarray, pull: np.ndarray, covariance: np.ndarray, round_column: RoundColumn) -> float:
    """Round the columns of a panel again, one after the other, in place; return by how much the squared error falls."""
    saved, moves = 0.0, np.zeros_like(rounded[panel])
    own = pull[panel].copy()
    for number, feature in enumerate(range(panel.start, panel.stop)):
        wanted = rounded[feature] - own[number] / covariance[feature, feature]
        again = round_column(feature, wanted)
        nearer = float(np.square(rounded[feature] - wanted).sum() - np.square(again - wanted).sum())
        if nearer > 0:
            saved += float(covariance[feature, feature]) * nearer
            moves[number] = again - rounded[feature]
            own += covariance[panel, feature, None] * moves[number]
            chosen[feature], rounded[feature] = wanted, again
    pull += covariance[:, panel] @ moves
    return saved
