"""Readers of trained networks: files of arrays, ONNX graphs, torch objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import ModelError
from .arrays import network_from_arrays, read_npz, read_safetensors
from .float_network import FloatLayer, FloatNetwork
from .onnx_graph import read_onnx
from .torch_objects import is_torch_module, network_from_module, state_dict_arrays

__all__ = ["FloatLayer", "FloatNetwork", "load_model"]

_READERS = {".npz": read_npz, ".safetensors": read_safetensors, ".onnx": read_onnx}


def load_model(model: object) -> FloatNetwork:
    """A trained fully connected network from a file or an object.

    Parameters
    ----------
    model : FloatNetwork, path, mapping of names to arrays or tensors, or torch nn.Sequential
        A path must end in .npz, .safetensors or .onnx. Mappings, .npz and .safetensors hold ``<layer>.weight`` [outputs, inputs] and
        ``<layer>.bias`` (or with ``_`` for the dot); ReLU is assumed between layers and none after the last.

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
    if isinstance(model, FloatNetwork):
        return model
    if isinstance(model, (str, Path)):
        return _read(Path(model))
    if isinstance(model, Mapping):
        return network_from_arrays(state_dict_arrays(model), keep_order=True)
    if is_torch_module(model):
        return network_from_module(model)
    raise ModelError(f"A model must be a path, a mapping of names to arrays or a torch nn.Sequential, not {type(model).__name__}")


def _read(path: Path) -> FloatNetwork:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ModelError(f"Model {path} must be a file of type {', '.join(_READERS)}, not {path.suffix or 'without an ending'!r}")
    if not path.is_file():
        raise ModelError(f"Model {path} does not exist")
    return reader(path)
