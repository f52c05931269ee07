"""The scales of a network's results as files hold them: half-precision numbers times a common power of two (docs/format.md)."""

from __future__ import annotations

import math

import numpy as np

LEAST_EXPONENT = -125  # so that the smallest half-precision number times the power is still a float32
MOST_SCALE = 2.0 ** 126  # may be rounded up to itself, not beyond float32


def split_scale(scale: np.ndarray) -> tuple[int, np.ndarray]:
    """Scales rounded to what files hold.

    The power of two brings the largest magnitude to 1 or more, but below 2; it is at least 2**-125, and 1 if all scales are 0. Scales
    below 2**-25 of the largest become 0.

    Parameters
    ----------
    scale : float32 [outputs]
        Magnitudes at most ``MOST_SCALE``.

    Returns
    -------
    int
        Exponent of the power of two.
    float16 [outputs]
        The scales divided by it.
    """
    largest = float(np.abs(scale).max())
    exponent = max(math.frexp(largest)[1] - 1, LEAST_EXPONENT) if largest else 0
    halves = _halves(scale, exponent)
    if np.abs(halves).max() >= 2:  # rounded up
        exponent += 1
        halves = _halves(scale, exponent)
    return exponent, halves


def _halves(scale: np.ndarray, exponent: int) -> np.ndarray:
    return np.ldexp(scale.astype(np.float64), -exponent).astype(np.float16)


def join_scale(exponent: int, halves: np.ndarray) -> np.ndarray:
    """The scales float32 [outputs] of what ``split_scale`` returned; infinite where they are too large."""
    with np.errstate(over="ignore"):
        return np.ldexp(halves.astype(np.float64), exponent).astype(np.float32)
