"""A layer of the engine from the modules that share its input: compressed, measured, reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from ..compression.compress import compress
from ..compression.sharing import Sharer, affordable, shared_rates
from ..compression.targets import LOST
from ..config import EngineConfig
from ..errors import InputError, ModelError
from ..image import size_report
from ..importers.float_network import FloatNetwork
from ..network import MAX_SIZE, Kind, Network
from .dense import Unit
from .grouping import columns, group_name, group_network
from .modules import Group
from .recording import HELD_OUT, Record
from .report import LayerReport

_FEW = 4 * HELD_OUT  # with fewer rows none is held out


def why_not(unit: Unit, seen: Record) -> str:
    """Why a layer stays in torch; empty if nothing speaks against exchanging it."""
    if any(isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear) for module in unit.modules):
        return "MultiheadAttention uses its weight, and does not call it"
    if seen.reason:
        return seen.reason
    if not seen.rows.seen:
        return "no calibration batch reached it"
    if max(unit.outputs, unit.inputs) > MAX_SIZE:
        return f"it has more than the {MAX_SIZE} inputs or outputs that an engine can have"
    return ""


def left(unit: Unit, reason: str) -> LayerReport:
    """The report of a layer that stays in torch."""
    return LayerReport(unit.name, unit.names, (unit.outputs, unit.inputs), reason)


def compressed(group: Sequence[tuple[Unit, Record]], now: np.ndarray | None, bits: float | str,
               engine: EngineConfig) -> tuple[LayerReport, Group | None]:
    """A layer's report, and the layer itself, if it can be made as small as that.

    Parameters
    ----------
    group : units with the same inputs, each with what was seen of it
    now : float32 [n, inputs] or None
        The same rows behind the layers that are compressed already, if they are known.
    bits, engine
        As for ``offload``.
    """
    members = [unit for unit, _ in group]
    name, network, rows = group_name(group), group_network(members, group_name(group)), group[0][1].rows.rows()
    held, received = held_out(len(rows)), rows if now is None else now
    common = {"name": name, "modules": tuple(name for unit in members for name in unit.names), "shape": (network.outputs, network.inputs)}
    try:
        small = compress(network, bits, received[~held], engine, reference=None if now is None else rows[~held])
    except InputError as error:
        raise InputError(f"Layer {name}: {error}") from error
    except ModelError as error:
        return LayerReport(**common, reason=str(error)), None
    kinds, change = _kinds(small), _error(network, small, received, rows, held if held.any() else ~held)
    if set(kinds) == {Kind.EMPTY.value} and change > LOST:
        return LayerReport(**common, reason="with so few bits it keeps none of its weights"), None
    places = {name: part for unit, part in zip(members, columns(members), strict=True) for name in unit.names}
    report = LayerReport(**common, image_bytes=size_report(small, engine).image_bytes, kinds=kinds, error=change)
    return report, Group(name, small, places)


def held_out(rows: int) -> np.ndarray:
    """The rows that only measure the error, bool [rows]."""
    return np.arange(rows) % HELD_OUT == HELD_OUT - 1 if rows >= _FEW else np.zeros(rows, dtype=bool)


def shared_bits(taken: Sequence[Sequence[tuple[Unit, Record]]], sensitive: Mapping[str, float], bits: float, engine: EngineConfig) -> list[float]:
    """Bits a weight for each layer of the engine, ``bits`` on average, where ``sensitive`` has the sensitivity of each unit by its name.

    A layer that is too small for ``bits`` takes no part.
    """
    rates, sharers, places = [bits] * len(taken), [], []
    for number, group in enumerate(taken):
        members, rows = [unit for unit, _ in group], group[0][1].rows.rows()
        network = group_network(members, group_name(group))
        if affordable(network, bits, engine):
            sensitivity = sum(sensitive[unit.name] for unit in members) / network.outputs
            sharers.append(Sharer(network, rows[~held_out(len(rows))], sensitivity))
            places.append(number)
    if sharers:
        for number, rate in zip(places, shared_rates(sharers, bits, engine), strict=True):
            rates[number] = rate
    return rates


def _kinds(network: Network) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for segments in network.layers[0].classes:
        kinds[segments.kind.value] = kinds.get(segments.kind.value, 0) + segments.features
    return kinds


def _error(network: FloatNetwork, small: Network, received: np.ndarray, rows: np.ndarray, judged: np.ndarray) -> float:
    wanted = network.predict(rows[judged])
    power = np.square(wanted, dtype=np.float64).mean()
    return float(np.sqrt(np.square(small.predict(received[judged]) - wanted, dtype=np.float64).mean() / power)) if power else 0.0
