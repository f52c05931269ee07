"""How many bits each layer should have: more where the model's results depend on it more, fewer where it has many weights.

The squared error of the results is about the sum over the layers of ``sensitivity * 2 ** (-2 * bits)``. For a given number of bits in all it
is least where ``bits`` is ``log2(sensitivity / weights) / 2`` and a constant (reverse water-filling). The sensitivity of a layer is measured:
noise is added to its results, as strong as the error of its weights would be at some common rate, and the change of the model's results is
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..importers.torch_check import at_inference
from .dense import Unit, float_layer
from .recording import Record, call

_NOISE = 0.1    # of the error that the layer would have without any weights
_TINY = 1e-4    # of the mean energy of a feature: what counts at least
_FEWEST = 0.75  # of the mean: below that a layer's error grows faster than the model says
_MORE = 1.0     # bits above the mean: beyond that the rounding of activations is all that is left


def layer_bits(model: nn.Module, taken: Sequence[Sequence[tuple[Unit, Record]]], batches: Sequence[object], bits: float) -> list[float]:
    """Bits a weight for each layer of the engine, which together take ``bits`` a weight at most."""
    weights = np.array([float(sum(unit.inputs * unit.outputs for unit, _ in group)) for group in taken])
    if len(taken) == 1:
        return [bits]
    effects = _sensitivities(model, taken, batches)
    if not np.isfinite(effects).all() or effects.max() <= 0:
        return [bits] * len(taken)
    wanted = 0.5 * np.log2(np.maximum(effects, 1e-6 * effects.max()) / weights)
    return _shifted_to_mean(wanted, weights, bits).tolist()


def _shifted_to_mean(wanted: np.ndarray, weights: np.ndarray, bits: float) -> np.ndarray:
    """``wanted`` and a constant, within the limits, such that the mean over the weights is ``bits``."""
    low, high = bits - wanted.max() - _MORE, bits - wanted.min() + _MORE
    for _ in range(50):
        middle = 0.5 * (low + high)
        found = np.clip(wanted + middle, _FEWEST * bits, bits + _MORE)
        low, high = (middle, high) if found @ weights <= bits * weights.sum() else (low, middle)
    return np.clip(wanted + low, _FEWEST * bits, bits + _MORE)


def _sensitivities(model: nn.Module, taken: Sequence[Sequence[tuple[Unit, Record]]], batches: Sequence[object]) -> np.ndarray:
    """Change of the model's results by noise in each layer, over their power, float64 [layers]; zeros if the results are no floats."""
    with torch.no_grad(), at_inference(model):
        quiet = [_numbers(call(model, batch, "a calibration batch")) for batch in batches]
        power = sum(float(values.square().sum()) for values in quiet)
        found = np.zeros(len(taken))
        for number, group in enumerate(taken) if power > 0 else ():
            level = _NOISE * _error_level(group)
            loud = _with_noise(model, [module for unit, _ in group for module in unit.modules], level, batches)
            found[number] = sum(float((noisy - values).square().sum()) for noisy, values in zip(loud, quiet, strict=True)) / power
    return found


def _error_level(group: Sequence[tuple[Unit, Record]]) -> float:
    """Root mean square of a layer's error, but for a factor that is about the same for all layers at the same bits a weight.

    With one rate for all weights the error would go by the arithmetic mean of the features' energies, with a best rate for each feature by
    their geometric mean; classes of features come halfway.
    """
    weight = np.concatenate([float_layer(unit).weight for unit, _ in group])
    energy = np.square(weight).mean(axis=0) * group[0][1].rows.rows().var(axis=0, dtype=np.float64)
    mean = float(energy.mean())
    if not mean > 0:
        return 0.0
    geometric = float(np.exp(np.log(np.maximum(energy, _TINY * mean)).mean()))
    return float(np.sqrt(len(energy) * np.sqrt(mean * geometric)))


def _with_noise(model: nn.Module, modules: Sequence[nn.Module], level: float, batches: Sequence[object]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)

    def louder(module: nn.Module, given: object, results: Tensor) -> Tensor:
        noise = torch.randn(results.shape, generator=generator).to(results)
        return results + level * noise

    hooks = [module.register_forward_hook(louder) for module in modules]
    try:
        return [_numbers(call(model, batch, "a calibration batch")) for batch in batches]
    finally:
        for hook in hooks:
            hook.remove()


def _numbers(results: object) -> Tensor:
    """All floating-point results, float64 [n]."""
    tensors = [tensor.detach().double().flatten().cpu() for tensor in _tensors(results) if tensor.is_floating_point()]
    return torch.cat(tensors) if tensors else torch.zeros(0, dtype=torch.float64)


def _tensors(results: object) -> Iterator[Tensor]:
    if isinstance(results, Tensor):
        yield results
    elif isinstance(results, Mapping):
        for value in results.values():
            yield from _tensors(value)
    elif isinstance(results, (tuple, list)):
        for value in results:
            yield from _tensors(value)
