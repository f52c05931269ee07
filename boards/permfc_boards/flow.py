"""The open flow in a folder, step by step: yosys, then nextpnr once a seed. What a folder holds already is not built again.

Every result gets its name when it is whole, so that a broken run leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from permfc.errors import ConfigError, ToolError
from permfc.progress import Progress
from permfc_sim.cache import cache_folder

from . import tools
from .devices import FpgaDevice

NETLIST = "netlist.json"

_ICE40 = (
    # The read registers of its block RAMs begin with anything: what Amaranth says of them would be built around each of them.
    "setattr -unset init a:read_data",
    # Small tables would become flip-flops, each in a logic cell of its own: there is no distributed RAM, and block RAM is left.
    'setattr -set ram_style "block" */m:*decoder.offsets*',
    # The lists of activations go to the UltraPlus' large RAMs, which are for memories that ask for them and have no initial contents. The lists
    # need none: an entry is written before it is read.
    'setattr -set ram_style "huge" */m:*store.*_layers.memory',
    "delete */t:$meminit* */r:MEMID=*store.*_layers.memory %i",
    "opt -full -fine",  # finds one percent of the logic cells that synth_ice40 leaves
)


def build_folder(kind: str, name: str, *facts: str) -> Path:
    """A folder in the user's cache, named by all that the result depends on, but for the tools' versions."""
    key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
    return cache_folder() / kind / f"{name}-{key}"


def mapping_commands(device: FpgaDevice, top: str) -> list[str]:
    """The yosys commands that map a design to the device's cells and write the netlist.

    Flattening before synth_* keeps yosys from a silent abort on wires named like ``x`` beside ``x[0]`` (YosysHQ/yosys#4349).
    """
    synth = f"synth_{device.family} {device.synthesis_options} -top {top} -json netlist.part"
    return ["proc", "flatten", "opt_clean -purge", *(_ICE40 if device.family == "ice40" else ()), synth]


def synthesise_netlist(folder: Path, sources: dict[str, str], script: str, progress: Progress | None) -> Path:
    """The netlist that the yosys ``script`` makes of the texts ``sources`` (by file name) in ``folder``.

    Raises
    ------
    ToolError
        If yosys is missing or fails, or repaired a conflict with constants: such a netlist is smaller than the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report_step = progress or (lambda what, done, total: None)
    report_step("yosys", 0, 1)
    netlist = folder / NETLIST
    if not netlist.exists():
        for name, text in {**sources, "synth.ys": script}.items():
            (folder / name).write_text(text, encoding="utf-8")
        tools.run("yosys", ["-q", "-l", "yosys.log", "-s", "synth.ys"], folder, "yosys.out")
        _check_log(folder / "yosys.log")
        finish(folder / "netlist.part", netlist)
    report_step("yosys", 1, 1)
    return netlist


def route_seeds(folder: Path, device: FpgaDevice, seeds: Sequence[int], options: Sequence[str], progress: Progress | None) -> dict[int, dict]:
    """nextpnr's report of the netlist in ``folder``, by seed; timing that is missed is reported, not an error.

    ``options`` holds the arguments for constraints; ``{seed}`` in them stands for the seed.

    Raises
    ------
    ConfigError
        If there is no seed.
    ToolError
        If nextpnr is missing or fails: the design does not fit, for example.
    """
    if not seeds:
        raise ConfigError("Place and route needs at least one seed, not none")
    report_step = progress or (lambda what, done, total: None)
    report_step("nextpnr", 0, len(seeds))
    reports = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for seed, report in zip(seeds, pool.map(lambda seed: _route(folder, device, seed, options), seeds), strict=True):
            reports[seed] = report
            report_step("nextpnr", len(reports), len(seeds))
    return reports


def _route(folder: Path, device: FpgaDevice, seed: int, options: Sequence[str]) -> dict:
    report = folder / f"report-{seed}.json"
    if not report.exists():
        arguments = [*device.nextpnr_arguments, "--json", NETLIST, "--report", f"report-{seed}.part", "--seed", str(seed)]
        arguments += ["--freq", str(device.target_mhz), "--timing-allow-fail", "--quiet", *(option.format(seed=seed) for option in options)]
        tools.run(f"nextpnr-{device.family}", arguments, folder, f"nextpnr-{seed}.log")
        finish(folder / f"report-{seed}.part", report)
    return json.loads(report.read_text(encoding="utf-8"))


def finish(part: Path, whole: Path) -> None:
    """Give a finished file its name."""
    if not part.exists():
        raise ToolError(f"The tool ended well but did not write {part}; see the logs beside it")
    part.replace(whole)


def _check_log(log: Path) -> None:
    conflict = next((line for line in log.read_text(encoding="utf-8").splitlines() if "Driver-driver conflict" in line), None)
    if conflict:
        raise ToolError(f"yosys connected two drivers ({conflict.strip()}); its log is {log}")
