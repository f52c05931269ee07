"""Networks from named arrays: ``<layer>.weight`` or ``<layer>.kernel`` and ``<layer>.bias``, as state dicts have them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ModelError
from ..functions import IDENTITY, RELU
from .float_network import FloatLayer, FloatNetwork

ORIENTATIONS = ("out-in", "in-out")
_NAME = re.compile(r"(?:(?P<layer>.*)[._/])?(?P<part>weight|kernel|bias)(?::0)?")
_OTHER = re.compile(r"(?:(?P<layer>.*)[._/])?(?P<part>running_mean|running_var|num_batches_tracked|gamma|beta|moving_mean|moving_variance)(?::0)?")


def network_from_arrays(arrays: Mapping[str, np.ndarray], layers: Sequence[str] | None = None, kernel: str | None = None,
                        keep_order: bool = True) -> FloatNetwork:
    """A network from weights and biases, with ReLU between layers and none after the last.

    Layers are put in an order in which their shapes chain: that of the mapping, or that of the names, numbers by value. Beside convolutions,
    the fully connected layers are the tail of the network, and everything else is left to the host.

    Parameters
    ----------
    arrays : mapping of name to array
    layers : names, optional
        Exactly these, in order of execution; other arrays are ignored.
    kernel : "out-in" or "in-out", optional
        Order of a matrix's dimensions. By default that of the name: ``weight`` [outputs, inputs] as in torch,
        ``kernel`` [inputs, outputs] as in Keras.
    keep_order : bool
        Prefer the mapping's order to that of the names, if both chain.

    Raises
    ------
    ModelError
        If the arrays are no chain of fully connected layers.
    """
    if kernel not in (None, *ORIENTATIONS):
        raise ModelError(f"kernel must be {' or '.join(ORIENTATIONS)}, not {kernel!r}")
    parts, strange = _grouped(arrays)
    matrices = {name: _matrix(found, kernel) for name, found in parts.items() if _weight(found).ndim == 2}
    inventory = ", ".join(f"{name} {list(matrix.shape)}" for name, matrix in matrices.items()) or "none"
    if layers is not None:
        _check_chosen(layers, parts, matrices, inventory)
        return FloatNetwork(tuple(_layer(name, parts[name], matrices[name], name != layers[-1]) for name in layers))
    others = [name for name in parts if name not in matrices]
    if not any(_weight(parts[name]).ndim > 2 for name in others):
        _check_plain(parts, others, strange)
        return _chained(parts, matrices, inventory, keep_order)
    if not matrices:
        raise ModelError(f"The model has convolutions ({', '.join(others)}) but no fully connected layer")
    _check_norms(parts, matrices, others)
    note = (f"What is not fully connected, {len(others)} of {len(parts)} layers, is left to the host: inputs and calibration data are the features "
            "that layer {first} takes")
    return _chained(parts, matrices, inventory, keep_order, note)


def _grouped(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """The parts of each layer that has a weight, and the names that belong to none."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    strange = []
    for name, array in arrays.items():
        match = _NAME.fullmatch(name) or _OTHER.fullmatch(name)
        if match is None:
            strange.append(name)
        else:
            parts.setdefault(match["layer"] or "", {})[match["part"]] = np.asarray(array)
    for name, found in parts.items():
        if "bias" in found and not {"weight", "kernel"} & set(found):
            raise ModelError(f"Layer {name!r} has a bias but no weight")
    return parts, strange


def _weight(found: dict[str, np.ndarray]) -> np.ndarray:
    return found.get("weight", found.get("kernel", np.empty(0)))


def _matrix(found: dict[str, np.ndarray], kernel: str | None) -> np.ndarray:
    """The weight as [outputs, inputs]."""
    in_out = kernel == "in-out" if kernel else "kernel" in found
    return _weight(found).T if in_out else _weight(found)


def _check_chosen(layers: Sequence[str], parts: dict, matrices: dict, inventory: str) -> None:
    for name in layers:
        if name in parts and name not in matrices:
            shape = list(_weight(parts[name]).shape)
            raise ModelError(f"Layer {name} has a weight of shape {shape} and is not fully connected; there are {inventory}")
        if name not in matrices:
            raise ModelError(f"The model has no layer {name!r}; there are {inventory}")


def _check_plain(parts: dict, others: list[str], strange: list[str]) -> None:
    """Without convolutions nothing may be ignored unasked."""
    if strange:
        raise ModelError(f"Array {strange[0]!r} is neither a weight nor a bias of a fully connected layer: names must end in weight, kernel or bias; "
                         "name the layers to take with `layers`")
    for name in others:
        if set(parts[name]) & {"running_mean", "gamma", "moving_mean"}:
            raise ModelError(f"Layer {name} is a normalisation, whose place an array file does not tell: fold it into its neighbour, or give the "
                             "model as ONNX or torch module, where that is done for you")
        raise ModelError(f"Weight of layer {name} must be a matrix [outputs, inputs], not an array of shape {list(_weight(parts[name]).shape)}")


def _check_norms(parts: dict, matrices: dict, others: list[str]) -> None:
    """A normalisation that no convolution accounts for belongs to a fully connected layer and must not be lost."""
    channels = [size for name in others if _weight(parts[name]).ndim > 2 for size in _weight(parts[name]).shape]
    features = [size for matrix in matrices.values() for size in matrix.shape]
    for name in others:
        weight = parts[name].get("gamma", _weight(parts[name]))
        if weight.ndim == 1 and weight.size in features and weight.size not in channels:
            raise ModelError(f"Layer {name} normalises {weight.size} features, as many as a fully connected layer has: give the model as ONNX or "
                             "torch module, where that is folded, or name the layers to take with `layers` if it is not needed")


def _chained(parts: dict, matrices: dict, inventory: str, keep_order: bool, note: str = "") -> FloatNetwork:
    """The layers in the first order in which each takes what the one before gives."""
    orders = [list(matrices), sorted(matrices, key=_by_number)]
    if not keep_order:
        orders.reverse()
    order = next((names for names in orders if all(
        matrices[before].shape[0] == matrices[after].shape[1] for before, after in zip(names[:-1], names[1:], strict=True))), None)
    if order is None:
        raise ModelError(f"The fully connected layers are no chain in the order of their names or of the file: name them in order of execution with "
                         f"`layers`, or give `kernel` {' or '.join(ORIENTATIONS)} if weights are the other way round; there are {inventory}")
    return FloatNetwork(tuple(_layer(name, parts[name], matrices[name], name != order[-1]) for name in order),
                        (note.format(first=order[0]),) if note else ())


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that has layer 10 after layer 2."""
    return [(not piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", name)]


def _layer(name: str, found: dict[str, np.ndarray], weight: np.ndarray, relu: bool) -> FloatLayer:
    bias = found.get("bias", np.zeros(len(weight), dtype=np.float32))
    if bias.shape == weight.shape[1:] != weight.shape[:1]:
        raise ModelError(f"Bias of layer {name} has {bias.size} values for {weight.shape[0]} outputs: if the weight's dimensions are the other way "
                         f"round, give `kernel` {' or '.join(ORIENTATIONS)}")
    return FloatLayer(weight, bias, RELU if relu else IDENTITY, name or "weight")
