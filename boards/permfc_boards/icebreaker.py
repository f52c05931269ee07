"""iCEBreaker (1BitSquared): iCE40 UP5K, FT2232H serial port; the image lies in its 16 MiB QSPI flash behind the bitstream."""

from __future__ import annotations

from amaranth_boards.icebreaker import ICEBreakerPlatform

from .board import Board
from .clocks import Ice40Clocks
from .devices import DEVICES

ICEBREAKER = Board(
    name="icebreaker",
    platform=ICEBreakerPlatform,
    device=DEVICES["up5k"],
    oscillator="clk12",
    clocks=Ice40Clocks,
    memory="qspi-48",
    image_address=1 << 20,  # a UP5K bitstream takes 104,090 bytes from address 0
    config=DEVICES["up5k"].config,
    baud=3_000_000,
    link_buffers={"largest_payload": 256, "receive_bytes": 512},  # a block RAM each
    lamps=(("led_g", 0), ("led_r", 0)),
    programmer=("-b", "ice40_generic"),
)
