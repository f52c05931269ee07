"""Synthesis, place and route of an engine: what it takes of a device, and how fast it runs.

The engine is built out of context, inside the shell of :mod:`permfc_boards.harness`. Figures of the engine are the totals that nextpnr reports
minus the shell's own cells, which are counted and returned too; flip-flops are counted in the engine's netlist.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from permfc.config import EngineConfig
from permfc.errors import ToolError
from permfc.progress import Progress

from . import harness as shell
from .devices import FpgaDevice
from .flow import build_folder, mapping_commands, route_seeds, synthesise_netlist

# nextpnr's names of a resource, by family, and how many of ours one of theirs is. A LUT4 on ECP5 is any LUT site that is taken: by logic, a carry,
# distributed RAM, or the write port of such a RAM, which blocks two, and nextpnr counts these too. On iCE40 it is a logic cell: one LUT4 and one
# flip-flop, taken by either.
RESOURCES = {
    "ecp5": {"lut4": {"TRELLIS_COMB": 1}, "block_ram": {"DP16KD": 1}, "dsp": {"MULT18X18D": 1}},
    "ice40": {"lut4": {"ICESTORM_LC": 1}, "block_ram": {"ICESTORM_RAM": 1}, "spram": {"ICESTORM_SPRAM": 1}, "dsp": {"ICESTORM_DSP": 1}},
}


@dataclass(frozen=True)
class Usage:
    """How many of one resource a design takes, and how many the device has."""

    used: int
    available: int


@dataclass(frozen=True)
class CellCounts:
    """LUT and flip-flop cells of one module of a netlist."""

    luts: int
    flip_flops: int


@dataclass(frozen=True)
class SynthesisReport:
    """What one design takes of a device.

    Members
    -------
    device : str
        Name of the device.
    usage : dict of str to Usage
        Resources of the design without its shell, by name; see :data:`RESOURCES`. On iCE40 ``lut4`` counts logic cells.
    flip_flops : Usage
    logic_luts : int
        LUT4 cells of the design's netlist alone: without carry chains and distributed RAM, which take LUT sites too.
    harness : CellCounts
        What the shell took, already subtracted from the above.
    fmax_mhz : dict of int to float
        Highest clock frequency after routing, in MHz, by seed.
    folder : str
        Where the netlist, the logs and nextpnr's reports are.
    """

    device: str
    usage: dict[str, Usage]
    flip_flops: Usage
    logic_luts: int
    harness: CellCounts
    fmax_mhz: dict[int, float]
    folder: str

    @property
    def median_mhz(self) -> float:
        """Value of the median Fmax over the seeds, in MHz."""
        return statistics.median(self.fmax_mhz.values())

    def as_dict(self) -> dict:
        """Everything by name, ready for JSON."""
        return {**asdict(self), "median_mhz": self.median_mhz}


def synthesise(
    config: EngineConfig, device: FpgaDevice, seeds: Sequence[int] = (1, 2, 3), folder: Path | None = None, progress: Progress | None = None
) -> SynthesisReport:
    """Synthesise, place and route the engine ``config`` on ``device``, once a seed.

    Parameters
    ----------
    seeds : sequence of int
        nextpnr seeds; each is one place and route (about a minute on ECP5).
    folder : Path, optional
        Where to build; a folder named by the content under the user's cache otherwise. What is there already is not built again.
    progress : callable, optional
        Called with (what, steps done, steps).

    Raises
    ------
    ToolError
        If a tool is missing or fails: the design does not fit, for example.
    """
    from permfc_hw.verilog import engine_verilog  # here, since Amaranth is an optional dependency

    return place_and_route(engine_verilog(config), "permfc_engine", device, seeds, folder, progress)


def place_and_route(
    verilog: str, module: str, device: FpgaDevice, seeds: Sequence[int] = (1, 2, 3), folder: Path | None = None, progress: Progress | None = None
) -> SynthesisReport:
    """As :func:`synthesise`, for any Verilog ``module`` with the clock ``clk``."""
    wrapper = shell.harness(verilog, module)
    script = _yosys_script(device, module)
    folder = folder or build_folder("synth", device.name, repr(device.nextpnr_arguments), str(device.target_mhz), wrapper, verilog, script)
    netlist = synthesise_netlist(folder, {"design.v": wrapper + verilog}, script, progress)
    unconstrained = ["--lpf-allow-unconstrained"] if device.family == "ecp5" else []
    reports = route_seeds(folder, device, seeds, unconstrained, progress)
    cells = json.loads(netlist.read_text(encoding="utf-8"))
    return read_reports(device, count_cells(cells, module), count_cells(cells, shell.TOP), reports, folder)


def _yosys_script(device: FpgaDevice, module: str) -> str:
    """The design stays a module of its own, so that no register of the shell is drawn into its DSPs or block RAMs."""
    return "\n".join([
        "read_verilog design.v",
        f"hierarchy -check -top {shell.TOP}",
        f"setattr -mod -set keep_hierarchy 1 {module}",
        *mapping_commands(device, shell.TOP),
        "",
    ])


def count_cells(netlist: dict, module: str) -> CellCounts:
    """Cells of one module of a netlist that yosys wrote as JSON."""
    kinds = Counter(cell["type"] for cell in netlist["modules"][module]["cells"].values())
    return CellCounts(
        luts=kinds["LUT4"] + kinds["SB_LUT4"],
        flip_flops=kinds["TRELLIS_FF"] + sum(count for kind, count in kinds.items() if kind.startswith("SB_DFF")),
    )


def read_reports(device: FpgaDevice, design: CellCounts, harness: CellCounts, reports: dict[int, dict], folder: Path) -> SynthesisReport:
    """Turn nextpnr's reports of one netlist, by seed, and the cells of its two modules into one of ours.

    Raises
    ------
    ToolError
        If a report lacks a resource or the clock's frequency.
    """
    try:
        utilisation = next(iter(reports.values()))["utilization"]
        usage = resource_usage(utilisation, device.family)
        flip_flops_available = utilisation["TRELLIS_FF" if device.family == "ecp5" else "ICESTORM_LC"]["available"]
        fmax = {seed: clock_mhz(report) for seed, report in reports.items()}
    except (KeyError, ValueError) as error:
        raise ToolError(f"nextpnr's report in {folder} lacks {error}; this version of nextpnr is not supported") from error
    # On iCE40 the shell takes one logic cell a flip-flop: its XORs sit in the cells of the registers that follow them.
    shell_luts = harness.luts if device.family == "ecp5" else harness.flip_flops
    return SynthesisReport(
        device=device.name,
        usage={**usage, "lut4": Usage(usage["lut4"].used - shell_luts, usage["lut4"].available)},
        flip_flops=Usage(design.flip_flops, flip_flops_available),
        logic_luts=design.luts,
        harness=harness,
        fmax_mhz=fmax,
        folder=str(folder),
    )


def resource_usage(utilisation: dict, family: str) -> dict[str, Usage]:
    """Our resources by name from nextpnr's: summed over their kinds; what is available is told by the first kind."""
    return {
        name: Usage(sum(utilisation[kind]["used"] * weight for kind, weight in kinds.items()), utilisation[next(iter(kinds))]["available"])
        for name, kinds in RESOURCES[family].items()
    }


def clock_mhz(report: dict) -> float:
    """Fmax in nextpnr's report. A design has one clock; nextpnr names it after its net."""
    (clock,) = report["fmax"].values()
    return clock["achieved"]
