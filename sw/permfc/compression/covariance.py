"""How the features of a layer vary together: what feedback of rounding errors can use, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_MOST_FEATURES = 4096  # in one group: bounds the memory and time of the factorisation
_LEAST_SHARE = 1e-3    # of the mean variance, added to every feature's so that features that never vary do no harm


def shrunk_covariance(x: np.ndarray) -> np.ndarray:
    """The covariance of the columns of ``x`` [S, N], float64 [N, N], its off-diagonal part drawn towards 0 when samples are few.

    The factor minimises the expected squared error of the estimate (Schaefer, Strimmer, 2005).
    """
    samples = len(x)
    centred = x - x.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred / samples
    squares = np.square(centred)
    noise = (squares.T @ squares / samples - np.square(covariance)) / samples
    variance = covariance.diagonal().copy()
    np.fill_diagonal(covariance, 0.0)
    np.fill_diagonal(noise, 0.0)
    signal = float(np.square(covariance).sum())
    covariance *= 0.0 if signal <= 0 else max(0.0, 1.0 - float(noise.sum()) / signal)
    np.fill_diagonal(covariance, variance + _LEAST_SHARE * variance.mean() + 1e-30)
    return covariance


def feature_groups(x: np.ndarray) -> Iterator[np.ndarray]:
    """The columns of ``x`` [S, N] in the order in which they are rounded, int64, in groups that compensate each other.

    Those that vary most come first, while all others can still make up for them.
    """
    order = np.argsort(-x.var(axis=0, dtype=np.float64), kind="stable")
    return (order[start:start + _MOST_FEATURES] for start in range(0, len(order), _MOST_FEATURES))


def upper_factor(covariance: np.ndarray) -> np.ndarray:
    """Upper triangular R with R @ R.T the ``covariance``. The square of its diagonal is the variance that later features do not explain."""
    return np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1]


def unexplained_share(x: np.ndarray) -> np.ndarray:
    """Per column of ``x`` [S, N], the part of its variance that columns rounded later do not explain, float64 [N] of 0 to 1."""
    share = np.ones(x.shape[1])
    for group in feature_groups(x):
        covariance = shrunk_covariance(x[:, group])
        share[group] = np.square(upper_factor(covariance).diagonal()) / covariance.diagonal()
    return np.clip(share, 0.0, 1.0)
