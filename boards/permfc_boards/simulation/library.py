"""The Verilated top of a board with its memory as a shared library, built once for each board and engine and kept in the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import Fragment

from permfc.config import EngineConfig
from permfc.memory import DramPart, Part, memory
from permfc.progress import Progress
from permfc_sim.library import cache_folder
from permfc_sim.memories import HDL, flash_parameters, parameter_package, sdram_parameters
from permfc_sim.verilator import build_shared_library, find_verilator

from ..board import Board
from ..simulated_platform import SimulatedPlatform
from ..top import Top

HERE = Path(__file__).parent
HARNESS = HERE / "harness.cpp"
LIBRARY = "libpermfc_board.so"


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
    kept = cache_folder() / digest.hexdigest()[:24] / LIBRARY
    kept.parent.parent.mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{kept.parent.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building the same library: wait for it
        if not kept.is_file():
            _build(kept, {"memory_parameters.sv": parameters, "top.v": top}, sources, progress)
    return kept


def _bench(part: Part, clock_hz: float) -> tuple[str, list[Path]]:
    """What the memory model at the board's clock needs: the package of its parameters; its sources, packages first, with the test bench."""
    if isinstance(part, DramPart):
        parameters, models, bench = sdram_parameters(part, clock_hz), ("sdram_commands", "sdram_rules", "sdram_model"), "sdram_board.sv"
    else:
        parameters, models, bench = flash_parameters(part, clock_hz), ("flash_model",), "flash_board.sv"
    return parameter_package(parameters), [*(HDL / f"{name}.sv" for name in (*models, "violation_log")), HERE / bench]


def _build(kept: Path, texts: dict[str, str], sources: list[Path], progress: Progress | None) -> None:
    """Build in a temporary folder and rename it, so that a library in the cache is always whole."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache_folder()) as name:
        work, finished = Path(name), Path(name) / "finished"
        finished.mkdir()
        written = []
        for file, text in texts.items():
            written.append(work / file)
            written[-1].write_text(text)
        build_shared_library([written[0], *sources, *written[1:]], HARNESS, finished / LIBRARY, work / "cpp", {}, progress=progress)
        finished.rename(kept.parent)
