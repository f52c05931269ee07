"""What stands around a torch module: data parallel and compiled wrappers. Nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}  # class: member


def is_torch_module(model: object) -> bool:
    """Whether this is a torch module; torch itself need not be installed to ask."""
    return not isinstance(model, type) and callable(getattr(model, "state_dict", None)) and callable(getattr(model, "named_modules", None))


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DataParallel and torch.compile.

    Raises
    ------
    ModelError
        If this is no torch module, a submodule is wrapped or compiled, or the module is TorchScript.
    """
    if not is_torch_module(module):
        given = f"the class {module.__name__}: give an object of it, with any weights" if isinstance(module, type) else repr(module)[:80]
        raise ModelError(f"A model must be a torch module, not {given}")
    while (member := _wrapped_in(module)) is not None:
        module = getattr(module, member)
    for name, part in module.named_modules():
        if name and _wrapped_in(part) is not None:
            raise ModelError(f"Submodule {name} is a {type(part).__name__}: take the module inside, `{_wrapped_in(part)}`, in its place")
        if getattr(part, "_compiled_call_impl", None) is not None:
            raise ModelError(f"Module {name or type(part).__name__} was compiled by its method compile(): take it as it was before")
        if any(base.__name__ == "ScriptModule" for base in type(part).__mro__):
            raise ModelError(f"Module {name or type(part).__name__} is TorchScript, which has no modules to look into: take the module "
                             "that it was scripted from")
    return module


def _wrapped_in(module: nn.Module) -> str | None:
    """The member that holds the module proper; None if this is no wrapper of torch."""
    for base in type(module).__mro__:
        if base.__name__ in _WRAPPERS and base.__module__.startswith("torch."):
            return _WRAPPERS[base.__name__]
    return None
