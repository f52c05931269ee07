"""Simulated engines for tests, and what is compared after a run."""

from __future__ import annotations

from functools import cache

import numpy as np

from permfc.config import EngineConfig
from permfc.image import predicted_traffic
from permfc.network import Network
from permfc_sim.device import SimDevice


@cache
def simulated(config: EngineConfig) -> SimDevice:
    """One simulated engine of each configuration for the whole session: making one takes longer than a run."""
    return SimDevice(config, seed=1)


def sane(config: EngineConfig) -> SimDevice:
    """The simulated engine after a reset, with default timing and without faults."""
    device = simulated(config)
    device.reset()
    device.set_timing(outstanding=config.outstanding)
    device.set_fault()
    return device


def check_run(device: SimDevice, network: Network, x: np.ndarray) -> None:
    """Run ``x`` int8 [batch, inputs] and assert that results, bus words and counters are what they must be, to the bit."""
    traffic = predicted_traffic(network, x, device.identify())
    golden = network.compute(x)
    for number, values in enumerate(x):
        before = device.bus_counters()
        np.testing.assert_array_equal(device.run(values), golden[number])
        words, counters = int(traffic.total_words[number]), device.counters()
        assert device.bus_counters().beats - before.beats == words, "bus words differ from the law"
        assert counters.beats == words
        assert counters.segments_fetched == traffic.fetched[number].sum()
        assert counters.segments_skipped == traffic.skipped[number].sum()
