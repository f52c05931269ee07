"""Everything that both sides of the bus know: the layout of an image, the register map, error codes.

docs/format.md describes the same bytes in prose. All integers are little-endian; a *word* is one beat of the memory bus
(``bus_bits``), and each region of an image is padded with zeros to whole words.
"""

from __future__ import annotations

import enum

import numpy as np

MAGIC = 0x31434650  # "PFC1"
VERSION = 4

MAX_LEVELS = 16
MAX_CLASSES = 16
MAX_CODE_BITS = 8
MAX_SHIFT = 47
MAX_RICE = 6            # bits of a run's remainder in a sparse class
MAX_SPARSE_LEVELS = 4   # nonzero levels of a sparse class
BIAS_UNIT = 256         # of the stored biases, with WIDE_BIAS
TABLE_BYTES = 256       # of a pointwise function: a result for every int8, by its byte
STEP_OCTAVE = 8         # exponents of an input step from one power of two to the next
IMAGE_ALIGNMENT = 4096  # an image starts on a 4 KiB boundary, which no AXI burst may cross

IMAGE_HEADER = np.dtype([
    ("magic", "<u4"),
    ("version", "<u2"),
    ("bus_bytes_log2", "u1"),
    ("levels", "u1"),             # most levels of any class: 8 or 16
    ("inputs", "<u2"),            # features of the first layer
    ("features", "<u2"),          # most inputs or outputs of any layer
    ("block_outputs", "<u2"),     # most outputs of any block
    ("descriptor_words", "<u2"),  # words of the first block's descriptor region
    ("image_bytes", "<u4"),
    ("host_offset", "<u4"),       # byte offset of the host section
    ("accumulator_bits", "u1"),   # width that holds every partial sum, proved by the packer
    ("flags", "u1"),              # ImageFlag
    ("reserved", "<u2"),
    ("crc32", "<u4"),             # of the whole image, with this field zero
])

BLOCK_HEADER = np.dtype([
    ("features", "<u2"),
    ("outputs", "<u2"),
    ("classes", "u1"),            # class slots, 1 to 16
    ("flags", "u1"),
    ("shift", "u1"),
    ("reserved", "u1"),
    ("next_words", "<u2"),        # words of the next block's descriptor region, 0 at the end
    ("mul", "<u2"),               # the multiplier of all outputs, with SHARED_MUL
    ("reserved2", "<u4"),
])

CLASS_INFO = np.dtype([
    ("base", "<u4"),              # word offset of feature 0's segment, extrapolated, modulo 2**32
    ("end", "<u2"),               # first feature after this class
    ("words", "<u2"),             # bits 0..11 words of one lane's segment; bit 15 PAIR
    ("turns", "<u2"),             # that decode any segment of the class: a codeword of both streams each
    ("reserved", "<u2"),
])

LEVEL_ENTRY = np.dtype([("level", "i1"), ("aux", "u1")])  # 16 a class slot

PAIR = 1 << 15
WORDS_MASK = (1 << 12) - 1
SPARSE_AUX = 7    # the entry of a level table whose aux describes the runs of a sparse class; 0 in a prefix class
SPARSE = 1 << 7   # in that aux: the class is sparse; bits 0..5 hold 2**rice - 1
CODE_ENDS = 0xFF  # in aux[d - 1], and more than any prefix of d bits: no codeword is longer than d bits


class ImageFlag(enum.IntFlag):
    """Bits of an image's ``flags``."""

    TABLES = 1  # some layer has a table; an engine without tables refuses the image


class HostFlag(enum.IntFlag):
    """Bits of the host section's ``flags``."""

    EXPONENTS = 1  # each input has a step of its own
    ZEROS = 2      # each input has an offset
    SHARED_SCALE = 4  # all outputs have the same scale, which is stored once


class BlockFlag(enum.IntFlag):
    """Bits of a block's ``flags``."""

    FIRST = 1   # first block of its layer
    LAST = 2    # last block of its layer: the outputs become the next layer's activations
    FINAL = 4   # of the last layer: results go to the output stream, zeros included
    RELU = 8    # clamp to 0..127 instead of -128..127
    RAW = 16    # hand out accumulators as they are (int32), only with FINAL
    WIDE_BIAS = 32   # stored biases count units of BIAS_UNIT
    SHARED_MUL = 64  # all outputs have the header's multiplier; none are stored
    TABLE = 128      # results go through the layer's table, which is stored behind the parameters of its first block


class Register(enum.IntEnum):
    """Byte addresses of the AXI4-Lite registers, 32 bits each."""

    ID = 0x00             # MAGIC
    VERSION = 0x04        # VERSION
    CONFIG0 = 0x08        # lanes | log2(bus bytes) << 8 | levels << 16 | outstanding << 24
    CONFIG1 = 0x0C        # block_outputs | features << 16
    CONFIG2 = 0x10        # accumulator_bits | tables << 8
    CONTROL = 0x14        # write: bit 0 start, bit 1 clear
    STATUS = 0x18         # bit 0 busy, bit 1 done, bit 2 results wait, bits 15..8 error code
    IMAGE_BASE = 0x1C     # byte address of the image of runs that start after the write
    CYCLES = 0x20
    BEATS = 0x24
    SEGMENTS_FETCHED = 0x28
    SEGMENTS_SKIPPED = 0x2C
    CYCLES_STARVED = 0x30
    CYCLES_STALLED = 0x34


class Control(enum.IntFlag):
    """Bits written to ``Register.CONTROL``."""

    START = 1  # run the network on the input that was streamed in
    CLEAR = 2  # discard input and error; no effect while a run is busy, nor on results that wait


class Status(enum.IntFlag):
    """Bits of ``Register.STATUS``."""

    BUSY = 1
    DONE = 2
    RESULTS = 4  # results of a complete run wait on the output stream; no input is taken and no run begins before they have left


class ErrorCode(enum.IntEnum):
    """Why a run stopped: bits 15..8 of ``Register.STATUS``."""

    NONE = 0
    BUS = 1           # the memory answered a read with an error response, or with RLAST on a wrong word
    MAGIC = 2         # no image at IMAGE_BASE
    VERSION = 3       # an image of another format version
    CONFIG = 4        # an image for another bus width, for larger limits or for an engine with tables
    INPUT_LENGTH = 5  # more or fewer input values than the network has inputs
    TIMEOUT = 6       # the memory did not answer
    DESCRIPTOR = 7    # a block descriptor out of range


def words(byte_count: int, bus_bytes: int) -> int:
    """Bus words that hold ``byte_count`` bytes."""
    return -(-byte_count // bus_bytes)


def padded(byte_count: int, bus_bytes: int) -> int:
    """Bytes of a region of ``byte_count`` bytes after padding to whole bus words."""
    return words(byte_count, bus_bytes) * bus_bytes
