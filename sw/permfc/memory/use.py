"""What a layer, or a whole inference, takes of a memory: commands, time, energy; means over inferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .energy import Energy
from .idle import IdlePolicy, energy_with_idle
from .part import DramPart
from .presets import Memory
from .trace import Command, CommandTrace


@dataclass(frozen=True)
class MemoryUse:
    """Means per inference.

    Members
    -------
    cycles : float
        Clocks of the memory.
    seconds : float
        The same time.
    commands : dict of str to float
        Number of commands by lower-case name.
    bytes : float
        That READs moved at the data pins.
    row_hit_rate : float or None
        Part of the READs that found their row open; None of a flash, which has no rows.
    utilisation : float
        Part of the cycles in which the data pins carried data.
    energy : Energy
        In joules, what the idle policy adds included.
    """

    cycles: float
    seconds: float
    commands: dict[str, float]
    bytes: float
    row_hit_rate: float | None
    utilisation: float
    energy: Energy

    def as_dict(self) -> dict[str, object]:
        """Everything by name, for JSON."""
        return {**self.__dict__, "energy": self.energy.as_dict()}


def memory_use(traces: Sequence[CommandTrace], memory: Memory, policy: IdlePolicy) -> MemoryUse:
    """The mean over one trace for each inference.

    Raises
    ------
    ConfigError
        If the memory has no part, and so no currents.
    """
    count = len(traces)
    cycles = sum(trace.length for trace in traces) / count
    words = sum(int(trace.beats[trace.is_access].sum()) for trace in traces) / count
    accesses = np.array([np.count_nonzero(trace.is_access) for trace in traces])
    hits = sum(float(number * trace.row_hit_rate) for number, trace in zip(accesses, traces, strict=True))
    total = sum((energy_with_idle(trace, memory, policy) for trace in traces), Energy())
    counts = [trace.counts() for trace in traces]
    return MemoryUse(
        cycles=cycles,
        seconds=cycles / memory.clock_hz,
        commands={name: sum(one[name] for one in counts) / count for name in counts[0]},
        bytes=words * memory.bus_bits / 8,
        row_hit_rate=(float(hits / accesses.sum()) if accesses.sum() else 0.0) if isinstance(memory.part, DramPart) else None,
        utilisation=words / memory.part.data_rate / cycles if cycles else 0.0,
        energy=total.scaled(1 / count),
    )


def read_addresses(trace: CommandTrace, memory: Memory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First byte, end (excluded) and cycle of each READ of a DRAM's trace, int64 [reads] each; addresses are mapped as row, bank, column."""
    reads, part = trace.select(trace.command == Command.READ), memory.part
    word = (reads.row.astype(np.int64) * part.banks + reads.bank) * part.columns + reads.column
    word_bytes = memory.bus_bits // 8
    return word * word_bytes, (word + reads.beats) * word_bytes, reads.cycle
