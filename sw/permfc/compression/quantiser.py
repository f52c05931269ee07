"""The integer weights of a layer whose classes and sequences are fixed: levels in int8, and the best segments that they allow."""

from __future__ import annotations

import numpy as np

from ..format import BIAS_UNIT
from ..network import Segments
from .classes import DENSE, EMPTY, ClassFit
from .sequences import PREFIX
from .sparse_sequences import choose_nonzeros

_BIAS_LIMIT = BIAS_UNIT * ((1 << 15) - 1)
_LARGEST = 127
_SAMPLE_FEATURES = 256  # of a class, on which the levels of sparse segments are refined
_REFINEMENTS = 2
_SORTED_WEIGHTS = 1 << 24  # sorted at once, which takes 8 bytes each


class Quantiser:
    """Makes segments of columns of weights: by rank in a prefix class, those that save most error in a sparse one.

    Members
    -------
    fit : ClassFit
    unit : float
        The weight that integer level 1 stands for: the largest level or dense8 weight becomes 127.
    bias : float [M]
        In units of the layer's weights times its features' steps; it must fit an accumulator.
    """

    def __init__(self, fit: ClassFit, bias: np.ndarray) -> None:
        self.fit = fit
        self._rows = fit.storage.block_rows(len(fit.weights))
        self._sequences = fit.sequences()
        levels = [[self._float_levels(block, label) for label in range(fit.classes)] for block in range(len(self._rows))]
        largest = max((float(np.abs(each).max(initial=0.0)) for block in levels for each in block), default=0.0)
        largest = max(largest, float(np.abs(fit.weights[:, fit.assignment == DENSE]).max(initial=0.0)))
        self.unit = max(largest / _LARGEST, float(np.abs(bias).max()) / (_BIAS_LIMIT / 2), 1e-30)
        self._levels = [[self._int8_levels(block, label, each) for label, each in enumerate(values)] for block, values in enumerate(levels)]

    def _is_sparse(self, label: int) -> bool:
        return self._sequences[0].rice[label] != PREFIX

    def _float_levels(self, block: int, label: int) -> np.ndarray:
        """Levels in units of the weights: those of the sequence, or for a sparse class the means of the weights that become nonzero."""
        sequence = self._sequences[block]
        levels = sequence.levels[label]
        members = np.flatnonzero(self.fit.assignment == label)
        if not len(members):
            return np.zeros(0)
        if not self._is_sparse(label):
            return levels
        levels = levels[levels != 0]
        if not levels.size:
            return levels
        sample = members[np.unique(np.linspace(0, len(members) - 1, min(len(members), _SAMPLE_FEATURES)).astype(np.int64))]
        columns = np.ascontiguousarray(self.fit.weights[self._rows[block]][:, sample].T)
        weight = np.broadcast_to(self.fit.importance[sample, None], columns.shape).astype(np.float64)
        for _ in range(_REFINEMENTS):
            indices = choose_nonzeros(columns, levels, int(sequence.rice[label]), self._capacity(block, label)).reshape(-1)
            total = np.bincount(indices, weight.reshape(-1), levels.size + 1)[1:]
            moment = np.bincount(indices, (weight * columns).reshape(-1), levels.size + 1)[1:]
            levels = np.where(total > 0, moment / np.where(total > 0, total, 1.0), levels)
        return levels

    def _int8_levels(self, block: int, label: int, levels: np.ndarray) -> np.ndarray:
        rounded = np.clip(np.rint(levels / self.unit), -_LARGEST, _LARGEST).astype(np.int8)
        return _distinct(rounded) if self._is_sparse(label) else rounded

    def _capacity(self, block: int, label: int) -> int:
        storage = self.fit.storage
        return min(int(storage.whole_words(self._sequences[block].bits[label])), storage.segment_bits)

    def segments(self, block: int, label: int, first: int, columns: np.ndarray) -> Segments:
        """The segments of one class in one block.

        Parameters
        ----------
        block : int
        label : int
            Number of the class, DENSE or EMPTY.
        first : int
            First feature in packed order.
        columns : float32 [n, B]
            In units of the fit's weights.
        """
        if label == EMPTY:
            return Segments.empty(first, *columns.shape)
        if label == DENSE:
            return Segments.dense8(first, self._dense(columns))
        levels, indices = self._levels[block][label], self._indices(block, label, columns)
        if self._is_sparse(label):
            return Segments.sparse(first, levels, indices)
        return Segments.prefix(first, levels, self._sequences[block].counts[label], indices)

    def integers(self, label: int, column: np.ndarray) -> np.ndarray:
        """The weights that one feature of a class gets for the column float32 [M], int8 [M]."""
        if label == EMPTY:
            return np.zeros(len(column), dtype=np.int8)
        if label == DENSE:
            return self._dense(column)
        parts = []
        for block, rows in enumerate(self._rows):
            levels, indices = self._levels[block][label], self._indices(block, label, column[None, rows])[0]
            parts.append(np.concatenate([np.zeros(1, dtype=np.int8), levels])[indices] if self._is_sparse(label) else levels[indices])
        return np.concatenate(parts)

    def _dense(self, columns: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(columns / self.unit), -_LARGEST, _LARGEST).astype(np.int8)

    def _indices(self, block: int, label: int, columns: np.ndarray) -> np.ndarray:
        """Indices uint8 [n, B] of a prefix or sparse class."""
        sequence = self._sequences[block]
        if self._is_sparse(label):
            return choose_nonzeros(columns, self._levels[block][label] * self.unit, int(sequence.rice[label]), self._capacity(block, label))
        by_rank = np.repeat(np.arange(sequence.levels.shape[1], dtype=np.uint8), sequence.counts[label])
        indices = np.empty(columns.shape, dtype=np.uint8)
        step = max(_SORTED_WEIGHTS // columns.shape[1], 1)
        for start in range(0, len(columns), step):
            part = slice(start, start + step)
            np.put_along_axis(indices[part], np.argsort(columns[part], axis=1, kind="stable"), by_rank[None], axis=1)
        return indices


def _distinct(levels: np.ndarray) -> np.ndarray:
    """Ascending int8 levels [K] of a sparse class made distinct and nonzero, each moved as little as that takes."""
    negative, positive = levels[levels < 0].astype(np.int64), levels[levels >= 0].astype(np.int64)
    magnitudes = [_ascending(-negative[::-1]), _ascending(positive)]
    values = np.concatenate([-magnitudes[0][::-1], magnitudes[1]]).astype(np.int8)
    return values if values.size else np.ones(1, dtype=np.int8)


def _ascending(magnitudes: np.ndarray) -> np.ndarray:
    """Magnitudes of at most 127, each at least one more than the one before it, and at least 1."""
    steps = np.arange(magnitudes.size)
    raised = np.maximum.accumulate(np.maximum(magnitudes, 1) - steps) + steps
    return np.minimum(raised, _LARGEST - steps[::-1])
