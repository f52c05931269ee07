"""The SDRAM model keeps data, and reports every broken rule of its part."""

from __future__ import annotations

from pathlib import Path

import pytest

from cocotb_runner import run_cocotb
from permfc.memory import load_part
from permfc_sim.memories import SDRAM_RULES, sdram_parameters

# No parameter follows from two others, so that every rule can be broken alone.
TIMES = {"RCD": 3, "RP": 4, "RAS": 7, "RC": 16, "RRD": 3, "RFC": 9, "WR": 4, "REFI": 90, "POWER_UP": 50}


@pytest.mark.parametrize(("width", "cas"), [(16, 2), (32, 3)])
def test_sdram_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, width: int, cas: int) -> None:
    parameters = {"WIDTH": width, "ROW_BITS": 4, "COLUMN_BITS": 5, "LEAST_CAS": cas} | {f"T_{name}": value for name, value in TIMES.items()}
    environment = {name: str(value) for name, value in parameters.items()}
    run_cocotb(monkeypatch, tmp_path, "sdram_model", "cocotb_sdram_model", parameters=parameters, environment=environment)


def test_every_rule_has_a_sentence() -> None:
    source = (Path(__file__).parents[1] / "sim" / "permfc_sim" / "hdl" / "sdram_commands.sv").read_text()
    names = source.split("typedef enum int {")[1].split("RULES")[0].split(",")
    assert len([name for name in names if name.strip()]) == len(SDRAM_RULES)


def test_parameters_of_a_part() -> None:
    """MT48LC16M16A2-75 at 100 MHz: CAS 2, tRCD and tRP 2, tRC and tRFC 7 clocks; at 133 MHz: CAS 3, 3, 3, 9 and 9."""
    part = load_part("MT48LC16M16A2-75")
    assert sdram_parameters(part, 100e6) == {
        "WIDTH": 16, "ROW_BITS": 13, "COLUMN_BITS": 9, "T_RCD": 2, "T_RP": 2, "T_RAS": 5, "T_RC": 7, "T_RRD": 2, "T_RFC": 7, "T_WR": 2,
        "T_REFI": 781, "T_POWER_UP": 10_000, "LEAST_CAS": 2,
    }
    faster = sdram_parameters(part, 133e6)
    assert [faster[name] for name in ("T_RCD", "T_RP", "T_RC", "T_RFC", "LEAST_CAS")] == [3, 3, 9, 9, 3]
