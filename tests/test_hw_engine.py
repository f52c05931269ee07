"""Engine: its ports, by the names and widths that users wire. What it computes is tested in simulation of the whole (test_system)."""

from __future__ import annotations

import pytest
from amaranth.hdl import Fragment, Shape
from amaranth.lib.wiring import Flow

from permfc.config import EngineConfig
from permfc_hw.engine import Engine

AXI_READ = {"araddr": 32, "arlen": 8, "arsize": 3, "arburst": 2, "arvalid": 1, "arready": -1, "rresp": -2, "rlast": -1, "rvalid": -1, "rready": 1}
AXI_LITE = {
    "awaddr": -8, "awvalid": -1, "awready": 1, "wdata": -32, "wstrb": -4, "wvalid": -1, "wready": 1, "bresp": 2, "bvalid": 1, "bready": -1,
    "araddr": -8, "arvalid": -1, "arready": 1, "rdata": 32, "rresp": 2, "rvalid": 1, "rready": -1,
}
INPUT = {"tdata": -8, "tvalid": -1, "tready": 1}
OUTPUT = {"tdata": 32, "tvalid": 1, "tready": -1, "tlast": 1}


def ports_of(engine: Engine) -> dict[str, int]:
    """Widths by name, inputs negative."""
    members = engine.signature.members
    return {name: Shape.cast(member.shape).width * (1 if member.flow is Flow.Out else -1) for name, member in members.items()}


@pytest.mark.parametrize("config", [EngineConfig(lanes=4, bus_bits=16), EngineConfig(lanes=8, bus_bits=512, block_outputs=64, features=128)])
def test_ports(config):
    engine = Engine(config)
    Fragment.get(engine, None)  # the boxes fit together
    named = {
        "m_axi": AXI_READ | {"rdata": -config.bus_bits},
        "s_axi": AXI_LITE,
        "s_axis": INPUT,
        "m_axis": OUTPUT,
    }
    assert ports_of(engine) == {f"{prefix}_{name}": width for prefix, ports in named.items() for name, width in ports.items()}
