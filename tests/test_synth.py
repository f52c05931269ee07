"""The synthesis flow: the shell around a design, report parsing, and one small design through the real tools."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from permfc.errors import ConfigError, ToolError
from permfc_boards import tools
from permfc_boards.devices import device
from permfc_boards.flow import mapping_commands, synthesise_netlist
from permfc_boards.harness import Port, harness, ports
from permfc_boards.synth import CellCounts, Usage, count_cells, place_and_route, read_reports
from permfc_hw.verilog import engine_verilog

# A registered 8 x 8 multiplier and a 16-bit accumulator.
DESIGN = """
module small(clk, rst, a, b, sum, full);
  input clk;
  input rst;
  input [7:0] a;
  wire [7:0] a;
  input [7:0] b;
  output [15:0] sum;
  output full;
  reg [15:0] sum;
  reg [15:0] product;
  assign full = &sum;
  always @(posedge clk) begin
    product <= a * b;
    sum <= rst ? 16'd0 : sum + product;
  end
endmodule
"""
ECP5_REPORT = {
    "fmax": {"$glbnet$clk": {"achieved": 101.5, "constraint": 100.0}},
    "utilization": {
        "TRELLIS_COMB": {"used": 110, "available": 24288},
        "TRELLIS_FF": {"used": 99, "available": 24288},
        "DP16KD": {"used": 3, "available": 56},
        "MULT18X18D": {"used": 2, "available": 28},
    },
}
DESIGN_CELLS, SHELL_CELLS = CellCounts(luts=90, flip_flops=60), CellCounts(luts=10, flip_flops=30)


def test_ports_of_a_module() -> None:
    assert ports(DESIGN, "small") == [
        Port("clk", True, 1), Port("rst", True, 1), Port("a", True, 8), Port("b", True, 8), Port("sum", False, 16), Port("full", False, 1),
    ]


def test_missing_module() -> None:
    with pytest.raises(ToolError, match="has no module 'engine'; name one that it has"):
        harness(DESIGN, "engine")


def test_shell_connects_every_port_once() -> None:
    text = harness(DESIGN, "small")
    assert "module permfc_harness(input clk, input d, output q);" in text
    for connection in (".clk(clk)", ".rst(inputs[0:0])", ".a(inputs[8:1])", ".b(inputs[16:9])", ".sum(outputs[15:0])", ".full(outputs[16:16])"):
        assert text.count(connection) == 1
    assert "fold1[4] <= ^fold0[16:16];" in text  # the last output bit is not lost


def test_report_of_two_seeds() -> None:
    second = json.loads(json.dumps(ECP5_REPORT))
    second["fmax"]["$glbnet$clk"]["achieved"] = 98.5
    report = read_reports(device("ecp5-25k"), DESIGN_CELLS, SHELL_CELLS, {1: ECP5_REPORT, 7: second}, Path("build"))
    assert report.usage["lut4"] == Usage(110 - 10, 24288)
    assert report.logic_luts == 90
    assert report.flip_flops == Usage(60, 24288)
    assert (report.usage["block_ram"], report.usage["dsp"]) == (Usage(3, 56), Usage(2, 28))
    assert report.fmax_mhz == {1: 101.5, 7: 98.5}
    assert report.median_mhz == 100.0
    assert report.as_dict()["median_mhz"] == 100.0


def test_logic_cells_of_ice40_hold_the_shells_flip_flops() -> None:
    used = {"ICESTORM_LC": 200, "ICESTORM_RAM": 1, "ICESTORM_SPRAM": 4, "ICESTORM_DSP": 0}
    utilisation = {kind: {"used": count, "available": 5280} for kind, count in used.items()}
    report = read_reports(device("up5k"), DESIGN_CELLS, SHELL_CELLS, {1: {"fmax": ECP5_REPORT["fmax"], "utilization": utilisation}}, Path("build"))
    assert report.usage["lut4"] == Usage(170, 5280)


def test_report_without_a_resource() -> None:
    broken = {**ECP5_REPORT, "utilization": {"TRELLIS_COMB": {"used": 1, "available": 2}}}
    with pytest.raises(ToolError, match="lacks 'DP16KD'; this version of nextpnr is not supported"):
        read_reports(device("ecp5-25k"), DESIGN_CELLS, SHELL_CELLS, {1: broken}, Path("build"))


def test_cells_are_counted_by_module() -> None:
    kinds = ["LUT4", "LUT4", "TRELLIS_FF", "CCU2C"]
    netlist = {"modules": {"small": {"cells": {str(n): {"type": kind} for n, kind in enumerate(kinds)}}, "other": {"cells": {"a": {"type": "LUT4"}}}}}
    assert count_cells(netlist, "small") == CellCounts(luts=2, flip_flops=1)


def test_no_seeds() -> None:
    with pytest.raises(ConfigError, match="at least one seed, not none"):
        place_and_route(DESIGN, "small", device("ecp5-25k"), seeds=())


def test_missing_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda *arguments, **options: None)
    with pytest.raises(ToolError, match=r"yosys is missing; install it, or run: pip install 'permfc\[synth\]'"):
        tools.find("yosys")


def test_failing_tool_leaves_no_result(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="yosys failed with status 1"):
        place_and_route(DESIGN.replace("a * b", "a * missing("), "small", device("ecp5-25k"), (1,), tmp_path)
    assert not (tmp_path / "netlist.json").exists()


def test_lists_of_activations_take_the_spram_of_an_ultraplus(tmp_path: Path) -> None:
    """Two of 16 bits for each list; the small memories stay block RAM."""
    config = replace(device("up5k").config, block_outputs=16)
    script = "\n".join(["read_verilog design.v", *mapping_commands(device("up5k"), "permfc_engine"), ""])
    netlist = synthesise_netlist(tmp_path, {"design.v": engine_verilog(config)}, script, None)
    cells = json.loads(netlist.read_text(encoding="utf-8"))["modules"]["permfc_engine"]["cells"]
    kinds = Counter(cell["type"] for cell in cells.values())
    assert kinds["SB_SPRAM256KA"] == 4
    assert kinds["SB_RAM40_4K"] > 0


def test_small_design_on_ecp5(tmp_path: Path) -> None:
    steps = []
    report = place_and_route(DESIGN, "small", device("ecp5-25k"), (1,), tmp_path, lambda *step: steps.append(step))
    assert steps == [("yosys", 0, 1), ("yosys", 1, 1), ("nextpnr", 0, 1), ("nextpnr", 1, 1)]
    assert report.usage["dsp"].used == 1
    assert report.usage["block_ram"].used == 0
    assert 16 <= report.flip_flops.used <= 48  # the DSP may take in the inputs' and the product's registers
    assert 16 <= report.usage["lut4"].used <= 80
    assert report.harness.flip_flops == 17 + (17 + 5 + 2 + 1)
    assert 20 < report.median_mhz < 1000
