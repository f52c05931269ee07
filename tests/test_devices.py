"""The device presets."""

from __future__ import annotations

import pytest

from permfc.errors import ConfigError
from permfc_boards.devices import DEVICES, device
from permfc_boards.synth import RESOURCES


def test_names() -> None:
    assert list(DEVICES) == ["ecp5-85k", "ecp5-25k", "up5k"]
    assert all(device(name).name == name for name in DEVICES)


@pytest.mark.parametrize("name", DEVICES)
def test_family_is_one_that_reports_are_read_for(name: str) -> None:
    assert device(name).family in RESOURCES


def test_engines() -> None:
    """Those of docs/guide-synthesise.md."""
    engines = {name: (target.config.lanes, target.config.bus_bits, target.config.levels) for name, target in DEVICES.items()}
    assert engines == {"ecp5-85k": (16, 32, 16), "ecp5-25k": (16, 32, 16), "up5k": (2, 16, 8)}


def test_every_engine_has_tables() -> None:
    """A block RAM is left on each, and networks with other functions than ReLU run everywhere."""
    assert all(target.config.tables for target in DEVICES.values())


def test_unknown_device() -> None:
    with pytest.raises(ConfigError, match="Device 'ice' is unknown; choose one of ecp5-85k, ecp5-25k, up5k"):
        device("ice")
