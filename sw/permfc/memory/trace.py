"""The commands that crossed a memory's pins, or that a modelled controller issued: arrays in order of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np


class Command(IntEnum):
    """What a memory was told. REFRESH refreshes all banks; READ of a serial flash is one continuous-read command."""

    ACTIVATE = 0
    READ = 1
    WRITE = 2
    PRECHARGE = 3
    PRECHARGE_ALL = 4
    REFRESH = 5
    LOAD_MODE = 6


@dataclass(frozen=True, eq=False)
class CommandTrace:
    """Commands in order of time.

    Members
    -------
    cycle : int64 [commands]
        Memory clock cycles, from 0.
    command : uint8 [commands]
        Values of Command.
    bank : uint8 [commands]
    row : int32 [commands]
        Row of an ACTIVATE; the open row of a READ or WRITE.
    column : int32 [commands]
        Column of a READ or WRITE.
    beats : int32 [commands]
        Data words of the part's width that a READ or WRITE moved at the pins; an interrupted burst moves fewer than the burst length.
    length : int
        Cycles that the trace lasts.
    open_banks : int
        Banks that are open when the trace begins, one bit a bank.
    """

    cycle: np.ndarray
    command: np.ndarray
    bank: np.ndarray
    row: np.ndarray
    column: np.ndarray
    beats: np.ndarray
    length: int
    open_banks: int = 0

    def __len__(self) -> int:
        """Number of commands."""
        return len(self.cycle)

    @staticmethod
    def of(cycle: np.ndarray, command: np.ndarray, bank: np.ndarray, row: np.ndarray, column: np.ndarray, beats: np.ndarray, length: int,
           open_banks: int = 0) -> CommandTrace:
        """A trace from sequences of any integer type; scalars stand for all commands."""
        size = np.size(cycle)
        types = {"cycle": np.int64, "command": np.uint8, "bank": np.uint8, "row": np.int32, "column": np.int32, "beats": np.int32}
        arrays = dict(zip(types, (cycle, command, bank, row, column, beats), strict=True))
        arrays = {name: np.ascontiguousarray(np.broadcast_to(values, size), types[name]) for name, values in arrays.items()}
        return CommandTrace(**arrays, length=int(length), open_banks=int(open_banks))

    def select(self, chosen: np.ndarray | slice) -> CommandTrace:
        """The chosen commands at their cycles; the length stays."""
        names = "cycle", "command", "bank", "row", "column", "beats"
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def window(self, begin: int, end: int) -> CommandTrace:
        """The commands of cycles ``begin`` to ``end`` (excluded), counted from ``begin``."""
        first, last = np.searchsorted(self.cycle, [begin, end])
        inside = self.select(slice(first, last))
        opened = self.select(slice(0, first)).banks_left_open()
        return replace(inside, cycle=inside.cycle - begin, length=end - begin, open_banks=opened)

    def then(self, following: CommandTrace) -> CommandTrace:
        """This trace and another one right behind it."""
        names = "command", "bank", "row", "column", "beats"
        joined = {name: np.concatenate([getattr(self, name), getattr(following, name)]) for name in names}
        cycle = np.concatenate([self.cycle, following.cycle + self.length])
        return replace(self, cycle=cycle, length=self.length + following.length, **joined)

    def open_after(self) -> np.ndarray:
        """The banks that are open after each command, int64 [commands], one bit a bank."""
        everything = self.command == Command.PRECHARGE_ALL
        opens = self.command == Command.ACTIVATE
        switches = opens | (self.command == Command.PRECHARGE)
        opened = np.zeros(len(self), np.int64)
        for bank in range(max(self.open_banks.bit_length(), int(self.bank.max(initial=0)) + 1)):
            events = np.flatnonzero(everything | (switches & (self.bank == bank)))
            states = np.concatenate([[self.open_banks >> bank & 1], opens[events]]).astype(np.int64)
            opened |= np.repeat(states, np.diff(events, prepend=0, append=len(self))) << bank
        return opened

    def banks_left_open(self) -> int:
        """The banks that are open at the end, one bit a bank."""
        return int(self.open_after()[-1]) if len(self) else self.open_banks

    def open_cycles(self) -> int:
        """Cycles in which any bank is open."""
        edges = np.concatenate([[0], self.cycle, [self.length]])
        is_open = np.concatenate([[self.open_banks], self.open_after()]) != 0
        return int(np.diff(edges)[is_open].sum())

    def counts(self) -> dict[str, int]:
        """Number of commands by lower-case name, zeros included."""
        numbers = np.bincount(self.command, minlength=len(Command))
        return {command.name.lower(): int(numbers[command]) for command in Command}

    @property
    def is_access(self) -> np.ndarray:
        """Value of which commands move data, bool [commands]."""
        return (self.command == Command.READ) | (self.command == Command.WRITE)

    @property
    def row_hit_rate(self) -> float:
        """Value of the fraction of READs and WRITEs that are not the first since their bank's ACTIVATE; 0.0 without any."""
        used = self.is_access | (self.command == Command.ACTIVATE)
        command, bank = self.command[used], self.bank[used]
        order = np.argsort(bank, kind="stable")
        command, bank = command[order], bank[order]
        opening = (command[:-1] == Command.ACTIVATE) & (command[1:] != Command.ACTIVATE) & (bank[:-1] == bank[1:])
        accesses = np.count_nonzero(command != Command.ACTIVATE)
        return 1 - np.count_nonzero(opening) / accesses if accesses else 0.0

    def bytes(self, bus_bits: int) -> int:
        """Bytes that READs and WRITEs moved over ``bus_bits`` data pins (``Memory.bus_bits``)."""
        return int(self.beats[self.is_access].sum()) * bus_bits // 8

    def data_cycles(self, data_rate: int) -> float:
        """Cycles in which the data pins carry data, with ``data_rate`` words a cycle."""
        return int(self.beats[self.is_access].sum()) / data_rate

    def utilisation(self, data_rate: int) -> float:
        """Fraction of the cycles in which the data pins carry data."""
        return self.data_cycles(data_rate) / self.length if self.length else 0.0
