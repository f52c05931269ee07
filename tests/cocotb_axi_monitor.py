"""cocotb tests of axi_monitor.sv with masters and slaves that misbehave; run by test_axi_monitor.py.

A scenario is a list of cycles; a cycle is a dict of the pins that are not idle. The bus has 32 bits, 4 reads may be in flight.
"""

from __future__ import annotations

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

PINS = ("araddr", "arlen", "arsize", "arburst", "arvalid", "arready", "rdata", "rresp", "rlast", "rvalid", "rready")
IDLE = dict.fromkeys(PINS, 0)


def ar(address: int = 0x100, beats: int = 1, *, ready: int = 1, size: int = 2, burst: int = 1) -> dict[str, int]:
    """A cycle in which a read is offered."""
    return {"arvalid": 1, "arready": ready, "araddr": address, "arlen": beats - 1, "arsize": size, "arburst": burst}


def r(data: int = 5, *, last: int = 1, ready: int = 1, resp: int = 0) -> dict[str, int]:
    """A cycle in which a beat is offered."""
    return {"rvalid": 1, "rready": ready, "rdata": data, "rlast": last, "rresp": resp}


async def play(dut, cycles: list[dict[str, int]]) -> list[list[int]]:
    """Drive the cycles after a reset; the rules broken in each, numbered as in `permfc_sim.device.RULES`."""
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value = 1
    broken = []
    for number, cycle in enumerate([{}, {}, *cycles, {}]):
        for pin, value in {**IDLE, **cycle}.items():
            getattr(dut, f"axi_{pin}").value = value
        if number == 2:
            dut.rst.value = 0
        await ReadOnly()
        vector = int(dut.broken.value) if number >= 2 else 0
        broken.append([bit for bit in range(11) if vector >> bit & 1])
        await RisingEdge(dut.clk)
    return broken[2:]


SCENARIOS = {
    "lawful": ([ar(ready=0), ar(), {}, ar(0xF00, 64) | r(ready=0), r(), *[r(k, last=int(k == 63)) for k in range(64)]], {}),
    "lawful_while_four_are_open": ([ar(), ar(), ar(), ar(), ar() | r(), r(), r(), r(), r()], {}),
    "arvalid_withdrawn": ([ar(ready=0), {}, ar(), r()], {1: [0]}),
    "address_changed": ([ar(ready=0), ar(0x200), r()], {1: [1]}),
    "length_changed": ([ar(ready=0), ar(beats=2), r(last=0), r()], {1: [1]}),
    "fixed_burst": ([ar(burst=0), r()], {0: [2]}),
    "wrapping_burst": ([ar(burst=2), r()], {0: [2]}),
    "narrow_beats": ([ar(size=1), r()], {0: [3]}),
    "wide_beats": ([ar(size=3), r()], {0: [3]}),
    "unaligned": ([ar(0x102), r()], {0: [4]}),
    "crosses_4k": ([ar(0xFFC, 2), r(last=0), r()], {0: [5]}),
    "longest_burst_crosses_4k": ([ar(0xC04, 256), *[r(last=int(k == 255)) for k in range(256)]], {0: [5]}),
    "five_in_flight": ([ar(), ar(), ar(), ar(), ar(), r(), r(), r(), r(), r()], {4: [6]}),
    "rvalid_withdrawn": ([ar(), r(ready=0), {}, r()], {2: [7]}),
    "data_changed": ([ar(), r(5, ready=0), r(6)], {2: [8]}),
    "response_changed": ([ar(), r(ready=0), r(resp=2)], {2: [8]}),
    "last_too_early": ([ar(beats=2), r(last=1), r()], {1: [9]}),
    "last_missing": ([ar(beats=2), r(last=0), r(last=0)], {2: [9]}),
    "data_without_read": ([{}, r()], {1: [10]}),
    "one_beat_too_many": ([ar(), r(), r()], {2: [10]}),
}


@cocotb.test()
@cocotb.parametrize(name=list(SCENARIOS))
async def rule(dut, name: str) -> None:
    cycles, expected = SCENARIOS[name]
    broken = await play(dut, cycles)
    assert broken == [expected.get(number, []) for number in range(len(cycles) + 1)]


@cocotb.test()
async def counters_count_handshakes(dut) -> None:
    await play(dut, [ar(ready=0), ar(beats=2), ar(), r(last=0), r(ready=0), r(), {}, r()])
    await ReadOnly()
    assert (int(dut.bursts.value), int(dut.beats.value), int(dut.in_flight.value), int(dut.most_in_flight.value)) == (2, 3, 0, 2)
