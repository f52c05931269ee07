"""``permfc simulate`` of a whole network: every chain on the engine's gateware, with what reaches it in the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from permfc.config import EngineConfig
from permfc.errors import DeviceError
from permfc.graph.running import run_samples
from permfc.graph.session import ChainRun, Session
from permfc.graph.whole import WholeNetwork
from permfc.network import Network

from . import console
from .run_whole import check_results_file, write_results
from .whole import chain_samples, quantised, read_samples, run_table

if TYPE_CHECKING:
    from permfc_sim.simulate import Simulation

Simulate = Callable[[Network, np.ndarray], "Simulation"]


def simulate_whole(file: Path, x: Path, y: Path | None, simulate: Simulate, config: EngineConfig, as_json: bool) -> None:
    """Simulate all chains of a network and check every result against the golden model.

    Raises
    ------
    InputError
        If the inputs are not what the network takes.
    DeviceError
        If a result differs.
    """
    network = WholeNetwork.load(file)
    check_results_file(y, [value.name for value in network.outputs])
    samples = chain_samples(network, x)
    runs = {name: simulate(network.chains[name], quantised(network, name, rows, x)) for name, rows in samples.items()}
    if y is not None:  # of the golden model, which the engine's equal bit for bit
        with Session(network) as session:
            write_results(y, network, run_samples(session, read_samples(x, network.inputs))[0])
    clock_hz = next((run.clock_hz for run in runs.values()), None)
    table = run_table([_chain_run(name, run, network.chains[name].clipped_share(samples[name])) for name, run in runs.items()],
                      f"{file}, counted in the engine", clock_hz)
    console.show(as_json, {"file": str(file), "config": config.as_dict(), "chains": {name: run.as_dict() for name, run in runs.items()}}, table)
    mismatches = sum(run.mismatches for run in runs.values())
    if mismatches:
        raise DeviceError(f"{mismatches} results differ from the golden model; the gateware has a defect")


def _chain_run(name: str, simulation: Simulation, clipped: float) -> ChainRun:
    return ChainRun(name, len(simulation.results), int(simulation.bus_bytes.sum()), int(simulation.counters["cycles"].sum()), "counted",
                    clipped, simulation.mismatches)
