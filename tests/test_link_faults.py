"""A thousand faults on the line, and boards reset in the middle: never a wrong result, never a hang; each is recovered, or reported."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from link_faults import Faults
from networks import random_inputs, random_network
from permfc.device.serial import SerialDevice
from permfc.errors import LinkError
from reference_board import DirectLine, ReferenceBoard

NETWORK = random_network(8, [120, 200, 150], classes=1)
INPUTS = random_inputs(8, NETWORK.inputs, batch=4)
GOLDEN = NETWORK.compute(INPUTS)
TIMEOUT = 2.0


class FastLine(DirectLine):
    """So fast that what is lost is soon sent again."""

    baud = 1_000_000_000


def opened(board: ReferenceBoard, requests: Faults, replies: Faults, **wires: object) -> SerialDevice:
    line = FastLine(board, **({"to_board": requests.wire, "to_host": replies.wire} | wires))
    return SerialDevice(line, timeout=TIMEOUT, margin=0.001)


def test_a_thousand_faults_are_recovered() -> None:
    requests, replies, board = Faults(1, rate=0.1), Faults(2, rate=0.1), ReferenceBoard()
    loads = 0
    while requests.count + replies.count < 1000:
        board.memory[:] = bytes(len(board.memory))
        device = opened(board, requests, replies)
        device.load(NETWORK)
        np.testing.assert_array_equal(device.run(INPUTS), GOLDEN)
        loads += 1
    assert loads > 5


def test_a_board_reset_in_the_middle_is_reported_and_opens_again() -> None:
    chance, requests, replies, board = random.Random(2), Faults(3, rate=0.02), Faults(4, rate=0.02), ReferenceBoard()
    resets = reports = finished = 0

    def resetting(data: bytes) -> bytes:
        nonlocal resets
        if chance.random() < 0.02:
            resets += 1
            board.reset()
        return requests.wire(data)

    while resets < 100:
        board.memory[:] = bytes(len(board.memory))
        try:
            device = opened(board, requests, replies, to_board=resetting)
            device.load(NETWORK)
            np.testing.assert_array_equal(device.run(INPUTS), GOLDEN)
            finished += 1
        except LinkError as error:
            assert "was reset in the meantime" in str(error)
            reports += 1
    assert reports > 50 and finished > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_board_that_dies_in_the_middle_is_reported_in_time(seed: int) -> None:
    sound, board = Faults(seed, rate=0), ReferenceBoard()
    lives = random.Random(seed).randrange(2, 40)

    def dying(data: bytes) -> bytes:
        nonlocal lives
        lives -= 1
        return data if lives > 0 else b""

    began = time.monotonic()
    with pytest.raises(LinkError, match="gave no answer for 2.0 s; check the cable"):
        device = opened(board, sound, Faults(seed, rate=0), to_board=dying)
        device.load(NETWORK)
        device.run(np.repeat(INPUTS, 10, axis=0))
    assert time.monotonic() - began > TIMEOUT
    device = opened(board, sound, Faults(seed, rate=0))
    device.load(NETWORK)
    np.testing.assert_array_equal(device.run(INPUTS), GOLDEN)
