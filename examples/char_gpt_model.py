"""A small character model in the manner of GPT, as a plain torch module: four blocks, learned positions, a cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

CONTEXT = 64


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)).

    Parameters
    ----------
    width, heads : int
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, past: list[Tensor]) -> Tensor:
        """float [batch, T, width] for the same; ``past`` holds keys and values [batch, heads, T', size] and gets those of ``x``."""
        x = x + self.proj(self._attend(self.qkv(self.ln1(x)), past))
        return x + self.out(nn.functional.gelu(self.fc(self.ln2(x))))

    def _attend(self, qkv: Tensor, past: list[Tensor]) -> Tensor:
        batch, length, _ = qkv.shape
        query, key, value = (part.reshape(batch, length, self.heads, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        if past:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        past[:] = [key, value]
        seen = torch.ones(length, key.shape[2], dtype=torch.bool).tril(key.shape[2] - length)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return mixed.transpose(1, 2).reshape(batch, length, -1)


class CharGPT(nn.Module):
    """Logits of the next character.

    Parameters
    ----------
    characters : str
        The vocabulary, in the order of its numbers.
    width, blocks, heads : int
    """

    def __init__(self, characters: str, width: int = 128, blocks: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.characters = characters
        self.tok, self.pos = nn.Embedding(len(characters), width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, len(characters), bias=False)

    def forward(self, tokens: Tensor, past: list[list[Tensor]] | None = None) -> Tensor:
        """float [batch, T, characters] for int64 [batch, T]; with ``past`` the tokens follow those that were given before."""
        past = [[] for _ in self.blocks] if past is None else past
        first = past[0][0].shape[2] if past[0] else 0
        x = self.tok(tokens) + self.pos(torch.arange(first, first + tokens.shape[1]))
        for block, kept in zip(self.blocks, past, strict=True):
            x = block(x, kept)
        return self.head(self.ln(x))

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters, int64 [len(text)]."""
        numbers = {character: number for number, character in enumerate(self.characters)}
        return torch.tensor([numbers[character] for character in text])


def load(path: Path) -> CharGPT:
    """The trained model in ``gpt_shakespeare_128.npz``."""
    with np.load(path) as arrays:
        model = CharGPT("".join(arrays["chars"]))
        model.load_state_dict({name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files if name != "chars"})
    return model.eval()


def windows(model: CharGPT, text: str) -> Tensor:
    """The text as windows side by side, int64 [n, CONTEXT + 1]: each begins with the last character of the one before."""
    numbers = model.encode(text)
    return numbers.unfold(0, CONTEXT + 1, CONTEXT)


@torch.no_grad()
def loss(model: nn.Module, samples: Tensor, batch: int = 64) -> float:
    """Mean cross-entropy in nats a character for windows int64 [n, CONTEXT + 1]."""
    total = 0.0
    for part in samples.split(batch):
        logits = model(part[:, :-1])
        total += float(nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
    return total / samples[:, 1:].numel()


@torch.no_grad()
def generate(model: CharGPT, prompt: str, count: int, after: Callable[[], object] = lambda: None) -> str:
    """The prompt and ``count`` characters, each the most likely one; at most CONTEXT in all. ``after`` is called after each step."""
    past: list[list[Tensor]] = [[] for _ in model.blocks]
    tokens, text = model.encode(prompt)[None], prompt
    for _ in range(count):
        best = int(model(tokens, past)[0, -1].argmax())
        after()
        text += model.characters[best]
        tokens = torch.tensor([[best]])
    return text
