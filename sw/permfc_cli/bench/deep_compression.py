"""Pruning, shared values and Huffman coding, as Deep Compression stores a layer (Han, Mao, Dally, 2015), without its retraining."""

from __future__ import annotations

import numpy as np

from permfc.errors import ToolError
from permfc.network.huffman import code_lengths

from .peers import Stored

INDEX_BITS = 5      # of a relative index, before Huffman coding: the paper's figure for fully connected layers
SHARED_VALUES = 32  # 5 bits a weight before Huffman coding, likewise
_POINTER_BITS = 16  # where an input's weights begin, as EIE stores it (Han et al., 2016)
_VALUE_BITS = 32    # a code-book entry
_LENGTH_BITS = 5    # a Huffman code is stored as the lengths of its codewords
_LONGEST_CODE = 31  # long enough to be optimal


def pruned(weights: np.ndarray, quality: float) -> np.ndarray:
    """The weights, those below ``quality`` standard deviations zero; the largest always stays."""
    magnitudes = np.abs(weights)
    threshold = min(quality * weights.std(), magnitudes.max())
    return np.where(magnitudes >= threshold, weights, np.float32(0))


def deep_compression(weights: np.ndarray, quality: float) -> Stored:
    """Keep the large weights, replace them by 32 shared values, and Huffman code values and relative indices.

    The weights of an input follow each other; a relative index is the number of zeros before a weight, and every run of 32 zeros costs a
    filler, a stored zero.

    Parameters
    ----------
    weights : float32 [M, N]
    quality : float
        Weights below this many standard deviations of the layer's weights are dropped; 0 keeps all.

    Returns
    -------
    Stored

    Raises
    ------
    ToolError
        If scikit-learn is not installed.
    """
    column = pruned(weights, quality).T.ravel()  # input after input
    places = np.flatnonzero(column)
    values, labels = _shared_values(column[places])
    gaps, fillers = _relative_indices(places)
    value_lengths = _huffman(np.append(np.bincount(labels, minlength=len(values)), fillers.sum()))
    gap_lengths = _huffman(np.bincount(gaps, minlength=1 << INDEX_BITS) + _filler_counts(fillers))
    # A filler is read with the weight after it.
    bits = value_lengths[labels] + gap_lengths[gaps] + fillers * (value_lengths[-1] + gap_lengths[-1])
    restored = np.zeros(weights.size, dtype=np.float32)
    restored[places] = values[labels]
    inputs = np.bincount(places // len(weights), weights=bits, minlength=weights.shape[1])
    shared = _VALUE_BITS * len(values) + _LENGTH_BITS * (len(value_lengths) + len(gap_lengths))
    return Stored(restored.reshape(weights.T.shape).T, inputs, float(shared), _POINTER_BITS)


def _shared_values(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k-means from linearly spaced centres, the paper's choice: values float32 [K], and the index of each weight's."""
    try:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ToolError("scikit-learn is missing, which computes k-means; run: pip install 'permfc[bench]'") from None
    count = min(SHARED_VALUES, len(np.unique(weights)))
    centres = np.linspace(weights.min(), weights.max(), count)[:, None]
    with threadpool_limits(1):  # the same sums in the same order on every machine
        found = KMeans(count, init=centres, n_init=1, max_iter=100, algorithm="lloyd").fit(weights[:, None].astype(np.float64))
    return found.cluster_centers_[:, 0].astype(np.float32), found.labels_.astype(np.int64)


def _relative_indices(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zeros before each weight after its fillers, and its number of fillers; a filler stands for 31 zeros and itself."""
    zeros = np.diff(places, prepend=-1) - 1
    return zeros % (1 << INDEX_BITS), zeros >> INDEX_BITS


def _filler_counts(fillers: np.ndarray) -> np.ndarray:
    """How often fillers use each relative index: always the largest."""
    counts = np.zeros(1 << INDEX_BITS, dtype=np.int64)
    counts[-1] = fillers.sum()
    return counts


def _huffman(counts: np.ndarray) -> np.ndarray:
    """Codeword lengths, int64 [symbols]."""
    return code_lengths(counts, _LONGEST_CODE).astype(np.int64)
