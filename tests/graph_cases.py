"""ONNX graphs for tests: small ones of each kind, and a builder of random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
BATCH = 3


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """An operator; names are divided by blanks, ``-`` is an input left out."""
    return helper.make_node(kind, ["" if name == "-" else name for name in inputs.split()], outputs.split(), **attributes)


def microsoft(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """The same of onnxruntime's own operators."""
    return node(kind, inputs, outputs, domain="com.microsoft", **attributes)


def graph(nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray], inputs: dict[str, Sequence[int | str]],
          outputs: Sequence[str] = ("y",), kinds: dict[str, int] | None = None, opset: int = OPSET) -> onnx.ModelProto:
    """A model; inputs are float unless ``kinds`` says something else."""
    given = [helper.make_tensor_value_info(name, (kinds or {}).get(name, TensorProto.FLOAT), shape) for name, shape in inputs.items()]
    made = helper.make_graph(nodes, "graph", given, [helper.make_empty_tensor_value_info(name) for name in outputs],
                             [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)], ir_version=9)


def original(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What onnxruntime gives."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)


_RNG = np.random.default_rng(0)


def values(*shape: int, size: float = 0.4) -> np.ndarray:
    return (size * _RNG.standard_normal(shape)).astype(np.float32)


_VECTORS = ("Relu", "Tanh", "Sigmoid", "Elu", "Gelu", "HardSwish", "LeakyRelu", "Softplus", "Abs", "Neg", "Identity", "Erf", "Selu")


class Builder:
    """Builds a random graph, step by step; every step takes what is there and adds one tensor.

    All tensors are [batch, features] or [batch, tokens, features]; ``_shapes`` are those without the batch.
    """

    def __init__(self, seed: int, tokens: int) -> None:
        self._rng = np.random.default_rng(seed)
        shape = (tokens, 5) if tokens else (5,)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._shapes: dict[str, tuple[int, ...]] = {"x": shape}
        self.inputs = {"x": ["batch", *shape]}

    def step(self, kind: str, first: int, second: int) -> None:
        """Add the operator ``kind`` behind the tensors chosen by the two numbers, the newest being 0."""
        names = list(self._shapes)[::-1]
        source = names[first % len(names)]
        partners = [name for name in names if self._shapes[name] == self._shapes[source]]
        getattr(self, kind)(source, partners[second % len(partners)], second)

    def model(self) -> onnx.ModelProto:
        """The graph; its results are the tensors that nobody reads."""
        read = {name for made in self.nodes for name in made.input}
        outputs = [name for name in self._shapes if name not in read and name != "x"] or [list(self._shapes)[-1]]
        return graph(self.nodes, self.constants, self.inputs, outputs)

    def feeds(self) -> dict[str, np.ndarray]:
        return {"x": self._rng.standard_normal((BATCH, *self._shapes["x"])).astype(np.float32)}

    def _add(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        self._shapes[name] = shape
        return name

    def _constant(self, *shape: int) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = (0.5 * self._rng.standard_normal(shape)).astype(np.float32)
        return name

    def layer(self, x: str, _: str, choice: int) -> None:
        """Gemm or MatMul in one of their forms."""
        shape = self._shapes[x]
        outputs, inputs = 2 + choice % 5, shape[-1]
        given = (*shape[:-1], outputs)
        if len(shape) > 1 or choice % 3 == 0:
            product = self._add("MatMul", [x, self._constant(inputs, outputs)], given)
            self._add("Add", [product, self._constant(outputs)], given)
        elif choice % 3 == 1:
            self._add("Gemm", [x, self._constant(outputs, inputs), self._constant(outputs)], given, transB=1, alpha=0.5, beta=2.0)
        else:
            turned = self._add("Transpose", [x], ())
            del self._shapes[turned]
            self._add("Gemm", [turned, self._constant(inputs, outputs), self._constant(outputs)], given, transA=1)

    def left(self, x: str, _: str, choice: int) -> None:
        """A constant matrix on the left of a product: it mixes tokens."""
        shape = self._shapes[x]
        if len(shape) == 2:
            self._add("MatMul", [self._constant(shape[0], shape[0]), x], shape)

    def function(self, x: str, _: str, choice: int) -> None:
        self._add(_VECTORS[choice % len(_VECTORS)], [x], self._shapes[x])

    def gated(self, x: str, _: str, choice: int) -> None:
        """x * sigmoid(x), or the exporter's GELU."""
        shape = self._shapes[x]
        if choice % 2:
            self._add("Mul", [x, self._add("Sigmoid", [x], shape)], shape)
            return
        root, one, half = self._scalar(np.sqrt(2)), self._scalar(1), self._scalar(0.5)
        inner = self._add("Add", [self._add("Erf", [self._add("Div", [x, root], shape)], shape), one], shape)
        self._add("Mul", [self._add("Mul", [x, inner], shape), half], shape)

    def _scalar(self, value: float) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.float32(value)
        return name

    def clamp(self, x: str, _: str, choice: int) -> None:
        shape = self._shapes[x]
        if choice % 3 == 0:
            self._add("Clip", [x, self._scalar(-0.5), self._scalar(0.75)], shape)
        elif choice % 3 == 1:
            self._add("Max", [self._scalar(0), x], shape)
        else:
            self._add("PRelu", [x, self._constant(1)], shape)

    def affine(self, x: str, _: str, choice: int) -> None:
        shape = self._shapes[x]
        constant = self._constant(shape[-1]) if choice % 2 else self._constant(1)
        kind = ("Add", "Sub", "Mul", "Sub", "Div")[choice % 5]
        if kind == "Div":
            self.constants[constant] = np.abs(self.constants[constant]) + np.float32(0.5)
        self._add(kind, [constant, x] if choice % 7 == 3 and kind != "Div" else [x, constant], shape)

    def norm(self, x: str, _: str, choice: int) -> None:
        shape = self._shapes[x]
        features = shape[-1]
        if choice % 2 or len(shape) > 1:
            self._add("LayerNormalization", [x, self._constant(features), self._constant(features)], shape)
            return
        variance = self._constant(features)
        self.constants[variance] = np.abs(self.constants[variance]) + np.float32(0.1)
        self._add("BatchNormalization", [x, self._constant(features), self._constant(features), self._constant(features), variance], shape)

    def residual(self, x: str, other: str, choice: int) -> None:
        self._add(("Add", "Mul")[choice % 2], [x, other], self._shapes[x])

    def concat(self, x: str, other: str, _: int) -> None:
        shape = self._shapes[x]
        if shape[-1] <= 16:
            self._add("Concat", [x, other], (*shape[:-1], 2 * shape[-1]), axis=-1)

    def rows(self, x: str, _: str, choice: int) -> None:
        """Softmax, or the mean over tokens."""
        shape = self._shapes[x]
        if len(shape) == 2 and choice % 2:
            name = f"c{len(self.constants)}"
            self.constants[name] = np.array([1])
            self._add("ReduceMean", [x, name], shape[1:], keepdims=0)
        else:
            self._add("Softmax", [x], shape, axis=-1)

    def attention(self, x: str, other: str, _: int) -> None:
        """A product of two computed matrices."""
        shape = self._shapes[x]
        if len(shape) == 2:
            turned = self._add("Transpose", [other], (shape[1], shape[0]), perm=[0, 2, 1])
            self._add("MatMul", [x, turned], (shape[0], shape[0]))


STEPS = ("layer", "left", "function", "gated", "clamp", "affine", "norm", "residual", "concat", "rows", "attention")
