"""The code of sparse segments: Golomb-Rice coded runs of zeros, each with the level that ends it (docs/format.md, "Kind sparse")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import FormatError
from ..format import MAX_CODE_BITS, MAX_RICE

CHUNK = 1 << 22  # weights coded at once: bounds the scratch memory to some 100 MB
LEVEL_CODES = ((), (0,), (0b0, 0b1), (0b0, 0b10, 0b11), (0b00, 0b01, 0b10, 0b11))  # by the number of levels
LEVEL_CODE_BITS = ((), (0,), (1, 1), (1, 2, 2), (2, 2, 2, 2))
_WINDOW_SHIFT = 5  # a window's upper bits number an entry of the level table: the first bit, and two bits of the level's code
_NONZERO = 4       # first entry that holds a nonzero level


def most_rice(levels_count: int) -> int:
    """The largest Rice parameter with which no codeword of ``levels_count`` levels exceeds 8 bits."""
    return min(MAX_RICE, MAX_CODE_BITS - 1 - max(LEVEL_CODE_BITS[levels_count]))


def code_lengths(levels_count: int, rice: int) -> np.ndarray:
    """Lengths of all codewords, uint8 [1 + levels_count * 2**rice]: of the run of zeros, then of each level with each remainder."""
    return np.array([1, *np.repeat(LEVEL_CODE_BITS[levels_count], 1 << rice) + 1 + rice], dtype=np.uint8)


def level_entries(levels_count: int) -> np.ndarray:
    """For each of the level table's first 8 entries the index that it stands for, uint8 [8]: 0 for zero, k + 1 for level k."""
    nonzero = [[k + 1] * (_NONZERO >> bits) for k, bits in enumerate(LEVEL_CODE_BITS[levels_count])]
    return np.array([0] * _NONZERO + sum(nonzero, []), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class _Runs:
    """The nonzero weights of n streams, each with the run of zeros before it.

    Members
    -------
    row : int64 [N]
        Stream of each nonzero weight, ascending.
    zeros : int64 [N]
        Zeros between it and the nonzero weight before it, or the stream's beginning.
    index : uint8 [N]
        Level number plus one.
    begins : int64 [n + 1]
        Number of the first nonzero weight of each stream, and N.
    trailing : int64 [n]
        Zeros after the last nonzero weight.
    """

    row: np.ndarray
    zeros: np.ndarray
    index: np.ndarray
    begins: np.ndarray
    trailing: np.ndarray

    @classmethod
    def of(cls, streams: np.ndarray) -> _Runs:
        """The runs of streams uint8 [n, B] in which 0 is a zero weight."""
        count, width = streams.shape
        flat = np.ascontiguousarray(streams).reshape(-1)
        place = np.flatnonzero(flat != 0)
        ends = width * np.arange(count + 1, dtype=np.int64)
        begins = np.searchsorted(place, ends)
        nonzeros = np.diff(begins)
        row = np.repeat(np.arange(count), nonzeros)
        zeros = np.diff(place, prepend=-1) - 1
        occupied = np.flatnonzero(nonzeros)
        zeros[begins[occupied]] = place[begins[occupied]] - ends[occupied]
        trailing = np.full(count, width, dtype=np.int64)
        trailing[occupied] = ends[occupied + 1] - 1 - place[begins[occupied + 1] - 1]
        return cls(row, zeros, flat[place], begins, trailing)

    def codeword_bits(self, levels_count: int, rice: int) -> np.ndarray:
        """Bits of each nonzero weight with its run, int64 [N]."""
        fixed = np.array([0, *LEVEL_CODE_BITS[levels_count]]) + 1 + rice
        return (self.zeros >> rice) + fixed[self.index]

    def bits(self, codeword_bits: np.ndarray, rice: int) -> np.ndarray:
        """Bits of each stream, int64 [n], trailing zeros included."""
        return self._sums(codeword_bits) + (self.trailing + (1 << rice) - 1 >> rice)

    def codewords(self, rice: int) -> np.ndarray:
        """Codewords of each stream up to its last nonzero weight, int64 [n]."""
        return self._sums((self.zeros >> rice) + 1)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """For each stream the sum over its nonzero weights of ``values`` int64 [N], int64 [n]."""
        total = np.concatenate([[0], np.cumsum(values)])
        return np.diff(total[self.begins])


def _chunks(rows: int, outputs: int) -> Iterator[slice]:
    step = max(CHUNK // outputs, 1)
    return (slice(start, start + step) for start in range(0, rows, step))


def sparse_bits(indices: np.ndarray, levels_count: int, rice: int) -> np.ndarray:
    """Coded bits of sparse segments, without padding.

    Parameters
    ----------
    indices : uint8 [n, B]
        0 for a zero weight, k + 1 for level k, a row a segment.
    levels_count : int
        Nonzero levels, 1 to 4.
    rice : int
        Rice parameter, 0 to 6.

    Returns
    -------
    int64 [n]
    """
    return _bits_by_rice(indices, levels_count, [rice])[0]


def best_rice(indices: np.ndarray, levels_count: int) -> int:
    """The Rice parameter that makes the longest segment shortest, the smallest among equals, for indices as in ``sparse_bits``."""
    longest = _bits_by_rice(indices, levels_count, range(most_rice(levels_count) + 1)).max(axis=1)
    return int(np.argmin(longest))


def sparse_turns(indices: np.ndarray, rice: int) -> np.ndarray:
    """Turns that decode each segment, int64 [n], for indices and a Rice parameter as in ``sparse_bits``.

    A turn is a codeword of both streams. What comes behind the last nonzero weight of a stream need not be decoded.
    """
    turns = np.zeros(len(indices), dtype=np.int64)
    for part in _chunks(*indices.shape):
        even, odd = (_Runs.of(indices[part, parity::2]).codewords(rice) for parity in (0, 1))
        turns[part] = np.maximum(even, odd)
    return turns


def _bits_by_rice(indices: np.ndarray, levels_count: int, parameters: range | list[int]) -> np.ndarray:
    """Coded bits of each segment with each Rice parameter, int64 [parameters, n]."""
    bits = np.zeros((len(parameters), len(indices)), dtype=np.int64)
    for part in _chunks(*indices.shape):
        for parity in (0, 1):
            runs = _Runs.of(indices[part, parity::2])
            for number, rice in enumerate(parameters):
                bits[number, part] += runs.bits(runs.codeword_bits(levels_count, rice), rice)
    return bits


def encode_streams(streams: np.ndarray, levels_count: int, rice: int, stream_bytes: int) -> np.ndarray:
    """The codewords of each stream from its first bit forwards, padded with zeros.

    Parameters
    ----------
    streams : uint8 [n, B]
        Indices as in ``sparse_bits``.
    levels_count, rice : int
    stream_bytes : int
        At least what the longest stream takes.

    Returns
    -------
    uint8 [n, stream_bytes]
    """
    runs = _Runs.of(streams)
    bits = runs.codeword_bits(levels_count, rice)
    # The bit after each codeword. Runs are zero bits, so only a codeword's last bits, at most 8 of them, have to be written.
    ends = np.cumsum(bits)
    before = np.concatenate([[0], ends])[runs.begins]
    ends += (8 * stream_bytes * np.arange(len(streams)) - before[:-1])[runs.row]
    ones = (1 << rice) - 1
    last_bits = np.array([0, *(1 << length | code for code, length in
                               zip(LEVEL_CODES[levels_count], LEVEL_CODE_BITS[levels_count], strict=True))])
    codewords = last_bits[runs.index] << rice | ~runs.zeros & ones
    last_byte = ends - 1 >> 3
    placed = codewords << (-ends & 7)
    # Codewords share no bit, so sums of them are unions. The last bytes come in ascending order.
    coded = np.bincount(last_byte, placed & 0xFF, streams.shape[0] * stream_bytes)
    spilled = placed > 0xFF
    coded += np.bincount(last_byte[spilled] - 1, placed[spilled] >> 8, coded.size)
    return coded.astype(np.uint8).reshape(len(streams), stream_bytes)


def decode_streams(streams: np.ndarray, length: np.ndarray, aux: int, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read streams as the gates do.

    Parameters
    ----------
    streams : uint8 [n, bytes]
        From their first bit forwards.
    length : int64 [256]
        Codeword length for each window of 8 bits.
    aux : int
        Description of the runs from the level table.
    outputs : int64 [n]
        Weights of each stream.

    Returns
    -------
    uint8 [n, most outputs]
        Entries of the level table; 0 for a zero weight.
    int64 [n]
        Bits of each stream.

    Raises
    ------
    FormatError
        If a stream's codewords exceed its bytes.
    """
    count, size = streams.shape
    padded = np.zeros((count, size + 2), dtype=np.uint16)
    padded[:, :size] = streams
    pairs = (padded[:, :-1] << 8 | padded[:, 1:]).reshape(-1)
    window = np.arange(256)
    ones = aux & (1 << MAX_RICE) - 1
    run, entry = ones & ~(window >> (8 - length)), window >> _WINDOW_SHIFT
    symbols = np.zeros((count, int(outputs.max(initial=0))), dtype=np.uint8)
    used = np.zeros(count, dtype=np.int64)
    place = np.zeros(count, dtype=np.int64)
    live = np.flatnonzero(outputs)
    while live.size:  # a codeword of each unfinished stream
        offset = used[live]
        seen = pairs[live * (size + 1) + (offset >> 3)] >> (8 - (offset & 7)).astype(np.uint16) & 0xFF
        target = place[live] + run[seen]
        inside = target < outputs[live]
        nonzero = inside & (entry[seen] >= _NONZERO)
        symbols[live[nonzero], target[nonzero]] = entry[seen[nonzero]]
        used[live] = offset + length[seen]
        if (used[live] > 8 * size).any():
            raise FormatError(f"The codewords of a segment exceed its {size} bytes")
        place[live] = target + 1
        live = live[place[live] < outputs[live]]
    return symbols, used
