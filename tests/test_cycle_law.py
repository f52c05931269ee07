"""The cycle law against counted cycles: random networks, engines and latencies."""

from __future__ import annotations

import numpy as np
import pytest

from networks import random_inputs, random_network
from permfc.config import EngineConfig
from permfc.errors import InputError
from permfc.image.cycles import predicted_cycles
from permfc_sim.device import SimDevice

CASES = [(8, 32, 128, 30, 50), (4, 16, 64, 12, 150), (16, 64, 256, 30, 250), (8, 128, 128, 60, 350)]  # lanes, bus bits, block outputs, latency, seed


@pytest.mark.parametrize("lanes,bus_bits,block_outputs,latency,first", CASES)
def test_within_three_percent(lanes, bus_bits, block_outputs, latency, first):
    config = EngineConfig(lanes=lanes, bus_bits=bus_bits, block_outputs=block_outputs, features=512)
    ratios = []
    with SimDevice(config, latency=latency) as device:
        for seed in range(first, first + 10):
            rng = np.random.default_rng(seed)
            network = random_network(seed, rng.integers(8, 400, rng.integers(2, 4)).tolist(), block_outputs=block_outputs)
            device.load(network)
            x = random_inputs(seed, network.inputs).reshape(-1, network.inputs)[:1]
            device.run(x[0])
            ratios.append(predicted_cycles(network, x, config, latency).total[0] / device.counters().cycles)
    assert np.abs(np.array(ratios) - 1).max() < 0.03


def test_what_holds():
    network = random_network(3, [800, 256], block_outputs=256)
    slow, fast, wide = (
        predicted_cycles(network, np.full((2, 800), 5, np.int8), EngineConfig(lanes=lanes, block_outputs=256, bus_bits=bus_bits))
        for lanes, bus_bits in ((2, 32), (64, 32), (2, 256)))
    assert (slow.limit, fast.limit, wide.limit) == ("decode", "memory", "decode")
    assert (slow.total > fast.total).all() and slow.total[0] == slow.total[1]
    idle = predicted_cycles(network, np.zeros((1, 800), np.int8), EngineConfig(block_outputs=256))
    assert idle.limit == "start-up" and idle.total[0] < fast.total[0]


def test_bad_inputs():
    network = random_network(3, [20, 16])
    with pytest.raises(InputError):
        predicted_cycles(network, np.zeros((1, 21), np.int8), EngineConfig())
