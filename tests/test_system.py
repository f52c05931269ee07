"""The simulated engine equals the golden model bit for bit and reads exactly the words that the law predicts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_cases import check_run, sane
from networks import bound_network, random_inputs, random_network
from permfc.config import EngineConfig
from permfc.image import predicted_traffic
from permfc.network import Kind
from permfc_sim.device import SimDevice

CASES = {
    "one feature, one output": ([1, 1], {}),
    "one output": ([40, 1], {}),
    "one feature": ([1, 40], {}),
    "617 and 77 wide": ([617, 77, 26], {}),
    "last block shorter": ([33, 150, 70], {"block_outputs": 64}),
    "blocks of odd size": ([30, 101, 75], {"block_outputs": 33}),
    "block of one output at the end": ([20, 65, 17], {"block_outputs": 16}),
    "largest block": ([20, 512, 9], {}),
    "only dense8": ([60, 50, 10], {"kinds": [Kind.DENSE8]}),
    "only sparse": ([60, 50, 10], {"kinds": [Kind.SPARSE]}),
    "only empty": ([60, 50, 10], {"kinds": [Kind.EMPTY]}),
    "one level": ([60, 50, 10], {"kinds": [Kind.PREFIX], "most_levels": 1}),
    "every kind in a layer": ([200, 90, 40], {"classes": 10}),
    "many classes": ([200, 90, 10], {"classes": 14, "kinds": [Kind.PREFIX, Kind.PREFIX, Kind.EMPTY]}),
    "five layers": ([30, 40, 20, 50, 30, 20], {}),
}


@pytest.mark.parametrize("case", list(CASES))
def test_edges_of_shapes(engine: SimDevice, case: str) -> None:
    sizes, options = CASES[case]
    for raw in (False, True):
        network = random_network(7, sizes, raw=raw, **options)
        engine.load(network)
        check_run(engine, network, random_inputs(8, sizes[0], batch=2))


@pytest.mark.parametrize("density", [0.0, 0.02, 1.0])
def test_fewer_and_more_active_features_than_lanes(engine: SimDevice, density: float) -> None:
    network = random_network(9, [150, 60, 10])
    engine.load(network)
    check_run(engine, network, random_inputs(10, 150, batch=3, density=density))


def test_accumulators_reach_both_ends_of_24_bits(engine: SimDevice) -> None:
    network, x = bound_network(features=516, outputs=20, bits=24)
    assert set(network.compute(x)[0].tolist()) == {2**23 - 1, 1 - 2**23}
    engine.load(network)
    check_run(engine, network, x)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 120), min_size=2, max_size=4), block_outputs=st.integers(1, 200),
    classes=st.integers(1, 7), density=st.sampled_from([0.05, 0.4, 1.0]), latency=st.integers(2, 120), gap=st.sampled_from([0.0, 0.1, 0.7]),
    outstanding=st.integers(1, 16), stall=st.sampled_from([0.0, 0.2, 0.8]),
)
def test_random_networks_under_random_stalls(
    engine: SimDevice, seed: int, sizes: list[int], block_outputs: int, classes: int, density: float,
    latency: int, gap: float, outstanding: int, stall: float,
) -> None:
    engine.set_timing(latency=latency, gap=gap, outstanding=outstanding, stall=stall)
    network = random_network(seed, sizes, block_outputs=block_outputs, classes=classes)
    engine.load(network)
    check_run(engine, network, random_inputs(seed, sizes[0], batch=2, density=density))


def test_small_limits() -> None:
    """Eight levels, 22-bit accumulators, one read in flight: results at the bound, and never more than one read."""
    device = sane(EngineConfig(lanes=4, bus_bits=32, block_outputs=64, features=128, levels=8, outstanding=1, accumulator_bits=22))
    network, x = bound_network(features=128, outputs=40, bits=22)
    device.load(network)
    check_run(device, network, x)
    network = random_network(3, [128, 100, 60], block_outputs=64, kinds=[Kind.PREFIX, Kind.EMPTY], most_levels=8)
    device.load(network)
    check_run(device, network, random_inputs(4, 128, batch=3))
    assert device.bus_counters().most_in_flight == 1


def test_throughput_on_large_layers() -> None:
    """At most 1.1 cycles for each word of the bus, or for each output of each round, whichever are more."""
    device = sane(EngineConfig(lanes=16, bus_bits=64))
    network = random_network(5, [512, 512, 512], kinds=[Kind.PREFIX], classes=8, most_levels=8, raw=False)
    x = random_inputs(6, 512)
    device.load(network)
    check_run(device, network, x)
    rounds = sum(
        -(-np.count_nonzero(received) // 16) * layer.outputs for layer, received in zip(network.layers, network.layer_inputs(x), strict=True)
    )
    words = int(predicted_traffic(network, x, device.identify()).total_words[0])
    assert device.counters().cycles <= 1.10 * max(words, rounds)
