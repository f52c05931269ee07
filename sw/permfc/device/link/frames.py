"""Frames on the serial line: bytes between flags, escaped, with a CRC-32 at the end (docs/protocol.md, "Frames")."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from .protocol import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG, REPLY_HEADER, REQUEST_HEADER

_SPECIAL = re.compile(bytes([ord("["), ESCAPE, FLAG, ord("]")]))
_ESCAPED = re.compile(bytes([ESCAPE]) + b"(.)", re.DOTALL)
_DELIMITER = bytes([FLAG])


@dataclass(frozen=True)
class Reply:
    """What the board says about one request.

    Members
    -------
    sequence : int
        Of the request.
    status : int
        A value of :class:`permfc.device.link.protocol.ReplyStatus`, or one that a newer board knows.
    next : int
        Sequence number that the board executes next.
    payload : bytes
    """

    sequence: int
    status: int
    next: int
    payload: bytes

    @classmethod
    def parse(cls, content: bytes) -> Reply | None:
        """The reply in a frame; None if it is too short to be one."""
        if len(content) < REPLY_HEADER.size:
            return None
        sequence, status, following = REPLY_HEADER.unpack_from(content)
        return cls(sequence, status, following, content[REPLY_HEADER.size:])


def request(sequence: int, command: int, payload: bytes) -> bytes:
    """A request as it goes over the line."""
    return encode(REQUEST_HEADER.pack(sequence, command) + payload)


def encode(content: bytes) -> bytes:
    """``content`` with its CRC, escaped, between flags."""
    whole = content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")
    return _DELIMITER + _SPECIAL.sub(lambda found: bytes([ESCAPE, found[0][0] ^ ESCAPE_XOR]), whole) + _DELIMITER


class FrameDecoder:
    """Finds the frames in bytes that arrive piece by piece.

    Members
    -------
    damaged : int
        Frames so far that were dropped: too short, or with a wrong CRC.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.damaged = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The contents of the frames that ``data`` completes, without CRC."""
        *pieces, self._rest = (self._rest + data).split(_DELIMITER)
        contents = (self._content(piece) for piece in pieces if piece)
        return [content for content in contents if content is not None]

    def _content(self, piece: bytes) -> bytes | None:
        whole = _ESCAPED.sub(lambda found: bytes([found[1][0] ^ ESCAPE_XOR]), piece)
        content, crc = whole[:-CRC_BYTES], whole[-CRC_BYTES:]
        if not content or int.from_bytes(crc, "little") != zlib.crc32(content):
            self.damaged += 1
            return None
        return content
