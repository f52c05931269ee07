"""The fully connected layers of a normalised graph, and why others are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from ..names import named
from ..network.segments import MAX_SIZE
from .affine import affine
from .onnx_view import GraphView, attributes, bodies, label, operator

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_MATRIX_OPERATORS = ("Gemm", "MatMul")
_INTEGER_OPERATORS = ("MatMulInteger", "QLinearMatMul", "com.microsoft.QGemm", "com.microsoft.MatMulIntegerToFloat", "com.microsoft.MatMulNBits",
                      "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.FusedGemm", "com.microsoft.FusedMatMul", "com.microsoft.QAttention",
                      "com.microsoft.Attention")
_RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(eq=False)
class Dense:
    """One fully connected layer of a graph, y = scale (W x + b) + shift with all that was folded into it.

    Members
    -------
    names : tuple of str
        By which a user may choose it; the first is the layer's name.
    weight : float32 [outputs, inputs]
    bias : float32 [outputs]
    x, y : str
        The tensors that it takes and gives, [..., inputs] and [..., outputs].
    nodes : list of NodeProto
        Those that it replaces.
    """

    names: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray
    x: str
    y: str
    nodes: list[NodeProto] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Value of the first name."""
        return self.names[0]

    @property
    def outputs(self) -> int:
        """Value of the rows of the weight."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """Value of the columns of the weight."""
        return self.weight.shape[1]

    def follow(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Put a factor and an offset behind the layer."""
        self.weight = (self.weight * np.broadcast_to(scale, self.outputs)[:, None]).astype(np.float32)
        self.bias = (self.bias * scale + shift).astype(np.float32)

    def precede(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Put a factor and an offset in front of the layer."""
        self.bias = (self.bias + self.weight @ np.broadcast_to(shift, self.inputs)).astype(np.float32)
        self.weight = (self.weight * scale).astype(np.float32)


@dataclass(frozen=True)
class Kept:
    """A layer that stays on the host.

    Members
    -------
    name : str
    shape : tuple of int
        [outputs, inputs], empty if there is none.
    weights : int
    reason : str
    """

    name: str
    shape: tuple[int, ...]
    weights: int
    reason: str


def find_layers(view: GraphView, chosen: Sequence[str] | None, skipped: Mapping[str, str]) -> tuple[list[Dense], list[Kept]]:
    """The layers for the engine in order of execution, with constants behind them folded in, and those that stay on the host.

    Raises
    ------
    ModelError
        If a name is of no layer, or a weight cannot be used.
    """
    all_layers = _unique([dense for node in view.nodes for dense in _dense(node, view)])
    _check_names(all_layers, [*(chosen or ()), *skipped], view)
    taken, kept = [], [kept for node in view.nodes for kept in _kept(node, view)]
    for dense in all_layers:
        reason = _reason(dense, chosen, skipped)
        if reason:
            kept.append(Kept(dense.name, dense.weight.shape, dense.weight.size, reason))
        else:
            taken.append(dense)
    for dense in taken:
        _fold(dense, view)
    return taken, kept


def _reason(dense: Dense, chosen: Sequence[str] | None, skipped: Mapping[str, str]) -> str:
    """Why a layer stays on the host; nothing if it goes to the engine."""
    for pattern, reason in skipped.items():
        if named(dense.names, [pattern]):
            return reason
    if chosen is not None and not named(dense.names, chosen):
        return "not among the layers named"
    if max(dense.weight.shape) > MAX_SIZE:
        return f"more than the {MAX_SIZE} inputs or outputs that an engine can have"
    return "" if dense.weight.size else "its weight is empty"


def _check_names(layers: list[Dense], names: Sequence[str], view: GraphView) -> None:
    unknown = [name for name in names if not any(named(dense.names, [name]) for dense in layers)]
    if unknown:
        there = ", ".join(f"{dense.name} {list(dense.weight.shape)}" for dense in layers) or "none"
        raise ModelError(f"Model {view.source} has no fully connected layer {unknown[0]!r}; it has {there}")


def _unique(layers: list[Dense]) -> list[Dense]:
    """Layers that share a weight go by their nodes."""
    shared = Counter(name for dense in layers for name in dense.names)
    for dense in layers:
        dense.names = tuple(name for name in dense.names if shared[name] == 1) or (dense.y,)
    return layers


def _dense(node: NodeProto, view: GraphView) -> Iterator[Dense]:
    if operator(node) not in _MATRIX_OPERATORS or len(node.input) < 2 or view.is_constant(node.input[0]):
        return
    given, weight, bias = attributes(node), view.value(node.input[1]), None
    if weight is None or weight.ndim != 2 or weight.dtype.kind != "f" or given.get("transA", 0):
        return
    weight = np.float32(given.get("alpha", 1.0)) * (weight if given.get("transB", 0) else weight.T).astype(np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = view.value(node.input[2])
        if bias is None or bias.size not in (1, len(weight)):
            return
        bias = np.float32(given.get("beta", 1.0)) * bias.reshape(-1).astype(np.float32)
    bias = np.broadcast_to(np.float32(0) if bias is None else bias, len(weight))
    _check_values(node, weight, bias, view)
    yield Dense(_names(node), weight, bias, node.input[0], node.output[0], [node])


def _check_values(node: NodeProto, weight: np.ndarray, bias: np.ndarray, view: GraphView) -> None:
    for what, values in (("weight", weight), ("bias", bias)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise ModelError(f"{label(node)} of {view.source} has {values[tuple(bad[0])]} in its {what} at {bad[0].tolist()}: train or export "
                             "the network again")


def _names(node: NodeProto) -> tuple[str, ...]:
    weight = node.input[1]
    module = weight.removesuffix(".weight")
    names = (module if module != weight else _scope(node) or node.name or node.output[0], node.name, node.output[0], weight)
    return tuple(dict.fromkeys(filter(None, names)))


def _scope(node: NodeProto) -> str:
    """The module that torch's exporter names in a node: ``encoder.fc1`` of ``/encoder/fc1/MatMul``."""
    module, _, last = node.name.rpartition("/")
    return module.strip("/").replace("/", ".") if node.name.startswith("/") and last.startswith(node.op_type) else ""


def _fold(dense: Dense, view: GraphView) -> None:
    """Take in the factors and offsets that follow, as long as nobody else reads what is between."""
    while len(view.consumers[dense.y]) == 1 and dense.y not in view.outputs:
        node = view.consumers[dense.y][0]
        step = affine(node, dense.y, dense.outputs, view)
        if step is None:
            return
        dense.follow(*step)
        dense.nodes.append(node)
        dense.y = node.output[0]


def _kept(node: NodeProto, view: GraphView) -> Iterator[Kept]:
    """What a reader may take for a fully connected layer although it cannot be one."""
    kind, name = operator(node), node.name or node.output[0]
    for body in bodies(node):
        yield from _in_body(body, name, kind, view)
    if kind in _RECURRENT:
        weights = [view.value(tensor) for tensor in node.input[1:3]]
        yield Kept(name, (), sum(value.size for value in weights if value is not None), f"inside the recurrent operator {kind}")
    elif kind in _INTEGER_OPERATORS:
        sizes = [view.value(tensor).size for tensor in node.input if tensor and view.value(tensor) is not None]
        yield Kept(name, (), max(sizes, default=0), f"operator {kind} is in no form that is known to equal a layer of real numbers")
    elif kind in _MATRIX_OPERATORS and not any(view.is_constant(tensor) for tensor in node.output) and not list(_dense(node, view)):
        yield _not_dense(node, name, view)


def _not_dense(node: NodeProto, name: str, view: GraphView) -> Kept:
    constants = [view.value(tensor) for tensor in node.input[:2] if view.is_constant(tensor)]
    if not constants:
        return Kept(name, (), 0, "both of its operands are computed, so it has no weights")
    return Kept(name, constants[0].shape, constants[0].size, "its weights are no matrix of real numbers that multiplies the last dimension")


def _in_body(body: GraphProto, outer: str, kind: str, view: GraphView) -> Iterator[Kept]:
    sizes = {tensor.name: tuple(tensor.dims) for tensor in body.initializer}
    for node in body.node:
        for inner in bodies(node):
            yield from _in_body(inner, outer, kind, view)
        if operator(node) in _MATRIX_OPERATORS and len(node.input) > 1:
            value = view.value(node.input[1])
            shape = sizes.get(node.input[1], () if value is None else value.shape)
            if len(shape) == 2:
                yield Kept(node.name or node.output[0], shape, int(np.prod(shape)), f"inside the body of {kind} {outer!r}")
