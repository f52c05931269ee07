"""ULX3S (radiona.org): ECP5, 32 MiB of SDR SDRAM, FT231X serial port."""

from __future__ import annotations

from amaranth_boards.ulx3s import ULX3S_25F_Platform, ULX3S_85F_Platform

from permfc.config import EngineConfig

from .board import Board
from .clocks import Ecp5Clocks
from .devices import FpgaDevice


def _ulx3s(size: str, platform: type, lanes: int) -> Board:
    config = EngineConfig(lanes=lanes, bus_bits=16)  # as wide as the SDRAM: a word a cycle
    device = FpgaDevice(
        name=f"ulx3s-{size}f", part=f"LFE5U-{size}F-6BG381", family="ecp5",
        nextpnr_arguments=(f"--{size}k", "--package", "CABGA381", "--speed", "6"), synthesis_options="-nowidelut", target_mhz=100.0, config=config,
    )
    return Board(
        name=device.name, platform=platform, device=device, oscillator="clk25", clocks=Ecp5Clocks, memory="sdr-100", image_address=0, config=config,
        baud=3_000_000, link_buffers={"largest_payload": 1024, "receive_bytes": 4096}, lamps=(("led", 0), ("led", 1), ("led", 2)),
        programmer=("-b", "ulx3s"),
    )


ULX3S_85F = _ulx3s("85", ULX3S_85F_Platform, lanes=32)
ULX3S_25F = _ulx3s("25", ULX3S_25F_Platform, lanes=16)
