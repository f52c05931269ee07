"""Running a session on arrays of samples, and what reaches its chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..progress import Progress
from .session import ChainRun, Session
from .values import Feeds, batches
from .whole import WholeNetwork


def run_samples(session: Session, data: np.ndarray | Feeds, progress: Progress | None = None) -> tuple[list[np.ndarray], list[ChainRun]]:
    """A network's results for arrays of samples, and what each chain did for all of them.

    A network that was exported for a fixed number of samples runs as often as that takes; any other runs once.

    Raises
    ------
    InputError
        If the network does not take such inputs.
    """
    parts = list(batches(session.get_inputs(), data, most=None))
    found, runs = [], []
    for number, feeds in enumerate(parts):
        found.append(session.run(None, feeds))
        runs.append(session.last_run)
        if progress:
            progress("run", number + 1, len(parts))
    count = len(data) if isinstance(data, np.ndarray) else max((len(array) for array in data.values() if np.ndim(array)), default=0)
    names = [value.name for value in session.get_outputs()]
    results = found[0] if len(parts) == 1 else [_joined(name, values, count) for name, values in zip(names, zip(*found, strict=True), strict=True)]
    return results, [_sum([run[name] for run in runs if name in run]) for name in session.network.chains if any(name in run for run in runs)]


def _joined(name: str, values: Sequence[np.ndarray], count: int) -> np.ndarray:
    if not all(isinstance(value, np.ndarray) and value.ndim for value in values):
        raise InputError(f"Output {name!r} has no row for each sample, so that those of {len(values)} runs cannot be joined: "
                         "give as many samples as the network was exported for")
    return np.concatenate(values)[:count]


def _sum(runs: Sequence[ChainRun]) -> ChainRun:
    first, samples = runs[0], sum(run.samples for run in runs)
    return replace(first, samples=samples, bytes=sum(run.bytes for run in runs), clipped=sum(run.clipped * run.samples for run in runs) / samples,
                   cycles=None if first.cycles is None else sum(run.cycles for run in runs),
                   mismatches=None if first.mismatches is None else sum(run.mismatches for run in runs))


def chain_inputs(network: WholeNetwork, data: np.ndarray | Feeds) -> dict[str, np.ndarray]:
    """What reaches each chain, float32 [rows, inputs], for a network's inputs; the chains before it are computed by the golden model.

    Raises
    ------
    InputError
        If the network does not take such inputs, or what reaches a chain is not finite.
    """
    seen: dict[str, list[np.ndarray]] = {name: [] for name in network.chains}

    def compute(name: str, x: np.ndarray) -> np.ndarray:
        seen[name].append(x)
        try:
            return network.chains[name].predict(x)
        except InputError as error:
            raise InputError(f"Chain {name!r}: {error}") from error

    plan = network.plan()
    for feeds in batches(network.inputs, data, most=None):
        plan.run(feeds, compute)
    return {name: np.concatenate(rows) for name, rows in seen.items()}
