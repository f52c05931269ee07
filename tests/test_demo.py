"""The demo's parts; the demo as a whole is what ``make demo`` runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from permfc.errors import DeviceError
from permfc.importers import load_model
from permfc_cli.demo import run as demo
from permfc_cli.demo.training import TRAINING_DIGITS, Digits, digits, train


@pytest.fixture(scope="module")
def data() -> Digits:
    return digits()


def test_split(data: Digits) -> None:
    assert data.training.shape == (TRAINING_DIGITS, 784)
    assert data.test.shape == (1000, 784)
    assert set(data.test_labels) == set(range(10))
    assert (data.training.min(), data.training.max()) == (0, 1)


def test_training_is_reproducible_and_learns(data: Digits) -> None:
    steps = []
    first = train(data, epochs=2, progress=lambda *step: steps.append(step))
    second = train(data, epochs=2)
    assert steps == [("training", 0, 2), ("training", 1, 2), ("training", 2, 2)]
    assert [array.shape for array in first.values()] == [(300, 784), (300,), (100, 300), (100,), (10, 100), (10,)]
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert np.mean(load_model(first).predict(data.test).argmax(axis=1) == data.test_labels) > 0.8


def test_in_steps_finds_order_and_scale_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(-100, 100, (6, 40)).astype(np.int8)
    order, scale = rng.permutation(6), rng.uniform(0.001, 0.1, 6)
    weights = (stored * scale[:, None])[order]
    np.testing.assert_allclose(demo.in_steps(weights, stored), stored, atol=1e-9)


class _Simulation:
    mismatches, traffic_as_predicted, results = 0, True, np.zeros((2, 10))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mismatches": 3}, "3 of 20 results of the engine differ"),
        ({"traffic_as_predicted": False}, "other bytes from memory than the format predicts"),
    ],
)
def test_a_difference_ends_the_demo(changes: dict, sentence: str) -> None:
    simulation = _Simulation()
    vars(simulation).update(changes)
    with pytest.raises(DeviceError, match=sentence):
        demo._check(simulation)


def test_the_whole_demo_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "train", lambda data, progress: train(data, epochs=3))
    monkeypatch.setattr(demo, "RATES", (2.0,))
    monkeypatch.setattr(demo, "SIMULATED_DIGITS", 5)
    found = demo.run(tmp_path, lambda *step: None)
    assert found.subset_accuracy["rtl"] == found.subset_accuracy["golden"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["simulation"]["mismatches"] == 0
    assert figures["simulation"]["bus_bytes"] < figures["simulation"]["dense_bytes"] / 5
    assert figures["rates"][0]["bits_per_weight"] <= 2.0
    for name in ("accuracy.png", "traffic.png", "sequences.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
