"""Weights that make up for what the layers before have done to the features of a layer.

Compressed layers give features that differ from those of the float network, and the difference is correlated with the features themselves.
The weights that give the float network's sums from the features as they are now are found by ridge regression; the step towards them
is the one that serves samples which did not take part. (The first half of what GPTAQ does: Li et al., 2025.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .covariance import judging

_LEAST_JUDGED = 16  # samples that judge: fewer are led astray by chance
_RIDGES = (1e-3, 1e-2, 0.1, 1.0)  # of the mean variance, from much trust in the samples to little


def matched(columns: np.ndarray, x: np.ndarray, aim: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """The columns that bring ``x @ columns`` closest to ``aim``, but for a constant per output; as they are if samples do not tell better ones.

    Parameters
    ----------
    columns : float32 [N, M]
    x : float32 [S, N]
    aim : float32 [S, M]
    groups : sequence of int64 arrays
        Features that are moved together.
    """
    judged = judging(len(x))
    if judged.sum() < _LEAST_JUDGED:
        return columns
    columns, x = columns.copy(), x - x.mean(axis=0)
    missing = aim - aim.mean(axis=0) - x @ columns
    for group in groups:
        features = x[:, group]
        ridge = _best_ridge(features[~judged], missing[~judged], features[judged], missing[judged])
        if ridge is not None:
            step = _regression(*_products(features, missing), ridge)
            columns[group] += step
            missing -= features @ step
    return columns


def _best_ridge(x: np.ndarray, missing: np.ndarray, kept: np.ndarray, kept_missing: np.ndarray) -> float | None:
    """The ridge with which regression leaves least error on samples that were kept from it; None if no regression leaves less."""
    best, least = None, float(np.square(kept_missing, dtype=np.float64).sum())
    products = _products(x, missing)
    for ridge in _RIDGES:
        error = float(np.square(kept_missing - kept @ _regression(*products, ridge), dtype=np.float64).sum())
        if error < least:
            best, least = ridge, error
    return best


def _products(x: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over samples, float64: squares and products of features [N, N], and of features and what is missing [N, M]."""
    return (x.T @ x).astype(np.float64), (x.T @ missing).astype(np.float64)


def _regression(squares: np.ndarray, mixed: np.ndarray, ridge: float) -> np.ndarray:
    """float32 [N, M]: what is missing for each unit of each feature."""
    raised = squares.copy()
    raised[np.diag_indices_from(raised)] += ridge * squares.diagonal().mean() + 1e-30
    return np.linalg.solve(raised, mixed).astype(np.float32)
