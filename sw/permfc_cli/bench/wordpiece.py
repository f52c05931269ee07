"""The tokenizer of uncased BERT models: basic tokens, then the longest pieces of a vocabulary (WordPiece; Devlin et al., 2018)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

_LONGEST_WORD = 100  # as in the original: longer words are unknown


class WordPiece:
    """Text to token numbers.

    Parameters
    ----------
    vocabulary : path
        One token a line; the line's number is the token's. Pieces that continue a word begin with ``##``.
    """

    def __init__(self, vocabulary: Path) -> None:
        self._numbers = {token: number for number, token in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}

    def encode(self, text: str) -> list[int]:
        """Token numbers of ``text`` between ``[CLS]`` and ``[SEP]``."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._numbers[token] for token in ("[CLS]", *pieces, "[SEP]")]

    def _pieces(self, word: str) -> list[str]:
        """The word cut from the left into the longest pieces there are."""
        if len(word) > _LONGEST_WORD:
            return ["[UNK]"]
        pieces: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in self._numbers), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces


def _words(text: str) -> Iterator[str]:
    """Lower-case words without accents; every punctuation mark is a word."""
    plain = "".join(character for character in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(character) != "Mn")
    spaced = "".join(f" {character} " if _is_punctuation(character) else character for character in plain)
    yield from spaced.split()


def _is_punctuation(character: str) -> bool:
    """Punctuation of Unicode, and every ASCII mark that is neither letter nor digit."""
    ascii_mark = "!" <= character <= "~" and not character.isalnum()
    return ascii_mark or unicodedata.category(character).startswith("P")
