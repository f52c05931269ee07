"""What a memory does between inferences: nothing, standby for some time, and power-down where it pays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from .energy import Energy, energy
from .part import DramPart
from .presets import Memory
from .trace import Command, CommandTrace

MOST_MILLISECONDS = 1e9
_SIMULATED_INTERVALS = 16  # of refreshes; a longer standby repeats the last of them


@dataclass(frozen=True)
class IdlePolicy:
    """What is counted beside the run itself.

    Members
    -------
    milliseconds : float
        Standby with all banks closed that follows each inference, refreshes included.
    power_down : bool
        Whether a memory without an open bank powers down wherever this is longer than waking up.
    """

    milliseconds: float = 0.0
    power_down: bool = False

    @staticmethod
    def parse(text: str) -> IdlePolicy:
        """The policy of ``none``, ``MS``, ``powerdown`` or ``powerdown:MS``.

        Raises
        ------
        ConfigError
            If the text is none of them.
        """
        head, _, tail = text.partition(":")
        power_down = head == "powerdown"
        if text in ("none", "powerdown"):
            return IdlePolicy(0.0, power_down)
        try:
            milliseconds = float(tail if power_down else text)
        except ValueError:
            milliseconds = -1.0
        if not 0 <= milliseconds <= MOST_MILLISECONDS:
            forms = "none, milliseconds, powerdown or powerdown:milliseconds"
            raise ConfigError(f"The idle policy must be {forms}, not {text!r}; {MOST_MILLISECONDS:.0f} milliseconds at most")
        return IdlePolicy(milliseconds, power_down)

    def __str__(self) -> str:
        """One phrase for tables."""
        time = f"{self.milliseconds:g} ms of standby after each inference" if self.milliseconds else "no idle time"
        return time + (", power-down whenever no bank is open" if self.power_down else "")


def with_idle(trace: CommandTrace, memory: Memory, milliseconds: float) -> CommandTrace:
    """A trace followed by standby: open banks are closed, and the refreshes go on at their interval (modelled, not counted)."""
    return _with_standby(trace, memory, round(milliseconds * 1e-3 * memory.clock_hz))


def _with_standby(trace: CommandTrace, memory: Memory, length: int) -> CommandTrace:
    none = np.zeros(0, np.int64)
    if not length:
        return trace
    if not isinstance(memory.part, DramPart):
        return trace.then(CommandTrace.of(none, none, none, none, none, none, length))
    timing, clock = memory.part.timing, memory.clock_hz
    interval, closing = timing.cycles("trefi", clock), timing.cycles("trp", clock)
    opened = trace.banks_left_open()
    refreshes = trace.cycle[trace.command == Command.REFRESH]
    due = (int(refreshes[-1]) if refreshes.size else 0) + interval - trace.length
    refresh = np.arange(max(due, closing if opened else 0), length, interval)
    close = none if not opened else np.zeros(1, np.int64)
    cycle = np.concatenate([close, refresh])
    command = np.repeat([Command.PRECHARGE_ALL, Command.REFRESH], [close.size, refresh.size])
    return trace.then(CommandTrace.of(cycle, command, 0, 0, 0, 0, length))


def power_down_cycles(trace: CommandTrace, memory: Memory) -> int:
    """Cycles a memory can spend in power-down: stretches without an open bank or data, where they are longer than the exit from it.

    A stretch begins when its last command has taken effect (tRP, tRFC, or the last data word); the exit counts as standby.
    """
    part, clock = memory.part, memory.clock_hz
    busy = np.zeros(len(trace) + 1, np.int64)
    if isinstance(part, DramPart):
        exit_cycles = part.timing.cycles("txp", clock)
        busy[1:][np.isin(trace.command, (Command.PRECHARGE, Command.PRECHARGE_ALL))] = part.timing.cycles("trp", clock)
        busy[1:][trace.command == Command.REFRESH] = part.timing.cycles("trfc", clock)
        opened = np.concatenate([[trace.open_banks], trace.open_after()]) != 0
    else:
        exit_cycles = int(np.ceil(part.txp * 1e-9 * clock))
        busy[1:] = part.command_clocks + trace.beats
        opened = np.zeros(len(trace) + 1, bool)
    stretch = np.diff(np.concatenate([[0], trace.cycle, [trace.length]])) - busy - exit_cycles
    return int(np.maximum(stretch[~opened], 0).sum())


def energy_with_idle(trace: CommandTrace, memory: Memory, policy: IdlePolicy) -> Energy:
    """Energy of a trace and of what the policy adds to it, in joules; raises ConfigError as ``energy`` does."""
    def with_standby(cycles: int) -> Energy:
        whole = _with_standby(trace, memory, cycles)
        return energy(whole, memory, power_down_cycles(whole, memory) if policy.power_down else 0)

    length = round(policy.milliseconds * 1e-3 * memory.clock_hz)
    interval = memory.part.timing.cycles("trefi", memory.clock_hz) if isinstance(memory.part, DramPart) else max(length, 1)
    repeats = max(length // interval - _SIMULATED_INTERVALS, 0)
    short = with_standby(length - repeats * interval)
    if not repeats:
        return short
    one_more = with_standby(length - (repeats - 1) * interval)
    return short + (one_more + short.scaled(-1)).scaled(repeats)
