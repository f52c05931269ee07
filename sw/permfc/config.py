"""The parameters of one engine: checked once, used by the packer in NumPy and by the gateware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .errors import ConfigError


def _check_power_of_two(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high or value & (value - 1):
        raise ConfigError(f"{name} must be a power of two from {low} to {high}, not {value}")


@dataclass(frozen=True)
class EngineConfig:
    """What one FC engine is built for.

    Members
    -------
    lanes : int
        Features decoded side by side, a codeword each a cycle. Power of two, 1 to 64.
    bus_bits : int
        Width of the AXI4 read data channel. Power of two, 16 to 512.
    block_outputs : int
        Most outputs in one output block. Power of two, 16 to 4096.
    features : int
        Most inputs or outputs of a layer. Power of two, 16 to 32768.
    levels : int
        Most levels of a common sequence: 8 or 16. Kind ``dense8`` needs 16.
    outstanding : int
        Most AXI reads in flight. Power of two, 1 to 64.
    accumulator_bits : int
        Width of an accumulator, 16 to 32.
    tables : bool
        Whether results can go through a table of 256 bytes, one block RAM, for functions other than ReLU and clamps.

    Raises
    ------
    ConfigError
        If a parameter is out of its range.
    """

    lanes: int = 16
    bus_bits: int = 32
    block_outputs: int = 512
    features: int = 1024
    levels: int = 16
    outstanding: int = 8
    accumulator_bits: int = 32
    tables: bool = True

    def __post_init__(self) -> None:
        _check_power_of_two("lanes", self.lanes, 1, 64)
        _check_power_of_two("bus_bits", self.bus_bits, 16, 512)
        _check_power_of_two("block_outputs", self.block_outputs, 16, 4096)
        _check_power_of_two("features", self.features, 16, 32768)
        _check_power_of_two("levels", self.levels, 8, 16)
        _check_power_of_two("outstanding", self.outstanding, 1, 64)
        if not isinstance(self.accumulator_bits, int) or not 16 <= self.accumulator_bits <= 32:
            raise ConfigError(f"accumulator_bits must be an integer from 16 to 32, not {self.accumulator_bits!r}")
        if not isinstance(self.tables, bool):
            raise ConfigError(f"tables must be True or False, not {self.tables!r}")

    @property
    def bus_bytes(self) -> int:
        """Value of the bus width in bytes: the alignment of everything in an image."""
        return self.bus_bits // 8

    @property
    def segment_bytes(self) -> int:
        """Value of the longest segment a lane holds: an optimal code over 16 levels averages at most 4 bits."""
        return max(self.block_outputs // 2, self.bus_bytes)

    def as_dict(self) -> dict[str, int]:
        """The parameters by name."""
        return asdict(self)


def as_options(parameters: Mapping[str, int]) -> str:
    """Parameters as the commands take them: ``--bus-bits 32 --no-tables``."""
    return " ".join(_option(name.replace("_", "-"), value) for name, value in parameters.items())


def _option(name: str, value: int) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value}"
