"""Small TensorFlow Lite files, written by the schema's own builders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module

import flatbuffers
import numpy as np
import tflite


@dataclass
class Tensor:
    """A tensor: a constant if it has data, quantised if it has scales."""

    name: str
    shape: Sequence[int]
    kind: str = "FLOAT32"
    data: np.ndarray | bytes | None = None
    scales: Sequence[float] = ()
    zeros: Sequence[int] = ()
    axis: int = 0


@dataclass
class Operator:
    """An operator, with the name of its table of options and what stands in it."""

    kind: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: str = ""
    values: dict[str, object] = field(default_factory=dict)
    custom: str = ""


class _Builder(flatbuffers.Builder):
    def table(self, name: str, **values: object) -> int:
        """A table from scalars and offsets."""
        module = import_module(f"tflite.{name}")
        getattr(module, f"{name}Start")(self)
        for key, value in values.items():
            if value is not None:
                getattr(module, f"{name}Add{key}")(self, value)
        return getattr(module, f"{name}End")(self)

    def offsets(self, found: Sequence[int]) -> int:
        self.StartVector(4, len(found), 4)
        for offset in reversed(found):
            self.PrependUOffsetTRelative(offset)
        return self.EndVector()

    def numbers(self, values: Sequence[float], kind: type) -> int | None:
        return self.CreateNumpyVector(np.asarray(values, dtype=kind)) if len(values) else None


def tflite_bytes(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[int],
    outputs: Sequence[int],
    subgraphs: int = 1,
) -> bytes:
    """A file with the given tensors, by their places, and operators."""
    build = _Builder(0)
    data = [
        b"",
        *(
            tensor.data if isinstance(tensor.data, bytes) else tensor.data.tobytes()
            for tensor in tensors
            if tensor.data is not None
        ),
    ]
    buffers = [
        build.table("Buffer", Data=build.CreateByteVector(content) if content else None) for content in data
    ]
    places = iter(range(1, len(data)))
    made = [_tensor(build, tensor, next(places) if tensor.data is not None else 0) for tensor in tensors]
    codes = [
        build.table(
            "OperatorCode",
            DeprecatedBuiltinCode=min(number, 127),
            BuiltinCode=number,
            Version=1,
            CustomCode=build.CreateString(operator.custom) if operator.custom else None,
        )
        for operator in operators
        for number in [getattr(tflite.BuiltinOperator, operator.kind)]
    ]
    steps = [_operator(build, operator, index) for index, operator in enumerate(operators)]
    parts = {
        "Tensors": build.offsets(made),
        "Inputs": build.CreateNumpyVector(np.int32(inputs)),
        "Outputs": build.CreateNumpyVector(np.int32(outputs)),
        "Operators": build.offsets(steps),
    }
    graph = build.table("SubGraph", **parts)
    whole = {
        "Subgraphs": build.offsets([graph] * subgraphs),
        "OperatorCodes": build.offsets(codes),
        "Buffers": build.offsets(buffers),
    }
    build.Finish(build.table("Model", Version=3, **whole), file_identifier=b"TFL3")
    return bytes(build.Output())


def _tensor(build: _Builder, tensor: Tensor, buffer: int) -> int:
    quantisation = None
    if len(tensor.scales):
        parts = {
            "Scale": build.numbers(tensor.scales, np.float32),
            "ZeroPoint": build.numbers(tensor.zeros, np.int64),
        }
        quantisation = build.table("QuantizationParameters", QuantizedDimension=tensor.axis, **parts)
    return build.table(
        "Tensor",
        Shape=build.CreateNumpyVector(np.int32(tensor.shape)),
        Type=getattr(tflite.TensorType, tensor.kind),
        Buffer=buffer,
        Name=build.CreateSharedString(tensor.name),
        Quantization=quantisation,
    )


def _operator(build: _Builder, operator: Operator, code: int) -> int:
    options = build.table(operator.options, **operator.values) if operator.options else None
    kind = getattr(tflite.BuiltinOptions, operator.options) if operator.options else 0
    return build.table(
        "Operator",
        OpcodeIndex=code,
        Inputs=build.CreateNumpyVector(np.int32(operator.inputs)),
        Outputs=build.CreateNumpyVector(np.int32(operator.outputs)),
        BuiltinOptionsType=kind,
        BuiltinOptions=options,
    )
