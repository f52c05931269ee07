"""Boards: their descriptions, their tops' pins, and the parts of a build that need no place and route."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from command_line import fail
from permfc.errors import ConfigError, ToolError
from permfc.memory import DramPart, memory
from permfc_boards import build as build_module
from permfc_boards.board import Board
from permfc_boards.boards import BOARD_NAMES, board
from permfc_boards.build import BuildReport, build, program
from permfc_boards.simulated_platform import SimulatedPlatform
from permfc_boards.simulation.library import board_verilog
from permfc_boards.top import Top

SMALL = {"lanes": 4, "block_outputs": 16, "features": 16}


@pytest.fixture(params=BOARD_NAMES)
def described(request: pytest.FixtureRequest) -> Board:
    return board(request.param)


def test_a_board_is_named_as_it_answers(described: Board) -> None:
    assert described.name in BOARD_NAMES and len(described.name) <= 16
    link = Top(described, described.config).link
    assert link.board == described.name
    assert link.memory_bytes == memory(described.memory).capacity
    assert link.clock_hz == described.device.target_mhz * 1e6
    assert link.memory_writable == isinstance(memory(described.memory).part, DramPart)


def test_image_lies_inside_the_memory_and_behind_a_bitstream(described: Board) -> None:
    assert described.image_address < memory(described.memory).capacity
    if not isinstance(memory(described.memory).part, DramPart):
        assert described.image_address >= 104_090  # bytes of an iCE40 UP5K bitstream


def test_top_uses_the_pins_of_the_board(described: Board) -> None:
    text = board_verilog(described, dataclasses.replace(described.config, **SMALL)).split(");")[0]
    assert "uart_0__rx__i" in text and "uart_0__tx__o" in text
    pins = ("sdram_0__dq__i", "sdram_0__ba__o", "sdram_0__clk__o") if described.memory.startswith("sdr") else ("spi_flash_4x_0__dq__i",)
    assert all(pin in text for pin in pins)


def test_simulated_pins_have_the_boards_widths_and_polarities() -> None:
    platform = SimulatedPlatform(board("ulx3s-85f").platform)
    sdram = platform.request("sdram")
    assert len(sdram.dq) == 16 and len(sdram.a) == 13 and len(sdram.ba) == 2
    assert sdram.cs.invert == (True,) and sdram.clk.invert == (False,)
    assert {signal.name for signal in platform.signals} >= {"sdram_0__dq__i", "sdram_0__dq__o", "sdram_0__dq__oe", "sdram_0__cs__o"}


def test_unknown_board_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="Board 'ulx4s' is unknown; choose one of ulx3s-85f, ulx3s-25f"):
        board("ulx4s")
    assert "choose one of ulx3s-85f" in fail("build", "ulx4s")


def test_bus_that_does_not_fit_the_memory() -> None:
    x32 = dataclasses.replace(board("ulx3s-85f"), memory="sdr-x32-100")
    with pytest.raises(ConfigError, match="has 32 data pins; bus_bits must be a multiple, not 16"):
        Top(x32, x32.config)


def test_report_counts_the_seeds_that_met_the_clock() -> None:
    report = BuildReport("b", 100.0, {1: 99.9, 2: 104.0, 3: 100.0}, 2, {}, "b.bit")
    assert report.seeds_met == 2 and report.median_mhz == 100.0
    assert report.as_dict()["seeds_met"] == 2


def test_missed_clock_names_the_best_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the tools are left out: the plan of the real board is made, the routed frequencies are given."""
    target = board("icebreaker")
    reports = {1: {"fmax": {"clk": {"achieved": 20.0}}}, 2: {"fmax": {"clk": {"achieved": 22.5}}}}
    monkeypatch.setattr(build_module, "synthesise_netlist", lambda *arguments: tmp_path)
    monkeypatch.setattr(build_module, "route_seeds", lambda *arguments: reports)
    with pytest.raises(ToolError, match="icebreaker needs 24 MHz and reached 22.5 MHz with seed 2; try more --seeds or fewer --lanes"):
        build(target, dataclasses.replace(target.config, **SMALL), (1, 2), tmp_path)


def test_missing_programmer_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module.shutil, "which", lambda name: None)
    with pytest.raises(ToolError, match="openFPGALoader is missing; install it, then run: openFPGALoader -b ulx3s top.bit"):
        program(board("ulx3s-85f"), Path("top.bit"))
