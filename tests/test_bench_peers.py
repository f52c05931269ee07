"""The peers of the benchmark: what weights become, and what is counted for them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from permfc.errors import ToolError
from permfc_cli.bench import deep_compression as pruning
from permfc_cli.bench.gptq import gptq
from permfc_cli.bench.peers import PEERS, Stored, grouped, int8_rows, nf4, q4_0

NORMAL = np.random.default_rng(0).normal(size=(128, 256)).astype(np.float32)
RAGGED = np.random.default_rng(1).normal(size=(3, 100)).astype(np.float32)


def store(name: str, weights: np.ndarray) -> Stored:
    """A peer, or a skipped test if its library is missing."""
    try:
        return PEERS[name][1](weights)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "bits"), [
    ("float32", 32), ("int8", 8 + 16 / 256), ("int4-g64", 4.5), ("int3-g64", 3.5), ("int2-g64", 2.5), ("nf4", 4.25), ("q4_0", 4.5),
])
def test_bits_of_whole_groups(name: str, bits: float) -> None:
    assert store(name, NORMAL).bits / NORMAL.size == bits


@pytest.mark.parametrize(("name", "shared"), [
    ("float32", 0), ("int8", 3 * 16), ("int4-g64", 3 * 2 * 32), ("nf4", 3 * 2 * 16), ("q4_0", 3 * (4 * 18 * 8 - 400)),
])
def test_rows_are_filled_up_to_whole_groups(name: str, shared: int) -> None:
    stored = store(name, RAGGED)
    assert stored.weights.shape == RAGGED.shape
    assert stored.shared_bits == shared


@pytest.mark.parametrize(("name", "low", "high"), [  # mean squared errors on N(0, 1)
    ("float32", 0, 0), ("int8", 2e-5, 2e-4), ("int4-g64", 0.006, 0.009), ("int3-g64", 0.02, 0.035), ("int2-g64", 0.08, 0.13),
    ("nf4", 0.008, 0.009), ("q4_0", 0.007, 0.008),
])
def test_error_is_that_of_the_method(name: str, low: float, high: float) -> None:
    stored = store(name, NORMAL)
    assert stored.weights.dtype == np.float32
    assert low <= np.square(stored.weights - NORMAL).mean() <= high


def test_few_values_a_group() -> None:
    values = grouped(2)(NORMAL).weights.reshape(-1, 64)
    assert max(len(np.unique(group)) for group in values) == 4


def test_int8_keeps_the_largest_of_a_row() -> None:
    stored = int8_rows(NORMAL)
    np.testing.assert_allclose(np.abs(stored.weights).max(axis=1), np.abs(NORMAL).max(axis=1), rtol=1e-3)


@pytest.mark.parametrize("name", list(PEERS))
def test_zero_and_constant_weights(name: str) -> None:
    weights = np.zeros((2, 64), dtype=np.float32)
    weights[1] = 0.5
    np.testing.assert_allclose(store(name, weights).weights, weights, atol=0.04)


@pytest.mark.parametrize(("peer", "module", "match"), [
    (nf4, "bitsandbytes.functional", r"bitsandbytes is missing, which computes NF4; run: pip install 'permfc\[bench\]'"),
    (q4_0, "gguf", r"gguf is missing, which computes Q4_0; run: pip install 'permfc\[bench\]'"),
    (lambda weights: pruning.deep_compression(weights, 1.0), "sklearn.cluster", r"scikit-learn is missing, which computes k-means"),
])
def test_a_missing_library_is_named(peer, module: str, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolError, match=match):
        peer(NORMAL)


@pytest.mark.parametrize("bits", [2, 3])
def test_gptq_corrects_what_rounding_changes(bits: int) -> None:
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(600, 256)) @ rng.normal(size=(256, 256)) * 0.05 + rng.normal(size=(600, 256)) * 0.3).astype(np.float32)
    errors = [np.square(x @ (stored.weights - NORMAL).T).sum() for stored in (gptq(NORMAL, x, bits), grouped(bits)(NORMAL))]
    assert errors[0] < 0.7 * errors[1]


def test_gptq_without_correlation_only_rounds() -> None:
    x = np.eye(256, dtype=np.float32)
    stored = gptq(NORMAL, x, 3)
    assert stored.bits / NORMAL.size == 3.5
    np.testing.assert_allclose(stored.weights, grouped(3)(NORMAL).weights, atol=1e-5)


def test_gptq_with_unused_inputs() -> None:
    x = np.random.default_rng(3).normal(size=(600, 256)).astype(np.float32)
    x[:, :64] = 0
    stored = gptq(NORMAL, x, 3)
    np.testing.assert_allclose(stored.weights[:, :64], 0, atol=1e-6)
    assert np.square(stored.weights - NORMAL)[:, 64:].mean() < 0.06


def test_pruning_keeps_the_large_weights_and_at_least_one() -> None:
    weights = np.array([[3, -2, 1, 0.5]], dtype=np.float32)
    np.testing.assert_array_equal(pruning.pruned(weights, 0), weights)
    np.testing.assert_array_equal(pruning.pruned(weights, 0.7), [[3, -2, 0, 0]])  # the standard deviation is 1.82
    np.testing.assert_array_equal(pruning.pruned(weights, 100), [[3, 0, 0, 0]])


def test_deep_compression_by_hand() -> None:
    """Four inputs of 40 outputs; weights at places 2, 5 and 120 of the inputs' columns: gaps 2, 2, and 114 = 3 fillers and 18."""
    columns = np.zeros(160, dtype=np.float32)
    columns[[2, 5, 120]] = 1.0, -1.0, 1.0
    stored = pruning.deep_compression(np.ascontiguousarray(columns.reshape(4, 40).T), 1.0)
    np.testing.assert_array_equal(stored.weights.T.ravel(), columns)
    # Values: 1.0 twice, -1.0 once, the filler three times: 2, 2 and 1 bits. Gaps: 2 twice, 18 once, the filler's 31 three times: 2, 2 and 1.
    np.testing.assert_array_equal(stored.input_bits, [4 + 4, 0, 0, 4 + 3 * 2])
    assert stored.shared_bits == 2 * 32 + 5 * (3 + 32)
    assert stored.pointer_bits == 16


def test_deep_compression_shares_32_values() -> None:
    stored = pruning.deep_compression(NORMAL, 1.0)
    kept = np.abs(NORMAL) >= NORMAL.std()
    np.testing.assert_array_equal(stored.weights != 0, kept)
    assert len(np.unique(stored.weights)) == 33
    assert np.square(stored.weights - NORMAL)[kept].mean() < 0.01
    # 32 % of the weights, at most 5 bits for the value and 5 for the gap before Huffman coding.
    assert stored.bits < 10.2 * kept.sum() + stored.shared_bits
