"""What a simulation says of its memory: windows of layers, sums, and the same network on each kind of memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import fail, succeed
from networks import random_network
from permfc.config import EngineConfig
from permfc.errors import ConfigError
from permfc.image import model_file
from permfc.image.layout import image_layout
from permfc.memory import IdlePolicy, Memory, memory
from permfc_sim.simulate import Simulation, simulate

CONFIG = EngineConfig(lanes=4, bus_bits=16, block_outputs=64, features=64)
NETWORK = random_network(5, (40, 64, 10))
X = np.random.default_rng(0).integers(-128, 128, (3, 40)).astype(np.int8)


@pytest.fixture(scope="module", params=["sdr-100", "qspi-48"])
def run(request: pytest.FixtureRequest) -> Simulation:
    return simulate(NETWORK, X, CONFIG, memory=memory(request.param))


def test_results_equal_the_golden_model_and_the_engine_has_the_memorys_clock(run: Simulation) -> None:
    assert run.mismatches == 0 and run.traffic_as_predicted
    assert run.clock_hz == run.memory_run.memory.clock_hz


def test_layers_add_up_to_the_inference(run: Simulation) -> None:
    whole, layers = run.memory_run.total, run.memory_run.layers
    assert sum(use.cycles for use in layers) == pytest.approx(whole.cycles) == pytest.approx(run.counters["cycles"].mean())
    for name, count in whole.commands.items():
        assert sum(use.commands[name] for use in layers) == pytest.approx(count)
    assert sum(use.energy.total for use in layers) == pytest.approx(whole.energy.total)


def test_only_memories_with_rows_have_row_hits(run: Simulation) -> None:
    known = [use.row_hit_rate is not None for use in (*run.memory_run.layers, run.memory_run.total)]
    assert known == [run.memory_run.memory.part.kind == "sdr"] * len(known)


def test_bytes_at_the_pins_are_those_on_the_bus_and_the_tails_of_bursts(run: Simulation) -> None:
    bus, pins = run.bus_bytes.mean(), run.memory_run.total.bytes
    bursts = run.memory_run.total.commands["read"]
    assert bus <= pins <= bus + 16 * bursts
    assert pins > 0 and 0 < run.memory_run.total.utilisation <= 1


def test_a_layer_reads_what_the_law_predicts(run: Simulation) -> None:
    """Up to what the pins move beyond the bus, and to one read, which may have the first layer's parameters and the second one's descriptor."""
    predicted = [layer.bytes for layer in run.layers]
    assert sum(predicted) == pytest.approx(run.bus_bytes.mean())
    first, second = image_layout(NETWORK, CONFIG.bus_bytes).blocks
    joined = CONFIG.bus_bytes * (first.bias_words + first.mul_words + second.header_words + second.info_words + second.table_words)
    for use, expected in zip(run.memory_run.layers, predicted, strict=True):
        assert expected * 0.95 - joined <= use.bytes <= expected * 1.05 + joined + 16 * use.commands["read"]


def test_idle_time_stands_beside_what_was_counted() -> None:
    sdram = memory("sdr-100")
    none, one, down = (simulate(NETWORK, X, CONFIG, memory=sdram, idle=IdlePolicy.parse(text)).memory_run for text in ("none", "1", "powerdown:1"))
    assert one.total == none.total and one.layers == none.layers and one.pj_per_weight == none.pj_per_weight
    assert none.idle.total == 0 and one.idle.background > 5 * none.total.energy.background and one.idle.read == 0
    assert one.idle.background == pytest.approx(1e-3 * 3.3 * 40e-3, rel=0.01)  # a millisecond of IDD2N
    assert none.energy_source == one.energy_source == "counted"
    assert down.energy_source == "modelled" and down.source == "counted" and down.idle.total < one.idle.total / 5


@pytest.mark.parametrize("name", ["ddr3-300", "ddr4-2400"])
def test_commands_of_a_modelled_memory_last_as_long_as_the_run(name: str) -> None:
    run = simulate(NETWORK, X, CONFIG, memory=memory(name), clock_hz=50e6)
    whole, seconds = run.memory_run.total, run.counters["cycles"].mean() / 50e6
    assert run.mismatches == 0 and run.memory_run.source == "modelled"
    assert seconds * 0.9 <= whole.seconds <= seconds * 1.05  # from the first read on
    assert whole.bytes >= run.bus_bytes.mean()
    assert sum(use.cycles for use in run.memory_run.layers) == pytest.approx(whole.cycles)
    assert all(use.bytes > 0 for use in run.memory_run.layers)


def test_an_inference_takes_no_less_than_a_modelled_memory_needs() -> None:
    slow = Memory("slow", memory("ddr3-300").part, 10e6)
    run = simulate(NETWORK, X, CONFIG, memory=slow, clock_hz=100e6)
    assert run.seconds_are == "modelled" and run.seconds == run.memory_run.total.seconds > 1.5 * run.counters["cycles"].mean() / 100e6
    assert run.seconds >= run.bus_bytes.mean() / slow.peak_bytes_per_second


def test_a_plain_memory_has_no_pins() -> None:
    run = simulate(NETWORK, X, CONFIG, memory=memory("axi"))
    assert run.memory_run is None and run.as_dict()["memory"] is None and run.seconds_are == "counted"


def test_command_line_prints_what_was_counted(tmp_path: Path) -> None:
    network, inputs = tmp_path / "net.safetensors", tmp_path / "x.npy"
    model_file.save(NETWORK, network)
    np.save(inputs, np.random.default_rng(0).normal(0, 20, (2, 40)))
    engine = ["--lanes", 4, "--block-outputs", 64, "--features", 64]
    shown = json.loads(succeed("simulate", network, "--input", inputs, *engine, "--memory", "sdr-100", "--idle", "powerdown:2", "--json").stdout)
    assert shown["config"]["bus_bits"] == 16  # as wide as the part
    assert shown["memory"]["commands_are"] == "counted" and shown["memory"]["part"] == "MT48LC16M16A2-75"
    assert shown["memory"]["total"]["commands"]["read"] > 0
    assert shown["memory"]["idle"] == "2 ms of standby after each inference, power-down whenever no bank is open"
    tables = " ".join(succeed("simulate", network, "--input", inputs, *engine, "--memory", "sdr-100").stdout.split())
    assert "commands counted" in tables and "estimated" in tables and "datasheet maximum" in tables


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    network, inputs = tmp_path / "net.safetensors", tmp_path / "x.npy"
    model_file.save(NETWORK, network)
    np.save(inputs, np.zeros((1, 40)))
    assert "choose one of sdr-100, sdr-133" in fail("simulate", network, "--input", inputs, "--memory", "sdr-101")
    assert "not 'never'" in fail("simulate", network, "--input", inputs, "--memory", "sdr-100", "--idle", "never")


def test_commands_of_the_first_inference_for_drampower(tmp_path: Path) -> None:
    """One line a command; memories that DRAMPower does not know are refused before the simulation."""
    network, inputs = tmp_path / "net.safetensors", tmp_path / "x.npy"
    model_file.save(NETWORK, network)
    np.save(inputs, np.random.default_rng(0).normal(0, 20, (1, 40)))
    asked = ("simulate", network, "--input", inputs, "--lanes", 4, "--drampower", tmp_path / "one.csv", "--memory")
    shown = json.loads(succeed(*asked, "ddr3-1600", "--json").stdout)
    assert shown["inputs"] == 1
    names = [line.split(",")[1] for line in (tmp_path / "one.csv").read_text().splitlines()]
    counted = shown["memory"]["total"]["commands"]
    assert names.count("RD") == counted["read"] > 0 and names.count("ACT") == counted["activate"]
    assert "DRAMPower knows no memory like sdr-100; choose one of ddr3-300" in fail(*asked, "sdr-100")
    assert "DRAMPower knows no memory like axi" in fail(*asked, "axi")


@pytest.mark.parametrize("name", ["sdr-100", "ddr3-1600"])
def test_a_network_larger_than_the_memory_is_refused_before_anything_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("permfc_sim.simulate.SimDevice", lambda *_, **__: pytest.fail("built"))
    part = replace(memory(name).part, rows=1, columns=8)
    size, excess = image_layout(NETWORK, CONFIG.bus_bytes).image_bytes, image_layout(NETWORK, CONFIG.bus_bytes).image_bytes - part.capacity
    with pytest.raises(ConfigError, match=f"{size} bytes are {excess} more than memory tiny holds"):
        simulate(NETWORK, X, CONFIG, memory=Memory("tiny", part, 100e6))


@pytest.mark.parametrize("name", ["axi", "ddr3-1600"])
def test_a_memory_without_pins_is_as_large_as_the_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("permfc_sim.simulate.MEMORY_BYTES", 1024)
    run = simulate(NETWORK, X[:1], CONFIG, memory=memory(name))
    assert image_layout(NETWORK, CONFIG.bus_bytes).image_bytes > 1024 and run.mismatches == 0


def test_a_modelled_memory_cannot_be_simulated_at_its_pins() -> None:
    from permfc_sim.device import SimDevice

    with pytest.raises(ConfigError, match="ddr3-1600 are modelled, not simulated"):
        SimDevice(CONFIG, memory=memory("ddr3-1600"))
