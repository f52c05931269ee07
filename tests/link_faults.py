"""Faults on the wire of a link: frames dropped, damaged, cut short and repeated, from a seed."""

from __future__ import annotations

import random

_FLAG = b"\x7e"


class Faults:
    """Hurts a share ``rate`` of the frames that pass through ``wire``, one direction of a line.

    A frame goes on when its end has come. ``count`` says how many were hurt; ``rate`` may be changed.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self._random = random.Random(seed)
        self.rate = rate
        self.count = 0
        self._rest = b""

    def wire(self, data: bytes) -> bytes:
        *frames, self._rest = (self._rest + data).split(_FLAG)
        return b"".join(self._passed(frame) + _FLAG for frame in frames)

    def _passed(self, frame: bytes) -> bytes:
        if not frame or self._random.random() >= self.rate:
            return frame
        self.count += 1
        return self._random.choice((self._dropped, self._flipped, self._repeated, self._truncated))(frame)

    def _dropped(self, frame: bytes) -> bytes:
        return b""

    def _flipped(self, frame: bytes) -> bytes:
        at = self._random.randrange(len(frame))
        return frame[:at] + bytes([frame[at] ^ 1 << self._random.randrange(8)]) + frame[at + 1:]

    def _repeated(self, frame: bytes) -> bytes:
        return frame + b"\x7e" + frame

    def _truncated(self, frame: bytes) -> bytes:
        begin = self._random.randrange(len(frame))
        return frame[begin:self._random.randrange(begin, len(frame) + 1)]
