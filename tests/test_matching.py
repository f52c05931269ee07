"""Weights make up for what the layers before have done to the features, as far as samples tell."""

from __future__ import annotations

import numpy as np
import pytest

from permfc.compression.compress import compress
from permfc.compression.covariance import judging
from permfc.compression.matching import matched
from permfc.compression.preparation import prepare
from permfc.config import EngineConfig
from permfc.errors import InputError
from permfc.functions import IDENTITY, RELU
from permfc.importers.float_network import FloatLayer, FloatNetwork

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((30, 24)).astype(np.float32)
MIXING = (np.eye(30) + 0.2 * RNG.standard_normal((30, 30))).astype(np.float32)
FACTORS = np.random.default_rng(1).standard_normal((6, 30))


def features(samples: int, seed: int) -> np.ndarray:
    """Correlated features float32 [samples, 30]."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((samples, 6)) @ FACTORS + 0.4 * rng.standard_normal((samples, 30))).astype(np.float32)


def missing(columns: np.ndarray, x: np.ndarray, aim: np.ndarray) -> float:
    """Mean square of what the sums miss, but for a constant per output."""
    error = aim - x @ columns
    return float(np.square(error - error.mean(axis=0)).mean())


@pytest.mark.parametrize("groups", [[np.arange(30)], [np.arange(20), np.arange(20, 30)]], ids=["one group", "two groups"])
def test_a_mixing_of_features_is_undone(groups: list[np.ndarray]) -> None:
    original, fresh = features(2000, 2), features(2000, 3)
    moved = matched(WEIGHT, original @ MIXING + 5.0, original @ WEIGHT - 3.0, groups)
    left = missing(moved, fresh @ MIXING, fresh @ WEIGHT)
    assert left < (0.01 if len(groups) == 1 else 0.5) * missing(WEIGHT, fresh @ MIXING, fresh @ WEIGHT)


@pytest.mark.parametrize("samples", [4, 20, 40, 200])
def test_noise_tells_no_better_weights(samples: int) -> None:
    """What is missing does not depend on the features: weights stay about as they are."""
    x, fresh = features(samples, 4), features(2000, 5)
    noise = np.random.default_rng(6).standard_normal((samples, 24)).astype(np.float32)
    moved = matched(WEIGHT, x, x @ WEIGHT + noise, [np.arange(30)])
    assert missing(moved, fresh, fresh @ WEIGHT) < 0.35 * np.square(noise).mean()


def test_few_samples_are_not_believed() -> None:
    """Features that are changed by noise alone: what chance tells of 79 samples would do harm on new ones."""
    x = features(79, 4)
    assert matched(WEIGHT, x @ MIXING, x @ WEIGHT, [np.arange(30)]) is WEIGHT


def test_floors_are_below_what_is_wanted_too() -> None:
    """Hidden features that are at least 3 for the calibration data, and at least 1 for the reference."""
    rng = np.random.default_rng(2)
    layers = (FloatLayer(np.eye(12, dtype=np.float32), np.zeros(12, np.float32), RELU, "first"),
              FloatLayer(rng.standard_normal((6, 12)).astype(np.float32), np.zeros(6, np.float32), IDENTITY, "second"))
    network, reference = FloatNetwork(layers), 1 + rng.random((200, 12)).astype(np.float32)
    ready = prepare(network, 64.0, reference + 2.0, reference, EngineConfig(), {"second": "dense8"})
    np.testing.assert_allclose(ready.network.predict(ready.reference), network.predict(reference), atol=1e-4)
    assert ready.network.layers[1].bias.all()  # there are floors


def test_a_part_of_a_network_is_compressed_for_inputs_that_others_have_changed() -> None:
    network = FloatNetwork((FloatLayer(np.ascontiguousarray(WEIGHT.T), np.ones(24, np.float32), IDENTITY, "head"),))
    original, fresh = features(1000, 7), features(1000, 8)
    wanted = network.predict(fresh)
    plain = compress(network, 4.0, original @ MIXING)
    told = compress(network, 4.0, original @ MIXING, reference=original)
    errors = [float(np.square(made.predict(fresh @ MIXING) - wanted).mean()) for made in (plain, told)]
    assert errors[1] < 0.3 * errors[0]


def test_samples_without_a_partner_are_refused() -> None:
    network = FloatNetwork((FloatLayer(np.ascontiguousarray(WEIGHT.T), np.ones(24, np.float32), IDENTITY, "head"),))
    with pytest.raises(InputError, match="Reference has 9 samples, and calibration 10"):
        compress(network, 4.0, features(10, 1), reference=features(9, 1))
    with pytest.raises(InputError, match="Reference has 9 samples, and calibration 0"):
        compress(network, 4.0, reference=features(9, 1))


@pytest.mark.parametrize(("samples", "judges"), [(4, []), (5, [4]), (11, [9, 10])])
def test_the_last_samples_judge(samples, judges):
    """Where samples are sorted, these differ from the others."""
    assert np.flatnonzero(judging(samples)).tolist() == judges
