"""The simulated engine equals the golden model bit for bit and reads exactly the words that the law predicts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_cases import check_run, sane
from networks import bound_network, longest_sparse, random_inputs, random_network
from permfc.config import EngineConfig
from permfc.errors import ConfigError
from permfc.format import TABLE_BYTES, words
from permfc.image import predicted_traffic
from permfc.network import Kind, Network
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


def with_tables(network: Network, layers: list[int], table: np.ndarray | None = None) -> Network:
    """The network with a table in these layers instead of a ReLU: ``table``, or a random one each that makes something of zeros."""
    rng, changed = np.random.default_rng(len(network.layers)), list(network.layers)
    for number in layers:
        own = rng.integers(1, 128, TABLE_BYTES).astype(np.int8) if table is None else table
        changed[number] = dataclasses.replace(changed[number], relu=False, table=own)
    return dataclasses.replace(network, layers=tuple(changed))


@pytest.mark.parametrize("case", list(CASES))
def test_edges_of_shapes(engine: SimDevice, case: str) -> None:
    sizes, options = CASES[case]
    for raw in (False, True):
        network = random_network(7, sizes, raw=raw, **options)
        engine.load(network)
        check_run(engine, network, random_inputs(8, sizes[0], batch=2))


def test_segments_that_just_fit_a_lane(small_engine: SimDevice) -> None:
    network = longest_sparse(5, small_engine.identify().segment_bytes)
    small_engine.load(network)
    check_run(small_engine, network, random_inputs(8, 5, batch=2))
    with pytest.raises(ConfigError, match="takes 258 bytes, but a lane of this engine holds 256"):
        small_engine.load(longest_sparse(5, 258))


@pytest.mark.parametrize("density", [0.0, 0.02, 1.0])
def test_fewer_and_more_active_features_than_lanes(engine: SimDevice, density: float) -> None:
    network = random_network(9, [150, 60, 10])
    engine.load(network)
    check_run(engine, network, random_inputs(10, 150, batch=3, density=density))


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("options", [{}, {"kinds": [Kind.EMPTY]}, {"kinds": [Kind.PREFIX], "block_outputs": 200}], ids=str)
def test_tables_of_layer_after_layer(engine: SimDevice, density: float, options: dict) -> None:
    """Several blocks or one, several rounds, one or none; each layer's table is another, and zeros become something, too."""
    sizes = [60, 75, 90, 33, 40]
    network = with_tables(random_network(21, sizes, raw=False, tables=False, **{"block_outputs": 30} | options), [0, 1, 3])
    engine.load(network)
    check_run(engine, network, random_inputs(22, 60, batch=3, density=density))


def test_a_table_costs_its_words_and_nothing_else(engine: SimDevice) -> None:
    """One that is the ReLU: the same results and segments."""
    x, identity = random_inputs(24, 60), np.arange(TABLE_BYTES, dtype=np.uint8).view(np.int8)
    network = random_network(23, [60, 50, 40, 20], tables=False, kinds=[Kind.PREFIX])
    rectified = dataclasses.replace(network, layers=tuple(dataclasses.replace(layer, relu=not layer.raw) for layer in network.layers))
    counted = []
    for network in (rectified, with_tables(rectified, [0, 1], np.maximum(identity, 0))):
        engine.load(network)
        counted.append((engine.run(x).tolist(), engine.counters()))
    (results, before), (same, after) = counted
    assert results == same and after.segments_fetched == before.segments_fetched
    assert after.beats - before.beats == 2 * words(TABLE_BYTES, engine.identify().bus_bytes)


def test_tables_on_the_widest_bus() -> None:
    """A table is four words, and takes more room than a block's multipliers."""
    device = sane(EngineConfig(lanes=4, bus_bits=512, block_outputs=16, features=64))
    network = with_tables(random_network(27, [60, 40, 33, 20], raw=False, tables=False, block_outputs=16), [0, 1, 2])
    device.load(network)
    for density in (0.0, 0.1, 1.0):
        check_run(device, network, random_inputs(28, 60, batch=2, density=density))


def test_an_engine_without_tables_does_the_rest_in_the_same_cycles() -> None:
    """Both fresh from a reset: starting an odd number of cycles later may take a cycle or two more or less."""
    network, x = random_network(25, [60, 75, 20], block_outputs=30, tables=False), random_inputs(26, 60)
    counted = []
    for tables in (True, False):
        device = sane(EngineConfig(lanes=4, bus_bits=16, tables=tables))
        device.load(network)
        check_run(device, network, x)
        counted.append(device.counters())
    assert counted[0] == counted[1]


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
