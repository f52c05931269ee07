"""One compressed fully connected layer and its integer arithmetic, bit for bit what the engine computes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InputError, ModelError
from ..format import BIAS_UNIT, MAX_CLASSES, MAX_SHIFT, TABLE_BYTES
from .segments import MAX_SIZE, Kind, Segments, check_array, check_integer


def block_rows(outputs: int, block_outputs: int) -> list[slice]:
    """The outputs of each block: ``block_outputs`` of them, and in the last one the rest."""
    return [slice(start, min(start + block_outputs, outputs)) for start in range(0, outputs, block_outputs)]


_FLOAT32_BITS = 25  # of a signed integer: float32 holds all of them up to 2**24


@dataclass(frozen=True, eq=False)
class Layer:
    """One fully connected layer.

    Members
    -------
    features, outputs : int
        Inputs and outputs, 1 to 32768.
    block_outputs : int
        Outputs of each block but the last, which has the rest.
    blocks : tuple of tuples of Segments
        Per block its classes. Every block has the same classes: features and kinds.
    bias : int32 [outputs]
        Stored in 16 bits: all int16, or all int16 times 256.
    mul : uint16 [outputs]
        Requantisation multipliers.
    shift : int
        Requantisation shift, 1 to 47.
    relu : bool
        Results are clamped to 0..127 instead of -128..127.
    raw : bool
        Results are the int32 accumulators; only for the last layer, without ``relu``.
    table : int8 [256] or None
        What becomes of each result, by its byte: 0..127, then -128..-1; only without ``relu`` and ``raw``.

    Raises
    ------
    ModelError
        If the members contradict each other.
    """

    features: int
    outputs: int
    block_outputs: int
    blocks: tuple[tuple[Segments, ...], ...]
    bias: np.ndarray
    mul: np.ndarray
    shift: int
    relu: bool
    raw: bool
    table: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_integer("Features of a layer", self.features, 1, MAX_SIZE)
        check_integer("Outputs of a layer", self.outputs, 1, MAX_SIZE)
        check_integer("Outputs of a block", self.block_outputs, 1, MAX_SIZE)
        check_integer("Shift of a layer", self.shift, 1, MAX_SHIFT)
        check_array("Bias of a layer", self.bias, np.int32, (self.outputs,))
        check_array("Multipliers of a layer", self.mul, np.uint16, (self.outputs,))
        if self.relu and self.raw:
            raise ModelError("A layer with raw results cannot have a ReLU: clear relu or raw")
        if self.table is not None:
            check_array("Table of a layer", self.table, np.int8, (TABLE_BYTES,))
            if self.relu or self.raw:
                raise ModelError("A layer with a table can have neither a ReLU nor raw results: put the ReLU into the table, or clear raw")
        if not self._fits_int16(self.bias_unit):
            raise ModelError(f"Biases of a layer from {self.bias.min()} to {self.bias.max()} cannot be stored in 16 bits: "
                             f"keep all in int16, or make all multiples of {BIAS_UNIT} in {BIAS_UNIT} times that")
        self._check_blocks()

    def _check_blocks(self) -> None:
        expected = -(-self.outputs // self.block_outputs)
        if len(self.blocks) != expected:
            raise ModelError(f"A layer of {self.outputs} outputs in blocks of {self.block_outputs} must have {expected} blocks, "
                             f"not {len(self.blocks)}")
        for number, (classes, rows) in enumerate(zip(self.blocks, self.block_rows, strict=True)):
            if len(classes) != len(self.blocks[0]):
                raise ModelError(f"Block {number} must have the {len(self.blocks[0])} classes of block 0, not {len(classes)}")
            slots = sum(segments.kind.slots for segments in classes)
            if not 1 <= slots <= MAX_CLASSES:
                raise ModelError(f"Block {number} must take 1 to {MAX_CLASSES} class slots, not {slots}")
            ends = [segments.end for segments in classes]
            if [segments.first for segments in classes] != [0, *ends[:-1]] or ends[-1] != self.features:
                raise ModelError(f"Classes of block {number} must cover the {self.features} features without gaps, not end at {ends}")
            for segments, model in zip(classes, self.blocks[0], strict=True):
                if segments.outputs != rows.stop - rows.start:
                    raise ModelError(f"Block {number} must have {rows.stop - rows.start} outputs, not {segments.outputs}")
                if (segments.end, segments.kind) != (model.end, model.kind):
                    raise ModelError(f"Block {number} must have the classes of block 0, "
                                     f"not one of kind {segments.kind.value} that ends at {segments.end}")

    def _fits_int16(self, unit: int) -> bool:
        """Whether all biases are int16 times ``unit``."""
        counts = self.bias // unit
        return bool((counts * unit == self.bias).all() and counts.min() >= -(1 << 15) and counts.max() < 1 << 15)

    @property
    def bias_unit(self) -> int:
        """Value of the unit of the stored biases: 1, or 256 if any bias is outside of int16."""
        return 1 if self._fits_int16(1) else BIAS_UNIT

    @property
    def block_rows(self) -> list[slice]:
        """Value of the outputs of each block."""
        return block_rows(self.outputs, self.block_outputs)

    @property
    def classes(self) -> tuple[Segments, ...]:
        """Value of the first block's classes, which stand for all blocks' feature ranges and kinds."""
        return self.blocks[0]

    @property
    def is_empty(self) -> bool:
        """Whether all weights are zero and none is stored: results are the same for every input."""
        return all(segments.kind is Kind.EMPTY for segments in self.classes)

    @property
    def class_slots(self) -> np.ndarray:
        """Value of the first class slot of each class, int64 [classes]."""
        slots = [segments.kind.slots for segments in self.classes]
        return np.cumsum([0, *slots[:-1]])

    @property
    def feature_slots(self) -> np.ndarray:
        """Value of the class slot of each feature in packed order, uint8 [features]."""
        return np.repeat(self.class_slots, [segments.features for segments in self.classes]).astype(np.uint8)

    @cached_property
    def _weights(self) -> np.ndarray:
        weights = np.empty((self.outputs, self.features), dtype=np.int8)
        for rows, classes in zip(self.block_rows, self.blocks, strict=True):
            for segments in classes:
                weights[rows, segments.first:segments.end] = segments.weights().T
        weights.flags.writeable = False
        return weights

    def weights(self) -> np.ndarray:
        """The weights, int8 [outputs, features], read-only."""
        return self._weights

    @cached_property
    def accumulator_bits(self) -> int:
        """Value of the smallest signed width that holds every partial sum, in any order, for any int8 input."""
        worst = 0
        for rows, classes in zip(self.block_rows, self.blocks, strict=True):
            magnitudes = np.sum([segments.magnitudes() for segments in classes], axis=0)
            worst = max(worst, int((np.abs(self.bias[rows].astype(np.int64)) + 128 * magnitudes).max()))
        return worst.bit_length() + 1

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        """The accumulators before requantisation; they fit int32, since 32768 features and a bias of 2**23 do.

        Parameters
        ----------
        x : int8 [batch, features]

        Returns
        -------
        int64 [batch, outputs]
        """
        check_activations(x, self.features)
        # Every product and sum is an integer that the type holds: exact, and BLAS makes it fast.
        kind = np.float32 if self.accumulator_bits <= _FLOAT32_BITS else np.float64
        values = x.astype(kind)
        sums = [values @ self._weights[rows].T.astype(kind) for rows in self.block_rows]
        return np.concatenate(sums, axis=1).astype(np.int64) + self.bias

    def compute(self, x: np.ndarray) -> np.ndarray:
        """The layer's results, exactly as the engine computes them.

        Parameters
        ----------
        x : int8 [batch, features]

        Returns
        -------
        int8 [batch, outputs], or int32 with ``raw``
        """
        accumulators = self.accumulate(x)
        if self.raw:
            return accumulators.astype(np.int32)
        scaled = (accumulators * self.mul.astype(np.int64) + (1 << (self.shift - 1))) >> self.shift
        results = np.clip(scaled, 0 if self.relu else -128, 127).astype(np.int8)
        return results if self.table is None else self.table[results.view(np.uint8)]


def check_activations(x: np.ndarray, features: int) -> None:
    """Raise InputError unless ``x`` is int8 [batch, features]."""
    if not isinstance(x, np.ndarray) or x.dtype != np.int8 or x.ndim != 2 or x.shape[1] != features:
        found = f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else repr(x)
        raise InputError(f"Activations must be int8 [batch, {features}], not {found}")
