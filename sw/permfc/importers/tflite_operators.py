"""Operators of TensorFlow Lite as ONNX ones: a table from name to translation."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ..errors import ModelError
from .tflite_tensors import CURE, TfliteTensor

if TYPE_CHECKING:
    from .tflite_file import Translation

_FUSED = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")  # by their codes


class Operator:
    """One operator of a file.

    Members
    -------
    kind : str
        Name, as FULLY_CONNECTED.
    label : str
        For errors.
    inputs, outputs : lists of int
        Indices of tensors; -1 for inputs left out.
    """

    def __init__(
        self, kind: str, label: str, table: object, inputs: list[int], outputs: list[int], schema: ModuleType
    ) -> None:
        self.kind, self.label, self.inputs, self.outputs = kind, label, inputs, outputs
        self._table, self._schema = table, schema

    def options(self, name: str) -> object | None:
        """The options, of the table that goes with this operator; None if absent, which means that all
        have their defaults."""
        union = self._table.BuiltinOptions()
        if union is None or self._table.BuiltinOptionsType() != getattr(self._schema.BuiltinOptions, name):
            return None
        options = getattr(self._schema, name)()
        options.Init(union.Bytes, union.Pos)
        return options

    def refuse(self, what: str) -> NoReturn:
        raise ModelError(f"{self.label} {what}: {CURE}")


def translate(graph: Translation, operator: Operator) -> None:
    """Add an operator to the graph. Raises ModelError if it is not in the table."""
    if operator.kind not in _OPERATORS:
        operator.refuse("is not read from TensorFlow Lite files")
    if len(operator.outputs) != 1 or not operator.inputs:
        operator.refuse(f"has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs")
    graph.set(operator.outputs[0], _OPERATORS[operator.kind](graph, operator))


def _fused(graph: Translation, operator: Operator, options: object | None, x: str) -> str:
    """The pointwise function that is part of another operator."""
    code = 0 if options is None else options.FusedActivationFunction()
    if not 0 <= code < len(_FUSED):
        operator.refuse(f"has fused activation {code}")
    return x if code == 0 else _FUNCTIONS[_FUSED[code]](graph, operator, x)


def _clip(low: float, high: float) -> Callable[[Translation, Operator, str], str]:
    return lambda graph, operator, x: graph.node(
        operator, "Clip", [x, graph.builder.number(low), graph.builder.number(high)]
    )


def _plain(kind: str, **attributes: object) -> Callable[[Translation, Operator, str], str]:
    return lambda graph, operator, x: graph.node(operator, kind, [x], **attributes)


_FUNCTIONS: dict[str, Callable[[Translation, Operator, str], str]] = {
    "RELU": _plain("Relu"),
    "RELU6": _clip(0, 6),
    "RELU_N1_TO_1": _clip(-1, 1),
    "RELU_0_TO_1": _clip(0, 1),
    "TANH": _plain("Tanh"),
    "LOGISTIC": _plain("Sigmoid"),
    "ELU": _plain("Elu", alpha=1.0),
    "HARD_SWISH": _plain("HardSwish"),
    "LOG_SOFTMAX": _plain("LogSoftmax", axis=-1),
    "QUANTIZE": lambda graph, operator, x: x,
    "DEQUANTIZE": lambda graph, operator, x: x,
}


def _function(graph: Translation, operator: Operator) -> str:
    return _FUNCTIONS[operator.kind](graph, operator, graph.value(operator, 0))


def _leaky_relu(graph: Translation, operator: Operator) -> str:
    options = operator.options("LeakyReluOptions")
    return graph.node(
        operator, "LeakyRelu", [graph.value(operator, 0)], alpha=0.0 if options is None else options.Alpha()
    )


def _gelu(graph: Translation, operator: Operator) -> str:
    options = operator.options("GeluOptions")
    approximate = options is not None and options.Approximate()
    return graph.node(
        operator, "Gelu", [graph.value(operator, 0)], approximate="tanh" if approximate else "none"
    )


def _softmax(graph: Translation, operator: Operator) -> str:
    x, options = graph.value(operator, 0), operator.options("SoftmaxOptions")
    beta = 0.0 if options is None else options.Beta()
    if not np.isfinite(beta) or beta <= 0:
        operator.refuse(f"has beta {beta}")
    x = x if beta == 1 else graph.node(operator, "Mul", [x, graph.builder.number(beta)])
    return graph.node(operator, "Softmax", [x], axis=-1)


def _prelu(graph: Translation, operator: Operator) -> str:
    return graph.node(operator, "PRelu", [graph.value(operator, 0), graph.value(operator, 1)])


def _fully_connected(graph: Translation, operator: Operator) -> str:
    options = operator.options("FullyConnectedOptions")
    source, weight = graph.tensor(operator, 0), graph.tensor(operator, 1)
    bias = graph.tensor(operator, 2) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
    if options is not None and options.WeightsFormat():
        operator.refuse("has weights in a shuffled order")
    if weight.data is None or len(weight.shape) != 2 or 0 in weight.shape:
        operator.refuse(f"has weights that are computed, or of shape {list(weight.shape)}")
    if bias is not None and (bias.data is None or int(np.prod(bias.shape)) != weight.shape[0]):
        operator.refuse(
            f"has a bias of shape {list(bias.shape)} that is computed or does not go with "
            f"{weight.shape[0]} outputs"
        )
    keep = options is not None and options.KeepNumDims()
    if not source.shape or (
        source.shape[-1] != weight.shape[1] if keep else int(np.prod(source.shape)) % weight.shape[1]
    ):
        operator.refuse(f"has {weight.shape[1]} inputs but gets a tensor of shape {list(source.shape)}")
    return _fused(graph, operator, options, _product(graph, operator, weight, bias, keep))


def _product(
    graph: Translation, operator: Operator, weight: TfliteTensor, bias: TfliteTensor | None, keep: bool
) -> str:
    """Gemm for vectors, MatMul and Add for more dimensions."""
    x, shape = graph.value(operator, 0), graph.tensor(operator, 0).shape
    layer = weight.name.partition(";")[0].removesuffix("/MatMul") or f"layer_{operator.outputs[0]}"
    shift = [] if bias is None else [graph.constant(bias, f"{layer}.bias")]
    if keep and len(shape) > 2:
        product = graph.node(
            operator, "MatMul", [x, graph.constant(weight, f"{layer}.kernel", transposed=True)]
        )
        return graph.node(operator, "Add", [product, *shift]) if shift else product
    if len(shape) != 2 or shape[1] != weight.shape[1]:
        rows = graph.builder.constant("rows", np.array([-1, weight.shape[1]], dtype=np.int64))
        x = graph.node(operator, "Reshape", [x, rows])
    return graph.node(operator, "Gemm", [x, graph.constant(weight, f"{layer}.weight"), *shift], transB=1)


def _arithmetic(kind: str, options: str) -> Callable[[Translation, Operator], str]:
    def arithmetic(graph: Translation, operator: Operator) -> str:
        result = graph.node(operator, kind, [graph.value(operator, 0), graph.value(operator, 1)])
        return _fused(graph, operator, operator.options(options), result) if options else result

    return arithmetic


def _concatenation(graph: Translation, operator: Operator) -> str:
    options = operator.options("ConcatenationOptions")
    parts = [graph.value(operator, position) for position in range(len(operator.inputs))]
    axis = 0 if options is None else options.Axis()
    rank = len(graph.tensor(operator, 0).shape)
    if not -rank <= axis < rank:
        operator.refuse(f"works along dimension {axis} of {rank}")
    return _fused(graph, operator, options, graph.node(operator, "Concat", parts, axis=axis))


def _reshape(graph: Translation, operator: Operator) -> str:
    """To the shape of the result, which stands in the file whatever the operator's own inputs are."""
    source, target = graph.tensor(operator, 0).shape, graph.tensors(operator.outputs[0]).shape
    if np.prod(source, dtype=object) != np.prod(target, dtype=object):
        operator.refuse(f"makes {list(target)} of {list(source)}")
    shape = [0, *target[1:]] if graph.free_batch else list(target)
    return graph.node(
        operator,
        "Reshape",
        [graph.value(operator, 0), graph.builder.constant("shape", np.array(shape, dtype=np.int64))],
    )


def _mean(graph: Translation, operator: Operator) -> str:
    options, rank = operator.options("ReducerOptions"), len(graph.tensor(operator, 0).shape)
    axes = graph.tensor(operator, 1).data if len(operator.inputs) > 1 else None
    if (
        axes is None
        or axes.dtype.kind != "i"
        or not all(0 < axis % rank for axis in axes.reshape(-1).tolist())
    ):
        operator.refuse("is taken over computed dimensions or over the batch")
    places = graph.builder.constant("axes", axes.reshape(-1).astype(np.int64))
    keep = int(options is not None and options.KeepDims())
    return graph.node(operator, "ReduceMean", [graph.value(operator, 0), places], keepdims=keep)


_OPERATORS: dict[str, Callable[[Translation, Operator], str]] = {
    **dict.fromkeys(_FUNCTIONS, _function),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshape),
    "FULLY_CONNECTED": _fully_connected,
    "LEAKY_RELU": _leaky_relu,
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "PRELU": _prelu,
    "ADD": _arithmetic("Add", "AddOptions"),
    "SUB": _arithmetic("Sub", "SubOptions"),
    "MUL": _arithmetic("Mul", "MulOptions"),
    "MAXIMUM": _arithmetic("Max", ""),
    "MINIMUM": _arithmetic("Min", ""),
    "CONCATENATION": _concatenation,
    "MEAN": _mean,
}
