"""Pointwise operators of ONNX as functions between layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functions
from ..functions import Function

if TYPE_CHECKING:
    from onnx import NodeProto

Constants = Mapping[str, np.ndarray]


def onnx_function(node: NodeProto, given: Mapping[str, Any], constants: Constants) -> tuple[Function, str] | None:
    """The function of an operator with attributes ``given``, and the tensor that it is applied to; None if it is no function of one number."""
    if node.op_type in ("Max", "Min"):
        return _bound(node, constants)
    rule = _RULES.get(node.op_type)
    function = rule(node, given, constants) if rule else None
    return None if function is None or not node.input or node.input[0] in constants else (function, node.input[0])


def _bound(node: NodeProto, constants: Constants) -> tuple[Function, str] | None:
    """Max(x, constant), Min(constant, x)."""
    variable = [name for name in node.input if name not in constants]
    bounds = [constants[name] for name in node.input if name in constants]
    if len(variable) != 1 or len(bounds) != 1 or bounds[0].size != 1:
        return None
    bound = float(bounds[0].reshape(()))
    return _clip(bound, np.inf) if node.op_type == "Max" else _clip(-np.inf, bound), variable[0]


def _clip(low: float, high: float) -> Function:
    return functions.RELU if (low, high) == (0, np.inf) else functions.clip(low, high)


def _clip_node(node: NodeProto, given: Mapping[str, Any], constants: Constants) -> Function | None:
    """Bounds are attributes up to opset 10, and inputs later."""
    bounds = [given.get("min", -np.inf), given.get("max", np.inf)]
    for place, name in enumerate(node.input[1:3]):
        if name:
            if name not in constants or constants[name].size != 1:
                return None
            bounds[place] = float(constants[name].reshape(()))
    return _clip(*bounds)


def _prelu(node: NodeProto, given: Mapping[str, Any], constants: Constants) -> Function | None:
    slope = constants.get(node.input[1])
    return None if slope is None or slope.size != 1 else functions.leaky_relu(float(slope.reshape(())))


def _gelu(node: NodeProto, given: Mapping[str, Any], constants: Constants) -> Function:
    return functions.GELU_TANH if given.get("approximate") == b"tanh" else functions.GELU


def _always(function: Function) -> Callable[..., Function]:
    return lambda node, given, constants: function


_RULES: dict[str, Callable[[NodeProto, Mapping[str, Any], Constants], Function | None]] = {
    "Relu": _always(functions.RELU), "Tanh": _always(functions.TANH), "Sigmoid": _always(functions.SIGMOID), "Softplus": _always(functions.SOFTPLUS),
    "HardSwish": _always(functions.HARD_SWISH), "Gelu": _gelu, "Clip": _clip_node, "PRelu": _prelu,
    "LeakyRelu": lambda node, given, constants: functions.leaky_relu(given.get("alpha", 0.01)),
    "Elu": lambda node, given, constants: functions.elu(given.get("alpha", 1.0)),
    "Selu": lambda node, given, constants: functions.selu(**given),
    "HardSigmoid": lambda node, given, constants: functions.hard_sigmoid(given.get("alpha", 0.2), given.get("beta", 0.5)),
}
