"""Any file that holds a whole network as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from .keras_file import keras_to_onnx
from .onnx_file import load_onnx
from .tflite_file import tflite_to_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

_READERS: dict[str, Callable[[Path], ModelProto]] = {
    ".onnx": load_onnx,
    ".tflite": tflite_to_onnx,
    **dict.fromkeys((".keras", ".h5", ".hdf5", ".json"), keras_to_onnx),
}
GRAPH_FILES = tuple(_READERS)  # endings


def load_graph(path: str | Path) -> tuple[ModelProto, str]:
    """A whole network as an ONNX graph, and what messages call it.

    Parameters
    ----------
    path : str or Path
        ``.onnx``; ``.keras``, ``.h5``, ``.hdf5``, or one of a pair of ``.json`` and weights, of Keras;
        ``.tflite``.

    Raises
    ------
    ModelError
        If the file is damaged, of another kind, or holds what is not read.
    ToolError
        If reading it needs a package that is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise ModelError(
            f"Network {path} must be a file of type {', '.join(_READERS)}, not "
            f"{path.suffix or 'without an ending'!r}: "
            "export others to ONNX"
        )
    if not path.is_file():
        raise ModelError(f"Model {path} does not exist")
    return _READERS[path.suffix.lower()](path), str(path)
