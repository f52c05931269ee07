"""Error feedback: what rounding does to one feature's weights is made up for by the weights of the features that come later.

Inputs are correlated, so an error in one column can be cancelled in part by others. Columns are rounded one after the other; after each, the
remaining ones move to where the squared error of the outputs is least (optimal brain surgery in a fixed order: Frantar et al., GPTQ, 2022).
Here a column is rounded to a permutation of its class's sequence, or to the nonzero weights that fit into its class's bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .classes import packed_features
from .quantiser import Quantiser

RoundColumn = Callable[[int, np.ndarray], np.ndarray]
"""Function (feature, float32 [M]) -> [M]: the weights that a feature gets instead of the given ones."""

_JUDGED = 5            # every so manieth sample tells whether feedback helps
_PANEL = 128      # columns between updates of all that follow: the bulk of the work becomes matrix products
_MOST_FEATURES = 4096  # that compensate each other: bounds the memory and time of the factorisation
_LEAST_SHARE = 1e-3    # of the mean variance, added to every feature's so that features that never vary do no harm


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
    order = np.argsort(-known.var(axis=0), kind="stable")
    columns = np.ascontiguousarray(fit.weights[:, packed].T)
    moved = columns.copy()
    for start in range(0, len(order), _MOST_FEATURES):
        group = order[start:start + _MOST_FEATURES]
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


def shrunk_covariance(x: np.ndarray) -> np.ndarray:
    """The covariance of the columns of ``x`` [S, N], float64 [N, N], its off-diagonal part drawn towards 0 when samples are few.

    The factor minimises the expected squared error of the estimate (Schaefer, Strimmer, 2005).
    """
    samples = len(x)
    centred = x - x.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred / samples
    squares = np.square(centred)
    noise = (squares.T @ squares / samples - np.square(covariance)) / samples
    diagonal = np.eye(len(covariance), dtype=bool)
    signal = float(np.square(covariance)[~diagonal].sum())
    kept = 0.0 if signal <= 0 else max(0.0, 1.0 - float(noise[~diagonal].sum()) / signal)
    covariance[~diagonal] *= kept
    covariance[diagonal] += _LEAST_SHARE * covariance[diagonal].mean() + 1e-30
    return covariance


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
    upper = _inverse_factor(covariance).astype(np.float32)
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


def _inverse_factor(covariance: np.ndarray) -> np.ndarray:
    """Upper triangular U with U.T @ U the inverse of ``covariance``: row j says how later features take over an error of feature j."""
    reverse = np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1]  # covariance = reverse @ reverse.T, upper triangular
    return np.linalg.inv(reverse)
