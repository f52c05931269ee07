"""Networks from torch objects, recognised by their looks: torch itself is never imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import ModelError
from .float_network import FloatLayer, FloatNetwork

_TRANSPARENT = {"Identity", "Dropout", "Flatten"}  # change nothing for a batch of vectors at inference


def is_torch_module(model: object) -> bool:
    """Whether this is a torch module."""
    return callable(getattr(model, "state_dict", None)) and callable(getattr(model, "named_children", None))


def to_numpy(value: object) -> np.ndarray:
    """A tensor (on any device, of any float type) or array as a NumPy array."""
    if callable(getattr(value, "detach", None)):
        return value.detach().cpu().float().numpy()
    return np.asarray(value)


def state_dict_arrays(state: Mapping[str, object]) -> dict[str, np.ndarray]:
    """A state dict with NumPy arrays in place of tensors."""
    return {str(name): to_numpy(value) for name, value in state.items()}


def network_from_module(module: object) -> FloatNetwork:
    """The network in an ``nn.Sequential`` of Linear, ReLU, Flatten, Dropout and Identity, nested or not."""
    if type(module).__name__ not in ("Sequential", "Linear"):
        raise ModelError(f"A torch model must be an nn.Sequential, not {type(module).__name__}: pass the fully connected part as one, "
                         "or its state_dict() if there is a ReLU between all layers and none after the last")
    layers: list[FloatLayer] = []
    for name, step in _steps(module, ""):
        kind = type(step).__name__
        if kind == "Linear":
            bias = np.zeros(step.out_features, dtype=np.float32) if step.bias is None else to_numpy(step.bias)
            layers.append(FloatLayer(to_numpy(step.weight), bias, relu=False, name=name))
        elif kind == "ReLU" and layers:
            last = layers[-1]
            layers[-1] = FloatLayer(last.weight, last.bias, relu=True, name=last.name)
        elif kind not in _TRANSPARENT:
            raise ModelError(f"Module {name} is a {kind}, which is not part of a fully connected network (Linear, ReLU after Linear, "
                             "Flatten, Dropout, Identity): pass the layers behind or before it, e.g. model[i:j]")
    return FloatNetwork(tuple(layers))


def _steps(module: object, name: str) -> Iterator[tuple[str, object]]:
    """The modules in the order of their execution, with their names."""
    if type(module).__name__ != "Sequential":
        yield name or type(module).__name__, module
        return
    for child_name, child in module.named_children():
        yield from _steps(child, f"{name}.{child_name}" if name else child_name)
