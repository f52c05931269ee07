"""What every device must do, whatever its link: each check takes a device and, where it runs one, a network that its memory holds or can hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from networks import random_inputs
from permfc.device.base import Device
from permfc.errors import DeviceError, InputError
from permfc.format import MAGIC, VERSION, Control, ErrorCode, Register
from permfc.image import pack, predicted_traffic
from permfc.network import Network

Check = Callable[[Device, Network], None]


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


def counters_obey_the_law(device: Device, network: Network) -> None:
    x = random_inputs(3, network.inputs)
    device.load(network)
    device.run(x)
    traffic, counters = predicted_traffic(network, x, device.identify()), device.counters()
    assert counters.beats == traffic.total_words[0]
    assert counters.segments_fetched == traffic.fetched.sum()
    assert counters.segments_skipped == traffic.skipped.sum()


def registers_hold_what_is_written(device: Device, network: Network) -> None:
    assert device.read_register(Register.ID) == MAGIC
    assert device.read_register(Register.VERSION) == VERSION
    for value in (0xABCDE000, 0):
        device.write_register(Register.IMAGE_BASE, value)
        assert device.read_register(Register.IMAGE_BASE) == value


def loading_reports_progress(device: Device, network: Network) -> None:
    steps: list[tuple[str, int, int]] = []
    device.load(network, lambda *step: steps.append(step))
    assert all(0 <= done <= total for _, done, total in steps)
    assert steps[-1][1] == steps[-1][2], "it was never complete"


def a_wrong_input_is_refused_and_a_right_one_runs(device: Device, network: Network) -> None:
    device.load(network)
    with pytest.raises(InputError, match=f"Input must be an array of {network.inputs} values"):
        device.run(np.zeros(network.inputs + 1, dtype=np.int8))
    results_equal_the_golden_model(device, network)


def an_engine_error_is_told_and_cleared(device: Device, network: Network) -> None:
    device.load(network)
    device.send_input(np.ones(network.inputs - 1, dtype=np.int8))
    device.write_register(Register.CONTROL, Control.START)
    device.wait(0.1)
    assert device.error() is ErrorCode.INPUT_LENGTH
    device.clear()
    assert device.error() is ErrorCode.NONE
    results_equal_the_golden_model(device, network)


def a_run_that_nobody_waits_for_is_cleared(device: Device, network: Network) -> None:
    device.load(network)
    device.send_input(random_inputs(6, network.inputs)[0])
    device.write_register(Register.CONTROL, Control.START)
    device.clear()
    results_equal_the_golden_model(device, network)


def results_that_nobody_takes_are_cleared(device: Device, network: Network) -> None:
    device.load(network)
    device.send_input(random_inputs(4, network.inputs)[0])
    device.write_register(Register.CONTROL, Control.START)
    device.wait(0.1)
    device.clear()
    results_equal_the_golden_model(device, network)


def half_an_input_is_cleared(device: Device, network: Network) -> None:
    device.load(network)
    device.send_input(np.ones(network.inputs // 2, dtype=np.int8))
    device.clear()
    results_equal_the_golden_model(device, network)


def too_many_results_are_not_waited_for(device: Device, network: Network) -> None:
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
    counters_obey_the_law,
    registers_hold_what_is_written,
    loading_reports_progress,
    a_wrong_input_is_refused_and_a_right_one_runs,
    an_engine_error_is_told_and_cleared,
    a_run_that_nobody_waits_for_is_cleared,
    results_that_nobody_takes_are_cleared,
    half_an_input_is_cleared,
    too_many_results_are_not_waited_for,
)
