"""The on-chip estimate: its counts against the traffic law and the layers' shapes, its energies by hand."""

from __future__ import annotations

import numpy as np
import pytest

from networks import random_inputs, random_network
from permfc.config import EngineConfig
from permfc.image import predicted_traffic
from permfc.memory.onchip import OnChipCounts, on_chip_counts, on_chip_energy
from permfc.network import Kind

CONFIG = EngineConfig(lanes=4, bus_bits=32)


def test_bytes_are_those_of_the_traffic_law() -> None:
    network = random_network(5, [40, 60, 10], block_outputs=32)
    x = random_inputs(6, 40, batch=3)
    counts = on_chip_counts(network, x, CONFIG)
    assert counts.bytes.tolist() == (predicted_traffic(network, x, CONFIG).layer_words.sum(axis=0) * 4).tolist()
    assert counts.outputs.tolist() == [180, 30]


def test_rounds_and_weights_of_one_dense_layer() -> None:
    """9 of 10 features active, two nibbles each: 18 lane segments of 20 outputs, in 5 rounds of 4 lanes."""
    network = random_network(7, [10, 20], kinds=[Kind.DENSE8], classes=1)
    x = np.arange(10, dtype=np.int8)
    counts = on_chip_counts(network, x, CONFIG)
    assert (counts.lane_segments.tolist(), counts.weights.tolist(), counts.sums.tolist()) == ([18], [360], [100])
    assert counts.activations.tolist() == [9]


def test_nothing_active_decodes_nothing() -> None:
    """One round brings out the biases."""
    network = random_network(8, [30, 20])
    counts = on_chip_counts(network, np.zeros(30, np.int8), CONFIG)
    energy = on_chip_energy(counts)
    assert (energy.tables, energy.lookups, energy.activations) == (0, 0, 0)
    assert energy.total == pytest.approx(energy.buffers + 20 * (3.1 + 10 + 0.1) * 1e-12)


def test_energies_by_hand() -> None:
    one = np.array([1, 10])
    counts = OnChipCounts(bytes=4 * one, lane_segments=one, weights=one, sums=one, outputs=one, activations=one)
    energy = on_chip_energy(counts, layer=0)
    assert energy.buffers == pytest.approx(10e-12)
    assert energy.tables == pytest.approx(16 * (0.25 + 0.2 + 0.5) * 1e-12)
    assert energy.lookups == pytest.approx(0.5e-12)
    assert energy.adders == pytest.approx(0.2e-12)
    assert energy.accumulators == pytest.approx(10e-12)
    assert on_chip_energy(counts).total == pytest.approx(11 * energy.total)
    assert energy.as_dict()["total"] == energy.total
