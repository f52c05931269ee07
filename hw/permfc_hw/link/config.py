"""LinkConfig: the parameters of a host link."""

from __future__ import annotations

from dataclasses import dataclass

from permfc.device.link.protocol import LINK_VERSION, Identity
from permfc.errors import ConfigError
from permfc.format import IMAGE_ALIGNMENT, VERSION

FEWEST_CLOCKS_PER_BIT = 8
MOST_BAUD_ERROR = 0.025  # the line is sampled in the middle of a bit: over ten bits the two ends may differ by less than half a bit in all


@dataclass(frozen=True)
class LinkConfig:
    """What a host link is built for.

    Members
    -------
    board : str
        Name that HELLO tells, up to 16 ASCII characters.
    clock_hz : int
        Frequency of the clock.
    baud : int
        Bits a second on the serial line, start and stop bits included.
    memory_bytes : int
        Size of the memory behind the engine.
    image_address : int
        Where images lie in it, a multiple of 4 KiB.
    memory_writable : bool
        Whether the memory has a write port.
    largest_payload : int
        Most bytes in the payload of a request or a reply. Power of two, 128 to 4096.
    receive_bytes : int
        Size of the receive buffer. Power of two, twice the largest payload to 32768.

    Raises
    ------
    ConfigError
        If a parameter is out of its range.
    """

    board: str
    clock_hz: int
    baud: int
    memory_bytes: int
    image_address: int = 0
    memory_writable: bool = True
    largest_payload: int = 1024
    receive_bytes: int = 4096

    def __post_init__(self) -> None:
        if self.baud <= 0 or self.clock_hz < FEWEST_CLOCKS_PER_BIT * self.baud:
            raise ConfigError(
                f"{self.baud} baud cannot be made from {self.clock_hz} Hz: a bit must last {FEWEST_CLOCKS_PER_BIT} cycles; choose a lower baud rate"
            )
        error = abs(self.clocks_per_bit * self.baud / self.clock_hz - 1)
        if error > MOST_BAUD_ERROR:
            raise ConfigError(
                f"{self.baud} baud cannot be made from {self.clock_hz} Hz: {self.clocks_per_bit} cycles a bit are {error:.1%} off; "
                "choose another baud rate"
            )
        self._check_size("largest_payload", self.largest_payload, 128, 4096)
        self._check_size("receive_bytes", self.receive_bytes, 2 * self.largest_payload, 32768)
        if self.image_address % IMAGE_ALIGNMENT:
            raise ConfigError(f"image_address must be a multiple of {IMAGE_ALIGNMENT}, not {self.image_address}")
        self.identity()

    @staticmethod
    def _check_size(name: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high or value & (value - 1):
            raise ConfigError(f"{name} must be a power of two from {low} to {high}, not {value}")

    @property
    def clocks_per_bit(self) -> int:
        """Value of the clock cycles that a bit lasts on the line."""
        return round(self.clock_hz / self.baud)

    def identity(self) -> Identity:
        """What HELLO tells of this link."""
        return Identity(
            LINK_VERSION, VERSION, self.board, self.memory_writable, self.clock_hz, self.memory_bytes, self.image_address,
            self.receive_bytes, self.largest_payload,
        )
