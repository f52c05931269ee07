"""Tensors of TensorFlow Lite files, read with bounds: a damaged file costs no more time or memory than a
whole one of its length."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import numpy as np

from ..errors import ModelError

CURE = "export the model to ONNX with tf2onnx, or with model.export(format='onnx') of Keras"
_KINDS = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
}
QUANTISED = ("INT8", "UINT8")
_SHARED = 4  # times that the same bytes of a file may be used, by constants that are equal


class Budget:
    """Bytes that may still be taken from a file; offsets that point to the same place again and again
    use it up."""

    def __init__(self, path: Path, length: int) -> None:
        self._path, self._left = path, _SHARED * length

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ModelError(
                f"Model {self._path} is damaged: its parts take more than its length; copy or convert "
                f"it again"
            )


class TfliteTensor:
    """A tensor of a file.

    Members
    -------
    name : str
    kind : str
        Name of its element type, as FLOAT32.
    shape : tuple of int
    """

    def __init__(self, schema: ModuleType, model: object, table: object, path: Path, budget: Budget) -> None:
        self._model, self._table, self._path, self._budget = model, table, path, budget
        self.name = (table.Name() or b"").decode("utf-8", "replace")
        budget.spend(len(self.name))
        self.kind = {
            code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")
        }.get(table.Type(), "UNKNOWN")
        self.shape = tuple(vector(table.ShapeAsNumpy()).tolist())
        budget.spend(len(self.shape))
        if min(self.shape, default=1) < 0:
            self.refuse(f"has shape {list(self.shape)}")
        if table.Sparsity() is not None or table.IsVariable():
            self.refuse("is sparse or keeps its values from one run to the next")

    def refuse(self, what: str) -> NoReturn:
        raise ModelError(f"Tensor {self.name!r} of {self._path} {what}: {CURE}")

    def damaged(self, what: str) -> NoReturn:
        raise ModelError(
            f"Tensor {self.name!r} of {self._path} {what}, so the file is damaged: copy or convert it again"
        )

    @cached_property
    def data(self) -> np.ndarray | None:
        """Value of the constant as stored; None if the tensor is computed."""
        buffer = (
            self._model.Buffers(self._table.Buffer())
            if 0 < self._table.Buffer() < self._model.BuffersLength()
            else None
        )
        content = np.empty(0, np.uint8) if buffer is None else vector(buffer.DataAsNumpy())
        if buffer is not None and not len(content) and buffer.Size():
            self.refuse("lies outside the file's tables, as in files of more than 2 GB")
        if not len(content):
            return None
        if self.kind not in _KINDS:
            self.refuse(f"holds {self.kind}, which is none of {', '.join(_KINDS)}")
        self._budget.spend(len(content))
        kind = np.dtype(_KINDS[self.kind]).newbyteorder("<")
        if len(content) != int(np.prod(self.shape, dtype=object)) * kind.itemsize:
            self.damaged(f"has {len(content)} bytes for shape {list(self.shape)}")
        return np.frombuffer(content.tobytes(), dtype=kind).reshape(self.shape)

    @cached_property
    def quantisation(self) -> tuple[np.ndarray, np.ndarray, int] | None:
        """Value of the scales, the zero points and the dimension that they go with; None without any."""
        table = self._table.Quantization()
        scales = np.empty(0, np.float32) if table is None else vector(table.ScaleAsNumpy())
        if not len(scales):
            return None
        self._budget.spend(len(scales))
        if table.DetailsType():
            self.refuse("is quantised in an own way")
        if not (np.isfinite(scales) & (scales > 0)).all():
            self.damaged(f"has the scale {scales[~(np.isfinite(scales) & (scales > 0))][0]}")
        zeros = vector(table.ZeroPointAsNumpy())
        zeros = np.zeros(len(scales), np.int64) if not len(zeros) else zeros
        if len(zeros) not in (1, len(scales)):
            self.damaged(f"has {len(scales)} scales and {len(zeros)} zero points")
        return scales, np.broadcast_to(zeros, len(scales)), table.QuantizedDimension()

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point, without dimensions, of a tensor that is computed in bytes."""
        if self.kind not in QUANTISED:
            self.refuse(f"holds {self.kind}, where float32, int8 or uint8 are read")
        if self.quantisation is None or len(self.quantisation[0]) != 1:
            self.damaged("has no single scale")
        scale, zero, kind = self.quantisation[0][0], int(self.quantisation[1][0]), np.dtype(_KINDS[self.kind])
        if not np.iinfo(kind).min <= zero <= np.iinfo(kind).max:
            self.damaged(f"has the zero point {zero}")
        return np.array(scale, dtype=np.float32), np.array(zero, dtype=kind)

    @property
    def dtype(self) -> np.dtype:
        """Value of the type of the elements in memory."""
        return np.dtype(_KINDS.get(self.kind) or self.refuse(f"holds {self.kind}"))

    def real(self) -> np.ndarray:
        """The constant's values, float32."""
        stored = self.data
        if stored is None:
            self.refuse("is computed, where a constant is read")
        if stored.dtype.kind == "f":
            values = stored.astype(np.float32)
        elif self.quantisation is None:
            self.damaged(f"holds {self.kind} without a scale")
        elif self.kind not in QUANTISED and self.quantisation[1].any():
            self.damaged(f"holds {self.kind} with a zero point")
        else:
            values = self._dequantised(stored, *self.quantisation)
        if not np.isfinite(values).all():
            raise ModelError(
                f"Tensor {self.name!r} of {self._path} holds NaN or infinite values: train the model again"
            )
        return values

    def _dequantised(
        self, stored: np.ndarray, scales: np.ndarray, zeros: np.ndarray, axis: int
    ) -> np.ndarray:
        if len(scales) > 1:
            if not 0 <= axis < stored.ndim or stored.shape[axis] != len(scales):
                self.damaged(f"has {len(scales)} scales for dimension {axis} of {list(self.shape)}")
            shape = [-1 if dimension == axis else 1 for dimension in range(stored.ndim)]
            scales, zeros = scales.reshape(shape), zeros.reshape(shape)
        return ((stored.astype(np.float64) - zeros) * scales).astype(np.float32).reshape(self.shape)


def vector(found: object) -> np.ndarray:
    """A vector of a table, which the schema's classes give as 0 if it is absent."""
    return found if isinstance(found, np.ndarray) else np.empty(0, np.uint8)
