"""Cycles of a layer against its limits: ``python benchmarks/cycles.py [--lanes N] [--bus-bits N] [--block-outputs N] [--latency N] [--json]``.

A layer can take no fewer cycles than the bus words it reads, nor fewer than its rounds take to decode: each round of up to ``lanes`` lane
segments takes two cycles a turn and two between it and the next; then each block's sums leave, an output a cycle. The table compares the
cycles that the simulated engine counted with both limits. Layers have Gaussian weights; inputs are random, with the stated share of them not
zero. Every result is checked against the golden model.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

import numpy as np
from program import run_program
from rich.console import Console
from rich.table import Table

from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.functions import IDENTITY
from permfc.image import predicted_traffic
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import Kind, Layer, Network
from permfc_hw.round_control import SHORTEST
from permfc_sim.device import SimDevice

CASES = (  # inputs, outputs, bits a weight, share of the inputs that are not zero
    (256, 256, 2.6, 1.0),
    (256, 512, 2.6, 1.0),
    (512, 256, 2.6, 1.0),
    (512, 512, 2.6, 1.0),
    (1024, 1024, 2.6, 1.0),
    (512, 512, 8.5, 1.0),
    (1024, 1024, 0.2, 1.0),
    (1024, 1024, 0.35, 1.0),
    (512, 512, 0.6, 1.0),
    (1024, 1024, 0.6, 1.0),
    (1024, 1024, 1.0, 1.0),
    (1024, 1024, 1.5, 1.0),
    (1024, 1024, 2.0, 1.0),
    (512, 512, 2.6, 0.35),
    (1024, 1024, 2.6, 0.35),
)


@dataclass(frozen=True)
class Result:
    """One line of the table; ``over_words`` is cycles over bus words, ``ratio`` over the larger limit."""

    inputs: int
    outputs: int
    bits: float
    density: float
    words: int
    decode_cycles: int
    cycles: int
    over_words: float
    ratio: float
    cycles_per_second: float


def gaussian_network(inputs: int, outputs: int, bits: float, engine: EngineConfig) -> Network:
    """One compressed layer of Gaussian weights."""
    rng = np.random.default_rng(inputs * outputs)
    weight = rng.normal(0, inputs ** -0.5, (outputs, inputs)).astype(np.float32)
    layer = FloatLayer(weight, np.zeros(outputs, dtype=np.float32), function=IDENTITY, name="gaussian")
    return compress(FloatNetwork((layer,)), bits, engine=engine)


def decode_cycles(layer: Layer, x: np.ndarray, lanes: int) -> int:
    """Cycles that the lanes need, a round of up to ``lanes`` segments after the other, for activations x int8 [features]."""
    cycles = 0
    for block, rows in zip(layer.blocks, layer.block_rows, strict=True):
        stored = [segments for segments in block if segments.kind is not Kind.EMPTY]
        active = [np.count_nonzero(x[segments.first:segments.end]) * segments.kind.slots for segments in stored]
        turns = np.repeat([segments.turns for segments in stored], active)
        turns = np.maximum.reduceat(turns, np.arange(0, len(turns), lanes)) if len(turns) else turns
        sweep = -(-(rows.stop - rows.start) // 2)
        cycles += int((2 * np.maximum([*turns, sweep], SHORTEST) + 2).sum())
    return cycles


def measure(device: SimDevice, config: EngineConfig, inputs: int, outputs: int, bits: float, density: float) -> Result:
    """Run one input through one layer."""
    network = gaussian_network(inputs, outputs, bits, config)
    rng = np.random.default_rng(1)
    x = (rng.integers(1, 128, inputs) * (rng.random(inputs) < density)).astype(np.int8)
    device.load(network)
    started = time.perf_counter()
    result = device.run(x)
    seconds = time.perf_counter() - started
    if not np.array_equal(result, network.compute(x[None])[0]):
        raise SystemExit(f"The engine's results for a {inputs} x {outputs} layer differ from the golden model's")
    cycles = device.counters().cycles
    words = int(predicted_traffic(network, x[None], config).total_words[0])
    decode = decode_cycles(network.layers[0], x, config.lanes)
    return Result(inputs, outputs, bits, density, words, decode, cycles, cycles / words, cycles / max(words, decode), cycles / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--bus-bits", type=int, default=64)
    parser.add_argument("--block-outputs", type=int, default=1024)
    parser.add_argument("--latency", type=int, default=30, help="cycles from a read's address to its first word")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    config = EngineConfig(lanes=options.lanes, bus_bits=options.bus_bits, block_outputs=options.block_outputs, features=1024)
    with SimDevice(config, latency=options.latency) as device:
        results = [measure(device, config, *case) for case in CASES]
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    table = Table(title=f"{options.lanes} lanes, {options.bus_bits}-bit bus, latency {options.latency}, {config.outstanding} outstanding reads")
    for column in ("layer", "bits", "active", "bus words", "decode cycles", "cycles", "over words", "over both"):
        table.add_column(column, justify="right")
    for r in results:
        table.add_row(f"{r.inputs} x {r.outputs}", f"{r.bits:g}", f"{r.density:.0%}", f"{r.words:,}", f"{r.decode_cycles:,}",
                      f"{r.cycles:,}", f"{r.over_words:.3f}", f"{r.ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    run_program(main)
