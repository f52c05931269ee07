"""How many nonzero weights each feature may have, and which: the bit budget of sparse segments during training.

A feature that gets ``w`` words can hold any ``capacity[w]`` nonzero weights among its outputs (the Elias-Fano bound), so its share of a layer's
words decides how many it keeps. Features with equal words form a class.
"""

from __future__ import annotations

import numpy as np

from ..format import MAX_SPARSE_LEVELS
from ..sparse import LEVEL_CODE_BITS, most_rice

_BISECTIONS = 50
_SWAPS = 3  # rounds over the sizes in use, each moved to where it gains most; more rounds change nothing


def capacities(outputs: int, levels_count: int, word_bits: int) -> np.ndarray:
    """Nonzero weights that always fit a sparse segment of 0, 1, 2, ... words, int64 [W]; the last entry is ``outputs``.

    Parameters
    ----------
    outputs : int
        Outputs of the block, B.
    levels_count : int
        Nonzero levels, 1 to 4.
    word_bits : int

    Returns
    -------
    int64 [W]
        With n nonzero weights a segment takes at most ``n * (1 + l + level bits) + ((B - n + 2 * (2**l - 1)) >> l)`` bits (docs/format.md).
    """
    assert 1 <= levels_count <= MAX_SPARSE_LEVELS
    nonzeros = np.arange(outputs + 1)
    rice = np.arange(most_rice(levels_count) + 1)[:, None]
    zeros = outputs - nonzeros + 2 * ((1 << rice) - 1) >> rice
    bits = (nonzeros * (1 + rice + max(LEVEL_CODE_BITS[levels_count])) + zeros).min(axis=0)
    sizes = np.maximum.accumulate(-(-bits // word_bits))
    return np.concatenate([[0], np.searchsorted(sizes, np.arange(1, sizes[-1] + 1), side="right") - 1]).clip(0)


def allocate(saliency: np.ndarray, capacity: np.ndarray, words: int, classes: int) -> np.ndarray:
    """Words for each feature so that the saliency of the weights that fit is as large as possible.

    Lagrangian: a feature takes the size with the largest ``saliency kept - price * words``; the price is the lowest at which all
    features together keep to the budget.

    Parameters
    ----------
    saliency : float [N, B]
        Importance of each weight, not negative.
    capacity : int64 [W]
        As from ``capacities``.
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
