"""What reaches the chains of a graph: in the original, and behind chains that are compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from ..network import Network
from ..progress import Progress
from .chains import Chain
from .execution import Plan
from .partition import Partition
from .runtime import open_model, run_model, with_outputs
from .values import Feeds

_MOST_ROWS = 2048  # that calibrate a chain


def record(part: Partition, feeds: Sequence[Feeds], progress: Progress) -> dict[str, np.ndarray]:
    """What reaches each chain in the original, float32 [at most 2048 evenly spaced rows, inputs]."""
    names = list(dict.fromkeys(chain.joint.x for chain in part.chains))
    session = open_model(with_outputs(part.view.model, names), part.view.source)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    most = _most_of_batch(feeds)
    for number, part_feeds in enumerate(feeds):
        for name, value in zip(names, run_model(session, names, part_feeds, part.view.source), strict=True):
            found[name].append(thinned(value.reshape(-1, value.shape[-1]).astype(np.float32), most))
        progress("run the original", number + 1, len(feeds))
    return {chain.name: thinned(np.concatenate(found[chain.joint.x]), _MOST_ROWS) for chain in part.chains}


class _Reached(Exception):
    """A chain has its inputs: the rest of the network need not run."""


def reached(plan: Plan, part: Partition, wanted: Chain, networks: Mapping[str, Network], feeds: Sequence[Feeds]) -> np.ndarray:
    """What reaches a chain when those in ``networks`` are compressed: the same rows as in ``record``, float32 [rows, inputs]."""
    float_networks = {chain.name: chain.network for chain in part.chains}
    found: list[np.ndarray] = []

    def compute(name: str, x: np.ndarray) -> np.ndarray:
        if name == wanted.name:
            found.append(thinned(x, _most_of_batch(feeds)))
            raise _Reached
        if not len(x):
            return np.zeros((0, float_networks[name].outputs), dtype=np.float32)
        return networks[name].predict(x) if name in networks else float_networks[name].predict(x)

    for part_feeds in feeds:
        with suppress(_Reached):
            plan.run(part_feeds, compute)
    return thinned(np.concatenate(found), _MOST_ROWS)


def _most_of_batch(feeds: Sequence[Feeds]) -> int:
    """Rows of a batch that are kept at first."""
    return -(-2 * _MOST_ROWS // len(feeds))


def thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))]
