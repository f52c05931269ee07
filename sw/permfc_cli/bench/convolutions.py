"""Convolutions on the host, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SIDE = 28
_BATCH = 500


def convolved(images: np.ndarray, convolutions: Sequence[tuple[np.ndarray, np.ndarray]], relu: bool) -> np.ndarray:
    """What convolutions without padding, each followed by the largest of every 2 x 2, make of images.

    Parameters
    ----------
    images : float32 [n, 784]
        28 x 28 pixels.
    convolutions : sequence of (weight float32 [K, C, h, w], bias float32 [K])
    relu : bool
        Whether a ReLU follows each.

    Returns
    -------
    float32 [n, features]
    """
    batches = np.split(images.reshape(-1, 1, _SIDE, _SIDE), range(_BATCH, len(images), _BATCH))
    for weight, bias in convolutions:
        batches = [_pooled(_convolution(batch, weight, bias)) for batch in batches]
        if relu:
            batches = [np.maximum(batch, 0) for batch in batches]
    return np.concatenate(batches).reshape(len(images), -1)


def _convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """float32 [n, C, H, W] and [K, C, h, w] to [n, K, H - h + 1, W - w + 1]."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    return np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + bias[:, None, None]


def _pooled(x: np.ndarray) -> np.ndarray:
    samples, channels, height, width = x.shape
    return x.reshape(samples, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
