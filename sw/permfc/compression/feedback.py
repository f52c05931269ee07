"""Error feedback: what rounding does to one feature's weights is made up for by the weights of the features that come later.

Inputs are correlated, so an error in one column can be cancelled in part by others. Columns are rounded one after the other; after each, the
remaining ones move to where the squared error of the outputs is least (optimal brain surgery in a fixed order: Frantar et al., GPTQ, 2022).
Here a column is rounded to a permutation of its class's sequence, or to the nonzero weights that fit into its class's bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .classes import packed_features
from .covariance import feature_groups, shrunk_covariance, upper_factor
from .quantiser import Quantiser

RoundColumn = Callable[[int, np.ndarray], np.ndarray]
"""Function (feature, float32 [M]) -> [M]: the weights that a feature gets instead of the given ones."""

_JUDGED = 5            # every so manieth sample tells whether feedback helps
_PANEL = 128           # columns between updates of all that follow: the bulk of the work becomes matrix products


def fed_back(quantiser: Quantiser, x: np.ndarray) -> np.ndarray:
    """The weights of the quantiser's fit, moved so that rounding them makes the least error in the layer's outputs.

    Parameters
    ----------
    quantiser : Quantiser
    x : int8 [S, N]
        What the layer receives for the calibration data, in packed order. Every fifth sample is kept to judge by.

    Returns
    -------
    float32 [M, N]
        The weights as they were if the moved ones are no better on samples that were kept.
    """
    fit = quantiser.fit
    judged = np.arange(len(x)) % _JUDGED == _JUDGED - 1
    if not judged.any():
        return fit.weights
    packed = packed_features(fit)
    known, kept = x[~judged].astype(np.float32), x[judged].astype(np.float32)
    columns = np.ascontiguousarray(fit.weights[:, packed].T)
    moved = columns.copy()
    for group in feature_groups(known):
        labels = fit.assignment[packed[group]]
        moved[group] = compensated(columns[group], shrunk_covariance(known[:, group]), _rounding(quantiser, labels))
    rounding = _rounding(quantiser, fit.assignment[packed])
    if _error(moved, columns, rounding, kept) >= _error(columns, columns, rounding, kept):
        return fit.weights
    weights = np.empty_like(fit.weights)
    weights[:, packed] = moved.T
    return weights


def _rounding(quantiser: Quantiser, labels: np.ndarray) -> RoundColumn:
    """The function that rounds columns of features of the classes ``labels``."""
    return lambda feature, column: quantiser.integers(labels[feature], column) * np.float32(quantiser.unit)


def _error(columns: np.ndarray, wanted: np.ndarray, round_column: RoundColumn, x: np.ndarray) -> float:
    """Variance of the error that rounded ``columns`` [N, M] make in the outputs for ``x`` [S, N]: its mean is corrected anyway."""
    rounded = np.stack([round_column(feature, column) for feature, column in enumerate(columns)])
    return float((x @ (rounded - wanted)).var(axis=0, dtype=np.float64).sum())


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

