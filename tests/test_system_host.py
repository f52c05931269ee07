"""Whatever a host does, and whenever: the output stream carries whole frames of complete runs, and a run keeps the image it began with."""

from __future__ import annotations

import numpy as np
import pytest

from networks import random_inputs, random_network
from permfc.format import Control, ErrorCode, Register, Status
from permfc.image.layout import image_layout
from permfc.network import Network
from permfc_sim.device import SimDevice

INPUTS, TRIES = 70, 40


@pytest.fixture
def network() -> Network:
    """Its final layer has five blocks, so that results are complete long before a run is."""
    return random_network(11, [INPUTS, 60, 40], block_outputs=8)


@pytest.fixture
def x() -> np.ndarray:
    return random_inputs(12, INPUTS, density=0.4)


def start(device: SimDevice, values: np.ndarray) -> None:
    device.send_input(values)
    device.write_register(Register.CONTROL, Control.START)


def finish(device: SimDevice) -> ErrorCode:
    device.wait(0.01)
    return device.error()


def test_a_failed_run_gives_no_result(small_engine: SimDevice, network: Network, x: np.ndarray) -> None:
    """Not one of them comes in front of the next run's, wherever the memory fails."""
    bus_bytes, golden = small_engine.identify().bus_bytes, network.compute(x)[0]
    small_engine.load(network)
    layout, failed = image_layout(network, bus_bytes), 0
    for address in range(layout.blocks[-3].segment_offsets[0] * bus_bytes, layout.host_offset, 8 * bus_bytes):
        small_engine.set_fault(error_at=address)
        start(small_engine, x[0])
        error = finish(small_engine)
        small_engine.set_fault()
        if error is ErrorCode.BUS:  # else nothing was read there
            failed += 1
            assert not small_engine.read_register(Register.STATUS) & Status.RESULTS
            start(small_engine, x[0])
            error = finish(small_engine)
        assert error is ErrorCode.NONE
        np.testing.assert_array_equal(small_engine.receive_output(network.outputs), golden)
    assert failed >= 10


def test_clear_leaves_results_that_wait(small_engine: SimDevice, network: Network, x: np.ndarray) -> None:
    """Whether the host takes them slowly or at once, and whenever it writes CLEAR."""
    rng, golden = np.random.default_rng(13), network.compute(x)[0]
    small_engine.load(network)
    small_engine.run(x[0])
    cycles = small_engine.counters().cycles
    for stall in (0.0, 0.5, 0.95):
        small_engine.set_timing(stall=stall)
        for _ in range(TRIES):
            start(small_engine, x[0])
            small_engine.tick(int(rng.integers(cycles)))
            small_engine.write_register(Register.CONTROL, Control.CLEAR)  # no effect, unless the run is over
            small_engine.wait(0.01)
            small_engine.tick(int(rng.integers(150)))
            small_engine.write_register(Register.CONTROL, Control.CLEAR)
            assert small_engine.read_register(Register.STATUS) & ~Status.RESULTS == 0
            np.testing.assert_array_equal(small_engine.receive_output(network.outputs), golden)
            assert small_engine.read_register(Register.STATUS) == 0
    assert small_engine.bus_counters().violations == 0


def test_an_image_chosen_while_busy_is_the_next_run_s(small_engine: SimDevice, network: Network, x: np.ndarray) -> None:
    """Images of the same shape, so that nothing but the results would tell."""
    rng, other = np.random.default_rng(14), random_network(15, [INPUTS, 60, 40], block_outputs=8)
    small_engine.load({"first": network, "second": other})
    small_engine.run(x[0], "first")
    cycles = small_engine.counters().cycles
    addresses = [loaded.address for loaded in small_engine.networks.values()]
    golden = [network.compute(x)[0], other.compute(x)[0]]
    for _ in range(TRIES):
        small_engine.write_register(Register.IMAGE_BASE, addresses[0])
        start(small_engine, x[0])
        small_engine.tick(int(rng.integers(cycles)))
        small_engine.write_register(Register.IMAGE_BASE, addresses[1])
        assert small_engine.read_register(Register.IMAGE_BASE) == addresses[1]
        assert finish(small_engine) is ErrorCode.NONE
        np.testing.assert_array_equal(small_engine.receive_output(network.outputs), golden[0])
        start(small_engine, x[0])
        assert finish(small_engine) is ErrorCode.NONE
        np.testing.assert_array_equal(small_engine.receive_output(network.outputs), golden[1])
