"""The Verilated engine as a shared library, built once for each configuration and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path

import permfc.config
import permfc.format
import permfc.memory.part
import permfc_hw
from permfc.config import EngineConfig
from permfc.memory import memory as named_memory
from permfc.progress import Progress

from .cache import kept_library
from .memories import HDL, BenchMemory, bench_memory
from .verilator import build_shared_library, find_verilator

HERE = Path(__file__).parent
HARNESS = HERE / "harness.cpp"
# Without memory_*.sv, which all define the module memory_system: a build takes one of them.
BENCH_SOURCES = sorted(path for path in HDL.glob("*.sv") if not path.name.startswith("memory_"))
MEMORY_BYTES = 64 << 20


def _key(config: EngineConfig, memory: BenchMemory, waves: bool, verilog: str | None) -> str:
    """A hash of everything that the library depends on; the gateware by its sources, which is faster than elaborating it."""
    gateware = sorted(Path(permfc_hw.__file__).parent.glob("*.py"))
    shared = [Path(permfc.config.__file__), Path(permfc.format.__file__), Path(permfc.memory.part.__file__)]
    elaborated = verilog is None or memory.controller is not None
    digest = hashlib.sha256()
    tools = [find_verilator().version, importlib.metadata.version("amaranth")]
    facts = [config.as_dict(), repr(memory.memory), memory.parameters, memory.bytes, waves, *tools, verilog]
    digest.update(json.dumps(facts).encode())
    for path in [*BENCH_SOURCES, memory.source, *memory.gateware(), HARNESS, HERE / "verilator.py", *shared, *(gateware if elaborated else [])]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:24]


def engine_library(
    config: EngineConfig, memory: BenchMemory | None = None, *, waves: bool = False, verilog: str | None = None, progress: Progress | None = None
) -> Path:
    """Path of the shared library that simulates one engine with its memory; built when it is not in the cache.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    memory : BenchMemory, optional
        What stands behind the bus; default: an AXI memory of 64 MiB without a part.
    waves : bool
        Whether the library can write waves (VCD); one that cannot is faster.
    verilog : str, optional
        Text of a module ``permfc_engine`` to simulate instead of the one that ``config`` elaborates to.
    progress : callable, optional
        Called with the name of a step, the number of parts done, and the number of parts.

    Raises
    ------
    ToolError
        If Verilator or a C++ compiler is missing or fails.
    """
    memory = memory or bench_memory(named_memory("axi"), config, MEMORY_BYTES)
    def build(library: Path, work: Path) -> None:
        _build(library, work, config, memory, waves, verilog, progress)

    return kept_library(_key(config, memory, waves, verilog), "libpermfc_sim.so", build)


def _build(
    library: Path, work: Path, config: EngineConfig, memory: BenchMemory, waves: bool, verilog: str | None, progress: Progress | None
) -> None:
    if verilog is None:
        from permfc_hw.verilog import engine_verilog  # elaboration loads Amaranth, which a library in the cache does not need

        if progress:
            progress("elaborate", 0, 1)
        verilog = engine_verilog(config)
    parameters = {"DATA_BITS": config.bus_bits, "WORDS": memory.bytes // config.bus_bytes, "OUTSTANDING": config.outstanding}
    generated = {"permfc_engine.v": verilog}
    if memory.controller is not None:
        generated |= {"memory_parameters.sv": memory.parameters, "permfc_memory.v": memory.controller()}
    for file, text in generated.items():
        (library.parent / file).write_text(text)
    sources = [*(library.parent / file for file in generated), *BENCH_SOURCES, memory.source]
    build_shared_library(sources, HARNESS, library, work / "cpp", parameters, waves, progress)
