"""The layouts of format.py and of the gates against the tables of docs/format.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from permfc import format as fmt
from permfc_hw.headers import packed_layout

DOCUMENT = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8")
SENTENCES = " ".join(DOCUMENT.split())
NUMPY_TYPES = {"u8": "u1", "i8": "i1", "u16": "<u2", "u32": "<u4"}
TABLES = {
    "Image header, 32 bytes": fmt.IMAGE_HEADER,
    "Block header, 16 bytes": fmt.BLOCK_HEADER,
    "Class info, 12 bytes a slot": fmt.CLASS_INFO,
}


def section(heading: str) -> str:
    """The text under a heading of the document."""
    return re.split(r"^#+ ", DOCUMENT.split(f"### {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def documented_fields(heading: str) -> list[tuple[int, str, str]]:
    """Rows (offset, type, field) of the table under a heading."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|", section(heading), flags=re.MULTILINE)
    return [(int(offset), kind.strip(), name.strip()) for offset, kind, name in rows]


@pytest.mark.parametrize("heading", TABLES)
def test_fields_lie_where_the_document_says(heading):
    dtype = TABLES[heading]
    named = {name: (offset, NUMPY_TYPES[kind]) for offset, kind, name in documented_fields(heading) if name != "-"}
    fields = {name: (dtype.fields[name][1], dtype[name]) for name in dtype.names if not name.startswith("reserved")}
    assert named == fields
    assert dtype.itemsize == int(re.search(r"(\d+) bytes", heading).group(1))


@pytest.mark.parametrize("heading", TABLES)
def test_reserved_bytes_are_those_of_the_document(heading):
    reserved = [(offset, {"u8": 1, "2 bytes": 2, "4 bytes": 4}[kind]) for offset, kind, name in documented_fields(heading) if name == "-"]
    documented = {offset + byte for offset, size in reserved for byte in range(size)}
    dtype = TABLES[heading]
    places = {name: dtype.fields[name][1] for name in dtype.names if name.startswith("reserved")}
    assert {offset + byte for name, offset in places.items() for byte in range(dtype[name].itemsize)} == documented


@pytest.mark.parametrize("heading", TABLES)
def test_gates_see_the_same_fields(heading):
    dtype, layout = TABLES[heading], packed_layout(TABLES[heading])
    assert layout.size == 8 * dtype.itemsize
    for name in dtype.names:
        assert (layout[name].offset, layout[name].width) == (8 * dtype.fields[name][1], 8 * dtype[name].itemsize), name


def test_a_level_entry_is_a_level_and_its_aux():
    assert "16 entries of {level: i8, aux: u8}" in section("Level table, 32 bytes a slot")
    assert fmt.LEVEL_ENTRY == np.dtype([("level", "i1"), ("aux", "u1")])
    assert fmt.MAX_LEVELS * fmt.LEVEL_ENTRY.itemsize == 32


def test_magic_and_version():
    row, = re.findall(r"\| magic \| (0x[0-9a-fA-F]+), \"(\w{4})\"", DOCUMENT)
    assert fmt.MAGIC == int(row[0], 16)
    assert fmt.MAGIC.to_bytes(4, "little") == row[1].encode()
    assert f"| version | {fmt.VERSION} |" in DOCUMENT


def test_block_flags():
    row, = re.findall(r"\| flags \| (.*) \|", section("Block header, 16 bytes"))
    documented = [int(bit) for bit in re.findall(r"(?:^|, )(\d+) ", row)]
    meanings = ["first block", "last block", "final layer", "ReLU", "raw int32 results",
                f"biases count units of {fmt.BIAS_UNIT}", "all outputs share the multiplier",
                "results go through the layer's table"]
    assert documented == [int(flag) for flag in fmt.BlockFlag]
    assert re.findall(r"\d+ (" + "|".join(meanings) + ")", row) == meanings
    assert [flag.name for flag in fmt.BlockFlag] == ["FIRST", "LAST", "FINAL", "RELU", "RAW", "WIDE_BIAS", "SHARED_MUL", "TABLE"]


def test_image_flags():
    row, = re.findall(r"\| flags \| (.*) \|", section("Image header, 32 bytes"))
    assert row.startswith(f"{int(fmt.ImageFlag.TABLES)} some layer has a table")
    assert list(fmt.ImageFlag) == [fmt.ImageFlag.TABLES]


def test_host_flags():
    row, = re.findall(r"\| flags \| (.*) \|", section("Host section"))
    assert row == "1 each input has a step of its own, 2 each input has an offset, 4 all outputs have the same scale"
    assert [(int(flag), flag.name) for flag in fmt.HostFlag] == [(1, "EXPONENTS"), (2, "ZEROS"), (4, "SHARED_SCALE")]
    assert f"2^(exponents[i] / {fmt.STEP_OCTAVE})" in section("Host section")


def test_class_words_and_pair_share_a_field():
    assert f"bits 0..{fmt.WORDS_MASK.bit_length() - 1}: words of one lane segment; bit {fmt.PAIR.bit_length() - 1}: `dense8`" in DOCUMENT
    assert fmt.WORDS_MASK & fmt.PAIR == 0


def test_limits():
    assert f"at most {fmt.MAX_LEVELS} int8 values" in SENTENCES
    assert f"Lengths are 1 to {fmt.MAX_CODE_BITS};" in SENTENCES
    assert f"| shift | 1..{fmt.MAX_SHIFT} |" in SENTENCES
    assert f"| classes | class slots, 1..{fmt.MAX_CLASSES} |" in SENTENCES
    assert f"A class has 1 to {fmt.MAX_SPARSE_LEVELS} nonzero levels and a Rice parameter l (0 to {fmt.MAX_RICE})" in SENTENCES
    assert f"| {fmt.SPARSE_AUX} | 0; in a sparse class {fmt.SPARSE} + 2^l - 1 |" in SENTENCES
    assert fmt.CODE_ENDS == 255 and "255, which no prefix reaches" in SENTENCES


def test_registers_are_words_without_gaps():
    assert [int(register) for register in fmt.Register] == list(range(0, 4 * len(fmt.Register), 4))


@pytest.mark.parametrize(("byte_count", "bus_bytes", "expected"), [(0, 4, 0), (1, 4, 1), (4, 4, 1), (5, 4, 2), (64, 64, 1), (65, 64, 2)])
def test_padding_to_words(byte_count, bus_bytes, expected):
    assert fmt.words(byte_count, bus_bytes) == expected
    assert fmt.padded(byte_count, bus_bytes) == expected * bus_bytes
