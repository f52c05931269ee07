"""The demo: one network through every part of permfc, with every figure measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from permfc import plots
from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.errors import DeviceError
from permfc.files import write_file
from permfc.image import model_file, pack
from permfc.image.report import NetworkReport, network_report
from permfc.importers import load_model
from permfc.network import Network
from permfc.progress import Progress

from .training import Digits, digits, train

if TYPE_CHECKING:
    from permfc_sim.simulate import Simulation

RATES = (1.0, 1.5, 2.0, 2.5)  # target bits a weight
SIMULATED_RATE = 2.0
SIMULATED_DIGITS = 200
CONFIG = EngineConfig(lanes=16, bus_bits=32)


@dataclass(frozen=True, eq=False)
class Compressed:
    """The network at one rate: its figures, and its accuracy on all test digits, 0 to 1."""

    network: Network
    report: NetworkReport
    accuracy: float


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demo found.

    Members
    -------
    folder : Path
        Where the network, the plots and ``figures.json`` are.
    test_digits : int
    float_accuracy : float
        Of the float network on all test digits, 0 to 1; the same for the others.
    rates : dict of float to Compressed
        By target bits a weight.
    simulation : Simulation
        The run of the first test digits on the engine.
    subset_accuracy : dict of str to float
        Of ``float``, ``golden`` and ``rtl`` on the digits that were simulated.
    simulation_seconds : float
        Wall time of the simulation without the build.
    """

    folder: Path
    test_digits: int
    float_accuracy: float
    rates: dict[float, Compressed]
    simulation: Simulation
    subset_accuracy: dict[str, float]
    simulation_seconds: float

    @property
    def simulated(self) -> Compressed:
        """Value of the network that was simulated."""
        return self.rates[SIMULATED_RATE]

    def as_dict(self) -> dict[str, object]:
        """All figures by name, ready for JSON."""
        return {
            "test_digits": self.test_digits,
            "float_accuracy": self.float_accuracy,
            "rates": [{"target_bits": bits, "accuracy": each.accuracy, **each.report.as_dict()} for bits, each in self.rates.items()],
            "simulated_bits": SIMULATED_RATE,
            "subset_accuracy": self.subset_accuracy,
            "simulation_seconds": self.simulation_seconds,
            "simulation": self.simulation.as_dict(),
        }


def _accuracy(results: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(results.argmax(axis=1) == labels))


def run(folder: Path, progress: Progress) -> Demo:
    """Train, compress, pack, simulate, check and measure; write everything into ``folder``.

    Raises
    ------
    DeviceError
        If the engine's results differ from the golden model's, or its traffic from the prediction.
    ToolError
        If a program or package that the demo needs is missing.
    """
    from permfc_sim.device import SimDevice
    from permfc_sim.simulate import simulate

    folder.mkdir(parents=True, exist_ok=True)
    data = digits()
    arrays = train(data, progress=progress)
    np.savez(folder / "lenet.npz", **arrays)
    rates = {}
    for number, bits in enumerate(RATES):
        progress("compress", number, len(RATES))
        rates[bits] = _compressed(folder, data, bits)
    progress("compress", len(RATES), len(RATES))

    network = rates[SIMULATED_RATE].network
    write_file(folder / "lenet.img", pack(network, CONFIG))
    SimDevice(CONFIG, progress=progress).close()  # builds the simulator, so that the time below is the simulation's
    start = perf_counter()
    simulation = simulate(network, network.quantise(data.test[:SIMULATED_DIGITS]), CONFIG, progress=progress)
    seconds = perf_counter() - start
    _check(simulation)

    float_results, labels = load_model(arrays).predict(data.test), data.test_labels
    subset = {"float": float_results[:SIMULATED_DIGITS], "golden": simulation.golden, "rtl": simulation.results}
    scaled = {name: results if name == "float" else results * network.output_scale for name, results in subset.items()}
    found = Demo(
        folder=folder,
        test_digits=len(labels),
        float_accuracy=_accuracy(float_results, labels),
        rates=rates,
        simulation=simulation,
        subset_accuracy={name: _accuracy(results, labels[:SIMULATED_DIGITS]) for name, results in scaled.items()},
        simulation_seconds=seconds,
    )
    _draw(found, arrays["0_weight"])
    write_file(folder / "figures.json", json.dumps(found.as_dict(), indent=2).encode())
    return found


def _compressed(folder: Path, data: Digits, bits: float) -> Compressed:
    network = compress(folder / "lenet.npz", bits, data.training, engine=CONFIG)
    model_file.save(network, folder / f"lenet-{bits}bits.safetensors")
    return Compressed(network, network_report(network, CONFIG), _accuracy(network.predict(data.test), data.test_labels))


def _check(simulation: Simulation) -> None:
    if simulation.mismatches:
        raise DeviceError(f"{simulation.mismatches} of {simulation.results.size} results of the engine differ from the golden model; it has a defect")
    if not simulation.traffic_as_predicted:
        raise DeviceError("The engine read other bytes from memory than the format predicts; it has a defect")


def _draw(found: Demo, weights: np.ndarray) -> None:
    reports = [each.report.size.bits_per_weight for each in found.rates.values()]
    plots.accuracy_plot(reports, [each.accuracy for each in found.rates.values()], found.float_accuracy, found.folder / "accuracy.png")
    read, active, dense = zip(*((each.bytes, each.dense_active_bytes, each.dense_bytes) for each in found.simulation.layers), strict=True)
    plots.traffic_plot(read, active, dense, found.folder / "traffic.png")
    network = found.simulated.network
    layer = network.layers[0]
    plots.sequence_plot(in_steps(weights[:, network.input_order], layer.weights()), layer, found.folder / "sequences.png")


def in_steps(weights: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Float weights in the units of the stored ones, in the stored order of outputs.

    A compressed layer has its own order and scale of outputs; each stored row is matched with the float row it correlates with most.

    Parameters
    ----------
    weights : float [outputs, features]
    stored : int8 [outputs, features]

    Returns
    -------
    float [outputs, features]
    """
    stored = stored.astype(float)
    norms = np.linalg.norm(weights, axis=1)
    rows = (stored @ (weights / np.maximum(norms, 1e-12)[:, None]).T).argmax(axis=1)
    matched = weights[rows]
    # A level is the mean of the weights it stands for, so the error is orthogonal to the stored row, not to the float one.
    energy, products = np.sum(stored * stored, axis=1), np.sum(stored * matched, axis=1)
    return matched * (energy / np.maximum(products, 1e-12))[:, None]
