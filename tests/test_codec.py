"""Segments as bits, against a second implementation that follows docs/format.md word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks import random_segments
from permfc import FormatError, Kind
from permfc.image.codec import (
    code_aux,
    decode,
    encode,
    encode_class,
    feature_words,
    join_nibbles,
    lane_words,
    level_table,
    level_tables,
    split_nibbles,
)
from permfc.network.huffman import canonical_codes, code_lengths
from permfc.network.segments import Segments

seeds = st.integers(0, 2**32 - 1)
outputs_of_block = st.one_of(st.integers(1, 40), st.sampled_from([77, 300, 512]))
bus_widths = st.sampled_from([8, 16, 32, 64, 128, 512])


def written_out(indices: np.ndarray, lengths: np.ndarray, bus_bits: int) -> bytes:
    """One segment, from its definition."""
    words = [format(code, f"0{length}b") for code, length in zip(canonical_codes(lengths), lengths, strict=True)]
    even = "".join(words[index] for index in indices[0::2])
    odd = "".join(words[index] for index in indices[1::2])[::-1]
    size = -(-len(even + odd) // bus_bits) * bus_bits
    bits = even + "0" * (size - len(even + odd)) + odd
    return int(bits, 2).to_bytes(size // 8, "big")


@given(seeds, outputs_of_block, st.integers(1, 16), bus_widths)
def test_segments_are_coded_as_the_format_says(seed, outputs, levels, bus_bits):
    segments = random_segments(np.random.default_rng(seed), Kind.PREFIX, 0, 3, outputs, levels)
    coded = encode_class(segments, bus_bits)
    assert coded.shape == (3, lane_words(segments, bus_bits) * bus_bits // 8)
    for row, indices in zip(coded, segments.indices, strict=True):
        assert row.tobytes() == written_out(indices, segments.lengths, bus_bits)


@given(seeds, outputs_of_block, st.integers(1, 16), bus_widths)
def test_the_level_table_alone_decodes(seed, outputs, levels, bus_bits):
    segments = random_segments(np.random.default_rng(seed), Kind.PREFIX, 5, 4, outputs, levels)
    table = level_tables(segments)[0]
    indices = decode(encode_class(segments, bus_bits), table["aux"], outputs)
    np.testing.assert_array_equal(table["level"][indices], segments.weights())


def test_many_segments_take_several_chunks(monkeypatch):
    monkeypatch.setattr("permfc.image.codec.CHUNK", 100)
    segments = random_segments(np.random.default_rng(1), Kind.PREFIX, 0, 17, 33, 9)
    coded = encode_class(segments, 16)
    assert coded[16].tobytes() == written_out(segments.indices[16], segments.lengths, 16)
    np.testing.assert_array_equal(decode(coded, level_tables(segments)[0]["aux"], 33), segments.indices)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=16))
def test_code_description(counts):
    lengths = np.sort(code_lengths(counts))
    codes, aux = canonical_codes(lengths), code_aux(lengths)
    for depth in range(1, 8):
        prefixes = [int(code) >> (length - depth) for code, length in zip(codes, lengths.tolist(), strict=True) if length > depth]
        assert aux[depth - 1] == (min(prefixes) if prefixes else 0xFF)
    assert aux[7] == 0
    for number, (code, length) in enumerate(zip(codes, lengths, strict=True)):
        assert (int(code) + int(aux[7 + length])) % 16 == number


def test_a_segment_by_hand():
    # Codewords 0, 10, 11; even outputs 0, 10, 0 from the front; odd outputs 11, 0 from the back: first bit of 11 is the last bit.
    lengths = np.array([1, 2, 2], dtype=np.uint8)
    indices = np.array([[0, 2, 1, 0, 0]], dtype=np.uint8)
    assert encode(indices, lengths, 8).tolist() == [[0b0100_0011]]
    assert encode(indices, lengths, 16).tolist() == [[0b0100_0000, 0b0000_0011]]


def test_level_table_by_hand():
    table = level_table(np.array([5, -3, 9], dtype=np.int8), np.array([1, 2, 2], dtype=np.uint8))
    assert table["level"].tolist() == [5, -3, 9] + [0] * 13
    assert table["aux"].tolist() == [1, 255, 255, 255, 255, 255, 255, 0, 0, 15, 11, 3, 3, 3, 3, 3]


@given(seeds, outputs_of_block, bus_widths)
def test_dense8_is_two_segments_of_nibbles(seed, outputs, bus_bits):
    segments = random_segments(np.random.default_rng(seed), Kind.DENSE8, 0, 3, outputs)
    high, low = np.split(encode_class(segments, bus_bits), 2, axis=1)
    assert high.shape[1] == lane_words(segments, bus_bits) * bus_bits // 8 == feature_words(segments, bus_bits) * bus_bits // 16
    tables = level_tables(segments)
    weights = sum(table["level"][decode(half, table["aux"], outputs)] for half, table in zip((high, low), tables, strict=True))
    np.testing.assert_array_equal(weights, segments.weights())
    assert high[0].tobytes() == written_out(segments.indices[0] // 16 + 8, np.full(16, 4), bus_bits)


def test_every_int8_splits_and_joins():
    weights = np.arange(-128, 128).astype(np.int8)
    high, low = split_nibbles(weights)
    np.testing.assert_array_equal(16 * (high.astype(int) - 8) + low, weights)
    np.testing.assert_array_equal(join_nibbles(high, low), weights)


def test_an_empty_class_is_nothing():
    segments = Segments.empty(0, 5, 9)
    assert encode_class(segments, 32).shape == (5, 0)
    assert lane_words(segments, 32) == feature_words(segments, 32) == 0
    assert not level_tables(segments).view(np.uint8).any()


def test_codewords_that_exceed_the_segment():
    aux = code_aux(np.array([1, 2, 2], dtype=np.uint8))
    with pytest.raises(FormatError, match="The codewords of a segment exceed its 1 bytes"):
        decode(np.array([[0xFF]], dtype=np.uint8), aux, 6)
