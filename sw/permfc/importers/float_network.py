"""A trained fully connected network in float, as every importer delivers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, ModelError
from ..functions import Function
from .quantised import SAMPLES, drawn

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """y = f(W x + b).

    Members
    -------
    weight : float32 [M, N]
    bias : float32 [M]
    function : Function
    name : str
        What error messages call the layer.

    Raises
    ------
    ModelError
        If a shape is wrong, the layer is empty, or a value is NaN or infinite.
    """

    weight: np.ndarray
    bias: np.ndarray
    function: Function
    name: str

    def __post_init__(self) -> None:
        weight, bias = np.asarray(self.weight), np.asarray(self.bias)
        if weight.ndim != 2:
            raise ModelError(f"Weight of layer {self.name} must be a matrix [outputs, inputs], not an array of shape {list(weight.shape)}: "
                             "convolutions are not fully connected layers")
        if 0 in weight.shape:
            raise ModelError(f"Layer {self.name} is empty: its weight has shape {list(weight.shape)}")
        if bias.shape != (weight.shape[0],):
            raise ModelError(f"Bias of layer {self.name} must have one value for each of the {weight.shape[0]} outputs, "
                             f"not shape {list(bias.shape)}")
        for what, array in (("Weight", weight), ("Bias", bias)):
            if array.dtype.kind not in "fiu":
                raise ModelError(f"{what} of layer {self.name} must hold real numbers, not {array.dtype}")
            with np.errstate(over="ignore"):
                values = array.astype(np.float32)
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                raise ModelError(f"{what} of layer {self.name} holds {values[tuple(bad[0])]} at {bad[0].tolist()}: "
                                 f"{len(bad)} of {values.size} values are NaN or infinite in float32")
            object.__setattr__(self, what.lower(), values)

    @property
    def outputs(self) -> int:
        """Value of the rows of the weight."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """Value of the columns of the weight."""
        return self.weight.shape[1]

    def sums(self, x: np.ndarray) -> np.ndarray:
        """What the layer gives to its function, float32 [batch, M], for ``x`` float32 [batch, N]."""
        return x @ self.weight.T + self.bias

    def for_inputs_less(self, offsets: np.ndarray | float) -> FloatLayer:
        """The layer with the same results for inputs from which ``offsets``, one for all or float [N], were taken."""
        taken = self.weight @ np.broadcast_to(np.asarray(offsets, dtype=np.float64), self.inputs)
        return replace(self, bias=(self.bias + taken).astype(np.float32))


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """Fully connected layers in a row.

    Members
    -------
    layers : tuple of FloatLayer
    notes : tuple of str
        What a user should know about how they were read, e.g. what is left to the host; one sentence each.
    input_range : (float, float), optional
        The least and greatest input, where a quantised file tells.

    Raises
    ------
    ModelError
        If there is no layer, or a layer's inputs are not as many as the outputs of the one before.
    """

    layers: tuple[FloatLayer, ...]
    notes: tuple[str, ...] = ()
    input_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise ModelError("The model has no fully connected layer")
        for before, after in zip(self.layers[:-1], self.layers[1:], strict=True):
            if before.outputs != after.inputs:
                raise ModelError(f"Layer {after.name} takes {after.inputs} inputs, but layer {before.name} before it has {before.outputs} outputs")

    def __iter__(self) -> Iterator[FloatLayer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def inputs(self) -> int:
        """Value of the inputs of the first layer."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Value of the outputs of the last layer."""
        return self.layers[-1].outputs

    @property
    def weight_count(self) -> int:
        """Value of the number of weights, the divisor of every bits-a-weight figure."""
        return sum(layer.weight.size for layer in self.layers)

    def inputs_in_range(self) -> np.ndarray | None:
        """Inputs made up for calibration from the range that the file tells, float32 [256, inputs]; None if it tells none."""
        return None if self.input_range is None else drawn(self.input_range, (SAMPLES, self.inputs), np.random.default_rng(0))

    def emptied(self, compressed: Network) -> tuple[str, ...]:
        """Names of the layers that have none of their weights in a compressed network: they give the same results for every input."""
        return tuple(layer.name for layer, small in zip(self.layers, compressed.layers, strict=True) if layer.weight.any() and small.is_empty)

    def layer_inputs(self, x: np.ndarray) -> list[np.ndarray]:
        """What each layer receives and, last, the results: float32 [batch, ...] each, for ``x`` float [batch, inputs]."""
        values = [check_samples(x, self.inputs, "Input")]
        for layer in self.layers:
            values.append(layer.function(layer.sums(values[-1])))
        return values

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Results float32 [batch, outputs] for ``x`` float [batch, inputs]."""
        return self.layer_inputs(x)[-1]


def check_samples(x: np.ndarray, inputs: int, name: str) -> np.ndarray:
    """``x`` as float32 [batch, inputs], or InputError that begins with ``name``."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != inputs or not len(x) or x.dtype.kind not in "fiub":
        raise InputError(f"{name} must be numbers [samples, {inputs}] with at least one sample, not {x.dtype} {list(x.shape)}")
    with np.errstate(over="ignore"):
        values = x.astype(np.float32)
    if not np.isfinite(values).all():
        sample, feature = np.argwhere(~np.isfinite(values))[0]
        raise InputError(f"{name} must be finite, but feature {feature} of sample {sample} is {values[sample, feature]}")
    return values
