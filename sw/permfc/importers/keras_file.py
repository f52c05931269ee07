"""Models of Keras 2 and 3 as ONNX: ``.keras``, ``.h5``, and descriptions in ``.json`` with weights
beside them.

Descriptions are JSON and weights plain arrays; nothing in a file is executed.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from ..errors import ModelError, PermfcError
from .keras_graph import Description, Translator
from .keras_layer import CURE
from .keras_weights import Hdf5, weights_of
from .onnx_builder import OnnxBuilder, Tensor

if TYPE_CHECKING:
    from onnx import ModelProto

_WEIGHTS = (
    "_weights.h5",
    ".weights.h5",
    ".h5",
    "_weights.hdf5",
    ".hdf5",
)  # what stands behind a description's name
_MOST_JSON = 64 << 20  # bytes; a layer takes about 1,000
_RATIO, _PLAIN = (
    100,
    16 << 20,
)  # how far what is in an archive may expand, and bytes that need no justification
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class _Parts(NamedTuple):
    """A description, the major version of Keras that wrote it, and the file with the weights."""

    model: object
    version: int
    weights: Hdf5


def keras_to_onnx(path: Path, weights: Path | None = None) -> ModelProto:
    """A Keras model in float as an ONNX graph.

    Parameters
    ----------
    path : Path
        ``.keras``, ``.h5`` or ``.hdf5`` with a whole model, or one of a pair: a description
        ``NAME.json`` (``model.to_json()``) and its weights
        ``NAME_weights.h5``, ``NAME.weights.h5`` or ``NAME.h5``.
    weights : Path, optional
        Of a description, if they are called otherwise.

    Returns
    -------
    onnx.ModelProto
        Inputs and outputs have the names of their layers and a free first dimension.

    Raises
    ------
    ModelError
        If the file is damaged, or holds a layer that is not read.
    ToolError
        If h5py or onnx is not installed.
    """
    path = Path(path)
    try:
        return _convert(path, _read(path, weights))
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
        OSError,
        RuntimeError,
    ) as error:
        if isinstance(error, PermfcError):
            raise
        raise ModelError(f"Model {path} is damaged, {error!r}: save it again with Keras") from error


def _read(path: Path, weights: Path | None) -> _Parts:
    if not path.is_file():
        raise ModelError(f"Model {path} does not exist")
    if path.suffix.lower() == ".keras":
        return _read_archive(path)
    if path.suffix.lower() == ".json":
        return _read_pair(path, weights or _beside(path))
    file = Hdf5(path)
    if "model_config" not in file.root.attrs:
        return _read_pair(_description_beside(path), path)
    model = _parse(file.root.attrs["model_config"], path)
    return _Parts(model, _version(model, file.root.attrs.get("keras_version")), file)


def _read_archive(path: Path) -> _Parts:
    """A description, metadata and weights in a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            model = _parse(_member(archive, "config.json", path, _MOST_JSON), path)
            metadata = _parse(_member(archive, "metadata.json", path, _MOST_JSON), path)
            content = _member(archive, "model.weights.h5", path, None)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ModelError(
            f"Model {path} is not a readable .keras file, {error}: save it again with model.save"
        ) from error
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return _Parts(model, _version(model, version), Hdf5(path, content))


def _member(archive: zipfile.ZipFile, name: str, path: Path, most: int | None) -> bytes:
    """What is in an archive under ``name``, if it is of a size that can be true."""
    if name not in archive.namelist():
        raise ModelError(
            f"Model {path} is not a readable .keras file, it has no {name}: save it again with model.save"
        )
    info = archive.getinfo(name)
    if info.file_size > (most or max(_PLAIN, _RATIO * info.compress_size)):
        raise ModelError(f"Model {path} is damaged: its {name} would take {info.file_size} bytes")
    return archive.read(info)


def _read_pair(path: Path, weights: Path) -> _Parts:
    if path.stat().st_size > _MOST_JSON:
        raise ModelError(
            f"Model {path} takes {path.stat().st_size} bytes, too much for the description of a model"
        )
    model = _parse(path.read_bytes(), path)
    return _Parts(
        model, _version(model, model.get("keras_version") if isinstance(model, dict) else None), Hdf5(weights)
    )


def _beside(path: Path) -> Path:
    """The weights of a description."""
    candidates = [path.with_name(path.stem + ending) for ending in _WEIGHTS]
    return next((found for found in candidates if found.is_file()), None) or _missing(
        f"Model {path} is a description without weights: put them beside it as {candidates[0].name}"
    )


def _description_beside(path: Path) -> Path:
    """The description of weights."""
    names = [path.name[: -len(ending)] for ending in _WEIGHTS if path.name.endswith(ending)]
    candidates = [path.with_name(f"{name}.json") for name in names if name]
    return next((found for found in candidates if found.is_file()), None) or _missing(
        f"{path} holds weights without a description of their model: put model.to_json() beside it as "
        f"{(names or [path.stem])[0]}.json"
    )


def _missing(text: str) -> NoReturn:
    raise ModelError(text)


def _parse(content: object, path: Path) -> object:
    try:
        return json.loads(content.decode("utf-8") if isinstance(content, bytes) else str(content))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The description of the model in {path} is no JSON text, {error}: save the model again "
            f"with Keras"
        ) from error


def _version(model: object, written: object) -> int:
    """The major version of Keras: as written in the file, or by what only Keras 3 writes."""
    text = written.decode("ascii", "replace") if isinstance(written, bytes) else str(written or "")
    if text[:1].isdigit():
        return int(text[0])
    return 3 if isinstance(model, dict) and "module" in model else 2


def _convert(path: Path, parts: _Parts) -> ModelProto:
    builder = OnnxBuilder(path, "keras")
    model = Description(parts.model, str(path))
    weights = weights_of(parts.weights, model.layers)
    inputs = _chain_inputs(model, builder) if model.sequential else _inputs(model, builder)
    names = (
        [model.entries[-1].name] if model.sequential else [end.layer for end in model.ends("output_layers")]
    )
    names = [builder.unique(name) for name in names]
    results = Translator(str(path), parts.version, builder).run(model, weights, inputs)
    if len(results) != len(names):
        model.damaged(f"it has {len(results)} results")
    return builder.model(
        [
            (name, _free(name, result), np.dtype(np.float32))
            for name, result in zip(names, results, strict=True)
        ]
    )


def _free(name: str, tensor: Tensor) -> Tensor:
    """With names for the sizes that are free."""
    return Tensor(tensor.name, tuple(_size(name, axis, size) for axis, size in enumerate(tensor.shape)))


def _size(name: str, axis: int, size: int | None) -> int | str:
    return size if size is not None else f"{name}_{axis}" if axis else "batch"


def _inputs(model: Description, builder: OnnxBuilder) -> list[Tensor]:
    configs = {entry.name: entry.config for entry in model.entries if entry.kind == "InputLayer"}
    missing = next((end.layer for end in model.ends("input_layers") if end.layer not in configs), None)
    if missing:
        model.damaged(f"its input {missing!r} is no InputLayer")
    return [
        _input(model, builder, end.layer, configs[end.layer], _shape_of(configs[end.layer]))
        for end in model.ends("input_layers")
    ]


def _chain_inputs(model: Description, builder: OnnxBuilder) -> list[Tensor]:
    """The input of a Sequential model, which may stand in its first layer or, of Keras 3, beside the
    layers."""
    first = model.entries[0]
    inner = (
        first.config.get("config", {}).get("layers") if "config" in first.config else None
    )  # a model in the first place
    inside = (
        inner[0].get("config", {}) if isinstance(inner, list) and inner and isinstance(inner[0], dict) else {}
    )
    built = model.config.get("build_input_shape")  # with the batch of the first call, which is no limit
    shape = _shape_of(first.config) or ([None, *built[1:]] if built else _shape_of(inside))
    if shape is None:
        raise ModelError(
            f"Model {model.file} does not tell the shape of its input: build it with keras.Input "
            f"before saving, or {CURE}"
        )
    name = first.name if first.kind == "InputLayer" else f"{first.name}_input"
    return [_input(model, builder, name, first.config if first.kind == "InputLayer" else {}, shape)]


def _shape_of(config: dict) -> object:
    return config.get("batch_shape", config.get("batch_input_shape"))


def _input(model: Description, builder: OnnxBuilder, name: str, config: dict, shape: object) -> Tensor:
    """An input of the whole model; integers become float32 first, as Keras's own layers do it."""
    kind = config.get("dtype") or "float32"
    if kind not in (*_FLOATS, *_INTEGERS):
        raise ModelError(f"Input {name!r} of {model.file} takes {kind!r}: {CURE}")
    if (
        not isinstance(shape, list)
        or not shape
        or not all(size is None or (type(size) is int and size > 0) for size in shape)
    ):
        model.damaged(f"its input {name!r} has shape {shape!r}")
    given = np.dtype(np.float32 if kind in _FLOATS else kind)
    source = builder.input(name, given, [_size(name, axis, size) for axis, size in enumerate(shape)])
    tensor = (
        source if kind in _FLOATS else builder.node("Cast", [source], f"{name}/float", to=1)
    )  # TensorProto.FLOAT
    return Tensor(tensor, tuple(shape))
