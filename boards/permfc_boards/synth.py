"""Synthesis, place and route of an engine: what it takes of a device, and how fast it runs.

The engine is built out of context, inside the shell of :mod:`permfc_boards.harness`. Figures of the engine are the totals that nextpnr reports
minus the shell's own cells, which are counted and returned too; flip-flops are counted in the engine's netlist.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from permfc.config import EngineConfig
from permfc.errors import ConfigError, ToolError

from . import harness as shell
from . import tools
from .devices import FpgaDevice

Progress = Callable[[str, int, int], None]

# nextpnr's names of a resource, by family, and how many of ours one of theirs is. A LUT4 on ECP5 is any LUT site that is taken: by logic, a carry,
# distributed RAM, or the write port of such a RAM, which blocks two. On iCE40 it is a logic cell: one LUT4 and one flip-flop, taken by either.
RESOURCES = {
    "ecp5": {"lut4": {"TRELLIS_COMB": 1, "TRELLIS_RAMW": 2}, "block_ram": {"DP16KD": 1}, "dsp": {"MULT18X18D": 1}},
    "ice40": {"lut4": {"ICESTORM_LC": 1}, "block_ram": {"ICESTORM_RAM": 1}, "dsp": {"ICESTORM_DSP": 1}},
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
    lut4, flip_flops, block_ram, dsp : Usage
        Resources of the design without its shell. On iCE40 ``lut4`` counts logic cells.
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
    lut4: Usage
    flip_flops: Usage
    block_ram: Usage
    dsp: Usage
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
    if not seeds:
        raise ConfigError("Place and route needs at least one seed, not none")
    wrapper = shell.harness(verilog, module)
    script = _yosys_script(device, module)
    folder = folder or _cache_folder(device, wrapper, verilog, script)
    folder.mkdir(parents=True, exist_ok=True)
    report_step = progress or (lambda what, done, total: None)

    report_step("yosys", 0, 1)
    netlist = folder / "netlist.json"
    if not netlist.exists():
        (folder / "design.v").write_text(wrapper + verilog, encoding="utf-8")
        (folder / "synth.ys").write_text(script, encoding="utf-8")
        tools.run("yosys", ["-q", "-l", "yosys.log", "-s", "synth.ys"], folder, "yosys.out")
        _check_log(folder / "yosys.log")
        _rename(folder / "netlist.part", netlist)

    report_step("yosys", 1, 1)

    report_step("nextpnr", 0, len(seeds))
    reports = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for seed, report in zip(seeds, pool.map(lambda seed: _route(device, folder, seed), seeds), strict=True):
            reports[seed] = report
            report_step("nextpnr", len(reports), len(seeds))
    cells = json.loads(netlist.read_text(encoding="utf-8"))
    return read_reports(device, count_cells(cells, module), count_cells(cells, shell.TOP), reports, folder)


def _yosys_script(device: FpgaDevice, module: str) -> str:
    """Two precautions: the design stays a module of its own, so that no register of the shell is drawn into its DSPs or block RAMs;
    and flattening before synth_* keeps yosys from a silent abort on wires named like ``x`` beside ``x[0]`` (YosysHQ/yosys#4349)."""
    return "\n".join([
        "read_verilog design.v",
        f"hierarchy -check -top {shell.TOP}",
        f"setattr -mod -set keep_hierarchy 1 {module}",
        "proc",
        "flatten",
        "opt_clean -purge",
        f"synth_{device.family} {device.synthesis_options} -top {shell.TOP} -json netlist.part",
        "",
    ])


def _cache_folder(device: FpgaDevice, *texts: str) -> Path:
    """A folder named by all that the result depends on, but for the tools' versions."""
    key = hashlib.sha256("\0".join([repr(device.nextpnr_arguments), str(device.target_mhz), *texts]).encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "permfc" / "synth" / f"{device.name}-{key}"


def _route(device: FpgaDevice, folder: Path, seed: int) -> dict:
    """nextpnr's report for one seed."""
    report = folder / f"report-{seed}.json"
    if not report.exists():
        arguments = [*device.nextpnr_arguments, "--json", "netlist.json", "--report", f"report-{seed}.part", "--seed", str(seed)]
        arguments += ["--freq", str(device.target_mhz), "--timing-allow-fail", "--quiet"]
        if device.family == "ecp5":
            arguments.append("--lpf-allow-unconstrained")
        tools.run(f"nextpnr-{device.family}", arguments, folder, f"nextpnr-{seed}.log")
        _rename(folder / f"report-{seed}.part", report)
    return json.loads(report.read_text(encoding="utf-8"))


def _rename(part: Path, whole: Path) -> None:
    """Give a finished file its name, so that a broken run leaves nothing that looks whole."""
    if not part.exists():
        raise ToolError(f"The tool ended well but did not write {part}; see the logs beside it")
    part.replace(whole)


def _check_log(log: Path) -> None:
    """A netlist that yosys repaired with constants is smaller than the design, and its figures are worth nothing."""
    conflict = next((line for line in log.read_text(encoding="utf-8").splitlines() if "Driver-driver conflict" in line), None)
    if conflict:
        raise ToolError(f"yosys connected two drivers ({conflict.strip()}); its log is {log}")


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
        usage = {name: _usage(utilisation, kinds) for name, kinds in RESOURCES[device.family].items()}
        flip_flops_available = utilisation["TRELLIS_FF" if device.family == "ecp5" else "ICESTORM_LC"]["available"]
        fmax = {seed: _fmax(report) for seed, report in reports.items()}
    except (KeyError, ValueError) as error:
        raise ToolError(f"nextpnr's report in {folder} lacks {error}; this version of nextpnr is not supported") from error
    # On iCE40 the shell takes one logic cell a flip-flop: its XORs sit in the cells of the registers that follow them.
    shell_luts = harness.luts if device.family == "ecp5" else harness.flip_flops
    return SynthesisReport(
        device=device.name,
        lut4=Usage(usage["lut4"].used - shell_luts, usage["lut4"].available),
        flip_flops=Usage(design.flip_flops, flip_flops_available),
        block_ram=usage["block_ram"],
        dsp=usage["dsp"],
        logic_luts=design.luts,
        harness=harness,
        fmax_mhz=fmax,
        folder=str(folder),
    )


def _usage(utilisation: dict, kinds: dict[str, int]) -> Usage:
    """Sum over the ``kinds`` of a resource; what is available is told by the first."""
    return Usage(sum(utilisation[kind]["used"] * weight for kind, weight in kinds.items()), utilisation[next(iter(kinds))]["available"])


def _fmax(report: dict) -> float:
    """The design has one clock; nextpnr names it after its net."""
    (clock,) = report["fmax"].values()
    return clock["achieved"]
