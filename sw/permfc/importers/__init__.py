"""Readers of trained networks: files of arrays, ONNX graphs, torch objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ModelError
from .array_files import read_npz, read_safetensors, read_torch
from .arrays import network_from_arrays
from .float_network import FloatLayer, FloatNetwork
from .graph_files import GRAPH_FILES, load_graph
from .onnx_graph import onnx_tail
from .quantised import quantised_ranges
from .torch_module import module_tail, state_dict_arrays
from .torch_wrappers import is_torch_module

__all__ = ["FloatLayer", "FloatNetwork", "load_graph", "load_model", "quantised_ranges"]

_ARRAY_FILES = {".npz": read_npz, ".safetensors": read_safetensors, ".pt": read_torch, ".pth": read_torch, ".ckpt": read_torch,
                ".pth.tar": read_torch}
_ENDINGS = (*_ARRAY_FILES, *GRAPH_FILES)


def load_model(model: object, layers: Sequence[str] | None = None, kernel: str | None = None) -> FloatNetwork:
    """A trained fully connected network, or the fully connected tail of a convolutional one, from a file or an object.

    Parameters
    ----------
    model : FloatNetwork, path, mapping of names to arrays or tensors, or torch module
        A path must end in .npz, .safetensors, .pt, .pth, .pth.tar, .ckpt, .onnx, .keras, .h5, .hdf5, .json or .tflite. Mappings and files of
        arrays hold ``<layer>.weight`` [outputs, inputs] or ``<layer>.kernel`` [inputs, outputs], and ``<layer>.bias`` (``_``
        and ``/`` will do for the dot); ReLU is assumed between layers and none after the last. Modules and graphs tell themselves.
    layers : names of layers, optional
        Those to take, in order of execution, if a model holds more.
    kernel : "out-in" or "in-out", optional
        Order of the dimensions of matrices in mappings and files of arrays, if their names do not tell.

    Returns
    -------
    FloatNetwork

    Raises
    ------
    ModelError
        If the model cannot be read or is not a chain of fully connected layers.
    ToolError
        If reading it needs a package that is not installed.
    """
    if isinstance(layers, str) or (layers is not None and not layers):
        raise ModelError(f"layers must be one or more names of layers, not {layers!r}")
    if isinstance(model, FloatNetwork):
        return model
    if isinstance(model, (str, Path)):
        return _read(Path(model), layers, kernel)
    if isinstance(model, Mapping):
        return network_from_arrays(state_dict_arrays(model), layers, kernel)
    if is_torch_module(model):
        return module_tail(model, layers).network
    raise ModelError(f"A model must be a path, a mapping of names to arrays or a torch module, not {type(model).__name__}")


def _read(path: Path, layers: Sequence[str] | None, kernel: str | None) -> FloatNetwork:
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise ModelError(f"Model {path} must be a file of type {', '.join(_ENDINGS)}, not {path.suffix or 'without an ending'!r}: "
                         "export others to ONNX")
    if not path.is_file():
        raise ModelError(f"Model {path} does not exist")
    if ending in GRAPH_FILES:
        if kernel is not None:
            raise ModelError(f"`kernel` is for files of arrays; {path} tells the order of its dimensions itself")
        return onnx_tail(load_graph(path)[0], path, layers).network
    return network_from_arrays(_ARRAY_FILES[ending](path), layers, kernel, keep_order=ending != ".safetensors")  # those are sorted by name
