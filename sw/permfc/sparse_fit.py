"""Common sequences that are mostly zeros, and the choice of nonzero weights that fit into the bits of a sparse class.

A sparse class is planned like a prefix class, as counts of a few levels among many zeros, and costs the bits that runs of zeros take on
average. When its segments are made, each takes as many nonzero weights, wherever they help most, as its bits hold.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .fit import Candidates
from .format import MAX_LEVELS
from .sparse import CHUNK, LEVEL_CODE_BITS, most_rice, sparse_bits

SIDES = ((1, 1), (2, 2), (1, 0), (0, 1))  # negative and positive levels of the sequences that are tried
_ITERATIONS = 6
_FIRST_BITS = 6.0  # of a nonzero weight, before anything is known
_MOST_SHARE = 0.5  # of nonzero weights: with more of them a prefix code is shorter


def quantise_sparse(profiles: np.ndarray, slopes: np.ndarray, width: int = MAX_LEVELS) -> Candidates:
    """Sequences of zeros and at most four other levels that minimise squared error + slope * bits.

    Parameters
    ----------
    profiles : float [P, B]
        Each row ascending.
    slopes : float [P, S]
        Squared error that one bit is worth, positive.
    width : int
        Levels K that the result has room for, at least 5.

    Returns
    -------
    Candidates
        With S * 4 choices a profile: each slope with one or two levels on both sides of zero, and with one on one side.
    """
    profiles = np.asarray(profiles, dtype=np.float64)
    sums = np.concatenate([np.zeros((len(profiles), 1)), np.cumsum(profiles, axis=1)], axis=1)
    found = [_quantise(profiles, sums, slopes, *sides) for sides in SIDES]
    levels, counts, *rest = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return Candidates(levels[..., :width], counts[..., :width], *rest)


def _quantise(profiles: np.ndarray, sums: np.ndarray, slopes: np.ndarray, below: int, above: int) -> tuple[np.ndarray, ...]:
    """The members of Candidates for sequences with ``below`` negative and ``above`` positive levels, S choices a profile."""
    count, outputs = profiles.shape
    nonzero = np.arange(-below, above + 1) != 0
    level_bits = LEVEL_CODE_BITS[below + above][0]
    levels = np.arange(-below, above + 1) * 1.5 * np.sqrt(slopes * _FIRST_BITS)[..., None]
    lengths = np.where(nonzero, _FIRST_BITS, 0.0) * np.ones_like(levels)
    rows = np.arange(count)[:, None, None]
    for _ in range(_ITERATIONS):
        edges = _edges(profiles, levels, lengths, slopes)
        counts = np.diff(edges, axis=-1)
        means = np.diff(sums[rows, edges], axis=-1) / np.maximum(counts, 1)
        levels = np.where((counts > 0) & nonzero, means, levels)
        share = np.clip(np.where(nonzero, counts, 0).sum(axis=-1) / outputs, 0.25 / outputs, _MOST_SHARE)[..., None]
        lengths = np.where(nonzero, level_bits - np.log2(share), -np.log2(1.0 - share))
    nonzeros = np.where(nonzero, counts, 0).sum(axis=-1)
    bits, rice = _planned_bits(nonzeros, outputs, below + above)
    levels = np.where((counts > 0) & nonzero, levels, 0.0)
    error = np.square(profiles).sum(axis=1)[:, None] - (counts * (2.0 * means - levels) * levels).sum(axis=-1)
    levels, counts = (_with_width(array, counts > 0) for array in (levels, counts))
    return levels, counts, bits, np.maximum(error, 0.0), rice


def _edges(profiles: np.ndarray, levels: np.ndarray, lengths: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """The ranks where the run of each level begins and ends, int64 [P, S, K + 1]. No run of a signed level reaches beyond zero."""
    gaps = np.maximum(np.diff(levels, axis=-1), 1e-30)
    thresholds = (levels[..., 1:] + levels[..., :-1]) / 2 + slopes[..., None] * np.diff(lengths, axis=-1) / (2 * gaps)
    thresholds = np.where(levels[..., 1:] <= 0, np.minimum(thresholds, 0.0), np.maximum(thresholds, 0.0))
    thresholds = np.maximum.accumulate(thresholds, axis=-1)
    edges = np.zeros((*levels.shape[:-1], levels.shape[-1] + 1), dtype=np.int64)
    for profile, limits, places in zip(profiles, thresholds, edges, strict=True):
        places[:, 1:-1] = np.searchsorted(profile, limits)
    edges[..., -1] = profiles.shape[1]
    return edges


def _with_width(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """``values`` [P, S, K] with the used ones first, filled with zeros to [P, S, 16]."""
    order = np.argsort(~used, axis=-1, kind="stable")
    wide = np.zeros((*values.shape[:-1], MAX_LEVELS), dtype=values.dtype)
    wide[..., :values.shape[-1]] = np.take_along_axis(np.where(used, values, 0), order, -1)
    return wide


def _planned_bits(nonzeros: np.ndarray, outputs: int, levels_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean bits of segments with so many nonzero weights anywhere, int64, and the best Rice parameter."""
    table = np.stack([_mean_bits(outputs, levels_count, rice) for rice in range(most_rice(levels_count) + 1)])
    bits = table[:, nonzeros]
    return bits.min(axis=0), bits.argmin(axis=0)


@lru_cache(maxsize=64)
def _mean_bits(outputs: int, levels_count: int, rice: int) -> np.ndarray:
    """Mean bits of a segment with 0 to ``outputs`` nonzero weights at random places, int64 [outputs + 1].

    Runs of zeros then have a geometric distribution: with m = 2**rice and a share q of zeros, floor(run / m) is q**m / (1 - q**m) on
    average, and the zeros at the end of each of the two streams take q / (1 - q**m) bits, but no more than all of them.
    """
    nonzeros = np.arange(outputs + 1)
    run = 1 << rice
    zeros = 1.0 - nonzeros / outputs
    others = np.maximum(1.0 - zeros ** run, 1e-12)
    trailing = np.minimum(zeros / others, -(-outputs // 2) / run + 1.0)
    between = np.minimum(nonzeros * zeros ** run / others, (outputs - nonzeros) / run)
    fixed = nonzeros * (1 + rice + LEVEL_CODE_BITS[levels_count][0])
    least = outputs // run + 2  # zeros alone
    return np.maximum(np.ceil(fixed + between + 2.0 * trailing).astype(np.int64), least)


def nearest_levels(columns: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each weight of ``columns`` [n, B] the best of ``levels`` [K], uint8 numbers, and the squared error it saves against zero, float32."""
    best = np.zeros(columns.shape, dtype=np.uint8)
    gain = np.full(columns.shape, -np.inf, dtype=np.float32)
    for number, level in enumerate(levels.astype(np.float32)):
        saved = (2.0 * columns - level) * level
        better = saved > gain
        best[better] = number
        gain = np.where(better, saved, gain)
    return best, gain


def choose_nonzeros(columns: np.ndarray, levels: np.ndarray, rice: int, bits: int) -> np.ndarray:
    """Sparse segments of at most ``bits`` bits: each takes as many of the weights that save most error as fit.

    Parameters
    ----------
    columns : float32 [n, B]
    levels : float [K]
        Nonzero levels in units of the weights, K = 1, 2 or 4.
    rice : int
    bits : int
        At least what a segment of zeros takes.

    Returns
    -------
    uint8 [n, B]
        0 for a zero weight, k + 1 for level k.
    """
    indices = np.empty(columns.shape, dtype=np.uint8)
    step = max(CHUNK // columns.shape[1], 1)
    for start in range(0, len(columns), step):
        part = slice(start, start + step)
        indices[part] = _choose(columns[part], levels, rice, bits)
    return indices


def _choose(columns: np.ndarray, levels: np.ndarray, rice: int, bits: int) -> np.ndarray:
    outputs = columns.shape[1]
    best, gain = nearest_levels(columns, levels)
    numbers = best + np.uint8(1)
    least, most = _nonzero_limits(outputs, levels.size, rice, bits)
    helpful = (gain > 0).sum(axis=1)
    low, high = np.minimum(least, helpful), np.minimum(most, helpful)  # low surely fits
    order = np.argsort(-gain, axis=1, kind="stable")[:, :max(int(high.max()), 1)]
    numbers = np.take_along_axis(numbers, order, axis=1)
    place = np.arange(order.shape[1])

    def of(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
        indices = np.zeros((len(rows), outputs), dtype=np.uint8)
        np.put_along_axis(indices, order[rows], np.where(place < counts[:, None], numbers[rows], 0).astype(np.uint8), axis=1)
        return indices

    open_rows = np.flatnonzero(low < high)
    while open_rows.size:
        middle = (low[open_rows] + high[open_rows] + 1) // 2
        fits = sparse_bits(of(middle, open_rows), levels.size, rice) <= bits
        low[open_rows] = np.where(fits, middle, low[open_rows])
        high[open_rows] = np.where(fits, high[open_rows], middle - 1)
        open_rows = open_rows[low[open_rows] < high[open_rows]]
    return of(low, np.arange(len(columns)))


def _nonzero_limits(outputs: int, levels_count: int, rice: int, bits: int) -> tuple[int, int]:
    """How many nonzero weights surely fit into ``bits``, by the Elias-Fano bound, and how many might at best."""
    run, each = 1 << rice, 1 + rice + LEVEL_CODE_BITS[levels_count][0]
    counts = np.arange(outputs + 1)
    bound = counts * each + (outputs - counts + 2 * (run - 1)) // run
    return int(np.searchsorted(bound, bits, side="right")) - 1, min(bits // each, outputs)
