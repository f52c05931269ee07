"""Networks at the edges of what an engine can do, and what to compare after a run."""

from __future__ import annotations

import numpy as np

from permfc.image import predicted_traffic
from permfc.network import Layer, Network, Segments
from permfc_sim.device import SimDevice


def bound_network(features: int, outputs: int, bits: int) -> tuple[Network, np.ndarray]:
    """A network with raw results and an input for which the accumulators reach both ends of ``bits`` bits.

    All weights of an output are -128 or 127, the input is -128 everywhere, and the bias fills what is left.
    """
    rng = np.random.default_rng(bits)
    levels, counts = np.array([-128, 127], dtype=np.int8), np.array([outputs - outputs // 2, outputs // 2])
    common = np.repeat(np.arange(2, dtype=np.uint8), counts)
    segments = Segments.prefix(0, levels, counts, np.tile(rng.permutation(common), (features, 1)))
    weights = segments.weights()[0].astype(np.int64)
    rest = (1 << (bits - 1)) - 1 - 128 * features * np.abs(weights)
    bias = np.where(weights < 0, rest, -rest).astype(np.int32)
    layer = Layer(features, outputs, outputs, ((segments,),), bias, np.ones(outputs, dtype=np.uint16), 1, False, True)
    network = Network((layer,), 1.0, np.zeros(features, dtype=np.uint8), np.ones(outputs, dtype=np.float32))
    return network, np.full((1, features), -128, dtype=np.int8)


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
