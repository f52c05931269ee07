"""Layers that get the very same tensor become one layer of the engine, outputs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix

import numpy as np

from ..functions import IDENTITY
from ..importers.float_network import FloatLayer, FloatNetwork
from ..network import MAX_SIZE
from .dense import Unit, float_layer
from .recording import Record


def groups(found: Sequence[tuple[Unit, Record]]) -> list[list[tuple[Unit, Record]]]:
    """Units by the tensors that they got, in the order in which they are called; a group has at most as many outputs as an engine can have."""
    alike: dict[tuple[int, ...], list[list[tuple[Unit, Record]]]] = {}
    for unit, record in sorted(found, key=lambda pair: pair[1].calls[0]):
        known = alike.setdefault(tuple(record.calls), [[]])
        if sum(member.outputs for member, _ in known[-1]) + unit.outputs > MAX_SIZE:
            known.append([])
        known[-1].append((unit, record))
    return [group for known in alike.values() for group in known if group]


def group_name(group: Sequence[tuple[Unit, Record]]) -> str:
    """``block.attention.query+key+value`` for three modules of ``block.attention``."""
    names = [unit.name for unit, _ in group]
    start = commonprefix(names).rfind(".") + 1
    return names[0][:start] + "+".join(name[start:] for name in names)


def group_network(units: Sequence[Unit], name: str) -> FloatNetwork:
    """One layer with the outputs of all units, one behind the other."""
    layers = [float_layer(unit) for unit in units]
    weight, bias = np.concatenate([layer.weight for layer in layers]), np.concatenate([layer.bias for layer in layers])
    return FloatNetwork((FloatLayer(weight, bias, IDENTITY, name),))


def columns(units: Sequence[Unit]) -> list[slice]:
    """Where the outputs of each unit lie among those of its group."""
    ends = np.cumsum([unit.outputs for unit in units]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
