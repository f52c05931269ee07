"""What quantised ONNX graphs tell: weights in integers, and the ranges of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

SAMPLES = 256  # that are made up where a file tells ranges and the user gives no data


def dequantised(
    stored: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int = 1
) -> np.ndarray:
    """What DequantizeLinear gives for constants, float32; one scale, or one for each place along ``axis``."""
    values = stored.astype(np.float64)
    shape = (
        [-1 if dimension == axis % max(stored.ndim, 1) else 1 for dimension in range(stored.ndim)]
        if scale.size > 1
        else []
    )
    offset = 0 if zero is None else zero.astype(np.float64).reshape(shape)
    return ((values - offset) * scale.astype(np.float64).reshape(shape)).astype(np.float32)


def quantised_ranges(model: ModelProto) -> dict[str, tuple[float, float]]:
    """The least and greatest value of each tensor that the model rounds to bytes, by the tensor's name.

    A tensor in front of a QuantizeLinear and one behind a DequantizeLinear have the range of its scale
    and zero point. Where a model's file
    carries such ranges they can stand for calibration data. Weights, and tensors with a scale for each
    channel, are left out.
    """
    constants = _constants(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    ranges: dict[str, tuple[float, float]] = {}
    for node in model.graph.node:
        if (
            node.op_type not in ("QuantizeLinear", "DequantizeLinear")
            or len(node.input) < 2
            or node.input[0] in constants
        ):
            continue
        scale = constants.get(node.input[1])
        zero = (
            constants.get(node.input[2])
            if len(node.input) > 2 and node.input[2]
            else _default_zero(kinds.get(node.input[0]))
        )
        if scale is None or zero is None or scale.size != 1 or zero.dtype not in (np.int8, np.uint8):
            continue
        tensor = node.input[0] if node.op_type == "QuantizeLinear" else node.output[0]
        ranges[tensor] = _range(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), np.iinfo(zero.dtype))
    return ranges


def drawn(limits: tuple[float, float], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Numbers drawn evenly from a range, float32."""
    return rng.uniform(*limits, shape).astype(np.float32)


def _range(scale: float, zero: int, limits: np.iinfo) -> tuple[float, float]:
    return (int(limits.min) - zero) * scale, (int(limits.max) - zero) * scale


def _default_zero(kind: int | None) -> np.ndarray:
    """The zero point where none is given: of int8 if the input is, else of uint8, as ONNX has it."""
    from onnx import TensorProto

    return np.zeros(1, dtype=np.int8 if kind == TensorProto.INT8 else np.uint8)


def _constants(model: ModelProto) -> dict[str, np.ndarray]:
    """The constants that may be scales and zero points."""
    from onnx import numpy_helper

    names = {
        name
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input
    }
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    tensors |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    return {name: numpy_helper.to_array(tensors[name]) for name in names if name in tensors}
