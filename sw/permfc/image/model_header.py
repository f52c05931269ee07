"""The header of a model file, checked before anything in the file is trusted (docs/format.md, "Model file")."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError
from ..format import MAGIC

MODEL_VERSION = 3
METADATA_KEY = "permfc"

_LENGTH = 8  # bytes in front of the header
_ARCHIVE = b"PK\x03\x04"
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)


@dataclass(frozen=True)
class ModelHeader:
    """The header of a safetensors file that holds a compressed network.

    Members
    -------
    metadata : dict
    crc_field : slice
        Bytes of the file that hold its CRC-32.
    """

    metadata: dict[str, Any]
    crc_field: slice

    @classmethod
    def read(cls, content: bytes | bytearray, name: str) -> ModelHeader:
        """The header of ``content``; ``name`` begins the messages of a FormatError."""
        if content[:4] == MAGIC.to_bytes(4, "little"):
            raise FormatError(f"{name} is an image: give the model file (.safetensors) that it was packed from")
        if content[:4] == _ARCHIVE:
            raise FormatError(f"{name} is an archive, such as that of a whole network, not the model file (.safetensors) of one chain")
        start = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        if len(content) < start:
            if content[_LENGTH:_LENGTH + 1] not in (b"", b"{"):  # with which the headers of all safetensors files begin
                raise _no_network(name)
            raise FormatError(f"{name} is truncated: it has {len(content)} bytes, its header would end at {start}")
        try:
            header = json.loads(bytes(content[_LENGTH:start]))
            end = start + max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        except _UNREADABLE as error:
            raise FormatError(f"{name} is damaged or not a compressed network, since its header is not readable: "
                              "make one with `permfc compress`") from error
        if len(content) != end:
            problem = "truncated" if len(content) < end else "damaged"
            raise FormatError(f"{name} is {problem}: it has {len(content)} bytes, its header says {end}")
        try:
            metadata = json.loads(header["__metadata__"][METADATA_KEY])
            version, shown = metadata["version"], str(int(metadata["version"]))[:20]
            crc_start = start + range(end - start - 3).index(header["crc32"]["data_offsets"][0])
        except _UNREADABLE as error:
            raise _no_network(name) from error
        if version != MODEL_VERSION:
            raise FormatError(f"{name} has format version {shown}, this program reads version {MODEL_VERSION}: "
                              "compress the network again")
        return cls(metadata, slice(crc_start, crc_start + 4))

    def stored_crc(self, content: bytes) -> int:
        """The CRC-32 that the file holds."""
        return int.from_bytes(content[self.crc_field], "little")

    def crc(self, content: bytes) -> int:
        """CRC-32 of the file with the stored one taken as zero."""
        before, after = content[:self.crc_field.start], content[self.crc_field.stop:]
        return zlib.crc32(after, zlib.crc32(bytes(4), zlib.crc32(before)))


def _no_network(name: str) -> FormatError:
    return FormatError(f"{name} is not a compressed network: make one of a trained network with `permfc compress` first")
