"""Verilog of an engine, alone or with its host link, for simulation, synthesis and other people's flows."""

from __future__ import annotations

from amaranth.back import verilog

from permfc.config import EngineConfig

from .engine import Engine
from .link.config import LinkConfig
from .link.system import System

MODULE = "permfc_engine"
SYSTEM_MODULE = "permfc_system"


def engine_verilog(config: EngineConfig) -> str:
    """Verilog text of the engine for ``config``; its top module is ``permfc_engine``."""
    return verilog.convert(Engine(config), name=MODULE, strip_internal_attrs=True)


def system_verilog(config: EngineConfig, link: LinkConfig) -> str:
    """Verilog text of the engine for ``config`` with its host link; the top module is ``permfc_system``."""
    return verilog.convert(System(config, link), name=SYSTEM_MODULE, strip_internal_attrs=True)
