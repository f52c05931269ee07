"""From a float network to a compressed one: sizes, arithmetic, orders, corner cases, accuracy on real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.errors import InputError, ModelError
from permfc.functions import IDENTITY, RELU
from permfc.image import pack, required
from permfc.image.layout import image_layout
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import Kind

ROOT = Path(__file__).resolve().parents[1]


def random_network(sizes: list[int], seed: int = 0, relu_at_end: bool = False, scale: float = 1.0) -> FloatNetwork:
    """Normal weights with columns of different scale; ReLU between the layers."""
    rng = np.random.default_rng(seed)
    layers = []
    for number, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weight = rng.standard_normal((outputs, inputs)) * np.exp(0.5 * rng.standard_normal(inputs)) * scale / np.sqrt(inputs)
        bias = 0.1 * scale ** (number + 1) * rng.standard_normal(outputs)  # as the signals
        layers.append(FloatLayer(weight, bias, RELU if relu_at_end or number < len(sizes) - 2 else IDENTITY, str(number)))
    return FloatNetwork(tuple(layers))


def random_inputs(samples: int, features: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (samples, features)).astype(np.float32)


def relative_error(network: FloatNetwork, compressed, x: np.ndarray) -> float:
    wanted, found = network.predict(x).astype(np.float64), compressed.predict(x).astype(np.float64)
    return float(np.square(wanted - found).sum() / np.square(wanted - wanted.mean(axis=0)).sum())


def bits_a_weight(network: FloatNetwork, compressed, bus_bits: int = 32) -> float:
    return 8 * image_layout(compressed, bus_bits // 8).image_bytes / network.weight_count


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.sampled_from([1, 2, 7, 16, 33, 77, 130]), min_size=2, max_size=4), bits=st.floats(1.0, 12.0),
       calibrated=st.booleans(), block_outputs=st.sampled_from([16, 64, 1024]), bus_bits=st.sampled_from([16, 32, 64, 128]),
       seed=st.integers(0, 99))
def test_any_network_meets_its_target_or_says_why_not(sizes, bits, calibrated, block_outputs, bus_bits, seed):
    network = random_network(sizes, seed)
    calibration = random_inputs(50, sizes[0]) if calibrated else None
    engine = EngineConfig(bus_bits=bus_bits, block_outputs=block_outputs)
    try:
        compressed = compress(network, bits, calibration, engine)
    except ModelError as error:
        assert "cannot be reached" in str(error)
        return
    assert bits_a_weight(network, compressed, bus_bits) <= bits
    assert np.isfinite(compressed.predict(random_inputs(20, sizes[0], 2))).all()
    assert [layer.outputs for layer in compressed.layers] == sizes[1:]


def test_target_is_filled():
    network = random_network([200, 150, 80])
    x = random_inputs(500, 200)
    for bits in (1.5, 3.5):
        for block_outputs in (64, 1024):
            taken = bits_a_weight(network, compress(network, bits, x, EngineConfig(block_outputs=block_outputs)))
            assert 0.97 * bits < taken <= bits


def test_size_is_that_of_the_packed_image():
    network = random_network([100, 60, 10])
    engine = EngineConfig(bus_bits=32, block_outputs=64)
    compressed = compress(network, 3.0, random_inputs(100, 100), engine)
    image = pack(compressed, engine)
    assert 8 * len(image) / network.weight_count <= 3.0
    assert len(image) == image_layout(compressed, 4).image_bytes


def test_more_bits_mean_less_error():
    network, x = random_network([150, 120, 40]), random_inputs(1000, 150)
    errors = [relative_error(network, compress(network, bits, x), random_inputs(500, 150, 2)) for bits in (1.2, 2.0, 3.0, 4.5, 12.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.15 and errors[-1] < 1e-3


@pytest.mark.parametrize("outputs", [5, 10])
def test_more_bits_mean_less_error_in_layers_with_few_outputs(outputs):
    """Their words have room for few choices, and an input's own step and offset take as many bits as some of its weights."""
    network, x = random_network([64, outputs]), random_inputs(300, 64)
    errors = []
    for bits in (8.0, 10.0, 14.0, 18.0):
        compressed = compress(network, bits, x)
        assert bits_a_weight(network, compressed) > 0.9 * min(bits, 14.0)
        errors.append(relative_error(network, compressed, random_inputs(500, 64, 2)))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.03


def test_calibration_helps():
    network = random_network([150, 120, 40])
    x = np.abs(random_inputs(1500, 150)) * np.linspace(0, 1, 150, dtype=np.float32)
    with_data, without = (relative_error(network, compress(network, 2.5, calibration), x[1000:]) for calibration in (x[:1000], None))
    assert with_data < without


def test_no_sequences_are_sought_where_all_weights_are_int8(monkeypatch):
    for name in ("quantise_sparse", "quantise_profiles"):
        monkeypatch.setattr(f"permfc.compression.classes.{name}", lambda *args: pytest.fail("A sequence was sought"))
    network, x = random_network([20, 16, 8]), random_inputs(200, 20)
    assert relative_error(network, compress(network, "dense8", x), random_inputs(200, 20, 2)) < 5e-3


def test_eight_levels_fit_an_engine_with_eight():
    network, x = random_network([100, 90, 30]), random_inputs(300, 100)
    compressed = compress(network, 7.0, x, EngineConfig(levels=8))
    assert required(compressed)["levels"] == 8
    assert required(compress(network, 7.0, x))["levels"] == 16
    with_dense = compress(random_network([64, 64]), 11.0, random_inputs(300, 64), EngineConfig(levels=8))
    assert required(with_dense)["levels"] == 8


def test_plenty_of_bits_give_dense_weights():
    compressed = compress(random_network([64, 64]), 30.0, random_inputs(100, 64))
    assert [segments.kind for segments in compressed.layers[0].classes] == [Kind.DENSE8]
    assert compressed.layers[0].raw


def test_features_that_are_always_zero_are_stored_as_nothing():
    network, x = random_network([100, 50]), random_inputs(1000, 100)
    x[:, 20:50] = 0.0
    compressed = compress(network, 4.0, x)
    empty = [segments for segments in compressed.layers[0].classes if segments.kind is Kind.EMPTY]
    assert sum(segments.features for segments in empty) >= 30
    slot = compressed.layers[0].class_slots[[segments.kind for segments in compressed.layers[0].classes].index(Kind.EMPTY)]
    assert (compressed.input_class[20:50] == slot).all()


def test_results_nobody_reads_are_zero():
    rng = np.random.default_rng(0)
    second = rng.standard_normal((20, 60)).astype(np.float32)
    second[:, :25] = 0.0
    network = FloatNetwork((FloatLayer(rng.standard_normal((60, 30)), np.ones(60), RELU, "a"), FloatLayer(second, np.zeros(20), IDENTITY, "b")))
    compressed = compress(network, 8.0, random_inputs(200, 30))
    hidden = compressed.layers[0].compute(compressed.quantise(random_inputs(10, 30, 2)))
    unread = compressed.layers[1].weights().any(axis=0) == 0
    assert unread.sum() >= 25
    assert not hidden[:, unread].any()


def test_relu_at_the_end_gives_int8_results():
    network, x = random_network([80, 60, 20], relu_at_end=True), random_inputs(500, 80)
    compressed = compress(network, 12.0, x)
    assert not compressed.layers[-1].raw and compressed.layers[-1].relu
    assert relative_error(network, compressed, x) < 0.01


def test_hidden_layer_without_relu():
    rng = np.random.default_rng(0)
    network = FloatNetwork((FloatLayer(rng.standard_normal((40, 30)), np.zeros(40), IDENTITY, "a"),
                            FloatLayer(rng.standard_normal((20, 40)), np.zeros(20), IDENTITY, "b")))
    x = random_inputs(500, 30)
    compressed = compress(network, 30.0, x)
    assert not compressed.layers[0].relu and not compressed.layers[0].raw
    assert relative_error(network, compressed, x) < 0.01


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6])
def test_scale_of_weights_does_not_matter(scale):
    x = random_inputs(500, 60)
    networks = random_network([60, 80, 30], scale=scale), random_network([60, 80, 30])
    errors = [relative_error(network, compress(network, 4.0, x), x) for network in networks]
    assert errors[0] < 1.5 * errors[1] + 1e-3


def test_network_of_zeros_gives_its_biases():
    network = FloatNetwork((FloatLayer(np.zeros((50, 40)), np.ones(50), RELU, "a"), FloatLayer(np.zeros((8, 50)), np.arange(8.0), IDENTITY, "b")))
    found = compress(network, 4.0).predict(random_inputs(3, 40))
    assert np.allclose(found, np.tile(np.arange(8.0), (3, 1)), atol=1e-3)


def test_same_input_same_result():
    network, x = random_network([60, 40]), random_inputs(100, 60)
    first, second = compress(network, 2.5, x), compress(network, 2.5, x)
    assert pack(first, EngineConfig()) == pack(second, EngineConfig())


def test_progress_is_reported_to_the_end():
    calls = []
    compress(random_network([60, 40, 20]), 3.0, progress=lambda *call: calls.append(call))
    stages = dict.fromkeys(what for what, _, _ in calls)
    assert list(stages) == ["measure activations", "search bit allocation", "choose classes", "fit classes", "assemble layers"]
    assert all(0 <= done <= total for _, done, total in calls)
    assert calls[-1] == ("assemble layers", 2, 2)


@pytest.mark.parametrize(("options", "text"), [
    ({"bits": 0.01}, r"Target of 0\.01 bits a weight cannot be reached: headers, biases and multipliers of this network alone take"),
    ({"bits": 0}, r"Target bits a weight must be a positive number, or dense8, not 0"),
    ({"bits": float("nan")}, r"must be a positive number, or dense8, not nan"),
    ({"bits": "2"}, r"must be a positive number, or dense8, not '2'"),
    ({"engine": 512}, r"engine must be an EngineConfig, not 512"),
])
def test_unusable_options(options, text):
    with pytest.raises(ModelError, match=text):
        compress(random_network([60, 40]), **options)


def test_unusable_calibration():
    with pytest.raises(InputError, match=r"Calibration data must be numbers \[samples, 60\]"):
        compress(random_network([60, 40]), calibration=random_inputs(5, 61))


def test_layer_beyond_the_format_is_refused():
    wide = FloatNetwork((FloatLayer(np.zeros((1, 40000), dtype=np.float32), np.zeros(1), IDENTITY, "wide"),))
    with pytest.raises(ModelError, match=r"Layer wide has 40000 inputs and 1 outputs, more than the 32768 that an engine can have"):
        compress(wide, 8.0)


# --- real networks and data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bits", "most_drop"), [
    ("mnist_lenet300100", 2.6, 0.4),
    ("mnist_lenet300100", 2.0, 0.8),
    ("clinc150_minilm_384_512", 2.6, 0.6),
    ("fashion_1024_512", 2.6, 1.0),
])
def test_accuracy_of_real_networks(name, bits, most_drop, data_folder, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import accuracy

    result = accuracy.measure(name, bits, data_folder)
    assert result.bits <= bits
    assert result.drop <= most_drop
