"""Statistics of activations, clipping, scales, requantisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from permfc.compression.floors import without_floors
from permfc.compression.overhead import Storage
from permfc.compression.scaling import hidden_steps, int8_rows, int8_steps, row_scales, wide_steps, with_whole_ranges
from permfc.compression.statistics import (
    Statistics,
    assumed_samples,
    calibration_samples,
    clip_peak,
    correction,
    importance,
    mean_excess,
    measure,
    requantisation,
)
from permfc.errors import InputError
from permfc.functions import IDENTITY, RELU
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import Kind


def small_network() -> FloatNetwork:
    rng = np.random.default_rng(0)
    return FloatNetwork((FloatLayer(rng.standard_normal((20, 8)), rng.standard_normal(20), RELU, "a"),
                         FloatLayer(rng.standard_normal((5, 20)), np.zeros(5), IDENTITY, "b")))


@settings(deadline=None)
@given(st.lists(st.floats(1e-9, 0.9), min_size=1, max_size=20))
def test_requantisation_multiplies_as_asked(factors):
    factors = np.array(factors)
    mul, shift = requantisation(factors)
    assert mul.dtype == np.uint16 and 1 <= shift <= 47
    assert np.abs(mul / 2.0 ** shift - factors).max() <= 0.5 / 2.0 ** shift
    assert mul.max() >= 32767 or shift == 47


def test_requantisation_of_extremes():
    assert requantisation(np.zeros(3))[0].tolist() == [0, 0, 0]
    mul, shift = requantisation(np.array([1e9, 1.0]))
    assert shift == 1 and mul.tolist() == [65535, 2]


def test_clip_peak_gives_up_a_lonely_outlier_only():
    values = np.random.default_rng(0).standard_normal((200_000, 2)).astype(np.float32)
    values[0, 1] = 100.0
    clean, with_outlier = clip_peak(values)
    assert clean > 0.7 * np.abs(values[:, 0]).max()
    assert with_outlier <= 60.0
    assert clip_peak(np.zeros((4, 1), dtype=np.float32)).tolist() == [0.0]


def test_statistics_are_those_of_the_float_network():
    network, samples = small_network(), np.random.default_rng(1).random((500, 8)).astype(np.float32)
    first, second = measure(network, samples, real=True)
    hidden = network.layer_inputs(samples)[1]
    assert np.allclose(second.mean, hidden.mean(axis=0), atol=1e-5)
    assert np.allclose(second.square, np.square(hidden).mean(axis=0), rtol=1e-5)
    assert (first.peak >= 0.9 * samples.max(axis=0)).all()
    assert second.sensitivity.tolist() == pytest.approx([1.0] * 5)
    # d result / d hidden (before ReLU) is the column of the last weight where the unit is active.
    expected = np.square(network.layers[1].weight).sum(axis=0) * (hidden > 0).mean(axis=0)
    assert np.allclose(first.sensitivity, expected, rtol=0.25, atol=0.05 * expected.max())


def test_importance_is_the_variance_given_enough_samples():
    stats = Statistics(np.array([3.0, 0.0, 0.0]), np.array([9.0, 1.0, 0.0]), np.ones(3), np.ones(1), np.ones(1), np.ones(3))
    many = importance(stats, np.ones(3), 1_000_000)
    assert many == pytest.approx([0.0, 1.0, 0.0], abs=1e-3)
    few = importance(stats, np.ones(3), 4)
    assert few[0] > few[1] > few[2] > 0.0
    assert importance(stats, np.full(3, 2.0), 1_000_000)[1] == pytest.approx(0.25, rel=1e-3)


def test_correction_recovers_gain_and_offset():
    found = np.random.default_rng(0).standard_normal((4000, 2))
    gain, offset = correction(found * [1.2, 5.0] + [3.0, -1.0], found)
    assert gain == pytest.approx([1.2, 2.0], rel=0.01)  # the second is limited
    assert offset == pytest.approx([3.0, -1.0], rel=0.05)
    gain, offset = correction(np.ones((3, 1)), np.zeros((3, 1)))
    assert gain[0] == 1.0 and 0.0 < offset[0] < 0.5


def test_results_that_never_vary_keep_their_gain():
    found = np.tile(np.random.default_rng(0).standard_normal(50), (40, 1))  # whose means are off by rounding
    gain, offset = correction(found.astype(np.float32), found)
    assert (gain == 1.0).all() and np.abs(offset).max() < 1e-6


def test_ranges_of_tiny_and_huge_values():
    values = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    for size in (1e-30, 1e30):
        assert clip_peak(values * np.float32(size)) == pytest.approx(clip_peak(values) * size, rel=1e-5)


def test_few_samples_correct_little():
    rng = np.random.default_rng(0)
    gain, offset = correction(rng.standard_normal((2, 50)), rng.standard_normal((2, 50)))
    assert np.median(np.abs(gain - 1)) < 0.2
    assert np.median(np.abs(offset)) < 0.2


def test_hidden_steps_represent_the_peak_and_even_out_columns():
    weight = np.ones((4, 3)) * [1.0, 2.0, 100.0]
    stats = Statistics(np.zeros(3), np.ones(3), np.array([1.0, 2.0, 1.0]), np.ones(4), np.ones(4), np.ones(3))
    steps = hidden_steps(weight, stats)
    assert (127 * steps >= stats.peak - 1e-12).all()
    assert (127 * steps <= 4 * stats.peak + 1e-12).all()
    assert steps[2] == pytest.approx(1 / 127)
    dead = Statistics(np.zeros(3), np.zeros(3), np.zeros(3), np.ones(4), np.ones(4), np.ones(3))
    assert (hidden_steps(weight, dead) > 0).all()


def test_row_scales_stay_in_range_for_dead_rows():
    weight = np.random.default_rng(0).standard_normal((10, 20))
    weight[3] = 0.0
    scales = row_scales(weight, np.ones(20), np.array([1.0] * 9 + [0.0]))
    assert (scales > 0).all() and scales.max() / np.median(scales) <= 64.01


def test_made_up_samples_are_reproducible_and_in_range():
    samples = assumed_samples(30)
    assert np.array_equal(samples, assumed_samples(30))
    assert np.abs(samples).max() <= 1.0 and samples.min() < 0


@pytest.mark.parametrize(("data", "text"), [
    (np.zeros((3, 7)), r"Calibration data must be numbers \[samples, 8\] with at least one sample, not float64 \[3, 7\]"),
    (np.zeros((0, 8)), r"with at least one sample, not float64 \[0, 8\]"),
    (np.zeros(8), r"not float64 \[8\]"),
    (np.full((2, 8), "x"), r"must be numbers .* not <U1"),
    (np.full((2, 8), np.nan), r"Calibration data must be finite, but feature 0 of sample 0 is nan"),
    (np.full((2, 8), 1e300), r"feature 0 of sample 0 is inf"),
])
def test_unusable_calibration_data(data, text):
    with pytest.raises(InputError, match=text):
        calibration_samples(data, 8)


def test_calibration_data_are_thinned_evenly():
    data = np.arange(10_000, dtype=np.float32)[:, None]
    samples = calibration_samples(data, 1)
    assert samples.shape == (8192, 1) and samples[0] == 0 and samples[-1] == 9999


def stats_of(features: np.ndarray, outputs: int) -> Statistics:
    """Statistics of features whose outputs all count alike."""
    features = features.astype(np.float64)
    return Statistics(features.mean(axis=0), np.square(features).mean(axis=0), np.abs(features).max(axis=0) * (1 + len(features) ** -0.5),
                      np.ones(outputs), np.ones(outputs), np.ones(features.shape[1]), mean_excess(features))


def test_ranges_are_wider_than_those_of_the_samples_where_tails_are_long():
    rng = np.random.default_rng(0)
    for draw, least, most in ((rng.uniform, 0.999, 1.02), (rng.standard_normal, 1.1, 1.4)):
        values = np.abs(draw(size=(1000, 50)))
        wider = 127 * wide_steps(stats_of(values, 1), 1000).mean() / values.max(axis=0).mean()
        assert least < wider < most
    assert mean_excess(np.zeros((20, 3))) == 0
    assert mean_excess(np.ones((1, 3))) == 0


def test_wide_ranges_lose_less_to_samples_that_are_still_to_come():
    rng = np.random.default_rng(1)
    seen, coming = np.abs(rng.standard_normal((500, 100))), np.abs(rng.standard_normal((20_000, 100)))

    def error(steps: np.ndarray) -> float:
        return float(np.square(np.clip(np.rint(coming / steps), 0, 127) * steps - coming).mean())

    wide = wide_steps(stats_of(seen, 1), 500)
    assert error(wide) < 0.8 * error(seen.max(axis=0) * (1 + 500 ** -0.5) / 127)
    assert error(wide) < 1.1 * min(error(factor * wide) for factor in (0.7, 0.8, 0.9, 1.1, 1.2, 1.3))


def test_steps_in_front_of_int8_weights_are_even_only_as_far_as_it_pays():
    rng = np.random.default_rng(2)
    features = np.abs(rng.standard_normal((500, 40)))
    weight = rng.standard_normal((10, 40)) * rng.uniform(0.1, 1, 40)
    stats = stats_of(features, 10)
    steps, even, finest = int8_steps(weight, stats, np.inf, 500), hidden_steps(weight, stats), wide_steps(stats, 500)
    assert (steps >= finest - 1e-12).all()
    assert steps.mean() < 0.8 * even.mean()
    assert (int8_steps(weight, stats, 0.5 / 127, 500) == 0.5 / 127).all()  # the bound of a ReLU that is reached


def test_rows_of_few_int8_weights_are_scaled_for_their_biases():
    weight, sensitivity, bias = np.ones((2, 1)), np.ones(2), np.array([0.0, 500.0])  # 127 times that is beyond int16
    for inputs, fits in ((1, True), (100, False)):
        rows = int8_rows(np.repeat(weight, inputs, axis=1), sensitivity, bias, np.full(inputs, 5000.0))
        assert (500 * 127 / (rows[1] / rows[0]) < 1 << 15) == fits
        assert fits or rows[1] == rows[0]


def test_what_a_feature_never_falls_below_goes_into_the_next_bias():
    x = np.random.default_rng(3).uniform(0, 1, (200, 1)).astype(np.float32)
    first = FloatLayer(np.float32([[1.0], [1.0], [-1.0], [1.0]]), np.float32([3.0, 0.0, 5.0, -2.0]), RELU, "first")
    network = FloatNetwork((first, FloatLayer(np.float32([[1.0, 2.0, 3.0, 4.0]]), np.zeros(1, dtype=np.float32), IDENTITY, "second")))
    dense = [Storage(16, 64, kinds=frozenset({Kind.DENSE8}))] * 2
    moved = without_floors(network, x, dense)
    np.testing.assert_allclose(moved.predict(x), network.predict(x), rtol=1e-5)
    assert moved.layers[0].bias[[1, 3]].tolist() == [0, -2]
    assert 0 < moved.layers[0].bias[0] < 0.15
    assert 1 <= moved.layers[0].bias[2] < 1.15
    for unchanged in (without_floors(network, x[:10], dense), without_floors(network, x, [Storage(16, 64)] * 2)):
        assert all((a.bias == b.bias).all() for a, b in zip(unchanged, network, strict=True))


@pytest.mark.parametrize("kinds", [Kind.DENSE8, Kind.PREFIX])
@pytest.mark.parametrize("hidden", [20, 200])
def test_whole_ranges_in_front_of_few_int8_weights_change_no_results(kinds, hidden):
    rng = np.random.default_rng(2)
    network = FloatNetwork((FloatLayer(rng.standard_normal((hidden, 8)), rng.standard_normal(hidden), RELU, "a"),
                            FloatLayer(rng.standard_normal((6, hidden)), np.zeros(6), IDENTITY, "b")))
    x = rng.standard_normal((50, 8)).astype(np.float32)
    storages, steps = [Storage(16, 64, kinds=frozenset({kinds}))] * 2, [np.ones(8), rng.uniform(0.01, 0.1, hidden)]
    layers, moved, centres = with_whole_ranges(network, steps, [None, None], storages)
    if kinds is Kind.PREFIX or hidden * 6 > 1024:
        assert layers == list(network.layers) and moved == steps and not centres[0].any()
        return
    np.testing.assert_allclose(FloatNetwork(tuple(layers)).predict(x), network.predict(x), atol=1e-4)
    np.testing.assert_allclose(layers[0].function(np.full(hidden, -1.0)), -128 * moved[1])
    np.testing.assert_allclose(127 * moved[1] + centres[0], 127 * steps[1])  # the peak
