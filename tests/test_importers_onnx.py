"""Fully connected layers of ONNX graphs, and what is said about graphs that have none to take."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from importer_cases import B1, B2, EXPECTED, W1, W2, X, assert_expected, damaged
from permfc.errors import ModelError, ToolError
from permfc.functions import RELU
from permfc.importers import load_model

onnx = pytest.importorskip("onnx")


def onnx_model(tmp_path, nodes, constants, shape=("batch", 4), outputs=("y",)):
    """A graph from ``x`` to ``y`` in a file; nodes are (operator, inputs, output, attributes)."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [output], name=f"{kind}_{number}", **attributes)
         for number, (kind, inputs, output, attributes) in enumerate(nodes)],
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None) for output in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    path = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    return path


HEAD = [("Gemm", ["x", "w1", "b1"], "h", {"transB": 1})]
TAIL = [("Relu", ["h"], "r", {}), ("Gemm", ["r", "w2", "b2"], "y", {"transB": 1})]
CONSTANTS = {"w1": W1, "b1": B1, "w2": W2, "b2": B2}
NORM = {"gamma": np.float32([2, 1, 3, .5, 1, 1]), "beta": np.float32([1, 0, -1, 2, 0, 0]), "mean": np.float32([0, 1, 2, 0, -1, 0]),
        "var": np.float32([1, 4, 9, .25, 1, 2])}
SCALE = NORM["gamma"] / np.sqrt(NORM["var"] + 1e-3)
SHIFT = NORM["beta"] - NORM["mean"] * SCALE
NORM_NODE = ["gamma", "beta", "mean", "var"]


@pytest.mark.parametrize(("nodes", "constants"), [
    ([*HEAD, *TAIL], CONSTANTS),
    ([("Gemm", ["x", "w1", "b1"], "h", {"alpha": 0.5, "beta": 2.0}), *TAIL], CONSTANTS | {"w1": 2 * W1.T, "b1": B1 / 2}),
    ([("MatMul", ["x", "w1"], "m", {}), ("Add", ["m", "b1"], "h", {}), *TAIL], CONSTANTS | {"w1": np.ascontiguousarray(W1.T)}),
    ([("MatMul", ["x", "w1"], "m", {}), ("Add", ["b1", "m"], "h", {}), *TAIL], CONSTANTS | {"w1": W1.T.copy(), "b1": B1[None]}),
    ([("Transpose", ["w1"], "t", {"perm": [1, 0]}), ("MatMul", ["x", "t"], "m", {}), ("Add", ["m", "b1"], "h", {}), *TAIL], CONSTANTS),
    ([("Gemm", ["x", "w1", "b1"], "g", {"transB": 1}), ("Add", ["g", "half"], "h", {}), *TAIL],
     CONSTANTS | {"b1": B1 - 0.5, "half": np.float32(0.5)}),
    ([("Flatten", ["x"], "f", {}), ("Dropout", ["f"], "d", {}), ("Identity", ["d"], "i", {}), ("Reshape", ["i", "s"], "e", {}),
      ("Gemm", ["e", "w1", "b1"], "h", {"transB": 1}), *TAIL], CONSTANTS | {"s": np.array([-1, 4])}),
])
def test_graphs(tmp_path, nodes, constants):
    network = load_model(onnx_model(tmp_path, nodes, constants))
    assert_expected(network)
    assert network.notes == ()


def test_no_bias_and_relu_at_the_end(tmp_path):
    network = load_model(onnx_model(tmp_path, [("Gemm", ["x", "w1"], "h", {"transB": 1}), ("Relu", ["h"], "y", {})], {"w1": W1}))
    assert network.layers[0].function is RELU and not network.layers[0].bias.any()


def test_normalisation_is_folded_into_the_layer_before_it(tmp_path):
    path = onnx_model(tmp_path, [("Gemm", ["x", "w1", "b1"], "g", {"transB": 1}), ("BatchNormalization", ["g", *NORM_NODE], "h", {"epsilon": 1e-3}),
                                 *TAIL], CONSTANTS | NORM)
    want = np.maximum((X @ W1.T + B1) * SCALE + SHIFT, 0) @ W2.T + B2
    np.testing.assert_allclose(load_model(path).predict(X), want, atol=1e-5)


def test_normalisation_behind_relu_is_folded_into_the_next_layer(tmp_path):
    path = onnx_model(tmp_path, [*HEAD, ("Relu", ["h"], "r", {}), ("BatchNormalization", ["r", *NORM_NODE], "n", {"epsilon": 1e-3}),
                                 ("Gemm", ["n", "w2", "b2"], "y", {"transB": 1})], CONSTANTS | NORM)
    want = (np.maximum(X @ W1.T + B1, 0) * SCALE + SHIFT) @ W2.T + B2
    np.testing.assert_allclose(load_model(path).predict(X), want, atol=1e-5)


def test_a_constant_behind_relu_is_folded_into_the_next_layer(tmp_path):
    path = onnx_model(tmp_path, [*HEAD, ("Relu", ["h"], "r", {}), ("Add", ["r", "half"], "a", {}), ("Gemm", ["a", "w2", "b2"], "y", {"transB": 1})],
                      CONSTANTS | {"half": np.float32(0.5)})
    np.testing.assert_allclose(load_model(path).predict(X), (np.maximum(X @ W1.T + B1, 0) + 0.5) @ W2.T + B2, atol=1e-5)


def test_normalised_inputs_are_folded(tmp_path):
    norm = {name: value[:4] for name, value in NORM.items()}
    path = onnx_model(tmp_path, [("BatchNormalization", ["x", *NORM_NODE], "n", {"epsilon": 1e-3}), ("Gemm", ["n", "w1", "b1"], "y", {"transB": 1})],
                      CONSTANTS | norm)
    np.testing.assert_allclose(load_model(path).predict(X), (X * SCALE[:4] + SHIFT[:4]) @ W1.T + B1, atol=1e-5)


@pytest.mark.parametrize(("kind", "inputs", "attributes", "name"), [
    ("Clip", ["h", "zero"], {}, "ReLU"), ("Max", ["zero", "h"], {}, "ReLU"), ("Min", ["h", "six"], {}, "Clip(-inf, 6)"),
    ("Clip", ["h", "zero", "six"], {}, "Clip(0, 6)"), ("LeakyRelu", ["h"], {"alpha": 0.25}, "LeakyReLU(0.25)"),
    ("PRelu", ["h", "half"], {}, "LeakyReLU(0.5)"), ("Tanh", ["h"], {}, "Tanh"), ("Sigmoid", ["h"], {}, "Sigmoid"), ("Elu", ["h"], {}, "ELU(1)"),
    ("Selu", ["h"], {}, "SELU"), ("Gelu", ["h"], {}, "GELU"), ("Gelu", ["h"], {"approximate": "tanh"}, "GELU(tanh)"),
    ("HardSigmoid", ["h"], {}, "HardSigmoid(0.2, 0.5)"), ("HardSwish", ["h"], {}, "HardSwish"),
    ("Softplus", ["h"], {}, "Softplus"),
])
def test_functions_between_layers(tmp_path, kind, inputs, attributes, name):
    from onnx.reference import ReferenceEvaluator

    path = onnx_model(tmp_path, [*HEAD, (kind, inputs, "r", attributes), TAIL[1]],
                      CONSTANTS | {"zero": np.float32(0), "six": np.float32(6), "half": np.float32(.5)})
    network = load_model(path)
    assert network.layers[0].function.name == name
    np.testing.assert_allclose(network.predict(X), ReferenceEvaluator(str(path)).run(None, {"x": X})[0], atol=1e-5)


@pytest.mark.parametrize("steps", [
    [("Mul", ["g", "v"], "h")], [("Sub", ["v", "g"], "m"), ("Div", ["m", "half"], "h")], [("Mul", ["half", "g"], "m"), ("Sub", ["m", "v"], "h")],
])
@pytest.mark.parametrize("behind", [False, True])
def test_constant_factors_and_offsets_are_folded(tmp_path, steps, behind):
    """Into the layer before them or, behind a ReLU, into the next one."""
    from onnx.reference import ReferenceEvaluator

    constants = CONSTANTS | {"v": NORM["gamma"], "half": np.float32(.5)}
    nodes = [(kind, inputs, output, {}) for kind, inputs, output in steps]
    if behind:
        chain = [("Gemm", ["x", "w1", "b1"], "f", {"transB": 1}), ("Relu", ["f"], "g", {}), *nodes, ("Gemm", ["h", "w2", "b2"], "y", {"transB": 1})]
    else:
        chain = [("Gemm", ["x", "w1", "b1"], "g", {"transB": 1}), *nodes, *TAIL]
    path = onnx_model(tmp_path, chain, constants)
    network = load_model(path)
    assert [layer.function for layer in network][0] is RELU and network.notes == ()
    np.testing.assert_allclose(network.predict(X), ReferenceEvaluator(str(path)).run(None, {"x": X})[0], atol=1e-5)


def test_constant_factors_in_front_of_the_first_layer_are_folded(tmp_path):
    path = onnx_model(tmp_path, [("Sub", ["x", "half"], "d", {}), ("Div", ["d", "v"], "n", {}), ("Gemm", ["n", "w1", "b1"], "y", {"transB": 1})],
                      CONSTANTS | {"v": NORM["gamma"][:4], "half": np.float32(.5)})
    network = load_model(path)
    assert network.notes == ()
    np.testing.assert_allclose(network.predict(X), (X - .5) / NORM["gamma"][:4] @ W1.T + B1, atol=1e-5)


@pytest.mark.parametrize("first", [("Gemm", ["x", "w1", "b1"], "h", {"transA": 1, "transB": 1}), ("MatMul", ["w1", "x"], "h", {})])
def test_no_half_of_a_network_is_left_out_unasked(tmp_path, first):
    with pytest.raises(ModelError, match=r"cannot be part of a fully connected network, but layer (Gemm|MatMul)_0 stands before or beside it"):
        load_model(onnx_model(tmp_path, [first, *TAIL], CONSTANTS))


@pytest.mark.parametrize("final", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_final_functions_are_left_to_the_host(tmp_path, final):
    last = [("Gemm", ["r", "w2", "b2"], "l", {"transB": 1}), (final, ["l"], "y", {})]
    path = onnx_model(tmp_path, [*HEAD, ("Relu", ["h"], "r", {}), *last], CONSTANTS)
    network = load_model(path)
    assert_expected(network)
    assert network.notes == (f"Operator {final} '{final}_3' is left to the host: results are those before it",)


def test_convolutions_are_left_to_the_host(tmp_path):
    path = onnx_model(tmp_path, [("Conv", ["x", "k"], "c", {}), ("Tanh", ["c"], "t", {}), ("Flatten", ["t"], "f", {}),
                                 ("Gemm", ["f", "w1", "b1"], "h", {"transB": 1}), *TAIL],
                      CONSTANTS | {"k": np.zeros((1, 1, 1, 1), dtype=np.float32)}, shape=[1, 1, 2, 2])
    network = load_model(path)
    assert_expected(network)
    assert len(network.notes) == 1
    assert "What stands before layer Gemm_3 of" in network.notes[0] and "are the 4 features that the layer takes" in network.notes[0]


THREE = [*HEAD, ("Relu", ["h"], "r", {}), ("Gemm", ["r", "fc2.weight", "b2"], "l", {"transB": 1}), ("Softmax", ["l"], "t", {}),
         ("Gemm", ["t", "fc3.weight"], "y", {"transB": 1})]
THREE_CONSTANTS = CONSTANTS | {"fc2.weight": W2, "fc3.weight": W2.T.copy()}


def test_chosen_layers(tmp_path):
    path = onnx_model(tmp_path, THREE, THREE_CONSTANTS)
    for first in ("Gemm_0", "h", "w1"):
        for second in ("fc2", "fc2.weight", "Gemm_2", "l"):
            assert_expected(load_model(path, layers=[first, second]))
    assert load_model(path, layers=["w1"]).layers[0].function.is_rectifier
    assert [layer.name for layer in load_model(path, layers=["fc3"])] == ["fc3"]


@pytest.mark.parametrize(("layers", "text"), [
    (None, r"Operator Softmax 'Softmax_3' of .* cannot be part .* but layer fc2 .*: name the layers to take with `layers`, fc3 for .*"
           r"there are Gemm_0 \[6, 4\], fc2 \[3, 6\], fc3 \[6, 3\]"),
    (["fc4"], r"has no fully connected layer 'fc4'; it has Gemm_0 \[6, 4\], fc2"),
    (["fc2", "fc3"], r"Layers fc2,fc3 of .* are no chain, since Operator Softmax 'Softmax_3' stands between them"),
    (["fc2", "Gemm_0"], r"Layers fc2,Gemm_0 of .* are no chain, since it does not come first"),
    (["Gemm_0", "fc3", "fc2"], r"are not consecutive: from the first to the last there are Gemm_0,fc2"),
])
def test_unusable_choices(tmp_path, layers, text):
    with pytest.raises(ModelError, match=text):
        load_model(onnx_model(tmp_path, THREE, THREE_CONSTANTS), layers=layers)


@pytest.mark.parametrize(("nodes", "text"), [
    ([*HEAD, ("Add", ["h", "h"], "y", {})], r"has no fully connected tail, since Operator Add 'Add_1' stands between its last"),
    ([("Gemm", ["x", "w1"], "y", {"transB": 1, "transA": 1})], r"Operator Gemm 'Gemm_0' with a variable, transposed or higher-dimensional operand"),
    ([("Gemm", ["x", "w1", "w2"], "y", {"transB": 1})], r"adds a bias of shape \[3, 6\] to 6 outputs"),
    ([("MatMul", ["x", "x"], "y", {})], r"Operator MatMul 'MatMul_0' with a variable"),
    ([*HEAD, ("Flatten", ["h"], "f", {"axis": 0}), ("Gemm", ["f", "w2"], "y", {"transB": 1})], r"Operator Flatten 'Flatten_1' of"),
    ([*HEAD, ("Reshape", ["h", "s"], "f", {}), ("Gemm", ["f", "w2"], "y", {"transB": 1})], r"Operator Reshape 'Reshape_1' of"),
    ([*HEAD, ("Softmax", ["h"], "f", {}), ("Gemm", ["f", "w2"], "y", {"transB": 1})], r"Operator Softmax 'Softmax_1' of"),
    ([*HEAD], r"its output does not depend on any layer"),
    ([("Identity", ["x"], "y", {})], r"has no fully connected layer"),
    ([*HEAD, ("Add", ["h", "b2"], "y", {})], r"Operator Add 'Add_1' has 3 features, but layer Gemm_0 before it has 6 outputs"),
    ([*HEAD, ("Relu", ["h"], "r", {}), ("Add", ["r", "b2"], "a", {}), ("Gemm", ["a", "w2"], "y", {"transB": 1})],
     r"Operator Add 'Add_2' has 3 features, but layer Gemm_3 behind it takes 6"),
    ([*HEAD, ("Relu", ["h"], "r", {}), ("Add", ["r", "b1"], "y", {})], r"Operator Add 'Add_2' follows the last ReLU and cannot be folded"),
    ([*HEAD, ("Relu", ["h"], "r", {}), ("Add", ["r", "b1"], "a", {}), ("Relu", ["a"], "b", {}), ("Gemm", ["b", "w2"], "y", {"transB": 1})],
     r"Operator Relu 'Relu_3' follows Operator Add 'Add_2' without a fully connected layer between"),
])
def test_unusable_graphs(tmp_path, nodes, text):
    with pytest.raises(ModelError, match=text):
        load_model(onnx_model(tmp_path, nodes, CONSTANTS | {"s": np.array([2, -1, 6])}))


def test_several_outputs(tmp_path):
    path = onnx_model(tmp_path, [*HEAD, *TAIL], CONSTANTS, outputs=("y", "h"))
    with pytest.raises(ModelError, match=r"has the outputs y, h: name the layers to take with `layers`; there are Gemm_0 \[6, 4\], Gemm_2 \[3, 6\]"):
        load_model(path)
    assert not load_model(path, layers=["Gemm_0"]).layers[0].function.is_rectifier  # since the model returns what is before it


def test_kernel_is_not_for_graphs(tmp_path):
    with pytest.raises(ModelError, match=r"`kernel` is for files of arrays"):
        load_model(onnx_model(tmp_path, [*HEAD, *TAIL], CONSTANTS), kernel="in-out")


def test_damaged_files(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"\xffnot a protobuf")
    with pytest.raises(ModelError, match=r"a\.onnx is not a readable ONNX file"):
        load_model(tmp_path / "a.onnx")
    model = onnx.load(onnx_model(tmp_path, [*HEAD, *TAIL], CONSTANTS))
    onnx.save(model, tmp_path / "b.onnx", save_as_external_data=True, location="b.data", size_threshold=0)
    assert_expected(load_model(tmp_path / "b.onnx"))
    (tmp_path / "b.data").unlink()
    with pytest.raises(ModelError, match=r"b\.onnx .*b\.data"):
        load_model(tmp_path / "b.onnx")


def damage_values(graph):
    del graph.initializer[:]
    tensor = onnx.numpy_helper.from_array(W1, "w1")
    tensor.raw_data = tensor.raw_data[:8]
    graph.initializer.append(tensor)


def damage_inputs(graph):
    del graph.node[0].input[1:]


def damage_order(graph):
    graph.node[0].input[0] = "y"


def damage_outputs(graph):
    del graph.output[:]


@pytest.mark.parametrize(("damage", "text"), [
    (damage_values, r"Tensor 'w1' of .* does not hold values for its shape \[6, 4\]"),
    (damage_inputs, r"Operator Gemm 'Gemm_0' of .* has 1 inputs and 1 outputs: the file is damaged"),
    (damage_order, r"Tensor 'y' of .* depends on itself: the file is damaged"),
    (damage_outputs, r"it has no graph with an output"),
])
def test_damaged_graphs(tmp_path, damage, text):
    path = onnx_model(tmp_path, [*HEAD, *TAIL], CONSTANTS)
    model = onnx.load(path)
    damage(model.graph)
    onnx.save(model, path)
    with pytest.raises(ModelError, match=text):
        load_model(path)


def test_random_damage_is_a_model_error_or_harmless(tmp_path):
    nodes = [*HEAD, ("Relu", ["h"], "r", {}), ("BatchNormalization", ["r", *NORM_NODE], "n", {"epsilon": 1e-3}), ("Reshape", ["n", "s"], "q", {}),
             ("Gemm", ["q", "w2", "b2"], "l", {"transB": 1}), ("Softmax", ["l"], "y", {})]
    path = onnx_model(tmp_path, nodes, CONSTANTS | NORM | {"s": np.array([-1, 6])})
    content, refused = path.read_bytes(), 0
    for seed in range(300):
        path.write_bytes(damaged(content, seed))
        try:
            load_model(path)
        except ModelError:
            refused += 1
    assert refused > 100


def test_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ToolError, match=r"needs onnx: pip install 'permfc\[onnx\]'"):
        load_model(tmp_path / "a.onnx")


def test_expected_is_what_the_onnx_reference_computes(tmp_path):
    from onnx.reference import ReferenceEvaluator

    path = onnx_model(tmp_path, [*HEAD, *TAIL], CONSTANTS)
    np.testing.assert_allclose(ReferenceEvaluator(str(path)).run(None, {"x": X})[0], EXPECTED, atol=1e-5)
