"""Complete boards in simulation, from the driver through pseudo-terminal, serial pins, link, engine and memory pins, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from networks import random_network
from permfc.device.serial import open_serial
from permfc.errors import DeviceError
from permfc.image import pack
from permfc_boards.boards import board
from permfc_boards.simulation.simulated_board import SimulatedBoard

SMALL = {"lanes": 4, "block_outputs": 64, "features": 128, "levels": 16}
SECONDS = {"timeout": 60.0, "margin": 20.0}  # a simulated board is some hundred times slower than a real one
NETWORK = random_network(3, (100, 60, 10))
X = np.random.default_rng(1).integers(-128, 128, (3, 100)).astype(np.int8)


@pytest.fixture(scope="module", params=["ulx3s-85f", "icebreaker"])
def simulated(request: pytest.FixtureRequest) -> Iterator[SimulatedBoard]:
    """The board with a small engine; a flash has the image of NETWORK."""
    described = board(request.param)
    config = dataclasses.replace(described.config, **SMALL)
    with SimulatedBoard(described, config) as running:
        if described.memory.startswith("qspi"):
            running.load(described.image_address, pack(NETWORK, config))
        yield running
        assert running.violations()[0] == 0


def test_results_through_the_pins_equal_the_golden_model(simulated: SimulatedBoard) -> None:
    with open_serial(simulated.port, **SECONDS) as device:
        device.load(NETWORK)
        assert np.array_equal(device.run(X), NETWORK.compute(X))
        assert device.counters().cycles > 0


def test_board_tells_its_name_and_engine(simulated: SimulatedBoard) -> None:
    with open_serial(simulated.port, **SECONDS) as device:
        assert device.identity.board == simulated.name
        assert device.identify().as_dict() == {**board(simulated.name).config.as_dict(), **SMALL}


def test_reset_is_noticed_and_the_next_open_works(simulated: SimulatedBoard) -> None:
    with open_serial(simulated.port, **SECONDS) as device:
        device.load(NETWORK)
        simulated.reset()
        with pytest.raises(DeviceError, match="reset"):
            device.run(X)
    with open_serial(simulated.port, **SECONDS) as device:
        device.load(NETWORK)
        assert np.array_equal(device.run(X[0]), NETWORK.compute(X[:1])[0])
