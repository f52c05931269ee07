"""Verilog of an engine, and of a memory controller, for simulation, synthesis and other people's flows."""

from __future__ import annotations

from amaranth.back import verilog

from permfc.config import EngineConfig
from permfc.memory.part import DramPart, FlashPart

from .engine import Engine
from .flash import FlashReader
from .sdram import SdramController

MODULE = "permfc_engine"
SDRAM_MODULE = "permfc_sdram"
FLASH_MODULE = "permfc_flash"


def engine_verilog(config: EngineConfig) -> str:
    """Verilog text of the engine for ``config``; its top module is ``permfc_engine``."""
    return verilog.convert(Engine(config), name=MODULE, strip_internal_attrs=True)


def sdram_verilog(part: DramPart, clock_hz: float, bus_bits: int) -> str:
    """Verilog text of the controller of an SDR SDRAM; its top module is ``permfc_sdram``."""
    return verilog.convert(SdramController(part, clock_hz, bus_bits), name=SDRAM_MODULE, strip_internal_attrs=True)


def flash_verilog(part: FlashPart, clock_hz: float, bus_bits: int) -> str:
    """Verilog text of the reader of a QSPI flash; its top module is ``permfc_flash``."""
    return verilog.convert(FlashReader(part, clock_hz, bus_bits), name=FLASH_MODULE, strip_internal_attrs=True)
