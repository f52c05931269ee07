"""Verilog of an engine, for simulation, synthesis and other people's flows."""

from __future__ import annotations

from amaranth.back import verilog

from permfc.config import EngineConfig

from .engine import Engine

MODULE = "permfc_engine"


def engine_verilog(config: EngineConfig) -> str:
    """Verilog text of the engine for ``config``; its top module is ``permfc_engine``."""
    return verilog.convert(Engine(config), name=MODULE, strip_internal_attrs=True)
