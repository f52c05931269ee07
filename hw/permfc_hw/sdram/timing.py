"""The timing of an SDR SDRAM in cycles of one clock."""

from __future__ import annotations

from dataclasses import dataclass

from permfc.errors import ConfigError
from permfc.memory.part import DramPart

BURST = 8            # columns of a READ; the next READ or a PRECHARGE cuts it short
MODE_CYCLES = 2      # LOAD MODE REGISTER to any command, tMRD
PREPARATION_CYCLES = 5  # the least that pass between two ACTIVATEs of our bank preparation
LEAST_WAIT = 2          # the least that pass between commands which concern rows
MOST_COLUMNS = 1 << 10  # address bit 10 is not a column's
MOST_ROWS = 1 << 13

_SINGLE_WRITES = 1 << 9
_CAS_SHIFT = 4
_BURST_OF_8 = 3


@dataclass(frozen=True)
class SdramTiming:
    """What the controller waits for, in cycles.

    Members
    -------
    cas : int
        CAS latency.
    rcd, rp, ras, rfc, wr : int
        ACTIVATE to READ; PRECHARGE to ACTIVATE; ACTIVATE to PRECHARGE; REFRESH to anything; written data to PRECHARGE.
        ``ras`` is long enough for tRC, too; ``rp`` and ``rfc`` are at least the two cycles that the controller takes anyway.
    refi : int
        Mean interval of REFRESH commands.
    power_up : int
        Stable clock before the first command.
    """

    cas: int
    rcd: int
    rp: int
    ras: int
    rfc: int
    wr: int
    refi: int
    power_up: int

    @classmethod
    def of(cls, part: DramPart, clock_hz: float) -> SdramTiming:
        """The timing of ``part`` at ``clock_hz``.

        Raises
        ------
        ConfigError
            If the part is no SDR SDRAM of four banks, is too large for 13 address pins, or does not work at this clock.
        """
        if part.kind != "sdr" or part.banks != 4:
            raise ConfigError(f"The SDRAM controller is for SDR parts of four banks; {part.name} is {part.kind} with {part.banks} banks")
        if part.burst_length != BURST:
            raise ConfigError(f"The SDRAM controller reads in bursts of {BURST}; {part.name} has bursts of {part.burst_length}")
        if part.columns > MOST_COLUMNS or part.rows > MOST_ROWS:
            raise ConfigError(f"{part.name} has {part.rows} rows of {part.columns} columns; the SDRAM controller knows {MOST_ROWS} of {MOST_COLUMNS}")
        names = ("trcd", "trp", "tras", "trc", "trrd", "trfc", "twr", "trefi", "power_up")
        cycles = {name: part.timing.cycles(name, clock_hz) for name in names}
        if cycles["trrd"] > PREPARATION_CYCLES:
            needs = f"{part.name} needs {cycles['trrd']} cycles between ACTIVATEs at {clock_hz / 1e6:g} MHz"
            raise ConfigError(f"{needs}, the controller leaves {PREPARATION_CYCLES}: choose a lower clock")
        return cls(
            cas=part.timing.cas_latency(clock_hz), rcd=cycles["trcd"], rp=max(cycles["trp"], LEAST_WAIT),
            ras=max(cycles["tras"], cycles["trc"] - cycles["trp"]),
            rfc=max(cycles["trfc"], LEAST_WAIT), wr=cycles["twr"], refi=cycles["trefi"], power_up=cycles["power_up"],
        )

    @property
    def mode(self) -> int:
        """Value of the mode register: READ bursts of 8 columns, WRITEs of one, the CAS latency."""
        return _SINGLE_WRITES | self.cas << _CAS_SHIFT | _BURST_OF_8
