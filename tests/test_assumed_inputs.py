"""A quantised graph is calibrated from the ranges in its file; dense8 asks for int8 weights everywhere, whatever that takes."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import permfc  # noqa: E402
from command_line import succeed  # noqa: E402
from graph_cases import graph, node, values  # noqa: E402
from permfc.graph.assumed import inputs_in_range  # noqa: E402
from permfc.graph.features import FeatureNetwork  # noqa: E402
from permfc.graph.values import Value, relative_error  # noqa: E402
from permfc.image import model_file  # noqa: E402
from permfc.importers import load_model  # noqa: E402
from permfc.network import Kind  # noqa: E402

RNG = np.random.default_rng(0)


def rounding_graph(rounded: bool):
    """Sixteen numbers, rounded to bytes from -2 to 3.98 or not, through a layer of eight outputs."""
    nodes, source = [], "x"
    if rounded:
        nodes = [helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]), helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["r"])]
        source = "r"
    nodes.append(helper.make_node("Gemm", [source, "W"], ["y"], transB=1))
    weight = RNG.standard_normal((8, 16)).astype(np.float32)
    constants = {"W": weight, "step": np.float32(6 / 256), "zero": np.uint8(85)}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 16), ("y", 8))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


X = [Value("x", "tensor(float)", ["batch", 16])]


def test_inputs_fill_the_range():
    x = inputs_in_range(rounding_graph(True), X)["x"]
    assert x.shape == (256, 16) and x.dtype == np.float32
    low, high = -85 * 6 / 256, 170 * 6 / 256
    assert low <= x.min() < low + 0.05 and high - 0.05 < x.max() <= high


def test_bytes_have_all_their_values():
    x = inputs_in_range(rounding_graph(True), [Value("b", "tensor(int8)", [1, 400])])["b"]
    assert x.dtype == np.int8 and (x.min(), x.max()) == (-128, 127)


@pytest.mark.parametrize("values", [X, [Value("x", "tensor(float)", ["batch", "tokens", 16])], [Value("x", "tensor(float)", [])]])
def test_nothing_is_made_up_where_a_range_or_a_size_is_not_known(values):
    assert inputs_in_range(rounding_graph(values is not X), values) is None


def test_dense8_everywhere():
    model = rounding_graph(True)
    whole = permfc.compress_graph(model, inputs_in_range(model, X), bits="dense8")
    kinds = {segments.kind for network in whole.chains.values() for layer in network.layers for segments in layer.classes}
    assert kinds == {Kind.DENSE8}


ROUNDED = [node("QuantizeLinear", "x step zero", "q"), node("DequantizeLinear", "q step zero", "r")]
BYTES = [node("DequantizeLinear", "x step zero", "r")]
LIMITS = -85 * 6 / 256, 170 * 6 / 256
CHAINS = {
    "rounded": (ROUNDED, LIMITS), "bytes": (BYTES, LIMITS), "bytes as vectors": ([*BYTES, node("Flatten", "r", "v")], LIMITS),
    "rounded behind a function": ([node("Sin", "x", "s"), node("QuantizeLinear", "s step zero", "q"), ROUNDED[1]], LIMITS),
    "floats": ([], None), "a function of bytes": ([*BYTES, node("Sin", "r", "s")], None),
    "bytes with a factor": ([*BYTES, node("Mul", "r step", "s")], None),
}


@pytest.mark.parametrize("case", CHAINS)
def test_a_chain_alone_is_made_for_the_files_range(case, tmp_path):
    """And says so; the command and the class that its note names give the inputs that it takes."""
    nodes, limits = CHAINS[case]
    last = nodes[-1].output[0] if nodes else "x"
    constants = {"W": values(8, 16), "W2": values(8, 8), "step": np.float32(6 / 256), "zero": np.uint8(85)}
    whole = graph([*nodes, node("Gemm", f"{last} W", "h", transB=1), node("Relu", "h", "a"), node("Gemm", "a W2", "y")], constants, {"x": ["n", 16]},
                  kinds={"x": TensorProto.UINT8} if "bytes" in case else None)
    onnx.save(whole, tmp_path / "net.onnx")
    network = load_model(tmp_path / "net.onnx")
    assert network.input_range == pytest.approx(limits) if limits else network.input_range is None
    said = " ".join(succeed("compress", tmp_path / "net.onnx", "-o", tmp_path / "net.safetensors", "--bits", "dense8").stderr.split())
    assert ("drawn from the range that the file carries, -1.99219..3.98438;" in said) == (limits is not None)
    if "permfc features" in said:
        x = RNG.integers(0, 256, (100, 16), dtype=np.uint8) if "bytes" in case else 2 * RNG.standard_normal((100, 16))
        np.save(tmp_path / "x.npy", x)
        succeed("features", tmp_path / "net.onnx", "-i", tmp_path / "x.npy", "-o", tmp_path / "f.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), FeatureNetwork.from_onnx(tmp_path / "net.onnx").features(x))
    if limits:
        x = RNG.uniform(*limits, (100, 16))
        assert relative_error([model_file.load(tmp_path / "net.safetensors").predict(x)], [network.predict(x)]) < 0.02
