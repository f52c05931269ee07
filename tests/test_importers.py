"""Trained networks from files and objects, and what is said about those that cannot be used."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from safetensors.numpy import save_file

from permfc.errors import InputError, ModelError, ToolError
from permfc.importers import FloatLayer, FloatNetwork, load_model

RNG = np.random.default_rng(0)
W1, B1 = RNG.standard_normal((6, 4)).astype(np.float32), RNG.standard_normal(6).astype(np.float32)
W2, B2 = RNG.standard_normal((3, 6)).astype(np.float32), RNG.standard_normal(3).astype(np.float32)
X = RNG.standard_normal((5, 4)).astype(np.float32)
EXPECTED = np.maximum(X @ W1.T + B1, 0) @ W2.T + B2


def assert_expected(network: FloatNetwork) -> None:
    assert [layer.relu for layer in network] == [True, False]
    assert np.allclose(network.predict(X), EXPECTED, atol=1e-5)


@pytest.mark.parametrize("names", [
    ("0_weight", "0_bias", "2_weight", "2_bias"),
    ("0.weight", "0.bias", "2.weight", "2.bias"),
    ("ip1.weight", "ip1.bias", "ip2.weight", "ip2.bias"),
    ("net.9.weight", "net.9.bias", "net.10.weight", "net.10.bias"),
])
def test_named_arrays(tmp_path, names):
    arrays = dict(zip(names, (W1, B1, W2, B2), strict=True))
    np.savez(tmp_path / "net.npz", **arrays)
    save_file(arrays, tmp_path / "net.safetensors")
    assert_expected(load_model(tmp_path / "net.npz"))
    assert_expected(load_model(str(tmp_path / "net.safetensors")))
    assert_expected(load_model(arrays))


def test_shapes_decide_where_names_mislead(tmp_path):
    arrays = {"encoder.weight": W1, "encoder.bias": B1, "decoder.weight": W2, "decoder.bias": B2}
    np.savez(tmp_path / "net.npz", **arrays)
    assert_expected(load_model(tmp_path / "net.npz"))
    assert_expected(load_model(arrays))


def test_layers_without_bias_and_in_half_precision():
    network = load_model({"fc.weight": W1.astype(np.float16)})
    assert network.layers[0].bias.tolist() == [0.0] * 6
    assert network.layers[0].weight.dtype == np.float32


def test_network_passes_through():
    network = load_model({"weight": W1})
    assert load_model(network) is network
    assert (network.inputs, network.outputs, network.weight_count) == (4, 6, 24)


def damaged(position: tuple[int, int], value: float) -> np.ndarray:
    weight = W2.copy()
    weight[position] = value
    return weight


@pytest.mark.parametrize(("arrays", "text"), [
    ({"0.weight": W1, "2.weight": damaged((1, 3), np.nan)}, r"Weight of layer 2 holds nan at \[1, 3\]: 1 of 18 values are NaN or infinite"),
    ({"0.weight": W1, "0.bias": np.full(6, np.inf)}, r"Bias of layer 0 holds inf at \[0\]: 6 of 6"),
    ({"0.weight": np.full((2, 2), 1e300)}, r"Weight of layer 0 holds inf at \[0, 0\]"),
    ({"0.weight": np.zeros((0, 4))}, r"Layer 0 is empty: its weight has shape \[0, 4\]"),
    ({"conv1.weight": np.zeros((2, 3, 5, 5))}, r"Weight of layer conv1 must be a matrix .* \[2, 3, 5, 5\]: convolutions are not"),
    ({"0.weight": W1, "0.bias": B2}, r"Bias of layer 0 must have one value for each of the 6 outputs, not shape \[3\]"),
    ({"0.weight": W1, "2.weight": W1}, r"Layer 2 takes 4 inputs, but layer 0 before it has 6 outputs"),
    ({"0.bias": B1}, r"Layer '0' has a bias but no weight"),
    ({"1.running_mean": B1}, r"Array '1\.running_mean' is neither a weight nor a bias"),
    ({"0.weight": W1.astype(complex)}, r"Weight of layer 0 must hold real numbers, not complex128"),
    ({}, r"The model has no fully connected layer"),
])
def test_unusable_arrays(arrays, text):
    with pytest.raises(ModelError, match=text):
        load_model(arrays)


def test_unreadable_files(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.npz does not exist"):
        load_model(tmp_path / "absent.npz")
    with pytest.raises(ModelError, match=r"must be a file of type \.npz, \.safetensors, \.onnx, not '\.pt'"):
        load_model(tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"not 'without an ending'"):
        load_model(tmp_path / "net")
    with pytest.raises(ModelError, match=r"A model must be a path, a mapping .* not int"):
        load_model(3)
    for name, text in (("a.npz", r"a\.npz is not a readable \.npz archive"), ("a.safetensors", r"not a readable \.safetensors file")):
        (tmp_path / name).write_bytes(b"\x93garbage" * 9)
        with pytest.raises(ModelError, match=text):
            load_model(tmp_path / name)
    np.savez(tmp_path / "pickled.npz", weight=np.array([{}], dtype=object))
    with pytest.raises(ModelError, match=r"pickled\.npz is not a readable \.npz archive of plain arrays"):
        load_model(tmp_path / "pickled.npz")
    np.savez(tmp_path / "cut.npz", weight=W1)
    data = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[:len(data) // 2])
    with pytest.raises(ModelError, match=r"cut\.npz is not a readable"):
        load_model(tmp_path / "cut.npz")


def test_inputs_are_checked():
    network = FloatNetwork((FloatLayer(W1, B1, False, "0"),))
    with pytest.raises(InputError, match=r"Input must be numbers \[samples, 4\] .* not float32 \[5, 3\]"):
        network.predict(X[:, :3])


# --- ONNX -----------------------------------------------------------------------------------------------------------------------

onnx = pytest.importorskip("onnx")


def onnx_model(tmp_path, nodes, constants, features=4, shape=None, results=None):
    """A graph from ``x`` to ``y`` in a file; nodes are (operator, inputs, output, attributes)."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [output], name=f"{kind}_{number}", **attributes)
         for number, (kind, inputs, output, attributes) in enumerate(nodes)],
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape or ["batch", features])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", results] if results else None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    path = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    return path


GEMM_TAIL = [("Relu", ["h"], "r", {}), ("Gemm", ["r", "w2", "b2"], "y", {"transB": 1})]
CONSTANTS = {"w1": W1, "b1": B1, "w2": W2, "b2": B2}


@pytest.mark.parametrize(("nodes", "constants"), [
    ([("Gemm", ["x", "w1", "b1"], "h", {"transB": 1}), *GEMM_TAIL], CONSTANTS),
    ([("Gemm", ["x", "w1", "b1"], "h", {"alpha": 0.5, "beta": 2.0}), *GEMM_TAIL], CONSTANTS | {"w1": 2 * W1.T, "b1": B1 / 2}),
    ([("MatMul", ["x", "w1"], "m", {}), ("Add", ["m", "b1"], "h", {}), *GEMM_TAIL], CONSTANTS | {"w1": np.ascontiguousarray(W1.T)}),
    ([("MatMul", ["x", "w1"], "m", {}), ("Add", ["b1", "m"], "h", {}), *GEMM_TAIL], CONSTANTS | {"w1": W1.T.copy(), "b1": B1[None]}),
    ([("Transpose", ["w1"], "t", {"perm": [1, 0]}), ("MatMul", ["x", "t"], "m", {}), ("Add", ["m", "b1"], "h", {}), *GEMM_TAIL], CONSTANTS),
    ([("Flatten", ["x"], "f", {}), ("Dropout", ["f"], "d", {}), ("Identity", ["d"], "i", {}), ("Reshape", ["i", "s"], "e", {}),
      ("Gemm", ["e", "w1", "b1"], "h", {"transB": 1}), *GEMM_TAIL], CONSTANTS | {"s": np.array([-1, 4])}),
])
def test_onnx_graphs(tmp_path, nodes, constants):
    assert_expected(load_model(onnx_model(tmp_path, nodes, constants)))


def test_onnx_without_bias_and_with_relu_at_the_end(tmp_path):
    path = onnx_model(tmp_path, [("Gemm", ["x", "w1"], "h", {"transB": 1}), ("Relu", ["h"], "y", {})], {"w1": W1})
    network = load_model(path)
    assert network.layers[0].relu and not network.layers[0].bias.any()


def test_onnx_cut_behind_a_convolution(tmp_path):
    path = onnx_model(tmp_path, [("Conv", ["x", "k"], "c", {}), ("Flatten", ["c"], "f", {}), ("Gemm", ["f", "w1", "b1"], "y", {"transB": 1})],
                      CONSTANTS | {"k": np.zeros((1, 1, 1, 1), dtype=np.float32)}, shape=[1, 1, 2, 2])
    text = r"Operator Conv 'Conv_0' of .* cut the model behind it, e\.g\. onnx\.utils\.extract_model\(.*, 'cut\.onnx', \['c'\], \['y'\]\)"
    with pytest.raises(ModelError, match=text):
        load_model(path)


def test_onnx_cut_before_a_softmax_works_as_told(tmp_path):
    path = onnx_model(tmp_path, [("Gemm", ["x", "w1", "b1"], "h", {"transB": 1}), ("Softmax", ["h"], "y", {})], CONSTANTS, results=6)
    with pytest.raises(ModelError, match=r"Operator Softmax 'Softmax_1' .* before it, .* \['x'\], \['h'\]\)"):
        load_model(path)
    onnx.utils.extract_model(str(path), str(tmp_path / "cut.onnx"), ["x"], ["h"])
    assert np.allclose(load_model(tmp_path / "cut.onnx").predict(X), X @ W1.T + B1, atol=1e-5)


@pytest.mark.parametrize(("nodes", "text"), [
    ([("Relu", ["x"], "r", {}), ("Gemm", ["r", "w1"], "y", {"transB": 1})], r"Relu 'Relu_0' .*before the first fully connected layer"),
    ([("Gemm", ["x", "w1"], "h", {"transB": 1}), ("Add", ["h", "h"], "y", {})], r"Add that is not the bias of a MatMul"),
    ([("Gemm", ["x", "w1"], "h", {"transB": 1, "transA": 1}), ("Relu", ["h"], "y", {})], r"Gemm with a transposed or variable operand"),
    ([("Gemm", ["x", "w1", "w2"], "y", {"transB": 1})], r"bias of shape \[3, 6\] for 6 outputs"),
    ([("MatMul", ["x", "x"], "y", {})], r"MatMul without a constant matrix"),
    ([("Flatten", ["x"], "f", {"axis": 0}), ("Gemm", ["f", "w1"], "y", {"transB": 1})], r"Flatten with another axis than 1"),
    ([("Reshape", ["x", "s"], "f", {}), ("Gemm", ["f", "w1"], "y", {"transB": 1})], r"Reshape to something else than \[samples, features\]"),
    ([("Gemm", ["x", "w1"], "h", {"transB": 1}), ("Sigmoid", ["x"], "s2", {}), ("Relu", ["h"], "y", {})], r"Operator Sigmoid"),
    ([("Gemm", ["x", "w1"], "h", {"transB": 1})], r"is not a chain: its output 'y' does not follow from 'h'"),
    ([("Identity", ["x"], "y", {})], r"no fully connected layer"),
])
def test_unusable_onnx_graphs(tmp_path, nodes, text):
    with pytest.raises(ModelError, match=text):
        load_model(onnx_model(tmp_path, nodes, CONSTANTS | {"s": np.array([4])}))


def test_damaged_onnx_file(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"\xffnot a protobuf")
    with pytest.raises(ModelError, match=r"a\.onnx is not a readable ONNX file"):
        load_model(tmp_path / "a.onnx")


def test_missing_onnx_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(b"")
    real = builtins.__import__

    def without_onnx(name, *arguments):
        if name == "onnx":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(ToolError, match=r"needs onnx: pip install 'permfc\[onnx\]'"):
        load_model(tmp_path / "a.onnx")


# --- torch objects, recognised by their looks -------------------------------------------------------------------------------------


class Module:
    """Looks like a torch module."""

    def __init__(self, *children, **attributes):
        self._children = children
        self.__dict__.update(attributes)

    def state_dict(self):
        return {}

    def named_children(self):
        return [(str(number), child) for number, child in enumerate(self._children)]


class Sequential(Module):
    pass


class ReLU(Module):
    pass


class Dropout(Module):
    pass


class Tanh(Module):
    pass


class Linear(Module):
    pass


def linear(weight, bias):
    return Linear(weight=weight, bias=bias, out_features=len(weight))


def test_module_like_objects():
    assert_expected(load_model(Sequential(Sequential(linear(W1, B1), ReLU()), Dropout(), linear(W2, B2))))
    bare = load_model(Sequential(linear(W1, None), linear(W2, B2), ReLU()))
    assert [layer.relu for layer in bare] == [False, True]
    assert [layer.name for layer in bare] == ["0", "1"]
    assert len(load_model(linear(W1, B1))) == 1


def test_unusable_modules():
    with pytest.raises(ModelError, match=r"Module 1\.0 is a Tanh, which is not part of a fully connected network"):
        load_model(Sequential(linear(W1, B1), Sequential(Tanh())))
    with pytest.raises(ModelError, match=r"Module 0 is a ReLU"):
        load_model(Sequential(ReLU(), linear(W1, B1)))
    with pytest.raises(ModelError, match=r"A torch model must be an nn\.Sequential, not Tanh"):
        load_model(Tanh())


def test_real_torch_objects():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(6, 3))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (W1, B1, W2, B2), strict=True):
            parameter.copy_(torch.from_numpy(value))
    assert_expected(load_model(model))
    assert_expected(load_model(model.state_dict()))
    halves = load_model(model.to(torch.bfloat16).state_dict())
    assert np.allclose(halves.predict(X), EXPECTED, atol=0.2)
