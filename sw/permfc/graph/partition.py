"""Cutting an ONNX graph: chains of fully connected layers for the engine, and what the host runs before, between and behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ModelError
from .chains import Chain, find_chains
from .execution import Plan
from .layers import Kept, find_layers
from .normalise import normalised
from .onnx_view import GraphView, alive, consumed, empty_model
from .runtime import type_proto

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


@dataclass(frozen=True)
class Stage:
    """One step of a whole network: first the host's part, then the chains whose inputs it makes.

    Members
    -------
    host : ModelProto or None
        Its inputs and outputs are tensors of the graph; None if the chains need nothing from the host.
    chains : tuple of Chain
    """

    host: ModelProto | None
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class Partition:
    """A graph in stages.

    Members
    -------
    view : GraphView
        The graph, its layers in plain forms.
    stages : tuple of Stage
    kept : list of Kept
        Layers that stay on the host.
    """

    view: GraphView
    stages: tuple[Stage, ...]
    kept: list[Kept]

    def plan(self) -> Plan:
        """The stages ready to run."""
        parts = [(stage.host and stage.host.SerializeToString(), [chain.joint for chain in stage.chains]) for stage in self.stages]
        return Plan(parts, self.view.source)

    @property
    def chains(self) -> list[Chain]:
        """Value of the chains in order of execution."""
        return [chain for stage in self.stages for chain in stage.chains]


def partition(model: ModelProto, source: str = "the model", layers: Sequence[str] | None = None, skip: Mapping[str, str] | None = None) -> Partition:
    """Cut a graph.

    Parameters
    ----------
    model : ModelProto
        It is not changed.
    source : str
        What messages call it.
    layers : names of layers or patterns, optional
        The only ones to take; all that an engine can have otherwise.
    skip : mapping of names of layers, or patterns, to str, optional
        Those to leave on the host, and why.

    Raises
    ------
    ModelError
        If the model is damaged, onnxruntime cannot run it, it has no layer for the engine, or a name is of no layer.
    ToolError
        If onnx or onnxruntime is not installed.
    """
    try:
        view = normalised(model, source)
        found, kept = find_layers(view, layers, skip or {})
        if not found:
            raise _no_layer(source, kept)
        chains = _needed(find_chains(found, view), view)
        return Partition(view, tuple(_stages(chains, view)), kept)
    except ModelError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:  # attributes of wrong types, missing operands
        raise ModelError(f"Model {source} is damaged: {error!r}") from error


def _no_layer(source: str, kept: list[Kept]) -> ModelError:
    why = "; ".join(f"{layer.name}: {layer.reason}" for layer in kept[:5])
    return ModelError(f"{source} has no fully connected layer that an engine can have" + (f" ({why})" if why else "")
                      + ": run it with onnxruntime alone")


def _needed(chains: list[Chain], view: GraphView) -> list[Chain]:
    """The chains on which a result of the graph depends."""
    by_result = {result.tensor: chain for chain in chains for result in chain.joint.results}
    needed, seen, waiting = [], set(), list(view.outputs)
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in by_result:
            needed.append(by_result[tensor])
            waiting.append(by_result[tensor].joint.x)
        elif tensor in view.producers:
            waiting += consumed(view.producers[tensor])
    return [chain for chain in chains if chain in needed]


class _Levels:
    """On which level each tensor is: how many chains, one behind the other, it depends on."""

    def __init__(self, chains: list[Chain], view: GraphView) -> None:
        self._view = view
        self._level = dict.fromkeys(view.inputs, 0)
        first = {id(chain.layers[0][0].nodes[0]): chain for chain in chains}
        replaced = {id(node) for chain in chains for node in chain.nodes}
        self.nodes: dict[int, list[NodeProto]] = {}
        self.chains: dict[int, list[Chain]] = {}
        self._result_levels: dict[str, int] = {}
        for node in view.nodes:
            if id(node) in first:
                self._add_chain(first[id(node)])
            if id(node) not in replaced and not all(view.is_constant(name) for name in node.output if name):
                self._add_node(node)

    def _add_chain(self, chain: Chain) -> None:
        level = self.of(chain.joint.x)
        self.chains.setdefault(level, []).append(chain)
        self._result_levels |= {result.tensor: level + 1 for result in chain.joint.results}

    def _add_node(self, node: NodeProto) -> None:
        level = max((self.of(name) for name in consumed(node)), default=0)
        self.nodes.setdefault(level, []).append(node)
        self._level |= dict.fromkeys(filter(None, node.output), level)

    def of(self, tensor: str) -> int:
        return self._result_levels[tensor] if tensor in self._result_levels else self._level.get(tensor, 0)


def _stages(chains: list[Chain], view: GraphView) -> list[Stage]:
    levels = _Levels(chains, view)
    last = max((*levels.nodes, *levels.chains))
    needed = {*view.outputs}
    stages = []
    for level in range(last, -1, -1):  # from the end, since a stage gives what later ones need
        here = tuple(levels.chains.get(level, ()))
        needed |= {chain.joint.x for chain in here}
        nodes = alive(levels.nodes.get(level, []), needed)
        constants = [name for name in view.outputs if view.is_constant(name)] if level == 0 else []
        host = _host(nodes, constants, needed, view)
        stages.append(Stage(host, here))
        needed |= {value.name for value in host.graph.input} if host else set()
    return stages[::-1]


def _host(nodes: list[NodeProto], constants: list[str], needed: set[str], view: GraphView) -> ModelProto | None:
    """The model of some nodes: it gives what is needed, and takes from outside what it does not make itself."""
    from onnx import helper

    if not nodes and not constants:
        return None
    read = dict.fromkeys([*(name for node in nodes for name in consumed(node)), *constants])
    fixed = view.constant_nodes(name for name in read if view.is_constant(name))
    read |= dict.fromkeys(name for node in fixed for name in consumed(node))
    made = {name for node in nodes for name in node.output if name}
    model = empty_model(view.model)
    graph = model.graph
    graph.name = "host"
    graph.node.extend([*fixed, *nodes])
    graph.initializer.extend(tensor for name, tensor in view.initializers.items() if name in read)
    graph.sparse_initializer.extend(tensor for name, tensor in view.sparse.items() if name in read)
    given = {value.name: value for value in view.model.graph.input}
    for name in read:
        if name not in made and not view.is_constant(name):
            graph.input.append(given.get(name) or helper.make_value_info(name, type_proto(view.type_of(name))))
    results = [name for node in nodes for name in node.output if name in needed] + constants
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in results)
    return model
