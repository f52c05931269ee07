"""The commands that a good controller would give a memory for a list of reads: MODELLED, for memories whose controller is not simulated.

Open pages; addresses in the order row, bank, column; a row is opened as soon as its read is known and its bank is free, behind the reads before it;
refreshes are postponed up to the standard's eight and given together, or early when nothing is asked for. Reads are served in order, as an AXI
port without IDs demands. Commands do not compete for the command pins, and banks of DDR4 are taken to be interleaved over bank groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .part import MOST_POSTPONED, DramPart, FlashPart
from .presets import Memory
from .reads import Reads
from .trace import Command, CommandTrace


def command_stream(reads: Reads, memory: Memory, *, reads_clock_hz: float) -> CommandTrace:
    """The modelled trace of reads that arrive at their cycles of another clock.

    Parameters
    ----------
    reads : Reads
    memory : Memory
        With a part.
    reads_clock_hz : float
        Clock of ``reads.cycle``.

    Returns
    -------
    CommandTrace
        It ends when the last data have crossed the pins, and the refreshes that became due are done.
        A DDR burst is always whole; one of an SDR SDRAM ends where its read does.

    Raises
    ------
    ConfigError
        If the reads reach beyond the memory.
    """
    if len(reads):
        memory.check_holds(int((reads.address + reads.bytes).max()))
    arrival = np.ceil(reads.cycle * (memory.clock_hz / reads_clock_hz)).astype(np.int64)
    if isinstance(memory.part, FlashPart):
        return _flash_stream(reads, arrival, memory)
    return _DramSchedule(memory.part, memory.clock_hz).trace(_pieces(reads, arrival, memory))


def _flash_stream(reads: Reads, arrival: np.ndarray, memory: Memory) -> CommandTrace:
    """One READ for each run of reads that follow each other without a gap in address."""
    end = reads.address + reads.bytes
    fresh = np.concatenate([[True], reads.address[1:] != end[:-1]]) if len(reads) else np.zeros(0, bool)
    clocks = np.where(fresh, memory.part.command_clocks, 0) + reads.bytes.astype(np.int64) * 8 // memory.bus_bits
    # Each read begins when it has arrived and the one before is done: done[i] = max over j <= i of arrival[j] + clocks[j..i].
    before = np.cumsum(clocks) - clocks
    begin = np.maximum.accumulate(arrival - before) + before
    run = np.cumsum(fresh) - 1
    beats = np.bincount(run, reads.bytes * 8 // memory.bus_bits).astype(np.int64) if len(reads) else np.zeros(0, np.int64)
    length = int((begin + clocks)[-1]) if len(reads) else 0
    return CommandTrace.of(begin[fresh], Command.READ, 0, 0, reads.address[fresh], beats, length)


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Parts of reads that lie in one row: int64 [pieces] each. ``words`` from ``column`` on, in bursts of the part's length."""

    arrival: np.ndarray
    row: np.ndarray
    bank: np.ndarray
    column: np.ndarray
    words: np.ndarray


def _pieces(reads: Reads, arrival: np.ndarray, memory: Memory) -> _Pieces:
    part, word_bytes = memory.part, memory.bus_bits // 8
    grain = 1 if part.data_rate == 1 else part.burst_length  # words that are read at least, from a multiple of so many on
    begin = reads.address // word_bytes // grain * grain
    end = -(-(reads.address + reads.bytes) // (word_bytes * grain)) * grain
    first, last = begin // part.columns, (end - 1) // part.columns
    count = last - first + 1
    which = np.repeat(np.arange(len(reads)), count)
    page = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    start = np.maximum(begin[which], page * part.columns)
    stop = np.minimum(end[which], (page + 1) * part.columns)
    return _Pieces(arrival[which], page // part.banks, page % part.banks, start - page * part.columns, stop - start)


@dataclass
class _DramSchedule:
    """Gives each piece its time. Cycles are the memory's; a bank's fields tell what happened there last."""

    part: DramPart
    clock_hz: float
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)  # cycle, command, bank, row: all but READs
    ended: int = 0  # when the last refreshes are over

    def trace(self, pieces: _Pieces) -> CommandTrace:
        """The commands for the pieces, in order of time."""
        part = self.part
        cycles = {name: part.timing.cycles(name, self.clock_hz) for name in ("trcd", "trp", "tras", "trc", "trrd", "tfaw", "trtp", "trfc", "trefi")}
        begin = self._begin_times(pieces, cycles)
        reads = self._reads(pieces, begin)
        others = np.array(self.rows, np.int64).reshape(-1, 4)
        columns = [
            np.concatenate([others[:, 0], reads["cycle"]]), np.concatenate([others[:, 1], np.full(len(reads["cycle"]), Command.READ)]),
            np.concatenate([others[:, 2], reads["bank"]]), np.concatenate([others[:, 3], reads["row"]]),
            np.concatenate([np.zeros(len(others), np.int64), reads["column"]]), np.concatenate([np.zeros(len(others), np.int64), reads["beats"]]),
        ]
        order = np.argsort(columns[0], kind="stable")
        latency = part.timing.cas_latency(self.clock_hz)
        ended = int(reads["cycle"][-1] + -(-int(reads["beats"][-1]) // part.data_rate) + latency) if len(begin) else 0
        return CommandTrace.of(*(column[order] for column in columns), length=max(ended, self.ended))

    def _begin_times(self, pieces: _Pieces, cycles: dict[str, int]) -> np.ndarray:
        """Cycle of the first READ of each piece; a loop, since each depends on the one before."""
        part = self.part
        opened, activated, read = [-1] * part.banks, [-(1 << 40)] * part.banks, [-(1 << 40)] * part.banks
        recent = [-(1 << 40)] * 4        # ACTIVATEs of any bank, for tRRD and tFAW
        free, due, ready = 0, cycles["trefi"], 0  # of the data pins; the next refresh; of all banks after refreshes
        begin = np.empty(len(pieces.arrival), np.int64)
        busy = -(-pieces.words // part.data_rate)
        columns = (array.tolist() for array in (pieces.arrival, pieces.row, pieces.bank, busy))
        for number, (arrival, row, bank, clocks) in enumerate(zip(*columns, strict=True)):
            while due <= max(arrival, free):
                start = max(free, ready, max(activated) + cycles["tras"], due)
                owed = (start - due) // cycles["trefi"] + 1
                if owed < MOST_POSTPONED and start + cycles["trp"] + owed * cycles["trfc"] > arrival:
                    break  # somebody waits: later
                ready = self._refresh(start, owed, max(opened) >= 0, cycles)
                due += owed * cycles["trefi"]
                opened = [-1] * part.banks
            known = max(arrival, ready)
            if opened[bank] != row:
                if opened[bank] >= 0:
                    close = max(known, activated[bank] + cycles["tras"], read[bank] + cycles["trtp"])
                    self.rows.append((close, Command.PRECHARGE, bank, 0))
                    known = close + cycles["trp"]
                known = max(known, recent[-1] + cycles["trrd"], recent[-4] + cycles["tfaw"], activated[bank] + cycles["trc"])
                self.rows.append((known, Command.ACTIVATE, bank, row))
                recent = [*recent[1:], known]
                opened[bank], activated[bank] = row, known
                known += cycles["trcd"]
            begin[number] = max(known, free)
            free = int(begin[number]) + clocks
            read[bank] = free
        if due <= free:  # what was postponed belongs to these reads
            start = max(free, ready, max(activated) + cycles["tras"])
            self.ended = self._refresh(start, (free - due) // cycles["trefi"] + 1, max(opened) >= 0, cycles)
        return begin

    def _refresh(self, cycle: int, count: int, close: bool, cycles: dict[str, int]) -> int:
        """Close the banks if one is open, and refresh ``count`` times from ``cycle`` on; when banks may be opened again."""
        if close:
            self.rows.append((cycle, Command.PRECHARGE_ALL, 0, 0))
            cycle += cycles["trp"]
        for _ in range(count):
            self.rows.append((cycle, Command.REFRESH, 0, 0))
            cycle += cycles["trfc"]
        return cycle

    def _reads(self, pieces: _Pieces, begin: np.ndarray) -> dict[str, np.ndarray]:
        """READs of all pieces: one for each aligned stretch of the burst length."""
        length = self.part.burst_length
        first, last = pieces.column // length, (pieces.column + pieces.words - 1) // length
        count = last - first + 1
        which = np.repeat(np.arange(len(begin)), count)
        stretch = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        column = np.maximum(stretch * length, pieces.column[which])
        stop = np.minimum((stretch + 1) * length, (pieces.column + pieces.words)[which])
        cycle = begin[which] + (column - pieces.column[which]) // self.part.data_rate
        return {"cycle": cycle, "bank": pieces.bank[which], "row": pieces.row[which], "column": column, "beats": stop - column}
