"""Several networks for one memory: the engine that takes them all, and the memory that holds them."""

from __future__ import annotations

import numpy as np
import pytest

import permfc
from networks import random_network
from permfc.config import EngineConfig
from permfc.device.placement import engine_for, engine_parameters, joined, memory_bytes_for, place, separated
from permfc.errors import ConfigError, FormatError
from permfc.image import pack

WIDE, TALL = random_network(1, [2000, 20], tables=False), random_network(2, [20, 1500], block_outputs=1024, tables=False)
SMALL = random_network(3, [5, 6], tables=False)


def test_an_engine_is_large_enough_for_all_networks_and_never_smaller_than_by_default() -> None:
    config = engine_for({"wide": WIDE, "tall": TALL}, {"lanes": 4})
    assert (config.lanes, config.features, config.block_outputs) == (4, 2048, 1024)
    assert engine_for(SMALL, {}) == engine_for(None, {}) == EngineConfig()
    assert engine_for(WIDE, {"features": 64}).features == 64, "what is given is given"


def test_a_memory_is_large_enough_for_all_images_in_their_places() -> None:
    config = engine_for({"wide": WIDE, "tall": TALL}, {})
    for networks in ({"a": WIDE, "b": TALL, "c": SMALL}, {"a": SMALL}, {"a": SMALL, "b": SMALL}):
        end = max(image.end for image in place(networks, config, 0).values())
        size = memory_bytes_for(networks, config)
        assert end <= size < 2 * max(end, 4096)


def test_joined_images_lie_where_a_device_reads_them() -> None:
    images = place({"a": SMALL, "b": WIDE}, engine_for(WIDE, {}), 8192)
    content = joined(images.values())
    for image in images.values():
        assert content[image.address - 8192:][:len(image.data)] == image.data
    assert len(content) == images["b"].end - 8192
    assert not np.frombuffer(content, dtype=np.uint8)[images["a"].end - 8192:4096].any()


def test_joined_images_are_separated_again() -> None:
    config = engine_for(WIDE, {})
    for networks in ({"a": SMALL, "b": WIDE, "c": SMALL}, {"a": WIDE}, {"a": SMALL}):
        images = place(networks, config, 0)
        content = joined(images.values())
        assert [(start, pack(found.network(), config)) for start, found in separated(content)] == [(one.address, one.data) for one in images.values()]
        for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
            with pytest.raises(FormatError, match=r"^Image is (truncated|damaged)"):
                separated(damaged)


@pytest.mark.parametrize("wrong", [b"", b"PFC1", b"\0" * 8192, pack(SMALL, EngineConfig())[:8] + bytes(8192)])
def test_bytes_that_are_no_images(wrong) -> None:
    with pytest.raises(FormatError):
        separated(wrong)


def test_the_network_that_does_not_fit_is_named_where_there_are_several() -> None:
    with pytest.raises(ConfigError, match="^Network 'b': The network needs an engine with features >= 2000"):
        place({"a": SMALL, "b": WIDE}, EngineConfig(), 0)
    with pytest.raises(ConfigError, match="^Network 'b': The image is packed for a bus of 64 bits, the engine has 32; pack the network again"):
        place({"a": SMALL, "b": pack(SMALL, EngineConfig(bus_bits=64))}, EngineConfig(), 0)
    with pytest.raises(ConfigError, match="^The network needs an engine with features >= 2000"):
        place({"b": WIDE}, EngineConfig(), 0)


def test_parameters_in_the_name_of_a_device() -> None:
    assert engine_parameters("lanes=4,tables=0,memory=axi", "device", ["memory"]) == ({"lanes": 4, "tables": False}, {"memory": "axi"})
    with pytest.raises(ConfigError, match="'memory=axi' in the name of a device must be NAME=VALUE with one of lanes, .*, tables$"):
        engine_parameters("memory=axi", "device")


@pytest.mark.parametrize("wrong", [None, {"a": None}, {"a": {"b": b""}}])
def test_what_is_neither_network_nor_image(wrong):
    with permfc.open("golden") as device, pytest.raises(ConfigError, match=r"loads a Network, an image in bytes, .*, not (NoneType|dict)"):
        device.load(wrong)
