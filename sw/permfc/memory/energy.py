"""Energy of a command trace: a charge for each command, a current for each state, and the pins apart.

The equations are those of DRAMPower (Chandrasekar et al., "Towards Variation-Aware System-Level Power Estimation of DRAMs", DAC 2013, and
the documentation of DRAMPower 5), with all banks sharing the background. Datasheet currents are maxima, so every result is a datasheet maximum.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from ..errors import ConfigError
from .part import DramPart, FlashPart, Rail
from .presets import Memory
from .trace import Command, CommandTrace

# Energy of reading one bit of DRAM that most papers of this field use: 640 pJ a 32-bit word, 45 nm
# (Horowitz, "Computing's Energy Problem", ISSCC 2014; Han et al., "EIE", ISCA 2016, table I).
LITERATURE_PJ_PER_BIT = 20


@dataclass(frozen=True)
class Energy:
    """Energy of a memory, all devices together, in joules.

    Members
    -------
    activate, precharge, read, write, refresh : float
        What the commands add to the background.
    background_active : float
        Standby with a bank open, refreshes included.
    background_precharged : float
        Standby with all banks closed; of a flash, not selected.
    background_powered_down : float
        Power-down.
    io : float
        Driving the data pins.
    """

    activate: float = 0.0
    precharge: float = 0.0
    read: float = 0.0
    write: float = 0.0
    refresh: float = 0.0
    background_active: float = 0.0
    background_precharged: float = 0.0
    background_powered_down: float = 0.0
    io: float = 0.0

    @property
    def background(self) -> float:
        """Value of all standby energy."""
        return self.background_active + self.background_precharged + self.background_powered_down

    @property
    def core(self) -> float:
        """Value of the energy without the pins."""
        return self.activate + self.precharge + self.read + self.write + self.refresh + self.background

    @property
    def total(self) -> float:
        """Value of the energy with the pins."""
        return self.core + self.io

    def __add__(self, other: Energy) -> Energy:
        """The sum, member by member."""
        return Energy(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(Energy)})

    def scaled(self, factor: float) -> Energy:
        """All members times ``factor``."""
        return Energy(**{name: value * factor for name, value in asdict(self).items()})

    def as_dict(self) -> dict[str, float]:
        """All members in joules, with ``core`` and ``total``, for JSON."""
        return {**asdict(self), "core": self.core, "total": self.total}


def energy(trace: CommandTrace, memory: Memory, powered_down_cycles: int = 0) -> Energy:
    """Energy of a trace on a memory.

    Parameters
    ----------
    trace : CommandTrace
    memory : Memory
        With a part; its clock gives the length of a cycle.
    powered_down_cycles : int
        Cycles without an open bank that the memory spends in power-down (``idle.power_down_cycles``).

    Returns
    -------
    Energy

    Raises
    ------
    ConfigError
        If the memory has no part, and so no currents.
    """
    if memory.part is None:
        raise ConfigError(f"Memory {memory.name} has no part and so no currents: choose a memory with a part")
    model = _dram_energy if isinstance(memory.part, DramPart) else _flash_energy
    return model(trace, memory.part, memory.clock_hz, powered_down_cycles).scaled(memory.devices)


def literature_energy(byte_count: int) -> float:
    """Energy of moving bytes at 20 pJ a bit, in joules: what papers count, without activations, refreshes or idle time."""
    return 8 * byte_count * LITERATURE_PJ_PER_BIT * 1e-12


def _bin_seconds(part: DramPart, name: str) -> float:
    """A timing parameter in whole clocks of the speed bin, the conditions under which its current was measured, in seconds."""
    timing = part.timing
    return timing.cycles(name, 1e9 / timing.tck) * timing.tck * 1e-9


def _power(part: DramPart, current: str, base: str | None = None) -> float:
    """Watts of a current, or of its excess over ``base``, summed over the supplies."""

    def milliwatts(rail: Rail) -> float:
        return rail.volts * (getattr(rail, current) - (getattr(rail, base) if base else 0.0))

    return sum(milliwatts(rail) for rail in part.rails) * 1e-3


def command_energies(part: DramPart) -> dict[Command, float]:
    """Joules that one command of each kind adds to the background; of READ and WRITE, those of one data word.

    They do not depend on the clock: a slower clock moves the same charge in more time.
    """
    activated = _bin_seconds(part, "tras")
    word = part.timing.tck * 1e-9 / part.data_rate
    return {
        Command.ACTIVATE: _power(part, "idd0", "idd3n") * activated,
        Command.PRECHARGE: _power(part, "idd0", "idd2n") * (_bin_seconds(part, "trc") - activated),
        Command.READ: _power(part, "idd4r", "idd3n") * word,
        Command.WRITE: _power(part, "idd4w", "idd3n") * word,
        Command.REFRESH: _power(part, "idd5", "idd3n") * _bin_seconds(part, "trfc"),
    }


def _dram_energy(trace: CommandTrace, part: DramPart, clock_hz: float, powered_down_cycles: int) -> Energy:
    each = command_energies(part)
    counts = trace.counts()
    words = {command: int(trace.beats[trace.command == command].sum()) for command in (Command.READ, Command.WRITE)}
    # While it refreshes, a DRAM counts as active.
    active = trace.open_cycles() / clock_hz + counts["refresh"] * _bin_seconds(part, "trfc")
    powered_down = powered_down_cycles / clock_hz
    precharged = trace.length / clock_hz - active - powered_down
    return Energy(
        activate=counts["activate"] * each[Command.ACTIVATE],
        # Every row that was opened is closed once, by whatever command.
        precharge=counts["activate"] * each[Command.PRECHARGE],
        read=words[Command.READ] * each[Command.READ],
        write=words[Command.WRITE] * each[Command.WRITE],
        refresh=counts["refresh"] * each[Command.REFRESH],
        background_active=active * _power(part, "idd3n"),
        background_precharged=precharged * _power(part, "idd2n"),
        background_powered_down=powered_down * _power(part, "idd2p"),
        io=sum(words.values()) * part.width * part.io_pj_per_bit * 1e-12,
    )


def _flash_energy(trace: CommandTrace, part: FlashPart, clock_hz: float, powered_down_cycles: int) -> Energy:
    words = int(trace.beats.sum())
    reading = (words + trace.counts()["read"] * part.command_clocks) / clock_hz
    powered_down = powered_down_cycles / clock_hz
    watts = part.volts * 1e-3
    return Energy(
        read=reading * watts * (part.read_current(clock_hz) - part.standby),
        background_precharged=(trace.length / clock_hz - powered_down) * watts * part.standby,
        background_powered_down=powered_down * watts * part.power_down,
        io=words * part.width * part.io_pj_per_bit * 1e-12,
    )
