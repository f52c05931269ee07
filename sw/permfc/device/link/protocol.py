"""Constants and layouts of the host link, used by the gateware and by the host; docs/protocol.md describes them in prose.

All numbers are little endian.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import astuple, dataclass

from ...errors import ConfigError

LINK_VERSION = 1

# Framing in HDLC manner (RFC 1662, section 4).
FLAG = 0x7E         # between frames
ESCAPE = 0x7D       # the next byte is XORed with ESCAPE_XOR
ESCAPE_XOR = 0x20
CRC_BYTES = 4       # CRC-32 of IEEE 802.3, as zlib.crc32, of all bytes before it
CRC_POLYNOMIAL = 0xEDB88320  # with the least significant bit first
CRC_RESIDUE = 0xDEBB20E3  # the CRC register, before it is inverted, after a frame and its CRC

REQUEST_HEADER = struct.Struct("<BB")  # sequence, command
REPLY_HEADER = struct.Struct("<BBB")   # sequence of the request, status, next sequence to be executed
BYTES_PER_REQUEST = REQUEST_HEADER.size + CRC_BYTES  # that a request takes of the receive buffer besides its payload

WINDOW = 8               # most requests in flight
PATIENCE_CYCLES = 65536  # of the board's clock that a command waits for the engine or the memory
BOARD_NAME_BYTES = 16


class Command(enum.IntEnum):
    """Second byte of a request. The comments show payload -> payload of the reply."""

    HELLO = 0           # nonce u32 -> Identity, nonce
    READ_REGISTER = 1   # address u32 -> value u32
    WRITE_REGISTER = 2  # address u32, value u32 -> nothing
    WRITE_MEMORY = 3    # address u32, data -> nothing
    CRC_MEMORY = 4      # begin u32, end u32 -> CRC-32 u32 of the bytes from begin to before end
    SEND_INPUT = 5      # int8 values -> nothing
    WAIT = 6            # nothing -> STATUS register u32
    READ_OUTPUT = 7     # nothing -> int32 values, then u8: 1 if the last of them ends the results


class ReplyStatus(enum.IntEnum):
    """Second byte of a reply. REPEATED, GAP and NOT_OPEN say that the request was not executed now; the others that it was, with what result."""

    OK = 0
    REPEATED = 1         # executed before; its reply is not kept any more
    GAP = 2              # a request before this one is missing
    NOT_OPEN = 3         # the board has not heard HELLO since its reset
    UNKNOWN_COMMAND = 4
    BAD_PAYLOAD = 5      # shorter than the command needs
    READ_ONLY = 6        # the board cannot write its memory
    BUSY = 7             # the engine was still busy, or took no input, after PATIENCE_CYCLES
    MEMORY_ERROR = 8     # the memory answered with an error: outside of it
    MEMORY_SILENT = 9    # the memory did not answer within PATIENCE_CYCLES, now or earlier since the reset


@dataclass(frozen=True)
class Identity:
    """What HELLO tells of a board.

    Members
    -------
    link_version, format_version : int
        LINK_VERSION and `permfc.format.VERSION` of the bitstream.
    board : str
        Up to 16 ASCII characters.
    memory_writable : bool
        Whether WRITE_MEMORY works; if not, the image gets there in another way.
    clock_hz : int
        Frequency of the engine's clock.
    memory_bytes : int
        Size of the engine's memory.
    image_address : int
        Where an image belongs in it.
    receive_bytes : int
        Size of the receive buffer, of which each request in flight takes its payload and BYTES_PER_REQUEST.
    largest_payload : int
        Most bytes in the payload of a request or a reply.

    Raises
    ------
    ConfigError
        If a value does not fit its field.
    """

    link_version: int
    format_version: int
    board: str
    memory_writable: bool
    clock_hz: int
    memory_bytes: int
    image_address: int
    receive_bytes: int
    largest_payload: int

    def __post_init__(self) -> None:
        if not self.board.isascii() or not 0 < len(self.board) <= BOARD_NAME_BYTES:
            raise ConfigError(f"The name of a board must be 1 to {BOARD_NAME_BYTES} ASCII characters, not {self.board!r}")
        try:
            self.pack()
        except struct.error as error:
            raise ConfigError(f"{self} does not fit the fields of HELLO: {error}") from None

    def pack(self) -> bytes:
        """The bytes of HELLO's reply before the nonce."""
        versions, board, *numbers = astuple(self)[:2], self.board.encode("ascii"), *astuple(self)[3:]
        return IDENTITY.pack(*versions, board, *numbers)

    @classmethod
    def unpack(cls, data: bytes) -> Identity:
        """The identity in the first ``IDENTITY.size`` bytes of ``data``."""
        link_version, format_version, board, *numbers = IDENTITY.unpack(data[:IDENTITY.size])
        return cls(link_version, format_version, board.rstrip(b"\0").decode("ascii", "replace"), *numbers)


IDENTITY = struct.Struct(f"<HH{BOARD_NAME_BYTES}s?3xIIIHH")
