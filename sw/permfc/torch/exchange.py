"""A copy of a model with other modules in place of its fully connected ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import nn

from ..errors import ModelError
from ..importers.torch_check import is_weight_hook
from .dense import matrix
from .modules import EngineLinear, Group

_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")


def exchanged(model: nn.Module, groups: Sequence[Group]) -> nn.Module:
    """A copy of ``model`` at inference, whose modules that are members of ``groups`` run on the engine; their weights are not copied.

    Raises
    ------
    ModelError
        If the model cannot be copied, or a module has backward hooks.
    """
    memo: dict[int, object] = {}
    for group in groups:
        for name in group.members:
            module = model.get_submodule(name)
            memo[id(module)] = _replacement(module, group, name)
    try:
        made = copy.deepcopy(model, memo)
    except Exception as error:  # whatever the model's own members raise
        raise ModelError(f"Module {type(model).__name__} cannot be copied: {error}") from error
    _keep_encoders_apart(made)
    return made.eval().requires_grad_(False)


def _replacement(module: nn.Module, group: Group, name: str) -> EngineLinear:
    made = EngineLinear(group, name, matrix(module).dtype)
    if module._backward_hooks or module._backward_pre_hooks:
        raise ModelError(f"Module {name or type(module).__name__} has backward hooks, but no gradient passes through the engine: "
                         "remove them, or skip the module")
    for kind in _HOOKS:
        computing = {key for key, hook in module._forward_pre_hooks.items() if is_weight_hook(hook)}
        getattr(made, kind).update({key: hook for key, hook in getattr(module, kind).items() if key not in computing})
    return made


def golden_forwards(model: nn.Module, group: Group) -> dict[nn.Module, Callable]:
    """What the modules that are members of a group compute on the engine, by the golden model."""
    return {model.get_submodule(name): EngineLinear(group, name, matrix(model.get_submodule(name)).dtype).forward for name in group.members}


def _keep_encoders_apart(model: nn.Module) -> None:
    """Torch computes a whole encoder layer at once where it can, past the modules in it: make it call them."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
