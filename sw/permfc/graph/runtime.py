"""onnxruntime, which runs the host's part of a network: loaded only where it is needed, its errors as ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, ModelError, ToolError

if TYPE_CHECKING:
    from onnx import ModelProto, TypeProto
    from onnxruntime import InferenceSession

_FATAL_ONLY = 4  # of onnxruntime's levels of log messages: errors come as exceptions, too, and are told once
_PLACE = re.compile(r"\S+\.(?:cc|h):\d+ .*?\)(?: const)?(?: \[with [^]]*\])? (?:.* was false\. )?")  # in onnxruntime's own source, and what it asked


def open_model(model: ModelProto | bytes, what: str, optimised: bool = True) -> InferenceSession:
    """A session of onnxruntime for a model.

    Parameters
    ----------
    model : ModelProto, or its bytes
    what : str
        What messages call it.
    optimised : bool
        Whether it is to be run; without, it is only looked at.

    Raises
    ------
    ModelError
        If onnxruntime cannot run it.
    ToolError
        If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolError(f"Running {what} needs onnxruntime: pip install 'permfc[onnxruntime]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        content = model if isinstance(model, bytes) else model.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelError(f"onnxruntime cannot run {what}: {_sentence(error)}; export it with operators and an opset that it knows") from error


def run_model(session: InferenceSession, names: Sequence[str], feeds: Mapping[str, np.ndarray], what: str,
              given: Mapping[str, np.ndarray] | None = None) -> list[np.ndarray]:
    """The named tensors for some inputs.

    Raises
    ------
    InputError
        If the model does not take them, with the shapes of the inputs that the user has ``given``, if those are others.
    """
    try:
        return session.run(list(names), dict(feeds))
    except Exception as error:  # as above
        given = feeds if given is None else given
        shapes = ", ".join(f"{name} {np.asarray(value).dtype} {list(np.shape(value))}" for name, value in given.items())
        raise InputError(f"{what} does not take {shapes or 'no inputs'}: {_uneven(given)}{_sentence(error)}") from error


def _uneven(feeds: Mapping[str, np.ndarray]) -> str:
    """That inputs are not of as many samples, which is then the most likely mistake."""
    rows = {name: len(value) for name, value in feeds.items() if np.ndim(value)}
    if len(set(rows.values())) < 2:
        return ""
    (first, count), *others = rows.items()
    return ", ".join([f"{first} has {count} rows", *(f"{name} {count}" for name, count in others)]) + "; "


def _sentence(error: Exception) -> str:
    """The first line of a message, without onnxruntime's codes and the places in its source."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = line.split(" : ", 3)[-1] if line.startswith("[ONNXRuntimeError]") else line
    line = re.sub(r"Non-zero status code returned while running (\S+) node\. Name:('[^']*') Status Message: ", r"operator \1 \2: ", line)
    return _PLACE.sub("", line).strip()


def with_outputs(model: ModelProto, names: Iterable[str]) -> ModelProto:
    """A copy of a model whose outputs are the named tensors."""
    from onnx import ModelProto, helper

    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return copy


_ELEMENTS = {"float": "FLOAT", "double": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "bool": "BOOL", "string": "STRING",
             **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (4, 8, 16, 32, 64)}}
_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


def float_type(kind: str) -> type | None:
    """NumPy's type for a tensor of real numbers that onnxruntime names so; None for any other."""
    return _FLOATS.get(kind)


def type_proto(kind: str) -> TypeProto:
    """ONNX's type, without a shape, for one that onnxruntime names, such as ``seq(tensor(int64))``; ModelError for maps and the like."""
    from onnx import TensorProto, helper

    outer, _, inner = kind.removesuffix(")").partition("(")
    if outer == "tensor" and inner in _ELEMENTS:
        return helper.make_tensor_type_proto(getattr(TensorProto, _ELEMENTS[inner]), None)
    if outer == "seq":
        return helper.make_sequence_type_proto(type_proto(inner))
    if outer == "optional":
        return helper.make_optional_type_proto(type_proto(inner))
    raise ModelError(f"A value of type {kind} stands between layers, which no network file can hold: leave the layers before it there with `skip`")
