"""Classes of a layer: which features share a common sequence, and which sequence, by rate and distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format import MAX_CLASSES
from ..network import Kind
from .overhead import Storage
from .sequences import PREFIX, Candidates, no_sequences, quantise_profiles
from .sparse_sequences import quantise_sparse

EMPTY = -1  # the class of features whose weights become zero
DENSE = -2  # the class of features that keep int8 weights
MOST_CLASSES = MAX_CLASSES - 3  # classes with sequences, beside an empty class and the two slots of a dense8 class

_SLOPES = np.geomspace(0.12, 8.0, 16)  # around the slope of a class, so that some choice just fills its last bus word

_LEAST_ENERGY = 0.01  # of the average feature's: one with less, which was always zero in calibration, stays without weights
_ROUNDS = 5        # of improvement before the cost is looked at
_MOST_REPEATS = 4
_REPEATED_WEIGHTS = 1 << 23  # of larger layers, each repeat would take minutes
_SETTLED = 2e-3    # of the cost: less than that is not worth further rounds


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
    storage : Storage
    classes : int
        Classes with sequences G to start with, prefix or sparse, 1 to 13.
    stands_for : float
        Features of the layer that one column stands for, when ``weights`` is a sample of the layer's columns.
    assignment : int64 [N]
        Class of each feature: 0 to G - 1, EMPTY or DENSE.
    """

    def __init__(self, weights: np.ndarray, importance: np.ndarray, storage: Storage, classes: int, stands_for: float = 1.0) -> None:
        outputs, features = weights.shape
        self.weights = weights
        self.importance = importance
        self.storage = storage
        self.classes = max(1, min(classes, features, MOST_CLASSES))
        self.stands_for = stands_for
        self._blocks = [_Block(np.sort(weights[rows].T, axis=1)) for rows in storage.block_rows(outputs)]
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

    def settle(self, slope: float) -> float:
        """``improve`` until that saves hardly anything; return the error + slope * bits."""
        cost = self.improve(slope, _ROUNDS)
        for _ in range(_MOST_REPEATS if self.weights.size <= _REPEATED_WEIGHTS else 0):
            before, cost = cost, self.improve(slope, _ROUNDS)
            if cost > (1.0 - _SETTLED) * before:
                break
        return cost

    def refit(self, slope: float) -> None:
        """Choose the best sequences for the assignment as it is."""
        members = self._members
        sizes, weight = members.sum(axis=0), self.importance @ members
        alive = weight > 0
        share = (members * self.importance[:, None] / np.where(alive, weight, 1.0)).astype(np.float32)
        class_slopes = np.where(alive, slope * sizes / np.where(alive, weight, 1.0), 1.0)
        costs = []
        for block in self._blocks:
            # Means of ascending columns ascend but for rounding, and so they must. (einsum, because these products are many and thin:
            # a BLAS with several threads is slower, and much slower on a busy machine.)
            profiles = np.maximum.accumulate(np.einsum("ng,nb->gb", share, block.sorted_columns), axis=1)
            block.candidates = self._candidates(profiles, class_slopes[:, None] * _SLOPES)
            bits = self.storage.whole_words(block.candidates.bits)
            cost = weight[:, None] * block.candidates.error + slope * sizes[:, None] * bits
            costs.append(np.where(bits <= self.storage.segment_bits, cost, np.inf))
        for block, choice in zip(self._blocks, self._cheapest(costs), strict=True):
            block.choice = choice

    def _cheapest(self, costs: list[np.ndarray]) -> list[np.ndarray]:
        """The cheapest choice of each class in each block, int [G], given ``costs`` [G, S] a block; a class is of one kind in all blocks."""
        sparse = self._blocks[0].candidates.rice != PREFIX
        by_kind = [[np.where(sparse == kind, cost, np.inf) for cost in costs] for kind in (False, True)]
        totals = [np.sum([cost.min(axis=1) for cost in kind], axis=0) for kind in by_kind]
        better = (totals[1] < totals[0])[:, None]
        return [np.where(better, as_sparse, as_prefix).argmin(axis=1) for as_prefix, as_sparse in zip(*by_kind, strict=True)]

    def _candidates(self, profiles: np.ndarray, slopes: np.ndarray) -> Candidates:
        if not self.storage.has_sequences:
            return no_sequences(profiles)
        if not self.storage.may_use(Kind.PREFIX):
            return quantise_sparse(profiles, slopes, self.storage.levels)
        prefix = quantise_profiles(profiles, slopes, self.storage.levels)
        return prefix.beside(quantise_sparse(profiles, slopes, self.storage.levels)) if self.storage.may_use(Kind.SPARSE) else prefix

    def reassign(self, slope: float) -> float:
        """Move every feature to the class that costs it least in error + slope * bits; return the sum of those costs."""
        errors, bits = self._options()
        cost = errors + slope * bits
        best = cost.argmin(axis=1)
        self.assignment = np.where(best >= self.classes, best - (self.classes + 2), best)
        self._refill()
        return float(cost[np.arange(len(best)), best].sum())

    def _options(self) -> tuple[np.ndarray, np.ndarray]:
        """What each feature may become: weighted errors float64 [N, G + 2], infinite where it may not, and bits float64 [G + 2].

        The last two columns are those of DENSE and EMPTY, which these numbers find as indices.
        """
        errors = np.full((len(self.importance), self.classes + 2), 0.0)
        errors[:, :self.classes] = self._energy[:, None] + self._rounding
        bits = np.zeros(self.classes + 2)
        for block in self._blocks:
            taken = block.taken
            sequences = np.stack([np.repeat(levels, counts) for levels, counts in zip(taken.levels, taken.counts, strict=True)])
            cross = np.einsum("nb,gb->ng", block.sorted_columns, sequences.astype(np.float32))
            errors[:, :self.classes] += np.square(sequences).sum(axis=1) - 2.0 * cross
            bits[:self.classes] += self.storage.whole_words(taken.bits)
            bits[DENSE] += self._dense_bits(block)
        errors[:, DENSE] = self._rounding
        errors[:, EMPTY] = self._energy
        errors *= self.importance[:, None]
        errors[:, :self.classes][:, self.sizes == 0] = np.inf
        if not self.storage.may_use(Kind.DENSE8):
            errors[:, DENSE] = np.inf
        if not self.storage.has_sequences:
            errors[:, :self.classes] = np.inf
        return errors, bits

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
        return 2 * self.storage.whole_words(4 * block.outputs)

    @property
    def slots(self) -> int:
        """Value of the class slots in use."""
        used = np.count_nonzero(self.sizes) + 2 * (DENSE in self.assignment) + (EMPTY in self.assignment)
        return int(max(used, 1))

    def image_bits(self) -> float:
        """Bits of the layer in an image: segments, descriptors, tables, biases, multipliers, padding."""
        sizes, dense = self.sizes, np.count_nonzero(self.assignment == DENSE)
        segments = sum(float(sizes @ self.storage.whole_words(block.taken.bits)) + dense * self._dense_bits(block)
                       for block in self._blocks)
        return self.stands_for * segments + self._header_bits()

    def _header_bits(self) -> int:
        return self.storage.header_bits(len(self.weights), self.slots)

    def spend(self, budget: float) -> float:
        """Take longer sequences where they save most error a bit, while they fit into ``budget`` bits; return what is left."""
        sizes, weight = self.sizes, self.importance @ self._members
        while True:
            best_gain, best = 0.0, None
            for block in self._blocks:
                taken = block.taken
                whole = self.storage.whole_words
                extra = (whole(block.candidates.bits) - whole(taken.bits)[:, None]) * sizes[:, None]
                saved = weight[:, None] * (taken.error[:, None] - block.candidates.error)
                same_kind = (block.candidates.rice == PREFIX) == (taken.rice == PREFIX)[:, None]
                held = whole(block.candidates.bits) <= self.storage.segment_bits
                gain = np.where(same_kind & held & (extra > 0) & (extra <= budget) & (saved > 0), saved / np.maximum(extra, 1), 0.0)
                place = np.unravel_index(gain.argmax(), gain.shape)
                if gain[place] > best_gain:
                    best_gain, best = gain[place], (block, *place, extra[place])
            if best is None:
                return budget
            block, number, choice, extra_bits = best
            block.choice[number] = choice
            budget -= float(extra_bits)

    def revive(self, budget: float) -> float:
        """Give features without weights a sequence where that saves most error a bit, while ``budget`` bits last; return what is left."""
        energy = self.importance * self._energy
        return self._move((self.assignment == EMPTY) & (energy > _LEAST_ENERGY * energy.mean()), np.flatnonzero(self.sizes), budget)

    def promote(self, budget: float) -> float:
        """Store features as dense8 where that saves most error a bit, while ``budget`` bits last; return what is left."""
        return self._move(self.assignment != DENSE, np.array([DENSE]), budget) if self.storage.may_use(Kind.DENSE8) else budget

    def _move(self, movable: np.ndarray, targets: np.ndarray, budget: float) -> float:
        """Move some of the features ``movable`` bool [N] to the classes ``targets`` int [T]; return the bits that are left."""
        if not len(targets):
            return budget
        errors, bits = self._options()
        extra = bits[targets] - bits[self.assignment][:, None]
        saved = errors[np.arange(len(errors)), self.assignment][:, None] - errors[:, targets]
        gain = np.where(movable[:, None] & (extra > 0) & (saved > 0), saved / np.maximum(extra, 1.0), 0.0)
        target = gain.argmax(axis=1)
        gain, extra = gain.max(axis=1), extra[np.arange(len(extra)), target]
        worth = np.argsort(-gain, kind="stable")[:np.count_nonzero(gain)]
        more_slots = 2 if DENSE in targets and DENSE not in self.assignment else 0
        left = budget - (self.storage.header_bits(len(self.weights), min(self.slots + more_slots, MAX_CLASSES)) - self._header_bits())
        chosen = worth[:np.searchsorted(self.stands_for * np.cumsum(extra[worth]), left, side="right")] if left > 0 else worth[:0]
        before = self.image_bits()
        self.assignment[chosen] = targets[target[chosen]]
        return budget - (self.image_bits() - before)

    def sequences(self) -> list[Candidates]:
        """The chosen sequences: per block, Candidates of all prefix classes."""
        return [block.taken for block in self._blocks]


def packed_classes(fit: ClassFit) -> list[tuple[int, np.ndarray]]:
    """The classes that have features, in packed order: number (or DENSE, EMPTY) and features, int64 [n]."""
    numbers = [*range(fit.classes), DENSE, EMPTY]
    classes = [(number, np.flatnonzero(fit.assignment == number)) for number in numbers]
    return [(number, features) for number, features in classes if len(features)]


def packed_features(fit: ClassFit) -> np.ndarray:
    """The features in packed order, int64 [N]."""
    return np.concatenate([features for _, features in packed_classes(fit)])
