"""A whole network, compressed: host stages, chains, and what is known about both, in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import FormatError
from ..image import model_file
from ..network import Network
from .container import Container, load_container, save_container
from .execution import Joint, Plan, Result
from .values import Value

KIND = "onnx"


@dataclass(frozen=True)
class Row:
    """One layer of the table that says where each runs.

    Members
    -------
    name : str
    shape : list of int
        [outputs, inputs], empty if the layer has no matrix.
    chain : str
        The chain on the engine of which it is a part; empty on the host.
    reason : str
        Why it is on the host; empty on the engine.
    weights : int
    """

    name: str
    shape: list[int]
    chain: str
    reason: str
    weights: int


@dataclass(frozen=True)
class ChainFigures:
    """How well a chain stands for the original's, on inputs that calibrated it.

    Members
    -------
    error : float
        Root mean square of the change of its results, over that of the results, what the chains before it have done included.
    clipped : float
        The share of its input values that int8 clips, 0 to 1.
    empty : tuple of str
        Its layers that kept none of their weights, which none of these inputs needs.
    """

    error: float
    clipped: float
    empty: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class WholeNetwork:
    """What runs a network: the host's part in stages, and the chains between them.

    Members
    -------
    source : str
        The file that it was made of.
    inputs, outputs : tuple of Value
    stages : tuple of (bytes or None, tuple of Joint)
        The ONNX model of the host's part, and the chains behind it.
    chains : mapping of str to Network
    figures : mapping of str to ChainFigures
        By chain.
    rows : tuple of Row
    totals : dict of str to number
        Shares of the engine, sizes, and the error against the original.
    """

    source: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    stages: tuple[tuple[bytes | None, tuple[Joint, ...]], ...]
    chains: Mapping[str, Network]
    figures: Mapping[str, ChainFigures]
    rows: tuple[Row, ...]
    totals: dict[str, float]

    def plan(self) -> Plan:
        """The stages ready to run."""
        return Plan(self.stages, self.source)

    @property
    def engine_weights(self) -> int:
        """Value of the number of weights on the engine."""
        return sum(row.weights for row in self.rows if row.chain)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network's file; it appears under its name only when it is complete. FormatError if it cannot be written."""
        parts = {_chain_part(number): model_file.to_bytes(network) for number, network in enumerate(self.chains.values())}
        parts |= {_host_part(number): host for number, (host, _) in enumerate(self.stages) if host is not None}
        save_container(Container(KIND, self._description(), parts), path)

    def _description(self) -> dict[str, Any]:
        stages = [{"host": host is not None, "chains": [asdict(joint) for joint in joints]} for host, joints in self.stages]
        return {
            "source": self.source, "inputs": [asdict(value) for value in self.inputs], "outputs": [asdict(value) for value in self.outputs],
            "stages": stages, "chains": list(self.chains),
            "figures": {name: asdict(figures) for name, figures in self.figures.items()}, "layers": [asdict(row) for row in self.rows],
            "totals": self.totals,
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WholeNetwork:
        """Read a network's file.

        Raises
        ------
        FormatError
            If it cannot be read, is damaged, of another version or kind, or its parts do not belong together.
        """
        container = load_container(path, KIND)
        told = container.description
        try:
            chains = {name: model_file.from_bytes(container.parts[_chain_part(number)], f"Chain {name!r} of {path}")
                      for number, name in enumerate(told["chains"])}
            stages = tuple((container.parts[_host_part(number)] if stage["host"] else None, tuple(map(_joint, stage["chains"])))
                           for number, stage in enumerate(told["stages"]))
            inputs, outputs = (tuple(Value(**value) for value in told[name]) for name in ("inputs", "outputs"))
            figures = {name: _figures(told["figures"][name]) for name in chains}
            found = cls(str(told["source"]), inputs, outputs, stages, chains, figures, tuple(Row(**row) for row in told["layers"]), told["totals"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{path} is damaged: its manifest lacks or misstates {error}; compress the network again") from error
        _check(found, path)
        return found


def _chain_part(number: int) -> str:
    return f"chain{number}.safetensors"


def _host_part(number: int) -> str:
    return f"host{number}.onnx"


def _joint(told: dict[str, Any]) -> Joint:
    return Joint(told["name"], told["x"], tuple(Result(**result) for result in told["results"]))


def _figures(told: dict[str, Any]) -> ChainFigures:
    return ChainFigures(**told | {"empty": tuple(told.get("empty", ()))})


def _check(network: WholeNetwork, path: str | os.PathLike[str]) -> None:
    """Refuse chains that do not fit where the stages use them."""
    for _, joints in network.stages:
        for joint in joints:
            chain = network.chains.get(joint.name)
            if chain is None or chain.outputs != sum(result.width for result in joint.results):
                raise FormatError(f"{path} is damaged: chain {joint.name!r} is missing or has other outputs than the host takes; "
                                  "compress the network again")
