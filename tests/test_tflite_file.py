"""TensorFlow Lite files give the graphs that TensorFlow Lite would run."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from importer_cases import B1, B2, W1, W2, X, assert_expected
from permfc.graph.compressing import compress_graph
from permfc.graph.session import Session
from permfc.graph.values import relative_error, share_equal
from permfc.importers import load_graph, load_model, quantised_ranges
from permfc.importers.tflite_file import tflite_to_onnx
from tflite_cases import (
    BIAS,
    CASES,
    PER_CHANNEL,
    Q1,
    SOURCE,
    STEP_X,
    STEP_Y,
    WEIGHT,
    fc,
    integer_model,
    quantised,
    sigmoid,
)
from tflite_files import Operator, Tensor, tflite_bytes

RNG = np.random.default_rng(2)


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


def test_integers_throughout(tmp_path):
    (tmp_path / "a.tflite").write_bytes(integer_model())
    x = RNG.integers(-128, 128, (50, 4)).astype(np.int8)
    real = (x.astype(np.float32) + 3) * STEP_X @ (Q1 * PER_CHANNEL).T + np.rint(
        B1 / (PER_CHANNEL[:, 0] * STEP_X)
    ) * PER_CHANNEL[:, 0] * STEP_X
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
    tensors = [
        SOURCE,
        Tensor("fc1/MatMul", [6, 4], "INT8", quantised(W1, scale), [scale], [0]),
        BIAS,
        Tensor("y", [1, 6]),
    ]
    (tmp_path / "a.tflite").write_bytes(tflite_bytes(tensors, [fc([0, 1, 2], [3])], [0], [3]))
    np.testing.assert_allclose(
        run(tmp_path / "a.tflite", X)[0], X @ (quantised(W1, scale) * scale).T + B1, atol=1e-5
    )
    np.testing.assert_allclose(
        load_model(tmp_path / "a.tflite").layers[0].weight, quantised(W1, scale) * scale, atol=1e-6
    )


def test_a_chain_is_a_float_network(tmp_path):
    tensors = [
        SOURCE,
        WEIGHT,
        BIAS,
        Tensor("h", [1, 6]),
        Tensor("fc2/MatMul", [3, 6], data=W2),
        Tensor("b", [3], data=B2),
        Tensor("y", [1, 3]),
    ]
    content = tflite_bytes(
        tensors, [fc([0, 1, 2], [3], FusedActivationFunction=1), fc([3, 4, 5], [6])], [0], [6]
    )
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
    """Tokens keep theirs if the file says so, else all rows come one below the other; two inputs and two
    outputs."""
    tokens = RNG.standard_normal((2, 5, 4)).astype(np.float32)
    for keep, shape in ((True, [2, 5, 6]), (False, [10, 6])):
        content = tflite_bytes(
            [Tensor("x", [2, 5, 4]), WEIGHT, BIAS, Tensor("y", shape)],
            [fc([0, 1, 2], [3], KeepNumDims=keep)],
            [0],
            [3],
        )
        (tmp_path / "a.tflite").write_bytes(content)
        np.testing.assert_allclose(
            run(tmp_path / "a.tflite", tokens)[0], (tokens @ W1.T + B1).reshape(shape), atol=1e-5
        )
    tensors = [SOURCE, Tensor("z", [1, 4]), Tensor("both", [1, 8]), WEIGHT, Tensor("y", [1, 6])]
    operators = [
        Operator("CONCATENATION", [0, 1], [2], "ConcatenationOptions", {"Axis": -1}),
        fc([1, 3, -1], [4]),
    ]
    (tmp_path / "a.tflite").write_bytes(tflite_bytes(tensors, operators, [0, 1], [4, 2]))
    y, both = run(tmp_path / "a.tflite", X, X[::-1].copy())
    np.testing.assert_allclose(both, np.concatenate([X, X[::-1]], axis=1))
    np.testing.assert_allclose(y, X[::-1] @ W1.T, atol=1e-5)


@pytest.mark.parametrize("name", ["float", "int8"])
def test_real_sines(data_folder, name):
    """sin(x) by three layers: within 2 % of the range against the function, as near as the files
    themselves are, and against TensorFlow Lite."""
    path = data_folder / "tflite" / f"sine_{name}.tflite"
    x = (
        np.linspace(0, 2 * np.pi, 200, dtype=np.float32)[:, None]
        if name == "float"
        else np.arange(-128, 128).astype(np.int8)[:, None]
    )
    y = run(path, x)[0].astype(np.float64)
    angle, sine = (
        (x, y) if name == "float" else ((x + 128.0) * 0.024480115622282028, (y - 5) * 0.008290956728160381)
    )
    assert np.sqrt(np.mean((sine - np.sin(angle)) ** 2)) < 0.06
    np.testing.assert_allclose(
        y, interpreted(path.read_bytes(), x, reference=True)[0], atol=1e-5 if name == "float" else 1
    )


@pytest.mark.parametrize("name", ["float", "int8"])
def test_compressed_sines_at_every_point(data_folder, name):
    """Against the file's own results, in parts of the range of the sine, 2. The int8 file's own roundings are 2.2 % from
    its layers in float at one point, so a network that rounds at other places comes nearer only by chance."""
    model, source = load_graph(data_folder / "tflite" / f"sine_{name}.tflite")
    x = (
        np.linspace(0, 2 * np.pi, 500, dtype=np.float32)[:, None]
        if name == "float"
        else np.arange(-128, 128).astype(np.int8)[:, None]
    )
    with Session(compress_graph(model, x, bits="dense8", source=source), "golden") as session:
        found = session.run(None, {model.graph.input[0].name: x})[0].astype(np.float64)
    wanted = run(data_folder / "tflite" / f"sine_{name}.tflite", x)[0]
    errors = np.abs(found - wanted) * (1.0 if name == "float" else 0.008290956728160381) / 2
    assert np.sqrt(np.mean(np.square(errors))) < 0.007
    assert (errors > 0.02).sum() <= (1 if name == "int8" else 0)
    assert errors.max() < 0.022
    assert np.sqrt(np.square(errors).mean()) < 0.009


def test_bytes_are_numbers_that_may_be_a_step_off():
    """A compressed int8 network is judged by its error, not by how many of its bytes are the same, as labels would be."""
    wanted, found = [np.int8([100, -100])], [np.int8([101, -127])]
    assert relative_error(found, wanted) == pytest.approx(np.sqrt(730 / 20_000))
    assert share_equal(found, wanted) == 1
    assert share_equal([np.int64([1, 2])], [np.int64([1, 3])]) == 0.5
