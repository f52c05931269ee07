"""Pointwise functions between layers: what a float network applies, and which of them an engine computes by clamping or by a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .errors import ModelError

_STEP = 1e-3  # half the distance over which a derivative is taken
_POWERS = np.exp2(np.arange(-6.0, 7.0))  # where a function is tried for being two straight lines


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
        """The function's values, of the type of ``x``; ModelError if one is NaN or infinite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = np.asarray(self.compute(x), dtype=x.dtype)
        bad = ~np.isfinite(values) & (self.clamp is None)
        if bad.any():
            raise ModelError(f"Function {self.name} of {x[bad][0]:g} is {values[bad][0]}: a function between layers must be finite "
                             "for everything that the layer before can give")
        return values

    def slope(self, x: np.ndarray) -> np.ndarray:
        """The derivative at ``x``, by a central difference, of the type of ``x``."""
        if self.clamp is not None:
            return ((x > self.clamp[0]) & (x < self.clamp[1])).astype(x.dtype)
        wide = x.astype(np.float64)
        return ((self(wide + _STEP) - self(wide - _STEP)) / (2 * _STEP)).astype(x.dtype)

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

    def less(self, offset: np.ndarray | float) -> Function:
        """The function x -> f(x) - ``offset``, which is one number or has one for each place of the last axis."""
        return self if not np.any(offset) else replace(self, compute=lambda x: self.compute(x) - offset, clamp=None, homogeneous=False)

    def normalised(self) -> tuple[Function, float]:
        """A function and a positive factor, whose product this one is.

        Of two straight lines through zero the steeper one has slope 1 or -1 without its factor, so a factor behind a ReLU leaves a ReLU. Any
        other function is returned as it is, with the factor 1.
        """
        if self.is_identity or self.is_rectifier:
            return self, 1.0
        right, left = self._lines() or (0.0, 0.0)
        gain = max(abs(right), abs(left))
        if gain == 0:
            return self, 1.0
        plain = {(1.0, 1.0): IDENTITY, (1.0, 0.0): RELU}.get((right / gain, left / gain))
        return plain or _two_lines(self.name, right / gain, left / gain), gain

    def _lines(self) -> tuple[float, float] | None:
        """The slopes right and left of zero, if the function is two straight lines that meet there."""
        x = np.concatenate([_POWERS, -_POWERS]).astype(np.float32)
        ratios = (self(x) / x).reshape(2, -1)
        straight = np.abs(ratios - ratios[:, :1]) <= 1e-5 * np.abs(ratios).max()
        return tuple(np.median(ratios, axis=1).tolist()) if straight.all() and abs(self(np.zeros(1))[0]) < 1e-9 else None


def clip(low: float, high: float, name: str = "") -> Function:
    """``clip(x, low, high)``."""
    return Function(name or f"Clip({low:g}, {high:g})", lambda x: np.clip(x, low, high), (float(low), float(high)),
                    homogeneous={low, high} <= {0.0, -np.inf, np.inf})


def leaky_relu(slope: float) -> Function:
    """x where it is positive, else ``slope * x``; PReLU with one slope is the same."""
    return _two_lines(f"LeakyReLU({slope:g})", 1.0, slope)


def _two_lines(name: str, right: float, left: float) -> Function:
    return Function(name, lambda x: np.where(x > 0, right * x, left * x), homogeneous=True)


def hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Function:
    """``clip(alpha * x + beta, 0, 1)``; ONNX has 0.2 and 0.5 by default, torch 1/6 and 1/2."""
    return Function(f"HardSigmoid({alpha:g}, {beta:g})", lambda x: np.clip(alpha * x + beta, 0.0, 1.0))


def elu(alpha: float = 1.0) -> Function:
    """x where it is positive, else ``alpha * (exp(x) - 1)``."""
    return Function(f"ELU({alpha:g})", lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))))


def selu(alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Function:
    """``gamma`` times ELU (Klambauer et al., 2017)."""
    return Function("SELU", lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))))


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, float64 of the shape of ``x``, within 2e-7 (Abramowitz and Stegun, 7.1.26)."""
    x = np.asarray(x, dtype=np.float64)
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1.0 - polynomial * np.exp(-np.square(x)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * np.asarray(x, dtype=np.float64))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x ** 3)))


IDENTITY = clip(-np.inf, np.inf, "identity")
RELU = clip(0.0, np.inf, "ReLU")
RELU6 = clip(0.0, 6.0, "ReLU6")
TANH = Function("Tanh", np.tanh)
SIGMOID = Function("Sigmoid", _sigmoid)
GELU = Function("GELU", lambda x: 0.5 * x * (1.0 + erf(x / np.sqrt(2.0))))
GELU_TANH = Function("GELU(tanh)", _gelu_tanh)
SILU = Function("SiLU", lambda x: x * _sigmoid(x))
HARD_SWISH = Function("HardSwish", lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0))
SOFTPLUS = Function("Softplus", lambda x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))
