"""One layer of a Keras model's description, and what its translation needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ..errors import ModelError
from .onnx_builder import OnnxBuilder, Tensor

if TYPE_CHECKING:
    from .keras_weights import NamedWeights, NumberedWeights

CURE = "export the model to ONNX with model.export(format='onnx') or tf2onnx"


@dataclass(frozen=True)
class KerasLayer:
    """A layer on its way to ONNX.

    Members
    -------
    name, kind : str
        As Keras calls the layer, and its class.
    config : dict
    path : str
        Name with those of the models that the layer lies in, for what it adds to the graph.
    file : str
        Where it is from.
    version : int
        Of Keras, 2 or 3.
    """

    name: str
    kind: str
    config: dict
    path: str
    file: str
    version: int
    builder: OnnxBuilder
    weights: NumberedWeights | NamedWeights

    def refuse(self, what: str) -> NoReturn:
        raise ModelError(f"Layer {self.path!r} of {self.file} is a {self.kind} {what}: {CURE}")

    def damaged(self, what: str) -> NoReturn:
        raise ModelError(
            f"Layer {self.path!r} of {self.file}, a {self.kind}, {what}: save the model again with Keras"
        )

    def number(self, key: str, default: float | None = None) -> float:
        """A number of the description."""
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            self.damaged(f"has {key} {value!r}, which must be a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """A truth value of the description."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            self.damaged(f"has {key} {value!r}, which must be true or false")
        return value

    def axis(self, value: object, rank: int) -> int:
        """A dimension, counted from the front."""
        if isinstance(value, bool) or not isinstance(value, int) or not -rank <= value < rank:
            self.damaged(f"works along dimension {value!r} of {rank}")
        return value % rank

    def read(self, **variables: Sequence[int]) -> list[np.ndarray]:
        """The layer's variables, by names and shapes; checked for NaN."""
        arrays = self.weights.read(self.name, {name: tuple(shape) for name, shape in variables.items()})
        for name, array in zip(variables, arrays, strict=True):
            if not np.isfinite(array).all():
                raise ModelError(
                    f"{name} of layer {self.path!r} of {self.file} holds NaN or infinite values: "
                    f"train the model again"
                )
        return arrays

    def constant(self, name: str, value: np.ndarray) -> str:
        return self.builder.constant(f"{self.path}.{name}", np.ascontiguousarray(value, dtype=np.float32))

    def node(
        self, operator: str, inputs: Sequence[str | Tensor], suffix: str = "", **attributes: object
    ) -> str:
        """An operator named after the layer."""
        names = [value.name if isinstance(value, Tensor) else value for value in inputs]
        return self.builder.node(operator, names, self.path + (f"/{suffix}" if suffix else ""), **attributes)

    def size(self, tensor: Tensor, axis: int = -1) -> int:
        """A size that must be known."""
        value = tensor.shape[axis] if tensor.shape else None
        if value is None:
            self.refuse("whose input's size is not in the file")
        return value
