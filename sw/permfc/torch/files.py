"""An offloaded model in one file: the layers of the engine as model files, everything else as safetensors. Nothing is unpickled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..errors import FormatError, ModelError
from ..graph.container import Container, load_container, save_container
from ..image.model_file import from_bytes, to_bytes
from ..importers.torch_wrappers import unwrapped
from ..network import Network
from ..progress import Progress
from .dense import is_dense, shape
from .exchange import exchanged
from .model import Offloaded
from .modules import Group
from .offloading import opened
from .report import LayerReport, Layers

KIND = "torch"
_STATE = "state.safetensors"


def save(model: Offloaded, path: str | os.PathLike[str]) -> None:
    """Write an offloaded model; the file appears under its name only when it is complete.

    Raises
    ------
    FormatError
        If the file cannot be written.
    ModelError
        If this is no offloaded model, or its state is not only tensors.
    """
    if not isinstance(model, Offloaded):
        raise ModelError(f"permfc.torch.save writes what permfc.torch.offload gave, not {type(model).__name__}")
    state, same = _plain_state(model.module)
    parts = {_part(number): to_bytes(group.network) for number, group in enumerate(model.groups)}
    description = {
        "module": type(model.module).__name__,
        "parameters": model.layers.parameters,
        "groups": [{"name": group.name, "members": {name: [part.start, part.stop] for name, part in group.members.items()}}
                   for group in model.groups],
        "layers": [report.as_dict() for report in model.layers],
        "same": same,
        "kinds": _kinds(model.module),
    }
    save_container(Container(KIND, description, parts | {_STATE: safetensors.torch.save(state)}), path)


def load(path: str | os.PathLike[str], module: nn.Module, device: str = "golden", progress: Progress | None = None) -> Offloaded:
    """Read an offloaded model.

    Parameters
    ----------
    path : path
        A file that ``save`` wrote.
    module : nn.Module
        Of the same architecture, made by the user's own code, with any weights. It is not changed.
    device, progress
        As for ``offload``.

    Raises
    ------
    FormatError
        If the file cannot be read, is damaged, or of another kind.
    ModelError
        If the module is of another architecture.
    """
    module = unwrapped(module)
    container = load_container(path, KIND)
    try:
        groups, layers, same = _described(container)
        kinds = dict(container.description["kinds"])
        state = safetensors.torch.load(container.parts[_STATE])
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise error if isinstance(error, FormatError) else FormatError(f"{path} is damaged: its description lacks or misstates {error}") from error
    for group in groups:
        _check_members(module, group, path)
    copied = exchanged(module, groups)
    _load_state(copied, state | {name: state[first] for name, first in same.items()}, path)
    _check_kinds(_kinds(copied), kinds, path)
    return opened(copied, groups, layers, device, progress)


def _part(number: int) -> str:
    return f"layers/{number}.safetensors"


def _plain_state(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a module, each once, and the further names of those that have several."""
    tensors: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    seen: dict[tuple, str] = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ModelError(f"State {name} of {type(module).__name__} is a {type(value).__name__}, but only tensors can be saved")
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else name
        if key in seen:
            same[name] = seen[key]
        else:
            seen[key] = name
            tensors[name] = value.detach().cpu().clone().contiguous()
    return tensors, same


def _described(container: Container) -> tuple[list[Group], Layers, dict[str, str]]:
    description = container.description
    groups = [_group(entry, from_bytes(container.parts[_part(number)], _part(number))) for number, entry in enumerate(description["groups"])]
    layers = Layers(tuple(LayerReport.from_dict(entry) for entry in description["layers"]), int(description["parameters"]))
    return groups, layers, dict(description["same"])


def _group(entry: Mapping[str, Any], network: Network) -> Group:
    """A layer of the engine as its description tells; ValueError if that does not fit its network."""
    members = {str(name): slice(int(start), int(stop)) for name, (start, stop) in entry["members"].items()}
    if any(not 0 <= part.start < part.stop <= network.outputs for part in members.values()):
        raise ValueError(f"the outputs of {entry['name']}")
    return Group(str(entry["name"]), network, members)


def _check_members(module: nn.Module, group: Group, path: str | os.PathLike[str]) -> None:
    """ModelError unless the module has fully connected modules of these names and shapes."""
    for name, part in group.members.items():
        try:
            found = module.get_submodule(name)
        except AttributeError:
            found = None
        if found is None or not is_dense(found):
            raise ModelError(f"{path} was saved from another architecture: {type(module).__name__} has no Linear module {name}")
        expected = (part.stop - part.start, group.network.inputs)
        if shape(found) != expected:
            raise ModelError(f"{path} was saved from another architecture: module {name} has {shape(found)[0]} outputs and {shape(found)[1]} "
                             f"inputs, in the file {expected[0]} and {expected[1]}")


def _kinds(module: nn.Module) -> dict[str, str]:
    """The classes of the modules without parts of their own, which compute something even where they have no state, by name."""
    return {name: type(part).__name__ for name, part in module.named_modules() if not any(part.children())}


def _check_kinds(found: Mapping[str, str], wanted: Mapping[str, str], path: str | os.PathLike[str]) -> None:
    """ModelError if a module is of another class than the one of the same name that was saved."""
    for name, kind in found.items():
        if kind != wanted.get(name, kind):
            raise ModelError(f"{path} was saved from another architecture: module {name} is of class {kind}, in the file {wanted[name]}")


def _load_state(copied: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    try:
        missing, unexpected = copied.load_state_dict(state, strict=False)
    except RuntimeError as error:  # torch names the tensors whose shapes differ
        raise ModelError(f"{path} was saved from another architecture: {' '.join(str(error).split())}") from error
    for problem, names in (("has no", missing), ("has, but the module has not,", unexpected)):
        if names:
            raise ModelError(f"{path} was saved from another architecture: it {problem} {', '.join(sorted(names)[:5])}"
                             f"{f' and {len(names) - 5} more' if len(names) > 5 else ''}")
