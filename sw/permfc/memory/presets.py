"""The memories that can be named on a command line: a part, a clock, and how many devices share it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from .part import Part
from .part_file import load_part


@dataclass(frozen=True)
class Memory:
    """A memory that an engine reads.

    Members
    -------
    name : str
    part : Part or None
        None for a plain AXI4 memory, of which only bus beats are known.
    clock_hz : float
        Clock at the pins; of a plain AXI4 memory, of the bus.
    devices : int
        Devices side by side: they get the same commands, and each carries its share of the data.

    Raises
    ------
    ConfigError
        If the clock is zero or faster than the part allows, or there is no device.
    """

    name: str
    part: Part | None
    clock_hz: float
    devices: int = 1

    def __post_init__(self) -> None:
        if not self.clock_hz > 0:
            raise ConfigError(f"The clock of memory {self.name} must be more than 0 Hz, not {self.clock_hz!r}")
        if self.devices < 1:
            raise ConfigError(f"Memory {self.name} needs at least one device, not {self.devices!r}")
        if self.part and self.clock_hz > self.part.max_clock_hz * 1.001:
            limit = self.part.max_clock_hz / 1e6
            raise ConfigError(f"{self.part.name} runs at {limit:.1f} MHz at most, not at {self.clock_hz / 1e6:g} MHz: choose a lower clock")

    @property
    def bus_bits(self) -> int:
        """Value of the data pins of all devices; 0 for a plain AXI4 memory, whose width is the engine's."""
        return self.part.width * self.devices if self.part else 0

    @property
    def capacity(self) -> int:
        """Value of the bytes of all devices; 0 for a plain AXI4 memory, which is as large as its user says."""
        return self.part.capacity * self.devices if self.part else 0

    @property
    def peak_bytes_per_second(self) -> float:
        """Value of the data pins' limit; 0.0 for a plain AXI4 memory."""
        return self.bus_bits / 8 * self.clock_hz * self.part.data_rate if self.part else 0.0

    @property
    def is_counted(self) -> bool:
        """Value of whether a simulation counts commands at this memory's pins; of any other memory they are modelled."""
        return self.part is not None and self.part.kind in ("sdr", "qspi")

    def check_holds(self, byte_count: int) -> None:
        """Check that so many bytes fit; a plain AXI4 memory holds any number.

        Raises
        ------
        ConfigError
            If they do not, with what is missing.
        """
        if self.part and byte_count > self.capacity:
            excess = byte_count - self.capacity
            raise ConfigError(f"{byte_count} bytes are {excess} more than memory {self.name} holds: compress further, or choose a larger memory")


# name: part, clock in Hz, devices
_PRESETS = {
    "sdr-100": ("MT48LC16M16A2-75", 100e6, 1),
    "sdr-133": ("MT48LC16M16A2-75", 133e6, 1),
    "sdr-x32-100": ("MT48LC4M32B2-7", 100e6, 1),
    # What the open flow reaches on an ECP5: the charge of a command stays that of the speed bin.
    "ddr3-300": ("MICRON_2Gb_DDR3-1600_16bit_D", 150e6, 1),
    "ddr3-1600": ("MICRON_2Gb_DDR3-1600_16bit_D", 800e6, 1),
    "ddr4-2400": ("MICRON_4Gb_DDR4-2400_8bit_A", 1200e6, 2),
    "lpddr3-1600": ("MICRON_4Gb_LPDDR3-1600_32bit_A", 800e6, 1),
    "lpddr4-3200": ("JEDEC_8Gb_LPDDR4-3200_16bit", 1600e6, 1),
    "qspi-48": ("W25Q128JV", 48e6, 1),
    "axi": (None, 100e6, 1),
}

MEMORY_NAMES = tuple(_PRESETS)


def memory(name: str) -> Memory:
    """The memory of a name.

    Raises
    ------
    ConfigError
        If there is none; the names are listed.
    """
    if name not in _PRESETS:
        raise ConfigError(f"There is no memory {name!r}: choose one of {', '.join(MEMORY_NAMES)}")
    part, clock_hz, devices = _PRESETS[name]
    return Memory(name, load_part(part) if part else None, clock_hz, devices)
