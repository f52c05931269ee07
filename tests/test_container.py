"""The file of a whole network: its parts come back, and nothing that does not belong together is accepted."""

from __future__ import annotations

import io
import zipfile

import pytest

from permfc.errors import FormatError
from permfc.graph.container import MANIFEST, Container, load_container, save_container

CONTAINER = Container("onnx", {"stages": [1, 2]}, {"a": b"weights", "host.onnx": b"graph"})


def rewritten(path, change):
    """The archive with its members changed, under another name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in members.items():
            archive.writestr(name, part)
    other = path.with_name("other")
    other.write_bytes(content.getvalue())
    return other


def test_parts_come_back_and_bytes_are_reproducible(tmp_path):
    save_container(CONTAINER, tmp_path / "net")
    save_container(CONTAINER, tmp_path / "again")
    assert load_container(tmp_path / "net", "onnx") == CONTAINER
    assert (tmp_path / "net").read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize(("change", "message"), [
    (lambda members: members.update(a=b"Weights"), "part a does not belong to it"),
    (lambda members: members.update(b=b""), "its parts are not those that its manifest names"),
    (lambda members: members.pop("a"), "its parts are not those that its manifest names"),
    (lambda members: members.pop(MANIFEST), "is not a compressed network, but another archive: make one with `permfc compress` first$"),
    (lambda members: members.update({MANIFEST: members[MANIFEST].replace(b'"permfc": 1', b'"permfc": 9')}), "has network version 9"),
    (lambda members: members.update({MANIFEST: b"[" * 100000}), "is damaged or not a network file"),
    (lambda members: members.update({MANIFEST: b"[]"}), "is damaged or not a network file"),
])
def test_what_does_not_belong_together_is_refused(change, message, tmp_path):
    save_container(CONTAINER, tmp_path / "net")
    with pytest.raises(FormatError, match=message):
        load_container(rewritten(tmp_path / "net", change), "onnx")


def in_directory(path, offset: int, value: bytes):
    """The archive with bytes of the directory's entry of part "a" replaced, under another name."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content[entry + offset:entry + offset + len(value)] = value
    other = path.with_name("other")
    other.write_bytes(content)
    return other


@pytest.mark.parametrize(("offset", "value", "message"), [
    (8, b"\x01\x00", "is damaged or not a network file: .*encrypted"),
    (10, b"\x08\x00", "^[^ ]* is not a network file: its parts are compressed"),
    (20, b"\x00\x00\x00\x40" * 2, "^[^ ]* is damaged: its parts are larger than the file"),
])
def test_members_that_no_network_file_has(offset, value, message, tmp_path):
    save_container(CONTAINER, tmp_path / "net")
    with pytest.raises(FormatError, match=message):
        load_container(in_directory(tmp_path / "net", offset, value), "onnx")


def test_other_files_are_refused(tmp_path):
    save_container(CONTAINER, tmp_path / "net")
    with pytest.raises(FormatError, match="of kind 'onnx', not 'torch': run it with permfc.Session"):
        load_container(tmp_path / "net", "torch")
    content = (tmp_path / "net").read_bytes()
    for cut in (5, len(content) // 2, len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:cut])
        with pytest.raises(FormatError, match="is damaged or not a network file"):
            load_container(tmp_path / "cut", "onnx")
    (tmp_path / "text").write_bytes(b"text")
    for kind, maker in (("onnx", "`permfc compress` and a name that does not end in .safetensors"), ("torch", "permfc.torch.save")):
        with pytest.raises(FormatError, match=f"text is not a network file: make one with {maker} first$"):
            load_container(tmp_path / "text", kind)
