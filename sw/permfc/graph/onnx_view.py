"""An ONNX graph as the partition sees it: nodes by what they produce and consume, constants by value, ranks where they are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from .runtime import open_model, run_model, with_outputs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
_STANDARD = ("", "ai.onnx")


def operator(node: NodeProto) -> str:
    """An operator's name, with its domain in front if it is not ONNX's own."""
    return node.op_type if node.domain in _STANDARD else f"{node.domain}.{node.op_type}"


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def label(node: NodeProto) -> str:
    """What messages call a node."""
    return f"Operator {operator(node)} {node.name or node.output[0]!r}"


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs inside a node: branches of If, bodies of Loop and Scan."""
    for attribute in node.attribute:
        yield from (attribute.g,) if attribute.HasField("g") else attribute.graphs


def consumed(node: NodeProto) -> list[str]:
    """Every tensor that a node reads, those that graphs inside it take from outside included."""
    return list(dict.fromkeys([*filter(None, node.input), *(name for body in bodies(node) for name in _captured(body))]))


def _captured(graph: GraphProto) -> Iterator[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)} | {value.values.name for value in graph.sparse_initializer}
    for node in graph.node:
        yield from (name for name in consumed(node) if name not in own)
        own.update(node.output)
    yield from (value.name for value in graph.output if value.name not in own)


def alive(nodes: Sequence[NodeProto], needed: Iterable[str]) -> list[NodeProto]:
    """Those nodes, in order of execution, on which something needed depends."""
    wanted, found = set(needed), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(consumed(node))
    return found[::-1]


class GraphView:
    """The main graph of a model; it is read, never changed.

    Members
    -------
    model : ModelProto
        Without local functions, its nodes in order of execution.
    source : str
        What messages call it.
    nodes : list of NodeProto
    initializers, sparse : dict of str to TensorProto, SparseTensorProto
        Constants that the file holds.
    inputs, outputs : list of str
    producers : dict of str to NodeProto
        By what they give.
    consumers : dict of str to list of NodeProto
        By what they read, inside bodies of loops too.
    """

    def __init__(self, model: ModelProto, source: str) -> None:
        self.model, self.source = model, source
        graph = model.graph
        self.nodes = list(graph.node)  # held, so that a node is one object however it is reached
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self.initializers]
        self.outputs = [value.name for value in graph.output]
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in consumed(node):
                self.consumers[name].append(node)
        self._constant = self._find_constants()
        self._values: dict[str, np.ndarray] = {}

    def _find_constants(self) -> set[str]:
        found = {*self.initializers, *self.sparse}
        for node in self.nodes:
            if node.op_type not in (*_RANDOM, "Dropout") and all(name in found for name in consumed(node)):
                found.update(name for name in node.output if name)
        return found

    def is_random(self, node: NodeProto) -> bool:
        """Whether two runs of an operator may give different results."""
        if node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]:
            return node.op_type in _RANDOM
        return not self.is_constant(node.input[2]) or bool(self.value(node.input[2]))

    def is_constant(self, name: str) -> bool:
        """Whether a tensor depends on no input of the graph."""
        return name in self._constant

    def value(self, name: str) -> np.ndarray | None:
        """A constant tensor's value; None if it is not constant.

        Raises
        ------
        ModelError
            If it cannot be computed.
        """
        if name not in self._constant:
            return None
        if name not in self._values:
            self._values |= self._stored(name) if name in self.initializers else self._computed
        value = self._values.get(name)
        return value if isinstance(value, np.ndarray) else None

    def _stored(self, name: str) -> dict[str, np.ndarray]:
        from onnx import numpy_helper

        tensor = self.initializers[name]
        try:
            return {name: numpy_helper.to_array(tensor)}
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"Tensor {name!r} of {self.source} does not hold values for its shape {list(tensor.dims)}: {error}") from error

    @cached_property
    def _computed(self) -> dict[str, np.ndarray]:
        """Every constant that a node computes and one that is none reads, all evaluated at once."""
        names = [name for name in self._constant if name in self.producers and (
            name in self.outputs or any(not self._is_constant_node(node) for node in self.consumers[name]))]
        return evaluate_constants(self, names)

    def _is_constant_node(self, node: NodeProto) -> bool:
        return any(name in self._constant for name in node.output if name)

    @cached_property
    def _seen(self) -> dict[str, tuple[str, list]]:
        """Type and shape of every tensor, as onnxruntime infers them."""
        names = [name for name in self.producers if name not in self._constant]
        session = open_model(with_outputs(self.model, names), self.source, optimised=False)
        return {value.name: (value.type, value.shape) for value in (*session.get_inputs(), *session.get_outputs())}

    def type_of(self, name: str) -> str:
        """A computed tensor's type, such as ``tensor(float)``."""
        return self._seen[name][0]

    def rank(self, name: str) -> int | None:
        """A computed tensor's number of dimensions, 1 or more, where it is known."""
        return len(self._seen[name][1]) or None if name in self._seen else None

    def width(self, name: str) -> int | None:
        """A computed tensor's last dimension, where it is known."""
        shape = self._seen[name][1] if name in self._seen else []
        return shape[-1] if shape and isinstance(shape[-1], int) else None

    def is_private(self, name: str, readers: Iterable[NodeProto]) -> bool:
        """Whether a tensor is read by these nodes alone and is no result."""
        allowed = {id(node) for node in readers}
        return name not in self.outputs and all(id(node) in allowed for node in self.consumers[name])

    def constant_nodes(self, names: Iterable[str]) -> list[NodeProto]:
        """The nodes that compute some constants, in order of execution."""
        needed, waiting = set(), list(names)
        while waiting:
            node = self.producers.get(waiting.pop())
            if node is not None and id(node) not in needed:
                needed.add(id(node))
                waiting += consumed(node)
        return [node for node in self.nodes if id(node) in needed]


def evaluate_constants(view: GraphView, names: list[str]) -> dict[str, np.ndarray]:
    """Values of constants that nodes compute, by onnxruntime."""
    if not names:
        return {}
    part = with_outputs(empty_model(view.model), names)
    nodes = view.constant_nodes(names)
    read = {name for node in nodes for name in consumed(node)}
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(tensor for name, tensor in view.initializers.items() if name in read)
    part.graph.sparse_initializer.extend(tensor for name, tensor in view.sparse.items() if name in read)
    part.graph.name = "constants"
    return dict(zip(names, run_model(open_model(part, f"the constants of {view.source}"), names, {}, view.source), strict=True))


def empty_model(model: ModelProto) -> ModelProto:
    """A model of the same version and operator sets, with an empty graph."""
    from onnx import ModelProto

    empty = ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    empty.opset_import.extend(model.opset_import)
    return empty
