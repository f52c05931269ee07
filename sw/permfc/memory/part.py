"""What a datasheet says about one memory: geometry, timing and currents of a DRAM or of a serial flash."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..errors import ConfigError

# A period that misses a datasheet's limit by less than this is the datasheet's own rounding: 133.33 MHz against 7.5 ns.
_ROUNDING = 1e-3

MOST_POSTPONED = 8  # REFRESH commands that may be late at once (JEDEC JESD21-C 3.11.5, JESD79-3 4.13)


@dataclass(frozen=True)
class DramTiming:
    """Timing parameters of a DRAM, all in nanoseconds.

    Members
    -------
    tck : float
        Clock period of the speed bin, at which the currents were measured.
    cas_tck : mapping of int to float
        Shortest clock period at which each CAS latency (in clocks) works.
    trcd, trp, tras, trc : float
        ACTIVATE to READ or WRITE; PRECHARGE to ACTIVATE; ACTIVATE to PRECHARGE; ACTIVATE to ACTIVATE of one bank.
    trrd, tfaw : float
        ACTIVATE to ACTIVATE of another bank; window of four ACTIVATEs (0: no such rule).
    trtp, twr : float
        READ to PRECHARGE (0: the end of the burst decides); last data written to PRECHARGE.
    trfc, trefi : float
        REFRESH (of all banks) to any command; mean interval of refreshes.
    txp : float
        Exit from power-down to any command.
    power_up : float
        Stable supply and clock to the first command.
    """

    tck: float
    cas_tck: Mapping[int, float]
    trcd: float
    trp: float
    tras: float
    trc: float
    trrd: float
    tfaw: float
    trtp: float
    twr: float
    trfc: float
    trefi: float
    txp: float
    power_up: float

    def cycles(self, name: str, clock_hz: float) -> int:
        """Clocks of the parameter ``name`` at a clock: rounded up, but ``trefi``, which is a maximum, down."""
        clocks = getattr(self, name) * clock_hz * 1e-9
        return math.floor(clocks + 1e-6) if name == "trefi" else math.ceil(clocks - 1e-6)

    def cas_latency(self, clock_hz: float) -> int:
        """The smallest CAS latency, in clocks, that works at a clock.

        Raises
        ------
        ConfigError
            If none does.
        """
        period = 1e9 / clock_hz
        usable = [latency for latency, shortest in self.cas_tck.items() if shortest <= period * (1 + _ROUNDING)]
        if not usable:
            raise ConfigError(f"No CAS latency of this part works at {clock_hz / 1e6:g} MHz: use {1e3 / min(self.cas_tck.values()):g} MHz or less")
        return min(usable)


@dataclass(frozen=True)
class Rail:
    """Currents drawn from one supply of a DRAM, in milliamperes, as datasheets define them (JESD79: IDD measurement conditions).

    Members
    -------
    name : str
    volts : float
    idd0 : float
        ACTIVATE and PRECHARGE of one bank, again and again every tRC.
    idd2n, idd3n : float
        Standby with all banks closed; with a bank open.
    idd2p : float
        Power-down with all banks closed.
    idd4r, idd4w : float
        Gapless reads, gapless writes.
    idd5 : float
        REFRESH of all banks, again and again every tRFC.
    """

    name: str
    volts: float
    idd0: float
    idd2n: float
    idd3n: float
    idd2p: float
    idd4r: float
    idd4w: float
    idd5: float


@dataclass(frozen=True)
class DramPart:
    """One DRAM device.

    Members
    -------
    name : str
    kind : str
        "sdr", "ddr3", "ddr4", "lpddr3" or "lpddr4".
    width : int
        Data pins.
    banks, rows, columns : int
        A column holds one word of ``width`` bits.
    burst_length : int
        Data words of one READ or WRITE that nothing interrupts.
    data_rate : int
        Data words a clock: 1 or 2.
    timing : DramTiming
    rails : tuple of Rail
    io_pj_per_bit : float
        Energy of driving one bit over the pins, in picojoules.
    sources : mapping of str to str
        Where the figures come from, by subject.
    """

    name: str
    kind: str
    width: int
    banks: int
    rows: int
    columns: int
    burst_length: int
    data_rate: int
    timing: DramTiming
    rails: tuple[Rail, ...]
    io_pj_per_bit: float
    sources: Mapping[str, str]

    @property
    def capacity(self) -> int:
        """Value of the device's size in bytes."""
        return self.banks * self.rows * self.columns * self.width // 8

    @property
    def max_clock_hz(self) -> float:
        """Value of the fastest clock at which some CAS latency works."""
        return 1e9 / min(self.timing.cas_tck.values())


@dataclass(frozen=True)
class FlashPart:
    """One serial flash that is read by quad continuous read (0xEB).

    Members
    -------
    name : str
    kind : str
        "qspi".
    width : int
        Data pins: 4.
    size : int
        Bytes.
    data_rate : int
        Data words a clock: 1.
    command_clocks : int
        Clocks of a continuous-read command before its first data word: address, mode bits and dummy clocks.
    tck : float
        Shortest clock period, in nanoseconds.
    txp : float
        Release from power-down to the next command, in nanoseconds.
    volts : float
    read : mapping of float to float
        Supply current of reading, in milliamperes, up to each clock in MHz.
    standby, power_down : float
        Supply currents in milliamperes: not selected, in power-down.
    io_pj_per_bit : float
        Energy of driving one bit over the pins, in picojoules.
    sources : mapping of str to str
        Where the figures come from, by subject.
    """

    name: str
    kind: str
    width: int
    size: int
    data_rate: int
    command_clocks: int
    tck: float
    txp: float
    volts: float
    read: Mapping[float, float]
    standby: float
    power_down: float
    io_pj_per_bit: float
    sources: Mapping[str, str]

    @property
    def capacity(self) -> int:
        """Value of the device's size in bytes."""
        return self.size

    @property
    def max_clock_hz(self) -> float:
        """Value of the fastest clock."""
        return 1e9 / self.tck

    def read_current(self, clock_hz: float) -> float:
        """Supply current in milliamperes while reading at a clock: that of the next faster clock in the data sheet.

        Raises
        ------
        ConfigError
            If the clock is faster than all of them.
        """
        faster = [current for limit, current in sorted(self.read.items()) if limit * 1e6 >= clock_hz]
        if not faster:
            raise ConfigError(f"{self.name} has no read current at {clock_hz / 1e6:g} MHz: use {max(self.read):g} MHz or less")
        return faster[0]


Part = DramPart | FlashPart


def field_names(kind: type) -> tuple[str, ...]:
    """The fields of one of the dataclasses above, in order."""
    return tuple(field.name for field in fields(kind))
