"""Faults on the serial line of a complete simulated board, and its reset in the middle of a load: the driver recovers, or says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from device_conformance import CHECKS, ENGINE_CHECKS
from link_faults import Faults
from networks import random_inputs
from permfc.device.selftest import small_network
from permfc.device.serial import SerialDevice, open_serial
from permfc.errors import LinkError
from permfc_boards.boards import board
from permfc_boards.simulation.simulated_board import SimulatedBoard
from test_board_system import SMALL

BOARD = board("ulx3s-85f")
CONFIG = dataclasses.replace(BOARD.config, **SMALL)
NETWORK = small_network(CONFIG)
FAULTS = 20


class Troubled:
    """A simulated board with faults on both directions of its line."""

    def __init__(self) -> None:
        self._directions = Faults(1, rate=0.0), Faults(2, rate=0.0)
        self.requests_until_reset: int | None = None
        self.board = SimulatedBoard(BOARD, CONFIG, to_board=self._to_board, to_host=self._directions[1].wire)

    def _to_board(self, data: bytes) -> bytes:
        if self.requests_until_reset is not None:
            self.requests_until_reset -= 1
            if self.requests_until_reset == 0:
                self.board.reset()
        return self._directions[0].wire(data)

    @property
    def faults(self) -> int:
        """Value of how many there have been."""
        return sum(faults.count for faults in self._directions)

    def set_rate(self, rate: float) -> None:
        """Hurt a share of the frames."""
        for faults in self._directions:
            faults.rate = rate

    def open(self) -> SerialDevice:
        return open_serial(self.board.port, timeout=30, margin=0.1)


@pytest.fixture(scope="module")
def troubled() -> Iterator[Troubled]:
    made = Troubled()
    with made.board:
        yield made
        assert made.board.violations()[0] == 0


def endure(troubled: Troubled, count: int) -> int:
    """Inferences, each checked, until ``count`` more faults have happened; returns the requests that were sent again."""
    troubled.requests_until_reset = None
    end = troubled.faults + count
    with troubled.open() as device:
        device.load(NETWORK)
        for seed in range(count * 10):
            troubled.set_rate(0.15)
            x = random_inputs(seed, NETWORK.inputs)
            np.testing.assert_array_equal(device.run(x), NETWORK.compute(x))
            troubled.set_rate(0.0)
            if troubled.faults >= end:
                return device.repeats
    raise AssertionError("there were not enough faults")


def test_faults_are_recovered(troubled: Troubled) -> None:
    assert endure(troubled, FAULTS) > FAULTS // 4


@pytest.mark.parametrize("requests", [5, 9, 12])
def test_a_reset_in_the_middle_of_a_load_is_reported(troubled: Troubled, requests: int) -> None:
    troubled.set_rate(0.0)
    troubled.requests_until_reset = requests
    with pytest.raises(LinkError, match="ulx3s-85f at .* was reset in the meantime; open it again"), troubled.open() as device:
        device.load(NETWORK)
        device.run(random_inputs(1, NETWORK.inputs, batch=3))
    troubled.requests_until_reset = None
    with troubled.open() as device:
        CHECKS[0](device, NETWORK)


@pytest.mark.parametrize("check", (*CHECKS, *ENGINE_CHECKS), ids=lambda check: check.__name__)
def test_conformance(troubled: Troubled, check: object) -> None:
    troubled.set_rate(0.0)
    troubled.requests_until_reset = None
    with troubled.open() as device:
        check(device, NETWORK)
