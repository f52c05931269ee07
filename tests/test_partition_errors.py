"""What graphs keep on the host, with the reason, and what is said about graphs that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graph_cases import graph, microsoft, node, original, values  # noqa: E402
from importer_cases import damaged  # noqa: E402
from permfc.errors import ModelError  # noqa: E402
from permfc.graph.partition import partition  # noqa: E402
from test_fc_forms import FIRST, FLAT, LAST, LAYERS, X  # noqa: E402
from test_partition import joined  # noqa: E402

CHAIN = [FIRST, node("Relu", "h", "a"), LAST]


def kept(nodes, constants=LAYERS, shape=FLAT, **choices):
    """What stays on the host of a graph that has a layer for the engine, by name."""
    given = {name: choices.pop(name) for name in ("outputs", "kinds") if name in choices}
    part = partition(graph(nodes, constants, {"x": shape}, **given), **choices)
    return {layer.name: layer for layer in part.kept}


def test_layers_are_chosen_and_skipped():
    assert kept(CHAIN, layers=["y"])["h"].reason == "not among the layers named"
    found = kept(CHAIN, skip={"w2": "skipped"})["y"]
    assert (found.shape, found.weights, found.reason) == ((3, 6), 18, "skipped")
    with pytest.raises(ModelError, match=r"net\.onnx has no fully connected layer 'fc9'; it has h \[6, 4\], y \[3, 6\]"):
        partition(graph(CHAIN, LAYERS, {"x": FLAT}), "net.onnx", ["fc9"])


def test_layers_wider_than_an_engine_stay():
    found = kept([*CHAIN, node("MatMul", "y wide", "z")], LAYERS | {"wide": np.zeros((3, 40_000), np.float32)}, outputs=("z",))
    assert "more than the 32768 inputs or outputs" in found["z"].reason


def test_products_of_variables_have_no_weights():
    found = kept([*CHAIN, node("Transpose", "y", "t"), node("MatMul", "y t", "z")], outputs=("z",))["z"]
    assert found.weights == 0 and "both of its operands are computed" in found.reason


def test_recurrent_layers_stay():
    weights = {"W": values(1, 8, 4), "R": values(1, 8, 2)}
    nodes = [node("LSTM", "x W R", "- h", hidden_size=2), node("Reshape", "h s", "f"), node("Gemm", "f w", "y")]
    found = kept(nodes, weights | {"s": np.array([-1, 2]), "w": values(2, 3)}, (5, 1, 4))
    assert next(iter(found.values())).reason == "inside the recurrent operator LSTM" and next(iter(found.values())).weights == 48


def branch(name, nodes):
    return onnx.helper.make_graph(nodes, name, [], [onnx.helper.make_tensor_value_info(f"{name}y", onnx.TensorProto.FLOAT, None)])


def test_bodies_stay_and_may_read_what_chains_give():
    then = branch("t", [node("Gemm", "a w2 b2", "ty", transB=1)])
    other = branch("e", [node("Gemm", "a w3", "ey")])
    nodes = [FIRST, node("Relu", "h", "a"), node("ReduceSum", "x", "s", keepdims=0), node("Greater", "s zero", "c"),
             onnx.helper.make_node("If", ["c"], ["y"], "choice", then_branch=then, else_branch=other)]
    model = graph(nodes, LAYERS | {"w3": values(6, 3), "zero": np.float32(0)}, {"x": FLAT})
    part = partition(model)
    assert sorted(layer.shape for layer in part.kept) == [(3, 6), (6, 3)]
    assert {layer.reason for layer in part.kept} == {"inside the body of If 'choice'"}
    for x in (X[FLAT], -X[FLAT]):
        np.testing.assert_allclose(joined(part, {"x": x})[0], original(model, {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_local_functions_are_put_in_place():
    body = onnx.helper.make_function("own", "Twice", ["u"], ["v"], [node("Add", "u u", "v")], [onnx.helper.make_opsetid("", 20)])
    model = graph([FIRST, onnx.helper.make_node("Twice", ["h"], ["a"], domain="own"), LAST], LAYERS, {"x": FLAT})
    model.functions.append(body)
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    part = partition(model)
    np.testing.assert_allclose(joined(part, {"x": X[FLAT]})[0], original(model, {"x": X[FLAT]})[0], rtol=1e-5, atol=1e-6)


def test_nodes_out_of_order_and_weights_among_the_inputs():
    model = graph(CHAIN[::-1], LAYERS, {"x": FLAT})
    model.graph.input.append(onnx.helper.make_tensor_value_info("w1", onnx.TensorProto.FLOAT, [6, 4]))
    part = partition(model)
    assert part.view.inputs == ["x"] and len(part.chains[0].network) == 2


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_real_types(kind):
    constants = {name: value.astype(kind) for name, value in LAYERS.items()}
    model = graph(CHAIN, constants, {"x": FLAT}, kinds={"x": onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))})
    found, = joined(partition(model), {"x": X[FLAT].astype(kind)})
    assert found.dtype == kind
    np.testing.assert_allclose(found, original(model, {"x": X[FLAT].astype(kind)})[0], atol=5e-3)


@pytest.mark.parametrize(("nodes", "constants", "text"), [
    ([node("Relu", "x", "y")], {}, r"^net\.onnx has no fully connected layer that an engine can have: run it with onnxruntime alone"),
    ([node("MatMul", "x x", "y")], {}, r"has no fully connected layer that an engine can have \(y: both of its operands are computed"),
    ([node("Constant", "", "c"), node("Add", "x c", "y")], {}, r"Operator Constant 'c' of net\.onnx has no value: the file is damaged"),
    ([node("Gemm", "x w b1", "y", transB=1)], LAYERS | {"w": np.where(LAYERS["w1"] > 0.5, np.nan, LAYERS["w1"])},
     r"Operator Gemm 'y' of net\.onnx has nan in its weight at \[\d, \d\]: train or export"),
    ([*CHAIN, microsoft("Nonsense", "y", "z")], LAYERS, r"onnxruntime cannot run net\.onnx: .*Nonsense.*; export it with"),
    ([node("Relu", "y", "x1"), node("Gemm", "x1 w1", "y", transB=1)], LAYERS, r"Tensor 'x1' of net\.onnx depends on itself: the file is damaged"),
])
def test_refusals(nodes, constants, text):
    outputs = [nodes[-1].output[0]]
    with pytest.raises(ModelError, match=text):
        partition(graph(nodes, constants, {"x": (4, 4) if nodes[0].op_type == "MatMul" else FLAT}, outputs), "net.onnx")


def test_an_opset_that_onnxruntime_does_not_know():
    with pytest.raises(ModelError, match=r"onnxruntime cannot run net\.onnx: .*opset"):
        partition(graph(CHAIN, LAYERS, {"x": FLAT}, opset=99), "net.onnx")


def test_random_damage_is_a_model_error_or_harmless():
    norm = {name: np.abs(values(6)) + np.float32(0.1) for name in ("g", "m", "s", "v")}
    nodes = [FIRST, node("BatchNormalization", "h g m s v", "n"), node("Clip", "n low", "c"), node("Reshape", "c shape", "a"), LAST]
    content = graph(nodes, LAYERS | norm | {"low": np.float32(0), "shape": np.array([-1, 6])}, {"x": FLAT}).SerializeToString()
    refused = 0
    for seed in range(300):
        try:
            model = onnx.load_from_string(damaged(content, seed))
        except Exception:  # protobuf's own, which load_onnx turns into a ModelError
            continue
        try:
            partition(model)
        except ModelError:
            refused += 1
    assert refused > 50


def test_layers_that_share_a_weight_have_names_of_their_own():
    nodes = [node("Gemm", "x shared.weight", "h", transB=1), node("Softmax", "h", "a"), node("Gemm", "a shared.weight", "y", transB=1)]
    part = partition(graph(nodes, {"shared.weight": values(4, 4)}, {"x": FLAT}))
    assert [chain.name for chain in part.chains] == ["h", "y"]
