"""Whatever goes wrong, the engine says what, and the next run is right: never a hang, never a stale result."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine_cases import check_run, sane
from networks import random_inputs, random_network, random_table
from permfc.config import EngineConfig
from permfc.device.base import IMAGE_ADDRESS
from permfc.errors import ConfigError, DeviceError, FormatError, InputError
from permfc.format import BLOCK_HEADER, IMAGE_HEADER, VERSION, Control, ErrorCode, Register
from permfc.image import pack
from permfc.image.layout import image_layout
from permfc.network import Kind, Network
from permfc_sim.device import SimDevice

INPUTS = 70


@pytest.fixture
def network() -> Network:
    return random_network(11, [INPUTS, 60, 12], block_outputs=32, kinds=[Kind.PREFIX, Kind.DENSE8])


@pytest.fixture
def x() -> np.ndarray:
    return random_inputs(12, INPUTS)


def run_through_link(device: SimDevice, values: np.ndarray) -> ErrorCode:
    """Send values and start, without the checks of `Device.run`; the engine's error code."""
    device.send_input(values)
    device.write_register(Register.CONTROL, Control.START)
    device.wait(0.01)
    return device.error()


def check_usable(device: SimDevice, network: Network, x: np.ndarray) -> None:
    """Clear, load and run as if nothing had happened."""
    device.clear()
    device.load(network)
    check_run(device, network, x)


def patched(image: bytes, offset: int, dtype: np.dtype, field: str, value: int) -> bytes:
    """The image with one field of a record changed."""
    data = np.frombuffer(image, dtype=np.uint8).copy()
    data[offset:offset + dtype.itemsize].view(dtype)[field] = value
    return data.tobytes()


@pytest.mark.parametrize("where", ["header", "descriptor", "segment"])
def test_bus_error(engine: SimDevice, network: Network, x: np.ndarray, where: str) -> None:
    bus_bytes = engine.identify().bus_bytes
    blocks = image_layout(network, bus_bytes).blocks
    segment = blocks[1].segment_offsets[0] + int(np.flatnonzero(x[0])[3]) * blocks[1].feature_words[0]
    words = {"header": 0, "descriptor": blocks[1].offset, "segment": segment}
    engine.load(network)
    engine.set_fault(error_at=IMAGE_ADDRESS + words[where] * bus_bytes)
    sentence = "the memory answered a read with an error or with RLAST on a wrong word; check that the image lies inside the memory"
    with pytest.raises(DeviceError, match=f"error BUS: {sentence}"):
        engine.run(x)
    engine.set_fault()
    check_run(engine, network, x)


@pytest.mark.parametrize("words_left", [1, 3])
def test_bus_error_within_a_function_table(engine: SimDevice, network: Network, x: np.ndarray, words_left: int) -> None:
    """The next run does not wait for the rest of it."""
    table = random_table(np.random.default_rng(13))
    network = dataclasses.replace(network, layers=(dataclasses.replace(network.layers[0], relu=False, table=table), *network.layers[1:]))
    bus_bytes = engine.identify().bus_bytes
    first = image_layout(network, bus_bytes).blocks[0]
    assert first.function_words > words_left
    engine.load(network)
    engine.set_fault(error_at=IMAGE_ADDRESS + (first.offset + first.program_words - words_left) * bus_bytes)
    with pytest.raises(DeviceError, match="error BUS"):
        engine.run(x)
    engine.set_fault()
    check_run(engine, network, x)


@pytest.mark.parametrize("where", ["header", "second layer"])
def test_memory_that_never_answers(engine: SimDevice, network: Network, x: np.ndarray, where: str) -> None:
    bus_bytes = engine.identify().bus_bytes
    words = {"header": 0, "second layer": image_layout(network, bus_bytes).blocks[-1].offset}
    engine.load(network)
    engine.set_fault(silent_at=IMAGE_ADDRESS + words[where] * bus_bytes)
    with pytest.raises(DeviceError, match="error TIMEOUT: the memory did not answer a read"):
        engine.run(x)
    with pytest.raises(DeviceError, match="error TIMEOUT"):
        engine.run(x)
    engine.set_fault()
    for _ in range(200):  # the late answers arrive now, and must not be taken for the next run's
        engine.read_register(Register.STATUS)
    check_usable(engine, network, np.concatenate([x, x]))


def test_image_outside_the_memory(engine: SimDevice, network: Network, x: np.ndarray) -> None:
    engine.load(network)
    engine.write_register(Register.IMAGE_BASE, 0x8000_0000)
    assert run_through_link(engine, x[0]) is ErrorCode.BUS
    check_usable(engine, network, x)


def test_image_at_another_address(engine: SimDevice, network: Network, x: np.ndarray) -> None:
    engine.load(network)
    engine.write_memory(0x7000, pack(network, engine.identify()))
    engine.write_memory(IMAGE_ADDRESS, bytes(64))
    engine.write_register(Register.IMAGE_BASE, 0x7000)
    check_run(engine, network, x)


@pytest.mark.parametrize(("field", "value", "code"), [
    ("magic", 0x12345678, ErrorCode.MAGIC),
    ("version", VERSION - 1, ErrorCode.VERSION),
    ("bus_bytes_log2", 6, ErrorCode.CONFIG),
    ("levels", 32, ErrorCode.CONFIG),
    ("features", 1025, ErrorCode.CONFIG),
    ("block_outputs", 513, ErrorCode.CONFIG),
    ("accumulator_bits", 33, ErrorCode.CONFIG),
    ("descriptor_words", 0, ErrorCode.DESCRIPTOR),
])
def test_image_header_that_the_engine_refuses(engine: SimDevice, network: Network, x: np.ndarray, field: str, value: int, code: ErrorCode) -> None:
    engine.load(network)
    engine.write_memory(IMAGE_ADDRESS, patched(pack(network, engine.identify()), 0, IMAGE_HEADER, field, value))
    with pytest.raises(DeviceError, match=f"error {code.name}: "):
        engine.run(x)
    check_usable(engine, network, x)


def test_an_engine_without_tables_refuses_an_image_with_tables(small_engine: SimDevice, x: np.ndarray) -> None:
    device = sane(dataclasses.replace(small_engine.identify(), tables=False))
    network = random_network(14, [INPUTS, 60, 12], tables=False)
    device.load(network)
    tabled = dataclasses.replace(network.layers[0], relu=False, table=random_table(np.random.default_rng(15)))
    image = pack(dataclasses.replace(network, layers=(tabled, *network.layers[1:])), small_engine.identify())
    device.write_memory(IMAGE_ADDRESS, image)
    with pytest.raises(DeviceError, match="error CONFIG: "):
        device.run(x)
    check_usable(device, network, x)


@pytest.mark.parametrize(("field", "value"), [("outputs", 0), ("outputs", 513), ("classes", 0), ("classes", 17), ("next_words", 0)])
def test_block_header_that_the_engine_refuses(engine: SimDevice, network: Network, x: np.ndarray, field: str, value: int) -> None:
    bus_bytes = engine.identify().bus_bytes
    engine.load(network)
    offset = image_layout(network, bus_bytes).blocks[1].offset * bus_bytes
    engine.write_memory(IMAGE_ADDRESS, patched(pack(network, engine.identify()), offset, BLOCK_HEADER, field, value))
    with pytest.raises(DeviceError, match="error DESCRIPTOR: the image holds a block descriptor that is out of range"):
        engine.run(x, timeout=0.01)
    check_usable(engine, network, x)


@pytest.mark.parametrize("count", [0, 1, INPUTS - 1, INPUTS + 1, 1024, 1500])
def test_wrong_number_of_inputs(engine: SimDevice, network: Network, x: np.ndarray, count: int) -> None:
    engine.load(network)
    assert run_through_link(engine, np.ones(count, dtype=np.int8)) is ErrorCode.INPUT_LENGTH
    check_usable(engine, network, x)


def test_clear_discards_an_input(engine: SimDevice, network: Network, x: np.ndarray) -> None:
    engine.load(network)
    engine.send_input(np.ones(20, dtype=np.int8))
    engine.clear()
    check_run(engine, network, x)


def test_random_damage_never_hangs_the_engine(small_engine: SimDevice, network: Network, x: np.ndarray) -> None:
    """The parser refuses such images; an engine that meets one all the same ends its run, with an error or with results."""
    rng = np.random.default_rng(13)
    small_engine.load(network)
    whole = np.frombuffer(pack(network, small_engine.identify()), dtype=np.uint8)
    program = image_layout(network, 2).blocks[0].segment_offsets[0] * 2
    for _ in range(300):
        image = whole.copy()
        image[rng.integers(program)] ^= np.uint8(1 << rng.integers(8))
        small_engine.write_memory(IMAGE_ADDRESS, image.tobytes())
        run_through_link(small_engine, x[0])
        small_engine.clear()
    check_usable(small_engine, network, x)


def test_load_refuses_what_the_engine_cannot_run(small_engine: SimDevice, network: Network) -> None:
    config = small_engine.identify()
    image = pack(network, config)
    with pytest.raises(FormatError, match="CRC"):
        small_engine.load(image[:100] + bytes([image[100] ^ 1]) + image[101:])
    with pytest.raises(ConfigError, match="packed for a bus of 64 bits, the engine has 16; pack the network again"):
        small_engine.load(pack(network, EngineConfig(bus_bits=64)))
    with pytest.raises(ConfigError, match="features=2048"):
        small_engine.load(pack(random_network(1, [1500, 3]), EngineConfig(bus_bits=16, features=2048)))


def test_run_refuses_wrong_inputs(small_engine: SimDevice, network: Network, x: np.ndarray) -> None:
    small_engine.load(network)
    with pytest.raises(InputError, match=r"must be an array of 70 values, or a batch of such rows, not \[69\]"):
        small_engine.run(x[0, 1:])
    with pytest.raises(InputError, match=r"not \[1, 1, 70\]"):
        small_engine.run(x[None])
    with pytest.raises(InputError, match="must be integers, not float64; Network.quantise turns real values into int8"):
        small_engine.run(x.astype(float))
    with pytest.raises(InputError, match=r"must be in -128..127, not 0..128"):
        small_engine.run(np.full(INPUTS, 128) * (np.arange(INPUTS) > 2))
    assert small_engine.run(x[0].astype(np.int64)).shape == (12,)
    assert small_engine.run(x).shape == (1, 12)
