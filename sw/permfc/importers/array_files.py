"""Files of named arrays: NumPy archives, safetensors, torch state dicts."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize

from .. import array_files
from ..errors import InputError, ModelError, ToolError
from .torch_module import state_dict_arrays

_SAFETENSORS_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4",
                      "U16": "<u2", "U8": "u1", "BOOL": "?"}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a NumPy archive, in the file's order."""
    try:
        return array_files.read_npz(path)
    except InputError as error:
        raise ModelError(f"Model {path} is not a readable .npz archive of plain arrays: {error}") from error


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a .safetensors file, by name, since the file has no order of its own."""
    try:
        tensors = deserialize(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"Model {path} is not a readable .safetensors file: {error}") from error
    if {"crc32", "input_class"} <= {name for name, _ in tensors}:
        raise ModelError(f"Model {path} is compressed already: give the trained network that it was made from")
    return {name: _safetensor(path, name, tensor) for name, tensor in sorted(tensors, key=itemgetter(0))}


def _safetensor(path: Path, name: str, tensor: dict) -> np.ndarray:
    if tensor["dtype"] == "BF16":  # the upper half of a float32, which NumPy has no type for
        return (np.frombuffer(tensor["data"], dtype="<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor["shape"])
    if tensor["dtype"] not in _SAFETENSORS_TYPES:
        raise ModelError(f"Tensor {name} of {path} has values of type {tensor['dtype']}: convert them to one of "
                         f"{', '.join(('BF16', *_SAFETENSORS_TYPES))}")
    return np.frombuffer(tensor["data"], dtype=_SAFETENSORS_TYPES[tensor["dtype"]]).reshape(tensor["shape"])


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict that torch.save wrote, or of the one that a checkpoint contains. Nothing in the file is executed."""
    try:
        import torch
    except ImportError as error:
        raise ToolError(f"Reading {path} needs torch: pip install 'permfc[train]'") from error
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip and torch's own errors, whose texts advise to load unsafely
        raise ModelError(f"Model {path} is not a state dict that can be read safely; write one with torch.save(model.state_dict(), ...)") from error
    candidates = [saved, *saved.values()] if isinstance(saved, Mapping) else []
    states = [value for value in candidates if _is_state(value)]
    if len(states) != 1:
        raise ModelError(f"Model {path} must hold one state dict, not {len(states)}: write it with torch.save(model.state_dict(), ...)")
    return state_dict_arrays(states[0])


def _is_state(value: object) -> bool:
    """Whether this maps names to tensors."""
    return isinstance(value, Mapping) and len(value) > 0 and all(callable(getattr(item, "detach", None)) for item in value.values())
