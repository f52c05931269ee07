"""Command traces for DRAMPower, so that anyone can recompute an energy with the tool that the field uses.

The memory specifications that belong to the traces come with DRAMPower under the names of our parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from ..errors import ConfigError
from ..files import write_file
from .presets import MEMORY_NAMES, Memory
from .trace import Command, CommandTrace

# Commands by DRAMPower's names; loading a mode register costs nothing in its model.
_NAMES = {
    Command.ACTIVATE: "ACT",
    Command.READ: "RD",
    Command.WRITE: "WR",
    Command.PRECHARGE: "PRE",
    Command.PRECHARGE_ALL: "PREA",
    Command.REFRESH: "REF",
}
_VERSIONS = {4: "4.1", 5: "5"}
_VERSION_BY_KIND = {"ddr3": 4, "lpddr3": 4, "ddr4": 5, "lpddr4": 5}


def drampower_version(memory: Memory) -> int:
    """The DRAMPower that knows memories of this kind, 4 (4.1) or 5: what :func:`write_drampower` takes.

    Raises
    ------
    ConfigError
        If none does.
    """
    try:
        return _VERSION_BY_KIND[memory.part.kind]
    except (AttributeError, KeyError):
        known = ", ".join(name for name in MEMORY_NAMES if name.startswith(tuple(_VERSION_BY_KIND)))
        raise ConfigError(f"DRAMPower knows no memory like {memory.name}; choose one of {known}") from None


def write_drampower(path: str | os.PathLike[str], trace: CommandTrace, version: int = 5) -> None:
    """Write a trace as DRAMPower's command line reads it.

    Parameters
    ----------
    path : path
    trace : CommandTrace
        Every READ and WRITE counts as one whole burst there.
    version : int
        4: ``cycle,command,bank`` (DRAMPower 4.1); 5: ``cycle,command,rank,bank group,bank,row,column`` (DRAMPower 5).

    Raises
    ------
    ConfigError
        If the version is another one, or the trace begins with open banks, which DRAMPower cannot know.
    FormatError
        If the file cannot be written.
    """
    if version not in _VERSIONS:
        raise ConfigError(f"DRAMPower traces exist for versions {' and '.join(map(str, _VERSIONS))}, not {version!r}")
    if trace.open_banks:
        raise ConfigError("This trace begins with open banks, which DRAMPower does not know: export it from the start of the device")
    lines = _lines_4(trace) if version == 4 else _lines_5(trace)
    write_file(path, "".join(f"{line}\n" for line in lines).encode())


def _named(trace: CommandTrace) -> CommandTrace:
    return trace.select(np.isin(trace.command, list(_NAMES)))


def _lines_4(trace: CommandTrace) -> Iterator[str]:
    commands = _named(trace)
    for cycle, command, bank in zip(commands.cycle.tolist(), commands.command.tolist(), commands.bank.tolist(), strict=True):
        yield f"{cycle},{_NAMES[command]},{bank}"
    yield f"{trace.length},NOP,0"


def _lines_5(trace: CommandTrace) -> Iterator[str]:
    commands = _named(trace)
    names = {**_NAMES, Command.REFRESH: "REFA"}
    columns = (commands.cycle, commands.command, commands.bank, commands.row, commands.column)
    for cycle, command, bank, row, column in zip(*(column.tolist() for column in columns), strict=True):
        yield f"{cycle},{names[command]},0,0,{bank},{row},{column}"
    yield f"{trace.length},END,0,0,0,0,0"
