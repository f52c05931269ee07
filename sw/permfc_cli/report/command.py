"""``permfc report``."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated

import typer

from permfc.errors import DeviceError, InputError
from permfc.files import write_file
from permfc.image.report import network_report
from permfc.memory import MEMORY_NAMES, IdlePolicy
from permfc.memory import memory as named_memory
from permfc.memory.comparison import compare

from .. import console, inputs
from ..engine_options import EngineChoice, takes_engine
from ..options import AsJson, ChainName, NetworkFile, Samples
from ..outputs import check_output
from ..simulate import network_and_engine
from .page import page
from .sections import sections


@takes_engine
def report(
    file: NetworkFile,
    x: Samples,
    engine: EngineChoice,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The page, .html; the same figures go beside it as .json.")],
    memory: Annotated[str, typer.Option(help=f"The memory: {', '.join(MEMORY_NAMES)}.")] = "sdr-100",
    idle: Annotated[str, typer.Option(help="Idle policy of the memory's energy: none, MS, powerdown or powerdown:MS.")] = "none",
    clock: Annotated[float, typer.Option(min=1, max=100_000, help="Engine clock in MHz; sdr and qspi memories clock the engine themselves.")] = 100,
    chain: ChainName = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a network with its memory, compare it with other layouts of the weights, and write one page about it.

    The page holds all of its drawings, and says of every figure whether it was counted, modelled or estimated.

    **Examples**

    - `permfc report lenet.safetensors --input digits.npy -o report.html`

    - `permfc report lenet.safetensors --input digits.npy -o report.html --memory ddr3-1600 --idle 10`

    - `permfc report minilm --input sentences.npz --chain encoder.layer.0.intermediate.dense -o report.html`
    """
    from permfc_sim.simulate import simulate  # here, since the simulator is an optional dependency

    data = output.with_suffix(".json")
    if data == output:
        raise InputError(f"{output} would be both the page and its figures: give the page's name, with .html")
    for path in (output, data):
        check_output(path, file, x)
    chosen, policy = named_memory(memory), IdlePolicy.parse(idle)
    network, config = network_and_engine(file, engine, chosen, chain)
    quantised = inputs.read_inputs(x, network, file, chain)
    with console.progress() as steps:
        simulation = simulate(network, quantised, config, memory=chosen, clock_hz=clock * 1e6, idle=policy, progress=steps)
        costs = compare(network, quantised, chosen, bus_bytes=config.bus_bytes, policy=policy, progress=steps) if chosen.part else []
    figures = {"file": str(file), "network": network_report(network, config).as_dict(), "simulation": simulation.as_dict()}
    figures["layouts_modelled"] = [cost.as_dict() for cost in costs]
    version = importlib.metadata.version("permfc")
    subtitle = f"{len(quantised)} inputs; {config.lanes} lanes, {config.bus_bits}-bit bus; memory {chosen.name}; permfc {version}"
    write_file(output, page(f"{file.name} on permfc", subtitle, sections(network, config, chosen, simulation, costs)).encode())
    write_file(data, json.dumps(figures, indent=2).encode())
    written = console.table("", {"written": "left", "bytes": "right"})
    for path in (output, data):
        written.add_row(str(path), f"{path.stat().st_size:,}")
    console.show(as_json, figures, written)
    if simulation.mismatches:
        raise DeviceError(f"{simulation.mismatches} of {simulation.results.size} results differ from the golden model; the gateware has a defect")
