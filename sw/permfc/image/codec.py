"""Segments as bits: two streams of codewords that grow towards each other, level tables, dense8 nibbles (docs/format.md)."""

from __future__ import annotations

import numpy as np

from ..errors import FormatError
from ..format import CODE_ENDS, LEVEL_ENTRY, MAX_CODE_BITS, MAX_LEVELS, SPARSE, SPARSE_AUX
from ..network.huffman import canonical_codes, first_codewords
from ..network.segments import Kind, Segments
from ..network.sparse import CHUNK, decode_streams, encode_streams, level_entries, sparse_bits
from ..network.sparse import code_lengths as sparse_lengths

__all__ = [
    "NIBBLE_LENGTHS", "NIBBLE_LEVELS", "code_aux", "decode", "encode", "encode_class", "encode_sparse", "feature_words", "join_nibbles",
    "lane_words", "level_table", "level_tables", "sparse_bits", "sparse_code", "sparse_table", "split_nibbles",
]

NIBBLE_LENGTHS = np.full(16, 4, dtype=np.uint8)
NIBBLE_LEVELS = (np.arange(-128, 128, 16, dtype=np.int8), np.arange(16, dtype=np.int8))  # of slots g and g + 1

_ABSENT = 2  # stands where a codeword has no bit
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), axis=1)[:, 0]


def lane_words(segments: Segments, bus_bits: int) -> int:
    """Bus words of one lane segment; 0 for an empty class."""
    if segments.kind is Kind.EMPTY:
        return 0
    bits = 4 * segments.outputs if segments.kind is Kind.DENSE8 else segments.bits
    return -(-bits // bus_bits)


def feature_words(segments: Segments, bus_bits: int) -> int:
    """Bus words of one feature's segments: of two lane segments for dense8, else of one."""
    return segments.kind.slots * lane_words(segments, bus_bits)


def encode_class(segments: Segments, bus_bits: int) -> np.ndarray:
    """The stored segments of a class, uint8 [n, bytes]: a row a feature, whole bus words."""
    if segments.kind is Kind.EMPTY:
        return np.zeros((segments.features, 0), dtype=np.uint8)
    if segments.kind is Kind.DENSE8:
        return np.concatenate([encode(half, NIBBLE_LENGTHS, bus_bits) for half in split_nibbles(segments.indices)], axis=1)
    if segments.kind is Kind.SPARSE:
        return encode_sparse(segments.indices, segments.levels.size, segments.rice, lane_words(segments, bus_bits) * bus_bits // 8)
    return encode(segments.indices, segments.lengths, bus_bits)


def encode_sparse(indices: np.ndarray, levels_count: int, rice: int, segment_bytes: int) -> np.ndarray:
    """Code sparse segments, uint8 [n, segment_bytes], for indices as in ``sparse_bits``; the longest must fit."""
    coded = np.empty((len(indices), segment_bytes), dtype=np.uint8)
    rows = max(CHUNK // indices.shape[1], 1)
    for start in range(0, len(indices), rows):
        part = indices[start:start + rows]
        even, odd = (encode_streams(part[:, parity::2], levels_count, rice, segment_bytes) for parity in (0, 1))
        coded[start:start + rows] = even | _reversed(odd)
    return coded


def _reversed(coded: np.ndarray) -> np.ndarray:
    """Bit strings, uint8 [n, bytes], from their last bit to their first."""
    return _REVERSED[coded[:, ::-1]]


def encode(indices: np.ndarray, lengths: np.ndarray, bus_bits: int) -> np.ndarray:
    """Code segments of one composition.

    Parameters
    ----------
    indices : uint8 [n, B]
        Level numbers; every row must take the same number of bits, as permutations of one sequence do.
    lengths : uint8 [K]
        Codeword lengths, ascending.
    bus_bits : int
        Each segment is padded to a multiple of this, itself a multiple of 8.

    Returns
    -------
    uint8 [n, segment bytes]
    """
    bits = int(lengths[indices[0]].sum(dtype=np.int64))
    segment_bits = -(-bits // bus_bits) * bus_bits
    forward, backward = _bit_tables(lengths)
    coded = np.empty((len(indices), segment_bits // 8), dtype=np.uint8)
    rows = max(CHUNK // indices.shape[1], 1)
    for start in range(0, len(indices), rows):
        part = indices[start:start + rows]
        # Read from the front, the odd outputs' stream is its last codeword reversed, ..., its first codeword reversed.
        pieces = (
            forward[part[:, 0::2]].view(np.uint8),
            np.zeros((len(part), segment_bits - bits), dtype=np.uint8),
            backward[part[:, 1::2][:, ::-1]].view(np.uint8),
        )
        spread = np.concatenate(pieces, axis=1)
        coded[start:start + rows] = np.packbits(spread[spread != _ABSENT].reshape(len(part), segment_bits), axis=1)
    return coded


def _bit_tables(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per level its codeword as 4 or 8 bytes of 0, 1 or _ABSENT, packed into one integer: first bit first, and last bit first."""
    width = 4 if lengths.max() <= 4 else MAX_CODE_BITS
    codes = canonical_codes(lengths).astype(np.int64)[:, None]
    place = np.arange(width)
    present = place < lengths[:, None]
    backward = np.where(present, codes >> place & 1, _ABSENT).astype(np.uint8)
    forward = np.where(present, codes >> np.maximum(lengths[:, None].astype(np.int64) - 1 - place, 0) & 1, _ABSENT).astype(np.uint8)
    packed = np.dtype(f"u{width}")
    return forward.view(packed)[:, 0], backward.view(packed)[:, 0]


def decode(coded: np.ndarray, aux: np.ndarray, outputs: int) -> np.ndarray:
    """Read segments with the code description of a level table, as the gates do.

    Parameters
    ----------
    coded : uint8 [n, segment bytes]
    aux : uint8 [16]
        Code description of the level table, see ``code_aux``.
    outputs : int
        Outputs of the block, B.

    Returns
    -------
    uint8 [n, B]
        Entries of the level table, 0 to 15; in a sparse class 0 for every zero weight.

    Raises
    ------
    FormatError
        If a segment's codewords do not fit its bytes.
    """
    number, length = _window_tables(aux)
    description = int(aux[SPARSE_AUX])
    if _least_bits(description, int(length.min()), outputs) > 8 * coded.shape[1]:  # before they take memory
        raise FormatError(f"The codewords of a segment exceed its {coded.shape[1]} bytes")
    indices = np.empty((len(coded), outputs), dtype=np.uint8)
    rows = max(CHUNK // outputs, 1)
    for start in range(0, len(coded), rows):
        part = coded[start:start + rows]
        streams = np.concatenate([part, _reversed(part)])
        if description & SPARSE:
            symbols, used = decode_streams(streams, length, description, np.repeat([outputs - outputs // 2, outputs // 2], len(part)))
        else:
            symbols, used = _decode_streams(streams, number, length, outputs)
        if (used[:len(part)] + used[len(part):] > 8 * coded.shape[1]).any():
            raise FormatError(f"The codewords of a segment exceed its {coded.shape[1]} bytes")
        indices[start:start + rows, 0::2] = symbols[:len(part)]
        indices[start:start + rows, 1::2] = symbols[len(part):, :outputs // 2]
    return indices


def _least_bits(description: int, shortest: int, outputs: int) -> int:
    """Bits that a segment has at least: of codewords that all are the shortest, each of a whole run in a sparse class."""
    each = (description & SPARSE - 1) + 1 if description & SPARSE else 1
    return shortest * sum(-(-count // each) for count in (outputs - outputs // 2, outputs // 2))


def _decode_streams(streams: np.ndarray, number: np.ndarray, length: np.ndarray, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Level numbers uint8 [2n, ceil(B / 2)] and bits used int64 [2n] of n even streams followed by n odd ones."""
    steps = -(-outputs // 2)
    # Damaged streams may run on: a codeword takes at most a byte, so this many bytes are enough for any.
    padded = np.zeros((len(streams), max(streams.shape[1], steps * MAX_CODE_BITS // 8) + 2), dtype=np.uint16)
    padded[:, :streams.shape[1]] = streams
    pairs = (padded[:, :-1] << 8 | padded[:, 1:]).reshape(-1)
    row = np.arange(len(streams), dtype=np.int64) * (padded.shape[1] - 1)
    used = np.zeros(len(streams), dtype=np.int64)
    symbols = np.zeros((steps, len(streams)), dtype=np.uint8)
    for step in range(steps):
        live = len(streams) // 2 if 2 * step + 1 == outputs else len(streams)  # an odd B: no odd output in the last step
        offset = used[:live]
        window = pairs[row[:live] + (offset >> 3)] >> (8 - (offset & 7)).astype(np.uint16) & 0xFF
        symbols[step, :live] = number[window]
        used[:live] += length[window]
    return symbols.T, used


def _window_tables(aux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level number uint8 [256] and codeword length int64 [256] for each 8-bit window, from the code description alone."""
    window = np.arange(256)
    length = np.ones(256, dtype=np.int64)
    for depth in range(1, MAX_CODE_BITS):
        entry = int(aux[depth - 1])
        length += window >> (8 - depth) >= entry
    offset = aux[MAX_CODE_BITS - 1 + length].astype(np.int64)
    return ((window >> (8 - length)) + offset & 15).astype(np.uint8), length


def code_aux(lengths: np.ndarray) -> np.ndarray:
    """The description of a canonical code that a decoder works from, uint8 [16], for codeword lengths uint8 [K]."""
    present = np.bincount(lengths, minlength=MAX_CODE_BITS + 1)
    first, longest = first_codewords(present), int(lengths.max())
    aux = np.zeros(16, dtype=np.uint8)
    for depth in range(1, MAX_CODE_BITS):
        aux[depth - 1] = CODE_ENDS if depth >= longest else first[depth] + present[depth]
    rank = np.cumsum(present) - present  # codewords shorter than each length
    aux[MAX_CODE_BITS:] = (rank - first)[1:] & 15
    return aux


def level_table(levels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The level table of a class slot, LEVEL_ENTRY [16], for levels int8 [K] with codeword lengths uint8 [K]."""
    table = np.zeros(MAX_LEVELS, dtype=LEVEL_ENTRY)
    table["level"][:levels.size] = levels
    table["aux"] = code_aux(lengths)
    return table


def sparse_table(levels: np.ndarray, rice: int) -> np.ndarray:
    """The level table of a sparse class, LEVEL_ENTRY [16], for nonzero levels int8 [K] and a Rice parameter."""
    table = np.zeros(MAX_LEVELS, dtype=LEVEL_ENTRY)
    table["aux"][:SPARSE_AUX] = code_aux(sparse_lengths(levels.size, rice))[:SPARSE_AUX]
    table["aux"][SPARSE_AUX] = SPARSE + (1 << rice) - 1
    entries = level_entries(levels.size)
    table["level"][:entries.size] = np.concatenate([np.zeros(1, dtype=np.int8), levels])[entries]
    return table


def sparse_code(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """What the level table LEVEL_ENTRY [16] of a sparse class stands for, if ``sparse_table`` made it.

    Returns
    -------
    int8 [K]
        Nonzero levels.
    uint8 [8]
        For each entry 0 for a zero weight, k + 1 for level k.
    int
        Rice parameter.
    """
    a, b, c, d = table["level"][4:8].tolist()  # of levels 1 to 4: 1111, 1122, 1123 or 1234
    count = 4 if a != b else 3 if c != d else 2 if b != c else 1
    numbers, first = np.unique(level_entries(count), return_index=True)
    levels = table["level"][first[numbers > 0]]
    return levels, level_entries(count), (int(table["aux"][SPARSE_AUX]) & SPARSE - 1).bit_length()


def level_tables(segments: Segments) -> np.ndarray:
    """The level tables of a class, LEVEL_ENTRY [slots, 16]; all zeros for an empty class."""
    if segments.kind is Kind.EMPTY:
        return np.zeros((1, MAX_LEVELS), dtype=LEVEL_ENTRY)
    if segments.kind is Kind.SPARSE:
        return sparse_table(segments.levels, segments.rice)[None]
    if segments.kind is Kind.DENSE8:
        return np.stack([level_table(levels, NIBBLE_LENGTHS) for levels in NIBBLE_LEVELS])
    return level_table(segments.levels, segments.lengths)[None]


def split_nibbles(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level numbers of the high and the low nibble, uint8 each, of int8 weights: ``w = 16 * (high - 8) + low``."""
    return ((weights >> 4) + np.int8(8)).astype(np.uint8), (weights & 15).astype(np.uint8)


def join_nibbles(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The int8 weights of level numbers from ``split_nibbles``."""
    return NIBBLE_LEVELS[0][high] + NIBBLE_LEVELS[1][low]
