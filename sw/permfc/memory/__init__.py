"""External memories: what their datasheets say, which commands cross their pins, and what that costs."""

from .drampower import drampower_version, write_drampower
from .energy import Energy, energy, literature_energy
from .idle import IdlePolicy, energy_with_idle, power_down_cycles, with_idle
from .onchip import OnChipCounts, OnChipEnergy, on_chip_counts, on_chip_energy
from .part import DramPart, DramTiming, FlashPart, Part, Rail
from .part_file import load_part, part_names
from .presets import MEMORY_NAMES, Memory, memory
from .trace import Command, CommandTrace

__all__ = [
    "MEMORY_NAMES",
    "Command",
    "CommandTrace",
    "DramPart",
    "DramTiming",
    "Energy",
    "FlashPart",
    "IdlePolicy",
    "Memory",
    "OnChipCounts",
    "OnChipEnergy",
    "Part",
    "Rail",
    "drampower_version",
    "energy",
    "energy_with_idle",
    "literature_energy",
    "load_part",
    "memory",
    "on_chip_counts",
    "on_chip_energy",
    "part_names",
    "power_down_cycles",
    "with_idle",
    "write_drampower",
]
