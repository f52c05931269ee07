"""Faults on the wire of a link: frames dropped, damaged, cut short and repeated, from a seed."""

from __future__ import annotations

import random
import re

_TOKENS = re.compile(rb"\x7e|[^\x7e]+")


class Faults:
    """Hurts a share ``rate`` of the frames that pass through ``wire``; ``count`` says how many it hurt, ``rate`` may be changed."""

    def __init__(self, seed: int, rate: float) -> None:
        self._random = random.Random(seed)
        self.rate = rate
        self.count = 0

    def wire(self, data: bytes) -> bytes:
        return b"".join(self._passed(token) for token in _TOKENS.findall(data))

    def _passed(self, token: bytes) -> bytes:
        if token == b"\x7e" or self._random.random() >= self.rate:
            return token
        self.count += 1
        return self._random.choice((self._dropped, self._flipped, self._repeated, self._truncated))(token)

    def _dropped(self, token: bytes) -> bytes:
        return b""

    def _flipped(self, token: bytes) -> bytes:
        at = self._random.randrange(len(token))
        return token[:at] + bytes([token[at] ^ 1 << self._random.randrange(8)]) + token[at + 1:]

    def _repeated(self, token: bytes) -> bytes:
        return token + b"\x7e" + token

    def _truncated(self, token: bytes) -> bytes:
        begin = self._random.randrange(len(token))
        return token[begin:self._random.randrange(begin, len(token) + 1)]
