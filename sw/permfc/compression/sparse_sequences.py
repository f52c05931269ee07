"""Common sequences that are mostly zeros, and the choice of nonzero weights that fit into the bits of a sparse class.

A sparse class is planned like a prefix class, as counts of a few levels among many zeros, and costs the bits that runs of zeros take on
average. When its segments are made, each takes as many nonzero weights, wherever they help most, as its bits hold.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..format import MAX_LEVELS
from ..network.sparse import CHUNK, LEVEL_CODE_BITS, most_rice, sparse_bits
from .sequences import Candidates

_POSITIONS = np.arange(-2, 3)  # of levels, zero in the middle
_USED = np.array([[0, 1, 0, 1, 0], [1, 1, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], dtype=bool)  # the sets of levels that are tried
_UNUSED_BITS = 1e6  # codeword length that keeps other levels unused
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
    outputs = profiles.shape[1]
    sums = np.concatenate([np.zeros((len(profiles), 1)), np.cumsum(profiles, axis=1)], axis=1)
    rows = np.arange(len(profiles))[:, None, None]
    used = np.repeat(_USED, slopes.shape[1], axis=0)
    level_bits = np.array([LEVEL_CODE_BITS[count][0] for count in used.sum(axis=1)])[:, None]
    slopes = np.tile(slopes, (1, len(_USED)))
    levels = _POSITIONS * 1.5 * np.sqrt(slopes * _FIRST_BITS)[..., None]
    lengths = np.where(used, _FIRST_BITS, np.where(_POSITIONS == 0, 0.0, _UNUSED_BITS)) * np.ones_like(levels)
    for _ in range(_ITERATIONS):
        edges = _edges(profiles, levels, lengths, slopes)
        counts = np.diff(edges, axis=-1)
        means = np.diff(sums[rows, edges], axis=-1) / np.maximum(counts, 1)
        levels = np.where((counts > 0) & used, means, levels)
        share = np.clip((counts * used).sum(axis=-1) / outputs, 0.25 / outputs, _MOST_SHARE)[..., None]
        lengths = np.where(used, level_bits - np.log2(share), np.where(_POSITIONS == 0, -np.log2(1.0 - share), _UNUSED_BITS))
    bits, rice = _planned_bits((counts * used).sum(axis=-1), outputs, used.sum(axis=1))
    levels = np.where((counts > 0) & used, levels, 0.0)
    error = np.square(profiles).sum(axis=1)[:, None] - (counts * (2.0 * means - levels) * levels).sum(axis=-1)
    levels, counts = (_with_width(array, counts > 0, width) for array in (levels, counts))
    return Candidates(levels, counts, bits, np.maximum(error, 0.0), rice)


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


def _with_width(values: np.ndarray, used: np.ndarray, width: int) -> np.ndarray:
    """``values`` [P, S, K] with the used ones first, filled with zeros to [P, S, width]."""
    order = np.argsort(~used, axis=-1, kind="stable")
    wide = np.zeros((*values.shape[:-1], width), dtype=values.dtype)
    wide[..., :values.shape[-1]] = np.take_along_axis(np.where(used, values, 0), order, -1)
    return wide


def _planned_bits(nonzeros: np.ndarray, outputs: int, levels_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean bits of segments with ``nonzeros`` [P, S] weights anywhere, int64, and the best Rice parameters, for ``levels_counts`` [S]."""
    bits, rice = np.empty_like(nonzeros), np.empty_like(nonzeros)
    for count in np.unique(levels_counts).tolist():
        table = np.stack([_mean_bits(outputs, count, parameter) for parameter in range(most_rice(count) + 1)])
        columns = levels_counts == count
        bits[:, columns] = table.min(axis=0)[nonzeros[:, columns]]
        rice[:, columns] = table.argmin(axis=0)[nonzeros[:, columns]]
    return bits, rice


@lru_cache(maxsize=64)
def _mean_bits(outputs: int, levels_count: int, rice: int) -> np.ndarray:
    """Mean bits of a segment with 0 to ``outputs`` nonzero weights at random places, int64 [outputs + 1].

    The zeros are shared by a run before each nonzero weight and one at the end of each of the two streams, alike in distribution: geometric, with
    a share q of zeros. With m = 2**rice, floor(run / m) is then q**m / (1 - q**m) on average, and ceil(run / m) is q / (1 - q**m).
    """
    nonzeros = np.arange(outputs + 1)
    run = 1 << rice
    zeros = (outputs - nonzeros) / (outputs + 2)
    between = nonzeros * zeros ** run / (1.0 - zeros ** run)
    trailing = zeros / (1.0 - zeros ** run)
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
