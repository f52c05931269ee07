"""Classes of a layer: which features share a common sequence, and which sequence, by rate and distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fit import Candidates, quantise_profiles
from .format import BLOCK_HEADER, CLASS_INFO, LEVEL_ENTRY, MAX_CLASSES, MAX_LEVELS, padded, words

EMPTY = -1  # the class of features whose weights become zero
DENSE = -2  # the class of features that keep int8 weights
MOST_CLASSES = MAX_CLASSES - 3  # prefix classes, beside an empty class and the two slots of a dense8 class

_SLOPES = np.geomspace(0.12, 8.0, 16)  # around the slope of a class, so that some choice just fills its last bus word


@dataclass(eq=False)
class _Block:
    """The common sequences of one block, one a class."""

    sorted_columns: np.ndarray            # float32 [N, B]: each feature's weights in ascending order
    candidates: Candidates | None = None  # for each class, possible sequences
    choice: np.ndarray | None = None      # int [G]: the one taken

    @property
    def outputs(self) -> int:
        return self.sorted_columns.shape[1]

    @property
    def taken(self) -> Candidates:
        return self.candidates.select(self.choice)


class ClassFit:
    """Clusters the features of one layer into classes and chooses their common sequences.

    The squared error of a feature's weights counts ``importance`` times; the bits of a segment count in whole bus words.
    Assignment and sequences are improved in turn (an entropy-constrained vector quantiser, with sorted columns as vectors).

    Members
    -------
    weights : float32 [M, N]
    importance : float64 [N]
        Not negative.
    block_outputs, word_bits : int
    classes : int
        Prefix classes G to start with, 1 to 13.
    stands_for : float
        Features of the layer that one column stands for, when ``weights`` is a sample of the layer's columns.
    levels : int
        Most levels of a sequence; below 16, no feature is stored as dense8.
    assignment : int64 [N]
        Class of each feature: 0 to G - 1, EMPTY or DENSE.
    """

    def __init__(self, weights: np.ndarray, importance: np.ndarray, block_outputs: int, word_bits: int,
                 classes: int, stands_for: float = 1.0, levels: int = MAX_LEVELS) -> None:
        outputs, features = weights.shape
        self.weights = weights
        self.importance = importance
        self.word_bits = word_bits
        self.classes = max(1, min(classes, features, MOST_CLASSES))
        self.stands_for = stands_for
        self.levels = levels
        starts = range(0, outputs, block_outputs)
        self._blocks = [_Block(np.sort(weights[start:start + block_outputs].T, axis=1)) for start in starts]
        self._energy = np.square(weights, dtype=np.float64).sum(axis=0)
        # Levels and dense8 weights are rounded to 1/127 of the largest weight: the error of a uniform distribution.
        self._rounding = outputs * (np.abs(weights).max() / 127.0) ** 2 / 12.0
        self.assignment = self._by_energy()

    def _by_energy(self) -> np.ndarray:
        """Features in classes of equal size by their share of the output's energy; those without any in EMPTY."""
        energy = self.importance * self._energy
        assignment = np.full(len(energy), EMPTY)
        alive = np.flatnonzero(energy > 0)
        order = alive[np.argsort(energy[alive], kind="stable")]
        assignment[order] = np.arange(len(order)) * self.classes // max(len(order), 1)
        return assignment

    @property
    def _members(self) -> np.ndarray:
        """Value of the one-hot assignment to prefix classes, bool [N, G]."""
        return self.assignment[:, None] == np.arange(self.classes)

    @property
    def sizes(self) -> np.ndarray:
        """Value of the columns in each prefix class, int64 [G]."""
        return self._members.sum(axis=0)

    def improve(self, slope: float, rounds: int) -> float:
        """Refit the sequences and reassign the features ``rounds`` times, then refit once more.

        Parameters
        ----------
        slope : float
            Weighted squared error that one bit is worth, positive.
        rounds : int
            At least 1.

        Returns
        -------
        float
            Error + slope * bits of the layer, as it was before the last refit.
        """
        if (self.assignment == EMPTY).all():
            self.assignment = self._by_energy()
        for _ in range(rounds):
            self.refit(slope)
            cost = self.reassign(slope)
        self.refit(slope)
        return self.stands_for * cost + slope * self._header_bits()

    def refit(self, slope: float) -> None:
        """Choose the best sequences for the assignment as it is."""
        members = self._members
        sizes, weight = members.sum(axis=0), self.importance @ members
        alive = weight > 0
        share = (members * self.importance[:, None] / np.where(alive, weight, 1.0)).astype(np.float32)
        class_slopes = np.where(alive, slope * sizes / np.where(alive, weight, 1.0), 1.0)
        for block in self._blocks:
            # Means of ascending columns ascend but for rounding, and so they must. (einsum, because these products are many and thin:
            # a BLAS with several threads is slower, and much slower on a busy machine.)
            profiles = np.maximum.accumulate(np.einsum("ng,nb->gb", share, block.sorted_columns), axis=1)
            block.candidates = quantise_profiles(profiles, class_slopes[:, None] * _SLOPES, self.levels)
            bits = words(block.candidates.bits, self.word_bits) * self.word_bits
            cost = weight[:, None] * block.candidates.error + slope * sizes[:, None] * bits
            block.choice = cost.argmin(axis=1)

    def reassign(self, slope: float) -> float:
        """Move every feature to the class that costs it least in error + slope * bits; return the sum of those costs."""
        cost = np.full((len(self.importance), self.classes + 2), 0.0)
        cost[:, :self.classes] = self._energy[:, None] + self._rounding
        bits = np.zeros(self.classes + 2)
        for block in self._blocks:
            taken = block.taken
            sequences = np.stack([np.repeat(levels, counts) for levels, counts in zip(taken.levels, taken.counts, strict=True)])
            cross = np.einsum("nb,gb->ng", block.sorted_columns, sequences.astype(np.float32))
            cost[:, :self.classes] += np.square(sequences).sum(axis=1) - 2.0 * cross
            bits[:self.classes] += words(taken.bits, self.word_bits) * self.word_bits
            bits[DENSE] += self._dense_bits(block)
        cost[:, DENSE] = self._rounding
        cost[:, EMPTY] = self._energy
        cost = self.importance[:, None] * cost + slope * bits
        cost[:, :self.classes][:, self.sizes == 0] = np.inf
        if self.levels < MAX_LEVELS:
            cost[:, DENSE] = np.inf
        best = cost.argmin(axis=1)
        self.assignment = np.where(best >= self.classes, best - (self.classes + 2), best)
        self._refill()
        return float(cost[np.arange(len(best)), best].sum())

    def _refill(self) -> None:
        """Give each class that lost all features the upper half of the largest class."""
        sizes = self.sizes
        for vacant in np.flatnonzero(sizes == 0):
            largest = int(sizes.argmax())
            if sizes[largest] < 8:
                return
            members = np.flatnonzero(self.assignment == largest)
            key = self._energy[members] * (self.importance[members] if vacant % 2 else 1.0)
            moved = members[np.argsort(key, kind="stable")[len(members) // 2:]]
            self.assignment[moved] = vacant
            sizes = self.sizes

    def _dense_bits(self, block: _Block) -> int:
        return 2 * words(4 * block.outputs, self.word_bits) * self.word_bits

    @property
    def slots(self) -> int:
        """Value of the class slots in use."""
        used = np.count_nonzero(self.sizes) + 2 * (DENSE in self.assignment) + (EMPTY in self.assignment)
        return int(max(used, 1))

    def image_bits(self) -> float:
        """Bits of the layer in an image: segments, descriptors, tables, biases, multipliers, padding."""
        sizes, dense = self.sizes, np.count_nonzero(self.assignment == DENSE)
        segments = sum(float(sizes @ words(block.taken.bits, self.word_bits)) * self.word_bits + dense * self._dense_bits(block)
                       for block in self._blocks)
        return self.stands_for * segments + self._header_bits()

    def _header_bits(self) -> int:
        return sum(header_bits(block.outputs, self.slots, self.word_bits) for block in self._blocks)

    def spend(self, budget: float) -> float:
        """Take longer sequences where they save most error a bit, while they fit into ``budget`` bits; return what is left."""
        sizes, weight = self.sizes, self.importance @ self._members
        while True:
            best_gain, best = 0.0, None
            for block in self._blocks:
                taken = block.taken
                extra = (words(block.candidates.bits, self.word_bits) - words(taken.bits, self.word_bits)[:, None]) * self.word_bits * sizes[:, None]
                saved = weight[:, None] * (taken.error[:, None] - block.candidates.error)
                gain = np.where((extra > 0) & (extra <= budget) & (saved > 0), saved / np.maximum(extra, 1), 0.0)
                place = np.unravel_index(gain.argmax(), gain.shape)
                if gain[place] > best_gain:
                    best_gain, best = gain[place], (block, *place, extra[place])
            if best is None:
                return budget
            block, number, choice, extra_bits = best
            block.choice[number] = choice
            budget -= float(extra_bits)

    def sequences(self) -> list[Candidates]:
        """The chosen sequences: per block, Candidates of all prefix classes."""
        return [block.taken for block in self._blocks]


def header_bits(outputs: int, slots: int, word_bits: int) -> int:
    """Bits of an image that a block of ``outputs`` outputs takes beside its segments."""
    regions = (BLOCK_HEADER.itemsize, CLASS_INFO.itemsize * slots, LEVEL_ENTRY.itemsize * MAX_LEVELS * slots, 4 * outputs, 2 * outputs)
    return 8 * sum(padded(size, word_bits // 8) for size in regions)
