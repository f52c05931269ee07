"""The complete top of a board: clock, engine with its host link, memory controller, pins."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, Elaboratable, Module
from amaranth.lib import io
from amaranth.lib.wiring import Out

from permfc.config import EngineConfig
from permfc.errors import ConfigError
from permfc.memory import presets
from permfc.memory.part import DramPart
from permfc_hw.flash import FlashReader
from permfc_hw.link.config import LinkConfig
from permfc_hw.link.system import System
from permfc_hw.sdram import SdramController

from . import flash_pins, sdram_pins
from .board import Board
from .simulated_platform import SimulatedPlatform


class Top(Elaboratable):
    """``board`` with the engine ``config``.

    On a :class:`SimulatedPlatform` all is the same but for the PLL: domain ``sync`` comes from outside.

    Raises
    ------
    ConfigError
        If the bus of the engine does not fit the board's memory.
    """

    def __init__(self, board: Board, config: EngineConfig) -> None:
        self._board, self._config = board, config
        memory = presets.memory(board.memory)
        if config.bus_bits % memory.bus_bits:
            raise ConfigError(f"The memory of {board.name} has {memory.bus_bits} data pins; bus_bits must be a multiple, not {config.bus_bits}")
        self._part, clock_hz = memory.part, int(board.device.target_mhz * 1e6)
        self._has_sdram = isinstance(memory.part, DramPart)
        self.link = LinkConfig(
            board=board.name, clock_hz=clock_hz, baud=board.baud, memory_bytes=memory.capacity, image_address=board.image_address,
            memory_writable=self._has_sdram, **board.link_buffers,
        )
        self._system = System(config, self.link)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        board = self._board
        if not isinstance(platform, SimulatedPlatform):
            m.domains.sync = ClockDomain()
            oscillator = platform.request(board.oscillator, dir="-")
            m.submodules.clocks = board.clocks(oscillator, platform.lookup(board.oscillator).clock.frequency, self.link.clock_hz)
        m.submodules.system = system = self._system
        m.submodules.memory = memory = self._sdram(m, platform) if self._has_sdram else self._flash(m, platform)
        for name, member in system.signature.members.items():
            if name.startswith("m_axi_"):
                ours, theirs = getattr(system, name), getattr(memory, name.replace("m_axi_", "s_axi_"))
                m.d.comb += theirs.eq(ours) if member.flow == Out else ours.eq(theirs)
        self._connect_uart(m, platform)
        self._connect_lamps(m, platform, [memory.initialised, system.m_axi_rvalid, ~system.uart_rx | ~system.uart_tx])
        return m

    def _sdram(self, m: Module, platform: object) -> SdramController:
        controller = SdramController(self._part, self.link.clock_hz, self._config.bus_bits, pin_delay=sdram_pins.PIN_DELAY)
        m.submodules.memory_pins = sdram_pins.SdramPins(controller, platform.request("sdram", dir="-"))
        return controller

    def _flash(self, m: Module, platform: object) -> FlashReader:
        reader = FlashReader(self._part, self.link.clock_hz, self._config.bus_bits, pin_delay=flash_pins.PIN_DELAY)
        m.submodules.memory_pins = flash_pins.FlashPins(reader, platform.request("spi_flash_4x", dir="-"))
        return reader

    def _connect_uart(self, m: Module, platform: object) -> None:
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [self._system.uart_rx.eq(rx.i), tx.o.eq(self._system.uart_tx)]

    def _connect_lamps(self, m: Module, platform: object, states: list) -> None:
        """Memory ready, memory read, link in use: as many as the board has lamps."""
        for (name, number), state in zip(self._board.lamps, states, strict=False):
            m.submodules[f"{name}_{number}"] = lamp = io.FFBuffer("o", platform.request(name, number, dir="-"))
            m.d.comb += lamp.o.eq(state)
