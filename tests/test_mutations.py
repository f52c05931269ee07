"""The comparison with the golden model can fail: one changed bit of an image, or one changed line of Verilog, is found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine_cases import check_run, sane
from networks import random_inputs, random_network, random_table
from permfc.config import EngineConfig
from permfc.device.base import IMAGE_ADDRESS
from permfc.errors import DeviceError
from permfc.format import CLASS_INFO
from permfc.image import pack
from permfc.image.layout import image_layout
from permfc.network import Kind, Network
from permfc_hw.verilog import engine_verilog
from permfc_sim.device import SimDevice

CONFIG = EngineConfig(lanes=4, bus_bits=16)


@pytest.fixture
def network() -> Network:
    return random_network(31, [40, 50, 30], kinds=[Kind.PREFIX], raw=False, tables=False)


@pytest.fixture
def x() -> np.ndarray:
    return random_inputs(32, 40)


def mutant(module: str, line: str, changed: str, config: EngineConfig = CONFIG) -> SimDevice:
    """An engine in which ``line`` of one Verilog module is another."""
    modules = engine_verilog(config).split("\nmodule ")
    number, text = next((number, text) for number, text in enumerate(modules) if text.startswith(module))
    assert line in text
    modules[number] = text.replace(line, changed)
    return SimDevice(config, verilog="\nmodule ".join(modules))


@pytest.mark.parametrize("kind", [Kind.PREFIX, Kind.SPARSE])
def test_a_bit_of_a_segment(kind: Kind, x: np.ndarray) -> None:
    network = random_network(31, [40, 50, 30], kinds=[kind], raw=False, tables=False)  # which could hide a wrong result
    device = sane(CONFIG)
    device.load(network)
    check_run(device, network, x)
    block = image_layout(network, CONFIG.bus_bytes).blocks[0]
    feature = int(np.flatnonzero(x[0, :block.classes[0].end])[0])
    segment = (block.segment_offsets[0] + feature * block.feature_words[0]) * CONFIG.bus_bytes
    image = bytearray(pack(network, CONFIG))
    image[segment] ^= 0x80
    device.write_memory(IMAGE_ADDRESS, bytes(image))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check_run(device, network, x)


def test_turns_that_leave_weights_out(network: Network, x: np.ndarray) -> None:
    """Nothing but the reader of images knows that they are too few."""
    device = sane(CONFIG)
    device.load(network)
    block = image_layout(network, CONFIG.bus_bytes).blocks[0]
    image = bytearray(pack(network, CONFIG))
    np.frombuffer(image, CLASS_INFO, block.slots, (block.offset + block.header_words) * CONFIG.bus_bytes)["turns"] //= 2
    device.write_memory(IMAGE_ADDRESS, bytes(image))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check_run(device, network, x)


def test_the_rounding(network: Network, x: np.ndarray) -> None:
    with mutant("\\permfc_engine.requantiser ", "+ $signed(2'h1);", "+ $signed(2'h0);") as device:
        device.load(network)
        with pytest.raises(AssertionError, match="Arrays are not equal"):
            check_run(device, network, x)


@pytest.mark.parametrize(("module", "line", "changed", "bus_bits"), [
    ("store", "= replacing ?", "= 1'h0 ?", 16),                           # no result is replaced
    ("table_copier", "busy = arriving | count[7];", "busy = 1'h0;", 64),  # nothing waits until a wide bus' table is copied
])
def test_the_function_table(network: Network, x: np.ndarray, module: str, line: str, changed: str, bus_bits: int) -> None:
    """Only a network without tables is computed right. Few active inputs make one round, so its results are the first after the table."""
    x[:, 4:] = 0
    table = random_table(np.random.default_rng(33))
    tabled = dataclasses.replace(network, layers=tuple(dataclasses.replace(layer, relu=False, table=table) for layer in network.layers))
    with mutant(f"\\permfc_engine.{module} ", line, changed, EngineConfig(lanes=4, bus_bits=bus_bits)) as device:
        device.load(network)
        check_run(device, network, x)
        device.load(tabled)
        with pytest.raises(AssertionError, match="Arrays are not equal"):
            check_run(device, tabled, x)


def test_the_kind_of_burst(network: Network, x: np.ndarray) -> None:
    with mutant("permfc_engine(", "m_axi_arburst = 2'h1;", "m_axi_arburst = 2'h2;") as device:
        device.load(network)
        with pytest.raises(DeviceError, match=r"The engine broke a bus protocol in cycle \d+: ARBURST is not INCR"):
            device.run(x)
