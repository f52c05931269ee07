"""Layouts of weights: their bytes by hand, and the comparison of them on a memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import fail, succeed
from networks import random_network
from permfc.config import EngineConfig
from permfc.errors import ConfigError
from permfc.image import model_file, predicted_traffic
from permfc.memory import IdlePolicy, memory
from permfc.memory.comparison import compare
from permfc.memory.layouts import EIE_PES, Dense, Eie, Permfc, Stretch, eie_entries, layouts
from permfc_cli.compare import cost_table

NETWORK = random_network(5, (40, 64, 10))
X = np.random.default_rng(0).integers(-128, 128, (3, 40)).astype(np.int8)
X[:, ::2] = 0


def active(row: int) -> list[np.ndarray]:
    return [values[row] != 0 for values in NETWORK.layer_inputs(X)]


@pytest.mark.parametrize(("bits", "name", "each_output", "group"), [(32, "dense fp32", 4, 0), (8, "dense int8", 8, 0), (4, "dense int4", 4, 2)])
def test_dense_bytes_by_hand(bits: int, name: str, each_output: int, group: int) -> None:
    layout = Dense(name, bits)
    expected = 40 * (64 * bits // 8 + group) + 64 * (10 * bits // 8 + group) + (64 + 10) * each_output
    assert layout.reads(NETWORK, None).bytes.sum() == expected
    left = active(0)
    skipped = np.count_nonzero(left[0]) * (64 * bits // 8 + group) + np.count_nonzero(left[1]) * (10 * bits // 8 + group) + 74 * each_output
    assert layout.reads(NETWORK, left).bytes.sum() == skipped


def test_permfc_reads_what_the_law_predicts() -> None:
    config = EngineConfig(bus_bits=32)
    predicted = predicted_traffic(NETWORK, X, config).total_bytes
    assert [Permfc(4).reads(NETWORK, active(row)).bytes.sum() for row in range(3)] == predicted.tolist()


def eie_by_hand(weights: np.ndarray) -> np.ndarray:
    """Entries of every feature and element, weight for weight."""
    counts = np.zeros((weights.shape[1], EIE_PES), int)
    for feature in range(weights.shape[1]):
        for element in range(EIE_PES):
            run = 0
            for weight in weights[element::EIE_PES, feature]:
                if weight:
                    counts[feature, element] += 1 + run // 16
                    run = 0
                else:
                    run += 1
    return counts


class Weights:
    """As much of a layer as the layout of EIE asks for."""

    def __init__(self, weights: np.ndarray) -> None:
        self._weights, (self.outputs, self.features) = weights, weights.shape

    def weights(self) -> np.ndarray:
        return self._weights


@pytest.mark.parametrize("density", [0.0, 0.01, 0.05, 0.5, 1.0])
def test_eie_entries_by_hand(density: float) -> None:
    random = np.random.default_rng(7)
    weights = (random.random((64 * 40, 3)) < density).astype(np.int8)
    assert np.array_equal(eie_entries(Weights(weights)), eie_by_hand(weights))


def test_eie_waits_for_the_fullest_element() -> None:
    cycles = Eie.cycles(NETWORK, None)
    entries = sum(eie_entries(layer).sum() for layer in NETWORK.layers)
    assert entries / EIE_PES <= cycles < entries
    assert Eie.cycles(NETWORK, active(0)) < cycles


def test_neighbours_are_one_read() -> None:
    stretch = Stretch(np.array([4, 4, 0, 4, 4]))
    address, size = stretch.reads(100, np.array([True, True, False, True, False]))
    assert address.tolist() == [100] and size.tolist() == [12]
    address, size = stretch.reads(100, np.array([True, False, True, True, True]))
    assert address.tolist() == [100, 108] and size.tolist() == [4, 8]
    assert stretch.reads(100, np.zeros(5, bool))[0].size == 0


def test_layouts_do_not_overlap() -> None:
    for layout in layouts(4):
        reads = layout.reads(NETWORK, None)
        order = np.argsort(reads.address)
        end = (reads.address + reads.bytes)[order]
        assert (reads.address[order][1:] >= end[:-1]).all()


def test_comparison_orders_energy_as_bytes() -> None:
    costs = compare(NETWORK, X, memory("ddr3-1600"), bus_bytes=2, policy=IdlePolicy())
    assert [cost.skips_zeros for cost in costs] == [False] * 5 + [True] * 5
    whole = {cost.layout: cost for cost in costs[:5]}
    assert whole["dense fp32"].energy.total > whole["dense int8"].energy.total > whole["dense int4"].energy.total
    for without, skipping in zip(costs[:5], costs[5:], strict=True):
        assert skipping.bytes < without.bytes  # energy may grow where short segments share bursts
    assert whole["EIE"].compute_seconds > 0 and whole["permfc"].compute_seconds is None


def test_weights_that_do_not_fit_have_no_time() -> None:
    small = memory("qspi-48")
    tiny = type(small)(small.name, type(small.part)(**{**small.part.__dict__, "size": 8_192}), small.clock_hz)
    costs = {cost.layout: cost for cost in compare(NETWORK, None, tiny, bus_bytes=2, policy=IdlePolicy())}
    dense = costs["dense fp32"]
    assert dense.seconds is None and dense.energy is None and dense.excess == dense.bytes - 8_192 > 0
    assert costs["permfc"].seconds > 0
    column = list(cost_table(list(costs.values()), tiny, IdlePolicy()).columns[3].cells)
    assert [cell.endswith("kB too large") for cell in column] == [cost.energy is None for cost in costs.values()]


def test_comparison_needs_a_part() -> None:
    with pytest.raises(ConfigError, match="axi has no part to compare on"):
        compare(NETWORK, None, memory("axi"), bus_bytes=4, policy=IdlePolicy())


def test_command(tmp_path: Path) -> None:
    network, inputs, plot = tmp_path / "net.safetensors", tmp_path / "x.npy", tmp_path / "plot.svg"
    model_file.save(NETWORK, network)
    np.save(inputs, np.random.default_rng(0).normal(0, 20, (2, 40)))
    shown = json.loads(succeed("compare", network, "--input", inputs, "--plot", plot, "--json").stdout)
    assert [row["layout"] for row in shown["layouts"]][:5] == ["dense fp32", "dense int8", "dense int4", "EIE", "permfc"]
    assert "<svg" in plot.read_text()
    table = succeed("compare", network, "--memory", "ddr4-2400").stdout
    assert "modelled" in table and "permfc" in table and "skipped" not in table and "…" not in table
    assert "choose one of sdr-100" in fail("compare", network, "--memory", "ddr5")
    assert "axi has no part" in fail("compare", network, "--memory", "axi")
    for name in ("plot.foo", "plot"):
        assert "give it a name that ends in .svg, .png, .pdf" in fail("compare", network, "--plot", tmp_path / name)
