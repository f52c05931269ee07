"""Runs a cocotb test module on the Verilated simulation sources, for pytest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from permfc_sim.library import BENCH_SOURCES
from permfc_sim.verilator import find_verilator

HERE = Path(__file__).parent


def run_cocotb(
    monkeypatch: pytest.MonkeyPatch, folder: Path, top: str, module: str, *, parameters: Mapping[str, int],
    sources: Sequence[Path] = (), environment: Mapping[str, str] | None = None, plusargs: Sequence[str] = (),
) -> None:
    """Build ``top`` in ``folder`` and run the cocotb tests of ``module`` on it; pytest fails when one of them does."""
    for name, value in find_verilator().environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAKEFLAGS", f"{os.environ.get('MAKEFLAGS', '')} OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1")  # short runs: compile fast
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(HERE))
    runner = get_runner("verilator")
    runner.build(
        sources=[*BENCH_SOURCES, *sources], hdl_toplevel=top, parameters=parameters, build_dir=folder, timescale=("1ns", "1ps"),
        build_args=["-O3", "--x-assign", "fast", "-Wno-lint", "-Wno-style"], log_file=folder / "build.log",
    )
    results = folder / "results.xml"
    runner.test(  # exits, which pytest counts as a failure, when a test fails
        hdl_toplevel=top, test_module=module, build_dir=folder, test_dir=folder, extra_env=dict(environment or {}), plusargs=plusargs,
        results_xml=str(results),
    )
    assert get_results(results)[0] > 0, f"{module} has no tests"
