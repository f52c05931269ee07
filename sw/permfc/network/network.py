"""A compressed network and its golden integer arithmetic: what the engine must compute, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError, ModelError
from ..format import MAX_LEVELS
from .input_steps import InputSteps
from .layer import Layer
from .output_scale import MOST_SCALE, join_scale, split_scale
from .segments import Kind, check_array


@dataclass(frozen=True, eq=False)
class Network:
    """Fully connected layers in a row, the quantisation of the input and the scale of the results.

    Members
    -------
    layers : tuple of Layer
        A layer's outputs are in the packed order of the next layer's features; the last layer's are in the user's order.
    input_steps : InputSteps
        How inputs become int8.
    input_class : uint8 [inputs]
        Class slot of each input, in the user's order. A dense8 class takes two slots, its inputs carry the first.
    output_scale : float32 [outputs]
        A result is its integer times this. Rounded as files and images store it: to 11 significant bits.

    Raises
    ------
    ModelError
        If the members contradict each other.
    """

    layers: tuple[Layer, ...]
    input_steps: InputSteps
    input_class: np.ndarray
    output_scale: np.ndarray

    def __post_init__(self) -> None:
        if not self.layers:
            raise ModelError("A network must have at least one layer")
        for number, (layer, following) in enumerate(zip(self.layers[:-1], self.layers[1:], strict=True)):
            if layer.outputs != following.features:
                raise ModelError(f"Layer {number} has {layer.outputs} outputs, but layer {number + 1} has {following.features} features")
            if layer.raw:
                raise ModelError(f"Layer {number} has raw results, which only the last layer can have")
        for values in (self.input_steps.exponents, self.input_steps.zeros):
            if values is not None and len(values) != self.inputs:
                raise ModelError(f"Input steps are those of {len(values)} inputs, but the network has {self.inputs}")
        check_array("Input classes of a network", self.input_class, np.uint8, (self.inputs,))
        check_array("Output scale of a network", self.output_scale, np.float32, (self.outputs,))
        if not (np.abs(self.output_scale) <= MOST_SCALE).all():  # written so that NaN is refused, too
            raise ModelError(f"Output scale must be numbers up to {MOST_SCALE:g}, not up to {np.abs(self.output_scale).max()}")
        object.__setattr__(self, "output_scale", join_scale(*split_scale(self.output_scale)))
        if not np.array_equal(np.sort(self.input_class), self.layers[0].feature_slots):
            raise ModelError("Input classes must hold each class slot as often as the first layer has features in that class")

    @property
    def inputs(self) -> int:
        """Value of the features of the first layer."""
        return self.layers[0].features

    @property
    def outputs(self) -> int:
        """Value of the outputs of the last layer."""
        return self.layers[-1].outputs

    @property
    def input_order(self) -> np.ndarray:
        """Value of the user's index of each input in packed order, int64 [inputs]."""
        return np.argsort(self.input_class, kind="stable")

    @property
    def accumulator_bits(self) -> int:
        """Value of the accumulator width that every layer fits."""
        return max(layer.accumulator_bits for layer in self.layers)

    @property
    def widest(self) -> int:
        """Value of the most features or outputs of any layer."""
        return max(max(layer.features, layer.outputs) for layer in self.layers)

    @property
    def most_block_outputs(self) -> int:
        """Value of the most outputs of any block."""
        return max(layer.block_rows[0].stop for layer in self.layers)

    @property
    def most_levels(self) -> int:
        """Value of the most levels of any common sequence; a dense8 class has 16, for nibbles."""
        classes = [segments for layer in self.layers for block in layer.blocks for segments in block]
        return max(MAX_LEVELS if segments.kind is Kind.DENSE8 else segments.levels.size for segments in classes)

    @property
    def has_tables(self) -> bool:
        """Whether results of any layer go through a table."""
        return any(layer.table is not None for layer in self.layers)

    def quantise(self, x: np.ndarray) -> np.ndarray:
        """Inputs as the engine takes them: rounded to steps (halves to even), clipped, in packed order.

        Parameters
        ----------
        x : float [batch, inputs], user's order

        Returns
        -------
        int8 [batch, inputs]

        Raises
        ------
        InputError
            If the shape is wrong or a value is not finite.
        """
        return self.input_steps.quantise(self._checked(x))[:, self.input_order]

    def _checked(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.inputs or x.dtype.kind not in "fiub":
            raise InputError(f"Input must be numbers [batch, {self.inputs}], not {x.dtype} {list(x.shape)}")
        return x

    def clipped_share(self, x: np.ndarray) -> float:
        """The share of the values that ``quantise`` clips to -128 or 127, 0 to 1, for ``x`` as there."""
        counts = self.input_steps.unclipped(self._checked(x))
        return float(np.mean((counts < -128) | (counts > 127))) if counts.size else 0.0

    def layer_inputs(self, x: np.ndarray) -> list[np.ndarray]:
        """What each layer receives, int8 [batch, features] a layer, for ``x`` int8 [batch, inputs] in packed order."""
        received = [x]
        for layer in self.layers[:-1]:
            received.append(layer.compute(received[-1]))
        return received

    def compute(self, x: np.ndarray) -> np.ndarray:
        """The golden model: results int32 [batch, outputs] for ``x`` int8 [batch, inputs] in packed order."""
        return self.layers[-1].compute(self.layer_inputs(x)[-1]).astype(np.int32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Results float32 [batch, outputs] for float inputs [batch, inputs] in the user's order."""
        return self.compute(self.quantise(x)).astype(np.float32) * self.output_scale
