"""Options and fixtures that tests share."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from engine_cases import sane
from permfc.config import EngineConfig
from permfc_sim.device import SimDevice

LANES = (4, 8, 16, 32)
BUS_BITS = (16, 32, 64, 128)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-configs", action="store_true", help="simulate every pair of lanes and bus width instead of four pairs with every value")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" not in metafunc.fixturenames:
        return
    pairs = product(LANES, BUS_BITS) if metafunc.config.getoption("all_configs") else zip(LANES, BUS_BITS, strict=True)
    configs = [EngineConfig(lanes=lanes, bus_bits=bus_bits) for lanes, bus_bits in pairs]
    metafunc.parametrize("engine", configs, indirect=True, ids=[f"lanes{config.lanes}-bus{config.bus_bits}" for config in configs])


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> SimDevice:
    """A simulated engine of each tested configuration."""
    return sane(request.param)


@pytest.fixture
def small_engine() -> SimDevice:
    """A simulated engine of one configuration, for tests that do not depend on it."""
    return sane(EngineConfig(lanes=4, bus_bits=16))


@pytest.fixture
def data_folder() -> Path:
    """The optional folder of data sets and trained networks; tests that need it skip without."""
    folder = Path(os.environ.get("PERMFC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set PERMFC_DATA to the folder with data sets and trained networks")
    return folder


@pytest.fixture
def no_trial(monkeypatch) -> None:
    """HDF5 files are not tried in a process of their own first, which takes longer than most tests."""
    monkeypatch.setattr("permfc.importers.keras_weights.survive", lambda path, content: None)


@pytest.fixture
def short_search(monkeypatch) -> None:
    """The search for classes, which has tests of its own, has less patience: nothing changes where all weights are int8, and little elsewhere."""
    monkeypatch.setattr("permfc.compression.allocation.CLASS_COUNTS", ())
    monkeypatch.setattr("permfc.compression.allocation._SEARCH_STEPS", 6)
    monkeypatch.setattr("permfc.compression.classes._MOST_REPEATS", 0)
