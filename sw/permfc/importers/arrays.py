"""Networks from named arrays: ``<layer>.weight`` and ``<layer>.bias``, as state dicts have them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import ModelError
from .float_network import FloatLayer, FloatNetwork

_NAME = re.compile(r"(?:(?P<layer>.*)[._])?(?P<part>weight|bias)")


def read_npz(path: Path) -> FloatNetwork:
    """The network in a NumPy archive."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ModelError(f"Model {path} is not a readable .npz archive of plain arrays: {error}") from error
    return network_from_arrays(arrays)


def read_safetensors(path: Path) -> FloatNetwork:
    """The network in a .safetensors file."""
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"Model {path} is not a readable .safetensors file of NumPy types: {error}") from error
    return network_from_arrays(arrays)


def network_from_arrays(arrays: Mapping[str, np.ndarray], keep_order: bool = False) -> FloatNetwork:
    """A network from weights and biases, with ReLU between layers.

    Layers are put in the order in which their shapes chain: that of the names, numbers by value, or that of the mapping.

    Parameters
    ----------
    arrays : mapping of name to array
    keep_order : bool
        Prefer the mapping's order over that of the names.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ModelError(f"Array {name!r} is neither a weight nor a bias of a fully connected layer: names must end in weight or bias")
        parts.setdefault(match["layer"] or "", {})[match["part"]] = array
    for name, found in parts.items():
        if "weight" not in found:
            raise ModelError(f"Layer {name!r} has a bias but no weight")
    orders = [list(parts), sorted(parts, key=_by_number)]
    if not keep_order:
        orders.reverse()
    order = next((names for names in orders if _chains([parts[name]["weight"] for name in names])), orders[0])
    layers = [_layer(name, parts[name], relu=name != order[-1]) for name in order]
    return FloatNetwork(tuple(layers))


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that has layer 10 after layer 2."""
    return [(not piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", name)]


def _chains(weights: list[np.ndarray]) -> bool:
    """Whether each matrix takes what the one before gives."""
    return all(weight.ndim == 2 for weight in weights) and all(
        before.shape[0] == after.shape[1] for before, after in zip(weights[:-1], weights[1:], strict=True))


def _layer(name: str, parts: dict[str, np.ndarray], relu: bool) -> FloatLayer:
    weight = np.asarray(parts["weight"])
    bias = parts.get("bias", np.zeros(weight.shape[:1], dtype=np.float32))
    return FloatLayer(weight, bias, relu, name or "weight")
