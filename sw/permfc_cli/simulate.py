"""``permfc simulate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from permfc.config import EngineConfig
from permfc.errors import ConfigError, DeviceError, InputError
from permfc.memory import MEMORY_NAMES, IdlePolicy, Memory, drampower_version, write_drampower
from permfc.memory import memory as named_memory
from permfc.network import Network

from . import console, inputs
from .engine_options import EngineChoice, takes_engine
from .memory_tables import command_table, energy_table, on_chip_table
from .options import AsJson, ChainName, NetworkFile, Results, Samples
from .outputs import check_output, write_array
from .simulate_whole import simulate_whole
from .whole import is_whole

if TYPE_CHECKING:
    from permfc_sim.simulate import Simulation


@takes_engine
def simulate(
    file: NetworkFile,
    x: Samples,
    engine: EngineChoice,
    y: Results = None,
    memory: Annotated[str, typer.Option(help=f"The memory: {', '.join(MEMORY_NAMES)}.")] = "axi",
    idle: Annotated[str, typer.Option(help="Idle policy of the memory's energy: none, MS, powerdown or powerdown:MS.")] = "none",
    clock: Annotated[float, typer.Option(min=1, max=100_000, help="Engine clock in MHz; sdr and qspi memories clock the engine themselves.")] = 100,
    latency: Annotated[int, typer.Option(help="Cycles from a read of a memory without pins to its first word.")] = 30,
    waves: Annotated[Path | None, typer.Option(help="Write all signals to this .vcd file (slow).")] = None,
    drampower: Annotated[
        Path | None,
        typer.Option(help="Write the first inference's commands as a trace for DRAMPower: 4.1 for DDR3 and LPDDR3, 5 for DDR4 and LPDDR4."),
    ] = None,
    chain: ChainName = None,
    as_json: AsJson = False,
) -> None:
    """Run a network on the engine's gateware in simulation, and check every result bit for bit against the golden model.

    The first run with an engine builds its simulator, which is kept.

    **Examples**

    - `permfc simulate lenet.safetensors --input digits.npy --device ecp5-85k`

    - `permfc simulate lenet.img --input digits.npy --output logits.npy --json`

    - `permfc simulate lenet.safetensors --input digits.npy --memory sdr-100 --idle 10`

    - `permfc simulate minilm --input sentences.npz --memory sdr-100`

    - `permfc simulate lenet.img --input one.npy --waves one.vcd`

    - `permfc simulate lenet.safetensors --input one.npy --memory ddr3-1600 --drampower one.csv`
    """
    from permfc_sim.simulate import simulate as simulate_network  # here, since the simulator is an optional dependency

    for path in (y, waves, drampower):
        check_output(path, file, x)
    chosen, policy = named_memory(memory), IdlePolicy.parse(idle)
    version = drampower_version(chosen) if drampower else None
    if chain is None and is_whole(file):
        _check_one_chain(waves, drampower)
        config = engine.config(bus_bits=fitting_bus(chosen))
        with console.progress() as steps:
            made = partial(simulate_network, config=config, memory=chosen, clock_hz=clock * 1e6, idle=policy, latency=latency, progress=steps)
            simulate_whole(file, x, y, made, config, as_json)
        return
    network, config = network_and_engine(file, engine, chosen, chain)
    quantised = inputs.read_inputs(x, network, file, chain)
    with console.progress() as steps:
        simulation = simulate_network(
            network, quantised, config, memory=chosen, clock_hz=clock * 1e6, idle=policy, latency=latency, waves=waves, progress=steps
        )
    if drampower:
        write_drampower(drampower, simulation.memory_run.commands, version)
    if y is not None:
        write_array(y, simulation.results.astype(np.float32) * network.output_scale)
    shown = [counter_table(simulation, f"{file}: batch of {len(simulation.results)}"), layer_table(simulation)]
    if simulation.memory_run:
        shown += [table(simulation.memory_run) for table in (command_table, energy_table, on_chip_table)]
    console.show(as_json, {"file": str(file), **simulation.as_dict()}, *shown)
    if simulation.mismatches:
        raise DeviceError(f"{simulation.mismatches} of {simulation.results.size} results differ from the golden model; the gateware has a defect")


def _check_one_chain(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            raise InputError(f"{path} is written for one chain of a network: choose it with --chain")


def network_and_engine(file: Path, engine: EngineChoice, memory: Memory, chain: str | None = None) -> tuple[Network, EngineConfig]:
    """The network in a file, and the engine to run it on with a memory; ConfigError if an image is for another one."""
    network, bus_bits = inputs.read_network(file, chain)
    config = engine.config(bus_bits=bus_bits or fitting_bus(memory))
    if bus_bits not in (None, config.bus_bits):
        cure = f"pack it again or give --bus-bits {bus_bits}"
        raise ConfigError(f"{file} is packed for a bus of {bus_bits} bits, the engine has {config.bus_bits}; {cure}")
    return network, config


def fitting_bus(memory: Memory) -> int:
    """The narrowest bus for a memory with pins: bytes of padding are few, and the bus is as fast as the pins. 32 bits for others."""
    return max(16, memory.bus_bits) if memory.is_counted else EngineConfig().bus_bits


def counter_table(simulation: Simulation, title: str) -> console.Table:
    """What was counted in the engine, and whether it is as it must be."""
    counters = console.table(title, {"counted in the engine": "left", "per input": "right"})
    for counter, values in simulation.counters.items():
        counters.add_row(counter.replace("_", " "), f"{values.mean():,.1f}")
    counters.add_row(f"microseconds at {simulation.clock_hz / 1e6:g} MHz", f"{simulation.counters['cycles'].mean() / simulation.clock_hz * 1e6:,.1f}")
    counters.add_row("bus utilisation", f"{simulation.bus_utilisation:.1%}")
    counters.add_section()
    counters.add_row("results equal to the golden model", f"{simulation.results.size - simulation.mismatches:,} of {simulation.results.size:,}")
    counters.add_row("bytes read equal to the prediction", "yes" if simulation.traffic_as_predicted else "no")
    return counters


def layer_table(simulation: Simulation) -> console.Table:
    """What each layer read."""
    headings = ["layer", "bytes", "int8", "int8, zeros skipped", "segments", "skipped"]
    layers = console.table("Memory reads per input, as predicted; dense int8 weights for comparison", dict.fromkeys(headings, "right"))
    for number, layer in enumerate(simulation.layers):
        figures = (layer.bytes, layer.dense_bytes, layer.dense_active_bytes, layer.fetched, layer.skipped)
        layers.add_row(str(number), *(f"{figure:,.0f}" for figure in figures))
    return layers
