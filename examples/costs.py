"""What the engine did for each step of a generation, as a line to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from permfc.torch import Work

CLOCK_HZ = 100e6


def print_costs(console: Console, steps: Sequence[Mapping[str, Work]], what: str) -> None:
    """Cycles and bytes a step, without the first one, which reads the whole prompt.

    Parameters
    ----------
    console : Console
    steps : sequence of mappings of layer names to Work
        One for each step.
    what : str
        What a step makes, a character or a token.
    """
    later = [list(step.values()) for step in steps[1:] or steps]
    cycles = sum(work.cycles or 0 for step in later for work in step) / len(later)
    read = sum(work.bytes for step in later for work in step) / len(later)
    if cycles:
        console.print(f"counted a {what}: {cycles:,.0f} cycles, {read:,.0f} bytes from memory: "
                      f"{CLOCK_HZ / cycles:,.0f} {what}s a second at 100 MHz, host and transfers not included")
    else:
        console.print(f"predicted a {what}: {read:,.0f} bytes from memory")
