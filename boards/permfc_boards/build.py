"""Builds the complete top of a board: netlist, place and route once a seed, and the bitstream of the fastest."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from permfc.config import EngineConfig
from permfc.errors import ToolError
from permfc.progress import Progress

from . import tools
from .board import Board
from .flow import build_folder, finish, mapping_commands, route_seeds, synthesise_netlist
from .synth import Usage, clock_mhz, resource_usage
from .top import Top

NAME = "top"

# By family: the constraint file of Amaranth's build plan, nextpnr's options, and the tool that turns its result into a bitstream.
_CONSTRAINTS = {"ecp5": f"{NAME}.lpf", "ice40": f"{NAME}.pcf"}
_ROUTE_OPTIONS = {
    # nextpnr's own weight of 10 costs ULX3S-85F 2 to 9 MHz, and two of five seeds their 100 MHz.
    "ecp5": ("--lpf", f"{NAME}.lpf", "--textcfg", NAME + "-{seed}.config", "--placer-heap-timingweight", "30"),
    "ice40": ("--pcf", f"{NAME}.pcf", "--asc", NAME + "-{seed}.asc"),
}
_PACK = {"ecp5": ("ecppack", "--compress", "--input", NAME + "-{seed}.config", "--bit"), "ice40": ("icepack", NAME + "-{seed}.asc")}
_SUFFIX = {"ecp5": "bit", "ice40": "bin"}


@dataclass(frozen=True)
class BuildReport:
    """One board's bitstream.

    Members
    -------
    board : str
    clock_mhz : float
        The board's clock, which the bitstream runs at.
    fmax_mhz : dict of int to float
        Highest clock frequency after routing, in MHz, by seed: nextpnr's estimate.
    seed : int
        The fastest seed: the bitstream's.
    usage : dict of str to Usage
        The device's resources by name; see :data:`permfc_boards.synth.RESOURCES`.
    bitstream : str
        Path of the file to program.
    """

    board: str
    clock_mhz: float
    fmax_mhz: dict[int, float]
    seed: int
    usage: dict[str, Usage]
    bitstream: str

    @property
    def median_mhz(self) -> float:
        """Value of the median Fmax over the seeds, in MHz."""
        return statistics.median(self.fmax_mhz.values())

    @property
    def seeds_met(self) -> int:
        """Value of the number of seeds that reach the board's clock."""
        return sum(mhz >= self.clock_mhz for mhz in self.fmax_mhz.values())

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return {**asdict(self), "median_mhz": self.median_mhz, "seeds_met": self.seeds_met}


def build(
    board: Board, config: EngineConfig, seeds: Sequence[int] = (1, 2, 3), folder: Path | None = None, progress: Progress | None = None
) -> BuildReport:
    """Build ``board`` with the engine ``config``.

    Parameters
    ----------
    seeds : sequence of int
        nextpnr seeds; each is one place and route (two to five minutes on ECP5).
    folder : Path, optional
        Where to build; a folder named by the content under the user's cache otherwise. What is there already is not built again.
    progress : callable, optional
        Called with (what, steps done, steps).

    Raises
    ------
    ConfigError
        If the board cannot hold such an engine.
    ToolError
        If a tool is missing or fails, or no seed reaches the board's clock.
    """
    family = board.device.family
    plan = board.platform().prepare(Top(board, config), NAME, emit_src=False)  # paths and line numbers say nothing of the design
    sources = {name: plan.files[name] for name in (f"{NAME}.il", _CONSTRAINTS[family])}
    sources = {name: text if isinstance(text, str) else text.decode() for name, text in sources.items()}
    script = "\n".join([f"read_rtlil {NAME}.il", *mapping_commands(board.device, NAME), ""])
    folder = folder or build_folder("build", board.name, repr(board.device), script, *_ROUTE_OPTIONS[family], *sources.values())
    synthesise_netlist(folder, sources, script, progress)
    reports = route_seeds(folder, board.device, seeds, _ROUTE_OPTIONS[family], progress)
    fmax = {seed: clock_mhz(report) for seed, report in reports.items()}
    best = max(fmax, key=fmax.get)
    if fmax[best] < board.device.target_mhz:
        reached = f"{fmax[best]:.1f} MHz with seed {best}"
        raise ToolError(f"{board.name} needs {board.device.target_mhz:g} MHz and reached {reached}; try more --seeds or fewer --lanes ({folder})")
    return BuildReport(
        board=board.name, clock_mhz=board.device.target_mhz, fmax_mhz=fmax, seed=best,
        usage=resource_usage(reports[best]["utilization"], family), bitstream=str(_bitstream(folder, family, best)),
    )


def _bitstream(folder: Path, family: str, seed: int) -> Path:
    whole = folder / f"{NAME}-{seed}.{_SUFFIX[family]}"
    if not whole.exists():
        tool, *arguments = (argument.format(seed=seed) for argument in _PACK[family])
        part = whole.with_suffix(".part")
        tools.run(tool, [*arguments, part.name], folder, f"{tool}.log")
        finish(part, whole)
    return whole


def program(board: Board, bitstream: Path) -> None:
    """Load a bitstream into a board with openFPGALoader.

    Raises
    ------
    ToolError
        If openFPGALoader is missing or fails.
    """
    command = ["openFPGALoader", *board.programmer, str(bitstream)]
    if not shutil.which(command[0]):
        raise ToolError(f"openFPGALoader is missing; install it, then run: {' '.join(command)}")
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise ToolError(f"openFPGALoader failed with status {done.returncode}: {last[0]}; check the cable and the permissions of the USB device")
