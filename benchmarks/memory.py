"""How much of a memory's peak arrives: ``python benchmarks/memory.py [--memory NAME] [--lanes N] [--bus-bits N] [--json]``.

First 64 KiB are read in one sweep, by a reader in the engine's place: what the controller reaches, refresh included. Then layers run on the engine;
their time is compared with the bytes they read at that rate, and with their decoding (``lanes`` outputs a cycle), whichever is more. All words are
counted at the pins, every result is checked against the golden model, and the memory's model checks every timing rule. Layers have Gaussian weights;
inputs are random, with the stated share of them not zero.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from cycles import decode_cycles, gaussian_network
from program import run_program
from rich.console import Console
from rich.table import Table

from permfc.config import EngineConfig
from permfc.image.layout import image_layout
from permfc.memory import Command, CommandTrace, Memory, memory
from permfc.network import Network
from permfc_sim.device import SimDevice

READER = Path(__file__).with_name("sequential_reader.v")
SWEEP_BYTES = 65536
CASES = (  # inputs, outputs, outputs a block, bits a weight, share of the inputs that are not zero
    (512, 512, 512, 2.6, 1.0),
    (1024, 1024, 1024, 2.6, 1.0),
    (1024, 1024, 256, 2.0, 0.35),  # segments of 64 bytes
    (512, 512, 256, 2.6, 0.35),
    (1024, 1024, 1024, 2.6, 0.35),
    (512, 512, 512, 0.6, 1.0),
    (1024, 1024, 1024, 0.6, 1.0),
)


@dataclass(frozen=True)
class Result:
    """One line of the table. ``bytes`` and ``activates`` are counted at the pins; ``utilisation`` is of the peak, over the cycles of the whole run;
    ``ratio`` is cycles over the larger of ``memory_cycles`` (bytes at the rate of the sweep) and ``decode_cycles``."""

    inputs: int
    outputs: int
    block_outputs: int
    bits: float
    density: float
    segment_bytes: float
    bytes: int
    activates: int
    row_hit_rate: float
    cycles: int
    utilisation: float
    memory_cycles: float
    decode_cycles: int
    ratio: float


def sweep(config: EngineConfig, chosen: Memory, size: int) -> CommandTrace:
    """The commands of a sequential read of ``size`` bytes (whole bursts), from its first one to its last word at the pins."""
    text = READER.read_text().replace("BUS_BITS = 32", f"BUS_BITS = {config.bus_bits}").replace("BYTES = 65536", f"BYTES = {size}")
    with SimDevice(config, memory=chosen, verilog=text) as device:
        device.send_input(np.zeros(1, dtype=np.int8))
        device.tick(size * 8 * 2 // chosen.bus_bits)
        trace = device.take_commands()
    if trace.bytes(chosen.bus_bits) != size:
        raise SystemExit(f"The reader moved {trace.bytes(chosen.bus_bits)} bytes at the pins instead of {size}")
    reads = np.flatnonzero(trace.command == Command.READ)
    opened = np.flatnonzero(trace.command[:reads[0]] == Command.ACTIVATE)
    began = int(trace.cycle[opened[-1] if opened.size else reads[0]])
    return trace.window(began, int(trace.cycle[reads[-1]] + trace.beats[reads[-1]]))


def segment_bytes(network: Network, config: EngineConfig) -> float:
    """Mean bytes of a segment of the first layer."""
    blocks = image_layout(network, config.bus_bytes).blocks[:len(network.layers[0].blocks)]
    return sum(block.segment_words for block in blocks) * config.bus_bytes / (len(blocks) * network.inputs)


def measure(device: SimDevice, config: EngineConfig, chosen: Memory, reachable: float, case: tuple[int, int, int, float, float]) -> Result:
    """Run one input through one layer."""
    inputs, outputs, block_outputs, bits, density = case
    network = gaussian_network(inputs, outputs, bits, replace(config, block_outputs=block_outputs))
    rng = np.random.default_rng(1)
    x = (rng.integers(1, 128, inputs) * (rng.random(inputs) < density)).astype(np.int8)
    device.load(network)
    device.take_commands()
    if not np.array_equal(device.run(x), network.compute(x[None])[0]):
        raise SystemExit(f"The engine's results for a {inputs} x {outputs} layer differ from the golden model's")
    trace, cycles = device.take_commands(), device.counters().cycles
    words_cycles = trace.data_cycles(chosen.part.data_rate)
    memory_cycles, decode = words_cycles / reachable, decode_cycles(network.layers[0], x, config.lanes)
    return Result(
        *case, segment_bytes=segment_bytes(network, config), bytes=trace.bytes(chosen.bus_bits), activates=trace.counts()["activate"],
        row_hit_rate=trace.row_hit_rate, cycles=cycles, utilisation=words_cycles / cycles, memory_cycles=memory_cycles,
        decode_cycles=decode, ratio=cycles / max(memory_cycles, decode),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", default="sdr-100")
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--bus-bits", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    config = EngineConfig(lanes=options.lanes, bus_bits=options.bus_bits, block_outputs=1024, features=1024)
    chosen = memory(options.memory)
    reachable = sweep(config, chosen, SWEEP_BYTES).utilisation(chosen.part.data_rate)
    with SimDevice(config, memory=chosen) as device:
        results = [measure(device, config, chosen, reachable, case) for case in CASES]
    if options.json:
        print(json.dumps({"memory": chosen.name, "sweep": reachable, "layers": [asdict(result) for result in results]}, indent=2))
        return
    show(f"{chosen.name}: {reachable:.2%} of {chosen.peak_bytes_per_second / 1e6:g} MB/s in a sweep of 64 KiB; {config.lanes} lanes", results)


def show(title: str, results: list[Result]) -> None:
    table = Table("layer", "block", "bits", "active", "segment, B", "bytes", "activates", "row hits", "cycles", "of peak", "ratio", title=title)
    for r in results:
        table.add_row(f"{r.inputs} x {r.outputs}", f"{r.block_outputs}", f"{r.bits:g}", f"{r.density:.0%}", f"{r.segment_bytes:.0f}", f"{r.bytes:,}",
                      f"{r.activates:,}", f"{r.row_hit_rate:.1%}", f"{r.cycles:,}", f"{r.utilisation:.1%}", f"{r.ratio:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    run_program(main)
