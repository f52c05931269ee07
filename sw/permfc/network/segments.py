"""The weights of one class in one block: segments that are permutations of one common sequence."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import ModelError
from ..format import MAX_LEVELS, MAX_SPARSE_LEVELS
from .huffman import code_lengths
from .sparse import best_rice, most_rice, sparse_bits, sparse_turns

MAX_SIZE = 32768  # features or outputs of a layer; the largest engine's limit
_ROWS = 256  # segments whose |w|, at most 128, sum to a uint16


class Kind(enum.Enum):
    """How the segments of a class are stored."""

    PREFIX = "prefix"  # level numbers in a prefix code: every segment is a permutation of the common sequence
    DENSE8 = "dense8"  # one int8 weight an output
    SPARSE = "sparse"  # only nonzero weights, each with the run of zeros before it
    EMPTY = "empty"    # all weights are zero: nothing is stored

    @property
    def slots(self) -> int:
        """Value of the number of class slots that a class of this kind takes in an image."""
        return 2 if self is Kind.DENSE8 else 1


def check_array(name: str, value: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    """Raise ModelError unless ``value`` is an array of this type and shape."""
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != shape:
        found = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
        raise ModelError(f"{name} must be an array {np.dtype(dtype)} {list(shape)}, not {found}")


def check_integer(name: str, value: int, low: int, high: int) -> None:
    """Raise ModelError unless ``value`` is an integer from ``low`` to ``high``."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ModelError(f"{name} must be an integer from {low} to {high}, not {value!r}")


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of one class in one block: the weights from features ``first`` to ``end - 1`` to the block's outputs.

    Make one with ``Segments.prefix``, ``Segments.sparse``, ``Segments.dense8`` or ``Segments.empty``.

    Members
    -------
    kind : Kind
    first, end : int
        First feature (packed order), and the one after the last.
    outputs : int
        Outputs of the block, B.
    levels : int8 [K]
        Levels of the common sequence in canonical order (PREFIX), or the levels of nonzero weights (SPARSE). Else empty.
    counts : int64 [K]
        Outputs that hold each level, the same in every segment. Empty unless the kind is PREFIX.
    indices : uint8 [n, B], int8 [n, B] or uint8 [n, 0]
        A row a segment: level numbers (PREFIX), level numbers plus one or 0 for zero (SPARSE), weights (DENSE8) or nothing (EMPTY).
    rice : int
        Rice parameter of the runs of zeros (SPARSE); 0 for other kinds.

    Raises
    ------
    ModelError
        If the members contradict each other, or a segment is not a permutation of the common sequence.
    """

    kind: Kind
    first: int
    end: int
    outputs: int
    levels: np.ndarray
    counts: np.ndarray
    indices: np.ndarray
    rice: int = 0

    @classmethod
    def prefix(cls, first: int, levels: np.ndarray, counts: np.ndarray, indices: np.ndarray) -> Segments:
        """Segments that are permutations of one common sequence; brings the levels into canonical order.

        Levels without outputs are dropped and equal levels are merged.

        Parameters
        ----------
        first : int
            First feature.
        levels : int8 [K], in any order
        counts : int [K]
            Outputs that hold each level.
        indices : uint8 [n, B]
            Level number of each output, a row a segment.
        """
        levels, counts = np.asarray(levels), np.asarray(counts)
        if levels.dtype != np.int8 or levels.ndim != 1 or counts.shape != levels.shape or counts.dtype.kind not in "iu":
            raise ModelError(f"Levels must be int8 [K] and counts integers [K], not {levels.dtype} {list(levels.shape)} "
                             f"and {counts.dtype} {list(counts.shape)}")
        if indices.dtype != np.uint8 or indices.ndim != 2 or indices.max(initial=0) >= max(levels.size, 1):
            raise ModelError(f"Indices must be uint8 [n, B] below {levels.size}, not {indices.dtype} {list(indices.shape)} "
                             f"up to {indices.max(initial=0)}")
        used = counts != 0
        values, merged = np.unique(levels[used], return_inverse=True)
        value_counts = np.zeros(values.size, dtype=np.int64)
        np.add.at(value_counts, merged, counts[used])
        if not values.size or value_counts.min() < 0:
            raise ModelError(f"Counts must be non-negative and not all zero, not {counts.tolist()}")
        order = np.argsort(code_lengths(value_counts), kind="stable")
        number = np.empty(values.size, dtype=np.uint8)
        number[order] = np.arange(values.size, dtype=np.uint8)
        renumber = np.full(levels.size, MAX_LEVELS, dtype=np.uint8)  # a dropped level must not occur: out of range
        renumber[used] = number[merged]
        return cls(Kind.PREFIX, first, first + len(indices), indices.shape[1], values[order], value_counts[order], renumber[indices])

    @classmethod
    def sparse(cls, first: int, levels: np.ndarray, indices: np.ndarray, rice: int | None = None) -> Segments:
        """Segments of which only the nonzero weights are stored. Which weights are zero is free in every segment.

        Parameters
        ----------
        first : int
            First feature.
        levels : int8 [K], K = 1 to 4
            Distinct and not 0; the most frequent first makes the segments shortest.
        indices : uint8 [n, B]
            0 for a zero weight, k + 1 for level k, a row a segment.
        rice : int or None
            Rice parameter, at most 6, or 5 with more than two levels. None for that with the shortest longest segment.
        """
        check_sparse_code(levels, 0)
        _check_sparse_indices(levels, indices)
        rice = best_rice(indices, levels.size) if rice is None else rice
        return cls(Kind.SPARSE, first, first + len(indices), indices.shape[1], levels, np.zeros(0, dtype=np.int64), indices, rice)

    @classmethod
    def dense8(cls, first: int, weights: np.ndarray) -> Segments:
        """Segments of free int8 weights [n, B], a row a feature."""
        if weights.dtype != np.int8 or weights.ndim != 2:
            raise ModelError(f"Weights of a dense8 class must be int8 [n, B], not {weights.dtype} {list(weights.shape)}")
        none = np.zeros(0, dtype=np.int64)
        return cls(Kind.DENSE8, first, first + len(weights), weights.shape[1], none.astype(np.int8), none, weights)

    @classmethod
    def empty(cls, first: int, count: int, outputs: int) -> Segments:
        """``count`` segments of zeros, of which nothing is stored."""
        none = np.zeros(0, dtype=np.int64)
        return cls(Kind.EMPTY, first, first + count, outputs, none.astype(np.int8), none, np.zeros((count, 0), dtype=np.uint8))

    def __post_init__(self) -> None:
        check_integer("First feature of a class", self.first, 0, MAX_SIZE - 1)
        check_integer("End of a class", self.end, self.first + 1, MAX_SIZE)
        check_integer("Outputs of a block", self.outputs, 1, MAX_SIZE)
        width = 0 if self.kind is Kind.EMPTY else self.outputs
        check_array("Levels of a class", self.levels, np.int8, (self.levels.size if self.kind in (Kind.PREFIX, Kind.SPARSE) else 0,))
        check_array("Counts of a class", self.counts, np.int64, (self.levels.size if self.kind is Kind.PREFIX else 0,))
        check_array("Indices of a class", self.indices, np.int8 if self.kind is Kind.DENSE8 else np.uint8, (self.features, width))
        if self.kind is Kind.SPARSE:
            check_sparse_code(self.levels, self.rice)
            _check_sparse_indices(self.levels, self.indices)
        else:
            check_integer("Rice parameter of a class that is not sparse", self.rice, 0, 0)
        if self.kind is Kind.PREFIX:
            self._check_composition()

    def _check_composition(self) -> None:
        if not 1 <= self.levels.size <= MAX_LEVELS:
            raise ModelError(f"A common sequence must have 1 to {MAX_LEVELS} levels, not {self.levels.size}")
        if self.counts.min() < 1 or self.counts.sum() != self.outputs:
            raise ModelError(f"Counts of a class must be positive and sum to the {self.outputs} outputs of the block, not {self.counts.tolist()}")
        if (np.diff(self.lengths.astype(np.int64)) < 0).any():
            raise ModelError(f"Levels of a class must be in canonical order, not with code lengths {self.lengths.tolist()}")
        wrong = np.zeros(self.features, dtype=bool)
        for level, count in enumerate(self.counts):
            wrong |= np.count_nonzero(self.indices == level, axis=1) != count
        if wrong.any():
            feature = int(np.flatnonzero(wrong)[0])
            found = np.bincount(self.indices[feature], minlength=self.levels.size)
            raise ModelError(f"Segment of feature {self.first + feature} is not a permutation of the common sequence: "
                             f"it holds the levels {found.tolist()} times instead of {self.counts.tolist()}")

    @property
    def features(self) -> int:
        """Value of the number of features, n."""
        return self.end - self.first

    @cached_property
    def lengths(self) -> np.ndarray:
        """Value of the codeword lengths in bits, uint8 [K]: optimal for the counts under 8 bits. Empty unless PREFIX."""
        return code_lengths(self.counts) if self.kind is Kind.PREFIX else np.zeros(0, dtype=np.uint8)

    @cached_property
    def bits(self) -> int:
        """Value of the bits of one segment without padding: of all of them, or of the longest (SPARSE)."""
        if self.kind is Kind.DENSE8:
            return 8 * self.outputs
        if self.kind is Kind.SPARSE:
            return int(sparse_bits(self.indices, self.levels.size, self.rice).max())
        return int(self.counts @ self.lengths.astype(np.int64))

    @cached_property
    def turns(self) -> int:
        """Value of the turns that decode any of the segments, 0 to ceil(B / 2): codewords of the longer stream, all of them or those up to its last
        nonzero weight (SPARSE); 0 if nothing is stored (EMPTY)."""
        if self.kind is Kind.EMPTY:
            return 0
        if self.kind is Kind.SPARSE:
            return int(sparse_turns(self.indices, self.rice).max())
        return -(-self.outputs // 2)

    def weights(self, rows: slice = slice(None)) -> np.ndarray:
        """The weights int8 [n, B], or those of the segments ``rows``."""
        if self.kind is Kind.PREFIX:
            return self.levels[self.indices[rows]]
        if self.kind is Kind.SPARSE:
            return np.concatenate([np.zeros(1, dtype=np.int8), self.levels])[self.indices[rows]]
        if self.kind is Kind.DENSE8:
            return self.indices[rows]
        return np.zeros((len(self.indices[rows]), self.outputs), dtype=np.int8)

    def nonzeros(self) -> int:
        """How many of the weights are not zero."""
        if self.kind is Kind.PREFIX:
            return self.features * int(self.counts[self.levels != 0].sum())
        return int(np.count_nonzero(self.indices))

    def magnitudes(self) -> np.ndarray:
        """The sum of ``|w|`` over the features for each output, int64 [B]."""
        total = np.zeros(self.outputs, dtype=np.int64)
        if self.kind is Kind.EMPTY:
            return total
        for start in range(0, self.features, _ROWS):
            total += np.abs(self.weights(slice(start, start + _ROWS)), dtype=np.int16).sum(axis=0, dtype=np.uint16)
        return total


def check_sparse_code(levels: np.ndarray, rice: int) -> None:
    """Raise ModelError unless a sparse class can have these nonzero levels and this Rice parameter."""
    if levels.dtype != np.int8 or levels.ndim != 1 or not 1 <= levels.size <= MAX_SPARSE_LEVELS:
        raise ModelError(f"Levels of a sparse class must be int8 [1] to [{MAX_SPARSE_LEVELS}], not {levels.dtype} {list(levels.shape)}")
    if not levels.all() or np.unique(levels).size != levels.size:
        raise ModelError(f"Levels of a sparse class must be distinct and not 0, not {levels.tolist()}")
    check_integer("Rice parameter of a sparse class", rice, 0, most_rice(levels.size))


def _check_sparse_indices(levels: np.ndarray, indices: np.ndarray) -> None:
    if indices.dtype != np.uint8 or indices.ndim != 2 or not indices.size or indices.max() > levels.size:
        raise ModelError(f"Indices of a sparse class must be uint8 [n, B] up to {levels.size}, not {indices.dtype} {list(indices.shape)} "
                         f"up to {indices.max(initial=0)}")
