"""The memories of the testbench: which Verilog stands behind the bus, and what the rules mean that its checker counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import permfc_hw
from permfc.config import EngineConfig
from permfc.errors import ConfigError
from permfc.memory import DramPart, FlashPart, Memory

HDL = Path(__file__).parent / "hdl"
TSHSL_NS = 10  # chip select high between reads (W25Q128JV data sheet, AC characteristics, tSHSL1)
NO_COMMAND = "no command"
COMMANDS = ("ACTIVATE", "READ", "WRITE", "PRECHARGE", "PRECHARGE ALL", "REFRESH", "LOAD MODE", "BURST TERMINATE", NO_COMMAND)  # command_t

# What the bits of `broken` in sdram_rules.sv mean, in the order of rule_t.
SDRAM_RULES = (
    "a command before the power-up time has passed",
    "initialisation: PRECHARGE ALL, two REFRESH and LOAD MODE come before ACTIVATE, and PRECHARGE ALL first",
    "tRCD: READ or WRITE too soon after ACTIVATE",
    "tRP: the bank was precharged too short a time ago",
    "tRAS: PRECHARGE too soon after ACTIVATE",
    "tRC: ACTIVATE too soon after ACTIVATE of the same bank",
    "tRRD: ACTIVATE too soon after ACTIVATE of another bank",
    "tRFC: a command too soon after REFRESH",
    "tMRD: a command too soon after LOAD MODE",
    "tWR: PRECHARGE too soon after written data",
    "refresh interval: more than eight REFRESH are owed",
    "ACTIVATE of an open bank",
    "READ or WRITE of a closed bank",
    "REFRESH or LOAD MODE while a bank is open",
    "LOAD MODE with a reserved value",
    "LOAD MODE with a CAS latency that is too short for the clock",
    "controller and memory drive the data pins together, or without a cycle between",
    "written data that the controller does not drive",
    "auto precharge, which the model does not have",
    "CKE low, for which the model has no state",
)

# The same of flash_model.sv.
FLASH_RULES = (
    "a command in power-down",
    "tRES1: a command too soon after the release from power-down",
    "tSHSL: selected again too soon",
    "a quad read before quad enable",
    "an instruction that the model does not know",
    "controller and memory drive the data pins together",
)


@dataclass(frozen=True)
class BenchMemory:
    """What a simulator is built with for one memory.

    Members
    -------
    memory : Memory
        What it simulates.
    source : Path
        Verilog of the module ``memory_system``.
    parameters : str
        Text of the package ``memory_parameters``; empty when the source needs none.
    controller : callable, optional
        Text of the Verilog module that drives the pins; called only for a build.
    gateware_folder : str
        Folder of ``permfc_hw`` with the controller's sources; empty without one.
    bytes : int
        Size.
    rules : tuple of str
        What the memory's checker counts, in the order of its bits.
    power_up_cycles : int
        Until the first read is answered, at most.
    """

    memory: Memory
    source: Path
    parameters: str
    controller: Callable[[], str] | None
    gateware_folder: str
    bytes: int
    rules: tuple[str, ...] = ()
    power_up_cycles: int = 0

    def gateware(self) -> list[Path]:
        """The sources of the controller."""
        return sorted((Path(permfc_hw.__file__).parent / self.gateware_folder).glob("*.py")) if self.gateware_folder else []


def bench_memory(memory: Memory, config: EngineConfig, memory_bytes: int) -> BenchMemory:
    """What stands behind the bus of ``config`` for ``memory``; ``memory_bytes`` is the size of a memory without a part.

    Raises
    ------
    ConfigError
        If the memory is one that is modelled, not simulated, or its width does not divide the bus.
    """
    if memory.part is None:
        return BenchMemory(memory, HDL / "memory_axi.sv", "", None, "", memory_bytes)
    if not memory.is_counted:
        raise ConfigError(f"The commands of {memory.name} are modelled, not simulated: simulate with memory axi and model them from its reads")
    if memory.devices != 1:
        raise ConfigError(f"The testbench has one device of {memory.part.name}, not {memory.devices}")
    if isinstance(memory.part, DramPart):
        return _sdram(memory, memory.part, config)
    return _flash(memory, memory.part, config)


def _sdram(memory: Memory, part: DramPart, config: EngineConfig) -> BenchMemory:
    def controller() -> str:
        from permfc_hw.verilog import sdram_verilog

        return sdram_verilog(part, memory.clock_hz, config.bus_bits)

    if config.bus_bits % part.width or config.bus_bits // part.width not in (1, 2, 4, 8):
        raise ConfigError(f"{part.name} serves a bus of 1, 2, 4 or 8 times its {part.width} bits, not one of {config.bus_bits}")
    parameters = sdram_parameters(part, memory.clock_hz)
    power_up_cycles = 2 * parameters["T_POWER_UP"]
    return BenchMemory(
        memory, HDL / "memory_sdr.sv", parameter_package(parameters), controller, "sdram", part.capacity, SDRAM_RULES, power_up_cycles,
    )


def _flash(memory: Memory, part: FlashPart, config: EngineConfig) -> BenchMemory:
    def controller() -> str:
        from permfc_hw.verilog import flash_verilog

        return flash_verilog(part, memory.clock_hz, config.bus_bits)

    if config.bus_bits > 64:
        raise ConfigError(f"{part.name} serves a bus of 16, 32 or 64 bits, not one of {config.bus_bits}")
    package = parameter_package(flash_parameters(part, memory.clock_hz))
    power_up_cycles = 10 * flash_parameters(part, memory.clock_hz)["T_RES"] + 1_000
    return BenchMemory(memory, HDL / "memory_qspi.sv", package, controller, "flash", part.capacity, FLASH_RULES, power_up_cycles)


def flash_parameters(part: FlashPart, clock_hz: float) -> dict[str, int]:
    """Parameters of flash_model.sv for a part at a clock: bytes, and times in clocks."""
    return {"BYTES": part.capacity, "T_RES": math.ceil(part.txp * 1e-9 * clock_hz), "T_SHSL": math.ceil(TSHSL_NS * 1e-9 * clock_hz)}


def sdram_parameters(part: DramPart, clock_hz: float) -> dict[str, int]:
    """Parameters of sdram_model.sv for a part at a clock: sizes in bits, times in clocks."""
    times = ("trcd", "trp", "tras", "trc", "trrd", "trfc", "twr", "trefi", "power_up")
    return {
        "WIDTH": part.width,
        "ROW_BITS": part.rows.bit_length() - 1,
        "COLUMN_BITS": part.columns.bit_length() - 1,
        **{f"T_{name.removeprefix('t').upper()}": part.timing.cycles(name, clock_hz) for name in times},
        "LEAST_CAS": part.timing.cas_latency(clock_hz),
    }


def parameter_package(parameters: dict[str, int]) -> str:
    """Text of the SystemVerilog package ``memory_parameters``."""
    lines = [f"    localparam int {name} = {value};" for name, value in parameters.items()]
    return "\n".join(["package memory_parameters;", *lines, "endpackage", ""])
