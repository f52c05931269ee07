"""Pointwise functions of torch modules. Torch computes them itself, so their parameters and forms are those of the module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..functions import RELU, Function, clip, leaky_relu

if TYPE_CHECKING:
    from torch import fx, nn

_MODULES = frozenset("""
    CELU ELU GELU Hardshrink Hardsigmoid Hardswish LogSigmoid Mish SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink
""".split())
_FUNCTIONS = frozenset("""
    abs celu elu gelu hardshrink hardsigmoid hardswish logsigmoid mish selu sigmoid silu softplus softshrink softsign tanh tanhshrink
""".split())
# Of functions that clamp: the names of the lower and upper bound as arguments in this order, with their defaults.
_BOUNDS: dict[str, dict[str, float | None]] = {
    "relu": {}, "relu6": {}, "hardtanh": {"min_val": -1.0, "max_val": 1.0}, "clamp": {"min": None, "max": None}, "clip": {"min": None, "max": None},
    "clamp_min": {"min": None}, "clamp_max": {"max": None},
}


def module_function(module: nn.Module) -> Function | None:
    """The function that a module applies to each number; None if it is no pointwise one that is known."""
    from torch import nn

    if isinstance(module, nn.ReLU):
        return RELU
    if isinstance(module, nn.Hardtanh):  # ReLU6, too
        return clamp(module.min_val, module.max_val)
    if isinstance(module, nn.LeakyReLU):
        return leaky_relu(module.negative_slope)
    if isinstance(module, nn.PReLU):
        return leaky_relu(float(module.weight)) if module.weight.numel() == 1 else None
    name = type(module).__name__
    return _computed(name, module) if name in _MODULES and type(module).__module__.startswith("torch.nn.") else None


def node_function(node: fx.Node, name: str) -> Function | None:
    """The function of one number that a call in a module's code applies; None if it is none, or has a variable as a parameter."""
    parameters, named = node.args[1:], {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if not all(isinstance(value, (int, float, str, bool, type(None))) for value in (*parameters, *named.values())):
        return None
    if name in _BOUNDS:
        return _clamping(name, parameters, named)
    if name == "leaky_relu":
        return leaky_relu(float((*parameters, named.get("negative_slope", 0.01))[0]))
    if name not in _FUNCTIONS:
        return None
    call = _method(str(node.target)) if node.op == "call_method" else node.target
    return _computed(name, lambda x: call(x, *parameters, **named))


def _method(name: str) -> Callable[..., object]:
    return lambda x, *parameters, **named: getattr(x, name)(*parameters, **named)


def _clamping(name: str, parameters: Sequence[object], named: Mapping[str, object]) -> Function:
    if name in ("relu", "relu6"):
        return RELU if name == "relu" else clamp(0.0, 6.0)
    given = {**_BOUNDS[name], **dict(zip(_BOUNDS[name], parameters, strict=False)), **named}
    low, high = given.get("min", given.get("min_val")), given.get("max", given.get("max_val"))
    return clamp(-np.inf if low is None else low, np.inf if high is None else high)


def clamp(low: float, high: float) -> Function:
    """``clip(x, low, high)``; ReLU itself where it is that."""
    return RELU if (low, high) == (0, np.inf) else clip(float(low), float(high))


def _computed(name: str, apply: Callable[..., object]) -> Function:
    import torch

    def compute(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return apply(torch.from_numpy(np.array(x))).numpy()  # a copy: it may be written in place

    return Function(name, compute)
