"""TensorFlow Lite files give the graphs that TensorFlow Lite would run."""

from __future__ import annotations

import sys
from math import erf

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_cases import B1, B2, W1, W2, X, assert_expected
from permfc.errors import ModelError, ToolError
from permfc.importers import load_graph, load_model, quantised_ranges
from permfc.importers.tflite_file import tflite_to_onnx
from tflite_files import Operator, Tensor, tflite_bytes

RNG = np.random.default_rng(2)
SOURCE, WEIGHT, BIAS = Tensor("x", [1, 4]), Tensor("fc1/MatMul", [6, 4], data=W1), Tensor("fc1/bias", [6], data=B1)


def fc(inputs, outputs, **values) -> Operator:
    return Operator("FULLY_CONNECTED", inputs, outputs, "FullyConnectedOptions", values)


def behind(kind: str, options: str = "", extra: tuple[Tensor, ...] = (), shape=(1, 6), first: bool = True, **values) -> bytes:
    """A layer and an operator behind it, whose other operands are ``extra`` (first if not ``first``)."""
    places = [*range(5, 5 + len(extra))]
    operator = Operator(kind, [3, *places] if first else [*places, 3], [4], options, values)
    return tflite_bytes([SOURCE, WEIGHT, BIAS, Tensor("h", [1, 6]), Tensor("y", list(shape)), *extra], [fc([0, 1, 2], [3]), operator], [0], [4])


def fused(code: int) -> bytes:
    return tflite_bytes([SOURCE, WEIGHT, BIAS, Tensor("y", [1, 6])], [fc([0, 1, 2], [3], FusedActivationFunction=code)], [0], [3])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def number(name: str, data) -> Tensor:
    data = np.asarray(data)
    return Tensor(name, data.shape, "INT32" if data.dtype.kind == "i" else "FLOAT32", data.astype(np.int32 if data.dtype.kind == "i" else np.float32))


GELU = np.vectorize(erf)
CASES = {  # name: file, and what it does to the first layer's result
    "none": (fused(0), lambda h: h), "relu": (fused(1), lambda h: np.maximum(h, 0)), "relu_n1_to_1": (fused(2), lambda h: np.clip(h, -1, 1)),
    "relu6": (fused(3), lambda h: np.clip(h, 0, 6)),
    "RELU": (behind("RELU"), lambda h: np.maximum(h, 0)), "RELU6": (behind("RELU6"), lambda h: np.clip(h, 0, 6)),
    "TANH": (behind("TANH"), np.tanh), "LOGISTIC": (behind("LOGISTIC"), sigmoid), "ELU": (behind("ELU"), lambda h: np.where(h > 0, h, np.expm1(h))),
    "HARD_SWISH": (behind("HARD_SWISH"), lambda h: h * np.clip(h / 6 + 0.5, 0, 1)),
    "GELU": (behind("GELU", "GeluOptions"), lambda h: h * (1 + GELU(h / np.sqrt(2))) / 2),
    "GELU of tanh": (behind("GELU", "GeluOptions", Approximate=True),
                     lambda h: h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))) / 2),
    "LEAKY_RELU": (behind("LEAKY_RELU", "LeakyReluOptions", Alpha=0.3), lambda h: np.where(h > 0, h, 0.3 * h)),
    "SOFTMAX": (behind("SOFTMAX", "SoftmaxOptions", Beta=1.0), softmax), "beta": (behind("SOFTMAX", "SoftmaxOptions", Beta=0.5), lambda h: softmax(h / 2)),
    "LOG_SOFTMAX": (behind("LOG_SOFTMAX", "LogSoftmaxOptions"), lambda h: np.log(softmax(h))),
    "PRELU": (behind("PRELU", extra=(number("alpha", B1),)), lambda h: np.where(h > 0, h, h * B1)),
    "ADD": (behind("ADD", "AddOptions", (number("c", B1),), FusedActivationFunction=1), lambda h: np.maximum(h + B1, 0)),
    "SUB": (behind("SUB", "SubOptions", (number("c", B1),), first=False), lambda h: B1 - h),
    "MUL": (behind("MUL", "MulOptions", (number("c", 0.5),)), lambda h: h / 2),
    "MAXIMUM": (behind("MAXIMUM", extra=(number("c", B1),)), lambda h: np.maximum(h, B1)),
    "RESHAPE": (behind("RESHAPE", "ReshapeOptions", (number("s", [1, 2, 3]),), shape=(1, 2, 3)), lambda h: h.reshape(-1, 2, 3)),
    "MEAN": (behind("MEAN", "ReducerOptions", (number("axes", [-1]),), shape=(1, 1), KeepDims=True), lambda h: h.mean(axis=1, keepdims=True)),
    "DEQUANTIZE": (tflite_bytes([SOURCE, Tensor("half", [6, 4], "FLOAT16", W1.astype(np.float16)), Tensor("fc1/MatMul", [6, 4]), Tensor("y", [1, 6])],
                                [Operator("DEQUANTIZE", [1], [2]), fc([0, 2, -1], [3])], [0], [3]), lambda h: X @ W1.astype(np.float16).astype(np.float32).T),
}


def run(path, *inputs) -> list[np.ndarray]:
    model = tflite_to_onnx(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, dict(zip([value.name for value in session.get_inputs()], inputs, strict=True)))


def interpreted(content: bytes, *inputs: np.ndarray, reference: bool = False) -> list[np.ndarray]:
    """What TensorFlow Lite itself gives."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    kernels = litert.OpResolverType.BUILTIN_REF if reference else litert.OpResolverType.AUTO
    interpreter = litert.Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    for told, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.resize_tensor_input(told["index"], value.shape)
    interpreter.allocate_tensors()
    for told, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(told["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(told["index"]) for told in interpreter.get_output_details()]


@pytest.mark.parametrize("name", CASES)
def test_operators(tmp_path, name):
    content, expected = CASES[name]
    (tmp_path / "a.tflite").write_bytes(content)
    np.testing.assert_allclose(run(tmp_path / "a.tflite", X)[0], expected(X @ W1.T + B1), atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_operators_against_tensorflow_lite(tmp_path, name):
    content, _ = CASES[name]
    x = X[:1] if name == "RESHAPE" else X  # whose shape there is that of one sample
    wanted = interpreted(content, x)[0]
    (tmp_path / "a.tflite").write_bytes(content)
    np.testing.assert_allclose(run(tmp_path / "a.tflite", x)[0], wanted, atol=1e-5)


def quantised(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values / scales), -127, 127).astype(np.int8)


PER_CHANNEL = (np.abs(W1).max(axis=1, keepdims=True) / 127).astype(np.float32)
STEP_X, STEP_Y = np.float32(0.03), np.float32(0.05)
Q1 = quantised(W1, PER_CHANNEL)


def integer_model() -> bytes:
    """int8 from input to output, with a scale for each output of the weights."""
    scales = PER_CHANNEL[:, 0]
    bias = np.rint(B1 / (scales * STEP_X)).astype(np.int32)
    tensors = [Tensor("x", [1, 4], "INT8", scales=[STEP_X], zeros=[-3]), Tensor("fc1/MatMul", [6, 4], "INT8", Q1, scales, [0] * 6),
               Tensor("fc1/bias", [6], "INT32", bias, scales * STEP_X, [0] * 6), Tensor("h", [1, 6], "INT8", scales=[STEP_Y], zeros=[-128]),
               Tensor("y", [1, 6], "INT8", scales=[1 / 256], zeros=[-128])]
    return tflite_bytes(tensors, [fc([0, 1, 2], [3], FusedActivationFunction=1), Operator("LOGISTIC", [3], [4])], [0], [4])


def test_integers_throughout(tmp_path):
    (tmp_path / "a.tflite").write_bytes(integer_model())
    x = RNG.integers(-128, 128, (50, 4)).astype(np.int8)
    real = (x.astype(np.float32) + 3) * STEP_X @ (Q1 * PER_CHANNEL).T + np.rint(B1 / (PER_CHANNEL[:, 0] * STEP_X)) * PER_CHANNEL[:, 0] * STEP_X
    h = np.clip(np.rint(real / STEP_Y), 0, 255) * STEP_Y
    y = run(tmp_path / "a.tflite", x)[0]
    assert y.dtype == np.int8
    assert np.abs(y - np.clip(np.rint(sigmoid(h) * 256) - 128, -128, 127)).max() <= 1


def test_integers_against_tensorflow_lite(tmp_path):
    x = RNG.integers(-128, 128, (50, 4)).astype(np.int8)
    wanted = interpreted(integer_model(), x, reference=True)[0]
    (tmp_path / "a.tflite").write_bytes(integer_model())
    assert np.abs(run(tmp_path / "a.tflite", x)[0].astype(int) - wanted).max() <= 1


def test_ranges_that_a_quantised_file_carries(tmp_path):
    (tmp_path / "a.tflite").write_bytes(integer_model())
    model, _ = load_graph(tmp_path / "a.tflite")
    ranges = quantised_ranges(model)
    layer = next(node for node in model.graph.node if node.op_type == "Gemm")
    assert ranges[layer.input[0]] == pytest.approx((-125 * 0.03, 130 * 0.03))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    assert ranges[relu.output[0]] == pytest.approx((0, 255 * 0.05))
    assert "fc1.weight" not in ranges


def test_bytes_of_weights_with_float_activations(tmp_path):
    """Dynamic range: weights in int8 with one scale, everything else in float."""
    scale = np.float32(np.abs(W1).max() / 127)
    tensors = [SOURCE, Tensor("fc1/MatMul", [6, 4], "INT8", quantised(W1, scale), [scale], [0]), BIAS, Tensor("y", [1, 6])]
    (tmp_path / "a.tflite").write_bytes(tflite_bytes(tensors, [fc([0, 1, 2], [3])], [0], [3]))
    np.testing.assert_allclose(run(tmp_path / "a.tflite", X)[0], X @ (quantised(W1, scale) * scale).T + B1, atol=1e-5)
    np.testing.assert_allclose(load_model(tmp_path / "a.tflite").layers[0].weight, quantised(W1, scale) * scale, atol=1e-6)


def test_a_chain_is_a_float_network(tmp_path):
    tensors = [SOURCE, WEIGHT, BIAS, Tensor("h", [1, 6]), Tensor("fc2/MatMul", [3, 6], data=W2), Tensor("b", [3], data=B2), Tensor("y", [1, 3])]
    content = tflite_bytes(tensors, [fc([0, 1, 2], [3], FusedActivationFunction=1), fc([3, 4, 5], [6])], [0], [6])
    (tmp_path / "a.tflite").write_bytes(content)
    network = load_model(tmp_path / "a.tflite")
    assert_expected(network)
    assert [layer.name for layer in network] == ["fc1", "fc2"]


def test_the_layers_of_an_integer_file_are_a_float_network(tmp_path):
    """They start behind the step from bytes to numbers, of which the user is told."""
    (tmp_path / "a.tflite").write_bytes(integer_model())
    network = load_model(tmp_path / "a.tflite")
    np.testing.assert_allclose(network.layers[0].weight, Q1 * PER_CHANNEL, atol=1e-6)
    assert any("is left to the host" in note for note in network.notes)


def test_dimensions(tmp_path):
    """Tokens keep theirs if the file says so, else all rows come one below the other; two inputs and two outputs."""
    tokens = RNG.standard_normal((2, 5, 4)).astype(np.float32)
    for keep, shape in ((True, [2, 5, 6]), (False, [10, 6])):
        content = tflite_bytes([Tensor("x", [2, 5, 4]), WEIGHT, BIAS, Tensor("y", shape)], [fc([0, 1, 2], [3], KeepNumDims=keep)], [0], [3])
        (tmp_path / "a.tflite").write_bytes(content)
        np.testing.assert_allclose(run(tmp_path / "a.tflite", tokens)[0], (tokens @ W1.T + B1).reshape(shape), atol=1e-5)
    tensors = [SOURCE, Tensor("z", [1, 4]), Tensor("both", [1, 8]), WEIGHT, Tensor("y", [1, 6])]
    operators = [Operator("CONCATENATION", [0, 1], [2], "ConcatenationOptions", {"Axis": -1}), fc([1, 3, -1], [4])]
    (tmp_path / "a.tflite").write_bytes(tflite_bytes(tensors, operators, [0, 1], [4, 2]))
    y, both = run(tmp_path / "a.tflite", X, X[::-1].copy())
    np.testing.assert_allclose(both, np.concatenate([X, X[::-1]], axis=1))
    np.testing.assert_allclose(y, X[::-1] @ W1.T, atol=1e-5)


CURE = r"export the model to ONNX with tf2onnx, or with model\.export\(format='onnx'\) of Keras$"


@pytest.mark.parametrize(("content", "text"), [
    (behind("SIN"), r"^Operator 1 SIN of .*a\.tflite is not read from TensorFlow Lite files: " + CURE),
    (tflite_bytes([SOURCE, Tensor("y", [1, 4])], [Operator("CUSTOM", [0], [1], custom="Mine")], [0], [1]), r"^Operator 0 CUSTOM 'Mine' of .* is not read"),
    (tflite_bytes([SOURCE, Tensor("fc1/MatMul", [6, 4], "INT4", bytes(12), [0.1], [0]), Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2]),
     r"^Tensor 'fc1/MatMul' of .*a\.tflite holds INT4, which is none of FLOAT32, FLOAT16, INT8, UINT8, INT32, INT64: " + CURE),
    (tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2], subgraphs=2), r"has 2 subgraphs, where one is read: " + CURE),
    (tflite_bytes([SOURCE, Tensor("w", [6, 4]), Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0, 1], [2]), r"has weights that are computed, or of shape"),
    (tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6])], [fc([0, 1, -1], [2], WeightsFormat=1)], [0], [2]), r"has weights in a shuffled order"),
    (tflite_bytes([Tensor("x", [1, 5]), WEIGHT, Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2]),
     r"has 4 inputs but gets a tensor of shape \[1, 5\]"),
    (fused(5), r"Operator 0 FULLY_CONNECTED of .* has fused activation 5"),
    (behind("MEAN", "ReducerOptions", (number("axes", [0]),)), r"is taken over computed dimensions or over the batch"),
    (behind("SOFTMAX", "SoftmaxOptions", Beta=-1.0), r"has beta -1\.0"),
    (behind("RESHAPE", "ReshapeOptions", shape=(1, 5)), r"makes \[1, 5\] of \[1, 6\]"),
    (tflite_bytes([SOURCE, Tensor("w", [6, 4], data=W1[:5]), Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2]),
     r"Tensor 'w' of .* has 80 bytes for shape \[6, 4\], so the file is damaged: copy or convert it again"),
    (tflite_bytes([SOURCE, Tensor("w", [6, 4], data=np.full((6, 4), np.nan, np.float32)), Tensor("y", [1, 6])], [fc([0, 1, -1], [2])], [0], [2]),
     r"Tensor 'w' of .* holds NaN or infinite values: train the model again"),
    (tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6], "INT16", scales=[0.1], zeros=[0])], [fc([0, 1, -1], [2])], [0], [2]),
     r"Tensor 'y' of .* holds INT16, where float32, int8 or uint8 are read"),
    (tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6], "INT8", scales=[-0.1], zeros=[0])], [fc([0, 1, -1], [2])], [0], [2]), r"has the scale -0\.1"),
    (tflite_bytes([SOURCE, WEIGHT, Tensor("y", [1, 6], "INT8")], [fc([0, 1, -1], [2])], [0], [2]), r"has no single scale"),
    (tflite_bytes([SOURCE, Tensor("a", [1, 4]), Tensor("b", [1, 4])], [Operator("RELU", [2], [1]), Operator("RELU", [1], [2])], [0], [1]),
     r"Operator 0 RELU of .* takes tensor 'b' before it is computed"),
    (tflite_bytes([SOURCE, Tensor("a", [1, 4])], [Operator("RELU", [0], [1]), Operator("TANH", [0], [1])], [0], [1]), r"Tensor 'a' of .* is computed twice"),
    (tflite_bytes([SOURCE, Tensor("a", [1, 4]), Tensor("b", [1, 4])], [Operator("RELU", [0], [1])], [0], [2]), r"'b' .* that no operator computes"),
    (tflite_bytes([SOURCE], [Operator("RELU", [0], [7])], [0], [0]), r"has no tensor 7, so the file is damaged"),
    (b"", r"is not a TensorFlow Lite file: it does not say TFL3 at its fifth byte"),
    (b"\x08\0\0\0TFL3" + bytes(4), r"a\.tflite (is not a whole TensorFlow Lite file|has 0 subgraphs)"),
])
def test_unusable_files(tmp_path, content, text):
    (tmp_path / "a.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=text):
        tflite_to_onnx(tmp_path / "a.tflite")


@given(st.sampled_from([integer_model(), CASES["RESHAPE"][0]]), st.integers(0, 10**6), st.booleans(),
       st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_refused_or_read(tmp_path_factory, content, cut, shorter, changes):
    path, damaged = tmp_path_factory.getbasetemp() / "damaged.tflite", bytearray(content)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    path.write_bytes(damaged[:cut % len(damaged)] if shorter else damaged)
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
    (tmp_path / "a.tflite").write_bytes(tflite_bytes(tensors, [Operator("RELU", [0], [index + 1]) for index in range(many)], [0], [1]))
    with pytest.raises(ModelError, match=r"a\.tflite is damaged: its parts take more than its length; copy or convert it again"):
        tflite_to_onnx(tmp_path / "a.tflite")


def test_tflite_is_named_when_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "a.tflite").write_bytes(integer_model())
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(ToolError, match=r"Reading .*a\.tflite needs tflite: pip install 'permfc\[tflite\]'"):
        tflite_to_onnx(tmp_path / "a.tflite")


@pytest.mark.parametrize("name", ["float", "int8"])
def test_real_sines(data_folder, name):
    """sin(x) by three layers: within 2 % of the range against the function, as near as the files themselves are, and against TensorFlow Lite."""
    path = data_folder / "tflite" / f"sine_{name}.tflite"
    x = np.linspace(0, 2 * np.pi, 200, dtype=np.float32)[:, None] if name == "float" else np.arange(-128, 128).astype(np.int8)[:, None]
    y = run(path, x)[0].astype(np.float64)
    angle, sine = (x, y) if name == "float" else ((x + 128.0) * 0.024480115622282028, (y - 5) * 0.008290956728160381)
    assert np.sqrt(np.mean((sine - np.sin(angle)) ** 2)) < 0.06
    np.testing.assert_allclose(y, interpreted(path.read_bytes(), x, reference=True)[0], atol=1e-5 if name == "float" else 1)
