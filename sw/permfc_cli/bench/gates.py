"""The retrained network on the simulated gateware: the same labels as the golden model, and the bytes that the bus counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from permfc import datasets
from permfc.compression.targets import percent_right
from permfc.config import EngineConfig
from permfc.errors import FormatError, ToolError
from permfc.files import write_file
from permfc.image import model_file

GATES = "rtl"
RUN = "lenet-300-100-r100-s0"
DIGITS = 1000
CONFIG = EngineConfig(lanes=16, bus_bits=16)


@dataclass(frozen=True)
class Gates:
    """What the engine did with the first test digits.

    Members
    -------
    run : str
        The training run that made the network.
    digits, results : int
        Inferences, and their output values.
    different_results, different_labels : int
        From the golden model's.
    accuracy : float
        Percent of the digits that the engine has right.
    bytes_counted : float
        Bytes an inference, counted at the bus.
    traffic_as_predicted : bool
        Whether every inference read exactly the bytes that the format's law predicts.
    cycles : float
        Of an inference.
    """

    run: str
    digits: int
    results: int
    different_results: int
    different_labels: int
    accuracy: float
    bytes_counted: float
    traffic_as_predicted: bool
    cycles: float

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return asdict(self)


def gates(output: Path, data: Path, say: Callable[[str], None]) -> Gates:
    """Simulate the network of a finished run, or read what was found before.

    Raises
    ------
    ToolError
        If the run is not finished, or the simulator cannot be used.
    FormatError
        If the kept file is damaged.
    """
    file = output / "cells" / f"{GATES}.json"
    if file.exists():
        try:
            return Gates(**json.loads(file.read_bytes()))
        except (ValueError, TypeError) as error:
            raise FormatError(f"{file} does not hold the figures of the simulation; delete it to have it simulated again") from error
    model = output / "train" / RUN / "model.safetensors"
    if not (model.parent / "result.json").exists():
        raise ToolError(f"{RUN} is not trained, which the simulation runs: run permfc bench --only lenet-300-100")
    found = _simulate(model, data, say)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(found.as_dict(), indent=2).encode())
    return found


def _simulate(model: Path, data: Path, say: Callable[[str], None]) -> Gates:
    try:
        from permfc_sim.simulate import simulate
    except ModuleNotFoundError as error:
        if error.name != "amaranth":
            raise
        raise ToolError("amaranth is missing, which describes the gateware; run: pip install 'permfc[sim]'") from None
    network, digits = model_file.load(model), datasets.mnist(data)
    x = network.quantise(digits.test[:DIGITS])
    simulation = simulate(network, x, CONFIG, progress=lambda what, done, total: say(f"rtl: {what} {done}/{total}"))
    labels, golden = ((results * network.output_scale).argmax(axis=1) for results in (simulation.results, simulation.golden))
    return Gates(
        run=RUN,
        digits=len(x),
        results=simulation.results.size,
        different_results=simulation.mismatches,
        different_labels=int((labels != golden).sum()),
        accuracy=percent_right(simulation.results * network.output_scale, digits.test_labels[:DIGITS]),
        bytes_counted=float(simulation.bus_bytes.mean()),
        traffic_as_predicted=simulation.traffic_as_predicted,
        cycles=float(simulation.counters["cycles"].mean()),
    )
