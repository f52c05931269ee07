"""The golden device, the simulated engine and the reference board behind a serial port pass the same checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import permfc
from device_conformance import CHECKS, ENGINE_CHECKS, Check, EngineCheck
from networks import random_network
from permfc.device.base import Device
from permfc.device.engine import EngineDevice
from permfc.errors import LinkError
from permfc.network import Network
from reference_board import ReferenceBoard, Terminal


@contextmanager
def opened(kind: str) -> Iterator[Device]:
    if kind == "serial port":
        with Terminal(ReferenceBoard()) as terminal, permfc.open(f"serial:{terminal.port}") as device:
            yield device
    else:
        with permfc.open(f"{kind}:lanes=4,bus_bits=16") as device:
            yield device


@pytest.fixture(scope="module", params=["golden", "sim", "serial port"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with opened(request.param) as device:
        yield device


@pytest.fixture(scope="module", params=["sim", "serial port"])
def register_device(request: pytest.FixtureRequest) -> Iterator[EngineDevice]:
    with opened(request.param) as device:
        assert isinstance(device, EngineDevice)
        yield device


@pytest.fixture(scope="module")
def network() -> Network:
    """More results than a reply of the reference board holds."""
    return random_network(5, [40, 60, 150])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(device: Device, network: Network, check: Check) -> None:
    check(device, network)


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_engine_conformance(register_device: EngineDevice, network: Network, check: EngineCheck) -> None:
    check(register_device, network)


def test_a_closed_device_says_so() -> None:
    with Terminal(ReferenceBoard()) as terminal:
        for name in ("sim:lanes=4,bus_bits=16", f"serial:{terminal.port}"):
            with permfc.open(name) as opened:
                pass
            with pytest.raises(LinkError, match="is closed; open it again"):
                opened.identify()
            with pytest.raises(LinkError, match="is closed; open it again"):
                opened.write_memory(0, bytes(4))
    with permfc.open("golden") as opened:
        opened.load(random_network(1, [3, 4]))
    for use in (opened.identify, lambda: opened.run(np.zeros(3, dtype=np.int8))):
        with pytest.raises(LinkError, match="The golden device is closed; open it again"):
            use()
