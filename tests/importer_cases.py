"""A network of two layers that every importer must read, and its results."""

from __future__ import annotations

import numpy as np

from permfc.functions import IDENTITY, RELU
from permfc.importers import FloatNetwork

_RNG = np.random.default_rng(0)
W1, B1 = _RNG.standard_normal((6, 4)).astype(np.float32), _RNG.standard_normal(6).astype(np.float32)
W2, B2 = _RNG.standard_normal((3, 6)).astype(np.float32), _RNG.standard_normal(3).astype(np.float32)
X = _RNG.standard_normal((5, 4)).astype(np.float32)
EXPECTED = np.maximum(X @ W1.T + B1, 0) @ W2.T + B2


def damaged(content: bytes, seed: int) -> bytes:
    """``content`` with three random bytes, in one of eight cases cut short."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    for position in rng.integers(len(content), size=3):
        changed[position] = rng.integers(256)
    return bytes(changed[:rng.integers(len(content))] if seed % 8 == 0 else changed)


def assert_expected(network: FloatNetwork) -> None:
    assert [layer.function for layer in network] == [RELU, IDENTITY]
    np.testing.assert_allclose(network.predict(X), EXPECTED, atol=1e-5)
