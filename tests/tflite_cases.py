"""Small TensorFlow Lite files and what they compute."""

from __future__ import annotations

from math import erf

import numpy as np

from importer_cases import B1, W1, X
from tflite_files import Operator, Tensor, tflite_bytes

SOURCE, WEIGHT, BIAS = (
    Tensor("x", [1, 4]),
    Tensor("fc1/MatMul", [6, 4], data=W1),
    Tensor("fc1/bias", [6], data=B1),
)


def fc(inputs, outputs, **values) -> Operator:
    return Operator("FULLY_CONNECTED", inputs, outputs, "FullyConnectedOptions", values)


def behind(
    kind: str, options: str = "", extra: tuple[Tensor, ...] = (), shape=(1, 6), first: bool = True, **values
) -> bytes:
    """A layer and an operator behind it, whose other operands are ``extra`` (first if not ``first``)."""
    places = [*range(5, 5 + len(extra))]
    operator = Operator(kind, [3, *places] if first else [*places, 3], [4], options, values)
    return tflite_bytes(
        [SOURCE, WEIGHT, BIAS, Tensor("h", [1, 6]), Tensor("y", list(shape)), *extra],
        [fc([0, 1, 2], [3]), operator],
        [0],
        [4],
    )


def fused(code: int) -> bytes:
    return tflite_bytes(
        [SOURCE, WEIGHT, BIAS, Tensor("y", [1, 6])],
        [fc([0, 1, 2], [3], FusedActivationFunction=code)],
        [0],
        [3],
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def number(name: str, data) -> Tensor:
    data = np.asarray(data)
    return Tensor(
        name,
        data.shape,
        "INT32" if data.dtype.kind == "i" else "FLOAT32",
        data.astype(np.int32 if data.dtype.kind == "i" else np.float32),
    )


GELU = np.vectorize(erf)
CASES = {  # name: file, and what it does to the first layer's result
    "none": (fused(0), lambda h: h),
    "relu": (fused(1), lambda h: np.maximum(h, 0)),
    "relu_n1_to_1": (fused(2), lambda h: np.clip(h, -1, 1)),
    "relu6": (fused(3), lambda h: np.clip(h, 0, 6)),
    "RELU": (behind("RELU"), lambda h: np.maximum(h, 0)),
    "RELU6": (behind("RELU6"), lambda h: np.clip(h, 0, 6)),
    "TANH": (behind("TANH"), np.tanh),
    "LOGISTIC": (behind("LOGISTIC"), sigmoid),
    "ELU": (behind("ELU"), lambda h: np.where(h > 0, h, np.expm1(h))),
    "HARD_SWISH": (behind("HARD_SWISH"), lambda h: h * np.clip(h / 6 + 0.5, 0, 1)),
    "GELU": (behind("GELU", "GeluOptions"), lambda h: h * (1 + GELU(h / np.sqrt(2))) / 2),
    "GELU of tanh": (
        behind("GELU", "GeluOptions", Approximate=True),
        lambda h: h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))) / 2,
    ),
    "LEAKY_RELU": (
        behind("LEAKY_RELU", "LeakyReluOptions", Alpha=0.3),
        lambda h: np.where(h > 0, h, 0.3 * h),
    ),
    "SOFTMAX": (behind("SOFTMAX", "SoftmaxOptions", Beta=1.0), softmax),
    "beta": (behind("SOFTMAX", "SoftmaxOptions", Beta=0.5), lambda h: softmax(h / 2)),
    "LOG_SOFTMAX": (behind("LOG_SOFTMAX", "LogSoftmaxOptions"), lambda h: np.log(softmax(h))),
    "PRELU": (behind("PRELU", extra=(number("alpha", B1),)), lambda h: np.where(h > 0, h, h * B1)),
    "ADD": (
        behind("ADD", "AddOptions", (number("c", B1),), FusedActivationFunction=1),
        lambda h: np.maximum(h + B1, 0),
    ),
    "SUB": (behind("SUB", "SubOptions", (number("c", B1),), first=False), lambda h: B1 - h),
    "MUL": (behind("MUL", "MulOptions", (number("c", 0.5),)), lambda h: h / 2),
    "MAXIMUM": (behind("MAXIMUM", extra=(number("c", B1),)), lambda h: np.maximum(h, B1)),
    "RESHAPE": (
        behind("RESHAPE", "ReshapeOptions", (number("s", [1, 2, 3]),), shape=(1, 2, 3)),
        lambda h: h.reshape(-1, 2, 3),
    ),
    "MEAN": (
        behind("MEAN", "ReducerOptions", (number("axes", [-1]),), shape=(1, 1), KeepDims=True),
        lambda h: h.mean(axis=1, keepdims=True),
    ),
    "DEQUANTIZE": (
        tflite_bytes(
            [
                SOURCE,
                Tensor("half", [6, 4], "FLOAT16", W1.astype(np.float16)),
                Tensor("fc1/MatMul", [6, 4]),
                Tensor("y", [1, 6]),
            ],
            [Operator("DEQUANTIZE", [1], [2]), fc([0, 2, -1], [3])],
            [0],
            [3],
        ),
        lambda h: X @ W1.astype(np.float16).astype(np.float32).T,
    ),
}


def quantised(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values / scales), -127, 127).astype(np.int8)


PER_CHANNEL = (np.abs(W1).max(axis=1, keepdims=True) / 127).astype(np.float32)
STEP_X, STEP_Y = np.float32(0.03), np.float32(0.05)
Q1 = quantised(W1, PER_CHANNEL)


def integer_model() -> bytes:
    """int8 from input to output, with a scale for each output of the weights."""
    scales = PER_CHANNEL[:, 0]
    bias = np.rint(B1 / (scales * STEP_X)).astype(np.int32)
    tensors = [
        Tensor("x", [1, 4], "INT8", scales=[STEP_X], zeros=[-3]),
        Tensor("fc1/MatMul", [6, 4], "INT8", Q1, scales, [0] * 6),
        Tensor("fc1/bias", [6], "INT32", bias, scales * STEP_X, [0] * 6),
        Tensor("h", [1, 6], "INT8", scales=[STEP_Y], zeros=[-128]),
        Tensor("y", [1, 6], "INT8", scales=[1 / 256], zeros=[-128]),
    ]
    return tflite_bytes(
        tensors, [fc([0, 1, 2], [3], FusedActivationFunction=1), Operator("LOGISTIC", [3], [4])], [0], [4]
    )
