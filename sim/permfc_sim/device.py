"""A simulated board: the Verilated engine, its memory and its monitors behind the `Device` interface."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from permfc.config import EngineConfig
from permfc.device.engine import EngineDevice
from permfc.errors import ConfigError, DeviceError, LinkError
from permfc.format import Register, Status
from permfc.memory import CommandTrace, Memory
from permfc.memory import memory as named_memory
from permfc.memory.reads import Reads
from permfc.progress import Progress

from .library import MEMORY_BYTES, engine_library
from .memories import COMMANDS, NO_COMMAND, bench_memory
from .pin_log import BUS_READ, PIN_COMMAND, bus_reads, command_trace, copied

ANSWER_CYCLES = 1_000   # within which a register access is answered and an offered input or output beat moves
MOST_OUTSTANDING = 64   # of axi_memory.sv
NO_FAULT, ERROR_FAULT, SILENCE_FAULT = 0, 1, 2

# What the bits of `broken` in testbench.sv mean.
RULES = (
    "ARVALID was withdrawn before ARREADY",
    "the address channel changed while it was stalled",
    "ARBURST is not INCR",
    "ARSIZE is not the width of the bus",
    "ARADDR is not aligned to the bus",
    "a burst crosses a 4 KiB boundary",
    "more reads are in flight than the configuration allows",
    "RVALID was withdrawn before RREADY",
    "the read data channel changed while it was stalled",
    "RLAST is not on the last beat",
    "there are read data without a read",
    "TVALID of the output was withdrawn before TREADY",
    "the output changed while it was stalled",
    "RVALID of the registers was withdrawn before RREADY",
    "the register read channel changed while it was stalled",
    "BVALID of the registers was withdrawn before BREADY",
    "the register write response changed while it was stalled",
)


class _Behaviour(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("latency", "gap", "outstanding", "seed", "fault", "fault_address", "stall")]


class _Counters(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64) for name in ("cycles", "bursts", "beats", "most_in_flight", "violations", "first_rule", "first_cycle")
    ]


class _MemoryViolation(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint64)] + [
        (name, ctypes.c_uint32) for name in ("rule", "earlier_command", "earlier_cycle", "later_command", "later_cycle")
    ]


@dataclass(frozen=True)
class BusCounters:
    """What the monitor on the memory bus has counted since the device was made.

    Members
    -------
    cycles : int
        Simulated cycles.
    bursts, beats : int
        Reads that the memory accepted, and bus words that the engine took.
    most_in_flight : int
        Most reads that were in flight at once.
    violations : int
        Broken protocol rules.
    """

    cycles: int
    bursts: int
    beats: int
    most_in_flight: int
    violations: int


def _load_library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, u32, u64, i32, i64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64
    word, data = ctypes.POINTER(ctypes.c_uint32), ctypes.c_void_p
    signatures = {
        "create": (handle, [ctypes.c_char_p]),
        "destroy": (None, [handle]),
        "configure": (None, [handle, ctypes.POINTER(_Behaviour)]),
        "reset": (None, [handle]),
        "load": (i32, [handle, u64, data, u64]),
        "write_register": (i32, [handle, u32, u32, u64]),
        "read_register": (i32, [handle, u32, word, u64]),
        "send": (i64, [handle, data, u64, u64]),
        "wait": (i32, [handle, u32, u32, word, u64]),
        "receive": (u64, [handle, data, data, u64, u64]),
        "discard_output": (None, [handle]),
        "run": (None, [handle, u64]),
        "counters": (None, [handle, ctypes.POINTER(_Counters)]),
        "initialise": (i32, [handle, u64]),
        "memory_violation": (None, [handle, ctypes.POINTER(_MemoryViolation)]),
        "commands": (u64, [handle, ctypes.POINTER(ctypes.c_void_p)]),
        "reads": (u64, [handle, ctypes.POINTER(ctypes.c_void_p)]),
        "forget_commands": (None, [handle]),
        "forget_reads": (None, [handle]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"permfc_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _probability(name: str, value: float) -> int:
    if not 0 <= value < 1:
        raise ConfigError(f"{name} must be a probability from 0 to below 1, not {value!r}")
    return int(value * 65536)


class SimDevice(EngineDevice):
    """One engine in simulation, cycle by cycle, with a memory: one of set latency and seeded random stalls, or one with its controller and pins.

    Making one builds the simulator when it is not in the cache yet (half a minute for 16 lanes).

    Parameters
    ----------
    config : EngineConfig
        The engine.
    latency : int
        Cycles from the acceptance of a read to its first beat, 2 to 65535. This and the next two mean nothing to a memory with pins.
    gap : float
        Probability, each cycle, that the memory withholds a beat and that it accepts no read.
    outstanding : int, optional
        Reads that the memory accepts at once, 1 to 64. Default: as many as the engine sends.
    seed : int
        Of all random stalls.
    stall : float
        Probability, each cycle, that the host withholds an input and that it takes no result.
    waves : path, optional
        A VCD file to write; the simulation is then several times slower.
    memory : Memory, optional
        Default: a plain AXI4 memory at 100 MHz. One that ``is_counted`` is simulated at its pins, with our controller; the engine has its clock.
    memory_bytes : int
        Size of a plain AXI4 memory; others are as large as their part.
    verilog : str, optional
        Text of a module ``permfc_engine`` to simulate instead of the one that ``config`` elaborates to.
    progress : callable, optional
        Told about the steps of the build, see `permfc.progress.Progress`.

    Raises
    ------
    ConfigError
        If a parameter is out of its range.
    ToolError
        If the simulator cannot be built.
    """

    def __init__(
        self, config: EngineConfig, latency: int = 30, gap: float = 0.0, outstanding: int | None = None, seed: int = 0, stall: float = 0.0,
        waves: str | Path | None = None, *, memory: Memory | None = None, memory_bytes: int = MEMORY_BYTES, verilog: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._handle = None
        self._commands_taken = self._reads_taken = self._open_banks = 0
        self._behaviour = _Behaviour(seed=seed & 0xFFFFFFFF)
        self._check_timing(latency, gap, config.outstanding if outstanding is None else outstanding, stall)
        self._memory = bench_memory(memory or named_memory("axi"), config, memory_bytes)
        self._bus_bytes, self._features = config.bus_bytes, config.features
        path = engine_library(config, self._memory, waves=waves is not None, verilog=verilog, progress=progress)
        self._library = _load_library(path)
        self._handle = self._library.permfc_create(str(waves).encode() if waves is not None else None)
        self._library.permfc_configure(self._simulation, self._behaviour)
        self.reset()

    def set_timing(self, latency: int = 30, gap: float = 0.0, outstanding: int | None = None, stall: float = 0.0) -> None:
        """Change the memory and the host between runs; the parameters are those of the class."""
        self._check_timing(latency, gap, self._behaviour.outstanding if outstanding is None else outstanding, stall)
        self._library.permfc_configure(self._simulation, self._behaviour)

    def _check_timing(self, latency: int, gap: float, outstanding: int, stall: float) -> None:
        if not 2 <= latency <= 65535:
            raise ConfigError(f"Latency of the simulated memory must be 2 to 65535 cycles, not {latency!r}")
        if not 1 <= outstanding <= MOST_OUTSTANDING:
            raise ConfigError(f"The simulated memory accepts 1 to {MOST_OUTSTANDING} outstanding reads, not {outstanding!r}")
        self._behaviour.latency, self._behaviour.outstanding = latency, outstanding
        self._behaviour.gap, self._behaviour.stall = _probability("Gap", gap), _probability("Stall", stall)

    def set_fault(self, *, error_at: int | None = None, silent_at: int | None = None) -> None:
        """Make the memory answer the word at byte address ``error_at`` with SLVERR, or stop answering at ``silent_at``; none of both: sane again."""
        kinds = {ERROR_FAULT: error_at, SILENCE_FAULT: silent_at}
        kind, address = next(((kind, address) for kind, address in kinds.items() if address is not None), (NO_FAULT, 0))
        self._behaviour.fault, self._behaviour.fault_address = kind, address
        self._library.permfc_configure(self._simulation, self._behaviour)

    def read_register(self, register: Register) -> int:
        value = ctypes.c_uint32()
        response = self._library.permfc_read_register(self._simulation, register, value, ANSWER_CYCLES)
        self._check_register("read", register, response)
        return value.value

    def write_register(self, register: Register, value: int) -> None:
        self._check_register("write", register, self._library.permfc_write_register(self._simulation, register, value, ANSWER_CYCLES))

    def write_memory(self, address: int, data: bytes, progress: Progress | None = None) -> None:
        self.check_room(address + len(data))
        self._library.permfc_load(self._simulation, address, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data))
        if progress:
            progress("load", len(data), len(data))

    def check_room(self, end: int) -> None:
        size, part = self._memory.bytes, self._memory.memory.part
        if end > size:
            cure = f"choose a larger part than {part.name}" if part else "make it larger with memory_bytes"
            raise DeviceError(f"The simulated memory has {size} bytes, but {end} are needed, {end - size} more; {cure}")

    def send_input(self, values: np.ndarray) -> None:
        values = np.ascontiguousarray(values, dtype=np.int8)
        limit = ANSWER_CYCLES * (1 + values.size)
        sent = self._library.permfc_send(self._simulation, values.ctypes.data, values.size, limit)
        if sent != values.size:
            raise DeviceError(f"The engine took {sent} of {values.size} input values in {limit} cycles; clear it and send as many as the image has")

    def receive_output(self, count: int) -> np.ndarray:
        values, last = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.uint8)
        limit = ANSWER_CYCLES * (1 + count)
        received = self._library.permfc_receive(self._simulation, values.ctypes.data, last.ctypes.data, count, limit)
        self._check_protocol()
        if received != count:
            raise DeviceError(f"The engine gave {received} of {count} results in {limit} cycles; load the image again")
        marked = np.flatnonzero(last).tolist()
        if count and marked != [count - 1]:
            raise DeviceError(f"The engine marked the results {marked} as last instead of {count - 1}; the image has another number of outputs")
        return values

    def discard_output(self) -> None:
        self._wait_while(Status.RESULTS, ANSWER_CYCLES * self._features, "gave results")  # the simulated host takes one whenever it can
        self._library.permfc_discard_output(self._simulation)

    def wait(self, timeout: float) -> int:
        return self._wait_while(Status.BUSY, int(timeout * self.clock_hz), "was busy")

    def _wait_while(self, bit: Status, limit: int, doing: str) -> int:
        """STATUS as soon as it is without ``bit``."""
        status = ctypes.c_uint32()
        response = self._library.permfc_wait(self._simulation, Register.STATUS, bit, status, limit)
        self._check_protocol()
        if response < 0:
            raise DeviceError(f"The engine still {doing} after {limit} cycles; clear it or wait longer")
        self._check_register("read", Register.STATUS, response)
        return status.value

    @property
    def clock_hz(self) -> float:
        """Value of the clock of engine and memory, in hertz."""
        return self._memory.memory.clock_hz

    def reset(self) -> None:
        """Reset engine, memory and monitors, let the memory initialise itself, and forget what was logged. The memory keeps its contents."""
        self._library.permfc_reset(self._simulation)
        self._image_base = None
        limit = self._memory.power_up_cycles
        initialised = self._library.permfc_initialise(self._simulation, limit)
        self._check_protocol()
        if not initialised:
            raise DeviceError(f"The memory was not initialised after {limit} cycles; this is a defect of its controller")
        self.take_reads()
        self.take_commands()

    def tick(self, cycles: int) -> None:
        """Let ``cycles`` cycles pass."""
        self._library.permfc_run(self._simulation, cycles)

    def bus_counters(self) -> BusCounters:
        """What the monitor has counted so far, with its own eyes, not the engine's."""
        counted = self._counted()
        return BusCounters(counted.cycles, counted.bursts, counted.beats, counted.most_in_flight, counted.violations)

    def take_commands(self) -> CommandTrace:
        """Everything that happened at the memory's pins since the last call or the last reset; cycles count from that moment.

        A memory without pins has no commands.
        """
        first = ctypes.c_void_p()
        count = self._library.permfc_commands(self._simulation, first)
        now = self._counted().cycles
        trace = command_trace(copied(first.value, count, PIN_COMMAND), self._commands_taken, now, self._open_banks)
        self._library.permfc_forget_commands(self._simulation)
        self._commands_taken, self._open_banks = now, trace.banks_left_open()
        return trace

    def take_reads(self) -> Reads:
        """The reads that the memory accepted since the last call or the last reset; cycles count from that moment."""
        first = ctypes.c_void_p()
        count = self._library.permfc_reads(self._simulation, first)
        reads = bus_reads(copied(first.value, count, BUS_READ), self._reads_taken, self._bus_bytes)
        self._library.permfc_forget_reads(self._simulation)
        self._reads_taken = self._counted().cycles
        return reads

    def close(self) -> None:
        if self._handle is not None:
            self._library.permfc_destroy(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.close()

    @property
    def _simulation(self) -> int:
        """Value of the library's handle of an open device."""
        if self._handle is None:
            raise LinkError("The simulated device is closed; open it again")
        return self._handle

    def _counted(self) -> _Counters:
        counters = _Counters()
        self._library.permfc_counters(self._simulation, counters)
        return counters

    def _check_protocol(self) -> None:
        broken = _MemoryViolation()
        self._library.permfc_memory_violation(self._simulation, broken)
        if broken.count:
            raise DeviceError(self._memory_sentence(broken))
        counted = self._counted()
        if counted.violations:
            raise DeviceError(
                f"The engine broke a bus protocol in cycle {counted.first_cycle}: {RULES[counted.first_rule - 1]} "
                f"({counted.violations} violations in all); this is a defect of the gateware"
            )

    def _memory_sentence(self, broken: _MemoryViolation) -> str:
        memory = self._memory.memory
        earlier, later = COMMANDS[broken.earlier_command], COMMANDS[broken.later_command]
        events = f"{earlier} in cycle {broken.earlier_cycle}, {later} in cycle {broken.later_cycle}"
        if earlier == later == NO_COMMAND:  # the flash's checker knows the cycle alone
            events = f"in cycle {broken.later_cycle}"
        return (
            f"Rule {broken.rule} of {memory.part.name} at {memory.clock_hz / 1e6:g} MHz was broken, {self._memory.rules[broken.rule - 1]}: "
            f"{events} after reset; this is a defect of the controller"
        )

    def _check_register(self, verb: str, register: Register, response: int) -> None:
        if response < 0:
            raise DeviceError(f"The engine did not answer a {verb} of register {Register(register).name} within {ANSWER_CYCLES} cycles")
        if response:
            raise DeviceError(f"The engine answered a {verb} of register {Register(register).name} with the AXI response {response}")
