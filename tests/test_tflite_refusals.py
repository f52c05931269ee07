"""TensorFlow Lite files that cannot be read: one sentence that names file, operator or tensor, and cure."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_cases import W1
from permfc.errors import ModelError, ToolError
from permfc.importers.tflite_file import tflite_to_onnx
from tflite_cases import CASES, SOURCE, WEIGHT, behind, fc, fused, integer_model, number
from tflite_files import Operator, Tensor, tflite_bytes

CURE = r"export the model to ONNX with tf2onnx, or with model\.export\(format='onnx'\) of Keras$"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (behind("SIN"), r"^Operator 1 SIN of .*a\.tflite is not read from TensorFlow Lite files: " + CURE),
        (
            tflite_bytes(
                [SOURCE, Tensor("y", [1, 4])], [Operator("CUSTOM", [0], [1], custom="Mine")], [0], [1]
            ),
            r"^Operator 0 CUSTOM 'Mine' of .* is not read",
        ),
        (
            tflite_bytes(
                [SOURCE, Tensor("fc1/MatMul", [6, 4], "INT4", bytes(12), [0.1], [0]), Tensor("y", [1, 6])],
                [fc([0, 1, -1], [2])],
                [0],
                [2],
            ),
            r"^Tensor 'fc1/MatMul' of .*a\.tflite holds INT4, which is none of FLOAT32, FLOAT16, "
            r"INT8, UINT8, INT32, INT64: " + CURE,
        ),
        (
            tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2], subgraphs=2),
            r"has 2 subgraphs, where one is read: " + CURE,
        ),
        (
            tflite_bytes(
                [SOURCE, Tensor("w", [6, 4]), Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0, 1], [2]
            ),
            r"has weights that are computed, or of shape",
        ),
        (
            tflite_bytes(
                [SOURCE, WEIGHT, Tensor("y", [1, 6])], [fc([0, 1, -1], [2], WeightsFormat=1)], [0], [2]
            ),
            r"has weights in a shuffled order",
        ),
        (
            tflite_bytes([Tensor("x", [1, 5]), WEIGHT, Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2]),
            r"has 4 inputs but gets a tensor of shape \[1, 5\]",
        ),
        (fused(5), r"Operator 0 FULLY_CONNECTED of .* has fused activation 5"),
        (
            behind("MEAN", "ReducerOptions", (number("axes", [0]),)),
            r"is taken over computed dimensions or over the batch",
        ),
        (behind("SOFTMAX", "SoftmaxOptions", Beta=-1.0), r"has beta -1\.0"),
        (behind("RESHAPE", "ReshapeOptions", shape=(1, 5)), r"makes \[1, 5\] of \[1, 6\]"),
        (
            tflite_bytes(
                [SOURCE, Tensor("w", [6, 4], data=W1[:5]), Tensor("y", [1, 6])],
                [fc([0, 1, -1], [2])],
                [0],
                [2],
            ),
            r"Tensor 'w' of .* has 80 bytes for shape \[6, 4\], so the file is damaged: copy or "
            r"convert it again",
        ),
        (
            tflite_bytes(
                [SOURCE, Tensor("w", [6, 4], data=np.full((6, 4), np.nan, np.float32)), Tensor("y", [1, 6])],
                [fc([0, 1, -1], [2])],
                [0],
                [2],
            ),
            r"Tensor 'w' of .* holds NaN or infinite values: train the model again",
        ),
        (
            tflite_bytes(
                [SOURCE, WEIGHT, Tensor("y", [1, 6], "INT16", scales=[0.1], zeros=[0])],
                [fc([0, 1, -1], [2])],
                [0],
                [2],
            ),
            r"Tensor 'y' of .* holds INT16, where float32, int8 or uint8 are read",
        ),
        (
            tflite_bytes(
                [SOURCE, WEIGHT, Tensor("y", [1, 6], "INT8", scales=[-0.1], zeros=[0])],
                [fc([0, 1, -1], [2])],
                [0],
                [2],
            ),
            r"has the scale -0\.1",
        ),
        (
            tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6], "INT8")], [fc([0, 1, -1], [2])], [0], [2]),
            r"has no single scale",
        ),
        (
            tflite_bytes(
                [SOURCE, Tensor("a", [1, 4]), Tensor("b", [1, 4])],
                [Operator("RELU", [2], [1]), Operator("RELU", [1], [2])],
                [0],
                [1],
            ),
            r"Operator 0 RELU of .* takes tensor 'b' before it is computed",
        ),
        (
            tflite_bytes(
                [SOURCE, Tensor("a", [1, 4])],
                [Operator("RELU", [0], [1]), Operator("TANH", [0], [1])],
                [0],
                [1],
            ),
            r"Tensor 'a' of .* is computed twice",
        ),
        (
            tflite_bytes(
                [SOURCE, Tensor("a", [1, 4]), Tensor("b", [1, 4])], [Operator("RELU", [0], [1])], [0], [2]
            ),
            r"'b' .* that no operator computes",
        ),
        (
            tflite_bytes([SOURCE], [Operator("RELU", [0], [7])], [0], [0]),
            r"has no tensor 7, so the file is damaged",
        ),
        (b"", r"is not a TensorFlow Lite file: it does not say TFL3 at its fifth byte"),
        (b"\x08\0\0\0TFL3" + bytes(4), r"a\.tflite (is not a whole TensorFlow Lite file|has 0 subgraphs)"),
    ],
)
def test_unusable_files(tmp_path, content, text):
    (tmp_path / "a.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=text):
        tflite_to_onnx(tmp_path / "a.tflite")


@given(
    st.sampled_from([integer_model(), CASES["RESHAPE"][0]]),
    st.integers(0, 10**6),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_refused_or_read(tmp_path_factory, content, cut, shorter, changes):
    path, damaged = tmp_path_factory.getbasetemp() / "damaged.tflite", bytearray(content)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    path.write_bytes(damaged[: cut % len(damaged)] if shorter else damaged)
    try:
        model = tflite_to_onnx(path)
    except ModelError as error:
        assert "damaged.tflite" in str(error)
        return
    assert model.ByteSize() < 20 * len(content)


def test_parts_that_are_used_again_and_again(tmp_path):
    """300 tensors whose name lies at one place would cost as much as 300 such names in the file."""
    many = 300
    tensors = [SOURCE, *(Tensor("t" * 2000, [1, 4]) for _ in range(many))]
    (tmp_path / "a.tflite").write_bytes(
        tflite_bytes(tensors, [Operator("RELU", [0], [index + 1]) for index in range(many)], [0], [1])
    )
    with pytest.raises(
        ModelError,
        match=r"a\.tflite is damaged: its parts take more than its length; copy or convert it again",
    ):
        tflite_to_onnx(tmp_path / "a.tflite")


def test_tflite_is_named_when_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "a.tflite").write_bytes(integer_model())
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(ToolError, match=r"Reading .*a\.tflite needs tflite: pip install 'permfc\[tflite\]'"):
        tflite_to_onnx(tmp_path / "a.tflite")
