"""Pointwise functions between layers: what a float network applies, and which of them an engine computes by clamping or by a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_STEP = 1e-3  # half the distance over which a derivative is taken


@dataclass(frozen=True)
class Function:
    """A function of one number that a layer applies to each of its outputs.

    Members
    -------
    name : str
        What tables and messages call it.
    compute : function (float [...]) -> float [...]
    clamp : (low, high) or None
        The function is ``clip(x, low, high)``; infinite bounds for the identity. None for any other function.
    homogeneous : bool
        f(a x) = a f(x) for every a > 0, so outputs may have steps of their own in front of a table.
    """

    name: str
    compute: Callable[[np.ndarray], np.ndarray]
    clamp: tuple[float, float] | None = None
    homogeneous: bool = False

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function's values, of the type of ``x``."""
        return np.asarray(self.compute(x), dtype=x.dtype)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """The derivative at ``x``, by a central difference, of the type of ``x``."""
        if self.clamp is not None:
            return ((x > self.clamp[0]) & (x < self.clamp[1])).astype(x.dtype)
        step = np.asarray(_STEP, dtype=x.dtype)
        return (self(x + step) - self(x - step)) / (2 * step)

    @property
    def is_identity(self) -> bool:
        """Whether nothing is changed."""
        return self.clamp == (-np.inf, np.inf)

    @property
    def is_rectifier(self) -> bool:
        """Whether the engine computes it without a table: ReLU, or one with an upper bound, which the step of the results makes."""
        return self.clamp is not None and self.clamp[0] == 0 and self.clamp[1] > 0

    @property
    def needs_table(self) -> bool:
        """Whether an engine needs a table to compute it."""
        return not (self.is_identity or self.is_rectifier)


def clip(low: float, high: float, name: str = "") -> Function:
    """``clip(x, low, high)``."""
    return Function(name or f"Clip({low:g}, {high:g})", lambda x: np.clip(x, low, high), (float(low), float(high)),
                    homogeneous={low, high} <= {0.0, -np.inf, np.inf})


IDENTITY = clip(-np.inf, np.inf, "identity")
RELU = clip(0.0, np.inf, "ReLU")


def leaky_relu(slope: float) -> Function:
    """x where it is positive, else ``slope * x``."""
    return Function(f"LeakyReLU({slope:g})", lambda x: np.where(x > 0, x, slope * x), homogeneous=True)
