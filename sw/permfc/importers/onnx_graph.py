"""The fully connected layers of ONNX files, as the exporters of torch and Keras write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from .chain import Blocker, Role, Source, Step, Tail, read_tail
from .onnx_functions import onnx_function
from .quantised import dequantised, quantised_ranges

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_FINAL = ("Softmax", "LogSoftmax")
_PASS = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze")
_AFFINE: dict[str, Callable[[np.ndarray, bool], tuple[np.ndarray, np.ndarray] | None]] = {  # (constant, whether it comes last)
    "Add": lambda value, last: (np.ones_like(value), value),
    "Sub": lambda value, last: (np.ones_like(value), -value) if last else (-np.ones_like(value), value),
    "Mul": lambda value, last: (value, np.zeros_like(value)),
    "Div": lambda value, last: (1 / value, np.zeros_like(value)) if last and value.all() else None,
}
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def onnx_tail(model: ModelProto, path: Path, layers: Sequence[str] | None = None) -> Tail:
    """The fully connected layers at the end of a model, or those named; ``cut`` is the name of the tensor they start from."""
    try:
        graph = _Graph(model, path)
        tail = read_tail(graph.walk(layers[-1] if layers else None), graph.source, layers)
        return replace(tail, network=replace(tail.network, input_range=graph.range_of_inputs(tail, quantised_ranges(model))))
    except ModelError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:  # attributes of wrong types, unknown element types, nameless results
        raise ModelError(f"Model {path} is damaged: {error!r}") from error


class _Graph:
    """A model's nodes by what they produce and consume."""

    def __init__(self, model: ModelProto, path: Path) -> None:
        self.path = path
        self.constants = {tensor.name: self._array(tensor) for tensor in model.graph.initializer}
        self.nodes = [node for node in model.graph.node if not self._fold(node)]
        self.producers = {output: node for node in self.nodes for output in node.output}
        self.outputs = [value.name for value in model.graph.output]
        shapes = {names[0]: list(self._weight(node).shape) for node in self.nodes for names in [self._layer_names(node)] if names}
        shapes |= {node.name or node.output[0]: list(shape) for node in self.nodes for shape in self._odd_shapes(node)}
        convolutional = any(node.op_type in ("Conv", "ConvTranspose", "QLinearConv") for node in self.nodes)
        self.source = Source(str(path), shapes, convolutional)

    def _fold(self, node: NodeProto) -> bool:
        """Evaluate a node that only rearranges constants."""
        if node.op_type == "Constant":
            attributes = _attributes(node)
            value = attributes.get("value")
            if not attributes:
                raise ModelError(f"{_label(node)} of {self.path} has no value: the file is damaged")
            self.constants[node.output[0]] = np.asarray(next(iter(attributes.values()))) if value is None else self._array(value)
        elif node.op_type == "DequantizeLinear" and all(name in self.constants for name in node.input if name):
            self.constants[node.output[0]] = dequantised(*(self.constants[name] for name in node.input if name),
                                                         axis=_attributes(node).get("axis", 1))
        elif node.op_type in ("Transpose", "Identity") and node.input[0] in self.constants:
            value = self.constants[node.input[0]]
            self.constants[node.output[0]] = value if node.op_type == "Identity" else np.transpose(value, _attributes(node).get("perm"))
        else:
            return False
        return True

    def _array(self, tensor: TensorProto) -> np.ndarray:
        from onnx import numpy_helper

        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, KeyError) as error:
            raise ModelError(f"Tensor {tensor.name!r} of {self.path} does not hold values for its shape {list(tensor.dims)}: {error}") from error

    def walk(self, last: str | None) -> Iterator[Step | Blocker]:
        """The operators from the output, or from behind layer ``last``, back towards the input."""
        tensor, passed_layer, passed = self._end(last), False, set()
        while tensor in self.producers:
            if tensor in passed:
                raise ModelError(f"Tensor {tensor!r} of {self.path} depends on itself: the file is damaged")
            passed.add(tensor)
            node = self.producers[tensor]
            step = self._step(node)
            if step is None or (step.role is Role.FINAL and passed_layer):
                operands = " with a variable, transposed or higher-dimensional operand" if node.op_type in ("Gemm", "MatMul") else ""
                yield Blocker(_label(node) + operands)
                return
            passed_layer |= step.role is Role.LAYER
            tensor = str(step.cut)
            yield step

    def range_of_inputs(self, tail: Tail, ranges: dict[str, tuple[float, float]]) -> tuple[float, float] | None:
        """What a quantised file tells of a tail's inputs: the range of the tensor that its first layer takes, or of one with the same values."""
        first = next(index for index, step in enumerate(tail.steps) if step.role is Role.LAYER)
        if any(step.role is not Role.PASS for step in tail.steps[:first]):
            return None
        tensor, passed = str(tail.steps[first].cut), set()
        while tensor not in ranges and tensor in self.producers and tensor not in passed:
            passed.add(tensor)
            step = self._step(self.producers[tensor])
            if step is None or step.role is not Role.PASS:
                return None
            tensor = str(step.cut)
        return ranges.get(tensor)

    def _end(self, last: str | None) -> str:
        """The tensor with the results."""
        if last is None:
            if len(self.outputs) != 1:
                raise ModelError(f"Model {self.path} has the outputs {', '.join(self.outputs)}: name the layers to take with `layers`; "
                                 f"there are {self.source.inventory}")
            return self.outputs[0]
        node = next((node for node in self.nodes if last in self._layer_names(node)), None)
        if node is None:
            raise ModelError(f"Model {self.path} has no fully connected layer {last!r}; it has {self.source.inventory}")
        for _ in self.nodes:
            tensor = node.output[0]
            consumers = [other for other in self.nodes if tensor in other.input]
            step = self._step(consumers[0]) if len(consumers) == 1 else None
            if step is None or step.role not in (Role.AFFINE, Role.FUNCTION, Role.PASS) or tensor in self.outputs:
                break
            node = consumers[0]
        return tensor

    def _step(self, node: NodeProto) -> Step | None:
        """What a node means to a chain; None if it cannot be part of one."""
        attributes, label = _attributes(node), _label(node)
        if node.op_type in _FINAL:
            return Step(Role.FINAL, label, cut=node.input[0])
        if node.op_type in _PASS and self._keeps_vectors(node, attributes):
            return Step(Role.PASS, label, cut=node.input[0])
        if node.op_type in _ROUNDING and (node.input[0] in self.producers or node.op_type == "QuantizeLinear"):
            return Step(Role.PASS, label, cut=node.input[0])  # to steps finer than the engine's, which has its own
        function = onnx_function(node, attributes, self.constants)
        if function is not None:
            return Step(Role.FUNCTION, label, lambda chain: chain.function(label, function[0]), cut=function[1], function=function[0])
        if node.op_type in _AFFINE:
            return self._affine(node, label)
        if node.op_type == "BatchNormalization":
            return self._batch_norm(node, attributes, label)
        if self._layer_names(node):
            return self._layer(node, attributes)
        return None

    def _layer_names(self, node: NodeProto) -> tuple[str, ...]:
        """What a fully connected layer may be called; nothing if this node is none."""
        if node.op_type not in ("Gemm", "MatMul") or _attributes(node).get("transA", 0):
            return ()
        weight, bias = node.input[1], node.input[2] if len(node.input) > 2 else ""
        if self.constants.get(weight, np.empty(0)).ndim != 2 or node.input[0] in self.constants or (bias and bias not in self.constants):
            return ()
        module = weight.removesuffix(".weight")
        names = (module if module != weight else node.name or node.output[0], node.name, node.output[0], weight)
        return tuple(dict.fromkeys(name for name in names if name))

    def _odd_shapes(self, node: NodeProto) -> Iterator[tuple[int, ...]]:
        """The weight's shape of what is a fully connected layer but in no form that a chain takes: transposed, or W on the left."""
        if node.op_type in ("Gemm", "MatMul") and not self._layer_names(node):
            constants = [self.constants[name] for name in node.input[:2] if name in self.constants]
            yield from (value.shape for value in constants[:1] if value.ndim == 2)

    def _weight(self, node: NodeProto) -> np.ndarray:
        """Of a fully connected layer, [outputs, inputs]."""
        weight = self.constants[node.input[1]]
        return weight if _attributes(node).get("transB", 0) else weight.T

    def _layer(self, node: NodeProto, attributes: dict) -> Step:
        weight, names, alpha = self._weight(node), self._layer_names(node), attributes.get("alpha", 1.0)
        weight = weight if alpha == 1 else alpha * weight
        bias = None
        if len(node.input) > 2 and node.input[2]:
            value = attributes.get("beta", 1.0) * self.constants[node.input[2]]
            if value.size not in (1, len(weight)) or value.size != (value.shape[-1] if value.ndim else 1):
                raise ModelError(f"{_label(node)} of {self.path} adds a bias of shape {list(value.shape)} to {len(weight)} outputs; "
                                 "one value for each output is supported")
            bias = np.broadcast_to(value.reshape(-1), len(weight))
        return Step(Role.LAYER, _label(node), lambda chain: chain.layer(names[0], weight, bias), weight.shape[1], names, node.input[0])

    def _affine(self, node: NodeProto, label: str) -> Step | None:
        """Add, Sub, Mul or Div with one constant."""
        variable = [name for name in node.input if name not in self.constants]
        constant = [self.constants[name] for name in node.input if name in self.constants]
        if len(variable) != 1 or len(constant) != 1 or constant[0].size != (constant[0].shape[-1] if constant[0].ndim else 1):
            return None
        value = constant[0].reshape(-1)
        factors = _AFFINE[node.op_type](value, node.input[0] == variable[0])
        if factors is None or not np.isfinite(factors).all():
            return None
        return Step(Role.AFFINE, label, lambda chain: chain.affine(label, *factors), value.size, cut=variable[0])

    def _batch_norm(self, node: NodeProto, attributes: dict, label: str) -> Step | None:
        if attributes.get("training_mode", 0) or not all(name in self.constants for name in node.input[1:5]):
            return None
        gamma, beta, mean, variance = (self.constants[name] for name in node.input[1:5])
        with np.errstate(invalid="ignore", divide="ignore"):  # a variance below zero gives NaN, which FloatLayer reports
            scale = gamma / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5)))
        shift = beta - mean * scale
        return Step(Role.AFFINE, label, lambda chain: chain.affine(label, scale, shift), scale.size, cut=node.input[0])

    def _keeps_vectors(self, node: NodeProto, attributes: dict) -> bool:
        """Whether the node gives a vector for every sample and changes no value."""
        if node.op_type == "Flatten":
            return attributes.get("axis", 1) == 1
        if node.op_type == "Reshape":
            shape = self.constants.get(node.input[1])
            parts = self.producers.get(node.input[1])
            return shape.size == 2 if shape is not None else parts is not None and parts.op_type == "Concat" and len(parts.input) == 2
        return True


def _attributes(node: NodeProto) -> dict:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _label(node: NodeProto) -> str:
    return f"Operator {node.op_type} {node.name or node.output[0]!r}"
