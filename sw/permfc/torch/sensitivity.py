"""How much errors of single layers change the results of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..importers.torch_check import at_inference
from .dense import Unit
from .recording import call, instead

_SEED = 0


def sensitivities(model: nn.Module, units: Sequence[Unit], calibration: Sequence[object]) -> list[float] | None:
    """Per unit the summed square of the derivatives of the model's first result by the unit's, with random signs (Hutchinson, 1989).

    Returns
    -------
    list of float or None
        None if the model cannot be differentiated, or has backward hooks, which are not to run for this.
    """
    if any(module._backward_hooks or module._backward_pre_hooks for module in model.modules()):
        return None
    found = [0.0] * len(units)
    signs = torch.Generator().manual_seed(_SEED)
    try:
        for number, batch in enumerate(calibration):
            seen: list[tuple[int, Tensor]] = []
            watched = {module: _watching(module, seen, unit) for unit, shared in enumerate(units) for module in shared.modules}
            with at_inference(model), torch.enable_grad(), instead(watched):
                results = next(_differentiable(call(model, batch, f"calibration batch {number}")), None)
            if results is None:
                return None
            random = torch.randint(0, 2, results.shape, generator=signs).to(results) * 2 - 1
            gradients = torch.autograd.grad(results, [tensor for _, tensor in seen], random, allow_unused=True)
            for (unit, _), gradient in zip(seen, gradients, strict=True):
                found[unit] += 0.0 if gradient is None else float(gradient.double().square().sum())
    except (InputError, RuntimeError):  # operators without a derivative, results that are written over
        return None
    return found


def _watching(module: nn.Module, seen: list[tuple[int, Tensor]], unit: int) -> Callable:
    """A ``forward`` whose results are noted."""
    forward = module.forward

    def watching(*arguments: object, **named: object) -> object:
        results = forward(*arguments, **named)
        if isinstance(results, Tensor) and results.is_floating_point():
            seen.append((unit, results if results.requires_grad else results.requires_grad_()))
        return results

    return watching


def _differentiable(results: object) -> Iterator[Tensor]:
    """The tensors among a model's results that depend on its layers, in their order."""
    if isinstance(results, Tensor):
        if results.requires_grad:
            yield results
    elif isinstance(results, Mapping):
        for part in results.values():
            yield from _differentiable(part)
    elif isinstance(results, (list, tuple)):
        for part in results:
            yield from _differentiable(part)
