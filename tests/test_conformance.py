"""The simulated engine and the reference board behind a serial port pass the same checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import permfc
from device_conformance import CHECKS, Check
from networks import random_network
from permfc.device.base import Device
from permfc.errors import LinkError
from permfc.network import Network
from reference_board import ReferenceBoard, Terminal


@pytest.fixture(scope="module", params=["simulation", "serial port"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param == "simulation":
        with permfc.open("sim:lanes=4,bus_bits=16") as opened:
            yield opened
    else:
        with Terminal(ReferenceBoard()) as terminal, permfc.open(f"serial:{terminal.port}") as opened:
            yield opened


@pytest.fixture(scope="module")
def network() -> Network:
    """More results than a reply of the reference board holds."""
    return random_network(5, [40, 60, 150])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(device: Device, network: Network, check: Check) -> None:
    check(device, network)


def test_a_closed_device_says_so() -> None:
    with Terminal(ReferenceBoard()) as terminal:
        for name in ("sim:lanes=4,bus_bits=16", f"serial:{terminal.port}"):
            with permfc.open(name) as opened:
                pass
            with pytest.raises(LinkError, match="is closed; open it again"):
                opened.identify()
            with pytest.raises(LinkError, match="is closed; open it again"):
                opened.write_memory(0, bytes(4))
