"""The engine as an IP block: what other tools say about the files."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from permfc.config import EngineConfig
from permfc_boards import tools
from permfc_boards.harness import ports
from permfc_hw.ip import ip_files
from permfc_sim.verilator import find_verilator

CONFIG = EngineConfig(lanes=4, bus_bits=64, block_outputs=64, features=64, outstanding=4)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return ip_files(CONFIG)


def lint(folder: Path, sources: list[str]) -> subprocess.CompletedProcess:
    tool = find_verilator()
    command = [str(tool.program), "--lint-only", "-Wall", "--top-module", "permfc", *sources]
    return subprocess.run(command, cwd=folder, env=tool.environment(), capture_output=True, text=True, check=False)


def written(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_verilator_finds_nothing_but_what_is_waived(files: dict[str, str], tmp_path: Path) -> None:
    done = lint(written(files, tmp_path), ["permfc.vlt", "permfc.v"])
    assert (done.returncode, done.stderr) == (0, "")


def test_every_waiver_is_needed_and_says_why(files: dict[str, str], tmp_path: Path) -> None:
    rules = re.findall(r"^lint_off -rule (\w+) +// \w", files["permfc.vlt"], re.MULTILINE)
    assert len(rules) == files["permfc.vlt"].count("lint_off") > 0
    found = set(re.findall(r"%Warning-(\w+)", lint(written(files, tmp_path), ["permfc.v"]).stderr))
    assert found == set(rules)


def test_a_forgotten_connection_is_found(files: dict[str, str], tmp_path: Path) -> None:
    broken = {**files, "permfc.v": files["permfc.v"].replace(".m_axi_arready(m_axi_arready),\n", "", 1)}
    done = lint(written(broken, tmp_path), ["permfc.vlt", "permfc.v"])
    assert "PINMISSING" in done.stderr


def test_yosys_reads_it_without_a_complaint(files: dict[str, str], tmp_path: Path) -> None:
    written(files, tmp_path)
    script = "read_verilog permfc.v; hierarchy -check -top permfc; proc; check -assert"
    tools.run("yosys", ["-q", "-e", ".", "-p", script], tmp_path, "yosys.out")


def test_ports_carry_the_names_of_their_interfaces(files: dict[str, str]) -> None:
    text = re.sub(r" wire | *\(\*.*\*\)\n", " ", files["permfc.v"].split("endmodule")[0])
    found = {name: (direction, int(high or 0) + 1) for direction, high, name in re.findall(r"(input|output) (?:\[(\d+):0\] )?(\w+)", text)}
    inner = {port.name: ("input" if port.is_input else "output", port.width) for port in ports(files["permfc.v"], "permfc_engine")}
    added = {"aclk": ("input", 1), "aresetn": ("input", 1), "m_axi_arprot": ("output", 3), "m_axi_arcache": ("output", 4)}
    assert {name: kind for name, kind in inner.items() if name not in ("clk", "rst")} | added == found
    assert found["m_axi_rdata"] == ("input", 64)
    assert all(re.match(r"[ms]_axi_(aw|w|b|ar|r)|[ms]_axis_t|aclk$|aresetn$", name) for name in found)


def test_readme_names_the_parameters(files: dict[str, str]) -> None:
    assert "| bus_bits | 64 |" in files["README.md"] and "--bus-bits 64" in files["README.md"]
    assert "4 reads in flight" in files["README.md"]


def test_readme_gives_the_options_for_an_image(files: dict[str, str]) -> None:
    """``tables`` is a flag."""
    assert files["README.md"].endswith("--accumulator-bits 32 --tables`.\n")
    assert "--accumulator-bits 32 --no-tables`." in ip_files(replace(CONFIG, tables=False))["README.md"]
