"""Pointwise functions of Keras as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .keras_layer import KerasLayer

_OPERATORS: dict[str, tuple[str, dict[str, float]]] = {  # those with an operator of their own
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "gelu": ("Gelu", {}),
    "elu": ("Elu", {}),
    "selu": ("Selu", {}),
    "exponential": ("Exp", {}),
    "mish": ("Mish", {}),
    "hard_silu": ("HardSwish", {}),
    "hard_swish": ("HardSwish", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
}


def _relu6(layer: KerasLayer, x: str) -> str:
    return layer.node("Clip", [x, layer.builder.number(0), layer.builder.number(6)], "relu6")


def _silu(layer: KerasLayer, x: str) -> str:
    return layer.node("Mul", [x, layer.node("Sigmoid", [x], "sigmoid")], "silu")


def _hard_sigmoid(layer: KerasLayer, x: str) -> str:
    slope = 0.2 if layer.version < 3 else 1 / 6  # Keras 3 exchanged the function under the same name
    return layer.node("HardSigmoid", [x], "hard_sigmoid", alpha=slope, beta=0.5)


_COMPOSED: dict[str, Callable[[KerasLayer, str], str]] = {
    "linear": lambda layer, x: x,
    "relu6": _relu6,
    "silu": _silu,
    "swish": _silu,
    "hard_sigmoid": _hard_sigmoid,
}


def by_name(layer: KerasLayer, name: str, x: str) -> str:
    """The function that Keras calls ``name``, of tensor ``x``. Raises ModelError for others."""
    if name in _COMPOSED:
        return _COMPOSED[name](layer, x)
    if name not in _OPERATORS:
        layer.refuse(
            f"with the activation {name!r}, which is none of {', '.join(sorted({*_COMPOSED, *_OPERATORS}))}"
        )
    operator, attributes = _OPERATORS[name]
    return layer.node(operator, [x], name, **attributes)


def relu(layer: KerasLayer, x: str) -> str:
    """The layer ReLU, with its bends: 0 up to the threshold but for the negative slope, then x, up to
    the greatest value."""
    slope, threshold = layer.number("negative_slope", 0.0), layer.number("threshold", 0.0)
    top = None if layer.config.get("max_value") is None else layer.number("max_value")
    zero, limits = layer.builder.number(0), [] if top is None else [layer.builder.number(top)]
    if threshold:
        above = layer.node("Greater", [x, layer.builder.number(threshold)], "above")
        y = layer.node("Where", [above, x, zero], "cut")
        y = layer.node("Clip", [y, zero, *limits], "clip") if limits else y
    else:
        y = (
            layer.node("Clip", [x, zero, *limits], "clip")
            if limits
            else ""
            if slope
            else layer.node("Relu", [x])
        )
    if not slope:
        return y
    if not y:
        return layer.node("LeakyRelu", [x], alpha=slope)
    below = layer.node(
        "Min", [layer.node("Sub", [x, layer.builder.number(threshold)], "shift"), zero], "below"
    )
    return layer.node("Add", [y, layer.node("Mul", [below, layer.builder.number(slope)], "slope")])


def leaky_relu(layer: KerasLayer, x: str) -> str:
    """The layer LeakyReLU, whose slope was called alpha in Keras 2."""
    slope = layer.number("negative_slope" if "negative_slope" in layer.config else "alpha", 0.3)
    return layer.node("LeakyRelu", [x], alpha=slope)


def elu(layer: KerasLayer, x: str) -> str:
    return layer.node("Elu", [x], alpha=layer.number("alpha", 1.0))


def thresholded_relu(layer: KerasLayer, x: str) -> str:
    return layer.node("ThresholdedRelu", [x], alpha=layer.number("theta", 1.0))


def normalised_axis(layer: KerasLayer, rank: int, default: int = -1) -> int:
    """The single dimension that a layer works along; Keras 2 writes it as a list too."""
    value = layer.config.get("axis", default)
    if isinstance(value, (list, tuple)):
        if len(value) != 1:
            layer.refuse(f"along the dimensions {list(value)}")
        value = value[0]
    return layer.axis(value, rank)


def one_slope(slopes: np.ndarray) -> np.ndarray:
    """The slopes of a PReLU; a single value if all are equal."""
    return slopes.reshape(-1)[:1] if slopes.size and (slopes == slopes.flat[0]).all() else slopes
