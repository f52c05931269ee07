"""An ONNX graph that grows operator by operator, for the readers of other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import ModelError
from .packages import required

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 20, 9  # the first with Gelu, and the oldest that goes with it
_MOST_NODES = 20_000  # models within models that are called twice each grow without bound


class Tensor(NamedTuple):
    """A result within a graph.

    Members
    -------
    name : str
    shape : tuple of int or None
        None for sizes that only inputs tell, first of all the batch.
    """

    name: str
    shape: tuple[int | None, ...]


class OnnxBuilder:
    """A graph for ``path``, whose name stands in errors; ``extra`` is what brings onnx if it is missing."""

    def __init__(self, path: Path, extra: str) -> None:
        self._onnx = required("onnx", extra, path)
        self._path = path
        self._nodes: list = []
        self._inputs: list = []
        self._constants: dict[str, np.ndarray] = {}
        self._taken: dict[str, int] = {}  # names, and how often each was asked for

    def unique(self, name: str) -> str:
        """``name``, or that with a number if it is taken."""
        found = name
        while not found or found in self._taken:
            self._taken[name] = self._taken.get(name, 0) + 1
            found = f"{name}_{self._taken[name]}"
        self._taken[found] = 0
        return found

    def input(self, name: str, kind: np.dtype, shape: Sequence[int | str | None]) -> str:
        """An input of the model; strings name sizes that are free."""
        name = self.unique(name)
        self._inputs.append(self._value(name, kind, shape))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """A constant; the same values under the same name are kept once, as for a layer that is called
        twice."""
        known = self._constants.get(name)
        if known is not None and known.dtype == value.dtype and np.array_equal(known, value):
            return name
        name = self.unique(name)
        self._constants[name] = value
        return name

    def number(self, value: float) -> str:
        """A float32 without dimensions."""
        return self.constant(f"number_{value:g}", np.array(value, dtype=np.float32))

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        """An operator with one result, whose name is returned."""
        if len(self._nodes) >= _MOST_NODES:
            raise ModelError(
                f"Model {self._path} has more than {_MOST_NODES} operators: it is damaged, or its "
                f"parts call one another too often"
            )
        name = self.unique(name)
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def model(self, outputs: Sequence[tuple[str, Tensor, np.dtype]]) -> ModelProto:
        """The graph whose results are the given tensors, each under a name that ``unique`` gave."""
        helper = self._onnx.helper
        self._finish([(name, tensor.name) for name, tensor, _ in outputs])
        values = [self._value(name, kind, tensor.shape) for name, tensor, kind in outputs]
        used = {name for node in self._nodes for name in node.input}
        constants = [
            self._onnx.numpy_helper.from_array(value, name)
            for name, value in self._constants.items()
            if name in used
        ]
        graph = helper.make_graph(self._nodes, self._path.stem, self._inputs, values, constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="permfc")

    def _finish(self, outputs: Sequence[tuple[str, str]]) -> None:
        """Give results their final names; what is an input, a constant or a result already is copied."""
        produced, final = {node.output[0] for node in self._nodes}, {}
        for name, tensor in outputs:
            if tensor in produced and tensor not in final:
                final[tensor] = name
            else:
                self._nodes.append(self._onnx.helper.make_node("Identity", [tensor], [name], name=name))
        for node in self._nodes:
            node.input[:] = [final.get(name, name) for name in node.input]
            node.output[:] = [final.get(name, name) for name in node.output]

    def _value(self, name: str, kind: np.dtype, shape: Sequence[int | str | None]) -> object:
        element = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return self._onnx.helper.make_tensor_value_info(name, element, shape)
