"""ONNX files, with the weights that stand in files beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from .packages import required

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_FEWEST_INPUTS = {  # of operators whose inputs are read
    **dict.fromkeys(
        (
            "Softmax",
            "LogSoftmax",
            "Sigmoid",
            "Identity",
            "Dropout",
            "Flatten",
            "Squeeze",
            "Relu",
            "Transpose",
        ),
        1,
    ),
    **dict.fromkeys(("Gemm", "MatMul", "Add", "Reshape", "QuantizeLinear", "DequantizeLinear"), 2),
    "BatchNormalization": 5,
}


def load_onnx(path: Path) -> ModelProto:
    """The model in an ONNX file.

    Raises
    ------
    ModelError
        If it is not readable, lacks its weights, or is of a newer version than the onnx that is installed.
    ToolError
        If onnx is not installed.
    """
    onnx = required("onnx", "onnx", path)
    try:
        model = onnx.load(path, load_external_data=False)
        _check_version(model, path)
        _check_beside(model, path)
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except ModelError:
        raise
    except Exception as error:  # protobuf's own exceptions differ between its versions
        raise ModelError(
            f"Model {path} is not a readable ONNX file: {(str(error).strip() or repr(error)).splitlines()[0]}"
        ) from error
    _check_nodes(model, path)
    return model


def _check_version(model: ModelProto, path: Path) -> None:
    """Refuse what this onnx does not know."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset > newest or model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"Model {path} is of opset {opset} and format {model.ir_version}, newer than the {newest} "
            f"and {onnx.IR_VERSION} that are "
            "installed: export it with opset 20, or pip install -U onnx onnxruntime"
        )


def _check_beside(model: ModelProto, path: Path) -> None:
    """Refuse a model whose files of weights are not beside it, or too short."""
    for tensor in _tensors(model):
        if not tensor.external_data:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        file = path.parent / told.get("location", "")
        if not file.is_file():
            raise ModelError(
                f"Model {path} keeps its weights in {told.get('location')!r}, which is not beside it: "
                f"copy both into one folder"
            )
        if (
            not told.get("offset", "0").isdigit()
            or not told.get("length", "0").isdigit()
            or int(told.get("offset", 0)) + int(told.get("length", 0)) > file.stat().st_size
        ):
            raise ModelError(
                f"Weights {tensor.name!r} of {path} are not all in {file}, which has "
                f"{file.stat().st_size} bytes: copy both files again"
            )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    yield from (attribute.t for node in model.graph.node for attribute in node.attribute)


def _check_nodes(model: ModelProto, path: Path) -> None:
    for node in model.graph.node:
        if len(node.input) < _FEWEST_INPUTS.get(node.op_type, 0) or not node.output:
            raise ModelError(
                f"Operator {node.op_type} {node.name!r} of {path} has {len(node.input)} inputs and "
                f"{len(node.output)} outputs: "
                "the file is damaged"
            )
    if not model.graph.output:
        raise ModelError(f"Model {path} is not a readable ONNX file: it has no graph with an output")
