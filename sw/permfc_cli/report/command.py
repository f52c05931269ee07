"""``permfc report``."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from permfc.config import EngineConfig
from permfc.errors import DeviceError
from permfc.files import write_file
from permfc.memory import MEMORY_NAMES, IdlePolicy, Memory
from permfc.memory import memory as named_memory
from permfc.network import Network
from permfc.report import network_report

from .. import console, info, inputs
from .. import simulate as simulation_tables
from ..engine_options import EngineChoice, takes_engine
from ..memory_tables import command_table, energy_table
from ..options import AsJson, NetworkFile
from . import charts
from .page import Section, bullets, html_table, page, paragraph

if TYPE_CHECKING:
    from permfc_sim.simulate import Simulation


@takes_engine
def report(
    file: NetworkFile,
    x: Annotated[Path, typer.Option("--input", "-i", exists=True, dir_okay=False, help="Inputs, .npy [batch, inputs] or [inputs].")],
    engine: EngineChoice,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The page, .html; the same figures go beside it as .json.")],
    memory: Annotated[str, typer.Option(help=f"The memory: {', '.join(MEMORY_NAMES)}.")] = "sdr-100",
    idle: Annotated[str, typer.Option(help="Idle policy of the memory's energy: none, MS, powerdown or powerdown:MS.")] = "none",
    clock: Annotated[float, typer.Option(min=1, help="Engine clock in MHz; sdr and qspi memories clock the engine themselves.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Simulate a network with its memory, compare it with other layouts of the weights, and write one page about it.

    Needs matplotlib. The page holds all of its drawings, and says of every figure whether it was counted, modelled or estimated.

    **Examples**

    - `permfc report lenet.safetensors --input digits.npy -o report.html`

    - `permfc report lenet.safetensors --input digits.npy -o report.html --memory ddr3-1600 --idle 10`
    """
    from permfc_sim.simulate import simulate  # here, since the simulator is an optional dependency

    chosen, policy = named_memory(memory), IdlePolicy.parse(idle)
    network, config = simulation_tables.network_and_engine(file, engine, chosen)
    quantised = network.quantise(np.atleast_2d(inputs.read_array(x)))
    with console.progress() as steps:
        simulation = simulate(network, quantised, config, memory=chosen, clock_hz=clock * 1e6, idle=policy, progress=steps)
    figures = {"file": str(file), "network": network_report(network, config).as_dict(), "simulation": simulation.as_dict()}
    sections = [
        _network_section(network, config), _engine_section(simulation), *_memory_sections(simulation), _method_section(simulation, chosen),
    ]
    version = importlib.metadata.version("permfc")
    subtitle = f"{len(quantised)} inputs; {config.lanes} lanes, {config.bus_bits}-bit bus; memory {chosen.name}; permfc {version}"
    write_file(output, page(f"{file.name} on permfc", subtitle, sections).encode())
    data = output.with_suffix(".json")
    write_file(data, json.dumps(figures, indent=2).encode())
    written = console.table("", {"written": "left", "bytes": "right"})
    for path in (output, data):
        written.add_row(str(path), f"{path.stat().st_size:,}")
    console.show(as_json, figures, written)
    if simulation.mismatches:
        raise DeviceError(f"{simulation.mismatches} of {simulation.results.size} results differ from the golden model; the gateware has a defect")


def _network_section(network: Network, config: EngineConfig) -> Section:
    return Section("The network", "", [html_table(table) for table in info.tables(network_report(network, config), "Layers")])


def _engine_section(simulation: Simulation) -> Section:
    parameters = console.table("Engine", {"parameter": "left", "value": "right"})
    for name, value in simulation.config.as_dict().items():
        parameters.add_row(name.replace("_", " "), str(value))
    tables = [parameters, *simulation_tables.tables(simulation, "Counters of the engine")]
    return Section("The engine in simulation", "counted", [*map(html_table, tables), charts.traffic_chart(simulation)])


def _memory_sections(simulation: Simulation) -> list[Section]:
    run = simulation.memory_run
    if run is None:
        return []
    commands = Section("Commands at the memory's pins", run.source, [html_table(command_table(run))])
    energy = Section("Energy", "modelled", [html_table(energy_table(run)), charts.energy_chart(run), _on_chip(simulation)])
    return [commands, energy]


def _on_chip(simulation: Simulation) -> str:
    run = simulation.memory_run
    names = list(run.on_chip[0].as_dict())
    table = console.table("On the chip, estimated, in nJ per inference", {"": "left", **dict.fromkeys(names, "right")})
    for number, layer in enumerate(run.on_chip):
        table.add_row(f"layer {number}", *(f"{value * 1e9:,.3g}" for value in layer.as_dict().values()))
    return html_table(table)


def _method_section(simulation: Simulation, memory: Memory) -> Section:
    items = [
        "Counted: cycles, words and segments by the engine's counters in a cycle-accurate simulation of its gateware; every result was compared "
        "with the integer model, bit for bit, and every word read with what the format predicts.",
    ]
    blocks = []
    if memory.part is None:
        items.append("A plain AXI4 memory: what happens at its pins is not known, so no energy is given.")
    else:
        what = "Counted: the commands at the memory's pins, in the same simulation, checked against the part's timing rules."
        if not memory.is_counted:
            what = "Modelled: the commands of an open-page controller for the reads counted on the bus."
        items += [
            what,
            "Modelled: the memory's energy, from the commands and the currents of the part's data sheet, which are maxima: datasheet maximum.",
            "Estimated: energy on the chip, from counts of operations and published energies of each in 45 nm; an FPGA takes several times as much.",
        ]
        blocks = [paragraph(f"Sources for {memory.part.name}:"), bullets([f"{name}: {text}" for name, text in memory.part.sources.items()])]
    return Section("How the figures were obtained", "", [bullets(items), *blocks])
