"""What every device must do, and what every engine behind a link: each check takes a device and a network that it can hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from networks import random_inputs, random_network
from permfc.device.base import Device
from permfc.device.engine import EngineDevice
from permfc.device.placement import joined, place
from permfc.errors import ConfigError, DeviceError, FormatError, InputError
from permfc.format import IMAGE_ALIGNMENT, MAGIC, VERSION, Control, ErrorCode, Register
from permfc.image import pack, predicted_traffic
from permfc.network import Network

Check = Callable[[Device, Network], None]
EngineCheck = Callable[[EngineDevice, Network], None]
OTHER = random_network(7, [20, 30, 10])


def results_equal_the_golden_model(device: Device, network: Network) -> None:
    x = random_inputs(1, network.inputs, batch=3)
    device.load(network)
    results = device.run(x)
    assert results.dtype == np.int32
    np.testing.assert_array_equal(results, network.compute(x))
    np.testing.assert_array_equal(device.run(x[1]), network.compute(x)[1])


def an_image_runs_as_its_network(device: Device, network: Network) -> None:
    x = random_inputs(2, network.inputs)
    device.load(pack(network, device.identify()))
    np.testing.assert_array_equal(device.run(x), network.compute(x))


def several_networks_run_by_name(device: Device, network: Network) -> None:
    x, y = random_inputs(7, network.inputs, batch=2), random_inputs(8, OTHER.inputs)
    device.load({"first": network, "second": pack(OTHER, device.identify()), "third": network})
    for _ in range(2):
        np.testing.assert_array_equal(device.run(y, "second"), OTHER.compute(y))
        np.testing.assert_array_equal(device.run(x, "third"), network.compute(x))
        np.testing.assert_array_equal(device.run(x[0], name="first"), network.compute(x)[0])


def networks_lie_one_behind_the_other(device: Device, network: Network) -> None:
    device.load({"first": network, "second": OTHER})
    first, second = device.networks.values()
    assert list(device.networks) == ["first", "second"]
    assert (first.inputs, first.outputs, first.address) == (network.inputs, network.outputs, device.image_address)
    assert first.image_bytes == len(pack(network, device.identify()))
    assert second.address % IMAGE_ALIGNMENT == 0
    assert 0 <= second.address - first.address - first.image_bytes < IMAGE_ALIGNMENT


def a_name_must_be_that_of_a_loaded_network(device: Device, network: Network) -> None:
    x = random_inputs(9, network.inputs)
    device.load({"first": network, "second": OTHER})
    with pytest.raises(InputError, match="^Several networks are loaded; name the one to run: first, second$"):
        device.run(x)
    with pytest.raises(InputError, match="^There is no network 'third' on this device; loaded are: first, second$"):
        device.run(x, "third")
    with pytest.raises(InputError, match=f"Input must be an array of {OTHER.inputs} values"):
        device.run(x, "second")
    np.testing.assert_array_equal(device.run(x, "first"), network.compute(x))


def loading_again_replaces_everything(device: Device, network: Network) -> None:
    x = random_inputs(10, network.inputs)
    device.load({"first": OTHER, "second": OTHER})
    device.load({"third": network})
    np.testing.assert_array_equal(device.run(x), network.compute(x))
    device.load(network)
    assert list(device.networks) == ["network"]
    with pytest.raises(InputError, match="There is no network 'third' on this device; loaded are: network"):
        device.run(x, "third")


def what_cannot_be_loaded_is_refused_by_name(device: Device, network: Network) -> None:
    """And leaves nothing loaded, whatever was wrong."""
    damaged = bytearray(pack(network, device.identify()))
    damaged[-1] ^= 1
    flash = joined(place({"first": network, "second": OTHER}, device.identify(), 0).values())
    for wrong, kind, text in (
        ({"first": network, "second": bytes(damaged)}, FormatError, "^Network 'second': "),
        ({"first": network, "second": None}, ConfigError, "^Network 'second': A device loads a Network, .*, not NoneType$"),
        ([network, network], ConfigError, "^A device loads a Network, an image in bytes, or several in a mapping from their names, not list$"),
        ({}, ConfigError, "There are no networks in this mapping"),
        ({"": network}, ConfigError, "The name of a network must be a text with one character or more, not ''"),
        (flash, FormatError, "^These bytes hold several images, the first"),
    ):
        device.load(network)
        with pytest.raises(kind, match=text):
            device.load(wrong)
        assert not device.networks
        with pytest.raises(DeviceError, match="^No network is loaded; call load first$"):
            device.run(random_inputs(9, network.inputs))


def the_cost_is_that_of_the_last_run(device: Device, network: Network) -> None:
    config = device.identify()
    device.load({"first": network, "second": OTHER})
    with pytest.raises(DeviceError, match="There was no run whose cost could be told; call run first"):
        device.cost()
    for name, loaded in (("first", network), ("second", OTHER)):
        x = random_inputs(11, loaded.inputs, batch=3)
        device.run(x, name)
        cost = device.cost()
        assert (cost.network, cost.inputs) == (name, 3)
        assert cost.bytes == predicted_traffic(loaded, x, config).total_bytes.sum()
        assert (cost.cycles is None) == (device.clock_hz is None) == (cost.source == "predicted")


def counters_obey_the_law(device: EngineDevice, network: Network) -> None:
    x = random_inputs(3, network.inputs)
    device.load(network)
    device.run(x)
    traffic, counters = predicted_traffic(network, x, device.identify()), device.counters()
    assert counters.beats == traffic.total_words[0]
    assert counters.segments_fetched == traffic.fetched.sum()
    assert counters.segments_skipped == traffic.skipped.sum()


def registers_hold_what_is_written(device: EngineDevice, network: Network) -> None:
    assert device.read_register(Register.ID) == MAGIC
    assert device.read_register(Register.VERSION) == VERSION
    for value in (0xABCDE000, 0):
        device.write_register(Register.IMAGE_BASE, value)
        assert device.read_register(Register.IMAGE_BASE) == value


def loading_reports_progress(device: Device, network: Network) -> None:
    steps: list[tuple[str, int, int]] = []
    device.load({"first": network, "second": OTHER}, lambda *step: steps.append(step))
    assert all(0 <= done <= total for _, done, total in steps)
    assert [done for _, done, _ in steps] == sorted({done for _, done, _ in steps})
    assert steps[-1][1] == steps[-1][2], "it was never complete"


def a_wrong_input_is_refused_and_a_right_one_runs(device: Device, network: Network) -> None:
    device.load(network)
    with pytest.raises(InputError, match=f"Input must be an array of {network.inputs} values"):
        device.run(np.zeros(network.inputs + 1, dtype=np.int8))
    results_equal_the_golden_model(device, network)


def an_engine_error_is_told_and_cleared(device: EngineDevice, network: Network) -> None:
    device.load(network)
    device.send_input(np.ones(network.inputs - 1, dtype=np.int8))
    device.write_register(Register.CONTROL, Control.START)
    device.wait(0.1)
    assert device.error() is ErrorCode.INPUT_LENGTH
    device.clear()
    assert device.error() is ErrorCode.NONE
    results_equal_the_golden_model(device, network)


def a_run_that_nobody_waits_for_is_cleared(device: EngineDevice, network: Network) -> None:
    device.load(network)
    device.send_input(random_inputs(6, network.inputs)[0])
    device.write_register(Register.CONTROL, Control.START)
    device.clear()
    results_equal_the_golden_model(device, network)


def results_that_nobody_takes_are_cleared(device: EngineDevice, network: Network) -> None:
    device.load(network)
    device.send_input(random_inputs(4, network.inputs)[0])
    device.write_register(Register.CONTROL, Control.START)
    device.wait(0.1)
    device.clear()
    results_equal_the_golden_model(device, network)


def half_an_input_is_cleared(device: EngineDevice, network: Network) -> None:
    device.load(network)
    device.send_input(np.ones(network.inputs // 2, dtype=np.int8))
    device.clear()
    results_equal_the_golden_model(device, network)


def too_many_results_are_not_waited_for(device: EngineDevice, network: Network) -> None:
    device.load(network)
    device.send_input(random_inputs(5, network.inputs)[0])
    device.write_register(Register.CONTROL, Control.START)
    device.wait(0.1)
    with pytest.raises(DeviceError, match=f"The engine gave {network.outputs} of {network.outputs + 1} results"):
        device.receive_output(network.outputs + 1)
    device.clear()
    results_equal_the_golden_model(device, network)


CHECKS: tuple[Check, ...] = (
    results_equal_the_golden_model,
    an_image_runs_as_its_network,
    several_networks_run_by_name,
    networks_lie_one_behind_the_other,
    a_name_must_be_that_of_a_loaded_network,
    loading_again_replaces_everything,
    what_cannot_be_loaded_is_refused_by_name,
    the_cost_is_that_of_the_last_run,
    loading_reports_progress,
    a_wrong_input_is_refused_and_a_right_one_runs,
)

ENGINE_CHECKS: tuple[EngineCheck, ...] = (
    counters_obey_the_law,
    registers_hold_what_is_written,
    an_engine_error_is_told_and_cleared,
    a_run_that_nobody_waits_for_is_cleared,
    results_that_nobody_takes_are_cleared,
    half_an_input_is_cleared,
    too_many_results_are_not_waited_for,
)
