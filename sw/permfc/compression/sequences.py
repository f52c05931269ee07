"""Levels and composition of a common sequence: entropy-constrained scalar quantisation of sorted profiles.

The segments of a class are permutations of one sequence, so only the mean of their sorted columns, the *profile*, matters: its B ranks
are divided into at most 16 runs; a run's mean is a level, its length the level's count. The best division under a rate target is
entropy-constrained scalar quantisation (Chou, Lookabaugh, Gray 1989), with Huffman lengths for the rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format import MAX_CODE_BITS, MAX_LEVELS

PREFIX = -1  # in place of a Rice parameter

_ITERATIONS = 8
_STEP_FACTORS = (0.8, 1.0, 1.3)  # start points: multiples of the uniform step that is optimal at high rate
_UNUSED_BITS = 40.0              # codeword length that keeps an unused level unused
# Shares of the total to which small counts are raised until no codeword is too long. The last always suffices: a Huffman codeword of
# 9 bits needs a symbol rarer than 1/89, a Fibonacci number (Katona, Nemetz 1976), and 1/64 of the old total is at least 1/79 of the new.
_LEAST_SHARES = (1 / 256, 1 / 150, 1 / 100, 1 / 64)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Common sequences of P profiles, S choices each, from few bits to many.

    Members
    -------
    levels : float64 [P, S, K]
        Ascending over the used levels; unused ones come last and are 0.
    counts : int64 [P, S, K]
        Ranks of each level, 0 for an unused one.
    bits : int64 [P, S]
        Bits of one segment, without padding.
    error : float64 [P, S]
        Squared error of the sequence against the profile, summed over ranks.
    rice : int64 [P, S]
        Rice parameter of a sparse class; PREFIX for a prefix class.
    """

    levels: np.ndarray
    counts: np.ndarray
    bits: np.ndarray
    error: np.ndarray
    rice: np.ndarray

    def select(self, choice: np.ndarray) -> Candidates:
        """The choice numbers ``choice`` int [P], one a profile, as Candidates without the axis S."""
        rows = np.arange(len(choice))
        return Candidates(*(array[rows, choice] for array in self.arrays()))

    def beside(self, other: Candidates) -> Candidates:
        """The choices of both."""
        return Candidates(*(np.concatenate(pair, axis=1) for pair in zip(self.arrays(), other.arrays(), strict=True)))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The members in order."""
        return self.levels, self.counts, self.bits, self.error, self.rice


def no_sequences(profiles: np.ndarray) -> Candidates:
    """One choice for each of ``profiles`` float [P, B]: nothing but zeros, for layers whose classes have no sequences."""
    count, ranks = profiles.shape
    zeros, none = np.zeros((count, 1, 1)), np.zeros((count, 1), dtype=np.int64)
    return Candidates(zeros, np.full(zeros.shape, ranks), none, np.square(profiles, dtype=np.float64).sum(axis=1, keepdims=True), none + PREFIX)


def quantise_profiles(profiles: np.ndarray, slopes: np.ndarray, max_levels: int = MAX_LEVELS) -> Candidates:
    """Common sequences that minimise squared error + slope * bits, for several slopes.

    Parameters
    ----------
    profiles : float [P, B]
        Each row ascending.
    slopes : float [P, S]
        Squared error that one bit is worth, positive.
    max_levels : int
        Most levels K of a sequence.

    Returns
    -------
    Candidates
        With S * 3 choices a profile: each slope from three start points.
    """
    profiles = np.asarray(profiles, dtype=np.float64)
    count, ranks = profiles.shape
    factors = np.repeat(_STEP_FACTORS, slopes.shape[1])
    slopes = np.tile(slopes, (1, len(_STEP_FACTORS)))
    sums = np.concatenate([np.zeros((count, 1)), np.cumsum(profiles, axis=1)], axis=1)
    rows = np.arange(count)[:, None, None]

    levels = _uniform_levels(profiles, slopes, factors, max_levels)
    lengths = np.full(levels.shape, np.log2(max_levels))
    beyond = np.abs(profiles).max() * 1e6 + 1.0
    for iteration in range(_ITERATIONS):
        edges = _rank_edges(profiles, levels, lengths, slopes)
        counts = np.diff(edges, axis=-1)
        levels = np.diff(sums[rows, edges], axis=-1) / np.maximum(counts, 1)
        order = np.argsort(counts == 0, axis=-1, kind="stable")
        counts, levels = np.take_along_axis(counts, order, -1), np.take_along_axis(levels, order, -1)
        if iteration == _ITERATIONS - 1:
            break
        used = counts > 0
        if iteration < _ITERATIONS - 2:
            lengths = np.where(used, -np.log2(np.maximum(counts, 1) / ranks), _UNUSED_BITS)
        else:
            lengths = np.where(used, huffman_lengths(counts), _UNUSED_BITS)
        levels = np.where(used, levels, beyond * np.arange(1, max_levels + 1))

    energy = np.square(profiles).sum(axis=1)
    error = np.maximum(energy[:, None] - (counts * np.square(levels)).sum(axis=-1), 0.0)
    bits = (counts * huffman_lengths(counts)).sum(axis=-1)
    return Candidates(levels, counts, bits, error, np.full_like(bits, PREFIX))


def _uniform_levels(profiles: np.ndarray, slopes: np.ndarray, factors: np.ndarray, max_levels: int) -> np.ndarray:
    """Start levels [P, S, K]: multiples of a step around the middle of the profile, one of them zero if zero is inside.

    At high rate the best step has step**2 / 12 error a sample and slope = 2 ln 2 * error, hence step = sqrt(6 * slope / ln 2).
    """
    low, high = profiles[:, :1], profiles[:, -1:]
    step = np.sqrt(6.0 * slopes / np.log(2.0)) * factors
    step = np.maximum(step, (high - low) / (max_levels - 1) + 1e-30)
    first = np.round((low + high) / (2.0 * step)) - (max_levels - 1) // 2
    return (first[..., None] + np.arange(max_levels)) * step[..., None]


def _rank_edges(profiles: np.ndarray, levels: np.ndarray, lengths: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """The ranks where a level's run begins and ends, int64 [P, S, K + 1], for ascending levels."""
    gaps = np.maximum(np.diff(levels, axis=-1), 1e-30)
    thresholds = (levels[..., 1:] + levels[..., :-1]) / 2 + slopes[..., None] * np.diff(lengths, axis=-1) / (2 * gaps)
    thresholds = np.maximum.accumulate(thresholds, axis=-1)
    edges = np.zeros((*levels.shape[:-1], levels.shape[-1] + 1), dtype=np.int64)
    for profile, limits, places in zip(profiles, thresholds, edges, strict=True):
        places[:, 1:-1] = np.searchsorted(profile, limits)
    edges[..., -1] = profiles.shape[1]
    return edges


def huffman_lengths(counts: np.ndarray) -> np.ndarray:
    """Codeword lengths of at most 8 bits for many compositions at once.

    Optimal where the unbounded Huffman code has no longer codeword; elsewhere near: small counts are raised so that it has none.
    The bits computed from them are never fewer than those of the optimal code that ``permfc.huffman`` builds.

    Parameters
    ----------
    counts : int [..., K]
        At least one is positive; K is at most 16.

    Returns
    -------
    int64 [..., K]
        0 for a count of 0; 1 for the only positive count.
    """
    flat = np.asarray(counts, dtype=np.float64).reshape(-1, counts.shape[-1])
    lengths = _unbounded_lengths(flat)
    for share in _LEAST_SHARES:
        long = (lengths > MAX_CODE_BITS).any(axis=1)
        if not long.any():
            break
        raised = np.maximum(flat[long], flat[long].sum(axis=1, keepdims=True) * share)
        lengths[long] = _unbounded_lengths(np.where(flat[long] > 0, raised, 0.0))
    return lengths.reshape(counts.shape)


def _unbounded_lengths(counts: np.ndarray) -> np.ndarray:
    """Huffman lengths int64 [S, K] of float [S, K]: K - 1 merges, each done for all S at once."""
    sets, symbols = counts.shape
    rows = np.arange(sets)
    weights = np.where(counts > 0, counts, np.inf)
    members = np.tile(np.eye(symbols, dtype=bool), (sets, 1, 1))
    lengths = np.zeros((sets, symbols), dtype=np.int64)
    for _ in range(symbols - 1):
        first = weights.argmin(axis=1)
        first_weight = weights[rows, first]
        weights[rows, first] = np.inf
        second = weights.argmin(axis=1)
        merged = np.isfinite(weights[rows, second])
        if not merged.any():
            break
        both = (members[rows, first] | members[rows, second]) & merged[:, None]
        lengths += both
        members[rows, second] |= both
        weights[rows, second] += np.where(merged, first_weight, 0.0)
    alone = (counts > 0).sum(axis=1) == 1
    lengths[alone] = counts[alone] > 0
    return lengths
