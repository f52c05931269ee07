"""How many nonzero weights each feature may have, and which: the bit budget of sparse segments during training.

A feature that gets a number of words can hold so many nonzero weights, whichever these are (the Elias-Fano bound), so its share of a
layer's words decides how many it keeps. Features with equal words form a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..network.sparse import LEVEL_CODE_BITS, most_rice, sparse_bits

_BISECTIONS = 50
MOST_EXTRA = 8  # nonzero weights beyond the bound; hardly a segment has room for more
_SWAPS = 3  # rounds over the sizes in use, each moved to where it gains most; more rounds change nothing


@dataclass(frozen=True, eq=False)
class Capacities:
    """What always fits a sparse segment of 0, 1, 2, ... words; the last entry holds all outputs.

    Members
    -------
    nonzeros : int64 [W]
        Most nonzero weights.
    rice : int64 [W]
        The Rice parameter with which they fit.
    """

    nonzeros: np.ndarray
    rice: np.ndarray


@cache
def capacities(outputs: int, levels_count: int, bus_bits: int) -> Capacities:
    """The capacities of the segments of a block.

    With n nonzero weights a segment takes at most ``n * (1 + l + level bits) + ((B - n + 2 * (2**l - 1)) >> l)`` bits (docs/format.md).

    Parameters
    ----------
    outputs : int
        Outputs of the block, B.
    levels_count : int
        Nonzero levels, 1 to 4.
    bus_bits : int
    """
    nonzeros = np.arange(outputs + 1)
    rice = np.arange(most_rice(levels_count) + 1)[:, None]
    zeros = outputs - nonzeros + 2 * ((1 << rice) - 1) >> rice
    bits = nonzeros * (1 + rice + max(LEVEL_CODE_BITS[levels_count])) + zeros
    sizes = np.maximum.accumulate(-(-bits.min(axis=0) // bus_bits))
    most = np.searchsorted(sizes, np.arange(sizes[-1] + 1), side="right") - 1
    most = np.maximum(most, 0)
    most[0] = 0
    return Capacities(most, bits.argmin(axis=0)[most])


def extra(places: np.ndarray, kept: np.ndarray, rice: np.ndarray, bits: np.ndarray, outputs: int, levels_count: int) -> np.ndarray:
    """How many more nonzero weights fit than the bound says, as runs of zeros seldom are the worst possible; int64 [n].

    Parameters
    ----------
    places : int64 [n, at least kept + 8 or outputs]
        Outputs in packed order, that of the largest weight first.
    kept, rice, bits : int64 [n]
        Nonzero weights that fit in any case, Rice parameter, and bits of each segment.
    outputs, levels_count : int
    """
    more = np.zeros(len(places), dtype=np.int64)
    rank = np.arange(places.shape[1])
    for parameter in np.unique(rice):
        rows = np.flatnonzero(rice == parameter)
        for count in range(1, MOST_EXTRA + 1):
            indices = np.zeros((len(rows), outputs), dtype=np.uint8)
            np.put_along_axis(indices, places[rows], (rank < (kept[rows] + count)[:, None]).astype(np.uint8), axis=1)
            more[rows] += (sparse_bits(indices, levels_count, int(parameter)) <= bits[rows]) & (kept[rows] + count <= outputs)
    return more


def allocate(saliency: np.ndarray, capacity: np.ndarray, words: int, classes: int) -> np.ndarray:
    """Words for each feature so that the saliency of the weights that fit is as large as possible.

    Lagrangian: a feature takes the size with the largest ``saliency kept - price * words``; the price is the lowest at which all
    features together keep to the budget.

    Parameters
    ----------
    saliency : float [N, B]
        Importance of each weight, not negative.
    capacity : int64 [W]
        Nonzero weights that fit 0, 1, 2, ... words.
    words : int
        Budget of all features.
    classes : int
        Most different sizes, 0 included.

    Returns
    -------
    int64 [N]
    """
    ordered = -np.sort(-saliency, axis=1)
    total = np.concatenate([np.zeros((len(ordered), 1)), np.cumsum(ordered, axis=1, dtype=np.float64)], axis=1)
    kept = total[:, capacity]
    low, high = 0.0, float(kept.max()) + 1.0
    best = np.zeros(len(saliency), dtype=np.int64)
    for _ in range(_BISECTIONS):
        price = (low + high) / 2
        sizes = _sizes(kept - price * np.arange(len(capacity)), classes)
        if sizes.sum() <= words:
            high, best = price, sizes
        else:
            low = price
    return best


def _sizes(gain: np.ndarray, classes: int) -> np.ndarray:
    """The size of each feature, int64 [N], for what each size gains [N, W], with at most ``classes`` sizes: greedy, then by swaps."""
    chosen, reached = [0], gain[:, 0]
    while len(chosen) < classes:
        improvement = np.maximum(gain - reached[:, None], 0).sum(axis=0)
        size = int(improvement.argmax())
        if improvement[size] <= 0:
            break
        chosen.append(size)
        reached = np.maximum(reached, gain[:, size])
    for _ in range(_SWAPS):
        for number in range(1, len(chosen)):
            others = gain[:, [size for place, size in enumerate(chosen) if place != number]].max(axis=1)
            chosen[number] = int(np.maximum(gain - others[:, None], 0).sum(axis=0).argmax())
    sizes = np.array(sorted(set(chosen)))
    return sizes[gain[:, sizes].argmax(axis=1)]
