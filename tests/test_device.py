"""What `Device` makes of an engine's registers, whatever the link."""

from __future__ import annotations

import numpy as np
import pytest

from networks import random_network
from permfc.config import EngineConfig
from permfc.device.base import Cost, Counts
from permfc.device.engine import ERROR_SENTENCES, EngineDevice
from permfc.errors import DeviceError
from permfc.format import MAGIC, VERSION, Control, ErrorCode, Register

MEMORY_BYTES = 20_000


class FakeDevice(EngineDevice):
    """Registers that answer what a test puts in, and a record of what was done."""

    def __init__(self, **registers: int) -> None:
        self.registers = {
            Register.ID: MAGIC, Register.VERSION: VERSION, Register.CONFIG0: 16 | 2 << 8 | 16 << 16 | 8 << 24,
            Register.CONFIG1: 512 | 1024 << 16, Register.CONFIG2: 32 | 1 << 8, Register.STATUS: 0, Register.CYCLES: 0, Register.BEATS: 0,
        }
        self.registers |= {Register[name]: value for name, value in registers.items()}
        self.done: list[object] = []

    def read_register(self, register: Register) -> int:
        return self.registers[register]

    def write_register(self, register: Register, value: int) -> None:
        self.done.append((register, value))

    def write_memory(self, address: int, data: bytes, progress: object = None) -> None:
        self.done.append(("memory", address, len(data)))

    def send_input(self, values: np.ndarray) -> None:
        self.done.append(("input", values.tolist()))

    def receive_output(self, count: int) -> np.ndarray:
        return np.arange(count, dtype=np.int32)

    def discard_output(self) -> None:
        self.done.append("discard")

    def check_room(self, end: int) -> None:
        if end > MEMORY_BYTES:
            raise DeviceError(f"{end} bytes are too many")

    def wait(self, timeout: float) -> int:
        self.done.append("wait")
        return self.registers[Register.STATUS]

    @property
    def clock_hz(self) -> float:
        return 1e6

    def close(self) -> None:
        self.done.append("close")


def interrupt(*_: object) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def test_identify_reads_the_configuration() -> None:
    assert FakeDevice().identify() == EngineConfig()
    largest = EngineConfig(lanes=64, bus_bits=512, block_outputs=4096, features=32768, levels=8, outstanding=64, accumulator_bits=20, tables=False)
    device = FakeDevice(CONFIG0=64 | 6 << 8 | 8 << 16 | 64 << 24, CONFIG1=4096 | 32768 << 16, CONFIG2=20)
    assert device.identify() == largest


@pytest.mark.parametrize(("registers", "message"), [
    ({"ID": 0xFFFFFFFF}, "no permfc engine behind the link: register ID reads 0xffffffff instead of 0x31434650"),
    ({"VERSION": 3}, "The engine has version 3 and this program version 4; build the engine again"),
    ({"CONFIG0": 3 | 2 << 8 | 16 << 16 | 8 << 24}, "an impossible configuration: lanes must be a power of two from 1 to 64, not 3"),
])
def test_identify_refuses_what_is_not_an_engine(registers: dict[str, int], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        FakeDevice(**registers).identify()


def test_run_needs_a_network() -> None:
    with pytest.raises(DeviceError, match="No network is loaded; call load first"):
        FakeDevice().run(np.zeros(4, dtype=np.int8))


def test_run_sends_starts_waits_and_receives() -> None:
    network = random_network(1, [3, 5])
    with FakeDevice() as device:
        device.load(network)
        device.done.clear()
        np.testing.assert_array_equal(device.run(np.array([1, -2, 3])), np.arange(5))
        assert device.done == [("input", [1, -2, 3]), (Register.CONTROL, Control.START), "wait"]
    assert device.done[-1] == "close"


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.NONE])
def test_every_error_code_has_a_sentence_and_is_cleared(code: ErrorCode) -> None:
    device = FakeDevice(STATUS=code << 8)
    device.load(random_network(1, [3, 5]))
    with pytest.raises(DeviceError, match=f"The engine stopped with error {code.name}: {ERROR_SENTENCES[code]}"):
        device.run(np.zeros(3, dtype=np.int8))
    assert device.done[-2:] == [(Register.CONTROL, Control.CLEAR), "discard"]


def test_an_interrupted_run_is_cleared_before_the_next() -> None:
    device = FakeDevice()
    device.load(random_network(1, [3, 5]))
    wait, device.wait = device.wait, interrupt
    with pytest.raises(KeyboardInterrupt):
        device.run(np.zeros(3, dtype=np.int8))
    device.wait = wait
    device.done.clear()
    device.run(np.zeros(3, dtype=np.int8))
    assert device.done[:5] == ["discard", "wait", (Register.CONTROL, Control.CLEAR), "discard", ("input", [0, 0, 0])]


def test_a_load_that_failed_leaves_no_network() -> None:
    device = FakeDevice()
    write = device.write_memory

    def interrupt_the_second(address: int, *rest: object) -> None:
        if address:
            raise KeyboardInterrupt
        write(address, *rest)

    device.load({"a": random_network(1, [3, 5]), "b": random_network(2, [3, 5])})
    device.write_memory = interrupt_the_second
    with pytest.raises(KeyboardInterrupt):
        device.load({"a": random_network(1, [3, 5]), "c": random_network(2, [3, 5])})
    for name in ("a", "b", "c"):
        with pytest.raises(DeviceError, match="No network is loaded; call load first"):
            device.run(np.zeros(3, dtype=np.int8), name)


def test_nothing_is_written_when_not_all_images_have_room() -> None:
    device = FakeDevice()
    large = random_network(1, [300, 150])
    device.load(large)
    device.done.clear()
    with pytest.raises(DeviceError, match="bytes are too many"):
        device.load({"a": large, "b": large, "c": large})
    assert device.done == []


def test_the_image_is_chosen_only_where_it_changes() -> None:
    device, x = FakeDevice(), np.zeros(3, dtype=np.int8)
    device.load({"a": random_network(1, [3, 5]), "b": random_network(2, [3, 5])})
    device.done.clear()
    for name in ("a", "b", "b", "a"):
        device.run(x, name)
    chosen = [step for step in device.done if step[0] == Register.IMAGE_BASE]
    assert chosen == [(Register.IMAGE_BASE, 4096), (Register.IMAGE_BASE, 0)]


def test_unknown_error_code() -> None:
    with pytest.raises(DeviceError, match="The engine reports error code 99, which this program does not know; update it"):
        FakeDevice(STATUS=99 << 8).error()


def test_cost_sums_the_counters_of_all_inputs() -> None:
    device = FakeDevice(CYCLES=10, BEATS=3)
    device.load({"net": random_network(1, [3, 5])})
    device.run(np.zeros((4, 3), dtype=np.int8))
    assert device.cost() == Cost("net", inputs=4, bytes=4 * 3 * 4, cycles=40, source="counted")
    device.registers[Register.STATUS] = ErrorCode.BUS << 8
    with pytest.raises(DeviceError):
        device.run(np.zeros(3, dtype=np.int8))
    with pytest.raises(DeviceError, match="There was no run whose cost could be told; call run first"):
        device.cost()


def test_counters_come_from_their_registers() -> None:
    device = FakeDevice(CYCLES=1, BEATS=2, SEGMENTS_FETCHED=3, SEGMENTS_SKIPPED=4, CYCLES_STARVED=5, CYCLES_STALLED=6)
    assert device.counters() == Counts(1, 2, 3, 4, 5, 6)
