"""The Verilated engine as a shared library, built once for each configuration and kept in the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path

import permfc.config
import permfc.format
import permfc_hw
from permfc.config import EngineConfig

from .verilator import Progress, build_shared_library, find_verilator

HERE = Path(__file__).parent
HARNESS = HERE / "harness.cpp"
BENCH_SOURCES = sorted((HERE / "hdl").glob("*.sv"))
MEMORY_BYTES = 64 << 20


def cache_folder() -> Path:
    """Where built libraries are kept: ``$XDG_CACHE_HOME/permfc``, else ``~/.cache/permfc``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "permfc"


def _key(config: EngineConfig, memory_bytes: int, waves: bool, verilog: str | None) -> str:
    """A hash of everything that the library depends on; the gateware by its sources, which is faster than elaborating it."""
    gateware = sorted(Path(permfc_hw.__file__).parent.rglob("*.py"))
    shared = [Path(permfc.config.__file__), Path(permfc.format.__file__)]
    digest = hashlib.sha256()
    facts = [config.as_dict(), memory_bytes, waves, find_verilator().version, importlib.metadata.version("amaranth"), verilog]
    digest.update(json.dumps(facts).encode())
    for path in [*BENCH_SOURCES, HARNESS, HERE / "verilator.py", *shared, *(gateware if verilog is None else [])]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:24]


def engine_library(
    config: EngineConfig, *, waves: bool = False, memory_bytes: int = MEMORY_BYTES, verilog: str | None = None, progress: Progress | None = None
) -> Path:
    """Path of the shared library that simulates one engine with its memory; built when it is not in the cache.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    waves : bool
        Whether the library can write waves (VCD); one that cannot is faster.
    memory_bytes : int
        Size of the simulated memory.
    verilog : str, optional
        Text of a module ``permfc_engine`` to simulate instead of the one that ``config`` elaborates to.
    progress : callable, optional
        Called with the name of a step, the number of parts done, and the number of parts.

    Raises
    ------
    ToolError
        If Verilator or a C++ compiler is missing or fails.
    """
    key = _key(config, memory_bytes, waves, verilog)
    kept = cache_folder() / key / "libpermfc_sim.so"
    if kept.is_file():
        return kept
    kept.parent.parent.mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building the same library: wait for it
        if not kept.is_file():
            _build(kept, config, waves, memory_bytes, verilog, progress)
    return kept


def _build(kept: Path, config: EngineConfig, waves: bool, memory_bytes: int, verilog: str | None, progress: Progress | None) -> None:
    """Build in a temporary folder and rename it, so that a library in the cache is always whole."""
    if verilog is None:
        from permfc_hw.verilog import engine_verilog  # elaboration loads Amaranth, which a library in the cache does not need

        if progress:
            progress("elaborate", 0, 1)
        verilog = engine_verilog(config)
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache_folder()) as name:
        work, finished = Path(name), Path(name) / "finished"
        finished.mkdir()
        engine = finished / "permfc_engine.v"
        engine.write_text(verilog)
        parameters = {"DATA_BITS": config.bus_bits, "WORDS": memory_bytes // config.bus_bytes, "OUTSTANDING": config.outstanding}
        build_shared_library([*BENCH_SOURCES, engine], HARNESS, finished / kept.name, work / "cpp", parameters, waves, progress)
        finished.rename(kept.parent)
