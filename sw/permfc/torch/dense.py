"""Which modules are fully connected layers, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..functions import IDENTITY
from ..importers.float_network import FloatLayer
from ..importers.torch_module import to_numpy
from ..names import named


@dataclass(frozen=True, eq=False)
class Unit:
    """Modules that share one weight matrix: usually one.

    Members
    -------
    names : tuple of str
        Of the modules; empty for the model itself.
    modules : tuple of nn.Module
    """

    names: tuple[str, ...]
    modules: tuple[nn.Module, ...]

    @property
    def name(self) -> str:
        """Value of what reports call it."""
        return self.names[0] or type(self.modules[0]).__name__

    @property
    def outputs(self) -> int:
        """Value of the rows of the matrix."""
        return shape(self.modules[0])[0]

    @property
    def inputs(self) -> int:
        """Value of the columns of the matrix."""
        return shape(self.modules[0])[1]


def is_dense(module: nn.Module) -> bool:
    """Whether this is an nn.Linear, of a subclass too, or the Conv1D of Hugging Face's GPT-2."""
    return isinstance(module, nn.Linear) or _is_conv1d(module)


def _is_conv1d(module: nn.Module) -> bool:
    return any(base.__name__ == "Conv1D" and base.__module__.startswith("transformers.") for base in type(module).__mro__)


def shape(module: nn.Module) -> tuple[int, int]:
    """Outputs and inputs of a fully connected module."""
    return (module.nf, module.nx) if _is_conv1d(module) else (module.out_features, module.in_features)


def matrix(module: nn.Module) -> torch.Tensor:
    """The weight as it is used, [outputs, inputs]: with every parametrisation applied."""
    return module.weight.T if _is_conv1d(module) else module.weight


def float_layer(unit: Unit) -> FloatLayer:
    """The unit's layer in float; ModelError if a value is NaN or infinite."""
    module = unit.modules[0]
    bias = np.zeros(unit.outputs, dtype=np.float32) if module.bias is None else to_numpy(module.bias)
    return FloatLayer(to_numpy(matrix(module)), bias, IDENTITY, unit.name)


def expected(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """What a fully connected layer gives for ``rows`` [n, inputs]: in float32."""
    bias = None if module.bias is None else module.bias.float()
    return nn.functional.linear(rows.float(), matrix(module).float(), bias)


def units(model: nn.Module) -> list[Unit]:
    """All fully connected layers of a model, in its own order; ModelError if there is none."""
    found: dict[object, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        if is_dense(module):
            found.setdefault(_weight_key(module), []).append((name, module))
    if not found:
        raise ModelError(f"Module {type(model).__name__} has no Linear module: there is nothing to offload")
    return [Unit(*(tuple(part) for part in zip(*shared, strict=True))) for shared in found.values()]


def _weight_key(module: nn.Module) -> object:
    """The same for modules that share weight and bias."""
    parameters = [module._parameters.get(name) for name in ("weight", "bias")]
    return id(module) if parameters[0] is None else tuple(id(parameter) for parameter in parameters)


def chosen(units: Sequence[Unit], layers: Sequence[str] | None, skip: Sequence[str]) -> dict[str, str]:
    """Why units are not wanted, by their names; ``layers`` and ``skip`` hold names or patterns such as ``encoder.*.query``."""
    for option, patterns in (("layers", layers or ()), ("skip", skip)):
        if isinstance(patterns, str):
            raise ModelError(f"{option} must be a list of names, not {patterns!r}: write [{patterns!r}]")
        for pattern in patterns:
            if not any(_matches(unit, [pattern]) for unit in units):
                raise ModelError(f"{option} names {pattern!r}, but there are {', '.join(unit.name for unit in units)}")
    skipped = {unit.name: "skipped" for unit in units if _matches(unit, skip)}
    unnamed = {unit.name: "not among the layers named" for unit in units if layers is not None and not _matches(unit, layers)}
    return {**unnamed, **skipped}


def _matches(unit: Unit, patterns: Sequence[str]) -> bool:
    return named((unit.name, *unit.names), patterns)
