"""EngineConfig: every limit, and the sentence that names it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from permfc.config import EngineConfig
from permfc.errors import ConfigError, PermfcError

POWERS = [
    ("lanes", 1, 64),
    ("bus_bits", 16, 512),
    ("block_outputs", 16, 4096),
    ("features", 16, 32768),
    ("levels", 8, 16),
    ("outstanding", 1, 64),
]


def powers(low: int, high: int) -> list[int]:
    return [1 << bit for bit in range(low.bit_length() - 1, high.bit_length())]


def test_every_parameter_is_covered():
    assert {name for name, _, _ in POWERS} | {"accumulator_bits", "tables"} == {field.name for field in dataclasses.fields(EngineConfig)}


@pytest.mark.parametrize(("name", "low", "high"), POWERS)
def test_powers_of_two_from_end_to_end(name, low, high):
    for value in powers(low, high):
        assert getattr(EngineConfig(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "low", "high"), POWERS)
def test_other_numbers_are_refused(name, low, high):
    for value in (low // 2, 2 * high, high - 1, 0, -low):
        with pytest.raises(ConfigError, match=f"^{name} must be a power of two from {low} to {high}, not {value}$"):
            EngineConfig(**{name: value})


@pytest.mark.parametrize(("name", "low", "high"), POWERS)
@pytest.mark.parametrize("value", ["16", 16.0, None, True, [16]])
def test_other_types_are_refused(name, low, high, value):
    with pytest.raises(ConfigError, match=f"^{name} must be an integer, not {re.escape(repr(value))}$"):
        EngineConfig(**{name: value})


@pytest.mark.parametrize("value", [1, 0, None, "True"])
def test_tables_are_there_or_not(value):
    assert EngineConfig().tables and not EngineConfig(tables=False).tables
    with pytest.raises(ConfigError, match=f"^tables must be True or False, not {re.escape(repr(value))}$"):
        EngineConfig(tables=value)


@pytest.mark.parametrize("value", range(16, 33))
def test_accumulators_from_16_to_32_bits(value):
    assert EngineConfig(accumulator_bits=value).accumulator_bits == value


@pytest.mark.parametrize("value", [15, 33, 0, -32, "32", 32.0, None])
def test_other_accumulators_are_refused(value):
    with pytest.raises(ConfigError, match=f"^accumulator_bits must be an integer from 16 to 32, not {re.escape(repr(value))}$"):
        EngineConfig(accumulator_bits=value)


def test_a_config_error_is_a_value_error_and_ours():
    assert issubclass(ConfigError, ValueError) and issubclass(ConfigError, PermfcError)


def test_configurations_are_values():
    config = EngineConfig(lanes=8)
    assert config == EngineConfig(lanes=8) != EngineConfig(lanes=16)
    assert EngineConfig(**config.as_dict()) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lanes = 4


@pytest.mark.parametrize(("bus_bits", "block_outputs", "bus_bytes", "segment_bytes"), [
    (32, 512, 4, 256), (16, 16, 2, 8), (512, 64, 64, 64), (512, 4096, 64, 2048),
])
def test_derived_values(bus_bits, block_outputs, bus_bytes, segment_bytes):
    config = EngineConfig(bus_bits=bus_bits, block_outputs=block_outputs)
    assert (config.bus_bytes, config.segment_bytes) == (bus_bytes, segment_bytes)
