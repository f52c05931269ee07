"""An ONNX model made plain before it is cut: no local functions, checked constants, and every fully connected layer as MatMul or Gemm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ModelError
from .fc_forms import REWRITES, Rewriter
from .onnx_view import GraphView, alive, bodies, consumed, label, operator

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def normalised(model: ModelProto, source: str) -> GraphView:
    """A model in which a fully connected layer is ``Gemm`` (without transA) or ``MatMul`` with a constant right operand.

    Raises
    ------
    ModelError
        If the model is damaged.
    """
    plain = _inlined(model, source)
    _check(plain.graph, source)
    _sort(plain.graph, source)
    _drop_inputs_with_values(plain.graph)
    view = GraphView(plain, source)
    rewriter = Rewriter(view)
    nodes = alive([part for node in view.nodes for part in _rewritten(node, rewriter)], view.outputs)
    if len(nodes) == len(view.nodes) and all(one is other for one, other in zip(nodes, view.nodes, strict=True)):
        return view
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    plain.graph.initializer.extend(rewriter.constants)
    return GraphView(plain, source)


def _rewritten(node: NodeProto, rewriter: Rewriter) -> Sequence[NodeProto]:
    rewrite = REWRITES.get(operator(node))
    if rewrite is None or all(rewriter.view.is_constant(name) for name in node.output if name):
        return [node]
    return rewrite(node, rewriter) or [node]


def _inlined(model: ModelProto, source: str) -> ModelProto:
    """A copy without local functions."""
    from onnx import ModelProto, inliner

    copy = ModelProto()
    copy.CopyFrom(model)
    if not model.functions:
        return copy
    try:
        return inliner.inline_local_functions(copy)
    except Exception as error:  # C++ exceptions of several classes
        raise ModelError(f"The functions of {source} cannot be put in place: {error}") from error


def _check(graph: GraphProto, source: str) -> None:
    """Refuse what no later step could name as clearly."""
    if not graph.output:
        raise ModelError(f"Model {source} is not a readable ONNX file: it has no graph with an output")
    for node in graph.node:
        if not any(node.output):
            raise ModelError(f"Operator {operator(node)} {node.name!r} of {source} has no output: the file is damaged")
        if operator(node) == "Constant" and not node.attribute:
            raise ModelError(f"{label(node)} of {source} has no value: the file is damaged, export it again")
        for body in bodies(node):
            _check_body(body, source)


def _check_body(graph: GraphProto, source: str) -> None:
    if graph.output:  # a body may, unlike a model, have no results
        _check(graph, source)


def _sort(graph: GraphProto, source: str) -> None:
    """Put nodes in order of execution, as ONNX demands and some exporters do not."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needs = [{producers[name] for name in consumed(node) if name in producers} for node in graph.node]
    if all(max(need, default=-1) < index for index, need in enumerate(needs)):
        return
    done: set[int] = set()
    order: list[int] = []
    waiting = list(range(len(needs)))
    while waiting:
        ready = [index for index in waiting if needs[index] <= done]
        if not ready:
            name = graph.node[waiting[0]].output[0]
            raise ModelError(f"Tensor {name!r} of {source} depends on itself: the file is damaged")
        order += ready
        done.update(ready)
        waiting = [index for index in waiting if index not in done]
    nodes = [graph.node[index] for index in order]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _drop_inputs_with_values(graph: GraphProto) -> None:
    """Old files list their weights among the inputs."""
    valued = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in valued]
    if len(inputs) < len(graph.input):
        copies = [type(value).FromString(value.SerializeToString()) for value in inputs]
        del graph.input[:]
        graph.input.extend(copies)
