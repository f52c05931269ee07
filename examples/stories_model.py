"""The small story models of llama2.c as a plain torch module, read from their own file format, with a cache of keys and values.

The file: seven int32 (dim, hidden, layers, heads, key-value heads, vocabulary, longest sequence), then float32 weights. A positive vocabulary
means that the classifier shares the embedding's weights. See https://github.com/karpathy/llama2.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

BEGIN = 1  # the token that every story begins with
_EPSILON = 1e-5


@dataclass(frozen=True)
class Sizes:
    """The numbers in the file's header."""

    width: int
    hidden: int
    blocks: int
    heads: int
    pairs: int  # heads of keys and values
    vocabulary: int
    longest: int


class RmsNorm(nn.Module):
    """x over the root of its mean square, times a weight for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + _EPSILON) * self.weight


class Block(nn.Module):
    """Attention with rotated queries and keys, then SwiGLU; both with a residual sum."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, narrow = sizes.width, sizes.width // sizes.heads * sizes.pairs
        self.sizes = sizes
        self.attention_norm, self.ffn_norm = RmsNorm(width), RmsNorm(width)
        self.wq, self.wo = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.wk, self.wv = (nn.Linear(width, narrow, bias=False) for _ in range(2))
        self.w1, self.w3 = (nn.Linear(width, sizes.hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(sizes.hidden, width, bias=False)

    def forward(self, x: Tensor, angles: Tensor, past: list[Tensor]) -> Tensor:
        """float [T, width] for the same; ``angles`` [T, size / 2] of the positions; ``past`` holds keys and values [T', pairs, size]."""
        x = x + self._attend(self.attention_norm(x), angles, past)
        normed = self.ffn_norm(x)
        return x + self.w2(nn.functional.silu(self.w1(normed)) * self.w3(normed))

    def _attend(self, x: Tensor, angles: Tensor, past: list[Tensor]) -> Tensor:
        size = self.sizes.width // self.sizes.heads
        query, key, value = (part.reshape(len(x), -1, size) for part in (self.wq(x), self.wk(x), self.wv(x)))
        query, key = rotated(query, angles), rotated(key, angles)
        if past:
            key, value = torch.cat([past[0], key]), torch.cat([past[1], value])
        past[:] = [key, value]
        repeats = self.sizes.heads // self.sizes.pairs
        keys, values = (part.repeat_interleave(repeats, dim=1).transpose(0, 1) for part in (key, value))
        seen = torch.ones(len(x), len(key), dtype=torch.bool).tril(len(key) - len(x))
        mixed = nn.functional.scaled_dot_product_attention(query.transpose(0, 1), keys, values, attn_mask=seen)
        return self.wo(mixed.transpose(0, 1).reshape(len(x), -1))


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Pairs of neighbouring features [T, heads, size] turned by ``angles`` [T, size / 2] (RoPE; Su et al., 2021)."""
    even, odd = x[..., ::2], x[..., 1::2]
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2)


class Stories(nn.Module):
    """Logits of the next token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.blocks))
        self.norm, self.head = RmsNorm(sizes.width), nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(self, tokens: Tensor, past: list[list[Tensor]] | None = None) -> Tensor:
        """float [T, vocabulary] for int64 [T]; with ``past`` the tokens follow those that were given before."""
        past = [[] for _ in self.blocks] if past is None else past
        first, size = len(past[0][0]) if past[0] else 0, self.sizes.width // self.sizes.heads
        frequencies = 10000.0 ** (-torch.arange(0, size, 2) / size)
        angles = torch.arange(first, first + len(tokens))[:, None] * frequencies
        x = self.embedding(tokens)
        for block, kept in zip(self.blocks, past, strict=True):
            x = block(x, angles, kept)
        return self.head(self.norm(x))


def load(path: Path) -> Stories:
    """The model in a file of llama2.c; ValueError if its length does not fit its header."""
    content = path.read_bytes()
    sizes = Sizes(*struct.unpack("<7i", content[:28]))
    model = Stories(sizes)
    values = torch.from_numpy(np.frombuffer(content, "<f4", offset=28).copy())
    offset = 0
    for parameters in _in_order(model):
        for parameter in parameters:
            parameter.data = values[offset:offset + parameter.numel()].reshape(parameter.shape)
            offset += parameter.numel()
    rest = sizes.longest * (sizes.width // sizes.heads)  # a table of angles, which forward computes itself
    if offset + rest != len(values):
        raise ValueError(f"{path} holds {len(values)} numbers, its header says {offset + rest}")
    model.head.weight = model.embedding.weight
    return model.eval()


def _in_order(model: Stories) -> list[list[nn.Parameter]]:
    """The parameters as the file has them: each kind for all blocks."""
    kinds = ("attention_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w1", "w2", "w3")
    return [[model.embedding.weight], *([getattr(block, kind).weight for block in model.blocks] for kind in kinds), [model.norm.weight]]


def pieces(path: Path, count: int) -> list[bytes]:
    """The text of each token, from llama2.c's tokenizer file."""
    content, offset, found = path.read_bytes(), 4, []
    for _ in range(count):
        length = struct.unpack_from("<i", content, offset + 4)[0]
        found.append(content[offset + 8:offset + 8 + length])
        offset += 8 + length
    return found


def text(tokens: list[int], vocabulary: list[bytes]) -> str:
    """What the tokens say."""
    raw = (vocabulary[token] for token in tokens if token != BEGIN)
    whole = b"".join(bytes([int(piece[3:5], 16)]) if piece.startswith(b"<0x") else piece for piece in raw)
    return whole.decode("utf-8", errors="replace").strip()


@torch.no_grad()
def generate(model: nn.Module, count: int, after: Callable[[], object] = lambda: None) -> list[int]:
    """The most likely story, ``count`` tokens after BEGIN. ``after`` is called after each step."""
    past: list[list[Tensor]] = [[] for _ in model.blocks]
    tokens = [BEGIN]
    for _ in range(count):
        tokens.append(int(model(torch.tensor(tokens[-1:]), past)[-1].argmax()))
        after()
    return tokens
