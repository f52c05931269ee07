"""What an image holds beside its segments, in bits: the fixed costs that the fit weighs against error."""

from __future__ import annotations

from dataclasses import dataclass

from ..format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, LEVEL_ENTRY, MAX_LEVELS, TABLE_BYTES, HostFlag, padded, words
from ..image.host_section import host_dtype
from ..network import InputSteps, Kind, block_rows

ANY_KIND = frozenset(Kind)


@dataclass(frozen=True)
class Storage:
    """How a layer is stored.

    Members
    -------
    block_outputs, bus_bits : int
        Most outputs of a block, and the bus width.
    levels : int
        Most levels of a sequence; below 16, no feature is stored as dense8.
    kinds : set of Kind
        Kinds of class that may be used; EMPTY always may.
    multipliers : bool
        Whether the outputs have multipliers of their own: not if the results are raw.
    inputs : int
        Inputs of the network if this is its first layer, whose class numbers an image holds; 0 for other layers.
    table : bool
        Whether results go through a table, which is stored once.
    """

    block_outputs: int
    bus_bits: int
    levels: int = MAX_LEVELS
    kinds: frozenset[Kind] = ANY_KIND
    multipliers: bool = True
    inputs: int = 0
    table: bool = False

    @property
    def only_dense(self) -> bool:
        """Value of whether all features that are stored have int8 weights."""
        return self.kinds == {Kind.DENSE8}

    @property
    def segment_bits(self) -> int:
        """Value of the bits of the longest segment that a lane's buffer holds, as ``EngineConfig.segment_bytes`` says."""
        return max(4 * self.block_outputs, self.bus_bits)

    def may_use(self, kind: Kind) -> bool:
        """Whether a class may be of this kind."""
        return kind is Kind.EMPTY or kind in self.kinds and (kind is not Kind.DENSE8 or self.levels == MAX_LEVELS)

    @property
    def has_sequences(self) -> bool:
        """Whether any class may have a common sequence of its own."""
        return self.may_use(Kind.PREFIX) or self.may_use(Kind.SPARSE)

    def whole_words(self, bits: int) -> int:
        """Bits of the words that hold ``bits``, an integer or an array."""
        return words(bits, self.bus_bits) * self.bus_bits

    def block_rows(self, outputs: int) -> list[slice]:
        """The outputs of each block."""
        return block_rows(outputs, self.block_outputs)

    def header_bits(self, outputs: int, slots: int) -> int:
        """Bits of a layer of ``outputs`` outputs with so many class slots, beside its segments."""
        blocks = sum(self._block_bits(rows.stop - rows.start, slots) for rows in self.block_rows(outputs))
        return blocks + self.inputs * (slots - 1).bit_length() + self.table * self.whole_words(8 * TABLE_BYTES)

    def _block_bits(self, outputs: int, slots: int) -> int:
        regions = (BLOCK_HEADER.itemsize, CLASS_INFO.itemsize * slots, LEVEL_ENTRY.itemsize * MAX_LEVELS * slots, 2 * outputs,
                   2 * outputs * self.multipliers)
        return 8 * sum(padded(size, self.bus_bits // 8) for size in regions)


def step_bits(steps: InputSteps, inputs: int) -> int:
    """Bits that an image needs for steps and offsets of its own for each input."""
    kinds = (HostFlag.EXPONENTS if steps.exponents is not None else 0) | (HostFlag.ZEROS if steps.zeros is not None else 0)
    return 8 * (host_dtype(inputs, 0, 0, HostFlag(kinds)).itemsize - host_dtype(inputs, 0, 0).itemsize)


def fixed_bits(inputs: int, outputs: int, bus_bits: int) -> int:
    """Bits of an image outside of its layers: its header, and the host section without what it holds for each input."""
    return 8 * (padded(IMAGE_HEADER.itemsize, bus_bits // 8) + host_dtype(inputs, outputs, 0).itemsize + 1)
