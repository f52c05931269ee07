"""Canonical length-limited Huffman codes."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from permfc.network.huffman import canonical_codes, code_lengths

positive_counts = st.lists(st.one_of(st.integers(1, 4), st.integers(1, 5000)), min_size=1, max_size=16)


@cache
def possible_lengths(symbols: int, max_bits: int) -> np.ndarray:
    """All length vectors that satisfy Kraft's inequality, int64 [vectors, symbols]."""
    vectors = np.array(list(product(range(1, max_bits + 1), repeat=symbols)))
    return vectors[(0.5**vectors).sum(axis=1) <= 1]


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5), st.integers(3, 5))
def test_no_prefix_code_is_shorter(counts, max_bits):
    lengths = code_lengths(counts, max_bits)
    assert lengths.max() <= max_bits
    assert lengths @ np.array(counts) == (possible_lengths(len(counts), max_bits) @ counts).min()


def test_the_length_limit_binds():
    fibonacci = [1, 1, 2, 3, 5, 8, 13, 21]
    assert code_lengths(fibonacci).tolist() == [7, 7, 6, 5, 4, 3, 2, 1]
    assert code_lengths(fibonacci, 4).max() == 4
    assert code_lengths(fibonacci, 3).tolist() == [3] * 8


@given(positive_counts)
def test_code_is_complete_and_prefix_free(counts):
    lengths = code_lengths(counts)
    codes = canonical_codes(lengths)
    words = [format(code, f"0{length}b") for code, length in zip(codes, lengths, strict=True)]
    assert all(not b.startswith(a) for i, a in enumerate(words) for j, b in enumerate(words) if i != j)
    assert len(counts) == 1 or sum(0.5 ** len(word) for word in words) == 1
    assert min(words, key=len).strip("0") == ""  # the first codeword is all zeros


@given(positive_counts)
def test_canonical_order_reproduces_its_lengths(counts):
    counts = np.array(counts)
    lengths = code_lengths(counts)
    order = np.argsort(lengths, kind="stable")
    np.testing.assert_array_equal(code_lengths(counts[order]), lengths[order])


@given(positive_counts)
def test_larger_counts_have_no_longer_codewords(counts):
    lengths = code_lengths(counts).astype(int)
    for i, j in product(range(len(counts)), repeat=2):
        if counts[i] > counts[j] or (counts[i] == counts[j] and i < j):
            assert lengths[i] <= lengths[j]


def test_ties_are_broken_towards_short_codewords():
    assert code_lengths([2, 2, 1, 1]).tolist() == [2, 2, 2, 2]  # 1, 2, 3, 3 would be as short in sum


def test_absent_and_single_symbols():
    assert code_lengths([0, 7, 0]).tolist() == [0, 1, 0]
    assert code_lengths([0, 3, 0, 1]).tolist() == [0, 1, 0, 1]
    assert canonical_codes(np.array([0, 1, 0, 1])).tolist() == [0, 0, 0, 1]
    assert code_lengths(np.arange(1, 17)).dtype == np.uint8


def test_canonical_codes_of_unsorted_lengths():
    assert canonical_codes(np.array([3, 1, 3, 2])).tolist() == [0b110, 0b0, 0b111, 0b10]


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1], [[1, 2]]])
def test_impossible_counts(counts):
    with pytest.raises(ValueError, match="Counts must be a vector of non-negative integers with at least one positive"):
        code_lengths(counts)


def test_too_many_symbols():
    with pytest.raises(ValueError, match="9 symbols have no prefix code of at most 3 bits"):
        code_lengths([1] * 9, 3)


def test_impossible_lengths():
    with pytest.raises(ValueError, match=r"No prefix code has the codeword lengths \[1, 1, 2\]"):
        canonical_codes(np.array([1, 1, 2]))
    with pytest.raises(ValueError, match=r"Codeword lengths must be 0 to 8, not \[9\]"):
        canonical_codes(np.array([9]))
