"""Whole networks from files: ONNX with what belongs to it, what quantised graphs tell, and what is said
of others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from importer_cases import B1, B2, W1, W2, assert_expected
from permfc.errors import ModelError
from permfc.importers import load_graph, load_model, quantised_ranges


def graph(nodes, constants, opset=20, ir_version=9) -> onnx.ModelProto:
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, None)] for name in ("x", "y"))
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, values),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
    )


def node(kind: str, inputs: str, output: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


LAYERS = [
    node("Gemm", "x w1 b1", "h", transB=1),
    node("Relu", "h", "a"),
    node("Gemm", "a w2 b2", "y", transB=1),
]
CONSTANTS = {"w1": W1, "b1": B1, "w2": W2, "b2": B2}


def quantised(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    scales = np.abs(values).max(axis=1 - axis) / 127
    shape = (-1, 1) if axis == 0 else (1, -1)
    return np.rint(values / scales.reshape(shape)).astype(np.int8), scales.astype(np.float32)


def test_a_file_and_what_messages_call_it(tmp_path):
    path = tmp_path / "net.ONNX"
    onnx.save(graph(LAYERS, CONSTANTS), path)
    model, name = load_graph(str(path))
    assert name == str(path) and [entry.op_type for entry in model.graph.node] == ["Gemm", "Relu", "Gemm"]


def test_weights_beside_the_file(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(
        graph(LAYERS, CONSTANTS), path, save_as_external_data=True, location="net.bin", size_threshold=0
    )
    assert_expected(load_model(path))
    (tmp_path / "net.bin").write_bytes((tmp_path / "net.bin").read_bytes()[:100])
    with pytest.raises(
        ModelError,
        match=r"Weights '..' of .*net\.onnx are not all in .*net\.bin, which has 100 bytes: copy both files again",
    ):
        load_graph(path)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(
        ModelError,
        match=r"net\.onnx keeps its weights in 'net\.bin', which is not beside it: copy both into one folder",
    ):
        load_graph(path)


@pytest.mark.parametrize("versions", [{"opset": 999}, {"ir_version": 99}])
def test_files_of_the_future(tmp_path, versions):
    onnx.save(graph(LAYERS, CONSTANTS, **versions), tmp_path / "net.onnx")
    with pytest.raises(
        ModelError,
        match=r"is of opset \d+ and format \d+, newer than .* installed: export it with opset 20, or pip install -U onnx",
    ):
        load_graph(tmp_path / "net.onnx")


def test_what_is_no_network(tmp_path):
    with pytest.raises(
        ModelError,
        match=r"Network .*net\.bin must be a file of type \.onnx, \.tflite, \.keras, \.h5, \.hdf5, \.json, not '\.bin'",
    ):
        load_graph(tmp_path / "net.bin")
    with pytest.raises(ModelError, match=r"net\.tflite does not exist"):
        load_graph(tmp_path / "net.tflite")
    (tmp_path / "net.onnx").write_bytes(b"\x93garbage" * 9)
    with pytest.raises(ModelError, match=r"net\.onnx is not a readable ONNX file: "):
        load_graph(tmp_path / "net.onnx")


def test_constants_without_a_value(tmp_path):
    onnx.save(
        graph(
            [helper.make_node("Constant", [], ["w1"], name="none"), *LAYERS], {"b1": B1, "w2": W2, "b2": B2}
        ),
        tmp_path / "net.onnx",
    )
    with pytest.raises(
        ModelError, match=r"Operator Constant 'none' of .*net\.onnx has no value: the file is damaged"
    ):
        load_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_in_bytes(tmp_path, axis):
    """With a scale for each output or each input, and rounded activations between the layers."""
    stored, scales = quantised(W1, axis)
    nodes = [
        node("DequantizeLinear", "q1 s1", "w1", axis=axis),
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xf"),
        node("Gemm", "xf w1 b1", "h", transB=1),
        node("Relu", "h", "r"),
        node("QuantizeLinear", "r sa", "rq"),
        node("DequantizeLinear", "rq sa", "a"),
        node("Gemm", "a w2 b2", "y", transB=1),
    ]
    constants = {
        "q1": stored,
        "s1": scales,
        "b1": B1,
        "w2": W2,
        "b2": B2,
        "sx": np.float32(0.1),
        "zx": np.int8(-10),
        "sa": np.float32(0.02),
    }
    onnx.save(graph(nodes, constants), tmp_path / "net.onnx")
    network = load_model(tmp_path / "net.onnx")
    np.testing.assert_allclose(network.layers[0].weight, W1, atol=scales.max() / 2 + 1e-6)
    np.testing.assert_allclose(network.layers[1].weight, W2)
    ranges = quantised_ranges(load_graph(tmp_path / "net.onnx")[0])
    assert ranges == {
        "x": pytest.approx((-11.8, 13.7)),
        "xf": pytest.approx((-11.8, 13.7)),
        "r": pytest.approx((0, 5.1)),
        "a": pytest.approx((0, 5.1)),
    }


def test_ranges_are_of_single_scales_and_bytes():
    nodes = [
        helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.float32(0.5))),
        node("QuantizeLinear", "x many zeros", "q"),
        node("QuantizeLinear", "x s z16", "p"),
        node("QuantizeLinear", "x s", "y"),
    ]
    constants = {"many": np.float32([1, 2]), "zeros": np.int8([0, 0]), "z16": np.int16(0)}
    assert quantised_ranges(graph(nodes, constants)) == {"x": (0.0, 127.5)}
