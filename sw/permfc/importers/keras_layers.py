"""Layers of Keras as ONNX operators: a table from class to translation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np

from . import keras_activations as activations
from .keras_layer import KerasLayer
from .onnx_builder import Tensor

Translation = Callable[[KerasLayer, list[Tensor]], Tensor]


def translate(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    """The result of a layer. Raises ModelError if it is of a class that is not in the table."""
    if layer.kind not in _LAYERS:
        layer.refuse("layer, which is not read from Keras files")
    several = layer.kind in _MERGES
    if (len(inputs) != 1 and not several) or not inputs:
        layer.damaged(f"takes {len(inputs)} tensors")
    return _LAYERS[layer.kind](layer, inputs)


def _pointwise(function: Callable[[KerasLayer, str], str]) -> Translation:
    return lambda layer, inputs: Tensor(function(layer, inputs[0].name), inputs[0].shape)


def _same(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


def activation(layer: KerasLayer, value: object, x: Tensor) -> Tensor:
    """An activation as descriptions hold it: nothing, a name, a function or a layer."""
    if isinstance(value, dict):
        kind, module = value.get("class_name"), str(value.get("module") or "keras")
        inner = value.get("config")
        if kind == "function" and isinstance(inner, str) and module.split(".")[0] in ("builtins", "keras"):
            value = inner
        elif isinstance(kind, str) and kind in _ACTIVATION_LAYERS and isinstance(inner, dict):
            inside = KerasLayer(
                layer.name, kind, inner, layer.path, layer.file, layer.version, layer.builder, layer.weights
            )
            return _LAYERS[kind](inside, [x])
        else:
            layer.refuse(f"with an activation of class {kind!r}")
    if value is None:
        return x
    if not isinstance(value, str):
        layer.damaged(f"has the activation {value!r}")
    return Tensor(activations.by_name(layer, value, x.name), x.shape)


def _dense(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x, units = inputs[0], layer.config.get("units")
    if isinstance(units, bool) or not isinstance(units, int) or units < 1 or len(x.shape) < 2:
        layer.damaged(f"has {units!r} units and inputs of shape {list(x.shape)}")
    if layer.config.get("quantization_config") or layer.config.get("lora_rank"):
        layer.refuse("with quantised or low-rank weights")
    shapes = {"kernel": (layer.size(x), units)} | ({"bias": (units,)} if layer.flag("use_bias", True) else {})
    kernel, *bias = layer.read(**shapes)
    y = Tensor(_affine(layer, x, kernel, bias), (*x.shape[:-1], units))
    return activation(layer, layer.config.get("activation"), y)


def _affine(layer: KerasLayer, x: Tensor, kernel: np.ndarray, bias: list[np.ndarray]) -> str:
    """A matrix and a bias: Gemm for vectors, MatMul and Add for more dimensions."""
    shift = [layer.constant("bias", value) for value in bias]
    if len(x.shape) == 2:
        return layer.node("Gemm", [x, layer.constant("weight", kernel.T), *shift], transB=1)
    product = layer.node("MatMul", [x, layer.constant("kernel", kernel)])
    return layer.node("Add", [product, *shift], "bias") if shift else product


def _batch_normalization(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    axis = activations.normalised_axis(layer, len(x.shape))
    size = (layer.size(x, axis),)
    names = [
        *(["gamma"] if layer.flag("scale", True) else []),
        *(["beta"] if layer.flag("center", True) else []),
        "moving_mean",
        "moving_variance",
    ]
    found = dict(zip(names, layer.read(**dict.fromkeys(names, size)), strict=True))
    gamma, beta = found.get("gamma", np.ones(size, np.float32)), found.get("beta", np.zeros(size, np.float32))
    mean, variance, epsilon = found["moving_mean"], found["moving_variance"], layer.number("epsilon", 1e-3)
    if (variance + epsilon <= 0).any():
        layer.damaged("has a variance below zero")
    if axis == 1:
        parts = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
        return Tensor(
            layer.node(
                "BatchNormalization", [x, *(layer.constant(*part) for part in parts.items())], epsilon=epsilon
            ),
            x.shape,
        )
    scale = gamma / np.sqrt(variance + epsilon)
    return _scaled(
        layer, x, _along(scale, axis, len(x.shape)), _along(beta - mean * scale, axis, len(x.shape))
    )


def _along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Values of one dimension, ready to be combined with tensors of ``rank`` dimensions."""
    return values.reshape([-1 if dimension == axis else 1 for dimension in range(1, rank)])


def _scaled(layer: KerasLayer, x: Tensor, scale: np.ndarray, offset: np.ndarray) -> Tensor:
    product = layer.node("Mul", [x, layer.constant("scale", scale)])
    return Tensor(layer.node("Add", [product, layer.constant("offset", offset)], "offset"), x.shape)


def _layer_normalization(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    axis = activations.normalised_axis(layer, len(x.shape))
    if axis != len(x.shape) - 1 or layer.config.get("rms_scaling"):
        layer.refuse("along another than the last dimension, or with rms_scaling")
    size = (layer.size(x),)
    names = [
        *(["gamma"] if layer.flag("scale", True) else []),
        *(["beta"] if layer.flag("center", True) else []),
    ]
    found = dict(zip(names, layer.read(**dict.fromkeys(names, size)) if names else [], strict=True))
    gamma, beta = found.get("gamma", np.ones(size, np.float32)), found.get("beta", np.zeros(size, np.float32))
    parts = [layer.constant("gamma", gamma), layer.constant("beta", beta)]
    return Tensor(
        layer.node("LayerNormalization", [x, *parts], axis=-1, epsilon=layer.number("epsilon", 1e-3)), x.shape
    )


def _normalization(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x, axes = inputs[0], layer.config.get("axis", -1)
    rank = len(x.shape)
    kept = sorted(
        {
            layer.axis(axis, rank)
            for axis in (axes if isinstance(axes, (list, tuple)) else [] if axes is None else [axes])
        }
    )
    size = tuple(layer.size(x, axis) for axis in kept)
    mean, variance = _moments(layer, size)
    shape = [x.shape[axis] if axis in kept else 1 for axis in range(1, rank)]
    mean, spread = (
        np.broadcast_to(value, size).reshape(shape) for value in (mean, np.maximum(np.sqrt(variance), 1e-7))
    )  # Keras's epsilon()
    if layer.flag("invert", False):
        return _scaled(layer, x, spread, mean)
    return _scaled(layer, x, 1 / spread, -mean / spread)


def _moments(layer: KerasLayer, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a Normalization, from its description or learned."""
    if layer.config.get("mean") is None:
        mean, variance, _ = layer.read(mean=size, variance=size, count=())
        return mean, variance
    mean, variance = (np.asarray(layer.config.get(name), dtype=np.float32) for name in ("mean", "variance"))
    return mean, variance


def _rescaling(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    scale, offset = (
        np.asarray(layer.config.get(key, default), dtype=np.float32)
        for key, default in (("scale", 1), ("offset", 0))
    )
    return _scaled(layer, inputs[0], scale, offset)


def _flatten(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    if layer.config.get("data_format") == "channels_first" and len(x.shape) > 2:
        layer.refuse("of tensors with channels first")
    return Tensor(layer.node("Flatten", [x], axis=1), (x.shape[0], _product(x.shape[1:])))


def _reshape(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x, target = inputs[0], layer.config.get("target_shape")
    if (
        not isinstance(target, (list, tuple))
        or not all(isinstance(size, int) and (size > 0 or size == -1) for size in target)
        or list(target).count(-1) > 1
    ):
        layer.damaged(f"has target_shape {target!r}")
    given, known = _product(x.shape[1:]), int(np.prod([size for size in target if size > 0], dtype=object))
    if given is not None and (given % known or (-1 not in target and given != known)):
        layer.damaged(f"makes {list(target)} of {list(x.shape[1:])}")
    shape = layer.builder.constant(f"{layer.path}.shape", np.array([0, *target], dtype=np.int64))
    rest = None if given is None else given // known
    return Tensor(
        layer.node("Reshape", [x, shape]), (x.shape[0], *(rest if size == -1 else size for size in target))
    )


def _product(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else int(np.prod(sizes, dtype=object)) if sizes else 1


def _permute(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x, dims = inputs[0], layer.config.get("dims")
    if not isinstance(dims, (list, tuple)) or sorted(dims) != list(range(1, len(x.shape))):
        layer.damaged(f"has dims {dims!r}")
    return Tensor(
        layer.node("Transpose", [x], perm=[0, *dims]), (x.shape[0], *(x.shape[axis] for axis in dims))
    )


def _activation(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    return activation(layer, layer.config.get("activation"), inputs[0])


def _softmax(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    axis = activations.normalised_axis(layer, len(inputs[0].shape))
    return Tensor(layer.node("Softmax", inputs, axis=axis), inputs[0].shape)


def _prelu(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    x, shared = inputs[0], layer.config.get("shared_axes") or []
    shared = {
        layer.axis(axis, len(x.shape)) for axis in (shared if isinstance(shared, (list, tuple)) else [shared])
    }
    shape = [1 if axis in shared else layer.size(x, axis) for axis in range(1, len(x.shape))]
    slopes = activations.one_slope(layer.read(alpha=shape)[0])
    return Tensor(layer.node("PRelu", [x, layer.constant("alpha", slopes)]), x.shape)


def _merge(operator: str) -> Translation:
    def merge(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
        shape = _common_shape(layer, inputs)
        result = inputs[0].name
        for index, other in enumerate(inputs[1:]):
            result = layer.node(operator, [result, other], f"{index}" if index else "")
        return Tensor(result, shape)

    return merge


def _common_shape(layer: KerasLayer, inputs: list[Tensor]) -> tuple[int | None, ...]:
    """The shape that tensors take together."""
    if len({len(tensor.shape) for tensor in inputs}) > 1:
        layer.refuse(f"of tensors of shapes {', '.join(str(list(tensor.shape)) for tensor in inputs)}")
    shape = []
    for sizes in zip_longest(*(tensor.shape for tensor in inputs)):
        known = {size for size in sizes if size not in (None, 1)}
        if len(known) > 1:
            layer.damaged(
                f"combines tensors of shapes {', '.join(str(list(tensor.shape)) for tensor in inputs)}"
            )
        shape.append(known.pop() if known else None if None in sizes else 1)
    return tuple(shape)


def _average(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    shape = _common_shape(layer, inputs)
    return Tensor(layer.node("Mean", inputs), shape)


def _subtract(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    if len(inputs) != 2:
        layer.damaged(f"takes {len(inputs)} tensors")
    return _merge("Sub")(layer, inputs)


def _concatenate(layer: KerasLayer, inputs: list[Tensor]) -> Tensor:
    rank = len(inputs[0].shape)
    axis = activations.normalised_axis(layer, rank)
    others = {tensor.shape[:axis] + tensor.shape[axis + 1 :] for tensor in inputs}
    if len(others) > 1 or {len(tensor.shape) for tensor in inputs} != {rank}:
        layer.damaged(f"joins tensors of shapes {', '.join(str(list(tensor.shape)) for tensor in inputs)}")
    sizes = [tensor.shape[axis] for tensor in inputs]
    total = None if None in sizes else sum(size for size in sizes if size)
    shape = (*inputs[0].shape[:axis], total, *inputs[0].shape[axis + 1 :])
    return Tensor(layer.node("Concat", inputs, axis=axis), shape)


_MERGES: dict[str, Translation] = {
    "Add": _merge("Add"),
    "Subtract": _subtract,
    "Multiply": _merge("Mul"),
    "Maximum": _merge("Max"),
    "Minimum": _merge("Min"),
    "Average": _average,
    "Concatenate": _concatenate,
}
_ACTIVATION_LAYERS: dict[str, Translation] = {
    "ReLU": _pointwise(activations.relu),
    "LeakyReLU": _pointwise(activations.leaky_relu),
    "ELU": _pointwise(activations.elu),
    "ThresholdedReLU": _pointwise(activations.thresholded_relu),
    "Softmax": _softmax,
    "Activation": _activation,
}
_PASSED = (
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
)  # do nothing at inference
_LAYERS: dict[str, Translation] = {
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "PReLU": _prelu,
    **dict.fromkeys(_PASSED, _same),
    **_ACTIVATION_LAYERS,
    **_MERGES,
}
