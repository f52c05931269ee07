"""Canonical Huffman codes of bounded length: lengths from counts, codewords from lengths."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..format import MAX_CODE_BITS


def code_lengths(counts: np.ndarray, max_bits: int = MAX_CODE_BITS) -> np.ndarray:
    """Lengths of an optimal prefix code in which no codeword is longer than ``max_bits``.

    Package-merge (Larmore and Hirschberg, 1990). Of the optimal codes it is one with the shortest longest codeword. A larger
    count never has a longer codeword; among equal counts the earlier one never has a longer codeword.

    Parameters
    ----------
    counts : int [K]
        How often each symbol occurs. A symbol with count 0 has no codeword.
    max_bits : int
        Longest codeword allowed.

    Returns
    -------
    uint8 [K]
        Codeword lengths in bits; 0 for a symbol with count 0, and 1 for the only symbol that occurs.

    Raises
    ------
    ValueError
        If a count is negative, no symbol occurs, or more than ``2**max_bits`` symbols occur.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if counts.ndim != 1 or not counts.any() or counts.min() < 0:
        raise ValueError(f"Counts must be a vector of non-negative integers with at least one positive, not {counts.tolist()!r}")
    used = np.flatnonzero(counts)
    if used.size > 1 << max_bits:
        raise ValueError(f"{used.size} symbols have no prefix code of at most {max_bits} bits")
    rarest_first = used[::-1][np.argsort(counts[used[::-1]], kind="stable")]
    lengths = np.zeros(counts.size, dtype=np.uint8)
    lengths[rarest_first] = _package_merge(tuple(counts[rarest_first].tolist()), max_bits)
    return lengths


@lru_cache(maxsize=4096)
def _package_merge(ascending: tuple[int, ...], max_bits: int) -> tuple[int, ...]:
    """Codeword lengths of counts given in ascending order."""
    if len(ascending) == 1:
        return (1,)
    rounds = []  # per round: which items of the merged list are single symbols rather than packages
    packages: list[int] = []
    for _ in range(max_bits):
        # The sort is stable, so a symbol precedes a package of equal weight, which keeps the longest codeword short.
        items = sorted([(count, True) for count in ascending] + [(weight, False) for weight in packages], key=lambda item: item[0])
        rounds.append([single for _, single in items])
        packages = [items[i][0] + items[i + 1][0] for i in range(0, len(items) - 1, 2)]
    lengths = [0] * len(ascending)
    chosen = 2 * len(ascending) - 2
    for single in reversed(rounds):
        symbols = sum(single[:chosen])
        for symbol in range(symbols):
            lengths[symbol] += 1
        chosen = 2 * (chosen - symbols)
    return tuple(lengths)


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """Codewords of the canonical code with these lengths: consecutive integers within a length, shorter codewords first.

    Parameters
    ----------
    lengths : uint8 [K]
        Codeword lengths in bits, at most 8, in any order; 0 for a symbol without a codeword.

    Returns
    -------
    uint8 [K]
        Codewords, right-aligned.

    Raises
    ------
    ValueError
        If no prefix code has these lengths.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if lengths.ndim != 1 or lengths.min(initial=0) < 0 or lengths.max(initial=0) > MAX_CODE_BITS:
        raise ValueError(f"Codeword lengths must be 0 to {MAX_CODE_BITS}, not {lengths.tolist()!r}")
    present = np.bincount(lengths, minlength=MAX_CODE_BITS + 1)
    present[0] = 0
    codes = np.zeros(lengths.size, dtype=np.uint8)
    first = first_codewords(present)
    for length in range(1, MAX_CODE_BITS + 1):
        if first[length] + present[length] > 1 << length:
            raise ValueError(f"No prefix code has the codeword lengths {lengths.tolist()!r}")
        codes[lengths == length] = first[length] + np.arange(present[length])
    return codes


def first_codewords(present: np.ndarray) -> np.ndarray:
    """The first codeword of each length: ``first[l + 1] = (first[l] + present[l]) << 1``.

    Parameters
    ----------
    present : int [9]
        Codewords of each length 0 to 8; entry 0 is 0.

    Returns
    -------
    int64 [9]
        First codeword of each length; entry 0 is 0.
    """
    first = np.zeros(MAX_CODE_BITS + 1, dtype=np.int64)
    for length in range(MAX_CODE_BITS):
        first[length + 1] = (first[length] + present[length]) << 1
    return first
