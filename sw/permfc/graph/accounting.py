"""What share of a network runs on the engine: weights, bytes, multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..config import EngineConfig
from ..image import size_report
from ..network import Network
from .onnx_view import bodies, operator
from .partition import Partition
from .runtime import open_model, run_model, with_outputs
from .whole import Row

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_FLOAT_BYTES = 4


def totals(model: ModelProto, part: Partition, rows: Sequence[Row], networks: dict[str, Network], feeds: dict[str, np.ndarray],
           config: EngineConfig) -> dict[str, float]:
    """Figures of a compressed network, those of the original among them: its layers' weights, all its numbers, multiplications for a sample.

    Parameters
    ----------
    model : ModelProto
        The original.
    part : Partition
    rows : sequence of Row
        Of all its layers, on the engine and on the host.
    networks : dict of str to Network
        The compressed chains.
    feeds : dict of str to array
        Inputs, for the sizes of what is computed.
    config : EngineConfig
        Its bus width pads the images.
    """
    weights = sum(chain.network.weight_count for chain in part.chains)
    image_bytes = sum(size_report(network, config).image_bytes for network in networks.values())
    engine, host = multiplications(part, feeds)
    samples = _samples(feeds)
    return {
        "engine_weights": weights, "image_bytes": image_bytes, "bits_per_weight": 8 * image_bytes / weights,
        "weights": sum(row.weights for row in rows), "host_bytes": sum(len(stage.host.SerializeToString()) for stage in part.stages if stage.host),
        "float_bytes": _FLOAT_BYTES * numbers(model.graph), "engine_multiplications": round(engine / samples),
        "multiplications": round((engine + host) / samples),
    }


def _samples(feeds: dict[str, np.ndarray]) -> int:
    """How many samples inputs are; what has no common first dimension is one."""
    counts = {len(array) if np.ndim(array) else 0 for array in feeds.values()}
    return max(counts.pop(), 1) if len(counts) == 1 else 1


def numbers(graph: GraphProto) -> int:
    """How many numbers a graph holds, sizes and indices left out, which are int64."""
    from onnx import TensorProto

    constants = [attribute.t for node in graph.node for attribute in node.attribute if attribute.name == "value"]
    held = [*graph.initializer, *constants, *(tensor.values for tensor in graph.sparse_initializer)]
    others = TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING, TensorProto.UNDEFINED
    own = sum(int(np.prod(tensor.dims)) for tensor in held if tensor.data_type not in others)
    return own + sum(numbers(body) for node in graph.node for body in bodies(node))


def multiplications(part: Partition, feeds: dict[str, np.ndarray]) -> tuple[int, int]:
    """How many of the engine, and how many of the host's convolutions and products of matrices."""
    view = part.view
    replaced = {id(node) for chain in part.chains for node in chain.nodes}
    nodes = [node for node in view.nodes if id(node) not in replaced and operator(node) in (*_CONVOLUTIONS, "MatMul", "Gemm")]
    nodes = [node for node in nodes if not view.is_constant(node.output[0])]
    names = list(dict.fromkeys(name for node in nodes for name in (node.output[0], *node.input[:2]) if not view.is_constant(name)))
    names += [chain.joint.x for chain in part.chains if chain.joint.x not in names]
    found = run_model(open_model(with_outputs(view.model, names), view.source), names, feeds, view.source)
    shapes = {name: np.shape(value) for name, value in zip(names, found, strict=True)}
    engine = sum(int(np.prod(shapes[chain.joint.x][:-1])) * chain.network.weight_count for chain in part.chains)
    return engine, sum(_products(node, shapes, part) for node in nodes)


def _products(node: NodeProto, shapes: dict[str, tuple[int, ...]], part: Partition) -> int:
    shapes = shapes | {name: part.view.value(name).shape for name in node.input[:2] if part.view.is_constant(name)}
    left, right, result = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if operator(node) == "Conv":
        return int(np.prod(result)) * int(np.prod(right[1:]))
    if operator(node) == "ConvTranspose":
        return int(np.prod(left)) * int(np.prod(right[1:]))
    across = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return int(np.prod(result)) * (left[0] if across else left[-1])
