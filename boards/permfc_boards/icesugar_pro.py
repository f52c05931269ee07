"""ICESugar-Pro (MuseLab): ECP5-25F module, 32 MiB of SDR SDRAM, serial port of its iCELink."""

from __future__ import annotations

from amaranth_boards.icesugar_pro import ICESugarProPlatform

from permfc.config import EngineConfig

from .board import Board
from .clocks import Ecp5Clocks
from .devices import FpgaDevice

_CONFIG = EngineConfig(lanes=16, bus_bits=16)  # as wide as the SDRAM: a word a cycle

ICESUGAR_PRO = Board(
    name="icesugar-pro",
    platform=ICESugarProPlatform,
    device=FpgaDevice(
        name="icesugar-pro", part="LFE5U-25F-6BG256", family="ecp5", nextpnr_arguments=("--25k", "--package", "CABGA256", "--speed", "6"),
        synthesis_options="-nowidelut", target_mhz=100.0, config=_CONFIG,
    ),
    oscillator="clk25",
    clocks=Ecp5Clocks,
    memory="sdr-100",
    image_address=0,
    config=_CONFIG,
    baud=1_000_000,
    link_buffers={"largest_payload": 1024, "receive_bytes": 4096},
    lamps=(),  # one RGB LED, left alone
    programmer=("-c", "cmsisdap"),
)
