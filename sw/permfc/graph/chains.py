"""From single fully connected layers to chains: which follow each other with a pointwise function between, and which share an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..functions import IDENTITY, Function
from ..importers.float_network import FloatLayer, FloatNetwork
from ..network.segments import MAX_SIZE
from .affine import affine
from .execution import Joint, Result
from .layers import Dense
from .onnx_view import GraphView
from .pointwise import function_of, region_before

if TYPE_CHECKING:
    from onnx import NodeProto


@dataclass(frozen=True, eq=False)
class Chain:
    """Fully connected layers that the engine computes in one run; the last one's results are raw.

    Members
    -------
    network : FloatNetwork
    joint : Joint
    nodes : list of NodeProto
        Those of the graph that it replaces.
    layers : tuple of tuple of Dense
        The graph's layers in each of the network's: several where they were put side by side.
    """

    network: FloatNetwork
    joint: Joint
    nodes: list[NodeProto]
    layers: tuple[tuple[Dense, ...], ...]

    @property
    def name(self) -> str:
        """Value of the chain's name, that of its first layer."""
        return self.joint.name


@dataclass(eq=False)
class _Stretch:
    """A chain that grows towards its input: its first layers share the input ``x``."""

    groups: list[list[Dense]]
    functions: list[Function]
    nodes: list[NodeProto]

    @property
    def x(self) -> str:
        return self.groups[0][0].x


def find_chains(layers: list[Dense], view: GraphView) -> list[Chain]:
    """The chains in order of execution. Layers that nothing can join are chains of their own."""
    by_result = {dense.y: dense for dense in layers}
    order = {id(node): index for index, node in enumerate(view.nodes)}
    stretches: list[_Stretch] = []
    for tensor in reversed(list(dict.fromkeys(dense.x for dense in sorted(layers, key=lambda dense: order[id(dense.nodes[0])])))):
        here = [stretch for stretch in stretches if stretch.x == tensor]
        here += [_Stretch([[dense]], [], list(dense.nodes)) for dense in layers
                 if dense.x == tensor and not any(dense in stretch.groups[0] for stretch in here)]
        stretches = [stretch for stretch in stretches if stretch not in here] + _joined(here)
        here = [stretch for stretch in stretches if stretch.x == tensor]
        if len(here) == 1:
            _prolong(here[0], by_result, view)
    made = [_chain(stretch, view) for stretch in stretches]
    return sorted(made, key=lambda chain: order[id(chain.layers[0][0].nodes[0])])


def _joined(stretches: list[_Stretch]) -> list[_Stretch]:
    """Single layers with the same input side by side, as long as an engine can have so many outputs."""
    single = [stretch for stretch in stretches if len(stretch.groups) == 1]
    if len(single) < 2 or sum(stretch.groups[0][0].outputs for stretch in single) > MAX_SIZE:
        return stretches
    members = [stretch.groups[0][0] for stretch in single]
    return [stretch for stretch in stretches if stretch not in single] + [
        _Stretch([members], [], [node for stretch in single for node in stretch.nodes])]


def _prolong(stretch: _Stretch, by_result: dict[str, Dense], view: GraphView) -> None:
    """Put the layer before it into a chain, if nothing but a pointwise function stands between."""
    members, tensor, folded, readers = stretch.groups[0], stretch.x, [], [dense.nodes[0] for dense in stretch.groups[0]]
    steps = []
    while tensor not in by_result and view.is_private(tensor, readers) and tensor in view.producers:
        node = view.producers[tensor]
        variables = [name for name in node.input if name and not view.is_constant(name)]
        step = affine(node, variables[0], members[0].inputs, view) if len(variables) == 1 else None
        if step is None or node.output[0] != tensor:
            break
        steps.append(step)
        folded.append(node)
        tensor, readers = variables[0], [node]
    region = region_before(tensor, by_result.keys(), view) if view.is_private(tensor, readers) else None
    if region is None or by_result[region.start].outputs != members[0].inputs:
        return
    function = function_of(region, view) if region.nodes else IDENTITY
    if function is None:
        return
    for scale, shift in steps:
        for dense in members:
            dense.precede(scale, shift)
    before = by_result[region.start]
    stretch.groups.insert(0, [before])
    stretch.functions.insert(0, function)
    stretch.nodes += [*before.nodes, *region.nodes, *folded]


def _chain(stretch: _Stretch, view: GraphView) -> Chain:
    functions = [*stretch.functions, IDENTITY]
    layers = tuple(_layer(group, function) for group, function in zip(stretch.groups, functions, strict=True))
    results = tuple(Result(dense.y, dense.outputs, view.type_of(dense.y)) for dense in stretch.groups[-1])
    joint = Joint(layers[0].name, stretch.x, results)
    return Chain(FloatNetwork(layers), joint, stretch.nodes, tuple(map(tuple, stretch.groups)))


def _layer(group: list[Dense], function: Function) -> FloatLayer:
    weight = np.concatenate([dense.weight for dense in group])
    return FloatLayer(weight, np.concatenate([dense.bias for dense in group]), function, "|".join(dense.name for dense in group))
