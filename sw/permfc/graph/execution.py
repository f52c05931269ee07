"""Running a cut network: stage by stage, the host's part by onnxruntime and each chain by whatever computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .runtime import float_type, open_model, run_model


@dataclass(frozen=True)
class Result:
    """One tensor that a chain gives to the host.

    Members
    -------
    tensor : str
        Its name in the graph.
    width : int
        How many of the chain's outputs, in their order, it takes.
    kind : str
        Its type, as onnxruntime names it.
    """

    tensor: str
    width: int
    kind: str


@dataclass(frozen=True)
class Joint:
    """Where a chain was cut out of a graph.

    Members
    -------
    name : str
        The chain's.
    x : str
        The tensor that it takes, [..., inputs].
    results : tuple of Result
        What it gives, side by side in its outputs.
    """

    name: str
    x: str
    results: tuple[Result, ...]

    def split(self, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        """The chain's outputs float [rows, outputs] as tensors with the leading dimensions of its input ``x``."""
        parts = np.split(y, np.cumsum([result.width for result in self.results])[:-1], axis=1)
        return {result.tensor: part.reshape(*x.shape[:-1], result.width).astype(float_type(result.kind))
                for result, part in zip(self.results, parts, strict=True)}


Compute = Callable[[str, np.ndarray], np.ndarray]  # (name of a chain, float32 [rows, inputs]) -> float32 [rows, outputs]


class Plan:
    """The stages of a network, ready to run.

    Parameters
    ----------
    stages : sequence of (bytes or None, joints)
        The model of the host's part, and the chains behind it.
    source : str
        What messages call the network.
    """

    def __init__(self, stages: Sequence[tuple[bytes | None, Sequence[Joint]]], source: str) -> None:
        self._source = source
        self._stages = [(None if host is None else open_model(host, f"the host's part of {source}"), joints) for host, joints in stages]

    def run(self, feeds: Mapping[str, np.ndarray], compute: Compute) -> dict[str, np.ndarray]:
        """Every tensor that crosses between the parts, and the network's results, by name.

        Raises
        ------
        InputError
            If the network does not take such inputs.
        """
        tensors = dict(feeds)
        for host, joints in self._stages:
            if host is not None:
                names = [value.name for value in host.get_outputs()]
                taken = {value.name: tensors[value.name] for value in host.get_inputs()}
                tensors |= zip(names, run_model(host, names, taken, self._source, feeds), strict=True)
            for joint in joints:
                x = tensors[joint.x]
                rows = np.asarray(x, dtype=np.float32).reshape(-1, x.shape[-1])
                tensors |= joint.split(x, compute(joint.name, rows))
        return tensors
