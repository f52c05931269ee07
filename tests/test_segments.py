"""The weights of one class: canonical order, and refusal of whatever is not a permutation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks import random_segments
from permfc import Kind, ModelError, Segments

seeds = st.integers(0, 2**32 - 1)
INDICES = np.array([[0, 1, 0, 2], [2, 0, 0, 1]], dtype=np.uint8)
LEVELS = np.array([-5, 0, 7], dtype=np.int8)
COUNTS = np.array([2, 1, 1])


@given(seeds, st.integers(1, 60), st.integers(1, 16))
def test_prefix_keeps_the_weights_and_orders_the_levels(seed, outputs, size):
    rng = np.random.default_rng(seed)
    size = min(size, outputs)
    levels = rng.integers(-3, 4, size).astype(np.int8)  # some are equal
    counts = 1 + rng.multinomial(outputs - size, np.full(size, 1 / size))
    indices = rng.permuted(np.tile(np.repeat(np.arange(size, dtype=np.uint8), counts), (3, 1)), axis=1)
    segments = Segments.prefix(4, levels, counts, indices)
    np.testing.assert_array_equal(segments.weights(), levels[indices])
    assert len(set(segments.levels.tolist())) == segments.levels.size
    assert (np.diff(segments.lengths.astype(int)) >= 0).all()
    assert (segments.first, segments.end, segments.features, segments.outputs) == (4, 7, 3, outputs)
    assert segments.bits == sum(segments.counts * segments.lengths)
    same = Segments.prefix(4, segments.levels, segments.counts, segments.indices)
    np.testing.assert_array_equal(same.levels, segments.levels)
    np.testing.assert_array_equal(same.indices, segments.indices)


def test_unused_levels_are_dropped():
    segments = Segments.prefix(0, np.array([1, 2, 3, 4], dtype=np.int8), np.array([0, 3, 0, 1]), np.array([[1, 3, 1, 1]], dtype=np.uint8))
    assert segments.levels.tolist() == [2, 4]
    assert segments.weights().tolist() == [[2, 4, 2, 2]]


def test_other_kinds():
    dense = random_segments(np.random.default_rng(0), Kind.DENSE8, 2, 3, 5)
    assert (dense.kind, dense.features, dense.outputs, dense.bits) == (Kind.DENSE8, 3, 5, 40)
    assert (dense.turns, Segments.prefix(0, LEVELS, COUNTS, INDICES).turns) == (3, 2)
    empty = Segments.empty(2, 3, 5)
    assert (empty.kind, empty.features, empty.outputs, empty.bits, empty.turns) == (Kind.EMPTY, 3, 5, 0, 0)
    assert empty.weights().shape == (3, 5)
    assert not empty.weights().any()
    assert (Kind.PREFIX.slots, Kind.DENSE8.slots, Kind.EMPTY.slots) == (1, 2, 1)


@pytest.mark.parametrize(("levels", "counts", "indices", "message"), [
    (LEVELS.astype(int), COUNTS, INDICES, r"Levels must be int8 \[K\] and counts integers \[K\], not int64 \[3\] and int64 \[3\]"),
    (LEVELS, COUNTS[:2], INDICES, r"not int8 \[3\] and int64 \[2\]"),
    (LEVELS, COUNTS.astype(float), INDICES, r"not int8 \[3\] and float64 \[3\]"),
    (LEVELS, COUNTS, INDICES.astype(int), r"Indices must be uint8 \[n, B\] below 3, not int64 \[2, 4\] up to 2"),
    (LEVELS, COUNTS, INDICES + np.uint8(1), r"Indices must be uint8 \[n, B\] below 3, not uint8 \[2, 4\] up to 3"),
    (LEVELS, 0 * COUNTS, INDICES, r"Counts must be non-negative and not all zero, not \[0, 0, 0\]"),
    (LEVELS, COUNTS - 3, INDICES, r"Counts must be non-negative and not all zero, not \[-1, -2, -2\]"),
    (LEVELS, COUNTS + 1, INDICES, r"must be positive and sum to the 4 outputs of the block, not \[3, 2, 2\]"),
    (LEVELS, np.array([1, 2, 1]), INDICES, r"Segment of feature 10 is not .* it holds the levels \[1, 2, 1\] times instead of \[2, 1, 1\]"),
    (LEVELS, np.array([3, 0, 1]), INDICES, r"Segment of feature 10 is not a permutation of the common sequence"),
])
def test_refused_prefix(levels, counts, indices, message):
    with pytest.raises(ModelError, match=message):
        Segments.prefix(10, levels, counts, indices)


def test_the_wrong_segment_is_named():
    indices = np.vstack([INDICES, [[0, 0, 0, 2]], INDICES]).astype(np.uint8)
    with pytest.raises(ModelError, match=r"Segment of feature 12 .* holds the levels \[3, 0, 1\] times instead of \[2, 1, 1\]"):
        Segments.prefix(10, LEVELS, COUNTS, indices)


def test_too_many_levels():
    with pytest.raises(ModelError, match="A common sequence must have 1 to 16 levels, not 17"):
        Segments.prefix(0, np.arange(17, dtype=np.int8), np.ones(17, dtype=int), np.arange(17, dtype=np.uint8)[None])


@pytest.mark.parametrize("weights", [np.zeros((2, 3)), np.zeros(3, dtype=np.int8)])
def test_refused_dense8(weights):
    with pytest.raises(ModelError, match=r"Weights of a dense8 class must be int8 \[n, B\], not"):
        Segments.dense8(0, weights)


@pytest.mark.parametrize(("change", "message"), [
    ({"first": -1}, "First feature of a class must be an integer from 0 to 32767, not -1"),
    ({"end": 0}, "End of a class must be an integer from 1 to 32768, not 0"),
    ({"end": 1.5}, "End of a class must be an integer from 1 to 32768, not 1.5"),
    ({"outputs": 0}, "Outputs of a block must be an integer from 1 to 32768, not 0"),
    ({"outputs": 5}, r"Indices of a class must be an array uint8 \[2, 5\], not uint8 \[2, 4\]"),
    ({"counts": COUNTS.astype(np.int32)}, r"Counts of a class must be an array int64 \[3\], not int32 \[3\]"),
    ({"counts": np.array([1, 2, 1])}, r"must be in canonical order, not with code lengths \[2, 1, 2\]"),
])
def test_refused_members(change, message):
    segments = Segments.prefix(0, LEVELS, COUNTS, INDICES)
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(segments, **change)
