"""How the features of a layer vary together: what feedback of rounding errors can use, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_MOST_FEATURES = 4096  # in one group: bounds the memory and time of the factorisation
_LEAST_RIDGE = 1e-3    # of the mean variance, added to every feature's so that features that never vary do no harm
_RIDGES = (_LEAST_RIDGE, 1e-2, 0.1, 0.5)  # from much trust in the samples to little
_JUDGED = 5           # the last of so many parts of the samples tells how much trust the others deserve


def shrunk_covariance(x: np.ndarray, ridge: float = _LEAST_RIDGE) -> np.ndarray:
    """The covariance of the columns of ``x`` [S, N], float64 [N, N], its off-diagonal part drawn towards 0 when samples are few.

    The factor minimises the expected squared error of the estimate (Schaefer, Strimmer, 2005); ``ridge`` times the mean
    variance is added to the variance of every feature.
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
    np.fill_diagonal(covariance, variance + ridge * variance.mean() + 1e-30)
    return covariance


def best_ridge(x: np.ndarray) -> float | None:
    """The ridge with which feedback leaves least error on unseen samples; None if no feedback leaves less.

    Parameters
    ----------
    x : float [S, N]
        Columns in the order in which they are rounded. Of many columns, the first ones decide. The last fifth of
        the samples is kept to judge by, so fewer than five samples get None.
    """
    judged = judging(len(x))
    if not judged.any():
        return None
    known = x[~judged, :_MOST_FEATURES]
    kept = x[judged, :_MOST_FEATURES] - known.mean(axis=0, dtype=np.float64)
    covariance = shrunk_covariance(known, 0.0)
    mean_variance = covariance.diagonal().mean()
    best, least = None, float(np.square(kept).sum())
    for ridge in _RIDGES:
        error = _error_left(covariance + ridge * mean_variance * np.eye(len(covariance)), kept)
        if error >= least:
            if best is not None:
                break  # it only rises from here
            continue
        best, least = ridge, error
    return best


def judging(samples: int) -> np.ndarray:
    """The samples that judge what the others say, bool [S]: the last ones, which differ from the others where samples are sorted."""
    return np.arange(samples) >= samples - samples // _JUDGED


def _error_left(covariance: np.ndarray, kept: np.ndarray) -> float:
    """Squared error of outputs for centred samples ``kept`` [S, N] if the error of each feature is 1 and fed back."""
    factor = upper_factor(covariance)
    return float(np.square(factor.diagonal()[:, None] * np.linalg.solve(factor, kept.T)).sum())


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
    groups = list(feature_groups(x))
    ridge = best_ridge(x[:, groups[0]])
    if ridge is None:
        return share
    for group in groups:
        covariance = shrunk_covariance(x[:, group], ridge)
        share[group] = np.square(upper_factor(covariance).diagonal()) / covariance.diagonal()
    return np.clip(share, 0.0, 1.0)
