"""How much errors of single layers change the results of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..importers.torch_check import at_inference
from .dense import Unit
from .recording import instead, run_batch, untouched

_SEED = 0


def sensitivities(model: nn.Module, units: Sequence[Unit], calibration: Sequence[object]) -> list[float] | None:
    """Per unit the summed square of the derivatives of the model's results by the unit's, with random signs (Hutchinson, 1989).

    Returns
    -------
    list of float or None
        None if torch cannot tell for one of them, or the model has backward hooks, which are not to run for this.
    """
    if any(module._backward_hooks or module._backward_pre_hooks for module in model.modules()):
        return None
    found, known = [0.0] * len(units), [False] * len(units)
    signs = torch.Generator().manual_seed(_SEED)
    try:
        for number, batch in enumerate(calibration):
            seen: list[tuple[int, Tensor]] = []
            watched = {module: _watching(module, seen, unit) for unit, shared in enumerate(units) for module in shared.modules}
            with untouched(model), at_inference(model), torch.enable_grad(), instead(watched):
                results = list(_differentiable(run_batch(model, batch, number)))
            if not seen or not results:
                continue
            random = [torch.randint(0, 2, result.shape, generator=signs).to(result) * 2 - 1 for result in results]
            gradients = torch.autograd.grad(results, [tensor for _, tensor in seen], random, allow_unused=True)
            for (unit, _), gradient in zip(seen, gradients, strict=True):
                if gradient is not None:
                    found[unit], known[unit] = found[unit] + float(gradient.cpu().double().square().sum()), True
    except (InputError, RuntimeError):  # operators without a derivative, results that are written over
        return None
    return found if all(known) and np.isfinite(found).all() else None


def _watching(module: nn.Module, seen: list[tuple[int, Tensor]], unit: int) -> Callable:
    """A ``forward`` whose results are noted, and passed on as a copy, which may be written over."""
    forward = module.forward

    def watching(*arguments: object, **named: object) -> object:
        results = forward(*arguments, **named)
        if isinstance(results, Tensor) and results.is_floating_point():
            seen.append((unit, results if results.requires_grad else results.requires_grad_()))
            return results.clone()
        return results

    return watching


def _differentiable(results: object) -> Iterator[Tensor]:
    """The tensors among a model's results that have a derivative, in their order."""
    if isinstance(results, Tensor):
        if results.requires_grad:
            yield results
    elif isinstance(results, Mapping):
        for part in results.values():
            yield from _differentiable(part)
    elif isinstance(results, (list, tuple)):
        for part in results:
            yield from _differentiable(part)
