"""How real inputs become int8: a step and an offset for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError, ModelError
from ..format import STEP_OCTAVE
from .segments import check_array


@dataclass(frozen=True, eq=False)
class InputSteps:
    """The quantisation of a network's inputs: ``q = clip(round(x / step) - zero, -128, 127)``, so ``x`` is about ``(q + zero) * step``.

    Members
    -------
    scale : float
        The common step, rounded to float32 as files and images store it.
    exponents : uint8 [inputs] or None
        The step of an input is ``scale * 2 ** (exponent / 8)``; None if all have the common step.
    zeros : int16 [inputs] or None
        What is subtracted from an input's count of steps; None for 0. An input at ``zero * step`` becomes 0 and costs no memory traffic.

    Raises
    ------
    ModelError
        If a member has another type or is out of its range.
    """

    scale: float
    exponents: np.ndarray | None = None
    zeros: np.ndarray | None = None

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            scale = np.float32(self.scale)
        if not (np.isfinite(scale) and scale > 0):
            raise ModelError(f"Input scale must be a positive number, not {self.scale!r}")
        object.__setattr__(self, "scale", float(scale))
        for name, kind in (("exponents", np.uint8), ("zeros", np.int16)):
            values = getattr(self, name)
            if values is not None:
                check_array(f"Input {name} of a network", values, kind, (values.size,))

    def steps(self, inputs: int) -> np.ndarray:
        """Value of one step of each input, float64 [inputs]."""
        if self.exponents is None:
            return np.full(inputs, self.scale)
        return self.scale * np.exp2(self.exponents / STEP_OCTAVE)

    def offsets(self, inputs: int) -> np.ndarray:
        """The input values that become 0, float64 [inputs]."""
        return np.zeros(inputs) if self.zeros is None else self.zeros * self.steps(inputs)

    def unclipped(self, x: np.ndarray) -> np.ndarray:
        """Counts of steps before they are clipped to int8, float64 [batch, inputs], for float [batch, inputs]; halves are rounded to even.

        Raises
        ------
        InputError
            If a value is not finite.
        """
        if not np.isfinite(x).all():
            sample, feature = np.argwhere(~np.isfinite(x))[0]
            raise InputError(f"Input must be finite, but feature {feature} of sample {sample} is {x[sample, feature]}")
        counts = np.rint(x.astype(np.float64) / self.steps(x.shape[1]))
        return counts if self.zeros is None else counts - self.zeros

    def quantise(self, x: np.ndarray) -> np.ndarray:
        """int8 [batch, inputs] for float [batch, inputs]."""
        return np.clip(self.unclipped(x), -128, 127).astype(np.int8)
