"""The file of a whole network: a zip archive of its parts, with a manifest that holds their checksums (docs/format.md, "Network file").

Parts are stored uncompressed, since coded weights do not compress. Nothing in the file is executed when it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError
from ..files import read_file, write_file

NETWORK_VERSION = 1
MANIFEST = "permfc.json"
_OLDEST = (1980, 1, 1, 0, 0, 0)  # the same time in every archive: equal networks give equal bytes
_BEGINNING = b"PK\x03\x04"
_MAKERS = {"onnx": "`permfc compress`", "torch": "permfc.torch.save"}
_NAMES = {"onnx": " and a name that does not end in .safetensors", "torch": ""}


@dataclass(frozen=True)
class Container:
    """What a network file holds.

    Members
    -------
    kind : str
        What runs the host's part: "onnx" or "torch".
    description : dict
        Plain JSON values; how the parts belong together.
    parts : mapping of str to bytes
        By their names in the archive.
    """

    kind: str
    description: dict[str, Any]
    parts: Mapping[str, bytes]


def is_container(content: bytes) -> bool:
    """Whether these bytes begin like a network file."""
    return content.startswith(_BEGINNING)


def save_container(container: Container, path: str | os.PathLike[str]) -> None:
    """Write a network file; it appears under its name only when it is complete. FormatError if it cannot be written."""
    sums = {name: hashlib.sha256(part).hexdigest() for name, part in container.parts.items()}
    manifest = {"permfc": NETWORK_VERSION, "kind": container.kind, "sha256": sums, "description": container.description}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in {MANIFEST: json.dumps(manifest, indent=1).encode(), **container.parts}.items():
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), part)
    write_file(path, content.getvalue())


def load_container(path: str | os.PathLike[str], kind: str) -> Container:
    """Read a network file.

    Raises
    ------
    FormatError
        If it cannot be read, is damaged, of another version or kind, or its parts do not belong together.
    """
    content = read_file(path)
    if not is_container(content):
        raise FormatError(f"{path} is not a network file: make one with {_MAKERS[kind]}{_NAMES[kind]} first")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if MANIFEST not in archive.namelist():
                raise FormatError(f"{path} is not a compressed network, but another archive: make one with {_MAKERS[kind]} first")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise FormatError(f"{path} is not a network file: its parts are compressed")
            if sum(entry.file_size for entry in entries) > len(content):  # before they take memory
                raise FormatError(f"{path} is damaged: its parts are larger than the file")
            parts = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(parts.pop(MANIFEST))
        version, found, sums, description = (manifest[key] for key in ("permfc", "kind", "sha256", "description"))
    except FormatError:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, RuntimeError) as error:
        raise FormatError(f"{path} is damaged or not a network file: {error}") from error
    if version != NETWORK_VERSION:
        raise FormatError(f"{path} has network version {version!r}, this program reads version {NETWORK_VERSION}: compress the network again")
    if found != kind:
        raise FormatError(f"{path} holds a network of kind {found!r}, not {kind!r}: " + (
            "load it with permfc.torch.load" if found == "torch" else "run it with permfc.Session"))
    if not isinstance(sums, dict) or not isinstance(description, dict) or set(sums) != set(parts):
        raise FormatError(f"{path} is damaged: its parts are not those that its manifest names")
    for name, part in parts.items():
        if hashlib.sha256(part).hexdigest() != sums[name]:
            raise FormatError(f"{path} is damaged: part {name} does not belong to it, since its checksum differs; compress the network again")
    return Container(kind, description, parts)
