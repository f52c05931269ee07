"""Files of named arrays: NumPy archives, safetensors, torch state dicts."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import ModelError, ToolError
from .torch_module import state_dict_arrays


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a NumPy archive, in the file's order."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"Model {path} is not a readable .npz archive of plain arrays: {error}") from error


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a .safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"Model {path} is not a readable .safetensors file of NumPy types: {error}") from error


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict that torch.save wrote, or of the one that a checkpoint contains. Nothing in the file is executed."""
    try:
        import torch
    except ImportError as error:
        raise ToolError(f"Reading {path} needs torch: pip install 'permfc[train]'") from error
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip and torch's own errors
        reason = str(error).splitlines()[0]
        raise ModelError(f"Model {path} is not a state dict that can be read safely; write one with torch.save(model.state_dict(), ...): "
                         f"{reason}") from error
    candidates = [saved, *saved.values()] if isinstance(saved, Mapping) else []
    states = [value for value in candidates if _is_state(value)]
    if len(states) != 1:
        raise ModelError(f"Model {path} must hold one state dict, not {len(states)}: write it with torch.save(model.state_dict(), ...)")
    return state_dict_arrays(states[0])


def _is_state(value: object) -> bool:
    """Whether this maps names to tensors."""
    return isinstance(value, Mapping) and len(value) > 0 and all(callable(getattr(item, "detach", None)) for item in value.values())
