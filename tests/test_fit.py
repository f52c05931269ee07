"""Common sequences: compositions, levels, classes of features, allocation of bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from permfc.compression.allocation import fit_to_target, search_slope
from permfc.compression.assembly import bare_layer
from permfc.compression.classes import DENSE, EMPTY, ClassFit
from permfc.compression.overhead import Storage
from permfc.compression.quantiser import Quantiser, _distinct
from permfc.compression.sequences import PREFIX, huffman_lengths, quantise_profiles
from permfc.compression.sparse_sequences import _mean_bits, choose_nonzeros, quantise_sparse
from permfc.network import Kind
from permfc.network.huffman import code_lengths
from permfc.network.sparse import sparse_bits


def normal_profile(ranks: int) -> np.ndarray:
    """The mean sorted profile of many normal vectors."""
    return np.sort(np.random.default_rng(0).standard_normal((256, ranks)), axis=1).mean(axis=0, keepdims=True)


def scaled_columns(outputs: int, features: int, spread: float = 0.8) -> np.ndarray:
    """Normal weights float32 [outputs, features] whose columns differ in scale."""
    rng = np.random.default_rng(features)
    return (rng.standard_normal((outputs, features)) * np.exp(spread * rng.standard_normal(features))).astype(np.float32)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=16).filter(any))
def test_batched_huffman_lengths_make_a_code_within_the_bound(counts):
    lengths = huffman_lengths(np.array([counts, counts]))
    optimal = code_lengths(np.array(counts))
    assert np.array_equal(lengths[0], lengths[1])
    assert lengths.max() <= 8
    assert np.array_equal(lengths[0] > 0, np.array(counts) > 0)
    assert (0.5 ** lengths[0][lengths[0] > 0]).sum() <= 1
    assert np.dot(counts, lengths[0]) >= np.dot(counts, optimal.astype(np.int64))


def test_batched_huffman_lengths_are_optimal_without_the_bound():
    counts = np.random.default_rng(0).integers(8, 60, (200, 16))
    assert [int(row @ code_lengths(row).astype(np.int64)) for row in counts] == (counts * huffman_lengths(counts)).sum(axis=1).tolist()


def test_worst_composition_keeps_eight_bits():
    fibonacci = np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987])
    lengths = huffman_lengths(fibonacci[None])[0]
    assert lengths.max() == 8
    assert fibonacci @ lengths <= 1.02 * (fibonacci @ code_lengths(fibonacci).astype(np.int64))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.floats(1e-6, 1e3), st.integers(2, 16), st.integers(0, 1000))
def test_candidates_describe_what_they_claim(ranks, slope, max_levels, seed):
    rng = np.random.default_rng(seed)
    profiles = np.sort(rng.standard_normal((3, ranks)).round(1), axis=1)
    found = quantise_profiles(profiles, np.full((3, 2), slope), max_levels)
    assert (found.counts.sum(axis=-1) == ranks).all()
    assert found.counts.shape[-1] == max_levels
    for profile, number in zip(profiles, range(3), strict=True):
        for choice in range(found.bits.shape[1]):
            levels, counts = found.levels[number, choice], found.counts[number, choice]
            sequence = np.repeat(levels, counts)
            assert (np.diff(sequence) >= -1e-9).all()
            assert np.isclose(np.square(profile - sequence).sum(), found.error[number, choice], atol=1e-6)
            assert found.bits[number, choice] >= int(counts @ code_lengths(counts).astype(np.int64))


def test_rate_distortion_is_near_that_of_entropy_coded_scalar_quantisation():
    ranks = 300
    found = quantise_profiles(normal_profile(ranks), np.geomspace(0.002, 0.6, 100)[None])
    rates, errors = found.bits[0] / ranks, found.error[0] / ranks
    # Error of ECSQ on a normal source, with an allowance of 10 % for whole counts and Huffman lengths.
    for rate, ecsq in ((2.0, 0.0889), (3.0, 0.0222)):
        assert errors[rates <= rate].min() <= 1.1 * ecsq


def test_low_slope_reproduces_few_distinct_values_exactly():
    profile = np.repeat([-2.0, 0.0, 3.0], [5, 20, 7])[None]
    found = quantise_profiles(profile, np.full((1, 1), 1e-9))
    assert found.error.min() == pytest.approx(0.0, abs=1e-12)


def test_classes_separate_scales():
    weights = scaled_columns(100, 200)
    fit = ClassFit(weights, np.ones(200), Storage(128, 64), 8)
    # Bits are dear: what costs more in error than in bits is stored, the rest is not.
    fit.improve(3e-3 * float(np.square(weights).mean()), 5)
    norms = np.square(weights).sum(axis=0)
    means = [norms[fit.assignment == number].mean() for number in range(8) if (fit.assignment == number).any()]
    assert len(means) > 4
    assert max(means) / min(means) > 10


def test_features_without_importance_cost_nothing():
    weights = scaled_columns(64, 50)
    importance = np.ones(50)
    importance[::5] = 0.0
    fit = ClassFit(weights, importance, Storage(64, 64), 4)
    fit.improve(1e-4, 3)
    assert (fit.assignment[::5] == EMPTY).all()
    assert (np.delete(fit.assignment, np.s_[::5]) != EMPTY).all()


def test_nearly_free_bits_give_dense_weights():
    fit = ClassFit(scaled_columns(64, 50), np.ones(50), Storage(64, 64), 4)
    fit.improve(1e-12, 3)
    assert (fit.assignment == DENSE).all()


def test_dear_bits_give_nothing_and_a_later_low_slope_recovers():
    fit = ClassFit(scaled_columns(64, 50), np.ones(50), Storage(64, 64), 4)
    fit.improve(1e9, 3)
    assert (fit.assignment == EMPTY).all()
    assert fit.image_bits() == Storage(64, 64).header_bits(64, 1)
    fit.improve(1e-3, 3)
    assert (fit.assignment != EMPTY).any()


def test_spending_stays_in_the_budget_and_shortens_nothing():
    fit = ClassFit(scaled_columns(100, 64), np.ones(64), Storage(128, 64), 4)
    fit.improve(0.02, 3)
    before = fit.image_bits()
    left = fit.spend(5000.0)
    assert 0 <= left < 5000
    assert fit.image_bits() - before == pytest.approx(5000.0 - left)


def test_sequences_fit_the_target_over_layers():
    fits = [ClassFit(scaled_columns(100, 64), np.ones(64), Storage(128, 64), 4), ClassFit(scaled_columns(50, 100), np.ones(100), Storage(32, 64), 4)]
    for fit in fits:
        fit.improve(0.02, 3)
    for share in (0.9, 1.3):
        target = share * sum(fit.image_bits() for fit in fits)
        assert fit_to_target(fits, target, 0.02) >= 0
        taken = sum(fit.image_bits() for fit in fits)
        assert 0.97 * target < taken <= target
    assert fit_to_target(fits, 100.0, 0.02) < 0


def test_slope_search_converges_from_afar():
    calls = []
    slope = search_slope(lambda slope: 1000.0 / slope, 50.0, 1e-4, 40, calls.append)
    assert slope == pytest.approx(20.0, rel=0.01)
    assert calls == list(range(1, len(calls) + 1))


# --- sparse sequences ---------------------------------------------------------------------------------------------------------------


def sparse_columns(features: int, outputs: int, density: float, seed: int = 0) -> np.ndarray:
    """Columns float32 [features, outputs] of which a part is not zero."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((features, outputs)) * (rng.random((features, outputs)) < density)).astype(np.float32)


def test_sparse_candidates_describe_what_they_claim():
    profiles = np.sort(np.random.default_rng(0).standard_normal((3, 150)), axis=1)
    found = quantise_sparse(profiles, np.tile(np.geomspace(0.01, 0.5, 6), (3, 1)))
    assert (found.counts.sum(axis=-1) == 150).all()
    assert ((found.levels != 0).sum(axis=-1) <= 4).all()
    for number in range(3):
        for choice in range(found.bits.shape[1]):
            sequence = np.repeat(found.levels[number, choice], found.counts[number, choice])
            assert (np.diff(sequence) >= -1e-9).all()
            assert np.isclose(np.square(profiles[number] - sequence).sum(), found.error[number, choice], atol=1e-6)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3])
def test_planned_bits_are_those_that_segments_take(density):
    outputs = 600
    columns = sparse_columns(200, outputs, density, seed=3)
    nonzeros = int(round(density * outputs))
    places = np.argsort(-np.abs(columns + 1e-6 * np.random.default_rng(1).standard_normal(columns.shape)), axis=1)[:, :nonzeros]
    indices = np.zeros(columns.shape, dtype=np.uint8)
    np.put_along_axis(indices, places, np.uint8(1), axis=1)
    for rice in (1, 3, 5):
        planned = _mean_bits(outputs, 2, rice)[nonzeros]
        assert planned == pytest.approx(sparse_bits(indices, 2, rice).mean(), rel=0.03)


@settings(deadline=None, max_examples=60)
@given(outputs=st.integers(1, 120), levels=st.sampled_from([(1.0,), (-1.0, 1.0), (-2.0, -1.0, 1.0, 2.0)]), rice=st.integers(0, 5),
       spare=st.integers(0, 200), seed=st.integers(0, 99))
def test_chosen_nonzeros_fit_and_no_more_would(outputs, levels, rice, spare, seed):
    columns = np.random.default_rng(seed).standard_normal((5, outputs)).astype(np.float32)
    values = np.array(levels)
    bits = outputs // (1 << rice) + 2 + spare
    indices = choose_nonzeros(columns, values, rice, bits)
    assert (sparse_bits(indices, values.size, rice) <= bits).all()
    gain = np.max([(2 * columns - level) * level for level in values], axis=0)
    for row, gains in zip(indices, gain, strict=True):
        assert (gains[row > 0] > 0).all()
        left = np.where(row > 0, -np.inf, gains)
        if left.max() <= 0:
            continue
        assert gains[row > 0].min(initial=np.inf) >= left.max()
        more = row.copy()
        more[left.argmax()] = 1
        assert sparse_bits(more[None], values.size, rice)[0] > bits


def test_sparse_weights_make_sparse_classes():
    weights = sparse_columns(100, 400, 0.05).T
    fit = ClassFit(np.ascontiguousarray(weights), np.ones(100), Storage(512, 16), 4)
    fit.improve(0.02, 3)
    used = fit.sizes > 0
    assert used.any() and (fit.sequences()[0].rice[used] != PREFIX).all()
    assert fit.image_bits() < 0.7 * weights.size
    layer = bare_layer(Quantiser(fit, np.zeros(400)), fit.weights, relu=False, raw=True)
    assert {segments.kind for segments in layer.classes} <= {Kind.SPARSE, Kind.EMPTY}


def test_blocks_of_a_class_are_of_one_kind():
    rng = np.random.default_rng(0)
    weights = np.concatenate([sparse_columns(80, 256, 0.03).T, rng.standard_normal((256, 80))]).astype(np.float32)
    fit = ClassFit(weights, np.ones(80), Storage(256, 16), 3)
    fit.improve(0.05, 3)
    fit.spend(20000.0)
    first, second = (sequences.rice[fit.sizes > 0] == PREFIX for sequences in fit.sequences())
    assert np.array_equal(first, second)


def test_features_get_weights_back_within_the_budget():
    fit = ClassFit(scaled_columns(100, 64), np.append(np.ones(63), 1e-4), Storage(128, 64), 4)
    fit.improve(0.05, 3)
    fit.assignment[[3, 5, 40, 63]] = EMPTY
    before = fit.image_bits()
    left = fit.revive(500.0)
    assert fit.image_bits() - before == pytest.approx(500.0 - left)
    assert 0 <= left < 500 and 1 <= (fit.assignment[[3, 5, 40]] == EMPTY).sum() < 3
    assert fit.assignment[63] == EMPTY  # it matters too little


def test_promotion_stays_in_the_budget():
    fit = ClassFit(scaled_columns(100, 64), np.ones(64), Storage(128, 64), 4)
    fit.improve(0.05, 3)
    before, dense = fit.image_bits(), (fit.assignment == DENSE).sum()
    left = fit.promote(20000.0)
    assert 0 <= left < 20000
    assert (fit.assignment == DENSE).sum() > dense
    assert fit.image_bits() - before == pytest.approx(20000.0 - left)


@pytest.mark.parametrize(("levels", "expected"), [
    ([-3, -3, 3, 3], [-4, -3, 3, 4]), ([0, 0], [1, 2]), ([-1, 0], [-1, 1]), ([127, 127], [126, 127]), ([-127, -127, 5], [-127, -126, 5]), ([], [1]),
])
def test_levels_of_sparse_classes_become_distinct(levels, expected):
    assert _distinct(np.array(levels, dtype=np.int8)).tolist() == expected
