"""Sparse segments against a second implementation that follows docs/format.md word by word."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import random_sparse
from permfc import FormatError, Kind, ModelError, Segments
from permfc.image.codec import decode, encode_class, lane_words, level_tables, sparse_bits, sparse_code, sparse_table
from permfc.network.sparse import code_lengths, most_rice, sparse_turns

seeds = st.integers(0, 2**32 - 1)
outputs_of_block = st.one_of(st.integers(1, 40), st.sampled_from([77, 300, 512]))
bus_widths = st.sampled_from([8, 16, 32, 64, 128, 512])
LEVEL_CODES = {1: [""], 2: ["0", "1"], 3: ["0", "10", "11"], 4: ["00", "01", "10", "11"]}
ONE = np.array([1], dtype=np.int8)


def stream(indices: np.ndarray, levels: int, rice: int) -> str:
    """The codewords of every second output."""
    bits, zeros = "", 0
    for index in indices.tolist():
        if not index:
            zeros += 1
            continue
        remainder = 2**rice - 1 - zeros % 2**rice
        bits += "0" * (zeros // 2**rice) + "1" + LEVEL_CODES[levels][index - 1] + (f"{remainder:0{rice}b}" if rice else "")
        zeros = 0
    return bits + "0" * -(-zeros // 2**rice)


def codewords(indices: np.ndarray, rice: int) -> int:
    """Codewords of every second output, up to the last one that is not zero."""
    count = zeros = 0
    for index in indices.tolist():
        zeros += 1
        if index:
            count, zeros = count + (zeros - 1) // 2**rice + 1, 0
    return count


def written_out(indices: np.ndarray, levels: int, rice: int, size: int) -> bytes:
    """One segment of ``size`` bytes."""
    even, odd = stream(indices[0::2], levels, rice), stream(indices[1::2], levels, rice)
    bits = even + "0" * (8 * size - len(even + odd)) + odd[::-1]
    return int(bits, 2).to_bytes(size, "big")


@settings(deadline=None)
@given(seeds, outputs_of_block, bus_widths)
def test_segments_are_coded_as_the_format_says(seed, outputs, bus_bits):
    segments = random_sparse(np.random.default_rng(seed), 0, 3, outputs)
    count, rice = segments.levels.size, segments.rice
    lengths = [len(stream(row[0::2], count, rice) + stream(row[1::2], count, rice)) for row in segments.indices]
    assert sparse_bits(segments.indices, count, rice).tolist() == lengths
    assert segments.bits == max(lengths)
    coded = encode_class(segments, bus_bits)
    assert coded.shape == (3, lane_words(segments, bus_bits) * bus_bits // 8)
    assert lane_words(segments, bus_bits) == -(-max(lengths) // bus_bits)
    for row, indices in zip(coded, segments.indices, strict=True):
        assert row.tobytes() == written_out(indices, count, rice, coded.shape[1])


@given(seeds, outputs_of_block)
def test_turns_are_the_codewords_of_the_longer_stream(seed, outputs):
    segments = random_sparse(np.random.default_rng(seed), 0, 5, outputs)
    turns = [max(codewords(row[0::2], segments.rice), codewords(row[1::2], segments.rice)) for row in segments.indices]
    assert sparse_turns(segments.indices, segments.rice).tolist() == turns
    assert segments.turns == max(turns) <= -(-outputs // 2)


@pytest.mark.parametrize(("row", "rice", "turns"), [
    ([0, 0, 0, 0, 0], 0, 0),           # nothing but zeros
    ([1, 0, 0, 0, 0], 3, 1),           # what comes behind does not count
    ([0, 0, 0, 0, 1], 0, 3),           # a codeword an output
    ([0, 0, 0, 0, 1], 1, 2),           # a run of two zeros, then a run of none with its level
    ([0, 0, 0, 0, 1], 2, 1),
    ([1, 1, 0, 0, 0, 1, 0, 0], 6, 2),  # the odd outputs' stream is the longer one
])
def test_turns_by_hand(row, rice, turns):
    assert Segments.sparse(0, ONE, np.array([row, 0 * np.array(row)], dtype=np.uint8), rice).turns == turns


@given(seeds, outputs_of_block, bus_widths)
def test_the_level_table_alone_decodes(seed, outputs, bus_bits):
    segments = random_sparse(np.random.default_rng(seed), 5, 4, outputs)
    table = level_tables(segments)[0]
    entries = decode(encode_class(segments, bus_bits), table["aux"], outputs)
    np.testing.assert_array_equal(table["level"][entries], segments.weights())
    levels, numbers, rice = sparse_code(table)
    np.testing.assert_array_equal(numbers[entries], segments.indices)
    assert (levels.tolist(), rice) == (segments.levels.tolist(), segments.rice)


@given(seeds, outputs_of_block)
def test_the_length_never_exceeds_the_bound(seed, outputs):
    segments = random_sparse(np.random.default_rng(seed), 0, 5, outputs)
    code_bits = np.array([0, *map(len, LEVEL_CODES[segments.levels.size])])[segments.indices].sum(axis=1)
    nonzeros = np.count_nonzero(segments.indices, axis=1)
    rice = segments.rice
    bound = nonzeros * (1 + rice) + code_bits + (outputs - nonzeros + 2 * (2**rice - 1) >> rice)
    assert (sparse_bits(segments.indices, segments.levels.size, rice) <= bound).all()


@given(seeds, outputs_of_block)
def test_the_shortest_rice_parameter_is_found(seed, outputs):
    segments = random_sparse(np.random.default_rng(seed), 0, 3, outputs)
    longest = [Segments.sparse(0, segments.levels, segments.indices, rice).bits for rice in range(most_rice(segments.levels.size) + 1)]
    assert Segments.sparse(0, segments.levels, segments.indices).rice == longest.index(min(longest))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_aux_of_every_code(levels):
    """Limits and numbers as the format defines them, from all codewords written out."""
    assert most_rice(levels) == (6 if levels < 3 else 5)
    values = np.arange(1, levels + 1, dtype=np.int8)
    for rice in range(most_rice(levels) + 1):
        table = sparse_table(values, rice)
        words = {"0": (2**rice - 1, 0)}
        for value, code in zip(values.tolist(), LEVEL_CODES[levels], strict=True):
            for run in range(2**rice):
                words["1" + code + (f"{2**rice - 1 - run:0{rice}b}" if rice else "")] = run, value
        assert sorted(map(len, words)) == code_lengths(levels, rice).tolist()
        for depth in range(1, 8):
            assert table["aux"][depth - 1] == min((int(word[:depth], 2) for word in words if len(word) > depth), default=255)
        assert table["aux"][7:].tolist() == [128 + 2**rice - 1] + [0] * 8
        for word, (run, value) in words.items():
            for rest in ("0" * 8, "1" * 8):
                window = int((word + rest)[:8], 2)
                assert table["level"][window >> 5] == value
                assert (2**rice - 1) & ~(window >> (8 - len(word))) == run


def test_a_segment_by_hand():
    # l = 1, two levels. Even outputs 0 0 0 +: "0", then "1", level 0, remainder 1 - 1. Odd outputs 0 - 0 0: "1", level 1, 1 - 1; then "0".
    indices = np.array([[0, 0, 0, 2, 0, 0, 1, 0]], dtype=np.uint8)
    segments = Segments.sparse(0, np.array([5, -5], dtype=np.int8), indices, 1)
    assert segments.bits == 8
    assert encode_class(segments, 8).tolist() == [[0b0100_0011]]
    assert encode_class(segments, 16).tolist() == [[0b0100_0000, 0b0000_0011]]
    assert level_tables(segments)[0]["level"].tolist() == [0, 0, 0, 0, 5, 5, -5, -5] + [0] * 8
    assert level_tables(segments)[0]["aux"].tolist() == [1, 2, 255, 255, 255, 255, 255, 129] + [0] * 8


def test_many_segments_take_several_chunks(monkeypatch):
    segments = random_sparse(np.random.default_rng(1), 0, 17, 33)
    at_once = encode_class(segments, 16), sparse_bits(segments.indices, segments.levels.size, segments.rice)
    turns = sparse_turns(segments.indices, segments.rice)
    monkeypatch.setattr("permfc.image.codec.CHUNK", 100)
    monkeypatch.setattr("permfc.network.sparse.CHUNK", 100)
    np.testing.assert_array_equal(encode_class(segments, 16), at_once[0])
    np.testing.assert_array_equal(sparse_bits(segments.indices, segments.levels.size, segments.rice), at_once[1])
    np.testing.assert_array_equal(sparse_turns(segments.indices, segments.rice), turns)
    table = level_tables(segments)[0]
    np.testing.assert_array_equal(table["level"][decode(at_once[0], table["aux"], 33)], segments.weights())


@given(seeds, outputs_of_block, st.binary(min_size=16, max_size=16), st.integers(1, 12))
def test_damaged_streams_and_tables_end(seed, outputs, aux, size):
    damaged = np.frombuffer(aux, dtype=np.uint8).copy()
    damaged[7] |= 128
    coded = np.random.default_rng(seed).integers(0, 256, (3, size), dtype=np.uint8)
    try:
        entries = decode(coded, damaged, outputs)
    except FormatError as error:
        assert f"The codewords of a segment exceed its {size} bytes" in str(error)
    else:
        assert entries.shape == (3, outputs)
        assert entries.max() < 8


def test_codewords_that_exceed_the_segment():
    segments = Segments.sparse(0, ONE, np.ones((1, 9), dtype=np.uint8), 0)
    with pytest.raises(FormatError, match="The codewords of a segment exceed its 1 bytes"):
        decode(encode_class(segments, 16)[:, :1], level_tables(segments)[0]["aux"], 9)
    with pytest.raises(FormatError, match="The codewords of a segment exceed its 1 bytes"):  # the streams overlap
        decode(np.array([[0xFF]], dtype=np.uint8), sparse_table(ONE, 3)["aux"], 4)


def test_members():
    segments = Segments.sparse(4, np.array([3, -3], dtype=np.int8), np.array([[0, 1, 2], [0, 0, 0]], dtype=np.uint8))
    assert (segments.kind, segments.first, segments.end, segments.outputs, segments.counts.size) == (Kind.SPARSE, 4, 6, 3, 0)
    assert segments.weights().tolist() == [[0, 3, -3], [0, 0, 0]]
    assert segments.weights().dtype == np.int8
    assert segments.kind.slots == 1


GOOD = Segments.sparse(0, ONE, np.ones((2, 3), dtype=np.uint8), 2)


@pytest.mark.parametrize(("change", "message"), [
    ({"levels": np.zeros(0, dtype=np.int8)}, r"Levels of a sparse class must be int8 \[1\] to \[4\], not int8 \[0\]"),
    ({"levels": np.arange(1, 6, dtype=np.int8)}, r"Levels of a sparse class must be int8 \[1\] to \[4\], not int8 \[5\]"),
    ({"levels": np.ones(1)}, r"must be (int8 \[1\] to \[4\]|an array int8 \[1\]), not float64 \[1\]"),
    ({"levels": np.array([1, 0], dtype=np.int8)}, r"Levels of a sparse class must be distinct and not 0, not \[1, 0\]"),
    ({"levels": np.array([2, 1, 2], dtype=np.int8)}, r"Levels of a sparse class must be distinct and not 0, not \[2, 1, 2\]"),
    ({"indices": np.full((2, 3), 2, dtype=np.uint8)}, r"Indices of a sparse class must be uint8 \[n, B\] up to 1, not uint8 \[2, 3\] up to 2"),
    ({"indices": np.ones((2, 3), dtype=np.int8)}, r"Indices of a class must be an array uint8 \[2, 3\], not int8 \[2, 3\]"),
    ({"rice": 7}, "Rice parameter of a sparse class must be an integer from 0 to 6, not 7"),
    ({"levels": np.array([1, 2, 3], dtype=np.int8), "rice": 6}, "Rice parameter of a sparse class must be an integer from 0 to 5, not 6"),
    ({"counts": np.ones(1, dtype=np.int64)}, r"Counts of a class must be an array int64 \[0\], not int64 \[1\]"),
])
def test_refused(change, message):
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(GOOD, **change)


def test_refused_before_the_rice_parameter_is_chosen():
    with pytest.raises(ModelError, match=r"Indices of a sparse class must be uint8 \[n, B\] up to 1, not int64 \[2, 3\] up to 1"):
        Segments.sparse(0, ONE, np.ones((2, 3), dtype=np.int64))
    with pytest.raises(ModelError, match="Levels of a sparse class must be distinct and not 0"):
        Segments.sparse(0, np.zeros(1, dtype=np.int8), np.ones((2, 3), dtype=np.uint8))


def test_only_sparse_classes_have_a_rice_parameter():
    with pytest.raises(ModelError, match="Rice parameter of a class that is not sparse must be an integer from 0 to 0, not 1"):
        dataclasses.replace(Segments.empty(0, 2, 3), rice=1)
