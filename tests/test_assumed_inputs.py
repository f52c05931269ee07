"""A quantised graph is calibrated from the ranges in its file; dense8 asks for int8 weights everywhere, whatever that takes."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import permfc  # noqa: E402
from permfc.graph.assumed import inputs_in_range  # noqa: E402
from permfc.graph.values import Value  # noqa: E402
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
