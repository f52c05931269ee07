"""VGG-16's three fully connected layers at full size on the simulated engine: ``python benchmarks/vgg16.py [--memory NAME ...] [--json]``.

25088-4096-4096-1000, 124 million weights, synthetic: normal weights of which the largest 4, 4 and 23 % are left, an input of which 18 % is not
zero, and biases that leave 37 and 41 % of the hidden activations: the densities that Han et al. publish (EIE, ISCA 2016, Table III).
Compressing is lossy and turns small weights into zeros, too: "stored" is what is left, and it is less.
Every result is checked against the golden model, every word read against the law. The network runs once on each memory: counted at the pins of an
SDRAM, modelled from the counted reads for other memories; ``axi`` has no commands of its own. ``--network`` keeps the compressed network, or takes it
when it is there, so that compressing and simulating can be timed apart. ``--scale N`` divides every size by N, for a first look.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
from program import run_program
from rich.console import Console
from rich.table import Table

from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.functions import IDENTITY, RELU
from permfc.image import model_file
from permfc.image.layout import image_layout
from permfc.importers import FloatLayer, FloatNetwork
from permfc.memory import Memory, literature_energy, memory
from permfc.network import Network
from permfc_sim.simulate import Simulation, simulate

SIZES = (25088, 4096, 4096, 1000)
NAMES = ("fc6", "fc7", "fc8")
WEIGHT_DENSITY = (0.04, 0.04, 0.23)
ACTIVATION_DENSITY = (0.18, 0.37, 0.41)
BITS = {"fc6": 0.4, "fc7": 0.4, "fc8": 1.6}
EIE_MICROSECONDS = (34.4, 8.7, 8.4)  # "actual time" of its simulation, 64 processing elements at 800 MHz (the same paper, Table IV)
DEEP_COMPRESSION = (0.0110, 0.0125, 0.0524)  # part of the fp32 bytes left after Huffman coding (Han et al., ICLR 2016, Table 5)


def synthetic_input(rng: np.random.Generator, size: int) -> np.ndarray:
    """float32 [1, size]: half-normal values, the stated share of them not zero."""
    values = np.abs(rng.standard_normal((1, size), dtype=np.float32))
    return values * (rng.random(values.shape) < ACTIVATION_DENSITY[0])


def pruned_weights(rng: np.random.Generator, shape: tuple[int, int], density: float) -> np.ndarray:
    """float32 normal weights of which the largest share ``density`` is left: the tails, nearly exponential beyond the threshold."""
    threshold = NormalDist().inv_cdf(1 - density / 2)
    magnitude = rng.standard_exponential(shape, dtype=np.float32)
    magnitude /= threshold
    magnitude += threshold
    kept = rng.random(shape, dtype=np.float32)
    return magnitude * (kept < density) * np.where(kept < density / 2, np.float32(-1), np.float32(1))


def synthetic_network(rng: np.random.Generator, sizes: tuple[int, ...], x: np.ndarray) -> FloatNetwork:
    """Layers whose hidden activations for ``x`` have the stated density: the biases put that share of the sums above zero."""
    layers = []
    for number, name in enumerate(NAMES):
        shape = sizes[number + 1], sizes[number]
        weight = pruned_weights(rng, shape, WEIGHT_DENSITY[number])
        sums = x @ weight.T
        hidden = number + 1 < len(NAMES)
        share = ACTIVATION_DENSITY[number + 1] if hidden else 0.5
        bias = np.full(shape[0], NormalDist().inv_cdf(share) * float(sums.std()) - float(sums.mean()), dtype=np.float32)
        layers.append(FloatLayer(weight, bias, RELU if hidden else IDENTITY, name))
        x = np.maximum(sums + bias, 0)
    return FloatNetwork(tuple(layers))


def compressed_network(config: EngineConfig, scale: int = 1, path: Path | None = None) -> tuple[Network, np.ndarray]:
    """The network and its input, int8 [1, inputs] in packed order; the network comes from ``path`` if that exists, and is kept there otherwise."""
    rng = np.random.default_rng(0)
    sizes = tuple(size // scale for size in SIZES)
    x = synthetic_input(rng, sizes[0])
    if path is not None and path.exists():
        network = model_file.load(path)
    else:
        wanted = synthetic_network(rng, sizes, x)
        # Layers much smaller than VGG-16's have more bytes of tables a weight, and share what the whole may take.
        bits, per_layer = (0.45, BITS) if scale == 1 else (1.0, None)
        network = compress(wanted, bits, calibration=np.repeat(x, 2, axis=0), engine=replace(config, bus_bits=64), per_layer=per_layer)
        if path is not None:
            model_file.save(network, path)
    return network, network.quantise(x)


def without_skipping(network: Network, bus_bytes: int) -> list[int]:
    """Bytes of each layer that an engine reads when it fetches the segments of all features, active or not."""
    blocks = image_layout(network, bus_bytes).blocks
    return [bus_bytes * sum(block.program_words + block.segment_words for block in blocks if block.layer == number)
            for number in range(len(network.layers))]


def layer_rows(network: Network, x: np.ndarray, simulation: Simulation) -> list[dict[str, object]]:
    """The bytes of each layer beside what is published, as JSON; energies in joules at the literature's 20 pJ a bit."""
    everything = without_skipping(network, simulation.config.bus_bytes)
    stored = [float(np.count_nonzero(layer.weights()) / (layer.features * layer.outputs)) for layer in network.layers]
    densities = [float(np.count_nonzero(received) / received.size) for received in network.layer_inputs(x)]
    return [
        {
            "layer": name, "stored_nonzero": stored[number], "active": densities[number],
            "bytes": layer.bytes, "bytes_without_skipping": everything[number],
            "dense_int8_bytes": layer.dense_bytes, "dense_int8_active_bytes": layer.dense_active_bytes,
            "deep_compression_bytes": round(4 * layer.dense_bytes * DEEP_COMPRESSION[number]),
            "literature_joules": literature_energy(round(layer.bytes)), "dense_int8_literature_joules": literature_energy(layer.dense_bytes),
            "eie_microseconds": EIE_MICROSECONDS[number] if layer.dense_bytes == SIZES[number] * SIZES[number + 1] else None,
        }
        for number, (name, layer) in enumerate(zip(NAMES, simulation.layers, strict=True))
    ]


def run(network: Network, x: np.ndarray, config: EngineConfig, chosen: Memory) -> tuple[Simulation, dict[str, object]]:
    """Simulate on a memory; the simulation, and its figures as JSON.

    Raises
    ------
    SystemExit
        If a result differs from the golden model's, or the traffic from the law.
    """
    started = time.perf_counter()
    simulation = simulate(network, x, config, memory=chosen)
    if simulation.mismatches or not simulation.traffic_as_predicted:
        raise SystemExit(f"{simulation.mismatches} results differ from the golden model's; traffic as predicted: {simulation.traffic_as_predicted}")
    figures = simulation.as_dict()
    wanted = ("results", "mismatches", "clock_hz", "seconds", "bus_bytes", "bus_utilisation", "memory")
    return simulation, {"name": chosen.name, "cycles": int(simulation.counters["cycles"][0]), **{key: figures[key] for key in wanted},
                        "simulation_seconds": time.perf_counter() - started}


def measure(names: list[str], config: EngineConfig, scale: int = 1, path: Path | None = None) -> dict[str, object]:
    """Everything the benchmark tells, as JSON."""
    started = time.perf_counter()
    memories = [memory(name) for name in names]  # before the minutes that compressing takes
    network, x = compressed_network(config, scale, path)
    compressed = time.perf_counter()
    runs = [run(network, x, config, chosen) for chosen in memories]
    usage = [resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "sizes": [size // scale for size in SIZES], "config": config.as_dict(), "layers": layer_rows(network, x, runs[0][0]),
        "runs": [figures for _, figures in runs], "compression_seconds": compressed - started, "total_seconds": time.perf_counter() - started,
        "peak_gigabytes": usage[0], "largest_child_gigabytes": usage[1],
    }


def show(figures: dict) -> None:
    """Print the figures as tables."""
    console = Console(width=150)
    table = Table("layer", "stored", "active", "bytes read", "without skipping", "dense int8", "of active", "Deep Compression", "uJ at 20 pJ/bit",
                  "dense int8, uJ", "EIE, us")
    sizes = ("bytes", "bytes_without_skipping", "dense_int8_bytes", "dense_int8_active_bytes", "deep_compression_bytes")
    for row in figures["layers"]:
        table.add_row(
            row["layer"], f"{row['stored_nonzero']:.1%}", f"{row['active']:.1%}",
            *(f"{row[key]:,.0f}" for key in sizes),
            *(f"{row[key] * 1e6:,.0f}" for key in ("literature_joules", "dense_int8_literature_joules")),
            str(row["eie_microseconds"] or "-"),
        )
    console.print(table)
    for one in figures["runs"]:
        show_run(console, one)
    console.print(f"{figures['total_seconds']:.0f} s in all, {figures['compression_seconds']:.0f} s of them to make and compress the network; "
                  f"{figures['peak_gigabytes']:.1f} GB at most, and {figures['largest_child_gigabytes']:.1f} GB the largest process of the build")


def show_run(console: Console, one: dict) -> None:
    """Print what happened on one memory."""
    console.print(f"{one['name']}: {one['cycles']:,} cycles, {one['seconds'] * 1e3:.3f} ms at {one['clock_hz'] / 1e6:g} MHz, "
                  f"{one['bus_bytes']:,.0f} bytes on the bus; all {one['results']} results bit-exact; "
                  f"built and simulated in {one['simulation_seconds']:.0f} s")
    if not one["memory"]:
        return
    used = one["memory"]
    table = Table("layer", "ms", "bytes", "activations", "row hits", "of peak", "energy, uJ", "estimated on chip, uJ",
                  title=f"commands {used['commands_are']}: {used['part']}", title_justify="left")
    for name, use, chip in zip(NAMES, used["layers"], used["on_chip_estimated"], strict=True):
        table.add_row(name, f"{use['seconds'] * 1e3:.3f}", f"{use['bytes']:,.0f}", f"{use['commands']['activate']:,.0f}",
                      f"{use['row_hit_rate']:.1%}", f"{use['utilisation']:.1%}",
                      *(f"{energy['total'] * 1e6:,.0f}" for energy in (use["energy"], chip)))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, help="file that keeps the compressed network")
    parser.add_argument("--memory", nargs="+", default=["axi", "sdr-100"], help="default: axi sdr-100")
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--bus-bits", type=int, default=128)
    parser.add_argument("--scale", type=int, default=1, help="divide every size by this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    config = EngineConfig(lanes=options.lanes, bus_bits=options.bus_bits, block_outputs=2048, features=32768)
    figures = measure(options.memory, config, options.scale, options.network)
    print(json.dumps(figures, indent=2)) if options.json else show(figures)


if __name__ == "__main__":
    run_program(main)
