"""What a board is: its platform, its clock, its memory, its engine. Each board is a file that makes one; see docs/guide-new-board.md."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.build import Platform
from amaranth.hdl import Elaboratable

from permfc.config import EngineConfig

from .devices import FpgaDevice


@dataclass(frozen=True)
class Board:
    """One board that a complete top can be built for.

    Members
    -------
    name : str
        What the command line calls it, and what it answers when the host asks; up to 16 characters.
    platform : class
        Its description in amaranth-boards.
    device : FpgaDevice
        Its FPGA, for the tools; ``target_mhz`` is the clock.
    oscillator : str
        Resource of the oscillator that feeds the PLL.
    clocks : class
        ``Ecp5Clocks`` or ``Ice40Clocks``.
    memory : str
        Name of the memory in :mod:`permfc.memory.presets`; its pins are the resource ``sdram`` or ``spi_flash_4x``.
    image_address : int
        Where an image belongs in the memory.
    config : EngineConfig
        The engine built unless the user says otherwise.
    baud : int
        Of the host link.
    link_buffers : dict of str to int
        ``largest_payload`` and ``receive_bytes`` of the link.
    lamps : tuple of (resource, number)
        Up to three: memory ready, memory read, link in use.
    programmer : tuple of str
        Arguments of openFPGALoader before the bitstream.
    """

    name: str
    platform: type[Platform]
    device: FpgaDevice
    oscillator: str
    clocks: type[Elaboratable]
    memory: str
    image_address: int
    config: EngineConfig
    baud: int
    link_buffers: dict[str, int]
    lamps: tuple[tuple[str, int], ...]
    programmer: tuple[str, ...]
