"""Steps and offsets of inputs: chosen where they pay, exact where they must be, and never at the cost of the target."""

from __future__ import annotations

import numpy as np
import pytest

import permfc.compression.compress as compress_module
from permfc.compression import targets
from permfc.compression.compress import compress
from permfc.compression.inputs import choose_input_steps, without_offsets
from permfc.compression.overhead import Storage
from permfc.compression.statistics import assumed_samples, measure
from permfc.config import EngineConfig
from permfc.errors import ModelError
from permfc.format import IMAGE_HEADER
from permfc.functions import IDENTITY
from permfc.image import pack
from permfc.image.layout import image_layout
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import InputSteps


def head(inputs: int, outputs: int = 96, bias: float = 0.0) -> FloatNetwork:
    weight = np.random.default_rng(0).standard_normal((outputs, inputs)) / np.sqrt(inputs)
    return FloatNetwork((FloatLayer(weight, np.full(outputs, bias), IDENTITY, "head"),))


def signed(samples: int, inputs: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, inputs)).astype(np.float32)


def chosen(network: FloatNetwork, x: np.ndarray, bits: float = 3.0, most_stored: float = np.inf) -> InputSteps:
    statistics = measure(network, x, real=True)[0]
    return choose_input_steps(network.layers[0], x, statistics, len(x), bits, most_stored)


def error(network: FloatNetwork, compressed, x: np.ndarray) -> float:
    wanted = network.predict(x).astype(np.float64)
    return float(np.square(compressed.predict(x) - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum())


def test_inputs_alike_share_a_step():
    steps = chosen(head(80), signed(500, 80))
    assert steps.exponents is None and steps.zeros is None


def test_inputs_of_unequal_range_get_steps_of_their_own():
    network, scale = head(80), np.geomspace(1.0, 1000.0, 80, dtype=np.float32)
    network = FloatNetwork((FloatLayer(network.layers[0].weight / scale, network.layers[0].bias, IDENTITY, "head"),))
    x, fresh = signed(500, 80) * scale, signed(500, 80, 2) * scale
    compressed = compress(network, 6.0, x)
    assert compressed.input_steps.exponents is not None and compressed.input_steps.zeros is None
    assert error(network, compressed, fresh) < 0.03
    assert compressed.clipped_share(fresh) < 0.01


def test_steps_that_do_not_fit_are_not_chosen():
    x = signed(500, 80) + 100.0
    assert chosen(head(80), x).zeros is not None
    assert chosen(head(80), x, most_stored=24 * 80 - 1).zeros is None
    assert chosen(head(80), x, most_stored=8 * 80 - 1).exponents is None


def test_inputs_far_from_zero_get_offsets():
    network, x = head(80), signed(500, 80) + 100.0
    compressed = compress(network, 6.0, x)
    offsets = compressed.input_steps.offsets(80)
    assert np.abs(offsets - 100.0).max() < 2.0
    assert error(network, compressed, signed(500, 80, 2) + 100.0) < 0.03


def test_few_samples_tell_no_offsets():
    """Of two equal samples every input seems constant, and a network of offsets alone would ignore its input."""
    x = np.repeat(signed(1, 80) + 100.0, 2, axis=0)
    assert chosen(head(80), x).zeros is None


def test_an_input_that_is_often_zero_stays_zero():
    x = signed(500, 80) + 100.0
    x[::20, 3] = 0.0
    steps = chosen(head(80), x)
    assert steps.zeros[3] == 0 and np.count_nonzero(steps.zeros) == 79
    assert steps.quantise(np.zeros((1, 80)))[0, 3] == 0


def test_offsets_go_into_the_bias():
    network, x = head(20, bias=0.5), signed(50, 20) + 3.0
    steps = InputSteps(0.125, np.full(20, 8, np.uint8), np.arange(20, dtype=np.int16))
    moved, (rest, nothing) = without_offsets(network, (x, None), steps)
    np.testing.assert_allclose(rest, x - 0.25 * np.arange(20), rtol=1e-6)
    np.testing.assert_allclose(moved.predict(rest), network.predict(x), atol=1e-5)
    assert nothing is None and without_offsets(network, (x,), InputSteps(0.125))[0] is network


def test_made_up_inputs_have_one_step():
    x = assumed_samples(20)
    network = head(20)
    steps = choose_input_steps(network.layers[0], x, measure(network, x, real=False)[0], 0, 3.0)
    assert steps.exponents is None and steps.scale == pytest.approx(1 / 127)


@pytest.mark.parametrize("x", [np.zeros((9, 40)), np.full((9, 40), 7.0), signed(1, 40) + 50.0,
                               1e-20 * signed(30, 40)])
def test_constant_inputs_and_single_samples(x):
    network = head(40)
    compressed = compress(network, 8.0, x.astype(np.float32))
    wanted = network.predict(x.astype(np.float32))
    assert np.linalg.norm(compressed.predict(x) - wanted) <= 0.2 * np.linalg.norm(wanted) + 1e-6 * np.abs(x).max()


# --- the size that was asked for ------------------------------------------------------------------------------------------------


def test_target_is_kept_with_correlated_inputs_and_heavy_tails():
    rng = np.random.default_rng(1)
    weight = rng.standard_t(4, (77, 384))
    x = rng.standard_normal((1000, 64)) @ rng.standard_normal((64, 384)) + 4 * rng.standard_normal((1000, 384))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    network = FloatNetwork((FloatLayer(weight, np.zeros(77), IDENTITY, "head"),))
    engine = EngineConfig(bus_bits=32, block_outputs=512)
    assert 8 * len(pack(compress(network, 1.6, x, engine), engine)) <= 1.6 * weight.size


def test_an_image_that_became_too_large_is_made_again(monkeypatch):
    fixed = targets.fixed_bits
    monkeypatch.setattr(targets, "fixed_bits", lambda *sizes: fixed(*sizes) - 8 * IMAGE_HEADER.itemsize)  # as if an image had no header
    network, x = head(24, 40), signed(50, 24)
    assert 8 * len(pack(compress(network, 6.0, x), EngineConfig())) <= 6.0 * network.weight_count
    monkeypatch.setattr(compress_module, "_ATTEMPTS", 1)
    with pytest.raises(ModelError, match=r"Target of 6 bits a weight was missed by 0\.\d+ bits: ask for a little more"):
        compress(network, 6.0, x)


def test_sparse_segments_fit_a_lane(monkeypatch):
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((64, 60)) < 0.6, rng.standard_normal((64, 60)), 0.0)
    network = FloatNetwork((FloatLayer(weight, np.zeros(64), IDENTITY, "head"),))
    engine = EngineConfig(bus_bits=16, block_outputs=64, lanes=4)
    assert Storage(64, 16).segment_bits == 8 * engine.segment_bytes

    def longest() -> int:
        compressed = compress(network, 9.0, signed(200, 60), engine, per_layer={"head": "sparse"})
        (block,) = image_layout(compressed, engine.bus_bytes).blocks
        return max(block.feature_words) * engine.bus_bytes

    assert 12 < longest() <= engine.segment_bytes
    monkeypatch.setattr(Storage, "segment_bits", 96)
    assert longest() <= 12
