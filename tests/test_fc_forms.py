"""Fully connected layers in each form that exporters and quantisers write: each goes to the engine, with the original's results."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graph_cases import graph, microsoft, node, original, values  # noqa: E402
from permfc.functions import IDENTITY, RELU  # noqa: E402
from permfc.graph.partition import partition  # noqa: E402
from test_partition import joined  # noqa: E402

W1, B1, W2, B2 = values(6, 4), values(6), values(3, 6), values(3)
LAYERS = {"w1": W1, "b1": B1, "w2": W2, "b2": B2}
FLAT, TOKENS = (2, 4), (2, 5, 4)
X = {shape: values(*shape, size=1.0) for shape in (FLAT, TOKENS, (4, 2), (2, 4, 5), (4,))}
FIRST, LAST = node("Gemm", "x w1 b1", "h", transB=1), node("Gemm", "a w2 b2", "y", transB=1)


def check(nodes, constants, shape=FLAT, layers=1, **given):
    """The partition of a graph from x to y, which must have so many layers on the engine and none on the host."""
    model = graph(nodes, constants, {"x": shape}, **given)
    part = partition(model)
    assert sum(len(group) for chain in part.chains for group in chain.layers) == layers
    feeds = {"x": X[shape]}
    for found, wanted in zip(joined(part, feeds), original(model, feeds), strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return part


@pytest.mark.parametrize(("nodes", "constants", "shape"), [
    ([node("Gemm", "x w1 b1", "y", transB=1, alpha=0.5, beta=2.0)], LAYERS, FLAT),
    ([node("Gemm", "x w b1", "y")], LAYERS | {"w": W1.T.copy()}, FLAT),
    ([node("Gemm", "x w1 c", "y", transB=1)], LAYERS | {"c": np.float32(0.5)}, FLAT),
    ([node("Gemm", "x w1 b1", "y", transA=1, transB=1, beta=0.5)], LAYERS, (4, 2)),
    ([node("Gemm", "w1 x", "y")], LAYERS, (4, 2)),
    ([node("Gemm", "w1 x c", "y", transB=1, beta=3.0)], LAYERS | {"c": values(6, 1)}, FLAT),
    ([node("Identity", "x", "i"), node("Gemm", "w1 i", "y", transB=1)], LAYERS, FLAT),
    ([node("Mul", "x x", "c"), node("Gemm", "x w c", "y", beta=0.5)], {"w": values(4, 4)}, FLAT),
    ([node("MatMul", "x w", "y")], {"w": W1.T.copy()}, FLAT),
    ([node("MatMul", "x w", "y")], {"w": W1.T.copy()}, TOKENS),
    ([node("MatMul", "x w", "y")], {"w": W1.T.copy()}, (4,)),
    ([node("MatMul", "x w", "y")], {"w": W1.T.copy()[None]}, TOKENS),
    ([node("MatMul", "w1 x", "y")], LAYERS, (4, 2)),
    ([node("MatMul", "w1 x", "y")], LAYERS, (2, 4, 5)),
    ([node("MatMul", "w1 x", "y")], LAYERS, (4,)),
    ([node("Einsum", "x w", "y", equation="bti,io->bto")], {"w": W1.T.copy()}, TOKENS),
    ([node("Einsum", "x w1", "y", equation="...i,oi->...o")], LAYERS, TOKENS),
    ([microsoft("FusedMatMul", "x w1", "y", transB=1, alpha=0.5)], LAYERS, TOKENS),
    ([microsoft("FusedGemm", "x w1 b1", "y", transB=1, activation="LeakyRelu", activation_alpha=0.2)], LAYERS, FLAT),
    ([microsoft("FusedGemm", "x w1 b1", "y", transB=1, activation="Relu"), node("Neg", "x", "unused")], LAYERS, FLAT),  # as many nodes as before
])
def test_forms(nodes, constants, shape):
    part = check(nodes, constants, shape)
    assert not part.kept


@pytest.mark.parametrize(("nodes", "constants"), [
    ([node("Transpose", "w1", "t", perm=[1, 0]), node("MatMul", "x t", "y")], {}),
    ([node("DequantizeLinear", "q s z", "t", axis=0), node("Gemm", "x t", "y", transB=1)],
     {"q": np.int8(np.rint(W1 * 50)), "s": np.full(6, 0.02, np.float32), "z": np.zeros(6, np.int8)}),
    ([node("Cast", "half", "t", to=onnx.TensorProto.FLOAT), node("Gemm", "x t", "y", transB=1)], {"half": W1.astype(np.float16)}),
    ([node("Mul", "w1 mask", "t"), node("Gemm", "x t", "y", transB=1)], {"mask": (W1 > 0).astype(np.float32)}),
    ([node("Reshape", "flat s", "t"), node("Gemm", "x t", "y", transB=1)], {"flat": W1.reshape(-1), "s": np.array([6, 4])}),
    ([node("Constant", "", "t", value=onnx.numpy_helper.from_array(W1)), node("Gemm", "x t", "y", transB=1)], {}),
    ([node("Constant", "", "c", value_floats=[1.0, 2, 3, 4, 5, 6]), node("Gemm", "x w1 c", "y", transB=1)], {}),
    ([node("Constant", "", "c", value_float=2.0), node("Gemm", "x w1", "g", transB=1), node("Mul", "g c", "y")], {}),
])
def test_weights_that_constants_compute(nodes, constants):
    check(nodes, LAYERS | constants)


NORM = {"gamma": values(6), "beta": values(6), "mean": values(6), "var": np.abs(values(6)) + np.float32(0.1)}
VECTOR = {"v": values(6), "s": np.float32(0.5)}


@pytest.mark.parametrize("steps", [
    "Mul h v|Add m0 v|Sub m1 s", "Sub v h|Div m0 s", "Mul s h|Neg m0", "BatchNormalization h gamma beta mean var|Identity m0",
    "Identity h|Dropout m0",
])
def test_factors_and_offsets_behind_a_layer_are_folded(steps):
    middle = []
    for number, step in enumerate(steps.split("|")):
        kind, names = step.split(" ", 1)
        middle.append(node(kind, names, f"m{number}"))
    part = check([FIRST, *middle, node("Relu", f"m{len(middle) - 1}", "a"), LAST], LAYERS | NORM | VECTOR, layers=2)
    assert len(part.chains) == 1 and part.stages[0].host is None
    part = check([FIRST, *middle, node("Tanh", f"m{len(middle) - 1}", "y")], LAYERS | NORM | VECTOR)
    assert [made.op_type for made in part.stages[1].host.graph.node] == ["Tanh"]


@pytest.mark.parametrize(("middle", "function"), [
    ("Relu h", RELU), ("Clip h zero", RELU), ("Max h zero", RELU), ("Max zero h", RELU),
    ("Clip h - six|Relu m0", "Clip(0, 6)"), ("Clip h zero six", "Clip(0, 6)"),
    ("LeakyRelu h", "LeakyReLU(0.01)"), ("PRelu h s", "LeakyReLU(0.5)"), ("Relu h|Mul m0 s", RELU), ("Relu h|Mul m0 v|Add m1 v", RELU),
    ("Tanh h", "Tanh"), ("Div h root|Erf m0|Add m1 one|Mul h m2|Mul m3 s", "Div-Erf-Add-Mul"), ("Sigmoid h|Mul h m0", "Sigmoid-Mul"),
    ("Cast16 h|Cast32 m0|Relu m1", RELU), ("Reshape h keep|Relu m0", RELU), ("Flatten h", IDENTITY), ("Sin h|Exp m0", "Sin-Exp"),
])
def test_pointwise_functions_between_layers(middle, function):
    nodes = []
    for number, step in enumerate(middle.split("|")):
        kind, names = step.split(" ", 1)
        more = {"to": onnx.TensorProto.FLOAT16 if kind == "Cast16" else onnx.TensorProto.FLOAT} if kind.startswith("Cast") else {}
        nodes.append(node("Cast" if more else kind, names, f"m{number}", **more))
    nodes[-1].output[0] = "a"
    constants = {"zero": np.float32(0), "six": np.float32(6), "one": np.float32(1), "root": np.float32(np.sqrt(2)), "keep": np.array([-1, 6])}
    if "Cast16" in middle:  # which rounds, while the chain does not
        model = graph([FIRST, *nodes, LAST], LAYERS | constants, {"x": FLAT})
        part = partition(model)
        np.testing.assert_allclose(joined(part, {"x": X[FLAT]})[0], original(model, {"x": X[FLAT]})[0], atol=1e-2)
    else:
        part = check([FIRST, *nodes, LAST], LAYERS | VECTOR | constants, layers=2)
    chain, = part.chains
    found = chain.network.layers[0].function
    assert found is function or found.name == function
    assert chain.network.layers[1].function is IDENTITY


@pytest.mark.parametrize("middle", ["Relu h|Mul m0 v|Tanh m1", "Softmax h", "Log h", "Reciprocal h", "Relu h|Add m0 h|Add m1 square"])
def test_what_is_no_function_of_one_number_stays_on_the_host(middle):
    nodes = []
    for number, step in enumerate(middle.split("|")):
        kind, names = step.split(" ", 1)
        nodes.append(node(kind, names, f"m{number}"))
    nodes[-1].output[0] = "a"
    model = graph([FIRST, *nodes, LAST], LAYERS | VECTOR | {"square": values(2, 6)}, {"x": FLAT})
    assert [len(chain.network) for chain in partition(model).chains] == [1, 1]


def test_layers_with_the_same_input_are_one():
    nodes = [node("MatMul", "x q", "a"), node("Add", "a b1", "aa"), node("MatMul", "x k", "b"), node("Softmax", "aa", "s"), node("Mul", "s b", "y")]
    part = check(nodes, {"q": values(4, 6), "k": values(4, 6), "b1": B1}, TOKENS, layers=2)
    chain, = part.chains
    assert chain.network.layers[0].name == "a|b" and chain.network.outputs == 12
    assert [result.tensor for result in chain.joint.results] == ["aa", "b"]


def test_two_heads_end_one_chain():
    nodes = [FIRST, node("Relu", "h", "a"), LAST, node("Gemm", "a w3", "z")]
    part = check(nodes, LAYERS | {"w3": values(6, 2)}, layers=3, outputs=("y", "z"))
    assert [layer.name for layer in part.chains[0].network] == ["h", "y|z"]


def test_a_result_between_layers_divides_the_chain():
    part = check([FIRST, node("Relu", "h", "a"), LAST], LAYERS, layers=2, outputs=("y", "h"))
    assert len(part.chains) == 2


STEP = {"s": np.float32(0.02), "z": np.int8(-3), "wq": np.int8(np.rint(W1.T / 0.02)), "ws": np.float32(0.02), "wz": np.int8(0)}


def close(nodes, constants, layers=1):
    """The same for graphs that round activations to steps of 0.02, which a chain does not."""
    model = graph(nodes, constants, {"x": FLAT})
    part = partition(model)
    assert sum(len(group) for chain in part.chains for group in chain.layers) == layers
    np.testing.assert_allclose(joined(part, {"x": X[FLAT]})[0], original(model, {"x": X[FLAT]})[0], atol=0.1)
    return part


def test_quantised_activations_between_layers_are_a_clamp():
    rounds = [node("QuantizeLinear", "r s z", "rq"), node("DequantizeLinear", "rq s z", "a")]
    part = close([FIRST, node("Relu", "h", "r"), *rounds, LAST], LAYERS | STEP, layers=2)
    assert part.chains[0].network.layers[0].function.clamp == pytest.approx((0, 2.6))


@pytest.mark.parametrize("nodes", [
    [node("QuantizeLinear", "x s z", "xq"), node("QLinearMatMul", "xq s z wq ws wz s z", "q"), node("DequantizeLinear", "q s z", "y")],
    [node("QuantizeLinear", "x s z", "xq"), microsoft("QGemm", "xq s z wq ws wz bq", "y")],
    [microsoft("DynamicQuantizeMatMul", "x wq ws wz b1", "y")],
    [node("DynamicQuantizeLinear", "x", "xq xs xz"), node("MatMulInteger", "xq wq xz wz", "i"), node("Cast", "i", "f", to=onnx.TensorProto.FLOAT),
     node("Mul", "xs ws", "both"), node("Mul", "f both", "y")],
])
def test_integer_forms(nodes):
    part = close(nodes, STEP | {"b1": B1, "bq": np.int32(np.rint(B1 / 4e-4))})
    assert not part.kept
