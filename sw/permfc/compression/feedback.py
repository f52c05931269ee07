"""Error feedback: what rounding does to one feature's weights is made up for by the weights of the features that come later.

Inputs are correlated, so an error in one column can be cancelled in part by others. Columns are rounded one after the other; after each, the
remaining ones move to where the squared error of the outputs is least (optimal brain surgery in a fixed order: Frantar et al., GPTQ, 2022).
Here a column is rounded to a permutation of its class's sequence, or to the nonzero weights that fit into its class's bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .classes import packed_features
from .covariance import best_ridge, feature_groups, shrunk_covariance, upper_factor
from .quantiser import Quantiser

RoundColumn = Callable[[int, np.ndarray], np.ndarray]
"""Function (feature, float32 [M]) -> [M]: the weights that a feature gets instead of the given ones."""

_PANEL = 128           # columns between updates of all that follow: the bulk of the work becomes matrix products


def fed_back(quantiser: Quantiser, x: np.ndarray) -> np.ndarray:
    """The weights of the quantiser's fit, moved so that rounding them makes the least error in the layer's outputs.

    Parameters
    ----------
    quantiser : Quantiser
    x : int8 [S, N]
        What the layer receives for the calibration data, in packed order.

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
    weights = np.empty_like(fit.weights)
    for group in groups:
        covariance = shrunk_covariance(x[:, group], ridge)
        moved = compensated(columns[group], covariance, _rounding(quantiser, fit.assignment[packed[group]]))
        weights[:, packed[group]] = moved.T
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

