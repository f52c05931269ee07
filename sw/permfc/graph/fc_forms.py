"""Fully connected layers in other forms, rewritten as MatMul with a constant right operand and plain operators of the host around it.

Each rule takes a node and gives the nodes that replace it, or nothing if the node stays as it is. Results keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .onnx_view import GraphView, attributes, operator

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_MICROSOFT = "com.microsoft."


class Rewriter:
    """Gives rules the graph, and new names for what they add.

    Members
    -------
    view : GraphView
    constants : list of TensorProto
        Those that rules added.
    """

    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.constants: list[TensorProto] = []
        self._taken = {*view.producers, *view.initializers, *view.inputs}

    def fresh(self, hint: str) -> str:
        """A name that no tensor has."""
        name = next(name for number in range(len(self._taken) + 1) if (name := f"{hint}/{number}") not in self._taken)
        self._taken.add(name)
        return name

    def constant(self, value: np.ndarray, hint: str) -> str:
        """The name of a new constant."""
        from onnx import numpy_helper

        name = self.fresh(hint)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _node(kind: str, inputs: list[str], output: str, name: str = "", **given: Any) -> NodeProto:
    from onnx import helper

    return helper.make_node(kind, inputs, [output], name=name, **given)


class _Layer:
    """Collects the nodes that stand for one fully connected layer; each step goes on from ``at``, the last ends in ``end``."""

    def __init__(self, node: NodeProto, rewriter: Rewriter, start: str) -> None:
        self._rewriter, self._source = rewriter, node
        self.name, self.at, self.nodes = node.name or node.output[0], start, []

    def then(self, kind: str, *others: str, name: str = "", **given: Any) -> _Layer:
        """Append an operator whose first input is what stands at the end."""
        result = self._rewriter.fresh(self.name)
        self.nodes.append(_node(kind, [self.at, *others], result, name, **given))
        self.at = result
        return self

    def matmul(self, weight: np.ndarray) -> _Layer:
        """Append the layer itself, weight [inputs, outputs]."""
        return self.then("MatMul", self._rewriter.constant(weight, f"{self.name}.weight"), name=self.name)

    def add(self, value: np.ndarray | str | None) -> _Layer:
        """Append a sum with a constant or a tensor; nothing for None."""
        if value is None:
            return self
        return self.then("Add", value if isinstance(value, str) else self._rewriter.constant(value, f"{self.name}.bias"))

    def transposed(self, perm: list[int]) -> _Layer:
        """Append a transposition."""
        return self.then("Transpose", perm=perm)

    def end(self, result: str = "") -> list[NodeProto]:
        """The nodes; the last one gives ``result``, or what the original node gives."""
        self.nodes[-1].output[0] = result or self._source.output[0]
        return self.nodes


def _input(node: NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _is_bias(value: np.ndarray | None, outputs: int) -> bool:
    """Whether a constant holds one number for each output, or one for all."""
    return value is not None and value.size in (1, outputs) and value.size == (value.shape[-1] if value.ndim else 1)


def _gemm(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    given, (a, b), bias = attributes(node), node.input[:2], _input(node, 2)
    left, right = rewriter.view.value(a), rewriter.view.value(b)
    matrix = right if right is not None else left
    if (left is None) == (right is None) or matrix.ndim != 2 or matrix.dtype.kind != "f":
        return None
    across_a, across_b = given.get("transA", 0), given.get("transB", 0)
    outputs = matrix.shape[0 if across_b else 1]
    if right is not None and not across_a and (not bias or _is_bias(rewriter.view.value(bias), outputs)):
        return None  # the plain form
    alpha = matrix.dtype.type(given.get("alpha", 1.0))
    layer = _Layer(node, rewriter, b if right is None else a)
    if right is None:  # y = A x, that is the transposed of x' A'
        layer = layer if across_b else layer.transposed([1, 0])
        layer.matmul(alpha * (matrix if across_a else matrix.T)).transposed([1, 0])
    else:
        layer = layer.transposed([1, 0]) if across_a else layer
        layer.matmul(alpha * (matrix.T if across_b else matrix))
    return _with_bias(layer, bias, given.get("beta", 1.0), rewriter, matrix.dtype).end()


def _with_bias(layer: _Layer, bias: str, factor: float, rewriter: Rewriter, kind: np.dtype) -> _Layer:
    if not bias or factor == 1:
        return layer.add(bias or None)
    value = rewriter.view.value(bias)
    if value is not None:
        return layer.add(kind.type(factor) * value)
    scaled = rewriter.fresh(f"{layer.name}.bias")
    layer.nodes.append(_node("Mul", [bias, rewriter.constant(np.asarray(factor, kind), f"{layer.name}.beta")], scaled))
    return layer.add(scaled)


def _matmul(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    a, b = node.input[:2]
    left, right = rewriter.view.value(a), rewriter.view.value(b)
    if left is not None and left.ndim == 2 and left.dtype.kind == "f":
        return _matmul_from_left(node, rewriter, left, rewriter.view.rank(b))
    rank = rewriter.view.rank(a)
    if right is not None and right.ndim > 2 and right.size == right.shape[-2] * right.shape[-1] and rank is not None and rank >= right.ndim:
        return _Layer(node, rewriter, a).matmul(right.reshape(right.shape[-2:])).end()
    return None


def _matmul_from_left(node: NodeProto, rewriter: Rewriter, left: np.ndarray, rank: int | None) -> list[NodeProto] | None:
    if rank is None:
        return None
    layer = _Layer(node, rewriter, node.input[1])
    if rank == 1:
        return layer.matmul(left.T).end()
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    return layer.transposed(swapped).matmul(left.T).transposed(swapped).end()


def _fused_matmul(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    given, weight = attributes(node), rewriter.view.value(node.input[1])
    if weight is None or weight.ndim != 2 or any(given.get(name, 0) for name in ("transA", "transBatchA", "transBatchB")):
        return None
    weight = weight.dtype.type(given.get("alpha", 1.0)) * (weight.T if given.get("transB", 0) else weight)
    return _Layer(node, rewriter, node.input[0]).matmul(weight).end()


def _fused_gemm(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    given = attributes(node)
    activation = given.pop("activation", b"").decode()
    factors = {name.removeprefix("activation_"): given.pop(name) for name in [*given] if name.startswith("activation_")}
    known = {"Relu": (), "Sigmoid": (), "Tanh": (), "LeakyRelu": ("alpha",), "Elu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
    if activation not in known:
        return None
    between = rewriter.fresh(node.output[0])
    gemm = _node("Gemm", list(node.input), between, node.name or node.output[0], **given)
    last = _node(activation, [between], node.output[0], **{name: factors[name] for name in known[activation] if name in factors})
    return [*(_gemm(gemm, rewriter) or [gemm]), last]


_PRODUCT = re.compile(r"(?P<lead>\.\.\.|[a-z]*)(?P<k>[a-z]),(?P<w>[a-z]{2})->(?P<out>\.\.\.|[a-z]*)(?P<n>[a-z])", re.IGNORECASE)


def _einsum(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    """``bti,io->bto`` and the like."""
    found = _PRODUCT.fullmatch(attributes(node).get("equation", b"").decode().replace(" ", ""))
    weight = rewriter.view.value(node.input[1]) if len(node.input) == 2 else None
    if not found or weight is None or found["lead"] != found["out"] or set(found["w"]) != {found["k"], found["n"]} or found["n"] in found["lead"]:
        return None
    if found["k"] in found["lead"] or len(set(found["lead"].replace(".", ""))) != len(found["lead"].replace(".", "")) or found["k"] == found["n"]:
        return None
    return _Layer(node, rewriter, node.input[0]).matmul(weight if found["w"] == found["k"] + found["n"] else weight.T).end()


def _real(values: np.ndarray | None, scale: np.ndarray | None, zero: np.ndarray | None) -> np.ndarray | None:
    """Quantised weights [inputs, outputs] as real numbers; scales and zeros are single values or one for each output."""
    if values is None or scale is None or values.ndim != 2 or scale.size not in (1, values.shape[1]):
        return None
    offset = np.int32(0) if zero is None else zero.astype(np.int32).reshape(-1)
    return ((values.astype(np.int32) - offset) * scale.reshape(-1)).astype(np.float32)


def _constant_or_absent(rewriter: Rewriter, name: str) -> bool:
    return not name or rewriter.view.is_constant(name)


def _qlinear_matmul(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.input[:8]
    weight = _real(*(rewriter.view.value(name) for name in (b, b_scale, b_zero)))
    if weight is None or not all(_is_single(rewriter, name) for name in (a_scale, a_zero, y_scale, y_zero)):
        return None
    layer = _Layer(node, rewriter, a).then("DequantizeLinear", a_scale, a_zero).matmul(weight)
    return layer.then("QuantizeLinear", y_scale, y_zero).end()


def _is_single(rewriter: Rewriter, name: str) -> bool:
    value = rewriter.view.value(name)
    return value is not None and value.size == 1


def _qgemm(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    given = attributes(node)
    a, a_scale, a_zero, b, b_scale, b_zero = node.input[:6]
    bias, y_scale, y_zero = (_input(node, index) for index in (6, 7, 8))
    quantised = rewriter.view.value(b)
    scales = rewriter.view.value(a_scale), rewriter.view.value(b_scale)
    weight = _real(quantised.T if quantised is not None and given.get("transB", 0) else quantised, scales[1], rewriter.view.value(b_zero))
    if weight is None or given.get("transA", 0) or not _is_single(rewriter, a_scale) or not _constant_or_absent(rewriter, bias):
        return None
    alpha = np.float32(given.get("alpha", 1.0))
    layer = _Layer(node, rewriter, a).then("DequantizeLinear", a_scale, a_zero).matmul(alpha * weight)
    if bias:
        layer.add((rewriter.view.value(bias) * alpha * scales[0].reshape(-1) * scales[1].reshape(-1)).astype(np.float32))
    return (layer.then("QuantizeLinear", y_scale, y_zero) if y_scale else layer).end()


def _dynamic_matmul(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    """onnxruntime's DynamicQuantizeMatMul: the input's quantisation is the engine's own business."""
    b, b_scale, b_zero, bias = (_input(node, index) for index in (1, 2, 3, 4))
    weight = _real(*(rewriter.view.value(name) for name in (b, b_scale, b_zero)))
    if weight is None:
        return None
    return _Layer(node, rewriter, node.input[0]).matmul(weight).add(bias or None).end()


def _scaled_integers(node: NodeProto, rewriter: Rewriter) -> list[NodeProto] | None:
    """The dynamic quantiser's pattern: Mul(Cast(MatMulInteger(x as bytes, constant)), Mul(scale of x, constant scale))."""
    for product, scales in (node.input[:2], node.input[1::-1]):
        cast, factors = rewriter.view.producers.get(product), rewriter.view.producers.get(scales)
        whole = rewriter.view.producers.get(cast.input[0]) if cast is not None and operator(cast) == "Cast" else None
        if whole is None or factors is None or operator(whole) != "MatMulInteger" or operator(factors) != "Mul":
            continue
        source = rewriter.view.producers.get(whole.input[0])
        if source is None or operator(source) != "DynamicQuantizeLinear" or source.output[1] not in factors.input:
            continue
        scale = factors.input[1 - list(factors.input).index(source.output[1])]
        weight = _real(*(rewriter.view.value(name) for name in (whole.input[1], scale, _input(whole, 3))))
        if weight is not None and _input(whole, 2) == source.output[2]:
            return _Layer(whole, rewriter, source.input[0]).matmul(weight).end(node.output[0])
    return None


REWRITES: dict[str, Callable[[NodeProto, Rewriter], list[NodeProto] | None]] = {
    "Gemm": _gemm, "MatMul": _matmul, "Einsum": _einsum, "QLinearMatMul": _qlinear_matmul, "Mul": _scaled_integers,
    _MICROSOFT + "FusedMatMul": _fused_matmul, _MICROSOFT + "FusedGemm": _fused_gemm, _MICROSOFT + "QGemm": _qgemm,
    _MICROSOFT + "DynamicQuantizeMatMul": _dynamic_matmul,
}
