"""MNIST digits from the pins of an SDRAM: the engine's results are the golden model's, and the bytes at the pins few."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.datasets import mnist, trained_network
from permfc.importers.arrays import network_from_arrays
from permfc.memory import memory
from permfc_sim.device import SimDevice

DIGITS = 20


def test_digits(data_folder: Path) -> None:
    """Compressed to 2 bits without retraining: at most a sixth of the bytes of dense int8."""
    digits, sdram = mnist(data_folder), memory("sdr-100")
    network = compress(network_from_arrays(trained_network("mnist_lenet300100", data_folder)), 2.0, calibration=digits.train[:200])
    x = network.quantise(digits.test[:DIGITS])
    with SimDevice(EngineConfig(lanes=16, bus_bits=32), memory=sdram) as device:
        device.load(network)
        device.take_commands()
        results = device.run(x)
        trace = device.take_commands()
    np.testing.assert_array_equal(results, network.compute(x))
    dense = DIGITS * sum(layer.features * layer.outputs for layer in network.layers)
    assert 6 * trace.bytes(sdram.bus_bits) <= dense
    assert trace.counts()["write"] == 0
