"""External memories: what their datasheets say, which commands cross their pins, and what that costs."""

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
    "FlashPart",
    "Memory",
    "Part",
    "Rail",
    "load_part",
    "memory",
    "part_names",
]
