"""What a user can ask of a compressed network, in bits of its image: a size, sizes of single layers, or a loss of accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..config import EngineConfig
from ..errors import InputError, ModelError
from ..files import read_file
from ..format import MAX_LEVELS
from ..importers.float_network import FloatNetwork
from ..network import Kind, Network
from ..progress import Progress
from .allocation import Budget
from .overhead import Storage, fixed_bits

LOST = 0.25     # of the results: a part of a network with a larger error, and a layer without weights, computes nothing of use
ANY_SIZE = 1e6  # bits a weight: more than any network takes
CHOOSABLE = (Kind.PREFIX, Kind.SPARSE, Kind.DENSE8)  # kinds that a user may name
FLOAT_BITS = 32
_FIRST_BITS, _LEAST_BITS, _MOST_BITS = 2.0, 0.02, 16.0  # where the search for a loss of accuracy starts, and its limits
_SEARCHES = 14
_PRECISION = 1.02  # of the size found


def sized(network: FloatNetwork, bits: float | str, per_layer: Mapping[str, float | str]) -> tuple[float, dict[str, float | str]]:
    """Most bits a weight, and what is asked of single layers, where ``bits`` may be "dense8": int8 weights everywhere, whatever that takes.

    Raises
    ------
    ModelError
        If ``bits`` is anything else than that or a positive number, or a layer is asked for what is neither a positive number nor a kind.
    """
    check_bits(bits)
    for name, choice in per_layer.items():
        if not isinstance(choice, str) and not _is_size(choice):
            raise _unusable(name, choice)
    if bits != Kind.DENSE8.value:
        return bits, dict(per_layer)
    return ANY_SIZE, dict.fromkeys((layer.name for layer in network), Kind.DENSE8.value) | dict(per_layer)


def check_bits(bits: float | str) -> None:
    """ModelError unless ``bits`` is a positive number or "dense8"."""
    if bits != Kind.DENSE8.value and not _is_size(bits):
        raise ModelError(f"Target bits a weight must be a positive number, or dense8, not {bits!r}")


def _is_size(bits: object) -> bool:
    return isinstance(bits, (int, float, np.number)) and not isinstance(bits, bool) and bool(np.isfinite(bits)) and bits > 0


def _unusable(name: str, choice: object) -> ModelError:
    return ModelError(f"Layer {name} must have a positive number of bits a weight or one of the kinds "
                      f"{', '.join(kind.value for kind in CHOOSABLE)}, not {choice!r}")


def layer_plans(network: FloatNetwork, bits: float, engine: EngineConfig,
                per_layer: Mapping[str, float | str]) -> tuple[list[Storage], list[Budget]]:
    """How each layer is stored, and which layers share how many bits, so that the image has at most ``bits`` bits a weight.

    Raises
    ------
    ModelError
        If ``per_layer`` names a layer or kind that does not exist, or a target cannot be reached.
    """
    storages = _storages(network, engine, per_layer)
    return storages, layer_budgets(network, bits, storages, per_layer)


def _storages(network: FloatNetwork, engine: EngineConfig, per_layer: Mapping[str, float | str]) -> list[Storage]:
    names = [layer.name for layer in network]
    unknown = [name for name in per_layer if name not in names]
    if unknown:
        raise ModelError(f"The network has no layer {unknown[0]!r}; its layers are {', '.join(names)}")
    storages = []
    for number, layer in enumerate(network):
        storage = Storage(engine.block_outputs, engine.bus_bits, engine.levels,
                          multipliers=not layer.function.is_identity or number < len(network) - 1,
                          inputs=network.inputs if number == 0 else 0, table=layer.function.needs_table)
        storages.append(_with_kind(storage, layer.name, per_layer.get(layer.name)))
    return storages


def layer_rates(network: FloatNetwork, bits: float, per_layer: Mapping[str, float | str]) -> list[float]:
    """About how many bits a weight each layer gets: what is asked of it, 8 for dense8, or what the whole network may have."""
    wanted = [per_layer.get(layer.name, bits) for layer in network]
    return [8.0 if choice == Kind.DENSE8.value else bits if isinstance(choice, str) else float(choice) for choice in wanted]


def _with_kind(storage: Storage, name: str, choice: float | str | None) -> Storage:
    if not isinstance(choice, str):
        return storage
    kinds = {kind.value: kind for kind in CHOOSABLE}
    if choice not in kinds:
        raise _unusable(name, choice)
    if not storage.may_use(kinds[choice]):
        raise ModelError(f"Layer {name} cannot be {choice} on an engine with {storage.levels} levels: that takes {MAX_LEVELS}")
    return replace(storage, kinds=frozenset({kinds[choice]}))


def layer_budgets(network: FloatNetwork, bits: float, storages: list[Storage], per_layer: Mapping[str, float | str],
                  taken: float = 0.0) -> list[Budget]:
    """The layers with a target of their own, each alone, and all others together with what remains of the image.

    Parameters
    ----------
    bits : float
        Most bits a weight of the image.
    taken : float
        Bits of the image that no layer may have.

    Raises
    ------
    ModelError
        If a target cannot be reached.
    """
    least = [storage.header_bits(layer.outputs, 1) for storage, layer in zip(storages, network, strict=True)]
    fixed = fixed_bits(network.inputs, network.outputs, storages[0].bus_bits)
    budgets, free, left = [], [], bits * network.weight_count - fixed - taken
    for number, layer in enumerate(network):
        wanted = per_layer.get(layer.name)
        if wanted is None or isinstance(wanted, str):
            free.append(number)
            continue
        weights = layer.weight.size
        if wanted * weights < least[number]:
            raise ModelError(f"Layer {layer.name} cannot have {wanted!r} bits a weight: its headers, biases and multipliers alone "
                             f"take {least[number] / weights:.4f}")
        budgets.append(Budget((number,), float(wanted) * weights))
        left -= budgets[-1].bits
    needed = sum(least[number] for number in free)
    if not left >= needed:
        best = (bits * network.weight_count - left + needed) / network.weight_count
        raise ModelError(f"Target of {bits:.4g} bits a weight cannot be reached: headers, biases and multipliers of this network "
                         f"{'and the bits of the layers named ' if budgets else 'alone '}take {best:.4f}, so ask for more, "
                         f"or for a ratio of at most {np.floor(1e3 * FLOAT_BITS / best) / 1e3:g}")
    return [*budgets, Budget(tuple(free), left)] if free else budgets


def read_per_layer(path: Path) -> dict[str, float | str]:
    """Bits or kind by layer name, from a JSON file.

    Raises
    ------
    InputError
        If the file is damaged or holds something else.
    """
    try:
        found = json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, (int, float, str)) and not isinstance(value, bool) for value in found.values()):
        raise InputError(f'{path} must map layer names to bits a weight or a kind, such as {{"fc1": 0.5, "fc2": "dense8"}}')
    return found


def bits_for_ratio(ratio: float) -> float:
    """Bits a weight of an image that is ``ratio`` times smaller than the weights in float32; ModelError unless that is a positive number."""
    if not (np.isfinite(ratio) and ratio > 0):
        raise ModelError(f"Ratio to float32 must be a positive number, not {ratio!r}")
    return FLOAT_BITS / ratio


def percent_right(results: np.ndarray, labels: np.ndarray) -> float:
    """Percent of results [T, outputs] that are largest where the label, int [T], says."""
    return 100.0 * float(np.mean(results.argmax(axis=1) == labels))


def smallest_within(network: FloatNetwork, max_drop: float, x: np.ndarray, labels: np.ndarray, make: Callable[[float], Network],
                    report: Progress) -> tuple[Network, float]:
    """The smallest compressed network found that loses at most ``max_drop`` points of accuracy, and the points that it loses.

    Parameters
    ----------
    network : FloatNetwork
    max_drop : float
        Percentage points below the float network, on the integer golden model.
    x : float [T, inputs]
    labels : int [T]
    make : function (bits) -> Network
    report : function (what, done, total)

    Raises
    ------
    InputError
        If the labels cannot be used, or ``max_drop`` is NaN or infinite.
    ModelError
        If no size loses so little.
    """
    if not np.isfinite(max_drop):
        raise InputError(f"Points of accuracy that may be lost must be a number, not {max_drop!r}")
    labels = _checked_labels(labels, len(x), network.outputs)
    wanted = percent_right(network.predict(x), labels)
    best: tuple[Network, float] | None = None
    low, high, bits, least_drop = _LEAST_BITS, _MOST_BITS, _FIRST_BITS, np.inf
    for step in range(_SEARCHES):
        trial = _attempt(make, bits)
        drop = np.inf if trial is None else wanted - percent_right(trial.predict(x), labels)
        if trial is not None and drop <= max_drop:
            best, high = (trial, drop), bits
        else:
            low, least_drop = bits, min(least_drop, drop)
        report("search smallest image", step + 1, _SEARCHES)
        if high / low < _PRECISION:
            break
        bits = min(2.0 * bits, _MOST_BITS) if best is None else max(float(np.sqrt(low * high)), high / 2.0)
    if best is None:
        raise ModelError(f"A drop of at most {max_drop:g} points cannot be reached: the least found is {least_drop:.2f} points "
                         f"at up to {_MOST_BITS:g} bits a weight, so allow more")
    return best


def _attempt(make: Callable[[float], Network], bits: float) -> Network | None:
    """The network of that size, or None if headers alone take more."""
    try:
        return make(bits)
    except ModelError:
        if bits >= _MOST_BITS:
            raise
        return None


def _checked_labels(labels: np.ndarray, samples: int, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise InputError(f"Labels must be {samples} integers, one for each calibration sample, not {labels.dtype} {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"Labels must be from 0 to {classes - 1}, not {labels.min()} to {labels.max()}")
    return labels
