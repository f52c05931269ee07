"""VGG-16's three fully connected layers at full size on the simulated engine: ``python benchmarks/vgg16.py [--network FILE] [--json]``.

25088-4096-4096-1000, 124 million weights, synthetic: normal weights of which 4, 4 and 23 % are not zero, an input of which 18 % is not zero, and
biases that leave 37 and 41 % of the hidden activations: the densities that Han et al. publish for the pruned network (EIE, ISCA 2016, Table III).
Every result is checked against the golden model, every word read against the law. ``--network`` keeps the compressed network, or takes it when it
is there, so that compressing and simulating can be timed apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist

import numpy as np
from rich.console import Console
from rich.table import Table

from permfc import model_file
from permfc.compress import compress
from permfc.config import EngineConfig
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import Network
from permfc_sim.simulate import Simulation, simulate

SIZES = (25088, 4096, 4096, 1000)
NAMES = ("fc6", "fc7", "fc8")
WEIGHT_DENSITY = (0.04, 0.04, 0.23)
ACTIVATION_DENSITY = (0.18, 0.37, 0.41)
BITS = {"fc6": 0.4, "fc7": 0.4, "fc8": 1.6}
EIE_MICROSECONDS = (34.4, 8.7, 8.4)  # "actual time" of its simulation, 64 processing elements at 800 MHz (the same paper, Table IV)
CLOCK_HZ = 100e6


def synthetic_input(rng: np.random.Generator) -> np.ndarray:
    """float32 [1, SIZES[0]]: half-normal values, the stated share of them not zero."""
    values = np.abs(rng.standard_normal((1, SIZES[0]), dtype=np.float32))
    return values * (rng.random(values.shape) < ACTIVATION_DENSITY[0])


def synthetic_network(rng: np.random.Generator, x: np.ndarray) -> FloatNetwork:
    """Layers whose hidden activations for ``x`` have the stated density: the biases put that share of the sums above zero."""
    layers = []
    for number, name in enumerate(NAMES):
        shape = SIZES[number + 1], SIZES[number]
        weight = rng.standard_normal(shape, dtype=np.float32)
        weight *= rng.random(shape, dtype=np.float32) < WEIGHT_DENSITY[number]
        sums = x @ weight.T
        hidden = number + 1 < len(NAMES)
        share = ACTIVATION_DENSITY[number + 1] if hidden else 0.5
        bias = np.full(shape[0], NormalDist().inv_cdf(share) * float(sums.std()) - float(sums.mean()), dtype=np.float32)
        layers.append(FloatLayer(weight, bias, hidden, name))
        x = np.maximum(sums + bias, 0)
    return FloatNetwork(tuple(layers))


def compressed_network(path: Path | None) -> tuple[Network, np.ndarray, float]:
    """The network, a float input, and the seconds that compressing took; 0.0 when it was in ``path``."""
    rng = np.random.default_rng(0)
    x = synthetic_input(rng)
    if path is not None and path.exists():
        return model_file.load(path), x, 0.0
    network = synthetic_network(rng, x)
    started = time.perf_counter()
    compressed = compress(network, 0.45, calibration=np.repeat(x, 2, axis=0), block_outputs=2048, per_layer=BITS)
    seconds = time.perf_counter() - started
    if path is not None:
        model_file.save(compressed, path)
    return compressed, x, seconds


def layer_rows(simulation: Simulation, network: Network, x: np.ndarray) -> list[dict[str, object]]:
    """What each layer did, as JSON."""
    densities = [float(np.count_nonzero(received) / received.size) for received in network.layer_inputs(x)]
    return [
        {"layer": name, "active": density, **asdict(layer), "eie_microseconds": eie}
        for name, density, layer, eie in zip(NAMES, densities, simulation.layers, EIE_MICROSECONDS, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, help="file that keeps the compressed network")
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--bus-bits", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    network, real_x, compress_seconds = compressed_network(options.network)
    x = network.quantise(real_x)
    config = EngineConfig(lanes=options.lanes, bus_bits=options.bus_bits, block_outputs=2048, features=32768)
    started = time.perf_counter()
    simulation = simulate(network, x, config)
    seconds = time.perf_counter() - started
    if simulation.mismatches or not simulation.traffic_as_predicted:
        raise SystemExit(f"{simulation.mismatches} results differ from the golden model's; traffic as predicted: {simulation.traffic_as_predicted}")
    figures = {
        "compress_seconds": compress_seconds, "simulate_seconds": seconds,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "cycles": int(simulation.counters["cycles"][0]), "bytes": int(simulation.bus_bytes[0]), "layers": layer_rows(simulation, network, x),
    }
    print(json.dumps(figures, indent=2)) if options.json else show(figures)


def show(figures: dict) -> None:
    table = Table("layer", "active", "bytes read", "dense int8", "of active", "EIE, us")
    for row in figures["layers"]:
        table.add_row(row["layer"], f"{row['active']:.0%}", f"{row['bytes']:,.0f}", f"{row['dense_bytes']:,}", f"{row['dense_active_bytes']:,.0f}",
                      f"{row['eie_microseconds']}")
    console = Console(width=120)
    console.print(table)
    console.print(
        f"{figures['cycles']:,} cycles, {figures['cycles'] / CLOCK_HZ * 1e3:.2f} ms at {CLOCK_HZ / 1e6:g} MHz, bit-exact; simulated in "
        f"{figures['simulate_seconds']:.0f} s (compressed in {figures['compress_seconds']:.0f} s), {figures['peak_gigabytes']:.1f} GB at most"
    )


if __name__ == "__main__":
    main()
