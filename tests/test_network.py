"""The golden model against plain integer arithmetic, and refusal of contradictory networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import bound_network, network_of, random_inputs, random_layer, random_network, random_segments, random_table
from permfc import InputError, InputSteps, Kind, Layer, ModelError, Network, Segments
from permfc.network.output_scale import join_scale, split_scale

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 50)


def in_plain_integers(layer: Layer, x: list[int]) -> list[int]:
    """One layer, one input, from the formula in docs/format.md."""
    results = []
    for weights, bias, mul in zip(layer.weights().tolist(), layer.bias.tolist(), layer.mul.tolist(), strict=True):
        accumulator = bias + sum(weight * value for weight, value in zip(weights, x, strict=True))
        scaled = (accumulator * mul + 2 ** (layer.shift - 1)) >> layer.shift
        result = accumulator if layer.raw else min(max(scaled, 0 if layer.relu else -128), 127)
        results.append(result if layer.table is None else layer.table.tolist()[result % 256])
    return results


@settings(deadline=None)
@given(seeds, sizes, sizes, st.integers(1, 20), st.sampled_from(["plain", "relu", "raw", "table"]))
def test_a_layer_computes_the_formula(seed, features, outputs, block_outputs, ending):
    rng = np.random.default_rng(seed)
    table = random_table(rng) if ending == "table" else None
    layer = random_layer(rng, features, outputs, block_outputs=block_outputs, relu=ending == "relu", raw=ending == "raw", table=table)
    x = random_inputs(seed, features, 3)
    results = layer.compute(x)
    assert results.dtype == (np.int32 if layer.raw else np.int8)
    assert results.tolist() == [in_plain_integers(layer, row) for row in x.tolist()]


@settings(deadline=None)
@given(seeds, sizes, sizes, st.integers(1, 20))
def test_weights_are_those_of_the_segments(seed, features, outputs, block_outputs):
    layer = random_layer(np.random.default_rng(seed), features, outputs, block_outputs=block_outputs)
    weights = layer.weights()
    assert weights.shape == (outputs, features)
    for rows, classes in zip(layer.block_rows, layer.blocks, strict=True):
        for segments in classes:
            np.testing.assert_array_equal(weights[rows, segments.first:segments.end], segments.weights().T)


@pytest.mark.parametrize(("features", "bits"), [(2, 16), (8, 18), (515, 24), (516, 24)])
def test_accumulator_width_is_the_smallest_that_fits(features, bits):
    network, x = bound_network(features, 4, bits)
    assert network.accumulator_bits == bits
    assert np.abs(network.compute(x).astype(np.int64)).max() == 2 ** (bits - 1) - 1


def test_accumulator_width_of_many_extreme_weights():
    segments = Segments.dense8(0, np.full((600, 2), -128, dtype=np.int8))
    layer = Layer(600, 2, 2, ((segments,),), np.zeros(2, dtype=np.int32), np.ones(2, dtype=np.uint16), 1, False, True)
    assert segments.magnitudes().tolist() == [600 * 128] * 2
    assert layer.accumulator_bits == (600 * 128 * 128).bit_length() + 1


def test_one_more_needs_one_more_bit():
    layer = bound_network(32, 4, 20)[0].layers[0]
    wider = dataclasses.replace(layer, bias=(layer.bias + np.sign(layer.bias)).astype(np.int32))
    assert wider.accumulator_bits == 21


def test_full_scale_requantisation():
    segments = Segments.dense8(0, np.array([[127, -128, 127, -128]], dtype=np.int8))
    layer = Layer(
        1, 4, 4, ((segments,),), np.array([256 * 32767, -256 * 32768, 0, 0], dtype=np.int32),
        np.array([65535, 65535, 1, 0], dtype=np.uint16), 47, False, False,
    )
    x = np.array([[127], [-128]], dtype=np.int8)
    assert layer.compute(x).tolist() == [in_plain_integers(layer, row) for row in x.tolist()]
    halves = dataclasses.replace(layer, bias=np.array([1, -1, 3, -3], dtype=np.int32), mul=np.ones(4, dtype=np.uint16), shift=1)
    assert halves.compute(np.zeros((1, 1), dtype=np.int8)).tolist() == [[1, 0, 2, -1]]  # halves are rounded up


@settings(deadline=None)
@given(seeds, st.lists(sizes, min_size=2, max_size=4))
def test_a_network_chains_its_layers(seed, shape):
    network = random_network(seed, shape, block_outputs=16)
    x = random_inputs(seed, shape[0], 2)
    received = network.layer_inputs(x)
    assert [values.shape[1] for values in received] == shape[:-1]
    for layer, values, following in zip(network.layers[:-1], received[:-1], received[1:], strict=True):
        np.testing.assert_array_equal(layer.compute(values), following)
    results = network.compute(x)
    assert results.dtype == np.int32
    np.testing.assert_array_equal(results, network.layers[-1].compute(received[-1]))


def test_quantise_sorts_inputs_by_class_and_rounds_halves_to_even():
    layer = random_layer(np.random.default_rng(0), 6, 2, kinds=[Kind.DENSE8, Kind.PREFIX], classes=3)
    assert layer.feature_slots.tolist() == sorted(layer.feature_slots.tolist())
    network = network_of([layer], np.random.default_rng(3))
    x = np.array([[0.24, 0.26, 0.75, 1.25, -1000.0, 1000.0]])
    expected = np.array([0, 1, 2, 2, -128, 127])  # steps of 0.5
    order = np.argsort(network.input_class, kind="stable")
    np.testing.assert_array_equal(network.quantise(x), expected[None, order])
    np.testing.assert_array_equal(network.quantise(x.astype(np.float32)), network.quantise(x))
    assert (np.diff(network.input_class[network.input_order].astype(int)) >= 0).all()


def test_predict_scales_the_results():
    network = dataclasses.replace(random_network(5, (7, 3)), output_scale=np.array([0.5, 2, 1], dtype=np.float32))
    x = np.linspace(-1, 1, 14).reshape(2, 7)
    np.testing.assert_array_equal(network.predict(x), network.compute(network.quantise(x)) * np.float32([0.5, 2, 1]))
    assert network.predict(x).dtype == np.float32


def test_sizes_that_limit_an_engine():
    network = random_network(0, (20, 40, 7), block_outputs=32, kinds=[Kind.PREFIX], most_levels=3)
    assert (network.widest, network.most_block_outputs, network.inputs, network.outputs) == (40, 32, 20, 7)
    assert network.most_levels <= 3
    assert random_network(0, (20, 7), kinds=[Kind.DENSE8]).most_levels == 16


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((2, 6)), r"Input must be numbers \[batch, 7\], not float64 \[2, 6\]"),
    (np.zeros(7), r"Input must be numbers \[batch, 7\], not float64 \[7\]"),
    (np.full((1, 7), "a"), r"Input must be numbers \[batch, 7\], not <U1 \[1, 7\]"),
    (np.full((1, 7), np.nan), "Input must be finite, but feature 0 of sample 0 is nan"),
    (np.full((1, 7), np.inf), "Input must be finite, but feature 0 of sample 0 is inf"),
])
def test_refused_input(x, message):
    with pytest.raises(InputError, match=message):
        random_network(0, (7, 3)).predict(x)


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((1, 7)), r"Activations must be int8 \[batch, 7\], not float64 \[1, 7\]"),
    (np.zeros((1, 8), dtype=np.int8), r"Activations must be int8 \[batch, 7\], not int8 \[1, 8\]"),
    ([[0] * 7], r"Activations must be int8 \[batch, 7\], not \[\[0, 0, 0, 0, 0, 0, 0\]\]"),
])
def test_refused_activations(x, message):
    with pytest.raises(InputError, match=message):
        random_network(0, (7, 3)).compute(x)


def layer_with(**change) -> Layer:
    """A layer of 6 features and 5 outputs in two blocks, with members replaced."""
    blocks = tuple((Segments.empty(0, 2, rows), random_segments(np.random.default_rng(0), Kind.PREFIX, 2, 4, rows)) for rows in (3, 2))
    members = {
        "features": 6, "outputs": 5, "block_outputs": 3, "blocks": blocks, "bias": np.zeros(5, dtype=np.int32),
        "mul": np.ones(5, dtype=np.uint16), "shift": 1, "relu": True, "raw": False,
    }
    return Layer(**{**members, **change})


GOOD = layer_with().blocks


@pytest.mark.parametrize(("change", "message"), [
    ({"features": 0}, "Features of a layer must be an integer from 1 to 32768, not 0"),
    ({"outputs": 40000}, "Outputs of a layer must be an integer from 1 to 32768, not 40000"),
    ({"block_outputs": True}, "Outputs of a block must be an integer from 1 to 32768, not True"),
    ({"shift": 0}, "Shift of a layer must be an integer from 1 to 47, not 0"),
    ({"shift": 48}, "Shift of a layer must be an integer from 1 to 47, not 48"),
    ({"bias": np.zeros(5)}, r"Bias of a layer must be an array int32 \[5\], not float64 \[5\]"),
    ({"bias": [0] * 5}, r"Bias of a layer must be an array int32 \[5\], not \[0, 0, 0, 0, 0\]"),
    ({"mul": np.ones(4, dtype=np.uint16)}, r"Multipliers of a layer must be an array uint16 \[5\], not uint16 \[4\]"),
    ({"raw": True}, "A layer with raw results cannot have a ReLU: clear relu or raw"),
    ({"blocks": GOOD[:1]}, "A layer of 5 outputs in blocks of 3 must have 2 blocks, not 1"),
    ({"blocks": GOOD[::-1]}, "Block 0 must have 3 outputs, not 2"),
    ({"blocks": (GOOD[0], GOOD[1][:1])}, "Block 1 must have the 2 classes of block 0, not 1"),
    ({"blocks": ((), ())}, "Block 0 must take 1 to 16 class slots, not 0"),
    ({"blocks": (GOOD[0][1:], GOOD[1][1:])}, r"Classes of block 0 must cover the 6 features without gaps, not end at \[6\]"),
    ({"features": 7}, r"Classes of block 0 must cover the 7 features without gaps, not end at \[2, 6\]"),
    ({"blocks": (GOOD[0], (Segments.empty(0, 3, 2), Segments.empty(3, 3, 2)))},
     "Block 1 must have the classes of block 0, not one of kind empty that"),
    ({"bias": np.array([0, 32768, 1, 0, 0], dtype=np.int32)},
     "Biases of a layer from 0 to 32768 cannot be stored in 16 bits: keep all in int16, or make all multiples of 256"),
    ({"bias": np.full(5, 256 * 32768, dtype=np.int32)}, "Biases of a layer from 8388608 to 8388608 cannot be stored in 16 bits"),
])
def test_refused_layer(change, message):
    with pytest.raises(ModelError, match=message):
        layer_with(**change)


@pytest.mark.parametrize(("bias", "unit"), [
    ([-32768, 32767, 0, 0, 0], 1), ([256, -512, 0, 0, 0], 1), ([32768, 0, 0, 0, 0], 256), ([256 * 32767, -256 * 32768, 0, 0, 256], 256),
])
def test_the_unit_of_the_biases(bias, unit):
    assert layer_with(bias=np.array(bias, dtype=np.int32)).bias_unit == unit


def test_random_layers_hold_every_kind_and_both_sorts_of_biases_and_multipliers():
    layers = [random_layer(np.random.default_rng(seed), 60, 40, block_outputs=20, classes=10) for seed in range(20)]
    kinds = [{segments.kind for segments in layer.classes} for layer in layers]
    assert set(Kind) in kinds
    assert {layer.bias_unit for layer in layers} == {1, 256}
    assert {np.ptp(layer.mul[rows]) == 0 for layer in layers for rows in layer.block_rows} == {True, False}


def test_too_many_class_slots():
    classes = tuple(Segments.dense8(j, np.zeros((1, 2), dtype=np.int8)) for j in range(9))
    with pytest.raises(ModelError, match="Block 0 must take 1 to 16 class slots, not 18"):
        Layer(9, 2, 2, (classes,), np.zeros(2, dtype=np.int32), np.ones(2, dtype=np.uint16), 1, False, False)


NETWORK = random_network(0, (7, 4, 3), raw=False)


@pytest.mark.parametrize(("change", "message"), [
    ({"layers": ()}, "A network must have at least one layer"),
    ({"layers": NETWORK.layers[::-1]}, "Layer 0 has 3 outputs, but layer 1 has 7 features"),
    ({"layers": (dataclasses.replace(NETWORK.layers[0], raw=True, relu=False), NETWORK.layers[1])},
     "Layer 0 has raw results, which only the last"),
    ({"input_class": np.zeros(6, dtype=np.uint8)}, r"Input classes of a network must be an array uint8 \[7\], not uint8 \[6\]"),
    ({"input_class": np.full(7, 15, dtype=np.uint8)}, "Input classes must hold each class slot as often as the first layer has features"),
    ({"output_scale": np.ones(3)}, r"Output scale of a network must be an array float32 \[3\], not float64 \[3\]"),
    ({"output_scale": np.full(3, np.inf, dtype=np.float32)}, r"Output scale must be numbers up to 8.50706e\+37, not up to inf"),
])
def test_refused_network(change, message):
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(NETWORK, **change)


def test_input_scale_is_a_float32():
    network = Network(NETWORK.layers, InputSteps(0.1), NETWORK.input_class, NETWORK.output_scale)
    assert network.input_steps.scale == float(np.float32(0.1))


@given(st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=1, max_size=20))
def test_output_scales_are_rounded_once_to_what_is_stored(scales):
    scale = np.array(scales, dtype=np.float32)
    exponent, halves = split_scale(scale)
    rounded = join_scale(exponent, halves)
    assert np.abs(rounded - scale.astype(np.float64)).max() <= 2.0 ** (exponent - 11)
    again, same = split_scale(rounded)
    assert again == exponent
    assert same.tobytes() == halves.tobytes()
    assert -125 <= exponent <= 126
    assert np.abs(halves).max() < 2
    assert np.abs(halves).max() >= 1 or exponent == -125 or not scale.any()


def test_output_scales_of_every_size():
    assert split_scale(np.zeros(3, dtype=np.float32))[0] == 0
    assert split_scale(np.float32([1.9999, 1]))[0] == 1  # rounded up to 2
    assert join_scale(*split_scale(np.float32([2**-149]))).tolist() == [2**-149]
    assert join_scale(*split_scale(np.float32([1, 2**-24, 2**-26, -(2**126)]))).tolist() == [0, 0, 0, -(2**126)]
    assert join_scale(*split_scale(np.float32([1, 2**-24, 2**-26]))).tolist() == [1, 2**-24, 0]
    network = random_network(0, (7, 3))
    third = dataclasses.replace(network, output_scale=np.full(3, 1 / 3, dtype=np.float32))
    assert third.output_scale.tolist() == [float(np.float16(4 / 3)) / 4] * 3


def test_the_share_of_clipped_inputs():
    network = network_of(random_network(0, (4, 3)).layers, np.random.default_rng(0),
                         InputSteps(0.5, zeros=np.array([0, 0, 100, -100], dtype=np.int16)))
    x = np.array([[-64.0, 63.5, 113.5, -50], [-64.5, 64, 114, -114.5]])
    assert [network.clipped_share(row[None]) for row in x] == [0, 1]
    assert network.clipped_share(x) == 0.5
    assert network.clipped_share(np.zeros((0, 4))) == 0
    with pytest.raises(InputError, match=r"Input must be numbers \[batch, 4\]"):
        network.clipped_share(np.zeros((1, 5)))


def test_counts_of_weights_need_no_weights():
    layer = random_layer(np.random.default_rng(3), 60, 40, block_outputs=20, classes=10)
    assert {segments.kind for segments in layer.classes} == set(Kind)
    assert sum(segments.nonzeros() for classes in layer.blocks for segments in classes) == np.count_nonzero(layer.weights())


@pytest.mark.parametrize("scale", [0.0, float("nan"), 1e-60])
def test_refused_input_scale(scale):
    with pytest.raises(ModelError, match=f"Input scale must be a positive number, not {scale}"):
        InputSteps(scale)
