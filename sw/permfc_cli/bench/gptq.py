"""Grouped integers whose rounding errors are made up for by the weights that follow (GPTQ: Frantar et al., 2022)."""

from __future__ import annotations

import numpy as np

from .peers import GROUP, Stored, group_range, rounded, stored_in_groups

_DAMPING = 0.01  # of the mean of the diagonal, the paper's


def gptq(weights: np.ndarray, x: np.ndarray, bits: int) -> Stored:
    """Round the inputs' weights one input after the other; what an input's rounding changes in the outputs, later inputs correct.

    Parameters
    ----------
    weights : float32 [M, N]
    x : float32 [S, N]
        What reaches the layer for the calibration samples.
    bits : int
        Of a weight; scales and zero points for 64 of an output come on top.

    Returns
    -------
    Stored
    """
    left = weights.astype(np.float64)
    left[:, ~x.any(axis=0)] = 0  # what is never used costs nothing
    correction = _correction(x)
    values = np.empty_like(left)
    for first in range(0, left.shape[1], GROUP):
        group = left[:, first:first + GROUP].astype(np.float32)
        scale, zero = group_range(group, np.ones_like(group, dtype=bool), bits)
        for number in range(first, first + group.shape[1]):  # each depends on the one before
            values[:, number] = rounded(left[:, number], scale[:, 0], zero[:, 0], bits)
            error = (left[:, number] - values[:, number]) / correction[number, number]
            left[:, number + 1:] -= error[:, None] * correction[number, number + 1:]
    return stored_in_groups(weights, values, bits)


def _correction(x: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the inverse of the inputs' second moments, float64 [N, N]."""
    moments = x.T.astype(np.float64) @ x
    unused = np.diag(moments) == 0
    moments[unused, unused] = 1
    moments += _DAMPING * np.diag(moments).mean() * np.eye(len(moments))
    return np.linalg.cholesky(np.linalg.inv(moments)).T
