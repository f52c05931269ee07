"""Damaged images: each is refused, with a sentence that says what is wrong."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks import network_of, random_layer, random_network, random_table
from permfc import EngineConfig, FormatError, InputSteps, Kind, Layer, Segments
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, BlockFlag, HostFlag
from permfc.image import pack, parse
from permfc.image.host_section import network_host_dtype
from permfc.image.layout import image_layout

BUS_BYTES = 8
NETWORK = network_of(
    [
        random_layer(np.random.default_rng(2), 12, 20, block_outputs=16, kinds=[Kind.PREFIX], classes=1, most_levels=3),
        random_layer(np.random.default_rng(3), 20, 3, kinds=[Kind.DENSE8], classes=1, table=random_table(np.random.default_rng(6))),
        random_layer(np.random.default_rng(5), 3, 30, kinds=[Kind.SPARSE], classes=1),
    ],
    np.random.default_rng(4),
    InputSteps(0.5, np.arange(12, dtype=np.uint8), np.arange(12, dtype=np.int16)),
    np.geomspace(0.01, 1, 30).astype(np.float32),
)
IMAGE = pack(NETWORK, EngineConfig(bus_bits=8 * BUS_BYTES))
LAYOUT = image_layout(NETWORK, BUS_BYTES)


def resealed(image: bytearray) -> bytes:
    """The image with a CRC-32 that agrees, as a wrong packer would write it."""
    image[28:32] = bytes(4)
    image[28:32] = zlib.crc32(image).to_bytes(4, "little")
    return bytes(image)


def with_host(**fields) -> bytes:
    """The image with fields of its host section replaced; none of another size."""
    image = bytearray(IMAGE)
    host = np.frombuffer(image, network_host_dtype(NETWORK), 1, LAYOUT.host_offset)
    for name, value in fields.items():
        host[name] = value
    return resealed(image)


def with_field(dtype: np.dtype, name: str, value: int, offset: int = 0) -> bytes:
    """The image with one field of a structure at ``offset`` replaced."""
    image = bytearray(IMAGE)
    np.frombuffer(image, dtype, 1, offset)[name] = value
    return resealed(image)


def test_the_image_itself_is_fine():
    assert parse(IMAGE).network().inputs == 12


@given(st.integers(0, len(IMAGE) - 1))
def test_every_truncation_is_found(size):
    with pytest.raises(FormatError, match="Image is truncated: it has"):
        parse(IMAGE[:size])


@given(st.integers(0, 8 * len(IMAGE) - 1))
def test_every_flipped_bit_is_found(bit):
    image = bytearray(IMAGE)
    image[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError, match="Image (is truncated|is damaged|has bytes after|has format version)|Not an image"):
        parse(bytes(image))


@given(st.integers(0, 8 * len(IMAGE) - 1))
def test_a_matching_crc_does_not_hide_a_flipped_bit(bit):
    image = bytearray(IMAGE)
    image[bit // 8] ^= 1 << bit % 8
    image = resealed(image)
    try:
        network = parse(image).network()
    except FormatError:
        return
    assert pack(network, EngineConfig(bus_bits=8 * BUS_BYTES)) == image  # a weight, bias or scale changed: another, equally good image


BLOCK = LAYOUT.header_words * BUS_BYTES
INFO = BLOCK + LAYOUT.blocks[0].header_words * BUS_BYTES
TABLE_BLOCK = LAYOUT.blocks[2].offset * BUS_BYTES
TABLE_FLAGS = int(np.frombuffer(IMAGE, BLOCK_HEADER, 1, TABLE_BLOCK)[0]["flags"])
PAIR_INFO = (LAYOUT.blocks[2].offset + LAYOUT.blocks[2].header_words) * BUS_BYTES


@pytest.mark.parametrize(("image", "message"), [
    (b"", "Image is truncated: it has 0 bytes, its header alone takes 32"),
    (IMAGE + b"x", f"Image has bytes after its end: it has {len(IMAGE) + 1} bytes, its header says {len(IMAGE)}"),
    (with_field(IMAGE_HEADER, "magic", 0), "Not an image: it begins with 0x00000000 instead of 0x31434650"),
    (with_field(IMAGE_HEADER, "version", 7), "Image has format version 7, this program reads version 4: pack the model file again"),
    (with_field(IMAGE_HEADER, "version", 3), "Image has format version 3, this program reads version 4: pack the model file again"),
    (with_field(IMAGE_HEADER, "bus_bytes_log2", 0), r"Image has a bus of 2\*\*0 bytes, it must be 2\*\*1 to 2\*\*6"),
    (with_field(IMAGE_HEADER, "bus_bytes_log2", 7), r"Image has a bus of 2\*\*7 bytes, it must be 2\*\*1 to 2\*\*6"),
    (with_field(IMAGE_HEADER, "host_offset", len(IMAGE) + 1), f"Image has its host section at byte {len(IMAGE) + 1}, outside its {len(IMAGE)} bytes"),
    (with_field(IMAGE_HEADER, "host_offset", len(IMAGE) - 7), "Image is damaged: its host section has 7 bytes, less than 10"),
    (with_field(IMAGE_HEADER, "host_offset", LAYOUT.host_offset - 8), "Image is damaged: its host section has|the segments of features"),
    (with_field(IMAGE_HEADER, "host_offset", 40), "Image ends inside the block header at byte 32"),
    (with_field(IMAGE_HEADER, "descriptor_words", 0), "Image is damaged: its program ends before the end of layer 0"),
    (with_field(IMAGE_HEADER, "descriptor_words", 9), "Image is not canonical: byte 14 .image header. differs from what its contents require"),
    (with_field(IMAGE_HEADER, "accumulator_bits", 9), "Image is not canonical: byte 24 .image header."),
    (with_field(IMAGE_HEADER, "flags", 0), "Image is not canonical: byte 25 .image header."),
    (with_field(IMAGE_HEADER, "flags", 3), "Image is not canonical: byte 25 .image header."),
    (with_field(IMAGE_HEADER, "reserved", 256), "Image is not canonical: byte 27 .image header."),
    (with_field(BLOCK_HEADER, "flags", 0, BLOCK), "Image is damaged: block 0 of layer 0 has flags 0x0, which break the layer order"),
    (with_field(BLOCK_HEADER, "next_words", 0, BLOCK), "Image is damaged: its program ends before the end of layer 0"),
    (with_field(BLOCK_HEADER, "classes", 17, BLOCK), "Image is damaged: a block has 17 class slots and 16 outputs"),
    (with_field(BLOCK_HEADER, "outputs", 0, BLOCK), "Image is damaged: a block has 1 class slots and 0 outputs"),
    (with_field(BLOCK_HEADER, "outputs", 65535, BLOCK), "Image ends inside the biases at byte"),
    (with_field(BLOCK_HEADER, "shift", 0, BLOCK), "Image is damaged: Shift of a layer must be an integer from 1 to 47, not 0"),
    (with_field(BLOCK_HEADER, "features", 13, BLOCK), "Image is damaged: Classes of block 0 must cover the 13 features without gaps"),
    (with_field(BLOCK_HEADER, "reserved", 1, BLOCK), f"Image is not canonical: byte {BLOCK + 7} .descriptor or parameters of layer 0, block 0."),
    (with_field(BLOCK_HEADER, "flags", TABLE_FLAGS | BlockFlag.RELU, TABLE_BLOCK),
     "Image is damaged: A layer with a table can have neither a ReLU nor raw results"),
    (with_field(BLOCK_HEADER, "flags", TABLE_FLAGS & ~BlockFlag.TABLE, TABLE_BLOCK), "Image is damaged: a block has|Image ends inside"),
    (with_host(flags=HostFlag.EXPONENTS), "Image is damaged: its host section has .* bytes instead of .* for 12 inputs and 30 outputs"),
    (with_host(flags=HostFlag.EXPONENTS | HostFlag.ZEROS | 8), f"Image is not canonical: byte {LAYOUT.host_offset + 8} .host section."),
    (with_host(output_scale=np.geomspace(0.02, 2, 30)), f"Image is not canonical: byte {LAYOUT.host_offset + 9} .host section."),
    (with_host(output_exponent=-1, output_scale=np.geomspace(0.4, 0.9, 30)), f"Image is not canonical: byte {LAYOUT.host_offset + 9}"),
    (with_host(output_exponent=127), "Image is damaged: Output scale must be numbers up to"),
    (with_host(output_scale=np.nan), "Image is damaged: Output scale must be numbers up to .*, not up to nan"),
    (with_host(output_scale=1), f"Image has {len(IMAGE)} bytes, but its contents take {len(IMAGE) - 58}"),
    (with_host(input_scale=0), "Image is damaged: Input scale must be a positive number, not 0.0"),
    (with_host(inputs=13), "Image is damaged: its host section has .* bytes instead of .* for 13 inputs and 30 outputs"),
    (with_field(CLASS_INFO, "end", 0, INFO), "Image is damaged: a class has features 0 to -1 and 1 class slots"),
    (with_field(CLASS_INFO, "base", 10**6, INFO), "Image is damaged: the segments of features 0 to 11 lie at byte 8000000, outside the image"),
    (with_field(CLASS_INFO, "words", 0x8001, PAIR_INFO + CLASS_INFO.itemsize), "Image is not canonical: byte"),
    (with_field(CLASS_INFO, "turns", 1, PAIR_INFO + CLASS_INFO.itemsize), "Image is not canonical: byte"),
    (with_field(CLASS_INFO, "reserved", 1, INFO), f"Image is not canonical: byte {INFO + 10} .descriptor or parameters of layer 0, block 0."),
    (with_field(CLASS_INFO, "words", 0, PAIR_INFO), "Image is damaged: the segments of features 0 to 19 take 0 turns, but their class info says 2"),
])
def test_damage(image, message):
    with pytest.raises(FormatError, match=message):
        parse(image)


@pytest.mark.parametrize("number", range(len(LAYOUT.blocks)))
@pytest.mark.parametrize("change", [-1, 1, 256])
def test_turns_that_the_segments_do_not_take(number, change):
    """Too few would make an engine leave weights out; too many would make it slow."""
    block = LAYOUT.blocks[number]
    segments = block.classes[0]
    image = with_field(CLASS_INFO, "turns", segments.turns + change, (block.offset + block.header_words) * BUS_BYTES)
    with pytest.raises(FormatError, match=f"Image is damaged: the segments of features 0 to {segments.end - 1} take {segments.turns} turns, "
                                          f"but their class info says {segments.turns + change}"):
        parse(image)


def test_nonzero_padding():
    image = bytearray(IMAGE)
    segment = LAYOUT.blocks[0].segment_offsets[0] * BUS_BYTES
    bits = NETWORK.layers[0].blocks[0][0].bits
    assert bits < 64 - 24  # both streams end before the middle of byte 4
    image[segment + 4] ^= 1
    with pytest.raises(FormatError, match=f"Image is not canonical: byte {segment + 4} .segments. differs from what its contents require"):
        parse(resealed(image))


def test_a_segment_of_another_composition():
    image = bytearray(IMAGE)
    start = LAYOUT.blocks[0].segment_offsets[0] * BUS_BYTES
    image[start + 8:start + 16] = bytes(8)  # of feature 1: all level 0
    with pytest.raises(FormatError, match="Image is damaged: Segment of feature 1 is not a permutation of the common sequence"):
        parse(resealed(image))


SPARSE = LAYOUT.blocks[3]
SPARSE_TABLE = (SPARSE.offset + SPARSE.header_words + SPARSE.info_words) * BUS_BYTES


@pytest.mark.parametrize(("entry", "change", "message"), [
    (SPARSE_TABLE + 2 * 3, 1, "Image is not canonical: byte .* .descriptor or parameters of layer 2"),          # an entry of zero
    (SPARSE_TABLE + 2 * 5 + 1, 1, "Image is not canonical: byte .* .descriptor or parameters of layer 2"),      # a limit
    (SPARSE_TABLE + 2 * 7 + 1, 64, "Image is damaged: Rice parameter of a sparse class must be an integer from 0 to"),
    (SPARSE_TABLE + 2 * 9, 1, "Image is not canonical: byte .* .descriptor or parameters of layer 2"),          # a level that no code has
    (SPARSE_TABLE + 2 * 9 + 1, 1, "Image is not canonical: byte .* .descriptor or parameters of layer 2"),
])
def test_damaged_table_of_a_sparse_class(entry, change, message):
    image = bytearray(IMAGE)
    image[entry] ^= change
    with pytest.raises(FormatError, match=message):
        parse(resealed(image))


def test_a_sparse_class_with_a_word_too_many():
    segments = Segments.sparse(0, np.ones(1, dtype=np.int8), np.ones((1, 8), dtype=np.uint8), 0)
    zeros = np.zeros(8, dtype=np.int32)
    layer = Layer(1, 8, 8, ((segments,),), zeros, zeros.astype(np.uint16), 1, True, False)
    image = bytearray(pack(network_of([layer], np.random.default_rng(0)), EngineConfig(bus_bits=16)))
    host_offset = parse(bytes(image)).header["host_offset"]
    image[host_offset - 1:host_offset] = bytes(2) + image[host_offset - 1:host_offset]  # between the two streams
    words = 32 + BLOCK_HEADER.itemsize + CLASS_INFO.fields["words"][1]
    image[words] += 1
    image[16:20], image[20:24] = len(image).to_bytes(4, "little"), (host_offset + 2).to_bytes(4, "little")
    with pytest.raises(FormatError, match="Image has .* bytes, but its contents take|Image is not canonical"):
        parse(resealed(image))


def test_parameters_of_another_form():
    """A wide bias that could be narrow, and equal multipliers that are stored."""
    zeros = np.zeros(4, dtype=np.int32)
    layer = Layer(1, 4, 4, ((Segments.empty(0, 1, 4),),), zeros, np.full(4, 9, dtype=np.uint16), 1, True, False)
    image = pack(network_of([layer], np.random.default_rng(0)), EngineConfig(bus_bits=64))
    wide, stored = bytearray(image), bytearray(image)
    wide[32 + 5] |= BlockFlag.WIDE_BIAS
    with pytest.raises(FormatError, match="Image is not canonical: byte 37"):
        parse(resealed(wide))
    stored[32 + 5] ^= BlockFlag.SHARED_MUL
    stored[32 + 10] = 0
    host_offset = parse(image).header["host_offset"]
    stored[host_offset:host_offset] = 4 * b"\x09\x00"
    stored[16:20], stored[20:24] = len(stored).to_bytes(4, "little"), (host_offset + 8).to_bytes(4, "little")
    with pytest.raises(FormatError, match="Image has .* bytes, but its contents take"):
        parse(resealed(stored))


def test_a_code_that_is_not_the_optimal_one():
    network = random_network(1, (5, 40), kinds=[Kind.PREFIX], classes=1)
    image = bytearray(pack(network, EngineConfig(bus_bits=64)))
    table = image_layout(network, 8).blocks[0]
    unused = (table.offset + table.header_words + table.info_words) * 8 + 2 * 7 + 1  # aux 7 is zero
    image[unused] = 5
    with pytest.raises(FormatError, match=f"Image is not canonical: byte {unused} .descriptor or parameters of layer 0, block 0."):
        parse(resealed(image))
