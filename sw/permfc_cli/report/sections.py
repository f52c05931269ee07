"""What a report says: its sections, each of one kind of figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from permfc.config import EngineConfig
from permfc.image.report import network_report
from permfc.memory import Memory
from permfc.memory.energy import literature_energy
from permfc.network import Network

from .. import console, info
from .. import simulate as simulation_tables
from ..compare import cost_table
from ..memory_tables import command_table, energy_table, on_chip_table, part_table, significant
from . import charts
from .page import Section, Tile, bullets, html_table, paragraph, tiles

if TYPE_CHECKING:
    from permfc.memory.comparison import Cost
    from permfc_sim.memory_run import MemoryRun
    from permfc_sim.simulate import Simulation


def sections(network: Network, config: EngineConfig, memory: Memory, simulation: Simulation, costs: Sequence[Cost]) -> list[Section]:
    """All of a report, in the order in which it is read; ``costs`` of layouts are empty for a memory without a part."""
    run = simulation.memory_run
    parts = [_summary(simulation), _network(network, config), _engine(simulation), _traffic(simulation)]
    if run:
        on_chip = Section("Energy on the chip", "estimated", [html_table(on_chip_table(run))])
        parts += [Section("The memory", "", [html_table(part_table(memory))]), _commands(run), _energy(run), on_chip, _comparison(run, costs)]
    return [*parts, _method(simulation, memory)]


def _summary(simulation: Simulation) -> Section:
    """The figures that one remembers."""
    run, cycles = simulation.memory_run, simulation.counters["cycles"].mean()
    right = simulation.results.size - simulation.mismatches
    times_fewer = simulation.dense_bytes / simulation.bus_bytes.mean()
    engine = f"{cycles:,.0f} cycles of the engine at {simulation.clock_hz / 1e6:g} MHz"
    shown = [
        Tile("results equal to the integer model, bit for bit", f"{right:,} of {simulation.results.size:,}", "counted"),
        Tile(f"an inference; {engine}", f"{simulation.seconds * 1e6:,.1f} µs", simulation.seconds_are),
        Tile(f"read over the bus for an inference, {times_fewer:.1f} times fewer than int8", f"{simulation.bus_bytes.mean():,.0f} bytes", "counted"),
    ]
    if run:
        during = run.total.energy.total * 1e6
        shown += [
            Tile("in the memory for an inference, datasheet maximum", f"{significant(during)} µJ", run.energy_source),
            Tile("on the chip for an inference", f"{significant(run.on_chip_total * 1e6)} µJ", "estimated"),
        ]
        if run.policy.milliseconds:
            what = f"in the memory for {run.policy.milliseconds:g} ms of standby after an inference"
            shown.insert(-1, Tile(what, f"{significant(run.idle.total * 1e6)} µJ", "modelled"))
    return Section("In short", "", [tiles(shown)])


def _network(network: Network, config: EngineConfig) -> Section:
    return Section("The network", "", [html_table(table) for table in info.tables(network_report(network, config), "Layers")])


def _engine(simulation: Simulation) -> Section:
    parameters = console.table("Configuration", {"engine": "left", "": "right"})
    for name, value in simulation.config.as_dict().items():
        parameters.add_row(name.replace("_", " "), str(value))
    return Section("The engine", "counted", [html_table(parameters), html_table(simulation_tables.counter_table(simulation, "Counters"))])


def _traffic(simulation: Simulation) -> Section:
    note = "What the format predicts for these inputs; the sum was compared with the words that the engine counted"
    verdict = "they are equal." if simulation.traffic_as_predicted else "they DIFFER, which is a defect."
    blocks = [paragraph(f"{note}: {verdict}"), charts.traffic_chart(simulation.layers), html_table(simulation_tables.layer_table(simulation))]
    return Section("What the layers read", "", blocks)


def _commands(run: MemoryRun) -> Section:
    place = "at the memory's pins" if run.memory.is_counted else "for the reads that were counted on the bus"
    return Section(f"Commands {place}", run.source, [html_table(command_table(run))])


def _energy(run: MemoryRun) -> Section:
    literature = significant(literature_energy(round(run.total.bytes)) * 1e6)
    note = (
        "The commands above, each at the charge of the part's data sheet, and the background while they last. The currents are limits over "
        f"temperature and process: a device on a desk draws less. At 20 pJ a bit, the figure of most papers, these bytes would take {literature} µJ."
    )
    return Section("Energy of the memory", run.energy_source, [charts.energy_chart(run.layers), html_table(energy_table(run)), paragraph(note)])


def _comparison(run: MemoryRun, costs: Sequence[Cost]) -> Section:
    note = (
        "The same weights in other layouts, for the same inputs on the same memory, which is asked for everything at once. permfc's rows are "
        "modelled like all others; what the engine did is above. Nothing is said of accuracy: the layouts hold the weights of this network, "
        "as if each could."
    )
    drawings = [
        charts.comparison_chart(costs, lambda cost: cost.bytes, "B", "Bytes per inference"),
        charts.comparison_chart(costs, lambda cost: cost.energy and cost.energy.total * 1e6, "µJ", "Energy of the memory per inference"),
    ]
    return Section("Other layouts of the weights", "modelled", [paragraph(note), *drawings, html_table(cost_table(costs, run.memory, run.policy))])


def _method(simulation: Simulation, memory: Memory) -> Section:
    items = [
        "Counted: cycles, words and segments, by the engine's counters in a cycle-accurate simulation of its gateware; every result was compared "
        "with the integer model, bit for bit.",
    ]
    if simulation.memory_run is None:
        return Section("How the figures were obtained", "", [bullets([
            *items, "What happens at the pins of a plain AXI4 memory is not known, so no energy is given.",
        ])])
    if memory.is_counted:
        items.append("Counted: the commands at the memory's pins, in the same simulation, checked against every timing rule of the part.")
    else:
        items.append("Modelled: the commands that an open-page controller would issue for the reads that were counted on the bus.")
    if simulation.memory_run.policy.power_down:
        items.append("Modelled: power-down, which no controller of this simulation enters; all of the memory's energy is modelled with it.")
    items += [
        "Modelled: refreshes and background of the standby after an inference, where there is any.",
        "Datasheet maximum: energies of commands and background, from the limits that the data sheet gives for the part's currents.",
        "Estimated: energy on the chip, operations at the energy published for each in 45 nm; an FPGA takes several times as much.",
    ]
    sources = [f"{name}: {text}" for name, text in memory.part.sources.items()]
    return Section("How the figures were obtained", "", [bullets(items), paragraph(f"Sources for {memory.part.name}:"), bullets(sources)])
