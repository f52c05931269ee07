"""Pointwise functions between fully connected layers: which part of a graph is one, and the function that it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from ..functions import IDENTITY, RELU, Function, clip, leaky_relu
from .affine import does_nothing
from .onnx_view import GraphView, attributes, consumed, empty_model, operator
from .runtime import float_type, open_model, run_model, type_proto

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_POINTWISE = frozenset("""
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
    HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu
    Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor QuantizeLinear DequantizeLinear
    com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.QuickGelu
""".split())
_PROBE = np.linspace(-30, 30, 601, dtype=np.float32)  # where a function must be finite


@dataclass(frozen=True)
class Region:
    """A pointwise part of a graph.

    Members
    -------
    start, end : str
        Its only input and its only result.
    nodes : tuple of NodeProto
        In order of execution.
    """

    start: str
    end: str
    nodes: tuple[NodeProto, ...]


def region_before(end: str, starts: frozenset[str] | set[str], view: GraphView) -> Region | None:
    """The pointwise part from one of the tensors ``starts`` to ``end``; None if there is more than one, or another kind of operator."""
    found, sources, waiting = {}, set(), [end]
    while waiting:
        tensor = waiting.pop()
        if tensor in starts:
            sources.add(tensor)
            continue
        node = view.producers.get(tensor)
        if node is None or not _is_pointwise(node, tensor, view):
            return None
        if id(node) not in found:
            found[id(node)] = node
            waiting += [name for name in consumed(node) if not view.is_constant(name)]
    if len(sources) != 1:
        return None
    nodes = tuple(node for node in view.nodes if id(node) in found)
    start = sources.pop()
    if not all(view.is_private(name, nodes) for name in (start, *(node.output[0] for node in nodes)) if name != end):
        return None
    return Region(start, end, nodes)


def _is_pointwise(node: NodeProto, tensor: str, view: GraphView) -> bool:
    """Whether each number of a node's result depends on one number of the same place."""
    variables = [name for name in consumed(node) if not view.is_constant(name)]
    if len(variables) == 1 and does_nothing(node, variables[0], view):
        return True
    constants = [view.value(name) for name in consumed(node) if view.is_constant(name)]
    return operator(node) in _POINTWISE and tensor == node.output[0] and all(value is not None and value.size == 1 for value in constants)


def function_of(region: Region, view: GraphView) -> Function | None:
    """The function of a region; None if it is not finite everywhere near zero."""
    plain = _plain_function(region, view)
    if plain is not None:
        return plain
    kinds = [operator(node).rpartition(".")[2] for node in region.nodes]
    function = Function(kinds[0] if len(kinds) == 1 else "-".join(kinds), _evaluator(region, view))
    try:
        function(_PROBE)
    except ModelError:
        return None
    return function


def _plain_function(region: Region, view: GraphView) -> Function | None:
    """ReLU, clamps and LeakyReLU, which an engine computes better than by a table; None for others."""
    bounds, tensor = (-np.inf, np.inf), region.start
    for index, node in enumerate(region.nodes):
        slope = _slope(node, tensor, view)
        if slope is not None and bounds == (-np.inf, np.inf) and index + 1 == len(region.nodes):
            return leaky_relu(slope)
        clamp = _clamp(node, tensor, view)
        if clamp is None:
            return None
        low, high = (float(np.clip(bound, *clamp)) for bound in bounds)
        bounds, tensor = (low, high), node.output[0]
    return {(-np.inf, np.inf): IDENTITY, (0.0, np.inf): RELU}.get(bounds) or clip(*bounds)


def _slope(node: NodeProto, tensor: str, view: GraphView) -> float | None:
    if operator(node) == "LeakyRelu":
        return float(attributes(node).get("alpha", 0.01))
    if operator(node) == "PRelu" and node.input[0] == tensor:
        return float(view.value(node.input[1]).reshape(()))
    return None


def _clamp(node: NodeProto, tensor: str, view: GraphView) -> tuple[float, float] | None:
    """The bounds between which a node clamps; None if it does something else. A step of quantisation counts as the clamp that it is."""
    kind = operator(node)
    if does_nothing(node, tensor, view) or (kind == "Cast" and attributes(node)["to"] in _float_kinds()):
        return -np.inf, np.inf
    if kind == "Relu":
        return 0.0, np.inf
    if kind == "Clip":
        return _clip_bounds(node, view)
    if kind in ("Max", "Min") and len(node.input) == 2 and list(node.input).count(tensor) == 1:
        bound = float(view.value(node.input[1 - list(node.input).index(tensor)]).reshape(()))
        return (bound, np.inf) if kind == "Max" else (-np.inf, bound)
    if kind in ("QuantizeLinear", "DequantizeLinear") and node.input[0] == tensor:
        return _byte_range(node, view) if kind == "QuantizeLinear" else (-np.inf, np.inf)
    return None


def _float_kinds() -> tuple[int, ...]:
    from onnx import TensorProto

    return TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16


def _clip_bounds(node: NodeProto, view: GraphView) -> tuple[float, float]:
    given = attributes(node)  # of opset 6; later ones have inputs
    low, high = given.get("min", -np.inf), given.get("max", np.inf)
    if len(node.input) > 1 and node.input[1]:
        low = view.value(node.input[1]).reshape(())
    if len(node.input) > 2 and node.input[2]:
        high = view.value(node.input[2]).reshape(())
    return float(low), float(high)


def _byte_range(node: NodeProto, view: GraphView) -> tuple[float, float] | None:
    scale = float(view.value(node.input[1]).reshape(()))
    zero = view.value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.uint8(0)
    if zero.dtype.kind not in "iu":
        return None
    limits = np.iinfo(zero.dtype)
    return scale * (limits.min - int(zero)), scale * (limits.max - int(zero))


def _evaluator(region: Region, view: GraphView) -> Callable[[np.ndarray], np.ndarray]:
    """A function that onnxruntime evaluates, for arrays of any shape."""
    session = open_model(_extracted(region, view), f"the function before {region.end!r} of {view.source}")
    kind = float_type(view.type_of(region.start))

    def compute(x: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(x, dtype=kind).reshape(-1)
        return run_model(session, [region.end], {region.start: flat}, f"the function before {region.end!r}")[0].reshape(np.shape(x))

    return compute


def _extracted(region: Region, view: GraphView) -> ModelProto:
    """A model of a region alone; what does nothing becomes Identity, so that vectors of any length may pass."""
    from onnx import helper, numpy_helper

    model = empty_model(view.model)
    graph = model.graph
    graph.name = "function"
    variables = {region.start, *(name for node in region.nodes for name in node.output)}
    for node in region.nodes:
        passed = next(name for name in node.input if name in variables)
        graph.node.append(helper.make_node("Identity", [passed], [node.output[0]]) if does_nothing(node, passed, view) else node)
    read = dict.fromkeys(name for node in graph.node for name in consumed(node) if name not in variables)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(view.value(name)).reshape(()), name) for name in read)
    graph.input.append(helper.make_value_info(region.start, type_proto(view.type_of(region.start))))
    graph.output.append(helper.make_empty_tensor_value_info(region.end))
    return model
