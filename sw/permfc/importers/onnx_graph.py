"""Networks from ONNX files: a chain of Gemm or MatMul + Add, Relu, and operators that change nothing for a batch of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError, ToolError
from .float_network import FloatLayer, FloatNetwork

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SUPPORTED = ("Gemm", "MatMul", "Add", "Relu", "Flatten", "Reshape", "Identity", "Dropout")


def read_onnx(path: Path) -> FloatNetwork:
    """The network in an ONNX file."""
    try:
        import onnx
    except ImportError as error:
        raise ToolError(f"Reading {path} needs onnx: pip install 'permfc[onnx]'") from error
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own exceptions differ between its versions
        raise ModelError(f"Model {path} is not a readable ONNX file: {error}") from error
    return _Chain(model, path).network()


@dataclass
class _Pending:
    """A layer that later nodes may still give a bias or a ReLU."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    relu: bool = False

    def finished(self) -> FloatLayer:
        bias = np.zeros(len(self.weight), dtype=np.float32) if self.bias is None else self.bias
        return FloatLayer(self.weight, bias, self.relu, self.name)


class _Chain:
    """Walks the graph from its input to its output, one node after the other."""

    def __init__(self, model: ModelProto, path: Path) -> None:
        from onnx import numpy_helper

        self.path = path
        self.graph = model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.nodes = [node for node in model.graph.node if not self._fold(node)]
        inputs = [value.name for value in model.graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise ModelError(f"Model {path} must have one input and one output, not {len(inputs)} and {len(model.graph.output)}")
        self.tensor = self.input = inputs[0]
        self.output = model.graph.output[0].name
        self.layers: list[_Pending] = []

    def _fold(self, node: NodeProto) -> bool:
        """Evaluate a node that only rearranges constants."""
        from onnx import numpy_helper

        if node.op_type == "Constant":
            attributes = _attributes(node)
            if "value" in attributes:
                self.constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
            else:
                self.constants[node.output[0]] = np.asarray(next(iter(attributes.values())))
        elif node.op_type in ("Transpose", "Identity") and node.input[0] in self.constants:
            value = self.constants[node.input[0]]
            self.constants[node.output[0]] = value if node.op_type == "Identity" else np.transpose(value, _attributes(node).get("perm"))
        else:
            return False
        return True

    def network(self) -> FloatNetwork:
        for node in self.nodes:
            if self.tensor == self.output:
                break
            if self.tensor not in node.input or node.op_type not in _SUPPORTED:
                raise self._unsupported(node)
            getattr(self, f"_{node.op_type.lower()}")(node)
            self.tensor = node.output[0]
        if self.tensor != self.output:
            raise ModelError(f"Model {self.path} is not a chain: its output {self.output!r} does not follow from {self.tensor!r}")
        return FloatNetwork(tuple(layer.finished() for layer in self.layers))

    def _gemm(self, node: NodeProto) -> None:
        attributes = _attributes(node)
        weight = self.constants.get(node.input[1])
        offset = node.input[2] if len(node.input) > 2 else ""
        if attributes.get("transA", 0) or weight is None or (offset and offset not in self.constants):
            raise self._unsupported(node, "Gemm with a transposed or variable operand")
        weight = weight if attributes.get("transB", 0) else weight.T
        bias = None
        if offset:
            bias = attributes.get("beta", 1.0) * self._per_output(node, self.constants[offset], weight.shape[0])
        self.layers.append(_Pending(_label(node), attributes.get("alpha", 1.0) * weight, bias))

    def _matmul(self, node: NodeProto) -> None:
        weight = self.constants.get(node.input[1])
        if weight is None or weight.ndim != 2:
            raise self._unsupported(node, "MatMul without a constant matrix as second operand")
        self.layers.append(_Pending(_label(node), weight.T, None))

    def _add(self, node: NodeProto) -> None:
        other = node.input[1] if node.input[0] == self.tensor else node.input[0]
        if other not in self.constants or not self.layers or self.layers[-1].bias is not None or self.layers[-1].relu:
            raise self._unsupported(node, "Add that is not the bias of a MatMul before it")
        self.layers[-1].bias = self._per_output(node, self.constants[other], len(self.layers[-1].weight))

    def _relu(self, node: NodeProto) -> None:
        if not self.layers:
            raise self._unsupported(node, "Relu before the first fully connected layer")
        self.layers[-1].relu = True

    def _flatten(self, node: NodeProto) -> None:
        if _attributes(node).get("axis", 1) != 1:
            raise self._unsupported(node, "Flatten with another axis than 1")

    def _reshape(self, node: NodeProto) -> None:
        shape = self.constants.get(node.input[1])
        if shape is None or shape.size != 2:
            raise self._unsupported(node, "Reshape to something else than [samples, features]")

    def _identity(self, node: NodeProto) -> None:
        """Nothing to do."""

    def _dropout(self, node: NodeProto) -> None:
        """Nothing to do at inference."""

    def _per_output(self, node: NodeProto, value: np.ndarray, outputs: int) -> np.ndarray:
        """A bias broadcast to one value an output."""
        if value.size not in (1, outputs) or value.size != (value.shape[-1] if value.ndim else 1):
            raise self._unsupported(node, f"bias of shape {list(value.shape)} for {outputs} outputs")
        return np.broadcast_to(value.reshape(-1), (outputs,)).copy()

    def _unsupported(self, node: NodeProto, what: str = "") -> ModelError:
        """An error that names the node and how to cut the model there."""
        reason = f" ({what})" if what else ""
        if self.layers:
            where, inputs, outputs = "before", self.input, self.tensor
        else:
            where, inputs, outputs = "behind", node.output[0], self.output
        return ModelError(f"Operator {node.op_type} {_label(node)!r} of {self.path}{reason} is not part of a fully connected network: cut the "
                          f"model {where} it, e.g. onnx.utils.extract_model({str(self.path)!r}, 'cut.onnx', [{inputs!r}], [{outputs!r}])")


def _attributes(node: NodeProto) -> dict[str, object]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _label(node: NodeProto) -> str:
    return node.name or node.output[0]
