"""TensorFlow Lite files as ONNX: float, float16 weights, int8 weights, and int8 throughout.

What is quantised becomes float operators between QuantizeLinear and DequantizeLinear with the file's
scales and zero points.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError, PermfcError
from .onnx_builder import OnnxBuilder, Tensor
from .packages import required
from .tflite_operators import Operator, translate
from .tflite_tensors import CURE, QUANTISED, Budget, TfliteTensor, vector

if TYPE_CHECKING:
    from onnx import ModelProto


def tflite_to_onnx(path: Path) -> ModelProto:
    """A TensorFlow Lite model as an ONNX graph, whose inputs and outputs have the file's names and types.

    Parameters
    ----------
    path : Path

    Returns
    -------
    onnx.ModelProto
        With a free batch if all tensors of the file have one row.

    Raises
    ------
    ModelError
        If the file is damaged, or holds an operator or a type that is not read.
    ToolError
        If tflite or onnx is not installed.
    """
    path = Path(path)
    schema = required("tflite", "tflite", path)
    try:
        return _convert(path, path.read_bytes(), schema)
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}") from error
    except (
        struct.error,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
    ) as error:
        if isinstance(error, PermfcError):
            raise
        raise ModelError(
            f"Model {path} is not a whole TensorFlow Lite file, {error}: copy or convert it again"
        ) from error


def _convert(path: Path, content: bytes, schema: ModuleType) -> ModelProto:
    if content[4:8] != b"TFL3":
        raise ModelError(
            f"Model {path} is not a TensorFlow Lite file: it does not say TFL3 at its fifth byte"
        )
    model = schema.Model.GetRootAs(content)
    if model.SubgraphsLength() != 1:
        raise ModelError(f"Model {path} has {model.SubgraphsLength()} subgraphs, where one is read: {CURE}")
    return Translation(path, content, model, schema).model()


class Translation:
    """A file on its way to ONNX.

    Members
    -------
    builder : OnnxBuilder
    free_batch : bool
        Whether the first dimension of all tensors is the batch.
    """

    def __init__(self, path: Path, content: bytes, model: object, schema: ModuleType) -> None:
        self.builder = OnnxBuilder(path, "tflite")
        self._path, self._model, self._schema, self._length = path, model, schema, len(content)
        self._graph = model.Subgraphs(0)
        self._budget = Budget(path, len(content))
        self._tensors: dict[int, TfliteTensor] = {}
        self._values: dict[int, str] = {}  # in float
        self._constants: dict[tuple[TfliteTensor, str, bool], str] = {}
        self._bytes: dict[int, str] = {}  # of quantised tensors
        self._operators = [operator for operator in self._read_operators() if not self._folded(operator)]
        computed = [
            index
            for operator in self._operators
            for index in (*operator.inputs[:1], *operator.outputs)
            if index >= 0
        ]
        self.free_batch = all(
            self.tensors(index).shape[:1] == (1,) for index in computed if self.tensors(index).data is None
        )

    def _read_operators(self) -> list[Operator]:
        """The operators in the file's order, which is that of execution."""
        count = self._graph.OperatorsLength()
        self._budget.spend(4 * count)
        return [self._read_operator(index) for index in range(count)]

    def _read_operator(self, index: int) -> Operator:
        table = self._graph.Operators(index)
        inputs, outputs = vector(table.InputsAsNumpy()), vector(table.OutputsAsNumpy())
        self._budget.spend(4 * (len(inputs) + len(outputs)))
        kind = self._kind(table.OpcodeIndex())
        return Operator(
            kind,
            f"Operator {index} {kind} of {self._path}",
            table,
            inputs.tolist(),
            outputs.tolist(),
            self._schema,
        )

    def _folded(self, operator: Operator) -> bool:
        """Whether an operator only widens a constant, as in files with float16 weights: its result is
        then that constant."""
        if operator.kind != "DEQUANTIZE" or len(operator.inputs) != 1 or len(operator.outputs) != 1:
            return False
        source = self.tensors(operator.inputs[0])
        if source.data is not None:
            self._tensors[operator.outputs[0]] = source
        return source.data is not None

    def _kind(self, index: int) -> str:
        """The name of an operator."""
        if index >= self._model.OperatorCodesLength():
            raise ModelError(
                f"Model {self._path} has no operator code {index}, so the file is damaged: copy or "
                f"convert it again"
            )
        code = self._model.OperatorCodes(index)
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if number == self._schema.BuiltinOperator.CUSTOM:
            return f"CUSTOM {(code.CustomCode() or b'').decode('utf-8', 'replace')[:60]!r}"
        names = {
            value: name
            for name, value in vars(self._schema.BuiltinOperator).items()
            if not name.startswith("_")
        }
        return names.get(number, f"number {number}")

    def tensors(self, index: int) -> TfliteTensor:
        """Tensor ``index`` of the file."""
        if not 0 <= index < self._graph.TensorsLength():
            raise ModelError(
                f"Model {self._path} has no tensor {index}, so the file is damaged: copy or convert it again"
            )
        if index not in self._tensors:
            self._tensors[index] = TfliteTensor(
                self._schema, self._model, self._graph.Tensors(index), self._path, self._budget
            )
        return self._tensors[index]

    def tensor(self, operator: Operator, position: int) -> TfliteTensor:
        """An input of an operator."""
        return (
            self.tensors(operator.inputs[position])
            if position < len(operator.inputs)
            else operator.refuse("lacks an input")
        )

    def value(self, operator: Operator, position: int) -> str:
        """The name of an input of an operator in float."""
        tensor, index = self.tensor(operator, position), operator.inputs[position]
        if index not in self._values:
            if tensor.data is None:
                operator.refuse(f"takes tensor {tensor.name!r} before it is computed")
            self._values[index] = self.constant(tensor, tensor.name or "constant")
        return self._values[index]

    def constant(self, tensor: TfliteTensor, name: str, transposed: bool = False) -> str:
        """The name of a constant in float; what is stored in integers stays so, in front of a
        DequantizeLinear.

        Float weights between quantised tensors would be quantised anew, and coarser, by onnxruntime's
        optimiser.
        """
        key = (tensor, name, transposed)
        if key not in self._constants:
            self._constants[key] = self._constant(tensor, name, transposed)
        return self._constants[key]

    def _constant(self, tensor: TfliteTensor, name: str, transposed: bool) -> str:
        values = tensor.real()
        if tensor.data.dtype.kind == "f":
            return self.builder.constant(name, np.ascontiguousarray(values.T) if transposed else values)
        scales, zeros, axis = tensor.quantisation
        stored = self.builder.constant(
            f"{name}/stored", np.ascontiguousarray(tensor.data.T) if transposed else tensor.data
        )
        step = [self.builder.constant(f"{name}/scale", scales if len(scales) > 1 else scales[0].reshape(()))]
        if tensor.kind in QUANTISED:
            zero = zeros.astype(tensor.dtype) if len(scales) > 1 else np.array(zeros[0], dtype=tensor.dtype)
            step.append(self.builder.constant(f"{name}/zero_point", zero))
        place = {"axis": tensor.data.ndim - 1 - axis if transposed else axis} if len(scales) > 1 else {}
        return self.builder.node("DequantizeLinear", [stored, *step], name, **place)

    def node(self, operator: Operator, kind: str, inputs: Sequence[str], **attributes: object) -> str:
        """An ONNX operator named after the result of the file's."""
        name = self.tensors(operator.outputs[0]).name.partition(";")[0]
        return self.builder.node(kind, inputs, f"{name}/{kind}", **attributes)

    def set(self, index: int, result: str) -> None:
        """Let tensor ``index`` be a result in float, rounded as the file says."""
        tensor = self.tensors(index)
        if index in self._values or tensor.data is not None:
            tensor.damaged("is computed twice")
        if tensor.kind == "FLOAT32":
            self._values[index] = result
        else:
            step = self._step(tensor)
            self._bytes[index] = self.builder.node(
                "QuantizeLinear", [result, *step], f"{tensor.name}/quantized"
            )
            self._values[index] = self.builder.node(
                "DequantizeLinear", [self._bytes[index], *step], f"{tensor.name}/float"
            )

    def _step(self, tensor: TfliteTensor) -> list[str]:
        scale, zero = tensor.step()
        return [
            self.builder.constant(f"{tensor.name}/scale", scale),
            self.builder.constant(f"{tensor.name}/zero_point", zero),
        ]

    def model(self) -> ModelProto:
        """The whole graph."""
        inputs, outputs = (
            vector(found).tolist() for found in (self._graph.InputsAsNumpy(), self._graph.OutputsAsNumpy())
        )
        self._budget.spend(4 * (len(inputs) + len(outputs)))
        for index in inputs:
            self._input(index)
        names = [self.builder.unique(self.tensors(index).name) for index in outputs]
        for operator in self._operators:
            translate(self, operator)
        if not outputs or not inputs:
            raise ModelError(
                f"Model {self._path} has {len(inputs)} inputs and {len(outputs)} outputs, so the file "
                f"is damaged: convert it again"
            )
        return self.builder.model(
            [self._output(index, name) for index, name in zip(outputs, names, strict=True)]
        )

    def _shape(self, tensor: TfliteTensor) -> tuple[int | str, ...]:
        return ("batch", *tensor.shape[1:]) if self.free_batch else tensor.shape

    def _input(self, index: int) -> None:
        tensor = self.tensors(index)
        name = self.builder.input(tensor.name, tensor.dtype, self._shape(tensor))
        if tensor.kind == "FLOAT32":
            self._values[index] = name
        else:
            self._bytes[index] = name
            self._values[index] = self.builder.node(
                "DequantizeLinear", [name, *self._step(tensor)], f"{tensor.name}/float"
            )

    def _output(self, index: int, name: str) -> tuple[str, Tensor, np.dtype]:
        tensor = self.tensors(index)
        found = self._bytes.get(index, self._values.get(index))
        if found is None:
            tensor.damaged("is a result of the model that no operator computes")
        return name, Tensor(found, self._shape(tensor)), tensor.dtype
