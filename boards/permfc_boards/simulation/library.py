"""The Verilated top of a board with its memory as a shared library, built once for each board and engine and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import Fragment

from permfc.config import EngineConfig
from permfc.memory import DramPart, Part, memory
from permfc.progress import Progress
from permfc_sim.cache import kept_library
from permfc_sim.memories import HDL, flash_parameters, parameter_package, sdram_parameters
from permfc_sim.verilator import build_shared_library, find_verilator

from ..board import Board
from ..simulated_platform import SimulatedPlatform
from ..top import Top

HERE = Path(__file__).parent
HARNESS = HERE / "harness.cpp"


def board_verilog(board: Board, config: EngineConfig) -> str:
    """Verilog of the module ``top``: the board's complete top but for its PLL, with its pins as ports ``<resource>_<number>__<pin>__i`` and so on."""
    platform = SimulatedPlatform(board.platform)
    fragment = Fragment.get(Top(board, config), platform)  # requests the pins
    return verilog.convert(fragment, name="top", ports=platform.signals, strip_internal_attrs=True)


def board_library(board: Board, config: EngineConfig, progress: Progress | None = None) -> Path:
    """Path of the shared library that simulates ``board`` with the engine ``config``; built when it is not in the cache.

    Raises
    ------
    ToolError
        If Verilator or a C++ compiler is missing or fails.
    """
    if progress:
        progress("elaborate", 0, 1)
    top = board_verilog(board, config)
    parameters, sources = _bench(memory(board.memory).part, board.device.target_mhz * 1e6)
    digest = hashlib.sha256(repr(find_verilator().version).encode())
    for text in [top.encode(), parameters.encode(), HARNESS.read_bytes(), *(source.read_bytes() for source in sources)]:
        digest.update(text)

    def build(library: Path, work: Path) -> None:
        package, board_top = library.parent / "memory_parameters.sv", library.parent / "top.v"
        package.write_text(parameters)
        board_top.write_text(top)
        build_shared_library([package, *sources, board_top], HARNESS, library, work / "cpp", {}, progress=progress)

    return kept_library(digest.hexdigest()[:24], "libpermfc_board.so", build)


def _bench(part: Part, clock_hz: float) -> tuple[str, list[Path]]:
    """What the memory model at the board's clock needs: the package of its parameters; its sources, packages first, with the test bench."""
    if isinstance(part, DramPart):
        parameters, models, bench = sdram_parameters(part, clock_hz), ("sdram_commands", "sdram_rules", "sdram_model"), "sdram_board.sv"
    else:
        parameters, models, bench = flash_parameters(part, clock_hz), ("flash_model",), "flash_board.sv"
    return parameter_package(parameters), [*(HDL / f"{name}.sv" for name in (*models, "violation_log")), HERE / bench]
